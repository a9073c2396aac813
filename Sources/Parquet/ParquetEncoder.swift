package import Tables

/// How a file is written.
package struct ParquetOptions: Sendable {
  package enum Compression: Sendable, Equatable {
    case none
    /// Level 1 (fast) to 22 (small).
    case zstd(level: Int32)

    /// `CompressionCodec`
    var code: Int { self == .none ? 0 : 6 }
  }
  package var compression: Compression
  /// Most rows of a row group; the memory beside the table grows with it: up to 16 bytes a row for
  /// texts and columns with nulls.
  package var rowGroupRowCount: Int
  /// About how many bytes of values a data page takes before compression; a longer text has a page
  /// of its own.
  package var pageByteCount: Int
  /// For the footer; keys in the order given.
  package var metadata: [(key: String, value: String)]
  /// `Application version X`: readers look at it to know a writer's mistakes.
  package var createdBy: String

  package init(
    compression: Compression = .zstd(level: 1), rowGroupRowCount: Int = 1_000_000,
    pageByteCount: Int = 1 << 20,
    metadata: [(key: String, value: String)] = [], createdBy: String
  ) {
    self.compression = compression
    self.rowGroupRowCount = rowGroupRowCount
    self.pageByteCount = pageByteCount
    self.metadata = metadata
    self.createdBy = createdBy
  }
}

/// Why a table cannot be a Parquet file.
package struct ParquetError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    /// A value of the row does not fit the column's type: an int32, a date or a decimal of too many
    /// digits.
    case valueOutOfRange(row: Int, value: Int64)
    /// A null in a column that allows none.
    case unexpectedNull(row: Int)
    /// A text of more than 2^31 - 1 bytes.
    case textTooLong(row: Int, byteCount: Int)
    case columnLengthsDiffer(Int, Int)
    /// As many columns as the schema has, each of its type, are needed.
    case columnsDoNotFitSchema
    case compressionFailed(String)
  }
  package let code: Code
  package let column: String

  package var description: String {
    let problem =
      switch code {
      case .valueOutOfRange(let row, let value):
        "row \(row) holds \(value), which the column's type does not"
      case .unexpectedNull(let row): "row \(row) is null in a column that allows none"
      case .textTooLong(let row, let byteCount):
        "the text of row \(row) has \(byteCount) bytes and Parquet takes \(Int32.max)"
      case .columnLengthsDiffer(let count, let expected):
        "has \(count) rows where the first column has \(expected)"
      case .columnsDoNotFitSchema: "the columns are not those that the schema names"
      case .compressionFailed(let reason): "could not be compressed: \(reason)"
      }
    return "Parquet, column \(column): \(problem)"
  }
}

/// Turns a table into a Parquet file: flat, in version 1 data pages, which every reader takes. The
/// same table and options give the same bytes.
///
///     PAR1
///     row group: column chunk: [dictionary page] data page ... | ...
///     footer | length of the footer
///     PAR1
///
/// For each column of a row group the smallest of three encodings is taken: under a dictionary, as
/// differences, or plain.
/// - SeeAlso: github.com/apache/parquet-format, README.md and Encodings.md.
package enum ParquetEncoder {
  /// The whole file, in memory: what one request to a store needs.
  package static func encode(_ table: Table, _ options: ParquetOptions) throws(ParquetError)
    -> [UInt8]
  {
    var file: [UInt8] = []
    try write(table, options) { file.append(contentsOf: $0) }
    return file
  }

  /// As ``write(_:_:_:to:)``, for a table, whose columns fit by construction.
  package static func write(
    _ table: Table, _ options: ParquetOptions, to sink: @escaping (UnsafeRawBufferPointer) -> Void
  ) throws(ParquetError) {
    try write(table.schema, table.columns, options, to: sink)
  }

  /// Hands the file over page by page, in order. Beside the columns it holds one row group's
  /// helpers and one page, for any number of rows.
  ///
  /// - Throws: ``ParquetError``; the bytes handed over before are not a valid file.
  package static func write(
    _ schema: Schema, _ columns: [Column], _ options: ParquetOptions,
    to sink: @escaping (UnsafeRawBufferPointer) -> Void
  ) throws(ParquetError) {
    let rowCount = columns.first?.count ?? 0
    try check(schema, columns, rowCount: rowCount)
    var output = Output(sink)
    output.write(magic)
    var compressor = Compressor(options.compression)
    var rowGroups: [RowGroup] = []
    for start in stride(from: 0, to: rowCount, by: max(1, options.rowGroupRowCount)) {
      let rows = start..<min(start + max(1, options.rowGroupRowCount), rowCount)
      var group = RowGroup(rowCount: Int64(rows.count), chunks: [])
      for (index, definition) in schema.columns.enumerated() {
        var writer = ChunkWriter(definition, options: options)
        group.chunks.append(try writer.write(columns[index], rows, &compressor, &output))
      }
      rowGroups.append(group)
    }
    var footer = ThriftWriter()
    writeFileMetadata(schema, rowGroups, rowCount: Int64(rowCount), options: options, to: &footer)
    output.write(footer.bytes)
    output.write(withUnsafeBytes(of: UInt32(footer.bytes.count).littleEndian) { Array($0) })
    output.write(magic)
  }

  private static let magic = Array("PAR1".utf8)

  private static func check(_ schema: Schema, _ columns: [Column], rowCount: Int)
    throws(ParquetError)
  {
    guard columns.map(\.type) == schema.columns.map(\.type) else {
      throw ParquetError(
        code: .columnsDoNotFitSchema, column: schema.columns.map(\.name).joined(separator: ", "))
    }
    for (definition, column) in zip(schema.columns, columns) {
      func refuse(_ code: ParquetError.Code) -> ParquetError {
        ParquetError(code: code, column: definition.name)
      }
      guard column.count == rowCount else {
        throw refuse(.columnLengthsDiffer(column.count, rowCount))
      }
      if !definition.isNullable, let row = column.isNull.firstIndex(of: true) {
        throw refuse(.unexpectedNull(row: row))
      }
      if let limits = limits(of: definition.type),
        let row = column.integers.indices.first(where: {
          !limits.contains(column.integers[$0]) && !column.isNull[$0]
        })
      {
        throw refuse(.valueOutOfRange(row: row, value: column.integers[row]))
      }
      if definition.type == .string,
        let row = (0..<column.count).first(where: {
          column.text.byteCount(of: $0) > Int(Int32.max) - 64
        })
      {
        throw refuse(.textTooLong(row: row, byteCount: column.text.byteCount(of: row)))
      }
    }
  }

  private static func limits(of type: ColumnType) -> ClosedRange<Int64>? {
    switch type {
    case .int32, .date: return Int64(Int32.min)...Int64(Int32.max)
    case .bool: return 0...1
    case .decimal(let precision, _): return PowersOfTen.unscaledValues(precision: precision)
    case .int64, .uint64, .timestamp, .timestampMicroseconds, .double, .string, .bytes:
      return nil
    }
  }
}

/// Counts what goes to the sink.
struct Output {
  private(set) var byteCount: Int64 = 0
  private let sink: (UnsafeRawBufferPointer) -> Void

  init(_ sink: @escaping (UnsafeRawBufferPointer) -> Void) { self.sink = sink }

  mutating func write(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { sink($0) }
    byteCount += Int64(bytes.count)
  }
}
