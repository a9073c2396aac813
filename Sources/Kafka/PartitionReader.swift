internal import CRdKafka
internal import Glibc
internal import Offsets

func monotonicMilliseconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

/// Reads ranges of one partition from its own librdkafka queue, which stays filled from range to
/// range.
///
/// ``ReadAhead`` says up to where messages were handed over; every visible message between there
/// and the position is parked. The end-of-partition event carries a position too, and comes once
/// per position and never again; so the position is tested before any wait.
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
  private let client: ClientHandle
  private let queue: QueueHandle
  private var ahead: ReadAhead
  /// The first offset that may still come.
  private(set) var position: Offset
  /// Messages at or beyond the end of the range during which they came.
  private var parked: ParkedMessages
  /// The failure that lies at the position instead of a message. It fails the first range that goes
  /// beyond.
  private var failureAtPosition: Failure?

  /// - Parameter wakeup: Rung when messages come into an empty queue.
  init(
    _ partition: PartitionID, client: ClientHandle, expected: OffsetRange, sizes: FetchSizes,
    wakeup: QueueWakeup, place: String
  ) throws(KafkaError) {
    guard let queue = QueueHandle(of: partition, client, wakeup: wakeup) else {
      throw KafkaError(
        .other, place: place, reason: "no queue for \(partition.inSource)")
    }
    self.partition = partition
    self.client = client
    self.queue = queue
    ahead = ReadAhead(
      expected: expected, queueCount: sizes.queuedMessagesPerPartition,
      byteLimit: sizes.aheadBytesPerPartition)
    position = expected.from
    parked = ParkedMessages(of: client)
  }

  /// Says which range will be read: now, or after the one that is read now.
  func expect(_ range: OffsetRange) { ahead.expected = range }

  /// Begins a range: seeks to its start where the reader is not there, and hands over what was
  /// parked of it.
  func begin(
    _ range: OffsetRange, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    if !ahead.goesOn(at: range.from, position: position) { try seek(to: range.from) }
    ahead.begin()
    let count = try deliverParked(range, body)
    try raiseFailure(in: range)
    return count
  }

  /// Whether every message of the range has been handed over; then the next range may begin at its
  /// end.
  func isComplete(_ range: OffsetRange) -> Bool {
    guard position >= range.to else { return false }
    ahead.settle(at: range.to)
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
    guard chunk.receive(from: queue, atMost: range.to - position) else {
      throw Failure.broker(rd_kafka_last_error())
    }
    if chunk.count == 0 { return (0, false, false) }
    let reached = position
    let count = try deliver(range, chunk, body)
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
    guard parked.isEmpty, failureAtPosition == nil,
      case let wanted = ahead.wantedCount(behind: range, position: position), wanted > 0,
      chunk.receive(from: queue, atMost: wanted), chunk.count > 0
    else { return false }
    try ahead.handOver { expected in
      var next: Offset?
      var byteCount = 0
      _ = try deliver(expected, chunk) { messages in
        try body(messages)
        next = messages.last.map { $0.offset + 1 }
        // A record takes some room in its columns, however short its message is.
        for message in messages { byteCount += 64 + message.byteCount }
      }
      return (next, byteCount)
    }
    return true
  }

  /// A failure that names the offset for which the reader waits.
  func silence() -> Failure { .silence(position: position) }

  private func raiseFailure(in range: OffsetRange) throws {
    guard let failure = failureAtPosition, position < range.to else { return }
    failureAtPosition = nil
    throw failure
  }

  /// Hands over what a call of librdkafka brought, and frees it; keeps the first failure.
  private func deliver(
    _ range: OffsetRange, _ chunk: MessageChunk,
    _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    defer { chunk.removeAll() }
    for index in 0..<chunk.count {
      guard let message = chunk[index] else { continue }
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
        if let handle = chunk.take(index) { parked.append(handle) }
        continue
      }
      chunk.choose(index)
    }
    let chosen = chunk.chosen
    if !chosen.isEmpty { try body(chosen) }
    return Int64(chosen.count)
  }

  private func deliverParked(
    _ range: OffsetRange, _ body: (UnsafeBufferPointer<Message>) throws -> Void
  ) throws -> Int64 {
    var count: Int64 = 0
    while let message = parked.takeFirst(below: range.to) {
      guard message.offset >= range.from else { continue }
      try message.withView { view in
        try withUnsafePointer(to: view) { try body(UnsafeBufferPointer(start: $0, count: 1)) }
      }
      count += 1
    }
    return count
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
    parked.removeAll()
    failureAtPosition = nil
    ahead.begin()
    guard let list = PartitionListHandle([(partition, offset)]) else {
      throw Failure.broker(RD_KAFKA_RESP_ERR__FAIL)
    }
    // Before 2.2 it takes milliseconds for microseconds (librdkafka's pull request 4230), and ten
    // of them are too few for a busy machine.
    let milliseconds: Int32 = rd_kafka_version() < 0x0202_0000 ? 10_000_000 : 10_000
    try check(rd_kafka_seek_partitions(client.pointer, list.pointer, milliseconds))
    switch list[0].error {
    case RD_KAFKA_RESP_ERR_NO_ERROR: break
    case RD_KAFKA_RESP_ERR__STATE: try assignAgain(list)
    case let status: throw Failure.broker(status)
    }
    position = offset
    ahead.settle(at: offset)
  }

  /// librdkafka stops fetching a partition whose offset was out of range, and cannot seek in it.
  private func assignAgain(_ list: borrowing PartitionListHandle) throws {
    try check(rd_kafka_incremental_unassign(client.pointer, list.pointer))
    // The error event, where it was not read yet.
    while let event = rd_kafka_consume_queue(queue.pointer, 0) { rd_kafka_message_destroy(event) }
    try check(rd_kafka_incremental_assign(client.pointer, list.pointer))
  }

  private func check(_ error: OpaquePointer?) throws {
    guard let error else { return }
    let code = rd_kafka_error_code(error)
    rd_kafka_error_destroy(error)
    throw Failure.broker(code)
  }
}
