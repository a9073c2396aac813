import Foundation
import TestSupport
import Testing

@testable import ObjectStorage

/// What a store must not do to us: fill the memory, keep us for ever, speak to our terminal, or put
/// lines into our requests.
@Suite("A store that answers without end or with foreign words")
struct AnswerBoundTests {
  private let key = ObjectKey("x")
  private let piece = String(repeating: "x", count: 1 << 20)

  @Test("is left after 64 KiB of an error, whose words are told", arguments: [400, 403, 404, 301])
  func endlessError(status: Int) throws {
    let head =
      "HTTP/1.1 \(status) No\r\nConnection: "
      + "close\r\n\r\n<Error><Code>Some</Code><Message>\u{1B}[31mhello\r\nworld</Message></Error>"
    let server = ScriptedServer(Array(repeating: .endless(head: head, piece: piece), count: 2))
    let error = failure { _ = try scriptedStore(server.endpoint).put([1], at: key) }
    #expect(
      error?.description.contains("answered \(status) Some: \\u{1B}[31mhello\\r\\nworld") == true,
      "\(error.debugDescription)")
    if status != 404 {
      #expect(
        failure { _ = try scriptedStore(server.endpoint).get(key) }?.code
          == .answer(S3Answer([403: .forbidden, 301: .otherRegion][status] ?? .other, to: .get)))
    }
  }

  @Test(
    "is left where a success goes on for ever; the request may have been applied",
    arguments: ["PUT", "DELETE"])
  func endlessSuccess(method: String) throws {
    let head = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nConnection: close\r\n\r\n"
    let server = ScriptedServer([.endless(head: head, piece: piece)])
    let error = failure {
      if method == "PUT" {
        _ = try scriptedStore(server.endpoint).put([1], at: key)
      } else {
        try scriptedStore(server.endpoint).delete(key)
      }
    }
    #expect(error?.code == .unreachable && error?.hadUnansweredAttempt == true)
    #expect(
      error?.description.contains("the answer is longer than 65536 bytes") == true,
      "\(error.debugDescription)")
  }

  @Test(
    "gives no more of an object than was asked for, whether it says how long it is or not",
    arguments: [true, false])
  func get(saysLength: Bool) throws {
    let length = saysLength ? "Content-Length: 9000000000000000000\r\n" : ""
    let head = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\n\(length)Connection: close\r\n\r\n"
    let server = ScriptedServer([
      .endless(head: head, piece: piece), .status(200, body: "12345"), .status(200, body: "12345"),
    ])
    #expect(
      failure { _ = try scriptedStore(server.endpoint).get(key, byteLimit: 3_000_000) }?.code
        == .tooLarge(byteLimit: 3_000_000))
    #expect(try scriptedStore(server.endpoint).get(key, byteLimit: 5) == Array("12345".utf8))
    #expect(
      failure { _ = try scriptedStore(server.endpoint).get(key, byteLimit: 4) }?.code
        == .tooLarge(byteLimit: 4))
  }

  @Test(
    "is left where its header has no end",
    arguments: [
      "X-A: \(String(repeating: "a", count: 1_000))\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
      String(repeating: "a", count: 1_000),
    ])
  func header(piece: String) {
    let server = ScriptedServer([
      .endless(head: piece.hasPrefix("HTTP") ? "" : "HTTP/1.1 200 OK\r\n", piece: piece)
    ])
    let error = failure { _ = try scriptedStore(server.endpoint).get(key) }
    #expect(error?.code == .unreachable, "\(error.debugDescription)")
  }

  @Test("is left where its answer comes too slowly to end within the time-out")
  func slow() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    let server = ScriptedServer([.endless(head: head, piece: "x", pauseMilliseconds: 20)])
    let started = ContinuousClock.now
    #expect(
      failure { _ = try scriptedStore(server.endpoint, timeoutMilliseconds: 500).get(key) }?.code
        == .unreachable)
    #expect(ContinuousClock.now - started < .seconds(5))
  }

  @Test("that lists keys of no kind, the same page again or empty pages is no trap")
  func listing() throws {
    func page(_ keys: [String], next: String? = nil) -> ScriptedServer.Reply {
      .status(
        200,
        body:
          "<ListBucketResult>\(keys.map { "<Key>\($0)</Key>" }.joined())"
          + "\(next.map { "<NextContinuationToken>\($0)</NextContinuationToken>" } ?? "")"
          + "</ListBucketResult>"
      )
    }
    let odd = ScriptedServer([
      page([
        "../up", "a//b", "/x", "dir/", "", "ok", "a\u{1}", String(repeating: "k", count: 1_025),
      ])
    ])
    #expect(try scriptedStore(odd.endpoint).list(prefix: "").map(\.value) == ["ok"])
    let same = ScriptedServer(Array(repeating: page(["a"], next: "t"), count: 10))
    #expect(
      failure { _ = try scriptedStore(same.endpoint).list(prefix: "") }?.description.contains(
        "has no end") == true)
    let empty = ScriptedServer((0..<10).map { page([], next: "t\($0)") })
    #expect(
      failure { _ = try scriptedStore(empty.endpoint).list(prefix: "") }?.description.contains(
        "has no end") == true)
  }

  @Test(
    "that answers a listing with something else, or with a part of one, holds no empty place",
    arguments: [
      ("", "200 without a listing"), ("<html>please log in</html>", "200 without a listing"),
      ("<ListBucketResult><Name>b</Name>", "200 without a listing"),
      ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "breaks off"),
    ])
  func noListing(body: String, reason: String) {
    let server = ScriptedServer([], then: .status(200, body: body))
    let error = failure { _ = try scriptedStore(server.endpoint).list(prefix: "") }
    #expect(error?.description.contains(reason) == true, "\(body): \(String(describing: error))")
    guard case .answer(let answer)? = error?.code else { return _ = Issue.record("\(body)") }
    #expect(answer.meaning == .foreign)
  }

  @Test(
    "never gets a header of another's making",
    arguments: ["key\r\nX-Extra: 1", "key\nX: 1", "a b", "", "k\u{0}", "ké"])
  func injected(accessKeyID: String) {
    let server = ScriptedServer([])
    let error = failure {
      _ = try scriptedStore(server.endpoint, accessKeyID: accessKeyID).put([1], at: key)
    }
    #expect(error?.code == .badCredentials && server.requests.isEmpty, "\(error.debugDescription)")
    #expect(
      failure {
        _ = try scriptedStore(server.endpoint, region: "eu\r\nX-Extra: 1").put([1], at: key)
      }?.code
        == .badRequest)
    #expect(server.requests.isEmpty)
  }

  @Test("gets credentials without the line end or space around them")
  func trimmed() throws {
    let server = ScriptedServer([])
    _ = try scriptedStore(server.endpoint, accessKeyID: " AKIA\r\n").put([1], at: key)
    #expect(server.requests.count == 1)
  }

  @Test("as a folder gives no more than was asked for, and waits for no FIFO")
  func folder() throws {
    let folder = try TemporaryFolder()
    let store = FileStore(root: folder.path)
    _ = try store.put(Array("12345".utf8), at: key)
    #expect(try store.get(key, byteLimit: 5)?.count == 5)
    #expect(failure { _ = try store.get(key, byteLimit: 4) }?.code == .tooLarge(byteLimit: 4))
    #expect(mkfifo(folder.path + "/fifo", 0o600) == 0)
    for odd in ["fifo"].map(ObjectKey.init) {
      #expect(
        failure { _ = try store.get(odd, byteLimit: 4) }?.description
          .contains("is not a plain file") == true)
      #expect(failure { _ = try store.head(odd) } != nil)
    }
    try FileManager.default.createDirectory(
      atPath: folder.path + "/dir", withIntermediateDirectories: true)
    #expect(failure { _ = try store.get(ObjectKey("dir")) } != nil)
  }

  @Test(
    "is given keys that stay below its root only",
    arguments: [
      "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "../a", "a/.", "a\u{0}", "a\nb", "a\u{7F}",
      String(repeating: "é", count: 513),
    ])
  func keys(text: String) { #expect(ObjectKey(validating: text) == nil) }

  @Test(
    "takes every other key",
    arguments: [
      "a", "a/b", "...", "a b", "é", ".hidden/x", "window_start=2026-11-23T10-05-00Z/part-0.csv",
    ])
  func goodKeys(text: String) { #expect(ObjectKey(validating: text)?.value == text) }
}
