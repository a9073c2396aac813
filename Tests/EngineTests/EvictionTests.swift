import Checkpoints
import Foundation
import Jobs
import ObjectStorage
import Offsets
import TestSupport
import Testing
import Trials
import Windows

@testable import Engine

/// `window.retention`, over a cluster and a store in memory: windows of a minute, which are final a
/// minute after their end, and are kept for five more.
@Suite("A window behind retention")
struct EvictionTests {
  private static func job(
    _ retention: String = ", retention: 5m", rest: String = "", output: String = ""
  ) throws -> Job {
    try LateWorld.job("allowed_lateness: 1m\(retention)", output: output, rest: rest)
      .with(maxOffsets: 4)
  }

  /// Records of the first minutes, and one that makes those that end at 660 s final and those that
  /// end at 360 s evicted.
  private static func filled(_ job: Job) throws -> LateWorld {
    let world = try LateWorld()
    for second: Int64 in [0, 1, 60, 299, 359, 360, 600, 720] { world.come(second) }
    try world.run(job)
    return world
  }

  @Test("is evicted when its object is published: a tombstone is left, and the object as it was")
  func evicted() throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    #expect(
      try world.sql("SELECT cutoff, horizon FROM checkpoint") == "660000|360000\n")
    let stood = world.places.all
    #expect(
      try world.sql("SELECT window / 60000 FROM windows ORDER BY 1") == "6\n10\n12\n")
    #expect(try world.sql("SELECT DISTINCT window / 60000 FROM groups") == "6\n10\n12\n")
    #expect(
      try world.sql("SELECT window / 60000, groups, records, lineage FROM evicted")
        == "0|1|2|[[1,0,1,2]]\n1|1|1|[[1,2,2,1]]\n4|1|1|[[1,3,3,1]]\n5|1|1|[[1,4,4,1]]\n")
    #expect(
      try world.counts() == [0: 2, 1: 1, 4: 1, 5: 1, 6: 1, 10: 1, 12: 1])
    let reader = try world.reader(job)
    let evicted = try #require(try reader.evicted(Window(0), of: job))
    let facts = try world.places.store(at: "file:out").head(ObjectKey(evicted.objectKey))
    #expect(evicted.etag == facts?.etag && evicted.byteCount == facts?.byteCount)
    #expect(evicted.lineage.firstBatch == 1 && evicted.lineage.partitions.count == 1)
    let status = try reader.status()
    #expect(status.evictedCount == 4 && status.windowCount == 3 && status.recordCount == 8)
    #expect(try reader.problems(job: job) == [])
    #expect(world.places.all == stood)
  }

  @Test(
    "takes no record any more, also where the job has become more lenient",
    arguments: [
      "allowed_lateness: 1m, retention: 5m", "allowed_lateness: 1m, retention: 30d",
      "allowed_lateness: 1m", "",
    ])
  func neverOpens(window: String) throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    let stood = world.places.all["file:out"]
    let lenient = try LateWorld.job(window)
    // Of an evicted window, and of one that never had state and lies behind the horizon.
    world.come(1)
    world.come(121)
    let (summary, errors) = try world.run(lenient)
    #expect(errors.isEmpty && summary.rejectedCount == 2 && summary.countedCount == 0)
    #expect(try world.rejects(lenient) == ["0 8 windowClosed", "0 9 windowClosed"])
    let now = world.places.all["file:out"]?.filter { !$0.key.hasPrefix("_tranche/") }
    #expect(now == stood?.filter { !$0.key.hasPrefix("_tranche/") })
    // The first one that is not behind it counts where nothing is late.
    if window.isEmpty {
      world.come(361)
      try world.run(lenient)
      #expect(try world.counts()[6] == 2)
    }
  }

  @Test("is left alone by a backfill, which counts everything else of its range")
  func backfill() throws {
    let job = try Self.job()
    let world = try LateWorld()
    world.come(0)
    try world.run(job)
    try world.skip(job, 1, 4)
    for second: Int64 in [1, 400, 359, 420, 720] { world.come(second) }
    try world.run(job)
    try world.run(job)
    #expect(try world.reader(job).evicted(Window(0), of: job) != nil)
    try world.backfill(job, 1, 4)
    let (summary, errors) = try world.run(job)
    #expect(errors.isEmpty && summary.backfilledCount == 3 && summary.backfillLeft == 0)
    #expect(summary.ofEvictedCount == 2 && summary.lateCount == 0)
    #expect(try world.rejects(job) == ["0 1 windowClosed", "0 3 windowClosed"])
    // The one that is final and has state was revised.
    #expect(try world.counts() == [0: 1, 6: 1, 7: 1, 12: 1])
    #expect(try world.verify(job).findings.count == 0)
  }

  @Test("stays while its object is not published or not settled")
  func unsettled() throws {
    let job = try Self.job()
    let world = try LateWorld()
    for second: Int64 in [0, 720] { world.come(second) }
    try world.run(try Self.job(", retention: 30d"))
    try world.sql("UPDATE outputs SET checks_left = 2 WHERE number = 0")
    world.come(721)
    try world.run(job)
    // This run asked for it once.
    #expect(try world.sql("SELECT count(*) FROM evicted") == "0\n")
    try world.run(job)
    #expect(try world.sql("SELECT count(*) FROM evicted") == "1\n")
  }

  @Test("goes in pieces of at most 10,000 rows, and is whole or gone for readers after each")
  func pieces() throws {
    let job = try LateWorld.job("allowed_lateness: 1m, retention: 5m", by: "v")
    let world = try LateWorld()
    for (second, count): (Int64, Int) in [(0, 12_000), (60, 6_000), (120, 6_000), (720, 1)] {
      for group in 0..<count { world.come(second, value: "\(group)") }
    }
    try world.run(try LateWorld.job("allowed_lateness: 1h, retention: 30d", by: "v"))
    try world.sql("UPDATE checkpoint SET cutoff = 660000, horizon = 360000")
    let checkpoint = try world.open(job)
    func rowCount() throws -> Int {
      let counts = try world.sql(
        "SELECT count(*) FROM groups UNION ALL SELECT count(*) FROM windows UNION ALL "
          + "SELECT count(*) FROM window_offsets UNION ALL SELECT count(*) FROM outputs")
      return counts.split(separator: "\n").reduce(0) { $0 + (Int($1) ?? 0) }
    }
    var (left, pane, pieces) = (try rowCount(), nil as Pane?, 0)
    repeat {
      pane = try checkpoint.evict(after: pane)
      let now = try rowCount()
      #expect(left - now <= Int(Checkpoint.evictedAtOnce))
      #expect(try world.reader(job).problems(job: job) == [])
      (left, pieces) = (now, pieces + 1)
    } while pane != nil && pieces < 20
    #expect(try world.sql("SELECT count(*) FROM groups") == "1\n" && pieces == 4)
    #expect(
      try world.sql("SELECT groups, generation FROM evicted") == "12000|\n6000|\n6000|\n")
  }

  @Test("costs nothing to look for: two runs later nothing is written")
  func idle() throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    let steps = Steps()
    do {
      let checkpoint = try world.open(job) { steps.count += 1 }
      let before = steps.count
      var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
      options.holdsBack = false
      _ = try runQuietly(job, checkpoint, [MemorySource("main", world.cluster)], options) {
        world.places.store(at: $0.text)
      }
      #expect(steps.count == before)
    }
  }

  @Test("is told by the manifest as before, and is compared by verify with its tombstone")
  func readers() throws {
    let job = try Self.job(output: ", manifest: true")
    let world = try Self.filled(job)
    let key = ObjectKey("_tranche/manifest")
    let before = try #require(try world.places.store(at: "file:out").get(key))
    let text = String(decoding: before, as: UTF8.self)
    #expect(text.ranges(of: "\"state\": \"final\"").count == 6)
    try world.run(job)
    #expect(try world.places.store(at: "file:out").get(key) == before)
    var report = try world.verify(job)
    #expect(report.findings.count == 0 && report.evictedCount == 4 && report.windowCount == 3)
    let object = ObjectKey("window_start=1970-01-01T00-00-00Z/part-0.csv")
    _ = try world.places.store(at: "file:out").put(Array("x".utf8), at: object)
    #expect(try world.verify(job).findings.count == 1)
    try world.places.store(at: "file:out").delete(object)
    report = try world.verify(job)
    #expect(report.findings.count == 1)
  }

  @Test("keeps its object where it is when the job file names another place or format")
  func moved() throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    let moved = try LateWorld.job(
      "allowed_lateness: 1m, retention: 5m", to: "file:new", format: "json")
    do {
      let checkpoint = try world.open(moved)
      #expect(checkpoint.leftObjectCount == 4)
    }
    try world.run(moved)
    let old = world.places.all["file:out"]?.keys.filter { $0.hasPrefix("window_start=") } ?? []
    #expect(old.count == 4 && old.allSatisfy { $0.hasSuffix(".csv") })
    let evicted = try world.reader(moved).evictedWindows(of: moved, limit: 10)
    #expect(evicted.map(\.formerPlace) == Array(repeating: "file:out", count: 4))
    #expect(evicted[0].objectKey == "window_start=1970-01-01T00-00-00Z/part-0.csv")
    var report = try world.verify(moved)
    #expect(report.findings.count == 0 && report.notCompared.count == 4)
    // Objects are left there, and so is the job's marker: no other job may take the place.
    #expect(world.places.all["file:out"]?["_tranche/owner"] != nil)
    // Whoever goes back finds them at the job's place again.
    try world.run(job)
    #expect(
      try world.reader(job).evictedWindows(of: job, limit: 10).map(\.formerPlace)
        == [nil, nil, nil, nil])
    report = try world.verify(job)
    #expect(report.findings.count == 0 && report.notCompared.count == 0)
    #expect(world.places.all["file:new"]?.isEmpty == true)
  }

  @Test("keeps its object also where the checkpoint still means to delete what stood there")
  func retired() throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    let key = "window_start=1970-01-01T00-00-00Z/part-0.csv"
    // As a reset notes it: what stands there goes when everything was read anew.
    try world.sql("INSERT INTO retired_objects VALUES ('file:out', '\(key)', NULL)")
    try world.run(job)
    #expect(world.places.all["file:out"]?[key] != nil)
    #expect(try world.sql("SELECT count(*) FROM retired_objects") == "0\n")
    #expect(try world.verify(job).findings.count == 0)
  }

  @Test("goes to its last group although the job file has no retention any more")
  func halfEvicted() throws {
    let job = try Self.job()
    let world = try Self.filled(job)
    try world.sql("UPDATE evicted SET generation = 1 WHERE window = 0")
    try world.run(try LateWorld.job("allowed_lateness: 1m").with(maxOffsets: 4))
    #expect(try world.sql("SELECT count(*) FROM evicted WHERE generation IS NOT NULL") == "0\n")
  }

  @Test("gives back its room: free pages go where the file was made for it, and stay elsewhere")
  func room() throws {
    func pages(madeWith retention: String) throws -> (mode: String, free: Int, all: Int) {
      let world = try LateWorld()
      try world.run(try Self.job(retention))
      // As much as thirty days of many groups have left behind.
      try world.sql(
        """
        CREATE TABLE large (x BLOB);
        INSERT INTO large SELECT zeroblob(3000) FROM generate_series(1, 6000);
        DROP TABLE large;
        """)
      world.come(0)
      try world.run(try Self.job())
      func number(_ name: String) throws -> String {
        try world.sql("PRAGMA \(name)").trimmingCharacters(in: .whitespacesAndNewlines)
      }
      return (
        try number("auto_vacuum"), Int(try number("freelist_count")) ?? -1,
        Int(try number("page_count")) ?? -1
      )
    }
    let made = try pages(madeWith: ", retention: 5m")
    #expect(made.mode == "2" && made.free <= 1_000 && made.all < 1_200)
    let older = try pages(madeWith: "")
    #expect(older.mode == "0" && older.free > 5_000)
  }
}

private final class Steps: @unchecked Sendable {
  // @unchecked: used by the test's own thread alone.
  var count = 0
}
