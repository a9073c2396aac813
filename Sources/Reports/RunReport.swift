package import Engine
package import Offsets
internal import Tables

/// `1 tombstone skipped`, `2 tombstones skipped`
package func skippedTombstones(_ count: Int64) -> String {
  "\(counted(count, "tombstone")) skipped"
}

extension RunSummary {
  package var didAnything: Bool {
    batchCount > 0 || publishedCount > 0 || lostOffsetCount > 0 || !unheld.isEmpty
  }

  package func text(seconds: Double, place: String) -> String {
    let heldBack = heldBackUntil.map {
      "\(grouped(lag)) offsets held back until \(TimestampText.format(milliseconds: $0))"
    }
    if !didAnything && dirtyCount == 0 && backup == nil && (lag == 0 || heldBack != nil)
      && backfillLeft == 0
    {
      return "\(job): \(heldBack ?? "nothing new"), nothing written"
    }
    var parts = [
      "\(batchCount) \(batchCount == 1 ? "batch" : "batches"), \(grouped(recordCount)) records in "
        + "\(rounded(seconds, places: 2)) s"
    ]
    if countedCount != recordCount {
      parts.append("\(grouped(recordCount - countedCount)) left out by where")
    }
    if rejectedCount > 0 {
      let kinds = [(lateCount, "late"), (ofEvictedCount, "of evicted windows")].filter { $0.0 > 0 }
        .map { "\(grouped($0.0)) \($0.1)" }.joined(separator: ", ")
      parts.append("\(grouped(rejectedCount)) rejected" + (kinds.isEmpty ? "" : " (\(kinds))"))
    }
    if tombstoneCount > 0 { parts.append(skippedTombstones(tombstoneCount)) }
    if lostOffsetCount > 0 {
      parts.append("\(grouped(lostOffsetCount)) offsets lost and passed over")
    }
    if backfilledCount > 0 { parts.append("\(grouped(backfilledCount)) offsets backfilled") }
    if !unheld.isEmpty {
      parts.append(
        "left out of the backfill, as the broker does not hold them: "
          + unheld.map(\.description).joined(separator: ", "))
    }
    if backfillLeft > 0 { parts.append("\(grouped(backfillLeft)) offsets left to backfill") }
    parts.append(
      "\(publishedCount) \(publishedCount == 1 ? "object" : "objects") written to \(place)")
    if dirtyCount > 0 { parts.append("\(dirtyCount) not published yet") }
    if let backup { parts.append("backup at \(backup)") }
    if let heldBack { parts.append(heldBack) }
    if lag > 0 && heldBack == nil { parts.append("lag \(grouped(lag))") }
    if isStopped { parts.append("stopped by a signal") }
    return "\(job): " + parts.joined(separator: ", ")
  }

  /// One row a step that took time: of the run's thread in the order of the steps, then of the
  /// publisher's, which goes on beside it.
  package func profileText(seconds: Double) -> String {
    var rows: [[String]] = []
    func add(_ thread: String, _ step: String, _ milliseconds: Double) {
      guard milliseconds >= 0.0005 else { return }
      let perBatch = batchCount == 0 ? "" : rounded(milliseconds / Double(batchCount), places: 3)
      rows.append(["  \(thread)", step, rounded(milliseconds, places: 1), perBatch])
    }
    let run = runTimes.milliseconds
    for (step, milliseconds) in run { add("run", step, milliseconds) }
    // Starting, opening the checkpoint, connecting, and at the end waiting for the publisher.
    add("run", "other", max(0, seconds * 1_000 - run.reduce(0) { $0 + $1.milliseconds }))
    for (step, milliseconds) in publisherTimes.milliseconds { add("publisher", step, milliseconds) }
    return aligned(["  thread", "step", "ms", "ms/batch"], rows, numeric: [2, 3])
  }

  /// Of the line that sums a run up in the log; named as in the summary for programs.
  package func logFields(seconds: Double, exitCode: Int32) -> [LogLine.Field] {
    var fields: [LogLine.Field] = [
      ("batches", .integer(Int64(batchCount))), ("offsets", .integer(offsetCount)),
      ("records", .integer(recordCount)), ("counted", .integer(countedCount)),
      ("rejected", .integer(rejectedCount)), ("late", .integer(lateCount)),
      ("of_evicted", .integer(ofEvictedCount)),
      ("tombstones", .integer(tombstoneCount)),
      ("lost_offsets", .integer(lostOffsetCount)),
      ("published", .integer(Int64(publishedCount))), ("dirty", .integer(Int64(dirtyCount))),
      ("lag", .integer(lag)), ("backfilled", .integer(backfilledCount)),
      ("backfill_left", .integer(backfillLeft)),
    ]
    if let backup { fields.append(("backup", .text(backup))) }
    if let repeatedBatch { fields.append(("repeated_batch", .integer(repeatedBatch))) }
    if let heldBackUntil {
      let time = TimestampText.format(milliseconds: heldBackUntil)
      fields.append(("held_back_until", .text(time)))
    }
    return fields + [
      ("duration_seconds", .number((seconds * 1000).rounded() / 1000)),
      ("exit_code", .integer(Int64(exitCode))),
    ]
  }

  /// - Parameters:
  ///   - failures: Everything that went wrong, what ended the run first.
  ///   - warnings: What went wrong beside it.
  ///   - exitCode: The process's.
  package func jsonText(
    seconds: Double, failures: [Failure], warnings: [String] = [], exitCode: Int32
  ) throws -> String {
    struct Report: Encodable {
      /// Nil where the job file could not be read.
      let job: String?
      let batches: Int
      let offsets, records, counted, rejected, late, of_evicted, tombstones, lost_offsets: Int64
      let published, dirty: Int
      let lag, backfilled, backfill_left: Int64
      let not_held: [RangeReport]?
      let stopped: Bool
      let repeated_batch: Int64?
      let held_back_until: String?
      let backup: String?
      let seconds: Double
      let run_ms, publisher_ms: [String: Double]
      let exit_code: Int32
      let error: String?
      let errors: [Failure]?
      let warnings: [String]?
    }
    return try jsonLine(
      Report(
        job: job.isEmpty ? nil : job, batches: batchCount, offsets: offsetCount,
        records: recordCount,
        counted: countedCount, rejected: rejectedCount, late: lateCount, of_evicted: ofEvictedCount,
        tombstones: tombstoneCount,
        lost_offsets: lostOffsetCount, published: publishedCount, dirty: dirtyCount, lag: lag,
        backfilled: backfilledCount, backfill_left: backfillLeft,
        not_held: unheld.isEmpty ? nil : unheld.map(RangeReport.init),
        stopped: isStopped,
        repeated_batch: repeatedBatch,
        held_back_until: heldBackUntil.map(TimestampText.format), backup: backup,
        seconds: (seconds * 1000).rounded() / 1000, run_ms: runTimes.byStep,
        publisher_ms: publisherTimes.byStep,
        exit_code: exitCode,
        error: failures.isEmpty ? nil : failures.text,
        errors: failures.isEmpty ? nil : failures, warnings: warnings.isEmpty ? nil : warnings))
  }
}

/// What went wrong, for a program: what kind it is of, and what a person is told.
package struct Failure: Encodable, Equatable {
  package let code: String
  package let message: String

  package init(code: String, message: String) {
    self.code = code
    self.message = message
  }
}

extension [Failure] {
  fileprivate var text: String { map(\.message).joined(separator: "\n") }
}

/// What a command with `--json` prints where it failed and has nothing else to report.
///
/// - Parameter jobFile: Nil where no job is to blame.
package func failureReport(
  jobFile: String?, _ failures: [Failure], exitCode: Int32
) throws -> String {
  struct Report: Encodable {
    let job_file: String?
    let exit_code: Int32
    let error: String
    let errors: [Failure]
  }
  return try jsonLine(
    Report(job_file: jobFile, exit_code: exitCode, error: failures.text, errors: failures))
}

extension StepTimes {
  fileprivate var milliseconds: [(step: String, milliseconds: Double)] {
    Step.allCases.map { ($0.rawValue, Double(self[$0] / 1_000) / 1_000) }
  }

  /// Steps that took no time are left out.
  fileprivate var byStep: [String: Double] {
    Dictionary(
      uniqueKeysWithValues: milliseconds.filter { $0.milliseconds > 0 }.map {
        ($0.step, $0.milliseconds)
      })
  }
}

/// A range of offsets as JSON.
package struct RangeReport: Encodable {
  let source, topic: String
  let partition: Int32
  let from, to: Int64

  package init(_ range: PartitionRange) {
    source = range.partition.source
    topic = range.partition.topic
    partition = range.partition.partition
    from = range.from
    to = range.to
  }
}

extension RunProgress {
  /// - Parameters:
  ///   - seconds: Since the run began.
  ///   - backfillSeconds: Since the run was seen to backfill first, when it had counted
  ///     `backfilledBefore` offsets.
  package func text(
    seconds: Double, backfillSeconds: Double, backfilledBefore: Int64
  ) -> String {
    let rate = Int64(Double(recordCount) / max(0.001, seconds))
    let text =
      "batch \(batchCount)  \(grouped(recordCount)) records  \(grouped(rate))/s  "
      + "lag \(grouped(lag))"
    if backfilledCount == 0 && backfillLeft == 0 { return text }
    let remaining = remainingSeconds(
      done: backfilledCount - backfilledBefore, left: backfillLeft, seconds: backfillSeconds)
    return text + "  backfill: \(grouped(backfillLeft)) offsets left"
      + (remaining.map { ", about \(durationText(seconds: $0))" } ?? "")
  }
}

/// How long a backfill goes on at the pace it had so far, new messages between its batches
/// included; nil where less than two seconds or no offset tell of the pace.
func remainingSeconds(done: Int64, left: Int64, seconds: Double) -> Int64? {
  guard done > 0, seconds >= 2 else { return nil }
  return Int64(clamping: Int((Double(left) / Double(done) * seconds).rounded(.up)))
}

/// `40 s`, `12 min`, `3 h 20 min`: no more exact than an estimate is.
func durationText(seconds: Int64) -> String {
  if seconds < 100 { return "\(seconds) s" }
  let minutes = (seconds + 59) / 60
  return minutes < 100 ? "\(minutes) min" : "\(minutes / 60) h \(minutes % 60) min"
}
