package import Engine

extension RunSummary {
  package var didAnything: Bool { batchCount > 0 || publishedCount > 0 || lostOffsetCount > 0 }

  package func text(seconds: Double, place: String) -> String {
    if !didAnything && dirtyCount == 0 && lag == 0 { return "\(job): nothing new, nothing written" }
    var parts = [
      "\(batchCount) \(batchCount == 1 ? "batch" : "batches"), \(grouped(recordCount)) records in "
        + "\(rounded(seconds, places: 2)) s"
    ]
    if countedCount != recordCount {
      parts.append("\(grouped(recordCount - countedCount)) left out by where")
    }
    if rejectedCount > 0 { parts.append("\(grouped(rejectedCount)) rejected") }
    if lostOffsetCount > 0 {
      parts.append("\(grouped(lostOffsetCount)) offsets lost and passed over")
    }
    parts.append(
      "\(publishedCount) \(publishedCount == 1 ? "object" : "objects") written to \(place)")
    if dirtyCount > 0 { parts.append("\(dirtyCount) not published yet") }
    if lag > 0 { parts.append("lag \(grouped(lag))") }
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

  /// - Parameters:
  ///   - failures: Everything that went wrong, what ended the run first.
  ///   - exitCode: The process's.
  package func jsonText(seconds: Double, failures: [Failure], exitCode: Int32) throws -> String {
    struct Report: Encodable {
      /// Nil where the job file could not be read.
      let job: String?
      let batches: Int
      let offsets, records, counted, rejected, lost_offsets: Int64
      let published, dirty: Int
      let lag: Int64
      let stopped: Bool
      let repeated_batch: Int64?
      let seconds: Double
      let run_ms, publisher_ms: [String: Double]
      let exit_code: Int32
      let error: String?
      let errors: [Failure]?
    }
    return try jsonLine(
      Report(
        job: job.isEmpty ? nil : job, batches: batchCount, offsets: offsetCount,
        records: recordCount,
        counted: countedCount, rejected: rejectedCount,
        lost_offsets: lostOffsetCount, published: publishedCount, dirty: dirtyCount, lag: lag,
        stopped: isStopped,
        repeated_batch: repeatedBatch,
        seconds: (seconds * 1000).rounded() / 1000, run_ms: runTimes.byStep,
        publisher_ms: publisherTimes.byStep,
        exit_code: exitCode,
        error: failures.isEmpty ? nil : failures.map(\.message).joined(separator: "\n"),
        errors: failures.isEmpty ? nil : failures))
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

/// What a command with `--json` prints where it failed and has nothing else to report.
package struct FailureReport {
  private let jobFile: String?

  /// - Parameter jobFile: Nil where no job is to blame.
  package init(jobFile: String?) { self.jobFile = jobFile }

  package func jsonText(_ failures: [Failure], _ exitCode: Int32) throws -> String {
    struct Report: Encodable {
      let job_file: String?
      let exit_code: Int32
      let error: String
      let errors: [Failure]
    }
    return try jsonLine(
      Report(
        job_file: jobFile, exit_code: exitCode,
        error: failures.map(\.message).joined(separator: "\n"), errors: failures))
  }
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
