import TestSupport
import Testing

@testable import Escaping

@Suite("Foreign text")
struct ForeignTextTests {
  @Test(
    "is shown without what a terminal would obey or a person cannot see",
    arguments: [
      ("plain text, é, 漢字 and 🙂", "plain text, é, 漢字 and 🙂"),
      ("", ""), ("a\\u{1B}", "a\\u{1B}"),
      ("\u{1B}[31mred\u{1B}]0;title\u{07}", "\\u{1B}[31mred\\u{1B}]0;title\\u{7}"),
      ("over\rwritten", "over\\rwritten"),
      ("two\nlines\tand\r\nmore", "two\\nlines\\tand\\r\\nmore"),
      ("\u{0}\u{8}\u{7F}\u{9B}2J\u{85}", "\\u{0}\\u{8}\\u{7F}\\u{9B}2J\\u{85}"),
      (
        "a\u{202E}b\u{2066}c\u{2069}\u{200F}\u{061C}",
        "a\\u{202E}b\\u{2066}c\\u{2069}\\u{200F}\\u{61C}"
      ),
      ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
      (
        "zero\u{200B}\u{200D}\u{2060}\u{FEFF}\u{AD}",
        "zero\\u{200B}\\u{200D}\\u{2060}\\u{FEFF}\\u{AD}"
      ),
      ("tag\u{E0041}\u{FE0F}\u{E0101}\u{3164}", "tag\\u{E0041}\\u{FE0F}\\u{E0101}\\u{3164}"),
    ])
  func escaped(text: String, shown: String) {
    #expect(ForeignText.escaped(text) == shown)
    #expect(ForeignText.quoted(text) == shown)
  }

  @Test(
    "is escaped in JSON as JSON does it",
    arguments: [
      ("\"plain, é, 漢字 and 🙂\"", "\"plain, é, 漢字 and 🙂\""),
      ("\"\u{7F}\u{9B}2J\u{202E}\"", "\"\\u007f\\u009b2J\\u202e\""),
      ("{\"tag\":\"\u{E0041}\"}", "{\"tag\":\"\\udb40\\udc41\"}"),
    ])
  func json(text: String, shown: String) { #expect(ForeignText.escapedJSON(text) == shown) }

  @Test("keeps the lines of a report and nothing else")
  func lines() { #expect(ForeignText.escapedLines("a\u{1B}\nb\r\n") == "a\\u{1B}\nb\\r\n") }

  @Test(
    """
    escaped twice is what it was escaped once, cut or not, and is never longer than it may be; \
    any characters
    """
  )
  func idempotent() {
    var random = SeededRandom(seed: 5)
    for _ in 0..<3_000 {
      var text = ""
      for _ in 0..<Int.random(in: 0...120, using: &random) {
        let value = [0..<0x100, 0x2000..<0x2070, 0xE000..<0x10FFFF].randomElement(using: &random)
          .map {
            UInt32.random(in: $0, using: &random)
          }
        if let scalar = value.flatMap(Unicode.Scalar.init) { text.unicodeScalars.append(scalar) }
      }
      let escaped = ForeignText.escaped(text)
      #expect(ForeignText.escaped(escaped) == escaped)
      #expect(
        escaped.unicodeScalars.allSatisfy {
          $0.properties.generalCategory != .control && $0.properties.generalCategory != .format
        })
      let quoted = ForeignText.quoted(text, byteLimit: 40)
      #expect(quoted.utf8.count <= 40 && ForeignText.quoted(quoted, byteLimit: 40) == quoted)
      #expect(
        quoted == escaped
          || (quoted.hasSuffix("...") && escaped.utf8.starts(with: quoted.utf8.dropLast(3))),
        "\(text)")
    }
  }

  @Test("of a gigabyte's worth costs what its beginning costs", .timeLimit(.minutes(10)))
  func long() {
    let text = String(repeating: "\u{1B}é", count: 10_000_000)
    for _ in 0..<100_000 { #expect(ForeignText.quoted(text).utf8.count <= 300) }
  }
}
