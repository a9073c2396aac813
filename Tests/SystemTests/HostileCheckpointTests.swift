import Foundation
import TestSupport
import Testing

/// Checkpoints of a window job and a row job whose first runs died with objects to publish and a
/// batch planned. Made once.
private struct Fixture: Sendable {
  let folder: TemporaryFolder
  let binary: String
  /// What an untouched checkpoint's next run makes of each job.
  let expected: [String: [String: Data]]
  /// The columns of each job's tables that have rows.
  let columns: [String: [Column]]

  struct Column: Sendable {
    let table, name, type: String
  }

  static let shared = Result { try Fixture() }

  private init() throws {
    let scenario = try Scenario()
    folder = scenario.folder
    binary = scenario.stack.binary
    let topic = scenario.topic
    var operations: [[String: any Sendable]] = [["op": "create", "topic": topic, "partitions": 2]]
    for number in 0..<40 {
      let key = number % 3 == 0 ? "" : "k\(number % 3)"
      operations.append([
        "op": "produce", "topic": topic, "partition": number % 2,
        "value": number % 9 == 5 ? "oops\n" : "\(key),\(number).25,\(number),1.5\n",
        "timestamp": Scenario.start + number * 60_000,
      ])
    }
    try scenario.stack.kafka(scenario.stack.broker, operations)
    let jobs = [
      "windows": """
      window: { tumbling: 5m }
      aggregate:
        by: [name]
        measures: { n: count(), sum: sum(price), mean: avg(price), top: max(size), low: min(rate) }
      """,
      "rows": "",
    ]
    for (name, rest) in jobs {
      try scenario.folder.write(
        """
        name: \(name)
        source:
          kafka:
            - name: main
              properties: { bootstrap.servers: "\(scenario.stack.broker)" }
              topics: [\(topic)]
          format: csv
          fields: { name: "string?", price: "decimal(10,2)", size: int32, rate: double }
        trigger: { max_offsets: 14 }
        \(rest)
        output: { to: "file:\(name).out", format: json\(name == "rows" ? ", keep: each" : "") }
        rejects: { max_share: 100% }
        """, to: "\(name).yaml")
    }
    var expected: [String: [String: Data]] = [:]
    var columns: [String: [Column]] = [:]
    for name in jobs.keys {
      let path = "\(folder.path)/checkpoints/\(name).sqlite"
      try Self.dieBehindFirstBatch(scenario, name, path)
      try Self.query(
        path,
        """
        INSERT INTO gaps SELECT partition_id, 1000, 1001, 'skipped', '' FROM partitions;
        INSERT INTO retired_objects (place, object_key) VALUES ('file:former', 'part-0.json');
        UPDATE partitions SET start_offset = 2;
        INSERT INTO backfilled SELECT partition_id, 0, 1 FROM partitions;
        INSERT INTO backfills VALUES (1, 'x', 0, 2, 0, 'open', NULL);
        INSERT INTO backfill_ranges SELECT 1, partition_id, 1, 2, 'left' FROM partitions;
        """)
      columns[name] = try Self.columns(path)
      let untouched = try Case(folder, binary, name)
      let run = try untouched.tranche("run")
      try #require(run.exitCode == 0, "\(run)")
      expected[name] = untouched.objects()
      try Self.loosen(path)
    }
    self.expected = expected
    self.columns = columns
  }

  /// At whatever step that is: batch 1 is committed, batch 2 planned, and nothing published.
  private static func dieBehindFirstBatch(_ scenario: Scenario, _ name: String, _ path: String)
    throws
  {
    for step in 3..<20 {
      for ending in ["", "-wal", "-shm"] {
        try? FileManager.default.removeItem(atPath: path + ending)
      }
      let died = try scenario.tranche("run", "\(name).yaml", "--die-at-step", "\(step)")
      try #require(died.exitCode == -SIGKILL, "\(died)")
      let found = try query(
        path,
        """
        SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM in_flight),
          (SELECT count(*) FROM outputs WHERE published_revision > 0)
        """)
      if found == "1|1|0\n" { return }
    }
    Issue.record("\(name) never died with a batch planned")
  }

  @discardableResult
  static func query(_ path: String, _ sql: String) throws -> String {
    let result = try execute("/usr/bin/sqlite3", [path, sql])
    try #require(result.exitCode == 0, "\(sql): \(result.errors)")
    return result.output
  }

  private static func columns(_ path: String) throws -> [Column] {
    let listed = try query(
      path,
      """
      SELECT tables.name, columns.name, columns.type
      FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
      WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%' ORDER BY 1, columns.cid
      """)
    return try listed.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
      if try query(path, "SELECT count(*) FROM \"\(parts[0])\"") == "0\n" { return nil }
      return Column(table: parts[0], name: parts[1], type: parts[2])
    }
  }

  /// Takes STRICT and NOT NULL out of a schema, which stays beside it, so that any value goes in.
  private static func loosen(_ path: String) throws {
    try query(
      path,
      """
      ATTACH '\(path).schema' AS kept;
      CREATE TABLE kept.schema AS SELECT name, sql FROM main.sqlite_schema;
      DETACH kept;
      PRAGMA writable_schema = ON;
      UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
        ') STRICT, WITHOUT ROWID', ') WITHOUT ROWID'), ') STRICT', ')'), 'NOT NULL', '');
      """)
  }
}

/// A copy of the fixture, in which one value is edited.
private struct Case {
  let folder: TemporaryFolder
  private let binary, name: String

  init(_ original: TemporaryFolder, _ binary: String, _ name: String) throws {
    folder = try TemporaryFolder()
    self.binary = binary
    self.name = name
    for item in try FileManager.default.contentsOfDirectory(atPath: original.path) {
      try FileManager.default.copyItem(
        atPath: "\(original.path)/\(item)", toPath: "\(folder.path)/\(item)")
    }
  }

  /// Sets a column in one row of a table, or in all that share its value, and gives the tables
  /// their rules back.
  ///
  /// - Returns: False where not even a table without rules takes the value: a NULL as its key.
  func edit(_ column: Fixture.Column, _ value: String) throws -> Bool {
    let path = "\(folder.path)/checkpoints/\(name).sqlite"
    let edited = try execute(
      "/usr/bin/sqlite3",
      [
        path,
        """
        PRAGMA ignore_check_constraints = ON;
        UPDATE "\(column.table)" SET "\(column.name)" = \(value)
        WHERE "\(column.name)" IS (SELECT "\(column.name)" FROM "\(column.table)" LIMIT 1);
        """,
      ])
    guard edited.exitCode == 0 else { return false }
    try Fixture.query(
      path,
      """
      ATTACH '\(path).schema' AS kept;
      PRAGMA writable_schema = ON;
      UPDATE main.sqlite_schema AS own
      SET sql = (SELECT old.sql FROM kept.schema AS old WHERE old.name = own.name);
      """)
    return true
  }

  func tranche(_ command: String, _ arguments: [String] = []) throws -> ProcessResult {
    try execute(binary, [command, "\(name).yaml"] + arguments, directory: folder.path)
  }

  func objects() -> [String: Data] { folder.files(below: "\(name).out") }
}

@Suite("A checkpoint with hostile values")
struct HostileCheckpointTests {
  private static let integers = [
    "NULL", "'x'", "-1", "9223372036854775807", "1.5", "-9223372036854775808", "x'00'",
  ]
  private static let texts = [
    "NULL", "CAST(x'c328' AS TEXT)", "'../../x'", "''", "x'00ff'", "'/etc/passwd'", "'a//b'",
    "'[['",
  ]

  private func values(_ column: Fixture.Column) -> [String] {
    switch column.type {
    // Any integer may be a group's measure; a sum that no longer fits is another test's.
    case "INTEGER" where column.table == "groups" && column.name != "window":
      ["NULL", "'x'", "1.5", "x'00'"]
    case "INTEGER": Self.integers
    case "REAL": ["NULL", "'x'", "x'00'", "9e999"]
    // Any text without U+0000 may be a group's key.
    case "TEXT" where column.table == "groups": ["NULL", "CAST(x'c328' AS TEXT)", "x'00ff'"]
    case "TEXT": Self.texts
    default: ["NULL", "'x'", "7"]
    }
  }

  /// Documented answers to values that are legal where they stand.
  private func codes(_ column: Fixture.Column) -> Set<Int32> {
    switch "\(column.table).\(column.name)" {
    // Another job's, built from other settings, of another cluster.
    case "checkpoint.job", "job_settings.key", "job_settings.value", "clusters.source",
      "clusters.cluster_id":
      [0, 74, 78]
    // Offsets that the log does not reach.
    case "partitions.next_offset": [0, 74, 76]
    default: [0, 74]
    }
  }

  /// Values that are legal where they stand, and change what an object says.
  private func mayDiffer(_ column: Fixture.Column, _ value: String) -> Bool {
    switch "\(column.table).\(column.name)" {
    case "rejects.offset": value == "9223372036854775807"
    case "rejects.record", "rejects.field", "rejects.raw": true
    case "rejects.record_key", "rejects.record_timestamp", "rejects.record_headers": true
    // What is to be published is found by an index, which an edited revision has left; `status`
    // finds it by another.
    case "outputs.revision", "outputs.published_revision": true
    default: false
    }
  }

  @Test(
    "is an error that names table and row, or makes no difference, whatever the value and command",
    arguments: ["windows", "rows"], 0..<4)
  func everyColumn(job: String, quarter: Int) throws {
    let fixture = try Fixture.shared.get()
    let columns = try #require(fixture.columns[job])
    #expect(columns.count > 50, "\(columns)")
    // All of them take minutes: make acceptance. Else two values each, and of the row job the
    // tables that are its own.
    let isAll = ProcessInfo.processInfo.environment["TRANCHE_HOSTILE_VALUES"] == "all"
    let own: Set = ["outputs", "results", "rejects"]
    for (index, column) in columns.enumerated() where index % 4 == quarter {
      if job == "rows" && !isAll && !own.contains(column.table) { continue }
      let all = values(column)
      let chosen = isAll ? all : [all[0], all[1 + index / 4 % (all.count - 1)]]
      for value in chosen {
        let edited = try Case(fixture.folder, fixture.binary, job)
        guard try edited.edit(column, value) else { continue }
        let commands = [["status", "--offline"], ["plan"]] + (job == "rows" ? [] : [["show"]])
        for arguments in commands + [["run"]] {
          let result = try edited.tranche(arguments[0], Array(arguments.dropFirst()))
          let what = "\(job): \(column.table).\(column.name) = \(value), \(arguments[0]): \(result)"
          #expect(codes(column).contains(result.exitCode), "\(what)")
          if arguments[0] == "status" && column.table == "outputs"
            && column.name.hasSuffix("revision")
          {
            #expect(result.exitCode == 74 || value == "9223372036854775807", "\(what)")
          }
          if result.exitCode == 74 {
            // SQLite's own words name table and column; the migrator's table has one column. A row
            // may be missed by another table's.
            let isNamed =
              (result.errors.contains("(table ") && result.errors.contains(", row "))
              || result.errors.contains("column \(column.table).\(column.name)")
              || column.table == "grdb_migrations"
            #expect(isNamed, "\(what)")
          }
          if arguments == ["run"] && result.exitCode == 0 && !mayDiffer(column, value) {
            #expect(edited.objects() == fixture.expected[job], "\(what)")
          }
        }
      }
    }
  }
}
