import Checkpoints
import Formats
import Jobs
import ObjectStorage
import Offsets
import Reports
import TestSupport
import Testing
import Trials
import Windows

@testable import Engine

/// A job that has run over a cluster in memory, and what `verify` says of it.
private struct Verified {
  private let folder: TemporaryFolder
  let job: Job
  let cluster = MemoryCluster(identifier: "memory")
  let places = MemoryPlaces()
  static let partition = PartitionID(source: "main", topic: "t", partition: 0)

  static let windows = """
    window: { tumbling: 1m }
    where: v >= 0
    aggregate: { by: [k], measures: { n: count(), total: sum(v), mean: avg(v) } }
    """

  init(
    _ rest: String = Self.windows, start: String = "earliest", format: String = "csv",
    keep: String = "", rejects: String = "{ policy: quarantine, max_share: 100% }",
    more: String = ""
  ) throws {
    folder = try TemporaryFolder()
    job = try Self.job(
      rest, start: start, format: format, keep: keep, rejects: rejects, more: more)
    cluster.create("t", partitionCount: 2)
  }

  /// The same job with other settings.
  static func job(
    _ rest: String = Self.windows, start: String = "earliest", format: String = "csv",
    to: String = "file:out", keep: String = "",
    rejects: String = "{ policy: quarantine, max_share: 100% }", more: String = ""
  ) throws -> Job {
    try JobFile.parse(
      text: """
        name: verified
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          start: \(start)
          format: csv
          fields: { k: string, v: double }
        trigger: { max_offsets: 4 }
        \(rest)
        output: { to: "\(to)", format: \(format)\(keep) }
        rejects: \(rejects)
        \(more)
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
  }

  /// Twenty messages of both partitions over four minutes, of which some are filtered, some
  /// rejected, and some offsets holes.
  func fill(from first: Int = 0) {
    for number in first..<first + 20 {
      guard let log = cluster.topics["t"]?[number % 2] else { return }
      let value =
        switch number % 10 {
        case 7: "oops"
        case 8: "a,-1"
        default: "\("abc".split(separator: "")[number % 3]),\(number).1"
        }
      log.append(Array("\(value)\n".utf8), timestampMilliseconds: Int64(number) * 13_000)
      if number % 10 == 3 { log.appendHole() }
    }
  }

  private func open(_ job: Job? = nil) throws -> Checkpoint {
    try Checkpoint(
      job: job ?? self.job, folder: folder.path, holder: "a test", now: 0, release: "test")
  }

  func run(_ other: Job? = nil, release: String = "test", fails: Bool = false) throws {
    let job = other ?? job
    let checkpoint = try open(job)
    defer { checkpoint.close() }
    let options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: release)
    let errors = try runQuietly(job, checkpoint, [MemorySource("main", cluster)], options) {
      [places] in places.store(at: $0.text)
    }.errors
    #expect(errors.isEmpty != fails, "\(errors)")
  }

  /// Opens the checkpoint for one change.
  func change(_ body: (Checkpoint) throws -> Void) throws {
    let checkpoint = try open()
    defer { checkpoint.close() }
    try body(checkpoint)
  }

  /// Notices that a log was replaced, and decides about it.
  func decide(_ body: (Checkpoint) throws -> Void) throws {
    try change {
      try $0.noteReplacedLog(Self.partition, logEnd: nil, cause: .messageChanged(1), now: 0)
      try body($0)
    }
  }

  private var path: String { Checkpoint.path(ofJob: job.name, folder: folder.path) }

  @discardableResult
  func sql(_ text: String) throws -> String {
    try execute("/usr/bin/sqlite3", [path, text]).output
  }

  func verify(
    _ scope: Verifier.Scope = .all, isDeep: Bool = false, of job: Job? = nil,
    meanwhile: () throws -> Void = {}
  ) throws -> Verification {
    let job = job ?? self.job
    let scratch = try TemporaryFolder()
    let live = try CheckpointReader(path: path, job: job)
    let copy = try VerificationCopy(of: live, job: job, at: scratch.path + "/verified.sqlite")
    try meanwhile()
    return try Verifier(
      copy: copy, live: live, sources: [MemorySource("main", cluster)],
      store: places.store(at: job.output.destination.text),
      options: RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test"),
      scope: scope, isDeep: isDeep
    ).verify()
  }

  /// What does not agree, as it is printed.
  func findings(_ scope: Verifier.Scope = .all, isDeep: Bool = false) throws -> [String] {
    texts(try verify(scope, isDeep: isDeep))
  }

  func texts(_ report: Verification) -> [String] { report.findings.first.map(words.text) }

  var words: Words {
    Words(Words.Commands(checkpointFolder: "", fileMode: "") { _ in "" })
  }

  func changeObject(_ key: String, _ change: (inout [UInt8]) -> Void) throws {
    let store = places.store(at: job.output.destination.text)
    var bytes = try #require(try store.get(ObjectKey(key)))
    change(&bytes)
    _ = try store.put(bytes, at: ObjectKey(key))
  }

  func size(_ key: String) throws -> Int {
    try places.store(at: job.output.destination.text).get(ObjectKey(key))?.count ?? -1
  }

  func removeObject(_ key: String) throws {
    try places.store(at: job.output.destination.text).delete(ObjectKey(key))
  }
}

@Suite("What a job has counted, held against its messages")
struct VerifierTests {
  private static let firstWindow = "window 1970-01-01T00:00:00.000Z"

  private func afterRuns() throws -> Verified {
    let verified = try Verified()
    verified.fill()
    try verified.run()
    verified.fill(from: 20)
    try verified.run()
    return verified
  }

  @Test("agrees after two runs, and tells what became of every offset", arguments: [false, true])
  func clean(isDeep: Bool) throws {
    let verified = try afterRuns()
    let report = try verified.verify(isDeep: isDeep)
    #expect(verified.texts(report) == [] && report.agrees(isStrict: true))
    #expect(report.unprovable.count == 0 && report.notCompared.count == 0)
    let batches = try Int64(verified.sql("SELECT count(*) FROM batches").dropLast())
    #expect(report.batchCount == batches)
    #expect(report.windowCount == 9 && report.objectCount > 9)
    #expect(report.rejectCount == 4)
    var all = PartitionAccount(partition: Verified.partition)
    for account in report.partitions {
      all.messages.add(account.messages)
      all.holes += account.holes
      let rest = [account.gaps, account.unheld, account.outside, account.missing]
      #expect(rest == [0, 0, 0, 0])
    }
    #expect(all.messages.counted == 32 && all.messages.filtered == 4 && all.holes == 4)
    #expect(all.messages.rejected == 4 && all.messages.empty == 0)
    #expect(report.batch == batches)
  }

  @Test("finds a group whose value was changed, and names window, group, measure and both values")
  func changedGroup() throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 0 AND k = 'a'")
    let findings = try verified.findings()
    #expect(
      findings.first
        == "\(Self.firstWindow), group (k=\"a\"): n is 3, and the messages give 2")
    // The object shows what was counted.
    #expect(findings.count == 2 && findings[1].contains("not what the state renders to"))
  }

  @Test("finds a double that was changed by more than the rounding of its sum")
  func changedDouble() throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE groups SET total = total * (1 + 1e-13) WHERE window = 0")
    #expect(try verified.findings().filter { $0.contains("total") } == [])
    try verified.sql("UPDATE groups SET mean_sum = mean_sum * (1 + 1e-9) WHERE k = 'a'")
    #expect(try verified.findings().contains { $0.contains("group (k=\"a\"): mean is") })
  }

  @Test("finds a group that was removed, and one that was added")
  func removedAndAddedGroup() throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE groups SET k = 'z' WHERE window = 0 AND k = 'a'")
    let findings = try verified.findings()
    #expect(
      findings.contains(
        "\(Self.firstWindow), group (k=\"a\"): the checkpoint lacks it, and the messages give it"))
    #expect(
      findings.contains(
        "\(Self.firstWindow), group (k=\"z\"): the checkpoint holds it, and no message gives it"))
  }

  @Test("agrees where there is a manifest, and finds one byte of it that was changed")
  func manifest() throws {
    let verified = try Verified(keep: ", manifest: true")
    verified.fill()
    try verified.run()
    #expect(try verified.findings() == [])
    try verified.changeObject("_tranche/manifest") { $0[9] ^= 1 }
    #expect(try verified.findings().count == 1)
  }

  @Test("finds one byte of an object that was changed", arguments: [false, true])
  func changedObject(isDeep: Bool) throws {
    let verified = try afterRuns()
    let key = "window_start=1970-01-01T00-00-00Z/part-0.csv"
    var count = 0
    try verified.changeObject(key) {
      $0[9] ^= 1
      count = $0.count
    }
    let text =
      "object \(key): it is not what the state renders to, from byte 9 on (\(count) bytes; not as "
      + "it was published)"
    #expect(try verified.findings(isDeep: isDeep) == [text])
  }

  @Test("finds an object that was removed")
  func removedObject() throws {
    let verified = try afterRuns()
    let key = "window_start=1970-01-01T00-01-00Z/part-0.csv"
    try verified.removeObject(key)
    #expect(try verified.findings() == ["object \(key): it is not there"])
  }

  @Test("finds an object of rejects that was changed or removed")
  func changedRejectObject() throws {
    let verified = try afterRuns()
    let number = try verified.sql("SELECT min(batch) FROM rejects").dropLast()
    let key = "_tranche/rejects/batch=00000000\(number).ndjson"
    try verified.changeObject(key) { $0[20] ^= 1 }
    #expect(try verified.findings().first?.hasPrefix("object \(key): it is not what") == true)
    try verified.removeObject(key)
    #expect(try verified.findings() == ["object \(key): it is not there"])
  }

  @Test("finds a record's worth of progress that no batch has read, whatever stands there")
  func addedProgress() throws {
    let verified = try afterRuns()
    let next = try verified.sql("SELECT next_offset FROM partitions WHERE partition = 0").dropLast()
    try verified.sql("UPDATE partitions SET next_offset = next_offset + 1 WHERE partition = 0")
    let missing =
      "main/t[0] [\(next), \(Int(next)! + 1)): missing: the ledger calls it counted, and no batch "
      + "has read it"
    // Beyond the end of the log.
    let beyond = try verified.findings()
    #expect(beyond.count == 2 && beyond.contains(missing) && beyond[0].contains("calls 45 offsets"))
    // A record that no run will count now.
    verified.cluster.topics["t"]?[0].append(Array("a,1\n".utf8), timestampMilliseconds: 0)
    let findings = try verified.findings()
    #expect(findings.contains(missing))
    #expect(
      findings.contains("\(Self.firstWindow), group (k=\"a\"): n is 2, and the messages give 3"))
    let report = try verified.verify()
    #expect(report.partitions[0].missing == 1)
  }

  @Test("finds a batch that the history lacks, in the middle, at its start and at its end")
  func removedBatch() throws {
    for number in [3, 1] {
      let verified = try afterRuns()
      try verified.sql("DELETE FROM batches WHERE batch = \(number)")
      let findings = try verified.findings()
      #expect(findings.contains("batch \(number): the history lacks it"), "\(findings)")
      #expect(findings.contains { $0.contains("missing: the ledger calls") })
      #expect(findings.allSatisfy { !$0.contains("group") })
    }
    let verified = try afterRuns()
    let last = try verified.sql("SELECT max(batch) FROM batches").dropLast()
    try verified.sql("DELETE FROM batches WHERE batch = \(last)")
    #expect(try verified.findings().contains("batch \(last): the history lacks it"))
  }

  @Test("finds a count of a batch that was changed", arguments: ["records", "counted", "rejected"])
  func changedBatch(column: String) throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE batches SET \(column) = \(column) + 1 WHERE batch = 2")
    let findings = try verified.findings()
    #expect(findings.contains { $0.hasPrefix("batch 2: \(column) is ") }, "\(findings)")
    #expect(findings.contains { $0.hasPrefix("all batches of the history: \(column) is ") })
    #expect(findings.count == 2)
  }

  @Test("finds ranges of the history that lie outside of the ledger, or were read twice")
  func changedRanges() throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE partitions SET start_offset = 1 WHERE partition = 0")
    #expect(
      try verified.findings().first
        == "main/t[0] [0, 1): outside the ledger, and batch 1 has counted it")
    try verified.sql("UPDATE partitions SET start_offset = 0 WHERE partition = 0")
    try verified.sql(
      "UPDATE batches SET ranges = (SELECT ranges FROM batches WHERE batch = 1) WHERE batch = 2")
    #expect(
      try verified.findings().contains { $0.contains("counted twice, the second time by batch 2") })
  }

  @Test(
    "finds a reject that was edited, moved, removed or added",
    arguments: [
      ("UPDATE rejects SET reason = 'notFinite' WHERE offset = 4", "reason is notFinite"),
      ("UPDATE rejects SET field = 'k' WHERE offset = 4", "field is k"),
      ("UPDATE rejects SET raw = x'31' WHERE offset = 4", "raw is not that of the record"),
      ("UPDATE rejects SET record_timestamp = 1 WHERE offset = 4", "record_timestamp is not"),
      ("UPDATE rejects SET offset = 6 WHERE offset = 4", "the checkpoint lacks it"),
      ("DELETE FROM rejects WHERE offset = 4", "the checkpoint lacks it"),
    ])
  func changedReject(edit: String, text: String) throws {
    let verified = try afterRuns()
    #expect(
      try verified.sql("SELECT count(*) FROM rejects WHERE offset = 4 AND partition_id = 2")
        == "1\n")
    try verified.sql(edit)
    let findings = try verified.findings()
    #expect(
      findings.contains { $0.contains("main/t[1] offset 4, record 0") && $0.contains(text) },
      "\(findings)")
  }

  @Test("finds lineage and records of a window that were changed")
  func changedLineage() throws {
    let verified = try afterRuns()
    try verified.sql("UPDATE window_offsets SET smallest_offset = 1 WHERE window = 0")
    #expect(try verified.findings().contains { $0.hasPrefix("\(Self.firstWindow), lineage of") })
    let other = try afterRuns()
    try other.sql("UPDATE windows SET records = records + 1 WHERE window = 0")
    let findings = try other.findings()
    #expect(
      findings.contains(
        "\(Self.firstWindow): the checkpoint counts 6 records, and the messages give 5 records"),
      "\(findings)")
  }

  @Test("finds a window that has no object")
  func lostOutput() throws {
    let verified = try afterRuns()
    try verified.sql("DELETE FROM outputs WHERE kind = 'window' AND number = 0")
    #expect(
      try verified.findings() == ["\(Self.firstWindow): it holds state, and no object shows it"])
  }

  // MARK: - What cannot be proved or compared

  @Test("calls windows unprovable whose messages are gone, and still compares their objects")
  func unprovable() throws {
    let verified = try afterRuns()
    verified.cluster.topics["t"]?[0].removeRecords(before: 4)
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    #expect(report.unprovable.count > 0 && report.unprovable.count < report.windowCount)
    #expect(report.agrees(isStrict: false) && !report.agrees(isStrict: true))
    #expect(report.partitions.map(\.unheld) == [4, 0])
    // A value of such a window is not judged, and its object is.
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 0 AND k = 'a'")
    let findings = try verified.findings()
    #expect(findings.count == 1 && findings[0].hasPrefix("object window_start=1970-01-01T00-00"))
  }

  @Test("calls nothing provable whose topic is gone")
  func topicGone() throws {
    let verified = try afterRuns()
    verified.cluster.topics["t"] = nil
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.provedWindowCount == 0)
    // Windows first, then batches with rejects.
    #expect(report.unprovable.first.count { $0.hasPrefix("rejects of batch") } == 4)
    #expect(report.unprovable.count == report.windowCount + 4)
  }

  @Test("does not take the messages of another log for those that were counted")
  func otherLog() throws {
    let verified = try afterRuns()
    verified.cluster.topics["t"]?[0] = MemoryLog()
    for _ in 0..<100 {
      verified.cluster.topics["t"]?[0].append(Array("c,5\n".utf8), timestampMilliseconds: 0)
    }
    func check() throws {
      let report = try verified.verify()
      #expect(verified.texts(report) == [] && report.partitions[0].messages.counted == 0)
      #expect(report.unprovable.count > 0)
    }
    try check()
    try verified.decide { checkpoint in
      let isDecided = try checkpoint.keepProgress(of: Verified.partition, now: 0)
      #expect(isDecided)
    }
    try check()
    try verified.run()
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.partitions[0].messages.counted > 0)
  }

  @Test("holds what was counted of a new log against it, beside the former log's batches")
  func restartedLog() throws {
    let verified = try afterRuns()
    verified.cluster.topics["t"]?[0] = MemoryLog()
    for number in 0..<30 {
      verified.cluster.topics["t"]?[0].append(
        Array("c,5\n".utf8), timestampMilliseconds: 3_600_000 + Int64(number) * 10_000)
    }
    try verified.decide { checkpoint in
      let isDecided = try checkpoint.restart(Verified.partition, from: 0, now: 0)
      #expect(isDecided)
    }
    try verified.run()
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.partitions[0].messages.counted == 30)
    #expect(report.windowCount - report.provedWindowCount <= 9 && report.provedWindowCount < 14)
    #expect(report.windowCount == 14)
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 3600000")
    #expect(try verified.findings().contains { $0.hasPrefix("window 1970-01-01T01:00:00.000Z") })
  }

  @Test("counts what a backfill has counted, gaps and what lies outside of the ledger")
  func backfill() throws {
    let verified = try Verified(start: "latest")
    verified.fill()
    try verified.run()
    verified.fill(from: 20)
    try verified.run()
    try verified.change {
      _ = try $0.addBackfill(
        [PartitionRange(Verified.partition, OffsetRange(from: 2, to: 7))], goesFirst: false, now: 0)
    }
    try verified.run()
    try verified.change { checkpoint in
      let next = try #require(checkpoint.ledgers[Verified.partition]?.nextOffset)
      try checkpoint.recordGap(
        PartitionRange(Verified.partition, OffsetRange(from: next, to: next + 3)),
        reason: .skipped, now: 0)
    }
    verified.fill(from: 40)
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    #expect(report.partitions[0].gaps == 3 && report.partitions[0].outside > 5)
    // Were the offsets not in the ledger, the state would hold too much.
    try verified.sql("DELETE FROM backfilled")
    let findings = try verified.findings()
    #expect(findings.contains { $0.hasPrefix("main/t[0] [2, ") && $0.contains("outside the") })
    #expect(findings.contains { $0.hasPrefix("window") })
  }

  @Test("does not compare objects that a run has changed meanwhile, or is yet to publish")
  func besideARun() throws {
    let verified = try afterRuns()
    verified.fill()
    let report = try verified.verify(meanwhile: { try verified.run() })
    #expect(verified.texts(report) == [] && report.notCompared.count >= 4)
    #expect(report.notCompared.first.allSatisfy { $0.reason == .newer })
    #expect(try verified.findings() == [])
    // What the store is yet to get.
    verified.fill()
    verified.places.isDown = true
    try verified.run(fails: true)
    verified.places.isDown = false
    let unpublished = try verified.verify()
    #expect(verified.texts(unpublished) == [])
    #expect(unpublished.notCompared.first.contains { $0.reason == .unpublished })
  }

  @Test("does not compare what the next run writes again, because the job file was changed")
  func changedJob() throws {
    let verified = try afterRuns()
    let other = verified.job.with(format: .json)
    let report = try verified.verify(of: other)
    #expect(verified.texts(report) == [])
    #expect(report.notCompared.first.contains { $0.reason == .jobChanged })
  }

  @Test("compares the values of what another release rendered, where it can read them back")
  func otherRelease() throws {
    let verified = try afterRuns()
    let key = "window_start=1970-01-01T00-00-00Z/part-0.csv"
    // The same table with other line ends.
    try verified.changeObject(key) { bytes in
      bytes = bytes.flatMap { $0 == UInt8(ascii: "\n") ? Array("\r\n".utf8) : [$0] }
    }
    func adopt(_ release: String) throws {
      let facts = try #require(
        try verified.places.store(at: verified.job.output.destination.text).head(ObjectKey(key)))
      try verified.sql(
        """
        UPDATE outputs SET etag = '\(facts.etag)', byte_count = \(facts.byteCount),
        rendered_by = '\(release)' WHERE object_key = '\(key)'
        """)
    }
    try adopt("tranche 0.1")
    #expect(try verified.findings() == [])
    try verified.changeObject(key) { $0[$0.count - 4] ^= 1 }
    try adopt("tranche 0.1")
    #expect(try verified.findings().count == 1)
  }

  @Test("says which objects of another release it cannot compare, and finds those that changed")
  func otherReleaseInParquet() throws {
    let verified = try Verified(format: "parquet")
    verified.fill()
    try verified.run(release: "0.1")
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    let reasons = report.notCompared.first.map { verified.words.text(of: $0.reason) }
    #expect(reasons.count == 5 && reasons.allSatisfy { $0.hasPrefix("rendered by tranche 0.1") })
    try verified.changeObject("window_start=1970-01-01T00-00-00Z/part-0.parquet") { $0[9] ^= 1 }
    #expect(try verified.findings().count == 1)
  }

  // MARK: - Settings that were others

  private static let rows = "where: v >= 0\nselect: { w: 2 * v }"

  @Test("a batch's object is held against its messages by the select and the format of its time")
  func otherSelectAndFormat() throws {
    let verified = try Verified(Self.rows, keep: ", keep: each")
    verified.fill()
    try verified.run()
    let others = [
      try Verified.job("where: v >= 0\nselect: { w: 3 * v }", keep: ", keep: each"),
      try Verified.job("where: v >= 0", format: "json", keep: ", keep: each"),
      try Verified.job(Self.rows, format: "parquet", keep: ", keep: each"),
    ]
    for (index, other) in others.enumerated() {
      verified.fill(from: 20 * (index + 1))
      // Before the first run with it, and after.
      #expect(verified.texts(try verified.verify(of: other)) == [])
      try verified.run(other)
      let report = try verified.verify(isDeep: true, of: other)
      #expect(verified.texts(report) == [] && report.agrees(isStrict: true))
      #expect(report.notCompared.count == 0)
      #expect(report.objectCount == report.batchCount + report.rejectCount)
    }
    try verified.changeObject("batch=000000002/part-0.csv") { $0[$0.count - 2] ^= 1 }
    let report = try verified.verify(of: others[2])
    #expect(
      verified.texts(report).count == 1
        && verified.texts(report)[0].contains("part-0.csv: it is not what the state renders to"))
  }

  @Test("the one object of the newest batch stays as its select made it, until the next batch")
  func otherSelectOfLatest() throws {
    let verified = try Verified(Self.rows)
    verified.fill()
    try verified.run()
    let other = try Verified.job("where: v >= 0\nselect: { w: 3 * v }")
    for _ in 0..<2 {
      try verified.run(other)
      let report = try verified.verify(of: other)
      #expect(verified.texts(report) == [] && report.agrees(isStrict: true))
      verified.fill(from: 20)
    }
  }

  @Test("an object whose select nobody noted is only held against what was published")
  func unknownSelect() throws {
    let verified = try Verified(Self.rows, keep: ", keep: each")
    verified.fill()
    try verified.run()
    // As a release before has left it, and with it a select that was changed since.
    try verified.sql("DELETE FROM batch_settings")
    let other = try Verified.job("where: v >= 0\nselect: { w: 3 * v }", keep: ", keep: each")
    try verified.run(other)
    let report = try verified.verify(of: other)
    #expect(verified.texts(report) == [] && report.notCompared.count == report.batchCount)
    #expect(report.notCompared.first.allSatisfy { $0.reason == .otherSettings })
    try verified.changeObject("batch=000000002/part-0.csv") { $0[$0.count - 2] ^= 1 }
    let changed = verified.texts(try verified.verify(of: other))
    #expect(
      changed == [
        "object batch=000000002/part-0.csv: not as it was published: it has "
          + "\(try verified.size("batch=000000002/part-0.csv")) bytes now"
      ])
    // Where the select of before was changed by that release, nobody knows when.
    let third = try Verified(Self.rows, keep: ", keep: each")
    third.fill()
    try third.run()
    try third.sql(
      """
      DELETE FROM batch_settings;
      UPDATE job_settings SET value = 'w double: 3 * v' WHERE key = 'select'
      """)
    try third.run(other)
    let assumed = try third.verify(of: other)
    #expect(third.texts(assumed) == [] && assumed.notCompared.count == assumed.batchCount)
  }

  @Test("objects of batches that stay at a former place are not lost, and are found there again")
  func otherPlace() throws {
    let verified = try Verified(Self.rows, keep: ", keep: each")
    verified.fill()
    try verified.run()
    let batchCount = try verified.verify().batchCount
    let other = try Verified.job(Self.rows, to: "file:other", keep: ", keep: each")
    func check(_ newCount: Int64) throws {
      let report = try verified.verify(of: other)
      #expect(verified.texts(report) == [])
      let stay = report.notCompared.first.filter { $0.reason == .formerPlace("file:out") }
      #expect(Int64(stay.count) == batchCount && report.batchCount == batchCount + newCount)
    }
    #expect(verified.texts(try verified.verify(of: other)) == [])
    try verified.run(other)
    try check(0)
    verified.fill(from: 20)
    try verified.run(other)
    try check(batchCount)
    // Back again, where one of them was changed.
    try verified.run()
    #expect(try verified.verify().notCompared.count == batchCount)
    try verified.changeObject("batch=000000002/part-0.csv") { $0[$0.count - 2] ^= 1 }
    #expect(try verified.findings().count == 1)
  }

  @Test("a batch is judged by the limits of its time")
  func otherLimits() throws {
    for rest in [Verified.windows, Self.rows] {
      let verified = try Verified(rest, keep: rest == Self.rows ? ", keep: each" : "")
      let limits = [
        "limits: { record_bytes: 5 }", "limits: { future: 1s }", "limits: { key_bytes: 1 }",
        "limits: { batch_bytes: 5 }", "", "limits: { value_bytes: 10, object_bytes: 1KiB }",
      ].map { text in
        {
          try Verified.job(
            rest, keep: rest == Self.rows ? ", keep: each" : "", more: text)
        }
      }
      for (index, job) in limits.enumerated() {
        verified.fill(from: 20 * index)
        verified.cluster.topics["t"]?[0].append(
          Array("longer,1\n".utf8), timestampMilliseconds: 0)
        try verified.run(job())
        for other in limits {
          let report = try verified.verify(of: other())
          #expect(
            verified.texts(report) == [] && report.agrees(isStrict: true), "\(rest) \(index)")
          #expect(report.notCompared.count == 0)
        }
      }
      let reasons = try verified.sql("SELECT DISTINCT reason FROM rejects ORDER BY reason")
      #expect(reasons.contains("recordTooLarge"), "\(reasons)")
      try verified.sql("DELETE FROM rejects WHERE reason = 'recordTooLarge'")
      #expect(try !verified.findings().isEmpty)
    }
  }

  @Test("limits on the state that were higher then stop nothing")
  func lowerLimits() throws {
    let verified = try Verified()
    verified.fill()
    try verified.run()
    let lower = try Verified.job(
      more: "limits: { groups_per_window: 1, windows_per_batch: 1, object_bytes: 10 }")
    let report = try verified.verify(of: lower)
    #expect(verified.texts(report) == [] && report.agrees(isStrict: true))
  }

  // MARK: - What was compacted, or pruned

  @Test("a window of which records were compacted is unprovable, and the others are not")
  func compacted() throws {
    let verified = try afterRuns()
    let log = try #require(verified.cluster.topics["t"]?[0])
    // Offset 0 is a record of the first window, in a batch that has a hole anyway or not.
    log.compact(0)
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    #expect(report.provedWindowCount == report.windowCount - 1 && report.unprovable.count == 1)
    #expect(!report.agrees(isStrict: true))
    // What is there gives the least that the state must hold.
    try verified.sql("UPDATE groups SET n = 0 WHERE window = 0 AND k = 'c'")
    #expect(
      try verified.findings().contains(
        "\(Self.firstWindow), group (k=\"c\"): n is 0, and the messages give 1"))
    try verified.sql("DELETE FROM groups WHERE window = 0 AND k = 'c'")
    #expect(
      try verified.findings().contains(
        "\(Self.firstWindow), group (k=\"c\"): the checkpoint lacks it, and the messages give it"
      ))
    // Another window is proved as before.
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 60000 AND k = 'a'")
    #expect(try verified.findings().contains { $0.contains("1970-01-01T00:01:00.000Z, group") })
  }

  @Test("a reject that was compacted is unprovable, and one too many where it still stands is not")
  func compactedReject() throws {
    let verified = try afterRuns()
    let log = try #require(verified.cluster.topics["t"]?[1])
    log.compact(4)
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    #expect(report.unprovable.first.count == 1, "\(report.unprovable.first)")
    #expect(report.unprovable.first[0].hasPrefix("rejects of batch "))
    try verified.sql("UPDATE rejects SET offset = 5 WHERE offset = 4 AND partition_id = 2")
    #expect(try verified.findings().contains { $0.contains("the checkpoint holds it") })
  }

  @Test("the objects of batches of which something was compacted are as they were published")
  func compactedRows() throws {
    for byteCount in ["bytes", "NULL"] {
      let verified = try Verified(Self.rows, keep: ", keep: each")
      verified.fill()
      try verified.run()
      try verified.sql("UPDATE batches SET bytes = \(byteCount)")
      #expect(try verified.verify().agrees(isStrict: true))
      verified.cluster.topics["t"]?[0].compact(1)
      let report = try verified.verify()
      #expect(verified.texts(report) == [] && report.unprovable.first == ["batch 1"])
      // A count that what is left exceeds is no matter of compaction.
      try verified.sql("UPDATE batches SET counted = 0 WHERE batch = 1")
      #expect(try verified.findings().contains { $0.hasPrefix("batch 1: counted is 0, and") })
    }
  }

  @Test("what was compacted of batches that the history has forgotten is unprovable as well")
  func compactedAndPruned() throws {
    let verified = try Verified(more: "checkpoint: { history: 2 }")
    verified.fill()
    try verified.run()
    let before = try verified.verify()
    #expect(verified.texts(before) == [] && before.provedWindowCount == before.windowCount)
    verified.cluster.topics["t"]?[0].compact(0)
    let report = try verified.verify()
    #expect(verified.texts(report) == [])
    #expect(report.provedWindowCount == report.windowCount - 1)
  }

  @Test("objects and rejects of batches that the history has forgotten are not proved")
  func pruned() throws {
    let verified = try Verified(Self.rows, keep: ", keep: each", more: "checkpoint: { history: 2 }")
    verified.fill()
    try verified.run()
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.batchCount == 2)
    #expect(report.agrees(isStrict: false) && !report.agrees(isStrict: true))
    let forgotten = report.batch - 2
    #expect(report.unprovable.first.count { $0.hasPrefix("batch ") } == forgotten)
    #expect(report.unprovable.first.contains("rejects of batch 3"))
    // Chosen by its number it is itself, and none behind it.
    let one = try verified.verify(.batches([1]))
    #expect(one.batchCount == 0 && one.unprovable.first == ["batch 1"])
    #expect(one.partitions.allSatisfy { $0.messages.counted == 0 })
  }

  @Test("windows of forgotten batches are unprovable where limits have changed among these")
  func prunedUnderOtherLimits() throws {
    func job(_ limits: String) throws -> Job {
      try Verified.job(more: "checkpoint: { history: 1 }\n\(limits)")
    }
    let verified = try Verified(more: "checkpoint: { history: 1 }")
    verified.fill()
    try verified.run(job("limits: { record_bytes: 5 }"))
    verified.fill(from: 20)
    try verified.run(job(""))
    let report = try verified.verify(of: job(""))
    #expect(verified.texts(report) == [] && report.provedWindowCount < 3)
  }

  @Test("an object of rows that nobody knows is told, unless the next run deletes it")
  func strangeObject() throws {
    let verified = try Verified(Self.rows, keep: ", keep: each")
    verified.fill()
    try verified.run()
    let store = verified.places.store(at: "file:out")
    let key = "batch=000000002/part-0.parquet"
    _ = try store.put([1, 2, 3], at: ObjectKey(key))
    // What is no result of a batch is nobody's business.
    _ = try store.put([1], at: ObjectKey("notes.txt"))
    #expect(
      try verified.findings() == [
        "object \(key): nobody knows it: this state has put no such object"
      ])
    #expect(try verified.findings(.batches([1])) == [])
    try verified.change { checkpoint in
      let (_, retired) = try takeOver(store, checkpoint, isRestored: false, deletes: true)
      #expect(retired.map(\.value) == [key])
    }
    #expect(try verified.findings() == [])
    try verified.run()
    #expect(try store.head(ObjectKey(key)) == nil && verified.findings() == [])
  }

  // MARK: - Parts

  @Test("one window is read from its smallest to its largest offset, and judged alone")
  func oneWindow() throws {
    let verified = try afterRuns()
    let report = try verified.verify(.windows([Window(60_000)]))
    #expect(verified.texts(report) == [] && report.windowCount == 1 && report.objectCount == 1)
    let read = report.partitions.reduce(0) { $0 + $1.messages.counted }
    #expect(read >= 3 && read <= 6)
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 0")
    #expect(try verified.findings(.windows([Window(60_000)])) == [])
    try verified.sql("UPDATE groups SET n = n + 1 WHERE window = 60000 AND k = 'a'")
    #expect(try verified.findings(.windows([Window(60_000)])).count == 2)
  }

  // MARK: - Other kinds of jobs

  @Test(
    "a job without windows is held against each batch's messages, and so are its objects",
    arguments: ["", "window: batch\naggregate: { by: [k], measures: { n: count() } }"])
  func eachBatch(rest: String) throws {
    let verified = try Verified(rest, keep: ", keep: each")
    verified.fill()
    try verified.run()
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.batchCount == report.batch)
    #expect(report.objectCount == report.batchCount + report.rejectCount)
    let key = "batch=000000002/part-0.csv"
    try verified.changeObject(key) { $0[$0.count - 2] ^= 1 }
    #expect(try verified.findings().first?.hasPrefix("object \(key): it is not what") == true)
    // Without its messages, an object is compared with what was published.
    verified.cluster.topics["t"]?[0].removeRecords(before: 100)
    let later = try verified.verify()
    #expect(later.unprovable.count > 0)
    #expect(verified.texts(later).first?.hasPrefix("object \(key): not as it was") == true)
    try verified.removeObject(key)
    #expect(try verified.findings() == ["object \(key): it is not there"])
    #expect(try verified.findings(.batches([3])) == [])
  }

  @Test("the object of the newest batch, and the global window", arguments: [false, true])
  func oneObject(isGlobal: Bool) throws {
    let verified = try Verified(
      isGlobal
        ? "window: global\naggregate: { by: [k], measures: { n: count(), least: min(v) } }" : "")
    verified.fill()
    try verified.run()
    let report = try verified.verify()
    #expect(verified.texts(report) == [] && report.objectCount == 1 + report.rejectCount)
    try verified.changeObject("part-0.csv") { $0[8] ^= 1 }
    #expect(try verified.findings().count == 1)
  }

  @Test("rejects that are not kept are counted all the same")
  func droppedRejects() throws {
    let verified = try Verified(rejects: "{ policy: drop, max_share: 100% }")
    verified.fill()
    try verified.run()
    #expect(try verified.findings() == [])
    try verified.sql("UPDATE batches SET rejected = 0")
    #expect(try verified.findings().count == 3)
  }
}
