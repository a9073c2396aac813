import Offsets
import TestSupport
import Testing

@testable import Kafka

@Suite("A ranged read", .serialized)
struct RangeReadTests {
  private let stack: TestStack
  private let topic = uniqueName("ranges")

  init() throws { stack = try TestStack() }

  private func cluster(_ properties: [String: String] = [:]) throws -> KafkaCluster {
    try KafkaCluster(
      source: "main", properties: ["bootstrap.servers": stack.broker].merging(properties) { $1 },
      maxOffsetsPerBatch: 1_000)
  }

  private func partition(_ number: Int32 = 0) -> PartitionID {
    PartitionID(source: "main", topic: topic, partition: number)
  }

  private func read(_ cluster: KafkaCluster, _ from: Offset, _ to: Offset, _ number: Int32 = 0)
    throws -> [String]
  {
    var values: [String] = []
    let range = PartitionRange(partition(number), OffsetRange(from: from, to: to))
    let count = try cluster.read(range, silenceMilliseconds: 20_000) { messages in
      for message in messages {
        #expect(range.range.contains(message.offset))
        values.append(message.value.map { String(decoding: $0, as: UTF8.self) } ?? "null")
      }
    }
    #expect(Int(count) == values.count)
    return values
  }

  private func produce(_ values: [String], partition: Int = 0) -> [[String: any Sendable]] {
    values.map { ["op": "produce", "topic": topic, "partition": partition, "value": $0] }
  }

  @Test("delivers exactly its offsets, for every small range, in any order of ranges")
  func allRanges() throws {
    let values = (0..<6).map { "v\($0)" }
    try stack.kafka(
      stack.broker, [["op": "create", "topic": topic, "partitions": 1]] + produce(values))
    let cluster = try cluster()
    for from in 0...6 {
      for to in from...6 {
        #expect(try read(cluster, Int64(from), Int64(to)) == Array(values[from..<to]))
      }
    }
    #expect(
      try cluster.ends(of: [partition()], timeoutMilliseconds: 10_000)[partition()]
        == PartitionEnds(low: 0, end: 6))
  }

  @Test("ends where it ends in aborted and control records, and batches go on behind them")
  func holes() throws {
    // Offsets: 0-1 plain, 2-4 aborted, 5 marker, 6-7 committed, 8 marker, 9 plain, 10-11 aborted,
    // 12 marker.
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]] + produce(["a", "b"]) + [["op": "begin"]]
        + produce(["x", "x", "x"])
        + [["op": "abort"], ["op": "begin"]] + produce(["c", "d"]) + [["op": "commit"]]
        + produce(["e"]) + [["op": "begin"]]
        + produce(["x", "x"]) + [["op": "abort"]])
    let end = try #require(
      try cluster().ends(of: [partition()], timeoutMilliseconds: 10_000)[partition()]
    ).end
    #expect(end == 13)
    let visible: [(Offset, String)] = [(0, "a"), (1, "b"), (6, "c"), (7, "d"), (9, "e")]
    for width: Offset in [1, 2, 3, 5, 13] {
      let cluster = try cluster()
      for from in stride(from: 0, to: end, by: Int(width)) {
        let to = min(end, from + width)
        #expect(
          try read(cluster, from, to) == visible.filter { $0.0 >= from && $0.0 < to }.map(\.1),
          "[\(from), \(to))")
      }
    }
  }

  @Test("an open transaction holds the end back")
  func openTransaction() throws {
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]] + produce(["a", "b"]) + [["op": "begin"]]
        + produce(["x"]) + [
          ["op": "leave_open"]
        ])
    #expect(
      try cluster().ends(of: [partition()], timeoutMilliseconds: 10_000)[partition()]?.end == 2)
    #expect(
      try cluster().highWatermarks(of: [partition()], timeoutMilliseconds: 10_000) == [
        partition(): 3
      ])
    #expect(
      try cluster(["isolation.level": "read_uncommitted"]).ends(
        of: [partition()], timeoutMilliseconds: 10_000)[partition()]?.end == 3)
  }

  @Test("tells null values and keys from empty ones, and gives timestamps")
  func nulls() throws {
    try stack.kafka(
      stack.broker,
      [
        ["op": "create", "topic": topic, "partitions": 1],
        ["op": "produce", "topic": topic, "partition": 0, "timestamp": 1_234],
        [
          "op": "produce", "topic": topic, "partition": 0, "value": "", "key": "",
          "timestamp": 5_678,
        ],
      ])
    var seen: [(Bool, Bool, Int64?)] = []
    _ = try cluster().read(
      PartitionRange(partition(), OffsetRange(from: 0, to: 2)), silenceMilliseconds: 20_000
    ) { messages in
      for message in messages {
        seen.append((message.value == nil, message.key == nil, message.timestampMilliseconds))
      }
    }
    #expect(seen.map(\.0) == [true, false])
    #expect(seen.map(\.1) == [true, false])
    #expect(seen.map(\.2) == [1_234, 5_678])
  }

  @Test(
    """
    of several skewed partitions at a time, batch after batch, misses and repeats nothing and \
    keeps each one's order
    """
  )
  func partitions() throws {
    let counts = [1_500, 0, 3, 700]
    var operations: [[String: any Sendable]] = [["op": "create", "topic": topic, "partitions": 4]]
    for (number, count) in counts.enumerated() {
      operations += produce((0..<count).map { "\(number):\($0)" }, partition: number)
    }
    try stack.kafka(stack.broker, operations)
    let cluster = try cluster()
    var read: [[String]] = [[], [], [], []]
    for start in stride(from: 0, to: 1_500, by: 100) {
      let ranges = counts.enumerated().compactMap { number, count -> PartitionRange? in
        let to = min(count, start + 100)
        return to > start
          ? PartitionRange(partition(Int32(number)), OffsetRange(from: Int64(start), to: Int64(to)))
          : nil
      }
      _ = try cluster.read(ranges, silenceMilliseconds: 20_000) { lent in
        guard case .ofRange(let position, let messages) = lent else { return }
        for message in messages {
          read[Int(ranges[position].partition.partition)].append(
            message.value.map { String(decoding: $0, as: UTF8.self) } ?? "null")
        }
      }
    }
    for (number, count) in counts.enumerated() {
      #expect(read[number] == (0..<count).map { "\(number):\($0)" })
    }
  }

  @Test(
    """
    hands over ahead what is expected behind a range, while another is waited for: each message \
    once, unless it is asked for again
    """,
    arguments: [1_500, 1_600])
  func ahead(expectedFrom: Offset) throws {
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 2]] + produce((0..<5_000).map { "\($0)" }))
    let cluster = try cluster()
    let (first, expected) = (
      OffsetRange(from: 0, to: 1_500), OffsetRange(from: expectedFrom, to: 4_000)
    )
    let now = [
      PartitionRange(partition(0), first),
      PartitionRange(partition(1), OffsetRange(from: 0, to: 1)),
    ]
    try cluster.prepare(now)
    try cluster.prepare([PartitionRange(partition(0), expected)])
    var offsets: [Offset] = []
    var isAwaited = true
    let count = try cluster.read(now, silenceMilliseconds: 20_000) { lent in
      switch lent {
      case .ofRange(0, let messages):
        #expect(messages.allSatisfy { first.contains($0.offset) })
        offsets += messages.map(\.offset)
      case .ahead(let index, let messages):
        #expect(index == 0 && messages.allSatisfy { expected.contains($0.offset) })
        offsets += messages.map(\.offset)
      case .ofRange, .nothing: break
      }
      // Only now is there anything of the other partition.
      if lent.messages.isEmpty && isAwaited && (offsets.count == 4_000 || expectedFrom != 1_500) {
        try stack.kafka(stack.broker, produce(["late"], partition: 1))
        isAwaited = false
      }
    }
    #expect(count == 1_501)
    // Where the expected range begins elsewhere, a gap lies between, and nothing comes ahead.
    #expect(offsets == Array(0..<(expectedFrom == 1_500 ? 4_000 : 1_500)))
    func read(_ from: Offset, _ to: Offset) throws -> [Offset] {
      var offsets: [Offset] = []
      _ = try cluster.read(
        [PartitionRange(partition(0), OffsetRange(from: from, to: to))], silenceMilliseconds: 20_000
      ) { lent in
        offsets += lent.messages.map(\.offset)
      }
      return offsets
    }
    if expectedFrom == 1_500 { #expect(try read(4_000, 4_000) == []) }
    #expect(try read(4_000, 4_500) == Array(4_000..<4_500))
    #expect(try read(1_500, 2_000) == Array(1_500..<2_000))
    #expect(try read(2_000, 5_000) == Array(2_000..<5_000))
  }

  @Test(
    """
    of offsets that the broker removed says where it starts now; beyond the end it says where \
    that is
    """
  )
  func lost() throws {
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]] + produce(["a", "b", "c", "d"])
        + [["op": "delete_records", "topic": topic, "partition": 0, "before": 3]])
    let cluster = try cluster()
    #expect { _ = try read(cluster, 0, 2) } throws: {
      ($0 as? KafkaError)?.code == .truncated(oldestHeld: 3)
    }
    // librdkafka has given the partition up; a run with on_data_loss: skip goes on all the same.
    #expect(try read(cluster, 3, 4) == ["d"])
    #expect { _ = try read(cluster, 9, 10) } throws: {
      ($0 as? KafkaError)?.code
        == .beyondEnd(PartitionID(source: "main", topic: topic, partition: 0), end: 4)
    }
    #expect(try read(cluster, 3, 4) == ["d"])
  }

  @Test("reads a message close to the broker's size limit")
  func large() throws {
    let value = String(repeating: "x", count: 900_000)
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]] + produce(["a", value, "b"]))
    #expect(try read(try cluster(), 0, 3) == ["a", value, "b"])
  }

  @Test("finds offsets by time")
  func times() throws {
    try stack.kafka(
      stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]]
        + [1_000, 2_000, 3_000].map {
          ["op": "produce", "topic": topic, "partition": 0, "value": "v", "timestamp": $0]
        })
    let cluster = try cluster()
    #expect(
      try cluster.offsets(at: 1_500, of: [partition()], timeoutMilliseconds: 10_000) == [
        partition(): 1
      ])
    #expect(
      try cluster.offsets(at: 9_000, of: [partition()], timeoutMilliseconds: 10_000) == [
        partition(): 3
      ])
  }

  @Test("an unknown topic, an unreachable broker and a bad property are told apart")
  func errors() throws {
    #expect {
      _ = try cluster().partitionCounts(of: ["no-such-topic"], timeoutMilliseconds: 10_000)
    } throws: {
      ($0 as? KafkaError)?.code == .unknownTopic && "\($0)".contains("no-such-topic")
    }
    #expect {
      _ = try cluster(["bootstrap.servers": "127.0.0.1:1"]).partitionCounts(
        of: ["t"], timeoutMilliseconds: 2_000)
    } throws: {
      ($0 as? KafkaError)?.code == .unreachable && "\($0)".contains("127.0.0.1:1")
    }
    #expect { _ = try cluster(["sasl.pasword": "hunter2"]) } throws: {
      ($0 as? KafkaError)?.code == .badProperty && "\($0)".contains("sasl.pasword")
        && !"\($0)".contains("hunter2")
    }
    #expect(
      KafkaCluster.remarks(on: ["group.id": "x"]).first?.problem.hasPrefix(
        "is reserved: no consumer group") == true)
    #expect(
      KafkaCluster.remarks(on: ["fetch.wait.max.ms": "oops"]).first?.problem
        == "librdkafka refuses the value")
    #expect(
      KafkaCluster.remarks(on: ["sasl.pasword": "hunter2"]).first?.problem.contains(
        "has no such property") == true)
    #expect(KafkaCluster.remarks(on: ["client.id": "fine"]).first == nil)
  }
}

extension KafkaCluster {
  /// One range alone.
  func read(
    _ range: PartitionRange, silenceMilliseconds: Int64,
    body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    try read([range], silenceMilliseconds: silenceMilliseconds) { try body($0.messages) }
  }
}
