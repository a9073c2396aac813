import Foundation
import TestSupport
import Testing

@Suite("The command line")
struct CommandTests {
  private var jobs: URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
      .appendingPathComponent("jobs")
  }

  @Test(
    """
    runs every job file of jobs/ that reads calls on those that produce publishes, and says so of \
    what it schedules
    """
  )
  func examples() throws {
    let scenario = try Scenario()
    let files = try FileManager.default.contentsOfDirectory(atPath: jobs.path).filter {
      try $0.hasSuffix(".yaml")
        && String(contentsOf: jobs.appendingPathComponent($0), encoding: .utf8)
          .contains("kafka_topic_1")
    }.sorted()
    #expect(files.count >= 2)
    let produced = try scenario.tranche(
      "produce", "--brokers", scenario.stack.broker, "--topic", scenario.topic, "--records", "3000",
      "--seed", "7")
    #expect(
      produced.output == "3,000 records published to \(scenario.topic), 6 partitions\n",
      "\(produced.errors)")
    for file in files {
      let text = try String(contentsOf: jobs.appendingPathComponent(file), encoding: .utf8)
      try scenario.folder.write(text.replacing("kafka_topic_1", with: scenario.topic), to: file)
      let environment = ["KAFKA_BROKERS": scenario.stack.broker, "OUTPUT": "file:\(file).out"]
      #expect(
        try scenario.tranche("validate", file, environment: environment).output
          == "\(file): valid\n")
      let run = try scenario.tranche("run", file, "--profile", environment: environment)
      #expect(
        run.exitCode == 0 && run.output.contains(": 3 batches, 3,000 records in "),
        "\(run.errors)\(run.output)")
      #expect(
        run.output.contains("commit")
          && run.output.contains("publisher  encode") == (file != "batch-share.yaml"),
        "\(run.output)")
      #expect(!scenario.folder.files(below: "\(file).out").isEmpty)
    }
  }

  @Test(
    """
    publishes the same calls for the same seed, as CSV or JSON, and the records of a file, line \
    ends in quotes and CRLF included
    """
  )
  func produce() throws {
    let scenario = try Scenario()
    func values(_ name: String, _ arguments: String...) throws -> [String] {
      let topic = uniqueName(name)
      let result = try scenario.stack.tranche(
        ["produce", "--brokers", scenario.stack.broker, "--topic", topic, "--partitions", "1"]
          + arguments, in: scenario.folder.path)
      #expect(result.exitCode == 0, "\(result.errors)")
      try scenario.write(
        kafka:
          "[{ name: main, properties: { bootstrap.servers: \"\(scenario.stack.broker)\" }, "
          + "topics: [\(topic)] }]",
        format: arguments.contains("json") ? "json" : "csv",
        fields: "{ api_id: string, time_taken: string }", rest: "",
        output: "format: json, keep: each")
      let job = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
      try scenario.folder.write(
        job.replacing("name: job", with: "name: \(topic)").replacing(
          "file:out", with: "file:\(topic)"), to: "\(topic).yaml")
      let run = try scenario.tranche("run", "\(topic).yaml")
      #expect(run.exitCode == 0, "\(run.errors)")
      return scenario.folder.files(below: topic).sorted { $0.key < $1.key }.flatMap {
        String(decoding: $0.value, as: UTF8.self).split(separator: "\n").map(String.init)
      }
    }
    let first = try values("seed", "--records", "200", "--seed", "3")
    #expect(first.count == 200)
    #expect(try values("seed", "--records", "200", "--seed", "3") == first)
    #expect(try values("seed", "--records", "200", "--seed", "4") != first)
    try scenario.folder.write(
      "1,\"two\nlines\"\r\n\r\n2,\"a \"\"quote\"\"\"\r\n3,x", to: "calls.csv")
    #expect(
      try values("replay", "--replay", "calls.csv") == [
        #"{"api_id":"1","time_taken":"two\nlines"}"#, #"{"api_id":"2","time_taken":"a \"quote\""}"#,
        #"{"api_id":"3","time_taken":"x"}"#,
      ])
  }

  @Test(
    "begins a topic that it meets at its end or at an instant, once: later runs go on from there")
  func start() throws {
    let scenario = try Scenario()
    func produce(_ values: [(value: String, minute: Int)]) throws {
      try scenario.stack.kafka(
        scenario.stack.broker,
        values.map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": "\($0.value)\n",
            "timestamp": Scenario.start + $0.minute * 60_000,
          ]
        })
    }
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 2]])
    try produce([("1,1", 0), ("1,2", 1), ("1,4", 2)])
    func records(_ name: String, _ start: String) throws -> Int? {
      try scenario.write()
      let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
      try scenario.folder.write(
        text.replacing("name: job", with: "name: \(name)").replacing(
          "file:out", with: "file:\(name)"
        ).replacing(
          "  format: csv\n  fields", with: "  start: \(start)\n  format: csv\n  fields"),
        to: "job.yaml")
      return try scenario.run().summary["records"] as? Int
    }
    #expect(try records("late", "latest") == 0)
    #expect(try records("timed", "2026-11-23T10:01:00Z") == 2)
    #expect(try records("early", "earliest") == 3)
    try produce([("1,8", 3)])
    // Nothing was committed yet: the start that was corrected counts.
    #expect(try records("late", "earliest") == 4)
    // Later, another start in the file changes nothing for a topic that is known.
    #expect(try records("timed", "latest") == 1)
    #expect(try records("early", "2030-01-01") == 1)
  }

  @Test(
    "fails, drops or keeps what does not decode, as rejects.policy says",
    arguments: ["fail", "drop", "quarantine"])
  func policies(policy: String) throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { policy: \(policy), max_share: 90% }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,1\n", "oops\n", "2,2\n"].map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": $0,
            "timestamp": Scenario.start,
          ]
        })
    let run = try scenario.run()
    #expect(run.exitCode == (policy == "fail" ? 65 : 0))
    #expect(run.errors.contains("rejects.policy is fail") == (policy == "fail"))
    #expect(run.summary["rejected"] as? Int == (policy == "fail" ? 0 : 1))
    #expect(
      try scenario.objects().keys.contains { $0.hasPrefix("_tranche/rejects/") }
        == (policy == "quarantine"))
  }

  @Test("teaches: help for every command, a version, completion, and the schema that is in jobs/")
  func help() throws {
    let scenario = try Scenario()
    let help = try scenario.tranche("--help").output
    for command in [
      "run", "backfill", "plan", "status", "show", "init", "peek", "validate", "schema", "check",
      "skip", "resolve", "reset", "checkpoint", "produce",
    ] {
      #expect(help.contains("  \(command) "), "\(command)")
      #expect(try scenario.tranche(command, "--help").output.contains("OVERVIEW: "), "\(command)")
    }
    #expect(try scenario.tranche("--version").output.split(separator: ".").count == 3)
    #expect(
      try scenario.tranche("--generate-completion-script", "bash").output.contains("complete"))
    #expect(
      try scenario.tranche("schema").output
        == String(contentsOf: jobs.appendingPathComponent("job.schema.json"), encoding: .utf8))
  }

  @Test("shows the columns asked for, as a table, CSV or JSON, and fits no terminal that is none")
  func show() throws {
    let scenario = try Scenario()
    try scenario.write(
      fields: "{ key: string, n: int32 }",
      rest: "window: global\naggregate: { by: [key], measures: { calls: count(), n: sum(n) } }")
    let long = String(repeating: "k", count: 900)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["a,1\n", "\(long),2\n"].map {
          ["op": "produce", "topic": scenario.topic, "partition": 0, "value": $0]
        })
    #expect(try scenario.run().exitCode == 0)
    func show(_ arguments: String...) throws -> ProcessResult {
      try scenario.stack.tranche(["show", "job.yaml"] + arguments, in: scenario.folder.path)
    }
    let table = try show()
    #expect(table.output.hasPrefix("job, all time: 2 groups\n"), "\(table.errors)")
    let rows = table.output.split(separator: "\n")
    #expect(rows.contains { $0.hasPrefix("a ") && $0.count < 100 } && table.output.contains(long))
    #expect(try show("--columns", "N, key", "--csv").output == "n,key\n1,a\n2,\(long)\n")
    #expect(
      try show("--rows", "1", "--json").output == "{\"key\":\"a\",\"calls\":1,\"n\":1}\n")
    for window in ["global", "all time", "part-0.csv"] {
      #expect(try show("--window", window, "--csv").exitCode == 0, "\(window)")
    }
    for (arguments, code, message) in [
      (["--rows", "-1"], 64, "--rows takes 0 or more."), (["--csv", "--json"], 64, "not both"),
      (["--columns", "nothing"], 65, "there is no column nothing. There are: key, calls, n"),
      (["--columns", "n,N"], 65, "name each column once"),
      (["--window", "2026"], 65, "no window starts at 2026. There is 1, from global"),
    ] as [([String], Int32, String)] {
      let result = try scenario.stack.tranche(
        ["show", "job.yaml"] + arguments, in: scenario.folder.path)
      #expect(
        result.exitCode == code && result.errors.contains(message),
        "\(arguments): \(result.exitCode) \(result.errors)")
    }
    // One group is not "1 groups".
    try scenario.folder.write(
      try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
        .replacing("name: job", with: "name: one").replacing("by: [key]", with: "by: []")
        .replacing("file:out", with: "file:one"), to: "one.yaml")
    #expect(try scenario.tranche("run", "one.yaml").exitCode == 0)
    #expect(try scenario.tranche("show", "one.yaml").output.contains(": 1 group\n"))
  }

  @Test("reads a job file from standard input, and does not guess where its checkpoint lies")
  func standardInput() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        scenario.samples(partitions: 1, count: 20, seed: 1),
      ])
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    let nameless = text.replacing("name: job\n", with: "")
    func tranche(
      _ arguments: String..., input: String, environment: [String: String] = [:]
    ) throws -> ProcessResult {
      try execute(
        scenario.stack.binary, arguments, input: input, directory: scenario.folder.path,
        environment: environment)
    }
    let lost = try tranche("run", "-", input: text)
    #expect(
      lost.exitCode == 65 && lost.errors.contains("Name its folder with --checkpoints"),
      "\(lost.errors)")
    let anonymous = try tranche("run", "-", "--checkpoints", "state", input: nameless)
    #expect(
      anonymous.exitCode == 65
        && anonymous.errors.contains("-:1: has no name. Write name: calls, or give the name with"),
      "\(anonymous.errors)")
    let named = try tranche(
      "run", "-", "--name", "job", "--checkpoints", "state", input: nameless)
    #expect(named.exitCode == 0 && named.output.contains("job: 1 batch, 20 records"))
    let again = try tranche(
      "run", "-", input: text, environment: ["TRANCHE_CHECKPOINTS": "state"])
    #expect(again.output == "job: nothing new, nothing written\n", "\(again.errors)")
    #expect(
      FileManager.default.fileExists(atPath: "\(scenario.folder.path)/state/job.sqlite")
        && !FileManager.default.fileExists(atPath: "\(scenario.folder.path)/checkpoints"))
    #expect(try tranche("validate", "-", input: text).output == "-: valid\n")
    #expect(
      try tranche("validate", "-", input: nameless).errors.contains("or give the name with --name"))
    #expect(
      try tranche("validate", "-", "--name", "job", input: nameless).output == "-: valid\n")
    #expect(try tranche("validate", "job.yaml", "--name", "x", input: "").exitCode == 64)
    // Whose checkpoint it is nobody knows: the file in the current folder is another job's.
    #expect(
      try !tranche("validate", "job.yaml", "-", input: text).errors.contains("one checkpoint"))
    #expect(try tranche("run", "job.yaml", "--name", "x", input: "").exitCode == 64)
  }

  @Test("takes no rate that is no number", arguments: ["nan", "inf", "0", "-1"])
  func rate(value: String) throws {
    let result = try Scenario().tranche("produce", "--rate=\(value)")
    #expect(result.exitCode == 64 && result.errors.contains("--rate takes a number above 0."))
  }

  @Test("writes outputs at the run's end where the job says so, and then once")
  func runEnd() throws {
    let scenario = try Scenario()
    try scenario.write(output: "format: csv, publish: run_end", maxOffsets: 100)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 2_000, seed: 3, spanMinutes: 12),
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(
      run.summary["batches"] as? Int == 20 && run.summary["published"] as? Int == 3,
      "\(run.summary)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }
}
