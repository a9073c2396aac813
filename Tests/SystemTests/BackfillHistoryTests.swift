import Foundation
import Offsets
import Simulation
import Synchronization
import TestSupport
import Testing

/// Random histories on the real broker, a real SQLite file and real objects: live runs, backfills
/// of every kind, skips and cancels, each of which may die at any durable step.
///
/// Every history ends with the state and the objects of one clean pass over what it has to have
/// counted: a job of its own that starts at the beginning, passes over everything else, and reads
/// the rest in one run. `Account` says after each command what the checkpoint has to hold.
/// `TRANCHE_HISTORY_SEED=N` plays one history alone.
@Suite("Whatever runs, backfills, cancels and deaths come in whatever order")
struct BackfillHistoryTests {
  private static let topicCount = 6

  private static let chosenSeed = ProcessInfo.processInfo.environment["TRANCHE_HISTORY_SEED"]
    .flatMap(UInt64.init)

  private static func topics(_ stack: TestStack) throws -> [KnownTopic] {
    var random = SeededRandom(seed: 15)
    let topics = (0..<topicCount).map { KnownTopic(&random, isCut: $0 % 3 == 2) }
    try stack.kafka(stack.broker, topics.flatMap(\.operations))
    return topics
  }

  /// Plays the histories of some seeds, as many at once as there are processors.
  private func play(
    _ seeds: Range<UInt64>,
    performer:
      @escaping (TestStack, KnownTopic, Account.Start, Int, SeededRandom) throws ->
      any CommandPerformer
  ) throws -> BackfillHistory.Tally {
    let stack = try TestStack()
    let topics = try Self.topics(stack)
    let seeds = Self.chosenSeed.map { [$0] } ?? Array(seeds)
    let passes = CleanPasses(stack)
    let total = Mutex(BackfillHistory.Tally())
    withoutActuallyEscaping(performer) { performer in
      nonisolated(unsafe) let performer = performer
      DispatchQueue.concurrentPerform(iterations: seeds.count) { index in
        let seed = seeds[index]
        var random = SeededRandom(seed: seed)
        let topic = topics[Int(seed) % topics.count]
        let start = Account.Start.allCases[Int(seed / 6) % 3]
        let maxOffsets = Int.random(in: 4...40, using: &random)
        var tally = BackfillHistory.Tally(histories: 1)
        var commands: [String] = []
        var problem: String?
        do {
          let performer = try performer(stack, topic, start, maxOffsets, random)
          var history = BackfillHistory(topic, performer, start: start, random: random)
          do {
            problem = try history.play()
            if problem == nil {
              problem = try passes.difference(performer, topic, counted: history.counted)
            }
          } catch { problem = "\(error)" }
          (tally, commands) = (history.tally, history.commands)
        } catch { problem = "\(error)" }
        if let problem {
          let text = commands.joined(separator: "; ")
          tally.problems = ["seed \(seed), max_offsets \(maxOffsets): \(problem), after \(text)"]
        }
        total.withLock { [tally] in $0.add(tally) }
      }
    }
    return total.withLock { $0 }
  }

  private func check(_ tally: BackfillHistory.Tally, _ name: String) {
    #expect(
      tally.problems.isEmpty,
      "\(tally.problems.count): \(tally.problems.prefix(3).joined(separator: "\n"))")
    print(
      "\(name): \(tally.histories) histories of \(tally.commands) commands, \(tally.deaths) of "
        + "them killed, \(tally.cancels) cancels, \(tally.batches) batches")
  }

  @Test("the engine ends with the objects and the state of one clean pass")
  func engine() throws {
    let tally = try play(0..<240) { stack, topic, start, maxOffsets, random in
      try EnginePerformer(stack, topic, start: start, maxOffsets: maxOffsets, random: random)
    }
    check(tally, "backfill histories of the engine")
    if Self.chosenSeed != nil { return }
    #expect(tally.histories == 240 && tally.commands > 2_000 && tally.deaths > 400)
    #expect(tally.cancels > 30 && tally.batches > 1_000)
  }

  @Test("the shipped binary ends with the objects and the state of one clean pass")
  func binary() throws {
    let tally = try play(0..<32) { stack, topic, start, maxOffsets, _ in
      try ShippedPerformer(stack, topic, start: start, maxOffsets: maxOffsets)
    }
    check(tally, "backfill histories of the binary")
    if Self.chosenSeed != nil { return }
    #expect(tally.histories == 32 && tally.commands > 250 && tally.deaths > 40)
    #expect(tally.cancels > 2)
  }
}

/// What one clean pass over some offsets of a topic comes to; made once for each.
private final class CleanPasses: Sendable {
  private struct Pass { let objects: [String: Data], content: String }
  private let stack: TestStack
  private let known = Mutex<[String: Pass]>([:])

  init(_ stack: TestStack) { self.stack = stack }

  func difference(
    _ performer: any CommandPerformer, _ topic: KnownTopic, counted: [PartitionID: OffsetRangeSet]
  ) throws -> String? {
    // The last log of a history may be short of the topic's.
    let key = performer.ends.sorted { $0.key < $1.key }.map { partition, end in
      "\(partition) \(end) \(counted[partition] ?? OffsetRangeSet())"
    }.joined()
    let pass = try known.withLock { $0[key] } ?? make(performer.ends, topic, counted: counted)
    known.withLock { $0[key] = pass }
    let content = try HistoryJob.content(performer.folder)
    if content != pass.content { return "the state is \(content) and not \(pass.content)" }
    let objects = performer.folder.files(below: "out")
    if objects == pass.objects { return nil }
    let keys = Set(objects.keys).union(pass.objects.keys).sorted()
    return "other objects: \(keys.filter { objects[$0] != pass.objects[$0] })"
  }

  private func make(
    _ ends: [PartitionID: Offset], _ topic: KnownTopic, counted: [PartitionID: OffsetRangeSet]
  ) throws -> Pass {
    let clean = try EnginePerformer(
      stack, topic, start: .earliest, maxOffsets: 1_000, ends: ends, random: SeededRandom(seed: 0))
    try clean.passOver(everythingBut: counted)
    return Pass(
      objects: clean.folder.files(below: "out"), content: try HistoryJob.content(clean.folder))
  }
}
