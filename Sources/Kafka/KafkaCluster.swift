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
  private let events = ClientEvents()
  private let properties: [String: String]
  private let maxOffsetsPerBatch: Int64
  private var client: ClientHandle
  /// What the client's queues and fetches are fitted to.
  private var sizes: FetchSizes
  private var partitionCount = 0
  /// What is fitted to before the number of partitions is known, and for fewer.
  private static let fewPartitions = 6
  private var readers: [PartitionID: PartitionReader] = [:]
  private let chunk = MessageChunk(capacity: 4_096)
  private let wakeup: QueueWakeup

  /// What is wrong with a property, found without a broker and without running any code; nil when
  /// nothing is. Never holds the value, which may be a secret.
  ///
  /// - Parameter allowsCode: The person who starts the command lets the job file name a command
  ///   for Kerberos.
  package static func fault(
    ofProperty name: String, value: String, allowsCode: Bool = false
  ) -> (problem: String, remedy: String)? {
    switch PropertyRules.rule(of: name) {
    case .allowed: break
    case .reserved:
      return (
        "is reserved: \(ClientConfiguration.reserved[name]?.reason ?? "Tranche sets it")",
        "Leave it out"
      )
    // Not even asked: librdkafka loads a plugin's library when its name is set.
    case .loadsCode:
      return ("loads a library into this process, which a job file may not do", "Leave it out")
    case .kerberosCommand where !allowsCode:
      return (
        "names a command that is run, which a job file may not do by itself",
        "Leave it out: by default, kinit renews tickets. To allow this property, pass "
          + "--allow-code-properties to any command except validate"
      )
    case .shellWord where !allowsCode && !PropertyRules.isShellWord(value):
      return (
        "becomes part of a shell's command and is not a plain word",
        "Use letters, digits and -._/@:+,= only, '-' not first. Commands that connect take it "
          + "with --allow-code-properties"
      )
    case .kerberosCommand, .shellWord: break
    case .ofTheProgram:
      return ("is for programs that call librdkafka, not for job files", "Leave it out")
    case .undecided where ClientConfiguration.isKnown(name):
      return (
        "is not known to this release of Tranche, and might load or run code",
        "Leave it out, or use a newer release"
      )
    case .undecided: break
    }
    guard let scratch = ConfigurationHandle() else { return nil }
    return ClientConfiguration.set(name, value, in: scratch).map {
      ($0, "See CONFIGURATION.md of librdkafka for names and values")
    }
  }

  /// Does not connect yet.
  ///
  /// - Parameters:
  ///   - source: The cluster's name in the job file, for messages and ``PartitionID``.
  ///   - maxOffsetsPerBatch: Queues and fetches are fitted to it.
  package init(source: String, properties: [String: String], maxOffsetsPerBatch: Int64)
    throws(KafkaError)
  {
    self.source = source
    guard let wakeup = QueueWakeup() else {
      throw KafkaError(.other, place: "source \(source)", reason: String(cString: strerror(errno)))
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
    let fitting = FetchSizes(
      maxOffsetsPerBatch: maxOffsetsPerBatch,
      partitionCount: max(partitionCount, Self.fewPartitions))
    guard readers.isEmpty, fitting != sizes else { return }
    client = try Self.connect(properties, fitting, events, place: place)
    sizes = fitting
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

  private func partitionCount(of topic: String, _ timeoutMilliseconds: Int32) throws(KafkaError)
    -> Int32
  {
    let place = "\(place), topic \(topic)"
    guard let handle = TopicHandle(topic, of: client) else {
      throw KafkaError(rd_kafka_last_error(), place: place, detail: nil)
    }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    var status = RD_KAFKA_RESP_ERR__TIMED_OUT
    let deadline = monotonicMilliseconds() + Int64(timeoutMilliseconds)
    var leftMilliseconds = Int64(timeoutMilliseconds)
    var sliceMilliseconds: Int64 = 1_000
    events.forgetRefusal()
    repeat {
      // A second, then two, then four, up to sixteen: between the slices a broker's refusal is
      // noticed, which ends the wait.
      status = rd_kafka_metadata(
        client.pointer, 0, handle.pointer, &metadata,
        Int32(max(1, min(leftMilliseconds, sliceMilliseconds))))
      sliceMilliseconds = min(2 * sliceMilliseconds, 16_000)
      leftMilliseconds = deadline - monotonicMilliseconds()
      if status != RD_KAFKA_RESP_ERR_NO_ERROR { serveEvents() }
    } while [RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT].contains(status)
      && leftMilliseconds > 0 && events.refusal == nil
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else {
      throw KafkaError(events.refusal ?? status, place: place, detail: events.last)
    }
    defer { rd_kafka_metadata_destroy(metadata) }
    guard metadata.pointee.topic_cnt == 1, let answer = metadata.pointee.topics?.pointee else {
      throw KafkaError(.unknownTopic, place: place, reason: "the brokers do not know the topic")
    }
    guard answer.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(answer.err, place: place, detail: nil)
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
      maxOffsetsPerBatch: maxOffsetsPerBatch
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
      throw KafkaError(.other, place: place, reason: "there is no memory for the question")
    }
    let status = rd_kafka_offsets_for_times(client.pointer, list.pointer, timeoutMilliseconds)
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else {
      throw KafkaError(status, place: place, detail: events.last)
    }
    var offsets: [PartitionID: Offset] = [:]
    for (index, partition) in partitions.enumerated() {
      let answer = list[index]
      guard answer.error == RD_KAFKA_RESP_ERR_NO_ERROR else {
        throw KafkaError(
          answer.error, place: "\(place), \(partition.topic)[\(partition.partition)]", detail: nil)
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
    guard !new.isEmpty,
      let list = PartitionListHandle(new.map { ($0.partition, $0.from) })
    else { return }
    for range in new {
      // The queue is taken out of the consumer's common one before the assignment starts to fill
      // it.
      readers[range.partition] = try PartitionReader(
        range.partition, client: client, expected: range.range, sizes: sizes, wakeup: wakeup,
        place: place)
    }
    if let error = rd_kafka_incremental_assign(client.pointer, list.pointer) {
      let text = String(cString: rd_kafka_error_string(error))
      rd_kafka_error_destroy(error)
      for range in new { readers[range.partition] = nil }
      throw KafkaError(.other, place: place, reason: text)
    }
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
    if ranges.contains(where: { readers[$0.partition] == nil }) { try prepare(ranges) }
    let active = ranges.map { range -> PartitionReader in
      guard let reader = readers[range.partition] else {
        preconditionFailure("no reader for \(range)")
      }
      return reader
    }
    var current = 0
    do {
      var count: Int64 = 0
      var open: [Int] = []
      for (index, range) in ranges.enumerated() {
        current = index
        count += try active[index].begin(range.range) { try body(.ofRange(index, $0)) }
        if !active[index].isComplete(range.range) { open.append(index) }
      }
      var lastHeard = monotonicMilliseconds()
      var lastServed = lastHeard
      var waitMilliseconds: Int32 = 5
      while !open.isEmpty {
        var (wasQueued, hasMoved) = (false, false)
        for index in open {
          current = index
          let polled = try active[index].poll(ranges[index].range, chunk) {
            try body(.ofRange(index, $0))
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
    let place = "\(place), \(range.partition.topic)[\(range.partition.partition)] \(range.range)"
    switch failure {
    case .silence(let position):
      return KafkaError(
        .unreachable, place: place,
        reason: "no message for too long at offset \(position)"
          + (events.last.map { " (\($0))" } ?? ""))
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
          + (events.last.map { " (\($0))" } ?? ""))
    case .broker(let error):
      return KafkaError(error, place: place, detail: events.last)
    }
  }
}
