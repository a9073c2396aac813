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
    if position < end, bytes[position] > 0x20 { return }
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

  /// Passes over a number; false where there is none.
  @inline(__always)
  fileprivate mutating func skipNumber() -> Bool {
    _ = take(UInt8(ascii: "-"))
    if !take(UInt8(ascii: "0")) { guard skipDigits() else { return false } }
    if take(UInt8(ascii: ".")) { guard skipDigits() else { return false } }
    if position < end, bytes[position] | 0x20 == UInt8(ascii: "e") {
      position += 1
      if !take(UInt8(ascii: "-")) { _ = take(UInt8(ascii: "+")) }
      guard skipDigits() else { return false }
    }
    return true
  }

  @inline(__always)
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

  /// Passes over a text that nobody reads; false where there is none.
  @inline(__always)
  fileprivate mutating func skipString() -> Bool {
    guard take(UInt8(ascii: "\"")) else { return false }
    skipPlainText()
    guard position < end else { return false }
    if take(UInt8(ascii: "\"")) { return true }
    var unescaped: [UInt8] = []
    return skipEscapedText(unescaped: &unescaped, keeps: false) != nil
  }

  /// Goes on to the next quote, backslash or control character, or to the end.
  @inline(__always)
  private mutating func skipPlainText() {
    position = ByteWord.firstIndex(in: bytes, from: position) {
      $0.marks(of: UInt8(ascii: "\"")) | $0.marks(of: UInt8(ascii: "\\")) | $0.marks(below: 0x20)
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

extension JSONCursor {
  /// Passes over a value of which nothing is read, and checks it.
  ///
  /// - Parameter depth: How many values may lie in one another, this one included; at most 64.
  /// - Returns: Where it stands, or nil where there is none.
  mutating func skipValue(depth: Int) -> Token? {
    guard !isAtEnd, depth > 0 else { return nil }
    let start = position
    switch current {
    case UInt8(ascii: "\""):
      return skipString() ? Token(.quoted, start + 1..<position - 1) : nil
    case UInt8(ascii: "t"): return skipTrue() ? Token(.isTrue, start..<position) : nil
    case UInt8(ascii: "f"): return skipFalse() ? Token(.isFalse, start..<position) : nil
    case UInt8(ascii: "n"): return skipNull() ? Token(.null, start..<position) : nil
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      return skipBrackets(depth: depth) ? Token(.composite, start..<position) : nil
    default: return skipNumber() ? Token(.number, start..<position) : nil
    }
  }

  private mutating func skipTrue() -> Bool { skipWord(0x6575_7274) }
  private mutating func skipNull() -> Bool { skipWord(0x6C6C_756E) }
  private mutating func skipFalse() -> Bool {
    position += 1
    return skipWord(0x6573_6C61)
  }

  /// - Parameter word: The bytes, the first one lowest.
  @inline(__always)
  private mutating func skipWord(_ word: UInt32) -> Bool {
    guard position + 4 <= bytes.count,
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)) == word
    else { return false }
    position += 4
    return true
  }

  /// An object or an array, without a call for what lies in it.
  private mutating func skipBrackets(depth limit: Int) -> Bool {
    // Of each bracket that is open whether it is an object's, the innermost lowest.
    var objects: UInt64 = 0
    var depth = 0
    while true {
      // A value.
      guard !isAtEnd, depth < limit else { return false }
      let byte = current
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        position += 1
        skipSpace()
        let isObject = byte == UInt8(ascii: "{")
        // In ASCII each closing bracket is the opening one and two.
        if !take(byte + 2) {
          objects = objects << 1 | (isObject ? 1 : 0)
          depth += 1
          if isObject { guard skipKey() else { return false } }
          continue
        }
      case UInt8(ascii: "\""): guard skipString() else { return false }
      case UInt8(ascii: "t"): guard skipTrue() else { return false }
      case UInt8(ascii: "f"): guard skipFalse() else { return false }
      case UInt8(ascii: "n"): guard skipNull() else { return false }
      default: guard skipNumber() else { return false }
      }
      // What stands behind a value.
      while true {
        if depth == 0 { return true }
        skipSpace()
        let isObject = objects & 1 == 1
        if take(UInt8(ascii: ",")) {
          skipSpace()
          if isObject { guard skipKey() else { return false } }
          break
        }
        guard take(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { return false }
        objects >>= 1
        depth -= 1
      }
    }
  }

  /// A key and its colon, up to its value.
  @inline(__always)
  private mutating func skipKey() -> Bool {
    guard skipString() else { return false }
    skipSpace()
    guard take(UInt8(ascii: ":")) else { return false }
    skipSpace()
    return true
  }
}
