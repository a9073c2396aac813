internal import Formats
internal import Tables

/// The types that a job file may name.
enum FieldType {
  /// Spellings and what they hold, for people.
  static let all: [(spelling: String, meaning: String)] = [
    ("int32", "A whole number from -2147483648 to 2147483647."),
    ("int64", "A whole number from -9223372036854775808 to 9223372036854775807."),
    ("uint64", "A whole number from 0 to 18446744073709551615."),
    ("double", "A 64-bit floating-point number. NaN and infinities are rejects."),
    ("bool", "`true` or `false`; in CSV also `1` or `0`."),
    ("string", "UTF-8 text without U+0000, compared by bytes."),
    (
      "timestamp",
      "A time in milliseconds: ISO 8601, or `YYYY-MM-DD hh:mm:ss`, in UTC unless it says otherwise."
    ),
    (
      "json",
      """
      The JSON text of whatever stands there, as it stands: a text in its quotes, a number, an \
      object, an array. Only for fields in JSON.
      """
    ),
    ("timestamp(unix_seconds)", "A time as seconds since 1970. Only for fields."),
    ("timestamp(unix_milliseconds)", "A time as milliseconds since 1970. Only for fields."),
    ("timestamp(unix_microseconds)", "A time as microseconds since 1970. Only for fields."),
    (
      "decimal(p,s)",
      """
      An exact number of up to p digits, s of them behind the point; p from \
      \(JobKeys.decimalPrecisions.lowerBound) to \(JobKeys.decimalPrecisions.upperBound), s from 0 \
      to p.
      """
    ),
  ]

  /// For messages: all of them, or those of a computed column.
  static func list(ofFields: Bool) -> String {
    Suggestion.choice(
      of: all.map(\.spelling).filter { ofFields || !($0.hasPrefix("timestamp(") || $0 == "json") })
  }

  /// What is wrong with a text that names no type.
  static func fault(
    of text: String, ofFields: Bool
  ) -> (problem: String, remedy: String) {
    let most = JobKeys.decimalPrecisions.upperBound
    if let (precision, scale) = decimal(text.filter { $0 != " " && $0 != "?" }), precision > most {
      return (
        "has \(precision) digits, and a decimal has at most \(most)",
        scale < most
          ? "Use decimal(\(most),\(scale)) if the values fit, else double or string"
          : "Use double or string"
      )
    }
    return (
      "is not a valid type",
      "Use \(list(ofFields: ofFields))" + (ofFields ? ", with ? for nullable" : "")
    )
  }

  private static func decimal(_ name: String) -> (precision: Int, scale: Int)? {
    guard name.hasPrefix("decimal("), name.hasSuffix(")") else { return nil }
    let parts = name.dropFirst("decimal(".count).dropLast().split(separator: ",")
    guard parts.count == 2, let precision = Int(parts[0]), let scale = Int(parts[1]) else {
      return nil
    }
    return (precision, scale)
  }

  /// `int64`, `decimal(9, 2)`; nil for anything else.
  static func columnType(_ text: String) -> ColumnType? {
    let name = text.filter { $0 != " " }
    let plain: [ColumnType] = [.int32, .int64, .uint64, .double, .bool, .string, .timestamp]
    if let type = plain.first(where: { $0.description == name }) { return type }
    guard let (precision, scale) = decimal(name), JobKeys.decimalPrecisions.contains(precision),
      (0...precision).contains(scale)
    else { return nil }
    return .decimal(precision: precision, scale: scale)
  }

  /// - Parameter text: `timestamp(unix_seconds)?`
  static func field(
    _ text: String, named name: String, origin: FieldOrigin = .record,
    path: JSONPath? = nil
  ) -> InputField? {
    let isNullable = text.hasSuffix("?")
    let type = text.dropLast(isNullable ? 1 : 0).filter { $0 != " " }
    func field(
      _ type: ColumnType, _ encoding: TimestampEncoding = .text, isJSONText: Bool = false
    ) -> InputField {
      InputField(
        ColumnDefinition(name, type, isNullable: isNullable), timestampEncoding: encoding,
        origin: origin, path: path, isJSONText: isJSONText)
    }
    if type == "json" { return field(.string, isJSONText: true) }
    if let type = columnType(type) { return field(type) }
    for encoding in TimestampEncoding.allCases
    where encoding != .text && type == "timestamp(\(encoding.rawValue))" {
      return field(.timestamp, encoding)
    }
    return nil
  }
}
