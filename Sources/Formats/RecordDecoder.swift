package import Offsets
package import Tables

/// Turns messages into typed columns, record by record. What does not decode becomes a reject; nothing vanishes.
///
/// A message holds one or more records, each ended by a newline or by the message's end; `\r\n` will do. Blank lines are passed over, but a
/// message without any record, an empty one and a null one are rejects. Scanning finds where each field lies; conversion is the same for
/// CSV and JSON from there on. Nothing is allocated per record.
package struct RecordDecoder: Sendable {
  /// The declared fields, then the message's own that the job reads.
  package let schema: Schema

  let format: InputFormat
  let fields: [InputField]
  private let messageFields: [MessageField]
  /// The position of the column that must hold a time.
  private let requiredTimeColumn: Int?
  private let recordByteLimit: Int
  /// Where each declared field of the record at hand lies.
  private var tokens: [Token]
  /// JSON texts without their escapes.
  private var unescaped: [UInt8] = []
  private var json: JSONScanner

  /// - Parameters:
  ///   - fields: In CSV found by position, in JSON by name.
  ///   - messageFields: In the order in which their columns follow the declared ones.
  ///   - requiredTimeColumn: The window's time: a record without it is a reject.
  package init(
    format: InputFormat, fields: [InputField], messageFields: [MessageField], requiredTimeColumn: String?, recordByteLimit: Int
  ) {
    self.format = format
    self.fields = fields
    self.messageFields = messageFields
    self.recordByteLimit = recordByteLimit
    schema = Schema(fields.map(\.column) + messageFields.map(\.column))
    self.requiredTimeColumn = requiredTimeColumn.flatMap(schema.index)
    tokens = [Token](repeating: .absent, count: fields.count)
    json = JSONScanner(names: fields.map(\.column.name))
  }

  /// Appends every record of the messages to the batch, in order, and closes the partition's rows.
  ///
  /// - Parameter partitionIndex: The partition's position in the plan.
  package mutating func decode(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32, partitionIndex: Int, into batch: inout RecordBatch
  ) {
    for message in messages {
      let origin = Origin(message: message, topic: topic, partition: partition, partitionIndex: partitionIndex)
      decode(origin, into: &batch)
    }
    batch.closeRows(ofPartition: partitionIndex)
  }

  private struct Origin {
    let message: Message
    let topic: String
    let partition: Int32
    let partitionIndex: Int
  }

  private mutating func decode(_ origin: Origin, into batch: inout RecordBatch) {
    guard let value = origin.message.value else {
      batch.rejects.append(reject(origin, record: 0, Fault(.malformed), raw: nil))
      return
    }
    var position = 0
    var record = 0
    while position < value.count {
      // Blank lines between records are passed over.
      if value[position] == UInt8(ascii: "\n") || (value[position] == UInt8(ascii: "\r") && isLineEnd(value, position + 1)) {
        position += 1
        continue
      }
      let start = position
      var fault = format == .csv ? scanCSV(value, &position) : scanJSON(value, &position)
      let bytes = UnsafeRawBufferPointer(rebasing: value[start..<trimmedEnd(value, start, position)])
      if bytes.count > recordByteLimit { fault = Fault(.recordTooLarge) }
      fault = fault ?? append(value, origin, to: &batch)
      if let fault { batch.rejects.append(reject(origin, record: record, fault, raw: bytes)) }
      record += 1
    }
    if record == 0 { batch.rejects.append(reject(origin, record: 0, Fault(.malformed), raw: value)) }
  }

  private func isLineEnd(_ value: UnsafeRawBufferPointer, _ position: Int) -> Bool {
    position >= value.count || value[position] == UInt8(ascii: "\n")
  }

  private func trimmedEnd(_ value: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int {
    var end = end
    while end > start, value[end - 1] == UInt8(ascii: "\n") || value[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    return end
  }

  private func reject(_ origin: Origin, record: Int, _ fault: Fault, raw: UnsafeRawBufferPointer?) -> Reject {
    Reject(
      partitionIndex: origin.partitionIndex, offset: origin.message.offset, record: record, reason: fault.reason,
      field: fault.field.map { schema.columns[$0].name }, raw: raw.map { [UInt8]($0.prefix(recordByteLimit)) })
  }

  // MARK: - Scanning

  /// Finds the fields of one CSV record and leaves `position` behind its newline.
  private mutating func scanCSV(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> Fault? {
    var index = 0
    var tooMany = false
    while true {
      guard let (token, isRecordEnd) = scanCSVField(value, &position) else {
        position = value.count
        return Fault(.malformed, field: index < fields.count ? index : nil)
      }
      if index < fields.count { tokens[index] = token } else { tooMany = true }
      index += 1
      if isRecordEnd { break }
    }
    if tooMany { return Fault(.extraField) }
    if index < fields.count { return Fault(.missingField, field: index) }
    return nil
  }

  /// Finds the fields of the JSON object on one line and leaves `position` behind its newline, which no JSON text can hold.
  private mutating func scanJSON(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> Fault? {
    let start = position
    while position < value.count, value[position] != UInt8(ascii: "\n") { position += 1 }
    let line = start..<position
    if position < value.count { position += 1 }
    unescaped.removeAll(keepingCapacity: true)
    return json.scan(value, line, into: &tokens, unescaped: &unescaped)
  }

  // MARK: - Conversion

  /// Appends a row, or nothing and the fault.
  private func append(_ value: UnsafeRawBufferPointer, _ origin: Origin, to batch: inout RecordBatch) -> Fault? {
    let row = batch.rowCount
    for index in fields.indices {
      if let reason = append(value, tokens[index], fields[index], to: &batch.columns[index]) {
        for filled in 0..<index { batch.columns[filled].truncate(to: row) }
        return Fault(reason, field: index)
      }
    }
    for (place, field) in messageFields.enumerated() {
      let index = fields.count + place
      if let reason = append(field, origin, to: &batch.columns[index]) {
        for filled in 0..<index { batch.columns[filled].truncate(to: row) }
        return Fault(reason, field: index)
      }
    }
    if let requiredTimeColumn, batch.columns[requiredTimeColumn].isNull[row] {
      for index in batch.columns.indices { batch.columns[index].truncate(to: row) }
      return Fault(.missingTimestamp, field: requiredTimeColumn)
    }
    batch.offsets.append(origin.message.offset)
    return nil
  }

  @inline(__always)
  private func append(_ value: UnsafeRawBufferPointer, _ token: Token, _ field: InputField, to column: inout Column) -> Reject.Reason? {
    switch token.kind {
    case .plain, .quoted, .number:
      return appendText(UnsafeRawBufferPointer(rebasing: value[token.start..<token.end]), token.kind, field, to: &column)
    case .unescaped:
      return unescaped.withUnsafeBytes {
        appendText(UnsafeRawBufferPointer(rebasing: $0[token.start..<token.end]), .quoted, field, to: &column)
      }
    case .doubledQuotes:
      // RFC 4180 quoting of a quote: rare, so the one place where a field is copied.
      let bytes = removingDoubledQuotes(value[token.start..<token.end])
      return bytes.withUnsafeBytes { appendText($0, .quoted, field, to: &column) }
    case .null:
      guard field.column.isNullable else { return .notNullable }
      column.appendNull()
      return nil
    case .absent:
      guard field.column.isNullable else { return .missingField }
      column.appendNull()
      return nil
    case .isTrue, .isFalse:
      guard field.column.type == .bool else { return .wrongType }
      column.append(integer: token.kind == .isTrue ? 1 : 0)
      return nil
    case .invalidText: return .invalidText
    case .composite: return .wrongType
    }
  }

  @inline(__always)
  private func appendText(
    _ text: UnsafeRawBufferPointer, _ kind: Token.Kind, _ field: InputField, to column: inout Column
  ) -> Reject.Reason? {
    if field.column.type == .string {
      // A JSON number is not a text.
      if kind == .number { return .wrongType }
      guard isValidText(text) else { return .invalidText }
      column.append(utf8: text)
      return nil
    }
    // An unquoted empty CSV field of another type is NULL where that may be.
    if text.isEmpty && kind == .plain && field.column.isNullable {
      column.appendNull()
      return nil
    }
    let parsed: Parsed<Int64>
    switch field.column.type {
    case .int32:
      parsed = parseInteger(text)
      if case .value(let number) = parsed, Int32(exactly: number) == nil { return .outOfRange }
    case .int64: parsed = parseInteger(text)
    case .bool: parsed = parseBool(text)
    case .decimal(let precision, let scale): parsed = DecimalText.parse(text, precision: precision, scale: scale)
    case .timestamp: parsed = parseTimestamp(text, kind, field.timestampEncoding)
    case .double: return appendDouble(text, to: &column)
    case .string, .timestampMicroseconds, .date: return .wrongType
    }
    switch parsed {
    case .value(let number):
      column.append(integer: number)
      return nil
    case .wrongType: return .wrongType
    case .outOfRange: return .outOfRange
    }
  }

  private func appendDouble(_ text: UnsafeRawBufferPointer, to column: inout Column) -> Reject.Reason? {
    switch parseDouble(text) {
    case .value(let number):
      column.append(double: number)
      return nil
    case .wrongType: return isNotFinite(text) ? .notFinite : .wrongType
    case .outOfRange: return .outOfRange
    }
  }

  private func parseTimestamp(_ text: UnsafeRawBufferPointer, _ kind: Token.Kind, _ encoding: TimestampEncoding) -> Parsed<Int64> {
    switch encoding {
    case .text:
      guard kind != .number, let milliseconds = TimestampText.parse(text) else { return .wrongType }
      return .value(milliseconds)
    case .unixSeconds: return DecimalText.parse(text, precision: 18, scale: 3, dropsExtraDigits: true)
    case .unixMilliseconds: return parseInteger(text)
    }
  }

  private func append(_ field: MessageField, _ origin: Origin, to column: inout Column) -> Reject.Reason? {
    switch field {
    case .key:
      guard let key = origin.message.key else {
        column.appendNull()
        return nil
      }
      guard isValidText(key) else { return .invalidText }
      column.append(utf8: key)
    case .timestamp:
      let timestamp = origin.message.timestampMilliseconds
      if timestamp < 0 { column.appendNull() } else { column.append(integer: timestamp) }
    case .topic: column.append(string: origin.topic)
    case .partition: column.append(integer: Int64(origin.partition))
    case .offset: column.append(integer: origin.message.offset)
    }
    return nil
  }
}

/// Why a record is refused, and the position of the column at fault.
struct Fault {
  let reason: Reject.Reason
  let field: Int?

  init(_ reason: Reject.Reason, field: Int? = nil) {
    self.reason = reason
    self.field = field
  }
}

/// Where a field's text lies, and what kind of text it is.
struct Token: Sendable {
  enum Kind: Sendable {
    case absent, null
    /// CSV without quotes, a CSV or JSON text in quotes without escapes, a JSON number.
    case plain, quoted, number
    /// A CSV text in quotes with doubled quotes in it.
    case doubledQuotes
    /// A JSON text that had escapes: its bytes lie in the decoder's own buffer.
    case unescaped
    case isTrue, isFalse
    /// A JSON text that can not be UTF-8.
    case invalidText
    /// A JSON array or object.
    case composite
  }
  let kind: Kind
  let start: Int
  let end: Int

  static let absent = Token(kind: .absent, start: 0, end: 0)
}

private func parseBool(_ text: UnsafeRawBufferPointer) -> Parsed<Int64> {
  if text.count == 1 {
    if text[0] == UInt8(ascii: "0") { return .value(0) }
    if text[0] == UInt8(ascii: "1") { return .value(1) }
  }
  if text.elementsEqual("true".utf8) { return .value(1) }
  if text.elementsEqual("false".utf8) { return .value(0) }
  return .wrongType
}

/// `nan`, `inf`, `-Infinity`: numbers in other systems, in any case.
private func isNotFinite(_ text: UnsafeRawBufferPointer) -> Bool {
  guard text.count <= 9 else { return false }
  let lowercased = text.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }.map { $0 | 0x20 }
  return ["nan", "inf", "infinity"].contains { $0.utf8.elementsEqual(lowercased) }
}
