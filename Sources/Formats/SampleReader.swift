internal import Offsets
internal import Tables

/// Reads the records of a sample whose fields nobody has declared, for ``SampleShape``.
struct SampleReader {
  struct Result {
    var fields: [SampleShape.Field] = []
    var leftOut: [SampleShape.LeftOut] = []
    var envelope: Envelope?
    var recordCount = 0
    var otherCount = 0
    var headerCount = 0
    var hasNames = false
    var csv = CSVDialect.standard
  }

  private let messages: UnsafeBufferPointer<Message>
  private let format: InputFormat
  /// Of each message whether it is the first of its partition's log.
  private let isFirstOfLog: [Bool]
  private var csv = CSVDialect.standard

  /// - Parameter messages: With values.
  init(
    _ messages: UnsafeBufferPointer<Message>, _ format: InputFormat, isFirstOfLog: [Bool]
  ) {
    self.messages = messages
    self.format = format
    self.isFirstOfLog = isFirstOfLog
  }

  func shape() throws(SampleFault) -> Result {
    guard format == .csv else { return try shape(fieldCount: 0) }
    let withCommas = Swift.Result { () throws(SampleFault) in try fieldCount() }
    switch withCommas {
    case .success(let count) where count > 1: return try shape(fieldCount: count)
    case .failure(.tooManyFields): throw .tooManyFields
    case .success, .failure: break
    }
    for delimiter in ";\t|".utf8 {
      var reader = self
      reader.csv.delimiter = delimiter
      if let count = try? reader.fieldCount(), count > 1 {
        return try reader.shape(fieldCount: count)
      }
    }
    return try shape(fieldCount: withCommas.get())
  }

  private func shape(fieldCount: Int) throws(SampleFault) -> Result {
    var result = Result()
    result.csv = csv
    let fields: [InputField]
    switch format {
    case .json:
      let records = scan([]).records
      result.envelope = envelope(of: records)
      (fields, result.leftOut) = try members(of: records, result.envelope)
      result.hasNames = true
    case .csv:
      fields = (1...fieldCount).map { InputField(ColumnDefinition("field_\($0)", .string)) }
    }
    var scanned = scan(fields, result.envelope)
    result.otherCount = scanned.records.isRefused.count { $0 }
    var found = self.found(fields, scanned)
    if format == .csv, let header = header(of: scanned, found) {
      result.headerCount = header.rows.count
      result.hasNames = true
      if header.rows.count == Set(scanned.records.records.map(\.message)).count {
        result.csv.header = .perMessage
      }
      for row in header.rows { scanned.records.refuse(row, Fault(.malformed)) }
      found = header.fields
    }
    result.recordCount = scanned.records.isRefused.count { !$0 }
    for field in found {
      guard let field else { continue }
      result.fields.append(result.csv.header == .perMessage ? field.ofColumn : field)
    }
    for (field, found) in zip(fields, found) where found == nil {
      result.leftOut.append(SampleShape.LeftOut(name: field.column.name, reason: .nested))
    }
    if result.fields.isEmpty { throw .noFields }
    return result
  }

  /// Whether a message begins with an object, or is an array of values.
  static func looksLikeJSON(_ value: [UInt8]) -> Bool {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let first = value.dropFirst(value.starts(with: mark) ? 3 : 0)
      .first { !isBlank($0) && $0 != 0x0A && $0 != 0x0D }
    guard first == UInt8(ascii: "[") else { return first == UInt8(ascii: "{") }
    let message = CopiedMessage(
      partition: PartitionID(source: "", topic: "", partition: 0), offset: 0,
      timestampMilliseconds: nil, key: nil, value: value)
    return [message].withMessages { lent in
      let scanned = SampleReader(lent, .json, isFirstOfLog: [false]).scan([])
      return scanned.records.isRefused.contains(false)
    }
  }

  // MARK: - Records

  /// Records, and where in them the tokens of fields lie.
  private struct Scan {
    var records: ScannedRecords
    /// Of each field, the slot that holds its token.
    let slots: [Int]
    let nullTexts: NullTexts?

    func token(_ row: Int, _ field: Int) -> Token { records.token(row, slots[field]) }
  }

  /// All records with these fields.
  private func scan(_ fields: [InputField], _ envelope: Envelope? = nil) -> Scan {
    let source = ValueSource(format, fields: fields, csv: csv, envelope: envelope)
    var columns = CSVColumns(fields, .none)
    let slots = source.slots(fields, columns)
    let framing = Framing(
      recordByteLimit: .max, messageByteLimit: .max, tombstones: .reject)
    var scanned = ScannedRecords(slotCount: slots.count)
    for index in messages.indices {
      framing.frame(messages[index], index, source, &columns, into: &scanned)
    }
    return Scan(records: scanned, slots: slots.ofFields, nullTexts: source.nullTexts)
  }

  private func bytes(_ record: ScannedRecords.FramedRecord) -> UnsafeRawBufferPointer {
    guard let value = messages[Int(record.message)].value else {
      return UnsafeRawBufferPointer(start: nil, count: 0)
    }
    return UnsafeRawBufferPointer(rebasing: value[record.range])
  }

  /// The objects that stand at a path, of the records that have one there.
  private func objects(at path: String, _ envelope: Envelope?) -> [Int: UnsafeRawBufferPointer] {
    let part = InputField(ColumnDefinition("part", .string), path: JSONPath(path))
    let scanned = scan([part], envelope)
    var objects: [Int: UnsafeRawBufferPointer] = [:]
    for (row, record) in scanned.records.records.enumerated()
    where !scanned.records.isRefused[row] {
      let token = scanned.token(row, 0)
      guard token.kind == .composite, let value = messages[Int(record.message)].value,
        value[token.range.lowerBound] == UInt8(ascii: "{")
      else { continue }
      objects[row] = UnsafeRawBufferPointer(rebasing: value[token.range])
    }
    return objects
  }

  /// What more than half of the objects are wrapped in.
  private func envelope(of records: ScannedRecords) -> Envelope? {
    let objectCount = records.isRefused.count { !$0 }
    // An event of Debezium's says where it comes from.
    if 2 * objects(at: "$.source", .debezium).count > objectCount { return .debezium }
    let payloads = objects(at: "$.payload", nil)
    let schemas = objects(at: "$.schema", nil)
    return 2 * payloads.keys.count { schemas[$0] != nil } > objectCount ? .connect : nil
  }

  private func members(
    of scanned: ScannedRecords, _ envelope: Envelope?
  ) throws(SampleFault) -> ([InputField], [SampleShape.LeftOut]) {
    var paths = JSONMemberPaths()
    let rows =
      switch envelope {
      case nil: [:] as [Int: UnsafeRawBufferPointer]
      case .connect: objects(at: "$.payload", nil)
      case .debezium:
        objects(at: "$.before", envelope).merging(objects(at: "$.after", envelope)) { $1 }
      }
    for (row, record) in scanned.records.enumerated() where !scanned.isRefused[row] {
      if let object = rows[row] {
        paths.add(object)
      } else if envelope != .debezium {
        paths.add(bytes(record))
      }
    }
    let objectCount = scanned.isRefused.count { !$0 }
    guard 2 * objectCount >= scanned.count, !paths.all.isEmpty else { throw .malformedJSON }
    var taken: Set<String> = []
    var fields: [InputField] = []
    func append(_ name: String, _ path: (String) -> JSONPath?) {
      var free = name
      var number = 2
      while !taken.insert(free.lowercased()).inserted {
        free = "\(name)_\(number)"
        number += 1
      }
      fields.append(InputField(ColumnDefinition(free, .string), path: path(free)))
    }
    let ofEvent = envelope == .debezium ? ["$.op", "$.source.ts_ms"].compactMap(JSONPath.init) : []
    let limit = SampleShape.fieldLimit - ofEvent.count
    for path in paths.all.prefix(limit) {
      append(name(of: path)) { name in
        guard envelope == .debezium else { return path }
        // Of a row, by its name alone it is found in a deletion, too.
        return path == JSONPath([.key(name)]) ? nil : JSONPath([.key("after")] + path.steps)
      }
    }
    for path in ofEvent { append(name(of: path)) { _ in path } }
    return (
      fields,
      paths.all.dropFirst(limit).map {
        SampleShape.LeftOut(name: name(of: $0), reason: .tooMany)
      }
    )
  }

  /// `user.id`
  private func name(of path: JSONPath) -> String {
    path.steps.map { step in
      switch step {
      case .key(let key): key
      case .element(let position): String(position)
      }
    }.joined(separator: ".")
  }

  /// The number of fields that most records have.
  private func fieldCount() throws(SampleFault) -> Int {
    let records = scan([]).records.records.map(bytes)
    let scanner = CSVScanner(csv)
    let counts = records.map { record in
      scanner.fieldCount(of: record).map { min($0, SampleShape.fieldLimit + 1) }
    }
    let numbers = Dictionary(counts.map { ($0, 1) }, uniquingKeysWith: +)
    guard
      let (most, number) = numbers.max(by: { ($0.value, $0.key ?? 0) < ($1.value, $1.key ?? 0) })
    else { throw .emptyValues }
    guard let count = most, 5 * number >= 4 * records.count else { throw .unevenCSV }
    guard count <= SampleShape.fieldLimit else { throw .tooManyFields }
    return count
  }

  // MARK: - Headers

  private struct Header {
    let rows: [Int]
    let fields: [SampleShape.Field?]
  }

  /// A record that stands first in messages of several records, or in the log, and whose texts
  /// would be names, where only the other records' values are of another type.
  private func header(of scanned: Scan, _ fields: [SampleShape.Field?]) -> Header? {
    var lineCounts = [Int](repeating: 0, count: messages.count)
    for record in scanned.records.records { lineCounts[Int(record.message)] += 1 }
    var candidates: [[String]: [Int]] = [:]
    for (row, record) in scanned.records.records.enumerated()
    where !scanned.records.isRefused[row] {
      let message = Int(record.message)
      guard record.number == 0, lineCounts[message] > 1 || isFirstOfLog[message],
        let names = names(row, scanned, count: fields.count)
      else { continue }
      candidates[names, default: []].append(row)
    }
    let most = candidates.max { ($0.value.count, $1.value[0]) < ($1.value.count, $0.value[0]) }
    guard let (names, rows) = most, rows.count < scanned.records.count else { return nil }
    let severalCount = lineCounts.count { $0 > 1 }
    guard 2 * rows.count >= severalCount else { return nil }
    var others = scanned
    for row in rows { others.records.refuse(row, Fault(.malformed)) }
    let found = self.found(names.map { InputField(ColumnDefinition($0, .string)) }, others)
    let isHeader = zip(fields, found).contains { with, without in
      guard let with, let without, without.type != .string, without.valueCount > 0 else {
        return false
      }
      return with.type != without.type || with.misfitCount > without.misfitCount
    }
    return isHeader ? Header(rows: rows, fields: found) : nil
  }

  /// Nil unless all fields could be names, and different ones.
  private func names(_ row: Int, _ scanned: Scan, count: Int) -> [String]? {
    var names: [String] = []
    for index in 0..<count {
      let text = text(row, index, scanned)
      guard let first = text.first, isLetter(first), text.count <= 64,
        text.allSatisfy({ isLetter($0) || decimalDigit($0) != nil || " -.".utf8.contains($0) })
      else { return nil }
      names.append(String(decoding: text, as: UTF8.self))
    }
    return Set(names.map { $0.lowercased() }).count == count ? names : nil
  }

  private func isLetter(_ byte: UInt8) -> Bool {
    (0x61...0x7A).contains(byte | 0x20) || byte == UInt8(ascii: "_")
  }

  // MARK: - Fields

  /// A field as it came, without quotes and the blanks around it.
  private func text(_ row: Int, _ index: Int, _ scanned: Scan) -> ArraySlice<UInt8> {
    let message = Int(scanned.records.records[row].message)
    guard let value = messages[message].value,
      let bytes = scanned.records.firstBytes(
        row, scanned.slots[index], in: value, atMost: .max)
    else { return [] }
    var text = bytes[...]
    while let first = text.first, isBlank(first) { text.removeFirst() }
    while let last = text.last, isBlank(last) { text.removeLast() }
    return text
  }

  /// What the fields are; nil for one that holds objects or arrays.
  private func found(_ fields: [InputField], _ scanned: Scan) -> [SampleShape.Field?] {
    let isAllQuoted = format == .csv && isAllQuoted(scanned)
    return fields.indices.map { index in
      var writing = writing(of: index, scanned)
      // In quotes stands a text, unless CSV is written with quotes around everything.
      writing.isText =
        format == .json
        ? writing.numbers == 0 : writing.quoted == writing.present && !isAllQuoted
      return field(index, fields[index], writing, scanned)
    }
  }

  private func field(
    _ index: Int, _ field: InputField, _ writing: Writing, _ scanned: Scan
  ) -> SampleShape.Field? {
    if 2 * writing.composites > writing.present { return nil }
    let (type, encoding) = chosen(index, field.column.name, writing, scanned)
    let isQuotedInteger =
      type == .string && writing.present > 0 && writing.quoted == writing.present
      && writing.integers == writing.present
    let quotedInteger =
      isQuotedInteger
      ? [.int64, .uint64].first { trial(index, $0, .text, scanned).refused == 0 } : nil
    return described(
      field, trial(index, type, encoding, scanned), encoding, quotedInteger: quotedInteger, scanned)
  }

  /// How the values of a field are written.
  private struct Writing {
    /// Values; an empty field of CSV without quotes is none.
    var present = 0
    var numbers = 0
    var quoted = 0
    var bools = 0
    var composites = 0
    var integers = 0
    var leadingZeros = 0
    var exponents = 0
    /// By the number of digits behind the point.
    var fixedPoint: [Int: Int] = [:]
    var mostWholeDigits = 0
    /// Whether what looks like a number is a text.
    var isText = false

    var fractions: Int { fixedPoint.values.reduce(0, +) }

    /// Few exceptions do not make another type.
    func isMost(_ count: Int) -> Bool { count > 0 && 20 * count >= 19 * present }
  }

  private func writing(of index: Int, _ scanned: Scan) -> Writing {
    var writing = Writing()
    for row in 0..<scanned.records.count where !scanned.records.isRefused[row] {
      switch scanned.token(row, index).kind {
      case .absent, .null: continue
      case .isTrue, .isFalse: writing.bools += 1
      case .composite: writing.composites += 1
      case .invalidText: break
      case .number: writing.numbers += 1
      case .quoted, .unescaped: writing.quoted += 1
      case .plain: if text(row, index, scanned).isEmpty { continue }
      }
      writing.present += 1
      classify(text(row, index, scanned), &writing)
    }
    return writing
  }

  private func classify(_ text: ArraySlice<UInt8>, _ writing: inout Writing) {
    let digits = text.first == UInt8(ascii: "-") ? text.dropFirst() : text
    let whole = digits.prefix { decimalDigit($0) != nil }
    guard !whole.isEmpty else { return }
    let rest = digits.dropFirst(whole.count)
    if whole.count > 1, whole.first == UInt8(ascii: "0") {
      writing.leadingZeros += 1
    } else if rest.isEmpty {
      writing.integers += 1
    } else if rest.first == UInt8(ascii: "."), rest.count > 1,
      rest.dropFirst().allSatisfy({ decimalDigit($0) != nil })
    {
      writing.fixedPoint[rest.count - 1, default: 0] += 1
      writing.mostWholeDigits = max(writing.mostWholeDigits, whole.count)
    } else if rest.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }) {
      writing.exponents += 1
    }
  }

  /// The first type that takes all values, but a string only where no other takes almost all: it
  /// takes whatever comes.
  private func chosen(
    _ index: Int, _ name: String, _ writing: Writing, _ scanned: Scan
  ) -> (ColumnType, TimestampEncoding) {
    if writing.present == 0 { return (.string, .text) }
    var almost: (ColumnType, TimestampEncoding)?
    for (type, encoding) in candidates(index, name, writing, scanned) {
      let trial = trial(index, type, encoding, scanned)
      if trial.refused == 0 && trial.taken > 0 { return (type, encoding) }
      if almost == nil && 20 * trial.taken >= 19 * (trial.taken + trial.refused) {
        almost = (type, encoding)
      }
    }
    return almost ?? (.string, .text)
  }

  /// What else than strings the values may be by the way they are written, the narrowest first.
  private func candidates(
    _ index: Int, _ name: String, _ writing: Writing, _ scanned: Scan
  ) -> [(ColumnType, TimestampEncoding)] {
    var types: [(ColumnType, TimestampEncoding)] = []
    let numberCount = writing.integers + writing.fractions + writing.exponents
    if !writing.isText, writing.leadingZeros == 0, writing.isMost(numberCount) {
      if let encoding = unixEncoding(index, name, scanned) { types.append((.timestamp, encoding)) }
      if writing.isMost(writing.integers) { types += [(.int64, .text), (.uint64, .text)] }
      if let scale = scale(writing) { types.append((.decimal(precision: 18, scale: scale), .text)) }
      // Digits beyond a uint64's are an identifier.
      if writing.fractions + writing.exponents > 0 { types.append((.double, .text)) }
    }
    if format == .json ? writing.bools > 0 : writing.integers == 0 { types.append((.bool, .text)) }
    return types + [(.timestamp, .text)]
  }

  /// Whether no value of the whole sample stands without quotes.
  private func isAllQuoted(_ scanned: Scan) -> Bool {
    for row in 0..<scanned.records.count where !scanned.records.isRefused[row] {
      for index in scanned.slots.indices
      where scanned.token(row, index).kind == .plain && !text(row, index, scanned).isEmpty {
        return false
      }
    }
    return true
  }

  /// Of an amount that is always written with the same number of digits behind the point. A few
  /// numbers of JSON, which drops zeros at the end, do not show it.
  private func scale(_ writing: Writing) -> Int? {
    guard let (scale, count) = writing.fixedPoint.first, writing.fixedPoint.count == 1,
      writing.isMost(count), (2...6).contains(scale), writing.mostWholeDigits + scale <= 18,
      format == .csv || count >= 20
    else { return nil }
    return scale
  }

  /// The unit in which the numbers are times of the years 2000 to 2099. Milliseconds and
  /// microseconds are told by their size; seconds could be any number, so they have to be near to
  /// the messages' own times, or be called like a time.
  private func unixEncoding(
    _ index: Int, _ name: String, _ scanned: Scan
  ) -> TimestampEncoding? {
    let instants: Range<Int64> = 946_684_800_000..<4_102_444_800_000
    let year: UInt64 = 366 * 86_400_000
    for encoding in TimestampEncoding.allCases where encoding != .text {
      let trial = trial(index, .timestamp, encoding, scanned)
      guard trial.taken > 0,
        trial.rows.allSatisfy({ instants.contains(trial.column.integers[$0]) })
      else { continue }
      if encoding != .unixSeconds || isNamedLikeTime(name) { return encoding }
      let distances = trial.rows.map { distance($0, trial.column, scanned) }
      return distances.allSatisfy { $0.map { $0.magnitude <= year } ?? false } ? encoding : nil
    }
    return nil
  }

  private func isNamedLikeTime(_ name: String) -> Bool {
    var words: [String] = [""]
    for character in name {
      if character.isUppercase || !(character.isLetter || character.isNumber) { words.append("") }
      if character.isLetter { words[words.count - 1] += character.lowercased() }
    }
    let known = ["at", "date", "datetime", "epoch", "time", "timestamp", "ts", "when", "unix"]
    return words.contains(where: known.contains) || known.contains(name.lowercased())
  }

  /// From the message's own time to a record's; nil where the message has none.
  private func distance(_ row: Int, _ column: Column, _ scanned: Scan) -> Int64? {
    messages[Int(scanned.records.records[row].message)].timestampMilliseconds.map {
      column.integers[row] - $0
    }
  }

  // MARK: - Trials

  /// The records as a type takes them.
  private struct Trial {
    let column: Column
    /// Those with a value that it takes.
    let rows: [Int]
    let nulls: Int
    let refused: Int
    var taken: Int { rows.count }
  }

  private func trial(
    _ index: Int, _ type: ColumnType, _ encoding: TimestampEncoding, _ scanned: Scan
  ) -> Trial {
    let field = InputField(
      ColumnDefinition("field", type, isNullable: true), timestampEncoding: encoding)
    let conversion = Conversion(
      fields: Array(repeating: field, count: index + 1), slots: scanned.slots,
      nullTexts: scanned.nullTexts)
    var column = Column(type)
    var tried = scanned.records
    conversion.convert(index, of: messages, &tried, to: &column)
    var rows: [Int] = []
    var (nulls, refused) = (0, 0)
    for row in 0..<scanned.records.count where !scanned.records.isRefused[row] {
      if tried.isRefused[row] {
        refused += 1
      } else if column.isNull[row] {
        nulls += 1
      } else {
        rows.append(row)
      }
    }
    return Trial(column: column, rows: rows, nulls: nulls, refused: refused)
  }

  private func described(
    _ field: InputField, _ trial: Trial, _ encoding: TimestampEncoding,
    quotedInteger: ColumnType?, _ scanned: Scan
  ) -> SampleShape.Field {
    let column = trial.column
    let distances =
      column.type == .timestamp ? trial.rows.map { distance($0, column, scanned) } : []
    let known = distances.compactMap { $0.map { Int64(clamping: $0.magnitude) } }.sorted()
    return SampleShape.Field(
      name: field.column.name, path: field.path, type: column.type, timestampEncoding: encoding,
      valueCount: trial.taken,
      nullCount: trial.nulls, misfitCount: trial.refused,
      distinctCount: distinctCount(trial), quotedInteger: quotedInteger,
      isPossibleEventTime: column.type == .timestamp && trial.taken > 0 && trial.nulls == 0
        && trial.refused == 0 && distances.allSatisfy { $0.map { $0 <= 86_400_000 } ?? true },
      typicalDelayMilliseconds: known.isEmpty ? nil : known[known.count / 2])
  }

  private func distinctCount(_ trial: Trial) -> Int {
    let column = trial.column
    return switch column.type.storage {
    case .integers: Set(trial.rows.map { column.integers[$0] }).count
    case .doubles: Set(trial.rows.map { column.doubles[$0] }).count
    case .text: Set(trial.rows.map { row in column.text.withBytes(of: row) { Array($0) } }).count
    }
  }
}

extension SampleShape.Field {
  /// The same, found by its name in a header.
  fileprivate var ofColumn: SampleShape.Field {
    var field = self
    field.path = JSONPath([.key(name)])
    return field
  }
}
