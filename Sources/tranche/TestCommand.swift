import ArgumentParser
import Engine
import Jobs
import Reports
import Trials

struct TestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Run jobs on fixtures beside them, without a broker, and compare the results.",
    discussion: """
      The fixtures of jobs/NAME.yaml are the folders in jobs/NAME.test/. Each is a case, with its \
      messages in one of three files:

        records.csv, records.jsonl   one record a line, each a message of its own
        messages.jsonl               one JSON object a line: value, and what matters of timestamp,
                                     key, headers, topic, partition and offset

      and with what the job makes of them: the table in expected.csv, or several in \
      expected/FOLDER.csv, where FOLDER is the folder of the object, such as \
      window_start=2026-11-23T10-05-00Z; and the records that are rejected in rejects.csv. Without \
      rejects.csv none may be. A file called now holds the time of messages that do not say theirs.

      Everything goes as in a run, in batches of the job's size, but that neither the broker nor \
      the store is used: what the job file says of them may be missing from the environment. The \
      rules under rejects stop nothing. Doubles may differ by one part in 10^12.

      Exits with 1 if anything differs, and with 66 if there is nothing to test.
      """)

  @Argument(
    help: ArgumentHelp("Job files.", valueName: "job"),
    completion: .file(extensions: ["yaml", "yml"]))
  var files: [String]

  @Flag(help: "Write what comes out to the cases, as what is expected from now on.")
  var update = false

  @Flag(help: "Print one line of JSON.")
  var json = false

  @OptionGroup var code: CodeOptions

  func run() throws {
    try exiting(json: failureText(json, jobFile: files.count == 1 ? files[0] : nil)) {
      // All of them first: what is not a job is no case that fails.
      let jobs = try files.map { (file: $0, job: try self.job($0)) }
      let verdicts = try jobs.flatMap { try self.verdicts($0.job, $0.file) }
      let exitCode =
        verdicts.isEmpty
        ? noFixtures : verdicts.allSatisfy(\.isGood) ? 0 : unexpectedResults
      if json {
        printExact(try jsonLine(Report(cases: verdicts.map(\.report), exit_code: exitCode)))
      } else if !verdicts.isEmpty {
        let badCount = verdicts.count { !$0.isGood }
        printText(
          "\(counted(verdicts.count, "case")): "
            + (badCount > 0
              ? "\(badCount) not as expected" : update ? "all written" : "all as expected"))
      }
      if exitCode != 0 { throw ExitCode(exitCode) }
    }
  }

  private struct Report: Encodable {
    let cases: [FixtureVerdict.Report]
    let exit_code: Int32
  }

  private func job(_ file: String) throws -> Job {
    guard !isStandardInput(file) else {
      throw CommandError(.data, "-: a job from standard input has no fixtures beside it.")
    }
    return try loadParsedJob(
      file, allowsCode: code.allowCodeProperties, standsIn: true
    ).job
  }

  /// Tries every case of a job, and tells of each.
  private func verdicts(_ job: Job, _ file: String) throws -> [FixtureVerdict] {
    let folder = fixtureFolder(of: file)
    let cases = try FixtureFolder.cases(in: folder)
    if cases.isEmpty {
      printError(
        "\(file): there is nothing to test. Make a folder for a case, such as \(folder)/first, "
          + "with messages in \(Fixture.messageFiles.joined(separator: " or ")).")
    }
    return try cases.map { name in
      let verdict = try verdict(job, file, name, "\(folder)/\(name)")
      if !json { verdict.tell() }
      return verdict
    }
  }

  private func verdict(_ job: Job, _ file: String, _ name: String, _ folder: String) throws
    -> FixtureVerdict
  {
    var verdict = FixtureVerdict(job: file, name: name, folder: folder)
    do {
      let fixture = Fixture(files: try FixtureFolder.files(in: folder))
      let messages = try fixture.messages(for: job)
      let now = try fixture.now() ?? messages.newestTime ?? 0
      let trial = try ScratchFolder.with(job) { scratch in
        try Trial(
          of: job, on: messages.messages, folder: scratch, now: now, nanoseconds: uptimeNanoseconds,
          release: release)
      }
      verdict.trial = trial
      if !trial.errors.isEmpty {
        verdict.outcome = .failed(Words().failures(trial.errors).map(\.message))
      } else if update {
        let isChanged = try FixtureFolder.write(fixture.update(from: trial), to: folder)
        verdict.outcome = .updated(isChanged: isChanged)
      } else {
        let differences = fixture.differences(from: trial)
        verdict.outcome = differences.isEmpty ? .same : .differs(differences)
      }
    } catch let fault as Fixture.Fault {
      verdict.outcome = .failed([fault.text(folder: folder)])
    }
    return verdict
  }
}
