/// Decimal numbers of a fixed scale, kept as whole numbers of units of 10^-scale.
package enum DecimalText {
  /// 1234 of scale 2 is `12.34`; all digits of the scale are written.
  package static func format(unscaled: Int64, scale: Int) -> String {
    let digits = String(unscaled.magnitude)
    guard scale > 0 else { return (unscaled < 0 ? "-" : "") + digits }
    let padded = String(repeating: "0", count: max(0, scale + 1 - digits.utf8.count)) + digits
    return (unscaled < 0 ? "-" : "") + padded.dropLast(scale) + "." + padded.suffix(scale)
  }
}

/// The value of an ASCII digit.
@inlinable package func decimalDigit(_ byte: UInt8) -> Int64? {
  let value = byte &- 0x30
  return value < 10 ? Int64(value) : nil
}
