package import Checkpoints
internal import Expressions
internal import Formats
internal import Jobs
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
  /// What batches were read under, ascending.
  let stretches: [BatchStretch]
  let store: any ObjectStore
  let options: RunOptions
  let scope: Scope
  let isDeep: Bool
  let renderer: Renderer
  let renderedBy: String
  var report: Verification

  /// What is counted of each partition, and of it what is looked at.
  private(set) var counted: [PartitionID: OffsetRangeSet] = [:]
  private(set) var wanted: [PartitionID: OffsetRangeSet] = [:]
  var ends: [PartitionID: PartitionEnd] = [:]
  private(set) var endsOfFormerLogs: [PartitionID: Offset] = [:]
  /// What the checkpoint calls counted and no batch of its history has read.
  var missing: [PartitionID: OffsetRangeSet] = [:]
  /// What was folded again without the cutoff by which it was judged: its batch is not kept.
  var unjudged: [PartitionID: OffsetRangeSet] = [:]
  /// Which windows are final, whatever the job file says now.
  private let cutoff: Cutoff
  /// What was folded again.
  var read: [PartitionID: OffsetRangeSet] = [:]
  /// Of it, ranges that may hold less than when they were counted: some of them is compacted.
  var thinned: [PartitionID: OffsetRangeSet] = [:]
  /// Of it, what was judged by limits that may be others than those of then.
  var uncertain: [PartitionID: OffsetRangeSet] = [:]
  var accounts: [PartitionID: PartitionAccount] = [:]
  /// Numbers of batches whose own object was held against their messages.
  var comparedBatches = OffsetRangeSet()
  /// Told behind windows and batches.
  var unprovableRejects = Sample<String>()
  private(set) var changes: Set<ChangeEffect> = []
  /// Where the job published when it last ran, if that is not where its file says now.
  private(set) var formerPlace: String?
  let definitions: StoredDefinitions
  /// What was counted under a definition that cannot be made again.
  var notDecoded: [PartitionID: OffsetRangeSet] = [:]

  /// - Parameters:
  ///   - copy: Made of `live` just now.
  ///   - sources: One per cluster of the job.
  /// - Throws: `ExpressionError`, `CheckpointError`.
  package init(
    copy: VerificationCopy, live: CheckpointReader, sources: [any MessageSource],
    store: any ObjectStore, options: RunOptions, scope: Scope = .all, isDeep: Bool = false
  ) throws {
    let job = copy.job
    self.job = job
    definitions = try copy.reader.definitions()
    self.copy = copy
    self.live = live
    self.sources = Dictionary(uniqueKeysWithValues: sources.map { ($0.source, $0) })
    self.store = store
    self.options = options
    self.scope = scope
    self.isDeep = isDeep
    stretches = BatchStretch.all(of: job, try copy.batchSettings(), definitions)
    renderer = try Renderer(
      job.forRenderingAgain, inputSchema: job.selectInputSchema, release: options.release)
    renderedBy = Renderer.renderedBy(release: options.release)
    report = Verification(job: job.name, batch: copy.nextBatch - 1)
    cutoff = try copy.reader.storedCutoff()
    changes = Set(try copy.reader.changes(for: job).map(\.effect))
    formerPlace = try copy.reader.formerPlace(of: job)
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
    try compareEvicted()
    try findStrangeObjects()
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

  func source(_ name: String) -> any MessageSource {
    guard let source = sources[name] else { preconditionFailure("no source \(name) was wired") }
    return source
  }

  /// What the brokers hold of the log that was counted.
  func held(_ partition: PartitionID) -> OffsetRange {
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
        let found = try copy.batches(from: number, limit: 1).filter { $0.number == number }
        for range in found.flatMap(\.ranges) {
          chosen[range.partition, default: OffsetRangeSet()].insert(range.range)
        }
      }
    }
    return chosen.reduce(into: [:]) { result, entry in
      result[entry.key] = entry.value.intersection(counted[entry.key] ?? OffsetRangeSet())
    }
  }

  static let batchesAtOnce = 256

  private func isChosen(_ pane: Pane) -> Bool {
    guard case .windows(let windows) = scope else { return true }
    return job.window.windows(showing: pane).contains { windows.contains($0) }
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
    let evidence = Evidence(
      unread: unread(), thinned: thinned, uncertain: uncertain, unjudged: unjudged)
    let (layout, found) = (job.stateLayout, job.forVerification.stateLayout)
    var next = Int64.min
    while true {
      let panes = try copy.panes(from: next, limit: Self.batchesAtOnce)
      for pane in panes where isChosen(pane.pane) {
        try stopIfAsked()
        let window = job.window.windows(showing: pane.pane).first.map(job.window.label) ?? ""
        report.windowCount += 1
        let mayHaveLate =
          pane.heldRecords != pane.foundRecords && cutoff.isFinal(pane.pane, of: job.window)
        let proof = pane.proof(by: evidence, mayHaveLate: mayHaveLate)
        if proof == .whole {
          report.provedWindowCount += 1
          if pane.heldRecords != nil && !changes.contains(.publishAgain) {
            try findObjects(of: pane.pane)
          }
          report.groupCount += try copy.groupCount(of: pane.pane)
        } else {
          report.unprovable.append(window)
        }
        if proof == .none { continue }
        report.findings.append(pane.findings(window: window, proof))
        try copy.compareGroups(of: pane.pane) { groups in
          report.findings.append(
            layout.findings(window: window, groups, against: found, proof))
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
          read[$0.partition]?.union(notDecoded[$0.partition] ?? OffsetRangeSet())
            .contains($0.range) ?? false
            && thinned[$0.partition]?.range(meeting: $0.range) == nil
        }
        if !isRead { report.unprovable.append("batch \(batch.number)") }
      }
      next = last.number + 1
    }
  }

  func isChosen(batch: Int64) -> Bool {
    switch scope {
    case .all: true
    case .windows: false
    case .batches(let numbers): numbers.contains(batch)
    }
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
      let notDecoded = (notDecoded[partition] ?? OffsetRangeSet()).intersection(wanted)
        .subtracting(missing)
      account.notDecoded = notDecoded.offsetCount
      account.unheld =
        wanted.subtracting(missing).subtracting(read[partition] ?? OffsetRangeSet())
        .subtracting(notDecoded).offsetCount
      if isAll {
        account.gaps = ledger.passedOver.offsetCount
        account.outside =
          held.subtracting(ledger.counted).subtracting(ledger.passedOver).offsetCount
      }
      accounts[partition] = account
    }
    report.unprovable.append(unprovableRejects)
    report.partitions = accounts.values.filter { isAll || wanted[$0.partition] != nil }
      .sorted { $0.partition < $1.partition }
  }
}
