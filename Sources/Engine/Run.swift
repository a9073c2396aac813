package import Checkpoints
internal import Expressions
internal import Formats
package import Jobs
package import Logging
package import ObjectStorage
internal import Offsets
internal import Tables
internal import Windows

/// One invocation of a job: publishes what is dirty, repeats an interrupted batch, then takes
/// batches until the ends seen at its start. While a backfill is pending it goes on, and asks for
/// the ends anew every ten seconds.
///
/// Reading, folding and committing go on in the caller's thread; rendering and publishing on the
/// ``Publisher``'s.
package final class Run {
  private let job: Job
  private let checkpoint: Checkpoint
  private let sources: [String: any MessageSource]
  private let store: any ObjectStore
  private let storeAt: (Job.Output.Destination) throws -> any ObjectStore
  private let options: RunOptions
  private let logger: Logger
  private let stopwatch: Stopwatch
  /// As they were last asked for, in the order of the partitions: so a plan has nothing to sort.
  private var partitions: [DiscoveredPartition] = []
  private var keptOffsets: [PartitionID: Offset] = [:]
  private var undecidedPartitions: Set<PartitionID> = []
  private var logComparison = LogComparison()
  /// When the ends were asked for, and whether nothing was committed since.
  private var endsAskedAt: Int64 = 0
  private var haveEndsChanged = false
  private static let endsLastNanoseconds: Int64 = 10_000_000_000
  /// Most offsets of a batch now: fewer than the job's where a batch was too large.
  private var offsetLimit: Int64
  private var summary: RunSummary
  /// When the time that the run was given is up, on the clock of ``RunOptions/nanoseconds``.
  private var timeIsUpAt: Int64?
  /// As ``RunFacts/waitingSince``; nil where nothing is held back.
  private var waitingSince: Int64?
  /// When monitoring is to be told next. Most runs have ended by then, which is told anyway.
  private var figuresDueAt: Int64 = .max
  private static let figuresPauseNanoseconds: Int64 = 15_000_000_000
  /// Nil where progress is shown in no group.
  private var display: ProgressDisplay?

  /// - Parameters:
  ///   - sources: One per cluster of the job.
  ///   - storeAt: Opens the store of a place: now the job's own, later a former one from which
  ///     objects are to be deleted.
  /// - Throws: What `storeAt` throws.
  package init(
    job: Job, checkpoint: Checkpoint, sources: [any MessageSource],
    storeAt: @escaping (Job.Output.Destination) throws -> any ObjectStore,
    options: RunOptions, logger: Logger
  ) throws {
    let job = checkpoint.continued(job)
    self.job = job
    self.checkpoint = checkpoint
    self.sources = Dictionary(uniqueKeysWithValues: sources.map { ($0.source, $0) })
    store = try storeAt(job.output.destination)
    self.storeAt = storeAt
    self.options = options
    self.logger = logger
    stopwatch = Stopwatch(clock: options.nanoseconds)
    offsetLimit = job.maxOffsets
    summary = RunSummary(job: job.name)
  }

  /// - Returns: The summary, and everything that went wrong, what ended the run first; what was
  ///   committed before it stays.
  package func execute() -> (summary: RunSummary, errors: [RunError]) {
    let startedAt = options.clock()
    timeIsUpAt = options.maxDurationMilliseconds.map { options.nanoseconds() + $0 * 1_000_000 }
    if options.onFigures != nil {
      figuresDueAt = options.nanoseconds() + Self.figuresPauseNanoseconds
    }
    let publisher: Publisher
    let reader: CheckpointReader
    let claim: DestinationClaim
    do {
      reader = try CheckpointReader(path: checkpoint.path)
      let checkpoint = checkpoint
      let (identifier, tokens) = (try checkpoint.identifier(), try checkpoint.ownerTokens())
      display = job.commitGroup.map {
        ProgressDisplay(
          ProgressGroup(
            $0, job: job.name, checkpoint: identifier, formerCheckpoints: tokens),
          nanoseconds: options.nanoseconds)
      }
      claim = DestinationClaim(
        store, job: job.name, checkpoint: identifier, token: options.token(), tokens: tokens,
        remember: { try checkpoint.addOwnerToken($0, seen: $1) },
        deleteRetired: { [job, store] in
          let gone = try ObjectsAhead.deleteRetired(in: store, of: job, $0)
          if !gone.isEmpty { try checkpoint.forgetRetired(gone) }
        })
      publisher = try Publisher(
        job: job, store: store, claim: claim,
        reader: try CheckpointReader(path: checkpoint.path), options: options)
    } catch {
      return (summary, [.checkpoint(error)])
    }
    var errors: [RunError] = []
    func collectingErrors(_ body: () throws -> Void) {
      do { try body() } catch {
        errors += Failures(of: [error]).errors.map(RunError.init(wrapping:))
      }
    }
    let executor = options.publishingExecutor()
    do { try executor.start { publisher.step() } } catch {
      return (summary, [RunError(wrapping: error)])
    }
    collectingErrors {
      try stopwatch.measure(.discover) { try discoverPartitions() }
      try takeBatches(publisher, executor, reader)
    }
    if publisher.tell(.finishing) { executor.wake() }
    summary.progressNotShown = showProgress()
    // What is left to publish is waited for here.
    executor.finish()
    let published = publisher.outcome
    summary.publishedCount = published.count
    summary.publisherTimes = published.times
    summary.isStopped = options.isStopRequested()
    collectingErrors {
      try stopwatch.measure(.commit) { try checkpoint.commitMarks(publisher.takeMarks()) }
      // Objects that are unsettled stay so: the next run asks for them.
      if published.failure == nil && !summary.isStopped {
        try stopwatch.measure(.settle) {
          errors += try Settlement(
            job, checkpoint, reader, store, claim, storeAt: storeAt, options, logger
          ).settle(&summary, hasReadAll: errors.isEmpty && lag == 0)
          try ManifestPublisher(job, checkpoint, reader, store, claim, options).publish()
          if try claim.confirm() { try checkpoint.forgetPermission() }
        }
      }
    }
    errors += published.errors
    if errors.isEmpty && !summary.isStopped {
      collectingErrors {
        try pruneHistory(pieces: 100)
        try evict(pieces: 100)
      }
    }
    collectingErrors { summary.dirtyCount = try reader.dirtyOutputs().count }
    summary.lag = lag
    // The ends were asked for later: whatever is unread or unpublished then has come since.
    if errors.isEmpty && isUpToDate && summary.dirtyCount == 0 && !summary.isStopped {
      checkpoint.noteUpToDate(at: startedAt)
    }
    if !publisher.isDestinationRefused && !claim.isRefused && !summary.isStopped {
      let backup = ScheduledBackup(job, checkpoint, storeAt: storeAt, options)
      collectingErrors {
        let didWork = summary.batchCount > 0 || summary.publishedCount > 0
        summary.backup = try backup?.makeIfDue(didWork: didWork, claim, reader)
      }
    }
    summary.backfillLeft = backfillLeft
    summary.runTimes = stopwatch.times
    stopwatch.observe(in: &summary.figures.durations)
    summary.figures.durations.add(published.durations)
    summary.figures.lags = lags
    return (summary, errors)
  }

  // MARK: - Before the first batch

  private func source(_ name: String) -> any MessageSource {
    guard let source = sources[name] else { preconditionFailure("no source \(name) was wired") }
    return source
  }

  /// Confirms each cluster, starts partitions met for the first time, and asks for the ends.
  private func discoverPartitions() throws {
    partitions = []
    logComparison = LogComparison()
    endsAskedAt = options.nanoseconds()
    haveEndsChanged = true
    keptOffsets = try checkpoint.keptPartitions()
    defer { partitions.sort { $0.partition < $1.partition } }
    do {
      for cluster in job.clusters {
        let source = source(cluster.name)
        let listed = try listPartitions(of: cluster, source)
        try confirmCluster(of: source, in: checkpoint)
        let (found, starts) = try discover(
          listed, of: cluster, start: job.start, ledgers: checkpoint.ledgers, in: source)
        try checkpoint.start(starts)
        partitions += found
      }
    } catch {
      // What was noticed stays known, whatever became of the other clusters.
      throw following(error) { try note(replacedLogs(facts)) }
    }
    try note(replacedLogs(facts))
  }

  /// Does what an error makes necessary. The error to throw then: both where that fails as well.
  private func following(_ error: any Error, _ body: () throws -> Void) -> any Error {
    do {
      try body()
      return error
    } catch let second {
      return Failures(of: [error, second])
    }
  }

  private func openReplacedLogs() throws(CheckpointError) -> [Incident] {
    try checkpoint.openIncidents().filter { $0.kind == .logReplaced }
  }

  private func note(_ logs: [ReplacedLog]) throws(CheckpointError) {
    for log in logs {
      let cause: Incident.Cause =
        if let offset = log.changedAt {
          .messageChanged(offset)
        } else {
          log.end == nil ? .partitionGone : .logEnded
        }
      try checkpoint.noteReplacedLog(
        log.partition, logEnd: log.end, cause: cause,
        now: options.clock())
    }
    undecidedPartitions = try Set(openReplacedLogs().map(\.partition))
  }

  /// The partitions that a cluster has; a topic that was read and is gone is an incident.
  private func listPartitions(
    of cluster: Job.Cluster, _ source: any MessageSource
  ) throws -> [PartitionID] {
    let failure: SourceError
    do { return try Engine.listPartitions(of: cluster, in: source) } catch { failure = error }
    guard failure.code == .unknownTopic else { throw failure }
    var incidents: [Incident] = []
    let problem = following(failure) {
      for topic in cluster.topics {
        // Asked once more, by itself: only one of several topics may be gone.
        if isKnown(topic, to: source) { continue }
        for (partition, ledger) in checkpoint.ledgers.sorted(by: { $0.key < $1.key })
        where partition.source == cluster.name && partition.topic == topic
          && !ledger.counted.isEmpty
        {
          try checkpoint.noteReplacedLog(
            partition, logEnd: nil, cause: .topicGone, now: options.clock())
        }
      }
      incidents = try openReplacedLogs()
    }
    // What was noticed once ends every run, whatever the log has become since, until a person
    // decides.
    throw incidents.isEmpty ? problem : RunError.logsReplaced(incidents)
  }

  private func isKnown(_ topic: String, to source: any MessageSource) -> Bool {
    do {
      _ = try source.partitionCounts(of: [topic])
      return true
    } catch {
      return error.code != .unknownTopic
    }
  }

  private func passOver(_ lost: [PartitionRange]) throws(CheckpointError) {
    for range in lost {
      try checkpoint.recordGap(range, reason: .lost, now: options.clock())
      summary.lostOffsetCount += range.count
      logger.warning("passed over lost offsets", metadata: metadata(range))
    }
  }

  private func leaveOut(_ ranges: [PartitionRange], ofBackfill number: Int64) throws {
    try checkpoint.leaveOut(ranges, ofBackfill: number, now: options.clock())
    summary.unheld += ranges
    for range in ranges {
      logger.warning(
        "left out of a backfill: the broker does not hold these offsets",
        metadata: metadata(range).merging(["backfill": .stringConvertible(number)]) { $1 })
    }
  }

  private func metadata(_ range: PartitionRange) -> Logger.Metadata {
    [
      "source": "\(range.partition.source)", "topic": "\(range.partition.topic)",
      "partition": .stringConvertible(range.partition.partition),
      "from_offset": .stringConvertible(range.from), "to_offset": .stringConvertible(range.to),
    ]
  }

  // MARK: - Batches

  private var facts: RunFacts {
    var facts = RunFacts(maxOffsets: job.maxOffsets)
    facts.ledgers = checkpoint.ledgers
    facts.nextBatch = checkpoint.nextBatch
    facts.inFlight = checkpoint.inFlight
    facts.keptOffsets = keptOffsets
    facts.undecidedPartitions = undecidedPartitions
    facts.partitions = partitions
    facts.backfills = job.canBackfill ? checkpoint.backfills : []
    facts.haveEndsChanged = haveEndsChanged
    facts.onDataLoss = job.onDataLoss
    facts.maxPendingBytes = job.output.maxPendingBytes
    facts.tellsBehind = job.lateness != nil
    facts.batchesDone = summary.batchCount
    facts.maxBatches = options.maxBatches
    facts.offsetLimit = offsetLimit
    facts.isTimeUp = isTimeUp
    if let waitingSince {
      facts.holdBack(job.holdBack, since: waitingSince, now: options.clock())
    }
    return facts
  }

  private var isTimeUp: Bool { timeIsUpAt.map { options.nanoseconds() >= $0 } ?? false }

  private func decide(_ publisher: Publisher, _ reader: CheckpointReader) throws -> NextStep {
    var facts = facts
    facts.isStoreUp = publisher.isUp
    facts.pendingBytes = facts.isStoreUp ? 0 : try reader.pendingByteCount()
    facts.isDestinationRefused = publisher.isDestinationRefused
    facts.isStopRequested = options.isStopRequested()
    // Asked only where it matters, and no more than once between two batches.
    facts.areEndsOld =
      !facts.backfills.isEmpty && !haveEndsChanged
      && options.nanoseconds() - endsAskedAt >= Self.endsLastNanoseconds
    return stopwatch.measure(.plan) { nextStep(facts) }
  }

  private var backfillLeft: Int64 { checkpoint.backfills.reduce(0) { $0 + $1.offsetCount } }

  /// Offsets that are left to read before the ends that were last asked for.
  private var lag: Int64 { partitions.reduce(0) { $0 + (lag(of: $1) ?? 0) } }

  private var lags: [PartitionID: Int64] {
    partitions.reduce(into: [:]) { $0[$1.partition] = lag(of: $1) }
  }

  private func lag(of found: DiscoveredPartition) -> Int64? {
    guard let end = found.end, let ledger = checkpoint.ledgers[found.partition] else { return nil }
    return ledger.unreadCount(end: end.end)
  }

  /// Shows in the job's group how far it is, of the partitions that it can read.
  @discardableResult
  private func showProgress() -> [ProgressNotShown] {
    guard let display else { return [] }
    var offsets: [String: [PartitionID: Offset]] = [:]
    for found in partitions where found.end != nil {
      guard let ledger = checkpoint.ledgers[found.partition],
        !undecidedPartitions.contains(found.partition)
      else { continue }
      offsets[found.partition.source, default: [:]][found.partition] = ledger.nextOffset
    }
    return stopwatch.measure(.showProgress) {
      display.show(
        job.clusters.compactMap { cluster in
          offsets[cluster.name].map { (source(cluster.name), $0) }
        })
    }
  }

  /// Up to the ends that were last asked for, but for what `trigger` holds back on purpose.
  private var isUpToDate: Bool { lag == 0 || summary.heldBackUntil != nil }

  private func takeBatches(
    _ publisher: Publisher, _ executor: any PublishingExecutor, _ reader: CheckpointReader
  ) throws {
    let pipeline = try BatchPipeline(
      job, options, stopwatch, accepted: try checkpoint.acceptedRanges(),
      history: { [checkpoint] in try checkpoint.rejectHistory(recordCount: $0, ofBackfills: $1) })
    if !job.canBackfill && !checkpoint.backfills.isEmpty {
      logger.warning(
        "backfills wait: with output.keep latest, the object would show an old batch",
        metadata: ["backfills": "\(checkpoint.backfills.map(\.number))"])
    }
    if options.holdsBack && job.holdBack.minOffsets > 1 {
      waitingSince = try checkpoint.waitingSince()
    }
    while true {
      let step = try decide(publisher, reader)
      switch step {
      case .stopForReplacedLogs: throw RunError.logsReplaced(try openReplacedLogs())
      case .stopForLoss(let lost): throw RunError.offsetsLost(lost)
      case .passOver(let lost): try passOver(lost)
      case .askEnds: try stopwatch.measure(.discover) { try discoverPartitions() }
      case .leaveOut(let unheld, let number): try leaveOut(unheld, ofBackfill: number)
      case .finish, .holdBack:
        if case .holdBack(let until) = step { summary.heldBackUntil = until }
        // Nothing was interrupted: the next run plans over what has come meanwhile.
        if isTimeUp { try checkpoint.forgetPlan() }
        // The other partitions went on meanwhile.
        if !undecidedPartitions.isEmpty { throw RunError.logsReplaced(try openReplacedLogs()) }
        return
      case .stopForPendingResults:
        logger.warning("results wait for the store and output.max_pending_bytes is reached")
        return
      case .read(let plan, let isRepeated):
        if isRepeated { summary.repeatedBatch = plan.batch }
        if publisher.tell(.batchExpected) { executor.wake() }
        do {
          try take(plan, pipeline, publisher)
          if publisher.tell(.committed(nanoseconds: options.nanoseconds())) { executor.wake() }
          if plan.backfill == nil && display?.isDue == true { showProgress() }
          stopwatch.observe(in: &summary.figures.durations)
          if summary.batchCount % Int(Checkpoint.prunedAtOnce) == 0 { try pruneHistory(pieces: 1) }
          // By then much has gathered; more often the looks alone would cost something.
          if summary.batchCount % 64 == 0 && publisher.isUp { try evict(pieces: 100) }
          tellFigures(publisher)
          offsetLimit = min(job.maxOffsets, offsetLimit * 2)
        } catch is StopRequested {
          continue
        } catch let error as LogsReplaced {
          try note(error.logs)
          try checkpoint.forgetPlan()
        } catch let fault as BatchFault {
          // The next run plans anew: what has come meanwhile, or was changed, may let the batch
          // pass.
          throw following(fault) {
            try checkpoint.forgetPlan()
            if case .rejects(let partition, let offset, let stop) = fault.problem {
              try checkpoint.noteRejects(
                of: fault.plan, first: partition, offset: offset, stop: stop, now: options.clock())
            }
          }
        } catch let error as ExpressionError {
          throw following(BatchFault(plan, .expression(error))) { try checkpoint.forgetPlan() }
        } catch let error as SourceError {
          if case .undecodable(let partition, _) = error.code {
            // New messages must not wait for a backfill that cannot go on.
            throw following(BatchFault(plan, .undecodable(partition, error))) {
              try checkpoint.forgetPlan()
            }
          }
          if case .beyondEnd(let partition, let end) = error.code {
            try note([ReplacedLog(partition: partition, end: end)])
            continue
          }
          // What a backfill can no longer read is left out, whatever the job says of losses.
          guard case .truncated = error.code, job.onDataLoss == .skip || plan.backfill != nil
          else { throw error }
          try noticeTruncation(of: plan)
        }
      }
    }
  }

  /// The broker removed the start of a planned range between plan and read: the oldest offsets are
  /// asked for again.
  private func noticeTruncation(of plan: BatchPlan) throws {
    for (name, ranges) in plan.rangesBySource {
      let ends = try source(name).ends(of: ranges.map(\.partition))
      for (index, found) in partitions.enumerated() {
        guard let low = ends[found.partition]?.low, let end = found.end else { continue }
        // Retention may have passed the end that this run has seen: nothing is left of it then, but
        // the log was not replaced.
        let oldest = max(low, end.low)
        partitions[index].end = PartitionEnd(low: oldest, end: max(oldest, end.end))
      }
    }
  }

  private func take(_ plan: BatchPlan, _ pipeline: BatchPipeline, _ publisher: Publisher) throws {
    let timesBefore = stopwatch.times
    var next = stopwatch.measure(.plan) { planAfter(plan, facts) }
    try stopwatch.measure(.read) { () throws in
      for plan in [plan, next].compactMap(\.self) {
        let replaced = try logComparison.replacedLogs(
          in: plan, partitions, checkpoint, source: source
        ) { if options.isStopRequested() { throw StopRequested() } }
        if !replaced.isEmpty { throw LogsReplaced(logs: replaced) }
      }
      for (name, ranges) in plan.rangesBySource + (next?.rangesBySource ?? []) {
        try source(name).prepare(Array(ranges))
      }
    }
    // The one that the batch before has left.
    let cutoff = checkpoint.cutoff.judging(newMessages: plan.backfill == nil, job.lateness)
    let batch = try pipeline.process(plan, next: next, cutoff: cutoff) { left, body in
      for (name, ranges) in BatchPlan.bySource(left) {
        try source(name).read(Array(ranges)) { lent in
          if options.isStopRequested() { throw StopRequested() }
          try body(lent.shifted(by: ranges.startIndex))
        }
      }
    }
    if batch.plan != plan {
      offsetLimit = batch.plan.offsetCount
      next = stopwatch.measure(.plan) { planAfter(batch.plan, facts) }
    }
    let plan = batch.plan

    var commit = BatchCommit(plan: plan, now: options.clock())
    commit.recordCount = batch.recordCount
    commit.countedCount = batch.countedCount
    for reject in batch.rejects { commit.rejectCounts[reject.reason, default: 0] += 1 }
    commit.acceptedCount = batch.acceptedCount
    commit.byteCount = batch.byteCount
    commit.steps = stopwatch.times.microseconds(since: timesBefore).map {
      BatchStep(name: $0.step.rawValue, microseconds: $0.microseconds)
    }
    commit.tombstoneCount = batch.tombstoneCount
    commit.delta = batch.delta
    commit.result = batch.result.map {
      (ObjectKeys.window(Window(plan.batch), of: job), $0.bytes, $0.rowCount)
    }
    // Under the policy fail only those come here that a person has accepted, and late ones.
    commit.rejects =
      job.rejects.policy == .drop ? batch.rejects.filter { !$0.reason.isFault } : batch.rejects
    commit.judgedBy = cutoff
    if let lateness = job.lateness, plan.backfill == nil {
      commit.newestTimes = Cutoff.times(
        batch.newestTimes, atMost: job.limits.futureMilliseconds, aheadOf: commit.now)
      commit.cutoff = checkpoint.cutoff.advanced(by: told(of: plan, commit.newestTimes), lateness)
    }
    commit.fingerprints = batch.fingerprints
    commit.nextPlan = next
    commit.marks = publisher.takeMarks()
    do {
      try stopwatch.measure(.commit) { () throws(CheckpointError) in try checkpoint.commit(commit) }
    } catch {
      throw pipeline.diagnose(error, plan) ?? error
    }
    haveEndsChanged = false
    if waitingSince != nil && plan.backfill == nil { waitingSince = commit.now }
    summary.batchCount += 1
    summary.offsetCount += plan.offsetCount
    if plan.backfill != nil { summary.backfilledCount += plan.offsetCount }
    summary.recordCount += batch.recordCount
    summary.countedCount += batch.countedCount
    summary.rejectedCount += Int64(batch.rejects.count)
    if plan.backfill == nil {
      summary.lateCount += commit.lateCount
    } else {
      summary.ofEvictedCount += commit.lateCount
    }
    summary.tombstoneCount += batch.tombstoneCount
    logger.debug(
      "batch committed",
      metadata: [
        "batch": .stringConvertible(plan.batch), "offsets": .stringConvertible(plan.offsetCount),
        "records": .stringConvertible(batch.recordCount),
        "rejected": .stringConvertible(batch.rejects.count),
        "tombstones": .stringConvertible(batch.tombstoneCount),
      ])
    options.onProgress?(
      RunProgress(
        batchCount: summary.batchCount, recordCount: summary.recordCount, lag: lag,
        backfilledCount: summary.backfilledCount, backfillLeft: backfillLeft))
  }

  /// What a batch tells the cutoff of each partition that the brokers have.
  private func told(of plan: BatchPlan, _ newestTimes: [Int64?]) -> [Cutoff.Partition] {
    var inBatch: [PartitionID: Int64] = [:]
    for (range, time) in zip(plan.ranges, newestTimes) { inBatch[range.partition] = time }
    let behind = Set(plan.behind ?? [])
    return partitions.map(\.partition).map { partition in
      let times = [checkpoint.newestTimes[partition], inBatch[partition]].compactMap(\.self)
      return Cutoff.Partition(
        newestTime: times.max(), hasNewRecords: inBatch[partition] != nil,
        isBehind: behind.contains(partition))
    }
  }

  /// - Parameter count: Most transactions.
  private func pruneHistory(pieces count: Int) throws {
    try stopwatch.measure(.commit) {
      for _ in 0..<count where try !checkpoint.pruneHistory() { return }
    }
  }

  /// Evicts what is behind the job's retention, and gives back the room.
  ///
  /// - Parameter count: Most transactions, so that no run takes long for what another has left.
  private func evict(pieces count: Int) throws {
    try stopwatch.measure(.commit) {
      var left = count
      var pane: Pane?
      while left > 0, !options.isStopRequested() {
        left -= 1
        pane = try checkpoint.evict(after: pane)
        if pane == nil { break }
      }
      while left > 0, try checkpoint.freePages() { left -= 1 }
    }
  }

  private func tellFigures(_ publisher: Publisher) {
    guard let onFigures = options.onFigures, options.nanoseconds() >= figuresDueAt else { return }
    var figures = summary.figures
    figures.durations.add(publisher.durations)
    figures.lags = lags
    let pause = onFigures(figures)
    figuresDueAt = options.nanoseconds() + pause
  }
}

private struct StopRequested: Error {}

/// Other messages stand where the job has read.
private struct LogsReplaced: Error {
  let logs: [ReplacedLog]
}

/// What ended the run, and what went wrong when that was to be written down.
private struct Failures: Error {
  let errors: [any Error]

  init(of errors: [any Error]) {
    self.errors = errors.flatMap { ($0 as? Failures)?.errors ?? [$0] }
  }
}
