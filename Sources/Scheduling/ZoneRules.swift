internal import Tables

/// When the clocks of a time zone change, out of a file of the system's zone database.
///
/// Not Foundation's: that brings rules of its own, which an update of the system does not renew,
/// and some megabytes.
/// - SeeAlso: RFC 8536, "The Time Zone Information Format (TZif)".
package struct ZoneRules: Equatable, Sendable {
  /// A stretch of time with one offset.
  struct Segment: Equatable {
    /// Seconds since 1970 UTC; half-open. `Int64.min` and `.max` where there is no end.
    let from, to: Int64
    /// Seconds east of UTC.
    let offset: Int64
    /// The offset before ``from``; the same where it is the first.
    let offsetBefore: Int64
  }

  fileprivate struct Change: Equatable {
    let instant, offset: Int64
  }

  private let firstOffset: Int64
  /// Ascending; each to another offset.
  private let changes: [Change]
  /// What holds after the last change.
  private let rule: YearlyRule?

  package static let utc = ZoneRules(firstOffset: 0, changes: [], rule: nil)

  private init(firstOffset: Int64, changes: [Change], rule: YearlyRule?) {
    self.firstOffset = firstOffset
    self.changes = changes
    self.rule = rule
  }

  // MARK: - Looking up

  func segment(holding instant: Int64) -> Segment {
    if let rule, changes.last.map({ instant >= $0.instant }) ?? true {
      let year = CivilDate(daysSince1970: CivilDate.floorDivide(instant, 86_400).quotient).year
      let last = changes.last?.instant ?? .min
      let yearly = (year - 1...year + 1).flatMap(rule.changes).filter { $0.instant > last }
      let near = Self.effective(Array(changes.suffix(1)) + yearly, after: offsetBeforeLast)
      return Self.segment(holding: instant, near, firstOffset: offsetBeforeLast)
    }
    return Self.segment(holding: instant, changes, firstOffset: firstOffset)
  }

  private var offsetBeforeLast: Int64 { changes.dropLast().last?.offset ?? firstOffset }

  private static func segment(
    holding instant: Int64, _ changes: [Change], firstOffset: Int64
  ) -> Segment {
    let next = changes.firstIndex { $0.instant > instant } ?? changes.endIndex
    let before = changes[..<next]
    return Segment(
      from: before.last?.instant ?? .min,
      to: next < changes.endIndex ? changes[next].instant : .max,
      offset: before.last?.offset ?? firstOffset,
      offsetBefore: before.dropLast().last?.offset ?? firstOffset)
  }

  /// Without those that change nothing or are undone in the same instant.
  private static func effective(_ changes: [Change], after offset: Int64) -> [Change] {
    var kept: [Change] = []
    for change in changes {
      if kept.last?.instant == change.instant { kept.removeLast() }
      if (kept.last?.offset ?? offset) != change.offset { kept.append(change) }
    }
    return kept
  }

  // MARK: - The file

  /// Nil for what is not a file of a time zone of version 2 or later, or counts leap seconds.
  package init?(tzif bytes: [UInt8]) {
    guard let old = Header(bytes, at: 0), old.version >= UInt8(ascii: "2"),
      let header = Header(bytes, at: 44 + old.byteCount(ofTime: 4))
    else { return nil }
    let start = header.position + 44
    let end = start + header.byteCount(ofTime: 8)
    guard end < bytes.count, header.typeCount > 0, header.leapCount == 0 else { return nil }
    let typeIndexes = start + header.timeCount * 8
    let types = typeIndexes + header.timeCount
    func offset(ofType index: Int) -> Int64 { integer(bytes, types + index * 6, byteCount: 4) }
    var all: [Change] = []
    for index in 0..<header.timeCount {
      let type = Int(bytes[typeIndexes + index])
      let instant = integer(bytes, start + index * 8, byteCount: 8)
      guard type < header.typeCount, all.last.map({ $0.instant < instant }) ?? true else {
        return nil
      }
      all.append(Change(instant: instant, offset: offset(ofType: type)))
    }
    let footer = bytes[end...].split(separator: 0x0A, omittingEmptySubsequences: false)
    guard footer.count >= 3, footer[0].isEmpty else { return nil }
    let firstOffset = offset(ofType: 0)
    // The rule goes on where the last change leads to.
    var rule: YearlyRule?
    if !footer[1].isEmpty {
      guard let parsed = PosixZone(String(decoding: footer[1], as: UTF8.self)) else { return nil }
      rule = parsed.rule
    }
    self.init(
      firstOffset: firstOffset, changes: Self.effective(all, after: firstOffset), rule: rule)
  }

  private struct Header {
    let position: Int
    let version: UInt8
    let utcCount, standardCount, leapCount, timeCount, typeCount, nameByteCount: Int

    init?(_ bytes: [UInt8], at position: Int) {
      guard position + 44 <= bytes.count, bytes[position..<position + 4].elementsEqual("TZif".utf8)
      else { return nil }
      func count(_ index: Int) -> Int {
        bytes[position + 20 + index * 4..<position + 24 + index * 4].reduce(0) {
          $0 << 8 | Int($1)
        }
      }
      self.position = position
      version = bytes[position + 4]
      utcCount = count(0)
      standardCount = count(1)
      leapCount = count(2)
      timeCount = count(3)
      typeCount = count(4)
      nameByteCount = count(5)
    }

    /// Of what follows the header.
    func byteCount(ofTime timeByteCount: Int) -> Int {
      timeCount * (timeByteCount + 1) + typeCount * 6 + nameByteCount
        + leapCount * (timeByteCount + 4) + standardCount + utcCount
    }
  }

  // MARK: - The rule of every year

  struct YearlyRule: Equatable {
    fileprivate let standard, daylight: Int64
    fileprivate let begin, end: YearlyDate

    fileprivate func changes(ofYear year: Int64) -> [Change] {
      [
        Change(instant: begin.seconds(inYear: year) - standard, offset: daylight),
        Change(instant: end.seconds(inYear: year) - daylight, offset: standard),
      ].sorted { $0.instant < $1.instant }
    }
  }

  fileprivate struct YearlyDate: Equatable {
    enum Day: Equatable {
      /// `J60`: from 1, and 29 February has none.
      case julian(Int64)
      /// `59`: from 0.
      case ofYear(Int64)
      /// `M3.5.0`: week 5 is the last.
      case weekday(Int64, week: Int64, month: Int64)
    }
    let day: Day
    /// Seconds since the day's begin.
    let time: Int64

    /// Of local time since 1970.
    func seconds(inYear year: Int64) -> Int64 {
      let first = CivilDate(year: year, month: 1, day: 1).daysSince1970
      let day: Int64
      switch self.day {
      case .ofYear(let number): day = first + number
      case .julian(let number):
        let february = CivilDate(year: year, month: 3, day: 1).daysSince1970 - first - 31
        day = first + number - 1 + (number >= 60 ? february - 28 : 0)
      case .weekday(let weekday, let week, let month):
        let begin = CivilDate(year: year, month: month, day: 1).daysSince1970
        let end =
          CivilDate(year: month == 12 ? year + 1 : year, month: month % 12 + 1, day: 1)
          .daysSince1970
        let fit = begin + (weekday - CivilDate.weekday(daysSince1970: begin) + 7) % 7
        let wanted = fit + (week - 1) * 7
        day = wanted < end ? wanted : wanted - 7
      }
      return day * 86_400 + time
    }
  }

  /// `CET-1CEST,M3.5.0,M10.5.0/3`, as POSIX has it for the variable TZ.
  private struct PosixZone {
    /// Nil where the clocks do not change.
    let rule: YearlyRule?

    init?(_ text: String) {
      var rest = Array(text.utf8)[...]
      guard Self.takeName(&rest), let west = Self.takeTime(&rest) else { return nil }
      if rest.isEmpty {
        rule = nil
        return
      }
      guard Self.takeName(&rest) else { return nil }
      var daylight = -west + 3_600
      if rest.first != UInt8(ascii: ",") {
        guard let west = Self.takeTime(&rest) else { return nil }
        daylight = -west
      }
      guard let begin = Self.takeDate(&rest), let end = Self.takeDate(&rest), rest.isEmpty else {
        return nil
      }
      rule = YearlyRule(standard: -west, daylight: daylight, begin: begin, end: end)
    }

    private static func take(_ character: Character, _ rest: inout ArraySlice<UInt8>) -> Bool {
      guard let byte = rest.first, byte == character.asciiValue else { return false }
      rest.removeFirst()
      return true
    }

    private static func takeName(_ rest: inout ArraySlice<UInt8>) -> Bool {
      if take("<", &rest) {
        guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return false }
        rest = rest[(end + 1)...]
        return true
      }
      let name = rest.prefix { (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) }
      rest = rest.dropFirst(name.count)
      return !name.isEmpty
    }

    private static func takeNumber(_ rest: inout ArraySlice<UInt8>, in range: ClosedRange<Int64>)
      -> Int64?
    {
      let digits = rest.prefix { (0x30...0x39).contains($0) }
      rest = rest.dropFirst(digits.count)
      guard (1...3).contains(digits.count) else { return nil }
      let number = digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
      return range.contains(number) ? number : nil
    }

    /// `-1`, `3:30`, `+26:00:00`; in seconds.
    private static func takeTime(_ rest: inout ArraySlice<UInt8>) -> Int64? {
      let sign: Int64 = take("-", &rest) ? -1 : 1
      if sign == 1 { _ = take("+", &rest) }
      guard let hours = takeNumber(&rest, in: 0...167) else { return nil }
      var seconds = hours * 3_600
      for unit: Int64 in [60, 1] {
        guard take(":", &rest) else { break }
        guard let number = takeNumber(&rest, in: 0...59) else { return nil }
        seconds += number * unit
      }
      return sign * seconds
    }

    private static func takeDate(_ rest: inout ArraySlice<UInt8>) -> YearlyDate? {
      guard take(",", &rest) else { return nil }
      let day: YearlyDate.Day
      if take("M", &rest) {
        guard let month = takeNumber(&rest, in: 1...12), take(".", &rest),
          let week = takeNumber(&rest, in: 1...5), take(".", &rest),
          let weekday = takeNumber(&rest, in: 0...6)
        else { return nil }
        day = .weekday(weekday, week: week, month: month)
      } else if take("J", &rest) {
        guard let number = takeNumber(&rest, in: 1...365) else { return nil }
        day = .julian(number)
      } else {
        guard let number = takeNumber(&rest, in: 0...365) else { return nil }
        day = .ofYear(number)
      }
      guard take("/", &rest) else { return YearlyDate(day: day, time: 7_200) }
      return takeTime(&rest).map { YearlyDate(day: day, time: $0) }
    }
  }
}

/// Of two's complement, the most significant byte first.
private func integer(_ bytes: [UInt8], _ position: Int, byteCount: Int) -> Int64 {
  let bits = bytes[position..<position + byteCount].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  return byteCount == 4 ? Int64(Int32(truncatingIfNeeded: bits)) : Int64(bitPattern: bits)
}
