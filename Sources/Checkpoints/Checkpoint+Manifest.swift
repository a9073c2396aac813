internal import GRDB
package import Jobs
package import Offsets
internal import Tables
package import Windows

/// What the checkpoint says of the job's objects and of how far they are, for who reads them.
package struct Manifest: Sendable, Equatable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let start: Offset
    package let next: Offset
  }
  /// The revision that the store has, and its facts.
  package struct Object: Sendable, Equatable {
    package let window: Window
    package let key: String
    /// Nil where an older release put it.
    package let rowCount: Int64?
    package let byteCount: Int64
    package let etag: String
    package let revision: Int64
    /// Whether no live record changes it any more.
    package let isFinal: Bool
  }
  /// Most objects that it names.
  package static let objectLimit = 1_000

  /// The newest committed one.
  package let batch: Int64
  package let committedAt: String
  /// The first batch that the objects show, as those of batches before stay at a former place.
  package let fromBatch: Int64
  /// The largest batch for which nothing is dirty since it or a batch before it: the objects show
  /// all batches from ``fromBatch`` up to it. 0 where they show none.
  package let visibleBatch: Int64
  package let partitions: [Partition]
  /// The newest first.
  package let objects: [Object]
}

/// What became of the manifest that was put last.
package struct ManifestState: Sendable, Equatable {
  package let isDirty: Bool
  package let isUnsettled: Bool
  package let etag: String?
  package let contentHash: Int64?
}

extension CheckpointReader {
  /// Nil before the first commit.
  package func manifest(of job: Job) throws(CheckpointError) -> Manifest? {
    try read { database in
      let newest = try database.checkedRow(
        of: "batches", "SELECT batch, committed_at FROM batches ORDER BY batch DESC LIMIT 1",
        identifiedBy: 1
      ) { (batch: try $0.number(0), time: try $0.text(1)) }
      guard let newest else { return nil }
      let partitions = try StoredPartitions(in: database, job: job).ledgers
      let fromBatch = try firstBatch(in: database)
      let visibleBatch = try visibleBatch(newest: newest.batch, in: database)
      return Manifest(
        batch: newest.batch, committedAt: newest.time, fromBatch: fromBatch,
        visibleBatch: visibleBatch < fromBatch ? 0 : visibleBatch,
        partitions: partitions.sorted { $0.key < $1.key }.map {
          Manifest.Partition(partition: $0.key, start: $0.value.start, next: $0.value.nextOffset)
        },
        objects: try newestObjects(of: job, in: database))
    }
  }

  /// Behind the newest batch whose object stays at a former place.
  private func firstBatch(in database: Database) throws -> Int64 {
    try database.checkedRow(
      of: "outputs", "SELECT coalesce(max(number), 0) FROM outputs WHERE place IS NOT NULL",
      identifiedBy: 0
    ) { try $0.integer(0) + 1 } ?? 1
  }

  private func visibleBatch(newest: Int64, in database: Database) throws -> Int64 {
    var visible = newest
    try database.forEachRow(
      of: "outputs",
      """
      SELECT object_key, coalesce(dirty_since, 1) AS dirty_since FROM outputs
      WHERE revision > published_revision AND kind <> 'manifest'
      """, identifiedBy: 1
    ) { visible = min(visible, try $0.number(1) - 1) }
    return visible
  }

  /// Keys of results sort by their windows.
  private func newestObjects(of job: Job, in database: Database) throws -> [Manifest.Object] {
    let cutoff = try cutoff(of: job, in: database)
    let objects = try database.checkedRows(
      of: "outputs",
      """
      SELECT object_key, number, row_count, byte_count, etag, published_revision FROM outputs
      WHERE kind = ? AND published_revision > 0 AND etag IS NOT NULL AND place IS NULL
      ORDER BY object_key DESC LIMIT \(Manifest.objectLimit)
      """, arguments: [job.window.keepsState ? "window" : "batch"], identifiedBy: 1
    ) { row in
      let number = job.window.keepsState ? try window(row, 1).number : try row.number(1)
      // An object of one batch is never written again.
      let isFinal =
        job.output.keep == .each || cutoff.isFinal(Window(number), of: job.window)
      return Manifest.Object(
        window: Window(number), key: try row.objectKey(0),
        rowCount: row.isNull(2) ? nil : try row.count(2), byteCount: try row.count(3),
        etag: try row.text(4), revision: try row.number(5),
        isFinal: isFinal)
    }
    let missing = Manifest.objectLimit - objects.count
    guard missing > 0, job.window.keepsState, try Checkpoint.knowsEviction(database) else {
      return objects
    }
    // Their objects stand as they were published.
    try loadPartitions(database)
    var evicted: [Manifest.Object] = []
    try forEachEvicted(
      of: job, where: "place IS NULL ORDER BY window DESC LIMIT \(missing)", in: database
    ) { found in
      evicted.append(
        Manifest.Object(
          window: found.window, key: found.objectKey, rowCount: found.rowCount,
          byteCount: found.byteCount, etag: found.etag, revision: found.revision, isFinal: true))
    }
    return (objects + evicted).sorted { $0.key > $1.key }
  }

  /// Nil where none was put.
  package func manifestState() throws(CheckpointError) -> ManifestState? {
    try read { database in
      try database.checkedRow(
        of: "outputs",
        """
        SELECT object_key, revision, published_revision, checks_left, etag, content_hash
        FROM outputs WHERE object_key = ? AND kind = 'manifest'
        """, arguments: [ObjectKeys.manifest], identifiedBy: 1
      ) { row in
        let revision = try row.number(1)
        return ManifestState(
          isDirty: try row.integer(2, in: 0...revision) < revision,
          isUnsettled: try row.integer(3, in: 0...2) > 0, etag: try row.optionalText(4),
          contentHash: row.isNull(5) ? nil : try row.integer(5))
      }
    }
  }
}

extension Checkpoint {
  /// Stores that a manifest is about to be put, so that a run that dies leaves it dirty.
  ///
  /// - Returns: Its revision.
  package func beginManifest(ofBatch batch: Int64) throws(CheckpointError) -> Int64 {
    try write { database in
      try database.execute(
        sql: """
          INSERT INTO outputs (object_key, kind, number, revision) VALUES (?, 'manifest', ?, 1)
          ON CONFLICT DO UPDATE SET revision = revision + 1, number = excluded.number
          """, arguments: [ObjectKeys.manifest, batch])
      let revision = try database.checkedRow(
        of: "outputs", "SELECT object_key, revision FROM outputs WHERE object_key = ?",
        arguments: [ObjectKeys.manifest], identifiedBy: 1
      ) { try $0.number(1) }
      guard let revision else {
        throw RowFault(table: "outputs", row: "'\(ObjectKeys.manifest)'", problem: "is gone")
      }
      return revision
    }
  }

  /// The store has acknowledged a manifest.
  package func endManifest(_ mark: PublishMark, contentHash: Int64) throws(CheckpointError) {
    try write { database in
      try self.mark([mark], in: database)
      try database.execute(
        sql: "UPDATE outputs SET content_hash = ? WHERE object_key = ?",
        arguments: [contentHash, mark.objectKey])
    }
  }

  /// A manifest that nobody keeps up would mislead: where the job writes none any more, the one
  /// that stands is deleted like objects of a former place.
  package func retireManifest() throws(CheckpointError) {
    try write { database in
      try retireManifest(at: job.output.destination.text, isKept: false, in: database)
      try database.execute(sql: "DELETE FROM outputs WHERE kind = 'manifest'")
    }
  }

  /// The manifest that stands at a place is to be deleted, and none stands at the job's own yet.
  ///
  /// - Parameter isKept: Whether it stays there: a delete would go to another server.
  func retireManifest(at place: String, isKept: Bool, in database: Database) throws {
    if !isKept {
      try database.execute(
        sql: """
          INSERT OR IGNORE INTO retired_objects (place, object_key, etag)
          SELECT ?, object_key, \(Self.knownETag) FROM outputs WHERE kind = 'manifest'
          """, arguments: [place])
    }
    try database.execute(
      sql: """
        UPDATE outputs SET published_revision = 0, etag = NULL, byte_count = NULL, checks_left = 0,
          content_hash = NULL
        WHERE kind = 'manifest'
        """)
  }

  /// Whatever manifest stands at the job's place is another state's: the next run deletes it before
  /// it puts anything.
  func retireStrangeManifest(in database: Database) throws {
    try database.execute(
      sql: "INSERT OR REPLACE INTO retired_objects (place, object_key) VALUES (?, ?)",
      arguments: [job.output.destination.text, ObjectKeys.manifest])
    // Another one is put, whatever it says.
    try retireManifest(at: job.output.destination.text, isKept: true, in: database)
  }
}
