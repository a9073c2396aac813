internal import Tables

/// Finds the fields of CSV records.
///
/// RFC 4180 as ClickHouse's Kafka engine writes it, where the dialect says nothing else: fields in
/// quotes may hold delimiters, newlines and doubled quotes.
struct CSVScanner {
  private let delimiter: UInt8
  /// No byte where quotes are characters like others.
  private let quote: UInt16
  private let trims: Bool
  let nullTexts: NullTexts

  init(_ dialect: CSVDialect) {
    delimiter = dialect.delimiter
    quote = dialect.quote.map(UInt16.init) ?? .max
    trims = dialect.trims
    nullTexts = NullTexts(dialect.nullTexts)
  }

  /// Reads one record from `position` on, and leaves `position` behind its line end.
  ///
  /// - Parameters:
  ///   - columns: Not changed, and `inout` all the same: handed over as a value, its arrays would
  ///     be retained for each record.
  ///   - tokens: ``CSVColumns/slotCount``.
  ///   - unescaped: Receives the bytes of fields that had doubled quotes.
  /// - Returns: What is wrong with the record, if something is. Behind a quote that does not close,
  ///   or text behind a closing one, no line end can be trusted: the rest of the message belongs
  ///   to the record.
  @inline(__always)
  func scanRecord(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, _ columns: inout CSVColumns,
    into tokens: UnsafeMutableBufferPointer<Token>, unescaped: inout [UInt8]
  ) -> Fault? {
    for slot in columns.missingSlots { tokens[slot] = .absent }
    let columnCount = columns.slots.count
    var column = 0
    while true {
      guard let (token, isRecordEnd) = field(value, &position, unescaped: &unescaped) else {
        position = value.count
        return Fault(.malformed, field: columns.field(ofColumn: column))
      }
      if column < columnCount, case let slot = columns.slots[column], slot >= 0 {
        tokens[slot] = token
      }
      column += 1
      if isRecordEnd { break }
    }
    if let fault = columns.fault { return fault }
    if column > columnCount { return Fault(.extraField) }
    if column < columnCount {
      return Fault(.missingField, field: columns.firstField(fromColumn: column))
    }
    return nil
  }

  /// How many fields a record has; nil where it is malformed.
  func fieldCount(of record: UnsafeRawBufferPointer) -> Int? {
    var (position, count) = (0, 0)
    var unescaped: [UInt8] = []
    while true {
      guard let field = field(record, &position, unescaped: &unescaped) else { return nil }
      count += 1
      if field.isRecordEnd { return count }
    }
  }

  /// Reads one field from `position` on, and leaves `position` behind what ends it; nil where it is
  /// malformed.
  @inline(__always)
  func field(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, unescaped: inout [UInt8]
  ) -> (token: Token, isRecordEnd: Bool)? {
    if trims { skipBlanks(value, &position) }
    if position < value.count, UInt16(value[position]) == quote {
      return quotedField(value, &position, unescaped: &unescaped)
    }
    return plainField(value, &position)
  }

  private func skipBlanks(_ value: UnsafeRawBufferPointer, _ position: inout Int) {
    while position < value.count, isBlank(value[position]), value[position] != delimiter {
      position += 1
    }
  }

  @inline(__always)
  private func plainField(
    _ value: UnsafeRawBufferPointer, _ position: inout Int
  ) -> (token: Token, isRecordEnd: Bool) {
    let start = position
    position = ByteWord.firstIndex(in: value, from: start) {
      $0.marks(of: delimiter) | $0.marks(of: UInt8(ascii: "\n"))
    }
    let isRecordEnd = position == value.count || value[position] == UInt8(ascii: "\n")
    var end = position
    if isRecordEnd && end > start && value[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    if trims { while end > start, isBlank(value[end - 1]) { end -= 1 } }
    if position < value.count { position += 1 }
    let isNull = nullTexts.contains(UnsafeRawBufferPointer(rebasing: value[start..<end]))
    return (Token(isNull ? .null : .plain, start..<end), isRecordEnd)
  }

  private func quotedField(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, unescaped: inout [UInt8]
  ) -> (token: Token, isRecordEnd: Bool)? {
    let quote = UInt8(truncatingIfNeeded: quote)
    let start = position + 1
    let firstUnescaped = unescaped.count
    var copied = start
    position = start
    while true {
      position = ByteWord.firstIndex(in: value, from: position) { $0.marks(of: quote) }
      guard position < value.count else { return nil }
      guard position + 1 < value.count, value[position + 1] == quote else { break }
      // Up to the first of the two quotes, and it.
      unescaped.append(contentsOf: value[copied...position])
      position += 2
      copied = position
    }
    var token = Token(.quoted, start..<position)
    if copied > start {
      unescaped.append(contentsOf: value[copied..<position])
      token = Token(.unescaped, firstUnescaped..<unescaped.count)
    }
    position += 1
    if trims { skipBlanks(value, &position) }
    if position < value.count, value[position] == delimiter {
      position += 1
      return (token, false)
    }
    if position < value.count, value[position] == UInt8(ascii: "\r") { position += 1 }
    guard position < value.count else { return (token, true) }
    guard value[position] == UInt8(ascii: "\n") else { return nil }
    position += 1
    return (token, true)
  }
}
