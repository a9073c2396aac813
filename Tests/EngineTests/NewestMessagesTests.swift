import Engine
import Formats
import Jobs
import Offsets
import Tables
import TestSupport
import Testing
import Trials

@Suite("The newest messages of a topic")
struct NewestMessagesTests {
  private let memory = MemoryCluster(identifier: "memory")

  private func read(_ count: Int, byteLimit: Int = 1 << 20) throws -> NewestMessages {
    let cluster = Job.Cluster(name: "main", properties: [:], topics: memory.topics.keys.sorted())
    return try NewestMessages.read(
      count, of: [(cluster, MemorySource("main", memory, chunkCount: 3))], byteLimit: byteLimit)
  }

  private func log(_ partition: Int, of topic: String = "calls") throws -> MemoryLog {
    memory.create(topic, partitionCount: partition + 1)
    return try #require(memory.topics[topic]?[partition])
  }

  @Test("come from all partitions, the newest first by the broker's time")
  func order() throws {
    let (first, second) = (try log(0), try log(1))
    for time in 0..<20 as Range<Int64> {
      (time % 3 == 0 ? second : first).append(
        Array("\(time)".utf8), key: [1], timestampMilliseconds: time,
        headers: [MessageHeaders.Header(name: "h", value: nil)])
    }
    let newest = try read(5)
    #expect(newest.messages.map(\.timestampMilliseconds) == [19, 18, 17, 16, 15])
    #expect(newest.messages.map(\.partition.partition) == [0, 1, 0, 0, 1])
    #expect(newest.messages[0].value == Array("19".utf8) && newest.messages[0].key == [1])
    #expect(newest.messages[0].headers.count == 1)
    #expect(try read(100).messages.count == 20)
    #expect(!newest.isCutBySize)
  }

  @Test("are found behind holes, and no more are asked for than there are", arguments: 1...20)
  func holes(count: Int) throws {
    var random = SeededRandom(seed: UInt64(count))
    let log = try log(0)
    for offset in 0..<400 as Range<Int64> {
      // As compaction and transactions leave them, at the end as well.
      if offset % 60 == 7 || random.next() % 40 == 0 {
        log.append([7], timestampMilliseconds: offset)
      } else {
        log.appendHole()
      }
    }
    log.removeRecords(before: 50)
    let all = try read(1_000).messages
    #expect(all.count >= 5 && all.allSatisfy { $0.offset >= 50 })
    #expect(try read(count).messages == Array(all.prefix(count)))
  }

  @Test("of an empty topic are none; a topic that does not exist is an error")
  func empty() throws {
    _ = try log(0)
    #expect(try read(5).messages.isEmpty)
    let cluster = Job.Cluster(name: "main", properties: [:], topics: ["other"])
    #expect(throws: SourceError.self) {
      try NewestMessages.read(5, of: [(cluster, MemorySource("main", memory))])
    }
  }

  @Test("are fewer where they are large, and at least one")
  func size() throws {
    let log = try log(0)
    for time in 0..<50 as Range<Int64> {
      log.append([UInt8](repeating: 0x61, count: 100), timestampMilliseconds: time)
    }
    let newest = try read(50, byteLimit: 1_000)
    #expect(newest.messages.map(\.offset) == (40..<50).reversed())
    #expect(newest.isCutBySize)
    #expect(try read(50, byteLimit: 10).messages.map(\.offset) == [49])
  }

  @Test("a log that loses its oldest messages meanwhile gives those that it still holds")
  func retention() throws {
    let log = try log(0)
    for time in 0..<10 as Range<Int64> { log.append([1], timestampMilliseconds: time) }
    let source = ShrinkingSource(MemorySource("main", memory)) { log.removeRecords(before: 6) }
    let cluster = Job.Cluster(name: "main", properties: [:], topics: ["calls"])
    let newest = try NewestMessages.read(8, of: [(cluster, source)])
    #expect(newest.messages.map(\.offset) == [9, 8, 7, 6])
  }
}

/// Does something before it is read for the first time.
private final class ShrinkingSource: ForwardingSource {
  let inner: MemorySource
  private var shrink: (() -> Void)?

  init(_ inner: MemorySource, _ shrink: @escaping () -> Void) {
    self.inner = inner
    self.shrink = shrink
  }

  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    shrink?()
    shrink = nil
    try inner.read(ranges, body)
  }
}

@Suite("Records that are peeked at")
struct PeekedRecordsTests {
  private let options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")

  private func message(_ offset: Offset, _ value: String?, partition: Int32 = 0) -> CopiedMessage {
    CopiedMessage(
      partition: PartitionID(source: "main", topic: "calls", partition: partition),
      offset: offset, timestampMilliseconds: offset, key: nil, value: value.map { Array($0.utf8) })
  }

  private func job(_ rest: String, format: String = "csv") throws -> Job {
    try JobFile.parse(
      text: """
        name: peek
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "b:9092" }, topics: [calls] }]
          format: \(format)
          fields: { key: string, n: "int32?" }
        \(rest)
        output: { to: "file:out", format: csv }
        """, path: "peek.yaml", environment: [:], readFile: { _ in nil })
  }

  /// `offset/record value` or `offset/record reason field`, the newest first.
  private func lines(_ peeked: PeekedRecords) -> [String] {
    peeked.records.map { record in
      let place = "\(record.message.offset)/\(record.number) "
      switch record.content {
      case .row(let row):
        return place
          + peeked.table.columns.map { column in
            column.isNull[row]
              ? "NULL"
              : column.type == .string ? column.text[row] : column.plainText(row)
          }.joined(separator: ",")
      case .reject(let reject):
        return place + "\(reject.reason)" + (reject.field.map { " \($0)" } ?? "")
      }
    }
  }

  @Test("are decoded by the job, one line a record, and one that it would refuse says why")
  func decoded() throws {
    let job = try job(
      "window: global\naggregate: { by: [key], measures: { c: count() } }")
    let peeked = try PeekedRecords(
      of: [
        message(9, "a,1\nb,x\nc,\\N\n"), message(8, nil), message(7, "a"),
        message(3, "d,4", partition: 1),
      ], job: job, options: options)
    #expect(
      lines(peeked) == [
        "9/2 c,NULL", "9/1 wrongType n", "9/0 a,1", "8/0 nullValue", "7/0 missingField n",
        "3/0 d,4",
      ])
    #expect(peeked.table.schema.columns.map(\.name) == ["key", "n"])
  }

  @Test("also say what where, the window and select would refuse")
  func refusedLater() throws {
    let long = String(repeating: "k", count: 20)
    let byKey = try job(
      """
      window: { tumbling: 1m }
      where: abs(n) >= 0
      aggregate: { by: [key], measures: { c: count() } }
      limits: { key_bytes: 10 }
      """)
    #expect(
      try lines(
        PeekedRecords(
          of: [message(2, "\(long),1"), message(1, "a,1")], job: byKey, options: options))
        == ["2/0 keyTooLong key", "1/0 a,1"])
    let rows = try job("select: { m: \"abs(n * 4294967296)\" }")
    #expect(
      try lines(
        PeekedRecords(
          of: [message(2, "a,-2147483648"), message(1, "a,2147483647")], job: rows,
          options: options)
      ).contains { $0.hasSuffix("expressionFailed select") })
  }

  @Test("are shown as well where the batch as a whole would stop the job")
  func batchFault() throws {
    let job = try job(
      """
      window: batch
      aggregate: { by: [key], measures: { c: count() } }
      limits: { groups_per_window: 1 }
      """)
    #expect(
      try lines(
        PeekedRecords(of: [message(2, "a,1"), message(1, "b,x")], job: job, options: options))
        == ["2/0 a,1", "1/0 wrongType n"])
  }

  @Test("without a job are read by fields alone")
  func withoutJob() {
    let peeked = PeekedRecords(
      of: [message(1, "{\"n\":5}\n{\"n\":true}")], format: .json,
      fields: [InputField(ColumnDefinition("n", .int64))])
    #expect(lines(peeked) == ["1/1 wrongType n", "1/0 5"])
  }
}
