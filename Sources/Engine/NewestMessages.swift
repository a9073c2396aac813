package import Jobs
package import Offsets

/// The newest messages of topics, over all partitions, for a person who looks: nothing is
/// committed, and no checkpoint is needed.
package struct NewestMessages: Sendable {
  /// The newest first.
  package let messages: [CopiedMessage]
  /// Whether older ones were left out because of their size.
  package let isCutBySize: Bool

  package init(messages: [CopiedMessage], isCutBySize: Bool = false) {
    self.messages = messages
    self.isCutBySize = isCutBySize
  }

  /// Of all messages together; the newest is there however large it is.
  package static let byteLimit = 1 << 26
  /// A partition is not read back further than this, where its newest offsets are almost all holes.
  static let offsetLimit: Int64 = 1_000_000

  /// Reads the newest messages of all topics of some clusters.
  ///
  /// - Parameter count: At most so many.
  /// - Throws: ``SourceError``.
  package static func read(
    _ count: Int, of clusters: [(cluster: Job.Cluster, source: any MessageSource)],
    byteLimit: Int = byteLimit
  ) throws -> NewestMessages {
    var kept = Kept(count: count, byteLimit: byteLimit)
    for (cluster, source) in clusters {
      let partitions = try listPartitions(of: cluster, in: source)
      try read(partitions, of: source, into: &kept)
    }
    kept.trim()
    return NewestMessages(messages: kept.messages, isCutBySize: kept.isCutBySize)
  }

  /// From the end of each partition back, until it has given enough or has no more: compaction and
  /// transactions leave holes.
  private static func read(
    _ partitions: [PartitionID], of source: any MessageSource, into kept: inout Kept
  ) throws {
    let ends = try source.ends(of: partitions)
    var open = partitions.compactMap { partition in
      ends[partition].flatMap { end -> Reading? in
        end.low < end.end ? Reading(partition: partition, end: end) : nil
      }
    }
    var stretch = Int64(kept.count)
    while !open.isEmpty {
      let ranges = open.map { reading in
        PartitionRange(
          reading.partition,
          OffsetRange(from: max(reading.low, reading.readFrom - stretch), to: reading.readFrom))
      }
      try read(ranges, of: source) { index, message in
        open[index].count += 1
        kept.append(CopiedMessage(message, of: open[index].partition))
      } again: { index, low in
        // What retention removed meanwhile was old.
        open[index].low = low
      }
      for index in open.indices { open[index].readFrom = max(ranges[index].from, open[index].low) }
      open.removeAll {
        $0.count >= kept.count || $0.readFrom <= $0.low || $0.end - $0.readFrom >= offsetLimit
      }
      stretch = min(stretch * 8, offsetLimit)
    }
  }

  /// One partition on its way back.
  private struct Reading {
    let partition: PartitionID
    let end: Offset
    var low: Offset
    /// All that can be read from here on was read.
    var readFrom: Offset
    var count = 0

    init(partition: PartitionID, end: PartitionEnd) {
      self.partition = partition
      self.end = end.end
      low = end.low
      readFrom = end.end
    }
  }

  private static func read(
    _ ranges: [PartitionRange], of source: any MessageSource,
    each: (Int, Message) -> Void, again: (Int, Offset) -> Void
  ) throws {
    // Offsets up to which a range was read already, or is gone.
    var from = ranges.map(\.from)
    for attempt in 1... {
      do {
        let rest = ranges.enumerated().map { index, range in
          PartitionRange(
            range.partition, OffsetRange(from: min(from[index], range.to), to: range.to))
        }
        return try source.read(rest) { lent in
          guard case .ofRange(let index, let messages) = lent else { return }
          for message in messages {
            each(index, message)
            from[index] = message.offset + 1
          }
        }
      } catch let error as SourceError {
        guard case .truncated = error.code, attempt < 4 else { throw error }
        let ends = try source.ends(of: ranges.map(\.partition))
        for (index, range) in ranges.enumerated() {
          guard let low = ends[range.partition]?.low, low > from[index] else { continue }
          from[index] = low
          again(index, low)
        }
      }
    }
  }

  /// The newest of what was read so far.
  private struct Kept {
    let count: Int
    let byteLimit: Int
    private(set) var messages: [CopiedMessage] = []
    private var byteCount = 0
    private(set) var isCutBySize = false

    init(count: Int, byteLimit: Int) {
      self.count = count
      self.byteLimit = byteLimit
    }

    mutating func append(_ message: CopiedMessage) {
      messages.append(message)
      byteCount += message.byteCount
      if messages.count >= 4 * count + 64 || byteCount > 2 * byteLimit { trim() }
    }

    mutating func trim() {
      messages.sort { $0.isNewer(than: $1) }
      messages.removeLast(max(0, messages.count - count))
      byteCount = messages.reduce(0) { $0 + $1.byteCount }
      while messages.count > 1, byteCount > byteLimit {
        byteCount -= messages.removeLast().byteCount
        isCutBySize = true
      }
    }
  }
}
