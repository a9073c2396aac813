internal import GRDB
package import Offsets
internal import Tables

extension Checkpoint {
  /// Whether an incident is open that keeps the job from reading.
  package func openIncidents() throws(CheckpointError) -> [Incident] {
    try read { database in try Self.openIncidents(in: database, partitions) }
  }

  /// In the order in which they were noticed; none where the file was made by a release without
  /// them.
  static func openIncidents(
    in database: Database, _ partitions: StoredPartitions
  ) throws -> [Incident] {
    guard try database.tableExists("incidents") else { return [] }
    return try database.checkedRows(
      of: "incidents",
      """
      SELECT incident, kind, \(try StoredPartitions.identifier(in: "incidents", database)),
        next_offset, log_end, detail, noticed_at, last_seen_at
      FROM incidents WHERE resolved_at IS NULL ORDER BY incident
      """, identifiedBy: 1
    ) { row in
      guard let kind = Incident.Kind(rawValue: try row.text(1)) else {
        throw row.fault(1, "is not a kind of incident")
      }
      return Incident(
        kind: kind, partition: try row.partition(2, in: partitions.names),
        nextOffset: try row.count(3), logEnd: row.isNull(4) ? nil : try row.count(4),
        cause: .init(stored: try row.text(5)), noticedAt: try row.text(6),
        lastSeenAt: try row.text(7))
    }
  }

  // MARK: - Logs that were replaced

  /// Stores that a partition's log ends before progress, or is gone, unless that is stored already.
  package func noteReplacedLog(
    _ partition: PartitionID, logEnd: Offset?, cause: Incident.Cause, now: Int64
  ) throws(CheckpointError) {
    guard let identifier = partitions.identifiers[partition],
      let next = ledgers[partition]?.nextOffset
    else { return }
    let time = TimestampText.format(milliseconds: now)
    try write { database in
      try database.execute(
        sql: """
          UPDATE incidents SET last_seen_at = ?, log_end = ?, detail = ?
          WHERE kind = 'log_replaced' AND partition_id = ? AND resolved_at IS NULL
          """,
        arguments: [time, logEnd, cause.stored, identifier])
      guard database.changesCount == 0 else { return }
      try database.execute(
        sql: """
          INSERT INTO incidents
            (kind, partition_id, next_offset, log_end, detail, noticed_at, last_seen_at)
          VALUES ('log_replaced', ?, ?, ?, ?, ?, ?)
          """,
        arguments: [identifier, next, logEnd, cause.stored, time, time])
    }
  }

  /// A person says that progress stands: what lies below it is not counted again.
  ///
  /// - Returns: False where no such incident is open.
  package func keepProgress(of partition: PartitionID, now: Int64) throws(CheckpointError) -> Bool {
    let wasOpen = try write { database in
      try resolveReplacedLog(of: partition, "keep", now: now, in: database)
    }
    if wasOpen {
      partitions.fingerprints[partition] = nil
      forgetBackfills(of: partition)
    }
    return wasOpen
  }

  /// A person says that the log that is there now is another one, to be counted from a start of its
  /// own. What hangs on the former one stays as history.
  ///
  /// - Parameter start: The oldest offset that the broker holds.
  /// - Returns: False where no such incident is open.
  package func restart(
    _ partition: PartitionID, from start: Offset, now: Int64
  ) throws(CheckpointError) -> Bool {
    let added: Int64? = try write { database in
      guard try resolveReplacedLog(of: partition, "restart", now: now, in: database) else {
        return nil
      }
      let identifier = try partitions.addIncarnation(of: partition, start: start, in: database)
      try voidRejects(of: partition, in: database)
      try database.execute(sql: "DELETE FROM in_flight")
      return identifier
    }
    guard let added else { return false }
    forgetBackfills(of: partition)
    partitions.add(partition, identifier: added, OffsetLedger(start: start))
    inFlight = nil
    return true
  }

  /// A person passes over what the log that is there now holds from progress on.
  ///
  /// - Precondition: the partition's ledger has no problem with the gap.
  /// - Returns: False where no such incident is open.
  package func passOverReplacedLog(
    _ gap: PartitionRange, now: Int64
  ) throws(CheckpointError) -> Bool {
    guard let before = ledgers[gap.partition] else { throw unknown(gap.partition) }
    var after = before
    after.record(gap.range)
    let wasOpen = try write { database in
      guard try resolveReplacedLog(of: gap.partition, "gap", now: now, in: database) else {
        return false
      }
      try record(gap, .lost, from: before, to: after, now: now, in: database)
      return true
    }
    guard wasOpen else { return false }
    partitions.ledgers[gap.partition] = after
    partitions.fingerprints[gap.partition] = nil
    forgetBackfills(of: gap.partition)
    inFlight = nil
    return true
  }

  /// What was noticed of a batch of the former log, or accepted, says nothing of the new one.
  private func voidRejects(of partition: PartitionID, in database: Database) throws {
    let incidents = try database.checkedRows(
      of: "incidents",
      """
      SELECT incident, ranges FROM incidents
      WHERE kind = 'rejects' AND (resolved_at IS NULL OR resolution = 'accepted')
      """, identifiedBy: 1
    ) { (incident: try $0.integer(0), ranges: try $0.ranges(1)) }
    for incident in incidents where incident.ranges.contains(where: { $0.partition == partition }) {
      try database.execute(
        sql: "DELETE FROM incidents WHERE incident = ?", arguments: [incident.incident])
    }
  }

  private func resolveReplacedLog(
    of partition: PartitionID, _ resolution: String, now: Int64, in database: Database
  ) throws -> Bool {
    let identifier = partitions.identifiers[partition]
    try database.execute(
      sql: """
        UPDATE incidents SET resolved_at = ?, resolution = ?
        WHERE kind = 'log_replaced' AND partition_id = ? AND resolved_at IS NULL
        """,
      arguments: [TimestampText.format(milliseconds: now), resolution, identifier])
    guard database.changesCount > 0 else { return false }
    try giveUpBackfills(of: partition, now: now, in: database)
    // The message that was read is not in the log that the job goes on with.
    try database.execute(
      sql: """
        UPDATE partitions
        SET fingerprint_offset = NULL, fingerprint = NULL, newest_timestamp = NULL
        WHERE partition_id = ?
        """, arguments: [identifier])
    return true
  }

  /// Partitions whose log a person knows to end before progress, with the progress that this holds
  /// for.
  package func keptPartitions() throws(CheckpointError) -> [PartitionID: Offset] {
    try read { database in try Self.keptPartitions(in: database, partitions) }
  }

  static func keptPartitions(
    in database: Database, _ partitions: StoredPartitions
  ) throws -> [PartitionID: Offset] {
    guard try database.tableExists("incidents") else { return [:] }
    var kept: [PartitionID: Offset] = [:]
    try database.forEachRow(
      of: "incidents",
      """
      SELECT incident, \(try StoredPartitions.identifier(in: "incidents", database)), next_offset
      FROM incidents
      WHERE kind = 'log_replaced' AND resolution = 'keep' ORDER BY incident
      """, identifiedBy: 1
    ) { row in
      let (partition, next) = (try row.partition(1, in: partitions.names), try row.count(2))
      if partitions.isNewest(try row.integer(1)) { kept[partition] = next }
    }
    return kept
  }

  // MARK: - Rejects

  /// How the newest committed batches decoded.
  package struct RejectHistory: Sendable, Equatable {
    /// Records and rejects; without those rejects that a person has accepted.
    package var judgedCount: Int64 = 0
    package var rejectedCount: Int64 = 0
    /// Whether any record of this job has ever decoded.
    package var hasDecoded = false

    package init(judgedCount: Int64 = 0, rejectedCount: Int64 = 0, hasDecoded: Bool = false) {
      self.judgedCount = judgedCount
      self.rejectedCount = rejectedCount
      self.hasDecoded = hasDecoded
    }
  }

  /// - Parameters:
  ///   - count: Batches are taken, newest first, until they hold this many judged records.
  ///   - ofBackfills: Batches of backfills are judged among themselves: old messages say nothing
  ///     about new ones.
  package func rejectHistory(
    recordCount count: Int64, ofBackfills: Bool
  ) throws(CheckpointError) -> RejectHistory {
    try read { database in
      var history = RejectHistory()
      // So far below int64's end that ten thousand of them can be added up.
      let countRange: ClosedRange<Int64> = 0...1 << 48
      try database.forRows(
        of: "batches",
        """
        SELECT batch, records, rejected, accepted + late FROM batches
        WHERE backfill IS \(ofBackfills ? "NOT NULL" : "NULL") ORDER BY batch DESC LIMIT 10000
        """, identifiedBy: 1
      ) { row in
        guard history.judgedCount < count else { return false }
        let rejected = try row.integer(2, in: countRange)
        let judged = rejected - (try row.integer(3, in: 0...rejected))
        history.judgedCount += try row.integer(1, in: countRange) + judged
        history.rejectedCount += judged
        return true
      }
      history.hasDecoded = try Self.totals(of: .all, in: database).recordCount > 0
      return history
    }
  }

  /// Stores that too many records of a batch did not decode, so that a person can accept them.
  ///
  /// It takes the place of an open incident of the same kind of batch: new messages and backfills
  /// have one each.
  package func noteRejects(
    of plan: BatchPlan, first: PartitionID, offset: Offset, stop: RejectStop, now: Int64
  ) throws(CheckpointError) {
    let time = TimestampText.format(milliseconds: now)
    try write { database in
      let replaced = try database.checkedRows(
        of: "incidents",
        """
        SELECT incident, partition_id, next_offset, noticed_at FROM incidents
        WHERE kind = 'rejects' AND resolved_at IS NULL
        """, identifiedBy: 1
      ) { row in
        (
          incident: try row.integer(0), partition: try row.partition(1, in: partitions.names),
          offset: try row.count(2), noticed: try row.text(3)
        )
      }.filter { open in
        // The rejects of new messages lie at progress or above, as long as they are not settled.
        let isOfBackfill = open.offset < ledgers[open.partition]?.nextOffset ?? 0
        return isOfBackfill == (plan.backfill != nil)
      }
      let noticed = replaced.first { $0.partition == first && $0.offset == offset }?.noticed
      for (incident, _, _, _) in replaced {
        try database.execute(
          sql: "DELETE FROM incidents WHERE incident = ?", arguments: [incident])
      }
      try database.execute(
        sql: """
          INSERT INTO incidents
            (kind, partition_id, next_offset, ranges, detail, noticed_at, last_seen_at)
          VALUES ('rejects', ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          partitions.identifiers[first], offset, RangesText.format(plan.ranges),
          Incident.Cause.rejects(stop).stored,
          noticed ?? time, time,
        ])
    }
    hasOpenRejects = true
  }

  /// A person accepts the rejects of the batch that they stopped: the next run counts its good
  /// records.
  ///
  /// - Returns: The ranges that this holds for; none where no batch was stopped by rejects.
  package func acceptRejects(now: Int64) throws(CheckpointError) -> [PartitionRange] {
    let ranges = try read { database in
      try Self.ranges(ofIncidents: "kind = 'rejects' AND resolved_at IS NULL", in: database)
    }
    guard !ranges.isEmpty else { return [] }
    try write { database in
      try database.execute(
        sql: """
          UPDATE incidents SET resolved_at = ?, resolution = 'accepted'
          WHERE kind = 'rejects' AND resolved_at IS NULL
          """, arguments: [TimestampText.format(milliseconds: now)])
    }
    return ranges
  }

  /// Ranges whose rejects a person has accepted, as far as they are not committed yet.
  package func acceptedRanges() throws(CheckpointError) -> [PartitionRange] {
    try read { database in
      try Self.ranges(ofIncidents: "kind = 'rejects' AND resolution = 'accepted'", in: database)
    }.filter { range in
      ledgers[range.partition].map { !$0.isSettled(range.range) } ?? false
    }
  }

  private static func ranges(
    ofIncidents condition: String, in database: Database
  ) throws -> [PartitionRange] {
    try database.checkedRows(
      of: "incidents", "SELECT incident, ranges FROM incidents WHERE \(condition)", identifiedBy: 1
    ) { try $0.ranges(1) }.flatMap(\.self)
  }

  /// Closes an open incident of rejects when the first of them is counted after all, or never will
  /// be.
  ///
  /// - Parameter ledger: Of a partition, as it is with what the transaction changes.
  func closeRejectIncidents(
    now: Int64, in database: Database, ledger: (PartitionID) -> OffsetLedger?
  ) throws {
    let settled = try database.checkedRows(
      of: "incidents",
      """
      SELECT incident, partition_id, next_offset FROM incidents
      WHERE kind = 'rejects' AND resolved_at IS NULL
      """, identifiedBy: 1
    ) { row in
      (
        incident: try row.integer(0), partition: try row.partition(1, in: partitions.names),
        offset: try row.count(2)
      )
    }.filter { ledger($0.partition)?.isSettled($0.offset) ?? false }
    for (incident, _, _) in settled {
      try database.execute(
        sql: "UPDATE incidents SET resolved_at = ?, resolution = 'committed' WHERE incident = ?",
        arguments: [TimestampText.format(milliseconds: now), incident])
    }
  }
}
