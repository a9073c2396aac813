import Checkpoints
import Foundation
import Jobs
import TestSupport

/// Plays many histories and gathers what they came to. Each draws its job, its world and its faults
/// from its seed.
package final class Histories {
  package struct Outcome: Sendable {
    package var histories = 0, runs = 0, crashes = 0, batches = 0
    /// Of backfills that were asked for, and of decisions about replaced logs.
    package var backfills = 0, decisions = 0
    /// Copies that went on.
    package var restores = 0
    /// Changes of what the job means.
    package var evolutions = 0
    /// Windows, at the end of histories.
    package var evicted = 0
    /// Each begins with the seed that shows it.
    package var differences: [String] = []

    package init() {}

    package mutating func add(_ other: Outcome) {
      histories += other.histories
      runs += other.runs
      crashes += other.crashes
      batches += other.batches
      backfills += other.backfills
      decisions += other.decisions
      restores += other.restores
      evolutions += other.evolutions
      evicted += other.evicted
      differences += other.differences
    }
  }

  /// A job and the files of its checkpoint before the first run, which histories copy instead of
  /// making them anew.
  private struct Template {
    let drawn: DrawnJob
    let job: Job
    let files: [String: Data]

    init(_ number: UInt64, folder: String) throws {
      var random = SeededRandom(seed: number)
      // A copy that goes on finds what another state has decided of late records: not played yet.
      var drawn = DrawnJob(&random, mayRefuseLate: !Simulation.isMoved(number))
      // The objects of evicted windows stay as they were: not played together yet.
      if Simulation.evolves(number) { drawn.lateness?.retentionMilliseconds = nil }
      self.drawn = drawn
      job = try JobFile.parse(
        text: drawn.text, path: "simulated.yaml", environment: [:], readFile: { _ in nil })
      do { _ = try Checkpoint(job: job, folder: folder, holder: "template", now: 0, release: "0") }
      var files: [String: Data] = [:]
      for name in ["\(job.name).sqlite", "\(job.name).sqlite-wal"] {
        files[name] = FileManager.default.contents(atPath: "\(folder)/\(name)")
      }
      self.files = files
    }
  }

  /// Checkpoints in memory: what is simulated is the death of the process, which keeps what the
  /// kernel holds.
  private static func folder() -> String { "/dev/shm/tranche-simulation-\(UUID().uuidString)" }

  /// So many different jobs are drawn; each is played by many histories.
  private static let jobCount: UInt64 = 1_000
  private var templates: [UInt64: Template] = [:]

  package init() {}

  private func template(_ number: UInt64) throws -> Template {
    if let known = templates[number] { return known }
    let folder = Self.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let template = try Template(number, folder: folder)
    templates[number] = template
    return template
  }

  /// - Parameters:
  ///   - untilDifference: Whether the first difference is enough.
  ///   - hasPublisherThread: Whether the publisher has a thread, as in the product: then no seed
  ///     replays.
  package func play(
    _ seeds: some Sequence<UInt64>, sabotage: Simulation.Sabotage? = nil,
    untilDifference: Bool = false,
    hasPublisherThread: Bool = false
  ) throws -> Outcome {
    var outcome = Outcome()
    for seed in seeds {
      let template = try template(seed % Self.jobCount)
      let folder = Self.folder()
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let simulation = try Simulation(
        seed: seed, drawn: template.drawn, job: template.job, template: template.files,
        folder: folder, sabotage: sabotage,
        hasPublisherThread: hasPublisherThread)
      if let difference = try Self.difference(simulation) {
        outcome.differences.append("seed \(seed): \(difference)")
      }
      outcome.histories += 1
      outcome.runs += simulation.runCount
      outcome.crashes += simulation.crashCount
      outcome.batches += simulation.batchCount
      outcome.backfills += simulation.backfillCount
      outcome.decisions += simulation.decisionCount
      outcome.evolutions += simulation.evolutionCount
      outcome.evicted += simulation.evictedCount
      outcome.restores += simulation.moves?.restoreCount ?? 0
      if untilDifference && !outcome.differences.isEmpty { break }
    }
    return outcome
  }

  /// What differs at the end of a history, or is wrong with the checkpoint at the start of a run.
  private static func difference(_ simulation: Simulation) throws -> String? {
    do { return try simulation.play() } catch let error as CheckpointError {
      return error.description
    }
  }

  /// The job that a history plays, as a job file.
  package func jobText(ofSeed seed: UInt64) throws -> String {
    try template(seed % Self.jobCount).drawn.text
  }
}
