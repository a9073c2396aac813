import Foundation
import Glibc

/// librdkafka's mock cluster in a process of its own: three brokers that fail on command.
package final class MockCluster {
  package let brokers: String
  private let process = Process()
  private let commands = Pipe()
  private let answers = Pipe()

  package struct Refused: Error {
    let command: String
    let answer: String
  }

  package init(_ stack: TestStack) throws {
    process.executableURL = URL(fileURLWithPath: stack.mockClusterProgram)
    process.standardInput = commands
    process.standardOutput = answers
    try process.run()
    brokers = Self.line(answers.fileHandleForReading)
  }

  deinit {
    // Its input's end is its end.
    try? commands.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// One of the commands of Tests/Stack/mockd.c.
  package func tell(_ command: String) throws {
    try commands.fileHandleForWriting.write(contentsOf: Data((command + "\n").utf8))
    let answer = Self.line(answers.fileHandleForReading)
    guard answer == "ok" else { throw Refused(command: command, answer: answer) }
  }

  private static func line(_ handle: FileHandle) -> String {
    var bytes: [UInt8] = []
    while let byte = (try? handle.read(upToCount: 1))?.first, byte != 0x0A { bytes.append(byte) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
