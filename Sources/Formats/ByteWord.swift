/// Eight bytes of a text, the first of them lowest, in which bytes are searched for all at once.
///
/// A zero byte of `x` sets the highest bit of its own byte in (x - 0x01...01) & ~x, and of none
/// below it (Hacker's Delight, 6-1). So of several marks the lowest is right, and the others may
/// not be.
struct ByteWord {
  private let bits: UInt64
  private static let ones: UInt64 = 0x0101_0101_0101_0101

  @inline(__always)
  private init(_ bits: UInt64) { self.bits = bits }

  /// Marks the bytes that are this one.
  @inline(__always)
  func marks(of byte: UInt8) -> UInt64 {
    let difference = bits ^ (Self.ones &* UInt64(byte))
    return (difference &- Self.ones) & ~difference
  }

  /// Marks the bytes below this one, which is at most 0x80.
  @inline(__always)
  func marks(below byte: UInt8) -> UInt64 { (bits &- Self.ones &* UInt64(byte)) & ~bits }

  /// The first marked byte from `start` on; the number of bytes where none is.
  @inline(__always)
  static func firstIndex(
    in bytes: UnsafeRawBufferPointer, from start: Int, _ marks: (ByteWord) -> UInt64
  ) -> Int {
    let end = bytes.count
    var position = start
    while position &+ 8 <= end {
      let found = marks(word(bytes, at: position)) & (ones &* 0x80)
      if found != 0 { return position &+ found.trailingZeroBitCount / 8 }
      position &+= 8
    }
    while position < end {
      // The bytes above it are zeros, whose marks are not looked at.
      if marks(ByteWord(UInt64(bytes[position]))) & 0x80 != 0 { return position }
      position &+= 1
    }
    return end
  }

  @inline(__always)
  private static func word(_ bytes: UnsafeRawBufferPointer, at position: Int) -> ByteWord {
    ByteWord(
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
  }
}
