import Foundation
import TestSupport
import Testing

/// A program that reads `--json` gets an object for every exit code.
@Suite("With --json, a command that fails", .serialized)
struct FailureReportTests {
  /// What goes wrong, and how it is brought about.
  enum Failure: String, CaseIterable, CustomTestStringConvertible {
    case wrongUsage, jobFile, noJobFile, unknownTopic, unreachable, tooFewFiles, tooFewThreads
    case noFolder, damaged, locked, lost, noLogin, changed
    var testDescription: String { rawValue }

    /// Of a run.
    var expected: (code: Int32, name: String) {
      switch self {
      case .wrongUsage: (64, "usage")
      case .jobFile, .noJobFile, .unknownTopic: (65, "data")
      case .unreachable: (69, "unreachable")
      case .tooFewFiles, .tooFewThreads: (71, "lack_of_resources")
      case .noFolder: (73, "cannot_create")
      case .damaged: (74, "input_output")
      case .locked: (75, "locked")
      case .lost: (76, "data_loss")
      case .noLogin: (77, "no_permission")
      case .changed: (78, "job_changed")
      }
    }
  }

  /// Runs a command in a shell within its limits, and holds its output against what a program
  /// expects of it.
  ///
  /// - Returns: The object that it printed.
  @discardableResult
  private func check(
    _ command: String, _ scenario: Scenario, code: Int32, name: String, limits: String = ""
  ) throws -> [String: Any] {
    let result = try execute(
      "/bin/bash", ["-c", "\(limits) exec \"$TRANCHE\" \(command)"],
      directory: scenario.folder.path, environment: ["TRANCHE": scenario.stack.binary])
    #expect(result.exitCode == code, "\(command): \(result)")
    let lines = result.output.split(separator: "\n")
    #expect(lines.count == 1, "\(command): \(result)")
    let report = try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    #expect(report["exit_code"] as? Int == Int(code), "\(report)")
    let errors = try #require(report["errors"] as? [[String: String]], "\(report)")
    #expect(errors.first?["code"] == name, "\(report)")
    for error in errors {
      let message = try #require(error["message"])
      #expect(error["code"]?.isEmpty == false && !message.isEmpty)
      // A person reads the same, in one line each.
      #expect(name == "usage" || result.errors.contains(message), "\(message): \(result.errors)")
    }
    #expect(
      report["error"] as? String
        == errors.compactMap { $0["message"] }.joined(separator: "\n"))
    return report
  }

  private func produced(_ scenario: Scenario) throws {
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,1\n", "2,1\n"].map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": $0,
            "timestamp": Scenario.start,
          ]
        })
  }

  private func kafka(_ scenario: Scenario, _ broker: ScriptedBroker, _ more: String = "") -> String
  {
    "[{ name: main, properties: { bootstrap.servers: \"\(broker.address)\"\(more) }, "
      + "topics: [\(scenario.topic)] }]"
  }

  private static let login =
    ", security.protocol: sasl_plaintext, sasl.mechanism: PLAIN, sasl.username: u, "
    + "sasl.password: p"

  private static let all = ["run", "backfill --list", "plan", "status", "show"]

  @Test("prints an object that says so, whatever the exit code", arguments: Failure.allCases)
  func everyCode(_ failure: Failure) throws {
    let scenario = try Scenario()
    let (code, name) = failure.expected
    var commands = ["run", "plan"]
    var arguments = "job.yaml --json"
    var limits = ""
    var broker: ScriptedBroker?
    switch failure {
    case .wrongUsage:
      commands = Self.all
      arguments += " --no-such-option"
    case .jobFile:
      commands = Self.all
      try scenario.write(format: "cvs", fields: "{ api_id: int33, time_taken: int32 }")
    case .noJobFile: commands = Self.all
    case .unknownTopic: try scenario.write()
    case .unreachable:
      let web = ScriptedBroker(.http)
      broker = web
      try scenario.write(kafka: kafka(scenario, web))
    case .tooFewFiles:
      commands = Self.all
      try scenario.write()
      limits = "ulimit -n 16;"
    case .tooFewThreads:
      commands = Self.all
      try scenario.write()
      // Not one more stack fits into the address space.
      limits = "ulimit -s 60000000; ulimit -v 50000000;"
    case .noFolder:
      commands = ["run"]
      try scenario.write()
      arguments += " --checkpoints /proc/none"
    case .damaged:
      commands = Self.all
      try produced(scenario)
      #expect(try scenario.run().exitCode == 0)
      try scenario.folder.write(String(repeating: "x", count: 9_999), to: "checkpoints/job.sqlite")
    case .locked:
      commands = ["run"]
      try produced(scenario)
      #expect(try scenario.run().exitCode == 0)
      limits = "exec 9<>checkpoints/job.lock; flock -x 9;"
    case .lost:
      commands = ["run"]
      try produced(scenario)
      #expect(try scenario.run().exitCode == 0)
      try scenario.stack.kafka(
        scenario.stack.broker, [["op": "delete_topic", "topic": scenario.topic]])
    case .noLogin:
      let refusing = ScriptedBroker(.refusesLogin("no"))
      broker = refusing
      try scenario.write(kafka: kafka(scenario, refusing, Self.login))
    case .changed:
      commands = ["run", "show"]
      try produced(scenario)
      #expect(try scenario.run().exitCode == 0)
      try scenario.write(fields: "{ api_id: int64, time_taken: int64 }")
    }
    for command in commands {
      let report = try check(
        "\(command) \(arguments)", scenario, code: code, name: name, limits: limits)
      switch command {
      case _ where failure == .wrongUsage: break
      case "run", "backfill --list":
        #expect(report["batches"] as? Int == 0 && report["seconds"] != nil, "\(report)")
        let isRead = ![.jobFile, .noJobFile, .tooFewFiles, .tooFewThreads].contains(failure)
        #expect(report["job"] as? String == (isRead ? "job" : nil), "\(report)")
      case "status" where [.tooFewFiles, .tooFewThreads].contains(failure): break
      default: #expect(report["job_file"] as? String == "job.yaml", "\(report)")
      }
      // Each fault by itself.
      if failure == .jobFile {
        #expect((report["errors"] as? [Any]).map { $0.count >= 2 } == true, "\(report)")
      }
    }
    withExtendedLifetime(broker) {}
  }

  @Test("is told so by show as well: no run yet, no such window, no such column")
  func nothingToShow() throws {
    let scenario = try Scenario()
    try produced(scenario)
    try check("show job.yaml --json", scenario, code: 65, name: "data")
    #expect(try scenario.run().exitCode == 0)
    for arguments in ["--window 1970-01-01", "--columns nothing"] {
      let report = try check(
        "show job.yaml --json \(arguments)", scenario, code: 65, name: "data")
      #expect(report["job_file"] as? String == "job.yaml", "\(report)")
    }
    #expect(try scenario.tranche("show", "job.yaml", "--columns", "nothing").output.isEmpty)
  }

  @Test("bears the exit code of the process, also where a monitor needs another")
  func monitor() throws {
    let scenario = try Scenario()
    try check("check job.yaml --json --no-such-option", scenario, code: 3, name: "usage")
  }

  @Test("tells of each job by itself where several are asked for")
  func severalJobs() throws {
    let scenario = try Scenario()
    try scenario.write()
    let result = try scenario.tranche("status", "none.yaml", "job.yaml", "--offline", "--json")
    #expect(result.exitCode == 65)
    let reports = try result.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(reports.count == 2 && reports[0]["job_file"] as? String == "none.yaml", "\(reports)")
    #expect(reports[1]["job"] as? String == "job" && reports[1]["errors"] == nil, "\(reports)")
  }

  @Test("to read and to render tells of both, in text and in the object")
  func readingAndRendering() throws {
    let scenario = try Scenario()
    func write(kafka: String?) throws {
      try scenario.write(
        kafka: kafka, fields: "{ api_id: int32, time_taken: int64 }",
        rest: """
          window: { tumbling: 1m }
          aggregate: { by: [api_id], measures: { time_taken: sum(time_taken) } }
          select: { share: 1.0 * time_taken / sum(time_taken) OVER () }
          """)
    }
    try write(kafka: nil)
    // Their sum over both groups does not fit.
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,9223372036854775807\n", "2,9\n"].map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": $0,
            "timestamp": Scenario.start,
          ]
        })
    #expect(try scenario.run().exitCode == 65)
    let web = ScriptedBroker(.http)
    try write(kafka: kafka(scenario, web))
    let report = try check("run job.yaml --json", scenario, code: 69, name: "unreachable")
    let errors = try #require(report["errors"] as? [[String: String]])
    #expect(errors.map { $0["code"] } == ["unreachable", "data"], "\(errors)")
    #expect(errors[0]["message"]?.contains("speaks HTTP, not Kafka") == true)
    #expect(errors[1]["message"]?.contains("window 2026-11-23T10:00:00.000Z") == true)
    let text = try scenario.tranche("run", "job.yaml")
    for words in ["speaks HTTP, not Kafka", "window 2026-11-23T10:00:00.000Z"] {
      #expect(text.errors.contains(words), "\(text)")
    }
  }
}

@Suite("What librdkafka says")
struct ClientLogReportTests {
  private func properties(_ scenario: Scenario, _ properties: String) throws {
    try scenario.write(
      kafka: "[{ name: main, properties: { \(properties) }, topics: [\(scenario.topic)] }]")
  }

  private func createTopic(_ scenario: Scenario) throws {
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
  }

  @Test("is heard where the property debug asks for it, and else where it is a trouble")
  func debug() throws {
    let scenario = try Scenario()
    try createTopic(scenario)
    let broker = "bootstrap.servers: \"\(scenario.stack.broker)\""
    try properties(scenario, broker)
    #expect(!(try scenario.tranche("run", "job.yaml")).errors.contains("librdkafka"))
    try properties(scenario, "\(broker), debug: broker")
    let run = try scenario.tranche("run", "job.yaml")
    #expect(run.exitCode == 0)
    #expect(
      run.errors.split(separator: "\n").contains {
        $0.contains(" debug ") && $0.contains("facility=BROKER") && $0.contains("source=main")
      }, "\(run.errors)")
    #expect(try scenario.tranche("plan", "job.yaml").errors.contains("facility=BROKER"))
  }

  @Test(
    """
    is not all: a login without a protocol for it is warned of, by validate and by run, and the \
    run goes on
    """)
  func warning() throws {
    let scenario = try Scenario()
    try createTopic(scenario)
    try properties(
      scenario,
      "bootstrap.servers: \"\(scenario.stack.broker)\", sasl.mechanism: PLAIN, sasl.username: u, "
        + "sasl.password: hunter2")
    for command in ["validate", "run"] {
      let result = try scenario.tranche(command, "job.yaml")
      #expect(result.exitCode == 0)
      #expect(
        result.errors.contains(
          "sasl.username: has no effect: security.protocol is plaintext, so it talks plaintext"),
        "\(result)")
      #expect(!result.errors.contains("hunter2"))
    }
  }

  @Test("of a wait is told where it is asked for, at level info")
  func wait() throws {
    let scenario = try Scenario()
    let broker = ScriptedBroker(.says([]))
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"\(broker.address)\" }, topics: [t] }]")
    let result = try scenario.tranche("plan", "job.yaml", during: { _ in })
    #expect(result.exitCode == 69)
    #expect(!result.errors.contains("waiting"))
    let verbose = try scenario.tranche("run", "job.yaml", "--verbose")
    #expect(
      verbose.errors.split(separator: "\n").filter {
        $0.contains(" info ") && $0.contains("waiting") && $0.contains(broker.address)
      }.count == 1, "\(verbose.errors)")
  }
}
