import Offsets
import Testing

@testable import Engine

@Suite("What a run does next")
struct NextStepTests {
  private static let partition = PartitionID(source: "main", topic: "t", partition: 0)
  private static let planned = BatchPlan(
    batch: 5, ranges: [PartitionRange(partition, OffsetRange(from: 10, to: 20))])
  private static let left = BatchPlan(
    batch: 5, ranges: [PartitionRange(partition, OffsetRange(from: 10, to: 13))])
  private static let empty = BatchPlan(batch: 5, ranges: [])

  private static func facts(_ change: (inout RunFacts) -> Void = { _ in }) -> RunFacts {
    var facts = RunFacts(
      batchesDone: 2, maxBatches: nil, repeatable: nil, planned: planned, pendingBytes: 0,
      maxPendingBytes: 100, isStoreUp: true,
      isStopRequested: false)
    change(&facts)
    return facts
  }

  @Test("reads what is planned")
  func reads() { #expect(nextStep(Self.facts()) == .read(Self.planned)) }

  @Test("repeats a dead run's batch before anything new")
  func repeats() { #expect(nextStep(Self.facts { $0.repeatable = Self.left }) == .read(Self.left)) }

  @Test("finishes at the ends, at the number of batches asked for, and when it is told to stop")
  func finishes() {
    #expect(nextStep(Self.facts { $0.planned = Self.empty }) == .finish)
    #expect(nextStep(Self.facts { $0.maxBatches = 2 }) == .finish)
    #expect(nextStep(Self.facts { $0.isStopRequested = true }) == .finish)
    #expect(nextStep(Self.facts { $0.isDestinationRefused = true }) == .finish)
    #expect(nextStep(Self.facts { $0.maxBatches = 3 }) == .read(Self.planned))
  }

  @Test("goes on while the store is down until results that wait fill their room")
  func storeDown() {
    #expect(
      nextStep(
        Self.facts {
          $0.isStoreUp = false; $0.pendingBytes = 99
        }) == .read(Self.planned))
    #expect(
      nextStep(
        Self.facts {
          $0.isStoreUp = false; $0.pendingBytes = 100
        }) == .stopForPendingResults)
    #expect(nextStep(Self.facts { $0.pendingBytes = 1_000 }) == .read(Self.planned))
  }

  @Test(
    """
    repeats a dead run's plan only where it fits what is unread, the next batch's number and \
    what the job allows
    """
  )
  func repeatablePlans() {
    let unread = [PartitionRange(Self.partition, OffsetRange(from: 10, to: 15))]
    #expect(repeatable(Self.left, nextBatch: 5, unread: unread, maxOffsets: 3) == Self.left)
    // A batch that was over a limit, and whose max_offsets was lowered for that.
    #expect(repeatable(Self.left, nextBatch: 5, unread: unread, maxOffsets: 2) == nil)
    #expect(repeatable(Self.left, nextBatch: 6, unread: unread, maxOffsets: 3) == nil)
    #expect(repeatable(Self.planned, nextBatch: 5, unread: unread, maxOffsets: 100) == nil)
    #expect(
      repeatable(
        Self.left, nextBatch: 5,
        unread: [PartitionRange(Self.partition, OffsetRange(from: 11, to: 15))], maxOffsets: 3)
        == nil)
    #expect(repeatable(Self.left, nextBatch: 5, unread: [], maxOffsets: 3) == nil)
  }
}
