internal import Formats
internal import Foundation
internal import GRDB
internal import Jobs
package import Offsets
package import Tables
package import Windows

/// Everything that one batch changes, committed in one transaction.
package struct BatchCommit {
  /// The ranges read; the partition numbers of the delta and the rejects are positions in it.
  package var plan: BatchPlan
  package var recordCount: Int64
  package var countedCount: Int64
  /// Why records were rejected, and how many, whether they are kept or not.
  package var rejectCounts: [Reject.Reason: Int64]
  /// Of the rejects, those that a person has accepted: they are not judged again.
  package var acceptedCount: Int64
  /// Of the messages.
  package var byteCount: Int64
  /// What each step took until now, for the history.
  package var steps: [BatchStep]
  /// Messages without a value that were passed over.
  package var tombstoneCount: Int64
  /// For window jobs.
  package var delta: Delta?
  /// For batch windows and row jobs: the object rendered from this batch.
  package var result: (objectKey: String, bytes: [UInt8], rowCount: Int64)?
  /// Of the newest message of each range; nil where a range held none.
  package var fingerprints: [Fingerprint?]
  /// What is kept: under the quarantine policy all, under others late ones.
  package var rejects: [Reject]
  /// The newest time of each range's records; empty where the job counts late ones.
  package var newestTimes: [Int64?] = []
  /// The cutoff by which the records were judged.
  package var judgedBy = Cutoff()
  /// The one that the batch leaves; nil where it does not move it.
  package var cutoff: Cutoff?
  /// What this run executes next, if it goes on.
  package var nextPlan: BatchPlan?
  /// What was published meanwhile.
  package var marks: [PublishMark]
  /// Milliseconds since 1970 UTC, for the history.
  package var now: Int64

  package init(plan: BatchPlan, now: Int64) {
    self.plan = plan
    self.now = now
    recordCount = 0
    countedCount = 0
    rejectCounts = [:]
    acceptedCount = 0
    byteCount = 0
    steps = []
    tombstoneCount = 0
    fingerprints = Array(repeating: nil, count: plan.ranges.count)
    rejects = []
    marks = []
  }

  package var rejectedCount: Int64 { rejectCounts.values.reduce(0, +) }
  /// Of the rejects, those that nothing is wrong with but that they came late.
  package var lateCount: Int64 {
    rejectCounts.reduce(0) { $0 + ($1.key.isFault ? 0 : $1.value) }
  }
}

/// The store has acknowledged a revision of an object.
package struct PublishMark: Sendable, Hashable {
  package let objectKey: String
  package let revision: Int64
  package let etag: String
  package let byteCount: Int
  package let rowCount: Int64?
  package let renderedBy: String
  /// A request without an answer may still be applied after this one, so the store is to be asked
  /// again.
  package let isUnsettled: Bool

  package init(
    objectKey: String, revision: Int64, etag: String, byteCount: Int, rowCount: Int64? = nil,
    renderedBy: String, isUnsettled: Bool
  ) {
    self.objectKey = objectKey
    self.revision = revision
    self.etag = etag
    self.byteCount = byteCount
    self.rowCount = rowCount
    self.renderedBy = renderedBy
    self.isUnsettled = isUnsettled
  }
}

extension Checkpoint {
  /// Commits a batch: progress, state, outputs, rejects, history, the next plan and the marks of
  /// what was published, or nothing.
  ///
  /// - Throws: ``CheckpointError``; `overflow` when a sum of the state no longer fits,
  ///   `tooManyGroups` over the limit.
  package func commit(_ batch: BatchCommit) throws(CheckpointError) {
    precondition(
      batch.plan.batch == nextBatch,
      "batch \(batch.plan.batch) committed where \(nextBatch) is next")
    try write { database in
      if let backfill = batch.plan.backfill {
        try advance(backfill, batch, in: database)
      } else {
        try advanceProgress(batch, in: database)
        try moveCutoff(batch, in: database)
      }
      if let delta = batch.delta { try merge(delta, of: batch.plan, in: database) }
      if let result = batch.result {
        try bumpOutput(
          result.objectKey, kind: "batch", number: batch.plan.batch, by: batch.plan.batch,
          in: database)
        try database.cachedStatement(
          sql:
            "INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET byte_count = "
            + "excluded.byte_count, bytes = excluded.bytes, row_count = excluded.row_count"
        ).execute(arguments: [
          result.objectKey, result.bytes.count, Data(result.bytes), result.rowCount,
        ])
      }
      try keep(batch.rejects, of: batch.plan, in: database)
      try count(batch.rejectCounts, in: database)
      try note(batch, in: database)
      if hasOpenRejects {
        try closeRejectIncidents(now: batch.now, in: database) { ledger(of: $0, after: batch.plan) }
      }
      try database.cachedStatement(sql: "UPDATE checkpoint SET next_batch = ?").execute(arguments: [
        batch.plan.batch + 1
      ])
      try store(batch.nextPlan, now: batch.now, in: database)
      try mark(batch.marks, in: database)
    }
    for (range, fingerprint) in zip(batch.plan.ranges, batch.fingerprints) {
      let partition = range.partition
      Self.count(range, of: batch.plan, in: &partitions.ledgers[partition])
      // What a backfill has read tells the log as well, where nothing newer was read.
      if let fingerprint, batch.plan.backfill == nil || partitions.fingerprints[partition] == nil {
        partitions.fingerprints[partition] = fingerprint
      }
    }
    if let moved = batch.cutoff { moveCutoff(to: moved, batch) }
    if let backfill = batch.plan.backfill { forget(batch.plan.ranges, ofBackfill: backfill) }
    nextBatch = batch.plan.batch + 1
    inFlight = batch.nextPlan
  }

  private func ledger(of partition: PartitionID, after plan: BatchPlan) -> OffsetLedger? {
    var ledger = ledgers[partition]
    if let range = plan.ranges.first(where: { $0.partition == partition }) {
      Self.count(range, of: plan, in: &ledger)
    }
    return ledger
  }

  private static func count(
    _ range: PartitionRange, of plan: BatchPlan, in ledger: inout OffsetLedger?
  ) {
    if plan.backfill == nil {
      ledger?.advance(to: range.to)
    } else {
      ledger?.finishBackfill(range.range)
    }
  }

  private func advanceProgress(_ batch: BatchCommit, in database: Database) throws {
    let statement = try BoundStatement(database, sql: Self.moveProgress)
    for (range, fingerprint) in zip(batch.plan.ranges, batch.fingerprints) {
      guard let ledger = ledgers[range.partition] else { throw unknown(range.partition) }
      try moveProgress(
        of: range.partition, from: range.from, to: ledger.landing(range.to), fingerprint,
        statement, in: database)
    }
  }

  static let moveProgress = """
    UPDATE partitions SET next_offset = ?1,
      fingerprint_offset = coalesce(?4, fingerprint_offset),
      fingerprint = coalesce(?5, fingerprint),
      newest_timestamp = CASE WHEN ?4 IS NULL THEN newest_timestamp ELSE ?6 END
    WHERE partition_id = ?2 AND next_offset = ?3
    """

  func moveProgress(
    of partition: PartitionID, from: Offset, to: Offset, _ fingerprint: Fingerprint?,
    _ statement: BoundStatement, in database: Database
  ) throws {
    guard let identifier = partitions.identifiers[partition] else { throw unknown(partition) }
    try statement.bind(to, at: 1)
    try statement.bind(identifier, at: 2)
    try statement.bind(from, at: 3)
    try statement.bind(fingerprint?.offset, at: 4)
    try statement.bind(fingerprint?.hash, at: 5)
    try statement.bind(fingerprint?.timestampMilliseconds, at: 6)
    try statement.execute()
    guard database.changesCount == 1 else {
      throw CheckpointError(
        .invariant("a range of \(partition) from \(from) does not begin at its progress"),
        path: path)
    }
  }

  /// Of its partitions, in the order of its ranges.
  private func identifiers(of plan: BatchPlan) -> [Int64] {
    plan.ranges.map { partitions.identifiers[$0.partition] ?? 0 }
  }

  func unknown(_ partition: PartitionID) -> CheckpointError {
    CheckpointError(.invariant("\(partition) has no start offset"), path: path)
  }

  // MARK: - State

  private func merge(_ delta: Delta, of plan: BatchPlan, in database: Database) throws {
    guard let generation else { preconditionFailure("a delta for a job without state") }
    do {
      let began = try generation.began(delta.panes, in: database)
      try generation.merge(delta, began: began, in: database)
    } catch let error as Generation.Overflow {
      throw CheckpointError(error, path: path)
    }
    let lineage = try LineageUpsert(into: "window_offsets", in: database)
    let identifiers = identifiers(of: plan)
    var windows: [Window] = []
    for part in delta.panes {
      try count(part, generation, of: plan.batch, in: database)
      try lineage.add(part, identifiers)
      windows += job.window.windows(showing: part.pane)
    }
    windows.sort()
    for (index, window) in windows.enumerated() where index == 0 || windows[index - 1] != window {
      try bumpOutput(
        ObjectKeys.window(window, of: job), kind: "window", number: window.number, by: plan.batch,
        in: database)
    }
  }

  /// Counts what a pane gets, and holds its groups against the limit. Most batches meet groups that
  /// exist, so the cheap upper bound is made exact only at the limit.
  private func count(
    _ part: Delta.PanePart, _ generation: Generation, of batch: Int64, in database: Database
  ) throws {
    let pane = part.pane
    let records = part.contributions.reduce(0) { $0 + $1.recordCount }
    try database.cachedStatement(
      sql: """
        INSERT INTO windows
          (window, records, group_count_at_most, generation, first_batch, last_batch, definition)
        VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)
        ON CONFLICT DO UPDATE SET records = records + excluded.records,
          group_count_at_most = group_count_at_most + excluded.group_count_at_most,
          last_batch = excluded.last_batch
        """
    ).execute(arguments: [
      pane.number, records, part.groupCount, generation.number, batch, definition,
    ])
    let limit = job.limits.groupsPerWindow
    let bound = try Int64.fetchOne(
      database.cachedStatement(
        sql: "SELECT group_count_at_most FROM windows WHERE window = ? AND generation = ?"),
      arguments: [pane.number, generation.number])
    guard let bound else {
      throw RowFault(
        table: "windows", row: "\(pane.number)",
        problem: "generation is not \(generation.number), which runs write to")
    }
    guard bound > limit else { return }
    let count = try generation.groupCount(of: pane, in: database)
    guard count <= limit else {
      let window = job.window.windows(showing: pane).first
      throw CheckpointError(
        .tooManyGroups(
          window: window.map(job.window.label) ?? "", count: count, limit: limit), path: path)
    }
    try database.cachedStatement(sql: "UPDATE windows SET group_count_at_most = ? WHERE window = ?")
      .execute(arguments: [count, pane.number])
  }

  // MARK: - Outputs, rejects, plan

  /// - Parameter batch: What makes it dirty, where it is clean.
  private func bumpOutput(
    _ key: String, kind: String, number: Int64, by batch: Int64, in database: Database
  ) throws {
    try database.cachedStatement(
      sql: """
        INSERT INTO outputs (object_key, kind, number, revision, dirty_since)
        VALUES (?, ?, ?, 1, ?)
        ON CONFLICT DO UPDATE SET revision = revision + 1, number = excluded.number,
          dirty_since = iif(revision > published_revision, dirty_since, excluded.dirty_since),
          etag = iif(place IS NULL, etag, NULL), place = NULL
        """
    ).execute(arguments: [key, kind, number, batch])
  }

  private func keep(_ rejects: [Reject], of plan: BatchPlan, in database: Database) throws {
    guard !rejects.isEmpty else { return }
    let statement = try database.cachedStatement(
      sql: "INSERT INTO rejects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    let identifiers = identifiers(of: plan)
    for reject in rejects {
      try statement.execute(arguments: [
        plan.batch, identifiers[reject.partitionIndex], reject.offset, reject.record,
        reject.reason.rawValue, reject.field, reject.raw.map { Data($0) },
        reject.key.map { Data($0) }, reject.timestampMilliseconds, reject.headers,
      ])
    }
    try bumpOutput(
      ObjectKeys.rejects(batch: plan.batch), kind: "rejects", number: plan.batch, by: plan.batch,
      in: database)
  }

  private func count(_ rejects: [Reject.Reason: Int64], in database: Database) throws {
    for (reason, count) in rejects {
      try database.cachedStatement(
        sql: """
          INSERT INTO reject_totals VALUES (?, ?)
          ON CONFLICT DO UPDATE SET rejects = rejects + excluded.rejects
          """
      ).execute(arguments: [reason.rawValue, count])
    }
  }

  private func store(_ plan: BatchPlan?, now: Int64, in database: Database) throws {
    if let plan {
      try database.cachedStatement(
        sql:
          "INSERT INTO in_flight (id, batch, planned_at, ranges, backfill, behind) "
          + "VALUES (1, ?, ?, ?, ?, ?) "
          + "ON CONFLICT DO UPDATE SET batch = excluded.batch, planned_at = excluded.planned_at, "
          + "ranges = excluded.ranges, backfill = excluded.backfill, behind = excluded.behind"
      ).execute(arguments: [
        plan.batch, TimestampText.format(milliseconds: now), RangesText.format(plan.ranges),
        plan.backfill, plan.behind.map { RangesText.format($0) },
      ])
    } else {
      try database.cachedStatement(sql: "DELETE FROM in_flight").execute()
    }
  }

  func mark(_ marks: [PublishMark], in database: Database) throws {
    guard !marks.isEmpty else { return }
    let statement = try database.cachedStatement(
      sql: """
        UPDATE outputs SET published_revision = ?1, etag = ?2, byte_count = ?3, rendered_by = ?4,
          checks_left = CASE WHEN ?5 THEN 2 ELSE checks_left END, row_count = ?7,
          dirty_since = iif(revision > ?1, dirty_since, NULL)
        WHERE object_key = ?6 AND published_revision < ?1
        """)
    for mark in marks {
      try statement.execute(arguments: [
        mark.revision, mark.etag, mark.byteCount, mark.renderedBy, mark.isUnsettled, mark.objectKey,
        mark.rowCount,
      ])
    }
    // The bytes of a batch have done their work when its object stands and no check may ask for
    // them.
    try dropPublishedResults(in: database)
  }

  private func dropPublishedResults(in database: Database) throws {
    try database.cachedStatement(
      sql: """
        DELETE FROM results WHERE EXISTS (
          SELECT 1 FROM outputs
          WHERE outputs.object_key = results.object_key AND revision = published_revision
            AND checks_left = 0)
        """
    ).execute()
  }

  // MARK: - Between batches

  /// Records what was published since the last commit, in a transaction of its own.
  package func commitMarks(_ marks: [PublishMark]) throws(CheckpointError) {
    guard !marks.isEmpty else { return }
    try write { database in try mark(marks, in: database) }
  }

  /// Counts one check of each of these objects as passed: the store holds what we published.
  package func settle(_ objectKeys: [String]) throws(CheckpointError) {
    guard !objectKeys.isEmpty else { return }
    try write { database in
      for key in objectKeys {
        try database.cachedStatement(
          sql:
            "UPDATE outputs SET checks_left = checks_left - 1 WHERE object_key = ? AND "
            + "checks_left > 0"
        )
        .execute(arguments: [key])
      }
      try dropPublishedResults(in: database)
    }
  }

  /// Makes objects dirty again because the store holds something else under their keys.
  package func publishAgain(_ objectKeys: [String]) throws(CheckpointError) {
    guard !objectKeys.isEmpty else { return }
    try write { database in
      for key in objectKeys {
        try database.execute(
          sql: "UPDATE outputs SET revision = revision + 1, checks_left = 2 WHERE object_key = ?",
          arguments: [key])
      }
    }
  }

  /// Objects at a former place that are deleted, or not ours any more.
  package func forgetRetired(_ objects: [RetiredObject]) throws(CheckpointError) {
    try write { database in
      for object in objects {
        try database.execute(
          sql: "DELETE FROM retired_objects WHERE place = ? AND object_key = ?",
          arguments: [object.place, object.objectKey])
      }
    }
  }
}
