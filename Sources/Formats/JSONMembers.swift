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
    let tree = JSONFieldTree(
      names.enumerated().map { JSONFieldTree.Place(steps: [.key($1)], field: $0) })
    var tokens = [Token](repeating: .absent, count: tree.slotCount)
    var unescaped: [UInt8] = []
    var end = 0
    let fault = line.withUnsafeBytes { bytes in
      tokens.withUnsafeMutableBufferPointer {
        JSONScanner(tree).scanRecord(bytes, &end, into: $0, unescaped: &unescaped)
      }
    }
    guard fault == nil, end == line.count else { return nil }
    var values: [String: Value] = [:]
    for (name, slot) in zip(names, tree.slots) {
      let token = tokens[slot]
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
