internal import CRdKafka
internal import Escaping
package import Offsets

/// What went wrong between us and a cluster. No property value but the brokers' addresses is ever
/// part of it.
package struct KafkaError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    case unreachable
    /// Authentication or authorization.
    case refused
    case unknownTopic
    /// The broker no longer holds the start of the range.
    case truncated(oldestHeld: Offset)
    /// The range begins beyond the end of the log.
    case beyondEnd(PartitionID, end: Offset)
    /// A batch of messages, as a producer sent it, that cannot be decompressed or is damaged.
    case undecodable(PartitionID, baseOffset: Offset)
    case badProperty
    /// This machine gives no more threads, memory or open files.
    case lackOfResources
    case other
  }
  package let code: Code
  /// Nil where the log says none.
  package let cause: FailureCause?
  /// `source main (localhost:9092)`, with the topic, partition or range where there is one.
  package let place: String
  /// librdkafka's words, or ours.
  package let reason: String

  /// What happened, and where. What to do about it is said in `Reports`.
  package var description: String { "\(place): \(reason)" }

  init(_ code: Code, place: String, reason: String, cause: FailureCause? = nil) {
    self.code = code
    self.cause = cause
    self.place = ForeignText.quoted(place, byteLimit: 1_000)
    self.reason = ForeignText.quoted(reason, byteLimit: 1_000)
  }

  /// From one of librdkafka's error codes.
  ///
  /// - Parameter detail: What is known besides.
  init(_ error: rd_kafka_resp_err_t, place: String, detail: String? = nil) {
    let text = String(cString: rd_kafka_err2str(error))
    self.init(Self.code(of: error), place: place, reason: detail.map { "\(text) (\($0))" } ?? text)
  }

  /// From the error code of a question that was not answered; the client's log says why.
  init(
    _ error: rd_kafka_resp_err_t, place: String, events: ClientEvents,
    askedAtMilliseconds: Int64
  ) {
    let code = Self.code(of: error)
    switch code {
    case .unreachable, .refused:
      // A broker's own refusal is not explained by a connection.
      let isOfBroker = error.rawValue > 0 && code == .refused
      if !isOfBroker, let cause = events.cause(ofQuestionAt: askedAtMilliseconds) {
        self.init(cause.code, place: place, reason: cause.description, cause: cause)
        return
      }
      self.init(error, place: place, detail: isOfBroker ? nil : events.lastTrouble)
    default: self.init(error, place: place)
    }
  }

  /// Whether the same question may be answered a moment later.
  static func isPassing(_ error: rd_kafka_resp_err_t) -> Bool { code(of: error) == .unreachable }

  private static func code(of error: rd_kafka_resp_err_t) -> Code {
    switch error {
    case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TIMED_OUT,
      RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__RESOLVE,
      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
      RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
      RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
      RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
      .unreachable
    case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
      RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
      RD_KAFKA_RESP_ERR__SSL:
      .refused
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
      RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
      RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      .unknownTopic
    case RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE: .lackOfResources
    // RD_KAFKA_RESP_ERR__DESTROY_BROKER of newer releases: the broker of the moment is given up.
    case _ where error.rawValue == -137: .unreachable
    default: .other
    }
  }
}

extension PartitionID {
  /// `orders[3]`, where the source is named already.
  var inSource: String { "\(topic)[\(partition)]" }
}
