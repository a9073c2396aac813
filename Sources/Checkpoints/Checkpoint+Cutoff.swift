internal import GRDB
package import Jobs
internal import Offsets
package import Windows

/// Up to which instant windows are final, and by what: stored with the batch that moves it.
extension Checkpoint {
  /// In the transaction of a batch of new messages.
  func moveCutoff(_ batch: BatchCommit, in database: Database) throws {
    if batch.newestTimes.contains(where: { $0 != nil }) {
      let statement = try BoundStatement(
        database,
        sql: """
          UPDATE partitions SET newest_time = max(coalesce(newest_time, ?1), ?1)
          WHERE partition_id = ?2
          """)
      for (range, time) in zip(batch.plan.ranges, batch.newestTimes) {
        guard let time else { continue }
        guard let identifier = partitions.identifiers[range.partition] else {
          throw unknown(range.partition)
        }
        try statement.bind(time, at: 1)
        try statement.bind(identifier, at: 2)
        try statement.execute()
      }
    }
    guard let moved = batch.cutoff, moved != cutoff else { return }
    try database.cachedStatement(sql: "UPDATE checkpoint SET cutoff = ?, horizon = ?")
      .execute(arguments: [moved.instant, moved.horizon])
  }

  /// As ``moveCutoff(_:in:)`` has changed the file.
  func moveCutoff(to moved: Cutoff, _ batch: BatchCommit) {
    cutoff = moved
    for (range, time) in zip(batch.plan.ranges, batch.newestTimes) {
      guard let time else { continue }
      let known = partitions.newestTimes[range.partition]
      partitions.newestTimes[range.partition] = max(known ?? time, time)
    }
  }

  /// Files of schema 1 to 12 have none, those of 13 no horizon.
  static func cutoff(in database: Database) throws -> Cutoff {
    guard try knowsCutoff(database) else { return Cutoff() }
    let horizon = try knowsEviction(database) ? "horizon" : "NULL AS horizon"
    return try database.checkedRow(
      of: "checkpoint", "SELECT id, cutoff, \(horizon) FROM checkpoint", identifiedBy: 1
    ) { row in
      let instant = row.isNull(1) ? nil : try row.integer(1)
      guard !row.isNull(2) else { return Cutoff(instant) }
      // Whatever has moved it has moved the cutoff at least as far.
      return Cutoff(instant, horizon: try row.integer(2, in: .min...(instant ?? .min)))
    } ?? Cutoff()
  }

  static func knowsCutoff(_ database: Database) throws -> Bool {
    try database.columns(in: "checkpoint").contains { $0.name == "cutoff" }
  }
}

extension CheckpointReader {
  /// Which windows are final, as the job file says now.
  package func cutoff(of job: Job) throws(CheckpointError) -> Cutoff {
    try read { try cutoff(of: job, in: $0) }
  }

  /// As it was moved last, whatever the job file says now.
  package func storedCutoff() throws(CheckpointError) -> Cutoff {
    try read { try Checkpoint.cutoff(in: $0) }
  }

  func cutoff(of job: Job, in database: Database) throws -> Cutoff {
    let cutoff = try Checkpoint.cutoff(in: database)
    // What was evicted stays final.
    return job.lateness == nil ? Cutoff(cutoff.horizon, horizon: cutoff.horizon) : cutoff
  }
}
