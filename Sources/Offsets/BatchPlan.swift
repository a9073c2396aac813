/// What one batch reads: its number and one range per partition that has something to read, in the
/// order of ``PartitionID``.
package struct BatchPlan: Hashable, Sendable {
  /// From 1, one more with every committed batch of the job.
  package let batch: Int64
  package let ranges: [PartitionRange]
  /// The number of the ``BackfillRequest`` whose offsets these are; nil where the ranges begin at
  /// progress.
  package let backfill: Int64?
  /// Partitions of which it leaves offsets unread; nil where the job did not ask for them. They
  /// stay with the plan, so that whoever repeats it comes to the same cutoff, whatever has come
  /// meanwhile.
  package var behind: [PartitionID]?

  package init(
    batch: Int64, ranges: [PartitionRange], backfill: Int64? = nil, behind: [PartitionID]? = nil
  ) {
    self.batch = batch
    self.ranges = ranges.sorted { $0.partition < $1.partition }
    self.backfill = backfill
    self.behind = behind
  }

  package var offsetCount: Int64 { ranges.reduce(0) { $0 + $1.count } }
  package var isEmpty: Bool { ranges.isEmpty }

  package var rangesBySource: [(source: String, ranges: ArraySlice<PartitionRange>)] {
    Self.bySource(ranges)
  }

  /// Ranges in the order of their partitions, in pieces of one source each.
  package static func bySource(_ ranges: [PartitionRange]) -> [(
    source: String, ranges: ArraySlice<PartitionRange>
  )] {
    var pieces: [(source: String, ranges: ArraySlice<PartitionRange>)] = []
    var rest = ranges[...]
    while let source = rest.first?.partition.source {
      let piece = rest.prefix { $0.partition.source == source }
      pieces.append((source, piece))
      rest = rest[piece.endIndex...]
    }
    return pieces
  }
}

/// Plans a batch of at most `maxOffsets` offsets over what lies between progress and the ends.
///
/// Pure and deterministic: the same arguments give the same plan. Exactly `maxOffsets` in all when
/// that many are there. Each lagging partition gets its share of the total lag by largest
/// remainder, and at least one offset. Where more than ``partitionsPerBatch`` lag, or more than
/// there are offsets to give, they take turns by batch number.
///
/// - Parameters:
///   - backfill: The request that the ranges are of.
///   - unread: What is left of each partition that the job knows, in any order. Empty ranges give
///     nothing and keep the partition's place in the turns, so that its turn comes whatever other
///     partitions do.
///   - maxOffsets: At least 1.
package func planBatch(
  _ batch: Int64, of backfill: Int64? = nil, unread: [PartitionRange], maxOffsets: Int64
) -> BatchPlan {
  precondition(maxOffsets >= 1, "a batch of \(maxOffsets) offsets")
  let partitions = unread.sorted { $0.partition < $1.partition }
  let counts = splitOffsets(
    lags: partitions.map(\.count), maxOffsets: maxOffsets, turn: batch)
  return BatchPlan(
    batch: batch,
    ranges: zip(partitions, counts).compactMap { partition, count in
      guard count > 0 else { return nil }
      return PartitionRange(
        partition.partition,
        OffsetRange(from: partition.from, to: partition.from + count))
    }, backfill: backfill)
}

/// Of how many partitions a batch takes, and of no more unless it needs them to be full: each costs
/// it some microseconds, however few of its offsets are read, for its queue, its progress and its
/// lineage.
let partitionsPerBatch = 128

/// The number of offsets each partition gives to a batch; the rules are
/// ``planBatch(_:unread:maxOffsets:)``'s.
///
/// - Parameter lags: Of every partition, 0 where nothing is left.
func splitOffsets(lags: [Int64], maxOffsets: Int64, turn: Int64) -> [Int64] {
  let total = lags.reduce(UInt64(0)) { $0 + UInt64($1) }
  if total <= UInt64(maxOffsets) { return lags }

  var counts = [Int64](repeating: 0, count: lags.count)
  let chosen = choose(lags: lags, maxOffsets: maxOffsets, turn: turn)
  for (index, count) in zip(chosen, share(lags: chosen.map { lags[$0] }, maxOffsets: maxOffsets)) {
    counts[index] = count
  }
  return counts
}

/// The positions of the partitions whose turn it is: the first ``partitionsPerBatch`` that lag from
/// the turn's place on, and as many more as a full batch needs.
///
/// The place moves on by as many partitions with every turn, so it passes each of them in as few
/// turns as can be.
private func choose(lags: [Int64], maxOffsets: Int64, turn: Int64) -> [Int] {
  let wanted = min(partitionsPerBatch, Int(clamping: maxOffsets))
  let count = UInt64(lags.count)
  let first =
    lags.count <= wanted ? 0 : Int(UInt64(bitPattern: turn) % count * UInt64(wanted) % count)
  var chosen: [Int] = []
  var offsetCount: UInt64 = 0
  for step in lags.indices where chosen.count < wanted || offsetCount < UInt64(maxOffsets) {
    let index = (first + step) % lags.count
    if lags[index] == 0 { continue }
    chosen.append(index)
    offsetCount += UInt64(lags[index])
  }
  return chosen
}

/// Shares of partitions that hold `maxOffsets` or more together, and are no more than `maxOffsets`.
private func share(lags: [Int64], maxOffsets: Int64) -> [Int64] {
  let total = lags.reduce(UInt64(0)) { $0 + UInt64($1) }
  // By largest remainder. No share is above its lag, because maxOffsets is not above the total.
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
  remainders.sort {
    $0.remainder != $1.remainder ? $0.remainder > $1.remainder : $0.index < $1.index
  }
  for (_, index) in remainders.prefix(left) { counts[index] += 1 }

  giveOneToEach(&counts)
  return counts
}

/// Moves one offset to every partition without any, taken in rounds from those that have most.
private func giveOneToEach(_ counts: inout [Int64]) {
  let without = counts.indices.filter { counts[$0] == 0 }
  guard !without.isEmpty else { return }
  let largestFirst = counts.indices.sorted {
    counts[$0] != counts[$1] ? counts[$0] > counts[$1] : $0 < $1
  }
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
