import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Kafka
import Logging
import Offsets
import Reports
import Scheduling

/// The one table from what went wrong to the number that a script sees, after BSD's sysexits.h.
///
/// ArgumentParser ends with ``wrongUsage`` where the arguments are wrong.
extension RunError.Code {
  var exitCode: Int32 {
    switch self {
    case .data: 65
    case .unreachable: 69
    case .internalFault: 70
    case .lackOfResources: 71
    case .cannotCreate: 73
    case .inputOutput: 74
    case .locked: 75
    case .dataLoss: 76
    case .noPermission: 77
    case .jobChanged: 78
    }
  }
}

let wrongUsage: Int32 = 64

/// Of `tranche test` and `tranche verify`: what is compared differs, as diff(1) and programs for
/// tests say it.
let unexpectedResults: Int32 = 1

/// Of `tranche test`: there is nothing to test (`EX_NOINPUT`).
let noFixtures: Int32 = 66

/// What the scheduler makes of a run's exit code.
extension RunOutcome {
  init(exitCode: Int32) {
    switch exitCode {
    case 0: self = .done
    case RunError.Code.locked.exitCode: self = .busy
    // Wrong usage or a wrong job file, offsets or rights: not even a later try mends that.
    case wrongUsage, RunError.Code.data.exitCode, RunError.Code.cannotCreate.exitCode,
      RunError.Code.dataLoss.exitCode, RunError.Code.noPermission.exitCode,
      RunError.Code.jobChanged.exitCode:
      self = .failed(needsPerson: true)
    default: self = .failed(needsPerson: false)
    }
  }
}

/// What a command refuses by itself, in its own words.
struct CommandError: Error {
  let code: RunError.Code
  let message: String

  init(_ code: RunError.Code, _ message: String) {
    self.code = code
    self.message = message
  }

  static func unread(_ partition: PartitionID) -> CommandError {
    CommandError(
      .data,
      """
      \(partition): the job has not read this partition yet. Run it once first, or look at \
      `tranche status`.
      """)
  }
}

/// What a command prints where it fails, beside the errors on standard error.
typealias FailureReporting = (_ failures: [Failure], _ exitCode: Int32) throws -> Void

/// Of a command that has nothing else to report then; nil without `--json`.
func failureText(_ isJSON: Bool, jobFile: String?) -> FailureReporting? {
  guard isJSON else { return nil }
  return { failures, exitCode in
    printExact(try failureReport(jobFile: jobFile, failures, exitCode: exitCode))
  }
}

/// Runs a command's body and ends the process with the message and the code of whatever it threw.
///
/// - Parameters:
///   - job: For messages that end in a command; nil where a command takes no job.
///   - json: What is printed of a failure, for programs; nil for nothing.
///   - isSilent: Errors that nobody needs to be told of; the code is the same.
func exiting(
  _ job: JobOptions? = nil, json: FailureReporting? = nil,
  isSilent: (any Error) -> Bool = { _ in false }, _ body: () throws -> Void
) throws {
  func end(_ failures: [Failure], _ code: RunError.Code) throws -> Never {
    try json?(failures, code.exitCode)
    throw ExitCode(code.exitCode)
  }
  do {
    if let problem = LocalResources.problem { throw RunError.lackOfResources(problem) }
    try body()
  } catch let error as ExitCode {
    throw error
  } catch let errors as JobFileErrors {
    printFaults(errors)
    try end(
      errors.errors.map {
        Failure(code: RunError.Code.data.rawValue, message: $0.description)
      }, .data)
  } catch {
    let failure = failure(
      error, Words(jobArguments: job.map { $0.commandLine(of: try? $0.load()) } ?? "JOB"))
    let report = Failure(code: failure.code.rawValue, message: failure.message)
    if !isSilent(error) { Log.tell(report, exitCode: failure.code.exitCode) }
    try end([report], failure.code)
  }
}

/// Whether it is the lock of the job that kept a run from starting.
func isAnotherRunActive(_ error: any Error) -> Bool {
  if case .locked = (error as? CheckpointError)?.code { true } else { false }
}

/// What an error says, and its code.
func failure(_ error: any Error, _ words: Words) -> CommandError {
  if let error = error as? CommandError { return error }
  let error = RunError(wrapping: error)
  return CommandError(error.code, words.text(of: error))
}

/// One line a fault.
func printFaults(_ errors: JobFileErrors) {
  for error in errors.errors { printError(error.description) }
}

/// One line a warning, of a job file that is valid.
func printWarnings(_ parsed: JobFile.Parsed) {
  for warning in parsed.warnings {
    Log.tell(.warning, "\(warning)", words: "warning: \(warning)")
  }
}
