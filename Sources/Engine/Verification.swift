package import Checkpoints
package import Offsets
internal import Tables
internal import Windows

/// What came of holding a checkpoint and its objects against the messages that they are made of.
package struct Verification: Sendable {
  package var job: String
  /// The number of the newest batch that was committed when the checkpoint was copied; 0 for none.
  package var batch: Int64
  /// Ascending.
  package var partitions: [PartitionAccount] = []
  package var findings = Sample<Finding>()
  /// By their labels: windows, batches and rejects of batches that cannot be held against messages,
  /// because some of these are not there any more, or the history of the batch is not.
  package var unprovable = Sample<String>()
  package var notCompared = Sample<NotCompared>()
  /// What agrees, and what does not.
  package var batchCount: Int64 = 0
  package var windowCount: Int64 = 0
  /// Of them, those whose messages are all there.
  package var provedWindowCount: Int64 = 0
  package var groupCount: Int64 = 0
  package var objectCount: Int64 = 0
  package var rejectCount: Int64 = 0
  /// Where not all was looked at: how many windows or batches were chosen, and of how many.
  package var chosen: (count: Int64, of: Int64)?

  package init(job: String, batch: Int64) {
    self.job = job
    self.batch = batch
  }

  /// - Parameter isStrict: Whether what cannot be proved is as bad as what differs.
  package func agrees(isStrict: Bool) -> Bool {
    findings.count == 0 && (!isStrict || unprovable.count == 0)
  }
}

/// The first of a list that may be very long, and how many there are.
package struct Sample<Element: Sendable>: Sendable {
  package private(set) var first: [Element] = []
  package private(set) var count: Int64 = 0
  private static var limit: Int { 1_000 }

  package init() {}

  package mutating func append(_ element: Element) {
    if first.count < Self.limit { first.append(element) }
    count += 1
  }

  package mutating func append(_ elements: [Element]) {
    for element in elements { append(element) }
  }

  mutating func append(_ other: Self) {
    append(other.first)
    count += other.count - Int64(other.first.count)
  }
}

/// What became of the offsets of a partition. Each belongs to one of these.
package struct PartitionAccount: Sendable, Equatable {
  package let partition: PartitionID
  package var messages = MessageCounts()
  /// Read, and without a message: control records, aborted or compacted ones, which the client
  /// cannot tell apart.
  package var holes: Int64 = 0
  /// Given up.
  package var gaps: Int64 = 0
  /// Counted, and no longer held by the broker.
  package var unheld: Int64 = 0
  /// Held by the broker, and not the job's to count: below its start, or not read yet.
  package var outside: Int64 = 0
  /// Counted by the checkpoint, and read by no batch.
  package var missing: Int64 = 0

  package init(partition: PartitionID) { self.partition = partition }
}

/// Messages by what became of their records.
package struct MessageCounts: Sendable, Equatable {
  /// At least one record is counted.
  package var counted: Int64 = 0
  /// `where` left out all records that decoded.
  package var filtered: Int64 = 0
  package var rejected: Int64 = 0
  /// No record in them, as in an empty array.
  package var empty: Int64 = 0

  package init() {}

  var sum: Int64 { counted + filtered + rejected + empty }

  mutating func add(_ other: MessageCounts) {
    counted += other.counted
    filtered += other.filtered
    rejected += other.rejected
    empty += other.empty
  }
}

/// Something that does not agree.
package enum Finding: Sendable, Equatable {
  /// The messages give a group that the checkpoint does not hold, or the other way round.
  case groupMissing(window: String, group: String)
  case groupExtra(window: String, group: String)
  case measure(window: String, group: String, measure: String, held: String, found: String)
  /// What the checkpoint says of a window's records, and of where they come from.
  case records(window: String, held: Int64?, found: Int64?)
  case lineage(window: String, PartitionID, held: Lineage?, found: Lineage?)
  /// A window that holds state and has no object.
  case noObject(window: String)

  /// Batches that the history lacks.
  case batchesMissing(from: Int64, to: Int64)
  /// More batches are gone from the history than were pruned.
  case batchesGone(count: Int64)
  /// Sums over the batches that the history holds, and what is kept of them.
  case total(BatchCountName, held: Int64, found: Int64)
  /// Offsets that the checkpoint calls counted, and those that all batches have read.
  case offsetSum(held: Int64, found: Int64)
  case batchCount(batch: Int64, BatchCountName, held: Int64, found: Int64)
  /// A batch has read offsets that the checkpoint does not call counted.
  case outside(PartitionRange, batch: Int64)
  /// A batch has read offsets that an earlier one had read.
  case twice(PartitionRange, batch: Int64)
  /// The checkpoint calls offsets counted that no batch has read.
  case missing(PartitionRange)
  /// The checkpoint calls offsets counted that the log does not reach.
  case beyondEnd(PartitionRange, end: Offset)

  case rejectMissing(RejectPlace, reason: String)
  case rejectExtra(RejectPlace, reason: String)
  /// - Parameter value: What differs; `held` and `found` are told of reasons and fields only.
  case reject(RejectPlace, value: String, held: String?, found: String?)

  case objectMissing(key: String)
  /// An object of a batch's rows that the checkpoint knows nothing of.
  case objectStrange(key: String)
  case object(key: String, ObjectDifference)
  /// The state cannot be rendered.
  case unrenderable(key: String, cause: String)
}

package enum BatchCountName: String, Sendable { case offsets, records, counted, rejected }

package struct RejectPlace: Sendable, Hashable {
  package let batch: Int64
  package let partition: PartitionID
  package let offset: Offset
  package let record: Int

  package init(batch: Int64, partition: PartitionID, offset: Offset, record: Int) {
    self.batch = batch
    self.partition = partition
    self.offset = offset
    self.record = record
  }
}

package struct ObjectDifference: Sendable, Equatable {
  /// Nil where they were not rendered, as the messages are gone.
  package let renderedByteCount: Int64?
  package let storedByteCount: Int64
  /// The first byte that differs, from 0; nil where the bytes were not compared.
  package let firstByte: Int64?
  /// Whether the object is still the one that the job published.
  package let isAsPublished: Bool

  package init(
    renderedByteCount: Int64?, storedByteCount: Int64, firstByte: Int64?, isAsPublished: Bool
  ) {
    self.renderedByteCount = renderedByteCount
    self.storedByteCount = storedByteCount
    self.firstByte = firstByte
    self.isAsPublished = isAsPublished
  }
}

/// Something that was not held against anything.
package struct NotCompared: Sendable, Equatable {
  package enum Reason: Sendable, Equatable {
    /// The store is yet to get the newest revision.
    case unpublished
    /// A run has changed it meanwhile.
    case newer
    /// A request about it may still be applied; the next run asks.
    case unsettled
    /// Another release, which the text names, rendered it; it is as it was published.
    case otherRelease(String)
    /// The job file means another content now; the next run writes it again.
    case jobChanged
    /// It stays where the job published before: that place, or an empty text where that is unknown.
    case formerPlace(String)
    /// Rendered by a `select` that the checkpoint does not know; it is as it was published.
    case otherSettings
    /// The batch is too large for `limits.batch_bytes` now.
    case tooLarge
  }
  package let subject: String
  package let reason: Reason

  package init(_ subject: String, _ reason: Reason) {
    self.subject = subject
    self.reason = reason
  }
}

// MARK: - The state

/// How far two sums of the same doubles may be apart, as a share of the sum of their magnitudes.
private let roundingShare = 1e-12

extension StateLayout {
  /// What differs in groups that are not the same to the last bit.
  ///
  /// - Parameters:
  ///   - layout: Of what was folded again: this one's measures, then magnitudes.
  ///   - proof: Where messages are gone, the checkpoint may hold more than what is left of them.
  func findings(
    window: String, _ groups: ComparedGroups, against layout: StateLayout, _ proof: Proof
  ) -> [Finding] {
    (0..<groups.count).flatMap { row -> [Finding] in
      let group = describe(groups.keys, row)
      guard groups.isHeld[row] else { return [.groupMissing(window: window, group: group)] }
      guard groups.isFound[row] else {
        return proof == .whole ? [.groupExtra(window: window, group: group)] : []
      }
      return measures.indices.compactMap { index -> Finding? in
        let measure = measures[index]
        let columns = columnsOfMeasure[index]
        if proof == .whole {
          let bound = layout.magnitudeColumn(of: measure).map { column in
            groups.found[column].isNull[row]
              ? 0 : groups.found[column].doubles[row] * roundingShare
          }
          let isSame = columns.allSatisfy {
            groups.held[$0].isSame(row, groups.found[$0], within: bound ?? 0)
          }
          if isSame { return nil }
        } else {
          let column = columns.lowerBound
          guard measure.function.onlyGrows,
            groups.found[column].integers[row] > groups.held[column].integers[row]
          else { return nil }
        }
        return .measure(
          window: window, group: group, measure: measure.name,
          held: text(groups.held[columns], row), found: text(groups.found[columns], row))
      }
    }
  }

  private func magnitudeColumn(of measure: Measure) -> Int? {
    guard let name = measure.magnitude?.name else { return nil }
    return measures.firstIndex { $0.name == name }.map { columnsOfMeasure[$0].lowerBound }
  }

  /// `(api_id=17, city="Bern")`
  func describe(_ keys: [Column], _ row: Int) -> String {
    let values = zip(self.keys, keys).map { "\($0.name)=\($1.text(row))" }
    return "(\(values.joined(separator: ", ")))"
  }

  /// A measure of several state columns is told by all of them.
  private func text(_ columns: ArraySlice<Column>, _ row: Int) -> String {
    columns.map { $0.text(row) }.joined(separator: " / ")
  }
}

extension Column {
  fileprivate func text(_ row: Int) -> String {
    if isNull[row] { return "NULL" }
    return switch type {
    case .bytes: "\(text.byteCount(of: row)) bytes"
    case .string: "\"\(text[row])\""
    default: plainText(row)
    }
  }

  fileprivate func isSame(_ row: Int, _ other: Column, within bound: Double) -> Bool {
    if isNull[row] != other.isNull[row] { return false }
    if isNull[row] { return true }
    switch type.storage {
    case .integers: return integers[row] == other.integers[row]
    case .doubles: return abs(doubles[row] - other.doubles[row]) <= bound
    case .text:
      return text.withBytes(of: row) { bytes in
        other.text.withBytes(of: row) { bytes.elementsEqual($0) }
      }
    }
  }
}

/// What messages still say of a window.
enum Proof: Equatable {
  /// All of them are there.
  case whole
  /// Some are gone: what the others give is the least that the checkpoint holds.
  case part
  /// What is there cannot be told from what was counted.
  case none
}

/// Of each partition, the counted offsets that do not say any more all that they said.
struct Evidence {
  /// Nothing was read of them.
  var unread: [PartitionID: OffsetRangeSet]
  /// Some of their messages may be gone.
  var thinned: [PartitionID: OffsetRangeSet]
  /// They may have been judged otherwise.
  var uncertain: [PartitionID: OffsetRangeSet]
  /// Which of their records were late nobody knows any more.
  var unjudged: [PartitionID: OffsetRangeSet]
}

extension VerificationCopy.ComparedPane {
  /// What is said of a pane beside its groups.
  func findings(window: String, _ proof: Proof) -> [Finding] {
    func differs<Value: Equatable>(
      _ held: Value?, _ found: Value?, isWithin: (Value, Value) -> Bool
    ) -> Bool {
      if held == found { return false }
      guard proof == .part, let held else { return true }
      return found.map { !isWithin($0, held) } ?? false
    }
    var findings: [Finding] = []
    if differs(heldRecords, foundRecords, isWithin: <=) {
      findings.append(.records(window: window, held: heldRecords, found: foundRecords))
    }
    for part in parts
    where differs(
      part.held, part.found,
      isWithin: {
        $0.recordCount <= $1.recordCount && $0.smallestOffset >= $1.smallestOffset
          && $0.largestOffset <= $1.largestOffset
      })
    {
      findings.append(
        .lineage(window: window, part.partition, held: part.held, found: part.found))
    }
    return findings
  }

  /// Whether all that contributed is among offsets that were read again, and still there.
  ///
  /// - Parameter mayHaveLate: Whether records may have come late where nobody knows any more.
  func proof(by evidence: Evidence, mayHaveLate: Bool) -> Proof {
    var proof = Proof.whole
    for part in parts {
      if part.isOfFormerLog { return .none }
      guard let known = part.held ?? part.found else { continue }
      let range = OffsetRange(from: known.smallestOffset, to: known.largestOffset + 1)
      func meets(_ sets: [PartitionID: OffsetRangeSet]) -> Bool {
        sets[part.partition]?.range(meeting: range) != nil
      }
      if meets(evidence.uncertain) || (mayHaveLate && meets(evidence.unjudged)) { return .none }
      // Records that are all found are all there, whatever else was compacted.
      let isLess = part.found?.recordCount ?? 0 < part.held?.recordCount ?? 0
      if meets(evidence.unread) || (isLess && meets(evidence.thinned)) { proof = .part }
    }
    return proof
  }
}

// MARK: - The history

/// Goes through the history of batches, oldest first, and holds it against what the checkpoint
/// calls counted.
struct HistoryAccount {
  /// By partition, what batches have read of the log that is read now.
  private(set) var covered: [PartitionID: OffsetRangeSet] = [:]
  /// The offset behind what batches of new messages have read.
  private var ends: [PartitionID: Offset] = [:]
  private let counted: [PartitionID: OffsetRangeSet]
  /// Of partitions whose log was replaced, the batch with which the log of now begins.
  private let firstBatches: [PartitionID: Int64]
  private let history: VerificationCopy.History
  private var next: Int64 = 1
  private var goneCount: Int64 = 0
  private var sums = BatchTotals()

  init(
    counted: [PartitionID: OffsetRangeSet], firstBatches: [PartitionID: Int64],
    _ history: VerificationCopy.History
  ) {
    self.counted = counted
    self.firstBatches = firstBatches
    self.history = history
  }

  /// - Returns: What the batch has read that no other has, of logs that are read now; and what is
  ///   wrong with it.
  mutating func take(_ batch: VerificationCopy.Batch) -> (ranges: [PartitionRange], [Finding]) {
    var findings = pass(to: batch.number)
    next = batch.number + 1
    sums.batchCount += 1
    for (sum, count) in [
      (\BatchTotals.offsetCount, batch.offsetCount), (\.recordCount, batch.recordCount),
      (\.countedCount, batch.countedCount), (\.rejectedCount, batch.rejectedCount),
    ] { sums[keyPath: sum] &+= count }
    let offsetCount = batch.ranges.reduce(0) { $0 + $1.count }
    if offsetCount != batch.offsetCount {
      findings.append(
        .batchCount(
          batch: batch.number, .offsets, held: batch.offsetCount, found: offsetCount))
    }
    var ranges: [PartitionRange] = []
    for range in batch.ranges where batch.number >= firstBatches[range.partition] ?? 0 {
      let wanted = OffsetRangeSet([range.range])
      let known = counted[range.partition] ?? OffsetRangeSet()
      let before = covered[range.partition] ?? OffsetRangeSet()
      func told(_ set: OffsetRangeSet) -> [PartitionRange] {
        set.ranges.map { PartitionRange(range.partition, $0) }
      }
      findings += told(wanted.subtracting(known)).map { .outside($0, batch: batch.number) }
      findings += told(wanted.intersection(before)).map { .twice($0, batch: batch.number) }
      ranges += told(wanted.intersection(known).subtracting(before))
      covered[range.partition, default: OffsetRangeSet()].insert(range.range)
      if !batch.isOfBackfill { ends[range.partition] = range.to }
    }
    return (ranges, findings)
  }

  /// Numbers of batches that are not there. Those that may have been pruned are counted.
  private mutating func pass(to number: Int64) -> [Finding] {
    let bound = min(number, max(next, history.mayBePrunedBelow))
    goneCount += bound - next
    return number > bound ? [.batchesMissing(from: bound, to: number)] : []
  }

  /// - Parameter number: The next batch that will be committed.
  mutating func close(at number: Int64) -> [Finding] {
    var findings = pass(to: number)
    if goneCount > history.pruned.batchCount {
      findings.append(.batchesGone(count: goneCount - history.pruned.batchCount))
    }
    let names: [(BatchCountName, KeyPath<BatchTotals, Int64>)] = [
      (.offsets, \.offsetCount), (.records, \.recordCount), (.counted, \.countedCount),
      (.rejected, \.rejectedCount),
    ]
    for (name, sum) in names {
      let kept = history.all[keyPath: sum] &- history.pruned[keyPath: sum]
      if kept != sums[keyPath: sum] {
        findings.append(.total(name, held: kept, found: sums[keyPath: sum]))
      }
    }
    // What was counted of logs that were replaced is not known any more.
    let offsetCount = counted.values.reduce(0) { $0 &+ $1.offsetCount }
    if !history.hasFormerLogs && offsetCount != history.all.offsetCount {
      findings.append(.offsetSum(held: offsetCount, found: history.all.offsetCount))
    }
    return findings
  }

  /// Offsets that are called counted, and that no batch has read: none that is there, and none that
  /// can have been pruned.
  func missing(_ partition: PartitionID, of left: OffsetRangeSet) -> OffsetRangeSet {
    if history.pruned.batchCount == 0 { return left }
    guard let end = ends[partition] else { return OffsetRangeSet() }
    return left.subtracting(OffsetRangeSet([OffsetRange(from: 0, to: end)]))
  }
}

/// With which batch the log of now begins, of partitions whose log was replaced. Batches are told
/// the newest first.
struct FirstBatches {
  private struct Log {
    /// Newest first: the log of now, then those before.
    var logs: [OffsetRange]
    var index = 0
    var position: Offset
  }
  private var logs: [PartitionID: Log] = [:]
  private(set) var batches: [PartitionID: Int64] = [:]

  init(_ ledgers: [PartitionID: OffsetLedger], formerLogs: [PartitionID: [OffsetRange]]) {
    for (partition, former) in formerLogs {
      guard let ledger = ledgers[partition] else { continue }
      let now = OffsetRange(from: ledger.start, to: ledger.nextOffset)
      logs[partition] = Log(logs: [now] + former.reversed(), position: now.to)
      batches[partition] = .max
    }
  }

  var isEmpty: Bool { logs.isEmpty }

  mutating func take(_ batch: VerificationCopy.Batch) {
    for range in batch.ranges {
      guard var log = logs[range.partition] else { continue }
      if !batch.isOfBackfill {
        // Batches of one log go up: read backwards, each ends at the one before it or below.
        while log.index + 1 < log.logs.count,
          range.to > log.position || range.from < log.logs[log.index].from
        {
          log.index += 1
          log.position = log.logs[log.index].to
        }
        log.position = range.from
      }
      if log.index == 0 { batches[range.partition] = batch.number }
      logs[range.partition] = log
    }
  }
}

// MARK: - Rejects

/// What differs between the rejects that are kept of a batch and those that its messages give;
/// both in the order of their records.
func rejectFindings(
  batch: Int64, held: [StoredReject], found: [StoredReject]
) -> [Finding] {
  func place(_ reject: StoredReject) -> RejectPlace {
    RejectPlace(
      batch: batch, partition: reject.partition, offset: reject.offset, record: reject.record)
  }
  var findings: [Finding] = []
  let heldByPlace = Dictionary(held.map { (place($0), $0) }) { first, _ in first }
  var places: Set<RejectPlace> = []
  for reject in found {
    places.insert(place(reject))
    guard let held = heldByPlace[place(reject)] else {
      findings.append(.rejectMissing(place(reject), reason: reject.reason))
      continue
    }
    if held.reason != reject.reason {
      findings.append(
        .reject(place(reject), value: "reason", held: held.reason, found: reject.reason))
    }
    if held.field != reject.field {
      findings.append(
        .reject(place(reject), value: "field", held: held.field, found: reject.field))
    }
    // Bytes may be cut at another place, where a limit was another then. What an older release did
    // not keep is not there.
    if !isSameStart(held.raw, reject.raw) {
      findings.append(.reject(place(reject), value: "raw", held: nil, found: nil))
    }
    if let key = held.key, !isSameStart(key, reject.key) {
      findings.append(.reject(place(reject), value: "record_key", held: nil, found: nil))
    }
    if let time = held.timestampMilliseconds, time != reject.timestampMilliseconds {
      findings.append(.reject(place(reject), value: "record_timestamp", held: nil, found: nil))
    }
    if let headers = held.headers, headers != reject.headers {
      findings.append(.reject(place(reject), value: "record_headers", held: nil, found: nil))
    }
  }
  for reject in held where !places.contains(place(reject)) {
    findings.append(.rejectExtra(place(reject), reason: reject.reason))
  }
  return findings
}

private func isSameStart(_ left: [UInt8]?, _ right: [UInt8]?) -> Bool {
  guard let left, let right else { return left == nil && right == nil }
  if left == right { return true }
  let (shorter, longer) = left.count < right.count ? (left, right) : (right, left)
  return shorter.count >= leastCutByteCount && longer.starts(with: shorter)
}

/// Fewer bytes were not cut by any limit that a job is likely to have.
private let leastCutByteCount = 1_000

// MARK: - Objects

/// What is known of an object when it is held against what it should be.
struct ObjectComparison {
  /// As the copy of the checkpoint has it.
  var known: StoredObject
  /// As the checkpoint has it now; asked where the two do not agree.
  var isNewerNow: Bool
  var renderedBy: String
  var difference: ObjectDifference
  /// Whether it was rendered under settings that nobody noted.
  var isAssumed = false
  /// Whether the two hold the same values, though their bytes differ; nil where that is not known.
  var hasSameValues: Bool?

  enum Verdict: Equatable {
    case agrees
    case notCompared(NotCompared.Reason)
    case differs(ObjectDifference)
  }

  /// Of an object that is not what the state renders to, to the byte.
  var verdict: Verdict {
    if isNewerNow { return .notCompared(.newer) }
    if !known.isSettled && !difference.isAsPublished { return .notCompared(.unsettled) }
    let release = known.renderedBy ?? ""
    if difference.isAsPublished && isAssumed && hasSameValues != true {
      return .notCompared(.otherSettings)
    }
    if difference.isAsPublished && release != renderedBy {
      return switch hasSameValues {
      case true: .agrees
      case false: .differs(difference)
      case nil: .notCompared(.otherRelease(release))
      }
    }
    return .differs(difference)
  }
}
