internal import Foundation
internal import GRDB
package import Jobs
internal import Offsets
internal import Tables
package import Windows

/// A window whose state is gone. Its object stays where it is and as it was.
package struct EvictedWindow: Sendable, Equatable {
  package let window: Window
  package let groupCount: Int64
  package let recordCount: Int64
  package let lineage: WindowLineage
  package let objectKey: String
  /// Nil where it stands at the job's own place and has the job's format.
  package let formerPlace: String?
  package let revision: Int64
  package let etag: String
  package let byteCount: Int64
  /// Nil where an older release put it.
  package let rowCount: Int64?
}

/// State of windows behind the horizon goes, a piece at a time, and leaves a tombstone each.
extension Checkpoint {
  /// Most rows that one transaction deletes.
  package static let evictedAtOnce: Int64 = 10_000
  /// Pages that one transaction gives back to the file system.
  private static let freedAtOnce = 1_000

  static func knowsEviction(_ database: Database) throws -> Bool {
    try database.tableExists("evicted")
  }

  /// Evicts some of what is behind the horizon, where its object is published and settled: in one
  /// transaction, of at most ``evictedAtOnce`` rows.
  ///
  /// A window goes with its tombstone in one step; groups of it that are too many for that follow.
  ///
  /// - Parameter pane: That the piece before came to; nil for the first.
  /// - Returns: The pane that it came to; nil where there is no more.
  package func evict(after pane: Pane?) throws(CheckpointError) -> Pane? {
    guard let generation, cutoff.horizon != nil else { return nil }
    // Also where the job file has no retention any more.
    if let unfinished = try read({ try Self.unfinished(in: $0) }) {
      try write { database in try finish(unfinished.window, unfinished.generation, in: database) }
      return pane ?? Pane(.min)
    }
    guard job.lateness?.retentionMilliseconds != nil else { return nil }
    let piece = try read { try evictable(after: pane, generation, in: $0) }
    if !piece.panes.isEmpty {
      try write { database in
        for pane in piece.panes { try bury(pane, generation, in: database) }
      }
    }
    return piece.end
  }

  private struct Evictable {
    let pane: Pane
    let key: String
    let groupCount: Int64
  }

  /// - Returns: The panes, and the one that the next piece begins behind; nil for none.
  private func evictable(
    after last: Pane?, _ generation: Generation, in database: Database
  ) throws -> (panes: [Evictable], end: Pane?) {
    var panes: [Evictable] = []
    var rowCount: Int64 = 0
    // What is not settled stays, and is passed over; so many at most in one look.
    var looksLeft = 1_000
    var end = last
    var isMore = false
    try database.forRows(
      of: "windows",
      "SELECT window, generation FROM windows WHERE window >= ? ORDER BY window",
      arguments: [last.map { $0.number + 1 } ?? .min], identifiedBy: 1
    ) { row in
      let pane = try row.pane(0, of: job.window)
      guard cutoff.isEvictable(pane, of: job.window) else { return false }
      let key = job.window.windows(showing: pane).first.map { ObjectKeys.window($0, of: job) } ?? ""
      if try row.number(1) == generation.number && isSettled(key, in: database) {
        let count = try generation.groupCount(of: pane, in: database)
        rowCount += count + rowsBesideGroups
        isMore = rowCount > Self.evictedAtOnce && !panes.isEmpty
        if isMore { return false }
        panes.append(Evictable(pane: pane, key: key, groupCount: count))
      }
      end = pane
      looksLeft -= 1
      isMore = looksLeft == 0 || rowCount > Self.evictedAtOnce
      return !isMore
    }
    return (panes, isMore ? end : nil)
  }

  /// Of a window, most rows beside its groups: itself, its object, and its lineage.
  private var rowsBesideGroups: Int64 { 2 + Int64(ledgers.count) }

  /// Whether the store has the newest revision for certain, as the tombstone will say.
  private func isSettled(_ key: String, in database: Database) throws -> Bool {
    try database.checkedRow(
      of: "outputs",
      """
      SELECT object_key FROM outputs
      WHERE object_key = ? AND revision = published_revision AND checks_left = 0
        AND etag IS NOT NULL AND byte_count IS NOT NULL
      """, arguments: [key], identifiedBy: 1
    ) { try $0.objectKey(0) } != nil
  }

  private func bury(
    _ found: Evictable, _ generation: Generation, in database: Database
  ) throws {
    let number = found.pane.number
    let most = max(1, Self.evictedAtOnce - rowsBesideGroups)
    let isLarge = found.groupCount > most
    try database.cachedStatement(
      sql: """
        INSERT INTO evicted (window, generation, groups, records, first_batch, last_batch, lineage,
          revision, etag, byte_count, row_count)
        SELECT ?1, ?2, ?3, windows.records, first_batch, last_batch, (
            SELECT json_group_array(
              json_array(partition_id, smallest_offset, largest_offset, records)) FROM (
                SELECT * FROM window_offsets WHERE window = ?1 ORDER BY partition_id)),
          revision, etag, byte_count, row_count
        FROM windows JOIN outputs ON object_key = ?4 WHERE window = ?1
        """
    ).execute(arguments: [
      number, isLarge ? generation.number : nil, found.groupCount, found.key,
    ])
    try generation.delete(found.pane, most: isLarge ? most : nil, in: database)
    for table in ["windows", "window_offsets"] {
      try database.cachedStatement(sql: "DELETE FROM \(table) WHERE window = ?")
        .execute(arguments: [number])
    }
    try database.cachedStatement(sql: "DELETE FROM outputs WHERE object_key = ?")
      .execute(arguments: [found.key])
  }

  /// A window that is evicted, and of which groups are left.
  private static func unfinished(
    in database: Database
  ) throws -> (window: Int64, generation: Int64)? {
    try database.checkedRow(
      of: "evicted",
      """
      SELECT window, generation FROM evicted WHERE generation IS NOT NULL ORDER BY window LIMIT 1
      """, identifiedBy: 1
    ) { (try $0.integer(0), try $0.number(1)) }
  }

  private func finish(_ window: Int64, _ number: Int64, in database: Database) throws {
    let generation = Generation(number, job.stateLayout)
    try generation.delete(Pane(window), most: Self.evictedAtOnce, in: database)
    guard try generation.groupCount(of: Pane(window), in: database) == 0 else { return }
    try database.execute(
      sql: "UPDATE evicted SET generation = NULL WHERE window = ?", arguments: [window])
  }

  /// Gives some of the file's free pages back to the file system, where they are more than a fourth
  /// of it: fewer are soon used again. A file that was made without `window.retention` keeps them
  /// all, for its own use.
  ///
  /// - Returns: Whether there may be more.
  package func freePages() throws(CheckpointError) -> Bool {
    guard job.lateness?.retentionMilliseconds != nil else { return false }
    let isSurplus = try read { database in
      func number(_ name: String) throws -> Int {
        try Int.fetchOne(database, sql: "PRAGMA \(name)") ?? 0
      }
      // sqlite.org/pragma.html#pragma_auto_vacuum: 2 is INCREMENTAL.
      let free = try number("freelist_count")
      return try number("auto_vacuum") == 2 && free > Self.freedAtOnce
        && free > (try number("page_count")) / 4
    }
    guard isSurplus else { return false }
    try write { database in
      // Each step of the statement frees a page.
      _ = try Row.fetchAll(database, sql: "PRAGMA incremental_vacuum(\(Self.freedAtOnce))")
    }
    return true
  }

  /// Evicted windows whose objects stand at the job's own place, in its format.
  static func evictedInPlace(of job: Job, in database: Database) throws -> [Window] {
    guard try knowsEviction(database) else { return [] }
    return try database.checkedRows(
      of: "evicted", "SELECT window FROM evicted WHERE place IS NULL", identifiedBy: 1
    ) { try $0.window(0, of: job.window) }
  }

  /// What is told of each evicted window when its object is left where it is: the job file names
  /// another place or format.
  ///
  /// Those that the job has left at the place to which it comes now are current again.
  ///
  /// - Returns: How many are left.
  func leaveEvicted(at place: String, format: String, in database: Database) throws -> Int {
    for window in try Self.evictedInPlace(of: job, in: database) {
      try database.cachedStatement(
        sql: "UPDATE evicted SET place = ?, object_key = ? WHERE window = ?"
      ).execute(arguments: [
        place, ObjectKeys.window(window, of: job, format: format), window.number,
      ])
    }
    let returned = try database.checkedRows(
      of: "evicted", "SELECT window, object_key FROM evicted WHERE place = ?",
      arguments: [job.output.destination.text], identifiedBy: 1
    ) { (window: try $0.window(0, of: job.window), key: try $0.objectKey(1)) }
    for (window, key) in returned where key == ObjectKeys.window(window, of: job) {
      try database.cachedStatement(
        sql: "UPDATE evicted SET place = NULL, object_key = NULL WHERE window = ?"
      ).execute(arguments: [window.number])
    }
    return try Int.fetchOne(database, sql: "SELECT count(*) FROM evicted WHERE place IS NOT NULL")
      ?? 0
  }
}

extension CheckpointReader {
  /// Windows whose state is gone, ascending, some at a time.
  ///
  /// - Parameter window: The last one of those before; nil for the first.
  package func evictedWindows(
    of job: Job, after window: Window? = nil, limit: Int
  ) throws(CheckpointError) -> [EvictedWindow] {
    try evicted(
      of: job, where: "window > ?1 OR ?1 IS NULL ORDER BY window LIMIT \(limit)", window?.number)
  }

  /// Nil where its state was not evicted.
  package func evicted(_ window: Window, of job: Job) throws(CheckpointError) -> EvictedWindow? {
    try evicted(of: job, where: "window = ?1", window.number).first
  }

  /// Whether objects of evicted windows stand at a former place.
  package func hasEvicted(at place: String) throws(CheckpointError) -> Bool {
    try read { database in
      guard try Checkpoint.knowsEviction(database) else { return false }
      return try Bool.fetchOne(
        database, sql: "SELECT EXISTS (SELECT 1 FROM evicted WHERE place = ?)",
        arguments: [place]) ?? false
    }
  }

  package func evictedCount() throws(CheckpointError) -> Int64 {
    try read { try evictedCount(in: $0) }
  }

  func evictedCount(in database: Database) throws -> Int64 {
    guard try Checkpoint.knowsEviction(database) else { return 0 }
    return try Int64.fetchOne(database, sql: "SELECT count(*) FROM evicted") ?? 0
  }

  private func evicted(
    of job: Job, where condition: String, _ number: Int64?
  ) throws(CheckpointError) -> [EvictedWindow] {
    try read { database in
      guard try Checkpoint.knowsEviction(database) else { return [] }
      try loadPartitions(database)
      var found: [EvictedWindow] = []
      try forEachEvicted(of: job, where: condition, [number], in: database) { found.append($0) }
      return found
    }
  }

  /// When the partitions are loaded.
  func forEachEvicted(
    of job: Job, where condition: String = "TRUE",
    _ arguments: StatementArguments = StatementArguments(), in database: Database,
    _ body: (EvictedWindow) -> Void
  ) throws {
    try database.forEachRow(
      of: "evicted",
      """
      SELECT window, groups, records, first_batch, last_batch, lineage, revision, etag,
        byte_count, row_count, place, object_key
      FROM evicted WHERE \(condition)
      """, arguments: arguments, identifiedBy: 1
    ) { body(try evicted($0, of: job)) }
  }

  private func evicted(_ row: CheckedRow, of job: Job) throws -> EvictedWindow {
    let window = try row.window(0, of: job.window)
    let text = try row.text(5)
    guard let numbers = try? JSONDecoder().decode([[Int64]].self, from: Data(text.utf8)),
      let lineage = lineage(of: numbers)
    else { throw row.fault(5, "does not hold the lineage of a window") }
    return EvictedWindow(
      window: window, groupCount: try row.number(1), recordCount: try row.number(2),
      lineage: WindowLineage(
        partitions: lineage, firstBatch: row.isNull(3) ? nil : try row.number(3),
        lastBatch: row.isNull(4) ? nil : try row.number(4)),
      objectKey: row.isNull(11) ? ObjectKeys.window(window, of: job) : try row.objectKey(11),
      formerPlace: row.isNull(10) ? nil : try row.place(10).text, revision: try row.number(6),
      etag: try row.text(7), byteCount: try row.count(8),
      rowCount: row.isNull(9) ? nil : try row.count(9))
  }

  private func lineage(of numbers: [[Int64]]) -> [Lineage]? {
    var lineage: [Lineage] = []
    for part in numbers {
      guard part.count == 4, let partition = partitions[part[0]], part[1] >= 0, part[1] <= part[2],
        part[3] >= 0
      else { return nil }
      lineage.append(
        Lineage(
          partition: partition, smallestOffset: part[1], largestOffset: part[2],
          recordCount: part[3]))
    }
    return lineage.sorted { $0.partition < $1.partition }
  }
}
