package import Jobs
package import Windows

/// The keys of a job's objects below `output.to`: stable, in the hive style that Athena, Spark and
/// duckdb read as partition columns.
package enum ObjectKeys {
  /// `window_start=2026-11-23T10-05-00Z/part-0.csv`, `batch=000000042/part-0.csv`, or `part-0.csv`
  /// where the job has one object.
  package static func window(_ window: Window, of job: Job) -> String {
    self.window(window, of: job, format: job.output.format.rawValue)
  }

  /// - Parameter format: That the job had, where it is another now.
  static func window(_ window: Window, of job: Job, format: String) -> String {
    "\(job.window.folder(of: window))part-0.\(format)"
  }

  /// Where the object of a batch can stand: under either rule of `output.keep`.
  package static func results(ofBatch batch: Int64, _ format: Job.Output.Format) -> [String] {
    ["\(batchPrefix)\(batchText(batch))/", ""].map { "\($0)part-0.\(format.rawValue)" }
  }

  /// Where everything lies that is no result. No name in it ends in a format's suffix, so that no
  /// reader's glob takes it for one.
  package static let ownFolder = "_tranche"

  /// Who owns the place: see ``OwnerMarker``.
  package static let owner = "\(ownFolder)/owner"

  /// What tells readers how far the objects are: see ``Manifest``. It has no format's suffix, as no
  /// name here has: `*/*.json` is how readers of a job in JSON find its results.
  package static let manifest = "\(ownFolder)/manifest"

  /// `_tranche/rejects/batch=000000042.ndjson`
  package static func rejects(batch: Int64) -> String {
    "\(rejectsPrefix)\(batchText(batch)).ndjson"
  }

  /// What the keys of single batches' results begin with.
  package static let batchPrefix = "batch="
  /// What the keys of single batches' rejects begin with.
  package static let rejectsPrefix = "\(ownFolder)/rejects/\(batchPrefix)"

  /// The batch whose result or rejects stand at a key; nil for any other key.
  package static func batch(ofKey key: String) -> Int64? {
    let name = key.split(separator: "/").first { $0.hasPrefix(batchPrefix) }
    let isOfBatch = key.hasPrefix(batchPrefix) || key.hasPrefix(rejectsPrefix)
    guard isOfBatch, let digits = name?.dropFirst(batchPrefix.count).prefix(while: \.isNumber)
    else { return nil }
    return Int64(digits)
  }
}
