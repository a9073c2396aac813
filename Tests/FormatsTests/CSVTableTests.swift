import Formats
import Tables
import TestSupport
import Testing

@Suite("A table in CSV")
struct CSVTableTests {
  private static let types: [ColumnType] = [
    .int32, .int64, .double, .bool, .string, .timestamp, .decimal(precision: 9, scale: 2),
  ]

  @Test("reads back as it was written, whatever it holds")
  func roundTrip() throws {
    var random = SeededRandom(seed: 11)
    let texts = ["", "\\N", "a,b", "\"", "x\ny", " é ", "NULL", "\r"]
    for _ in 0..<300 {
      let schema = Schema(
        (0..<Int.random(in: 1...4, using: &random)).map {
          ColumnDefinition(
            "c\($0)", Self.types.randomElement(using: &random) ?? .int64, isNullable: true)
        })
      var columns = schema.columns.map { Column($0.type) }
      for _ in 0..<Int.random(in: 0...5, using: &random) {
        for index in columns.indices {
          if Int.random(in: 0..<4, using: &random) == 0 {
            columns[index].appendNull()
            continue
          }
          switch columns[index].type {
          case .double:
            columns[index].append(double: Double.random(in: -1e12...1e12, using: &random))
          case .string: columns[index].append(string: texts.randomElement(using: &random) ?? "")
          case .bool: columns[index].append(integer: Int64.random(in: 0...1, using: &random))
          default:
            columns[index].append(integer: Int64.random(in: -9_999_999...9_999_999, using: &random))
          }
        }
      }
      let table = Table(schema, columns: columns)
      let read = CSVTable(try CSVEncoder.encode(table), schema: schema)
      #expect(read.faults == [])
      #expect(read.table == table)
    }
  }

  @Test("may be written by hand: with a byte order mark, CRLF, blanks and without a last line end")
  func byHand() {
    let schema = Schema([ColumnDefinition("id", .int32), ColumnDefinition("share", .double)])
    func read(_ text: String) -> CSVTable { CSVTable(Array(text.utf8), schema: schema) }
    let table = read("\u{FEFF}id, share\r\n1, 50\r\n\r\n2,5e1")
    #expect(table.faults == [])
    #expect(table.table[1].doubles == [50, 50])
    #expect(read("id,share").table.rowCount == 0)
    #expect(read("id,share\n\r\n").faults == [])
    #expect(read("").faults == [.header([""])])
    #expect(read("share,id\n").faults == [.header(["share", "id"])])
    #expect(
      read("id,share\n1,1\n1\nx,1\n").faults == [
        .row(2, .missingField, column: "share"), .row(3, .wrongType, column: "id"),
      ])
  }
}

@Suite("An object in JSON")
struct JSONMembersTests {
  @Test("gives what stands under the names that are asked for, as it is written")
  func members() throws {
    let line = #" {"a": "x\ny", "n": 1.50, "o": {"k": [1, 2]}, "z": null, "more": 1} "#
    let members = try #require(
      JSONMembers(of: Array(line.utf8), names: ["a", "n", "o", "z", "none"]))
    #expect(members["a"] == .text(Array("x\ny".utf8)))
    #expect(members["n"] == .other(Array("1.50".utf8)))
    #expect(members["o"] == .other(Array(#"{"k": [1, 2]}"#.utf8)))
    #expect(members["z"] == .null)
    #expect(members["none"] == nil && members["more"] == nil)
    for bad in ["", "[]", "{\"a\": 1, \"a\": 2}", "{\"a\": 1} x", "{\"a\": tru}"] {
      #expect(JSONMembers(of: Array(bad.utf8), names: ["a"]) == nil, "\(bad)")
    }
  }
}
