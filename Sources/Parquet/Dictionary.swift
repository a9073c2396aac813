internal import Tables

/// The distinct values of a column chunk in order of first appearance, and for each value that is
/// not null its place among them.
///
/// Not every column is worth one: building gives up where the values hardly repeat or the
/// dictionary grows beyond a page.
struct ValueDictionary {
  /// Distinct values, PLAIN.
  private(set) var plain: [UInt8] = []
  private(set) var count = 0
  /// One per value that is not null.
  private(set) var indices: [UInt32] = []

  private var slots: [UInt32]
  private var hashes: [UInt64] = []

  private static let byteLimit = 1 << 20
  private static let none = UInt32.max

  /// At least 1, as every reader takes it.
  var bitWidth: Int { max(1, Parquet.bitWidth(holding: UInt64(max(0, count - 1)))) }

  /// Nil when a dictionary does not pay.
  init?(_ values: ChunkValues) {
    slots = [UInt32](repeating: Self.none, count: 512)
    indices.reserveCapacity(values.count)
    let isBuilt =
      switch values {
      case .integers(let integers, let byteCount):
        build(
          integers.count, { mixedHash(UInt64(bitPattern: integers[$0])) },
          { integers[$0] == integers[$1] }
        ) { index, plain in
          withUnsafeBytes(of: integers[index].littleEndian) {
            plain.append(contentsOf: $0.prefix(byteCount))
          }
        }
      case .doubles(let doubles):
        // By bit pattern: -0.0 and every NaN stay what they are.
        build(
          doubles.count, { mixedHash(doubles[$0].bitPattern) },
          { doubles[$0].bitPattern == doubles[$1].bitPattern }
        ) { index, plain in
          withUnsafeBytes(of: doubles[index].bitPattern.littleEndian) {
            plain.append(contentsOf: $0)
          }
        }
      case .texts(let texts):
        build(texts.count, { texts.hash($0) }, { texts.isSame($0, $1) }) { index, plain in
          texts.appendPlain(index, to: &plain)
        }
      case .bits: false
      }
    if !isBuilt { return nil }
  }

  /// - Returns: Whether the dictionary was built to the end.
  @inline(__always)
  private mutating func build(
    _ valueCount: Int, _ hash: (Int) -> UInt64, _ isSame: (Int, Int) -> Bool,
    _ appendPlain: (Int, inout [UInt8]) -> Void
  ) -> Bool {
    var firsts: [Int] = []
    for index in 0..<valueCount {
      // Values that hardly repeat in the first thousands will not later.
      if index == 16_384 && count > index / 2 { return false }
      let hash = hash(index)
      var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while true {
        let entry = slots[slot]
        if entry == Self.none {
          if plain.count > Self.byteLimit { return false }
          slots[slot] = UInt32(count)
          indices.append(UInt32(count))
          firsts.append(index)
          hashes.append(hash)
          appendPlain(index, &plain)
          count += 1
          if count * 2 > slots.count { grow() }
          break
        }
        if hashes[Int(entry)] == hash && isSame(firsts[Int(entry)], index) {
          indices.append(entry)
          break
        }
        slot = (slot + 1) & (slots.count - 1)
      }
    }
    return true
  }

  private mutating func grow() {
    slots = [UInt32](repeating: Self.none, count: slots.count * 4)
    for (entry, hash) in hashes.enumerated() {
      var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while slots[slot] != Self.none { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = UInt32(entry)
    }
  }
}
