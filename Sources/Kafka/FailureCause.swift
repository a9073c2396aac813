/// Why brokers do not answer, as far as librdkafka's log tells.
package enum FailureCause: Sendable, Equatable {
  /// An address of `bootstrap.servers`.
  case noConnection(address: String, problem: String)
  /// The brokers answered, and the address under which one of them wants to be reached does not.
  case advertisedAddress(String, broker: String, problem: String)
  /// A connection was made, and nothing came.
  case silent(address: String)
  /// The first request was answered by closing the connection.
  case closedAtOnce(address: String)
  /// The connection was closed at the first request that needs a login.
  case closedWithoutLogin(address: String)
  case speaksHTTP(address: String)
  /// What the answer began with.
  case speaksAnother(address: String, beginning: String)
  case answerTooLarge(address: String, byteCount: Int)
  case speaksTLS(address: String)
  case speaksNoTLS(address: String)
  /// The connection ended before TLS was agreed on: a broker that restarts, or a port without TLS.
  case closedInHandshake(address: String)
  case unverifiedCertificate(address: String)
  /// A TLS alert, in OpenSSL's words.
  case refusedCertificate(address: String, alert: String)
  case otherTLSFault(address: String, problem: String)
  case mechanismNotOffered(address: String, offered: String)
  case loginRefused(address: String, problem: String)
  case noToken(problem: String)
  /// The server that gives tokens did not answer, or failed itself.
  case noTokenServer(problem: String)
  /// This machine gives no more threads, memory or open files.
  case lackOfResources(problem: String)

  /// Whether it stays so, however long one waits.
  var isLasting: Bool {
    switch self {
    case .noConnection, .advertisedAddress, .silent, .closedAtOnce, .closedWithoutLogin,
      .closedInHandshake, .noTokenServer, .answerTooLarge:
      false
    case .speaksHTTP, .speaksAnother, .speaksTLS, .speaksNoTLS, .unverifiedCertificate,
      .refusedCertificate, .otherTLSFault, .mechanismNotOffered, .loginRefused, .noToken,
      .lackOfResources:
      true
    }
  }

  /// What it makes of an error that only says that no answer came.
  var code: KafkaError.Code {
    switch self {
    case .noConnection, .advertisedAddress, .silent, .closedAtOnce, .closedWithoutLogin,
      .closedInHandshake, .noTokenServer, .speaksHTTP, .speaksAnother:
      .unreachable
    case .answerTooLarge: .badProperty
    case .speaksTLS, .speaksNoTLS, .unverifiedCertificate, .refusedCertificate, .otherTLSFault,
      .mechanismNotOffered, .loginRefused, .noToken:
      .refused
    case .lackOfResources: .lackOfResources
    }
  }

  /// What happened.
  package var description: String {
    switch self {
    case .noConnection(let address, let problem): "\(address) cannot be reached: \(problem)"
    case .advertisedAddress(let address, let broker, let problem):
      "bootstrap.servers is right, but broker \(broker) advertises the address \(address), which "
        + "cannot be reached from here: \(problem)"
    case .silent(let address): "\(address) takes connections and does not answer"
    case .closedAtOnce(let address): "\(address) closed the connection at the first request"
    case .closedWithoutLogin(let address):
      "\(address) closed the connection, as a broker does when it wants a login (SASL)"
    case .speaksHTTP(let address): "\(address) speaks HTTP, not Kafka"
    case .speaksAnother(let address, let beginning):
      "\(address) does not speak Kafka: its answer begins with \"\(beginning)\""
    case .answerTooLarge(let address, let byteCount):
      "\(address) sent an answer of \(byteCount) bytes, more than receive.message.max.bytes"
    case .speaksTLS(let address):
      "\(address) speaks TLS, and security.protocol says that it does not"
    case .speaksNoTLS(let address):
      "\(address) does not speak TLS, and security.protocol says that it does"
    case .closedInHandshake(let address):
      "\(address) closed the connection during the TLS handshake"
    case .unverifiedCertificate(let address): "the certificate of \(address) cannot be verified"
    case .refusedCertificate(let address, let alert):
      "\(address) refused this client's TLS handshake: \(alert)"
    case .otherTLSFault(let address, let problem):
      "the TLS handshake with \(address) failed: \(problem)"
    case .mechanismNotOffered(let address, let offered):
      "\(address) does not offer the mechanism of sasl.mechanism; it offers \(offered)"
    case .loginRefused(let address, let problem): "\(address) refused the login: \(problem)"
    case .noToken(let problem), .noTokenServer(let problem):
      "no token for OAUTHBEARER: \(problem)"
    case .lackOfResources(let problem): "this machine gives no more resources: \(problem)"
    }
  }

  // MARK: - Finding it

  /// The cause that says most, and of those the newest.
  static func find(in lines: [ClientLogLine]) -> FailureCause? {
    var best: (rank: Int, cause: FailureCause)?
    // A group's coordinator is not asked for anything; librdkafka connects to it all the same.
    for line in lines where !line.message.hasPrefix("GroupCoordinator") {
      for (rank, row) in rows.enumerated() where line.message.contains(row.fragment) {
        guard let cause = row.cause(line) else { continue }
        if rank <= best?.rank ?? .max { best = (rank, cause) }
        break
      }
    }
    return best?.cause
  }

  /// What librdkafka's lines mean, from 2.0.2 to 2.16: a row's fragment is looked for in lines
  /// that are about a broker, or about none. The first row says most.
  ///
  /// - SeeAlso: librdkafka's rdkafka_broker.c, rdkafka_transport.c, rdkafka_ssl.c, rdkafka_sasl*.c.
  private static let rows: [(fragment: String, cause: @Sendable (ClientLogLine) -> FailureCause?)] =
    [
      ("nable to create broker thread", { .lackOfResources(problem: $0.message) }),
      ("Failed to create thread", { .lackOfResources(problem: $0.message) }),
      ("Too many open files", { .lackOfResources(problem: problem($0)) }),
      ("Cannot allocate memory", { .lackOfResources(problem: problem($0)) }),
      (
        "broker's supported mechanisms: ",
        {
          .mechanismNotOffered(
            address: $0.address, offered: after("broker's supported mechanisms: ", $0))
        }
      ),
      (
        "SASL authentication error: ",
        {
          .loginRefused(address: $0.address, problem: after("SASL authentication error: ", $0))
        }
      ),
      (
        "mechanism handshake failed: ",
        { .loginRefused(address: $0.address, problem: problem($0)) }
      ),
      // Bears the server's status, which the line after it does not.
      ("Failed to retrieve OIDC token", { noToken(problem($0)) }),
      (
        "Failed to acquire SASL OAUTHBEARER token: ",
        { noToken(after("Failed to acquire SASL OAUTHBEARER token: ", $0)) }
      ),
      ("certificate verify failed", { .unverifiedCertificate(address: $0.address) }),
      ("wrong version number", { .speaksNoTLS(address: $0.address) }),
      (
        " alert ",
        {
          $0.message.contains("SSL")
            ? .refusedCertificate(address: $0.address, alert: openSSLWords($0)) : nil
        }
      ),
      (
        "SSL handshake failed: ",
        {
          endsHandshake($0)
            ? nil : .otherTLSFault(address: $0.address, problem: openSSLWords($0))
        }
      ),
      ("Invalid response size ", { strangeAnswer($0) }),
      ("broker might require SASL authentication", { .closedWithoutLogin(address: $0.address) }),
      ("connecting to a SSL listener?", { .closedAtOnce(address: $0.address) }),
      (
        "Disconnected",
        {
          $0.message.contains("(state APIVERSION_QUERY)")
            ? .closedAtOnce(address: $0.address) : nil
        }
      ),
      ("ApiVersionRequest failed: Local: Timed out", { .silent(address: $0.address) }),
      ("Failed to resolve '", { noConnection($0, problem: after("': ", $0)) }),
      ("Connect to ", { noConnection($0, problem: after(" failed: ", $0)) }),
      ("Connection setup timed out", { noConnection($0, problem: "the connection timed out") }),
      (
        "(state SSL_HANDSHAKE)",
        { endsHandshake($0) ? .closedInHandshake(address: $0.address) : nil }
      ),
      // Newer releases say no more of a broker that hangs up at the first question.
      (
        "Disconnected: connection ",
        {
          $0.node == nil && !$0.address.isEmpty && $0.message.hasSuffix("(state UP)")
            ? .closedWithoutLogin(address: $0.address) : nil
        }
      ),
    ]

  private static func noConnection(_ line: ClientLogLine, problem: String) -> FailureCause? {
    line.node.map { .advertisedAddress(line.address, broker: $0, problem: problem) }
      ?? .noConnection(address: line.address, problem: problem)
  }

  /// The first four bytes of an answer should be its size; those of another protocol are letters,
  /// or begin a TLS record.
  private static func strangeAnswer(_ line: ClientLogLine) -> FailureCause? {
    let digits = after("Invalid response size ", line).prefix { $0.isNumber || $0 == "-" }
    guard let size = Int32(digits) else { return nil }
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * $0)) }
    if bytes == Array("HTTP".utf8) { return .speaksHTTP(address: line.address) }
    // An alert, or a handshake, of TLS 1.x or SSL 3.
    if [0x15, 0x16].contains(bytes[0]) && bytes[1] == 3 {
      return .speaksTLS(address: line.address)
    }
    if bytes.allSatisfy({ (0x20...0x7E).contains($0) }) {
      return .speaksAnother(
        address: line.address, beginning: String(decoding: bytes, as: UTF8.self))
    }
    return .answerTooLarge(address: line.address, byteCount: Int(size))
  }

  /// Whether the other side ended the connection, without a word of TLS. OpenSSL 3 writes the same
  /// words, in another state, of an established connection that ends.
  private static func endsHandshake(_ line: ClientLogLine) -> Bool {
    ["unexpected eof while reading", "Disconnected", "SSL transport error: "].contains {
      line.message.contains($0)
    } && line.message.hasSuffix("(state SSL_HANDSHAKE)")
  }

  /// - Parameter problem: Ends with the HTTP status, or with -1 where there was no answer:
  ///   `... from "http://a": Service Unavailable (503)`. librdkafka tells the same without it too.
  private static func noToken(_ problem: String) -> FailureCause {
    let end = problem.split(separator: "(").last ?? ""
    let status = end.hasSuffix(")") ? Int(end.dropLast()) ?? -1 : -1
    let isPassing =
      status >= 0
      ? status >= 500 || status == 408 || status == 429
      : wordsOfNoAnswer.contains { problem.contains($0) }
    return isPassing ? .noTokenServer(problem: problem) : .noToken(problem: problem)
  }

  /// libcurl's: waiting does not mend its others, such as a certificate's.
  private static let wordsOfNoAnswer = [
    "Failed to connect", "Could not connect", "Couldn't connect", "Could not resolve",
    "Couldn't resolve", "timed out", "Connection refused", "Connection reset", "Recv failure",
    "Send failure", "Empty reply", "unexpected eof",
  ]

  private static func after(_ fragment: String, _ line: ClientLogLine) -> String {
    let text = problem(line)
    return text.firstRange(of: fragment).map { String(text[$0.upperBound...]) } ?? text
  }

  /// The message without the client's state.
  private static func problem(_ line: ClientLogLine) -> String {
    line.message.firstRange(of: " (state ").map { String(line.message[..<$0.lowerBound]) }
      ?? line.message
  }

  /// `tlsv13 alert certificate required` of `error:0A00045C:SSL routines::tlsv13 alert ...`.
  private static func openSSLWords(_ line: ClientLogLine) -> String {
    let text = problem(line)
    return text.firstRange(of: "routines::").map { String(text[$0.upperBound...]) }
      ?? after("SSL handshake failed: ", line)
  }
}
