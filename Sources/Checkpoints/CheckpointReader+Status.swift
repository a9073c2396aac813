internal import GRDB
package import Offsets

/// What a checkpoint says of its job, for people and monitoring.
package struct CheckpointStatus: Sendable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let startOffset: Offset
    package let nextOffset: Offset
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
  package let partitions: [Partition]
  package let gaps: [Gap]
  package let windowCount: Int64
  package let latestWindow: Int64?
  package let recordCount: Int64
  package let rejectedCount: Int64
  package let dirtyOutputs: [String]
  package let unsettledOutputs: [String]
  /// The batch that was planned and not committed when the file was last written.
  package let inFlight: BatchPlan?
  /// What a person is to decide.
  package let incidents: [Incident]
}

extension CheckpointReader {
  /// All of it in one read transaction, also while a run writes.
  package func status() throws(CheckpointError) -> CheckpointStatus {
    try read { database in
      let last = try Row.fetchOne(database, sql: "SELECT batch, committed_at, records FROM batches ORDER BY batch DESC LIMIT 1")
      let totals = try Row.fetchOne(
        database, sql: "SELECT coalesce(sum(records), 0), coalesce(sum(rejected), 0) FROM batches")
      let partitions = try Row.fetchAll(
        database, sql: "SELECT source, topic, partition, start_offset, next_offset FROM partitions ORDER BY source, topic, partition")
      let gaps = try Row.fetchAll(
        database,
        sql: "SELECT source, topic, partition, from_offset, to_offset, reason FROM gaps ORDER BY source, topic, partition, from_offset")
      let inFlight = try Row.fetchOne(database, sql: "SELECT batch, ranges FROM in_flight")
      return CheckpointStatus(
        job: try String.fetchOne(database, sql: "SELECT job FROM checkpoint") ?? "",
        lastCommit: last.map { .init(batch: $0[0], committedAt: $0[1], recordCount: $0[2]) },
        partitions: partitions.map {
          .init(partition: PartitionID(source: $0[0], topic: $0[1], partition: $0[2]), startOffset: $0[3], nextOffset: $0[4])
        },
        gaps: gaps.map {
          .init(
            range: PartitionRange(PartitionID(source: $0[0], topic: $0[1], partition: $0[2]), OffsetRange(from: $0[3], to: $0[4])),
            reason: $0[5])
        },
        windowCount: try Int64.fetchOne(database, sql: "SELECT count(*) FROM windows") ?? 0,
        latestWindow: try Int64.fetchOne(database, sql: "SELECT max(window) FROM windows"),
        recordCount: totals?[0] ?? 0,
        rejectedCount: totals?[1] ?? 0,
        dirtyOutputs: try String.fetchAll(
          database, sql: "SELECT object_key FROM outputs WHERE revision > published_revision ORDER BY object_key"),
        unsettledOutputs: try String.fetchAll(database, sql: "SELECT object_key FROM outputs WHERE checks_left > 0 ORDER BY object_key"),
        inFlight: inFlight.flatMap { row in RangesText.parse(row[1]).map { BatchPlan(batch: row[0], ranges: $0) } },
        incidents: try Checkpoint.openIncidents(in: database))
    }
  }

  /// Every window that holds state, ascending.
  package func windows() throws(CheckpointError) -> [Int64] {
    try read { database in try Int64.fetchAll(database, sql: "SELECT window FROM windows ORDER BY window") }
  }
}
