import Offsets
import TestSupport
import Testing

/// What became of one offset, for a ledger told offset by offset.
private enum Fate { case below, counted, passedOver, unread, backfilled }

/// Every offset of a small universe by itself, without any set algebra.
private struct Oracle {
  static let universe: Int64 = 7
  let start: Int64
  var next: Int64
  var gaps: Set<Int64> = []
  var backfilled: Set<Int64> = []
  var underWay: Set<Int64> = []

  func fate(_ offset: Int64) -> Fate {
    if backfilled.contains(offset) { return .backfilled }
    if gaps.contains(offset) { return .passedOver }
    if offset < start { return .below }
    return offset < next ? .counted : .unread
  }

  func unread(before end: Int64) -> Set<Int64> {
    Set((next..<max(next, end)).filter { fate($0) == .unread })
  }

  /// One offset after the other, for as long as it is passed over.
  func landing(_ offset: Int64) -> Int64 {
    var offset = offset
    while gaps.contains(offset) { offset += 1 }
    return offset
  }

  func readable(from: Int64, before end: Int64) -> Set<Int64> {
    var offsets: Set<Int64> = []
    var offset = from
    while offset < end, fate(offset) == .unread {
      offsets.insert(offset)
      offset += 1
    }
    return offsets
  }

  func isGapLegal(_ gap: OffsetRange) -> Bool {
    !gap.isEmpty && (gap.from..<gap.to).allSatisfy { $0 >= next && !gaps.contains($0) }
  }

  mutating func record(_ gap: OffsetRange) {
    gaps.formUnion(gap.from..<gap.to)
    next = landing(next)
  }

  mutating func read(to offset: Int64) { next = landing(offset) }
}

@Suite("A partition's ledger")
struct OffsetLedgerTests {
  /// All ledgers over 0..<7 with at most two steps of any kind: batches read, gaps recorded.
  private static let ledgers: [(ledger: OffsetLedger, oracle: Oracle)] = {
    var level = (0...2 as ClosedRange<Int64>).map {
      (ledger: OffsetLedger(start: $0), oracle: Oracle(start: $0, next: $0))
    }
    var all = level
    for _ in 0..<3 {
      level = level.flatMap { ledger, oracle in
        let gaps = ranges.filter(oracle.isGapLegal).map { gap in
          var (ledger, oracle) = (ledger, oracle)
          ledger.record(gap)
          oracle.record(gap)
          return (ledger: ledger, oracle: oracle)
        }
        let reads = oracle.readable(from: oracle.next, before: Oracle.universe).map { last in
          var (ledger, oracle) = (ledger, oracle)
          ledger.advance(to: last + 1)
          oracle.read(to: last + 1)
          return (ledger: ledger, oracle: oracle)
        }
        return gaps + reads
      }
      // The same ledger by another way is looked at once.
      var seen: Set<OffsetLedger> = []
      level = level.filter { seen.insert($0.ledger).inserted }
      all += level
    }
    return all
  }()

  private static let ranges = (0...Oracle.universe).flatMap { from in
    (from...Oracle.universe).map { OffsetRange(from: from, to: $0) }
  }

  private static func offsets(_ set: OffsetRangeSet) -> Set<Int64> {
    Set(set.ranges.flatMap { $0.from..<$0.to })
  }

  private static func offsets(_ range: OffsetRange) -> Set<Int64> { Set(range.from..<range.to) }

  @Test("knows what is unread, how much, and what a batch can take of it")
  func unread() {
    #expect(Self.ledgers.count > 500, "\(Self.ledgers.count)")
    for (ledger, oracle) in Self.ledgers {
      #expect(ledger.nextOffset == oracle.next, "\(ledger)")
      #expect(Self.offsets(ledger.gaps) == oracle.gaps, "\(ledger)")
      for end in 0...Oracle.universe + 1 {
        let left = oracle.unread(before: end)
        #expect(Self.offsets(ledger.unread(end: end)) == left, "\(ledger), \(end)")
        #expect(ledger.unreadCount(end: end) == Int64(left.count), "\(ledger), \(end)")
        let first = oracle.readable(from: oracle.next, before: end)
        #expect(ledger.readable(end: end).from == oracle.next, "\(ledger), \(end)")
        #expect(Self.offsets(ledger.readable(end: end)) == first, "\(ledger), \(end)")
        for read in first {
          let next = oracle.landing(read + 1)
          let ahead = ledger.readable(after: read + 1, end: end)
          #expect(ahead.from == next, "\(ledger), \(end) after \(read)")
          #expect(
            Self.offsets(ahead) == oracle.readable(from: next, before: end),
            "\(ledger), \(end) after \(read)")
        }
        // Ends below progress are those of a topic that was made anew.
        #expect(Self.offsets(ledger.lost(below: end)) == left, "\(ledger), \(end)")
      }
    }
  }

  @Test("lands behind the gaps that begin where a batch ends, however they were recorded")
  func landing() {
    for (ledger, oracle) in Self.ledgers {
      for offset in oracle.next...max(oracle.next, Oracle.universe) {
        #expect(ledger.landing(offset) == oracle.landing(offset), "\(ledger), \(offset)")
      }
    }
  }

  @Test("takes a new gap where it passes over unread offsets alone, and says why not elsewhere")
  func gaps() {
    for (ledger, oracle) in Self.ledgers {
      for gap in Self.ranges {
        let problem = ledger.problem(ofGap: gap)
        #expect((problem == nil) == oracle.isGapLegal(gap), "\(ledger), \(gap)")
        switch problem {
        case .empty: #expect(gap.isEmpty)
        case .committed(let next): #expect(gap.from < next && next == oracle.next)
        case .meets(let other):
          #expect(Self.offsets(other).isSubset(of: oracle.gaps))
          #expect(!Self.offsets(other).isDisjoint(with: Self.offsets(gap)))
        case .beyondEnd: Issue.record("\(ledger), \(gap): no end was given")
        case nil:
          for end in 0...Oracle.universe {
            let isInside = gap.to <= end
            #expect(
              ledger.problem(ofGap: gap, end: end) == (isInside ? nil : .beyondEnd(end)),
              "\(ledger), \(gap), \(end)")
          }
        }
      }
    }
  }

  @Test("comes back from its gaps in any order, and refuses ranges that cannot be gaps")
  func restored() {
    for (ledger, oracle) in Self.ledgers {
      var restored = OffsetLedger(start: ledger.start, nextOffset: ledger.nextOffset)
      for gap in ledger.gaps.ranges.reversed() {
        let isTaken = restored.restore(gap)
        #expect(isTaken, "\(ledger), \(gap)")
      }
      #expect(restored == ledger)
      for gap in Self.ranges {
        var copy = ledger
        let offsets = Self.offsets(gap)
        let isLegal =
          !gap.isEmpty && offsets.isDisjoint(with: oracle.gaps) && gap.from >= oracle.start
          && (offsets.allSatisfy { $0 < oracle.next } || offsets.allSatisfy { $0 > oracle.next })
        let isTaken = copy.restore(gap)
        #expect(isTaken == isLegal, "\(ledger), \(gap)")
      }
    }
  }

  @Test("leaves to a backfill what progress has left behind uncounted, each offset once")
  func backfill() {
    for (ledger, oracle) in Self.ledgers {
      let open = Set((0..<oracle.next).filter { oracle.fate($0) != .counted })
      #expect(Self.offsets(ledger.backfillable) == open, "\(ledger)")
      for first in Self.ranges where !first.isEmpty && Self.offsets(first).isSubset(of: open) {
        var ledger = ledger
        var oracle = oracle
        ledger.beginBackfill(first)
        oracle.underWay = Self.offsets(first)
        #expect(Self.offsets(ledger.backfillable) == open.subtracting(oracle.underWay))
        #expect(Self.offsets(ledger.underWay) == oracle.underWay)
        let counted = Set((0..<oracle.next).filter { oracle.fate($0) == .counted })
        #expect(Self.offsets(ledger.counted) == counted, "\(ledger)")
        // The first half is committed.
        let done = OffsetRange(from: first.from, to: first.from + (first.count + 1) / 2)
        ledger.finishBackfill(done)
        oracle.backfilled = Self.offsets(done)
        #expect(Self.offsets(ledger.counted) == counted.union(oracle.backfilled), "\(ledger)")
        #expect(
          Self.offsets(ledger.underWay) == oracle.underWay.subtracting(oracle.backfilled))
        #expect(ledger.nextOffset == oracle.next, "runs go on where they stood")
      }
    }
  }

  /// All ledgers after a backfill of some offset that is counted and a request for another one.
  private static let backfilled: [(ledger: OffsetLedger, oracle: Oracle)] = ledgers.flatMap {
    ledger, oracle in
    let open = (0..<oracle.next).filter { oracle.fate($0) != .counted }
    return open.flatMap { done in
      ([nil] + open).compactMap { asked -> (OffsetLedger, Oracle)? in
        if asked == done { return nil }
        var (ledger, oracle) = (ledger, oracle)
        ledger.beginBackfill(OffsetRange(from: done, to: done + 1))
        ledger.finishBackfill(OffsetRange(from: done, to: done + 1))
        oracle.backfilled = [done]
        if let asked {
          ledger.beginBackfill(OffsetRange(from: asked, to: asked + 1))
          oracle.underWay = [asked]
        }
        return (ledger, oracle)
      }
    }
  }

  @Test("answers a wish to backfill: each offset is taken, or named with why it is not")
  func answers() {
    #expect(Self.backfilled.count > 500, "\(Self.backfilled.count)")
    let helds = [(0, 7), (2, 7), (0, 3), (3, 5)].map { OffsetRange(from: $0, to: $1) }
    for (ledger, oracle) in Self.backfilled {
      for held in helds {
        for wanted in [OffsetRange(from: 0, to: 7), OffsetRange(from: 1, to: 4)] {
          let answer = ledger.answer(toBackfill: OffsetRangeSet([wanted]), held: held)
          for offset in wanted.from..<wanted.to {
            let sets = [
              answer.taken, answer.counted, answer.underWay, answer.ahead, answer.unheld,
            ]
            let expected =
              if offset >= oracle.next {
                answer.ahead
              } else if oracle.underWay.contains(offset) {
                answer.underWay
              } else if [.counted, .backfilled].contains(oracle.fate(offset)) {
                answer.counted
              } else if held.contains(offset) {
                answer.taken
              } else {
                answer.unheld
              }
            #expect(
              expected.contains(offset) && sets.count { $0.contains(offset) } == 1,
              "\(ledger), \(wanted), \(held): \(offset) in \(answer)")
          }
          #expect(
            answer.taken.offsetCount + answer.counted.offsetCount + answer.underWay.offsetCount
              + answer.ahead.offsetCount + answer.unheld.offsetCount == wanted.count)
        }
      }
    }
  }

  @Test("misses of a gap what no backfill has counted, and is settled where no batch reads")
  func missing() {
    for (ledger, oracle) in Self.backfilled {
      #expect(Self.offsets(ledger.missing) == oracle.gaps.subtracting(oracle.backfilled))
      for offset in 0...Oracle.universe {
        #expect(
          ledger.isSettled(offset) == (offset < oracle.next && !oracle.underWay.contains(offset)))
      }
      // What is given up can be asked for again.
      var copy = ledger
      for range in ledger.underWay.ranges { copy.giveUpBackfill(range) }
      #expect(copy.backfillable == ledger.backfillable.union(ledger.underWay))
      #expect(copy.counted == ledger.counted && copy.nextOffset == ledger.nextOffset)
    }
  }

  @Test("comes back with its backfills, and refuses ranges that cannot be any")
  func restoredBackfills() {
    for (ledger, oracle) in Self.backfilled {
      var restored = OffsetLedger(start: ledger.start, nextOffset: ledger.nextOffset)
      for gap in ledger.gaps.ranges { _ = restored.restore(gap) }
      for range in ledger.backfilled.ranges {
        let isTaken = restored.restore(backfill: range, isDone: true)
        #expect(isTaken, "\(ledger), \(range)")
      }
      for range in ledger.underWay.ranges {
        let isTaken = restored.restore(backfill: range, isDone: false)
        #expect(isTaken, "\(ledger), \(range)")
      }
      #expect(restored == ledger)
      let taken = oracle.backfilled.union(oracle.underWay)
      for range in Self.ranges where range.count < 3 {
        let isLegal =
          !range.isEmpty
          && Self.offsets(range).allSatisfy {
            $0 < oracle.next && oracle.fate($0) != .counted && !taken.contains($0)
          }
        for isDone in [true, false] {
          var copy = ledger
          let isTaken = copy.restore(backfill: range, isDone: isDone)
          #expect(isTaken == isLegal, "\(ledger), \(range)")
        }
      }
    }
  }

  @Test("keeps ten million backfilled offsets in one range, in whatever order batches took them")
  func merged() {
    var random = SeededRandom(seed: 11)
    var ledger = OffsetLedger(start: 10_000_000)
    ledger.beginBackfill(OffsetRange(from: 0, to: 10_000_000))
    for batch in (0..<1_000 as Range<Int64>).shuffled(using: &random) {
      ledger.finishBackfill(OffsetRange(from: batch * 10_000, to: (batch + 1) * 10_000))
    }
    #expect(ledger.backfilled.ranges == [OffsetRange(from: 0, to: 10_000_000)])
    #expect(ledger.underWay.isEmpty && ledger.backfillable.isEmpty)
  }

  @Test("refuses to be read across a gap, and a gap that has a problem")
  func preconditions() async {
    await #expect(processExitsWith: .failure) {
      var ledger = OffsetLedger(start: 0)
      ledger.record(OffsetRange(from: 2, to: 4))
      ledger.advance(to: 5)
    }
    await #expect(processExitsWith: .failure) {
      var ledger = OffsetLedger(start: 5)
      ledger.record(OffsetRange(from: 4, to: 6))
    }
    // A backfill of what a run has counted, and a batch of it that nobody asked for.
    await #expect(processExitsWith: .failure) {
      var ledger = OffsetLedger(start: 5, nextOffset: 9)
      ledger.beginBackfill(OffsetRange(from: 4, to: 6))
    }
    await #expect(processExitsWith: .failure) {
      var ledger = OffsetLedger(start: 5)
      ledger.beginBackfill(OffsetRange(from: 1, to: 3))
      ledger.finishBackfill(OffsetRange(from: 1, to: 4))
    }
  }
}
