import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Offsets
import Reports
import Tables

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Show what the next batch would read from each partition. Changes nothing.")

  @OptionGroup var job: JobOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let job = try self.job.load()
      let folder = try self.job.checkpointFolder(of: job)
      let reader = try existingReader(of: job, folder: folder)
      let now = nowMilliseconds()
      let since = job.holdBack.minOffsets == 1 ? nil : try reader?.waitingSince()
      let preview = try PlanPreview(
        job: job, status: try reader?.status(), sources: try makeSources(job),
        waitingSince: since ?? now, now: now)
      let words = Words(jobArguments: self.job.commandLine(of: job))
      if json {
        printExact(try jsonLine(report(preview, words)))
      } else {
        printText(text(preview, job, words))
      }
    }
  }

  private func text(_ preview: PlanPreview, _ job: Job, _ words: Words) -> String {
    let planned = Dictionary(
      uniqueKeysWithValues: preview.plan.ranges.map { ($0.partition, $0.range) })
    let rows = preview.partitions.map { partition -> [String] in
      let range = planned[partition.partition]
      var remarks: [String] = []
      if partition.isNew { remarks.append("new") }
      if partition.heldBackCount > 0 {
        remarks.append("\(grouped(partition.heldBackCount)) held back by an open transaction")
      }
      if partition.end.end < partition.nextOffset {
        remarks.append("the log ends before the next offset")
      }
      if partition.lostCount > 0 {
        remarks.append("\(grouped(partition.lostCount)) no longer held by the broker")
      }
      return [
        partition.partition.description, grouped(partition.nextOffset), grouped(partition.end.end),
        grouped(partition.lag),
        range.map { "\($0)" } ?? "-", range.map { grouped($0.count) } ?? "0",
        remarks.joined(separator: ", "),
      ]
    }
    let incidents = preview.incidents.map { "\nto be decided: \(words.text(of: $0))" }.joined()
    return "\(job.name): \(title(preview, job, words))" + incidents + "\n"
      + aligned(
        ["partition", "next offset", "end", "lag", "range", "offsets", ""], rows,
        numeric: [1, 2, 3, 5])
  }

  private func title(_ preview: PlanPreview, _ job: Job, _ words: Words) -> String {
    if preview.plan.isEmpty, let obstacle = preview.obstacle {
      return "nothing to read: \(words.text(of: obstacle))"
    }
    if let until = preview.heldBackUntil {
      return "\(grouped(preview.lag)) offsets held back until "
        + "\(TimestampText.format(milliseconds: until)), or until there are "
        + "\(grouped(job.holdBack.minOffsets)) (trigger.min_offsets)"
    }
    if preview.plan.isEmpty { return "nothing to read" }
    let offsets = grouped(preview.plan.offsetCount)
    return
      "batch \(preview.plan.batch) would read "
      + (preview.plan.backfill.map {
        "\(offsets) offsets of backfill \($0); \(grouped(preview.backfillLeft)) offsets are "
          + "left to backfill in all"
      } ?? "\(offsets) of \(grouped(preview.lag)) offsets")
      + (preview.isRepeated ? " (planned by an interrupted run)" : "")
      + (preview.obstacle == nil ? "" : ", and nothing of a log that was replaced")
  }

  private struct Report: Encodable {
    struct Range: Encodable {
      let source, topic: String
      let partition: Int32
      let next_offset, end, lag: Int64
      let from, to: Int64?
    }
    let batch: Int64
    let offsets, lag: Int64
    /// The request that the batch is of.
    let backfill: Int64?
    let backfill_left: Int64
    let repeated: Bool
    let obstacle: String?
    let held_back_until: String?
    let partitions: [Range]
    let incidents: [IncidentReport]
  }

  private func report(_ preview: PlanPreview, _ words: Words) -> Report {
    let planned = Dictionary(
      uniqueKeysWithValues: preview.plan.ranges.map { ($0.partition, $0.range) })
    return Report(
      batch: preview.plan.batch, offsets: preview.plan.offsetCount, lag: preview.lag,
      backfill: preview.plan.backfill, backfill_left: preview.backfillLeft,
      repeated: preview.isRepeated, obstacle: preview.obstacle?.rawValue,
      held_back_until: preview.heldBackUntil.map(TimestampText.format),
      partitions: preview.partitions.map {
        Report.Range(
          source: $0.partition.source, topic: $0.partition.topic, partition: $0.partition.partition,
          next_offset: $0.nextOffset,
          end: $0.end.end, lag: $0.lag, from: planned[$0.partition]?.from,
          to: planned[$0.partition]?.to)
      }, incidents: preview.incidents.map { IncidentReport($0, words) })
  }
}

/// An incident as `plan` and `status` print it.
struct IncidentReport: Encodable {
  let kind, source, topic: String
  let partition: Int32
  let next_offset: Int64
  let log_end: Int64?
  let noticed_at, last_seen_at, detail: String

  init(_ incident: Incident, _ words: Words) {
    kind = incident.kind.rawValue
    source = incident.partition.source
    topic = incident.partition.topic
    partition = incident.partition.partition
    next_offset = incident.nextOffset
    log_end = incident.logEnd
    noticed_at = incident.noticedAt
    last_seen_at = incident.lastSeenAt
    detail = words.detail(of: incident)
  }
}

/// For commands that look at a job's checkpoint.
func openedReader(
  of job: Job, folder: String
) throws(CheckpointError) -> CheckpointReader {
  try CheckpointReader(path: Checkpoint.path(ofJob: job.name, folder: folder), job: job)
}

/// Nil when the job has never run.
func existingReader(of job: Job, folder: String) throws -> CheckpointReader? {
  do {
    return try openedReader(of: job, folder: folder)
  } catch {
    if case .noCheckpoint = error.code { return nil }
    throw error
  }
}
