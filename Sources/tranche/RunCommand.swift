import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import ObjectStorage
import Reports
import Synchronization

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Publish unpublished results, then take batches up to the topics' ends.",
    discussion: """
      A run ends at the topics' ends that it saw at its start; later messages wait for the \
      next run. With --batches 1 each run takes one batch of at most trigger.max_offsets \
      offsets; with --max-duration 50s it begins no batch after 50 seconds, and publishes what \
      it has committed. A job has one run at a time: a second one exits at once with code 75.

      For cron: --quiet prints nothing but errors and warnings about the run. It also keeps \
      silent where another run is active; the exit code is 75 all the same, and \
      `tranche check` notices a run that hangs.

      On the first SIGTERM or SIGINT the run abandons the uncommitted batch, spends up to \
      --grace seconds publishing committed results, then exits by that signal. A second signal \
      ends it at once.
      """)

  @OptionGroup var job: JobOptions

  @Option(name: .customLong("batches"), help: "Take at most this many batches.")
  var maxBatches: Int?

  @Option(help: "Begin no batch after this time, such as 50s or 10m; at least one is taken.")
  var maxDuration: DurationArgument?

  @Option(help: "After SIGTERM or SIGINT, publish committed results for up to this many seconds.")
  var grace: Int64 = 20

  @Flag(help: "Print the summary as one line of JSON.")
  var json = false

  @Flag(help: "Print the time of each step. The JSON summary always has it.")
  var profile = false

  @Flag(name: .shortAndLong, help: "Print nothing but what went wrong.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Log each batch to standard error.")
  var verbose = false

  @Option(help: "The permissions of a new checkpoint's files; existing files keep theirs.")
  var mode = FileMode.owner

  @Option(name: .customLong("die-at-step"), help: .hidden)
  var dieAtStep: Int?

  func validate() throws {
    if let maxBatches, maxBatches < 1 {
      throw ValidationError("--batches takes a number of at least 1.")
    }
    if quiet && (json || profile || verbose) {
      throw ValidationError("--quiet does not go together with --json, --profile or --verbose.")
    }
    if grace < 0 || grace > 86_400 {
      throw ValidationError("--grace takes a number of seconds from 0 to 86400.")
    }
  }

  func run() throws {
    let started = ContinuousClock.now
    var name: String?
    // Before there is a run to sum up.
    func summaryText(_ failures: [Failure], _ code: Int32) throws -> String {
      try RunSummary(job: name ?? "").jsonText(
        seconds: (ContinuousClock.now - started) / .seconds(1), failures: failures, exitCode: code)
    }
    try exiting(
      job, json: json ? summaryText : nil, isSilent: { [quiet] in quiet && isAnotherRunActive($0) }
    ) {
      let parsed = try self.job.loadParsed()
      let job = parsed.job
      name = job.name
      if !quiet { printWarnings(parsed) }
      let failpoint = Failpoints(dieAtStep: dieAtStep).pass
      let checkpoint = try openCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job), mode: mode, isQuiet: quiet
      ) {
        failpoint(.checkpointStep)
      }
      if !quiet {
        for change in checkpoint.appliedChanges { printError("job file changed: \(change)") }
      }
      var options = RunOptions(
        clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release)
      options.maxBatches = maxBatches
      options.maxDurationMilliseconds = maxDuration?.milliseconds
      options.failpoint = failpoint
      options.isStopRequested = { StopSignal.received != 0 }
      options.graceMilliseconds = grace * 1_000
      StopSignal.watch()
      let isWatched = isatty(STDERR_FILENO) == 1 && !json && !verbose && !quiet
      if isWatched { options.onProgress = Progress(started).show }
      let logger = makeLogger(isVerbose: verbose)
      let run = try Run(
        job: job, checkpoint: checkpoint, sources: try makeSources(job, logger, isQuiet: quiet),
        storeAt: { try makeStore(job, at: $0) { failpoint(.storeStep) } },
        options: options,
        logger: logger)
      let (summary, errors) = run.execute()
      failpoint(.runEnded)
      if isWatched { printProgress("\r\u{1B}[K") }
      let seconds = (ContinuousClock.now - started) / .seconds(1)
      let failures = Words(jobArguments: self.job.commandLine(of: job)).failures(errors)
      let exitCode =
        errors.first?.code.exitCode ?? (summary.isStopped ? 128 + StopSignal.received : 0)
      if json {
        printExact(
          try summary.jsonText(seconds: seconds, failures: failures, exitCode: exitCode))
      } else if !quiet && (errors.isEmpty || summary.didAnything) {
        printText(summary.text(seconds: seconds, place: job.output.destination.text))
      }
      if profile && !json { printText(summary.profileText(seconds: seconds)) }
      for failure in failures { printError("tranche: \(failure.message)") }
      if !errors.isEmpty { throw ExitCode(exitCode) }
      if summary.isStopped {
        checkpoint.close()
        StopSignal.endProcess()
      }
    }
  }
}

/// Ends the process by SIGKILL at the n-th durable step, for the tests that kill the shipped binary
/// everywhere.
private final class Failpoints: Sendable {
  private let stepsLeft: Mutex<Int?>

  init(dieAtStep: Int?) { stepsLeft = Mutex(dieAtStep) }

  @Sendable func pass(_ failpoint: Failpoint) {
    stepsLeft.withLock { stepsLeft in
      guard let left = stepsLeft else { return }
      stepsLeft = left - 1
      if left == 1 { kill(getpid(), SIGKILL) }
    }
  }
}

/// One line on the terminal, rewritten at most ten times a second.
private final class Progress: Sendable {
  private let started: ContinuousClock.Instant
  private let shown = Mutex<ContinuousClock.Instant?>(nil)

  init(_ started: ContinuousClock.Instant) { self.started = started }

  @Sendable func show(_ progress: RunProgress) {
    let now = ContinuousClock.now
    let isDue = shown.withLock { shown in
      if let last = shown, now - last < .milliseconds(100) { return false }
      shown = now
      return true
    }
    guard isDue else { return }
    let rate = Double(progress.recordCount) / max(0.001, (now - started) / .seconds(1))
    let line =
      "\r\u{1B}[Kbatch \(progress.batchCount)  \(grouped(progress.recordCount)) records  "
      + "\(grouped(Int64(rate)))/s  lag \(grouped(progress.lag))"
    printProgress(line)
  }
}
