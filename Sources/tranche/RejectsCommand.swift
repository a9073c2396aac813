import ArgumentParser
import Checkpoints
import Engine
import Escaping
import Formats
import Glibc
import Jobs
import Offsets
import Reports
import Tables

struct RejectsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rejects",
    abstract: "List, count, export or prune the rejects that a job's checkpoint keeps.",
    discussion: """
      Lists the newest first. Under rejects.policy: quarantine the checkpoint keeps every reject, \
      with the record's bytes. All but --prune work while a run writes.

        tranche rejects jobs/calls.yaml --count                  how many, and why
        tranche rejects jobs/calls.yaml --reason wrongType       the newest of one reason
        tranche rejects jobs/calls.yaml --export rejects.ndjson  all of them, to a file
        tranche rejects jobs/calls.yaml --prune 1200             forget those up to batch 1200

      --raw prints or exports the records as they came, each followed by a line end. --prune \
      forgets whole batches whose object below _tranche/rejects/ is published, and leaves that \
      object where it is; with --delete-objects, the next run that has read and published \
      everything deletes it. Counts by reason are never forgotten.
      """)

  @OptionGroup var job: JobOptions

  @Option(help: "List at most this many; 0 for all. (default: 20; with --export: all)")
  var limit: Int64?

  @Option(help: "Only rejects of this reason, such as wrongType.")
  var reason: String?

  @Option(help: "Only rejects of this batch.")
  var batch: Int64?

  @Flag(help: "Print one line of JSON per reject, as in the objects below _tranche/rejects/.")
  var json = false

  @Flag(help: "Print the records as they came.")
  var raw = false

  @Flag(help: "Count by reason: those that are kept, and all that there were.")
  var count = false

  @Option(
    help: ArgumentHelp(
      "Write them to this file, as JSON lines or with --raw as they came.", valueName: "file"),
    completion: .file())
  var export: String?

  @Option(
    help: ArgumentHelp("Forget the rejects of all batches up to this one.", valueName: "batch"))
  var prune: Int64?

  @Flag(help: "With --prune: delete their objects, too.")
  var deleteObjects = false

  @OptionGroup var death: DeathOption

  func validate() throws {
    let actions = [count, export != nil, prune != nil].count { $0 }
    if actions > 1 { throw ValidationError("Give one of --count, --export and --prune.") }
    if let limit, limit < 0 { throw ValidationError("--limit takes 0 or more.") }
    let chooses = limit != nil || reason != nil || batch != nil || raw
    if (count || prune != nil) && chooses {
      throw ValidationError(
        "--count and --prune take none of --limit, --reason, --batch and --raw.")
    }
    if json && (raw || export != nil || prune != nil) {
      throw ValidationError("--json is for the list and for --count.")
    }
    if deleteObjects && prune == nil {
      throw ValidationError("--delete-objects is for --prune.")
    }
    if let prune, prune < 1 { throw ValidationError("--prune takes the number of a batch.") }
    if let reason, Reject.Reason(rawValue: reason) == nil {
      throw ValidationError(
        "--reason: there is no reason \(ForeignText.quoted(reason)). There are: "
          + Reject.Reason.allCases.map(\.rawValue).joined(separator: ", "))
    }
  }

  func run() throws {
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let job = try self.job.load()
      if let prune { return try pruneRejects(job, upTo: prune) }
      let reader = try openedReader(of: job, folder: try self.job.checkpointFolder(of: job))
      if count { return try printCounts(job, reader) }
      if let export { return try write(job, reader, to: export) }
      try list(job, reader)
    }
  }

  private var choice: RejectChoice { RejectChoice(batch: batch, reason: reason) }

  // MARK: - List

  private func list(_ job: Job, _ reader: CheckpointReader) throws {
    let limit = limit ?? 20
    var rows: [[String]] = []
    try reader.forEachReject(choice, newestFirst: true, limit: limit == 0 ? nil : limit) { page in
      if json || raw { return printExact(try bytes(page)) }
      rows += page.map(row)
    }
    if json || raw { return }
    if rows.isEmpty {
      return printText("\(job.name): the checkpoint keeps no such rejects.")
    }
    printText(
      aligned(
        ["batch", "partition", "offset", "record", "reason", "field", "text"], rows,
        numeric: [0, 2, 3], width: terminalWidth()))
  }

  private func row(_ reject: StoredReject) -> [String] {
    let text = reject.raw.map { String(decoding: $0.prefix(Reject.textByteLimit), as: UTF8.self) }
    return [
      "\(reject.batch)", reject.partition.description, "\(reject.offset)", "\(reject.record)",
      reject.reason, reject.field ?? "",
      text.map { ForeignText.quoted($0, byteLimit: 100) } ?? "NULL",
    ]
  }

  /// As they came, or as lines of JSON.
  private func bytes(_ rejects: [StoredReject]) throws -> [UInt8] {
    guard raw else {
      return try JSONLinesEncoder.encode(rejectTable(rejects, namesBatch: true))
    }
    return rejects.flatMap { ($0.raw ?? []) + [UInt8(ascii: "\n")] }
  }

  // MARK: - Count

  private struct ReasonCount: Encodable {
    let reason: String
    let kept, all: Int64
  }

  private func printCounts(_ job: Job, _ reader: CheckpointReader) throws {
    let all = try reader.figures().rejectCounts
    let kept = try reader.keptRejectCounts()
    let counts = Set(all.keys).union(kept.keys).map {
      ReasonCount(reason: $0, kept: kept[$0] ?? 0, all: all[$0] ?? 0)
    }.sorted { ($1.all, $0.reason) < ($0.all, $1.reason) }
    if json {
      for count in counts { printExact(try jsonLine(count)) }
    } else if counts.isEmpty {
      printText("\(job.name): no record was rejected.")
    } else {
      printText(
        aligned(
          ["reason", "kept", "all"], counts.map { [$0.reason, grouped($0.kept), grouped($0.all)] },
          numeric: [1, 2]))
    }
  }

  // MARK: - Export

  /// The oldest batch first. Whole or not at all.
  private func write(_ job: Job, _ reader: CheckpointReader, to path: String) throws {
    let new = "\(path).\(getpid())"
    let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw cannotWrite(path, errno) }
    var isOpen = true
    defer {
      if isOpen { close(descriptor) }
      unlink(new)
    }
    var count: Int64 = 0
    try reader.forEachReject(choice, newestFirst: false, limit: limit == 0 ? nil : limit) { page in
      let failure = try bytes(page).withUnsafeBytes { StandardStreams.write($0, to: descriptor) }
      if let failure { throw cannotWrite(path, failure) }
      count += Int64(page.count)
    }
    isOpen = false
    guard fsync(descriptor) == 0, close(descriptor) == 0, rename(new, path) == 0 else {
      throw cannotWrite(path, errno)
    }
    printText("\(path): \(counted(count, "reject")) of \(job.name)")
  }

  private func cannotWrite(_ path: String, _ number: Int32) -> CommandError {
    CommandError(
      .cannotCreate,
      "\(path): cannot be written: \(String(cString: strerror(number))). Name another file with "
        + "--export.")
  }

  // MARK: - Prune

  private func pruneRejects(_ job: Job, upTo batch: Int64) throws {
    let failpoint = death.failpoint()
    let checkpoint = try openExistingCheckpoint(
      job, folder: try self.job.checkpointFolder(of: job)
    ) { failpoint(.checkpointStep) }
    let pruned = try checkpoint.pruneRejects(upTo: batch, deletesObjects: deleteObjects)
    printText(
      "\(job.name): forgot \(counted(pruned.rejectCount, "reject")) of \(pruned.batchCount) "
        + "\(pruned.batchCount == 1 ? "batch" : "batches")")
    if pruned.waitingBatchCount > 0 {
      printText(
        """
        \(pruned.waitingBatchCount) more up to batch \(batch) \
        \(pruned.waitingBatchCount == 1 ? "waits" : "wait") for the store. Prune them after the \
        next runs: tranche run \(self.job.commandLine(of: job))
        """)
    }
  }
}
