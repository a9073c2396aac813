internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// What a change of a setting between two runs does to the state and the objects that stand.
package enum ChangeEffect: String, Sendable, CaseIterable {
  /// Nothing: it takes effect from this run on.
  case harmless
  /// Every window's object is rendered from the state again.
  case renderAgain
  /// Every window's object is published under its new place or form, and our old ones are deleted.
  case publishAgain
  /// Jobs that keep no state: records are taken in the new way from the next batch on.
  case nextBatch
  /// The run is refused until `tranche evolve` was asked to let it take effect: what was counted
  /// stays right without it.
  case evolve
  /// The state means something else: the run is refused, as what was counted would have to be read
  /// again.
  case reread
  /// What was counted cannot belong to the job as it is now: the run is refused.
  case refuse

  /// Whether a run is refused until a person has decided.
  package var isRefused: Bool {
    switch self {
    case .harmless, .renderAgain, .publishAgain, .nextBatch: false
    case .evolve, .reread, .refuse: true
    }
  }

  /// Whether a key with this effect says what records mean to the state.
  var isOfDefinition: Bool { self == .evolve || self == .reread }
}

/// One key of the job file: all that is known of it.
package struct JobKey: Sendable {
  package enum Kind: Sendable, Equatable {
    case object
    case list(most: Int)
    /// Names of the user's own, and what belongs to each.
    case map(most: Int)
    case text
    case integer(ClosedRange<Int64>)
    /// Bytes.
    case size(ClosedRange<Int64>)
    case duration
    /// From 0 to 1.
    case share
    case choice([String])
    case flag
    /// A word, or an object with the keys below it.
    case wordOrObject([String])
    /// A text, or an object with the keys below it.
    case textOrObject
  }

  package enum Default: Sendable, Equatable {
    case none
    /// As the job file spells it.
    case value(String)
    /// What holds depends on something else, which these words say.
    case words(String)
  }

  /// Whether a value may stand in a message or in the checkpoint.
  package enum Secrecy: Sendable, Equatable {
    case open
    case secret
    /// Below names of the user's own, but for these.
    case secretExcept([String])
  }

  /// What the checkpoint keeps of a key, to notice a change.
  struct Setting: Sendable {
    /// The names in the checkpoint, with `[]` for names between brackets.
    let pattern: String
    let effect: ChangeEffect
    /// Where the setting was not there before.
    let effectOfAdding: ChangeEffect
    /// Names and values after substitution, in one spelling, without secrets.
    let values: @Sendable (Job) -> [String: String]
  }

  /// With `[]` for a list's items and `*` for names of the user's own.
  package let path: String
  package let kind: Kind
  package let `default`: Default
  package let effect: ChangeEffect
  package let secrecy: Secrecy
  /// One or two sentences.
  package let summary: String
  /// A value as the job file spells it.
  package let example: String
  /// Whether the object above it is incomplete without it.
  package let isRequired: Bool
  /// Whether `${...}` may stand in its value. Not where the text is kept as it is and could be
  /// anything: what a reference stands for may be a secret.
  package let takesReferences: Bool
  let setting: Setting?

  /// The name behind the last dot.
  package var name: String { path.split(separator: ".").last.map(String.init) ?? path }
}

extension JobKey {
  /// A key whose value the checkpoint need not know.
  fileprivate init(
    _ path: String, _ kind: Kind, _ effect: ChangeEffect = .harmless, isRequired: Bool = false,
    takesReferences: Bool = true, secrecy: Secrecy = .open, default: Default = .none,
    example: String, _ summary: String
  ) {
    self.init(
      path: path, kind: kind, default: `default`, effect: effect, secrecy: secrecy,
      summary: summary, example: example, isRequired: isRequired,
      takesReferences: takesReferences, setting: nil)
  }

  /// A key whose canonical value the checkpoint keeps under the key's own path.
  fileprivate init(
    _ path: String, _ kind: Kind, _ effect: ChangeEffect, isRequired: Bool = false,
    takesReferences: Bool = true, default: Default = .none, example: String, _ summary: String,
    canonical: @escaping @Sendable (Job) -> String
  ) {
    self.init(
      path: path, kind: kind, default: `default`, effect: effect, secrecy: .open,
      summary: summary, example: example, isRequired: isRequired,
      takesReferences: takesReferences,
      setting: Setting(
        pattern: path, effect: effect, effectOfAdding: effect, values: { [path: canonical($0)] }))
  }

  /// A key of which the checkpoint keeps settings of other names.
  fileprivate init(
    _ path: String, _ kind: Kind, _ effect: ChangeEffect, isRequired: Bool = false,
    takesReferences: Bool = true, secrecy: Secrecy = .open, default: Default = .none,
    example: String, _ summary: String, setting: Setting
  ) {
    self.init(
      path: path, kind: kind, default: `default`, effect: effect, secrecy: secrecy,
      summary: summary,
      example: example, isRequired: isRequired, takesReferences: takesReferences,
      setting: setting)
  }
}

/// The table of the job file's keys. The parser, the JSON Schema, the comparison with the
/// checkpoint and docs/job-file.md are made from it, and state no default and no bound of their
/// own.
package enum JobKeys {
  /// Most bytes of a job's and a cluster's name, of a column's, and of a topic's or a group's.
  package static let nameByteLimit = 63
  package static let columnNameByteLimit = 64
  package static let topicNameByteLimit = 249
  /// The group that shows a job's progress where the job file names none.
  static func defaultGroup(ofJob name: String) -> String { "tranche-\(name)" }
  /// Digits of a decimal.
  package static let decimalPrecisions = 1...18
  /// Days of a duration.
  package static let longestDurationDays: Int64 = 36_600

  private static let isolationLevel = "isolation.level"
  static let isolationLevels = ["read_committed", "read_uncommitted"]
  /// Properties of librdkafka whose values are no secrets.
  private static let openProperties = ["bootstrap.servers", isolationLevel]

  package static let all =
    top + source + computation + output + rejects + limits
    + checkpoint

  private static let top = [
    JobKey(
      "name", .text, .refuse, takesReferences: false,
      default: .words("the file's name without its ending"),
      example: "api-time-share",
      "The job's name, which also names its checkpoint file.")
  ]

  private static let source = [
    JobKey(
      "source", .object, isRequired: true,
      example: "{ kafka: [...], format: csv, fields: {...} }", "Where records come from."),
    JobKey(
      "source.kafka", .list(most: 32), isRequired: true,
      example: "[{ name: main, properties: {...}, topics: [orders] }]",
      "The Kafka clusters. A cluster that is added later is read from `source.start` on."),
    JobKey(
      "source.kafka[].name", .text, .refuse, isRequired: true, takesReferences: false,
      example: "main",
      "The cluster's name in this job. The checkpoint stores it."),
    JobKey(
      "source.kafka[].properties", .map(most: 200), isRequired: true, secrecy: .secret,
      example: "{ bootstrap.servers: \"localhost:9092\" }",
      "librdkafka's configuration properties. `bootstrap.servers` is required."),
    JobKey(
      "source.kafka[].properties.*", .text, .harmless, secrecy: .secretExcept(openProperties),
      example: "SASL_SSL",
      """
      One property of librdkafka. `isolation.level` may not change between runs; its default is \
      `\(isolationLevels[0])`.
      """,
      setting: JobKey.Setting(
        pattern: "source.kafka[].\(isolationLevel)", effect: .refuse, effectOfAdding: .harmless,
        values: { job in
          settings(job) { cluster in
            let level = cluster.properties[isolationLevel] ?? isolationLevels[0]
            return [("[\(cluster.name)].\(isolationLevel)", level)]
          }
        })),
    JobKey(
      "source.kafka[].topics", .list(most: 1_000), .refuse, isRequired: true, example: "[orders]",
      "The topics to read. Topics may be added between runs, but not removed.",
      setting: JobKey.Setting(
        pattern: "source.kafka[].topics[]", effect: .refuse, effectOfAdding: .harmless,
        values: { job in
          settings(job) { cluster in
            cluster.topics.map { ("[\(cluster.name)].topics[\($0)]", "read") }
          }
        })),
    JobKey(
      "source.start", .text, .harmless, default: .value("earliest"),
      example: "2026-11-23T10:05:00Z",
      """
      `earliest`, `latest` or an ISO 8601 timestamp: where the job starts to read a topic that it \
      has not read before.
      """,
      canonical: { $0.start.spelling }),
    JobKey(
      "source.on_data_loss", choice(Job.DataLossPolicy.self), default: .value("fail"),
      example: "skip",
      """
      What to do when the broker has deleted unread offsets. `fail` stops the run; `skip` records \
      a gap and goes on.
      """),
    JobKey(
      "source.commit_group", .text, takesReferences: false, default: .value("false"),
      example: "true",
      """
      A consumer group in which Kafka's own tools see how far the job is: `true` for \
      `\(defaultGroup(ofJob: "NAME"))` with the job's name, or another name. Only for display: no \
      run reads it.
      """),
    JobKey(
      "source.format", choice(InputFormat.self), .reread, isRequired: true, example: "csv",
      """
      `csv`: fields by position, or by the names of a header. `json`: one object after another, \
      each on lines of its own, or arrays of objects; fields by name or path.
      """,
      canonical: { $0.format.rawValue }),
    JobKey(
      "source.envelope", choice(Envelope.self), .reread, example: "debezium",
      """
      What a connector wraps around JSON records. `connect`: Kafka Connect's `schema` and \
      `payload`, of which fields lie in `payload`; a record without them is read as it is. \
      `debezium`: a change event, with or without that wrapping. A field without a path is one of \
      the changed row: of `after`, and of `before` in a deletion. A path leads into the event, as \
      `$.op` and `$.before.amount` do.
      """,
      setting: JobKey.Setting(
        pattern: "source.envelope", effect: .reread, effectOfAdding: .reread,
        values: { job in job.envelope.map { ["source.envelope": $0.rawValue] } ?? [:] })),
    JobKey(
      "source.csv", .object, .reread, example: #"{ delimiter: ";", header: per_message }"#,
      "How CSV is read. Only with `format: csv`."),
    JobKey(
      "source.csv.delimiter", .text, .reread, takesReferences: false, default: .value(","),
      example: #""\t""#,
      """
      The character between fields: one of ASCII, and no letter, digit, `+`, `-`, `.` or line end.
      """,
      setting: csvSetting("delimiter") { text($0.delimiter) }),
    JobKey(
      "source.csv.header", choice(CSVDialect.Header.self), .reread, default: .value("none"),
      example: "per_message",
      """
      `per_message`: the first record of each message names its columns. Fields are found by these \
      names, and columns that are no field are passed over.
      """,
      setting: csvSetting("header") { $0.header.rawValue }),
    JobKey(
      "source.csv.quote", .text, .reread, takesReferences: false, default: .value("\""),
      example: #""'""#,
      """
      The character around fields that hold a delimiter, a line end or, doubled, the quote itself. \
      `none`: quotes are characters like others.
      """,
      setting: csvSetting("quote") { $0.quote.map(text) ?? "none" }),
    JobKey(
      "source.csv.trim", .flag, .reread, default: .value("false"), example: "true",
      "Whether blanks and tabs around fields are dropped, also around those in quotes.",
      setting: csvSetting("trim") { String($0.trims) }),
    JobKey(
      "source.csv.null", .list(most: 100), .reread, takesReferences: false,
      example: #"["\\N", NA]"#,
      """
      The texts that are NULL in a field without quotes; the default is `["\\\\N"]`. An empty \
      field is NULL, but in a string it is an empty text, unless `""` is listed.
      """,
      setting: csvSetting("null") {
        $0.nullTexts.sorted().map(JSONText.quoted).joined(separator: ", ")
      }),
    JobKey(
      "source.tombstones", choice(TombstonePolicy.self), default: .value("reject"), example: "skip",
      """
      What becomes of a message without a value, which compacted topics and Debezium have for what \
      is deleted. `skip` passes over it and counts it; `reject` makes it a reject.
      """),
    JobKey(
      "source.fields", .map(most: 500), .evolve, isRequired: true,
      example: "{ api_id: int32, time_taken: \"int64?\" }", "The fields of a record, in order.",
      canonical: { $0.fields.map(\.spelling).joined(separator: ", ") }),
    JobKey(
      "source.fields.*", .textOrObject, .evolve, example: "\"decimal(9,2)?\"",
      """
      The field's type, where a trailing `?` allows NULL, or `{ type: TYPE, path: PATH }`, or with \
      `header` or `key` for what lies beside the record. A string also takes a JSON number, \
      `true`, object or array, as its text.
      """),
    JobKey(
      "source.fields.*.type", .text, .reread, isRequired: true, example: "\"string?\"",
      "The field's type."),
    JobKey(
      "source.fields.*.path", .text, .reread, takesReferences: false,
      default: .words("the key of the field's name"), example: "$.payload.after.user.id",
      """
      Where the field lies in a JSON record: keys behind dots, in `['...']` where they hold dots \
      or blanks, and positions of array elements, as in `$.tags[0]`. A path that leads nowhere \
      is NULL. Of CSV with a header, the column's name. With `key: json` it leads into the key.
      """),
    JobKey(
      "source.fields.*.header", .text, .reread, takesReferences: false,
      default: .words("the field lies in the record"), example: "trace-id",
      """
      The field is the text of the message's last header of this name. It is NULL where there is \
      none, or a null value.
      """),
    JobKey(
      "source.fields.*.key", choice(KeyForm.self), .reread,
      default: .words("the field lies in the record"), example: "hex",
      """
      The field is the message's key: `text` as it stands, `hex` or `base64` for a binary key, \
      `json` for a JSON key or what `path` finds in it. It is NULL where there is no key.
      """),
  ]

  private static let computation = [
    JobKey(
      "trigger", .object, example: "{ every: 1m, max_offsets: 1000 }",
      "When the job runs, and how much one batch takes."),
    JobKey(
      "trigger.every", .duration, example: "10s",
      "`tranche schedule` runs the job at every multiple of this duration since 1970 UTC."),
    JobKey(
      "trigger.cron", .text, example: "\"*/5 * * * *\"",
      """
      `tranche schedule` runs the job at these times: minute, hour, day of the month, month and \
      day of the week, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Not beside `every`.
      """),
    JobKey(
      "trigger.time_zone", .text, default: .value("UTC"), example: "Europe/Berlin",
      "The time zone of `cron`."),
    JobKey(
      "trigger.min_offsets", .integer(1...10_000_000), default: .value("1"), example: "500",
      """
      A batch with fewer offsets waits for more, until `max_delay` has passed. At most \
      `max_offsets`.
      """),
    JobKey(
      "trigger.max_delay", .duration, default: .value("15m"), example: "5m",
      """
      The longest that `min_offsets` holds a batch back, counted from the commit before it or, for \
      the first, from the making of the checkpoint.
      """),
    JobKey(
      "trigger.max_offsets", .integer(1...10_000_000), default: .value("1000"), example: "100000",
      "The most offsets in a batch, over all partitions."),
    JobKey(
      "window", .wordOrObject(["global", "batch"]), .reread,
      example: "{ tumbling: 5m, time: record_timestamp }",
      """
      `{ tumbling: WIDTH, time: FIELD }` for windows of equal width, `global` for one window that \
      never ends, or `batch` for one window per batch. Required with `aggregate`, and not allowed \
      without it.
      """,
      // A job without aggregate has no window to speak of, and is spelled as it always was.
      canonical: { $0.aggregate == nil ? "global" : $0.window.canonicalText }),
    JobKey("window.tumbling", .duration, .reread, isRequired: true, example: "5m", "The width."),
    JobKey(
      "window.time", .text, .reread, default: .value(MessageField.timestamp.rawValue),
      example: "called_at", "The timestamp field that assigns a record to its window."),
    JobKey(
      "window.allowed_lateness", .duration, .harmless,
      default: .words("late records count whenever they come"), example: "2h",
      """
      How much later than newer records a record may come. The cutoff is the newest time of the \
      partition that is furthest behind, less this. A window that ends at the cutoff or before is \
      final: new records of it are rejects (`windowClosed`).
      """),
    JobKey(
      "window.retention", .duration, .harmless, default: .words("windows are kept for ever"),
      example: "30d",
      """
      How long the checkpoint keeps the state of a window when the window is final. Then the state \
      is evicted: the object stays as it is, and no record, also of a backfill, changes it again. \
      Needs `allowed_lateness`.
      """),
    JobKey(
      "where", .text, .reread, takesReferences: false, example: "time_taken >= 0",
      "A SQL expression over a record. Only records for which it is true are used.",
      canonical: { $0.where?.sql ?? absent }),
    JobKey(
      "aggregate", .object, .reread, example: "{ by: [api_id], measures: { calls: count() } }",
      "Groups and measures. Without it, every record becomes a row."),
    JobKey(
      "aggregate.by", .list(most: 100), .reread, isRequired: true, example: "[api_id]",
      "The fields to group by. `[]` makes one group.",
      canonical: { $0.aggregate.map { $0.by.joined(separator: ", ") } ?? absent }),
    JobKey(
      "aggregate.measures", .map(most: 500), .evolve, isRequired: true,
      example: "{ calls: count(), time_taken: sum(time_taken) }", "The measures of each group.",
      canonical: { job in
        job.aggregate.map { $0.measures.map(\.description).joined(separator: ", ") } ?? absent
      }),
    JobKey(
      "aggregate.measures.*", .text, .evolve, example: "sum(time_taken)",
      "An aggregate function of a field."),
    JobKey(
      "select", .map(most: 500), .renderAgain,
      example: "{ percentage_time: 100.0 * time_taken / sum(time_taken) OVER () }",
      """
      Columns computed in SQL over all groups of a window, or over the records of the batch in a \
      row job.
      """,
      canonical: { $0.select.map(\.spelling).joined(separator: ", ") }),
    JobKey(
      "select.*", .textOrObject, .renderAgain, takesReferences: false,
      example: "{ sql: rank() OVER (ORDER BY calls), type: int64 }",
      "A SQL expression, or `{ sql: EXPRESSION, type: TYPE }`."),
    JobKey(
      "select.*.sql", .text, .renderAgain, isRequired: true, takesReferences: false,
      example: "rank() OVER (ORDER BY calls)",
      "The SQL expression."),
    JobKey(
      "select.*.type", .text, .renderAgain, default: .value("double"), example: "int64",
      "The column's type. Every computed column allows NULL."),
  ]

  private static let output = [
    JobKey(
      "output", .object, isRequired: true, example: "{ to: \"s3://bucket/prefix\" }",
      "Where results go."),
    JobKey(
      "output.to", .text, .publishAgain, isRequired: true, example: "s3://bucket/prefix",
      """
      `s3://BUCKET/PREFIX`, or `file:FOLDER` for a local folder; a relative folder is relative to \
      the working directory.
      """,
      canonical: { $0.output.destination.text }),
    JobKey(
      "output.format", choice(Job.Output.Format.self), .publishAgain, default: .value("parquet"),
      example: "csv", "The format of the objects. `json` writes one object per line.",
      canonical: { $0.output.format.rawValue }),
    JobKey(
      "output.mode", .choice(["overwrite"]), default: .value("overwrite"), example: "overwrite",
      "Objects are replaced whole. There is no other mode."),
    JobKey(
      "output.keep", choice(Job.Output.Keep.self), default: .value("latest"), example: "each",
      """
      Only for batch windows and row jobs. `latest`: one object that each batch replaces. `each`: \
      one object per batch.
      """),
    JobKey(
      "output.publish", .text, default: .value("batch"), example: "every 30s",
      """
      When a run of many batches writes its objects: `batch` as soon as the publisher is free, \
      `run_end` once, or `every DURATION`.
      """),
    JobKey(
      "output.manifest", .text, default: .value("false"), example: "true",
      """
      Whether the last put of a run is `_tranche/manifest`: JSON that tells readers the newest \
      batch, up to which batch the objects show everything, and the newest 1,000 objects.
      """),
    JobKey(
      "output.max_pending_bytes", .size(bytes), default: .value("64MiB"), example: "256MiB",
      "The most bytes of unpublished batch results that are kept while the store is down."),
    JobKey("output.s3", .object, example: "{ region: eu-central-1 }", "How to reach the store."),
    JobKey(
      "output.s3.endpoint", .text, .publishAgain, default: .words("AWS's for the region"),
      example: "http://minio:9000",
      "The address of an S3 server. An empty text means the default.",
      canonical: { $0.output.s3.endpoint ?? absent }),
    JobKey(
      "output.s3.region", .text, default: .value("us-east-1"), example: "eu-central-1",
      "The region, which is part of every signature."),
    JobKey(
      "output.s3.addressing", choice(Job.S3Options.AddressingStyle.self),
      default: .words("`path` with an endpoint or a dot in the bucket's name, else `virtual`"),
      example: "path", "Whether the bucket is in the path of a URL or in the name of its host."),
    JobKey(
      "output.s3.credentials", .object, secrecy: .secret,
      default: .words("`AWS_ACCESS_KEY_ID` and its companions, else the profile `default`"),
      example: "{ profile: reports }", "A profile, or an access key and its secret."),
    JobKey(
      "output.s3.credentials.profile", .text, example: "reports",
      "A profile of the shared credentials file."),
    JobKey(
      "output.s3.credentials.access_key_id", .text, secrecy: .secret,
      example: "\"${file:${CREDENTIALS_DIRECTORY}/s3-id}\"",
      "The access key. Keep it out of the job file with `${file:PATH}` or `${VARIABLE}`."),
    JobKey(
      "output.s3.credentials.secret_access_key", .text, secrecy: .secret,
      example: "\"${file:${CREDENTIALS_DIRECTORY}/s3-key}\"",
      "The secret access key. Keep it out of the job file with `${file:PATH}` or `${VARIABLE}`."),
    JobKey(
      "output.s3.credentials.session_token", .text, secrecy: .secret, example: "\"${TOKEN}\"",
      "The session token of temporary credentials."),
    JobKey(
      "output.s3.timeout", .duration, default: .value("30s"), example: "2m",
      "The longest one attempt of a request may take."),
    JobKey(
      "output.s3.max_attempts", .integer(1...100), default: .value("4"), example: "10",
      "How many times a request is attempted before it fails."),
    JobKey(
      "output.s3.ca_file", .text, default: .words("the system's authorities"),
      example: "/etc/ssl/our-ca.pem", "A PEM file of the certificate authorities to trust."),
  ]

  private static let rejects = [
    JobKey(
      "rejects", .object, example: "{ policy: quarantine, max_share: 10% }",
      "What happens to records that cannot be used."),
    JobKey(
      "rejects.policy", choice(Job.RejectRules.Policy.self), default: .value("quarantine"),
      example: "drop",
      """
      `quarantine` keeps rejects in the checkpoint and in an object beside the results, `drop` \
      only counts them, `fail` stops at the first.
      """),
    JobKey(
      "rejects.max_share", .share, default: .value("10%"), example: "0.01",
      "A batch fails before its commit if a larger share of the judged records are rejects."),
    JobKey(
      "rejects.max_share_over", .integer(1...1_000_000_000), default: .value("1000"),
      example: "10000",
      "How many records are judged: those of the batch and of the newest batches before it."),
    JobKey(
      "rejects.min_records", .integer(1...1_000_000_000), default: .value("100"), example: "1000",
      "With fewer judged records nothing fails, unless no record of the job has ever decoded."),
  ]

  private static let checkpoint = [
    JobKey(
      "checkpoint", .object, example: "{ backup: { to: \"s3://bucket/backups\" } }",
      "What the checkpoint file keeps, and where it is copied to."),
    JobKey(
      "checkpoint.backup", .object, example: "{ to: \"s3://bucket/backups\", every: 1d, keep: 7 }",
      """
      A run that has something new in the checkpoint puts a copy of it elsewhere, after it has \
      published.
      """),
    JobKey(
      "checkpoint.backup.to", .text, isRequired: true, example: "s3://bucket/backups",
      """
      `s3://BUCKET/PREFIX`, reached as `output.s3` says, or `file:FOLDER`. A backup is called \
      `NAME.TIME.sqlite` there.
      """),
    JobKey(
      "checkpoint.backup.every", .duration, default: .value("1h"), example: "1d",
      "At most one backup in this time."),
    JobKey(
      "checkpoint.backup.keep", .integer(1...10_000), default: .value("24"), example: "7",
      "How many backups of this job are kept. The oldest of them are removed."),
    JobKey(
      "checkpoint.history", .integer(1...1_000_000_000), default: .value("10000"),
      example: "100000",
      """
      How many batches of new messages, and of backfills, `tranche history` can list. Totals are \
      kept of all. `rejects.max_share_over` judges no batch that is not kept.
      """),
  ]

  private static let limits = [
    JobKey(
      "limits", .object, example: "{ record_bytes: 64KiB }",
      "Bounds that turn runaway input into a clear error."),
    JobKey(
      "limits.batch_bytes", .size(bytes), default: .value("256MiB"), example: "1GiB",
      "The most bytes of a batch's messages. A batch ends where it reaches them."),
    JobKey(
      "limits.record_bytes", .size(bytes), default: .value("1MiB"), example: "64KiB",
      "The most bytes of a record. A longer record is a reject."),
    JobKey(
      "limits.groups_per_window", .integer(1...1_000_000_000), default: .value("1000000"),
      example: "5000000", "The most groups in a window."),
    JobKey(
      "limits.windows_per_batch", .integer(1...1_000_000), default: .value("10000"),
      example: "100000", "The most windows that the records of one batch fall into."),
    JobKey(
      "limits.key_bytes", .size(bytes), default: .value("1KiB"), example: "4KiB",
      "The most bytes of a text in `aggregate.by`. A record with a longer text is a reject."),
    JobKey(
      "limits.value_bytes", .size(1...8 << 20), default: .value("256KiB"), example: "1MiB",
      "The most bytes of a text that `select` computes."),
    // What S3 takes in one piece.
    JobKey(
      "limits.object_bytes", .size(1...5 << 30), default: .value("1GiB"), example: "2GiB",
      "The most bytes of an object."),
    JobKey(
      "limits.future", .duration, default: .value("1d"), example: "1h",
      """
      How far the field of `window.time` may be ahead of `record_timestamp`, the message's own \
      time. A record further ahead is a reject. A message without a time decides nothing.
      """),
  ]

  /// Keys that are known and not built: their refusal says so.
  static let notBuilt: [String: String] = [
    "window.sliding": "windows are tumbling"
  ]

  /// Keys of windows that are looked for at the top.
  static let misplaced: [String: String] = [
    "allowed_lateness": "window.allowed_lateness", "retention": "window.retention",
  ]

  /// What the checkpoint holds of a key that the job file does not have.
  static let absent = "-"
  private static let bytes: ClosedRange<Int64> = 1...Int64.max

  private static func choice<Choice: RawRepresentable<String> & CaseIterable>(_: Choice.Type)
    -> JobKey.Kind
  {
    .choice(Choice.allCases.map(\.rawValue))
  }

  private static func settings(
    _ job: Job, of cluster: (Job.Cluster) -> [(name: String, value: String)]
  ) -> [String: String] {
    var settings: [String: String] = [:]
    for (name, value) in job.clusters.flatMap(cluster) { settings["source.kafka\(name)"] = value }
    return settings
  }

  /// Of a key of `source.csv`. A release before the key read what is its default now, and stored
  /// nothing.
  private static func csvSetting(
    _ name: String, _ canonical: @escaping @Sendable (CSVDialect) -> String
  ) -> JobKey.Setting {
    let path = "source.csv.\(name)"
    return JobKey.Setting(
      pattern: path, effect: .reread, effectOfAdding: .reread,
      values: { job in
        let value = canonical(job.csv)
        return value == canonical(.standard) ? [:] : [path: value]
      })
  }

  private static func text(_ byte: UInt8) -> String {
    JSONText.quoted(String(decoding: [byte], as: UTF8.self))
  }

  // MARK: - Looking up

  static func join(_ path: String, _ name: String) -> String {
    path.isEmpty ? name : "\(path).\(name)"
  }

  /// The names that may stand below a key, in the order of the table.
  static func children(of pattern: String) -> [String] { childrenByPath[pattern] ?? [] }

  private static let childrenByPath: [String: [String]] = {
    var children: [String: [String]] = [:]
    for key in all {
      let parent = key.path.dropLast(key.name.count + 1)
      children[String(parent), default: []].append(key.name)
    }
    return children
  }()

  package static func key(_ path: String) -> JobKey? { byPath[path] }

  /// The most that a size may be.
  static func largest(_ path: String) -> Int64 {
    guard case .size(let bounds) = key(path)?.kind else { preconditionFailure("no size \(path)") }
    return bounds.upperBound
  }

  private static let byPath = Dictionary(uniqueKeysWithValues: all.map { ($0.path, $0) })

  /// The setting that a name in the checkpoint belongs to.
  static func setting(_ name: String) -> JobKey.Setting? {
    var pattern = ""
    var depth = 0
    for character in name {
      if character == "]" { depth -= 1 }
      if depth == 0 { pattern.append(character) }
      if character == "[" { depth += 1 }
    }
    return all.lazy.compactMap(\.setting).first { $0.pattern == pattern }
  }
}
