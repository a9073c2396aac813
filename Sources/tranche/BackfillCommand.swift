import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import Offsets
import Reports
import Tables
import Windows

struct BackfillCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backfill",
    abstract: "Count offsets that the job has left behind: below its start, or in gaps.",
    discussion: """
      Say which offsets: one or more ranges (--topic, --partition, --from and --to, each repeated \
      for every range; --topic may be given once for all), a time (--from-time, --to-time), --gaps \
      or --before-start. The last three take every partition, or those that --topic and \
      --partition name.

      The command stores the request and runs the job until the request is done. The job's \
      batches, commits and objects are those of any run. New messages go first, and the brokers \
      are asked for them every 10 s; with --first the backfill goes first. If the command dies, \
      any later run goes on with the request.

      No offset is counted twice. Offsets that are counted already, that another request is to \
      count, that lie at the job's progress or above, or that the broker does not hold are left \
      out and named. --dry-run shows all of this and changes nothing.
      """)

  @OptionGroup var job: JobOptions
  @Option(help: "The source's name; optional if the job has only one.") var source: String?
  @Option(help: "The topic of a range.") var topic: [String] = []
  @Option(help: "The partition of a range.") var partition: [Int32] = []
  @Option(help: "The first offset of a range.") var from: [Int64] = []
  @Option(help: "The offset after the last one of a range.") var to: [Int64] = []
  @Option(help: "Messages of this time or later, as the brokers date them: 2026-11-23T10:00:00Z.")
  var fromTime: Instant?
  @Option(help: "Messages before this time.") var toTime: Instant?
  @Flag(help: "What was skipped or lost, as far as the broker holds it after all.") var gaps = false
  @Flag(help: "What lies below the offsets at which the job started.") var beforeStart = false
  @Flag(help: "Show what would be read, and change nothing.") var dryRun = false
  @Flag(help: "Take the backfill's batches before new messages.") var first = false
  @Flag(help: "List all requests.") var list = false
  @Option(help: "Cancel what is left of a request. What was counted stays counted.")
  var cancel: Int64?
  @Option(
    help: "If another run is active, wait for its end for up to this long, such as 30s or 5m.")
  var wait: DurationArgument?
  @OptionGroup var options: RunFlags

  /// A time as job files write it.
  struct Instant: ExpressibleByArgument {
    let milliseconds: Int64

    init?(argument: String) {
      guard let milliseconds = TimestampText.parse(argument) else { return nil }
      self.milliseconds = milliseconds
    }
  }

  private var hasTimes: Bool { fromTime != nil || toTime != nil }
  private var hasRanges: Bool { !from.isEmpty || !to.isEmpty }

  func validate() throws {
    let forms = [hasRanges, hasTimes, gaps, beforeStart, list, cancel != nil]
    guard forms.count(where: { $0 }) == 1 else {
      throw ValidationError(
        "Give one of: ranges (--topic, --partition, --from, --to), --from-time or --to-time, "
          + "--gaps, --before-start, --list and --cancel.")
    }
    if hasRanges {
      guard from.count == to.count, from.count == partition.count,
        topic.count == from.count || topic.count == 1
      else {
        throw ValidationError(
          "Every range takes --topic, --partition, --from and --to; one --topic holds for all.")
      }
      for (from, to) in zip(from, to) where from < 0 || to <= from {
        throw ValidationError("--from takes 0 or more, and --to more than --from.")
      }
    } else if topic.count > 1 || partition.count > 1 || (topic.isEmpty && !partition.isEmpty) {
      throw ValidationError("Without ranges, give --topic at most once, and --partition with it.")
    }
    if let from = fromTime, let to = toTime, to.milliseconds <= from.milliseconds {
      throw ValidationError("--to-time takes a time after --from-time.")
    }
    if (list || cancel != nil || dryRun) && options.metrics.path != nil {
      throw ValidationError("--metrics-file belongs to a request that is run.")
    }
    if (list || cancel != nil) && (dryRun || first) {
      throw ValidationError("--dry-run and --first belong to a new request.")
    }
  }

  func run() throws {
    try options.exiting(job) { job, started in
      let folder = try self.job.checkpointFolder(of: job)
      if list { return try listRequests(job, folder) }
      let failpoint = options.death.failpoint()
      func open() throws -> Checkpoint {
        try waiting {
          try openExistingCheckpoint(job, folder: folder) { failpoint(.checkpointStep) }
        }
      }
      if let cancel { return try cancelRequest(cancel, job, try open()) }
      guard job.canBackfill else {
        throw CommandError(
          .data,
          """
          \(job.name): has one object that shows the newest batch (output.keep: latest), and a \
          backfill would replace it by an old batch. Set output.keep: each, or give a job of \
          another name and another output.to the offsets.
          """)
      }
      let logger = makeLogger()
      let sources = try makeSources(job, logger)
      if dryRun {
        let reader = try openedReader(of: job, folder: folder)
        let ledgers = Dictionary(
          uniqueKeysWithValues: try reader.status().partitions.map { ($0.partition, $0.ledger) })
        let proposal = try proposal(job, ledgers, sources)
        try show(proposal, job, number: nil)
        if let horizon = try reader.storedCutoff().horizon, !proposal.taken.isEmpty {
          tellHorizon(horizon)
        }
        return
      }
      let checkpoint = try open()
      for (cluster, source) in zip(job.clusters, sources) {
        try confirmCluster(of: source, topics: cluster.topics, in: checkpoint)
      }
      let proposal = try proposal(job, checkpoint.ledgers, sources)
      let taken = proposal.taken
      let number =
        taken.isEmpty
        ? nil : try checkpoint.addBackfill(taken, goesFirst: first, now: nowMilliseconds())
      try show(proposal, job, number: number)
      if let horizon = checkpoint.cutoff.horizon, !taken.isEmpty { tellHorizon(horizon) }
      // A command that died may have left its last objects unpublished.
      let isPublished = try CheckpointReader(path: checkpoint.path).dirtyOutputs().isEmpty
      if checkpoint.backfills.isEmpty && isPublished { return }
      try options.execute(
        job, checkpoint, sources: sources, failpoint, started: started, logger,
        commandLine: self.job.commandLine(of: job))
    }
  }

  /// Opens the checkpoint. While another run holds it, tries again until `--wait` has passed.
  private func waiting(_ open: () throws -> Checkpoint) throws -> Checkpoint {
    let deadline = ContinuousClock.now + .milliseconds(wait?.milliseconds ?? 0)
    while true {
      do { return try open() } catch let error as CheckpointError {
        guard case .locked = error.code, ContinuousClock.now < deadline else { throw error }
        Thread.sleep(forTimeInterval: 0.1)
      }
    }
  }

  private func proposal(
    _ job: Job, _ ledgers: [PartitionID: OffsetLedger], _ sources: [any MessageSource]
  ) throws -> BackfillProposal {
    let name = try source.map { try job.cluster(named: $0).cluster.name }
    let wish: BackfillWish
    if hasRanges {
      let name = try job.cluster(named: source).cluster.name
      wish = .ranges(
        from.indices.map { index in
          let topic = topic.count == 1 ? topic[0] : topic[index]
          return PartitionRange(
            PartitionID(source: name, topic: topic, partition: partition[index]),
            OffsetRange(from: from[index], to: to[index]))
        })
    } else if gaps {
      wish = .gaps
    } else if beforeStart {
      wish = .beforeStart
    } else {
      wish = .times(from: fromTime?.milliseconds, to: toTime?.milliseconds)
    }
    func isWanted(_ found: PartitionID) -> Bool {
      (name == nil || found.source == name) && (topic.first.map { found.topic == $0 } ?? true)
        && (partition.first.map { found.partition == $0 } ?? true)
    }
    if !hasRanges && !ledgers.keys.contains(where: isWanted) {
      throw CommandError(
        .data,
        """
        \(job.name): the job has not read such a partition yet. Run it once first, or look at \
        `tranche status`.
        """)
    }
    do {
      return try BackfillProposal(wish, of: ledgers, where: isWanted, in: sources)
    } catch let error as BackfillProposal.UnknownPartition {
      throw CommandError.unread(error.partition)
    }
  }

  // MARK: - What is said

  /// - Parameter number: Of the request that was stored, if one was.
  private func show(_ proposal: BackfillProposal, _ job: Job, number: Int64?) throws {
    if options.quiet { return }
    let parts = proposal.parts
    if options.json {
      struct Report: Encodable {
        struct Part: Encodable {
          let source, topic: String
          let partition: Int32
          let from, to: Int64
          let state: String
        }
        let job: String
        let backfill: Int64?
        let offsets: Int64
        let ranges: [Part]
      }
      return printExact(
        try jsonLine(
          Report(
            job: job.name, backfill: number, offsets: proposal.offsetCount,
            ranges: parts.map {
              Report.Part(
                source: $0.range.partition.source, topic: $0.range.partition.topic,
                partition: $0.range.partition.partition, from: $0.range.from, to: $0.range.to,
                state: $0.state.rawValue)
            })))
    }
    let count = proposal.offsetCount
    let title =
      if count == 0 {
        "nothing to backfill"
      } else if let number {
        "backfill \(number): \(grouped(count)) offsets to read"
      } else {
        "a backfill would read \(grouped(count)) offsets"
      }
    printText("\(job.name): \(title)")
    if parts.isEmpty { return }
    printText(
      aligned(
        ["partition", "range", "offsets", ""],
        parts.map {
          [
            $0.range.partition.description, $0.range.range.description, grouped($0.range.count),
            $0.state.text,
          ]
        }, numeric: [2]))
  }

  /// What becomes of records whose window takes none any more.
  private func tellHorizon(_ horizon: Int64) {
    let end = TimestampText.format(milliseconds: horizon)
    Log.tell(
      .notice, "records of evicted windows will be rejected", [("horizon", .text(end))],
      words: "records of windows that end at \(end) or before will be rejects (windowClosed): the "
        + "state of these windows was evicted (window.retention). To count such records, read "
        + "their offsets with a job of another name and another output.to")
  }

  private func listRequests(_ job: Job, _ folder: String) throws {
    let reader = try openedReader(of: job, folder: folder)
    let all = try reader.backfills()
    if options.json { return try all.forEach { printExact(try jsonLine(BackfillReport($0))) } }
    guard !all.isEmpty else { return printText("\(job.name): no backfill was asked for") }
    printText(
      aligned(
        ["backfill", "asked at", "state", "offsets", "counted", "left", "not held"],
        all.map { stored in
          let unheld = stored.unheld.reduce(0) { $0 + $1.count }
          return [
            "\(stored.request.number)", stored.askedAt, stored.state.rawValue,
            grouped(stored.offsetCount), grouped(stored.countedCount),
            grouped(stored.request.offsetCount), grouped(unheld),
          ]
        }, numeric: [0, 3, 4, 5, 6]))
    for stored in all {
      for range in stored.unheld {
        printText(
          "backfill \(stored.request.number): \(range): not read: the broker did not hold it, or "
            + "its log was replaced")
      }
    }
  }

  private func cancelRequest(_ number: Int64, _ job: Job, _ checkpoint: Checkpoint) throws {
    guard let left = try checkpoint.cancelBackfill(number, now: nowMilliseconds()) else {
      throw CommandError(
        .data,
        """
        \(job.name): there is no backfill \(number) to cancel. To list all of them: tranche \
        backfill \(self.job.commandLine(of: job)) --list
        """)
    }
    if options.quiet { return }
    let count = left.reduce(0) { $0 + $1.count }
    if options.json {
      struct Report: Encodable {
        let job: String
        let backfill, cancelled_offsets: Int64
      }
      return printExact(
        try jsonLine(Report(job: job.name, backfill: number, cancelled_offsets: count)))
    }
    printText(
      "\(job.name): backfill \(number) is cancelled: \(grouped(count)) offsets will not be read; "
        + "what was counted stays")
  }
}

/// A request as `backfill --list` and `status` print it.
struct BackfillReport: Encodable {
  let backfill: Int64
  let asked_at, state: String
  let first: Bool
  let offsets, counted, left: Int64
  let ranges, not_held: [RangeReport]

  init(_ stored: StoredBackfill) {
    backfill = stored.request.number
    asked_at = stored.askedAt
    state = stored.state.rawValue
    first = stored.request.goesFirst
    offsets = stored.offsetCount
    counted = stored.countedCount
    left = stored.request.offsetCount
    ranges = stored.request.ranges.map(RangeReport.init)
    not_held = stored.unheld.map(RangeReport.init)
  }
}

extension BackfillProposal {
  fileprivate enum State: String {
    case read
    case counted
    case underWay = "under_way"
    case ahead
    case unheld = "not_held"

    var text: String {
      switch self {
      case .read: "to be read"
      case .counted: "counted already"
      case .underWay: "another backfill is to read it"
      case .ahead: "at the job's progress or above: runs read it"
      case .unheld: "the broker does not hold it"
      }
    }
  }

  /// Every range that was asked for, ascending, with what becomes of it.
  fileprivate var parts: [(range: PartitionRange, state: State)] {
    partitions.flatMap { found in
      let answer = found.answer
      let sets: [(OffsetRangeSet, State)] = [
        (answer.taken, .read), (answer.counted, .counted), (answer.underWay, .underWay),
        (answer.ahead, .ahead), (answer.unheld, .unheld),
      ]
      return sets.flatMap { set, state in
        set.ranges.map { (range: PartitionRange(found.partition, $0), state: state) }
      }.sorted { $0.range.from < $1.range.from }
    }
  }
}
