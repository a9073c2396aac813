/// Offsets that a person wants to be counted after all, as far as that is still to be done.
package struct BackfillRequest: Hashable, Sendable {
  /// From 1, one more with every request of the job.
  package let number: Int64
  /// Whether its batches go before those of new messages.
  package let goesFirst: Bool
  /// Ascending; of a partition that is done, nothing.
  package private(set) var left: [Left]

  /// What is left of one partition.
  package struct Left: Hashable, Sendable {
    package let partition: PartitionID
    package var offsets: OffsetRangeSet
  }

  /// - Parameter ranges: In any order.
  package init(number: Int64, goesFirst: Bool, ranges: [PartitionRange]) {
    self.number = number
    self.goesFirst = goesFirst
    left = Dictionary(grouping: ranges, by: \.partition).map { partition, ranges in
      Left(partition: partition, offsets: OffsetRangeSet(ranges.map(\.range)))
    }.sorted { $0.partition < $1.partition }
  }

  package var isDone: Bool { left.allSatisfy(\.offsets.isEmpty) }
  package var offsetCount: Int64 { left.reduce(0) { $0 + $1.offsets.offsetCount } }

  package var ranges: [PartitionRange] {
    left.flatMap { left in
      left.offsets.ranges.map { PartitionRange(left.partition, $0) }
    }
  }

  /// What a batch can take: the first piece of each partition.
  package var readable: [PartitionRange] {
    left.map { left in
      PartitionRange(left.partition, left.offsets.ranges.first ?? OffsetRange(from: 0, to: 0))
    }
  }

  /// Whether a batch may read a range: the beginning of a piece, or all of it.
  package func canRead(_ range: PartitionRange) -> Bool {
    guard let index = index(of: range.partition),
      let piece = left[index].offsets.range(holding: range.from)
    else { return false }
    return piece.from == range.from && range.to <= piece.to
  }

  /// The ranges are counted, or given up.
  package mutating func remove(_ ranges: [PartitionRange]) {
    for range in ranges {
      if let index = index(of: range.partition) { left[index].offsets.remove(range.range) }
    }
  }

  private func index(of partition: PartitionID) -> Int? {
    left.firstIndex { $0.partition == partition }
  }
}
