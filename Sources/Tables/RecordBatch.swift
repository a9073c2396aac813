/// The decoded records of one batch, by column, in the order (source, topic, partition, offset,
/// record).
package struct RecordBatch: Sendable {
  /// The records of one partition: rows `rows`, of the batch's partition number `partitionIndex`.
  package struct Slice: Sendable, Equatable {
    package let partitionIndex: Int
    package var rows: Range<Int>
  }

  package let schema: Schema
  /// One per column of the schema.
  package var columns: [Column]
  /// The offset of the message each row came from. One message may hold several records.
  package var offsets: [Int64] = []
  /// Ascending by partition; a partition without rows has no slice.
  package private(set) var slices: [Slice] = []
  package var rejects: [Reject] = []
  /// Messages without a value that were passed over: neither a record nor a reject.
  package var tombstoneCount: Int64 = 0
  /// Where records are kept as they came: one entry per row, nil for one that is not kept. Else
  /// empty.
  package var records: [RecordBytes?] = []

  /// A record as it came.
  package struct RecordBytes: Sendable {
    /// Its number within its message, from 0.
    package let record: Int
    package let bytes: [UInt8]
    /// The first bytes of its message's key, where the job reads keys.
    package let key: [UInt8]?
    package let timestampMilliseconds: Int64?
    /// Its message's headers, as a reject keeps them.
    package let headers: String?

    package init(
      record: Int, bytes: [UInt8], key: [UInt8]?, timestampMilliseconds: Int64?, headers: String?
    ) {
      self.headers = headers
      self.record = record
      self.bytes = bytes
      self.key = key
      self.timestampMilliseconds = timestampMilliseconds
    }
  }

  package init(_ schema: Schema) {
    self.schema = schema
    columns = schema.columns.map { Column($0.type) }
  }

  package var rowCount: Int { offsets.count }

  /// Says that the rows from the last slice's end to here belong to a partition. Call it after each
  /// chunk of a partition.
  package mutating func closeRows(ofPartition partitionIndex: Int) {
    let start = slices.last?.rows.upperBound ?? 0
    guard start < rowCount else { return }
    if let slice = slices.last, slice.partitionIndex == partitionIndex {
      slices[slices.count - 1].rows = slice.rows.lowerBound..<rowCount
    } else {
      precondition(
        slices.last.map { $0.partitionIndex < partitionIndex } ?? true,
        "partitions are decoded in ascending order")
      slices.append(Slice(partitionIndex: partitionIndex, rows: start..<rowCount))
    }
  }

  /// Takes rows out that are in no slice yet; `isRemoved` begins with the row `first` and has an
  /// entry for each row to the end.
  package mutating func removeRows(from first: Int, where isRemoved: [Bool]) {
    for index in columns.indices { columns[index].removeRows(from: first, where: isRemoved) }
    var isRemaining = isRemoved.makeIterator()
    let kept = offsets[first...].filter { _ in !(isRemaining.next() ?? true) }
    offsets.replaceSubrange(first..., with: kept)
    guard !records.isEmpty else { return }
    isRemaining = isRemoved.makeIterator()
    let keptRecords = records[first...].filter { _ in !(isRemaining.next() ?? true) }
    records.replaceSubrange(first..., with: keptRecords)
  }

  /// Appends all of a later partition's records and rejects.
  package mutating func append(_ other: RecordBatch) {
    for index in columns.indices { columns[index].append(contentsOf: other.columns[index]) }
    let first = rowCount
    offsets += other.offsets
    for slice in other.slices {
      slices.append(
        Slice(
          partitionIndex: slice.partitionIndex,
          rows: first + slice.rows.lowerBound..<first + slice.rows.upperBound))
    }
    rejects += other.rejects
    tombstoneCount += other.tombstoneCount
    records += other.records
  }

  /// Gives records and rejects, all of one partition, to another number.
  package mutating func move(toPartition partitionIndex: Int) {
    slices = slices.map { Slice(partitionIndex: partitionIndex, rows: $0.rows) }
    for index in rejects.indices { rejects[index].partitionIndex = partitionIndex }
  }

  package mutating func removeAllKeepingCapacity() {
    for index in columns.indices { columns[index].removeAllKeepingCapacity() }
    offsets.removeAll(keepingCapacity: true)
    slices.removeAll(keepingCapacity: true)
    rejects.removeAll()
    tombstoneCount = 0
    records.removeAll()
  }
}

/// A row that is refused after decoding, because of its time, its key or an expression.
package struct Refusal: Sendable, Equatable {
  package let row: Int
  package let reason: Reject.Reason
  /// What is at fault: a column, or an expression of the job file.
  package let field: String?

  package init(row: Int, _ reason: Reject.Reason, field: String?) {
    self.row = row
    self.reason = reason
    self.field = field
  }
}

/// One record that did not decode. Nothing vanishes: it is counted, and kept or refused as the
/// job's policy says.
package struct Reject: Sendable, Equatable {
  package enum Reason: String, Sendable, CaseIterable {
    case malformed, nullValue, wrongType, outOfRange, missingField, extraField, duplicateField
    case notNullable, invalidText, notFinite, missingTimestamp, recordTooLarge
    /// The window's time is further ahead of the message's own than limits.future.
    case futureTimestamp
    /// A text to group by that is longer than limits.key_bytes.
    case keyTooLong
    /// `where`, or in a row job `select`, has no value for this record.
    case expressionFailed
    /// The record is well, and its window takes none any more: it came later than
    /// `window.allowed_lateness` allows or, in a backfill, the window is behind `window.retention`.
    case windowClosed

    /// Whether something is wrong with the record, and the rules for rejects judge it. Others are
    /// counted and always kept, and stop nothing: the job file said so beforehand.
    package var isFault: Bool { self != .windowClosed }
  }

  /// The batch's partition number, as in ``RecordBatch/Slice``.
  package fileprivate(set) var partitionIndex: Int
  package let offset: Int64
  /// The record's number within its message, from 0.
  package let record: Int
  package let reason: Reason
  /// The column at fault, when there is one.
  package let field: String?
  /// The record's bytes as they came; nil for a null value.
  package let raw: [UInt8]?
  /// The first bytes of the message's key, where the key is at fault.
  package let key: [UInt8]?
  /// The message's time, which a time at fault is held against; nil where it has none.
  package let timestampMilliseconds: Int64?
  /// The message's headers as JSON, which may say how its value is written; nil where it has none.
  package let headers: String?
  /// The first bytes of the text at fault, for a message to a person: of the field as it came, else
  /// of the record. Nil where there is none.
  package let text: [UInt8]?

  /// Most bytes of ``text``: more than a message shows, so that it can tell that there are more.
  package static let textByteLimit = 128

  package init(
    partitionIndex: Int, offset: Int64, record: Int, reason: Reason, field: String?, raw: [UInt8]?,
    key: [UInt8]?, timestampMilliseconds: Int64?, headers: String?, text: [UInt8]?
  ) {
    self.partitionIndex = partitionIndex
    self.offset = offset
    self.record = record
    self.reason = reason
    self.field = field
    self.raw = raw
    self.key = key
    self.timestampMilliseconds = timestampMilliseconds
    self.headers = headers
    self.text = text
  }
}
