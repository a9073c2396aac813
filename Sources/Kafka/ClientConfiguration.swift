internal import CRdKafka
internal import Glibc

/// Builds librdkafka's configuration: the user's properties, the reserved ones, and our defaults
/// where the user sets nothing.
enum ClientConfiguration {
  /// Set by Tranche, and why a job file may not.
  static let reserved: [String: (value: String, reason: String)] = [
    "group.id": (
      "tranche", "no consumer group decides what is read: progress is in the checkpoint"
    ),
    "auto.offset.reset": (
      "error",
      "a lost offset must be an error, never a silent jump; use source.start and "
        + "source.on_data_loss"
    ),
    "enable.auto.commit": ("false", "progress is committed with the results, in the checkpoint"),
    "enable.auto.offset.store": (
      "false", "progress is committed with the results, in the checkpoint"
    ),
    "enable.partition.eof": (
      "true", "the reader needs the end of a partition to know that a range is covered"
    ),
    "allow.auto.create.topics": ("false", "reading must never make a topic"),
  ]

  /// Whether a user's own properties say how much one answer of a broker may hold.
  static func areFetchesSized(by properties: [String: String]) -> Bool {
    // librdkafka refuses a client whose fetches are longer than receive.message.max.bytes.
    [
      "message.max.bytes", "fetch.max.bytes", "fetch.message.max.bytes",
      "max.partition.fetch.bytes", "receive.message.max.bytes",
    ].contains { properties[$0] != nil }
  }

  /// Defaults that let small batches flow. An older librdkafka ignores a property that it does not
  /// know.
  static func consumerDefaults(_ sizes: FetchSizes, for properties: [String: String]) -> [(
    String, String
  )] {
    // A fetch may be no smaller than the largest message, so the three go together; a message that
    // is larger comes alone.
    let fetchSizes = [
      ("message.max.bytes", String(sizes.fetchBytes)),
      ("fetch.max.bytes", String(sizes.fetchBytes)),
      ("fetch.message.max.bytes", String(sizes.fetchBytesPerPartition)),
    ]
    return (areFetchesSized(by: properties) ? [] : fetchSizes) + [
      ("isolation.level", "read_committed"), ("fetch.wait.max.ms", "10"),
      ("fetch.queue.backoff.ms", "1"), ("check.crcs", "true"),
      ("queued.min.messages", String(sizes.queuedMessagesPerPartition)),
      ("queued.max.messages.kbytes", String(sizes.queuedKilobytesPerPartition)),
      // librdkafka waits half of this before it connects to a second broker, which every run does:
      // the one of the bootstrap list is let go as soon as it has named the cluster's. With the
      // default of 100 a cold start would take 50 ms more.
      ("reconnect.backoff.ms", "20"),
      // Below the time-outs of our questions, so that an address that swallows packets is named.
      ("socket.connection.setup.timeout.ms", "10000"),
      ("socket.keepalive.enable", "true"), ("client.id", "tranche"),
    ]
  }

  static func make(
    _ properties: [String: String], fixed: [(String, String)], defaults: [(String, String)],
    place: String
  ) throws(KafkaError) -> ConfigurationHandle {
    guard let configuration = ConfigurationHandle() else {
      throw KafkaError(.lackOfResources, place: place, reason: "there is no memory for a client")
    }
    for (name, value) in defaults where properties[name] == nil {
      _ = set(name, value, in: configuration)
    }
    for (name, value) in properties.sorted(by: { $0.key < $1.key }) {
      if let problem = set(name, value, in: configuration) {
        throw KafkaError(.badProperty, place: "\(place), property \(name)", reason: problem)
      }
    }
    for (name, value) in fixed { _ = set(name, value, in: configuration) }
    return configuration
  }

  /// Makes a client of these properties.
  static func makeClient(
    _ type: rd_kafka_type_t, _ properties: [String: String], fixed: [(String, String)],
    defaults: [(String, String)], events: ClientEvents, place: String
  ) throws(KafkaError) -> ClientHandle {
    let configuration = try make(properties, fixed: fixed, defaults: defaults, place: place)
    if let problem = LocalResources.problem {
      throw KafkaError(.lackOfResources, place: place, reason: problem)
    }
    do { return try configuration.makeClient(type, events: events) } catch {
      if error.isLackOfResources {
        throw KafkaError(.lackOfResources, place: place, reason: error.reason)
      }
      // The log says more than OpenSSL's last word: which file is not there.
      let detail = events.firstTrouble.map { " (\($0))" } ?? ""
      throw KafkaError(.badProperty, place: place, reason: error.reason + detail)
    }
  }

  /// Whether librdkafka has a property of this name, found without setting it.
  static func isKnown(_ name: String) -> Bool {
    var byteCount = 0
    guard let configuration = ConfigurationHandle(), let topic = rd_kafka_topic_conf_new() else {
      return true
    }
    defer { rd_kafka_topic_conf_destroy(topic) }
    return rd_kafka_conf_get(configuration.pointer, name, nil, &byteCount) != RD_KAFKA_CONF_UNKNOWN
      || rd_kafka_topic_conf_get(topic, name, nil, &byteCount) != RD_KAFKA_CONF_UNKNOWN
  }

  /// What librdkafka says of a property that it was built without.
  static let notInThisBuild = "not supported in this build"

  /// What is wrong with a property, without its value, which may be a secret.
  static func set(
    _ name: String, _ value: String, in configuration: borrowing ConfigurationHandle
  ) -> String? {
    var message = [CChar](repeating: 0, count: 512)
    switch rd_kafka_conf_set(configuration.pointer, name, value, &message, message.count) {
    case RD_KAFKA_CONF_OK: return nil
    case RD_KAFKA_CONF_UNKNOWN:
      return "librdkafka \(String(cString: rd_kafka_version_str())) has no such property"
    default:
      let words = message.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
      // Names no value.
      if let words, words.contains(notInThisBuild) { return "\(words)" }
      return "librdkafka refuses the value"
    }
  }
}

/// How much a client fetches ahead, by what the batches take.
///
/// With librdkafka's own sizes, a batch of 1,000 offsets out of a deep backlog prefetches a hundred
/// megabytes that are thrown away. A queued message takes some 320 bytes beside its own, so queues
/// are limited by messages as well as by bytes; short ones do where librdkafka looks again after a
/// millisecond (fetch.queue.backoff.ms).
struct FetchSizes: Equatable {
  /// Of one answer of a broker.
  let fetchBytes: Int64
  /// Of it, of one partition. However short a queue is, it is filled by as much at a time, so that
  /// many partitions get less.
  let fetchBytesPerPartition: Int64
  let queuedMessagesPerPartition: Int64
  let queuedKilobytesPerPartition: Int64
  /// Of messages that are handed over before their range is read.
  let aheadBytesPerPartition: Int

  static let shortMessageBytes: Int64 = 64
  private static let longestFetchBytes: Int64 = 2 << 20

  /// - Parameter messageBytes: Of a message with its key, about; the first fetches are fitted to
  ///   short ones.
  init(
    maxOffsetsPerBatch: Int64, partitionCount: Int, messageBytes: Int64 = Self.shortMessageBytes
  ) {
    let partitionCount = Int64(partitionCount)
    fetchBytes = min(
      min(max(maxOffsetsPerBatch, 1_024), 2_048) * messageBytes, Self.longestFetchBytes)
    // Not below what producers put into a batch: a broker sends a batch that is larger only where
    // it is the first of an answer.
    let fetchBytesOfAll = min(16_384 * messageBytes, Self.longestFetchBytes)
    fetchBytesPerPartition = min(fetchBytes, max(32_768, fetchBytesOfAll / partitionCount))
    // This batch's share and the next one's.
    let share = 2 * (maxOffsetsPerBatch / partitionCount + 1)
    queuedMessagesPerPartition = min(max(share, 1_000), max(100, 12_000 / partitionCount))
    queuedKilobytesPerPartition = max(64, 32_768 / partitionCount)
    aheadBytesPerPartition = Int(max(65_536, 8_388_608 / partitionCount))
  }
}
