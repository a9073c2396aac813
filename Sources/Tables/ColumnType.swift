/// What a column holds. Every type but `double` and `string` is kept as a 64-bit integer.
package enum ColumnType: Hashable, Sendable {
  case int32
  case int64
  /// Kept less 2^63: ``Swift/Int64/init(keeping:)``.
  case uint64
  case double
  /// 0 or 1.
  case bool
  /// UTF-8 without U+0000. Compared by bytes, never by Swift's `String`, which merges canonically
  /// equal texts.
  case string
  /// Milliseconds since 1970-01-01 UTC.
  case timestamp
  /// Microseconds since 1970-01-01 UTC.
  case timestampMicroseconds
  /// Days since 1970-01-01.
  case date
  /// A whole number of units of 10^-scale; precision is at most 18 digits.
  case decimal(precision: Int, scale: Int)
  /// Any bytes: what some measures keep. No field and no result has this type yet.
  case bytes

  package enum Storage: Hashable, Sendable { case integers, doubles, text }

  package var storage: Storage {
    switch self {
    case .double: .doubles
    case .string, .bytes: .text
    case .int32, .int64, .uint64, .bool, .timestamp, .timestampMicroseconds, .date, .decimal:
      .integers
    }
  }
}

extension ColumnType: CustomStringConvertible {
  /// As the job file spells it: `int32`, `decimal(10,2)`.
  package var description: String {
    switch self {
    case .int32: "int32"
    case .int64: "int64"
    case .uint64: "uint64"
    case .double: "double"
    case .bool: "bool"
    case .string: "string"
    case .timestamp: "timestamp"
    case .timestampMicroseconds: "timestamp_microseconds"
    case .date: "date"
    case .bytes: "bytes"
    case .decimal(let precision, let scale): "decimal(\(precision),\(scale))"
    }
  }
}
