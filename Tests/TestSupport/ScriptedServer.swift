import Foundation
import Glibc

/// An HTTP server on loopback that answers as it is told, one connection a request: for what a real
/// store will not do on demand.
package final class ScriptedServer: @unchecked Sendable {
  // @unchecked: what changes is guarded by the lock.
  package enum Reply: Sendable {
    /// - Parameter headers: Beside the length of the body.
    case status(Int, body: String = "", headers: [String] = ["ETag: \"scripted\""])
    /// The request is read whole and the connection closed without an answer.
    case hangUp
    /// The answer promises more bytes than come before the connection closes.
    case brokenBody
    /// Nothing comes until the client gives up.
    case silence
    /// Begins as given, then the same piece again and again until the client closes, with a pause
    /// before each.
    case endless(head: String, piece: String, pauseMilliseconds: UInt32 = 0)
  }

  private let listener = LoopbackListener(backlog: 16)
  private let lock = NSLock()
  private var script: [Reply]
  private let last: Reply
  private var received: [String] = []

  /// - Parameters:
  ///   - script: One reply a request, in order.
  ///   - last: What every request after these gets.
  package init(_ script: [Reply], then last: Reply = .status(200)) {
    self.script = script
    self.last = last
    listener.accept { [weak self] in self?.serve($0) }
  }

  package var port: UInt16 { listener.port }
  package var endpoint: String { "http://127.0.0.1:\(port)" }
  /// The first line of every request: `PUT /bucket/key HTTP/1.1`.
  package var requests: [String] {
    heads.map { String($0.prefix { !$0.isNewline }) }
  }
  /// The first line and all header lines of every request.
  package var heads: [String] { lock.withLock { received } }

  private func serve(_ connection: Int32) {
    defer { close(connection) }
    guard let request = read(connection) else { return }
    let reply = lock.withLock { () -> Reply in
      received.append(request)
      return script.isEmpty ? last : script.removeFirst()
    }
    switch reply {
    case .status(let status, let body, let headers):
      let lines = ["HTTP/1.1 \(status) Scripted", "Content-Length: \(body.utf8.count)"] + headers
      send(
        connection, lines.joined(separator: "\r\n") + "\r\nConnection: close\r\n\r\n\(body)")
    case .hangUp: break
    case .endless(let head, let piece, let pauseMilliseconds):
      send(connection, head)
      while send(connection, piece) { usleep(pauseMilliseconds * 1_000) }
    case .brokenBody:
      send(
        connection, "HTTP/1.1 200 Scripted\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nhalf"
      )
    case .silence:
      var byte: UInt8 = 0
      _ = Glibc.read(connection, &byte, 1)
    }
  }

  /// Reads one request with its body and returns its header.
  private func read(_ connection: Int32) -> String? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
        let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
        let lines = head.split(separator: "\r\n")
        let length =
          lines.first { $0.lowercased().hasPrefix("content-length:") }
          .flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) } ?? 0
        if bytes.count - end.upperBound >= length { return head }
      }
      let count = Glibc.read(connection, &chunk, chunk.count)
      guard count > 0 else { return nil }
      bytes += chunk[..<count]
    }
  }

  /// False when nobody is there any more.
  @discardableResult
  private func send(_ connection: Int32, _ text: String) -> Bool {
    var text = text
    return text.withUTF8 {
      Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) > 0
    }
  }
}
