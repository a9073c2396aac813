import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import ObjectStorage

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Publish what is unpublished, then take batches until the topics' ends are reached.",
    discussion: """
      The ends are those seen at the start; what arrives later waits for the next run. With \
      --batches 1 each run takes one batch of at most \
      trigger.max_offsets offsets. Only one run of a job can go on at a time: a second exits at \
      once with code 75.
      """)

  @OptionGroup var job: JobOptions

  @Option(name: .customLong("batches"), help: "Take at most this many batches.")
  var maxBatches: Int?

  @Option(help: "After SIGTERM or SIGINT, publish what is committed for at most this many seconds.")
  var grace: Int64 = 20

  @Flag(help: "Print the summary as one line of JSON.")
  var json = false

  @Flag(help: "Print where the time went, step by step. The JSON summary says it in any case.")
  var profile = false

  @Flag(name: .shortAndLong, help: "Log each batch to standard error.")
  var verbose = false

  @Option(help: "The rights of a new checkpoint's files; those that are there keep theirs.")
  var mode = FileMode.owner

  @Option(name: .customLong("die-at-step"), help: .hidden)
  var dieAtStep: Int?

  func validate() throws {
    if let maxBatches, maxBatches < 1 {
      throw ValidationError("--batches takes a number from 1 on.")
    }
    if grace < 0 || grace > 86_400 {
      throw ValidationError("--grace takes a number of seconds from 0 to 86400.")
    }
  }

  func run() throws {
    try exiting {
      let started = ContinuousClock.now
      let job = try self.job.load()
      let failpoint = Failpoints(dieAtStep: dieAtStep).pass
      let checkpoint = try openCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job), mode: mode
      ) {
        failpoint(.checkpointStep)
      }
      for change in checkpoint.appliedChanges { printError("job file changed: \(change)") }
      var options = RunOptions(
        clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release)
      options.maxBatches = maxBatches
      options.jobArguments = self.job.commandLine(of: job)
      options.failpoint = failpoint
      options.isStopRequested = { StopSignal.received != 0 }
      options.graceMilliseconds = grace * 1_000
      StopSignal.watch()
      let isWatched = isatty(STDERR_FILENO) == 1 && !json && !verbose
      if isWatched { options.onProgress = Progress(started).show }
      let run = try Run(
        job: job, checkpoint: checkpoint, sources: try makeSources(job),
        storeAt: { try makeStore(job, at: $0) { failpoint(.storeStep) } },
        options: options,
        logger: makeLogger(isVerbose: verbose))
      let (summary, error) = run.execute()
      failpoint(.runEnded)
      if isWatched { printProgress("\r\u{1B}[K") }
      let seconds = (ContinuousClock.now - started) / .seconds(1)
      if json {
        printExact(try summary.jsonText(seconds: seconds, error: error))
      } else if error == nil || summary.didAnything {
        printText(summary.text(seconds: seconds, place: job.output.destination.text))
      }
      if profile && !json { printText(summary.profileText(seconds: seconds)) }
      if let error {
        printError("tranche: \(error)")
        throw ExitCode(error.kind.exitCode)
      }
      if summary.isStopped {
        checkpoint.close()
        StopSignal.endProcess()
      }
    }
  }
}

/// Ends the process by SIGKILL at the n-th durable step, for the tests that kill the shipped binary
/// everywhere.
private final class Failpoints: @unchecked Sendable {
  // @unchecked: the counter is guarded by the lock.
  private let lock = NSLock()
  private var stepsLeft: Int?

  init(dieAtStep: Int?) { stepsLeft = dieAtStep }

  @Sendable func pass(_ failpoint: Failpoint) {
    lock.lock()
    defer { lock.unlock() }
    guard let left = stepsLeft else { return }
    stepsLeft = left - 1
    if left == 1 { kill(getpid(), SIGKILL) }
  }
}

/// One line on the terminal, rewritten at most ten times a second.
private final class Progress: @unchecked Sendable {
  // @unchecked: called from the run's thread alone.
  private let started: ContinuousClock.Instant
  private var shown: ContinuousClock.Instant?

  init(_ started: ContinuousClock.Instant) { self.started = started }

  @Sendable func show(_ progress: RunProgress) {
    let now = ContinuousClock.now
    if let shown, now - shown < .milliseconds(100) { return }
    shown = now
    let rate = Double(progress.recordCount) / max(0.001, (now - started) / .seconds(1))
    let line =
      "\r\u{1B}[Kbatch \(progress.batchCount)  \(grouped(progress.recordCount)) records  "
      + "\(grouped(Int64(rate)))/s  lag \(grouped(progress.lag))"
    printProgress(line)
  }
}

extension RunSummary {
  fileprivate var didAnything: Bool { batchCount > 0 || publishedCount > 0 || lostOffsetCount > 0 }

  func text(seconds: Double, place: String) -> String {
    if !didAnything && dirtyCount == 0 && lag == 0 { return "\(job): nothing new, nothing written" }
    var parts = [
      "\(batchCount) \(batchCount == 1 ? "batch" : "batches"), \(grouped(recordCount)) records in "
        + "\(rounded(seconds, places: 2)) s"
    ]
    if countedCount != recordCount {
      parts.append("\(grouped(recordCount - countedCount)) left out by where")
    }
    if rejectedCount > 0 { parts.append("\(grouped(rejectedCount)) rejected") }
    if lostOffsetCount > 0 {
      parts.append("\(grouped(lostOffsetCount)) offsets lost and passed over")
    }
    parts.append(
      "\(publishedCount) \(publishedCount == 1 ? "object" : "objects") written to \(place)")
    if dirtyCount > 0 { parts.append("\(dirtyCount) not published yet") }
    if lag > 0 { parts.append("lag \(grouped(lag))") }
    if isStopped { parts.append("stopped by a signal") }
    return "\(job): " + parts.joined(separator: ", ")
  }

  /// One row a step that took time: of the run's thread in the order of the steps, then of the
  /// publisher's, which goes on beside it.
  func profileText(seconds: Double) -> String {
    var rows: [[String]] = []
    func add(_ thread: String, _ step: String, _ milliseconds: Double) {
      guard milliseconds >= 0.0005 else { return }
      let perBatch = batchCount == 0 ? "" : rounded(milliseconds / Double(batchCount), places: 3)
      rows.append(["  \(thread)", step, rounded(milliseconds, places: 1), perBatch])
    }
    let run = runTimes.milliseconds
    for (step, milliseconds) in run { add("run", step, milliseconds) }
    // Starting, opening the checkpoint, connecting, and at the end waiting for the publisher.
    add("run", "other", max(0, seconds * 1_000 - run.reduce(0) { $0 + $1.milliseconds }))
    for (step, milliseconds) in publisherTimes.milliseconds { add("publisher", step, milliseconds) }
    return aligned(["  thread", "step", "ms", "ms/batch"], rows, numeric: [2, 3])
  }

  func jsonText(seconds: Double, error: RunError?) throws -> String {
    struct Report: Encodable {
      let job: String
      let batches: Int
      let offsets, records, counted, rejected, lost_offsets: Int64
      let published, dirty: Int
      let lag: Int64
      let stopped: Bool
      let repeated_batch: Int64?
      let seconds: Double
      let run_ms, publisher_ms: [String: Double]
      let exit_code: Int32
      let error: String?
    }
    return try jsonLine(
      Report(
        job: job, batches: batchCount, offsets: offsetCount, records: recordCount,
        counted: countedCount, rejected: rejectedCount,
        lost_offsets: lostOffsetCount, published: publishedCount, dirty: dirtyCount, lag: lag,
        stopped: isStopped,
        repeated_batch: repeatedBatch,
        seconds: (seconds * 1000).rounded() / 1000, run_ms: runTimes.byStep,
        publisher_ms: publisherTimes.byStep,
        exit_code: error?.kind.exitCode ?? (isStopped ? 128 + StopSignal.received : 0),
        error: error?.description))
  }
}

extension StepTimes {
  fileprivate var milliseconds: [(step: String, milliseconds: Double)] {
    Step.allCases.map { ($0.rawValue, Double(self[$0] / 1_000) / 1_000) }
  }

  /// Steps that took no time are left out.
  fileprivate var byStep: [String: Double] {
    Dictionary(
      uniqueKeysWithValues: milliseconds.filter { $0.milliseconds > 0 }.map {
        ($0.step, $0.milliseconds)
      })
  }
}
