import Formats
import Offsets
import Tables
import Testing

/// What a message has beside its value.
struct Beside {
  var key: [UInt8]?
  var headers: [MessageHeaders.Header] = []
}

/// Decodes messages, all of them as one chunk.
func decode(
  _ format: InputFormat, _ fields: [InputField], _ messages: [(value: String?, beside: Beside)],
  envelope: Envelope? = nil
) -> RecordBatch {
  var decoder = RecordDecoder(
    format: format, envelope: envelope, fields: fields, messageFields: [], requiredTimeColumn: nil,
    recordByteLimit: 1 << 20)
  var batch = RecordBatch(decoder.schema)
  let place = PartitionID(source: "main", topic: "calls", partition: 3)
  let copies = messages.enumerated().map { offset, message in
    CopiedMessage(
      partition: place, offset: Int64(offset), timestampMilliseconds: 5, key: message.beside.key,
      value: message.value.map { Array($0.utf8) }, headers: message.beside.headers)
  }
  copies.withMessages {
    decoder.decode($0, topic: "calls", partition: 3, partitionIndex: 0, into: &batch)
  }
  return batch
}

private func header(_ name: String, _ value: String?) -> MessageHeaders.Header {
  MessageHeaders.Header(name: name, value: value.map { Array($0.utf8) })
}

func field(
  _ name: String, _ type: ColumnType, from origin: FieldOrigin, path: String? = nil,
  nullable: Bool = false, isJSONText: Bool = false
) -> InputField {
  InputField(
    ColumnDefinition(name, type, isNullable: nullable), origin: origin,
    path: path.flatMap { JSONPath($0) }, isJSONText: isJSONText)
}

/// The values of a column as texts.
func texts(_ batch: RecordBatch, _ column: Int) -> [String?] {
  let column = batch.columns[column]
  return (0..<batch.rowCount).map { row in
    if column.isNull[row] { return nil }
    return column.type.storage == .text ? column.text[row] : column.plainText(row)
  }
}

@Suite("A field of a header")
struct HeaderFieldTests {
  private static let trace = field("trace", .string, from: .header("trace-id"), nullable: true)
  private static let a = field("a", .int32)

  @Test("is the text of the last header of its name, in each record of the message")
  func last() {
    let batch = decode(
      .json, [Self.trace, Self.a],
      [
        ("{\"a\":1}\n{\"a\":2}", Beside(headers: [header("trace-id", "x"), header("b", "y")])),
        ("{\"a\":3}", Beside(headers: [header("trace-id", "old"), header("trace-id", "new")])),
        ("{\"a\":4}", Beside(headers: [header("Trace-Id", "x"), header("trace-idx", "x")])),
        ("{\"a\":5}", Beside()),
        ("{\"a\":6}", Beside(headers: [header("trace-id", "x"), header("trace-id", nil)])),
        ("{\"a\":7}", Beside(headers: [header("trace-id", ""), header("", "x")])),
      ])
    #expect(batch.rejects.isEmpty)
    #expect(texts(batch, 0) == ["x", "x", "new", nil, nil, nil, ""])
    #expect(batch.columns[1].integers == [1, 2, 3, 4, 5, 6, 7])
  }

  @Test("takes no position in CSV, wherever it is declared")
  func csv() {
    let fields = [Self.trace, Self.a, field("id", .string, from: .key(.text)), field("b", .int32)]
    let beside = Beside(key: Array("k".utf8), headers: [header("trace-id", "x")])
    let batch = decode(
      .csv, fields, [("1,2\n3,4", beside), ("5", beside), ("6,7,8", beside), ("9,x", beside)])
    #expect(texts(batch, 0) == ["x", "x"] && texts(batch, 2) == ["k", "k"])
    #expect(batch.columns[1].integers == [1, 3] && batch.columns[3].integers == [2, 4])
    #expect(batch.rejects.map(\.reason) == [.missingField, .extraField, .wrongType])
    #expect(batch.rejects.map(\.field) == ["b", nil, "b"])
  }

  @Test(
    "has a type like any other: what does not fit is a reject that names it",
    arguments: [
      (.int64, "17", "17", nil), (.int64, " 17", nil, .wrongType), (.int64, "", nil, .wrongType),
      (.int32, "2147483648", nil, .outOfRange), (.bool, "true", "true", nil),
      (.decimal(precision: 5, scale: 2), "1.5", "1.50", nil),
      (.timestamp, "2026-11-23T10:05:00Z", "2026-11-23T10:05:00.000Z", nil),
      (.string, "\\N", "\\N", nil), (.string, nil, nil, .notNullable),
    ] as [(ColumnType, String?, String?, Reject.Reason?)])
  func types(type: ColumnType, text: String?, value: String?, reason: Reject.Reason?) {
    let fields = [field("h", type, from: .header("h")), Self.a]
    for format in InputFormat.allCases {
      let record = format == .csv ? "1" : "{\"a\":1}"
      let batch = decode(format, fields, [(record, Beside(headers: [header("h", text)]))])
      #expect(texts(batch, 0) == (value.map { [$0] } ?? []))
      #expect(batch.rejects.map(\.reason) == (reason.map { [$0] } ?? []))
      #expect(batch.rejects.allSatisfy { $0.field == "h" && $0.raw == Array(record.utf8) })
    }
  }

  @Test("is missing where there is no such header, and no text where its bytes are not UTF-8")
  func faults() {
    let fields = [field("h", .string, from: .header("h")), Self.a]
    let broken = MessageHeaders.Header(name: "h", value: [0x61, 0xFF])
    let batch = decode(
      .json, fields, [("{\"a\":1}", Beside()), ("{\"a\":2}", Beside(headers: [broken]))])
    #expect(batch.rejects.map(\.reason) == [.missingField, .invalidText])
    #expect(batch.rejects.map(\.field) == ["h", "h"])
    #expect(batch.rejects[1].text == [0x61, 0xFF])
  }
}

@Suite("A field of a key")
struct KeyFieldTests {
  private static let a = field("a", .int32)

  @Test("is the key as a text, and NULL where there is none")
  func text() {
    let fields = [
      field("k", .string, from: .key(.text), nullable: true),
      field("n", .int64, from: .key(.text), nullable: true), Self.a,
    ]
    let batch = decode(
      .json, fields,
      [("{\"a\":1}", Beside(key: Array("17".utf8))), ("{\"a\":2}\n{\"a\":3}", Beside())])
    #expect(texts(batch, 0) == ["17", nil, nil] && texts(batch, 1) == ["17", nil, nil])
    let required = [field("k", .string, from: .key(.text)), Self.a]
    #expect(
      decode(.json, required, [("{\"a\":1}", Beside())]).rejects.map(\.reason) == [.notNullable])
  }

  @Test("of a binary key is its bytes in hexadecimal or base64")
  func binary() {
    let fields = [
      field("h", .string, from: .key(.hex)), field("b", .string, from: .key(.base64)),
      field("n", .string, from: .key(.hex), nullable: true), Self.a,
    ]
    for (key, hex, base64) in [
      ([0x00, 0xFF, 0x1A], "00ff1a", "AP8a"), ([], "", ""), ([0x9F], "9f", "nw=="),
      ([0x61, 0x62], "6162", "YWI="),
    ] as [([UInt8], String, String)] {
      let batch = decode(.json, fields, [("{\"a\":1}\n{\"a\":2}", Beside(key: key))])
      #expect(batch.rejects.isEmpty)
      for (column, text) in [hex, base64, hex].enumerated() {
        #expect(texts(batch, column) == [text, text])
      }
    }
  }

  @Test("of a JSON key is the whole, or what its path finds there")
  func json() {
    let fields = [
      field("id", .int64, from: .key(.json), path: "$.id", nullable: true),
      field("name", .string, from: .key(.json), path: "$.who.name", nullable: true),
      field("whole", .string, from: .key(.json), nullable: true),
      field("raw", .string, from: .key(.json), nullable: true, isJSONText: true), Self.a,
    ]
    for (key, expected) in [
      (#" {"id":7,"who":{"name":"\u00e9\"x"},"more":[1]} "#, ["7", "é\"x"]),
      (#"{"who":{"name":"n"},"id":null}"#, [nil, "n"]), ("{}", [nil, nil]),
      ("17", [nil, nil, "17", "17"]), (#""k\n1""#, [nil, nil, "k\n1", #""k\n1""#]),
      ("null", [nil, nil, nil, nil]), ("[1, 2]", [nil, nil, "[1, 2]", "[1, 2]"]),
    ] as [(String, [String?])] {
      let batch = decode(.json, fields, [("{\"a\":1}\n{\"a\":2}", Beside(key: Array(key.utf8)))])
      #expect(batch.rejects.isEmpty, "\(key): \(batch.rejects)")
      for (column, text) in expected.enumerated() { #expect(texts(batch, column) == [text, text]) }
      if expected.count == 2 {
        let whole = key.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
        #expect(texts(batch, 2)[0] == String(whole) && texts(batch, 3)[0] == String(whole))
      }
    }
    #expect(decode(.json, fields, [("{\"a\":1}", Beside())]).columns[0].isNull == [true])
  }

  @Test(
    "is a reject that names the field and keeps the key, where the key is not what it should be",
    arguments: [
      (.json, "{\"id\":1", .malformed), (.json, "{\"id\":1} x", .malformed),
      (.json, "", .malformed), (.json, "{\"id\":1,\"id\":2}", .duplicateField),
      (.json, "{\"id\":\"x\"}", .wrongType), (.json, "{}", .missingField),
      (.json, "17", .missingField),
      (.json, String(repeating: "[", count: 100_000), .malformed), (.text, "x", .wrongType),
      (.text, "2147483648000000000000", .outOfRange),
    ] as [(KeyForm, String, Reject.Reason)])
  func faults(form: KeyForm, key: String, reason: Reject.Reason) {
    let id = field("id", .int64, from: .key(form), path: form == .json ? "$.id" : nil)
    for format in InputFormat.allCases {
      let record = format == .csv ? "1" : "{\"a\":1}"
      let batch = decode(format, [Self.a, id], [(record, Beside(key: Array(key.utf8)))])
      #expect(batch.rowCount == 0)
      #expect(batch.rejects.map(\.reason) == [reason] && batch.rejects.map(\.field) == ["id"])
      #expect(batch.rejects[0].key == Array(key.utf8) && batch.rejects[0].raw == Array(record.utf8))
      #expect(batch.rejects[0].text == Array(key.utf8.prefix(Reject.textByteLimit)))
    }
  }

  @Test("that is no valid text is a reject as text, and as hexadecimal is none")
  func invalidText() {
    let beside = Beside(key: [0xFF, 0x00])
    for (form, reason) in [(.text, .invalidText), (.hex, nil)] as [(KeyForm, Reject.Reason?)] {
      let batch = decode(
        .csv, [field("k", .string, from: .key(form)), Self.a], [("1", beside)])
      #expect(batch.rejects.first?.reason == reason)
    }
    let parts = [field("k", .string, from: .key(.json), path: "$.k"), Self.a]
    let broken = Array(#"{"k":""#.utf8) + [0xFF] + Array(#""}"#.utf8)
    let batch = decode(.json, parts, [("{\"a\":1}", Beside(key: broken))])
    #expect(batch.rejects.map(\.reason) == [.invalidText])
  }

  @Test("does not change what the record is read as, nor how a tombstone is told")
  func record() {
    let fields = [Self.a, field("id", .int64, from: .key(.json), path: "$.a"), field("b", .string)]
    let batch = decode(
      .json, fields,
      [
        (#"{"a":1,"b":"\u0041x"}"#, Beside(key: Array(#"{"a":5}"#.utf8))),
        (nil, Beside(key: Array(#"{"a":6}"#.utf8))),
      ])
    #expect(batch.columns[0].integers == [1] && batch.columns[1].integers == [5])
    #expect(batch.columns[2].text[0] == "Ax")
    #expect(batch.rejects.map(\.reason) == [.nullValue])
  }
}
