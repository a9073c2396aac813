import Foundation
import TestSupport
import Testing

extension Scenario {
  /// What `verify` finds, and its exit code.
  fileprivate func verify(
    _ arguments: String...
  ) throws -> (exitCode: Int32, findings: [String], report: [String: Any]) {
    let result = try stack.tranche(
      ["verify", "job.yaml", "--json"] + arguments, in: folder.path, environment: credentials)
    let report =
      (try? JSONSerialization.jsonObject(with: Data(result.output.utf8))) as? [String: Any] ?? [:]
    return (result.exitCode, report["findings"] as? [String] ?? [result.errors], report)
  }

  fileprivate func sql(_ text: String) throws -> String {
    try execute("/usr/bin/sqlite3", ["\(folder.path)/checkpoints/job.sqlite", text]).output
  }

  /// Two runs over samples, of which some do not decode.
  fileprivate func prepare(output: String) throws {
    try write(output: output, more: "rejects: { policy: quarantine, max_share: 100% }")
    try stack.kafka(stack.broker, [["op": "create", "topic": topic, "partitions": 6]])
    for seed in 1...2 {
      try stack.kafka(
        stack.broker,
        [
          samples(count: 3_000, seed: seed),
          [
            "op": "produce", "topic": topic, "partition": 0, "timestamp": Self.start,
            "value": "oops",
          ],
        ])
      #expect(try run().exitCode == 0)
    }
  }
}

@Suite("tranche verify, on a real broker and real stores")
struct VerifyTests {
  @Test("agrees, and finds every defect with its name", arguments: [nil, 0, 1])
  func teeth(store: Int?) throws {
    let scenario = try Scenario(store: store)
    try scenario.prepare(output: "format: parquet")
    let clean = try scenario.verify("--strict")
    #expect(clean.exitCode == 0 && clean.findings == [])
    #expect(try scenario.verify("--deep").exitCode == 0)
    let text = try scenario.tranche("verify", "job.yaml").output
    #expect(text.hasPrefix("job, as of batch 8: all agrees\n"), "\(text)")

    let path = "\(scenario.folder.path)/checkpoints/job.sqlite"
    let saved = try Data(contentsOf: URL(fileURLWithPath: path))
    /// With the checkpoint edited, which is put back.
    func finds(_ edit: String, _ text: String) throws {
      _ = try scenario.sql("\(edit); PRAGMA wal_checkpoint(TRUNCATE)")
      let (exitCode, findings, _) = try scenario.verify()
      #expect(exitCode == 1 && findings.contains { $0.contains(text) }, "\(edit): \(findings)")
      try saved.write(to: URL(fileURLWithPath: path))
    }
    let group = try scenario.sql(
      "SELECT api_id, calls FROM groups WHERE window = \(Scenario.start) LIMIT 1"
    ).split(whereSeparator: { $0 == "|" || $0.isNewline })
    let (key, calls) = (group[0], Int(group[1])!)
    try finds(
      """
      UPDATE groups SET calls = calls + 1 WHERE window = \(Scenario.start) AND api_id = \(key)
      """,
      "window 2026-11-23T10:00:00.000Z, group (api_id=\(key)): calls is \(calls + 1), and the "
        + "messages give \(calls)")
    let next = Int(
      try scenario.sql("SELECT next_offset FROM partitions WHERE partition = 3").dropLast())!
    try finds(
      "UPDATE partitions SET next_offset = next_offset + 1 WHERE partition = 3",
      "[3] [\(next), \(next + 1)): missing: the ledger calls it counted, and no batch has read it")
    try finds("DELETE FROM batches WHERE batch = 2", "batch 2: the history lacks it")
    try finds("DELETE FROM batches WHERE batch = 8", "batch 8: the history lacks it")
    try finds("UPDATE rejects SET reason = 'notFinite'", "reason is notFinite, and the messages")
    try finds("DELETE FROM rejects", "the checkpoint lacks it (")
    #expect(try scenario.verify().exitCode == 0)
  }

  @Test("finds an object of which one byte was changed, and one that was removed")
  func objects() throws {
    let scenario = try Scenario()
    try scenario.prepare(output: "format: csv")
    let key = "window_start=2026-11-23T10-05-00Z/part-0.csv"
    let file = URL(fileURLWithPath: "\(scenario.folder.path)/out/\(key)")
    var bytes = try Data(contentsOf: file)
    bytes[30] ^= 1
    try bytes.write(to: file)
    let changed = try scenario.verify()
    #expect(changed.exitCode == 1 && changed.findings.count == 1)
    #expect(
      changed.findings[0].hasPrefix(
        "object \(key): it is not what the state renders to, from byte 30 on"))
    try FileManager.default.removeItem(at: file)
    #expect(try scenario.verify().findings == ["object \(key): it is not there"])
    let one = try scenario.verify("--window", "2026-11-23T10:00:00Z")
    #expect(one.exitCode == 0 && one.report["windows"] as? Int == 1)
    let sample = try scenario.verify("--sample", "2")
    #expect(sample.report["windows"] as? Int == 2)
    #expect(try scenario.tranche("verify", "job.yaml", "--sample", "0").exitCode == 64)
  }

  @Test("tells holes of transactions and compaction, and what the broker no longer holds")
  func offsets() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,2",
          "timestamp": Scenario.start,
        ],
        ["op": "begin"],
        ["op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,3"],
        ["op": "abort"],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,4",
          "timestamp": Scenario.start,
        ],
      ])
    #expect(try scenario.run().exitCode == 0)
    let (exitCode, findings, report) = try scenario.verify()
    #expect(exitCode == 0 && findings == [])
    let offsets = (report["offsets"] as? [[String: Any]])?.first ?? [:]
    #expect(offsets["counted"] as? Int == 2 && (offsets["holes"] as? Int ?? 0) >= 2)
  }

  @Test("works beside a run, holds no lock, and changes neither checkpoint nor results")
  func besideARun() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 10)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 2_000, seed: 1),
      ])
    #expect(try scenario.run("--batches", "20").exitCode == 0)
    var found: [(exitCode: Int32, findings: [String], report: [String: Any])] = []
    let run = try scenario.tranche("run", "job.yaml") { _ in
      for _ in 0..<5 { found.append(try scenario.verify()) }
    }
    #expect(run.exitCode == 0)
    for found in found { #expect(found.exitCode == 0 && found.findings == []) }
    let state = try scenario.state()
    #expect(try scenario.verify().exitCode == 0)
    #expect(try scenario.state() == state)
    let files = try FileManager.default.contentsOfDirectory(
      atPath: "\(scenario.folder.path)/checkpoints")
    #expect(
      Set(files).isSubset(of: ["job.lock", "job.sqlite", "job.sqlite-shm", "job.sqlite-wal"]))
  }
}
