import Foundation
import TestSupport
import Testing

@Suite("The log")
struct LogTests {
  /// What every line says, and what is asked of each.
  private func check(_ lines: [[String: String]], job: String? = "job") {
    #expect(!lines.isEmpty)
    for line in lines {
      #expect(
        line["time"]?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil, "\(line)")
      #expect(
        ["debug", "info", "notice", "warning", "error"].contains(line["level"])
          && line["message"] != nil, "\(line)")
      if let job { #expect(line["job"] == job, "\(line)") }
    }
  }

  private func run(_ scenario: Scenario, _ arguments: [String]) throws -> ProcessResult {
    try scenario.stack.tranche(["run"] + arguments, in: scenario.folder.path)
  }

  private func sql(_ scenario: Scenario, _ query: String) throws -> String {
    try execute(
      "/usr/bin/sqlite3",
      ["-readonly", "-separator", " ", "\(scenario.folder.path)/checkpoints/job.sqlite", query]
    ).output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  private func scenario(_ more: String = "") throws -> Scenario {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 100, more: more)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 450, seed: 1),
      ])
    return scenario
  }

  @Test(
    """
    can be read line by line; one run has one id and one summary, whose figures are the \
    checkpoint's, and another run another id
    """, arguments: LogParser.allCases)
  func run(parser: LogParser) throws {
    let scenario = try scenario()
    var ids: Set<String> = []
    for options in [["--log-level", "debug"], ["--log-level", "info"], []] {
      let result = try run(scenario, ["job.yaml", "--log-format", parser.rawValue] + options)
      #expect(result.exitCode == 0 && result.output.isEmpty, "\(result)")
      let lines = try parser.lines(result.errors)
      check(lines)
      let runs = Set(lines.map { $0["run"] ?? "" })
      #expect(runs.count == 1 && runs.allSatisfy { $0.wholeMatch(of: /[0-9a-f]{16}/) != nil })
      ids.formUnion(runs)
      #expect(lines.count { $0["message"] == "run ended" } == 1)
      let summary = try #require(lines.last)
      #expect(
        summary["message"] == "run ended" && summary["exit_code"] == "0"
          && Double(summary["duration_seconds"] ?? "") ?? 0 > 0, "\(summary)")
      if ids.count > 1 {
        #expect(summary["batches"] == "0" && lines.count == 1)
        continue
      }
      #expect(lines.first?["message"] == "first run: new checkpoint")
      let batches = lines.filter { $0["message"] == "batch committed" }
      #expect(batches.compactMap { $0["batch"] } == ["1", "2", "3", "4", "5"])
      let columns = ["batches", "offsets", "records", "counted", "rejected"]
      let stored = try sql(
        scenario,
        "SELECT count(*), sum(offsets), sum(records), sum(counted), sum(rejected) FROM batches")
      #expect(columns.compactMap { summary[$0] }.joined(separator: " ") == stored)
      #expect(
        batches.reduce(0) { $0 + (Int($1["records"] ?? "") ?? 0) } == Int(summary["records"] ?? ""))
      let outputs = Int(try sql(scenario, "SELECT count(*) FROM outputs")) ?? .max
      #expect(
        ["dirty", "lag", "backfill_left"].map { summary[$0] ?? "" } == ["0", "0", "0"]
          && Int(summary["published"] ?? "") ?? 0 >= outputs)
    }
    #expect(ids.count == 3)
  }

  @Test(
    "of a run that fails says why, and what was committed before it", arguments: LogParser.allCases)
  func failure(parser: LogParser) throws {
    let scenario = try scenario("rejects: { policy: fail }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "produce", "topic": scenario.topic, "partition": 0, "value": "p\u{1B}[2J \"x\"\n="]])
    let result = try scenario.tranche(
      "run", "job.yaml", "--json", "--log-format", parser.rawValue, "-v")
    #expect(result.exitCode == 65)
    let lines = try parser.lines(result.errors)
    check(lines)
    #expect(Set(lines.map { $0["run"] }).count == 1)
    let errors = lines.filter { $0["level"] == "error" }
    #expect(errors.map { $0["code"] } == ["data"] && errors.map { $0["exit_code"] } == ["65"])
    let summary = try #require(lines.last)
    #expect(summary["message"] == "run ended" && summary["exit_code"] == "65")
    let stored = try sql(scenario, "SELECT coalesce(sum(records), 0) FROM batches")
    #expect(summary["records"] == stored)
    // --json is a report on standard output of its own, of the same facts.
    let report = try LogParser.json.fields(result.output.dropLast())
    for name in ["batches", "offsets", "records", "counted", "lag", "dirty", "exit_code"] {
      #expect(report[name] == summary[name], "\(name)")
    }
    #expect(report["error"] == errors.first?["message"])
  }

  @Test("of a command that fails before there is a run is in the format too")
  func early() throws {
    let scenario = try Scenario()
    try scenario.folder.write("name: x\nnonsense: 1\n", to: "job.yaml")
    for parser in LogParser.allCases {
      let format = "--log-format=\(parser.rawValue)"
      let faulty = try scenario.tranche("run", "job.yaml", format)
      let lines = try parser.lines(faulty.errors)
      check(lines, job: nil)
      #expect(
        faulty.exitCode == 65 && lines.contains { $0["message"]?.contains("nonsense") == true }
          && lines.last?["exit_code"] == "65")
      let usage = try scenario.tranche("run", "--batches", "0", "job.yaml", format)
      let told = try parser.lines(usage.errors).map { $0["message"] }
      #expect(usage.exitCode == 64 && told == ["--batches takes a number of at least 1."])
    }
  }

  @Test("holds what is of its level or above; --quiet and --verbose are two such levels")
  func levels() throws {
    let scenario = try scenario()
    func messages(_ options: String...) throws -> Set<String> {
      let result = try run(
        scenario, ["job.yaml", "--batches", "1", "--log-format", "json"] + options)
      #expect(result.exitCode == 0)
      return Set(try LogParser.json.lines(result.errors).compactMap { $0["message"] })
    }
    #expect(try messages("--log-level", "warning") == [])
    #expect(try messages("--quiet") == [])
    #expect(try messages() == ["run ended"])
    #expect(try messages("--verbose") == ["batch committed", "run ended"])
    for options in [
      ["--verbose", "--log-level", "info"], ["--quiet", "--log-level", "info"],
      ["--log-level", "critical"], ["--log-format", "xml"],
    ] {
      #expect(try run(scenario, ["job.yaml"] + options).exitCode == 64)
    }
  }

  @Test(
    """
    has the journal's priorities where standard error is the journal, and the run in each line; \
    not where the journal is elsewhere
    """)
  func journal() throws {
    let scenario = try scenario()
    func run(_ stream: String, _ options: String) throws -> [String] {
      let script = """
        exec 2> errors > errors; export JOURNAL_STREAM=\(stream) INVOCATION_ID=0123
        exec "$TRANCHE" run job.yaml --batches 1 \(options)
        """
      try execute(
        "/bin/sh", ["-c", script], directory: scenario.folder.path,
        environment: ["TRANCHE": scenario.stack.binary])
      let text = try String(contentsOfFile: scenario.folder.path + "/errors", encoding: .utf8)
      return text.split(separator: "\n").map(String.init)
    }
    let ours = "$(stat -c %d:%i errors)"
    let text = try run(ours, "--verbose")
    let ends = Set(text.compactMap { $0.firstMatch(of: /\ run=([0-9a-f]{16})$/)?.1 })
    #expect(text.count >= 3 && ends.count == 1, "\(text)")
    #expect(text.allSatisfy { $0.contains(/^<[3-7]>.* run=/) }, "\(text)")
    #expect(
      text.contains { $0.hasPrefix("<5>job: first run") }
        && text.contains { $0.hasPrefix("<7>") && $0.contains("batch committed") }
        && text.contains { $0.hasPrefix("<5>job: 1 batch, ") })
    let json = try run(ours, "--log-format json")
    #expect(json.count == 1 && json[0].hasPrefix("<5>"))
    check([try LogParser.json.fields(json[0].dropFirst(3))])
    for other in ["1:2", "", "8:1:9", "$(stat -c %d:%i job.yaml)"] {
      let lines = try run(other, "")
      #expect(lines.count == 1 && lines[0].hasPrefix("job: "), "\(other): \(lines)")
    }
  }
}
