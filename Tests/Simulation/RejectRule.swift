import Offsets

/// `rejects` of the job file as the oracle understands it: when records that do not decode stop a
/// job.
struct RejectRule: Sendable {
  var quarantines = true
  /// `policy: fail`: every reject does, until a person accepts it.
  var fails = false
  /// In percent. 100 accepts whatever comes.
  var maxShare = 100
  var minRecords = 100
  var maxShareOver = 1_000

  var text: String {
    let policy = fails ? "fail" : quarantines ? "quarantine" : "drop"
    return "{ policy: \(policy), max_share: \(maxShare)%, min_records: \(minRecords), "
      + "max_share_over: \(maxShareOver) }"
  }

  /// What the rule needs to know of a batch.
  struct Tally {
    var recordCount: Int
    /// Rejects that no person has accepted.
    var judgedRejectCount: Int
    /// Batches of backfills are judged among themselves.
    var isBackfill = false
  }

  /// Whether the last of some batches may not be committed.
  ///
  /// The share is one of this batch and of the newest before it, until they hold `maxShareOver`
  /// records: a single bad record behind many good ones stops nothing.
  func stops(_ tallies: [Tally]) -> Bool {
    guard let last = tallies.last, last.judgedRejectCount > 0 else { return false }
    if fails { return true }
    if maxShare == 100 { return false }
    if tallies.allSatisfy({ $0.recordCount == 0 }) { return true }
    var (judged, rejected) = (
      last.recordCount + last.judgedRejectCount, last.judgedRejectCount
    )
    for tally in tallies.dropLast().reversed() where tally.isBackfill == last.isBackfill {
      if judged >= maxShareOver { break }
      judged += tally.recordCount + tally.judgedRejectCount
      rejected += tally.judgedRejectCount
    }
    return judged >= minRecords && 100 * rejected > maxShare * judged
  }
}
