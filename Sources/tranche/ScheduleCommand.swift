import ArgumentParser
import Engine
import Foundation
import Glibc
import Jobs
import Logging
import Reports
import Scheduling
import Tables

struct ScheduleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule",
    abstract: "Run jobs at the times that their trigger.every or trigger.cron says, until stopped.",
    discussion: """
      Each run is a process of its own, as if you had typed tranche run. Changed, new and removed \
      job files are noticed within seconds. A tick that comes while the job runs is made up by one \
      run. A job that fails is left alone for longer each time, up to an hour. If two files \
      have the same name:, the second is not scheduled.

      On the first SIGTERM or SIGINT no run is started any more, and those that go on are asked to \
      end and get --grace seconds to publish; a second signal ends them at once. SIGHUP reads all \
      job files anew and lets failing jobs run at their next tick.
      """)

  @Argument(
    help: "Job files, and folders of job files.",
    completion: .file(extensions: ["yaml", "yml"]))
  var paths: [String] = ["jobs"]

  @Option(help: "Run at most this many jobs at once.")
  var parallel = 4

  @OptionGroup var checkpoints: CheckpointOptions

  @OptionGroup var code: CodeOptions

  @Option(
    help: ArgumentHelp(
      "Serve the metrics of all jobs for Prometheus at this address, such as 127.0.0.1:9464.",
      valueName: "address"))
  var metrics: MetricsAddress?

  @Option(help: "When stopped, let runs publish committed results for up to this many seconds.")
  var grace: Int64 = 20

  @OptionGroup var log: LogOptions

  func validate() throws {
    if !(1...1_000).contains(parallel) {
      throw ValidationError("--parallel takes a number from 1 to 1000.")
    }
    try validateGrace(grace)
  }

  func run() throws {
    log.apply()
    try exiting {
      try OpenFiles.allow(parallelRuns: parallel)
      let manager = ServiceManager(environment: ProcessInfo.processInfo.environment)
      // systemd tells them to this process alone: no run gets them. There is no other thread yet
      // that could read the environment.
      for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
      let jobs = WatchedJobs(paths, allowsCode: code.allowCodeProperties)
      try jobs.confirm()
      var exposed: ScheduledMetrics?
      if let metrics { exposed = try ScheduledMetrics(metrics) }
      let scheduler = Scheduler(
        jobs, Supervision(parallelCount: parallel, graceMilliseconds: grace * 1_000),
        manager: manager, wakeUp: try SchedulerSignals.watch(), arguments: runArguments,
        metrics: exposed
      ) { [checkpoints, code] file in
        guard let job = try? loadJob(file, allowsCode: code.allowCodeProperties) else { return nil }
        return checkpoints.folderInUse(of: job, file: file).map { metricFacts(job, folder: $0) }
      }
      scheduler.run()
      exposed?.removeFolder()
      StopSignal.endProcess(SchedulerSignals.stopSignal)
    }
  }

  private func runArguments(_ file: String, _ run: String) -> [String] {
    ["run", file] + (checkpoints.folder.map { ["--checkpoints", $0] } ?? [])
      + (code.allowCodeProperties ? ["--allow-code-properties"] : [])
      + ["--grace", "\(grace)"] + log.arguments(run: run)
  }
}

/// Does what ``Supervision`` decides, in one thread: starts runs, passes on what they say, and
/// tells it what became of them.
private final class Scheduler {
  /// How often job files are looked at.
  private static let lookMilliseconds: Int64 = 2_000

  private var jobs: WatchedJobs
  private var supervision: Supervision
  private let manager: ServiceManager
  private let wakeUp: Int32
  private let arguments: (_ file: String, _ run: String) -> [String]
  /// Nil where nobody asked for them.
  private let metrics: ScheduledMetrics?
  /// What a job's checkpoint tells; nil where its file has become faulty.
  private let facts: (_ file: String) -> MetricFacts?
  /// By the job's file.
  private var children: [String: ChildRun] = [:]
  private var names: [String: String] = [:]
  private var lastLook: Int64 = 0
  private var lastSign: Int64 = 0
  private var lastStatus = ""
  private var stopsSeen = 0
  private var reloadsSeen = 0

  init(
    _ jobs: WatchedJobs, _ supervision: Supervision, manager: ServiceManager, wakeUp: Int32,
    arguments: @escaping (_ file: String, _ run: String) -> [String], metrics: ScheduledMetrics?,
    facts: @escaping (_ file: String) -> MetricFacts?
  ) {
    self.jobs = jobs
    self.supervision = supervision
    self.manager = manager
    self.wakeUp = wakeUp
    self.arguments = arguments
    self.metrics = metrics
    self.facts = facts
  }

  /// Until it was told to stop and the last run has ended.
  func run() {
    look()
    if supervision.jobCount == 0 {
      say(.notice, "no job is scheduled yet; job files are watched")
    }
    manager.ready(status)
    lastStatus = status
    while true {
      takeSignals()
      if stopsSeen == 0, isTimeToLook { look() }
      for action in supervision.actions(now: nowMilliseconds(), uptime: uptimeMilliseconds) {
        perform(action)
      }
      if supervision.isStopped { return }
      tellManager()
      wait()
      passOn()
      reap()
    }
  }

  // MARK: - What happens outside

  private var isTimeToLook: Bool {
    uptimeMilliseconds - lastLook >= Self.lookMilliseconds
  }

  private var uptimeMilliseconds: Int64 { uptimeNanoseconds() / 1_000_000 }

  private func look() {
    for change in jobs.changes() { take(change) }
    lastLook = uptimeMilliseconds
  }

  private func take(_ change: WatchedJobs.Change) {
    let now = nowMilliseconds()
    switch change {
    case .scheduled(let file, let name, let ticks):
      names[file] = name
      supervision.update(file, ticks, now: now)
      metrics?.takeUp(file) { facts(file) }
      if let due = supervision.due(file) {
        say(
          .debug, "job scheduled", [("due", .text(time(due)))], of: file, "next run at \(time(due))"
        )
      }
    case .unscheduled(let file, let name):
      supervision.update(file, nil, now: now)
      names[file] = name
      metrics?.drop(file)
      say(
        .warning, "job has no schedule", [("file", .text(file))], of: file,
        "is not scheduled: \(file) has neither trigger.every nor trigger.cron. Add one of them, or "
          + "start it otherwise.")
    case .faulty(let file, let text):
      supervision.update(file, nil, now: now)
      metrics?.noteFault(file, job: names[file] ?? JobFile.fileName(file))
      for line in text.split(separator: "\n") { Log.tell(.error, String(line)) }
      say(
        .error, "job file is faulty", [("file", .text(file))],
        "\(file): is not scheduled until the job file is corrected")
    case .removed(let file):
      supervision.update(file, nil, now: now)
      metrics?.drop(file)
      say(
        .notice, "job file is gone", [("file", .text(file))],
        "\(file): is gone and no longer scheduled")
    }
  }

  private func takeSignals() {
    let (stops, reloads) = (SchedulerSignals.stopCount, SchedulerSignals.reloadCount)
    if stops > stopsSeen {
      stopsSeen = stops
      supervision.stop(uptime: uptimeMilliseconds)
      manager.stopping("waiting for \(supervision.runningCount) runs to end")
    } else if reloads > reloadsSeen, stopsSeen == 0 {
      manager.reloading()
      jobs.forget()
      look()
      manager.ready(status)
    }
    reloadsSeen = reloads
  }

  /// Until something is due, a signal comes, or a run says something.
  private func wait() {
    let now = nowMilliseconds()
    var milliseconds = Self.lookMilliseconds
    if let wake = supervision.wake { milliseconds = min(milliseconds, max(0, wake - now)) }
    if let deadline = supervision.stopDeadline {
      milliseconds = min(milliseconds, max(0, deadline - uptimeMilliseconds))
    }
    if let watchdog = manager.watchdogMilliseconds { milliseconds = min(milliseconds, watchdog) }
    if let wake = metrics?.server.wake {
      milliseconds = min(milliseconds, max(0, wake - uptimeMilliseconds))
    }
    var wanted = [pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0)]
    for child in children.values {
      if !child.output.isAtEnd {
        wanted.append(pollfd(fd: child.output.descriptor, events: Int16(POLLIN), revents: 0))
      }
      if !child.errors.isAtEnd {
        wanted.append(pollfd(fd: child.errors.descriptor, events: Int16(POLLIN), revents: 0))
      }
    }
    if let metrics { wanted += metrics.server.wanted(now: uptimeMilliseconds) }
    _ = poll(&wanted, nfds_t(wanted.count), Int32(clamping: milliseconds))
    SchedulerSignals.drain(wakeUp)
    metrics?.server.serve(now: uptimeMilliseconds)
  }

  // MARK: - Runs

  private func perform(_ action: Supervision.Action) {
    switch action {
    case .start(let file, let due):
      let run = Log.makeRunID()
      say(
        .debug, "run started", [("due", .text(time(due)))], of: file, run: run,
        "run started that was due at \(time(due))")
      do {
        children[file] = try ChildRun(
          run, arguments(file, run) + (metrics?.options(file) ?? []))
      } catch {
        let text = (error as? CommandError)?.message ?? "\(error)"
        ended(
          file, run, .failed(needsPerson: false), [("cause", .text(text))],
          "could not be started: \(text)")
      }
    case .interrupt(let file): children[file]?.send(SIGTERM)
    case .kill(let file):
      say(
        .warning, "run killed", of: file, run: children[file]?.id,
        "did not end in time and is killed; the next run goes on from its commits")
      children[file]?.send(SIGKILL)
    }
  }

  private func passOn() {
    for (file, child) in children.sorted(by: { $0.key < $1.key }) {
      child.readLines { passOn($0, isError: $1, of: child, file) }
    }
  }

  private func passOn(_ line: String, isError: Bool, of child: ChildRun, _ file: String) {
    let name = name(file)
    if isError {
      Log.passOn(line, job: name, run: child.id)
    } else if Log.takesSummaries {
      Log.tell(.notice, line, job: name, run: child.id, words: "[\(name)] \(line)")
    } else {
      printText("[\(name)] \(line)")
    }
  }

  private func reap() {
    for (file, child) in children.sorted(by: { $0.key < $1.key }) {
      guard let end = child.reap() else { continue }
      child.finish { passOn($0, isError: $1, of: child, file) }
      children[file] = nil
      switch end {
      case .exited(let code):
        metrics?.noteEnd(file)
        ended(
          file, child.id, RunOutcome(exitCode: code), [("exit_code", .integer(Int64(code)))],
          "ended with \(code)")
      case .signalled(let signal):
        metrics?.noteEnd(file, job: name(file), exitCode: 128 + signal)
        // Asked to end, it dies by the signal when everything is in order.
        let isAsked = stopsSeen > 0
        ended(
          file, child.id, isAsked ? .done : .failed(needsPerson: false),
          [("signal", .integer(Int64(signal)))], "was ended by signal \(signal)")
      }
    }
  }

  private func ended(
    _ file: String, _ run: String, _ outcome: RunOutcome, _ facts: [LogLine.Field], _ words: String
  ) {
    supervision.ended(file, outcome, now: nowMilliseconds())
    guard case .failed = outcome, stopsSeen == 0 else { return }
    let count = max(1, supervision.failureCount(of: file))
    let due = supervision.due(file).map(time)
    say(
      .warning, "run failed",
      facts + [("failures", .integer(Int64(count)))] + (due.map { [("due", .text($0))] } ?? []),
      of: file, run: run,
      "run \(words), failure \(count) in a row\(due.map { "; the next run is at \($0)" } ?? "")")
  }

  // MARK: - Words

  private func name(_ file: String) -> String { names[file] ?? file }

  private func time(_ milliseconds: Int64) -> String {
    TimestampText.format(milliseconds: milliseconds)
  }

  /// - Parameters:
  ///   - file: Of the job that it is about; nil where it is about none, or only about the file.
  ///   - text: What format text says instead of the message.
  private func say(
    _ level: Logger.Level, _ message: String, _ fields: [LogLine.Field] = [],
    of file: String? = nil, run: String? = nil, _ text: String? = nil
  ) {
    let job = file.map(name)
    Log.tell(
      level, message, fields, job: job, run: run,
      words: "tranche: \(job.map { "\($0): " } ?? "")\(text ?? message)")
  }

  private var status: String {
    let next = supervision.wake.map { ", next at \(time($0))" } ?? ""
    return "\(supervision.jobCount) jobs, \(supervision.runningCount) running, "
      + "\(supervision.failingCount) failing\(stopsSeen == 0 ? next : "")"
  }

  private func tellManager() {
    if let watchdog = manager.watchdogMilliseconds, uptimeMilliseconds - lastSign >= watchdog / 2 {
      manager.stillAlive()
      lastSign = uptimeMilliseconds
    }
    if status != lastStatus {
      lastStatus = status
      manager.status(lastStatus)
    }
  }
}
