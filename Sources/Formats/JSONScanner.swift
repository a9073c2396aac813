internal import Tables

/// Finds the declared fields of a JSON object (RFC 8259), checking the whole object strictly and
/// building nothing.
///
/// Keys of fields that are not declared are skipped; their values are checked all the same.
/// JSONEachRow writes fields in order, so the next declared name is tried first.
struct JSONScanner: Sendable {
  private let names: [[UInt8]]
  /// Deepest nesting of a skipped value.
  private static let depthLimit = 64

  init(names: [String]) { self.names = names.map { Array($0.utf8) } }

  /// - Parameters:
  ///   - range: One line of the value.
  ///   - unescaped: Receives the bytes of texts that had escapes.
  /// - Returns: What is wrong with the object, if something is.
  func scan(
    _ value: UnsafeRawBufferPointer, _ range: Range<Int>,
    into tokens: UnsafeMutableBufferPointer<Token>, unescaped: inout [UInt8]
  ) -> Fault? {
    for index in tokens.indices { tokens[index] = .absent }
    var cursor = Cursor(bytes: value, position: range.lowerBound, end: range.upperBound)
    cursor.skipSpace()
    guard cursor.take(UInt8(ascii: "{")) else { return Fault(.malformed) }
    var fault: Fault?
    var expected = 0
    cursor.skipSpace()
    if !cursor.take(UInt8(ascii: "}")) {
      repeat {
        cursor.skipSpace()
        guard let key = cursor.string(unescaped: &unescaped) else { return Fault(.malformed) }
        cursor.skipSpace()
        guard cursor.take(UInt8(ascii: ":")) else { return Fault(.malformed) }
        cursor.skipSpace()
        let index = field(named: key, in: value, unescaped, expected: expected)
        guard let token = cursor.value(unescaped: &unescaped, depth: Self.depthLimit) else {
          return Fault(.malformed, field: index)
        }
        if let index {
          if tokens[index].kind != .absent { fault = fault ?? Fault(.duplicateField, field: index) }
          tokens[index] = token
          expected = index + 1
        }
        cursor.skipSpace()
      } while cursor.take(UInt8(ascii: ","))
      guard cursor.take(UInt8(ascii: "}")) else { return Fault(.malformed) }
    }
    cursor.skipSpace()
    return cursor.isAtEnd ? fault : Fault(.malformed)
  }

  private func field(
    named key: Token, in value: UnsafeRawBufferPointer, _ unescaped: [UInt8], expected: Int
  ) -> Int? {
    if expected < names.count, isKey(key, names[expected], value, unescaped) { return expected }
    return names.firstIndex { isKey(key, $0, value, unescaped) }
  }

  private func isKey(
    _ key: Token, _ name: [UInt8], _ value: UnsafeRawBufferPointer, _ unescaped: [UInt8]
  ) -> Bool {
    guard key.range.count == name.count else { return false }
    switch key.kind {
    case .quoted: return value[key.range].elementsEqual(name)
    case .unescaped: return unescaped[key.range].elementsEqual(name)
    default: return false
    }
  }
}

/// A place in a JSON text.
private struct Cursor {
  let bytes: UnsafeRawBufferPointer
  var position: Int
  let end: Int

  var isAtEnd: Bool { position >= end }

  mutating func skipSpace() {
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09, 0x0D, 0x0A: position += 1
      default: return
      }
    }
  }

  mutating func take(_ byte: UInt8) -> Bool {
    guard position < end, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  /// Any value; nil where there is none.
  mutating func value(unescaped: inout [UInt8], depth: Int) -> Token? {
    guard position < end, depth > 0 else { return nil }
    switch bytes[position] {
    case UInt8(ascii: "\""): return string(unescaped: &unescaped)
    case UInt8(ascii: "t"): return word("true", .isTrue)
    case UInt8(ascii: "f"): return word("false", .isFalse)
    case UInt8(ascii: "n"): return word("null", .null)
    case UInt8(ascii: "{"): return object(unescaped: &unescaped, depth: depth)
    case UInt8(ascii: "["): return array(unescaped: &unescaped, depth: depth)
    default: return number()
    }
  }

  private mutating func word(_ word: StaticString, _ kind: Token.Kind) -> Token? {
    let start = position
    guard end - position >= word.utf8CodeUnitCount else { return nil }
    for index in 0..<word.utf8CodeUnitCount where bytes[position + index] != word.utf8Start[index] {
      return nil
    }
    position += word.utf8CodeUnitCount
    return Token(kind, start..<position)
  }

  private mutating func number() -> Token? {
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

  private mutating func object(unescaped: inout [UInt8], depth: Int) -> Token? {
    let start = position
    position += 1
    skipSpace()
    if !take(UInt8(ascii: "}")) {
      repeat {
        skipSpace()
        guard string(unescaped: &unescaped) != nil else { return nil }
        skipSpace()
        guard take(UInt8(ascii: ":")) else { return nil }
        skipSpace()
        guard value(unescaped: &unescaped, depth: depth - 1) != nil else { return nil }
        skipSpace()
      } while take(UInt8(ascii: ","))
      guard take(UInt8(ascii: "}")) else { return nil }
    }
    return Token(.composite, start..<position)
  }

  private mutating func array(unescaped: inout [UInt8], depth: Int) -> Token? {
    let start = position
    position += 1
    skipSpace()
    if !take(UInt8(ascii: "]")) {
      repeat {
        skipSpace()
        guard value(unescaped: &unescaped, depth: depth - 1) != nil else { return nil }
        skipSpace()
      } while take(UInt8(ascii: ","))
      guard take(UInt8(ascii: "]")) else { return nil }
    }
    return Token(.composite, start..<position)
  }

  /// A text in quotes; where it has escapes, its bytes without them go to `unescaped`.
  mutating func string(unescaped: inout [UInt8]) -> Token? {
    guard take(UInt8(ascii: "\"")) else { return nil }
    let start = position
    while position < end {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        return Token(.quoted, start..<position - 1)
      case UInt8(ascii: "\\"): return escapedString(from: start, unescaped: &unescaped)
      case 0..<0x20: return nil
      default: position += 1
      }
    }
    return nil
  }

  private mutating func escapedString(from start: Int, unescaped: inout [UInt8]) -> Token? {
    let first = unescaped.count
    unescaped.append(contentsOf: bytes[start..<position])
    var isText = true
    while position < end {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        return isText
          ? Token(.unescaped, first..<unescaped.count) : Token(.invalidText, start..<position - 1)
      case UInt8(ascii: "\\"):
        guard let scalar = escape() else { return nil }
        switch scalar {
        case .text(let scalar):
          unescaped.append(contentsOf: UTF8.encode(scalar) ?? UTF8.EncodedScalar())
        case .loneSurrogate: isText = false
        }
      case 0..<0x20: return nil
      default: unescaped.append(byte)
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
