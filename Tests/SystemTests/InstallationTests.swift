import Foundation
import TestSupport
import Testing

/// What `make install` makes of the built binary, in a folder that every user may read.
private final class Installation {
  let stack: TestStack
  let folder: TemporaryFolder
  private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  init() throws {
    stack = try TestStack()
    folder = try TemporaryFolder()
    try make("install")
  }

  func make(_ target: String) throws {
    let result = try execute(
      "/usr/bin/make",
      [
        target, "TRANCHE=\(stack.binary)", "PREFIX=\(folder.path)/usr",
        "SYSCONFDIR=\(folder.path)/etc",
      ], directory: root.path)
    try #require(result.exitCode == 0, "\(result.errors)\(result.output)")
  }

  var share: String { folder.path + "/usr/share" }
  var units: String { folder.path + "/usr/lib/systemd/system" }
  var documents: String { share + "/doc/tranche" }
  var services: [String] { ["tranche@.service"] }

  func text(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }

  /// A setting of a unit, once for each time that it is made.
  func settings(_ unit: String) throws -> [(key: String, value: String)] {
    try text("\(units)/\(unit)").split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
      return line.hasPrefix("#") || parts.count < 2 ? nil : (parts[0], parts[1])
    }
  }

  func value(_ key: String, of unit: String) throws -> String? {
    try settings(unit).last { $0.key == key }?.value
  }

  /// Lays an example beside a unit, as `systemctl edit` does.
  func add(_ example: String, to unit: String) throws {
    let target = "\(units)/\(unit).d/\(example)"
    try FileManager.default.createDirectory(
      atPath: "\(units)/\(unit).d", withIntermediateDirectories: true)
    try text("\(documents)/examples/\(example)").write(
      toFile: target, atomically: true, encoding: .utf8)
  }

  /// Writes a file that an administrator adds to the configuration.
  func write(_ text: String, to name: String) throws {
    let path = "\(folder.path)/etc/tranche/\(name)"
    try FileManager.default.createDirectory(
      atPath: URL(fileURLWithPath: path).deletingLastPathComponent().path,
      withIntermediateDirectories: true)
    try text.write(toFile: path, atomically: true, encoding: .utf8)
  }

  /// Runs what a service says for a job, as systemd would; its state is below `state`.
  func start(_ service: String, _ job: String) throws -> ProcessResult {
    try execute(
      "/usr/bin/python3",
      [
        root.path + "/Tests/Packaging/as_unit.py", "\(units)/\(service)", job,
        folder.path + "/state",
      ])
  }

  /// The commands by their names, as the binary describes them, and their arguments.
  func commands() throws -> [String: [[String: Any]]] {
    let output = try stack.tranche(["--experimental-dump-help"], in: folder.path).output
    let help = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
    let command = try #require(help?["command"] as? [String: Any])
    let all = [command] + (command["subcommands"] as? [[String: Any]] ?? [])
    return try all.reduce(into: [:]) { found, command in
      found[try #require(command["commandName"] as? String)] =
        (command["arguments"] as? [[String: Any]] ?? [])
        .filter { $0["shouldDisplay"] as? Bool == true }
    }
  }
}

@Suite("What make install puts in place")
struct InstallationTests {
  @Test("are units that systemd takes without a word, with the examples beside them")
  func verified() throws {
    let installed = try Installation()
    for example in ["credentials.conf", "on-failure.conf"] {
      try installed.add(example, to: "tranche@.service")
    }
    try FileManager.default.copyItem(
      atPath: installed.documents + "/examples/tranche-failure@.service",
      toPath: installed.units + "/tranche-failure@.service")
    for unit in installed.services + ["tranche@.timer", "tranche-failure@.service"] {
      let result = try execute(
        "/usr/bin/systemd-analyze", ["verify", "\(installed.units)/\(unit)"],
        environment: ["MANPATH": installed.share + "/man:"])
      #expect(result.exitCode == 0)
      #expect(result.errors + result.output == "", "\(unit)")
    }
  }

  @Test("are services whose exposure is below 2.0 in systemd's judgement")
  func exposure() throws {
    let installed = try Installation()
    for service in installed.services {
      let result = try execute(
        "/usr/bin/systemd-analyze",
        [
          "security", "--offline=true", "--threshold=19", "--no-pager",
          "\(installed.units)/\(service)",
        ])
      #expect(result.exitCode == 0, "\(result.output)")
      #expect(result.output.contains("Overall exposure level for"))
    }
  }

  @Test("is a service that lets a run end well, and takes a run that is going on for no failure")
  func ends() throws {
    let installed = try Installation()
    let grace = try installed.commands()["run"]?.first { $0["valueName"] as? String == "grace" }
    let seconds = try #require((grace?["defaultValue"] as? String).flatMap { Int($0) })
    for service in installed.services {
      let limit = try installed.value("TimeoutStopSec", of: service).flatMap { Int($0) } ?? 0
      #expect(limit >= seconds + 10, "publishing may take longer than its grace")
      #expect(try installed.value("SuccessExitStatus", of: service) == "75")
      let settings = try installed.settings(service)
      for key in ["After", "Wants"] {
        #expect(settings.contains { $0 == (key, "network-online.target") })
      }
    }
  }

  @Test(
    """
    is a service that runs the example job under its own user, with the variables and credentials \
    that its files hold, and no system call that its filter forbids
    """)
  func run() throws {
    let installed = try Installation()
    let scenario = try Scenario(store: 0)
    let store = try #require(scenario.store)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 500, seed: 1),
      ])
    // The three lines of the example that are there to be used.
    let example = try installed.text("\(installed.documents)/examples/api-time-share.yaml")
      .replacing("kafka_topic_1", with: scenario.topic)
      .replacing("    # credentials:\n", with: "    credentials:\n")
      .replacing("    #   access_key_id:", with: "      access_key_id:")
      .replacing("    #   secret_access_key:", with: "      secret_access_key:")
    try installed.write(example, to: "jobs/share.yaml")
    try installed.write(
      """
      # Where things are.
      KAFKA_BROKERS=\(scenario.stack.broker)
      S3_ENDPOINT="\(store.endpoint)"
      OUTPUT=\(scenario.to)
      """, to: "environment")

    let without = try installed.start("tranche@.service", "share")
    #expect(without.exitCode == 65)
    #expect(without.errors.contains("needs the environment variable CREDENTIALS_DIRECTORY"))

    try installed.add("credentials.conf", to: "tranche@.service")
    #expect(
      try installed.start("tranche@.service", "share").exitCode == 243,
      "systemd says that a credential's file is not there")

    try installed.write(store.accessKey + "\n", to: "credentials/s3-id")
    try installed.write(store.secretKey + "\n", to: "credentials/s3-key")
    let result = try installed.start("tranche@.service", "share")
    #expect(result.exitCode == 0, "\(result.errors)")
    #expect(result.output.contains("500 records"))
    #expect(!(result.output + result.errors).contains(store.secretKey))
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    let checkpoint = installed.folder.path + "/state/tranche/api-time-share.sqlite"
    #expect(FileManager.default.fileExists(atPath: checkpoint))

    // What the filter forbids does fail here.
    try scenario.stack.kafka(scenario.stack.broker, [scenario.samples(count: 100, seed: 2)])
    let unit = installed.units + "/tranche@.service"
    try (try installed.text(unit) + "SystemCallFilter=~@sync\n").write(
      toFile: unit, atomically: true, encoding: .utf8)
    #expect(try installed.start("tranche@.service", "share").exitCode == 74)
  }

  @Test("are manual pages that name every command and every option, without a fault in them")
  func manual() throws {
    let installed = try Installation()
    let folder = installed.share + "/man/man1"
    var expected: Set<String> = []
    for (command, arguments) in try installed.commands() where command != "help" {
      let page = command == "tranche" ? "tranche" : "tranche-\(command)"
      expected.insert("\(page).1.gz")
      let path = "\(folder)/\(page).1.gz"
      let shown = try execute(
        "/usr/bin/man", ["--warnings", "-l", path],
        environment: ["LC_ALL": "C.UTF-8", "MANWIDTH": "1000", "MAN_KEEP_FORMATTING": ""])
      #expect(shown.errors == "", "\(page)")
      for argument in arguments {
        let option = (argument["preferredName"] as? [String: Any])?["name"] as? String
        let text = try #require(option.map { "--\($0)" } ?? argument["valueName"] as? String)
        #expect(shown.output.contains(text), "\(page) does not say \(text)")
      }
      let linted = try execute("/usr/bin/mandoc", ["-T", "lint", "-W", "warning", path])
      #expect(linted.output + linted.errors == "", "\(page)")
    }
    #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder)) == expected)
  }

  @Test("are completions, which a shell reads without a word")
  func completions() throws {
    let installed = try Installation()
    let path = installed.share + "/bash-completion/completions/tranche"
    let result = try execute(
      "/bin/bash", ["-c", ". \"$1\" && complete -p tranche", "bash", path])
    #expect(result.exitCode == 0 && result.errors == "", "\(result.errors)")
    for file in ["zsh/site-functions/_tranche", "fish/vendor_completions.d/tranche.fish"] {
      #expect(try installed.text("\(installed.share)/\(file)").contains("validate"))
    }
  }

  @Test("and make uninstall takes away, but for what others have put there")
  func uninstalled() throws {
    let installed = try Installation()
    try installed.write("name: mine\n", to: "jobs/mine.yaml")
    try installed.make("uninstall")
    let left = try #require(FileManager.default.subpaths(atPath: installed.folder.path))
    #expect(Set(left) == ["etc", "etc/tranche", "etc/tranche/jobs", "etc/tranche/jobs/mine.yaml"])
  }
}
