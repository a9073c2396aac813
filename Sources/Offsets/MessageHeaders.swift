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

  /// Appends the headers of a message to an array of them. A function of C's convention, so that a
  /// message stays a value that nothing counts references of.
  package typealias Reader =
    @convention(c) (_ message: UnsafeRawPointer, _ headers: UnsafeMutableRawPointer) -> Void

  private let message: UnsafeRawPointer
  private let read: Reader

  /// - Parameter read: Is called with the message and a pointer to an `[Header]`.
  package init(of message: UnsafeRawPointer, _ read: Reader) {
    self.message = message
    self.read = read
  }

  /// In their order; a name may stand there more than once.
  package var all: [Header] {
    var headers: [Header] = []
    withUnsafeMutablePointer(to: &headers) { read(message, UnsafeMutableRawPointer($0)) }
    return headers
  }
}
