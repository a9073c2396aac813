import ArgumentParser
import Glibc
import Reports

/// The release, in `--version`, in checkpoints and in the files' metadata.
let release = "0.3.0"

@main
struct Tranche: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tranche",
    abstract:
      "Takes fixed-size slices of Kafka topics, keeps window state in one SQLite file, and "
      + "overwrites result files on S3 or on disk.",
    discussion: """
      A job is a YAML file. A run takes what has arrived since the last one, batch by batch, and \
      exits; start it from cron, a systemd timer or tranche schedule. Killed anywhere and started \
      again, its results are as if it had never stopped.

        tranche validate jobs/api-time-share.yaml      check a job file
        tranche test jobs/api-time-share.yaml          run it on its fixtures
        tranche try jobs/api-time-share.yaml           run it on some messages; nothing is kept
        tranche plan jobs/api-time-share.yaml          what the next batch would read
        tranche run jobs/api-time-share.yaml           catch up with the topics
        tranche show jobs/api-time-share.yaml          the latest window's table
        tranche verify jobs/api-time-share.yaml        hold it all against the topics

      Exit codes: 0 done, 1 what test or verify compares differs, 64 wrong usage, 65 invalid job \
      file or data, 66 nothing to test, 69 broker or store unreachable, 70 internal error, 71 no \
      more threads, memory or open files, 73 checkpoint or job file cannot be created, 74 disk \
      error, damaged checkpoint or unwritable output, 75 another run is active, 76 offsets lost or \
      topic re-created, 77 credentials or permissions, 78 job file or destination does not match \
      the checkpoint, 128+n ended by signal n.
      """,
    version: release,
    subcommands: [
      RunCommand.self, ScheduleCommand.self, BackfillCommand.self, PlanCommand.self,
      StatusCommand.self, ShowCommand.self, HistoryCommand.self, RejectsCommand.self,
      VerifyCommand.self,
      InitCommand.self, PeekCommand.self,
      ValidateCommand.self, SchemaCommand.self, CheckCommand.self, SkipCommand.self,
      ResolveCommand.self, EvolveCommand.self, ResetCommand.self, CheckpointCommand.self,
      TryCommand.self, TestCommand.self,
      ProduceCommand.self,
    ])

  /// As ArgumentParser's own, but that what it says goes through ``StandardStreams`` and may fail.
  static func main() {
    StandardStreams.prepare()
    var code: Int32 = 0
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      code = exitCode(for: error).rawValue
      // Help, a version, what is wrong with the arguments; nothing for an ExitCode, whose message
      // is written already.
      let text = fullMessage(for: error)
      if code == 0 && !text.isEmpty { printText(text) }
      if code != 0 { tellUsage(text, message(for: error)) }
      // The flag may be what was wrong; who wrote it reads JSON all the same.
      if code == wrongUsage && CommandLine.arguments.contains("--json") {
        let failure = Failure(code: "usage", message: message(for: error))
        if let json = try? failureReport(jobFile: nil, [failure], exitCode: processCode(code)) {
          printExact(json)
        }
      }
    }
    Glibc.exit(processCode(StandardStreams.exitCode(ofWork: code)))
  }

  /// - Parameters:
  ///   - text: Lines for a person; empty where nothing is left to say.
  ///   - message: What is wrong, in one sentence.
  private static func tellUsage(_ text: String, _ message: String) {
    if text.isEmpty { return }
    let format = LogFormat(commandLine: CommandLine.arguments)
    Log.change { $0.format = format }
    if format == .text {
      for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        printError(String(line))
      }
    } else {
      printError(message)
    }
  }

  /// A monitor knows four codes, and takes any other for a fault of its own.
  private static func processCode(_ code: Int32) -> Int32 {
    let isCheck = CommandLine.arguments.dropFirst().first == CheckCommand.configuration.commandName
    return isCheck && !(0...3).contains(code) ? Health.Status.unknown.rawValue : code
  }
}
