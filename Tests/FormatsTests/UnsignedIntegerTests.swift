import Formats
import Tables
import TestSupport
import Testing

@Suite("A uint64")
struct UnsignedIntegerTests {
  private let fields = [field("a", .uint64), field("b", .uint64, nullable: true)]

  private func texts(_ column: Column) -> [String] {
    (0..<column.count).map { column.isNull[$0] ? "NULL" : column.plainText($0) }
  }

  @Test("is read from CSV and JSON, in quotes or not, and written as the same digits again")
  func roundTrip() throws {
    var random = SeededRandom(seed: 20)
    let ends: [UInt64] = [0, 1, 999_999_999_999_999_999, 1 << 63 - 1, 1 << 63, .max - 1, .max]
    let numbers =
      (ends + (0..<500).map { _ in random.next() >> UInt64.random(in: 0..<64, using: &random) })
      .shuffled(using: &random)
    func quoted(_ number: UInt64) -> String {
      Bool.random(using: &random) ? "\"\(number)\"" : "\(number)"
    }
    let csv = numbers.map { "\(quoted($0)),\(quoted($0))\n" }.joined()
    let json = numbers.map { "{\"b\":\(quoted($0)),\"a\":\(quoted($0))}\n" }.joined()
    for (format, text) in [(InputFormat.csv, csv), (.json, json)] {
      let batch = decode(format, fields, text)
      #expect(batch.rejects.isEmpty && batch.rowCount == numbers.count)
      #expect(batch.columns.map(texts) == [numbers.map { "\($0)" }, numbers.map { "\($0)" }])
      let table = Table(Schema(fields.map(\.column)), columns: batch.columns)
      let csv = String(decoding: try CSVEncoder.encode(table), as: UTF8.self)
      #expect(csv == "a,b\n" + numbers.map { "\($0),\($0)\n" }.joined())
      let json = String(decoding: try JSONLinesEncoder.encode(table), as: UTF8.self)
      #expect(json == numbers.map { "{\"a\":\($0),\"b\":\($0)}\n" }.joined())
    }
  }

  @Test(
    "is a whole number, however it is written, from 0 to 18446744073709551615",
    arguments: [
      ("007", "7"), ("+7", "7"), ("-0", "0"), ("16.0", "16"), ("1.2e3", "1200"),
      ("18446744073709551615", "18446744073709551615"),
      ("1.8446744073709551615e19", "18446744073709551615"),
      ("18446744073709551615.000", "18446744073709551615"),
      ("1844674407370955161500e-2", "18446744073709551615"),
      ("000000000000000000000018446744073709551615", "18446744073709551615"),
      ("1e19", "10000000000000000000"),
      ("18446744073709551616", "outOfRange"), ("1e20", "outOfRange"), ("-1", "outOfRange"),
      ("-18446744073709551615", "outOfRange"), ("-9223372036854775808", "outOfRange"),
      ("1.5", "wrongType"), ("", "wrongType"), ("0x10", "wrongType"), ("true", "wrongType"),
      ("1 2", "wrongType"), ("nan", "wrongType"),
    ])
  func values(text: String, expected: String) {
    for (format, message) in [(InputFormat.csv, "\(text),\n"), (.json, "{\"a\":\"\(text)\"}")] {
      let batch = decode(format, fields, message)
      let found = batch.rejects.first?.reason.rawValue ?? texts(batch.columns[0]).first
      #expect(found == expected, "\(format)")
      #expect(batch.rejects.isEmpty == (batch.columns[1].isNull == [true]))
    }
  }
}
