package import Jobs
import Tables

/// The keys of a job's objects below `output.to`: stable, in the hive style that Athena, Spark and
/// duckdb read as partition columns.
package enum ObjectKeys {
  /// `window_start=2026-11-23T10-05-00Z/part-0.csv`; `part-0.csv` for the global window.
  package static func window(_ window: Int64, of job: Job) -> String {
    switch job.window {
    case .tumbling: "window_start=\(label(ofWindow: window))/part-0.\(job.output.format.rawValue)"
    case .global, .batch: "part-0.\(job.output.format.rawValue)"
    }
  }

  /// `batch=000000042/part-0.csv`, or `part-0.csv` where only the latest is kept.
  package static func batch(_ batch: Int64, of job: Job) -> String {
    switch job.output.keep {
    case .latest: "part-0.\(job.output.format.rawValue)"
    case .each: "batch=\(padded(batch))/part-0.\(job.output.format.rawValue)"
    }
  }

  /// Where everything lies that is no result. No name in it ends in a format's suffix, so that no
  /// reader's glob takes it for one.
  package static let ownFolder = "_tranche"

  /// Who owns the place: see ``OwnerMarker``.
  package static let owner = "\(ownFolder)/owner"

  /// `_tranche/rejects/batch=000000042.ndjson`
  package static func rejects(batch: Int64) -> String {
    "\(ownFolder)/rejects/batch=\(padded(batch)).ndjson"
  }

  /// `2026-11-23T10-05-00Z`: ISO 8601 with hyphens in the time, because a colon is not welcome in
  /// every path; milliseconds only if not 0.
  package static func label(ofWindow window: Int64) -> String {
    let text = TimestampText.format(milliseconds: window).replacing(":", with: "-")
    return text.replacing(".000Z", with: "Z")
  }

  private static func padded(_ batch: Int64) -> String {
    let digits = String(batch)
    return String(repeating: "0", count: max(0, 9 - digits.count)) + digits
  }
}
