import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Jobs
import Offsets
import Reports
import Tables

struct HistoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history",
    abstract: "List committed batches, the newest first: when, what they read, how long they took.",
    discussion: """
      Works while a run writes. The checkpoint keeps the newest checkpoint.history batches of new \
      messages and as many of backfills, and totals of all. Steps are timed up to the commit; \
      batches of an older release show neither bytes nor steps.
      """)

  @OptionGroup var job: JobOptions

  @Option(help: "List at most this many batches; 0 for all that are kept.")
  var limit: Int64 = 20

  @Flag(help: "Print one line of JSON per batch, with all ranges and steps.")
  var json = false

  func validate() throws {
    if limit < 0 { throw ValidationError("--limit takes 0 or more.") }
  }

  func run() throws {
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let job = try self.job.load()
      let reader = try openedReader(of: job, folder: try self.job.checkpointFolder(of: job))
      var batches: [CommittedBatch] = []
      var failure: (any Error)?
      try reader.forEachBatch(newest: limit == 0 ? nil : limit) { batch in
        if !json { return batches.append(batch) }
        do { printExact(try jsonLine(Line(batch))) } catch { failure = failure ?? error }
      }
      if let failure { throw failure }
      if json { return }
      let totals = try reader.batchTotals()
      if batches.isEmpty {
        return printText("\(job.name): no batch was committed yet.")
      }
      let rows = batches.map { batch in
        [
          "\(batch.batch)", batch.committedAt, grouped(batch.offsetCount),
          grouped(batch.recordCount), grouped(batch.rejectedCount),
          batch.byteCount.map(grouped) ?? "?", stepsText(batch), rangesText(batch),
        ]
      }
      printText(
        aligned(
          ["batch", "committed at", "offsets", "records", "rejected", "bytes", "steps", "ranges"],
          rows, numeric: [0, 2, 3, 4, 5]))
      printText(text(totals, shownCount: Int64(batches.count)))
    }
  }

  private func text(
    _ totals: (all: BatchTotals, pruned: BatchTotals), shownCount: Int64
  ) -> String {
    let (all, pruned) = totals
    let kept = all.batchCount - pruned.batchCount
    var parts = [
      "\(counted(all.batchCount, "batch")) in all: "
        + "\(grouped(all.offsetCount)) offsets, \(grouped(all.recordCount)) records, "
        + "\(grouped(all.rejectedCount)) rejected"
        + (all.tombstoneCount > 0 ? ", \(skippedTombstones(all.tombstoneCount))." : ".")
    ]
    if kept > shownCount { parts.append("\(grouped(kept - shownCount)) more with --limit 0.") }
    if pruned.batchCount > 0 {
      parts.append("\(grouped(pruned.batchCount)) are counted and not listed any more.")
    }
    return parts.joined(separator: " ")
  }

  /// The sum, and the steps that took most of it.
  private func stepsText(_ batch: CommittedBatch) -> String {
    guard !batch.steps.isEmpty else { return "?" }
    let longest = batch.steps.sorted { ($1.microseconds, $0.name) < ($0.microseconds, $1.name) }
    let sum = batch.steps.reduce(0) { $0 + $1.microseconds }
    return "\(milliseconds(sum)) ms"
      + " ("
      + longest.prefix(2).map { "\($0.name) \(milliseconds($0.microseconds))" }
      .joined(separator: ", ") + ")"
  }

  private func milliseconds(_ microseconds: Int64) -> String {
    DecimalText.format(unscaled: (microseconds + 50) / 100, scale: 1)
  }

  private func rangesText(_ batch: CommittedBatch) -> String {
    let shown = batch.ranges.prefix(2).map(\.description).joined(separator: ", ")
    let more = batch.ranges.count - 2
    return (batch.backfill.map { "backfill \($0): " } ?? "") + shown
      + (more > 0 ? " and \(more) more" : "")
  }
}

/// A batch as `--json` prints it.
private struct Line: Encodable {
  let batch: Int64
  let committed_at: String
  let backfill: Int64?
  let offsets, records, counted, rejected, accepted, late, tombstones: Int64
  let bytes: Int64?
  /// In seconds, as in the report of a run.
  let steps: [String: Double]
  let ranges: [RangeReport]

  init(_ batch: CommittedBatch) {
    self.batch = batch.batch
    committed_at = batch.committedAt
    backfill = batch.backfill
    offsets = batch.offsetCount
    records = batch.recordCount
    counted = batch.countedCount
    rejected = batch.rejectedCount
    accepted = batch.acceptedCount
    late = batch.lateCount
    tombstones = batch.tombstoneCount
    bytes = batch.byteCount
    steps = Dictionary(
      batch.steps.map { ($0.name, Double($0.microseconds) / 1e6) }, uniquingKeysWith: +)
    ranges = batch.ranges.map(RangeReport.init)
  }
}
