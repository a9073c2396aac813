import Foundation
import TestSupport
import Testing

@testable import tranche

/// A request, and the first line of its answer; nil where the server goes on waiting for its end.
private let requests: [(request: String, answer: String?)] = [
  ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"),
  ("GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK"),
  ("GET /metrics?a=b HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
  ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
  ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
  ("GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
  ("GET /../metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
  ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 Method Not Allowed"),
  ("get /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
  ("GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"),
  ("GET  /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
  ("GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 Bad Request"),
  ("\r\n\r\n", "HTTP/1.1 400 Bad Request"),
  ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "HTTP/1.1 400 Bad Request"),
  ("GET /metrics HTTP/1.1\r\n", nil),
  ("", nil),
  (
    "GET /metrics HTTP/1.1\r\nX: " + String(repeating: "x", count: 10_000) + "\r\n\r\n",
    "HTTP/1.1 431 Request Header Fields Too Large"
  ),
  (String(repeating: "x", count: 100_000), "HTTP/1.1 431 Request Header Fields Too Large"),
]

@Suite("The server of metrics")
struct MetricsServerTests {
  private let server: MetricsServer

  init() throws {
    server = try MetricsServer(MetricsAddress(host: "127.0.0.1", port: 0))
    server.makeText = { "figures\n" }
  }

  private func connect() throws -> LoopbackClient { try LoopbackClient(port: server.port) }

  /// As the scheduler's loop does it, until nothing more comes at once.
  private func serve(now: Int64 = 0) {
    for _ in 0..<20 { server.serve(now: now) }
  }

  @Test("answers each request once, and waits for the end of one", arguments: requests)
  func request(_ request: String, answer: String?) throws {
    let client = try connect()
    client.send(request)
    serve()
    let lines = client.receive()?.components(separatedBy: "\r\n")
    #expect(lines?.first == answer)
    guard let lines else { return }
    #expect(lines.contains("Connection: close"))
    let body = lines.last ?? ""
    #expect(
      lines.contains("Content-Length: \(request.hasPrefix("HEAD") ? 8 : body.utf8.count)"))
    if answer == "HTTP/1.1 200 OK" {
      #expect(lines.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"))
      #expect(body == (request.hasPrefix("HEAD") ? "" : "figures\n"))
    }
    if answer?.contains("405") == true { #expect(lines.contains("Allow: GET, HEAD")) }
    // Its end.
    #expect(client.receive() == "")
  }

  @Test("takes a request that comes byte by byte")
  func pieces() throws {
    let client = try connect()
    for character in "GET /metrics HTTP/1.1\r\nHost: x\r\n" {
      client.send(String(character))
      server.serve(now: 0)
      #expect(client.receive() == nil)
    }
    client.send("\r\n")
    serve()
    #expect(client.receive()?.hasSuffix("figures\n") == true)
  }

  @Test("ends a connection that never ends its request, and one that never reads its answer")
  func time() throws {
    let silent = try connect()
    let endless = try connect()
    server.makeText = { String(repeating: "x", count: 32 << 20) }
    let deaf = try connect()
    deaf.send("GET /metrics HTTP/1.1\r\n\r\n")
    serve(now: 1_000)
    let limit = 1_000 + MetricsServer.connectionMilliseconds
    #expect(server.wake == limit)
    for now in stride(from: Int64(2_000), to: limit, by: 500) {
      endless.send("X: y\r\n")
      serve(now: now)
    }
    #expect(silent.receive() == nil && endless.receive() == nil)
    #expect(server.wanted(now: 2_000).count == 4)
    serve(now: limit)
    #expect(silent.receive() == "" && endless.receive() == "")
    #expect(server.wanted(now: limit).count == 1 && server.wake == nil)
  }

  @Test("has a bounded number of connections, and ends the oldest for one more")
  func connections() throws {
    var idle: [LoopbackClient] = []
    for _ in 0..<MetricsServer.connectionLimit * 3 {
      idle.append(try connect())
      server.serve(now: 0)
    }
    #expect(server.wanted(now: 0).count == 1 + MetricsServer.connectionLimit)
    let client = try connect()
    client.send("GET /metrics HTTP/1.1\r\n\r\n")
    serve()
    #expect(client.receive()?.hasSuffix("figures\n") == true)
    #expect(idle.first?.receive() == "" && idle.last?.receive() == nil)
  }

  @Test("goes on when a client goes away at any point")
  func gone() throws {
    for text in ["", "GET /met", "GET /metrics HTTP/1.1\r\n\r\n"] {
      do {
        let client = try connect()
        client.send(text)
        server.serve(now: 0)
      }
      serve()
    }
    #expect(server.wanted(now: 0).count == 1)
  }

  @Test("makes its answer anew once a second at most")
  func cache() throws {
    final class Count { var value = 0 }
    let count = Count()
    server.makeText = {
      count.value += 1
      return "\(count.value)\n"
    }
    func body(now: Int64) throws -> String? {
      let client = try connect()
      client.send("GET /metrics HTTP/1.1\r\n\r\n")
      serve(now: now)
      return client.receive()?.components(separatedBy: "\r\n").last
    }
    #expect(try [0, 999, 1_000].map(body) == ["1\n", "1\n", "2\n"])
  }

  @Test(
    "listens at an address, or at a port of loopback",
    arguments: [
      ("127.0.0.1:9464", "127.0.0.1:9464"), ("9464", "127.0.0.1:9464"), ("[::1]:0", "[::1]:0"),
      ("localhost:65535", "localhost:65535"), ("::1:9464", nil), ("a:b", nil), (":9464", nil),
      ("127.0.0.1:", nil), ("127.0.0.1:65536", nil), ("-1", nil), ("", nil), ("[]:1", nil),
    ] as [(String, String?)])
  func address(_ argument: String, text: String?) {
    #expect(MetricsAddress(argument: argument)?.text == text)
  }

  @Test("says which address it cannot have, and why")
  func taken() throws {
    #expect {
      _ = try MetricsServer(MetricsAddress(host: "127.0.0.1", port: server.port))
    } throws: { error in
      let message = (error as? CommandError)?.message ?? ""
      return message.hasPrefix(
        "metrics cannot be served at 127.0.0.1:\(server.port): Address already in use. ")
    }
  }
}
