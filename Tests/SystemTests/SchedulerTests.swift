import Foundation
import Glibc
import TestSupport
import Testing

/// Serial: its ticks are seconds apart, and a machine that is busy with another of these would miss
/// some.
@Suite("The scheduler", .serialized)
struct SchedulerTests {
  /// `make schedule` asks for two minutes; a test of every day makes do with seconds.
  private static let seconds =
    ProcessInfo.processInfo.environment["TRANCHE_SCHEDULE_SECONDS"].flatMap(Double.init) ?? 14

  /// Jobs in a folder, each with results and a topic of its own.
  private final class Jobs {
    let scenario: Scenario
    let folder: String
    private var topics: Set<String> = []

    init() throws {
      scenario = try Scenario()
      folder = scenario.folder.path
      try FileManager.default.createDirectory(
        atPath: folder + "/jobs", withIntermediateDirectories: true)
    }

    func write(
      _ name: String, _ trigger: String, broker: String? = nil, output: String? = nil,
      format: String = "csv"
    ) throws {
      try scenario.folder.write(
        """
        name: \(name)
        source:
          kafka:
            - name: main
              properties: { bootstrap.servers: "\(broker ?? scenario.stack.broker)" }
              topics: [\(scenario.topic)-\(name)]
          format: \(format)
          fields: { api_id: int32, time_taken: int32 }
        trigger: { \(trigger) }
        window: { tumbling: 5m }
        aggregate: { by: [api_id], measures: { calls: count() } }
        output: { to: "file:\(folder)/out-\(name)", format: csv }
        """, to: "jobs/\(name).new")
      // As an editor does it.
      let path = folder + "/jobs/\(name)"
      try #require(rename(path + ".new", path + ".yaml") == 0)
    }

    func produce(_ name: String, count: Int) throws {
      let topic = "\(scenario.topic)-\(name)"
      var operations: [[String: any Sendable]] = []
      if topics.insert(topic).inserted {
        operations.append(["op": "create", "topic": topic, "partitions": 2])
      }
      operations.append([
        "op": "samples", "topic": topic, "partitions": 2, "count": count, "seed": count,
        "from": Scenario.start, "span": 600_000,
      ])
      try scenario.stack.kafka(scenario.stack.broker, operations)
    }

    func sql(_ name: String, _ query: String) throws -> String {
      let result = try execute(
        "/usr/bin/sqlite3", ["-readonly", "\(folder)/checkpoints/\(name).sqlite", query])
      return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func recordCount(_ name: String) throws -> Int {
      Int(try sql(name, "SELECT coalesce(sum(records), 0) FROM batches")) ?? 0
    }
  }

  /// `tranche schedule` in the jobs' folder, while it runs.
  private final class Running {
    let process = Process()
    private let errorsPath: String
    private let outputPath: String

    init(
      _ jobs: Jobs, _ arguments: [String] = ["jobs", "--verbose"],
      _ environment: [String: String] = [:]
    )
      throws
    {
      errorsPath = jobs.folder + "/errors"
      outputPath = jobs.folder + "/output"
      process.executableURL = URL(fileURLWithPath: jobs.scenario.stack.binary)
      process.arguments = ["schedule"] + arguments
      process.currentDirectoryURL = URL(fileURLWithPath: jobs.folder)
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      for path in [errorsPath, outputPath] {
        try Data().write(to: URL(fileURLWithPath: path))
      }
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = FileHandle(forWritingAtPath: outputPath)
      process.standardError = FileHandle(forWritingAtPath: errorsPath)
      try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    var errors: String { (try? String(contentsOfFile: errorsPath, encoding: .utf8)) ?? "" }
    var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }

    func lines(with text: String) -> [Substring] {
      errors.split(separator: "\n").filter { $0.contains(text) }
    }

    /// When the runs of a job that were started were due, in milliseconds since 1970.
    func ticks(_ name: String) -> [Int64] {
      lines(with: "\(name): run started that was due at ").compactMap { line in
        line.split(separator: " ").last.flatMap { milliseconds(String($0)) }
      }
    }

    private func milliseconds(_ text: String) -> Int64? {
      let formatter = ISO8601DateFormatter()
      formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
      return formatter.date(from: text).map { Int64(($0.timeIntervalSince1970 * 1_000).rounded()) }
    }

    /// KiB of memory that only this process uses.
    var residentKiB: Int {
      let path = "/proc/\(process.processIdentifier)/status"
      let status = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") } ?? ""
      return line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first ?? 0
    }

    /// The process of a run that goes on.
    func child(_ name: String) -> pid_t? {
      let pid = process.processIdentifier
      let children =
        (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
      return children.split(separator: " ").compactMap { pid_t($0) }.first { pid in
        (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8))?
          .contains("\(name).yaml") == true
      }
    }

    /// A new connection to where `--metrics` listens; nil before it does.
    func connect() -> LoopbackClient? {
      let address = errors.components(separatedBy: "metrics are at http://127.0.0.1:").last ?? ""
      return UInt16(address.prefix { $0.isNumber }).flatMap { try? LoopbackClient(port: $0) }
    }

    /// What is served at a path; empty before it listens.
    func get(_ path: String = "/metrics") -> String {
      let client = connect()
      client?.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
      return client?.receiveAll() ?? ""
    }

    func wait(
      _ what: String, seconds: Double = 60, _ condition: () throws -> Bool
    ) throws {
      let deadline = ContinuousClock.now + .seconds(seconds)
      while try !condition() {
        guard ContinuousClock.now < deadline, process.isRunning else {
          throw TimedOut(what: what, errors: errors, output: output)
        }
        usleep(50_000)
      }
    }

    struct TimedOut: Error { let what, errors, output: String }

    func end(_ signal: Int32 = SIGTERM) {
      kill(process.processIdentifier, signal)
      process.waitUntilExit()
    }
  }

  /// Acceptance: ticks kept, no overlap, the failing one backs off, SIGTERM leaves nothing dirty,
  /// memory flat.
  @Test(
    """
    keeps the ticks of four jobs, one of them failing, one slow, one changed meanwhile; leaves \
    nothing unpublished when it is stopped
    """
  )
  func fourJobs() throws {
    let jobs = try Jobs()
    for name in ["steady", "slow", "changed"] { try jobs.produce(name, count: 300) }
    try jobs.write("steady", "every: 2s")
    // A batch of a single offset: hundreds of commits.
    try jobs.write("slow", "every: 1s, max_offsets: 1")
    try jobs.write("failing", "every: 1s", broker: "127.0.0.1:1", format: "json")
    try jobs.write("changed", "every: 365d")
    try jobs.write("unscheduled", "max_offsets: 10")
    let scheduler = try Running(jobs)
    let began = ContinuousClock.now
    try scheduler.wait("runs of both") {
      scheduler.ticks("steady").count >= 2 && !scheduler.ticks("slow").isEmpty
    }
    #expect(scheduler.ticks("changed").isEmpty)
    let memory = scheduler.residentKiB
    try jobs.write("changed", "every: 3s")
    try scheduler.wait("a run of the changed job") { try jobs.recordCount("changed") == 300 }
    let remaining = Self.seconds - (ContinuousClock.now - began) / .seconds(1)
    let end = ContinuousClock.now + .seconds(max(0, remaining))
    var produced = 300
    try scheduler.wait("the end", seconds: Self.seconds + 60) {
      if produced < 3_000 {
        try jobs.produce("steady", count: 50)
        produced += 50
      }
      return ContinuousClock.now >= end
    }
    try scheduler.wait("a failure") { !scheduler.lines(with: "failing: run ended with").isEmpty }
    let last = scheduler.residentKiB
    scheduler.end()
    #expect(
      scheduler.process.terminationReason == .uncaughtSignal
        && scheduler.process.terminationStatus == SIGTERM)

    // Every tick of the steady one, at multiples of two seconds: at most one is missed to a machine
    // that is busy.
    let steady = scheduler.ticks("steady")
    #expect(steady.allSatisfy { $0 % 2_000 == 0 } && Set(steady).count == steady.count)
    let span = Int(((steady.last ?? 0) - (steady.first ?? 0)) / 2_000) + 1
    #expect(steady.count >= span - max(1, span / 20), "\(steady.count) of \(span) ticks")
    // No run met another: the lock would have ended it with a message.
    #expect(!scheduler.errors.contains("another run"), "\(scheduler.errors)")
    #expect(scheduler.ticks("slow").allSatisfy { $0 % 1_000 == 0 })
    #expect(scheduler.output.contains("[steady] steady: "))

    // Failures come further and further apart.
    let failures = scheduler.ticks("failing")
    #expect(failures.count >= 1 && failures.count <= 2 + Int(Self.seconds / 20), "\(failures)")
    for (first, second) in zip(failures, failures.dropFirst()) {
      #expect(second - first >= 10_000, "\(failures)")
    }
    #expect(scheduler.errors.contains("failing: run ended with 69, failure 1 in a row; the next"))
    #expect(scheduler.lines(with: "unscheduled: is not scheduled").count == 1)

    for name in ["steady", "slow", "changed"] {
      #expect(
        try jobs.sql(name, "SELECT count(*) FROM outputs WHERE revision > published_revision")
          == "0", "\(name)")
      #expect(try jobs.recordCount(name) > 0)
    }
    #expect(last - memory < 2_048, "\(memory) KiB, then \(last) KiB")
  }

  @Test("starts, drops and takes up jobs as their files come, go, break and are mended")
  func watching() throws {
    let jobs = try Jobs()
    try jobs.produce("first", count: 20)
    try jobs.produce("second", count: 20)
    try jobs.write("first", "every: 1s")
    let scheduler = try Running(jobs)
    try scheduler.wait("the first job") { try jobs.recordCount("first") == 20 }
    try jobs.write("second", "every: 1s")
    try scheduler.wait("the second job") { !scheduler.ticks("second").isEmpty }
    try jobs.write("second", "every: soon")
    try scheduler.wait("the fault") {
      scheduler.errors.contains("second.yaml: is not scheduled until the job file is corrected")
    }
    #expect(scheduler.errors.contains("is not a duration"))
    let count = scheduler.ticks("second").count
    try FileManager.default.removeItem(atPath: jobs.folder + "/jobs/first.yaml")
    try scheduler.wait("the removal") { scheduler.errors.contains("first.yaml: is gone") }
    let firstCount = scheduler.ticks("first").count
    try jobs.write("second", "every: 1s")
    try scheduler.wait("the mended job") { scheduler.ticks("second").count > count }
    #expect(scheduler.ticks("first").count <= firstCount + 1)
    scheduler.end(SIGINT)
    #expect(scheduler.process.terminationStatus == SIGINT)
  }

  @Test(
    "tells systemd that it is ready, alive, reloaded and stopping, and keeps this from its runs")
  func notifications() throws {
    let jobs = try Jobs()
    try jobs.produce("told", count: 10)
    try jobs.write("told", "every: 1s")
    // An abstract socket, as systemd uses for users' managers in containers.
    let name = uniqueName("tranche")
    let socket = try NotificationSocket(name)
    let scheduler = try Running(
      jobs, ["jobs"], ["NOTIFY_SOCKET": "@\(name)", "WATCHDOG_USEC": "400000"])
    try scheduler.wait("readiness") {
      socket.received.contains { $0.hasPrefix("READY=1\nSTATUS=1 ") }
    }
    try scheduler.wait("signs of life") { socket.received.count { $0 == "WATCHDOG=1" } >= 3 }
    try scheduler.wait("a run") { try jobs.recordCount("told") == 10 }
    kill(scheduler.process.processIdentifier, SIGHUP)
    try scheduler.wait("the reload") {
      let all = socket.received
      let reload = all.firstIndex { $0.hasPrefix("RELOADING=1\nMONOTONIC_USEC=") }
      return reload.map { all[$0...].contains { $0.hasPrefix("READY=1") } } ?? false
    }
    scheduler.end()
    #expect(socket.received.contains { $0.hasPrefix("STOPPING=1") })
    #expect(socket.senders == [scheduler.process.processIdentifier])
  }

  @Test(
    """
    logs its own lines and its runs' in one format: each can be read, and says of which job and \
    run it is; each run is summed up once
    """, arguments: LogParser.allCases)
  func log(parser: LogParser) throws {
    let jobs = try Jobs()
    for name in ["first", "second"] {
      try jobs.produce(name, count: 40)
      try jobs.write(name, "every: 1s, max_offsets: 10")
    }
    let scheduler = try Running(
      jobs, ["jobs", "--log-format", parser.rawValue, "--log-level", "debug"])
    try scheduler.wait("three runs of each") {
      try ["first", "second"].allSatisfy { name in
        try jobs.recordCount(name) == 40
          && scheduler.lines(with: "run ended").count { $0.contains(name) } >= 3
      }
    }
    scheduler.end()
    #expect(scheduler.output.isEmpty)
    let lines = try parser.lines(scheduler.errors)
    #expect(lines.allSatisfy { ["first", "second"].contains($0["job"]) })
    var records: [String: Int] = [:]
    for (run, lines) in Dictionary(grouping: lines, by: { $0["run"] }) {
      if run == nil {
        #expect(lines.allSatisfy { $0["message"] == "job scheduled" })
        continue
      }
      #expect(Set(lines.map { $0["job"] }).count == 1)
      #expect(lines.first?["message"] == "run started" && lines.last?["message"] == "run ended")
      #expect(lines.count { $0["message"] == "run ended" } == 1)
      records[lines[0]["job"] ?? "", default: 0] += Int(lines.last?["records"] ?? "") ?? 0
    }
    #expect(records == ["first": 40, "second": 40])
  }

  @Test("hands its runs' lines to the journal, each with its level and its run")
  func journal() throws {
    let jobs = try Jobs()
    try jobs.produce("told", count: 10)
    try jobs.write("told", "every: 1s")
    try jobs.scenario.folder.write("name: [", to: "jobs/faulty.yaml")
    // The file that standard error is from here on; standard output is another.
    for path in ["errors", "output"] { try jobs.scenario.folder.write("", to: path) }
    var facts = stat()
    #expect(stat(jobs.folder + "/errors", &facts) == 0)
    let scheduler = try Running(
      jobs, ["jobs"], ["JOURNAL_STREAM": "\(facts.st_dev):\(facts.st_ino)"])
    try scheduler.wait("a run") { scheduler.output.contains("[told] told: 1 batch") }
    scheduler.end()
    let lines = scheduler.errors.split(separator: "\n")
    #expect(lines.allSatisfy { $0.contains(/^<[3-7]>/) }, "\(lines)")
    #expect(lines.contains { $0.contains(/^<3>tranche: .*faulty\.yaml: is not scheduled/) })
    #expect(
      lines.contains { $0.contains(/^<5>\[told\] told: first run: .* run=[0-9a-f]{16}$/) },
      "\(lines)")
  }

  @Test("looks at no job file while it stops, whatever signal comes")
  func stopping() throws {
    let jobs = try Jobs()
    let broker = ScriptedBroker(.says([]))
    try jobs.write("silent", "every: 1s", broker: broker.address)
    let name = uniqueName("tranche")
    let socket = try NotificationSocket(name)
    let scheduler = try Running(jobs, ["jobs"], ["NOTIFY_SOCKET": "@\(name)"])
    try scheduler.wait("a run") { socket.received.contains { $0.contains("1 running") } }
    try scheduler.wait("the run's checkpoint") { scheduler.errors.contains("first run") }
    kill(scheduler.process.processIdentifier, SIGTERM)
    try scheduler.wait("the stop") { socket.received.contains { $0.hasPrefix("STOPPING=1") } }
    try jobs.write("faulty", "every: soon")
    kill(scheduler.process.processIdentifier, SIGHUP)
    scheduler.process.waitUntilExit()
    #expect(scheduler.process.terminationStatus == SIGTERM)
    #expect(
      !scheduler.errors.contains("faulty")
        && !socket.received.contains { $0.hasPrefix("RELOADING=1") }, "\(scheduler.errors)")
  }

  @Test("has as many open files as its runs take, or says that it may not")
  func openFiles() throws {
    let jobs = try Jobs()
    func schedule(_ limits: String, _ parallel: Int) throws -> ProcessResult {
      try execute(
        "/bin/sh",
        ["-c", "\(limits); exec timeout 2 \"$TRANCHE\" schedule jobs --parallel \(parallel)"],
        directory: jobs.folder, environment: ["TRANCHE": jobs.scenario.stack.binary])
    }
    let refused = try schedule("ulimit -n 100", 20)
    #expect(
      refused.exitCode == 71
        && refused.errors.contains(
          "--parallel 20 takes 168 open files, and this process may have 100."),
      "\(refused)")
    let raised = try schedule("ulimit -Hn 200; ulimit -Sn 50", 20)
    #expect(raised.exitCode != 71 && raised.errors.contains("no job is scheduled yet"), "\(raised)")
  }

  @Test("survives a run that is killed: the others go on, and the job does at its next tick")
  func killedRun() throws {
    let jobs = try Jobs()
    try jobs.produce("other", count: 20)
    try jobs.produce("victim", count: 20_000)
    try jobs.write("other", "every: 1s")
    try jobs.write("victim", "every: 1s, max_offsets: 1")
    let scheduler = try Running(jobs)
    var victim: pid_t?
    try scheduler.wait("a commit of the victim") {
      victim = scheduler.child("victim")
      return try victim != nil && jobs.recordCount("victim") > 5
    }
    kill(try #require(victim), SIGKILL)
    try scheduler.wait("its end") { scheduler.errors.contains("victim: run was ended by signal 9") }
    let count = scheduler.ticks("other").count
    try scheduler.wait("the others") { scheduler.ticks("other").count > count + 1 }
    try scheduler.wait("the job's next run") { scheduler.ticks("victim").count == 2 }
    // Asked to end while it starts, the run still publishes what the dead one left.
    scheduler.end()
    #expect(
      try jobs.sql("victim", "SELECT count(*) FROM outputs WHERE revision > published_revision")
        == "0")
  }

  @Test(
    """
    serves the metrics of its jobs while they run, whatever clients do, and of no job that is gone
    """)
  func metrics() throws {
    let jobs = try Jobs()
    try jobs.produce("steady", count: 20)
    try jobs.produce("victim", count: 20_000)
    try jobs.write("steady", "every: 1s")
    try jobs.write("victim", "every: 365d, max_offsets: 1")
    // Monitoring learns of a job that was faulty from the start.
    try "nonsense: 1\n".write(
      toFile: jobs.folder + "/jobs/faulty.yaml", atomically: true, encoding: .utf8)
    let arguments = ["jobs", "--verbose", "--metrics", "127.0.0.1:0"]
    var scheduler = try Running(jobs, arguments, ["TMPDIR": jobs.folder])
    try scheduler.wait("a run") {
      scheduler.get().contains(#"tranche_records_read_total{job_name="steady"} 20"#)
    }
    // Not run yet: zeros, so that rate() sees what the first run counts.
    #expect(scheduler.get().contains(#"tranche_batches_total{job_name="victim"} 0"#))
    #expect(!scheduler.get().contains(#"tranche_last_run_timestamp_seconds{job_name="victim"}"#))
    try jobs.write("victim", "every: 1s, max_offsets: 1")
    try scheduler.wait("the long run's first figures") {
      scheduler.get().contains(#"tranche_run_start_timestamp_seconds{job_name="victim"} "#)
    }
    #expect(scheduler.get().contains(#"tranche_last_exit_code{job_name="faulty"} 65"#))
    let answer = scheduler.get().components(separatedBy: "\r\n\r\n")
    #expect(answer.first?.hasPrefix("HTTP/1.1 200 OK\r\n") == true)
    try jobs.scenario.stack.python("SystemTests/metrics.py", [], input: answer.last ?? "")

    kill(try #require(scheduler.child("victim")), SIGKILL)
    try scheduler.wait("how it ended") {
      scheduler.get().contains(#"tranche_last_exit_code{job_name="victim"} 137"#)
    }

    let ticks = scheduler.ticks("steady").count
    let idle = (0..<200).compactMap { _ in scheduler.connect() }
    for (index, client) in idle.enumerated() {
      switch index % 3 {
      case 0: client.send(String(repeating: "x", count: 50_000))
      case 1: client.send("GET /metrics HTTP/1.1\r\nX: y\r\n")
      default: break
      }
    }
    try scheduler.wait("ticks beside hostile clients") {
      for client in idle { client.send("X: y\r\n") }
      return scheduler.ticks("steady").count > ticks + 1
    }
    #expect(scheduler.get().contains(#"tranche_records_read_total{job_name="steady"} 20"#))
    #expect(scheduler.get("/").hasPrefix("HTTP/1.1 404 "))

    try FileManager.default.removeItem(atPath: jobs.folder + "/jobs/victim.yaml")
    try scheduler.wait("the removal") { !scheduler.get().contains(#"job_name="victim""#) }
    #expect(scheduler.get().contains(#"tranche_records_read_total{job_name="steady"} 20"#))
    scheduler.end()
    func folders() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: jobs.folder).filter {
        $0.hasPrefix("tranche-")
      }
    }
    #expect(try folders() == [])

    // A scheduler that has run nothing yet shows what the checkpoint says.
    try jobs.write("steady", "every: 365d")
    scheduler = try Running(jobs, arguments, ["TMPDIR": jobs.folder])
    try scheduler.wait("the checkpoint's figures") {
      scheduler.get().contains(#"tranche_records_read_total{job_name="steady"} 20"#)
    }
    #expect(scheduler.ticks("steady").isEmpty)
    scheduler.end()
    #expect(try folders() == [])
  }

  @Test("refuses what is not there, and more or less parallel runs than there can be")
  func arguments() throws {
    let scenario = try Scenario()
    let missing = try scenario.tranche("schedule", "nowhere")
    #expect(missing.exitCode == 65 && missing.errors.contains("nowhere: cannot be read"))
    #expect(try scenario.tranche("schedule", "--parallel", "0").exitCode == 64)
    #expect(try scenario.tranche("schedule", "--grace", "-1").exitCode == 64)
    #expect(try scenario.tranche("schedule", "--metrics", "nowhere").exitCode == 64)
    let taken = try scenario.tranche("schedule", ".", "--metrics", scenario.stack.broker)
    #expect(
      taken.exitCode == 74 && taken.errors.contains("Address already in use"), "\(taken.errors)")
  }
}

/// A Unix datagram socket with an abstract name, as systemd's.
private final class NotificationSocket: @unchecked Sendable {
  // @unchecked: the descriptor is a number, and the lists are read by one thread.
  private let descriptor: Int32
  private var messages: [String] = []
  private(set) var senders: Set<pid_t> = []

  struct Failed: Error {}

  init(_ name: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: [0] + Array(name.utf8)) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
    var one: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_PASSCRED, &one, socklen_t(MemoryLayout<Int32>.size))
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
    }
    guard bound == 0 else { throw Failed() }
  }

  deinit { close(descriptor) }

  /// All messages so far.
  var received: [String] {
    var text = [UInt8](repeating: 0, count: 4_096)
    var control = [UInt8](repeating: 0, count: 128)
    while true {
      let count = text.withUnsafeMutableBytes { text -> Int in
        var piece = iovec(iov_base: text.baseAddress, iov_len: text.count)
        return control.withUnsafeMutableBytes { control in
          withUnsafeMutablePointer(to: &piece) { piece in
            var header = msghdr()
            header.msg_iov = piece
            header.msg_iovlen = 1
            header.msg_control = control.baseAddress
            header.msg_controllen = control.count
            return recvmsg(descriptor, &header, Int32(MSG_DONTWAIT))
          }
        }
      }
      guard count > 0 else { return messages }
      messages.append(String(decoding: text.prefix(count), as: UTF8.self))
      // cmsghdr is a length, a level and a type: 16 bytes; then ucred, whose first number is the
      // sender's.
      senders.insert(control.withUnsafeBytes { $0.load(fromByteOffset: 16, as: pid_t.self) })
    }
  }
}
