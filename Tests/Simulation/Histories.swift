import Checkpoints
import Foundation
import Jobs

/// Plays many histories and gathers what they came to.
package struct Histories: Sendable {
  package struct Outcome: Sendable {
    package var histories = 0, runs = 0, crashes = 0, batches = 0
    /// Each begins with the seed that shows it.
    package var differences: [String] = []

    package init() {}

    package mutating func add(_ other: Outcome) {
      histories += other.histories
      runs += other.runs
      crashes += other.crashes
      batches += other.batches
      differences += other.differences
    }
  }

  private static let aggregate = """
    window: { tumbling: 1m }
    where: v >= 0
    aggregate: { by: [k], measures: { calls: count(), total: sum(v) } }
    select: { share: 100.0 * total / sum(total) OVER () }
    output: { to: "file:out", format: csv }
    """
  private static let global = aggregate.replacing("{ tumbling: 1m }", with: "global")
  private static let rows = """
    where: v >= 0
    select: { share: 100.0 * v / sum(v) OVER () }
    output: { to: "file:out", format: csv, keep: each }
    """

  private static func job(_ rest: String) throws -> Job {
    try JobFile.parse(
      text: """
        name: simulated
        source:
          kafka:
            - { name: one, properties: { bootstrap.servers: "x:1" }, topics: [a] }
            - { name: two, properties: { bootstrap.servers: "x:1" }, topics: [b] }
          on_data_loss: skip
          format: csv
          fields: { id: int64, k: int32, v: int32 }
        \(rest)
        rejects: { policy: quarantine, max_share: 100% }
        """, path: "simulated.yaml", environment: [:], readFile: { _ in nil })
  }

  /// A job and the files of its checkpoint before the first run, which every history copies instead of making them anew.
  private struct Template: Sendable {
    let job: Job
    let files: [String: Data]

    init(_ rest: String, folder: String) throws {
      job = try Histories.job(rest)
      do { _ = try Checkpoint(job: job, folder: folder, holder: "template", now: 0, release: "0") }
      var files: [String: Data] = [:]
      for name in ["\(job.name).sqlite", "\(job.name).sqlite-wal"] {
        files[name] = FileManager.default.contents(atPath: "\(folder)/\(name)")
      }
      self.files = files
    }
  }

  /// Checkpoints in memory: what is simulated is the death of the process, which keeps what the kernel holds.
  private static func folder() -> String { "/dev/shm/tranche-simulation-\(UUID().uuidString)" }

  private let templates: [Template]

  /// Three histories of windows to one of rows.
  package init() throws {
    templates = try [Self.aggregate, Self.global, Self.aggregate, Self.rows].map { rest in
      let folder = Self.folder()
      defer { try? FileManager.default.removeItem(atPath: folder) }
      return try Template(rest, folder: folder)
    }
  }

  /// - Parameter untilDifference: Whether the first difference is enough.
  package func play(
    _ seeds: some Sequence<UInt64>, sabotage: Simulation.Sabotage? = nil, untilDifference: Bool = false
  ) throws -> Outcome {
    var outcome = Outcome()
    for seed in seeds {
      let template = templates[Int(seed % UInt64(templates.count))]
      let folder = Self.folder()
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let simulation = try Simulation(seed: seed, job: template.job, template: template.files, folder: folder, sabotage: sabotage)
      if let difference = try simulation.play() { outcome.differences.append("seed \(seed): \(difference)") }
      outcome.histories += 1
      outcome.runs += simulation.runCount
      outcome.crashes += simulation.crashCount
      outcome.batches += simulation.batchCount
      if untilDifference && !outcome.differences.isEmpty { break }
    }
    return outcome
  }
}
