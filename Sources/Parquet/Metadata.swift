internal import Tables

// The structures of parquet-format's src/main/thrift/parquet.thrift that a writer of flat tables
// needs, with its field numbers.

/// `Type`
enum PhysicalType: Int {
  case boolean = 0
  case int32 = 1
  case int64 = 2
  case double = 5
  case byteArray = 6

  init(_ type: ColumnType) {
    self =
      switch type {
      case .bool: .boolean
      case .int32, .date: .int32
      case .int64, .uint64, .timestamp, .timestampMicroseconds: .int64
      case .double: .double
      case .string, .bytes: .byteArray
      // LogicalTypes.md, DECIMAL: up to 9 digits fit into an INT32, up to 18 into an INT64.
      case .decimal(let precision, _): precision <= 9 ? .int32 : .int64
      }
  }

  /// Bytes of a PLAIN value; nil where values differ in length or are bits.
  var byteCount: Int? {
    switch self {
    case .int32: 4
    case .int64, .double: 8
    case .boolean, .byteArray: nil
    }
  }
}

/// `Encoding`
enum Encoding: Int {
  case plain = 0
  case rle = 3
  case deltaBinaryPacked = 5
  case rleDictionary = 8
}

/// `PageType`
enum PageType: Int {
  case data = 0
  case dictionary = 2
}

/// `Statistics`: PLAIN values without the length in front of texts.
struct Statistics {
  var min: [UInt8]?
  var max: [UInt8]?
  var nullCount: Int64

  func write(to writer: inout ThriftWriter) {
    writer.field(3, i64: nullCount)
    if let max { writer.field(5, binary: max) }
    if let min { writer.field(6, binary: min) }
  }
}

/// `ColumnMetaData`
struct ColumnChunk {
  let definition: ColumnDefinition
  var encodings: [Encoding] = []
  var valueCount: Int64 = 0
  var uncompressedByteCount: Int64 = 0
  var compressedByteCount: Int64 = 0
  var dataPageOffset: Int64 = 0
  var dictionaryPageOffset: Int64?
  var dataPageCount = 0
  var statistics = Statistics(nullCount: 0)

  var offset: Int64 { dictionaryPageOffset ?? dataPageOffset }

  func write(to writer: inout ThriftWriter, codec: ParquetOptions.Compression) {
    writer.field(1, i32: PhysicalType(definition.type).rawValue)
    writer.field(2, i32s: encodings.map(\.rawValue))
    writer.field(3, strings: [definition.name])
    writer.field(4, i32: codec.code)
    writer.field(5, i64: valueCount)
    writer.field(6, i64: uncompressedByteCount)
    writer.field(7, i64: compressedByteCount)
    writer.field(9, i64: dataPageOffset)
    if let dictionaryPageOffset { writer.field(11, i64: dictionaryPageOffset) }
    writer.field(12, structure: { statistics.write(to: &$0) })
    // PageEncodingStats: lets a reader see that every data page is under the dictionary.
    var pages = [(PageType.data, encodings.last ?? .plain, dataPageCount)]
    if dictionaryPageOffset != nil { pages.insert((.dictionary, .plain, 1), at: 0) }
    writer.field(13, structures: pages) { writer, page in
      writer.field(1, i32: page.0.rawValue)
      writer.field(2, i32: page.1.rawValue)
      writer.field(3, i32: page.2)
    }
  }
}

/// `RowGroup`
struct RowGroup {
  let rowCount: Int64
  var chunks: [ColumnChunk]

  func write(to writer: inout ThriftWriter, codec: ParquetOptions.Compression) {
    writer.field(1, structures: chunks) { writer, chunk in
      writer.field(2, i64: 0)
      writer.field(3, structure: { chunk.write(to: &$0, codec: codec) })
    }
    writer.field(2, i64: chunks.reduce(0) { $0 + $1.uncompressedByteCount })
    writer.field(3, i64: rowCount)
    writer.field(5, i64: chunks.first?.offset ?? 4)
    writer.field(6, i64: chunks.reduce(0) { $0 + $1.compressedByteCount })
  }
}

/// `FileMetaData`
func writeFileMetadata(
  _ schema: Schema, _ rowGroups: [RowGroup], rowCount: Int64, options: ParquetOptions,
  to writer: inout ThriftWriter
) {
  writer.structure { writer in
    writer.field(1, i32: 1)
    writer.field(2, structures: [nil] + schema.columns.map(Optional.some)) { writer, column in
      if let column {
        writeSchemaElement(column, to: &writer)
      } else {
        writer.field(4, binary: "schema".utf8)
        writer.field(5, i32: schema.columns.count)
      }
    }
    writer.field(3, i64: rowCount)
    writer.field(4, structures: rowGroups) { $1.write(to: &$0, codec: options.compression) }
    if !options.metadata.isEmpty {
      writer.field(5, structures: options.metadata) { writer, entry in
        writer.field(1, binary: entry.key.utf8)
        writer.field(2, binary: entry.value.utf8)
      }
    }
    writer.field(6, binary: options.createdBy.utf8)
    // ColumnOrder: TYPE_ORDER for every column, or readers would not trust min_value and max_value.
    writer.field(7, structures: schema.columns) { writer, _ in writer.field(1, structure: { _ in })
    }
  }
}

/// `SchemaElement` of a column, with the logical type and, for older readers, the converted type
/// (LogicalTypes.md).
private func writeSchemaElement(_ column: ColumnDefinition, to writer: inout ThriftWriter) {
  writer.field(1, i32: PhysicalType(column.type).rawValue)
  writer.field(3, i32: column.isNullable ? 1 : 0)
  writer.field(4, binary: column.name.utf8)
  let convertedType: Int? =
    switch column.type {
    case .string: 0
    case .decimal: 5
    case .date: 6
    case .timestamp: 9
    case .timestampMicroseconds: 10
    case .uint64: 14
    case .int32: 17
    case .int64: 18
    case .bool, .double, .bytes: nil
    }
  guard let convertedType else { return }
  writer.field(6, i32: convertedType)
  if case .decimal(let precision, let scale) = column.type {
    writer.field(7, i32: scale)
    writer.field(8, i32: precision)
  }
  writer.field(10) { writer in writeLogicalType(column.type, to: &writer) }
}

/// `LogicalType`, a union: exactly one field.
private func writeLogicalType(_ type: ColumnType, to writer: inout ThriftWriter) {
  func timestamp(unit: Int16) {
    writer.field(8) { writer in
      writer.field(1, bool: true)
      writer.field(2) { $0.field(unit, structure: { _ in }) }
    }
  }
  func integer(bitWidth: Int8, isSigned: Bool = true) {
    writer.field(10) { writer in
      writer.field(1, byte: bitWidth)
      writer.field(2, bool: isSigned)
    }
  }
  switch type {
  case .string: writer.field(1, structure: { _ in })
  case .decimal(let precision, let scale):
    writer.field(5) { writer in
      writer.field(1, i32: scale)
      writer.field(2, i32: precision)
    }
  case .date: writer.field(6, structure: { _ in })
  case .timestamp: timestamp(unit: 1)
  case .timestampMicroseconds: timestamp(unit: 2)
  case .int32: integer(bitWidth: 32)
  case .int64: integer(bitWidth: 64)
  case .uint64: integer(bitWidth: 64, isSigned: false)
  case .bool, .double, .bytes: preconditionFailure("\(type) has no logical type")
  }
}

/// `PageHeader` of a data page (version 1) or a dictionary page.
func writePageHeader(
  _ type: PageType, valueCount: Int, encoding: Encoding, uncompressedByteCount: Int,
  compressedByteCount: Int, to writer: inout ThriftWriter
) {
  writer.structure { writer in
    writer.field(1, i32: type.rawValue)
    writer.field(2, i32: uncompressedByteCount)
    writer.field(3, i32: compressedByteCount)
    switch type {
    case .data:
      writer.field(5) { writer in
        writer.field(1, i32: valueCount)
        writer.field(2, i32: encoding.rawValue)
        writer.field(3, i32: Encoding.rle.rawValue)
        writer.field(4, i32: Encoding.rle.rawValue)
      }
    case .dictionary:
      writer.field(7) { writer in
        writer.field(1, i32: valueCount)
        writer.field(2, i32: encoding.rawValue)
      }
    }
  }
}
