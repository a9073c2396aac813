internal import Checkpoints
internal import Expressions
internal import Formats
internal import Jobs
internal import Offsets
internal import Tables
internal import Windows

/// The way of one batch from messages to what is committed: read, decode, filter, fold; for batch windows and row jobs also render and encode.
///
/// Buffers live from batch to batch.
final class BatchPipeline {
  struct Outcome {
    var recordCount: Int64 = 0
    var countedCount: Int64 = 0
    var rejects: [Reject] = []
    /// For window jobs.
    var delta: Delta?
    /// For batch windows and row jobs.
    var result: [UInt8]?
  }

  private let job: Job
  private let stopwatch: Stopwatch
  private let jobArguments: String
  private var decoder: RecordDecoder
  private let predicate: Predicate?
  private let fold: Fold?
  private let renderer: Renderer?
  private var batch: RecordBatch
  private var parts = Parts()
  /// What came early of the batch that follows.
  private var ahead = Parts()
  private var matches: [Bool] = []

  init(_ job: Job, _ options: RunOptions, _ stopwatch: Stopwatch) throws(ExpressionError) {
    let release = options.release
    jobArguments = options.jobArguments
    self.job = job
    self.stopwatch = stopwatch
    let time: String? = if case .tumbling(_, let time) = job.window { time } else { nil }
    decoder = RecordDecoder(
      format: job.format, fields: job.fields, messageFields: job.messageFieldsRead, requiredTimeColumn: time,
      recordByteLimit: Int(job.limits.recordBytes))
    let schema = decoder.schema
    batch = RecordBatch(schema)
    predicate = if let sql = job.where { try Predicate(sql, schema: schema) } else { nil }
    fold = job.aggregate == nil ? nil : Fold(job, batchSchema: schema)
    renderer =
      if job.aggregate == nil {
        try Renderer(job, inputSchema: schema, release: release)
      } else if job.window == .batch {
        try Renderer(job, inputSchema: job.selectInputSchema, release: release)
      } else {
        nil
      }
  }

  /// The records of a batch while they are read, one part per range of its plan: partitions take turns as their messages come, and the batch holds them one
  /// after the other.
  private struct Parts {
    var plan: BatchPlan?
    var batches: [RecordBatch] = []
    /// What is left to read of each range.
    var ranges: [PartitionRange] = []
    var byteCount: Int64 = 0

    mutating func begin(_ plan: BatchPlan?, _ schema: Schema) {
      self.plan = plan
      ranges = plan?.ranges ?? []
      // A partition that gives most of a batch has another place in every plan where partitions take turns; its room must not stay behind in each.
      let rowCount = batches.reduce(0) { $0 + $1.rowCount }
      if batches.reduce(0, { $0 + $1.offsets.capacity }) > 4 * rowCount + 65_536 { batches.removeAll() }
      while batches.count < ranges.count { batches.append(RecordBatch(schema)) }
      for index in batches.indices { batches[index].removeAllKeepingCapacity() }
      byteCount = 0
    }

    mutating func count(_ messages: UnsafeBufferPointer<Message>) {
      for message in messages { byteCount += Int64(message.byteCount) }
    }
  }

  /// - Parameters:
  ///   - next: The plan after this one, if the run goes on with it.
  ///   - read: Reads what is left of the plan's ranges, in their order, and lends the messages with the position of their range, in the order of their offsets
  ///     within a range; also some of `next`, with the position of the range before.
  func process(
    _ plan: BatchPlan, next: BatchPlan?,
    read: (_ ranges: [PartitionRange], (Int, UnsafeBufferPointer<Message>) throws -> Void) throws -> Void
  ) throws -> Outcome {
    if ahead.plan == plan { swap(&parts, &ahead) } else { parts.begin(plan, decoder.schema) }
    ahead.begin(next, decoder.schema)
    try checkBytes(of: plan)
    try stopwatch.measure(.read) { () throws in
      try read(parts.ranges) { index, messages in
        let range = plan.ranges[index]
        if let first = messages.first, first.offset >= range.range.to { return decodeAhead(messages, of: range.partition) }
        parts.count(messages)
        try checkBytes(of: plan)
        decode(messages, index, &parts)
      }
    }
    stopwatch.measure(.decode) {
      batch.removeAllKeepingCapacity()
      for index in plan.ranges.indices { batch.append(parts.batches[index]) }
    }
    try checkRejects(plan)
    var outcome = Outcome()
    outcome.recordCount = Int64(batch.rowCount)
    outcome.rejects = batch.rejects
    try stopwatch.measure(.filter) { try filter() }
    if let fold {
      let delta = try stopwatch.measure(.fold) { try folded(fold, plan) }
      outcome.countedCount = delta.countedRecordCount
      if job.window == .batch {
        guard delta.groupCount <= job.limits.groupsPerWindow else {
          throw RunError(
            .data,
            """
            batch \(plan.batch), \(RunError.list(plan.ranges)): holds \(delta.groupCount) groups and limits.groups_per_window is \
            \(job.limits.groupsPerWindow). Raise it, or lower trigger.max_offsets. Nothing of the batch was committed.
            """)
        }
        outcome.result = try renderGroups(delta, fold, plan)
      } else {
        outcome.delta = delta
      }
    } else {
      let rows = matches.indices.filter { matches[$0] }
      outcome.countedCount = Int64(rows.count)
      outcome.result = try renderRows(rows, plan)
    }
    return outcome
  }

  /// What a failed merge means in terms of records: the offset at which the sum stops fitting.
  func diagnose(_ error: CheckpointError, _ plan: BatchPlan) -> RunError? {
    guard case .overflow(let group, let column, let held) = error.code, let fold,
      let delta = try? fold.fold(batch, matches: matches, batchNumber: plan.batch),
      let row = fold.firstOverflow(
        in: batch, matches: matches, batchNumber: plan.batch, group: group, of: delta, stateColumn: column, held: held),
      let slice = batch.slices.first(where: { $0.rows.contains(row) })
    else { return nil }
    let cause = FoldError(
      code: .overflow(measure: fold.layout.columns[column].name, group: fold.describe(group: group, of: delta)),
      partitionIndex: slice.partitionIndex, offset: batch.offsets[row])
    return RunError(cause, jobArguments: jobArguments, plan: plan)
  }

  // MARK: - Steps

  private func decode(_ messages: UnsafeBufferPointer<Message>, _ index: Int, _ parts: inout Parts) {
    let partition = parts.ranges[index].partition
    stopwatch.measure(.decode) {
      decoder.decode(
        messages, topic: partition.topic, partition: partition.partition, partitionIndex: index, into: &parts.batches[index])
    }
  }

  private func decodeAhead(_ messages: UnsafeBufferPointer<Message>, of partition: PartitionID) {
    guard let first = messages.first, let last = messages.last, let index = ahead.ranges.firstIndex(where: { $0.partition == partition }),
      first.offset >= ahead.ranges[index].range.from, last.offset < ahead.ranges[index].range.to
    else { preconditionFailure("messages of \(partition) ahead that were not asked for") }
    ahead.count(messages)
    decode(messages, index, &ahead)
    ahead.ranges[index] = PartitionRange(partition, OffsetRange(from: last.offset + 1, to: ahead.ranges[index].range.to))
  }

  private func checkBytes(of plan: BatchPlan) throws(RunError) {
    guard parts.byteCount > job.limits.batchBytes else { return }
    throw RunError(
      .data,
      """
      \(RunError.list(plan.ranges)): batch \(plan.batch) holds more than \(job.limits.batchBytes) bytes (limits.batch_bytes). Nothing was committed. \
      Lower trigger.max_offsets, or raise the limit.
      """)
  }

  private func filter() throws(ExpressionError) {
    if let predicate {
      try predicate.evaluate(batch.columns, rows: 0..<batch.rowCount, matches: &matches)
    } else {
      matches = [Bool](repeating: true, count: batch.rowCount)
    }
  }

  private func folded(_ fold: Fold, _ plan: BatchPlan) throws(RunError) -> Delta {
    do {
      return try fold.fold(batch, matches: matches, batchNumber: plan.batch)
    } catch {
      throw RunError(error, jobArguments: jobArguments, plan: plan)
    }
  }

  private func checkRejects(_ plan: BatchPlan) throws(RunError) {
    guard let first = batch.rejects.first else { return }
    let count = batch.rejects.count
    let total = batch.rowCount + count
    let isFatal = job.rejects.policy == .fail || Double(count) > job.rejects.maxShare * Double(total)
    guard isFatal else { return }
    let partition = plan.ranges[first.partitionIndex].partition
    let field = first.field.map { " in field \($0)" } ?? ""
    let rule = job.rejects.policy == .fail ? "rejects.policy is fail" : "more than rejects.max_share (\(job.rejects.maxShare * 100) %)"
    throw RunError(
      .data,
      """
      \(partition) offset \(first.offset), record \(first.record): \(first.reason.rawValue)\(field). \
      \(count) of \(total) records of batch \(plan.batch) were rejected: \(rule). Nothing was committed. \
      Correct source.format or source.fields, raise rejects.max_share, or pass over the records: \
      \(RunError.skipCommand(jobArguments, partition, first.offset))
      """)
  }

  private func renderGroups(_ delta: Delta, _ fold: Fold, _ plan: BatchPlan) throws -> [UInt8] {
    guard let renderer else { preconditionFailure("a batch window without a renderer") }
    let columns = delta.keys + fold.layout.measures(of: job, state: delta.state)
    let groups = Table(job.selectInputSchema, columns: columns).sorted(byFirst: delta.keys.count)
    let lineage = delta.windows.flatMap(\.contributions).map {
      Lineage(
        partition: plan.ranges[$0.partitionIndex].partition, smallestOffset: $0.smallestOffset, largestOffset: $0.largestOffset,
        recordCount: $0.recordCount)
    }
    return try encoded(renderer, groups.columns, shown: groups.columns.count, lineage, plan)
  }

  private func renderRows(_ rows: [Int], _ plan: BatchPlan) throws -> [UInt8] {
    guard let renderer else { preconditionFailure("a row job without a renderer") }
    let counted = rows.count == batch.rowCount ? batch.columns : Table(batch.schema, columns: batch.columns).selecting(rows).columns
    let lineage = batch.slices.compactMap { slice -> Lineage? in
      let counted = slice.rows.filter { matches[$0] }
      guard let first = counted.first, let last = counted.last else { return nil }
      return Lineage(
        partition: plan.ranges[slice.partitionIndex].partition, smallestOffset: batch.offsets[first], largestOffset: batch.offsets[last],
        recordCount: Int64(counted.count))
    }
    return try encoded(renderer, counted, shown: job.fields.count, lineage, plan)
  }

  private func encoded(
    _ renderer: Renderer, _ columns: [Column], shown: Int, _ lineage: [Lineage], _ plan: BatchPlan
  ) throws(RunError) -> [UInt8] {
    do {
      let table = try stopwatch.measure(.render) { try renderer.table(columns, shown: shown) }
      return try stopwatch.measure(.encode) { try renderer.encode(table, .batch(plan.batch), lineage) }
    } catch {
      throw RunError(.data, "job \(job.name), batch \(plan.batch): \(error). Nothing was committed.")
    }
  }
}

extension Job {
  /// The message's own fields that the job reads anywhere. A name that merely occurs in an expression costs a column and nothing else.
  var messageFieldsRead: [MessageField] {
    let expressions = ([self.where ?? ""] + select.map(\.sql)).joined(separator: " ").lowercased()
    var names = Set((aggregate?.by ?? []) + (aggregate?.measures.compactMap(\.field) ?? []))
    if case .tumbling(_, let time) = window { names.insert(time) }
    let lowercased = Set(names.map { $0.lowercased() })
    return MessageField.allCases.filter { lowercased.contains($0.rawValue) || expressions.contains($0.rawValue) }
  }
}
