internal import Tables

/// SQLite's grammar of expressions without subqueries, by precedence climbing.
///
/// It is not the judge of what is valid, which SQLite is: of what SQLite refuses it may make any
/// tree. Of what SQLite takes it makes the tree that SQLite makes, or an opaque one.
/// - SeeAlso: `expr` in SQLite's parse.y; sqlite.org/lang_expr.html, "Operators".
struct ExpressionParser {
  /// What stands here is nothing that this grammar has.
  private struct Unknown: Error {}

  /// From loose to tight, as `%left` and `%right` of parse.y.
  enum Precedence {
    static let or = 1
    static let and = 2
    static let not = 3
    static let equality = 4
    static let comparison = 5
    static let bits = 7
    static let sum = 8
    static let product = 9
    static let concatenation = 10
    static let collation = 11
    static let unary = 12
    static let leaf = 13
  }

  /// Above both of SQLite's own (100): what is deeper is refused there.
  private static let heightLimit = 250
  private static let nestingLimit = 150

  private let tokens: [SQLToken]
  private let schema: Schema
  private var position = 0
  private var nesting = 0

  static func parse(_ tokens: [SQLToken], _ schema: Schema) -> Node {
    var parser = ExpressionParser(tokens: tokens, schema: schema)
    do throws(Unknown) {
      let root = try parser.expression(Precedence.or)
      if parser.position == tokens.count { return root }
    } catch {}
    return Node(.opaque, 0..<(tokens.last?.range.upperBound ?? 0))
  }

  private init(tokens: [SQLToken], schema: Schema) {
    self.tokens = tokens
    self.schema = schema
  }

  // MARK: - Tokens

  private func keyword(ahead count: Int = 0) -> String? {
    position + count < tokens.count ? tokens[position + count].keyword : nil
  }

  private func isSymbol(_ symbol: String, ahead count: Int = 0) -> Bool {
    position + count < tokens.count && tokens[position + count].kind == .symbol(symbol)
  }

  private mutating func take(_ keywords: String...) -> Bool {
    for (index, word) in keywords.enumerated() where keyword(ahead: index) != word { return false }
    position += keywords.count
    return true
  }

  private mutating func take(symbol: String) -> Bool {
    guard isSymbol(symbol) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ keyword: String) throws(Unknown) {
    guard take(keyword) else { throw Unknown() }
  }

  private mutating func expect(symbol: String) throws(Unknown) {
    guard take(symbol: symbol) else { throw Unknown() }
  }

  private func node(_ form: Node.Form, from start: Int) throws(Unknown) -> Node {
    let node = Node(form, start..<tokens[position - 1].range.upperBound)
    guard node.height <= Self.heightLimit else { throw Unknown() }
    return node
  }

  // MARK: - Operators

  /// - Parameters:
  ///   - least: Operators that bind less tightly are left to the caller.
  ///   - stopsAtAnd: Whether the next AND belongs to a BETWEEN around it.
  private mutating func expression(_ least: Int, stopsAtAnd: Bool = false) throws(Unknown) -> Node {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= Self.nestingLimit else { throw Unknown() }
    var left = try prefix()
    let start = left.range.lowerBound
    while position < tokens.count {
      if stopsAtAnd && keyword() == "AND" { break }
      if let (binary, precedence) = binary() {
        guard precedence >= least else { break }
        position += 1
        let right = try expression(precedence + 1)
        left = try node(.binary(binary, left, right), from: start)
      } else if keyword() == "COLLATE" {
        guard Precedence.collation >= least else { break }
        position += 1
        let collation = try name().lowercased()
        left = try node(.collate(left, collation), from: start)
      } else if least <= Precedence.equality, let form = try test(of: left) {
        left = try node(form, from: start)
      } else {
        break
      }
    }
    return left
  }

  /// An operator with one operand on each side and no word more.
  private func binary() -> (Node.Binary, Int)? {
    let spelling: String
    switch tokens[position].kind {
    case .symbol(let symbol): spelling = symbol
    case .word(let word): spelling = word.uppercased()
    case .quotedName, .text, .blob, .number: return nil
    }
    switch spelling {
    case "IS": return nil
    case "==": return (.equal, Precedence.equality)
    case "!=": return (.notEqual, Precedence.equality)
    default: return Node.Binary(rawValue: spelling).map { ($0, $0.precedence) }
    }
  }

  /// What follows an operand and binds as tightly as `=`; nil where nothing of it does.
  private mutating func test(of left: Node) throws(Unknown) -> Node.Form? {
    if take("ISNULL") { return .nullTest(left, isNegated: false) }
    if take("NOTNULL") || take("NOT", "NULL") { return .nullTest(left, isNegated: true) }
    if take("IS") {
      let saysNot = take("NOT")
      let saysDistinct = take("DISTINCT", "FROM")
      let isNegated = saysNot != saysDistinct
      let right = try expression(Precedence.comparison)
      if right.form == .null { return .nullTest(left, isNegated: isNegated) }
      return .binary(isNegated ? .isOther : .isSame, left, right)
    }
    let isNegated = keyword() == "NOT"
    switch keyword(ahead: isNegated ? 1 : 0) {
    case "BETWEEN":
      position += isNegated ? 2 : 1
      let low = try expression(Precedence.or, stopsAtAnd: true)
      try expect("AND")
      let high = try expression(Precedence.comparison)
      return .between(left, low, high, isNegated: isNegated)
    case "IN":
      position += isNegated ? 2 : 1
      try expect(symbol: "(")
      return .isIn(left, try list(), isNegated: isNegated)
    case .some(let word) where ["LIKE", "GLOB", "REGEXP", "MATCH"].contains(word):
      position += isNegated ? 2 : 1
      let pattern = try expression(Precedence.comparison)
      let escape = take("ESCAPE") ? try expression(Precedence.comparison) : nil
      return .match(word, left, pattern, escape: escape, isNegated: isNegated)
    default: return nil
    }
  }

  private mutating func prefix() throws(Unknown) -> Node {
    guard position < tokens.count else { throw Unknown() }
    let start = tokens[position].range.lowerBound
    if take("NOT") {
      // The operand first: the node ends where it does.
      let operand = try expression(Precedence.not)
      return try node(.unary(.not, operand), from: start)
    }
    if case .symbol(let symbol) = tokens[position].kind, let unary = Node.Unary(rawValue: symbol) {
      position += 1
      let operand = try expression(Precedence.unary)
      return try node(.unary(unary, operand), from: start)
    }
    return try operand()
  }

  // MARK: - Operands

  private mutating func operand() throws(Unknown) -> Node {
    let start = tokens[position].range.lowerBound
    let isCall = isSymbol("(", ahead: 1)
    position += 1
    switch tokens[position - 1].kind {
    case .number(let digits): return try node(.number(digits), from: start)
    case .text(let text): return try node(.text(text), from: start)
    case .blob(let digits): return try node(.blob(digits), from: start)
    case .symbol("("):
      let parts = try list()
      switch parts.count {
      case 0: throw Unknown()
      case 1: return parts[0]
      default: return try node(.row(parts), from: start)
      }
    case .symbol: throw Unknown()
    case .quotedName(let name): return try named(name, isCall: isCall, from: start)
    case .word(let word):
      switch word.uppercased() {
      case "NULL": return try node(.null, from: start)
      case "CASE": return try cases(from: start)
      case "CAST" where isCall: return try cast(from: start)
      case "TRUE" where !isCall && schema.index(of: word) == nil:
        return try node(.truth(true), from: start)
      case "FALSE" where !isCall && schema.index(of: word) == nil:
        return try node(.truth(false), from: start)
      default: return try named(word, isCall: isCall, from: start)
      }
    }
  }

  private mutating func named(_ name: String, isCall: Bool, from start: Int) throws(Unknown) -> Node
  {
    if isCall { return try call(name, from: start) }
    // A name of a table before it is none of ours.
    if isSymbol(".") { throw Unknown() }
    let isColumn = schema.index(of: name) != nil
    return try node(isColumn ? .column(name.lowercased()) : .unknown(name), from: start)
  }

  /// Up to and with the closing parenthesis.
  private mutating func list() throws(Unknown) -> [Node] {
    var list: [Node] = []
    if take(symbol: ")") { return list }
    repeat { list.append(try expression(Precedence.or)) } while take(symbol: ",")
    try expect(symbol: ")")
    return list
  }

  private mutating func name() throws(Unknown) -> String {
    guard position < tokens.count else { throw Unknown() }
    position += 1
    switch tokens[position - 1].kind {
    case .word(let name), .quotedName(let name), .text(let name): return name
    case .blob, .number, .symbol: throw Unknown()
    }
  }

  private mutating func cases(from start: Int) throws(Unknown) -> Node {
    let operand = keyword() == "WHEN" ? nil : try expression(Precedence.or)
    var cases: [Node.Case] = []
    while take("WHEN") {
      let when = try expression(Precedence.or)
      try expect("THEN")
      cases.append(Node.Case(when: when, then: try expression(Precedence.or)))
    }
    let otherwise = take("ELSE") ? try expression(Precedence.or) : nil
    try expect("END")
    if cases.isEmpty { throw Unknown() }
    return try node(.cases(of: operand, cases, otherwise: otherwise), from: start)
  }

  private mutating func cast(from start: Int) throws(Unknown) -> Node {
    try expect(symbol: "(")
    let operand = try expression(Precedence.or)
    try expect("AS")
    var words: [String] = []
    var depth = 0
    while position < tokens.count {
      if depth == 0 && isSymbol(")") { break }
      switch tokens[position].kind {
      case .word(let word): words.append(word)
      case .quotedName(let name): words.append(SQLText.name(name))
      case .text(let text): words.append(SQLText.literal(text))
      case .number(let digits): words.append(digits)
      case .symbol(let symbol) where ["(", ")", ",", "+", "-"].contains(symbol):
        depth += symbol == "(" ? 1 : symbol == ")" ? -1 : 0
        words.append(symbol)
      case .symbol, .blob: throw Unknown()
      }
      position += 1
    }
    try expect(symbol: ")")
    return try node(.cast(operand, words.joined(separator: " ")), from: start)
  }

  // MARK: - Calls

  private mutating func call(_ name: String, from start: Int) throws(Unknown) -> Node {
    try expect(symbol: "(")
    let arguments: Node.Call.Arguments
    if take(symbol: "*") {
      try expect(symbol: ")")
      arguments = .all
    } else {
      let isDistinct = take("DISTINCT")
      if !isDistinct { _ = take("ALL") }
      arguments = .list(try list(), isDistinct: isDistinct)
    }
    var filter: Node?
    if keyword() == "FILTER", isSymbol("(", ahead: 1) {
      position += 2
      try expect("WHERE")
      filter = try expression(Precedence.or)
      try expect(symbol: ")")
    }
    var window: Node.Window?
    if take("OVER") {
      // A window by name has nowhere to be defined.
      try expect(symbol: "(")
      window = try windowDefinition()
    }
    return try node(
      .call(
        Node.Call(name: name.lowercased(), arguments: arguments, filter: filter, window: window)),
      from: start)
  }

  /// Up to and with the closing parenthesis.
  private mutating func windowDefinition() throws(Unknown) -> Node.Window {
    var partition: [Node] = []
    if take("PARTITION", "BY") {
      repeat { partition.append(try expression(Precedence.or)) } while take(symbol: ",")
    }
    var order: [Node.Window.Term] = []
    if take("ORDER", "BY") {
      repeat { order.append(try orderTerm()) } while take(symbol: ",")
    }
    let frame = isSymbol(")") ? nil : try frame()
    try expect(symbol: ")")
    return Node.Window(partition: partition, order: order, frame: frame)
  }

  private mutating func orderTerm() throws(Unknown) -> Node.Window.Term {
    let value = try expression(Precedence.or)
    let isDescending = take("DESC")
    if !isDescending { _ = take("ASC") }
    let nullsFirst: Bool? = take("NULLS", "FIRST") ? true : take("NULLS", "LAST") ? false : nil
    return Node.Window.Term(value: value, isDescending: isDescending, nullsFirst: nullsFirst)
  }

  private mutating func frame() throws(Unknown) -> Node.Window.Frame {
    guard let word = keyword(), let unit = Node.Window.Frame.Unit(rawValue: word.lowercased())
    else { throw Unknown() }
    position += 1
    let start: Node.Window.Bound
    var end: Node.Window.Bound?
    if take("BETWEEN") {
      start = try bound()
      try expect("AND")
      end = try bound()
    } else {
      start = try bound()
    }
    return Node.Window.Frame(unit: unit, start: start, end: end, exclusion: try exclusion())
  }

  private mutating func exclusion() throws(Unknown) -> Node.Window.Frame.Exclusion? {
    guard take("EXCLUDE") else { return nil }
    if take("NO", "OTHERS") { return .noOthers }
    if take("CURRENT", "ROW") { return .currentRow }
    if take("GROUP") { return .group }
    try expect("TIES")
    return .ties
  }

  private mutating func bound() throws(Unknown) -> Node.Window.Bound {
    if take("UNBOUNDED", "PRECEDING") { return .unboundedPreceding }
    if take("UNBOUNDED", "FOLLOWING") { return .unboundedFollowing }
    if take("CURRENT", "ROW") { return .currentRow }
    let distance = try expression(Precedence.or)
    if take("PRECEDING") { return .preceding(distance) }
    try expect("FOLLOWING")
    return .following(distance)
  }
}

extension Node.Binary {
  var precedence: Int {
    switch self {
    case .or: ExpressionParser.Precedence.or
    case .and: ExpressionParser.Precedence.and
    case .equal, .notEqual, .isSame, .isOther: ExpressionParser.Precedence.equality
    case .less, .lessOrEqual, .greater, .greaterOrEqual: ExpressionParser.Precedence.comparison
    case .bitAnd, .bitOr, .shiftLeft, .shiftRight: ExpressionParser.Precedence.bits
    case .add, .subtract: ExpressionParser.Precedence.sum
    case .multiply, .divide, .remainder: ExpressionParser.Precedence.product
    case .concatenate: ExpressionParser.Precedence.concatenation
    }
  }
}
