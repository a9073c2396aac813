package import Jobs
package import Offsets

/// A partition of the job, as its brokers told of it at the start of a run.
package struct DiscoveredPartition: Equatable, Sendable {
  package let partition: PartitionID
  /// Nil where its topic no longer has it.
  package var end: PartitionEnd?
}

/// What is known when it is asked what to do next.
package struct RunFacts: Sendable {
  // The checkpoint's.
  package var ledgers: [PartitionID: OffsetLedger] = [:]
  package var nextBatch: Int64 = 1
  /// The plan that a dead run left, or that this run stored with its last commit.
  package var inFlight: BatchPlan?
  /// Progress of which a person said that it stands, whatever the log holds.
  package var keptOffsets: [PartitionID: Offset] = [:]
  /// Partitions whose log was found to be replaced, and about which nobody has decided.
  package var undecidedPartitions: Set<PartitionID> = []
  /// Backfill requests that are not done, in the order in which their batches are taken.
  package var backfills: [BackfillRequest] = []

  /// Every partition that was discovered, ascending.
  package var partitions: [DiscoveredPartition] = []
  /// Whether the ends were asked for anew since this run's last commit.
  package var haveEndsChanged = false
  /// Whether it is time to ask for the ends anew, which a run does while it backfills.
  package var areEndsOld = false

  // The job's.
  package var onDataLoss = Job.DataLossPolicy.fail
  package var maxOffsets: Int64
  package var maxPendingBytes: Int64 = .max
  /// Whether plans tell which partitions they leave behind: the cutoff of late records asks.
  package var tellsBehind = false

  /// Fewer offsets are held back; 1 holds nothing back.
  package var minOffsets: Int64 = 1
  package var maxDelayMilliseconds: Int64 = 0

  // The run's.
  package var batchesDone = 0
  /// Nil for "until the ends seen at the start are reached".
  package var maxBatches: Int?
  /// Most offsets of a batch now: fewer than the job's where a batch was too large.
  package var offsetLimit: Int64
  /// Bytes of results that wait for the store.
  package var pendingBytes: Int64 = 0
  package var isStoreUp = true
  /// Whether the place of the results turned out to be another's.
  package var isDestinationRefused = false
  package var isStopRequested = false
  /// Whether the run has gone on for as long as it was given.
  package var isTimeUp = false
  /// Milliseconds since 1970 UTC; looked at only where something may be held back.
  package var now: Int64 = 0
  /// When new messages were last committed; before the first time, when the checkpoint was made.
  package var waitingSince: Int64 = 0

  package init(maxOffsets: Int64) {
    self.maxOffsets = maxOffsets
    offsetLimit = maxOffsets
  }

  mutating func holdBack(_ rule: Job.HoldBack, since: Int64, now: Int64) {
    minOffsets = rule.minOffsets
    maxDelayMilliseconds = rule.maxDelayMilliseconds
    waitingSince = since
    self.now = now
  }
}

/// A log that ends before progress, holds another message than was read, or is gone.
package struct ReplacedLog: Equatable, Sendable {
  package let partition: PartitionID
  /// Nil where the topic no longer has the partition.
  package let end: Offset?
  /// Where another message than was read stands.
  package var changedAt: Offset?
}

package enum NextStep: Equatable, Sendable {
  /// A person must decide about logs that were replaced: seen now, or earlier.
  case stopForReplacedLogs
  /// The brokers no longer hold offsets that the job has not read, and it says `fail`.
  case stopForLoss([PartitionRange])
  /// Record these as gaps, and ask again.
  case passOver([PartitionRange])
  /// Ask the brokers for the ends anew, so that new messages do not wait for a backfill; and ask
  /// again.
  case askEnds
  /// The brokers do not hold these offsets of a backfill: leave them out, and ask again.
  case leaveOut([PartitionRange], backfill: Int64)
  /// - Parameter isRepeated: A dead run left the plan.
  case read(BatchPlan, isRepeated: Bool)
  /// Nothing more to do in this run.
  case finish
  /// As ``finish``, though there is something to read: it is not worth a batch before this instant.
  case holdBack(until: Int64)
  /// Results wait for a store that is down, and there is no room for more.
  case stopForPendingResults
}

/// The engine's one decision, of `run`, `backfill` and `plan`. A batch of new messages that a dead
/// run planned goes before others, so that its boundaries stay the same.
///
/// Of a partition about whose log a person must decide, nothing is read. Under `on_data_loss: fail`
/// the others wait with it; under `skip` they go on.
package func nextStep(_ facts: RunFacts) -> NextStep {
  let stored = fittingPlan(facts)
  let isRepeated = stored != nil && facts.batchesDone == 0
  // This run planned its last commit's next batch over these very ends.
  let isOwn = stored != nil && !isRepeated && !facts.haveEndsChanged
  if !isOwn, let step = stepForLoss(facts) { return step }
  if facts.isStopRequested || facts.isDestinationRefused { return .finish }
  if let maxBatches = facts.maxBatches, facts.batchesDone >= maxBatches { return .finish }
  // The first batch is taken all the same: a run that starts slowly would never get anywhere.
  if facts.isTimeUp && facts.batchesDone > 0 { return .finish }
  if facts.areEndsOld && !facts.backfills.isEmpty { return .askEnds }
  if !isOwn, let step = stepForUnheld(facts) { return step }
  let plan = stored ?? plan(facts.nextBatch, facts, maxOffsets: facts.offsetLimit)
  if plan.isEmpty { return .finish }
  if let until = heldBackUntil(plan, facts) { return .holdBack(until: until) }
  if !facts.isStoreUp && facts.pendingBytes >= facts.maxPendingBytes {
    return .stopForPendingResults
  }
  return .read(plan, isRepeated: isRepeated)
}

/// What a run reads behind a batch, once that is committed; nil where the run ends with it.
package func planAfter(_ batch: BatchPlan, _ facts: RunFacts) -> BatchPlan? {
  if let maxBatches = facts.maxBatches, facts.batchesDone + 1 >= maxBatches { return nil }
  if facts.isTimeUp { return nil }
  let next = plan(
    batch.batch + 1, facts, after: batch,
    maxOffsets: min(facts.maxOffsets, facts.offsetLimit * 2))
  return next.isEmpty || heldBackUntil(next, facts, after: batch) != nil ? nil : next
}

/// New messages go before backfills, but for those that are to go first.
///
/// - Parameter read: A batch that is read before it.
private func plan(
  _ batch: Int64, _ facts: RunFacts, after read: BatchPlan? = nil, maxOffsets: Int64
) -> BatchPlan {
  func firstPlan(ofBackfillsThatGoFirst goFirst: Bool) -> BatchPlan? {
    for var request in facts.backfills where request.goesFirst == goFirst {
      if let read, read.backfill == request.number { request.remove(read.ranges) }
      let unread = request.readable.filter { !facts.undecidedPartitions.contains($0.partition) }
      let plan = planBatch(batch, of: request.number, unread: unread, maxOffsets: maxOffsets)
      if !plan.isEmpty { return plan }
    }
    return nil
  }
  if let plan = firstPlan(ofBackfillsThatGoFirst: true) { return plan }
  let unread = readable(facts, after: read?.backfill == nil ? read : nil)
  var live = planBatch(batch, unread: unread, maxOffsets: maxOffsets)
  if facts.tellsBehind { live.behind = behind(live, facts, after: read) }
  let isWaiting = live.isEmpty || heldBackUntil(live, facts, after: read) != nil
  return isWaiting ? firstPlan(ofBackfillsThatGoFirst: false) ?? live : live
}

/// Partitions of which offsets are left unread behind a batch of new messages. So are those about
/// whose log a person must decide.
///
/// - Parameter read: A batch that is read before it.
private func behind(
  _ plan: BatchPlan, _ facts: RunFacts, after read: BatchPlan?
) -> [PartitionID] {
  func ends(_ plan: BatchPlan?) -> [PartitionID: Offset] {
    guard let plan, plan.backfill == nil else { return [:] }
    return plan.ranges.reduce(into: [:]) { $0[$1.partition] = $1.to }
  }
  let (taken, takenBefore) = (ends(plan), ends(read))
  return facts.partitions.compactMap { found in
    if facts.undecidedPartitions.contains(found.partition) { return found.partition }
    guard let end = found.end?.end, let ledger = facts.ledgers[found.partition] else { return nil }
    let read = taken[found.partition] ?? takenBefore[found.partition]
    return ledger.readable(after: read, end: end).isEmpty ? nil : found.partition
  }
}

/// Until when a batch of new messages waits for more of them; nil where it does not.
///
/// A commit time in the future tells nothing, as after a clock that was wrong: nothing is held back
/// by it.
///
/// - Parameter read: A batch that is committed before it.
private func heldBackUntil(_ plan: BatchPlan, _ facts: RunFacts, after read: BatchPlan? = nil)
  -> Int64?
{
  // A batch that had to be made smaller is full, too.
  let least = min(facts.minOffsets, facts.offsetLimit)
  if plan.backfill != nil || plan.isEmpty || plan.offsetCount >= least { return nil }
  let isBehindLive = read.map { $0.backfill == nil } ?? false
  let since = isBehindLive ? facts.now : facts.waitingSince
  let until = since + facts.maxDelayMilliseconds
  return since <= facts.now && facts.now < until ? until : nil
}

/// Logs that end before progress or are gone, unless a person said that progress stands.
func replacedLogs(_ facts: RunFacts) -> [ReplacedLog] {
  facts.partitions.compactMap { found in
    guard let next = facts.ledgers[found.partition]?.nextOffset,
      facts.keptOffsets[found.partition] != next, found.end.map({ $0.end < next }) ?? true
    else { return nil }
    return ReplacedLog(partition: found.partition, end: found.end?.end)
  }
}

/// What goes before any batch: decisions that a person must make, and what the brokers have removed
/// unread.
private func stepForLoss(_ facts: RunFacts) -> NextStep? {
  let isLogReplaced = !replacedLogs(facts).isEmpty || !facts.undecidedPartitions.isEmpty
  if facts.onDataLoss == .fail && isLogReplaced {
    return .stopForReplacedLogs
  }
  var lost: [PartitionRange] = []
  for found in facts.partitions {
    guard let ledger = facts.ledgers[found.partition], let low = found.end?.low,
      low > ledger.nextOffset, !facts.undecidedPartitions.contains(found.partition)
    else { continue }
    switch facts.onDataLoss {
    // In one piece, as an operator thinks of it.
    case .fail:
      lost.append(PartitionRange(found.partition, OffsetRange(from: ledger.nextOffset, to: low)))
    case .skip:
      lost += ledger.lost(below: low).ranges.map { PartitionRange(found.partition, $0) }
    }
  }
  if lost.isEmpty { return nil }
  return facts.onDataLoss == .fail ? .stopForLoss(lost) : .passOver(lost)
}

/// What the brokers do not hold of a backfill: it was removed, or the log ends before it.
private func stepForUnheld(_ facts: RunFacts) -> NextStep? {
  if facts.backfills.isEmpty { return nil }
  let ends = Dictionary(uniqueKeysWithValues: facts.partitions.map { ($0.partition, $0.end) })
  for request in facts.backfills {
    let unheld = request.left.flatMap { left -> [PartitionRange] in
      guard !facts.undecidedPartitions.contains(left.partition),
        let found = ends[left.partition]
      else { return [] }
      let held = found.map { OffsetRangeSet([OffsetRange(from: $0.low, to: $0.end)]) }
      return left.offsets.subtracting(held ?? OffsetRangeSet()).ranges.map {
        PartitionRange(left.partition, $0)
      }
    }
    if !unheld.isEmpty { return .leaveOut(unheld, backfill: request.number) }
  }
  return nil
}

/// The plan in flight, where it may be taken as it is: it fits what is unread now, or left of its
/// backfill, and what the job allows in a batch.
///
/// A job file whose `max_offsets` was lowered because a batch was too large must not meet the same
/// batch again. And new messages must not wait for history: neither for a backfill's batch in which
/// run after run dies, nor where new ends may show some. Nothing of such a batch is published, so
/// it is planned anew.
private func fittingPlan(_ facts: RunFacts) -> BatchPlan? {
  guard let plan = facts.inFlight, plan.batch == facts.nextBatch,
    plan.offsetCount <= facts.maxOffsets, heldBackUntil(plan, facts) == nil,
    plan.backfill == nil || (facts.batchesDone > 0 && !facts.haveEndsChanged),
    // One that was made before the job asked what it leaves behind does not tell.
    plan.backfill != nil || !facts.tellsBehind || plan.behind != nil
  else { return nil }
  let request = plan.backfill.flatMap { number in
    facts.backfills.first { $0.number == number }
  }
  var found = facts.partitions[...]
  for range in plan.ranges {
    found = found.drop { $0.partition < range.partition }
    guard let first = found.first, first.partition == range.partition, let end = first.end,
      !facts.undecidedPartitions.contains(range.partition), end.low <= range.from
    else { return nil }
    if plan.backfill != nil {
      guard let request, request.canRead(range) else { return nil }
    } else {
      guard let left = facts.ledgers[range.partition]?.readable(end: end.end),
        left.from == range.from && range.to <= left.to
      else { return nil }
    }
  }
  return plan
}

/// What a batch can take of each partition.
///
/// - Parameter plan: A batch that is read before it.
private func readable(_ facts: RunFacts, after plan: BatchPlan? = nil) -> [PartitionRange] {
  var taken = plan?.ranges[...] ?? []
  let left = facts.partitions.compactMap { found -> PartitionRange? in
    let read = taken.first?.partition == found.partition ? taken.popFirst()?.to : nil
    guard let end = found.end?.end, let ledger = facts.ledgers[found.partition],
      !facts.undecidedPartitions.contains(found.partition)
    else { return nil }
    return PartitionRange(found.partition, ledger.readable(after: read, end: end))
  }
  precondition(taken.isEmpty, "a plan of partitions that were not discovered")
  return left
}
