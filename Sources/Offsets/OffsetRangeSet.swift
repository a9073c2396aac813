/// Offsets of one partition, as the fewest ranges that hold them: ascending, none empty, and none
/// touching another.
package struct OffsetRangeSet: Hashable, Sendable, CustomStringConvertible {
  package private(set) var ranges: [OffsetRange] = []

  package init() {}

  /// - Parameter ranges: In any order; they may overlap.
  package init(_ ranges: some Sequence<OffsetRange>) {
    for range in ranges { insert(range) }
  }

  package var isEmpty: Bool { ranges.isEmpty }
  package var offsetCount: Int64 { ranges.reduce(0) { $0 + $1.count } }

  package func contains(_ offset: Offset) -> Bool { range(holding: offset) != nil }

  /// Whether every offset of a range is in the set.
  package func contains(_ range: OffsetRange) -> Bool {
    range.isEmpty || self.range(holding: range.from).map { range.to <= $0.to } ?? false
  }

  /// The range of the set that an offset lies in.
  package func range(holding offset: Offset) -> OffsetRange? {
    next(from: offset).flatMap { $0.contains(offset) ? $0 : nil }
  }

  /// The first range of the set that holds an offset at or after this one.
  package func next(from offset: Offset) -> OffsetRange? {
    let index = firstIndex { $0.to > offset }
    return index < ranges.count ? ranges[index] : nil
  }

  /// The first range of the set that shares offsets with this one.
  package func range(meeting range: OffsetRange) -> OffsetRange? {
    range.isEmpty ? nil : next(from: range.from).flatMap { $0.from < range.to ? $0 : nil }
  }

  // MARK: - Algebra

  package mutating func insert(_ range: OffsetRange) {
    guard !range.isEmpty else { return }
    // Those that only touch it become one with it.
    let first = firstIndex { $0.to >= range.from }
    let end = firstIndex { $0.from > range.to }
    let from = first < end ? min(range.from, ranges[first].from) : range.from
    let to = first < end ? max(range.to, ranges[end - 1].to) : range.to
    ranges.replaceSubrange(first..<end, with: [OffsetRange(from: from, to: to)])
  }

  package mutating func remove(_ range: OffsetRange) {
    let first = firstIndex { $0.to > range.from }
    let end = firstIndex { $0.from >= range.to }
    guard !range.isEmpty, first < end else { return }
    var rest: [OffsetRange] = []
    if ranges[first].from < range.from {
      rest.append(OffsetRange(from: ranges[first].from, to: range.from))
    }
    if ranges[end - 1].to > range.to {
      rest.append(OffsetRange(from: range.to, to: ranges[end - 1].to))
    }
    ranges.replaceSubrange(first..<end, with: rest)
  }

  package func union(_ other: OffsetRangeSet) -> OffsetRangeSet {
    var result = self
    for range in other.ranges { result.insert(range) }
    return result
  }

  package func subtracting(_ other: OffsetRangeSet) -> OffsetRangeSet {
    var result = self
    for range in other.ranges { result.remove(range) }
    return result
  }

  package func intersection(_ other: OffsetRangeSet) -> OffsetRangeSet {
    subtracting(subtracting(other))
  }

  /// The position of the first range that a condition holds for, as it does for all behind it.
  private func firstIndex(where holds: (OffsetRange) -> Bool) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if holds(ranges[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// `[12, 14) [20, 30)`
  package var description: String { ranges.map(\.description).joined(separator: " ") }
}
