import ArgumentParser
import Engine
import Glibc

/// `127.0.0.1:9464`, `[::1]:9464`, or a port alone, of this machine's loopback.
struct MetricsAddress: Equatable {
  let host: String
  let port: UInt16

  var text: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}

extension MetricsAddress: ExpressibleByArgument {
  init?(argument: String) {
    let colon = argument.lastIndex(of: ":")
    var host = colon.map { argument[..<$0] } ?? "127.0.0.1"
    let digits = colon.map { argument[argument.index(after: $0)...] } ?? argument[...]
    if host.hasPrefix("[") && host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let port = UInt16(digits)
    else { return nil }
    self.init(host: String(host), port: port)
  }
}

/// Answers GET and HEAD of `/metrics` over HTTP/1.1, one request a connection, and is bounded in
/// every direction. It blocks nobody: its descriptors wait in the caller's `poll`.
final class MetricsServer {
  /// Of a request, up to the end of its header.
  static let requestByteLimit = 8_192
  /// Of a connection, from its first byte to its last.
  static let connectionMilliseconds: Int64 = 10_000
  /// One more connection ends the oldest.
  static let connectionLimit = 32
  /// An answer is made anew after this.
  static let textMilliseconds: Int64 = 1_000
  /// What a client may still send when it has its answer.
  private static let drainByteLimit = 65_536

  private struct Connection {
    let descriptor: Int32
    let deadline: Int64
    var request: [UInt8] = []
    var answer: ArraySlice<UInt8>?
    var drainedCount = 0
  }

  let port: UInt16
  private let listener: Int32
  /// Makes what `/metrics` shows.
  var makeText: () -> String = { "" }
  private var text: (made: Int64, bytes: [UInt8])?
  /// The oldest first.
  private var connections: [Connection] = []
  /// While this machine gives no more descriptors.
  private var pausedUntil: Int64 = 0

  /// - Throws: ``CommandError`` where nothing can listen there.
  init(_ address: MetricsAddress) throws(CommandError) {
    (listener, port) = try Self.listen(address)
  }

  deinit {
    for connection in connections { close(connection.descriptor) }
    close(listener)
  }

  private static func listen(
    _ address: MetricsAddress
  ) throws(CommandError) -> (Int32, UInt16) {
    func fault(_ reason: String) -> CommandError {
      CommandError(
        .inputOutput,
        """
        metrics cannot be served at \(address.text): \(reason). Name another address with \
        --metrics, or end the program that listens there.
        """)
    }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
    var found: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(address.host, "\(address.port)", &hints, &found)
    guard status == 0, let first = found?.pointee else {
      throw fault(String(cString: gai_strerror(status)))
    }
    defer { freeaddrinfo(found) }
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let descriptor = socket(first.ai_family, kind, 0)
    guard descriptor >= 0 else { throw fault(String(cString: strerror(errno))) }
    var one: Int32 = 1
    setsockopt(
      descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    guard bind(descriptor, first.ai_addr, first.ai_addrlen) == 0, Glibc.listen(descriptor, 64) == 0
    else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw fault(reason)
    }
    return (descriptor, boundPort(descriptor) ?? address.port)
  }

  /// Which the system chose where the address has port 0.
  private static func boundPort(_ descriptor: Int32) -> UInt16? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(descriptor, $0, &length)
      }
    }
    guard status == 0 else { return nil }
    // The port stands at the same place in sockaddr_in and sockaddr_in6.
    return withUnsafeBytes(of: storage) {
      UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self))
    }
  }

  // MARK: - The caller's loop

  /// What to wait for.
  func wanted(now: Int64) -> [pollfd] {
    let listening =
      now < pausedUntil ? [] : [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
    return listening
      + connections.map {
        let isAnswering = $0.answer.map { !$0.isEmpty } ?? false
        return pollfd(
          fd: $0.descriptor, events: Int16(isAnswering ? POLLOUT : POLLIN), revents: 0)
      }
  }

  /// When to call ``serve(now:)`` though nothing has come; in the caller's milliseconds.
  var wake: Int64? { connections.map(\.deadline).min() }

  /// Does what can be done without waiting.
  func serve(now: Int64) {
    accept(now)
    var open: [Connection] = []
    for var connection in connections {
      let isOpen = now < connection.deadline && goOn(&connection, now)
      if isOpen { open.append(connection) } else { close(connection.descriptor) }
    }
    connections = open
  }

  private func accept(_ now: Int64) {
    guard now >= pausedUntil else { return }
    // A flood gets no more than its turn.
    for _ in 0..<Self.connectionLimit {
      let descriptor = Glibc.accept(listener, nil, nil)
      if descriptor < 0 {
        if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(errno) { pausedUntil = now + 1_000 }
        return
      }
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      if connections.count >= Self.connectionLimit {
        close(connections.removeFirst().descriptor)
      }
      connections.append(
        Connection(descriptor: descriptor, deadline: now + Self.connectionMilliseconds))
    }
  }

  /// - Returns: False where the connection is done with.
  private func goOn(_ connection: inout Connection, _ now: Int64) -> Bool {
    if connection.answer == nil {
      guard read(&connection) else { return false }
      connection.answer = answer(to: connection.request, now)
    }
    guard let answer = connection.answer else { return true }
    if !answer.isEmpty {
      let count = answer.withUnsafeBytes {
        send(connection.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      connection.answer = answer.dropFirst(count)
      guard count == answer.count else { return true }
      shutdown(connection.descriptor, Int32(SHUT_WR))
    }
    // A close with unread bytes would reset the connection before the client has its answer.
    return drain(&connection)
  }

  /// - Returns: False where the client has gone.
  private func read(_ connection: inout Connection) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: Self.requestByteLimit, alignment: 1) { buffer in
      let room = Self.requestByteLimit - connection.request.count
      let count = Glibc.read(connection.descriptor, buffer.baseAddress, room)
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      connection.request += buffer.prefix(count)
      return count > 0
    }
  }

  private func drain(_ connection: inout Connection) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: 4_096, alignment: 1) { buffer in
      let count = Glibc.read(connection.descriptor, buffer.baseAddress, buffer.count)
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      connection.drainedCount += count
      return count > 0 && connection.drainedCount < Self.drainByteLimit
    }
  }

  // MARK: - Requests

  /// Nil where the request has not come whole.
  private func answer(to request: [UInt8], _ now: Int64) -> ArraySlice<UInt8>? {
    guard let end = request.firstRange(of: Array("\r\n\r\n".utf8)) else {
      return request.count < Self.requestByteLimit
        ? nil : Self.plain("431 Request Header Fields Too Large", "The request is too long.")
    }
    let line = request[..<end.lowerBound].prefix { $0 != UInt8(ascii: "\r") }
    let parts = line.split(
      separator: UInt8(ascii: " "), omittingEmptySubsequences: false
    ).map { String(decoding: $0, as: UTF8.self) }
    guard parts.count == 3, parts[2].hasPrefix("HTTP/1."), !parts[1].isEmpty else {
      return Self.plain("400 Bad Request", "This is not a request of HTTP/1.1.")
    }
    guard parts[1].prefix(while: { $0 != "?" }) == "/metrics" else {
      return Self.plain("404 Not Found", "The metrics are at /metrics.")
    }
    guard ["GET", "HEAD"].contains(parts[0]) else {
      return Self.plain(
        "405 Method Not Allowed", "Use GET.", more: "Allow: GET, HEAD\r\n")
    }
    let body = currentText(now)
    let head = Self.head("200 OK", "text/plain; version=0.0.4; charset=utf-8", body.count)
    return (head + (parts[0] == "HEAD" ? [] : body))[...]
  }

  private func currentText(_ now: Int64) -> [UInt8] {
    if let text, now - text.made < Self.textMilliseconds { return text.bytes }
    let bytes = Array(makeText().utf8)
    text = (now, bytes)
    return bytes
  }

  private static func plain(_ status: String, _ text: String, more: String = "") -> ArraySlice<
    UInt8
  > {
    let body = Array((text + "\n").utf8)
    return (head(status, "text/plain; charset=utf-8", body.count, more: more) + body)[...]
  }

  private static func head(
    _ status: String, _ type: String, _ byteCount: Int, more: String = ""
  ) -> [UInt8] {
    Array(
      """
      HTTP/1.1 \(status)\r
      Content-Type: \(type)\r
      Content-Length: \(byteCount)\r
      \(more)Connection: close\r
      \r

      """.utf8)
  }
}
