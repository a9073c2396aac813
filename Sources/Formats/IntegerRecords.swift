internal import Offsets
internal import Tables

/// The short way of decoding for the most common of messages: one CSV record of plain integers,
/// `17,230\n`.
///
/// It takes a run of messages that are nothing else and stops before the first that is: that one
/// goes the general way, which knows quotes, NULLs, several records and every fault. What it takes,
/// it decodes as the general way does.
struct IntegerRecords {
  private let fieldCount: Int
  private let delimiter: UInt8
  /// For each field whether it is an int32.
  private let isNarrow: [Bool]
  private let recordByteLimit: Int
  private let messageByteLimit: Int
  private let needsTimestamp: Bool
  private let needsKey: Bool
  /// The values of a run, record by record.
  private var values: [Int64] = []

  /// Nil where the format or a field's type or origin is another, where a header says which field
  /// is which, or where an integer may stand for NULL. Quotes and blanks need not be asked for:
  /// what holds them goes the general way.
  init?(
    format: InputFormat, fields: [InputField], csv: CSVDialect, recordByteLimit: Int,
    messageByteLimit: Int,
    needsTimestamp: Bool, needsKey: Bool
  ) {
    guard format == .csv, csv.header == .none, !NullTexts(csv.nullTexts).holdInteger,
      fields.allSatisfy({
        $0.origin == .record && ($0.column.type == .int32 || $0.column.type == .int64)
      })
    else { return nil }
    fieldCount = fields.count
    delimiter = csv.delimiter
    isNarrow = fields.map { $0.column.type == .int32 }
    self.recordByteLimit = recordByteLimit
    self.messageByteLimit = messageByteLimit
    self.needsTimestamp = needsTimestamp
    self.needsKey = needsKey
  }

  /// Appends the values of the messages from the first on, up to one that is not of the kind.
  ///
  /// - Returns: How many messages were taken, each one row.
  mutating func take(_ messages: UnsafeBufferPointer<Message>, into columns: inout [Column]) -> Int
  {
    let needed = messages.count * fieldCount
    if values.count < needed {
      values.append(contentsOf: repeatElement(0, count: needed - values.count))
    }
    let isShort = isShort
    let count = values.withUnsafeMutableBufferPointer { values in
      isNarrow.withUnsafeBufferPointer {
        Self.parse(messages, $0, delimiter, isShort, into: values)
      }
    }
    guard count > 0 else { return 0 }
    for field in 0..<fieldCount {
      columns[field].appendIntegers(rowCount: count) { target, _ in
        for row in 0..<count { target[row] = values[row * fieldCount + field] }
      }
    }
    return count
  }

  /// Whether anything but the value's text keeps a message from the short way.
  private var isShort: (Message) -> Bool {
    { [recordByteLimit, messageByteLimit, needsTimestamp, needsKey] message in
      (message.value?.count ?? 0) <= recordByteLimit && message.byteCount <= messageByteLimit
        && (!needsTimestamp || message.timestampMilliseconds != nil)
        && (!needsKey || message.key.map(isValidText) ?? true)
    }
  }

  @inline(__always)
  private static func parse(
    _ messages: UnsafeBufferPointer<Message>, _ isNarrow: UnsafeBufferPointer<Bool>,
    _ delimiter: UInt8, _ isShort: (Message) -> Bool,
    into values: UnsafeMutableBufferPointer<Int64>
  ) -> Int {
    let fieldCount = isNarrow.count
    for index in messages.indices {
      guard let value = messages[index].value, isShort(messages[index]),
        parse(
          value, isNarrow, delimiter,
          into: UnsafeMutableBufferPointer(
            rebasing: values[index * fieldCount..<(index + 1) * fieldCount]))
      else { return index }
    }
    return messages.count
  }

  @inline(__always)
  private static func parse(
    _ bytes: UnsafeRawBufferPointer, _ isNarrow: UnsafeBufferPointer<Bool>, _ delimiter: UInt8,
    into values: UnsafeMutableBufferPointer<Int64>
  ) -> Bool {
    var position = 0
    for field in isNarrow.indices {
      var isNegative = false
      if position < bytes.count, bytes[position] == UInt8(ascii: "-") {
        isNegative = true
        position += 1
      }
      let first = position
      var number: Int64 = 0
      while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"),
        digit < 10
      {
        // At most 18 digits are taken below, which cannot overflow.
        number = number &* 10 &+ Int64(digit)
        position += 1
      }
      guard position > first, position - first <= 18 else { return false }
      if isNegative { number = -number }
      if isNarrow[field] && Int64(Int32(truncatingIfNeeded: number)) != number { return false }
      values[field] = number
      if field < isNarrow.count - 1 {
        guard position < bytes.count, bytes[position] == delimiter else { return false }
        position += 1
      }
    }
    return position == bytes.count
      || (position == bytes.count - 1 && bytes[position] == UInt8(ascii: "\n"))
  }
}
