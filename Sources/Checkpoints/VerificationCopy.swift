internal import GRDB
package import Jobs
package import Offsets
package import Windows

/// A copy of a checkpoint in which messages are folded again, beside the state that it holds.
///
/// The checkpoint itself is read in one step, for as long as copying it takes, and never written.
package final class VerificationCopy {
  package let path: String
  /// Of the copy.
  package let reader: CheckpointReader
  /// Of every partition, the log that runs read.
  package var ledgers: [PartitionID: OffsetLedger] { partitions.ledgers }
  package var fingerprints: [PartitionID: Fingerprint] { partitions.fingerprints }
  /// What was read of logs that partitions had before, oldest first.
  package var formerLogs: [PartitionID: [OffsetRange]] { partitions.formerLogs }
  /// The number that the next committed batch gets.
  package let nextBatch: Int64

  /// As the checkpoint goes on with it.
  package let job: Job
  private let queue: DatabaseQueue
  private let partitions: StoredPartitions
  /// What the checkpoint holds, and what is folded again; nil for jobs that keep no state.
  private var generations: (held: Generation, found: Generation)?

  /// - Parameters:
  ///   - original: Open for reading.
  ///   - path: Where nothing is. Whoever makes the copy removes it, with its `-wal` and `-shm`.
  /// - Throws: ``CheckpointError``.
  package init(
    of original: CheckpointReader, job: Job, at path: String
  ) throws(CheckpointError) {
    self.path = path
    try original.backUp(to: path)
    queue = try Checkpoint.open(path)
    reader = try CheckpointReader(path: path, job: job)
    let job = try reader.continued(job)
    self.job = job
    do {
      (partitions, nextBatch) = try queue.inDatabase { database in
        // What is lost with the machine is made again.
        try database.execute(sql: "PRAGMA synchronous = OFF")
        return (
          try StoredPartitions(in: database, job: job), try Checkpoint.nextBatch(in: database)
        )
      }
      if job.window.keepsState {
        generations = try queue.inDatabase { try Self.prepare(job, in: $0) }
      }
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  private static func prepare(
    _ job: Job, in database: Database
  ) throws -> (held: Generation, found: Generation) {
    let held = Generation(try Generation.live(in: database), job.stateLayout)
    // A number that no rebuild comes to.
    let found = Generation(1 << 40, job.forVerification.stateLayout)
    found.register(in: database)
    try found.create(in: database)
    try database.execute(
      sql: """
        CREATE TABLE found_windows (
          window INTEGER PRIMARY KEY,
          records INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE found_offsets (
          window INTEGER NOT NULL,
          partition_id INTEGER NOT NULL,
          smallest_offset INTEGER NOT NULL,
          largest_offset INTEGER NOT NULL,
          records INTEGER NOT NULL,
          PRIMARY KEY (window, partition_id)
        ) STRICT, WITHOUT ROWID;
        """)
    return (held, found)
  }

  private func read<Result>(_ body: (Database) throws -> Result) throws(CheckpointError) -> Result {
    do { return try queue.read(body) } catch { throw CheckpointError(wrapping: error, path: path) }
  }

  // MARK: - What was read

  /// A batch of the history.
  package struct Batch: Sendable, Equatable {
    package let number: Int64
    package let offsetCount, recordCount, countedCount, rejectedCount: Int64
    /// Messages without a value that were passed over.
    package let tombstoneCount: Int64
    /// Of its messages; nil where an older release read them.
    package let byteCount: Int64?
    package let ranges: [PartitionRange]
    package let isOfBackfill: Bool
    /// By which its records were judged.
    package let cutoff: Cutoff

    package init(
      number: Int64, offsetCount: Int64, recordCount: Int64, countedCount: Int64,
      rejectedCount: Int64, tombstoneCount: Int64, byteCount: Int64?, ranges: [PartitionRange],
      isOfBackfill: Bool, cutoff: Cutoff = Cutoff()
    ) {
      self.number = number
      self.offsetCount = offsetCount
      self.recordCount = recordCount
      self.countedCount = countedCount
      self.rejectedCount = rejectedCount
      self.tombstoneCount = tombstoneCount
      self.byteCount = byteCount
      self.ranges = ranges
      self.isOfBackfill = isOfBackfill
      self.cutoff = cutoff
    }
  }

  /// Some batches, ascending by number.
  package func batches(from number: Int64, limit: Int) throws(CheckpointError) -> [Batch] {
    try batches("batch >= ? ORDER BY batch", [number, limit])
  }

  /// Some batches, the newest first.
  package func batches(below number: Int64, limit: Int) throws(CheckpointError) -> [Batch] {
    try batches("batch < ? ORDER BY batch DESC", [number, limit])
  }

  private func batches(
    _ condition: String, _ arguments: StatementArguments
  ) throws(CheckpointError) -> [Batch] {
    try read { database in
      try database.checkedRows(
        of: "batches",
        """
        SELECT batch, offsets, records, counted, rejected, ranges, backfill, tombstones, bytes,
          cutoff
        FROM batches
        WHERE \(condition) LIMIT ?
        """, arguments: arguments, identifiedBy: 1
      ) { row in
        Batch(
          number: try row.number(0), offsetCount: try row.count(1), recordCount: try row.count(2),
          countedCount: try row.count(3), rejectedCount: try row.count(4),
          tombstoneCount: try row.count(7), byteCount: row.isNull(8) ? nil : try row.count(8),
          ranges: try row.ranges(5), isOfBackfill: !row.isNull(6),
          cutoff: Cutoff(row.isNull(9) ? nil : try row.integer(9)))
      }
    }
  }

  /// The numbers of all batches that the history holds, ascending.
  package func batchNumbers() throws(CheckpointError) -> [Int64] {
    try read { database in
      try database.checkedRows(
        of: "batches", "SELECT batch FROM batches ORDER BY batch", identifiedBy: 1
      ) { try $0.number(0) }
    }
  }

  /// Whether the history holds a batch.
  package func holds(batch: Int64) throws(CheckpointError) -> Bool {
    try !batches("batch = ?", [batch, 1]).isEmpty
  }

  /// What decided on the records and the objects of batches, and from which batch on, ascending.
  package func batchSettings() throws(CheckpointError) -> [(from: Int64, settings: BatchSettings)] {
    try read(Checkpoint.batchSettings)
  }

  /// What is kept of all batches.
  package struct History: Sendable {
    package let all, pruned: BatchTotals
    /// Newer batches than this have their rows.
    package let mayBePrunedBelow: Int64
    package let hasFormerLogs: Bool

    package init(
      all: BatchTotals, pruned: BatchTotals, mayBePrunedBelow: Int64, hasFormerLogs: Bool
    ) {
      self.all = all
      self.pruned = pruned
      self.mayBePrunedBelow = mayBePrunedBelow
      self.hasFormerLogs = hasFormerLogs
    }
  }

  package func history() throws(CheckpointError) -> History {
    try read { database in
      let pruned = try Checkpoint.totals(of: .pruned, in: database)
      // Of each kind the oldest rows go, and newer ones stay.
      let oldest = try ["IS NULL", "IS NOT NULL"].map { kind in
        try Int64.fetchOne(
          database, sql: "SELECT min(batch) FROM batches WHERE backfill \(kind)") ?? 1
      }
      return History(
        all: try Checkpoint.totals(of: .all, in: database), pruned: pruned,
        mayBePrunedBelow: pruned.batchCount == 0 ? 1 : oldest.max() ?? 1,
        hasFormerLogs: !formerLogs.isEmpty)
    }
  }

  /// The offset below which a partition's offsets were those of another log, because a person has
  /// decided so; `Int64.max` where a decision is open.
  package func endsOfFormerLogs() throws(CheckpointError) -> [PartitionID: Offset] {
    var ends: [PartitionID: Offset] = [:]
    try read { database in
      try database.forEachRow(
        of: "incidents",
        """
        SELECT incident, partition_id, next_offset, resolved_at FROM incidents
        WHERE kind = 'log_replaced' AND (resolved_at IS NULL OR resolution IN ('keep', 'gap'))
        """, identifiedBy: 1
      ) { row in
        let partition = try row.partition(1, in: partitions.names)
        guard partitions.isNewest(try row.integer(1)) else { return }
        let end = row.isNull(3) ? .max : try row.count(2)
        ends[partition] = max(end, ends[partition] ?? 0)
      }
    }
    return ends
  }

  /// Makes sure that a cluster is the one that the job has read.
  ///
  /// - Throws: ``CheckpointError`` with code `wrongCluster`.
  package func confirmCluster(source: String, clusterID: String) throws(CheckpointError) {
    let stored = try read { database in
      try database.checkedRow(
        of: "clusters", "SELECT source, cluster_id FROM clusters WHERE source = ?",
        arguments: [source], identifiedBy: 1
      ) { try $0.text(1) }
    }
    guard let stored, stored != clusterID else { return }
    throw CheckpointError(
      .wrongCluster(source: source, stored: stored, found: clusterID), path: path)
  }

  /// The rejects that are kept of a batch.
  package func rejects(ofBatch batch: Int64) throws(CheckpointError) -> [StoredReject] {
    try reader.read { try reader.keptRejects(ofBatch: batch, in: $0) }
  }

  // MARK: - What is folded again

  /// Adds what a batch gives, as a commit does.
  ///
  /// - Parameters:
  ///   - layout: The delta's: a former definition's lacks measures that the state has now.
  ///   - ranges: The partition numbers of the delta are positions in it.
  package func fold(
    _ delta: Delta, in layout: StateLayout, of ranges: [PartitionRange]
  ) throws(CheckpointError) {
    guard let found = generations?.found else { return }
    let delta = found.layout.restated(delta, in: layout)
    do {
      try queue.write { database in
        // As the checkpoint does, whatever is wrong with it: a measure is NULL in a pane that began
        // before it.
        try found.merge(
          delta, began: try found.began(delta.panes, in: database), in: database)
        let windows = try BoundStatement(
          database,
          sql: """
            INSERT INTO found_windows VALUES (?, ?)
            ON CONFLICT DO UPDATE SET records = records + excluded.records
            """)
        let lineage = try LineageUpsert(into: "found_offsets", in: database)
        let identifiers = ranges.map { partitions.identifiers[$0.partition] ?? 0 }
        for part in delta.panes {
          try windows.bind(part.pane.number, at: 1)
          try windows.bind(part.contributions.reduce(0) { $0 + $1.recordCount }, at: 2)
          try windows.execute()
          try lineage.add(part, identifiers)
        }
      }
    } catch let error as Generation.Overflow {
      throw CheckpointError(error, path: path)
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  // MARK: - What differs

  /// A pane as the checkpoint has it and as its messages give it; nil where there is none.
  package struct ComparedPane: Sendable, Equatable {
    package let pane: Pane
    package let heldRecords, foundRecords: Int64?
    /// Ascending by partition, former logs first.
    package let parts: [ComparedPart]
  }

  /// What of a partition contributed to a pane.
  package struct ComparedPart: Sendable, Equatable {
    package let partition: PartitionID
    /// Whether it is of a log that was replaced.
    package let isOfFormerLog: Bool
    package let held, found: Lineage?
  }

  /// Some panes that one of the two has, ascending.
  package func panes(from number: Int64, limit: Int) throws(CheckpointError) -> [ComparedPane] {
    guard generations != nil else { return [] }
    return try read { database in
      let panes = try database.checkedRows(
        of: "windows",
        """
        SELECT window, windows.records, found_windows.records FROM (
          SELECT window FROM windows WHERE window >= ?1
          UNION SELECT window FROM found_windows
            WHERE window >= ?1 AND window NOT IN (SELECT window FROM evicted))
        LEFT JOIN windows USING (window) LEFT JOIN found_windows USING (window)
        ORDER BY window LIMIT ?2
        """, arguments: [number, limit], identifiedBy: 1
      ) { row in
        (
          pane: try row.pane(0, of: job.window), held: row.isNull(1) ? nil : try row.count(1),
          found: row.isNull(2) ? nil : try row.count(2)
        )
      }
      return try panes.map {
        ComparedPane(
          pane: $0.pane, heldRecords: $0.held, foundRecords: $0.found,
          parts: try parts(of: $0.pane, in: database))
      }
    }
  }

  private func parts(of pane: Pane, in database: Database) throws -> [ComparedPart] {
    func lineage(_ table: String) throws -> [Int64: Lineage] {
      var lineage: [Int64: Lineage] = [:]
      try database.forEachRow(
        of: table,
        """
        SELECT window, partition_id, smallest_offset, largest_offset, records
        FROM \(table) WHERE window = ?
        """, arguments: [pane.number], identifiedBy: 2
      ) { row in
        lineage[try row.integer(1)] = Lineage(
          partition: try row.partition(1, in: partitions.names),
          smallestOffset: try row.count(2), largestOffset: try row.count(3),
          recordCount: try row.count(4))
      }
      return lineage
    }
    let (held, found) = (try lineage("window_offsets"), try lineage("found_offsets"))
    return Set(held.keys).union(found.keys).compactMap { identifier in
      partitions.names[identifier].map {
        ComparedPart(
          partition: $0, isOfFormerLog: !partitions.isNewest(identifier), held: held[identifier],
          found: found[identifier])
      }
    }.sorted {
      $0.partition == $1.partition
        ? $0.isOfFormerLog && !$1.isOfFormerLog : $0.partition < $1.partition
    }
  }

  package func groupCount(of pane: Pane) throws(CheckpointError) -> Int64 {
    guard let held = generations?.held else { return 0 }
    return try read { try held.groupCount(of: pane, in: $0) }
  }

  /// Hands over the groups of a pane that are not the same, some at a time.
  package func compareGroups(
    of pane: Pane, _ body: (ComparedGroups) throws -> Void
  ) throws(CheckpointError) {
    guard let (held, found) = generations else { return }
    try read { try held.compare(pane, with: found, in: $0, body) }
  }
}
