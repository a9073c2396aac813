import ArgumentParser
import Engine
import Jobs
import Offsets
import Reports
import Tables
import Trials

struct TryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "try",
    abstract: "Run a job on the newest messages of its topics, and print what comes of it.",
    discussion: """
      Takes the newest messages over all partitions, whatever source.start says, and does with \
      them all that a run does, in batches of the job's size. Prints every result as the job would \
      render it, and the records that were rejected, with the reasons; the rules under rejects \
      stop nothing here. Nothing is kept: the job's checkpoint and its lock are left alone, \
      nothing is published, and neither the store nor its credentials are needed.
      """)

  @Argument(
    help: ArgumentHelp("The job file; - reads it from standard input.", valueName: "job"),
    completion: .file(extensions: ["yaml", "yml"]))
  var file: String

  @OptionGroup var naming: JobNameOption

  @Option(help: "How many messages.")
  var records = 1_000

  // A value that begins with a hyphen is a wrong number, not another option.
  @Option(
    parsing: .unconditional,
    help: "Show at most this many rows of a result, as tranche show does; 0 for all.")
  var rows = 20

  @Flag(help: "Print one line of JSON, with all rows of all results.")
  var json = false

  @OptionGroup var log: LogOptions

  @OptionGroup var code: CodeOptions

  /// Of results; those of a sample are of the last minutes or hours.
  private static let shownResultCount = 10

  func validate() throws {
    try naming.validate([file])
    if !(1...1_000_000).contains(records) {
      throw ValidationError("--records takes a number from 1 to 1000000.")
    }
    if rows < 0 { throw ValidationError("--rows takes 0 or more.") }
  }

  func run() throws {
    log.apply()
    try exiting(json: failureText(json, jobFile: file)) {
      let parsed = try loadParsedJob(
        file, name: naming.name, allowsCode: code.allowCodeProperties, checksFiles: true)
      printWarnings(parsed)
      let job = parsed.job
      let sources = try makeSources(job)
      let newest = try NewestMessages.read(
        records, of: zip(job.clusters, sources).map { (cluster: $0, source: $1) })
      let messages = newest.messages.sorted {
        $0.partition == $1.partition ? $0.offset < $1.offset : $0.partition < $1.partition
      }
      let trial = try ScratchFolder.with(job) { folder in
        try Trial(
          of: job, on: messages, folder: folder, now: nowMilliseconds(),
          nanoseconds: uptimeNanoseconds, release: release)
      }
      let failures = Words().failures(trial.errors)
      let exitCode = trial.errors.first?.code.exitCode ?? 0
      let report = TrialReport(job, trial, messageCount: messages.count)
      if json {
        printExact(try report.jsonText(failures, exitCode))
      } else {
        printText(report.summary(isCutBySize: newest.isCutBySize))
        printResults(trial)
        for line in report.rejectLines { printText(line) }
      }
      for failure in failures { Log.tell(failure, exitCode: exitCode) }
      if exitCode != 0 { throw ExitCode(exitCode) }
    }
  }

  private func printResults(_ trial: Trial) {
    let shown = trial.results.suffix(Self.shownResultCount)
    if trial.results.count > shown.count {
      let count = grouped(Int64(trial.results.count - shown.count))
      printText("\nThere are \(count) earlier results; --json prints all.")
    }
    for result in shown {
      let order = result.table.shownRows(most: rows)
      let title = result.title.isEmpty ? "result" : result.title
      printText("\n\(title): \(counted(result.table.rowCount, "row"))")
      printText(
        TablePrinter(
          result.table.selecting(order), hiddenCount: result.table.rowCount - order.count,
          width: terminalWidth()
        ).text)
    }
  }
}
