import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Offsets

struct SkipCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "skip",
    abstract: "Free a stuck job: pass over offsets that can never be committed, and record them as a gap.",
    discussion: """
      The error that stops a job names the offset and this command. The offsets from --from up to, but without, --to are never read; \
      `tranche status` shows the gap.
      """)

  @OptionGroup var job: JobOptions
  @Option(help: "The source's name; may be left out when the job has one.") var source: String?
  @Option(help: "The topic.") var topic: String
  @Option(help: "The partition's number.") var partition: Int32
  @Option(help: "The first offset to pass over.") var from: Int64
  @Option(help: "The offset after the last one to pass over.") var to: Int64

  func validate() throws {
    if from < 0 || to <= from { throw ValidationError("--to must be larger than --from, and both at least 0.") }
  }

  func run() throws {
    try exiting {
      let job = try loadJob(job.file)
      guard let name = source ?? (job.clusters.count == 1 ? job.clusters[0].name : nil),
        let index = job.clusters.firstIndex(where: { $0.name == name })
      else {
        throw RunError(.data, "Name one of the job's sources with --source: \(job.clusters.map(\.name).joined(separator: ", ")).")
      }
      let identifier = PartitionID(source: name, topic: topic, partition: partition)
      let gap = PartitionRange(identifier, OffsetRange(from: from, to: to))
      let checkpoint = try openCheckpoint(job, folder: self.job.checkpoints.folder)
      try check(gap, checkpoint, source: try makeSources(job)[index])
      try checkpoint.recordGap(gap, reason: .skipped, now: nowMilliseconds())
      print("\(gap): \(grouped(gap.range.count)) offsets are passed over and recorded as a gap")
    }
  }

  private func check(_ gap: PartitionRange, _ checkpoint: Checkpoint, source: any MessageSource) throws {
    guard let next = checkpoint.progress[gap.partition]?.nextOffset else {
      throw RunError(.data, "\(gap.partition): the job has not met this partition. Run it once first, or look at `tranche status`.")
    }
    if gap.range.from < next {
      throw RunError(.data, "\(gap): offsets below \(next) are committed already. Begin at \(next) or later.")
    }
    if let other = checkpoint.gapMeeting(gap) {
      throw RunError(.data, "\(gap): meets the gap \(other) that is recorded already.")
    }
    let end = try source.ends(of: [gap.partition])[gap.partition]
    if let end, gap.range.to > end.end {
      throw RunError(.data, "\(gap): the partition ends at \(end.end). Only offsets that exist can be passed over.")
    }
  }
}
