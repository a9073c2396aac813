import Checkpoints
import Foundation
import Jobs
import Reports
import TestSupport
import Testing
import Trials

@testable import Engine
@testable import ObjectStorage

/// The objects below some prefixes lie at an S3 server that answers as a script says, the others in
/// memory.
private struct SplitStore: ObjectStore {
  let store: any ObjectStore
  let server: any ObjectStore
  let prefixes: [String]

  private func store(of key: String) -> any ObjectStore {
    prefixes.contains { key.hasPrefix($0) } ? server : store
  }

  var location: String { store.location }
  var identity: String { store.identity }
  var sharesSyncs: Bool { store.sharesSyncs }
  func holdPlace() throws(ObjectStoreError) { try store.holdPlace() }
  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    try store(of: key.value).put(bytes, at: key)
  }
  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    try store.put(group: group)
  }
  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    try store(of: key.value).head(key)
  }
  func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    try store(of: key.value).get(key, byteLimit: byteLimit)
  }
  func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store(of: key.value).delete(key) }
  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    try store(of: prefix).list(prefix: prefix)
  }
}

/// What a store answers to each request, and what a run makes of it.
struct RefusedPut: Sendable, CustomTestStringConvertible {
  let name: String
  let code: RunError.Code
  /// Of what the message says of the cause, and of what is to be done.
  let cause: String
  let remedy: String
  let reply: ScriptedServer.Reply
  var testDescription: String { name }

  init(
    _ name: String, _ code: RunError.Code, _ cause: String, _ remedy: String,
    _ reply: ScriptedServer.Reply
  ) {
    self.name = name
    self.code = code
    self.cause = cause
    self.remedy = remedy
    self.reply = reply
  }

  private static func error(_ status: Int, _ code: String) -> ScriptedServer.Reply {
    .status(status, body: "<Error><Code>\(code)</Code><Message>Words</Message></Error>")
  }

  static let all = [
    RefusedPut(
      "403", .noPermission, "403 AccessDenied", "the right s3:PutObject there",
      error(403, "AccessDenied")),
    RefusedPut(
      "403 without a reason", .noPermission, "403", "the right s3:PutObject there",
      .status(403)),
    RefusedPut(
      "expired", .noPermission, "400 ExpiredToken", "Get new ones", error(400, "ExpiredToken")),
    RefusedPut(
      "500 until it is given up", .unreachable, "500 InternalError", "run again",
      error(500, "InternalError")),
    RefusedPut("503", .unreachable, "503 SlowDown", "run again", error(503, "SlowDown")),
    RefusedPut(
      "409", .unreachable, "409 OperationAborted", "run again", error(409, "OperationAborted")),
    RefusedPut(
      "412", .data, "412 PreconditionFailed", "Check output.to", error(412, "PreconditionFailed")),
    RefusedPut(
      "full", .inputOutput, "507 InsufficientStorage", "Free space in the store",
      error(507, "InsufficientStorage")),
    RefusedPut(
      "a torn answer", .unreachable, "no answer in 2 attempts", "run again", .brokenBody),
    RefusedPut("no answer", .unreachable, "no answer in 2 attempts", "run again", .hangUp),
    RefusedPut(
      "no ETag", .data, "without an ETag, which acknowledges nothing", "Is output.s3.endpoint",
      .status(200, headers: [])),
    RefusedPut(
      "a login page", .data, "200 without an ETag", "Is output.s3.endpoint",
      .status(200, body: "<html>please log in</html>", headers: ["Content-Type: text/html"])),
  ]
}

@Suite("The manifest and backups, through what an S3 server answers")
struct StoreAnswersTests {
  private let folder: TemporaryFolder
  private let cluster = MemoryCluster(identifier: "1")
  private let places = MemoryPlaces()
  private let words = Words(Words.Commands(checkpointFolder: "", fileMode: "") { _ in "" })
  private static let start: Int64 = 1_795_428_000_000

  init() throws {
    folder = try TemporaryFolder(inMemory: true)
    cluster.topics["t"] = [MemoryLog()]
    cluster.topics["t"]?[0].append(Array("1".utf8))
  }

  private func job(_ more: String = "") throws -> Job {
    try countingJob(output: "to: \"s3://bucket/out\", manifest: \(more.isEmpty)", more)
  }

  /// Waits for nothing between its two attempts.
  private static func store(at server: ScriptedServer) -> S3Store {
    S3Store(
      S3Configuration(
        endpoint: server.endpoint, region: "us-east-1", bucket: "bucket", prefix: "out",
        addressing: .path,
        credentials: S3Credentials(
          accessKeyID: "AKIA", secretAccessKey: "hunter2", sessionToken: nil),
        timeoutMilliseconds: 10_000, maxAttempts: 2, caFile: nil),
      sleep: { _ in }, random: { 1 })
  }

  /// - Parameter replies: Of the server that manifests and backups go to; nil for memory.
  private func run(
    _ job: Job, _ replies: [ScriptedServer.Reply]? = nil, then last: ScriptedServer.Reply? = nil
  ) throws -> (summary: RunSummary, errors: [RunError], requests: [String]) {
    let server = ScriptedServer(replies ?? [], then: last ?? .status(200))
    let scripted = Self.store(at: server)
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
    defer { checkpoint.close() }
    let options = RunOptions(clock: { Self.start }, nanoseconds: { 0 }, release: "test")
    let isScripted = replies != nil
    let (summary, errors) = try runQuietly(
      job, checkpoint, [MemorySource("main", cluster)], options
    ) { [places] in
      let memory = places.store(at: $0.text)
      return isScripted
        ? SplitStore(store: memory, server: scripted, prefixes: ["_tranche/manifest", "calls."])
        : memory
    }
    return (summary, errors, server.requests)
  }

  private func reader(_ job: Job) throws -> CheckpointReader {
    try CheckpointReader(path: Checkpoint.path(ofJob: "calls", folder: folder.path), job: job)
  }

  private func objects(at place: String = "s3://bucket/out") -> [String] {
    (places.all[place] ?? [:]).keys.sorted()
  }

  // MARK: - The manifest

  @Test("a manifest that is refused fails nothing else, is told, and is put later")
  func manifest() throws {
    for refused in RefusedPut.all {
      let test = try StoreAnswersTests()
      try test.refuseManifest(refused)
    }
  }

  private func refuseManifest(_ refused: RefusedPut) throws {
    let job = try job()
    let outcome = try run(job, [refused.reply], then: refused.reply)
    #expect(outcome.errors.map(\.code) == [refused.code], "\(refused.name): \(outcome.errors)")
    let text = outcome.errors.map { words.text(of: $0) }.joined()
    #expect(text.contains("s3://bucket/out/_tranche/manifest"), "\(refused.name): \(text)")
    #expect(
      text.contains(refused.cause) && text.contains(refused.remedy), "\(refused.name): \(text)")
    #expect(!text.contains("hunter2"))
    // The results stand, and the manifest is all that is left.
    #expect(outcome.summary.batchCount == 1 && outcome.summary.publishedCount == 1)
    #expect(objects() == ["_tranche/owner", "part-0.csv"])
    #expect(try reader(job).dirtyOutputs().map(\.objectKey) == ["_tranche/manifest"])
    #expect(outcome.requests.allSatisfy { $0.hasPrefix("PUT ") })
    // A store that does as asked.
    let mended = try run(job)
    #expect(mended.errors.isEmpty && objects().first == "_tranche/manifest")
    #expect(try reader(job).dirtyOutputs().isEmpty)
  }

  @Test("a manifest whose first put got no answer is asked for, and no refusal settles it")
  func unsettledManifest() throws {
    let job = try job()
    let denied = ScriptedServer.Reply.status(403)
    let first = try run(job, [.hangUp, .status(200)], then: denied)
    #expect(first.errors.map(\.code) == [.noPermission])
    #expect(first.errors.map { words.text(of: $0) }.joined().contains("_tranche/manifest"))
    let state = try reader(job).manifestState()
    #expect(state?.isDirty == false && state?.isUnsettled == true)
    // A HEAD that says so does, in this run and in the next.
    for left in [true, false] {
      let next = try run(job, [.status(200)], then: denied)
      #expect(next.errors.isEmpty && next.requests.map { $0.prefix(5) } == ["HEAD "])
      #expect(try reader(job).manifestState()?.isUnsettled == left)
    }
  }

  // MARK: - Backups

  private static let backup =
    "checkpoint: { backup: { to: \"s3://bucket/backups\", every: 1h, keep: 1 } }"

  @Test("a backup that is refused fails nothing else, is told, and is made by the next run")
  func backup() throws {
    for refused in RefusedPut.all {
      let test = try StoreAnswersTests()
      try test.refuseBackup(refused)
    }
  }

  private func refuseBackup(_ refused: RefusedPut) throws {
    let job = try job(Self.backup)
    let outcome = try run(job, [refused.reply], then: refused.reply)
    #expect(outcome.errors.map(\.code) == [refused.code], "\(refused.name): \(outcome.errors)")
    let text = outcome.errors.map { words.text(of: $0) }.joined()
    #expect(
      text.hasPrefix("s3://bucket/backups/calls.2026-11-23T10-00-00.000Z.sqlite: there is no "),
      "\(refused.name): \(text)")
    #expect(text.contains(refused.cause), "\(refused.name): \(text)")
    #expect(text.contains("The job's state and results are as they were"))
    // What to do about results is nothing to do about a backup.
    #expect(!text.contains("output.to") && !text.contains("hunter2"))
    if refused.code == .noPermission { #expect(text.contains(refused.remedy), "\(text)") }
    #expect(outcome.summary.backup == nil && outcome.summary.batchCount == 1)
    #expect(try reader(job).dirtyOutputs().isEmpty && objects(at: "s3://bucket/backups") == [])
    let mended = try run(job)
    #expect(mended.errors.isEmpty && mended.summary.backup != nil)
    #expect(objects(at: "s3://bucket/backups").count == 1)
  }

  @Test("where old backups cannot be listed, the new one is there and is said to be")
  func unlisted() throws {
    for reply in [ScriptedServer.Reply.status(403), .brokenBody, .status(200, body: "<html>")] {
      let test = try StoreAnswersTests()
      let job = try test.job(Self.backup)
      let outcome = try test.run(job, [.status(200)], then: reply)
      #expect(outcome.errors.count == 1 && outcome.summary.batchCount == 1)
      let text = outcome.errors.map { words.text(of: $0) }.joined()
      #expect(
        text.hasPrefix(
          "s3://bucket/backups/calls.2026-11-23T10-00-00.000Z.sqlite: the backup is made, and "
            + "older ones were not removed: "), "\(text)")
      // The next one is due in an hour.
      #expect(try test.run(job, [], then: reply).errors.isEmpty)
    }
  }

  @Test("a torn answer to who reads a backup, or half of one, is never taken for a checkpoint")
  func half() throws {
    let job = try job(Self.backup)
    _ = try run(job)
    let backup = try #require(places.all["s3://bucket/backups"]?.values.first)
    let other = try TemporaryFolder(inMemory: true)
    for count in [0, 1, 100, 4_096, backup.count / 2, backup.count - 1] {
      #expect(throws: CheckpointError.self, "\(count) bytes") {
        try Checkpoint.takeIn(
          job: job, folder: other.path, replaces: false, from: "half", holder: "a test", now: 0
        ) { try CheckpointCopy(bytes: Array(backup[..<count]), named: "calls", in: $0) }
      }
      #expect(other.files(below: ".").keys.filter { $0.contains("sqlite") } == [])
    }
    let server = ScriptedServer([], then: .brokenBody)
    #expect(throws: ObjectStoreError.self) {
      try Self.store(at: server).get(ObjectKey("calls.sqlite"))
    }
  }
}
