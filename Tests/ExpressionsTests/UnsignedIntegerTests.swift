import Tables
import TestSupport
import Testing

@testable import Expressions

private let schema = Schema([
  ColumnDefinition("id", .uint64, isNullable: true), ColumnDefinition("other", .uint64),
  ColumnDefinition("n", .int64),
])

private let ends: [UInt64] = [
  0, 1, 2, 1 << 53 + 1, 1 << 63 - 1, 1 << 63, 1 << 63 + 1, .max - 1, .max,
]

private func columns(_ ids: [UInt64?], _ others: [UInt64], _ numbers: [Int64]) -> [Column] {
  var columns = schema.columns.map { Column($0.type) }
  for id in ids {
    if let id { columns[0].append(integer: Int64(keeping: id)) } else { columns[0].appendNull() }
  }
  for other in others { columns[1].append(integer: Int64(keeping: other)) }
  for number in numbers { columns[2].append(integer: number) }
  return columns
}

private func columns(_ ids: [UInt64?]) -> [Column] {
  columns(ids, ids.map { $0 ?? 0 }, ids.indices.map(Int64.init))
}

/// As a table shows it.
private func derive(
  _ sql: String, _ type: ColumnType = .uint64, _ ids: [UInt64?]
) throws -> [String] {
  let items = try DerivedColumns([(name: "x", sql: sql, type: type)], schema: schema)
  let column = try items.derive(columns(ids), rowCount: ids.count)[0]
  return (0..<column.count).map { column.isNull[$0] ? "NULL" : column.plainText($0) }
}

private func faultCode(_ body: () throws -> Void) -> ExpressionError.Code? {
  do {
    try body()
    return nil
  } catch {
    return (error as? ExpressionError)?.code
  }
}

@Suite("A uint64 in an expression")
struct UnsignedIntegerTests {
  private static let signs = ["=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT"]

  /// What SQL says; NULL is no.
  private static func holds(_ left: Int128?, _ sign: String, _ right: Int128?) -> Bool {
    switch sign {
    case "IS": return left == right
    case "IS NOT": return left != right
    default: break
    }
    guard let left, let right else { return false }
    switch sign {
    case "=": return left == right
    case "<>": return left != right
    case "<": return left < right
    case "<=": return left <= right
    case ">": return left > right
    default: return left >= right
    }
  }

  private static func ids(_ random: inout SeededRandom, isNullable: Bool) -> [UInt64?] {
    (0..<40).map { _ in
      if isNullable && Int.random(in: 0..<9, using: &random) == 0 { return nil }
      return Bool.random(using: &random)
        ? ends.randomElement(using: &random) ?? 0 : random.next()
    }
  }

  @Test("is compared with whole numbers and other uint64 columns by all its digits")
  func comparisons() throws {
    var random = SeededRandom(seed: 1_764)
    let numbers: [Int128] = ends.map { Int128($0) } + [-1, -5, 1 << 64, 1 << 80, -(1 << 63)]
    for round in 0..<400 {
      let ids = Self.ids(&random, isNullable: true)
      let others = Self.ids(&random, isNullable: false).compactMap { $0 }
      let rows = columns(ids, others, others.map { _ in 0 })
      let pairs = zip(ids, others).map { (id: $0.map { Int128($0) }, other: Int128($1)) }
      let number = numbers.randomElement(using: &random) ?? 0
      let end = ends.randomElement(using: &random) ?? 0
      let sign = Self.signs.randomElement(using: &random) ?? "="
      let isLiteral = round % 5 < 2
      var sql = ""
      var expected: [Bool] = []
      switch round % 5 {
      case 0:
        sql = "id \(sign) \(number)"
        expected = pairs.map { Self.holds($0.id, sign, number) }
      case 1:
        sql = "\(number) \(sign) id AND other >= 0"
        expected = pairs.map { Self.holds(number, sign, $0.id) }
      case 2:
        sql = "id \(sign) other"
        expected = pairs.map { Self.holds($0.id, sign, $0.other) }
      case 3:
        sql = "id IN (\(number), \(end), other)"
        expected = pairs.map { pair in
          pair.id.map { [number, Int128(end), pair.other].contains($0) } ?? false
        }
      default:
        sql = "id NOT BETWEEN \(end) AND \(number)"
        expected = pairs.map { pair in
          pair.id.map { $0 < Int128(end) || $0 > number } ?? false
        }
      }
      let predicate = try Predicate(sql, schema: schema)
      #expect(predicate.isNative == (isLiteral && !sign.hasPrefix("IS")), "\(sql)")
      var found: [Bool] = []
      var slow: [Bool] = []
      try predicate.evaluate(rows, rows: 0..<40, matches: &found)
      try predicate.evaluateInSQLite(rows, rows: 0..<40, matches: &slow)
      #expect(found == expected && slow == expected, "\(sql)")
    }
  }

  @Test(
    "leaves comparisons of numbers alone, and orders, partitions and counts by all its digits",
    arguments: [
      ("id >= 0 AND -5 < -3", ["1", "1", "1"]), ("id >= 0 AND -5 = -3", ["0", "0", "0"]),
      ("coalesce(id, 0) IN (-5, -3) OR -5 BETWEEN -7 AND -3", ["1", "1", "1"]),
      ("rank() OVER (ORDER BY id DESC)", ["2", "3", "1"]),
      ("count(id) OVER (PARTITION BY other)", ["1", "1", "1"]),
      ("count(*) FILTER (WHERE id > 9223372036854775808) OVER ()", ["1", "1", "1"]),
      ("CASE id WHEN 18446744073709551615 THEN 7 ELSE n END", ["0", "1", "7"]),
      ("max(id, other) = coalesce(other, 3)", ["1", "1", "1"]),
      ("nullif(id, 5) IS NULL", ["0", "1", "0"]),
      ("min(id) OVER () = 5", ["1", "1", "1"]),
      ("id < 1e19", ["1", "1", "0"]), ("id = 5.0 OR id > 1e400", ["0", "1", "0"]),
      ("id > -0.5", ["1", "1", "1"]),
    ])
  func order(sql: String, expected: [String]) throws {
    #expect(try derive(sql, .int64, [1 << 63, 5, .max]) == expected)
  }

  @Test(
    "is handed on as it is to a column of type uint64",
    arguments: [
      ("id", ["9223372036854775808", "NULL", "18446744073709551615"]),
      ("(\"ID\")", ["9223372036854775808", "NULL", "18446744073709551615"]),
      (
        "ifnull(id, 18446744073709551614)",
        ["9223372036854775808", "18446744073709551614", "18446744073709551615"]
      ),
      ("max(id) OVER ()", Array(repeating: "18446744073709551615", count: 3)),
      ("first_value(other) OVER (ORDER BY id)", Array(repeating: "0", count: 3)),
      ("lag(id, 1, 7) OVER (ORDER BY n)", ["7", "9223372036854775808", "NULL"]),
      (
        "CASE WHEN id > 9223372036854775808 THEN other ELSE 3 END",
        ["3", "3", "18446744073709551615"]
      ),
      ("nullif(other, 18446744073709551615)", ["9223372036854775808", "0", "NULL"]),
      ("n + 1", ["1", "2", "3"]), ("1e19", Array(repeating: "10000000000000000000", count: 3)),
    ])
  func handedOn(sql: String, expected: [String]) throws {
    #expect(try derive(sql, .uint64, [1 << 63, nil, .max]) == expected)
  }

  @Test(
    """
    is an integer to compute with up to 9223372036854775807, and above it an error, never another \
    number
    """,
    arguments: [
      ("id + 1", "9223372036854775807"), ("id % 10", "6"),
      ("CAST(id AS TEXT) + 0", "9223372036854775806"),
      ("-id", "-9223372036854775806"), ("abs(id)", "9223372036854775806"),
      ("id = n", "0"), ("id & 3", "2"), ("sum(id) OVER ()", "9223372036854775806"),
      ("length(id)", "19"), ("coalesce(id, n)", "9223372036854775806"),
    ])
  func computing(sql: String, expected: String) throws {
    #expect(try derive(sql, .int64, [1 << 63 - 2]) == [expected])
    for id in [UInt64(1) << 63, .max] {
      #expect(
        faultCode { _ = try derive(sql, .int64, [id]) } == .tooLargeForSQL(column: "id"), "\(sql)")
      #expect(
        faultCode {
          var matches: [Bool] = []
          try Predicate("id + 1 > 0", schema: schema).evaluate(
            columns([3, id]), rows: 0..<2, matches: &matches)
        } == .tooLargeForSQL(column: "id"))
    }
  }

  @Test("takes no value that is none: negative numbers, fractions, and 2^64")
  func noUnsigned() {
    for sql in ["n - 1", "n + 0.5", "18446744073709551616.0", "1.8446744073709552e19"] {
      #expect {
        _ = try derive(sql, .uint64, [0])
      } throws: {
        guard case .conversion(_, .uint64, 0) = ($0 as? ExpressionError)?.code else { return false }
        return true
      }
    }
  }

  @Test("is the double nearest to it in CAST(x AS REAL), so that shares of any sum are computed")
  func reals() throws {
    var random = SeededRandom(seed: 26)
    for _ in 0..<200 {
      let ids = Self.ids(&random, isNullable: true)
      let items = try DerivedColumns(
        [
          (name: "x", sql: "cast((\"ID\") as double precision)", type: .double),
          (
            name: "share", sql: "100.0 * CAST(other AS REAL) / sum(CAST(other AS REAL)) OVER ()",
            type: .double
          ),
        ], schema: schema)
      let derived = try items.derive(columns(ids), rowCount: ids.count)
      let sum = ids.reduce(0.0) { $0 + Double($1 ?? 0) }
      for (row, id) in ids.enumerated() {
        #expect(derived[0].isNull[row] == (id == nil))
        if let id { #expect(derived[0].doubles[row] == Double(id)) }
        let share = 100 * Double(id ?? 0) / sum
        #expect(abs(derived[1].doubles[row] - share) <= 1e-12 * share)
      }
    }
  }

  @Test("is read under its own name alone, and errors say where they are in what was written")
  func names() throws {
    #expect(throws: ExpressionError.self) {
      try Predicate("\"tranche_row_kept id\" > 1", schema: schema)
    }
    #expect(throws: ExpressionError.self) {
      try Predicate("\"tranche_row_real id\" > 1", schema: schema)
    }
    #expect(
      try Predicate("id = other OR n = 1", schema: schema).columnNamesRead == ["id", "other", "n"])
    do {
      _ = try Predicate("id > 18446744073709551615 AND oter = 1", schema: schema)
      Issue.record("accepted")
    } catch {
      #expect(error.position?.column == 31 && error.description.contains("other"), "\(error)")
    }
  }

  @Test("that is too large to compute with is told in words that say what to do")
  func words() {
    #expect {
      _ = try derive("id * 2", .int64, [.max])
    } throws: {
      "\($0)" == """
        x: `id * 2`: computes with a value of id above 9223372036854775807, SQL's greatest \
        integer. Write CAST(id AS REAL) to compute with it as a double
        """
    }
  }
}
