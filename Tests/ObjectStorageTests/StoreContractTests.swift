import Foundation
import Glibc
import TestSupport
import Testing
import Trials

@testable import ObjectStorage

/// One suite for every store: a folder, a strict S3 server and a second one, and the fakes that
/// other tests trust.
@Suite("A store")
struct StoreContractTests {
  enum Kind: String, CaseIterable, Sendable {
    case folder, strict, rclone, memory, simulation

    /// An ETag of a folder's object is what S3's is. A fake's is some function of the bytes.
    var hasRealETags: Bool { self != .memory && self != .simulation }
    /// The simulation's fake draws from its history's random numbers, on the history's thread.
    static let threadSafe: [Kind] = [.folder, .strict, .rclone, .memory]
  }

  private func store(_ kind: Kind, _ folder: TemporaryFolder) throws -> any ObjectStore {
    switch kind {
    case .folder: return FileStore(root: folder.path + "/objects")
    case .strict: return try s3(0)
    case .rclone: return try s3(1)
    case .memory: return MemoryPlaces().store(at: "contract")
    case .simulation: return try SimulationStore()
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
    if kind.hasRealETags { #expect(second.etag == etag(Array("two, longer".utf8))) }
    #expect(try store.put(Array("two, longer".utf8), at: ObjectKey("other")).etag == second.etag)
    try store.delete(ObjectKey("other"))
    _ = try store.put(group: [
      (ObjectKey("b/1"), [1]), (ObjectKey("b/2"), []), (ObjectKey("a"), [3]),
    ])
    #expect(try store.get(ObjectKey("b/2")) == [])
    #expect(try store.list(prefix: "").map(\.value) == ["a", "b/1", "b/2", key.value])
    #expect(try store.list(prefix: "b/").map(\.value) == ["b/1", "b/2"])
    try store.delete(key)
    #expect(try store.get(key) == nil)
  }

  @Test("takes what a file holds, whole", arguments: Kind.allCases)
  func file(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    let bytes = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    let path = folder.path + "/source"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    chmod(path, 0o640)
    let receipt = try store.put(file: path, at: ObjectKey("copies/one"))
    #expect(try store.get(ObjectKey("copies/one")) == bytes)
    #expect(try store.head(ObjectKey("copies/one"))?.etag == receipt.etag)
    if kind == .folder {
      var facts = stat()
      #expect(stat(folder.path + "/objects/copies/one", &facts) == 0)
      #expect(facts.st_mode & 0o777 == 0o640)
    }
    #expect(throws: ObjectStoreError.self) {
      try store.put(file: folder.path + "/none", at: ObjectKey("copies/two"))
    }
    #expect(try store.list(prefix: "copies/").map(\.value) == ["copies/one"])
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

  @Test(
    "keeps what it is given, from nothing to some megabytes, and tells its size",
    arguments: Kind.allCases)
  func sizes(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    for byteCount in [0, 1, 65_536, 3_000_001] {
      let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
      let key = ObjectKey("size=\(byteCount)/part-0.bin")
      let receipt = try store.put(bytes, at: key)
      #expect(try store.get(key) == bytes)
      #expect(try store.head(key) == ObjectFacts(byteCount: Int64(byteCount), etag: receipt.etag))
    }
  }

  @Test(
    "tells of a group as of single objects, in its order, and takes an empty one",
    arguments: Kind.allCases)
  func groups(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    #expect(try store.put(group: []).isEmpty)
    let group = (0..<70).map { (ObjectKey("n=\($0 % 7)/part-\($0).csv"), Array("\($0)".utf8)) }
    let receipts = try store.put(group: group)
    #expect(receipts.count == group.count)
    for ((key, bytes), receipt) in zip(group, receipts) {
      #expect(try store.get(key) == bytes)
      #expect(try store.head(key)?.etag == receipt.etag && !receipt.hadUnansweredAttempt)
    }
    // Once more, with other contents, over what stands.
    let again = group.map { ($0.0, $0.1 + [0x21]) }
    #expect(zip(try store.put(group: again), receipts).allSatisfy { $0.etag != $1.etag })
    #expect(try store.get(group[69].0) == Array("69!".utf8))
  }

  @Test(
    "lists by the bytes of the keys, and of a prefix that ends within a name",
    arguments: Kind.allCases)
  func lists(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    let names = ["_tranche/owner", "B", "a-b", "a/b", "a0", "aa", "ü", "z/1/2"]
    for name in names.reversed() { _ = try store.put([1], at: ObjectKey(name)) }
    let expected = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    #expect(try store.list(prefix: "").map(\.value) == expected)
    #expect(try store.list(prefix: "a").map(\.value) == ["a-b", "a/b", "a0", "aa"])
    #expect(try store.list(prefix: "z/1").map(\.value) == ["z/1/2"])
    #expect(try store.list(prefix: "none").isEmpty)
  }

  @Test(
    "shows a reader the old bytes or the new, never a mixture",
    arguments: Kind.threadSafe)
  func mixture(kind: Kind) throws {
    let folder = try TemporaryFolder()
    let store = try store(kind, folder)
    let key = ObjectKey("part-0.csv")
    let contents = [UInt8(1), 2].map { [UInt8](repeating: $0, count: 200_000 + Int($0) * 50_000) }
    _ = try store.put(contents[0], at: key)
    let failures = Failures()
    DispatchQueue.concurrentPerform(iterations: 2) { thread in
      for round in 0..<25 {
        do {
          if thread == 0 {
            _ = try store.put(contents[round % 2], at: key)
          } else if let found = try store.get(key), !contents.contains(found) {
            failures.add("\(found.count) bytes, of them \(found.count { $0 == 1 }) of the old")
          }
        } catch { failures.add("\(error)") }
      }
    }
    #expect(failures.all == [])
  }

  @Test("that refuses the credentials says so, and does not try again")
  func wrongCredentials() throws {
    let store = try s3(0, secret: "wrong-secret-hunter2")
    #expect { try store.put([1], at: ObjectKey("x")) } throws: { error in
      let error = error as? ObjectStoreError
      return error?.code == .answer(S3Answer(.wrongSecret, to: .put))
        && error?.description.contains("hunter2") == false
        && error?.hadUnansweredAttempt == false
    }
  }

  @Test("without the bucket says which bucket is missing")
  func noBucket() throws {
    let store = try s3(0, bucket: "no-such-bucket")
    #expect { try store.put([1], at: ObjectKey("x")) } throws: {
      ($0 as? ObjectStoreError)?.code == .answer(S3Answer(.noBucket, to: .put))
        && "\($0)".contains("s3://no-such-bucket")
    }
  }

  @Test("that is not there is unreachable after all attempts, with a growing wait between them")
  func unreachable() throws {
    let waits = Waits()
    let store = scriptedStore(
      "http://127.0.0.1:1", timeoutMilliseconds: 1_000, maxAttempts: 4, sleep: { waits.add($0) })
    #expect { try store.put([1], at: ObjectKey("x")) } throws: { error in
      let error = error as? ObjectStoreError
      return error?.code == .unreachable
        && error?.hadUnansweredAttempt == true
        && error?.description.contains("4 attempts") == true
        && error?.description.contains("hunter2") == false
    }
    #expect(waits.all == [100, 200, 400])
  }

  @Test("leaves no temporary file of a dead process in a folder, and shows none")
  func leftovers() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/objects", withIntermediateDirectories: true)
    // No process has this number: the kernel's largest is 4194304.
    try folder.write("half", to: "objects/.part-0.csv.99999999-abc-1.tmp")
    // In a container the dead process may have had our own number.
    try folder.write(
      "half", to: "objects/.part-0.csv.\(ProcessInfo.processInfo.processIdentifier)-abc-1.tmp")
    let store = FileStore(root: folder.path + "/objects")
    #expect(try store.list(prefix: "") == [])
    _ = try store.put([1], at: ObjectKey("part-0.csv"))
    #expect(Array(folder.files(below: "objects").keys) == ["part-0.csv"])
  }

  @Test("is the same folder however its path is spelt")
  func identity() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/objects", withIntermediateDirectories: true)
    #expect(
      FileStore(root: folder.path + "/objects").identity
        == FileStore(root: folder.path + "/./objects/../objects").identity)
    #expect(
      FileStore(root: folder.path + "/objects").identity != FileStore(root: folder.path).identity)
  }

  @Test(
    """
    is asked again after 500, 502, 503, 504 and throttling, and tells whether a request may \
    still be applied
    """,
    arguments: [
      (500, "", true), (502, "", true), (503, "", true),
      (503, "<Error><Code>SlowDown</Code></Error>", true), (504, "", true),
      (429, "", false),
      (400, "<Error><Code>RequestTimeout</Code></Error>", false),
    ])
  func asksAgain(status: Int, body: String, isUnsettled: Bool) throws {
    let server = ScriptedServer([.status(status, body: body), .status(status, body: body)])
    let receipt = try scriptedStore(server.endpoint, maxAttempts: 3).put([1], at: ObjectKey("x"))
    #expect(server.requests == Array(repeating: "PUT /test-bucket/x HTTP/1.1", count: 3))
    #expect(receipt.hadUnansweredAttempt == isUnsettled)
  }

  @Test("is not asked again after 403 or another refusal", arguments: [400, 401, 403, 404, 412])
  func asksOnce(status: Int) throws {
    let server = ScriptedServer([.status(status)])
    #expect(throws: ObjectStoreError.self) {
      try scriptedStore(server.endpoint, maxAttempts: 3).put([1], at: ObjectKey("x"))
    }
    #expect(server.requests.count == 1)
  }

  @Test(
    """
    that hangs up, breaks off its answer or says nothing is asked again, and the object is \
    unsettled
    """,
    arguments: [0, 1, 2])
  func noAnswer(kind: Int) throws {
    let server = ScriptedServer([[.hangUp], [.brokenBody], [.silence]][kind])
    let receipt = try scriptedStore(server.endpoint, timeoutMilliseconds: 300, maxAttempts: 3)
      .put([1], at: ObjectKey("x"))
    #expect(server.requests.count == 2)
    #expect(receipt.hadUnansweredAttempt)
  }

  private func s3(_ index: Int, secret: String? = nil, bucket: String? = nil) throws -> S3Store {
    let place = try TestStack().stores[index]
    return S3Store(
      S3Configuration(
        endpoint: place.endpoint, region: "us-east-1", bucket: bucket ?? place.bucket,
        prefix: uniqueName("contract"), addressing: .path,
        credentials: S3Credentials(
          accessKeyID: place.accessKey, secretAccessKey: secret ?? place.secretKey,
          sessionToken: nil),
        timeoutMilliseconds: 10_000, maxAttempts: 3, caFile: nil))
  }
}

private final class Failures: @unchecked Sendable {
  // @unchecked: guarded by the lock.
  private let lock = NSLock()
  private var failures: [String] = []
  func add(_ failure: String) { lock.withLock { failures.append(failure) } }
  var all: [String] { lock.withLock { failures } }
}

private final class Waits: @unchecked Sendable {
  // @unchecked: guarded by the lock.
  private let lock = NSLock()
  private var waits: [Int64] = []
  func add(_ milliseconds: Int64) { lock.withLock { waits.append(milliseconds) } }
  var all: [Int64] { lock.withLock { waits } }
}
