import TestSupport
import Testing

@testable import HTTP

@Suite("An HTTP client")
struct HTTPClientTests {
  private func send(
    to server: ScriptedServer, _ method: HTTPMethod = .get, path: String = "/",
    headers: [(name: String, value: String)] = [], body: [UInt8] = [], bodyByteLimit: Int = 1_000
  ) throws -> HTTPResult {
    let client = try #require(HTTPClient(timeoutMilliseconds: 10_000, caFile: nil))
    return client.send(
      HTTPRequest(
        method, url: server.endpoint + path, headers: headers, body: body,
        bodyByteLimit: bodyByteLimit))
  }

  private func failure(_ result: HTTPResult) -> HTTPFailure? {
    if case .noAnswer(let failure) = result { failure } else { nil }
  }

  @Test("sends each method and reads status, header and body", arguments: ["GET", "PUT", "DELETE"])
  func exchange(method: String) throws {
    let server = ScriptedServer([.status(201, body: "hello")])
    let result = try send(
      to: server, try #require(HTTPMethod(rawValue: method)), path: "/a%20b", body: [1, 2])
    guard case .answer(201, let headers, let body, isWhole: true) = result else {
      Issue.record("\(result)")
      return
    }
    #expect(headers["etag"] == "\"scripted\"" && body == Array("hello".utf8))
    #expect(server.requests == ["\(method) /a%20b HTTP/1.1"])
  }

  @Test("keeps of a body what it may, and says that there was more")
  func bodyLimit() throws {
    let server = ScriptedServer([.status(200, body: "12345"), .status(200, body: "12345")])
    for (limit, isWhole) in [(5, true), (4, false)] {
      guard
        case .answer(200, _, let body, let found) = try send(to: server, bodyByteLimit: limit)
      else {
        Issue.record("no answer")
        return
      }
      #expect(body.count == limit && found == isWhole)
    }
    #expect(server.requests.count == 2)
  }

  @Test(
    "sends nothing that would be another header, or that is longer than it may be",
    arguments: ["a\r\nX-Extra: 1", "a\nb", "a\u{0}", String(repeating: "a", count: 64 << 10)])
  func refusal(value: String) throws {
    let server = ScriptedServer([])
    for result in [
      try send(to: server, headers: [("x-a", value)]),
      try send(to: server, headers: [(value, "b")]),
      try send(to: server, path: "/\(value)"),
    ] {
      let failure = failure(result)
      #expect(failure?.kind == .request && failure?.words.hasPrefix("not sent: ") == true)
    }
    #expect(server.requests.isEmpty)
  }

  @Test(
    "takes what is no address for a fault of the request, which another attempt does not mend",
    arguments: [
      "http://minio:99999/", "https://:9000/", "http://a:1:2/", "http://[::1/", "ftp://127.0.0.1/",
      "minio+tls://x/",
    ])
  func address(url: String) throws {
    let client = try #require(HTTPClient(timeoutMilliseconds: 10_000, caFile: nil))
    #expect(failure(client.send(HTTPRequest(.put, url: url)))?.kind == .request)
  }

  @Test("serves several threads, one request after the other")
  func threads() async throws {
    let server = ScriptedServer([])
    let client = try #require(HTTPClient(timeoutMilliseconds: 10_000, caFile: nil))
    let url = server.endpoint
    await withTaskGroup(of: Bool.self) { group in
      for index in 0..<16 {
        group.addTask {
          if case .answer(200, _, _, _) = client.send(HTTPRequest(.get, url: "\(url)/\(index)")) {
            true
          } else {
            false
          }
        }
      }
      for await isAnswered in group { #expect(isAnswered) }
    }
    #expect(Set(server.requests) == Set((0..<16).map { "GET /\($0) HTTP/1.1" }))
  }
}
