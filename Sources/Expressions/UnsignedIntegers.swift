package import Tables

/// What SQLite computes in place of an expression that reads columns of type uint64, which it does
/// not have.
///
/// Such a column is an INTEGER, and a fault where its value is above 2^63 - 1. But where values are
/// only compared, ordered or handed on, what is kept of them can stand for them: a hidden column in
/// place of the column, and what would be kept of a number in place of the number. The order is the
/// same, and all 64 bits count. CAST(x AS REAL) is the double nearest to any value.
struct UnsignedForm {
  let sql: String
  /// Whether the expression's value is what is kept of a uint64.
  let isKept: Bool

  /// - Parameter type: Of the column that gets the value; nil where only its truth counts.
  init(_ expression: Expression, for type: ColumnType?, in schema: Schema) {
    let isRead = schema.columns.contains {
      $0.type == .uint64 && expression.columnNames.contains($0.name.lowercased())
    }
    guard isRead else {
      (sql, isKept) = (expression.sql, false)
      return
    }
    var rewriting = Rewriting(schema: schema)
    rewriting.visit(expression.root)
    let value = type == .uint64 ? rewriting.kept(expression.root) : nil
    isKept = value != nil
    rewriting.replacements += value ?? []
    sql = rewriting.applied(to: expression.sql)
  }
}

private struct Rewriting {
  struct Replacement {
    let range: Range<Int>
    let text: String
  }

  let schema: Schema
  var replacements: [Replacement] = []

  /// Rewrites the parts of which only the order of values matters.
  mutating func visit(_ node: Node) {
    switch node.form {
    case .binary(let binary, let left, let right) where binary.isComparison: take(left, [right])
    case .between(let operand, let low, let high, _): take(operand, [low, high])
    case .isIn(let operand, let list, _): take(operand, list)
    case .nullTest(let operand, _): take(operand)
    case .cast(let operand, let type) where Node.castKinds(type) == .real:
      if let column = unsignedColumn(operand) {
        let name = SQLText.name(Sandbox.realName(of: column.name))
        replacements.append(Replacement(range: operand.range, text: name))
      }
    case .cases(.some(let operand), let cases, _): take(operand, cases.map(\.when))
    case .call(let call):
      if call.name == "count", case .list(let list, _) = call.arguments {
        list.forEach { take($0) }
      }
      guard let window = call.window else { break }
      for part in window.partition { take(part) }
      if !window.addsToOrder { for term in window.order { take(term.value) } }
    default: break
    }
    for child in node.children { visit(child) }
  }

  /// Rewrites a value and those that it is compared with, if all can be.
  private mutating func take(_ operand: Node, _ others: [Node] = []) {
    var taken: [Replacement] = []
    // Two numbers beyond all uint64 may differ, and would not any more.
    let isBeyond = operand.isBeyondUnsigned
    for node in [operand] + others {
      if isBeyond && node.range != operand.range && node.isBeyondUnsigned { return }
      if case .real(let beyond) = node.keptNumber {
        taken.append(Replacement(range: node.range, text: "(\(beyond))"))
      } else if let kept = kept(node) {
        taken += kept
      } else {
        return
      }
    }
    replacements += taken
  }

  /// What turns a value into what is kept of it; nil where it may be no uint64.
  func kept(_ node: Node) -> [Replacement]? {
    func all(_ nodes: [Node]) -> [Replacement]? {
      var all: [Replacement] = []
      for node in nodes {
        guard let kept = kept(node) else { return nil }
        all += kept
      }
      return all
    }
    switch node.form {
    case .null: return []
    case .column:
      guard let column = unsignedColumn(node) else { return nil }
      return [
        Replacement(range: node.range, text: SQLText.name(Sandbox.keptName(of: column.name)))
      ]
    case .number, .unary(.minus, _):
      guard case .integer(let kept) = node.keptNumber else { return nil }
      return [Replacement(range: node.range, text: "(\(kept))")]
    case .cases(_, let cases, let otherwise):
      return all(cases.map(\.then) + (otherwise.map { [$0] } ?? []))
    case .call(let call):
      guard case .arguments = SQLFunction.all[call.name] else { return nil }
      // nullif(x, y) compares the two as well.
      if call.name == "nullif", case .list(let list, _) = call.arguments { return all(list) }
      return all(call.valueArguments)
    default: return nil
    }
  }

  private func unsignedColumn(_ node: Node) -> ColumnDefinition? {
    guard case .column(let name) = node.form, let index = schema.index(of: name),
      schema.columns[index].type == .uint64
    else { return nil }
    return schema.columns[index]
  }

  func applied(to sql: String) -> String {
    var bytes = Array(sql.utf8)
    for replacement in replacements.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
      bytes.replaceSubrange(replacement.range, with: replacement.text.utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension Expression {
  /// Whether its value is a uint64 as it stands, such as a column of that type.
  package func isUnsigned(in schema: Schema) -> Bool {
    UnsignedForm(self, for: .uint64, in: schema).isKept
  }
}

extension Node {
  /// Of a whole number as it is written: what is kept of it; of one that no uint64 reaches, a real
  /// number below or above all that is kept. Nil for anything else.
  var keptNumber: SQLValue? {
    let (text, isNegative): (String, Bool)
    switch form {
    case .number(let digits): (text, isNegative) = (digits, false)
    case .unary(.minus, let operand):
      guard case .number(let digits) = operand.form else { return nil }
      (text, isNegative) = (digits, true)
    default: return nil
    }
    guard !text.lowercased().hasPrefix("0x"), let real = Double(text) else { return nil }
    if isNegative { return real == 0 ? .integer(Int64(keeping: 0)) : .real(-1e20) }
    if let number = UInt64(text) ?? UInt64(exactly: real) {
      return .integer(Int64(keeping: number))
    }
    return real >= 18_446_744_073_709_551_616 ? .real(1e20) : nil
  }

  fileprivate var isBeyondUnsigned: Bool {
    if case .real = keptNumber { true } else { false }
  }
}

extension Node.Window {
  /// Whether a frame reaches as far as values differ by a number, as RANGE 5 PRECEDING.
  fileprivate var addsToOrder: Bool {
    guard let frame, frame.unit == .range else { return false }
    return [frame.start, frame.end].contains { bound in
      switch bound {
      case .preceding, .following: true
      case .unboundedPreceding, .currentRow, .unboundedFollowing, nil: false
      }
    }
  }
}
