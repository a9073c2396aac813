package import Checkpoints
package import Offsets

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
  /// Windows whose state is gone, and whose objects alone were looked at.
  package var evictedCount: Int64 = 0
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
  /// Counted under a definition of the job that cannot be made again.
  package var notDecoded: Int64 = 0
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
    /// The job read it under another definition, which cannot be made again from the checkpoint.
    case otherDefinition
  }
  package let subject: String
  package let reason: Reason

  package init(_ subject: String, _ reason: Reason) {
    self.subject = subject
    self.reason = reason
  }
}
