import Checkpoints
import Engine
import Fakes
import Foundation
import Jobs
import Logging
import Reports
import TestSupport
import Testing

/// What is kept and told of a record that cannot be used, from a broker to the object beside the
/// results, all of it in memory but the checkpoint.
@Suite("A reject")
struct RejectTests {
  /// One partition, a job over it, and what its runs leave.
  private final class World {
    let log = MemoryLog()
    private let cluster = MemoryCluster(identifier: "c")
    private let places = MemoryPlaces()
    private let folder: TemporaryFolder
    private let job: Job

    init(format: String = "csv", fields: String, _ rest: String) throws {
      folder = try TemporaryFolder()
      cluster.topics["t"] = [log]
      job = try JobFile.parse(
        text: """
          name: rejects
          source:
            kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
            format: \(format)
            fields: \(fields)
          output: { to: "file:out", format: csv }
          \(rest)
          """, path: "rejects.yaml", environment: [:], readFile: { _ in nil })
    }

    /// - Returns: What the run ended with, in words.
    func run() throws -> String? {
      let checkpoint = try Checkpoint(
        job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
      var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
      options.publishingExecutor = { CallerExecutor() }
      let run = try Run(
        job: job, checkpoint: checkpoint, sources: [MemorySource("main", cluster)],
        storeAt: { [places] _ in places.store(at: "out") }, options: options,
        logger: Logger(label: "rejects") { _ in SwiftLogNoOpLogHandler() })
      let words = Words(.init(checkpointFolder: "FOLDER", fileMode: "MODE") { "<\($0)>" })
      return run.execute().errors.first.map(words.text)
    }

    var result: String {
      places.all["out"]?["part-0.csv"].map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// In the order of their records.
    func rejects() throws -> [[String: Any]] {
      let objects = (places.all["out"] ?? [:]).filter { $0.key.hasPrefix("_tranche/rejects/") }
      return try objects.sorted { $0.key < $1.key }.flatMap { $0.value.split(separator: 0x0A) }.map
      {
        try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any] ?? [:]
      }
    }
  }

  private static let least = Array("-9223372036854775808".utf8)

  @Test("holds the key where the key may be at fault, and the message's time in any case")
  func whatIsAtFault() throws {
    let cases: [(rest: String, kept: [String?])] = [
      (
        "window: global\naggregate: { by: [record_key], measures: { calls: count() } }",
        ["wrongType nil", "keyTooLong long", "invalidText /2sv"]
      ),
      (
        "where: abs(n) > 5 OR record_key = 'x'\nwindow: global\n"
          + "aggregate: { by: [n], measures: { calls: count() } }",
        ["wrongType nil", "expressionFailed key", "invalidText /2sv"]
      ),
      (
        "where: abs(n) > 5\nwindow: global\naggregate: { by: [n], measures: { calls: count() } }",
        ["wrongType nil", "expressionFailed nil"]
      ),
      (
        "select: { size: abs(n), key: { sql: record_key, type: string } }",
        ["wrongType nil", "expressionFailed key", "invalidText /2sv"]
      ),
    ]
    for (rest, expected) in cases {
      let world = try World(
        fields: "{ n: int64 }", "\(rest)\nlimits: { key_bytes: 4 }\nrejects: { max_share: 100% }")
      world.log.append(Array("10".utf8), key: Array("k".utf8))
      world.log.append(Array("x".utf8), key: Array("kx".utf8), timestampMilliseconds: nil)
      let isLong = rest.contains("by: [record_key]")
      world.log.append(
        isLong ? Array("11".utf8) : Self.least, key: Array((isLong ? "longer" : "key").utf8),
        timestampMilliseconds: 1_795_428_300_123)
      world.log.append(Array("12".utf8), key: [0xFF, 0x6B, 0x2F])
      #expect(try world.run() == nil)
      let found = try world.rejects()
      let texts = found.map { reject in
        let key = reject["record_key"] as? String ?? reject["record_key_base64"] as? String
        return "\(reject["reason"] ?? "") \(key ?? "nil")"
      }
      #expect(texts == expected, "\(rest)")
      #expect(found.first?["record_timestamp"] is NSNull)
      if found.count > 1 {
        #expect(
          found[1]["record_timestamp"] as? String
            == (found[1]["offset"] as? Int == 2
              ? "2026-11-23T10:05:00.123Z" : "1970-01-01T00:00:00.000Z"))
      }
    }
  }

  @Test("because its message is too large holds the first bytes of the key, which may be the cause")
  func keyTooLarge() throws {
    let world = try World(
      fields: "{ n: int64 }",
      "limits: { batch_bytes: 20, key_bytes: 4 }\nrejects: { max_share: 100% }")
    world.log.append(Array("1".utf8), key: Array("key".utf8))
    world.log.append(Array("2".utf8), key: Array(repeating: UInt8(ascii: "k"), count: 30))
    #expect(try world.run() == nil)
    let found = try #require(try world.rejects().first)
    #expect(
      found["reason"] as? String == "recordTooLarge" && found["record_key"] as? String == "kkkk")
  }
}
