import Foundation
import TestSupport
import Testing

/// `release-0.1` holds what release 0.1 left behind: a checkpoint of schema version 1, whose place
/// bears no marker and has its rejects where readers look for results. It read the 20 records
/// below.
@Suite("What the release before left", .serialized)
struct UpgradeTests {
  private static let topic = "release-1"

  private static func row(_ number: Int) -> [String: any Sendable] {
    let value =
      [3, 14].contains(number) ? "oops\n" : "\(number % 4),\(number % 5 == 0 ? "" : "\(number)")\n"
    return [
      "op": "produce", "topic": topic, "partition": 0, "value": value,
      "timestamp": 1_795_428_000_000 + number * 30_000,
    ]
  }

  /// A folder as the release left it, and the topic with 24 records.
  private func scenario() throws -> Scenario {
    let scenario = try Scenario()
    let kept = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "release-0.1")
    let folder = URL(fileURLWithPath: scenario.folder.path)
    let files = FileManager.default
    try files.copyItem(
      at: kept.appendingPathComponent("results"), to: folder.appendingPathComponent("out"))
    try files.createDirectory(
      at: folder.appendingPathComponent("checkpoints"), withIntermediateDirectories: true)
    try files.copyItem(
      at: kept.appendingPathComponent("job.sqlite"),
      to: folder.appendingPathComponent("checkpoints/job.sqlite"))
    let job = try String(contentsOf: kept.appendingPathComponent("job.yaml"), encoding: .utf8)
    let topic = uniqueName("release")
    try scenario.folder.write(
      job.replacing("BROKER", with: scenario.stack.broker).replacing(Self.topic, with: topic),
      to: "job.yaml")
    // The broker of this test is another one, and so is its topic's name.
    let sql = """
      DELETE FROM clusters; UPDATE partitions SET topic = '\(topic)';
      UPDATE rejects SET topic = '\(topic)';
      UPDATE batches SET ranges = replace(ranges, '\(Self.topic)', '\(topic)');
      UPDATE job_settings SET key = replace(key, '\(Self.topic)', '\(topic)');
      """
    let edited = try execute(
      "/usr/bin/sqlite3", [scenario.folder.path + "/checkpoints/job.sqlite", sql])
    try #require(edited.exitCode == 0, "\(edited.errors)")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": topic, "partitions": 1]]
        + (0..<24).map { Self.row($0).merging(["topic": topic]) { $1 } })
    return scenario
  }

  @Test(
    "opens and goes on: counts add up, the place is marked, and rejects move out of the results")
  func goesOn() throws {
    let scenario = try scenario()
    for command in ["status", "show", "plan"] {
      let shown = try scenario.tranche(command, "job.yaml")
      #expect(shown.exitCode == 0, "\(command): \(shown.errors)")
    }
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 4, "\(run.errors)")
    let objects = try scenario.objects()
    #expect(
      objects.keys.sorted() == [
        "_tranche/rejects/batch=000000001.ndjson", "_tranche/rejects/batch=000000002.ndjson",
        "window_start=2026-11-23T10-00-00Z/part-0.csv",
        "window_start=2026-11-23T10-05-00Z/part-0.csv",
        "window_start=2026-11-23T10-10-00Z/part-0.csv",
      ])
    #expect(FileManager.default.fileExists(atPath: scenario.folder.path + "/out/_tranche/owner"))
    // The whole of the first windows is as it was; the fourth batch opens the third.
    #expect(
      objects["window_start=2026-11-23T10-10-00Z/part-0.csv"].map {
        String(decoding: $0, as: UTF8.self)
      }
        == "api_id,calls,time_taken,mean,share\n0,1,\\N,\\N,25.0\n"
        + "1,1,21,21.0,25.0\n2,1,22,22.0,25.0\n3,1,23,23.0,25.0\n"
    )
    #expect(try scenario.run().summary["published"] as? Int == 0)
    let status = try scenario.tranche("status", "job.yaml", "--json").output
    #expect(status.contains("\"records\":22") && status.contains("\"rejected\":2"), "\(status)")
  }

  @Test("evolves: an added measure is NULL in its windows, and whole in the one that begins later")
  func evolves() throws {
    let scenario = try scenario()
    let job = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try #require(job.components(separatedBy: "mean: avg(time_taken)").count == 2, "\(job)")
    try scenario.folder.write(
      job.replacing(
        "mean: avg(time_taken)", with: "mean: avg(time_taken), slowest: max(time_taken)"),
      to: "job.yaml")
    let refused = try scenario.run()
    #expect(refused.exitCode == 78 && refused.errors.contains("tranche evolve"))
    let evolved = try scenario.tranche("evolve", "job.yaml")
    #expect(evolved.exitCode == 0, "\(evolved.errors)")
    #expect(try scenario.run().exitCode == 0)
    let objects = try scenario.objects().filter { !$0.key.hasPrefix("_") }
      .sorted { $0.key < $1.key }.map { String(decoding: $0.value, as: UTF8.self) }
    #expect(objects.count == 3)
    #expect(objects.allSatisfy { $0.hasPrefix("api_id,calls,time_taken,mean,slowest,share\n") })
    // Of the first two windows all, of the third what has a time.
    let slowest = objects.map { text in
      text.split(separator: "\n").dropFirst().map { String($0.split(separator: ",")[4]) }
    }
    #expect(slowest[0] == ["\\N", "\\N", "\\N", "\\N"] && slowest[1] == slowest[0])
    #expect(slowest[2] == ["\\N", "21", "22", "23"])
    #expect(try scenario.tranche("verify", "job.yaml").exitCode == 0)
    #expect(try scenario.tranche("checkpoint", "check", "job.yaml").exitCode == 0)
  }

  @Test("is not taken for this job's own where its objects are not the ones that were published")
  func changed() throws {
    let scenario = try scenario()
    try scenario.folder.write("other\n", to: "out/window_start=2026-11-23T10-00-00Z/part-0.csv")
    let run = try scenario.run()
    #expect(
      run.exitCode == 78 && run.errors.contains("does not hold what this job published"),
      "\(run.errors)")
    #expect(
      scenario.folder.files(below: "out")["window_start=2026-11-23T10-00-00Z/part-0.csv"]
        == Data("other\n".utf8))
  }
}
