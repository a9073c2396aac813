extension Column {
  /// A value that is not NULL and not a text, as results, CSV, JSON and tables for people write it.
  ///
  /// A double is the shortest text that reads back as the same number (`0.1`, `5.0`, `1e-07`),
  /// which is valid JSON. Infinities and NaN never reach a result; they would read `null`.
  ///
  /// - Precondition: the column does not store text.
  package func plainText(_ row: Int) -> String {
    switch type {
    case .int32, .int64: String(integers[row])
    case .uint64: String(UInt64(kept: integers[row]))
    case .bool: integers[row] == 0 ? "false" : "true"
    case .double: doubles[row].isFinite ? doubles[row].description : "null"
    case .timestamp: TimestampText.format(milliseconds: integers[row])
    case .timestampMicroseconds: TimestampText.formatMicroseconds(integers[row])
    case .date: TimestampText.formatDate(days: integers[row])
    case .decimal(_, let scale): DecimalText.format(unscaled: integers[row], scale: scale)
    case .string, .bytes: preconditionFailure("a column of texts has no plain values")
    }
  }
}
