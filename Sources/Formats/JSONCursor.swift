internal import Tables

/// A place in a JSON text, and what can be read there.
struct JSONCursor {
  let bytes: UnsafeRawBufferPointer
  var position: Int
  private let end: Int

  init(bytes: UnsafeRawBufferPointer, position: Int) {
    self.bytes = bytes
    self.position = position
    end = bytes.count
  }

  var isAtEnd: Bool { position >= end }

  /// - Precondition: It is not at the end.
  var current: UInt8 { bytes[position] }

  @inline(__always)
  mutating func skipSpace() {
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09, 0x0D, 0x0A: position += 1
      default: return
      }
    }
  }

  /// Space within the line.
  mutating func skipBlanks() {
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09, 0x0D: position += 1
      default: return
      }
    }
  }

  mutating func take(_ byte: UInt8) -> Bool {
    guard position < end, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  mutating func word(_ word: StaticString, _ kind: Token.Kind) -> Token? {
    let start = position
    guard end - position >= word.utf8CodeUnitCount else { return nil }
    for index in 0..<word.utf8CodeUnitCount where bytes[position + index] != word.utf8Start[index] {
      return nil
    }
    position += word.utf8CodeUnitCount
    return Token(kind, start..<position)
  }

  mutating func number() -> Token? {
    let start = position
    _ = take(UInt8(ascii: "-"))
    if !take(UInt8(ascii: "0")) { guard skipDigits() else { return nil } }
    if take(UInt8(ascii: ".")) { guard skipDigits() else { return nil } }
    if position < end, bytes[position] | 0x20 == UInt8(ascii: "e") {
      position += 1
      if !take(UInt8(ascii: "-")) { _ = take(UInt8(ascii: "+")) }
      guard skipDigits() else { return nil }
    }
    return Token(.number, start..<position)
  }

  private mutating func skipDigits() -> Bool {
    let start = position
    while position < end, decimalDigit(bytes[position]) != nil { position += 1 }
    return position > start
  }

  /// A text in quotes; where it has escapes, its bytes without them go to `unescaped`.
  @inline(__always)
  mutating func string(unescaped: inout [UInt8]) -> Token? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    let start = position
    skipPlainText()
    guard position < end else { return nil }
    switch bytes[position] {
    case UInt8(ascii: "\""):
      position += 1
      return Token(.quoted, start..<position - 1)
    case UInt8(ascii: "\\"):
      let first = unescaped.count
      unescaped.append(contentsOf: bytes[start..<position])
      guard let isText = skipEscapedText(unescaped: &unescaped, keeps: true) else { return nil }
      return isText
        ? Token(.unescaped, first..<unescaped.count) : Token(.invalidText, start..<position - 1)
    default: return nil
    }
  }

  /// The same of a text that nobody reads.
  mutating func skipString() -> Token? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    let start = position
    skipPlainText()
    guard position < end else { return nil }
    if take(UInt8(ascii: "\"")) { return Token(.quoted, start..<position - 1) }
    var unescaped: [UInt8] = []
    guard skipEscapedText(unescaped: &unescaped, keeps: false) != nil else { return nil }
    return Token(.quoted, start..<position - 1)
  }

  /// Goes on to the next quote, backslash or control character, or to the end.
  @inline(__always)
  private mutating func skipPlainText() {
    // Eight bytes at a time. A zero byte of `x` sets the highest bit of its own byte in
    // (x - 0x01...01) & ~x, and of none below it (Hacker's Delight, 6-1).
    let ones: UInt64 = 0x0101_0101_0101_0101
    while position + 8 <= end {
      let word = UInt64(
        littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      let quote = word ^ (ones &* 0x22)
      let backslash = word ^ (ones &* 0x5C)
      let found =
        ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)
        | ((word &- (ones &* 0x20)) & ~word)
      if case let highest = found & (ones &* 0x80), highest != 0 {
        position += highest.trailingZeroBitCount / 8
        return
      }
      position += 8
    }
    while position < end {
      switch bytes[position] {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), 0..<0x20: return
      default: position += 1
      }
    }
  }

  /// From the first backslash of a text on, up to behind its closing quote.
  ///
  /// - Parameter keeps: Whether `unescaped` receives the bytes.
  /// - Returns: Whether it can be UTF-8; nil where it is malformed.
  private mutating func skipEscapedText(unescaped: inout [UInt8], keeps: Bool) -> Bool? {
    var isText = true
    while position < end {
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return isText
      case UInt8(ascii: "\\"):
        let backslash = position
        position += 1
        guard let scalar = escape() else {
          position = backslash
          return nil
        }
        switch scalar {
        case .text(let scalar):
          if keeps { unescaped.append(contentsOf: UTF8.encode(scalar) ?? UTF8.EncodedScalar()) }
        case .loneSurrogate: isText = false
        }
      case 0..<0x20: return nil
      default:
        let start = position
        skipPlainText()
        if keeps { unescaped.append(contentsOf: bytes[start..<position]) }
      }
    }
    return nil
  }

  private enum Escape {
    case text(Unicode.Scalar)
    /// Well-formed JSON (RFC 8259 section 8.2) that stands for no text.
    case loneSurrogate
  }

  /// The character behind a backslash.
  private mutating func escape() -> Escape? {
    guard position < end else { return nil }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
      return .text(Unicode.Scalar(byte))
    case UInt8(ascii: "b"): return .text("\u{8}")
    case UInt8(ascii: "f"): return .text("\u{C}")
    case UInt8(ascii: "n"): return .text("\n")
    case UInt8(ascii: "r"): return .text("\r")
    case UInt8(ascii: "t"): return .text("\t")
    case UInt8(ascii: "u"):
      guard let unit = hexadecimal() else { return nil }
      if let scalar = Unicode.Scalar(unit) { return .text(scalar) }
      let isHigh = (0xD800..<0xDC00).contains(unit)
      guard isHigh, position + 1 < end, bytes[position] == UInt8(ascii: "\\"),
        bytes[position + 1] == UInt8(ascii: "u")
      else {
        return .loneSurrogate
      }
      let afterHigh = position
      position += 2
      guard let low = hexadecimal() else { return nil }
      guard (0xDC00..<0xE000).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
      else {
        position = afterHigh
        return .loneSurrogate
      }
      return .text(scalar)
    default: return nil
    }
  }

  private mutating func hexadecimal() -> UInt32? {
    guard position + 4 <= end else { return nil }
    var number: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[position]
      position += 1
      switch byte {
      case 0x30...0x39: number = number << 4 | UInt32(byte - 0x30)
      case 0x41...0x46, 0x61...0x66: number = number << 4 | UInt32((byte | 0x20) - 0x61 + 10)
      default: return nil
      }
    }
    return number
  }
}
