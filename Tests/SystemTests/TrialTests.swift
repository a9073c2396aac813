import Foundation
import TestSupport
import Testing

/// What a job makes of some messages, without a trace: `tranche try` and `tranche test`.
@Suite("A trial of a job")
struct TrialTests {
  private func object(_ result: ProcessResult) throws -> [String: Any] {
    try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any],
      "\(result)")
  }

  /// Everything in the scenario's folder but the job file.
  private func leftovers(_ scenario: Scenario) -> [String] {
    scenario.folder.files(below: ".").keys.filter { $0 != "job.yaml" }.sorted()
  }

  @Test("prints for the newest messages the very table that a run makes of them, and keeps nothing")
  func asRun() throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 3_000, seed: 4),
      ])
    try scenario.write(maxOffsets: 700)
    let temporary = try TemporaryFolder()
    let environment = ["TMPDIR": temporary.path]
    let tried = try scenario.tranche(
      "try", "job.yaml", "--records", "5000", "--rows", "3", environment: environment)
    #expect(tried.exitCode == 0, "\(tried)")
    #expect(
      tried.output.hasPrefix("job: the newest 3,000 messages, 3,000 records, "), "\(tried.output)")
    #expect(tried.output.contains("Nothing is kept."))
    let json = try scenario.tranche(
      "try", "job.yaml", "--records", "5000", "--json", environment: environment)
    #expect(leftovers(scenario) == [])
    #expect(temporary.files(below: "").isEmpty)

    #expect(try scenario.run().exitCode == 0)
    let results = try #require(try object(json)["results"] as? [[String: Any]])
    #expect(results.count == 3)
    for result in results {
      let name = try #require(result["name"] as? String)
      let title = try #require(result["title"] as? String)
      let shown = try scenario.tranche("show", "job.yaml", "--window", name, "--json")
      let rows = try shown.output.split(separator: "\n").map {
        try JSONSerialization.jsonObject(with: Data($0.utf8)) as? NSDictionary
      }
      #expect(result["rows"] as? [NSDictionary] == rows.compactMap(\.self), "\(name)")
      // The same table for a person.
      let text = try scenario.tranche("show", "job.yaml", "--window", name, "--rows", "3").output
      let table = text.split(separator: "\n").dropFirst().joined(separator: "\n")
      #expect(tried.output.contains(title) && tried.output.contains(table), "\(tried.output)")
    }
  }

  @Test("takes no more than it is asked for: the newest by their time, over all partitions")
  func newest() throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 3]]
        + (0..<30).map {
          [
            "op": "produce", "topic": scenario.topic, "partition": $0 % 3, "value": "\($0),1\n",
            "timestamp": Scenario.start + $0,
          ]
        })
    try scenario.write(
      rest: "where: api_id >= 0", output: "format: parquet, keep: each", maxOffsets: 4)
    let report = try object(
      try scenario.tranche("try", "job.yaml", "--records", "10", "--json"))
    let results = try #require(report["results"] as? [[String: Any]])
    #expect(
      results.map { $0["name"] as? String } == [
        "batch=000000001", "batch=000000002", "batch=000000003",
      ])
    let ids = results.flatMap {
      ($0["rows"] as? [[String: Any]] ?? []).map { $0["api_id"] as? Int }
    }
    #expect(Set(ids) == Set(20..<30))
  }

  @Test("tells how many records were rejected and why, and that a run would stop")
  func rejects() throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,2\n1,x\n", "1\n", "y,2\n2,x\n"].map {
          ["op": "produce", "topic": scenario.topic, "partition": 0, "value": $0]
        })
    try scenario.write(more: "rejects: { policy: fail }")
    let tried = try scenario.tranche("try", "job.yaml")
    #expect(tried.exitCode == 0, "\(tried)")
    let lines = tried.output.split(separator: "\n").map {
      $0.split(separator: " ").joined(separator: " ")
    }
    #expect(
      lines.contains("job: the newest 3 messages, 1 record, 4 rejected. Nothing is kept."),
      "\(lines)")
    #expect(lines.contains("rejected reason field first at record"))
    #expect(lines.contains("2 wrongType time_taken \(scenario.topic)[0] 0 1,x"), "\(lines)")
    #expect(lines.contains("1 missingField time_taken \(scenario.topic)[0] 1 1"))
    #expect(lines.contains("1 wrongType api_id \(scenario.topic)[0] 2 y,2"))
    #expect(lines.last == "A run would stop at the first of them: rejects.policy is fail.")
    let report = try object(try scenario.tranche("try", "job.yaml", "--json"))
    #expect((report["rejects"] as? [[String: Any]])?.first?["records"] as? Int == 2)
    #expect((report["would_stop"] as? String)?.hasPrefix("A run would stop") == true)
  }

  @Test("needs no store and no lock, and takes what is there wherever the job would start")
  func alone() throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 100, seed: 1),
      ])
    try scenario.write()
    let job = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      job.replacing("file:out", with: "s3://none/none").replacing(
        "  format: csv\n", with: "  start: latest\n  format: csv\n"
      ).replacing(
        "endpoint: \"\"", with: "endpoint: \"http://127.0.0.1:1\""), to: "job.yaml")
    let lock = scenario.folder.path + "/checkpoints/job.lock"
    try FileManager.default.createDirectory(
      atPath: scenario.folder.path + "/checkpoints", withIntermediateDirectories: true)
    try scenario.folder.write("", to: "checkpoints/job.lock")
    let tried = try execute(
      "/usr/bin/flock", [lock, scenario.stack.binary, "try", "job.yaml"],
      directory: scenario.folder.path)
    #expect(tried.exitCode == 0 && tried.output.contains("100 records"), "\(tried)")
    #expect(leftovers(scenario) == ["checkpoints/job.lock"])
  }

  @Test("of an empty topic says so; of one that does not exist it fails as a run does")
  func nothing() throws {
    let scenario = try Scenario()
    try scenario.write()
    let failed = try scenario.tranche("try", "job.yaml")
    #expect(failed.exitCode == 65 && failed.errors.contains(scenario.topic), "\(failed)")
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
    let empty = try scenario.tranche("try", "job.yaml")
    #expect(empty.exitCode == 0, "\(empty)")
    #expect(empty.output == "job: the topics hold no messages\n")
  }

  @Test("leaves nothing behind when a signal ends it", arguments: [SIGINT, SIGTERM, SIGHUP])
  func signals(_ signal: Int32) throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 1)
    // Every record is a batch with a commit of its own, so that this takes a while.
    try scenario.folder.write(
      (0..<200_000).map { "\($0 % 7),1" }.joined(separator: "\n"), to: "records.csv")
    let cases = scenario.folder.path + "/job.test/long"
    try FileManager.default.createDirectory(atPath: cases, withIntermediateDirectories: true)
    try FileManager.default.moveItem(
      atPath: scenario.folder.path + "/records.csv", toPath: cases + "/records.csv")
    try scenario.folder.write("2026-11-23T10:00:00Z\n", to: "job.test/long/now")
    let temporary = try TemporaryFolder()
    let ended = try scenario.tranche(
      "test", "job.yaml", environment: ["TMPDIR": temporary.path]
    ) { process in
      let deadline = ContinuousClock.now + .seconds(20)
      func isThere() -> Bool {
        temporary.files(below: "").keys.contains { $0.hasSuffix("job.sqlite-wal") }
      }
      while !isThere(), ContinuousClock.now < deadline { usleep(10_000) }
      #expect(isThere())
      kill(process, signal)
    }
    #expect(ended.exitCode == -signal, "\(ended)")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: temporary.path) == [], "\(ended)")
  }
}

/// `tranche test` on fixtures, as a user's CI calls it: without a broker, a store or their
/// settings.
@Suite("Fixtures of a job")
struct FixtureCommandTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private let folder: TemporaryFolder
  private let binary: String

  init() throws {
    folder = try TemporaryFolder()
    binary = try TestStack().binary
  }

  private func write(_ text: String, to name: String) throws {
    let url = URL(fileURLWithPath: "\(folder.path)/\(name)")
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  private func test(_ arguments: String...) throws -> ProcessResult {
    try execute(binary, ["test"] + arguments, directory: folder.path)
  }

  private func writeJob() throws {
    try write(
      """
      source:
        kafka:
          - { name: main, properties: { bootstrap.servers: "${NO_SUCH_BROKERS}" }, topics: [t] }
        format: json
        fields: { route: string, ms: int32 }
      window: { tumbling: 1m }
      aggregate: { by: [route], measures: { calls: count(), ms: sum(ms) } }
      select: { share: 100.0 * ms / sum(ms) OVER () }
      output: { to: "${NO_SUCH_PLACE}" }
      """, to: "jobs/shares.yaml")
    try write(
      """
      {"timestamp": "2026-11-23T10:00:00Z", "value": {"route": "/", "ms": 30}}
      {"timestamp": "2026-11-23T10:00:59Z", "value": {"route": "/cart", "ms": 10}}
      {"timestamp": "2026-11-23T10:01:00Z", "value": {"route": "/", "ms": "x"}}

      """, to: "jobs/shares.test/minute/messages.jsonl")
  }

  @Test(
    "are written by --update, and compared from then on; a difference is shown by window and row")
  func cycle() throws {
    try writeJob()
    let case_ = "jobs/shares.test/minute"
    let first = try test("jobs/shares.yaml")
    #expect(first.exitCode == 1, "\(first)")
    #expect(first.output.contains("\(case_): NOT AS EXPECTED: 2 records, 1 rejected, 1 result"))
    #expect(first.output.contains("expected.csv: nothing of this was expected: 2 rows."))
    #expect(first.output.contains("rejects.csv: nothing of this was expected: 1 row."))

    let written = try test("jobs/shares.yaml", "--update")
    #expect(
      written.exitCode == 0
        && written.output.contains("\(case_): written: 2 records, 1 rejected, 1 result"),
      "\(written)")
    let expected = "route,calls,ms,share\n/,1,30,75.0\n/cart,1,10,25.0\n"
    let path = "\(folder.path)/\(case_)/expected.csv"
    #expect(try String(contentsOfFile: path, encoding: .utf8) == expected)
    #expect(
      try String(contentsOfFile: "\(folder.path)/\(case_)/rejects.csv", encoding: .utf8)
        == "topic,partition,offset,record,reason,field\nt,0,2,0,wrongType,ms\n")
    let same = try test("jobs/shares.yaml")
    #expect(
      same.exitCode == 0
        && same.output
          == "\(case_): as expected: 2 records, 1 rejected, 1 result\n1 case: all as expected\n",
      "\(same)")
    #expect(try test("jobs/shares.yaml", "--update").output.contains("\(case_): as it was"))

    try write(expected.replacing("1,10,25.0", with: "1,11,25"), to: "\(case_)/expected.csv")
    let differs = try test("jobs/shares.yaml")
    #expect(differs.exitCode == 1, "\(differs)")
    #expect(
      differs.output.contains(
        """
          expected.csv:
              route,calls,ms,share
            row 2
            - /cart,1,11,25.0
            + /cart,1,10,25.0
        1 case: 1 not as expected
        """), "\(differs.output)")
    let json = try test("jobs/shares.yaml", "--json")
    #expect(json.exitCode == 1)
    #expect(
      json.output == #"""
        {"cases":[{"case":"minute","differences":[{"expected":"/cart,1,11,25.0",\#
        "file":"expected.csv","got":"/cart,1,10,25.0","row":2}],"job":"jobs/shares.yaml",\#
        "records":2,"rejected":1,"result":"differs","results":1}],"exit_code":1}

        """#, "\(json.output)")
    // Nothing but the fixtures' own files was written.
    #expect(
      folder.files(below: "").keys.sorted() == [
        "\(case_)/expected.csv", "\(case_)/messages.jsonl", "\(case_)/rejects.csv",
        "jobs/shares.yaml",
      ])
  }

  @Test("that cannot be tried fail, each with its file, line and remedy, and the others go on")
  func faults() throws {
    try writeJob()
    #expect(try test("jobs/shares.yaml", "--update").exitCode == 0)
    try write("{\"value\": 1, \"timestamp\": \"noon\"}", to: "jobs/shares.test/bad/messages.jsonl")
    try write("", to: "jobs/shares.test/empty/note")
    let result = try test("jobs/shares.yaml")
    #expect(result.exitCode == 1, "\(result)")
    #expect(
      result.errors.contains(
        "jobs/shares.test/bad/messages.jsonl:1: has no valid timestamp. Write for example 2026-"),
      "\(result.errors)")
    #expect(result.errors.contains("jobs/shares.test/empty: holds no messages. Write one of "))
    #expect(result.output.contains("minute: as expected"))
    #expect(result.output.hasSuffix("3 cases: 2 not as expected\n"), "\(result.output)")
  }

  @Test("stop with a batch that cannot be committed, as a run would")
  func overflow() throws {
    try writeJob()
    let job = try String(contentsOfFile: folder.path + "/jobs/shares.yaml", encoding: .utf8)
    try write(job.replacing("ms: int32", with: "ms: int64"), to: "jobs/shares.yaml")
    let line = #"{"timestamp": 0, "value": {"route": "/", "ms": 9000000000000000000}}"#
    try write("\(line)\n\(line)\n", to: "jobs/shares.test/minute/messages.jsonl")
    let result = try test("jobs/shares.yaml")
    #expect(result.exitCode == 1 && result.output.contains("minute: FAILED"), "\(result)")
    #expect(result.errors.contains("main/t[0] offset 1"), "\(result.errors)")
  }

  @Test("may be missing: exit code 66 if there are none at all, and 65 for a job that is not valid")
  func none() throws {
    try writeJob()
    try FileManager.default.removeItem(atPath: folder.path + "/jobs/shares.test")
    let none = try test("jobs/shares.yaml")
    #expect(none.exitCode == 66 && none.errors.contains("jobs/shares.test/first"), "\(none)")
    #expect(try test("jobs/none.yaml").exitCode == 65)
    try write("name: x\n", to: "jobs/bad.yaml")
    let bad = try test("jobs/shares.yaml", "jobs/bad.yaml")
    #expect(bad.exitCode == 65 && !bad.errors.contains("nothing to test"), "\(bad)")
    #expect(try test("-").exitCode == 65)
  }

  @Test("of every job in jobs/ hold, without a broker and without the variables that it names")
  func examples() throws {
    let jobs = try FileManager.default.contentsOfDirectory(
      atPath: Self.root.appendingPathComponent("jobs").path
    ).filter { $0.hasSuffix(".yaml") }.sorted()
    #expect(jobs.count >= 2)
    for job in jobs {
      let result = try execute(binary, ["test", "jobs/\(job)"], directory: Self.root.path)
      #expect(result.exitCode == 0 && result.output.contains("as expected"), "\(job): \(result)")
    }
  }
}
