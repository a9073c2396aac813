import Tables
import TestSupport
import Testing

@testable import Expressions

private let schema = Schema([
  ColumnDefinition("api_id", .int32), ColumnDefinition("time_taken", .int64, isNullable: true),
  ColumnDefinition("cost", .double, isNullable: true),
  ColumnDefinition("city", .string, isNullable: true),
  ColumnDefinition("price", .decimal(precision: 9, scale: 2)),
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
      ("", ExpressionError.Code.empty), ("   ", .empty), ("1; DROP TABLE x", .semicolon),
      ("1 -- all", .comment), ("1 /* all */", .comment),
      ("?1", .parameter), (":x", .parameter), ("@x", .parameter), ("$x", .parameter),
      ("(1", .unbalanced),
      ("1) FROM x, (SELECT 2", .unbalanced),
      ("'abc", .unterminatedQuote), ("(SELECT 1)", .subquery), ("api_id IN (SELECT 1)", .subquery),
      ("EXISTS (SELECT 1)", .subquery),
      ("api_id IN (VALUES (1))", .subquery), ("api_id IN sqlite_schema", .subquery),
    ])
  func form(sql: String, expected: ExpressionError.Code) {
    #expect(
      code { () throws(ExpressionError) in
        _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: schema)
      } == expected)
    #expect(
      code { () throws(ExpressionError) in _ = try Predicate(sql, schema: schema) } == expected)
  }

  @Test(
    "when SQLite cannot parse it as one value",
    arguments: [
      "1, 2", "1 AS y", "*", "api_id api_id", "1 +", "SUM(", "time_taken OVER ()",
      "api_id IN pragma_table_list",
    ])
  func syntax(sql: String) {
    #expect(throws: ExpressionError.self) {
      _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: schema)
    }
  }

  @Test(
    "when it names a column that is not there, and the near one is suggested",
    arguments: ["time_takn + 1", "\"time_takn\" + 1"])
  func unknownColumn(sql: String) {
    do {
      _ = try DerivedColumns([(name: "share", sql: sql, type: .double)], schema: schema)
      Issue.record("accepted")
    } catch {
      #expect(
        error.description
          == "share: `\(sql)`: there is no column time_takn. Did you mean time_taken?")
    }
  }

  @Test(
    "when it reads the row id or the names of our own",
    arguments: ["rowid", "oid", "_rowid_", "tranche_row_number", "tranche_rows.api_id"])
  func ownNames(sql: String) {
    #expect(throws: ExpressionError.self) {
      _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: schema)
    }
  }

  @Test(
    "when a function is not deterministic or reaches outside",
    arguments: [
      "random()", "randomblob(4)", "sqlite_version()", "load_extension('x')", "changes()",
      "last_insert_rowid()", "date('now')",
      "datetime('now')",
      "strftime('%s', 'now')", "CURRENT_TIMESTAMP", "zeroblob(1000000000)", "printf('%s', 1)",
      "total_changes()", "readfile('/etc/passwd')",
    ])
  func functions(sql: String) {
    let found = code { () throws(ExpressionError) in
      _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: schema)
    }
    guard case .forbiddenFunction = found else {
      Issue.record("\(sql): \(String(describing: found))")
      return
    }
  }

  @Test(
    "when it changes the number of rows",
    arguments: ["sum(api_id)", "count(*)", "1 + max(api_id)", "avg(cost) > 2"])
  func aggregates(sql: String) {
    #expect(
      code { () throws(ExpressionError) in
        _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: schema)
      } == .changesRowCount)
    #expect(throws: ExpressionError.self) { _ = try Predicate(sql, schema: schema) }
  }

  @Test("when a where looks at other rows")
  func windowInWhere() {
    #expect(throws: ExpressionError.self) {
      _ = try Predicate("row_number() OVER () < 5", schema: schema)
    }
  }

  @Test("when it is too deep, too long or takes too much work")
  func tooMuch() {
    let deep =
      String(repeating: "(", count: 500) + "1" + String(repeating: ")", count: 500)
      + String(repeating: "+1", count: 400)
    #expect(throws: ExpressionError.self) { _ = try Predicate(deep, schema: schema) }
    #expect(throws: ExpressionError.self) {
      _ = try Predicate("api_id = " + String(repeating: "1", count: 20_000), schema: schema)
    }
    #expect(throws: ExpressionError.self) {
      _ = try Predicate(
        "length(replace(hex(replace(hex(city || 'aaaaaaaaaaaaaaaa'), '6', "
          + "hex('\(String(repeating: "a", count: 4_000))'))), '6', "
          + "hex('\(String(repeating: "a", count: 4_000))'))) > 1",
        schema: schema)
    }
  }
}

@Suite("A derived column")
struct DerivedColumnsTests {
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

  private func derive(_ sql: String, _ type: ColumnType = .double, _ columns: [Column])
    throws(ExpressionError) -> Column
  {
    try DerivedColumns([(name: "x", sql: sql, type: type)], schema: schema).derive(
      columns, rowCount: columns[0].count)[0]
  }

  @Test(
    "is the share of the window's total and the rank among its groups, in the order of the rows")
  func shares() throws {
    let input = columns([1, 2, 3, 4], [30, 10, 40, 20])
    #expect(
      try derive("100.0 * time_taken / sum(time_taken) OVER ()", .double, input).doubles == [
        30, 10, 40, 20,
      ])
    let ranks = try derive("percent_rank() OVER (ORDER BY time_taken)", .double, input).doubles
    #expect(ranks == [2.0 / 3, 0, 1, 1.0 / 3])
    #expect(
      try derive("row_number() OVER (ORDER BY time_taken DESC)", .int64, input).integers == [
        2, 4, 1, 3,
      ])
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
      ("time_taken", .double), ("time_taken", .int32), ("cost", .int64), ("city", .double),
      ("api_id", .string), ("api_id", .bool),
      ("1e308 * 10", .double), ("price / 9", .decimal(precision: 9, scale: 2)), ("x'00'", .string),
    ] {
      #expect(throws: ExpressionError.self, "\(sql) as \(type)") {
        _ = try derive(sql, type, input)
      }
    }
  }
}

@Suite("A where")
struct PredicateTests {
  @Test(
    "takes the native path for comparisons with literals, and only for them",
    arguments: [
      ("time_taken >= 0", true), ("api_id = 7 AND NOT (cost < 1.5 OR city IS NULL)", true),
      ("'x' <= city", true), ("TRUE = api_id", true),
      ("time_taken <> -5", true), ("city NOT NULL", true), ("api_id + 1 > 2", false),
      ("city = 5", false), ("api_id = '5'", false),
      ("length(city) > 2", false), ("api_id BETWEEN 1 AND 2", false), ("api_id", false),
      ("(api_id > 1) = 1", false),
      ("api_id = 1 COLLATE NOCASE", false),
    ])
  func path(sql: String, isNative: Bool) throws {
    #expect(try Predicate(sql, schema: schema).isNative == isNative)
  }

  @Test(
    "says which columns it reads",
    arguments: [
      ("API_ID > 1 AND city = 'x'", ["api_id", "city"]), ("'cost' = 'cost'", []),
      ("abs(max(cost, [price])) > iif(\"City\" IS NULL, 1, 2)", ["cost", "price", "city"]),
    ])
  func columnNames(sql: String, names: [String]) throws {
    let expected = Set(names)
    #expect(try Expression(sql, schema: schema).columnNames == expected)
    #expect(try Predicate(sql, schema: schema).columnNamesRead == expected)
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
      try predicate.evaluateInSQLite(columns, rows: 0..<rowCount, matches: &slow)
      if native != slow {
        let row = zip(native, slow).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? 0
        let values = columns.map { column in
          switch column.type {
          case _ where column.isNull[row]: "NULL"
          case .string: column.text[row]
          case .double: "\(column.doubles[row])"
          default: "\(column.integers[row])"
          }
        }
        Issue.record("seed \(seed): \(sql) on \(values)")
        return
      }
      pairCount += rowCount
    }
    #expect(pairCount > 1_000_000)
  }

  private let integers: [Int64] = [
    0, 1, -1, .max, .min, .max - 1, .min + 1, 1 << 53, (1 << 53) + 1, (1 << 53) - 1, -(1 << 53),
    -(1 << 53) - 1, -(1 << 53) + 1, 5, 100,
  ]
  private let reals: [Double] = [
    0, 1, -1, 0.5, -0.5, 9_007_199_254_740_992, 9_007_199_254_740_994, -9_007_199_254_740_992,
    9.223372036854775807e18,
    -9.223372036854775808e18, 1e300, -1e300, .leastNonzeroMagnitude, 100.25,
  ]
  private let texts = [
    "", "a", "A", "é", "e\u{301}", "ß", "😀", "5", "5.0", "a ", "zz", "\u{FFFD}",
  ]

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
      case 0:
        return
          "(\(randomPredicate(depth: depth - 1, &random))) AND "
          + "\(randomPredicate(depth: 0, &random))"
      case 1:
        return
          "\(randomPredicate(depth: 0, &random)) OR (\(randomPredicate(depth: depth - 1, &random)))"
      case 2: return "NOT (\(randomPredicate(depth: depth - 1, &random)))"
      default: break
      }
    }
    let column =
      ["api_id", "time_taken", "cost", "city", "price"].randomElement(using: &random) ?? "api_id"
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return "\(column) IS NULL"
    case 1: return "\(column) IS NOT NULL"
    default: break
    }
    let comparison =
      ["=", "==", "<>", "!=", "<", "<=", ">", ">="].randomElement(using: &random) ?? "="
    let literal = literal(column, &random)
    return Bool.random(using: &random)
      ? "\(column) \(comparison) \(literal)" : "\(literal) \(comparison) \(column)"
  }

  private func literal(_ column: String, _ random: inout SeededRandom) -> String {
    if Int.random(in: 0..<12, using: &random) == 0 { return "NULL" }
    if column == "city" { return "'\(texts.randomElement(using: &random) ?? "")'" }
    switch Int.random(in: 0..<5, using: &random) {
    case 0: return "\(reals.randomElement(using: &random) ?? 0)"
    case 1:
      return ["9223372036854775808", "-9223372036854775809", "0x10", "1e3", ".5", "TRUE", "FALSE"]
        .randomElement(using: &random) ?? "1"
    case 2: return "\(Double(Int64.random(in: -300...300, using: &random)) / 100)"
    default: return "\(integers.randomElement(using: &random) ?? 0)"
    }
  }
}

@Suite("What an expression makes")
struct ExpressionBoundTests {
  private let texts = Schema([
    ColumnDefinition("n", .int64), ColumnDefinition("city", .string, isNullable: true),
  ])

  private func rows(_ count: Int, city: String = "Ulm") -> [Column] {
    var columns = texts.columns.map { Column($0.type) }
    for row in 0..<count {
      columns[0].append(integer: Int64(row))
      columns[1].append(string: city)
    }
    return columns
  }

  private func derive(
    _ sql: String, _ columns: [Column], valueByteLimit: Int = 1_000, byteLimit: Int64 = .max
  ) throws(ExpressionError) -> Column {
    try DerivedColumns(
      [(name: "x", sql: sql, type: .string)], schema: texts, valueByteLimit: valueByteLimit
    )
    .derive(columns, rowCount: columns[0].count, byteLimit: byteLimit)[0]
  }

  @Test(
    "is an error where it is longer than a value may be, however it gets so long, and never NULL",
    arguments: [
      "format('%1001d', n)", "format('%.1001d', n)", "format('%999999999d', n)",
      "format('%.*f', 2000, 1.5)", "format('%-2000s', city)",
      "format('%s%s', format('%600d', n), format('%600d', n))",
      "format('%600d', n) || format('%600d', n)",
      "replace('aaaaaaaaaa', 'a', format('%200d', n))", "hex(format('%600d', n))",
      "coalesce(format('%2000d', n), '')",
      "length(format('%20000000d', n))", "format('%20000000d', n) IS NULL",
      "quote(format('%999d', n))",
    ])
  func tooLong(sql: String) {
    let error = code { () throws(ExpressionError) in _ = try derive(sql, rows(5)) }
    #expect(error == .valueTooLong(limit: 1_000))
    #expect(
      ExpressionError(Fault(.valueTooLong(limit: 1_000)), item: "x", sql: sql).description.contains(
        "limits.value_bytes"))
  }

  @Test("may be as long as the limit, and a where has one as well")
  func border() throws {
    #expect(try derive("format('%1000d', n)", rows(2)).text.byteCount(of: 1) == 1_000)
    #expect(
      try derive("substr(city, 1, 3)", rows(2, city: String(repeating: "x", count: 2_000_000)))
        .text[1] == "xxx")
    let predicate = try Predicate("length(format('%' || n || 'd', 1)) > 2", schema: texts)
    var matches: [Bool] = []
    var columns = rows(1)
    columns[0].append(integer: 300_000)
    columns[1].append(string: "")
    #expect(
      code { () throws(ExpressionError) in
        try predicate.evaluate(columns, rows: 0..<2, matches: &matches)
      }
        == .valueTooLong(limit: 262_144))
  }

  @Test("is what SQLite's own format makes of the same, NULL included")
  func sameAsBuiltIn() throws {
    for (sql, expected) in [
      ("format('')", nil), ("format(NULL)", nil), ("format('%s', '')", ""),
      ("format('%d of %05.1f', n, 2.25)", "0 of 002.3"),
      (
        "format('%,d %x %c %q %Q %%', 1234567, 255, 'abc', 'it''s', 'it''s')",
        "1,234,567 ff a it''s 'it''s' %"
      ), ("format(12)", "12"),
      ("format('%s %s', city, NULL)", "Ulm "), ("format('é%s', city)", "éUlm"),
      ("format('%s')", ""),
    ] as [(String, String?)] {
      let column = try derive(sql, rows(1))
      #expect((column.isNull[0] ? nil : column.text[0]) == expected, "\(sql): \(column.text[0])")
    }
  }

  @Test(
    "ends where all texts together are longer than an object may be, before they are taken",
    .timeLimit(.minutes(10)))
  func table() throws {
    let error = code { () throws(ExpressionError) in
      _ = try derive(
        "format('%262144d', n)", rows(100_000), valueByteLimit: 262_144, byteLimit: 20_000_000)
    }
    #expect(error == .tableTooLong(limit: 20_000_000))
    #expect(try derive("format('%100d', n)", rows(10), byteLimit: 1_000).count == 10)
    #expect(
      code { () throws(ExpressionError) in
        _ = try derive("format('%100d', n)", rows(11), byteLimit: 1_000)
      } != nil)
  }

  @Test(
    """
    with a frame that is computed anew for each row is refused before the work, and done where \
    the rows are few
    """
  )
  func quadratic() throws {
    let sum =
      "CAST(sum(n) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING "
      + "EXCLUDE CURRENT ROW) AS TEXT)"
    let started = ContinuousClock.now
    #expect(
      code { () throws(ExpressionError) in _ = try derive(sum, rows(1_000_000)) }
        == .quadratic(rowCount: 1_000_000, limit: 5_000))
    let rowsMade = ContinuousClock.now - started
    #expect(try derive(sum, rows(3)).text[0] == "3")
    #expect(try derive(sum, rows(5_000)).count == 5_000)
    let partitioned = sum.replacing("ORDER BY", with: "PARTITION BY n % 2 ORDER BY")
    #expect(
      code { () throws(ExpressionError) in _ = try derive(partitioned, rows(100_000)) }
        == .tooMuchWork)
    // SQLite computes what it says by default anew as well, where it is said.
    let needless = sum.replacing("CURRENT ROW", with: "NO OTHERS")
    #expect(
      code { () throws(ExpressionError) in _ = try derive(needless, rows(5_001)) }
        == .quadratic(rowCount: 5_001, limit: 5_000))
    #expect(ContinuousClock.now - started < .seconds(30), "\(rowsMade)")
  }

  @Test("by many windows, long expressions and many items at once stays within its bound of work")
  func muchAtOnce() throws {
    let windows = (0..<12).map { "sum(n + \($0)) OVER (PARTITION BY n % \($0 + 2) ORDER BY n)" }
    let items = windows.enumerated().map { (name: "x\($0)", sql: $1, type: ColumnType.int64) }
    #expect(
      try DerivedColumns(items, schema: texts).derive(rows(2_000), rowCount: 2_000)[11].count
        == 2_000)
    let long = (0..<90).map { "CASE WHEN n > \($0) THEN n * \($0) ELSE n - \($0) END" }.joined(
      separator: " + ")
    #expect(try derive("CAST(\(long) AS TEXT)", rows(20_000)).count == 20_000)
  }

  @Test("is refused in words that are short, whatever the expression is")
  func words() {
    let names = (0..<500).map { ColumnDefinition("c\($0)", .int64) }
    for sql in [
      String(repeating: "x", count: 9_000), "\u{1B}[31m", "\"a\u{202E}\"",
      "abs(" + String(repeating: "y", count: 9_000) + ")",
    ] {
      var error = ""
      do {
        _ = try DerivedColumns([(name: "x", sql: sql, type: .double)], schema: Schema(names))
      } catch let refusal { error = "\(refusal)" }
      #expect(
        !error.isEmpty && error.utf8.count < 800
          && error.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0 != "\u{202E}" }, "\(error)")
    }
  }
}
