internal import CRdKafka
internal import Glibc
internal import Offsets

/// librdkafka's configuration while it is filled; a client that is made of it takes it over.
struct ConfigurationHandle: ~Copyable {
  let pointer: OpaquePointer

  /// Nil where there is no memory.
  init?() {
    guard let pointer = rd_kafka_conf_new() else { return nil }
    self.pointer = pointer
  }

  deinit { rd_kafka_conf_destroy(pointer) }

  /// Makes a client, whose callbacks tell `events` what happens.
  ///
  /// - Throws: ``CreationFailure`` with librdkafka's words.
  consuming func makeClient(
    _ type: rd_kafka_type_t, events: ClientEvents
  ) throws(CreationFailure) -> ClientHandle {
    rd_kafka_conf_set_opaque(pointer, Unmanaged.passUnretained(events).toOpaque())
    rd_kafka_conf_set_log_cb(pointer) { client, severity, facility, text in
      guard let client, let facility, let text else { return }
      ClientEvents.of(client)?.hear(
        ClientLogLine(
          severity: severity, facility: String(cString: facility), raw: String(cString: text)))
    }
    rd_kafka_conf_set_error_cb(pointer) { client, error, text, _ in
      // "1/1 brokers are down" explains nothing.
      guard let client, let text, error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN.rawValue
      else { return }
      ClientEvents.of(client)?.hear(
        ClientLogLine(severity: 3, facility: "FAIL", raw: String(cString: text)))
    }
    if type == RD_KAFKA_PRODUCER {
      rd_kafka_conf_set_dr_msg_cb(pointer) { client, message, _ in
        guard let client, let message, message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR
        else { return }
        ClientEvents.of(client)?.countFailure(message.pointee.err)
      }
    }
    var words = [CChar](repeating: 0, count: 512)
    guard let client = rd_kafka_new(type, pointer, &words, words.count) else {
      let isLack = rd_kafka_last_error() == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
      let text = words.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
      _ = consume self
      throw CreationFailure(reason: text ?? "", isLackOfResources: isLack)
    }
    // The client has taken the configuration over.
    discard self
    return ClientHandle(adopting: client, type, events)
  }

  struct CreationFailure: Error {
    let reason: String
    /// Of threads or memory; else a property is wrong.
    let isLackOfResources: Bool
  }
}

/// One librdkafka client. What depends on it holds it, so that it is destroyed last.
final class ClientHandle {
  let pointer: OpaquePointer
  /// Lent to the callbacks, which librdkafka may call until it is destroyed.
  private let events: ClientEvents
  private let isConsumer: Bool

  fileprivate init(
    adopting pointer: OpaquePointer, _ type: rd_kafka_type_t, _ events: ClientEvents
  ) {
    self.pointer = pointer
    self.events = events
    isConsumer = type == RD_KAFKA_CONSUMER
  }

  deinit {
    // Not rd_kafka_consumer_close: there is no group to leave, and closing would wait for one.
    rd_kafka_destroy_flags(pointer, isConsumer ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0)
  }
}

/// Keeps its client alive.
struct TopicHandle: ~Copyable {
  let pointer: OpaquePointer
  private let client: ClientHandle

  /// Nil where `rd_kafka_last_error` says why.
  init?(_ name: String, of client: ClientHandle) {
    guard let pointer = rd_kafka_topic_new(client.pointer, name, nil) else { return nil }
    self.pointer = pointer
    self.client = client
  }

  deinit { rd_kafka_topic_destroy(pointer) }
}

/// Keeps its client alive, and the wakeup that hangs on it.
struct QueueHandle: ~Copyable {
  let pointer: OpaquePointer
  private let client: ClientHandle
  private let wakeup: QueueWakeup?

  /// A partition's own queue. Nil where librdkafka gives none.
  ///
  /// - Parameter wakeup: Rung when messages come into the empty queue.
  init?(of partition: PartitionID, _ client: ClientHandle, wakeup: QueueWakeup) {
    guard
      let pointer = rd_kafka_queue_get_partition(
        client.pointer, partition.topic, partition.partition)
    else { return nil }
    // Without this, messages would go to the consumer's common queue.
    rd_kafka_queue_forward(pointer, nil)
    var one: UInt64 = 1
    rd_kafka_queue_io_event_enable(
      pointer, wakeup.descriptor, &one, MemoryLayout<UInt64>.size)
    self.pointer = pointer
    self.client = client
    self.wakeup = wakeup
  }

  /// A queue for answers. Nil where librdkafka gives none.
  init?(answersOf client: ClientHandle) {
    guard let pointer = rd_kafka_queue_new(client.pointer) else { return nil }
    self.pointer = pointer
    self.client = client
    wakeup = nil
  }

  deinit {
    // No more rings: the wakeup may be gone before librdkafka's threads are.
    if wakeup != nil { rd_kafka_queue_io_event_enable(pointer, -1, nil, 0) }
    rd_kafka_queue_destroy(pointer)
  }
}

/// Lets one thread wait for many queues: librdkafka writes to an eventfd when something comes into
/// an empty one.
///
/// - SeeAlso: rdkafka.h, `rd_kafka_queue_io_event_enable`; eventfd(2).
final class QueueWakeup {
  fileprivate let descriptor: Int32

  /// Nil where `errno` says why.
  init?() {
    descriptor = tranche_eventfd()
    if descriptor < 0 { return nil }
  }

  deinit { close(descriptor) }

  /// False when nothing came in time.
  func wait(milliseconds: Int32) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&request, 1, milliseconds) > 0 else { return false }
    var count: UInt64 = 0
    _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    return true
  }
}

/// Some partitions, each with an offset that is asked for or answered.
struct PartitionListHandle: ~Copyable {
  let pointer: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

  /// Nil where there is no memory.
  ///
  /// - Parameter metadata: What is committed beside each offset; nil for nothing.
  init?(_ items: [(partition: PartitionID, offset: Offset)], metadata: String? = nil) {
    guard let pointer = rd_kafka_topic_partition_list_new(Int32(items.count)) else { return nil }
    self.pointer = pointer
    for (partition, offset) in items {
      guard
        let item = rd_kafka_topic_partition_list_add(
          pointer, partition.topic, partition.partition)
      else { continue }
      item.pointee.offset = offset
      if let metadata {
        // The list frees it.
        item.pointee.metadata = UnsafeMutableRawPointer(strdup(metadata))
        item.pointee.metadata_size = metadata.utf8.count
      }
    }
  }

  deinit { rd_kafka_topic_partition_list_destroy(pointer) }

  /// Asks for the same offset of all, as the list's first question did.
  func setOffsets(_ offset: Offset) {
    for index in 0..<Int(pointer.pointee.cnt) {
      pointer.pointee.elems[index].offset = offset
      pointer.pointee.elems[index].err = RD_KAFKA_RESP_ERR_NO_ERROR
    }
  }

  /// What came of the partition at a position.
  subscript(index: Int) -> (offset: Offset, error: rd_kafka_resp_err_t) {
    (pointer.pointee.elems[index].offset, pointer.pointee.elems[index].err)
  }

  /// What is committed beside the offset at a position.
  func metadata(_ index: Int) -> String {
    let item = pointer.pointee.elems[index]
    guard let bytes = item.metadata else { return "" }
    return String(
      decoding: UnsafeRawBufferPointer(start: bytes, count: item.metadata_size), as: UTF8.self)
  }
}

/// One message. Its holder also holds the client, so the client outlives it.
struct MessageHandle: ~Copyable {
  let pointer: UnsafeMutablePointer<rd_kafka_message_t>

  fileprivate init(adopting pointer: UnsafeMutablePointer<rd_kafka_message_t>) {
    self.pointer = pointer
  }

  deinit { rd_kafka_message_destroy(pointer) }

  var offset: Offset { pointer.pointee.offset }

  /// Lends the message for the length of a call.
  borrowing func withView<Result>(_ body: (Message) throws -> Result) rethrows -> Result {
    try body(view(pointer))
  }
}

private func view(_ handle: UnsafeMutablePointer<rd_kafka_message_t>) -> Message {
  let message = handle.pointee
  var timestampType = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
  let timestamp = rd_kafka_message_timestamp(handle, &timestampType)
  let hasTimestamp = timestampType != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0
  return Message(
    offset: message.offset, timestampMilliseconds: hasTimestamp ? timestamp : nil,
    key: message.key.map { UnsafeRawBufferPointer(start: $0, count: message.key_len) },
    value: message.payload.map { UnsafeRawBufferPointer(start: $0, count: message.len) },
    headers: MessageHeaders(of: handle, readHeaders))
}

/// librdkafka parses a message's headers when it is asked for them first; most jobs never ask.
private func readHeaders(
  _ message: UnsafeRawPointer, at position: Int, into target: UnsafeMutableRawPointer
) -> Bool {
  var headers: OpaquePointer?
  var name: UnsafePointer<CChar>?
  var value: UnsafeRawPointer?
  var count = 0
  guard
    rd_kafka_message_headers(
      message.assumingMemoryBound(to: rd_kafka_message_t.self), &headers)
      == RD_KAFKA_RESP_ERR_NO_ERROR,
    let headers,
    rd_kafka_header_get_all(headers, position, &name, &value, &count)
      == RD_KAFKA_RESP_ERR_NO_ERROR,
    let name
  else { return false }
  target.assumingMemoryBound(to: MessageHeaders.Lent?.self).pointee = MessageHeaders.Lent(
    name: UnsafeRawBufferPointer(start: name, count: strlen(name)),
    value: value.map { UnsafeRawBufferPointer(start: $0, count: count) })
  return true
}

/// What one call of librdkafka brought: messages, or errors in their place. Used again and again.
final class MessageChunk {
  let capacity: Int
  private(set) var count = 0
  private let handles: UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
  private let views: UnsafeMutablePointer<Message>
  private var viewCount = 0

  init(capacity: Int) {
    self.capacity = capacity
    handles = .allocate(capacity: capacity)
    handles.initialize(repeating: nil, count: capacity)
    views = .allocate(capacity: capacity)
  }

  deinit {
    removeAll()
    handles.deallocate()
    views.deallocate()
  }

  /// Takes what is queued now; waits for nothing.
  ///
  /// - Returns: Whether librdkafka answered; else `rd_kafka_last_error` says why not.
  func receive(from queue: borrowing QueueHandle, atMost limit: Int64) -> Bool {
    removeAll()
    let wanted = Int(min(Int64(capacity), limit))
    let received = rd_kafka_consume_batch_queue(queue.pointer, 0, handles, wanted)
    count = max(0, received)
    return received >= 0
  }

  /// The message, or the error, at a position.
  subscript(index: Int) -> rd_kafka_message_t? { handles[index]?.pointee }

  /// Gives the message at a position away.
  func take(_ index: Int) -> MessageHandle? {
    guard let handle = handles[index] else { return nil }
    handles[index] = nil
    return MessageHandle(adopting: handle)
  }

  /// Chooses the message at a position to be lent.
  func choose(_ index: Int) {
    guard let handle = handles[index] else { return }
    views[viewCount] = view(handle)
    viewCount += 1
  }

  /// The chosen messages, until the next call of `receive` or `removeAll`.
  var chosen: UnsafeBufferPointer<Message> { UnsafeBufferPointer(start: views, count: viewCount) }

  /// Frees what was not given away.
  func removeAll() {
    for index in 0..<count {
      if let handle = handles[index] { rd_kafka_message_destroy(handle) }
      handles[index] = nil
    }
    (count, viewCount) = (0, 0)
  }
}

/// Messages that wait for their range; ascending. Keeps their client alive.
struct ParkedMessages: ~Copyable {
  private var handles: [UnsafeMutablePointer<rd_kafka_message_t>] = []
  private let client: ClientHandle

  init(of client: ClientHandle) { self.client = client }

  deinit { for handle in handles { rd_kafka_message_destroy(handle) } }

  var isEmpty: Bool { handles.isEmpty }

  mutating func append(_ message: consuming MessageHandle) { handles.append(message.release()) }

  /// The first message, if it lies below an offset.
  mutating func takeFirst(below end: Offset) -> MessageHandle? {
    guard let handle = handles.first, handle.pointee.offset < end else { return nil }
    handles.removeFirst()
    return MessageHandle(adopting: handle)
  }

  mutating func removeAll() {
    for handle in handles { rd_kafka_message_destroy(handle) }
    handles.removeAll()
  }
}

extension MessageHandle {
  /// Gives the message to another owner.
  fileprivate consuming func release() -> UnsafeMutablePointer<rd_kafka_message_t> {
    let pointer = pointer
    discard self
    return pointer
  }
}
