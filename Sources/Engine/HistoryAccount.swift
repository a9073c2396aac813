internal import Checkpoints
internal import Offsets

/// Goes through the history of batches, oldest first, and holds it against what the checkpoint
/// calls counted.
struct HistoryAccount {
  /// By partition, what batches have read of the log that is read now.
  private(set) var covered: [PartitionID: OffsetRangeSet] = [:]
  /// The offset behind what batches of new messages have read.
  private var ends: [PartitionID: Offset] = [:]
  private let counted: [PartitionID: OffsetRangeSet]
  /// Of partitions whose log was replaced, the batch with which the log of now begins.
  private let firstBatches: [PartitionID: Int64]
  private let history: VerificationCopy.History
  private var next: Int64 = 1
  private var goneCount: Int64 = 0
  private var sums = BatchTotals()

  init(
    counted: [PartitionID: OffsetRangeSet], firstBatches: [PartitionID: Int64],
    _ history: VerificationCopy.History
  ) {
    self.counted = counted
    self.firstBatches = firstBatches
    self.history = history
  }

  /// - Returns: What the batch has read that no other has, of logs that are read now; and what is
  ///   wrong with it.
  mutating func take(_ batch: VerificationCopy.Batch) -> (ranges: [PartitionRange], [Finding]) {
    var findings = pass(to: batch.number)
    next = batch.number + 1
    sums.batchCount += 1
    for (sum, count) in [
      (\BatchTotals.offsetCount, batch.offsetCount), (\.recordCount, batch.recordCount),
      (\.countedCount, batch.countedCount), (\.rejectedCount, batch.rejectedCount),
    ] { sums[keyPath: sum] &+= count }
    let offsetCount = batch.ranges.reduce(0) { $0 + $1.count }
    if offsetCount != batch.offsetCount {
      findings.append(
        .batchCount(
          batch: batch.number, .offsets, held: batch.offsetCount, found: offsetCount))
    }
    var ranges: [PartitionRange] = []
    for range in batch.ranges where batch.number >= firstBatches[range.partition] ?? 0 {
      let wanted = OffsetRangeSet([range.range])
      let known = counted[range.partition] ?? OffsetRangeSet()
      let before = covered[range.partition] ?? OffsetRangeSet()
      func told(_ set: OffsetRangeSet) -> [PartitionRange] {
        set.ranges.map { PartitionRange(range.partition, $0) }
      }
      findings += told(wanted.subtracting(known)).map { .outside($0, batch: batch.number) }
      findings += told(wanted.intersection(before)).map { .twice($0, batch: batch.number) }
      ranges += told(wanted.intersection(known).subtracting(before))
      covered[range.partition, default: OffsetRangeSet()].insert(range.range)
      if !batch.isOfBackfill { ends[range.partition] = range.to }
    }
    return (ranges, findings)
  }

  /// Numbers of batches that are not there. Those that may have been pruned are counted.
  private mutating func pass(to number: Int64) -> [Finding] {
    let bound = min(number, max(next, history.mayBePrunedBelow))
    goneCount += bound - next
    return number > bound ? [.batchesMissing(from: bound, to: number)] : []
  }

  /// - Parameter number: The next batch that will be committed.
  mutating func close(at number: Int64) -> [Finding] {
    var findings = pass(to: number)
    if goneCount > history.pruned.batchCount {
      findings.append(.batchesGone(count: goneCount - history.pruned.batchCount))
    }
    let names: [(BatchCountName, KeyPath<BatchTotals, Int64>)] = [
      (.offsets, \.offsetCount), (.records, \.recordCount), (.counted, \.countedCount),
      (.rejected, \.rejectedCount),
    ]
    for (name, sum) in names {
      let kept = history.all[keyPath: sum] &- history.pruned[keyPath: sum]
      if kept != sums[keyPath: sum] {
        findings.append(.total(name, held: kept, found: sums[keyPath: sum]))
      }
    }
    // What was counted of logs that were replaced is not known any more.
    let offsetCount = counted.values.reduce(0) { $0 &+ $1.offsetCount }
    if !history.hasFormerLogs && offsetCount != history.all.offsetCount {
      findings.append(.offsetSum(held: offsetCount, found: history.all.offsetCount))
    }
    return findings
  }

  /// Offsets that are called counted, and that no batch has read: none that is there, and none that
  /// can have been pruned.
  func missing(_ partition: PartitionID, of left: OffsetRangeSet) -> OffsetRangeSet {
    if history.pruned.batchCount == 0 { return left }
    guard let end = ends[partition] else { return OffsetRangeSet() }
    return left.subtracting(OffsetRangeSet([OffsetRange(from: 0, to: end)]))
  }
}

/// With which batch the log of now begins, of partitions whose log was replaced. Batches are told
/// the newest first.
struct FirstBatches {
  private struct Log {
    /// Newest first: the log of now, then those before.
    var logs: [OffsetRange]
    var index = 0
    var position: Offset
  }
  private var logs: [PartitionID: Log] = [:]
  private(set) var batches: [PartitionID: Int64] = [:]

  init(_ ledgers: [PartitionID: OffsetLedger], formerLogs: [PartitionID: [OffsetRange]]) {
    for (partition, former) in formerLogs {
      guard let ledger = ledgers[partition] else { continue }
      let now = OffsetRange(from: ledger.start, to: ledger.nextOffset)
      logs[partition] = Log(logs: [now] + former.reversed(), position: now.to)
      batches[partition] = .max
    }
  }

  var isEmpty: Bool { logs.isEmpty }

  mutating func take(_ batch: VerificationCopy.Batch) {
    for range in batch.ranges {
      guard var log = logs[range.partition] else { continue }
      if !batch.isOfBackfill {
        // Batches of one log go up: read backwards, each ends at the one before it or below.
        while log.index + 1 < log.logs.count,
          range.to > log.position || range.from < log.logs[log.index].from
        {
          log.index += 1
          log.position = log.logs[log.index].to
        }
        log.position = range.from
      }
      if log.index == 0 { batches[range.partition] = batch.number }
      logs[range.partition] = log
    }
  }
}
