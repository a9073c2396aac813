package import Checkpoints
internal import Formats
internal import Offsets
package import Tables

/// One row a reject; bytes as text where they are text, in base64 where they are not.
///
/// - Parameter namesBatch: Whether its batch comes first. An object's name tells it.
package func rejectTable(_ rejects: [StoredReject], namesBatch: Bool = false) -> Table {
  let schema = Schema(
    (namesBatch ? [ColumnDefinition("batch", .int64)] : []) + [
      ColumnDefinition("source", .string), ColumnDefinition("topic", .string),
      ColumnDefinition("partition", .int32),
      ColumnDefinition("offset", .int64), ColumnDefinition("record", .int32),
      ColumnDefinition("reason", .string),
      ColumnDefinition("field", .string, isNullable: true),
      ColumnDefinition("raw", .string, isNullable: true),
      ColumnDefinition("raw_base64", .string, isNullable: true),
      ColumnDefinition(MessageField.key.rawValue, .string, isNullable: true),
      ColumnDefinition("\(MessageField.key.rawValue)_base64", .string, isNullable: true),
      MessageField.timestamp.column,
      ColumnDefinition("record_headers", .string, isNullable: true),
    ])
  var columns = schema.columns.map { Column($0.type) }
  let first = namesBatch ? 1 : 0
  for reject in rejects {
    if namesBatch { columns[0].append(integer: reject.batch) }
    columns[first].append(string: reject.partition.source)
    columns[first + 1].append(string: reject.partition.topic)
    columns[first + 2].append(integer: Int64(reject.partition.partition))
    columns[first + 3].append(integer: reject.offset)
    columns[first + 4].append(integer: Int64(reject.record))
    columns[first + 5].append(string: reject.reason)
    append(reject.field, to: &columns[first + 6])
    let (raw, key) = (shown(reject.raw), shown(reject.key))
    append(raw.text, to: &columns[first + 7])
    append(raw.base64, to: &columns[first + 8])
    append(key.text, to: &columns[first + 9])
    append(key.base64, to: &columns[first + 10])
    if let time = reject.timestampMilliseconds {
      columns[first + 11].append(integer: time)
    } else {
      columns[first + 11].appendNull()
    }
    append(reject.headers, to: &columns[first + 12])
  }
  return Table(schema, columns: columns)
}

private func append(_ text: String?, to column: inout Column) {
  if let text { column.append(string: text) } else { column.appendNull() }
}

private func shown(_ bytes: [UInt8]?) -> (text: String?, base64: String?) {
  guard let bytes else { return (nil, nil) }
  let text = String(validating: bytes, as: UTF8.self)
  return (text, text == nil ? Base64Text.format(bytes) : nil)
}
