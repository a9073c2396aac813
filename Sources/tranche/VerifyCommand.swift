import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Offsets
import Reports
import Windows

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read again what a job has counted, and hold its state and its objects against it.",
    discussion: """
      Copies the checkpoint, reads the offsets that it calls counted once more, and folds them \
      beside the state on the copy. Compares every group, the counts of every batch, the rejects \
      that are kept, and every published object, and tells what became of each offset. Changes \
      nothing, takes no lock, and works beside a run; the copy and a second state need room in \
      TMPDIR.

      Windows whose messages the brokers no longer hold, or that were compacted, are unprovable: \
      they are listed, and their objects are compared with the state. Objects that a run has \
      changed meanwhile are not compared.

      Exits with 0 if all agrees, and with 1 if anything differs.
      """)

  @OptionGroup var job: JobOptions

  @Option(
    help: """
      Only this window: latest, or named as for tranche show. Reads the offsets between the \
      smallest and the largest that contributed to it.
      """)
  var window: String?

  // A value that begins with a hyphen is a wrong number, not another option.
  @Option(
    parsing: .unconditional,
    help: """
      Only so many windows, at even distances from the oldest to the newest; batches, of a job \
      that keeps no windows.
      """)
  var sample: Int?

  @Flag(help: "Fetch every object and compare its bytes, where otherwise its ETag will do.")
  var deep = false

  @Flag(help: "Exit with 1 also if windows, batches or rejects cannot be proved.")
  var strict = false

  @Flag(help: "Print one line of JSON.")
  var json = false

  @OptionGroup var log: LogOptions

  func validate() throws {
    if let sample, sample < 1 { throw ValidationError("--sample takes 1 or more.") }
    if window != nil && sample != nil {
      throw ValidationError("Give --window or --sample, not both.")
    }
  }

  func run() throws {
    log.apply()
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let parsed = try self.job.loadParsed(checksFiles: true)
      let job = parsed.job
      let live = try openedReader(of: job, folder: try self.job.checkpointFolder(of: job))
      if let refusal = try live.refusal(of: job) { throw refusal }
      let report: Verification
      do { report = try verify(job, live) } catch let error as CheckpointError {
        // What is wrong with the copy was copied.
        throw CheckpointError(error.code, path: live.path)
      }
      let words = Words(jobArguments: self.job.commandLine(of: job))
      let exitCode = report.agrees(isStrict: strict) ? 0 : unexpectedResults
      if json {
        printExact(try jsonLine(VerificationReport(report, words, exitCode: exitCode)))
      } else {
        printText(VerificationText(report, words, isStrict: strict).text)
      }
      if exitCode != 0 { throw ExitCode(exitCode) }
    }
  }

  private func verify(_ job: Job, _ live: CheckpointReader) throws -> Verification {
    try ScratchFolder.with(job) { folder in
      let copy = try VerificationCopy(
        of: live, job: job, at: Checkpoint.path(ofJob: job.name, folder: folder))
      let chosen = try chosen(job, copy)
      var report = try Verifier(
        copy: copy, live: live, sources: try makeSources(job),
        store: try makeStore(job, at: job.output.destination, step: {}),
        options: RunOptions(
          clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release),
        scope: chosen?.scope ?? .all, isDeep: deep
      ).verify()
      report.chosen = chosen.map { ($0.count, $0.of) }
      return report
    }
  }

  private typealias Chosen = (scope: Verifier.Scope, count: Int64, of: Int64)

  /// Nil for all.
  private func chosen(_ job: Job, _ copy: VerificationCopy) throws -> Chosen? {
    if window == nil && sample == nil { return nil }
    guard job.window.keepsState else {
      guard let sample else {
        throw CommandError(
          .data,
          "\(job.name): the job keeps no windows. Choose some of its batches with --sample.")
      }
      let numbers = try copy.batchNumbers()
      let batches = evenly(sample, of: numbers.count).map { numbers[$0] }
      return (.batches(batches), Int64(batches.count), Int64(numbers.count))
    }
    let windows = try windowsWithRecords(job, copy.reader)
    let some =
      try window.map { [try WindowName.window($0, of: job, among: windows)] }
      ?? evenly(sample ?? 1, of: windows.count).map { windows[$0] }
    return (.windows(some), Int64(some.count), Int64(windows.count))
  }

  /// Numbers below `count`, the last one among them.
  private func evenly(_ number: Int, of count: Int) -> [Int] {
    if number >= count { return Array(0..<count) }
    return (1...number).map { Int(Double(count) * Double($0) / Double(number)) - 1 }
  }
}

/// A verification as JSON.
private struct VerificationReport: Encodable {
  struct Partition: Encodable {
    let source, topic: String
    let partition: Int32
    let counted, filtered, rejected, no_record, holes, gaps, not_held, not_decoded, outside: Int64
    let missing: Int64
  }
  struct Item: Encodable {
    let subject, reason: String
  }
  let job: String
  let batch: Int64
  let agrees: Bool
  let differences: Int64
  let findings: [String]
  let offsets: [Partition]
  let batches, windows, groups, rejects, objects, evicted: Int64
  let unprovable_count: Int64
  let unprovable: [String]
  let not_compared_count: Int64
  let not_compared: [Item]
  let exit_code: Int32

  init(_ report: Verification, _ words: Words, exitCode: Int32) {
    job = report.job
    batch = report.batch
    agrees = exitCode == 0
    differences = report.findings.count
    findings = report.findings.first.map { words.text(of: $0) }
    offsets = report.partitions.map {
      Partition(
        source: $0.partition.source, topic: $0.partition.topic, partition: $0.partition.partition,
        counted: $0.messages.counted, filtered: $0.messages.filtered,
        rejected: $0.messages.rejected, no_record: $0.messages.empty, holes: $0.holes,
        gaps: $0.gaps, not_held: $0.unheld, not_decoded: $0.notDecoded, outside: $0.outside,
        missing: $0.missing)
    }
    batches = report.batchCount
    windows = report.windowCount
    groups = report.groupCount
    rejects = report.rejectCount
    objects = report.objectCount
    evicted = report.evictedCount
    unprovable_count = report.unprovable.count
    unprovable = report.unprovable.first
    not_compared_count = report.notCompared.count
    not_compared = report.notCompared.first.map {
      Item(subject: $0.subject, reason: words.text(of: $0.reason))
    }
    exit_code = exitCode
  }
}
