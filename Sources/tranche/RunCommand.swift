import ArgumentParser
import Engine

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Publish unpublished results, then take batches up to the topics' ends.",
    discussion: """
      A run ends at the topics' ends that it saw at its start; later messages wait for the \
      next run. With --batches 1 each run takes one batch of at most trigger.max_offsets \
      offsets; with --max-duration 50s it begins no batch after 50 seconds, and publishes what \
      it has committed. A job has one run at a time: a second one exits at once with code 75.

      For cron: --quiet prints nothing but errors and warnings about the run. It also keeps \
      silent where another run is active; the exit code is 75 all the same, and \
      `tranche check` notices a run that hangs.

      On the first SIGTERM or SIGINT the run abandons the uncommitted batch, spends up to \
      --grace seconds publishing committed results, then exits by that signal. A second signal \
      ends it at once.
      """)

  @OptionGroup var job: JobOptions

  @Option(name: .customLong("batches"), help: "Take at most this many batches.")
  var maxBatches: Int?

  @OptionGroup var options: RunFlags

  @Option(help: "The permissions of a new checkpoint's files; existing files keep theirs.")
  var mode = FileMode.owner

  func validate() throws {
    if let maxBatches, maxBatches < 1 {
      throw ValidationError("--batches takes a number of at least 1.")
    }
  }

  func run() throws {
    try options.exiting(job) { job, started in
      let failpoint = options.death.failpoint()
      let checkpoint = try openCheckpoint(
        job, folder: try self.job.checkpointFolder(of: job), mode: mode
      ) {
        failpoint(.checkpointStep)
      }
      let logger = makeLogger()
      try options.execute(
        job, checkpoint, sources: try makeSources(job, logger),
        maxBatches: maxBatches, failpoint, started: started, logger,
        commandLine: self.job.commandLine(of: job))
    }
  }
}
