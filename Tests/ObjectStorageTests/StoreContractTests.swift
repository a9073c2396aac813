import Foundation
import TestSupport
import Testing

@testable import ObjectStorage

/// One suite for every store: a folder, a strict S3 server and a second one.
@Suite("A store")
struct StoreContractTests {
  enum Kind: String, CaseIterable, Sendable { case folder, strict, rclone }

  private func store(_ kind: Kind, _ folder: TemporaryFolder) throws -> any ObjectStore {
    switch kind {
    case .folder: return FileStore(root: folder.path + "/objects")
    case .strict: return try s3(0)
    case .rclone: return try s3(1)
    }
  }

  @Test("replaces objects whole, tells of them, lists and deletes them", arguments: Kind.allCases)
  func contract(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    let key = ObjectKey("window_start=2026-11-23T10-05-00Z/part-0.csv")
    #expect(try store.head(key) == nil)
    #expect(try store.get(key) == nil)
    try store.delete(key)
    let first = try store.put(Array("one".utf8), at: key)
    let second = try store.put(Array("two, longer".utf8), at: key)
    #expect(first.etag != second.etag && !second.hadUnansweredAttempt)
    #expect(try store.get(key) == Array("two, longer".utf8))
    #expect(try store.head(key) == ObjectFacts(byteCount: 11, etag: second.etag))
    #expect(second.etag == etag(Array("two, longer".utf8)))
    _ = try store.put(group: [(ObjectKey("b/1"), [1]), (ObjectKey("b/2"), []), (ObjectKey("a"), [3])])
    #expect(try store.get(ObjectKey("b/2")) == [])
    #expect(try store.list(prefix: "").map(\.value) == ["a", "b/1", "b/2", key.value])
    #expect(try store.list(prefix: "b/").map(\.value) == ["b/1", "b/2"])
    try store.delete(key)
    #expect(try store.get(key) == nil)
  }

  @Test("takes keys with odd characters", arguments: Kind.allCases)
  func oddKeys(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    for name in ["a b", "a+b", "a=b", "a:b", "a%b", "ü", "a&b", "a'b(c)", "a~b", "a;b,c"] {
      let key = ObjectKey("odd/\(name)")
      _ = try store.put(Array(name.utf8), at: key)
      #expect(try store.get(key) == Array(name.utf8), "\(name)")
    }
    #expect(try store.list(prefix: "odd/").count == 10)
  }

  @Test("that refuses the credentials says so, and does not try again")
  func wrongCredentials() throws {
    let store = try s3(0, secret: "wrong-secret-hunter2")
    #expect { try store.put([1], at: ObjectKey("x")) } throws: { error in
      let error = error as? ObjectStoreError
      return error?.code == .refused && error?.description.contains("hunter2") == false && error?.hadUnansweredAttempt == false
    }
  }

  @Test("without the bucket says which bucket is missing")
  func noBucket() throws {
    let store = try s3(0, bucket: "no-such-bucket")
    #expect { try store.put([1], at: ObjectKey("x")) } throws: {
      ($0 as? ObjectStoreError)?.code == .noSuchBucket && "\($0)".contains("s3://no-such-bucket")
    }
  }

  @Test("that is not there is unreachable after all attempts, with a growing wait between them")
  func unreachable() throws {
    let waits = Waits()
    let store = S3Store(
      S3Configuration(
        endpoint: "http://127.0.0.1:1", region: "us-east-1", bucket: "test-bucket", prefix: "", addressing: .path,
        credentials: S3Credentials(accessKeyID: "AKIA", secretAccessKey: "hunter2", sessionToken: nil), timeoutMilliseconds: 1_000,
        maxAttempts: 4, caFile: nil),
      sleep: { waits.add($0) }, random: { 1 })
    #expect { try store.put([1], at: ObjectKey("x")) } throws: { error in
      let error = error as? ObjectStoreError
      return error?.code == .unreachable && error?.isTransient == true && error?.hadUnansweredAttempt == true
        && error?.description.contains("4 attempts") == true && error?.description.contains("hunter2") == false
    }
    #expect(waits.all == [100, 200, 400])
  }

  @Test("leaves no temporary file of a dead process in a folder, and shows none")
  func leftovers() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.path + "/objects", withIntermediateDirectories: true)
    // No process has this number: the kernel's largest is 4194304.
    try folder.write("half", to: "objects/.part-0.csv.99999999-abc-1.tmp")
    // In a container the dead process may have had our own number.
    try folder.write("half", to: "objects/.part-0.csv.\(ProcessInfo.processInfo.processIdentifier)-abc-1.tmp")
    let store = FileStore(root: folder.path + "/objects")
    #expect(try store.list(prefix: "") == [])
    _ = try store.put([1], at: ObjectKey("part-0.csv"))
    #expect(Array(folder.files(below: "objects").keys) == ["part-0.csv"])
  }

  @Test("is the same folder however its path is spelt")
  func identity() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.path + "/objects", withIntermediateDirectories: true)
    #expect(FileStore(root: folder.path + "/objects").identity == FileStore(root: folder.path + "/./objects/../objects").identity)
    #expect(FileStore(root: folder.path + "/objects").identity != FileStore(root: folder.path).identity)
  }

  private func scripted(_ server: ScriptedServer, timeoutMilliseconds: Int64 = 5_000, maxAttempts: Int = 3) -> S3Store {
    S3Store(
      S3Configuration(
        endpoint: server.endpoint, region: "us-east-1", bucket: "test-bucket", prefix: "", addressing: .path,
        credentials: S3Credentials(accessKeyID: "AKIA", secretAccessKey: "hunter2", sessionToken: nil),
        timeoutMilliseconds: timeoutMilliseconds, maxAttempts: maxAttempts, caFile: nil),
      sleep: { _ in })
  }

  @Test(
    "is asked again after 500, 502, 503, 504 and throttling, and tells whether a request may still be applied",
    arguments: [
      (500, "", true), (502, "", true), (503, "", true), (503, "<Error><Code>SlowDown</Code></Error>", true), (504, "", true),
      (429, "", false),
      (400, "<Error><Code>RequestTimeout</Code></Error>", false),
    ])
  func asksAgain(status: Int, body: String, isUnsettled: Bool) throws {
    let server = ScriptedServer([.status(status, body: body), .status(status, body: body)])
    let receipt = try scripted(server).put([1], at: ObjectKey("x"))
    #expect(server.requests == Array(repeating: "PUT /test-bucket/x HTTP/1.1", count: 3))
    #expect(receipt.hadUnansweredAttempt == isUnsettled)
  }

  @Test("is not asked again after 403 or another refusal", arguments: [400, 401, 403, 404, 412])
  func asksOnce(status: Int) throws {
    let server = ScriptedServer([.status(status)])
    #expect(throws: ObjectStoreError.self) { try scripted(server).put([1], at: ObjectKey("x")) }
    #expect(server.requests.count == 1)
  }

  @Test("that hangs up, breaks off its answer or says nothing is asked again, and the object is unsettled", arguments: [0, 1, 2])
  func noAnswer(kind: Int) throws {
    let server = ScriptedServer([[.hangUp], [.brokenBody], [.silence]][kind])
    let receipt = try scripted(server, timeoutMilliseconds: 300).put([1], at: ObjectKey("x"))
    #expect(server.requests.count == 2)
    #expect(receipt.hadUnansweredAttempt)
  }

  private func s3(_ index: Int, secret: String? = nil, bucket: String? = nil) throws -> S3Store {
    let place = try TestStack().stores[index]
    return S3Store(
      S3Configuration(
        endpoint: place.endpoint, region: "us-east-1", bucket: bucket ?? place.bucket, prefix: uniqueName("contract"), addressing: .path,
        credentials: S3Credentials(accessKeyID: place.accessKey, secretAccessKey: secret ?? place.secretKey, sessionToken: nil),
        timeoutMilliseconds: 10_000, maxAttempts: 3, caFile: nil))
  }
}

private final class Waits: @unchecked Sendable {
  // @unchecked: guarded by the lock.
  private let lock = NSLock()
  private var waits: [Int64] = []
  func add(_ milliseconds: Int64) { lock.withLock { waits.append(milliseconds) } }
  var all: [Int64] { lock.withLock { waits } }
}
