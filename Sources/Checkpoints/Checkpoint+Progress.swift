internal import GRDB
package import Offsets
internal import Tables

/// What is read and what is not: starts, gaps and clusters.
extension Checkpoint {
  /// Stores the resolved start of partitions met for the first time, before anything of them is
  /// read.
  package func start(_ starts: [PartitionID: Offset]) throws(CheckpointError) {
    guard !starts.isEmpty else { return }
    var added: [PartitionID: Int64] = [:]
    try write { database in
      for (partition, offset) in starts.sorted(by: { $0.key < $1.key }) {
        try database.execute(
          sql:
            "INSERT INTO partitions (source, topic, partition, start_offset, next_offset) VALUES "
            + "(?, ?, ?, ?, ?)",
          arguments: [partition.source, partition.topic, partition.partition, offset, offset])
        added[partition] = database.lastInsertedRowID
      }
    }
    for (partition, identifier) in added {
      partitions.add(partition, identifier: identifier, OffsetLedger(start: starts[partition] ?? 0))
    }
  }

  /// Records offsets that are never to be read. Progress passes over them when it gets there; at
  /// once if it stands at their start.
  ///
  /// - Precondition: the partition's ledger has no problem with it.
  package func recordGap(_ gap: PartitionRange, reason: GapReason, now: Int64)
    throws(CheckpointError)
  {
    guard let before = ledgers[gap.partition] else { throw unknown(gap.partition) }
    var after = before
    after.record(gap.range)
    try write { database in
      try record(gap, reason, from: before, to: after, now: now, in: database)
    }
    partitions.ledgers[gap.partition] = after
    inFlight = nil
  }

  func record(
    _ gap: PartitionRange, _ reason: GapReason, from before: OffsetLedger, to after: OffsetLedger,
    now: Int64, in database: Database
  ) throws {
    try database.execute(
      sql: "INSERT INTO gaps VALUES (?, ?, ?, ?, ?)",
      arguments: [
        partitions.identifiers[gap.partition], gap.from, gap.to, reason.rawValue,
        TimestampText.format(milliseconds: now),
      ])
    if after.nextOffset != before.nextOffset {
      let statement = try BoundStatement(database, sql: Self.moveProgress)
      try moveProgress(
        of: gap.partition, from: before.nextOffset, to: after.nextOffset, nil, statement,
        in: database)
    }
    if hasOpenRejects {
      try closeRejectIncidents(now: now, in: database) {
        $0 == gap.partition ? after : ledgers[$0]
      }
    }
    // What was in flight may hold these offsets; it is planned anew.
    try database.execute(sql: "DELETE FROM in_flight")
  }

  /// Compares a cluster's id with the one stored, or stores it on first contact.
  ///
  /// - Throws: ``CheckpointError`` with code `wrongCluster`.
  package func confirmCluster(source: String, clusterID: String) throws(CheckpointError) {
    let stored: String?
    do {
      stored = try queue.read { database in
        try database.checkedRow(
          of: "clusters", "SELECT source, cluster_id FROM clusters WHERE source = ?",
          arguments: [source], identifiedBy: 1
        ) { try $0.text(1) }
      }
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
    guard let stored else {
      return try write { database in
        try database.execute(
          sql: "INSERT INTO clusters VALUES (?, ?)", arguments: [source, clusterID])
      }
    }
    guard stored == clusterID else {
      if try read(Self.isUntouched) {
        return try replaceCluster(source: source, clusterID: clusterID)
      }
      throw CheckpointError(
        .wrongCluster(source: source, stored: stored, found: clusterID), path: path)
    }
  }
}

/// Since when new messages wait, which `trigger.max_delay` counts from.
extension Checkpoint {
  /// Milliseconds since 1970 UTC: of the newest commit of new messages or, where there is none, of
  /// the making of the file.
  package func waitingSince() throws(CheckpointError) -> Int64 {
    try read { try Self.waitingSince(in: $0) }
  }

  static func waitingSince(in database: Database) throws -> Int64 {
    let live = try StoredPartitions.knowsBackfills(database) ? "WHERE backfill IS NULL" : ""
    let committed = try database.checkedRow(
      of: "batches",
      "SELECT batch, committed_at FROM batches \(live) ORDER BY batch DESC LIMIT 1",
      identifiedBy: 1
    ) { try $0.instant(1) }
    if let committed { return committed }
    let made = try database.checkedRow(
      of: "checkpoint", "SELECT id, created_at FROM checkpoint", identifiedBy: 1
    ) { try $0.instant(1) }
    guard let made else { throw RowFault(table: "checkpoint", row: "1", problem: "is not there") }
    return made
  }
}

extension CheckpointReader {
  /// As ``Checkpoint/waitingSince()``.
  package func waitingSince() throws(CheckpointError) -> Int64 {
    try read { try Checkpoint.waitingSince(in: $0) }
  }
}

/// Why offsets were passed over.
package enum GapReason: String, Sendable {
  /// By `tranche skip`.
  case skipped
  /// The broker removed them before they were read, and the job says `on_data_loss: skip`.
  case lost
}
