internal import Tables

/// The values of one column chunk that are not null, in order, lent for the length of its encoding.
enum ChunkValues {
  /// With the bytes of a PLAIN value, 4 or 8.
  case integers(UnsafeBufferPointer<Int64>, byteCount: Int)
  case doubles(UnsafeBufferPointer<Double>)
  case texts(Texts)
  /// Booleans, 0 or 1.
  case bits(UnsafeBufferPointer<Int64>)

  struct Texts {
    let bytes: UnsafeRawBufferPointer
    /// Where each text that is not null begins and ends.
    let ranges: UnsafeBufferPointer<Range<Int>>

    var count: Int { ranges.count }

    subscript(index: Int) -> UnsafeRawBufferPointer {
      UnsafeRawBufferPointer(rebasing: bytes[ranges[index]])
    }

    func appendPlain(_ index: Int, to target: inout [UInt8]) {
      withUnsafeBytes(of: UInt32(ranges[index].count).littleEndian) {
        target.append(contentsOf: $0)
      }
      target.append(contentsOf: self[index])
    }

    func isSame(_ left: Int, _ right: Int) -> Bool { self[left].elementsEqual(self[right]) }

    func hash(_ index: Int) -> UInt64 { Tables.hash(of: self[index]) }
  }

  var count: Int {
    switch self {
    case .integers(let values, _), .bits(let values): values.count
    case .doubles(let values): values.count
    case .texts(let texts): texts.count
    }
  }

  /// The length of the values, PLAIN.
  func plainByteCount(_ range: Range<Int>) -> Int {
    switch self {
    case .integers(_, let byteCount): range.count * byteCount
    case .doubles: range.count * 8
    case .bits: (range.count + 7) / 8
    case .texts(let texts): range.reduce(0) { $0 + 4 + texts.ranges[$1].count }
    }
  }

  /// Appends values PLAIN (Encodings.md, "Plain: (PLAIN = 0)").
  func appendPlain(_ range: Range<Int>, to bytes: inout [UInt8]) {
    switch self {
    case .integers(let values, byteCount: 4):
      bytes.append(addingCount: range.count * 4) { target in
        for (place, index) in range.enumerated() {
          target.storeBytes(
            of: Int32(truncatingIfNeeded: values[index]).littleEndian, toByteOffset: place * 4,
            as: Int32.self)
        }
      }
    case .integers(let values, _): appendMemory(values, range, to: &bytes)
    case .doubles(let values): appendMemory(values, range, to: &bytes)
    case .bits(let values):
      packBits(count: (range.count + 7) / 8 * 8, bitWidth: 1, to: &bytes) { index in
        index < range.count ? UInt64(values[range.lowerBound + index] & 1) : 0
      }
    case .texts(let texts): for index in range { texts.appendPlain(index, to: &bytes) }
    }
  }

  /// Swift runs on little-endian machines only, where memory is PLAIN already.
  private func appendMemory<Value>(
    _ values: UnsafeBufferPointer<Value>, _ range: Range<Int>, to bytes: inout [UInt8]
  ) {
    bytes.append(contentsOf: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: values[range])))
  }

  /// The least and the greatest value, PLAIN without lengths; nil where there is none, or the texts
  /// are too long to be of use.
  ///
  /// - Parameter isUnsigned: Whether integers of 8 bytes are ordered without a sign.
  func extremes(isUnsigned: Bool) -> (min: [UInt8], max: [UInt8])? {
    switch self {
    case .integers(let values, let byteCount):
      guard let first = values.first else { return nil }
      let sign: Int64 = isUnsigned ? .min : 0
      var (least, greatest) = (first ^ sign, first ^ sign)
      for value in values {
        least = Swift.min(least, value ^ sign)
        greatest = Swift.max(greatest, value ^ sign)
      }
      func plain(_ value: Int64) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0.prefix(byteCount)) }
      }
      return (plain(least ^ sign), plain(greatest ^ sign))
    case .bits(let values):
      guard !values.isEmpty else { return nil }
      return ([values.contains(0) ? 0 : 1], [values.contains(1) ? 1 : 0])
    case .doubles(let values): return extremes(of: values)
    case .texts(let texts):
      guard texts.count > 0 else { return nil }
      var (least, greatest) = (0, 0)
      for index in 1..<max(1, texts.count) {
        if texts[index].lexicographicallyPrecedes(texts[least]) { least = index }
        if texts[greatest].lexicographicallyPrecedes(texts[index]) { greatest = index }
      }
      let lengthLimit = 64
      guard texts.ranges[least].count <= lengthLimit, texts.ranges[greatest].count <= lengthLimit
      else { return nil }
      return (Array(texts[least]), Array(texts[greatest]))
    }
  }

  /// parquet.thrift, ColumnOrder: NaN takes no part, and a zero is written so that it bounds both
  /// zeros.
  private func extremes(of values: UnsafeBufferPointer<Double>) -> (min: [UInt8], max: [UInt8])? {
    var (least, greatest) = (Double.infinity, -Double.infinity)
    var isAny = false
    for value in values where !value.isNaN {
      least = Swift.min(least, value)
      greatest = Swift.max(greatest, value)
      isAny = true
    }
    guard isAny else { return nil }
    func plain(_ value: Double) -> [UInt8] {
      withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
    }
    return (plain(least == 0 ? -0.0 : least), plain(greatest == 0 ? 0.0 : greatest))
  }
}
