import Offsets

/// What the simulation knows by itself of the offsets of a history: where each partition has to
/// start, which offsets a broker had removed when it was asked, and which ones a person passed
/// over.
///
/// The fakes and the person report facts; the checkpoint is held against them and never believed. A
/// crash takes the account back to what it was at that instant, together with everything else that
/// the process had done.
struct Account {
  /// `source.start` of the job file.
  enum Start: CaseIterable { case earliest, latest, timestamp }

  /// What a broker told of a partition.
  struct Answer {
    var low: Offset
    var end: Offset
    /// The first offset at or after the job's start time, or the end.
    var atStartTime: Offset
  }

  let start: Start
  /// Of every partition whose start has become durable.
  private(set) var starts: [PartitionID: Offset] = [:]
  /// What a person passed over, as it was asked for.
  private(set) var skipped: [PartitionID: [OffsetRange]] = [:]
  /// The largest "oldest offset held" that a broker has told of.
  private(set) var removedBelow: [PartitionID: Offset] = [:]
  /// Whose rejects a person has accepted.
  private(set) var accepted: [PartitionRange] = []
  /// What a person asked to have counted after all, as far as it lay behind progress then, and has
  /// not cancelled.
  private(set) var asked: [PartitionID: Set<Offset>] = [:]
  /// Of the run at hand, and of partitions whose start is not durable yet.
  private var answers: [PartitionID: Answer] = [:]

  init(start: Start) { self.start = start }

  /// Whether a start was looked up that nothing on disk can hold yet.
  var hasPendingStarts: Bool { !answers.isEmpty }

  // MARK: - Facts

  /// What a dead or failed run was told and had not stored is gone.
  mutating func beginRun() { answers = [:] }

  mutating func answered(_ partition: PartitionID, _ answer: Answer) {
    removed(partition, below: answer.low)
    if starts[partition] == nil { answers[partition] = answer }
  }

  /// A broker said that it no longer holds what lies below an offset.
  mutating func removed(_ partition: PartitionID, below offset: Offset) {
    removedBelow[partition] = max(removedBelow[partition] ?? 0, offset)
  }

  mutating func skip(_ range: PartitionRange) {
    skipped[range.partition, default: []].append(range.range)
  }

  /// - Parameter next: Progress.
  mutating func ask(_ range: PartitionRange, next: Offset) {
    let end = max(range.from, min(range.to, next))
    asked[range.partition, default: []].formUnion(range.from..<end)
  }

  /// A person cancels what a request has left; what it has counted stays asked for.
  mutating func cancel(_ left: [PartitionRange]) {
    for range in left { asked[range.partition]?.subtract(range.from..<range.to) }
  }

  mutating func accept(_ ranges: [PartitionRange]) { accepted += ranges }

  /// The run has made something durable. The first such step after an answer stores the start,
  /// which holds for ever: of a topic met for the first time by the job's rule, of a partition
  /// added to a known topic its oldest offset.
  mutating func becameDurable() {
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
  func difference(from claim: Claim, maxOffsets: Int64) -> String? {
    for partition in Set(starts.keys).union(claim.partitions.keys).sorted() {
      let (known, claimed) = (starts[partition], claim.partitions[partition]?.start)
      if known != claimed {
        return
          "\(partition): starts at \(Self.text(claimed)) and has to start at \(Self.text(known))"
      }
    }
    return differenceOfGaps(claim) ?? differenceOfBatches(claim, maxOffsets: maxOffsets)
      ?? uncovered(claim) ?? differenceOfBackfills(claim)
  }

  /// Every offset that was asked for is counted once, or still to be counted, or was removed by a
  /// broker; and no other offset is backfilled.
  private func differenceOfBackfills(_ claim: Claim) -> String? {
    for (partition, _) in claim.partitions.sorted(by: { $0.key < $1.key }) {
      func offsets(_ ranges: [PartitionRange]) -> [Offset] {
        ranges.filter { $0.partition == partition }.flatMap { $0.from..<$0.to }
      }
      let asked = asked[partition] ?? []
      let read = offsets(claim.batches.flatMap(\.ranges))
      if Set(read).count < read.count { return "\(partition): offsets are in two batches: \(read)" }
      let counted = Set(offsets(claim.batches.filter { $0.backfill != nil }.flatMap(\.ranges)))
      let table = claim.backfilled.filter { $0.partition == partition }.map(\.range).sorted {
        $0.from < $1.from
      }
      if Set(offsets(claim.backfilled)) != counted || Self.touch(table) {
        return "\(partition): \(table) are called backfilled, and batches read \(counted.sorted())"
      }
      let left = offsets(claim.backfills.flatMap(\.left))
      if Set(left).count < left.count { return "\(partition): \(left) are asked for twice" }
      if !Set(left).isSubset(of: asked) || !Set(left).isDisjoint(with: read) {
        return "\(partition): \(left) are left of \(asked.sorted())"
      }
      if let stranger = counted.subtracting(asked).min() {
        return "\(partition): nobody asked for the backfill of \(stranger)"
      }
      let missing = asked.subtracting(read).subtracting(left)
      if let lost = missing.max(), lost >= removedBelow[partition] ?? 0 {
        return "\(partition): the backfill of \(lost) was asked for and is gone"
      }
    }
    for backfill in claim.backfills {
      let counts = [backfill.left, backfill.unheld].map { $0.reduce(0) { $0 + $1.count } }
      let isOpen = backfill.state == "open"
      let sum = backfill.countedCount + counts[0] + counts[1]
      if isOpen != (counts[0] > 0)
        || (backfill.state == "cancelled"
          ? sum > backfill.offsetCount : sum != backfill.offsetCount)
      {
        return "backfill \(backfill.number) is \(backfill.state): \(backfill)"
      }
    }
    return nil
  }

  private static func touch(_ ranges: [OffsetRange]) -> Bool {
    zip(ranges, ranges.dropFirst()).contains { $0.to >= $1.from }
  }

  private func differenceOfGaps(_ claim: Claim) -> String? {
    for partition in Set(skipped.keys).union(claim.gaps.map(\.range.partition)).sorted() {
      let gaps = claim.gaps.filter { $0.range.partition == partition }
      let claimed = gaps.filter { $0.reason == "skipped" }.map(\.range.range).sorted {
        $0.from < $1.from
      }
      let known = (skipped[partition] ?? []).sorted { $0.from < $1.from }
      if claimed != known {
        return "\(partition): the gaps \(claimed) for what was passed over, \(known)"
      }
      for gap in gaps
      where gap.reason != "skipped" && gap.range.to > removedBelow[partition] ?? 0 {
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
    return nil
  }

  /// Where the ranges of the batches and the gaps leave an offset out, or take one twice.
  private func uncovered(_ claim: Claim) -> String? {
    for (partition, progress) in claim.partitions.sorted(by: { $0.key < $1.key }) {
      let read = claim.batches.filter { $0.backfill == nil }.flatMap(\.ranges)
        .filter { $0.partition == partition }.map(\.range)
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

/// What a checkpoint says of the offsets of its job.
struct Claim {
  struct Progress {
    var start: Offset
    var next: Offset
  }
  struct Gap {
    var range: PartitionRange
    var reason: String
  }
  struct Batch {
    var number: Int64
    var ranges: [PartitionRange]
    var offsetCount: Int64
    var recordCount: Int64
    var countedCount: Int64
    var rejectedCount: Int64
    /// The request that it was of.
    var backfill: Int64?
  }
  struct Backfill {
    var number: Int64
    var state: String
    var offsetCount: Int64
    var countedCount: Int64
    var left: [PartitionRange]
    var unheld: [PartitionRange]
  }
  var partitions: [PartitionID: Progress] = [:]
  var gaps: [Gap] = []
  /// In the order of their numbers.
  var batches: [Batch] = []
  var backfilled: [PartitionRange] = []
  var backfills: [Backfill] = []
}
