package import Foundation
import Glibc

/// The servers that `make test` has started, and the programs that go with them. What is missing is
/// a failure, never a skip.
package struct TestStack: Sendable {
  package struct Store: Sendable {
    package let endpoint, accessKey, secretKey, bucket: String
  }

  package let broker, otherBroker: String
  /// OpenStack Swift first, which is strict; then rclone; then one more rclone that tests may stop
  /// and start, as `rclone_b`.
  package let stores: [Store]
  private let python, script, folder: String
  package let binary: String

  package struct Missing: Error, CustomStringConvertible {
    package let variable: String
    package var description: String {
      "\(variable) is not set: run the tests with `make test`, which starts the servers"
    }
  }

  package init() throws {
    func variable(_ name: String) throws -> String {
      guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
        throw Missing(variable: name)
      }
      return value
    }
    broker = try variable("TRANCHE_TEST_BROKER")
    otherBroker = try variable("TRANCHE_TEST_BROKER_B")
    stores = try variable("TRANCHE_TEST_STORES").split(separator: " ").map { line in
      let parts = line.split(separator: "|").map(String.init)
      return Store(endpoint: parts[0], accessKey: parts[1], secretKey: parts[2], bucket: parts[3])
    }
    python = try variable("TRANCHE_TEST_PYTHON")
    script = try variable("TRANCHE_TEST_STACK")
    folder = try variable("TRANCHE_TEST_FOLDER")
    binary = try variable("TRANCHE_TEST_BINARY")
  }

  package var strictStore: Store { stores[0] }
  var mockClusterProgram: String { folder + "/mockd" }

  /// Runs one of the test scripts under `Tests/` and returns what it printed.
  @discardableResult
  package func python(
    _ scriptPath: String, _ arguments: [String], input: String = "",
    environment: [String: String] = [:]
  ) throws -> String {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent(scriptPath)
      .path
    let result = try execute(
      python, [path] + arguments, input: input, environment: environment)
    guard result.exitCode == 0 else { throw Failure(command: scriptPath, result: result) }
    return result.output
  }

  /// Runs an executable script under `Tests/` and returns what it printed.
  package func script(_ scriptPath: String, _ arguments: [String], in directory: String) throws
    -> String
  {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    let result = try execute(
      tests.appendingPathComponent(scriptPath).path, arguments, directory: directory)
    guard result.exitCode == 0 else { throw Failure(command: scriptPath, result: result) }
    return result.output
  }

  /// Does things to the brokers that Tranche itself never does: transactions, odd messages, growth,
  /// deletion.
  @discardableResult
  package func kafka(_ broker: String, _ operations: [[String: any Sendable]]) throws -> String {
    let lines = try operations.map {
      String(decoding: try JSONSerialization.data(withJSONObject: $0), as: UTF8.self)
    }
    return try python("Stack/kafka_tool.py", [broker], input: lines.joined(separator: "\n"))
  }

  package func stop(_ server: String) throws { try control("stop", server) }
  package func start(_ server: String) throws { try control("start", server) }

  private func control(_ verb: String, _ server: String) throws {
    let result = try execute(python, [script, verb, folder, server])
    guard result.exitCode == 0 else {
      throw Failure(command: "stack \(verb) \(server)", result: result)
    }
  }

  /// Runs the built binary.
  package func tranche(
    _ arguments: [String], in directory: String, environment: [String: String] = [:],
    during: ((pid_t) throws -> Void)? = nil
  ) throws -> ProcessResult {
    try execute(binary, arguments, directory: directory, environment: environment, during: during)
  }

  package struct Failure: Error, CustomStringConvertible {
    let command: String
    let result: ProcessResult
    package var description: String {
      "\(command) ended with \(result.exitCode): \(result.errors) \(result.output)"
    }
  }
}

package struct ProcessResult: Sendable {
  /// Negative: the number of the signal that ended it.
  package let exitCode: Int32
  package let output: String
  package let errors: String
}

/// Runs a program to its end with the environment of this process, its variables replaced by those
/// given.
///
/// - Parameter during: What to do while it runs; gets its process id.
@discardableResult
package func execute(
  _ program: String, _ arguments: [String], input: String = "", directory: String? = nil,
  environment: [String: String] = [:],
  during: ((pid_t) throws -> Void)? = nil
) throws -> ProcessResult {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: program)
  process.arguments = arguments
  if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
  // Files, not pipes: a pipe that nobody reads stops the program that fills it.
  let base = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try FileManager.default.createDirectory(at: base, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: base) }
  func file(_ name: String, _ content: String = "") throws -> FileHandle {
    let url = base.appendingPathComponent(name)
    try Data(content.utf8).write(to: url)
    return try FileHandle(forUpdating: url)
  }
  process.standardInput = try file("input", input)
  process.standardOutput = try file("output")
  process.standardError = try file("errors")
  try process.run()
  if let during {
    do { try during(process.processIdentifier) } catch {
      process.terminate()
      throw error
    }
  }
  process.waitUntilExit()
  func content(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: base.appendingPathComponent(name)), as: UTF8.self)
  }
  return ProcessResult(
    exitCode: process.terminationReason == .uncaughtSignal
      ? -process.terminationStatus : process.terminationStatus,
    output: try content("output"), errors: try content("errors"))
}

/// A folder of its own for one test, removed with the value's last use.
package final class TemporaryFolder: Sendable {
  package let path: String

  /// - Parameter inMemory: Where a death is one of the process alone, which keeps what the kernel
  ///   holds, a disk would only take time.
  package init(inMemory: Bool = false) throws {
    let parent = inMemory ? "/dev/shm" : FileManager.default.temporaryDirectory.path
    path = "\(parent)/tranche-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  package func write(_ text: String, to name: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  /// Every file below a folder of it, by relative path; without the marker of its owner, which is
  /// another with every run.
  package func files(below name: String) -> [String: Data] {
    let root = "\(path)/\(name)"
    var found: [String: Data] = [:]
    for case let relative as String in FileManager.default.enumerator(atPath: root) ?? .init()
    where relative != "_tranche/owner" {
      if let data = FileManager.default.contents(atPath: "\(root)/\(relative)") {
        found[relative] = data
      }
    }
    return found
  }
}

/// A name that no other test uses.
package func uniqueName(_ prefix: String) -> String {
  "\(prefix)-\(UUID().uuidString.lowercased().prefix(13))"
}
