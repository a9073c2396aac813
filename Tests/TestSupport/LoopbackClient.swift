import Glibc

/// A TCP connection to a port of loopback, for what HTTP's clients do not do.
package final class LoopbackClient {
  private let descriptor: Int32

  /// - Throws: ``Refused``.
  package init(port: UInt16) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in(loopbackPort: port)
    let status = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else { throw Refused(number: errno) }
  }

  package struct Refused: Error { let number: Int32 }

  deinit { close(descriptor) }

  /// False when nobody is there any more.
  @discardableResult
  package func send(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 {
      Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) == $0.count
    }
  }

  /// What has come; nil where nothing has, and an empty text at the connection's end.
  package func receive(waiting: Bool = false) -> String? {
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = recv(descriptor, &bytes, bytes.count, waiting ? 0 : Int32(MSG_DONTWAIT))
    if count < 0 { return errno == EAGAIN ? nil : "" }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Everything up to the connection's end, which is waited for.
  package func receiveAll() -> String {
    var all = ""
    while case let text? = receive(waiting: true), !text.isEmpty { all += text }
    return all
  }
}
