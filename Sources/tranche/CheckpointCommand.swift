import ArgumentParser
import Checkpoints
import Engine
import Glibc
import Jobs
import ObjectStorage
import Reports

struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint",
    abstract: "Copy a job's checkpoint, look at it, or put a copy into place.",
    discussion: """
      A checkpoint is all that a job knows: its offsets, the state of its windows, and which \
      objects it has published. With a copy of it a job goes on where the copy was made, on this \
      machine or on another.

        tranche checkpoint backup jobs/calls.yaml --to /backup/calls.sqlite
        tranche checkpoint check /backup/calls.sqlite
        tranche checkpoint import jobs/calls.yaml --from /backup/calls.sqlite
      """,
    subcommands: [
      CheckpointBackupCommand.self, CheckpointCheckCommand.self, CheckpointImportCommand.self,
    ])
}

struct CheckpointBackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup",
    abstract: "Copy a job's checkpoint to a file or into a bucket.",
    discussion: """
      Also while a run is active, which goes on meanwhile: the copy is of one instant, and is \
      looked at before it is put into place. What stood there before is replaced at once. A copy \
      that was made beside a run asks for `tranche resolve --restored` where it is imported, as \
      the run's results may be newer.

      A bucket is reached as output.s3 of the job file says. The copy holds what the checkpoint \
      holds, rejected records included, and no credentials.
      """)

  @OptionGroup var job: JobOptions

  @Option(
    help: ArgumentHelp(
      "Where the copy is put: a file, or s3://BUCKET/KEY.", valueName: "file-or-object"),
    completion: .file())
  var to: CopyPlace

  @OptionGroup var death: DeathOption

  func run() throws {
    try exiting(job) {
      let job = try self.job.load()
      let failpoint = death.failpoint()
      let path = Checkpoint.path(ofJob: job.name, folder: try self.job.checkpointFolder(of: job))
      try to.refuseCheckpointInUse()
      let store = try makeStore(job, at: to.folder) { failpoint(.storeStep) }
      let copy = try backUp(path, of: job, to: store, at: to.key) { failpoint(.checkpointStep) }
      printText(
        "\(job.name): the checkpoint was copied to \(to), \(grouped(copy.byteCount)) bytes"
          + (copy.isBesideRun ? ", beside a run" : ""))
    }
  }
}

struct CheckpointCheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Look for damage in a checkpoint or in a copy of one.",
    discussion: """
      Reads all of it: every page, the references between tables, every value, and whether \
      progress, history, windows and objects agree. With a job file it looks at a copy of the \
      job's checkpoint, also while a run is active, and at the values of its groups as the job \
      defines them. Prints what is wrong, a line each, and ends with 74 then. It changes nothing.
      """)

  @Argument(
    help: ArgumentHelp("The job file, or the file of a checkpoint.", valueName: "job-or-file"),
    completion: .file())
  var file: String

  @OptionGroup var naming: JobNameOption

  @OptionGroup var checkpoints: CheckpointOptions

  @OptionGroup var code: CodeOptions

  @Flag(help: "Print the result as one line of JSON.")
  var json = false

  func validate() throws { try naming.validate([file]) }

  func run() throws {
    try exiting(json: failureText(json, jobFile: nil)) {
      let (path, problems, changed) = try isDatabase(file) ? ofFile() : ofJob()
      if json {
        printExact(
          try checkpointReport(path: path, problems: problems, groupsRead: changed == false))
      } else {
        for problem in problems { printText("\(path): \(problem)") }
        if changed == true {
          printText("\(path): the groups were not read, because the job file was changed")
        }
        if problems.isEmpty {
          printText("\(path): nothing is wrong" + (changed == true ? " with the rest" : ""))
        }
      }
      if !problems.isEmpty { throw ExitCode(RunError.Code.inputOutput.exitCode) }
    }
  }

  /// - Returns: Also whether the job file was changed so that it tells nothing of the groups; nil
  ///   without a job file.
  private func ofFile() throws -> (path: String, problems: [String], changed: Bool?) {
    (file, try CheckpointReader(path: file, leavesNoFiles: true).problems(), nil)
  }

  /// Of a copy: the long look must not hold up a run's log.
  private func ofJob() throws -> (path: String, problems: [String], changed: Bool?) {
    let job = try loadParsedJob(
      file, name: naming.name, allowsCode: code.allowCodeProperties
    ).job
    let path = Checkpoint.path(
      ofJob: job.name, folder: try checkpoints.folder(of: job, file: file))
    return try ScratchFolder.with(job) { folder in
      let place = Checkpoint.path(ofJob: job.name, folder: folder)
      try CheckpointCopy(of: path, job: job, in: folder).move(to: place)
      let reader = try CheckpointReader(path: place, job: job)
      let problems = try reader.problems(job: job)
      // Damage can keep that from being told.
      let stopsRun = (try? reader.verdict(on: job).stopsRun) == true
      return (path, problems, job.definition.keepsState && stopsRun)
    }
  }

  /// Whether a file begins as SQLite's do (sqlite.org/fileformat.html, "Magic Header String").
  private func isDatabase(_ path: String) throws -> Bool {
    if isStandardInput(path) { return false }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { return false }
    var bytes = [UInt8](repeating: 0, count: 16)
    return read(descriptor, &bytes, 16) == 16 && bytes.elementsEqual("SQLite format 3\0".utf8)
  }
}

struct CheckpointImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Put a copy of a checkpoint where the job's runs look for it.",
    discussion: """
      The copy is looked at first, and takes its place in one step. Where a checkpoint stands \
      already, nothing is changed, unless --replace is given: then that one is kept beside the \
      new one under another name. It does not wait: while a run is active it exits with 75.

      The next run asks at the destination whose results lie there. Where another state of the \
      job has written since the copy was made, the run stops with 78 until you decide.
      """)

  @OptionGroup var job: JobOptions

  @Option(
    help: ArgumentHelp(
      "The copy: a file, or s3://BUCKET/KEY, which is reached as output.s3 of the job file says.",
      valueName: "file-or-object"), completion: .file())
  var from: CopyPlace

  @Flag(help: "Put the checkpoint aside that stands there.")
  var replace = false

  @OptionGroup var death: DeathOption

  func run() throws {
    try exiting(job) {
      let job = try self.job.load()
      let failpoint = death.failpoint()
      let step: () -> Void = { failpoint(.checkpointStep) }
      let now = nowMilliseconds()
      let imported = try Checkpoint.takeIn(
        job: job, folder: try self.job.checkpointFolder(of: job), replaces: replace,
        from: "\(from)", holder: lockHolder(now), now: now, step: step
      ) { folder in try copy(job, in: folder, step) }
      printText("\(job.name): the checkpoint is \(imported.path) now")
      if let former = imported.former {
        printText("The one that stood there is \(former) now: delete it when nobody needs it")
      }
    }
  }

  private func copy(
    _ job: Job, in folder: String, _ step: @escaping () -> Void
  ) throws -> CheckpointCopy {
    switch from.folder {
    case .file(let path):
      return try CheckpointCopy(of: "\(path)/\(from.key)", job: job, in: folder, step: step)
    case .s3:
      let store = try makeStore(job, at: from.folder) {}
      guard let bytes = try store.get(from.key, byteLimit: oneObjectByteLimit) else {
        throw CommandError(.data, "\(from): there is no such object.")
      }
      return try CheckpointCopy(bytes: bytes, named: job.name, in: folder, step: step)
    }
  }
}

/// One file or object, as a command line names it.
struct CopyPlace: ExpressibleByArgument, CustomStringConvertible {
  let folder: Job.Output.Destination
  let key: ObjectKey
  let description: String

  /// `PATH`, `file:PATH` or `s3://BUCKET/KEY`.
  init?(argument: String) {
    description = argument
    if argument.hasPrefix("s3://") {
      guard case .s3(let bucket, let path)? = Job.Output.Destination(text: argument),
        !argument.hasSuffix("/"), let name = path.split(separator: "/").last,
        let whole = ObjectKey(validating: path), let key = ObjectKey(validating: String(name)),
        Job.Output.Destination.isBucket(bucket)
      else { return nil }
      folder = .s3(
        bucket: bucket, prefix: String(whole.value.dropLast(name.utf8.count + 1)))
      self.key = key
    } else {
      var path = argument.hasPrefix("file:") ? String(argument.dropFirst(5)) : argument
      if argument.hasPrefix("file://") { path = String(argument.dropFirst(7)) }
      guard let name = path.split(separator: "/").last, !path.hasSuffix("/"),
        let key = ObjectKey(validating: String(name))
      else { return nil }
      let parent = path.dropLast(name.count)
      folder = .file(
        path: parent.isEmpty ? "." : parent == "/" ? "/" : String(parent.dropLast()))
      self.key = key
    }
  }

  /// A copy of a checkpoint lies alone; one that a job runs on has its log or its lock beside it.
  ///
  /// - Throws: ``CheckpointError`` with code `exists`.
  func refuseCheckpointInUse() throws(CheckpointError) {
    guard case .file(let folder) = folder else { return }
    let path = "\(folder)/\(key)"
    if CheckpointCopy.isInUse(path) { throw CheckpointError(.exists, path: path) }
  }
}
