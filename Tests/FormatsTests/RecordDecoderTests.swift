import Formats
import Offsets
import Tables
import TestSupport
import Testing

/// Decodes messages of one partition, each given as bytes or nil for a null value.
func decode(
  _ format: InputFormat, _ fields: [InputField], _ values: [[UInt8]?],
  csv: CSVDialect = .standard, tombstones: TombstonePolicy = .reject,
  messageFields: [MessageField] = [], time: String? = nil,
  future: Int64 = .max, timestamp: Int64? = 1_000, key: [UInt8]? = nil, limit: Int = 1 << 20
) -> RecordBatch {
  var decoder = RecordDecoder(
    format: format, fields: fields, csv: csv, tombstones: tombstones,
    messageFields: messageFields, requiredTimeColumn: time, futureLimitMilliseconds: future,
    recordByteLimit: limit)
  var batch = RecordBatch(decoder.schema)
  for (offset, value) in values.enumerated() {
    (value ?? []).withUnsafeBytes { bytes in
      (key ?? []).withUnsafeBytes { keyBytes in
        let message = Message(
          offset: Int64(offset), timestampMilliseconds: timestamp, key: key == nil ? nil : keyBytes,
          value: value == nil ? nil : bytes)
        withUnsafePointer(to: message) {
          decoder.decode(
            UnsafeBufferPointer(start: $0, count: 1), topic: "calls", partition: 3,
            partitionIndex: 0, into: &batch)
        }
      }
    }
  }
  return batch
}

func decode(_ format: InputFormat, _ fields: [InputField], _ text: String) -> RecordBatch {
  decode(format, fields, [Array(text.utf8)])
}

func field(
  _ name: String, _ type: ColumnType, _ encoding: TimestampEncoding = .text, nullable: Bool = false
) -> InputField {
  InputField(ColumnDefinition(name, type, isNullable: nullable), timestampEncoding: encoding)
}

/// Its bytes, as the judges in Python take texts.
func hexadecimal(_ text: String) -> String {
  text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

@Suite("A decoder")
struct RecordDecoderTests {
  let calls = [field("api_id", .int32), field("time_taken", .int32)]

  @Test("reads several records of a message, in order, with or without a last newline")
  func several() {
    let batch = decode(.csv, calls, [Array("1,2\n3,4\r\n\n5,6".utf8), Array("7,8\n".utf8)])
    #expect(batch.columns[0].integers == [1, 3, 5, 7])
    #expect(batch.columns[1].integers == [2, 4, 6, 8])
    #expect(batch.offsets == [0, 0, 0, 1])
    #expect(batch.rejects.isEmpty)
  }

  @Test(
    """
    keeps records, and asks for headers, of those messages alone that are known to be refused, and \
    of each message once
    """)
  func keptRecords() throws {
    var decoder = RecordDecoder(
      format: .csv, fields: calls, messageFields: [], requiredTimeColumn: nil,
      recordByteLimit: 100)
    var batch = RecordBatch(decoder.schema)
    decoder.refusedMessages = [MessagePlace(partitionIndex: 0, offset: 1)]
    var askedCounts = [0, 0, 0]
    askedCounts.withUnsafeMutableBufferPointer { counts in
      let values = ["1,2", "3,4\nx\n5,6", "7,8"].map { Array($0.utf8) }
      for (index, value) in values.enumerated() {
        let headers = MessageHeaders(of: UnsafeRawPointer(counts.baseAddress! + index)) {
          count, _, _ in
          UnsafeMutablePointer(mutating: count.assumingMemoryBound(to: Int.self)).pointee += 1
          return false
        }
        value.withUnsafeBytes { bytes in
          let message = Message(
            offset: Int64(index), timestampMilliseconds: 0, key: nil, value: bytes,
            headers: headers)
          withUnsafePointer(to: message) {
            decoder.decode(
              UnsafeBufferPointer(start: $0, count: 1), topic: "calls", partition: 3,
              partitionIndex: 0, into: &batch)
          }
        }
      }
    }
    #expect(
      batch.records.map { $0.map { String(decoding: $0.bytes, as: UTF8.self) } }
        == [nil, "3,4", "5,6", nil])
    #expect(batch.rejects.map(\.record) == [1])
    // Once for what is kept, once for what does not decode.
    #expect(askedCounts == [0, 2, 0])
  }

  @Test(
    "cuts a text before the character that does not fit, and what is no text anywhere",
    arguments: [
      ("abc", 3, 3), ("abcd", 3, 3), ("ab\u{e9}", 3, 2), ("a\u{20ac}", 3, 1), ("\u{1f600}", 3, 0),
      ("\u{1f600}x", 4, 4), ("\u{e9}\u{e9}", 3, 2), ("\u{e9}", 0, 0), ("", 0, 0),
    ])
  func textPrefixes(text: String, limit: Int, expected: Int) {
    #expect(textPrefix(of: Array(text.utf8), limit).count == expected)
    #expect(textPrefix(of: [UInt8](repeating: 0x80, count: limit + 4), limit).count == limit)
  }

  @Test("reads CSV as ClickHouse's Kafka engine writes it")
  func clickHouseCSV() {
    let fields = [
      field("a", .int32), field("t", .timestamp), field("s", .string),
      field("n", .int64, nullable: true), field("l", .string),
    ]
    let batch = decode(
      .csv, fields,
      "2,\"2026-11-23 01:02:04.000\",\"q\"\"uo,te\nline\",\\N,\"[]\"\n3,\"2026-11-23 "
        + "01:02:05\",x,7,\"\\N\"\n"
    )
    #expect(batch.rejects.isEmpty)
    #expect(batch.columns[1].integers == [1_795_395_724_000, 1_795_395_725_000])
    #expect(batch.columns[2].text[0] == "q\"uo,te\nline")
    #expect(batch.columns[3].isNull == [true, false])
    #expect(batch.columns[4].text[1] == "\\N")
  }

  @Test(
    """
    takes the short way of plain integers to the same records and rejects as the general way, \
    for random messages and chunks
    """
  )
  func shortWay() {
    var random = SeededRandom(seed: 9)
    let odd = [
      "", "-", "-0", "007", "2147483647", "2147483648", "-2147483648", "-2147483649",
      "999999999999999999", "1000000000000000000",
      "9223372036854775807", "9223372036854775808", "-9223372036854775808", "+1", " 1", "1 ", "\\N",
      "\"5\"", "1.0", "x", "1,2", "é",
    ]
    func number() -> String {
      Int.random(in: 0..<10, using: &random) == 0
        ? odd.randomElement(using: &random) ?? ""
        : String(Int64.random(in: -2_000_000...2_000_000, using: &random))
    }
    let fields = [
      field("a", .int32), field("b", .int64, nullable: true), field("c", .int32, nullable: true),
    ]
    for _ in 0..<2_000 {
      let values = (0..<Int.random(in: 0...30, using: &random)).map { _ -> [UInt8]? in
        if Int.random(in: 0..<40, using: &random) == 0 { return nil }
        let ending =
          ["\n", "\n", "", "\r\n", "\n\n", "\n1,2,3\n", ",4\n"].randomElement(using: &random) ?? ""
        return Array("\(number()),\(number()),\(number())\(ending)".utf8)
      }
      let times = values.map { _ in
        Int.random(in: 0..<20, using: &random) == 0 ? nil : Int64.random(in: 0...9, using: &random)
      }
      let keys = values.map { _ -> [UInt8]? in
        [nil, [], [0x61], [0xFF]][Int.random(in: 0..<4, using: &random)]
      }
      func decoded(takesShortcuts: Bool) -> RecordBatch {
        var decoder = RecordDecoder(
          format: .csv, fields: fields, messageFields: [.key, .timestamp, .offset],
          requiredTimeColumn: "record_timestamp",
          recordByteLimit: 24,
          takesShortcuts: takesShortcuts)
        var batch = RecordBatch(decoder.schema)
        // All bytes live in one piece of memory until the chunk is decoded.
        let memory = values.map { $0 ?? [] } + keys.map { $0 ?? [] }
        let pieces = memory.map { piece -> UnsafeMutableRawBufferPointer in
          let copy = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(1, piece.count), alignment: 1)
          copy.copyBytes(from: piece)
          return copy
        }
        defer { for piece in pieces { piece.deallocate() } }
        let messages = values.indices.map { index in
          Message(
            offset: Int64(index), timestampMilliseconds: times[index],
            key: keys[index].map {
              UnsafeRawBufferPointer(
                start: pieces[values.count + index].baseAddress, count: $0.count)
            },
            value: values[index].map {
              UnsafeRawBufferPointer(start: pieces[index].baseAddress, count: $0.count)
            })
        }
        messages.withUnsafeBufferPointer {
          decoder.decode($0, topic: "t", partition: 0, partitionIndex: 0, into: &batch)
        }
        return batch
      }
      let (short, general) = (decoded(takesShortcuts: true), decoded(takesShortcuts: false))
      #expect(short.columns == general.columns && short.offsets == general.offsets)
      #expect(short.rejects == general.rejects && short.slices == general.slices)
    }
  }

  @Test("reads JSON objects by name, in any order, passing over what is not declared")
  func json() {
    let batch = decode(
      .json, calls,
      "{\"api_id\":3,\"time_taken\":4}\n"
        + "{\"x\":[1,{\"y\":null}],\"time_taken\":6,\"api_id\":\"5\"}\n"
        + " { \"time_taken\" : 8 , \"api_\\u0069d\" : 7 }\n"
    )
    #expect(batch.rejects.isEmpty)
    #expect(batch.columns[0].integers == [3, 5, 7])
    #expect(batch.columns[1].integers == [4, 6, 8])
  }

  @Test("undoes JSON's escapes, surrogate pairs included")
  func escapes() {
    let batch = decode(
      .json, [field("s", .string)], #"{"s":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00ü"}"#)
    #expect(batch.columns[0].text[0] == "a\"\\/\u{8}\u{C}\n\r\té😀ü")
  }

  @Test(
    "refuses a record that is not of its types, and says why",
    arguments: [
      ("1,2,3\n", Reject.Reason.extraField, nil as String?), ("1\n", .missingField, "time_taken"),
      ("x,2\n", .wrongType, "api_id"),
      (",2\n", .wrongType, "api_id"), ("1,2.5\n", .wrongType, "time_taken"),
      ("3000000000,2\n", .outOfRange, "api_id"),
      ("1,99999999999999999999\n", .outOfRange, "time_taken"), ("\\N,2\n", .notNullable, "api_id"),
      ("\"1,2\n", .malformed, "api_id"),
      ("\"1\"x,2\n", .malformed, "api_id"), ("", .malformed, nil), ("\n\n", .malformed, nil),
      ("1,0x10\n", .wrongType, "time_taken"),
      ("1,--2\n", .wrongType, "time_taken"), ("1, \n", .wrongType, "time_taken"),
      ("1,- 2\n", .wrongType, "time_taken"), ("1,\u{A0}2\n", .wrongType, "time_taken"),
      ("1,9223372036854775808\n", .outOfRange, "time_taken"),
    ])
  func csvFaults(text: String, reason: Reject.Reason, column: String?) {
    let batch = decode(.csv, calls, text)
    #expect(batch.rowCount == 0)
    #expect(batch.columns.allSatisfy { $0.count == 0 })
    #expect(batch.rejects.count == 1)
    #expect(batch.rejects.first?.reason == reason)
    #expect(batch.rejects.first?.field == column)
  }

  @Test(
    "refuses JSON that is not RFC 8259's, or not of the types",
    arguments: [
      (#"{"api_id":1}"#, Reject.Reason.missingField),
      (#"{"api_id":1,"api_id":2,"time_taken":3}"#, .duplicateField),
      (#"{"api_id":1,"time_taken":}"#, .malformed), (#"{"api_id":1,"time_taken":2,}"#, .malformed),
      (#"{"api_id":01,"time_taken":2}"#, .malformed),
      (#"{"api_id":1,"time_taken":NaN}"#, .malformed), (#"[1]"#, .malformed),
      (#"{"api_id":1,"time_taken":2} x"#, .malformed),
      (#"{"api_id":1,"time_taken":null}"#, .notNullable),
      (#"{"api_id":true,"time_taken":2}"#, .wrongType),
      (#"{"api_id":[1],"time_taken":2}"#, .wrongType), (#"{"api_id":1,"time_taken":2"#, .malformed),
      (#"{'api_id':1,"time_taken":2}"#, .malformed),
      (#"{"api_id":1,"time_taken":+2}"#, .malformed),
      (#"{"api_id":1,"time_taken":.5}"#, .malformed),
      (#"{"api_id":1.5,"time_taken":2}"#, .wrongType),
      (#"{"api_id":1,"time_taken":2,"s":"\x"}"#, .malformed),
      (#"{"api_id":1,"time_taken":2,"s":"\ud83"}"#, .malformed),
      ("{}", .missingField),
      ("{\"api_id\":1,\"time_taken\":2,\"s\":\"a\tb\"}", .malformed),
      (String(repeating: "[", count: 100_000), .malformed),
    ])
  func jsonFaults(text: String, reason: Reject.Reason) {
    let batch = decode(.json, calls, text)
    #expect(batch.rowCount == 0)
    #expect(batch.rejects.map(\.reason) == [reason])
  }

  @Test("keeps U+0000, broken UTF-8, lone surrogates, NaN and infinities out")
  func invalidValues() {
    let string = [field("s", .string)]
    for bytes: [UInt8] in [
      [0x61, 0x00], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
      [0xE2, 0x82],
    ] {
      #expect(decode(.csv, string, [bytes]).rejects.map(\.reason) == [.invalidText])
    }
    #expect(decode(.json, string, #"{"s":"\ud800"}"#).rejects.map(\.reason) == [.invalidText])
    #expect(decode(.json, string, #"{"s":"\u0000"}"#).rejects.map(\.reason) == [.invalidText])
    for text in ["nan", "NaN", "inf", "-Infinity"] {
      #expect(decode(.csv, [field("d", .double)], text).rejects.map(\.reason) == [.notFinite])
    }
    #expect(decode(.csv, [field("d", .double)], "1e999").rejects.map(\.reason) == [.outOfRange])
    let zero = decode(.csv, [field("d", .double)], "-0.0")
    #expect(zero.columns[0].doubles.first?.sign == .plus)
  }

  @Test("passes over tombstones where it is told to, and counts them; an empty value is none")
  func tombstones() {
    for format in InputFormat.allCases {
      let record: [UInt8]? = Array((format == .csv ? "7,8" : #"{"n":7,"v":8}"#).utf8)
      let fields = [field("n", .int32), field("v", .int64)]
      let batch = decode(format, fields, [nil, record, nil, [], record, nil], tombstones: .skip)
      #expect(batch.tombstoneCount == 3 && batch.offsets == [1, 4])
      #expect(batch.rejects.map(\.offset) == [3])
      var all = RecordBatch(batch.schema)
      all.append(batch)
      all.append(batch)
      #expect(all.tombstoneCount == 6)
      all.removeAllKeepingCapacity()
      #expect(all.tombstoneCount == 0)
      let rejected = decode(format, fields, [nil, record, nil])
      #expect(rejected.tombstoneCount == 0 && rejected.rejects.count == 2)
    }
  }

  @Test(
    "takes a null value, a record over the limit and a missing time for rejects, not for crashes")
  func messages() {
    #expect(decode(.csv, calls, [nil]).rejects.map(\.raw) == [nil])
    for format in InputFormat.allCases {
      #expect(
        decode(format, calls, [nil, []]).rejects.map(\.reason) == [.nullValue, .malformed])
    }
    #expect(
      decode(.csv, calls, [Array("1,2\n".utf8)], limit: 2).rejects.map(\.reason) == [
        .recordTooLarge
      ])
    let noTime = decode(
      .csv, calls, [Array("1,2\n".utf8)], messageFields: [.timestamp], time: "record_timestamp",
      timestamp: nil)
    #expect(noTime.rejects.map(\.reason) == [.missingTimestamp])
    #expect(noTime.columns.allSatisfy { $0.count == 0 })
  }

  @Test(
    "refuses a window's time that is further ahead of the message's than it may be",
    arguments: [
      ("1060", 1_000_000 as Int64?, true), ("1061", 1_000_000, false), ("-5", 1_000_000, true),
      ("1795600000000", 1_000_000, false), ("1795600000", nil, true),
      ("99999999999", .max - 59_999, true), ("0", .min, false),
    ])
  func future(text: String, timestamp: Int64?, isTaken: Bool) {
    let fields = [field("at", .timestamp, .unixSeconds), field("later", .timestamp, .unixSeconds)]
    // A field that no window reads may hold any time.
    let batch = decode(
      .csv, fields, [Array("\(text),9999999999\n".utf8)], time: "at", future: 60_000,
      timestamp: timestamp)
    #expect(batch.rowCount == (isTaken ? 1 : 0))
    if text == "1061" {
      #expect(
        batch.rejects.map(\.reason) == [.futureTimestamp] && batch.rejects[0].field == "at"
          && batch.rejects[0].timestampMilliseconds == timestamp)
    }
    // The message's own time is not ahead of itself.
    let own = decode(
      .csv, fields, [Array("0,0\n".utf8)], messageFields: [.timestamp], time: "record_timestamp",
      future: 60_000, timestamp: 1_795_600_000_000)
    #expect(own.rowCount == 1)
  }

  @Test("takes blanks around a value of CSV that is no text, and none in JSON")
  func blanks() {
    let fields = [
      field("i", .int32), field("d", .double), field("m", .decimal(precision: 9, scale: 2)),
      field("t", .timestamp), field("b", .bool), field("n", .int64, nullable: true),
      field("s", .string),
    ]
    let batch = decode(
      .csv, fields,
      " 1,\t2.5 , 3.25\t,2026-11-23 10:05:00 ,true ,\t , a \n"
        + "\" 1 \",\" 2.5\",3.25,2026-11-23,1, \\N ,\\N\u{20}\r\n")
    #expect(batch.rejects.isEmpty)
    #expect(batch.columns[0].integers == [1, 1] && batch.columns[1].doubles == [2.5, 2.5])
    #expect(batch.columns[2].integers == [325, 325] && batch.columns[4].integers == [1, 1])
    #expect(batch.columns[5].isNull == [true, true])
    #expect(batch.columns[6].text[0] == " a " && batch.columns[6].text[1] == "\\N ")
    for text in [#"{"i":" 1"}"#, #"{"i":"1 "}"#] {
      #expect(decode(.json, [fields[0]], text).rejects.map(\.reason) == [.wrongType])
    }
  }

  @Test("takes the texts for NULL that it is told, in fields without quotes alone")
  func nullTexts() {
    let fields = [
      field("i", .int64, nullable: true), field("s", .string, nullable: true),
      field("m", .string),
    ]
    func batch(_ text: String, _ nullTexts: [String]) -> RecordBatch {
      decode(.csv, fields, [Array(text.utf8)], csv: CSVDialect(nullTexts: nullTexts))
    }
    let all = batch(
      "-1,NA,x\n NA ,,y\nNULL,\\N,z\n,\"NA\",\"NA\"\n7,NAN,x\n", ["NA", "-1", "NULL"])
    #expect(all.rejects.isEmpty)
    #expect(all.columns[0].isNull == [true, true, true, true, false])
    #expect(all.columns[1].isNull == [true, false, false, false, false])
    #expect((1...3).map { all.columns[1].text[$0] } == ["", "\\N", "NA"])
    // An empty field is an empty text, unless it is listed.
    let empty = batch("1,,x\n2,\"\",y\n", [""])
    #expect(empty.columns[1].isNull == [true, false])
    #expect(batch("1,a,\n", [""]).rejects.map(\.reason) == [.notNullable])
    #expect(batch("\\N,a,b\n", []).rejects.map(\.reason) == [.wrongType])
    // An integer among them is none on the short way either.
    let integers = decode(
      .csv, Array(fields[..<1]), [Array("-1\n7\n".utf8), Array("-1\n".utf8), Array("3\n".utf8)],
      csv: CSVDialect(nullTexts: ["-1"]))
    #expect(integers.columns[0].isNull == [true, false, true, false])
    // One whose mark is another's is no other.
    #expect(batch("1,N\\,b\n1,\\M,b\n", ["\\N"]).columns[1].isNull == [false, false])
  }

  @Test("gives the message's own fields as columns")
  func messageFields() {
    let batch = decode(
      .csv, calls, [Array("1,2\n".utf8)], messageFields: MessageField.allCases, key: Array("k".utf8)
    )
    #expect(batch.columns[2].text[0] == "k")
    #expect(batch.columns[3].integers == [1_000])
    #expect(batch.columns[4].text[0] == "calls")
    #expect(batch.columns[5].integers == [3])
    #expect(batch.columns[6].integers == [0])
    #expect(
      decode(.csv, calls, [Array("1,2\n".utf8)], messageFields: [.key]).columns[2].isNull == [true])
  }

  @Test("after a fault in a record the next ones are read")
  func goesOn() {
    let batch = decode(.csv, calls, "1,2\nx,y\n3,4\n")
    #expect(batch.columns[0].integers == [1, 3])
    #expect(batch.rejects.map(\.record) == [1])
    #expect(batch.rejects.first?.raw.map { String(decoding: $0, as: UTF8.self) } == "x,y")
  }

  @Test(
    "stays whole under 200,000 random mutations of good records",
    arguments: [InputFormat.csv, .json])
  func mutations(format: InputFormat) {
    let seed: UInt64 = 20_261_124
    var random = SeededRandom(seed: seed)
    let fields = [
      field("a", .int32), field("b", .double, nullable: true), field("s", .string),
      field("t", .timestamp, nullable: true),
      field("d", .decimal(precision: 9, scale: 2)),
    ]
    let good = Array(
      (format == .csv
        ? "12,1.5e3,\"te\"\"xt\",2026-11-23T10:05:00Z,3.14\n-7,\\N,üx,\\N,0\n"
        : #"{"a":12,"b":1.5e3,"s":"te\"xt\u00e9","t":"2026-11-23T10:05:00Z","d":3.14}"# + "\n").utf8
    )
    let alphabet = Array("\",\\N\n\r{}[]:0123456789.eE+-tfnu\u{0}\u{FF} ".utf8)
    for _ in 0..<100_000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0..<max(1, bytes.count), using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0 where !bytes.isEmpty: bytes[place] = alphabet.randomElement(using: &random) ?? 0
        case 1 where !bytes.isEmpty: bytes.remove(at: place)
        default:
          bytes.insert(alphabet.randomElement(using: &random) ?? 0, at: min(place, bytes.count))
        }
      }
      let batch = decode(format, fields, [bytes])
      let isAligned =
        batch.columns.allSatisfy { $0.count == batch.rowCount }
        && batch.rowCount + batch.rejects.count > 0
      #expect(isAligned, "seed \(seed): \(bytes)")
      if !isAligned { return }
    }
  }
}

@Suite("Numbers and times as text")
struct ValueTextTests {
  @Test("integers are read to both ends of their type")
  func integers() {
    let batch = decode(
      .csv, [field("a", .int64)], "9223372036854775807\n-9223372036854775808\n+5\n007\n")
    #expect(batch.columns[0].integers == [.max, .min, 5, 7])
  }

  @Test(
    "integers are read from whatever is exactly one",
    arguments: [
      ("16.0", 16 as Int64?), ("1e3", 1_000), ("1.25E+2", 125), ("-120e-1", -12), ("-0.0", 0),
      ("5.", 5), ("9223372036854775807.0", .max), ("-9.223372036854775808e18", .min),
      ("9223372036854775808.0", nil), ("1e19", nil), ("16.5", nil), ("1e-1", nil), ("1e", nil),
      ("0e999999999999", 0), ("1e999999999", nil), ("1e-999999999", nil), (".", nil),
      ("1.0.0", nil), ("000000000000000000000016.000", 16),
    ])
  func wholeNumbers(text: String, expected: Int64?) {
    let fields = [field("a", .int64)]
    #expect(decode(.csv, fields, text).columns[0].integers.first == expected)
    #expect(decode(.json, fields, "{\"a\":\"\(text)\"}").columns[0].integers.first == expected)
    if ["16.0", "1e3", "16.5", "1e999999999"].contains(text) {
      #expect(decode(.json, fields, "{\"a\":\(text)}").columns[0].integers.first == expected)
    }
    let narrow = decode(.csv, [field("a", .int32)], "\(text)\n3e9\n")
    let fits = expected.map { Int32(exactly: $0) != nil } ?? false
    #expect(narrow.columns[0].integers == (fits ? [expected ?? 0] : []))
    #expect(narrow.rejects.last?.reason == .outOfRange)
  }

  @Test("an exponent of any size costs no more than its text")
  func exponents() {
    // The digits reach as far as the exponent takes them back, and their number is no limit.
    let zeros = String(repeating: "0", count: 200_000)
    for (text, expected) in [("0.\(zeros)1e200001", 1), ("1\(zeros)e-200000", 1)] {
      let batch = decode(
        .csv,
        [field("i", .int32), field("d", .double), field("m", .decimal(precision: 5, scale: 0))],
        "\(text),\(text),\(text)")
      #expect(batch.columns[0].integers == [Int64(expected)])
      #expect(batch.columns[1].doubles == [Double(expected)])
      #expect(batch.columns[2].integers == [Int64(expected)])
    }
    #expect(decode(.csv, [field("d", .double)], "0.\(zeros)1e999999").rejects.count == 1)
  }

  @Test("doubles are rounded as the standard library rounds them")
  func doubles() {
    var random = SeededRandom(seed: 5)
    for _ in 0..<20_000 {
      let text: String
      switch Int.random(in: 0..<3, using: &random) {
      case 0: text = "\(Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &random)))"
      case 1:
        text =
          "\(Int64.random(in: -999_999_999...999_999_999, using: &random))"
          + ".\(UInt32.random(in: 0...999_999, using: &random))"
      default:
        text =
          "\(UInt64.random(in: 0...UInt64.max, using: &random))"
          + "e\(Int.random(in: -340...300, using: &random))"
      }
      guard let expected = Double(text), expected.isFinite else { continue }
      let batch = decode(.csv, [field("d", .double)], text)
      #expect(batch.columns[0].doubles == [expected == 0 ? 0 : expected], "\(text)")
    }
  }

  @Test(
    "a byte order mark at a message's start is no part of it, and one elsewhere is",
    arguments: [InputFormat.csv, .json])
  func byteOrderMark(format: InputFormat) {
    func text(_ value: String) -> String {
      format == .csv ? "\(value),1\n" : "{\"k\":\"\(value)\",\"n\":1}\n"
    }
    let fields = [field("k", .string), field("n", .int32)]
    let marked = decode(format, fields, "\u{FEFF}" + text("alpha") + text("\u{FEFF}beta"))
    #expect(
      marked.rowCount == 2 && marked.columns[0].text[0] == "alpha"
        && marked.columns[0].text[1] == "\u{FEFF}beta")
    #expect(decode(format, fields, "\u{FEFF}").rejects.count == 1)
    #expect(decode(.csv, [field("n", .int32)], "\u{FEFF}7\n").columns[0].integers == [7])
  }

  @Test(
    "decimals keep their digits, and refuse what they cannot keep",
    arguments: [
      ("12.34", 1_234 as Int64?), ("-0.5", -50), ("7", 700), ("1.230", 123), ("1.234", nil),
      ("12345678.90", nil), ("1e2", 10_000),
      ("", nil), ("0E-8", 0), ("1.5e3", 150_000),
      ("1E+3", 100_000), ("1e-7", nil), ("-123.4e-1", -1_234), ("12340e-3", 1_234), ("1e6", nil),
      ("0e999999999999999999999", 0),
      ("1e999999999999999999999", nil), ("1e", nil), ("1e+", nil), ("e5", nil), ("1e5x", nil),
      ("1e1.5", nil), (".5e1", 500),
      ("5.e1", 5_000), ("1234567890123456789e-18", nil), ("1230000000000000000000e-21", 123),
      ("+0.001e3", 100), ("1e2e2", nil),

      (".5", 50),
    ])
  func decimals(text: String, expected: Int64?) {
    let batch = decode(.csv, [field("d", .decimal(precision: 8, scale: 2))], "\(text)\n,")
    #expect(batch.columns[0].integers.first == expected)
  }

  @Test(
    "times are read from ISO 8601, ClickHouse and Unix",
    arguments: [
      ("2026-11-23T10:05:00Z", TimestampEncoding.text, 1_795_428_300_000 as Int64?),
      ("2026-11-23 10:05:00.123456", .text, 1_795_428_300_123),
      ("2026-11-23T12:05:00+02:00", .text, 1_795_428_300_000),
      ("1969-12-31T23:59:59.999Z", .text, -1),
      ("2024-02-29", .text, 1_709_164_800_000),
      // The fuzzer found that a colon without minutes was taken.
      ("2026-11-23T12:05:00+02", .text, 1_795_428_300_000), ("2026-11-23T12:05:00+02:", .text, nil),
      ("2026-11-23T10:05:00z", .text, 1_795_428_300_000),
      ("2026-11-23t10:05:00z", .text, 1_795_428_300_000),
      ("2026-11-23 10:05:00 UTC", .text, 1_795_428_300_000),
      ("2026-11-23T10:05:00.5 UTC", .text, 1_795_428_300_500),
      ("2026-11-23 UTC", .text, nil), ("2026-11-23 10:05:00 UT", .text, nil),
      ("2026-11-23 10:05:00  UTC", .text, nil), ("2026-11-23 10:05:00Z UTC", .text, nil),
      ("2026-11-23x10:05:00", .text, nil),
      ("2023-02-29", .text, nil), ("2026-13-01", .text, nil), ("2026-11-23T24:00:00Z", .text, nil),
      ("2026-11-23T10:05:60Z", .text, nil),
      ("1763892300", .unixSeconds, 1_763_892_300_000),
      ("1763892300.5", .unixSeconds, 1_763_892_300_500), ("-1", .unixMilliseconds, -1),
      ("12x", .unixMilliseconds, nil), ("1795600000000", .unixSeconds, nil),
      ("1.7956e9", .unixSeconds, 1_795_600_000_000),
      ("253402300799", .unixSeconds, 253_402_300_799_000), ("253402300800", .unixSeconds, nil),
      ("-62135596800", .unixSeconds, -62_135_596_800_000),
      ("-62135596801", .unixSeconds, nil), ("253402300800000", .unixMilliseconds, nil),
      ("9223372036854775807", .unixMilliseconds, nil),
      ("1.79E9", .unixSeconds, 1_790_000_000_000),
      ("1.79E12", .unixMilliseconds, 1_790_000_000_000),
      ("1795428300123.9", .unixMilliseconds, 1_795_428_300_123),
      ("1795428300123456", .unixMicroseconds, 1_795_428_300_123),
      ("1.795428300123456e15", .unixMicroseconds, 1_795_428_300_123),
      ("-1999", .unixMicroseconds, -1), ("999", .unixMicroseconds, 0),
      ("253402300799999999", .unixMicroseconds, 253_402_300_799_999),
      ("253402300800000000", .unixMicroseconds, nil), ("12x", .unixMicroseconds, nil),
      ("1e999999999", .unixSeconds, nil), ("1e-999999999", .unixMicroseconds, 0),
      ("1e-9", .unixSeconds, 0), ("-62135596800001", .unixMilliseconds, nil),
    ])
  func times(text: String, encoding: TimestampEncoding, expected: Int64?) {
    #expect(
      decode(.csv, [field("t", .timestamp, encoding)], text).columns[0].integers.first == expected)
  }

  @Test("formatting and parsing a time are inverse")
  func inverse() {
    var random = SeededRandom(seed: 9)
    for _ in 0..<20_000 {
      let milliseconds = Int64.random(in: -62_135_596_800_000...253_402_300_799_999, using: &random)
      let text = TimestampText.format(milliseconds: milliseconds)
      #expect(TimestampText.parse(text) == milliseconds)
    }
  }
}

@Suite("Encoders")
struct EncoderTests {
  private var table: Table {
    let schema = Schema([
      ColumnDefinition("n,ame", .string, isNullable: true), ColumnDefinition("d", .double),
      ColumnDefinition("b", .bool),
      ColumnDefinition("t", .timestamp), ColumnDefinition("m", .decimal(precision: 9, scale: 2)),
    ])
    var columns = schema.columns.map { Column($0.type) }
    for (text, double) in [("plain", 0.1), ("q\"u,o\nte", 5), ("\\N", 1e-7), ("", 1e22)] {
      columns[0].append(string: text)
      columns[1].append(double: double)
      columns[2].append(integer: 1)
      columns[3].append(integer: 1_795_428_300_123)
      columns[4].append(integer: -5)
    }
    columns[0].appendNull()
    columns[1].append(double: -2.5)
    columns[2].append(integer: 0)
    columns[3].append(integer: -1)
    columns[4].append(integer: 1_234_567)
    return Table(schema, columns: columns)
  }

  @Test("CSV quotes what needs it and tells NULL from text")
  func csv() throws {
    let bytes = try CSVEncoder.encode(table)
    #expect(
      String(decoding: bytes, as: UTF8.self) == """
        "n,ame",d,b,t,m
        plain,0.1,true,2026-11-23T10:05:00.123Z,-0.05
        "q""u,o
        te",5.0,true,2026-11-23T10:05:00.123Z,-0.05
        "\\N",1e-07,true,2026-11-23T10:05:00.123Z,-0.05
        "",1e+22,true,2026-11-23T10:05:00.123Z,-0.05
        \\N,-2.5,false,1969-12-31T23:59:59.999Z,12345.67

        """)
  }

  @Test("JSON lines are valid JSON with the columns' names")
  func json() throws {
    let bytes = try JSONLinesEncoder.encode(table)
    #expect(
      String(decoding: bytes, as: UTF8.self) == """
        {"n,ame":"plain","d":0.1,"b":true,"t":"2026-11-23T10:05:00.123Z","m":-0.05}
        {"n,ame":"q\\"u,o\\nte","d":5.0,"b":true,"t":"2026-11-23T10:05:00.123Z","m":-0.05}
        {"n,ame":"\\\\N","d":1e-07,"b":true,"t":"2026-11-23T10:05:00.123Z","m":-0.05}
        {"n,ame":"","d":1e+22,"b":true,"t":"2026-11-23T10:05:00.123Z","m":-0.05}
        {"n,ame":null,"d":-2.5,"b":false,"t":"1969-12-31T23:59:59.999Z","m":12345.67}

        """)
  }

  @Test("both end where an object would be longer than it may be, also where escapes make it so")
  func tooLong() throws {
    let csv = try CSVEncoder.encode(table)
    let json = try JSONLinesEncoder.encode(table)
    #expect(try CSVEncoder.encode(table, byteLimit: csv.count) == csv)
    #expect(try JSONLinesEncoder.encode(table, byteLimit: json.count) == json)
    #expect(throws: EncodedTooLong(byteLimit: csv.count - 1)) {
      try CSVEncoder.encode(table, byteLimit: csv.count - 1)
    }
    #expect(throws: EncodedTooLong(byteLimit: json.count - 1)) {
      try JSONLinesEncoder.encode(table, byteLimit: json.count - 1)
    }
    var controls = Column(.string)
    for _ in 0..<100 { controls.append(string: String(repeating: "\u{1}", count: 100)) }
    let escaped = Table(Schema([ColumnDefinition("c", .string)]), columns: [controls])
    #expect(throws: EncodedTooLong(byteLimit: 50_000)) {
      try JSONLinesEncoder.encode(escaped, byteLimit: 50_000)
    }
    #expect(EncodedTooLong(byteLimit: 7).description.contains("limits.object_bytes"))
  }
}
