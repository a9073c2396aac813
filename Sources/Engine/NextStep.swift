package import Offsets

/// What the run knows when it asks what to do next.
package struct RunFacts: Equatable, Sendable {
  package var batchesDone: Int
  /// Nil for "until the ends seen at the start are reached".
  package var maxBatches: Int?
  /// The batch that a dead run left planned, if it can be repeated.
  package var repeatable: BatchPlan?
  /// The plan over what is left now.
  package var planned: BatchPlan
  /// Bytes of results that wait for the store, and the most that may.
  package var pendingBytes: Int64
  package var maxPendingBytes: Int64
  package var isStoreUp: Bool
  /// Whether the place of the results turned out to be another's.
  package var isDestinationRefused = false
  package var isStopRequested: Bool
}

package enum NextStep: Equatable, Sendable {
  case read(BatchPlan)
  /// Nothing more to do in this run.
  case finish
  /// Results wait for a store that is down, and there is no room for more.
  case stopForPendingResults
}

/// The plan that a dead run left, if it may be taken as it is: it fits what is unread now and what
/// the job allows in a batch.
///
/// A job file whose `max_offsets` was lowered because a batch was too large must not meet the same
/// batch again.
func repeatable(_ plan: BatchPlan, nextBatch: Int64, unread: [PartitionRange], maxOffsets: Int64)
  -> BatchPlan?
{
  guard plan.batch == nextBatch, plan.offsetCount <= maxOffsets else { return nil }
  let unread = Dictionary(uniqueKeysWithValues: unread.map { ($0.partition, $0.range) })
  let fits = plan.ranges.allSatisfy { range in
    guard let left = unread[range.partition] else { return false }
    return left.from == range.from && range.to <= left.to
  }
  return fits ? plan : nil
}

/// The engine's one decision. A batch planned by a dead run goes before new ones, so that its
/// boundaries stay the same.
package func nextStep(_ facts: RunFacts) -> NextStep {
  if facts.isStopRequested || facts.isDestinationRefused { return .finish }
  if let maxBatches = facts.maxBatches, facts.batchesDone >= maxBatches { return .finish }
  let plan = facts.repeatable ?? facts.planned
  if plan.isEmpty { return .finish }
  if !facts.isStoreUp && facts.pendingBytes >= facts.maxPendingBytes {
    return .stopForPendingResults
  }
  return .read(plan)
}
