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
      bytes.append(contentsOf: column.plainText(row).utf8)
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
