import Offsets

/// `window.allowed_lateness` and `window.retention` as the oracle understands them.
struct LatenessRule: Sendable {
  var allowedMilliseconds: Int64
  var retentionMilliseconds: Int64?
}

/// What a batch of new messages left of the log, as far as the simulation knows: a fact that the
/// checkpoint is not asked for.
struct LeftBehind: Hashable {
  /// All that the brokers told of.
  var partitions: Set<PartitionID>
  /// Of these, the ones with unread offsets, and the ones about whose log nobody has decided.
  var behind: Set<PartitionID>
}

/// The cutoff of late records: what it can be behind each batch.
struct CutoffOracle {
  /// Usually one. More where what the product knew when it planned is not known for certain.
  private(set) var possible: Set<Int64?> = [nil]
  /// What the horizon can be: as far as a cutoff has ever left it behind.
  private(set) var horizons: Set<Int64?> = [nil]
  private var horizon: Int64?
  private var newestTimes: [PartitionID: Int64] = [:]

  /// - Parameters:
  ///   - cutoff: By which the batch was judged.
  ///   - times: Of its records that decode, by partition.
  mutating func advance(
    from cutoff: Int64?, _ times: [PartitionID: [Int64]], _ worlds: [LeftBehind],
    _ rule: LatenessRule
  ) {
    for (partition, times) in times {
      newestTimes[partition] = (times + [newestTimes[partition] ?? .min]).max()
    }
    possible = Set(
      worlds.map { world -> Int64? in
        let awaited = world.partitions.filter {
          world.behind.contains($0) || !(times[$0] ?? []).isEmpty
        }
        let known = awaited.compactMap { newestTimes[$0] }
        guard known.count == awaited.count, let least = known.min() else { return cutoff }
        return max(cutoff ?? .min, least - rule.allowedMilliseconds)
      })
    horizon = evicted(by: cutoff, rule)
    horizons = Set(possible.map { evicted(by: $0, rule) })
  }

  private func evicted(by cutoff: Int64?, _ rule: LatenessRule) -> Int64? {
    guard let cutoff, let retention = rule.retentionMilliseconds else { return horizon }
    return max(horizon ?? .min, cutoff - retention)
  }
}

/// A window whose state the checkpoint has evicted, as it says.
struct Tombstone: Equatable {
  var groupCount: Int
  var recordCount: Int64
  /// Partition by its number in the checkpoint, smallest and largest offset, records.
  var lineage: String
  var isUnfinished: Bool
}

extension Claim {
  /// Where the tables disagree about what is evicted.
  ///
  /// - Parameter width: Of a window, in milliseconds.
  func differenceOfEvicted(width: Int64) -> String? {
    for (window, tombstone) in evicted {
      if windows.contains(window) { return "window \(window) is evicted, and has state" }
      if window + width > horizon ?? .min {
        return "window \(window) is evicted, and the horizon is \(horizon ?? .min)"
      }
      if windowsWithGroups.contains(window) != tombstone.isUnfinished {
        return "window \(window) is evicted, and its groups are "
          + (tombstone.isUnfinished ? "gone too early" : "there")
      }
    }
    return nil
  }
}

extension Simulation {
  /// When all is published, everything behind the horizon is evicted, and nothing else. The objects
  /// have been compared already, as those of all windows.
  func differenceOfEviction(_ claim: Claim, _ expectation: Expectation) -> String? {
    guard case .tumbling(let width, _) = drawn.window, drawn.lateness?.retentionMilliseconds != nil
    else { return claim.evicted.isEmpty ? nil : "windows are evicted for nothing" }
    let due = expectation.windows.filter { $0.key + width <= claim.horizon ?? .min }
    if Set(due.keys) != Set(claim.evicted.keys) {
      return "evicted are \(claim.evicted.keys.sorted()), and have to be \(due.keys.sorted())"
    }
    for (window, object) in due {
      guard let tombstone = claim.evicted[window] else { continue }
      let records = object.lineage.reduce(0) { $0 + $1.recordCount }
      let parts = object.lineage.map {
        "\($0.smallestOffset),\($0.largestOffset),\($0.recordCount)]"
      }
      let isSame =
        tombstone.recordCount == records && tombstone.groupCount == object.table.rows.count
        && (restartCount > 0
          || tombstone.lineage.split(separator: "[").count == parts.count
            && parts.allSatisfy(tombstone.lineage.contains))
      if !isSame || tombstone.isUnfinished {
        return "window \(window): \(tombstone) for \(object.table.rows.count) groups of \(records)"
      }
    }
    evictedCount += due.count
    return nil
  }
}

extension Account {
  /// A plan that a commit has stored for the batch after it.
  struct StoredPlan: Equatable {
    var batch: Int64
    var ranges: [PartitionRange]
    /// What brokers had told when it was made.
    var ends: [PartitionID: Offset]
  }

  /// A run has ended, or has died: what it planned was planned over the ends that it was told.
  mutating func keepPlan(of claim: Claim) {
    guard let plan = claim.inFlight else {
      storedPlan = nil
      return
    }
    if let storedPlan, storedPlan.batch == plan.batch, storedPlan.ranges == plan.ranges { return }
    storedPlan = StoredPlan(batch: plan.batch, ranges: plan.ranges, ends: told)
  }
}

extension Simulation {
  /// What batches of the run at hand have left behind.
  ///
  /// - Parameters:
  ///   - before: The checkpoint as the run found it.
  ///   - claim: As the run has left it.
  func noteLeftBehind(_ claim: Claim, before: Claim) {
    for batch in claim.batches where batch.number > before.newestBatch && batch.backfill == nil {
      var ends = [account.told]
      if let plan = account.storedPlan, before.inFlight?.ranges == plan.ranges,
        batch.number == plan.batch
      {
        // A batch that is full before its plan's end may also be one of another plan.
        ends = batch.ranges == plan.ranges ? [plan.ends] : [plan.ends, account.told]
      }
      let read = claim.batches.filter { $0.number <= batch.number && $0.backfill == nil }
      // When a gap or an undecided log was noticed in the run, only the run knows.
      let gaps = [before.gaps, claim.gaps]
      let undecided = subsets(of: claim.undecided.subtracting(before.undecided)).map {
        before.undecided.union($0)
      }
      leftBehind[batch.number] = ends.flatMap { ends in
        gaps.flatMap { gaps in
          undecided.map { undecided in
            LeftBehind(
              partitions: Set(ends.keys),
              behind: undecided.union(
                ends.keys.filter { hasUnread($0, end: ends[$0] ?? 0, read, gaps, claim) }))
          }
        }
      }
    }
  }

  private func subsets(of partitions: Set<PartitionID>) -> [Set<PartitionID>] {
    partitions.sorted().reduce(into: [[]]) { subsets, partition in
      subsets += subsets.map { $0.union([partition]) }
    }
  }

  private func hasUnread(
    _ name: PartitionID, end: Offset, _ read: [Claim.Batch], _ gaps: [Claim.Gap], _ claim: Claim
  ) -> Bool {
    let passed = read.flatMap { batch in
      batch.ranges.filter { account.incarnation($0.partition, readBy: batch.number) == name }
    }.map(\.to).max()
    let next = passed ?? claim.partitions[name]?.start ?? 0
    return (min(next, end)..<end).contains { offset in
      !gaps.contains { $0.range.partition == name && $0.range.range.contains(offset) }
    }
  }
}
