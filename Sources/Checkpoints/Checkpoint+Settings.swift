internal import GRDB
internal import Jobs
internal import Offsets

/// A checkpoint in which nothing was committed yet: a changed job file simply replaces what it
/// said.
extension Checkpoint {
  /// Whether no batch was ever committed.
  static func isUntouched(_ database: Database) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT next_batch = 1 AND NOT EXISTS (SELECT 1 FROM batches) FROM checkpoint")
      ?? false
  }

  /// Takes the job file as if the checkpoint had been made with it. Starts that were resolved stay,
  /// as another look at `latest` would pass records over, unless `source.start` itself was changed.
  ///
  /// - Parameter stored: What the job file said before.
  func beginAnew(
    with settings: [String: String], stored: [String: String], now: Int64, release: String
  ) throws {
    try write { database in
      try Generation.drop(try Generation.live(in: database), in: database)
      if let generation { try generation.create(in: database) }
      let isStartChanged = stored["source.start"].map { $0 != settings["source.start"] } ?? false
      let topics = Set(
        job.clusters.flatMap { cluster in cluster.topics.map { [cluster.name, $0] } })
      let met = try database.checkedRows(
        of: "partitions", "SELECT DISTINCT source, topic FROM partitions", identifiedBy: 2
      ) { (source: try $0.text(0), topic: try $0.text(1)) }
      for (source, topic) in met {
        guard isStartChanged || !topics.contains([source, topic]) else { continue }
        try Self.forgetPartitions(ofTopic: topic, source: source, in: database)
      }
      try Self.endEmptyBackfills(in: database)
      let names = job.clusters.map(\.name)
      let sources = try database.checkedRows(
        of: "clusters", "SELECT source FROM clusters", identifiedBy: 1
      ) { try $0.text(0) }
      for source in sources where !names.contains(source) {
        try database.execute(sql: "DELETE FROM clusters WHERE source = ?", arguments: [source])
      }
      try database.execute(sql: "DELETE FROM in_flight")
      try database.execute(
        sql: "DELETE FROM incidents WHERE kind = 'rejects' AND resolved_at IS NULL")
      try Self.store(settings, in: database)
      try Self.note(BatchSettings(job), assuming: nil, in: database)
      try StoredDefinitions.replace(
        with: job.definition, now: now, release: release, in: database)
    }
  }

  /// What can hang on a partition of which nothing was committed, and the partitions at last.
  private static let tablesOfPartitions = [
    "gaps", "incidents", "backfill_ranges", "definition_offsets", "partitions",
  ]

  /// Only where nothing was committed: no state hangs on the partitions.
  private static func forgetPartitions(
    ofTopic topic: String, source: String, in database: Database
  ) throws {
    for table in tablesOfPartitions {
      try database.execute(
        sql: """
          DELETE FROM \(table) WHERE partition_id IN (
            SELECT partition_id FROM partitions WHERE source = ? AND topic = ?)
          """, arguments: [source, topic])
    }
  }

  /// Another cluster takes the place of one of which nothing was committed.
  func replaceCluster(source: String, clusterID: String) throws(CheckpointError) {
    try write { database in
      for table in Self.tablesOfPartitions {
        try database.execute(
          sql: """
            DELETE FROM \(table) WHERE partition_id IN (
              SELECT partition_id FROM partitions WHERE source = ?)
            """, arguments: [source])
      }
      try Self.endEmptyBackfills(in: database)
      try database.execute(sql: "DELETE FROM clusters WHERE source = ?", arguments: [source])
      try database.execute(sql: "DELETE FROM in_flight")
      try database.execute(
        sql: "INSERT INTO clusters VALUES (?, ?)", arguments: [source, clusterID])
    }
    partitions.forget(source: source)
    for request in backfills {
      forget(request.ranges.filter { $0.partition.source == source }, ofBackfill: request.number)
    }
    inFlight = nil
  }

  /// A plan whose batch cannot be committed is not repeated: the next run plans anew.
  package func forgetPlan() throws(CheckpointError) {
    guard inFlight != nil else { return }
    try write { database in try database.execute(sql: "DELETE FROM in_flight") }
    inFlight = nil
  }
}
