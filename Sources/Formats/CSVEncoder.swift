package import Tables

/// A table as CSV after RFC 4180: a header with the column names, `\n` at line ends, NULL as `\N`.
///
/// Numbers are written as in JSON, timestamps in ISO 8601 with milliseconds, decimals with all
/// digits of their scale. A text is quoted where it holds a quote, a comma or a line end, is empty,
/// or reads `\N`. The same table gives the same bytes.
package enum CSVEncoder {
  /// - Parameter byteLimit: Looked at after every row.
  package static func encode(_ table: Table, byteLimit: Int = .max) throws(EncodedTooLong)
    -> [UInt8]
  {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(64 + table.rowCount * table.schema.columns.count * 8)
    for (index, column) in table.schema.columns.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      var name = column.name
      name.withUTF8 { appendText(UnsafeRawBufferPointer($0), to: &bytes) }
    }
    bytes.append(UInt8(ascii: "\n"))
    for row in 0..<table.rowCount {
      for index in table.schema.columns.indices {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        append(table[index], row, to: &bytes)
      }
      bytes.append(UInt8(ascii: "\n"))
      guard bytes.count <= byteLimit else { throw EncodedTooLong(byteLimit: byteLimit) }
    }
    return bytes
  }

  private static func append(_ column: Column, _ row: Int, to bytes: inout [UInt8]) {
    if column.isNull[row] {
      bytes.append(contentsOf: "\\N".utf8)
    } else if column.type == .string {
      column.text.withBytes(of: row) { appendText($0, to: &bytes) }
    } else {
      bytes.append(contentsOf: plainText(of: column, row: row).utf8)
    }
  }

  private static func appendText(_ text: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
    let needsQuotes =
      text.isEmpty || text.elementsEqual("\\N".utf8)
      || text.contains {
        $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\n")
          || $0 == UInt8(ascii: "\r")
      }
    guard needsQuotes else { return bytes.append(contentsOf: text) }
    bytes.append(UInt8(ascii: "\""))
    for byte in text {
      if byte == UInt8(ascii: "\"") { bytes.append(byte) }
      bytes.append(byte)
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

/// A table whose object would be longer than it may be.
package struct EncodedTooLong: Error, Equatable, CustomStringConvertible {
  package let byteLimit: Int

  package init(byteLimit: Int) { self.byteLimit = byteLimit }

  package var description: String {
    "the object would have more than \(byteLimit) bytes (limits.object_bytes). Make it smaller by "
      + "select, by or where, or raise the limit"
  }
}

/// A table as JSON lines: one object per row, keys in the order of the columns, timestamps as ISO
/// 8601 texts, decimals as numbers.
package enum JSONLinesEncoder {
  /// - Parameter byteLimit: Looked at after every row.
  package static func encode(_ table: Table, byteLimit: Int = .max) throws(EncodedTooLong)
    -> [UInt8]
  {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(table.rowCount * table.schema.columns.count * 20)
    let keys = table.schema.columns.enumerated().map { index, column -> [UInt8] in
      var key: [UInt8] = [index == 0 ? UInt8(ascii: "{") : UInt8(ascii: ",")]
      var name = column.name
      name.withUTF8 { appendText(UnsafeRawBufferPointer($0), to: &key) }
      return key + [UInt8(ascii: ":")]
    }
    for row in 0..<table.rowCount {
      for (index, key) in keys.enumerated() {
        bytes.append(contentsOf: key)
        append(table[index], row, to: &bytes)
      }
      bytes.append(contentsOf: "}\n".utf8)
      guard bytes.count <= byteLimit else { throw EncodedTooLong(byteLimit: byteLimit) }
    }
    return bytes
  }

  private static func append(_ column: Column, _ row: Int, to bytes: inout [UInt8]) {
    if column.isNull[row] {
      bytes.append(contentsOf: "null".utf8)
      return
    }
    switch column.type {
    case .string: column.text.withBytes(of: row) { appendText($0, to: &bytes) }
    case .timestamp, .timestampMicroseconds, .date:
      bytes.append(UInt8(ascii: "\""))
      bytes.append(contentsOf: plainText(of: column, row: row).utf8)
      bytes.append(UInt8(ascii: "\""))
    case .int32, .int64, .double, .bool, .decimal:
      bytes.append(contentsOf: plainText(of: column, row: row).utf8)
    }
  }

  /// In quotes; only what RFC 8259 section 7 asks for is escaped.
  private static func appendText(_ text: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
      case 0..<0x20:
        let digits = Array("0123456789abcdef".utf8)
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(digits[Int(byte >> 4)])
        bytes.append(digits[Int(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

/// A value that is not NULL and not a text, as CSV and JSON both write it.
///
/// A double is the shortest text that reads back as the same number (`0.1`, `5.0`, `1e-07`), which
/// is valid JSON. Infinities and NaN never reach a result; they would read `null`.
private func plainText(of column: Column, row: Int) -> String {
  switch column.type {
  case .int32, .int64: String(column.integers[row])
  case .bool: column.integers[row] == 0 ? "false" : "true"
  case .double: column.doubles[row].isFinite ? column.doubles[row].description : "null"
  case .timestamp: TimestampText.format(milliseconds: column.integers[row])
  case .timestampMicroseconds: TimestampText.formatMicroseconds(column.integers[row])
  case .date: TimestampText.formatDate(days: column.integers[row])
  case .decimal(_, let scale): DecimalText.format(unscaled: column.integers[row], scale: scale)
  case .string: preconditionFailure("a text is not plain")
  }
}
