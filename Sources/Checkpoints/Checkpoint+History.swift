internal import GRDB
internal import Jobs
package import Offsets
internal import Tables
internal import Windows

/// How long a step of a batch took.
package struct BatchStep: Sendable, Equatable {
  package let name: String
  package let microseconds: Int64

  package init(name: String, microseconds: Int64) {
    self.name = name
    self.microseconds = microseconds
  }
}

/// A committed batch, as the history keeps it.
package struct CommittedBatch: Sendable, Equatable {
  package let batch: Int64
  package let committedAt: String
  /// The request that it is of; nil where it moved progress.
  package let backfill: Int64?
  package let ranges: [PartitionRange]
  package let offsetCount: Int64
  package let recordCount: Int64
  package let countedCount: Int64
  package let rejectedCount: Int64
  package let acceptedCount: Int64
  /// Messages without a value that were passed over.
  package let tombstoneCount: Int64
  /// Of the rejected, those that came late.
  package let lateCount: Int64
  /// Of its messages; nil where an older release read them.
  package let byteCount: Int64?
  /// Until its commit began; empty where an older release took it.
  package let steps: [BatchStep]
}

/// Sums over batches.
package struct BatchTotals: Sendable, Equatable {
  package var batchCount: Int64 = 0
  package var offsetCount: Int64 = 0
  package var recordCount: Int64 = 0
  package var countedCount: Int64 = 0
  package var rejectedCount: Int64 = 0
  package var acceptedCount: Int64 = 0
  package var tombstoneCount: Int64 = 0

  package init() {}
}

/// The history: a row of each batch for a while, and the sums for ever.
extension Checkpoint {
  /// Of which batches there are sums.
  enum TotalsOf: String {
    case all
    /// Their rows are gone.
    case pruned
  }

  /// Most rows that go in one transaction.
  package static let prunedAtOnce: Int64 = 1_000

  /// Whether the file is of a schema that keeps sums.
  static func keepsTotals(_ database: Database) throws -> Bool {
    try database.tableExists("batch_totals")
  }

  /// In the transaction of the batch.
  func note(_ batch: BatchCommit, in database: Database) throws {
    try database.cachedStatement(
      sql: """
        INSERT INTO batches (batch, committed_at, offsets, records, counted, rejected, ranges,
          accepted, backfill, bytes, steps, tombstones, cutoff, late)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    ).execute(arguments: [
      batch.plan.batch, TimestampText.format(milliseconds: batch.now), batch.plan.offsetCount,
      batch.recordCount, batch.countedCount,
      batch.rejectedCount, RangesText.format(batch.plan.ranges), batch.acceptedCount,
      batch.plan.backfill, batch.byteCount, Self.text(batch.steps),
      batch.tombstoneCount, batch.judgedBy.instant, batch.lateCount,
    ])
    var sums = BatchTotals()
    sums.batchCount = 1
    sums.offsetCount = batch.plan.offsetCount
    sums.recordCount = batch.recordCount
    sums.countedCount = batch.countedCount
    sums.rejectedCount = batch.rejectedCount
    sums.acceptedCount = batch.acceptedCount
    sums.tombstoneCount = batch.tombstoneCount
    try Self.add(sums, to: .all, in: database)
  }

  private static func add(
    _ sums: BatchTotals, to which: TotalsOf, in database: Database
  ) throws {
    let statement = try BoundStatement(
      database,
      sql: """
        UPDATE batch_totals SET batches = batches + ?1, offsets = offsets + ?2,
          records = records + ?3, counted = counted + ?4, rejected = rejected + ?5,
          accepted = accepted + ?6, tombstones = tombstones + ?7
        WHERE of = '\(which.rawValue)'
        """)
    let counts = [
      sums.batchCount, sums.offsetCount, sums.recordCount, sums.countedCount, sums.rejectedCount,
      sums.acceptedCount, sums.tombstoneCount,
    ]
    for (index, count) in counts.enumerated() { try statement.bind(count, at: Int32(index + 1)) }
    try statement.execute()
  }

  /// Removes the oldest rows where there are more than `checkpoint.history`, at most
  /// ``prunedAtOnce`` of them. Batches of new messages and of backfills are kept alike, so that
  /// neither drives out what the other is judged by.
  ///
  /// Nothing is removed before a tenth too many are there, up to ``prunedAtOnce``: so runs of one
  /// batch have no second transaction each.
  ///
  /// - Returns: Whether there may be more to be removed.
  package func pruneHistory() throws(CheckpointError) -> Bool {
    let kept = job.history
    let surplus = min(Self.prunedAtOnce, kept / 10)
    for kind in ["backfill IS NULL", "backfill IS NOT NULL"] {
      guard try newestBatch(behind: kept + surplus, where: kind) != nil,
        let last = try newestBatch(behind: kept, where: kind)
      else { continue }
      try write { database in try prune(upTo: last, where: kind, in: database) }
      return true
    }
    return false
  }

  /// The newest batch of a kind that has so many newer ones.
  private func newestBatch(
    behind count: Int64, where kind: String
  ) throws(CheckpointError) -> Int64? {
    try read { database in
      try Int64.fetchOne(
        database,
        sql: "SELECT batch FROM batches WHERE \(kind) ORDER BY batch DESC LIMIT 1 OFFSET ?",
        arguments: [count])
    }
  }

  private func prune(upTo last: Int64, where kind: String, in database: Database) throws {
    let rows = """
      FROM batches WHERE batch IN (
        SELECT batch FROM batches WHERE \(kind) AND batch <= ?1 ORDER BY batch
        LIMIT \(Self.prunedAtOnce))
      """
    let sums = try database.checkedRow(
      of: "batches", "SELECT \(Self.batchSums), coalesce(sum(tombstones), 0) \(rows)",
      arguments: [last], identifiedBy: 0,
      Self.totals)
    guard let sums else { return }
    try Self.add(sums, to: .pruned, in: database)
    try database.execute(sql: "DELETE \(rows)", arguments: [last])
  }

  static func totals(of which: TotalsOf, in database: Database) throws -> BatchTotals {
    guard try keepsTotals(database) else {
      return which == .pruned ? BatchTotals() : try totalsBefore10(in: database)
    }
    let hasTombstones = try database.columns(in: "batch_totals").contains {
      $0.name == "tombstones"
    }
    let totals = try database.checkedRow(
      of: "batch_totals",
      """
      SELECT batches, offsets, records, counted, rejected, accepted,
        \(hasTombstones ? "tombstones" : "0")
      FROM batch_totals WHERE of = ?
      """,
      arguments: [which.rawValue], identifiedBy: 0, Self.totals)
    guard let totals else {
      throw RowFault(table: "batch_totals", row: "'\(which.rawValue)'", problem: "is gone")
    }
    return totals
  }

  private static func totals(_ row: CheckedRow) throws -> BatchTotals {
    var totals = BatchTotals()
    totals.batchCount = try row.count(0)
    totals.offsetCount = try row.count(1)
    totals.recordCount = try row.count(2)
    totals.countedCount = try row.count(3)
    totals.rejectedCount = try row.count(4)
    totals.acceptedCount = try row.count(5)
    totals.tombstoneCount = try row.count(6)
    return totals
  }

  /// Of a file without sums. SQLite would add up whatever is there, and its sum may be of another
  /// type.
  private static func totalsBefore10(in database: Database) throws -> BatchTotals {
    let isWhole =
      "typeof(records) = 'integer' AND records >= 0 "
      + "AND typeof(rejected) = 'integer' AND rejected >= 0"
    try database.forEachRow(
      of: "batches", "SELECT batch, records, rejected FROM batches WHERE NOT (\(isWhole)) LIMIT 1",
      identifiedBy: 1
    ) { row in _ = (try row.count(1), try row.count(2)) }
    do {
      return try database.checkedRow(
        of: "batches",
        """
        SELECT count(*), coalesce(sum(offsets), 0), coalesce(sum(records), 0),
          coalesce(sum(counted), 0), coalesce(sum(rejected), 0), 0, 0
        FROM batches
        """, identifiedBy: 0, totals) ?? BatchTotals()
    } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
      // sqlite.org/lang_aggfunc.html#sumunc: "sum() will throw an integer overflow exception".
      throw RowFault(
        table: "batches", row: "of all batches",
        problem: "the counts have no sum (\(error.message ?? ""))")
    }
  }

  // MARK: - Steps

  /// `{"read":1200,"decode":340}`
  private static func text(_ steps: [BatchStep]) -> String {
    "{" + steps.map { "\"\($0.name)\":\($0.microseconds)" }.joined(separator: ",") + "}"
  }

  /// Nil for what ``text(_:)`` does not write.
  fileprivate static func steps(_ text: String) -> [BatchStep]? {
    guard text.hasPrefix("{"), text.hasSuffix("}") else { return nil }
    var steps: [BatchStep] = []
    for part in text.dropFirst().dropLast().split(separator: ",") {
      let words = part.split(separator: ":", omittingEmptySubsequences: false)
      guard words.count == 2, let microseconds = Int64(words[1]), microseconds >= 0,
        words[0].count > 2, words[0].hasPrefix("\""), words[0].hasSuffix("\"")
      else { return nil }
      let name = words[0].dropFirst().dropLast()
      guard name.allSatisfy({ $0.isASCII && ($0.isLetter || $0 == "_") }) else { return nil }
      steps.append(BatchStep(name: String(name), microseconds: microseconds))
    }
    return steps
  }
}

extension CheckpointReader {
  /// The newest batches, the newest first, in pages: so that no look is a long one beside a run.
  ///
  /// - Parameters:
  ///   - limit: Most batches; nil for all that are kept.
  ///   - body: Called once a batch.
  package func forEachBatch(
    newest limit: Int64?, _ body: (CommittedBatch) -> Void
  ) throws(CheckpointError) {
    var left = limit ?? .max
    var below = Int64.max
    while left > 0 {
      let page = try batches(below: below, most: min(left, 500))
      page.forEach(body)
      guard let oldest = page.last, page.count == min(left, 500) else { return }
      left -= Int64(page.count)
      below = oldest.batch
    }
  }

  /// Sums over all batches, and over those that the history does not keep any more.
  package func batchTotals() throws(CheckpointError) -> (all: BatchTotals, pruned: BatchTotals) {
    try read { database in
      (
        try Checkpoint.totals(of: .all, in: database),
        try Checkpoint.totals(of: .pruned, in: database)
      )
    }
  }

  private func batches(
    below: Int64, most count: Int64
  ) throws(CheckpointError) -> [CommittedBatch] {
    try read { database in
      let known = Set(try database.columns(in: "batches").map(\.name))
      let newer = ["accepted", "backfill", "bytes", "steps", "tombstones", "late"].map {
        known.contains($0) ? $0 : "NULL AS \($0)"
      }
      return try database.checkedRows(
        of: "batches",
        """
        SELECT batch, committed_at, offsets, records, counted, rejected, ranges,
          \(newer.joined(separator: ", "))
        FROM batches WHERE batch < ? ORDER BY batch DESC LIMIT ?
        """, arguments: [below, count], identifiedBy: 1
      ) { row in
        let steps = try row.optionalText(10)
        guard let steps = steps.map(Checkpoint.steps) ?? [] else {
          throw row.fault(10, "does not hold durations of steps")
        }
        return CommittedBatch(
          batch: try row.number(0), committedAt: try row.text(1),
          backfill: row.isNull(8) ? nil : try row.number(8), ranges: try row.ranges(6),
          offsetCount: try row.count(2), recordCount: try row.count(3),
          countedCount: try row.count(4), rejectedCount: try row.count(5),
          acceptedCount: row.isNull(7) ? 0 : try row.count(7),
          tombstoneCount: row.isNull(11) ? 0 : try row.count(11),
          lateCount: row.isNull(12) ? 0 : try row.count(12),
          byteCount: row.isNull(9) ? nil : try row.count(9), steps: steps)
      }
    }
  }
}
