import ArgumentParser
import Engine
import Jobs
import Reports

/// The one table from what went wrong to the number that a script sees, after BSD's sysexits.h.
///
/// ArgumentParser ends with 64 where the arguments are wrong.
extension RunError.Code {
  var exitCode: Int32 {
    switch self {
    case .data: 65
    case .unreachable: 69
    case .internalFault: 70
    case .cannotCreate: 73
    case .inputOutput: 74
    case .locked: 75
    case .dataLoss: 76
    case .noPermission: 77
    case .jobChanged: 78
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
}

/// Runs a command's body and ends the process with the message and the code of whatever it threw.
///
/// - Parameter job: For messages that end in a command; nil where a command takes no job.
func exiting(_ job: JobOptions? = nil, _ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as ExitCode {
    throw error
  } catch let errors as JobFileErrors {
    printFaults(errors)
    throw ExitCode(RunError.Code.data.exitCode)
  } catch {
    let failure = failure(
      error, Words(jobArguments: job.map { $0.commandLine(of: try? $0.load()) } ?? "JOB"))
    printError("tranche: \(failure.message)")
    throw ExitCode(failure.code.exitCode)
  }
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
