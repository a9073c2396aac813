package import Checkpoints
package import Jobs
package import Offsets
package import Tables

/// What the next run would read, found out without touching anything.
package struct PlanPreview: Sendable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let nextOffset: Offset
    package let end: PartitionEnd
    package let highWatermark: Offset
    /// Met for the first time: the start is resolved and stored by the first run.
    package let isNew: Bool

    package var lag: Int64 { max(0, end.end - nextOffset) }
    /// Offsets that an open transaction holds back.
    package var heldBackCount: Int64 { max(0, highWatermark - end.end) }
    /// Offsets that the broker removed before they were read.
    package var lostCount: Int64 { max(0, end.low - nextOffset) }
  }
  package let partitions: [Partition]
  package let plan: BatchPlan
  /// The plan is one that a dead run left.
  package let isRepeated: Bool
  /// What a person is to decide; a replaced log keeps the next run from reading anything.
  package let incidents: [Incident]

  package var lag: Int64 { partitions.reduce(0) { $0 + $1.lag } }

  /// - Parameter status: Nil when the job has never run.
  package init(job: Job, status: CheckpointStatus?, sources: [any MessageSource])
    throws(SourceError)
  {
    var partitions: [Partition] = []
    for (cluster, source) in zip(job.clusters, sources) {
      let identifiers = try Run.partitions(of: cluster, in: source)
      let ends = try source.ends(of: identifiers)
      let highWatermarks = try source.highWatermarks(of: identifiers)
      let held = Dictionary(
        uniqueKeysWithValues: (status?.partitions ?? []).map { ($0.partition, $0.nextOffset) })
      let starts = try startOffsets(
        of: identifiers.filter { held[$0] == nil },
        knownTopics: Set(held.keys.filter { $0.source == cluster.name }.map(\.topic)),
        start: job.start, ends: ends, source: source)
      for identifier in identifiers {
        guard let end = ends[identifier], let next = held[identifier] ?? starts[identifier] else {
          continue
        }
        partitions.append(
          Partition(
            partition: identifier, nextOffset: next, end: end,
            highWatermark: highWatermarks[identifier] ?? end.end,
            isNew: held[identifier] == nil))
      }
    }
    let batch = status?.lastCommit.map { $0.batch + 1 } ?? 1
    let unread = partitions.map { partition in
      let gap = status?.gaps.filter {
        $0.range.partition == partition.partition && $0.range.from >= partition.nextOffset
      }
      .min { $0.range.from < $1.range.from }
      let from = max(partition.nextOffset, partition.end.low)
      let to = min(partition.end.end, gap?.range.from ?? partition.end.end)
      return PartitionRange(partition.partition, OffsetRange(from: from, to: max(from, to)))
    }
    incidents = status?.incidents ?? []
    self.partitions = partitions.sorted { $0.partition < $1.partition }
    if incidents.contains(where: { $0.kind == .logReplaced }) {
      plan = BatchPlan(batch: batch, ranges: [])
      isRepeated = false
    } else if let left = status?.inFlight.flatMap({
      repeatable($0, nextBatch: batch, unread: unread, maxOffsets: job.maxOffsets)
    }) {
      plan = left
      isRepeated = true
    } else {
      plan = planBatch(batch, unread: unread, maxOffsets: job.maxOffsets)
      isRepeated = false
    }
  }
}

/// The table that a window's object shows now, from committed state.
package func resultTable(of window: Int64, job: Job, reader: CheckpointReader) throws -> Table {
  let groups = try reader.table(ofWindow: window, job: job)
  return try Renderer(job, inputSchema: job.selectInputSchema, release: "").table(
    groups.columns, visibleColumnCount: groups.columns.count)
}
