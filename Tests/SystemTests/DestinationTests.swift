import Foundation
import Synchronization
import TestSupport
import Testing

/// Whose results lie where: nobody overwrites or deletes what another owns.
@Suite("The place of a job's results", .serialized)
final class DestinationTests {
  private let created = Mutex<Set<String>>([])

  /// Makes a topic the first time that it is named.
  private func create(_ topic: String) -> [[String: any Sendable]] {
    let isNew = created.withLock { $0.insert(topic).inserted }
    return isNew ? [["op": "create", "topic": topic, "partitions": 1]] : []
  }

  private func produce(_ scenario: Scenario, _ values: [String], to topic: String? = nil) throws {
    let topic = topic ?? scenario.topic
    try scenario.stack.kafka(
      scenario.stack.broker,
      create(topic)
        + values.map {
          [
            "op": "produce", "topic": topic, "partition": 0, "value": $0,
            "timestamp": Scenario.start,
          ]
        })
  }

  private let global = "window: global\naggregate: { by: [api_id], measures: { calls: count() } }"

  private func marker(_ scenario: Scenario, _ folder: String = "out") throws -> [String: String] {
    let data = try Data(
      contentsOf: URL(fileURLWithPath: "\(scenario.folder.path)/\(folder)/_tranche/owner"))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: String])
  }

  private func text(_ scenario: Scenario) throws -> String {
    try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
  }

  /// A second job of another name on the same place, with records of its own.
  private func writeOther(_ scenario: Scenario) throws {
    let topic = uniqueName("other")
    try produce(scenario, ["7,1\n", "8,1\n"], to: topic)
    try scenario.folder.write(
      try text(scenario).replacing("name: job", with: "name: other").replacing(
        scenario.topic, with: topic),
      to: "other.yaml")
  }

  @Test(
    """
    bears a marker with another token after each run that wrote, and none changes in one that \
    did not
    """,
    arguments: [nil, 0, 1])
  func tokens(store: Int?) throws {
    let scenario = try Scenario(store: store)
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    guard store == nil else { return }
    let first = try marker(scenario)
    #expect(first["job"] == "job")
    #expect(try scenario.run().exitCode == 0)
    #expect(try marker(scenario) == first)
    try produce(scenario, ["2,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let second = try marker(scenario)
    #expect(second["checkpoint"] == first["checkpoint"] && second["token"] != first["token"])
  }

  @Test(
    """
    is not written by another job, which names the owner; with --adopt it takes the place, and \
    the first is refused then
    """,
    arguments: [nil, 0, 1])
  func otherJob(store: Int?) throws {
    let scenario = try Scenario(store: store)
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let original = try scenario.objects()
    try writeOther(scenario)
    for _ in 0..<2 {
      let refused = try scenario.tranche("run", "other.yaml")
      #expect(
        refused.exitCode == 78 && refused.errors.contains("belongs to the job job"),
        "\(refused.errors)")
      #expect(try scenario.objects() == original)
    }
    #expect(try scenario.tranche("resolve", "other.yaml", "--restored").exitCode == 65)
    let adopted = try scenario.tranche("resolve", "other.yaml", "--adopt")
    #expect(adopted.exitCode == 0, "\(adopted.errors)")
    let taken = try scenario.tranche("run", "other.yaml")
    #expect(taken.exitCode == 0, "\(taken.errors)")
    #expect(
      String(decoding: try scenario.objects()["part-0.csv"] ?? Data(), as: UTF8.self)
        == "api_id,calls\n7,1\n8,1\n")
    try produce(scenario, ["2,1\n"])
    let first = try scenario.run()
    #expect(
      first.exitCode == 78 && first.errors.contains("belongs to the job other"), "\(first.errors)")
    // On its own place it has every window's object written again.
    #expect(try scenario.tranche("resolve", "other.yaml", "--adopt").exitCode == 0)
    #expect(try scenario.tranche("run", "other.yaml", "--json").output.contains("\"published\":1"))
  }

  @Test("stays this checkpoint's when nothing could be written to it a hundred times")
  func refusedOften() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let path = scenario.folder.path + "/checkpoints/job.sqlite"
    let seen = try marker(scenario)["token"] ?? ""
    // As runs leave it whose marker cannot be written: a token each, and the one that stands there.
    for number in 0..<100 {
      let sql = """
        DELETE FROM owner_tokens WHERE token = '\(seen)';
        INSERT INTO owner_tokens (token) VALUES ('\(seen)');
        INSERT INTO owner_tokens (token) VALUES ('t\(number)');
        DELETE FROM owner_tokens WHERE number <= (SELECT max(number) FROM owner_tokens) - 64;
        """
      try execute("/usr/bin/sqlite3", [path, sql])
    }
    try produce(scenario, ["2,1\n"])
    #expect(try scenario.run().exitCode == 0)
  }

  @Test("under two names, as bind mounts give them, is left by nobody")
  func twoNames() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let original = try scenario.objects()
    let other = scenario.folder.path + "/other"
    try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
    try execute("/usr/bin/mount", ["--bind", scenario.folder.path + "/out", other])
    defer { _ = try? execute("/usr/bin/umount", [other]) }
    try scenario.folder.write(
      try text(scenario).replacing("file:out", with: "file:other"), to: "job.yaml")
    let moved = try scenario.run()
    #expect(moved.exitCode == 0, "\(moved.errors)")
    #expect(try scenario.objects() == original)
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects() == original)
  }

  @Test("is not emptied by a job that leaves it when it is another's by then")
  func leaving() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    try writeOther(scenario)
    #expect(try scenario.tranche("run", "other.yaml").exitCode == 78)
    #expect(try scenario.tranche("resolve", "other.yaml", "--adopt").exitCode == 0)
    #expect(try scenario.tranche("run", "other.yaml").exitCode == 0)
    let taken = try scenario.objects()
    try scenario.folder.write(
      try text(scenario).replacing("file:out", with: "file:elsewhere"), to: "job.yaml")
    let moved = try scenario.run()
    #expect(
      moved.exitCode == 0 && moved.errors.contains("belongs to another job now"), "\(moved.errors)")
    #expect(try scenario.objects() == taken)
    #expect(scenario.folder.files(below: "elsewhere").count == 1)
  }

  @Test("keeps an object that somebody has changed when the job leaves it")
  func changedByHand() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    try scenario.folder.write("edited", to: "out/part-0.csv")
    try scenario.folder.write(
      try text(scenario).replacing("file:out", with: "file:elsewhere"), to: "job.yaml")
    let moved = try scenario.run()
    #expect(
      moved.exitCode == 0 && moved.errors.contains("this job did not publish it"),
      "\(moved.errors)")
    #expect(
      try scenario.objects().mapValues { String(decoding: $0, as: UTF8.self) } == [
        "part-0.csv": "edited"
      ])
  }

  @Test("that holds objects without a marker is not taken by a new checkpoint, but with --adopt")
  func unmarked() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    try FileManager.default.createDirectory(
      atPath: scenario.folder.path + "/out", withIntermediateDirectories: true)
    try scenario.folder.write("precious", to: "out/part-0.csv")
    let refused = try scenario.run()
    #expect(
      refused.exitCode == 78
        && refused.errors.contains("did not write, at keys that it would replace: part-0.csv"),
      "\(refused.errors)")
    #expect(try scenario.objects().count == 1)
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 0)
    #expect(try scenario.run().exitCode == 0)
    #expect(
      String(decoding: try scenario.objects()["part-0.csv"] ?? Data(), as: UTF8.self)
        == "api_id,calls\n1,1\n")
  }

  @Test("that was emptied is noticed, and written whole again with --adopt")
  func emptied() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let original = try scenario.objects()
    try FileManager.default.removeItem(atPath: scenario.folder.path + "/out")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,1\n",
          "timestamp": Scenario.start + 3_600_000,
        ]
      ])
    let refused = try scenario.run()
    #expect(
      refused.exitCode == 78 && refused.errors.contains("does not hold what this job published"),
      "\(refused.errors)")
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 0)
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(try scenario.objects().count == 2)
    #expect(try scenario.objects().contains { $0 == original.first! })
  }

  @Test(
    """
    stops a checkpoint that was restored or copied, until a person says that it is the one to go \
    on with
    """
  )
  func restored() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let path = scenario.folder.path + "/checkpoints/job.sqlite"
    func copy(to name: String) throws {
      try execute("/usr/bin/sqlite3", [path, ".backup \(scenario.folder.path)/\(name)"])
    }
    func restore(_ name: String) throws {
      for ending in ["", "-wal", "-shm"] {
        try? FileManager.default.removeItem(atPath: path + ending)
      }
      try FileManager.default.copyItem(atPath: "\(scenario.folder.path)/\(name)", toPath: path)
    }
    try copy(to: "old")
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    try copy(to: "new")
    try restore("old")
    for _ in 0..<2 {
      let refused = try scenario.run()
      #expect(
        refused.exitCode == 78 && refused.errors.contains("a restored backup, or a copy"),
        "\(refused.errors)")
    }
    #expect(try scenario.tranche("resolve", "job.yaml", "--adopt").exitCode == 65)
    #expect(try scenario.tranche("resolve", "job.yaml", "--restored").exitCode == 0)
    #expect(try scenario.run().exitCode == 0)
    #expect(
      String(decoding: try scenario.objects()["part-0.csv"] ?? Data(), as: UTF8.self)
        == "api_id,calls\n1,2\n")
    // The other one comes back to life.
    try restore("new")
    try produce(scenario, ["2,1\n"])
    #expect(try scenario.run().exitCode == 78)
  }

  @Test("is held by one process at a time")
  func held() throws {
    let scenario = try Scenario()
    try scenario.write(rest: global)
    try produce(scenario, ["1,1\n"])
    try FileManager.default.createDirectory(
      atPath: scenario.folder.path + "/out/_tranche", withIntermediateDirectories: true)
    let run = try execute(
      "/usr/bin/flock", ["out/_tranche", scenario.stack.binary, "run", "job.yaml"],
      directory: scenario.folder.path)
    #expect(
      run.exitCode == 75 && run.errors.contains("another run writes to this folder now"),
      "\(run.errors)")
    #expect(try scenario.run().exitCode == 0)
  }
}
