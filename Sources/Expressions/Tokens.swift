/// The tokens of a SQL expression: enough to refuse what may not stand in one, and to find what the
/// native path can evaluate.
///
/// - SeeAlso: sqlite.org/lang_expr.html, "Literal values"; sqlite.org/syntax/numeric-literal.html.
enum SQLToken: Equatable {
  case word(String)
  /// A name in double quotes, brackets or backticks.
  case quotedName(String)
  case text(String)
  /// As written.
  case number(String)
  case symbol(String)
}

func tokenize(_ sql: String) throws(ExpressionError.Code) -> [SQLToken] {
  let bytes = Array(sql.utf8)
  var tokens: [SQLToken] = []
  var depth = 0
  var position = 0
  func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
  func byte(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

  while position < bytes.count {
    let start = position
    switch bytes[position] {
    case 0: throw .syntax("a character U+0000")
    case 0x20, 0x09, 0x0A, 0x0C, 0x0D: position += 1
    case UInt8(ascii: "-") where byte(position + 1) == UInt8(ascii: "-"): throw .comment
    case UInt8(ascii: "/") where byte(position + 1) == UInt8(ascii: "*"): throw .comment
    case UInt8(ascii: ";"): throw .semicolon
    case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"),
      UInt8(ascii: "#"):
      throw .parameter
    case UInt8(ascii: "'"):
      tokens.append(.text(try quoted(bytes, &position, by: UInt8(ascii: "'"))))
    case UInt8(ascii: "\""):
      tokens.append(.quotedName(try quoted(bytes, &position, by: UInt8(ascii: "\""))))
    case UInt8(ascii: "`"):
      tokens.append(.quotedName(try quoted(bytes, &position, by: UInt8(ascii: "`"))))
    case UInt8(ascii: "["):
      while position < bytes.count, bytes[position] != UInt8(ascii: "]") { position += 1 }
      guard position < bytes.count else { throw .unterminatedQuote }
      tokens.append(.quotedName(string(start + 1..<position)))
      position += 1
    case UInt8(ascii: "("):
      depth += 1
      tokens.append(.symbol("("))
      position += 1
    case UInt8(ascii: ")"):
      depth -= 1
      guard depth >= 0 else { throw .unbalanced }
      tokens.append(.symbol(")"))
      position += 1
    case let first
    where isDigit(first) || (first == UInt8(ascii: ".") && isDigit(byte(position + 1))):
      while isWordByte(byte(position)) || byte(position) == UInt8(ascii: ".")
        || ((byte(position) == UInt8(ascii: "+") || byte(position) == UInt8(ascii: "-"))
          && byte(position - 1) | 0x20 == UInt8(ascii: "e")
          && !string(start..<position).lowercased().hasPrefix("0x"))
      { position += 1 }
      tokens.append(.number(string(start..<position)))
    case let first where isWordByte(first):
      while isWordByte(byte(position)) || byte(position) == UInt8(ascii: "$") { position += 1 }
      tokens.append(.word(string(start..<position)))
    default:
      let two = string(start..<min(start + 2, bytes.count))
      let symbol =
        ["<=", ">=", "<>", "!=", "==", "||", "<<", ">>"].contains(two)
        ? two : string(start..<start + 1)
      tokens.append(.symbol(symbol))
      position += symbol.utf8.count
    }
  }
  guard depth == 0 else { throw .unbalanced }
  if tokens.isEmpty { throw .empty }
  return tokens
}

/// A text between quotes, doubled ones undone; leaves `position` behind the closing one.
private func quoted(_ bytes: [UInt8], _ position: inout Int, by quote: UInt8) throws(ExpressionError
  .Code) -> String
{
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
  throw .unterminatedQuote
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

/// SQLite takes every byte from 0x80 on as part of a name.
private func isWordByte(_ byte: UInt8) -> Bool {
  isDigit(byte) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || byte == 0x5F || byte >= 0x80
}
