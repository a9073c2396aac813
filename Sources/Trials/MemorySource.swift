package import Engine
package import Offsets

/// The log of one partition in memory. Messages are appended, holes are left, old ones are removed.
///
/// The bytes are copied once when they are appended, so that reading allocates nothing.
package final class MemoryLog {
  private var messages: ContiguousArray<Message> = []
  private let lent = LentBytes()
  package private(set) var low: Offset = 0
  package private(set) var end: Offset = 0

  package init() {}

  /// - Parameter value: Nil for a null value.
  package func append(
    _ value: [UInt8]?, key: [UInt8]? = nil, timestampMilliseconds: Int64? = 0,
    headers: [MessageHeaders.Header] = []
  ) {
    messages.append(
      Message(
        offset: end, timestampMilliseconds: timestampMilliseconds, key: key.map(lent.copy),
        value: value.map(lent.copy), headers: lent.keep(headers)))
    end += 1
  }

  /// Offsets that no reader ever sees: compacted, aborted, or a transaction's marker.
  package func appendHole() { end += 1 }

  /// Leaves out all offsets up to one: an empty log begins there, another has a hole.
  package func skip(to offset: Offset) {
    if low == end { low = max(low, offset) }
    end = max(end, offset)
  }

  /// Removes one message, as compaction does.
  package func compact(_ offset: Offset) { messages.removeAll { $0.offset == offset } }

  /// Cuts the log off, as an election of a replica that lags does.
  package func truncate(to offset: Offset) {
    messages.removeAll { $0.offset >= offset }
    end = min(end, offset)
  }

  /// Removes what lies before an offset, as retention does.
  package func removeRecords(before offset: Offset) {
    low = max(low, min(offset, end))
    messages.removeAll { $0.offset < low }
  }

  /// The first offset at or after an instant; the end when there is none.
  func offset(at timestampMilliseconds: Int64) -> Offset {
    messages.first { ($0.timestampMilliseconds ?? -1) >= timestampMilliseconds }?.offset ?? end
  }

  /// Lends the messages of a range, at most so many.
  ///
  /// - Returns: The offset behind what was lent: behind a hole as well.
  func lend(
    _ range: OffsetRange, atMost count: Int, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) rethrows -> Offset {
    let first = position(of: range.from)
    let last = min(position(of: range.to), first + count)
    if first < last {
      try messages.withUnsafeBufferPointer {
        try body(UnsafeBufferPointer(rebasing: $0[first..<last]))
      }
    }
    // What follows the last one lent may be a hole up to the range's end.
    return last < messages.count ? min(messages[last].offset, range.to) : range.to
  }

  /// The first message at or after an offset.
  private func position(of offset: Offset) -> Int {
    var (low, high) = (0, messages.count)
    while low < high {
      let middle = (low + high) / 2
      if messages[middle].offset < offset { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

/// A cluster in memory: topics with their partitions, and what is done to them between two runs.
package final class MemoryCluster {
  package var identifier: String
  package var topics: [String: [MemoryLog]] = [:]
  /// What consumer groups have committed, by their names.
  package var groups: [String: [PartitionID: CommittedOffset]] = [:]
  /// Groups in which consumers take part.
  package var groupsInUse: Set<String> = []

  package init(identifier: String) { self.identifier = identifier }

  /// Makes a topic, or adds partitions to it.
  package func create(_ topic: String, partitionCount: Int) {
    while topics[topic, default: []].count < partitionCount {
      topics[topic, default: []].append(MemoryLog())
    }
  }

  /// Messages at their own offsets.
  ///
  /// - Parameter messages: Ascending by offset within each partition.
  package convenience init(identifier: String, topics: [String], messages: [CopiedMessage]) {
    self.init(identifier: identifier)
    for topic in topics { create(topic, partitionCount: 1) }
    for message in messages {
      let partition = Int(message.partition.partition)
      create(message.partition.topic, partitionCount: partition + 1)
      guard let log = self.topics[message.partition.topic]?[partition] else { continue }
      log.skip(to: message.offset)
      log.append(
        message.value, key: message.key, timestampMilliseconds: message.timestampMilliseconds,
        headers: message.headers)
    }
  }

  func log(_ partition: PartitionID) throws(SourceError) -> MemoryLog {
    guard let logs = topics[partition.topic], logs.indices.contains(Int(partition.partition)) else {
      throw SourceError(
        .unknownTopic, place: "\(partition)", reason: "there is no such partition")
    }
    return logs[Int(partition.partition)]
  }
}

/// Reads a ``MemoryCluster`` as the engine's port to a broker, by the letter of its contract.
/// Nothing fails by chance.
package final class MemorySource: MessageSource {
  package let source: String
  private let cluster: MemoryCluster
  /// Most messages lent in one call.
  private let chunkCount: Int
  /// Most messages lent ahead, of each partition and in each read.
  private let aheadCount: Int
  private var prepared: [PartitionID: OffsetRange] = [:]

  package init(
    _ source: String, _ cluster: MemoryCluster, chunkCount: Int = 4_096, aheadCount: Int = 0
  ) {
    self.source = source
    self.cluster = cluster
    self.chunkCount = chunkCount
    self.aheadCount = aheadCount
  }

  package func clusterID() throws(SourceError) -> String? { cluster.identifier }

  package func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    var counts: [String: Int32] = [:]
    for topic in topics {
      guard let logs = cluster.topics[topic], !logs.isEmpty else {
        throw SourceError(
          .unknownTopic, place: "source \(source), topic \(topic)",
          reason: "there is no such topic")
      }
      counts[topic] = Int32(logs.count)
    }
    return counts
  }

  package func ends(
    of partitions: [PartitionID]
  ) throws(SourceError) -> [PartitionID: PartitionEnd] {
    var ends: [PartitionID: PartitionEnd] = [:]
    for partition in partitions {
      let log = try cluster.log(partition)
      ends[partition] = PartitionEnd(low: log.low, end: log.end)
    }
    return ends
  }

  package func highWatermarks(
    of partitions: [PartitionID]
  ) throws(SourceError) -> [PartitionID: Offset] {
    var marks: [PartitionID: Offset] = [:]
    for partition in partitions { marks[partition] = try cluster.log(partition).end }
    return marks
  }

  package func offsets(
    at timestampMilliseconds: Int64, of partitions: [PartitionID]
  ) throws(SourceError) -> [PartitionID: Offset] {
    var offsets: [PartitionID: Offset] = [:]
    for partition in partitions {
      offsets[partition] = try cluster.log(partition).offset(at: timestampMilliseconds)
    }
    return offsets
  }

  package func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    (cluster.groups[group] ?? [:]).filter { partitions.contains($0.key) }
  }

  package func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool {
    if cluster.groupsInUse.contains(group) { return false }
    for (partition, offset) in offsets {
      cluster.groups[group, default: [:]][partition] = CommittedOffset(offset, metadata: metadata)
    }
    return true
  }

  package func prepare(_ ranges: [PartitionRange]) throws(SourceError) {
    for range in ranges { prepared[range.partition] = range.range }
  }

  package func read(
    _ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void
  ) throws {
    var next = ranges.map(\.from)
    var open = Array(ranges.indices)
    while !open.isEmpty {
      var hasMoved = false
      for index in open {
        let range = ranges[index]
        let log = try cluster.log(range.partition)
        if next[index] < log.low && !range.isEmpty {
          throw SourceError(
            .truncated(oldestHeld: log.low), place: "\(range)",
            reason: "the log starts at \(log.low)")
        }
        if next[index] > log.end {
          throw SourceError(
            .beyondEnd(range.partition, end: log.end), place: "\(range)",
            reason: "the log ends at \(log.end)")
        }
        let to = min(range.to, log.end)
        guard next[index] < to else { continue }
        hasMoved = true
        next[index] = try log.lend(OffsetRange(from: next[index], to: to), atMost: chunkCount) {
          try body(.ofRange(index, $0))
        }
      }
      open.removeAll { next[$0] >= ranges[$0].to }
      if hasMoved { continue }
      guard let first = open.first else { break }
      // Nobody but the caller can add what is missing, and only while it is called.
      try lendAhead(ranges, open, body)
      let ends = try open.map { try cluster.log(ranges[$0].partition).end }
      try body(.nothing)
      if try open.map({ try cluster.log(ranges[$0].partition).end }) == ends {
        throw SourceError(
          .unreachable, place: "\(ranges[first])", reason: "no message at offset \(next[first])")
      }
    }
    try lendAhead(ranges, [], body)
  }

  /// Lends some of what was prepared behind the ranges that are complete, in calls of their own.
  private func lendAhead(
    _ ranges: [PartitionRange], _ open: [Int],
    _ body: (LentMessages) throws -> Void
  ) throws {
    guard aheadCount > 0 else { return }
    for (index, range) in ranges.enumerated() where !open.contains(index) {
      let log = try cluster.log(range.partition)
      guard let next = prepared[range.partition], next.from == range.to,
        next.from >= log.low, min(next.to, log.end) > next.from
      else { continue }
      // Prepared once, lent once: what is left of it is asked for by a later read.
      prepared[range.partition] = nil
      _ = try log.lend(
        OffsetRange(from: next.from, to: min(next.to, log.end)), atMost: aheadCount
      ) { try body(.ahead(behindRange: index, $0)) }
    }
  }
}
