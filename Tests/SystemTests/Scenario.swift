import Foundation
import ObjectStorage
import TestSupport

/// A job on the real broker, in a folder of its own, run by the built binary.
final class Scenario {
  let stack: TestStack
  let folder: TemporaryFolder
  let topic = uniqueName("calls")
  private(set) var store: TestStack.Store?
  private let prefix = uniqueName("out")

  /// - Parameter store: An index of the stack's stores; nil for a local folder.
  init(store: Int? = nil) throws {
    stack = try TestStack()
    folder = try TemporaryFolder()
    self.store = store.map { stack.stores[$0] }
  }

  /// 2026-11-23T10:00:00Z, so that windows do not depend on the clock.
  static let start = 1_795_428_000_000

  func samples(
    _ topic: String? = nil, on broker: String? = nil, partitions: Int = 6, count: Int, seed: Int,
    spanMinutes: Int = 12
  )
    -> [String: any Sendable]
  {
    [
      "op": "samples", "topic": topic ?? self.topic, "partitions": partitions, "count": count,
      "seed": seed, "from": Self.start,
      "span": spanMinutes * 60_000,
    ]
  }

  var to: String { store.map { "s3://\($0.bucket)/\(prefix)" } ?? "file:out" }

  /// Writes the job file: the main job unless told otherwise.
  func write(
    kafka: String? = nil, format: String = "csv",
    fields: String = "{ api_id: int32, time_taken: int32 }", rest: String? = nil,
    output: String = "format: csv",
    maxOffsets: Int = 1_000, more: String = ""
  ) throws {
    let main = """
      window: { tumbling: 5m }
      where: time_taken >= 0
      aggregate: { by: [api_id], measures: { calls: count(), time_taken: sum(time_taken) } }
      select:
        percentage_time: 100.0 * time_taken / sum(time_taken) OVER ()
        percent_rank: percent_rank() OVER (ORDER BY time_taken)
      """
    let cluster =
      "{ name: main, properties: { bootstrap.servers: \"\(stack.broker)\" }, topics: [\(topic)] }"
    try folder.write(
      """
      name: job
      source:
        kafka: \(kafka ?? "[\(cluster)]")
        format: \(format)
        fields: \(fields)
      trigger: { max_offsets: \(maxOffsets) }
      \(rest ?? main)
      output: { to: "\(to)", \(output),
        s3: { endpoint: "\(store?.endpoint ?? "")", timeout: 5s, max_attempts: 2 } }
      \(more)
      """, to: "job.yaml")
  }

  @discardableResult
  func tranche(
    _ arguments: String..., environment: [String: String] = [:],
    during: ((pid_t) throws -> Void)? = nil
  ) throws -> ProcessResult {
    return try stack.tranche(
      arguments, in: folder.path, environment: credentials.merging(environment) { $1 },
      during: during)
  }

  /// Of the store, for the environment.
  var credentials: [String: String] {
    store.map { ["AWS_ACCESS_KEY_ID": $0.accessKey, "AWS_SECRET_ACCESS_KEY": $0.secretKey] } ?? [:]
  }

  /// Runs the job and returns its JSON summary.
  @discardableResult
  func run(_ arguments: String...) throws -> (
    exitCode: Int32, summary: [String: Any], errors: String
  ) {
    let result = try stack.tranche(
      ["run", "job.yaml", "--json"] + arguments, in: folder.path,
      environment: credentials)
    let summary =
      (try? JSONSerialization.jsonObject(with: Data(result.output.utf8))) as? [String: Any] ?? [:]
    return (result.exitCode, summary, result.errors)
  }

  /// Every object by its key, without the marker of the place's owner.
  func objects() throws -> [String: Data] {
    guard let store else { return folder.files(below: "out") }
    let s3 = S3Store(
      S3Configuration(
        endpoint: store.endpoint, region: "us-east-1", bucket: store.bucket, prefix: prefix,
        addressing: .path,
        credentials: S3Credentials(
          accessKeyID: store.accessKey, secretAccessKey: store.secretKey, sessionToken: nil),
        timeoutMilliseconds: 10_000, maxAttempts: 3, caFile: nil))
    var objects: [String: Data] = [:]
    for key in try s3.list(prefix: "") where key.value != "_tranche/owner" {
      objects[key.value] = Data(try s3.get(key) ?? [])
    }
    return objects
  }

  /// What the checkpoint holds, but for what clocks leave in it and what is kept for objects that
  /// the store is yet to be asked about.
  func state() throws -> String {
    let queries = [
      "SELECT source, topic, partition, start_offset, next_offset FROM partitions ORDER BY 1, 2, 3",
      "SELECT batch, offsets, records, counted, rejected, ranges FROM batches ORDER BY 1",
      "SELECT * FROM windows ORDER BY 1", "SELECT * FROM window_offsets ORDER BY 1, 2",
      "SELECT source, topic, partition, from_offset, to_offset, reason FROM gaps "
        + "JOIN partitions USING (partition_id) ORDER BY 1, 2, 3, 4",
      "SELECT * FROM rejects JOIN partitions USING (partition_id) ORDER BY 1, 2, 3, 4",
      "SELECT object_key, kind, number, revision, published_revision, etag, byte_count, "
        + "rendered_by FROM outputs ORDER BY 1",
      "SELECT * FROM retired_objects", "SELECT * FROM in_flight",
    ]
    let path = folder.path + "/checkpoints/job.sqlite"
    let hasGroups =
      try execute(
        "/usr/bin/sqlite3", [path, "SELECT count(*) FROM sqlite_schema WHERE name = 'groups'"]
      ).output == "1\n"
    let all = queries + (hasGroups ? ["SELECT * FROM groups ORDER BY 1, 2"] : [])
    return try execute("/usr/bin/sqlite3", [path, all.joined(separator: "; ")]).output
  }

  /// Holds the objects against duckdb's own computation over the topics.
  ///
  /// - Parameter objects: The store's, unless others are given.
  func checkAgainstOracle(
    _ topics: [(broker: String, topic: String)], objects: [String: Data]? = nil
  ) throws {
    let copy = try TemporaryFolder()
    for (key, data) in try objects ?? self.objects() {
      let url = URL(fileURLWithPath: "\(copy.path)/\(key)")
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try data.write(to: url)
    }
    try stack.python(
      "SystemTests/oracle.py", [copy.path, "300000"] + topics.map { "\($0.broker):\($0.topic)" })
  }

  /// The words of a command that a message names, without the first, `tranche`.
  func command(_ start: String, endingWith end: String, in message: String) throws -> [String] {
    for part in message.components(separatedBy: start).dropFirst() {
      let words = part.split(whereSeparator: \.isWhitespace).map {
        String($0).trimmingCharacters(in: CharacterSet(charactersIn: ".;,"))
      }
      if let last = words.firstIndex(of: end), !words[..<last].contains("tranche") {
        return start.split(separator: " ").dropFirst().map(String.init) + words[...last]
      }
    }
    throw NoSuchCommand(start: start, end: end, message: message)
  }

  struct NoSuchCommand: Error { let start, end, message: String }
}
