import ArgumentParser
import Checkpoints
import Engine
import Escaping
import Foundation
import Jobs
import Offsets
import Reports
import Tables
import Windows

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract:
      "Show what each job has done and what is left: commits, offsets, lag, unpublished objects, "
      + "rejects, gaps.",
    discussion:
      """
      Works while a run writes. Without a job it shows every jobs/*.yaml. The lag is asked from \
      the brokers unless --offline is given. --metrics-file writes what is known of all these jobs.
      """
  )

  @Argument(help: "Job files.", completion: .file(extensions: ["yaml", "yml"]))
  var jobs: [String] = []

  @OptionGroup var checkpoints: CheckpointOptions

  @OptionGroup var code: CodeOptions

  @Flag(help: "Do not ask the brokers for the lag.")
  var offline = false

  @Flag(help: "Print one line of JSON per job.")
  var json = false

  @OptionGroup var metrics: MetricsOption

  func run() throws {
    try exiting(json: failureText(json, jobFile: nil)) {
      var worst: ExitCode?
      var seen: [MetricsLook] = []
      var isOneUnknown = false
      for file in try jobs.isEmpty ? allJobs() : jobs {
        var look: MetricsLook?
        // One job's trouble does not hide the others.
        do {
          try exiting(json: failureText(json, jobFile: file)) {
            let job = try loadJob(file, allowsCode: code.allowCodeProperties)
            look = MetricsLook(job: job)
            let words = Words(jobArguments: jobArguments(file, job, checkpoints, code))
            let folder = try checkpoints.folder(of: job, file: file)
            look?.folder = folder
            let found = try existingReader(of: job, folder: folder)?.status()
            let (lag, problem) = offline ? (nil, nil) : self.lag(of: job, found, words)
            let report = Report(job, folder: folder, found, lag, problem: problem, words)
            look?.batch = found?.lastCommit?.batch
            for found in lag?.partitions ?? [] { look?.lags[found.partition] = found.lag }
            if json { printExact(try jsonLine(report)) } else { printText(report.text) }
          }
        } catch let code as ExitCode {
          worst = worst ?? code
        }
        if let look { seen.append(look) } else { isOneUnknown = true }
      }
      try metrics.file?.update { before in
        var metrics = Metrics()
        for look in seen { metrics.add(Metrics(look.facts(), before: before)) }
        if isOneUnknown { metrics.keep(before, exceptOf: seen.map(\.job.name)) }
        return metrics
      }
      if let worst { throw worst }
    }
  }

  private func lag(
    of job: Job, _ status: CheckpointStatus?, _ words: Words
  ) -> (PlanPreview?, problem: String?) {
    do {
      return (try PlanPreview(job: job, status: status, sources: try makeSources(job)), nil)
    } catch { return (nil, failure(error, words).message) }
  }

  private func allJobs() throws -> [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "jobs")) ?? []
    let found = files.filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") }.sorted().map {
      "jobs/\($0)"
    }
    guard !found.isEmpty else {
      throw CommandError(.data, "jobs/: no job file here. Name one: tranche status JOB")
    }
    return found
  }
}

/// What is to be exposed of one job.
private struct MetricsLook {
  let job: Job
  /// Nil where it is not known.
  var folder: String?
  /// The newest batch when the brokers were asked; nil where there was none.
  var batch: Int64?
  /// Nothing of partitions that no broker has told of.
  var lags: [PartitionID: Int64] = [:]

  /// The checkpoint is read anew, because a run may have exposed something newer meanwhile.
  func facts() -> MetricFacts {
    var facts = metricFacts(job, folder: folder)
    // Lags before a newer batch are wrong.
    if (facts.state?.batchCount ?? 0) == (batch ?? 0) { facts.lags = lags }
    return facts
  }
}

/// One job's status as it is printed.
private struct Report: Encodable {
  struct Partition: Encodable {
    let source, topic: String
    let partition: Int32
    let start_offset, next_offset: Int64
    /// Offsets that were counted below the start or in gaps.
    let backfilled: Int64
    let lag: Int64?
    let held_back: Int64?
  }
  struct Gap: Encodable {
    let source, topic: String
    let partition: Int32
    let from, to: Int64
    let reason: String
  }
  let job: String
  let running: String?
  let last_batch: Int64?
  let last_commit: String?
  let records, rejected, late, tombstones, windows, evicted: Int64
  /// Windows that end here or before are final.
  let cutoff: String?
  let lag: Int64?
  let lag_unknown: String?
  let dirty, unsettled: [String]
  let in_flight: Int64?
  let partitions: [Partition]
  let gaps: [Gap]
  let backfills: [BackfillReport]
  let incidents: [IncidentReport]
  private let incidentTexts: [String]

  private enum CodingKeys: String, CodingKey {
    case job, running, last_batch, last_commit, records, rejected, late, tombstones, windows
    case evicted, cutoff, lag
    case lag_unknown, dirty, unsettled
    case in_flight, partitions, gaps, backfills, incidents
  }

  /// - Parameters:
  ///   - status: Nil where the job has never run.
  ///   - problem: Why there is no lag, where it was asked for.
  init(
    _ job: Job, folder: String, _ status: CheckpointStatus?, _ preview: PlanPreview?,
    problem: String?, _ words: Words
  ) {
    let seen = Dictionary(
      uniqueKeysWithValues: (preview?.partitions ?? []).map { ($0.partition, $0) })
    self.job = job.name
    running = RunLock.holder(path: Checkpoint.lockPath(ofJob: job.name, folder: folder))
    last_batch = status?.lastCommit?.batch
    last_commit = status?.lastCommit?.committedAt
    records = status?.recordCount ?? 0
    rejected = status?.rejectedCount ?? 0
    late = status?.lateCount ?? 0
    tombstones = status?.tombstoneCount ?? 0
    cutoff = job.lateness.flatMap { _ in
      status?.cutoff.instant.map { TimestampText.format(milliseconds: $0) }
    }
    windows = status?.windowCount ?? 0
    evicted = status?.evictedCount ?? 0
    lag = preview?.lag
    lag_unknown = problem
    dirty = status?.dirtyOutputs ?? []
    unsettled = status?.unsettledOutputs ?? []
    in_flight = status?.inFlight?.batch
    partitions = (status?.partitions ?? []).map {
      Partition(
        source: $0.partition.source, topic: $0.partition.topic, partition: $0.partition.partition,
        start_offset: $0.ledger.start, next_offset: $0.ledger.nextOffset,
        backfilled: $0.ledger.backfilled.offsetCount,
        lag: seen[$0.partition]?.lag,
        held_back: seen[$0.partition]?.heldBackCount)
    }
    gaps = (status?.gaps ?? []).map {
      Gap(
        source: $0.range.partition.source, topic: $0.range.partition.topic,
        partition: $0.range.partition.partition,
        from: $0.range.from, to: $0.range.to, reason: $0.reason)
    }
    backfills = (status?.backfills ?? []).map(BackfillReport.init)
    incidents = (status?.incidents ?? []).map { IncidentReport($0, words) }
    incidentTexts = (status?.incidents ?? []).map(words.text)
  }

  var text: String {
    var lines = [job]
    func add(_ label: String, _ value: String) {
      lines.append(
        "  \(label.padding(toLength: 13, withPad: " ", startingAt: 0)) "
          + "\(ForeignText.escaped(value))"
      )
    }
    if let running { add("running", running) }
    if let last_commit, let last_batch {
      add("last commit", "batch \(last_batch) at \(last_commit)")
    } else {
      add("last commit", "none yet")
    }
    add(
      "records",
      "\(grouped(records)), \(grouped(rejected)) rejected"
        + (late > 0 ? " (\(grouped(late)) late)" : "")
        + (tombstones > 0 ? ", \(skippedTombstones(tombstones))" : ""))
    add(
      "windows",
      grouped(windows) + (evicted > 0 ? " and \(grouped(evicted)) evicted" : "")
        + (cutoff.map { ", final are those that end at \($0) or before" } ?? ""))
    add("lag", lag.map(grouped) ?? "unknown" + (lag_unknown.map { ": \($0)" } ?? ""))
    add("unpublished", dirty.isEmpty ? "nothing" : summary(dirty))
    if !unsettled.isEmpty { add("unsettled", summary(unsettled)) }
    if let in_flight { add("in flight", "batch \(in_flight)") }
    for text in incidentTexts { add("to decide", text) }
    for gap in gaps {
      add(
        "gap", "\(gap.source)/\(gap.topic)[\(gap.partition)] [\(gap.from), \(gap.to)) \(gap.reason)"
      )
    }
    for backfill in backfills {
      add(
        "backfill",
        "\(backfill.backfill): \(grouped(backfill.left)) of \(grouped(backfill.offsets)) offsets "
          + "left, asked at \(backfill.asked_at)")
    }
    let rows = partitions.map {
      [
        "  \($0.source)/\($0.topic)[\($0.partition)]", grouped($0.start_offset),
        grouped($0.next_offset), $0.lag.map(grouped) ?? "?",
        remarks($0),
      ]
    }
    if !rows.isEmpty {
      lines.append(
        aligned(
          ["  partition", "start offset", "next offset", "lag", ""], rows, numeric: [1, 2, 3]))
    }
    return lines.joined(separator: "\n")
  }

  private func remarks(_ partition: Partition) -> String {
    var remarks: [String] = []
    if let heldBack = partition.held_back, heldBack > 0 {
      remarks.append("\(heldBack) held back by an open transaction")
    }
    if partition.backfilled > 0 { remarks.append("\(grouped(partition.backfilled)) backfilled") }
    return remarks.joined(separator: ", ")
  }

  private func summary(_ keys: [String]) -> String {
    keys.count <= 3 ? keys.joined(separator: ", ") : "\(keys.count) objects, first \(keys[0])"
  }
}
