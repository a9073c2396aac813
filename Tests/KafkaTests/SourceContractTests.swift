import Engine
import Offsets
import TestSupport
import Testing

/// One suite for every source of messages: the product's on a real broker and on a mock cluster,
/// and the fakes that other tests trust.
@Suite("A source of messages", .serialized)
struct SourceContractTests {
  enum Kind: String, CaseIterable, Sendable {
    case broker, mock, memory, simulation

    func bench(partitionCount: Int = 1) throws -> any SourceBench {
      switch self {
      case .broker: try BrokerBench(partitionCount: partitionCount)
      case .mock: try MockBench(partitionCount: partitionCount)
      case .memory: MemoryBench(partitionCount: partitionCount)
      case .simulation: try SimulationBench(partitionCount: partitionCount)
      }
    }

    /// Those that may be asked for offsets that are not there. The simulation's log is an array,
    /// whose
    /// end is the process's: histories ask only for what there is.
    static let outliving: [Kind] = [.broker, .mock, .memory]

    /// What an implementation cannot do, and why. The tests are run all the same, and must fail:
    /// what it learns is to be taken out here.
    func lack(_ ability: Ability) -> String? {
      switch (self, ability) {
      case (.mock, .holes): "the mock cluster has no aborted records and no compaction"
      case (.mock, .openTransactions): "the mock cluster knows no isolation"
      case (.mock, .removal): "the mock cluster of librdkafka 2.0.2 removes no records on demand"
      case (.mock, .unknownTopics): "the mock cluster makes a topic that is asked for"
      case (.mock, .times): "the mock cluster answers no question about times"
      case (.memory, .openTransactions): "a log in memory has one end"
      case (.simulation, .openTransactions): "histories never ask for high watermarks"
      case (.simulation, .unknownTopics): "histories never name a topic that is not there"
      case (.simulation, .nulls): "histories have records of one form, without keys"
      default: nil
      }
    }
  }

  enum Ability: String, CaseIterable, Sendable {
    case holes, openTransactions, removal, times, unknownTopics, nulls
  }

  /// Holds a source against one part of the contract; one that lacks the ability must fail.
  private func hold(_ kind: Kind, _ ability: Ability, _ body: () throws -> Void) {
    if let reason = kind.lack(ability) {
      withKnownIssue("\(kind): \(reason)") { try body() }
    } else {
      do { try body() } catch { Issue.record("\(kind): \(error)") }
    }
  }

  // MARK: - Metadata

  @Test("tells its partitions, and the same id each time", arguments: Kind.allCases)
  func metadata(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 3)
    #expect(try bench.source.partitionCounts(of: [bench.topic]) == [bench.topic: 3])
    #expect(try bench.source.clusterID() == bench.source.clusterID())
  }

  @Test("names a topic that does not exist", arguments: Kind.allCases)
  func unknownTopic(kind: Kind) throws {
    let bench = try kind.bench()
    hold(kind, .unknownTopics) {
      #expect {
        _ = try bench.source.partitionCounts(of: [bench.topic, "no-such-topic"])
      } throws: {
        ($0 as? SourceError)?.code == .unknownTopic && "\($0)".contains("no-such-topic")
      }
    }
  }

  @Test("tells between which offsets a partition can be read", arguments: Kind.allCases)
  func ends(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 2)
    let partitions = [bench.partition(0), bench.partition(1)]
    try bench.append(LogPiece.records(0..<5), to: 0)
    let empty = PartitionEnd(low: 0, end: 0)
    #expect(
      try bench.source.ends(of: partitions)
        == [partitions[0]: PartitionEnd(low: 0, end: 5), partitions[1]: empty])
    hold(kind, .removal) {
      try bench.removeRecords(before: 3, of: 0)
      #expect(
        try bench.source.ends(of: partitions)
          == [partitions[0]: PartitionEnd(low: 3, end: 5), partitions[1]: empty])
    }
  }

  @Test(
    "ends before an open transaction, and tells how much it holds back", arguments: Kind.allCases)
  func openTransaction(kind: Kind) throws {
    let bench = try kind.bench()
    hold(kind, .openTransactions) {
      try bench.append(LogPiece.records(0..<2) + [.open(recordCount: 3)], to: 0)
      #expect(try bench.source.ends(of: [bench.partition()])[bench.partition()]?.end == 2)
      #expect(try bench.source.highWatermarks(of: [bench.partition()]) == [bench.partition(): 5])
      #expect(try read(bench, [(0, 0, 2)]).values == [bench.values(0..<2)])
    }
  }

  @Test("finds the first offset at or after an instant, else the end", arguments: Kind.allCases)
  func times(kind: Kind) throws {
    let bench = try kind.bench()
    hold(kind, .times) {
      let pieces = [1_000, 2_000, 3_000].map {
        LogPiece.record(0, timestampMilliseconds: $0)
      }
      try bench.append(pieces, to: 0)
      for (instant, offset) in [(0, 0), (1_000, 0), (1_001, 1), (3_000, 2), (3_001, 3)] {
        let found = try bench.source.offsets(at: Int64(instant), of: [bench.partition()])
        #expect(found == [bench.partition(): Int64(offset)], "\(instant)")
      }
    }
  }

  @Test(
    "commits offsets of a group for others to see, beside those there", arguments: Kind.allCases)
  func groups(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 2)
    try bench.append(LogPiece.records(0..<5), to: 0)
    let group = uniqueName("group")
    let partitions = [bench.partition(0), bench.partition(1)]
    func committed() throws -> [PartitionID: CommittedOffset] {
      try bench.source.committed(of: partitions, in: group)
    }
    func commit(_ offsets: [PartitionID: Offset], _ metadata: String) throws -> Bool {
      try bench.source.commit(offsets, to: group, metadata: metadata)
    }
    #expect(try committed() == [:])
    #expect(try commit([partitions[0]: 5], "tranche ü"))
    #expect(try committed() == [partitions[0]: CommittedOffset(5, metadata: "tranche ü")])
    #expect(try commit([partitions[0]: 3, partitions[1]: 0], "x"))
    #expect(try commit([partitions[1]: 0], ""))
    #expect(
      try committed() == [
        partitions[0]: CommittedOffset(3, metadata: "x"),
        partitions[1]: CommittedOffset(0, metadata: ""),
      ])
  }

  // MARK: - Ranges

  @Test("delivers exactly the offsets of a range, in any order of ranges", arguments: Kind.allCases)
  func exactRanges(kind: Kind) throws {
    let bench = try kind.bench()
    try bench.append(LogPiece.records(0..<5), to: 0)
    for from in (0...5).reversed() {
      for to in from...5 {
        let found = try read(bench, [(0, from, to)])
        #expect(found.values == [bench.values(from..<to)], "[\(from), \(to))")
        #expect(found.offsets == [Array(Int64(from)..<Int64(to))], "[\(from), \(to))")
      }
    }
  }

  @Test("passes over holes, and ends where a range ends in them", arguments: Kind.allCases)
  func holes(kind: Kind) throws {
    let bench = try kind.bench()
    hold(kind, .holes) {
      // Offsets: 0 and 1 records, 2 to 5 holes, 6 a record, 7 and 8 holes.
      try bench.append(
        LogPiece.records(0..<2) + [.aborted(recordCount: 3), .record(2), .aborted(recordCount: 1)],
        to: 0)
      let end = try #require(try bench.source.ends(of: [bench.partition()])[bench.partition()]?.end)
      #expect(end == 9)
      for width in [1, 2, 3, 5, 9] {
        var offsets: [Offset] = []
        for from in stride(from: 0, to: Int(end), by: width) {
          let to = min(Int(end), from + width)
          let found = try read(bench, [(0, from, to)]).offsets[0]
          #expect(found == [0, 1, 6].filter { $0 >= from && $0 < to }, "[\(from), \(to))")
          offsets += found
        }
        #expect(offsets == [0, 1, 6], "in steps of \(width)")
      }
    }
  }

  @Test(
    "reads several partitions in turn, each in order, some of them empty", arguments: Kind.allCases)
  func partitions(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 4)
    let counts = [40, 0, 3, 17]
    for (number, count) in counts.enumerated() {
      let first = number * 1_000
      if count > 0 { try bench.append(LogPiece.records(first..<first + count), to: Int32(number)) }
    }
    for width in [40, 7] {
      var values: [[String]] = [[], [], [], []]
      for start in stride(from: 0, to: 40, by: width) {
        let ranges = counts.indices.map { number in
          (number, min(start, counts[number]), min(start + width, counts[number]))
        }
        for (number, found) in try read(bench, ranges).values.enumerated() {
          values[number] += found
        }
      }
      for (number, count) in counts.enumerated() {
        #expect(values[number] == bench.values(number * 1_000..<number * 1_000 + count))
      }
    }
  }

  @Test(
    "reads ranges again from their starts after the reader has thrown", arguments: Kind.allCases)
  func again(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 2)
    try bench.append(LogPiece.records(0..<10), to: 0)
    try bench.append(LogPiece.records(100..<110), to: 1)
    for failing in 1...12 {
      #expect(try givesUp(bench, [(0, 2, 9), (1, 0, 10)], after: failing), "\(failing) messages")
    }
    let found = try read(bench, [(0, 2, 9), (1, 0, 10)])
    #expect(found.values == [bench.values(2..<9), bench.values(100..<110)])
  }

  @Test(
    "calls with no messages while it waits, so that the wait can be ended, and delivers what comes",
    arguments: Kind.outliving)
  func waiting(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 2)
    try bench.append(LogPiece.records(0..<2), to: 0)
    #expect(try givesUp(bench, [(0, 0, 2), (1, 0, 1)], after: nil))
    var isMissing = true
    let found = try read(bench, [(0, 0, 2), (1, 0, 1)]) { _ in
      if isMissing { try bench.append([.record(7)], to: 1) }
      isMissing = false
    }
    #expect(!isMissing)
    #expect(found.values == [bench.values(0..<2), [bench.value(7)]])
  }

  @Test(
    "lends ahead only what it was told of, in order and from its start, and again only if asked",
    arguments: Kind.allCases)
  func ahead(kind: Kind) throws {
    let bench = try kind.bench(partitionCount: 2)
    // The product lends ahead what its queue cannot hold.
    let width = 3_000
    // The simulation lends ahead by chance: the same chance each time, as its seed is fixed.
    let roundCount = kind == .simulation ? 16 : 4
    try bench.append(LogPiece.records(0..<roundCount * width), to: 0)
    let isWaiting = Kind.outliving.contains(kind)
    if !isWaiting { try bench.append(LogPiece.records(0..<roundCount), to: 1) }
    var aheadCount = 0
    for round in 0..<roundCount {
      let (start, middle, end) = (round * width, round * width + 1_000, (round + 1) * width)
      // Behind a gap nothing may come ahead.
      let isAdjacent = round != 2
      let next = OffsetRange(from: Int64(isAdjacent ? middle : middle + 2), to: Int64(end))
      let ranges = [(0, start, middle), (1, round, round + 1)]
      try bench.source.prepare(bench.ranges(ranges))
      try bench.source.prepare([PartitionRange(bench.partition(0), next)])
      // The second partition keeps the source waiting until something of the first has come ahead.
      var waitCount = 0
      var isMissing = isWaiting
      let found = try read(bench, ranges, next: [0: next]) { aheadSoFar in
        waitCount += 1
        guard isMissing && (aheadSoFar > 0 || !isAdjacent || waitCount > 100) else { return }
        try bench.append([.record(round)], to: 1)
        isMissing = false
      }
      #expect(found.values[0] == bench.values(start..<middle))
      #expect(found.values[1] == [bench.value(round)])
      #expect(isAdjacent || found.ahead.isEmpty)
      aheadCount += found.ahead.count
      // What came ahead is not lent again by a read of what is left, and is by one that asks for
      // it.
      let taken = middle + found.ahead.count
      #expect(try read(bench, [(0, taken, end)]).values[0] == bench.values(taken..<end))
      if round % 2 == 0 {
        #expect(try read(bench, [(0, middle, end)]).values[0] == bench.values(middle..<end))
      }
    }
    #expect(aheadCount > 0, "\(kind) never lends ahead")
  }

  @Test(
    "says where a log begins whose start was removed, and goes on there", arguments: Kind.allCases)
  func truncated(kind: Kind) throws {
    let bench = try kind.bench()
    try bench.append(LogPiece.records(0..<5), to: 0)
    hold(kind, .removal) {
      try bench.removeRecords(before: 3, of: 0)
      #expect { try read(bench, [(0, 0, 2)]) } throws: {
        ($0 as? SourceError)?.code == .truncated(oldestHeld: 3)
      }
      #expect(try read(bench, [(0, 3, 5)]).values == [bench.values(3..<5)])
    }
  }

  @Test(
    "says when a range lies beyond the log's end, and goes on before it",
    arguments: Kind.outliving)
  func beyondEnd(kind: Kind) throws {
    let bench = try kind.bench()
    try bench.append(LogPiece.records(0..<5), to: 0)
    #expect { try read(bench, [(0, 9, 10)]) } throws: {
      ($0 as? SourceError)?.code == .beyondEnd(bench.partition(0), end: 5)
    }
    #expect(try read(bench, [(0, 3, 5)]).values == [bench.values(3..<5)])
  }

  @Test("tells null from empty, of keys and values, and the time of each", arguments: Kind.allCases)
  func nulls(kind: Kind) throws {
    let bench = try kind.bench()
    hold(kind, .nulls) {
      let messages: [(value: String?, key: String?, timestampMilliseconds: Int64)] = [
        (nil, nil, 1), ("", "", 1_234), (nil, "k", 5_678), ("v", nil, 1_700_000_000_000),
      ]
      try bench.append(
        messages.map {
          .raw(value: $0.value, key: $0.key, timestampMilliseconds: $0.timestampMilliseconds)
        }, to: 0)
      var found: [(value: String?, key: String?, timestampMilliseconds: Int64?)] = []
      try bench.source.read(bench.ranges([(0, 0, messages.count)])) { lent in
        for message in lent.messages {
          found.append(
            (message.value.map(text), message.key.map(text), message.timestampMilliseconds))
        }
      }
      #expect(found.map(\.value) == messages.map(\.value))
      #expect(found.map(\.key) == messages.map(\.key))
      #expect(found.map(\.timestampMilliseconds) == messages.map(\.timestampMilliseconds))
    }
  }

  // MARK: - Reading

  private struct GivenUp: Error {}

  /// Whether a read ends with what its reader throws: after so many messages, or when it is called
  /// with none.
  private func givesUp(
    _ bench: any SourceBench, _ ranges: [(partition: Int, from: Int, to: Int)], after limit: Int?
  ) throws -> Bool {
    var count = 0
    do {
      try bench.source.read(bench.ranges(ranges)) { lent in
        count += lent.messages.count
        if let limit, count >= limit { throw GivenUp() }
        if limit == nil, case .nothing = lent { throw GivenUp() }
      }
      return false
    } catch is GivenUp {
      return true
    }
  }

  private struct Found {
    /// Of each range.
    var offsets: [[Offset]]
    var values: [[String]]
    /// Offsets lent ahead, of all partitions.
    var ahead: [Offset] = []
  }

  /// Reads some ranges and checks what holds of every call.
  ///
  /// - Parameters:
  ///   - next: By position of a range, what the source was told will be read behind it.
  ///   - whileWaiting: Called where the source has nothing.
  private func read(
    _ bench: any SourceBench, _ ranges: [(partition: Int, from: Int, to: Int)],
    next: [Int: OffsetRange] = [:],
    whileWaiting: (_ aheadCount: Int) throws -> Void = { _ in }
  ) throws -> Found {
    let asked = bench.ranges(ranges)
    var found = Found(
      offsets: asked.map { _ in [] }, values: asked.map { _ in [] })
    var expected = asked.map(\.from)
    var aheadOf = asked.map(\.to)
    try bench.source.read(asked) { lent in
      let messages = lent.messages
      guard let first = messages.first?.offset, let last = messages.last?.offset else {
        if case .nothing = lent {} else { Issue.record("\(lent) without a message") }
        return try whileWaiting(found.ahead.count)
      }
      #expect(zip(messages, messages.dropFirst()).allSatisfy { $0.offset < $1.offset })
      switch lent {
      case .ahead(let index, _):
        // From the start of what was prepared, without a second time.
        let end = asked[index].range.to
        let prepared = next[index] ?? OffsetRange(from: end, to: end)
        #expect(prepared.from == end && last < prepared.to, "\(first) to \(last) ahead")
        #expect(first == aheadOf[index], "\(first) ahead where \(aheadOf[index]) is next")
        aheadOf[index] = last + 1
        found.ahead += messages.map(\.offset)
      case .ofRange(let index, _):
        let range = asked[index].range
        #expect(first >= expected[index] && last < range.to, "\(first) to \(last) of \(range)")
        expected[index] = last + 1
        found.offsets[index] += messages.map(\.offset)
        found.values[index] += messages.map { $0.value.map(text) ?? "null" }
      case .nothing: break
      }
    }
    return found
  }
}

private func text(_ bytes: UnsafeRawBufferPointer) -> String {
  String(decoding: bytes, as: UTF8.self)
}

extension SourceBench {
  func values(_ numbers: Range<Int>) -> [String] { numbers.map(value) }

  func ranges(_ ranges: [(partition: Int, from: Int, to: Int)]) -> [PartitionRange] {
    ranges.map {
      PartitionRange(
        partition(Int32($0.partition)), OffsetRange(from: Int64($0.from), to: Int64($0.to)))
    }
  }
}
