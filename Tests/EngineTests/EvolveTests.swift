import Checkpoints
import Formats
import Jobs
import ObjectStorage
import Offsets
import Parquet
import Reports
import Tables
import TestSupport
import Testing
import Trials
import Windows

@testable import Engine

/// A job whose definition changes between runs over one cluster in memory.
private final class Evolving {
  let folder: TemporaryFolder
  let cluster = MemoryCluster(identifier: "memory")
  let places = MemoryPlaces()

  init() throws {
    folder = try TemporaryFolder()
    cluster.create("t", partitionCount: 1)
  }

  /// A job of windows of a minute over records of `k` and `v`.
  func job(
    _ measures: String = "n: count()", fields: String = "k: string, v: \"int64?\"",
    select: String? = nil, rest: String? = nil, format: String = "csv", more: String = ""
  ) throws -> Job {
    let windows = "window: { tumbling: 1m }\naggregate: { by: [k], measures: { \(measures) } }"
    return try JobFile.parse(
      text: """
        name: evolving
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { \(fields) }
        trigger: { max_offsets: 4 }
        \(rest ?? windows)
        \(select.map { "select: { \($0) }" } ?? "")
        output: { to: "file:out", format: \(format)\(more) }
        rejects: { max_share: 100% }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
  }

  /// - Parameter minute: In whose window it is.
  func add(_ value: String, minute: Int64) {
    cluster.topics["t"]?[0].append(
      Array("\(value)\n".utf8), timestampMilliseconds: minute * 60_000 + 1_000)
  }

  func open(_ job: Job) throws -> Checkpoint {
    try Checkpoint(job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
  }

  @discardableResult
  func run(_ job: Job) throws -> RunSummary {
    let checkpoint = try open(job)
    defer { checkpoint.close() }
    let (summary, errors) = try runQuietly(job, checkpoint, [MemorySource("main", cluster)]) {
      [places] in places.store(at: $0.text)
    }
    #expect(errors.isEmpty, "\(errors)")
    return summary
  }

  @discardableResult
  func evolve(_ job: Job, step: @escaping @Sendable () -> Void = {}) throws -> ChangeVerdict {
    try Checkpoint.evolve(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test", step: step)
  }

  var path: String { Checkpoint.path(ofJob: "evolving", folder: folder.path) }

  @discardableResult
  func sql(_ text: String) throws -> String {
    try execute("/usr/bin/sqlite3", [path, text]).output
  }

  func bytes(_ minute: Int64, _ ending: String = "csv") -> [UInt8] {
    let time = "1970-01-01T00-0\(minute)-00Z"
    return places.all["file:out"]?["window_start=\(time)/part-0.\(ending)"] ?? []
  }

  /// What the object of a window holds.
  func text(_ minute: Int64) -> String { String(decoding: bytes(minute), as: UTF8.self) }

  func findings(_ job: Job) throws -> (differences: [String], unprovable: [String]) {
    let report = try verify(job)
    let words = Words(.init(checkpointFolder: "", fileMode: "") { "\($0)" })
    return (report.findings.first.map { words.text(of: $0) }, report.unprovable.first)
  }

  func verify(_ job: Job) throws -> Verification {
    let scratch = try TemporaryFolder()
    let live = try CheckpointReader(path: path, job: job)
    let copy = try VerificationCopy(of: live, job: job, at: scratch.path + "/verified.sqlite")
    return try Verifier(
      copy: copy, live: live, sources: [MemorySource("main", cluster)],
      store: places.store(at: "file:out"),
      options: RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test"), isDeep: true
    ).verify()
  }

  func problems(_ job: Job) throws -> [String] {
    try CheckpointReader(path: path, job: job).problems(job: job)
  }
}

@Suite("A job that evolves")
struct EvolveTests {
  @Test(
    """
    has an added measure from the next batch on: NULL in every group of a window that began \
    before, also in groups that are new, and whole in windows that begin later
    """)
  func addedMeasure() throws {
    let evolving = try Evolving()
    for number in 1...5 { evolving.add("a,\(number)", minute: 0) }
    try evolving.run(evolving.job())
    let new = try evolving.job("n: count(), total: sum(v), mean: avg(v), first: min(k)")
    #expect(throws: CheckpointError.self) { try evolving.open(new) }
    let verdict = try evolving.evolve(new)
    #expect(verdict.number == 2 && verdict.nextBatch == 3 && verdict.windowCount == 1)
    // The object is rendered again before anything comes.
    #expect(try evolving.run(new).publishedCount == 1)
    #expect(evolving.text(0) == "k,n,total,mean,first\na,5,\\N,\\N,\\N\n")
    evolving.add("a,7", minute: 0)
    evolving.add("b,8", minute: 0)
    evolving.add("b,9", minute: 1)
    evolving.add("b,1", minute: 1)
    try evolving.run(new)
    #expect(evolving.text(0) == "k,n,total,mean,first\na,6,\\N,\\N,\\N\nb,1,\\N,\\N,\\N\n")
    #expect(evolving.text(1) == "k,n,total,mean,first\nb,2,10,5.0,b\n")
    #expect(try evolving.findings(new) == ([], []))
    #expect(try evolving.problems(new) == [])
  }

  @Test("computes shares over such a measure by SQL's own rules: NULL, and never a part of 100")
  func shares() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job())
    let select = """
      share: 100.0 * total / sum(total) OVER (), \
      place: { sql: rank() OVER (ORDER BY total), type: int64 }, \
      known: { sql: count(total) OVER (), type: int64 }
      """
    let new = try evolving.job("n: count(), total: sum(v)", select: select)
    try evolving.evolve(new)
    evolving.add("b,3", minute: 0)
    evolving.add("a,1", minute: 1)
    evolving.add("b,3", minute: 1)
    try evolving.run(new)
    #expect(
      evolving.text(0) == "k,n,total,share,place,known\na,1,\\N,\\N,1,0\nb,1,\\N,\\N,1,0\n")
    #expect(evolving.text(1) == "k,n,total,share,place,known\na,1,1,25.0,1,2\nb,1,3,75.0,2,2\n")
  }

  @Test("drops a removed measure, and begins anew with one that means something else by its name")
  func removedMeasure() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    evolving.add("a,5", minute: 0)
    try evolving.run(evolving.job("n: count(), top: max(v), mean: avg(v)"))
    let new = try evolving.job("n: count(), top: min(v)")
    let verdict = try evolving.evolve(new)
    #expect(
      verdict.evolution.addedMeasures == ["top min(v)"]
        && verdict.evolution.removedMeasures == ["top max(v)", "mean avg(v)"])
    #expect(try evolving.sql("SELECT * FROM groups") == "0|a|2|\n")
    try evolving.run(new)
    #expect(evolving.text(0) == "k,n,top\na,2,\\N\n")
    evolving.add("a,3", minute: 1)
    try evolving.run(new)
    #expect(evolving.text(1) == "k,n,top\na,1,3\n")
    #expect(try evolving.findings(new) == ([], []))
  }

  @Test("may do so again and again: a measure that comes back begins where it comes back")
  func again() throws {
    let evolving = try Evolving()
    let with = try evolving.job("n: count(), total: sum(v)")
    let without = try evolving.job()
    evolving.add("a,1", minute: 0)
    try evolving.run(with)
    try evolving.evolve(without)
    evolving.add("a,2", minute: 1)
    try evolving.run(without)
    #expect(evolving.text(0) == "k,n\na,1\n")
    try evolving.evolve(with)
    evolving.add("a,4", minute: 2)
    evolving.add("a,8", minute: 1)
    try evolving.run(with)
    #expect(evolving.text(0) == "k,n,total\na,1,\\N\n")
    #expect(evolving.text(1) == "k,n,total\na,2,\\N\n")
    #expect(evolving.text(2) == "k,n,total\na,1,4\n")
    let three = try evolving.job("n: count(), total: sum(v), least: min(v)")
    try evolving.evolve(three)
    evolving.add("b,5", minute: 2)
    evolving.add("b,6", minute: 3)
    try evolving.run(three)
    #expect(evolving.text(2) == "k,n,total,least\na,1,4,\\N\nb,1,5,\\N\n")
    #expect(evolving.text(3) == "k,n,total,least\nb,1,6,6\n")
    #expect(try evolving.findings(three) == ([], []))
    #expect(try evolving.problems(three) == [])
  }

  @Test(
    """
    reads an added field from the next batch on, and is verified by what each batch could read: \
    records of two fields, then of three
    """)
  func addedField() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    evolving.add("a,2,early", minute: 0)
    let old = try evolving.job()
    try evolving.run(old)
    let new = try evolving.job(
      "n: count(), last: max(w)", fields: "k: string, v: \"int64?\", w: \"string?\"")
    try evolving.evolve(new)
    evolving.add("a,3", minute: 0)
    evolving.add("a,4,x", minute: 0)
    evolving.add("a,5,y", minute: 1)
    #expect(try evolving.run(new).rejectedCount == 1)
    #expect(evolving.text(0) == "k,n,last\na,2,\\N\n")
    #expect(evolving.text(1) == "k,n,last\na,1,y\n")
    let report = try evolving.verify(new)
    #expect(report.findings.count == 0 && report.unprovable.count == 0)
    #expect(report.batchCount == 2 && report.rejectCount == 2)
    #expect(report.partitions.map(\.messages.rejected) == [2])
  }

  @Test("keeps an added measure NULL where a backfill counts into a window that began before")
  func backfill() throws {
    let evolving = try Evolving()
    let old = try evolving.job()
    for number in 1...4 { evolving.add("a,\(number)", minute: number < 3 ? 0 : 1) }
    let partition = PartitionID(source: "main", topic: "t", partition: 0)
    do {
      let checkpoint = try evolving.open(old)
      try checkpoint.confirmCluster(source: "main", clusterID: "memory")
      try checkpoint.start([partition: 2])
    }
    try evolving.run(old)
    let new = try evolving.job("n: count(), total: sum(v)")
    try evolving.evolve(new)
    evolving.add("a,10", minute: 1)
    try evolving.run(new)
    do {
      _ = try evolving.open(new).addBackfill(
        [PartitionRange(partition, OffsetRange(from: 0, to: 2))], goesFirst: false, now: 0)
    }
    try evolving.run(new)
    // No record of the first window was counted before the change.
    #expect(evolving.text(0) == "k,n,total\na,2,3\n")
    #expect(evolving.text(1) == "k,n,total\na,3,\\N\n")
    #expect(try evolving.findings(new) == ([], []))
  }

  @Test("is verified by the offsets of its definitions where batches are pruned from the history")
  func prunedHistory() throws {
    let evolving = try Evolving()
    for number in 0..<12 { evolving.add("a,\(number)", minute: Int64(number) / 4) }
    try evolving.run(evolving.job())
    let new = try evolving.job(
      "n: count(), total: sum(v)", fields: "k: string, v: \"int64?\", w: \"string?\"")
    try evolving.evolve(new)
    for number in 0..<8 { evolving.add("a,\(number),x", minute: 2 + Int64(number) / 4) }
    try evolving.run(new)
    try evolving.sql(
      """
      UPDATE batch_totals SET (batches, offsets, records, counted, rejected, accepted, tombstones) =
        (SELECT count(*), sum(offsets), sum(records), sum(counted), sum(rejected), sum(accepted), \
      sum(tombstones) FROM batches WHERE batch < 5) WHERE of = 'pruned';
      DELETE FROM batches WHERE batch < 5;
      """)
    #expect(try evolving.findings(new) == ([], []))
  }

  @Test("takes in a copy from before the change, and is then let evolve as ever")
  func importedCopy() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job())
    let other = try TemporaryFolder()
    func takeIn(_ job: Job) throws {
      _ = try Checkpoint.takeIn(
        job: job, folder: other.path, replaces: true, from: "a copy", holder: "a test", now: 0
      ) { try CheckpointCopy(of: evolving.path, job: job, in: $0) }
    }
    #expect(throws: CheckpointError.self) {
      try takeIn(
        evolving.job(rest: "window: global\naggregate: { by: [k], measures: { n: count() } }"))
    }
    let new = try evolving.job("n: count(), total: sum(v)")
    try takeIn(new)
    do {
      _ = try Checkpoint(
        job: new, folder: other.path, holder: "a test", now: 0, release: "test")
      Issue.record("was not refused")
    } catch {
      guard case .jobChanged(let changes) = error.code else { throw error }
      #expect(changes.map(\.effect) == [.evolve])
    }
    let verdict = try Checkpoint.evolve(
      job: new, folder: other.path, holder: "a test", now: 0, release: "test")
    #expect(verdict.number == 2)
  }

  @Test("is refused with a measure for a window that never ends, and with what must be read again")
  func refused() throws {
    let evolving = try Evolving()
    let global = "window: global\naggregate: { by: [k], measures: { n: count()"
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job(rest: global + " } }"))
    let before = try evolving.sql(".dump")
    for other in [
      try evolving.job(rest: global + ", total: sum(v) } }"),
      try evolving.job(rest: "where: v > 0\n" + global + " } }"),
    ] {
      do {
        try evolving.evolve(other)
        Issue.record("was not refused")
      } catch let error as CheckpointError {
        guard case .jobChanged(let changes) = error.code else { throw error }
        #expect(changes.map(\.effect) == [.reread])
      }
    }
    #expect(try evolving.sql(".dump") == before)
  }

  @Test("changes nothing where a crash or a failure comes before its one transaction is whole")
  func atomic() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job("n: count(), total: sum(v)"))
    let before = try evolving.sql(".dump")
    let new = try evolving.job("n: count(), least: min(v)")
    try evolving.sql(
      "CREATE TRIGGER t BEFORE INSERT ON definition_offsets BEGIN SELECT raise(ABORT, 'no'); END")
    #expect(throws: CheckpointError.self) { try evolving.evolve(new) }
    try evolving.sql("DROP TRIGGER t")
    #expect(try evolving.sql(".dump") == before)
    #expect(try evolving.evolve(new).number == 2)
  }

  @Test("leaves a change of another key to the next run, and does nothing where nothing is needed")
  func otherChanges() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job())
    let new = try evolving.job(
      "n: count(), total: sum(v)", select: "twice: 2.0 * n", format: "json")
    #expect(try evolving.evolve(new).changes.count == 3)
    #expect(try evolving.evolve(new).need == .nextRun)
    try evolving.run(new)
    #expect(
      String(decoding: evolving.bytes(0, "json"), as: UTF8.self)
        == "{\"k\":\"a\",\"n\":1,\"total\":null,\"twice\":2.0}\n")
    #expect(evolving.bytes(0).isEmpty)
    #expect(try evolving.evolve(new).need == .nothing)
  }

  @Test("takes any definition before the first commit, without a command")
  func untouched() throws {
    let evolving = try Evolving()
    try evolving.run(evolving.job())
    let new = try evolving.job("n: count(), total: sum(v)")
    #expect(try evolving.evolve(new).need == .nextRun)
    evolving.add("a,1", minute: 0)
    try evolving.run(new)
    #expect(evolving.text(0) == "k,n,total\na,1,1\n")
    #expect(try evolving.sql("SELECT count(*) FROM definitions") == "1\n")
  }

  @Test("a value in a pane that began before its measure is damage, which a look at it finds")
  func damage() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job())
    let new = try evolving.job("n: count(), total: sum(v)")
    try evolving.evolve(new)
    try evolving.run(new)
    try evolving.sql("UPDATE groups SET total = 5")
    #expect(
      try evolving.problems(new) == [
        "table groups, row 0, 'a': total holds a value, and its pane began before the measure"
      ])
    #expect(try evolving.findings(new).differences.count == 2)
    try evolving.sql("UPDATE groups SET total = NULL; UPDATE windows SET definition = 7")
    #expect(try evolving.problems(new).first?.contains("definition is 7") == true)
  }

  @Test("an added measure's column is optional in every object, also of windows that are complete")
  func optionalColumns() throws {
    let evolving = try Evolving()
    evolving.add("a,1", minute: 0)
    try evolving.run(evolving.job(format: "parquet"))
    let new = try evolving.job("n: count(), total: count(v)", format: "parquet")
    try evolving.evolve(new)
    evolving.add("a,1", minute: 1)
    try evolving.run(new)
    let reader = try CheckpointReader(path: evolving.path)
    let shown = try reader.continued(new).outputSchema
    #expect(shown.columns.map(\.isNullable) == [false, false, true])
    let complete = Table(shown, columns: try [text("a"), integer(1), integer(1)])
    let asIf = try Renderer(try reader.continued(new), inputSchema: shown, release: "test").encode(
      complete, .window(Window(60_000)),
      [
        Lineage(
          partition: PartitionID(source: "main", topic: "t", partition: 0), smallestOffset: 1,
          largestOffset: 1, recordCount: 1)
      ])
    #expect(evolving.bytes(1, "parquet") == asIf)
    #expect(try evolving.findings(new) == ([], []))
  }

  private func text(_ value: String) throws -> Column {
    var column = Column(.string)
    column.append(string: value)
    return column
  }

  private func integer(_ value: Int64) throws -> Column {
    var column = Column(.int64)
    column.append(integer: value)
    return column
  }

  @Test(
    """
    that keeps no state changes its fields freely, and its former batches are held against their \
    own definition
    """, arguments: ["", "window: batch\naggregate: { by: [k], measures: { n: count() } }"])
  func rows(rest: String) throws {
    let evolving = try Evolving()
    func job(_ fields: String) throws -> Job {
      try evolving.job(fields: fields, rest: rest, format: "parquet", more: ", keep: each")
    }
    let old = try job("k: string, v: int64")
    evolving.add("a,1", minute: 0)
    evolving.add("a,1,2", minute: 0)
    try evolving.run(old)
    let new = try job("k: string, v: int64, w: int64")
    evolving.add("a,1", minute: 0)
    evolving.add("a,1,2", minute: 0)
    #expect(try evolving.run(new).rejectedCount == 1)
    let reader = try CheckpointReader(path: evolving.path)
    let optional = try reader.continued(new).outputSchema.columns.filter(\.isNullable).map(\.name)
    #expect(optional == (rest.isEmpty ? ["w"] : []))
    // Also where the job file goes back to it.
    evolving.add("a,1", minute: 0)
    try evolving.run(old)
    #expect(try reader.continued(old).outputSchema.columns.allSatisfy { !$0.isNullable })
    let report = try evolving.verify(old)
    #expect(report.findings.first.map { "\($0)" } == [] && report.unprovable.count == 0)
    #expect(report.batchCount == 3 && report.rejectCount == 2 && report.objectCount > 3)
    #expect(try evolving.sql("SELECT count(*) FROM definitions") == "3\n")
  }

  @Test("says of a batch whose definition cannot be made again that it is not compared")
  func otherDefinition() throws {
    let evolving = try Evolving()
    // Its select names a column that goes.
    let rows = try evolving.job(select: "twice: 2.0 * v", rest: "", more: ", keep: each")
    evolving.add("a,1", minute: 0)
    try evolving.run(rows)
    let grouped = try evolving.job(
      rest: "window: batch\naggregate: { by: [k], measures: { n: count() } }", more: ", keep: each")
    evolving.add("a,1", minute: 0)
    try evolving.run(grouped)
    let report = try evolving.verify(grouped)
    #expect(report.findings.count == 0 && report.unprovable.count == 0)
    #expect(report.notCompared.first == [NotCompared("batch 1", .otherDefinition)])
    #expect(report.partitions.map(\.notDecoded) == [1] && report.partitions.map(\.unheld) == [0])
  }
}
