import Checkpoints
import Foundation
import Jobs
import ObjectStorage
import TestSupport
import Testing
import Trials

@testable import Engine

private let hour: Int64 = 3_600_000

@Suite("Backups that a job asks for")
struct BackupTests {
  private static let start: Int64 = 1_795_428_000_000

  @Test(
    "are due after a change, once in the time that the job gives, and where none is known of",
    arguments: [
      (last: nil, changed: nil, isDue: false), (last: nil, changed: 0, isDue: true),
      (last: 0, changed: 0, isDue: false), (last: 0, changed: 1, isDue: true),
      (last: hour + 1, changed: 2 * hour, isDue: false),
      (last: hour, changed: hour + 1, isDue: true),
      // A clock that was ahead told a time that says nothing.
      (last: 3 * hour, changed: 0, isDue: true),
    ] as [(last: Int64?, changed: Int64?, isDue: Bool)])
  func due(last: Int64?, changed: Int64?, isDue: Bool) {
    #expect(
      BackupFiles.isDue(last: last, changed: changed, every: hour, now: 2 * hour)
        == isDue)
  }

  @Test("are named by their job and time, and no other job's file is taken for one")
  func naming() {
    let key = BackupFiles.key(ofJob: "calls", at: Self.start)
    #expect(key.value == "calls.2026-11-23T10-00-00.000Z.sqlite")
    #expect(BackupFiles.time(of: key, ofJob: "calls") == Self.start)
    for other in [
      "calls.sqlite", "calls.2026-11-23.sqlite", "calls.2026-11-23T10-00-00Z.sqlite",
      "calls.by-hand.sqlite", "calls.2026-11-23T10-00-00.000Z.sqlite.old",
      "calls.2026-11-23T10:00:00.000Z.sqlite", "calls.x.2026-11-23T10-00-00.000Z.sqlite",
      "a/calls.2026-11-23T10-00-00.000Z.sqlite",
    ] {
      #expect(BackupFiles.time(of: ObjectKey(other), ofJob: "calls") == nil, "\(other)")
    }
    #expect(BackupFiles.time(of: key, ofJob: "call") == nil)
  }

  @Test("are kept up to a number, the newest of them, and never without the one just made")
  func keepsNewest() {
    let keys = (0..<5).map { BackupFiles.key(ofJob: "calls", at: Self.start + $0 * hour) }
    let others = [ObjectKey("other.2026-11-23T10-00-00.000Z.sqlite"), ObjectKey("calls.sqlite")]
    func surplus(keep: Int64, made: ObjectKey) -> [ObjectKey] {
      BackupFiles.surplus(among: keys + others, ofJob: "calls", keep: keep, made: made)
    }
    #expect(surplus(keep: 3, made: keys[4]) == [keys[1], keys[0]])
    #expect(surplus(keep: 5, made: keys[4]) == [])
    // A clock that goes back: the others bear later times.
    #expect(surplus(keep: 2, made: keys[0]) == [keys[3], keys[2], keys[1]])
    #expect(surplus(keep: 1, made: keys[2]) == [keys[4], keys[3], keys[1], keys[0]])
  }

  // MARK: - In runs

  private let folder: TemporaryFolder
  private let cluster = MemoryCluster(identifier: "1")
  private let places = MemoryPlaces()
  private let backups = "s3://bucket/backups"

  init() throws {
    folder = try TemporaryFolder(inMemory: true)
    cluster.topics["t"] = [MemoryLog()]
    append()
  }

  private func append() { cluster.topics["t"]?[0].append(Array("1".utf8)) }

  private func job(keep: Int = 2) throws -> Job {
    try countingJob(
      output: "to: \"file:out\"",
      "checkpoint: { backup: { to: \"\(backups)\", every: 1h, keep: \(keep) } }")
  }

  @discardableResult
  private func run(
    _ job: Job, at hours: Int64, minutes: Int64 = 0, in folder: TemporaryFolder? = nil,
    token: String? = nil
  ) throws -> (summary: RunSummary, errors: [RunError]) {
    let checkpoint = try Checkpoint(
      job: job, folder: (folder ?? self.folder).path, holder: "a test", now: 0, release: "test")
    let now = Self.start + hours * hour + minutes * 60_000
    var options = RunOptions(clock: { now }, nanoseconds: { 0 }, release: "test")
    if let token { options.token = { token } }
    return try runQuietly(job, checkpoint, [MemorySource("main", cluster)], options) { [places] in
      places.store(at: $0.text)
    }
  }

  private var names: [String] { (places.all[backups] ?? [:]).keys.sorted() }

  @Test("are made after a run that changed something, whole, and the oldest are removed")
  func runs() throws {
    let job = try job()
    let first = try run(job, at: 0)
    #expect(first.errors.isEmpty && names == ["calls.2026-11-23T10-00-00.000Z.sqlite"])
    #expect(first.summary.backup == "\(backups)/calls.2026-11-23T10-00-00.000Z.sqlite")
    // Nothing new.
    #expect(try run(job, at: 5).summary.backup == nil)
    append()
    #expect(try run(job, at: 6).summary.backup != nil)
    // Too soon; and when it is time, though the run itself finds nothing new.
    append()
    #expect(try run(job, at: 6, minutes: 30).summary.backup == nil)
    try run(job, at: 8)
    #expect(
      names == [
        "calls.2026-11-23T16-00-00.000Z.sqlite", "calls.2026-11-23T18-00-00.000Z.sqlite",
      ])
    let bytes = try #require(places.all[backups]?[names[1]])
    let copy = try CheckpointCopy(bytes: bytes, named: "copy", in: folder.path)
    #expect(try CheckpointReader(path: copy.path, job: job).problems(job: job) == [])
    #expect(try CheckpointReader(path: copy.path).status().recordCount == 3)
    // All is published, and the copy knows it.
    #expect(try CheckpointReader(path: copy.path).dirtyOutputs().isEmpty)
  }

  @Test("that fail fail no commit and no object, are told, and are tried again")
  func failing() throws {
    let job = try job()
    places.isDown = true
    // The results' store is the same, which is down as well: both are told.
    let both = try run(job, at: 0)
    #expect(both.errors.count == 2 && both.summary.batchCount == 1 && names.isEmpty)
    guard case .backup(let fault)? = both.errors.last else {
      return _ = Issue.record("\(both.errors)")
    }
    #expect(fault.place.hasPrefix("\(backups)/calls.2026"))
    #expect(RunError.backup(fault).code == .unreachable)
    places.isDown = false
    let mended = try run(job, at: 0)
    #expect(mended.errors.isEmpty && mended.summary.batchCount == 0 && names.count == 1)
  }

  /// An older state that is woken up pushes no backup of the newer one out.
  @Test("are not made of a state whose destination a newer one has taken")
  func oldState() throws {
    let job = try job(keep: 1)
    try run(job, at: 0, token: "first")
    let other = try TemporaryFolder(inMemory: true)
    let bytes = try #require(places.all[backups]?[names[0]])
    _ = try Checkpoint.takeIn(
      job: job, folder: other.path, replaces: false, from: "a backup", holder: "test", now: 0
    ) { try CheckpointCopy(bytes: bytes, named: "calls", in: $0) }
    append()
    #expect(try run(job, at: 2, in: other, token: "second").errors.isEmpty)
    let made = names
    #expect(made == ["calls.2026-11-23T12-00-00.000Z.sqlite"])
    for hours: Int64 in [9, 10] {
      let refused = try run(job, at: hours, token: "third")
      guard case .destination(let fault)? = refused.errors.first else {
        return _ = Issue.record("\(refused.errors)")
      }
      #expect(fault.problem == .refused(.olderOrCopy))
      #expect(names == made)
    }
  }

  @Test("are asked for by the job file, which says where, how often and how many")
  func jobFile() throws {
    let backup = try #require(try job().backup)
    #expect(backup.destination.text == backups && backup.keep == 2)
    #expect(backup.everyMilliseconds == hour)
  }
}
