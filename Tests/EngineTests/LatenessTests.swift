import Checkpoints
import Foundation
import Jobs
import ObjectStorage
import Offsets
import Tables
import TestSupport
import Testing
import Trials
import Windows

@testable import Engine

/// A job over a topic of several partitions in memory, whose windows are a minute long.
final class LateWorld {
  let cluster = MemoryCluster(identifier: "main")
  let places = MemoryPlaces()
  private let folder: TemporaryFolder
  /// Seconds since 1970.
  var now: Int64 = 0
  var reads: [PartitionRange] = []

  init(partitionCount: Int = 1) throws {
    folder = try TemporaryFolder()
    cluster.create("t", partitionCount: partitionCount)
  }

  static func job(
    _ window: String = "allowed_lateness: 1m", rejects: String = "max_share: 100%",
    time: String = "record_timestamp", by: String = "", to: String = "file:out",
    format: String = "csv", output: String = "", rest: String = ""
  ) throws -> Job {
    try JobFile.parse(
      text: """
        name: late
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { v: int64, at: "timestamp(unix_seconds)?" }
          start: earliest
        window: { tumbling: 1m, time: \(time), \(window) }
        aggregate: { by: [\(by)], measures: { n: count(), total: sum(v) } }
        output: { to: "\(to)", format: \(format)\(output) }
        rejects: { \(rejects) }
        \(rest)
        """, path: "late.yaml", environment: [:], readFile: { _ in nil })
  }

  /// A record whose message has a time, in seconds; nil for none.
  func come(_ seconds: Int64?, at field: Int64? = nil, partition: Int = 0, value: String = "1") {
    let text = "\(value),\(field.map { "\($0)" } ?? "")\n"
    cluster.topics["t"]?[partition].append(
      Array(text.utf8), timestampMilliseconds: seconds.map { $0 * 1_000 })
  }

  func open(_ job: Job, step: @escaping @Sendable () -> Void = {}) throws -> Checkpoint {
    try Checkpoint(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test", step: step)
  }

  @discardableResult
  func run(_ job: Job, maxBatches: Int? = nil) throws -> (RunSummary, [RunError]) {
    let checkpoint = try open(job)
    defer { checkpoint.close() }
    var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
    options.maxBatches = maxBatches
    return try runQuietly(job, checkpoint, [MemorySource("main", cluster)], options) {
      [places] in places.store(at: $0.text)
    }
  }

  /// Backfills offsets of partition 0.
  func backfill(_ job: Job, _ from: Offset, _ to: Offset) throws {
    let checkpoint = try open(job)
    defer { checkpoint.close() }
    let partition = PartitionID(source: "main", topic: "t", partition: 0)
    _ = try checkpoint.addBackfill(
      [PartitionRange(partition, OffsetRange(from: from, to: to))], goesFirst: true, now: 0)
  }

  func skip(_ job: Job, _ from: Offset, _ to: Offset) throws {
    let checkpoint = try open(job)
    defer { checkpoint.close() }
    let partition = PartitionID(source: "main", topic: "t", partition: 0)
    try checkpoint.recordGap(
      PartitionRange(partition, OffsetRange(from: from, to: to)), reason: .skipped, now: 0)
  }

  var path: String { "\(folder.path)/late.sqlite" }

  func reader(_ job: Job) throws -> CheckpointReader { try CheckpointReader(path: path, job: job) }

  func verify(_ job: Job) throws -> Verification {
    let scratch = try TemporaryFolder()
    let live = try reader(job)
    let copy = try VerificationCopy(of: live, job: job, at: scratch.path + "/verified.sqlite")
    return try Verifier(
      copy: copy, live: live, sources: [MemorySource("main", cluster)],
      store: places.store(at: job.output.destination.text),
      options: RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
    ).verify()
  }

  /// In seconds.
  func cutoff(_ job: Job) throws -> Int64? {
    try reader(job).status().cutoff.instant.map { $0 / 1_000 }
  }

  @discardableResult
  func sql(_ text: String) throws -> String {
    try execute("/usr/bin/sqlite3", [path, text]).output
  }

  /// The counts of each window, by its start in minutes.
  func counts() throws -> [Int: Int] {
    var counts: [Int: Int] = [:]
    for (key, bytes) in places.all["file:out"] ?? [:] where key.hasPrefix("window_start=") {
      let minute = Int(key.dropFirst("window_start=1970-01-01T00-".count).prefix(2)) ?? -1
      let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").last ?? ""
      counts[minute] = Int(line.split(separator: ",").first ?? "")
    }
    return counts
  }

  func rejects(_ job: Job) throws -> [String] {
    var lines: [String] = []
    try reader(job).forEachReject(RejectChoice(), newestFirst: false, limit: nil) { page in
      lines += page.map { "\($0.partition.partition) \($0.offset) \($0.reason)" }
    }
    return lines
  }
}

/// `window.allowed_lateness`, over a cluster and a store in memory.
@Suite("A late record")
struct LatenessTests {
  @Test("is a reject from the instant on at which its window is final, by the batch before")
  func boundary() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job().with(maxOffsets: 1))
    world.come(0)
    world.come(119)  // The cutoff is 59 s behind it.
    world.come(59)  // The first minute ends at 60 s and is open.
    world.come(120)  // The cutoff is 60 s behind it.
    world.come(59)  // Late, to the millisecond.
    world.come(60)
    let (summary, errors) = try world.run(job)
    #expect(errors.isEmpty && summary.lateCount == 1 && summary.rejectedCount == 1)
    #expect(try world.counts() == [0: 2, 1: 2, 2: 1])
    #expect(try world.rejects(job) == ["0 4 windowClosed"])
    #expect(try world.cutoff(job) == 60)
  }

  @Test("of the batch that moves the cutoff still counts")
  func sameBatch() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job())
    for second: Int64 in [0, 600, 1, 59] { world.come(second) }
    try world.run(job)
    #expect(try world.counts() == [0: 3, 10: 1])
    world.come(2)
    #expect(try world.run(job).0.lateCount == 1)
    #expect(try world.counts() == [0: 3, 10: 1])
  }

  @Test("counts where the job says nothing of lateness, and the cutoff is not even stored")
  func withoutTheKey() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job("").with(maxOffsets: 1))
    for second: Int64 in [0, 6_000, 1] { world.come(second) }
    #expect(try world.run(job).0.lateCount == 0)
    #expect(try world.counts()[0] == 2)
    #expect(try world.sql("SELECT cutoff, max(newest_time) FROM checkpoint, partitions") == "|\n")
  }

  @Test(
    "keeps its window's object as it is, is told by status, and is kept whatever the policy",
    arguments: [
      "policy: fail", "policy: drop", "policy: quarantine, max_share: 0%, min_records: 1",
    ])
  func policies(rejects: String) throws {
    let job = try LateWorld.job(rejects: rejects).with(maxOffsets: 2)
    let world = try LateWorld()
    for second: Int64 in [0, 600, 1, 2, 3, 601] { world.come(second) }
    let (summary, errors) = try world.run(job)
    #expect(errors.isEmpty && summary.lateCount == 3 && summary.batchCount == 3)
    #expect(
      try world.rejects(job) == ["0 2 windowClosed", "0 3 windowClosed", "0 4 windowClosed"])
    let status = try world.reader(job).status()
    #expect(status.lateCount == 3 && status.rejectedCount == 3 && status.recordCount == 3)
    #expect(try world.counts() == [0: 1, 10: 2])
  }

  @Test("is kept beside rejects that are dropped, and does not dilute or raise their share")
  func share() throws {
    let world = try LateWorld()
    let job = try LateWorld.job(rejects: "policy: drop, max_share: 40%, min_records: 2")
      .with(maxOffsets: 4)
    for second: Int64 in [0, 600, 601, 602] { world.come(second) }
    // Two good ones, a malformed one and a late one: a third of what is judged here.
    world.come(603)
    world.come(604)
    world.come(605, value: "oops")
    world.come(1)
    let (summary, errors) = try world.run(job)
    #expect(errors.isEmpty && summary.rejectedCount == 2 && summary.lateCount == 1)
    #expect(try world.rejects(job) == ["0 7 windowClosed"])
    // Five late ones make no share of the two malformed ones smaller.
    for _ in 0..<4 { world.come(2) }
    let shares = try LateWorld.job(
      rejects: "policy: drop, max_share: 40%, min_records: 2, max_share_over: 1"
    ).with(maxOffsets: 8)
    world.come(606)
    world.come(607, value: "oops")
    world.come(608, value: "oops")
    #expect(try world.run(shares).1.count == 1)
  }

  @Test("of a partition that nobody waits for is judged as any other: idle ones are not waited for")
  func idle() throws {
    let (world, job) = (try LateWorld(partitionCount: 2), try LateWorld.job())
    world.come(10, partition: 1)
    world.come(600)
    try world.run(job)
    // Both had records: the slower one holds the cutoff back.
    #expect(try world.cutoff(job) == -50)
    world.come(601)
    try world.run(job)
    #expect(try world.cutoff(job) == 541)
    world.come(20, partition: 1)
    world.come(700, partition: 1)
    #expect(try world.run(job).0.lateCount == 1)
    #expect(try world.rejects(job) == ["1 1 windowClosed"])
    // Only partition 1 has given something, and it is ahead.
    #expect(try world.cutoff(job) == 640)
  }

  @Test("of a partition that is behind counts: the cutoff waits for it, also before its first time")
  func behind() throws {
    let world = try LateWorld(partitionCount: 2)
    let job = try LateWorld.job().with(maxOffsets: 2)
    for second: Int64 in 600..<640 { world.come(second) }
    for second: Int64 in 1..<4 { world.come(second, partition: 1) }
    try world.run(job, maxBatches: 1)
    #expect(try world.cutoff(job) == -59)
    #expect(try world.run(job).0.lateCount == 0)
    #expect(try world.counts() == [0: 3, 10: 40])
    // A partition that has a hole alone has no time, and one offset more is left of it.
    world.cluster.create("t", partitionCount: 3)
    world.cluster.topics["t"]?[2].appendHole()
    world.come(3, partition: 2)
    for second: Int64 in 700..<708 { world.come(second) }
    let before = try world.cutoff(job)
    try world.run(job.with(maxOffsets: 1), maxBatches: 2)
    #expect(try world.cutoff(job) == before)
  }

  @Test("is told by a replay as by the run that died, whatever has come meanwhile")
  func replay() throws {
    let job = try LateWorld.job().with(maxOffsets: 2)
    let world = try LateWorld(partitionCount: 2)
    world.come(600)
    world.come(1, partition: 1)
    world.come(601)
    world.come(602)
    // The plan of batch 2 reaches both ends: partition 1 is idle.
    do {
      let checkpoint = try world.open(job)
      var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
      let stops = StopAfter(batches: 1)
      options.onProgress = { stops.count = $0.batchCount }
      options.isStopRequested = { stops.isReached }
      _ = try runQuietly(job, checkpoint, [MemorySource("main", world.cluster)], options) {
        world.places.store(at: $0.text)
      }
      #expect(checkpoint.inFlight?.behind == [])
    }
    // By now partition 1 is behind.
    for second: Int64 in 2..<9 { world.come(second, partition: 1) }
    try world.run(job, maxBatches: 1)
    #expect(try world.cutoff(job) == 542)
  }

  @Test("is one by the window's time; the cutoff goes no further than the messages' own times")
  func future() throws {
    let world = try LateWorld()
    let job = try LateWorld.job(time: "at").with(maxOffsets: 1)
    world.come(100, at: 80_000)  // A clock that is nearly a day ahead.
    world.come(101, at: 30)
    #expect(try world.run(job).0.lateCount == 0)
    #expect(try world.cutoff(job) == 40)
    world.come(nil, at: 90_000)  // Nobody knows whether that is ahead.
    world.come(300, at: 31)
    #expect(try world.run(job).0.lateCount == 0)
    // Its time is what counts, and not when the message was written.
    #expect(try world.cutoff(job) == 40)
    world.come(301, at: 301)
    world.come(302, at: 31)
    #expect(try world.run(job).0.lateCount == 1)
  }

  @Test("that a backfill reads counts in its final window, and the cutoff stays")
  func backfill() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job().with(maxOffsets: 1))
    world.come(0)
    world.come(5)
    world.come(9_000)
    world.come(601)
    try world.run(job, maxBatches: 1)
    try world.skip(job, 1, 3)
    world.come(900)
    try world.run(job)
    #expect(try world.cutoff(job) == 840)
    #expect(try world.reader(job).cutoff(of: job).isFinal(Window(0), of: job.window))
    try world.backfill(job, 1, 3)
    #expect(try world.run(job).0.lateCount == 0)
    #expect(try world.cutoff(job) == 840)
    #expect(try world.counts()[0] == 2)
  }

  @Test("of a topic that was made anew is judged by the same cutoff, which waits for the new log")
  func restart() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job().with(maxOffsets: 1))
    for second: Int64 in [0, 600, 601] { world.come(second) }
    try world.run(job)
    let partition = PartitionID(source: "main", topic: "t", partition: 0)
    do {
      let checkpoint = try world.open(job)
      try checkpoint.noteReplacedLog(partition, logEnd: nil, cause: .messageChanged(1), now: 0)
      _ = try checkpoint.restart(partition, from: 0, now: 0)
      #expect(checkpoint.newestTimes[partition] == nil)
    }
    let reopened = try world.open(job)
    #expect(reopened.newestTimes[partition] == nil && reopened.cutoff == Cutoff(541_000))
  }

  @Test(
    "is told from others by verify, whatever became of the others",
    arguments: ["quarantine", "drop"])
  func verify(policy: String) throws {
    let job = try LateWorld.job(rejects: "policy: \(policy), max_share: 100%").with(maxOffsets: 3)
    let world = try LateWorld(partitionCount: 2)
    for second: Int64 in [0, 61, 600, 1, 62, 601, 2, 602] {
      world.come(second)
      world.come(second + 5, partition: 1, value: second == 2 ? "oops" : "2")
    }
    let lateCount = try world.run(job).0.lateCount
    #expect(lateCount > 3)
    let report = try world.verify(job)
    #expect(
      report.findings.count == 0 && report.unprovable.count == 0 && report.rejectCount >= lateCount)
    try world.sql("DELETE FROM rejects WHERE reason = 'windowClosed' AND offset = 3")
    #expect(try world.verify(job).findings.count > 0)
  }

  @Test("of a batch that the history keeps no more leaves its window unprovable, and no other")
  func verifyWithoutHistory() throws {
    let job = try LateWorld.job(rest: "checkpoint: { history: 1 }").with(maxOffsets: 1)
    let world = try LateWorld()
    for second: Int64 in [0, 61, 600, 1, 601, 602, 603, 604] { world.come(second) }
    #expect(try world.run(job).0.lateCount == 1)
    let report = try world.verify(job)
    #expect(report.findings.count == 0)
    #expect(report.unprovable.first == ["1970-01-01T00:00:00.000Z", "rejects of batch 4"])
    // A window without late records is proved all the same.
    try world.sql("UPDATE groups SET total = 7 WHERE window = 60000")
    #expect(try world.verify(job).findings.count > 0)
  }

  @Test("makes its window final for readers: the manifest says which are open")
  func manifest() throws {
    let (world, job) = (try LateWorld(), try LateWorld.job(output: ", manifest: true"))
    for second: Int64 in [0, 60, 179] { world.come(second) }
    try world.run(job)
    let bytes = try world.places.store(at: "file:out").get(ObjectKey("_tranche/manifest"))
    let manifest = try JSONSerialization.jsonObject(with: Data(bytes ?? [])) as? [String: Any]
    let windows = manifest?["windows"] as? [[String: Any]] ?? []
    #expect(windows.map { $0["state"] as? String } == ["open", "open", "final"])
    // Without the key nothing is final, whatever the cutoff was.
    let without = try LateWorld.job("", output: ", manifest: true")
    #expect(try world.reader(without).cutoff(of: without) == Cutoff())
  }
}

/// Says stop when a run has committed so many batches.
private final class StopAfter: @unchecked Sendable {
  // @unchecked: used by the run's own thread alone.
  private let limit: Int
  var count = 0

  init(batches limit: Int) { self.limit = limit }

  var isReached: Bool { count >= limit }
}
