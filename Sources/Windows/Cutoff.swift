package import Tables

/// What a job says of records that come late.
package struct Lateness: Sendable, Equatable {
  /// How far a record may be behind the newest ones and still count.
  package let allowedMilliseconds: Int64
  /// How long the state of a window is kept when it is final; nil for ever.
  package let retentionMilliseconds: Int64?

  package init(allowedMilliseconds: Int64, retentionMilliseconds: Int64? = nil) {
    self.allowedMilliseconds = allowedMilliseconds
    self.retentionMilliseconds = retentionMilliseconds
  }
}

/// Up to which instant windows are final, and up to which they are evicted: the one place that
/// decides. A pure function of what is committed.
///
/// A window that ends at the cutoff or before takes no live record any more; a backfill may still
/// revise it. One that ends at the horizon or before, which is behind the cutoff by the job's
/// retention, takes no record at all: its state goes, and never comes back. The cutoff is the least
/// of the newest times of the partitions, less what the job allows. Neither ever goes back, and the
/// one by which a batch is judged is the one that the batch before it has left.
package struct Cutoff: Sendable, Equatable {
  /// In milliseconds since 1970 UTC; nil while no window is final.
  package private(set) var instant: Int64?
  /// As ``instant``; nil while no window may be evicted.
  package private(set) var horizon: Int64?

  package init(_ instant: Int64? = nil, horizon: Int64? = nil) {
    self.instant = instant
    self.horizon = horizon
  }

  /// What a live batch tells of a partition.
  package struct Partition: Sendable, Equatable {
    /// The newest time of its records, this batch included; nil where none had one.
    package let newestTime: Int64?
    /// Whether this batch holds a record of it that has a time.
    package let hasNewRecords: Bool
    /// Whether the batch's plan leaves some of it unread.
    package let isBehind: Bool

    package init(newestTime: Int64?, hasNewRecords: Bool, isBehind: Bool) {
      self.newestTime = newestTime
      self.hasNewRecords = hasNewRecords
      self.isBehind = isBehind
    }
  }

  /// A live batch is committed.
  ///
  /// A partition that was read to its end and gave nothing with a time is idle: others do not wait
  /// for it. One that is behind and never had a time may hold records of any time, so the cutoff
  /// waits for it.
  ///
  /// - Parameter partitions: All that the job reads.
  package func advanced(by partitions: some Sequence<Partition>, _ rule: Lateness) -> Cutoff {
    var least: Int64?
    for partition in partitions where partition.isBehind || partition.hasNewRecords {
      guard let time = partition.newestTime else { return self }
      least = min(least ?? time, time)
    }
    guard let least else { return self }
    let (candidate, isBelow) = least.subtractingReportingOverflow(rule.allowedMilliseconds)
    if isBelow { return self }
    let moved = max(instant ?? candidate, candidate)
    guard let retention = rule.retentionMilliseconds else {
      return Cutoff(moved, horizon: horizon)
    }
    let (kept, isBelowAll) = moved.subtractingReportingOverflow(retention)
    return Cutoff(moved, horizon: isBelowAll ? horizon : max(horizon ?? kept, kept))
  }

  /// By which the records of a batch are judged.
  ///
  /// Messages of a backfill are old, and may revise what is final. No record comes back to a window
  /// that may be evicted, also where the job file has become more lenient since.
  ///
  /// - Parameter rule: Nil where the job counts late records.
  package func judging(newMessages: Bool, _ rule: Lateness?) -> Cutoff {
    newMessages && rule != nil ? Cutoff(instant) : Cutoff(horizon)
  }

  // MARK: - Windows

  package func isFinal(_ pane: Pane, of kind: any WindowKind) -> Bool {
    guard let instant, let end = kind.end(of: pane) else { return false }
    return end <= instant
  }

  /// Whether the state of a pane may go.
  package func isEvictable(_ pane: Pane, of kind: any WindowKind) -> Bool {
    Cutoff(horizon).isFinal(pane, of: kind)
  }

  /// Whether all panes of a window are final.
  package func isFinal(_ window: Window, of kind: any WindowKind) -> Bool {
    kind.panes(of: window).allSatisfy { isFinal($0, of: kind) }
  }

  // MARK: - Times

  /// Times of messages by a clock that is ahead must not make all windows final for ever: none
  /// counts as more than what the job allows ahead of our own clock.
  package static func times(
    _ times: [Int64?], atMost milliseconds: Int64, aheadOf now: Int64
  ) -> [Int64?] {
    let (latest, isEndless) = now.addingReportingOverflow(milliseconds)
    return isEndless ? times : times.map { $0.map { min($0, latest) } }
  }

  /// The newest time of each partition of a batch; nil for one without.
  ///
  /// A record counts no later than its message's own time: what is ahead of it, by a clock that is
  /// wrong, must not make windows final that are not over. So a record whose message has no time
  /// tells nothing.
  ///
  /// - Parameters:
  ///   - times: The windows' time, none of which is null.
  ///   - ownTimes: Those of the messages; nil where they are the windows' time.
  ///   - partitionCount: Of the batch's plan.
  package static func newestTimes(
    _ times: Column, ownTimes: Column?, of slices: [RecordBatch.Slice], partitionCount: Int
  ) -> [Int64?] {
    var newest = [Int64?](repeating: nil, count: partitionCount)
    for slice in slices {
      var latest = Int64.min
      var isKnown = false
      if let ownTimes {
        for row in slice.rows where !ownTimes.isNull[row] {
          latest = max(latest, min(times.integers[row], ownTimes.integers[row]))
          isKnown = true
        }
      } else {
        for row in slice.rows { latest = max(latest, times.integers[row]) }
        isKnown = !slice.rows.isEmpty
      }
      if isKnown { newest[slice.partitionIndex] = latest }
    }
    return newest
  }
}
