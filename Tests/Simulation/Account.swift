package import Offsets

/// What the simulation knows by itself of the offsets of a history: where each partition has to
/// start, which offsets a broker had removed when it was asked, which ones a person passed over or
/// wants to be counted after all, and what was decided about logs that were replaced.
///
/// Every incarnation of a partition has an account of its own.
///
/// The fakes and the person report facts; the checkpoint is held against them and never believed. A
/// crash takes the account back to what it was at that instant, together with everything else that
/// the process had done.
package struct Account {
  /// `source.start` of the job file.
  package enum Start: CaseIterable { case earliest, latest, timestamp }

  /// What a broker told of a partition.
  package struct Answer {
    var low: Offset
    var end: Offset
    /// The first offset at or after the job's start time, or the end.
    var atStartTime: Offset

    package init(low: Offset, end: Offset, atStartTime: Offset) {
      self.low = low
      self.end = end
      self.atStartTime = atStartTime
    }
  }

  let start: Start
  /// Of every partition whose start has become durable.
  package private(set) var starts: [PartitionID: Offset] = [:]
  /// What a person passed over, as it was asked for.
  package private(set) var skipped: [PartitionID: [OffsetRange]] = [:]
  /// The largest "oldest offset held" that a broker has told of.
  private(set) var removedBelow: [PartitionID: Offset] = [:]
  /// What a person passed over of a log that was replaced.
  private(set) var passedOver: [PartitionID: [OffsetRange]] = [:]
  /// Of the run at hand, what a broker told last.
  private(set) var told: [PartitionID: Offset] = [:]
  /// What the run at hand finds planned.
  var storedPlan: StoredPlan?
  /// Of the run at hand: what was told when a batch was committed.
  private var toldAtCommit: [Int64: [PartitionID: Offset]] = [:]

  /// Offsets by incarnation.
  package typealias Offsets = [PartitionID: Set<Offset>]
  /// What a person wants to have counted after all.
  struct Request {
    /// What it took on, and was not cancelled.
    var taken: Offsets
    /// How much it took on.
    var count: Int64
    var isCancelled = false
    /// Whose log was replaced, as a person decided.
    var givenUp: Offsets = [:]
    /// The smallest end that a broker has told of since.
    var endedAt: [PartitionID: Offset] = [:]

    mutating func noteEnd(_ end: Offset, of partition: PartitionID) {
      endedAt[partition] = min(endedAt[partition] ?? .max, end)
    }
  }
  private(set) var requests: [Int64: Request] = [:]

  /// Rejects that a person has accepted, and for which batches.
  struct Acceptance {
    var ranges: [PartitionRange]
    var after: Int64
    var upTo = Int64.max
  }
  private(set) var accepted: [Acceptance] = []

  /// Behind which batches a partition got a new incarnation.
  private(set) var restarts: [PartitionID: [Int64]] = [:]
  /// Of a partition whose log was replaced and about which a person has decided.
  struct Decision {
    /// Which of its logs that was.
    var era: Int
    /// The newest batch then.
    var batch: Int64
    /// Progress that stands, though the log ends below it.
    var kept: Offset?
  }
  private(set) var decisions: [PartitionID: Decision] = [:]
  /// Of the run at hand, and of partitions whose start is not durable yet.
  private var answers: [PartitionID: Answer] = [:]

  package init(start: Start) { self.start = start }

  /// Whether a start was looked up that nothing on disk can hold yet.
  var hasPendingStarts: Bool { !answers.isEmpty }

  // MARK: - Facts

  /// What a dead or failed run was told and had not stored is gone.
  mutating func beginRun() { (answers, told, toldAtCommit) = ([:], [:], [:]) }

  package mutating func answered(_ partition: PartitionID, _ answer: Answer) {
    let name = current(partition)
    removed(partition, below: answer.low)
    told[name] = answer.end
    for number in requests.keys { requests[number]?.noteEnd(answer.end, of: name) }
    if starts[name] == nil { answers[name] = answer }
  }

  /// The run at hand has committed a batch.
  mutating func committed(_ batch: Int64) { toldAtCommit[batch] = told }

  /// A broker said that it no longer holds what lies below an offset.
  mutating func removed(_ partition: PartitionID, below offset: Offset) {
    removedBelow[current(partition)] = max(removedBelow[current(partition)] ?? 0, offset)
  }

  package mutating func skip(_ range: PartitionRange) {
    skipped[current(range.partition), default: []].append(range.range)
  }

  mutating func accept(_ ranges: [PartitionRange], after batch: Int64) {
    accepted.append(Acceptance(ranges: ranges, after: batch))
  }

  // MARK: - Incarnations

  /// The incarnation of a partition that runs read now.
  package func current(_ partition: PartitionID) -> PartitionID {
    partition.incarnation(Int64((restarts[partition]?.count ?? 0) + 1))
  }

  /// The incarnation that a batch has read.
  func incarnation(_ partition: PartitionID, readBy batch: Int64) -> PartitionID {
    partition.incarnation(Int64((restarts[partition] ?? []).count { $0 < batch } + 1))
  }

  /// A person counts the log of a partition from an offset on, beside what was counted.
  mutating func restart(_ partition: PartitionID, from start: Offset, era: Int, _ claim: Claim) {
    decide(partition, era: era, claim)
    restarts[partition, default: []].append(claim.newestBatch)
    starts[current(partition)] = start
    for (index, acceptance) in accepted.enumerated()
    where acceptance.ranges.contains(where: { $0.partition == partition }) {
      accepted[index].upTo = min(acceptance.upTo, claim.newestBatch)
    }
  }

  /// A person goes on at progress.
  mutating func keep(_ partition: PartitionID, era: Int, _ claim: Claim) {
    decide(partition, era: era, claim)
    let next = claim.partitions[current(partition)]?.next
    decisions[partition]?.kept = next
  }

  /// A person passes over what the log that is there now holds.
  mutating func passOver(_ gap: PartitionRange, era: Int, _ claim: Claim) {
    decide(gap.partition, era: era, claim)
    passedOver[current(gap.partition), default: []].append(gap.range)
  }

  /// What requests have left of the partition means other messages now.
  private mutating func decide(_ partition: PartitionID, era: Int, _ claim: Claim) {
    let name = current(partition)
    decisions[partition] = Decision(era: era, batch: claim.newestBatch)
    for backfill in claim.backfills {
      for range in backfill.left where range.partition == name {
        requests[backfill.number]?.givenUp[name, default: []].formUnion(range.from..<range.to)
      }
    }
  }

  // MARK: - Backfills

  /// What a request for some offsets has to take on: what progress has left behind uncounted, and
  /// no other request is to count.
  ///
  /// - Parameter held: What the broker holds.
  package func taken(
    _ wish: [PartitionRange], of claim: Claim, held: (PartitionID) -> Range<Offset>
  ) -> Offsets {
    var taken: Offsets = [:]
    let read = read(claim) { _ in true }
    for (partition, ranges) in Dictionary(grouping: wish, by: \.partition) {
      let name = current(partition)
      guard let next = claim.partitions[name]?.next else { continue }
      let held = held(partition)
      var offsets: Set<Offset> = []
      for range in ranges {
        let (from, to) = (max(range.from, held.lowerBound), min(range.to, next, held.upperBound))
        if from < to { offsets.formUnion(from..<to) }
      }
      offsets.subtract(read[name] ?? [])
      for backfill in claim.backfills { offsets.subtract(Self.offsets(backfill.left)[name] ?? []) }
      if !offsets.isEmpty { taken[name] = offsets }
    }
    return taken
  }

  package mutating func ask(_ number: Int64, _ taken: Offsets) {
    requests[number] = Request(
      taken: taken, count: Int64(taken.values.reduce(0) { $0 + $1.count }))
  }

  /// A person cancels what a request has left; what it has counted stays asked for.
  package mutating func cancel(_ number: Int64, left: [PartitionRange]) {
    requests[number]?.isCancelled = true
    for (name, offsets) in Self.offsets(left) { requests[number]?.taken[name]?.subtract(offsets) }
  }

  /// What requests have taken on, and were not told to leave.
  package var asked: Offsets {
    requests.values.reduce(into: [:]) { $0.merge($1.taken) { $0.union($1) } }
  }

  private static func offsets(_ ranges: [PartitionRange]) -> Offsets {
    ranges.reduce(into: [:]) { $0[$1.partition, default: []].formUnion($1.from..<$1.to) }
  }

  /// What batches have read, by incarnation.
  private func read(_ claim: Claim, where isWanted: (Claim.Batch) -> Bool) -> Offsets {
    ranges(claim, where: isWanted).mapValues { Set($0.flatMap { $0.from..<$0.to }) }
  }

  private func ranges(
    _ claim: Claim, where isWanted: (Claim.Batch) -> Bool
  ) -> [PartitionID: [OffsetRange]] {
    var all: [PartitionID: [OffsetRange]] = [:]
    for batch in claim.batches where isWanted(batch) {
      for range in batch.ranges {
        all[incarnation(range.partition, readBy: batch.number), default: []].append(range.range)
      }
    }
    return all
  }

  // MARK: - Starts

  /// The run has made something durable. The first such step after an answer stores the start,
  /// which holds for ever: of a topic met for the first time by the job's rule, of a partition
  /// added to a known topic its oldest offset.
  package mutating func becameDurable() {
    guard !answers.isEmpty else { return }
    let known = Set(starts.keys.map(Self.topic))
    for (partition, answer) in answers {
      starts[partition] =
        if known.contains(Self.topic(of: partition)) {
          answer.low
        } else {
          switch start {
          case .earliest: answer.low
          case .latest: answer.end
          case .timestamp: answer.atStartTime
          }
        }
    }
    answers = [:]
  }

  private static func topic(of partition: PartitionID) -> String {
    "\(partition.source)/\(partition.topic)"
  }

  // MARK: - Judgement

  /// What a checkpoint claims that the account contradicts, or nil.
  ///
  /// Every offset from a partition's start to its progress has to lie in exactly one range of one
  /// batch, or in one gap. A gap is what a person passed over, or what a broker had removed; so
  /// whatever a batch claims, it has to have read.
  package func difference(from claim: Claim, maxOffsets: Int64) -> String? {
    for partition in Set(starts.keys).union(claim.partitions.keys).sorted() {
      let (known, claimed) = (starts[partition], claim.partitions[partition]?.start)
      if known != claimed {
        return
          "\(partition): starts at \(Self.text(claimed)) and has to start at \(Self.text(known))"
      }
    }
    return differenceOfGaps(claim) ?? differenceOfBatches(claim, maxOffsets: maxOffsets)
      ?? uncovered(claim) ?? differenceOfBackfills(claim) ?? differenceOfOrder(claim)
  }

  /// Of each request, every offset that it took on is in one of its batches, left, or called unheld
  /// for a reason, and nothing else is; and no offset is in two batches.
  private func differenceOfBackfills(_ claim: Claim) -> String? {
    let counted = read(claim) { $0.backfill != nil }
    let all = ranges(claim) { _ in true }
    for name in claim.partitions.keys.sorted() {
      let read = (all[name] ?? []).flatMap { $0.from..<$0.to }
      if Set(read).count < read.count { return "\(name): offsets are in two batches: \(read)" }
      let table = claim.backfilled.filter { $0.partition == name }.map(\.range).sorted {
        $0.from < $1.from
      }
      let backfilled = counted[name] ?? []
      if Set(table.flatMap { $0.from..<$0.to }) != backfilled || Self.touch(table) {
        return "\(name): \(table) are called backfilled, and batches read \(backfilled.sorted())"
      }
    }
    if Set(claim.backfills.map(\.number)) != Set(requests.keys) {
      return "backfills \(claim.backfills.map(\.number)) for \(requests.keys.sorted())"
    }
    for backfill in claim.backfills {
      guard let request = requests[backfill.number] else { continue }
      let counted = read(claim) { $0.backfill == backfill.number }
      if let problem = difference(backfill, request, counted) {
        return "backfill \(backfill.number): \(problem)"
      }
    }
    return nil
  }

  private func difference(
    _ backfill: Claim.Backfill, _ request: Request, _ counted: Offsets
  ) -> String? {
    let (left, unheld) = (Self.offsets(backfill.left), Self.offsets(backfill.unheld))
    let names = Set(request.taken.keys).union(counted.keys).union(left.keys).union(unheld.keys)
    for name in names.sorted() {
      let parts = [counted, left, unheld].map { $0[name] ?? [] }
      let all = parts.reduce(Set()) { $0.union($1) }
      if all != request.taken[name] ?? [] || all.count < parts.reduce(0, { $0 + $1.count }) {
        return "\(name): counted, left and not held are \(parts.map { $0.sorted() }), asked for "
          + "were \((request.taken[name] ?? []).sorted())"
      }
      let givenUp = request.givenUp[name] ?? []
      if !givenUp.isDisjoint(with: parts[1]) { return "\(name): \(givenUp) is to be read" }
      let wrong = parts[2].subtracting(givenUp).first {
        $0 >= removedBelow[name] ?? 0 && $0 < request.endedAt[name] ?? .max
      }
      if let wrong { return "\(name): \(wrong) is called not held" }
    }
    let state = request.isCancelled ? "cancelled" : left.isEmpty ? "done" : "open"
    let countedCount = Int64(counted.values.reduce(0) { $0 + $1.count })
    if backfill.state != state || backfill.offsetCount != request.count
      || backfill.countedCount != countedCount || (request.isCancelled && !left.isEmpty)
    {
      return "has to be \(state): \(backfill)"
    }
    return nil
  }

  /// Where a run has read history, unless that was to go first, while new messages that it knew of
  /// were waiting.
  private func differenceOfOrder(_ claim: Claim) -> String? {
    let first = Set(claim.backfills.filter(\.goesFirst).map(\.number))
    for batch in claim.batches {
      guard let backfill = batch.backfill, !first.contains(backfill),
        let told = toldAtCommit[batch.number]
      else { continue }
      let read = read(claim) { $0.backfill == nil && $0.number < batch.number }
      for (name, end) in told.sorted(by: { $0.key < $1.key })
      where !claim.undecided.contains(name) {
        let gaps = claim.gaps.map(\.range).filter { $0.partition == name }
        let waiting = (min(starts[name] ?? end, end)..<end).first { offset in
          !(read[name] ?? []).contains(offset) && !gaps.contains { $0.range.contains(offset) }
        }
        if let waiting {
          return "batch \(batch.number) is of history while \(name) \(waiting) waits"
        }
      }
    }
    return nil
  }

  private static func touch(_ ranges: [OffsetRange]) -> Bool {
    zip(ranges, ranges.dropFirst()).contains { $0.to >= $1.from }
  }

  private func differenceOfGaps(_ claim: Claim) -> String? {
    let partitions = Set(skipped.keys).union(passedOver.keys)
      .union(claim.gaps.map(\.range.partition))
    for partition in partitions.sorted() {
      let gaps = claim.gaps.filter { $0.range.partition == partition }
      let claimed = gaps.filter { $0.reason == "skipped" }.map(\.range.range).sorted {
        $0.from < $1.from
      }
      let known = (skipped[partition] ?? []).sorted { $0.from < $1.from }
      if claimed != known {
        return "\(partition): the gaps \(claimed) for what was passed over, \(known)"
      }
      let lost = gaps.filter { $0.reason != "skipped" }.map(\.range.range)
      if let gap = passedOver[partition]?.first(where: { !lost.contains($0) }) {
        return "\(partition): \(gap) was passed over, and no gap says so"
      }
      for gap in gaps
      where gap.reason != "skipped" && gap.range.to > removedBelow[partition] ?? 0
        && !(passedOver[partition] ?? []).contains(gap.range.range)
      {
        return
          "\(gap.range): is called lost where a broker had removed \(removedBelow[partition] ?? 0)"
      }
    }
    return nil
  }

  private func differenceOfBatches(_ claim: Claim, maxOffsets: Int64) -> String? {
    for (index, batch) in claim.batches.enumerated() {
      if batch.number != index + 1 {
        return "batch \(batch.number) is number \(index + 1) in the history"
      }
      let count = batch.ranges.reduce(0) { $0 + $1.count }
      if count < 1 || count > maxOffsets {
        return "batch \(batch.number) took \(count) offsets of at most \(maxOffsets)"
      }
      if batch.offsetCount != count {
        return "batch \(batch.number) says \(batch.offsetCount) offsets for \(count)"
      }
      if Set(batch.ranges.map(\.partition)).count < batch.ranges.count {
        return "batch \(batch.number) names a partition twice"
      }
    }
    let sums = claim.batches.reduce(into: [Int64](repeating: 0, count: 6)) { sums, batch in
      let counts = [
        1, batch.offsetCount, batch.recordCount, batch.countedCount, batch.rejectedCount,
        batch.tombstoneCount,
      ]
      for (index, count) in counts.enumerated() { sums[index] += count }
    }
    let kept = claim.totals.isEmpty ? sums : zip(claim.totals[0], claim.totals[1]).map { $0 - $1 }
    if kept != sums { return "the totals of batches are \(kept), and their rows make \(sums)" }
    return nil
  }

  /// Where the ranges of the batches and the gaps leave an offset out, or take one twice.
  private func uncovered(_ claim: Claim) -> String? {
    let live = ranges(claim) { $0.backfill == nil }
    for (partition, progress) in claim.partitions.sorted(by: { $0.key < $1.key }) {
      let read = live[partition] ?? []
      if read != read.sorted(by: { $0.from < $1.from }) {
        return "\(partition): was not read in the order of its offsets"
      }
      let gaps = claim.gaps.filter { $0.range.partition == partition }.map(\.range.range)
      var covered = progress.start
      for range in (read + gaps).sorted(by: { $0.from < $1.from }) {
        // A person may pass over what is ahead of progress.
        if range.from > covered && covered == progress.next && gaps.contains(range) { break }
        if range.from != covered { return "\(partition): \(range) follows what ends at \(covered)" }
        covered = range.to
      }
      if covered != progress.next {
        return "\(partition): next offset \(progress.next), read or passed over up to \(covered)"
      }
    }
    return nil
  }

  private static func text(_ offset: Offset?) -> String { offset.map(String.init) ?? "no offset" }
}

/// What a checkpoint says of the offsets of its job: by incarnation, but for the ranges of batches.
package struct Claim {
  package struct Progress {
    package var start: Offset
    package var next: Offset
  }
  package struct Gap {
    package var range: PartitionRange
    package var reason: String
  }
  package struct Batch {
    var number: Int64
    package var ranges: [PartitionRange]
    var offsetCount: Int64
    var recordCount: Int64
    var countedCount: Int64
    var rejectedCount: Int64
    var tombstoneCount: Int64
    /// The request that it was of.
    package var backfill: Int64?
    /// By which its records were judged.
    var cutoff: Int64?
  }
  package struct Backfill {
    package var number: Int64
    var goesFirst: Bool
    package var state: String
    var offsetCount: Int64
    var countedCount: Int64
    package var left: [PartitionRange]
    var unheld: [PartitionRange]
  }
  package var partitions: [PartitionID: Progress] = [:]
  package var gaps: [Gap] = []
  /// In the order of their numbers.
  package var batches: [Batch] = []
  package var backfilled: [PartitionRange] = []
  package var backfills: [Backfill] = []
  /// Whose log was replaced, and about which nobody has decided.
  var undecided: Set<PartitionID> = []
  /// Sums over all batches, and over those whose rows are gone.
  var totals: [[Int64]] = []
  /// Windows that end here or before are called final.
  var cutoff: Int64?
  /// Windows that end here or before take nothing any more.
  var horizon: Int64?
  /// Windows that have state, that have groups, and whose state was evicted.
  var windows: Set<Int64> = []
  var windowsWithGroups: Set<Int64> = []
  var evicted: [Int64: Tombstone] = [:]
  /// The plan that the newest commit has stored.
  var inFlight: (batch: Int64, ranges: [PartitionRange])?

  /// 0 before the first.
  package var newestBatch: Int64 { batches.last?.number ?? 0 }

  /// Of a file that is not made yet.
  package static let none = Claim()
}

extension PartitionID {
  /// The second incarnation of `a[0]` is called `a#2[0]`.
  func incarnation(_ number: Int64) -> PartitionID {
    number == 1
      ? self : PartitionID(source: source, topic: "\(topic)#\(number)", partition: partition)
  }
}
