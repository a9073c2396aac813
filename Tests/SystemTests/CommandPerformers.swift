import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import Logging
import ObjectStorage
import Offsets
import Simulation
import TestSupport
import Wiring

/// The job of the histories.
enum HistoryJob {
  static func text(_ topic: KnownTopic, broker: String, start: Account.Start, maxOffsets: Int)
    -> String
  {
    let startText =
      switch start {
      case .earliest: "earliest"
      case .latest: "latest"
      case .timestamp: "\"\(time(BackfillHistory.startTime))\""
      }
    return """
      name: job
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "\(broker)" },
          topics: [\(topic.name)] }]
        start: \(startText)
        format: csv
        fields: { api_id: int32, time_taken: int32 }
      trigger: { max_offsets: \(maxOffsets) }
      window: { tumbling: 5m }
      where: time_taken >= 0
      aggregate: { by: [api_id], measures: { calls: count(), time_taken: sum(time_taken) } }
      select: { share: 100.0 * time_taken / sum(time_taken) OVER () }
      output: { to: "file:out", format: csv }

      """
  }

  /// Within the hour in which the topics begin.
  static func time(_ milliseconds: Int64) -> String {
    let seconds = (milliseconds - KnownTopic.start) / 1_000
    let parts = [seconds / 60, seconds % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }
    return "2026-11-23T10:\(parts[0]):\(parts[1])Z"
  }

  /// What batches made of the records, whatever their order was.
  static func content(_ folder: TemporaryFolder) throws -> String {
    let result = try execute(
      "/usr/bin/sqlite3",
      [
        folder.path + "/checkpoints/job.sqlite",
        """
        SELECT * FROM groups ORDER BY 1, 2; SELECT * FROM window_offsets ORDER BY 1, 2;
        SELECT window, records FROM windows ORDER BY 1;
        SELECT source, topic, partition, next_offset FROM partitions ORDER BY 1, 2, 3
        """,
      ])
    struct Failed: Error { let errors: String }
    if result.exitCode != 0 { throw Failed(errors: result.errors) }
    return result.output
  }
}

/// The shipped binary, killed by SIGKILL.
final class ShippedPerformer: CommandPerformer {
  let folder: TemporaryFolder
  let ends: [PartitionID: Offset]
  private let stack: TestStack

  init(_ stack: TestStack, _ topic: KnownTopic, start: Account.Start, maxOffsets: Int) throws {
    self.stack = stack
    folder = try TemporaryFolder(inMemory: true)
    ends = topic.ends
    try folder.write(
      HistoryJob.text(topic, broker: stack.broker, start: start, maxOffsets: maxOffsets),
      to: "job.yaml")
  }

  /// The topic is there as a whole.
  func grow(_ random: inout SeededRandom) {}

  func perform(_ command: JobCommand, dyingAt step: Int?) throws -> JobCommand.Ending {
    let arguments = words(command) + (step.map { ["--die-at-step", "\($0)"] } ?? [])
    let result = try stack.tranche(arguments, in: folder.path)
    switch (result.exitCode, command) {
    case (0, _): return .well
    case (-SIGKILL, _) where step != nil: return .died
    case (65, .cancel), (65, .skip): return .refused
    default: throw Unexpected(arguments: arguments, result: result)
    }
  }

  struct Unexpected: Error {
    let arguments: [String]
    let result: ProcessResult
  }

  private func words(_ command: JobCommand) -> [String] {
    func words(_ range: PartitionRange) -> [String] {
      [
        "--topic", range.partition.topic, "--partition", "\(range.partition.partition)",
        "--from", "\(range.from)", "--to", "\(range.to)",
      ]
    }
    switch command {
    case .run(let batches):
      return ["run", "job.yaml"] + (batches.map { ["--batches", "\($0)"] } ?? [])
    case .cancel(let number): return ["backfill", "job.yaml", "--cancel", "\(number)"]
    case .skip(let gap): return ["skip", "job.yaml"] + words(gap)
    case .backfill(let wish, let goesFirst):
      var all = ["backfill", "job.yaml"]
      switch wish {
      case .gaps: all.append("--gaps")
      case .beforeStart: all.append("--before-start")
      case .ranges(let ranges): all += ranges.flatMap(words)
      case .times(let from, let to):
        all += from.map { ["--from-time", HistoryJob.time($0)] } ?? []
        all += to.map { ["--to-time", HistoryJob.time($0)] } ?? []
      }
      return goesFirst ? all + ["--first"] : all
    }
  }
}

/// The product's own engine, checkpoints, client and store in this process: ten times as many
/// histories in the same time.
///
/// A death is a copy of all files at that instant: the command goes on to its end, and then the
/// copy takes the place of what it has left. Messages that are to come later are on the broker from
/// the beginning, and hidden.
final class EnginePerformer: CommandPerformer {
  let folder: TemporaryFolder
  private let job: Job
  private let all: [PartitionID: Offset]
  private(set) var ends: [PartitionID: Offset]
  private var source: GrowingSource?
  private var random: SeededRandom

  /// - Parameter ends: Up to where it sees the logs at first; anywhere unless they are given.
  init(
    _ stack: TestStack, _ topic: KnownTopic, start: Account.Start, maxOffsets: Int,
    ends: [PartitionID: Offset]? = nil, random: SeededRandom
  ) throws {
    self.random = random
    folder = try TemporaryFolder(inMemory: true)
    let text = HistoryJob.text(topic, broker: stack.broker, start: start, maxOffsets: maxOffsets)
    job = try JobFile.parse(
      text: text.replacing("file:out", with: "file:\(folder.path)/out"), path: "job.yaml",
      environment: [:], readFile: { _ in nil })
    all = topic.ends
    self.ends = [:]
    for (partition, end) in all.sorted(by: { $0.key < $1.key }) {
      self.ends[partition] =
        ends?[partition] ?? Offset.random(in: topic.low(partition)...end, using: &self.random)
    }
  }

  func grow(_ random: inout SeededRandom) {
    for (partition, end) in all.sorted(by: { $0.key < $1.key }) {
      let seen = ends[partition] ?? 0
      if Bool.random(using: &random) {
        ends[partition] = Offset.random(in: seen...end, using: &random)
      }
    }
    source?.ends = ends
  }

  func perform(_ command: JobCommand, dyingAt step: Int?) throws -> JobCommand.Ending {
    let death = Death(at: step, in: folder.path)
    let isDone = try perform(command, death)
    guard death.hasCome else { return isDone ? .well : .refused }
    try death.restore()
    return .died
  }

  /// - Returns: False where it is refused.
  private func perform(_ command: JobCommand, _ death: Death) throws -> Bool {
    let source = try currentSource()
    let checkpoint = try open { death.step() }
    switch command {
    case .run(let batches): try run(checkpoint, source, batches, death)
    case .cancel(let number): return try checkpoint.cancelBackfill(number, now: 0) != nil
    case .skip(let gap):
      let end = try source.ends(of: [gap.partition])[gap.partition]?.end
      guard checkpoint.ledgers[gap.partition]?.problem(ofGap: gap.range, end: end) == nil else {
        return false
      }
      try checkpoint.recordGap(gap, reason: .skipped, now: 0)
    case .backfill(let wish, let goesFirst):
      let taken = try BackfillProposal(
        wish, of: checkpoint.ledgers, where: { _ in true }, in: [source]
      ).taken
      if !taken.isEmpty {
        _ = try checkpoint.addBackfill(taken, goesFirst: goesFirst, now: 0)
      }
      let isPublished = try CheckpointReader(path: checkpoint.path).dirtyOutputs().isEmpty
      if checkpoint.backfills.isEmpty && isPublished { return true }
      try run(checkpoint, source, nil, death)
    }
    return true
  }

  /// Records what the job is never to read, then reads all the rest in one run.
  func passOver(everythingBut counted: [PartitionID: OffsetRangeSet]) throws {
    let source = try currentSource()
    let checkpoint = try open {}
    // Meets the partitions, and reads nothing of them.
    try run(checkpoint, source, 0, Death(at: nil, in: folder.path))
    for (partition, end) in ends {
      let start = checkpoint.ledgers[partition]?.start ?? 0
      let all = OffsetRangeSet([OffsetRange(from: start, to: end)])
      for gap in all.subtracting(counted[partition] ?? OffsetRangeSet()).ranges {
        try checkpoint.recordGap(PartitionRange(partition, gap), reason: .skipped, now: 0)
      }
    }
    try run(checkpoint, source, nil, Death(at: nil, in: folder.path))
  }

  /// While another test starts a process, that has all locks of this one for an instant.
  private func unlocked<Result>(_ body: () throws -> Result, while isLocked: (any Error) -> Bool)
    throws -> Result
  {
    let deadline = ContinuousClock.now + .seconds(20)
    while true {
      do { return try body() } catch  where isLocked(error) && ContinuousClock.now < deadline {
        sched_yield()
      }
    }
  }

  private func open(_ step: @escaping @Sendable () -> Void) throws -> Checkpoint {
    try unlocked {
      try Checkpoint(
        job: job, folder: folder.path + "/checkpoints", holder: "a history", now: 0, release: "0",
        step: step)
    } while: { error in
      if case .locked? = (error as? CheckpointError)?.code { true } else { false }
    }
  }

  private func store(_ path: String, _ death: Death) throws -> FileStore {
    let store = FileStore(root: path) { death.step() }
    try unlocked {
      try store.holdPlace()
    } while: { error in
      (error as? ObjectStoreError)?.code == .held
    }
    return store
  }

  /// A process has a client of its own; here most commands share one with the command before.
  private func currentSource() throws -> GrowingSource {
    if let source, Int.random(in: 0...9, using: &random) > 0 { return source }
    let new = GrowingSource(try KafkaSource(job.clusters[0], job: job), ends)
    source = new
    return new
  }

  private func run(
    _ checkpoint: Checkpoint, _ source: GrowingSource, _ batches: Int?, _ death: Death
  ) throws {
    let clock = Clock()
    nonisolated(unsafe) let performer = self
    // So the ends are asked for anew now and then, as in a long run.
    var options = RunOptions(clock: { 0 }, nanoseconds: { clock.nanoseconds() }, release: "0")
    options.maxBatches = batches
    options.failpoint = { _ in death.step() }
    // A dead process does nothing more; what this one does is thrown away.
    options.isStopRequested = { death.hasCome }
    options.publishingExecutor = {
      SteppingExecutor { Int.random(in: 0...6, using: &performer.random) }
    }
    options.token = { "\(UInt64.random(in: 0...UInt64.max, using: &performer.random))" }
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: [source],
      storeAt: { [self] place in
        guard case .file(let path) = place else { preconditionFailure("\(place)") }
        return try store(path, death)
      }, options: options, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let (summary, errors) = run.execute()
    if death.hasCome { return }
    struct Failed: Error { let errors: [RunError], dirtyCount: Int }
    if !errors.isEmpty || summary.dirtyCount > 0 {
      throw Failed(errors: errors, dirtyCount: summary.dirtyCount)
    }
    death.step()
  }

  /// Goes on by a second whenever it is read.
  private final class Clock: @unchecked Sendable {
    // @unchecked: read in one thread.
    private var seconds: Int64 = 0

    func nanoseconds() -> Int64 {
      seconds += 1
      return seconds * 1_000_000_000
    }
  }
}

/// Copies the files of a job at the n-th durable step: what a kill would leave.
private final class Death: @unchecked Sendable {
  // @unchecked: the run and its publisher are one thread here.
  private var stepsLeft: Int
  private let folder: String
  private let files = FileManager.default
  private(set) var hasCome = false
  private static let names = ["checkpoints/job.sqlite", "checkpoints/job.sqlite-wal", "out"]

  init(at step: Int?, in folder: String) {
    stepsLeft = step ?? .max
    self.folder = folder
  }

  func step() {
    stepsLeft -= 1
    if stepsLeft != 0 { return }
    hasCome = true
    do {
      try files.createDirectory(
        atPath: "\(folder)/dead/checkpoints", withIntermediateDirectories: true)
      for name in Self.names where files.fileExists(atPath: "\(folder)/\(name)") {
        try files.copyItem(atPath: "\(folder)/\(name)", toPath: "\(folder)/dead/\(name)")
      }
    } catch {
      preconditionFailure("the files cannot be copied: \(error)")
    }
  }

  func restore() throws {
    for name in Self.names + ["checkpoints/job.sqlite-shm"] {
      try? files.removeItem(atPath: "\(folder)/\(name)")
    }
    for name in Self.names where files.fileExists(atPath: "\(folder)/dead/\(name)") {
      try files.moveItem(atPath: "\(folder)/dead/\(name)", toPath: "\(folder)/\(name)")
    }
    try files.removeItem(atPath: "\(folder)/dead")
  }
}

/// A real cluster whose newest messages are yet to come.
private final class GrowingSource: MessageSource {
  private let cluster: KafkaSource
  var ends: [PartitionID: Offset]

  init(_ cluster: KafkaSource, _ ends: [PartitionID: Offset]) {
    self.cluster = cluster
    self.ends = ends
  }

  var source: String { cluster.source }
  func clusterID() throws(SourceError) -> String? { try cluster.clusterID() }
  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    try cluster.partitionCounts(of: topics)
  }

  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
    var found = try cluster.ends(of: partitions)
    for (partition, end) in found {
      found[partition] = PartitionEnd(low: end.low, end: min(end.end, ends[partition] ?? 0))
    }
    return found
  }

  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] {
    try cluster.highWatermarks(of: partitions)
  }

  func offsets(
    at timestampMilliseconds: Int64, of partitions: [PartitionID]
  ) throws(SourceError) -> [PartitionID: Offset] {
    var found = try cluster.offsets(at: timestampMilliseconds, of: partitions)
    for (partition, offset) in found { found[partition] = min(offset, ends[partition] ?? 0) }
    return found
  }

  func prepare(_ ranges: [PartitionRange]) throws(SourceError) { try cluster.prepare(ranges) }

  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    try cluster.committed(of: partitions, in: group)
  }
  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool {
    try cluster.commit(offsets, to: group, metadata: metadata)
  }

  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    try cluster.read(ranges, body)
  }
}
