import Foundation
import Glibc
import TestSupport
import Testing

@Suite("Standard output and standard error")
struct StandardStreamsTests {
  /// Runs a line of shell in which `$TRANCHE` is the binary.
  private func shell(_ line: String, in folder: TemporaryFolder) throws -> ProcessResult {
    try execute(
      "/bin/bash", ["-c", line], directory: folder.path,
      environment: ["TRANCHE": try TestStack().binary])
  }

  @Test(
    "an error keeps its exit code where standard error is full or closed",
    arguments: [
      ("validate nowhere.yaml", 65), ("status nowhere.yaml", 65), ("run nowhere.yaml", 65),
      ("plan", 64), ("run a --batches 0", 64),
      ("produce --rate 0", 64),
    ])
  func errors(arguments: String, code: Int) throws {
    let folder = try TemporaryFolder()
    for stream in ["", "2> /dev/full", "2>&-", "2>&- >&- <&-", "2> >(true)"] {
      let result = try shell("\"$TRANCHE\" \(arguments) \(stream)", in: folder)
      #expect(Int(result.exitCode) == code, "\(arguments) \(stream): \(result.errors)")
    }
  }

  @Test("an error keeps its exit code where its terminal is gone")
  func terminalGone() throws {
    let folder = try TemporaryFolder()
    // As posix_openpt(3) does it, which Swift's Glibc does not show: TIOCSPTLCK, then TIOCGPTN of
    // asm-generic/ioctls.h.
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
    var number: Int32 = 0
    #expect(
      master >= 0 && ioctl(master, 0x4004_5431, &number) == 0
        && ioctl(master, 0x8004_5430, &number) == 0)
    let terminal = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
    #expect(terminal >= 0)
    close(master)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try TestStack().binary)
    process.arguments = ["validate", folder.path + "/nowhere.yaml"]
    process.standardError = FileHandle(fileDescriptor: terminal, closeOnDealloc: true)
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationReason == .exit && process.terminationStatus == 65)
  }

  @Test(
    "output that cannot be written is an error that says so",
    arguments: [
      "schema", "--help", "--version", "help run", "--generate-completion-script bash",
      "validate job.yaml",
    ])
  func fullDisk(arguments: String) throws {
    let folder = try TemporaryFolder()
    try writeJob(folder)
    let full = try shell("\"$TRANCHE\" \(arguments) > /dev/full", in: folder)
    #expect(
      full.exitCode == 74
        && full.errors.contains("standard output cannot be written: No space left on device"),
      "\(full)")
    #expect(
      try shell("\"$TRANCHE\" \(arguments) > /dev/full 2> /dev/full", in: folder).exitCode == 74)
    #expect(try shell("\"$TRANCHE\" \(arguments) > /dev/null", in: folder).exitCode == 0)
    // The error of the work goes before that of its output.
    #expect(
      try shell("\"$TRANCHE\" validate job.yaml nowhere.yaml > /dev/full", in: folder).exitCode
        == 65)
  }

  @Test(
    "a reader that goes away ends the output quietly",
    arguments: ["schema", "--help", "validate job.yaml"])
  func closedPipe(arguments: String) throws {
    let folder = try TemporaryFolder()
    try writeJob(folder)
    // The reader is gone before the first byte: the shell says when.
    let line =
      "{ while [ ! -e gone ]; do :; done; \"$TRANCHE\" \(arguments); echo $? > code; } | { exec "
      + "<&-; touch gone; wait; }"
    let result = try shell("set -o pipefail; \(line)", in: folder)
    #expect(result.errors.isEmpty && folder.text("code") == "0\n", "\(result)")
  }

  @Test(
    """
    a run whose streams are closed pipes or closed does its work, and no message gets into its \
    files
    """
  )
  func closedStreams() throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<20).map {
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "value": "\($0),1\n",
            "timestamp": Scenario.start,
          ]
        })
    try scenario.write(maxOffsets: 2)
    let pipe =
      "{ while [ ! -e gone ]; do :; done; \"$TRANCHE\" run job.yaml -v --batches 3; echo $? > "
      + "code; } 2>&1"
    _ = try shell("\(pipe) | { exec <&-; touch gone; wait; }", in: scenario.folder)
    #expect(scenario.folder.text("code") == "0\n")
    for streams in ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
      let result = try shell(
        "\"$TRANCHE\" run job.yaml -v --batches 2 \(streams)", in: scenario.folder)
      #expect(result.exitCode == 0, "\(streams)")
    }
    let lock = scenario.folder.text("checkpoints/job.lock")
    #expect(lock.split(separator: "\n").count == 1 && lock.hasPrefix("pid "), "\(lock)")
    #expect(try scenario.run().summary["batches"] as? Int == 1)
    #expect(try scenario.state().contains("main|\(scenario.topic)|0|0|20\n"))
  }

  @Test("are written to by one file of the sources")
  func onePlace() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let writes = try Regex(
      #"(^|[^\w.])(print|debugPrint|dump|puts|fputs|printf|vprintf)\("#
        + #"|FileHandle\.standard|\b(stdout|stderr)\b|NSLog"#
    )
    var seen = 0
    for case let name as String in FileManager.default.enumerator(atPath: root.path + "/Sources")
      ?? .init()
    where name.hasSuffix(".swift") && name != "tranche/StandardStreams.swift" {
      let text = try String(contentsOfFile: root.path + "/Sources/" + name, encoding: .utf8)
      for line in text.split(separator: "\n") where !line.drop(while: { $0 == " " }).hasPrefix("//")
      {
        #expect(
          line.firstMatch(of: writes) == nil,
          "\(name): \(line). Use printText, printExact or printError of StandardStreams.swift")
      }
      seen += 1
    }
    #expect(seen > 60)
  }

  private func writeJob(_ folder: TemporaryFolder) throws {
    try folder.write(
      """
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "127.0.0.1:1" }, topics: [t] }]
        format: csv
        fields: { a: int32 }
      output: { to: "file:out", format: csv }
      """, to: "job.yaml")
  }
}

extension TemporaryFolder {
  fileprivate func text(_ name: String) -> String {
    FileManager.default.contents(atPath: "\(path)/\(name)").map {
      String(decoding: $0, as: UTF8.self)
    } ?? ""
  }
}
