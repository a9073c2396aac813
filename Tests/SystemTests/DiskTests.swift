import Foundation
import TestSupport
import Testing

@Suite("A disk in trouble")
struct DiskTests {
  private func text(_ scenario: Scenario, _ name: String) throws -> String {
    try String(contentsOfFile: "\(scenario.folder.path)/\(name)", encoding: .utf8)
  }

  @Test(
    """
    that is full or read-only is an error that says so and leaves the old state, for the \
    checkpoint as for the objects; with room it goes on
    """,
    arguments: [
      (checkpoints: "disk/checkpoints", to: "file:out"),
      (checkpoints: "checkpoints", to: "file:disk/out"),
    ])
  func full(checkpoints: String, to: String) throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 5_000, seed: 3),
      ])
    try scenario.folder.write(
      try text(scenario, "job.yaml").replacing("file:out", with: to), to: "job.yaml")
    try FileManager.default.createDirectory(
      atPath: scenario.folder.path + "/disk", withIntermediateDirectories: true)
    let codes = try scenario.stack.script(
      "SystemTests/full_disk.sh", [scenario.stack.binary, checkpoints], in: scenario.folder.path)
    let (full, readOnly) = (try text(scenario, "full.txt"), try text(scenario, "read_only.txt"))
    #expect(codes == "74 73 0\n", "\(full)\(readOnly)")
    #expect(full.contains("Free space"), "\(full)")
    let objects =
      to == "file:out" ? try scenario.objects() : scenario.folder.files(below: "kept/out")
    #expect(objects.keys.allSatisfy { $0.hasSuffix("/part-0.csv") }, "\(objects.keys)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)], objects: objects)
  }

  // A first run on a disk with 220 kB left once made a checkpoint that was damaged for good: its
  // log could not be merged when it was closed, nobody looked, and it was renamed all the same.
  @Test(
    "that fills up at any place of a run ends it with 74; with room the next is as if it never had",
    arguments: [
      (begin: "new", isRowJob: false), (begin: "old", isRowJob: false),
      (begin: "new", isRowJob: true), (begin: "old", isRowJob: true),
    ])
  func filling(begin: String, isRowJob: Bool) throws {
    let scenario = try Scenario()
    try scenario.write(
      rest: isRowJob ? "" : nil, output: isRowJob ? "format: json, keep: each" : "format: csv",
      maxOffsets: 300, more: "rejects: { max_share: 90% }")
    let job = try text(scenario, "job.yaml").replacing("file:out", with: "file:disk/out")
    try scenario.folder.write(job, to: "job.yaml")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 898, seed: 3),
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "oops\n",
          "timestamp": Scenario.start,
        ],
        [
          "op": "produce", "topic": scenario.topic, "partition": 1, "value": "oops\n",
          "timestamp": Scenario.start,
        ],
      ])
    // A page has 4 KiB: make acceptance tries each.
    let step = ProcessInfo.processInfo.environment["TRANCHE_DISK_STEP_KIB"] ?? "16"
    let lines = try scenario.stack.script(
      "SystemTests/filling_disk.sh", [scenario.stack.binary, begin, step], in: scenario.folder.path
    ).split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    let expected = try #require(lines.first?.last)
    #expect(lines.first?[1] == "0")
    for line in lines.dropFirst() {
      #expect(
        ["0", "74"].contains(line[1]) && line[2] == "0" && line[3] == expected,
        "\(line) is not \(expected)")
    }
    let failedCount = lines.filter { $0[1] == "74" }.count
    #expect(failedCount >= (begin == "new" ? 12 : 3), "\(failedCount) of \(lines.count)")
  }

  @Test(
    """
    that damaged the checkpoint, by its end or in its middle, is an error with 74, and no byte \
    of it is changed
    """,
    arguments: [true, false])
  func damaged(isTruncated: Bool) throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 2_000, seed: 3),
      ])
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    let path = URL(fileURLWithPath: scenario.folder.path + "/checkpoints/job.sqlite")
    var bytes = try Data(contentsOf: path)
    #expect(bytes.count > 20 * 4_096)
    // The pages behind the schema's are the tables'.
    if isTruncated {
      bytes = bytes.prefix(bytes.count / 2)
    } else {
      for index in 4_096..<bytes.count { bytes[index] = 0xA5 }
    }
    try bytes.write(to: path)
    let run = try scenario.run()
    #expect(run.exitCode == 74, "\(run.errors)")
    #expect(run.errors.contains("damaged"), "\(run.errors)")
    #expect(try Data(contentsOf: path) == bytes)
  }

  @Test(
    """
    that flipped any one page of the checkpoint is an error with 74, or makes no difference to \
    the results
    """
  )
  func flippedPage() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 3_000, seed: 3),
      ])
    #expect(try scenario.run("--batches", "2").exitCode == 0)
    let path = URL(fileURLWithPath: scenario.folder.path + "/checkpoints/job.sqlite")
    let kept = try Data(contentsOf: path)
    // The results too: a checkpoint that is older than its place is refused for that.
    let (results, keptResults) = (scenario.folder.path + "/out", scenario.folder.path + "/kept")
    try FileManager.default.copyItem(atPath: results, toPath: keptResults)
    func restore(_ bytes: Data) throws {
      for ending in ["-wal", "-shm"] {
        try? FileManager.default.removeItem(atPath: path.path + ending)
      }
      try bytes.write(to: path)
      try FileManager.default.removeItem(atPath: results)
      try FileManager.default.copyItem(atPath: keptResults, toPath: results)
    }
    #expect(try scenario.run().exitCode == 0)
    let expected = try scenario.objects()
    var refusedCount = 0
    for page in 0..<kept.count / 4_096 {
      var bytes = kept
      // All of the page, but for the file's header on the first.
      for index in max(100, page * 4_096)..<(page + 1) * 4_096 { bytes[index] ^= 0xA5 }
      try restore(bytes)
      let run = try scenario.run()
      if run.exitCode == 0 {
        #expect(try scenario.objects() == expected, "page \(page)")
      } else {
        #expect(
          run.exitCode == 74 && run.errors.contains("damaged"),
          "page \(page): \(run.exitCode) \(run.errors)")
        refusedCount += 1
      }
    }
    #expect(refusedCount > 10, "\(refusedCount) of \(kept.count / 4_096) pages")
    try restore(kept)
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects() == expected)
  }
}
