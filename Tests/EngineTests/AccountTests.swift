import Offsets
import Testing

@testable import Simulation

/// The oracle of the simulation is held against cases of its own: what it misses stays unseen.
@Suite("The account that checkpoints are held against")
struct AccountTests {
  private static let first = PartitionID(source: "one", topic: "a", partition: 0)
  private static let second = PartitionID(source: "one", topic: "a", partition: 1)

  /// Of a partition that holds [2, 9), with a first message after the start time at 5.
  private static func met(_ start: Account.Start) -> Account {
    var account = Account(start: start)
    account.answered(first, .init(low: 2, end: 9, atStartTime: 5))
    account.becameDurable()
    return account
  }

  private static func range(_ from: Offset, _ to: Offset) -> PartitionRange {
    PartitionRange(first, OffsetRange(from: from, to: to))
  }

  private static func claim(
    start: Offset, next: Offset, batches: [[PartitionRange]], gaps: [Claim.Gap] = []
  ) -> Claim {
    Claim(
      partitions: [first: .init(start: start, next: next)], gaps: gaps,
      batches: batches.enumerated().map { index, ranges in
        let count = ranges.reduce(0) { $0 + $1.count }
        return Claim.Batch(
          number: Int64(index + 1), ranges: ranges, offsetCount: count, recordCount: 0,
          countedCount: 0,
          rejectedCount: 0, tombstoneCount: 0)
      })
  }

  @Test(
    "a new topic starts by the job's rule, and nowhere else",
    arguments: zip([Account.Start.earliest, .latest, .timestamp], [2, 9, 5] as [Offset]))
  func starts(rule: Account.Start, expected: Offset) {
    let account = Self.met(rule)
    for start in 0...10 as ClosedRange<Offset> {
      let problem = account.difference(
        from: Self.claim(start: start, next: start, batches: []), maxOffsets: 9)
      #expect(
        (problem == nil) == (start == expected), "start \(start): \(problem ?? "no difference")")
    }
  }

  @Test("a partition added to a known topic starts at its oldest offset")
  func addedPartition() {
    var account = Self.met(.latest)
    account.beginRun()
    account.answered(Self.first, .init(low: 2, end: 20, atStartTime: 5))
    account.answered(Self.second, .init(low: 3, end: 7, atStartTime: 7))
    account.becameDurable()
    #expect(account.starts == [Self.first: 9, Self.second: 3])
  }

  @Test("what a dead run was told and had not stored is looked up again; what it had stored holds")
  func crashes() {
    var account = Account(start: .latest)
    account.answered(Self.first, .init(low: 0, end: 4, atStartTime: 4))
    account.beginRun()
    account.answered(Self.first, .init(low: 0, end: 6, atStartTime: 6))
    account.becameDurable()
    account.beginRun()
    account.answered(Self.first, .init(low: 0, end: 8, atStartTime: 8))
    account.becameDurable()
    #expect(account.starts == [Self.first: 6])
  }

  @Test("what a request calls not held lies beyond an end that was told after it was stored")
  func unheld() {
    var account = Self.met(.latest)
    // The log has grown before the request, and is cut off, or not, behind it.
    account.beginRun()
    account.answered(Self.first, .init(low: 2, end: 20, atStartTime: 5))
    account.skip(Self.range(9, 20))
    account.ask(1, [Self.first: Set(9..<20)])
    func problem(_ account: Account, unheldFrom from: Offset) -> String? {
      var claim = Self.claim(
        start: 9, next: 20, batches: [],
        gaps: [.init(range: Self.range(9, 20), reason: "skipped")])
      claim.backfills = [
        .init(
          number: 1, goesFirst: false, state: "open", offsetCount: 11, countedCount: 0,
          left: [Self.range(9, from)], unheld: [Self.range(from, 20)])
      ]
      return account.difference(from: claim, maxOffsets: 9)
    }
    #expect(problem(account, unheldFrom: 15)?.contains("is called not held") ?? false)
    account.answered(Self.first, .init(low: 2, end: 15, atStartTime: 5))
    #expect(problem(account, unheldFrom: 15) == nil)
    #expect(problem(account, unheldFrom: 14)?.contains("is called not held") ?? false)
  }

  @Test("every offset lies in one batch or in one gap that has a reason")
  func coverage() {
    var account = Self.met(.earliest)
    account.skip(Self.range(6, 7))
    account.removed(Self.first, below: 4)
    let skipped = Claim.Gap(range: Self.range(6, 7), reason: "skipped")
    let lost = Claim.Gap(range: Self.range(2, 4), reason: "lost")
    func problem(_ claim: Claim) -> String? { account.difference(from: claim, maxOffsets: 3) }
    let right = Self.claim(
      start: 2, next: 9, batches: [[Self.range(4, 6)], [Self.range(7, 9)]], gaps: [lost, skipped])
    #expect(problem(right) == nil)
    // A gap ahead of progress is none of progress's business yet.
    #expect(
      problem(Self.claim(start: 2, next: 5, batches: [[Self.range(4, 5)]], gaps: [lost, skipped]))
        == nil)

    func read(_ next: Offset, _ ranges: (Offset, Offset)..., gaps: [Claim.Gap]) -> Claim {
      let batches = ranges.map { [Self.range($0.0, $0.1)] }
      return Self.claim(start: 2, next: next, batches: batches, gaps: gaps)
    }
    let wrong = [
      // Without the loss, without what was passed over, with more of each.
      read(9, (4, 6), (7, 9), gaps: [skipped]),
      read(9, (4, 6), (7, 9), gaps: [lost]),
      read(9, (5, 6), (7, 9), gaps: [.init(range: Self.range(2, 5), reason: "lost"), skipped]),
      read(9, (4, 6), gaps: [lost, .init(range: Self.range(6, 9), reason: "skipped")]),
      // One too short, one too far, one twice, backwards, progress too low, too high.
      read(9, (4, 5), (7, 9), gaps: [lost, skipped]),
      read(9, (4, 7), (7, 9), gaps: [lost, skipped]),
      read(9, (4, 6), (4, 6), (7, 9), gaps: [lost, skipped]),
      read(9, (7, 9), (4, 6), gaps: [lost, skipped]),
      read(8, (4, 6), (7, 9), gaps: [lost, skipped]),
      read(9, (4, 6), (7, 8), gaps: [lost, skipped]),
      // A partition twice in a batch, and a batch that is too large.
      Self.claim(
        start: 2, next: 9, batches: [[Self.range(4, 6), Self.range(7, 8)], [Self.range(8, 9)]],
        gaps: [lost, skipped]),
      Self.claim(start: 2, next: 6, batches: [[Self.range(2, 6)]]),
    ]
    for (index, claim) in wrong.enumerated() { #expect(problem(claim) != nil, "case \(index)") }
  }

  // MARK: - Backfills

  /// Of [2, 9), of which runs have read [6, 9) after a start at 6; a request is for what lies
  /// below.
  private static func backfilled(
    _ batches: [(range: PartitionRange, backfill: Int64?)], left: [PartitionRange] = [],
    unheld: [PartitionRange] = [], state: String
  ) -> Claim {
    let live = (range: range(6, 9), backfill: Int64?.none)
    var claim = claim(start: 6, next: 9, batches: ([live] + batches).map { [$0.range] })
    for (index, batch) in batches.enumerated() {
      claim.batches[index + 1].backfill = batch.backfill
    }
    let counted = batches.map(\.range)
    claim.backfilled = counted.sorted { $0.from < $1.from }
    claim.backfills = [
      .init(
        number: 1, goesFirst: false, state: state, offsetCount: 3,
        countedCount: counted.reduce(0) { $0 + $1.count }, left: left, unheld: unheld)
    ]
    return claim
  }

  /// A job that started at 6, and was asked for [3, 6).
  private static func asked() -> Account {
    var account = Account(start: .timestamp)
    account.answered(first, .init(low: 2, end: 9, atStartTime: 6))
    account.becameDurable()
    let before = claim(start: 6, next: 9, batches: [[range(6, 9)]])
    account.ask(1, account.taken([range(3, 20)], of: before) { _ in 2..<9 })
    return account
  }

  @Test("every offset of a request is counted once, left, or not held for a reason")
  func requests() {
    func problem(_ claim: Claim, _ change: (inout Account) -> Void = { _ in }) -> String? {
      var account = Self.asked()
      change(&account)
      return account.difference(from: claim, maxOffsets: 3)
    }
    let whole = (range: Self.range(3, 6), backfill: Int64?(1))
    let part = (range: Self.range(3, 5), backfill: Int64?(1))
    let rest = [Self.range(5, 6)]
    #expect(problem(Self.backfilled([whole], state: "done")) == nil)
    #expect(problem(Self.backfilled([part], left: rest, state: "open")) == nil)
    #expect(
      problem(Self.backfilled([part], state: "cancelled")) { $0.cancel(1, left: rest) } == nil)
    let removed = Self.backfilled(
      [(range: Self.range(4, 6), backfill: 1)], unheld: [Self.range(3, 4)], state: "done")
    #expect(problem(removed) { $0.removed(Self.first, below: 4) } == nil)

    #expect(problem(removed) != nil, "nothing was removed")
    #expect(problem(Self.backfilled([part], state: "done")) != nil, "an offset is lost")
    #expect(problem(Self.backfilled([part], left: rest, state: "done")) != nil, "not done")
    #expect(problem(Self.backfilled([whole], left: rest, state: "open")) != nil, "counted and left")
    #expect(problem(Self.backfilled([whole, part], state: "done")) != nil, "counted twice")
    let more = (range: Self.range(2, 5), backfill: Int64?(1))
    #expect(problem(Self.backfilled([more], left: rest, state: "open")) != nil, "not asked for")
    #expect(problem(Self.claim(start: 6, next: 9, batches: [[Self.range(6, 9)]])) != nil, "lost")
    #expect(
      problem(Self.backfilled([whole], state: "done")) { $0.cancel(1, left: rest) } != nil,
      "cancelled, and counted all the same")
  }

  @Test("history waits for new messages that the run knows of, unless it is to go first")
  func order() {
    var account = Self.asked()
    account.beginRun()
    account.answered(Self.first, .init(low: 2, end: 10, atStartTime: 6))
    account.committed(2)
    var claim = Self.backfilled([(range: Self.range(3, 6), backfill: 1)], state: "done")
    #expect(account.difference(from: claim, maxOffsets: 3) != nil)
    claim.backfills[0].goesFirst = true
    #expect(account.difference(from: claim, maxOffsets: 3) == nil)
    claim.backfills[0].goesFirst = false
    claim.undecided = [Self.first]
    #expect(account.difference(from: claim, maxOffsets: 3) == nil)
  }

  @Test("a partition that is counted anew has an account of its own")
  func incarnations() {
    var account = Self.met(.earliest)
    var claim = Self.claim(start: 2, next: 5, batches: [[Self.range(2, 5)]])
    #expect(account.difference(from: claim, maxOffsets: 9) == nil)
    account.restart(Self.first, from: 1, era: 1, claim)
    // The same offsets again are others.
    claim.partitions[account.current(Self.first)] = .init(start: 1, next: 4)
    claim.batches.append(
      Claim.Batch(
        number: 2, ranges: [Self.range(1, 4)], offsetCount: 3, recordCount: 0, countedCount: 0,
        rejectedCount: 0, tombstoneCount: 0))
    #expect(account.difference(from: claim, maxOffsets: 9) == nil)
    claim.batches[1].ranges = [Self.range(5, 8)]
    #expect(account.difference(from: claim, maxOffsets: 9) != nil)
  }

  @Test("what was passed over of a replaced log is a gap")
  func passedOver() {
    var account = Self.met(.earliest)
    let before = Self.claim(start: 2, next: 5, batches: [[Self.range(2, 5)]])
    account.passOver(Self.range(5, 9), era: 1, before)
    let gap = Claim.Gap(range: Self.range(5, 9), reason: "lost")
    let after = Self.claim(start: 2, next: 9, batches: [[Self.range(2, 5)]], gaps: [gap])
    #expect(account.difference(from: after, maxOffsets: 9) == nil)
    #expect(account.difference(from: before, maxOffsets: 9) != nil)
  }
}
