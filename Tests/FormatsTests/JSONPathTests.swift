import Foundation
import Offsets
import Tables
import TestSupport
import Testing

@testable import Formats

@Suite("A path in JSON")
struct JSONPathTests {
  private static func path(_ text: String) throws -> JSONPath { try #require(JSONPath(text)) }

  @Test("names keys, with or without quotes, and the positions of elements")
  func steps() throws {
    for (text, steps, canonical) in [
      ("$.a", [.key("a")], "$.a"),
      ("$.payload.after.user.id", ["payload", "after", "user", "id"].map { .key($0) }, nil),
      ("$['a.b'].c", [.key("a.b"), .key("c")], nil),
      ("$[\"a'b\"]", [.key("a'b")], #"$['a\'b']"#), (#"$['a\'b']"#, [.key("a'b")], nil),
      (#"$['a\\']"#, [.key("a\\")], nil),
      ("$.@timestamp", [.key("@timestamp")], "$['@timestamp']"),
      ("$['@timestamp']", [.key("@timestamp")], nil), ("$['']", [.key("")], nil),
      ("$.tags[0]", [.key("tags"), .element(0)], nil),
      ("$.naïve-key_1", [.key("naïve-key_1")], nil),
    ] as [(String, [JSONPath.Step], String?)] {
      let path = try Self.path(text)
      #expect(path.steps == steps)
      #expect(path.description == canonical ?? text)
      #expect(try Self.path(path.description) == path)
    }
  }

  @Test(
    "is refused where it is none, names no one place, or is too long",
    arguments: [
      "", "$", "a", ".a", "$a", "$.", "$..a", "$.*", "$[*]", "$[-1]", "$[01]", "$[1", "$['a",
      "$[a]",
      "$['a'", "$[1:2]", "$[?@.a]", "$.a b", "$[9999999999]", "$[]", #"$['\n']"#, "$.a\n", "$.a\r",
      "$[0].a", "$[٣]",
      "$" + String(repeating: ".a", count: 61),
    ])
  func noPath(text: String) { #expect(JSONPath(text) == nil) }

  @Test(
    """
    reads what an independent parser finds there, of records on a line, of several lines and in a \
    list, with keys in any order
    """)
  func oracle() throws {
    let paths: [[JSONPath.Step]] = [
      [.key("a")], [.key("b"), .key("a")], [.key("b"), .key("a.b")],
      [.key("b"), .key("a"), .key("c")],
      [.key("@timestamp")], [.key("tags"), .element(0)], [.key("tags"), .element(2), .key("a")],
      [.key("customer_identifier")], [.key("customer_identity")], [.key("é\"\\")], [.key("")],
      [.key("b")], [.key("b"), .element(1)],
    ]
    let fields = paths.enumerated().flatMap { index, steps in
      [false, true].map { isJSONText in
        InputField(
          ColumnDefinition("c\(index)\(isJSONText)", .string, isNullable: true),
          path: JSONPath(steps), isJSONText: isJSONText)
      }
    }
    var random = RandomJSON(seed: 9535)
    var lines: [String] = []
    var recordCount = 0
    for _ in 0..<3_000 {
      let message = random.message()
      let batch = decode(.json, fields, message)
      #expect(batch.rejects.isEmpty, "\(message): \(batch.rejects)")
      recordCount += batch.rowCount
      let rows = (0..<batch.rowCount).map { row in
        batch.columns.map { $0.isNull[row] ? "-" : "=" + hexadecimal($0.text[row]) }
          .joined(separator: ",")
      }
      lines.append(([hexadecimal(message)] + rows).joined(separator: " "))
    }
    let steps = paths.map { path in
      path.map { step -> Any in
        switch step {
        case .key(let key): key
        case .element(let position): position
        }
      }
    }
    let argument = String(
      decoding: try JSONSerialization.data(withJSONObject: steps), as: UTF8.self)
    let verdicts = try TestStack().python(
      "FormatsTests/json_records.py", [argument], input: lines.joined(separator: "\n") + "\n")
    #expect(verdicts.split(separator: "\n").map(String.init) == ["\(recordCount)"])
    #expect(recordCount > 5_000)
  }

  @Test("finds each of many keys that begin alike, in whatever order they come")
  func manyKeys() {
    let names =
      (0..<300).map { "measurement_of_device_\($0 % 7)_number_\($0)" } + ["a", "ab", "a\u{0}"]
    var random = SeededRandom(seed: 17)
    for declared in [names, Array(names.shuffled(using: &random).prefix(10))] {
      let fields = declared.map { field($0, .int64) }
      let object = names.enumerated().shuffled(using: &random)
        .map { index, name in "\"\(name == "a\u{0}" ? #"a\u0000"# : name)\":\(index)" }
      let batch = decode(.json, fields, "{\(object.joined(separator: ","))}")
      #expect(batch.rejects.isEmpty)
      #expect(
        batch.columns.map { $0.integers.first }
          == declared.map { name in
            names.firstIndex(of: name).map(Int64.init)
          })
    }
  }

  @Test("finds elements of an array in whatever order they are declared, however long it is")
  func manyElements() {
    var random = SeededRandom(seed: 9)
    for count in [1, 20, 300] {
      let positions = [299, 0, 7, 6, 40, 41, 19].shuffled(using: &random)
      let fields = positions.map { position in
        InputField(
          ColumnDefinition("f\(position)", .int64, isNullable: true),
          path: JSONPath([.key("a"), .element(position), .element(0)]))
      }
      let elements = (0..<count).map { "[\($0 * 3)]" }.joined(separator: ",")
      let batch = decode(.json, fields, "{\"b\":[1,2],\"a\":[\(elements)]}")
      #expect(batch.rejects.isEmpty)
      for (column, position) in zip(batch.columns, positions) {
        #expect(column.isNull == [position >= count])
        #expect(column.integers == [position < count ? Int64(position * 3) : 0])
      }
    }
  }

  @Test("names a key by its bytes, as a record does")
  func equivalentKeys() {
    let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
    let fields = [composed, decomposed].enumerated().map { index, key in
      InputField(ColumnDefinition("f\(index)", .int32), path: JSONPath([.key(key)]))
    }
    let batch = decode(.json, fields, "{\"\(composed)\":5,\"\(decomposed)\":6}")
    #expect(batch.columns.map { $0.integers.first } == [5, 6])
  }

  @Test("that leads nowhere is NULL where that may be, else a missing field")
  func nowhere() {
    let path = JSONPath([.key("after"), .key("id")])
    for (text, reason) in [
      ("{}", Reject.Reason.missingField), (#"{"after":null}"#, .missingField),
      (#"{"after":3}"#, .missingField), (#"{"after":[]}"#, .missingField),
      (#"{"after":{"id":null}}"#, .notNullable), (#"{"after":{"id":[1]}}"#, .wrongType),
    ] {
      let required = InputField(ColumnDefinition("id", .int64), path: path)
      #expect(decode(.json, [required], text).rejects.map(\.reason) == [reason])
      let nullable = InputField(ColumnDefinition("id", .int64, isNullable: true), path: path)
      let batch = decode(.json, [nullable], text)
      if reason == .wrongType {
        #expect(batch.rejects.map(\.reason) == [reason])
      } else {
        #expect(batch.columns[0].isNull == [true])
      }
    }
  }

  @Test("is a fault where one of its keys stands twice, also on the way")
  func twice() {
    let field = InputField(ColumnDefinition("id", .int64), path: JSONPath([.key("a"), .key("id")]))
    for text in [
      #"{"a":{"id":1,"id":1}}"#, #"{"a":{"id":1},"a":{}}"#, #"{"a":{},"\u0061":{"id":1}}"#,
    ] {
      let rejects = decode(.json, [field], text).rejects
      #expect(rejects.map(\.reason) == [.duplicateField])
      #expect(rejects.map(\.field) == ["id"])
    }
    #expect(
      decode(.json, [field], #"{"b":{"id":1},"b":2,"a":{"id":5}}"#).columns[0].integers == [5])
  }

  @Test("takes a number, true, an object or an array into a text as they stand")
  func texts() {
    for text in ["18446744073709551615", "1e3", "true", "false", #"{"a": [1, "b"]}"#, "[ ]"] {
      let batch = decode(.json, [field("s", .string)], "{\"s\":\(text)}")
      #expect(batch.columns[0].text[0] == text)
    }
    let raw = InputField(ColumnDefinition("s", .string), isJSONText: true)
    for text in [#""x""#, #""\u0041\n""#, "1.0", #"{"a":1}"#] {
      #expect(decode(.json, [raw], "{\"s\": \(text) }").columns[0].text[0] == text)
    }
    #expect(decode(.json, [raw], #"{"s":null}"#).rejects.map(\.reason) == [.notNullable])
    let broken = Array(#"{"s":{"a":""#.utf8) + [0xFF] + Array(#""}}"#.utf8)
    #expect(decode(.json, [raw], [broken]).rejects.map(\.reason) == [.invalidText])
  }
}

@Suite("A JSON message")
struct JSONMessageTests {
  private static let fields = [field("a", .int32)]

  @Test(
    "holds the records of its lines, its objects of several lines and its lists",
    arguments: [
      ("[\n{\"a\":1},\n{\"a\":2}\n]", [1, 2], []),
      ("[{\"a\":1}]\n[{\"a\":2},{\"a\":3}]", [1, 2, 3], []),
      ("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", [1, 2], []), (" [ ] ", [], []),
      ("[]\n{\"a\":1}", [1], []),
      ("{\"a\":1}\r\n\r\n{\"a\":2}\r\n", [1, 2], []),
      // A fault is one record, and those around it are read.
      ("{\"a\":1\n{\"a\":2}\n{\"a\":3}", [2, 3], [0]),
      ("{\"a\":1}\nx\ny\n{\"a\":2}", [1, 2], [1, 2]),
      ("{\n  \"a\": 1,\n}\n{\"a\":2}", [2], [0]), ("{\n  \"a\": 1\n[{\"a\":2}]", [2], [0]),
      ("{\"a\":1} {\"a\":2}\n{\"a\":3}", [3], [0]), ("{\"a\":\"\n{\"a\":2}", [2], [0]),
      ("{\"a\":\"\\\n{\"a\":2}", [2], [0]), ("{\"a\":1}\n{\"a\"", [1], [1]),
      ("[{\"a\":1},2,{\"a\":3}]", [1, 3], [1]), ("[{\"a\":1},{\"a\":},{\"a\":3}]", [1], [1]),
      ("[{\"a\":1},]", [1], [1]), ("[{\"a\":1} {\"a\":2}]", [1], [1]), ("[{\"a\":1}", [1], [1]),
      ("[{\"a\":1}] x\n{\"a\":2}", [1, 2], [1]), ("[{\"a\":1}]{\"a\":2}", [1], [1]),
      ("[]{\"a\":1}\n{\"a\":2}", [2], [0]), ("[{\"a\":1}] [{\"a\":2}]\n[]", [1], [1]),
      ("[[{\"a\":1}],{\"a\":2}]", [2], [0]),
      ("[", [], [0]), ("]", [], [0]), ("[{\"b\":1},{\"a\":2}]", [2], [0]),
      // What a malformed object holds is no record.
      ("{\"b\":[\n{\"a\":7},\n{\"a\":8}\n],\n\"x\":tru}\n{\"a\":9}", [9], [0]),
      ("{\"b\":[\n[{\"a\":7}],\n[{\"a\":8}]\n],\"z\":}\n{\"a\":9}", [9], [0]),
      // Blanks are none, wherever they stand.
      ("{\"a\":1}\n  ", [1], []), ("  \n[{\"a\":1}]\n  ", [1], []),
      (" \n{\"a\": tru}\n{\"a\":5}", [5], [0]), ("  \n ", [], [0]),
    ] as [(String, [Int64], [Int])])
  func records(text: String, values: [Int64], faults: [Int]) {
    let batch = decode(.json, Self.fields, text)
    #expect(batch.columns[0].integers == values)
    #expect(batch.rejects.map(\.record) == faults)
  }

  @Test("that is malformed keeps of each record its own bytes, and all bytes of the message")
  func rejectedBytes() {
    func raw(_ text: String) -> [String] {
      decode(.json, Self.fields, text).rejects.map { String(decoding: $0.raw ?? [], as: UTF8.self) }
    }
    #expect(raw("[{\"a\":1}, {\"a\": true} ,{\"a\":3}]") == ["{\"a\": true}"])
    #expect(raw("[{\"a\":1},{\"a\":x}]\n{}") == ["{\"a\":x}]\n{}"])
    #expect(raw("{\n\"a\":\n}\n{\"a\":1}") == ["{\n\"a\":\n}"])
  }

  @Test("holds a record within its limit, however long the list")
  func limits() {
    let list = "[" + Array(repeating: "{\"a\":1}", count: 100).joined(separator: ",") + "]"
    #expect(decode(.json, Self.fields, [Array(list.utf8)], limit: 10).rowCount == 100)
    #expect(
      decode(.json, Self.fields, [Array("[{\"a\":1},{\"a\":   2}]".utf8)], limit: 8).rejects
        .map(\.reason) == [.recordTooLarge])
  }

  @Test("of nested brackets is refused without a deep call")
  func depth() {
    for opening in ["[", "{\"a\":", "{\"b\":[", "[{\"a\":"] {
      let batch = decode(.json, Self.fields, String(repeating: opening, count: 100_000))
      #expect(batch.rowCount == 0)
      #expect(batch.rejects.allSatisfy { $0.reason == .malformed })
    }
  }
}

/// Messages of valid JSON with few keys, so that paths lead somewhere.
private struct RandomJSON {
  private var random: SeededRandom
  private static let keys = [
    "a", "b", "c", "a.b", "@timestamp", "tags", "customer_identifier", "customer_identity", "é\"\\",
    "",
    "other",
  ]

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  private mutating func chance(_ percent: Int) -> Bool {
    Int.random(in: 0..<100, using: &random) < percent
  }

  /// - Parameter isLine: Without line ends.
  private mutating func space(_ isLine: Bool) -> String {
    chance(70)
      ? ""
      : [" ", "\t", isLine ? " " : "\n", isLine ? "" : "\n  "].randomElement(using: &random) ?? ""
  }

  mutating func message() -> String {
    let count = Int.random(in: 1...4, using: &random)
    if chance(30) {
      let elements = (0..<count).map { _ in space(false) + object(0, false) + space(false) }
      return "[" + elements.joined(separator: ",") + "]" + (chance(50) ? "\n" : "")
    }
    let isLine = chance(60)
    return (0..<count).map { _ in object(0, isLine) }.joined(
      separator: chance(80) ? "\n" : "\r\n\n")
  }

  private mutating func object(_ depth: Int, _ isLine: Bool) -> String {
    let keys = Self.keys.shuffled(using: &random).prefix(Int.random(in: 0...8, using: &random))
    let members = keys.map { key in
      [
        space(isLine), text(key), space(isLine), ":", space(isLine), value(depth + 1, isLine),
        space(isLine),
      ].joined()
    }
    return "{" + (members.isEmpty ? space(isLine) : members.joined(separator: ",")) + "}"
  }

  private mutating func value(_ depth: Int, _ isLine: Bool) -> String {
    switch Int.random(in: 0..<(depth < 4 ? 10 : 6), using: &random) {
    case 0: return "null"
    case 1: return ["true", "false"].randomElement(using: &random) ?? ""
    case 2:
      return ["0", "-12", "18446744073709551615", "1.5", "2e3"].randomElement(using: &random) ?? ""
    case 3, 4, 5:
      let words = [
        "", "x", "a longer text of many words", "\"\\/\n\t", "é漢😀", "a\u{1}b\\", "[1]", "null",
      ]
      return text(words.randomElement(using: &random) ?? "")
    case 6:
      let elements = (0..<Int.random(in: 0...4, using: &random)).map { _ in value(depth + 1, isLine)
      }
      return "[" + elements.joined(separator: "," + space(isLine)) + space(isLine) + "]"
    default: return object(depth, isLine)
    }
  }

  private mutating func text(_ text: String) -> String {
    var written = "\""
    for unit in text.unicodeScalars {
      switch unit {
      case "\"", "\\": written += "\\\(unit)"
      case _ where unit.value < 0x20 || chance(10):
        for unit in String(unit).utf16 {
          let digits = String(unit, radix: 16)
          written += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      default: written.unicodeScalars.append(unit)
      }
    }
    return written + "\""
  }
}
