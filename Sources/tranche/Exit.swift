import ArgumentParser
import Checkpoints
import Engine
import Jobs
import ObjectStorage

/// The one table from what went wrong to the number that a script sees, after BSD's sysexits.h.
extension RunError.Kind {
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

/// Runs a command's body and ends the process with the message and the code of whatever it threw.
func exiting(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as ExitCode {
    throw error
  } catch let error as JobFileErrors {
    printFaults(error)
    throw ExitCode(65)
  } catch {
    let error = RunError(wrapping: error)
    printError("tranche: \(error)")
    throw ExitCode(error.kind.exitCode)
  }
}

/// One line a fault.
func printFaults(_ errors: JobFileErrors) {
  for error in errors.errors { printError(error.description) }
}
