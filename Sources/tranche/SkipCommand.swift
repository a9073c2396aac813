import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Offsets
import Reports
import Wiring

struct SkipCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "skip",
    abstract:
      "Free a stuck job: pass over offsets that can never be committed, and record them as a gap.",
    discussion: """
      The error that stops a job names the offset and this command. Tranche never reads the \
      offsets from --from up to, but not including, --to; `tranche status` shows the gap. With \
      --undecodable instead, the command finds the first messages that cannot be decompressed \
      or are damaged, and the offset where decoding goes on.
      """)

  @OptionGroup var job: JobOptions
  @Option(help: "The source's name; optional if the job has only one.") var source: String?
  @Option(help: "The topic.") var topic: String
  @Option(help: "The partition's number.") var partition: Int32
  @Option(help: "The first offset to pass over.") var from: Int64?
  @Option(help: "The offset after the last one to pass over.") var to: Int64?
  @Flag(help: "Pass over the next messages that cannot be decoded, however many there are.")
  var undecodable = false
  @OptionGroup var death: DeathOption

  func validate() throws {
    if undecodable {
      if from != nil || to != nil {
        throw ValidationError("--undecodable finds the offsets itself: omit --from and --to.")
      }
      return
    }
    guard let from, let to, from >= 0, to > from else {
      throw ValidationError(
        "Give --from and --to: each at least 0, and --to larger than --from.")
    }
  }

  func run() throws {
    try exiting(job) {
      let job = try self.job.load()
      let (index, cluster) = try job.cluster(named: source)
      let identifier = PartitionID(source: cluster.name, topic: topic, partition: partition)
      let failpoint = death.failpoint()
      let checkpoint = try openExistingCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job)
      ) { failpoint(.checkpointStep) }
      let source = try makeSource(job.clusters[index], of: job)
      try confirmCluster(of: source, topics: [topic], in: checkpoint)
      let gap: PartitionRange
      if let from, let to {
        gap = PartitionRange(identifier, OffsetRange(from: from, to: to))
      } else {
        gap = try undecodableRange(of: identifier, checkpoint, source)
      }
      try check(gap, checkpoint, source: source)
      try checkpoint.recordGap(gap, reason: .skipped, now: nowMilliseconds())
      printText("\(gap): \(grouped(gap.count)) offsets passed over and recorded as a gap")
    }
  }

  /// The first messages at or after progress that cannot be decoded.
  private func undecodableRange(
    of partition: PartitionID, _ checkpoint: Checkpoint, _ source: KafkaSource
  ) throws -> PartitionRange {
    guard let end = try source.ends(of: [partition])[partition],
      let ledger = checkpoint.ledgers[partition],
      case let unread = PartitionRange(partition, ledger.readable(end: end.end)), !unread.isEmpty
    else {
      throw CommandError(.data, "\(partition): there is nothing left to read.")
    }
    guard let found = try source.undecodable(in: unread) else {
      throw CommandError(
        .data, "\(unread): all messages can be decoded. There is nothing to pass over.")
    }
    return PartitionRange(partition, found)
  }

  private func check(_ gap: PartitionRange, _ checkpoint: Checkpoint, source: any MessageSource)
    throws
  {
    guard let ledger = checkpoint.ledgers[gap.partition] else {
      throw CommandError.unread(gap.partition)
    }
    let end = try source.ends(of: [gap.partition])[gap.partition]
    guard let problem = ledger.problem(ofGap: gap.range, end: end?.end) else { return }
    let text =
      switch problem {
      case .empty: "there is nothing to pass over."
      case .committed(let next):
        "offsets below \(next) are already committed. Begin at \(next) or later."
      case .meets(let other): "overlaps the recorded gap \(other)."
      case .beyondEnd(let end):
        "the partition ends at \(end). Only offsets that exist can be passed over."
      }
    throw CommandError(.data, "\(gap): \(text)")
  }
}
