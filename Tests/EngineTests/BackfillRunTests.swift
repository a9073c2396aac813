import Checkpoints
import Foundation
import Jobs
import Offsets
import TestSupport
import Testing
import Trials

@testable import Engine

/// A job that started at the end of a partition of ten messages, and is asked for all of them.
private struct Backfilling {
  private let folder: TemporaryFolder
  private let job: Job
  let cluster = MemoryCluster(identifier: "memory")
  static let partition = PartitionID(source: "main", topic: "t", partition: 0)

  init(goesFirst: Bool = false, rest: String = "window: global", value: String = "1\n") throws {
    folder = try TemporaryFolder()
    job = try JobFile.parse(
      text: """
        name: backfilling
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          start: latest
          format: csv
          fields: { v: int64 }
        trigger: { max_offsets: 2 }
        \(rest)
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        rejects: { max_share: 10%, min_records: 2 }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
    cluster.create("t", partitionCount: 1)
    append(10, value)
    #expect(try run().errors.isEmpty)
    let checkpoint = try open()
    _ = try checkpoint.addBackfill(
      [PartitionRange(Self.partition, OffsetRange(from: 0, to: 10))], goesFirst: goesFirst, now: 0)
  }

  func append(_ count: Int, _ value: String = "1\n") {
    for _ in 0..<count { cluster.topics["t"]?[0].append(Array(value.utf8)) }
  }

  func open() throws -> Checkpoint {
    try Checkpoint(job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
  }

  func preview() throws -> PlanPreview {
    let reader = try CheckpointReader(
      path: Checkpoint.path(ofJob: job.name, folder: folder.path), job: job)
    return try PlanPreview(
      job: job, status: try reader.status(), sources: [MemorySource("main", cluster)])
  }

  /// - Parameter onCommit: Gets the clock's seconds, and may move it.
  func run(onCommit: (RunProgress, inout Int64) -> Void = { _, _ in }) throws -> (
    summary: RunSummary, errors: [RunError]
  ) {
    try runInMemory(job, try open(), [MemorySource("main", cluster)], onCommit: onCommit)
  }
}

@Suite("A run with a backfill to do")
struct BackfillRunTests {
  /// What is left of the backfill and of new messages after each batch, where four messages come
  /// and eleven seconds pass during the second one.
  private func course(goesFirst: Bool, seconds: Int64 = 11) throws -> [[Int64]] {
    let backfilling = try Backfilling(goesFirst: goesFirst)
    var course: [[Int64]] = []
    let (summary, errors) = try backfilling.run { progress, now in
      course.append([progress.backfillLeft, progress.lag])
      if progress.batchCount == 2 {
        backfilling.append(4)
        now += seconds
      }
    }
    #expect(errors.isEmpty && summary.backfilledCount == 10 && summary.backfillLeft == 0)
    return course
  }

  @Test("asks for the ends anew every ten seconds, and reads new messages before it goes on")
  func newMessages() throws {
    #expect(
      try course(goesFirst: false) == [
        [8, 0], [6, 0], [6, 2], [6, 0], [4, 0], [2, 0], [0, 0],
      ])
  }

  @Test("reads new messages after a backfill that goes first")
  func goesFirst() throws {
    #expect(
      try course(goesFirst: true) == [
        [8, 0], [6, 0], [4, 4], [2, 4], [0, 4], [0, 2], [0, 0],
      ])
  }

  @Test("does not ask before ten seconds have passed, so that small batches cost no questions")
  func noQuestions() throws {
    #expect(
      try course(goesFirst: false, seconds: 9) == [[8, 0], [6, 0], [4, 0], [2, 0], [0, 0]])
  }

  @Test("is shown by plan before it reads: the batch of the backfill, and what is left of it")
  func preview() throws {
    let backfilling = try Backfilling()
    backfilling.cluster.topics["t"]?[0].removeRecords(before: 3)
    func preview() throws -> PlanPreview { try backfilling.preview() }
    let read = PartitionRange(Backfilling.partition, OffsetRange(from: 3, to: 5))
    #expect(try preview().plan == BatchPlan(batch: 1, ranges: [read], backfill: 1))
    #expect(try preview().backfillLeft == 7 && preview().lag == 0)
    backfilling.append(1)
    #expect(try preview().plan.backfill == nil && preview().lag == 1)
    #expect(try backfilling.run().summary.unheld.count == 1)
    #expect(try preview().plan.isEmpty && preview().backfillLeft == 0)
  }

  @Test("leaves out what the broker removes while it backfills, whatever the job says of losses")
  func removed() throws {
    let backfilling = try Backfilling()
    let (summary, errors) = try backfilling.run { progress, _ in
      if progress.batchCount == 1 { backfilling.cluster.topics["t"]?[0].removeRecords(before: 7) }
    }
    #expect(errors.isEmpty, "\(errors)")
    let left = OffsetRange(from: 2, to: 7)
    #expect(summary.unheld == [PartitionRange(Backfilling.partition, left)])
    #expect(summary.backfilledCount == 5 && summary.backfillLeft == 0)
    let ledger = try #require(try backfilling.open().ledgers[Backfilling.partition])
    #expect("\(ledger.backfilled)" == "[0, 2) [7, 10)" && ledger.underWay.isEmpty)
  }

  @Test("counts new messages although rejects stop the backfill, until a person decides")
  func rejects() throws {
    let backfilling = try Backfilling(value: "oops\n")
    backfilling.append(2)
    for _ in 0..<2 {
      let (summary, errors) = try backfilling.run()
      guard case .batch(let fault) = errors.first, case .rejects = fault.problem else {
        Issue.record("\(errors)")
        return
      }
      #expect(fault.backfill == 1 && summary.backfillLeft == 10 && summary.lag == 0)
      backfilling.append(2)
    }
    #expect(try backfilling.open().acceptRejects(now: 0).count == 1)
    let (summary, _) = try backfilling.run()
    #expect(summary.backfilledCount == 2)
  }
}

@Suite("What a wish to backfill comes to")
struct BackfillProposalTests {
  private let partition = Backfilling.partition

  @Test("a time becomes offsets, on the partitions that are wanted")
  func times() throws {
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 2)
    for number in 0..<10 as Range<Int64> {
      for log in cluster.topics["t"] ?? [] { log.append([], timestampMilliseconds: number * 100) }
    }
    let other = PartitionID(source: "main", topic: "t", partition: 1)
    let ledgers = [
      partition: OffsetLedger(start: 5, nextOffset: 8),
      other: OffsetLedger(start: 5, nextOffset: 8),
    ]
    func proposal(_ from: Int64?, _ to: Int64?) throws -> BackfillProposal {
      try BackfillProposal(
        .times(from: from, to: to), of: ledgers, where: { $0 == partition },
        in: [MemorySource("main", cluster)])
    }
    let both = try proposal(150, 600)
    #expect(both.partitions.map(\.partition) == [partition])
    #expect(both.taken == [PartitionRange(partition, OffsetRange(from: 2, to: 5))])
    #expect("\(both.partitions[0].answer.counted)" == "[5, 6)")
    #expect("\(try proposal(nil, 300).taken)" == "[main/t[0] [0, 3)]")
    let late = try proposal(400, nil)
    #expect("\(late.taken)" == "[main/t[0] [4, 5)]")
    #expect("\(late.partitions[0].answer.counted)" == "[5, 8)")
    #expect(try proposal(5_000, nil).partitions.isEmpty)
  }

  @Test("a partition that is gone holds nothing, and the others are backfilled nevertheless")
  func gone() throws {
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 1)
    for _ in 0..<10 { cluster.topics["t"]?[0].append([]) }
    let gone = PartitionID(source: "main", topic: "t", partition: 1)
    let ledgers = [
      partition: OffsetLedger(start: 5, nextOffset: 8),
      gone: OffsetLedger(start: 2, nextOffset: 8),
    ]
    func proposal(_ wish: BackfillWish) throws -> BackfillProposal {
      try BackfillProposal(
        wish, of: ledgers, where: { _ in true }, in: [MemorySource("main", cluster)])
    }
    let early = try proposal(.beforeStart)
    #expect("\(early.taken)" == "[main/t[0] [0, 5)]")
    #expect(early.partitions.map(\.partition) == [partition, gone])
    #expect("\(early.partitions[1].answer.unheld)" == "[0, 2)")
    #expect("\(try proposal(.times(from: 0, to: nil)).taken)" == "[main/t[0] [0, 5)]")
    #expect("\(try proposal(.times(from: nil, to: 1)).taken)" == "[main/t[0] [0, 5)]")
  }

  @Test("a topic of which nothing is wanted is not asked for, though it is gone")
  func nothingWanted() throws {
    let other = PartitionID(source: "main", topic: "gone", partition: 0)
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 1)
    for _ in 0..<10 { cluster.topics["t"]?[0].append([]) }
    let proposal = try BackfillProposal(
      .beforeStart,
      of: [
        partition: OffsetLedger(start: 5, nextOffset: 8),
        other: OffsetLedger(start: 0, nextOffset: 8),
      ], where: { _ in true }, in: [MemorySource("main", cluster)])
    #expect("\(proposal.taken)" == "[main/t[0] [0, 5)]")
  }

  @Test("a partition that the job has not read is named")
  func unknown() throws {
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 1)
    #expect(throws: BackfillProposal.UnknownPartition(partition: partition)) {
      _ = try BackfillProposal(
        .ranges([PartitionRange(partition, OffsetRange(from: 0, to: 1))]), of: [:],
        where: { _ in true }, in: [MemorySource("main", cluster)])
    }
  }
}
