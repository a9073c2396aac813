internal import Checkpoints
internal import Expressions
internal import Formats
internal import Jobs
internal import Offsets
internal import Tables
internal import Windows

/// The way of one batch from messages to what is committed: read, decode, filter, fold; for batch
/// windows and row jobs also render and encode.
///
/// Buffers live from batch to batch.
final class BatchPipeline {
  struct Outcome {
    /// What was processed: where `limits.batch_bytes` was reached, less than was planned.
    let plan: BatchPlan
    var recordCount: Int64 = 0
    var countedCount: Int64 = 0
    /// Of the newest message of each range; nil where a range holds none.
    var fingerprints: [Fingerprint?] = []
    var rejects: [Reject] = []
    /// Of them, those that a person has accepted.
    var acceptedCount: Int64 = 0
    /// The newest time of each range's records, of new messages of jobs that refuse late ones.
    var newestTimes: [Int64?] = []
    /// Of the messages.
    var byteCount: Int64 = 0
    var tombstoneCount: Int64 = 0
    /// For window jobs.
    var delta: Delta?
    /// For batch windows and row jobs.
    var result: (bytes: [UInt8], rowCount: Int64)?
  }

  typealias RejectHistoryOf =
    (_ recordCount: Int64, _ ofBackfills: Bool) throws -> Checkpoint.RejectHistory

  /// What was read is as much as `limits.batch_bytes` allows.
  private struct Full: Error {}

  /// A record is refused after decoding, and its bytes are gone: the batch is to be read again, and
  /// kept as it came.
  private struct NeedsRecords: Error {
    let messages: Set<MessagePlace>
  }

  private let job: Job
  private let stopwatch: Stopwatch
  /// Ranges whose rejects a person has accepted.
  private let accepted: [PartitionRange]
  /// How the newest batches decoded, asked for only where a batch has rejects.
  private let history: RejectHistoryOf
  private var decoder: RecordDecoder
  private let columnsOfKey: Set<String>
  private let predicate: Predicate?
  private let fold: Fold?
  private let renderer: Renderer?
  private var batch: RecordBatch
  private var parts = Parts()
  /// What came early of the batch that follows.
  private var ahead = Parts()
  private var matches: [Bool] = []

  init(
    _ job: Job, _ options: RunOptions, _ stopwatch: Stopwatch, accepted: [PartitionRange],
    history: @escaping RejectHistoryOf
  ) throws(ExpressionError) {
    let release = options.release
    self.accepted = accepted
    self.history = history
    self.job = job
    self.stopwatch = stopwatch
    decoder = RecordDecoder(job)
    columnsOfKey = job.columnsOfKey
    let schema = decoder.schema
    batch = RecordBatch(schema)
    predicate =
      if let expression = job.where { try Predicate(expression, schema: schema) } else { nil }
    fold = job.aggregate == nil ? nil : Fold(job, batchSchema: schema)
    renderer =
      if job.aggregate == nil {
        try Renderer(job, inputSchema: schema, release: release)
      } else if !job.window.keepsState {
        try Renderer(job, inputSchema: job.selectInputSchema, release: release)
      } else {
        nil
      }
  }

  /// The records of a batch while they are read, one part per range of its plan: partitions take
  /// turns as their messages come, and the batch holds them one after the other.
  private struct Parts {
    var plan: BatchPlan?
    var batches: [RecordBatch] = []
    /// What is left to read of each range.
    var ranges: [PartitionRange] = []
    var fingerprints: [Fingerprint?] = []
    var messageCounts: [Int64] = []
    var byteCount: Int64 = 0

    mutating func begin(_ plan: BatchPlan?, _ schema: Schema) {
      self.plan = plan
      ranges = plan?.ranges ?? []
      // A partition that gives most of a batch has another place in every plan where partitions
      // take turns; its room must not stay behind in each.
      let rowCount = batches.reduce(0) { $0 + $1.rowCount }
      if batches.reduce(0, { $0 + $1.offsets.capacity }) > 4 * rowCount + 65_536 {
        batches.removeAll()
      }
      while batches.count < ranges.count { batches.append(RecordBatch(schema)) }
      for index in batches.indices { batches[index].removeAllKeepingCapacity() }
      fingerprints = Array(repeating: nil, count: ranges.count)
      messageCounts = Array(repeating: 0, count: ranges.count)
      byteCount = 0
    }

    /// Ends a plan with what was read of it so far, and returns that.
    mutating func end(_ plan: BatchPlan) -> BatchPlan {
      var read: [PartitionRange] = []
      for (index, range) in plan.ranges.enumerated() {
        guard let newest = fingerprints[index] else { continue }
        let position = read.count
        batches.swapAt(index, position)
        fingerprints.swapAt(index, position)
        messageCounts.swapAt(index, position)
        batches[position].move(toPartition: position)
        read.append(
          PartitionRange(range.partition, OffsetRange(from: range.from, to: newest.offset + 1)))
      }
      let ends = Dictionary(uniqueKeysWithValues: read.map { ($0.partition, $0.to) })
      let unread = plan.ranges.filter { ends[$0.partition] != $0.to }.map(\.partition)
      return BatchPlan(
        batch: plan.batch, ranges: read, backfill: plan.backfill,
        behind: plan.behind.map { Set($0 + unread).sorted() })
    }

    /// Counts messages of a range up to the first that no longer fits.
    ///
    /// - Parameter limit: Of the bytes of all. A longer message is a reject, of which little is
    ///   kept.
    /// - Returns: How many it has counted.
    mutating func count(
      _ messages: UnsafeBufferPointer<Message>, _ index: Int, limit: Int64
    ) -> Int {
      var count = 0
      for message in messages {
        if Int64(message.byteCount) <= limit {
          guard byteCount + Int64(message.byteCount) <= limit else { break }
          byteCount += Int64(message.byteCount)
        }
        count += 1
      }
      messageCounts[index] += Int64(count)
      return count
    }
  }

  /// Processes a plan, or the part of it that fits into `limits.batch_bytes`: what was read when
  /// they were reached.
  ///
  /// - Parameters:
  ///   - next: The plan after this one, if the run goes on with it.
  ///   - cutoff: By which its records are judged.
  ///   - read: Reads what is left of the plan's ranges, and some of `next` ahead.
  /// - Throws: ``BatchFault``, `ExpressionError`, or what `read` throws.
  func process(
    _ plan: BatchPlan, next: BatchPlan?, cutoff: Cutoff = Cutoff(),
    read: (_ ranges: [PartitionRange], (LentMessages) throws -> Void) throws -> Void
  ) throws -> Outcome {
    defer {
      if decoder.refusedMessages != nil {
        decoder.refusedMessages = nil
        // The next batch's early rows have entries for kept records: it is read from its start.
        ahead.plan = nil
        batch.records.removeAll()
      }
    }
    var (plan, next) = (plan, next)
    // Each time round, more messages are known, by what where, the fold or select refuses: so this
    // ends soon.
    while true {
      do {
        try readMessages(&plan, &next, read)
        return try outcome(of: plan, cutoff)
      } catch let needed as NeedsRecords {
        decoder.refusedMessages = needed.messages.union(decoder.refusedMessages ?? [])
      }
    }
  }

  /// Reads and decodes the messages of a plan. Where not all fit, the plan becomes what was read,
  /// and nothing is planned behind it.
  private func readMessages(
    _ plan: inout BatchPlan, _ next: inout BatchPlan?,
    _ read: (_ ranges: [PartitionRange], (LentMessages) throws -> Void) throws -> Void
  ) throws {
    if ahead.plan == plan { swap(&parts, &ahead) } else { parts.begin(plan, decoder.schema) }
    ahead.begin(next, decoder.schema)
    do {
      try stopwatch.measure(.read) { () throws in
        try read(parts.ranges) { lent in
          switch lent {
          case .ofRange(let index, let messages):
            let count = parts.count(messages, index, limit: job.limits.batchBytes)
            decode(UnsafeBufferPointer(rebasing: messages[..<count]), index, &parts)
            if count < messages.count { throw Full() }
          case .ahead(let index, let messages):
            decodeAhead(messages, of: plan.ranges[index].partition)
          case .nothing: break
          }
        }
      }
    } catch is Full {
      plan = parts.end(plan)
      precondition(!plan.isEmpty, "no message fits into limits.batch_bytes")
      next = nil
      ahead.plan = nil
    }
  }

  private func outcome(of plan: BatchPlan, _ cutoff: Cutoff) throws -> Outcome {
    stopwatch.measure(.decode) {
      batch.removeAllKeepingCapacity()
      for index in plan.ranges.indices { batch.append(parts.batches[index]) }
    }
    let decodedCount = batch.rejects.count
    var outcome = Outcome(plan: plan)
    try stopwatch.measure(.filter) { try filter() }
    if let fold {
      let delta = try stopwatch.measure(.fold) { try folded(fold, plan, cutoff) }
      outcome.countedCount = delta.countedRecordCount
      if !job.window.keepsState {
        guard delta.groupCount <= job.limits.groupsPerWindow else {
          throw BatchFault(
            plan,
            .tooManyGroups(count: delta.groupCount, limit: job.limits.groupsPerWindow))
        }
        outcome.result = (try renderGroups(delta, fold, plan), Int64(delta.groupCount))
      } else {
        outcome.delta = delta
      }
    } else {
      let bytes = try renderRows(plan)
      outcome.countedCount = Int64(matches.count { $0 })
      outcome.result = (bytes, outcome.countedCount)
    }
    outcome.recordCount = Int64(batch.rowCount - (batch.rejects.count - decodedCount))
    if batch.rejects.count > decodedCount { sortRejects() }
    outcome.acceptedCount = try judgeRejects(plan, recordCount: outcome.recordCount)
    outcome.rejects = batch.rejects
    outcome.byteCount = parts.byteCount
    outcome.tombstoneCount = batch.tombstoneCount
    outcome.fingerprints = parts.fingerprints
    if job.lateness != nil && plan.backfill == nil { outcome.newestTimes = newestTimes(plan) }
    return outcome
  }

  /// What became of the messages of each range of the batch that was processed last.
  var messageCounts: [MessageCounts] {
    let counts = parts.messageCounts
    var rejected = counts.map { _ in Set<Int64>() }
    for reject in batch.rejects { rejected[reject.partitionIndex].insert(reject.offset) }
    var result = counts.map { _ in MessageCounts() }
    for slice in batch.slices {
      let index = slice.partitionIndex
      var row = slice.rows.lowerBound
      while row < slice.rows.upperBound {
        let offset = batch.offsets[row]
        var isCounted = false
        while row < slice.rows.upperBound && batch.offsets[row] == offset {
          isCounted = isCounted || matches[row]
          row += 1
        }
        if isCounted {
          rejected[index].remove(offset)
          result[index].counted += 1
        } else if !rejected[index].contains(offset) {
          result[index].filtered += 1
        }
      }
    }
    for index in result.indices {
      result[index].rejected = Int64(rejected[index].count)
      result[index].empty =
        counts[index] - result[index].counted - result[index].filtered - result[index].rejected
    }
    return result
  }

  /// What a commit that failed means in terms of the batch: where a sum no longer fits, the offset
  /// at which it stops fitting.
  ///
  /// - Returns: Nil where the batch is not at fault.
  func diagnose(_ error: CheckpointError, _ plan: BatchPlan) -> BatchFault? {
    if case .tooManyGroups = error.code { return BatchFault(plan, .checkpoint(error)) }
    guard case .overflow(let group, let measure, let held) = error.code else { return nil }
    // What is late matches no more.
    guard let fold,
      case .folded(let delta) = try? fold.fold(batch, matches: matches, batchNumber: plan.batch),
      let cause = fold.misfit(
        in: batch, matches: matches, batchNumber: plan.batch, groupRow: delta.firstRows[group],
        measure: measure, held: held)
    else { return BatchFault(plan, .checkpoint(error)) }
    return BatchFault(plan, .fold(plan.ranges[cause.partitionIndex].partition, cause))
  }

  // MARK: - Steps

  private func decode(_ messages: UnsafeBufferPointer<Message>, _ index: Int, _ parts: inout Parts)
  {
    let partition = parts.ranges[index].partition
    if let last = messages.last { parts.fingerprints[index] = Fingerprint(of: last) }
    stopwatch.measure(.decode) {
      decoder.decode(
        messages, topic: partition.topic, partition: partition.partition, partitionIndex: index,
        into: &parts.batches[index])
    }
  }

  private func decodeAhead(_ messages: UnsafeBufferPointer<Message>, of partition: PartitionID) {
    // Nothing is planned any more behind a batch that is full.
    if ahead.plan == nil { return }
    guard let first = messages.first, let last = messages.last,
      let index = ahead.ranges.firstIndex(where: { $0.partition == partition }),
      first.offset >= ahead.ranges[index].from, last.offset < ahead.ranges[index].to
    else { preconditionFailure("messages of \(partition) ahead that were not asked for") }
    let count = ahead.count(messages, index, limit: job.limits.batchBytes)
    guard count == messages.count else {
      // The batch will be read from its start, and end where it is full.
      ahead.plan = nil
      return
    }
    decode(messages, index, &ahead)
    ahead.ranges[index] = PartitionRange(
      partition, OffsetRange(from: last.offset + 1, to: ahead.ranges[index].to))
  }

  private func filter() throws {
    guard let predicate else {
      matches = [Bool](repeating: true, count: batch.rowCount)
      return
    }
    do {
      try predicate.evaluate(batch.columns, rows: 0..<batch.rowCount, matches: &matches)
    } catch {
      // One record for which the expression has no value must not keep the others from being
      // counted.
      var verdicts = [Bool](repeating: false, count: batch.rowCount)
      let failing = try failingRows(Array(0..<batch.rowCount)) { rows in
        var some: [Bool] = []
        let columns = Table(batch.schema, columns: batch.columns).selecting(rows).columns
        try predicate.evaluate(columns, rows: 0..<rows.count, matches: &some)
        for (row, verdict) in zip(rows, some) { verdicts[row] = verdict }
      }
      matches = verdicts
      try refuse(failing.map { Refusal(row: $0, .expressionFailed, field: "where") })
    }
  }

  private func newestTimes(_ plan: BatchPlan) -> [Int64?] {
    func column(_ name: String) -> Column? {
      batch.schema.index(of: name).map { batch.columns[$0] }
    }
    guard let name = job.window.timeColumn, let times = column(name) else { return [] }
    let own = MessageField.timestamp.rawValue
    return Cutoff.newestTimes(
      times, ownTimes: name == own ? nil : column(own), of: batch.slices,
      partitionCount: plan.ranges.count)
  }

  private func folded(_ fold: Fold, _ plan: BatchPlan, _ cutoff: Cutoff) throws -> Delta {
    do {
      while true {
        switch try fold.fold(batch, matches: matches, batchNumber: plan.batch, cutoff: cutoff) {
        case .folded(let delta): return delta
        case .refused(let refusals): try refuse(refusals)
        }
      }
    } catch let error as FoldError {
      throw BatchFault(plan, .fold(plan.ranges[error.partitionIndex].partition, error))
    }
  }

  // MARK: - Rejects after decoding

  /// Which rows an evaluation fails for, found by halving.
  ///
  /// - Parameter evaluate: Is called with fewer and fewer rows, until each either passed or failed
  ///   alone.
  private func failingRows(_ rows: [Int], _ evaluate: ([Int]) throws -> Void) throws -> [Int] {
    do {
      try evaluate(rows)
      return []
    } catch let error as ExpressionError {
      // What takes too long takes too long for every row.
      if case .tooMuchWork = error.code { throw error }
      if rows.count <= 1 { return rows }
      let middle = rows.count / 2
      return try failingRows(Array(rows[..<middle]), evaluate)
        + failingRows(Array(rows[middle...]), evaluate)
    }
  }

  /// Makes rows rejects: they count no more. The one way by which a record is refused after it has
  /// decoded, whether because of its time, its key or an expression.
  private func refuse(_ refusals: [Refusal]) throws {
    guard !refusals.isEmpty else { return }
    let places = refusals.map { refusal in
      guard let slice = batch.slices.first(where: { $0.rows.contains(refusal.row) }) else {
        preconditionFailure("row \(refusal.row) belongs to no partition")
      }
      return MessagePlace(
        partitionIndex: slice.partitionIndex, offset: batch.offsets[refusal.row])
    }
    guard let known = decoder.refusedMessages, places.allSatisfy(known.contains) else {
      throw NeedsRecords(messages: Set(places))
    }
    for (refusal, place) in zip(refusals, places) {
      matches[refusal.row] = false
      guard let record = batch.records[refusal.row] else {
        preconditionFailure("the record of row \(refusal.row) was not kept")
      }
      batch.rejects.append(
        Reject(
          partitionIndex: place.partitionIndex, offset: place.offset,
          record: record.record,
          reason: refusal.reason, field: refusal.field,
          raw: [UInt8](textPrefix(of: record.bytes, Int(job.limits.recordBytes))),
          key: isKeyAtFault(refusal) ? record.key : nil,
          timestampMilliseconds: record.timestampMilliseconds, headers: record.headers,
          text: textAtFault(refusal, of: record)))
    }
  }

  /// Whether the message's key may be why a row is refused.
  private func isKeyAtFault(_ refusal: Refusal) -> Bool {
    guard refusal.reason == .expressionFailed else {
      return refusal.field.map { columnsOfKey.contains($0.lowercased()) } ?? false
    }
    let expressions =
      refusal.field == "where" ? [job.where].compactMap(\.self) : job.select.map(\.expression)
    return expressions.contains { !$0.columnNames.isDisjoint(with: columnsOfKey) }
  }

  private func textAtFault(_ refusal: Refusal, of record: RecordBatch.RecordBytes) -> [UInt8] {
    var text = record.bytes
    if refusal.reason != .expressionFailed,
      let index = refusal.field.flatMap(batch.schema.index)
    {
      let column = batch.columns[index]
      text =
        column.type.storage == .text
        ? column.text.withBytes(of: refusal.row) { [UInt8]($0) }
        : Array(column.plainText(refusal.row).utf8)
    }
    return [UInt8](text.prefix(Reject.textByteLimit))
  }

  private func sortRejects() {
    batch.rejects.sort {
      ($0.partitionIndex, $0.offset, $0.record) < ($1.partitionIndex, $1.offset, $1.record)
    }
  }

  /// - Returns: How many of the rejects a person has accepted.
  private func judgeRejects(_ plan: BatchPlan, recordCount: Int64) throws -> Int64 {
    let faults = batch.rejects.filter(\.reason.isFault)
    guard !faults.isEmpty else { return 0 }
    let judged = faults.filter { reject in
      let partition = plan.ranges[reject.partitionIndex].partition
      return !accepted.contains { $0.partition == partition && $0.range.contains(reject.offset) }
    }
    let acceptedCount = Int64(faults.count - judged.count)
    guard let first = judged.first else { return acceptedCount }
    // Of the batches before, as many records as this one leaves to be judged.
    let wanted = job.rejects.maxShareOver - recordCount - Int64(judged.count)
    let facts = RejectFacts(
      policy: job.rejects.policy, maxShare: job.rejects.maxShare,
      minRecords: job.rejects.minRecords,
      recordCount: recordCount, rejectedCount: Int64(judged.count),
      history: try history(max(0, wanted), plan.backfill != nil))
    guard case .stop(let rule, let rejectedCount, let judgedCount) = rejectVerdict(facts) else {
      return acceptedCount
    }
    let stop = RejectStop(
      batch: plan.batch, record: first.record, reason: first.reason.rawValue, field: first.field,
      text: first.text.map { String(decoding: $0, as: UTF8.self) }, rule: rule,
      rejectedCount: rejectedCount, judgedCount: judgedCount,
      maxShare: job.rejects.maxShare)
    throw BatchFault(
      plan, .rejects(plan.ranges[first.partitionIndex].partition, first.offset, stop))
  }

  private func renderGroups(_ delta: Delta, _ fold: Fold, _ plan: BatchPlan) throws -> [UInt8] {
    guard let renderer else { preconditionFailure("a batch window without a renderer") }
    let columns = delta.keys + fold.layout.results(delta.state)
    let groups = Table(job.selectInputSchema, columns: columns).sorted(byFirst: delta.keys.count)
    let lineage = delta.panes.flatMap(\.contributions).map {
      Lineage(
        partition: plan.ranges[$0.partitionIndex].partition, smallestOffset: $0.smallestOffset,
        largestOffset: $0.largestOffset,
        recordCount: $0.recordCount)
    }
    return try encoded(
      renderer, groups.columns, visibleColumnCount: groups.columns.count, lineage, plan)
  }

  /// The object of a row job; a record for which `select` has no value becomes a reject.
  private func renderRows(_ plan: BatchPlan) throws -> [UInt8] {
    guard let renderer else { preconditionFailure("a row job without a renderer") }
    do {
      return try renderMatchingRows(renderer, plan)
    } catch {
      let rows = matches.indices.filter { matches[$0] }
      let all = Table(batch.schema, columns: batch.columns)
      let failing = try failingRows(rows) { some in
        _ = try renderer.table(all.selecting(some).columns, visibleColumnCount: job.fields.count)
      }
      // Where every record passes alone, the fault is in all of them together.
      if failing.isEmpty { throw error }
      try refuse(failing.map { Refusal(row: $0, .expressionFailed, field: "select") })
      return try renderMatchingRows(renderer, plan)
    }
  }

  private func renderMatchingRows(_ renderer: Renderer, _ plan: BatchPlan) throws -> [UInt8] {
    let rows = matches.indices.filter { matches[$0] }
    let counted =
      rows.count == batch.rowCount
      ? batch.columns : Table(batch.schema, columns: batch.columns).selecting(rows).columns
    let lineage = batch.slices.compactMap { slice -> Lineage? in
      let counted = slice.rows.filter { matches[$0] }
      guard let first = counted.first, let last = counted.last else { return nil }
      return Lineage(
        partition: plan.ranges[slice.partitionIndex].partition,
        smallestOffset: batch.offsets[first], largestOffset: batch.offsets[last],
        recordCount: Int64(counted.count))
    }
    return try encoded(renderer, counted, visibleColumnCount: job.fields.count, lineage, plan)
  }

  private func encoded(
    _ renderer: Renderer, _ columns: [Column], visibleColumnCount: Int, _ lineage: [Lineage],
    _ plan: BatchPlan
  ) throws(BatchFault) -> [UInt8] {
    do {
      let table = try stopwatch.measure(.render) {
        try renderer.table(columns, visibleColumnCount: visibleColumnCount)
      }
      return try stopwatch.measure(.encode) {
        try renderer.encode(table, .batch(plan.batch), lineage)
      }
    } catch {
      throw BatchFault(plan, .rendering(error))
    }
  }
}

extension Job {
  /// The columns that hold the message's key or a part of it, in lower case.
  fileprivate var columnsOfKey: Set<String> {
    Set(fields.filter(\.isOfKey).map { $0.column.name.lowercased() } + [MessageField.key.rawValue])
  }

  /// The message's own fields that the job reads anywhere.
  var messageFieldsRead: [MessageField] {
    var names = columnsRead
    // A late record is told by the windows' time and the message's own.
    if lateness != nil { names.insert(MessageField.timestamp.rawValue) }
    return MessageField.allCases.filter { names.contains($0.rawValue) }
  }
}

extension RecordDecoder {
  /// As a job reads its records.
  init(_ job: Job) {
    self.init(
      format: job.format, envelope: job.envelope, fields: job.fields, csv: job.csv,
      tombstones: job.tombstones, messageFields: job.messageFieldsRead,
      requiredTimeColumn: job.window.timeColumn,
      futureLimitMilliseconds: job.limits.futureMilliseconds,
      recordByteLimit: Int(job.limits.recordBytes), messageByteLimit: Int(job.limits.batchBytes),
      keyByteLimit: Int(job.limits.keyBytes))
  }
}
