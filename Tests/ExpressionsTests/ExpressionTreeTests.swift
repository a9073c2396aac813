import Tables
import TestSupport
import Testing

@testable import Expressions

private let schema = Schema([
  ColumnDefinition("a", .int64, isNullable: true), ColumnDefinition("b", .int32),
  ColumnDefinition("r", .double, isNullable: true),
  ColumnDefinition("city", .string, isNullable: true),
  ColumnDefinition("end", .int64), ColumnDefinition("odd", .decimal(precision: 9, scale: 2)),
])

private func parsed(_ sql: String) throws -> String {
  let expression = try Expression(sql, schema: schema)
  return expression.root.isOpaque ? "opaque" : SQLText.of(expression.root)
}

@Suite("The tree of an expression")
struct ExpressionTreeTests {
  @Test(
    "binds its operators as SQLite does",
    arguments: [
      ("a = 1 OR b = 2 AND NOT r < 3", #""a" = 1 OR "b" = 2 AND NOT "r" < 3"#),
      ("(a or b) and not (a = 1)", #"("a" OR "b") AND NOT "a" = 1"#),
      ("a between b and 5 and r", #""a" BETWEEN "b" AND 5 AND "r""#),
      ("a not between b or r and 5", "opaque"),
      ("a NOT BETWEEN (b AND r) AND 5", #""a" NOT BETWEEN ("b" AND "r") AND 5"#),
      ("- a + b * r || city collate nocase", #"- "a" + "b" * "r" || "city" COLLATE "nocase""#),
      ("(a + b) * r - (a - b)", #"("a" + "b") * "r" - ("a" - "b")"#),
      ("a notnull isnull", #""a" IS NOT NULL IS NULL"#),
      ("a IS NOT DISTINCT FROM b IS DISTINCT FROM r", #""a" IS "b" IS NOT "r""#),
      ("1 + not a = b", #"1 + (NOT "a" = "b")"#),
      ("city NOT LIKE 'x%' || city ESCAPE '\\'", #""city" NOT LIKE 'x%' || "city" ESCAPE '\'"#),
      ("end + [end] + `end` + \"End\"", #""end" + "end" + "end" + "end""#),
      ("case a when 1 then end else end end", #"CASE "a" WHEN 1 THEN "end" ELSE "end" END"#),
      ("CAST(a AS decimal(9 , 2))", #"CAST("a" AS decimal ( 9 , 2 ))"#),
      ("a IN (1, b) = TRUE", #""a" IN (1, "b") = TRUE"#),
      ("(a, b) = (1, 2)", #"("a", "b") = (1, 2)"#),
      ("x'0a' || 'it''s'", "x'0a' || 'it''s'"),
      (
        "SUM(DISTINCT a) FILTER (WHERE b > 1) over (partition by b order by a desc nulls last "
          + "rows between 1 preceding and unbounded following exclude ties)",
        #"sum(DISTINCT "a") FILTER (WHERE "b" > 1) OVER (PARTITION BY "b" ORDER BY "a" DESC "#
          + "NULLS LAST ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE TIES)"
      ),
      ("count(*) OVER ()", "count(*) OVER ()"), ("sum(a) OVER w", "opaque"),
      ("main.x", "opaque"), ("a -> 'x'", "opaque"),
    ])
  func operators(sql: String, expected: String) throws {
    #expect(try parsed(sql) == expected)
  }

  @Test("knows the text of each of its parts")
  func ranges() throws {
    for (sql, part) in [
      ("- 5 < a", "- 5"), ("NOT a = b OR b", "NOT a = b"),
      ("city COLLATE NOCASE = 'x'", "city COLLATE NOCASE"),
      ("(a + b) * r", "a + b"), ("b IS NULL", "b"), ("abs(a) + 1", "abs(a)"),
    ] {
      let node = try #require(try Expression(sql, schema: schema).root.children.first)
      #expect(String(decoding: Array(sql.utf8)[node.range], as: UTF8.self) == part)
    }
  }

  @Test("says where a fault is, by line and column of the expression")
  func positions() throws {
    for (sql, line, column) in [
      ("b +\n  colour", 2, 3), ("b + 1 /* x */", 1, 7), ("'é' = citi", 1, 7), ("b + (1", 1, 5),
      ("b + abs(random())", 1, 9), ("b + 'open", 1, 5), ("b + ) (", 1, 5),
      ("b IN (SELECT 1)", 1, 7),
      ("b + + 1 1", 1, 9), ("length(b, 1)", 1, 1),
    ] {
      do {
        _ = try Predicate(sql, schema: schema)
        Issue.record("\(sql) is accepted")
      } catch {
        #expect(
          error.position == SourcePosition(line: line, column: column),
          "\(sql): \(error) at \(String(describing: error.position))")
      }
    }
    #expect(
      "\(try #require(Self.error("b + colour")))"
        == "`b + colour`, column 5: there is no column colour. There are: a, b, r, city, end, odd")
    #expect("\(try #require(Self.error("b\n+ c0")))".hasPrefix("`b\\n+ c0`, line 2, column 3: "))
  }

  private static func error(_ sql: String) -> ExpressionError? {
    do throws(ExpressionError) {
      _ = try Predicate(sql, schema: schema)
      return nil
    } catch { return error }
  }

  @Test("of what SQLite takes and the grammar does not know is opaque and still names its columns")
  func opaque() throws {
    // No such text is known, so one that SQLite refuses stands for it.
    let expression = try Expression("city.b + 'r' + \"End\"", schema: schema)
    // A text may be a name there.
    #expect(expression.root.isOpaque && expression.columnNames == ["city", "b", "r", "end"])
    #expect(expression.kinds(in: schema) == .any)
  }

  @Test("is found for any depth that SQLite takes, and for more without a crash")
  func depth() throws {
    for (open, close) in [("(", ")"), ("abs(", ")"), ("-", ""), ("NOT ", ""), ("b + ", "")] {
      let deep = String(repeating: open, count: 90) + "b" + String(repeating: close, count: 90)
      let isTaken = (try? Predicate(deep, schema: schema)) != nil
      #expect(try !isTaken || parsed(deep) != "opaque", "\(open)")
      for count in [300, 2_000] {
        let deeper =
          String(repeating: open, count: count) + "b" + String(repeating: close, count: count)
        if let expression = try? Expression(deeper, schema: schema) {
          #expect(expression.columnNames == ["b"])
        }
      }
    }
    let chain = "b" + String(repeating: "+b", count: 4_000)
    #expect(try Expression(chain, schema: schema).root.isOpaque)
    #expect(throws: ExpressionError.self) { _ = try Predicate(chain, schema: schema) }
  }

  /// The tree is held against SQLite: what it reads, what it comes to when it is written anew from
  /// the tree, and of which kinds its values are.
  @Test("is SQLite's for random expressions")
  func random() throws {
    let seed: UInt64 = 13
    var generator = RandomExpressions(SeededRandom(seed: seed))
    var takenCount = 0
    let sandbox = try Sandbox(schema)
    for _ in 0..<6_000 {
      let sql = generator.expression()
      let expression = try Expression(sql, schema: schema)
      let select = "SELECT (\(sql)\n), tranche_row_number FROM tranche_rows"
      guard let statement = try? sandbox.prepare(select) else { continue }
      takenCount += 1
      guard !expression.root.isOpaque else {
        Issue.record("seed \(seed): opaque: \(sql)")
        continue
      }
      // SQLite forgets what it reads where its parser already knows that it does not matter.
      #expect(
        generator.hasForgotten
          ? expression.columnNames.isSuperset(of: statement.columnNames)
          : expression.columnNames == statement.columnNames,
        "seed \(seed): \(sql): \(expression.columnNames), \(statement.columnNames)")
      let text = SQLText.of(expression.root)
      let again = try Expression(text, schema: schema)
      #expect(again.root == expression.root, "seed \(seed): \(sql): \(text)")
      let columns = probe(schema, rowCount: 4)
      let values = Self.values(sandbox, select, columns)
      let same = Self.values(
        sandbox, "SELECT (\(text)\n), tranche_row_number FROM tranche_rows", columns)
      #expect(values == same, "seed \(seed): \(sql): \(text)")
      let kinds = expression.kinds(in: schema)
      for value in values ?? [] {
        #expect(kinds.contains(value.kind), "seed \(seed): \(sql): \(value), \(kinds)")
      }
    }
    #expect(takenCount > 3_000, "\(takenCount)")
  }

  /// Nil where SQLite cannot compute one of them.
  private static func values(_ sandbox: Sandbox, _ sql: String, _ columns: [Column]) -> [SQLValue]?
  {
    do {
      let statement = try sandbox.prepare(sql)
      var values: [SQLValue] = []
      try sandbox.run(statement, over: columns, rows: 0..<4) { statement in
        values.append(statement.value(0))
      }
      return values
    } catch { return nil }
  }
}

extension SQLValue {
  fileprivate var kind: ValueKinds {
    switch self {
    case .null: .null
    case .blob: .blob
    case .integer: .integer
    case .real: .real
    case .text: .text
    }
  }
}

/// Texts of expressions, most of which SQLite takes, with and without parentheses.
private struct RandomExpressions {
  var random: SeededRandom
  /// Whether the last one holds what lets SQLite forget an operand while it parses.
  var hasForgotten = false

  init(_ random: SeededRandom) { self.random = random }

  mutating func expression() -> String {
    hasForgotten = false
    let depth = Int.random(in: 1...3, using: &random)
    return expression(depth)
  }

  private mutating func pick(_ texts: [String]) -> String {
    texts.randomElement(using: &random) ?? ""
  }

  private mutating func chance(_ percent: Int) -> Bool {
    Int.random(in: 0..<100, using: &random) < percent
  }

  private mutating func word(_ text: String) -> String { chance(50) ? text : text.lowercased() }

  private mutating func expression(_ depth: Int) -> String {
    if depth == 0 || chance(15) { return leaf() }
    let next = depth - 1
    var text: String
    switch Int.random(in: 0..<16, using: &random) {
    case 0...4:
      let binary = pick([
        "OR", "AND", "=", "==", "<>", "!=", "IS", "IS NOT", "IS DISTINCT FROM",
        "IS NOT DISTINCT FROM", "<", "<=", ">", ">=", "&", "|", "<<", ">>", "+", "-", "*", "/",
        "%", "||",
      ])
      text = "\(expression(next)) \(word(binary)) \(expression(next))"
    case 5: text = "\(pick(["-", "+", "~", "NOT ", "not "])) \(expression(next))"
    case 6:
      let test = pick(["ISNULL", "NOTNULL", "NOT NULL", "IS NULL", "IS NOT NULL"])
      text = "\(expression(next)) \(word(test))"
    case 7:
      let not = chance(50) ? "NOT " : ""
      text = "\(expression(next)) \(not)BETWEEN \(expression(next)) AND \(expression(next))"
    case 8:
      let count = Int.random(in: 0...3, using: &random)
      if count == 0 { hasForgotten = true }
      let list = (0..<count).map { _ in expression(next) }.joined(separator: ", ")
      text = "\(expression(next)) \(chance(50) ? "NOT IN" : "in") (\(list))"
    case 9:
      let escape = chance(30) ? " ESCAPE '\\'" : ""
      let not = chance(50) ? "NOT " : ""
      text =
        "\(expression(next)) \(not)\(pick(["LIKE", "like"])) \(expression(next))\(escape)"
    case 10: text = "\(expression(next)) COLLATE \(pick(["nocase", "\"binary\"", "RTRIM"]))"
    case 11:
      let type = pick(["INT", "text", "REAL", "NUMERIC(9, 2)", "BLOB", "double precision", "\"x\""])
      text = "CAST(\(expression(next)) AS \(type))"
    case 12: text = cases(next)
    case 13, 14: text = call(next)
    default: text = window(next)
    }
    return chance(40) ? "(\(text))" : text
  }

  private mutating func cases(_ depth: Int) -> String {
    let operand = chance(50) ? "\(expression(depth)) " : ""
    let count = Int.random(in: 1...2, using: &random)
    let cases = (0..<count).map { _ in
      "WHEN \(expression(depth)) THEN \(expression(depth))"
    }.joined(separator: " ")
    let otherwise = chance(50) ? " ELSE \(expression(depth))" : ""
    return "\(word("CASE")) \(operand)\(cases)\(otherwise) END"
  }

  private mutating func call(_ depth: Int) -> String {
    let (name, count) =
      [
        ("abs", 1), ("Round", 2), ("coalesce", 3), ("max", 2), ("\"min\"", 2), ("nullif", 2),
        ("length", 1), ("substr", 2), ("upper", 1), ("typeof", 1), ("iif", 3), ("sqrt", 1),
        ("instr", 2), ("hex", 1), ("like", 2), ("replace", 3), ("sign", 1), ("unicode", 1),
        ("char", 2), ("quote", 1), ("ceil", 1), ("trim", 1), ("mod", 2), ("pi", 0),
      ].randomElement(using: &random) ?? ("abs", 1)
    let arguments = (0..<count).map { _ in expression(depth) }.joined(separator: ", ")
    return "\(name)(\(arguments))"
  }

  private mutating func window(_ depth: Int) -> String {
    let function = pick([
      "sum(\(expression(depth)))", "count(*)", "row_number()", "rank()", "percent_rank()",
      "lag(\(expression(depth)), 1, \(expression(depth)))", "ntile(2)",
      "avg(\(expression(depth))) FILTER (WHERE \(expression(depth)))", "total(ALL a)",
      "first_value(\(expression(depth)))", "min(\(expression(depth)))",
    ])
    var parts: [String] = []
    if chance(40) { parts.append("PARTITION BY \(expression(depth)), \(expression(0))") }
    if chance(60) {
      let end = pick(["", " DESC", " asc", " NULLS LAST", " DESC NULLS FIRST"])
      parts.append("ORDER BY \(expression(depth))\(end), b")
    }
    if chance(40) {
      let bounds = pick([
        "UNBOUNDED PRECEDING", "BETWEEN 1 PRECEDING AND CURRENT ROW", "1 + 1 PRECEDING",
        "BETWEEN UNBOUNDED PRECEDING AND 2 FOLLOWING", "current row",
        "BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
      ])
      let exclusion = pick([
        "", " EXCLUDE TIES", " EXCLUDE NO OTHERS", " exclude group", " EXCLUDE CURRENT ROW",
      ])
      parts.append("\(pick(["ROWS", "rows", "GROUPS"])) \(bounds)\(exclusion)")
    }
    return "\(function) OVER (\(parts.joined(separator: " ")))"
  }

  private mutating func leaf() -> String {
    if chance(60) {
      return pick(["a", "B", "r", "city", "end", "[odd]", "\"A\"", "`r`", "odd"])
    }
    let literal = pick([
      "0", "1", "5", "2.5", "1e3", ".5", "0x1F", "9223372036854775807", "9223372036854775808",
      "'a'", "''", "'it''s'", "'5'", "x'00ff'", "NULL", "TRUE", "false", "\u{FEFF}7",
    ])
    if ["0", "false", "0x1F"].contains(literal) { hasForgotten = true }
    return literal
  }
}

@Suite("A range of rows")
struct RowRangeTests {
  @Test(
    "is what a where looks at, and nothing before it",
    arguments: ["b >= 2", "b + 0 >= 2", "city = 'a3' OR r IS NULL", "abs(b) IN (1, 3)"])
  func lowerBound(sql: String) throws {
    let columns = probe(schema, rowCount: 6)
    let predicate = try Predicate(sql, schema: schema)
    var all: [Bool] = []
    try predicate.evaluate(columns, rows: 0..<6, matches: &all)
    #expect(Set(all).count == 2)
    for from in 0...6 {
      for to in from...6 {
        var some: [Bool] = []
        try predicate.evaluate(columns, rows: from..<to, matches: &some)
        #expect(some == Array(all[from..<to]), "\(sql) in \(from)..<\(to)")
        try predicate.evaluateInSQLite(columns, rows: from..<to, matches: &some)
        #expect(some == Array(all[from..<to]), "\(sql) in \(from)..<\(to)")
      }
    }
  }
}
