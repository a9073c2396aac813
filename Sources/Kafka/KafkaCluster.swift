internal import CRdKafka
internal import Glibc
package import Offsets

/// Between which offsets a partition can be read.
package struct PartitionEnds: Sendable, Equatable {
  package let low: Offset
  /// Under read_committed the last stable offset, else the high watermark.
  package let end: Offset
}

/// One Kafka cluster, read through one librdkafka consumer without a group: metadata, ends and
/// fixed ranges of offsets.
///
/// Used from one thread. Every call has a deadline.
/// - SeeAlso: docs/design.md, "Where a range ends"; librdkafka's CONFIGURATION.md.
package final class KafkaCluster {
  private let source: String
  private let place: String
  private let events: ClientEvents
  private let properties: [String: String]
  private let maxOffsetsPerBatch: Int64
  private var client: ClientHandle
  /// What the client's queues and fetches are fitted to.
  private(set) var sizes: FetchSizes
  /// Of a message of the last read, on the average of some.
  private var readMessageBytes: Int64 = 0
  private var messageBytes = FetchSizes.shortMessageBytes
  private var partitionCount = 0
  /// What is fitted to before the number of partitions is known, and for fewer.
  private static let fewPartitions = 6
  private var readers: [PartitionID: PartitionReader] = [:]
  private let chunk = MessageChunk(capacity: 4_096)
  private let wakeup: QueueWakeup

  /// Whether the value of a property is the path of a file that must be there.
  package static func namesFile(_ name: String, value: String) -> Bool {
    PropertyRules.namesFile(name, value: value)
  }

  /// Whether the value of a property is a secret, which no file should hold.
  package static func holdsSecret(_ name: String) -> Bool { PropertyRules.isSecret(name) }

  /// Does not connect yet.
  ///
  /// - Parameters:
  ///   - source: The cluster's name in the job file, for messages and ``PartitionID``.
  ///   - maxOffsetsPerBatch: Queues and fetches are fitted to it.
  package init(
    source: String, properties: [String: String], maxOffsetsPerBatch: Int64,
    observer: ClientObserver = ClientObserver()
  ) throws(KafkaError) {
    self.source = source
    events = ClientEvents(observer)
    guard let wakeup = QueueWakeup() else {
      throw KafkaError(
        .lackOfResources, place: "source \(source)", reason: String(cString: strerror(errno)))
    }
    self.wakeup = wakeup
    self.properties = properties
    self.maxOffsetsPerBatch = maxOffsetsPerBatch
    place = "source \(source) (\(properties["bootstrap.servers"] ?? "no bootstrap.servers"))"
    sizes = FetchSizes(maxOffsetsPerBatch: maxOffsetsPerBatch, partitionCount: Self.fewPartitions)
    client = try Self.connect(properties, sizes, events, place: place)
  }

  private static func connect(
    _ properties: [String: String], _ sizes: FetchSizes, _ events: ClientEvents, place: String
  ) throws(KafkaError) -> ClientHandle {
    let client = try ClientConfiguration.makeClient(
      RD_KAFKA_CONSUMER, properties,
      fixed: ClientConfiguration.reserved.map { ($0.key, $0.value.value) },
      defaults: ClientConfiguration.consumerDefaults(sizes, for: properties), events: events,
      place: place)
    // Errors and statistics of the client come with the consumer's queue.
    rd_kafka_poll_set_consumer(client.pointer)
    return client
  }

  /// Replaces the client where the topics have so many partitions that their queues, each sized
  /// for a few partitions, would fill the memory.
  ///
  /// librdkafka limits the queue of each partition and nothing limits their sum; the limits are
  /// fixed when a client is made.
  private func fit() throws(KafkaError) {
    guard readers.isEmpty else { return }
    try reconnect(fittedTo: messageBytes)
  }

  /// Replaces the client where messages are so much longer than what its fetches are fitted to that
  /// each would bring but few. What is queued is fetched again.
  ///
  /// - Parameter bytes: Of a message that was read, on the average.
  private func fit(toMessagesOf bytes: Int64) throws(KafkaError) {
    guard bytes >= 4 * messageBytes, !ClientConfiguration.areFetchesSized(by: properties) else {
      return
    }
    try reconnect(fittedTo: bytes)
    messageBytes = bytes
  }

  private func reconnect(fittedTo messageBytes: Int64) throws(KafkaError) {
    let fitting = FetchSizes(
      maxOffsetsPerBatch: maxOffsetsPerBatch,
      partitionCount: max(partitionCount, Self.fewPartitions), messageBytes: messageBytes)
    guard fitting != sizes else { return }
    let fitted = try Self.connect(properties, fitting, events, place: place)
    // Their queues are of the client that is replaced.
    readers = [:]
    (client, sizes) = (fitted, fitting)
  }

  // MARK: - Metadata

  /// Nil where the brokers report none.
  package func clusterID(timeoutMilliseconds: Int32) throws(KafkaError) -> String? {
    guard let identifier = rd_kafka_clusterid(client.pointer, timeoutMilliseconds) else {
      // The call does not tell "none" from "unreachable"; the questions that follow do.
      return nil
    }
    defer { rd_kafka_mem_free(client.pointer, identifier) }
    let text = String(cString: identifier)
    return text.isEmpty ? nil : text
  }

  /// - Throws: ``KafkaError``; a topic that does not exist is an error that names it.
  package func partitionCounts(of topics: [String], timeoutMilliseconds: Int32) throws(KafkaError)
    -> [String: Int32]
  {
    var counts: [String: Int32] = [:]
    for topic in topics { counts[topic] = try partitionCount(of: topic, timeoutMilliseconds) }
    partitionCount = counts.values.reduce(0) { $0 + Int($1) }
    return counts
  }

  /// Asks the brokers until they answer, the time is over, or it is known that waiting does not
  /// help.
  ///
  /// - Parameter question: Takes a time-out. The first is a second, so that a person is told what
  ///   is waited for. If a broker has the question then, the next takes all the time that is left,
  ///   because a broker answers the questions of a connection one after the other. While there is
  ///   no broker to ask, two seconds follow, then four, up to sixteen, so that a lasting cause is
  ///   noticed.
  private func ask(
    _ timeoutMilliseconds: Int32, _ question: (Int32) -> rd_kafka_resp_err_t
  ) -> rd_kafka_resp_err_t {
    let asked = monotonicMilliseconds()
    let deadline = asked + Int64(timeoutMilliseconds)
    var sliceMilliseconds: Int64 = 1_000
    var isAtBroker = false
    var isWaitTold = false
    while true {
      let began = monotonicMilliseconds()
      let limit = isAtBroker ? deadline - began : min(deadline - began, sliceMilliseconds)
      let status = question(Int32(max(1, limit)))
      if status == RD_KAFKA_RESP_ERR_NO_ERROR
        || !events.mayPass(status, ofQuestionAt: asked)
      {
        return status
      }
      serveEvents()
      let now = monotonicMilliseconds()
      if now >= deadline || events.lastingCause(ofQuestionAt: asked) != nil {
        return events.meaning(of: status, ofQuestionAt: asked)
      }
      if !isWaitTold && now - asked >= 900 {
        isWaitTold = true
        tellWait(askedAtMilliseconds: asked, for: "")
      }
      // Some errors come at once.
      if now - began < 100 { _ = wakeup.wait(milliseconds: 100) }
      // While no broker can be asked the error is another.
      isAtBroker = status == RD_KAFKA_RESP_ERR__TIMED_OUT
      if now - began >= sliceMilliseconds { sliceMilliseconds = min(2 * sliceMilliseconds, 16_000) }
    }
  }

  private func tellWait(askedAtMilliseconds: Int64, for what: String) {
    let brokers = properties["bootstrap.servers"] ?? ""
    let reason =
      switch events.cause(ofQuestionAt: askedAtMilliseconds) {
      case .noConnection(brokers, let problem): problem
      case let cause: cause?.description ?? "no answer yet"
      }
    events.observer.waits("\(what)brokers \(brokers): \(reason)")
  }

  private func partitionCount(of topic: String, _ timeoutMilliseconds: Int32) throws(KafkaError)
    -> Int32
  {
    let place = "\(place), topic \(topic)"
    guard let handle = TopicHandle(topic, of: client) else {
      throw KafkaError(rd_kafka_last_error(), place: place)
    }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let asked = monotonicMilliseconds()
    let status = ask(timeoutMilliseconds) {
      rd_kafka_metadata(client.pointer, 0, handle.pointer, &metadata, $0)
    }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
      throw KafkaError(status, place: place, events: events, askedAtMilliseconds: asked)
    }
    defer { rd_kafka_metadata_destroy(metadata) }
    guard metadata.pointee.topic_cnt == 1, let answer = metadata.pointee.topics?.pointee else {
      throw KafkaError(.unknownTopic, place: place, reason: "the brokers do not know the topic")
    }
    guard answer.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(answer.err, place: place)
    }
    guard answer.partition_cnt > 0 else {
      throw KafkaError(.unknownTopic, place: place, reason: "the topic has no partitions")
    }
    return answer.partition_cnt
  }

  /// Asks for both ends of all partitions in two calls.
  package func ends(of partitions: [PartitionID], timeoutMilliseconds: Int32) throws(KafkaError)
    -> [PartitionID: PartitionEnds]
  {
    let lows = try listOffsets(.earliest, of: partitions, timeoutMilliseconds)
    let ends = try listOffsets(.latest, of: partitions, timeoutMilliseconds)
    return Dictionary(
      uniqueKeysWithValues: partitions.map { partition in
        let low = lows[partition] ?? 0
        return (partition, PartitionEnds(low: low, end: max(low, ends[partition] ?? low)))
      })
  }

  /// The offset after the newest there is, open transactions or not. Takes a client of its own, as
  /// the isolation level is a client's.
  package func highWatermarks(of partitions: [PartitionID], timeoutMilliseconds: Int32)
    throws(KafkaError) -> [PartitionID: Offset]
  {
    let uncommitted = try KafkaCluster(
      source: source,
      properties: properties.merging(["isolation.level": "read_uncommitted"]) { $1 },
      maxOffsetsPerBatch: maxOffsetsPerBatch, observer: events.observer
    )
    return try uncommitted.listOffsets(.latest, of: partitions, timeoutMilliseconds)
  }

  /// The first offset at or after an instant, or the end when there is none.
  package func offsets(
    at timestampMilliseconds: Int64, of partitions: [PartitionID], timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [PartitionID: Offset] {
    let found = try listOffsets(
      .at(milliseconds: max(0, timestampMilliseconds)), of: partitions, timeoutMilliseconds)
    let ends = try listOffsets(.latest, of: partitions, timeoutMilliseconds)
    return Dictionary(
      uniqueKeysWithValues: partitions.map { partition in
        (partition, found[partition] ?? ends[partition] ?? 0)
      })
  }

  /// What a partition is asked for.
  private enum ListedOffset {
    case earliest
    /// Under read_committed the last stable offset.
    case latest
    /// The first at or after an instant since 1970.
    case at(milliseconds: Int64)

    /// As the Kafka protocol's ListOffsets writes it.
    var timestamp: Int64 {
      switch self {
      case .earliest: -2
      case .latest: -1
      case .at(let milliseconds): milliseconds
      }
    }
  }

  /// - Returns: Nothing for a partition where there is no such offset.
  private func listOffsets(
    _ wanted: ListedOffset, of partitions: [PartitionID], _ timeoutMilliseconds: Int32
  ) throws(KafkaError) -> [PartitionID: Offset] {
    guard !partitions.isEmpty else { return [:] }
    guard let list = PartitionListHandle(partitions.map { ($0, wanted.timestamp) }) else {
      throw KafkaError(.lackOfResources, place: place, reason: "there is no memory for a list")
    }
    let asked = monotonicMilliseconds()
    let status = ask(timeoutMilliseconds) {
      list.setOffsets(wanted.timestamp)
      let status = rd_kafka_offsets_for_times(client.pointer, list.pointer, $0)
      guard status == RD_KAFKA_RESP_ERR_NO_ERROR else { return status }
      let errors = partitions.indices.lazy.map { list[$0].error }
      return errors.first(where: KafkaError.isPassing)
        ?? errors.first { $0 == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION } ?? status
    }
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      let failed = partitions.indices.first { list[$0].error == status }.map { partitions[$0] }
      throw KafkaError(
        status, place: failed.map { "\(place), \($0.inSource)" } ?? place,
        events: events, askedAtMilliseconds: asked)
    }
    var offsets: [PartitionID: Offset] = [:]
    for (index, partition) in partitions.enumerated() {
      let answer = list[index]
      guard answer.error == RD_KAFKA_RESP_ERR_NO_ERROR else {
        throw KafkaError(answer.error, place: "\(place), \(partition.inSource)")
      }
      if answer.offset >= 0 { offsets[partition] = answer.offset }
    }
    return offsets
  }

  // MARK: - Ranges

  /// Announces which ranges will be read: now, or after those that are read now. Partitions that
  /// are not assigned yet are assigned, so that all are fetched while the first is read. Messages
  /// of later ranges may be handed over ahead.
  package func prepare(_ ranges: [PartitionRange]) throws(KafkaError) {
    try fit()
    for range in ranges { readers[range.partition]?.expect(range.range) }
    let new = ranges.filter { readers[$0.partition] == nil }
    guard !new.isEmpty else { return }
    guard let list = PartitionListHandle(new.map { ($0.partition, $0.from) }) else {
      throw KafkaError(.lackOfResources, place: place, reason: "there is no memory for a list")
    }
    var added: [PartitionID: PartitionReader] = [:]
    for range in new {
      // The queue is taken out of the consumer's common one before the assignment starts to fill
      // it.
      added[range.partition] = try PartitionReader(
        range.partition, client: client, expected: range.range, sizes: sizes, wakeup: wakeup,
        place: place)
    }
    if let error = rd_kafka_incremental_assign(client.pointer, list.pointer) {
      let text = String(cString: rd_kafka_error_string(error))
      rd_kafka_error_destroy(error)
      throw KafkaError(.other, place: place, reason: text)
    }
    readers.merge(added) { $1 }
  }

  /// Reads one fixed range of each of some partitions, all of it.
  ///
  /// The partition that has messages is read next, so that no queue fills while the reader waits
  /// for another. Within a partition, messages come in the order of their offsets. While none of
  /// the ranges has messages, those behind a complete range are handed over ahead, if
  /// ``prepare(_:)`` announced their range. A later read goes on behind them. Any other read seeks.
  ///
  /// - Parameters:
  ///   - ranges: Of different partitions. Half-open offsets: `from` is delivered; what is at `to`
  ///     or behind it comes ahead or not at all. May be empty.
  ///   - silenceMilliseconds: Longest wait without a new message of any of them.
  ///   - body: Gets messages whose bytes die when it returns; copy what must live. Called with
  ///     `.nothing` now and then while none come.
  /// - Returns: Messages of the ranges. Fewer than the ranges' counts is normal: compaction and
  ///   control records leave holes.
  /// - Throws: ``KafkaError``, or what `body` throws; the ranges can be read again from their
  ///   starts then.
  package func read(
    _ ranges: [PartitionRange], silenceMilliseconds: Int64,
    body: (LentMessages) throws -> Void
  ) throws -> Int64 {
    try fit(toMessagesOf: readMessageBytes)
    if ranges.contains(where: { readers[$0.partition] == nil }) { try prepare(ranges) }
    let active = ranges.map { range -> PartitionReader in
      guard let reader = readers[range.partition] else {
        preconditionFailure("no reader for \(range)")
      }
      return reader
    }
    var current = 0
    var sample: (bytes: Int64, count: Int64) = (0, 0)
    func lend(_ messages: UnsafeBufferPointer<Message>, ofRange index: Int) throws {
      if let first = messages.first {
        sample.bytes += Int64(first.byteCount * messages.count)
        sample.count += Int64(messages.count)
      }
      try body(.ofRange(index, messages))
    }
    defer { if sample.count > 0 { readMessageBytes = sample.bytes / sample.count } }
    do {
      var count: Int64 = 0
      var open: [Int] = []
      for (index, range) in ranges.enumerated() {
        current = index
        count += try active[index].begin(range.range) { try lend($0, ofRange: index) }
        if !active[index].isComplete(range.range) { open.append(index) }
      }
      var lastHeard = monotonicMilliseconds()
      var lastServed = lastHeard
      var isWaitTold = false
      var waitMilliseconds: Int32 = 5
      while !open.isEmpty {
        var (wasQueued, hasMoved) = (false, false)
        for index in open {
          current = index
          let polled = try active[index].poll(ranges[index].range, chunk) {
            try lend($0, ofRange: index)
          }
          count += polled.count
          wasQueued = wasQueued || polled.wasQueued
          hasMoved = hasMoved || polled.hasMoved
        }
        open.removeAll { active[$0].isComplete(ranges[$0].range) }
        if hasMoved {
          lastHeard = monotonicMilliseconds()
          waitMilliseconds = 5
          continue
        }
        guard let first = open.first else { break }
        // Instead of sleeping.
        if !wasQueued {
          for index in active.indices {
            let isQueued = try active[index].pollAhead(of: ranges[index].range, chunk) {
              try body(.ahead(behindRange: index, $0))
            }
            wasQueued = wasQueued || isQueued
          }
        }
        current = first
        if !wasQueued { _ = wakeup.wait(milliseconds: waitMilliseconds) }
        // By the clock: what comes for others rings the wakeup as well.
        let now = monotonicMilliseconds()
        if now - max(lastHeard, lastServed) >= Int64(waitMilliseconds) {
          serve(open.map { ranges[$0].partition })
          try body(.nothing)
          lastServed = monotonicMilliseconds()
          waitMilliseconds = 100
          if !isWaitTold && lastServed - lastHeard >= 1_500 {
            isWaitTold = true
            let partition = ranges[first].partition
            tellWait(
              askedAtMilliseconds: lastHeard,
              for: "\(partition.inSource) at offset \(active[first].position), ")
          }
        }
        // Errors that pass and come again are not messages.
        if monotonicMilliseconds() - lastHeard >= silenceMilliseconds {
          throw active[first].silence()
        }
      }
      return count
    } catch let error as PartitionReader.Failure {
      throw explain(error, ranges[current])
    }
  }

  /// Finds the first messages of a range that cannot be decoded, and where decoding can go on.
  ///
  /// A fetch from inside a batch brings the whole batch, so the place where the same batch no
  /// longer comes is found by halving.
  /// - Returns: From the damaged batch's first offset, or the range's start where that lies inside,
  ///   to the first offset behind it; nil where all of the range decodes.
  /// - Throws: ``KafkaError`` for anything else that goes wrong.
  package func undecodable(in range: PartitionRange, silenceMilliseconds: Int64) throws
    -> OffsetRange?
  {
    guard let base = try damage(in: range, silenceMilliseconds) else { return nil }
    let first = max(base, range.from)
    // Damaged at `bad`, another batch or the end at `good`.
    var (bad, good) = (first, range.to)
    while good - bad > 1 {
      let middle = bad + (good - bad) / 2
      let one = PartitionRange(range.partition, OffsetRange(from: middle, to: middle + 1))
      if try damage(in: one, silenceMilliseconds) == base { bad = middle } else { good = middle }
    }
    return OffsetRange(from: first, to: good)
  }

  /// The base offset of the first batch in a range that cannot be decoded.
  private func damage(in range: PartitionRange, _ silenceMilliseconds: Int64) throws -> Offset? {
    do {
      _ = try read([range], silenceMilliseconds: silenceMilliseconds) { _ in }
      return nil
    } catch let error as KafkaError {
      guard case .undecodable(_, let baseOffset) = error.code else { throw error }
      return baseOffset
    }
  }

  /// Serves the client's callbacks while a reader waits.
  ///
  /// Before 2.2 librdkafka, once a queue has been full, looks again after a second, whatever was
  /// taken out meanwhile: a question to the partitions' leaders wakes the threads that would
  /// otherwise sleep. Newer ones are told by fetch.queue.backoff.ms.
  private func serve(_ partitions: [PartitionID]) {
    serveEvents()
    // Not rd_kafka_query_watermark_offsets, which in these versions has no end while no broker can
    // be reached.
    if rd_kafka_version() < 0x0202_0000 { _ = try? listOffsets(.latest, of: partitions, 100) }
  }

  private func serveEvents() {
    while let event = rd_kafka_consumer_poll(client.pointer, 0) { rd_kafka_message_destroy(event) }
  }

  private func explain(_ failure: PartitionReader.Failure, _ range: PartitionRange) -> KafkaError {
    let place = "\(place), \(range.partition.inSource) \(range.range)"
    switch failure {
    case .silence(let position):
      let cause = events.cause(ofQuestionAt: monotonicMilliseconds())
      return KafkaError(
        cause?.code ?? .unreachable, place: place,
        reason: "no message for too long at offset \(position)"
          + ((cause?.description ?? events.lastTrouble).map { ": \($0)" } ?? ""), cause: cause)
    case .offsetOutOfRange:
      let ends = try? ends(of: [range.partition], timeoutMilliseconds: 10_000)[range.partition]
      guard let ends else {
        return KafkaError(
          .unreachable, place: place, reason: "the offset is out of range and the ends are unknown")
      }
      if range.from < ends.low {
        return KafkaError(
          .truncated(oldestHeld: ends.low), place: place,
          reason: "the broker no longer holds these offsets; it starts at \(ends.low)")
      }
      if range.to > ends.end {
        return KafkaError(
          .beyondEnd(range.partition, end: ends.end), place: place,
          reason: "the log ends at \(ends.end)")
      }
      return KafkaError(
        .unreachable, place: place,
        reason:
          "a broker called the offset out of range while the log is \(ends.low) to \(ends.end)")
    case .undecodable(let baseOffset):
      return KafkaError(
        .undecodable(range.partition, baseOffset: baseOffset), place: place,
        reason: "the messages from offset \(baseOffset) on cannot be decompressed or are damaged"
          + (events.lastTrouble.map { " (\($0))" } ?? ""))
    case .broker(let error):
      return KafkaError(
        error, place: place, events: events, askedAtMilliseconds: monotonicMilliseconds())
    }
  }
}
