extension Column {
  /// Mixes the values of some rows into the rows' hashes. NULL has a hash of its own; doubles hash
  /// by their bits.
  ///
  /// - Parameter hashes: At least as many as there are rows; the first row's comes first.
  package func mixHashes(of rows: Range<Int>, into hashes: inout [UInt64]) {
    let first = rows.lowerBound
    switch type.storage {
    case .integers:
      for row in rows {
        hashes[row - first] = mixedHash(hashes[row - first] ^ UInt64(bitPattern: integers[row]))
      }
    case .doubles:
      for row in rows {
        hashes[row - first] = mixedHash(hashes[row - first] ^ doubles[row].bitPattern)
      }
    case .text:
      for row in rows {
        hashes[row - first] = text.withBytes(of: row) { hash(of: $0, seed: hashes[row - first]) }
      }
    }
    // A NULL holds 0 or '' in its place and must not share their hash.
    for row in rows where isNull[row] { hashes[row - first] = mixedHash(~hashes[row - first]) }
  }
}

/// Eight bytes at a time, then the rest; the length counts.
@inline(__always)
package func hash(of bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
  var hash = seed ^ UInt64(bytes.count)
  var position = 0
  while position + 8 <= bytes.count {
    hash = mixedHash(hash ^ bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
    position += 8
  }
  var rest: UInt64 = 0
  while position < bytes.count {
    rest = rest << 8 | UInt64(bytes[position])
    position += 1
  }
  return mixedHash(hash ^ rest)
}

/// The finaliser of MurmurHash3 for 64 bits: every bit of the input changes every bit of the
/// output.
@inlinable package func mixedHash(_ value: UInt64) -> UInt64 {
  var value = value
  value = (value ^ (value >> 33)) &* 0xFF51_AFD7_ED55_8CCD
  value = (value ^ (value >> 33)) &* 0xC4CE_B9FE_1A85_EC53
  return value ^ (value >> 33)
}
