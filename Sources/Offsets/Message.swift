/// One message as the broker delivered it. Its bytes belong to the client library and die when the
/// call that lent them returns.
package struct Message {
  package let offset: Offset
  /// Milliseconds since 1970-01-01 UTC, or a negative number when the message has no timestamp.
  package let timestampMilliseconds: Int64
  /// Nil for a null key. An empty key is an empty buffer.
  package let key: UnsafeRawBufferPointer?
  /// Nil for a null value (a tombstone). An empty value is an empty buffer.
  package let value: UnsafeRawBufferPointer?

  /// Of key and value.
  package var byteCount: Int { (key?.count ?? 0) + (value?.count ?? 0) }

  package init(
    offset: Offset, timestampMilliseconds: Int64, key: UnsafeRawBufferPointer?,
    value: UnsafeRawBufferPointer?
  ) {
    self.offset = offset
    self.timestampMilliseconds = timestampMilliseconds
    self.key = key
    self.value = value
  }
}
