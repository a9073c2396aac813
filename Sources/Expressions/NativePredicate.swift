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

  indirect enum Node {
    case compareInteger(column: Int, Comparison, Int64)
    case compareReal(column: Int, Comparison, Double)
    case compareText(column: Int, Comparison, [UInt8])
    case isNull(column: Int)
    /// A comparison with NULL.
    case unknown
    case not(Node)
    case and(Node, Node)
    case or(Node, Node)
  }

  /// False, true and NULL in an order that makes AND the smaller and OR the larger of two.
  private static let no: UInt8 = 0
  private static let unknown: UInt8 = 1
  private static let yes: UInt8 = 2

  private let root: Node

  /// Nil when the expression is of another form.
  init?(tokens: [SQLToken], schema: Schema, sandbox: Sandbox) throws(ExpressionError.Code) {
    var parser = Parser(tokens: tokens, schema: schema, sandbox: sandbox)
    guard let root = try parser.disjunction(), parser.isAtEnd else { return nil }
    self.root = root
  }

  func evaluate(_ columns: [Column], rowCount: Int, matches: inout [Bool]) {
    let verdicts = evaluate(root, columns, rowCount)
    matches.removeAll(keepingCapacity: true)
    matches.reserveCapacity(rowCount)
    for verdict in verdicts { matches.append(verdict == Self.yes) }
  }

  private func evaluate(_ node: Node, _ columns: [Column], _ rowCount: Int) -> [UInt8] {
    switch node {
    case .unknown: return [UInt8](repeating: Self.unknown, count: rowCount)
    case .isNull(let column): return columns[column].isNull.map { $0 ? Self.yes : Self.no }
    case .not(let operand):
      return evaluate(operand, columns, rowCount).map { Self.yes - $0 }
    case .and(let left, let right):
      return zip(evaluate(left, columns, rowCount), evaluate(right, columns, rowCount)).map {
        min($0, $1)
      }
    case .or(let left, let right):
      return zip(evaluate(left, columns, rowCount), evaluate(right, columns, rowCount)).map {
        max($0, $1)
      }
    case .compareInteger(let column, let comparison, let literal):
      return compareInteger(columns[column], comparison, literal)
    case .compareReal(let column, let comparison, let literal):
      return compareReal(columns[column], comparison, literal)
    case .compareText(let column, let comparison, let literal):
      let values = columns[column]
      return values.isNull.indices.map { row in
        values.isNull[row]
          ? Self.unknown : verdict(compareBytes(values.text, row, literal), comparison)
      }
    }
  }

  private func compareInteger(_ values: Column, _ comparison: Comparison, _ literal: Int64)
    -> [UInt8]
  {
    var verdicts = [UInt8](repeating: Self.unknown, count: values.count)
    switch values.type {
    case .double:
      for row in verdicts.indices where !values.isNull[row] {
        verdicts[row] = verdict(-order(literal, values.doubles[row]), comparison)
      }
    case .decimal(_, let scale):
      for row in verdicts.indices where !values.isNull[row] {
        verdicts[row] = verdict(
          -order(literal, decimalValue(values.integers[row], scale: scale)), comparison)
      }
    default:
      for row in verdicts.indices where !values.isNull[row] {
        let value = values.integers[row]
        verdicts[row] = verdict(value < literal ? -1 : value > literal ? 1 : 0, comparison)
      }
    }
    return verdicts
  }

  private func compareReal(_ values: Column, _ comparison: Comparison, _ literal: Double) -> [UInt8]
  {
    var verdicts = [UInt8](repeating: Self.unknown, count: values.count)
    for row in verdicts.indices where !values.isNull[row] {
      let value: Double
      switch values.type {
      case .double: value = values.doubles[row]
      case .decimal(_, let scale): value = decimalValue(values.integers[row], scale: scale)
      default:
        verdicts[row] = verdict(order(values.integers[row], literal), comparison)
        continue
      }
      verdicts[row] = verdict(value < literal ? -1 : value > literal ? 1 : 0, comparison)
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

/// Precedence as in sqlite.org/lang_expr.html: OR, AND, NOT, then comparisons.
private struct Parser {
  let tokens: [SQLToken]
  let schema: Schema
  let sandbox: Sandbox
  var position = 0

  init(tokens: [SQLToken], schema: Schema, sandbox: Sandbox) {
    self.tokens = tokens
    self.schema = schema
    self.sandbox = sandbox
  }

  var isAtEnd: Bool { position == tokens.count }

  private mutating func take(word: String) -> Bool {
    guard position < tokens.count, case .word(let found) = tokens[position],
      found.uppercased() == word
    else { return false }
    position += 1
    return true
  }

  private mutating func take(symbol: String) -> Bool {
    guard position < tokens.count, tokens[position] == .symbol(symbol) else { return false }
    position += 1
    return true
  }

  mutating func disjunction() throws(ExpressionError.Code) -> NativePredicate.Node? {
    guard var node = try conjunction() else { return nil }
    while take(word: "OR") {
      guard let right = try conjunction() else { return nil }
      node = .or(node, right)
    }
    return node
  }

  private mutating func conjunction() throws(ExpressionError.Code) -> NativePredicate.Node? {
    guard var node = try negation() else { return nil }
    while take(word: "AND") {
      guard let right = try negation() else { return nil }
      node = .and(node, right)
    }
    return node
  }

  private mutating func negation() throws(ExpressionError.Code) -> NativePredicate.Node? {
    if take(word: "NOT") { return try negation().map { .not($0) } }
    let start = position
    if take(symbol: "("), let node = try disjunction(), take(symbol: ")"), endsOperand {
      return node
    }
    position = start
    return try comparison()
  }

  /// Whether what follows cannot go on with the operand: `(a > 1) + 1` is none of ours.
  private var endsOperand: Bool {
    guard position < tokens.count else { return true }
    switch tokens[position] {
    case .word(let word): return ["AND", "OR"].contains(word.uppercased())
    case .symbol(let symbol): return symbol == ")"
    case .quotedName, .text, .number: return false
    }
  }

  private enum Operand { case column(Int), literal(SQLValue) }

  private mutating func comparison() throws(ExpressionError.Code) -> NativePredicate.Node? {
    guard let left = try operand() else { return nil }
    if let isNull = nullTest() {
      guard case .column(let column) = left, endsOperand else { return nil }
      return isNull ? .isNull(column: column) : .not(.isNull(column: column))
    }
    guard position < tokens.count, case .symbol(let symbol) = tokens[position],
      let comparison = Self.comparisons[symbol]
    else {
      return nil
    }
    position += 1
    guard let right = try operand(), endsOperand else { return nil }
    switch (left, right) {
    case (.column(let column), .literal(let value)): return node(column, comparison, value)
    case (.literal(let value), .column(let column)):
      return node(column, Self.mirrored(comparison), value)
    case (.column, .column), (.literal, .literal): return nil
    }
  }

  /// True for IS NULL and ISNULL, false for IS NOT NULL, NOT NULL and NOTNULL.
  private mutating func nullTest() -> Bool? {
    let start = position
    if take(word: "ISNULL") { return true }
    if take(word: "NOTNULL") { return false }
    if take(word: "NOT"), take(word: "NULL") { return false }
    position = start
    if take(word: "IS") {
      let isNegated = take(word: "NOT")
      if take(word: "NULL") { return !isNegated }
    }
    position = start
    return nil
  }

  private static let comparisons: [String: NativePredicate.Comparison] = [
    "=": .equal, "==": .equal, "<>": .notEqual, "!=": .notEqual, "<": .less, "<=": .lessOrEqual,
    ">": .greater, ">=": .greaterOrEqual,
  ]

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

  private mutating func operand() throws(ExpressionError.Code) -> Operand? {
    guard position < tokens.count else { return nil }
    switch tokens[position] {
    case .text(let text):
      position += 1
      return .literal(.text(Array(text.utf8)))
    case .number(let number):
      position += 1
      return .literal(try value(of: number))
    case .symbol("-"):
      guard position + 1 < tokens.count, case .number(let number) = tokens[position + 1] else {
        return nil
      }
      position += 2
      return .literal(try value(of: "-" + number))
    case .word(let word):
      // A column may be called as it likes, keywords that SQLite would take for something else
      // excepted.
      position += 1
      switch word.uppercased() {
      case "NULL": return .literal(.null)
      case "TRUE" where schema.index(of: word) == nil: return .literal(.integer(1))
      case "FALSE" where schema.index(of: word) == nil: return .literal(.integer(0))
      default: return schema.index(of: word).map { .column($0) }
      }
    case .quotedName(let name):
      position += 1
      return schema.index(of: name).map { .column($0) }
    case .symbol: return nil
    }
  }

  private func value(of literal: String) throws(ExpressionError.Code) -> SQLValue {
    let statement = try sandbox.prepare("SELECT \(literal) FROM \(Sandbox.tableName)")
    var value = SQLValue.null
    try sandbox.run(statement, over: probe(schema, rowCount: 1), rowCount: 1) { statement in
      value = statement.value(0)
    }
    return value
  }

  private func node(_ column: Int, _ comparison: NativePredicate.Comparison, _ literal: SQLValue)
    -> NativePredicate.Node?
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
