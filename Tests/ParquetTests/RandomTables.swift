import Tables
import TestSupport

/// Tables of every type and every odd value, from a seed.
struct RandomTables {
  var random: SeededRandom

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  static let types: [ColumnType] = [
    .bool, .int32, .int64, .double, .string, .timestamp, .timestampMicroseconds, .date,
    .decimal(precision: 5, scale: 2),
    .decimal(precision: 9, scale: 0), .decimal(precision: 18, scale: 6),
    .decimal(precision: 18, scale: 18), .uint64,
  ]

  mutating func next(maxRowCount: Int) -> Table {
    let definitions = (0..<Int.random(in: 1...6, using: &random)).map { index in
      ColumnDefinition(
        "c\(index) é", Self.types.randomElement(using: &random) ?? .int32,
        isNullable: Bool.random(using: &random))
    }
    return table(definitions, rowCount: Int.random(in: 0...maxRowCount, using: &random))
  }

  mutating func table(_ definitions: [ColumnDefinition], rowCount: Int) -> Table {
    Table(Schema(definitions), columns: definitions.map { column($0, rowCount: rowCount) })
  }

  private enum Shape: CaseIterable { case distinct, repeated, constant, sorted, extremes, runs }

  mutating func column(_ definition: ColumnDefinition, rowCount: Int) -> Column {
    let shape = Shape.allCases.randomElement(using: &random) ?? .distinct
    // None, some, at both ends, or all.
    let nullShare: Double =
      definition.isNullable ? [0, 0.1, 0.9, 1].randomElement(using: &random) ?? 0 : 0
    let distinct = (0..<Int.random(in: 1...40, using: &random)).map { _ in
      value(definition.type, extreme: false)
    }
    var column = Column(definition.type)
    var last = distinct[0]
    var step = Int64(0)
    for row in 0..<rowCount {
      let isEnd = nullShare > 0 && (row < 3 || row >= rowCount - 3)
      if isEnd || Double.random(in: 0..<1, using: &random) < nullShare {
        column.appendNull()
        continue
      }
      switch shape {
      case .distinct: last = value(definition.type, extreme: false)
      case .repeated: last = distinct.randomElement(using: &random) ?? last
      case .constant: break
      case .extremes: last = value(definition.type, extreme: true)
      case .runs:
        if Int.random(in: 0..<20, using: &random) == 0 {
          last = distinct.randomElement(using: &random) ?? last
        }
      case .sorted:
        step += Int64.random(in: 0...7, using: &random)
        if case .integer = last, definition.type != .bool { last = .integer(step) }
      }
      switch last {
      case .integer(let value): column.append(integer: value)
      case .double(let value): column.append(double: value)
      case .text(let value): column.append(string: value)
      }
    }
    return column
  }

  private enum Value { case integer(Int64), double(Double), text(String) }

  private mutating func value(_ type: ColumnType, extreme: Bool) -> Value {
    func integer(_ range: ClosedRange<Int64>) -> Value {
      let ends = [
        range.lowerBound, range.upperBound, 0, 1, -1, range.lowerBound + 1, range.upperBound - 1,
      ].filter(range.contains)
      return .integer(
        extreme ? ends.randomElement(using: &random) ?? 0 : Int64.random(in: range, using: &random))
    }
    switch type {
    case .bool: return integer(0...1)
    case .int32: return integer(Int64(Int32.min)...Int64(Int32.max))
    case .int64, .uint64: return integer(Int64.min...Int64.max)
    // ClickHouse's dates and times reach from 1900 to 2299, pyarrow's nanoseconds to 2262.
    case .timestamp: return integer(-2_208_988_800_000...9_214_646_400_000)
    case .timestampMicroseconds: return integer(-2_208_988_800_000_000...9_214_646_400_000_000)
    case .date: return integer(-25_567...106_650)
    case .decimal(let precision, _):
      let bound = PowersOfTen.integers[precision] - 1
      return integer(-bound...bound)
    case .double:
      let ends: [Double] = [
        .nan, .infinity, -.infinity, -0.0, 0.0, .leastNonzeroMagnitude, .greatestFiniteMagnitude,
        -.greatestFiniteMagnitude, .ulpOfOne,
      ]
      return .double(
        extreme
          ? ends.randomElement(using: &random) ?? 0 : Double.random(in: -1e6...1e6, using: &random))
    case .string, .bytes:
      let ends = [
        "", " ", "e\u{301}", "é", "\u{10FFFF}", "a,b\n\"c\"", String(repeating: "x", count: 70),
        "\u{FEFF}",
      ]
      if extreme { return .text(ends.randomElement(using: &random) ?? "") }
      return .text(
        String(
          (0..<Int.random(in: 0...12, using: &random)).map { _ in
            "abcdefgh é漢".randomElement(using: &random) ?? "a"
          }))
    }
  }
}
