import ArgumentParser
import Checkpoints
import Engine
import Jobs
import ObjectStorage
import Offsets
import Reports
import Wiring

struct ResolveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resolve",
    abstract:
      "Decide what only a person can: how a stopped job goes on, and who owns a destination.",
    discussion: """
      Give one decision. The error that stops a job, and `tranche status`, name the command.

      --accept-rejects: keep the rejects that stopped a batch, and count its good records. \
      This holds for the ranges of that batch, once.
      --restart, --keep or --gap, with --topic and perhaps --partition: the topic was made anew, \
      cut off, or restored. With --restart the job counts the topic from its oldest offset, \
      beside what it has counted of the old one. With --keep it continues at its next offset and \
      does not read lower offsets again. With --gap it records what the topic holds now as a gap, \
      and continues at its end.
      --adopt: the destination has no marker, or another job's. Take it over, and write every \
      window's object again (objects of single batches cannot be made again).
      --restored: this checkpoint is a backup or a copy. Go on with it, and write every \
      window's object again. Stop the other one first.

      With --adopt and --restored, objects of single batches may stand at the destination that \
      this checkpoint has not committed. The rows would be there twice, so nothing is changed \
      until you add --delete.
      """)

  @OptionGroup var job: JobOptions
  @Flag(help: "Keep the rejects that stopped a batch, and count its good records.")
  var acceptRejects = false
  @Flag(help: "Count a topic that was made anew from its oldest offset.") var restart = false
  @Flag(help: "Go on at the job's progress in a topic that was made anew.") var keep = false
  @Flag(help: "Pass over what a topic that was made anew holds now.") var gap = false
  @Flag(help: "Take over a destination that another job, or nobody, has marked.") var adopt = false
  @Flag(help: "Go on with a checkpoint that was restored or copied.") var restored = false
  @Flag(help: "With --adopt or --restored: delete objects of batches that are not committed.")
  var delete = false
  @Option(help: "The source's name; optional if the job has only one.") var source: String?
  @Option(help: "The topic, for --restart, --keep and --gap.") var topic: String?
  @Option(help: "The partition's number; without it, the whole topic.") var partition: Int32?
  @OptionGroup var death: DeathOption

  private var replacedLogChoice: ReplacedLogChoice? {
    restart ? .restart : keep ? .keep : gap ? .gap : nil
  }

  func validate() throws {
    let decisions = [acceptRejects, restart, keep, gap, adopt, restored]
    guard decisions.count(where: { $0 }) == 1 else {
      throw ValidationError(
        "Give one of --accept-rejects, --restart, --keep, --gap, --adopt and --restored.")
    }
    if delete && !adopt && !restored {
      throw ValidationError("Only --adopt and --restored take --delete.")
    }
    let isAboutLog = replacedLogChoice != nil
    if isAboutLog != (topic != nil) || (!isAboutLog && partition != nil) {
      throw ValidationError(
        "Only --restart, --keep and --gap take --topic, which they need, and --partition.")
    }
  }

  func run() throws {
    try exiting(job) {
      let job = try self.job.load()
      let failpoint = death.failpoint()
      let checkpoint = try openExistingCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job)
      ) { failpoint(.checkpointStep) }
      if acceptRejects {
        try acceptRejects(checkpoint)
      } else if let replacedLogChoice {
        try decide(replacedLogChoice, job, checkpoint)
      } else {
        try takePlace(job, checkpoint, failpoint)
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

  private func decide(_ choice: ReplacedLogChoice, _ job: Job, _ checkpoint: Checkpoint) throws {
    let (index, cluster) = try job.cluster(named: source)
    let name = cluster.name
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
    let source = choice == .keep ? nil : try makeSource(job.clusters[index], of: job)
    if let source { try confirmCluster(of: source, topics: [topic], in: checkpoint) }
    for partition in open.map(\.partition) {
      let end = try source?.ends(of: [partition])[partition]
      printText("\(partition): \(try decide(choice, partition, checkpoint, end: end))")
    }
  }

  /// - Returns: What the job does from now on.
  private func decide(
    _ choice: ReplacedLogChoice, _ partition: PartitionID, _ checkpoint: Checkpoint,
    end: PartitionEnd?
  ) throws -> String {
    let now = nowMilliseconds()
    guard let next = checkpoint.ledgers[partition]?.nextOffset else {
      throw CommandError.unread(partition)
    }
    if choice == .keep {
      _ = try checkpoint.keepProgress(of: partition, now: now)
      return "the job goes on at offset \(next) and does not count lower offsets again"
    }
    guard let end else {
      throw CommandError(.data, "\(partition): the brokers did not say where it begins and ends.")
    }
    if choice == .restart {
      _ = try checkpoint.restart(partition, from: end.low, now: now)
      return "the job counts the new log from offset \(end.low) on, beside what it has counted"
    }
    let gap = PartitionRange(partition, OffsetRange(from: next, to: max(next, end.end)))
    if let problem = checkpoint.ledgers[partition]?.problem(ofGap: gap.range) {
      guard case .empty = problem else {
        throw CommandError(.data, "\(gap): a gap is recorded there already. Choose --keep.")
      }
      throw CommandError(
        .data,
        """
        \(partition): the log ends at \(end.end) and the job's next offset is \(next), so there \
        is nothing to pass over. Choose --restart or --keep.
        """)
    }
    _ = try checkpoint.passOverReplacedLog(gap, now: now)
    return "recorded \(gap.range) as a gap; the job goes on at offset \(gap.to)"
  }

  private func takePlace(
    _ job: Job, _ checkpoint: Checkpoint, _ failpoint: @escaping @Sendable (Failpoint) -> Void
  ) throws {
    let store = try makeStore(job, at: job.output.destination) { failpoint(.storeStep) }
    try store.holdPlace()
    let (taken, retired) = try takeOver(store, checkpoint, isRestored: restored, deletes: delete)
    let former = taken.map { ", which was marked by the job \($0.job)" } ?? ""
    printText(
      """
      \(store.location): belongs to \(job.name) now\(former); the next run writes every window's \
      object again
      """
    )
    for key in retired { printText("the next run deletes \(store.location)/\(key)") }
    if restored { printText(repeated(checkpoint)) }
  }

  /// What came behind a copy is read again; what is yet to be published is, too.
  private func repeated(_ checkpoint: Checkpoint) -> String {
    let partitions = checkpoint.ledgers.sorted { $0.key < $1.key }.map {
      "  \($0.key) from offset \($0.value.nextOffset) on"
    }
    if partitions.isEmpty { return "The next run begins as the first one did" }
    return
      "The next run goes on with batch \(checkpoint.nextBatch), and reads what follows the copy:\n"
      + partitions.joined(separator: "\n")
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
