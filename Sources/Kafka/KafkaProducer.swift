internal import CRdKafka
internal import Glibc
internal import Synchronization

/// Publishes messages and makes topics: for samples and tests.
package final class KafkaProducer {
  private let place: String
  private let events: ClientEvents
  private let client: ClientHandle

  package init(
    source: String, properties: [String: String], observer: ClientObserver = ClientObserver()
  ) throws(KafkaError) {
    events = ClientEvents(observer)
    place = "source \(source) (\(properties["bootstrap.servers"] ?? "no bootstrap.servers"))"
    client = try ClientConfiguration.makeClient(
      RD_KAFKA_PRODUCER, properties, fixed: [],
      defaults: [("linger.ms", "5"), ("client.id", "tranche"), ("message.timeout.ms", "60000")],
      events: events, place: place)
  }

  /// Queues a message; waits while the queue is full.
  ///
  /// - Parameters:
  ///   - key: Nil for none.
  ///   - value: Nil for a null value.
  ///   - timestampMilliseconds: Nil for now.
  package func send(
    topic: String, partition: Int32, key: [UInt8]?, value: [UInt8]?, timestampMilliseconds: Int64?
  ) throws(KafkaError) {
    while true {
      let status = key.withBytes { keyBytes, keyCount in
        value.withBytes { valueBytes, valueCount in
          tranche_produce(
            client.pointer, topic, partition, keyBytes, keyCount, valueBytes, valueCount,
            timestampMilliseconds ?? -1)
        }
      }
      if status == RD_KAFKA_RESP_ERR_NO_ERROR { break }
      guard status == RD_KAFKA_RESP_ERR__QUEUE_FULL else {
        throw KafkaError(status, place: "\(place), \(topic)[\(partition)]")
      }
      rd_kafka_poll(client.pointer, 50)
    }
    rd_kafka_poll(client.pointer, 0)
  }

  /// Waits until everything is delivered.
  ///
  /// - Throws: ``KafkaError`` when a message was not.
  package func flush(timeoutMilliseconds: Int32) throws(KafkaError) {
    let asked = monotonicMilliseconds()
    let status = rd_kafka_flush(client.pointer, timeoutMilliseconds)
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(status, place: place, events: events, askedAtMilliseconds: asked)
    }
    if let (count, error) = events.failures {
      throw KafkaError(error, place: place, detail: "\(count) messages were not delivered")
    }
  }

  /// Makes a topic and waits for it.
  package func createTopic(name: String, partitions: Int32, timeoutMilliseconds: Int32)
    throws(KafkaError)
  {
    var message = [CChar](repeating: 0, count: 512)
    guard let queue = QueueHandle(answersOf: client),
      var topic = rd_kafka_NewTopic_new(name, partitions, 1, &message, message.count)
        as OpaquePointer?
    else {
      throw KafkaError(
        .other, place: "\(place), topic \(name)", reason: "the topic cannot be described")
    }
    defer { rd_kafka_NewTopic_destroy(topic) }
    withUnsafeMutablePointer(to: &topic) { pointer in
      pointer.withMemoryRebound(to: OpaquePointer?.self, capacity: 1) {
        rd_kafka_CreateTopics(client.pointer, $0, 1, nil, queue.pointer)
      }
    }
    let asked = monotonicMilliseconds()
    guard let event = rd_kafka_queue_poll(queue.pointer, timeoutMilliseconds) else {
      throw KafkaError(
        RD_KAFKA_RESP_ERR__TIMED_OUT, place: "\(place), topic \(name)", events: events,
        askedAtMilliseconds: asked)
    }
    defer { rd_kafka_event_destroy(event) }
    var status = rd_kafka_event_error(event)
    var count = 0
    if status == RD_KAFKA_RESP_ERR_NO_ERROR, let result = rd_kafka_event_CreateTopics_result(event),
      let topics = rd_kafka_CreateTopics_result_topics(result, &count), count > 0
    {
      status = rd_kafka_topic_result_error(topics[0])
    }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR || status == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS
    else {
      throw KafkaError(
        status, place: "\(place), topic \(name)", events: events, askedAtMilliseconds: asked)
    }
  }
}

extension [UInt8]? {
  /// No address for nil, and an address for no bytes: Kafka tells null from empty.
  fileprivate func withBytes<Result>(_ body: (UnsafeRawPointer?, Int) -> Result) -> Result {
    guard let bytes = self else { return body(nil, 0) }
    return bytes.withUnsafeBytes { buffer in
      withUnsafeBytes(of: 0 as UInt8) { body(buffer.baseAddress ?? $0.baseAddress, buffer.count) }
    }
  }
}
