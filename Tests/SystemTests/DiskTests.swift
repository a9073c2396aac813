import Foundation
import TestSupport
import Testing

@Suite("A disk in trouble")
struct DiskTests {
  private func text(_ scenario: Scenario, _ name: String) throws -> String {
    try String(contentsOfFile: "\(scenario.folder.path)/\(name)", encoding: .utf8)
  }

  @Test(
    "that is full or read-only is an error that says so and leaves the old state, for the checkpoint as for the objects; with room it goes on",
    arguments: [(checkpoints: "disk/checkpoints", to: "file:out"), (checkpoints: "checkpoints", to: "file:disk/out")])
  func full(checkpoints: String, to: String) throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 2], scenario.samples(partitions: 2, count: 5_000, seed: 3)])
    try scenario.folder.write(try text(scenario, "job.yaml").replacing("file:out", with: to), to: "job.yaml")
    try FileManager.default.createDirectory(atPath: scenario.folder.path + "/disk", withIntermediateDirectories: true)
    let codes = try scenario.stack.script("SystemTests/full_disk.sh", [scenario.stack.binary, checkpoints], in: scenario.folder.path)
    let (full, readOnly) = (try text(scenario, "full.txt"), try text(scenario, "read_only.txt"))
    #expect(codes == "74 73 0\n", "\(full)\(readOnly)")
    #expect(full.contains("Free space"), "\(full)")
    let objects = to == "file:out" ? try scenario.objects() : scenario.folder.files(below: "kept/out")
    #expect(objects.keys.allSatisfy { $0.hasSuffix("/part-0.csv") }, "\(objects.keys)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)], objects: objects)
  }

  @Test(
    "that damaged the checkpoint, by its end or in its middle, is an error with 74, and no byte of it is changed", arguments: [true, false])
  func damaged(isTruncated: Bool) throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 2], scenario.samples(partitions: 2, count: 2_000, seed: 3)])
    #expect(try scenario.run("--batches", "1").exitCode == 0)
    let path = URL(fileURLWithPath: scenario.folder.path + "/checkpoints/job.sqlite")
    var bytes = try Data(contentsOf: path)
    #expect(bytes.count > 20 * 4_096)
    // The pages behind the schema's are the tables'.
    if isTruncated { bytes = bytes.prefix(bytes.count / 2) } else { for index in 4_096..<bytes.count { bytes[index] = 0xA5 } }
    try bytes.write(to: path)
    let run = try scenario.run()
    #expect(run.exitCode == 74, "\(run.errors)")
    #expect(run.errors.contains("damaged"), "\(run.errors)")
    #expect(try Data(contentsOf: path) == bytes)
  }
}
