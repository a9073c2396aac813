/// Finds one field of a CSV record, from `position` on, and leaves `position` behind the separator.
///
/// RFC 4180 as ClickHouse's Kafka engine writes it: fields in double quotes may hold commas, newlines and doubled quotes; `\N` without quotes
/// is NULL.
/// - Returns: The field and whether the record ends with it; nil for a quote that does not close or text behind one.
func scanCSVField(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> (token: Token, isRecordEnd: Bool)? {
  if position < value.count, value[position] == UInt8(ascii: "\"") { return scanQuoted(value, &position) }
  let start = position
  while position < value.count {
    let byte = value[position]
    if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\n") { break }
    position += 1
  }
  var end = position
  let isRecordEnd = position >= value.count || value[position] == UInt8(ascii: "\n")
  if isRecordEnd && end > start && value[end - 1] == UInt8(ascii: "\r") { end -= 1 }
  if position < value.count { position += 1 }
  let isNull = end - start == 2 && value[start] == UInt8(ascii: "\\") && value[start + 1] == UInt8(ascii: "N")
  return (Token(kind: isNull ? .null : .plain, start: start, end: end), isRecordEnd)
}

private func scanQuoted(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> (token: Token, isRecordEnd: Bool)? {
  let start = position + 1
  var kind = Token.Kind.quoted
  position = start
  while true {
    while position < value.count, value[position] != UInt8(ascii: "\"") { position += 1 }
    guard position < value.count else { return nil }
    guard position + 1 < value.count, value[position + 1] == UInt8(ascii: "\"") else { break }
    kind = .doubledQuotes
    position += 2
  }
  let token = Token(kind: kind, start: start, end: position)
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

func removingDoubledQuotes(_ bytes: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
  var result: [UInt8] = []
  result.reserveCapacity(bytes.count)
  var wasQuote = false
  for byte in bytes {
    // Quotes come in pairs here; the second of each is left out.
    if byte == UInt8(ascii: "\"") && wasQuote {
      wasQuote = false
      continue
    }
    wasQuote = byte == UInt8(ascii: "\"")
    result.append(byte)
  }
  return result
}

/// Whether bytes are UTF-8 without U+0000: no overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629 section 4).
func isValidText(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var position = 0
  func continues(_ index: Int, from low: UInt8 = 0x80, to high: UInt8 = 0xBF) -> Bool {
    index < bytes.count && bytes[index] >= low && bytes[index] <= high
  }
  while position < bytes.count {
    let byte = bytes[position]
    switch byte {
    case 0x01...0x7F: position += 1
    case 0xC2...0xDF:
      guard continues(position + 1) else { return false }
      position += 2
    case 0xE0...0xEF:
      guard continues(position + 1, from: byte == 0xE0 ? 0xA0 : 0x80, to: byte == 0xED ? 0x9F : 0xBF), continues(position + 2) else {
        return false
      }
      position += 3
    case 0xF0...0xF4:
      guard continues(position + 1, from: byte == 0xF0 ? 0x90 : 0x80, to: byte == 0xF4 ? 0x8F : 0xBF), continues(position + 2),
        continues(position + 3)
      else { return false }
      position += 4
    default: return false
    }
  }
  return true
}
