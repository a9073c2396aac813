/// What became of the offsets of one partition: the one place that knows which of them are counted,
/// which are left to read, which are passed over, and where progress lands.
///
/// Every offset in `[start, nextOffset)` was read and committed, or lies in a gap. Progress never
/// stands at the start of a gap or inside one. What a backfill has counted lies below the start or
/// in a gap behind progress. A gap stays what it was, the record of offsets that progress has
/// passed over; its part that was backfilled is no longer ``missing``.
package struct OffsetLedger: Hashable, Sendable {
  /// Resolved once, on first contact.
  package let start: Offset
  /// Progress: the first offset not yet committed.
  package private(set) var nextOffset: Offset
  /// Offsets that runs pass over: behind progress and ahead of it.
  package private(set) var gaps = OffsetRangeSet()
  /// Offsets below the start or in a gap behind progress that were counted after all.
  package private(set) var backfilled = OffsetRangeSet()
  /// Offsets that backfill requests are yet to count.
  package private(set) var underWay = OffsetRangeSet()

  /// Of a partition that is met for the first time.
  package init(start: Offset) { self.init(start: start, nextOffset: start) }

  /// As a checkpoint holds it; its gaps are added with ``restore(_:)``.
  package init(start: Offset, nextOffset: Offset) {
    precondition(start >= 0 && start <= nextOffset, "progress \(nextOffset) from start \(start)")
    self.start = start
    self.nextOffset = nextOffset
  }

  // MARK: - What is left to read

  /// What runs are yet to read before an end, in one piece or more.
  package func unread(end: Offset) -> OffsetRangeSet { unread(from: nextOffset, end: end) }

  /// How many offsets ``unread(end:)`` holds.
  package func unreadCount(end: Offset) -> Int64 {
    gaps.isEmpty ? max(0, end - nextOffset) : unread(end: end).offsetCount
  }

  private func unread(from: Offset, end: Offset) -> OffsetRangeSet {
    OffsetRangeSet([OffsetRange(from: from, to: max(from, end))]).subtracting(gaps)
  }

  /// What a batch can take: the first piece of what is unread. Empty, and at progress, where that
  /// is nothing.
  ///
  /// - Parameter offset: Up to where a batch before it reads; nil for none.
  package func readable(after offset: Offset? = nil, end: Offset) -> OffsetRange {
    let from = offset.map(landing) ?? nextOffset
    let to = gaps.isEmpty ? end : min(end, gaps.next(from: from)?.from ?? end)
    return OffsetRange(from: from, to: max(from, to))
  }

  /// What the broker has removed unread, and no gap holds.
  ///
  /// - Parameter low: The oldest offset that it holds.
  package func lost(below low: Offset) -> OffsetRangeSet {
    low <= nextOffset ? OffsetRangeSet() : unread(end: low)
  }

  /// What is read again to compare a message that was read with what the broker holds.
  ///
  /// Normally it reaches up to progress, so that the next batch goes on where this ends, without a
  /// seek. It never enters a gap, because what is there may be a message that nobody can decode.
  ///
  /// - Parameters:
  ///   - offset: Of the newest message that was read.
  ///   - low: The oldest offset that the broker holds.
  /// - Returns: Nil where the message is not below progress, or is gone.
  package func comparable(from offset: Offset, low: Offset) -> OffsetRange? {
    guard offset >= low, offset < nextOffset else { return nil }
    let upToProgress = OffsetRange(from: offset, to: nextOffset)
    return upToProgress.count <= 1_000 && gaps.range(meeting: upToProgress) == nil
      ? upToProgress : OffsetRange(from: offset, to: offset + 1)
  }

  // MARK: - Progress

  /// Where progress stands after the partition was read up to an offset: there, or behind the gap
  /// that begins there.
  package func landing(_ offset: Offset) -> Offset {
    gaps.isEmpty ? offset : gaps.range(holding: offset)?.to ?? offset
  }

  /// A batch has read up to an offset, and is committed.
  package mutating func advance(to offset: Offset) {
    let range = OffsetRange(from: nextOffset, to: offset)
    precondition(gaps.range(meeting: range) == nil, "\(range) was read across a gap of \(gaps)")
    nextOffset = landing(offset)
  }

  // MARK: - Gaps

  /// Why offsets cannot be recorded as passed over.
  package enum GapProblem: Hashable, Sendable {
    case empty
    /// It begins below progress, which stands here.
    case committed(nextOffset: Offset)
    /// It shares offsets with a gap that is recorded already.
    case meets(OffsetRange)
    case beyondEnd(Offset)
  }

  /// - Parameter end: Of the log, where it is known.
  package func problem(ofGap gap: OffsetRange, end: Offset? = nil) -> GapProblem? {
    if gap.isEmpty { return .empty }
    if gap.from < nextOffset { return .committed(nextOffset: nextOffset) }
    if let other = gaps.range(meeting: gap) { return .meets(other) }
    if let end, gap.to > end { return .beyondEnd(end) }
    return nil
  }

  /// Offsets that are never to be read. Progress passes over them when it gets there; at once if it
  /// stands at their start.
  ///
  /// - Precondition: there is no ``problem(ofGap:end:)``.
  package mutating func record(_ gap: OffsetRange) {
    let problem = problem(ofGap: gap)
    precondition(problem == nil, "gap \(gap) where progress is \(nextOffset) and gaps are \(gaps)")
    gaps.insert(gap)
    nextOffset = landing(nextOffset)
  }

  /// Adds a gap that was recorded earlier.
  ///
  /// - Returns: False where no gap can be: below the start, across progress or at it, or where
  ///   another gap is.
  package mutating func restore(_ gap: OffsetRange) -> Bool {
    guard !gap.isEmpty, gap.from >= start, gap.to <= nextOffset || gap.from > nextOffset,
      gaps.range(meeting: gap) == nil
    else { return false }
    gaps.insert(gap)
    return true
  }

  /// Passed over, and counted by no backfill.
  package var missing: OffsetRangeSet { gaps.subtracting(backfilled) }

  /// What progress has passed over and no backfill has counted. Gaps ahead of progress are left
  /// out: progress has not reached them.
  package var passedOver: OffsetRangeSet { missing.intersection(behindProgress) }

  private var behindProgress: OffsetRangeSet {
    OffsetRangeSet([OffsetRange(from: 0, to: nextOffset)])
  }

  // MARK: - Backfill

  /// What runs and backfills have read and committed.
  package var counted: OffsetRangeSet {
    OffsetRangeSet([OffsetRange(from: start, to: nextOffset)]).subtracting(gaps).union(backfilled)
  }

  /// What a backfill may still take: all that progress has left behind uncounted.
  package var backfillable: OffsetRangeSet {
    behindProgress.subtracting(counted).subtracting(underWay)
  }

  /// Whether no batch will read an offset any more: progress has passed it, and no backfill is to
  /// count it.
  package func isSettled(_ offset: Offset) -> Bool {
    offset < nextOffset && !underWay.contains(offset)
  }

  /// Whether all of a range is settled.
  package func isSettled(_ range: OffsetRange) -> Bool {
    range.to <= nextOffset && underWay.range(meeting: range) == nil
  }

  /// What becomes of offsets that a person wants to be counted after all: each belongs to one of
  /// these.
  package struct BackfillAnswer: Hashable, Sendable {
    /// To be read and counted.
    package var taken = OffsetRangeSet()
    /// Counted already.
    package var counted = OffsetRangeSet()
    /// An earlier request is to count them.
    package var underWay = OffsetRangeSet()
    /// At progress or above, where runs go on by themselves.
    package var ahead = OffsetRangeSet()
    /// The broker does not hold them.
    package var unheld = OffsetRangeSet()
  }

  /// - Parameter held: What the broker holds.
  package func answer(toBackfill wanted: OffsetRangeSet, held: OffsetRange) -> BackfillAnswer {
    let behind = wanted.intersection(behindProgress)
    let open = behind.intersection(backfillable)
    let taken = open.intersection(OffsetRangeSet([held]))
    return BackfillAnswer(
      taken: taken, counted: behind.intersection(counted),
      underWay: behind.intersection(underWay), ahead: wanted.subtracting(behind),
      unheld: open.subtracting(taken))
  }

  /// A request is to count the offsets.
  ///
  /// - Precondition: the range is ``backfillable``.
  package mutating func beginBackfill(_ range: OffsetRange) {
    precondition(backfillable.contains(range), "backfill of \(range), left are \(backfillable)")
    underWay.insert(range)
  }

  /// The offsets were counted.
  ///
  /// - Precondition: all of the range is ``underWay``.
  package mutating func finishBackfill(_ range: OffsetRange) {
    giveUpBackfill(range)
    backfilled.insert(range)
  }

  /// The offsets are not to be counted after all: the request was cancelled, or the broker does not
  /// hold them.
  ///
  /// - Precondition: all of the range is ``underWay``.
  package mutating func giveUpBackfill(_ range: OffsetRange) {
    precondition(underWay.contains(range), "backfill of \(range), under way are \(underWay)")
    underWay.remove(range)
  }

  /// Adds a range that was backfilled, or that a request is to backfill, as a checkpoint holds it;
  /// after the gaps.
  ///
  /// - Returns: False where no such range can be: it is empty, counted, ahead of progress, or in
  ///   another such range.
  package mutating func restore(backfill range: OffsetRange, isDone: Bool) -> Bool {
    guard !range.isEmpty, backfillable.contains(range) else { return false }
    if isDone { backfilled.insert(range) } else { underWay.insert(range) }
    return true
  }
}
