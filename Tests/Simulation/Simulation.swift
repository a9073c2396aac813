import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import Logging
import ObjectStorage
import Offsets
import Synchronization
import TestSupport

/// One history of a job: runs on a broker and a store that fail as the script says, with crashes
/// anywhere, on a real SQLite file.
///
/// The engine is the product's; only its two ports are fakes. A crash is a copy of the checkpoint's
/// files, of the store and of the account at one instant: the run goes on, and what it did
/// afterwards is thrown away. Seeded histories publish in the run's own thread, so that they replay
/// exactly; the others publish beside it, as the product does.
package final class Simulation {
  /// A bug put in on purpose, to show that the harness sees it.
  package enum Sabotage: CaseIterable, Sendable {
    /// A message that was lent is lent again.
    case readsOneOffsetTwice
    /// The store is believed before it has the bytes.
    case marksCleanBeforeThePut
    /// The newest revision of an object that is waiting is forgotten in favour of an older one.
    case coalescingDropsTheNewest
    /// A crash leaves state that is committed without its progress.
    case progressInASecondTransaction
    /// A crash leaves progress that is committed without its state.
    case progressBeforeState
    /// A run looks up the start offset again.
    case startResolvedAgain
    /// An object whose writing got no clear answer is never asked for.
    case neverSettles
    /// Lost offsets are passed over without a gap.
    case lossWithoutGap
    /// A message that a reader got twice is folded twice.
    case duplicatesAreCounted
    /// A crash leaves a backfill request that is called done.
    case backfillIsForgotten
    /// A crash leaves offsets that are backfilled, and nobody knows.
    case backfilledRangesAreForgotten
    /// A crash leaves nothing by which a log could be told from another.
    case fingerprintsAreForgotten
    /// A restored state takes the place, and objects of later batches stay there.
    case objectsAheadStay
  }

  struct Log {
    /// Nil is a hole.
    var messages: [DrawnMessage?] = []
    var low: Int64 = 0
    /// What may be read: below the messages' count while a transaction is open.
    var end: Int64 = 0

    /// The first readable offset with a message at or after an instant, or the end.
    func firstOffset(at milliseconds: Int64) -> Offset {
      (low..<end).first {
        messages[Int($0)].map { ($0.timestampMilliseconds ?? -1) >= milliseconds } ?? false
      } ?? end
    }
  }

  /// Held by whatever the publisher's thread and the run's share: the random numbers, the store,
  /// the account.
  let lock = NSRecursiveLock()
  private var random: SeededRandom
  let sabotage: Sabotage?
  let folder: String
  /// What the product made of the drawn job's text.
  var job: Job
  var drawn: DrawnJob { definitions.newest }
  var definitions: Definitions
  /// Whether the job's measures change, and by what.
  let evolves: Bool
  var evolutionRandom: SeededRandom
  var evolutionCount = 0
  var isBatchBounded: Bool { drawn.batchByteLimit != nil }
  private let hasPublisherThread: Bool
  private weak var executor: SteppingExecutor?
  /// Used by the run's thread alone.
  var logs: [PartitionID: Log] = [:]
  /// What logs held that were replaced.
  private var former: [PartitionID: [[DrawnMessage?]]] = [:]
  /// Which of its logs a batch found in each partition.
  private var eras: [Int64: [PartitionID: Int]] = [:]
  /// Of each batch of new messages, what it may have left behind.
  var leftBehind: [Int64: [LeftBehind]] = [:]
  /// Logs are replaced in few histories, so that the others go on undisturbed.
  private var replacesLogs = false
  /// In some histories the checkpoint is copied, restored, and goes on on other machines. Nothing
  /// is lost there but the state, so that whatever a restored state has to repeat can be read.
  let moves: Moves?
  /// Whether `verify` looks at its end: at that of few, as it reads everything again.
  private let isVerified: Bool
  var account: Account
  private(set) lazy var store = FakeStore(self)
  /// What the clusters hold of the job's consumer group.
  var shown: [PartitionID: CommittedOffset] = [:]
  private var recordCount: Int64 = 0
  private var largestMaxOffsets: Int64 = 0
  /// Whether nothing fails any more.
  var isCalm = false
  var runCount = 0
  private(set) var crashCount = 0
  private(set) var batchCount = 0
  private(set) var backfillCount = 0
  private(set) var decisionCount = 0
  var evictedCount = 0
  var restartCount: Int { account.restarts.values.reduce(0) { $0 + $1.count } }

  /// Counts down to the step at which the process dies.
  var stepsToCrash = Int.max
  var snapshot: Snapshot?
  typealias Snapshot = (
    files: [String: Data], store: FakeStore.State, account: Account,
    shown: [PartitionID: CommittedOffset]
  )

  /// - Parameter template: The files of the job's checkpoint before its first run.
  init(
    seed: UInt64, drawn: DrawnJob, job: Job, template: [String: Data], folder: String,
    sabotage: Sabotage? = nil,
    hasPublisherThread: Bool = false
  ) throws {
    random = SeededRandom(seed: seed)
    self.sabotage = sabotage
    self.folder = folder
    definitions = Definitions(drawn)
    evolves = Self.evolves(seed)
    evolutionRandom = SeededRandom(seed: seed &* 31)
    self.hasPublisherThread = hasPublisherThread
    moves = Self.isMoved(seed) ? Moves() : nil
    isVerified = seed % 7 == 1 && sabotage == nil
    account = Account(start: drawn.start)
    var job = job
    if job.output.keep == .latest {
      let schedules: [Job.Output.PublishSchedule] = [
        .batch, .batch, .runEnd, .every(milliseconds: 30_000),
      ]
      job = job.with(publish: schedules.randomElement(using: &random) ?? .batch)
    }
    self.job = job
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, data) in template { try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
    for topic in drawn.topics { for _ in 0..<pick(1...2) { addPartition(topic) } }
    replacesLogs = chance(35)
    if moves != nil { replacesLogs = false }
  }

  /// Whether the checkpoint moves in a history.
  static func isMoved(_ seed: UInt64) -> Bool { seed % 5 == 3 }

  /// Plays the history and compares what is left at its end with the records.
  ///
  /// - Returns: What differs, or nil.
  func play() throws -> String? {
    for _ in 0..<(moves == nil ? pick(1...5) : pick(3...8)) {
      change()
      if let problem = try move() { return problem }
      if moves == nil && chance(20) { try skip() }
      if moves == nil && job.canBackfill && chance(40), let problem = try askBackfill() {
        return problem
      }
      if chance(10) { try cancelBackfill() }
      if let problem = try evolve() { return problem }
      if let problem = try run() { return problem }
    }
    change(isLast: true)
    isCalm = true
    // The first catches up, the second finds nothing new and settles what the first left unsettled.
    var calmRuns = 0
    while calmRuns < 2 {
      if let problem = try run() { return problem }
      if stoppedByRejects == nil && !isStoppedByLogs && !isRefused { calmRuns += 1 }
      if runCount > 500 { return "a person decides again and again" }
    }
    if sabotage == .lossWithoutGap { try edit("DELETE FROM gaps") }
    if let problem = try difference() { return problem }
    return isVerified && isEveryLogKnown ? try differenceOfVerify() : nil
  }

  // MARK: - The world

  private func addPartition(_ topic: DrawnJob.Topic) {
    let number = logs.keys.filter { $0.source == topic.source && $0.topic == topic.name }.count
    logs[PartitionID(source: topic.source, topic: topic.name, partition: Int32(number))] = Log()
  }

  /// What happens between runs: records come, transactions open and end, partitions are added,
  /// retention removes, and logs are replaced.
  private func change(isLast: Bool = false) {
    store.applyLateWrites()
    let addsNothing = chance(50)
    if chance(10), let topic = drawn.topics.randomElement(using: &random) { addPartition(topic) }
    if replacesLogs && chance(40) { replaceLog() }
    if runCount == 0 || chance(20) {
      job = job.with(maxOffsets: pick(1...12))
      largestMaxOffsets = max(largestMaxOffsets, job.maxOffsets)
    }
    for partition in logs.keys.sorted() {
      guard var log = logs[partition] else { continue }
      // Half of the histories end without new records, so that the last runs repair and nothing
      // more.
      for _ in 0..<(isLast && addsNothing ? 0 : pick(0...8)) {
        log.messages.append(drawMessage())
      }
      let count = Int64(log.messages.count)
      log.end = isLast || chance(75) ? count : pick(log.end...count)
      if moves == nil && chance(6) { log.low = pick(log.low...log.end) }
      logs[partition] = log
    }
  }

  /// A topic is made anew, or an election cuts a log off: other messages stand in it, fewer than
  /// were there, as many, or more.
  private func replaceLog() {
    guard let partition = logs.keys.sorted().randomElement(using: &random),
      var log = logs[partition]
    else { return }
    let count = Int64(log.messages.count)
    former[partition, default: []].append(log.messages)
    log.messages = []
    for _ in 0..<[pick(0...count), count, count + pick(1...6)][Int(pick(0...2))] {
      log.messages.append(drawMessage())
    }
    log.end = Int64(log.messages.count)
    log.low = chance(25) ? pick(0...min(3, log.end)) : 0
    logs[partition] = log
  }

  private func drawMessage() -> DrawnMessage? {
    chance(12) ? nil : DrawnMessage(of: drawn, nextID: &recordCount, &random)
  }

  // MARK: - People

  /// A command of a person, which may die at any step.
  func decide(_ command: String, _ body: (Checkpoint) throws -> Void) throws {
    stepsToCrash = fails(20) ? Int(pick(1...4)) : Int.max
    snapshot = nil
    account.beginRun()
    nonisolated(unsafe) let simulation = self
    do { try body(try open(command, step: { simulation.durableStep() })) }
    stepsToCrash = Int.max
    if let snapshot { try restore(snapshot) }
  }

  /// Somebody passes over offsets by hand, some of them ahead of progress, as `tranche skip` does.
  private func skip() throws {
    try decide("skip") { checkpoint in
      for (partition, ledger) in checkpoint.ledgers.sorted(by: { $0.key < $1.key }) {
        guard let end = logs[partition]?.end else { continue }
        for _ in 0..<2 {
          let from = ledger.nextOffset + pick(0...3)
          let gap = PartitionRange(partition, OffsetRange(from: from, to: from + pick(1...2)))
          guard let ledger = checkpoint.ledgers[partition],
            ledger.problem(ofGap: gap.range, end: end) == nil
          else { continue }
          tellAccount { $0.skip(gap) }
          try checkpoint.recordGap(gap, reason: .skipped, now: 0)
        }
      }
    }
  }

  /// A person wants offsets to be counted after all, as `tranche backfill` asks for them: new ones,
  /// counted ones, those of a request before, and some that are beyond either end of the log.
  ///
  /// - Returns: Where the product takes on others than were meant.
  private func askBackfill() throws -> String? {
    let claim = try claim()
    let partitions = logs.keys.sorted().filter { claim.partitions[account.current($0)] != nil }
    let wish = drawWish(partitions, claim)
    let expected = account.taken(ranges(of: wish, partitions, claim), of: claim) { partition in
      logs[partition].map { $0.low..<$0.end } ?? 0..<0
    }
    var problem: String?
    do {
      try decide("backfill") { checkpoint in
        let sources = job.clusters.map { FakeBroker($0.name, self) }
        let taken = try BackfillProposal(
          wish, of: checkpoint.ledgers, where: { _ in true }, in: sources
        ).taken
        let found = taken.reduce(into: Account.Offsets()) { found, range in
          found[account.current(range.partition), default: []].formUnion(range.from..<range.to)
        }
        if found != expected { problem = "\(wish) takes \(taken) and has to take \(expected)" }
        guard !taken.isEmpty else { return }
        let number = (claim.backfills.map(\.number).max() ?? 0) + 1
        tellAccount { $0.ask(number, expected) }
        backfillCount += 1
        _ = try checkpoint.addBackfill(taken, goesFirst: chance(25), now: 0)
      }
    } catch is SourceError {}
    return problem
  }
  private var lastRanges: [PartitionRange] = []

  private func drawWish(_ partitions: [PartitionID], _ claim: Claim) -> BackfillWish {
    switch pick(0...6) {
    case 0: return .beforeStart
    case 1: return .gaps
    case 2: return .times(from: pick(0...120_000), to: nil)
    case 3:
      let from = pick(0...120_000)
      return .times(from: chance(50) ? from : nil, to: from + pick(1...60_000))
    default: break
    }
    if chance(30) && !lastRanges.isEmpty { return .ranges(lastRanges) }
    lastRanges = []
    for partition in partitions where chance(70) {
      let next = claim.partitions[account.current(partition)]?.next ?? 0
      for _ in 0..<pick(1...2) {
        let from = pick(0...next + 2)
        lastRanges.append(
          PartitionRange(partition, OffsetRange(from: from, to: from + pick(1...8))))
      }
    }
    return .ranges(lastRanges)
  }

  /// What the person means, without the product's account of it.
  private func ranges(
    of wish: BackfillWish, _ partitions: [PartitionID], _ claim: Claim
  ) -> [PartitionRange] {
    if case .ranges(let ranges) = wish { return ranges }
    return partitions.flatMap { partition -> [PartitionRange] in
      let name = account.current(partition)
      let range: (from: Offset, to: Offset)
      switch wish {
      case .gaps:
        return claim.gaps.map(\.range).filter { $0.partition == name }
          .map { PartitionRange(partition, $0.range) }
      case .times(let from, let to):
        range = (
          from.flatMap { logs[partition]?.firstOffset(at: $0) } ?? 0,
          to.flatMap { logs[partition]?.firstOffset(at: $0) } ?? .max
        )
      case .beforeStart, .ranges: range = (0, claim.partitions[name]?.start ?? 0)
      }
      if range.from > range.to { return [] }
      return [PartitionRange(partition, OffsetRange(from: range.from, to: range.to))]
    }
  }

  private func cancelBackfill() throws {
    let open = try claim().backfills.filter { $0.state == "open" }
    guard let chosen = open.randomElement(using: &random) else { return }
    try decide("backfill") { checkpoint in
      tellAccount { $0.cancel(chosen.number, left: chosen.left) }
      _ = try checkpoint.cancelBackfill(chosen.number, now: 0)
    }
  }

  /// A person decides about logs that were replaced, as `tranche resolve` does.
  private func decideReplacedLogs() throws {
    for (partition, log) in logs.sorted(by: { $0.key < $1.key }) {
      let claim = try claim()
      let name = account.current(partition)
      guard claim.undecided.contains(name), let next = claim.partitions[name]?.next else {
        continue
      }
      let era = era(of: partition)
      decisionCount += 1
      try decide("resolve") { checkpoint in
        let gap = PartitionRange(partition, OffsetRange(from: next, to: max(next, log.end)))
        let canPassOver = checkpoint.ledgers[partition]?.problem(ofGap: gap.range) == nil
        switch pick(0...2) {
        case 0:
          tellAccount { $0.restart(partition, from: log.low, era: era, claim) }
          _ = try checkpoint.restart(partition, from: log.low, now: 0)
        case 1 where canPassOver:
          tellAccount { $0.passOver(gap, era: era, claim) }
          _ = try checkpoint.passOverReplacedLog(gap, now: 0)
        default:
          tellAccount { $0.keep(partition, era: era, claim) }
          _ = try checkpoint.keepProgress(of: partition, now: 0)
        }
      }
    }
  }

  /// A person accepts the rejects that have stopped a run: nothing becomes a gap. What has stopped
  /// an earlier run, and was not accepted, is accepted with it.
  ///
  /// - Parameter stopped: What the run's batch was to read.
  private func acceptRejects(of stopped: [PartitionRange]) throws -> String? {
    let claim = try claim()
    let checkpoint = try open("resolve")
    let ranges = try checkpoint.acceptRejects(now: 0)
    if !stopped.allSatisfy({ ranges.contains($0) }) {
      return "rejects have stopped \(stopped), and \(ranges) are accepted"
    }
    let count = stopped.reduce(0) { $0 + $1.count }
    // What a batch of this number has read in an undone run may have been replaced since.
    eras[Int64(claim.batches.count + 1)] = nil
    var batch = Claim.Batch(
      number: Int64(claim.batches.count + 1), ranges: stopped, offsetCount: count, recordCount: 0,
      countedCount: 0, rejectedCount: 0, tombstoneCount: 0,
      backfill: stopped.contains {
        $0.from < claim.partitions[account.current($0.partition)]?.next ?? 0
      } ? 0 : nil, cutoff: nil)
    batch.cutoff = batch.backfill == nil && drawn.lateness != nil ? claim.cutoff : claim.horizon
    if !drawn.rejects.stops(expectation(claim.batches + [batch]).tallies) {
      return "rejects have stopped a batch of \(stopped) that they must not stop"
    }
    account.accept(ranges, after: claim.newestBatch)
    return nil
  }

  // MARK: - Chance, steps and the clock, from either thread

  func pick(_ range: ClosedRange<Int64>) -> Int64 {
    lock.withLock { Int64.random(in: range, using: &random) }
  }
  func chance(_ percent: Int64) -> Bool { pick(0...99) < percent }
  func fails(_ percent: Int64) -> Bool { !isCalm && chance(percent) }

  func tellAccount(_ fact: (inout Account) -> Void) { lock.withLock { fact(&account) } }

  /// A durable step or a call to the outside.
  func step() {
    lock.withLock {
      guard stepsToCrash > 0 else { return }
      // While starts are on their way to the disk, only the run's own thread knows whether they are
      // there: the process dies at its next step then. That happens beside a publisher alone.
      if stepsToCrash == 1 && account.hasPendingStarts && !isOnRunThread { return }
      stepsToCrash -= 1
      if stepsToCrash == 0 { snapshot = (files(), store.state, account, shown) }
      // A run that has died goes on in the simulation alone.
      if stepsToCrash > 0 && isOnRunThread { copyBesideRun() }
    }
  }

  private let runThread = Thread.current
  private var isOnRunThread: Bool { Thread.current === runThread }

  /// The checkpoint has changed on disk. The publisher writes there too, but no starts.
  func durableStep() {
    if isOnRunThread { tellAccount { $0.becameDurable() } }
    step()
  }

  /// While a batch is read the publisher may take some steps.
  func readsOn() { if chance(30) { executor?.wake() } }

  /// A clock that goes on by a second whenever it is read.
  private func nanoseconds() -> Int64 {
    lock.withLock {
      readings += 1
      return readings * 1_000_000_000
    }
  }
  private var readings: Int64 = 0

  /// The file's log only grows while a run goes on: so a copy of the file and then of its log is
  /// what a kill at one instant leaves.
  func files() -> [String: Data] {
    var files: [String: Data] = [:]
    for name in ["\(job.name).sqlite", "\(job.name).sqlite-wal"] {
      files[name] = FileManager.default.contents(atPath: "\(folder)/\(name)")
    }
    return files
  }

  // MARK: - Runs

  private func run() throws -> String? {
    runCount += 1
    stepsToCrash = fails(55) ? Int(pick(1...25)) : Int.max
    snapshot = nil
    account.beginRun()
    let before = try self.claim()
    if let problem = try execute() { return problem }
    let claim = try claim()
    noteLeftBehind(claim, before: before)
    defer { if let claim = try? self.claim() { account.keepPlan(of: claim) } }
    if let problem = account.difference(from: claim, maxOffsets: largestMaxOffsets)
      ?? differenceOfLogs(claim, first: firstBatch)
    {
      return problem
    }
    if case .tumbling(let width, _) = drawn.window,
      let problem = claim.differenceOfEvicted(width: width)
    {
      return problem
    }
    if let problem = try differenceOfGroup(isFinal: false) { return problem }
    if isStoppedByLogs == claim.undecided.isEmpty && isCalm && stoppedByRejects == nil {
      return "a run ended \(isStoppedByLogs ? "" : "without ")asking about \(claim.undecided)"
    }
    if let snapshot {
      try restore(snapshot)
      return nil
    }
    if isRefused && (isCalm || chance(70)) { try goOnRestored() }
    if let stoppedByRejects, isCalm || chance(70),
      let problem = try acceptRejects(of: stoppedByRejects)
    {
      return problem
    }
    if !claim.undecided.isEmpty && (isCalm || chance(70)) { try decideReplacedLogs() }
    return nil
  }

  /// The world as it was when the process died.
  func restore(_ snapshot: Snapshot) throws {
    crashCount += 1
    store.state = snapshot.store
    try put(
      Moves.State(files: snapshot.files, account: snapshot.account, shown: snapshot.shown))
    try tamper()
  }

  /// A publisher's thread that has told its end may hold the last run's checkpoint for an instant,
  /// and with it the lock.
  func open(
    _ holder: String, now: Int64 = 0, step: @escaping @Sendable () -> Void = {}
  ) throws -> Checkpoint {
    waitForLock()
    let checkpoint = try Checkpoint(
      job: job, folder: folder, holder: holder, now: now, release: "0", step: step)
    lastCheckpoint = checkpoint
    return checkpoint
  }
  func waitForLock() { while lastCheckpoint != nil { sched_yield() } }
  private weak var lastCheckpoint: Checkpoint?

  /// Of the run at hand: the ranges of a batch that rejects have stopped.
  private var stoppedByRejects: [PartitionRange]?
  private var isStoppedByLogs = false
  /// Whether the place bore a newer state's mark.
  private(set) var isRefused = false

  /// Of the run at hand.
  private var firstBatch: Int64 = 1

  func execute() throws -> String? {
    let now = pick(0...2_000_000_000_000)
    nonisolated(unsafe) let simulation = self
    let checkpoint = try open("a run", now: now, step: { simulation.durableStep() })
    if chance(5) {
      do {
        _ = try Checkpoint(job: job, folder: folder, holder: "second", now: now, release: "0")
        return "a second run got the lock"
      } catch {
        guard case .locked = error.code else { return "a second run failed with \(error)" }
      }
    }
    let firstBatch = checkpoint.nextBatch
    self.firstBatch = firstBatch
    var options = RunOptions(
      clock: { now }, nanoseconds: { simulation.nanoseconds() }, release: "0")
    if !hasPublisherThread {
      options.publishingExecutor = {
        let executor = SteppingExecutor { Int(simulation.pick(0...8)) }
        simulation.executor = executor
        return executor
      }
    }
    options.token = { [runCount] in "token of run \(runCount)" }
    options.graceMilliseconds = [0, 3_000, 20_000].randomElement(using: &random) ?? 0
    options.failpoint = { _ in simulation.step() }
    options.onProgress = { progress in
      simulation.tellAccount { $0.committed(firstBatch + Int64(progress.batchCount) - 1) }
    }
    if chance(20) { options.maxBatches = Int(pick(1...3)) }
    if runCount % 9 == 4 { options.maxDurationMilliseconds = Int64(runCount) }
    if isCalm { (options.maxBatches, options.maxDurationMilliseconds) = (nil, nil) }
    let stopAfter = fails(8) ? Int(pick(0...6)) : Int.max
    let asked = Mutex(0)
    options.isStopRequested = {
      asked.withLock {
        $0 += 1
        return $0 > stopAfter
      }
    }
    let store = store
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: job.clusters.map { FakeBroker($0.name, self) },
      storeAt: { _ in store },
      options: options, logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
    let (summary, errors) = run.execute()
    batchCount += summary.batchCount
    stoppedByRejects = errors.compactMap(rangesStoppedByRejects).first
    isStoppedByLogs = errors.contains(where: isStopByLogs)
    isRefused = moves != nil && errors.contains(where: isRefusal)
    let others = errors.filter {
      rangesStoppedByRejects($0) == nil && !isStopByLogs($0) && !(isRefused && isRefusal($0))
    }
    if let error = others.first(where: { isCalm || $0.code != .unreachable }) {
      return "a \(isCalm ? "calm " : "")run failed with \(error.code): \(error)"
    }
    if errors.isEmpty && summary.dirtyCount > 0 && !summary.isStopped {
      return "a run ended well with \(summary.dirtyCount) dirty objects"
    }
    return nil
  }

  private func rangesStoppedByRejects(_ error: RunError) -> [PartitionRange]? {
    guard case .batch(let fault) = error, case .rejects = fault.problem else { return nil }
    return fault.ranges.filter { !$0.isEmpty }
  }

  private func isRefusal(_ error: RunError) -> Bool {
    if case .destination(let fault) = error {
      fault.problem == .refused(.olderOrCopy)
    } else {
      false
    }
  }

  private func isStopByLogs(_ error: RunError) -> Bool {
    if case .logsReplaced = error { true } else { false }
  }

  /// What a crash leaves where the sabotage says so.
  private func tamper() throws {
    switch sabotage {
    case .progressInASecondTransaction:
      try edit("UPDATE partitions SET next_offset = max(start_offset, next_offset - 1)")
    case .progressBeforeState:
      try edit(
        "UPDATE partitions SET next_offset = next_offset + 1 WHERE next_offset > start_offset")
    case .startResolvedAgain:
      try edit("UPDATE partitions SET start_offset = 0, next_offset = 0")
    case .backfillIsForgotten:
      try edit("DELETE FROM backfill_ranges; UPDATE backfills SET state = 'done'")
    case .backfilledRangesAreForgotten: try edit("DELETE FROM backfilled")
    case .fingerprintsAreForgotten:
      try edit("UPDATE partitions SET fingerprint_offset = NULL, fingerprint = NULL")
    default: break
    }
  }

  private func edit(_ sql: String) throws {
    let result = try TestSupport.execute("/usr/bin/sqlite3", ["\(folder)/\(job.name).sqlite", sql])
    guard result.exitCode == 0 else { throw SQLFailure(text: result.errors) }
  }

  struct SQLFailure: Error { let text: String }

  // MARK: - The oracle

  /// Whether a person has decided about every log that was replaced: else it could not be noticed,
  /// and what stands there now is called counted.
  private var isEveryLogKnown: Bool {
    logs.keys.allSatisfy { era(of: $0) == account.decisions[$0]?.era ?? 0 }
  }

  /// Whether the logs hold every message that was ever in them.
  var holdsAllMessages: Bool { former.isEmpty && logs.values.allSatisfy { $0.low == 0 } }

  func claim() throws -> Claim {
    try Claim(path: Checkpoint.path(ofJob: job.name, folder: folder))
  }

  /// Holds the checkpoint against the account, and the objects against plain dictionaries over the
  /// records.
  private func difference() throws -> String? {
    let claim = try claim()
    if let problem = account.difference(from: claim, maxOffsets: largestMaxOffsets) {
      return problem
    }
    if let open = claim.backfills.first(where: { $0.state == "open" }) {
      return "backfill \(open.number) is still open"
    }
    for (partition, log) in logs {
      let next = claim.partitions[account.current(partition)]?.next
      if next != log.end && next != account.decisions[partition]?.kept {
        return "\(partition): next offset \(next.map(String.init) ?? "none") of \(log.end)"
      }
    }
    if let problem = try differenceOfGroup(isFinal: true) { return problem }
    let expectation = expectation(claim.batches)
    if !expectation.cutoffs.contains(claim.cutoff) {
      return "the cutoff is \(claim.cutoff.map(String.init) ?? "none"), and has to be one of "
        + "\(expectation.cutoffs)"
    }
    if !expectation.horizons.contains(claim.horizon) {
      return "the horizon is \(claim.horizon.map(String.init) ?? "none"), and has to be one of "
        + "\(expectation.horizons)"
    }
    for count in 1..<(claim.batches.count + 1)
    where drawn.rejects.stops(Array(expectation.tallies.prefix(count))) {
      return "batch \(count) was committed with too many rejects"
    }
    return try expectation.problem ?? differenceOfRejects(expectation)
      ?? differenceOfObjects(expectation) ?? differenceOfManifest(claim)
      ?? differenceOfEviction(claim, expectation)
  }

  /// When all is published, the manifest says so, and names each object as it stands.
  private func differenceOfManifest(_ claim: Claim) throws -> String? {
    let bytes = store.state.objects["_tranche/manifest"]
    if !drawn.hasManifest || claim.batches.isEmpty {
      return bytes == nil ? nil : "a manifest for nothing"
    }
    guard let bytes,
      let manifest = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any],
      let windows = manifest["windows"] as? [[String: Any]]
    else { return "there is no manifest" }
    let newest = Int(claim.newestBatch)
    if manifest["batch"] as? Int != newest || manifest["visible_batch"] as? Int != newest {
      return "the manifest is not of batch \(claim.newestBatch): \(manifest)"
    }
    for partition in manifest["partitions"] as? [[String: Any]] ?? [] {
      let name = PartitionID(
        source: partition["source"] as? String ?? "", topic: partition["topic"] as? String ?? "",
        partition: (partition["partition"] as? Int).map { Int32($0) } ?? -1)
      let next = (partition["next_offset"] as? Int).map { Int64($0) }
      if next != claim.partitions[account.current(name)]?.next {
        return "the manifest says \(partition)"
      }
    }
    let found = store.state.objects.filter { !$0.key.hasPrefix("_") }
    let named = Set(windows.compactMap { $0["key"] as? String })
    if named != Set(found.keys) { return "the manifest names \(named) of \(Set(found.keys))" }
    for window in windows {
      let key = window["key"] as? String ?? ""
      let etag = try store.head(ObjectKey(key))?.etag
      if window["etag"] as? String != etag || window["bytes"] as? Int != found[key]?.count {
        return "the manifest says \(window) of an object with ETag \(etag ?? "none")"
      }
    }
    return nil
  }

  /// The group shows what is committed, never more, and after the last run no less: of partitions
  /// whose log was never replaced.
  private func differenceOfGroup(isFinal: Bool) throws -> String? {
    let claim = try claim()
    for partition in logs.keys where former[partition] == nil {
      guard let next = claim.partitions[partition]?.next else { continue }
      let offset = shown[partition]?.offset
      if (offset ?? 0) > next || isFinal && offset != next {
        let text = offset.map(String.init) ?? "nothing"
        return "\(partition): the group shows \(text), and the next offset is \(next)"
      }
    }
    return nil
  }

  private func expectation(_ batches: [Claim.Batch]) -> Expectation {
    Expectation(
      definitions, batches: batches, accepted: account.accepted, leftBehind: leftBehind,
      incarnation: account.incarnation, log: messages)
  }

  /// Which of the logs that a partition has had it has now.
  private func era(of partition: PartitionID) -> Int { former[partition]?.count ?? 0 }

  /// What a batch found in a partition.
  private func messages(_ partition: PartitionID, readBy batch: Int64) -> [DrawnMessage?] {
    let now = logs[partition]?.messages ?? []
    guard let era = eras[batch]?[partition], let all = former[partition], era < all.count else {
      return now
    }
    return all[era]
  }

  /// Where a replaced log was read that could have been noticed, was not noticed, or was noticed
  /// where nobody replaced it.
  ///
  /// - Parameter first: The first batch of the run at hand.
  private func differenceOfLogs(_ claim: Claim, first: Int64) -> String? {
    for batch in claim.batches where batch.number >= first {
      eras[batch.number] = logs.keys.reduce(into: [:]) { $0[$1] = era(of: $1) }
    }
    for (partition, log) in logs.sorted(by: { $0.key < $1.key }) {
      let name = account.current(partition)
      guard let next = claim.partitions[name]?.next else { continue }
      let decision = account.decisions[partition]
      if claim.undecided.contains(name), era(of: partition) == decision?.era ?? 0 {
        return "\(partition): nobody has replaced its log"
      }
      let isOther = hasOtherMessage(partition, log, claim, first: first)
      let read = claim.batches.first { batch in
        batch.number >= first && batch.ranges.contains { $0.partition == partition }
      }
      if let read, isOther { return "batch \(read.number) read \(partition), a replaced log" }
      if !isCalm || stoppedByRejects != nil || claim.undecided.contains(name) { continue }
      // What was passed over in a longer log may lead beyond this one's end, as the next run sees.
      let isPassedOver =
        read != nil
        && (log.end..<max(next, log.end)).allSatisfy { offset in
          claim.gaps.contains { $0.range.partition == name && $0.range.range.contains(offset) }
        }
      if log.end < next, decision?.kept != next, !isPassedOver {
        return "\(partition): ends unnoticed"
      }
      let isWanted =
        log.end > next || claim.backfills.flatMap(\.left).contains { $0.partition == name }
      if isOther && isWanted { return "\(partition): was replaced unnoticed" }
    }
    return nil
  }

  /// Whether the log holds another message where the newest one was read before the run at hand.
  private func hasOtherMessage(
    _ partition: PartitionID, _ log: Log, _ claim: Claim, first: Int64
  ) -> Bool {
    var mark: (offset: Offset, message: DrawnMessage)?
    let decided = account.decisions[partition]?.batch ?? 0
    for batch in claim.batches where batch.number < first && batch.number > decided {
      if batch.backfill != nil && mark != nil { continue }
      guard let range = batch.ranges.first(where: { $0.partition == partition }) else { continue }
      let messages = messages(partition, readBy: batch.number)
      for offset in range.from..<range.to where offset < messages.count {
        if let message = messages[Int(offset)] { mark = (offset, message) }
      }
    }
    guard let mark, mark.offset >= log.low, mark.offset < log.end,
      let found = log.messages[Int(mark.offset)]
    else { return false }
    return !found.isSame(as: mark.message)
  }

  private func differenceOfObjects(_ expectation: Expectation) throws -> String? {
    let expected = try expectation.objects.mapValues { object in
      switch drawn.output {
      case .csv: object.table.csv
      case .json: object.table.json
      case .parquet: try object.parquet(job: job.name, createdBy: "tranche version 0")
      }
    }
    // What is no result has a name of its own.
    let found = store.state.objects.filter { !$0.key.hasPrefix("_") }
    for key in Set(expected.keys).union(found.keys).sorted() where expected[key] != found[key] {
      guard let object = expectation.objects[key] else {
        return "\(key): holds \(found[key]?.count ?? 0) bytes for nothing"
      }
      let text = found[key].map {
        drawn.output == .parquet ? "\($0.count) bytes" : String(decoding: $0, as: UTF8.self)
      }
      return "\(key): \(text ?? "missing") for \(String(decoding: object.table.csv, as: UTF8.self))"
    }
    return nil
  }

  private func differenceOfRejects(_ expectation: Expectation) -> String? {
    var found: Set<Expectation.Reject> = []
    for (key, bytes) in store.state.objects
    where key.hasPrefix("_tranche/rejects/") {
      for line in bytes.split(separator: UInt8(ascii: "\n")) {
        guard let reject = try? JSONSerialization.jsonObject(with: Data(line)) as? [String: Any],
          let source = reject["source"] as? String, let topic = reject["topic"] as? String,
          let partition = reject["partition"] as? Int, let offset = reject["offset"] as? Int,
          let record = reject["record"] as? Int
        else { return "\(key): \(String(decoding: line, as: UTF8.self))" }
        let text = (reject["raw"] as? String).map { Array($0.utf8) }
        let data = (reject["raw_base64"] as? String).flatMap { Data(base64Encoded: $0) }
        let bytes = text ?? data.map { [UInt8]($0) }
        let (isNew, _) = found.insert(
          .init(
            batch: Int64(key.filter(\.isNumber)) ?? 0,
            partition: PartitionID(source: source, topic: topic, partition: Int32(partition)),
            offset: Int64(offset),
            record: record, bytes: bytes,
            isLate: reject["reason"] as? String == "windowClosed"))
        if !isNew { return "\(key): names a reject twice" }
      }
    }
    // Under the policy fail only those are committed that a person has accepted, and they are kept.
    // Late records are always kept.
    let isKept = drawn.rejects.quarantines || drawn.rejects.fails
    let expected = expectation.rejects.filter { isKept || $0.isLate }
    if found == expected { return nil }
    func texts(_ rejects: Set<Expectation.Reject>) -> [String] {
      rejects.map { "\($0.partition) \($0.offset) record \($0.record)" }.sorted()
    }
    let (extra, missing) = (found.subtracting(expected), expected.subtracting(found))
    return "rejects: \(texts(extra)) too many, \(texts(missing)) missing"
  }
}
