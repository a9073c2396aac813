/// What stands under some names in one JSON object, each value as it is written: of files that
/// people write by hand, not of records.
package struct JSONMembers {
  package enum Value: Equatable {
    case null
    /// A text without its quotes and escapes.
    case text([UInt8])
    /// Anything else, as it stands there: a number, a word, an object or an array.
    case other([UInt8])
  }
  private let values: [String: Value]

  /// Nil for a name that the object does not have.
  package subscript(name: String) -> Value? { values[name] }

  /// Nil where the line is not one JSON object, or has a name twice. Other names may stand there.
  package init?(of line: [UInt8], names: [String]) {
    var tokens = [Token](repeating: .absent, count: names.count)
    var unescaped: [UInt8] = []
    let fault = line.withUnsafeBytes { bytes in
      tokens.withUnsafeMutableBufferPointer {
        JSONScanner(names: names).scan(bytes, 0..<bytes.count, into: $0, unescaped: &unescaped)
      }
    }
    if fault != nil { return nil }
    var values: [String: Value] = [:]
    for (name, token) in zip(names, tokens) {
      switch token.kind {
      case .absent: continue
      case .null: values[name] = .null
      case .quoted: values[name] = .text(Array(line[token.range]))
      case .unescaped: values[name] = .text(Array(unescaped[token.range]))
      case .plain, .number, .isTrue, .isFalse, .composite, .invalidText:
        values[name] = .other(Array(line[token.range]))
      }
    }
    self.values = values
  }
}
