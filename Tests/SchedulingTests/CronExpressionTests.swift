import Foundation
import TestSupport
import Testing

@testable import Scheduling

@Suite("A cron expression")
struct CronExpressionTests {
  /// The first ticks after an instant, as texts without seconds and zone.
  private static func ticks(
    _ text: String, zone: ZoneRules = .utc, after: String, count: Int
  ) throws -> [String] {
    try Cron.ticks(text, zone, after: Cron.instant(after), count: count).map(Cron.text)
  }

  @Test(
    "is due when its five fields fit: lists, ranges, steps, names",
    arguments: [
      ("*/20 * * * *", ["2026-11-27T10:20Z", "2026-11-27T10:40Z", "2026-11-27T11:00Z"]),
      ("5 10,12-13 * * *", ["2026-11-27T10:05Z", "2026-11-27T12:05Z", "2026-11-27T13:05Z"]),
      ("0 8-20/6 * * *", ["2026-11-27T14:00Z", "2026-11-27T20:00Z", "2026-11-28T08:00Z"]),
      ("30 4 * jan,Feb MON", ["2027-01-04T04:30Z", "2027-01-11T04:30Z", "2027-01-18T04:30Z"]),
      ("0 0 29 2 *", ["2028-02-29T00:00Z", "2032-02-29T00:00Z", "2036-02-29T00:00Z"]),
      ("0 0 * * 0", ["2026-11-29T00:00Z", "2026-12-06T00:00Z", "2026-12-13T00:00Z"]),
      ("0 0 * * 7", ["2026-11-29T00:00Z", "2026-12-06T00:00Z", "2026-12-13T00:00Z"]),
      ("0 0 * * sat-sun", ["2026-11-28T00:00Z", "2026-11-29T00:00Z", "2026-12-05T00:00Z"]),
      ("0 0 * * 5-7", ["2026-11-28T00:00Z", "2026-11-29T00:00Z", "2026-12-04T00:00Z"]),
      ("@hourly", ["2026-11-27T11:00Z", "2026-11-27T12:00Z", "2026-11-27T13:00Z"]),
      ("@daily", ["2026-11-28T00:00Z", "2026-11-29T00:00Z", "2026-11-30T00:00Z"]),
      ("@midnight", ["2026-11-28T00:00Z", "2026-11-29T00:00Z", "2026-11-30T00:00Z"]),
      ("@weekly", ["2026-11-29T00:00Z", "2026-12-06T00:00Z", "2026-12-13T00:00Z"]),
      ("@monthly", ["2026-12-01T00:00Z", "2027-01-01T00:00Z", "2027-02-01T00:00Z"]),
      ("@yearly", ["2027-01-01T00:00Z", "2028-01-01T00:00Z", "2029-01-01T00:00Z"]),
      ("@annually", ["2027-01-01T00:00Z", "2028-01-01T00:00Z", "2029-01-01T00:00Z"]),
      // A step on the star is no restriction of a day: Sundays with an odd date.
      ("0 0 */2 * 0", ["2026-11-29T00:00Z", "2026-12-13T00:00Z", "2026-12-27T00:00Z"]),
      // Both restricted: the 1st, and every Friday.
      ("0 0 1 * 5", ["2026-12-01T00:00Z", "2026-12-04T00:00Z", "2026-12-11T00:00Z"]),
      ("0 0 30 2 1", ["2027-02-01T00:00Z", "2027-02-08T00:00Z", "2027-02-15T00:00Z"]),
    ])
  func ticks(text: String, expected: [String]) throws {
    #expect(try Self.ticks(text, after: "2026-11-27T10:00Z", count: 3) == expected)
  }

  @Test(
    "that means nothing, or different things to different crons, is a fault with a remedy",
    arguments: [
      ("", "0 fields"), ("* * * *", "4 fields"), ("0 */5 * * * *", "6 fields"),
      ("60 * * * *", "as its minute"), ("* 24 * * *", "as its hour"),
      ("* * 0 * *", "as its day of the month"), ("* * 32 * *", "as its day of the month"),
      ("* * * 13 *", "as its month"), ("* * * * 8", "as its day of the week"),
      ("* * * * sunday", "as its day of the week"), ("5-1 * * * *", "as its minute"),
      ("5/15 * * * *", "as its minute"), ("*/0 * * * *", "as its minute"),
      ("1,,2 * * * *", "as its minute"), ("-1 * * * *", "as its minute"),
      ("1-2-3 * * * *", "as its minute"), ("*/2/3 * * * *", "as its minute"),
      ("? * * * *", "as its minute"), ("٣ * * * *", "as its minute"),
      ("99999999999999999999 * * * *", "as its minute"), ("@reboot", "not a word"),
      ("0 0 30 2 *", "no day that exists"), ("0 0 31 4,6,9,11 *", "no day that exists"),
    ])
  func faults(text: String, problem: String) {
    do {
      _ = try CronExpression(text)
      Issue.record("\(text) is taken")
    } catch {
      #expect(error.problem.contains(problem) && !error.remedy.isEmpty, "\(text): \(error)")
    }
  }
}

@Suite("The ticks of a schedule")
struct ScheduleTests {
  @Test("of every: are multiples of it since 1970, whenever one asks: nothing drifts")
  func every() {
    let ticks = Ticks(.every(milliseconds: 10_000), zone: .utc)
    #expect(ticks.next(after: 0) == 10_000)
    #expect(ticks.next(after: 9_999) == 10_000)
    #expect(ticks.next(after: 10_000) == 20_000)
    #expect(ticks.next(after: -1) == 0)
    #expect(ticks.next(after: 1_795_428_003_217) == 1_795_428_010_000)
    var instant: Int64 = 1_795_428_003_217
    // A run that takes a while is followed by the next tick.
    for _ in 0..<1_000 { instant = ticks.next(after: instant) + 37 }
    #expect(instant == 1_795_428_010_000 + 999 * 10_000 + 37)
  }

  @Test(
    """
    where clocks are put forward: a local time that there is not runs in the instant of the \
    change, once
    """,
    arguments: [
      // 29 March 2026: 02:00 is followed by 03:00, at 01:00 UTC.
      (
        "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00Z",
        ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]
      ),
      (
        "Europe/Berlin", "*/10 2 * * *", "2026-03-29T00:00Z",
        ["2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T00:10Z"]
      ),
      // 03:00 is due itself: one tick, not two.
      (
        "Europe/Berlin", "0,30 2,3 * * *", "2026-03-29T00:00Z",
        ["2026-03-29T01:00Z", "2026-03-29T01:30Z", "2026-03-30T00:00Z"]
      ),
      // With * as its hour it follows the hours that pass.
      (
        "Europe/Berlin", "30 * * * *", "2026-03-28T23:40Z",
        ["2026-03-29T00:30Z", "2026-03-29T01:30Z", "2026-03-29T02:30Z"]
      ),
      (
        "America/New_York", "15 2 * * *", "2026-03-07T12:00Z",
        ["2026-03-08T07:00Z", "2026-03-09T06:15Z"]
      ),
      // 4 October 2026: 02:00 is followed by 02:30, at 15:30 UTC of the day before.
      (
        "Australia/Lord_Howe", "15 2 * * *", "2026-10-02T16:00Z",
        ["2026-10-03T15:30Z", "2026-10-04T15:15Z"]
      ),
      (
        "Australia/Lord_Howe", "45 2 * * *", "2026-10-02T17:00Z",
        ["2026-10-03T15:45Z", "2026-10-04T15:45Z"]
      ),
      // Samoa had no 30 December 2011.
      (
        "Pacific/Apia", "0 12 * * *", "2011-12-28T23:00Z",
        ["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"]
      ),
    ])
  func gaps(zone: String, text: String, after: String, expected: [String]) throws {
    try check(zone, text, after, expected)
  }

  @Test(
    "where clocks are put back: a local time that comes twice runs at the first, once",
    arguments: [
      // 25 October 2026: 03:00 is followed by 02:00, at 01:00 UTC.
      (
        "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00Z",
        ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]
      ),
      (
        "Europe/Berlin", "*/30 2-3 * * *", "2026-10-24T12:00Z",
        ["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-25T02:00Z", "2026-10-25T02:30Z"]
      ),
      (
        "Europe/Berlin", "*/30 * * * *", "2026-10-25T00:00Z",
        [
          "2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z",
        ]
      ),
      // Asked between the two: the second is not due.
      ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:30Z", ["2026-10-26T01:30Z"]),
      (
        "America/New_York", "0 1 * * *", "2026-11-01T00:00Z",
        ["2026-11-01T05:00Z", "2026-11-02T06:00Z"]
      ),
      // 5 April 2026: 02:00 is followed by 01:30, at 15:00 UTC of the day before.
      (
        "Australia/Lord_Howe", "45 1 * * *", "2026-04-03T16:00Z",
        ["2026-04-04T14:45Z", "2026-04-05T15:15Z"]
      ),
      (
        "Australia/Lord_Howe", "0,30 1,2 * * *", "2026-04-04T13:30Z",
        ["2026-04-04T14:00Z", "2026-04-04T14:30Z", "2026-04-04T15:30Z", "2026-04-04T16:00Z"]
      ),
    ])
  func overlaps(zone: String, text: String, after: String, expected: [String]) throws {
    try check(zone, text, after, expected)
  }

  private func check(_ zone: String, _ text: String, _ after: String, _ expected: [String]) throws {
    let ticks = try Cron.ticks(
      text, try Cron.zone(zone), after: Cron.instant(after), count: expected.count)
    #expect(ticks.map(Cron.text) == expected, "\(zone) \(text)")
  }

  /// Goes through the minutes with Foundation's calendar and zones, of which the product has
  /// neither.
  @Test(
    "are those of a count of every minute, whatever the expression, over changes of the clocks",
    arguments: [
      ("Europe/Berlin", "2026-03-27T00:00Z"), ("Europe/Berlin", "2031-10-24T00:00Z"),
      ("America/New_York", "2026-03-06T00:00Z"), ("America/New_York", "2040-11-02T00:00Z"),
      ("Australia/Lord_Howe", "2026-10-01T00:00Z"), ("Australia/Lord_Howe", "2027-04-02T00:00Z"),
      ("UTC", "2027-12-30T00:00Z"), ("Asia/Kolkata", "2028-02-27T00:00Z"),
      ("Europe/Dublin", "2029-03-23T00:00Z"), ("America/Sao_Paulo", "2018-11-02T00:00Z"),
    ])
  func property(name: String, from: String) throws {
    let zone = try Cron.zone(name)
    let minutes = try Cron.wallClock(name, from: Cron.instant(from), dayCount: 5)
    var random = SeededRandom(seed: from.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
    func draw(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
    for _ in 0..<60 {
      let fields: [[String]] = [
        ["*", "0", "30", "*/7", "15,45", "59", "\(draw(60))", "10-40/10"],
        ["*", "*/2", "2", "1-3", "0,23", "*/5", "\(draw(24))", "1,2"],
        ["*", "*", "*/2", "28-31", "\(1 + draw(28))"], ["*", "*", "*/2", "3,4,10,11"],
        ["*", "*", "0", "1-5", "sat,sun", "*/3"],
      ]
      let text = fields.map { $0[draw($0.count)] }.joined(separator: " ")
      guard let expression = try? CronExpression(text) else { continue }
      let expected = Cron.dueMinutes(text, minutes)
      let ticks = Ticks(.cron(expression, timeZone: name), zone: zone)
      var found: [Int64] = []
      var instant = minutes[0].instant * 1_000
      while true {
        instant = ticks.next(after: instant)
        guard instant / 1_000 <= minutes[minutes.count - 1].instant else { break }
        found.append(instant / 1_000)
      }
      #expect(found == expected, "\(name) \(text) from \(from)")
      // The answer does not depend on where one asks from.
      for tick in found.prefix(3) {
        #expect(ticks.next(after: tick * 1_000 - 1) == tick * 1_000)
        #expect(ticks.next(after: tick * 1_000 - 60_000) <= tick * 1_000)
      }
    }
  }
}

/// What the tests of this folder share.
enum Cron {
  static func zone(_ name: String) throws -> ZoneRules {
    try #require(ZoneRules(tzif: try zoneFile(name)), "\(name)")
  }

  static func zoneFile(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: "/usr/share/zoneinfo/\(name)")))
  }

  /// Seconds since 1970 of `2026-11-27T10:00Z`.
  static func instant(_ text: String) throws -> Int64 {
    let formatter = ISO8601DateFormatter()
    let date = try #require(formatter.date(from: text.replacing("Z", with: ":00Z")))
    return Int64(date.timeIntervalSince1970)
  }

  static func text(_ instant: Int64) -> String {
    ISO8601DateFormatter().string(from: Date(timeIntervalSince1970: Double(instant)))
      .replacing(":00Z", with: "Z")
  }

  static func ticks(_ text: String, _ zone: ZoneRules, after: Int64, count: Int) throws -> [Int64] {
    let ticks = Ticks(.cron(try CronExpression(text), timeZone: "test"), zone: zone)
    var found: [Int64] = []
    while found.count < count {
      found.append(ticks.next(after: (found.last ?? after) * 1_000) / 1_000)
    }
    return found
  }

  struct Minute {
    let instant: Int64
    /// Minutes of the wall clock since its 1970.
    let wall: Int64
    let minute, hour, day, month, weekday: Int
  }

  /// One entry a minute, the first a minute before anything is asked.
  static func wallClock(_ name: String, from: Int64, dayCount: Int) throws -> [Minute] {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = try #require(TimeZone(identifier: name))
    return (0..<Int64(dayCount) * 1_440).map { number in
      let date = Date(timeIntervalSince1970: Double(from + number * 60))
      let parts = calendar.dateComponents([.minute, .hour, .day, .month, .weekday], from: date)
      return Minute(
        instant: from + number * 60,
        wall: (from + Int64(calendar.timeZone.secondsFromGMT(for: date))) / 60 + number,
        minute: parts.minute ?? 0, hour: parts.hour ?? 0, day: parts.day ?? 0,
        month: parts.month ?? 0, weekday: (parts.weekday ?? 1) - 1)
    }
  }

  /// The instants of the minutes behind the first at which the expression is due, by the rules of
  /// docs/operations.md, minute by minute.
  static func dueMinutes(_ text: String, _ minutes: [Minute]) -> [Int64] {
    let fields = text.split(separator: " ").map(String.init)
    func fits(_ minute: Minute) -> Bool {
      guard values(fields[0], 0, 59).contains(minute.minute),
        values(fields[1], 0, 23).contains(minute.hour),
        values(fields[3], 1, 12).contains(minute.month)
      else { return false }
      let isDay = values(fields[2], 1, 31).contains(minute.day)
      let isWeekday = values(fields[4], 0, 6).contains(minute.weekday)
      let isEither = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
      return isEither ? isDay || isWeekday : isDay && isWeekday
    }
    var due: [Int64] = []
    var wallSeen: Int64 = minutes[0].wall
    for (minute, before) in zip(minutes.dropFirst(), minutes) {
      var isDue = fits(minute)
      if !fields[1].hasPrefix("*") {
        // Seen before: the clock was put back.
        if minute.wall <= wallSeen { isDue = false }
        // Passed over: the clock was put forward. Its minutes are made of the two.
        for wall in before.wall + 1..<max(before.wall + 1, minute.wall) {
          let passed = wall - before.wall
          let total = Int64(before.hour * 60 + before.minute) + passed
          let day = total >= 1_440 ? minute : before
          let skipped = Minute(
            instant: 0, wall: wall, minute: Int(total % 60), hour: Int(total / 60 % 24),
            day: day.day, month: day.month, weekday: day.weekday)
          if fits(skipped) { isDue = true }
        }
      }
      wallSeen = max(wallSeen, minute.wall)
      if isDue { due.append(minute.instant) }
    }
    return due
  }

  private static func values(_ field: String, _ least: Int, _ most: Int) -> Set<Int> {
    let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    var all: Set<Int> = []
    for element in field.split(separator: ",") {
      let parts = element.split(separator: "/")
      let step = parts.count == 2 ? Int(parts[1]) ?? 1 : 1
      let ends = parts[0].split(separator: "-").map {
        Int($0) ?? names.firstIndex(of: String($0)) ?? -1
      }
      let range = parts[0] == "*" ? least...most : ends[0]...ends[ends.count - 1]
      for value in stride(from: range.lowerBound, through: range.upperBound, by: step) {
        all.insert(value)
      }
    }
    return all
  }
}
