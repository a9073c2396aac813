import Engine
import Offsets

/// A cluster that is unreachable, slow or partial, and loses what retention takes, as the script
/// says.
final class FakeBroker: MessageSource {
  let source: String
  private let simulation: Simulation
  /// What the engine said that it will read.
  private var expected: [PartitionID: OffsetRange] = [:]

  init(_ source: String, _ simulation: Simulation) {
    self.source = source
    self.simulation = simulation
  }

  private func answer() throws(SourceError) {
    simulation.step()
    if simulation.fails(3) { throw SourceError(.unreachable, place: source, reason: "no answer") }
  }

  // MARK: - Metadata

  func clusterID() throws(SourceError) -> String? {
    try answer()
    return "cluster of \(source)"
  }

  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    try answer()
    return Dictionary(
      uniqueKeysWithValues: topics.map { topic in
        (
          topic,
          Int32(simulation.logs.keys.filter { $0.source == source && $0.topic == topic }.count)
        )
      })
  }

  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
    try answer()
    var ends: [PartitionID: PartitionEnd] = [:]
    for partition in partitions {
      guard let log = simulation.logs[partition] else { continue }
      ends[partition] = PartitionEnd(low: log.low, end: log.end)
      note(partition, log)
    }
    return ends
  }

  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] {
    [:]
  }

  func offsets(
    at timestampMilliseconds: Int64, of partitions: [PartitionID]
  ) throws(SourceError) -> [PartitionID: Offset] {
    try answer()
    var offsets: [PartitionID: Offset] = [:]
    for partition in partitions {
      guard let log = simulation.logs[partition] else { continue }
      offsets[partition] = log.firstOffset(at: timestampMilliseconds)
      note(partition, log)
    }
    return offsets
  }

  /// Tells the account what is answered: by the job's own start time, whatever the engine asked
  /// for.
  private func note(_ partition: PartitionID, _ log: Simulation.Log) {
    let atStartTime = log.firstOffset(at: DrawnJob.startTime)
    simulation.tellAccount {
      $0.answered(partition, .init(low: log.low, end: log.end, atStartTime: atStartTime))
    }
  }

  // MARK: - Groups

  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    try answer()
    return simulation.shown.filter { partitions.contains($0.key) }
  }

  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool {
    try answer()
    for (partition, offset) in offsets {
      simulation.shown[partition] = CommittedOffset(offset, metadata: metadata)
    }
    return true
  }

  // MARK: - Ranges

  func prepare(_ ranges: [PartitionRange]) throws(SourceError) {
    simulation.step()
    for range in ranges { expected[range.partition] = range.range }
    // Retention takes what was planned a moment ago, but nothing that a restored state may need.
    guard simulation.moves == nil, simulation.fails(2), let range = ranges.first,
      var log = simulation.logs[range.partition]
    else { return }
    log.low = max(log.low, min(log.end, range.from + 1))
    simulation.logs[range.partition] = log
  }

  /// Partitions take turns at random, as they do when answers come from several brokers.
  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    try answer()
    func lendAhead(behind index: Int, _ range: PartitionRange) throws {
      try readAhead(of: range) {
        try body($0.isEmpty ? .nothing : .ahead(behindRange: index, $0))
      }
    }
    // A range that came ahead as a whole is empty; what follows may come ahead as well.
    for (index, range) in ranges.enumerated() where range.isEmpty && simulation.chance(50) {
      try lendAhead(behind: index, range)
    }
    var left = ranges.enumerated().filter { !$0.element.isEmpty }
    while !left.isEmpty {
      let place = Int(simulation.pick(0...Int64(left.count - 1)))
      let (index, range) = left[place]
      simulation.readsOn()
      // A part of the range, or what is left of it.
      let middle = simulation.pick(range.from + 1...range.to)
      let isLast = middle == range.to
      try read(
        PartitionRange(range.partition, OffsetRange(from: range.from, to: middle)),
        isLast: isLast
      ) {
        try body($0.isEmpty ? .nothing : .ofRange(index, $0))
      }
      if isLast {
        left.remove(at: place)
        if simulation.chance(50) { try lendAhead(behind: index, range) }
      } else {
        left[place].element = PartitionRange(
          range.partition, OffsetRange(from: middle, to: range.to))
      }
    }
  }

  /// Lends some of what is expected behind a range; what fails there fails when it is asked for.
  private func readAhead(
    of range: PartitionRange, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws {
    guard let next = expected[range.partition], next.from == range.to, !next.isEmpty else {
      return
    }
    let end = simulation.pick(next.from + 1...next.to)
    do {
      try read(
        PartitionRange(range.partition, OffsetRange(from: next.from, to: end)), isLast: false, body)
    } catch is SourceError {}
  }

  private func read(
    _ range: PartitionRange, isLast: Bool, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws {
    guard let log = simulation.logs[range.partition] else {
      throw SourceError(.unknownTopic, place: "\(range)", reason: "not there")
    }
    if range.from < log.low {
      simulation.tellAccount { $0.removed(range.partition, below: log.low) }
      throw SourceError(
        .truncated(oldestHeld: log.low), place: "\(range)", reason: "begins at \(log.low)")
    }
    if range.to > log.end {
      throw SourceError(
        .beyondEnd(range.partition, end: log.end), place: "\(range)", reason: "ends at \(log.end)")
    }
    if simulation.fails(10) { try body(UnsafeBufferPointer(start: nil, count: 0)) }
    // Where a batch's bytes are bounded, one message is within the bound, and twice the same one
    // would end the process instead.
    let mayRepeat = !simulation.isBatchBounded
    let isRepeating = simulation.sabotage == .readsOneOffsetTwice && isLast && mayRepeat
    var position = isRepeating ? max(range.from - 1, log.low) : range.from
    while position < range.to {
      // A connection that breaks after some of the messages.
      if simulation.fails(1) {
        throw SourceError(.unreachable, place: "\(range)", reason: "broken at \(position)")
      }
      let end = min(range.to, position + simulation.pick(1...4))
      var lent: [(offset: Offset, message: DrawnMessage)] = []
      for offset in position..<end {
        guard let message = log.messages[Int(offset)] else { continue }
        lent.append((offset, message))
        if simulation.sabotage == .duplicatesAreCounted, mayRepeat, simulation.chance(5) {
          lent.append((offset, message))
        }
      }
      if !lent.isEmpty { try lend(lent, body) }
      position = end
    }
  }

  private func lend(
    _ lent: [(offset: Offset, message: DrawnMessage)],
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws {
    // One piece of memory: a place in it stays where it is while the messages are lent.
    var bytes: [UInt8] = []
    func place(_ part: [UInt8]?) -> Range<Int>? {
      guard let part else { return nil }
      bytes += part
      return bytes.count - part.count..<bytes.count
    }
    let places = lent.map { (key: place($0.message.key), value: place($0.message.bytes)) }
    try bytes.withUnsafeBytes { memory in
      let messages = zip(lent, places).map { lent, places in
        Message(
          offset: lent.offset, timestampMilliseconds: lent.message.timestampMilliseconds,
          key: places.key.map { UnsafeRawBufferPointer(rebasing: memory[$0]) },
          value: places.value.map { UnsafeRawBufferPointer(rebasing: memory[$0]) })
      }
      try messages.withUnsafeBufferPointer { try body($0) }
    }
  }
}
