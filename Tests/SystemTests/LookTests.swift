import Foundation
import TestSupport
import Testing

/// Which files are in a folder, at any depth.
private func names(in folder: TemporaryFolder) -> [String] {
  let all = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String }
  return (all ?? []).sorted()
}

extension Scenario {
  fileprivate func create(partitions: Int = 1) throws {
    try stack.kafka(
      stack.broker, [["op": "create", "topic": topic, "partitions": partitions]])
  }

  fileprivate func produce(_ messages: [[String: any Sendable]]) throws {
    try stack.kafka(
      stack.broker,
      messages.enumerated().map { index, message in
        [
          "op": "produce", "topic": topic, "partition": 0, "timestamp": Self.start + index * 1_000,
        ].merging(message) { $1 }
      })
  }

  /// For a topic that no job file names.
  fileprivate func look(_ command: String, _ arguments: String...) throws -> ProcessResult {
    try stack.tranche(
      [command] + arguments + ["--brokers", stack.broker, "--topic", topic], in: folder.path)
  }
}

@Suite("tranche peek")
struct PeekTests {
  @Test("shows the newest records of a job as it decodes them, and why it would reject one")
  func job() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.create(partitions: 2)
    try scenario.produce([
      ["value": "1,10\n"], ["value": "2,20\n2,x\n", "partition": 1], ["hex": "FF2C31"],
      [:], ["value": "3,-5"],
    ])
    let result = try scenario.tranche("peek", "job.yaml", "--records", "5")
    let lines = result.output.split(separator: "\n").map { line in
      line.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    #expect(
      lines == [
        "partition offset time api_id time_taken rejected",
        "0 3 2026-11-23T10:00:04.000Z 3 -5",
        "0 2 2026-11-23T10:00:03.000Z nullValue (null value: a tombstone)",
        "0 1 2026-11-23T10:00:02.000Z wrongType in field api_id: \"\u{FFFD}\"",
        "1 0 2026-11-23T10:00:01.000Z wrongType in field time_taken: \"x\"",
        "1 0 2026-11-23T10:00:01.000Z 2 20",
      ], "\(result.errors)")
    // Nothing is left behind: no checkpoint, no lock, no object.
    #expect(names(in: scenario.folder) == ["job.yaml"])
    let json = try scenario.tranche("peek", "job.yaml", "--records", "4", "--json")
    let objects = try json.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(objects.count == 4)
    #expect((objects[0]["values"] as? [String: Any])?["time_taken"] as? Int == -5)
    #expect(objects[0]["timestamp"] as? String == "2026-11-23T10:00:04.000Z")
    #expect((objects[1]["reject"] as? [String: Any])?["reason"] as? String == "nullValue")
    #expect(objects[2]["value_base64"] as? String == "/ywx")
    #expect(objects[3]["record"] as? Int == 1 && objects[3]["partition"] as? Int == 1)
  }

  @Test("shows any topic as it is: key, time, headers and text, and commits nothing")
  func topic() throws {
    let scenario = try Scenario()
    try scenario.create()
    let headers: [String: any Sendable] = ["a": "1"]
    try scenario.produce([
      ["value": "hello\n", "key": "k1", "headers": headers], ["hex": "000000000742FF"],
      ["value": "red \u{1B}[31m\nnext", "key": "k\u{7}"], [:],
    ])
    let result = try scenario.look("peek")
    #expect(result.exitCode == 0, "\(result.errors)")
    let lines = result.output.split(separator: "\n").map { line in
      line.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
    #expect(
      lines == [
        "partition offset time headers key value",
        "0 3 2026-11-23T10:00:03.000Z 0 NULL NULL",
        "0 2 2026-11-23T10:00:02.000Z 0 k\\u{7} red \\u{1B}[31m\\nnext",
        "0 1 2026-11-23T10:00:01.000Z 0 NULL 7 bytes: 00 00 00 00 07 42 ff",
        "0 0 2026-11-23T10:00:00.000Z 1 k1 hello",
      ])
    #expect(names(in: scenario.folder).isEmpty)
    let json = try scenario.look("peek", "--json").output
    let messages = json.split(separator: "\n")
    #expect(messages.count == 4 && messages[1].contains(#""value":"red \u001b[31m\nnext""#))
    #expect(
      messages[3]
        == """
        {"topic":"\(scenario.topic)","partition":0,"offset":0,\
        "timestamp":"2026-11-23T10:00:00.000Z","key":"k1",\
        "headers":[{"name":"a","value":"1"}],"value":"hello\\n"}
        """)
    #expect(messages[2].contains(#""value_base64":"AAAAAAdC/w==""#))
  }

  @Test("reads a topic without a job as CSV or JSON, where it is told to")
  func format() throws {
    let scenario = try Scenario()
    try scenario.create()
    try scenario.produce([["value": #"{"a":1,"user-id":"x"}"#], ["value": #"{"a":null,"b":[]}"#]])
    let result = try scenario.look("peek", "--format", "json")
    let lines = result.output.split(separator: "\n").map {
      $0.split(separator: " ", omittingEmptySubsequences: true).dropFirst(3).joined(separator: " ")
    }
    #expect(lines == ["a user-id", "NULL NULL", "1 x"], "\(result.errors)")
    let csv = try scenario.look("peek", "--format", "csv")
    #expect(csv.exitCode == 65 && csv.errors.contains("hold no JSON objects, and as CSV"))
  }

  @Test("ends as every command does where there is nothing to see")
  func failures() throws {
    let scenario = try Scenario()
    let missing = try scenario.look("peek")
    #expect(missing.exitCode == 65)
    #expect(missing.errors.contains("Check the name, or create the topic"), "\(missing.errors)")
    try scenario.create()
    #expect(try scenario.look("peek").output == "There is no message.\n")
    #expect(try scenario.look("peek", "--json").output == "")
    for (arguments, code, words) in [
      ([], 64, "Name a job file, or a topic with --topic."),
      (["job.yaml", "--topic", "t"], 64, "leave out --brokers, --topic, --property and --format"),
      (["--topic", "t", "--records", "0"], 64, "--records takes a number from 1 to 10000."),
      (["--topic", "a b"], 65, "--topic: \"a b\" is not a valid topic name. Use up to 249"),
      (["--topic", "t", "--brokers", "http://x"], 65, "--brokers: holds a '://'"),
      (
        ["--topic", "t", "--property", "plugin.library.paths=x"], 65,
        "--property plugin.library.paths: loads a library"
      ),
      (["--topic", "t", "--brokers", "127.0.0.1:1"], 69, "127.0.0.1:1"),
      (["nothing.yaml"], 65, "nothing.yaml: cannot be read"),
    ] as [([String], Int32, String)] {
      let result = try scenario.stack.tranche(["peek"] + arguments, in: scenario.folder.path)
      #expect(
        result.exitCode == code && result.errors.contains(words),
        "\(arguments): \(result.exitCode) \(result.errors)")
    }
    let json = try scenario.stack.tranche(
      ["peek", "--topic", "a b", "--json"], in: scenario.folder.path)
    #expect(json.output.contains(#""exit_code":65"#), "\(json.output)")
  }
}

@Suite("tranche init")
struct InitTests {
  @Test("writes a job file from a look at a topic, which is valid and reads every record of it")
  func accessLogs() throws {
    let scenario = try Scenario()
    try scenario.create(partitions: 3)
    try scenario.produce(
      (0..<60).map { index in
        [
          "partition": index % 3,
          "value": """
          {"at":\(Scenario.start + index * 1_000 - 40),"route":"/r\(index % 4)",\
          "secret":"s3cr3t-\(index * 7919)","duration_ms":\(index * 3)}
          """ as String,
        ]
      })
    let written = try scenario.look("init", "access")
    #expect(written.exitCode == 0, "\(written.errors)")
    #expect(
      written.output.hasPrefix(
        "jobs/access.yaml: written. It reads 60 of the newest 60 records of \(scenario.topic).\n"),
      "\(written.output)")
    for command in ["validate", "try", "run"] {
      #expect(written.output.contains("  tranche \(command) jobs/access.yaml"))
    }
    let text = try String(
      contentsOfFile: "\(scenario.folder.path)/jobs/access.yaml", encoding: .utf8)
    #expect(!text.contains("s3cr3t") && text.contains("4 different values"), "\(text)")
    #expect(names(in: scenario.folder) == ["jobs", "jobs/access.yaml"])
    let valid = try scenario.tranche("validate", "jobs/access.yaml")
    #expect(valid.output == "jobs/access.yaml: valid\n" && valid.errors == "", "\(valid.errors)")
    let run = try scenario.tranche("run", "jobs/access.yaml", "--json")
    #expect(run.output.contains(#""records":60"#) && run.output.contains(#""rejected":0"#))
    let show = try scenario.tranche("show", "jobs/access.yaml", "--csv")
    #expect(show.output.hasPrefix("route,records,total,percentage\n/r0,14,1260,"))
  }

  @Test("writes no file over another one, unless it is told to, and prints it for -")
  func overwriting() throws {
    let scenario = try Scenario()
    try scenario.create()
    try scenario.produce([["value": "1,2.50,x\n"], ["value": "2,3.25,y\n"]])
    try scenario.folder.write("mine", to: "own.yaml")
    let refused = try scenario.look("init", "--output", "own.yaml")
    #expect(refused.exitCode == 73 && refused.errors.contains("own.yaml: is there already."))
    func content() throws -> String {
      try String(contentsOfFile: "\(scenario.folder.path)/own.yaml", encoding: .utf8)
    }
    #expect(try content() == "mine")
    #expect(try scenario.look("init", "--output", "own.yaml", "--force").exitCode == 0)
    let printed = try scenario.look("init", "--output", "-")
    #expect(try printed.exitCode == 0 && printed.output.hasPrefix("# ") && content() != "mine")
    #expect(printed.output.contains("field_2: decimal(18,2)"), "\(printed.output)")
    let piped = try execute(
      scenario.stack.binary, ["validate", "-"], input: printed.output,
      directory: scenario.folder.path)
    #expect(piped.output == "-: valid\n", "\(piped.errors)")
    try scenario.folder.write("", to: "file")
    let unwritable = try scenario.look("init", "--output", "file/x.yaml")
    #expect(unwritable.exitCode == 73 && unwritable.errors.contains("file/x.yaml: cannot be"))
    #expect(names(in: scenario.folder) == ["file", "own.yaml"])
  }

  @Test("without a topic writes a template, which is valid as well")
  func template() throws {
    let scenario = try Scenario()
    let written = try scenario.tranche("init", "first")
    #expect(written.output.hasPrefix("jobs/first.yaml: written, a template."), "\(written.errors)")
    let valid = try scenario.tranche("validate", "jobs/first.yaml")
    #expect(valid.output == "jobs/first.yaml: valid\n" && valid.errors == "", "\(valid.errors)")
    let bad = try scenario.tranche("init", "No Good")
    #expect(bad.exitCode == 65 && bad.errors.contains("is not a valid job name"), "\(bad.errors)")
  }

  @Test("keeps secrets out of the file: it holds the references, and a secret itself is refused")
  func secrets() throws {
    let scenario = try Scenario()
    let login = [
      "init", "secure", "--property", "security.protocol=sasl_plaintext", "--property",
      "sasl.mechanism=PLAIN", "--property", "sasl.username=u", "--property",
    ]
    let refused = try scenario.stack.tranche(
      login + ["sasl.password=hunter2"], in: scenario.folder.path)
    #expect(refused.exitCode == 64)
    #expect(refused.errors.contains("--property 'sasl.password=${VARIABLE}'"))
    #expect(!refused.errors.contains("hunter2") && names(in: scenario.folder).isEmpty)
    let missing = try scenario.stack.tranche(
      login + ["sasl.password=${TRANCHE_TEST_PASSWORD}"], in: scenario.folder.path)
    #expect(
      missing.exitCode == 65
        && missing.errors.contains(
          "--property sasl.password: needs the environment variable TRANCHE_TEST_PASSWORD"),
      "\(missing.errors)")
    let written = try scenario.stack.tranche(
      login + ["sasl.password=${TRANCHE_TEST_PASSWORD}"], in: scenario.folder.path,
      environment: ["TRANCHE_TEST_PASSWORD": "hunter2"])
    #expect(written.exitCode == 0, "\(written.errors)")
    let text = try String(
      contentsOfFile: "\(scenario.folder.path)/jobs/secure.yaml", encoding: .utf8)
    #expect(
      text.contains("sasl.password: \"${TRANCHE_TEST_PASSWORD}\"") && !text.contains("hunter2"))
  }

  @Test("says what to do where no job could read the topic, and writes nothing")
  func unreadable() throws {
    for (message, words) in [
      (nil, "there is no message yet. Try again when there are some."),
      (["hex": "00000000071A02"], "was written with a schema registry"),
      (["hex": "1F8B0800"], "the first bytes are those of gzip. Let the producer compress batches"),
      ([:], "the newest message has no value (a tombstone)"),
    ] as [([String: String]?, String)] {
      let scenario = try Scenario()
      try scenario.create()
      if let message { try scenario.produce([message]) }
      let result = try scenario.look("init")
      #expect(result.exitCode == 65 && result.errors.contains(words), "\(result.errors)")
      #expect(names(in: scenario.folder).isEmpty)
    }
    let scenario = try Scenario()
    let missing = try scenario.look("init")
    #expect(missing.exitCode == 65 && missing.errors.contains("or create the topic"))
    let down = try scenario.stack.tranche(
      ["init", "--topic", "t", "--brokers", "127.0.0.1:1"], in: scenario.folder.path)
    #expect(down.exitCode == 69 && names(in: scenario.folder).isEmpty, "\(down.errors)")
  }
}
