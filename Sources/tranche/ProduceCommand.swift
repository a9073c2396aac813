import ArgumentParser
import Engine
import Foundation
import Kafka
import Reports
import Trials
import Wiring

struct ProduceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "produce",
    abstract:
      "Publish sample API calls, or the lines of a file, to a topic: for trying things out.",
    discussion: """
      Sample calls are <api_id, time_taken> as CSV or JSON, one message each with a newline at its \
      end, as ClickHouse's Kafka engine writes them. The same seed gives the same calls. Creates \
      the topic if it does not exist.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case csv, json }

  @Option(help: "Brokers as host:port, separated by commas. Default: $KAFKA_BROKERS.")
  var brokers = ProcessInfo.processInfo.environment["KAFKA_BROKERS"] ?? "localhost:9092"
  @Option(help: "The topic.") var topic = "kafka_topic_1"
  @Option(help: "Partitions of the topic, if this command creates it.") var partitions: Int32 = 6
  @Option(help: "How many calls.") var records = 10_000
  @Option(help: "Seed of the samples.") var seed: UInt64 = 1
  @Option(help: "csv or json.") var format = Format.csv
  @Option(help: "At most this many records a second.") var rate: Double?
  @Option(
    help:
      """
      Publish the lines of this file instead of samples. A line break inside a quoted CSV field \
      does not end a record.
      """,
    completion: .file())
  var replay: String?

  func validate() throws {
    if records < 0 || partitions < 1 {
      throw ValidationError("--records takes 0 or more, --partitions 1 or more.")
    }
    if let rate, !(rate > 0 && rate.isFinite) {
      throw ValidationError("--rate takes a number above 0.")
    }
  }

  func run() throws {
    try exiting {
      do {
        try produce()
      } catch let error as KafkaError {
        throw SourceError(error)
      }
    }
  }

  private func produce() throws {
    let properties = ["bootstrap.servers": brokers]
    let cluster = try KafkaCluster(source: "produce", properties: properties, maxOffsetsPerBatch: 1)
    let producer = try KafkaProducer(source: "produce", properties: properties)
    let count = try partitionCount(cluster, producer)
    let lines = try replay.map(fileRecords)
    var samples = SampleCalls(seed: seed)
    let started = ContinuousClock.now
    for index in 0..<(lines?.count ?? records) {
      let value: [UInt8]
      if let lines {
        value = lines[index] + [UInt8(ascii: "\n")]
      } else {
        let call = samples.next()
        value =
          switch format {
          case .csv: Array("\(call.apiID),\(call.timeTakenMilliseconds)\n".utf8)
          case .json:
            Array("{\"api_id\":\(call.apiID),\"time_taken\":\(call.timeTakenMilliseconds)}\n".utf8)
          }
      }
      try producer.send(
        topic: topic, partition: samples.partition(of: count), key: nil, value: value,
        timestampMilliseconds: nil)
      if let rate { waitUntil(Double(index + 1) / rate, since: started) }
    }
    try producer.flush(timeoutMilliseconds: 60_000)
    printText(
      """
      \(grouped(Int64(lines?.count ?? records))) records published to \(topic), \(count) \
      partitions
      """
    )
  }

  private func partitionCount(_ cluster: KafkaCluster, _ producer: KafkaProducer) throws -> Int32 {
    do {
      return try cluster.partitionCounts(of: [topic], timeoutMilliseconds: 20_000)[topic]
        ?? partitions
    } catch {
      guard SourceError(error).code == .unknownTopic else { throw error }
      try producer.createTopic(name: topic, partitions: partitions, timeoutMilliseconds: 20_000)
      return partitions
    }
  }

  private func fileRecords(_ path: String) throws -> [[UInt8]] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CommandError(.data, "\(path): cannot be read.")
    }
    return RecordLines.split(Array(data), quote: format == .csv ? UInt8(ascii: "\"") : nil).map(
      \.record)
  }

  private func waitUntil(_ seconds: Double, since started: ContinuousClock.Instant) {
    let ahead = seconds - (ContinuousClock.now - started) / .seconds(1)
    if ahead > 0 { Thread.sleep(forTimeInterval: ahead) }
  }
}
