import ArgumentParser
import Checkpoints
import Engine
import Jobs
import ObjectStorage
import Offsets
import Reports

struct ResolveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resolve",
    abstract:
      "Decide what only a person can: how a stopped job goes on, and who owns a destination.",
    discussion: """
      Give one decision. The error that stops a job, and `tranche status`, name the command.

      --accept-rejects: keep the rejects that stopped a batch, and count its good records. \
      This holds for the ranges of that batch, once.
      --keep, with --topic and perhaps --partition: the topic was made anew or restored. The \
      job continues at its next offset and does not read lower offsets again.
      --adopt: the destination has no marker, or another job's. Take it over, and write every \
      window's object again (objects of single batches cannot be made again).
      --restored: this checkpoint is a backup or a copy. Go on with it, and write every \
      window's object again. Stop the other one first.
      """)

  @OptionGroup var job: JobOptions
  @Flag(help: "Keep the rejects that stopped a batch, and count its good records.")
  var acceptRejects = false
  @Flag(help: "Go on at the job's progress in a topic that was made anew.") var keep = false
  @Flag(help: "Take over a destination that another job, or nobody, has marked.") var adopt = false
  @Flag(help: "Go on with a checkpoint that was restored or copied.") var restored = false
  @Option(help: "The source's name; optional if the job has only one.") var source: String?
  @Option(help: "The topic, for --keep.") var topic: String?
  @Option(help: "The partition's number, for --keep; without it, the whole topic.") var partition:
    Int32?

  func validate() throws {
    guard [acceptRejects, keep, adopt, restored].count(where: { $0 }) == 1 else {
      throw ValidationError("Give one of --accept-rejects, --keep, --adopt and --restored.")
    }
    if keep != (topic != nil) || (!keep && partition != nil) {
      throw ValidationError("Only --keep takes --topic, which it needs, and --partition.")
    }
  }

  func run() throws {
    try exiting(job) {
      let job = try self.job.load()
      let checkpoint = try openExistingCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job))
      if acceptRejects {
        try acceptRejects(checkpoint)
      } else if keep {
        try keepProgress(job, checkpoint)
      } else {
        try takePlace(job, checkpoint)
      }
    }
  }

  private func acceptRejects(_ checkpoint: Checkpoint) throws {
    let ranges = try checkpoint.acceptRejects(now: nowMilliseconds())
    guard !ranges.isEmpty else {
      throw CommandError(
        .data,
        "\(checkpoint.job.name): rejects have not stopped a batch. There is nothing to accept.")
    }
    for range in ranges {
      printText("\(range): the next run keeps the rejects and counts the good records")
    }
  }

  private func keepProgress(_ job: Job, _ checkpoint: Checkpoint) throws {
    let name = try job.cluster(named: source).cluster.name
    guard let topic else { return }
    let open = try checkpoint.openIncidents().filter {
      $0.kind == .logReplaced && $0.partition.source == name && $0.partition.topic == topic
        && (partition == nil || $0.partition.partition == partition)
    }
    let identifier = partition.map { "\(name)/\(topic)[\($0)]" } ?? "\(name)/\(topic)"
    if open.isEmpty {
      throw CommandError(
        .data,
        """
        \(identifier): nothing needs a decision here. To list open decisions: tranche status \
        \(self.job.commandLine(of: job))
        """
      )
    }
    for incident in open {
      guard let next = checkpoint.ledgers[incident.partition]?.nextOffset,
        try checkpoint.keepProgress(of: incident.partition, now: nowMilliseconds())
      else { continue }
      printText(
        "\(incident.partition): the job goes on at offset \(next) and does not "
          + "count lower offsets again")
    }
  }

  private func takePlace(_ job: Job, _ checkpoint: Checkpoint) throws {
    let store = try makeStore(job, at: job.output.destination) {}
    try store.holdPlace()
    let taken = try takeOver(store, checkpoint, isRestored: restored)
    let former = taken.map { ", which was marked by the job \($0.job)" } ?? ""
    printText(
      """
      \(store.location): belongs to \(job.name) now\(former); the next run writes every window's \
      object again
      """
    )
  }
}

extension Job {
  /// - Parameter name: Nil where the job has only one.
  /// - Throws: ``CommandError`` that lists the names.
  func cluster(named name: String?) throws -> (index: Int, cluster: Cluster) {
    guard let name = name ?? (clusters.count == 1 ? clusters[0].name : nil),
      let index = clusters.firstIndex(where: { $0.name == name })
    else {
      throw CommandError(
        .data,
        "Name one of the job's sources with --source: "
          + "\(clusters.map(\.name).joined(separator: ", "))."
      )
    }
    return (index, clusters[index])
  }
}
