/// The tokens of a SQL expression, and where each stands.
///
/// - SeeAlso: sqlite.org/lang_expr.html, "Literal values"; sqlite.org/syntax/numeric-literal.html.
struct SQLToken: Equatable {
  enum Kind: Equatable {
    case word(String)
    /// A name in double quotes, brackets or backticks.
    case quotedName(String)
    case text(String)
    /// The digits of `x'0A'`.
    case blob(String)
    /// As written.
    case number(String)
    case symbol(String)
  }
  let kind: Kind
  /// In bytes of the expression.
  let range: Range<Int>

  /// A word in upper case, which may be a keyword.
  var keyword: String? {
    if case .word(let word) = kind { word.uppercased() } else { nil }
  }
}

/// - Throws: For what no expression may hold, with its place.
func tokenize(_ sql: String) throws(Fault) -> [SQLToken] {
  let bytes = Array(sql.utf8)
  var tokens: [SQLToken] = []
  var openParentheses: [Int] = []
  var position = 0
  func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
  func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

  while position < bytes.count {
    let start = position
    let kind: SQLToken.Kind
    switch bytes[position] {
    case 0: throw Fault(.syntax("a character U+0000"), at: start)
    case 0x20, 0x09, 0x0A, 0x0C, 0x0D:
      position += 1
      continue
    // SQLite passes over a byte order mark, wherever it stands.
    case 0xEF where byte(position + 1) == 0xBB && byte(position + 2) == 0xBF:
      position += 3
      continue
    case UInt8(ascii: "-") where byte(position + 1) == UInt8(ascii: "-"),
      UInt8(ascii: "/") where byte(position + 1) == UInt8(ascii: "*"):
      throw Fault(.comment, at: start)
    case UInt8(ascii: ";"): throw Fault(.semicolon, at: start)
    case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"),
      UInt8(ascii: "#"):
      throw Fault(.parameter, at: start)
    case UInt8(ascii: "'"): kind = .text(try quoted(bytes, &position))
    case UInt8(ascii: "\""), UInt8(ascii: "`"): kind = .quotedName(try quoted(bytes, &position))
    case let first
    where first | 0x20 == UInt8(ascii: "x") && byte(position + 1) == UInt8(ascii: "'"):
      position += 1
      kind = .blob(try quoted(bytes, &position))
    case UInt8(ascii: "["):
      while position < bytes.count, bytes[position] != UInt8(ascii: "]") { position += 1 }
      guard position < bytes.count else { throw Fault(.unterminatedQuote, at: start) }
      kind = .quotedName(string(start + 1..<position))
      position += 1
    case UInt8(ascii: "("):
      openParentheses.append(start)
      kind = .symbol("(")
      position += 1
    case UInt8(ascii: ")"):
      guard openParentheses.popLast() != nil else { throw Fault(.unbalanced, at: start) }
      kind = .symbol(")")
      position += 1
    case let first
    where isDigit(first) || (first == UInt8(ascii: ".") && isDigit(byte(position + 1))):
      while isWordByte(byte(position)) || byte(position) == UInt8(ascii: ".")
        || ((byte(position) == UInt8(ascii: "+") || byte(position) == UInt8(ascii: "-"))
          && byte(position - 1) | 0x20 == UInt8(ascii: "e")
          && !string(start..<position).lowercased().hasPrefix("0x"))
      { position += 1 }
      kind = .number(string(start..<position))
    case let first where isWordByte(first):
      while isWordByte(byte(position)) || byte(position) == UInt8(ascii: "$") { position += 1 }
      kind = .word(string(start..<position))
    default:
      let symbol = ["->>", "<=", ">=", "<>", "!=", "==", "||", "<<", ">>", "->"].first {
        bytes[start...].starts(with: $0.utf8)
      }
      kind = .symbol(symbol ?? string(start..<start + 1))
      position += symbol?.utf8.count ?? 1
    }
    tokens.append(SQLToken(kind: kind, range: start..<position))
  }
  if let open = openParentheses.last { throw Fault(.unbalanced, at: open) }
  if tokens.isEmpty { throw Fault(.empty) }
  return tokens
}

/// A text between quotes, doubled ones undone; leaves `position` behind the closing one.
private func quoted(_ bytes: [UInt8], _ position: inout Int) throws(Fault) -> String {
  let start = position
  let quote = bytes[position]
  var content: [UInt8] = []
  position += 1
  while position < bytes.count {
    if bytes[position] == quote {
      position += 1
      guard position < bytes.count, bytes[position] == quote else {
        return String(decoding: content, as: UTF8.self)
      }
    }
    content.append(bytes[position])
    position += 1
  }
  throw Fault(.unterminatedQuote, at: start)
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

/// SQLite takes every byte from 0x80 on as part of a name.
private func isWordByte(_ byte: UInt8) -> Bool {
  isDigit(byte) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x5F || byte >= 0x80
}
