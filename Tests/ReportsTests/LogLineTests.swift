import Logging
import TestSupport
import Testing

@testable import Reports

@Suite("A line of the log")
struct LogLineTests {
  private func line(
    _ message: String = "batch committed", _ fields: [LogLine.Field] = [], words: String? = nil
  ) -> LogLine {
    LogLine(
      milliseconds: 1_795_428_000_123, level: .warning, message: message, job: "calls",
      run: "0f", fields: fields, words: words)
  }

  @Test("has the time, the level, the sentence, the job, the run and its fields in each format")
  func formats() {
    let line = line("batch committed", [("batch", .integer(7)), ("topic", .text("a b"))])
    #expect(
      line.text(.text, textNamesRun: false)
        == "2026-11-23T10:00:00.123Z warning batch committed job=calls batch=7 topic=\"a b\"")
    #expect(
      line.text(.logfmt, textNamesRun: false)
        == "time=2026-11-23T10:00:00.123Z level=warning message=\"batch committed\" job=calls "
        + "run=0f batch=7 topic=\"a b\"")
    #expect(
      line.text(.json, textNamesRun: false)
        == #"{"time":"2026-11-23T10:00:00.123Z","level":"warning","message":"batch committed","#
        + #""job":"calls","run":"0f","batch":7,"topic":"a b"}"#)
  }

  @Test("shows whoever typed the command words alone, and the journal the run beside them")
  func words() {
    let line = line(words: "calls: done")
    #expect(line.text(.text, textNamesRun: false) == "calls: done")
    #expect(line.text(.text, textNamesRun: true) == "calls: done run=0f")
    #expect(!line.text(.json, textNamesRun: true).contains("done"))
  }

  @Test(
    "holds any text exactly for a parser, and nothing that a terminal obeys, in each format",
    arguments: LogParser.allCases)
  func anyText(parser: LogParser) throws {
    let format = try #require(LogFormat(rawValue: parser.rawValue))
    var random = SeededRandom(seed: 3)
    for round in 0..<2_000 {
      var text = ""
      for _ in 0..<Int.random(in: 0...40, using: &random) {
        let ranges: [Range<UInt32>] = [0..<0x30, 0x20..<0x100, 0x2000..<0x2070, 0xE000..<0x10FFFF]
        let value = ranges.randomElement(using: &random).map {
          UInt32.random(in: $0, using: &random)
        }
        if let scalar = value.flatMap(Unicode.Scalar.init) { text.unicodeScalars.append(scalar) }
      }
      let line = line(text, [("topic", .text(text)), ("batch", .integer(Int64(round)))])
        .text(format, textNamesRun: false)
      let fields = try parser.fields(line)
      #expect(
        Array((fields["message"] ?? "").unicodeScalars) == Array(text.unicodeScalars)
          && fields["topic"] == text && fields["batch"] == "\(round)", "\(line)")
      #expect(
        line.unicodeScalars.allSatisfy {
          ![.control, .format, .lineSeparator, .paragraphSeparator].contains(
            $0.properties.generalCategory)
        }, "\(line)")
    }
  }

  @Test("has numbers as numbers, and text for what is none in JSON")
  func numbers() {
    let line = line(
      "m", [("a", .number(1.5)), ("b", .number(.infinity)), ("c", .integer(.min))])
    #expect(
      line.text(.json, textNamesRun: false).hasSuffix(
        #""a":1.5,"b":"inf","c":-9223372036854775808}"#))
  }

  @Test("begins for the journal as syslog numbers levels, and is taken apart again")
  func priorities() {
    let priorities = Logger.Level.allCases.map(LogLine.priority)
    #expect(priorities == ["<7>", "<7>", "<6>", "<5>", "<4>", "<3>", "<2>"])
    for level in Logger.Level.allCases where level != .trace {
      let split = LogLine.split(LogLine.priority(level) + "<3>text")
      #expect(split?.level == level && split?.text == "<3>text")
    }
    for line in ["", "text", "<", "<8>x", "<33>x", " <3>x"] { #expect(LogLine.split(line) == nil) }
  }
}
