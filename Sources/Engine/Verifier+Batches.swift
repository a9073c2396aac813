internal import Checkpoints
internal import Expressions
internal import Formats
internal import Jobs
internal import Offsets
internal import Tables
internal import Windows

/// Batches that were read under the same settings.
struct BatchStretch {
  let from: Int64
  /// The job as it was then.
  let job: Job
  /// Else `select` is today's.
  let knowsSelect: Bool
  /// Whether the settings are those of a later run, as an older release noted none.
  let isAssumed: Bool
  /// The number of the job's definition then.
  let definition: Int64
  /// Whether the job can be made again as it was: else it is today's, and says nothing.
  let isKnown: Bool

  /// - Returns: At least one; the first is that of the first batch.
  static func all(
    of job: Job, _ settings: [(from: Int64, settings: BatchSettings)],
    _ definitions: StoredDefinitions
  ) -> [BatchStretch] {
    let starts = Set([1] + settings.map(\.from) + definitions.all.map(\.firstBatch))
    return starts.sorted().map { from in
      let number = definitions.number(ofBatch: from)
      let defined = definitions.job(number, of: job)
      let noted = settings.last { $0.from <= from }?.settings
      let base = defined ?? job
      var (then, knowsSelect) = noted?.applied(to: base) ?? (base, true)
      // Its select may name columns that today's job lacks.
      if defined == nil { (then, knowsSelect) = (then.with(select: []), false) }
      return BatchStretch(
        from: from, job: then, knowsSelect: knowsSelect, isAssumed: noted?.isAssumed ?? true,
        definition: number, isKnown: defined != nil)
    }
  }
}

/// Every batch of the history, read again by its own ranges and its own settings.
extension Verifier {
  /// What some offsets give.
  private struct Outcome {
    var recordCount: Int64 = 0
    var countedCount: Int64 = 0
    var byteCount: Int64 = 0
    var rejects: [StoredReject] = []
    var tombstoneCount: Int64 = 0
    /// Of a row job's or a batch window's batch; nil where it is too large now.
    var result: [UInt8]?
    /// Offsets without a message.
    var holes: [PartitionID: OffsetRangeSet] = [:]

    /// Whether a batch's offsets hold less than when they were counted.
    func isThinner(than batch: VerificationCopy.Batch) -> Bool {
      if let byteCount = batch.byteCount { return self.byteCount < byteCount }
      return recordCount + Int64(rejects.count) + tombstoneCount
        < batch.recordCount + batch.rejectedCount + batch.tombstoneCount
    }
  }

  /// A stretch's way from messages to what is committed.
  private final class Way {
    let stretch: BatchStretch
    let pipeline: BatchPipeline
    /// Of what it folds; nil for jobs that keep no state.
    let layout: StateLayout?

    init(_ stretch: BatchStretch, _ options: RunOptions) throws(ExpressionError) {
      self.stretch = stretch
      let job = stretch.job.forVerification
      layout = job.window.keepsState ? job.stateLayout : nil
      pipeline = try BatchPipeline(
        job, options, Stopwatch(clock: options.nanoseconds), accepted: [],
        history: { _, _ in Checkpoint.RejectHistory() })
    }
  }

  private func stretch(of batch: Int64) -> BatchStretch {
    stretches.last { $0.from <= batch } ?? stretches[0]
  }

  func foldAgain() throws {
    let all = try copy.history()
    var history = HistoryAccount(counted: counted, firstBatches: try firstBatches(), all)
    // Batches before the oldest one that is kept were read under the first settings.
    var way = try Way(stretches[0], options)
    var next: Int64 = 1
    while true {
      let batches = try copy.batches(from: next, limit: Self.batchesAtOnce)
      guard let last = batches.last else { break }
      for batch in batches {
        let (ranges, findings) = history.take(batch)
        if scope == .all { report.findings.append(findings) }
        let stretch = stretch(of: batch.number)
        if stretch.from != way.stretch.from { way = try Way(stretch, options) }
        try fold(batch, ranges, way)
      }
      next = last.number + 1
    }
    if scope == .all { report.findings.append(history.close(at: copy.nextBatch)) }
    try foldUncovered(history, areUncertain: haveLimitsChanged(below: all.mayBePrunedBelow))
  }

  private func haveLimitsChanged(below batch: Int64) -> Bool {
    let before = stretches.filter { $0.from < batch }.map { BatchSettings($0.job).ofRecords }
    return Set(before).count > 1
  }

  private func firstBatches() throws -> [PartitionID: Int64] {
    var walk = FirstBatches(copy.ledgers, formerLogs: copy.formerLogs)
    if walk.isEmpty { return [:] }
    var below = copy.nextBatch
    while true {
      let batches = try copy.batches(below: below, limit: Self.batchesAtOnce)
      guard let last = batches.last else { return walk.batches }
      for batch in batches { walk.take(batch) }
      below = last.number
    }
  }

  /// - Parameter ranges: What no batch before has read.
  private func fold(
    _ batch: VerificationCopy.Batch, _ ranges: [PartitionRange], _ way: Way
  ) throws {
    guard way.stretch.isKnown else {
      for range in ranges { leaveOut(OffsetRangeSet([range.range]), of: range.partition) }
      if isChosen(batch: batch.number) {
        report.notCompared.append(NotCompared("batch \(batch.number)", .otherDefinition))
      }
      return
    }
    // More than once only where a broker removes offsets meanwhile.
    while true {
      let readable = ranges.flatMap { range in
        OffsetRangeSet([range.range]).intersection(wanted[range.partition] ?? OffsetRangeSet())
          .intersection(OffsetRangeSet([held(range.partition)]))
          .subtracting(read[range.partition] ?? OffsetRangeSet()).ranges
          .map { PartitionRange(range.partition, $0) }
      }
      if readable.isEmpty { return try compareRejects(of: batch, Outcome(), in: []) }
      do {
        var outcome = try fold(readable, batch: batch.number, batch.cutoff, way)
        let isWhole = readable == batch.ranges
        if isWhole && !outcome.isThinner(than: batch) { outcome.holes = [:] }
        note(outcome.holes, in: readable)
        if isWhole { try compare(batch, outcome, way.stretch) }
        return try compareRejects(of: batch, outcome, in: readable)
      } catch let error as SourceError {
        guard case .truncated = error.code else { throw error }
        try askEndsAgain(readable)
      }
    }
  }

  /// - Parameter holes: Offsets that may have held messages when they were counted.
  private func note(_ holes: [PartitionID: OffsetRangeSet], in ranges: [PartitionRange]) {
    for range in ranges where holes[range.partition]?.range(meeting: range.range) != nil {
      thinned[range.partition, default: OffsetRangeSet()].insert(range.range)
    }
  }

  private func askEndsAgain(_ ranges: [PartitionRange]) throws {
    for (name, ranges) in BatchPlan.bySource(ranges) {
      ends.merge(try source(name).ends(of: ranges.map(\.partition))) { $1 }
    }
  }

  /// What the checkpoint calls counted and no batch of the history has read.
  ///
  /// - Parameter areUncertain: Whether batches that are gone were read under several settings.
  private func foldUncovered(
    _ history: HistoryAccount, areUncertain: Bool
  ) throws {
    for (partition, wanted) in wanted.sorted(by: { $0.key < $1.key }) {
      let covered = history.covered[partition] ?? OffsetRangeSet()
      let left = wanted.subtracting(covered)
      let missing = history.missing(partition, of: left)
      self.missing[partition] = missing
      for range in missing.ranges {
        report.findings.append(.missing(PartitionRange(partition, range)))
      }
      if let end = ends[partition]?.end, endsOfFormerLogs[partition] ?? 0 < end {
        let inLog = OffsetRangeSet([OffsetRange(from: 0, to: end)])
        for range in wanted.intersection(covered).subtracting(inLog).ranges {
          report.findings.append(.beyondEnd(PartitionRange(partition, range), end: end))
        }
      }
      let pruned = left.subtracting(missing)
      if areUncertain { uncertain[partition] = pruned }
      try fold(pruned, of: partition, areMissing: false)
      try fold(missing, of: partition, areMissing: true)
    }
  }

  /// Under the definitions that their offsets tell, and the first settings.
  private func fold(
    _ offsets: OffsetRangeSet, of partition: PartitionID, areMissing: Bool
  ) throws {
    let (known, unknown) = byDefinition(offsets, of: partition)
    leaveOut(unknown, of: partition)
    for (number, offsets) in known {
      if let stretch = stretches.first(where: { $0.definition == number }), stretch.isKnown {
        try fold(offsets, of: partition, areMissing: areMissing, try Way(stretch, options))
      } else {
        leaveOut(offsets, of: partition)
      }
    }
  }

  /// In pieces of a batch's size.
  private func fold(
    _ offsets: OffsetRangeSet, of partition: PartitionID, areMissing: Bool, _ way: Way
  ) throws {
    for range in offsets.intersection(OffsetRangeSet([held(partition)])).ranges {
      var from = range.from
      while from < range.to {
        let to = min(range.to, from + job.maxOffsets)
        let piece = [PartitionRange(partition, OffsetRange(from: from, to: to))]
        unjudged[partition, default: OffsetRangeSet()].insert(piece[0].range)
        let outcome = try fold(
          piece, batch: copy.nextBatch, Cutoff(), areMissing: areMissing, way)
        note(outcome.holes, in: piece)
        from = to
      }
    }
  }

  /// Folds ranges, in pieces where they hold more than `limits.batch_bytes` allows now.
  ///
  /// - Parameters:
  ///   - ranges: Ascending by partition; several of one where others have read what is between.
  ///   - areMissing: Whether they count as missing, whatever their messages are.
  private func fold(
    _ ranges: [PartitionRange], batch: Int64, _ cutoff: Cutoff, areMissing: Bool = false, _ way: Way
  ) throws -> Outcome {
    var outcome = Outcome()
    var pieces = Self.pieces(ranges)
    while let piece = pieces.popLast() {
      let folded = try foldOnce(
        BatchPlan(batch: batch, ranges: piece), cutoff, areMissing: areMissing, way,
        &outcome.holes)
      let plan = folded.plan
      outcome.recordCount += folded.recordCount
      outcome.countedCount += folded.countedCount
      outcome.byteCount += folded.byteCount
      outcome.tombstoneCount += folded.tombstoneCount
      outcome.rejects += folded.rejects.map { reject in
        StoredReject(
          batch: batch, partition: plan.ranges[reject.partitionIndex].partition,
          offset: reject.offset,
          record: reject.record, reason: reject.reason.rawValue, field: reject.field,
          raw: reject.raw, key: reject.key, timestampMilliseconds: reject.timestampMilliseconds,
          headers: reject.headers)
      }
      if plan.ranges == ranges { outcome.result = folded.result?.bytes }
      let left = Self.rest(of: piece, after: plan)
      if !left.isEmpty { pieces.append(left) }
    }
    outcome.rejects.sort {
      ($0.partition, $0.offset, $0.record) < ($1.partition, $1.offset, $1.record)
    }
    return outcome
  }

  /// A plan holds one range of each partition.
  private static func pieces(_ ranges: [PartitionRange]) -> [[PartitionRange]] {
    var pieces: [[PartitionRange]] = []
    for range in ranges {
      let index = pieces.firstIndex { piece in
        !piece.contains { $0.partition == range.partition }
      }
      if let index { pieces[index].append(range) } else { pieces.append([range]) }
    }
    return pieces
  }

  /// What a batch has left that was full before its end.
  private static func rest(of ranges: [PartitionRange], after plan: BatchPlan) -> [PartitionRange] {
    ranges.map { range in
      let read = plan.ranges.first { $0.partition == range.partition }
      return PartitionRange(
        range.partition, OffsetRange(from: read?.to ?? range.from, to: range.to))
    }.filter { !$0.isEmpty }
  }

  private func foldOnce(
    _ plan: BatchPlan, _ cutoff: Cutoff, areMissing: Bool, _ way: Way,
    _ holes: inout [PartitionID: OffsetRangeSet]
  ) throws -> BatchPipeline.Outcome {
    let pipeline = way.pipeline
    for (name, ranges) in plan.rangesBySource { try source(name).prepare(Array(ranges)) }
    var messages: [MessagesOfRange] = []
    let outcome = try pipeline.process(plan, next: nil, cutoff: cutoff) { left, body in
      messages = left.map { MessagesOfRange($0.range) }
      for (name, ranges) in BatchPlan.bySource(left) {
        try source(name).read(Array(ranges)) { lent in
          try stopIfAsked()
          let lent = lent.shifted(by: ranges.startIndex)
          if case .ofRange(let index, let lent) = lent {
            for message in lent { messages[index].take(message.offset) }
          }
          try body(lent)
        }
      }
    }
    let whole = plan
    let plan = outcome.plan
    if let delta = outcome.delta, let layout = way.layout {
      do { try copy.fold(delta, in: layout, of: plan.ranges) } catch {
        // Only of the newest definition it is known which of its measures is meant.
        guard way.stretch.definition == definitions.history.newest else { throw error }
        throw pipeline.diagnose(error, plan) ?? error
      }
    }
    for (range, counts) in zip(plan.ranges, pipeline.messageCounts) {
      read[range.partition, default: OffsetRangeSet()].insert(range.range)
      if let index = whole.ranges.firstIndex(where: { $0.partition == range.partition }) {
        let found = OffsetRangeSet(messages[index].allHoles)
          .intersection(OffsetRangeSet([range.range]))
        for hole in found.ranges {
          holes[range.partition, default: OffsetRangeSet()].insert(hole)
        }
      }
      if areMissing { continue }
      accounts[range.partition]?.messages.add(counts)
      accounts[range.partition]?.holes += range.count - counts.sum
    }
    return outcome
  }

  /// Between which offsets a range holds no message.
  private struct MessagesOfRange {
    private var holes: [OffsetRange] = []
    private var next: Offset
    private let end: Offset

    init(_ range: OffsetRange) { (next, end) = (range.from, range.to) }

    mutating func take(_ offset: Offset) {
      if offset > next { holes.append(OffsetRange(from: next, to: offset)) }
      next = offset + 1
    }

    var allHoles: [OffsetRange] {
      next < end ? holes + [OffsetRange(from: next, to: end)] : holes
    }
  }

  // MARK: - What a batch gives

  private func compare(
    _ batch: VerificationCopy.Batch, _ found: Outcome, _ stretch: BatchStretch
  ) throws {
    let isThinned = !found.holes.isEmpty
    let counts: [(BatchCountName, held: Int64, found: Int64)] = [
      (.records, batch.recordCount, found.recordCount),
      (.counted, batch.countedCount, found.countedCount),
      // What source.tombstones was then is not known: they were the one or the other.
      (
        .rejected, batch.rejectedCount,
        Int64(found.rejects.count) + found.tombstoneCount - batch.tombstoneCount
      ),
    ]
    for (name, held, found) in counts where isThinned ? found > held : found != held {
      report.findings.append(
        .batchCount(batch: batch.number, name, held: held, found: found))
    }
    if isThinned { return }
    report.batchCount += 1
    if job.window.keepsState { return }
    // Where one object shows the newest batch, the others have none.
    let keys = ObjectKeys.results(ofBatch: batch.number, stretch.job.output.format)
    let known = try keys.lazy.compactMap { try copy.reader.object($0) }.first {
      $0.output.kind == .batch && $0.output.number == batch.number
    }
    guard let known else { return }
    guard let result = found.result else {
      return report.notCompared.append(NotCompared(known.output.objectKey, .tooLarge))
    }
    comparedBatches.insert(OffsetRange(from: batch.number, to: batch.number + 1))
    guard isComparable(known) else { return }
    if stretch.knowsSelect {
      try compare(known, renderedAs: result, by: stretch.job, isAssumed: stretch.isAssumed)
    } else if try compareAsPublished(known) {
      report.notCompared.append(NotCompared(known.output.objectKey, .otherSettings))
    }
  }

  /// Where rejects of a batch are kept, it has an object of them.
  ///
  /// - Parameter ranges: What was read of the batch.
  private func compareRejects(
    of batch: VerificationCopy.Batch, _ found: Outcome, in ranges: [PartitionRange]
  ) throws {
    if ranges.isEmpty && !isChosen(batch: batch.number) { return }
    let held = try copy.rejects(ofBatch: batch.number)
    let key = ObjectKeys.rejects(batch: batch.number)
    guard try !held.isEmpty || (!ranges.isEmpty && copy.reader.object(key) != nil) else { return }
    // Where the batch passed over tombstones, or may have kept them otherwise than a run does now.
    let leavesOutTombstones = job.tombstones == .skip || batch.tombstoneCount > 0
    // Late records are kept where others were dropped.
    let areOnlyLateKept = job.rejects.policy == .drop && held.allSatisfy(\.isLate)
    func isCompared(_ reject: StoredReject) -> Bool {
      if areOnlyLateKept && !reject.isLate { return false }
      return !leavesOutTombstones || reject.reason != Reject.Reason.nullValue.rawValue
    }
    let readable = held.filter { reject in
      found.holes[reject.partition]?.contains(reject.offset) != true
        && ranges.contains {
          $0.partition == reject.partition && $0.range.contains(reject.offset)
        }
    }
    if readable.count < held.count && isChosen(batch: batch.number) {
      unprovableRejects.append("rejects of batch \(batch.number)")
    }
    let compared = readable.filter(isCompared)
    report.rejectCount += Int64(compared.count)
    report.findings.append(
      rejectFindings(
        batch: batch.number, held: compared, found: found.rejects.filter(isCompared)))
  }
}
