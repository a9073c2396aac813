import GRDB
import Offsets

extension Claim {
  /// Reads a checkpoint's tables as anyone can who has SQLite: without the product's code.
  init(path: String) throws {
    var configuration = Configuration()
    configuration.readonly = true
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    (partitions, gaps, batches, backfilled, backfills) = try queue.read { database in
      var partitions: [PartitionID: Progress] = [:]
      for row in try Row.fetchAll(
        database, sql: "SELECT source, topic, partition, start_offset, next_offset FROM partitions")
      {
        partitions[PartitionID(source: row[0], topic: row[1], partition: row[2])] = Progress(
          start: row[3], next: row[4])
      }
      let gaps = try Row.fetchAll(
        database,
        sql: """
          SELECT source, topic, partition, from_offset, to_offset, reason
          FROM gaps JOIN partitions USING (partition_id)
          """
      ).map { Gap(range: Self.range($0), reason: $0[5]) }
      let batches = try Row.fetchAll(
        database,
        sql: """
          SELECT batch, ranges, offsets, records, counted, rejected, backfill FROM batches
          ORDER BY batch
          """
      ).map { row in
        let ranges = try Self.ranges(row[1])
        return Batch(
          number: row[0], ranges: ranges, offsetCount: row[2], recordCount: row[3],
          countedCount: row[4],
          rejectedCount: row[5], backfill: row[6])
      }
      let names = """
        source, topic, partition, from_offset, to_offset
        """
      let backfilled = try Row.fetchAll(
        database,
        sql: "SELECT \(names) FROM backfilled JOIN partitions USING (partition_id)"
      ).map(Self.range)
      let backfills = try Row.fetchAll(
        database, sql: "SELECT backfill, state, offsets, counted_offsets FROM backfills"
      ).map { row in
        func ranges(_ state: String) throws -> [PartitionRange] {
          try Row.fetchAll(
            database,
            sql: """
              SELECT \(names) FROM backfill_ranges JOIN partitions USING (partition_id)
              WHERE backfill = ? AND state = ?
              """, arguments: [row[0] as Int64, state]
          ).map(Self.range)
        }
        return Backfill(
          number: row[0], state: row[1], offsetCount: row[2], countedCount: row[3],
          left: try ranges("left"), unheld: try ranges("unheld"))
      }
      return (partitions, gaps, batches, backfilled, backfills)
    }
  }

  private static func range(_ row: Row) -> PartitionRange {
    PartitionRange(
      PartitionID(source: row[0], topic: row[1], partition: row[2]),
      OffsetRange(from: row[3], to: row[4]))
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
