import Checkpoints
import Engine
import Foundation
import Jobs
import Offsets
import Testing

@testable import Reports

private let first = PartitionID(source: "main", topic: "calls", partition: 0)
private let second = PartitionID(source: "main", topic: "calls", partition: 1)

/// A job that has read two partitions, and nothing of a third that it has just met.
private func facts() -> MetricFacts {
  var facts = MetricFacts(job: "calls", now: 1_000_000)
  var state = MetricFacts.State()
  state.recordCount = 1_234
  state.tombstoneCount = 5
  state.batchCount = 12
  state.rejectCounts = ["wrongType": 3]
  state.lastCommitAt = 940_500
  state.upToDateAt = 900_000
  state.dirtyCount = 2
  state.incidents = [.rejects]
  state.backfillLeft = 40
  state.cutoff = 900_000
  state.byteCount = 65_536
  state.partitions = [
    .init(second, newestTimestamp: 800_000), .init(first, newestTimestamp: 930_000),
  ]
  facts.state = state
  facts.lags = [first: 7, second: 0]
  return facts
}

private func lines(_ metrics: Metrics, _ start: String) -> [String] {
  metrics.text.split(separator: "\n").map(String.init).filter { $0.hasPrefix(start) }
}

@Suite("Metrics")
struct MetricsTests {
  @Test(
    "are the job's figures, times in seconds since 1970",
    arguments: [
      #"tranche_records_read_total{job_name="calls"} 1234"#,
      #"tranche_tombstones_total{job_name="calls"} 5"#,
      #"tranche_rejects_total{job_name="calls",reason="wrongType"} 3"#,
      #"tranche_rejects_total{job_name="calls",reason="malformed"} 0"#,
      #"tranche_batches_total{job_name="calls"} 12"#,
      #"tranche_last_commit_timestamp_seconds{job_name="calls"} 940.5"#,
      #"tranche_up_to_date_timestamp_seconds{job_name="calls"} 900"#,
      #"tranche_dirty_outputs{job_name="calls"} 2"#,
      #"tranche_open_incidents{job_name="calls",kind="rejects"} 1"#,
      #"tranche_open_incidents{job_name="calls",kind="log_replaced"} 0"#,
      #"tranche_backfill_left_offsets{job_name="calls"} 40"#,
      #"tranche_checkpoint_size_bytes{job_name="calls"} 65536"#,
      "tranche_partition_newest_record_timestamp_seconds"
        + #"{job_name="calls",source="main",topic="calls",partition="0"} 930"#,
      "tranche_partition_lag_offsets"
        + #"{job_name="calls",source="main",topic="calls",partition="0"} 7"#,
    ])
  func figures(_ line: String) {
    #expect(lines(Metrics(facts()), line) == [line])
  }

  /// What is unread came after the newest record that was read, and after the last time that
  /// nothing was unread.
  @Test(
    "tell how long an unread record can have waited, as far as that is known",
    arguments: [
      (lag: 7, newest: 930_000, upToDate: 900_000, "70"),
      (7, 800_000, 900_000, "100"), (7, nil, 900_000, "100"), (7, 930_000, nil, "70"),
      // A message's time may lie in the future.
      (7, 2_000_000, nil, "0"), (0, 930_000, nil, "0"), (0, nil, nil, "0"), (7, nil, nil, nil),
    ] as [(lag: Int64, newest: Int64?, upToDate: Int64?, String?)])
  func lagSeconds(lag: Int64, newest: Int64?, upToDate: Int64?, seconds: String?) {
    var facts = facts()
    facts.state?.upToDateAt = upToDate
    facts.state?.partitions = [.init(first, newestTimestamp: newest)]
    facts.lags = [first: lag]
    let values = lines(Metrics(facts), "tranche_partition_lag_seconds{").compactMap {
      $0.split(separator: " ").last.map(String.init)
    }
    #expect(values == [seconds].compactMap(\.self))
  }

  @Test(
    "tell of records that are held back that they wait since the commit before them, and no longer",
    arguments: [
      (commit: 850_000, upToDate: 900_000, "150"), (950_000, 900_000, "100"),
      // The delay was over: nothing was held back, and nothing unread.
      (300_000, 900_000, "100"),
    ] as [(commit: Int64, upToDate: Int64, String)])
  func heldBack(commit: Int64, upToDate: Int64, seconds: String) throws {
    let job = try JobFile.parse(
      text: """
        name: calls
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [calls] }]
          format: csv
          fields: { v: int64 }
        trigger: { min_offsets: 100, max_delay: 10m, max_offsets: 1000 }
        window: global
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
    let figures = CheckpointFigures(
      lastCommit: nil, waitingSince: commit, recordCount: 0, tombstoneCount: 0, rejectCounts: [:],
      dirtyCount: 0, incidents: [], backfillLeft: 0, newestTimestamps: [first: nil])
    var facts = facts()
    facts.state = MetricFacts.State(figures, job.holdBack, upToDate: upToDate, byteCount: 0)
    facts.lags = [first: 7]
    let found = lines(Metrics(facts), "tranche_partition_lag_seconds{")
    #expect(found.map { $0.split(separator: " ").last.map(String.init) } == [seconds])
  }

  @Test("have each family's help and type once, before its samples, also of several jobs")
  func format() {
    var other = facts()
    other.run = MetricFacts.Run()
    other.run?.exitCode = 0
    other.run?.startedAt = 990_000
    var metrics = Metrics(other)
    var third = MetricFacts(job: "b", now: 5)
    third.state = MetricFacts.State()
    metrics.add(Metrics(third))
    for family in MetricFamily.all {
      let text = metrics.text
      let help = "# HELP \(family.name) \(family.help)\n# TYPE \(family.name) \(family.kind)\n"
      #expect(text.ranges(of: help).count == 1, "\(family.name)")
      #expect(text.ranges(of: "# HELP \(family.name) ").count == 1)
      // Nothing of another family stands between them.
      let begin = text.firstRange(of: help)?.upperBound ?? text.endIndex
      let own = text[begin...].split(separator: "\n").prefix { !$0.hasPrefix("#") }
      let names = family.seriesNames
      #expect(
        !own.isEmpty && own.allSatisfy { line in names.contains { line.hasPrefix($0 + "{") } })
      #expect(text.ranges(of: "\n\(names[0]){").count == own.count { $0.hasPrefix(names[0]) })
    }
    #expect(metrics.text.hasSuffix("\n") && !metrics.text.contains("\n\n"))
  }

  @Test("escape backslashes, quotes and line ends in the values of labels, and nothing else")
  func escaping() {
    var facts = MetricFacts(job: "a\\b\"c\nd\té", now: 0)
    facts.state = MetricFacts.State()
    let line = #"tranche_batches_total{job_name="a\\b\"c\nd"# + "\t" + #"é"} 0"#
    #expect(lines(Metrics(facts), "tranche_batches_total") == [line])
    #expect(Metrics(text: Metrics(facts).text) == Metrics(facts))
  }

  @Test("count the steps of a run in cumulative buckets")
  func histogram() {
    var facts = facts()
    var run = MetricFacts.Run()
    for nanoseconds in [1, 1_000_000, 1_000_001, 61_000_000_000] {
      run.durations.observe(.commit, nanoseconds: Int64(nanoseconds))
    }
    facts.run = run
    let found = lines(
      Metrics(facts), #"tranche_step_duration_seconds_bucket{job_name="calls",step="commit","#)
    #expect(
      found.compactMap { $0.split(separator: ",").last.map(String.init) } == [
        #"le="0.001"} 2"#, #"le="0.005"} 3"#, #"le="0.025"} 3"#, #"le="0.1"} 3"#,
        #"le="0.5"} 3"#, #"le="2.5"} 3"#, #"le="10"} 3"#, #"le="60"} 3"#, #"le="+Inf"} 4"#,
      ])
    let rest = #"{job_name="calls",step="commit"} "#
    #expect(
      lines(Metrics(facts), "tranche_step_duration_seconds_sum" + rest)
        == ["tranche_step_duration_seconds_sum" + rest + "61.002000002"])
    #expect(
      lines(Metrics(facts), "tranche_step_duration_seconds_count" + rest)
        == ["tranche_step_duration_seconds_count" + rest + "4"])
    // Each step from the first run on, so that its first increase is seen.
    #expect(
      lines(Metrics(facts), "tranche_step_duration_seconds_count{").count
        == StepTimes.Step.allCases.count)
  }

  private func ended(_ code: Int32?, commits: Int, _ before: Metrics = Metrics()) -> Metrics {
    var facts = facts()
    var run = MetricFacts.Run()
    for _ in 0..<commits { run.durations.observe(.commit, nanoseconds: 2_000_000) }
    run.exitCode = code
    facts.run = run
    return Metrics(facts, before: before)
  }

  private let commits = #"tranche_step_duration_seconds_count{job_name="calls",step="commit"}"#

  @Test("of steps grow from run to run, whatever a run tells on its way")
  func accumulated() {
    let one = ended(0, commits: 3)
    #expect(lines(one, commits) == [commits + " 3"])
    // On its way and at its end a run counts from what stood there when it began.
    #expect(lines(ended(nil, commits: 1, one), commits) == [commits + " 4"])
    let two = ended(69, commits: 2, Metrics(text: one.text))
    #expect(lines(two, commits) == [commits + " 5"])
    #expect(
      lines(two, "tranche_last_exit_code") == [#"tranche_last_exit_code{job_name="calls"} 69"#])
  }

  @Test(
    "of steps begin anew where what was exposed is no histogram, so that a damage does not last",
    arguments: ["-1", "nan", "1e999", "7", nil])
  func damagedHistogram(_ value: String?) {
    let bucket = #"tranche_step_duration_seconds_bucket{job_name="calls",step="commit",le="0.1"}"#
    let text = ended(0, commits: 3).text.replacing(
      bucket + " 3\n", with: value.map { bucket + " \($0)\n" } ?? "")
    let after = ended(0, commits: 2, Metrics(text: text))
    #expect(lines(after, commits) == [commits + " 2"])
    #expect(lines(after, bucket) == [bucket + " 2"])
  }

  @Test("of a run that begins are its start, and the lags as they were; the start stays")
  func begun() {
    var facts = facts()
    facts.lags = [:]
    facts.kept = [.lags]
    facts.run = MetricFacts.Run()
    facts.run?.startedAt = 2_000_000
    let before = ended(69, commits: 3)
    let began = Metrics(facts, before: before)
    let start = [#"tranche_run_start_timestamp_seconds{job_name="calls"} 2000"#]
    #expect(lines(began, "tranche_run_start") == start)
    #expect(
      lines(began, "tranche_partition_lag") == lines(before, "tranche_partition_lag")
        && !lines(began, "tranche_partition_lag").isEmpty)
    #expect(lines(ended(0, commits: 0, began), "tranche_run_start") == start)
    var metrics = began
    metrics.note(exitCode: 65, job: "calls", now: 3_000_000)
    #expect(lines(metrics, "tranche_run_start") == start)
  }

  @Test("of what is not published stay while a run goes on, whose last batch never is")
  func dirtyMeanwhile() {
    var facts = facts()
    facts.state?.dirtyCount = 0
    let before = Metrics(facts)
    facts.state?.dirtyCount = 1
    facts.kept = [.dirtyOutputs]
    let dirty = #"tranche_dirty_outputs{job_name="calls"} "#
    #expect(lines(Metrics(facts, before: before), dirty) == [dirty + "0"])
    facts.kept = []
    #expect(lines(Metrics(facts, before: before), dirty) == [dirty + "1"])
  }

  @Test("of a job that has no checkpoint are 0, but for what was exposed before")
  func withoutCheckpoint() {
    var new = MetricFacts(job: "calls", now: 0)
    new.isNew = true
    let rejects = #"tranche_rejects_total{job_name="calls",reason="wrongType"} "#
    #expect(lines(Metrics(new), rejects) == [rejects + "0"])
    #expect(lines(Metrics(new, before: Metrics(facts())), rejects) == [rejects + "3"])
  }

  @Test("of jobs that nobody looked at are kept, but for the lags, and no others")
  func keptOfOthers() {
    var before = ended(0, commits: 1)
    var other = MetricFacts(job: "callsB", now: 5)
    other.state = MetricFacts.State()
    other.lags = [first: 7]
    before.add(Metrics(other))
    var metrics = Metrics()
    metrics.keep(before, exceptOf: ["calls"])
    #expect(!metrics.text.contains(#"job_name="calls""#))
    #expect(lines(metrics, "tranche_batches") == [#"tranche_batches_total{job_name="callsB"} 0"#])
    #expect(lines(metrics, "tranche_partition_lag").isEmpty)
  }

  @Test("of a run stay while the next one goes on, and where it was not a run that looked")
  func kept() {
    let before = ended(69, commits: 3)
    let exitCode = [#"tranche_last_exit_code{job_name="calls"} 69"#]
    #expect(lines(ended(nil, commits: 1, before), "tranche_last_exit_code") == exitCode)
    let looked = Metrics(facts(), before: before)
    #expect(lines(looked, "tranche_last_exit_code") == exitCode)
    #expect(lines(looked, commits) == [commits + " 3"])
    #expect(looked == before)
  }

  @Test("stay where the checkpoint cannot be read, but for the lags, and are another job's never")
  func unreadable() {
    var other = MetricFacts(job: "callsB", now: 0)
    other.state = MetricFacts.State()
    var before = ended(0, commits: 1)
    before.add(Metrics(other))
    var facts = MetricFacts(job: "calls", now: 2_000_000)
    facts.run = MetricFacts.Run()
    facts.run?.exitCode = 74
    let metrics = Metrics(facts, before: before)
    #expect(
      lines(metrics, "tranche_records_read") == [
        #"tranche_records_read_total{job_name="calls"} 1234"#
      ])
    #expect(lines(metrics, "tranche_partition_lag").isEmpty)
    #expect(!metrics.text.contains("callsB"))
    #expect(lines(metrics, commits) == [commits + " 1"])
  }

  @Test("tell how a run ended that could tell nothing else, under the name known before")
  func noted() {
    var metrics = ended(0, commits: 1)
    metrics.note(exitCode: 65, job: "file", now: 3_000_000)
    #expect(
      lines(metrics, "tranche_last_exit") == [#"tranche_last_exit_code{job_name="calls"} 65"#])
    #expect(
      lines(metrics, "tranche_last_run") == [
        #"tranche_last_run_timestamp_seconds{job_name="calls"} 3000"#
      ])
    #expect(lines(metrics, "tranche_records_read_total").count == 1)
    #expect(lines(metrics, "tranche_partition_lag").isEmpty)
    var none = Metrics()
    none.note(exitCode: 65, job: "file", now: 3_000_000)
    #expect(lines(none, "tranche_last_exit") == [#"tranche_last_exit_code{job_name="file"} 65"#])
  }

  @Test("hold each series once, though two files name one job")
  func twice() {
    var metrics = Metrics(facts())
    var other = facts()
    other.state?.recordCount = 99
    metrics.add(Metrics(other))
    #expect(metrics == Metrics(facts()))
    #expect(Metrics(text: metrics.text + Metrics(other).text) == metrics)
  }

  @Test(
    "are read back from a text, and whatever else it holds is left out",
    arguments: [
      "", "\n\n", "# HELP x", "tranche_batches_total 1", "tranche_batches_total{job_name=\"a\"} x",
      "tranche_batches_total{job_name=\"a\"", "other_total{job_name=\"a\"} 1", "{} 1", " ", "} 1",
      "tranche_step_duration_seconds{job_name=\"a\"} 1",
    ])
  func foreign(_ line: String) {
    #expect(Metrics(text: line) == Metrics())
    let metrics = ended(0, commits: 2)
    #expect(Metrics(text: line + "\n" + metrics.text) == metrics)
  }
}
