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

/// `-12`, `+7`, `0012`: decimal digits with an optional sign.
@inline(__always) func parseInteger(_ text: UnsafeRawBufferPointer) -> Parsed<Int64> {
  var position = 0
  let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
  if isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) { position = 1 }
  guard position < text.count else { return .wrongType }
  // Eighteen digits always fit; the slow way is only for more.
  if text.count - position <= 18 {
    var number: Int64 = 0
    while position < text.count {
      guard let digit = decimalDigit(text[position]) else { return .wrongType }
      number = number &* 10 &+ digit
      position += 1
    }
    return .value(isNegative ? -number : number)
  }
  return parseLongInteger(text, from: position, isNegative: isNegative)
}

private func parseLongInteger(_ text: UnsafeRawBufferPointer, from start: Int, isNegative: Bool)
  -> Parsed<Int64>
{
  var number: Int64 = 0
  var isTooLarge = false
  for position in start..<text.count {
    guard let digit = decimalDigit(text[position]) else { return .wrongType }
    if isTooLarge { continue }
    let (product, overflow) = number.multipliedReportingOverflow(by: 10)
    // Built up as a negative number, which reaches one further.
    let (sum, overflows) = product.subtractingReportingOverflow(digit)
    isTooLarge = overflow || overflows
    number = sum
  }
  if isTooLarge || (!isNegative && number == Int64.min) { return .outOfRange }
  return .value(isNegative ? number : -number)
}

/// A decimal number with optional fraction and exponent, correctly rounded. Infinities, NaN and
/// hexadecimal are not numbers here.
func parseDouble(_ text: UnsafeRawBufferPointer) -> Parsed<Double> {
  var position = 0
  let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
  if isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) { position = 1 }
  var mantissa: UInt64 = 0
  var digitCount = 0
  var exponent = 0
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
        exponent -= 1
      }
      position += 1
    }
  }
  guard sawDigit else { return .wrongType }
  if position < text.count, text[position] | 0x20 == UInt8(ascii: "e") {
    position += 1
    let isMinus = position < text.count && text[position] == UInt8(ascii: "-")
    if isMinus || (position < text.count && text[position] == UInt8(ascii: "+")) { position += 1 }
    guard isDigit() else { return .wrongType }
    var written = 0
    while isDigit() {
      written = min(written * 10 + Int(text[position] - 0x30), 100_000)
      position += 1
    }
    exponent += isMinus ? -written : written
  }
  guard position == text.count else { return .wrongType }
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

extension DecimalText {
  /// `12.34` of scale 2 is 1234, and so is `1.234e1`.
  ///
  /// - Parameter dropsExtraDigits: Whether digits beyond the scale may be anything; else they must
  ///   be zeros.
  static func parse(
    _ text: UnsafeRawBufferPointer, precision: Int, scale: Int, dropsExtraDigits: Bool = false
  ) -> Parsed<Int64> {
    var position = 0
    let isNegative = !text.isEmpty && text[0] == UInt8(ascii: "-")
    if isNegative || (!text.isEmpty && text[0] == UInt8(ascii: "+")) { position = 1 }
    var number: Int64 = 0
    var digitCount = 0
    var fractionDigits = -1
    var sawDigit = false
    var isTooLong = false
    var isTooFine = false
    while position < text.count {
      let byte = text[position]
      position += 1
      if byte == UInt8(ascii: "."), fractionDigits < 0 {
        fractionDigits = 0
        continue
      }
      if byte | 0x20 == UInt8(ascii: "e"), sawDigit {
        return parseScientific(
          text, exponentAt: position, precision: precision, scale: scale,
          dropsExtraDigits: dropsExtraDigits)
      }
      guard let digit = decimalDigit(byte) else { return .wrongType }
      sawDigit = true
      if fractionDigits >= scale {
        if digit != 0 && !dropsExtraDigits { isTooFine = true }
        continue
      }
      if fractionDigits >= 0 { fractionDigits += 1 }
      if number != 0 || digit != 0 { digitCount += 1 }
      if digitCount > 18 { isTooLong = true } else { number = number * 10 + digit }
    }
    guard sawDigit else { return .wrongType }
    for _ in max(0, fractionDigits)..<scale {
      if number != 0 { digitCount += 1 }
      if digitCount > 18 { isTooLong = true } else { number *= 10 }
    }
    if isTooLong || isTooFine || digitCount > precision { return .outOfRange }
    return .value(isNegative ? -number : number)
  }

  /// As ``parse(_:precision:scale:dropsExtraDigits:)``, for a number whose sign, digits and point
  /// before the `e` are right.
  ///
  /// - Parameter start: Where the exponent's sign or digits begin.
  private static func parseScientific(
    _ text: UnsafeRawBufferPointer, exponentAt start: Int, precision: Int, scale: Int,
    dropsExtraDigits: Bool
  ) -> Parsed<Int64> {
    var position = start
    let isMinus = position < text.count && text[position] == UInt8(ascii: "-")
    if isMinus || (position < text.count && text[position] == UInt8(ascii: "+")) { position += 1 }
    guard position < text.count else { return .wrongType }
    var exponent = 0
    while position < text.count {
      guard let digit = decimalDigit(text[position]) else { return .wrongType }
      // Far beyond what any digit can reach, so the rest may be ignored.
      exponent = min(exponent * 10 + Int(digit), 1_000_000_000)
      position += 1
    }
    let mantissa = text[..<(start - 1)]
    let point = mantissa.firstIndex(of: UInt8(ascii: ".")) ?? mantissa.endIndex
    let sign = text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+") ? 1 : 0
    // So many digits, from the first on, are whole units of the scale.
    let wholeCount = point - sign + (isMinus ? -exponent : exponent) + scale
    var number: Int64 = 0
    var digitCount = 0
    var place = 0
    for byte in mantissa.dropFirst(sign) {
      guard let digit = decimalDigit(byte) else { continue }
      if place < wholeCount {
        if number != 0 || digit != 0 { digitCount += 1 }
        guard digitCount <= 18 else { return .outOfRange }
        number = number * 10 + digit
      } else if digit != 0 && !dropsExtraDigits {
        return .outOfRange
      }
      place += 1
    }
    while number != 0 && place < wholeCount {
      digitCount += 1
      guard digitCount <= 18 else { return .outOfRange }
      number *= 10
      place += 1
    }
    return digitCount > precision
      ? .outOfRange : .value(text[0] == UInt8(ascii: "-") ? -number : number)
  }
}
