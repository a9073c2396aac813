import Foundation
import TestSupport
import Testing

/// docs/first-job.md, as a first-time user follows it.
@Suite("The page for a first job")
struct FirstJobTests {
  private struct Block {
    let isCommand: Bool
    let text: String
  }

  /// What stands between fences, in order.
  private static func blocks(_ page: String) -> [Block] {
    page.components(separatedBy: "\n```").enumerated().filter { $0.offset % 2 == 1 }.map {
      _, part in
      let lines = part.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
      return Block(isCommand: lines[0] == "sh", text: lines.count > 1 ? String(lines[1]) : "")
    }
  }

  /// Without what differs from run to run: the times of the messages, and how long a run took.
  private static func normalised(_ text: String) -> String {
    text.replacing(/20(2[5-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+Z/, with: "TIME")
      .replacing(/in \d+\.\d\d s/, with: "in SECONDS s")
      .trimmingCharacters(in: .newlines)
  }

  @Test("leads from nothing to a table in ten commands, which print what it says, word for word")
  func wordForWord() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(
      contentsOf: root.appendingPathComponent("docs/first-job.md"), encoding: .utf8)
    let blocks = Self.blocks(page)
    let commands = blocks.filter(\.isCommand).flatMap { $0.text.split(separator: "\n") }
      .filter { line in ["tranche ", "sed ", "install "].contains(where: line.hasPrefix) }
    #expect(commands.count == 10)
    for word in ["produce", "peek", "init", "validate", "try", "test", "run", "show"] {
      #expect(commands.contains { $0.hasPrefix("tranche \(word) ") }, "\(word)")
    }

    let stack = try TestStack()
    let folder = try TemporaryFolder()
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/tranche", withDestinationPath: stack.binary)
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    // The servers of the tests outlive a test.
    let deletion: [[String: any Sendable]] = [["op": "delete_topic", "topic": "access_log"]]
    _ = try? stack.kafka(stack.broker, deletion)
    defer { _ = try? stack.kafka(stack.broker, deletion) }
    for (index, block) in blocks.enumerated() where block.isCommand {
      let result = try execute(
        "/bin/sh", ["-e", "-c", block.text], directory: folder.path,
        environment: ["PATH": "\(folder.path):\(path)", "KAFKA_BROKERS": stack.broker])
      try #require(result.exitCode == 0, "\(block.text): \(result)")
      guard blocks.indices.contains(index + 1), !blocks[index + 1].isCommand else { continue }
      #expect(Self.normalised(result.output) == Self.normalised(blocks[index + 1].text))
    }
    // As the page says of its fixture, and of the files.
    let test = try execute(
      stack.binary, ["test", "jobs/access_log.yaml"], directory: folder.path)
    #expect(test.exitCode == 0, "\(test)")
    #expect(folder.files(below: "jobs/access_log.test/first/expected").count == 2)
    // What peek prints of the topic is a fixture as well, and the same comes of it.
    let peeked = try execute(
      "/bin/sh",
      [
        "-e", "-c",
        """
        mkdir jobs/access_log.test/peeked
        cp -r jobs/access_log.test/first/expected jobs/access_log.test/peeked
        ./tranche peek --topic access_log --json > jobs/access_log.test/peeked/messages.jsonl
        ./tranche test jobs/access_log.yaml
        """,
      ], directory: folder.path, environment: ["KAFKA_BROKERS": stack.broker])
    #expect(
      peeked.exitCode == 0 && peeked.output.hasSuffix("2 cases: all as expected\n"), "\(peeked)")
    let objects = folder.files(below: "results/access_log").keys
    #expect(objects.count == 2 && objects.allSatisfy { $0.hasSuffix(".parquet") }, "\(objects)")
  }
}
