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

private func monotonicMilliseconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// Reads ranges of one partition from its own librdkafka queue, which stays filled from range to range.
///
/// What it knows: every visible message in `[delivered, position)` was delivered or is parked. The end-of-partition event carries a
/// position too, and comes once per position and never again; so the position is tested before any wait.
final class PartitionReader {
  enum Failure: Error {
    case silence(position: Offset)
    case offsetOutOfRange
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

  init(_ partition: PartitionID, client: OpaquePointer, position: Offset, place: String) throws(KafkaError) {
    guard let queue = rd_kafka_queue_get_partition(client, partition.topic, partition.partition) else {
      throw KafkaError(.other, place: place, reason: "no queue for \(partition.topic)[\(partition.partition)]")
    }
    // Without this, messages would go to the consumer's common queue.
    rd_kafka_queue_forward(queue, nil)
    self.partition = partition
    self.client = client
    self.queue = queue
    self.position = position
    delivered = position
  }

  deinit {
    for message in parked { rd_kafka_message_destroy(message) }
    rd_kafka_queue_destroy(queue)
  }

  /// - Parameter idle: Called when nothing has come for a while.
  func read(
    _ range: OffsetRange, into chunk: MessageChunk, silenceMilliseconds: Int64, idle: () -> Void,
    body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    if range.from < delivered || range.from > position { try seek(to: range.from) }
    // Until this range is done, a failure leaves no position to go on from: the next call seeks.
    delivered = Offset.max
    var count: Int64 = try deliverParked(range, chunk, body)
    var lastHeard = monotonicMilliseconds()
    var waitMilliseconds: Int32 = 5
    while position < range.to {
      let wanted = min(Int64(chunk.capacity), range.to - position)
      var received = rd_kafka_consume_batch_queue(queue, 0, chunk.handles, Int(wanted))
      if received == 0 {
        // For one message only: asked for more, librdkafka waits out the whole time for all of them.
        received = rd_kafka_consume_batch_queue(queue, waitMilliseconds, chunk.handles, 1)
        if received == 0 {
          idle()
          try body(UnsafeBufferPointer(start: nil, count: 0))
          waitMilliseconds = 100
          if monotonicMilliseconds() - lastHeard >= silenceMilliseconds { throw Failure.silence(position: position) }
          continue
        }
      }
      guard received > 0 else { throw Failure.broker(rd_kafka_last_error()) }
      waitMilliseconds = 5
      let reached = position
      count += try deliver(received, range, chunk, body)
      if position > reached { lastHeard = monotonicMilliseconds() }
    }
    delivered = range.to
    return count
  }

  /// Hands over what a call of librdkafka brought, and frees it.
  private func deliver(
    _ received: Int, _ range: OffsetRange, _ chunk: MessageChunk, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    var keptCount = 0
    var failure: Failure?
    for index in 0..<received {
      guard let handle = chunk.handles[index] else { continue }
      let message = handle.pointee
      if message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
        if message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF {
          position = max(position, message.offset)
        } else {
          failure = failure ?? self.failure(message.err)
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
    if let failure { throw failure }
    return Int64(keptCount)
  }

  private func deliverParked(
    _ range: OffsetRange, _ chunk: MessageChunk, _ body: (UnsafeBufferPointer<Message>) throws -> Void
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

  private func failure(_ error: rd_kafka_resp_err_t) -> Failure? {
    switch error {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: return .offsetOutOfRange
    // librdkafka tries these again by itself; the silence deadline ends it.
    case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR_UNKNOWN,
      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
      RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
      return nil
    default: return .broker(error)
    }
  }

  private func seek(to offset: Offset) throws {
    for message in parked { rd_kafka_message_destroy(message) }
    parked.removeAll()
    guard let list = rd_kafka_topic_partition_list_new(1) else { throw Failure.broker(RD_KAFKA_RESP_ERR__FAIL) }
    defer { rd_kafka_topic_partition_list_destroy(list) }
    rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)?.pointee.offset = offset
    if let error = rd_kafka_seek_partitions(client, list, 10_000) {
      let code = rd_kafka_error_code(error)
      rd_kafka_error_destroy(error)
      throw Failure.broker(code)
    }
    let status = list.pointee.elems[0].err
    guard status == RD_KAFKA_RESP_ERR_NO_ERROR else { throw Failure.broker(status) }
    position = offset
    delivered = offset
  }
}
