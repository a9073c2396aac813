import ArgumentParser
import Engine
import Jobs

struct ValidateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "validate", abstract: "Check job files without a broker or a store.",
    discussion: "Reports every fault with file, line, key and what would do. Exits with 65 when there is one.")

  @Argument(help: "Job files.", completion: .file(extensions: ["yaml", "yml"]))
  var files: [String]

  func run() throws {
    var isFaulty = false
    for file in files {
      do {
        _ = try loadJob(file)
        printText("\(file): valid")
      } catch let error as JobFileErrors {
        printFaults(error)
        isFaulty = true
      } catch {
        printError("\(error)")
        isFaulty = true
      }
    }
    if isFaulty { throw ExitCode(65) }
  }
}

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema", abstract: "Print a JSON Schema of the job file, for editors to complete and check it.",
    discussion: "Save it beside your jobs and name it in their first line: # yaml-language-server: $schema=job.schema.json")

  func run() throws { printExact(JobSchema.json(), terminator: "") }
}
