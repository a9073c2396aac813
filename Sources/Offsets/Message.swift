/// One message as the broker delivered it. Its bytes belong to the client library and die when the
/// call that lent them returns.
package struct Message {
  package let offset: Offset
  /// Milliseconds since 1970-01-01 UTC; nil where the message has no timestamp.
  package let timestampMilliseconds: Int64?
  /// Nil for a null key. An empty key is an empty buffer.
  package let key: UnsafeRawBufferPointer?
  /// Nil for a null value (a tombstone). An empty value is an empty buffer.
  package let value: UnsafeRawBufferPointer?

  /// Nil where it has none, or its source does not tell them.
  package let headers: MessageHeaders?

  /// Of key and value.
  package var byteCount: Int { (key?.count ?? 0) + (value?.count ?? 0) }

  package init(
    offset: Offset, timestampMilliseconds: Int64?, key: UnsafeRawBufferPointer?,
    value: UnsafeRawBufferPointer?, headers: MessageHeaders? = nil
  ) {
    self.offset = offset
    self.timestampMilliseconds = timestampMilliseconds
    self.key = key
    self.value = value
    self.headers = headers
  }
}

/// Messages that a source lends for the length of a call, and what they are to the read.
package enum LentMessages {
  /// Of a range that is read, by its position among the ranges: in the order of their offsets.
  case ofRange(Int, UnsafeBufferPointer<Message>)
  /// Ahead of the read that asks for them: they follow a range that is read, by its position, and
  /// belong to one that the source was told of.
  case ahead(behindRange: Int, UnsafeBufferPointer<Message>)
  /// Nothing has come for a while. Throw to end the wait.
  case nothing

  package var messages: UnsafeBufferPointer<Message> {
    switch self {
    case .ofRange(_, let messages), .ahead(_, let messages): messages
    case .nothing: UnsafeBufferPointer(start: nil, count: 0)
    }
  }

  /// The same among ranges of which so many stand before.
  package func shifted(by count: Int) -> LentMessages {
    switch self {
    case .ofRange(let index, let messages): .ofRange(index + count, messages)
    case .ahead(let index, let messages): .ahead(behindRange: index + count, messages)
    case .nothing: .nothing
    }
  }
}
