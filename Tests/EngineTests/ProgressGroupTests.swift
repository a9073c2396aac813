import Checkpoints
import Jobs
import Offsets
import TestSupport
import Testing
import Trials

@testable import Engine

private func partition(_ number: Int32, _ source: String = "main") -> PartitionID {
  PartitionID(source: source, topic: "t", partition: number)
}

@Suite("What becomes of the group that shows a job's progress")
struct ProgressGroupTests {
  private let group = ProgressGroup("g", job: "calls", checkpoint: "b", formerCheckpoints: ["a"])
  private let progress = [partition(0): Offset(5), partition(1): 7]

  private func shown(
    _ committed: [PartitionID: (Offset, String)]
  ) -> [PartitionID: CommittedOffset] {
    committed.mapValues { CommittedOffset($0.0, metadata: $0.1) }
  }

  @Test("all of it is committed where nothing is, and then only what has changed")
  func changed() {
    #expect(group.mark == "tranche calls b")
    #expect(group.decide([:], progress) == .commit(progress))
    let some = shown([partition(0): (5, group.mark), partition(1): (6, group.mark)])
    #expect(group.decide(some, progress) == .commit([partition(1): 7]))
  }

  @Test("offsets of the state that this one was made from are taken over")
  func former() {
    let former = shown([partition(0): (9, "tranche calls a"), partition(1): (7, group.mark)])
    #expect(group.decide(former, progress) == .commit([partition(0): 5]))
  }

  @Test(
    "a group with an offset of somebody else's is left alone",
    arguments: ["", "tranche calls c", "tranche other b", "tranche calls b ", "x"])
  func foreign(metadata: String) {
    let some = shown([partition(0): (5, group.mark), partition(1): (7, metadata)])
    #expect(
      group.decide(some, progress) == .refuse(.isAnothers(partition(1), metadata: metadata)))
  }
}

/// A job over two clusters in memory that shows its progress.
private final class Shown {
  private let folder: TemporaryFolder
  let job: Job
  let main = MemoryCluster(identifier: "1")
  let second = MemoryCluster(identifier: "2")
  static let group = "tranche-shown"

  init(start: String = "earliest") throws {
    folder = try TemporaryFolder()
    job = try JobFile.parse(
      text: """
        name: shown
        source:
          kafka:
            - { name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }
            - { name: second, properties: { bootstrap.servers: "y:1" }, topics: [t] }
          start: \(start)
          commit_group: true
          format: csv
          fields: { v: int64 }
        trigger: { max_offsets: 2 }
        window: global
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
    main.create("t", partitionCount: 2)
    second.create("t", partitionCount: 1)
    append(10, to: main, 0)
    append(3, to: main, 1)
    append(4, to: second, 0)
  }

  func append(_ count: Int, to cluster: MemoryCluster, _ partition: Int) {
    for _ in 0..<count { cluster.topics["t"]?[partition].append(Array("1\n".utf8)) }
  }

  func open() throws -> Checkpoint {
    try Checkpoint(job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
  }

  private var resetCount: Int64 = 0

  func reset() throws {
    resetCount += 1
    _ = try Checkpoint.reset(
      job: job, folder: folder.path, deletesObjects: false, holder: "a test", now: resetCount,
      release: "test")
  }

  /// - Parameter onCommit: Gets the clock's seconds, and may move it.
  func run(
    _ main: (any MessageSource)? = nil,
    onCommit: (RunProgress, inout Int64) -> Void = { _, _ in }
  ) throws -> (summary: RunSummary, errors: [RunError]) {
    try runInMemory(
      job, try open(),
      [main ?? MemorySource("main", self.main), MemorySource("second", second)],
      onCommit: onCommit)
  }

  /// What the group of a cluster shows.
  func shown(_ cluster: MemoryCluster) -> [PartitionID: Offset] {
    cluster.groups[Self.group]?.mapValues(\.offset) ?? [:]
  }
}

/// A cluster whose groups are counted, or fail.
private final class GroupSource: ForwardingSource {
  let inner: MemorySource
  var fails = false
  private(set) var askCount = 0
  private(set) var commits: [[PartitionID: Offset]] = []

  init(_ cluster: MemoryCluster) { inner = MemorySource("main", cluster) }

  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    askCount += 1
    if fails { throw SourceError(.refused, place: "main, group \(group)", reason: "no right") }
    return try inner.committed(of: partitions, in: group)
  }
  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool {
    commits.append(offsets)
    return try inner.commit(offsets, to: group, metadata: metadata)
  }
}

@Suite("A run that shows its progress in a group")
struct ProgressDisplayTests {
  @Test("commits what each cluster's partitions have come to, marked with job and checkpoint")
  func clusters() throws {
    let shown = try Shown()
    #expect(try shown.run().summary.progressNotShown.isEmpty)
    #expect(shown.shown(shown.main) == [partition(0): 10, partition(1): 3])
    #expect(shown.shown(shown.second) == [partition(0, "second"): 4])
    let mark = "tranche shown \(try shown.open().identifier())"
    let marks = shown.main.groups[Shown.group]?.values.map(\.metadata) ?? []
    #expect(marks == [mark, mark])
  }

  @Test("commits every ten seconds and at its end, and not with every batch")
  func rhythm() throws {
    let shown = try Shown()
    let source = GroupSource(shown.main)
    // Nine batches; a second each.
    let (summary, _) = try shown.run(source) { $1 += $0.batchCount == 3 ? 10 : 1 }
    #expect(summary.batchCount == 9)
    let totals = source.commits.map { $0.values.reduce(0, +) }
    #expect(source.askCount == 2 && totals.count == 2, "\(source.commits)")
    #expect(shown.shown(shown.main) == [partition(0): 10, partition(1): 3])
  }

  @Test("commits nothing where nothing has changed")
  func unchanged() throws {
    let shown = try Shown()
    _ = try shown.run()
    let source = GroupSource(shown.main)
    _ = try shown.run(source)
    #expect(source.askCount == 1 && source.commits.isEmpty)
  }

  @Test("ends well where the group is refused, leaves it as it is, and says so once a cluster")
  func refused() throws {
    let shown = try Shown()
    shown.main.groupsInUse = [Shown.group]
    let foreign = CommittedOffset(99, metadata: "")
    shown.second.groups[Shown.group] = [partition(0, "second"): foreign]
    let before = (shown.main.groups, shown.second.groups)
    let (summary, errors) = try shown.run { $1 += 10 }
    #expect(errors.isEmpty && summary.batchCount == 9 && summary.dirtyCount == 0)
    #expect(
      summary.progressNotShown == [
        ProgressNotShown(group: Shown.group, source: "main", .refused(.isInUse)),
        ProgressNotShown(
          group: Shown.group, source: "second",
          .refused(.isAnothers(partition(0, "second"), metadata: ""))),
      ])
    #expect(shown.main.groups == before.0 && shown.second.groups == before.1)
  }

  @Test("ends well where a cluster fails, tries again at its end and no sooner, and says so once")
  func fails() throws {
    let shown = try Shown()
    let source = GroupSource(shown.main)
    source.fails = true
    let (summary, errors) = try shown.run(source) { $1 += 10 }
    #expect(errors.isEmpty && summary.batchCount == 9)
    #expect(source.askCount == 2 && summary.progressNotShown.count == 1)
    // The other cluster's progress is shown all the same.
    #expect(shown.shown(shown.second) == [partition(0, "second"): 4])
    source.fails = false
    #expect(try shown.run(source).summary.progressNotShown.isEmpty)
    #expect(shown.shown(shown.main) == [partition(0): 10, partition(1): 3])
  }

  @Test("commits nothing for a backfill, which moves no progress")
  func backfill() throws {
    let shown = try Shown(start: "latest")
    _ = try shown.run()
    let range = PartitionRange(partition(0), OffsetRange(from: 0, to: 10))
    _ = try shown.open().addBackfill([range], goesFirst: false, now: 0)
    let source = GroupSource(shown.main)
    let (summary, _) = try shown.run(source) { $1 += 10 }
    #expect(summary.backfilledCount == 10)
    #expect(source.askCount == 1 && source.commits.isEmpty)
    #expect(shown.shown(shown.main) == [partition(0): 10, partition(1): 3])
  }

  @Test("shows nothing of a log that was replaced, until a person decides")
  func replacedLog() throws {
    let shown = try Shown()
    _ = try shown.run()
    shown.main.topics["t"]?[1] = MemoryLog()
    shown.main.groups = [:]
    #expect(try shown.run().errors.map(\.code) == [.dataLoss])
    #expect(shown.shown(shown.main) == [partition(0): 10])
  }

  @Test("goes on in the same group after a reset, and the old state does not")
  func reset() throws {
    let shown = try Shown()
    _ = try shown.run()
    try shown.reset()
    #expect(try shown.run().summary.progressNotShown.isEmpty)
    let mark = "tranche shown \(try shown.open().identifier())"
    #expect(shown.main.groups[Shown.group]?[partition(0)]?.metadata == mark)
    // Twice, without a run in between.
    try shown.reset()
    try shown.reset()
    #expect(try shown.run().summary.progressNotShown.isEmpty)
  }
}
