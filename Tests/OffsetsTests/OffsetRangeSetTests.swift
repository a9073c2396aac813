import Offsets
import TestSupport
import Testing

/// Every set of a small universe, against `Set<Int64>`.
@Suite("A set of offset ranges")
struct OffsetRangeSetTests {
  static let universe: Int64 = 6

  /// All 64 subsets of 0..<6.
  static let subsets: [Set<Int64>] = (0..<(1 << universe)).map { bits in
    Set((0..<universe).filter { bits >> $0 & 1 == 1 })
  }

  /// All ranges in 0...6, empty ones too.
  static let ranges: [OffsetRange] = (0...universe).flatMap { from in
    (from...universe).map { OffsetRange(from: from, to: $0) }
  }

  static func rangeSet(_ offsets: some Sequence<Int64>) -> OffsetRangeSet {
    OffsetRangeSet(offsets.map { OffsetRange(from: $0, to: $0 + 1) })
  }

  /// The offsets of a set, once each; nil where its ranges are not the fewest, in order.
  static func offsets(_ set: OffsetRangeSet) -> Set<Int64>? {
    for (range, next) in zip(set.ranges, set.ranges.dropFirst()) where range.to >= next.from {
      return nil
    }
    if set.ranges.contains(where: \.isEmpty) { return nil }
    return Set(set.ranges.flatMap { $0.from..<$0.to })
  }

  @Test("has one form, whatever the order in which its offsets came")
  func form() {
    for subset in Self.subsets {
      let ascending = Self.rangeSet(subset.sorted())
      #expect(Self.offsets(ascending) == subset)
      #expect(Self.rangeSet(subset.sorted(by: >)) == ascending)
      #expect(ascending.offsetCount == Int64(subset.count))
      #expect(ascending.isEmpty == subset.isEmpty)
    }
    #expect(Self.rangeSet([0, 1, 3, 4, 6]).description == "[0, 2) [3, 5) [6, 7)")
  }

  @Test("unites, subtracts and intersects as sets of offsets do")
  func algebra() {
    for left in Self.subsets {
      for right in Self.subsets {
        let (a, b) = (Self.rangeSet(left), Self.rangeSet(right))
        let results = [a.union(b), a.subtracting(b), a.intersection(b)]
        let expected = [left.union(right), left.subtracting(right), left.intersection(right)]
        #expect(results.map(Self.offsets) == expected, "\(a) and \(b)")
      }
    }
  }

  @Test("takes in and gives up any range, and finds what meets one")
  func ranges() {
    for subset in Self.subsets {
      let set = Self.rangeSet(subset)
      for range in Self.ranges {
        let offsets = Set(range.from..<range.to)
        var (with, without) = (set, set)
        with.insert(range)
        without.remove(range)
        #expect(Self.offsets(with) == subset.union(offsets), "\(set) with \(range)")
        #expect(Self.offsets(without) == subset.subtracting(offsets), "\(set) without \(range)")
        #expect(set.contains(range) == offsets.isSubset(of: subset), "\(set), \(range)")
        let met = subset.intersection(offsets).min()
        #expect(set.range(meeting: range) == met.flatMap(set.range(holding:)), "\(set), \(range)")
      }
      for offset in 0...Self.universe {
        #expect(set.contains(offset) == subset.contains(offset))
        #expect(set.range(holding: offset)?.contains(offset) ?? true)
        let next = subset.filter { $0 >= offset }.min()
        #expect(set.next(from: offset) == next.flatMap(set.range(holding:)), "\(set), \(offset)")
      }
    }
  }

  @Test("holds offsets up to the largest there is")
  func largest() {
    var set = OffsetRangeSet([OffsetRange(from: 0, to: .max)])
    set.remove(OffsetRange(from: 7, to: 9))
    #expect(set.ranges.map(\.count) == [7, .max - 9])
    #expect(set.offsetCount == .max - 2)
  }
}
