import Foundation
import GRDB
import Jobs
import Offsets
import TestSupport
import Testing

import struct Tables.RecordBatch
import struct Tables.Reject

@testable import Checkpoints
@testable import Windows

func job(
  _ name: String = "calls", select: String = "share: 1.0 * total",
  measures: String = "total: sum(value)", format: String = "csv", topics: String = "t"
) throws -> Job {
  try JobFile.parse(
    text: """
      name: \(name)
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [\(topics)] }]
        format: csv
        fields: { key: "string?", value: int64 }
      window: global
      aggregate: { by: [key], measures: { \(measures) } }
      select: { \(select) }
      output: { to: "file:out", format: \(format) }
      limits: { groups_per_window: 3 }
      """, path: "x.yaml", environment: [:], readFile: { _ in nil })
}

private let partition = PartitionID(source: "main", topic: "t", partition: 0)

func open(_ folder: TemporaryFolder, _ job: Job) throws -> Checkpoint {
  try Checkpoint(job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
}

/// Folds records at consecutive offsets and commits them as the next batch.
///
/// - Parameter backfill: The request that they are of, and the first one's offset; without it they
///   begin at progress.
func commit(
  _ checkpoint: Checkpoint, _ records: [(key: String?, value: Int64)], marks: [PublishMark] = [],
  backfill: (number: Int64, from: Offset)? = nil, rejectedCount: Int64 = 0,
  next: BatchPlan? = nil
) throws {
  let from = try backfill?.from ?? #require(checkpoint.ledgers[partition]).nextOffset
  var batch = RecordBatch(checkpoint.job.recordSchema)
  for (index, record) in records.enumerated() {
    if let key = record.key {
      batch.columns[0].append(string: key)
    } else {
      batch.columns[0].appendNull()
    }
    batch.columns[1].append(integer: record.value)
    for column in 2..<batch.columns.count {
      batch.columns[column].appendNull()
    }
    batch.offsets.append(from + Int64(index))
  }
  batch.closeRows(ofPartition: 0)
  let outcome = try Fold(checkpoint.job, batchSchema: batch.schema).fold(
    batch, matches: records.map { _ in true }, batchNumber: checkpoint.nextBatch)
  guard case .folded(let delta) = outcome else { throw CancellationError() }
  let range = PartitionRange(partition, OffsetRange(from: from, to: from + Int64(records.count)))
  let plan = BatchPlan(
    batch: checkpoint.nextBatch, ranges: [range], backfill: backfill?.number)
  var commit = BatchCommit(plan: plan, now: 0)
  if rejectedCount > 0 { commit.rejectCounts = [.malformed: rejectedCount] }
  commit.nextPlan = next
  commit.delta = delta
  commit.recordCount = Int64(records.count)
  commit.marks = marks
  try checkpoint.commit(commit)
}

@Suite("A checkpoint")
struct CheckpointTests {
  /// Of the first window whose object is not published.
  private func lineage(_ reader: CheckpointReader) throws -> [Lineage]? {
    let output = try #require(try reader.dirtyOutputs().first)
    guard case .window(_, let lineage) = try reader.content(of: output, job: job()).content else {
      return nil
    }
    return lineage
  }

  @Test(
    """
    merges batches into the state, NULL keys and canonically equal texts apart, sorted by bytes \
    with NULL first
    """
  )
  func merges() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 100])
    try commit(checkpoint, [("é", 1), (nil, 2)])
    try commit(checkpoint, [("e\u{301}", 4), ("é", 8), (nil, 16)])
    let table = try CheckpointReader(path: checkpoint.path).table(of: Window(0), job: job())
    #expect(table[0].isNull == [true, false, false])
    #expect(
      (0..<3).map { Array(table[0].text[$0].utf8) } == [
        [], Array("e\u{301}".utf8), Array("é".utf8),
      ])
    #expect(table[1].integers == [18, 4, 9])
    #expect(checkpoint.ledgers[partition]?.nextOffset == 105)
  }

  @Test("holds what was committed after it is opened again, and says which offsets made a window")
  func reopened() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try open(folder, job())
      try checkpoint.start([partition: 7])
      try commit(checkpoint, [("a", 1), ("a", 2)])
    }
    let checkpoint = try open(folder, job())
    #expect(checkpoint.nextBatch == 2)
    #expect(checkpoint.ledgers[partition]?.start == 7)
    #expect(checkpoint.ledgers[partition]?.nextOffset == 9)
    #expect(
      try lineage(CheckpointReader(path: checkpoint.path)) == [
        Lineage(partition: partition, smallestOffset: 7, largestOffset: 8, recordCount: 2)
      ])
  }

  @Test(
    """
    an output is dirty from its commit until its revision is marked, and an older mark never \
    takes a newer one back
    """
  )
  func marks() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 0])
    try commit(checkpoint, [("a", 1)])
    let reader = try CheckpointReader(path: checkpoint.path)
    func mark(_ revision: Int64) -> PublishMark {
      PublishMark(
        objectKey: "part-0.csv", revision: revision, etag: "e\(revision)", byteCount: 1,
        renderedBy: "test", isUnsettled: false)
    }
    #expect(try reader.dirtyOutputs().map(\.revision) == [1])
    try commit(checkpoint, [("a", 1)], marks: [mark(1)])
    #expect(try reader.dirtyOutputs().map(\.revision) == [2])
    try checkpoint.commitMarks([mark(2)])
    try checkpoint.commitMarks([mark(1)])
    #expect(try reader.dirtyOutputs().isEmpty)
  }

  @Test(
    """
    a sum that no longer fits is refused, at both ends of int64, and nothing of the batch is \
    committed
    """,
    arguments: [
      (Int64.max, 1 as Int64), (.min, -1), (.min, -1_000), (.max, .max),
    ])
  func overflow(first: Int64, second: Int64) throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 0])
    try commit(checkpoint, [("a", first)])
    #expect {
      try commit(checkpoint, [("b", 5), ("a", second)])
    } throws: { error in
      guard case .overflow(1, 0, let held) = (error as? CheckpointError)?.code else { return false }
      return held.map(\.integers) == [[first]]
    }
    let table = try CheckpointReader(path: checkpoint.path).table(of: Window(0), job: job())
    #expect(table[1].integers == [first])
    #expect(checkpoint.ledgers[partition]?.nextOffset == 1)
  }

  @Test("runs write to the live generation, and a pane that is not of it is refused")
  func generations() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try open(folder, job())
      try checkpoint.start([partition: 0])
      try commit(checkpoint, [("a", 1)])
      checkpoint.close()
    }
    let path = Checkpoint.path(ofJob: "calls", folder: folder.path)
    func edit(_ sql: String) throws {
      try DatabaseQueue(path: path).write { try $0.execute(sql: sql) }
    }
    // As a rebuild is going to leave it: the first generation's table is gone.
    try edit(
      """
      ALTER TABLE groups RENAME TO groups_2; UPDATE windows SET generation = 2;
      UPDATE checkpoint SET generation = 2
      """)
    do {
      let checkpoint = try open(folder, job())
      try commit(checkpoint, [("a", 2), ("b", 5)])
      let table = try CheckpointReader(path: path).table(of: Window(0), job: job())
      #expect(table[1].integers == [3, 5])
      checkpoint.close()
    }
    try edit("UPDATE windows SET generation = 1")
    let checkpoint = try open(folder, job())
    #expect {
      try commit(checkpoint, [("a", 1)])
    } throws: {
      "\($0)".contains("table windows, row 0: generation is not 2")
    }
    #expect {
      _ = try CheckpointReader(path: path).table(of: Window(0), job: job())
    } throws: {
      "\($0)".contains("table windows, row 0: generation is 1, which is not in 2 to 2")
    }
  }

  @Test(
    "a window over its limit of groups is refused, and groups that were there do not count twice")
  func groupLimit() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 0])
    for _ in 0..<4 { try commit(checkpoint, [("a", 1), ("b", 1), ("c", 1)]) }
    #expect { try commit(checkpoint, [("d", 1)]) } throws: {
      "\($0)".contains("limits.groups_per_window is 3")
    }
  }

  @Test("passes over a gap at once when it stands there, or when it gets there")
  func gaps() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 10])
    try checkpoint.recordGap(
      PartitionRange(partition, OffsetRange(from: 10, to: 12)), reason: .skipped, now: 0)
    #expect(checkpoint.ledgers[partition]?.nextOffset == 12)
    try checkpoint.recordGap(
      PartitionRange(partition, OffsetRange(from: 14, to: 20)), reason: .skipped, now: 0)
    #expect(checkpoint.ledgers[partition]?.readable(end: 30) == OffsetRange(from: 12, to: 14))
    try commit(checkpoint, [("a", 1), ("a", 1)])
    #expect(checkpoint.ledgers[partition]?.nextOffset == 20)
    #expect(checkpoint.ledgers[partition]?.readable(end: 30) == OffsetRange(from: 20, to: 30))
  }

  @Test("goes on behind gaps that meet, in whatever order they were recorded")
  func adjacentGaps() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try open(folder, job())
      try checkpoint.start([partition: 5])
      try checkpoint.recordGap(
        PartitionRange(partition, OffsetRange(from: 6, to: 7)), reason: .skipped, now: 0)
      try checkpoint.recordGap(
        PartitionRange(partition, OffsetRange(from: 5, to: 6)), reason: .skipped, now: 0)
      #expect(checkpoint.ledgers[partition]?.nextOffset == 7)
      #expect(checkpoint.ledgers[partition]?.readable(end: 30) == OffsetRange(from: 7, to: 30))
    }
    #expect(
      try open(folder, job()).ledgers[partition]?.readable(end: 30) == OffsetRange(from: 7, to: 30))
  }

  @Test("lets one run in; the second is told who holds it")
  func lock() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    #expect { _ = try open(folder, job()) } throws: { error in
      guard case .locked(holder: "a test") = (error as? CheckpointError)?.code else { return false }
      return true
    }
    #expect(RunLock.holder(path: "\(folder.path)/calls.lock") == "a test")
    withExtendedLifetime(checkpoint) {}
  }

  @Test(
    """
    of a job whose meaning changed is refused with what changed; other changes render or publish \
    again
    """
  )
  func changes() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try open(folder, job())
      try checkpoint.start([partition: 0])
      try commit(checkpoint, [("a", 1)])
      try checkpoint.commitMarks([
        PublishMark(
          objectKey: "part-0.csv", revision: 1, etag: "e", byteCount: 1, renderedBy: "test",
          isUnsettled: false)
      ])
    }
    #expect { _ = try open(folder, job(measures: "total: sum(value), n: count()")) } throws: {
      "\($0)".contains("aggregate.measures: was total sum(value), is total sum(value), n count()")
    }
    do {
      _ = try open(folder, job(select: "share: 2.0 * total"))
      #expect(
        try CheckpointReader(path: "\(folder.path)/calls.sqlite").dirtyOutputs().map(\.objectKey)
          == ["part-0.csv"])
    }
    do {
      _ = try open(folder, job(select: "share: 2.0 * total", format: "json"))
      let reader = try CheckpointReader(path: "\(folder.path)/calls.sqlite")
      #expect(try reader.dirtyOutputs().map(\.objectKey) == ["part-0.json"])
      #expect(
        try reader.retiredObjects().map { "\($0.place)/\($0.objectKey)" } == ["file:out/part-0.csv"]
      )
    }
  }

  @Test("that is damaged, foreign, newer or another job's is refused and left as it is")
  func unusable() throws {
    let folder = try TemporaryFolder()
    func refusal(_ name: String = "calls") throws -> String {
      let before = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/calls.sqlite"))
      var message = ""
      do { _ = try open(folder, job(name)) } catch { message = "\(error)" }
      #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/calls.sqlite")) == before)
      return message
    }
    try folder.write(
      "this is no database, but it is longer than a header of SQLite would be, so it is looked at"
        .padding(
          toLength: 600, withPad: ".", startingAt: 0), to: "calls.sqlite")
    #expect(try refusal().contains("is damaged"))
    try FileManager.default.removeItem(atPath: "\(folder.path)/calls.sqlite")
    let foreign = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try foreign.write { try $0.execute(sql: "CREATE TABLE t (x)") }
    try foreign.close()
    #expect(try refusal().contains("is not a checkpoint of Tranche"))
    try FileManager.default.removeItem(atPath: "\(folder.path)/calls.sqlite")
    do { _ = try open(folder, job()) }
    let newer = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try newer.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('99')") }
    try newer.close()
    #expect(try refusal().contains("newer release"))
    let other = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try other.write {
      try $0.execute(
        sql:
          "DELETE FROM grdb_migrations WHERE identifier = '99'; UPDATE checkpoint SET job = 'other'"
      )
    }
    try other.close()
    var message = ""
    do { _ = try open(folder, job()) } catch { message = "\(error)" }
    #expect(message.contains("belongs to the job other"))
  }

  // Random kills once left a file that held the migrator's table and nothing else. Now a checkpoint
  // is renamed when it is whole.
  @Test(
    """
    whose first run was killed while it made the file is made by the next; an empty file is \
    none, and is refused
    """
  )
  func halfMade() throws {
    let folder = try TemporaryFolder()
    try folder.write("half", to: "calls.sqlite.new")
    do { #expect(try open(folder, job()).nextBatch == 1) }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/calls.sqlite.new"))
    for ending in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: "\(folder.path)/calls.sqlite\(ending)")
    }
    try folder.write("", to: "calls.sqlite")
    #expect { _ = try open(folder, job()) } throws: { "\($0)".contains("is damaged (it is empty)") }
    #expect(try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/calls.sqlite")).isEmpty)
  }

  // Found by killing runs at random for minutes: the change to the write-ahead log, on a file that
  // stood already, left a rollback journal, and every later run ended with "attempt to write a
  // readonly database".
  @Test("has its write-ahead log from the instant it exists")
  func writeAheadLog() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/calls.sqlite"
    nonisolated(unsafe) var seen: [[UInt8]] = []
    _ = try Checkpoint(job: job(), folder: folder.path, holder: "a test", now: 0, release: "test") {
      // File format write and read version: 2 is WAL (sqlite.org/fileformat2.html).
      if let data = FileManager.default.contents(atPath: path) { seen.append(Array(data[18...19])) }
    }
    #expect(seen.first == [2, 2])
  }

  /// As release 0.2 left it: rows that name their partition by source, topic and number. The
  /// identifiers are not in the order of the names.
  private func makeSchema2(_ folder: TemporaryFolder) throws {
    let queue = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
    try Checkpoint.migrator.migrate(queue, upTo: "2")
    try queue.write { database in
      try database.execute(
        sql: """
          INSERT INTO checkpoint VALUES (1, 'calls', '0.2', '', 3, 'id');
          INSERT INTO partitions VALUES
            (7, 'main', 't', 1, 0, 10), (3, 'main', 't', 0, 0, 20), (9, 'main', 't', 2, 5, 30);
          INSERT INTO gaps VALUES ('main', 't', 1, 4, 6, 'skipped', ''),
            ('main', 't', 1, 12, 14, 'skipped', ''), ('main', 't', 0, 5, 6, 'lost', '');
          INSERT INTO batches VALUES (1, '', 9, 9, 9, 0, '[]', 0), (2, '', 9, 6, 6, 3, '[]', 0);
          INSERT INTO rejects VALUES (2, 'main', 't', 1, 3, 0, 'malformed', NULL, x'31'),
            (2, 'main', 't', 2, 8, 0, 'malformed', NULL, x'32'),
            (2, 'main', 't', 0, 9, 0, 'malformed', NULL, x'33');
          INSERT INTO outputs (object_key, kind, number, revision)
            VALUES ('_tranche/rejects/batch=000000002.ndjson', 'rejects', 2, 1);
          INSERT INTO incidents (kind, source, topic, partition, next_offset, log_end, ranges,
              detail, noticed_at, last_seen_at, resolved_at, resolution)
            VALUES ('log_replaced', 'main', 't', 0, 20, 1, NULL, 'short', '', '', '', 'keep'),
              ('log_replaced', 'main', 't', 2, 30, 1, NULL, 'short', '', '', NULL, NULL);
          """)
      try Checkpoint.store(try job().canonicalSettings, in: database)
    }
    try queue.close()
  }

  @Test("of schema 2 is shown as it is, and keeps what hangs on each partition when it is migrated")
  func schema2() throws {
    let folder = try TemporaryFolder()
    try makeSchema2(folder)
    let path = "\(folder.path)/calls.sqlite"
    let before = try CheckpointReader(path: path, job: job()).status()
    #expect(
      before.gaps.map { "\($0.range) \($0.reason)" } == [
        "main/t[0] [5, 6) lost", "main/t[1] [4, 6) skipped", "main/t[1] [12, 14) skipped",
      ])
    #expect(before.incidents.map(\.partition.description) == ["main/t[2]"])
    #expect(before.keptOffsets == [partition: 20])
    #expect(before.partitions.map(\.ledger.nextOffset) == [20, 10, 30])
    #expect(before.rejectCounts == ["malformed": 3])
    #expect(before.recordCount == 15 && before.rejectedCount == 3 && before.tombstoneCount == 0)
    do {
      let checkpoint = try open(folder, job())
      #expect(checkpoint.ledgers.count == 3)
      #expect(try checkpoint.openIncidents() == before.incidents)
      #expect(try checkpoint.keptPartitions() == before.keptOffsets)
      #expect(try checkpoint.keepProgress(of: before.incidents[0].partition, now: 0))
    }
    let reader = try CheckpointReader(path: path, job: job())
    let after = try reader.status()
    #expect(after.gaps == before.gaps && after.partitions == before.partitions)
    #expect(after.rejectCounts == before.rejectCounts)
    #expect(after.recordCount == 15 && after.rejectedCount == 3 && after.tombstoneCount == 0)
    #expect(after.incidents.isEmpty && after.keptOffsets.count == 2)
    let output = try #require(try reader.dirtyOutputs().first)
    guard case .rejects(let rejects) = try reader.content(of: output, job: job()).content else {
      Issue.record("no rejects")
      return
    }
    #expect(
      rejects.map { "\($0.partition) \($0.offset) \($0.raw ?? [])" }
        == ["main/t[0] 9 [51]", "main/t[1] 3 [49]", "main/t[2] 8 [50]"])
    // What an older release did not keep is not there.
    #expect(rejects.allSatisfy { $0.key == nil && $0.timestampMilliseconds == nil })
  }

  @Test(
    "with a gap where none can be is damaged, and is not run",
    arguments: [(8, 12), (10, 12), (13, 15), (5, 7)])
  func impossibleGap(from: Int64, to: Int64) throws {
    let folder = try TemporaryFolder()
    try makeSchema2(folder)
    do { _ = try open(folder, job()) }
    let queue = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try queue.write {
      try $0.execute(
        sql: "INSERT INTO gaps VALUES (7, ?, ?, 'skipped', '')", arguments: [from, to])
    }
    try queue.close()
    #expect { _ = try open(folder, job()) } throws: {
      "\($0)".contains("table gaps, row 7, ")
    }
  }

  @Test("goes on in the newest incarnation of a partition, and shows the gaps of all")
  func incarnations() throws {
    let folder = try TemporaryFolder()
    try makeSchema2(folder)
    do { _ = try open(folder, job()) }
    let queue = try DatabaseQueue(path: "\(folder.path)/calls.sqlite")
    try queue.write {
      try $0.execute(
        sql: """
          INSERT INTO partitions (partition_id, source, topic, partition, incarnation, start_offset,
            next_offset)
          VALUES (1, 'main', 't', 1, 2, 0, 4)
          """)
    }
    try queue.close()
    let checkpoint = try open(folder, job())
    let partition = PartitionID(source: "main", topic: "t", partition: 1)
    #expect(checkpoint.ledgers[partition] == OffsetLedger(start: 0, nextOffset: 4))
    try checkpoint.recordGap(
      PartitionRange(partition, OffsetRange(from: 4, to: 5)), reason: .lost, now: 0)
    let status = try CheckpointReader(path: checkpoint.path).status()
    #expect(status.partitions.map(\.ledger.nextOffset) == [20, 5, 30])
    #expect(status.gaps.count { $0.range.partition == partition } == 3)
  }

  @Test("gets its write-ahead log back where a copy has lost it")
  func copiedWithoutLog() throws {
    let folder = try TemporaryFolder()
    do { _ = try open(folder, job()) }
    let path = "\(folder.path)/calls.sqlite"
    let copy = try DatabaseQueue(path: path)
    try copy.writeWithoutTransaction { try $0.execute(sql: "VACUUM INTO '\(path).copy'") }
    try copy.close()
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: "\(path).copy", toPath: path)
    func versions() -> [UInt8]? {
      FileManager.default.contents(atPath: path).map { Array($0[18...19]) }
    }
    #expect(versions() == [1, 1])
    do { #expect(try open(folder, job()).nextBatch == 1) }
    #expect(versions() == [2, 2])
  }

  // SQLite plays a log that it finds beside a database into it, and the log of a checkpoint that
  // was moved away stays behind after a kill.
  @Test("is not made beside the log of one that was moved away without it")
  func leftoverLog() throws {
    let folder = try TemporaryFolder()
    try folder.write("the log of another", to: "calls.sqlite-wal")
    #expect { _ = try open(folder, job()) } throws: {
      "\($0)".contains(
        "calls.sqlite-wal: belongs to a checkpoint that was moved or deleted without this file")
    }
    #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/calls.sqlite"))
    try FileManager.default.removeItem(atPath: "\(folder.path)/calls.sqlite-wal")
    #expect(try open(folder, job()).nextBatch == 1)
  }

  @Test("remembers a topic that was added, so that it cannot be taken away unseen")
  func addedTopic() throws {
    let folder = try TemporaryFolder()
    let grown = try job(topics: "t, u")
    do { _ = try open(folder, job()) }
    do {
      let checkpoint = try open(folder, grown)
      try checkpoint.start([partition: 0])
      try commit(checkpoint, [("a", 1)])
    }
    #expect { _ = try open(folder, job()) } throws: {
      "\($0)".contains("source.kafka[main].topics[u]: was read, is not there")
    }
  }

  @Test("on a file system of another machine is refused, by the mount that is nearest")
  func networkFileSystems() throws {
    let folder = try TemporaryFolder()
    let mounts =
      "/dev/root / ext4 rw 0 0\nserver:/x \(folder.path) nfs4 rw 0 0\nsshfs \(folder.path)/deep "
      + "fuse.sshfs rw 0 0\n"
    #expect(networkFileSystem(at: folder.path, mounts: mounts) == "nfs4")
    #expect(networkFileSystem(at: "/", mounts: mounts) == nil)
    try FileManager.default.createDirectory(
      atPath: folder.path + "/deep", withIntermediateDirectories: true)
    #expect(networkFileSystem(at: folder.path + "/deep", mounts: mounts) == "fuse.sshfs")
  }

  @Test("of a cluster that is another than before is refused")
  func cluster() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder, job())
    try checkpoint.confirmCluster(source: "main", clusterID: "A")
    try checkpoint.confirmCluster(source: "main", clusterID: "A")
    try checkpoint.start([partition: 0])
    try commit(checkpoint, [("a", 1)])
    #expect { try checkpoint.confirmCluster(source: "main", clusterID: "B") } throws: {
      "\($0)".contains("is another cluster than before")
    }
  }
}

// MARK: - Backfill

extension CheckpointTests {
  private func range(_ from: Offset, _ to: Offset) -> PartitionRange {
    PartitionRange(partition, OffsetRange(from: from, to: to))
  }

  /// Started at 10; 10 and 11 are read, and [12, 15) was passed over.
  private func started(_ folder: TemporaryFolder) throws -> Checkpoint {
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 10])
    try commit(checkpoint, [("a", 1), ("a", 2)])
    try checkpoint.recordGap(range(12, 15), reason: .skipped, now: 0)
    return checkpoint
  }

  private func rows(_ checkpoint: Checkpoint, _ sql: String) throws -> [String] {
    try checkpoint.queue.read { database in
      try Row.fetchAll(database, sql: sql).map { row in
        row.databaseValues.map { "\($0)" }.joined(separator: " ")
      }
    }
  }

  @Test(
    """
    counts a backfill's batches into the same windows, widens their lineage, and leaves progress \
    where it is
    """
  )
  func backfill() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try started(folder)
      let number = try checkpoint.addBackfill(
        [range(4, 8), range(12, 14)], goesFirst: false, now: 0)
      let next = BatchPlan(batch: 3, ranges: [range(6, 8)], backfill: number)
      try commit(checkpoint, [("a", 4), ("b", 8)], backfill: (number, 4), next: next)
      #expect(checkpoint.inFlight == next)
    }
    func check(_ checkpoint: Checkpoint) throws {
      let ledger = try #require(checkpoint.ledgers[partition])
      #expect(ledger.nextOffset == 16 && ledger.start == 10)
      #expect("\(ledger.backfilled)" == "[4, 8) [12, 14)")
      #expect("\(ledger.missing)" == "[14, 15)" && ledger.underWay.isEmpty)
      #expect(checkpoint.backfills == [])
    }
    do {
      let checkpoint = try open(folder, job())
      // The plan comes back as a backfill's.
      #expect(checkpoint.inFlight == BatchPlan(batch: 3, ranges: [range(6, 8)], backfill: 1))
      #expect(checkpoint.backfills.map(\.ranges) == [[range(6, 8), range(12, 14)]])
      try commit(checkpoint, [("a", 16), ("a", 32)], backfill: (1, 6))
      try commit(checkpoint, [("a", 64), ("a", 128)], backfill: (1, 12))
      try commit(checkpoint, [("a", 256)])
      try check(checkpoint)
    }
    let checkpoint = try open(folder, job())
    try check(checkpoint)
    let reader = try CheckpointReader(path: checkpoint.path)
    let table = try reader.table(of: Window(0), job: job())
    #expect(table[1].integers == [1 + 2 + 4 + 16 + 32 + 64 + 128 + 256, 8])
    #expect(
      try lineage(reader) == [
        Lineage(partition: partition, smallestOffset: 4, largestOffset: 15, recordCount: 9)
      ])
    #expect(
      try rows(checkpoint, "SELECT batch, backfill FROM batches") == [
        "1 NULL", "2 1", "3 1", "4 1", "5 NULL",
      ])
    // What is missing of the gap, and the request as it ended.
    #expect(
      try reader.status().gaps.map { "\($0.range) \($0.reason)" } == ["\(range(14, 15)) skipped"])
    #expect(
      try reader.backfills() == [
        StoredBackfill(
          request: BackfillRequest(number: 1, goesFirst: false, ranges: []),
          askedAt: "1970-01-01T00:00:00.000Z", offsetCount: 6, countedCount: 6, state: .done,
          unheld: [])
      ])
  }

  @Test("keeps backfilled ranges that touch as one row")
  func mergedRows() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 10)], goesFirst: false, now: 0)
    for from in stride(from: 0 as Offset, to: 10, by: 2) {
      try commit(checkpoint, [("a", 1), ("a", 1)], backfill: (number, from))
      #expect(
        try rows(checkpoint, "SELECT from_offset, to_offset FROM backfilled") == ["0 \(from + 2)"])
    }
    #expect(try rows(checkpoint, "SELECT * FROM backfill_ranges") == [])
  }

  @Test("takes requests that go first before the others, each in the order of asking")
  func requestOrder() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try started(folder)
      for (from, goesFirst) in [(0, false), (2, true), (4, false), (6, true)] as [(Offset, Bool)] {
        _ = try checkpoint.addBackfill([range(from, from + 1)], goesFirst: goesFirst, now: 0)
      }
      #expect(checkpoint.backfills.map(\.number) == [2, 4, 1, 3])
    }
    let checkpoint = try open(folder, job())
    #expect(checkpoint.backfills.map(\.number) == [2, 4, 1, 3])
    #expect(
      try CheckpointReader(path: checkpoint.path).status().backfills.map(\.request)
        == checkpoint.backfills)
  }

  @Test("tells monitoring what status tells, though it looks at no object that is published")
  func figures() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    _ = try checkpoint.addBackfill([range(0, 4)], goesFirst: false, now: 0)
    let reader = try CheckpointReader(path: checkpoint.path)
    let (figures, status) = (try reader.figures(), try reader.status())
    #expect(figures.lastCommit == status.lastCommit)
    #expect(figures.recordCount == status.recordCount)
    #expect(figures.rejectCounts == status.rejectCounts)
    #expect(figures.dirtyCount == status.dirtyOutputs.count)
    #expect(figures.incidents == status.incidents.map(\.kind))
    #expect(figures.backfillLeft == 4)
    #expect(
      figures.newestTimestamps
        == Dictionary(
          uniqueKeysWithValues: status.partitions.map { ($0.partition, $0.newestTimestamp) }))
    #expect(figures.waitingSince == (try reader.waitingSince()))
  }

  @Test("cancels what is left of a request, its plan too, and keeps what was counted")
  func cancelled() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 4)], goesFirst: false, now: 0)
    try commit(
      checkpoint, [("a", 1), ("a", 1)], backfill: (number, 0),
      next: BatchPlan(batch: 3, ranges: [range(2, 4)], backfill: number))
    #expect(try checkpoint.cancelBackfill(7, now: 0) == nil)
    #expect(try checkpoint.cancelBackfill(number, now: 0) == [range(2, 4)])
    #expect(checkpoint.inFlight == nil)
    #expect(try rows(checkpoint, "SELECT count(*) FROM in_flight") == ["0"])
    let ledger = try #require(checkpoint.ledgers[partition])
    #expect("\(ledger.backfilled)" == "[0, 2)" && "\(ledger.backfillable)" == "[2, 10) [12, 15)")
    let stored = try #require(try CheckpointReader(path: checkpoint.path).backfills().first)
    #expect(stored.state == .cancelled && stored.countedCount == 2 && stored.offsetCount == 4)
    // What was cancelled can be asked for again.
    let again = try checkpoint.addBackfill([range(2, 4)], goesFirst: false, now: 0)
    try commit(checkpoint, [("a", 1), ("a", 1)], backfill: (again, 2))
    #expect(try rows(checkpoint, "SELECT from_offset, to_offset FROM backfilled") == ["0 4"])
  }

  @Test("names what the broker did not hold of a request, merged, and ends with its last range")
  func leftOut() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 6)], goesFirst: false, now: 0)
    try checkpoint.leaveOut([range(0, 2)], ofBackfill: number, now: 0)
    try checkpoint.leaveOut([range(2, 3)], ofBackfill: number, now: 0)
    #expect(checkpoint.backfills.map(\.ranges) == [[range(3, 6)]])
    try commit(checkpoint, [("a", 1)], backfill: (number, 3))
    try checkpoint.leaveOut([range(4, 6)], ofBackfill: number, now: 0)
    #expect(checkpoint.backfills == [])
    let stored = try #require(try CheckpointReader(path: checkpoint.path).backfills().first)
    #expect(stored.state == .done && stored.countedCount == 1)
    #expect(stored.unheld == [range(0, 3), range(4, 6)])
    #expect("\(try #require(checkpoint.ledgers[partition]).backfilled)" == "[3, 4)")
  }

  @Test(
    "gives up what requests have left of a partition whose log was replaced, once that is decided",
    arguments: ["keep", "gap", "restart"])
  func replacedLog(choice: String) throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try started(folder)
      let number = try checkpoint.addBackfill([range(0, 4)], goesFirst: false, now: 0)
      try commit(checkpoint, [("a", 1)], backfill: (number, 0))
      try checkpoint.noteReplacedLog(partition, logEnd: 20, cause: .logEnded, now: 0)
      #expect(checkpoint.backfills.count == 1)
      let wasOpen =
        switch choice {
        case "keep": try checkpoint.keepProgress(of: partition, now: 0)
        case "gap": try checkpoint.passOverReplacedLog(range(15, 20), now: 0)
        default: try checkpoint.restart(partition, from: 0, now: 0)
        }
      #expect(wasOpen && checkpoint.backfills.isEmpty)
      #expect(checkpoint.ledgers[partition]?.underWay.isEmpty == true)
    }
    let checkpoint = try open(folder, job())
    #expect(checkpoint.backfills.isEmpty)
    let ledger = try #require(checkpoint.ledgers[partition])
    #expect("\(ledger.backfilled)" == (choice == "restart" ? "" : "[0, 1)"))
    let stored = try #require(try CheckpointReader(path: checkpoint.path).backfills().first)
    #expect(stored.state == .done && stored.countedCount == 1 && stored.unheld == [range(1, 4)])
  }

  @Test("refuses a batch of a backfill that is not what is left of its request")
  func foreignBatch() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 4)], goesFirst: false, now: 0)
    let wrong: [(number: Int64, from: Offset)] = [(number, 1), (number, 5), (number + 1, 0)]
    for wrong in wrong {
      #expect {
        try commit(checkpoint, [("a", 1), ("a", 1)], backfill: wrong)
      } throws: {
        "\($0)".contains("is not left of backfill") || "\($0)".contains("is not open")
      }
    }
    #expect(checkpoint.nextBatch == 2)
    #expect(try rows(checkpoint, "SELECT count(*) FROM backfilled") == ["0"])
  }

  @Test("judges rejects of backfills among themselves, and those of new messages likewise")
  func backfillRejects() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 6)], goesFirst: false, now: 0)
    try commit(checkpoint, [("a", 1)], backfill: (number, 0), rejectedCount: 5)
    try commit(checkpoint, [("a", 1)], rejectedCount: 1)
    try commit(checkpoint, [("a", 1)], backfill: (number, 1), rejectedCount: 7)
    let backfills = try checkpoint.rejectHistory(recordCount: 1_000, ofBackfills: true)
    #expect(backfills == .init(judgedCount: 14, rejectedCount: 12, hasDecoded: true))
    let live = try checkpoint.rejectHistory(recordCount: 1_000, ofBackfills: false)
    #expect(live == .init(judgedCount: 4, rejectedCount: 1, hasDecoded: true))
  }

  @Test(
    """
    keeps an incident of a backfill's rejects until its offset is counted or given up, and not \
    just because progress lies behind it
    """
  )
  func backfillIncident() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 6)], goesFirst: false, now: 0)
    let stop = RejectStop(
      batch: 2, record: 0, reason: "badValue", field: nil, text: nil, rule: .share,
      rejectedCount: 1,
      judgedCount: 1, maxShare: 0.1)
    func note() throws {
      try checkpoint.noteRejects(
        of: BatchPlan(batch: 2, ranges: [range(0, 4)], backfill: number), first: partition,
        offset: 2, stop: stop, now: 0)
    }
    try note()
    try commit(checkpoint, [("a", 1)])
    try commit(checkpoint, [("a", 1)], backfill: (number, 0))
    #expect(try checkpoint.openIncidents().count == 1)
    #expect(try checkpoint.acceptRejects(now: 0) == [range(0, 4)])
    #expect(try checkpoint.acceptedRanges() == [range(0, 4)])
    try note()
    try commit(checkpoint, [("a", 1), ("a", 1), ("a", 1)], backfill: (number, 1))
    #expect(try checkpoint.openIncidents().isEmpty)
    #expect(try checkpoint.acceptedRanges() == [])
    // And what is cancelled needs no decision.
    try checkpoint.noteRejects(
      of: BatchPlan(batch: 2, ranges: [range(4, 6)], backfill: number), first: partition,
      offset: 4, stop: stop, now: 0)
    _ = try checkpoint.cancelBackfill(number, now: 0)
    #expect(try checkpoint.openIncidents().isEmpty)
  }

  @Test("forgets of a partition that is counted anew whose rejects were accepted, or to be")
  func restartedRejects() throws {
    for isAccepted in [true, false] {
      let folder = try TemporaryFolder()
      let checkpoint = try started(folder)
      let stop = RejectStop(
        batch: 1, record: 0, reason: "badValue", field: nil, text: nil, rule: .share,
        rejectedCount: 1, judgedCount: 1, maxShare: 0.1)
      let next = try #require(checkpoint.ledgers[partition]?.nextOffset)
      try checkpoint.noteRejects(
        of: BatchPlan(batch: 1, ranges: [range(next, next + 2)]), first: partition, offset: next,
        stop: stop, now: 0)
      if isAccepted { #expect(try checkpoint.acceptRejects(now: 0).count == 1) }
      try checkpoint.noteReplacedLog(partition, logEnd: 0, cause: .logEnded, now: 0)
      #expect(try checkpoint.restart(partition, from: 0, now: 0))
      #expect(try checkpoint.acceptRejects(now: 0) == [])
      #expect(try checkpoint.acceptedRanges() == [])
    }
  }

  @Test(
    """
    keeps an open incident of a backfill's rejects beside one of new messages, each with the time \
    at which it was noticed
    """
  )
  func twoIncidents() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try started(folder)
    let number = try checkpoint.addBackfill([range(0, 6)], goesFirst: false, now: 0)
    let stop = RejectStop(
      batch: 2, record: 0, reason: "badValue", field: nil, text: nil, rule: .share,
      rejectedCount: 1, judgedCount: 1, maxShare: 0.1)
    func note(_ read: PartitionRange, _ offset: Offset, backfill: Int64? = nil, now: Int64) throws {
      try checkpoint.noteRejects(
        of: BatchPlan(batch: 2, ranges: [read], backfill: backfill), first: partition,
        offset: offset, stop: stop, now: now)
    }
    func open() throws -> [String] {
      try checkpoint.openIncidents().map {
        "\($0.nextOffset) \($0.noticedAt.suffix(2)) \($0.lastSeenAt.suffix(2))"
      }
    }
    try note(range(0, 4), 2, backfill: number, now: 1)
    try note(range(15, 20), 16, now: 2)
    #expect(try open() == ["2 1Z 1Z", "16 2Z 2Z"])
    try note(range(0, 4), 2, backfill: number, now: 3)
    try note(range(15, 20), 16, now: 4)
    #expect(try open() == ["2 1Z 3Z", "16 2Z 4Z"])
    // Another one of the same kind is noticed anew, and takes its place.
    try note(range(15, 20), 17, now: 5)
    #expect(try open() == ["2 1Z 3Z", "17 5Z 5Z"])
    #expect(try checkpoint.acceptRejects(now: 6) == [range(0, 4), range(15, 20)])
  }

  @Test("whose backfills share offsets with what runs count, or with each other, is damaged")
  func damagedBackfills() throws {
    let edits = [
      "INSERT INTO backfilled VALUES (1, 9, 11)", "INSERT INTO backfilled VALUES (1, 12, 16)",
      "INSERT INTO backfilled VALUES (1, 1, 5)", "INSERT INTO backfilled VALUES (9, 0, 1)",
      "INSERT INTO backfill_ranges VALUES (1, 1, 10, 11, 'left')",
      "INSERT INTO backfill_ranges VALUES (1, 1, 4, 6, 'left')",
      "INSERT INTO backfill_ranges VALUES (1, 1, 5, 6, 'left')",
    ]
    for edit in edits {
      let folder = try TemporaryFolder()
      do {
        let checkpoint = try started(folder)
        let number = try checkpoint.addBackfill([range(2, 5)], goesFirst: false, now: 0)
        try commit(checkpoint, [("a", 1)], backfill: (number, 2))
        try checkpoint.queue.inDatabase { database in
          try database.execute(sql: "PRAGMA foreign_keys = OFF")
          try database.execute(sql: edit)
        }
      }
      #expect { _ = try open(folder, job()) } throws: {
        "\($0)".contains("backfill") && "\($0)".contains("is damaged")
      }
    }
  }
}
