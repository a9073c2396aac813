package import Tables

/// A SQL expression of a job, parsed once: its text, its tree and the columns that it reads.
///
/// The tree says what is read, of which kinds a value may be and where each part stands; SQLite
/// says what is valid and what it comes to. What SQLite takes and our grammar does not know is one
/// ``Node/Form/opaque`` node, of which nothing is known but the names in it.
package struct Expression: Sendable, Equatable {
  package let sql: String
  /// Columns of the schema that it reads, in lower case; where the tree is opaque, all that it
  /// names.
  package let columnNames: Set<String>
  let root: Node
  let tokenCount: Int

  /// Most bytes of an expression.
  package static let byteLimit = 10_000

  /// - Throws: ``ExpressionError`` for what no expression may hold, whatever SQLite thinks of it.
  ///   Whether it means anything is for ``Predicate`` and ``DerivedColumns`` to say.
  package init(_ sql: String, schema: Schema) throws(ExpressionError) {
    do throws(Fault) {
      try self.init(checking: sql, schema: schema)
    } catch {
      throw ExpressionError(error, item: nil, sql: sql)
    }
  }

  init(checking sql: String, schema: Schema) throws(Fault) {
    guard sql.utf8.count <= Self.byteLimit else { throw Fault(.tooLong(limit: Self.byteLimit)) }
    let tokens = try tokenize(sql)
    for token in tokens {
      switch token.kind {
      case .word(let name), .quotedName(let name):
        if [Sandbox.tableName, Sandbox.rowNumberName].contains(name.lowercased())
          || Sandbox.hiddenPrefixes.contains(where: name.lowercased().hasPrefix)
        {
          throw Fault(
            .unknownColumn(name: name, candidates: schema.columns.map(\.name)),
            at: token.range.lowerBound)
        }
        // Keywords of SQLite, never names unless quoted; without them there is no subquery.
        if let keyword = token.keyword, ["SELECT", "VALUES", "WITH"].contains(keyword) {
          throw Fault(.subquery, at: token.range.lowerBound)
        }
      case .text, .blob, .number, .symbol: break
      }
    }
    self.sql = sql
    tokenCount = tokens.count
    root = ExpressionParser.parse(tokens, schema)
    columnNames = root.isOpaque ? Self.named(tokens, schema) : root.columnNames
  }

  private static func named(_ tokens: [SQLToken], _ schema: Schema) -> Set<String> {
    Set(
      tokens.compactMap { token in
        switch token.kind {
        // SQLite takes a text for a name where only a name can stand.
        case .word(let name), .quotedName(let name), .text(let name):
          schema.index(of: name) == nil ? nil : name.lowercased()
        case .blob, .number, .symbol: nil
        }
      })
  }

  package static func == (left: Expression, right: Expression) -> Bool { left.sql == right.sql }
}

/// A part of an expression.
struct Node: Sendable {
  indirect enum Form: Sendable, Equatable {
    case null
    /// As written.
    case number(String)
    case text(String)
    /// Hexadecimal digits.
    case blob(String)
    /// TRUE or FALSE, where no column is called so.
    case truth(Bool)
    /// In lower case.
    case column(String)
    /// No column of the schema.
    case unknown(String)
    case unary(Unary, Node)
    case binary(Binary, Node, Node)
    /// IS NULL, ISNULL; negated IS NOT NULL, NOT NULL, NOTNULL.
    case nullTest(Node, isNegated: Bool)
    case between(Node, Node, Node, isNegated: Bool)
    case isIn(Node, [Node], isNegated: Bool)
    /// LIKE, GLOB, REGEXP or MATCH.
    case match(String, Node, Node, escape: Node?, isNegated: Bool)
    /// The collation in lower case.
    case collate(Node, String)
    /// The type as written, its tokens apart by one space.
    case cast(Node, String)
    case cases(of: Node?, [Case], otherwise: Node?)
    case call(Call)
    /// `(a, b)`.
    case row([Node])
    case opaque
  }

  enum Unary: String, Sendable {
    case minus = "-", plus = "+", invert = "~", not = "NOT"
  }

  enum Binary: String, Sendable, CaseIterable {
    case or = "OR", and = "AND"
    case equal = "=", notEqual = "<>", isSame = "IS", isOther = "IS NOT"
    case less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case bitAnd = "&", bitOr = "|", shiftLeft = "<<", shiftRight = ">>"
    case add = "+", subtract = "-", multiply = "*", divide = "/", remainder = "%"
    case concatenate = "||"
  }

  struct Case: Sendable, Equatable {
    let when, then: Node
  }

  struct Call: Sendable, Equatable {
    enum Arguments: Sendable, Equatable {
      case all
      case list([Node], isDistinct: Bool)
    }
    /// In lower case.
    let name: String
    let arguments: Arguments
    let filter: Node?
    let window: Window?
  }

  struct Window: Sendable, Equatable {
    struct Term: Sendable, Equatable {
      let value: Node
      let isDescending: Bool
      /// NULLS FIRST or NULLS LAST where it is said.
      let nullsFirst: Bool?
    }
    enum Bound: Sendable, Equatable {
      case unboundedPreceding, currentRow, unboundedFollowing
      case preceding(Node)
      case following(Node)
    }
    struct Frame: Sendable, Equatable {
      enum Unit: String, Sendable, CaseIterable { case range, rows, groups }
      enum Exclusion: String, Sendable {
        case noOthers = "NO OTHERS", currentRow = "CURRENT ROW", group = "GROUP", ties = "TIES"
      }
      let unit: Unit
      let start: Bound
      let end: Bound?
      let exclusion: Exclusion?
    }
    let partition: [Node]
    let order: [Term]
    let frame: Frame?
  }

  let form: Form
  /// In bytes of the expression; without parentheses around the part.
  let range: Range<Int>
  /// 1 for a leaf.
  let height: Int

  init(_ form: Form, _ range: Range<Int>) {
    self.form = form
    self.range = range
    height = 1 + (Self.children(of: form).map(\.height).max() ?? 0)
  }

  var isOpaque: Bool { form == .opaque }

  /// In the order of the text.
  var children: [Node] { Self.children(of: form) }

  private static func children(of form: Form) -> [Node] {
    switch form {
    case .null, .number, .text, .blob, .truth, .column, .unknown, .opaque: []
    case .unary(_, let operand), .nullTest(let operand, _), .collate(let operand, _),
      .cast(let operand, _):
      [operand]
    case .binary(_, let left, let right): [left, right]
    case .between(let operand, let low, let high, _): [operand, low, high]
    case .isIn(let operand, let list, _): [operand] + list
    case .match(_, let operand, let pattern, let escape, _):
      [operand, pattern] + (escape.map { [$0] } ?? [])
    case .cases(let operand, let cases, let otherwise):
      (operand.map { [$0] } ?? []) + cases.flatMap { [$0.when, $0.then] }
        + (otherwise.map { [$0] } ?? [])
    case .row(let parts): parts
    case .call(let call): call.children
    }
  }

  /// Itself and all that is below it.
  var all: [Node] { [self] + children.flatMap(\.all) }

  /// In lower case.
  var columnNames: Set<String> {
    Set(all.compactMap { if case .column(let name) = $0.form { name } else { nil } })
  }

  /// Where the first call of a function begins.
  func offset(ofCall name: String) -> Int? {
    all.first { if case .call(let call) = $0.form { call.name == name } else { false } }?
      .range.lowerBound
  }
}

/// Two parts are the same wherever they stand.
extension Node: Equatable {
  static func == (left: Node, right: Node) -> Bool { left.form == right.form }
}

extension Node.Call {
  var children: [Node] {
    var children: [Node] = []
    if case .list(let list, _) = arguments { children += list }
    if let filter { children.append(filter) }
    guard let window else { return children }
    children += window.partition + window.order.map(\.value)
    for bound in [window.frame?.start, window.frame?.end] {
      switch bound {
      case .preceding(let distance), .following(let distance): children.append(distance)
      case .unboundedPreceding, .currentRow, .unboundedFollowing, nil: break
      }
    }
    return children
  }
}

extension Predicate {
  /// As ``init(_:schema:)-(Expression,_)``, of a text that nobody has parsed yet.
  package convenience init(_ sql: String, schema: Schema) throws(ExpressionError) {
    try self.init(try Expression(sql, schema: schema), schema: schema)
  }
}

extension DerivedColumns {
  /// As ``init(_:schema:valueByteLimit:)``, of texts that nobody has parsed yet.
  package convenience init(
    _ items: [(name: String, sql: String, type: ColumnType)], schema: Schema,
    valueByteLimit: Int = Sandbox.defaultValueByteLimit
  ) throws(ExpressionError) {
    var parsed: [Item] = []
    for item in items {
      do throws(Fault) {
        parsed.append(
          (item.name, try Expression(checking: item.sql, schema: schema), item.type))
      } catch {
        throw ExpressionError(error, item: item.name, sql: item.sql)
      }
    }
    try self.init(parsed, schema: schema, valueByteLimit: valueByteLimit)
  }
}
