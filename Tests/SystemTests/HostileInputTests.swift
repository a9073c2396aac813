import Foundation
import Glibc
import TestSupport
import Testing

/// Inputs that were made to harm: texts for terminals, values without end, files that are none.
@Suite("Hostile input")
struct HostileInputTests {
  private func shell(
    _ line: String, in folder: TemporaryFolder, _ environment: [String: String] = [:]
  ) throws -> ProcessResult {
    try execute(
      "/bin/bash", ["-c", line], directory: folder.path,
      environment: ["TRANCHE": try TestStack().binary].merging(environment) { $1 })
  }

  /// What a terminal would obey or a person cannot see; our own line ends aside.
  private func isClean(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
      scalar == "\n"
        || (scalar.properties.generalCategory != .control
          && scalar.properties.generalCategory != .format)
    }
  }

  @Test("in keys reaches no terminal and no log, and stands in the objects as it came")
  func keys() throws {
    let scenario = try Scenario()
    let keys = [
      "\u{1B}[31mred\u{1B}]0;title\u{07}", "a\nb", "a\rb", "\u{202E}evil", "\u{9B}2J",
      "zero\u{200B}width", "plain",
    ]
    let lines = try keys.map { key in
      String(
        decoding: try JSONSerialization.data(withJSONObject: ["k": key, "n": Int64.max / 2 - 1]),
        as: UTF8.self)
    }
    try scenario.write(
      format: "json", fields: "{ k: string, n: int64 }",
      rest: "window: global\naggregate: { by: [k], measures: { calls: count(), total: sum(n) } }",
      output: "format: json")
    func produce() throws {
      try scenario.stack.kafka(
        scenario.stack.broker,
        lines.map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": $0,
            "timestamp": Scenario.start,
          ]
        })
    }
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
    try produce()
    let run = try scenario.tranche("run", "job.yaml", "-v")
    #expect(
      run.exitCode == 0 && isClean(run.output) && isClean(run.errors)
        && run.errors.contains("batch committed"), "\(run)")
    let object = try #require(try scenario.objects()["part-0.json"])
    let rows = String(decoding: object, as: UTF8.self).split(separator: "\n").map {
      try? JSONSerialization.jsonObject(with: Data($0.utf8))
    }
    #expect(Set(rows.compactMap { ($0 as? [String: Any])?["k"] as? String }) == Set(keys))
    for command in [["show", "--rows", "0"], ["status"], ["status", "--json"], ["plan"]] {
      let shown = try scenario.tranche(command[0], arguments: ["job.yaml"] + command.dropFirst())
      #expect(
        shown.exitCode == 0 && isClean(shown.output) && isClean(shown.errors),
        "\(command): \(shown)")
    }
    let table = try scenario.tranche("show", "job.yaml").output
    #expect(
      table.contains("\\u{1B}[31mred\\u{1B}]0;title\\u{7}") && table.contains("a\\nb")
        && table.contains("\\u{202E}evil"), "\(table)")
    #expect(table.split(separator: "\n").count == 2 + keys.count)
    // Two more of each key: the third sum is more than 64 bits, and the error names a key.
    try produce()
    try produce()
    let failed = try scenario.tranche("run", "job.yaml")
    #expect(
      failed.exitCode == 65 && isClean(failed.errors)
        && failed.errors.split(separator: "\n").count == 1, "\(failed.errors)")
  }

  @Test(
    "in names, values and arguments of the command line reaches no terminal",
    arguments: ["validate", "run", "status", "plan", "show"])
  func arguments(command: String) throws {
    let folder = try TemporaryFolder()
    let name = "a\u{1B}[31m\u{202E}\nb.yaml"
    let missing = try TestStack().tranche([command, name], in: folder.path)
    #expect(
      missing.exitCode == 65 && isClean(missing.errors)
        && missing.errors.split(separator: "\n").count == 1, "\(missing.errors)")
    try folder.write("name: \"\\e[31m\\a\"\n\"key\\u202e\": 1\n", to: name)
    let faulty = try TestStack().tranche([command, name], in: folder.path)
    #expect(
      faulty.exitCode == 65 && isClean(faulty.errors) && faulty.errors.contains("\\u{1B}[31m"),
      "\(faulty.errors)")
    let usage = try TestStack().tranche([command, "--\u{1B}[31m"], in: folder.path)
    #expect(usage.exitCode == 64 && isClean(usage.errors), "\(usage.errors)")
  }

  @Test("as a job file is bounded: a device, a FIFO, a folder, a pipe")
  func files() throws {
    let folder = try TemporaryFolder()
    #expect(mkfifo(folder.path + "/fifo", 0o600) == 0)
    try folder.write(job(folder), to: "job.yaml")
    for file in ["/dev/zero", "/dev/null", "fifo", ".", "/proc/self/mem"] {
      let started = ContinuousClock.now
      let result = try shell("ulimit -v 4000000; \"$TRANCHE\" validate \(file)", in: folder)
      #expect(
        result.exitCode == 65 && ContinuousClock.now - started < .seconds(20), "\(file): \(result)")
    }
    #expect(try shell("\"$TRANCHE\" validate <(sleep 0.1; cat job.yaml)", in: folder).exitCode == 0)
    try folder.write(
      job(folder).replacing("127.0.0.1:1", with: "${file:/dev/zero}"), to: "job.yaml")
    #expect(
      try shell("ulimit -v 4000000; \"$TRANCHE\" validate job.yaml", in: folder).errors.contains(
        "which cannot be read"))
  }

  private func job(_ folder: TemporaryFolder, to place: String = "file:out", name: String = "job")
    -> String
  {
    """
    name: \(name)
    source:
      kafka: [{ name: main, properties: { bootstrap.servers: "127.0.0.1:1" }, topics: [t] }]
      format: csv
      fields: { a: int32 }
    output: { to: "\(place)", format: csv }

    """
  }

  @Test(
    "that makes gigabytes is refused within a second and without them",
    arguments: ["value", "table", "csv", "json", "parquet"])
  func format(kind: String) throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
    try scenario.stack.kafka(
      scenario.stack.broker,
      (0..<2_000).map {
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "\($0),1\n",
          "timestamp": Scenario.start,
        ]
      })
    let width = kind == "value" ? 1_000_000 : kind == "table" ? 20_000 : 4_000
    let limit = kind == "value" ? "" : "limits: { object_bytes: \(kind == "table" ? 20 : 1)MiB }"
    // Random enough that Parquet cannot make less of it.
    let sql =
      "substr(format('%\(width)d', id), 1 + id % 7)"
      + (kind == "parquet" ? " || hex(sin(id) * 1e15) || hex(cos(id) * 1e15)" : "")
    try scenario.write(
      fields: "{ id: int32, ms: int32 }",
      rest: """
        window: global
        aggregate: { by: [id], measures: { calls: count() } }
        select: { x: { sql: "\(sql)", type: string }, y: { sql: "\(sql)", type: string } }
        """, output: "format: \(["json", "parquet"].contains(kind) ? kind : "csv")",
      maxOffsets: 100_000, more: limit)
    let started = ContinuousClock.now
    let run = try shell("ulimit -v 4000000; \"$TRANCHE\" run job.yaml", in: scenario.folder)
    let seconds = (ContinuousClock.now - started) / .seconds(1)
    #expect(run.exitCode == 65, "\(run) \(seconds) s")
    let expected = kind == "value" ? "(limits.value_bytes)" : "(limits.object_bytes)"
    #expect(run.errors.contains(expected), "\(run.errors)")
    #expect(scenario.folder.files(below: "out").isEmpty)
    #expect(seconds < 30, "\(seconds) s in a debug build")
    if kind == "value" {
      #expect(try scenario.tranche("validate", "job.yaml").errors.contains(expected))
    }
  }

  @Test("in a job file loads nothing and runs nothing, neither validated nor run")
  func code() throws {
    let folder = try TemporaryFolder()
    for property in [
      "plugin.library.paths: ./a.so", "ssl.engine.location: ./a.so",
      "sasl.kerberos.kinit.cmd: touch ran",
      "sasl.kerberos.principal: \"x; touch ran;\"",
    ] {
      try folder.write(
        job(folder).replacing("bootstrap.servers:", with: "\(property), bootstrap.servers:"),
        to: "job.yaml")
      for command in ["validate", "run", "plan", "status"] {
        let result = try TestStack().tranche([command, "job.yaml"], in: folder.path)
        #expect(
          result.exitCode == 65
            && result.errors.contains("job.yaml:3: source.kafka[0].properties."), "\(result)")
      }
      #expect(!result(folder, "ran"))
    }
    try folder.write(
      job(folder).replacing(
        "bootstrap.servers:", with: "sasl.kerberos.kinit.cmd: touch ran, bootstrap.servers:"),
      to: "job.yaml")
    let shown = try TestStack().tranche(
      ["show", "job.yaml", "--allow-code-properties"], in: folder.path)
    #expect(
      shown.exitCode == 65 && !shown.errors.contains("kinit") && !result(folder, "ran"), "\(shown)")
  }

  private func result(_ folder: TemporaryFolder, _ name: String) -> Bool {
    FileManager.default.fileExists(atPath: folder.path + "/" + name)
  }

  @Test(
    "of two jobs that share a place is found however the folder is written, and a sibling is none")
  func overlaps() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/real/deep", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/link", withDestinationPath: "real")
    func validate(_ first: String, _ second: String) throws -> ProcessResult {
      try folder.write(job(folder, to: "file:\(first)", name: "a"), to: "a.yaml")
      try folder.write(job(folder, to: "file:\(second)", name: "b"), to: "b.yaml")
      return try TestStack().tranche(["validate", "a.yaml", "b.yaml"], in: folder.path)
    }
    for (first, second) in [
      ("out", "./out/"), ("out", "x/../out/sub"), ("link/new", "real/new"), ("real/deep", "link"),
      ("real", folder.path + "/link/deep/er"),
    ] {
      let result = try validate(first, second)
      #expect(result.exitCode == 65, "\(first) \(second)")
      #expect(
        result.errors.contains("b.yaml:6: output.to: ") && result.errors.contains(" of a.yaml:6: "),
        "\(result.errors)")
    }
    for (first, second) in [("out", "out2"), ("real/a", "link/ab"), ("a/b", "a/c")] {
      #expect(try validate(first, second).exitCode == 0, "\(first) \(second)")
    }
    let twice = try TestStack().tranche(["validate", "a.yaml", "./a.yaml"], in: folder.path)
    #expect(twice.exitCode == 0, "\(twice.errors)")
    try folder.write(job(folder, to: "file:elsewhere", name: "a"), to: "c.yaml")
    let sameName = try TestStack().tranche(["validate", "a.yaml", "c.yaml"], in: folder.path)
    #expect(
      sameName.exitCode == 65
        && sameName.errors.contains(
          "c.yaml:1: name: \"a\" is also the name of the job in a.yaml:1")
    )
  }
}

extension Scenario {
  fileprivate func tranche(_ command: String, arguments: [String]) throws -> ProcessResult {
    try stack.tranche([command] + arguments, in: folder.path)
  }
}
