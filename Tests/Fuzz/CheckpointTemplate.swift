import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import ObjectStorage
import Offsets
import Synchronization
import TestSupport
import Trials

/// A job, and its checkpoint as a run left it that died in its middle.
struct CheckpointTemplate {
  let job: Job
  /// The file without constraints, and the schema that gives them back.
  let path: String
  let schema: [String: String]
  /// Every column of every table of ours.
  let columns: [(table: String, column: String)]
  /// What stood in the stores when the run died.
  let objects: [String: [String: [UInt8]]]

  private static let computations = [
    """
    window: { tumbling: 1m }
    where: v >= 0
    aggregate:
      by: [k, name]
      measures:
        { calls: count(), total: sum(v), mean: avg(price), most: max(price), first: min(name) }
    select: { percentage: 100.0 * total / sum(total) OVER () }
    output: { to: "file:out", format: parquet, publish: run_end }
    """,
    """
    window: global
    aggregate: { by: [name, at], measures: { calls: count(), spent: sum(price) } }
    output: { to: "file:out", format: csv }
    """,
    """
    where: v >= 0
    output: { to: "file:out", format: json, keep: each }
    """,
    """
    window: batch
    aggregate: { by: [k], measures: { calls: count() } }
    output: { to: "file:out", format: csv }
    """,
  ]
  static var count: Int { computations.count }

  static func job(_ index: Int) throws -> Job {
    try JobFile.parse(
      text: """
        name: fuzz\(index)
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t, u] }]
          on_data_loss: skip
          format: csv
          fields:
            { k: "int32?", v: int64, name: "string?", price: "decimal(9,2)", at: "timestamp?" }
        trigger: { max_offsets: 7 }
        \(computations[index])
        rejects: { max_share: 100% }
        """, path: "fuzz.yaml", environment: [:], readFile: { _ in nil })
  }

  /// The records of every run: some more than the template has read.
  static func cluster() -> MemoryCluster {
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 2)
    cluster.create("u", partitionCount: 1)
    for index in 0..<60 {
      func nullable(_ value: String, isNull: Bool) -> String { isNull ? "\\N" : value }
      let fields = [
        nullable("\(index % 4)", isNull: index % 3 == 0), "\(index)",
        nullable("name \(index % 3)", isNull: index % 5 == 0), "\(index).25",
        nullable("2026-11-23T10:0\(index % 10):00Z", isNull: index % 7 == 0),
      ]
      let text = index % 13 == 5 ? "oops\n" : fields.joined(separator: ",") + "\n"
      cluster.topics[index % 4 == 3 ? "u" : "t"]?[index % 4 == 1 ? 1 : 0].append(
        Array(text.utf8), timestampMilliseconds: Int64(index) * 10_000)
    }
    return cluster
  }

  /// Makes the checkpoint of a job in a folder, by a run that dies after its fifth commit.
  init(_ index: Int, folder: String) throws {
    job = try Self.job(index)
    let original = Checkpoint.path(ofJob: job.name, folder: folder)
    let files = FileManager.default
    let path = "\(folder)/\(job.name).template"
    self.path = path
    let left = Mutex<[String: [String: [UInt8]]]?>(nil)
    do {
      let checkpoint = try Checkpoint(
        job: job, folder: folder, holder: "fuzz", now: 0, release: "fuzz")
      let places = MemoryPlaces()
      var options = runOptions()
      options.onProgress = { progress in
        guard progress.batchCount == 5 else { return }
        // What a death at this instant leaves, merged by whoever opens it next.
        for ending in ["", "-wal"] {
          try? files.copyItem(atPath: original + ending, toPath: path + ending)
        }
        left.withLock { $0 = places.all }
      }
      let run = try Run(
        job: job, checkpoint: checkpoint, sources: [MemorySource("main", Self.cluster())],
        storeAt: { places.store(at: $0.text) }, options: options, logger: quietLogger())
      if let error = run.execute().errors.first { throw error }
    }
    objects = left.withLock { $0 } ?? [:]
    let database = try HostileDatabase(path: path)
    try database.execute(
      """
      UPDATE outputs SET checks_left = 2
        WHERE object_key IN (SELECT object_key FROM outputs LIMIT 2);
      INSERT INTO retired_objects (place, object_key)
        VALUES ('file:former', 'part-0.csv'), ('s3://former/prefix', 'a/b.csv');
      INSERT INTO incidents (kind, partition_id, next_offset, log_end, ranges, detail, noticed_at,
          last_seen_at, resolved_at, resolution)
        SELECT 'log_replaced', partition_id, 1, 0, NULL, 'shorter', 'x', 'x', 'x', 'keep'
          FROM partitions WHERE topic = 't' AND partition = 0
        UNION ALL
        SELECT 'rejects', partition_id, 2, NULL, (SELECT ranges FROM in_flight), 'many', 'x', 'x',
          'x', 'accepted' FROM partitions WHERE topic = 't' AND partition = 1;
      INSERT INTO gaps SELECT partition_id, next_offset + 1, next_offset + 2, 'skipped', ''
        FROM partitions;
      UPDATE partitions SET start_offset = start_offset + 3;
      INSERT INTO backfilled SELECT partition_id, 0, 1 FROM partitions;
      INSERT INTO backfills VALUES (1, 'x', 0, 6, 0, 'open', NULL), (2, 'x', 1, 1, 0, 'done', 'x');
      INSERT INTO backfill_ranges SELECT 1, partition_id, 1, 3, 'left' FROM partitions;
      """)
    let tables = try database.rows(
      """
      SELECT name, sql FROM sqlite_schema
      WHERE type = 'table' AND sql LIKE 'CREATE TABLE%' AND name NOT LIKE 'grdb%'
      """
    )
    schema = Dictionary(uniqueKeysWithValues: tables.map { ($0[0], $0[1]) })
    var columns: [(table: String, column: String)] = []
    for (table, _) in schema.sorted(by: { $0.key < $1.key }) {
      for row in try database.rows("SELECT name FROM pragma_table_info('\(table)')") {
        columns.append((table, row[0]))
      }
    }
    self.columns = columns
    // Whether rows have an identifier is a question of their form on disk, so that stays.
    try database.rewriteSchema(
      schema.mapValues { sql in
        sql.replacing(" NOT NULL", with: "").replacing(
          "STRICT, WITHOUT ROWID", with: "WITHOUT ROWID"
        )
        .replacing(") STRICT", with: ")")
      })
    try database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
  }

  /// From a folder where ``init(_:folder:)`` made it: as a child process finds it.
  static func load(_ index: Int, folder: String) throws -> CheckpointTemplate {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/fuzz\(index).json"))
    let stored = try JSONDecoder().decode(Stored.self, from: data)
    return CheckpointTemplate(
      job: try job(index), path: "\(folder)/fuzz\(index).template", schema: stored.schema,
      columns: stored.columns.map { ($0[0], $0[1]) }, objects: stored.objects)
  }

  func save(_ index: Int, folder: String) throws {
    let stored = Stored(
      schema: schema, columns: columns.map { [$0.table, $0.column] }, objects: objects)
    try JSONEncoder().encode(stored).write(to: URL(fileURLWithPath: "\(folder)/fuzz\(index).json"))
  }

  private struct Stored: Codable {
    let schema: [String: String]
    let columns: [[String]]
    let objects: [String: [String: [UInt8]]]
  }

  private init(
    job: Job, path: String, schema: [String: String], columns: [(table: String, column: String)],
    objects: [String: [String: [UInt8]]]
  ) {
    self.job = job
    self.path = path
    self.schema = schema
    self.columns = columns
    self.objects = objects
  }
}

func runOptions() -> RunOptions {
  var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "fuzz")
  options.publishingExecutor = { CallerExecutor() }
  return options
}

func quietLogger() -> Logger { Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() } }
