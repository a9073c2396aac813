import Formats
import Offsets
import Tables
import TestSupport
import Testing

/// 2026-11-23T10:00:00Z
private let now: Int64 = 1_795_428_000_000

func sample(
  _ values: [String?], time: Int64? = now, firstOffset: Int64 = 100
) -> [CopiedMessage] {
  sample(bytes: values.map { $0.map { Array($0.utf8) } }, time: time, firstOffset: firstOffset)
}

func sample(
  bytes values: [[UInt8]?], time: Int64? = now, firstOffset: Int64 = 100
) -> [CopiedMessage] {
  values.enumerated().map { index, value in
    CopiedMessage(
      partition: PartitionID(source: "main", topic: "calls", partition: 0),
      offset: firstOffset + Int64(index), timestampMilliseconds: time, key: nil, value: value)
  }
}

/// `int64`, `timestamp(unix_seconds)?`
private func spelling(_ field: SampleShape.Field) -> String {
  let encoding = field.timestampEncoding == .text ? "" : "(\(field.timestampEncoding.rawValue))"
  return "\(field.type)\(encoding)\(field.inputField.column.isNullable ? "?" : "")"
}

@Suite("The shape of a sample")
struct SampleShapeTests {
  @Test(
    "names the narrowest type that takes all values of a JSON member",
    arguments: [
      (["1", "-20", "0"], "int64"), (["1", "2.5", "1e3"], "double"), (["7", "null"], "int64?"),
      (["true", "false"], "bool"), (["\"a\"", "\"\""], "string"), (["\"a\"", "null"], "string?"),
      (["null", "null"], "string?"), (["\"2026-11-23T10:00:00Z\""], "timestamp"),
      (["\"2026-11-23 10:00:00.5\"", "\"2026-11-23\""], "timestamp"),
      // Digits in quotes were put there on purpose; beside numbers they were not.
      (["\"12\"", "\"7\""], "string"), (["\"12\"", "7"], "int64"),
      // What one kind of 64-bit integer takes, and what none does.
      (["9223372036854775807", "-9223372036854775808"], "int64"),
      (["0", "9223372036854775808", "18446744073709551615"], "uint64"),
      (["18446744073709551616"], "string"), (["9223372036854775808", "-1"], "string"),
      (["1", "\"x\""], "string"),
      // A time by its size, near to the message's own or not.
      (["1795428000123", "1600000000000"], "timestamp(unix_milliseconds)"),
      (["1795428000123456"], "timestamp(unix_microseconds)"),
      (["1795428000", "1795420000"], "timestamp(unix_seconds)"),
      (["1795428000.25"], "timestamp(unix_seconds)"),
      (["1795428000", "1500000000"], "int64"), (["1795428000", "17"], "int64"),
      // Amounts with always two places, if there are enough of them to see it.
      (["1.25", "3.50"], "double"),
      ((0..<20).map { "\($0).25" }, "decimal(18,2)"),
      ((0..<20).map { "\($0).2" }, "double"),
      ((0..<20).map { $0 == 7 ? "1.5" : "\($0).25" }, "double"),
    ] as [([String], String)])
  func jsonTypes(values: [String], type: String) throws {
    let shape = try SampleShape(of: sample(values.map { "{\"x\":\($0)}" }))
    #expect(shape.format == .json && shape.fields.map(spelling) == [type])
    #expect(shape.fields[0].misfitCount == 0 && shape.recordCount == values.count)
  }

  @Test(
    "names the narrowest type that takes all values of a CSV field",
    arguments: [
      (["1", " 2 "], "int64"), (["1", ""], "int64?"), (["\\N", "5"], "int64?"),
      (["a", ""], "string"), (["a", "\\N"], "string?"), (["true", "false"], "bool"),
      (["1.5", "2"], "double"), (["1.25", "3.50"], "decimal(18,2)"), (["-0.123"], "decimal(18,3)"),
      (["1.5e3"], "double"), (["2026-11-23 10:00:00"], "timestamp"),
      (["\"2026-11-23 10:00:00\""], "timestamp"), (["\"17\"", "\"18\""], "string"),
      // Identifiers, which a number would spoil.
      (["007", "12"], "string"), (["+491234567", "12"], "string"),
      (["12345678901234567890"], "uint64"), (["123456789012345678901"], "string"),
      (["nan", "1.5"], "string"),
    ] as [([String], String)])
  func csvTypes(values: [String], type: String) throws {
    let shape = try SampleShape(of: sample(values.map { "\($0),x\n" }))
    #expect(shape.format == .csv && shape.fields.map(spelling) == [type, "string"])
    #expect(shape.fields.map(\.name) == ["field_1", "field_2"] && !shape.hasNames)
  }

  @Test("says which integers whole numbers in quotes could be read as")
  func quotedIntegers() throws {
    for (values, type) in [
      (["1", "-2"], ColumnType.int64), (["1", "18446744073709551615"], .uint64),
      (["1", "18446744073709551616"], nil), (["1", "x"], nil),
    ] as [([String], ColumnType?)] {
      let shape = try SampleShape(of: sample(values.map { "{\"x\":\"\($0)\"}" }))
      #expect(shape.fields.map(spelling) == ["string"])
      #expect(shape.fields.map(\.quotedInteger) == [type])
    }
  }

  @Test("takes quotes around every CSV field for no sign of a text")
  func allQuoted() throws {
    let shape = try SampleShape(of: sample(["\"1\",\"a\"", "\"2\",\"b\""]))
    #expect(shape.fields.map(spelling) == ["int64", "string"])
  }

  @Test("takes seconds since 1970 that are far from the messages' times by their name alone")
  func namedTime() throws {
    for (name, isTime) in [
      ("created_at", true), ("eventTime", true), ("ts", true), ("latitude", false),
      ("attempt", false), ("account", false),
    ] {
      let shape = try SampleShape(of: sample(["{\"\(name)\":1500000000}"], time: nil))
      #expect(
        spelling(shape.fields[0]) == (isTime ? "timestamp(unix_seconds)" : "int64"), "\(name)")
    }
  }

  @Test("counts values, NULLs, different values, and what the type does not take")
  func counts() throws {
    var values = (0..<97).map { "{\"n\":\($0 % 7),\"s\":\"\($0)\"}" } + ["{}", "{\"n\":null}"]
    values += ["{\"n\":\"oops\",\"s\":\"x\"}", "nonsense", "[1]"]
    let shape = try SampleShape(of: sample(values + [nil, nil]))
    #expect(shape.recordCount == 100 && shape.otherCount == 2 && shape.nullValueCount == 2)
    let (n, s) = (shape.fields[0], shape.fields[1])
    #expect((n.valueCount, n.nullCount, n.misfitCount, n.distinctCount) == (97, 2, 1, 7))
    #expect(spelling(n) == "int64?")
    #expect((s.valueCount, s.nullCount, s.distinctCount) == (98, 2, 98))
  }

  @Test("leaves a few bad values of CSV to the rejects, and takes many for texts")
  func badValues() throws {
    for (bad, type) in [(3, "int64"), (10, "string")] {
      let values = (0..<100).map { $0 < bad ? "oops,1" : "\($0),1" }
      let field = try SampleShape(of: sample(values)).fields[0]
      #expect(spelling(field) == type && field.misfitCount == (bad == 3 ? 3 : 0))
    }
  }

  @Test("finds members of members by their paths, and leaves out those that hold arrays")
  func leftOut() throws {
    let shape = try SampleShape(
      of: sample([#"{"a":1,"A":"x","o":{"b":1.5,"p":{"q r":true}},"l":[1],"e":{},"o.b":"s"}"#]))
    #expect(
      shape.fields.map { "\($0.name) \(spelling($0)) \($0.path?.description ?? "")" } == [
        "a int64 $.a", "A_2 string $.A", "o.b double $.o.b", "o.p.q r bool $.o.p['q r']",
        "o.b_2 string $['o.b']",
      ])
    #expect(shape.leftOut.map { "\($0.name) \($0.reason)" } == ["l nested", "e nested"])
  }

  @Test("takes arrays of objects, and objects over several lines, for JSON")
  func jsonForms() throws {
    for values in [["[{\"a\":1},\n {\"a\":2}]"], ["{\n  \"a\": 1\n}\n{\"a\": 2}"]] {
      let shape = try SampleShape(of: sample(values))
      #expect(shape.format == .json && shape.recordCount == 2 && shape.otherCount == 0)
      #expect(shape.fields.map(spelling) == ["int64"])
    }
    // What begins with a bracket need not be JSON.
    #expect(try SampleShape(of: sample(["[1] first,2", "[2] next,3"])).format == .csv)
  }

  @Test("takes the names from a header that begins each message, or the log")
  func header() throws {
    let each = try SampleShape(of: sample(["id,name\n1,a\n2,b\n", "id,name\n3,c\n"]))
    #expect(each.fields.map(\.name) == ["id", "name"] && each.headerCount == 2 && each.hasNames)
    #expect(each.fields.map(spelling) == ["int64", "string"] && each.recordCount == 3)
    let first = try SampleShape(of: sample(["id,name\n", "1,a\n", "2,b\n"], firstOffset: 0))
    #expect(first.fields.map(\.name) == ["id", "name"] && first.headerCount == 1)
    // A bad record elsewhere is data: its texts become no names.
    let later = try SampleShape(of: sample(["eve,x\n", "1,a\n", "2,b\n"]))
    #expect(later.headerCount == 0 && later.fields.map(\.name) == ["field_1", "field_2"])
    let texts = try SampleShape(of: sample(["a,b\n", "c,d\n"], firstOffset: 0))
    #expect(texts.headerCount == 0)
  }

  @Test(
    "tells which delimiter makes several fields, where commas make none",
    arguments: [(";", "a b"), ("\t", "a b"), ("|", "a b")])
  func delimiter(delimiter: String, text: String) throws {
    let values = (0..<5).map { "\($0)\(delimiter)\(text)\n" }
    let shape = try SampleShape(of: sample(values))
    #expect(shape.csv == CSVDialect(delimiter: delimiter.utf8.first ?? 0))
    #expect(shape.fields.map(spelling) == ["int64", "string"] && shape.recordCount == 5)
    #expect(try SampleShape(of: sample(["1,a;b\n", "2,c;d\n"])).csv == .standard)
    #expect(try SampleShape(of: sample(["a;b\n", "c\n", "d|e;f\n"])).fields.count == 1)
  }

  @Test("takes a header that begins every message for one that names columns")
  func headerPerMessage() throws {
    let each = try SampleShape(of: sample(["id;a name\n1;a\n2;b\n", "id;a name\n3;c\n"]))
    #expect(each.csv == CSVDialect(delimiter: UInt8(ascii: ";"), header: .perMessage))
    #expect(each.fields.map { $0.path?.description } == ["$.id", "$['a name']"])
    let some = try SampleShape(
      of: sample(["id,name\n1,a\n2,b\n", "id,name\n3,c\n4,d\n", "5,e\n"]))
    #expect(some.csv == .standard && some.headerCount == 2)
    let first = try SampleShape(of: sample(["id,name\n", "1,a\n", "2,b\n"], firstOffset: 0))
    #expect(first.csv == .standard && first.headerCount == 1)
  }

  @Test("knows which times could be the event's: there in every record, and not in the future")
  func eventTimes() throws {
    let shape = try SampleShape(
      of: sample([
        #"{"at":"2026-11-23 09:59:00","due":"2026-12-23","paid":"2026-11-01","born":"1990-01-01"}"#,
        #"{"at":"2026-11-23 09:58:00","due":"2026-11-23","paid":null,"born":"1980-01-01"}"#,
      ]))
    #expect(shape.fields.map(\.isPossibleEventTime) == [true, false, false, true])
    #expect(shape.fields[0].typicalDelayMilliseconds == 120_000)
    #expect(shape.hasMessageTimes)
    let timeless = try SampleShape(of: sample([#"{"at":"2026-11-23"}"#], time: nil))
    #expect(!timeless.hasMessageTimes && timeless.fields[0].isPossibleEventTime)
    #expect(timeless.fields[0].typicalDelayMilliseconds == nil)
  }

  @Test(
    "is none where no job could read the messages, and says why",
    arguments: [
      ([], .noValues), ([nil, nil], .noValues), ([[]], .emptyValues),
      ([[0x1F, 0x8B, 8, 0]], .binary(.gzip)), ([[0x28, 0xB5, 0x2F, 0xFD]], .binary(.zstd)),
      ([[0, 0, 0, 0, 7, 2, 0x61]], .binary(.schemaRegistry)),
      ([[0x4F, 0x62, 0x6A, 1, 0xFF]], .binary(.avroFile)),
      ([[0x08, 0x96, 0x01, 0xFF]], .binary(.other)), ([[0x61, 0xE9, 0x2C]], .binary(.other)),
      ([Array("{'a': 1}".utf8)], .malformedJSON), ([Array("{}".utf8)], .malformedJSON),
      ([Array("a,b\nc\nd,e,f\n".utf8)], .unevenCSV),
      ([Array(String(repeating: ",", count: 500).utf8)], .tooManyFields),
      ([Array("{\"a\":[1]}".utf8)], .noFields),
    ] as [([[UInt8]?], SampleFault)])
  func faults(values: [[UInt8]?], fault: SampleFault) {
    #expect(throws: fault) { try SampleShape(of: sample(bytes: values)) }
  }

  @Test("survives any bytes", arguments: 0..<300)
  func anything(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let pieces = ["{", "}", "\"", ",", ":", "a", "1", ".", "e", "\n", "\\", "[", "]", "null", " "]
    let values = (0..<Int(random.next() % 6)).map { _ in
      (0..<Int(random.next() % 30)).flatMap { _ in
        random.next() % 40 == 0
          ? [UInt8(truncatingIfNeeded: random.next())]
          : Array(pieces[Int(random.next() % UInt64(pieces.count))].utf8)
      }
    }
    for format in [nil, InputFormat.csv, .json] {
      guard let shape = try? SampleShape(of: sample(bytes: values), as: format) else { continue }
      #expect(!shape.fields.isEmpty)
    }
  }
}
