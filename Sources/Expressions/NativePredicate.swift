internal import Tables

/// `field op literal` with AND, OR, NOT and IS NULL, evaluated column by column in SQL's
/// three-valued logic.
///
/// It takes only comparisons in which SQLite converts nothing: numbers with number columns, texts
/// with text columns. Literals get their values from SQLite, so both paths read `0.1` or
/// 9223372036854775808 alike.
/// - SeeAlso: sqlite.org/datatype3.html, "Comparison expressions".
struct NativePredicate {
  enum Comparison { case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual }

  indirect enum Test {
    case compareInteger(column: Int, Comparison, Int64)
    case compareReal(column: Int, Comparison, Double)
    case compareText(column: Int, Comparison, [UInt8])
    case isNull(column: Int)
    /// A comparison with NULL.
    case unknown
    case not(Test)
    case and(Test, Test)
    case or(Test, Test)
  }

  /// False, true and NULL in an order that makes AND the smaller and OR the larger of two.
  private static let no: UInt8 = 0
  private static let unknown: UInt8 = 1
  private static let yes: UInt8 = 2

  private let root: Test

  /// Nil when the expression is of another form.
  init?(_ expression: Expression, schema: Schema, sandbox: Sandbox) throws(Fault) {
    let compiler = Compiler(schema: schema, sandbox: sandbox)
    guard let root = try compiler.test(expression.root) else { return nil }
    self.root = root
  }

  /// - Parameter matches: Gets one verdict per row of the range.
  func evaluate(_ columns: [Column], rows: Range<Int>, matches: inout [Bool]) {
    let verdicts = evaluate(root, columns, rows)
    matches.removeAll(keepingCapacity: true)
    matches.reserveCapacity(rows.count)
    for verdict in verdicts { matches.append(verdict == Self.yes) }
  }

  private func evaluate(_ test: Test, _ columns: [Column], _ rows: Range<Int>) -> [UInt8] {
    switch test {
    case .unknown: return [UInt8](repeating: Self.unknown, count: rows.count)
    case .isNull(let column):
      return columns[column].isNull[rows].map { $0 ? Self.yes : Self.no }
    case .not(let operand):
      return evaluate(operand, columns, rows).map { Self.yes - $0 }
    case .and(let left, let right):
      return zip(evaluate(left, columns, rows), evaluate(right, columns, rows)).map {
        min($0, $1)
      }
    case .or(let left, let right):
      return zip(evaluate(left, columns, rows), evaluate(right, columns, rows)).map {
        max($0, $1)
      }
    case .compareInteger(let column, let comparison, let literal):
      return compareInteger(columns[column], rows, comparison, literal)
    case .compareReal(let column, let comparison, let literal):
      return compareReal(columns[column], rows, comparison, literal)
    case .compareText(let column, let comparison, let literal):
      let values = columns[column]
      return rows.map { row in
        values.isNull[row]
          ? Self.unknown : verdict(compareBytes(values.text, row, literal), comparison)
      }
    }
  }

  private func compareInteger(
    _ values: Column, _ rows: Range<Int>, _ comparison: Comparison, _ literal: Int64
  ) -> [UInt8] {
    var verdicts = [UInt8](repeating: Self.unknown, count: rows.count)
    switch values.type {
    case .double:
      for (index, row) in rows.enumerated() where !values.isNull[row] {
        verdicts[index] = verdict(-order(literal, values.doubles[row]), comparison)
      }
    case .decimal(_, let scale):
      for (index, row) in rows.enumerated() where !values.isNull[row] {
        verdicts[index] = verdict(
          -order(literal, decimalValue(values.integers[row], scale: scale)), comparison)
      }
    default:
      for (index, row) in rows.enumerated() where !values.isNull[row] {
        let value = values.integers[row]
        verdicts[index] = verdict(value < literal ? -1 : value > literal ? 1 : 0, comparison)
      }
    }
    return verdicts
  }

  private func compareReal(
    _ values: Column, _ rows: Range<Int>, _ comparison: Comparison, _ literal: Double
  ) -> [UInt8] {
    var verdicts = [UInt8](repeating: Self.unknown, count: rows.count)
    for (index, row) in rows.enumerated() where !values.isNull[row] {
      let value: Double
      switch values.type {
      case .double: value = values.doubles[row]
      case .decimal(_, let scale): value = decimalValue(values.integers[row], scale: scale)
      default:
        verdicts[index] = verdict(order(values.integers[row], literal), comparison)
        continue
      }
      verdicts[index] = verdict(value < literal ? -1 : value > literal ? 1 : 0, comparison)
    }
    return verdicts
  }

  @inline(__always) private func verdict(_ order: Int, _ comparison: Comparison) -> UInt8 {
    let holds =
      switch comparison {
      case .equal: order == 0
      case .notEqual: order != 0
      case .less: order < 0
      case .lessOrEqual: order <= 0
      case .greater: order > 0
      case .greaterOrEqual: order >= 0
      }
    return holds ? Self.yes : Self.no
  }

  /// Below 0, 0 or above 0: an integer against a double by their exact values, not by the integer
  /// rounded to a double.
  private func order(_ integer: Int64, _ real: Double) -> Int {
    if real >= 9_223_372_036_854_775_808 { return -1 }
    if real < -9_223_372_036_854_775_808 { return 1 }
    let truncated = Int64(real)
    if integer != truncated { return integer < truncated ? -1 : 1 }
    let fraction = real - Double(truncated)
    return fraction > 0 ? -1 : fraction < 0 ? 1 : 0
  }

  private func compareBytes(_ text: TextArray, _ row: Int, _ literal: [UInt8]) -> Int {
    text.withBytes(of: row) { bytes in
      for index in 0..<min(bytes.count, literal.count) where bytes[index] != literal[index] {
        return bytes[index] < literal[index] ? -1 : 1
      }
      return bytes.count - literal.count
    }
  }
}

/// Finds the comparisons in a tree.
private struct Compiler {
  let schema: Schema
  let sandbox: Sandbox

  /// Nil for what is none of ours.
  func test(_ node: Node) throws(Fault) -> NativePredicate.Test? {
    switch node.form {
    case .unary(.not, let operand): return try test(operand).map { .not($0) }
    case .nullTest(let operand, let isNegated):
      guard case .column(let name) = operand.form, let column = schema.index(of: name) else {
        return nil
      }
      return isNegated ? .not(.isNull(column: column)) : .isNull(column: column)
    case .binary(.and, let left, let right):
      guard let left = try test(left), let right = try test(right) else { return nil }
      return .and(left, right)
    case .binary(.or, let left, let right):
      guard let left = try test(left), let right = try test(right) else { return nil }
      return .or(left, right)
    case .binary(let binary, let left, let right):
      guard let comparison = Self.comparison(binary) else { return nil }
      return switch (try operand(left, beside: right), try operand(right, beside: left)) {
      case (.column(let column), .literal(let value)): test(column, comparison, value)
      case (.literal(let value), .column(let column)):
        test(column, Self.mirrored(comparison), value)
      case (.column, .column), (.literal, .literal), (nil, _), (_, nil): nil
      }
    case .null, .number, .text, .blob, .truth, .column, .unknown, .unary, .between, .isIn, .match,
      .collate, .cast, .cases, .call, .row, .opaque:
      return nil
    }
  }

  private static func comparison(_ binary: Node.Binary) -> NativePredicate.Comparison? {
    switch binary {
    case .equal: .equal
    case .notEqual: .notEqual
    case .less: .less
    case .lessOrEqual: .lessOrEqual
    case .greater: .greater
    case .greaterOrEqual: .greaterOrEqual
    case .or, .and, .isSame, .isOther, .bitAnd, .bitOr, .shiftLeft, .shiftRight, .add, .subtract,
      .multiply, .divide, .remainder, .concatenate:
      nil
    }
  }

  private static func mirrored(_ comparison: NativePredicate.Comparison)
    -> NativePredicate.Comparison
  {
    switch comparison {
    case .equal, .notEqual: comparison
    case .less: .greater
    case .lessOrEqual: .greaterOrEqual
    case .greater: .less
    case .greaterOrEqual: .lessOrEqual
    }
  }

  private enum Operand { case column(Int), literal(SQLValue) }

  private func operand(_ node: Node, beside other: Node) throws(Fault) -> Operand? {
    if case .column(let name) = other.form, let index = schema.index(of: name),
      schema.columns[index].type == .uint64, node.form != .null
    {
      return node.keptNumber.map { .literal($0) }
    }
    switch node.form {
    case .column(let name): return schema.index(of: name).map { .column($0) }
    case .null: return .literal(.null)
    case .truth(let isTrue): return .literal(.integer(isTrue ? 1 : 0))
    case .text(let text): return .literal(.text(Array(text.utf8)))
    case .number(let digits): return .literal(try value(of: digits))
    case .unary(.minus, let operand):
      guard case .number(let digits) = operand.form else { return nil }
      return .literal(try value(of: "-" + digits))
    case .blob, .unknown, .unary, .binary, .nullTest, .between, .isIn, .match, .collate, .cast,
      .cases, .call, .row, .opaque:
      return nil
    }
  }

  private func value(of literal: String) throws(Fault) -> SQLValue {
    let statement = try sandbox.prepare("SELECT \(literal) FROM \(Sandbox.tableName)")
    var value = SQLValue.null
    try sandbox.run(statement, over: probe(schema, rowCount: 1), rows: 0..<1) { statement in
      value = statement.value(0)
    }
    return value
  }

  private func test(_ column: Int, _ comparison: NativePredicate.Comparison, _ literal: SQLValue)
    -> NativePredicate.Test?
  {
    switch (literal, schema.columns[column].type.storage) {
    case (.null, _): .unknown
    case (.integer(let number), .integers), (.integer(let number), .doubles):
      .compareInteger(column: column, comparison, number)
    case (.real(let number), .integers), (.real(let number), .doubles):
      .compareReal(column: column, comparison, number)
    case (.text(let bytes), .text): .compareText(column: column, comparison, bytes)
    // The rest would be converted by SQLite's affinities: left to SQLite.
    case (.integer, .text), (.real, .text), (.text, .integers), (.text, .doubles), (.blob, _): nil
    }
  }
}
