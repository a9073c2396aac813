import Engine
import ObjectStorage
import Reports
import Synchronization
import TestSupport
import Testing

/// What a run makes of an answer: one row a code of S3.
struct AnswerCase: Sendable, CustomTestStringConvertible {
  let status: Int
  let code: String
  let run: RunError.Code
  /// Of what the message says to do.
  let words: String
  var testDescription: String { "\(status) \(code)" }

  init(_ status: Int, _ code: String, _ run: RunError.Code, _ words: String) {
    self.status = status
    self.code = code
    self.run = run
    self.words = words
  }
}

private let againWords = "What is not published stays in the checkpoint; run again"
private let keysWords = "The store does not know these credentials. Check the access key"
private let regionWords = "Set output.s3.region, and output.s3.endpoint if it is set, to"
private let serverWords = "Is output.s3.endpoint the address of an S3 server"

private let cases: [AnswerCase] = [
  AnswerCase(400, "BandwidthLimitExceeded", .unreachable, againWords),
  AnswerCase(503, "RequestLimitExceeded", .unreachable, againWords),
  AnswerCase(503, "RequestThrottled", .unreachable, againWords),
  AnswerCase(400, "RequestThrottledException", .unreachable, againWords),
  AnswerCase(400, "RequestTimeout", .unreachable, againWords),
  AnswerCase(400, "RequestTimeTooSlow", .unreachable, againWords),
  AnswerCase(503, "ServiceUnavailable", .unreachable, againWords),
  AnswerCase(503, "SlowDown", .unreachable, "The store has too much to do. \(againWords)."),
  AnswerCase(503, "SlowDownRead", .unreachable, againWords),
  AnswerCase(503, "SlowDownWrite", .unreachable, againWords),
  AnswerCase(400, "Throttling", .unreachable, againWords),
  AnswerCase(400, "ThrottlingException", .unreachable, againWords),
  AnswerCase(400, "ThrottledException", .unreachable, againWords),
  AnswerCase(429, "TooManyRequests", .unreachable, againWords),
  AnswerCase(429, "TooManyRequestsException", .unreachable, againWords),
  AnswerCase(503, "XMinioServerNotInitialized", .unreachable, againWords),
  AnswerCase(
    500, "InternalError", .unreachable, "The store reported an internal error. \(againWords)."),
  AnswerCase(
    409, "ConcurrentModification", .unreachable,
    "Something else changes the same object or bucket now. \(againWords)."),
  AnswerCase(409, "ConditionalRequestConflict", .unreachable, againWords),
  AnswerCase(409, "OperationAborted", .unreachable, againWords),
  AnswerCase(307, "Redirect", .unreachable, "The store sends requests elsewhere for now"),
  AnswerCase(
    307, "TemporaryRedirect", .unreachable, "\(againWords) later. If it stays so, set outp"),
  AnswerCase(
    400, "BadDigest", .unreachable,
    "Something between here and the store changes requests or cuts them off. \(againWords)."),
  AnswerCase(400, "IncompleteBody", .unreachable, "cuts them off"),
  AnswerCase(400, "XAmzContentChecksumMismatch", .unreachable, "cuts them off"),
  AnswerCase(400, "XAmzContentSHA256Mismatch", .unreachable, "cuts them off"),
  AnswerCase(
    400, "ExpiredToken", .noPermission,
    "The temporary credentials have expired. Get new ones, then run again."),
  AnswerCase(400, "ExpiredTokenException", .noPermission, "Get new ones"),
  AnswerCase(400, "RequestExpired", .noPermission, "Get new ones"),
  AnswerCase(400, "TokenRefreshRequired", .noPermission, "Get new ones"),
  AnswerCase(403, "InvalidAccessKeyId", .noPermission, keysWords),
  AnswerCase(403, "InvalidClientTokenId", .noPermission, keysWords),
  AnswerCase(403, "InvalidSecurity", .noPermission, keysWords),
  AnswerCase(400, "InvalidToken", .noPermission, "the session token if there is one"),
  AnswerCase(403, "NotSignedUp", .noPermission, keysWords),
  AnswerCase(401, "Unauthorized", .noPermission, keysWords),
  AnswerCase(400, "UnrecognizedClientException", .noPermission, keysWords),
  AnswerCase(
    403, "SignatureDoesNotMatch", .noPermission,
    "The secret access key does not belong to the access key"),
  AnswerCase(403, "RequestInTheFuture", .noPermission, "Set this machine's clock"),
  AnswerCase(
    403, "RequestTimeTooSkewed", .noPermission, "Set this machine's clock, then run again."),
  AnswerCase(
    403, "AccessDenied", .noPermission, "Give these credentials the right s3:PutObject there."),
  AnswerCase(403, "AccountProblem", .noPermission, "s3:PutObject"),
  AnswerCase(403, "AllAccessDisabled", .noPermission, "s3:PutObject"),
  AnswerCase(403, "UserSuspended", .noPermission, "s3:PutObject"),
  AnswerCase(403, "UserProjectAccountProblem", .noPermission, "s3:PutObject"),
  AnswerCase(
    501, "KMSNotConfigured", .noPermission, "Enable the key that encrypts the bucket, and let"),
  AnswerCase(400, "AuthorizationHeaderMalformed", .data, regionWords),
  AnswerCase(400, "IllegalLocationConstraintException", .data, regionWords),
  AnswerCase(400, "IncorrectEndpoint", .data, regionWords),
  AnswerCase(400, "InvalidRegionName", .data, regionWords),
  AnswerCase(301, "PermanentRedirect", .data, regionWords),
  AnswerCase(404, "NoSuchAccessPoint", .data, "Create the bucket, or correct output.to"),
  AnswerCase(
    404, "NoSuchBucket", .data,
    "Create the bucket, or correct output.to; Tranche never creates one."),
  AnswerCase(400, "InvalidBucketName", .data, "Correct output.to."),
  AnswerCase(400, "InvalidObjectName", .data, "Correct output.to."),
  AnswerCase(400, "KeyTooLongError", .data, "Correct output.to."),
  AnswerCase(400, "XMinioInvalidObjectName", .data, "Correct output.to."),
  AnswerCase(400, "MissingContentMD5", .data, "this bucket asks for another"),
  AnswerCase(400, "EntityTooLarge", .data, "Make objects smaller with narrower windows"),
  AnswerCase(507, "InsufficientStorage", .inputOutput, "Free space in the store or raise"),
  AnswerCase(403, "QuotaExceeded", .inputOutput, "raise its quota, then run again."),
  AnswerCase(400, "XMinioAdminBucketQuotaExceeded", .inputOutput, "raise its quota"),
  AnswerCase(507, "XMinioStorageFull", .inputOutput, "raise its quota"),
  AnswerCase(403, "InvalidObjectState", .data, "Restore the object from the archive"),
  AnswerCase(405, "MethodNotAllowed", .data, serverWords),
  AnswerCase(501, "NotImplemented", .data, serverWords),
  AnswerCase(400, "InvalidArgument", .data, "Check output.to, output.s3.region and"),
  AnswerCase(400, "InvalidRequest", .data, "Check output.to, output.s3.region and"),
  AnswerCase(404, "NoSuchKey", .data, "Check output.to, output.s3.region and"),
  AnswerCase(412, "PreconditionFailed", .data, "Check output.to, output.s3.region and"),
]

@Suite("An answer of an S3 server")
struct StoreAnswerTests {
  private static let words = Words(
    .init(checkpointFolder: "--folder", fileMode: "--rights") { _ in "<command>" })
  private let key = ObjectKey("x")

  private func store(
    _ server: ScriptedServer, maxAttempts: Int = 3, sessionToken: String = "hunter3"
  ) -> S3Store {
    store(at: server.endpoint, maxAttempts: maxAttempts, sessionToken: sessionToken)
  }

  private func store(
    at endpoint: String, maxAttempts: Int = 3, sessionToken: String = "hunter3",
    now: @escaping @Sendable () -> Int64 = { 1_800_000_000 }
  ) -> S3Store {
    S3Store(
      S3Configuration(
        endpoint: endpoint, region: "us-east-1", bucket: "bucket", prefix: "",
        addressing: .path,
        credentials: S3Credentials(
          accessKeyID: "AKIA", secretAccessKey: "hunter2", sessionToken: sessionToken),
        timeoutMilliseconds: 10_000, maxAttempts: maxAttempts, caFile: nil),
      now: now, sleep: { _ in })
  }

  private func body(_ code: String, _ message: String = "Words", more: String = "") -> String {
    "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>\(message)</Message>\(more)</Error>"
  }

  /// What the run ends with, and what it says.
  private func outcome(_ work: () throws -> Void) -> (
    code: RunError.Code?, text: String, isUnsettled: Bool
  ) {
    do {
      try work()
      return (nil, "", false)
    } catch {
      let run = RunError(wrapping: error)
      return (
        run.code, Self.words.text(of: run),
        (error as? ObjectStoreError)?.hadUnansweredAttempt == true
      )
    }
  }

  @Test("is told by its code: exit code, what happened, and what to do", arguments: cases)
  func codes(row: AnswerCase) {
    let server = ScriptedServer([], then: .status(row.status, body: body(row.code)))
    let (code, text, _) = outcome { _ = try store(server).put([1], at: key) }
    #expect(code == row.run, "\(text)")
    #expect(
      text.hasPrefix("s3://bucket/x: the store answered \(row.status) \(row.code): Words"),
      "\(text)")
    #expect(text.contains(row.words), "\(text)")
    #expect(!text.contains("hunter"))
    // Those that may pass are asked three times, and an object without a checksum is sent again
    // with one.
    let attempts = row.run == .unreachable ? 3 : row.code == "MissingContentMD5" ? 2 : 1
    #expect(server.requests.count == attempts)
  }

  @Test("has a row here for each code of the table")
  func complete() {
    #expect(Set(cases.map(\.code)) == Set(S3Answer.codes.keys))
    #expect(Set(S3Answer.codes.values).union([.foreign]) == Set(S3Answer.Meaning.allCases))
  }

  @Test(
    "is told by its status where it has no code that is known",
    arguments: [
      AnswerCase(301, "", .data, regionWords), AnswerCase(302, "", .data, serverWords),
      AnswerCase(307, "", .unreachable, againWords), AnswerCase(400, "", .data, "Check output.to"),
      AnswerCase(401, "", .noPermission, "s3:PutObject"),
      AnswerCase(403, "NobodyKnows", .noPermission, "s3:PutObject"),
      AnswerCase(404, "", .data, "Create the bucket"), AnswerCase(405, "", .data, serverWords),
      AnswerCase(408, "", .unreachable, againWords), AnswerCase(409, "", .unreachable, againWords),
      AnswerCase(412, "", .data, "Check output.to"), AnswerCase(413, "", .data, "narrower windows"),
      AnswerCase(418, "", .data, "Check output.to"), AnswerCase(429, "", .unreachable, againWords),
      AnswerCase(500, "", .unreachable, againWords), AnswerCase(501, "", .data, serverWords),
      AnswerCase(502, "", .unreachable, againWords),
      AnswerCase(503, "NobodyKnows", .unreachable, againWords),
      AnswerCase(504, "", .unreachable, againWords), AnswerCase(507, "", .inputOutput, "quota"),
      AnswerCase(524, "", .unreachable, againWords),
    ])
  func statuses(row: AnswerCase) {
    let text = row.code.isEmpty ? "<html>" : body(row.code)
    let server = ScriptedServer([], then: .status(row.status, body: text))
    let (code, said, _) = outcome { _ = try store(server).put([1], at: key) }
    #expect(code == row.run && said.contains(row.words), "\(said)")
    #expect(server.requests.count == (row.run == .unreachable ? 3 : 1))
  }

  @Test("that speaks of any key management fault is one of the bucket's key")
  func encryption() {
    for code in ["KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"] {
      let server = ScriptedServer([.status(400, body: body(code))])
      let (run, text, _) = outcome { _ = try store(server).put([1], at: key) }
      #expect(run == .noPermission && text.contains("(kms:GenerateDataKey, kms:Decrypt)"))
    }
  }

  @Test("names the right that is missing, for each request")
  func rights() {
    let denied = ScriptedServer.Reply.status(403, body: body("AccessDenied", "Access Denied."))
    let listing = "Without s3:ListBucket on the bucket, S3 refuses to say that an object does not"
    let requests: [(S3Answer.Request, right: String, work: (S3Store) throws -> Void)] = [
      (.put, "s3:PutObject", { _ = try $0.put([1], at: ObjectKey("x")) }),
      (.get, "s3:GetObject", { _ = try $0.get(ObjectKey("x")) }),
      (.head, "s3:GetObject", { _ = try $0.head(ObjectKey("x")) }),
      (.delete, "s3:DeleteObject", { try $0.delete(ObjectKey("x")) }),
      (.list, "s3:ListBucket", { _ = try $0.list(prefix: "") }),
    ]
    for (request, right, work) in requests {
      let server = ScriptedServer([], then: denied)
      let (code, text, _) = outcome { try work(store(server)) }
      #expect(code == .noPermission && text.contains("the right \(right) there."))
      #expect(text.contains(listing) == [.get, .head].contains(request), "\(text)")
      // A HEAD that is refused is asked again as a GET, for its reason.
      #expect(server.requests.count == (request == .head ? 2 : 1))
    }
  }

  @Test(
    "to a HEAD, which has no text, is said to be one where a GET gives no other reason",
    arguments: [
      .status(403), .status(403, body: "<Error><Code>AccessDenied</Code></Error>"),
      .status(403, headers: ["x-amz-bucket-region: eu-west-1"]), .status(404),
      .status(200, body: "content"), .status(200),
    ] as [ScriptedServer.Reply])
  func head(get: ScriptedServer.Reply) {
    let server = ScriptedServer([.status(403), get])
    let (code, text, _) = outcome { _ = try store(server).head(key) }
    #expect(server.requests == ["HEAD /bucket/x HTTP/1.1", "GET /bucket/x HTTP/1.1"])
    #expect(code == .noPermission)
    #expect(
      text == """
        s3://bucket/x: the store answered 403 to a HEAD, whose answer gives no reason. Give these \
        credentials the right s3:GetObject there. Without s3:ListBucket on the bucket, S3 refuses \
        to say that an object does not exist.
        """)
  }

  @Test("to a HEAD that is 400 is asked of a GET, which says why")
  func headOfBadRequest() throws {
    let expired = ScriptedServer([
      .status(400), .status(400, body: body("ExpiredToken", "The provided token has expired.")),
    ])
    let (code, text, _) = outcome { _ = try store(expired).head(key) }
    #expect(code == .noPermission && text.contains("400 ExpiredToken"), "\(text)")
    #expect(expired.requests == ["HEAD /bucket/x HTTP/1.1", "GET /bucket/x HTTP/1.1"])
    for get in [ScriptedServer.Reply.status(200, body: "content"), .status(404)] {
      let odd = ScriptedServer([.status(400), get])
      let (code, text, _) = outcome { _ = try store(odd).head(key) }
      #expect(code == .data && text.contains("answered 400 to a HEAD"), "\(text)")
    }
  }

  @Test("to a HEAD that is 403 is asked of a GET, which may say that no right is missing")
  func headOfForbiddenRequest() {
    for (reason, words) in [
      ("SignatureDoesNotMatch", "The secret access key does not belong to the access key"),
      ("InvalidAccessKeyId", keysWords), ("RequestTimeTooSkewed", "Set this machine's clock"),
      ("ExpiredToken", "Get new ones"),
    ] {
      let server = ScriptedServer([.status(403), .status(403, body: body(reason))])
      let (code, text, _) = outcome { _ = try store(server).head(key) }
      #expect(code == .noPermission && text.contains("answered 403 \(reason): Words. "), "\(text)")
      #expect(text.contains(words) && !text.contains("s3:GetObject"), "\(text)")
    }
  }

  @Test("to that GET is not read where the object is there, however long it is")
  func headOfForbiddenObject() {
    let head = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nConnection: close\r\n\r\n"
    let piece = String(repeating: "x", count: 1 << 20)
    let server = ScriptedServer([.status(403), .endless(head: head, piece: piece)])
    let (code, text, _) = outcome { _ = try store(server).head(key) }
    #expect(code == .noPermission && text.contains("answered 403 to a HEAD"), "\(text)")
    #expect(server.requests.count == 2)
  }

  @Test("names the bucket's region, and what to set")
  func region() {
    let message = "the region 'us-east-1' is wrong; expecting 'eu-west-1'"
    let replies: [ScriptedServer.Reply] = [
      .status(
        400,
        body: body("AuthorizationHeaderMalformed", message, more: "<Region>eu-west-1</Region>")),
      .status(301, body: body("PermanentRedirect"), headers: ["x-amz-bucket-region: eu-west-1"]),
      .status(301, headers: ["x-amz-bucket-region: eu-west-1"]),
    ]
    for reply in replies {
      let server = ScriptedServer([reply])
      let (code, text, _) = outcome { _ = try store(server).put([1], at: key) }
      #expect(server.requests.count == 1)
      #expect(code == .data && text.contains("; the bucket is in region eu-west-1. Set "))
      #expect(
        text.contains(
          "Set output.s3.region: eu-west-1, and output.s3.endpoint, if it is set, to that region's."
        ), "\(text)")
    }
    let more = "<Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>"
    let server = ScriptedServer([.status(301, body: body("PermanentRedirect", more: more))])
    let (_, text, _) = outcome { _ = try store(server).put([1], at: key) }
    #expect(server.requests.count == 1)
    #expect(text.contains("; it names b.s3.eu-west-1.amazonaws.com."), "\(text)")
  }

  @Test("that sends a request elsewhere for now is tried again where it was, never followed")
  func redirected() throws {
    let elsewhere = ScriptedServer([])
    let reply = ScriptedServer.Reply.status(
      307, body: body("TemporaryRedirect"), headers: ["Location: \(elsewhere.endpoint)/bucket/x"])
    let once = ScriptedServer([reply])
    #expect(try store(once).put([1], at: key).hadUnansweredAttempt == false)
    #expect(once.requests.count == 2)
    let ever = ScriptedServer([], then: reply)
    let (_, text, _) = outcome { _ = try store(ever).put([1], at: key) }
    #expect(text.contains("; it names \(elsewhere.endpoint)/bucket/x"), "\(text)")
    #expect(ever.requests.count == 3 && elsewhere.requests.isEmpty)
  }

  @Test("of 409 is tried again")
  func conflict() throws {
    let server = ScriptedServer([
      .status(409, body: body("ConditionalRequestConflict")),
      .status(409, body: body("OperationAborted")),
    ])
    #expect(try store(server).put([1], at: key).hadUnansweredAttempt == false)
    #expect(server.requests.count == 3)
  }

  @Test("that acknowledges a PUT without an ETag acknowledges nothing, and the object is unsettled")
  func withoutETag() {
    let replies: [ScriptedServer.Reply] = [
      .status(200, headers: []), .status(200, headers: ["ETag: \"\""]),
      .status(200, body: "<html>please log in</html>", headers: ["Content-Type: text/html"]),
      .status(204, headers: []),
    ]
    for reply in replies {
      let server = ScriptedServer([reply])
      let (code, text, isUnsettled) = outcome { _ = try store(server).put([1], at: key) }
      #expect(code == .data && isUnsettled)
      #expect(text.contains("without an ETag, which acknowledges nothing. \(serverWords)"))
      #expect(server.requests.count == 1)
      // Nor does it tell of an object.
      for work in [{ _ = try $0.head(key) }, { _ = try $0.get(key) }] as [(S3Store) throws -> Void]
      {
        let server = ScriptedServer([reply])
        #expect(outcome { try work(store(server)) }.code == .data)
        #expect(server.requests.count == 1)
      }
    }
  }

  @Test("of another success, with an ETag, is one", arguments: [200, 201, 204])
  func success(status: Int) throws {
    let server = ScriptedServer([.status(status)])
    #expect(try store(server).put([1], at: key).etag == "scripted")
  }

  @Test("that asks for a checksum gets a signed Content-MD5, then and from then on")
  func checksum() throws {
    for (code, message) in [
      (
        "InvalidRequest",
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
          + "Object Lock parameters"
      ),
      ("InvalidRequest", "Missing required header for this request: Content-MD5"),
      ("InvalidRequest", "A checksum is required"), ("MissingContentMD5", ""),
    ] {
      let server = ScriptedServer([.status(200), .status(400, body: body(code, message))])
      let store = store(server)
      for name in ["a", "b", "c"] { _ = try store.put(Array("hello".utf8), at: ObjectKey(name)) }
      let sums = server.heads.map { head in
        head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-md5:") }
          .map(String.init)
      }
      let sum = "content-md5: XUFAKrxLKna5cZ2REBfFkg=="
      #expect(sums == [nil, nil, sum, sum])
      #expect(server.heads[2].contains("SignedHeaders=content-md5;"))
    }
    let server = ScriptedServer([], then: .status(400, body: body("InvalidRequest", "checksum")))
    let (code, text, _) = outcome { _ = try store(server).put([1], at: key) }
    #expect(code == .data && server.requests.count == 2)
    #expect(text.contains("Tranche sends Content-MD5 where a store asks for a checksum"), "\(text)")
  }

  @Test("that asks for a checksum does not settle what an attempt before it left open")
  func unsettledBeforeChecksum() throws {
    let asks = ScriptedServer.Reply.status(400, body: body("InvalidRequest", "checksum"))
    for first in [ScriptedServer.Reply.hangUp, .status(500)] {
      let server = ScriptedServer([first, asks, .status(200)])
      #expect(try store(server).put([1], at: key).hadUnansweredAttempt)
      let refusing = ScriptedServer([first, asks], then: .status(403))
      #expect(outcome { _ = try store(refusing).put([1], at: key) }.isUnsettled)
      #expect(server.requests.count == 3 && refusing.requests.count == 3)
    }
    let server = ScriptedServer([asks, .status(200)])
    #expect(try store(server).put([1], at: key).hadUnansweredAttempt == false)
  }

  @Test("that asks for a checksum gets it of each put that is under way")
  func checksumOfTwoPuts() throws {
    let asks = ScriptedServer.Reply.status(400, body: body("MissingContentMD5"))
    let server = ScriptedServer([asks, .status(200), asks, .status(200)])
    let other = Once()
    // As the first put is signed, the second one is made whole.
    let store = store(at: server.endpoint) {
      other.run()
      return 1_800_000_000
    }
    other.set { #expect(throws: Never.self) { try store.put([1], at: ObjectKey("b")) } }
    _ = try store.put([1], at: ObjectKey("a"))
    #expect(server.requests.map { $0.split(separator: "/")[2].prefix(1) } == ["b", "b", "a", "a"])
  }

  @Test("is not waited for where the address of the server is none")
  func address() {
    for endpoint in ["http://minio:99999", "https://:9000", "http://a:1:2"] {
      let (code, text, isUnsettled) = outcome { _ = try store(at: endpoint).put([1], at: key) }
      #expect(code == .data && !isUnsettled && !text.contains("attempts"), "\(text)")
      #expect(text.contains("at \(endpoint): ") && text.contains("output.s3.endpoint"), "\(text)")
    }
  }

  @Test("repeats nothing of a long token, also where it is percent-encoded or cut off")
  func longToken() throws {
    let token = "FwoG/Zx+" + String(repeating: "secret/+=", count: 65) + "end.-ok"
    #expect(token.utf8.count == 600)
    let encoded = token.replacing("/", with: "%2F").replacing("+", with: "%2b")
    let more = "<Region>\(token)</Region><Endpoint>\(encoded)</Endpoint>"
    for reply in [
      ScriptedServer.Reply.status(
        403, body: body("InvalidToken", "\(token) is no token", more: more)),
      .status(403, body: body(token, "the token '\(encoded)' is none")),
      .status(
        301, body: body("PermanentRedirect"),
        headers: [
          "Location: http://elsewhere/x?X-Amz-Security-Token=\(encoded)&X-Amz-Date=1",
          "x-amz-bucket-region: \(token)",
        ]),
    ] {
      let server = ScriptedServer([reply])
      let store = store(server, sessionToken: token)
      #expect {
        try store.put([1], at: key)
      } throws: { error in
        guard let error = error as? ObjectStoreError else { return false }
        let text = Self.words.text(of: .store(error))
        return !["FwoG", "Zx", "secret", "end.-ok"].contains {
          "\(error.code) \(text)".contains($0)
        } && text.contains("...")
      }
    }
  }

  @Test("repeats nothing of a key or token that it was sent")
  func scrubbed() {
    let more = "<AWSAccessKeyId>AKIA</AWSAccessKeyId>"
    let server = ScriptedServer([
      .status(403, body: body("InvalidAccessKeyId", "AKIA, hunter2 and hunter3 are no", more: more))
    ])
    let (_, text, _) = outcome { _ = try store(server).put([1], at: key) }
    #expect(text.contains("..., ... and ... are no") && !text.contains("hunter"), "\(text)")
  }
}

/// Work that is done at its first occasion.
private final class Once: Sendable {
  private let work = Mutex<(@Sendable () -> Void)?>(nil)

  func set(_ new: @escaping @Sendable () -> Void) { work.withLock { $0 = new } }

  func run() {
    let work = work.withLock { work in
      defer { work = nil }
      return work
    }
    work?()
  }
}
