import ArgumentParser
import Checkpoints
import Dispatch
import Engine
import Formats
import Foundation
import Jobs
import Kafka
import Logging
import ObjectStorage
import Offsets
import Reports
import Scheduling
import Tables
import Wiring

/// What every command that reads a job file takes.
struct JobOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp("The job file; - reads it from standard input.", valueName: "job"),
    completion: .file(extensions: ["yaml", "yml"]))
  var file: String

  @OptionGroup var naming: JobNameOption

  @OptionGroup var checkpoints: CheckpointOptions

  @OptionGroup var code: CodeOptions

  func validate() throws { try naming.validate([file]) }

  /// - Throws: As ``loadJob(_:allowsCode:)``.
  func load() throws -> Job { try loadParsed().job }

  /// As ``load()``, with what is said of a valid file.
  ///
  /// - Parameter checksFiles: As of ``loadParsedJob(_:name:allowsCode:checksFiles:)``.
  func loadParsed(checksFiles: Bool = false) throws -> JobFile.Parsed {
    try loadParsedJob(
      file, name: naming.name, allowsCode: code.allowCodeProperties, checksFiles: checksFiles)
  }
}

/// The name of a job that comes on standard input without `name:`. Other jobs without one are
/// called after their file.
struct JobNameOption: ParsableArguments {
  @Option(help: "The name of a job that comes on standard input without one.")
  var name: String?

  /// - Throws: `ValidationError` where none of the files comes on standard input.
  func validate(_ files: [String]) throws {
    if name != nil && !files.contains(where: isStandardInput) {
      throw ValidationError("--name is for a job file from standard input (-).")
    }
  }
}

/// What lets a job file name code that is run.
struct CodeOptions: ParsableArguments {
  @Flag(
    help:
      "Let the job file name the command that renews Kerberos tickets (sasl.kerberos.kinit.cmd).")
  var allowCodeProperties = false
}

/// `50s`, `10m`: as job files write durations.
struct DurationArgument: ExpressibleByArgument {
  let milliseconds: Int64

  init?(argument: String) {
    guard let milliseconds = JobFile.milliseconds(argument) else { return nil }
    self.milliseconds = milliseconds
  }
}

struct CheckpointOptions: ParsableArguments {
  @Option(
    name: .customLong("checkpoints"),
    help: ArgumentHelp(
      "The folder of the checkpoints.",
      discussion: """
        Default: $TRANCHE_CHECKPOINTS, then $STATE_DIRECTORY (systemd sets it), then checkpoints/ \
        next to the jobs/ folder that holds the job file. If that folder is not called jobs, \
        checkpoints/ inside it.
        """), completion: .directory)
  var folder: String?
}

/// - Throws: `JobFileErrors`, or a ``CommandError`` when the file cannot be read.
func loadJob(_ path: String, allowsCode: Bool = false) throws -> Job {
  try loadParsedJob(path, allowsCode: allowsCode).job
}

/// Whether a job file's name stands for standard input, as in other programs.
func isStandardInput(_ path: String) -> Bool { path == "-" }

/// As ``loadJob(_:allowsCode:)``, with the lines that may clash with another job's.
///
/// - Parameters:
///   - name: Of a job that comes on standard input without one.
///   - checksFiles: Whether files that the job names, such as certificates, must be readable.
///     `run`, `backfill` and `validate` ask for this.
func loadParsedJob(
  _ path: String, name: String? = nil, allowsCode: Bool = false, checksFiles: Bool = false,
  standsIn: Bool = false
) throws -> JobFile.Parsed {
  let isStandardInput = isStandardInput(path)
  let content =
    isStandardInput ? standardInputBytes : fileBytes(path, byteLimit: JobFile.byteLimit)
  guard let bytes = content else {
    throw CommandError(
      .data,
      """
      \(path): cannot be read. Is the path right, and are you allowed to read it? A job file has \
      at most \(JobFile.byteLimit) bytes.
      """
    )
  }
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw CommandError(.data, "\(path): is not UTF-8 text.")
  }
  return try parsedJob(
    text, path: path, name: isStandardInput ? name ?? "" : nil, allowsCode: allowsCode,
    checksFiles: checksFiles, standsIn: standsIn)
}

/// As ``loadParsedJob(_:name:allowsCode:checksFiles:standsIn:)``, of a text that was read.
///
/// - Throws: `JobFileErrors`.
func parsedJob(
  _ text: String, path: String, name: String? = nil, allowsCode: Bool = false,
  checksFiles: Bool = false, standsIn: Bool = false
) throws(JobFileErrors) -> JobFile.Parsed {
  let fileFault: JobFile.FileCheck = { path in
    !checksFiles || access(path, R_OK) == 0
      ? nil
      : (
        "names a file that cannot be read",
        "Correct the path, or make it readable for this user"
      )
  }
  return try JobFile.parsed(
    text: text, path: path, name: name,
    environment: ProcessInfo.processInfo.environment, standsIn: standsIn, readFile: readFile,
    checkProperties: { properties in
      let files = properties.filter { KafkaCluster.namesFile($0.key, value: $0.value) }
      return KafkaCluster.remarks(on: properties, allowsCode: allowsCode).map {
        ($0.name, $0.problem, $0.remedy, $0.isWarning)
      }
        + files.compactMap { name, path in
          fileFault(path).map { (name, $0.problem, $0.remedy, false) }
        }
    }, fileFault: fileFault, isTimeZone: { zoneRules($0) != nil })
}

/// Of the system's zone database; nil for a name that it does not hold.
func zoneRules(_ name: String) -> ZoneRules? {
  // So that UTC needs no database.
  if name == "UTC" { return .utc }
  let isName =
    !name.isEmpty
    && name.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
      default: "_+-/".utf8.contains(byte)
      }
    }
  if !isName { return nil }
  return fileBytes("/usr/share/zoneinfo/\(name)", byteLimit: 1 << 20).flatMap(ZoneRules.init)
}

/// Nil for what is no text of at most 1 MiB.
@Sendable func readFile(_ path: String) -> String? {
  fileBytes(path, byteLimit: 1 << 20).flatMap { String(validating: $0, as: UTF8.self) }
}

func makeStore(_ job: Job, at place: Job.Output.Destination, step: @escaping @Sendable () -> Void)
  throws
  -> any ObjectStore
{
  switch place {
  case .file(let path):
    return FileStore(root: path, step: step)
  case .s3(let bucket, let prefix):
    try S3Store.loadLibrary()
    let options = job.output.s3
    let environment = ProcessInfo.processInfo.environment
    let credentials: S3Credentials =
      switch options.credentials {
      case .keys(let accessKeyID, let secretAccessKey, let sessionToken):
        S3Credentials(
          accessKeyID: accessKeyID, secretAccessKey: secretAccessKey, sessionToken: sessionToken)
      case .profile(let name):
        try S3Credentials.resolve(profile: name, environment: environment, readFile: readFile)
      case .environment:
        try S3Credentials.resolve(profile: nil, environment: environment, readFile: readFile)
      }
    return S3Store(
      S3Configuration(
        endpoint: options.endpoint, region: options.region, bucket: bucket, prefix: prefix,
        addressing: options.addressing == .path ? .path : .virtual, credentials: credentials,
        timeoutMilliseconds: options.timeoutMilliseconds, maxAttempts: options.maxAttempts,
        caFile: options.caFile),
      step: step)
  }
}

func makeSources(
  _ job: Job, _ logger: Logger = makeLogger()
) throws -> [any MessageSource] {
  try job.clusters.map { try makeSource($0, of: job, logger) }
}

/// A person at a terminal reads what a command waits for; else the log has it.
func makeSource(
  _ cluster: Job.Cluster, of job: Job, _ logger: Logger = makeLogger()
) throws -> KafkaSource {
  var waits: (@Sendable (String) -> Void)?
  if Log.isWatched {
    let name = job.name
    waits = { printWait("\(name): waiting for \($0)") }
  }
  return try KafkaSource(cluster, job: job, logger: logger, waits: waits)
}

func openCheckpoint(
  _ job: Job, folder: String, mode: FileMode = .owner,
  step: @escaping @Sendable () -> Void = {}
) throws -> Checkpoint {
  let now = nowMilliseconds()
  let checkpoint = try Checkpoint(
    job: job, folder: folder, mode: mode.bits, holder: lockHolder(now), now: now,
    release: "tranche \(release)", step: step)
  if checkpoint.isNew {
    Log.tell(
      .notice, "first run: new checkpoint", [("path", .text(checkpoint.path))], job: job.name,
      words: "\(job.name): first run: new checkpoint at \(checkpoint.path)")
  }
  return checkpoint
}

/// For commands that decide something about a job's state: a new one would be another's.
///
/// - Throws: ``CheckpointError`` with code `noCheckpoint`, else as
///   ``openCheckpoint(_:folder:mode:step:)``.
func openExistingCheckpoint(
  _ job: Job, folder: String, step: @escaping @Sendable () -> Void = {}
) throws -> Checkpoint {
  let path = Checkpoint.path(ofJob: job.name, folder: folder)
  guard FileManager.default.fileExists(atPath: path) else {
    throw CheckpointError(.noCheckpoint, path: path)
  }
  return try openCheckpoint(job, folder: folder, step: step)
}

/// What whoever finds the lock taken reads of this process.
func lockHolder(_ now: Int64) -> String {
  "pid \(getpid()) on \(hostName()), started \(TimestampText.format(milliseconds: now))"
}

private func hostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  guard gethostname(&name, name.count - 1) == 0 else { return "a host without a name" }
  return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// Of a clock that never goes back.
@Sendable func uptimeNanoseconds() -> Int64 {
  Int64(clamping: DispatchTime.now().uptimeNanoseconds)
}

@Sendable func nowMilliseconds() -> Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
