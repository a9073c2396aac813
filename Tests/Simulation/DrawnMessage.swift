import TestSupport

/// A message of a log with the records that its bytes hold, as the one knows them who wrote it.
struct DrawnMessage: Sendable {
  struct Record: Sendable {
    /// One per field of the job; nil where the bytes are no record at all.
    var values: [Value]?
    /// Without the line's end.
    var bytes: [UInt8]
  }

  /// Empty where the message has no value, or an empty one.
  var records: [Record] = []
  /// Nil for a null value.
  var bytes: [UInt8]?
  var key: [UInt8]?
  var keyIsText = true
  /// Nil for none.
  var timestampMilliseconds: Int64?

  /// Whether nobody could tell them apart.
  func isSame(as other: DrawnMessage) -> Bool {
    key == other.key && bytes == other.bytes && timestampMilliseconds == other.timestampMilliseconds
  }

  /// Of key and value.
  var byteCount: Int { (key?.count ?? 0) + (bytes?.count ?? 0) }

  /// - Parameter nextID: Numbers the records of a history.
  init(of job: DrawnJob, nextID: inout Int64, _ random: inout SeededRandom) {
    timestampMilliseconds = chance(4, &random) ? nil : Self.time(&random, from: 0)
    key = [nil, Array("one".utf8), Array("two".utf8)].randomElement(using: &random) ?? nil
    if chance(2, &random) { (key, keyIsText) = ([0xFF], false) }
    if chance(2, &random) {
      bytes = chance(50, &random) ? nil : []
      return
    }
    // A compacted topic is full of them.
    if job.skipsTombstones && chance(15, &random) {
      return
    }
    var text: [UInt8] = []
    let count = chance(88, &random) ? 1 : Int.random(in: 2...3, using: &random)
    for number in 0..<count {
      nextID += 1
      let record = Self.record(of: job, id: nextID, &random)
      records.append(record)
      text += record.bytes
      if number < count - 1 || chance(80, &random) { text.append(UInt8(ascii: "\n")) }
    }
    bytes = text
  }

  /// Within some minutes of 1970, half of them where a window of ten seconds ends.
  private static func time(_ random: inout SeededRandom, from first: Int64) -> Int64 {
    let milliseconds = Int64.random(in: first..<180_000, using: &random)
    guard chance(50, &random) else { return milliseconds }
    return max(first, milliseconds / 10_000 * 10_000 - Int64.random(in: 0...1, using: &random))
  }

  private static func record(of job: DrawnJob, id: Int64, _ random: inout SeededRandom) -> Record {
    if chance(5, &random) { return Record(values: nil, bytes: Array("oops \(id)".utf8)) }
    let values = job.fields.map { field in
      field.name == "id"
        ? .integer(id)
        : chance(field.isNullable ? 25 : 1, &random) ? .null : value(of: field, &random)
    }
    let bytes = job.input == .csv ? csv(values, job, &random) : json(values, job, &random)
    return Record(values: values, bytes: bytes)
  }

  private static let texts = [
    "a", "b", "", "\u{e9}", "e\u{301}", "x,y", "say \"hi\"", "two\nlines",
  ].map(Value.init)

  private static func value(of field: Definition, _ random: inout SeededRandom) -> Value {
    switch field.type {
    case .int32 where field.name == "k": .integer(Int64.random(in: 0...3, using: &random))
    case .int32, .int64: .integer(Int64.random(in: -2...9, using: &random))
    case .uint64:
      .unsigned([0, 1, 1 << 63 - 1, 1 << 63, .max].randomElement(using: &random) ?? 0)
    case .bool: .integer(Int64.random(in: 0...1, using: &random))
    // Quarters: their sums are exact in any order.
    case .double: .double(Double(Int64.random(in: -12...12, using: &random)) / 4)
    case .string: texts.randomElement(using: &random) ?? .null
    case .decimal: .integer(Int64.random(in: -150...150, using: &random))
    case .timestamp: .integer(time(&random, from: -180_000))
    }
  }

  // MARK: - Bytes

  private static func csv(_ values: [Value], _ job: DrawnJob, _ random: inout SeededRandom)
    -> [UInt8]
  {
    var bytes: [UInt8] = []
    for (field, value) in zip(job.fields, values) {
      if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
      switch value {
      case .null:
        // An empty field is NULL too where the field is a nullable one of another type than text.
        if field.type == .string || !field.isNullable || chance(50, &random) { bytes += "\\N".utf8 }
      case .text(let text):
        let isPlain = !text.isEmpty && !text.contains { "\",\n".utf8.contains($0) }
        if isPlain && chance(50, &random) {
          bytes += text
        } else {
          bytes.append(UInt8(ascii: "\""))
          for byte in text { bytes += byte == UInt8(ascii: "\"") ? [byte, byte] : [byte] }
          bytes.append(UInt8(ascii: "\""))
        }
      default:
        let text = plain(value, field, job.timeEncoding, &random)
        bytes += (field.type == .timestamp && chance(50, &random) ? "\"\(text)\"" : text).utf8
      }
    }
    return bytes
  }

  private static func json(_ values: [Value], _ job: DrawnJob, _ random: inout SeededRandom)
    -> [UInt8]
  {
    var members: [[UInt8]] = []
    for (field, value) in zip(job.fields, values) {
      let name = Array("\"\(field.name)\":".utf8)
      switch value {
      case .null: if chance(50, &random) { members.append(name + "null".utf8) }
      case .text(let text): members.append(name + jsonText(text))
      case .integer(let flag) where field.type == .bool:
        members.append(name + (flag == 0 ? "false" : "true").utf8)
      default:
        let text = plain(value, field, job.timeEncoding, &random)
        members.append(
          name + (field.type == .timestamp && job.timeEncoding == .text ? "\"\(text)\"" : text).utf8
        )
      }
    }
    members.shuffle(using: &random)
    return Array("{".utf8) + members.joined(separator: ",".utf8) + "}".utf8
  }

  private static func plain(
    _ value: Value, _ field: Definition, _ encoding: DrawnJob.TimeEncoding,
    _ random: inout SeededRandom
  ) -> String {
    switch (value, field.type) {
    case (.double(let number), _): return "\(number)"
    case (.integer(let flag), .bool):
      return chance(50, &random) ? "\(flag)" : flag == 0 ? "false" : "true"
    case (.integer(let units), .decimal(_, let scale)): return Texts.decimal(units, scale: scale)
    case (.integer(let milliseconds), .timestamp):
      switch encoding {
      case .text:
        return chance(50, &random)
          ? Texts.time(milliseconds)
          : String(Texts.time(milliseconds).dropLast()).replacing("T", with: " ")
      case .seconds: return Texts.decimal(milliseconds, scale: 3)
      case .milliseconds: return "\(milliseconds)"
      }
    case (.integer(let number), _): return "\(number)"
    case (.unsigned(let number), _): return "\(number)"
    case (.null, _), (.text, _): preconditionFailure("\(value) has no plain text")
    }
  }
}

/// A text as JSON writes it.
func jsonText(_ text: [UInt8]) -> [UInt8] {
  var bytes = [UInt8(ascii: "\"")]
  for byte in text {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
    case UInt8(ascii: "\n"): bytes += "\\n".utf8
    default: bytes.append(byte)
    }
  }
  return bytes + [UInt8(ascii: "\"")]
}
