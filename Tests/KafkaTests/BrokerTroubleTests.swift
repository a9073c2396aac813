import Engine
import Foundation
import Jobs
import Kafka
import Offsets
import Synchronization
import TestSupport
import Testing
import Wiring

/// What a question to one scripted broker came to.
private struct Outcome {
  let error: KafkaError
  let milliseconds: Int64
  /// What a person was told, and when.
  let waits: [(text: String, atMilliseconds: Int64)]
}

private func now() -> Int64 { Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000) }

@Suite("A broker that is none, or that cannot be reached,")
struct BrokerTroubleTests {
  private func outcome(
    _ properties: [String: String], timeoutMilliseconds: Int32 = 20_000,
    _ question: (KafkaCluster, Int32) throws -> Void = {
      _ = try $0.partitionCounts(of: ["t"], timeoutMilliseconds: $1)
    }
  ) throws -> Outcome {
    let began = now()
    let waits = Mutex<[(text: String, atMilliseconds: Int64)]>([])
    let cluster = try KafkaCluster(
      source: "main", properties: properties, maxOffsetsPerBatch: 100,
      observer: ClientObserver(waits: { text in
        let at = now() - began
        waits.withLock { $0.append((text, at)) }
      }))
    do {
      try question(cluster, timeoutMilliseconds)
    } catch let error as KafkaError {
      return Outcome(
        error: error, milliseconds: now() - began, waits: waits.withLock { $0 })
    }
    throw Unexpected()
  }

  private struct Unexpected: Error {}

  private static let login = [
    "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u",
    "sasl.password": "hunter2",
  ]

  @Test(
    "is told by what it is, without waiting where that does not help",
    arguments: [
      (ScriptedBroker.Role.http, [:], SourceError.Code.unreachable, "speaks HTTP, not Kafka"),
      (.says(Array("SSH-2.0-x\r\n".utf8)), [:], .unreachable, "its answer begins with \"SSH-\""),
      (.tls, [:], .refused, "speaks TLS, and security.protocol says that it does not"),
      (.http, ["security.protocol": "ssl"], .refused, "does not speak TLS"),
      (
        .refusesLogin("Authentication failed: who is u?"), login, .refused,
        "refused the login: Authentication failed: who is u?"
      ),
      (
        .offers(mechanisms: ["SCRAM-SHA-512", "OAUTHBEARER"]), login, .refused,
        "it offers SCRAM-SHA-512"
      ),
    ] as [(ScriptedBroker.Role, [String: String], SourceError.Code, String)])
  func role(
    role: ScriptedBroker.Role, properties: [String: String], code: SourceError.Code, words: String
  ) throws {
    let broker = ScriptedBroker(role)
    let outcome = try outcome(
      properties.merging(["bootstrap.servers": broker.address]) { $1 })
    #expect(SourceError(outcome.error).code == code, "\(outcome.error)")
    #expect(outcome.error.reason.contains(words), "\(outcome.error)")
    #expect(outcome.error.reason.contains(broker.address), "\(outcome.error)")
    #expect(!"\(outcome.error)".contains("hunter2"))
    #expect(outcome.milliseconds < 10_000)
  }

  @Test(
    "is waited for, and a person reads within two seconds, once, for which and why",
    arguments: [
      (ScriptedBroker.Role.says([]), [:], "closed the connection at the first request"),
      (
        .says([]), ["security.protocol": "ssl"], "closed the connection during the TLS handshake"
      ),
      (.wantsLogin, [:], "closed the connection, as a broker does when it wants a login (SASL)"),
      (.isSilent, [:], "no answer yet"),
    ] as [(ScriptedBroker.Role, [String: String], String)])
  func wait(role: ScriptedBroker.Role, properties: [String: String], words: String) throws {
    let broker = ScriptedBroker(role)
    let outcome = try outcome(
      properties.merging(["bootstrap.servers": broker.address]) { $1 },
      timeoutMilliseconds: 3_500)
    #expect(outcome.waits.count == 1, "\(outcome.waits)")
    let told = try #require(outcome.waits.first)
    #expect(told.text.hasPrefix("brokers \(broker.address): "), "\(told)")
    #expect(told.text.contains(words), "\(told)")
    #expect(told.atMilliseconds < 2_000, "\(told)")
    #expect(outcome.milliseconds >= 3_000)
    #expect(outcome.error.code == .unreachable)
  }

  @Test(
    """
    that answers slowly, one question after the other, is asked a second time at most, so that \
    most of the time is one answer's
    """)
  func slow() throws {
    let broker = ScriptedBroker(.listsOffsets(afterMilliseconds: 1_800))
    let cluster = try KafkaCluster(
      source: "main", properties: ["bootstrap.servers": broker.address], maxOffsetsPerBatch: 100)
    let partition = PartitionID(source: "main", topic: "t", partition: 0)
    #expect(try cluster.partitionCounts(of: ["t"], timeoutMilliseconds: 4_500) == ["t": 1])
    // The second question is answered after 3.6 s; three of 1, 2 and 1.5 s would not be in time.
    let found = try cluster.highWatermarks(of: [partition], timeoutMilliseconds: 4_500)
    #expect(found == [partition: 5])
  }

  @Test("of which a partition is asked for that is none is called unknown, and not waited for")
  func unknownPartition() throws {
    let broker = ScriptedBroker(.listsOffsets(afterMilliseconds: 0))
    let outcome = try outcome(["bootstrap.servers": broker.address]) {
      _ = try $0.ends(
        of: [0, 9].map { PartitionID(source: "main", topic: "t", partition: $0) },
        timeoutMilliseconds: $1)
    }
    #expect(outcome.error.code == .unknownTopic)
    #expect(outcome.error.place.hasSuffix("t[9]"), "\(outcome.error)")
    #expect(outcome.milliseconds < 10_000)
  }

  @Test("with nothing at its port is called by its address and the system's words")
  func refused() throws {
    let outcome = try outcome(["bootstrap.servers": "127.0.0.1:1"], timeoutMilliseconds: 2_500)
    #expect(
      "\(outcome.error)"
        == "source main (127.0.0.1:1), topic t: 127.0.0.1:1 cannot be reached: Connection refused")
    #expect(
      outcome.waits.map(\.text) == [
        "brokers 127.0.0.1:1: Connection refused"
      ])
  }

  @Test(
    """
    that advertises an address which cannot be reached is named with it, and bootstrap.servers is \
    called right
    """,
    arguments: [
      ("kafka.bad", 9_092, "Name or service not known"), ("127.0.0.9", 2, "Connection refused"),
    ] as [(String, UInt16, String)])
  func advertised(host: String, port: UInt16, problem: String) throws {
    let stack = try TestStack()
    let topic = uniqueName("advertised")
    try stack.kafka(stack.broker, [["op": "create", "topic": topic, "partitions": 1]])
    let real = try #require(stack.broker.split(separator: ":").last.flatMap { UInt16($0) })
    let proxy = ScriptedBroker(.advertises(host: host, port: port, for: real))
    let outcome = try outcome(["bootstrap.servers": proxy.address], timeoutMilliseconds: 3_000) {
      #expect(
        try $0.partitionCounts(of: [topic], timeoutMilliseconds: 20_000) == [topic: 1])
      _ = try $0.ends(
        of: [PartitionID(source: "main", topic: topic, partition: 0)], timeoutMilliseconds: $1)
    }
    #expect(
      outcome.error.reason.hasPrefix(
        "bootstrap.servers is right, but broker 1 advertises the address \(host):\(port), which "
          + "cannot be reached from here: \(problem)"), "\(outcome.error)")
    #expect(SourceError(outcome.error).cause == .advertisedAddress)
    #expect(outcome.error.code == .unreachable)
    #expect(outcome.waits.count == 1, "\(outcome.waits)")
  }

  @Test("that swallows packets is named before the question's time is over")
  func swallowed() throws {
    let broker = ScriptedBroker(.isFull)
    let outcome = try outcome(["bootstrap.servers": broker.address])
    #expect(
      outcome.error.reason
        == "\(broker.address) cannot be reached: the connection timed out", "\(outcome.error)")
    #expect(outcome.milliseconds < 22_000)
  }
}
