package import Checkpoints
internal import Expressions
internal import Formats
package import Jobs
package import ObjectStorage
internal import Offsets
internal import Tables
package import Windows

/// Reads again what a job has counted, folds it beside the state on a copy of the checkpoint, and
/// holds state, history, rejects and objects against it. Writes to nothing but the copy.
///
/// It differs from a run in the plan, which is that of the history, and in where the delta goes.
package final class Verifier {
  /// What is looked at.
  package enum Scope: Sendable, Equatable {
    case all
    /// These windows, of whose offsets the ones between the smallest and the largest are read.
    case windows([Window])
    /// Single batches, of jobs that keep no state.
    case batches([Int64])
  }

  let job: Job
  let copy: VerificationCopy
  let live: CheckpointReader
  private let sources: [String: any MessageSource]
  let store: any ObjectStore
  let options: RunOptions
  let scope: Scope
  let isDeep: Bool
  let renderer: Renderer
  let renderedBy: String
  var report: Verification

  /// What is counted of each partition, and of it what is looked at.
  private var counted: [PartitionID: OffsetRangeSet] = [:]
  private var wanted: [PartitionID: OffsetRangeSet] = [:]
  private var ends: [PartitionID: PartitionEnd] = [:]
  private var endsOfFormerLogs: [PartitionID: Offset] = [:]
  /// What the checkpoint calls counted and no batch of its history has read.
  private var missing: [PartitionID: OffsetRangeSet] = [:]
  /// What was folded again without the cutoff by which it was judged: its batch is not kept.
  private var unjudged: [PartitionID: OffsetRangeSet] = [:]
  /// Which windows are final, by the job file.
  private let cutoff: Cutoff
  /// What was folded again.
  private var read: [PartitionID: OffsetRangeSet] = [:]
  private var accounts: [PartitionID: PartitionAccount] = [:]
  /// Numbers of batches whose own object was held against their messages.
  private(set) var comparedBatches = OffsetRangeSet()
  private(set) var changes: Set<ChangeEffect> = []

  /// - Parameters:
  ///   - copy: Made of `live` just now.
  ///   - sources: One per cluster of the job.
  /// - Throws: `ExpressionError`, `CheckpointError`.
  package init(
    job: Job, copy: VerificationCopy, live: CheckpointReader, sources: [any MessageSource],
    store: any ObjectStore, options: RunOptions, scope: Scope = .all, isDeep: Bool = false
  ) throws {
    self.job = job
    self.copy = copy
    self.live = live
    self.sources = Dictionary(uniqueKeysWithValues: sources.map { ($0.source, $0) })
    self.store = store
    self.options = options
    self.scope = scope
    self.isDeep = isDeep
    renderer = try Renderer(job, inputSchema: job.selectInputSchema, release: options.release)
    renderedBy = Renderer.renderedBy(release: options.release)
    report = Verification(job: job.name, batch: copy.nextBatch - 1)
    cutoff = try copy.reader.cutoff(of: job)
    changes = Set(try copy.reader.changes(for: job).map(\.effect))
  }

  /// - Throws: What keeps it from being done at all: brokers or a store that do not answer, a
  ///   damaged file.
  package func verify() throws -> Verification {
    for (partition, ledger) in copy.ledgers {
      counted[partition] = ledger.counted
      accounts[partition] = PartitionAccount(partition: partition)
    }
    wanted = try offsetsOfScope()
    try discover()
    try foldAgain()
    try compareState()
    try compareObjects()
    try close()
    return report
  }

  // MARK: - What can be read

  private func discover() throws {
    endsOfFormerLogs = try copy.endsOfFormerLogs()
    for cluster in job.clusters {
      let source = source(cluster.name)
      try askEnds(of: cluster, source)
      if let clusterID = try source.clusterID() {
        try copy.confirmCluster(source: cluster.name, clusterID: clusterID)
      }
    }
    for (partition, fingerprint) in copy.fingerprints {
      guard let end = ends[partition] else { continue }
      if try isReplaced(partition, fingerprint, end) { endsOfFormerLogs[partition] = .max }
    }
  }

  /// Whether other messages stand where the job has read.
  private func isReplaced(
    _ partition: PartitionID, _ fingerprint: Fingerprint, _ end: PartitionEnd
  ) throws -> Bool {
    if fingerprint.offset >= end.end { return true }
    if fingerprint.offset < end.low { return false }
    let range = PartitionRange(
      partition, OffsetRange(from: fingerprint.offset, to: fingerprint.offset + 1))
    return try Engine.isReplaced(fingerprint) { body in
      try source(partition.source).read([range]) { lent in
        try stopIfAsked()
        body(lent.messages)
      }
    }
  }

  /// A topic that is gone holds nothing.
  private func askEnds(of cluster: Job.Cluster, _ source: any MessageSource) throws {
    for topic in cluster.topics {
      let partitions: [PartitionID]
      do {
        let count = try source.partitionCounts(of: [topic])[topic] ?? 0
        partitions = (0..<count).map {
          PartitionID(source: cluster.name, topic: topic, partition: $0)
        }
      } catch {
        guard error.code == .unknownTopic else { throw error }
        continue
      }
      ends.merge(try source.ends(of: partitions.filter { copy.ledgers[$0] != nil })) { $1 }
    }
  }

  private func source(_ name: String) -> any MessageSource {
    guard let source = sources[name] else { preconditionFailure("no source \(name) was wired") }
    return source
  }

  /// What the brokers hold of the log that was counted.
  private func held(_ partition: PartitionID) -> OffsetRange {
    guard let end = ends[partition] else { return OffsetRange(from: 0, to: 0) }
    let low = min(end.end, max(end.low, endsOfFormerLogs[partition] ?? 0))
    return OffsetRange(from: low, to: end.end)
  }

  func stopIfAsked() throws { if options.isStopRequested() { throw Stopped() } }

  private struct Stopped: Error {}

  // MARK: - What is looked at

  private func offsetsOfScope() throws -> [PartitionID: OffsetRangeSet] {
    var chosen: [PartitionID: OffsetRangeSet] = [:]
    switch scope {
    case .all: return counted
    case .windows(let windows):
      for pane in windows.flatMap({ job.window.panes(of: $0) }) {
        guard let found = try copy.panes(from: pane.number, limit: 1).first, found.pane == pane
        else { continue }
        for part in found.parts where !part.isOfFormerLog {
          guard let held = part.held else { continue }
          chosen[part.partition, default: OffsetRangeSet()].insert(
            OffsetRange(from: held.smallestOffset, to: held.largestOffset + 1))
        }
      }
    case .batches(let numbers):
      for number in numbers {
        for range in try copy.batches(from: number, limit: 1).flatMap(\.ranges) {
          chosen[range.partition, default: OffsetRangeSet()].insert(range.range)
        }
      }
    }
    return chosen.reduce(into: [:]) { result, entry in
      result[entry.key] = entry.value.intersection(counted[entry.key] ?? OffsetRangeSet())
    }
  }

  private func isChosen(_ pane: Pane) -> Bool {
    guard case .windows(let windows) = scope else { return true }
    return job.window.windows(showing: pane).contains { windows.contains($0) }
  }

  // MARK: - Folding again

  static let batchesAtOnce = 256

  private func foldAgain() throws {
    let pipeline = try BatchPipeline(
      job.forVerification, options, Stopwatch(clock: options.nanoseconds), accepted: [],
      history: { _, _ in Checkpoint.RejectHistory() })
    var history = HistoryAccount(
      counted: counted, firstBatches: try firstBatches(), try copy.history())
    var next: Int64 = 1
    while true {
      let batches = try copy.batches(from: next, limit: Self.batchesAtOnce)
      guard let last = batches.last else { break }
      for batch in batches {
        let (ranges, findings) = history.take(batch)
        if scope == .all { report.findings.append(findings) }
        try fold(batch, ranges, pipeline)
      }
      next = last.number + 1
    }
    if scope == .all { report.findings.append(history.close(at: copy.nextBatch)) }
    try foldUncovered(history, pipeline)
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
    _ batch: VerificationCopy.Batch, _ ranges: [PartitionRange], _ pipeline: BatchPipeline
  ) throws {
    // More than once only where a broker removes offsets meanwhile.
    while true {
      let readable = ranges.flatMap { range in
        OffsetRangeSet([range.range]).intersection(wanted[range.partition] ?? OffsetRangeSet())
          .intersection(OffsetRangeSet([held(range.partition)])).ranges
          .map { PartitionRange(range.partition, $0) }
      }
      if readable.isEmpty { return }
      let isWhole = readable == batch.ranges
      do {
        let outcome = try fold(readable, batch: batch.number, batch.cutoff, pipeline)
        if isWhole { try compare(batch, outcome) }
        try compareRejects(of: batch, outcome.rejects, in: readable)
        return
      } catch let error as SourceError {
        guard case .truncated = error.code else { throw error }
        try askEndsAgain(readable)
      }
    }
  }

  private func askEndsAgain(_ ranges: [PartitionRange]) throws {
    for (name, ranges) in BatchPlan.bySource(ranges) {
      ends.merge(try source(name).ends(of: ranges.map(\.partition))) { $1 }
    }
  }

  /// What the checkpoint calls counted and no batch of the history has read.
  private func foldUncovered(
    _ history: HistoryAccount, _ pipeline: BatchPipeline
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
      try fold(left.subtracting(missing), of: partition, areMissing: false, pipeline)
      try fold(missing, of: partition, areMissing: true, pipeline)
    }
  }

  /// In pieces of a batch's size.
  private func fold(
    _ offsets: OffsetRangeSet, of partition: PartitionID, areMissing: Bool,
    _ pipeline: BatchPipeline
  ) throws {
    for range in offsets.intersection(OffsetRangeSet([held(partition)])).ranges {
      var from = range.from
      while from < range.to {
        let to = min(range.to, from + job.maxOffsets)
        let range = OffsetRange(from: from, to: to)
        unjudged[partition, default: OffsetRangeSet()].insert(range)
        _ = try fold(
          [PartitionRange(partition, range)], batch: copy.nextBatch, Cutoff(),
          areMissing: areMissing, pipeline)
        from = to
      }
    }
  }

  /// What some offsets give.
  private struct Outcome {
    var recordCount: Int64 = 0
    var countedCount: Int64 = 0
    var rejects: [StoredReject] = []
    var tombstoneCount: Int64 = 0
    /// Of a row job's or a batch window's batch; nil where it is too large now.
    var result: [UInt8]?
  }

  /// Folds ranges, in pieces where they hold more than `limits.batch_bytes` allows now.
  ///
  /// - Parameters:
  ///   - ranges: Ascending by partition; several of one where others have read what is between.
  ///   - areMissing: Whether they count as missing, whatever their messages are.
  private func fold(
    _ ranges: [PartitionRange], batch: Int64, _ cutoff: Cutoff, areMissing: Bool = false,
    _ pipeline: BatchPipeline
  ) throws -> Outcome {
    var outcome = Outcome()
    var pieces = Self.pieces(ranges)
    while let piece = pieces.popLast() {
      do {
        let plan = BatchPlan(batch: batch, ranges: piece)
        let folded = try foldOnce(plan, cutoff, areMissing: areMissing, pipeline)
        outcome.recordCount += folded.recordCount
        outcome.countedCount += folded.countedCount
        outcome.tombstoneCount += folded.tombstoneCount
        outcome.rejects += folded.rejects.map { reject in
          StoredReject(
            batch: batch, partition: plan.ranges[reject.partitionIndex].partition,
            offset: reject.offset,
            record: reject.record, reason: reject.reason.rawValue, field: reject.field,
            raw: reject.raw, key: reject.key, timestampMilliseconds: reject.timestampMilliseconds,
            headers: reject.headers)
        }
        if piece == ranges { outcome.result = folded.result?.bytes }
      } catch is BatchPipeline.TooLarge {
        pieces += Self.halves(piece)
      }
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

  private static func halves(_ ranges: [PartitionRange]) -> [[PartitionRange]] {
    let middles = ranges.map { $0.from + $0.count / 2 }
    let first = zip(ranges, middles).map {
      PartitionRange($0.partition, OffsetRange(from: $0.from, to: $1))
    }
    let second = zip(ranges, middles).map {
      PartitionRange($0.partition, OffsetRange(from: $1, to: $0.to))
    }
    return [first, second].map { $0.filter { !$0.isEmpty } }.filter { !$0.isEmpty }
  }

  private func foldOnce(
    _ plan: BatchPlan, _ cutoff: Cutoff, areMissing: Bool, _ pipeline: BatchPipeline
  ) throws -> BatchPipeline.Outcome {
    for (name, ranges) in plan.rangesBySource { try source(name).prepare(Array(ranges)) }
    var messageCounts: [Int64] = []
    let outcome = try pipeline.process(plan, next: nil, cutoff: cutoff) { left, body in
      messageCounts = Array(repeating: 0, count: left.count)
      for (name, ranges) in BatchPlan.bySource(left) {
        try source(name).read(Array(ranges)) { lent in
          try stopIfAsked()
          let lent = lent.shifted(by: ranges.startIndex)
          if case .ofRange(let index, let messages) = lent {
            messageCounts[index] += Int64(messages.count)
          }
          try body(lent)
        }
      }
    }
    if let delta = outcome.delta {
      do { try copy.fold(delta, of: plan.ranges) } catch {
        throw pipeline.diagnose(error, plan) ?? error
      }
    }
    for (index, counts) in pipeline.messageCounts(of: messageCounts).enumerated() {
      let range = plan.ranges[index]
      read[range.partition, default: OffsetRangeSet()].insert(range.range)
      if areMissing { continue }
      accounts[range.partition]?.messages.add(counts)
      accounts[range.partition]?.holes += range.count - messageCounts[index]
    }
    return outcome
  }

  // MARK: - What a batch gives

  private func compare(_ batch: VerificationCopy.Batch, _ found: Outcome) throws {
    report.batchCount += 1
    let counts: [(BatchCountName, held: Int64, found: Int64)] = [
      (.records, batch.recordCount, found.recordCount),
      (.counted, batch.countedCount, found.countedCount),
      // What source.tombstones was then is not known: they were the one or the other.
      (
        .rejected, batch.rejectedCount,
        Int64(found.rejects.count) + found.tombstoneCount - batch.tombstoneCount
      ),
    ]
    for (name, held, found) in counts where held != found {
      report.findings.append(
        .batchCount(batch: batch.number, name, held: held, found: found))
    }
    if job.window.keepsState { return }
    let key = ObjectKeys.window(Window(batch.number), of: job)
    // Where one object shows the newest batch, the others have none.
    guard let known = try copy.reader.object(key), known.output.kind == .batch,
      known.output.number == batch.number
    else { return }
    guard let result = found.result else {
      return report.notCompared.append(NotCompared(key, .tooLarge))
    }
    comparedBatches.insert(OffsetRange(from: batch.number, to: batch.number + 1))
    if isComparable(known) { try compare(known, renderedAs: result) }
  }

  /// Where rejects of a batch are kept, it has an object of them.
  private func compareRejects(
    of batch: VerificationCopy.Batch, _ found: [StoredReject], in ranges: [PartitionRange]
  ) throws {
    let held = try copy.rejects(ofBatch: batch.number)
    let key = ObjectKeys.rejects(batch: batch.number)
    guard try !held.isEmpty || copy.reader.object(key) != nil else { return }
    // Where the batch passed over tombstones, or may have kept them otherwise than a run does now.
    let leavesOutTombstones = job.tombstones == .skip || batch.tombstoneCount > 0
    // Late records are kept where others were dropped.
    let areOnlyLateKept = job.rejects.policy == .drop && held.allSatisfy(\.isLate)
    func isCompared(_ reject: StoredReject) -> Bool {
      if areOnlyLateKept && !reject.isLate { return false }
      return !leavesOutTombstones || reject.reason != Reject.Reason.nullValue.rawValue
    }
    let inRanges = held.filter { reject in
      isCompared(reject)
        && ranges.contains {
          $0.partition == reject.partition && $0.range.contains(reject.offset)
        }
    }
    report.rejectCount += Int64(inRanges.count)
    report.findings.append(
      rejectFindings(batch: batch.number, held: inRanges, found: found.filter(isCompared)))
  }

  // MARK: - State

  private func unread() -> [PartitionID: OffsetRangeSet] {
    counted.reduce(into: [:]) { result, entry in
      let unread = entry.value.subtracting(read[entry.key] ?? OffsetRangeSet())
      if !unread.isEmpty { result[entry.key] = unread }
    }
  }

  private func compareState() throws {
    guard job.window.keepsState else { return try listUnprovableBatches() }
    let unread = unread()
    let (layout, found) = (job.stateLayout, job.forVerification.stateLayout)
    var next = Int64.min
    while true {
      let panes = try copy.panes(from: next, limit: Self.batchesAtOnce)
      for pane in panes where isChosen(pane.pane) {
        try stopIfAsked()
        let window = job.window.windows(showing: pane.pane).first.map(job.window.label) ?? ""
        report.windowCount += 1
        // Which of the unjudged records were late nobody knows any more.
        let mayHaveLate =
          pane.heldRecords != pane.foundRecords && cutoff.isFinal(pane.pane, of: job.window)
        guard pane.isProvable(unread: unread),
          !mayHaveLate || pane.isProvable(unread: unjudged)
        else {
          report.unprovable.append(window)
          continue
        }
        if pane.heldRecords != nil && !changes.contains(.publishAgain) {
          try findObjects(of: pane.pane)
        }
        report.findings.append(pane.findings(window: window))
        report.groupCount += try copy.groupCount(of: pane.pane)
        try copy.compareGroups(of: pane.pane) { groups in
          report.findings.append(layout.findings(window: window, groups, against: found))
        }
      }
      guard let last = panes.last?.pane.number, last < .max else { return }
      next = last + 1
    }
  }

  private func findObjects(of pane: Pane) throws {
    for window in job.window.windows(showing: pane)
    where try copy.reader.object(ObjectKeys.window(window, of: job)) == nil {
      report.findings.append(.noObject(window: job.window.label(of: window)))
    }
  }

  /// Of a job without state, each batch stands for itself.
  private func listUnprovableBatches() throws {
    var next: Int64 = 1
    while true {
      let batches = try copy.batches(from: next, limit: Self.batchesAtOnce)
      guard let last = batches.last else { return }
      for batch in batches where isChosen(batch: batch.number) {
        let isRead = batch.ranges.allSatisfy {
          read[$0.partition]?.contains($0.range) ?? false
        }
        if !isRead { report.unprovable.append("batch \(batch.number)") }
      }
      next = last.number + 1
    }
  }

  private func isChosen(batch: Int64) -> Bool {
    guard case .batches(let numbers) = scope else { return true }
    return numbers.contains(batch)
  }

  // MARK: - The account

  private func close() throws {
    let isAll = scope == .all
    for (partition, ledger) in copy.ledgers {
      guard var account = accounts[partition] else { continue }
      let wanted = wanted[partition] ?? OffsetRangeSet()
      let held = OffsetRangeSet([held(partition)])
      let missing = missing[partition] ?? OffsetRangeSet()
      account.missing = missing.offsetCount
      account.unheld =
        wanted.subtracting(missing).subtracting(read[partition] ?? OffsetRangeSet()).offsetCount
      if isAll {
        account.gaps = ledger.passedOver.offsetCount
        account.outside =
          held.subtracting(ledger.counted).subtracting(ledger.passedOver).offsetCount
      }
      accounts[partition] = account
    }
    report.partitions = accounts.values.filter { isAll || wanted[$0.partition] != nil }
      .sorted { $0.partition < $1.partition }
  }
}
