import Engine
import Foundation
import Offsets
import Simulation
import TestSupport

/// A small topic on the real broker whose messages' times are known. Many histories read it.
struct KnownTopic: Sendable {
  let name = uniqueName("history")
  /// Milliseconds since 1970 UTC of every message, by partition.
  let times: [[Int64]]
  private let values: [[String]]
  /// The oldest offset that the broker holds, by partition.
  private let lows: [Offset]

  static let start = Int64(Scenario.start)
  static let spanSeconds = 720

  /// - Parameter isCut: Whether the oldest messages are removed before anybody reads them.
  init(_ random: inout SeededRandom, isCut: Bool) {
    var values: [[String]] = []
    times = (0..<3).map { _ in
      let count = Int.random(in: 12...36, using: &random)
      values.append(
        (0..<count).map { _ in
          "\(Int.random(in: 0...4, using: &random)),\(Int.random(in: -5...50, using: &random))\n"
        })
      return (0..<count).map { number in
        let second = number * Self.spanSeconds / count + Int.random(in: 0...20, using: &random)
        return Self.start + Int64(second) * 1_000
      }
    }
    self.values = values
    lows = times.map { isCut ? Offset.random(in: 1...Offset($0.count / 2), using: &random) : 0 }
  }

  /// What makes it, in the words of `kafka_tool.py`.
  var operations: [[String: any Sendable]] {
    var operations: [[String: any Sendable]] = [
      ["op": "create", "topic": name, "partitions": times.count]
    ]
    for (partition, times) in times.enumerated() {
      for (time, value) in zip(times, values[partition]) {
        operations.append([
          "op": "produce", "topic": name, "partition": partition, "value": value,
          "timestamp": Int(time),
        ])
      }
    }
    for (partition, low) in lows.enumerated() where low > 0 {
      operations.append([
        "op": "delete_records", "topic": name, "partition": partition, "before": Int(low),
      ])
    }
    return operations
  }

  var partitions: [PartitionID] {
    times.indices.map { PartitionID(source: "main", topic: name, partition: Int32($0)) }
  }

  var ends: [PartitionID: Offset] {
    Dictionary(uniqueKeysWithValues: partitions.map { ($0, Offset(times(of: $0).count)) })
  }

  func low(_ partition: PartitionID) -> Offset { lows[Int(partition.partition)] }

  /// The first offset whose message is of an instant or later; the end where none is.
  func firstOffset(at milliseconds: Int64, of partition: PartitionID) -> Offset {
    let times = times(of: partition)
    let held = times.indices.dropFirst(Int(low(partition)))
    return Offset(held.first { times[$0] >= milliseconds } ?? times.count)
  }

  private func times(of partition: PartitionID) -> [Int64] { times[Int(partition.partition)] }
}

/// What a person or a timer does to a job.
enum JobCommand {
  case run(batches: Int?)
  case backfill(BackfillWish, goesFirst: Bool)
  case cancel(Int64)
  case skip(PartitionRange)

  /// How it ended.
  enum Ending { case well, refused, died }
}

/// Carries out commands of one job, in a folder of its own.
protocol CommandPerformer: AnyObject {
  /// Below it: the checkpoint and the objects.
  var folder: TemporaryFolder { get }
  /// Up to where the job sees each log now.
  var ends: [PartitionID: Offset] { get }
  /// Messages that came meanwhile are seen from now on.
  func grow(_ random: inout SeededRandom)
  /// - Parameter step: The durable step at which the process dies; nil where it lives.
  func perform(_ command: JobCommand, dyingAt step: Int?) throws -> JobCommand.Ending
}

/// One random history of a job: runs, backfills, skips, cancels and deaths. The test's own account
/// of it is held against the checkpoint after every command.
struct BackfillHistory {
  struct Tally {
    var histories = 0, commands = 0, deaths = 0, cancels = 0, batches = 0
    /// Each begins with its seed.
    var problems: [String] = []

    mutating func add(_ other: Tally) {
      histories += other.histories
      commands += other.commands
      deaths += other.deaths
      cancels += other.cancels
      batches += other.batches
      problems += other.problems
    }
  }

  private let topic: KnownTopic
  private let performer: any CommandPerformer
  private var random: SeededRandom
  private var account: Account
  private var claim = Claim.none
  private var lastWish: BackfillWish?
  private(set) var tally = Tally(histories: 1)
  private(set) var commands: [String] = []

  init(
    _ topic: KnownTopic, _ performer: any CommandPerformer, start: Account.Start,
    random: SeededRandom
  ) {
    self.topic = topic
    self.performer = performer
    self.random = random
    account = Account(start: start)
  }

  /// Of `source.start`, where it is a time.
  static let startTime = KnownTopic.start + 360_000

  /// - Returns: What is wrong with the checkpoint, or nil.
  mutating func play() throws -> String? {
    for partition in topic.partitions {
      let end = performer.ends[partition] ?? 0
      account.answered(
        partition,
        .init(
          low: topic.low(partition), end: end,
          atStartTime: min(end, topic.firstOffset(at: Self.startTime, of: partition))))
    }
    account.becameDurable()
    if let problem = try perform(.run(batches: 1), mayDie: false) { return problem }
    for _ in 0..<Int.random(in: 4...9, using: &random) {
      performer.grow(&random)
      let command = draw()
      // A backfill that lives is done at its end, and nothing is left to cancel.
      var isBackfill = false
      if case .backfill = command { isBackfill = true }
      if let problem = try perform(command, mayDie: chance(isBackfill ? 80 : 50)) {
        return problem
      }
    }
    if let problem = try perform(.run(batches: nil), mayDie: false) { return problem }
    // What died at its last step may have left an object to publish.
    if let problem = try perform(.run(batches: nil), mayDie: false) { return problem }
    if let open = claim.backfills.first(where: { $0.state == "open" }) {
      return "backfill \(open.number) is still open"
    }
    for (partition, end) in performer.ends where claim.partitions[partition]?.next != end {
      return "\(partition): progress is \(claim.partitions[partition]?.next ?? -1) of \(end)"
    }
    return nil
  }

  /// What the job has to have counted in the end: what lies between start and end and was not
  /// skipped, and what was backfilled.
  var counted: [PartitionID: OffsetRangeSet] {
    Dictionary(
      uniqueKeysWithValues: performer.ends.map { partition, end in
        let start = account.starts[partition] ?? 0
        let live = OffsetRangeSet([OffsetRange(from: start, to: end)])
          .subtracting(OffsetRangeSet(account.skipped[partition] ?? []))
        let asked = (account.asked[partition] ?? []).map { OffsetRange(from: $0, to: $0 + 1) }
        return (partition, live.union(OffsetRangeSet(asked)))
      })
  }

  // MARK: - Drawing

  private mutating func chance(_ percent: Int) -> Bool {
    Int.random(in: 0..<100, using: &random) < percent
  }

  private mutating func draw() -> JobCommand {
    let open = claim.backfills.filter { $0.state == "open" }.map(\.number)
    if let number = open.randomElement(using: &random), chance(35) { return .cancel(number) }
    switch Int.random(in: 0...11, using: &random) {
    case 0, 1: return .run(batches: nil)
    case 2: return .run(batches: Int.random(in: 1...3, using: &random))
    case 3: return .cancel(Int64.random(in: 1...Int64(claim.backfills.count + 1), using: &random))
    case 4:
      let partition = topic.partitions.randomElement(using: &random) ?? topic.partitions[0]
      let next = claim.partitions[partition]?.next ?? 0
      let from = max(0, next + Offset.random(in: -2...6, using: &random))
      return .skip(
        PartitionRange(
          partition,
          OffsetRange(from: from, to: from + Offset.random(in: 1...3, using: &random))))
    case 5: return .backfill(.gaps, goesFirst: chance(30))
    case 6: return .backfill(.beforeStart, goesFirst: chance(30))
    case 7, 8: return .backfill(drawTimes(), goesFirst: chance(30))
    case 9 where lastWish != nil:
      return .backfill(lastWish ?? .gaps, goesFirst: chance(30))
    default:
      let ranges = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        let partition = topic.partitions.randomElement(using: &random) ?? topic.partitions[0]
        let from = Offset.random(in: 0...38, using: &random)
        return PartitionRange(
          partition, OffsetRange(from: from, to: from + Offset.random(in: 1...20, using: &random)))
      }
      lastWish = .ranges(ranges)
      return .backfill(.ranges(ranges), goesFirst: chance(30))
    }
  }

  private mutating func drawTimes() -> BackfillWish {
    let one = KnownTopic.start + Int64.random(in: 0...760, using: &random) * 1_000
    let other = KnownTopic.start + Int64.random(in: 0...760, using: &random) * 1_000
    if one == other || chance(30) {
      return chance(50) ? .times(from: one, to: nil) : .times(from: nil, to: one)
    }
    return .times(from: min(one, other), to: max(one, other))
  }

  // MARK: - Judging

  private mutating func perform(_ command: JobCommand, mayDie: Bool) throws -> String? {
    let step = mayDie ? Int.random(in: 1...stepLimit(command), using: &random) : nil
    commands.append("\(command)" + (step.map { ", dying at step \($0)" } ?? ""))
    let ending = try performer.perform(command, dyingAt: step)
    let before = claim
    claim = try Claim(path: performer.folder.path + "/checkpoints/job.sqlite")
    tally.commands += 1
    tally.batches += claim.batches.count - before.batches.count
    if ending == .died { tally.deaths += 1 }
    if let problem = note(command, ending, before) { return problem }
    return account.difference(from: claim, maxOffsets: .max)
  }

  /// Few steps come before those that matter where a person decides.
  private func stepLimit(_ command: JobCommand) -> Int {
    switch command {
    case .run: 18
    case .backfill: 10
    case .cancel, .skip: 4
    }
  }

  /// Tells the account what the command was meant to do, if the checkpoint shows that it got there.
  private mutating func note(
    _ command: JobCommand, _ ending: JobCommand.Ending, _ before: Claim
  ) -> String? {
    var isRefused = false
    var isDone = true
    switch command {
    case .run: break
    case .backfill(let wish, _):
      let isStored = claim.backfills.count > before.backfills.count
      let taken = taken(wish, before)
      if isStored { account.ask(Int64(claim.backfills.count), taken) }
      if ending == .well && !isStored && !taken.isEmpty { return "\(taken) was asked for" }
    case .cancel(let number):
      let open = before.backfills.first { $0.number == number && $0.state == "open" }
      isRefused = open == nil
      isDone = claim.backfills.contains { $0.number == number && $0.state == "cancelled" }
      if let open, isDone {
        account.cancel(number, left: open.left)
        tally.cancels += 1
      }
    case .skip(let gap):
      let next = before.partitions[gap.partition]?.next ?? 0
      let gaps = before.gaps.map(\.range).filter { $0.partition == gap.partition }
      isRefused =
        gap.from < next || gap.to > performer.ends[gap.partition] ?? 0
        || gaps.contains { $0.from < gap.to && gap.from < $0.to }
      isDone = claim.gaps.count > before.gaps.count
      if isDone { account.skip(gap) }
    }
    switch ending {
    case .well where isRefused || !isDone: return "\(command) ended well, and cannot be done"
    case .refused where !isRefused: return "\(command) was refused"
    default: return nil
    }
  }

  /// What the person means, without the product's account of it.
  private func taken(_ wish: BackfillWish, _ before: Claim) -> Account.Offsets {
    var ranges: [PartitionRange] = []
    func add(_ partition: PartitionID, _ from: Offset, _ to: Offset) {
      if from < to { ranges.append(PartitionRange(partition, OffsetRange(from: from, to: to))) }
    }
    switch wish {
    case .ranges(let wanted): ranges = wanted
    case .gaps: ranges = before.gaps.map(\.range)
    case .beforeStart:
      for (partition, progress) in before.partitions { add(partition, 0, progress.start) }
    case .times(let from, let to):
      for partition in topic.partitions {
        add(
          partition, from.map { topic.firstOffset(at: $0, of: partition) } ?? 0,
          to.map { topic.firstOffset(at: $0, of: partition) } ?? .max)
      }
    }
    return account.taken(ranges, of: before) {
      topic.low($0)..<max(topic.low($0), performer.ends[$0] ?? 0)
    }
  }
}
