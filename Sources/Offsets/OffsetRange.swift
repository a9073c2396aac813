/// A position in a partition: the number of one message. Kafka's own 64-bit offset, never negative
/// here.
package typealias Offset = Int64

/// One partition of one topic of one source (a source is a named Kafka cluster of the job file).
///
/// Ordered by source, topic and number: the order in which every batch is read and folded.
package struct PartitionID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let source: String
  package let topic: String
  package let partition: Int32

  package init(source: String, topic: String, partition: Int32) {
    self.source = source
    self.topic = topic
    self.partition = partition
  }

  /// `main/orders[3]`
  package var description: String { "\(source)/\(topic)[\(partition)]" }

  /// The number and the topic's last eight bytes tell partitions apart well enough: hashing two
  /// texts would take most of the time of a plan over a thousand.
  package func hash(into hasher: inout Hasher) {
    hasher.combine(partition)
    hasher.combine(topic.utf8.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  package static func < (left: PartitionID, right: PartitionID) -> Bool {
    if left.source != right.source {
      return left.source.utf8.lexicographicallyPrecedes(right.source.utf8)
    }
    if left.topic != right.topic {
      return left.topic.utf8.lexicographicallyPrecedes(right.topic.utf8)
    }
    return left.partition < right.partition
  }
}

/// Half-open offsets of a partition: `from` belongs to the range, `to` does not.
package struct OffsetRange: Hashable, Sendable, CustomStringConvertible {
  package let from: Offset
  package let to: Offset

  /// - Precondition: `0 <= from <= to`.
  package init(from: Offset, to: Offset) {
    precondition(from >= 0 && from <= to, "offset range [\(from), \(to)) is reversed or negative")
    self.from = from
    self.to = to
  }

  /// The distance between the ends. Fewer messages than this may exist: compaction and control
  /// records leave holes.
  package var count: Int64 { to - from }
  package var isEmpty: Bool { from == to }
  package func contains(_ offset: Offset) -> Bool { offset >= from && offset < to }

  /// `[1200, 9000)`
  package var description: String { "[\(from), \(to))" }
}

/// A range of offsets and the partition it belongs to.
package struct PartitionRange: Hashable, Sendable, CustomStringConvertible {
  package let partition: PartitionID
  package let range: OffsetRange

  package init(_ partition: PartitionID, _ range: OffsetRange) {
    self.partition = partition
    self.range = range
  }

  package var from: Offset { range.from }
  package var to: Offset { range.to }
  package var count: Int64 { range.count }
  package var isEmpty: Bool { range.isEmpty }

  /// `main/orders[3] [1200, 9000)`
  package var description: String { "\(partition) \(range)" }
}
