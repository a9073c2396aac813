import Checkpoints
import Foundation
import Jobs
import ObjectStorage
import Offsets
import TestSupport
import Testing
import Trials

@testable import Engine

/// `output.manifest`, over a cluster and a store in memory.
@Suite("The manifest")
struct ManifestTests {
  private let folder: TemporaryFolder
  private let cluster = MemoryCluster(identifier: "main")
  private let places = MemoryPlaces()

  init() throws {
    folder = try TemporaryFolder()
    cluster.create("t", partitionCount: 1)
  }

  private func job(
    _ output: String = "manifest: true", select: String = "", to: String = "file:out",
    window: String = "window: { tumbling: 1m }\naggregate: { by: [k], measures: { n: sum(v) } }"
  ) throws -> Job {
    try JobFile.parse(
      text: """
        name: calls
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { k: int32, v: int64 }
        trigger: { max_offsets: 5 }
        \(window)
        \(select)
        output: { to: "\(to)", format: csv, \(output) }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
  }

  /// Records of groups 0 to 2, one a minute's tenth.
  private func come(_ count: Int, from first: Int = 0) {
    for number in first..<first + count {
      cluster.topics["t"]?[0].append(
        Array("\(number % 3),\(number)\n".utf8), timestampMilliseconds: Int64(number) * 6_000)
    }
  }

  @discardableResult
  private func run(
    _ job: Job, failing: ObjectStoreError? = nil
  ) throws -> (
    puts: [String], summary: RunSummary, errors: [RunError], stoodAtFirstPut: Bool?
  ) {
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
    let watched = Watched(failing: failing)
    let (summary, errors) = try runQuietly(job, checkpoint, [MemorySource("main", cluster)]) {
      [places] in WatchedStore(places.store(at: $0.text), watched)
    }
    return (
      watched.puts.filter { $0 != "_tranche/owner" }, summary, errors, watched.stoodAtFirstPut
    )
  }

  private func manifest(at place: String = "file:out") throws -> [String: Any]? {
    guard let bytes = try places.store(at: place).get(ObjectKey("_tranche/manifest")) else {
      return nil
    }
    return try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
  }

  @Test("is a run's last put, and says what the objects are and how far")
  func lastPut() throws {
    come(12)
    let puts = try run(job()).puts
    #expect(puts.last == "_tranche/manifest" && puts.count { $0 == "_tranche/manifest" } == 1)
    let manifest = try #require(try manifest())
    #expect(manifest["job"] as? String == "calls" && manifest["batch"] as? Int == 3)
    #expect(manifest["visible_batch"] as? Int == 3)
    #expect(manifest["committed_at"] as? String == "1970-01-01T00:00:00.000Z")
    let partition = try #require((manifest["partitions"] as? [[String: Any]])?.first)
    #expect(partition["topic"] as? String == "t" && partition["next_offset"] as? Int == 12)
    let windows = try #require(manifest["windows"] as? [[String: Any]])
    #expect(
      windows.map { $0["key"] as? String } == [
        "window_start=1970-01-01T00-01-00Z/part-0.csv",
        "window_start=1970-01-01T00-00-00Z/part-0.csv",
      ])
    let newest = try #require(windows.first)
    let key = ObjectKey("window_start=1970-01-01T00-01-00Z/part-0.csv")
    let facts = try #require(try places.store(at: "file:out").head(key))
    let bytes = try #require(try places.store(at: "file:out").get(key))
    #expect(newest["etag"] as? String == facts.etag && newest["bytes"] as? Int == bytes.count)
    #expect(newest["rows"] as? Int == 2 && newest["state"] as? String == "open")
    #expect(newest["window"] as? String == "1970-01-01T00:01:00.000Z")
  }

  @Test("is put once where something changed, and not at all where nothing did")
  func onceARun() throws {
    come(12)
    try run(job())
    #expect(try run(job()).puts.isEmpty)
    come(1, from: 12)
    #expect(try run(job()).puts.last == "_tranche/manifest")
    #expect(try manifest()?["batch"] as? Int == 4)
  }

  @Test("lists the newest 1,000 objects, and calls those of single batches final")
  func limit() throws {
    come(1_004)
    let each = try job(
      "keep: each, manifest: true",
      window: "window: batch\naggregate: { by: [], measures: { n: count() } }"
    ).with(maxOffsets: 1)
    try run(each)
    let windows = try #require(try manifest()?["windows"] as? [[String: Any]])
    #expect(windows.count == 1_000)
    #expect(windows.first?["key"] as? String == "batch=000001004/part-0.csv")
    #expect(windows.last?["key"] as? String == "batch=000000005/part-0.csv")
    #expect(windows.allSatisfy { $0["state"] as? String == "final" && $0["rows"] as? Int == 1 })
  }

  @Test("tells up to which batch the objects show everything, where one cannot be rendered")
  func visibleBatch() throws {
    // A text that grows too long where a sum does.
    let select = """
      select: { x: { sql: "CASE WHEN n > 44 THEN format('%300000d', n) END", type: string } }
      """
    let output = "publish: run_end, manifest: true"
    come(12)
    try run(job(output, select: select))
    // The second window gets records by batches 4 and 5, the third by batch 5.
    come(10, from: 12)
    let outcome = try run(job(output, select: select))
    #expect(outcome.errors.map(\.code) == [.data])
    let manifest = try #require(try manifest())
    #expect(manifest["batch"] as? Int == 5)
    let windows = try #require(manifest["windows"] as? [[String: Any]])
    let visible = try #require(manifest["visible_batch"] as? Int)
    let reader = try CheckpointReader(
      path: Checkpoint.path(ofJob: "calls", folder: folder.path), job: try job(select: select))
    let dirty = try reader.dirtyResults()
    #expect(dirty.count == 1 && visible == 3)
    // What is dirty and was published once is listed as it stands.
    for window in windows where dirty.contains(where: { $0.objectKey == window["key"] as? String })
    {
      let key = ObjectKey(try #require(window["key"] as? String))
      #expect(try places.store(at: "file:out").head(key)?.etag == window["etag"] as? String)
    }
  }

  @Test("that a store refuses stays unpublished, is told, and is put by the next run")
  func refused() throws {
    come(12)
    for code in [ObjectStoreError.Code.unreachable, .refused, .full, .noCredentials] {
      let failure = ObjectStoreError(code, place: "out/_tranche/manifest", reason: "down")
      let outcome = try run(job(), failing: failure)
      #expect(outcome.errors.count == 1 && outcome.summary.dirtyCount == 1, "\(outcome.errors)")
      #expect(try manifest() == nil)
    }
    #expect(try run(job()).puts == ["_tranche/manifest"])
    #expect(try run(job()).puts.isEmpty)
  }

  @Test("that may be replaced by a late request is asked for by the runs after, and put again")
  func settled() throws {
    come(12)
    // The put is applied, and its answer is lost.
    let lost = ObjectStoreError(
      .unreachable, place: "out", reason: "lost", hadUnansweredAttempt: true)
    try run(job(), failing: lost)
    try run(job())
    _ = try places.store(at: "file:out").put(Array("late".utf8), at: ObjectKey("_tranche/manifest"))
    #expect(try run(job()).puts == ["_tranche/manifest"])
    #expect(try manifest()?["batch"] as? Int == 3)
  }

  @Test("goes with the objects to another place, and is deleted where the job writes none any more")
  func moved() throws {
    come(12)
    try run(job())
    try run(job(to: "file:other"))
    #expect(try manifest() == nil && manifest(at: "file:other")?["batch"] as? Int == 3)
    try run(job("manifest: false", to: "file:other"))
    #expect(try manifest(at: "file:other") == nil)
  }

  @Test("says nothing of batches whose objects stay at a former place")
  func movedRows() throws {
    func rows(to place: String) throws -> Job {
      try job(
        "keep: each, manifest: true", to: place,
        window: "window: batch\naggregate: { by: [k], measures: { n: sum(v) } }")
    }
    func says(at place: String) throws -> [Int?] {
      let manifest = try manifest(at: place)
      let windows = manifest?["windows"] as? [Any]
      return ["batch", "from_batch", "visible_batch"].map { manifest?[$0] as? Int }
        + [windows?.count]
    }
    come(12)
    try run(rows(to: "file:out"))
    #expect(try says(at: "file:out") == [3, 1, 3, 3])
    try run(rows(to: "file:other"))
    #expect(try says(at: "file:other") == [3, 4, 0, 0] && manifest() == nil)
    come(10, from: 12)
    try run(rows(to: "file:other"))
    #expect(try says(at: "file:other") == [5, 4, 5, 2])
    // Back again: what stands there is listed, and not all of it.
    try run(rows(to: "file:out"))
    #expect(try says(at: "file:out") == [5, 6, 0, 3] && manifest(at: "file:other") == nil)
  }

  private static let down = ObjectStoreError(.unreachable, place: "out", reason: "down")

  @Test(
    "of a state that was reset goes before the new one's first object", arguments: [true, false])
  func reset(deletesObjects: Bool) throws {
    come(12)
    try run(job())
    _ = try Checkpoint.reset(
      job: job(), folder: folder.path, deletesObjects: deletesObjects, holder: "reset", now: 0,
      release: "test")
    #expect(try manifest()?["batch"] as? Int == 3)
    // The run ends without a manifest of its own.
    let first = try run(job().with(maxOffsets: 12), failing: Self.down)
    #expect(try first.stoodAtFirstPut == false && manifest() == nil)
    try run(job().with(maxOffsets: 12))
    #expect(try manifest()?["batch"] as? Int == 1)
  }

  @Test("of a newer state goes before the first object of the one that was restored")
  func restored() throws {
    let path = Checkpoint.path(ofJob: "calls", folder: folder.path)
    for hasManifest in [true, false] {
      come(5)
      try run(job())
      let old = FileManager.default.contents(atPath: path)
      come(5, from: 5)
      try run(job())
      try old?.write(to: URL(fileURLWithPath: path))
      let restored = try job(hasManifest ? "manifest: true" : "manifest: false")
      try {
        let checkpoint = try Checkpoint(
          job: restored, folder: folder.path, holder: "a test", now: 0, release: "test")
        defer { checkpoint.close() }
        _ = try takeOver(places.store(at: "file:out"), checkpoint, isRestored: true)
      }()
      let newest = try #require(try manifest()?["batch"] as? Int)
      let first = try run(restored, failing: Self.down)
      #expect(try first.stoodAtFirstPut == false && manifest() == nil)
      try run(job())
      #expect(try manifest()?["batch"] as? Int == newest)
    }
  }
}

/// What a run puts, and what the store says to a put of the manifest.
private final class Watched: @unchecked Sendable {
  // @unchecked: of one thread.
  var puts: [String] = []
  /// Whether a manifest stood there when the first result was put.
  var stoodAtFirstPut: Bool?
  let failing: ObjectStoreError?
  init(failing: ObjectStoreError?) { self.failing = failing }
}

private struct WatchedStore: ObjectStore {
  private let store: any ObjectStore
  private let watched: Watched

  init(_ store: any ObjectStore, _ watched: Watched) {
    self.store = store
    self.watched = watched
  }

  var location: String { store.location }
  var identity: String { store.identity }
  var sharesSyncs: Bool { store.sharesSyncs }
  func holdPlace() throws(ObjectStoreError) { try store.holdPlace() }

  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    if key.value == "_tranche/manifest", let failure = watched.failing { throw failure }
    watched.puts.append(key.value)
    return try store.put(bytes, at: key)
  }

  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    if watched.stoodAtFirstPut == nil {
      watched.stoodAtFirstPut = try store.head(ObjectKey("_tranche/manifest")) != nil
    }
    watched.puts += group.map(\.0.value)
    return try store.put(group: group)
  }

  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? { try store.head(key) }
  func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    try store.get(key, byteLimit: byteLimit)
  }
  func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store.delete(key) }
  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    try store.list(prefix: prefix)
  }
}
