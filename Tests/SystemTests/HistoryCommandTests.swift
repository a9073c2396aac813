import Foundation
import TestSupport
import Testing

/// `tranche history` and `tranche rejects`, on what runs of the binary left.
@Suite("Looking back")
struct HistoryCommandTests {
  /// A topic of 30 messages, each tenth of which is malformed, read in batches of ten.
  private func scenario() throws -> Scenario {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<30).map { number -> [String: any Sendable] in
          [
            "op": "produce", "topic": scenario.topic, "partition": 0,
            "value": number % 10 == 3 ? "oops \(number)\u{1B}[2J" : "\(number % 4),\(number)",
            "timestamp": Scenario.start + number * 1_000,
          ]
        })
    try scenario.write(maxOffsets: 10, more: "rejects: { max_share: 50% }")
    return scenario
  }

  private func lines(_ result: ProcessResult) throws -> [[String: Any]] {
    #expect(result.exitCode == 0, "\(result.errors)")
    return try result.output.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  @Test("history lists batches with time, ranges, records, rejects, bytes and steps")
  func history() throws {
    let scenario = try scenario()
    #expect(try scenario.tranche("history", "job.yaml").exitCode != 0)
    try #require(try scenario.run().exitCode == 0)
    let batches = try lines(scenario.tranche("history", "job.yaml", "--json"))
    #expect(batches.map { $0["batch"] as? Int } == [3, 2, 1])
    let newest = try #require(batches.first)
    #expect(newest["offsets"] as? Int == 10 && newest["records"] as? Int == 9)
    #expect(newest["rejected"] as? Int == 1 && newest["counted"] as? Int == 9)
    // Nine of four bytes and one of eleven.
    #expect(newest["bytes"] as? Int == 9 * 4 + 11, "\(newest)")
    let range = try #require((newest["ranges"] as? [[String: Any]])?.first)
    #expect(range["from"] as? Int == 20 && range["to"] as? Int == 30)
    let steps = try #require(newest["steps"] as? [String: Double])
    #expect(steps["decode"] != nil && steps.values.allSatisfy { $0 > 0 && $0 < 60 }, "\(steps)")
    let text = try scenario.tranche("history", "job.yaml", "--limit", "1").output
    #expect(text.contains("main/\(scenario.topic)[0] [20, 30)"), "\(text)")
    #expect(
      text.contains("3 batches in all: 30 offsets, 27 records, 3 rejected. 2 more"), "\(text)")
  }

  @Test(
    "rejects lists, counts and exports what the checkpoint keeps, and shows no control sequence")
  func rejects() throws {
    let scenario = try scenario()
    try #require(try scenario.run().exitCode == 0)
    let listed = try scenario.tranche("rejects", "job.yaml")
    #expect(listed.output.contains("oops 23\\u{1B}[2J") && !listed.output.contains("\u{1B}"))
    let found = try lines(scenario.tranche("rejects", "job.yaml", "--json", "--limit", "2"))
    #expect(found.map { $0["offset"] as? Int } == [23, 13])
    #expect(found.first?["raw"] as? String == "oops 23\u{1B}[2J")
    let raw = try scenario.tranche("rejects", "job.yaml", "--raw", "--batch", "1").output
    #expect(raw == "oops 3\u{1B}[2J\n")
    let counts = try lines(scenario.tranche("rejects", "job.yaml", "--count", "--json"))
    #expect(counts.first?["kept"] as? Int == 3 && counts.first?["all"] as? Int == 3, "\(counts)")
    let export = try scenario.tranche("rejects", "job.yaml", "--export", "found.ndjson")
    #expect(export.output == "found.ndjson: 3 rejects of job\n", "\(export.errors)")
    let file = scenario.folder.path + "/found.ndjson"
    let exported = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
    #expect(exported.count == 3 && exported[0].contains("\"offset\":3,"))
    let wrong = try scenario.tranche("rejects", "job.yaml", "--export", "missing/found.ndjson")
    #expect(wrong.exitCode == 73 && wrong.errors.contains("--export"), "\(wrong.errors)")
    #expect(try scenario.tranche("rejects", "job.yaml", "--reason", "unheard").exitCode == 64)
  }

  @Test("show --lineage tells the offsets and the batches that a window came from")
  func lineage() throws {
    let scenario = try scenario()
    try #require(try scenario.run("--batches", "1").exitCode == 0)
    try #require(try scenario.run().exitCode == 0)
    let shown = try lines(scenario.tranche("show", "job.yaml", "--lineage", "--json"))
    let window = try #require(shown.first)
    #expect(window["window"] as? String == "2026-11-23T10:00:00.000Z", "\(window)")
    #expect(window["first_batch"] as? Int == 1 && window["last_batch"] as? Int == 3)
    let partition = try #require((window["partitions"] as? [[String: Any]])?.first)
    #expect(partition["from"] as? Int == 0 && partition["to"] as? Int == 30)
    #expect(partition["records"] as? Int == 27)
    let text = try scenario.tranche("show", "job.yaml", "--lineage").output
    #expect(text.contains("from batch 1 to batch 3") && text.contains("[0]"), "\(text)")
  }

  @Test(
    """
    rejects --prune forgets whole batches, killed at any step as well, and with --delete-objects \
    the next run deletes their objects
    """)
  func prune() throws {
    let scenario = try scenario()
    try #require(try scenario.run().exitCode == 0)
    let key = { (batch: Int) in "_tranche/rejects/batch=00000000\(batch).ndjson" }
    for step in 1...20 {
      let died = try scenario.tranche(
        "rejects", "job.yaml", "--prune", "1", "--die-at-step", "\(step)")
      if died.exitCode == 0 { break }
      let left = try lines(scenario.tranche("rejects", "job.yaml", "--json", "--limit", "0"))
      #expect([2, 3].contains(left.count))
      #expect(step < 20)
    }
    #expect(try scenario.objects()[key(1)] != nil)
    let pruned = try scenario.tranche("rejects", "job.yaml", "--prune", "2", "--delete-objects")
    #expect(pruned.output == "job: forgot 1 reject of 1 batch\n", "\(pruned)")
    let left = try lines(scenario.tranche("rejects", "job.yaml", "--json"))
    #expect(left.map { $0["offset"] as? Int } == [23])
    let counts = try lines(scenario.tranche("rejects", "job.yaml", "--count", "--json"))
    #expect(counts.first?["kept"] as? Int == 1 && counts.first?["all"] as? Int == 3, "\(counts)")
    try #require(try scenario.run().exitCode == 0)
    let objects = try scenario.objects()
    #expect(objects[key(1)] != nil && objects[key(2)] == nil && objects[key(3)] != nil)
  }
}
