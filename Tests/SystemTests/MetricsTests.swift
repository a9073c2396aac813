import Foundation
import Glibc
import TestSupport
import Testing

/// Metrics by the shipped binary, read by Prometheus's own parser.
@Suite("Metrics of jobs")
struct MetricsTests {
  /// By series: `tranche_batches_total{job_name="job"}`.
  private typealias Figures = [String: Double]

  private func figures(_ scenario: Scenario, text: String) throws -> Figures {
    let json = try scenario.stack.python("SystemTests/metrics.py", [], input: text)
    return try JSONDecoder().decode(Figures.self, from: Data(json.utf8))
  }

  private func figures(_ scenario: Scenario, _ file: String = "job.prom") throws -> Figures {
    let path = scenario.folder.path + "/" + file
    return try figures(scenario, text: String(contentsOfFile: path, encoding: .utf8))
  }

  private func row(
    _ scenario: Scenario, _ value: String, partition: Int, at seconds: Int = 0
  ) -> [String: any Sendable] {
    [
      "op": "produce", "topic": scenario.topic, "partition": partition, "value": value,
      "timestamp": Scenario.start + seconds * 1_000,
    ]
  }

  private func query(_ scenario: Scenario, _ sql: String) throws -> String {
    let path = scenario.folder.path + "/checkpoints/job.sqlite"
    let result = try execute("/usr/bin/sqlite3", [path, sql])
    try #require(result.exitCode == 0, "\(result.errors)")
    return result.output
  }

  /// Holds a job's figures against `tranche status --json`.
  private func check(_ figures: Figures, _ scenario: Scenario) throws {
    let printed = try scenario.tranche("status", "job.yaml", "--json").output
    let status = try #require(
      try JSONSerialization.jsonObject(with: Data(printed.utf8)) as? [String: Any])
    let job = #"{job_name="job"}"#
    func expect(_ found: Double?, _ key: String) throws {
      let said = try #require(
        status[key] as? Double ?? (status[key] as? [Any]).map { Double($0.count) }, "\(key)")
      #expect(found == said, "\(key)")
    }
    try expect(figures["tranche_records_read_total\(job)"], "records")
    try expect(figures["tranche_batches_total\(job)"], "last_batch")
    try expect(sum(figures, "tranche_rejects_total{"), "rejected")
    try expect(figures["tranche_tombstones_total\(job)"], "tombstones")
    try expect(figures["tranche_dirty_outputs\(job)"], "dirty")
    try expect(sum(figures, "tranche_open_incidents{"), "incidents")
    try expect(sum(figures, "tranche_partition_lag_offsets{"), "lag")
    let backfills = try #require(status["backfills"] as? [[String: Any]])
    #expect(
      figures["tranche_backfill_left_offsets\(job)"]
        == backfills.reduce(0) { $0 + ($1["left"] as? Double ?? .nan) })
    let partitions = try #require(status["partitions"] as? [[String: Any]])
    for partition in partitions {
      let labels =
        #"{job_name="job",source="main",topic="\#(scenario.topic)","#
        + #"partition="\#(partition["partition"] ?? "")"}"#
      let lag = try #require(partition["lag"] as? Double)
      #expect(figures["tranche_partition_lag_offsets\(labels)"] == lag)
    }
    let commit = try #require(status["last_commit"] as? String)
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    let committed = try #require(formatter.date(from: commit)).timeIntervalSince1970
    let exposed = try #require(figures["tranche_last_commit_timestamp_seconds\(job)"])
    #expect(abs(exposed - committed) < 0.001)
  }

  private func sum(_ figures: Figures, _ start: String) -> Double? {
    let found = figures.filter { $0.key.hasPrefix(start) }
    return found.isEmpty ? nil : found.values.reduce(0, +)
  }

  private func seriesOfSteps(_ figures: Figures, _ step: String) -> Double? {
    figures[#"tranche_step_duration_seconds_count{job_name="job",step="\#(step)"}"#]
  }

  @Test(
    """
    equal status and what was produced, after runs with rejects, a backfill that goes on, an \
    incident and a partition that lags
    """)
  func figures() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 40)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 2]]
        + (0..<300).map { row(scenario, "1,\($0)\n", partition: $0 % 2, at: $0) }
        + ["x\n", "1\n", "y,1\n"].map { row(scenario, $0, partition: 0, at: 301) })
    #expect(try scenario.run("--batches", "1", "--metrics-file", "job.prom").exitCode == 0)
    let first = try figures(scenario)
    try check(first, scenario)
    let skip = try scenario.tranche(
      "skip", "job.yaml", "--topic", scenario.topic, "--partition", "1", "--from", "30", "--to",
      "110")
    #expect(skip.exitCode == 0, "\(skip.errors)")
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 0)
    let whole = try figures(scenario)
    try check(whole, scenario)
    #expect(whole[#"tranche_records_read_total{job_name="job"}"#] == 220)
    #expect(sum(whole, "tranche_partition_lag_offsets{") == 0)
    #expect(sum(whole, "tranche_partition_lag_seconds{") == 0)
    #expect(whole[#"tranche_last_exit_code{job_name="job"}"#] == 0)
    let upToDate = try #require(
      whole[#"tranche_up_to_date_timestamp_seconds{job_name="job"}"#])
    #expect(abs(upToDate - Date().timeIntervalSince1970) < 300)
    let reasons = try query(
      scenario, "SELECT reason, count(*) FROM rejects GROUP BY reason ORDER BY reason")
    let exposed = whole.filter { $0.key.hasPrefix("tranche_rejects_total{") && $0.value > 0 }
      .map { ($0.key.split(separator: "\"")[3], Int($0.value)) }.sorted { $0.0 < $1.0 }
    #expect(exposed.map { "\($0)|\($1)\n" }.joined() == reasons && exposed.count > 1)
    let newest = try [0, 1].map { partition in
      try #require(
        whole.first {
          $0.key.hasPrefix("tranche_partition_newest_record_timestamp_seconds{")
            && $0.key.hasSuffix("partition=\"\(partition)\"}")
        }
      ).value
    }
    let start = Double(Scenario.start) / 1_000
    #expect(newest == [start + 301, start + 299])
    let size = try #require(whole[#"tranche_checkpoint_size_bytes{job_name="job"}"#])
    #expect(size > 50_000 && size < 10_000_000)
    // As many as batches, whichever run committed them.
    #expect(seriesOfSteps(whole, "read") == whole[#"tranche_batches_total{job_name="job"}"#])
    for step in ["plan", "decode", "fold", "commit", "render", "publish"] {
      #expect((seriesOfSteps(whole, step) ?? 0) > (seriesOfSteps(first, step) ?? .infinity))
    }

    // One batch of the gap, and something is left of it.
    let backfill = try scenario.tranche(
      "backfill", "job.yaml", "--gaps", "--max-duration", "1ms", "--metrics-file", "job.prom")
    #expect(backfill.exitCode == 0, "\(backfill.errors)")
    let partly = try figures(scenario)
    try check(partly, scenario)
    #expect(partly[#"tranche_backfill_left_offsets{job_name="job"}"#] == 40)

    try scenario.stack.kafka(
      scenario.stack.broker, (0..<300).map { _ in row(scenario, "bad\n", partition: 0, at: 302) })
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 65)
    let stopped = try figures(scenario)
    try check(stopped, scenario)
    #expect(stopped[#"tranche_last_exit_code{job_name="job"}"#] == 65)
    #expect(stopped[#"tranche_open_incidents{job_name="job",kind="rejects"}"#] == 1)
    #expect((sum(stopped, "tranche_partition_lag_offsets{") ?? 0) > 0)
    // The records' own times lie in the past: since the last run that left nothing unread.
    let lag = try #require(
      stopped.first {
        $0.key.hasPrefix("tranche_partition_lag_seconds{") && $0.key.hasSuffix("partition=\"0\"}")
      }
    ).value
    #expect(lag > 0 && lag < 300)

    // What only a run can tell stays; everything else is looked at anew.
    #expect(
      try scenario.tranche("status", "job.yaml", "--metrics-file", "job.prom").exitCode == 0)
    let looked = try figures(scenario)
    try check(looked, scenario)
    #expect(looked[#"tranche_last_exit_code{job_name="job"}"#] == 65)
    #expect(seriesOfSteps(looked, "read") == seriesOfSteps(stopped, "read"))
  }

  @Test("count rejects that are dropped, by their reason")
  func dropped() throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { policy: drop, max_share: 100% }")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,1\n", "x,1\n", "y,1\n", "1\n"].map { row(scenario, $0, partition: 0) })
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 0)
    let found = try figures(scenario)
    try check(found, scenario)
    #expect(sum(found, "tranche_rejects_total{") == 3)
    #expect(found[#"tranche_rejects_total{job_name="job",reason="wrongType"}"#] == 2)
  }

  @Test(
    """
    of a run that fails tell its exit code: without a broker, with a faulty job file, with a \
    damaged checkpoint; figures that nobody could tell anew stay, but for the lags
    """)
  func failures() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + (0..<5).map { row(scenario, "1,\($0)\n", partition: 0) })
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 0)
    let before = try figures(scenario)
    let job = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    let exitCode = #"tranche_last_exit_code{job_name="job"}"#
    func expect(_ code: Double, _ what: String) throws {
      let after = try figures(scenario)
      #expect(after[exitCode] == code, "\(what)")
      #expect(sum(after, "tranche_partition_lag") == nil, "\(what)")
      for name in ["records_read_total", "batches_total", "last_commit_timestamp_seconds"] {
        let series = #"tranche_\#(name){job_name="job"}"#
        #expect(after[series] == before[series] && after[series] != nil, "\(what): \(name)")
      }
      #expect(seriesOfSteps(after, "read") == seriesOfSteps(before, "read"), "\(what)")
    }
    try scenario.folder.write(
      job.replacing(scenario.stack.broker, with: "127.0.0.1:1"), to: "job.yaml")
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 69)
    try expect(69, "no broker")
    try scenario.folder.write(job + "\nnonsense: 1\n", to: "job.yaml")
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 65)
    try expect(65, "a faulty job file")
    try scenario.folder.write(job, to: "job.yaml")
    try scenario.folder.write("not a database", to: "checkpoints/job.sqlite")
    for ending in ["-wal", "-shm"] {
      unlink(scenario.folder.path + "/checkpoints/job.sqlite" + ending)
    }
    #expect(try scenario.run("--metrics-file", "job.prom").exitCode == 74)
    try expect(74, "a damaged checkpoint")
    // Before there is anything to keep, the file's name stands for the job's.
    try scenario.folder.write("nonsense: 1\n", to: "other.yaml")
    let other = try scenario.tranche("run", "other.yaml", "--metrics-file", "other.prom")
    #expect(other.exitCode == 65)
    let found = try figures(scenario, "other.prom")
    #expect(found[#"tranche_last_exit_code{job_name="other"}"#] == 65)
  }

  @Test(
    """
    are written while a long run goes on, left alone by a run that finds it active, and tell that \
    it was stopped
    """)
  func longRun() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 1)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 80_000, seed: 1),
      ])
    let path = scenario.folder.path + "/job.prom"
    let result = try scenario.tranche("run", "job.yaml", "--metrics-file", "job.prom") { pid in
      let deadline = ContinuousClock.now + .seconds(60)
      let began = #"tranche_batches_total{job_name="job"} 0"#
      func text() -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
      while !text().contains("batches_total{"), ContinuousClock.now < deadline { usleep(1_000) }
      // Zeros first, so that rate() sees what the first run rejects.
      #expect(text().contains(began) && text().contains("tranche_run_start_timestamp_seconds{"))
      while text().contains(began), ContinuousClock.now < deadline { usleep(10_000) }
      let going = try figures(scenario, text: text())
      #expect(going[#"tranche_dirty_outputs{job_name="job"}"#] == 0)
      #expect((going[#"tranche_batches_total{job_name="job"}"#] ?? 0) >= 1)
      #expect((sum(going, "tranche_partition_lag_offsets{") ?? 0) > 0)
      #expect(going[#"tranche_last_exit_code{job_name="job"}"#] == nil)
      let second = try scenario.tranche("run", "job.yaml", "--metrics-file", "job.prom")
      #expect(second.exitCode == 75)
      #expect(
        try figures(scenario)[#"tranche_last_exit_code{job_name="job"}"#] == nil)
      kill(pid, SIGTERM)
    }
    #expect(result.exitCode == -SIGTERM)
    let stopped = try figures(scenario)
    try check(stopped, scenario)
    #expect(stopped[#"tranche_last_exit_code{job_name="job"}"#] == 143)
  }

  @Test("are a file of mode 0644 that is whole whenever it is looked at")
  func atomicity() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 40],
        scenario.samples(partitions: 40, count: 400, seed: 1),
      ])
    let folder = scenario.folder.path
    let first = try execute(
      "/bin/sh",
      [
        "-c", #"umask 077 && exec "$0" run job.yaml --metrics-file job.prom"#,
        scenario.stack.binary,
      ],
      directory: folder)
    #expect(first.exitCode == 0, "\(first.errors)")
    let whole = try String(contentsOfFile: folder + "/job.prom", encoding: .utf8)
    let lineCount = whole.split(separator: "\n").count
    var lookCount = 0
    // The lags of 40 partitions go and come again, with their help and type.
    for option in ["--offline", "--verbose"] {
      for _ in 0..<8 {
        let command =
          option == "--offline"
          ? ["status", "job.yaml", option] : ["run", "job.yaml", option]
        _ = try scenario.stack.tranche(
          command + ["--metrics-file", "job.prom"], in: folder
        ) { pid in
          while kill(pid, 0) == 0, lookCount < 100_000 {
            let text = try String(contentsOfFile: folder + "/job.prom", encoding: .utf8)
            lookCount += 1
            let count = text.split(separator: "\n").count
            guard text.hasSuffix("\n"), [lineCount, lineCount - 84].contains(count) else {
              Issue.record("half-written: \(count) of \(lineCount) lines")
              return
            }
          }
        }
      }
    }
    #expect(lookCount > 100)
    var facts = stat()
    #expect(stat(folder + "/job.prom", &facts) == 0 && facts.st_mode & 0o777 == 0o644)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(!names.contains { $0.hasSuffix(".new") }, "\(names)")
  }

  @Test("that cannot be written are told, and change nothing of the run; of status they are all")
  func unwritable() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + [row(scenario, "1,1\n", partition: 0)])
    let run = try scenario.run("--metrics-file", "nowhere/job.prom")
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 1)
    let message = "nowhere/job.prom: the metrics cannot be written: No such file or directory."
    #expect(run.errors.components(separatedBy: message).count == 2, "\(run.errors)")
    let status = try scenario.tranche("status", "job.yaml", "--metrics-file", "nowhere/job.prom")
    #expect(status.exitCode == 74 && status.errors.contains(message), "\(status.errors)")
    for (path, reason) in [("fifo", "It is not a regular file"), ("dead", "No such file")] {
      _ = mkfifo(scenario.folder.path + "/fifo", 0o600)
      symlink("gone/job.prom", scenario.folder.path + "/dead")
      let refused = try scenario.tranche("status", "job.yaml", "--metrics-file", path)
      #expect(
        refused.exitCode == 74 && refused.errors.contains("cannot be written: " + reason),
        "\(refused.errors)")
    }
    try scenario.folder.write("", to: "real.prom")
    symlink("real.prom", scenario.folder.path + "/link")
    #expect(try scenario.tranche("status", "job.yaml", "--metrics-file", "link").exitCode == 0)
    #expect(try figures(scenario, "real.prom")[#"tranche_batches_total{job_name="job"}"#] == 1)
    var facts = stat()
    #expect(lstat(scenario.folder.path + "/link", &facts) == 0 && facts.st_mode & S_IFMT == S_IFLNK)
    // What nobody can say the name of is not taken from the file.
    try scenario.folder.write("name: job\nnonsense: 1\n", to: "faulty.yaml")
    #expect(
      try scenario.tranche("status", "faulty.yaml", "--metrics-file", "real.prom").exitCode == 65)
    #expect(try figures(scenario, "real.prom")[#"tranche_batches_total{job_name="job"}"#] == 1)
    let list = try scenario.tranche("backfill", "job.yaml", "--list", "--metrics-file", "job.prom")
    #expect(list.exitCode == 64 && list.errors.contains("--metrics-file belongs to"))
  }
}
