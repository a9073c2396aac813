import Foundation
import Synchronization
import TestSupport
import Testing

/// What runs without anyone who looks: cron's jobs, and the monitor that looks after them.
@Suite("Under cron")
struct CronTests {
  /// A job over six partitions; more calls at each call.
  private func scenario(count: Int = 500, maxOffsets: Int = 100) throws -> Scenario {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: maxOffsets)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: count, seed: 5),
      ])
    return scenario
  }

  /// The line of docs/operations.md, of this job.
  private func cronLine(_ scenario: Scenario) throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(
      contentsOf: root.appendingPathComponent("docs/operations.md"), encoding: .utf8)
    let start = "    * * * * *  "
    let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(start) })
    return String(line.dropFirst(start.count))
      .replacing("/usr/local/bin/tranche", with: scenario.stack.binary)
      .replacing(
        "/srv/tranche/jobs/calls.yaml", with: "\(scenario.folder.path)/job.yaml")
  }

  @Test(
    """
    the line of docs/operations.md works with cron's PATH and environment from the root, and says \
    nothing, so that no mail is sent; what goes wrong is said
    """
  )
  func quiet() throws {
    let scenario = try scenario()
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    // A warning about the file, which validate tells of, is no news every minute.
    let job = text.replacing("file:out", with: "file:\(scenario.folder.path)/out").replacing(
      "100.0 * time_taken", with: "100 * time_taken")
    try scenario.folder.write(job, to: "job.yaml")
    #expect(
      try scenario.tranche("validate", "job.yaml").errors.contains("Write 100.0 * time_taken"))
    let line = try cronLine(scenario)
    #expect(line.contains("--quiet") && line.contains("--max-duration 50s"))
    func run() throws -> ProcessResult {
      try execute(
        "/usr/bin/env", ["-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", line], directory: "/")
    }
    for _ in 0..<2 {
      let result = try run()
      #expect(
        result.exitCode == 0 && result.output.isEmpty && result.errors.isEmpty,
        "\(result.exitCode) \(result.output) \(result.errors)")
    }
    #expect(try !scenario.objects().isEmpty)
    // A changed job file is no fault either.
    try scenario.folder.write(job.replacing("100 * time", with: "1.0 * time"), to: "job.yaml")
    #expect(try run().errors.isEmpty)
    try scenario.folder.write(job.replacing("int32 }", with: "int64 }"), to: "job.yaml")
    let refused = try run()
    #expect(
      refused.exitCode == 78 && refused.output.isEmpty
        && refused.errors.contains("tranche: ") && refused.errors.contains("tranche reset "),
      "\(refused.errors)")
  }

  @Test(
    "a run that finds another one says nothing when quiet, and the exit code is 75 all the same")
  func locked() throws {
    let scenario = try scenario()
    #expect(try scenario.run().exitCode == 0)
    let descriptor = open("\(scenario.folder.path)/checkpoints/job.lock", O_RDWR)
    defer { close(descriptor) }
    #expect(flock(descriptor, LOCK_EX) == 0)
    let quiet = try scenario.tranche("run", "job.yaml", "--quiet")
    #expect(quiet.exitCode == 75 && quiet.errors.isEmpty && quiet.output.isEmpty, "\(quiet.errors)")
    #expect(try scenario.tranche("run", "job.yaml").errors.contains("another run"))
  }

  @Test("does not mix with what prints", arguments: ["--json", "--profile", "--verbose"])
  func contradictions(option: String) throws {
    let scenario = try Scenario()
    let result = try scenario.tranche("run", "job.yaml", "--quiet", option)
    #expect(result.exitCode == 64 && result.errors.contains("--quiet does not go together"))
  }

  @Test("--max-duration ends a run after the batch under way, published, with exit code 0")
  func maxDuration() throws {
    let scenario = try scenario(count: 2_000, maxOffsets: 100)
    let first = try scenario.run("--max-duration", "1ms")
    #expect(first.exitCode == 0, "\(first.errors)")
    #expect(
      first.summary["batches"] as? Int == 1 && first.summary["dirty"] as? Int == 0
        && first.summary["lag"] as? Int == 1_900 && first.summary["stopped"] as? Bool == false,
      "\(first.summary)")
    let rest = try scenario.run("--max-duration", "10m")
    #expect(
      rest.summary["batches"] as? Int == 19 && rest.summary["repeated_batch"] == nil,
      "\(rest.summary)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    let wrong = try scenario.tranche("run", "job.yaml", "--max-duration", "50")
    #expect(wrong.exitCode == 64)
  }
}

@Suite("A monitor's check")
struct CheckTests {
  private func check(_ scenario: Scenario, _ arguments: String...) throws -> ProcessResult {
    try scenario.stack.tranche(["check", "job.yaml"] + arguments, in: scenario.folder.path)
  }

  @Test("exits with 0, 1, 2 or 3, and with one line")
  func codes() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        scenario.samples(partitions: 1, count: 50, seed: 5),
      ])
    func expect(
      _ code: Int32, _ start: String, _ result: ProcessResult, _ line: Int = #line
    ) {
      #expect(
        result.exitCode == code && result.output.hasPrefix("TRANCHE \(start)")
          && result.output.split(separator: "\n").count == 1,
        "line \(line): \(result.exitCode) \(result.output) \(result.errors)")
    }
    expect(3, "UNKNOWN - job: the job has never run", try check(scenario))
    #expect(try scenario.run().exitCode == 0)
    expect(0, "OK - job: lag 0, last commit", try check(scenario, "--max-lag", "0"))
    try scenario.stack.kafka(
      scenario.stack.broker, [scenario.samples(partitions: 1, count: 7, seed: 6)])
    expect(0, "OK - job: lag 7,", try check(scenario, "--max-lag", "7", "--max-age", "1h"))
    expect(2, "CRITICAL - job: lag 7 is above 6,", try check(scenario, "--max-lag", "6"))
    expect(2, "CRITICAL - job: last commit", try check(scenario, "--max-age", "1ms"))
    expect(0, "OK - job: last commit", try check(scenario, "--offline"))
    let json = try check(scenario, "--max-lag", "6", "--json")
    #expect(json.exitCode == 2 && json.output.contains(#""status":"CRITICAL""#))

    // The store is gone: what was committed is not published.
    try FileManager.default.moveItem(
      atPath: "\(scenario.folder.path)/out", toPath: "\(scenario.folder.path)/gone")
    try scenario.folder.write("in the way", to: "out")
    #expect(try scenario.run().exitCode != 0)
    expect(1, "WARNING - job: 3 objects not published", try check(scenario))

    // The next run would be refused.
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("5m", with: "10m"), to: "job.yaml")
    expect(2, "CRITICAL - job: ", try check(scenario))
    try scenario.folder.write(
      text.replacing(scenario.stack.broker, with: "localhost:1"), to: "job.yaml")
    let unreachable = try check(scenario)
    #expect(
      unreachable.exitCode == 1 && unreachable.output.contains("lag unknown: "),
      "\(unreachable.output)")
    try scenario.folder.write("name: [", to: "job.yaml")
    expect(3, "UNKNOWN - job.yaml: job.yaml:", try check(scenario))
    #expect(try check(scenario, "--max-lag", "x").exitCode == 3)
    #expect(try check(scenario, "--offline", "--max-lag", "1").exitCode == 3)
  }

  @Test("takes no job for late whose topic was silent for an hour, if runs have looked at it since")
  func silence() throws {
    let scenario = try Scenario()
    try scenario.write()
    func produce() throws {
      try scenario.stack.kafka(
        scenario.stack.broker, [scenario.samples(partitions: 1, count: 5, seed: 6)])
    }
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
    try produce()
    #expect(try scenario.run().exitCode == 0)
    let path = scenario.folder.path + "/checkpoints/job.sqlite"
    let change = try execute(
      "/usr/bin/sqlite3",
      [path, "UPDATE batches SET committed_at = '2026-01-01T00:00:00.000Z'; SELECT changes()"])
    #expect(change.output == "1\n", "\(change.errors)")
    // A run with nothing new commits nothing.
    let state = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(try scenario.run().summary["lag"] as? Int == 0)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == state)
    try produce()
    let check = try check(scenario, "--max-age", "10m")
    #expect(
      check.exitCode == 0 && check.output.contains("lag 5, last up to date "), "\(check.output)")
    // A run that fails keeps what the file says.
    let lock = try String(
      contentsOfFile: "\(scenario.folder.path)/checkpoints/job.lock", encoding: .utf8)
    let longAgo = lock.split(separator: "\n").dropFirst().map { line in
      line.prefix("up to date at ".count) + "2026-01-02T00:00:00.000Z"
    }
    #expect(longAgo.count == 1)
    try scenario.folder.write("pid 1\n\(longAgo.joined())\n", to: "checkpoints/job.lock")
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("5m", with: "10m"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 78)
    try scenario.folder.write(text, to: "job.yaml")
    let late = try self.check(scenario, "--max-age", "10m")
    #expect(
      late.exitCode == 2 && late.output.contains("CRITICAL - job: last up to date "),
      "\(late.output)")
  }

  @Test("is critical while a person must decide, and where the checkpoint is damaged")
  func incidents() throws {
    let scenario = try Scenario()
    try scenario.write(fields: "{ api_id: int32, time_taken: int32, more: int32 }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        scenario.samples(partitions: 1, count: 500, seed: 5),
      ])
    #expect(try scenario.run().exitCode == 65)
    let stopped = try check(scenario)
    #expect(
      stopped.exitCode == 2 && stopped.output.contains("tranche resolve job.yaml --accept-rejects"),
      "\(stopped.output)")
    try scenario.folder.write(String(repeating: "x", count: 4_096), to: "checkpoints/job.sqlite")
    let damaged = try check(scenario, "--offline")
    #expect(damaged.exitCode == 2 && damaged.output.contains("is damaged"), "\(damaged.output)")
  }
}

@Suite("Starting over")
struct ResetTests {
  /// Two windows of calls, in one partition.
  private func scenario(_ output: String = "format: csv") throws -> Scenario {
    let scenario = try Scenario()
    try scenario.write(output: output, maxOffsets: 100)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        scenario.samples(partitions: 1, count: 300, seed: 5, spanMinutes: 9),
      ])
    return scenario
  }

  @Test("asks for the job's name, and changes nothing without it")
  func asksTwice() throws {
    let scenario = try scenario()
    #expect(try scenario.run().exitCode == 0)
    let state = try scenario.state()
    for (arguments, message) in [
      (["reset", "job.yaml"], "job: this puts the state aside"),
      (["reset", "job.yaml", "--confirm", "jop"], "\"jop\" is not the job's name, job."),
    ] {
      let result = try scenario.stack.tranche(arguments, in: scenario.folder.path)
      #expect(
        result.exitCode == 64 && result.errors.contains(message)
          && result.errors.contains("tranche reset job.yaml --confirm job"), "\(result.errors)")
    }
    #expect(try scenario.state() == state)
    let descriptor = open("\(scenario.folder.path)/checkpoints/job.lock", O_RDWR)
    defer { close(descriptor) }
    #expect(flock(descriptor, LOCK_EX) == 0)
    #expect(try scenario.tranche("reset", "job.yaml", "--confirm", "job").exitCode == 75)
    #expect(try scenario.state() == state)
  }

  @Test("reads the topics anew into the same place, and the old state can write there no more")
  func startsOver() throws {
    let scenario = try scenario()
    #expect(try scenario.run().exitCode == 0)
    let (objects, state) = (try scenario.objects(), try scenario.state())
    // A change that no state survives, which is the reason to start over.
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("tumbling: 5m", with: "tumbling: 10m"), to: "job.yaml")
    let refused = try scenario.run()
    #expect(
      refused.exitCode == 78 && refused.errors.contains("tranche reset job.yaml"),
      "\(refused.errors)")
    let reset = try scenario.tranche("reset", "job.yaml", "--confirm", "job")
    #expect(
      reset.exitCode == 0 && reset.output.contains("2 objects at file:out"),
      "\(reset.output)\(reset.errors)")
    let again = try scenario.run()
    #expect(
      again.exitCode == 0 && again.summary["records"] as? Int == 300, "\(again.errors)")
    // The window of the second five minutes is no window any more, and stays.
    #expect(Set(try scenario.objects().keys) == Set(objects.keys))

    // Back to the old file: another state has marked the place meanwhile.
    let folder = "\(scenario.folder.path)/checkpoints"
    let aside = try #require(
      FileManager.default.contentsOfDirectory(atPath: folder).first {
        $0.hasPrefix("job.sqlite.reset-")
      })
    try FileManager.default.createDirectory(
      atPath: "\(folder)/new", withIntermediateDirectories: false)
    let back = try execute(
      "/bin/sh",
      ["-c", "mv job.sqlite job.sqlite-wal job.sqlite-shm new/ && mv \(aside) job.sqlite"],
      directory: folder)
    #expect(back.exitCode == 0, "\(back.errors)")
    try scenario.folder.write(text, to: "job.yaml")
    #expect(try scenario.state() == state)
    try scenario.stack.kafka(
      scenario.stack.broker, [scenario.samples(partitions: 1, count: 10, seed: 6)])
    let former = try scenario.run()
    #expect(
      former.exitCode == 78 && former.errors.contains("another checkpoint of this job"),
      "\(former.errors)")
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 0)
    let goesOn = try scenario.run()
    #expect(goesOn.exitCode == 0, "\(goesOn.errors)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("with --delete-objects leaves no object that the new state did not write")
  func deletes() throws {
    let scenario = try scenario()
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects().count == 2)
    try scenario.folder.write("not ours", to: "out/notes.txt")
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("tumbling: 5m", with: "tumbling: 10m"), to: "job.yaml")
    let reset = try scenario.tranche("reset", "job.yaml", "--confirm", "job", "--delete-objects")
    #expect(reset.exitCode == 0, "\(reset.errors)")
    #expect(try scenario.objects().count == 3)
    // A run that has not read everything leaves what the new state has not come to.
    let part = try scenario.run("--max-duration", "1ms")
    #expect(part.exitCode == 0 && part.summary["lag"] as? Int == 200, "\(part.errors)")
    #expect(try scenario.objects().count == 3)
    #expect(try scenario.run().exitCode == 0)
    #expect(
      Set(try scenario.objects().keys)
        == ["notes.txt", "window_start=2026-11-23T10-00-00Z/part-0.csv"])
  }

  @Test("does not keep the objects of a former format until everything is read")
  func format() throws {
    let scenario = try scenario()
    #expect(try scenario.run("--max-duration", "1ms").exitCode == 0)
    let count = try scenario.objects().count
    let text = try String(contentsOfFile: "\(scenario.folder.path)/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("format: csv,", with: "format: json,"), to: "job.yaml")
    let part = try scenario.run("--max-duration", "1ms")
    #expect(part.exitCode == 0 && part.summary["lag"] as? Int == 100, "\(part.errors)")
    let objects = try scenario.objects()
    #expect(
      objects.count >= count && objects.keys.allSatisfy { $0.hasSuffix(".json") },
      "\(objects.keys)")
  }

  @Test("leaves the old state or the new one, wherever it dies")
  func dies() throws {
    let scenario = try scenario()
    #expect(try scenario.run().exitCode == 0)
    let state = try scenario.state()
    for step in 1...20 {
      let reset = try scenario.tranche(
        "reset", "job.yaml", "--confirm", "job", "--die-at-step", "\(step)")
      let hasMoved = try scenario.state() != state
      let run = try scenario.run()
      #expect(
        run.exitCode == 0 && run.summary["records"] as? Int == (hasMoved ? 300 : 0),
        "died at step \(step): \(run.errors)")
      #expect(try scenario.state() == state)
      try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
      if reset.exitCode == 0 {
        #expect(hasMoved && step == 7)
        return
      }
    }
    Issue.record("still dying after 20 steps")
  }

  @Test("puts a damaged file aside as well, and says that the place must be taken over")
  func damaged() throws {
    let scenario = try scenario()
    #expect(try scenario.tranche("reset", "job.yaml", "--confirm", "job").exitCode == 65)
    #expect(try scenario.run().exitCode == 0)
    let bytes = String(repeating: "x", count: 8_192)
    try scenario.folder.write(bytes, to: "checkpoints/job.sqlite")
    let reset = try scenario.tranche("reset", "job.yaml", "--confirm", "job")
    #expect(
      reset.exitCode == 0 && reset.output.contains("tranche resolve job.yaml --adopt"),
      "\(reset.output)\(reset.errors)")
    #expect(try scenario.run().exitCode == 78)
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 0)
    let again = try scenario.run()
    #expect(again.exitCode == 0, "\(again.errors)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    let folder = "\(scenario.folder.path)/checkpoints"
    let aside = try FileManager.default.contentsOfDirectory(atPath: folder).filter {
      $0.hasPrefix("job.sqlite.reset-") && !$0.hasSuffix("-wal")
    }
    #expect(aside.count == 1)
    #expect(
      try String(contentsOfFile: "\(folder)/\(aside.first ?? "")", encoding: .utf8) == bytes)
  }
}
