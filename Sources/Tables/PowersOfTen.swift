/// Powers of ten that are exact.
package enum PowersOfTen {
  /// 1 to 10^18, the greatest that 64 bits hold.
  package static let integers = (0...18).map { exponent in
    (0..<exponent).reduce(Int64(1)) { power, _ in power * 10 }
  }

  /// 1 to 10^22, the greatest that a double holds exactly.
  package static let doubles: [Double] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
  ]

  /// What a decimal of this precision holds, in units of its scale.
  package static func unscaledValues(precision: Int) -> ClosedRange<Int64> {
    (1 - integers[precision])...(integers[precision] - 1)
  }
}
