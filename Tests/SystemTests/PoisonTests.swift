import Foundation
import Synchronization
import TestSupport
import Testing

/// What one record can do to a job: be a reject, and nothing more.
@Suite("A record that nothing can be made of")
final class PoisonTests {
  private let created = Mutex<Set<String>>([])

  /// Makes a topic the first time that it is named.
  private func create(_ topic: String) -> [[String: any Sendable]] {
    let isNew = created.withLock { $0.insert(topic).inserted }
    return isNew ? [["op": "create", "topic": topic, "partitions": 1]] : []
  }

  private func produce(_ scenario: Scenario, _ values: [String?], timestamp: Int = Scenario.start)
    throws
  {
    try scenario.stack.kafka(
      scenario.stack.broker,
      create(scenario.topic)
        + values.map { value in
          var operation: [String: any Sendable] = [
            "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": timestamp,
          ]
          if let value { operation["value"] = value }
          return operation
        })
  }

  private func rejects(_ scenario: Scenario) throws -> [[String: Any]] {
    try scenario.objects().filter { $0.key.hasPrefix("_tranche/rejects/") }.sorted {
      $0.key < $1.key
    }
    .flatMap { String(decoding: $0.value, as: UTF8.self).split(separator: "\n") }
    .compactMap { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
  }

  @Test("in a batch of its own at the topic's end does not stop a job that decodes well")
  func tail() throws {
    let scenario = try Scenario()
    try scenario.write()
    let good = (1...200).map { "\($0),1\n" }
    try produce(scenario, good)
    #expect(try scenario.run().exitCode == 0)
    for bad in ["x\n", nil, "1\n"] {
      try produce(scenario, [bad])
      let run = try scenario.run()
      #expect(run.exitCode == 0 && run.summary["rejected"] as? Int == 1, "\(run.errors)")
    }
    try produce(scenario, good)
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 200, "\(run.errors)")
    #expect(try rejects(scenario).map { $0["offset"] as? Int } == [200, 201, 202])
  }

  @Test("because no window holds its time, leaves a checkpoint that can be read")
  func timeWithoutWindow() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, (1...200).map { "\($0),1\n" })
    try produce(scenario, ["201,1\n"], timestamp: .max)
    for rejectedCount in [1, 0] {
      let run = try scenario.run()
      #expect(
        run.exitCode == 0 && run.summary["rejected"] as? Int == rejectedCount, "\(run.errors)")
    }
    let reject = try #require(try rejects(scenario).first)
    #expect(reject["reason"] as? String == "outOfRange" && reject["offset"] as? Int == 200)
    #expect(reject["field"] as? String == "record_timestamp" && reject["raw"] as? String == "201,1")
    for command in ["status", "show", "plan"] {
      #expect(try scenario.tranche(command, "job.yaml").exitCode == 0)
    }
  }

  @Test("is kept with the headers, key and time that its message has on the broker")
  func headers() throws {
    let scenario = try Scenario()
    try scenario.write(
      rest: "window: global\naggregate: { by: [record_key], measures: { calls: count() } }",
      more: "limits: { key_bytes: 4 }\nrejects: { max_share: 100% }")
    let message: [String: any Sendable] = [
      "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": Scenario.start,
      "value": "1,1\n", "key": "longer",
      "headers": ["encoding": "gzip", "empty": ""] as [String: String],
    ]
    try scenario.stack.kafka(scenario.stack.broker, create(scenario.topic) + [message])
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    let reject = try #require(try rejects(scenario).first)
    #expect(
      reject["reason"] as? String == "keyTooLong" && reject["record_key"] as? String == "long")
    #expect(reject["record_timestamp"] as? String == "2026-11-23T10:00:00.000Z")
    let text = try #require(reject["record_headers"] as? String)
    let headers = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: String]]
    #expect(
      headers?.sorted { $0["name"] ?? "" < $1["name"] ?? "" } == [
        ["name": "empty", "value": ""], ["name": "encoding", "value": "gzip"],
      ])
  }

  @Test("as the very first of a job stops it, and no more when good ones have come")
  func first() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["x\n"])
    for _ in 0..<2 {
      let run = try scenario.run()
      #expect(
        run.exitCode == 65
          && run.errors.contains("No record of this job has decoded yet, and 1 was rejected"),
        "\(run.errors)")
    }
    #expect(try scenario.tranche("status", "job.yaml").output.contains("to decide"))
    try produce(scenario, ["1,1\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 1, "\(run.errors)")
    #expect(try !scenario.tranche("status", "job.yaml").output.contains("to decide"))
  }

  @Test(
    """
    among so many that they stop the job: the command that is named keeps the rejects, counts \
    the good and leaves no gap
    """
  )
  func accepted() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 100)
    try produce(
      scenario, (1...100).map { "\($0),1\n" } + (1...100).map { $0 % 2 == 0 ? "\($0),1\n" : "x\n" })
    let stopped = try scenario.run()
    #expect(stopped.exitCode == 65 && stopped.summary["batches"] as? Int == 1, "\(stopped.errors)")
    #expect(
      stopped.errors.contains(
        "50 of the newest 200 records were rejected: more than rejects.max_share (10 %)"))
    // What has come since is judged as ever.
    try produce(scenario, (1...10).map { "\($0),1\n" })
    #expect(try scenario.run().exitCode == 65)
    let command = try #require(stopped.errors.firstRange(of: "tranche resolve ")).upperBound
    let words = stopped.errors[command...].split(whereSeparator: \.isWhitespace).map(String.init)
    let resolved = try scenario.stack.tranche(["resolve"] + words, in: scenario.folder.path)
    #expect(resolved.exitCode == 0, "\(resolved.errors)")
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 60, "\(run.errors)")
    #expect(try rejects(scenario).count == 50)
    // One more bad record is judged without those that were accepted.
    try produce(scenario, ["x\n"])
    #expect(try scenario.run().exitCode == 0)
    let status = try scenario.tranche("status", "job.yaml").output
    #expect(!status.contains("gap") && !status.contains("to decide"), "\(status)")
    #expect(try scenario.tranche("resolve", "job.yaml", "--accept-rejects").exitCode == 65)
  }

  @Test("is kept when a person accepts it under rejects.policy: fail, too")
  func acceptedUnderFail() throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { policy: fail }")
    try produce(scenario, ["1,1\n", "x\n", "2,1\n"])
    #expect(try scenario.run().exitCode == 65)
    #expect(try scenario.tranche("resolve", "job.yaml", "--accept-rejects").exitCode == 0)
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 2, "\(run.errors)")
    #expect(try rejects(scenario).map { $0["raw"] as? String } == ["x"])
  }

  @Test(
    """
    because its key is too long, or it is too large, is a reject with its bytes, under every \
    policy but fail
    """
  )
  func tooLong() throws {
    let scenario = try Scenario()
    let job = "window: { tumbling: 5m }\naggregate: { by: [path], measures: { calls: count() } }"
    try scenario.write(
      fields: "{ path: string, ms: int32 }", rest: "where: ms > 0\n\(job)",
      more:
        "limits: { key_bytes: 16, record_bytes: 100, batch_bytes: 400 }\nrejects: { max_share: "
        + "60% }"
    )
    let long = String(repeating: "k", count: 17)
    try produce(
      scenario,
      [
        "/a,1\n", "\(long),1\n/a,1\n", "\(long),0\n", "\(String(repeating: "r", count: 101)),1\n",
        String(repeating: "m", count: 500) + ",1\n", "/a,1\n",
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    let found = try rejects(scenario)
    #expect(found.map { $0["offset"] as? Int } == [1, 3, 4])
    #expect(
      found.map { $0["reason"] as? String } == ["keyTooLong", "recordTooLarge", "recordTooLarge"])
    #expect(
      found[0]["raw"] as? String == "\(long),1" && found[0]["field"] as? String == "path"
        && found[0]["record"] as? Int == 0)
    // The one that where leaves out is no reject.
    #expect(
      run.summary["records"] as? Int == 4 && run.summary["counted"] as? Int == 3, "\(run.summary)")
  }

  @Test("for which where, or in a row job select, has no value is a reject with its bytes")
  func expressions() throws {
    let least = "-9223372036854775808"
    for (rest, output, expected) in [
      (
        "where: abs(time_taken) > 5\nwindow: global\naggregate: { by: [api_id], measures: { "
          + "calls: count() } }",
        "format: csv",
        "api_id,calls\n1,1\n3,1\n"
      ),
      (
        "where: api_id > 0\nselect: { size: { sql: abs(time_taken), type: int32 } }", "format: csv",
        "api_id,time_taken,size\n1,10,10\n2,3,3\n3,30,30\n"
      ),
    ] {
      let scenario = try Scenario()
      try scenario.write(
        fields: "{ api_id: int32, time_taken: int64 }", rest: rest, output: output,
        more: "rejects: { max_share: 60% }")
      try produce(scenario, ["1,10\n", "2,3\n", "9,\(least)\n", "3,30\n"])
      let run = try scenario.run()
      #expect(run.exitCode == 0, "\(run.errors)")
      #expect(
        String(decoding: try scenario.objects()["part-0.csv"] ?? Data(), as: UTF8.self) == expected)
      let found = try rejects(scenario)
      #expect(found.count == 1 && found[0]["reason"] as? String == "expressionFailed")
      #expect(found[0]["offset"] as? Int == 2 && found[0]["raw"] as? String == "9,\(least)")
    }
  }

  @Test(
    """
    does not come in a batch that is too large: it ends where it is full
    """
  )
  func largeBatches() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 1_000, more: "limits: { batch_bytes: 40 }")
    // The first batch is too large at once, and so is every one that is planned with twice as many.
    try produce(scenario, (0..<40).map { _ in "100000000,1000000\n" })
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 40, "\(run.errors)")
    #expect(run.summary["batches"] as? Int == 20, "\(run.summary)")
  }

  @Test(
    """
    cannot be decompressed: the run names it, `skip --undecodable` finds where decoding goes on, \
    and the gap is recorded
    """
  )
  func undecodable() throws {
    let scenario = try Scenario()
    let mock = try MockCluster(scenario.stack)
    try mock.tell("create \(scenario.topic) 1")
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"\(mock.brokers)\" }, topics: "
        + "[\(scenario.topic)] }]"
    )
    func good(_ count: Int) -> [[String: any Sendable]] {
      (0..<count).map { _ in
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,1\n",
          "timestamp": Scenario.start,
        ]
      }
    }
    func damaged(_ count: Int) -> [[String: any Sendable]] {
      [["op": "produce_damaged", "topic": scenario.topic, "partition": 0, "count": count]]
    }
    try scenario.stack.kafka(mock.brokers, good(3) + damaged(5) + damaged(2) + good(4))
    for gap in ["[3, 8)", "[8, 10)"] {
      let run = try scenario.run()
      #expect(
        run.exitCode == 65
          && run.errors.contains(
            "from offset \(gap.dropFirst().prefix(1)) on cannot be decompressed"),
        "\(run.errors)")
      let command = try #require(run.errors.firstRange(of: "or pass over them: tranche skip "))
        .upperBound
      let words = run.errors[command...].split(whereSeparator: \.isWhitespace).map(String.init)
      let skipped = try scenario.stack.tranche(["skip"] + words, in: scenario.folder.path)
      #expect(
        skipped.exitCode == 0 && skipped.output.contains("[0] \(gap): "),
        "\(skipped.errors)\(skipped.output)")
    }
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["lag"] as? Int == 0, "\(run.errors)")
    let status = try scenario.tranche("status", "job.yaml", "--json").output
    let report = try JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any]
    #expect(report?["records"] as? Int == 7)
    let left = try scenario.tranche(
      "skip", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--undecodable")
    #expect(left.exitCode == 65)
  }
}
