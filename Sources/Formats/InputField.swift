internal import Offsets
package import Tables

/// How a message's bytes hold records.
package enum InputFormat: String, Sendable, CaseIterable { case csv, json }

/// How a timestamp is written in the input.
package enum TimestampEncoding: String, Sendable, CaseIterable {
  /// ISO 8601, or ClickHouse's `YYYY-MM-DD hh:mm:ss[.fraction]`, which is read as UTC.
  case text
  case unixSeconds = "unix_seconds"
  case unixMilliseconds = "unix_milliseconds"
  case unixMicroseconds = "unix_microseconds"
}

/// A declared field of the input: in CSV found by position, in JSON by path or name.
package struct InputField: Hashable, Sendable {
  package let column: ColumnDefinition
  /// Read only where the type is `timestamp`.
  package let timestampEncoding: TimestampEncoding
  /// Where it lies in a JSON record; nil where it is the key of the column's name.
  package let path: JSONPath?
  /// Whether the column gets the JSON text of whatever stands there, quotes and all.
  package let isJSONText: Bool

  package init(
    _ column: ColumnDefinition, timestampEncoding: TimestampEncoding = .text,
    path: JSONPath? = nil, isJSONText: Bool = false
  ) {
    self.column = column
    self.timestampEncoding = timestampEncoding
    self.path = path
    self.isJSONText = isJSONText
  }
}

/// What every message carries beside its value, under a fixed column name.
package enum MessageField: String, Sendable, CaseIterable {
  case key = "record_key"
  case timestamp = "record_timestamp"
  case topic = "record_topic"
  case partition = "record_partition"
  case offset = "record_offset"

  package var column: ColumnDefinition {
    switch self {
    case .key: ColumnDefinition(rawValue, .string, isNullable: true)
    case .timestamp: ColumnDefinition(rawValue, .timestamp, isNullable: true)
    case .topic: ColumnDefinition(rawValue, .string)
    case .partition: ColumnDefinition(rawValue, .int32)
    case .offset: ColumnDefinition(rawValue, .int64)
    }
  }
}
