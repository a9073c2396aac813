/// The headers of a message, which the client library reads only where somebody asks for them.
///
/// They die with the message's bytes.
package struct MessageHeaders {
  package struct Header: Sendable, Equatable {
    package let name: String
    /// Nil for a null value.
    package let value: [UInt8]?

    package init(name: String, value: [UInt8]?) {
      self.name = name
      self.value = value
    }
  }

  /// A header whose bytes belong to the message.
  package struct Lent {
    package let name: UnsafeRawBufferPointer
    /// Nil for a null value.
    package let value: UnsafeRawBufferPointer?

    package init(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?) {
      self.name = name
      self.value = value
    }
  }

  /// Gives the header of a message at a position, from 0; false where there is none. A function of
  /// C's convention, so that a message stays a value that nothing counts references of.
  package typealias Reader =
    @convention(c) (
      _ message: UnsafeRawPointer, _ position: Int, _ header: UnsafeMutableRawPointer
    ) -> Bool

  private let message: UnsafeRawPointer
  private let read: Reader

  /// - Parameter read: Is called with the message and a pointer to a `Lent?`.
  package init(of message: UnsafeRawPointer, _ read: Reader) {
    self.message = message
    self.read = read
  }

  /// Lends each header, in their order; a name may stand there more than once. Allocates nothing.
  package func forEach(_ body: (Lent) -> Void) {
    var position = 0
    var header: Lent?
    while withUnsafeMutablePointer(
      to: &header, { read(message, position, UnsafeMutableRawPointer($0)) }), let header
    {
      body(header)
      position += 1
    }
  }

  /// In their order.
  package var all: [Header] {
    var headers: [Header] = []
    forEach { header in
      headers.append(
        Header(
          name: String(decoding: header.name, as: UTF8.self), value: header.value.map(Array.init)))
    }
    return headers
  }
}

/// Owns bytes and headers that messages in memory lend as the client library lends its own.
package final class LentBytes {
  private var lists: [UnsafeMutablePointer<[MessageHeaders.Lent]>] = []
  private var buffers: [UnsafeMutableRawBufferPointer] = []

  package init() {}

  deinit {
    for list in lists {
      list.deinitialize(count: 1)
      list.deallocate()
    }
    for buffer in buffers { buffer.deallocate() }
  }

  /// - Returns: What lives as long as this; nil for no headers.
  package func keep(_ headers: [MessageHeaders.Header]) -> MessageHeaders? {
    if headers.isEmpty { return nil }
    let list = UnsafeMutablePointer<[MessageHeaders.Lent]>.allocate(capacity: 1)
    list.initialize(
      to: headers.map { header in
        MessageHeaders.Lent(name: copy(Array(header.name.utf8)), value: header.value.map(copy))
      })
    lists.append(list)
    return MessageHeaders(of: list) { message, position, target in
      let list = message.assumingMemoryBound(to: [MessageHeaders.Lent].self)
      guard position < list.pointee.count else { return false }
      target.assumingMemoryBound(to: MessageHeaders.Lent?.self).pointee = list.pointee[position]
      return true
    }
  }

  /// - Returns: What lives as long as this.
  package func copy(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(1, bytes.count), alignment: 1)
    buffer.copyBytes(from: bytes)
    buffers.append(buffer)
    return UnsafeRawBufferPointer(rebasing: buffer[..<bytes.count])
  }
}
