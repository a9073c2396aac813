internal import Tables

/// When a cron job runs, in local time: minute, hour, day of the month, month, day of the week.
///
/// The rules are those of crontab(5) of Vixie's cron: lists, ranges, steps, names of three letters,
/// 0 and 7 for Sunday. Where both fields of the day are restricted, either may fit; a field that
/// begins with `*` is not restricted, so `*/2` only narrows the other.
package struct CronExpression: Equatable, Sendable {
  /// As the job file spells it.
  package let text: String
  // Bit n stands for the value n.
  private let minutes, hours, days, months, weekdays: UInt64
  private let isAnyDay, isAnyWeekday: Bool
  /// Whether the field of the hour begins with `*`: the job then follows the hours that pass, and
  /// not the time on the wall.
  let followsHours: Bool

  package struct Fault: Error, Equatable {
    package let problem: String
    package let remedy: String
  }

  package init(_ text: String) throws(Fault) {
    self.text = text
    let words = text.split { $0 == " " || $0 == "\t" }.map(String.init)
    let fields = try Self.shortcut(words) ?? words
    guard fields.count == 5 else {
      throw Fault(
        problem: "has \(fields.count) fields",
        remedy: "Write minute, hour, day of the month, month and day of the week, for example "
          + "\"*/5 * * * *\"; for seconds use trigger.every")
    }
    minutes = try Self.set(fields[0], .minute)
    hours = try Self.set(fields[1], .hour)
    days = try Self.set(fields[2], .day)
    months = try Self.set(fields[3], .month)
    let weekdays = try Self.set(fields[4], .weekday)
    // Sunday is 0 and 7.
    self.weekdays = (weekdays | weekdays >> 7) & 0x7F
    followsHours = fields[1].hasPrefix("*")
    isAnyDay = fields[2].hasPrefix("*")
    isAnyWeekday = fields[4].hasPrefix("*")
    if !isPossible {
      throw Fault(problem: "names no day that exists", remedy: "Correct the day or the month")
    }
  }

  // MARK: - Fields

  private enum Field: String {
    case minute, hour, day = "day of the month", month, weekday = "day of the week"

    var range: ClosedRange<Int> {
      switch self {
      case .minute: 0...59
      case .hour: 0...23
      case .day: 1...31
      case .month: 1...12
      case .weekday: 0...7
      }
    }

    /// Of three letters, from the first value of the range on.
    var names: [String] {
      switch self {
      case .minute, .hour, .day: []
      case .month:
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
      case .weekday: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
      }
    }

    func fault(_ text: String) -> Fault {
      let names = names.isEmpty ? "" : ", or names such as \(names[1])"
      return Fault(
        problem: "has \"\(text)\" as its \(rawValue)",
        remedy: "Write * or numbers from \(range.lowerBound) to \(range.upperBound)\(names): "
          + "one, a list 1,3, a range 1-5, with a step */2 or 1-9/2")
    }
  }

  private static func shortcut(_ words: [String]) throws(Fault) -> [String]? {
    guard words.count == 1, let word = words.first, word.hasPrefix("@") else { return nil }
    let fields =
      switch word.lowercased() {
      case "@hourly": "0 * * * *"
      case "@daily", "@midnight": "0 0 * * *"
      case "@weekly": "0 0 * * 0"
      case "@monthly": "0 0 1 * *"
      case "@yearly", "@annually": "0 0 1 1 *"
      default:
        throw Fault(
          problem: "is not a word that can be scheduled",
          remedy: "Use @hourly, @daily, @weekly, @monthly, @yearly or five fields")
      }
    return fields.split(separator: " ").map(String.init)
  }

  private static func set(_ text: String, _ field: Field) throws(Fault) -> UInt64 {
    var set: UInt64 = 0
    for element in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let values = values(element, field) else { throw field.fault(text) }
      for value in values { set |= 1 << UInt64(value) }
    }
    return set
  }

  /// `*`, `5`, `1-5`, `*/2` or `1-5/2`; nil for anything else.
  private static func values(_ element: Substring, _ field: Field) -> StrideThrough<Int>? {
    let parts = element.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count) else { return nil }
    let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    var step = 1
    if parts.count == 2 {
      // 5/15 means different things to different crons.
      guard parts[0] == "*" || ends.count == 2, let number = number(parts[1]), number > 0 else {
        return nil
      }
      step = number
    }
    if parts[0] == "*" {
      let last = field == .weekday ? 6 : field.range.upperBound
      return stride(from: field.range.lowerBound, through: last, by: step)
    }
    guard (1...2).contains(ends.count), let first = value(ends[0], field),
      var last = value(ends[ends.count - 1], field)
    else { return nil }
    // sat-sun
    if field == .weekday && last == 0 && first > 0 { last = 7 }
    return first <= last ? stride(from: first, through: last, by: step) : nil
  }

  private static func value(_ text: Substring, _ field: Field) -> Int? {
    if let index = field.names.firstIndex(of: text.lowercased()) {
      return index + field.range.lowerBound
    }
    return number(text).flatMap { field.range.contains($0) ? $0 : nil }
  }

  private static func number(_ text: Substring) -> Int? {
    guard (1...3).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return Int(text)
  }

  // MARK: - Days and times

  /// Whether any day fits: no 30 February.
  private var isPossible: Bool {
    if !isAnyDay && !isAnyWeekday { return true }
    let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return lengths.enumerated().contains { index, length in
      months & 1 << UInt64(index + 1) != 0 && (1...length).contains { days & 1 << UInt64($0) != 0 }
    }
  }

  private func isDue(onDay day: Int64) -> Bool {
    let date = CivilDate(daysSince1970: day)
    guard months & 1 << UInt64(date.month) != 0 else { return false }
    let isDay = days & 1 << UInt64(date.day) != 0
    let isWeekday = weekdays & 1 << UInt64(CivilDate.weekday(daysSince1970: day)) != 0
    return isAnyDay || isAnyWeekday ? isDay && isWeekday : isDay || isWeekday
  }

  /// The first minute of a day that fits, from a minute on.
  private func minute(from minuteOfDay: Int64) -> Int64? {
    (minuteOfDay..<1_440).first { minute in
      hours & 1 << UInt64(minute / 60) != 0 && minutes & 1 << UInt64(minute % 60) != 0
    }
  }

  /// The first minute that fits, of a clock that knows no zones; in its seconds since 1970.
  ///
  /// - Parameter to: Excluded. Without an end some minute always fits.
  func firstMinute(from: Int64, to: Int64) -> Int64? {
    let firstMinute = CivilDate.floorDivide(from + 59, 60).quotient
    var (day, minuteOfDay) = CivilDate.floorDivide(firstMinute, 1_440)
    while day < to / 86_400 + 1 {
      if isDue(onDay: day), let minute = minute(from: minuteOfDay) {
        let found = day * 86_400 + minute * 60
        return found < to ? found : nil
      }
      (day, minuteOfDay) = (day + 1, 0)
    }
    return nil
  }
}
