internal import GRDB
internal import Jobs
internal import Offsets

/// The partitions that a checkpoint has met, and what became of their offsets.
///
/// A topic that was made anew has new incarnations of its partitions: the newest is the one that
/// runs read, and the rows that hang on others are history.
struct StoredPartitions {
  /// A part of a recorded gap that no backfill has counted.
  struct Gap {
    let range: PartitionRange
    let reason: String
  }

  /// By `partition_id`, of every incarnation.
  private(set) var names: [Int64: PartitionID] = [:]
  /// The `partition_id` of the newest incarnation of each.
  private(set) var identifiers: [PartitionID: Int64] = [:]
  var ledgers: [PartitionID: OffsetLedger] = [:]
  var fingerprints: [PartitionID: Fingerprint] = [:]
  /// The newest time of the records that batches of new messages have read.
  var newestTimes: [PartitionID: Int64] = [:]
  /// From start to progress, of logs that a partition had before, oldest first.
  private(set) var formerLogs: [PartitionID: [OffsetRange]] = [:]

  init() {}

  /// - Parameters:
  ///   - job: Whose topics they must be, where that is known.
  ///   - onGap: Gets every recorded gap, but for what was backfilled of it.
  init(in database: Database, job: Job?, onGap: ((Gap) -> Void)? = nil) throws {
    try load(database, job: job)
    let backfilled = try Self.backfilled(in: database, names)
    let counted = onGap == nil ? [:] : backfilled.mapValues { OffsetRangeSet($0) }
    try database.forEachRow(
      of: "gaps",
      """
      SELECT \(try Self.identifier(in: "gaps", database)), from_offset, to_offset, reason FROM gaps
      """, identifiedBy: 2
    ) { row in
      let partition = try row.partition(0, in: names)
      let gap = try row.offsets(at: 1, mayBeEmpty: false)
      let reason = try row.text(3)
      let identifier = try row.integer(0)
      if let onGap {
        let missing = OffsetRangeSet([gap]).subtracting(counted[identifier] ?? OffsetRangeSet())
        for range in missing.ranges {
          onGap(Gap(range: PartitionRange(partition, range), reason: reason))
        }
      }
      guard isNewest(identifier) else { return }
      let isPossible = ledgers[partition]?.restore(gap) ?? false
      guard isPossible else {
        throw row.fault(
          1, "begins a gap that overlaps progress or another gap, or lies below the start")
      }
    }
    for (identifier, ranges) in backfilled.sorted(by: { $0.key < $1.key }) {
      guard let partition = names[identifier], isNewest(identifier) else { continue }
      for range in ranges {
        let isPossible = ledgers[partition]?.restore(backfill: range, isDone: true) ?? false
        guard isPossible else {
          throw RowFault(
            table: "backfilled", row: "\(identifier), \(range.from)",
            problem: "shares offsets with what runs count, or with another row")
        }
      }
    }
  }

  /// Of every incarnation; nothing where the file was made by a release without backfills.
  private static func backfilled(
    in database: Database, _ names: [Int64: PartitionID]
  ) throws -> [Int64: [OffsetRange]] {
    guard try knowsBackfills(database) else { return [:] }
    var ranges: [Int64: [OffsetRange]] = [:]
    try database.forEachRow(
      of: "backfilled", "SELECT partition_id, from_offset, to_offset FROM backfilled",
      identifiedBy: 2
    ) { row in
      _ = try row.partition(0, in: names)
      ranges[try row.integer(0), default: []].append(try row.offsets(at: 1, mayBeEmpty: false))
    }
    return ranges
  }

  private mutating func load(_ database: Database, job: Job?) throws {
    let columns = try Set(database.columns(in: "partitions").map(\.name))
    let incarnation = columns.contains("incarnation") ? "incarnation" : "1 AS incarnation"
    let fingerprint =
      columns.contains("fingerprint")
      ? "fingerprint_offset, fingerprint" : "NULL AS fingerprint_offset, NULL AS fingerprint"
    let timestamp =
      columns.contains("newest_timestamp") ? "newest_timestamp" : "NULL AS newest_timestamp"
    let newestTime = columns.contains("newest_time") ? "newest_time" : "NULL AS newest_time"
    var incarnations: [PartitionID: Int64] = [:]
    try database.forEachRow(
      of: "partitions",
      """
      SELECT source, topic, partition, start_offset, next_offset, \(incarnation), partition_id,
        \(fingerprint), \(timestamp), \(newestTime)
      FROM partitions ORDER BY incarnation
      """,
      identifiedBy: 3
    ) { row in
      let partition = try row.partition(at: 0)
      let offsets = try row.offsets(at: 3, mayBeEmpty: true)
      let incarnation = try row.number(5)
      guard incarnations[partition] != incarnation else { throw row.fault(2, "is listed twice") }
      // Under another name the partition would be met anew, and all of it counted twice.
      guard job?.reads(partition) ?? true || offsets.isEmpty else {
        throw row.fault(1, "is not a topic of this job's source")
      }
      incarnations[partition] = incarnation
      add(
        partition, identifier: try row.integer(6),
        OffsetLedger(start: offsets.from, nextOffset: offsets.to))
      fingerprints[partition] =
        row.isNull(7)
        ? nil
        : Fingerprint(
          offset: try row.count(7), hash: try row.integer(8),
          timestampMilliseconds: row.isNull(9) ? nil : try row.integer(9))
      newestTimes[partition] = row.isNull(10) ? nil : try row.integer(10)
    }
  }

  mutating func add(_ partition: PartitionID, identifier: Int64, _ ledger: OffsetLedger) {
    if let former = ledgers[partition] {
      formerLogs[partition, default: []].append(
        OffsetRange(from: former.start, to: former.nextOffset))
    }
    names[identifier] = partition
    identifiers[partition] = identifier
    ledgers[partition] = ledger
    newestTimes[partition] = nil
  }

  mutating func forget(source: String) {
    for (partition, identifier) in identifiers where partition.source == source {
      names[identifier] = nil
      identifiers[partition] = nil
      ledgers[partition] = nil
      fingerprints[partition] = nil
      newestTimes[partition] = nil
      formerLogs[partition] = nil
    }
  }

  /// Stores a new incarnation of a partition, with a start of its own.
  ///
  /// - Returns: Its identifier.
  func addIncarnation(
    of partition: PartitionID, start: Offset, in database: Database
  ) throws -> Int64 {
    try database.execute(
      sql: """
        INSERT INTO partitions (source, topic, partition, incarnation, start_offset, next_offset)
        SELECT source, topic, partition, incarnation + 1, ?1, ?1 FROM partitions
        WHERE partition_id = ?2
        """, arguments: [start, identifiers[partition]])
    return database.lastInsertedRowID
  }

  /// Partitions whose topic was made anew while the job read it.
  static func renewed(in database: Database) throws -> Set<PartitionID> {
    guard try hasIncarnations(database) else { return [] }
    return Set(
      try database.checkedRows(
        of: "partitions",
        "SELECT source, topic, partition FROM partitions WHERE incarnation > 1", identifiedBy: 3
      ) { try $0.partition(at: 0) })
  }

  func isNewest(_ identifier: Int64) -> Bool {
    names[identifier].map { identifiers[$0] == identifier } ?? false
  }

  // MARK: - Files of earlier releases

  /// Files of schema 1 and 2, which are looked at before a run brings them up to date, have none.
  private static func hasIncarnations(_ database: Database) throws -> Bool {
    try database.columns(in: "partitions").contains { $0.name == "incarnation" }
  }

  /// Files of schema 1 to 6 have none.
  static func knowsBackfills(_ database: Database) throws -> Bool {
    try database.tableExists("backfilled")
  }

  /// The column of a table that tells the partition of a row; in files of schema 1 and 2 a row
  /// holds the partition's names.
  static func identifier(in table: String, _ database: Database) throws -> String {
    if try hasIncarnations(database) { return "partition_id" }
    return """
      (SELECT partition_id FROM partitions
       WHERE partitions.source = \(table).source AND partitions.topic = \(table).topic
         AND partitions.partition = \(table).partition) AS partition_id
      """
  }
}
