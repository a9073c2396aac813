import Expressions
import Formats
import Offsets
import Tables
import TestSupport

/// Holds fast ways against the general ones: the same input must come out alike.
struct ShortcutFuzzer {
  private struct Pair {
    var fast: RecordDecoder
    var general: RecordDecoder
    let delimiter: UInt8
  }
  private var pairs: [Pair]

  init() {
    let (narrow, wide) = (ColumnType.int32, ColumnType.int64)
    func fields(_ types: (ColumnType, Bool)...) -> [InputField] {
      types.enumerated().map {
        InputField(ColumnDefinition("f\($0)", $1.0, isNullable: $1.1))
      }
    }
    let standard = CSVDialect.standard
    let tabs = CSVDialect(delimiter: 0x09, quote: nil, trims: true)
    let shapes: [([InputField], CSVDialect, [MessageField], String?)] = [
      (fields((narrow, false), (wide, false)), standard, [], nil),
      (fields((wide, true)), standard, [.offset], nil),
      (
        fields((narrow, true), (wide, false), (narrow, false)), standard, MessageField.allCases,
        "record_timestamp"
      ),
      (fields((wide, false), (wide, true)), standard, [.key, .timestamp], "RECORD_TIMESTAMP"),
      (
        fields((wide, true), (narrow, true)), CSVDialect(nullTexts: ["NA", "", "x-1"]), [.offset],
        nil
      ),
      (
        fields((wide, true), (narrow, false)), CSVDialect(nullTexts: ["\\N", "-1", "007"]),
        [.offset], nil
      ),
      (fields((wide, true), (narrow, false)), tabs, [.offset], nil),
      (
        fields((wide, false), (wide, true)), CSVDialect(delimiter: UInt8(ascii: ";"), trims: true),
        [.key], nil
      ),
      (fields((wide, false), (wide, true)), CSVDialect(header: .perMessage), [.offset], nil),
    ]
    pairs = shapes.map { fields, csv, messageFields, time in
      func decoder(_ takesShortcuts: Bool) -> RecordDecoder {
        RecordDecoder(
          format: .csv, fields: fields, csv: csv, messageFields: messageFields,
          requiredTimeColumn: time, futureLimitMilliseconds: 10, recordByteLimit: 24,
          takesShortcuts: takesShortcuts)
      }
      return Pair(
        fast: decoder(true), general: decoder(false), delimiter: csv.delimiter)
    }
  }

  // MARK: - Records of integers

  mutating func integerRecords(_ random: inout SeededRandom) -> String? {
    let index = Int.random(in: pairs.indices, using: &random)
    let fieldCount = pairs[index].fast.schema.columns.count { $0.name.hasPrefix("f") }
    let samples = (0..<Int.random(in: 1...14, using: &random)).map { _ in
      sample(fieldCount, pairs[index].delimiter, &random)
    }
    let fast = decoded(&pairs[index].fast, samples)
    let general = decoded(&pairs[index].general, samples)
    guard
      fast.columns == general.columns && fast.offsets == general.offsets
        && fast.rejects == general.rejects && fast.slices == general.slices
    else {
      let values = samples.map {
        "\($0.value.map(shown) ?? "null") at \($0.timestampMilliseconds ?? -1)"
      }
      return "shape \(index): the short way decodes otherwise: \(values.joined(separator: ", "))"
    }
    return nil
  }

  private func sample(
    _ fieldCount: Int, _ delimiter: UInt8, _ random: inout SeededRandom
  ) -> Sample {
    var sample = Sample()
    let texts = (0..<fieldCount).map { _ in integer(&random) }
    let mark = random.chance(95) ? String(decoding: [delimiter], as: UTF8.self) : ","
    var value = Array(
      (texts.joined(separator: mark) + random.pick(["\n", "\n", "\n", "", "\r\n"])).utf8)
    if random.chance(15) { value = random.mutated([value]) }
    if random.chance(3) { value += value }
    sample.value = random.chance(2) ? nil : value
    sample.key = random.chance(50) ? nil : random.chance(90) ? Array("key é".utf8) : [0x6B, 0xFF]
    sample.timestampMilliseconds = random.chance(95) ? 1_700_000_000_000 : nil
    return sample
  }

  private func integer(_ random: inout SeededRandom) -> String {
    switch Int.random(in: 0..<8, using: &random) {
    case 0:
      return random.pick([
        "2147483647", "2147483648", "-2147483648", "-2147483649", "999999999999999999",
        "-999999999999999999", "1000000000000000000", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "-9223372036854775809", "-0", "+1", "00000000000000000012", "", "-",
        "\\N", "\"7\"", " 7", "7 ", "\t7 ", "16.0", "1e3", "1.5", "-1", "007", "NA", " NA",
      ])
    case 1: return "\(Int64.random(in: .min ... .max, using: &random))"
    default: return "\(Int32.random(in: -2_000...2_000, using: &random))"
    }
  }

  // MARK: - Predicates

  private static let schema = Schema([
    ColumnDefinition("a", .int64, isNullable: true),
    ColumnDefinition("b", .string, isNullable: true),
    ColumnDefinition("c", .double, isNullable: true),
    ColumnDefinition("d", .decimal(precision: 9, scale: 2)), ColumnDefinition("e", .bool),
    ColumnDefinition("at", .timestamp, isNullable: true),
  ])
  private static let integers: [Int64] = [
    0, 1, -1, 2, .max, .min, .max - 1, .min + 1, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, 100,
    12_345,
  ]
  private static let reals: [Double] = [
    0, 1, -1, 0.5, -0.5, 0.1, 9_007_199_254_740_992, 9_007_199_254_740_994, 9.223372036854775807e18,
    -9.223372036854775808e18, 1e300, -1e300, .leastNonzeroMagnitude, 123.45, 100.25,
  ]
  private static let words = [
    "", "a", "A", "é", "e\u{301}", "ß", "😀", "5", "5.0", "a ", "it''s",
  ]

  /// Whatever takes the native path must say what SQLite says of the same text.
  ///
  /// A function around it keeps an expression from the native path; NULL and false are both no.
  mutating func predicate(_ random: inout SeededRandom) -> String? {
    var sql = expression(depth: 2, &random)
    if random.chance(40) {
      var words = sql.split(separator: " ").map(String.init)
      let place = Int.random(in: words.indices, using: &random)
      switch Int.random(in: 0..<3, using: &random) {
      case 0: words.remove(at: place)
      case 1: words.insert(random.pick(words), at: place)
      default:
        words.insert(
          random.pick(["NOT", "(", ")", "-", "AND", "IS", "NULL", "=", "<", "+ 1"]), at: place)
      }
      sql = words.joined(separator: " ")
    }
    guard let native = try? Predicate(sql, schema: Self.schema), native.isNative else { return nil }
    guard let slow = try? Predicate("coalesce((\(sql)), 0)", schema: Self.schema), !slow.isNative
    else { return "\(sql) is taken alone and not within a function" }
    let rowCount = 40
    let columns = columns(rowCount, &random)
    var (fast, general) = ([Bool](), [Bool]())
    do {
      try native.evaluate(columns, rows: 0..<rowCount, matches: &fast)
      try slow.evaluate(columns, rows: 0..<rowCount, matches: &general)
    } catch { return "\(sql): \(error)" }
    guard let row = (0..<rowCount).first(where: { fast[$0] != general[$0] }) else { return nil }
    return
      "\(sql) is \(fast[row]) natively and \(general[row]) in SQLite for \(values(columns, row))"
  }

  private func values(_ columns: [Column], _ row: Int) -> String {
    columns.map { column in
      if column.isNull[row] { return "NULL" }
      return switch column.type.storage {
      case .integers: "\(column.integers[row])"
      case .doubles: "\(column.doubles[row])"
      case .text: "'\(column.text[row])'"
      }
    }.joined(separator: ", ")
  }

  private func columns(_ rowCount: Int, _ random: inout SeededRandom) -> [Column] {
    var columns = Self.schema.columns.map { Column($0.type) }
    for _ in 0..<rowCount {
      for (index, definition) in Self.schema.columns.enumerated() {
        if definition.isNullable && random.chance(15) {
          columns[index].appendNull()
          continue
        }
        switch definition.type {
        case .string:
          columns[index].append(string: random.pick(Self.words).replacing("''", with: "'"))
        case .double: columns[index].append(double: random.pick(Self.reals))
        case .bool: columns[index].append(integer: Int64.random(in: 0...1, using: &random))
        case .decimal:
          columns[index].append(integer: Int64.random(in: -20_000...20_000, using: &random))
        default: columns[index].append(integer: random.pick(Self.integers))
        }
      }
    }
    return columns
  }

  private func expression(depth: Int, _ random: inout SeededRandom) -> String {
    if depth > 0 {
      switch Int.random(in: 0..<5, using: &random) {
      case 0:
        return "( \(expression(depth: depth - 1, &random)) ) AND \(expression(depth: 0, &random))"
      case 1:
        return "\(expression(depth: 0, &random)) OR ( \(expression(depth: depth - 1, &random)) )"
      case 2: return "NOT ( \(expression(depth: depth - 1, &random)) )"
      case 3:
        return "NOT \(expression(depth: 0, &random)) OR \(expression(depth: depth - 1, &random))"
      default: break
      }
    }
    let column = random.pick(["a", "b", "c", "d", "e", "at", "A", "\"a\"", "[b]"])
    switch Int.random(in: 0..<9, using: &random) {
    case 0: return "\(column) IS NULL"
    case 1: return "\(column) \(random.pick(["IS NOT NULL", "NOTNULL", "NOT NULL", "ISNULL"]))"
    default: break
    }
    let comparison = random.pick(["=", "==", "<>", "!=", "<", "<=", ">", ">="])
    let literal = literal(&random)
    return random.chance(50)
      ? "\(column) \(comparison) \(literal)" : "\(literal) \(comparison) \(column)"
  }

  private func literal(_ random: inout SeededRandom) -> String {
    switch Int.random(in: 0..<7, using: &random) {
    case 0: return "NULL"
    case 1: return "'\(random.pick(Self.words))'"
    case 2: return "\(random.pick(Self.reals))"
    case 3:
      return random.pick([
        "9223372036854775808", "-9223372036854775809", "0x10", "1e3", ".5", "5.", "TRUE", "FALSE",
        "- 3", "x'41'",
        "18446744073709551616", "0.1", "-0.0", "1e999",
      ])
    case 4: return "\(Double(Int64.random(in: -20_000...20_000, using: &random)) / 100)"
    default: return "\(random.pick(Self.integers))"
    }
  }
}
