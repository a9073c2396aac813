// A uint64 is kept less 2^63. So the order and the equality of what is kept are those of the
// numbers, in columns and in SQLite alike, where nothing needs to know the type.

extension Int64 {
  /// What a column keeps of a uint64.
  @inline(__always) package init(keeping number: UInt64) {
    self = Int64(bitPattern: number) ^ .min
  }
}

extension UInt64 {
  /// The uint64 of which a column keeps this.
  @inline(__always) package init(kept: Int64) { self = UInt64(bitPattern: kept ^ .min) }
}
