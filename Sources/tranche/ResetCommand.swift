import ArgumentParser
import Checkpoints
import Engine
import Glibc
import Jobs
import Reports

struct ResetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reset",
    abstract: "Start over: put a job's state aside, and read its topics anew.",
    discussion: """
      The next run reads from source.start on, and replaces the objects of every window that it \
      meets. It may write to the same destination. Records that the brokers no longer hold are \
      not counted again.

      Asks a second time: on a terminal for the job's name, elsewhere with --confirm NAME. It \
      does not wait: while a run is active it exits with 75. The old state is put beside the new \
      one and never deleted.

      Objects of the old state stay where the new one does not write them: windows that are older \
      than what the brokers hold, or batches with higher numbers. With --delete-objects, the \
      first run that reads to the end and publishes everything deletes those that the new state \
      has not written.
      """)

  @OptionGroup var job: JobOptions

  @Option(help: ArgumentHelp("The job's name, to say that this is meant.", valueName: "name"))
  var confirm: String?

  @Flag(help: "Delete the objects of the old state that the new one does not write again.")
  var deleteObjects = false

  @OptionGroup var death: DeathOption

  func run() throws {
    let failpoint = death.failpoint()
    try exiting(job) {
      let job = try self.job.load()
      let folder = try self.job.checkpointFolder(of: job)
      try confirmTwice(job, folder)
      let now = nowMilliseconds()
      let state = try Checkpoint.reset(
        job: job, folder: folder, deletesObjects: deleteObjects, holder: lockHolder(now), now: now,
        release: "tranche \(release)"
      ) { failpoint(.checkpointStep) }
      printText(
        "\(job.name): the next run starts over, from source.start on. The old state is now "
          + "\(state.path): delete it when nobody needs it any more")
      printText(objects(of: state, job))
    }
  }

  private func objects(of state: ResetState, _ job: Job) -> String {
    guard let place = state.place else {
      return "The old state is damaged, and does not tell whose the destination is. Let the new "
        + "one take it over: tranche resolve \(self.job.commandLine(of: job)) --adopt"
    }
    let objects =
      state.objectCount == 1 ? "1 object" : "\(grouped(Int64(state.objectCount))) objects"
    if state.objectCount == 0 { return "The old state published nothing" }
    return deleteObjects
      ? "\(objects) at \(place): the next run replaces those that it writes again. The others are "
        + "deleted when a run has read and published everything"
      : "\(objects) at \(place): the next run replaces those that it writes again. Delete the "
        + "others by hand where they no longer count"
  }

  /// - Throws: `ExitCode` where the second answer is another, or there is none.
  private func confirmTwice(_ job: Job, _ folder: String) throws {
    let path = Checkpoint.path(ofJob: job.name, folder: folder)
    var answer = confirm
    if answer == nil && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 {
      printProgress(
        "This puts the state of \(job.name) aside (\(path)) and reads its topics anew.\n"
          + "Type the job's name to go on: ")
      answer = readLine() ?? ""
    }
    if answer == job.name { return }
    let problem =
      answer.map { "\"\($0)\" is not the job's name, \(job.name)" }
      ?? "\(job.name): this puts the state aside (\(path)) and reads the topics anew"
    let message =
      "\(problem). Nothing was changed. If that is meant: tranche reset "
      + "\(self.job.commandLine(of: job)) --confirm \(job.name)"
    printError(message, words: "tranche: \(message)")
    throw ExitCode(wrongUsage)
  }
}
