import ArgumentParser
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
      """)

  @Argument(
    help: "Job files; - reads one from standard input.",
    completion: .file(extensions: ["yaml", "yml"]))
  var files: [String]

  @OptionGroup var naming: JobNameOption

  func validate() throws { try naming.validate(files) }

  func run() throws {
    var isFaulty = false
    var sides: [JobOverlap.Side] = []
    var seen: Set<String> = []
    for file in files {
      do {
        let parsed = try loadParsedJob(file, name: naming.name, checksFiles: true)
        // The same file twice is one job.
        if seen.insert(resolvedPath(file)).inserted { sides.append(side(file, parsed)) }
        printWarnings(parsed)
        printText("\(file): valid")
      } catch let error as JobFileErrors {
        printFaults(error)
        isFaulty = true
      } catch {
        printError(failure(error, Words()).message)
        isFaulty = true
      }
    }
    let overlaps = JobOverlap.find(sides)
    for overlap in overlaps { printError(overlap.error.description) }
    if isFaulty || !overlaps.isEmpty { throw ExitCode(RunError.Code.data.exitCode) }
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
