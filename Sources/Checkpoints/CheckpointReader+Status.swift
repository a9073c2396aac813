internal import GRDB
package import Offsets
internal import Tables
package import Windows

/// What a checkpoint says of its job, for people and monitoring.
package struct CheckpointStatus: Sendable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let ledger: OffsetLedger
    /// Of the newest message that was read, in milliseconds since 1970 UTC; nil where it has none,
    /// where nothing was read, and where an older release read it.
    package let newestTimestamp: Int64?
  }
  package struct Gap: Sendable, Equatable {
    package let range: PartitionRange
    package let reason: String
  }
  package struct Commit: Sendable, Equatable {
    package let batch: Int64
    package let committedAt: String
    package let recordCount: Int64
  }

  package let job: String
  package let lastCommit: Commit?
  /// The number that the next committed batch gets.
  package let nextBatch: Int64
  package let partitions: [Partition]
  /// What was passed over, and counted by no backfill.
  package let gaps: [Gap]
  /// Requests that are not done, in the order in which their batches are taken.
  package let backfills: [StoredBackfill]
  package let windowCount: Int64
  /// As it stands, whatever the job file says now.
  package let cutoff: Cutoff
  /// Windows whose state is gone, of which ``windowCount`` tells nothing.
  package let evictedCount: Int64
  package let recordCount: Int64
  package let rejectedCount: Int64
  /// Of them, those that came late.
  package var lateCount: Int64 { rejectCounts[Reject.Reason.windowClosed.rawValue] ?? 0 }
  /// Messages without a value that were passed over.
  package let tombstoneCount: Int64
  /// By `Reject.Reason`, and `unknown` for those that an older release has dropped.
  package let rejectCounts: [String: Int64]
  package let dirtyOutputs: [String]
  package let unsettledOutputs: [String]
  /// The batch that was planned and not committed when the file was last written.
  package let inFlight: BatchPlan?
  /// What a person is to decide.
  package let incidents: [Incident]
  /// Progress of which a person said that it stands, whatever the log holds.
  package let keptOffsets: [PartitionID: Offset]
}

/// What a checkpoint says of its job again and again, for monitoring.
package struct CheckpointFigures: Sendable {
  package let lastCommit: CheckpointStatus.Commit?
  /// As `CheckpointReader.waitingSince()`.
  package let waitingSince: Int64
  package let recordCount: Int64
  /// Messages without a value that were passed over.
  package let tombstoneCount: Int64
  /// As ``CheckpointStatus/rejectCounts``.
  package let rejectCounts: [String: Int64]
  package let dirtyCount: Int
  package let incidents: [Incident.Kind]
  /// Offsets that backfills are yet to count.
  package let backfillLeft: Int64
  package let cutoff: Cutoff
  /// As ``CheckpointStatus/Partition/newestTimestamp``, of every partition that the job has met.
  package let newestTimestamps: [PartitionID: Int64?]

  package init(
    lastCommit: CheckpointStatus.Commit?, waitingSince: Int64, recordCount: Int64,
    tombstoneCount: Int64, rejectCounts: [String: Int64], dirtyCount: Int,
    incidents: [Incident.Kind],
    backfillLeft: Int64, cutoff: Cutoff = Cutoff(), newestTimestamps: [PartitionID: Int64?]
  ) {
    self.lastCommit = lastCommit
    self.waitingSince = waitingSince
    self.recordCount = recordCount
    self.tombstoneCount = tombstoneCount
    self.rejectCounts = rejectCounts
    self.dirtyCount = dirtyCount
    self.incidents = incidents
    self.backfillLeft = backfillLeft
    self.cutoff = cutoff
    self.newestTimestamps = newestTimestamps
  }
}

extension CheckpointReader {
  /// In one read transaction, also while a run writes. Objects are only counted, by the index of
  /// those that are dirty, as a run does: ``status()`` looks at all of them.
  package func figures() throws(CheckpointError) -> CheckpointFigures {
    try read { database in
      var partitions = try StoredPartitions(in: database, job: job)
      let backfills = try Checkpoint.openBackfills(in: database, &partitions)
      let dirtyCount = try Int.fetchOne(
        database, sql: "SELECT count(*) FROM outputs WHERE revision > published_revision")
      let totals = try Checkpoint.totals(of: .all, in: database)
      return CheckpointFigures(
        lastCommit: try lastCommit(in: database),
        waitingSince: try Checkpoint.waitingSince(in: database),
        recordCount: totals.recordCount, tombstoneCount: totals.tombstoneCount,
        rejectCounts: try rejectCounts(in: database),
        dirtyCount: dirtyCount ?? 0,
        incidents: try Checkpoint.openIncidents(in: database, partitions).map(\.kind),
        backfillLeft: backfills.reduce(0) { $0 + $1.request.offsetCount },
        cutoff: try Checkpoint.cutoff(in: database),
        newestTimestamps: Dictionary(
          uniqueKeysWithValues: partitions.ledgers.keys.map {
            ($0, partitions.fingerprints[$0]?.timestampMilliseconds)
          }))
    }
  }

  /// When the newest batch was committed, in milliseconds since 1970 UTC; nil without any.
  package func lastCommitTime() throws(CheckpointError) -> Int64? {
    try read { database in
      try database.checkedRow(
        of: "batches", "SELECT batch, committed_at FROM batches ORDER BY batch DESC LIMIT 1",
        identifiedBy: 1
      ) { try $0.instant(1) }
    }
  }

  private func lastCommit(in database: Database) throws -> CheckpointStatus.Commit? {
    try database.checkedRow(
      of: "batches",
      "SELECT batch, committed_at, records FROM batches ORDER BY batch DESC LIMIT 1",
      identifiedBy: 1
    ) {
      CheckpointStatus.Commit(
        batch: try $0.number(0), committedAt: try $0.text(1), recordCount: try $0.count(2))
    }
  }

  /// All of it in one read transaction, also while a run writes.
  package func status() throws(CheckpointError) -> CheckpointStatus {
    try read { database in
      let last = try lastCommit(in: database)
      var gaps: [StoredPartitions.Gap] = []
      var partitions = try StoredPartitions(in: database, job: job) { gaps.append($0) }
      let backfills = try Checkpoint.openBackfills(in: database, &partitions)
      let totals = try Checkpoint.totals(of: .all, in: database)
      try confirmOutputs(in: database)
      return CheckpointStatus(
        job: try Checkpoint.jobName(in: database), lastCommit: last,
        nextBatch: try Checkpoint.nextBatch(in: database),
        partitions: partitions.ledgers.sorted { $0.key < $1.key }.map {
          CheckpointStatus.Partition(
            partition: $0.key, ledger: $0.value,
            newestTimestamp: partitions.fingerprints[$0.key]?.timestampMilliseconds)
        },
        gaps: gaps.sorted {
          ($0.range.partition, $0.range.from) < ($1.range.partition, $1.range.from)
        }
        .map { CheckpointStatus.Gap(range: $0.range, reason: $0.reason) },
        backfills: backfills,
        windowCount: try windowCount(in: database), cutoff: try Checkpoint.cutoff(in: database),
        evictedCount: try evictedCount(in: database),
        recordCount: totals.recordCount, rejectedCount: totals.rejectedCount,
        tombstoneCount: totals.tombstoneCount,
        rejectCounts: try rejectCounts(in: database),
        dirtyOutputs: try objectKeys(where: "revision > published_revision", in: database),
        unsettledOutputs: try objectKeys(where: "checks_left > 0", in: database),
        inFlight: try Checkpoint.plannedBatch(in: database),
        incidents: try Checkpoint.openIncidents(in: database, partitions),
        keptOffsets: try Checkpoint.keptPartitions(in: database, partitions))
    }
  }

  func rejectCounts(in database: Database) throws -> [String: Int64] {
    let isCounted = try database.tableExists("reject_totals")
    var counts: [String: Int64] = [:]
    try database.forEachRow(
      of: isCounted ? "reject_totals" : "rejects",
      isCounted ? "SELECT reason, rejects FROM reject_totals" : Checkpoint.rejectTotalsBefore9,
      identifiedBy: 1
    ) { row in
      let reason = try row.text(0)
      guard Reject.Reason(rawValue: reason) != nil || reason == "unknown" else {
        throw row.fault(0, "is not a known reason")
      }
      counts[reason] = try row.count(1)
    }
    return counts
  }

  /// An edited revision could hide that an object is to be published, so that no index of dirty
  /// ones tells of it.
  private func confirmOutputs(in database: Database) throws {
    try database.forEachRow(
      of: "outputs",
      """
      SELECT object_key, revision, published_revision, checks_left FROM outputs
      WHERE (\(Checkpoint.isSoundOutput)) IS NOT TRUE LIMIT 1
      """, identifiedBy: 1
    ) { row in
      _ = try row.integer(2, in: 0...(try row.number(1)))
      _ = try row.integer(3, in: 0...2)
    }
  }

  private func windowCount(in database: Database) throws -> Int64 {
    guard try Checkpoint.keepsTotals(database) else {
      return try Int64.fetchOne(
        database, sql: "SELECT count(*) FROM outputs WHERE kind = 'window'") ?? 0
    }
    return try database.checkedRow(
      of: "checkpoint", "SELECT id, window_count FROM checkpoint", identifiedBy: 1
    ) { try $0.count(1) } ?? 0
  }

  private func objectKeys(where condition: String, in database: Database) throws -> [String] {
    try database.checkedRows(
      of: "outputs", "SELECT object_key FROM outputs WHERE \(condition) ORDER BY object_key",
      identifiedBy: 1
    ) { try $0.objectKey(0) }
  }

  /// Every window that has an object, ascending.
  package func windows() throws(CheckpointError) -> [Window] {
    try read { database in
      try database.checkedRows(
        of: "outputs",
        "SELECT object_key, number FROM outputs WHERE kind = 'window' ORDER BY number",
        identifiedBy: 1
      ) { try window($0, 1) }
    }
  }
}
