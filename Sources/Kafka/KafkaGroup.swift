internal import CRdKafka
package import Offsets

/// A consumer group that nobody here takes part in: its offsets are read and committed from
/// outside, for others to see. None of them decides what is read.
///
/// It has a client of its own, as a group is a client's, and one that is told of an unknown member
/// gives its partitions up. It does not use the Admin API: where a group's coordinator goes away,
/// librdkafka 2.0.2 ends the process there (an assertion of its `eonce`).
package final class KafkaGroup {
  package let name: String
  private let source: String
  private let place: String
  private let events: ClientEvents
  private let client: ClientHandle
  private let answers: QueueHandle
  /// How long a client that is let go waits for a commit without an answer.
  private static let session = (name: "session.timeout.ms", milliseconds: "3000")

  /// Does not connect yet.
  package init(
    _ name: String, source: String, properties: [String: String],
    observer: ClientObserver = ClientObserver()
  ) throws(KafkaError) {
    self.name = name
    self.source = source
    place =
      "source \(source) (\(properties["bootstrap.servers"] ?? "no bootstrap.servers")), "
      + "group \(name)"
    events = ClientEvents(observer)
    let fixed = ClientConfiguration.reserved.map { ($0.key, $0.value.value) }
    client = try ClientConfiguration.makeClient(
      RD_KAFKA_CONSUMER, properties.filter { $0.key != "group.instance.id" },
      fixed: fixed + [("group.id", name), (Self.session.name, Self.session.milliseconds)],
      defaults: [("client.id", "tranche"), ("reconnect.backoff.ms", "20")], events: events,
      place: place)
    rd_kafka_poll_set_consumer(client.pointer)
    guard let answers = QueueHandle(answersOf: client) else {
      throw KafkaError(.lackOfResources, place: place, reason: "there is no memory for a queue")
    }
    self.answers = answers
  }

  /// - Returns: Nothing for a partition of which nothing is committed.
  package func committed(
    of partitions: [PartitionID], timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [PartitionID: CommittedOffset] {
    let list = try list(partitions.map { ($0, 0) })
    let asked = monotonicMilliseconds()
    var status: rd_kafka_resp_err_t
    // A little at a time: why there is no coordinator is told beside, and the call waits for one.
    repeat {
      status = rd_kafka_committed(client.pointer, list.pointer, 200)
      if status != RD_KAFKA_RESP_ERR_NO_ERROR, let refusal = refusal { status = refusal }
    } while KafkaError.isPassing(status) && events.lastingCause(ofQuestionAt: asked) == nil
      && monotonicMilliseconds() - asked < Int64(timeoutMilliseconds)
    try check(status, askedAtMilliseconds: asked)
    var committed: [PartitionID: CommittedOffset] = [:]
    for (index, partition) in partitions.enumerated() {
      try check(list[index].error, askedAtMilliseconds: asked)
      guard list[index].offset >= 0 else { continue }
      committed[partition] = CommittedOffset(list[index].offset, metadata: list.metadata(index))
    }
    return committed
  }

  /// - Parameter metadata: What is written beside each offset.
  /// - Returns: Whether they are committed: brokers refuse it while consumers take part in the
  ///   group.
  package func commit(
    _ offsets: [PartitionID: Offset], metadata: String, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Bool {
    let list = try list(
      offsets.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, metadata: metadata)
    let asked = monotonicMilliseconds()
    let sent = rd_kafka_commit_queue(client.pointer, list.pointer, answers.pointer, nil, nil)
    try check(sent, askedAtMilliseconds: asked)
    let event = rd_kafka_queue_poll(answers.pointer, timeoutMilliseconds)
    defer { if let event { rd_kafka_event_destroy(event) } }
    let status = event.map { rd_kafka_event_error($0) } ?? RD_KAFKA_RESP_ERR__TIMED_OUT
    if status == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID { return false }
    try check(status, askedAtMilliseconds: asked)
    return true
  }

  private func list(
    _ items: [(PartitionID, Offset)], metadata: String? = nil
  ) throws(KafkaError) -> PartitionListHandle {
    guard let list = PartitionListHandle(items, metadata: metadata) else {
      throw KafkaError(.lackOfResources, place: place, reason: "there is no memory for a list")
    }
    return list
  }

  /// Of the brokers, about the group or the user.
  private var refusal: rd_kafka_resp_err_t? {
    var refusal: rd_kafka_resp_err_t?
    while let event = rd_kafka_consumer_poll(client.pointer, 0) {
      if event.pointee.err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED {
        refusal = event.pointee.err
      }
      rd_kafka_message_destroy(event)
    }
    return refusal
  }

  private func check(
    _ status: rd_kafka_resp_err_t, askedAtMilliseconds asked: Int64
  ) throws(KafkaError) {
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(status, place: place, events: events, askedAtMilliseconds: asked)
    }
  }
}
