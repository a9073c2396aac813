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
  private var job: Job
  private let drawn: DrawnJob
  private let hasPublisherThread: Bool
  private weak var executor: SteppingExecutor?
  /// Used by the run's thread alone.
  var logs: [PartitionID: Log] = [:]
  private var account: Account
  private(set) lazy var store = FakeStore(self)
  private var recordCount: Int64 = 0
  private var largestMaxOffsets: Int64 = 0
  /// Whether nothing fails any more.
  var isCalm = false
  private(set) var runCount = 0
  private(set) var crashCount = 0
  private(set) var batchCount = 0

  /// Counts down to the step at which the process dies.
  private var stepsToCrash = Int.max
  private var snapshot: (files: [String: Data], store: FakeStore.State, account: Account)?

  /// - Parameter template: The files of the job's checkpoint before its first run.
  init(
    seed: UInt64, drawn: DrawnJob, job: Job, template: [String: Data], folder: String,
    sabotage: Sabotage? = nil,
    hasPublisherThread: Bool = false
  ) throws {
    random = SeededRandom(seed: seed)
    self.sabotage = sabotage
    self.folder = folder
    self.drawn = drawn
    self.hasPublisherThread = hasPublisherThread
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
  }

  /// Plays the history and compares what is left at its end with the records.
  ///
  /// - Returns: What differs, or nil.
  func play() throws -> String? {
    for _ in 0..<pick(1...5) {
      change()
      if chance(20) { try skip() }
      if job.canBackfill && chance(40) { try askBackfill() }
      if chance(10) { try cancelBackfill() }
      if let problem = try run() { return problem }
    }
    change(isLast: true)
    isCalm = true
    // The first catches up, the second finds nothing new and settles what the first left unsettled.
    var calmRuns = 0
    while calmRuns < 2 {
      if let problem = try run() { return problem }
      if !isStoppedByRejects { calmRuns += 1 }
      if runCount > 500 { return "a person accepts rejects again and again" }
    }
    if sabotage == .lossWithoutGap { try edit("DELETE FROM gaps") }
    return try difference()
  }

  // MARK: - The world

  private func addPartition(_ topic: DrawnJob.Topic) {
    let number = logs.keys.filter { $0.source == topic.source && $0.topic == topic.name }.count
    logs[PartitionID(source: topic.source, topic: topic.name, partition: Int32(number))] = Log()
  }

  /// What happens between runs: records come, transactions open and end, partitions are added,
  /// retention removes.
  private func change(isLast: Bool = false) {
    store.applyLateWrites()
    let addsNothing = chance(50)
    if chance(10), let topic = drawn.topics.randomElement(using: &random) { addPartition(topic) }
    if runCount == 0 || chance(20) {
      job = job.with(maxOffsets: pick(1...12))
      largestMaxOffsets = max(largestMaxOffsets, job.maxOffsets)
    }
    for partition in logs.keys.sorted() {
      guard var log = logs[partition] else { continue }
      // Half of the histories end without new records, so that the last runs repair and nothing
      // more.
      for _ in 0..<(isLast && addsNothing ? 0 : pick(0...8)) {
        log.messages.append(
          chance(12) ? nil : DrawnMessage(of: drawn, nextID: &recordCount, &random))
      }
      let count = Int64(log.messages.count)
      log.end = isLast || chance(75) ? count : pick(log.end...count)
      if chance(6) { log.low = pick(log.low...log.end) }
      logs[partition] = log
    }
  }

  /// Somebody passes over offsets by hand, some of them ahead of progress, as `tranche skip` does.
  private func skip() throws {
    let checkpoint = try open("skip")
    for (partition, ledger) in checkpoint.ledgers.sorted(by: { $0.key < $1.key }) {
      guard let end = logs[partition]?.end else { continue }
      for _ in 0..<2 {
        let from = ledger.nextOffset + pick(0...3)
        let gap = PartitionRange(partition, OffsetRange(from: from, to: from + pick(1...2)))
        guard let ledger = checkpoint.ledgers[partition],
          ledger.problem(ofGap: gap.range, end: end) == nil
        else { continue }
        try checkpoint.recordGap(gap, reason: .skipped, now: 0)
        account.skip(gap)
      }
    }
  }

  /// A person wants offsets to be counted after all, as `tranche backfill` asks for them: new ones,
  /// counted ones, those of a request before, and some that are beyond either end of the log.
  private func askBackfill() throws {
    stepsToCrash = Int.max
    let checkpoint = try open("backfill")
    let progress = try claim().partitions
    var wishes: [PartitionRange] = []
    for (partition, known) in progress.sorted(by: { $0.key < $1.key }) where chance(70) {
      for _ in 0..<pick(1...2) {
        let from = pick(0...known.next + 2)
        wishes.append(PartitionRange(partition, OffsetRange(from: from, to: from + pick(1...8))))
      }
    }
    if chance(30) { wishes = lastWishes } else { lastWishes = wishes }
    let wish: BackfillWish
    switch pick(0...5) {
    case 0: wish = .beforeStart
    case 1: wish = .gaps
    case 2: wish = .times(from: pick(0...120_000), to: nil)
    default: wish = .ranges(wishes)
    }
    let sources = job.clusters.map { FakeBroker($0.name, self) }
    let proposal: BackfillProposal
    do {
      proposal = try BackfillProposal(
        wish, of: checkpoint.ledgers, where: { _ in true }, in: sources)
    } catch is SourceError {
      return
    }
    let taken = proposal.taken
    if !taken.isEmpty {
      _ = try checkpoint.addBackfill(taken, goesFirst: chance(25), now: 0)
    }
    // What the person meant, without the product's account of it.
    switch wish {
    case .ranges:
      for wish in wishes { account.ask(wish, next: progress[wish.partition]?.next ?? 0) }
    case .beforeStart:
      for (partition, known) in progress {
        account.ask(
          PartitionRange(partition, OffsetRange(from: 0, to: known.start)), next: known.start)
      }
    case .gaps:
      for gap in try claim().gaps {
        account.ask(gap.range, next: progress[gap.range.partition]?.next ?? 0)
      }
    case .times:
      for range in taken { account.ask(range, next: progress[range.partition]?.next ?? 0) }
    }
  }
  private var lastWishes: [PartitionRange] = []

  private func cancelBackfill() throws {
    let open = try claim().backfills.filter { $0.state == "open" }
    guard let chosen = open.randomElement(using: &random) else { return }
    let checkpoint = try self.open("backfill")
    guard try checkpoint.cancelBackfill(chosen.number, now: 0) != nil else { return }
    account.cancel(chosen.left)
  }

  /// A person accepts the rejects that have stopped a run, if they have: nothing becomes a gap.
  private func acceptRejects() throws -> String? {
    let claim = try claim()
    let checkpoint = try open("resolve")
    let ranges = try checkpoint.acceptRejects(now: 0)
    if ranges.isEmpty { return "rejects have stopped a run, and there is nothing to accept" }
    let count = ranges.reduce(0) { $0 + $1.count }
    let stopped = Claim.Batch(
      number: Int64(claim.batches.count + 1), ranges: ranges, offsetCount: count, recordCount: 0,
      countedCount: 0, rejectedCount: 0,
      backfill: ranges.contains { $0.from < claim.partitions[$0.partition]?.next ?? 0 } ? 0 : nil)
    if !drawn.rejects.stops(expectation(claim.batches + [stopped]).tallies) {
      return "rejects have stopped a batch of \(ranges) that they must not stop"
    }
    account.accept(ranges)
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
      if stepsToCrash == 0 { snapshot = (files(), store.state, account) }
    }
  }

  private let runThread = Thread.current
  private var isOnRunThread: Bool { Thread.current === runThread }

  /// The checkpoint has changed on disk. The publisher writes there too, but no starts.
  private func durableStep() {
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
  private func files() -> [String: Data] {
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
    if let problem = try execute() { return problem }
    if let problem = account.difference(from: try claim(), maxOffsets: largestMaxOffsets) {
      return problem
    }
    guard let snapshot else {
      return try isStoppedByRejects && (isCalm || chance(70)) ? acceptRejects() : nil
    }
    crashCount += 1
    for name in ["sqlite", "sqlite-wal", "sqlite-shm"] {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(job.name).\(name)")
    }
    for (name, data) in snapshot.files {
      try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
    store.state = snapshot.store
    account = snapshot.account
    try tamper()
    return nil
  }

  /// A publisher's thread that has told its end may hold the last run's checkpoint for an instant,
  /// and with it the lock.
  private func open(
    _ holder: String, now: Int64 = 0, step: @escaping @Sendable () -> Void = {}
  ) throws -> Checkpoint {
    while lastCheckpoint != nil { sched_yield() }
    let checkpoint = try Checkpoint(
      job: job, folder: folder, holder: holder, now: now, release: "0", step: step)
    lastCheckpoint = checkpoint
    return checkpoint
  }
  private weak var lastCheckpoint: Checkpoint?

  private var isStoppedByRejects = false

  private func execute() throws -> String? {
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
    let others = errors.filter { !isStopByRejects($0) }
    isStoppedByRejects = others.count < errors.count
    if let error = others.first(where: { isCalm || $0.code != .unreachable }) {
      return "a \(isCalm ? "calm " : "")run failed with \(error.code): \(error)"
    }
    if errors.isEmpty && summary.dirtyCount > 0 && !summary.isStopped {
      return "a run ended well with \(summary.dirtyCount) dirty objects"
    }
    return nil
  }

  private func isStopByRejects(_ error: RunError) -> Bool {
    guard case .batch(let fault) = error, case .rejects = fault.problem else { return false }
    return true
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
    default: break
    }
  }

  private func edit(_ sql: String) throws {
    let result = try TestSupport.execute("/usr/bin/sqlite3", ["\(folder)/\(job.name).sqlite", sql])
    guard result.exitCode == 0 else { throw SQLFailure(text: result.errors) }
  }

  struct SQLFailure: Error { let text: String }

  // MARK: - The oracle

  private func claim() throws -> Claim {
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
      let next = claim.partitions[partition]?.next
      if next != log.end {
        return "\(partition): next offset \(next.map(String.init) ?? "none") of \(log.end)"
      }
    }
    let expectation = expectation(claim.batches)
    for count in 1..<(claim.batches.count + 1)
    where drawn.rejects.stops(Array(expectation.tallies.prefix(count))) {
      return "batch \(count) was committed with too many rejects"
    }
    return try expectation.problem ?? differenceOfRejects(expectation)
      ?? differenceOfObjects(expectation)
  }

  private func expectation(_ batches: [Claim.Batch]) -> Expectation {
    Expectation(drawn, batches: batches, accepted: account.accepted) { logs[$0]?.messages ?? [] }
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
            partition: PartitionID(source: source, topic: topic, partition: Int32(partition)),
            offset: Int64(offset),
            record: record, bytes: bytes))
        if !isNew { return "\(key): names a reject twice" }
      }
    }
    // Under the policy fail only those are committed that a person has accepted, and they are kept.
    let isKept = drawn.rejects.quarantines || drawn.rejects.fails
    let expected = isKept ? expectation.rejects : []
    if found == expected { return nil }
    func texts(_ rejects: Set<Expectation.Reject>) -> [String] {
      rejects.map { "\($0.partition) \($0.offset) record \($0.record)" }.sorted()
    }
    let (extra, missing) = (found.subtracting(expected), expected.subtracting(found))
    return "rejects: \(texts(extra)) too many, \(texts(missing)) missing"
  }
}
