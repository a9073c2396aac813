package import Checkpoints
internal import Engine
internal import Jobs

/// A job file that says something else than the state was built from.
extension Words {
  /// What a person may do about changes that keep a run from going on: the one place that knows the
  /// choices.
  func choices(for changes: [JobChange]) -> String {
    let undo = "undo the change"
    let newName =
      "give the job a new name and another output.to, for a second state beside this one"
    let startOver = "start over from source.start on: \(commands.decide(.startOver))"
    // A command ends its sentence, so that it can be copied.
    if changes.allSatisfy({ $0.effect == .evolve }) {
      let price = changes.flatMap(price)
      return "To let the change take effect from the next batch on: \(commands.decide(.evolve)). "
        + (price.isEmpty ? "" : "Then \(price.joined(separator: ", and ")). ")
        + "Or \(undo). Or \(newName). Or \(startOver)"
    }
    return "Undo the change. Or \(newName). Or \(startOver)"
  }

  /// What is not there any more when a change has taken effect, and what is not there yet.
  private func price(of change: JobChange) -> [String] {
    let evolution = change.evolution
    let (removed, added) = (evolution.removedMeasures, evolution.addedMeasures)
    return (removed.isEmpty ? [] : ["what \(list(removed)) held is dropped for good"])
      + (added.isEmpty
        ? []
        : [
          "\(list(added)) \(added.count == 1 ? "is" : "are") NULL in windows that began before"
        ])
  }

  private func list(_ measures: [String]) -> String { measures.joined(separator: ", ") }

  /// What the next run would do about a job file, a line each.
  package func lines(of verdict: ChangeVerdict) -> [String] {
    let changes = verdict.changes.map {
      "\($0): \(effect(of: $0, keepsState: verdict.evolution.new.keepsState))"
    }
    switch verdict.need {
    case .nothing: return ["it means what the checkpoint was built from; the next run goes on"]
    case .nextRun where verdict.isUntouched:
      return ["nothing was committed yet; the next run takes it as it is"]
    case .nextRun:
      return ["the next run goes on, and the changes take effect by themselves"] + changes
    case .evolve, .refused:
      return ["the next run would stop with 78"] + changes + [choices(for: verdict.refused)]
    }
  }

  private func effect(of change: JobChange, keepsState: Bool) -> String {
    switch change.effect {
    case .harmless: "changes nothing that stands"
    case .renderAgain where keepsState: "every window's object is rendered again"
    case .publishAgain where keepsState: "every window's object is published again"
    case .renderAgain, .publishAgain, .nextBatch: "takes effect with the next batch"
    case .evolve:
      (["can take effect from the next batch on"] + price(of: change)).joined(separator: "; ")
    case .reread: "what was counted would have to be read again"
    case .refuse: "what was counted cannot belong to this job"
    }
  }

  /// What ``Checkpoint/evolve`` does, or would do, a line each.
  package func evolved(_ verdict: ChangeVerdict, isDone: Bool) -> [String] {
    guard verdict.need == .evolve else { return lines(of: verdict) }
    let evolution = verdict.evolution
    let batch = "batch \(grouped(verdict.nextBatch))"
    var lines = [
      "definition \(verdict.number) \(isDone ? "takes" : "would take") effect with \(batch)"
    ]
    let windows = counted(verdict.paneCount, "window")
    lines += evolution.addedMeasures.map {
      "added: \($0). It is NULL in the \(windows) that began before"
    }
    lines += evolution.removedMeasures.map { "removed: \($0). What it held is dropped for good" }
    lines += evolution.addedFields.map { "added field: \($0)" }
    lines += evolution.removedFields.map { "removed field: \($0)" }
    if verdict.rendersAgain {
      lines.append(
        "The next run renders \(counted(verdict.windowCount, "object")) again, all with the same "
          + "columns")
    }
    return lines
  }
}
