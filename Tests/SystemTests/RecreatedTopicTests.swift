import Foundation
import Glibc
import TestSupport
import Testing

/// A topic is deleted and made again between two runs, on the real broker. What an election or
/// compaction does to a log is in `RewrittenLogTests`.
@Suite("A topic that was made anew")
struct RecreatedTopicTests {
  /// The old topic has two partitions; four records of its first one were counted.
  struct Variant: CustomTestStringConvertible, Sendable {
    let testDescription: String
    /// Records of the new topic's first partition.
    let newCount: Int
    var partitions = 2
    /// A run met the new topic when it had this many records.
    var metAtCount: Int?
    /// How the run that met it ended.
    var metExitCode: Int32 = 76
    let noticed: String
    /// What is counted after each choice; nil where the choice is refused.
    let restart: Int?
    let keep: Int
    let gap: Int?
  }

  private static let ended = "the log ended at"
  private static let changed = "the message at offset 3 is not the one that the job has read there"
  private static let variants = [
    Variant(
      testDescription: "shorter", newCount: 2, noticed: ended, restart: 4 + 2, keep: 4, gap: nil),
    Variant(
      testDescription: "as long, and unnoticed until it grows", newCount: 5, metAtCount: 4,
      metExitCode: 0, noticed: changed, restart: 4 + 5, keep: 4 + 1, gap: 4),
    Variant(
      testDescription: "longer", newCount: 6, noticed: changed, restart: 4 + 6, keep: 4 + 2,
      gap: 4),
    Variant(
      testDescription: "shorter when it is noticed, and longer since", newCount: 7, metAtCount: 1,
      noticed: ended, restart: 4 + 7, keep: 4 + 3, gap: 4),
    Variant(
      testDescription: "longer when it is noticed, and longer still since", newCount: 9,
      metAtCount: 6, noticed: changed, restart: 4 + 9, keep: 4 + 5, gap: 4),
    Variant(
      testDescription: "empty", newCount: 0, noticed: ended, restart: 4, keep: 4, gap: nil),
    Variant(
      testDescription: "of fewer partitions, and longer", newCount: 6, partitions: 1,
      noticed: "the topic no longer has it", restart: nil, keep: 4 + 2, gap: nil),
  ]

  private func rows(_ scenario: Scenario, _ text: String, _ range: Range<Int>, partition: Int = 0)
    -> [[String: any Sendable]]
  {
    range.map {
      [
        "op": "produce", "topic": scenario.topic, "partition": partition,
        "value": "\($0),\(text)\n", "timestamp": Scenario.start,
      ]
    }
  }

  private func write(_ scenario: Scenario) throws {
    try scenario.write(
      fields: "{ api_id: int32, name: string }",
      rest: "window: global\naggregate: { by: [], measures: { n: count() } }")
  }

  private func counted(_ scenario: Scenario) throws -> Int {
    let object = try #require(scenario.objects().values.first)
    let lines = String(decoding: object, as: UTF8.self).split(separator: "\n")
    return try #require(lines.last.flatMap { Int($0) })
  }

  @Test(
    "is noticed before anything of it is counted, and goes on as a person decides",
    arguments: variants, ["restart", "keep", "gap"])
  func variant(variant: Variant, choice: String) throws {
    let scenario = try Scenario()
    try write(scenario)
    let broker = scenario.stack.broker
    var met = variant.metAtCount ?? variant.newCount
    func create(_ partitions: Int) -> [String: any Sendable] {
      ["op": "create", "topic": scenario.topic, "partitions": partitions]
    }
    try scenario.stack.kafka(
      broker,
      [create(2)] + rows(scenario, "old", 0..<4) + rows(scenario, "old", 0..<1, partition: 1))
    #expect(try scenario.run().exitCode == 0)
    #expect(try counted(scenario) == 5)
    // The second partition's record is there again, so that only the first one is in doubt, unless
    // the partition is gone.
    try scenario.stack.kafka(
      broker,
      [["op": "delete_topic", "topic": scenario.topic], create(variant.partitions)]
        + rows(scenario, "new", 0..<met)
        + (variant.partitions == 2 ? rows(scenario, "old", 0..<1, partition: 1) : []))
    if variant.metAtCount != nil {
      let run = try scenario.run()
      #expect(run.exitCode == variant.metExitCode, "\(run.errors)")
      try scenario.stack.kafka(broker, rows(scenario, "new", met..<variant.newCount))
      met = variant.newCount
    }
    let before = try scenario.objects()
    for _ in 0..<2 {
      let run = try scenario.run()
      #expect(run.exitCode == 76 && run.errors.contains(variant.noticed), "\(run.errors)")
      #expect(run.summary["batches"] as? Int == 0)
    }
    #expect(try scenario.objects() == before)
    let status = try scenario.tranche("status", "job.yaml")
    #expect(status.output.contains(variant.noticed), "\(status.output)")
    let expected =
      switch choice {
      case "restart": variant.restart
      case "gap": variant.gap
      default: variant.keep
      }
    let named = try? scenario.command(
      "tranche resolve", endingWith: "--\(choice)", in: status.output)
    // What is named can be done; what cannot be is not named.
    if expected == nil { #expect(named == nil, "\(status.output)") }
    let words =
      named
      ?? ["resolve", "job.yaml", "--topic", scenario.topic, "--partition"]
      + [variant.partitions == 2 ? "0" : "1", "--\(choice)"]
    let resolved = try scenario.stack.tranche(words, in: scenario.folder.path)
    #expect((resolved.exitCode == 0) == (expected != nil), "\(resolved)")
    guard let expected else { return }
    if variant.partitions < 2 {
      // Only now that the other partition is decided about, this one is compared.
      #expect(try scenario.run().errors.contains(Self.changed))
      #expect(
        try scenario.tranche("resolve", "job.yaml", "--topic", scenario.topic, "--keep").exitCode
          == 0)
    }
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(try counted(scenario) == expected + 1)
    // And it goes on from there.
    try scenario.stack.kafka(broker, rows(scenario, "more", 0..<10))
    #expect(try scenario.run().exitCode == 0)
    let more = choice == "keep" ? max(0, variant.newCount + 10 - max(4, variant.newCount)) : 10
    #expect(try counted(scenario) == expected + 1 + more)
  }

  @Test(
    "is decided about once, at whichever step the command dies",
    arguments: zip(["restart", "keep", "gap"], [4 + 6, 4 + 2, 4]))
  func deaths(choice: String, expected: Int) throws {
    let scenario = try Scenario()
    try write(scenario)
    let create: [String: any Sendable] = [
      "op": "create", "topic": scenario.topic, "partitions": 1,
    ]
    try scenario.stack.kafka(scenario.stack.broker, [create] + rows(scenario, "old", 0..<4))
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "delete_topic", "topic": scenario.topic], create] + rows(scenario, "new", 0..<6))
    #expect(try scenario.run().exitCode == 76)
    let files = FileManager.default
    let folder = scenario.folder.path
    for name in ["checkpoints", "out"] {
      try files.copyItem(atPath: "\(folder)/\(name)", toPath: "\(folder)/\(name).before")
    }
    var deathCount = 0
    for step in 1...10 {
      for name in ["checkpoints", "out"] {
        try files.removeItem(atPath: "\(folder)/\(name)")
        try files.copyItem(atPath: "\(folder)/\(name).before", toPath: "\(folder)/\(name)")
      }
      let command = ["resolve", "job.yaml", "--topic", scenario.topic, "--\(choice)"]
      let first = try scenario.stack.tranche(command + ["--die-at-step", "\(step)"], in: folder)
      if first.exitCode != -SIGKILL {
        #expect(first.exitCode == 0 && deathCount > 0, "\(first)")
        return
      }
      deathCount += 1
      // Decided, or not yet.
      #expect([0, 65].contains(try scenario.stack.tranche(command, in: folder).exitCode))
      let run = try scenario.run()
      #expect(run.exitCode == 0, "died at step \(step): \(run.errors)")
      #expect(try counted(scenario) == expected, "died at step \(step)")
    }
    Issue.record("still dying")
  }

  @Test("backfills what it holds, also where a partition is gone and had a gap")
  func backfill() throws {
    let scenario = try Scenario()
    try write(scenario)
    let broker = scenario.stack.broker
    func create(_ partitions: Int) -> [String: any Sendable] {
      ["op": "create", "topic": scenario.topic, "partitions": partitions]
    }
    try scenario.stack.kafka(
      broker,
      [create(2)] + rows(scenario, "old", 0..<4) + rows(scenario, "old", 0..<4, partition: 1))
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      broker, rows(scenario, "old", 4..<7) + rows(scenario, "old", 4..<7, partition: 1))
    for partition in ["0", "1"] {
      let skip = try scenario.tranche(
        "skip", "job.yaml", "--topic", scenario.topic, "--partition", partition, "--from", "4",
        "--to", "6")
      #expect(skip.exitCode == 0, "\(skip.errors)")
    }
    #expect(try scenario.run().exitCode == 0)
    #expect(try counted(scenario) == 10)
    try scenario.stack.kafka(
      broker,
      [["op": "delete_topic", "topic": scenario.topic], create(1)] + rows(scenario, "new", 0..<9))
    for _ in 0..<2 {
      #expect(try scenario.run().exitCode == 76)
      #expect(
        try scenario.tranche("resolve", "job.yaml", "--topic", scenario.topic, "--keep").exitCode
          == 0)
    }
    #expect(try scenario.run().exitCode == 0)
    #expect(try counted(scenario) == 12)
    let gaps = try scenario.tranche("backfill", "job.yaml", "--gaps")
    #expect(gaps.exitCode == 0, "\(gaps.errors)")
    #expect(gaps.output.contains("[1]  [4, 6)"), "\(gaps.output)")
    #expect(gaps.output.contains("the broker does not hold it"), "\(gaps.output)")
    #expect(try counted(scenario) == 14)
    for arguments in [["--before-start"], ["--from-time", "2026-11-23T10:00:00Z"]] {
      let again = try scenario.stack.tranche(
        ["backfill", "job.yaml"] + arguments, in: scenario.folder.path)
      #expect(again.exitCode == 0, "\(again.errors)")
    }
    #expect(try counted(scenario) == 14)
  }

  @Test("keeps the other topics from nothing where the job passes over lost data")
  func otherTopics() throws {
    let scenario = try Scenario()
    let other = scenario.topic + "-other"
    try write(scenario)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("topics: [\(scenario.topic)]", with: "topics: [\(scenario.topic), \(other)]")
        .replacing(
          "  format: csv\n  fields", with: "  format: csv\n  on_data_loss: skip\n  fields"),
      to: "job.yaml")
    let create: [String: any Sendable] = [
      "op": "create", "topic": scenario.topic, "partitions": 1,
    ]
    func otherRow(_ number: Int) -> [String: any Sendable] {
      ["op": "produce", "topic": other, "partition": 0, "value": "\(number),x\n", "timestamp": 0]
    }
    try scenario.stack.kafka(
      scenario.stack.broker,
      [create, ["op": "create", "topic": other, "partitions": 1]]
        + rows(scenario, "old", 0..<3) + [otherRow(0)])
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "delete_topic", "topic": scenario.topic], create]
        + rows(scenario, "new", 0..<8) + (1...2).map(otherRow))
    for records in [2, 0] {
      let run = try scenario.run()
      #expect(run.exitCode == 76 && run.summary["records"] as? Int == records, "\(run.errors)")
    }
    #expect(try counted(scenario) == 6)
    let plan = try scenario.tranche("plan", "job.yaml").output
    #expect(plan.contains("nothing to read: a log was replaced"), "\(plan)")
    #expect(
      try scenario.tranche("resolve", "job.yaml", "--topic", scenario.topic, "--restart").exitCode
        == 0)
    #expect(try scenario.run().exitCode == 0)
    #expect(try counted(scenario) == 14)
  }
}
