import ArgumentParser
import Checkpoints
import Engine
import Glibc
import Jobs
import Logging
import Reports
import Synchronization

/// What `run` and `backfill` take alike, and do alike.
struct RunFlags: ParsableArguments {
  @Option(help: "Begin no batch after this time, such as 50s or 10m; at least one is taken.")
  var maxDuration: DurationArgument?

  @Option(help: "After SIGTERM or SIGINT, publish committed results for up to this many seconds.")
  var grace: Int64 = 20

  @Flag(help: "Take what there is, though trigger.min_offsets would hold it back.")
  var now = false

  @Flag(help: "Print the summary as one line of JSON.")
  var json = false

  @Flag(help: "Print the time of each step. The JSON summary always has it.")
  var profile = false

  @Flag(name: .shortAndLong, help: "Print nothing but what went wrong.")
  var quiet = false

  @OptionGroup var log: LogOptions

  @OptionGroup var metrics: MetricsOption

  @OptionGroup var death: DeathOption

  func validate() throws {
    if quiet && (json || profile || log.verbose || log.logLevel != nil) {
      throw ValidationError(
        "--quiet does not go together with --json, --profile, --verbose or --log-level.")
    }
    try validateGrace(grace)
  }

  /// Loads the job file, tells its warnings, and does a command's work; ends the process as
  /// ``tranche/exiting(_:json:isSilent:_:)`` does, with what `--json` and `--quiet` ask for.
  func exiting(
    _ options: JobOptions, _ body: (Job, _ started: RunStart) throws -> Void
  ) throws {
    let started = RunStart(metrics: metrics.file.map { RunMetrics($0, options) })
    log.apply(isQuiet: quiet)
    Log.change { $0.run = log.scheduledRun ?? Log.makeRunID() }
    do {
      try tranche.exiting(
        options,
        json: { try report(RunSummary(job: Log.current.job ?? ""), started, $0, exitCode: $1) },
        isSilent: { error in
          if isAnotherRunActive(error) { started.metrics?.leave() }
          return quiet && isAnotherRunActive(error)
        }
      ) {
        let parsed = try options.loadParsed(checksFiles: true)
        Log.change { $0.job = parsed.job.name }
        started.metrics?.know(
          parsed.job, folder: options.checkpoints.folderInUse(of: parsed.job, file: options.file))
        if !quiet { printWarnings(parsed) }
        try body(parsed.job, started)
      }
      started.metrics?.end(0)
    } catch let code as ExitCode {
      started.metrics?.end(code.rawValue)
      throw code
    }
  }

  /// Sums a run up for programs and for the log.
  ///
  /// - Parameter text: For people; nil where there was no run, or one that failed at once.
  private func report(
    _ summary: RunSummary, _ started: RunStart, _ failures: [Failure], warnings: [String] = [],
    exitCode: Int32, text: String? = nil
  ) throws {
    let seconds = started.secondsAgo
    if json {
      printExact(
        try summary.jsonText(
          seconds: seconds, failures: failures, warnings: warnings, exitCode: exitCode))
    }
    if Log.takesSummaries {
      Log.tell(
        .notice, "run ended", summary.logFields(seconds: seconds, exitCode: exitCode),
        words: text ?? "the run ended with \(exitCode)")
    }
  }

  /// Runs the job and says what became of it.
  ///
  /// - Parameters:
  ///   - commandLine: What names the job on a command line, for what went wrong.
  func execute(
    _ job: Job, _ checkpoint: Checkpoint, sources: [any MessageSource], maxBatches: Int? = nil,
    _ failpoint: @escaping @Sendable (Failpoint) -> Void, started: RunStart,
    _ logger: Logger, commandLine: @autoclosure () -> String
  ) throws {
    for change in checkpoint.appliedChanges {
      Log.tell(
        .notice, "job file changed", [("change", .text("\(change)"))],
        words: "job file changed: \(change)")
    }
    if checkpoint.leftObjectCount > 0 {
      Log.tell(
        .warning, "objects of evicted windows stay at the former place",
        [("objects", .integer(Int64(checkpoint.leftObjectCount)))],
        words: "\(counted(Int64(checkpoint.leftObjectCount), "object")) of evicted windows "
          + "(window.retention) stay where they are, as they were: their state is gone")
    }
    var options = RunOptions(
      clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release)
    options.maxBatches = maxBatches
    options.holdsBack = !now
    options.maxDurationMilliseconds = maxDuration?.milliseconds
    options.failpoint = failpoint
    options.isStopRequested = { StopSignal.received != 0 }
    options.graceMilliseconds = grace * 1_000
    StopSignal.watch()
    let isWatched = Log.isWatched && !json
    if isWatched { options.onProgress = Progress(started.instant).show }
    if let metrics = started.metrics {
      metrics.begin()
      options.onFigures = metrics.tell
    }
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: sources,
      storeAt: { try makeStore(job, at: $0) { failpoint(.storeStep) } },
      options: options,
      logger: logger)
    let (summary, errors) = run.execute()
    failpoint(.runEnded)
    if isWatched { printProgress("\r\u{1B}[K") }
    let hasWorked = errors.isEmpty && summary.progressNotShown.isEmpty
    let sentences = hasWorked ? nil : Words(jobArguments: commandLine())
    let failures = sentences?.failures(errors) ?? []
    let warnings = summary.progressNotShown.compactMap { sentences?.text(of: $0) }
    let exitCode =
      errors.first?.code.exitCode ?? (summary.isStopped ? 128 + StopSignal.received : 0)
    let seconds = started.secondsAgo
    let text =
      errors.isEmpty || summary.didAnything
      ? summary.text(seconds: seconds, place: job.output.destination.text) : nil
    if !json && !quiet && !Log.takesSummaries, let text { printText(text) }
    if profile && !json { printText(summary.profileText(seconds: seconds)) }
    for warning in warnings { Log.tell(.warning, warning, words: "warning: \(warning)") }
    for failure in failures { Log.tell(failure, exitCode: exitCode) }
    try report(
      summary, started, failures, warnings: warnings, exitCode: exitCode, text: text)
    // While this run has the job's lock: the next one's metrics go on from these.
    withExtendedLifetime(checkpoint) { started.metrics?.end(exitCode, summary.figures) }
    if !errors.isEmpty { throw ExitCode(exitCode) }
    if summary.isStopped {
      checkpoint.close()
      StopSignal.endProcess()
    }
  }
}

/// - Throws: `ValidationError` for a `--grace` that `run` or `schedule` does not take.
func validateGrace(_ seconds: Int64) throws {
  if !(0...86_400).contains(seconds) {
    throw ValidationError("--grace takes a number of seconds from 0 to 86400.")
  }
}

/// When a command began that runs a job, and what it tells of the run.
struct RunStart {
  let instant = ContinuousClock.now
  let metrics: RunMetrics?

  var secondsAgo: Double { (ContinuousClock.now - instant) / .seconds(1) }
}

/// One line on the terminal, rewritten at most ten times a second.
private final class Progress: Sendable {
  private let started: ContinuousClock.Instant
  private let state = Mutex(State())

  private struct State {
    var shown: ContinuousClock.Instant?
    /// When the run was seen to backfill first, and how much it had counted then.
    var backfill: (began: ContinuousClock.Instant, before: Int64)?
  }

  init(_ started: ContinuousClock.Instant) { self.started = started }

  @Sendable func show(_ progress: RunProgress) {
    let now = ContinuousClock.now
    let (isDue, backfill) = state.withLock { state in
      if state.backfill == nil && progress.backfilledCount > 0 {
        state.backfill = (now, progress.backfilledCount)
      }
      if let last = state.shown, now - last < .milliseconds(100) { return (false, state.backfill) }
      state.shown = now
      return (true, state.backfill)
    }
    guard isDue else { return }
    let text = progress.text(
      seconds: (now - started) / .seconds(1),
      backfillSeconds: backfill.map { (now - $0.began) / .seconds(1) } ?? 0,
      backfilledBefore: backfill?.before ?? 0)
    printProgress("\r\u{1B}[K" + text)
  }
}
