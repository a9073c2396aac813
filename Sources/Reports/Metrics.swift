package import Checkpoints
package import Engine
package import Jobs
package import Offsets
internal import Tables
internal import Windows

/// One metric as Prometheus knows it: a name, and a time series for each set of labels.
///
/// - SeeAlso: prometheus.io/docs/practices/naming.
package struct MetricFamily: Sendable {
  package enum Kind: String, Sendable { case counter, gauge, histogram }

  /// Who knows the figures. What nobody has told anew is taken from the file before, but for the
  /// lags, which would be wrong soon.
  fileprivate enum Origin { case checkpoint, brokers, run }

  package let name: String
  package let kind: Kind
  package let labels: [String]
  package let help: String
  fileprivate let origin: Origin

  /// All that is exposed, in this order; docs/monitoring.md lists the same.
  package static let all = [
    recordsRead, rejects, tombstones, batches, lastCommit, upToDate, dirtyOutputs, openIncidents,
    backfillLeft, cutoff,
    checkpointSize, newestRecord, lagOffsets, lagSeconds, stepDuration, runStart, lastExitCode,
    lastRun,
  ]

  static let recordsRead = counter(
    "tranche_records_read_total", "Records that were decoded, in all committed batches.")
  static let rejects = counter(
    "tranche_rejects_total", "Records that were rejected, in all committed batches.", ["reason"])
  static let tombstones = counter(
    "tranche_tombstones_total",
    "Messages without a value that were skipped, in all committed batches.")
  static let batches = counter("tranche_batches_total", "Committed batches.")
  static let lastCommit = gauge(
    "tranche_last_commit_timestamp_seconds", "When the newest batch was committed.")
  static let upToDate = gauge(
    "tranche_up_to_date_timestamp_seconds",
    "When the last run began that left nothing to publish, and nothing to read that may not wait.")
  static let dirtyOutputs = gauge(
    "tranche_dirty_outputs", "Objects whose newest content is not published yet.")
  static let openIncidents = gauge(
    "tranche_open_incidents", "Losses and doubts that a person must decide.", ["kind"])
  static let backfillLeft = gauge(
    "tranche_backfill_left_offsets", "Offsets that backfills have yet to count.")
  static let cutoff = gauge(
    "tranche_cutoff_timestamp_seconds",
    "Windows that end then or before are final; missing where none is.")
  static let checkpointSize = gauge(
    "tranche_checkpoint_size_bytes", "Size of the checkpoint with its write-ahead log.")
  static let newestRecord = gauge(
    "tranche_partition_newest_record_timestamp_seconds",
    "The time of the newest message that was read.", ofPartition)
  static let lagOffsets = gauge(
    "tranche_partition_lag_offsets", "Offsets that are left to read.", ofPartition, .brokers)
  static let lagSeconds = gauge(
    "tranche_partition_lag_seconds",
    "About the longest that an unread record can have waited; 0 where nothing is unread.",
    ofPartition, .brokers)
  static let stepDuration = MetricFamily(
    name: "tranche_step_duration_seconds", kind: .histogram, labels: ["job_name", "step"],
    help: "How long a batch took in a step; in render, encode and publish, an object or a group.",
    origin: .run)
  static let runStart = gauge(
    "tranche_run_start_timestamp_seconds", "When the newest run began that got the job's lock.", [],
    .run)
  static let lastExitCode = gauge(
    "tranche_last_exit_code", "The exit code of the last run; 128 + n: ended by signal n.", [],
    .run)
  static let lastRun = gauge(
    "tranche_last_run_timestamp_seconds", "When the last run ended.", [], .run)

  private static let ofPartition = ["source", "topic", "partition"]

  private static func counter(_ name: String, _ help: String, _ labels: [String] = [])
    -> MetricFamily
  {
    MetricFamily(
      name: name, kind: .counter, labels: ["job_name"] + labels, help: help, origin: .checkpoint)
  }

  private static func gauge(
    _ name: String, _ help: String, _ labels: [String] = [], _ origin: Origin = .checkpoint
  ) -> MetricFamily {
    MetricFamily(
      name: name, kind: .gauge, labels: ["job_name"] + labels, help: help, origin: origin)
  }

  package var seriesNames: [String] {
    kind == .histogram ? ["_bucket", "_sum", "_count"].map { name + $0 } : [name]
  }

  /// By the name of a series: `tranche_step_duration_seconds_sum`.
  fileprivate static let bySeriesName = Dictionary(
    uniqueKeysWithValues: all.flatMap { family in
      family.seriesNames.map { ($0[...], family) }
    })
}

/// What is known of one job, and what of it nobody could tell.
package struct MetricFacts: Sendable {
  /// What its checkpoint says, and the files beside it.
  package struct State: Sendable {
    package struct Partition: Sendable {
      package let partition: PartitionID
      /// Milliseconds since 1970 UTC.
      package let newestTimestamp: Int64?

      package init(_ partition: PartitionID, newestTimestamp: Int64?) {
        self.partition = partition
        self.newestTimestamp = newestTimestamp
      }
    }
    package var recordCount: Int64 = 0
    package var tombstoneCount: Int64 = 0
    package var batchCount: Int64 = 0
    /// By reason.
    package var rejectCounts: [String: Int64] = [:]
    /// Milliseconds since 1970 UTC, as all times here; nil where there is none.
    package var lastCommitAt: Int64?
    package var upToDateAt: Int64?
    /// Since when `trigger.min_offsets` may hold records back; nil where it did not when the job
    /// was up to date.
    package var heldBackSince: Int64?
    package var dirtyCount = 0
    package var incidents: [Incident.Kind] = []
    package var backfillLeft: Int64 = 0
    /// Nil where none is final yet.
    package var cutoff: Int64?
    package var byteCount: Int64 = 0
    package var partitions: [Partition] = []

    package init() {}
  }

  /// What only a run can tell.
  package struct Run: Sendable {
    /// Of this run alone.
    package var durations = StepDurations()
    /// Nil where the run did not get the job's lock.
    package var startedAt: Int64?
    /// Nil while it goes on.
    package var exitCode: Int32?

    package init() {}
  }

  /// What stays as it was exposed, because nobody knows it now.
  package enum Kept: Sendable {
    /// Where the brokers have not been asked yet.
    case lags
    /// Between two batches of a run: the last one's objects are about to be published.
    case dirtyOutputs
  }

  package let job: String
  package let now: Int64
  /// Nil where the checkpoint cannot be read, or where there is none.
  package var state: State?
  /// There is no checkpoint. A series that begins above 0 would hide its first increase, so what is
  /// not exposed yet is exposed as 0.
  package var isNew = false
  package var kept: Set<Kept> = []
  /// Nothing of partitions that no broker has told of.
  package var lags: [PartitionID: Int64] = [:]
  /// Nil where it was not a run that looked.
  package var run: Run?

  package init(job: String, now: Int64) {
    self.job = job
    self.now = now
  }
}

extension MetricFacts.State {
  /// - Parameters:
  ///   - upToDate: As `RunLock.upToDate(path:)` tells it.
  ///   - byteCount: Of the checkpoint's files.
  package init(
    _ figures: CheckpointFigures, _ rule: Job.HoldBack, upToDate: Int64?, byteCount: Int64
  ) {
    recordCount = figures.recordCount
    tombstoneCount = figures.tombstoneCount
    batchCount = figures.lastCommit?.batch ?? 0
    rejectCounts = figures.rejectCounts
    lastCommitAt = figures.lastCommit.flatMap { TimestampText.parse($0.committedAt) }
    upToDateAt = upToDate
    if rule.minOffsets > 1, let upToDate,
      upToDate - figures.waitingSince < rule.maxDelayMilliseconds
    {
      heldBackSince = figures.waitingSince
    }
    dirtyCount = figures.dirtyCount
    incidents = figures.incidents
    backfillLeft = figures.backfillLeft
    cutoff = figures.cutoff.instant
    self.byteCount = byteCount
    partitions = figures.newestTimestamps.map { Partition($0.key, newestTimestamp: $0.value) }
  }
}

/// Figures of one or several jobs, and their text in Prometheus's format 0.0.4.
///
/// - SeeAlso: prometheus.io/docs/instrumenting/exposition_formats.
package struct Metrics: Sendable, Equatable {
  private struct Sample: Equatable {
    /// Name and labels: `tranche_batches_total{job_name="calls"}`.
    let series: String
    let value: String
  }

  /// By the family's name.
  private var samples: [String: [Sample]] = [:]
  /// Prometheus refuses a text that holds a series twice.
  private var series: Set<String> = []

  package init() {}

  // MARK: - From facts

  /// - Parameters:
  ///   - before: What was exposed of the job until now.
  ///   - steps: What was exposed when the run began; nil where that is `before`. Histograms go on
  ///     from there: so they grow from run to run, as counters must.
  package init(_ facts: MetricFacts, before: Metrics = Metrics(), steps: Metrics? = nil) {
    carry(over: before, facts)
    if let state = facts.state ?? (facts.isNew ? MetricFacts.State() : nil) { add(state, facts) }
    addLags(facts)
    if let run = facts.run { add(run, facts, steps ?? before) }
  }

  private mutating func carry(over before: Metrics, _ facts: MetricFacts) {
    let start = Self.start(of: facts.job)
    for family in MetricFamily.all {
      let isUnknown =
        switch family.origin {
        case .checkpoint:
          facts.state == nil
            || (facts.kept.contains(.dirtyOutputs)
              && family.name == MetricFamily.dirtyOutputs.name)
        case .brokers: facts.kept.contains(.lags)
        // A run tells its steps always, and how it ended when it has.
        case .run:
          switch family.name {
          case MetricFamily.stepDuration.name: facts.run == nil
          case MetricFamily.runStart.name: facts.run?.startedAt == nil
          default: facts.run?.exitCode == nil
          }
        }
      guard isUnknown else { continue }
      for sample in before.samples[family.name, default: []]
      where Self.isSeries(sample.series, start) {
        add(family, sample.series, sample.value)
      }
    }
  }

  /// Keeps what was exposed of jobs that nobody looked at, but for the lags.
  ///
  /// - Parameter jobs: Those that were looked at.
  package mutating func keep(_ before: Metrics, exceptOf jobs: [String]) {
    let starts = jobs.map(Self.start)
    for family in MetricFamily.all where family.origin != .brokers {
      for sample in before.samples[family.name, default: []]
      where !starts.contains(where: { Self.isSeries(sample.series, $0) }) {
        add(family, sample.series, sample.value)
      }
    }
  }

  /// How the labels of a job's series begin: its name is the first of them.
  private static func start(of job: String) -> Substring {
    labels([("job_name", job)]).dropLast()
  }

  private static func isSeries(_ series: String, _ start: Substring) -> Bool {
    let rest = series.drop { $0 != "{" }
    return rest.hasPrefix(start + ",") || rest == start + "}"
  }

  private mutating func add(_ state: MetricFacts.State, _ facts: MetricFacts) {
    let job = [("job_name", facts.job)]
    add(.recordsRead, job, state.recordCount)
    // All of them from the first run on: a series that begins above 0 hides its first increase.
    let reasons = Set(Reject.Reason.allCases.map(\.rawValue)).union(state.rejectCounts.keys)
    for reason in reasons.sorted() {
      add(.rejects, job + [("reason", reason)], state.rejectCounts[reason] ?? 0)
    }
    add(.tombstones, job, state.tombstoneCount)
    add(.batches, job, state.batchCount)
    add(.lastCommit, job, timestamp: state.lastCommitAt)
    add(.upToDate, job, timestamp: state.upToDateAt)
    if !facts.kept.contains(.dirtyOutputs) { add(.dirtyOutputs, job, Int64(state.dirtyCount)) }
    for kind in Incident.Kind.allCases {
      add(
        .openIncidents, job + [("kind", kind.rawValue)],
        Int64(state.incidents.count { $0 == kind }))
    }
    add(.backfillLeft, job, state.backfillLeft)
    if let cutoff = state.cutoff { add(.cutoff, job, timestamp: cutoff) }
    add(.checkpointSize, job, state.byteCount)
    for partition in state.partitions.sorted(by: { $0.partition < $1.partition }) {
      add(
        .newestRecord, Self.labels(of: partition.partition, facts),
        timestamp: partition.newestTimestamp)
    }
  }

  private mutating func addLags(_ facts: MetricFacts) {
    let newest = Dictionary(
      uniqueKeysWithValues: (facts.state?.partitions ?? []).map {
        ($0.partition, $0.newestTimestamp)
      })
    for (partition, lag) in facts.lags.sorted(by: { $0.key < $1.key }) {
      let labels = Self.labels(of: partition, facts)
      add(.lagOffsets, labels, lag)
      // What is unread came after the newest record that was read, and after the last time that
      // nothing was unread, or only what is held back since the commit before it.
      let upToDate = facts.state?.upToDateAt.map { min($0, facts.state?.heldBackSince ?? $0) }
      let since = [newest[partition] ?? nil, upToDate].compactMap(\.self).max()
      if lag == 0 {
        add(.lagSeconds, labels, 0)
      } else if let since {
        add(.lagSeconds, labels, timestamp: max(0, facts.now - since))
      }
    }
  }

  private mutating func add(_ run: MetricFacts.Run, _ facts: MetricFacts, _ before: Metrics) {
    let job = [("job_name", facts.job)]
    let earlier = Dictionary(
      before.samples[MetricFamily.stepDuration.name, default: []].map { ($0.series, $0.value) },
      uniquingKeysWith: { first, _ in first })
    for step in StepTimes.Step.allCases {
      let labels = job + [("step", step.rawValue)]
      var own: [(series: String, value: Double)] = []
      func add(_ ending: String, _ labels: [(String, String)], _ value: Double) {
        own.append((MetricFamily.stepDuration.name + ending + Self.labels(labels), value))
      }
      var count: Int64 = 0
      let bounds = StepDurations.boundNanoseconds.map { Self.seconds($0 / 1_000_000) } + ["+Inf"]
      for (bound, counted) in zip(bounds, run.durations.counts(of: step)) {
        count += counted
        add("_bucket", labels + [("le", bound)], Double(count))
      }
      add("_count", labels, Double(count))
      add("_sum", labels, Double(run.durations.nanoseconds(of: step)) / 1e9)
      let before: [Double] = own.map { earlier[$0.series].flatMap(Double.init) ?? -1 }
      let isWhole = Self.isHistogram(before)
      for (own, before) in zip(own, before) {
        self.add(.stepDuration, own.series, Self.text(own.value + (isWhole ? before : 0)))
      }
    }
    add(.runStart, job, timestamp: run.startedAt)
    guard let exitCode = run.exitCode else { return }
    add(.lastExitCode, job, Int64(exitCode))
    add(.lastRun, job, timestamp: facts.now)
  }

  /// Whether a run can go on from these figures of a step; another one would be wrong for ever.
  ///
  /// - Parameter figures: The buckets' counts, the count of all, and the sum; below 0 where one is
  ///   missing.
  private static func isHistogram(_ figures: [Double]) -> Bool {
    let counts = figures.dropLast()
    return figures.allSatisfy { $0.isFinite && $0 >= 0 }
      && zip(counts, counts.dropFirst()).allSatisfy(<=)
      && counts.last == counts.dropLast().last
  }

  /// How a run ended that could tell nothing else, because its job file could not be read or it was
  /// killed.
  ///
  /// - Parameter job: Its name where nothing was exposed before.
  package mutating func note(exitCode: Int32, job: String, now: Int64) {
    for (family, value) in [
      (MetricFamily.lastExitCode, "\(exitCode)"), (.lastRun, Self.seconds(now)),
    ] {
      let known = remove(family)
      for series in known.isEmpty ? [family.name + Self.labels([("job_name", job)])] : known {
        add(family, series, value)
      }
    }
    for family in MetricFamily.all where family.origin == .brokers { remove(family) }
  }

  /// Adds what is exposed of other jobs. Of two that bear one name, the first stays.
  package mutating func add(_ other: Metrics) {
    for family in MetricFamily.all {
      for sample in other.samples[family.name, default: []] {
        add(family, sample.series, sample.value)
      }
    }
  }

  // MARK: - Samples

  private mutating func add(_ family: MetricFamily, _ labels: [(String, String)], _ value: Int64) {
    add(family, family.name + Self.labels(labels), "\(value)")
  }

  private mutating func add(
    _ family: MetricFamily, _ labels: [(String, String)], timestamp milliseconds: Int64?
  ) {
    guard let milliseconds else { return }
    add(family, family.name + Self.labels(labels), Self.seconds(milliseconds))
  }

  private mutating func add(_ family: MetricFamily, _ series: String, _ value: String) {
    guard self.series.insert(series).inserted else { return }
    samples[family.name, default: []].append(Sample(series: series, value: value))
  }

  /// - Returns: The series that there were.
  @discardableResult
  private mutating func remove(_ family: MetricFamily) -> [String] {
    let removed = samples.removeValue(forKey: family.name)?.map(\.series) ?? []
    series.subtract(removed)
    return removed
  }

  private static func labels(of partition: PartitionID, _ facts: MetricFacts) -> [(
    String, String
  )] {
    [
      ("job_name", facts.job), ("source", partition.source), ("topic", partition.topic),
      ("partition", "\(partition.partition)"),
    ]
  }

  private static func labels(_ labels: [(name: String, value: String)]) -> String {
    "{" + labels.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",") + "}"
  }

  private static func escaped(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped += #"\\"#
      case "\"": escaped += #"\""#
      case "\n": escaped += #"\n"#
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  private static func seconds(_ milliseconds: Int64) -> String {
    text(Double(milliseconds) / 1_000)
  }

  /// Whole numbers without a fraction.
  private static func text(_ value: Double) -> String {
    Int64(exactly: value).map(String.init) ?? "\(value)"
  }

  // MARK: - Text

  package var text: String {
    var text = ""
    for family in MetricFamily.all {
      guard let samples = samples[family.name], !samples.isEmpty else { continue }
      text += "# HELP \(family.name) \(family.help)\n# TYPE \(family.name) \(family.kind)\n"
      for sample in samples { text += "\(sample.series) \(sample.value)\n" }
    }
    return text
  }

  /// From ``text``. What another program or release wrote that is not one of these metrics is left
  /// out.
  package init(text: String) {
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard let blank = line.lastIndex(of: " "), case let value = line[line.index(after: blank)...],
        case let series = line[..<blank], series.hasSuffix("}"), Double(value) != nil,
        let family = MetricFamily.bySeriesName[series.prefix { $0 != "{" }]
      else { continue }
      add(family, String(series), String(value))
    }
  }
}
