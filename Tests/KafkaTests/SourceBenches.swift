import Engine
import Foundation
import Jobs
import Kafka
import Offsets
import TestSupport
import Trials
import Wiring

@testable import Simulation

/// An implementation of `MessageSource`, with one topic on it that a test fills.
protocol SourceBench: AnyObject {
  var source: any MessageSource { get }
  var topic: String { get }
  /// The bytes of the n-th record of a test: an implementation may have a form of its own.
  func value(_ number: Int) -> String
  /// Appends to a partition, and returns when it can be read.
  func append(_ pieces: [LogPiece], to partition: Int32) throws
  func removeRecords(before offset: Offset, of partition: Int32) throws
}

extension SourceBench {
  func value(_ number: Int) -> String { "record \(number)" }

  func partition(_ number: Int32 = 0) -> PartitionID {
    PartitionID(source: source.source, topic: topic, partition: number)
  }
}

/// What a log is made of.
enum LogPiece {
  case record(Int, timestampMilliseconds: Int64 = 1_000)
  /// A record in the test's own bytes; nil is null.
  case raw(value: String?, key: String?, timestampMilliseconds: Int64)
  /// So many records of a transaction that was aborted, and its marker: one hole more than records.
  case aborted(recordCount: Int)
  /// So many records of a transaction that does not end.
  case open(recordCount: Int)

  static func records(_ numbers: Range<Int>) -> [LogPiece] { numbers.map { .record($0) } }
}

/// Thrown by a bench whose implementation has no means for what a test needs.
struct Unable: Error {
  let what: String
}

/// The product's own source on a cluster that a test fills through another client.
private func kafkaSource(_ brokers: String, _ topic: String) throws -> KafkaSource {
  let job = try JobFile.parse(
    text: """
      name: contract
      source:
        kafka:
          - name: main
            properties: { bootstrap.servers: "\(brokers)" }
            topics: [\(topic)]
        format: csv
        fields: { v: string }
      output: { to: "file:out" }
      """, path: "contract.yaml", environment: [:], readFile: { _ in nil })
  return try KafkaSource(job.clusters[0], job: job)
}

/// The product's source on a real broker.
final class BrokerBench: SourceBench {
  let source: any MessageSource
  let topic = uniqueName("contract")
  private let stack: TestStack

  init(partitionCount: Int) throws {
    stack = try TestStack()
    try stack.kafka(
      stack.broker, [["op": "create", "topic": topic, "partitions": partitionCount]])
    source = try kafkaSource(stack.broker, topic)
  }

  func append(_ pieces: [LogPiece], to partition: Int32) throws {
    var operations: [[String: any Sendable]] = []
    func produce(_ value: String?, key: String? = nil, _ timestampMilliseconds: Int64 = 1_000) {
      var operation: [String: any Sendable] = [
        "op": "produce", "topic": topic, "partition": Int(partition),
        "timestamp": timestampMilliseconds,
      ]
      operation["value"] = value
      operation["key"] = key
      operations.append(operation)
    }
    for piece in pieces {
      switch piece {
      case .record(let number, let timestampMilliseconds):
        produce(value(number), timestampMilliseconds)
      case .raw(let value, let key, let timestampMilliseconds):
        produce(value, key: key, timestampMilliseconds)
      case .aborted(let recordCount):
        operations.append(["op": "begin"])
        for _ in 0..<recordCount { produce("aborted") }
        operations.append(["op": "abort"])
      case .open(let recordCount):
        operations.append(["op": "begin"])
        for _ in 0..<recordCount { produce("open") }
        operations.append(["op": "leave_open"])
      }
    }
    try stack.kafka(stack.broker, operations)
  }

  func removeRecords(before offset: Offset, of partition: Int32) throws {
    try stack.kafka(
      stack.broker,
      [["op": "delete_records", "topic": topic, "partition": Int(partition), "before": offset]])
  }
}

/// The product's source on librdkafka's mock cluster, each partition led by another broker.
final class MockBench: SourceBench {
  let source: any MessageSource
  let topic = "contract"
  private let mock: MockCluster
  private let producer: KafkaProducer

  init(partitionCount: Int) throws {
    mock = try MockCluster(TestStack())
    try mock.tell("create \(topic) \(partitionCount)")
    for partition in 0..<partitionCount {
      try mock.tell("leader \(topic) \(partition) \(partition % 3 + 1)")
    }
    producer = try KafkaProducer(source: "test", properties: ["bootstrap.servers": mock.brokers])
    source = try kafkaSource(mock.brokers, topic)
  }

  func append(_ pieces: [LogPiece], to partition: Int32) throws {
    for piece in pieces {
      switch piece {
      case .record(let number, let timestampMilliseconds):
        try producer.send(
          topic: topic, partition: partition, key: nil, value: Array(value(number).utf8),
          timestampMilliseconds: timestampMilliseconds)
      case .raw(let value, let key, let timestampMilliseconds):
        try producer.send(
          topic: topic, partition: partition, key: key.map { Array($0.utf8) },
          value: value.map { Array($0.utf8) }, timestampMilliseconds: timestampMilliseconds)
      case .aborted, .open: throw Unable(what: "a transaction on the mock cluster")
      }
    }
    try producer.flush(timeoutMilliseconds: 20_000)
  }

  func removeRecords(before offset: Offset, of partition: Int32) throws {
    throw Unable(what: "a request that removes records")
  }
}

/// The fake of the tests that need no broker.
final class MemoryBench: SourceBench {
  let source: any MessageSource
  let topic = "contract"
  private let cluster = MemoryCluster(identifier: "memory")

  init(partitionCount: Int) {
    cluster.create(topic, partitionCount: partitionCount)
    source = MemorySource("main", cluster, chunkCount: 3, aheadCount: 2)
  }

  func append(_ pieces: [LogPiece], to partition: Int32) throws {
    guard let log = cluster.topics[topic]?[Int(partition)] else {
      throw Unable(what: "partition \(partition)")
    }
    for piece in pieces {
      switch piece {
      case .record(let number, let timestampMilliseconds):
        log.append(Array(value(number).utf8), timestampMilliseconds: timestampMilliseconds)
      case .raw(let value, let key, let timestampMilliseconds):
        log.append(
          value.map { Array($0.utf8) }, key: key.map { Array($0.utf8) },
          timestampMilliseconds: timestampMilliseconds)
      case .aborted(let recordCount): for _ in 0...recordCount { log.appendHole() }
      case .open: throw Unable(what: "a transaction that stays open")
      }
    }
  }

  func removeRecords(before offset: Offset, of partition: Int32) throws {
    cluster.topics[topic]?[Int(partition)].removeRecords(before: offset)
  }
}

/// The fake of the simulated histories, while nothing fails.
final class SimulationBench: SourceBench {
  let source: any MessageSource
  let topic = "contract"
  private let simulation: Simulation
  private let folder: TemporaryFolder

  init(partitionCount: Int) throws {
    folder = try TemporaryFolder()
    simulation = try Simulation.calm(folder: folder.path)
    source = FakeBroker("main", simulation)
    for number in 0..<Int32(partitionCount) {
      simulation.logs[partition(number)] = Simulation.Log()
    }
  }

  func value(_ number: Int) -> String { "\(number),0,0\n" }

  func append(_ pieces: [LogPiece], to partition: Int32) throws {
    guard var log = simulation.logs[self.partition(partition)] else {
      throw Unable(what: "partition \(partition)")
    }
    for piece in pieces {
      switch piece {
      case .record(let number, let timestampMilliseconds):
        log.messages.append(
          DrawnMessage(
            bytes: Array(value(number).utf8), timestampMilliseconds: timestampMilliseconds))
        log.end += 1
      case .aborted(let recordCount):
        log.messages += Array(repeating: nil, count: recordCount + 1)
        log.end += Int64(recordCount + 1)
      case .open(let recordCount):
        log.messages += Array(repeating: nil, count: recordCount)
      case .raw: throw Unable(what: "a record with bytes of the test's own")
      }
    }
    simulation.logs[self.partition(partition)] = log
  }

  func removeRecords(before offset: Offset, of partition: Int32) throws {
    simulation.logs[self.partition(partition)]?.low = offset
  }
}
