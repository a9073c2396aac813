import GRDB
import Offsets

extension Claim {
  /// Reads a checkpoint's tables as anyone can who has SQLite: without the product's code.
  package init(path: String) throws {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    (partitions, gaps, batches, backfilled, backfills, undecided, totals) = try queue.read {
      database in
      var partitions: [PartitionID: Progress] = [:]
      let names = "source, topic, partition, incarnation"
      for row in try Row.fetchAll(
        database, sql: "SELECT \(names), start_offset, next_offset FROM partitions")
      {
        partitions[Self.partition(row)] = Progress(start: row[4], next: row[5])
      }
      let gaps = try Row.fetchAll(
        database,
        sql: """
          SELECT \(names), from_offset, to_offset, reason
          FROM gaps JOIN partitions USING (partition_id)
          """
      ).map { Gap(range: Self.range($0), reason: $0[6]) }
      let batches = try Row.fetchAll(
        database,
        sql: """
          SELECT batch, ranges, offsets, records, counted, rejected, tombstones,
            backfill, cutoff FROM batches
          ORDER BY batch
          """
      ).map { row in
        let ranges = try Self.ranges(row[1])
        return Batch(
          number: row[0], ranges: ranges, offsetCount: row[2], recordCount: row[3],
          countedCount: row[4],
          rejectedCount: row[5], tombstoneCount: row[6], backfill: row[7], cutoff: row[8])
      }
      let backfilled = try Row.fetchAll(
        database,
        sql: """
          SELECT \(names), from_offset, to_offset
          FROM backfilled JOIN partitions USING (partition_id)
          """
      ).map(Self.range)
      let backfills = try Row.fetchAll(
        database,
        sql: "SELECT backfill, state, offsets, counted_offsets, goes_first FROM backfills"
      ).map { row in
        func ranges(_ state: String) throws -> [PartitionRange] {
          try Row.fetchAll(
            database,
            sql: """
              SELECT \(names), from_offset, to_offset
              FROM backfill_ranges JOIN partitions USING (partition_id)
              WHERE backfill = ? AND state = ?
              """, arguments: [row[0] as Int64, state]
          ).map(Self.range)
        }
        return Backfill(
          number: row[0], goesFirst: row[4], state: row[1], offsetCount: row[2],
          countedCount: row[3], left: try ranges("left"), unheld: try ranges("unheld"))
      }
      let undecided = try Row.fetchAll(
        database,
        sql: """
          SELECT \(names) FROM incidents JOIN partitions USING (partition_id)
          WHERE kind = 'log_replaced' AND resolved_at IS NULL
          """
      ).map(Self.partition)
      let totals = try Row.fetchAll(
        database,
        sql: """
          SELECT batches, offsets, records, counted, rejected, tombstones FROM batch_totals
          ORDER BY of
          """
      ).map { row in (0..<6).map { row[$0] as Int64 } }
      return (partitions, gaps, batches, backfilled, backfills, Set(undecided), totals)
    }
    (horizon, windows, windowsWithGroups, evicted) = try queue.read { database in
      func numbers(_ sql: String) throws -> Set<Int64> {
        Set(try Int64.fetchAll(database, sql: sql))
      }
      let rows = try Row.fetchAll(
        database, sql: "SELECT window, groups, records, lineage, generation FROM evicted")
      return (
        try Int64.fetchOne(database, sql: "SELECT horizon FROM checkpoint"),
        try numbers("SELECT window FROM windows"),
        try database.tableExists("groups") ? numbers("SELECT DISTINCT window FROM groups") : [],
        rows.reduce(into: [:]) {
          $0[$1[0]] = Tombstone(
            groupCount: $1[1], recordCount: $1[2], lineage: $1[3],
            isUnfinished: ($1[4] as Int64?) != nil)
        }
      )
    }
    (cutoff, inFlight) = try queue.read { database in
      let plan = try Row.fetchOne(database, sql: "SELECT batch, ranges FROM in_flight")
      return (
        try Int64.fetchOne(database, sql: "SELECT cutoff FROM checkpoint"),
        try plan.map { ($0[0], try Self.ranges($0[1])) }
      )
    }
  }

  private static func partition(_ row: Row) -> PartitionID {
    PartitionID(source: row[0], topic: row[1], partition: row[2]).incarnation(row[3])
  }

  private static func range(_ row: Row) -> PartitionRange {
    PartitionRange(partition(row), OffsetRange(from: row[4], to: row[5]))
  }

  struct NotRanges: Error { let text: String }

  /// Reads `[{"source":"one","topic":"a","ranges":[[0,12,15]]}]`. The names are the simulation's:
  /// letters alone.
  private static func ranges(_ text: String) throws -> [PartitionRange] {
    var words = text.split { "\"[]{},:".contains($0) }[...]
    var ranges: [PartitionRange] = []
    var (source, topic) = ("", "")
    while let word = words.popFirst() {
      switch word {
      case "source": source = words.popFirst().map(String.init) ?? ""
      case "topic": topic = words.popFirst().map(String.init) ?? ""
      case "ranges": break
      default:
        guard let number = Int32(word), let from = words.popFirst().flatMap({ Int64($0) }),
          let to = words.popFirst().flatMap({ Int64($0) }), from >= 0, from <= to
        else { throw NotRanges(text: text) }
        ranges.append(
          PartitionRange(
            PartitionID(source: source, topic: topic, partition: number),
            OffsetRange(from: from, to: to)))
      }
    }
    return ranges
  }
}
