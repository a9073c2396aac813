internal import Escaping
internal import Glibc

/// The name of an object below a store's root: segments joined by slashes.
package struct ObjectKey: Hashable, Sendable, CustomStringConvertible {
  package let value: String

  /// Most bytes of a key: S3's own limit.
  package static let byteLimit = 1_024

  /// - Precondition: As ``init(validating:)`` asks. For keys that are made here.
  package init(_ value: String) {
    guard let key = ObjectKey(validating: value) else {
      preconditionFailure("object key \(ForeignText.quoted(value))")
    }
    self = key
  }

  /// Nil unless the text is a key that stays below the store's root: up to 1,024 bytes, no empty,
  /// `.` or `..` segment, no slash at either end, no control character. For keys from outside, such
  /// as a checkpoint's or a listing's.
  package init?(validating value: String) {
    let segments = value.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let isValid =
      value.utf8.count <= Self.byteLimit
      && segments.allSatisfy {
        !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
      }
      && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    guard isValid else { return nil }
    self.value = value
  }

  package var description: String { ForeignText.escaped(value) }
}

/// What a store says of an object.
package struct ObjectFacts: Sendable, Equatable {
  package let byteCount: Int64
  /// Without quotes. S3's for S3; the MD5 of the content in hexadecimal for a folder, which is what
  /// S3's is for objects put in one piece.
  package let etag: String

  package init(byteCount: Int64, etag: String) {
    self.byteCount = byteCount
    self.etag = etag
  }

  /// Of an object with this content, in a folder, and in S3 where it encrypts with no key of the
  /// caller's.
  package init(of bytes: [UInt8]) {
    self.init(byteCount: Int64(bytes.count), etag: ObjectStorage.etag(bytes))
  }
}

/// A store's acknowledgement.
package struct PutReceipt: Sendable, Equatable {
  package let etag: String
  /// An attempt before the one that succeeded got no answer: it may be applied later and undo a
  /// newer one.
  package let hadUnansweredAttempt: Bool

  package init(etag: String, hadUnansweredAttempt: Bool) {
    self.etag = etag
    self.hadUnansweredAttempt = hadUnansweredAttempt
  }
}

/// Where results go: whole objects under keys, replaced atomically.
///
/// Every call may be repeated; each has a deadline or needs none. Used from several threads.
package protocol ObjectStore: Sendable {
  /// `s3://bucket/prefix` or `file:path`.
  var location: String { get }
  /// Two stores of one identity hold the same objects, however their places are spelt.
  var identity: String { get }

  /// Whether putting a group costs less than putting its objects one by one.
  var sharesSyncs: Bool { get }

  /// Keeps other processes of this machine from writing here as long as this store lives; does
  /// nothing where the store cannot.
  ///
  /// - Throws: ``ObjectStoreError`` with code `held` when another process holds the place.
  func holdPlace() throws(ObjectStoreError)
  /// Replaces an object whole: a reader sees the old bytes or the new, never a mixture. Durable
  /// when it returns.
  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt
  /// As ``put(_:at:)``, of what a file holds. In a folder the object gets the rights of the file.
  func put(file path: String, at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt
  /// Puts several objects. Where one fails, others may have been put.
  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt]
  /// Nil when there is no such object.
  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts?
  /// Nil when there is no such object; ``ObjectStoreError/Code/tooLarge(byteLimit:)`` when it is
  /// longer, which is found out by reading no more than that.
  func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]?
  /// An object that is not there is deleted already.
  func delete(_ key: ObjectKey) throws(ObjectStoreError)
  /// The keys that begin with a text, sorted by their bytes. What others have put there under a
  /// name that no ``ObjectKey`` has is left out.
  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey]
}

extension ObjectStore {
  /// For objects of the size that ours have unless a job says otherwise: a gibibyte.
  package func get(_ key: ObjectKey) throws(ObjectStoreError) -> [UInt8]? {
    try get(key, byteLimit: 1 << 30)
  }

  /// A store takes an object in one request, and so does memory.
  package func put(
    file path: String, at key: ObjectKey
  ) throws(ObjectStoreError) -> PutReceipt {
    var bytes: [UInt8] = []
    try readFile(path, byteLimit: oneObjectByteLimit) { bytes += $0 }
    return try put(bytes, at: key)
  }
}

/// What S3 takes in one piece.
package let oneObjectByteLimit = 5 << 30

/// Reads a file of this machine piece by piece.
func readFile(
  _ path: String, byteLimit: Int = .max,
  _ body: (ArraySlice<UInt8>) throws(ObjectStoreError) -> Void
) throws(ObjectStoreError) {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
  func fault(_ code: ObjectStoreError.Code, _ reason: String) -> ObjectStoreError {
    ObjectStoreError(code, place: path, reason: reason)
  }
  guard descriptor >= 0 else { throw fault(.inputOutput, String(cString: strerror(errno))) }
  defer { close(descriptor) }
  var total = 0
  var chunk = [UInt8](repeating: 0, count: 1 << 18)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw fault(.inputOutput, String(cString: strerror(errno))) }
    if count == 0 { return }
    total += count
    guard total <= byteLimit else {
      throw fault(.tooLarge(byteLimit: byteLimit), "is longer than \(byteLimit) bytes")
    }
    try body(chunk[..<count])
  }
}

/// Why a store did not do as asked. Never holds a credential or a signature.
package struct ObjectStoreError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    // Of S3.

    /// No answer.
    case unreachable
    /// The two sides do not trust each other, or do not agree on TLS. Nothing was sent.
    case tls
    /// An answer that is no success, after all attempts.
    case answer(S3Answer)
    case noCredentials
    /// A key or token that no header can hold. Nothing was sent.
    case badCredentials
    /// What the job asks for cannot be sent.
    case badRequest

    // Of a folder.

    /// The file system's "permission denied".
    case refused
    /// No space or quota left.
    case full
    case readOnly
    case inputOutput
    /// Another process of this machine writes there now.
    case held

    // Of both.

    /// An object is longer than was asked for.
    case tooLarge(byteLimit: Int)
  }
  package let code: Code
  /// Location and key.
  package let place: String
  package let reason: String
  /// Some attempt got no clear answer, so it may still be applied.
  package let hadUnansweredAttempt: Bool

  package init(_ code: Code, place: String, reason: String, hadUnansweredAttempt: Bool = false) {
    self.code = code
    // A key is at most 1,024 bytes long, a bucket 63.
    self.place = ForeignText.quoted(place, byteLimit: 1_200)
    self.reason = ForeignText.quoted(reason)
    self.hadUnansweredAttempt = hadUnansweredAttempt
  }

  /// What happened, and where. What to do about it is said in `Reports`.
  package var description: String { "\(place): \(reason)" }
}
