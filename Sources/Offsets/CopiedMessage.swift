/// A message whose bytes were copied out of its source, so that it outlives the call that lent it.
/// For a few messages that a person looks at, never for a batch.
package struct CopiedMessage: Sendable, Equatable {
  package let partition: PartitionID
  package let offset: Offset
  /// Nil where the message has no timestamp.
  package let timestampMilliseconds: Int64?
  package let key: [UInt8]?
  /// Nil for a null value.
  package let value: [UInt8]?
  package let headers: [MessageHeaders.Header]

  package init(
    partition: PartitionID, offset: Offset, timestampMilliseconds: Int64?, key: [UInt8]?,
    value: [UInt8]?, headers: [MessageHeaders.Header] = []
  ) {
    self.partition = partition
    self.offset = offset
    self.timestampMilliseconds = timestampMilliseconds
    self.key = key
    self.value = value
    self.headers = headers
  }

  package init(_ message: Message, of partition: PartitionID) {
    self.init(
      partition: partition, offset: message.offset,
      timestampMilliseconds: message.timestampMilliseconds,
      key: message.key.map { [UInt8]($0) }, value: message.value.map { [UInt8]($0) },
      headers: message.headers?.all ?? [])
  }

  /// Of key and value.
  package var byteCount: Int { (key?.count ?? 0) + (value?.count ?? 0) }

  /// Whether it is newer than another: by the brokers' time, then by offset, so that messages
  /// without a time are in some order as well.
  package func isNewer(than other: CopiedMessage) -> Bool {
    let (time, otherTime) = (
      timestampMilliseconds ?? .min, other.timestampMilliseconds ?? .min
    )
    if time != otherTime { return time > otherTime }
    if offset != other.offset { return offset > other.offset }
    return other.partition < partition
  }
}

extension Array<CopiedMessage> {
  /// Lends the messages as a source does.
  package func withMessages<Result>(
    _ body: (UnsafeBufferPointer<Message>) throws -> Result
  ) rethrows -> Result {
    let byteCount = reduce(0) { $0 + $1.byteCount }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 1)
    defer { bytes.deallocate() }
    let headers = LentBytes()
    var used = 0
    func placed(_ part: [UInt8]) -> UnsafeRawBufferPointer {
      let range = used..<used + part.count
      UnsafeMutableRawBufferPointer(rebasing: bytes[range]).copyBytes(from: part)
      used = range.upperBound
      return UnsafeRawBufferPointer(rebasing: bytes[range])
    }
    let messages = map { message in
      Message(
        offset: message.offset, timestampMilliseconds: message.timestampMilliseconds,
        key: message.key.map(placed), value: message.value.map(placed),
        headers: headers.keep(message.headers))
    }
    return try withExtendedLifetime(headers) { try messages.withUnsafeBufferPointer(body) }
  }
}
