import Formats
import Glibc
import Offsets
import Tables
import TestSupport

/// Holds our reading of single values against readings that share no code with it: Swift's and the
/// C
/// library's numbers, the C library's calendar, decimals by cutting the text.
struct ValueFuzzer {
  private enum Kind: CaseIterable {
    case int32, int64, uint64, double, decimal, bool, unixSeconds, unixMilliseconds,
      unixMicroseconds
  }
  private var decoders: [Kind: RecordDecoder] = [:]
  private static let (precision, scale) = (9, 3)

  init() {
    for kind in Kind.allCases {
      let type: ColumnType =
        switch kind {
        case .int32: .int32
        case .int64: .int64
        case .uint64: .uint64
        case .double: .double
        case .decimal: .decimal(precision: Self.precision, scale: Self.scale)
        case .bool: .bool
        case .unixSeconds, .unixMilliseconds, .unixMicroseconds: .timestamp
        }
      let encoding: TimestampEncoding =
        switch kind {
        case .unixMilliseconds: .unixMilliseconds
        case .unixMicroseconds: .unixMicroseconds
        default: .unixSeconds
        }
      let field = InputField(ColumnDefinition("v", type), timestampEncoding: encoding)
      decoders[kind] = RecordDecoder(
        format: .csv, fields: [field], messageFields: [], requiredTimeColumn: nil,
        recordByteLimit: 10_000, takesShortcuts: false)
    }
  }

  /// What a reading comes to. Why a text is none is not compared with an independent reading, but
  /// whether it was too large for the type is.
  private enum Reading: Equatable {
    case integer(Int64)
    case unsigned(UInt64)
    case double(UInt64)
    case outOfRange, wrongType
  }

  private static let numbers = texts(
    "0", "-0", "+7", "12", "0012", "2147483647", "-2147483648", "2147483648", "9223372036854775807",
    "-9223372036854775808", "9223372036854775808", "1.5", "-.5", "5.", "1e5", "1.5E-7",
    "123456.789",
    "999999.999", "1000000.000", "0.0001", "1e308", "1.7976931348623157e308", "1.8e308", "4.9e-324",
    "2.2250738585072011e-308", "9007199254740993", "0.1", "123456789012345678901234567890",
    "1e-400", "1e22", "1e23", "8.5e22", "true", "false", "1", "nan", "inf", "0x10",
    "1700000000.123456",
    "-0.0005", "000000000000000000000000001", "0.000000000000000000000000001",
    "17976931348623157e292", "16.0", "1.79E9", "1795600000000123", "9223372036854775807.0",
    "92233720368547758.08e2", " 7", "1.5\t", "1e999999999", "0e999999999999999999999",
    "1e-99999999999999999999", "18446744073709551615", "18446744073709551616", "-1", "-0.0",
    "18446744073709551615.0", "1.8446744073709551615e19", "-9223372036854775808.5")

  mutating func number(_ random: inout SeededRandom) -> String? {
    var bytes: [UInt8]
    switch Int.random(in: 0..<4, using: &random) {
    case 0: bytes = Array("\(Double(bitPattern: random.next()))".utf8)
    case 1:
      bytes = Array(
        "\(Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random))".utf8)
    case 2:
      bytes = (0..<Int.random(in: 1...25, using: &random)).map { _ in
        UInt8.random(in: 0x30...0x39, using: &random)
      }
      if random.chance(60) {
        bytes.insert(0x2E, at: Int.random(in: 0...bytes.count, using: &random))
      }
      if random.chance(30) { bytes += Array("e\(Int.random(in: -340...320, using: &random))".utf8) }
    default: bytes = random.mutated(Self.numbers)
    }
    // Where the record's own structure would speak, there is no value.
    if bytes.contains(where: { [0x22, 0x2C, 0x0A, 0x0D].contains($0) })
      || bytes.elementsEqual("\\N".utf8) || bytes.isEmpty
    {
      return nil
    }
    for kind in Kind.allCases {
      guard var decoder = decoders[kind] else { continue }
      let batch = decoded(&decoder, [Sample(value: bytes)])
      decoders[kind] = decoder
      let ours: Reading =
        switch batch.rejects.first?.reason {
        case nil where kind == .uint64: .unsigned(UInt64(kept: batch.columns[0].integers[0]))
        case nil:
          kind == .double
            ? .double(batch.columns[0].doubles[0].bitPattern)
            : .integer(batch.columns[0].integers[0])
        case .outOfRange: .outOfRange
        default: .wrongType
        }
      let expected = Self.reading(kind, bytes)
      if ours != expected {
        return "\(kind) of \(shown(bytes)) is \(ours), and \(expected) by another reading"
      }
    }
    return nil
  }

  private static func reading(_ kind: Kind, _ bytes: [UInt8]) -> Reading {
    guard var text = String(validating: bytes, as: UTF8.self) else { return .wrongType }
    while let last = text.unicodeScalars.last, last == " " || last == "\t" {
      text.unicodeScalars.removeLast()
    }
    text = String(text.unicodeScalars.drop { $0 == " " || $0 == "\t" })
    switch kind {
    case .int32, .int64:
      let reading = decimal(text, scale: 0, extraDigits: .wrongType)
      if kind == .int32, case .integer(let number) = reading, Int32(exactly: number) == nil {
        return .outOfRange
      }
      return reading
    case .uint64: return decimal(text, scale: 0, extraDigits: .wrongType, isUnsigned: true)
    case .bool:
      let values: [String: Int64] = ["0": 0, "1": 1, "true": 1, "false": 0]
      return values[text].map { .integer($0) } ?? .wrongType
    case .double:
      let parts = text.split(
        omittingEmptySubsequences: false, whereSeparator: { $0 == "e" || $0 == "E" })
      guard parts.count <= 2, isDecimal(String(parts[0])),
        parts.count == 1 || isInteger(String(parts[1]))
      else {
        return .wrongType
      }
      let number = strtod(text, nil)
      return number.isFinite ? .double((number == 0 ? 0 : number).bitPattern) : .outOfRange
    case .decimal:
      let reading = decimal(text, scale: scale, extraDigits: .outOfRange)
      if case .integer(let number) = reading, String(number.magnitude).count > precision {
        return .outOfRange
      }
      return reading
    case .unixSeconds: return time(text, scale: 3)
    case .unixMilliseconds: return time(text, scale: 0)
    case .unixMicroseconds: return time(text, scale: -3)
    }
  }

  /// From the year 0001 to the end of 9999.
  private static func time(_ text: String, scale: Int) -> Reading {
    let reading = decimal(text, scale: scale, extraDigits: nil)
    if case .integer(let number) = reading,
      number < -62_135_596_800_000 || number >= 253_402_300_800_000
    {
      return .outOfRange
    }
    return reading
  }

  private static func withoutSign(_ text: String) -> Substring {
    text.unicodeScalars.first.map { $0 == "+" || $0 == "-" } == true
      ? Substring(text.unicodeScalars.dropFirst()) : text[...]
  }

  private static func isDigits(_ text: Substring) -> Bool {
    !text.isEmpty && text.unicodeScalars.allSatisfy { ("0"..."9").contains($0) }
  }

  private static func isInteger(_ text: String) -> Bool { isDigits(withoutSign(text)) }

  private static func isDecimal(_ text: String) -> Bool {
    let parts = withoutSign(text).split(separator: ".", omittingEmptySubsequences: false)
    let all = parts.joined()
    return parts.count <= 2 && isDigits(all[...])
  }

  /// By cutting the text at its point, moved by the exponent and the scale.
  ///
  /// - Parameter extraDigits: What digits behind the point come to; nil where they are dropped.
  private static func decimal(
    _ text: String, scale: Int, extraDigits: Reading?, isUnsigned: Bool = false
  ) -> Reading {
    let halves = text.split(
      omittingEmptySubsequences: false, whereSeparator: { $0 == "e" || $0 == "E" })
    guard halves.count <= 2, isDecimal(String(halves[0])),
      halves.count == 1 || isInteger(String(halves[1]))
    else {
      return .wrongType
    }
    var parts = withoutSign(String(halves[0])).split(
      separator: ".", omittingEmptySubsequences: false
    ).map(String.init)
    if parts.count == 1 { parts.append("") }
    var shift = scale
    if halves.count == 2 {
      // Further than this no digit of such short texts reaches.
      shift += min(
        max(Int(halves[1]) ?? (halves[1].hasPrefix("-") ? -2_000 : 2_000), -2_000), 2_000)
    }
    let digits = parts[0] + parts[1]
    let zeros = String(repeating: "0", count: abs(shift))
    let point = parts[0].count + shift + (shift < 0 ? zeros.count : 0)
    let padded = shift < 0 ? zeros + digits : digits + zeros
    let (whole, extra) = (padded.prefix(point).drop { $0 == "0" }, padded.dropFirst(point))
    let digitsOfWhole = (text.hasPrefix("-") ? "-" : "") + (whole.isEmpty ? "0" : whole)
    let number: Reading? =
      isUnsigned
      ? UInt64(digitsOfWhole).map { .unsigned($0) } : Int64(digitsOfWhole).map { .integer($0) }
    guard let number else { return .outOfRange }
    let isExact = extra.allSatisfy { $0 == "0" }
    return isExact ? number : extraDigits ?? number
  }

  // MARK: - Instants

  private static let instants = texts(
    "2026-11-23T10:05:00.123+02:00", "0001-01-01", "9999-12-31 23:59:59.999999999Z",
    "2024-02-29T24:00",
    "1900-02-29", "2000-02-29 00:00", "1969-12-31T23:59:59,5-0130", "2026-11-23 10:05:60",
    "2026-13-01", "2026-00-10",
    "2026-04-31", "1970-01-01T00:00:00Z", "0000-01-01", "2026-11-23T10:05:00+23:59",
    "2026-11-23T10:05:00-24", "2026-11-23t10:05:00z", "2026-11-23 10:05:00.5 UTC")

  mutating func instant(_ random: inout SeededRandom) -> String? {
    var bytes: [UInt8]
    if random.chance(50) {
      func padded(_ range: ClosedRange<Int>, _ width: Int) -> String {
        let digits = String(Int.random(in: range, using: &random))
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
      }
      var text = "\(padded(0...9999, 4))-\(padded(0...13, 2))-\(padded(0...32, 2))"
      if random.chance(90) {
        text += "\(random.pick(["T", " ", "t"]))\(padded(0...24, 2)):\(padded(0...60, 2))"
        if random.chance(80) { text += ":\(padded(0...60, 2))" }
        if random.chance(50) { text += random.pick([".", ","]) + padded(0...999_999, 1) }
        text += random.pick([
          "", "Z", "z", " UTC", "+\(padded(0...24, 2)):\(padded(0...60, 2))",
          "-\(padded(0...24, 2))",
        ])
      }
      bytes = Array(text.utf8)
    } else {
      bytes = random.mutated(Self.instants)
    }
    let ours = bytes.withUnsafeBytes { TimestampText.parse($0) }
    let expected = Self.instant(bytes)
    if ours != expected {
      return
        "\(shown(bytes)) is \(ours.map(String.init) ?? "no instant"), and "
        + "\(expected.map(String.init) ?? "none") by the C library"
    }
    guard let ours else { return nil }
    // What we write of it is read as the same again.
    let text = TimestampText.format(milliseconds: ours)
    let isInside = (-62_135_596_800_000..<253_402_300_800_000).contains(ours)
    let again = TimestampText.parse(text)
    return !isInside || again == ours
      ? nil : "\(ours) is written as \(text) and read as \(again.map(String.init) ?? "nothing")"
  }

  /// Peels the text from its end: offset, fraction, then fields of fixed places, checked by a round
  /// trip through the C library's calendar.
  private static func instant(_ bytes: [UInt8]) -> Int64? {
    guard bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
    let text = bytes.map { Character(UnicodeScalar($0)) }
    func number(_ range: Range<Int>) -> Int? {
      guard range.upperBound <= text.count, text[range].allSatisfy({ "0123456789".contains($0) })
      else { return nil }
      return Int(String(text[range]))
    }
    func holds(_ place: Int, _ allowed: String) -> Bool {
      place < text.count && allowed.contains(text[place])
    }
    guard let year = number(0..<4), year > 0, holds(4, "-"), let month = number(5..<7),
      holds(7, "-"), let day = number(8..<10)
    else {
      return nil
    }
    var (hour, minute, second, fraction, offset) = (0, 0, 0, 0, 0)
    if text.count > 10 {
      guard holds(10, "Tt "), let h = number(11..<13), holds(13, ":"), let m = number(14..<16),
        h < 24, m < 60
      else { return nil }
      (hour, minute) = (h, m)
      var place = 16
      if holds(16, ":") {
        guard let s = number(17..<19), s < 60 else { return nil }
        second = s
        place = 19
        if holds(19, ".,") {
          let digits = text[20...].prefix { "0123456789".contains($0) }
          guard !digits.isEmpty else { return nil }
          fraction = Int(String((digits + ["0", "0"]).prefix(3))) ?? 0
          place = 20 + digits.count
        }
      }
      let rest = String(text[place...])
      switch rest.count {
      case 0: break
      case 1: guard rest == "Z" || rest == "z" else { return nil }
      case 4: guard rest == " UTC" else { return nil }
      case 3, 5, 6:
        guard holds(place, "+-"), let h = number(place + 1..<place + 3), h < 24 else { return nil }
        var m = 0
        if rest.count > 3 {
          guard rest.count == 5 || holds(place + 3, ":"),
            let found = number(text.count - 2..<text.count), found < 60
          else { return nil }
          m = found
        }
        offset = (h * 60 + m) * (holds(place, "-") ? -60 : 60)
      default: return nil
      }
    }
    var fields = tm()
    (fields.tm_year, fields.tm_mon, fields.tm_mday) = (
      Int32(year - 1900), Int32(month - 1), Int32(day)
    )
    (fields.tm_hour, fields.tm_min, fields.tm_sec) = (Int32(hour), Int32(minute), Int32(second))
    var seconds = timegm(&fields)
    var back = tm()
    gmtime_r(&seconds, &back)
    guard back.tm_year == Int32(year - 1900), back.tm_mon == Int32(month - 1),
      back.tm_mday == Int32(day)
    else { return nil }
    return Int64(seconds - offset) * 1_000 + Int64(fraction)
  }
}
