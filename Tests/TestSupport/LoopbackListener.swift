import Foundation
import Glibc
import Synchronization

/// A TCP socket that listens on loopback, at a port that the system chooses.
final class LoopbackListener: Sendable {
  let port: UInt16
  private let descriptor: Int32
  private let isAccepting = Atomic(false)

  init(backlog: Int32) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in(loopbackPort: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    precondition(isBound && listen(descriptor, backlog) == 0, "no port for a scripted server")
    self.descriptor = descriptor
    port = UInt16(bigEndian: address.sin_port)
  }

  /// Starts the one thread that takes connections; `serve` closes what it is given. Called at most
  /// once.
  func accept(_ serve: @escaping @Sendable (_ connection: Int32) -> Void) {
    isAccepting.store(true, ordering: .relaxed)
    Thread { [descriptor] in
      while case let connection = Glibc.accept(descriptor, nil, nil), connection >= 0 {
        serve(connection)
      }
      // Not in deinit: this thread would then take connections from whatever has the number next.
      close(descriptor)
    }.start()
  }

  /// Ends the thread's wait.
  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    if !isAccepting.load(ordering: .relaxed) { close(descriptor) }
  }
}

extension sockaddr_in {
  init(loopbackPort port: UInt16) {
    self.init()
    sin_family = sa_family_t(AF_INET)
    sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    sin_port = port.bigEndian
  }
}
