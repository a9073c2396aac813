import Tables
import TestSupport
import Testing

@testable import Expressions

private let schema = Schema([
  ColumnDefinition("api_id", .int32), ColumnDefinition("time_taken", .int64, isNullable: true),
  ColumnDefinition("cost", .double, isNullable: true),
  ColumnDefinition("city", .string, isNullable: true), ColumnDefinition("price", .decimal(precision: 9, scale: 2)),
])

private func code(_ body: () throws(ExpressionError) -> Void) -> ExpressionError.Code? {
  do {
    try body()
    return nil
  } catch {
    return error.code
  }
}

@Suite("An expression is refused")
struct RefusalTests {
  @Test(
    "when it is more or less than one expression",
    arguments: [
      ("", ExpressionError.Code.empty), ("   ", .empty), ("1; DROP TABLE x", .semicolon), ("1 -- all", .comment), ("1 /* all */", .comment),
      ("?1", .parameter), (":x", .parameter), ("@x", .parameter), ("$x", .parameter), ("(1", .unbalanced),
      ("1) FROM x, (SELECT 2", .unbalanced),
      ("'abc", .unterminatedQuote), ("(SELECT 1)", .subquery), ("api_id IN (SELECT 1)", .subquery), ("EXISTS (SELECT 1)", .subquery),
      ("api_id IN (VALUES (1))", .subquery), ("api_id IN sqlite_schema", .subquery),
    ])
  func form(sql: String, expected: ExpressionError.Code) {
    #expect(code { () throws(ExpressionError) in _ = try Derivation([(name: "x", sql: sql, type: .double)], schema: schema) } == expected)
    #expect(code { () throws(ExpressionError) in _ = try Predicate(sql, schema: schema) } == expected)
  }

  @Test(
    "when SQLite cannot parse it as one value",
    arguments: ["1, 2", "1 AS y", "*", "api_id api_id", "1 +", "SUM(", "time_taken OVER ()", "api_id IN pragma_table_list"])
  func syntax(sql: String) {
    #expect(throws: ExpressionError.self) { _ = try Derivation([(name: "x", sql: sql, type: .double)], schema: schema) }
  }

  @Test("when it names a column that is not there, and the near one is suggested", arguments: ["time_takn + 1", "\"time_takn\" + 1"])
  func unknownColumn(sql: String) {
    do {
      _ = try Derivation([(name: "share", sql: sql, type: .double)], schema: schema)
      Issue.record("accepted")
    } catch {
      #expect(error.description == "share: `\(sql)`: there is no column time_takn. Did you mean time_taken?")
    }
  }

  @Test(
    "when it reads the row id or the names of our own", arguments: ["rowid", "oid", "_rowid_", "tranche_row_number", "tranche_rows.api_id"])
  func ownNames(sql: String) {
    #expect(throws: ExpressionError.self) { _ = try Derivation([(name: "x", sql: sql, type: .double)], schema: schema) }
  }

  @Test(
    "when a function is not deterministic or reaches outside",
    arguments: [
      "random()", "randomblob(4)", "sqlite_version()", "load_extension('x')", "changes()", "last_insert_rowid()", "date('now')",
      "datetime('now')",
      "strftime('%s', 'now')", "CURRENT_TIMESTAMP", "zeroblob(1000000000)", "printf('%s', 1)", "total_changes()", "readfile('/etc/passwd')",
    ])
  func functions(sql: String) {
    let found = code { () throws(ExpressionError) in _ = try Derivation([(name: "x", sql: sql, type: .double)], schema: schema) }
    guard case .forbiddenFunction = found else {
      Issue.record("\(sql): \(String(describing: found))")
      return
    }
  }

  @Test("when it changes the number of rows", arguments: ["sum(api_id)", "count(*)", "1 + max(api_id)", "avg(cost) > 2"])
  func aggregates(sql: String) {
    #expect(
      code { () throws(ExpressionError) in _ = try Derivation([(name: "x", sql: sql, type: .double)], schema: schema) } == .changesRowCount)
    #expect(throws: ExpressionError.self) { _ = try Predicate(sql, schema: schema) }
  }

  @Test("when a where looks at other rows")
  func windowInWhere() {
    #expect(throws: ExpressionError.self) { _ = try Predicate("row_number() OVER () < 5", schema: schema) }
  }

  @Test("when it is too deep, too long or takes too much work")
  func tooMuch() {
    let deep = String(repeating: "(", count: 500) + "1" + String(repeating: ")", count: 500) + String(repeating: "+1", count: 400)
    #expect(throws: ExpressionError.self) { _ = try Predicate(deep, schema: schema) }
    #expect(throws: ExpressionError.self) { _ = try Predicate("api_id = " + String(repeating: "1", count: 20_000), schema: schema) }
    #expect(throws: ExpressionError.self) {
      _ = try Predicate(
        "length(replace(hex(replace(hex(city || 'aaaaaaaaaaaaaaaa'), '6', hex('\(String(repeating: "a", count: 4_000))'))), '6', hex('\(String(repeating: "a", count: 4_000))'))) > 1",
        schema: schema)
    }
  }
}

@Suite("A derived column")
struct DerivationTests {
  private func columns(_ ids: [Int64], _ times: [Int64?]) -> [Column] {
    var columns = schema.columns.map { Column($0.type) }
    for (id, time) in zip(ids, times) {
      columns[0].append(integer: id)
      if let time { columns[1].append(integer: time) } else { columns[1].appendNull() }
      columns[2].append(double: 1.5)
      columns[3].append(string: "é")
      columns[4].append(integer: 1_050)
    }
    return columns
  }

  private func derive(_ sql: String, _ type: ColumnType = .double, _ columns: [Column]) throws(ExpressionError) -> Column {
    try Derivation([(name: "x", sql: sql, type: type)], schema: schema).derive(columns, rowCount: columns[0].count)[0]
  }

  @Test("is the share of the window's total and the rank among its groups, in the order of the rows")
  func shares() throws {
    let input = columns([1, 2, 3, 4], [30, 10, 40, 20])
    #expect(try derive("100.0 * time_taken / sum(time_taken) OVER ()", .double, input).doubles == [30, 10, 40, 20])
    let ranks = try derive("percent_rank() OVER (ORDER BY time_taken)", .double, input).doubles
    #expect(ranks == [2.0 / 3, 0, 1, 1.0 / 3])
    #expect(try derive("row_number() OVER (ORDER BY time_taken DESC)", .int64, input).integers == [2, 4, 1, 3])
  }

  @Test("of no rows is no rows, and a division by zero is NULL")
  func edges() throws {
    #expect(try derive("time_taken / sum(time_taken) OVER ()", .double, columns([], [])).count == 0)
    #expect(try derive("time_taken / 0", .double, columns([1], [1])).isNull == [true])
    #expect(try derive("time_taken", .double, columns([1], [nil])).isNull == [true])
  }

  @Test("sees decimals as numbers, texts by their bytes, and is convertible without loss only")
  func types() throws {
    let input = columns([7], [9_007_199_254_740_993])
    #expect(try derive("price * 2", .double, input).doubles == [21])
    #expect(try derive("price * 2", .decimal(precision: 9, scale: 2), input).integers == [2_100])
    #expect(try derive("city = 'e' || char(769)", .bool, input).integers == [0])
    #expect(try derive("upper('a') || city", .string, input).text[0] == "Aé")
    #expect(try derive("api_id * 1.0", .int32, input).integers == [7])
    for (sql, type): (String, ColumnType) in [
      ("time_taken", .double), ("time_taken", .int32), ("cost", .int64), ("city", .double), ("api_id", .string), ("api_id", .bool),
      ("1e308 * 10", .double), ("price / 9", .decimal(precision: 9, scale: 2)), ("x'00'", .string),
    ] {
      #expect(throws: ExpressionError.self, "\(sql) as \(type)") { _ = try derive(sql, type, input) }
    }
  }
}

@Suite("A where")
struct PredicateTests {
  @Test(
    "takes the native path for comparisons with literals, and only for them",
    arguments: [
      ("time_taken >= 0", true), ("api_id = 7 AND NOT (cost < 1.5 OR city IS NULL)", true), ("'x' <= city", true), ("TRUE = api_id", true),
      ("time_taken <> -5", true), ("city NOT NULL", true), ("api_id + 1 > 2", false), ("city = 5", false), ("api_id = '5'", false),
      ("length(city) > 2", false), ("api_id BETWEEN 1 AND 2", false), ("api_id", false), ("(api_id > 1) = 1", false),
      ("api_id = 1 COLLATE NOCASE", false),
    ])
  func path(sql: String, isNative: Bool) throws {
    #expect(try Predicate(sql, schema: schema).isNative == isNative)
  }

  @Test("says which columns it reads")
  func columnNames() throws {
    #expect(try Predicate("API_ID > 1 AND city = 'x'", schema: schema).columnNames == ["api_id", "city"])
  }

  @Test("means natively what SQLite says, on more than a million random pairs")
  func agreesWithSQLite() throws {
    let seed: UInt64 = 2_026
    var random = SeededRandom(seed: seed)
    let rowCount = 500
    var pairCount = 0
    for _ in 0..<2_200 {
      let columns = randomColumns(rowCount, &random)
      let sql = randomPredicate(depth: 2, &random)
      let predicate = try Predicate(sql, schema: schema)
      #expect(predicate.isNative, "seed \(seed): \(sql)")
      var native: [Bool] = []
      var slow: [Bool] = []
      try predicate.evaluate(columns, rows: 0..<rowCount, matches: &native)
      try predicate.evaluateInSQLite(columns, rowCount: rowCount, matches: &slow)
      if native != slow {
        let row = zip(native, slow).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? 0
        Issue.record(
          "seed \(seed): \(sql) on \(columns.map { $0.isNull[row] ? "NULL" : $0.type == .string ? $0.text[row] : $0.type == .double ? "\($0.doubles[row])" : "\($0.integers[row])" })"
        )
        return
      }
      pairCount += rowCount
    }
    #expect(pairCount > 1_000_000)
  }

  private let integers: [Int64] = [
    0, 1, -1, .max, .min, .max - 1, .min + 1, 1 << 53, (1 << 53) + 1, (1 << 53) - 1, -(1 << 53), -(1 << 53) - 1, -(1 << 53) + 1, 5, 100,
  ]
  private let reals: [Double] = [
    0, 1, -1, 0.5, -0.5, 9_007_199_254_740_992, 9_007_199_254_740_994, -9_007_199_254_740_992, 9.223372036854775807e18,
    -9.223372036854775808e18, 1e300, -1e300, .leastNonzeroMagnitude, 100.25,
  ]
  private let texts = ["", "a", "A", "é", "e\u{301}", "ß", "😀", "5", "5.0", "a ", "zz", "\u{FFFD}"]

  private func randomColumns(_ rowCount: Int, _ random: inout SeededRandom) -> [Column] {
    var columns = schema.columns.map { Column($0.type) }
    for _ in 0..<rowCount {
      columns[0].append(integer: Int64(Int32.random(in: -3...8, using: &random)))
      if Int.random(in: 0..<6, using: &random) == 0 {
        columns[1].appendNull()
      } else {
        columns[1].append(integer: integers.randomElement(using: &random) ?? 0)
      }
      if Int.random(in: 0..<6, using: &random) == 0 {
        columns[2].appendNull()
      } else {
        columns[2].append(double: reals.randomElement(using: &random) ?? 0)
      }
      if Int.random(in: 0..<6, using: &random) == 0 {
        columns[3].appendNull()
      } else {
        columns[3].append(string: texts.randomElement(using: &random) ?? "")
      }
      columns[4].append(integer: Int64.random(in: -300...300, using: &random))
    }
    return columns
  }

  private func randomPredicate(depth: Int, _ random: inout SeededRandom) -> String {
    if depth > 0 {
      switch Int.random(in: 0..<4, using: &random) {
      case 0: return "(\(randomPredicate(depth: depth - 1, &random))) AND \(randomPredicate(depth: 0, &random))"
      case 1: return "\(randomPredicate(depth: 0, &random)) OR (\(randomPredicate(depth: depth - 1, &random)))"
      case 2: return "NOT (\(randomPredicate(depth: depth - 1, &random)))"
      default: break
      }
    }
    let column = ["api_id", "time_taken", "cost", "city", "price"].randomElement(using: &random) ?? "api_id"
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return "\(column) IS NULL"
    case 1: return "\(column) IS NOT NULL"
    default: break
    }
    let comparison = ["=", "==", "<>", "!=", "<", "<=", ">", ">="].randomElement(using: &random) ?? "="
    let literal = literal(column, &random)
    return Bool.random(using: &random) ? "\(column) \(comparison) \(literal)" : "\(literal) \(comparison) \(column)"
  }

  private func literal(_ column: String, _ random: inout SeededRandom) -> String {
    if Int.random(in: 0..<12, using: &random) == 0 { return "NULL" }
    if column == "city" { return "'\(texts.randomElement(using: &random) ?? "")'" }
    switch Int.random(in: 0..<5, using: &random) {
    case 0: return "\(reals.randomElement(using: &random) ?? 0)"
    case 1:
      return ["9223372036854775808", "-9223372036854775809", "0x10", "1e3", ".5", "TRUE", "FALSE"].randomElement(using: &random) ?? "1"
    case 2: return "\(Double(Int64.random(in: -300...300, using: &random)) / 100)"
    default: return "\(integers.randomElement(using: &random) ?? 0)"
    }
  }
}
