import Formats
import Foundation
import Offsets
import Tables
import TestSupport

/// Holds our scanners against independent ones: a reader of RFC 4180 written here a character at a
/// time, and Foundation's JSON.
struct ReaderFuzzer {
  /// By the number of their fields, less one, and their dialect.
  private var csvDecoders: [[RecordDecoder]]
  private static let dialects = [
    CSVDialect.standard, CSVDialect(delimiter: UInt8(ascii: ";"), quote: UInt8(ascii: "'")),
    CSVDialect(delimiter: 0x09, trims: true), CSVDialect(quote: nil, trims: true),
    CSVDialect(header: .perMessage), CSVDialect(header: .perMessage, trims: true),
  ]
  private var jsonDecoder: RecordDecoder

  init() {
    func decoder(
      _ format: InputFormat, _ fields: [(String, ColumnType)], _ csv: CSVDialect = .standard
    ) -> RecordDecoder {
      RecordDecoder(
        format: format,
        fields: fields.map { InputField(ColumnDefinition($0.0, $0.1, isNullable: true)) },
        csv: csv, messageFields: [], requiredTimeColumn: nil, recordByteLimit: 1_000_000)
    }
    csvDecoders = (1...3).map { count in
      Self.dialects.map { dialect in
        decoder(.csv, (0..<count).map { (Self.names[$0], .string) }, dialect)
      }
    }
    jsonDecoder = decoder(.json, [("a", .string), ("b", .int64), ("c", .double), ("d", .bool)])
  }

  // MARK: - CSV

  private static let csvCorpus = texts(
    "a,b,c\n", "1,\"x, y\",3\r\n4,5,6\n", "\"he said \"\"no\"\"\",,\\N\n",
    "\"two\nlines\",\"\",é\n", "one\n\ntwo\r\n\r\n",
    "\"\"\"\"\n", "\"open", "\"a\"b\n", "a\"b\"c,d\n", "\\N,\"\\N\",\\n\n", "\r", "\"x\"\r",
    "a\r\r\n", "\u{FEFF}a,\"b\"\n", "\n\n", ",,\n", "😀,\u{7F}\n",
    "a;'b;c'\n1;'x''y'\n", "a\t \"b\" \t c\r\n \t\"\"\t\\N \n", "b,x,a\n1,2,3\n4,5,6\n",
    "c , \"a\",a\n1,2,3\n", "\"a\",b\n\n7,8\n9\n", "eight bytes and more,b,a\n")
  private static let names = ["a", "b", "c"]

  mutating func csv(_ random: inout SeededRandom) -> String? {
    let bytes = random.mutated(Self.csvCorpus)
    for index in csvDecoders.indices {
      let kind = Int.random(in: Self.dialects.indices, using: &random)
      let dialect = Self.dialects[kind]
      let batch = decoded(&csvDecoders[index][kind], [Sample(value: bytes)])
      let expected = Self.outcomes(bytes, fieldCount: index + 1, dialect)
      let ours = Self.outcomes(batch)
      if ours != expected {
        return
          "\(index + 1) fields of \(shown(bytes)) are \(ours), and \(expected) by the other "
          + "reader, in \(dialect)"
      }
    }
    return nil
  }

  /// What becomes of a record: its fields, or why it is refused.
  private enum RecordOutcome: Equatable {
    case fields([[UInt8]?])
    case refused(Reject.Reason)
  }

  /// Rows and rejects in the order of their records; the rows have no numbers, but only rows lie
  /// between rejects.
  private static func outcomes(_ batch: RecordBatch) -> [RecordOutcome] {
    var outcomes: [RecordOutcome] = []
    var row = 0
    func appendRow() {
      outcomes.append(
        .fields(
          batch.columns.map { column in
            column.isNull[row] ? nil : column.text.withBytes(of: row) { [UInt8]($0) }
          }))
      row += 1
    }
    for reject in batch.rejects {
      while outcomes.count < reject.record, row < batch.rowCount { appendRow() }
      outcomes.append(.refused(reject.reason))
    }
    while row < batch.rowCount { appendRow() }
    return outcomes
  }

  /// A byte order mark at the start belongs to no record.
  private static func withoutMark(_ bytes: [UInt8]) -> [UInt8] {
    bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
  }

  private struct Field {
    var bytes: [UInt8] = []
    var isQuoted = false
  }

  private static func outcomes(
    _ bytes: [UInt8], fieldCount: Int, _ dialect: CSVDialect
  ) -> [RecordOutcome] {
    var outcomes: [RecordOutcome] = []
    var records = records(withoutMark(bytes), dialect)
    var columns = names.prefix(fieldCount).map { Array($0.utf8) }
    let hasHeader = dialect.header == .perMessage && !records.isEmpty
    if hasHeader {
      guard let header = records.removeFirst() else { return [.refused(.malformed)] }
      columns = header.map(\.bytes)
    }
    let places = names.prefix(fieldCount).map { name in
      columns.indices.filter { columns[$0] == Array(name.utf8) }
    }
    for record in records {
      guard let record else {
        // Nothing behind a quote that is not closed can be told apart.
        outcomes.append(.refused(.malformed))
        continue
      }
      let fields = places.map { $0.first.flatMap { $0 < record.count ? record[$0] : nil } }
      if places.contains(where: { $0.count > 1 }) {
        outcomes.append(.refused(.duplicateField))
      } else if record.count != columns.count {
        outcomes.append(.refused(record.count < columns.count ? .missingField : .extraField))
      } else if fields.contains(where: { field in
        guard let field else { return false }
        return String(validating: field.bytes, as: UTF8.self) == nil || field.bytes.contains(0)
      }) {
        outcomes.append(.refused(.invalidText))
      } else {
        outcomes.append(
          .fields(
            fields.map { field in
              guard let field, field.isQuoted || field.bytes != Array("\\N".utf8) else {
                return nil
              }
              return field.bytes
            }))
      }
    }
    return outcomes.isEmpty && !hasHeader ? [.refused(.malformed)] : outcomes
  }

  /// RFC 4180 with the dialect and what the decoder's comment adds: lines may end in LF alone,
  /// blank ones are passed over, and a quote within an unquoted field is a character like another.
  /// Nil for a record that ends the message malformed.
  private static func records(_ bytes: [UInt8], _ dialect: CSVDialect) -> [[Field]?] {
    var records: [[Field]?] = []
    var record: [Field] = []
    var field = Field()
    enum State { case start, plain, quoted, closed }
    var state = State.start
    var isFirstByte = true
    func isEnd(_ index: Int) -> Bool { index >= bytes.count }
    func isBlank(_ byte: UInt8) -> Bool {
      dialect.trims && (byte == 0x20 || byte == 0x09) && byte != dialect.delimiter
    }
    func endField() {
      if !field.isQuoted {
        while let last = field.bytes.last, isBlank(last) { field.bytes.removeLast() }
      }
      record.append(field)
      (field, state) = (Field(), .start)
    }
    func endRecord(isBlankLine: Bool) {
      endField()
      if !isBlankLine { records.append(record) }
      (record, isFirstByte) = ([], true)
    }
    var index = 0
    while !isEnd(index) {
      let byte = bytes[index]
      let isLineEnd =
        byte == 0x0A || (byte == 0x0D && (isEnd(index + 1) || bytes[index + 1] == 0x0A))
      let isBlankLine = isLineEnd && isFirstByte
      isFirstByte = false
      if state == .quoted {
        if byte != dialect.quote {
          field.bytes.append(byte)
        } else if !isEnd(index + 1) && bytes[index + 1] == dialect.quote {
          field.bytes.append(byte)
          index += 1
        } else {
          state = .closed
        }
      } else if state == .start, byte == dialect.quote {
        field.isQuoted = true
        state = .quoted
      } else if byte == dialect.delimiter {
        endField()
      } else if isLineEnd {
        if byte == 0x0D && !isEnd(index + 1) { index += 1 }
        endRecord(isBlankLine: isBlankLine)
      } else if state == .closed {
        if !isBlank(byte) { return records + [nil] }
      } else if state == .plain || !isBlank(byte) {
        field.bytes.append(byte)
        state = .plain
      }
      index += 1
    }
    if state == .quoted { return records + [nil] }
    if !isFirstByte { endRecord(isBlankLine: false) }
    return records
  }

  // MARK: - JSON

  private static let jsonCorpus = texts(
    #"{"a":"x","b":1,"c":2.5,"d":true}"#, #"{"b":-9223372036854775808,"c":1e-7,"a":null}"#,
    #"{"a":"\u00e9\n\"\\\/","z":[1,{"b":2},[]],"d":false}"#, #" { "c" : 0.1 , "q" : {"a":{}} } "#,
    #"{"a":"\ud83d\ude00","b":12345678901234567890}"#, #"{"b":1.0,"d":null}"#, #"[{"a":"x"}]"#,
    #" [ {"b":1} , 2, {"c":3,"d":true},[{"a":"x"}] ] "#, "[]",
    #"{"a":"é漢😀","":0,"c":-0}"#, #"{"b":16.0}"#, #"{"b":1.5e3}"#,
    #"{"c":123456789012345678}"#, "{}"
  )

  mutating func json(_ random: inout SeededRandom) -> String? {
    let bytes = random.mutated(Self.jsonCorpus)
    guard Self.isComparable(bytes) else { return nil }
    let batch = decoded(&jsonDecoder, [Sample(value: bytes)])
    let value = try? JSONSerialization.jsonObject(with: Data(bytes))
    guard let records = value as? [Any] ?? (value as? [String: Any]).map({ [$0] }) else {
      return batch.rejects.contains { $0.reason == .malformed }
        ? nil : "\(shown(bytes)) is read, and neither an object nor a list by Foundation"
    }
    guard batch.rowCount + batch.rejects.count == records.count else {
      return "\(shown(bytes)) is \(batch.rowCount) records and \(batch.rejects.count) rejects"
    }
    let rejects = Dictionary(uniqueKeysWithValues: batch.rejects.map { ($0.record, $0.reason) })
    var row = 0
    for (index, record) in records.enumerated() {
      let object = record as? [String: Any]
      if let reason = rejects[index] {
        guard (reason == .malformed) == (object == nil) else {
          return "record \(index) of \(shown(bytes)) is refused as \(reason)"
        }
        continue
      }
      guard let object else { return "record \(index) of \(shown(bytes)) is read" }
      if let difference = difference(object, batch, row) { return "\(shown(bytes)): \(difference)" }
      row += 1
    }
    return nil
  }

  /// Leaves out what the two are meant to differ in: our lines are UTF-8 without a mark and hold
  /// one record each, we read half a pair
  /// of surrogates as JSON that is no text, and numbers beyond a double as JSON that does not fit.
  private static func isComparable(_ bytes: [UInt8]) -> Bool {
    guard let text = String(validating: bytes, as: UTF8.self) else { return false }
    let lowercased = text.lowercased()
    let hasLargeExponent = lowercased.contains(/[0-9.]e[+-]?[0-9]{3}/)
    let hasLongNumber = lowercased.contains(/[0-9]{25}/)
    // Foundation of Linux takes a comma behind the last item.
    let hasLastComma = lowercased.contains(/,[ \t]*[\]}]/)
    return !bytes.contains(0x0A) && !bytes.contains(0x0D) && !bytes.contains(0)
      && !bytes.starts(with: [0xEF, 0xBB, 0xBF])
      && !lowercased.contains("\\ud") && !hasLargeExponent && !hasLongNumber && !hasLastComma
  }

  private func difference(
    _ object: [String: Any], _ batch: RecordBatch, _ row: Int
  ) -> String? {
    func isNull(_ name: String) -> Bool { object[name] == nil || object[name] is NSNull }
    for (column, name) in zip(batch.columns, ["a", "b", "c", "d"])
    where column.isNull[row] != isNull(name) {
      return "\(name) is \(column.isNull[row] ? "null" : "there")"
    }
    let (a, b, c, d) = (batch.columns[0], batch.columns[1], batch.columns[2], batch.columns[3])
    if !a.isNull[row], let text = object["a"] as? String,
      Array(text.utf8) != a.text.withBytes(of: row, { [UInt8]($0) })
    {
      return "a is \(a.text[row])"
    }
    // Where the text has a fraction or an exponent, Foundation has a double.
    if !b.isNull[row], let number = object["b"] as? NSNumber, number.int64Value != b.integers[row],
      number.doubleValue != Double(b.integers[row])
    {
      return "b is \(b.integers[row])"
    }
    // Foundation rounds numbers of many digits to a near one; ValueFuzzer looks at every bit.
    if !c.isNull[row], let number = object["c"] as? NSNumber,
      abs(number.doubleValue - c.doubles[row]) > 1e-12 * abs(c.doubles[row])
    {
      return "c is \(c.doubles[row]), and \(number.doubleValue) by Foundation"
    }
    if !d.isNull[row], let flag = object["d"] as? Bool, flag != (d.integers[row] == 1) {
      return "d is \(d.integers[row])"
    }
    return nil
  }
}
