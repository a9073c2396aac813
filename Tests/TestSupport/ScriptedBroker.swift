import Foundation
import Glibc

/// A TCP server on loopback that is no proper broker: for what neither a real one nor librdkafka's
/// mock cluster can be made to do.
package final class ScriptedBroker: Sendable {
  package enum Role: Sendable {
    /// Reads something, sends these bytes and hangs up.
    case says([UInt8])
    /// Takes connections and says nothing.
    case isSilent
    /// Takes no more connections: packets to it are swallowed.
    case isFull
    /// Speaks so much Kafka that a client logs in with PLAIN, and refuses it with this text.
    case refusesLogin(String)
    /// Speaks so much Kafka that a client learns the mechanisms that are offered.
    case offers(mechanisms: [String])
    /// Speaks Kafka until it would have to answer without a login, and hangs up then.
    case wantsLogin
    /// Speaks so much Kafka that a client finds offset 5 in the only partition of any topic. That
    /// takes so long each time; questions of a connection are answered one after the other.
    case listsOffsets(afterMilliseconds: UInt32)
    /// Passes everything on to a broker on loopback, and puts another address of as many bytes in
    /// the place of the broker's own where it names it.
    case advertises(host: String, port: UInt16, for: UInt16)

    package static let http = Role.says(
      Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8))
    /// TLS alerts: protocol_version, close_notify. librdkafka looks at eight bytes or none.
    package static let tls = Role.says([0x15, 3, 3, 0, 2, 2, 0x46, 0x15, 3, 3, 0, 2, 1, 0])
  }

  private let listener: LoopbackListener

  package init(_ role: Role) {
    let isFull = if case .isFull = role { true } else { false }
    listener = LoopbackListener(backlog: isFull ? 0 : 16)
    if isFull {
      // One more than the queue takes; they are never accepted.
      for _ in 0..<2 { _ = Self.connected(to: port, waits: false) }
      return
    }
    listener.accept { [port] connection in
      Thread { Self.serve(connection, role, port) }.start()
    }
  }

  package var port: UInt16 { listener.port }
  package var address: String { "127.0.0.1:\(port)" }

  private static func connected(to port: UInt16, waits: Bool = true) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    if !waits { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
    var address = sockaddr_in(loopbackPort: port)
    _ = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return descriptor
  }

  private static func serve(_ connection: Int32, _ role: Role, _ port: UInt16) {
    defer { close(connection) }
    switch role {
    case .isFull: return
    case .isSilent: while !received(connection).isEmpty {}
    case .says(let bytes):
      _ = received(connection)
      send(connection, bytes)
      // Until the client has read it: a reset would throw it away.
      shutdown(connection, Int32(SHUT_WR))
      while !received(connection).isEmpty {}
    case .advertises(let host, let advertised, let real):
      let upstream = connected(to: real)
      Thread {
        while case let bytes = received(connection), !bytes.isEmpty { send(upstream, bytes) }
        shutdown(upstream, Int32(SHUT_RDWR))
      }.start()
      defer { close(upstream) }
      let old = Array("127.0.0.1".utf8) + bigEndian(Int32(real))
      let new = Array(host.utf8) + bigEndian(Int32(advertised))
      precondition(old.count == new.count)
      while case let bytes = received(upstream), !bytes.isEmpty {
        send(connection, bytes.replacing(old, with: new))
      }
      shutdown(connection, Int32(SHUT_RDWR))
    case .refusesLogin, .offers, .wantsLogin, .listsOffsets:
      while let request = request(connection), let answer = answer(request, role, port) {
        send(connection, bigEndian(Int32(answer.count)) + answer)
      }
    }
  }

  // MARK: - A little Kafka

  private static func request(_ connection: Int32) -> [UInt8]? {
    guard let size = received(connection, exactly: 4), size.count == 4 else { return nil }
    return received(connection, exactly: size.reduce(0) { $0 << 8 | Int($1) })
  }

  /// Nil where the connection is to be closed.
  ///
  /// - SeeAlso: Kafka's protocol guide: ListOffsets 2, Metadata 3, SaslHandshake 17,
  ///   ApiVersions 18, SaslAuthenticate 36.
  private static func answer(_ request: [UInt8], _ role: Role, _ port: UInt16) -> [UInt8]? {
    let key = Int(request[0]) << 8 | Int(request[1])
    let version = Int(request[2]) << 8 | Int(request[3])
    let correlation = Array(request[4..<8])
    switch (key, role) {
    case (18, _) where version > 0: return correlation + [0, 35, 0, 0, 0, 0]
    case (18, .listsOffsets):
      let versions: [[UInt8]] = [[2, 1, 1], [3, 1, 1], [18, 0, 0]]
      return correlation + [0, 0] + array(versions.map { $0.flatMap { [0, $0] } })
    case (3, .listsOffsets):
      let broker = bigEndian(1) + string("127.0.0.1") + bigEndian(Int32(port)) + string("")
      let partition: [UInt8] =
        [0, 0] + bigEndian(0) + bigEndian(1) + array([bigEndian(1)])
        + array([bigEndian(1)])
      let topics = topics(request).map { [0, 0] + string($0) + [0] + array([partition]) }
      return correlation + array([broker]) + bigEndian(1) + array(topics)
    case (2, .listsOffsets(let milliseconds)):
      usleep(milliseconds * 1_000)
      let offset: [UInt8] =
        bigEndian(0) + [0, 0] + [0, 0, 0, 0, 0, 0, 0, 7] + [0, 0, 0, 0, 0, 0, 0, 5]
      return correlation + array([string("t") + array([offset])])
    case (18, _):
      let versions: [[UInt8]] = [[3, 0, 4], [17, 0, 1], [18, 0, 0], [36, 0, 0]]
      return correlation + [0, 0, 0, 0, 0, 4] + versions.joined().flatMap { [0, $0] }
    case (17, .offers(let mechanisms)):
      return correlation + [0, 33] + bigEndian(Int32(mechanisms.count))
        + mechanisms.flatMap(string)
    case (17, _): return correlation + [0, 0, 0, 0, 0, 1] + string("PLAIN")
    case (36, .refusesLogin(let text)): return correlation + [0, 58] + string(text) + [0, 0, 0, 0]
    default: return nil
    }
  }

  /// The topics of a question for metadata; none for all of them.
  private static func topics(_ request: [UInt8]) -> [String] {
    // After the client's name.
    var rest = request[(10 + Int(request[9]))...]
    let count = rest.prefix(4).reduce(Int32(0)) { $0 << 8 | Int32($1) }
    rest = rest.dropFirst(4)
    return (0..<max(0, count)).map { _ in
      let length = rest.prefix(2).reduce(0) { $0 << 8 | Int($1) }
      defer { rest = rest.dropFirst(2 + length) }
      return String(decoding: rest.dropFirst(2).prefix(length), as: UTF8.self)
    }
  }

  private static func array(_ items: [[UInt8]]) -> [UInt8] {
    bigEndian(Int32(items.count)) + items.joined()
  }

  private static func string(_ text: String) -> [UInt8] {
    [UInt8(text.utf8.count >> 8), UInt8(text.utf8.count & 255)] + Array(text.utf8)
  }

  private static func bigEndian(_ number: Int32) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian, Array.init)
  }

  // MARK: - Bytes

  /// Empty at the end.
  private static func received(_ connection: Int32) -> [UInt8] {
    var chunk = [UInt8](repeating: 0, count: 65_536)
    let count = read(connection, &chunk, chunk.count)
    return Array(chunk.prefix(max(0, count)))
  }

  private static func received(_ connection: Int32, exactly wanted: Int) -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4_096)
    while bytes.count < wanted {
      let count = read(connection, &chunk, min(chunk.count, wanted - bytes.count))
      guard count > 0 else { return nil }
      bytes += chunk[..<count]
    }
    return bytes
  }

  private static func send(_ connection: Int32, _ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}
