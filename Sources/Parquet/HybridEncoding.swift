/// The RLE / bit-packing hybrid of definition levels and dictionary indices (parquet-format,
/// Encodings.md, "RLE = 3").
///
/// Eight equal values or more become a run; what lies between is packed in groups of eight, the
/// lowest bit first.
///
/// - Parameter bitWidth: 0 to 32; every value fits into it.
func appendHybrid(_ values: UnsafeBufferPointer<UInt32>, bitWidth: Int, to bytes: inout [UInt8]) {
  var position = 0
  var packedStart = 0
  while position < values.count {
    let value = values[position]
    var end = position + 1
    while end < values.count && values[end] == value { end += 1 }
    // A run may only begin where the packed values before it are whole groups; they take what is
    // missing from it.
    let missing = (8 - (position - packedStart) % 8) % 8
    if end - position - missing >= 8 {
      appendPacked(values, packedStart..<position + missing, bitWidth: bitWidth, to: &bytes)
      appendVarint(UInt64(end - position - missing) << 1, to: &bytes)
      for byte in 0..<(bitWidth + 7) / 8 {
        bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt32(byte))))
      }
      packedStart = end
    }
    position = end
  }
  appendPacked(values, packedStart..<values.count, bitWidth: bitWidth, to: &bytes)
}

/// Groups of eight; the last is filled up with zeros, which is allowed at the end alone.
private func appendPacked(
  _ values: UnsafeBufferPointer<UInt32>, _ range: Range<Int>, bitWidth: Int, to bytes: inout [UInt8]
) {
  guard !range.isEmpty else { return }
  let groupCount = (range.count + 7) / 8
  appendVarint(UInt64(groupCount) << 1 | 1, to: &bytes)
  packBits(count: groupCount * 8, bitWidth: bitWidth, to: &bytes) { index in
    let position = range.lowerBound + index
    return position < range.upperBound ? UInt64(values[position]) : 0
  }
}

/// Packs values one after the other, the lowest bit first.
///
/// - Parameter count: A multiple of 8, so that the last byte is full.
@inline(__always)
func packBits(count: Int, bitWidth: Int, to bytes: inout [UInt8], _ value: (Int) -> UInt64) {
  guard bitWidth > 0 else { return }
  var pending: UInt64 = 0
  var pendingBits = 0
  bytes.append(addingCount: count * bitWidth / 8) { target in
    var filled = 0
    for index in 0..<count {
      let next = value(index)
      pending |= next << UInt64(pendingBits)
      let takenBits = 64 - pendingBits
      pendingBits += bitWidth
      if pendingBits >= 64 {
        target.storeBytes(of: pending.littleEndian, toByteOffset: filled, as: UInt64.self)
        filled += 8
        pendingBits -= 64
        pending = takenBits < 64 ? next >> UInt64(takenBits) : 0
      }
    }
    while pendingBits > 0 {
      target[filled] = UInt8(truncatingIfNeeded: pending)
      pending >>= 8
      pendingBits -= 8
      filled += 1
    }
  }
}

/// Bits that hold every value from 0 to `largest`.
func bitWidth(holding largest: UInt64) -> Int { 64 - largest.leadingZeroBitCount }

extension [UInt8] {
  /// Appends zeros and lends them to be written over.
  @inline(__always)
  mutating func append(addingCount count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) {
    let start = self.count
    append(contentsOf: repeatElement(0, count: count))
    withUnsafeMutableBytes { fill(UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
  }
}
