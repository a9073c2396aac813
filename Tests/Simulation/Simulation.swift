import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import ObjectStorage
import Offsets
import Synchronization
import TestSupport

/// One seeded history of a job: runs on a broker and a store that fail as the script says, with crashes anywhere, on a real SQLite file.
///
/// The engine is the product's; only its two ports are fakes, and publishing goes on in the run's own thread, so a seed replays exactly. A crash is a
/// copy of the checkpoint's files and the store taken at that step: the run goes on, and what it did afterwards is thrown away.
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
  }

  struct Record {
    let id: Int
    let key: Int
    let value: Int
    let timestampMilliseconds: Int64
    let isMalformed: Bool

    var bytes: [UInt8] { Array(isMalformed ? "oops \(id)\n".utf8 : "\(id),\(key),\(value)\n".utf8) }
  }

  struct Log {
    /// Nil is a hole.
    var records: [Record?] = []
    var low: Int64 = 0
    /// What may be read: below the records' count while a transaction is open.
    var end: Int64 = 0
  }

  var random: SeededRandom
  let sabotage: Sabotage?
  let folder: String
  let job: Job
  var logs: [PartitionID: Log] = [:]
  private(set) lazy var store = FakeStore(self)
  private var recordCount = 0
  /// Whether anything fails now.
  var isCalm = false
  private(set) var runCount = 0
  private(set) var crashCount = 0
  private(set) var batchCount = 0

  /// Counts down to the step at which the process dies.
  private var stepsToCrash = Int.max
  private var snapshot: (files: [String: Data], store: FakeStore.State)?

  init(seed: UInt64, job: Job, template: [String: Data], folder: String, sabotage: Sabotage? = nil) throws {
    random = SeededRandom(seed: seed)
    self.sabotage = sabotage
    self.folder = folder
    var job = job
    job.maxOffsets = Int64.random(in: 1...12, using: &random)
    if job.output.keep == .latest {
      job.output.publish = [.batch, .batch, .runEnd, .every(milliseconds: 30_000)].randomElement(using: &random) ?? .batch
    }
    self.job = job
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, data) in template { try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
    for topic in ["a", "b"] { for number in 0..<Int32.random(in: 1...2, using: &random) { addPartition(topic, number) } }
  }

  /// Plays the history and compares what is left at its end with the records.
  ///
  /// - Returns: What differs, or nil.
  func play() throws -> String? {
    for _ in 0..<Int.random(in: 1...5, using: &random) {
      change()
      if chance(20) { try skip() }
      if let problem = try run() { return problem }
    }
    change(isLast: true)
    isCalm = true
    // The first catches up, the second finds nothing new and settles what the first left unsettled.
    for _ in 0..<2 { if let problem = try run() { return problem } }
    if sabotage == .lossWithoutGap { try edit("DELETE FROM gaps") }
    return try difference()
  }

  // MARK: - The world

  private func addPartition(_ topic: String, _ number: Int32) {
    logs[PartitionID(source: topic == "a" ? "one" : "two", topic: topic, partition: number)] = Log()
  }

  /// What happens between runs: records come, transactions open and end, partitions are added, retention removes.
  private func change(isLast: Bool = false) {
    store.applyLateWrites()
    let addsNothing = chance(50)
    if chance(10) {
      let count = Int32(logs.keys.filter { $0.topic == "a" }.count)
      addPartition("a", count)
    }
    for partition in logs.keys.sorted() {
      guard var log = logs[partition] else { continue }
      // Half of the histories end without new records, so that the last runs repair and nothing more.
      for _ in 0..<(isLast && addsNothing ? 0 : Int.random(in: 0...8, using: &random)) {
        recordCount += 1
        log.records.append(
          chance(12)
            ? nil
            : Record(
              id: recordCount, key: Int.random(in: 0...3, using: &random), value: Int.random(in: -2...9, using: &random),
              timestampMilliseconds: Int64.random(in: 0..<180_000, using: &random), isMalformed: chance(6)))
      }
      let count = Int64(log.records.count)
      log.end = isLast || chance(75) ? count : Int64.random(in: log.end...count, using: &random)
      if chance(6) { log.low = Int64.random(in: log.low...log.end, using: &random) }
      logs[partition] = log
    }
  }

  /// Somebody passes over offsets by hand, some of them ahead of progress, as `tranche skip` does.
  private func skip() throws {
    let checkpoint = try Checkpoint(job: job, folder: folder, holder: "skip", now: 0, release: "0")
    for (partition, progress) in checkpoint.progress.sorted(by: { $0.key < $1.key }) {
      guard let end = logs[partition]?.end else { continue }
      for _ in 0..<2 {
        let from = progress.nextOffset + Int64.random(in: 0...3, using: &random)
        let gap = PartitionRange(partition, OffsetRange(from: from, to: from + Int64.random(in: 1...2, using: &random)))
        let next = checkpoint.progress[partition]?.nextOffset ?? 0
        guard from >= next, gap.range.to <= end, checkpoint.gapMeeting(gap) == nil else { continue }
        try checkpoint.recordGap(gap, reason: .skipped, now: 0)
      }
    }
  }

  func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
  func fails(_ percent: Int) -> Bool { !isCalm && chance(percent) }

  /// A durable step or a call to the outside.
  func step() {
    guard stepsToCrash > 0 else { return }
    stepsToCrash -= 1
    if stepsToCrash == 0 { snapshot = (files(), store.state) }
  }

  /// A clock that goes on by a second whenever it is read.
  func nanoseconds() -> Int64 {
    readings += 1
    return readings * 1_000_000_000
  }
  private var readings: Int64 = 0

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
    stepsToCrash = fails(55) ? Int.random(in: 1...25, using: &random) : Int.max
    snapshot = nil
    if let problem = try execute() { return problem }
    guard let snapshot else { return nil }
    crashCount += 1
    for name in ["sqlite", "sqlite-wal", "sqlite-shm"] { try? FileManager.default.removeItem(atPath: "\(folder)/\(job.name).\(name)") }
    for (name, data) in snapshot.files { try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
    store.state = snapshot.store
    try tamper()
    return nil
  }

  private func execute() throws -> String? {
    let now = Int64.random(in: 0...2_000_000_000_000, using: &random)
    nonisolated(unsafe) let simulation = self
    let checkpoint = try Checkpoint(job: job, folder: folder, holder: "simulation", now: now, release: "0", step: { simulation.step() })
    if chance(5) {
      do {
        _ = try Checkpoint(job: job, folder: folder, holder: "second", now: now, release: "0")
        return "a second run got the lock"
      } catch { guard case .locked = error.code else { return "a second run failed with \(error)" } }
    }
    var options = RunOptions(clock: { now }, nanoseconds: { simulation.nanoseconds() }, release: "0")
    options.publishesInline = true
    options.token = { "token of run \(simulation.runCount)" }
    options.graceMilliseconds = [0, 3_000, 20_000].randomElement(using: &random) ?? 0
    options.failpoint = { _ in simulation.step() }
    if chance(20) { options.maxBatches = Int.random(in: 1...3, using: &random) }
    if isCalm { options.maxBatches = nil }
    let stopAfter = fails(8) ? Int.random(in: 0...6, using: &random) : Int.max
    let asked = Mutex(0)
    options.isStopRequested = {
      asked.withLock {
        $0 += 1; return $0 > stopAfter
      }
    }
    let sources = job.clusters.map { FakeBroker($0.name, self) }
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: sources, storeAt: { _ in simulation.store }, options: options,
      logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
    let (summary, error) = run.execute()
    batchCount += summary.batchCount
    if let error {
      if isCalm { return "a calm run failed: \(error)" }
      if error.kind != .unreachable { return "a run failed with \(error.kind): \(error)" }
    } else if summary.dirtyCount > 0 && !summary.isStopped {
      return "a run ended well with \(summary.dirtyCount) dirty objects"
    }
    return nil
  }

  /// What a crash leaves where the sabotage says so.
  private func tamper() throws {
    switch sabotage {
    case .progressInASecondTransaction:
      try edit("UPDATE partitions SET next_offset = max(start_offset, next_offset - 1)")
    case .progressBeforeState:
      try edit("UPDATE partitions SET next_offset = next_offset + 1 WHERE next_offset > start_offset")
    case .startResolvedAgain:
      try edit("UPDATE partitions SET start_offset = 0, next_offset = 0")
    default: break
    }
  }

  func edit(_ sql: String) throws {
    let result = try TestSupport.execute("/usr/bin/sqlite3", ["\(folder)/\(job.name).sqlite", sql])
    guard result.exitCode == 0 else { throw SQLFailure(text: result.errors) }
  }

  struct SQLFailure: Error { let text: String }

  // MARK: - The oracle

  /// Holds the objects against plain dictionaries over the records.
  private func difference() throws -> String? {
    let reader = try CheckpointReader(path: Checkpoint.path(ofJob: job.name, folder: folder))
    let status = try reader.status()
    for (partition, log) in logs {
      let next = status.partitions.first { $0.partition == partition }?.nextOffset
      if next != log.end { return "\(partition): next offset \(next.map(String.init) ?? "none") of \(log.end)" }
    }
    var windows: [Int64: [Int: (calls: Int, total: Int)]] = [:]
    var rows: [String] = []
    var rejects: [String] = []
    for (partition, log) in logs {
      let start = status.partitions.first { $0.partition == partition }?.startOffset ?? 0
      let gaps = status.gaps.filter { $0.range.partition == partition }.map(\.range.range)
      let lost = status.gaps.filter { $0.range.partition == partition && $0.reason == "lost" }.map(\.range.range)
      if let gap = lost.first(where: { $0.to > log.low }) { return "\(partition): gap \(gap) where only \(log.low) offsets were lost" }
      for (offset, record) in log.records.enumerated() {
        guard let record, offset >= start, !gaps.contains(where: { $0.contains(Int64(offset)) }) else { continue }
        if record.isMalformed {
          rejects.append("\(partition) \(offset)")
        } else if record.value >= 0 {
          rows.append("\(record.id),\(record.key),\(record.value)")
          let window = job.window == .global ? 0 : record.timestampMilliseconds / 60_000 * 60_000
          var group = windows[window, default: [:]][record.key] ?? (0, 0)
          group.calls += 1
          group.total += record.value
          windows[window, default: [:]][record.key] = group
        }
      }
    }
    return compareRejects(rejects.sorted()) ?? (job.aggregate == nil ? compareRows(rows.sorted()) : compareWindows(windows))
  }

  private func compareWindows(_ windows: [Int64: [Int: (calls: Int, total: Int)]]) -> String? {
    var expected: [String: String] = [:]
    for (window, groups) in windows {
      var text = "k,calls,total,share\n"
      let sum = groups.values.reduce(0) { $0 + $1.total }
      for (key, group) in groups.sorted(by: { $0.key < $1.key }) {
        text += "\(key),\(group.calls),\(group.total),\(sum == 0 ? "\\N" : "\(100.0 * Double(group.total) / Double(sum))")\n"
      }
      expected[ObjectKeys.window(window, of: job)] = text
    }
    let found = store.state.objects.filter { !$0.key.hasPrefix("_") }.mapValues { String(decoding: $0, as: UTF8.self) }
    for key in Set(expected.keys).union(found.keys).sorted() where expected[key] != found[key] {
      return "\(key): \(found[key] ?? "missing") for \(expected[key] ?? "nothing")"
    }
    return nil
  }

  private func compareRows(_ expected: [String]) -> String? {
    var found: [String] = []
    for (key, bytes) in store.state.objects where !key.hasPrefix("_") {
      let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst()
      found += lines.map { $0.split(separator: ",").prefix(3).joined(separator: ",") }
    }
    return found.sorted() == expected ? nil : "rows: \(found.count) for \(expected.count)"
  }

  private func compareRejects(_ expected: [String]) -> String? {
    var found: [String] = []
    for (key, bytes) in store.state.objects where key.hasPrefix("_tranche/rejects/") {
      for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
        guard let reject = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else { return "\(key): \(line)" }
        found.append("\(reject["source"] ?? "")/\(reject["topic"] ?? "")[\(reject["partition"] ?? "")] \(reject["offset"] ?? "")")
      }
    }
    return found.sorted() == expected ? nil : "rejects: \(found.sorted()) for \(expected)"
  }
}

/// A cluster that is unreachable, slow or partial, and loses what retention takes, as the script says.
final class FakeBroker: MessageSource {
  let source: String
  private let simulation: Simulation

  init(_ source: String, _ simulation: Simulation) {
    self.source = source
    self.simulation = simulation
  }

  private func answer() throws(SourceError) {
    simulation.step()
    if simulation.fails(3) { throw SourceError(.unreachable, "\(source): no answer") }
  }

  func clusterID() throws(SourceError) -> String? {
    try answer()
    return "cluster of \(source)"
  }

  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    try answer()
    return Dictionary(
      uniqueKeysWithValues: topics.map { topic in (topic, Int32(simulation.logs.keys.filter { $0.topic == topic }.count)) })
  }

  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
    try answer()
    var ends: [PartitionID: PartitionEnd] = [:]
    for partition in partitions { ends[partition] = simulation.logs[partition].map { PartitionEnd(low: $0.low, end: $0.end) } }
    return ends
  }

  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] { [:] }

  func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] { [:] }

  /// What the engine said that it will read.
  private var expected: [PartitionID: OffsetRange] = [:]

  func prepare(_ ranges: [PartitionRange]) throws(SourceError) {
    simulation.step()
    for range in ranges { expected[range.partition] = range.range }
    // Retention takes what was planned a moment ago.
    guard simulation.fails(2), let range = ranges.first, var log = simulation.logs[range.partition] else { return }
    log.low = max(log.low, min(log.end, range.range.from + 1))
    simulation.logs[range.partition] = log
  }

  /// Partitions take turns at random, as they do when answers come from several brokers.
  func read(_ ranges: [PartitionRange], _ body: (Int, UnsafeBufferPointer<Message>) throws -> Void) throws {
    try answer()
    // A range that came ahead as a whole is empty; what follows may come ahead as well.
    for (index, range) in ranges.enumerated() where range.range.isEmpty && simulation.chance(50) {
      try readAhead(of: range) { try body(index, $0) }
    }
    var left = ranges.enumerated().filter { !$0.element.range.isEmpty }
    while !left.isEmpty {
      let place = Int.random(in: left.indices, using: &simulation.random)
      let (index, range) = left[place]
      // A part of the range, or what is left of it.
      let middle = Int64.random(in: range.range.from + 1...range.range.to, using: &simulation.random)
      let isLast = middle == range.range.to
      try read(PartitionRange(range.partition, OffsetRange(from: range.range.from, to: middle)), isLast: isLast) { try body(index, $0) }
      if isLast {
        left.remove(at: place)
        if simulation.chance(50) { try readAhead(of: range) { try body(index, $0) } }
      } else {
        left[place].element = PartitionRange(range.partition, OffsetRange(from: middle, to: range.range.to))
      }
    }
  }

  /// Lends some of what is expected behind a range; what fails there fails when it is asked for.
  private func readAhead(of range: PartitionRange, _ body: (UnsafeBufferPointer<Message>) throws -> Void) throws {
    guard let next = expected[range.partition], next.from == range.range.to, !next.isEmpty else { return }
    let end = Int64.random(in: next.from + 1...next.to, using: &simulation.random)
    do {
      try read(PartitionRange(range.partition, OffsetRange(from: next.from, to: end)), isLast: false, body)
    } catch is SourceError {}
  }

  private func read(_ range: PartitionRange, isLast: Bool, _ body: (UnsafeBufferPointer<Message>) throws -> Void) throws {
    guard let log = simulation.logs[range.partition] else { throw SourceError(.unknownTopic, "\(range)") }
    if range.range.from < log.low { throw SourceError(.truncated(oldestHeld: log.low), "\(range): begins at \(log.low)") }
    if simulation.fails(10) { try body(UnsafeBufferPointer(start: nil, count: 0)) }
    let from = simulation.sabotage == .readsOneOffsetTwice && isLast ? max(range.range.from - 1, log.low) : range.range.from
    for offset in from..<range.range.to {
      guard let record = log.records[Int(offset)] else { continue }
      // A connection that breaks after some of the messages.
      if simulation.fails(1) { throw SourceError(.unreachable, "\(range): broken at \(offset)") }
      let isTwice = simulation.sabotage == .duplicatesAreCounted && simulation.chance(5)
      for _ in 0..<(isTwice ? 2 : 1) {
        try record.bytes.withUnsafeBytes { value in
          let message = Message(offset: offset, timestampMilliseconds: record.timestampMilliseconds, key: nil, value: value)
          try withUnsafePointer(to: message) { try body(UnsafeBufferPointer(start: $0, count: 1)) }
        }
      }
    }
  }
}

/// A store that refuses, answers too late, or applies a request after the next one was acknowledged.
final class FakeStore: ObjectStore, @unchecked Sendable {
  // @unchecked: used from the run's thread alone, as publishing goes on inline.
  struct State {
    var objects: [String: [UInt8]] = [:]
    /// Requests without an answer that are still on their way.
    var late: [String: [UInt8]] = [:]
  }
  var state = State()
  private unowned let simulation: Simulation
  private var acknowledged: [String: String] = [:]

  init(_ simulation: Simulation) { self.simulation = simulation }

  let location = "fake", identity = "fake", sharesSyncs = true

  func holdPlace() {}

  private func fault(_ code: ObjectStoreError.Code, _ key: ObjectKey) -> ObjectStoreError {
    ObjectStoreError(code, place: "\(key)", reason: "injected", hadUnansweredAttempt: code == .unreachable)
  }

  func applyLateWrites() {
    for (key, bytes) in state.late { state.objects[key] = bytes }
    state.late = [:]
  }

  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    simulation.step()
    if simulation.fails(4) { throw fault(.serverError(status: 503), key) }
    if simulation.fails(3) {
      state.objects[key.value] = bytes
      throw fault(.unreachable, key)
    }
    if simulation.fails(3) {
      state.late[key.value] = bytes
      throw fault(.unreachable, key)
    }
    if simulation.sabotage == .marksCleanBeforeThePut && simulation.chance(20) {
      return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: false)
    }
    if simulation.sabotage == .coalescingDropsTheNewest && state.objects[key.value] != nil && simulation.chance(30) {
      return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: false)
    }
    state.objects[key.value] = bytes
    acknowledged[key.value] = etag(bytes)
    if let late = state.late.removeValue(forKey: key.value) { state.objects[key.value] = late }
    let isAmbiguous = simulation.fails(25)
    if isAmbiguous { state.late[key.value] = bytes }
    simulation.step()
    return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: isAmbiguous && simulation.sabotage != .neverSettles)
  }

  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    var receipts: [PutReceipt] = []
    for (key, bytes) in group { receipts.append(try put(bytes, at: key)) }
    return receipts
  }

  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    simulation.step()
    if simulation.fails(5) { throw fault(.unreachable, key) }
    if simulation.sabotage == .neverSettles, let etag = acknowledged[key.value] { return ObjectFacts(byteCount: 0, etag: etag) }
    return state.objects[key.value].map { ObjectFacts(byteCount: Int64($0.count), etag: etag($0)) }
  }

  func get(_ key: ObjectKey) throws(ObjectStoreError) -> [UInt8]? { state.objects[key.value] }
  func delete(_ key: ObjectKey) throws(ObjectStoreError) { state.objects[key.value] = nil }
  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    state.objects.keys.filter { $0.hasPrefix(prefix) }.sorted().map { ObjectKey($0) }
  }

  /// FNV-1a: any function of the bytes will do.
  private func etag(_ bytes: [UInt8]) -> String {
    String(bytes.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }, radix: 16)
  }
}
