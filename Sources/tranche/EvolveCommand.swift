import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Reports

struct EvolveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evolve",
    abstract: "Let added and removed measures and fields take effect, without reading again.",
    discussion: """
      A run stops with 78 if the job file means something else than the state was built from. \
      Where measures were added or removed, or fields that allow NULL, this command lets the job \
      go on: they count from the next batch on.

      What was counted is not read again. So an added measure is NULL in every group of a window \
      that began before, whatever comes later, and never a part of a total. A removed measure is \
      dropped. The next run renders every window's object again; all have the same columns.

      Other changes are refused with 78, and nothing is changed. It does not wait: while a run is \
      active it exits with 75.
      """)

  @OptionGroup var job: JobOptions

  @Flag(help: "Only say what would be done. Changes nothing.")
  var dryRun = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var death: DeathOption

  func run() throws {
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let job = try self.job.load()
      let folder = try self.job.checkpointFolder(of: job)
      let words = Words(jobArguments: self.job.commandLine(of: job))
      let verdict = try dryRun ? look(job, folder) : evolve(job, folder)
      if json { return printExact(try jsonLine(Report(verdict, job, isDryRun: dryRun))) }
      let lines = words.evolved(verdict, isDone: !dryRun)
      for (index, line) in lines.enumerated() {
        printText(index == 0 ? "\(job.name): \(line)" : "  \(line)")
      }
      if dryRun && verdict.need == .evolve { printText("Nothing was changed") }
    }
  }

  private func look(_ job: Job, _ folder: String) throws -> ChangeVerdict {
    let reader = try openedReader(of: job, folder: folder)
    let verdict = try reader.verdict(on: job)
    if verdict.need == .refused {
      throw CheckpointError(.jobChanged(verdict.refused), path: reader.path)
    }
    return verdict
  }

  private func evolve(_ job: Job, _ folder: String) throws -> ChangeVerdict {
    let failpoint = death.failpoint()
    let now = nowMilliseconds()
    return try Checkpoint.evolve(
      job: job, folder: folder, holder: lockHolder(now), now: now, release: "tranche \(release)"
    ) { failpoint(.checkpointStep) }
  }

  private struct Report: Encodable {
    let job: String
    /// Whether anything was to be done, and whether it was.
    let needed, done: Bool
    let definition, first_batch: Int64?
    let added_measures, removed_measures, added_fields, removed_fields: [String]
    let windows_before, objects_rendered_again: Int64

    init(_ verdict: ChangeVerdict, _ job: Job, isDryRun: Bool) {
      self.job = job.name
      needed = verdict.need == .evolve
      done = needed && !isDryRun
      definition = needed ? verdict.number : nil
      first_batch = needed ? verdict.nextBatch : nil
      let evolution = verdict.evolution
      added_measures = needed ? evolution.addedMeasures : []
      removed_measures = needed ? evolution.removedMeasures : []
      added_fields = needed ? evolution.addedFields : []
      removed_fields = needed ? evolution.removedFields : []
      windows_before = needed ? verdict.paneCount : 0
      objects_rendered_again = verdict.rendersAgain ? verdict.windowCount : 0
    }
  }
}
