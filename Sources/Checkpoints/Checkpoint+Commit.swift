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
  package var rejectedCount: Int64
  /// For window jobs.
  package var delta: Delta?
  /// For batch windows and row jobs: the object rendered from this batch.
  package var result: (objectKey: String, bytes: [UInt8])?
  /// Kept only under the quarantine policy.
  package var rejects: [Reject]
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
    rejectedCount = 0
    rejects = []
    marks = []
  }
}

/// The store has acknowledged a revision of an object.
package struct PublishMark: Sendable, Equatable {
  package let objectKey: String
  package let revision: Int64
  package let etag: String
  package let byteCount: Int
  package let renderedBy: String
  /// A request without an answer may still be applied after this one, so the store is to be asked again.
  package let isUnsettled: Bool

  package init(objectKey: String, revision: Int64, etag: String, byteCount: Int, renderedBy: String, isUnsettled: Bool) {
    self.objectKey = objectKey
    self.revision = revision
    self.etag = etag
    self.byteCount = byteCount
    self.renderedBy = renderedBy
    self.isUnsettled = isUnsettled
  }
}

extension Checkpoint {
  /// Commits a batch: progress, state, outputs, rejects, history, the next plan and the marks of what was published, or nothing.
  ///
  /// - Throws: ``CheckpointError``; `overflow` when a sum of the state no longer fits, `tooManyGroups` over the limit.
  package func commit(_ batch: BatchCommit) throws(CheckpointError) {
    precondition(batch.plan.batch == nextBatch, "batch \(batch.plan.batch) committed where \(nextBatch) is next")
    try write { database in
      try advanceProgress(batch.plan, in: database)
      if let delta = batch.delta { try merge(delta, of: batch.plan, in: database) }
      if let result = batch.result {
        try bumpOutput(result.objectKey, kind: "batch", number: batch.plan.batch, in: database)
        try database.cachedStatement(
          sql: "INSERT INTO results VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET byte_count = excluded.byte_count, bytes = excluded.bytes"
        ).execute(arguments: [result.objectKey, result.bytes.count, Data(result.bytes)])
      }
      try keep(batch.rejects, of: batch.plan, in: database)
      try database.cachedStatement(sql: "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)").execute(arguments: [
        batch.plan.batch, TimestampText.format(milliseconds: batch.now), batch.plan.offsetCount, batch.recordCount, batch.countedCount,
        batch.rejectedCount, RangesText.format(batch.plan.ranges),
      ])
      try database.cachedStatement(sql: "UPDATE checkpoint SET next_batch = ?").execute(arguments: [batch.plan.batch + 1])
      try store(batch.nextPlan, now: batch.now, in: database)
      try mark(batch.marks, in: database)
    }
    for range in batch.plan.ranges { progress[range.partition]?.nextOffset = landing(range.partition, range.range.to) }
    nextBatch = batch.plan.batch + 1
    inFlight = batch.nextPlan
  }

  private func advanceProgress(_ plan: BatchPlan, in database: Database) throws {
    let statement = try BoundStatement(database, sql: Self.moveProgress)
    for range in plan.ranges {
      try moveProgress(
        of: range.partition, from: range.range.from, to: landing(range.partition, range.range.to), statement, in: database)
    }
  }

  private static let moveProgress = "UPDATE partitions SET next_offset = ?1 WHERE partition_id = ?2 AND next_offset = ?3"

  private func moveProgress(
    of partition: PartitionID, from: Offset, to: Offset, _ statement: BoundStatement, in database: Database
  ) throws {
    guard let held = progress[partition] else {
      throw CheckpointError(.invariant("\(partition) has no start offset"), path: path)
    }
    statement.bind(to, at: 1)
    statement.bind(held.identifier, at: 2)
    statement.bind(from, at: 3)
    try statement.execute()
    guard database.changesCount == 1 else {
      throw CheckpointError(.invariant("a range of \(partition) from \(from) does not begin at its progress"), path: path)
    }
  }

  // MARK: - State

  private func merge(_ delta: Delta, of plan: BatchPlan, in database: Database) throws {
    guard let layout else { preconditionFailure("a delta for a job without window state") }
    try mergeGroups(delta, layout, in: database)
    let offsets = try BoundStatement(
      database,
      sql: """
        INSERT INTO window_offsets VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
          smallest_offset = min(smallest_offset, excluded.smallest_offset),
          largest_offset = max(largest_offset, excluded.largest_offset), records = records + excluded.records
        """)
    let identifiers = plan.ranges.map { progress[$0.partition]?.identifier ?? 0 }
    for window in delta.windows {
      try countGroups(window, in: database)
      for contribution in window.contributions {
        offsets.bind(window.window, at: 1)
        offsets.bind(identifiers[contribution.partitionIndex], at: 2)
        offsets.bind(contribution.smallestOffset, at: 3)
        offsets.bind(contribution.largestOffset, at: 4)
        offsets.bind(contribution.recordCount, at: 5)
        try offsets.execute()
      }
      try bumpOutput(ObjectKeys.window(window.window, of: job), kind: "window", number: window.window, in: database)
    }
  }

  private func mergeGroups(_ delta: Delta, _ layout: StateLayout, in database: Database) throws {
    let statement = try BoundStatement(database, sql: upsert)
    for group in 0..<delta.groupCount {
      statement.bind(delta.groupWindows[group], at: 1)
      var index: Int32 = 2
      for key in layout.keys.indices {
        if layout.keys[key].isNullable {
          statement.bind(delta.keys[key].isNull[group] ? 1 : 0, at: index)
          index += 1
        }
        statement.bind(delta.keys[key], row: group, nullAsDefault: true, at: index)
        index += 1
      }
      for column in delta.state.indices {
        statement.bind(delta.state[column], row: group, nullAsDefault: false, at: index)
        index += 1
      }
      do {
        try statement.execute()
      } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        throw try overflow(group, of: delta, layout, cause: error, in: database)
      }
    }
  }

  /// `INSERT ... ON CONFLICT DO UPDATE`, one parameter per column. SQLite turns an integer sum that overflows into a REAL; such a sum, a
  /// decimal of more than 18 digits or an infinite one becomes a text instead, which the STRICT table refuses.
  static func upsert(_ layout: StateLayout) -> String {
    var names = ["window"]
    var key = ["window"]
    for definition in layout.keys {
      if definition.isNullable {
        let isNull = "\(definition.name)_is_null".quotedDatabaseIdentifier
        names.append(isNull)
        key.append(isNull)
      }
      names.append(definition.name.quotedDatabaseIdentifier)
      key.append(definition.name.quotedDatabaseIdentifier)
    }
    var updates: [String] = []
    for column in layout.columns {
      let name = column.name.quotedDatabaseIdentifier
      names.append(name)
      let merged: String
      switch column.merge {
      case .add:
        let sum = "groups.\(name) + excluded.\(name)"
        let fits =
          switch column.type {
          case .double: "abs(\(sum)) <= 1.7976931348623157e308"
          case .decimal: "abs(\(sum)) < 1000000000000000000"
          default: "typeof(\(sum)) = 'integer'"
          }
        merged = "iif(\(fits), \(sum), 'overflow')"
      case .min: merged = "min(groups.\(name), excluded.\(name))"
      case .max: merged = "max(groups.\(name), excluded.\(name))"
      }
      updates.append(
        column.isNullable
          ? "\(name) = CASE WHEN excluded.\(name) IS NULL THEN groups.\(name) WHEN groups.\(name) IS NULL THEN excluded.\(name) ELSE \(merged) END"
          : "\(name) = \(merged)")
    }
    return """
      INSERT INTO groups (\(names.joined(separator: ", "))) VALUES (\(names.map { _ in "?" }.joined(separator: ", ")))
      ON CONFLICT (\(key.joined(separator: ", "))) DO UPDATE SET \(updates.joined(separator: ", "))
      """
  }

  private func overflow(
    _ group: Int, of delta: Delta, _ layout: StateLayout, cause: DatabaseError, in database: Database
  ) throws -> CheckpointError {
    var conditions = ["window = ?"]
    var arguments: [any DatabaseValueConvertible] = [delta.groupWindows[group]]
    for (definition, column) in zip(layout.keys, delta.keys) {
      if definition.isNullable {
        conditions.append("\("\(definition.name)_is_null".quotedDatabaseIdentifier) = ?")
        arguments.append(column.isNull[group] ? 1 : 0)
      }
      conditions.append("\(definition.name.quotedDatabaseIdentifier) = ?")
      arguments.append(column.databaseValue(group, nullAsDefault: true))
    }
    for (index, column) in layout.columns.enumerated() where column.merge == .add {
      let row = try Row.fetchOne(
        database,
        sql: "SELECT \(column.name.quotedDatabaseIdentifier) FROM groups WHERE \(conditions.joined(separator: " AND "))",
        arguments: StatementArguments(arguments))
      var held = Column(column.type)
      if let row { held.append(row, at: 0) }
      if !column.fits(held, 0, plus: delta.state[index], group) {
        return CheckpointError(.overflow(group: group, stateColumn: index, held: held), path: path)
      }
    }
    return CheckpointError(.database(cause.message ?? "a constraint failed"), path: path)
  }

  /// Holds a window's groups against the limit. Most batches meet groups that exist, so the cheap upper bound is made exact only at the limit.
  private func countGroups(_ window: Delta.Window, in database: Database) throws {
    let records = window.contributions.reduce(0) { $0 + $1.recordCount }
    try database.cachedStatement(
      sql: """
        INSERT INTO windows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET
          records = records + excluded.records, group_count_at_most = group_count_at_most + excluded.group_count_at_most
        """
    ).execute(arguments: [window.window, records, window.groupCount])
    let limit = job.limits.groupsPerWindow
    let bound = try Int64.fetchOne(
      database.cachedStatement(sql: "SELECT group_count_at_most FROM windows WHERE window = ?"), arguments: [window.window])
    guard let bound, bound > limit else { return }
    let count = try Int64.fetchOne(
      database.cachedStatement(sql: "SELECT count(*) FROM groups WHERE window = ?"), arguments: [window.window])
    guard let count, count <= limit else {
      throw CheckpointError(.tooManyGroups(window: window.window, count: count ?? bound, limit: limit), path: path)
    }
    try database.cachedStatement(sql: "UPDATE windows SET group_count_at_most = ? WHERE window = ?")
      .execute(arguments: [count, window.window])
  }

  // MARK: - Outputs, rejects, plan

  private func bumpOutput(_ key: String, kind: String, number: Int64, in database: Database) throws {
    try database.cachedStatement(
      sql: """
        INSERT INTO outputs (object_key, kind, number, revision) VALUES (?, ?, ?, 1)
        ON CONFLICT DO UPDATE SET revision = revision + 1, number = excluded.number
        """
    ).execute(arguments: [key, kind, number])
  }

  private func keep(_ rejects: [Reject], of plan: BatchPlan, in database: Database) throws {
    guard !rejects.isEmpty else { return }
    let statement = try database.cachedStatement(sql: "INSERT INTO rejects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
    for reject in rejects {
      let partition = plan.ranges[reject.partitionIndex].partition
      try statement.execute(arguments: [
        plan.batch, partition.source, partition.topic, partition.partition, reject.offset, reject.record, reject.reason.rawValue,
        reject.field, reject.raw.map { Data($0) },
      ])
    }
    try bumpOutput(ObjectKeys.rejects(batch: plan.batch), kind: "rejects", number: plan.batch, in: database)
  }

  private func store(_ plan: BatchPlan?, now: Int64, in database: Database) throws {
    if let plan {
      try database.cachedStatement(
        sql:
          "INSERT INTO in_flight VALUES (1, ?, ?, ?) ON CONFLICT DO UPDATE SET batch = excluded.batch, planned_at = excluded.planned_at, ranges = excluded.ranges"
      ).execute(arguments: [plan.batch, TimestampText.format(milliseconds: now), RangesText.format(plan.ranges)])
    } else {
      try database.cachedStatement(sql: "DELETE FROM in_flight").execute()
    }
  }

  private func mark(_ marks: [PublishMark], in database: Database) throws {
    guard !marks.isEmpty else { return }
    let statement = try database.cachedStatement(
      sql: """
        UPDATE outputs SET published_revision = ?1, etag = ?2, byte_count = ?3, rendered_by = ?4,
          checks_left = CASE WHEN ?5 THEN 2 ELSE checks_left END
        WHERE object_key = ?6 AND published_revision < ?1
        """)
    for mark in marks {
      try statement.execute(arguments: [mark.revision, mark.etag, mark.byteCount, mark.renderedBy, mark.isUnsettled, mark.objectKey])
    }
    // The bytes of a batch have done their work when its object stands and no check may ask for them.
    try dropPublishedResults(in: database)
  }

  private func dropPublishedResults(in database: Database) throws {
    try database.cachedStatement(
      sql: """
        DELETE FROM results WHERE EXISTS (
          SELECT 1 FROM outputs
          WHERE outputs.object_key = results.object_key AND revision = published_revision AND checks_left = 0)
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
        try database.cachedStatement(sql: "UPDATE outputs SET checks_left = checks_left - 1 WHERE object_key = ? AND checks_left > 0")
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
        try database.execute(sql: "UPDATE outputs SET revision = revision + 1, checks_left = 2 WHERE object_key = ?", arguments: [key])
      }
    }
  }

  /// Stores the resolved start of partitions met for the first time, before anything of them is read.
  package func start(_ starts: [PartitionID: Offset]) throws(CheckpointError) {
    guard !starts.isEmpty else { return }
    var added: [PartitionID: Progress] = [:]
    try write { database in
      for (partition, offset) in starts.sorted(by: { $0.key < $1.key }) {
        try database.execute(
          sql: "INSERT INTO partitions (source, topic, partition, start_offset, next_offset) VALUES (?, ?, ?, ?, ?)",
          arguments: [partition.source, partition.topic, partition.partition, offset, offset])
        added[partition] = Progress(startOffset: offset, nextOffset: offset, identifier: database.lastInsertedRowID)
      }
    }
    progress.merge(added) { _, new in new }
  }

  /// Records offsets that are never to be read. Progress passes over them when it gets there; at once if it stands at their start.
  ///
  /// - Precondition: the range is not empty, begins at or after the partition's next offset and meets no other gap.
  package func recordGap(_ gap: PartitionRange, reason: GapReason, now: Int64) throws(CheckpointError) {
    guard let held = progress[gap.partition] else {
      throw CheckpointError(.invariant("\(gap.partition) has no start offset"), path: path)
    }
    precondition(!gap.range.isEmpty && gap.range.from >= held.nextOffset, "gap \(gap) before progress \(held.nextOffset)")
    // Another gap may begin where this one ends.
    let isAtProgress = gap.range.from == held.nextOffset
    let landing = landing(gap.partition, gap.range.to)
    try write { database in
      try database.execute(
        sql: "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          gap.partition.source, gap.partition.topic, gap.partition.partition, gap.range.from, gap.range.to, reason.rawValue,
          TimestampText.format(milliseconds: now),
        ])
      if isAtProgress {
        let statement = try BoundStatement(database, sql: Self.moveProgress)
        try moveProgress(of: gap.partition, from: gap.range.from, to: landing, statement, in: database)
      }
      // What was in flight may hold these offsets; it is planned anew.
      try database.execute(sql: "DELETE FROM in_flight")
    }
    if isAtProgress {
      progress[gap.partition]?.nextOffset = landing
    } else {
      gapsAhead[gap.partition, default: []].append(gap.range)
    }
    inFlight = nil
  }

  /// A recorded gap ahead of progress that shares offsets with this range.
  package func gapMeeting(_ range: PartitionRange) -> OffsetRange? {
    gapsAhead[range.partition]?.first { $0.from < range.range.to && range.range.from < $0.to }
  }

  /// What of a partition is left to read before its end or the next gap, whichever comes first.
  ///
  /// - Parameter from: Where progress will stand when a batch at hand is committed; nil for where it stands.
  package func unread(_ partition: PartitionID, from: Offset? = nil, end: Offset) -> PartitionRange? {
    guard let from = from.map({ landing(partition, $0) }) ?? progress[partition]?.nextOffset else { return nil }
    let gap = gapsAhead.isEmpty ? nil : gapsAhead[partition]?.filter { $0.from >= from }.min { $0.from < $1.from }
    let to = min(end, gap?.from ?? end)
    return to > from ? PartitionRange(partition, OffsetRange(from: from, to: to)) : nil
  }

  /// Where progress stands after a partition was read up to an offset: there, or behind the gaps that begin there.
  func landing(_ partition: PartitionID, _ offset: Offset) -> Offset {
    if gapsAhead.isEmpty { return offset }
    var offset = offset
    while let gap = gapsAhead[partition]?.first(where: { $0.from == offset }) { offset = gap.to }
    return offset
  }

  /// Compares a cluster's id with the one stored, or stores it on first contact.
  ///
  /// - Throws: ``CheckpointError`` with code `wrongCluster`.
  package func confirmCluster(source: String, clusterID: String) throws(CheckpointError) {
    let stored: String?
    do {
      stored = try queue.read { database in
        try String.fetchOne(database, sql: "SELECT cluster_id FROM clusters WHERE source = ?", arguments: [source])
      }
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
    guard let stored else {
      return try write { database in
        try database.execute(sql: "INSERT INTO clusters VALUES (?, ?)", arguments: [source, clusterID])
      }
    }
    guard stored == clusterID else {
      throw CheckpointError(.wrongCluster(source: source, stored: stored, found: clusterID), path: path)
    }
  }

  package func forgetRetired(_ object: RetiredObject) throws(CheckpointError) {
    try write { database in
      try database.execute(
        sql: "DELETE FROM retired_objects WHERE place = ? AND object_key = ?", arguments: [object.place, object.objectKey])
    }
  }
}

/// Why offsets were passed over.
package enum GapReason: String, Sendable {
  /// By `tranche skip`.
  case skipped
  /// The broker removed them before they were read, and the job says `on_data_loss: skip`.
  case lost
}
