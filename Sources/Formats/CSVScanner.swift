internal import Tables

/// Finds the fields of one CSV record, from `position` on, and leaves `position` behind its line
/// end.
///
/// RFC 4180 as ClickHouse's Kafka engine writes it: fields in double quotes may hold commas,
/// newlines and doubled quotes.
/// - Parameters:
///   - nullTexts: What is NULL without quotes.
///   - tokens: One per declared field.
///   - unescaped: Receives the bytes of fields that had doubled quotes.
/// - Returns: What is wrong with the record, if something is. Behind a quote that does not close,
///   or text behind a closing one, no line end can be trusted: the rest of the message belongs to
///   the record.
@inline(__always)
func scanCSVRecord(
  _ value: UnsafeRawBufferPointer, _ position: inout Int, _ nullTexts: NullTexts,
  into tokens: UnsafeMutableBufferPointer<Token>, unescaped: inout [UInt8]
) -> Fault? {
  var index = 0
  while true {
    let token: Token
    let isRecordEnd: Bool
    if position < value.count, value[position] == UInt8(ascii: "\"") {
      guard let field = scanQuotedField(value, &position, unescaped: &unescaped) else {
        position = value.count
        return Fault(.malformed, field: index < tokens.count ? index : nil)
      }
      (token, isRecordEnd) = field
    } else {
      (token, isRecordEnd) = scanPlainField(value, &position, nullTexts)
    }
    if index < tokens.count { tokens[index] = token }
    index += 1
    if isRecordEnd { break }
  }
  if index > tokens.count { return Fault(.extraField) }
  if index < tokens.count { return Fault(.missingField, field: index) }
  return nil
}

@inline(__always)
private func scanPlainField(
  _ value: UnsafeRawBufferPointer, _ position: inout Int, _ nullTexts: NullTexts
) -> (token: Token, isRecordEnd: Bool) {
  let start = position
  var isRecordEnd = true
  while position < value.count {
    let byte = value[position]
    if byte == UInt8(ascii: ",") {
      isRecordEnd = false
      break
    }
    if byte == UInt8(ascii: "\n") { break }
    position += 1
  }
  var end = position
  if isRecordEnd && end > start && value[end - 1] == UInt8(ascii: "\r") { end -= 1 }
  if position < value.count { position += 1 }
  let isNull = nullTexts.contains(UnsafeRawBufferPointer(rebasing: value[start..<end]))
  return (Token(isNull ? .null : .plain, start..<end), isRecordEnd)
}

private func scanQuotedField(
  _ value: UnsafeRawBufferPointer, _ position: inout Int, unescaped: inout [UInt8]
) -> (token: Token, isRecordEnd: Bool)? {
  let start = position + 1
  let firstUnescaped = unescaped.count
  var copied = start
  position = start
  while true {
    while position < value.count, value[position] != UInt8(ascii: "\"") { position += 1 }
    guard position < value.count else { return nil }
    guard position + 1 < value.count, value[position + 1] == UInt8(ascii: "\"") else { break }
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
  if position < value.count, value[position] == UInt8(ascii: ",") {
    position += 1
    return (token, false)
  }
  if position < value.count, value[position] == UInt8(ascii: "\r") { position += 1 }
  guard position < value.count else { return (token, true) }
  guard value[position] == UInt8(ascii: "\n") else { return nil }
  position += 1
  return (token, true)
}
