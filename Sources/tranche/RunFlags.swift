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

  @Flag(name: .shortAndLong, help: "Log each batch to standard error.")
  var verbose = false

  @OptionGroup var metrics: MetricsOption

  @OptionGroup var death: DeathOption

  func validate() throws {
    if quiet && (json || profile || verbose) {
      throw ValidationError("--quiet does not go together with --json, --profile or --verbose.")
    }
    try validateGrace(grace)
  }

  /// What `--json` prints of a command that failed before there was a run to sum up.
  ///
  /// - Parameter name: The job's, if it is known yet.
  private func failureText(
    _ started: ContinuousClock.Instant, _ name: @escaping () -> String?
  ) -> FailureText? {
    guard json else { return nil }
    return { failures, code in
      try RunSummary(job: name() ?? "").jsonText(
        seconds: (ContinuousClock.now - started) / .seconds(1), failures: failures, exitCode: code)
    }
  }

  /// Loads the job file, tells its warnings, and does a command's work; ends the process as
  /// ``tranche/exiting(_:json:isSilent:_:)`` does, with what `--json` and `--quiet` ask for.
  func exiting(
    _ options: JobOptions, _ body: (Job, _ started: RunStart) throws -> Void
  ) throws {
    let started = RunStart(metrics: metrics.file.map { RunMetrics($0, options) })
    var name: String?
    do {
      try tranche.exiting(
        options, json: failureText(started.instant) { name },
        isSilent: { error in
          if isAnotherRunActive(error) { started.metrics?.leave() }
          return quiet && isAnotherRunActive(error)
        }
      ) {
        let parsed = try options.loadParsed(checksFiles: true)
        name = parsed.job.name
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

  /// Runs the job and says what became of it.
  ///
  /// - Parameters:
  ///   - commandLine: What names the job on a command line, for what went wrong.
  func execute(
    _ job: Job, _ checkpoint: Checkpoint, sources: [any MessageSource], maxBatches: Int? = nil,
    _ failpoint: @escaping @Sendable (Failpoint) -> Void, started: RunStart,
    _ logger: Logger, commandLine: @autoclosure () -> String
  ) throws {
    if !quiet {
      for change in checkpoint.appliedChanges { printError("job file changed: \(change)") }
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
    let isWatched = isatty(STDERR_FILENO) == 1 && !json && !verbose && !quiet
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
    let seconds = (ContinuousClock.now - started.instant) / .seconds(1)
    let hasWorked = errors.isEmpty && summary.progressNotShown.isEmpty
    let words = hasWorked ? nil : Words(jobArguments: commandLine())
    let failures = words?.failures(errors) ?? []
    let warnings = summary.progressNotShown.compactMap { words?.text(of: $0) }
    let exitCode =
      errors.first?.code.exitCode ?? (summary.isStopped ? 128 + StopSignal.received : 0)
    if json {
      printExact(
        try summary.jsonText(
          seconds: seconds, failures: failures, warnings: warnings, exitCode: exitCode))
    } else if !quiet && (errors.isEmpty || summary.didAnything) {
      printText(summary.text(seconds: seconds, place: job.output.destination.text))
    }
    if profile && !json { printText(summary.profileText(seconds: seconds)) }
    for warning in warnings { printError("warning: \(warning)") }
    for failure in failures { printError("tranche: \(failure.message)") }
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
