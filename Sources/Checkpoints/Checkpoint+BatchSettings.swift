internal import GRDB
internal import Jobs

/// What decided on the records and the objects of batches, and of which ones.
extension Checkpoint {
  /// Nil where none was noted, as in a file of an older release.
  static func newestBatchSettings(in database: Database) throws -> BatchSettings? {
    try batchSettings(in: database).last?.settings
  }

  /// From which batch on they hold, ascending.
  static func batchSettings(
    in database: Database
  ) throws -> [(from: Int64, settings: BatchSettings)] {
    var found: [(from: Int64, values: [String: String])] = []
    try database.forEachRow(
      of: "batch_settings",
      "SELECT from_batch, key, value FROM batch_settings ORDER BY from_batch, key",
      identifiedBy: 2
    ) { row in
      let from = try row.number(0)
      if found.last?.from != from { found.append((from, [:])) }
      found[found.count - 1].values[try row.text(1)] = try row.text(2)
    }
    return found.map { ($0.from, BatchSettings(values: $0.values)) }
  }

  /// Notes what holds for the next batch and those behind it, where that is not what held before.
  ///
  /// - Parameter assumed: What held for all batches before, where nothing was noted.
  static func note(
    _ settings: BatchSettings, assuming assumed: BatchSettings?, in database: Database
  ) throws {
    let next = try nextBatch(in: database)
    var newest = try newestBatchSettings(in: database)
    if newest == nil, next > 1, let assumed {
      try store(assumed, from: 1, in: database)
      newest = assumed
    }
    if newest != settings { try store(settings, from: next, in: database) }
  }

  private static func store(
    _ settings: BatchSettings, from batch: Int64, in database: Database
  ) throws {
    try database.execute(
      sql: "DELETE FROM batch_settings WHERE from_batch >= ?", arguments: [batch])
    for (key, value) in settings.values.sorted(by: { $0.key < $1.key }) {
      try database.execute(
        sql: "INSERT INTO batch_settings VALUES (?, ?, ?)", arguments: [batch, key, value])
    }
  }
}

/// Where the objects of batches lie that were published before the job's place was changed.
extension Checkpoint {
  /// `s3://bucket/prefix at http://minio:9000`
  static func place(_ settings: [String: String]) -> String {
    let to = settings["output.to"] ?? ""
    guard to.hasPrefix("s3:"), let endpoint = settings["output.s3.endpoint"], endpoint != "-" else {
      return to
    }
    return "\(to) at \(endpoint)"
  }

  /// Published objects of batches stay where they are, as they cannot be made again. Whoever goes
  /// back to a former place finds its objects there.
  static func leaveBatches(
    at former: String, for place: String, in database: Database
  ) throws {
    guard former != place else { return }
    try database.execute(
      sql: """
        UPDATE outputs SET place = ?, checks_left = 0
        WHERE kind = 'batch' AND revision = published_revision AND place IS NULL
        """, arguments: [former])
    try database.execute(
      sql: "UPDATE outputs SET place = NULL WHERE kind = 'batch' AND place = ?",
      arguments: [place])
  }
}
