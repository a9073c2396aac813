package import Offsets
package import Tables

/// Turns messages into typed columns. What does not decode becomes a reject, one record at a time;
/// nothing vanishes.
///
/// In three stages: ``Framing`` cuts messages into records, ``ValueSource`` finds the fields of a
/// record, ``Conversion`` turns the fields of all records into a typed column. A chunk of messages
/// is framed and scanned record by record, then converted field by field, so that no loop asks for
/// a type twice. Nothing is allocated per record.
///
/// ``IntegerRecords`` goes all three stages in one pass for the simplest of messages.
package struct RecordDecoder {
  /// The declared fields, then the message's own that the job reads.
  package let schema: Schema

  private let fieldCount: Int
  private let messageFields: [MessageField]
  /// The position of the column that must hold a time.
  private let requiredTimeColumn: Int?
  private let futureLimitMilliseconds: Int64
  /// Messages with records that are refused after decoding, which are kept as they came; nil where
  /// no such message is known of. Costs time.
  package var refusedMessages: Set<MessagePlace>?
  private let keyByteLimit: Int
  private let readsKey: Bool
  private let framing: Framing
  private let source: ValueSource
  private var columns: CSVColumns
  /// Nil where all declared fields lie in the record.
  private let beside: KeyAndHeaders?
  private let conversion: Conversion
  private var integers: IntegerRecords?
  private var scanned: ScannedRecords

  /// - Parameters:
  ///   - envelope: What is wrapped around JSON records.
  ///   - fields: All declared ones.
  ///   - csv: How CSV is written.
  ///   - tombstones: What becomes of messages without a value.
  ///   - messageFields: In the order in which their columns follow the declared ones.
  ///   - requiredTimeColumn: The window's time: a record without it is a reject.
  ///   - futureLimitMilliseconds: A window's time that is further ahead of the message's own makes
  ///     the record a reject. A message without a time decides nothing.
  ///   - messageByteLimit: A longer message is one reject, without a look at its records.
  ///   - keyByteLimit: Of a key at fault so many bytes are kept.
  ///   - takesShortcuts: False only in tests, to hold the short ways against the general one.
  package init(
    format: InputFormat, envelope: Envelope? = nil, fields: [InputField],
    csv: CSVDialect = .standard, tombstones: TombstonePolicy = .reject,
    messageFields: [MessageField], requiredTimeColumn: String?,
    futureLimitMilliseconds: Int64 = .max, recordByteLimit: Int,
    messageByteLimit: Int = .max, keyByteLimit: Int = .max, takesShortcuts: Bool = true
  ) {
    fieldCount = fields.count
    self.messageFields = messageFields
    schema = Schema(fields.map(\.column) + messageFields.map(\.column))
    self.requiredTimeColumn = requiredTimeColumn.flatMap(schema.index)
    self.futureLimitMilliseconds = futureLimitMilliseconds
    self.keyByteLimit = keyByteLimit
    readsKey = messageFields.contains(.key) || fields.contains(where: \.isOfKey)
    framing = Framing(
      recordByteLimit: recordByteLimit, messageByteLimit: messageByteLimit, tombstones: tombstones)
    source = ValueSource(format, fields: fields, csv: csv, envelope: envelope)
    columns = CSVColumns(fields, format == .csv ? csv.header : .none)
    beside = KeyAndHeaders(fields, envelope)
    var slots = source.slots(fields, columns)
    for (field, slot) in beside?.slots ?? [] { slots.ofFields[field] = slots.count + slot }
    conversion = Conversion(
      fields: fields, slots: slots.ofFields, nullTexts: source.nullTexts)
    scanned = ScannedRecords(slotCount: slots.count, besideCount: beside?.slotCount ?? 0)
    integers =
      takesShortcuts
      ? IntegerRecords(
        format: format, fields: fields, csv: csv, recordByteLimit: recordByteLimit,
        messageByteLimit: messageByteLimit,
        needsTimestamp: requiredTimeColumn?.lowercased() == MessageField.timestamp.rawValue,
        needsKey: messageFields.contains(.key))
      : nil
  }

  /// Appends every record of the messages to the batch, in order, and closes the partition's rows.
  ///
  /// - Parameter partitionIndex: The partition's position in the plan.
  package mutating func decode(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32, partitionIndex: Int,
    into batch: inout RecordBatch
  ) {
    var rest = messages
    // Where the short way does not take messages again and again it is only a detour.
    var misses = 0
    while misses < 8, !rest.isEmpty, integers != nil, refusedMessages == nil {
      let count = decodeIntegers(rest, topic: topic, partition: partition, into: &batch)
      rest = UnsafeBufferPointer(rebasing: rest[count...])
      if rest.isEmpty { break }
      misses += 1
      decodeGenerally(
        UnsafeBufferPointer(rebasing: rest[..<1]), topic: topic, partition: partition,
        partitionIndex: partitionIndex, into: &batch)
      rest = UnsafeBufferPointer(rebasing: rest[1...])
    }
    if !rest.isEmpty {
      decodeGenerally(
        rest, topic: topic, partition: partition, partitionIndex: partitionIndex, into: &batch)
    }
    batch.closeRows(ofPartition: partitionIndex)
  }

  private mutating func decodeIntegers(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32,
    into batch: inout RecordBatch
  ) -> Int {
    guard let count = integers?.take(messages, into: &batch.columns) else { return 0 }
    for (place, field) in messageFields.enumerated() {
      for index in 0..<count {
        conversion.append(
          field, of: messages[index], topic: topic, partition: partition,
          to: &batch.columns[fieldCount + place])
      }
    }
    for index in 0..<count { batch.offsets.append(messages[index].offset) }
    return count
  }

  private mutating func decodeGenerally(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32, partitionIndex: Int,
    into batch: inout RecordBatch
  ) {
    scanned.removeAllKeepingCapacity()
    for index in messages.indices {
      let first = scanned.count
      framing.frame(messages[index], index, source, &columns, into: &scanned)
      if let beside {
        scanned.setTokensBesideValue(of: first..<scanned.count) {
          beside.find(in: messages[index], into: $0, &$1)
        }
      }
    }
    batch.tombstoneCount += Int64(scanned.tombstoneCount)

    let first = batch.rowCount
    for index in 0..<fieldCount {
      conversion.convert(index, of: messages, &scanned, to: &batch.columns[index])
    }
    for (place, field) in messageFields.enumerated() {
      let index = fieldCount + place
      conversion.fill(
        field, index, of: messages, &scanned, topic: topic, partition: partition,
        to: &batch.columns[index])
    }
    if let requiredTimeColumn {
      for row in 0..<scanned.count where batch.columns[requiredTimeColumn].isNull[first + row] {
        scanned.refuse(row, Fault(.missingTimestamp, field: requiredTimeColumn))
      }
      // The message's own time cannot be ahead of itself.
      if requiredTimeColumn < fieldCount {
        refuseFutureTimes(requiredTimeColumn, of: messages, batch, from: first)
      }
    }
    for record in scanned.records { batch.offsets.append(messages[Int(record.message)].offset) }
    if let refusedMessages {
      keepRecords(of: messages, refusedMessages, partitionIndex: partitionIndex, into: &batch)
    }

    if !scanned.faults.isEmpty {
      batch.removeRows(from: first, where: scanned.isRefused)
      var context: MessageContext?
      for (row, fault) in scanned.faults.sorted(by: { $0.row < $1.row }) {
        let current = self.context(of: scanned.records[row], messages, context)
        batch.rejects.append(reject(row, fault, of: current, partitionIndex: partitionIndex))
        context = current
      }
    }
  }

  /// What the rejects of one message share, made once however many they are.
  private struct MessageContext {
    /// Its position in the chunk.
    let index: Int32
    let message: Message
    let key: [UInt8]?
    let headers: String?
  }

  /// - Parameter last: Of the record before, which may be of the same message.
  private func context(
    of record: ScannedRecords.FramedRecord, _ messages: UnsafeBufferPointer<Message>,
    _ last: MessageContext?
  ) -> MessageContext {
    if let last, last.index == record.message { return last }
    let message = messages[Int(record.message)]
    return MessageContext(
      index: record.message, message: message,
      key: message.key.map { [UInt8](textPrefix(of: $0, keyByteLimit)) },
      headers: HeadersText.format(message.headers))
  }

  private func keepRecords(
    of messages: UnsafeBufferPointer<Message>, _ refused: Set<MessagePlace>, partitionIndex: Int,
    into batch: inout RecordBatch
  ) {
    var last: MessageContext?
    for record in scanned.records {
      let offset = messages[Int(record.message)].offset
      guard refused.contains(MessagePlace(partitionIndex: partitionIndex, offset: offset)) else {
        batch.records.append(nil)
        continue
      }
      let context = self.context(of: record, messages, last)
      batch.records.append(
        RecordBatch.RecordBytes(
          record: Int(record.number),
          bytes: context.message.value.map { [UInt8]($0[record.range]) } ?? [],
          key: readsKey ? context.key : nil,
          timestampMilliseconds: context.message.timestampMilliseconds,
          headers: context.headers))
      last = context
    }
  }

  private mutating func refuseFutureTimes(
    _ column: Int, of messages: UnsafeBufferPointer<Message>, _ batch: RecordBatch, from first: Int
  ) {
    let times = batch.columns[column].integers
    for (row, record) in scanned.records.enumerated() {
      guard let time = messages[Int(record.message)].timestampMilliseconds else { continue }
      let (latest, isEndless) = time.addingReportingOverflow(futureLimitMilliseconds)
      if !isEndless && times[first + row] > latest {
        scanned.refuse(row, Fault(.futureTimestamp, field: column))
      }
    }
  }

  private func reject(
    _ row: Int, _ fault: Fault, of context: MessageContext, partitionIndex: Int
  ) -> Reject {
    let record = scanned.records[row]
    let message = context.message
    let raw = message.value.map {
      [UInt8](textPrefix(of: $0[record.range], framing.recordByteLimit))
    }
    let field = fault.field.map { schema.columns[$0].name }
    // A message may be too large because of its key, and a tombstone has nothing else.
    let keepsKey =
      fault.field.map(isOfKey) ?? false || message.byteCount > framing.messageByteLimit
      || fault.reason == .nullValue
    return Reject(
      partitionIndex: partitionIndex, offset: message.offset, record: Int(record.number),
      reason: fault.reason, field: field, raw: raw,
      key: keepsKey ? context.key : nil,
      timestampMilliseconds: message.timestampMilliseconds,
      headers: context.headers,
      text: textAtFault(row, fault, of: message))
  }

  /// - Parameter field: The position of a column.
  private func isOfKey(_ field: Int) -> Bool {
    field < fieldCount
      ? conversion.fields[field].isOfKey : messageFields[field - fieldCount] == .key
  }

  private func textAtFault(_ row: Int, _ fault: Fault, of message: Message) -> [UInt8]? {
    guard let value = message.value else { return nil }
    if let field = fault.field, isOfKey(field) {
      return message.key.map { [UInt8]($0.prefix(Reject.textByteLimit)) }
    }
    let record = value[scanned.records[row].range].prefix(Reject.textByteLimit)
    switch fault.reason {
    // Found before the record's fields were.
    case .malformed, .nullValue, .missingField, .extraField, .duplicateField, .recordTooLarge:
      return [UInt8](record)
    case .wrongType, .outOfRange, .notNullable, .invalidText, .notFinite, .missingTimestamp,
      .futureTimestamp, .keyTooLong, .expressionFailed, .windowClosed:
      guard let field = fault.field else { return [UInt8](record) }
      guard field < fieldCount else { return nil }
      return scanned.firstBytes(
        row, conversion.slots[field], in: value, atMost: Reject.textByteLimit)
    }
  }
}

/// A message of a batch.
package struct MessagePlace: Hashable, Sendable {
  /// The partition's position in the plan.
  package let partitionIndex: Int
  package let offset: Offset

  package init(partitionIndex: Int, offset: Offset) {
    self.partitionIndex = partitionIndex
    self.offset = offset
  }
}
