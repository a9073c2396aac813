import Jobs
import Offsets
import Testing

@testable import Engine

@Suite("What a run does next")
struct NextStepTests {
  private static let first = PartitionID(source: "main", topic: "t", partition: 0)
  private static let second = PartitionID(source: "main", topic: "t", partition: 1)

  private static func range(_ partition: PartitionID, _ from: Offset, _ to: Offset)
    -> PartitionRange
  {
    PartitionRange(partition, OffsetRange(from: from, to: to))
  }

  private static func plan(_ batch: Int64, _ ranges: PartitionRange...) -> BatchPlan {
    BatchPlan(batch: batch, ranges: ranges)
  }

  /// Before batch 5: the first partition is at 10 of 20, the second at 7 of 7.
  private static func facts(_ change: (inout RunFacts) -> Void = { _ in }) -> RunFacts {
    var facts = RunFacts(maxOffsets: 8)
    facts.nextBatch = 5
    facts.ledgers = [
      first: OffsetLedger(start: 0, nextOffset: 10), second: OffsetLedger(start: 5, nextOffset: 7),
    ]
    facts.partitions = [
      DiscoveredPartition(partition: first, end: PartitionEnd(low: 0, end: 20)),
      DiscoveredPartition(partition: second, end: PartitionEnd(low: 0, end: 7)),
    ]
    facts.maxPendingBytes = 100
    change(&facts)
    return facts
  }

  private static let fresh = NextStep.read(plan(5, range(first, 10, 18)), isRepeated: false)
  private static let stored = plan(5, range(first, 10, 13))

  @Test("reads what is unread")
  func reads() {
    #expect(nextStep(Self.facts()) == Self.fresh)
    #expect(
      nextStep(Self.facts { $0.offsetLimit = 2 })
        == .read(Self.plan(5, Self.range(Self.first, 10, 12)), isRepeated: false))
  }

  @Test("tells of a plan which partitions it leaves behind, where the job asks for that")
  func behind() {
    func behind(_ change: (inout RunFacts) -> Void) -> [PartitionID]? {
      let facts = Self.facts {
        $0.tellsBehind = true
        change(&$0)
      }
      guard case .read(let plan, _) = nextStep(facts) else { return nil }
      return plan.behind
    }
    #expect(behind { _ in } == [Self.first])
    #expect(behind { $0.tellsBehind = false } == nil)
    #expect(behind { ($0.maxOffsets, $0.offsetLimit) = (10, 10) } == [])
    // What is left lies in a gap.
    #expect(
      behind { $0.ledgers[Self.first]?.record(OffsetRange(from: 18, to: 20)) } == [])
    #expect(
      behind {
        $0.onDataLoss = .skip
        $0.undecidedPartitions = [Self.second]
      } == [Self.first, Self.second])
    // Behind a batch that is not committed yet.
    var facts = Self.facts { $0.tellsBehind = true }
    #expect(planAfter(Self.plan(5, Self.range(Self.first, 10, 12)), facts)?.behind == [])
    facts.offsetLimit = 1
    #expect(
      planAfter(Self.plan(5, Self.range(Self.first, 10, 12)), facts)?.behind == [Self.first])
  }

  @Test(
    "plans anew where a stored plan does not tell what it leaves behind, and the job asks for it")
  func untold() {
    let stored = Self.plan(5, Self.range(Self.first, 10, 11))
    let facts = Self.facts { $0.inFlight = stored }
    #expect(nextStep(facts) == .read(stored, isRepeated: true))
    var asking = facts
    asking.tellsBehind = true
    #expect(nextStep(asking) != .read(stored, isRepeated: true))
    asking.inFlight?.behind = [Self.first]
    #expect(asking.inFlight.map { nextStep(asking) == .read($0, isRepeated: true) } == true)
  }

  @Test("repeats a dead run's batch before anything new, and goes on with what it planned itself")
  func repeats() {
    #expect(
      nextStep(Self.facts { $0.inFlight = Self.stored }) == .read(Self.stored, isRepeated: true))
    #expect(
      nextStep(
        Self.facts {
          $0.inFlight = Self.stored
          $0.batchesDone = 1
        }) == .read(Self.stored, isRepeated: false))
  }

  @Test(
    """
    takes a stored plan only where it fits what is unread, the next batch's number and what the \
    job allows
    """
  )
  func storedPlans() {
    func isTaken(_ plan: BatchPlan, _ change: (inout RunFacts) -> Void = { _ in }) -> Bool {
      var facts = Self.facts {
        $0.inFlight = plan
        $0.onDataLoss = .skip
      }
      change(&facts)
      // An own plan is held against the facts in the same way.
      facts.batchesDone = 1
      return nextStep(facts) == .read(plan, isRepeated: false)
    }
    #expect(isTaken(Self.stored))
    // A batch that was over a limit, and whose max_offsets was lowered for that.
    #expect(!isTaken(Self.stored) { $0.maxOffsets = 2 })
    #expect(!isTaken(Self.stored) { $0.nextBatch = 6 })
    #expect(!isTaken(Self.plan(5, Self.range(Self.first, 11, 13))))
    #expect(!isTaken(Self.plan(5, Self.range(Self.first, 9, 13))))
    #expect(!isTaken(Self.stored) { $0.partitions[0].end = PartitionEnd(low: 0, end: 12) })
    #expect(!isTaken(Self.stored) { $0.partitions[0].end = PartitionEnd(low: 11, end: 20) })
    #expect(!isTaken(Self.stored) { $0.partitions.removeFirst() })
    #expect(!isTaken(Self.stored) { $0.ledgers[Self.first]?.record(.init(from: 12, to: 14)) })
    #expect(
      !isTaken(Self.plan(5, Self.range(Self.first, 10, 12), Self.range(Self.second, 7, 8))))
  }

  @Test(
    "finishes at the ends, at the number of batches asked for, when its time is up or it is told to"
  )
  func finishes() {
    #expect(
      nextStep(Self.facts { $0.partitions[0].end = PartitionEnd(low: 0, end: 10) }) == .finish)
    for stored in [nil, Self.stored] {
      func isFinished(_ change: (inout RunFacts) -> Void) -> Bool {
        var facts = Self.facts {
          $0.inFlight = stored
          $0.batchesDone = 2
        }
        change(&facts)
        return nextStep(facts) == .finish
      }
      #expect(isFinished { $0.maxBatches = 2 })
      #expect(isFinished { $0.isStopRequested = true })
      #expect(isFinished { $0.isTimeUp = true })
      #expect(
        !isFinished {
          $0.isTimeUp = true
          $0.batchesDone = 0
        }, "the first batch is taken whatever the clock says")
      #expect(isFinished { $0.isDestinationRefused = true })
      #expect(!isFinished { $0.maxBatches = 3 })
    }
  }

  /// Ten offsets are unread, and a batch of fewer than `minOffsets` waits for 60 s from 1,000 on.
  private static func waiting(
    _ minOffsets: Int64, now: Int64, _ change: (inout RunFacts) -> Void = { _ in }
  ) -> RunFacts {
    facts {
      $0.maxOffsets = 100
      $0.offsetLimit = 100
      $0.minOffsets = minOffsets
      $0.maxDelayMilliseconds = 60_000
      $0.waitingSince = 1_000
      $0.now = now
      change(&$0)
    }
  }

  @Test("holds back what is not worth a batch until it is, or until it has waited for long enough")
  func holdsBack() {
    let all = NextStep.read(Self.plan(5, Self.range(Self.first, 10, 20)), isRepeated: false)
    #expect(nextStep(Self.waiting(11, now: 1_000)) == .holdBack(until: 61_000))
    #expect(nextStep(Self.waiting(11, now: 60_999)) == .holdBack(until: 61_000))
    #expect(nextStep(Self.waiting(11, now: 61_000)) == all)
    #expect(nextStep(Self.waiting(10, now: 1_000)) == all)
    #expect(nextStep(Self.waiting(1, now: 1_000)) == all)
    // A commit in the future, as after a clock that was wrong, holds nothing back.
    #expect(nextStep(Self.waiting(11, now: 999)) == all)
    // Nothing to read is nothing to wait for.
    #expect(
      nextStep(
        Self.waiting(11, now: 1_000) { $0.partitions[0].end = PartitionEnd(low: 0, end: 10) })
        == .finish)
    // A batch that had to be made smaller is full.
    #expect(
      nextStep(Self.waiting(11, now: 1_000) { $0.offsetLimit = 4 })
        == .read(Self.plan(5, Self.range(Self.first, 10, 14)), isRepeated: false))
  }

  @Test("holds a batch back behind its own commits as well, and a short one that was stored")
  func holdsBackBehindCommits() {
    let batch = Self.plan(5, Self.range(Self.first, 10, 16))
    #expect(planAfter(batch, Self.waiting(5, now: 500_000)) == nil)
    #expect(
      planAfter(batch, Self.waiting(4, now: 500_000))
        == Self.plan(6, Self.range(Self.first, 16, 20)))
    #expect(
      nextStep(Self.waiting(11, now: 1_000) { $0.inFlight = Self.stored })
        == .holdBack(until: 61_000))
    // Meanwhile enough has come: the short plan does not stand in its way.
    #expect(
      nextStep(Self.waiting(10, now: 1_000) { $0.inFlight = Self.stored })
        == .read(Self.plan(5, Self.range(Self.first, 10, 20)), isRepeated: false))
    #expect(
      nextStep(Self.waiting(11, now: 61_000) { $0.inFlight = Self.stored })
        == .read(Self.stored, isRepeated: true))
  }

  @Test("goes on while the store is down until results that wait fill their room")
  func storeDown() {
    func step(_ pendingBytes: Int64, isUp: Bool) -> NextStep {
      nextStep(
        Self.facts {
          $0.isStoreUp = isUp
          $0.pendingBytes = pendingBytes
        })
    }
    #expect(step(99, isUp: false) == Self.fresh)
    #expect(step(100, isUp: false) == .stopForPendingResults)
    #expect(step(1_000, isUp: true) == Self.fresh)
  }

  @Test("stops for a log that ends before progress or is gone, until a person has decided")
  func replacedLogs() {
    let shorter: (inout RunFacts) -> Void = {
      $0.partitions[0].end = PartitionEnd(low: 0, end: 9)
      $0.partitions[1].end = nil
      // Even with a plan, and when told to stop: what is noticed is to be stored.
      $0.inFlight = Self.plan(5, Self.range(Self.second, 7, 8))
      $0.isStopRequested = true
    }
    #expect(nextStep(Self.facts(shorter)) == .stopForReplacedLogs)
    #expect(
      Engine.replacedLogs(Self.facts(shorter)) == [
        ReplacedLog(partition: Self.first, end: 9), ReplacedLog(partition: Self.second, end: nil),
      ])
    // A person decided about the first, at this progress.
    for (kept, expected) in [(10, [Self.second]), (8, [Self.first, Self.second])]
      as [(Offset, [PartitionID])]
    {
      var facts = Self.facts(shorter)
      facts.keptOffsets[Self.first] = kept
      #expect(nextStep(facts) == .stopForReplacedLogs)
      #expect(Engine.replacedLogs(facts).map(\.partition) == expected)
    }
    // The log may have grown past progress since.
    #expect(nextStep(Self.facts { $0.undecidedPartitions = [Self.second] }) == .stopForReplacedLogs)
  }

  @Test("goes on with the other partitions meanwhile, where the job passes over lost data")
  func undecidedPartitions() {
    func step(_ undecided: Set<PartitionID>, _ change: (inout RunFacts) -> Void) -> NextStep {
      nextStep(
        Self.facts {
          $0.onDataLoss = .skip
          $0.undecidedPartitions = undecided
          $0.partitions[1].end = PartitionEnd(low: 0, end: 9)
          change(&$0)
        })
    }
    let second = NextStep.read(Self.plan(5, Self.range(Self.second, 7, 9)), isRepeated: false)
    #expect(step([Self.first]) { _ in } == second)
    // Its plan is void, and what retention removes of it is not called lost.
    #expect(step([Self.first]) { $0.inFlight = Self.stored } == second)
    #expect(
      step([Self.first]) { $0.partitions[0].end = PartitionEnd(low: 15, end: 20) } == second)
    // What is noticed just now.
    #expect(step([]) { $0.partitions[0].end = PartitionEnd(low: 0, end: 9) } == second)
    #expect(step([Self.first, Self.second]) { _ in } == .finish)
  }

  @Test("stops where the brokers lost what is unread, or passes over it, but for what gaps hold")
  func losses() {
    let lossy: (inout RunFacts) -> Void = {
      $0.partitions[0].end = PartitionEnd(low: 16, end: 20)
      $0.ledgers[Self.first]?.record(OffsetRange(from: 12, to: 14))
    }
    #expect(nextStep(Self.facts(lossy)) == .stopForLoss([Self.range(Self.first, 10, 16)]))
    var facts = Self.facts(lossy)
    facts.onDataLoss = .skip
    let lost = [Self.range(Self.first, 10, 12), Self.range(Self.first, 14, 16)]
    #expect(nextStep(facts) == .passOver(lost))
    for range in lost { facts.ledgers[range.partition]?.record(range.range) }
    #expect(
      nextStep(facts) == .read(Self.plan(5, Self.range(Self.first, 16, 20)), isRepeated: false))
    // Nothing unread is gone.
    #expect(
      nextStep(Self.facts { $0.partitions[0].end = PartitionEnd(low: 10, end: 20) }) == Self.fresh)
  }

  // Until this release `plan` worked out what is unread by itself: it stopped at the gap.
  @Test("reads behind a gap that the oldest offset held lies in")
  func lossIntoAGap() {
    var facts = RunFacts(maxOffsets: 1_000)
    facts.onDataLoss = .skip
    facts.ledgers = [Self.first: OffsetLedger(start: 0, nextOffset: 50)]
    facts.ledgers[Self.first]?.record(OffsetRange(from: 100, to: 200))
    facts.partitions = [
      DiscoveredPartition(partition: Self.first, end: PartitionEnd(low: 150, end: 250))
    ]
    let lost = Self.range(Self.first, 50, 100)
    #expect(nextStep(facts) == .passOver([lost]))
    facts.ledgers[Self.first]?.record(lost.range)
    #expect(
      nextStep(facts) == .read(Self.plan(1, Self.range(Self.first, 200, 250)), isRepeated: false))
  }

  @Test("plans behind the batch that it reads, past the gap that it lands at")
  func plansAhead() {
    let facts = Self.facts {
      $0.ledgers[Self.first]?.record(OffsetRange(from: 13, to: 15))
      $0.offsetLimit = 2
    }
    #expect(planAfter(Self.stored, facts) == Self.plan(6, Self.range(Self.first, 15, 19)))
    var last = facts
    last.maxBatches = 1
    #expect(planAfter(Self.stored, last) == nil)
    var late = facts
    late.isTimeUp = true
    #expect(planAfter(Self.stored, late) == nil)
    #expect(planAfter(Self.plan(5, Self.range(Self.first, 15, 20)), facts) == nil)
  }

  // MARK: - Backfill

  /// The first partition's start is 5 and it has read nothing; both are at their ends.
  private static func backfilling(_ change: (inout RunFacts) -> Void = { _ in }) -> RunFacts {
    facts {
      $0.ledgers[first] = OffsetLedger(start: 20)
      $0.backfills = [
        BackfillRequest(
          number: 3, goesFirst: false,
          ranges: [range(first, 2, 5), range(first, 8, 12), range(second, 1, 4)])
      ]
      change(&$0)
    }
  }

  private static func batch(_ number: Int64, of backfill: Int64, _ ranges: PartitionRange...)
    -> BatchPlan
  {
    BatchPlan(batch: number, ranges: ranges, backfill: backfill)
  }

  @Test("backfills where nothing new is left, a piece of each partition in a batch")
  func backfills() {
    #expect(
      nextStep(Self.backfilling())
        == .read(
          Self.batch(5, of: 3, Self.range(Self.first, 2, 5), Self.range(Self.second, 1, 4)),
          isRepeated: false))
    #expect(
      nextStep(Self.backfilling { $0.offsetLimit = 2 })
        == .read(
          Self.batch(5, of: 3, Self.range(Self.first, 2, 3), Self.range(Self.second, 1, 2)),
          isRepeated: false))
  }

  @Test("takes new messages first, but for a request that is to go before them")
  func order() {
    let new: (inout RunFacts) -> Void = { $0.partitions[1].end = PartitionEnd(low: 0, end: 9) }
    let live = Self.plan(5, Self.range(Self.second, 7, 9))
    #expect(nextStep(Self.backfilling(new)) == .read(live, isRepeated: false))
    var facts = Self.backfilling(new)
    facts.backfills.insert(
      BackfillRequest(number: 4, goesFirst: true, ranges: [Self.range(Self.first, 0, 1)]), at: 0)
    #expect(
      nextStep(facts)
        == .read(Self.batch(5, of: 4, Self.range(Self.first, 0, 1)), isRepeated: false))
    // A batch that is planned goes before both.
    facts.inFlight = live
    #expect(nextStep(facts) == .read(live, isRepeated: true))
  }

  @Test("plans behind a batch of a backfill what is left of it, and behind its last one the next")
  func plansAheadOfBackfills() {
    let whole = Self.batch(5, of: 3, Self.range(Self.first, 2, 5), Self.range(Self.second, 1, 4))
    #expect(
      planAfter(whole, Self.backfilling())
        == Self.batch(6, of: 3, Self.range(Self.first, 8, 12)))
    let part = Self.batch(5, of: 3, Self.range(Self.first, 2, 4))
    #expect(
      planAfter(part, Self.backfilling())
        == Self.batch(6, of: 3, Self.range(Self.first, 4, 5), Self.range(Self.second, 1, 4)))
    var facts = Self.backfilling {
      $0.backfills = [
        BackfillRequest(number: 3, goesFirst: false, ranges: [Self.range(Self.first, 2, 5)]),
        BackfillRequest(number: 4, goesFirst: false, ranges: [Self.range(Self.first, 0, 1)]),
      ]
    }
    let last = Self.batch(5, of: 3, Self.range(Self.first, 2, 5))
    #expect(planAfter(last, facts) == Self.batch(6, of: 4, Self.range(Self.first, 0, 1)))
    facts.backfills.removeLast()
    #expect(planAfter(last, facts) == nil)
    // New messages are read from progress, wherever a backfill reads.
    facts.partitions[0].end = PartitionEnd(low: 0, end: 22)
    #expect(planAfter(last, facts) == Self.plan(6, Self.range(Self.first, 20, 22)))
    // And a backfill goes on where it stood, behind new messages.
    #expect(
      planAfter(Self.plan(5, Self.range(Self.first, 20, 22)), facts)
        == Self.batch(6, of: 3, Self.range(Self.first, 2, 5)))
  }

  // A backfill's batch in which every run died held new messages for ever.
  @Test("plans a backfill's batch anew where its run died or the ends are new: behind new messages")
  func deadBackfills() {
    let stored = Self.batch(5, of: 3, Self.range(Self.first, 8, 10))
    let anew = Self.batch(5, of: 3, Self.range(Self.first, 2, 5), Self.range(Self.second, 1, 4))
    let live = Self.plan(5, Self.range(Self.second, 7, 9))
    func step(_ change: (inout RunFacts) -> Void) -> NextStep {
      nextStep(
        Self.backfilling {
          $0.inFlight = stored
          change(&$0)
        })
    }
    #expect(step { _ in } == .read(anew, isRepeated: false))
    #expect(
      step { $0.partitions[1].end = PartitionEnd(low: 0, end: 9) }
        == .read(live, isRepeated: false))
    #expect(step { $0.batchesDone = 1 } == .read(stored, isRepeated: false))
    #expect(
      step {
        $0.batchesDone = 1
        $0.haveEndsChanged = true
        $0.partitions[1].end = PartitionEnd(low: 0, end: 9)
      } == .read(live, isRepeated: false))
  }

  @Test("goes on with the backfill's batch that it planned only where its request begins there")
  func storedBackfillPlans() {
    func isTaken(_ plan: BatchPlan, _ change: (inout RunFacts) -> Void = { _ in }) -> Bool {
      var facts = Self.backfilling {
        $0.inFlight = plan
        $0.batchesDone = 1
      }
      change(&facts)
      return nextStep(facts) == .read(plan, isRepeated: false)
    }
    let stored = Self.batch(5, of: 3, Self.range(Self.first, 8, 10))
    #expect(isTaken(stored))
    // Its request was cancelled, another one has its offsets, or some of them are counted.
    #expect(!isTaken(stored) { $0.backfills = [] })
    #expect(!isTaken(Self.batch(5, of: 4, Self.range(Self.first, 8, 10))))
    #expect(!isTaken(Self.batch(5, of: 3, Self.range(Self.first, 9, 12))))
    #expect(!isTaken(Self.batch(5, of: 3, Self.range(Self.first, 8, 13))))
    #expect(!isTaken(Self.batch(5, of: 3, Self.range(Self.first, 5, 8))))
    #expect(!isTaken(stored) { $0.partitions[0].end = PartitionEnd(low: 9, end: 20) })
    #expect(!isTaken(stored) { $0.maxOffsets = 1 })
    // The same ranges, of no backfill.
    #expect(!isTaken(Self.plan(5, Self.range(Self.first, 8, 10))))
  }

  @Test("leaves out of a backfill what the broker does not hold, and reads the rest")
  func unheld() {
    var facts = Self.backfilling {
      $0.partitions[0].end = PartitionEnd(low: 9, end: 20)
    }
    let unheld = [Self.range(Self.first, 2, 5), Self.range(Self.first, 8, 9)]
    #expect(nextStep(facts) == .leaveOut(unheld, backfill: 3))
    facts.backfills[0].remove(unheld)
    #expect(
      nextStep(facts)
        == .read(
          Self.batch(5, of: 3, Self.range(Self.first, 9, 12), Self.range(Self.second, 1, 4)),
          isRepeated: false))
    facts.partitions[0].end = PartitionEnd(low: 10, end: 20)
    #expect(nextStep(facts) == .leaveOut([Self.range(Self.first, 9, 10)], backfill: 3))
    // A partition that is gone, or a shorter log, and a person who said to go on at progress.
    let gone = Self.backfilling {
      $0.partitions[0].end = PartitionEnd(low: 0, end: 10)
      $0.partitions[1].end = nil
      $0.keptOffsets = [Self.first: 20, Self.second: 7]
    }
    #expect(
      nextStep(gone)
        == .leaveOut(
          [Self.range(Self.first, 10, 12), Self.range(Self.second, 1, 4)], backfill: 3))
  }

  @Test("asks for the ends anew when it is time, while a backfill is pending, and then looks again")
  func asksEnds() {
    #expect(nextStep(Self.backfilling { $0.areEndsOld = true }) == .askEnds)
    #expect(nextStep(Self.facts { $0.areEndsOld = true }) == Self.fresh)
    #expect(
      nextStep(
        Self.backfilling {
          $0.areEndsOld = true
          $0.isStopRequested = true
        }) == .finish)
    // What this run has planned itself is held against the new ends.
    let lossy = Self.backfilling {
      $0.inFlight = Self.batch(5, of: 3, Self.range(Self.first, 8, 10))
      $0.batchesDone = 1
      $0.partitions[1].end = PartitionEnd(low: 8, end: 9)
    }
    guard case .read = nextStep(lossy) else {
      Issue.record("\(nextStep(lossy))")
      return
    }
    var asked = lossy
    asked.haveEndsChanged = true
    #expect(nextStep(asked) == .stopForLoss([Self.range(Self.second, 7, 8)]))
  }
}
