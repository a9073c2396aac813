package import Checkpoints
package import Jobs

/// What decides whether records that did not decode stop a batch.
struct RejectFacts: Equatable {
  var policy: Job.RejectRules.Policy
  /// From 0 to 1.
  var maxShare: Double
  /// Fewer judged records decide nothing.
  var minRecords: Int64
  /// Records of the batch that decoded.
  var recordCount: Int64
  /// Rejects of the batch that no person has accepted.
  var rejectedCount: Int64
  /// The newest batches before it.
  var history: Checkpoint.RejectHistory
}

enum RejectVerdict: Equatable {
  case commit
  case stop(RejectStop.Rule, rejectedCount: Int64, judgedCount: Int64)
}

/// A share is one of enough records: one bad record at the end of a topic, in a batch of its own,
/// must not stop a job that decodes well.
func rejectVerdict(_ facts: RejectFacts) -> RejectVerdict {
  if facts.rejectedCount == 0 { return .commit }
  if facts.policy == .fail {
    return .stop(
      .policy, rejectedCount: facts.rejectedCount,
      judgedCount: facts.recordCount + facts.rejectedCount)
  }
  let rejected = facts.rejectedCount + facts.history.rejectedCount
  let judged = facts.recordCount + facts.rejectedCount + facts.history.judgedCount
  // max_share: 100% accepts whatever comes.
  if facts.maxShare < 1 && facts.recordCount == 0 && !facts.history.hasDecoded {
    return .stop(.nothingDecoded, rejectedCount: rejected, judgedCount: judged)
  }
  if judged >= facts.minRecords && Double(rejected) > facts.maxShare * Double(judged) {
    return .stop(.share, rejectedCount: rejected, judgedCount: judged)
  }
  return .commit
}

extension Job {
  /// The rule by which a run would stop, if these were the first records that the job meets, in one
  /// batch.
  package func ruleAgainst(recordCount: Int64, rejectedCount: Int64) -> RejectStop.Rule? {
    let facts = RejectFacts(
      policy: rejects.policy, maxShare: rejects.maxShare, minRecords: rejects.minRecords,
      recordCount: recordCount, rejectedCount: rejectedCount,
      history: Checkpoint.RejectHistory())
    guard case .stop(let rule, _, _) = rejectVerdict(facts) else { return nil }
    return rule
  }
}
