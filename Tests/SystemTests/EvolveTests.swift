import Foundation
import TestSupport
import Testing

@Suite("tranche evolve, on the command line", .serialized)
struct EvolveTests {
  private static let fields = "{ api_id: int32, ms: int64 }"
  private static let moreFields = "{ api_id: int32, ms: int64, region: \"string?\" }"

  private static func rest(_ measures: String, select: String = "") -> String {
    "window: { tumbling: 5m }\naggregate: { by: [api_id], measures: { \(measures) } }\n\(select)"
  }

  private static let first = rest("calls: count(), longest: min(ms), retired: max(ms)")
  private static let select = """
    select:
      share: 100.0 * total / sum(total) OVER ()
      place: { sql: rank() OVER (ORDER BY total), type: int64 }
    """
  private static let second = rest(
    "calls: count(), longest: min(ms), total: sum(ms), first_region: min(region), "
      + "regions: count(region)", select: select)
  private static let third = rest(
    "calls: count(), longest: max(ms), total: sum(ms), first_region: min(region), "
      + "regions: count(region)", select: select)

  /// - Parameter minute: Since the start of the scenario.
  private func record(
    _ scenario: Scenario, _ api: Int, minute: Int, _ ms: Int, region: String? = nil
  ) -> [String: any Sendable] {
    let member = region.map { ",\"region\":\"\($0)\"" } ?? ""
    return [
      "op": "produce", "topic": scenario.topic, "partition": 0,
      "value": "{\"api_id\":\(api),\"ms\":\(ms)\(member)}\n",
      "timestamp": Scenario.start + minute * 60_000,
    ]
  }

  private func produce(_ scenario: Scenario, _ records: [[String: any Sendable]]) throws {
    try scenario.stack.kafka(scenario.stack.broker, records)
  }

  @Test("leaves NULL where docs/evolve.md says so: each row of its table, held against duckdb")
  func nulls() throws {
    let scenario = try Scenario()
    func write(_ rest: String, fields: String = Self.moreFields) throws {
      try scenario.write(
        format: "json", fields: fields, rest: rest, output: "format: parquet", maxOffsets: 5)
    }
    func run() throws {
      let run = try scenario.run()
      try #require(run.exitCode == 0, "\(run.errors)")
    }
    try produce(
      scenario,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<8).map { record(scenario, $0 % 2, minute: $0, $0 + 1) })
    try write(Self.first, fields: Self.fields)
    try run()
    // Four records are passed over: two of the second window, and the first two of the fifth.
    try produce(
      scenario, [6, 7, 20, 21].map { record(scenario, 1, minute: $0, 100 + $0, region: "back") })
    let skipped = try scenario.tranche(
      "skip", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--from", "8", "--to",
      "12")
    #expect(skipped.exitCode == 0, "\(skipped.errors)")

    try write(Self.second)
    let refused = try scenario.run()
    #expect(refused.exitCode == 78 && refused.errors.contains("tranche evolve job.yaml. Then "))
    let evolved = try scenario.tranche("evolve", "job.yaml")
    #expect(evolved.exitCode == 0, "\(evolved.errors)")
    #expect(
      evolved.output.hasPrefix(
        """
        job: definition 2 takes effect with batch 3
          added: total sum(ms). It is NULL in the 2 windows that began before
        """), "\(evolved.output)")
    try produce(
      scenario,
      [
        record(scenario, 1, minute: 8, 50, region: "eu"), record(scenario, 2, minute: 8, 60),
        record(scenario, 1, minute: 10, 70, region: "eu"),
        record(scenario, 9, minute: 11, 80), record(scenario, 2, minute: 12, 5, region: "us"),
      ])
    try run()
    let backfilled = try scenario.tranche("backfill", "job.yaml", "--gaps")
    #expect(backfilled.exitCode == 0, "\(backfilled.errors)")

    try write(Self.third)
    #expect(try scenario.tranche("evolve", "job.yaml").exitCode == 0)
    try produce(
      scenario,
      [
        record(scenario, 1, minute: 13, 90, region: "eu"),
        record(scenario, 1, minute: 15, 30, region: "asia"), record(scenario, 2, minute: 16, 10),
      ])
    try run()
    let verified = try scenario.tranche("verify", "job.yaml", "--strict", "--deep")
    #expect(verified.exitCode == 0, "\(verified.output) \(verified.errors)")
    #expect(try scenario.tranche("checkpoint", "check", "job.yaml").exitCode == 0)
    let shown = try scenario.tranche(
      "show", "job.yaml", "--window", "2026-11-23T10:00:00Z", "--csv")
    #expect(shown.output.contains("\\N,\\N,\\N,\\N"), "\(shown.output) \(shown.errors)")

    let rows = try rowJob()
    try compare(scenario, rows)
  }

  /// A row job whose fields change between two batches.
  private func rowJob() throws -> Scenario {
    let rows = try Scenario()
    func write(_ fields: String, select: String = "") throws {
      try rows.write(
        format: "json", fields: fields, rest: select, output: "format: parquet, keep: each")
    }
    try produce(rows, [["op": "create", "topic": rows.topic, "partitions": 1]])
    try write(Self.fields)
    try produce(rows, [record(rows, 1, minute: 0, 10)])
    #expect(try rows.run().exitCode == 0)
    try write(Self.fields, select: "select: { twice: 2.0 * ms }")
    let selected = try rows.tranche("validate", "job.yaml", "--against-checkpoint")
    #expect(selected.output.contains("2.0 * ms: takes effect with the next batch"), "\(selected)")
    try write("{ api_id: int32, ms: int64, code: int32 }")
    try produce(
      rows,
      [
        [
          "op": "produce", "topic": rows.topic, "partition": 0,
          "value": "{\"api_id\":2,\"ms\":20,\"code\":7}\n", "timestamp": Scenario.start,
        ]
      ])
    let said = try rows.tranche("validate", "job.yaml", "--against-checkpoint")
    #expect(said.exitCode == 0 && said.output.contains("takes effect with the next batch"))
    #expect(!said.output.contains("rendered again"))
    #expect(try rows.run().exitCode == 0)
    return rows
  }

  private func compare(_ scenario: Scenario, _ rows: Scenario) throws {
    let copy = try TemporaryFolder()
    for (folder, objects) in [
      ("objects", try scenario.objects()), ("rows", try rows.objects()),
    ] {
      for (key, data) in objects {
        let url = URL(fileURLWithPath: "\(copy.path)/\(folder)/\(key)")
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: url)
      }
    }
    try copy.write(
      try scenario.stack.kafka(
        scenario.stack.broker, [["op": "dump", "topic": scenario.topic]]), to: "records.jsonl")
    let changes = try execute(
      "/usr/bin/sqlite3",
      [
        scenario.folder.path + "/checkpoints/job.sqlite",
        """
        SELECT json_group_array(next_offset) FROM (
          SELECT next_offset FROM definition_offsets WHERE definition > 1 ORDER BY definition)
        """,
      ]
    ).output
    let facts = """
      {"changes": \(changes), "backfilled": [[8, 12, 2]],
       "isBackfilled": "\\"offset\\" >= 8 AND \\"offset\\" < 12"}
      """
    let held = try scenario.stack.python("SystemTests/evolve.py", [copy.path], input: facts)
    let names = try JSONDecoder().decode([String].self, from: Data(held.utf8))
    #expect(names == (try Self.table()))
  }

  /// The first column of the table in docs/evolve.md.
  private static func table() throws -> [String] {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("docs/evolve.md")
    let text = try String(contentsOf: file, encoding: .utf8)
    let part = text.components(separatedBy: "| where | the added measure is |\n|---|---|\n")
    return try #require(part.last).split(separator: "\n", omittingEmptySubsequences: false)
      .prefix { $0.hasPrefix("|") }
      .map { $0.split(separator: "|")[0].trimmingCharacters(in: .whitespaces) }
  }

  @Test("says beforehand what a change needs, and changes nothing by it")
  func validate() throws {
    let scenario = try Scenario()
    try produce(
      scenario,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        record(scenario, 1, minute: 0, 1),
      ])
    func write(_ rest: String, fields: String = Self.fields) throws {
      try scenario.write(format: "json", fields: fields, rest: rest)
    }
    func said(_ file: String = "job.yaml") throws -> (exitCode: Int32, text: String) {
      let result = try scenario.tranche("validate", file, "--against-checkpoint")
      return (result.exitCode, result.output + result.errors)
    }
    try write(Self.first)
    var answer = try said()
    #expect(answer.exitCode == 0 && answer.text.contains("there is no checkpoint yet"))
    try #require(try scenario.run().exitCode == 0)
    answer = try said()
    #expect(
      answer.exitCode == 0
        && answer.text.contains("means what the checkpoint was built from; the next run goes on"))
    let state = try scenario.state()
    try write(Self.first + "select: { twice: 2.0 * calls }")
    answer = try said()
    #expect(
      answer.exitCode == 0
        && answer.text.contains("twice double: 2.0 * calls: every window's object is rendered"))
    try write(Self.second, fields: Self.moreFields)
    answer = try said()
    #expect(
      answer.exitCode == 78
        && answer.text.contains("can take effect from the next batch on\n")
        && answer.text.contains(
          """
          next batch on; what retired max(ms) held is dropped for good; total sum(ms), \
          first_region min(region), regions count(region) are NULL in windows that began before
          """)
        && answer.text.contains("next batch on: tranche evolve job.yaml. Then what retired max"),
      "\(answer.text)")
    let dry = try scenario.tranche("evolve", "job.yaml", "--dry-run")
    #expect(dry.exitCode == 0 && dry.output.contains("would take effect with batch 2"))
    #expect(
      dry.output.contains("  added field: region string?\n") && dry.output.contains("Nothing"))
    let json = try scenario.tranche("evolve", "job.yaml", "--dry-run", "--json")
    #expect(json.output.contains("\"needed\":true") && json.output.contains("\"done\":false"))
    try write("where: ms > 0\n" + Self.second, fields: Self.moreFields)
    answer = try said()
    #expect(
      answer.exitCode == 78 && answer.text.contains("would have to be read again\n")
        && !answer.text.contains("tranche evolve"), "\(answer.text)")
    for dryRun in [["--dry-run"], []] {
      let refused = try scenario.stack.tranche(
        ["evolve", "job.yaml"] + dryRun, in: scenario.folder.path)
      #expect(refused.exitCode == 78 && refused.errors.contains("where: was -, is ms > 0"))
    }
    #expect(try scenario.state() == state)
    let checked = try scenario.tranche("checkpoint", "check", "job.yaml")
    #expect(
      checked.exitCode == 0
        && checked.output.contains("groups were not read, because the job file was changed")
        && checked.output.contains("nothing is wrong with the rest"), "\(checked)")
    let facts = try scenario.tranche("checkpoint", "check", "job.yaml", "--json")
    #expect(facts.output.contains("\"groupsRead\":false"), "\(facts)")
  }

  @Test("dies at any step and leaves the job as it was, or evolved; asked again it is evolved")
  func crashes() throws {
    let scenario = try Scenario()
    try produce(
      scenario,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        record(scenario, 1, minute: 0, 1),
      ])
    var deathCount = 0
    for step in 1...9 {
      try? FileManager.default.removeItem(atPath: scenario.folder.path + "/checkpoints")
      try? FileManager.default.removeItem(atPath: scenario.folder.path + "/out")
      try scenario.write(format: "json", fields: Self.fields, rest: Self.first)
      try #require(try scenario.run().exitCode == 0)
      try scenario.write(format: "json", fields: Self.moreFields, rest: Self.second)
      let evolved = try scenario.tranche("evolve", "job.yaml", "--die-at-step", "\(step)")
      if evolved.exitCode == 0 { break }
      deathCount += 1
      #expect(evolved.exitCode == -SIGKILL)
      #expect(try scenario.tranche("evolve", "job.yaml").exitCode == 0)
      #expect(try scenario.run().exitCode == 0)
      #expect(try scenario.tranche("verify", "job.yaml").exitCode == 0)
    }
    #expect(deathCount == 2)
  }
}
