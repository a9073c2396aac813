internal import Offsets
package import Tables

/// How a message's bytes hold records.
package enum InputFormat: String, Sendable, CaseIterable { case csv, json }

/// What becomes of a message without a value, as log-compacted topics have them.
package enum TombstonePolicy: String, Sendable, CaseIterable {
  /// It holds no record, and is counted.
  case skip
  /// It is a reject.
  case reject
}

/// How a timestamp is written in the input.
package enum TimestampEncoding: String, Sendable, CaseIterable {
  /// ISO 8601, or ClickHouse's `YYYY-MM-DD hh:mm:ss[.fraction]`, which is read as UTC.
  case text
  case unixSeconds = "unix_seconds"
  case unixMilliseconds = "unix_milliseconds"
  case unixMicroseconds = "unix_microseconds"
}

/// Where the value of a field lies.
package enum FieldOrigin: Hashable, Sendable {
  /// In the record: in CSV by position, in JSON by path or name.
  case record
  /// In the message's key.
  case key(KeyForm)
  /// In the last header of a name.
  case header(String)
}

/// How a field reads a message's key.
package enum KeyForm: String, Sendable, CaseIterable {
  /// The key as a text, or its bytes as one.
  case text, hex, base64
  /// The key is a JSON value, of which the field is a part or the whole.
  case json
}

/// A declared field of the input.
package struct InputField: Hashable, Sendable {
  package let column: ColumnDefinition
  package let origin: FieldOrigin
  /// Read only where the type is `timestamp`.
  package let timestampEncoding: TimestampEncoding
  /// Where it lies in a JSON record, or in a JSON key; nil where it is the member of the column's
  /// name in a record, or the whole key.
  package let path: JSONPath?
  /// Whether the column gets the JSON text of whatever stands there, quotes and all.
  package let isJSONText: Bool

  package init(
    _ column: ColumnDefinition, timestampEncoding: TimestampEncoding = .text,
    origin: FieldOrigin = .record, path: JSONPath? = nil, isJSONText: Bool = false
  ) {
    self.column = column
    self.origin = origin
    self.timestampEncoding = timestampEncoding
    self.path = path
    self.isJSONText = isJSONText
  }
}

extension InputField {
  /// Whether it reads the message's key.
  package var isOfKey: Bool { if case .key = origin { true } else { false } }

  /// From the record or the key to its place in it.
  var steps: [JSONPath.Step] {
    path?.steps ?? (origin == .record ? [.key(column.name)] : [])
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
