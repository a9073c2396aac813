import Jobs
import TestSupport

extension Simulation {
  /// A world in which nothing fails and nothing has happened yet: for the contracts that its fakes
  /// are held against.
  static func calm(folder: String) throws -> Simulation {
    var random = SeededRandom(seed: 1)
    let drawn = DrawnJob(&random)
    let job = try JobFile.parse(
      text: drawn.text, path: "calm.yaml", environment: [:], readFile: { _ in nil })
    let simulation = try Simulation(seed: 1, drawn: drawn, job: job, template: [:], folder: folder)
    simulation.isCalm = true
    simulation.logs = [:]
    return simulation
  }
}

extension DrawnMessage {
  /// A message of which only the bytes matter.
  init(bytes: [UInt8], timestampMilliseconds: Int64) {
    self.bytes = bytes
    self.timestampMilliseconds = timestampMilliseconds
  }
}
