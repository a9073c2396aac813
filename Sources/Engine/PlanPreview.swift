package import Checkpoints
package import Jobs
package import Offsets
package import Tables
package import Windows

/// What the next run would read, found out without touching anything.
package struct PlanPreview: Sendable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let nextOffset: Offset
    package let end: PartitionEnd
    package let highWatermark: Offset
    /// Met for the first time: the start is resolved and stored by the first run.
    package let isNew: Bool
    /// Offsets that are left to read: neither lost nor passed over.
    package let lag: Int64
    /// Offsets that the broker removed before they were read.
    package let lostCount: Int64

    /// Offsets that an open transaction holds back.
    package var heldBackCount: Int64 { max(0, highWatermark - end.end) }
  }
  package let partitions: [Partition]
  package let plan: BatchPlan
  /// The plan is one that a dead run left.
  package let isRepeated: Bool
  package enum Obstacle: String, Sendable {
    /// Offsets were lost, and the job says `on_data_loss: fail`.
    case dataLoss = "data_loss"
    /// A log was replaced, which a person must decide about. Under `on_data_loss: skip` the next
    /// run reads the other partitions all the same.
    case replacedLog = "replaced_log"
  }
  /// Why the next run ends with an error, whatever it reads.
  package let obstacle: Obstacle?
  /// Offsets that backfills are yet to count.
  package let backfillLeft: Int64
  /// Until when what there is waits for more; milliseconds since 1970 UTC.
  package let heldBackUntil: Int64?
  /// What a person is to decide.
  package let incidents: [Incident]

  package var lag: Int64 { partitions.reduce(0) { $0 + $1.lag } }

  /// - Parameters:
  ///   - status: Nil when the job has never run.
  ///   - waitingSince: As ``RunFacts/waitingSince``.
  ///   - now: Nil where it is not asked whether a batch is held back.
  package init(
    job: Job, status: CheckpointStatus?, sources: [any MessageSource], waitingSince: Int64 = 0,
    now: Int64? = nil
  ) throws(SourceError) {
    incidents = status?.incidents ?? []
    var facts = RunFacts(maxOffsets: job.maxOffsets)
    facts.onDataLoss = job.onDataLoss
    facts.nextBatch = status?.nextBatch ?? 1
    facts.inFlight = status?.inFlight
    facts.keptOffsets = status?.keptOffsets ?? [:]
    facts.undecidedPartitions = Set(
      incidents.filter { $0.kind == .logReplaced }.map(\.partition))
    facts.backfills = job.canBackfill ? status?.backfills.map(\.request) ?? [] : []
    if let now { facts.holdBack(job.holdBack, since: waitingSince, now: now) }
    for known in status?.partitions ?? [] { facts.ledgers[known.partition] = known.ledger }
    var partitions: [Partition] = []
    for (cluster, source) in zip(job.clusters, sources) {
      let listed = try listPartitions(of: cluster, in: source)
      let (found, starts) = try discover(
        listed, of: cluster, start: job.start, ledgers: facts.ledgers, in: source)
      let highWatermarks = try source.highWatermarks(of: listed)
      for (partition, start) in starts { facts.ledgers[partition] = OffsetLedger(start: start) }
      facts.partitions += found
      for found in found {
        guard let end = found.end, let ledger = facts.ledgers[found.partition] else { continue }
        let lostCount = ledger.lost(below: end.low).offsetCount
        partitions.append(
          Partition(
            partition: found.partition, nextOffset: ledger.nextOffset, end: end,
            highWatermark: highWatermarks[found.partition] ?? end.end,
            isNew: starts[found.partition] != nil,
            lag: ledger.unreadCount(end: end.end) - lostCount, lostCount: lostCount))
      }
    }
    self.partitions = partitions.sorted { $0.partition < $1.partition }
    facts.partitions.sort { $0.partition < $1.partition }

    // As a run goes on, but that what it would store is changed here alone.
    var step = nextStep(facts)
    preparing: while true {
      switch step {
      case .passOver(let lost):
        for range in lost { facts.ledgers[range.partition]?.record(range.range) }
        // A recorded gap voids the plan that a dead run left.
        facts.inFlight = nil
      case .leaveOut(let unheld, let number):
        guard let index = facts.backfills.firstIndex(where: { $0.number == number }) else {
          preconditionFailure("backfill \(number) was not asked for")
        }
        facts.backfills[index].remove(unheld)
      case .stopForReplacedLogs, .stopForLoss, .askEnds, .read, .finish, .holdBack,
        .stopForPendingResults:
        break preparing
      }
      step = nextStep(facts)
    }
    backfillLeft = facts.backfills.reduce(0) { $0 + $1.offsetCount }
    let none = BatchPlan(batch: facts.nextBatch, ranges: [])
    switch step {
    case .read(let plan, let isRepeated): (self.plan, self.isRepeated) = (plan, isRepeated)
    case .stopForLoss, .stopForReplacedLogs, .finish, .holdBack, .stopForPendingResults, .passOver,
      .leaveOut, .askEnds:
      (plan, isRepeated) = (none, false)
    }
    heldBackUntil = if case .holdBack(let until) = step { until } else { nil }
    let isLogReplaced = !facts.undecidedPartitions.isEmpty || !replacedLogs(facts).isEmpty
    obstacle = if case .stopForLoss = step { .dataLoss } else { isLogReplaced ? .replacedLog : nil }
  }
}

/// The table that a window's object shows now, from committed state.
package func resultTable(of window: Window, job: Job, reader: CheckpointReader) throws -> Table {
  let job = try reader.continued(job)
  let groups = try reader.table(of: window, job: job)
  return try Renderer(job, inputSchema: job.selectInputSchema, release: "").table(
    groups.columns, visibleColumnCount: groups.columns.count)
}
