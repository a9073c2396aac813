import TestSupport
import Testing

@testable import Offsets

@Suite("The plan of a batch")
struct BatchPlanTests {
  private func unread(_ lags: [Int64]) -> [PartitionRange] {
    lags.enumerated().map { index, lag in
      PartitionRange(
        PartitionID(source: "main", topic: "t", partition: Int32(index)),
        OffsetRange(from: 100, to: 100 + lag))
    }
  }

  @Test("takes everything when there is no more than the limit")
  func everything() {
    let plan = planBatch(1, unread: unread([3, 0, 5]), maxOffsets: 8)
    #expect(plan.ranges.map(\.count) == [3, 5])
    #expect(plan.offsetCount == 8)
  }

  struct Split: Sendable {
    let lags: [Int64]
    let maxOffsets: Int64
    let expected: [Int64]
  }

  @Test(
    "shares in proportion to lag by largest remainder",
    arguments: [
      Split(lags: [5000, 3000, 2000], maxOffsets: 1000, expected: [500, 300, 200]),
      Split(lags: [10, 10, 10], maxOffsets: 10, expected: [4, 3, 3]),
      Split(lags: [101, 11, 1], maxOffsets: 10, expected: [8, 1, 1]),
      Split(lags: [1_000_000, 1, 1], maxOffsets: 4, expected: [2, 1, 1]),
    ])
  func proportion(split: Split) {
    #expect(splitOffsets(lags: split.lags, maxOffsets: split.maxOffsets, turn: 1) == split.expected)
  }

  @Test(
    """
    sums exactly, never exceeds a lag, starves none and is deterministic, for 1 to 1,000 \
    partitions
    """
  )
  func properties() {
    var random = SeededRandom(seed: 7)
    for _ in 0..<3_000 {
      let count = Int.random(in: 1...(Bool.random(using: &random) ? 12 : 1_000), using: &random)
      let scales: [Int64] = [1, 10, 1_000, 1_000_000, Int64.max / 2_000]
      let scale = scales.randomElement(using: &random) ?? 1
      let lags = (0..<count).map { _ in Int64.random(in: 1...scale, using: &random) }
      let limits: [Int64] = [1, 10, 1_000, 10_000_000]
      let maxOffsets = Int64.random(
        in: 1...(limits.randomElement(using: &random) ?? 1), using: &random)
      let turn = Int64.random(in: 0...1_000_000, using: &random)
      let counts = splitOffsets(lags: lags, maxOffsets: maxOffsets, turn: turn)
      let total = lags.reduce(0, +)
      #expect(counts.reduce(0, +) == min(total, maxOffsets))
      let isWithinLags = zip(counts, lags).allSatisfy { $0 >= 0 && $0 <= $1 }
      #expect(isWithinLags)
      let takenFrom = counts.count { $0 > 0 }
      #expect(takenFrom >= min(count, partitionsPerBatch, Int(clamping: maxOffsets)))
      // More than those only where they do not fill the batch: without the last of them, it would
      // not be full.
      if takenFrom > partitionsPerBatch && total > maxOffsets {
        let taken = lags.indices.filter { counts[$0] > 0 }.map { lags[$0] }
        #expect(taken.reduce(0, +) - (taken.max() ?? 0) < maxOffsets)
      }
      #expect(splitOffsets(lags: lags, maxOffsets: maxOffsets, turn: turn) == counts)
    }
  }

  @Test(
    """
    with more lagging partitions than a batch takes from or has offsets to give, every partition \
    has its turn in as few batches as can be
    """,
    arguments: [(7, 3), (1_000, 64), (5, 1), (6, 6), (257, 257), (1_000, 1_000), (700, 100_000)])
  func turnsReachAll(partitionCount: Int, offsetCount: Int) {
    let lags = [Int64](repeating: 1_000_000, count: partitionCount)
    let perBatch = min(partitionsPerBatch, offsetCount)
    let batchCount = (partitionCount + perBatch - 1) / perBatch
    for first in 1...Int64(partitionCount) {
      var seen = Set<Int>()
      for turn in first..<first + Int64(batchCount) {
        for (index, count) in splitOffsets(lags: lags, maxOffsets: Int64(offsetCount), turn: turn)
          .enumerated() where count > 0
        {
          seen.insert(index)
        }
      }
      #expect(seen.count == partitionCount)
    }
  }

  @Test("gives a partition its turn whatever the others do", arguments: [130, 400, 1_000])
  func turnsWhileOthersComeAndGo(partitionCount: Int) {
    var random = SeededRandom(seed: 3)
    let batchCount = (partitionCount + partitionsPerBatch - 1) / partitionsPerBatch
    for _ in 0..<300 {
      let waiting = Int.random(in: 0..<partitionCount, using: &random)
      let first = Int64.random(in: 1...100_000, using: &random)
      let isServed = (first..<first + Int64(batchCount)).contains { turn in
        var lags = (0..<partitionCount).map { _ in
          Bool.random(using: &random) ? Int64.random(in: 1...10_000, using: &random) : 0
        }
        lags[waiting] = 5
        return splitOffsets(lags: lags, maxOffsets: 1_000, turn: turn)[waiting] > 0
      }
      #expect(isServed)
    }
  }

  @Test("takes from more partitions where those whose turn it is do not fill the batch")
  func filled() {
    // A record or two in each of a thousand partitions: nobody waits while a batch has room.
    let counts = splitOffsets(lags: (0..<1_000).map { 1 + $0 % 2 }, maxOffsets: 1_200, turn: 3)
    #expect(counts.reduce(0, +) == 1_200)
    #expect((799...801).contains(counts.count { $0 > 0 }))
    #expect(
      splitOffsets(lags: [Int64](repeating: 1, count: 1_000), maxOffsets: 1_000, turn: 3).allSatisfy
      { $0 == 1 })
  }

  @Test("does not depend on the order in which partitions are named")
  func order() {
    let ranges = unread([17, 4, 900, 33, 2])
    let plan = planBatch(3, unread: ranges, maxOffsets: 50)
    #expect(planBatch(3, unread: ranges.reversed(), maxOffsets: 50) == plan)
    #expect(plan.ranges.map(\.partition) == plan.ranges.map(\.partition).sorted())
  }

  @Test(
    "batches follow one another without a hole and reach the ends", arguments: [1 as Int64, 7, 100])
  func covers(maxOffsets: Int64) {
    var left = unread([50, 1, 0, 120, 13])
    var batch: Int64 = 0
    var taken: [PartitionID: Int64] = [:]
    while true {
      batch += 1
      let plan = planBatch(batch, unread: left, maxOffsets: maxOffsets)
      if plan.isEmpty { break }
      for range in plan.ranges {
        #expect(range.from == taken[range.partition] ?? 100)
        taken[range.partition] = range.to
      }
      left = left.map {
        PartitionRange($0.partition, OffsetRange(from: taken[$0.partition] ?? 100, to: $0.to))
      }
    }
    #expect(left.allSatisfy { $0.isEmpty })
  }
}
