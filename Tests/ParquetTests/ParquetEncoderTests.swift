import Foundation
import Parquet
import Tables
import TestSupport
import Testing

@Suite("A Parquet file")
struct ParquetEncoderTests {
  private func options(
    rowGroupRowCount: Int = 1_000_000, pageByteCount: Int = 1 << 20,
    compression: ParquetOptions.Compression = .zstd(level: 1)
  )
    -> ParquetOptions
  {
    ParquetOptions(
      compression: compression, rowGroupRowCount: rowGroupRowCount, pageByteCount: pageByteCount,
      metadata: [(key: "tranche.job", value: "é"), (key: "empty", value: "")],
      createdBy: "tranche version test")
  }

  /// What the readers must find, in JSON: integers as they are kept, but for the numbers of a
  /// uint64; doubles by their bits.
  private func expectation(_ table: Table, rowGroupRowCount: Int) throws -> Data {
    let columns = zip(table.schema.columns, table.columns).map {
      definition, column -> [String: Any] in
      let values = (0..<column.count).map { row -> Any in
        if column.isNull[row] { return NSNull() }
        switch column.type.storage {
        case .integers where column.type == .uint64:
          return NSNumber(value: UInt64(kept: column.integers[row]))
        case .integers: return NSNumber(value: column.integers[row])
        case .doubles: return String(column.doubles[row].bitPattern)
        case .text: return column.text[row]
        }
      }
      return [
        "name": definition.name, "type": "\(definition.type)", "nullable": definition.isNullable,
        "values": values,
      ]
    }
    return try JSONSerialization.data(
      withJSONObject: [
        "columns": columns, "rows": table.rowCount, "row_group_rows": rowGroupRowCount,
      ] as [String: Any])
  }

  /// Where TRANCHE_TEST_KEEP_PARQUET names a folder the files outlive the test, for spark.py to
  /// read them.
  private func keep(_ table: Table, _ name: String, in folder: String, _ options: ParquetOptions)
    throws
  {
    let path = URL(fileURLWithPath: folder).appendingPathComponent(name).path
    try Data(try ParquetEncoder.encode(table, options)).write(
      to: URL(fileURLWithPath: path + ".parquet"))
    try expectation(table, rowGroupRowCount: options.rowGroupRowCount).write(
      to: URL(fileURLWithPath: path + ".json"))
  }

  @Test(
    """
    is read by pyarrow, duckdb, polars and ClickHouse as the table it was made of, filtered or \
    whole
    """
  )
  func readers() throws {
    let temporary = try TemporaryFolder()
    let folder = ProcessInfo.processInfo.environment["TRANCHE_TEST_KEEP_PARQUET"] ?? temporary.path
    var tables = RandomTables(seed: 20_261_124)
    for index in 0..<120 {
      let table = tables.next(maxRowCount: index < 20 ? 3 : 1_500)
      let rowGroupRowCount = [1, 7, 100, 1_000_000].randomElement(using: &tables.random) ?? 1
      let pageByteCount = [1, 50, 1_000, 1 << 20].randomElement(using: &tables.random) ?? 1
      // A group of one row is worth its cost for a small table alone.
      let isSmall = table.rowCount <= 100
      try keep(
        table, "random-\(index)", in: folder,
        options(
          rowGroupRowCount: isSmall ? rowGroupRowCount : max(100, rowGroupRowCount),
          pageByteCount: pageByteCount,
          compression: Bool.random(using: &tables.random) ? .zstd(level: 3) : .none))
    }
    let every = RandomTables.types.enumerated().map {
      ColumnDefinition("n\($0.offset)", $0.element, isNullable: $0.offset % 2 == 0)
    }
    try keep(tables.table(every, rowCount: 0), "empty", in: folder, options())
    // A dictionary that begins well and overflows; texts of a megabyte; more rows than a page
    // takes.
    var long = Column(.string)
    for index in 0..<4 { long.append(string: String(repeating: "é\(index)", count: 350_000)) }
    try keep(
      Table(Schema([ColumnDefinition("long", .string)]), columns: [long]), "long-texts", in: folder,
      options())
    var many = Column(.string)
    var numbers = Column(.int64)
    for index in 0..<250_000 {
      many.append(string: index < 16_384 ? "few \(index % 3)" : "many different texts \(index)")
      numbers.append(integer: Int64(index) * 1_000 + Int64(index % 7))
    }
    try keep(
      Table(
        Schema([ColumnDefinition("text", .string), ColumnDefinition("sorted", .int64)]),
        columns: [many, numbers]), "many", in: folder,
      options(rowGroupRowCount: 120_000))
    let output = try TestStack().python("ParquetTests/readers.py", [folder])
    #expect(output.contains("123 files"), "\(output)")
  }

  @Test("is the same for the same table, handed over in pieces or whole")
  func deterministic() throws {
    var tables = RandomTables(seed: 5)
    for _ in 0..<20 {
      let table = tables.next(maxRowCount: 300)
      let whole = try ParquetEncoder.encode(table, options(rowGroupRowCount: 50))
      nonisolated(unsafe) var pieces: [UInt8] = []
      try ParquetEncoder.write(table, options(rowGroupRowCount: 50)) {
        pieces.append(contentsOf: $0)
      }
      #expect(whole == pieces)
      #expect(
        whole.prefix(4).elementsEqual("PAR1".utf8) && whole.suffix(4).elementsEqual("PAR1".utf8))
    }
  }

  @Test("refuses a value that its column cannot hold, and names column, row and value")
  func misuse() throws {
    func refusal(_ type: ColumnType, isNullable: Bool = false, _ fill: (inout Column) -> Void)
      -> String
    {
      var column = Column(type)
      fill(&column)
      let table = Table(
        Schema([ColumnDefinition("c", type, isNullable: isNullable)]), columns: [column])
      do {
        _ = try ParquetEncoder.encode(table, options())
        return "accepted"
      } catch { return "\(error)" }
    }
    #expect(
      refusal(.int32) { $0.append(integer: 1 << 31) }
        == "Parquet, column c: row 0 holds 2147483648, which the column's type does not")
    #expect(refusal(.int32) { $0.append(integer: -1 << 31) } == "accepted")
    #expect(
      refusal(.decimal(precision: 3, scale: 1)) { $0.append(integer: 1_000) }.contains(
        "row 0 holds 1000"))
    #expect(refusal(.decimal(precision: 3, scale: 1)) { $0.append(integer: -999) } == "accepted")
    #expect(refusal(.bool) { $0.append(integer: 2) }.contains("row 0 holds 2"))
    #expect(
      refusal(.double) { $0.appendNull() }
        == "Parquet, column c: row 0 is null in a column that allows none")
    #expect(refusal(.double, isNullable: true) { $0.appendNull() } == "accepted")
    var (one, two) = (Column(.int32), Column(.int64))
    one.append(integer: 1)
    let schema = Schema([ColumnDefinition("one", .int32), ColumnDefinition("two", .int64)])
    #expect { try ParquetEncoder.write(schema, [one, two], options()) { _ in } } throws: {
      ($0 as? ParquetError)?.code == .columnLengthsDiffer(0, 1) && "\($0)".contains("column two")
    }
    two.append(integer: 2)
    #expect { try ParquetEncoder.write(schema, [two, one], options()) { _ in } } throws: {
      ($0 as? ParquetError)?.code == .columnsDoNotFitSchema
    }
  }

  @Test(
    "has the bytes that it had: a change is seen and explained",
    arguments: ["shares", "every-type", "empty"])
  func golden(name: String) throws {
    let table = goldenTable(name)
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "golden/\(name).parquet")
    // Without compression, so that another zstd changes nothing.
    let bytes = Data(try ParquetEncoder.encode(table, options(compression: .none)))
    if ProcessInfo.processInfo.environment["TRANCHE_WRITE_GOLDEN"] != nil {
      let isNew = try? Data(contentsOf: path) != bytes
      try bytes.write(to: path)
      #expect(
        isNew == false,
        "\(name).parquet is new: read the difference, then unset TRANCHE_WRITE_GOLDEN"
      )
    }
    #expect(try Data(contentsOf: path) == bytes)
  }

  private func goldenTable(_ name: String) -> Table {
    if name == "shares" {
      var (key, calls, share) = (Column(.int32), Column(.int64), Column(.double))
      for index in 0..<40 {
        key.append(integer: Int64(index * 3))
        calls.append(integer: Int64(index % 5))
        if index % 7 == 0 { share.appendNull() } else { share.append(double: Double(index) / 4) }
      }
      let schema = Schema([
        ColumnDefinition("api_id", .int32), ColumnDefinition("calls", .int64),
        ColumnDefinition("percentage_time", .double, isNullable: true),
      ])
      return Table(schema, columns: [key, calls, share])
    }
    let definitions = RandomTables.types.enumerated().map {
      ColumnDefinition("c\($0.offset)", $0.element, isNullable: true)
    }
    var tables = RandomTables(seed: 1)
    return tables.table(definitions, rowCount: name == "empty" ? 0 : 25)
  }
}
