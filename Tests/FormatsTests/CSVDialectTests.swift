import Foundation
import Offsets
import Tables
import TestSupport
import Testing

@testable import Formats

/// `1,x|NULL,y`: the rows of a batch; then what was refused, as `1 missingField b`.
private func outcome(_ batch: RecordBatch) -> [String] {
  let rows = (0..<batch.rowCount).map { row in
    batch.columns.map { column in
      column.isNull[row]
        ? "NULL" : column.type == .string ? column.text[row] : column.plainText(row)
    }.joined(separator: "|")
  }
  return rows
    + batch.rejects.map { "\($0.record) \($0.reason.rawValue)" + ($0.field.map { " \($0)" } ?? "") }
}

private func strings(_ names: String..., nullable: Bool = false) -> [InputField] {
  names.map { field($0, .string, nullable: nullable) }
}

@Suite("CSV in another dialect")
struct CSVDialectTests {
  private func read(
    _ csv: CSVDialect, _ fields: [InputField], _ messages: String...
  ) -> [String] {
    outcome(decode(.csv, fields, messages.map { Array($0.utf8) }, csv: csv))
  }

  // MARK: - Delimiter, quote, trim

  @Test(
    "splits fields at its delimiter alone",
    arguments: [UInt8(ascii: ";"), UInt8(ascii: "\t"), UInt8(ascii: "|"), 0x01, UInt8(ascii: " ")])
  func delimiter(delimiter: UInt8) {
    let mark = String(decoding: [delimiter], as: UTF8.self)
    #expect(
      read(
        CSVDialect(delimiter: delimiter), strings("a", "b"),
        "1,5\(mark)x\r\n\"q\(mark)\"\(mark)\"\"\n\(mark)\nlonger_than_eight_bytes\(mark)\n")
        == ["1,5|x", "q\(mark)|", "|", "longer_than_eight_bytes|"])
    // The short way of integers as well.
    let integers = [field("a", .int32), field("b", .int64)]
    #expect(read(CSVDialect(delimiter: delimiter), integers, "1\(mark)-2\n") == ["1|-2"])
    #expect(
      read(CSVDialect(delimiter: delimiter), integers, "1,2\n") == ["0 missingField b"])
  }

  @Test("takes another quote, and with none quotes are characters like others")
  func quote() {
    let fields = strings("a", "b")
    #expect(
      read(CSVDialect(quote: UInt8(ascii: "'")), fields, "'a,''b''\n','\"'\n\"x,y\"\n")
        == ["a,'b'\n|\"", "\"x|y\""])
    #expect(
      read(CSVDialect(quote: nil), fields, "\"a,b\"\n\"\"\"\",\"\n\\N,\"\\N\"\n")
        == ["\"a|b\"", "\"\"\"\"|\"", "2 notNullable a"])
    #expect(read(CSVDialect(quote: nil), strings("a"), "\u{7F}\n") == ["\u{7F}"])
  }

  @Test("drops blanks around fields, in quotes or not, where it trims, and only there")
  func trim() {
    let trims = CSVDialect(trims: true)
    let text = " a ,\t\" b \"  \r\n  , \"\" \n\\N ,x y\n"
    #expect(
      read(trims, strings("a", "b", nullable: true), text) == ["a| b ", "|", "NULL|x y"])
    #expect(
      read(.standard, strings("a", "b"), " a , b \n \"x\",y\n") == [" a | b ", " \"x\"|y"])
    // A tab that delimits is no blank.
    let tabs = CSVDialect(delimiter: UInt8(ascii: "\t"), trims: true)
    #expect(read(tabs, strings("a", "b", "c"), "\t x \t\n") == ["|x|"])
    // What stands behind a closing quote is still a fault.
    #expect(read(trims, strings("a", "b"), "\"a\" x,b\n") == ["0 malformed a"])
    #expect(read(trims, [field("n", .int64)], " 7 \n", "\t8") == ["7", "8"])
  }

  // MARK: - Headers

  private let headed = CSVDialect(header: .perMessage)

  @Test("finds fields by the names of each message's header, in any order, and passes over others")
  func header() {
    let fields = [field("id", .int64), field("name", .string)]
    #expect(
      read(
        headed, fields, "name,more,id\nx,?,1\n\"y,z\",?,2\n", "id,name\r\n3,c\r\n",
        "id,name\r\n4,d\r\n", "\u{FEFF}\n\n\"name\",\"id\"\ne,5")
        == ["1|x", "2|y,z", "3|c", "4|d", "5|e"])
    // Exactly: neither capitals nor blanks make the same name.
    #expect(read(headed, fields, "id,Name\n1,x\n") == ["0 missingField name"])
    #expect(read(headed, fields, "id, name\n1,x\n") == ["0 missingField name"])
    var trims = headed
    trims.trims = true
    #expect(read(trims, fields, "id , \"name\" \n1,x\n") == ["1|x"])
  }

  @Test("takes a field that the header does not name for missing, NULL where that is allowed")
  func missing() {
    let fields = [field("id", .int64), field("more", .string, nullable: true)]
    #expect(
      read(headed, fields, "id,more\n1,x\n", "id\n2\n", "id,more\n3,y\n") == [
        "1|x", "2|NULL", "3|y",
      ])
    #expect(read(headed, fields, "more\nx\ny\n") == ["0 missingField id", "1 missingField id"])
  }

  @Test("refuses every record below a header that names a field twice, and no other column")
  func repeated() {
    let fields = [field("id", .int64), field("name", .string)]
    #expect(
      read(headed, fields, "id,name,id\n1,x,1\n2,y,2\n", "id,name\n3,z\n") == [
        "3|z", "0 duplicateField id", "1 duplicateField id",
      ])
    #expect(read(headed, fields, "a,id,a,name,\n1,2,3,4,5\n") == ["2|4"])
  }

  @Test("wants as many fields in a record as the header has columns")
  func counts() {
    let fields = [field("id", .int64), field("name", .string)]
    #expect(
      read(headed, fields, "x,id,name,y\n1,2,3\n1,2\n1\n1,2,3,4,5\n1,2,c,4\n") == [
        "2|c", "0 missingField", "1 missingField name", "2 missingField id", "3 extraField",
      ])
  }

  @Test("takes a message of a header alone for one without records, and no fault")
  func headerAlone() {
    let fields = [field("id", .int64)]
    let batch = decode(
      .csv, fields, ["id", "id\n", "id\r\n\n"].map { Array($0.utf8) }, csv: headed)
    #expect(batch.rowCount == 0 && batch.rejects.isEmpty)
    #expect(
      outcome(decode(.csv, fields, [[], Array("\n".utf8), nil], csv: headed)) == [
        "0 malformed", "0 malformed", "0 nullValue",
      ])
  }

  @Test("refuses a message whose header is malformed or longer than a record may be, as a whole")
  func badHeader() {
    let fields = [field("id", .int64)]
    let batch = decode(
      .csv, fields, ["\"id\n1\n", "id\n1\n", "\"id\"x\n1\n"].map { Array($0.utf8) }, csv: headed)
    #expect(outcome(batch) == ["1", "0 malformed", "0 malformed"])
    #expect(batch.rejects[0].raw == Array("\"id\n1\n".utf8))
    let long = decode(
      .csv, fields, [Array("id,a long name\n1,2\n".utf8)], csv: headed, limit: 10)
    #expect(outcome(long) == ["0 recordTooLarge"])
  }

  @Test("keeps no header for a message whose first line only begins like it")
  func cachedHeader() {
    let fields = [field("id", .int64), field("b", .string, nullable: true)]
    #expect(
      read(headed, fields, "id\n1\n", "id,b\n2,x\n", "id\n3\n", "id", "idb\n4\n", "id,b\n5,y")
        == ["1|NULL", "2|x", "3|NULL", "5|y", "0 missingField id"])
    // A quoted name that is closed by the message's end, and goes on in the next.
    #expect(
      read(headed, fields, "\"id\"\r", "\"id\"\rx\n1\n") == ["0 malformed"])
  }

  @Test("finds a field under the name that its path gives it, two fields in one column as well")
  func paths() {
    let fields = [
      InputField(ColumnDefinition("order", .int64), path: JSONPath([.key("Order ID")])),
      InputField(ColumnDefinition("text", .string), path: JSONPath([.key("Order ID")])),
      field("café", .string),
    ]
    #expect(read(headed, fields, "café,Order ID\nx,007\n") == ["7|007|x"])
    #expect(
      read(headed, fields, "café,Order ID,Order ID\nx,1,1\n") == ["0 duplicateField order"])
  }

  @Test("never takes the short way of integers below a header")
  func noShortWay() {
    let fields = [field("a", .int32), field("b", .int64)]
    #expect(
      read(headed, fields, "b,a\n1,2\n", "1,2\n3,4\n") == [
        "2|1", "0 missingField a",
      ])
    #expect(
      IntegerRecords(
        format: .csv, fields: fields, csv: headed, recordByteLimit: 9, messageByteLimit: 9,
        needsTimestamp: false, needsKey: false) == nil)
  }

  // MARK: - Against another reader

  @Test("reads what Python's csv module reads, whatever the delimiter, quote and header")
  func oracle() throws {
    var random = SeededRandom(seed: 17)
    var lines: [String] = []
    var recordCount = 0
    for _ in 0..<400 {
      let delimiter = ",;\t|:".utf8.randomElement(using: &random) ?? 0
      let quote = [UInt8(ascii: "\""), UInt8(ascii: "'"), nil].randomElement(using: &random) ?? nil
      let csv = CSVDialect(
        delimiter: delimiter, header: Bool.random(using: &random) ? .perMessage : .none,
        quote: quote, nullTexts: [])
      let names = ["a", "b", "c"]
      let columns = csv.header == .none ? names : (names + ["d", "e"]).shuffled(using: &random)
      var records = csv.header == .none ? [] : [columns]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        records.append(columns.map { _ in text(csv, &random) })
        recordCount += 1
      }
      let message = records.map { record in
        record.map { written($0, csv, &random) }.joined(
          separator: String(decoding: [delimiter], as: UTF8.self))
          + (Bool.random(using: &random) ? "\n" : "\r\n")
      }.joined()
      let batch = decode(
        .csv, names.map { field($0, .string) }, [Array(message.utf8)], csv: csv)
      let rows = (0..<batch.rowCount).map { row in
        batch.columns.map { "=" + hexadecimal($0.text[row]) }.joined(separator: ",")
      }
      lines.append(
        ([
          hexadecimal(message), String(delimiter), quote.map { String($0) } ?? "none",
          csv.header.rawValue,
        ] + rows).joined(separator: " "))
    }
    let verdicts = try TestStack().python(
      "FormatsTests/csv_records.py", ["a", "b", "c"],
      input: lines.joined(separator: "\n") + "\n")
    #expect(verdicts.split(separator: "\n").map(String.init) == ["\(recordCount)"])
    #expect(recordCount > 1_000)
  }

  private func text(_ csv: CSVDialect, _ random: inout SeededRandom) -> String {
    var pieces = ["x", "longer text ", "7", "é", " ", ".", ",", ";", "\"", "'", "|"]
    if csv.quote == nil { pieces.removeAll { $0.utf8.first == csv.delimiter } }
    if csv.quote != nil { pieces.append("\n") }
    return (0..<Int.random(in: 0...5, using: &random)).map { _ in
      pieces.randomElement(using: &random) ?? ""
    }.joined()
  }

  private func written(
    _ text: String, _ csv: CSVDialect, _ random: inout SeededRandom
  ) -> String {
    // A line of one empty field would be a blank one, and is not drawn: there are three.
    guard let quote = csv.quote else { return text }
    let needsQuotes = text.utf8.contains { [csv.delimiter, quote, 0x0A].contains($0) }
    guard needsQuotes || Bool.random(using: &random) else { return text }
    let mark = String(decoding: [quote], as: UTF8.self)
    return mark + text.replacing(mark, with: mark + mark) + mark
  }
}

@Suite("A search of eight bytes at a time")
struct ByteWordTests {
  @Test("finds the first of the bytes, wherever it lies and whatever stands behind the end")
  func allPlaces() {
    let bytes: [UInt8] = Array("abcdefghijklmnopqrstuvwxyz".utf8) + [0x80, 0xFF, 0x2B, 0x2D]
    for count in 0...bytes.count {
      for start in 0...count {
        for place in 0...count {
          var text = Array(bytes[..<count])
          for index in place..<count { text[index] = index % 2 == 0 ? 0x2C : 0x0A }
          let found = text.withUnsafeBytes {
            ByteWord.firstIndex(in: $0, from: start) { $0.marks(of: 0x2C) | $0.marks(of: 0x0A) }
          }
          #expect(found == max(start, place), "\(count) bytes from \(start), marked from \(place)")
        }
      }
    }
  }

  @Test("knows bytes that differ by one, and those below a bound", arguments: 0..<256)
  func neighbours(byte: Int) {
    let byte = UInt8(byte)
    for length in [1, 7, 8, 9, 17] {
      for place in 0..<length {
        var text = [UInt8](repeating: 0x7F, count: length)
        text[place] = byte
        text.withUnsafeBytes { bytes in
          let (comma, control) = (
            ByteWord.firstIndex(in: bytes, from: 0) { $0.marks(of: 0x2C) },
            ByteWord.firstIndex(in: bytes, from: 0) { $0.marks(below: 0x20) }
          )
          #expect(comma == (byte == 0x2C ? place : length))
          #expect(control == (byte < 0x20 ? place : length))
        }
      }
    }
  }
}
