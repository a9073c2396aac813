import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import Offsets
import Synchronization
import TestSupport
import Testing
import Trials

/// A cluster in memory that tells which ranges were read.
private final class ListeningSource: ForwardingSource {
  let inner: MemorySource
  private(set) var ranges: [PartitionRange] = []
  /// Called before the n-th read, from 1.
  var beforeRead: (Int) throws -> Void = { _ in }
  private var readCount = 0

  init(_ cluster: MemoryCluster) { inner = MemorySource("main", cluster) }

  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    readCount += 1
    try beforeRead(readCount)
    try inner.read(ranges, body)
    self.ranges += ranges.filter { !$0.isEmpty }
  }
}

/// A job over two partitions, whose history is drawn.
private final class History {
  private var random: SeededRandom
  private let job: Job
  /// In memory: nothing here is to survive.
  private let folder = "/dev/shm/tranche-plan-\(UUID().uuidString)"
  private let cluster = MemoryCluster(identifier: "memory")
  private let places = MemoryPlaces()
  private(set) var gapCount = 0, lossCount = 0
  private(set) var isReplaced = false

  convenience init(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let (policy, start) = (random.next() % 4 == 0 ? "fail" : "skip", random.next() % 4)
    try self.init(
      random, policy: policy, start: start == 0 ? "latest" : "earliest",
      maxOffsets: 1 + random.next() % 9)
  }

  /// The runs' clock.
  var nanoseconds: @Sendable () -> Int64 = { 0 }

  init(_ random: SeededRandom, policy: String, start: String, maxOffsets: UInt64) throws {
    self.random = random
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    job = try JobFile.parse(
      text: """
        name: drawn
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          start: \(start)
          on_data_loss: \(policy)
          format: csv
          fields: { v: int64 }
        trigger: { max_offsets: \(maxOffsets) }
        window: global
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        """, path: "drawn.yaml", environment: [:], readFile: { _ in nil })
    cluster.create("t", partitionCount: 2)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private func number(below limit: Int64) -> Int64 { Int64.random(in: 0..<limit, using: &random) }

  private func open() throws -> Checkpoint {
    try Checkpoint(job: job, folder: folder, holder: "a test", now: 0, release: "test")
  }

  /// Records come, are removed, or are passed over by hand.
  func change() throws {
    for (index, log) in (cluster.topics["t"] ?? []).enumerated() {
      for _ in 0..<number(below: 9) { log.append(Array("1\n".utf8)) }
      let checkpoint = try open()
      let partition = PartitionID(source: "main", topic: "t", partition: Int32(index))
      for _ in 0..<number(below: 3) {
        guard let ledger = checkpoint.ledgers[partition] else { break }
        let from = ledger.nextOffset + number(below: 5)
        let gap = OffsetRange(from: from, to: from + 1 + number(below: 3))
        if ledger.problem(ofGap: gap, end: log.end) != nil { continue }
        try checkpoint.recordGap(PartitionRange(partition, gap), reason: .skipped, now: 0)
        gapCount += 1
      }
      if number(below: 3) == 0 {
        log.removeRecords(before: log.low + number(below: log.end - log.low + 1))
      }
    }
    if number(below: 6) == 0 { cluster.create("t", partitionCount: 3) }
    // Made anew, shorter or with fewer partitions.
    if number(below: 12) == 0 {
      if number(below: 2) == 0 {
        cluster.topics["t"]?.removeLast()
      } else {
        cluster.topics["t"]?[0] = MemoryLog()
      }
      isReplaced = true
    }
  }

  /// A log of other messages takes the place of one that was read.
  func replace(_ partition: Int, count: Int) {
    let log = MemoryLog()
    for _ in 0..<count { log.append(Array("2\n".utf8)) }
    cluster.topics["t"]?[partition] = log
  }

  func append(_ count: Int, to partition: Int) {
    for _ in 0..<count { cluster.topics["t"]?[partition].append(Array("1\n".utf8)) }
  }

  func removeRecords(before offset: Offset, of partition: Int) {
    cluster.topics["t"]?[partition].removeRecords(before: offset)
  }

  func preview() throws -> PlanPreview {
    let reader = try CheckpointReader(
      path: Checkpoint.path(ofJob: job.name, folder: folder), job: job)
    return try PlanPreview(
      job: job, status: try reader.status(), sources: [MemorySource("main", cluster)])
  }

  /// - Returns: What was read, and how the run ended.
  func run(
    maxBatches: Int?, maxDurationMilliseconds: Int64? = nil,
    beforeRead: @escaping (Int) throws -> Void = { _ in }
  ) throws -> (
    ranges: [PartitionRange], counted: [PartitionRange], summary: RunSummary, error: RunError?
  ) {
    let before = try open().ledgers
    let source = ListeningSource(cluster)
    source.beforeRead = beforeRead
    var options = RunOptions(clock: { 0 }, nanoseconds: nanoseconds, release: "test")
    options.publishingExecutor = { CallerExecutor() }
    options.maxBatches = maxBatches
    options.maxDurationMilliseconds = maxDurationMilliseconds
    let run = try Run(
      job: job, checkpoint: try open(), sources: [source],
      storeAt: { [places] in places.store(at: $0.text) }, options: options,
      logger: Logger(label: "plan") { _ in SwiftLogNoOpLogHandler() })
    let (summary, errors) = run.execute()
    lossCount += Int(summary.lostOffsetCount)
    let counted = source.ranges.filter { $0.from >= before[$0.partition]?.nextOffset ?? 0 }
    return (source.ranges, counted, summary, errors.first)
  }
}

@Suite("A plan that is shown")
struct PlanPreviewTests {
  @Test("is what the next run reads, and its lag is what all of its batches read")
  func property() throws {
    var (reads, gaps, losses, stops) = (0, 0, 0, 0)
    for seed in 0..<100 as Range<UInt64> {
      let history = try History(seed: seed)
      _ = try history.run(maxBatches: 0)
      for step in 0..<6 {
        try history.change()
        let preview = try history.preview()
        let run = try history.run(maxBatches: 1)
        let what = "seed \(seed), step \(step)"
        // What is read below progress is compared, not counted.
        #expect(preview.plan.ranges == run.counted, "\(what)")
        #expect((preview.obstacle != nil) == (run.error?.code == .dataLoss), "\(what)")
        if run.error != nil {
          stops += 1
          #expect(run.error?.code == .dataLoss, "\(what): \(String(describing: run.error))")
          break
        }
        #expect(run.summary.repeatedBatch == nil)
        #expect(run.summary.lag == preview.lag - preview.plan.offsetCount, "\(what)")
        reads += preview.plan.isEmpty ? 0 : 1
        // A gap of the old log may take progress beyond the new one.
        if history.isReplaced { break }
        let next = try history.preview()
        #expect(next.lag == run.summary.lag, "\(what)")
        let rest = try history.run(maxBatches: step % 2 == 0 ? nil : 2)
        let sum = rest.counted.reduce(0) { $0 + $1.count }
        #expect(rest.error == nil, "\(what): \(String(describing: rest.error))")
        #expect(rest.summary.lag == next.lag - sum, "\(what)")
        if step % 2 == 0 { #expect(rest.summary.lag == 0, "\(what)") }
      }
      gaps += history.gapCount
      losses += history.lossCount
    }
    // The histories are about something.
    #expect(reads > 60 && gaps > 60 && losses > 60 && stops > 10)
  }

  @Test("leaves out the plan of a dead run that the run voids, because it must record a gap first")
  func voidedPlan() throws {
    let history = try History(
      SeededRandom(seed: 1), policy: "skip", start: "earliest", maxOffsets: 4)
    for partition in 0...1 { history.append(10, to: partition) }
    let dead = try history.run(maxBatches: nil) { read in if read == 2 { throw Died() } }
    #expect(dead.error != nil && dead.ranges.count == 2)
    #expect(try history.preview().isRepeated)
    history.removeRecords(before: 9, of: 1)
    let preview = try history.preview()
    let run = try history.run(maxBatches: 1)
    #expect(!preview.isRepeated && run.summary.repeatedBatch == nil)
    #expect(preview.plan.ranges == run.counted && !run.counted.isEmpty)
  }

  @Test("is planned anew behind a run whose time was up: nothing was interrupted")
  func timeUp() throws {
    let history = try History(
      SeededRandom(seed: 1), policy: "fail", start: "earliest", maxOffsets: 4)
    for partition in 0...1 { history.append(10, to: partition) }
    let clock = Mutex<Int64>(0)
    history.nanoseconds = { clock.withLock { $0 } }
    let run = try history.run(maxBatches: nil, maxDurationMilliseconds: 50) { read in
      // While the third batch is read.
      if read == 3 { clock.withLock { $0 = 50_000_000 } }
    }
    #expect(run.error == nil && run.summary.batchCount == 3 && !run.summary.isStopped)
    #expect(run.summary.lag == 8 && run.summary.dirtyCount == 0 && run.summary.publishedCount > 0)
    history.append(10, to: 0)
    let preview = try history.preview()
    #expect(!preview.isRepeated && preview.lag == 18)
    #expect(try history.run(maxBatches: nil).summary.repeatedBatch == nil)
  }

  private struct Died: Error {}
}

@Suite("A run during which retention passes the end that it has seen")
struct RetentionTests {
  @Test("records the loss as a gap, ends well, and the next run reads what came behind it")
  func retention() throws {
    let history = try History(
      SeededRandom(seed: 1), policy: "skip", start: "earliest", maxOffsets: 5)
    history.append(10, to: 0)
    let run = try history.run(maxBatches: nil) { read in
      if read != 2 { return }
      history.append(20, to: 0)
      history.removeRecords(before: 15, of: 0)
    }
    #expect(run.error == nil && run.summary.lostOffsetCount == 10)
    #expect(try history.preview().incidents.isEmpty)
    let next = try history.run(maxBatches: nil)
    #expect(next.error == nil)
    #expect(next.counted.map(\.range.description) == ["[15, 20)", "[20, 25)", "[25, 30)"])
  }
}

@Suite("A run during which a topic is made anew")
struct ReplacedWhileRunningTests {
  @Test("notices every log that was replaced, whatever came of the one before, and counts nothing")
  func comparison() throws {
    let history = try History(
      SeededRandom(seed: 1), policy: "skip", start: "earliest", maxOffsets: 100)
    for partition in 0...1 { history.append(5, to: partition) }
    #expect(try history.run(maxBatches: nil).error == nil)
    for partition in 0...1 { history.append(5, to: partition) }
    let run = try history.run(maxBatches: nil) { read in
      if read != 1 { return }
      // After the ends were asked for: one is shorter than what was read, one has outgrown it.
      history.replace(0, count: 2)
      history.replace(1, count: 20)
    }
    #expect(run.error?.code == .dataLoss && run.summary.batchCount == 0)
    #expect(try history.preview().incidents.map(\.partition.partition) == [0, 1])
    #expect(try history.run(maxBatches: nil).summary.batchCount == 0)
  }
}
