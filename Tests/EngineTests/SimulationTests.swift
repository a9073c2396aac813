import Simulation
import Testing

/// Histories on failing brokers and stores, with crashes at every kind of step: see ``Simulation``.
/// `make test` plays 3,000 of them with the release build besides, and `make torture` as many as
/// one likes.
@Suite("Whatever fails, whenever, the objects end up as the records say", .serialized)
struct SimulationTests {
  @Test("in seeded histories of the debug build")
  func histories() throws {
    let outcome = try Histories().play(0..<200)
    #expect(outcome.differences == [])
    #expect(outcome.crashes > 150)
    #expect(outcome.restores > 20)
    #expect(outcome.evolutions > 30)
  }

  @Test("with the publisher on a thread of its own")
  func threads() throws {
    let seeds = (0..<100).map { _ in UInt64.random(in: 0..<UInt64.max) }
    let outcome = try Histories().play(seeds, hasPublisherThread: true)
    #expect(outcome.differences == [])
    #expect(outcome.crashes > 50)
  }

  @Test("the same way for the same seed")
  func replays() throws {
    let histories = Histories()
    let (first, second) = (try histories.play(1_000..<1_040), try histories.play(1_000..<1_040))
    #expect(
      first.crashes == second.crashes && first.batches == second.batches
        && first.runs == second.runs)
  }

  @Test("and a bug that is put in on purpose is seen", arguments: Simulation.Sabotage.allCases)
  func teeth(sabotage: Simulation.Sabotage) throws {
    let outcome = try Histories().play(0..<1_500, sabotage: sabotage, untilDifference: true)
    print("\(sabotage): seen in history \(outcome.histories)")
    #expect(
      !outcome.differences.isEmpty, "\(sabotage) went unseen in \(outcome.histories) histories")
  }
}
