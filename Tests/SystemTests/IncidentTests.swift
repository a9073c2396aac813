import Foundation
import TestSupport
import Testing

@Suite("A loss that was noticed")
struct IncidentTests {
  private func row(_ scenario: Scenario, _ value: String, partition: Int = 0) -> [String:
    any Sendable]
  {
    [
      "op": "produce", "topic": scenario.topic, "partition": partition, "value": value,
      "timestamp": Scenario.start,
    ]
  }

  @Test(
    "is not forgotten when the new topic has outgrown the old progress, until a person resolves it")
  func madeAnew() throws {
    let scenario = try Scenario()
    try scenario.write(
      rest: "window: global\naggregate: { by: [api_id], measures: { calls: count() } }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,1\n", "2,1\n", "3,1\n"].map { row(scenario, $0) })
    #expect(try scenario.run().exitCode == 0)
    let before = try scenario.objects()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "delete_topic", "topic": scenario.topic],
        ["op": "create", "topic": scenario.topic, "partitions": 1], row(scenario, "7,1\n"),
      ])
    let noticed = try scenario.run()
    #expect(
      noticed.exitCode == 76
        && noticed.errors.contains("the next offset is 3, and the log ended at 1"),
      "\(noticed.errors)")
    for command in ["status", "plan"] {
      let shown = try scenario.tranche(command, "job.yaml").output
      #expect(shown.contains("the next offset is 3, and the log ended at 1"), "\(shown)")
      let json = try scenario.tranche(command, "job.yaml", "--json").output
      #expect(json.contains("\"kind\":\"log_replaced\""), "\(json)")
    }
    try scenario.stack.kafka(
      scenario.stack.broker, ["8,1\n", "9,1\n", "10,1\n", "11,1\n"].map { row(scenario, $0) })
    let still = try scenario.run()
    #expect(still.exitCode == 76 && still.summary["batches"] as? Int == 0, "\(still.errors)")
    #expect(try scenario.tranche("plan", "job.yaml").output.contains("nothing to read"))
    #expect(try scenario.objects() == before)

    let words = try scenario.command("tranche resolve", endingWith: "--keep", in: still.errors)
    let resolved = try scenario.stack.tranche(words, in: scenario.folder.path)
    #expect(
      resolved.exitCode == 0 && resolved.output.contains("goes on at offset 3"),
      "\(resolved.errors)")
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 2, "\(run.errors)")
    #expect(
      try scenario.tranche(
        "resolve", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--keep"
      ).exitCode == 65)
  }

  @Test("because the topic is gone is stored as well, and a new topic of that name is not read")
  func deleted() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1], row(scenario, "1,1\n")])
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "delete_topic", "topic": scenario.topic]])
    let gone = try scenario.run()
    #expect(
      gone.exitCode == 76 && gone.errors.contains("the brokers no longer know it"),
      "\(gone.errors)")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<3).map { row(scenario, "\($0),1\n") })
    #expect(try scenario.run().exitCode == 76)
    #expect(
      try scenario.tranche("resolve", "job.yaml", "--topic", scenario.topic, "--keep").exitCode == 0
    )
    #expect(try scenario.run().summary["records"] as? Int == 2)
  }

  @Test("names a command that finds the same checkpoint from anywhere, and makes none")
  func commands() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1], row(scenario, "x\n")])
    let state = ["STATE_DIRECTORY": scenario.folder.path + "/state"]
    let run = try scenario.tranche("run", "job.yaml", environment: state)
    #expect(run.exitCode == 65)
    let command = try #require(run.errors.firstRange(of: "tranche resolve ")).upperBound
    let words = run.errors[command...].split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(words.contains("--checkpoints"), "\(words)")
    #expect(try scenario.tranche("resolve", "job.yaml", "--accept-rejects").exitCode == 65)
    #expect(
      !FileManager.default.fileExists(atPath: scenario.folder.path + "/checkpoints/job.sqlite"))
    #expect(try scenario.stack.tranche(["resolve"] + words, in: scenario.folder.path).exitCode == 0)
    #expect(try scenario.tranche("run", "job.yaml", environment: state).exitCode == 0)
  }

  @Test(
    "and resolved with a log that still ends before progress reads nothing until the log gets there"
  )
  func keptEarly() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 2]]
        + [0, 0, 1].map { row(scenario, "1,1\n", partition: $0) })
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "delete_topic", "topic": scenario.topic],
        ["op": "create", "topic": scenario.topic, "partitions": 1], row(scenario, "1,1\n"),
      ])
    let noticed = try scenario.run()
    #expect(
      noticed.exitCode == 76 && noticed.errors.contains("[1]: the job has read this partition"),
      "\(noticed.errors)")
    for partition in ["0", "1"] {
      #expect(try scenario.run().exitCode == 76)
      let resolved = try scenario.tranche(
        "resolve", "job.yaml", "--topic", scenario.topic, "--partition", partition, "--keep")
      #expect(resolved.exitCode == 0, "\(resolved.errors)")
    }
    let waiting = try scenario.run()
    #expect(waiting.exitCode == 0 && waiting.summary["lag"] as? Int == 0, "\(waiting.errors)")
    try scenario.stack.kafka(scenario.stack.broker, ["2,1\n", "3,1\n"].map { row(scenario, $0) })
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 1, "\(run.errors)")
  }

  @Test(
    """
    before the first commit changes nothing: settings and clusters are simply replaced, and the \
    first start stays
    """
  )
  func beforeTheFirstCommit() throws {
    let scenario = try Scenario()
    try scenario.write(fields: "{ api_id: bool, time_taken: int32 }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<5).map { row(scenario, "\($0 + 3),1\n") })
    let wrong = try scenario.run()
    #expect(
      wrong.exitCode == 65 && wrong.errors.contains("Correct source.format or source.fields"),
      "\(wrong.errors)")
    // What the message says to do.
    try scenario.write()
    let corrected = try scenario.run()
    #expect(
      corrected.exitCode == 0 && corrected.summary["records"] as? Int == 5, "\(corrected.errors)")
    // With something committed the same change is refused.
    try scenario.write(fields: "{ api_id: int64, time_taken: int32 }")
    #expect(try scenario.run().exitCode == 78)
  }

  @Test("does not hide a start that was corrected before the first commit")
  func correctedStart() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<5).map { row(scenario, "\($0),1\n") })
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("  format: csv\n", with: "  format: csv\n  start: latest\n"), to: "job.yaml")
    #expect(try scenario.run().summary["records"] as? Int == 0)
    try scenario.folder.write(text, to: "job.yaml")
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 5, "\(run.errors)")
  }
}
