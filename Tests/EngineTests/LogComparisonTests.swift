import Jobs
import Offsets
import Testing
import Trials

@testable import Engine

@Suite("A log that is compared with what was read of it")
struct LogComparisonTests {
  private static func withMessage<Result>(
    _ value: String?, key: String? = nil, at offset: Offset = 4, milliseconds: Int64? = 7,
    _ body: (UnsafeBufferPointer<Message>) throws -> Result
  ) rethrows -> Result {
    let (key, value) = (key.map { Array($0.utf8) }, value.map { Array($0.utf8) })
    return try (key ?? []).withUnsafeBytes { keyBytes in
      try (value ?? []).withUnsafeBytes { valueBytes in
        let message = Message(
          offset: offset, timestampMilliseconds: milliseconds, key: key == nil ? nil : keyBytes,
          value: value == nil ? nil : valueBytes)
        return try withUnsafePointer(to: message) { try body(.init(start: $0, count: 1)) }
      }
    }
  }

  private static func fingerprint(
    _ value: String?, key: String? = nil, milliseconds: Int64? = 7
  ) -> Fingerprint {
    withMessage(value, key: key, milliseconds: milliseconds) { Fingerprint(of: $0[0]) }
  }

  @Test("tells messages apart by key, value and time, and null from empty")
  func fingerprints() {
    let all = [
      Self.fingerprint("a"), Self.fingerprint("b"), Self.fingerprint(""), Self.fingerprint(nil),
      Self.fingerprint("a", key: ""), Self.fingerprint("", key: "a"),
      Self.fingerprint(nil, key: "a"), Self.fingerprint("a", milliseconds: 8),
      Self.fingerprint("a", milliseconds: nil), Self.fingerprint("a", milliseconds: 0),
    ]
    #expect(Set(all).count == all.count)
    #expect(Self.fingerprint("a", key: "k") == Self.fingerprint("a", key: "k"))
    // Checkpoints hold it: another release has to find the same.
    #expect(Self.fingerprint("1,2\n", key: "k").hash == -3_432_144_634_073_652_194)
  }

  @Test("is read from the message on up to progress, but not through a gap or a long hole")
  func ranges() {
    func range(
      next: Offset, low: Offset = 0, gap: OffsetRange? = nil, at offset: Offset = 4
    ) -> OffsetRange? {
      var ledger = OffsetLedger(start: 0, nextOffset: gap?.from ?? next)
      if let gap { ledger.record(gap) }
      if next > ledger.nextOffset { ledger.advance(to: next) }
      return ledger.comparable(from: offset, low: low)
    }
    #expect(range(next: 5) == OffsetRange(from: 4, to: 5))
    #expect(range(next: 9) == OffsetRange(from: 4, to: 9))
    #expect(range(next: 1_004) == OffsetRange(from: 4, to: 1_004))
    #expect(range(next: 1_005) == OffsetRange(from: 4, to: 5))
    #expect(range(next: 9, gap: OffsetRange(from: 6, to: 8)) == OffsetRange(from: 4, to: 5))
    // Retention has taken it.
    #expect(range(next: 9, low: 4) != nil && range(next: 9, low: 5) == nil)
  }

  @Test("is replaced where another message stands, and only there")
  func verdicts() throws {
    let known = Self.fingerprint("a", key: "k")
    func verdict(_ value: String?, at offset: Offset = 4) throws -> Bool {
      try isReplaced(known) { body in
        Self.withMessage(value, key: "k", at: offset) { body($0) }
      }
    }
    #expect(try !verdict("a"))
    #expect(try verdict("b"))
    #expect(try verdict(nil))
    // Compaction has removed it: what comes is behind it. Or nothing comes at all.
    #expect(try !verdict("b", at: 5))
    #expect(try !isReplaced(known) { _ in })
    for code in [
      SourceError.Code.truncated(oldestHeld: 9),
      .undecodable(PartitionID(source: "main", topic: "t", partition: 0), baseOffset: 4),
    ] {
      #expect(try !isReplaced(known) { _ in throw SourceError(code, place: "", reason: "") })
    }
    #expect(throws: SourceError.self) {
      try isReplaced(known) { _ in throw SourceError(.unreachable, place: "", reason: "") }
    }
  }
}

/// What a real broker does not do on demand; `RecreatedTopicTests` has what it does.
@Suite("A run on a log of which something was taken")
struct RewrittenLogTests {
  private static func job(policy: String) throws -> Job {
    try JobFile.parse(
      text: """
        name: keys
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [w, x] }]
          format: csv
          on_data_loss: \(policy)
          fields: { id: int64, a: int64, b: int64, name: string }
        trigger: { max_offsets: 100 }
        window: global
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        """, path: "keys.yaml", environment: [:], readFile: { _ in nil })
  }

  /// After one run over the five messages of `w` and one of `x`, and a change.
  private struct World {
    let bench: Bench
    let job: Job
    let log: MemoryLog

    init(policy: String = "fail", change: (MemoryLog) -> Void) throws {
      bench = try Bench()
      bench.main.create("x", partitionCount: 1)
      job = try RewrittenLogTests.job(policy: policy)
      log = try #require(bench.main.topics["w"]?[0])
      append(1, to: "x")
      try bench.runWell(job)
      change(log)
    }

    func append(_ count: Int, to topic: String) {
      for number in 0..<count {
        bench.main.topics[topic]?[0].append(Array("1,\(number),2,new\n".utf8))
      }
    }

    var counted: String? { bench.results.values.first.map { String(decoding: $0, as: UTF8.self) } }
  }

  @Test("stops where the log was cut off below progress and has grown again", arguments: 0...4)
  func truncation(offset: Int) throws {
    let world = try World { $0.truncate(to: Offset(offset)) }
    world.append(9, to: "w")
    let run = world.bench.run(world.job)
    #expect(run.errorCode == .dataLoss && run.batchCount == 0, "\(run)")
    #expect(run.error?.contains("the message at offset 4 is not the one") == true, "\(run)")
    // It is not forgotten.
    #expect(world.bench.run(world.job).errorCode == .dataLoss)
    #expect(world.counted == "n\n6\n")
  }

  @Test("goes on where nothing that was read was cut off")
  func harmless() throws {
    for change in [{ $0.compact(4) }, { $0.removeRecords(before: 5) }, { $0.truncate(to: 5) }]
      as [(MemoryLog) -> Void]
    {
      let world = try World(change: change)
      world.append(3, to: "w")
      let run = world.bench.run(world.job)
      #expect(run.error == nil && run.recordCount == 3, "\(run)")
      #expect(world.counted == "n\n9\n")
    }
  }

  @Test("compares nothing of a partition that it does not read")
  func unplanned() throws {
    let world = try World { $0.truncate(to: 2) }
    // As long as before, so that nothing of it is to be read.
    world.append(3, to: "w")
    world.append(1, to: "x")
    let run = world.bench.run(world.job)
    #expect(run.error == nil && run.recordCount == 1, "\(run)")
  }

  @Test("counts the other partitions where the job passes over lost data, and ends with the error")
  func others() throws {
    let world = try World(policy: "skip") { $0.truncate(to: 2) }
    world.append(9, to: "w")
    world.append(2, to: "x")
    let run = world.bench.run(world.job)
    #expect(run.errorCode == .dataLoss && run.recordCount == 2, "\(run)")
    #expect(world.counted == "n\n8\n")
    world.append(2, to: "x")
    let next = world.bench.run(world.job)
    #expect(next.errorCode == .dataLoss && next.recordCount == 2, "\(next)")
  }
}
