import Foundation
import TestSupport
import Testing

@testable import Scheduling

@Suite("The rules of a time zone")
struct ZoneRulesTests {
  @Test(
    "are those that Foundation knows, a hundred years on and back",
    arguments: [
      "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Europe/Dublin", "Asia/Kolkata",
      "Pacific/Chatham", "America/Nuuk", "Africa/Cairo", "Asia/Jerusalem", "Pacific/Apia",
      "America/Sao_Paulo", "Etc/GMT+12", "UTC", "EST5EDT",
    ])
  func offsets(name: String) throws {
    let rules = try Cron.zone(name)
    let zone = try #require(TimeZone(identifier: name))
    // From 1970 to 2070, every 11 hours and 7 minutes.
    for instant in stride(from: Int64(0), to: 3_155_760_000, by: 40_020) {
      let segment = rules.segment(holding: instant)
      let expected = zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant)))
      #expect(segment.offset == Int64(expected), "\(name) at \(instant)")
      guard segment.offset == Int64(expected) else { return }
      #expect(segment.from <= instant && instant < segment.to)
    }
  }

  @Test("come in stretches that follow one another and differ in their offsets")
  func segments() throws {
    for name in ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"] {
      let rules = try Cron.zone(name)
      var segment = rules.segment(holding: .min / 4)
      var count = 1
      while segment.to < 4_000_000_000 {
        let next = rules.segment(holding: segment.to)
        #expect(next.from == segment.to && next.to > next.from)
        #expect(next.offsetBefore == segment.offset && next.offset != segment.offset)
        #expect(rules.segment(holding: segment.to - 1) == segment)
        segment = next
        count += 1
      }
      #expect(count > 2)
    }
  }

  @Test("of UTC need no file")
  func utc() throws {
    let segment = ZoneRules.utc.segment(holding: 1_795_428_000)
    #expect(segment.offset == 0 && segment.from == .min && segment.to == .max)
  }

  @Test("are not read from what is no such file, or counts leap seconds; no byte crashes")
  func hostile() throws {
    let whole = try Cron.zoneFile("Europe/Berlin")
    #expect(ZoneRules(tzif: whole) != nil)
    #expect(ZoneRules(tzif: []) == nil)
    #expect(ZoneRules(tzif: Array("Europe/Berlin".utf8)) == nil)
    #expect(ZoneRules(tzif: try Cron.zoneFile("right/Europe/Berlin")) == nil)
    for count in 0..<whole.count - 1 {
      #expect(ZoneRules(tzif: Array(whole.prefix(count))) == nil, "\(count) bytes")
    }
    var random = SeededRandom(seed: 5)
    for _ in 0..<3_000 {
      var bytes = whole
      for _ in 0..<3 {
        // Mostly in the header and in the rule at the end.
        let reach = [44, bytes.count, 60][Int.random(in: 0..<3, using: &random)]
        let index = Int.random(in: 0..<reach, using: &random)
        let isFromEnd = Int.random(in: 0..<8, using: &random) == 0
        bytes[isFromEnd ? bytes.count - 1 - index : index] = UInt8(
          truncatingIfNeeded: random.next())
      }
      guard let rules = ZoneRules(tzif: bytes) else { continue }
      _ = rules.segment(holding: 1_795_428_000)
    }
  }

  @Test(
    "after the last change of the file follow its last line",
    arguments: [
      ("CET-1CEST,M3.5.0,M10.5.0/3", true), ("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", true),
      ("IST-1GMT0,M10.5.0,M3.5.0/1", true), ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", true),
      ("IST-2IDT,M3.4.4/26,M10.5.0", true), ("AAA3BBB,J60,J300/1:30", true),
      ("AAA3BBB,59/0,300", true), ("UTC0", true), ("", true), ("CET", false), ("-1", false),
      ("CET-1CEST", false), ("CET-1CEST,M13.5.0,M10.5.0", false), ("<CET-1", false),
      ("CET-1CEST,M3.6.0,M10.5.0", false), ("CET-1CEST,M3.5.0,M10.5.0,", false),
      ("CET-168", false), ("CET-1CEST,J0,J1", false),
    ])
  func footers(text: String, isValid: Bool) throws {
    let whole = try Cron.zoneFile("Asia/Kolkata")
    let footer = Array("\nIST-5:30\n".utf8)
    #expect(Array(whole.suffix(footer.count)) == footer)
    let bytes = whole.dropLast(footer.count) + "\n\(text)\n".utf8
    #expect((ZoneRules(tzif: Array(bytes)) != nil) == isValid)
  }

  @Test("count a day of the year with and without 29 February")
  func daysOfYear() throws {
    let whole = try Cron.zoneFile("Etc/UTC")
    func begin(_ rule: String, after: String) throws -> String {
      let base = whole.dropLast(6)
      let rules = try #require(ZoneRules(tzif: base + Array("\nAAA0BBB,\(rule)/0,J365\n".utf8)))
      return Cron.text(rules.segment(holding: try Cron.instant(after)).to)
    }
    #expect(Array(whole.suffix(6)) == Array("\nUTC0\n".utf8))
    // J60 is 1 March in every year; day 59 is 29 February in leap years.
    #expect(try begin("J60", after: "2027-01-05T00:00Z") == "2027-03-01T00:00Z")
    #expect(try begin("J60", after: "2028-01-05T00:00Z") == "2028-03-01T00:00Z")
    #expect(try begin("59", after: "2027-01-05T00:00Z") == "2027-03-01T00:00Z")
    #expect(try begin("59", after: "2028-01-05T00:00Z") == "2028-02-29T00:00Z")
    // The last Sunday of a month, and its first.
    #expect(try begin("M2.5.0", after: "2027-01-05T00:00Z") == "2027-02-28T00:00Z")
    #expect(try begin("M5.1.0", after: "2027-01-05T00:00Z") == "2027-05-02T00:00Z")
  }
}
