import Foundation
import Glibc
import TestSupport
import Testing

/// Backfills by the shipped binary on the real broker.
@Suite("A backfill")
struct BackfillTests {
  /// A topic of three partitions that grew for twelve minutes, and a job that starts in its
  /// middle, by a time.
  private static func scenario(
    topic: String? = nil, count: Int = 900, start: String = "\"2026-11-23T10:06:00Z\"",
    maxOffsets: Int = 60, rest: String? = nil, output: String = "format: csv"
  ) throws -> Scenario {
    let scenario = try Scenario()
    if topic == nil {
      try scenario.stack.kafka(
        scenario.stack.broker,
        [["op": "create", "topic": scenario.topic, "partitions": 3]]
          + (0..<count).map { number -> [String: any Sendable] in
            [
              "op": "produce", "topic": scenario.topic, "partition": number % 3,
              "value": "\(number % 7),\(number % 50)\n",
              "timestamp": Scenario.start + number * 12 * 60_000 / count,
            ]
          })
    }
    let kafka =
      "[{ name: main, properties: { bootstrap.servers: \"\(scenario.stack.broker)\" }, topics: "
      + "[\(topic ?? scenario.topic)] }]"
    try scenario.write(kafka: kafka, rest: rest, output: output, maxOffsets: maxOffsets)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("  format: csv\n  fields", with: "  start: \(start)\n  format: csv\n  fields"),
      to: "job.yaml")
    return scenario
  }

  private func backfill(_ scenario: Scenario, _ arguments: String...) throws -> ProcessResult {
    try scenario.stack.tranche(["backfill", "job.yaml"] + arguments, in: scenario.folder.path)
  }

  private func query(_ scenario: Scenario, _ sql: String) throws -> String {
    let result = try execute(
      "/usr/bin/sqlite3", [scenario.folder.path + "/checkpoints/job.sqlite", sql])
    try #require(result.exitCode == 0, "\(result.errors)")
    return result.output
  }

  /// How the content came to be, but for what clocks leave.
  private func history(_ scenario: Scenario) throws -> String {
    try scenario.state()
      + query(
        scenario,
        """
        SELECT batch, backfill FROM batches ORDER BY 1; SELECT * FROM backfilled ORDER BY 1, 2;
        SELECT backfill, goes_first, offsets, counted_offsets, state FROM backfills ORDER BY 1;
        SELECT * FROM backfill_ranges
        """)
  }

  @Test("counts what lies before the start once, and says so where it is asked again")
  func beforeStart() throws {
    let scenario = try Self.scenario()
    let first = try scenario.run()
    #expect(first.exitCode == 0, "\(first.errors)")
    let live = try #require(first.summary["records"] as? Int)
    #expect(live == 450)

    let dry = try backfill(scenario, "--before-start", "--dry-run")
    #expect(dry.output.contains("a backfill would read \(900 - live) offsets"), "\(dry.output)")
    let plan = try backfill(scenario, "--before-start", "--dry-run", "--json")
    #expect(plan.output.contains("\"offsets\":\(900 - live)"), "\(plan.output)")
    #expect(plan.output.contains("\"state\":\"read\"") && !plan.output.contains("\"backfill\""))
    #expect(try query(scenario, "SELECT count(*) FROM backfills") == "0\n")

    let done = try backfill(scenario, "--before-start")
    #expect(done.exitCode == 0, "\(done.errors)")
    #expect(
      done.output.contains("backfill 1: \(900 - live) offsets to read")
        && done.output.contains("\(900 - live) offsets backfilled"), "\(done.output)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    let before = try history(scenario)

    let again = try backfill(scenario, "--before-start")
    #expect(again.exitCode == 0, "\(again.errors)")
    #expect(
      again.output.contains("job: nothing to backfill")
        && again.output.contains("counted already"), "\(again.output)")
    #expect(try history(scenario) == before)
    // Three partitions, and a row for each.
    #expect(try query(scenario, "SELECT count(*) FROM backfilled") == "3\n")
    let status = try scenario.tranche("status", "job.yaml")
    #expect(status.output.contains("backfilled"), "\(status.output)")
  }

  @Test("clamps a range to what progress has passed, and names what it leaves out")
  func clamps() throws {
    let scenario = try Self.scenario()
    #expect(try scenario.run("--batches", "2").exitCode == 0)
    let dry = try backfill(
      scenario, "--topic", scenario.topic, "--partition", "0", "--from", "5", "--to", "1000000",
      "--dry-run")
    #expect(
      dry.output.contains("to be read") && dry.output.contains("counted already")
        && dry.output.contains("at the job's progress or above: runs read it"), "\(dry.output)")
    let unknown = try backfill(
      scenario, "--topic", scenario.topic, "--partition", "7", "--from", "5", "--to", "10")
    #expect(
      unknown.exitCode == 65 && unknown.errors.contains("has not read this partition yet"),
      "\(unknown.errors)")
    let wrong = try backfill(
      scenario, "--topic", scenario.topic, "--partition", "0", "--from", "5")
    #expect(wrong.exitCode == 64 && wrong.errors.contains("Every range takes"), "\(wrong.errors)")
    #expect(try backfill(scenario).exitCode == 64)
    let early = try Self.scenario(topic: scenario.topic)
    let none = try backfill(early, "--before-start")
    #expect(none.exitCode == 65 && none.errors.contains("Run the job once first"), "\(none.errors)")
  }

  @Test("takes a time on every partition, as the brokers date their messages")
  func times() throws {
    let scenario = try Self.scenario()
    #expect(try scenario.run().exitCode == 0)
    let done = try backfill(
      scenario, "--from-time", "2026-11-23T10:03:00Z", "--to-time", "2026-11-23T10:06:00Z")
    #expect(done.exitCode == 0, "\(done.errors)")
    // The job began at that time: so the result is that of a job that began three minutes earlier.
    let other = try Self.scenario(topic: scenario.topic, start: "\"2026-11-23T10:03:00Z\"")
    #expect(other.topic != scenario.topic)
    #expect(try other.run().exitCode == 0)
    #expect(try scenario.objects() == other.objects())
  }

  @Test("counts offsets that were skipped after all, so that no gap is left of them")
  func gaps() throws {
    let scenario = try Self.scenario(start: "earliest")
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    for partition in ["0", "1"] {
      let skipped = try scenario.tranche(
        "skip", "job.yaml", "--topic", scenario.topic, "--partition", partition, "--from", "100",
        "--to", "110")
      #expect(skipped.exitCode == 0, "\(skipped.errors)")
    }
    // Ahead of progress there is nothing to backfill yet.
    let early = try backfill(scenario, "--gaps")
    #expect(early.output.contains("nothing to backfill"), "\(early.output)")
    #expect(try scenario.run().exitCode == 0)
    let one = try backfill(
      scenario, "--topic", scenario.topic, "--partition", "0", "--from", "102", "--to", "104")
    #expect(one.exitCode == 0, "\(one.errors)")
    let status = try scenario.tranche("status", "job.yaml").output
    #expect(
      status.contains("[0] [100, 102) skipped") && status.contains("[0] [104, 110) skipped")
        && status.contains("[1] [100, 110) skipped"), "\(status)")
    let rest = try backfill(scenario, "--gaps")
    #expect(rest.output.contains("18 offsets backfilled"), "\(rest.output)")
    #expect(try !scenario.tranche("status", "job.yaml").output.contains("skipped"))
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("leaves out what the broker has removed, and names it")
  func removed() throws {
    let scenario = try Self.scenario()
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "delete_records", "topic": scenario.topic, "partition": 1, "before": 20]])
    let done = try backfill(scenario, "--before-start")
    #expect(done.exitCode == 0, "\(done.errors)")
    #expect(
      done.output.contains("[1]  [0, 20) ") && done.output.contains("the broker does not hold it"),
      "\(done.output)")
    #expect(try query(scenario, "SELECT max(from_offset) FROM backfilled") == "20\n")
    // Removed after it was asked for: the run names it, and so does the list.
    let late = try Self.scenario()
    #expect(try late.run().exitCode == 0)
    #expect(
      try backfill(late, "--before-start", "--die-at-step", "2").exitCode == -SIGKILL)
    try late.stack.kafka(
      late.stack.broker,
      [["op": "delete_records", "topic": late.topic, "partition": 2, "before": 30]])
    let run = try late.tranche("run", "job.yaml")
    #expect(
      run.exitCode == 0 && run.output.contains("left out of the backfill")
        && run.output.contains("[2] [0, 30)"), "\(run.output)\(run.errors)")
    let list = try backfill(late, "--list")
    #expect(
      list.output.contains("done")
        && list.output.contains(
          "[2] [0, 30): not read: the broker did not hold it, or its log was replaced"),
      "\(list.output)")
  }

  @Test("leaves a mark of the log, so that a topic that is made anew afterwards is noticed")
  func fingerprint() throws {
    let scenario = try Self.scenario(count: 30, start: "latest")
    #expect(try scenario.run().summary["records"] as? Int == 0)
    #expect(try backfill(scenario, "--before-start").exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "delete_topic", "topic": scenario.topic],
        ["op": "create", "topic": scenario.topic, "partitions": 3],
        scenario.samples(partitions: 3, count: 90, seed: 2),
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 76, "\(run)")
  }

  /// The section's only block of commands.
  @Test("does what the README says, word for word")
  func readme() throws {
    let stack = try TestStack()
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    let section = try #require(text.components(separatedBy: "\n## Backfill\n").last)
    let block = try #require(
      section.components(separatedBy: "```sh\n").dropFirst().first?
        .components(separatedBy: "```").first)
    let topic = "late_calls"
    #expect(block.contains("topics: [\(topic)]"))
    // The servers of the tests outlive a test.
    _ = try? stack.kafka(stack.broker, [["op": "delete_topic", "topic": topic]])
    defer { _ = try? stack.kafka(stack.broker, [["op": "delete_topic", "topic": topic]]) }
    let folder = try TemporaryFolder()
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/tranche", withDestinationPath: stack.binary)
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    let shell = try execute(
      "/bin/sh", ["-e", "-c", block], directory: folder.path,
      environment: ["PATH": "\(folder.path):\(path)", "KAFKA_BROKERS": stack.broker])
    #expect(shell.exitCode == 0, "\(shell)")
    let told = [
      "10,000 records published", "late: nothing new, nothing written", "500 records published",
      "500 records in", "late: a backfill would read 10,000 offsets",
      "late: backfill 1: 10,000 offsets to read", "10,000 offsets backfilled",
      "late: nothing to backfill", "200 groups",
    ]
    var rest = shell.output[...]
    for words in told {
      let found = rest.range(of: words)
      #expect(found != nil, "\(words) in \(shell.output)")
      if let found { rest = rest[found.upperBound...] }
    }
    let objects = folder.files(below: "late-results")
    let counted = String(decoding: objects["part-0.csv"] ?? Data(), as: UTF8.self)
      .split(separator: "\n").dropFirst()
      .reduce(0) { $0 + (Int($1.split(separator: ",")[1]) ?? 0) }
    #expect(counted == 10_500)
  }

  @Test("that is told to cancel stops there, keeps what it counted, and can be asked for again")
  func cancels() throws {
    let scenario = try Self.scenario()
    #expect(try scenario.run().exitCode == 0)
    let died = try backfill(scenario, "--before-start", "--die-at-step", "4")
    #expect(died.exitCode == -SIGKILL, "\(died)")
    let list = try backfill(scenario, "--list", "--json")
    #expect(list.output.contains("\"state\":\"open\""), "\(list.output)")
    let status = try scenario.tranche("status", "job.yaml")
    #expect(status.output.contains("backfill      1: "), "\(status.output)")
    let plan = try scenario.tranche("plan", "job.yaml")
    #expect(plan.output.contains("of backfill 1"), "\(plan.output)")
    let cancelled = try backfill(scenario, "--cancel", "1")
    #expect(
      cancelled.exitCode == 0 && cancelled.output.contains("what was counted stays"),
      "\(cancelled)")
    #expect(try backfill(scenario, "--cancel", "1").exitCode == 65)
    #expect(try scenario.run().summary["backfilled"] as? Int == 0)
    #expect(try backfill(scenario, "--before-start").exitCode == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("waits for another run's end where it is told to, and ends with 75 where it is not")
  func locked() throws {
    let scenario = try Self.scenario()
    #expect(try scenario.run().exitCode == 0)
    let path = scenario.folder.path + "/checkpoints/job.lock"
    let descriptor = open(path, O_RDWR)
    #expect(flock(descriptor, LOCK_EX) == 0)
    let refused = try backfill(scenario, "--before-start")
    #expect(
      refused.exitCode == 75 && refused.errors.contains("another run of this job"),
      "\(refused.errors)")
    let late = try backfill(scenario, "--before-start", "--wait", "200ms")
    #expect(late.exitCode == 75, "\(late.errors)")
    let waited = try scenario.stack.tranche(
      ["backfill", "job.yaml", "--before-start", "--wait", "60s"], in: scenario.folder.path
    ) { _ in flock(descriptor, LOCK_UN) }
    close(descriptor)
    #expect(waited.exitCode == 0, "\(waited.errors)")
  }

  @Test("of a job with one object for its newest batch is refused, and with an object each is not")
  func rowJobs() throws {
    let rest = "select: { twice: { sql: 2 * time_taken, type: int64 } }"
    let latest = try Self.scenario(rest: rest)
    #expect(try latest.run().exitCode == 0)
    let refused = try backfill(latest, "--before-start")
    #expect(
      refused.exitCode == 65 && refused.errors.contains("output.keep: latest"),
      "\(refused.errors)")
    let each = try Self.scenario(
      topic: latest.topic, rest: rest, output: "format: csv, keep: each")
    let live = try each.run()
    let objects = try each.objects()
    #expect(try backfill(each, "--before-start").exitCode == 0)
    let after = try each.objects()
    #expect(after.filter { objects.keys.contains($0.key) } == objects)
    let rows = after.values.reduce(0) { sum, data in
      sum + data.split(separator: UInt8(ascii: "\n")).count - 1
    }
    #expect(live.exitCode == 0 && rows > 800 && after.count > objects.count, "\(rows)")
  }

  @Test(
    """
    killed at any durable step, and once more in its recovery, leaves the objects and the state \
    of one that was not
    """
  )
  func crashLoop() throws {
    let calm = try Self.scenario(count: 450)
    func finish(_ scenario: Scenario) throws {
      let done = try backfill(scenario, "--before-start")
      #expect(done.exitCode == 0, "\(done.errors)")
    }
    #expect(try calm.run().exitCode == 0)
    try finish(calm)
    let (objects, state) = (try calm.objects(), try history(calm))
    var random = SeededRandom(seed: 5)
    var deathCount = 0
    for step in 1...200 {
      let scenario = try Self.scenario(topic: calm.topic)
      #expect(try scenario.run().exitCode == 0)
      let died =
        try backfill(scenario, "--before-start", "--die-at-step", "\(step)").exitCode == -SIGKILL
      let recoveryStep = Int.random(in: 1...12, using: &random)
      if died {
        // Any run goes on with the request.
        _ = try scenario.tranche("run", "job.yaml", "--die-at-step", "\(recoveryStep)")
      }
      try finish(scenario)
      #expect(try scenario.objects() == objects, "died at steps \(step) and \(recoveryStep)")
      #expect(try history(scenario) == state, "died at steps \(step) and \(recoveryStep)")
      if !died { break }
      deathCount += 1
      #expect(step < 200, "still dying")
    }
    #expect(deathCount > 8)
    print("backfill crash loop: died at \(deathCount) steps, and once more in each recovery")
  }
}
