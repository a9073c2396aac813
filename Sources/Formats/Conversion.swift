internal import Offsets
internal import Tables

/// The third stage of decoding: what the value source found of a field becomes a typed column, for
/// all records of a chunk.
struct Conversion {
  let fields: [InputField]
  /// Of each field, the slot that holds its token.
  let slots: [Int]
  /// Of CSV, where blanks around a value that is no text do not count; nil for JSON.
  let nullTexts: NullTexts?

  /// Appends one row per scanned record: the field's value, or a row to be taken out again where
  /// the record is refused.
  func convert(
    _ index: Int, of messages: UnsafeBufferPointer<Message>, _ scanned: inout ScannedRecords,
    to column: inout Column
  ) {
    let unescaped = scanned.unescaped
    unescaped.withUnsafeBytes {
      convert(
        index, Chunk(messages: messages, isOfKey: fields[index].isOfKey, unescaped: $0), &scanned,
        to: &column)
    }
  }

  private func convert(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords, to column: inout Column
  ) {
    let field = fields[index]
    switch field.column.type {
    case .int32:
      convertIntegers(index, chunk, &scanned, to: &column) { text, _ in
        let number = parseInteger(text)
        if case .value(let value) = number, Int32(exactly: value) == nil { return .outOfRange }
        return number
      }
    case .int64:
      convertIntegers(index, chunk, &scanned, to: &column) { text, _ in parseInteger(text) }
    case .uint64:
      convertIntegers(index, chunk, &scanned, to: &column) { text, _ in parseUnsigned(text) }
    case .bool: convertIntegers(index, chunk, &scanned, to: &column) { text, _ in parseBool(text) }
    case .decimal(let precision, let scale):
      let values = PowersOfTen.unscaledValues(precision: precision)
      convertIntegers(index, chunk, &scanned, to: &column) { text, _ in
        parseDecimal(text, scale: scale, values)
      }
    case .timestamp:
      switch field.timestampEncoding {
      case .text:
        convertIntegers(index, chunk, &scanned, to: &column) { text, kind in
          guard kind != .number, let milliseconds = TimestampText.parse(text) else {
            return .wrongType
          }
          return .value(milliseconds)
        }
      case .unixSeconds: convertUnixTimes(index, chunk, &scanned, scale: 3, to: &column)
      case .unixMilliseconds: convertUnixTimes(index, chunk, &scanned, scale: 0, to: &column)
      case .unixMicroseconds: convertUnixTimes(index, chunk, &scanned, scale: -3, to: &column)
      }
    case .double: convertDoubles(index, chunk, &scanned, to: &column)
    case .string: convertTexts(index, chunk, &scanned, to: &column)
    case .timestampMicroseconds, .date, .bytes:
      preconditionFailure("\(field.column.type) is not a type of an input field")
    }
  }

  @inline(__always)
  private func convertIntegers(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords, to column: inout Column,
    _ parse: (UnsafeRawBufferPointer, Token.Kind) -> Parsed<Int64>
  ) {
    let isBool = fields[index].column.type == .bool
    column.appendIntegers(rowCount: scanned.count) { values, isNull in
      convertNumbers(index, chunk, &scanned, to: values, isNull, parse) {
        isBool ? ($0 ? 1 : 0) : nil
      }
    }
  }

  private func convertUnixTimes(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords, scale: Int,
    to column: inout Column
  ) {
    convertIntegers(index, chunk, &scanned, to: &column) { text, _ in
      parseUnixTime(text, scale: scale)
    }
  }

  private func convertDoubles(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords, to column: inout Column
  ) {
    column.appendDoubles(rowCount: scanned.count) { values, isNull in
      convertNumbers(index, chunk, &scanned, to: values, isNull) { text, _ in
        let number = parseDouble(text)
        if case .wrongType = number, isNotFinite(text) { return .notFinite }
        return number
      } _: { _ in
        nil
      }
    }
  }

  /// - Parameters:
  ///   - parse: Makes a value of a text.
  ///   - convert: Makes a value of true or false; nil where the column takes none.
  @inline(__always)
  private func convertNumbers<Value>(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords,
    to values: UnsafeMutableBufferPointer<Value>, _ isNull: UnsafeMutableBufferPointer<Bool>,
    _ parse: (UnsafeRawBufferPointer, Token.Kind) -> Parsed<Value>,
    _ convert: (Bool) -> Value?
  ) {
    let isNullable = fields[index].column.isNullable
    let slot = slots[index]
    let nullTexts = fields[index].origin == .record ? nullTexts : nil
    for row in values.indices where !scanned.isRefused[row] {
      let found = withoutBlanks(scanned.value(row, slot, in: chunk), nullTexts)
      switch found {
      case .text(let text, let kind):
        // An unquoted empty CSV field is NULL where that may be.
        if text.isEmpty && kind == .plain && isNullable {
          isNull[row] = true
          continue
        }
        switch parse(text, kind) {
        case .value(let value): values[row] = value
        case .wrongType: scanned.refuse(row, Fault(.wrongType, field: index))
        case .outOfRange: scanned.refuse(row, Fault(.outOfRange, field: index))
        case .notFinite: scanned.refuse(row, Fault(.notFinite, field: index))
        }
      case .null where isNullable, .absent where isNullable: isNull[row] = true
      case .bool(let truth, _):
        if let value = convert(truth) {
          values[row] = value
        } else {
          scanned.refuse(row, Fault(found.reason, field: index))
        }
      case .null, .absent, .invalidText, .composite:
        scanned.refuse(row, Fault(found.reason, field: index))
      }
    }
  }

  @inline(__always)
  private func withoutBlanks(_ value: ScannedValue, _ nullTexts: NullTexts?) -> ScannedValue {
    guard case .text(let text, let kind) = value, let first = text.first, let last = text.last,
      isBlank(first) || isBlank(last), let nullTexts
    else { return value }
    let rest = trimmed(text)
    return kind == .plain && nullTexts.contains(rest) ? .null : .text(rest, kind)
  }

  private func trimmed(_ text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var (start, end) = (0, text.count)
    while start < end, isBlank(text[start]) { start += 1 }
    while end > start, isBlank(text[end - 1]) { end -= 1 }
    return UnsafeRawBufferPointer(rebasing: text[start..<end])
  }

  private func convertTexts(
    _ index: Int, _ chunk: Chunk, _ scanned: inout ScannedRecords, to column: inout Column
  ) {
    let isNullable = fields[index].column.isNullable
    let slot = slots[index]
    for row in 0..<scanned.count {
      guard !scanned.isRefused[row] else {
        column.appendNull()
        continue
      }
      switch scanned.value(row, slot, in: chunk) {
      // What is no text in JSON keeps its own: 18446744073709551615, true, {"a": 1}.
      case .text(let text, _), .bool(_, let text), .composite(let text):
        if isValidText(text) {
          column.append(utf8: text)
          continue
        }
        scanned.refuse(row, Fault(.invalidText, field: index))
      case .null where isNullable, .absent where isNullable: break
      case let other: scanned.refuse(row, Fault(other.reason, field: index))
      }
      column.appendNull()
    }
  }

  /// Appends what the message itself says, once per scanned record.
  func fill(
    _ field: MessageField, _ index: Int, of messages: UnsafeBufferPointer<Message>,
    _ scanned: inout ScannedRecords, topic: String, partition: Int32, to column: inout Column
  ) {
    for (row, record) in scanned.records.enumerated() {
      let message = messages[Int(record.message)]
      if field == .key, let key = message.key, !isValidText(key) {
        column.appendNull()
        scanned.refuse(row, Fault(.invalidText, field: index))
      } else {
        append(field, of: message, topic: topic, partition: partition, to: &column)
      }
    }
  }

  /// - Precondition: a key is a valid text.
  @inline(__always)
  func append(
    _ field: MessageField, of message: Message, topic: String, partition: Int32,
    to column: inout Column
  ) {
    switch field {
    case .key: if let key = message.key { column.append(utf8: key) } else { column.appendNull() }
    case .timestamp:
      if let milliseconds = message.timestampMilliseconds {
        column.append(integer: milliseconds)
      } else {
        column.appendNull()
      }
    case .topic: column.append(string: topic)
    case .partition: column.append(integer: Int64(partition))
    case .offset: column.append(integer: message.offset)
    }
  }
}

/// Where the texts of a chunk's tokens lie.
private struct Chunk {
  let messages: UnsafeBufferPointer<Message>
  /// Whether tokens are places in the messages' keys, not in their values.
  let isOfKey: Bool
  let unescaped: UnsafeRawBufferPointer
}

/// What a token holds, before anyone asks for a type.
private enum ScannedValue {
  case text(UnsafeRawBufferPointer, Token.Kind)
  case null
  case absent
  case bool(Bool, UnsafeRawBufferPointer)
  case invalidText
  case composite(UnsafeRawBufferPointer)

  /// Why it is refused, where it is.
  var reason: Reject.Reason {
    switch self {
    case .null: .notNullable
    case .absent: .missingField
    case .invalidText: .invalidText
    case .text, .bool, .composite: .wrongType
    }
  }
}

extension ScannedRecords {
  @inline(__always)
  fileprivate func value(_ row: Int, _ slot: Int, in chunk: Chunk) -> ScannedValue {
    let token = token(row, slot)
    @inline(__always) func text() -> UnsafeRawBufferPointer {
      let message = chunk.messages[Int(records[row].message)]
      guard let value = chunk.isOfKey ? message.key : message.value else {
        return UnsafeRawBufferPointer(start: nil, count: 0)
      }
      return UnsafeRawBufferPointer(rebasing: value[token.range])
    }
    switch token.kind {
    case .plain, .quoted, .number: return .text(text(), token.kind)
    case .unescaped:
      return .text(UnsafeRawBufferPointer(rebasing: chunk.unescaped[token.range]), .quoted)
    case .null: return .null
    case .absent: return .absent
    case .isTrue: return .bool(true, text())
    case .isFalse: return .bool(false, text())
    case .invalidText: return .invalidText
    case .composite: return .composite(text())
    }
  }
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

/// A space or a tab.
@inline(__always) func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

/// `nan`, `inf`, `-Infinity`: numbers in other systems, in any case.
private func isNotFinite(_ text: UnsafeRawBufferPointer) -> Bool {
  guard text.count <= 9 else { return false }
  let lowercased = text.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }.map {
    $0 | 0x20
  }
  return ["nan", "inf", "infinity"].contains { $0.utf8.elementsEqual(lowercased) }
}
