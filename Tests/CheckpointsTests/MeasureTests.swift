import TestSupport
import Testing

import class GRDB.Database
import struct GRDB.DatabaseError
import class GRDB.DatabaseQueue

@testable import Checkpoints
@testable import Tables
@testable import Windows

/// How many different bits (value mod 64) a group's values set. It shows that a state may be bytes,
/// merged by a function of ours; the product has no such measure yet.
private struct BitCount: MeasureFunction {
  static let name = "bits"
  static let usages = ["bits(f)"]
  static let gives = "int64: the bits"

  init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    guard argument?.type == .int64 else { throw MeasureFault("needs an int64", "") }
  }

  var result: ResultType { ResultType(.int64, isNullable: false) }
  var state: [StateColumn] { [StateColumn("_bits", .bytes, isNullable: false)] }
  var mergeFunctions: [MergeFunction] { [MergeFunction("test_bits", Self.union)] }

  private static func union(_ held: [UInt8], _ added: [UInt8]) -> [UInt8]? {
    held.count == 8 && added.count == 8 ? zip(held, added).map { $0 | $1 } : nil
  }

  func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    guard let values else { preconditionFailure("no field") }
    var bits = [[UInt8]](repeating: [UInt8](repeating: 0, count: 8), count: groups.count)
    for (row, group) in groups.ofRow.enumerated() where group >= 0 && !values.isNull[row] {
      let bit = Int(values.integers[row] & 63)
      bits[Int(group)][bit / 8] |= 1 << (bit % 8)
    }
    state.append(Self.column(bits))
  }

  func merge(_ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]) {
    let part = parts[parts.startIndex]
    var bits = [[UInt8]](repeating: [UInt8](repeating: 0, count: 8), count: groups.count)
    for (row, group) in groups.ofRow.enumerated() where group >= 0 {
      part.text.withBytes(of: row) { bytes in
        bits[Int(group)] = Self.union(bits[Int(group)], Array(bytes)) ?? []
      }
    }
    state.append(Self.column(bits))
  }

  private static func column(_ bits: [[UInt8]]) -> Column {
    var column = Column(.bytes)
    for bits in bits { bits.withUnsafeBytes { column.append(utf8: $0) } }
    return column
  }

  func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    ["test_bits(\(held[0]), \(added[0]))"]
  }

  func results(_ state: ArraySlice<Column>) -> Column {
    var counts = Column(.int64)
    for row in 0..<(state.first?.count ?? 0) {
      state[state.startIndex].text.withBytes(of: row) { bytes in
        counts.append(integer: Int64(bytes.reduce(0) { $0 + $1.nonzeroBitCount }))
      }
    }
    return counts
  }
}

/// Two columns of random records: a key and a value.
private struct Records {
  let keys: Column
  let values: Column
  /// A sum of values of one sign fits or does not, however they are cut.
  let haveOneSign: Bool

  init(_ argument: ColumnDefinition, using random: inout SeededRandom) {
    var (keys, values) = (Column(.string), Column(argument.type))
    let isLarge = Int.random(in: 0..<4, using: &random) == 0
    haveOneSign = isLarge || Bool.random(using: &random)
    for _ in 0..<Int.random(in: 1...40, using: &random) {
      let key = ["", "a", "é", "e\u{301}", nil].randomElement(using: &random) ?? nil
      if let key { keys.append(string: key) } else { keys.appendNull() }
      if argument.isNullable && Int.random(in: 0..<3, using: &random) == 0 {
        values.appendNull()
        continue
      }
      let low: Int64 = haveOneSign ? 0 : -1_000
      switch argument.type {
      case .double:
        // Whole numbers, whose sums are exact in any order.
        values.append(
          double: isLarge
            ? Double.greatestFiniteMagnitude / 3
            : Double(Int64.random(in: low...1_000, using: &random)))
      case .string:
        values.append(
          string: ["", "a", "B", "é", "e\u{301}", "漢"].randomElement(using: &random) ?? "")
      case .bool: values.append(integer: Int64.random(in: 0...1, using: &random))
      case .decimal:
        values.append(
          integer: isLarge
            ? Int64(400_000_000_000_000_000) : Int64.random(in: low...1_000, using: &random))
      case .uint64:
        let ends: [UInt64] = [0, 1, 1 << 62, 1 << 63 - 1, 1 << 63, .max / 2]
        values.append(
          integer: Int64(
            keeping: isLarge
              ? .max / 3 : (ends + Array(0..<100)).randomElement(using: &random) ?? 0))
      case .int64:
        values.append(
          integer: isLarge ? Int64.max / 3 : Int64.random(in: low...1_000, using: &random))
      default: values.append(integer: Int64.random(in: low...1_000, using: &random))
      }
    }
    (self.keys, self.values) = (keys, values)
  }

  /// What some rows add to the state.
  func delta(_ rows: Range<Int>, _ layout: StateLayout) throws(Misfit) -> Delta {
    let (keys, values) = (keys.selecting(Array(rows)), values.selecting(Array(rows)))
    var grouping = Grouping(keyColumns: [keys], panes: .same(0))
    grouping.assign(rows.map { _ in true })
    var delta = Delta()
    delta.keys = [keys.selecting(grouping.firstRows)]
    delta.groupPanes = grouping.firstRows.map { _ in Pane(0) }
    for measure in layout.measures {
      try measure.function.accumulate(
        measure.argument == nil ? nil : values, grouping.groups, into: &delta.state)
    }
    return delta
  }
}

/// What a group's values give, worked out without columns; nil where the sum does not fit.
private func expected(_ function: String, _ rows: [Int], _ values: Column, hasArgument: Bool)
  -> String?
{
  let rows = hasArgument ? rows.filter { !values.isNull[$0] } : rows
  if function == "count" { return "\(rows.count)" }
  if function == "bits" { return "\(Set(rows.map { values.integers[$0] & 63 }).count)" }
  if function == "min" || function == "max" {
    let ordered = rows.sorted { values.compare($0, $1) < 0 }
    guard let row = function == "min" ? ordered.first : ordered.last else { return "NULL" }
    return text(values, row)
  }
  var unit = 1.0
  if case .decimal(_, let scale) = values.type { unit = PowersOfTen.doubles[scale] }
  if values.type == .double {
    let sum = rows.reduce(0.0) { $0 + values.doubles[$1] }
    guard sum.isFinite else { return nil }
    if rows.isEmpty { return "NULL" }
    return function == "sum" ? "\(sum)" : "\(sum / Double(rows.count))"
  }
  if values.type == .uint64 {
    let sum = rows.reduce(Int128(0)) { $0 + Int128(UInt64(kept: values.integers[$1])) }
    guard let sum = UInt64(exactly: sum) else { return nil }
    if rows.isEmpty { return "NULL" }
    return function == "sum" ? "\(sum)" : "\(Double(sum) / Double(rows.count))"
  }
  let sum = rows.reduce(Int128(0)) { $0 + Int128(values.integers[$1]) }
  let limit: Int128 = unit == 1 ? 1 << 63 : 1_000_000_000_000_000_000
  guard sum < limit && sum > -limit else { return nil }
  if rows.isEmpty { return "NULL" }
  if function == "avg" { return "\(Double(Int64(sum)) / unit / Double(rows.count))" }
  var column = Column(unit == 1 ? .int64 : .decimal(precision: 18, scale: 2))
  column.append(integer: Int64(sum))
  return text(column, 0)
}

private func text(_ column: Column, _ row: Int) -> String {
  if column.isNull[row] { return "NULL" }
  return column.type == .string ? "'\(column.text[row])'" : column.plainText(row)
}

@Suite("Measures")
struct MeasureTests {
  /// Every function with every argument that it takes.
  static let measures: [(measure: Measure, argument: ColumnDefinition)] = {
    let types: [ColumnType] = [
      .int32, .int64, .uint64, .double, .bool, .string, .timestamp,
      .decimal(precision: 18, scale: 2),
    ]
    var measures: [(Measure, ColumnDefinition)] = []
    for function in Measure.functions + [BitCount.self] {
      for type in types {
        for isNullable in [false, true] {
          let argument = ColumnDefinition("value", type, isNullable: isNullable)
          guard let made = try? function.init(argument) else { continue }
          measures.append((Measure("m", made, argument: "value"), argument))
        }
      }
    }
    let records = ColumnDefinition("value", .int64)
    return measures + [(Measure("m", Count(), argument: nil), records)]
  }()

  @Test("take what they can add up, and say what they cannot")
  func arguments() throws {
    #expect(Self.measures.count == 8 * 2 * 3 + 5 * 2 * 2 + 2 + 1)
    #expect(throws: MeasureFault("needs a field", "Write avg(FIELD)")) { try Average(nil) }
    #expect(throws: MeasureFault("needs a field", "Write min(FIELD)")) { try Minimum(nil) }
    #expect {
      _ = try Sum(ColumnDefinition("at", .timestamp))
    } throws: {
      ($0 as? MeasureFault)?.problem == "adds up a timestamp"
    }
  }

  @Test(
    """
    give what plain Swift gives, at once, merged in Swift from parts, and merged by SQLite from \
    parts; what does not fit, fits in none of these ways
    """
  )
  func oracle() throws {
    var random = SeededRandom(seed: 23)
    var (fitCount, misfitCount) = (0, 0)
    for (measure, argument) in Self.measures {
      for round in 0..<30 {
        let records = Records(argument, using: &random)
        let layout = StateLayout(
          keys: [ColumnDefinition("key", .string, isNullable: true)], measures: [measure])
        let schema = Schema(layout.keys + [measure.result])
        let rowCount = records.keys.count
        let cutCount = Int.random(in: 0...4, using: &random)
        let cuts = (0..<cutCount).map { _ in Int.random(in: 0...rowCount, using: &random) }
        let ends = Set(cuts + [0, rowCount]).sorted()
        let parts = zip(ends, ends.dropFirst()).map { $0..<$1 }
        let comment: Comment = "\(measure) of \(argument), round \(round), \(parts)"

        let plain = plainTable(measure, records)
        let atOnce = try? records.delta(0..<rowCount, layout)
        let whole = atOnce.map {
          Table(schema, columns: $0.keys + layout.results($0.state)).sorted(byFirst: 1)
        }
        let inSwift = try? mergedInSwift(records, parts, layout, schema)
        let bySQL = try? mergedBySQL(records, parts, layout, schema)
        if records.haveOneSign {
          #expect((whole == nil) == (plain == nil), comment)
          #expect((inSwift == nil) == (plain == nil), comment)
          #expect((bySQL == nil) == (plain == nil), comment)
        }
        guard let whole, let inSwift, let bySQL, let plain else {
          misfitCount += 1
          continue
        }
        fitCount += 1
        #expect(inSwift == whole, comment)
        #expect(bySQL == whole, comment)
        let shown = (0..<whole.rowCount).map { [text(whole[0], $0), text(whole[1], $0)] }
        #expect(shown == plain, comment)
      }
    }
    #expect(fitCount > 1_000 && misfitCount > 20, "\(fitCount) fit, \(misfitCount) do not")
  }

  /// Sorted by key as tables are.
  private func plainTable(_ measure: Measure, _ records: Records) -> [[String]]? {
    let rows = (0..<records.keys.count).sorted {
      let order = records.keys.compare($0, $1)
      return order == 0 ? $0 < $1 : order < 0
    }
    var groups: [[Int]] = []
    for row in rows {
      if let last = groups.last?.last, records.keys.isSame(last, row) {
        groups[groups.count - 1].append(row)
      } else {
        groups.append([row])
      }
    }
    var table: [[String]] = []
    for group in groups {
      let result = expected(
        type(of: measure.function).name, group, records.values,
        hasArgument: measure.argument != nil)
      guard let result else { return nil }
      table.append([text(records.keys, group[0]), result])
    }
    return table
  }

  private func mergedInSwift(
    _ records: Records, _ parts: [Range<Int>], _ layout: StateLayout, _ schema: Schema
  ) throws -> Table {
    var (keys, state) = ([Column(.string)], layout.columns.map { Column($0.type) })
    for part in parts {
      let delta = try records.delta(part, layout)
      keys[0].append(contentsOf: delta.keys[0])
      for index in state.indices { state[index].append(contentsOf: delta.state[index]) }
    }
    let merged = try layout.merged(keys: keys, state: state)
    return Table(schema, columns: merged.keys + layout.results(merged.state)).sorted(byFirst: 1)
  }

  private func mergedBySQL(
    _ records: Records, _ parts: [Range<Int>], _ layout: StateLayout, _ schema: Schema
  ) throws -> Table {
    let generation = Generation(2, layout)
    return try DatabaseQueue().write { database in
      generation.register(in: database)
      try generation.create(in: database)
      for part in parts { try generation.merge(try records.delta(part, layout), in: database) }
      return try generation.table(of: [Pane(0)], schema, in: database)
    }
  }

  @Test("a state of bytes that is none is an error, and no result")
  func damagedBytes() throws {
    let argument = ColumnDefinition("value", .int64)
    let layout = StateLayout(
      keys: [], measures: [Measure("m", try BitCount(argument), argument: "value")])
    var delta = Delta()
    delta.groupPanes = [Pane(0)]
    delta.state = [Column(.bytes)]
    [UInt8](repeating: 1, count: 8).withUnsafeBytes { delta.state[0].append(utf8: $0) }
    let generation = Generation(1, layout)
    #expect {
      try DatabaseQueue().write { database in
        generation.register(in: database)
        try generation.create(in: database)
        try generation.merge(delta, in: database)
        try database.execute(sql: "UPDATE groups SET m_bits = x'01'")
        try generation.merge(delta, in: database)
      }
    } throws: {
      ($0 as? DatabaseError)?.message == "test_bits: the state is damaged"
    }
  }

  @Test("keep groups by uint64 apart, and in the order of the numbers, NULL first")
  func unsignedKeys() throws {
    let count = Measure("n", Count(), argument: nil)
    let layout = StateLayout(
      keys: [ColumnDefinition("key", .uint64, isNullable: true)], measures: [count])
    let generation = Generation(1, layout)
    var random = SeededRandom(seed: 64)
    let ends: [UInt64] = [0, 1, 1 << 63 - 1, 1 << 63, 1 << 63 + 1, .max]
    var expected: [UInt64?: Int64] = [:]
    let table = try DatabaseQueue().write { database in
      try generation.create(in: database)
      for _ in 0..<20 {
        var keys = Column(.uint64)
        for _ in 0..<50 {
          let key = Bool.random(using: &random) ? ends.randomElement(using: &random) : random.next()
          let isNull = Int.random(in: 0..<9, using: &random) == 0
          if let key, !isNull {
            keys.append(integer: Int64(keeping: key))
          } else {
            keys.appendNull()
          }
          expected[isNull ? nil : key, default: 0] += 1
        }
        var grouping = Grouping(keyColumns: [keys], panes: .same(0))
        grouping.assign([Bool](repeating: true, count: keys.count))
        var delta = Delta()
        delta.keys = [keys.selecting(grouping.firstRows)]
        delta.groupPanes = grouping.firstRows.map { _ in Pane(0) }
        try count.function.accumulate(nil, grouping.groups, into: &delta.state)
        try generation.merge(delta, in: database)
      }
      return try generation.table(
        of: [Pane(0)], Schema(layout.keys + [count.result]), in: database)
    }
    let numbers = expected.keys.compactMap { $0 }.sorted()
    #expect(table[0].isNull == [true] + numbers.map { _ in false })
    #expect((1..<table.rowCount).map { table[0].plainText($0) } == numbers.map { "\($0)" })
    #expect(table[1].integers == [expected[nil] ?? 0] + numbers.map { expected[$0] ?? 0 })
  }

  @Test("a window of several panes is their groups put together, sorted by key")
  func severalPanes() throws {
    let count = Measure("n", Count(), argument: nil)
    let layout = StateLayout(keys: [ColumnDefinition("key", .string)], measures: [count])
    var delta = Delta()
    delta.keys = [Column(.string)]
    delta.state = [Column(.int64)]
    for (pane, key, number) in [(0, "b", 1), (60_000, "a", 2), (60_000, "b", 3), (120_000, "b", 9)]
    {
      delta.groupPanes.append(Pane(Int64(pane)))
      delta.keys[0].append(string: key)
      delta.state[0].append(integer: Int64(number))
    }
    let generation = Generation(1, layout)
    let table = try DatabaseQueue().write { database in
      try generation.create(in: database)
      try generation.merge(delta, in: database)
      let schema = Schema(layout.keys + [count.result])
      return try generation.table(of: [Pane(0), Pane(60_000)], schema, in: database)
    }
    #expect((0..<table.rowCount).map { table[0].text[$0] } == ["a", "b"])
    #expect(table[1].integers == [2, 4])
  }
}
