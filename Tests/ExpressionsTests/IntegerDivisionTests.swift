import Tables
import Testing

@testable import Expressions

private let schema = Schema([
  ColumnDefinition("total", .int64), ColumnDefinition("calls", .int32, isNullable: true),
  ColumnDefinition("at", .timestamp), ColumnDefinition("ratio", .double),
  ColumnDefinition("price", .decimal(precision: 9, scale: 2)), ColumnDefinition("city", .string),
])

/// Totals of 7, 30 and 1, calls of 2, 4 and 3.
private func values(_ sql: String) throws -> [Double?] {
  var columns = schema.columns.map { Column($0.type) }
  for (total, calls) in [(7, 2), (30, 4), (1, 3)] as [(Int64, Int64)] {
    columns[0].append(integer: total)
    columns[1].append(integer: calls)
    columns[2].append(integer: 90_500)
    columns[3].append(double: 0.5)
    columns[4].append(integer: 1_250)
    columns[5].append(string: "x")
  }
  let derived = try DerivedColumns([("x", sql, .double)], schema: schema)
    .derive(columns, rowCount: 3)[0]
  return (0..<3).map { derived.isNull[$0] ? nil : derived.doubles[$0] }
}

/// What is written, what is to be written, and what that comes to.
private struct Mend: Sendable, CustomTestStringConvertible {
  let sql, mended: String
  let expected: [Double]
  var testDescription: String { sql }

  init(_ sql: String, _ mended: String, _ first: Double, _ second: Double, _ third: Double) {
    self.sql = sql
    self.mended = mended
    expected = [first, second, third]
  }

  static let third: Double = 1.0 / 3.0
  static let all: [Mend] = [
    Mend("total / calls", "1.0 * total / calls", 3.5, 7.5, third),
    Mend(
      "100 * total / sum(total) OVER ()", "100.0 * total / sum(total) OVER ()", 700.0 / 38,
      3_000.0 / 38, 100.0 / 38),
    Mend(
      "total / sum(total) OVER ()", "1.0 * total / sum(total) OVER ()", 7.0 / 38, 30.0 / 38,
      1.0 / 38),
    Mend("total / 2", "total / 2.0", 3.5, 15, 0.5),
    Mend("at/1000", "at/1000.0", 90.5, 90.5, 90.5),
    Mend("1 / calls", "1.0 / calls", 0.5, 0.25, third),
    Mend("(total + calls) / calls", "(1.0 * total + calls) / calls", 4.5, 8.5, 4 * third),
    Mend("(100 * total) / calls", "(100.0 * total) / calls", 350, 750, 100 * third),
    Mend("( total | 1) / calls", "1.0 * ( total | 1) / calls", 3.5, 7.75, third),
    Mend("-total / calls", "1.0 * -total / calls", -3.5, -7.5, -third),
    Mend("total / calls / 2", "1.0 * total / calls / 2", 1.75, 3.75, third / 2),
    Mend("total / (calls / 4)", "total / (calls / 4.0)", 14, 30, 4 * third),
    Mend("round(100 * total / calls, 1)", "round(100.0 * total / calls, 1)", 350, 750, 33.3),
    Mend(
      "sum(total / calls) OVER ()", "sum(1.0 * total / calls) OVER ()", 11 + third, 11 + third,
      11 + third),
    Mend(
      "CASE WHEN total / 2 > 1 THEN total / 2 ELSE 0 END",
      "CASE WHEN total / 2 > 1 THEN total / 2.0 ELSE 0 END", 3.5, 15, 0),
    Mend(
      "coalesce(calls, 1) / count(*) OVER ()", "1.0 * coalesce(calls, 1) / count(*) OVER ()",
      2 * third, 4 * third, 1),
    Mend(
      "CAST(ratio AS INTEGER) + total / 2", "CAST(ratio AS INTEGER) + total / 2.0", 3.5, 15, 0.5),
    Mend("total / 2 + calls / 4", "total / 2.0 + calls / 4.0", 4, 16, 1.25),
    Mend(
      "CASE WHEN total / sum(total) OVER () > 0.5 THEN 1 ELSE 0 END",
      "CASE WHEN 1.0 * total / sum(total) OVER () > 0.5 THEN 1 ELSE 0 END", 0, 1, 0),
    Mend("total / 2 BETWEEN 3.5 AND 4", "total / 2.0 BETWEEN 3.5 AND 4", 1, 0, 0),
    Mend("total / calls IN (7.5, 3)", "1.0 * total / calls IN (7.5, 3)", 0, 1, 0),
    Mend("iif(0.25 < total / calls, 1, 0)", "iif(0.25 < 1.0 * total / calls, 1, 0)", 1, 1, 1),
    Mend(
      "CASE total / 2 WHEN 3.5 THEN 1 ELSE 0 END", "CASE total / 2.0 WHEN 3.5 THEN 1 ELSE 0 END",
      1, 0, 0),
    Mend("NOT total / 2 >= ratio", "NOT total / 2.0 >= ratio", 0, 0, 0),
    Mend(
      "sum(ratio) FILTER (WHERE total / calls > 0.2) OVER ()",
      "sum(ratio) FILTER (WHERE 1.0 * total / calls > 0.2) OVER ()", 1.5, 1.5, 1.5),
  ]
}

@Suite("A division of integers whose fraction is lost")
struct IntegerDivisionTests {
  @Test("is found, and its mended form gives the fraction", arguments: Mend.all)
  fileprivate func mends(_ mend: Mend) throws {
    let (sql, mended, expected) = (mend.sql, mend.mended, mend.expected)
    let expression = try Expression(sql, schema: schema)
    let division = try #require(expression.integerDivision(in: schema), "\(sql)")
    #expect(division.mended == mended)
    #expect(try Expression(mended, schema: schema).integerDivision(in: schema) == nil)
    for (value, expected) in zip(try values(mended), expected) {
      #expect(abs(try #require(value) - expected) < 1e-9, "\(mended): \(value ?? 0)")
    }
    #expect(try values(sql) != values(mended), "nothing was lost by \(sql)")
  }

  @Test(
    "is not seen where an operand is a double, or where only whole numbers are used",
    arguments: [
      "100.0 * total / sum(total) OVER ()", "total / ratio", "ratio / 2", "price / 2",
      "total / 2.0",
      "total / avg(total) OVER ()", "total / total(calls) OVER ()", "sum(ratio) OVER () / 2",
      "CAST(total AS REAL) / calls", "abs(ratio) / 2", "max(total, ratio) / calls",
      "CASE WHEN total > 1 THEN ratio ELSE calls END / 2", "floor(total / calls)",
      "CAST(total / calls AS INTEGER)", "total / 10 % 10", "total / 2 = 1", "length(city)",
      "substr(city, total / 2)", "ntile(4) OVER (ORDER BY total / 2)",
      "lag(ratio, total / 2) OVER (ORDER BY total)", "ntile(total / 2) OVER ()", "total * calls",
      "percent_rank() OVER (ORDER BY total)", "city / 2", "total % 3", "total -> 'x'",
      "total / 2 = calls", "total / 2 IN (1, 2)", "total / 2 BETWEEN calls AND 10",
      "CAST(total / 2 AS INTEGER) > 0.5", "total / 2 IS NULL", "total / 2 AND ratio",
      "total / 2.0 > 0.5",
    ])
  func exact(sql: String) throws {
    #expect(try Expression(sql, schema: schema).integerDivision(in: schema) == nil)
  }

  @Test("in a comparison is lost also where the value's own fraction is not seen")
  func compared() throws {
    func found(_ sql: String) throws -> IntegerDivision? {
      try Expression(sql, schema: schema).integerDivision(in: schema, showsFraction: false)
    }
    #expect(try found("total / 2") == nil)
    #expect(try found("total / 2 > 0.5")?.isCompared == true)
    #expect(try found("total / 2 > 0.5")?.mended == "total / 2.0 > 0.5")
    let division = try Expression("total / 2 + (calls / 4 > 0.5)", schema: schema)
      .integerDivision(in: schema)
    #expect(division?.isCompared == false)
    #expect(division?.mended == "total / 2.0 + (calls / 4.0 > 0.5)")
  }

  @Test("is told with its place")
  func place() throws {
    let division = try Expression("1.5 +\n  total / calls", schema: schema)
      .integerDivision(in: schema)
    #expect(division?.position == SourcePosition(line: 2, column: 3))
  }
}
