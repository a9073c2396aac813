package import Tables

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
      JSONText.append(column.name, to: &key)
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
    case .string: column.text.withBytes(of: row) { JSONText.append($0, to: &bytes) }
    case .timestamp, .timestampMicroseconds, .date:
      bytes.append(UInt8(ascii: "\""))
      bytes.append(contentsOf: column.plainText(row).utf8)
      bytes.append(UInt8(ascii: "\""))
    case .int32, .int64, .uint64, .double, .bool, .decimal, .bytes:
      bytes.append(contentsOf: column.plainText(row).utf8)
    }
  }
}
