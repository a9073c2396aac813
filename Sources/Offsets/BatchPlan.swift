/// What one batch reads: its number and one range per partition that has something to read, in the order of ``PartitionID``.
package struct BatchPlan: Hashable, Sendable {
  /// From 1, one more with every committed batch of the job.
  package let batch: Int64
  package let ranges: [PartitionRange]

  package init(batch: Int64, ranges: [PartitionRange]) {
    self.batch = batch
    self.ranges = ranges.sorted { $0.partition < $1.partition }
  }

  package var offsetCount: Int64 { ranges.reduce(0) { $0 + $1.range.count } }
  package var isEmpty: Bool { ranges.isEmpty }

  /// The ranges in pieces of one source each, in order.
  package var rangesBySource: [ArraySlice<PartitionRange>] {
    var pieces: [ArraySlice<PartitionRange>] = []
    var start = 0
    for index in ranges.indices.dropFirst() where ranges[index].partition.source != ranges[start].partition.source {
      pieces.append(ranges[start..<index])
      start = index
    }
    return ranges.isEmpty ? [] : pieces + [ranges[start...]]
  }
}

/// Plans a batch of at most `maxOffsets` offsets over what lies between progress and the ends.
///
/// Pure and deterministic: the same arguments give the same plan. Exactly `maxOffsets` in all when that many are there. Each lagging
/// partition gets its share of the total lag by largest remainder, and at least one offset while `maxOffsets` allows; where there are more
/// lagging partitions than offsets to give, the partitions take turns by batch number, one offset each.
///
/// - Parameters:
///   - unread: What is left of each partition, in any order; empty ranges take no part.
///   - maxOffsets: At least 1.
package func planBatch(_ batch: Int64, unread: [PartitionRange], maxOffsets: Int64) -> BatchPlan {
  precondition(maxOffsets >= 1, "a batch of \(maxOffsets) offsets")
  let lagging = unread.filter { !$0.range.isEmpty }.sorted { $0.partition < $1.partition }
  let counts = splitOffsets(lags: lagging.map(\.range.count), maxOffsets: maxOffsets, turn: batch)
  return BatchPlan(
    batch: batch,
    ranges: zip(lagging, counts).compactMap { partition, count in
      guard count > 0 else { return nil }
      return PartitionRange(partition.partition, OffsetRange(from: partition.range.from, to: partition.range.from + count))
    })
}

/// The number of offsets each partition gives to a batch; the rules are ``planBatch(_:unread:maxOffsets:)``'s.
///
/// - Parameter lags: At least 1 each.
func splitOffsets(lags: [Int64], maxOffsets: Int64, turn: Int64) -> [Int64] {
  let total = lags.reduce(UInt64(0)) { $0 + UInt64($1) }
  if total <= UInt64(maxOffsets) { return lags }
  if lags.count >= maxOffsets { return turns(partitionCount: lags.count, offsetCount: Int(maxOffsets), turn: turn) }

  // Shares by largest remainder. Every share is below its lag, because maxOffsets is below the total.
  var counts = [Int64](repeating: 0, count: lags.count)
  var remainders: [(remainder: UInt64, index: Int)] = []
  remainders.reserveCapacity(lags.count)
  for (index, lag) in lags.enumerated() {
    let product = UInt64(maxOffsets).multipliedFullWidth(by: UInt64(lag))
    let (quotient, remainder) = total.dividingFullWidth(product)
    counts[index] = Int64(quotient)
    remainders.append((remainder, index))
  }
  let left = Int(maxOffsets - counts.reduce(0, +))
  remainders.sort { $0.remainder != $1.remainder ? $0.remainder > $1.remainder : $0.index < $1.index }
  for (_, index) in remainders.prefix(left) { counts[index] += 1 }

  giveOneToEach(&counts)
  return counts
}

/// Moves one offset to every partition without any, taken in rounds from those that have most.
private func giveOneToEach(_ counts: inout [Int64]) {
  let without = counts.indices.filter { counts[$0] == 0 }
  guard !without.isEmpty else { return }
  let largestFirst = counts.indices.sorted { counts[$0] != counts[$1] ? counts[$0] > counts[$1] : $0 < $1 }
  var wanted = without.count
  while wanted > 0 {
    for index in largestFirst {
      guard wanted > 0, counts[index] > 1 else { break }
      counts[index] -= 1
      wanted -= 1
    }
  }
  for index in without { counts[index] = 1 }
}

private func turns(partitionCount: Int, offsetCount: Int, turn: Int64) -> [Int64] {
  var counts = [Int64](repeating: 0, count: partitionCount)
  let first = Int((UInt64(bitPattern: turn) % UInt64(partitionCount)) * UInt64(offsetCount % partitionCount) % UInt64(partitionCount))
  for step in 0..<offsetCount { counts[(first + step) % partitionCount] = 1 }
  return counts
}
