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
  var services: [String] { ["tranche@.service", "tranche-schedule.service"] }

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
  func add(
    _ example: String, to unit: String, replacing old: String = "", with new: String = ""
  ) throws {
    let target = "\(units)/\(unit).d/\(example)"
    try FileManager.default.createDirectory(
      atPath: "\(units)/\(unit).d", withIntermediateDirectories: true)
    let text = try text("\(documents)/examples/\(example)")
    #expect(old.isEmpty || text.contains(old))
    try (old.isEmpty ? text : text.replacing(old, with: new)).write(
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

  /// Makes the example a job, `share`, on a topic of its own with 500 records, by what an
  /// administrator does: the three lines that are there to be used, and a file of variables.
  func configure(_ scenario: Scenario, trigger: String = "") throws {
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 500, seed: 1),
      ])
    let example = try text("\(documents)/examples/api-time-share.yaml")
      .replacing("kafka_topic_1", with: scenario.topic)
      .replacing("trigger: { ", with: "trigger: { " + trigger)
      .replacing("    # credentials:\n", with: "    credentials:\n")
      .replacing("    #   access_key_id:", with: "      access_key_id:")
      .replacing("    #   secret_access_key:", with: "      secret_access_key:")
    try write(example, to: "jobs/share.yaml")
    try write(
      """
      # Where things are.
      KAFKA_BROKERS=\(scenario.stack.broker)
      S3_ENDPOINT="\(scenario.store?.endpoint ?? "")"
      OUTPUT=\(scenario.to)
      """, to: "environment")
  }

  func writeCredentials(of store: TestStack.Store) throws {
    try write(store.accessKey + "\n", to: "credentials/s3-id")
    try write(store.secretKey + "\n", to: "credentials/s3-key")
  }

  /// Runs what a service says, for a job where it is a template, as systemd would; its state is
  /// below `state`.
  func start(_ service: String, _ job: String = "", during: ((pid_t) throws -> Void)? = nil) throws
    -> ProcessResult
  {
    try execute(
      "/usr/bin/python3",
      [
        root.path + "/Tests/Packaging/as_unit.py", "\(units)/\(service)", job,
        folder.path + "/state",
      ], during: during)
  }

  /// The commands by their names, as the binary describes them, and their arguments; one below
  /// another is called `checkpoint-backup`.
  func commands() throws -> [String: [[String: Any]]] {
    let output = try stack.tranche(["--experimental-dump-help"], in: folder.path).output
    let help = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any]
    var found: [String: [[String: Any]]] = [:]
    func add(_ command: [String: Any], below prefix: String) throws {
      let name = prefix + (try #require(command["commandName"] as? String))
      found[name] = (command["arguments"] as? [[String: Any]] ?? [])
        .filter { $0["shouldDisplay"] as? Bool == true }
      for below in command["subcommands"] as? [[String: Any]] ?? [] {
        try add(below, below: name == "tranche" ? "" : name + "-")
      }
    }
    try add(try #require(help?["command"] as? [String: Any]), below: "")
    return found
  }
}

@Suite("What make install puts in place")
struct InstallationTests {
  @Test("are units that systemd takes without a word, with the examples beside them")
  func verified() throws {
    let installed = try Installation()
    for service in installed.services {
      let metrics = service.contains("schedule") ? "metrics.conf" : "metrics-file.conf"
      for example in ["credentials.conf", "on-failure.conf", metrics] {
        try installed.add(example, to: service)
      }
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

  @Test("are services that let a run end well, and start when the network is up")
  func ends() throws {
    let installed = try Installation()
    let commands = try installed.commands()
    for (service, command) in zip(installed.services, ["run", "schedule"]) {
      let grace = commands[command]?.first { $0["valueName"] as? String == "grace" }
      let seconds = try #require((grace?["defaultValue"] as? String).flatMap { Int($0) })
      let limit = try installed.value("TimeoutStopSec", of: service).flatMap { Int($0) } ?? 0
      // The scheduler kills a run 10 seconds after its grace.
      #expect(limit >= seconds + 20, "\(service) kills what is still publishing")
      let settings = try installed.settings(service)
      for key in ["After", "Wants"] {
        #expect(settings.contains { $0 == (key, "network-online.target") })
      }
    }
    // A run ends by the signal that stops it, which systemd takes for a clean end of the scheduler,
    // but not of a oneshot service; see SuccessExitStatus= in systemd.service(5).
    #expect(
      try installed.value("SuccessExitStatus", of: "tranche@.service") == "75 SIGTERM SIGINT")
    #expect(try installed.value("Type", of: "tranche-schedule.service") == "notify")
  }

  @Test("are services that run jobs under one user, in one folder, with the same rights")
  func alike() throws {
    let installed = try Installation()
    let rights = try installed.services.map { service in
      try installed.settings(service).drop { $0.key != "EnvironmentFile" }
        .filter { $0.key != "WantedBy" }.map { "\($0.key)=\($0.value)" }
    }
    #expect(rights[0].count > 20 && rights[0] == rights[1])
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
    try installed.configure(scenario)

    let without = try installed.start("tranche@.service", "share")
    #expect(without.exitCode == 65)
    #expect(without.errors.contains("needs the environment variable CREDENTIALS_DIRECTORY"))

    try installed.add("credentials.conf", to: "tranche@.service")
    #expect(
      try installed.start("tranche@.service", "share").exitCode == 243,
      "systemd says that a credential's file is not there")

    try installed.writeCredentials(of: store)
    let metrics = installed.folder.path + "/metrics"
    try FileManager.default.createDirectory(
      atPath: metrics, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o777])
    try installed.add(
      "metrics-file.conf", to: "tranche@.service",
      replacing: "/var/lib/prometheus/node-exporter", with: metrics)
    let result = try installed.start("tranche@.service", "share")
    #expect(result.exitCode == 0, "\(result.errors)")
    #expect(result.output.contains("500 records"))
    #expect(!(result.output + result.errors).contains(store.secretKey))
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    #expect(
      try installed.text(metrics + "/tranche-share.prom")
        .contains(#"tranche_records_read_total{job_name="api-time-share"} 500"#))
    let checkpoint = installed.folder.path + "/state/tranche/api-time-share.sqlite"
    #expect(FileManager.default.fileExists(atPath: checkpoint))

    // What the filter forbids does fail here.
    try scenario.stack.kafka(scenario.stack.broker, [scenario.samples(count: 100, seed: 2)])
    let unit = installed.units + "/tranche@.service"
    try (try installed.text(unit) + "SystemCallFilter=~@sync\n").write(
      toFile: unit, atomically: true, encoding: .utf8)
    #expect(try installed.start("tranche@.service", "share").exitCode == 74)
  }

  @Test(
    """
    is a scheduler that tells systemd when it is ready, runs the same job with the same \
    credentials, and leaves nothing behind when it is told to end
    """)
  func schedule() throws {
    let installed = try Installation()
    let scenario = try Scenario(store: 0)
    try installed.configure(scenario, trigger: "every: 1s, ")
    try installed.add("credentials.conf", to: "tranche-schedule.service")
    try installed.add(
      "metrics.conf", to: "tranche-schedule.service", replacing: "127.0.0.1:9464",
      with: "127.0.0.1:0")
    try installed.writeCredentials(of: try #require(scenario.store))
    let ended = try installed.start("tranche-schedule.service") { process in
      let deadline = ContinuousClock.now + .seconds(60)
      while try scenario.objects().isEmpty, ContinuousClock.now < deadline { usleep(50_000) }
      kill(process, SIGTERM)
    }
    #expect(ended.exitCode == -SIGTERM, "\(ended.errors)")
    #expect(ended.errors.contains("notify: READY=1"))
    #expect(ended.errors.contains("notify: STOPPING=1"))
    #expect(ended.errors.contains("metrics are at http://127.0.0.1:"))
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
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
    // Gone already, which is no error.
    try FileManager.default.removeItem(atPath: installed.documents)
    try installed.make("uninstall")
    let left = try #require(FileManager.default.subpaths(atPath: installed.folder.path))
    #expect(
      Set(left.filter { $0.contains("tranche") })
        == ["etc/tranche", "etc/tranche/jobs", "etc/tranche/jobs/mine.yaml"])
    // Folders that were perhaps there before, such as /usr/local/bin.
    #expect(left.contains("usr/bin") && left.contains("usr/lib/systemd/system"))
  }
}
