import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Reports

struct ValidateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "validate", abstract: "Check job files without a broker or a store.",
    discussion: """
      Reports every fault with its file, line and key, and with the values that would do. Warns \
      of what is valid and most likely not meant, such as a division that drops fractions. Also \
      reports jobs given together that would share a destination or a checkpoint. Looks whether \
      the certificates that a file names are there, and loads and runs nothing. Exits with 65 if \
      there is a fault.

      With --against-checkpoint it also says what the next run would do about a job file that was \
      changed: nothing, let the changes take effect by themselves, or stop until you have decided. \
      It exits with 78 then. It only reads the checkpoint.
      """)

  @Argument(
    help: "Job files; - reads one from standard input.",
    completion: .file(extensions: ["yaml", "yml"]))
  var files: [String]

  @OptionGroup var naming: JobNameOption

  @Flag(help: "Say what the changes since the last run need. Exits with 78 if a run would stop.")
  var againstCheckpoint = false

  @OptionGroup var checkpoints: CheckpointOptions

  func validate() throws {
    try naming.validate(files)
    if checkpoints.folder != nil && !againstCheckpoint {
      throw ValidationError("--checkpoints is for --against-checkpoint.")
    }
  }

  func run() throws {
    var isFaulty = false
    var failures: [Int32] = []
    var sides: [JobOverlap.Side] = []
    var seen: Set<String> = []
    for file in files {
      do {
        let parsed = try loadParsedJob(file, name: naming.name, checksFiles: true)
        // The same file twice is one job.
        if seen.insert(resolvedPath(file)).inserted { sides.append(side(file, parsed)) }
        printWarnings(parsed)
        printText("\(file): valid")
        if againstCheckpoint, let code = try compare(parsed.job, file) { failures.append(code) }
      } catch let error as JobFileErrors {
        printFaults(error)
        isFaulty = true
      } catch {
        let failure = failure(error, Words())
        printError(failure.message)
        failures.append(failure.code.exitCode)
      }
    }
    let overlaps = JobOverlap.find(sides)
    for overlap in overlaps { printError(overlap.error.description) }
    if isFaulty || !overlaps.isEmpty { throw ExitCode(RunError.Code.data.exitCode) }
    if let code = failures.first { throw ExitCode(code) }
  }

  /// - Returns: The code of the next run where it would stop.
  private func compare(_ job: Job, _ file: String) throws -> Int32? {
    let folder = try checkpoints.folder(of: job, file: file)
    guard let reader = try existingReader(of: job, folder: folder) else {
      printText("\(file): there is no checkpoint yet; the next run makes it")
      return nil
    }
    let verdict = try reader.verdict(on: job)
    let words = Words(
      jobArguments: jobArguments(file, name: naming.name, job, checkpoints))
    for line in words.lines(of: verdict) { printText("\(file): \(line)") }
    return verdict.stopsRun ? RunError.Code.jobChanged.exitCode : nil
  }

  private func side(_ file: String, _ parsed: JobFile.Parsed) -> JobOverlap.Side {
    let folder: String? =
      if case .file(let path) = parsed.job.output.destination { resolvedPath(path) } else { nil }
    // Two jobs of one name whose files lead to one folder have one checkpoint.
    return JobOverlap.Side(
      file: file, parsed: parsed, folder: folder,
      checkpointPlace: isStandardInput(file) ? nil : folderBesideJob(resolvedFolder(of: file)))
  }
}

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "Print a JSON Schema of the job file, for editors to complete and check it.",
    discussion:
      """
      Save it beside your jobs and name it in their first line: # yaml-language-server: \
      $schema=job.schema.json
      """
  )

  @Flag(help: "Print docs/job-file.md, which describes every key, instead.")
  var markdown = false

  func run() throws {
    printExact(markdown ? JobReference.markdown() : JobSchema.json(), terminator: "")
  }
}
