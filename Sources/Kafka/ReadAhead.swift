internal import Offsets

/// How far the messages of a partition were handed over, and which of them may be handed over ahead
/// of the read that asks for them. Pure.
struct ReadAhead: Equatable {
  enum State: Equatable {
    /// Every visible message below `next` was handed over once, the last `aheadByteCount` bytes of
    /// them ahead of their read.
    case settled(next: Offset, aheadByteCount: Int)
    /// A read is under way or has failed, so that nothing is known to go on from.
    case unsettled
  }
  private(set) var state: State
  /// The last range that is known to be read: now or later.
  var expected: OffsetRange
  /// Messages that the partition's queue holds; a shorter range needs no reading ahead.
  let queueCount: Int64
  /// Most bytes that are handed over ahead.
  let byteLimit: Int

  init(expected: OffsetRange, queueCount: Int64, byteLimit: Int) {
    self.expected = expected
    self.queueCount = queueCount
    self.byteLimit = byteLimit
    state = .settled(next: expected.from, aheadByteCount: 0)
  }

  /// Whether a read that begins here goes on where the reader is. Any other read seeks.
  ///
  /// - Parameter position: The first offset that may still come; what lies between was not visible,
  ///   or is parked.
  func goesOn(at start: Offset, position: Offset) -> Bool {
    guard case .settled(let next, _) = state else { return false }
    return next <= start && start <= position
  }

  /// A read begins, or a seek: until it succeeds, nothing is known.
  mutating func begin() { state = .unsettled }

  /// A range was handed over to its end, or a seek led there.
  mutating func settle(at next: Offset) { state = .settled(next: next, aheadByteCount: 0) }

  /// How many offsets may be handed over ahead now, from the position on, behind a complete range.
  ///
  /// Where the expected range begins elsewhere, a gap lies between.
  func wantedCount(behind range: OffsetRange, position: Offset) -> Int64 {
    guard case .settled(let next, let byteCount) = state, byteCount < byteLimit,
      expected.from == range.to, next >= expected.from, next <= expected.to,
      expected.count > queueCount
    else { return 0 }
    return max(0, expected.to - position)
  }

  /// Hands messages over ahead.
  ///
  /// - Parameter body: Hands them over. Returns the offset behind the last of them, nil where there
  ///   was none, and their bytes. Where it throws, nothing is known.
  mutating func handOver(
    _ body: (OffsetRange) throws -> (next: Offset?, byteCount: Int)
  ) rethrows {
    guard case .settled(let start, let byteCount) = state else {
      preconditionFailure("messages ahead of a read that is under way")
    }
    state = .unsettled
    let added = try body(expected)
    state = .settled(next: added.next ?? start, aheadByteCount: byteCount + added.byteCount)
  }
}
