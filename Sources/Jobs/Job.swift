package import Expressions
package import Formats
package import Scheduling
package import Tables
package import Windows

/// A job file after parsing, substitution and validation: every later step takes its values from
/// here, and nothing changes them.
package struct Job: Sendable {
  package let name: String
  package let clusters: [Cluster]
  package let start: StartPosition
  package let onDataLoss: DataLossPolicy
  /// The consumer group that shows the job's progress; nil for none.
  package let commitGroup: String?
  package let format: InputFormat
  /// What is wrapped around JSON records.
  package let envelope: Envelope?
  package let csv: CSVDialect
  package let tombstones: TombstonePolicy
  package let fields: [InputField]
  /// At least 1.
  package let maxOffsets: Int64
  package let holdBack: HoldBack
  /// Nil where `tranche schedule` leaves the job alone.
  package let schedule: Schedule?
  package let window: any WindowKind
  /// Nil where late records change their window whenever they come.
  package let lateness: Lateness?
  /// A checked SQL expression over ``recordSchema``.
  package let `where`: Expression?
  /// Nil for a row job.
  package let aggregate: Aggregate?
  package let select: [DerivedColumn]
  package let output: Output
  package let rejects: RejectRules
  /// Nil for none.
  package let backup: Backup?
  package let limits: Limits
  /// How many batches of new messages, and of backfills, the checkpoint tells of; at least 1.
  package let history: Int64
  /// Columns of the results that are optional whatever the job file says: files of former
  /// definitions lack them. See ``continuing(_:)``.
  package var optionalColumns: Set<String> = []

  /// Whether batches of old messages can be counted after newer ones. Where one object shows the
  /// newest batch, it would show an old one then.
  package var canBackfill: Bool { window.keepsState || output.keep == .each }

  /// A Kafka cluster under a name of the job's own, which is what the checkpoint calls it.
  package struct Cluster: Sendable, Equatable {
    package let name: String
    /// librdkafka's configuration properties, reserved ones excluded. May hold secrets: never print
    /// the values.
    package let properties: [String: String]
    package let topics: [String]

    package init(name: String, properties: [String: String], topics: [String]) {
      self.name = name
      self.properties = properties
      self.topics = topics
    }
  }

  package enum StartPosition: Sendable, Equatable {
    case earliest, latest
    /// The first message at or after this instant.
    case timestamp(milliseconds: Int64)
  }

  package enum DataLossPolicy: String, Sendable, CaseIterable { case fail, skip }

  /// A batch waits until it is worth its commit.
  package struct HoldBack: Sendable, Equatable {
    /// From 1, which holds nothing back, to ``maxOffsets``.
    package let minOffsets: Int64
    /// Since the commit before it, at most.
    package let maxDelayMilliseconds: Int64
  }

  package struct Aggregate: Sendable, Equatable {
    /// Columns of ``recordSchema``; may be empty (one group).
    package let by: [String]
    package let measures: [Measure]
  }

  package struct DerivedColumn: Sendable, Equatable {
    package let name: String
    package let expression: Expression
    package let type: ColumnType
  }

  package struct Output: Sendable, Equatable {
    package enum Format: String, Sendable, CaseIterable { case parquet, csv, json }
    package enum Keep: String, Sendable, CaseIterable { case latest, each }
    /// When outputs are written in a run of many batches; what is dirty at a run's start or end is
    /// written in any case.
    package enum PublishSchedule: Sendable, Hashable {
      /// As soon as the publisher is free: a revision that was overtaken meanwhile is never
      /// written.
      case batch
      case runEnd
      /// With the first commit that comes this long after the last writing.
      case every(milliseconds: Int64)
    }
    package let destination: Destination
    package let format: Format
    /// For batch windows and row jobs; `latest` elsewhere.
    package let keep: Keep
    package let publish: PublishSchedule
    /// Whether an object tells readers how far the others are.
    package let manifest: Bool
    package let s3: S3Options
    package let maxPendingBytes: Int64
  }

  package struct S3Options: Sendable, Equatable {
    package enum AddressingStyle: String, Sendable, CaseIterable { case path, virtual }
    package enum Credentials: Sendable, Equatable {
      /// AWS_ACCESS_KEY_ID and its companions, else the `default` profile.
      case environment
      case profile(String)
      /// Given in the job file. Secret: never print.
      case keys(accessKeyID: String, secretAccessKey: String, sessionToken: String?)
    }
    /// Scheme, host and port; nil for AWS's own endpoint of the region.
    package let endpoint: String?
    package let region: String
    package let addressing: AddressingStyle
    package let credentials: Credentials
    /// For one attempt of one request, from connecting to the end of the answer.
    package let timeoutMilliseconds: Int64
    /// At least 1.
    package let maxAttempts: Int
    /// A PEM file of certificate authorities to trust instead of the system's.
    package let caFile: String?
  }

  package struct RejectRules: Sendable, Equatable {
    package enum Policy: String, Sendable, CaseIterable { case fail, quarantine, drop }
    package let policy: Policy
    /// From 0 to 1: a batch fails before its commit where more of the judged records are rejects.
    package let maxShare: Double
    /// So many records are judged, of the batch and the newest committed ones before it.
    package let maxShareOver: Int64
    /// Fewer judged records decide nothing.
    package let minRecords: Int64
  }

  package struct Backup: Sendable, Equatable {
    package let destination: Output.Destination
    package let everyMilliseconds: Int64
    /// At least 1.
    package let keep: Int64
  }

  package struct Limits: Sendable, Equatable {
    package internal(set) var batchBytes: Int64
    package internal(set) var recordBytes: Int64
    package internal(set) var groupsPerWindow: Int64
    package internal(set) var windowsPerBatch: Int64
    package internal(set) var keyBytes: Int64
    /// Most bytes of a text that `select` makes.
    package internal(set) var valueBytes: Int64
    package internal(set) var objectBytes: Int64
    /// How far the window's time may be ahead of the message's own.
    package internal(set) var futureMilliseconds: Int64
  }
}

/// Neither printing nor dumping a job shows a property's value or a key.
extension Job.Cluster: CustomStringConvertible, CustomReflectable {
  package var description: String {
    "cluster \(name) with topics \(topics.joined(separator: ", "))"
  }
  package var customMirror: Mirror { Mirror(self, children: ["name": name, "topics": topics]) }
}

extension Job.S3Options.Credentials: CustomStringConvertible, CustomReflectable {
  package var description: String {
    switch self {
    case .environment: "of the environment"
    case .profile(let name): "of the profile \(name)"
    case .keys: "of the job file"
    }
  }
  package var customMirror: Mirror { Mirror(self, children: [:]) }
}

extension Job {
  /// The declared fields, then the fields that every message carries: what `where`, `by` and
  /// measures may name.
  package var recordSchema: Schema { Self.recordSchema(of: fields) }

  static func recordSchema(of fields: [InputField]) -> Schema {
    Schema(fields.map(\.column) + MessageField.allCases.map(\.column))
  }

  /// The columns of a record that anything in the job reads, in lower case.
  package var columnsRead: Set<String> {
    var names = Set(aggregate?.by ?? [])
    names.formUnion(aggregate?.measures.compactMap(\.argument) ?? [])
    if let time = window.timeColumn { names.insert(time) }
    names = Set(names.map { $0.lowercased() })
    for expression in [self.where].compactMap(\.self) + select.map(\.expression) {
      names.formUnion(expression.columnNames)
    }
    return names
  }

  /// What `select` reads: the group's key and measures, or in a row job the record.
  package var selectInputSchema: Schema {
    guard let aggregate else { return recordSchema }
    return Schema((aggregate.by.map(recordColumn) + aggregate.measures.map(\.result)).map(shown))
  }

  /// A column of the results, as every file of the job has it.
  private func shown(_ column: ColumnDefinition) -> ColumnDefinition {
    ColumnDefinition(
      column.name, column.type,
      isNullable: column.isNullable || optionalColumns.contains(column.name))
  }

  /// The table that rendering makes: keys and measures (in a row job the declared fields), then the
  /// derived columns.
  package var outputSchema: Schema {
    let base = aggregate == nil ? fields.map { shown($0.column) } : selectInputSchema.columns
    return Schema(base + select.map { ColumnDefinition($0.name, $0.type, isNullable: true) })
  }

  /// - Precondition: the name is one of ``recordSchema``, as validation has made sure.
  package func recordColumn(_ name: String) -> ColumnDefinition {
    guard let index = recordSchema.index(of: name) else { preconditionFailure("no column \(name)") }
    return recordSchema.columns[index]
  }

  /// How the state of an aggregate job is stored.
  ///
  /// - Precondition: the job aggregates.
  package var stateLayout: StateLayout {
    guard let aggregate else { preconditionFailure("a row job has no state") }
    return StateLayout(keys: aggregate.by.map(recordColumn), measures: aggregate.measures)
  }
}

extension Fold {
  /// - Precondition: the job aggregates, and the batch's schema holds every column that it names.
  package init(_ job: Job, batchSchema: Schema) {
    self.init(
      job.stateLayout, job.window,
      Limits(
        windowsPerBatch: job.limits.windowsPerBatch, keyBytes: job.limits.keyBytes),
      batchSchema: batchSchema)
  }
}

extension Job {
  /// The same job with other values of a few parts.
  package func with(
    maxOffsets: Int64? = nil, select: [DerivedColumn]? = nil,
    publish: Output.PublishSchedule? = nil, format: Output.Format? = nil,
    start: StartPosition? = nil, rejects: RejectRules? = nil, manifest: Bool? = nil,
    backup: Backup?? = nil, aggregate: Aggregate? = nil, limits: Limits? = nil,
    fields: [InputField]? = nil, where: Expression?? = nil, optionalColumns: Set<String>? = nil
  ) -> Job {
    let output = Output(
      destination: output.destination, format: format ?? output.format, keep: output.keep,
      publish: publish ?? output.publish, manifest: manifest ?? output.manifest, s3: output.s3,
      maxPendingBytes: output.maxPendingBytes)
    return Job(
      name: name, clusters: clusters, start: start ?? self.start, onDataLoss: onDataLoss,
      commitGroup: commitGroup, format: self.format, envelope: envelope, csv: csv,
      tombstones: tombstones,
      fields: fields ?? self.fields,
      maxOffsets: maxOffsets ?? self.maxOffsets, holdBack: holdBack, schedule: schedule,
      window: window, lateness: lateness, where: `where` ?? self.where,
      aggregate: aggregate ?? self.aggregate,
      select: select ?? self.select,
      output: output, rejects: rejects ?? self.rejects, backup: backup ?? self.backup,
      limits: limits ?? self.limits, history: history,
      optionalColumns: optionalColumns ?? self.optionalColumns)
  }

  /// The job as it folds its messages again, to be held against what it has committed: no reject
  /// stops a batch, no limit on the state does, and the sums of doubles are kept beside those of
  /// their magnitudes.
  package var forVerification: Job {
    let measures = window.keepsState ? aggregate?.measures.compactMap(\.magnitude) : nil
    var limits = limits
    (limits.groupsPerWindow, limits.windowsPerBatch) = (.max, .max)
    return with(
      rejects: rejects.stoppingNothing,
      aggregate: aggregate.map { Aggregate(by: $0.by, measures: $0.measures + (measures ?? [])) },
      limits: limits)
  }

  /// The job as it renders again what was published: under limits that may have been higher then.
  package var forRenderingAgain: Job {
    var limits = limits
    limits.objectBytes = JobKeys.largest("limits.object_bytes")
    limits.valueBytes = JobKeys.largest("limits.value_bytes")
    return with(limits: limits)
  }

  /// The job as it is tried on some messages: all of them are read, every reject is kept and stops
  /// nothing, and objects are texts that can be looked at.
  package var forTrial: Job {
    with(
      publish: window.keepsState ? .runEnd : nil, format: .csv, start: .earliest,
      rejects: rejects.stoppingNothing, manifest: false, backup: .some(nil))
  }
}

extension Job.RejectRules {
  /// Every reject is kept and stops no batch.
  fileprivate var stoppingNothing: Self {
    Self(
      policy: .quarantine, maxShare: 1, maxShareOver: maxShareOver, minRecords: minRecords)
  }
}
