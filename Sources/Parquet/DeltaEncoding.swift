/// DELTA_BINARY_PACKED for integers that rise or vary little: sorted keys, times (parquet-format,
/// Encodings.md).
///
/// Blocks of 128 differences in four miniblocks; a miniblock holds differences above the block's
/// least one in as few bits as its largest needs. Arithmetic wraps in the column's own width, as
/// the format asks.
struct DeltaEncoding {
  private static let blockLength = 128
  private static let miniblockLength = 32
  private let is32Bit: Bool

  init(_ type: PhysicalType) { is32Bit = type == .int32 }

  /// The length that ``append(_:to:)`` would take, close enough to choose an encoding by.
  func estimatedByteCount(_ values: UnsafeBufferPointer<Int64>) -> Int {
    var byteCount = 16
    forEachBlock(values) { _, deltas, least in
      byteCount += 9
      for start in stride(from: 0, to: deltas.count, by: Self.miniblockLength) {
        byteCount +=
          bitWidth(
            of: deltas[start..<min(start + Self.miniblockLength, deltas.count)], above: least)
          * Self.miniblockLength / 8
      }
    }
    return byteCount
  }

  func append(_ values: UnsafeBufferPointer<Int64>, to bytes: inout [UInt8]) {
    appendVarint(UInt64(Self.blockLength), to: &bytes)
    appendVarint(UInt64(Self.blockLength / Self.miniblockLength), to: &bytes)
    appendVarint(UInt64(values.count), to: &bytes)
    appendVarint(zigzag(values.first ?? 0), to: &bytes)
    forEachBlock(values) { _, deltas, least in
      appendVarint(zigzag(least), to: &bytes)
      let starts = Array(stride(from: 0, to: Self.blockLength, by: Self.miniblockLength))
      let widths = starts.map { start in
        start < deltas.count
          ? bitWidth(
            of: deltas[start..<min(start + Self.miniblockLength, deltas.count)], above: least) : 0
      }
      for width in widths { bytes.append(UInt8(width)) }
      for (start, width) in zip(starts, widths) where start < deltas.count {
        packBits(count: Self.miniblockLength, bitWidth: width, to: &bytes) { index in
          start + index < deltas.count ? excess(deltas[start + index], above: least) : 0
        }
      }
    }
  }

  private func forEachBlock(
    _ values: UnsafeBufferPointer<Int64>, _ body: (Int, UnsafeBufferPointer<Int64>, Int64) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: Int64.self, capacity: Self.blockLength) { deltas in
      var position = 1
      while position < values.count {
        let count = min(Self.blockLength, values.count - position)
        var least = Int64.max
        for index in 0..<count {
          let delta = values[position + index] &- values[position + index - 1]
          let wrapped = is32Bit ? Int64(Int32(truncatingIfNeeded: delta)) : delta
          deltas[index] = wrapped
          least = min(least, wrapped)
        }
        body(position, UnsafeBufferPointer(rebasing: deltas[0..<count]), least)
        position += count
      }
    }
  }

  private func excess(_ delta: Int64, above least: Int64) -> UInt64 {
    let difference = UInt64(bitPattern: delta &- least)
    return is32Bit ? difference & 0xFFFF_FFFF : difference
  }

  private func bitWidth(of deltas: Slice<UnsafeBufferPointer<Int64>>, above least: Int64) -> Int {
    var largest: UInt64 = 0
    for delta in deltas { largest = max(largest, excess(delta, above: least)) }
    return Parquet.bitWidth(holding: largest)
  }
}
