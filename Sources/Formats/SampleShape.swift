package import Offsets
package import Tables

/// What a sample of messages looks like: its format, and the fields of its records with the types
/// that take their values.
///
/// Pure. It counts and compares, and keeps no value: only the names of JSON members, and those of a
/// CSV header. Whether a type takes a value is asked of ``Conversion``, which a job's decoder asks
/// as well.
package struct SampleShape: Sendable, Equatable {
  package struct Field: Sendable, Equatable {
    /// Unlike any other, whatever the case of letters: of a JSON member, the keys of its path.
    package let name: String
    /// Of a JSON member, in what it is wrapped in, or of a column that a header names; nil for a
    /// column of a change event's row.
    package internal(set) var path: JSONPath?
    package let type: ColumnType
    package let timestampEncoding: TimestampEncoding
    /// Records with a value that the type takes, without one, and with one that it does not take.
    package let valueCount: Int
    package let nullCount: Int
    package let misfitCount: Int
    /// Different values.
    package let distinctCount: Int
    /// What would read all values of a string: whole numbers that stand in quotes. Else nil.
    package let quotedInteger: ColumnType?
    /// Whether every record has it, and none is a day or more ahead of its message's own time.
    package let isPossibleEventTime: Bool
    /// The median distance from the messages' own times; nil where one of both is missing.
    package let typicalDelayMilliseconds: Int64?

    package var inputField: InputField {
      InputField(
        ColumnDefinition(name, type, isNullable: nullCount > 0),
        timestampEncoding: timestampEncoding, path: path)
    }
  }

  package struct LeftOut: Sendable, Equatable {
    package enum Reason: Sendable, Equatable {
      /// Arrays, or objects without members.
      case nested
      case tooMany
    }
    package let name: String
    package let reason: Reason
  }

  package let format: InputFormat
  /// What is wrapped around most records.
  package let envelope: Envelope?
  package let csv: CSVDialect
  package let fields: [Field]
  package let leftOut: [LeftOut]
  /// Records that have these fields, without headers.
  package let recordCount: Int
  /// Records that do not: no JSON object, or another number of CSV fields.
  package let otherCount: Int
  /// Messages without a value.
  package let nullValueCount: Int
  /// CSV records that are a header, which names the fields.
  package let headerCount: Int
  /// Whether the fields have names of their own: of JSON members, or of a CSV header.
  package let hasNames: Bool
  /// Whether all messages have a time of their own.
  package let hasMessageTimes: Bool

  /// As many fields as a job file may have.
  package static let fieldLimit = 500
  /// So many bytes are looked at, and then no more than so many records.
  private static let byteLimit = 1 << 23
  private static let recordLimit = 10_000

  /// - Parameters:
  ///   - messages: The newest first.
  ///   - format: Nil where the messages tell.
  /// - Throws: ``SampleFault`` where no job can read them.
  package init(
    of messages: [CopiedMessage], as format: InputFormat? = nil
  ) throws(SampleFault) {
    let values = messages.compactMap(\.value)
    let format = try Self.format(of: values, wanted: format)
    let sample = Self.bounded(messages.filter { $0.value != nil })
    let result = sample.withMessages { lent in
      Result { () throws(SampleFault) in
        try SampleReader(lent, format, isFirstOfLog: sample.map { $0.offset == 0 }).shape()
      }
    }
    let read = try result.get()
    self.format = format
    envelope = read.envelope
    csv = read.csv
    fields = read.fields
    leftOut = read.leftOut
    recordCount = read.recordCount
    otherCount = read.otherCount
    headerCount = read.headerCount
    hasNames = read.hasNames
    nullValueCount = messages.count - values.count
    hasMessageTimes = messages.allSatisfy { $0.timestampMilliseconds != nil }
  }

  private static func format(
    of values: [[UInt8]], wanted: InputFormat?
  ) throws(SampleFault) -> InputFormat {
    let texts = values.filter { !$0.isEmpty }
    guard !texts.isEmpty else { throw values.isEmpty ? .noValues : .emptyValues }
    let kinds = texts.compactMap(BinaryKind.init)
    if 2 * kinds.count > texts.count {
      let most = Dictionary(grouping: kinds) { $0 }.max {
        ($0.value.count, $0.key.rawValue) < ($1.value.count, $1.key.rawValue)
      }
      throw .binary(most?.key ?? .other)
    }
    if let wanted { return wanted }
    return 2 * texts.count(where: SampleReader.looksLikeJSON) > texts.count ? .json : .csv
  }

  /// The first messages, as many as are to be looked at; of one that is too long, its first lines.
  private static func bounded(_ messages: [CopiedMessage]) -> [CopiedMessage] {
    var rest = byteLimit
    var taken: [CopiedMessage] = []
    for message in messages.prefix(recordLimit) where rest > 0 {
      let value = message.value ?? []
      var end = value.count
      if end > rest, let line = value[..<rest].lastIndex(of: UInt8(ascii: "\n")) { end = line }
      taken.append(
        CopiedMessage(
          partition: message.partition, offset: message.offset,
          timestampMilliseconds: message.timestampMilliseconds, key: nil,
          value: end == value.count ? value : Array(value[..<end])))
      rest -= end
    }
    return taken
  }
}

/// Why no job file can be made of a sample.
package enum SampleFault: Error, Equatable {
  case noMessages
  /// All messages have a null value, or an empty one.
  case noValues, emptyValues
  case binary(BinaryKind)
  /// They begin like JSON objects, and most are none.
  case malformedJSON
  /// CSV whose records have now so many fields, now so many.
  case unevenCSV
  case tooManyFields
  /// All members hold arrays.
  case noFields
}

/// What bytes that are not text most likely are.
package enum BinaryKind: String, Sendable {
  case gzip, zstd, avroFile, parquet
  /// A zero byte and the number of a schema: Avro, Protobuf or JSON in the framing of Confluent's
  /// registry.
  case schemaRegistry
  case other

  /// Nil for text.
  init?(_ bytes: [UInt8]) {
    if bytes.withUnsafeBytes(isValidText) { return nil }
    let starts: [(start: [UInt8], kind: BinaryKind)] = [
      ([0x1F, 0x8B], .gzip), ([0x28, 0xB5, 0x2F, 0xFD], .zstd), ([0x4F, 0x62, 0x6A, 1], .avroFile),
      (Array("PAR1".utf8), .parquet),
    ]
    if let known = starts.first(where: { bytes.starts(with: $0.start) }) {
      self = known.kind
    } else {
      self = bytes[0] == 0 && bytes.count > 5 ? .schemaRegistry : .other
    }
  }
}
