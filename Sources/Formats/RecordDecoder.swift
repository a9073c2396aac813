package import Offsets
package import Tables

/// Turns messages into typed columns. What does not decode becomes a reject, one record at a time;
/// nothing vanishes.
///
/// A message holds one or more records, each ended by a newline or by the message's end; `\r\n`
/// will do. Blank lines are passed over, but a message without any record, an empty one and a null
/// one are rejects. A chunk of messages is first scanned, record by record, for where each field
/// lies; then it is converted field by field, so that no loop asks for a type twice. Nothing is
/// allocated per record.
package struct RecordDecoder {
  /// The declared fields, then the message's own that the job reads.
  package let schema: Schema

  let fields: [InputField]
  private let format: InputFormat
  private let messageFields: [MessageField]
  /// The position of the column that must hold a time.
  private let requiredTimeColumn: Int?
  private let recordByteLimit: Int
  private let messageByteLimit: Int
  /// Keeps every record as it came, for what is refused after decoding. Costs memory and time.
  package var keepsRecords = false
  private let json: JSONScanner
  private var integers: IntegerRecords?
  var scanned: ScannedRecords

  /// - Parameters:
  ///   - fields: In CSV found by position, in JSON by name.
  ///   - messageFields: In the order in which their columns follow the declared ones.
  ///   - requiredTimeColumn: The window's time: a record without it is a reject.
  ///   - messageByteLimit: A longer message is one reject, whatever it holds.
  ///   - takesShortcuts: False only in tests, to hold the short ways against the general one.
  package init(
    format: InputFormat, fields: [InputField], messageFields: [MessageField],
    requiredTimeColumn: String?, recordByteLimit: Int,
    messageByteLimit: Int = .max, takesShortcuts: Bool = true
  ) {
    self.format = format
    self.fields = fields
    self.messageFields = messageFields
    self.recordByteLimit = recordByteLimit
    self.messageByteLimit = messageByteLimit
    schema = Schema(fields.map(\.column) + messageFields.map(\.column))
    self.requiredTimeColumn = requiredTimeColumn.flatMap(schema.index)
    json = JSONScanner(names: fields.map(\.column.name))
    scanned = ScannedRecords(fieldCount: fields.count)
    integers =
      takesShortcuts
      ? IntegerRecords(
        format: format, fields: fields, recordByteLimit: recordByteLimit,
        messageByteLimit: messageByteLimit,
        needsTimestamp: requiredTimeColumn?.lowercased() == MessageField.timestamp.rawValue,
        needsKey: messageFields.contains(.key))
      : nil
  }

  /// Appends every record of the messages to the batch, in order, and closes the partition's rows.
  ///
  /// - Parameter partitionIndex: The partition's position in the plan.
  package mutating func decode(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32, partitionIndex: Int,
    into batch: inout RecordBatch
  ) {
    var rest = messages
    // Where the short way does not take messages again and again it is only a detour.
    var misses = 0
    while misses < 8, !rest.isEmpty, integers != nil, !keepsRecords {
      let count = decodeIntegers(rest, topic: topic, partition: partition, into: &batch)
      rest = UnsafeBufferPointer(rebasing: rest[count...])
      if rest.isEmpty { break }
      misses += 1
      decodeGenerally(
        UnsafeBufferPointer(rebasing: rest[..<1]), topic: topic, partition: partition,
        partitionIndex: partitionIndex, into: &batch)
      rest = UnsafeBufferPointer(rebasing: rest[1...])
    }
    if !rest.isEmpty {
      decodeGenerally(
        rest, topic: topic, partition: partition, partitionIndex: partitionIndex, into: &batch)
    }
    batch.closeRows(ofPartition: partitionIndex)
  }

  private mutating func decodeIntegers(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32,
    into batch: inout RecordBatch
  ) -> Int {
    guard let count = integers?.take(messages, into: &batch.columns) else { return 0 }
    for (place, field) in messageFields.enumerated() {
      for index in 0..<count {
        append(
          field, of: messages[index], topic: topic, partition: partition,
          to: &batch.columns[fields.count + place])
      }
    }
    for index in 0..<count { batch.offsets.append(messages[index].offset) }
    return count
  }

  private mutating func decodeGenerally(
    _ messages: UnsafeBufferPointer<Message>, topic: String, partition: Int32, partitionIndex: Int,
    into batch: inout RecordBatch
  ) {
    scanned.removeAllKeepingCapacity()
    for index in messages.indices { scan(messages[index], index) }

    let first = batch.rowCount
    for index in fields.indices { convert(field: index, of: messages, to: &batch.columns[index]) }
    for (place, field) in messageFields.enumerated() {
      let index = fields.count + place
      fill(
        field, index, of: messages, topic: topic, partition: partition, to: &batch.columns[index])
    }
    if let requiredTimeColumn {
      for row in scanned.places.indices where batch.columns[requiredTimeColumn].isNull[first + row]
      {
        scanned.refuse(row, Fault(.missingTimestamp, field: requiredTimeColumn))
      }
    }
    for place in scanned.places { batch.offsets.append(messages[Int(place.message)].offset) }
    if keepsRecords {
      for place in scanned.places {
        let bytes = messages[Int(place.message)].value.map { [UInt8]($0[place.range]) } ?? []
        batch.records.append(RecordBatch.RecordBytes(record: Int(place.record), bytes: bytes))
      }
    }

    if !scanned.faults.isEmpty {
      batch.removeRows(from: first, where: scanned.isRefused)
      for (row, fault) in scanned.faults.sorted(by: { $0.row < $1.row }) {
        batch.rejects.append(reject(row, fault, of: messages, partitionIndex: partitionIndex))
      }
    }
  }

  private func reject(
    _ row: Int, _ fault: Fault, of messages: UnsafeBufferPointer<Message>, partitionIndex: Int
  ) -> Reject {
    let place = scanned.places[row]
    let message = messages[Int(place.message)]
    let raw = message.value.map { [UInt8]($0[place.range].prefix(recordByteLimit)) }
    return Reject(
      partitionIndex: partitionIndex, offset: message.offset, record: Int(place.record),
      reason: fault.reason,
      field: fault.field.map { schema.columns[$0].name }, raw: raw)
  }

  // MARK: - Scanning

  private mutating func scan(_ message: Message, _ index: Int) {
    guard let value = message.value else {
      scanned.append(message: index, record: 0, 0..<0)
      scanned.refuse(scanned.places.count - 1, Fault(.malformed))
      return
    }
    if message.byteCount > messageByteLimit {
      scanned.append(message: index, record: 0, 0..<value.count)
      scanned.refuse(scanned.places.count - 1, Fault(.recordTooLarge))
      return
    }
    // A byte order mark belongs to no record (Unicode Standard, 23.8).
    let hasMark = value.count >= 3 && value[0] == 0xEF && value[1] == 0xBB && value[2] == 0xBF
    var position = hasMark ? 3 : 0
    var record = 0
    while position < value.count {
      // Blank lines between records are passed over.
      if value[position] == UInt8(ascii: "\n")
        || (value[position] == UInt8(ascii: "\r") && isLineEnd(value, position + 1))
      {
        position += 1
        continue
      }
      let start = position
      scanned.append(message: index, record: record, start..<start)
      var fault = format == .csv ? scanCSV(value, &position) : scanJSON(value, &position)
      let end = trimmedEnd(value, start, position)
      scanned.closeRecord(at: end)
      if end - start > recordByteLimit { fault = Fault(.recordTooLarge) }
      if let fault { scanned.refuse(scanned.places.count - 1, fault) }
      record += 1
    }
    if record == 0 {
      scanned.append(message: index, record: 0, 0..<value.count)
      scanned.refuse(scanned.places.count - 1, Fault(.malformed))
    }
  }

  private func isLineEnd(_ value: UnsafeRawBufferPointer, _ position: Int) -> Bool {
    position >= value.count || value[position] == UInt8(ascii: "\n")
  }

  private func trimmedEnd(_ value: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int {
    var end = end
    while end > start, value[end - 1] == UInt8(ascii: "\n") || value[end - 1] == UInt8(ascii: "\r")
    { end -= 1 }
    return end
  }

  @inline(__always)
  private mutating func scanCSV(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> Fault? {
    scanned.withTokensOfLastRecord { scanCSVRecord(value, &position, into: $0, unescaped: &$1) }
  }

  /// Finds the fields of the JSON object on one line and leaves `position` behind its newline,
  /// which no JSON text can hold.
  private mutating func scanJSON(_ value: UnsafeRawBufferPointer, _ position: inout Int) -> Fault? {
    let start = position
    while position < value.count, value[position] != UInt8(ascii: "\n") { position += 1 }
    let line = start..<position
    if position < value.count { position += 1 }
    return scanned.withTokensOfLastRecord { json.scan(value, line, into: $0, unescaped: &$1) }
  }
}

/// Why a record is refused, and the position of the column at fault.
struct Fault {
  let reason: Reject.Reason
  let field: Int?

  init(_ reason: Reject.Reason, field: Int? = nil) {
    self.reason = reason
    self.field = field
  }
}

/// Where a field's text lies, and what kind of text it is.
struct Token {
  enum Kind {
    case absent, null
    /// CSV without quotes, a CSV or JSON text in quotes without escapes, a JSON number.
    case plain, quoted, number
    /// A text in quotes that had doubled quotes or escapes: its bytes lie in
    /// ``ScannedRecords/unescaped``.
    case unescaped
    case isTrue, isFalse
    /// A JSON text that can not be UTF-8.
    case invalidText
    /// A JSON array or object.
    case composite
  }
  let kind: Kind
  // librdkafka's messages are smaller than 2 GiB (receive.message.max.bytes).
  private let start: Int32
  private let end: Int32

  init(_ kind: Kind, _ range: Range<Int>) {
    self.kind = kind
    start = Int32(range.lowerBound)
    end = Int32(range.upperBound)
  }

  var range: Range<Int> { Int(start)..<Int(end) }

  static let absent = Token(.absent, 0..<0)
}

/// The records of one chunk of messages: where they and their fields lie, and which of them are
/// refused. Its memory is used again and again.
struct ScannedRecords {
  struct Place {
    /// The message's position in the chunk.
    let message: Int32
    /// The record's number within its message.
    let record: Int32
    private let start: Int32
    private var end: Int32

    init(message: Int, record: Int, _ range: Range<Int>) {
      self.message = Int32(message)
      self.record = Int32(record)
      start = Int32(range.lowerBound)
      end = Int32(range.upperBound)
    }

    /// Its bytes in the message's value, without the line end.
    var range: Range<Int> { Int(start)..<Int(end) }

    mutating func close(at end: Int) { self.end = Int32(end) }
  }

  private(set) var places: [Place] = []
  /// One entry per record.
  private(set) var isRefused: [Bool] = []
  /// The first fault of each refused record, in no order.
  private(set) var faults: [(row: Int, fault: Fault)] = []
  /// `fieldCount` tokens a record; longer than needed.
  private var tokens: [Token] = []
  private let fieldCount: Int
  /// The bytes of texts that had escapes, of the whole chunk.
  private(set) var unescaped: [UInt8] = []

  init(fieldCount: Int) { self.fieldCount = fieldCount }

  mutating func removeAllKeepingCapacity() {
    places.removeAll(keepingCapacity: true)
    isRefused.removeAll(keepingCapacity: true)
    faults.removeAll(keepingCapacity: true)
    unescaped.removeAll(keepingCapacity: true)
  }

  @inline(__always)
  mutating func append(message: Int, record: Int, _ range: Range<Int>) {
    places.append(Place(message: message, record: record, range))
    isRefused.append(false)
    let needed = places.count * fieldCount
    if needed > tokens.count {
      tokens.append(contentsOf: repeatElement(.absent, count: max(needed, 1_024)))
    }
  }

  @inline(__always)
  mutating func closeRecord(at end: Int) { places[places.count - 1].close(at: end) }

  /// Keeps a record out of the batch; the first fault is the one that is told.
  mutating func refuse(_ row: Int, _ fault: Fault) {
    guard !isRefused[row] else { return }
    isRefused[row] = true
    faults.append((row, fault))
  }

  @inline(__always)
  mutating func withTokensOfLastRecord(
    _ body: (UnsafeMutableBufferPointer<Token>, inout [UInt8]) -> Fault?
  ) -> Fault? {
    let first = (places.count - 1) * fieldCount
    return tokens.withUnsafeMutableBufferPointer {
      body(UnsafeMutableBufferPointer(rebasing: $0[first..<first + fieldCount]), &unescaped)
    }
  }

  @inline(__always)
  func token(_ row: Int, _ field: Int) -> Token { tokens[row * fieldCount + field] }
}
