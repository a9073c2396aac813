/// Sample API calls that look like the real thing: few APIs get most calls, and durations have a
/// long tail. The same seed gives the same calls.
struct SampleCalls {
  struct Call: Equatable {
    let apiID: Int32
    let timeTakenMilliseconds: Int32
  }

  private var random: SplitMix64
  /// Cumulative weights of the APIs: the k-th most called has weight 1/k (Zipf's law).
  private let cumulative: [Double]

  init(seed: UInt64, apiCount: Int = 200) {
    random = SplitMix64(state: seed)
    var sum = 0.0
    cumulative = (1...apiCount).map { rank in
      sum += 1 / Double(rank)
      return sum
    }
  }

  mutating func next() -> Call {
    let point = Double.random(in: 0..<(cumulative.last ?? 1), using: &random)
    let index = cumulative.firstIndex { point < $0 } ?? 0
    // The sum of uniform numbers is near enough to a normal one; its exponential has the long tail
    // of durations.
    let normal = (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random) }
    let median = 20 + Double(index * 37 % 400)
    return Call(
      apiID: Int32(index + 1),
      timeTakenMilliseconds: Int32((median * power(normal * 0.6)).rounded()))
  }

  /// e^x by its series; exact enough for samples, and the same on every machine.
  private func power(_ exponent: Double) -> Double {
    var term = 1.0
    var sum = 1.0
    for step in 1..<30 {
      term *= exponent / Double(step)
      sum += term
    }
    return max(sum, 0.01)
  }

  mutating func partition(of count: Int32) -> Int32 { Int32.random(in: 0..<count, using: &random) }
}

/// Sebastiano Vigna's SplitMix64: a few lines, the same numbers everywhere.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
