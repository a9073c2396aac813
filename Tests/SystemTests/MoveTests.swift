import Foundation
import Glibc
import TestSupport
import Testing

/// A checkpoint that is copied, restored, or goes on on another machine: another folder, and
/// another copy of the store's credentials.
@Suite("A checkpoint that moves")
struct MoveTests {
  enum Kind: String, CaseIterable, Sendable { case windows, rows }

  /// A folder with a job file of its own, on the topic and the destination of all others.
  private struct Machine {
    let folder: String
    let environment: [String: String]

    @discardableResult
    func tranche(_ line: String) throws -> ProcessResult {
      try shell("tranche \(line)")
    }

    func shell(_ line: String) throws -> ProcessResult {
      try execute("/bin/sh", ["-c", line], directory: folder, environment: environment)
    }

    var checkpoint: String { folder + "/checkpoints/api-time-share.sqlite" }

    func checkpoints() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
    }
  }

  /// What machines share.
  private struct World {
    let scenario: Scenario
    let kind: Kind
    let transfer: String
    var job: String { "jobs/api-time-share.yaml" }

    init(_ kind: Kind, store: Int? = nil) throws {
      self.kind = kind
      scenario = try Scenario(store: store)
      transfer =
        scenario.store.map { "s3://\($0.bucket)/\(uniqueName("transfer"))" }
        ?? scenario.folder.path + "/transfer"
      let output = kind == .rows ? "format: csv, keep: each" : "format: csv"
      try scenario.write(
        rest: kind == .rows ? "where: time_taken >= 0" : nil, output: output, maxOffsets: 100)
      try produce(seed: 1)
    }

    func produce(seed: Int) throws {
      let creation: [[String: any Sendable]] =
        seed == 1 ? [["op": "create", "topic": scenario.topic, "partitions": 2]] : []
      try scenario.stack.kafka(
        scenario.stack.broker,
        creation + [scenario.samples(partitions: 2, count: 250, seed: seed)])
    }

    /// - Parameter usesFile: Whether the store's credentials are kept in a file there.
    func machine(_ name: String, usesFile: Bool = false) throws -> Machine {
      let folder = scenario.folder.path + "/" + name
      try FileManager.default.createDirectory(
        atPath: folder + "/jobs", withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/tranche", withDestinationPath: scenario.stack.binary)
      let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
      try scenario.folder.write(
        text.replacing("name: job\n", with: "name: api-time-share\n").replacing(
          "\"file:out\"", with: "\"file:\(scenario.folder.path)/out\""),
        to: "\(name)/\(job)")
      let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
      var environment = ["PATH": "\(folder):\(path)", "TRANSFER": transfer]
      if let store = scenario.store {
        if usesFile {
          try scenario.folder.write(
            """
            [default]
            aws_access_key_id = \(store.accessKey)
            aws_secret_access_key = \(store.secretKey)

            """, to: "\(name)/credentials")
          environment["AWS_SHARED_CREDENTIALS_FILE"] = folder + "/credentials"
        } else {
          environment["AWS_ACCESS_KEY_ID"] = store.accessKey
          environment["AWS_SECRET_ACCESS_KEY"] = store.secretKey
        }
      }
      return Machine(folder: folder, environment: environment)
    }

    /// What readers see, by key.
    func results() throws -> [String: Data] {
      try scenario.objects().filter { !$0.key.hasPrefix("_tranche/") }
    }

    /// Holds the results against all that the topic holds: each record once.
    func checkResults() throws {
      if kind == .windows {
        return try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
      }
      let clean = try Scenario(store: nil)
      try clean.write(
        kafka:
          "[{ name: main, properties: { bootstrap.servers: \"\(scenario.stack.broker)\" }, "
          + "topics: [\(scenario.topic)] }]",
        rest: "where: time_taken >= 0", output: "format: csv, keep: each", maxOffsets: 100)
      #expect(try clean.run().exitCode == 0)
      func rows(_ objects: [String: Data]) -> [String] {
        objects.values.flatMap {
          String(decoding: $0, as: UTF8.self).split(separator: "\n").dropFirst().map(String.init)
        }.sorted()
      }
      #expect(
        try rows(results())
          == rows(clean.objects().filter { !$0.key.hasPrefix("_tranche/") }))
    }
  }

  private func read(_ page: String, section: String) throws -> [Substring] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent(page), encoding: .utf8)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let first = try #require(lines.firstIndex { $0 == "## \(section)" })
    return Array(lines[(first + 1)...].prefix { !$0.hasPrefix("## ") })
  }

  /// The commands of the section, on which machine each is run.
  private func commands(of section: String) throws -> [(machine: String, line: String)] {
    var machine = ""
    var commands: [(String, String)] = []
    for line in try read("docs/operations.md", section: section) {
      if line.hasPrefix("On the old machine") { machine = "old" }
      if line.hasPrefix("On the new machine") { machine = "new" }
      if line.hasPrefix("    tranche ") {
        commands.append((machine, String(line.dropFirst(4))))
      }
    }
    return commands
  }

  // MARK: - As the documents say

  @Test(
    """
    goes on on another machine as the documents say, line by line, and the old machine that \
    wakes up is refused
    """,
    arguments: Kind.allCases, [nil, 0])
  func wordForWord(kind: Kind, store: Int?) throws {
    let world = try World(kind, store: store)
    let machines = [
      "old": try world.machine("old"), "new": try world.machine("new", usesFile: true),
    ]
    let commands = try commands(of: "Move a job to another machine")
    #expect(commands.map(\.machine) == ["old", "old", "new", "new", "new", "new", "new"])
    let old = try #require(machines["old"])
    #expect(try old.tranche("run \(world.job) --batches 2").exitCode == 0)
    for (machine, line) in commands.prefix(5) {
      let result = try #require(machines[machine]).shell(line)
      #expect(result.exitCode == 0, "\(line): \(result)")
    }
    try world.produce(seed: 2)
    let new = try #require(machines["new"])
    #expect(try new.tranche("run \(world.job)").exitCode == 0)
    try world.checkResults()

    // A timer that was forgotten.
    try world.produce(seed: 3)
    let stood = try world.scenario.objects()
    for _ in 0..<2 {
      let woken = try old.tranche("run \(world.job)")
      #expect(woken.exitCode == 78 && woken.errors.contains("a newer state"), "\(woken)")
      #expect(try world.scenario.objects() == stood)
    }
    #expect(try new.tranche("run \(world.job)").exitCode == 0)
    try world.checkResults()
  }

  @Test(
    """
    that is older than the results is refused until a person decides, as the documents say; \
    with one object a batch, not before those of later batches are deleted
    """,
    arguments: Kind.allCases, [nil, 0])
  func restored(kind: Kind, store: Int?) throws {
    let world = try World(kind, store: store)
    let (old, new) = (try world.machine("old"), try world.machine("new", usesFile: true))
    let lines = try commands(of: "Move a job to another machine").suffix(2).map(\.line)
    #expect(try old.tranche("run \(world.job) --batches 1").exitCode == 0)
    #expect(
      try old.tranche("checkpoint backup \(world.job) --to $TRANSFER/copy").exitCode == 0)
    // The old machine goes on, and is lost.
    try world.produce(seed: 2)
    #expect(try old.tranche("run \(world.job)").exitCode == 0)
    let imported = try new.tranche("checkpoint import \(world.job) --from $TRANSFER/copy")
    #expect(imported.exitCode == 0, "\(imported)")
    let stood = try world.scenario.objects()
    for _ in 0..<2 {
      let refused = try new.tranche("run \(world.job) --batches 1")
      #expect(refused.exitCode == 78, "\(refused)")
      #expect(try world.scenario.objects() == stood)
    }
    let first = try new.shell(lines[0])
    if kind == .rows {
      #expect(first.exitCode == 78, "\(first)")
      #expect(
        first.errors.contains("of batches that this checkpoint has not committed")
          && first.errors.contains("batch=000000005/part-0.csv")
          && first.errors.contains("tranche resolve jobs/api-time-share.yaml --restored --delete"),
        "\(first)")
      // Nothing was decided.
      #expect(try new.tranche("run \(world.job) --batches 1").exitCode == 78)
      #expect(try world.scenario.objects() == stood)
    } else {
      #expect(first.exitCode == 0 && first.output.contains("from offset"), "\(first)")
    }
    let second = try new.shell(lines[1])
    #expect(second.exitCode == 0, "\(second)")
    #expect(
      second.output.contains("main/\(world.scenario.topic)[0] from offset "), "\(second)")
    #expect(try world.scenario.objects() == stood)
    if kind == .rows { #expect(second.output.contains("the next run deletes "), "\(second)") }
    let run = try new.tranche("run \(world.job)")
    #expect(run.exitCode == 0, "\(run)")
    try world.checkResults()
    try world.produce(seed: 3)
    #expect(try old.tranche("run \(world.job)").exitCode == 78)
  }

  // MARK: - Wrong orders

  @Test("stands already, is not there, or is another job's: nothing is changed")
  func wrongOrders() throws {
    let world = try World(.windows)
    let (old, new) = (try world.machine("old"), try world.machine("new"))
    func refused(
      _ machine: Machine, _ line: String, _ code: Int32, _ text: String,
      _ location: SourceLocation = #_sourceLocation
    ) throws {
      let result = try machine.tranche(line)
      #expect(
        result.exitCode == code && result.errors.contains(text), "\(line): \(result)",
        sourceLocation: location)
    }
    try refused(
      old, "checkpoint backup \(world.job) --to $TRANSFER/copy", 65, "there is no checkpoint yet")
    try refused(
      new, "checkpoint import \(world.job) --from $TRANSFER/copy", 65, "there is no checkpoint")
    #expect(try old.tranche("run \(world.job) --batches 1").exitCode == 0)
    #expect(
      try old.tranche("checkpoint backup \(world.job) --to $TRANSFER/copy").exitCode == 0)
    let made = try Data(contentsOf: URL(fileURLWithPath: world.transfer + "/copy"))
    // The new machine has begun by itself, before the copy came.
    #expect(try new.tranche("run \(world.job)").exitCode == 78)
    let state = try new.shell("sqlite3 checkpoints/api-time-share.sqlite .dump").output
    try refused(
      new, "checkpoint import \(world.job) --from $TRANSFER/copy", 73,
      "there is a checkpoint already")
    #expect(try new.shell("sqlite3 checkpoints/api-time-share.sqlite .dump").output == state)
    let replaced = try new.shell(
      "tranche checkpoint import \(world.job) --from $TRANSFER/copy --replace")
    #expect(replaced.exitCode == 0, "\(replaced)")
    let aside = try #require(try new.checkpoints().first { $0.contains(".replaced-") })
    #expect(replaced.output.contains(aside))
    #expect(try new.shell("sqlite3 checkpoints/\(aside) .dump").output == state)
    // Another job's, no checkpoint at all, and a damaged one.
    try world.scenario.folder.write(
      try String(contentsOfFile: new.folder + "/" + world.job, encoding: .utf8).replacing(
        "name: api-time-share", with: "name: other"), to: "new/jobs/other.yaml")
    try refused(
      new, "checkpoint import jobs/other.yaml --from $TRANSFER/copy", 78,
      "belongs to the job api-time-share")
    try refused(
      new, "checkpoint import jobs/other.yaml --from jobs/other.yaml", 74, "is damaged")
    try Data(made.dropLast(made.count / 2)).write(
      to: URL(fileURLWithPath: world.transfer + "/half"))
    try refused(
      new, "checkpoint import jobs/other.yaml --from $TRANSFER/half", 74, "is damaged")
    #expect(try !new.checkpoints().contains("other.sqlite"))
    #expect(try !new.checkpoints().contains { $0.hasSuffix(".copy") })
    // A run holds the lock.
    let held = try old.shell(
      "flock checkpoints/api-time-share.lock tranche checkpoint import \(world.job) "
        + "--from $TRANSFER/copy --replace")
    #expect(held.exitCode == 75, "\(held)")
  }

  @Test("with one object a batch is not reset beside its objects, which a first run deletes")
  func resetOfRows() throws {
    let world = try World(.rows)
    let machine = try world.machine("old")
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    let stood = try world.scenario.objects()
    let refused = try machine.tranche("reset \(world.job) --confirm api-time-share")
    #expect(
      refused.exitCode == 78 && refused.errors.contains("rows would be there twice")
        && refused.errors.contains("tranche reset jobs/api-time-share.yaml --delete-objects"),
      "\(refused)")
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    let reset = try machine.tranche(
      "reset \(world.job) --confirm api-time-share --delete-objects")
    #expect(reset.exitCode == 0, "\(reset)")
    #expect(try world.scenario.objects() == stood)
    // Not when all is read: readers would see rows twice until then.
    let first = try machine.tranche("run \(world.job) --batches 1")
    #expect(first.exitCode == 0, "\(first)")
    #expect(try Array(world.results().keys) == ["batch=000000001/part-0.csv"])
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    try world.checkResults()
  }

  // MARK: - Killed

  @Test("killed at any step of a backup, leaves the copy before or the new one, and no other file")
  func killedBackup() throws {
    let world = try World(.windows)
    let machine = try world.machine("old")
    #expect(try machine.tranche("run \(world.job) --batches 1").exitCode == 0)
    let backup = "checkpoint backup \(world.job) --to $TRANSFER/copy"
    #expect(try machine.tranche(backup).exitCode == 0)
    let copy = world.transfer + "/copy"
    let before = try Data(contentsOf: URL(fileURLWithPath: copy))
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    let files = try machine.checkpoints()
    var deaths = 0
    for step in 1...30 {
      let result = try machine.tranche("\(backup) --die-at-step \(step)")
      let now = try Data(contentsOf: URL(fileURLWithPath: copy))
      if now != before {
        let check = try machine.tranche("checkpoint check \(copy)")
        #expect(check.exitCode == 0, "\(step): \(check)")
      }
      if result.exitCode == 0 { break }
      #expect(result.exitCode == -SIGKILL || result.exitCode == 128 + SIGKILL, "\(result)")
      deaths += 1
    }
    #expect(deaths >= 4)
    #expect(try machine.checkpoints() == files)
    #expect(try FileManager.default.contentsOfDirectory(atPath: world.transfer) == ["copy"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: copy)) != before)
  }

  @Test(
    "killed at any step of an import, leaves no checkpoint, the one before, or the new one",
    arguments: [false, true])
  func killedImport(replaces: Bool) throws {
    let world = try World(.windows)
    let old = try world.machine("old")
    #expect(try old.tranche("run \(world.job)").exitCode == 0)
    #expect(try old.tranche("checkpoint backup \(world.job) --to $TRANSFER/copy").exitCode == 0)
    var deaths = 0
    for step in 1...30 {
      let new = try world.machine("new\(step)")
      if replaces {
        #expect(
          try new.tranche("checkpoint import \(world.job) --from $TRANSFER/copy").exitCode == 0)
      }
      let option = replaces ? " --replace" : ""
      let line = "checkpoint import \(world.job) --from $TRANSFER/copy\(option)"
      let result = try new.tranche("\(line) --die-at-step \(step)")
      let isThere = FileManager.default.fileExists(atPath: new.checkpoint)
      #expect(isThere || !replaces, "step \(step)")
      if isThere {
        let check = try new.tranche("checkpoint check \(world.job)")
        #expect(check.exitCode == 0, "step \(step): \(check)")
      } else {
        #expect(try new.tranche(line).exitCode == 0, "step \(step)")
      }
      // No new messages: whatever stands there, the run has nothing to do but to find that out.
      let run = try new.tranche("run \(world.job)")
      #expect(run.exitCode == 0 && run.output.contains("nothing new"), "step \(step): \(run)")
      if result.exitCode == 0 { break }
      deaths += 1
    }
    #expect(deaths >= (replaces ? 6 : 3))
  }

  // MARK: - Stores

  @Test(
    "copied into a bucket is one object; where the store does not take it, the job is as it was",
    arguments: [
      (ScriptedServer.Reply.status(200), Int32(0), ""),
      (.status(200, headers: []), 65, "there is no backup"),
      (.status(503, body: "<Error><Code>SlowDown</Code></Error>"), 69, "there is no backup"),
      (.status(500), 69, "there is no backup"), (.hangUp, 69, "there is no backup"),
      (.status(403, body: "<Error><Code>AccessDenied</Code></Error>"), 77, "AccessDenied"),
      (.status(403, body: "<Error><Code>SignatureDoesNotMatch</Code></Error>"), 77, "Signature"),
      (.status(404, body: "<Error><Code>NoSuchBucket</Code></Error>"), 65, "NoSuchBucket"),
      (.status(507), 74, "there is no backup"),
      (.status(413, body: "<Error><Code>EntityTooLarge</Code></Error>"), 65, "answered 413"),
    ] as [(ScriptedServer.Reply, Int32, String)])
  func answers(reply: ScriptedServer.Reply, code: Int32, text: String) throws {
    let world = try World(.windows)
    let machine = try world.machine("old")
    #expect(try machine.tranche("run \(world.job) --batches 1").exitCode == 0)
    let server = ScriptedServer([], then: reply)
    let job = try String(contentsOfFile: machine.folder + "/" + world.job, encoding: .utf8)
    let scripted = job.replacing("endpoint: \"\"", with: "endpoint: \"\(server.endpoint)\"")
    try world.scenario.folder.write(scripted, to: "old/jobs/s3.yaml")
    let files = try machine.checkpoints()
    let result = try machine.shell(
      "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y tranche checkpoint backup jobs/s3.yaml "
        + "--to s3://bucket/backups/copy.sqlite")
    #expect(result.exitCode == code, "\(result)")
    #expect(text.isEmpty || result.errors.contains(text), "\(result)")
    #expect(server.requests.allSatisfy { $0.hasPrefix("PUT /bucket/backups/copy.sqlite ") })
    #expect(try machine.checkpoints() == files)
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    try world.checkResults()
  }

  @Test("that the job file asks for is put into a bucket after the run, and goes on from there")
  func scheduled() throws {
    let world = try World(.rows, store: 0)
    let (old, new) = (try world.machine("old"), try world.machine("new", usesFile: true))
    for machine in ["old", "new"] {
      let path = world.scenario.folder.path + "/\(machine)/" + world.job
      try world.scenario.folder.write(
        try String(contentsOfFile: path, encoding: .utf8)
          + "\ncheckpoint: { backup: { to: \"\(world.transfer)\", every: 1ms, keep: 2 } }\n",
        to: "\(machine)/\(world.job)")
    }
    var place = ""
    for _ in 0..<3 {
      let run = try old.tranche("run \(world.job) --batches 1")
      #expect(run.exitCode == 0, "\(run)")
      place =
        run.output.components(separatedBy: "backup at ").last?
        .trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
      place = String(place.prefix { $0 != "," })
      #expect(place.hasPrefix("\(world.transfer)/api-time-share.2"), "\(run)")
    }
    // Made after the last publish, the copy knows all that stands there: nothing is to be decided.
    #expect(try new.tranche("checkpoint import \(world.job) --from \(place)").exitCode == 0)
    let run = try new.tranche("run \(world.job)")
    #expect(run.exitCode == 0, "\(run)")
    try world.checkResults()
  }

  @Test("is looked at beside a run, and what is wrong is printed, with 74")
  func check() throws {
    let world = try World(.windows)
    let machine = try world.machine("old")
    #expect(try machine.tranche("run \(world.job)").exitCode == 0)
    let lines = ["checkpoint check \(world.job)", "checkpoint check \(machine.checkpoint)"]
    for line in lines {
      let result = try machine.shell("flock checkpoints/api-time-share.lock tranche \(line)")
      #expect(result.exitCode == 0 && result.output.contains("nothing is wrong"), "\(result)")
    }
    try execute(
      "/usr/bin/sqlite3", [machine.checkpoint, "UPDATE partitions SET next_offset = 1"])
    for line in lines {
      let result = try machine.tranche(line)
      #expect(
        result.exitCode == 74 && result.output.contains("whose next_offset is 1"), "\(result)")
      let json = try machine.tranche(line + " --json").output
      #expect(json.contains("\"problems\":[\"table batches, row 1: ranges ends at"), "\(json)")
    }
    #expect(try machine.tranche("checkpoint check none.yaml").exitCode == 65)
    // And so it is not copied.
    let backup = try machine.tranche("checkpoint backup \(world.job) --to copy")
    #expect(backup.exitCode == 74 && backup.errors.contains("is damaged"), "\(backup)")
    #expect(!FileManager.default.fileExists(atPath: machine.folder + "/copy"))
  }

  /// A copy of a run at work must never pass for the newest state: the run goes on behind it.
  @Test("copied beside a run is refused when the run has gone on, and goes on after a decision")
  func besideARun() throws {
    let world = try World(.windows)
    let (old, new) = (try world.machine("old"), try world.machine("new"))
    try world.produce(seed: 2)
    // The run dies behind its first publication and is gone on with; the lock stands for it.
    #expect(try old.tranche("run \(world.job) --batches 1").exitCode == 0)
    let copied = try old.shell(
      "flock checkpoints/api-time-share.lock tranche checkpoint backup \(world.job) "
        + "--to $TRANSFER/copy")
    #expect(copied.exitCode == 0 && copied.output.contains("beside a run"), "\(copied)")
    #expect(try new.tranche("checkpoint import \(world.job) --from $TRANSFER/copy").exitCode == 0)
    #expect(try new.tranche("run \(world.job)").exitCode == 78)
    #expect(try new.tranche("resolve \(world.job) --restored").exitCode == 0)
    #expect(try new.tranche("run \(world.job)").exitCode == 0)
    try world.checkResults()
  }
}
