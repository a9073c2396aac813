import Checkpoints
import Foundation
import Jobs
import TestSupport

/// The definitions that a job of a history has had, as a person changed its file.
struct Definitions {
  /// What a file says, and the first batch that could be of it; ascending.
  private(set) var all: [(firstBatch: Int64, job: DrawnJob)]

  init(_ job: DrawnJob) { all = [(1, job)] }

  var newest: DrawnJob { all[all.count - 1].job }

  mutating func take(_ job: DrawnJob, from batch: Int64) {
    if batch == 1 { all = [] }
    all.append((batch, job))
  }

  /// Up to the one of a batch, oldest first.
  func upTo(_ batch: Int64) -> [DrawnJob] {
    all.filter { $0.firstBatch <= batch }.map(\.job)
  }
}

extension DrawnJob {
  /// Whether a measure of the newest of some definitions is in all of the last ones, from a number
  /// on, and was counted there without a break.
  static func isWhole(_ measure: Measure, in definitions: ArraySlice<DrawnJob>) -> Bool {
    definitions.allSatisfy { $0.measures.contains(measure) }
  }

  /// The same job with other measures: one more, one less, or one that means something else under
  /// its name. Nil where the job has none.
  func evolved(_ random: inout SeededRandom) -> DrawnJob? {
    guard window != nil else { return nil }
    var job = self
    // The second is `total`, which `share` is computed of; the first is `calls`.
    switch Int.random(in: 0..<4, using: &random) {
    case 0 where job.measures.count > 2:
      job.measures.remove(at: Int.random(in: 2..<job.measures.count, using: &random))
    case 1:
      let functions: [Function] = [.sum, .min, .max, .count]
      let others = functions.filter { $0 != job.measures[1].function }
      job.measures[1].function = others.randomElement(using: &random) ?? .count
    default:
      let name = "e\(Int.random(in: 1...3, using: &random))"
      guard !job.measures.contains(where: { $0.name == name }) else { return nil }
      let place = Int.random(in: 2...job.measures.count, using: &random)
      guard let measure = drawMeasure(name, &random) else { return nil }
      job.measures.insert(measure, at: place)
    }
    // Nothing of a window that never ends may begin later.
    let added = job.measures.filter { !measures.contains($0) }
    return window == .global && !added.isEmpty ? nil : job
  }
}

extension Simulation {
  /// Whose job changes its meaning between runs.
  static func evolves(_ seed: UInt64) -> Bool { seed % 4 == 2 && !isMoved(seed) }

  /// A person changes the measures in the job file. A job with state is refused until it was let
  /// evolve, which may die at any step and is then asked for again.
  func evolve() throws -> String? {
    guard evolves, definitions.all.count < 4,
      let next = definitions.newest.evolved(&evolutionRandom)
    else { return nil }
    let changed = try JobFile.parse(
      text: next.text, path: "simulated.yaml", environment: [:], readFile: { _ in nil }
    ).with(maxOffsets: job.maxOffsets, publish: job.output.publish)
    let batch = try claim().newestBatch + 1
    if next.window != .batch && batch > 1 {
      do {
        waitForLock()
        _ = try Checkpoint(job: changed, folder: folder, holder: "early", now: 0, release: "0")
        return "a run took a job that has to evolve first"
      } catch {
        guard case .jobChanged = error.code else { return "a changed job failed with \(error)" }
      }
      if let problem = try letEvolve(changed) { return problem }
    }
    evolutionCount += 1
    definitions.take(next, from: batch)
    job = changed
    return nil
  }

  private func letEvolve(_ changed: Job) throws -> String? {
    nonisolated(unsafe) let simulation = self
    stepsToCrash = Int.random(in: 0...2, using: &evolutionRandom)
    if stepsToCrash == 0 { stepsToCrash = .max }
    snapshot = nil
    account.beginRun()
    var asked = try Checkpoint.evolve(
      job: changed, folder: folder, holder: "evolve", now: 0, release: "0",
      step: { simulation.durableStep() })
    if asked.need != .evolve { return "evolve found \(asked.need)" }
    stepsToCrash = .max
    if let snapshot {
      try restore(snapshot)
      asked = try Checkpoint.evolve(
        job: changed, folder: folder, holder: "evolve", now: 0, release: "0")
    } else {
      // The same again changes nothing.
      asked = try Checkpoint.evolve(
        job: changed, folder: folder, holder: "evolve", now: 0, release: "0")
      if asked.need.isRefused { return "evolve, asked for again, found \(asked.need)" }
    }
    return nil
  }
}

extension ChangeVerdict.Need {
  fileprivate var isRefused: Bool { self == .evolve || self == .refused }
}
