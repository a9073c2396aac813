internal import GRDB
internal import Jobs
internal import Tables

/// Which of the kept rejects are asked for.
package struct RejectChoice: Sendable, Equatable {
  package var batch: Int64?
  package var reason: String?

  package init(batch: Int64? = nil, reason: String? = nil) {
    self.batch = batch
    self.reason = reason
  }
}

/// What was pruned of the kept rejects, and what was not.
package struct PrunedRejects: Sendable, Equatable {
  package var rejectCount: Int64 = 0
  package var batchCount = 0
  /// Batches whose object of rejects is not published, or the store is yet to be asked about it.
  package var waitingBatchCount = 0
}

extension CheckpointReader {
  /// The kept rejects, the newest batch first, or the oldest: in pages, so that no look is a long
  /// one beside a run.
  ///
  /// - Parameters:
  ///   - limit: Most rejects; nil for all.
  ///   - body: Called with one page after the other.
  package func forEachReject(
    _ choice: RejectChoice, newestFirst: Bool, limit: Int64?,
    _ body: ([StoredReject]) throws -> Void
  ) throws {
    var left = limit ?? .max
    var last: Place?
    while left > 0 {
      let page = try rejects(choice, after: last, newestFirst: newestFirst, most: left)
      guard let place = page.last?.place else { return }
      try body(page.map(\.reject))
      left -= Int64(page.count)
      last = place
    }
  }

  /// Kept rejects by reason.
  package func keptRejectCounts() throws(CheckpointError) -> [String: Int64] {
    try read { database in
      var counts: [String: Int64] = [:]
      try database.forEachRow(
        of: "rejects", "SELECT reason, count(*) FROM rejects GROUP BY reason", identifiedBy: 1
      ) { row in counts[try row.text(0)] = try row.count(1) }
      return counts
    }
  }

  /// In the order of the index of batches.
  private struct Place {
    let batch, partition, offset, record: Int64
  }

  private static let pageRowCount = 1_000
  private static let pageByteCount = 8 << 20

  private func rejects(
    _ choice: RejectChoice, after last: Place?, newestFirst: Bool, most count: Int64
  ) throws(CheckpointError) -> [(reject: StoredReject, place: Place)] {
    try read { database in
      try loadPartitions(database)
      let known = Set(try database.columns(in: "rejects").map(\.name))
      // Before schema 3 rows named their partition otherwise.
      let table =
        known.contains("partition_id")
        ? "rejects" : "rejects JOIN partitions USING (source, topic, partition)"
      let columns = ["record_key", "record_timestamp", "record_headers"].map {
        known.contains($0) ? $0 : "NULL AS \($0)"
      }
      let order = newestFirst ? " DESC" : ""
      var page: [(reject: StoredReject, place: Place)] = []
      var byteCount = 0
      try database.forRows(
        of: "rejects",
        """
        SELECT partition_id, offset, record, reason, field, raw,
          \(columns.joined(separator: ", ")), batch
        FROM \(table)
        WHERE (?1 IS NULL OR (batch, partition_id, offset, record)
            \(newestFirst ? "<" : ">") (?1, ?2, ?3, ?4))
          AND (?5 IS NULL OR batch = ?5) AND (?6 IS NULL OR reason = ?6)
        ORDER BY batch\(order), partition_id\(order), offset\(order), record\(order)
        LIMIT \(min(count, Int64(Self.pageRowCount)))
        """,
        arguments: [
          last?.batch, last?.partition, last?.offset, last?.record, choice.batch, choice.reason,
        ], identifiedBy: 3
      ) { row in
        let reject = try reject(row)
        page.append(
          (
            reject,
            Place(
              batch: reject.batch, partition: try row.integer(0), offset: reject.offset,
              record: Int64(reject.record))
          ))
        byteCount += reject.raw?.count ?? 0
        return byteCount < Self.pageByteCount
      }
      return page
    }
  }

  static let rejectColumns = """
    partition_id, offset, record, reason, field, raw, record_key, record_timestamp,
    record_headers, batch
    """

  /// From ``rejectColumns``, when the partitions are loaded.
  func reject(_ row: CheckedRow) throws -> StoredReject {
    let partition = try row.partition(0, in: partitions)
    let reason = try row.text(3)
    guard Reject.Reason(rawValue: reason) != nil else {
      throw row.fault(3, "is not a known reason")
    }
    return StoredReject(
      batch: try row.number(9), partition: partition, offset: try row.count(1),
      record: Int(try row.integer(2, in: 0...Int64(Int32.max))), reason: reason,
      field: try row.optionalText(4), raw: try row.optionalBytes(5),
      key: try row.optionalBytes(6),
      timestampMilliseconds: row.isNull(7) ? nil : try row.integer(7),
      headers: try row.optionalText(8))
  }
}

extension Checkpoint {
  /// Most rejects whose batches are pruned in one transaction, where there is more than one.
  package static let rejectsPrunedAtOnce: Int64 = 10_000

  /// Forgets the kept rejects of all batches up to one, a batch with the object that shows it.
  /// Totals by reason stay. Whoever dies has pruned some batches whole.
  ///
  /// - Parameter deletesObjects: Whether their objects are deleted, by the next run that has read
  ///   and published everything.
  package func pruneRejects(
    upTo batch: Int64, deletesObjects: Bool
  ) throws(CheckpointError) -> PrunedRejects {
    var pruned = PrunedRejects()
    while true {
      let piece = try read { database in try Self.batchesToPrune(upTo: batch, in: database) }
      if piece.isEmpty { break }
      try write { database in
        for output in piece {
          if deletesObjects { try retire(output.key, etag: output.etag, in: database) }
          try database.execute(
            sql: "DELETE FROM rejects WHERE batch = ?", arguments: [output.batch])
          try database.execute(
            sql: "DELETE FROM outputs WHERE object_key = ?", arguments: [output.key])
        }
      }
      pruned.batchCount += piece.count
      pruned.rejectCount += piece.reduce(0) { $0 + $1.rejectCount }
    }
    pruned.waitingBatchCount = try read { database in
      try Int.fetchOne(
        database,
        sql: "SELECT count(DISTINCT batch) FROM rejects WHERE batch <= ?", arguments: [batch]) ?? 0
    }
    return pruned
  }

  private func retire(_ key: String, etag: String?, in database: Database) throws {
    try database.execute(
      sql: "INSERT OR REPLACE INTO retired_objects (place, object_key, etag) VALUES (?, ?, ?)",
      arguments: [job.output.destination.text, key, etag])
  }

  /// The oldest batches whose object the store has for certain: what is yet to be put needs its
  /// rows.
  private static func batchesToPrune(
    upTo last: Int64, in database: Database
  ) throws -> [(key: String, batch: Int64, etag: String?, rejectCount: Int64)] {
    var rejectCount: Int64 = 0
    var batches: [(key: String, batch: Int64, etag: String?, rejectCount: Int64)] = []
    try database.forRows(
      of: "outputs",
      """
      SELECT object_key, number, etag,
        (SELECT count(*) FROM rejects WHERE batch = number) AS rejects
      FROM outputs
      WHERE kind = 'rejects' AND number <= ? AND revision = published_revision
        AND checks_left = 0
      ORDER BY object_key LIMIT 1000
      """, arguments: [last], identifiedBy: 1
    ) { row in
      let count = try row.count(3)
      guard batches.isEmpty || rejectCount + count <= rejectsPrunedAtOnce else { return false }
      batches.append((try row.objectKey(0), try row.number(1), try row.optionalText(2), count))
      rejectCount += count
      return true
    }
    return batches
  }
}
