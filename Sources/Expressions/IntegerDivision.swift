package import Tables

/// A division of two integers, which drops the fraction, where the fraction would matter: in the
/// expression's value, as in `total / sum(total) OVER ()`, which is 0 in nearly every row, or in a
/// comparison with something that is no integer, as in `total / sum(total) OVER () > 0.5`.
package struct IntegerDivision: Equatable, Sendable {
  /// Where the division begins.
  package let position: SourcePosition
  /// Whether a comparison drops the fraction, and not the value.
  package let isCompared: Bool
  /// The whole expression with the fewest changes that make its divisions exact; nil where no
  /// small change does.
  package let mended: String?
}

extension Expression {
  /// The first such division.
  ///
  /// - Parameter showsFraction: Whether the value's own fraction is seen, as in a column of type
  ///   double.
  package func integerDivision(in schema: Schema, showsFraction: Bool = true) -> IntegerDivision? {
    func divisions(_ fractionMatters: Bool) -> [Node] {
      root.integerDivisions(in: schema, fractionMatters: fractionMatters)
    }
    guard let first = divisions(showsFraction).first else { return nil }
    return IntegerDivision(
      position: SourcePosition(of: first.range.lowerBound, in: sql),
      isCompared: divisions(false).contains { $0.range == first.range },
      mended: mended(in: schema, showsFraction))
  }

  private func mended(in schema: Schema, _ fractionMatters: Bool) -> String? {
    var current = self
    while true {
      let divisions = current.root.integerDivisions(in: schema, fractionMatters: fractionMatters)
      guard let division = divisions.first else { return current.sql }
      // A change is taken if it leaves fewer divisions to mend, so this ends.
      let next = division.exactForms(in: current.sql).lazy
        .compactMap { try? Expression($0, schema: schema) }
        .first {
          !$0.root.isOpaque
            && $0.root.integerDivisions(in: schema, fractionMatters: fractionMatters).count
              < divisions.count
        }
      guard let next else { return nil }
      current = next
    }
  }
}

extension Node {
  /// Inner ones first. Where only the whole part of a quotient is used, as by a comparison with an
  /// integer, `%` or floor(), nothing is lost.
  ///
  /// - Parameter fractionMatters: Whether whatever takes this part's value sees its fraction.
  fileprivate func integerDivisions(in schema: Schema, fractionMatters: Bool) -> [Node] {
    func divisions(_ nodes: [Node], _ fractionMatters: Bool) -> [Node] {
      nodes.flatMap { $0.integerDivisions(in: schema, fractionMatters: fractionMatters) }
    }
    /// A fraction matters to a comparison where the other side may have one.
    func compared(_ operand: Node, _ others: [Node]) -> [Node] {
      divisions([operand], others.contains { $0.mayBeReal(in: schema) })
        + divisions(others, operand.mayBeReal(in: schema))
    }
    switch form {
    case .binary(.divide, let left, let right):
      let isInteger = left.isInteger(in: schema) && right.isInteger(in: schema)
      return divisions([left, right], fractionMatters)
        + (fractionMatters && isInteger ? [self] : [])
    case .binary(.add, let left, let right), .binary(.subtract, let left, let right),
      .binary(.multiply, let left, let right):
      return divisions([left, right], fractionMatters)
    case .binary(let binary, let left, let right) where binary.isComparison:
      return compared(left, [right])
    case .between(let operand, let low, let high, _): return compared(operand, [low, high])
    case .isIn(let operand, let list, _): return compared(operand, list)
    case .unary(.minus, let operand), .unary(.plus, let operand), .collate(let operand, _):
      return divisions([operand], fractionMatters)
    case .cases(let operand, let cases, let otherwise):
      let conditions = cases.map(\.when)
      return (operand.map { compared($0, conditions) } ?? divisions(conditions, false))
        + divisions(cases.map(\.then) + (otherwise.map { [$0] } ?? []), fractionMatters)
    case .call(let call):
      let values = call.valueArguments
      let others = call.children.filter { child in !values.contains { $0.range == child.range } }
      return divisions(values, fractionMatters && SQLFunction.keepsFraction(call.name))
        + divisions(others, false)
    default: return divisions(children, false)
    }
  }

  private func mayBeReal(in schema: Schema) -> Bool {
    !isInteger(in: schema) && kinds(in: schema).contains(.real)
  }

  /// Whether every value is an integer or NULL, as long as no integer overflows.
  private func isInteger(in schema: Schema) -> Bool {
    switch form {
    case .null: return true
    case .unary(.minus, let operand), .unary(.plus, let operand), .collate(let operand, _):
      return operand.isInteger(in: schema)
    case .binary(let binary, let left, let right) where binary.isArithmetic:
      return left.isInteger(in: schema) && right.isInteger(in: schema)
    case .cases(_, let cases, let otherwise):
      return (cases.map(\.then) + (otherwise.map { [$0] } ?? [])).allSatisfy {
        $0.isInteger(in: schema)
      }
    case .call(let call):
      switch SQLFunction.all[call.name] {
      case .arguments, .number:
        return !call.valueArguments.isEmpty
          && call.valueArguments.allSatisfy { $0.isInteger(in: schema) }
      case .kinds, nil: break
      }
    default: break
    }
    return kinds(in: schema).subtracting(.null) == .integer
  }

  /// Ways to write this division of an expression so that it is exact, the shortest first.
  fileprivate func exactForms(in sql: String) -> [String] {
    guard case .binary(.divide, let left, let right) = form else { return [] }
    let bytes = Array(sql.utf8)
    func inserting(_ text: String, at offset: Int) -> String {
      String(decoding: bytes[..<offset] + Array(text.utf8) + bytes[offset...], as: UTF8.self)
    }
    var forms: [String] = []
    for number in [left.firstNumber, right.isNumber ? right : nil].compactMap(\.self) {
      forms.append(inserting(".0", at: number.range.upperBound))
    }
    let start = left.range.lowerBound
    forms.append(inserting("1.0 * ", at: start))
    // The left side may stand between parentheses, which its range does not show.
    if let open = bytes[..<start].lastIndex(where: { $0 != 0x20 }),
      bytes[open] == UInt8(ascii: "(")
    {
      forms.append(inserting("1.0 * ", at: open))
    }
    return forms
  }

  /// The number that a sum or a product begins with.
  private var firstNumber: Node? {
    switch form {
    case .number: isNumber ? self : nil
    case .binary(.add, let left, _), .binary(.subtract, let left, _),
      .binary(.multiply, let left, _):
      left.firstNumber
    default: nil
    }
  }

  /// A literal of decimal digits.
  private var isNumber: Bool {
    if case .number(let digits) = form { Int64(digits) != nil } else { false }
  }
}

extension Node.Binary {
  var isComparison: Bool {
    switch self {
    case .equal, .notEqual, .isSame, .isOther, .less, .lessOrEqual, .greater, .greaterOrEqual: true
    default: false
    }
  }

  fileprivate var isArithmetic: Bool {
    switch self {
    case .add, .subtract, .multiply, .divide, .remainder: true
    default: false
    }
  }
}

extension Node.Call {
  /// The arguments that the value is made from; neither offsets, as of lag(), nor conditions.
  var valueArguments: [Node] {
    guard case .list(let list, _) = arguments else { return [] }
    if ["lag", "lead"].contains(name) { return Array(list.prefix(1)) + list.dropFirst(2) }
    guard case .arguments(let range) = SQLFunction.all[name] else { return list }
    return Array(list.prefix(range.upperBound).dropFirst(range.lowerBound))
  }
}
