/// Timestamps as text: ISO 8601 and ClickHouse's form of it.
package enum TimestampText {
  /// Reads `2026-11-23T10:05:00.123Z`, `2026-11-23 10:05:00`, `2026-11-23T10:05:00+02:00`,
  /// `2026-11-23 10:05:00 UTC` or a bare date. `t` and `z` may be small (RFC 3339 section 5.6).
  ///
  /// Without an offset the time is UTC, as ClickHouse writes it. Digits beyond the millisecond are
  /// dropped. The calendar is the proleptic Gregorian one of ISO 8601, years 0001 to 9999; second
  /// 60 and hour 24 are refused.
  /// - Returns: Milliseconds since 1970 UTC, or nil when the text is not such an instant.
  package static func parse(_ text: UnsafeRawBufferPointer) -> Int64? {
    var reader = Reader(text)
    guard let year = reader.number(digits: 4), year >= 1, reader.take(UInt8(ascii: "-")),
      let month = reader.number(digits: 2), (1...12).contains(month),
      reader.take(UInt8(ascii: "-")),
      let day = reader.number(digits: 2), day >= 1, day <= daysIn(month: month, year: year)
    else { return nil }
    let days = CivilDate(year: year, month: month, day: day).daysSince1970
    if reader.isAtEnd { return days * millisecondsPerDay }

    guard reader.take(letter: UInt8(ascii: "T")) || reader.take(UInt8(ascii: " ")),
      let hour = reader.number(digits: 2), hour < 24, reader.take(UInt8(ascii: ":")),
      let minute = reader.number(digits: 2), minute < 60
    else { return nil }
    var milliseconds = (hour * 60 + minute) * 60_000
    if reader.take(UInt8(ascii: ":")) {
      guard let second = reader.number(digits: 2), second < 60 else { return nil }
      milliseconds += second * 1_000
      if reader.take(UInt8(ascii: ".")) || reader.take(UInt8(ascii: ",")) {
        guard let fraction = reader.fraction() else { return nil }
        milliseconds += fraction
      }
    }
    guard let offsetMinutes = reader.offset(), reader.isAtEnd else { return nil }
    return days * millisecondsPerDay + milliseconds - offsetMinutes * 60_000
  }

  /// As ``parse(_:)-(UnsafeRawBufferPointer)``, of text that is not bytes already.
  package static func parse(_ text: some StringProtocol) -> Int64? {
    var text = String(text)
    return text.withUTF8 { parse(UnsafeRawBufferPointer($0)) }
  }

  /// `2026-11-23T10:05:00.000Z`; years beyond 9999 or before 0 with a sign, as ISO 8601's expanded
  /// form.
  package static func format(milliseconds: Int64) -> String {
    let (days, rest) = CivilDate.floorDivide(milliseconds, millisecondsPerDay)
    return "\(formatDate(days: days))T\(clock(rest / 1_000)).\(padded(rest % 1_000, 3))Z"
  }

  /// `2026-11-23T10:05:00.000000Z`
  package static func formatMicroseconds(_ microseconds: Int64) -> String {
    let (days, rest) = CivilDate.floorDivide(microseconds, millisecondsPerDay * 1_000)
    return "\(formatDate(days: days))T\(clock(rest / 1_000_000)).\(padded(rest % 1_000_000, 6))Z"
  }

  /// `20261123T100500Z`, ISO 8601's basic form.
  package static func formatBasic(seconds: Int64) -> String {
    let (days, rest) = CivilDate.floorDivide(seconds, millisecondsPerDay / 1_000)
    let text = "\(formatDate(days: days))T\(clock(rest))Z"
    return text.filter { $0 != "-" && $0 != ":" }
  }

  /// `2026-11-23`
  package static func formatDate(days: Int64) -> String {
    let date = CivilDate(daysSince1970: days)
    let yearText =
      (0...9_999).contains(date.year)
      ? padded(date.year, 4)
      : (date.year < 0 ? "-" : "+") + padded(Int64(date.year.magnitude), 6)
    return "\(yearText)-\(padded(date.month, 2))-\(padded(date.day, 2))"
  }

  package static let millisecondsPerDay: Int64 = 86_400_000

  /// The years 0001 to 9999.
  package static let instants: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

  private static func clock(_ seconds: Int64) -> String {
    "\(padded(seconds / 3_600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
  }

  private static func padded(_ number: Int64, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }

  private static func daysIn(month: Int64, year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  private struct Reader {
    private let text: UnsafeRawBufferPointer
    private var position = 0

    init(_ text: UnsafeRawBufferPointer) { self.text = text }

    var isAtEnd: Bool { position == text.count }

    mutating func take(_ byte: UInt8) -> Bool {
      guard position < text.count, text[position] == byte else { return false }
      position += 1
      return true
    }

    /// Great or small.
    mutating func take(letter: UInt8) -> Bool { take(letter) || take(letter | 0x20) }

    mutating func take(_ word: StaticString) -> Bool {
      guard position + word.utf8CodeUnitCount <= text.count else { return false }
      for index in 0..<word.utf8CodeUnitCount
      where text[position + index] != word.utf8Start[index] {
        return false
      }
      position += word.utf8CodeUnitCount
      return true
    }

    mutating func number(digits: Int) -> Int64? {
      guard position + digits <= text.count else { return nil }
      var number: Int64 = 0
      for _ in 0..<digits {
        guard let digit = decimalDigit(text[position]) else { return nil }
        number = number * 10 + digit
        position += 1
      }
      return number
    }

    /// Milliseconds of one or more digits after the point.
    mutating func fraction() -> Int64? {
      var milliseconds: Int64 = 0
      var weight: Int64 = 100
      let start = position
      while position < text.count, let digit = decimalDigit(text[position]) {
        milliseconds += digit * weight
        weight /= 10
        position += 1
      }
      return position > start ? milliseconds : nil
    }

    /// Minutes east of UTC; 0 for `Z`, for ` UTC` and for nothing.
    mutating func offset() -> Int64? {
      if isAtEnd || take(letter: UInt8(ascii: "Z")) || take(" UTC") { return 0 }
      let sign: Int64 = take(UInt8(ascii: "+")) ? 1 : take(UInt8(ascii: "-")) ? -1 : 0
      guard sign != 0, let hours = number(digits: 2), hours < 24 else { return nil }
      let hasColon = take(UInt8(ascii: ":"))
      guard !isAtEnd else { return hasColon ? nil : sign * hours * 60 }
      guard let minutes = number(digits: 2), minutes < 60 else { return nil }
      return sign * (hours * 60 + minutes)
    }
  }
}
