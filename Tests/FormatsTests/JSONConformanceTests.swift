import Offsets
import Tables
import TestSupport
import Testing

@testable import Formats

/// Lines of every kind that the public conformance suites ask about, written anew, and mutations of
/// them; Python's parser says what is right.
@Suite("JSON lines")
struct JSONConformanceTests {
  private static let values = [
    "0", "-0", "1", "-1", "10", "01", "-01", "+1", "1.", ".5", "-.5", "1.0", "1.5e3", "1E+2",
    "1e-2", "1e", "1e+", "0e1", "0x1F", "1_000",
    "--1", "- 1",
    "1e400", "123456789012345678901234567890", "NaN", "Infinity", "-Infinity", "nan", "\"\"",
    "\"a\"", "\"\\u0041\"", "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\x41\"", "\"\\'\"",
    "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"", "\"tab\tin\"", "\"\u{1}\"",
    "\"\u{7F}\"",
    "\"é漢😀\"", "\"unclosed", "'single'", "\"\\\"", "true", "false", "null",
    "True", "nul", "truee",
    "[]", "[1,2]", "[1,]", "[,1]", "[1 2]",
    "[1", "]",
    "[[[]]]", "[1,\"a\",null,{}]", "{}", "{\"a\":1}", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\":}",
    "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":{\"b\":{\"c\":[]}}}", "{\"\":0}", "{\"a\":1}}", "/* c */ 1", "1 // c", "undefined",
    "1,2", "\u{FEFF}1", "\u{A0}1", " 1 ",
    "\t1\t", "1\u{B}",
  ]

  private static func lines() -> [[UInt8]] {
    var lines = values.flatMap {
      ["{\"k\":\($0)}", " { \"k\" : \($0) } ", "{\"k\":1,\"l\":\($0)}", $0, "{\"k\":\($0)"]
    }.map {
      Array($0.utf8)
    }
    lines += ["{", "}", "{}x", "{}{}", "", " ", "\"k\":1", "{\"k\":1}]", "[{\"k\":1}]"].map {
      Array($0.utf8)
    }
    var random = SeededRandom(seed: 8259)
    let pieces = Array("\"\\,:{}[] \t-+.eE0123456789truefalsn/u".utf8)
    let originals = lines
    for _ in 0..<30_000 {
      var line = originals.randomElement(using: &random) ?? []
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let position = Int.random(in: 0...line.count, using: &random)
        if Bool.random(using: &random), position < line.count {
          line.remove(at: position)
        } else {
          line.insert(pieces.randomElement(using: &random) ?? 0x20, at: position)
        }
      }
      lines.append(line)
    }
    // A list is a list of records, which is another question.
    return lines.filter {
      !$0.contains(0x0A) && !$0.contains(0x0D) && String(validating: $0, as: UTF8.self) != nil
        && $0.first { $0 != 0x20 && $0 != 0x09 } != UInt8(ascii: "[")
    }
  }

  @Test("are taken for records exactly where an independent parser takes them for one object")
  func conformance() throws {
    let lines = Self.lines()
    let hexadecimal = lines.map { line in
      line.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
    let verdicts = try TestStack().python(
      "FormatsTests/json_verdicts.py", [], input: hexadecimal.joined(separator: "\n") + "\n"
    )
    .split(separator: "\n").map { $0 == "1" }
    try #require(verdicts.count == lines.count)

    // No key is known, so that whether a line is a record is a question of JSON alone.
    let field = InputField(ColumnDefinition("no such key", .string, isNullable: true))
    var decoder = RecordDecoder(
      format: .json, fields: [field], messageFields: [], requiredTimeColumn: nil,
      recordByteLimit: 10_000)
    var acceptedCount = 0
    for (line, expected) in zip(lines, verdicts) {
      var batch = RecordBatch(decoder.schema)
      line.withUnsafeBytes { value in
        let message = Message(offset: 0, timestampMilliseconds: 0, key: nil, value: value)
        withUnsafePointer(to: message) {
          decoder.decode(
            UnsafeBufferPointer(start: $0, count: 1), topic: "t", partition: 0, partitionIndex: 0,
            into: &batch)
        }
      }
      if (batch.rowCount == 1) != expected {
        Issue.record(
          "\(expected ? "refused" : "accepted"): \(String(decoding: line, as: UTF8.self))")
      }
      if expected { acceptedCount += 1 }
    }
    #expect(
      acceptedCount > 1_000 && acceptedCount < lines.count - 1_000,
      "\(acceptedCount) of \(lines.count) are objects")
  }
}
