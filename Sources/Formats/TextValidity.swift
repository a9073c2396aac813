/// Whether bytes are UTF-8 without U+0000: no overlong forms, no surrogates, nothing above U+10FFFF
/// (RFC 3629 section 4).
package func isValidText(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var position = 0
  func continues(_ index: Int, from low: UInt8 = 0x80, to high: UInt8 = 0xBF) -> Bool {
    index < bytes.count && bytes[index] >= low && bytes[index] <= high
  }
  while position < bytes.count {
    // Eight bytes at a time while they are ASCII without a zero byte.
    while position + 8 <= bytes.count {
      let word = bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
      let zeroOrHigh = (word &- 0x0101_0101_0101_0101) | word
      if zeroOrHigh & 0x8080_8080_8080_8080 != 0 { break }
      position += 8
    }
    guard position < bytes.count else { break }
    let byte = bytes[position]
    switch byte {
    case 0x01...0x7F: position += 1
    case 0xC2...0xDF:
      guard continues(position + 1) else { return false }
      position += 2
    case 0xE0...0xEF:
      guard
        continues(position + 1, from: byte == 0xE0 ? 0xA0 : 0x80, to: byte == 0xED ? 0x9F : 0xBF),
        continues(position + 2)
      else {
        return false
      }
      position += 3
    case 0xF0...0xF4:
      guard
        continues(position + 1, from: byte == 0xF0 ? 0x90 : 0x80, to: byte == 0xF4 ? 0x8F : 0xBF),
        continues(position + 2),
        continues(position + 3)
      else { return false }
      position += 4
    default: return false
    }
  }
  return true
}

/// The first bytes of a text, at most so many, without a part of a character at their end. What is
/// no text is cut anywhere.
package func textPrefix<Bytes: RandomAccessCollection>(
  of bytes: Bytes, _ byteLimit: Int
) -> Bytes.SubSequence where Bytes.Element == UInt8 {
  guard bytes.count > byteLimit else { return bytes[...] }
  let end = bytes.index(bytes.startIndex, offsetBy: byteLimit)
  // A character has at most three bytes behind its first.
  for count in 0...min(3, byteLimit) {
    let start = bytes.index(end, offsetBy: -count)
    if bytes[start] & 0xC0 != 0x80 { return bytes[..<start] }
  }
  return bytes[..<end]
}
