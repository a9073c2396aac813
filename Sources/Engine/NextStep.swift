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
  package var isStopRequested: Bool
}

package enum NextStep: Equatable, Sendable {
  case read(BatchPlan)
  /// Nothing more to do in this run.
  case finish
  /// Results wait for a store that is down, and there is no room for more.
  case stopForPendingResults
}

/// The engine's one decision. A batch planned by a dead run goes before new ones, so that its boundaries stay the same.
package func nextStep(_ facts: RunFacts) -> NextStep {
  if facts.isStopRequested { return .finish }
  if let maxBatches = facts.maxBatches, facts.batchesDone >= maxBatches { return .finish }
  let plan = facts.repeatable ?? facts.planned
  if plan.isEmpty { return .finish }
  if !facts.isStoreUp && facts.pendingBytes >= facts.maxPendingBytes { return .stopForPendingResults }
  return .read(plan)
}
