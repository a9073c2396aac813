import CRdKafka
import Testing

@testable import Kafka

/// A line as librdkafka writes it, and what it means.
private struct Row: Sendable, CustomTestStringConvertible {
  let raw: String
  let cause: FailureCause?
  /// Whether waiting does not mend it.
  let isLasting: Bool
  var testDescription: String { raw }

  init(_ raw: String, _ cause: FailureCause?, isLasting: Bool = false) {
    self.raw = raw
    self.cause = cause
    self.isLasting = isLasting
  }

  /// - Parameter name: `a:9092/bootstrap`, as librdkafka names a broker.
  init(
    of name: String, _ message: String, in state: String, _ cause: FailureCause?,
    isLasting: Bool = false
  ) {
    self.init(
      "[thrd:\(name)]: \(name): \(message) (after 3ms in state \(state))", cause,
      isLasting: isLasting)
  }
}

/// As they were written by 2.0.2 and 2.16.0; addresses are shortened.
private let rows: [Row] = [
  Row(
    of: "a:1/bootstrap", "Connect to ipv4#127.0.0.1:1 failed: Connection refused", in: "CONNECT",
    .noConnection(address: "a:1", problem: "Connection refused")),
  Row(
    of: "a:9092/bootstrap", "Failed to resolve 'a:9092': Name or service not known", in: "CONNECT",
    .noConnection(address: "a:9092", problem: "Name or service not known")),
  Row(
    "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv6#[::1]:1 failed: Connection refused "
      + "(after 0ms in state CONNECT, 14 identical error(s) suppressed)",
    .noConnection(address: "a:1", problem: "Connection refused")),
  Row(
    of: "[::1]:1/bootstrap", "Connect to ipv6#[::1]:1 failed: Connection refused", in: "CONNECT",
    .noConnection(address: "[::1]:1", problem: "Connection refused")),
  Row(
    of: "a:1/bootstrap", "Connection setup timed out in state CONNECT", in: "CONNECT",
    .noConnection(address: "a:1", problem: "the connection timed out")),
  // The number says that the cluster itself has named the address.
  Row(
    of: "kafka.bad:9092/1", "Failed to resolve 'kafka.bad:9092': Name or service not known",
    in: "CONNECT",
    .advertisedAddress("kafka.bad:9092", broker: "1", problem: "Name or service not known")),
  Row(
    of: "ssl://10.0.0.9:2/1001", "Connect to ipv4#10.0.0.9:2 failed: Connection refused",
    in: "CONNECT",
    .advertisedAddress("10.0.0.9:2", broker: "1001", problem: "Connection refused")),
  Row(
    "a:1/3: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
    .advertisedAddress("a:1", broker: "3", problem: "Connection refused")),
  // Nothing is asked of a group.
  Row(
    "[thrd:GroupCoordinator]: GroupCoordinator: a:2: Connect to ipv4#127.0.0.9:2 failed: "
      + "Connection refused (after 0ms in state CONNECT)", nil),
  Row(
    of: "a:1/bootstrap",
    "Receive failed: Invalid response size 1213486160 (0..100000000): increase "
      + "receive.message.max.bytes",
    in: "APIVERSION_QUERY", .speaksHTTP(address: "a:1"), isLasting: true),
  Row(
    of: "a:1/bootstrap",
    "Receive failed: Invalid response size 1397966893 (0..100000000): increase "
      + "receive.message.max.bytes",
    in: "APIVERSION_QUERY", .speaksAnother(address: "a:1", beginning: "SSH-"), isLasting: true),
  Row(
    of: "a:1/bootstrap",
    "Receive failed: Invalid response size 352518912 (0..100000000): increase "
      + "receive.message.max.bytes",
    in: "APIVERSION_QUERY", .speaksTLS(address: "a:1"), isLasting: true),
  Row(
    of: "a:1/1",
    "Receive failed: Invalid response size 157286400 (0..100000000): increase "
      + "receive.message.max.bytes",
    in: "UP", .answerTooLarge(address: "a:1", byteCount: 157_286_400)),
  Row(
    of: "a:1/bootstrap",
    "Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol "
      + "configuration (connecting to a SSL listener?) or broker version is < 0.10 (see "
      + "api.version.request)",
    in: "APIVERSION_QUERY", .closedAtOnce(address: "a:1")),
  Row(
    of: "a:1/bootstrap", "Disconnected: connection closed by peer: receive 0 after POLLIN",
    in: "APIVERSION_QUERY", .closedAtOnce(address: "a:1")),
  Row(
    of: "a:1/bootstrap", "Disconnected: connection reset by peer", in: "UP",
    .closedWithoutLogin(address: "a:1")),
  // As any broker does after a while.
  Row(
    of: "a:1/1", "Disconnected: connection closed by peer: receive 0 after POLLIN", in: "UP", nil),
  Row(
    of: "a:1/bootstrap",
    "Disconnected: verify that security.protocol is correctly configured, broker might require "
      + "SASL authentication",
    in: "UP", .closedWithoutLogin(address: "a:1")),
  Row(
    of: "a:1/bootstrap",
    "ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see "
      + "api.version.request configuration)",
    in: "APIVERSION_QUERY", .silent(address: "a:1")),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: error:0A00010B:SSL routines::wrong version number",
    in: "SSL_HANDSHAKE", .speaksNoTLS(address: "a:1"), isLasting: true),
  Row(
    of: "ssl://a:1/bootstrap", "error:0A00010B:SSL routines::wrong version number",
    in: "SSL_HANDSHAKE", .speaksNoTLS(address: "a:1"), isLasting: true),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading",
    in: "SSL_HANDSHAKE", .closedInHandshake(address: "a:1")),
  Row(
    of: "ssl://a:1/1", "SSL handshake failed: SSL transport error: Broken pipe",
    in: "SSL_HANDSHAKE", .closedInHandshake(address: "a:1")),
  // A broker that is stopped ends the connections that it has.
  Row(
    of: "ssl://a:1/1",
    "Receive failed: error:0A000126:SSL routines::unexpected eof while reading", in: "UP", nil),
  Row(
    of: "ssl://a:1/1", "error:0A000126:SSL routines::unexpected eof while reading", in: "UP", nil),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT "
      + "broker listener?",
    in: "SSL_HANDSHAKE", .closedInHandshake(address: "a:1")),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker "
      + "certificate could not be verified, verify that ssl.ca.location is correctly configured or "
      + "root CA certificates are installed (install ca-certificates package)",
    in: "SSL_HANDSHAKE", .unverifiedCertificate(address: "a:1"), isLasting: true),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required",
    in: "SSL_HANDSHAKE",
    .refusedCertificate(address: "a:1", alert: "tlsv13 alert certificate required"), isLasting: true
  ),
  Row(
    of: "ssl://a:1/bootstrap",
    "SSL handshake failed: error:0A000102:SSL routines::unsupported protocol",
    in: "SSL_HANDSHAKE", .otherTLSFault(address: "a:1", problem: "unsupported protocol"),
    isLasting: true),
  Row(
    of: "sasl_plaintext://a:1/bootstrap",
    "SASL authentication error: Authentication failed: Invalid username or password",
    in: "AUTH_REQ",
    .loginRefused(
      address: "a:1", problem: "Authentication failed: Invalid username or password"),
    isLasting: true),
  Row(
    of: "sasl_ssl://a:1/bootstrap",
    "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported "
      + "mechanisms: SCRAM-SHA-512",
    in: "AUTH_HANDSHAKE", .mechanismNotOffered(address: "a:1", offered: "SCRAM-SHA-512"),
    isLasting: true),
  Row(
    "Failed to acquire SASL OAUTHBEARER token: Failed to connect to 127.0.0.1:1 after 0 ms: Could "
      + "not connect to server",
    .noTokenServer(
      problem: "Failed to connect to 127.0.0.1:1 after 0 ms: Could not connect to server")),
  token("Could not resolve host: a", -1, isPassing: true),
  token("Operation timed out after 20000 milliseconds with 0 bytes received", -1, isPassing: true),
  token("SSL certificate problem: unable to get local issuer certificate", -1, isPassing: false),
  token("Service Unavailable", 503, isPassing: true),
  token("upstream (502)", 502, isPassing: true), token("slow down", 429, isPassing: true),
  token("{\"error\":\"invalid_client\"}", 401, isPassing: false),
  token("the session timed out", 400, isPassing: false),
  token("Failed to parse JSON response at 0/15", 200, isPassing: false),
  Row(
    "Failed to acquire SASL OAUTHBEARER token: {\"error\":\"invalid_client\"}",
    .noToken(problem: "{\"error\":\"invalid_client\"}"), isLasting: true),
  Row(
    "[thrd:app]: Unable to create broker thread",
    .lackOfResources(problem: "Unable to create broker thread"), isLasting: true),
  Row(
    of: "a:1/bootstrap", "Failed to create socket: Too many open files", in: "CONNECT",
    .lackOfResources(problem: "Failed to create socket: Too many open files"), isLasting: true),
  Row(
    "[thrd:app]: Configuration property `sasl.mechanism` set to `PLAIN` but `security.protocol` is "
      + "not configured for SASL: recommend setting `security.protocol` to SASL_SSL or "
      + "SASL_PLAINTEXT", nil),
  Row("", nil), Row("[thrd:", nil), Row("[thrd:x]: ", nil), Row("/: ", nil), Row("a/1: ", nil),
  Row("[thrd:a:1/1]: a:1/1: Invalid response size (", nil),
  Row("[thrd:a:1/1]: a:1/1: Invalid response size 99999999999999 (0..1)", nil),
]

/// - Parameter status: Of the answer to a question for a token; -1 where there was none.
private func token(_ words: String, _ status: Int, isPassing: Bool) -> Row {
  let line = "Failed to retrieve OIDC token from \"https://a/t\": \(words) (\(status))"
  let problem = ClientLogLine(severity: 3, facility: "OIDC", raw: line).message
  return Row(
    "[thrd:main]: " + line,
    isPassing ? .noTokenServer(problem: problem) : .noToken(problem: problem),
    isLasting: !isPassing)
}

private func line(_ raw: String, severity: Int32 = 3, facility: String = "FAIL") -> ClientLogLine {
  ClientLogLine(severity: severity, facility: facility, raw: raw)
}

@Suite("Why brokers do not answer")
struct FailureCauseTests {
  @Test("is found in a line of librdkafka's log, of any release", arguments: rows)
  fileprivate func cause(_ row: Row) {
    #expect(FailureCause.find(in: [line(row.raw)]) == row.cause)
  }

  @Test("is what says most, and of two lines that say as much the newer")
  func rank() {
    let refused =
      "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to x failed: Connection refused (after 1ms in "
      + "state CONNECT)"
    let login = "[thrd:b:1/bootstrap]: b:1/bootstrap: SASL authentication error: no (after 1ms"
    let other = "[thrd:c:1/2]: c:1/2: Connect to x failed: No route to host (after 1ms in state C)"
    for lines in [[refused, login, other], [login, other, refused], [other, refused, login]] {
      guard case .loginRefused = FailureCause.find(in: lines.map { line($0) }) else {
        Issue.record("\(lines)")
        continue
      }
    }
    #expect(
      FailureCause.find(in: [line(refused), line(other)])
        == .advertisedAddress("c:1", broker: "2", problem: "No route to host"))
    // A handshake that is cut off says less than a broker that is not there.
    let cut =
      "[thrd:ssl://b:1/2]: ssl://b:1/2: SSL handshake failed: error:0A000126:SSL "
      + "routines::unexpected eof while reading (after 1ms in state SSL_HANDSHAKE)"
    #expect(
      FailureCause.find(in: [line(refused), line(cut)])
        == .noConnection(address: "a:1", problem: "Connection refused"))
    // librdkafka tells of a token in two lines, of which one bears the server's status.
    let down = [
      "[thrd:main]: Failed to retrieve OIDC token from \"https://a/t\": Down for repair (503)",
      "Failed to acquire SASL OAUTHBEARER token: Down for repair",
    ]
    for lines in [down, down.reversed()] {
      #expect(FailureCause.find(in: lines.map { line($0) })?.isLasting == false)
    }
    #expect(FailureCause.find(in: []) == nil)
  }

  @Test(
    """
    makes an unknown partition one that may pass where a broker could not be reached lately, and \
    that broker's where it cannot be reached since the question
    """)
  func forgotten() {
    let unknown = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
    let events = ClientEvents()
    #expect(!events.mayPass(unknown, ofQuestionAt: 0))
    #expect(events.meaning(of: unknown, ofQuestionAt: 0) == unknown)
    // A broker of bootstrap.servers has no partitions yet.
    events.hear(line("[thrd:b:1/bootstrap]: b:1/bootstrap: Connect to x failed: no (after 1ms"))
    #expect(!events.mayPass(unknown, ofQuestionAt: monotonicMilliseconds()))
    let before = monotonicMilliseconds()
    events.hear(line("[thrd:a:1/1]: a:1/1: Connect to x failed: no (after 1ms in state CONNECT)"))
    let after = monotonicMilliseconds() + 1
    #expect(events.mayPass(unknown, ofQuestionAt: before))
    #expect(events.meaning(of: unknown, ofQuestionAt: before) == RD_KAFKA_RESP_ERR__TRANSPORT)
    #expect(events.mayPass(unknown, ofQuestionAt: after))
    #expect(events.meaning(of: unknown, ofQuestionAt: after) == unknown)
    #expect(!events.mayPass(unknown, ofQuestionAt: after + 3_600_000))
    for error in [RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TIMED_OUT] {
      #expect(events.mayPass(error, ofQuestionAt: after + 3_600_000))
      #expect(events.meaning(of: error, ofQuestionAt: before) == error)
    }
    #expect(
      !events.mayPass(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ofQuestionAt: before))
  }

  @Test("ends the wait if no waiting mends it, and only then", arguments: rows)
  fileprivate func lasting(_ row: Row) { #expect((row.cause?.isLasting ?? false) == row.isLasting) }
}

@Suite("librdkafka's log")
struct ClientLogTests {
  @Test("is kept in so many lines that differ, the newest, each escaped and cut")
  func bounded() {
    let events = ClientEvents()
    for index in 0..<1_000 {
      events.hear(line("\u{1B}[31m\(index) " + String(repeating: "x", count: 9_999)))
    }
    #expect(events.lastTrouble?.hasPrefix("\\u{1B}[31m999 x") == true)
    #expect(events.lastTrouble.map { $0.utf8.count <= 300 } == true)
    #expect(events.firstTrouble?.hasPrefix("\\u{1B}[31m\(1_000 - ClientEvents.lineLimit) ") == true)
  }

  @Test("is told once where a line repeats another, whatever times and counters it bears")
  func repeats() {
    nonisolated(unsafe) var told: [String] = []
    let events = ClientEvents(ClientObserver(log: { told.append($0.text) }))
    for index in 0..<50 {
      events.hear(
        line("[thrd:a:1/1]: a:1/1: Connect to x failed: no (after \(index)ms in state CONNECT)"))
      events.hear(
        line(
          "[thrd:a:1/1]: a:1/1: Connect to x failed: no (after 0ms in state CONNECT, \(index) "
            + "identical error(s) suppressed)"))
    }
    #expect(told == ["a:1/1: Connect to x failed: no (after 0ms in state CONNECT)"])
    events.hear(line("[thrd:b:1/1]: b:1/1: Connect to x failed: no (after 1ms in state CONNECT)"))
    #expect(told.count == 2)
  }

  @Test("for debugging is told line by line, and pushes nothing out that explains an error")
  func debugging() {
    nonisolated(unsafe) var count = 0
    let events = ClientEvents(ClientObserver(log: { _ in count += 1 }))
    events.hear(line("[thrd:app]: Unable to create broker thread", severity: 2))
    for _ in 0..<100 { events.hear(line("[thrd:main]: x", severity: 7, facility: "STATE")) }
    #expect(count == 101)
    #expect(events.lastTrouble == "Unable to create broker thread")
  }
}
