import Foundation
import GRDB
import Jobs
import Offsets
import TestSupport
import Testing

import struct Tables.Reject

@testable import Checkpoints

private let partition = PartitionID(source: "main", topic: "t", partition: 0)

private func job(history: Int) throws -> Job {
  try JobFile.parse(
    text: """
      name: calls
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        fields: { value: int64 }
      window: global
      aggregate: { by: [value], measures: { calls: count() } }
      output: { to: "file:out", format: csv }
      checkpoint: { history: \(history) }
      """, path: "x.yaml", environment: [:], readFile: { _ in nil })
}

private func open(
  _ folder: String, history: Int, step: @escaping @Sendable () -> Void = {}
) throws -> Checkpoint {
  try Checkpoint(
    job: job(history: history), folder: folder, holder: "a test", now: 0, release: "test",
    step: step)
}

/// Commits batches of ten offsets each, without state: of new messages, or of a backfill.
private func commit(
  _ checkpoint: Checkpoint, _ count: Int, backfill: Int64? = nil, from: Offset = 0,
  rejects: [Reject] = []
) throws {
  for number in 0..<Int64(count) {
    let first = try backfill == nil ? #require(checkpoint.ledgers[partition]).nextOffset : from
    let start = backfill == nil ? first : first + number * 10
    let range = PartitionRange(partition, OffsetRange(from: start, to: start + 10))
    var batch = BatchCommit(
      plan: BatchPlan(batch: checkpoint.nextBatch, ranges: [range], backfill: backfill),
      now: checkpoint.nextBatch * 1_000)
    batch.recordCount = 7
    batch.countedCount = 5
    batch.rejectCounts = [.malformed: 3]
    batch.acceptedCount = 1
    batch.byteCount = 400
    batch.steps = [BatchStep(name: "read", microseconds: 12)]
    batch.rejects = rejects
    try checkpoint.commit(batch)
  }
}

/// As if so many batches of new messages had been committed.
private func seed(_ folder: String, _ count: Int) throws {
  let queue = try DatabaseQueue(path: "\(folder)/calls.sqlite")
  try queue.write { database in
    try database.execute(
      sql: """
        WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < \(count))
        INSERT INTO batches (batch, committed_at, offsets, records, counted, rejected, ranges,
            tombstones)
          SELECT n, '1970-01-01T00:00:00.000Z', 10, 7, 5, 3,
            '[{"source":"main","topic":"t","ranges":[[0,0,10]]}]', 2 FROM number;
        UPDATE batch_totals SET batches = \(count), offsets = \(10 * count),
          records = \(7 * count), counted = \(5 * count), rejected = \(3 * count),
          tombstones = \(2 * count)
          WHERE of = 'all';
        UPDATE checkpoint SET next_batch = \(count + 1);
        """)
  }
}

/// Numbers of the batches that have rows.
private func kept(_ folder: String) throws -> [Int64] {
  let queue = try DatabaseQueue(path: "\(folder)/calls.sqlite")
  return try queue.read {
    try Int64.fetchAll($0, sql: "SELECT batch FROM batches ORDER BY batch")
  }
}

/// The sums over all batches less those over pruned ones, and what the rows make.
private func sums(_ folder: String) throws -> (difference: [Int64], rows: [Int64]) {
  let queue = try DatabaseQueue(path: "\(folder)/calls.sqlite")
  return try queue.read { database in
    func numbers(_ sql: String) throws -> [Int64] {
      let row = try #require(try Row.fetchOne(database, sql: sql))
      return row.databaseValues.map { Int64.fromDatabaseValue($0) ?? -1 }
    }
    let columns = [
      "batches", "offsets", "records", "counted", "rejected", "accepted", "tombstones",
    ]
    let differences = columns.map {
      "sum(CASE of WHEN 'all' THEN \($0) ELSE -\($0) END)"
    }.joined(separator: ", ")
    return (
      try numbers("SELECT \(differences) FROM batch_totals"),
      try numbers(
        "SELECT count(*), "
          + columns.dropFirst().map { "coalesce(sum(\($0)), 0)" }
          .joined(separator: ", ") + " FROM batches")
    )
  }
}

@Suite("The history of batches")
struct HistoryTests {
  @Test("lists the newest batches first, with what they read and how long their steps took")
  func list() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 10)
    try checkpoint.start([partition: 100])
    try commit(checkpoint, 3)
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    var batches: [CommittedBatch] = []
    try reader.forEachBatch(newest: 2) { batches.append($0) }
    #expect(batches.map(\.batch) == [3, 2])
    let newest = try #require(batches.first)
    #expect(newest.ranges.map(\.description) == ["main/t[0] [120, 130)"])
    #expect(newest.committedAt == "1970-01-01T00:00:03.000Z" && newest.backfill == nil)
    #expect(newest.offsetCount == 10 && newest.recordCount == 7 && newest.countedCount == 5)
    #expect(newest.rejectedCount == 3 && newest.acceptedCount == 1 && newest.byteCount == 400)
    #expect(newest.steps == [BatchStep(name: "read", microseconds: 12)])
  }

  @Test("lists all batches over several pages")
  func pages() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 10_000)
    try seed(folder.path, 1_003)
    var numbers: [Int64] = []
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    try reader.forEachBatch(newest: nil) { numbers.append($0.batch) }
    #expect(numbers == (1...1_003).reversed().map { Int64($0) })
  }

  @Test("is pruned to the newest batches, and the totals of all of them stay")
  func pruned() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 20)
    try checkpoint.start([partition: 0])
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    // A tenth more than are kept wait, so that runs of one batch need no second transaction.
    try commit(checkpoint, 22)
    #expect(try !checkpoint.pruneHistory())
    try commit(checkpoint, 1)
    #expect(try checkpoint.pruneHistory() && !checkpoint.pruneHistory())
    #expect(try kept(folder.path) == Array(4...23))
    let status = try reader.status()
    #expect(status.recordCount == 23 * 7 && status.rejectedCount == 23 * 3)
    #expect(status.lastCommit?.batch == 23 && status.nextBatch == 24)
    let totals = try reader.batchTotals()
    #expect(totals.all.batchCount == 23 && totals.pruned.batchCount == 3)
    #expect(totals.all.offsetCount == 230 && totals.pruned.acceptedCount == 3)
    let sums = try sums(folder.path)
    #expect(sums.difference == sums.rows)
  }

  @Test(
    "keeps batches of new messages and of backfills alike, so that neither drives out the other")
  func kinds() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 3)
    try checkpoint.start([partition: 1_000])
    let request = PartitionRange(partition, OffsetRange(from: 0, to: 900))
    let number = try checkpoint.addBackfill([request], goesFirst: false, now: 0)
    try commit(checkpoint, 5)
    try commit(checkpoint, 40, backfill: number)
    while try checkpoint.pruneHistory() {}
    #expect(try kept(folder.path) == [3, 4, 5, 43, 44, 45])
    // What is asked of old batches is answered as before: since when new messages wait, how the
    // newest of each kind decoded, and whether any record ever did.
    #expect(try checkpoint.waitingSince() == 5_000)
    let live = try checkpoint.rejectHistory(recordCount: 18, ofBackfills: false)
    #expect(live.judgedCount == 18 && live.rejectedCount == 4 && live.hasDecoded)
    let old = try checkpoint.rejectHistory(recordCount: 1_000, ofBackfills: true)
    #expect(old.judgedCount == 27)
  }

  @Test("is pruned in pieces: whoever dies between two of them leaves totals that add up")
  func pieces() throws {
    let folder = try TemporaryFolder()
    _ = try open(folder.path, history: 10_000)
    try seed(folder.path, 3_500)
    // At each durable step the files are what a process that was killed there leaves.
    let folders = Folders()
    let path = folder.path
    let checkpoint = try open(path, history: 10) {
      let copy = "\(path)-\(folders.count)"
      try? FileManager.default.copyItem(atPath: path, toPath: copy)
      folders.append(copy)
    }
    defer { for copy in folders.all { try? FileManager.default.removeItem(atPath: copy) } }
    while try checkpoint.pruneHistory() {}
    #expect(try kept(path) == Array(3_491...3_500))
    let copies = folders.all.suffix(4)
    #expect(try copies.map { try kept($0).count } == [2_500, 1_500, 500, 10])
    for copy in copies {
      let sums = try sums(copy)
      #expect(sums.difference == sums.rows)
      let next = try open(copy, history: 10)
      while try next.pruneHistory() {}
      #expect(try kept(copy) == Array(3_491...3_500))
    }
  }

  private final class Folders: @unchecked Sendable {
    // @unchecked: of one thread.
    private(set) var all: [String] = []
    var count: Int { all.count }
    func append(_ folder: String) { all.append(folder) }
  }

  @Test("is added up when an older file is migrated, and status then looks at no row of the past")
  func migrated() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/calls.sqlite"
    let queue = try DatabaseQueue(path: path)
    try queue.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = WAL") }
    try Checkpoint.migrator.migrate(queue, upTo: "9")
    try queue.write { database in
      try database.execute(
        sql: """
          INSERT INTO checkpoint (id, job, created_by, created_at, next_batch, checkpoint_id)
            VALUES (1, 'calls', '0.3', '1970-01-01T00:00:00.000Z', 41, 'id');
          INSERT INTO partitions (partition_id, source, topic, partition, start_offset, next_offset)
            VALUES (1, 'main', 't', 0, 0, 400);
          WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 40)
            INSERT INTO batches (batch, committed_at, offsets, records, counted, rejected, ranges)
            SELECT n, '1970-01-01T00:00:00.000Z', 10, n, 5, 2,
              '[{"source":"main","topic":"t","ranges":[[0,0,10]]}]' FROM number;
          INSERT INTO outputs (object_key, kind, number, revision, published_revision)
            VALUES ('part-0.csv', 'window', 0, 1, 1);
          """)
      try Generation(1, try job(history: 10).stateLayout).create(in: database)
      try Checkpoint.store(try job(history: 10).canonicalSettings, in: database)
    }
    try queue.close()
    func status() throws -> CheckpointStatus {
      try CheckpointReader(path: path, job: job(history: 10)).status()
    }
    let before = try status()
    #expect(before.recordCount == 820 && before.rejectedCount == 80 && before.windowCount == 1)
    _ = try open(folder.path, history: 10).pruneHistory()
    let after = try status()
    #expect(after.recordCount == 820 && after.rejectedCount == 80 && after.windowCount == 1)
    #expect(try kept(folder.path) == Array(31...40))
    // Batches of an older release have neither bytes nor steps.
    var newest: CommittedBatch?
    let reader = try CheckpointReader(path: path, job: job(history: 10))
    try reader.forEachBatch(newest: 1) { newest = $0 }
    #expect(newest?.byteCount == nil && newest?.steps == [] && newest?.recordCount == 40)
  }

  @Test("costs status nothing: none of its queries goes through all batches or all objects")
  func queries() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 10)
    try checkpoint.start([partition: 0])
    try commit(checkpoint, 3)
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    let queries = Queries()
    reader.queue.inDatabase { $0.trace { queries.append($0.expandedDescription) } }
    _ = try reader.status()
    _ = try reader.figures()
    reader.queue.inDatabase { $0.trace(options: []) }
    let asked = queries.all.filter { $0.hasPrefix("SELECT") }
    #expect(asked.contains { $0.contains("FROM outputs") && $0.contains("IS NOT TRUE") })
    for query in asked {
      let plan = try reader.queue.inDatabase {
        try Row.fetchAll($0, sql: "EXPLAIN QUERY PLAN \(query)").map { $0["detail"] as String }
      }
      for line in plan where line.hasPrefix("SCAN batches") || line.hasPrefix("SCAN outputs") {
        // By rowid or by an index, a query of one row ends with the first.
        let isShort =
          query.contains("LIMIT 1") || line.contains("USING") && line.contains("outputs_")
        #expect(isShort, "\(query): \(line)")
      }
    }
  }

  private final class Queries: @unchecked Sendable {
    // @unchecked: GRDB calls from the database's queue, which is waited for.
    private(set) var all: [String] = []
    func append(_ query: String) { all.append(query) }
  }

  @Test("counts windows with each that gets an object, and with each whose object is forgotten")
  func windowCount() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try open(folder.path, history: 10)
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    func change(_ sql: String) throws -> Int64 {
      try checkpoint.queue.write { try $0.execute(sql: sql) }
      return try reader.status().windowCount
    }
    let insert = "INSERT INTO outputs (object_key, kind, number, revision) VALUES"
    let upsert = "ON CONFLICT DO UPDATE SET revision = revision + 1"
    #expect(try change("\(insert) ('part-0.csv', 'window', 0, 1) \(upsert)") == 1)
    #expect(try change("\(insert) ('part-0.csv', 'window', 0, 1) \(upsert)") == 1)
    #expect(
      try change("\(insert) ('_tranche/rejects/batch=000000001.ndjson', 'rejects', 1, 1)") == 1)
    #expect(try change("DELETE FROM outputs WHERE kind = 'window'") == 0)
  }
}

@Suite("The rejects that a checkpoint keeps")
struct KeptRejectTests {
  private func reject(_ offset: Offset, _ record: Int = 0, raw: [UInt8]? = [0x78]) -> Reject {
    Reject(
      partitionIndex: 0, offset: offset, record: record,
      reason: record == 0 ? .malformed : .wrongType,
      field: nil, raw: raw, key: nil, timestampMilliseconds: nil, headers: nil, text: nil)
  }

  /// Batches of ten offsets, each with rejects at its first.
  private func checkpoint(
    _ folder: TemporaryFolder, batches: Int, rejectCount: Int = 2, raw: [UInt8]? = [0x78]
  ) throws -> Checkpoint {
    let checkpoint = try open(folder.path, history: 10)
    try checkpoint.start([partition: 0])
    for number in 0..<Int64(batches) {
      let rejects = (0..<rejectCount).map { reject(number * 10, $0, raw: raw) }
      try commit(checkpoint, 1, rejects: rejects)
    }
    return checkpoint
  }

  private func all(
    _ checkpoint: Checkpoint, _ choice: RejectChoice = RejectChoice(), newestFirst: Bool = true,
    limit: Int64? = nil
  ) throws -> [String] {
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    var found: [String] = []
    try reader.forEachReject(choice, newestFirst: newestFirst, limit: limit) { page in
      found += page.map { "\($0.batch) \($0.offset).\($0.record)" }
    }
    return found
  }

  private func publish(_ checkpoint: Checkpoint, isUnsettled: Bool = false) throws {
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    try checkpoint.commitMarks(
      try reader.dirtyOutputs().map {
        PublishMark(
          objectKey: $0.objectKey, revision: $0.revision, etag: "etag", byteCount: 1,
          renderedBy: "a test", isUnsettled: isUnsettled)
      })
  }

  @Test("are listed newest first or oldest first, by batch, by reason, and up to a limit")
  func list() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try checkpoint(folder, batches: 3)
    #expect(try all(checkpoint) == ["3 20.1", "3 20.0", "2 10.1", "2 10.0", "1 0.1", "1 0.0"])
    #expect(try all(checkpoint, newestFirst: false) == all(checkpoint).reversed())
    #expect(try all(checkpoint, limit: 3) == ["3 20.1", "3 20.0", "2 10.1"])
    #expect(try all(checkpoint, RejectChoice(batch: 2)) == ["2 10.1", "2 10.0"])
    #expect(
      try all(checkpoint, RejectChoice(reason: "wrongType")) == ["3 20.1", "2 10.1", "1 0.1"])
  }

  @Test("are read in pages of a bounded size, and none is left out or comes twice")
  func pages() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try checkpoint(
      folder, batches: 3, rejectCount: 700, raw: [UInt8](repeating: 0x78, count: 20_000))
    for newestFirst in [true, false] {
      let found = try all(checkpoint, newestFirst: newestFirst)
      #expect(found.count == 2_100 && Set(found).count == 2_100)
    }
  }

  @Test("are pruned by whole batches whose object the store has, and counts by reason stay")
  func prune() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try checkpoint(folder, batches: 3)
    // The objects are not published yet: their rows are what they are made of.
    var pruned = try checkpoint.pruneRejects(upTo: 2, deletesObjects: false)
    #expect(pruned == PrunedRejects(rejectCount: 0, batchCount: 0, waitingBatchCount: 2))
    try publish(checkpoint, isUnsettled: true)
    pruned = try checkpoint.pruneRejects(upTo: 2, deletesObjects: false)
    #expect(pruned.batchCount == 0 && pruned.waitingBatchCount == 2)
    let reader = try CheckpointReader(path: checkpoint.path, job: checkpoint.job)
    for _ in 0..<2 { try checkpoint.settle(try reader.unsettledOutputs().map(\.objectKey)) }
    pruned = try checkpoint.pruneRejects(upTo: 2, deletesObjects: false)
    #expect(pruned == PrunedRejects(rejectCount: 4, batchCount: 2, waitingBatchCount: 0))
    #expect(try all(checkpoint) == ["3 20.1", "3 20.0"])
    #expect(try reader.status().rejectCounts == ["malformed": 9])
    #expect(try reader.keptRejectCounts() == ["malformed": 1, "wrongType": 1])
    #expect(
      try reader.objectKeys(of: checkpoint.job) == ["_tranche/rejects/batch=000000003.ndjson"])
    #expect(try reader.retiredObjects().isEmpty)
    pruned = try checkpoint.pruneRejects(upTo: 3, deletesObjects: true)
    #expect(pruned.rejectCount == 2)
    #expect(
      try reader.retiredObjects().map(\.objectKey) == ["_tranche/rejects/batch=000000003.ndjson"])
  }

  @Test("are pruned in pieces: whoever dies between two has forgotten whole batches")
  func pieces() throws {
    let folder = try TemporaryFolder()
    do {
      let checkpoint = try checkpoint(folder, batches: 5, rejectCount: 4_000)
      try publish(checkpoint)
    }
    var left: [[Int64]] = []
    let path = folder.path
    nonisolated(unsafe) var seen: [[Int64]] = []
    let checkpoint = try open(path, history: 10) {
      let queue = try? DatabaseQueue(path: "\(path)/calls.sqlite")
      let batches = try? queue?.read { database in
        try Row.fetchAll(
          database,
          sql: """
            SELECT outputs.number, count(*) FROM outputs JOIN rejects ON batch = number
            WHERE kind = 'rejects' GROUP BY 1
            """
        ).filter { $0[1] == 4_000 }.map { $0[0] as Int64 }
      }
      seen.append(batches ?? [])
    }
    seen = []
    _ = try checkpoint.pruneRejects(upTo: 5, deletesObjects: false)
    left = seen
    #expect(left == [[3, 4, 5], [5], []])
  }
}
