import Foundation
import TestSupport
import Testing

/// `source.commit_group`, by the shipped binary on the real broker, as Kafka's own tools see it.
@Suite("A job's consumer group")
struct CommitGroupTests {
  private let scenario: Scenario
  private let group = uniqueName("group")
  private let otherTopic = uniqueName("calls")

  /// 700 calls in a topic of three partitions, and 100 on the other cluster.
  init() throws {
    scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 3],
        scenario.samples(partitions: 3, count: 700, seed: 3),
      ])
  }

  private func write(_ key: String, start: String = "earliest", clusters: Int = 1) throws {
    let brokers = [
      ("main", scenario.stack.broker, scenario.topic),
      ("second", scenario.stack.otherBroker, otherTopic),
    ]
    let kafka = brokers.prefix(clusters).map { name, broker, topic in
      "{ name: \(name), properties: { bootstrap.servers: \"\(broker)\" }, topics: [\(topic)] }"
    }
    try scenario.write(kafka: "[\(kafka.joined(separator: ", "))]", maxOffsets: 100)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing(
        "  format: csv\n  fields",
        with: "  start: \(start)\n  commit_group: \(key)\n  format: csv\n  fields"),
      to: "job.yaml")
  }

  private struct Lag: Decodable, Equatable { let partition, committed, end, lag: Int }

  /// What an ordinary admin client sees of a group.
  private func lag(
    _ group: String, _ topic: String? = nil, on broker: String? = nil
  ) throws -> [Lag] {
    let output = try scenario.stack.kafka(
      broker ?? scenario.stack.broker,
      [["op": "lag", "group": group, "topic": topic ?? scenario.topic]])
    return try output.split(separator: "\n").map {
      try JSONDecoder().decode(Lag.self, from: Data($0.utf8))
    }
  }

  @Test("shows an ordinary client the lag that the job itself tells, and then none")
  func lag() throws {
    try write(group)
    let first = try scenario.run("--batches", "3")
    #expect(first.exitCode == 0 && first.errors == firstRun, "\(first.errors)")
    let half = try lag(group)
    #expect(half.map(\.partition) == [0, 1, 2])
    #expect(half.map(\.lag).reduce(0, +) == 400 && first.summary["lag"] as? Int == 400)
    #expect(try scenario.run().summary["lag"] as? Int == 0)
    let all = try lag(group)
    #expect(all.map(\.lag) == [0, 0, 0] && all.map(\.committed).reduce(0, +) == 700)
  }

  private var firstRun: String {
    "job: first run: new checkpoint at \(scenario.folder.path)/checkpoints/job.sqlite\n"
  }

  @Test("is tranche-NAME for true, and there is none for false")
  func defaultName() throws {
    let topic = scenario.topic
    try write("false")
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    #expect(try lag("tranche-job").isEmpty)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    // A name of its own: the group outlives the test on the broker.
    try scenario.folder.write(
      text.replacing("name: job\n", with: "name: \(topic)\n")
        .replacing("commit_group: false", with: "commit_group: true")
        .replacing("file:out", with: "file:other"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try lag("tranche-\(topic)").map(\.lag) == [0, 0, 0])
  }

  @Test("stands on each cluster with the partitions that the job reads there")
  func clusters() throws {
    try scenario.stack.kafka(
      scenario.stack.otherBroker,
      [
        ["op": "create", "topic": otherTopic, "partitions": 2],
        scenario.samples(otherTopic, partitions: 2, count: 100, seed: 4),
      ])
    try write(group, clusters: 2)
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["warnings"] == nil, "\(run.errors)")
    #expect(try lag(group).map(\.lag) == [0, 0, 0])
    let other = try lag(group, otherTopic, on: scenario.stack.otherBroker)
    #expect(other.map(\.committed).reduce(0, +) == 100 && other.map(\.lag) == [0, 0])
    #expect(try lag(group, otherTopic).isEmpty)
  }

  @Test("is left alone while a consumer takes part in it; the run warns and ends well")
  func members() throws {
    try write(group)
    let output = try scenario.stack.kafka(
      scenario.stack.broker,
      [
        [
          "op": "as_member", "group": group, "topic": scenario.topic,
          "command": [scenario.stack.binary, "run", "job.yaml", "--quiet"],
          "folder": scenario.folder.path,
        ]
      ])
    struct Result: Decodable { let exit_code: Int32, output, errors: String }
    let result = try JSONDecoder().decode(Result.self, from: Data(output.utf8))
    #expect(result.exit_code == 0 && result.output.isEmpty)
    #expect(
      result.errors == """
        warning: source main, group \(group): consumers take part in it. The job's progress is \
        not shown there. Name a group of the job's own in source.commit_group.

        """)
    #expect(try lag(group).isEmpty)
    let after = try scenario.run()
    #expect(after.exitCode == 0 && after.errors.isEmpty && after.summary["warnings"] == nil)
    #expect(try lag(group).map(\.lag) == [0, 0, 0])
  }

  @Test("is left alone where an offset was committed by somebody else; the run warns and ends well")
  func foreign() throws {
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        [
          "op": "commit_to", "group": group, "topic": scenario.topic, "partition": 1, "offset": 7,
        ]
      ])
    try write(group)
    let run = try scenario.run()
    let warnings = run.summary["warnings"] as? [String] ?? []
    #expect(run.exitCode == 0 && run.summary["lag"] as? Int == 0)
    #expect(
      warnings.count == 1
        && warnings[0].hasPrefix(
          "source main, group \(group): the offset of main/\(scenario.topic)[1]")
        && warnings[0].contains("kafka-consumer-groups --delete --group \(group)")
        && run.errors.hasSuffix("warning: \(warnings[0])\n"), "\(run.errors)")
    #expect(try lag(group).map(\.committed) == [7])
    // Another job that has the same name, such as a copy for tests.
    let other = uniqueName("group")
    try write(other)
    #expect(try scenario.run().errors.isEmpty)
    try FileManager.default.removeItem(atPath: scenario.folder.path + "/checkpoints")
    try FileManager.default.removeItem(atPath: scenario.folder.path + "/out")
    let copy = try scenario.run()
    #expect(copy.exitCode == 0 && copy.errors.contains("\"tranche job "), "\(copy.errors)")
  }

  @Test("shows what comes, and nothing of a backfill, which moves no progress")
  func backfill() throws {
    try write(group, start: "latest")
    #expect(try scenario.run().exitCode == 0)
    let before = try lag(group)
    #expect(before.map(\.lag) == [0, 0, 0] && before.map(\.committed).reduce(0, +) == 700)
    let result = try scenario.tranche("backfill", "job.yaml", "--before-start", "--quiet")
    #expect(result.exitCode == 0 && result.errors.isEmpty, "\(result.errors)")
    #expect(try lag(group) == before)
  }
}
