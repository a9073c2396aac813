internal import GRDB
package import Offsets
internal import Tables

/// A backfill request as the checkpoint holds it: an open one, or one of the past.
package struct StoredBackfill: Sendable, Equatable {
  package enum State: String, Sendable { case open, done, cancelled }

  /// With what is left to read; nothing unless it is open.
  package var request: BackfillRequest
  package let askedAt: String
  /// Offsets that it took on.
  package let offsetCount: Int64
  /// Of these, committed. What is neither committed, left nor unheld was cancelled.
  package var countedCount: Int64
  package var state: State
  /// Offsets that were left out, as the broker did not hold them any more, or given up, as their
  /// log was replaced.
  package var unheld: [PartitionRange]
}

extension Checkpoint {
  /// Stores that offsets are to be counted after all.
  ///
  /// - Parameter ranges: Each is ``OffsetLedger/backfillable``; not all are empty.
  /// - Returns: The request's number.
  package func addBackfill(
    _ ranges: [PartitionRange], goesFirst: Bool, now: Int64
  ) throws(CheckpointError) -> Int64 {
    var after = ledgers
    for range in ranges { after[range.partition]?.beginBackfill(range.range) }
    let count = ranges.reduce(0) { $0 + $1.count }
    precondition(count > 0, "a backfill of nothing")
    let number = try write { database in
      try database.execute(
        sql: "INSERT INTO backfills (asked_at, goes_first, offsets) VALUES (?, ?, ?)",
        arguments: [TimestampText.format(milliseconds: now), goesFirst ? 1 : 0, count])
      let number = database.lastInsertedRowID
      for range in ranges where !range.isEmpty {
        guard let identifier = partitions.identifiers[range.partition] else {
          throw unknown(range.partition)
        }
        try insert(range.range, of: number, identifier, isLeft: true, in: database)
      }
      return number
    }
    partitions.ledgers = after
    backfills.append(BackfillRequest(number: number, goesFirst: goesFirst, ranges: ranges))
    backfills.sort(by: Self.precedes)
    return number
  }

  /// Ends a request. What was counted stays.
  ///
  /// - Returns: The offsets that will not be read; nil where no such request is open.
  package func cancelBackfill(_ number: Int64, now: Int64) throws(CheckpointError)
    -> [PartitionRange]?
  {
    guard let request = backfills.first(where: { $0.number == number }) else { return nil }
    try write { database in
      try database.execute(
        sql: "DELETE FROM backfill_ranges WHERE backfill = ? AND state = 'left'",
        arguments: [number])
      try end(number, .cancelled, now: now, in: database)
      if inFlight?.backfill == number { try database.execute(sql: "DELETE FROM in_flight") }
      if hasOpenRejects {
        try closeRejectIncidents(now: now, in: database) { ledger(of: $0, without: request.ranges) }
      }
    }
    giveUp(request.ranges, ofBackfill: number)
    if inFlight?.backfill == number { inFlight = nil }
    return request.ranges
  }

  /// The broker does not hold these offsets of a request: they are not read, and the request keeps
  /// them by name.
  package func leaveOut(
    _ ranges: [PartitionRange], ofBackfill number: Int64, now: Int64
  ) throws(CheckpointError) {
    guard var request = backfills.first(where: { $0.number == number }) else {
      throw CheckpointError(.invariant("backfill \(number) is not open"), path: path)
    }
    request.remove(ranges)
    try write { database in
      let before = try Self.ranges(ofBackfill: number, .unheld, in: database, partitions)
      for partition in Set(ranges.map(\.partition)) {
        guard let identifier = partitions.identifiers[partition] else { throw unknown(partition) }
        let unheld = OffsetRangeSet(
          (ranges + before).filter { $0.partition == partition }.map(\.range))
        try database.execute(
          sql: "DELETE FROM backfill_ranges WHERE backfill = ? AND partition_id = ?",
          arguments: [number, identifier])
        for range in unheld.ranges {
          try insert(range, of: number, identifier, isLeft: false, in: database)
        }
        for left in request.ranges where left.partition == partition {
          try insert(left.range, of: number, identifier, isLeft: true, in: database)
        }
      }
      if request.isDone { try end(number, .done, now: now, in: database) }
      if hasOpenRejects {
        try closeRejectIncidents(now: now, in: database) { ledger(of: $0, without: ranges) }
      }
    }
    giveUp(ranges, ofBackfill: number)
  }

  /// Moves what a batch has counted from what is left of its request to what is backfilled, in the
  /// batch's transaction.
  func advance(_ number: Int64, _ batch: BatchCommit, in database: Database) throws {
    let plan = batch.plan
    guard var request = backfills.first(where: { $0.number == number }) else {
      throw CheckpointError(.invariant("backfill \(number) is not open"), path: path)
    }
    request.remove(plan.ranges)
    let shorten = try BoundStatement(
      database,
      sql: """
        UPDATE backfill_ranges SET from_offset = ?4
        WHERE backfill = ?1 AND partition_id = ?2 AND from_offset = ?3 AND state = 'left'
          AND to_offset > ?4
        """)
    let finish = try BoundStatement(
      database,
      sql: """
        DELETE FROM backfill_ranges
        WHERE backfill = ?1 AND partition_id = ?2 AND from_offset = ?3 AND state = 'left'
          AND to_offset = ?4
        """)
    for (range, fingerprint) in zip(plan.ranges, batch.fingerprints) {
      guard var ledger = ledgers[range.partition],
        let identifier = partitions.identifiers[range.partition]
      else { throw unknown(range.partition) }
      if partitions.fingerprints[range.partition] == nil, let fingerprint {
        try database.execute(
          sql: """
            UPDATE partitions SET fingerprint_offset = ?, fingerprint = ?, newest_timestamp = ?
            WHERE partition_id = ?
            """,
          arguments: [
            fingerprint.offset, fingerprint.hash, fingerprint.timestampMilliseconds, identifier,
          ])
      }
      for statement in [shorten, finish] {
        try statement.bind(number, at: 1)
        try statement.bind(identifier, at: 2)
        try statement.bind(range.from, at: 3)
        try statement.bind(range.to, at: 4)
        try statement.execute()
        if database.changesCount == 1 { break }
      }
      guard database.changesCount == 1, ledger.underWay.contains(range.range) else {
        throw CheckpointError(
          .invariant("\(range) is not left of backfill \(number)"), path: path)
      }
      ledger.finishBackfill(range.range)
      try store(ledger.backfilled.range(holding: range.from), identifier, in: database)
    }
    try database.cachedStatement(
      sql: "UPDATE backfills SET counted_offsets = counted_offsets + ? WHERE backfill = ?"
    ).execute(arguments: [plan.offsetCount, number])
    if request.isDone { try end(number, .done, now: batch.now, in: database) }
  }

  /// Gives up what requests have left of a partition: its log was replaced, so the offsets mean
  /// other messages now. The requests keep them by name.
  func giveUpBackfills(
    of partition: PartitionID, now: Int64, in database: Database
  ) throws {
    try database.execute(
      sql: "UPDATE backfill_ranges SET state = 'unheld' WHERE partition_id = ? AND state = 'left'",
      arguments: [partitions.identifiers[partition]])
    for request in backfills where request.ranges.allSatisfy({ $0.partition == partition }) {
      try end(request.number, .done, now: now, in: database)
    }
  }

  /// As ``giveUpBackfills(of:now:in:)`` has changed the file.
  func forgetBackfills(of partition: PartitionID) {
    for request in backfills {
      giveUp(request.ranges.filter { $0.partition == partition }, ofBackfill: request.number)
    }
  }

  /// Stores a range of backfilled offsets in place of those that it has grown out of.
  private func store(
    _ range: OffsetRange?, _ identifier: Int64, in database: Database
  ) throws {
    guard let range else { return }
    let replace = try BoundStatement(
      database,
      sql: """
        DELETE FROM backfilled WHERE partition_id = ?1 AND from_offset >= ?2 AND from_offset < ?3
        """)
    try replace.bind(identifier, at: 1)
    try replace.bind(range.from, at: 2)
    try replace.bind(range.to, at: 3)
    try replace.execute()
    let insert = try BoundStatement(database, sql: "INSERT INTO backfilled VALUES (?1, ?2, ?3)")
    try insert.bind(identifier, at: 1)
    try insert.bind(range.from, at: 2)
    try insert.bind(range.to, at: 3)
    try insert.execute()
  }

  private func insert(
    _ range: OffsetRange, of number: Int64, _ identifier: Int64, isLeft: Bool,
    in database: Database
  ) throws {
    try database.cachedStatement(sql: "INSERT INTO backfill_ranges VALUES (?, ?, ?, ?, ?)")
      .execute(arguments: [
        number, identifier, range.from, range.to, isLeft ? "left" : "unheld",
      ])
  }

  private func end(
    _ number: Int64, _ state: StoredBackfill.State, now: Int64, in database: Database
  ) throws {
    try database.execute(
      sql: "UPDATE backfills SET state = ?, ended_at = ? WHERE backfill = ?",
      arguments: [state.rawValue, TimestampText.format(milliseconds: now), number])
  }

  /// Ends requests of which nothing is left, as their partitions were forgotten.
  static func endEmptyBackfills(in database: Database) throws {
    try database.execute(
      sql: """
        UPDATE backfills SET state = 'cancelled' WHERE state = 'open' AND NOT EXISTS (
          SELECT 1 FROM backfill_ranges
          WHERE backfill_ranges.backfill = backfills.backfill AND state = 'left')
        """)
  }

  // MARK: - In memory

  private func ledger(of partition: PartitionID, without ranges: [PartitionRange]) -> OffsetLedger?
  {
    var ledger = ledgers[partition]
    for range in ranges where range.partition == partition { ledger?.giveUpBackfill(range.range) }
    return ledger
  }

  private func giveUp(_ ranges: [PartitionRange], ofBackfill number: Int64) {
    for range in ranges { partitions.ledgers[range.partition]?.giveUpBackfill(range.range) }
    forget(ranges, ofBackfill: number)
  }

  func forget(_ ranges: [PartitionRange], ofBackfill number: Int64) {
    guard let index = backfills.firstIndex(where: { $0.number == number }) else { return }
    backfills[index].remove(ranges)
    if backfills[index].isDone { backfills.remove(at: index) }
  }

  // MARK: - Reading

  /// Those that go first, then the others, each in the order in which they were asked for.
  private static func precedes(_ left: BackfillRequest, _ right: BackfillRequest) -> Bool {
    left.goesFirst != right.goesFirst ? left.goesFirst : left.number < right.number
  }

  /// Requests that are not done, and their offsets in the ledgers.
  ///
  /// - Returns: In the order in which their batches are taken.
  static func openBackfills(
    in database: Database, _ partitions: inout StoredPartitions
  ) throws -> [StoredBackfill] {
    let open = try storedBackfills(where: isOpen, in: database, partitions)
    for request in open.map(\.request) {
      for range in request.ranges {
        let isPossible =
          partitions.ledgers[range.partition]?.restore(backfill: range.range, isDone: false)
          ?? false
        guard isPossible else {
          throw RowFault(
            table: "backfill_ranges", row: "\(request.number), \(range)",
            problem: "is to be counted twice, or lies ahead of progress")
        }
      }
    }
    return open.sorted { precedes($0.request, $1.request) }
  }

  /// Whatever else stands there is damage, and not to be passed over.
  private static let isOpen = "state IS NOT 'done' AND state IS NOT 'cancelled'"

  private enum RangeState: String { case left, unheld }

  private static func ranges(
    ofBackfill number: Int64, _ state: RangeState, in database: Database,
    _ partitions: StoredPartitions
  ) throws -> [PartitionRange] {
    try database.checkedRows(
      of: "backfill_ranges",
      """
      SELECT backfill, partition_id, from_offset, to_offset FROM backfill_ranges
      WHERE backfill = ? AND state = ?
      """, arguments: [number, state.rawValue], identifiedBy: 3
    ) { row in
      PartitionRange(
        try row.partition(1, in: partitions.names), try row.offsets(at: 2, mayBeEmpty: false))
    }
  }

  /// In the order of their numbers; none where the file was made by a release without them.
  static func storedBackfills(
    where condition: String, in database: Database, _ partitions: StoredPartitions
  ) throws -> [StoredBackfill] {
    guard try StoredPartitions.knowsBackfills(database) else { return [] }
    return try database.checkedRows(
      of: "backfills",
      """
      SELECT backfill, asked_at, goes_first, offsets, counted_offsets, state FROM backfills
      WHERE \(condition) ORDER BY backfill
      """, identifiedBy: 1
    ) { row in
      guard let state = StoredBackfill.State(rawValue: try row.text(5)) else {
        throw row.fault(5, "is not a state of a backfill")
      }
      let number = try row.number(0)
      let count = try row.number(3)
      let left =
        state == .open ? try ranges(ofBackfill: number, .left, in: database, partitions) : []
      let request = BackfillRequest(
        number: number, goesFirst: try row.flag(2), ranges: left)
      guard state != .open || !left.isEmpty else {
        throw row.fault(5, "is open, and backfill_ranges holds nothing that is left of it")
      }
      guard request.ranges.count == left.count else {
        throw row.fault(0, "is \(number), of which two ranges in backfill_ranges touch")
      }
      return StoredBackfill(
        request: request,
        askedAt: try row.text(1), offsetCount: count,
        countedCount: try row.integer(4, in: 0...count), state: state,
        unheld: try ranges(ofBackfill: number, .unheld, in: database, partitions))
    }
  }
}

extension CheckpointReader {
  /// All requests, in the order of their numbers.
  package func backfills() throws(CheckpointError) -> [StoredBackfill] {
    try read { database in
      let partitions = try StoredPartitions(in: database, job: job)
      return try Checkpoint.storedBackfills(where: "TRUE", in: database, partitions)
    }
  }
}
