internal import CRdKafka
internal import Glibc
internal import Offsets

/// Room for the messages of one call, used again and again.
final class MessageChunk {
  let capacity: Int
  let handles: UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
  let messages: UnsafeMutablePointer<Message>

  init(capacity: Int) {
    self.capacity = capacity
    handles = .allocate(capacity: capacity)
    handles.initialize(repeating: nil, count: capacity)
    messages = .allocate(capacity: capacity)
  }

  deinit {
    handles.deallocate()
    messages.deallocate()
  }
}

func monotonicMilliseconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// Lets one thread wait for many queues: librdkafka writes to an eventfd when something comes into
/// an empty one.
///
/// - SeeAlso: rdkafka.h, `rd_kafka_queue_io_event_enable`; eventfd(2).
final class QueueWakeup {
  private let descriptor: Int32

  init?() {
    descriptor = tranche_eventfd()
    if descriptor < 0 { return nil }
  }

  deinit { close(descriptor) }

  func hang(on queue: OpaquePointer) {
    var one: UInt64 = 1
    rd_kafka_queue_io_event_enable(queue, descriptor, &one, MemoryLayout<UInt64>.size)
  }

  /// False when nothing came in time.
  func wait(milliseconds: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&request, 1, milliseconds) > 0 else { return false }
    var count: UInt64 = 0
    _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    return true
  }
}

/// Reads ranges of one partition from its own librdkafka queue, which stays filled from range to
/// range.
///
/// What it knows: every visible message in `[delivered, position)` was delivered or is parked. The
/// end-of-partition event carries a position too, and comes once per position and never again; so
/// the position is tested before any wait.
final class PartitionReader {
  enum Failure: Error {
    case silence(position: Offset)
    case offsetOutOfRange
    /// librdkafka names no more than the first offset of the batch as its producer sent it, and
    /// fetches it again for ever.
    case undecodable(baseOffset: Offset)
    case broker(rd_kafka_resp_err_t)
  }

  private let partition: PartitionID
  private let client: OpaquePointer
  private let queue: OpaquePointer
  /// The end of the last range that was read.
  private var delivered: Offset
  /// The first offset that may still come.
  private var position: Offset
  /// Messages at or beyond the end of the range during which they came; ascending.
  private var parked: [UnsafeMutablePointer<rd_kafka_message_t>] = []
  /// What stands at the position instead of a message; it concerns the first range that goes
  /// beyond.
  private var failureAtPosition: Failure?
  /// The last range of which it is known that it will be read.
  var expected: OffsetRange
  private var aheadByteCount = 0
  private let sizes: FetchSizes

  /// - Parameter wakeup: Rung when messages come into an empty queue.
  init(
    _ partition: PartitionID, client: OpaquePointer, expected: OffsetRange, sizes: FetchSizes,
    wakeup: QueueWakeup, place: String
  ) throws(KafkaError) {
    guard let queue = rd_kafka_queue_get_partition(client, partition.topic, partition.partition)
    else {
      throw KafkaError(
        .other, place: place, reason: "no queue for \(partition.topic)[\(partition.partition)]")
    }
    // Without this, messages would go to the consumer's common queue.
    rd_kafka_queue_forward(queue, nil)
    wakeup.hang(on: queue)
    self.partition = partition
    self.client = client
    self.queue = queue
    self.expected = expected
    self.sizes = sizes
    position = expected.from
    delivered = expected.from
  }

  deinit {
    for message in parked { rd_kafka_message_destroy(message) }
    // No more rings: the wakeup may be gone before librdkafka's threads are.
    rd_kafka_queue_io_event_enable(queue, -1, nil, 0)
    rd_kafka_queue_destroy(queue)
  }

  /// Begins a range: goes back or ahead to its start where the reader is not there, and hands over
  /// what was parked of it.
  func begin(
    _ range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    if range.from < delivered || range.from > position { try seek(to: range.from) }
    // Until this range is done, a failure leaves no position to go on from: the next call seeks.
    delivered = Offset.max
    aheadByteCount = 0
    let count = try deliverParked(range, chunk, body)
    try raiseFailure(in: range)
    return count
  }

  /// Whether every message of the range has been handed over; then the next range may begin at its
  /// end.
  func isComplete(_ range: OffsetRange) -> Bool {
    guard position >= range.to else { return false }
    delivered = range.to
    return true
  }

  /// Hands over what of the range is queued now, in the order of the offsets; waits for nothing.
  ///
  /// - Returns: Messages handed over; whether anything was queued at all, if only an error that
  ///   passes; whether it came nearer to the range's end.
  func poll(
    _ range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> (count: Int64, wasQueued: Bool, hasMoved: Bool) {
    let wanted = min(Int64(chunk.capacity), range.to - position)
    let received = rd_kafka_consume_batch_queue(queue, 0, chunk.handles, Int(wanted))
    guard received >= 0 else { throw Failure.broker(rd_kafka_last_error()) }
    if received == 0 { return (0, false, false) }
    let reached = position
    let count = try deliver(received, range, chunk, body)
    try raiseFailure(in: range)
    return (count, true, position > reached)
  }

  /// Hands over what is queued behind a complete range, of the range that is expected there, where
  /// that is longer than the queue; waits for nothing.
  ///
  /// - Returns: Whether anything was queued.
  func pollAhead(
    of range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Bool {
    // Until a range is complete, `delivered` is beyond everything. Where the expected range begins
    // elsewhere, a gap lies between.
    guard
      expected.from == range.to, (expected.from...expected.to).contains(delivered),
      expected.count > sizes.queuedMessagesPerPartition,
      position < expected.to, parked.isEmpty, failureAtPosition == nil,
      aheadByteCount < sizes.aheadBytesPerPartition
    else { return false }
    let wanted = min(Int64(chunk.capacity), expected.to - position)
    let received = rd_kafka_consume_batch_queue(queue, 0, chunk.handles, Int(wanted))
    guard received > 0 else { return false }
    let start = delivered
    delivered = Offset.max
    var end = start
    _ = try deliver(received, expected, chunk) { messages in
      try body(messages)
      // A record takes some room in its columns, however short its message is.
      for message in messages { aheadByteCount += 64 + message.byteCount }
      end = (messages.last?.offset ?? start - 1) + 1
    }
    delivered = end
    return true
  }

  /// The offset that it waits for.
  func silence() -> Failure { .silence(position: position) }

  private func raiseFailure(in range: OffsetRange) throws {
    guard let failure = failureAtPosition, position < range.to else { return }
    failureAtPosition = nil
    throw failure
  }

  /// Hands over what a call of librdkafka brought, and frees it; keeps the first failure.
  private func deliver(
    _ received: Int, _ range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    var keptCount = 0
    for index in 0..<received {
      guard let handle = chunk.handles[index] else { continue }
      let message = handle.pointee
      if message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
        if message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF {
          position = max(position, message.offset)
        } else {
          let failure = failure(message.err, at: message.offset)
          // All below the damaged batch has come, holes included: it concerns no range that ends
          // there.
          if case .undecodable(let baseOffset) = failure, failureAtPosition == nil {
            position = max(position, baseOffset)
          }
          failureAtPosition = failureAtPosition ?? failure
        }
        continue
      }
      // Below the position: a duplicate.
      if message.offset < position { continue }
      position = message.offset + 1
      if message.offset >= range.to {
        parked.append(handle)
        chunk.handles[index] = nil
        continue
      }
      chunk.messages[keptCount] = view(handle)
      keptCount += 1
    }
    defer {
      for index in 0..<received {
        if let handle = chunk.handles[index] { rd_kafka_message_destroy(handle) }
        chunk.handles[index] = nil
      }
    }
    if keptCount > 0 { try body(UnsafeBufferPointer(start: chunk.messages, count: keptCount)) }
    return Int64(keptCount)
  }

  private func deliverParked(
    _ range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    var count: Int64 = 0
    while let handle = parked.first, handle.pointee.offset < range.to {
      parked.removeFirst()
      defer { rd_kafka_message_destroy(handle) }
      guard handle.pointee.offset >= range.from else { continue }
      chunk.messages[0] = view(handle)
      try body(UnsafeBufferPointer(start: chunk.messages, count: 1))
      count += 1
    }
    return count
  }

  private func view(_ handle: UnsafeMutablePointer<rd_kafka_message_t>) -> Message {
    let message = handle.pointee
    var timestampType = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
    let timestamp = rd_kafka_message_timestamp(handle, &timestampType)
    return Message(
      offset: message.offset,
      timestampMilliseconds: timestampType == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
      key: message.key.map { UnsafeRawBufferPointer(start: $0, count: message.key_len) },
      value: message.payload.map { UnsafeRawBufferPointer(start: $0, count: message.len) })
  }

  private func failure(_ error: rd_kafka_resp_err_t, at offset: Offset) -> Failure? {
    switch error {
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION, RD_KAFKA_RESP_ERR__BAD_MSG,
      RD_KAFKA_RESP_ERR_INVALID_MSG,
      RD_KAFKA_RESP_ERR__UNDERFLOW:
      return .undecodable(baseOffset: max(0, offset))
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      return .offsetOutOfRange
    // librdkafka tries these again by itself; the silence deadline ends it.
    case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
      RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR_UNKNOWN,
      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
      RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
      RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
      return nil
    default: return .broker(error)
    }
  }

  private func seek(to offset: Offset) throws {
    for message in parked { rd_kafka_message_destroy(message) }
    parked.removeAll()
    failureAtPosition = nil
    // Until this has succeeded, there is no position to go on from.
    delivered = Offset.max
    guard let list = rd_kafka_topic_partition_list_new(1) else {
      throw Failure.broker(RD_KAFKA_RESP_ERR__FAIL)
    }
    defer { rd_kafka_topic_partition_list_destroy(list) }
    rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)?.pointee.offset =
      offset
    try check(rd_kafka_seek_partitions(client, list, 10_000))
    switch list.pointee.elems[0].err {
    case RD_KAFKA_RESP_ERR_NO_ERROR: break
    case RD_KAFKA_RESP_ERR__STATE: try assignAnew(list)
    case let status: throw Failure.broker(status)
    }
    position = offset
    delivered = offset
  }

  /// librdkafka stops to fetch a partition whose offset was out of range, and cannot seek in it.
  private func assignAnew(_ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) throws {
    try check(rd_kafka_incremental_unassign(client, list))
    // The error that told of it, where it was not read yet.
    while let event = rd_kafka_consume_queue(queue, 0) { rd_kafka_message_destroy(event) }
    try check(rd_kafka_incremental_assign(client, list))
  }

  private func check(_ error: OpaquePointer?) throws {
    guard let error else { return }
    let code = rd_kafka_error_code(error)
    rd_kafka_error_destroy(error)
    throw Failure.broker(code)
  }
}
