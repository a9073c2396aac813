internal import CRdKafka
internal import Escaping
internal import Synchronization

/// One line of librdkafka's log, fit for a person.
package struct ClientLogLine: Sendable, Equatable {
  /// As syslog(3) counts: 0 is an emergency, 3 an error, 7 is for debugging.
  package let severity: Int32
  /// librdkafka's word for what it tells: `FAIL`, `SSL`, `CONFWARN`.
  package let facility: String
  /// Escaped and cut; without the name of the thread.
  package let text: String
  /// Of the broker that it is about, `kafka-1:9092`; empty for anything else.
  let address: String
  /// The broker's number, where the cluster itself has named it.
  let node: String?
  /// `text` without the broker and without times and counters, which differ from line to line.
  let message: String

  /// - Parameter raw: `[thrd:ssl://a:9093/1]: ssl://a:9093/1: Connect to ... failed: Connection
  ///   refused (after 0ms in state CONNECT, 3 identical error(s) suppressed)`.
  init(severity: Int32, facility: String, raw: String) {
    self.severity = severity
    self.facility = ForeignText.quoted(facility, byteLimit: 40)
    var rest = Substring(raw)
    if rest.hasPrefix("[thrd:"), let end = rest.firstRange(of: "]: ") {
      rest = rest[end.upperBound...]
    }
    text = ForeignText.quoted(String(rest))
    if let end = rest.firstRange(of: ": "), let broker = Self.broker(rest[..<end.lowerBound]) {
      address = ForeignText.quoted(String(broker.address))
      node = broker.node.map { ForeignText.quoted(String($0)) }
      rest = rest[end.upperBound...]
    } else {
      (address, node) = ("", nil)
    }
    message = ForeignText.quoted(String(Self.withoutTimes(rest)))
  }

  /// - Parameter name: `ADDRESS/bootstrap`, or `ADDRESS/NUMBER` of a broker that the cluster has
  ///   named; `ssl://` may stand before it. Anything else is no broker.
  private static func broker(_ name: Substring) -> (address: Substring, node: Substring?)? {
    guard let slash = name.lastIndex(of: "/") else { return nil }
    let (address, node) = (name[..<slash], name[name.index(after: slash)...])
    let isNumber = !node.isEmpty && node.allSatisfy(\.isNumber)
    guard isNumber || node == "bootstrap" else { return nil }
    let scheme = address.firstRange(of: "://")
    return (scheme.map { address[$0.upperBound...] } ?? address, isNumber ? node : nil)
  }

  /// ` (after 3ms in state UP, 2 identical error(s) suppressed)` becomes ` (state UP)`.
  private static func withoutTimes(_ text: Substring) -> String {
    guard let start = text.firstRange(of: " (after "),
      let state = text[start.upperBound...].firstRange(of: " in state ")
    else { return String(text) }
    let name = text[state.upperBound...].prefix { $0 != "," && $0 != ")" }
    return "\(text[..<start.lowerBound]) (state \(name))"
  }

  /// Whether it tells the same as another, some time later.
  func repeats(_ other: ClientLogLine) -> Bool {
    facility == other.facility && address == other.address && node == other.node
      && message == other.message
  }
}

/// Who hears what a client does. Called from librdkafka's threads as well.
package struct ClientObserver: Sendable {
  /// Gets each line of the log; one that is repeated comes once in ten seconds.
  package var log: @Sendable (ClientLogLine) -> Void
  /// Called once a wait, a second after it began.
  ///
  /// Gets what is waited for, and why as far as it is known: `brokers a:9092: Connection refused`.
  package var waits: @Sendable (String) -> Void

  package init(
    log: @escaping @Sendable (ClientLogLine) -> Void = { _ in },
    waits: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.log = log
    self.waits = waits
  }
}

/// What a client has told lately: its log explains the time-out that follows.
final class ClientEvents: Sendable {
  /// Those that a client tells of; nil only where none were given to it.
  static func of(_ client: OpaquePointer) -> ClientEvents? {
    rd_kafka_opaque(client).map {
      Unmanaged<ClientEvents>.fromOpaque($0).takeUnretainedValue()
    }
  }

  private struct Heard {
    let line: ClientLogLine
    var atMilliseconds: Int64
    var toldAtMilliseconds: Int64
  }
  private let heard = Mutex<[Heard]>([])
  let observer: ClientObserver

  /// Most lines that differ; beyond it, the one that was not heard for longest is forgotten.
  static let lineLimit = 32
  /// A newer librdkafka tells of every attempt to connect, fifty a second.
  private static let repeatMilliseconds: Int64 = 10_000
  /// How long before a question began a line may have come that explains its time-out: librdkafka
  /// before 2.2 tells the same error again only after a while.
  private static let memoryMilliseconds: Int64 = 30_000

  init(_ observer: ClientObserver = ClientObserver()) { self.observer = observer }

  func hear(_ line: ClientLogLine) {
    // Lines for debugging come by the thousand, and explain nothing by themselves.
    if line.severity >= 7 { return observer.log(line) }
    let now = monotonicMilliseconds()
    let isNew = heard.withLock { heard -> Bool in
      if let index = heard.firstIndex(where: { $0.line.repeats(line) }) {
        heard[index].atMilliseconds = now
        guard now - heard[index].toldAtMilliseconds >= Self.repeatMilliseconds else { return false }
        heard[index].toldAtMilliseconds = now
        return true
      }
      if heard.count == Self.lineLimit,
        let oldest = heard.indices.min(by: { heard[$0].atMilliseconds < heard[$1].atMilliseconds })
      {
        heard.remove(at: oldest)
      }
      heard.append(Heard(line: line, atMilliseconds: now, toldAtMilliseconds: now))
      return true
    }
    if isNew { observer.log(line) }
  }

  /// Distinct lines since an instant, the newest last.
  private func lines(since milliseconds: Int64) -> [ClientLogLine] {
    heard.withLock { heard in
      heard.filter { $0.atMilliseconds >= milliseconds }
        .sorted { $0.atMilliseconds < $1.atMilliseconds }.map(\.line)
    }
  }

  /// Why the question that began at an instant is not answered, where a line says it.
  func cause(ofQuestionAt milliseconds: Int64) -> FailureCause? {
    cause(since: milliseconds - Self.memoryMilliseconds)
  }

  /// A cause that waiting does not mend, from lines since the question began only: a refusal before
  /// that must not end this question.
  func lastingCause(ofQuestionAt milliseconds: Int64) -> FailureCause? {
    cause(since: milliseconds).flatMap { $0.isLasting ? $0 : nil }
  }

  /// Whether a question that ended in this error may be answered a moment later.
  func mayPass(_ error: rd_kafka_resp_err_t, ofQuestionAt milliseconds: Int64) -> Bool {
    KafkaError.isPassing(error)
      || isForgotten(error, since: milliseconds - Self.memoryMilliseconds)
  }

  /// What the last error means once the question's time is over. An unknown partition whose broker
  /// could not be reached since the question began counts as a broker that cannot be reached.
  func meaning(
    of error: rd_kafka_resp_err_t, ofQuestionAt milliseconds: Int64
  ) -> rd_kafka_resp_err_t {
    isForgotten(error, since: milliseconds) ? RD_KAFKA_RESP_ERR__TRANSPORT : error
  }

  private func cause(since milliseconds: Int64) -> FailureCause? {
    FailureCause.find(in: lines(since: milliseconds))
  }

  /// Whether the partition is unknown because a broker could not be reached: newer releases forget
  /// the partitions of such a broker.
  private func isForgotten(_ error: rd_kafka_resp_err_t, since milliseconds: Int64) -> Bool {
    guard error == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
      case .advertisedAddress = cause(since: milliseconds)
    else { return false }
    return true
  }

  /// The newest line that tells of a trouble.
  var lastTrouble: String? { troubles.last }

  /// The first one: what comes after it was caused by it.
  var firstTrouble: String? { troubles.first }

  private var troubles: [String] {
    lines(since: monotonicMilliseconds() - Self.memoryMilliseconds)
      .filter { $0.severity <= 4 && $0.facility != "CONFWARN" }.map(\.text)
  }

  private let undelivered = Mutex<(count: Int, error: rd_kafka_resp_err_t)?>(nil)

  func countFailure(_ error: rd_kafka_resp_err_t) {
    undelivered.withLock { $0 = (($0?.count ?? 0) + 1, $0?.error ?? error) }
  }

  /// How many messages were not delivered, and why the first was not.
  var failures: (count: Int, error: rd_kafka_resp_err_t)? { undelivered.withLock { $0 } }
}
