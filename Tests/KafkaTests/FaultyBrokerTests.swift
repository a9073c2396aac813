import Offsets
import TestSupport
import Testing

@testable import Kafka

/// What a real broker cannot be made to show on demand, shown by librdkafka's mock cluster.
@Suite("A ranged read from a cluster in trouble", .serialized)
struct FaultyBrokerTests {
  private let mock: MockCluster
  private let count: Int64 = 3_000

  /// A topic of one partition, led by broker 1, with some thousand records.
  init() throws {
    mock = try MockCluster(TestStack())
    try mock.tell("create t 1")
    try mock.tell("leader t 0 1")
    let producer = try KafkaProducer(
      source: "test", properties: ["bootstrap.servers": mock.brokers, "batch.num.messages": "100"])
    for index in 0..<count {
      try producer.send(
        topic: "t", partition: 0, key: nil, value: Array("\(index)".utf8),
        timestampMilliseconds: nil)
    }
    try producer.flush(timeoutMilliseconds: 20_000)
  }

  private func cluster(_ properties: [String: String] = [:]) throws -> KafkaCluster {
    // Small fetches, so that there is more than one to disturb.
    let own = [
      "bootstrap.servers": mock.brokers, "queued.min.messages": "100",
      "reconnect.backoff.max.ms": "100",
    ]
    return try KafkaCluster(
      source: "main", properties: own.merging(properties) { $1 }, maxOffsetsPerBatch: 100)
  }

  /// Reads everything in batches of 100 offsets, doing something before one of them.
  private func readAll(
    _ cluster: KafkaCluster, silenceMilliseconds: Int64 = 20_000, at disturbedBatch: Int64,
    _ disturb: () throws -> Void
  )
    throws
  {
    var next: Int64 = 0
    for from in stride(from: 0, to: count, by: 100) {
      if from == disturbedBatch * 100 { try disturb() }
      let range = PartitionRange(
        PartitionID(source: "main", topic: "t", partition: 0),
        OffsetRange(from: from, to: from + 100))
      _ = try cluster.read(range, silenceMilliseconds: silenceMilliseconds) { messages in
        for message in messages {
          #expect(message.offset == next)
          #expect(message.value.map { String(decoding: $0, as: UTF8.self) } == "\(next)")
          next += 1
        }
      }
      #expect(next == from + 100)
    }
  }

  @Test("misses and repeats nothing when the leader moves")
  func leaderMoves() throws { try readAll(try cluster(), at: 7) { try mock.tell("leader t 0 2") } }

  @Test("misses and repeats nothing when the leader is gone for a while")
  func leaderDown() throws {
    try readAll(try cluster(), at: 5) {
      try mock.tell("down 1")
      try mock.tell("up 1")
    }
  }

  @Test(
    "goes on after errors that pass",
    arguments: [
      (6, "NOT_LEADER_FOR_PARTITION"), (3, "UNKNOWN_TOPIC_OR_PART"), (5, "LEADER_NOT_AVAILABLE"),
      (7, "REQUEST_TIMED_OUT"),
      (74, "FENCED_LEADER_EPOCH"), (-1, "UNKNOWN"),
    ])
  func passingErrors(code: Int, name: String) throws {
    try readAll(try cluster(), at: 3) { try mock.tell("errors 1 \(code) \(code)") }
  }

  @Test("is refused with the topic's name when the right to read is taken away")
  func authorization() throws {
    #expect {
      try readAll(try cluster(), at: 2) {
        try mock.tell("errors 1 \(Array(repeating: "29", count: 20).joined(separator: " "))")
      }
    } throws: {
      ($0 as? KafkaError)?.code == .refused && "\($0)".contains("t[0]")
    }
  }

  @Test("ends with the offset it waits for when a broker falls silent, and can go on later")
  func silence() throws {
    let cluster = try cluster()
    #expect {
      try readAll(cluster, silenceMilliseconds: 500, at: 4) {
        for broker in 1...3 { try mock.tell("down \(broker)") }
      }
    } throws: {
      ($0 as? KafkaError)?.code == .unreachable
        && "\($0)".contains("no message for too long at offset")
    }
    for broker in 1...3 { try mock.tell("up \(broker)") }
    try readAll(cluster, at: -1) {}
  }

  @Test("ends as well where a broker answers, and always with an error")
  func endlessErrors() throws {
    let errors = Array(repeating: "-1", count: 60).joined(separator: " ")
    #expect {
      try readAll(try cluster(), silenceMilliseconds: 2_000, at: 4) {
        for _ in 0..<40 { try mock.tell("errors 1 \(errors)") }
      }
    } throws: {
      ($0 as? KafkaError)?.code == .unreachable
        && "\($0)".contains("no message for too long at offset")
    }
  }

  @Test("calls an offset out of range only where the log's ends say so")
  func outOfRange() throws {
    #expect { try readAll(try cluster(), at: 2) { try mock.tell("errors 1 1 1 1") } } throws: {
      ($0 as? KafkaError)?.code == .unreachable
        && "\($0)".contains("out of range while the log is 0 to 3000")
    }
  }

  @Test("of many partitions takes smaller fetches for each, and reads the same")
  func manyPartitions() throws {
    try mock.tell("create many 300")
    let producer = try KafkaProducer(
      source: "test", properties: ["bootstrap.servers": mock.brokers])
    for index in 0..<3_000 {
      try producer.send(
        topic: "many", partition: Int32(index % 300), key: nil, value: Array("\(index)".utf8),
        timestampMilliseconds: nil)
    }
    try producer.flush(timeoutMilliseconds: 20_000)
    let cluster = try cluster()
    #expect(try cluster.partitionCounts(of: ["many"], timeoutMilliseconds: 10_000) == ["many": 300])
    let ranges = (0..<300).map {
      PartitionRange(
        PartitionID(source: "main", topic: "many", partition: $0), OffsetRange(from: 0, to: 10))
    }
    var values: [String] = []
    _ = try cluster.read(ranges, silenceMilliseconds: 20_000) { lent in
      for message in lent.messages {
        values.append(message.value.map { String(decoding: $0, as: UTF8.self) } ?? "null")
      }
    }
    #expect(Set(values).count == 3_000 && values.count == 3_000)
  }

  @Test(
    """
    of ever longer messages takes larger fetches from the next read on, up to a limit, and reads \
    the same, what came ahead of its range included
    """)
  func longMessages() throws {
    try mock.tell("create long 2")
    let producer = try KafkaProducer(
      source: "test", properties: ["bootstrap.servers": mock.brokers])
    // Of a partition 100 messages of each length; the last are beyond what fetches grow to.
    for index in 0..<800 {
      let length = [300, 1_300, 5_300, 22_000][index / 200]
      try producer.send(
        topic: "long", partition: Int32(index % 2), key: nil,
        value: Array("\(index) ".utf8) + [UInt8](repeating: 0x78, count: length),
        timestampMilliseconds: nil)
    }
    try producer.flush(timeoutMilliseconds: 20_000)
    let cluster = try cluster()
    #expect(try cluster.partitionCounts(of: ["long"], timeoutMilliseconds: 10_000) == ["long": 2])
    var numbers: [[Int]] = [[], []]
    func range(_ partition: Int32, _ from: Int, _ to: Int) -> PartitionRange {
      PartitionRange(
        PartitionID(source: "main", topic: "long", partition: partition),
        OffsetRange(from: Int64(from), to: Int64(to)))
    }
    func number(_ message: Message) -> Int {
      let text = message.value.map { String(decoding: $0.prefix(10), as: UTF8.self) } ?? ""
      return Int(text.prefix { $0 != " " }) ?? -1
    }
    var sizes: [Int64] = []
    for from in stride(from: 0, to: 400, by: 50) {
      // What came ahead is not asked for again.
      let wanted = (0..<2).map { range($0, max(from, numbers[Int($0)].count), from + 50) }
      let next = (0..<2).map { range($0, min(from + 50, 399), min(from + 100, 400)) }
      try cluster.prepare(next)
      _ = try cluster.read(wanted, silenceMilliseconds: 20_000) { lent in
        switch lent {
        case .ofRange(let index, let messages), .ahead(behindRange: let index, let messages):
          for message in messages { numbers[index].append(number(message)) }
        case .nothing: break
        }
      }
      sizes.append(cluster.sizes.fetchBytes)
    }
    #expect(numbers[0] == Array(stride(from: 0, to: 800, by: 2)))
    #expect(numbers[1] == Array(stride(from: 1, to: 800, by: 2)))
    #expect(sizes == sizes.sorted())
    #expect(try #require(sizes.last) > #require(sizes.first))
  }

  @Test("leaves the client alone where a user says how long fetches are")
  func sizedByUser() throws {
    for name in ["fetch.max.bytes", "receive.message.max.bytes"] {
      let properties = [name: "2000000"]
      #expect(ClientConfiguration.areFetchesSized(by: properties))
      let defaults = ClientConfiguration.consumerDefaults(
        FetchSizes(maxOffsetsPerBatch: 1_000, partitionCount: 6, messageBytes: 1 << 20),
        for: properties)
      #expect(!defaults.contains { $0.0.contains("fetch") && $0.0.hasSuffix("max.bytes") })
    }
  }

  @Test("fits what is fetched ahead to the batch and to the number of partitions")
  func fetchSizes() {
    for maxOffsets: Int64 in [1, 100, 1_000, 100_000, 10_000_000] {
      for partitions in [1, 6, 60, 1_000] {
        let sizes = FetchSizes(maxOffsetsPerBatch: maxOffsets, partitionCount: partitions)
        #expect((65_536...131_072).contains(sizes.fetchBytes))
        #expect((32_768...sizes.fetchBytes).contains(sizes.fetchBytesPerPartition))
        #expect(
          sizes.fetchBytesPerPartition * Int64(partitions)
            <= max(1_048_576, 32_768 * Int64(partitions)))
        #expect(
          sizes.queuedMessagesPerPartition * Int64(partitions)
            <= max(12_000, 100 * Int64(partitions)))
        #expect(sizes.queuedKilobytesPerPartition * Int64(partitions) <= 65_536)
        let long = FetchSizes(
          maxOffsetsPerBatch: maxOffsets, partitionCount: partitions, messageBytes: 4_096)
        #expect(long.fetchBytes == 2_097_152)
        #expect(
          long.fetchBytesPerPartition * Int64(partitions)
            <= max(2_097_152, 32_768 * Int64(partitions)))
        #expect(sizes.queuedMessagesPerPartition >= 100)
      }
    }
  }
}

@Suite("A group that shows offsets", .serialized)
struct KafkaGroupTests {
  private let mock: MockCluster
  private let group: KafkaGroup
  private let partition = PartitionID(source: "main", topic: "t", partition: 0)

  init() throws {
    mock = try MockCluster(TestStack())
    try mock.tell("create t 1")
    group = try KafkaGroup("g", source: "main", properties: ["bootstrap.servers": mock.brokers])
  }

  /// What somebody waits for, and how long.
  private func failure(
    _ body: () throws -> Void
  ) -> (error: KafkaError?, duration: ContinuousClock.Duration) {
    let started = ContinuousClock.now
    do {
      try body()
      return (nil, ContinuousClock.now - started)
    } catch {
      return (error as? KafkaError, ContinuousClock.now - started)
    }
  }

  @Test(
    "is refused to a user without rights, soon, whichever request they are missing for",
    arguments: [10, 9, 8])
  func rights(request: Int) throws {
    // FindCoordinator, OffsetFetch and OffsetCommit: GROUP_AUTHORIZATION_FAILED.
    try mock.tell("errors \(request)" + String(repeating: " 30", count: 50))
    let (error, duration) = failure {
      _ = try group.committed(of: [partition], timeoutMilliseconds: 20_000)
      _ = try group.commit([partition: 5], metadata: "m", timeoutMilliseconds: 20_000)
    }
    #expect(error?.code == .refused && error?.place.hasSuffix(", group g") == true)
    #expect(error?.reason == "Broker: Group authorization failed" && duration < .seconds(10))
  }

  @Test("takes no offsets where the broker knows no such member, which is no error")
  func members() throws {
    try mock.tell("errors 8 25")
    #expect(try group.commit([partition: 5], metadata: "m", timeoutMilliseconds: 20_000) == false)
    #expect(try group.commit([partition: 5], metadata: "m", timeoutMilliseconds: 20_000))
  }

  @Test("survives the loss of its coordinator, and is let go within seconds")
  func coordinatorDown() throws {
    func show(_ group: KafkaGroup) throws {
      _ = try group.committed(of: [partition], timeoutMilliseconds: 1_000)
      _ = try group.commit([partition: 5], metadata: "m", timeoutMilliseconds: 1_000)
    }
    try show(group)
    for broker in 1...3 { try mock.tell("down \(broker)") }
    for _ in 0..<2 {
      let (error, duration) = failure { try show(group) }
      #expect(error?.code == .unreachable && duration < .seconds(5), "\(error.debugDescription)")
    }
    let (_, duration) = failure {
      let other = try KafkaGroup(
        "g", source: "main", properties: ["bootstrap.servers": mock.brokers])
      _ = try other.commit([partition: 5], metadata: "m", timeoutMilliseconds: 100)
    }
    #expect(duration < .seconds(10))
    for broker in 1...3 { try mock.tell("up \(broker)") }
    _ = try group.committed(of: [partition], timeoutMilliseconds: 20_000)
    #expect(try group.commit([partition: 7], metadata: "m", timeoutMilliseconds: 20_000))
    #expect(
      try group.committed(of: [partition], timeoutMilliseconds: 20_000)
        == [partition: CommittedOffset(7, metadata: "m")])
  }
}
