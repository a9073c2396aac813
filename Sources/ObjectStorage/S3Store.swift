internal import Crypto
internal import Escaping
internal import Foundation
internal import Glibc
internal import HTTP
internal import Synchronization

/// Where a bucket is and how it is asked.
package struct S3Configuration: Sendable {
  package enum AddressingStyle: Sendable { case path, virtual }
  package let endpoint: String?
  package let region: String
  package let bucket: String
  /// Without a slash at either end; may be empty.
  package let prefix: String
  package let addressing: AddressingStyle
  package let credentials: S3Credentials
  /// For one attempt.
  package let timeoutMilliseconds: Int64
  /// At least 1.
  package let maxAttempts: Int
  package let caFile: String?

  package init(
    endpoint: String?, region: String, bucket: String, prefix: String, addressing: AddressingStyle,
    credentials: S3Credentials,
    timeoutMilliseconds: Int64, maxAttempts: Int, caFile: String?
  ) {
    self.endpoint = endpoint
    self.region = region
    self.bucket = bucket
    self.prefix = prefix
    self.addressing = addressing
    self.credentials = credentials
    self.timeoutMilliseconds = timeoutMilliseconds
    self.maxAttempts = maxAttempts
    self.caFile = caFile
  }
}

/// Objects in an S3 bucket, signed by ``SigV4`` and carried by libcurl.
///
/// An attempt that gets no answer, or one that may be another in a moment (``S3Answer``), is made
/// again, after an exponentially growing wait with full jitter; anything else is final at once.
/// - SeeAlso: Amazon S3 API Reference, "Error responses"; AWS Architecture Blog, "Exponential
///   Backoff And Jitter".
package final class S3Store: ObjectStore {
  private let configuration: S3Configuration
  private let signer: SigV4
  private let client: HTTPClient?
  private let scheme: String
  private let host: String
  /// The encoded path before the key.
  private let basePath: String
  private let now: @Sendable () -> Int64
  private let sleep: @Sendable (_ milliseconds: Int64) -> Void
  private let random: @Sendable () -> Double
  private let step: @Sendable () -> Void
  /// Whether the bucket has asked for a checksum: then all objects of this run get one.
  private let sendsChecksum = Atomic(false)

  /// - Parameters:
  ///   - now: Seconds since 1970 UTC, for signatures.
  ///   - random: From 0 up to 1, for the jitter.
  ///   - step: Called when an object was put, for tests that end the process there.
  package init(
    _ configuration: S3Configuration, now: @escaping @Sendable () -> Int64 = { Int64(time(nil)) },
    sleep: @escaping @Sendable (_ milliseconds: Int64) -> Void = {
      usleep(UInt32(clamping: $0 * 1_000))
    },
    random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) },
    step: @escaping @Sendable () -> Void = {}
  ) {
    self.configuration = configuration
    self.now = now
    self.sleep = sleep
    self.random = random
    self.step = step
    signer = SigV4(credentials: configuration.credentials, region: configuration.region)
    client = HTTPClient(
      timeoutMilliseconds: configuration.timeoutMilliseconds, caFile: configuration.caFile)
    let endpoint = configuration.endpoint ?? "https://s3.\(configuration.region).amazonaws.com"
    scheme = endpoint.hasPrefix("http://") ? "http" : "https"
    let rest = endpoint.split(separator: "/", omittingEmptySubsequences: true)
    let authority = Self.withoutDefaultPort(
      rest.count > 1 ? String(rest[1]) : endpoint, scheme: scheme)
    switch configuration.addressing {
    case .path:
      host = authority
      basePath = "/" + SigV4.percentEncoded(configuration.bucket, keepingSlashes: false)
    case .virtual:
      host = "\(configuration.bucket).\(authority)"
      basePath = ""
    }
  }

  /// libcurl sends no port that the scheme implies, so none may be signed.
  private static func withoutDefaultPort(_ authority: String, scheme: String) -> String {
    let port = scheme == "http" ? ":80" : ":443"
    return authority.hasSuffix(port) ? String(authority.dropLast(port.count)) : authority
  }

  package var location: String {
    "s3://\(configuration.bucket)"
      + (configuration.prefix.isEmpty ? "" : "/\(configuration.prefix)")
  }

  package let sharesSyncs = false

  package func holdPlace() {}

  package var identity: String { "\(scheme)://\(host)\(basePath) \(configuration.prefix)" }

  private func fullKey(_ key: String) -> String {
    configuration.prefix.isEmpty ? key : "\(configuration.prefix)/\(key)"
  }

  private func path(_ key: ObjectKey) -> String {
    "\(basePath)/\(SigV4.percentEncoded(fullKey(key.value), keepingSlashes: true))"
  }

  package func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    let hadChecksum = sendsChecksum.load(ordering: .relaxed)
    var answer = try attemptPut(bytes, at: key, withChecksum: hadChecksum)
    if answer.meaning == .noChecksum, !hadChecksum {
      sendsChecksum.store(true, ordering: .relaxed)
      answer = try attemptPut(
        bytes, at: key, withChecksum: true, hadUnansweredAttempt: answer.hadUnansweredAttempt)
    }
    // Without an ETag it is a proxy's success, or a login page.
    guard answer.isSuccess, !answer.etag.isEmpty else { throw failure(answer, to: .put, key) }
    step()
    return PutReceipt(etag: answer.etag, hadUnansweredAttempt: answer.hadUnansweredAttempt)
  }

  private func attemptPut(
    _ bytes: [UInt8], at key: ObjectKey, withChecksum: Bool, hadUnansweredAttempt: Bool = false
  ) throws(ObjectStoreError) -> Answer {
    var headers = [(name: "content-type", value: Self.contentType(of: key))]
    if withChecksum {
      let checksum = Data(Insecure.MD5.hash(data: bytes)).base64EncodedString()
      headers.append((name: "content-md5", value: checksum))
    }
    return try send(
      SigV4.Request(
        method: .put, host: host, path: path(key), headers: headers, payload: bytes),
      place: place(key), hadUnansweredAttempt: hadUnansweredAttempt)
  }

  private func place(_ key: ObjectKey) -> String { "\(location)/\(key)" }

  private static func contentType(of key: ObjectKey) -> String {
    switch key.value.split(separator: ".").last {
    case "parquet": "application/vnd.apache.parquet"
    case "csv": "text/csv"
    case "json": "application/x-ndjson"
    default: "application/octet-stream"
    }
  }

  package func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    var receipts: [PutReceipt] = []
    for (key, bytes) in group { receipts.append(try put(bytes, at: key)) }
    return receipts
  }

  package func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    let answer = try send(
      SigV4.Request(method: .head, host: host, path: path(key)), place: place(key))
    if answer.status == 404 { return nil }
    // An expired token and a wrong region are the same 400, a wrong secret and a missing right the
    // same 403, which has no text here: a GET's has. An object that is there is not read.
    if answer.status == 400 || answer.status == 403 {
      do { _ = try get(key, byteLimit: 0) } catch {
        switch error.code {
        case .tooLarge: break
        case .answer(let other) where answer.status == 403 && other.meaning == .forbidden: break
        default: throw error
        }
      }
    }
    guard answer.isSuccess, !answer.etag.isEmpty else { throw failure(answer, to: .head, key) }
    return ObjectFacts(
      byteCount: answer.headers["content-length"].flatMap { Int64($0) } ?? 0, etag: answer.etag)
  }

  package func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    let answer = try send(
      SigV4.Request(method: .get, host: host, path: path(key)), place: place(key),
      bodyByteLimit: byteLimit)
    if isMissingObject(answer) { return nil }
    guard answer.isSuccess, !answer.etag.isEmpty else { throw failure(answer, to: .get, key) }
    guard answer.isWhole else {
      throw ObjectStoreError(
        .tooLarge(byteLimit: byteLimit), place: place(key),
        reason: "is longer than \(byteLimit) bytes")
    }
    return answer.body
  }

  package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
    let answer = try send(
      SigV4.Request(method: .delete, host: host, path: path(key)), place: place(key))
    guard answer.isSuccess || isMissingObject(answer) else {
      throw failure(answer, to: .delete, key)
    }
  }

  private func isMissingObject(_ answer: Answer) -> Bool {
    answer.status == 404 && answer.code != "NoSuchBucket"
  }

  package func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    var keys: [String] = []
    var token: String?
    let base = configuration.prefix.isEmpty ? "" : configuration.prefix + "/"
    repeat {
      var query = [(name: "list-type", value: "2"), (name: "prefix", value: base + prefix)]
      if let token { query.append((name: "continuation-token", value: token)) }
      let answer = try send(
        SigV4.Request(
          method: .get, host: host, path: basePath.isEmpty ? "/" : basePath, query: query),
        place: location,
        bodyByteLimit: Self.listingByteLimit)
      guard answer.isSuccess else { throw failure(answer, to: .list) }
      func foreign(_ reason: String) -> ObjectStoreError {
        ObjectStoreError(.answer(S3Answer(.foreign, to: .list)), place: location, reason: reason)
      }
      let text = answer.text
      // A login page holds no keys either.
      guard text.contains("<ListBucketResult"),
        !answer.isWhole || text.contains("</ListBucketResult>")
      else { throw foreign("the store answered \(answer.status) without a listing") }
      let page = XMLText.all("Key", in: text)
      keys += page.map { String($0.dropFirst(base.count)) }
      let next = XMLText.first("NextContinuationToken", in: text)
      // A server that answers the same page for ever, or pages of nothing.
      guard answer.isWhole, next == nil || (next != token && !page.isEmpty),
        keys.count <= Self.listedKeyLimit
      else { throw foreign("the listing has no end") }
      if next == nil && XMLText.first("IsTruncated", in: text) == "true" {
        throw foreign("the listing breaks off")
      }
      token = next
    } while token != nil
    return keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.compactMap(
      ObjectKey.init(validating:))
  }

  private static let listedKeyLimit = 1_000_000
  /// Of one page: 1,000 keys of 1,024 bytes, every byte escaped.
  private static let listingByteLimit = 8 << 20

  // MARK: - Attempts

  private struct Answer {
    let status: Int
    let headers: [String: String]
    let body: [UInt8]
    let isWhole: Bool
    var hadUnansweredAttempt = false

    /// Servers' are some forty bytes long; of a longer one the beginning does.
    var etag: String {
      String(
        (headers["etag"] ?? "").unicodeScalars.filter { $0 != "\"" }.prefix(256).map(Character.init)
      )
    }
    var text: String { String(decoding: body, as: UTF8.self) }
    /// S3's word for what is wrong.
    var code: String? { XMLText.first("Code", in: text) }
    /// Nil for a success.
    var meaning: S3Answer.Meaning? {
      if isSuccess { return nil }
      return S3Answer.meaning(
        ofStatus: status, code: code, message: XMLText.first("Message", in: text) ?? "")
    }
    var isSuccess: Bool { (200...299).contains(status) }
    /// A server's fault does not say what became of the request, nor does a gateway's; that it
    /// cannot do something, or has no room, does.
    var mayBeApplied: Bool { (500...599).contains(status) && status != 501 && status != 507 }
  }

  /// Loads libcurl, so that it is missed before anything else is done.
  package static func loadLibrary() throws(ObjectStoreError) {
    if HTTPClient.obstacle != nil { throw withoutLibrary(place: "S3") }
  }

  private static func withoutLibrary(place: String) -> ObjectStoreError {
    let reason =
      "libcurl cannot be used: \(HTTPClient.obstacle ?? "it gives no handle"). On Debian it is "
      + "the package libcurl4"
    return ObjectStoreError(.inputOutput, place: place, reason: reason)
  }

  /// - Parameters:
  ///   - bodyByteLimit: Of a body that the caller reads; an answer whose body is longer is not
  ///     whole then. Else such an answer is none.
  ///   - hadUnansweredAttempt: Of a request for the same, before this one.
  private func send(
    _ request: SigV4.Request, place: String, bodyByteLimit: Int? = nil,
    hadUnansweredAttempt: Bool = false
  ) throws(ObjectStoreError) -> Answer {
    guard let client else { throw Self.withoutLibrary(place: place) }
    try configuration.credentials.checkCharacters(place: place)
    var hadUnansweredAttempt = hadUnansweredAttempt
    var attempt = 1
    while true {
      let headers = signer.sign(request, at: now())
      let query = SigV4.encoded(request.query)
      let url = "\(scheme)://\(request.host)\(request.path)\(query.isEmpty ? "" : "?\(query)")"
      var result = client.send(
        HTTPRequest(
          request.method, url: url, headers: headers, body: request.payload,
          bodyByteLimit: bodyByteLimit ?? HTTPLimits.errorByteCount))
      if case .answer(200...299, _, _, isWhole: false) = result, bodyByteLimit == nil {
        result = .noAnswer(
          HTTPFailure(
            .connection, "the answer is longer than \(HTTPLimits.errorByteCount) bytes"))
      }
      switch result {
      case .answer(let status, let headers, let body, let isWhole):
        var answer = Answer(status: status, headers: headers, body: body, isWhole: isWhole)
        hadUnansweredAttempt = hadUnansweredAttempt || answer.mayBeApplied
        let isTransient = answer.meaning?.isTransient == true
        if !isTransient || attempt >= configuration.maxAttempts {
          answer.hadUnansweredAttempt = hadUnansweredAttempt
          return answer
        }
      case .noAnswer(let failure):
        let server = "\(place) at \(scheme)://\(host)"
        let lastingCode: ObjectStoreError.Code? =
          switch failure.kind {
          case .connection: nil
          case .tls: .tls
          case .request: .badRequest
          }
        if let lastingCode {
          throw ObjectStoreError(
            lastingCode, place: server, reason: failure.words,
            hadUnansweredAttempt: hadUnansweredAttempt)
        }
        hadUnansweredAttempt = true
        if attempt >= configuration.maxAttempts {
          throw ObjectStoreError(
            .unreachable, place: server,
            reason: "no answer in \(attempt) attempts: \(failure.words)",
            hadUnansweredAttempt: true)
        }
      }
      // Full jitter over 100 ms, 200 ms, 400 ms ... and 20 s at most.
      let ceiling = min(20_000, 100 << min(attempt - 1, 10))
      sleep(Int64(random() * Double(ceiling)))
      attempt += 1
    }
  }

  private func failure(
    _ answer: Answer, to request: S3Answer.Request, _ key: ObjectKey? = nil
  ) -> ObjectStoreError {
    let code = answer.code.map { told($0, byteLimit: 60) }
    // Without the full stop: our own sentence follows it.
    let message = XMLText.first("Message", in: answer.text).map {
      told($0.hasSuffix(".") ? String($0.dropLast()) : $0, byteLimit: 150)
    }
    let text =
      (code.map { " \($0)" } ?? "") + (message.map { $0.isEmpty ? "" : ": \($0)" } ?? "")
    var reason = "the store answered \(answer.status)\(text)"
    if request == .head { reason += " to a HEAD, whose answer gives no reason" }
    if answer.isSuccess { reason += " without an ETag, which acknowledges nothing" }
    let region = namedRegion(answer)
    if let region { reason += "; the bucket is in region \(region)" }
    if let other = answer.headers["location"] ?? XMLText.first("Endpoint", in: answer.text) {
      reason += "; it names \(told(other, byteLimit: 150))"
    }
    return ObjectStoreError(
      .answer(S3Answer(answer.meaning ?? .foreign, to: request, region: region)),
      place: key.map(place) ?? location, reason: reason,
      hadUnansweredAttempt: answer.hadUnansweredAttempt || answer.isSuccess)
  }

  /// Where the bucket is, if that is not where the job says.
  private func namedRegion(_ answer: Answer) -> String? {
    let named = answer.headers["x-amz-bucket-region"] ?? XMLText.first("Region", in: answer.text)
    guard let named, named != configuration.region else { return nil }
    return told(named, byteLimit: 40)
  }

  /// What a store says; some repeat what they were sent.
  private func told(_ text: String, byteLimit: Int) -> String {
    ForeignText.quoted(configuration.credentials.removed(from: text), byteLimit: byteLimit)
  }
}
