internal import Glibc
internal import Tables

/// What came of reading a value from text.
enum Parsed<Value> {
  case value(Value)
  /// The text is not of the type.
  case wrongType
  /// It is, and does not fit.
  case outOfRange
  /// It says NaN or an infinity.
  case notFinite
}

/// `-12`, `+7`, `0012`, and what is exactly a whole number: `16.0`, `1.2e3`.
@inline(__always) func parseInteger(_ text: UnsafeRawBufferPointer) -> Parsed<Int64> {
  if let number = plainInteger(text) { return .value(number) }
  let units: Units<Int64> = units(of: text, scale: 0)
  return switch units {
  case .exactly(let number): .value(number)
  case .tooLarge: .outOfRange
  case .about, .notANumber: .wrongType
  }
}

/// As ``parseInteger(_:)``, for a uint64, as a column keeps it.
@inline(__always) func parseUnsigned(_ text: UnsafeRawBufferPointer) -> Parsed<Int64> {
  if let number = plainInteger(text), number >= 0 { return .value(Int64(keeping: UInt64(number))) }
  let units: Units<UInt64> = units(of: text, scale: 0)
  return switch units {
  case .exactly(let number): .value(Int64(keeping: number))
  case .tooLarge: .outOfRange
  case .about, .notANumber: .wrongType
  }
}

/// Decimal digits with an optional sign, at most 18 of them, which always fit; nil for any other
/// text.
@inline(__always) func plainInteger(_ text: UnsafeRawBufferPointer) -> Int64? {
  var position = 0
  let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
  if isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) { position = 1 }
  guard position < text.count, text.count - position <= 18 else { return nil }
  var number: Int64 = 0
  while position < text.count {
    guard let digit = decimalDigit(text[position]) else { return nil }
    number = number &* 10 &+ digit
    position += 1
  }
  return isNegative ? -number : number
}

/// `12.34` of scale 2 is 1234, and so is `1.234e1`.
///
/// - Parameter values: Those that the decimal's precision holds.
func parseDecimal(
  _ text: UnsafeRawBufferPointer, scale: Int, _ values: ClosedRange<Int64>
) -> Parsed<Int64> {
  let units: Units<Int64> = units(of: text, scale: scale)
  return switch units {
  case .exactly(let number): values.contains(number) ? .value(number) : .outOfRange
  case .about, .tooLarge: .outOfRange
  case .notANumber: .wrongType
  }
}

/// A time since 1970 in milliseconds, from a number in units of 10^`scale` of them; digits beyond
/// the millisecond are dropped.
///
/// Only instants that a text can say, years 0001 to 9999: milliseconds where seconds were meant are
/// 50,000 years beyond.
func parseUnixTime(_ text: UnsafeRawBufferPointer, scale: Int) -> Parsed<Int64> {
  let plain = scale == 0 ? plainInteger(text) : nil
  let units: Units<Int64> = plain.map(Units.exactly) ?? units(of: text, scale: scale)
  return switch units {
  case .exactly(let number), .about(let number):
    TimestampText.instants.contains(number) ? .value(number) : .outOfRange
  case .tooLarge: .outOfRange
  case .notANumber: .wrongType
  }
}

/// What a decimal number is in units of some power of ten.
private enum Units<Number> {
  case exactly(Number)
  /// Without the digits beyond one unit, of which some are not zeros.
  case about(Number)
  case tooLarge
  case notANumber
}

/// Reads a decimal number with optional sign, fraction and exponent, in units of 10^-`scale`.
///
/// Its work is bounded by the text's length, whatever the exponent is.
private func units<Number: FixedWidthInteger>(
  of text: UnsafeRawBufferPointer, scale: Int
) -> Units<Number> {
  let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
  let first = isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) ? 1 : 0
  var end = first
  var point: Int?
  while end < text.count {
    if text[end] == UInt8(ascii: "."), point == nil {
      point = end
    } else if decimalDigit(text[end]) == nil {
      break
    }
    end += 1
  }
  guard end - first > (point == nil ? 0 : 1), let exponent = exponent(text, at: end) else {
    return .notANumber
  }
  // So many digits, from the first on, make whole units.
  let wholeCount = (point ?? end) - first + exponent + scale
  var magnitude: UInt64 = 0
  var isExact = true
  func append(_ digit: UInt64) -> Bool {
    let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
    let (sum, overflows) = product.addingReportingOverflow(digit)
    magnitude = sum
    return !overflow && !overflows
  }
  var place = 0
  for index in first..<end where index != point {
    let digit = UInt64(text[index] &- UInt8(ascii: "0"))
    if place < wholeCount {
      guard append(digit) else { return .tooLarge }
    } else if digit != 0 {
      isExact = false
      break
    }
    place += 1
  }
  while magnitude != 0, place < wholeCount {
    guard append(0) else { return .tooLarge }
    place += 1
  }
  let number = Number(truncatingIfNeeded: isNegative ? 0 &- magnitude : magnitude)
  guard number.magnitude == magnitude, (number < 0) == (isNegative && magnitude != 0) else {
    return .tooLarge
  }
  return isExact ? .exactly(number) : .about(number)
}

/// What stands behind a number's digits: nothing, which is 0, or `e-7` to the text's end; nil where
/// something else does.
///
/// An exponent beyond what the digits of any text can reach comes back as one that is too.
@inline(__always)
private func exponent(_ text: UnsafeRawBufferPointer, at start: Int) -> Int? {
  guard start < text.count else { return 0 }
  guard text[start] | 0x20 == UInt8(ascii: "e") else { return nil }
  var position = start + 1
  let isMinus = position < text.count && text[position] == UInt8(ascii: "-")
  if isMinus || (position < text.count && text[position] == UInt8(ascii: "+")) { position += 1 }
  guard position < text.count else { return nil }
  var exponent = 0
  while position < text.count {
    guard let digit = decimalDigit(text[position]) else { return nil }
    exponent = min(exponent * 10 + Int(digit), 1 << 40)
    position += 1
  }
  return isMinus ? -exponent : exponent
}

/// A decimal number with optional fraction and exponent, correctly rounded. Infinities, NaN and
/// hexadecimal are not numbers here.
func parseDouble(_ text: UnsafeRawBufferPointer) -> Parsed<Double> {
  var position = 0
  let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
  if isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) { position = 1 }
  var mantissa: UInt64 = 0
  var digitCount = 0
  var scale = 0
  var sawDigit = false
  func isDigit() -> Bool { position < text.count && decimalDigit(text[position]) != nil }
  while isDigit() {
    sawDigit = true
    if mantissa > 0 || text[position] != 0x30 { digitCount += 1 }
    if digitCount <= 18 { mantissa = mantissa * 10 + UInt64(text[position] - 0x30) }
    position += 1
  }
  if position < text.count, text[position] == UInt8(ascii: ".") {
    position += 1
    while isDigit() {
      sawDigit = true
      if mantissa > 0 || text[position] != 0x30 { digitCount += 1 }
      if digitCount <= 18 {
        mantissa = mantissa * 10 + UInt64(text[position] - 0x30)
        scale += 1
      }
      position += 1
    }
  }
  guard sawDigit, let written = exponent(text, at: position) else { return .wrongType }
  let exponent = written - scale
  // Both factors are exact, so one division or multiplication rounds once (Clinger 1990).
  if digitCount <= 15, abs(exponent) <= 22 {
    let magnitude =
      exponent < 0
      ? Double(mantissa) / PowersOfTen.doubles[-exponent]
      : Double(mantissa) * PowersOfTen.doubles[exponent]
    return .value(magnitude == 0 ? 0 : isNegative ? -magnitude : magnitude)
  }
  return parseLongDouble(text)
}

private func parseLongDouble(_ text: UnsafeRawBufferPointer) -> Parsed<Double> {
  // strtod wants a terminating zero, and reads the C locale: this process never sets another.
  let number = withUnsafeTemporaryAllocation(of: CChar.self, capacity: text.count + 1) { buffer in
    for index in 0..<text.count { buffer[index] = CChar(bitPattern: text[index]) }
    buffer[text.count] = 0
    return buffer.baseAddress.map { strtod($0, nil) } ?? .nan
  }
  guard number.isFinite else { return .outOfRange }
  return .value(number == 0 ? 0 : number)
}
