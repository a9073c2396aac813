internal import GRDB
package import Jobs
internal import Offsets
internal import Tables
internal import Windows

/// Looks at all of a checkpoint: the pages, the references between tables, every value, and whether
/// the tables agree.
extension CheckpointReader {
  /// Most problems that are told.
  private static let problemLimit = 100

  /// What is wrong, a line each; empty for a sound checkpoint.
  ///
  /// One read transaction, as long as it takes to read the file: so it is asked of a copy.
  ///
  /// - Parameter job: Whose definition tells of the values of groups; nil for the rest alone.
  /// - Throws: ``CheckpointError`` where the file cannot be read at all.
  package func problems(job: Job? = nil) throws(CheckpointError) -> [String] {
    do { return try read { try problems(in: $0, job) } } catch {
      // A page that is damaged ends the transaction, too.
      guard case .corrupt(let reason) = error.code else { throw error }
      return [reason]
    }
  }

  private func problems(in database: Database, _ job: Job?) throws -> [String] {
    // A page that is not SQLite's any more would be told by each look that meets it.
    var problems = try found { try pageProblems(database) }
    if !problems.isEmpty { return problems }
    problems += try found { try referenceProblems(database) }
    problems += try found { try checkSettings(database) }
    problems += try found { try checkProgress(database, job) }
    problems += try found { try checkBatches(database) }
    problems += try found { try checkOutputs(database) }
    problems += try found { try checkWindows(database) }
    problems += try found { try checkDefinitions(database) }
    problems += try found { try checkEvicted(database, job) }
    // Under a changed job file the columns of groups are others.
    let changes = try job.map {
      JobChange.compare(old: try Checkpoint.settings(in: database), new: $0.canonicalSettings)
    }
    if let job, job.window.keepsState, changes?.contains(where: \.effect.isRefused) == false {
      problems += try found { try checkGroups(database, job) }
    }
    problems += try found { try checkRejects(database) }
    var distinct: [String] = []
    for problem in problems where !distinct.contains(problem) { distinct.append(problem) }
    return Array(distinct.prefix(Self.problemLimit))
  }

  /// What a look finds, and what it throws of damage: so of each look at values the first.
  private func found(_ look: () throws -> [String]) throws -> [String] {
    do { return try look() } catch {
      switch CheckpointError(wrapping: error, path: path).code {
      // As of a sum that does not fit.
      case .corrupt(let reason), .database(let reason): return [reason]
      default: throw error
      }
    }
  }

  private func found(_ look: () throws -> Void) throws -> [String] {
    try found { () throws -> [String] in
      try look()
      return []
    }
  }

  /// SQLite's own look: pages, indexes, and the types and rules of each column.
  private func pageProblems(_ database: Database) throws -> [String] {
    let lines = try String.fetchAll(
      database, sql: "PRAGMA integrity_check(\(Self.problemLimit))")
    return lines == ["ok"] ? [] : lines
  }

  private func referenceProblems(_ database: Database) throws -> [String] {
    var problems: [String] = []
    let rows = try Row.fetchCursor(database, sql: "PRAGMA foreign_key_check")
    while let row = try rows.next(), problems.count < Self.problemLimit {
      let (table, parent) = (row[0] as String? ?? "?", row[2] as String? ?? "?")
      let rowNumber = (row[1] as Int64?).map { ", row \($0)" } ?? ""
      problems.append("table \(table)\(rowNumber): names a row that \(parent) does not have")
    }
    return problems
  }

  private func checkSettings(_ database: Database) throws {
    _ = try Checkpoint.jobName(in: database)
    let settings = try Checkpoint.settings(in: database)
    guard Job.Output.Destination(text: settings["output.to"] ?? "") != nil else {
      throw RowFault(table: "job_settings", row: "'output.to'", problem: "is not a valid place")
    }
    if try database.tableExists("batch_settings") {
      _ = try Checkpoint.batchSettings(in: database)
    }
    guard try database.tableExists("owner_tokens") else { return }
    guard try !Checkpoint.identifier(in: database).isEmpty else {
      throw RowFault(table: "checkpoint", row: "1", problem: "checkpoint_id is empty")
    }
    _ = try Checkpoint.ownerTokens(in: database)
    _ = try Checkpoint.retiredObjects(in: database)
  }

  /// Each partition's ledger, and what hangs on it.
  private func checkProgress(_ database: Database, _ job: Job?) throws {
    var partitions = try StoredPartitions(in: database, job: job)
    _ = try Checkpoint.openBackfills(in: database, &partitions)
    _ = try Checkpoint.openIncidents(in: database, partitions)
    _ = try Checkpoint.keptPartitions(in: database, partitions)
    _ = try Checkpoint.plannedBatch(in: database)
  }

  /// Every batch, and that progress has passed what batches of new messages have read.
  private func checkBatches(_ database: Database) throws {
    _ = try Checkpoint.nextBatch(in: database)
    let partitions = try StoredPartitions(in: database, job: nil)
    let renewed = try StoredPartitions.renewed(in: database)
    let backfill = try StoredPartitions.knowsBackfills(database) ? "backfill" : "NULL AS backfill"
    try database.forEachRow(
      of: "batches",
      """
      SELECT batch, committed_at, offsets, records, counted, rejected, ranges, \(backfill)
      FROM batches ORDER BY batch
      """, identifiedBy: 1
    ) { row in
      _ = try (row.number(0), row.instant(1), row.count(2), row.count(5))
      _ = try row.integer(4, in: 0...(try row.count(3)))
      let ranges = try row.ranges(6)
      let offsets = ranges.reduce(0) { $0 + $1.range.count }
      guard try row.count(2) == offsets else {
        throw row.fault(2, "is \(try row.count(2)), and ranges holds \(offsets) offsets")
      }
      guard row.isNull(7) else { return }
      // Of a topic that was made anew, lower offsets are the new log's.
      for range in ranges where !renewed.contains(range.partition) {
        let next = partitions.ledgers[range.partition]?.nextOffset ?? 0
        guard range.to <= next else {
          throw row.fault(
            6, "ends at \(range.to) of \(range.partition), whose next_offset is \(next)")
        }
      }
    }
  }

  private func checkOutputs(_ database: Database) throws {
    _ = try outputs(where: "TRUE", in: database)
    try database.forEachRow(
      of: "results",
      "SELECT object_key, byte_count, length(bytes) FROM results", identifiedBy: 1
    ) { row in
      _ = try row.objectKey(0)
      guard try row.count(1) == row.count(2) else {
        throw row.fault(1, "is \(try row.count(1)), and there are \(try row.count(2)) bytes")
      }
    }
  }

  /// Every window has groups and a lineage of as many records, and every group has a window.
  private func checkWindows(_ database: Database) throws {
    try database.forEachRow(
      of: "windows",
      """
      SELECT window, records, (
        SELECT coalesce(sum(records), 0) FROM window_offsets
        WHERE window_offsets.window = windows.window) AS told
      FROM windows
      """, identifiedBy: 1
    ) { row in
      _ = try row.integer(0)
      guard try row.count(1) == row.count(2) else {
        throw row.fault(
          1, "is \(try row.count(1)), and window_offsets tells of \(try row.count(2))")
      }
    }
    try database.forEachRow(
      of: "window_offsets",
      """
      SELECT window, partition_id, smallest_offset, largest_offset FROM window_offsets
      WHERE largest_offset < smallest_offset OR smallest_offset < 0
        OR window NOT IN (SELECT window FROM windows) LIMIT 1
      """, identifiedBy: 2
    ) { row in throw row.fault(0, "does not belong to a window, or its offsets are not in order") }
    let live = try Generation.live(in: database)
    let table = Generation.table(live)
    guard try database.tableExists(table) else { return }
    let ofGeneration =
      try Generation.areKnown(in: database) ? "WHERE generation = \(live)" : ""
    try database.forEachRow(
      of: "windows",
      """
      SELECT window FROM windows \(ofGeneration)
      \(ofGeneration.isEmpty ? "WHERE" : "AND") window NOT IN (SELECT window FROM \(table)) LIMIT 1
      """, identifiedBy: 1
    ) { row in throw row.fault(0, "has no groups in \(table)") }
    try database.forEachRow(
      of: table,
      """
      SELECT window FROM \(table)
      WHERE window NOT IN (SELECT window FROM windows \(ofGeneration)) \(try unfinished(database))
      LIMIT 1
      """, identifiedBy: 1
    ) { row in throw row.fault(0, "is not in windows") }
  }

  /// Every definition, and that each pane began in one of them.
  private func checkDefinitions(_ database: Database) throws {
    let newest = Int64(try StoredDefinitions(in: database).all.count)
    guard try database.tableExists("definitions") else { return }
    try database.forEachRow(
      of: "windows",
      "SELECT window, definition FROM windows WHERE definition NOT BETWEEN 1 AND ? LIMIT 1",
      arguments: [newest], identifiedBy: 1
    ) { _ = try $0.integer(1, in: 1...newest) }
  }

  /// Groups of windows that are being evicted have none.
  private func unfinished(_ database: Database) throws -> String {
    guard try Checkpoint.knowsEviction(database) else { return "" }
    return "AND window NOT IN (SELECT window FROM evicted WHERE generation IS NOT NULL)"
  }

  /// No window is both.
  private func checkEvicted(_ database: Database, _ job: Job?) throws {
    _ = try Checkpoint.cutoff(in: database)
    guard try Checkpoint.knowsEviction(database) else { return }
    try database.forEachRow(
      of: "evicted", "SELECT window FROM evicted WHERE window IN (SELECT window FROM windows)",
      identifiedBy: 1
    ) { row in throw row.fault(0, "has state in windows") }
    guard let job, job.window.keepsState else { return }
    try loadPartitions(database)
    try forEachEvicted(of: job, in: database) { _ in }
  }

  /// Every value of every group, as a run would read it, a pane at a time.
  private func checkGroups(_ database: Database, _ job: Job) throws {
    let job = job.continuing(try StoredDefinitions(in: database).history)
    let generation = Generation(try Generation.live(in: database), job.stateLayout)
    let panes = try database.checkedRows(
      of: "windows", "SELECT window FROM windows ORDER BY window", identifiedBy: 1
    ) { try $0.pane(0, of: job.window) }
    for pane in panes {
      _ = try generation.table(of: [pane], job.selectInputSchema, in: database)
    }
  }

  private func checkRejects(_ database: Database) throws {
    // Of a file that an older release wrote last, SQLite's own look must do.
    guard try Checkpoint.migrator.hasCompletedMigrations(database) else { return }
    _ = try rejectCounts(in: database)
    let batches = try database.checkedRows(
      of: "rejects", "SELECT DISTINCT batch FROM rejects ORDER BY batch", identifiedBy: 1
    ) { try $0.number(0) }
    for batch in batches { _ = try rejects(ofBatch: batch, in: database) }
  }
}
