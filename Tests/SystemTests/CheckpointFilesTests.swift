import Foundation
import Glibc
import TestSupport
import Testing

/// Who may do what with a checkpoint's files, and what happens to them under a run.
@Suite("A checkpoint's files")
struct CheckpointFilesTests {
  private let scenario: Scenario
  private var checkpoints: String { scenario.folder.path + "/checkpoints" }

  init() throws {
    scenario = try Scenario()
    try scenario.write(maxOffsets: 100)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 400, seed: 3),
      ])
  }

  private func mode(_ name: String) -> UInt32? {
    var facts = stat()
    guard lstat("\(checkpoints)/\(name)", &facts) == 0 else { return nil }
    return facts.st_mode & 0o7777
  }

  /// Runs a command under another umask, and as another user if one is named.
  private func shell(_ command: String) throws -> ProcessResult {
    try execute(
      "/bin/bash", ["-c", command], directory: scenario.folder.path,
      environment: ["TRANCHE": scenario.stack.binary])
  }

  /// The command as a user who owns nothing here, in a group if one is named.
  private func asOther(_ arguments: String, group: Int = 65_534) throws -> ProcessResult {
    try shell(
      "setpriv --reuid=65534 --regid=\(group) --clear-groups \"$TRANCHE\" \(arguments)")
  }

  private static let names = ["job.sqlite", "job.sqlite-wal", "job.sqlite-shm", "job.lock"]

  @Test(
    "are made with exactly the mode that is asked for, whatever the umask",
    arguments: [
      (umask: "000", option: "", mode: 0o600), (umask: "022", option: "", mode: 0o600),
      (umask: "077", option: "--mode 0640", mode: 0o640),
      (umask: "000", option: "--mode 660", mode: 0o660),
    ])
  func modes(umask: String, option: String, mode: UInt32) throws {
    let run = try shell("umask \(umask); \"$TRANCHE\" run job.yaml \(option)")
    #expect(run.exitCode == 0, "\(run)")
    #expect(run.errors == "job: first run: new checkpoint at \(try real(checkpoints))/job.sqlite\n")
    for name in Self.names { #expect(self.mode(name) == mode, "\(name)") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: checkpoints).count == 4)
  }

  private func real(_ path: String) throws -> String {
    let resolved = try #require(realpath(path, nil))
    defer { free(resolved) }
    return String(cString: resolved)
  }

  @Test("keep the modes that they have")
  func keptModes() throws {
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    for name in Self.names { chmod("\(checkpoints)/\(name)", 0o664) }
    #expect(try scenario.run("--mode", "0600").exitCode == 0)
    for name in Self.names { #expect(mode(name) == 0o664, "\(name)") }
  }

  @Test(
    "are not given rights to run or without the owner's own",
    arguments: ["0755", "0440", "u+r", "0800", "10600"])
  func badMode(mode: String) throws {
    let run = try scenario.run("--mode", mode)
    #expect(run.exitCode == 64, "\(run.errors)")
  }

  @Test("of another user end in 77, which names --mode; nothing is changed")
  func otherUser() throws {
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    chmod(scenario.folder.path, 0o777)
    for command in ["run job.yaml", "status --offline job.yaml", "show job.yaml", "plan job.yaml"] {
      let result = try asOther(command)
      #expect(result.exitCode == 77, "\(command): \(result)")
      #expect(result.errors.contains("user 65534 may not use this file"), "\(result.errors)")
      #expect(result.errors.contains("--mode 0640"), "\(result.errors)")
    }
    #expect(try scenario.run().exitCode == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("of a group that may read are read by it, in a folder that it may not write to")
  func readers() throws {
    #expect(try scenario.run("--mode", "0640").exitCode == 0)
    for name in Self.names { chown("\(checkpoints)/\(name)", 0, 4_242) }
    chmod(scenario.folder.path, 0o755)
    for command in ["status --offline job.yaml", "show job.yaml", "plan job.yaml"] {
      let own = try shell("\"$TRANCHE\" \(command)")
      let result = try asOther(command, group: 4_242)
      #expect(result.exitCode == 0 && result.output == own.output, "\(command): \(result)")
    }
    #expect(try asOther("run job.yaml", group: 4_242).exitCode == 77)
  }

  @Test(
    "are read without the log's two files where nobody may make them, but never beside a full log"
  )
  func copied() throws {
    #expect(try scenario.run("--mode", "0644").exitCode == 0)
    chmod(scenario.folder.path, 0o755)
    let own = try shell("\"$TRANCHE\" show job.yaml").output
    for ending in ["-wal", "-shm"] { unlink("\(checkpoints)/job.sqlite\(ending)") }
    let read = try asOther("show job.yaml")
    #expect(read.exitCode == 0 && read.output == own, "\(read)")
    // A log that a dead run left, without the index of it that others may use.
    let died = try scenario.run("--die-at-step", "2")
    #expect(died.exitCode == -SIGKILL)
    try Data([1, 2, 3]).write(to: URL(fileURLWithPath: "\(checkpoints)/job.sqlite-wal"))
    chmod("\(checkpoints)/job.sqlite-wal", 0o644)
    unlink("\(checkpoints)/job.sqlite-shm")
    let refused = try asOther("show job.yaml")
    #expect(refused.exitCode == 73, "\(refused)")
  }

  @Test("are read while a run writes, by whoever may read", arguments: [true, false])
  func besideRun(isOther: Bool) throws {
    try scenario.stack.kafka(
      scenario.stack.broker, [scenario.samples(partitions: 2, count: 20_000, seed: 4)])
    try scenario.write(maxOffsets: 20)
    #expect(try scenario.run("--mode", "0644", "--batches", "1").exitCode == 0)
    chmod(scenario.folder.path, 0o755)
    var seen: [Int] = []
    let run = try scenario.tranche("run", "job.yaml") { process in
      while kill(process, 0) == 0, seen.count < 20 {
        let command = "status --offline --json job.yaml"
        let result = isOther ? try asOther(command) : try shell("\"$TRANCHE\" \(command)")
        #expect(result.exitCode == 0, "\(result)")
        let status = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        seen.append(try #require((status as? [String: Any])?["last_batch"] as? Int))
      }
    }
    #expect(run.exitCode == 0, "\(run)")
    #expect(seen.count > 2 && seen == seen.sorted() && Set(seen).count > 2, "\(seen)")
  }

  enum Intruder: String, CaseIterable { case pipe, link, folder }

  @Test(
    "are files: a pipe, a link or a folder in the place of one is an error at once, and stays",
    arguments: ["job.sqlite", "job.lock"], Intruder.allCases)
  func intruders(name: String, intruder: Intruder) throws {
    try FileManager.default.createDirectory(
      atPath: checkpoints, withIntermediateDirectories: true)
    let path = "\(checkpoints)/\(name)"
    try scenario.folder.write("elsewhere", to: "target")
    switch intruder {
    case .pipe: #expect(mkfifo(path, 0o600) == 0)
    case .link: #expect(symlink("../target", path) == 0)
    case .folder: #expect(mkdir(path, 0o700) == 0)
    }
    let commands =
      name == "job.lock"
      ? ["run job.yaml"]
      : ["run job.yaml", "status --offline job.yaml", "show job.yaml", "plan job.yaml"]
    for command in commands {
      let result = try shell("timeout 20 \"$TRANCHE\" \(command)")
      #expect(result.exitCode == 74, "\(command): \(result)")
      #expect(result.errors.contains("is a \(intruder), not a regular file"), "\(result.errors)")
    }
    // `status` asks the lock who runs.
    #expect(try shell("timeout 20 \"$TRANCHE\" status --offline job.yaml").exitCode != 124)
    #expect(
      try String(contentsOfFile: scenario.folder.path + "/target", encoding: .utf8) == "elsewhere")
  }

  @Test("lie in a folder that may be reached through a link")
  func linkedFolder() throws {
    try FileManager.default.createDirectory(
      atPath: scenario.folder.path + "/real", withIntermediateDirectories: true)
    #expect(symlink("real", checkpoints) == 0)
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    #expect(try scenario.run().exitCode == 0)
    #expect(FileManager.default.fileExists(atPath: scenario.folder.path + "/real/job.sqlite"))
  }

  @Test(
    "are noticed when they go away or are replaced under a run, which commits nothing more",
    arguments: ["job.sqlite", "job.sqlite-wal", "job.lock", "."], [true, false])
  func removed(name: String, isReplaced: Bool) throws {
    try scenario.stack.kafka(
      scenario.stack.broker, [scenario.samples(partitions: 2, count: 20_000, seed: 4)])
    try scenario.write(maxOffsets: 5)
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    let path = name == "." ? checkpoints : "\(checkpoints)/\(name)"
    let kept = scenario.folder.path + "/kept"
    let run = try scenario.tranche("run", "job.yaml") { process in
      // The run is under way when its lock is held and a batch of its own is committed.
      var last: Int?
      while kill(process, 0) == 0 {
        let status = try shell("\"$TRANCHE\" status --offline --json job.yaml").output
        let found = try JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any]
        let batch = found?["last_batch"] as? Int
        if let last, let batch, batch > last { break }
        last = last ?? batch
      }
      #expect(rename(path, kept) == 0)
      if isReplaced { #expect(try shell("cp -a \(kept) \(path)").exitCode == 0) }
    }
    #expect(run.exitCode == 74, "\(run)")
    #expect(run.errors.contains("was removed or replaced"), "\(run.errors)")
    // Put back, it goes on as if nothing had been.
    #expect(try shell("rm -rf \(path); mv \(kept) \(path)").exitCode == 0)
    let next = try scenario.run()
    #expect(next.exitCode == 0, "\(next.errors)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test(
    "that a moved checkpoint left behind do not keep the next from being made, if they are empty")
  func moved() throws {
    #expect(try scenario.run().exitCode == 0)
    unlink("\(checkpoints)/job.sqlite")
    #expect(mode("job.sqlite-wal") != nil)
    let run = try scenario.run()
    #expect(run.exitCode == 78 && run.errors.contains("first run"), "\(run.errors)")
    #expect(
      run.errors.contains("another checkpoint of this job wrote these results"), "\(run.errors)")
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 0)
    #expect(try scenario.run().exitCode == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("of another job are refused by every command with 78")
  func otherJob() throws {
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    for ending in ["", "-wal", "-shm"] {
      rename("\(checkpoints)/job.sqlite\(ending)", "\(checkpoints)/other.sqlite\(ending)")
    }
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("name: job", with: "name: other"), to: "other.yaml")
    for command in ["run", "status", "show", "plan"] {
      let result = try scenario.tranche(command, "other.yaml")
      #expect(result.exitCode == 78, "\(command): \(result)")
      #expect(result.errors.contains("belongs to the job job"), "\(result.errors)")
    }
  }

  @Test(
    "lie where the job file leads to, whatever the current folder; an old place is used and said")
  func stateFolder() throws {
    let root = scenario.folder.path
    for folder in ["jobs", "elsewhere", "links"] {
      try FileManager.default.createDirectory(
        atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
    }
    let text = try String(contentsOfFile: "\(root)/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("file:out", with: "file:\(root)/out"), to: "jobs/job.yaml")
    symlink("../jobs/job.yaml", "\(root)/links/job.yaml")
    let here = try real(root)
    func run(_ arguments: String, in folder: String) throws -> ProcessResult {
      try shell("cd \(folder) && \"$TRANCHE\" \(arguments)")
    }
    let first = try run("run ../jobs/job.yaml --batches 1", in: "elsewhere")
    #expect(first.errors == "job: first run: new checkpoint at \(here)/checkpoints/job.sqlite\n")
    let second = try run("run jobs/job.yaml --batches 1", in: ".")
    #expect(second.exitCode == 0 && second.errors == "", "\(second)")
    #expect(try run("status --offline job.yaml", in: "jobs").output.contains("batch 2"))
    // The link counts as in its own folder, where nothing is yet.
    #expect(
      try run("status --offline links/job.yaml", in: "elsewhere/..").errors.contains(
        "using checkpoints/job.sqlite"))
    #expect(try run("show job.yaml", in: "links").exitCode == 65)
    // The old habit: only in the current folder.
    try FileManager.default.moveItem(
      atPath: "\(root)/checkpoints", toPath: "\(root)/elsewhere/checkpoints")
    let old = try run("run ../jobs/job.yaml --batches 1", in: "elsewhere")
    #expect(old.exitCode == 0, "\(old)")
    #expect(
      old.errors.contains("tranche: using checkpoints/job.sqlite of the current folder"), "\(old)")
    // Both.
    #expect(try shell("cp -a elsewhere/checkpoints .").exitCode == 0)
    for command in ["run", "plan", "status", "show"] {
      let both = try run("\(command) ../jobs/job.yaml", in: "elsewhere")
      #expect(both.exitCode == 78, "\(both)")
      #expect(both.errors.contains("\(here)/checkpoints/job.sqlite"), "\(both)")
    }
    // Named, it is clear.
    for named in ["--checkpoints checkpoints", "--checkpoints ../checkpoints"] {
      #expect(try run("status --offline ../jobs/job.yaml \(named)", in: "elsewhere").errors == "")
    }
    let variables = "TRANCHE_CHECKPOINTS= STATE_DIRECTORY=\(root)/checkpoints:/nowhere"
    let service = try shell(
      "cd elsewhere && \(variables) \"$TRANCHE\" status --offline ../jobs/job.yaml")
    #expect(service.exitCode == 0 && service.output.contains("batch 3"), "\(service)")
  }
}
