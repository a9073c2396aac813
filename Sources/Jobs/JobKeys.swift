/// What a change of a setting between two runs does to the state and the objects that stand.
package enum ChangeEffect: String, Sendable, CaseIterable {
  /// Nothing: it takes effect from this run on.
  case harmless
  /// Every window's object is rendered from the state again.
  case renderAgain
  /// Every window's object is published under its new place or form, and our old ones are deleted.
  case publishAgain
  /// The state means something else: the run is refused.
  case refuse
}

/// One key of the job file: the only list of them. The parser finds unknown keys by it, the JSON
/// Schema is made from it, and it says what may change between runs.
package struct JobKey: Sendable {
  package enum Kind: Sendable, Equatable {
    case object, list, map, string, integer, number, size, duration, share
    case choice([String])
    /// A window is a word or an object, credentials and measures are texts or objects: described in
    /// their own words.
    case wordOrObject([String])
    case textOrObject
  }
  /// With `[]` for a list's items and `*` for names of the user's own.
  package let path: String
  package let kind: Kind
  package let effect: ChangeEffect
  package let summary: String
  /// Whether the object above it is incomplete without it.
  package let isRequired: Bool

  init(
    _ path: String, _ kind: Kind, _ effect: ChangeEffect, _ summary: String,
    isRequired: Bool = false
  ) {
    self.isRequired = isRequired
    self.path = path
    self.kind = kind
    self.effect = effect
    self.summary = summary
  }
}

package enum JobKeys {
  package static let all: [JobKey] = [
    JobKey(
      "name", .string, .refuse,
      "The job's name, which names its checkpoint. Default: the file's name without its ending."),
    JobKey("source", .object, .harmless, "Where records come from.", isRequired: true),
    JobKey(
      "source.kafka", .list, .harmless,
      "Kafka clusters; one that is added is read from source.start on.", isRequired: true),
    JobKey(
      "source.kafka[].name", .string, .refuse,
      "The cluster's name in this job and in its checkpoint.", isRequired: true),
    JobKey(
      "source.kafka[].properties", .map, .harmless,
      "librdkafka's configuration properties; bootstrap.servers is needed.", isRequired: true),
    JobKey(
      "source.kafka[].properties.*", .string, .harmless,
      "A property of librdkafka. Changing isolation.level is refused."),
    JobKey(
      "source.kafka[].topics", .list, .refuse,
      "Topics to read. Adding one is allowed, taking one away is not.", isRequired: true),
    JobKey(
      "source.start", .string, .harmless,
      "earliest, latest or an ISO 8601 timestamp: where a topic met for the first time begins."),
    JobKey(
      "source.on_data_loss", .choice(["fail", "skip"]), .harmless,
      "What to do when the broker has removed unread offsets. Default: fail."),
    JobKey(
      "source.format", .choice(["csv", "json"]), .refuse,
      "csv: fields by position, no header. json: one object per line, fields by name.",
      isRequired: true),
    JobKey(
      "source.fields", .map, .refuse, "The fields and their types; a trailing ? allows NULL.",
      isRequired: true),
    JobKey(
      "source.fields.*", .string, .refuse,
      "int32, int64, double, bool, string, timestamp, timestamp(unix_seconds), "
        + "timestamp(unix_milliseconds) or decimal(p,s)."
    ),
    JobKey("trigger", .object, .harmless, "How much one batch takes."),
    JobKey(
      "trigger.max_offsets", .integer, .harmless,
      "Most offsets in a batch, over all partitions. Default: 1000."),
    JobKey(
      "window", .wordOrObject(["global", "batch"]), .refuse,
      "global, batch, or { tumbling: WIDTH, time: FIELD }."),
    JobKey(
      "window.tumbling", .duration, .refuse, "The windows' width, for example 5m.", isRequired: true
    ),
    JobKey(
      "window.time", .string, .refuse,
      "The timestamp field that assigns a record to its window. Default: record_timestamp."),
    JobKey(
      "where", .string, .refuse,
      "A SQL expression; records for which it is not true are left "
        + "out."),
    JobKey(
      "aggregate", .object, .refuse,
      "Groups and measures. Without it every record of the batch becomes a row."),
    JobKey("aggregate.by", .list, .refuse, "Fields to group by.", isRequired: true),
    JobKey(
      "aggregate.measures", .map, .refuse,
      "Names and functions: count(), count(f), sum(f), min(f), max(f), avg(f).", isRequired: true),
    JobKey(
      "aggregate.measures.*", .string, .refuse,
      "count(), count(f), sum(f), min(f), max(f) or avg(f)."),
    JobKey(
      "select", .map, .renderAgain,
      "Derived columns by SQL over a window's groups, or over the batch's records in a row job."),
    JobKey(
      "select.*", .textOrObject, .renderAgain,
      "A SQL expression of type double, or { sql: EXPRESSION, type: TYPE }."),
    JobKey("select.*.sql", .string, .renderAgain, "The SQL expression.", isRequired: true),
    JobKey("select.*.type", .string, .renderAgain, "The column's type. Default: double."),
    JobKey("output", .object, .harmless, "Where results go.", isRequired: true),
    JobKey(
      "output.to", .string, .publishAgain, "s3://bucket/prefix or file:folder.", isRequired: true),
    JobKey(
      "output.format", .choice(["parquet", "csv", "json"]), .publishAgain,
      "json: one object per line. Default: parquet."),
    JobKey(
      "output.mode", .choice(["overwrite"]), .harmless,
      "Objects are replaced whole; there is no other mode."),
    JobKey(
      "output.keep", .choice(["latest", "each"]), .harmless,
      "For batch windows and row jobs: one object that each batch replaces, or one per batch. "
        + "Default: latest."
    ),
    JobKey(
      "output.publish", .string, .harmless,
      "When a run of many batches writes its outputs: batch, run_end or every DURATION, such as "
        + "every 30s. Default: batch."
    ),
    JobKey(
      "output.max_pending_bytes", .size, .harmless,
      "Most bytes of unpublished batch results while the store is down. Default: 64MiB."),
    JobKey("output.s3", .object, .harmless, "How the store is reached."),
    JobKey(
      "output.s3.endpoint", .string, .publishAgain,
      "http:// or https:// address of an S3 server. Default: AWS's of the region."),
    JobKey("output.s3.region", .string, .harmless, "Default: us-east-1."),
    JobKey(
      "output.s3.addressing", .choice(["path", "virtual"]), .harmless,
      "Default: path with an endpoint, else virtual."),
    JobKey(
      "output.s3.credentials", .object, .harmless,
      "A profile or keys. Default: the environment, then the shared credentials file."),
    JobKey(
      "output.s3.credentials.profile", .string, .harmless,
      "A profile of the shared credentials file."),
    JobKey(
      "output.s3.credentials.access_key_id", .string, .harmless,
      "Best given as ${file:PATH} or ${VARIABLE}."),
    JobKey(
      "output.s3.credentials.secret_access_key", .string, .harmless,
      "Best given as ${file:PATH} or ${VARIABLE}."),
    JobKey("output.s3.credentials.session_token", .string, .harmless, "For temporary credentials."),
    JobKey(
      "output.s3.timeout", .duration, .harmless, "For one attempt of one request. Default: 30s."),
    JobKey("output.s3.max_attempts", .integer, .harmless, "Default: 4."),
    JobKey(
      "output.s3.ca_file", .string, .harmless,
      "A PEM file of certificate authorities to trust instead of the system's."),
    JobKey("rejects", .object, .harmless, "What becomes of records that do not decode."),
    JobKey(
      "rejects.policy", .choice(["fail", "quarantine", "drop"]), .harmless,
      "quarantine keeps them in the checkpoint and in an object beside the results; drop only "
        + "counts them. Default: quarantine."
    ),
    JobKey(
      "rejects.max_share", .share, .harmless,
      "A batch fails before its commit when a larger share of the judged records are rejects. "
        + "Default: 10%."
    ),
    JobKey(
      "rejects.max_share_over", .integer, .harmless,
      "So many records are judged: the batch's, and those of the newest batches before it. "
        + "Default: 1000."
    ),
    JobKey(
      "rejects.min_records", .integer, .harmless,
      "Fewer judged records stop nothing, unless no record of the job has ever decoded. Default: "
        + "100."
    ),
    JobKey("limits", .object, .harmless, "Bounds that turn runaway input into a clear error."),
    JobKey("limits.batch_bytes", .size, .harmless, "Bytes of a batch's messages. Default: 256MiB."),
    JobKey(
      "limits.record_bytes", .size, .harmless,
      "Bytes of one record; a longer one is a reject. Default: 1MiB."),
    JobKey("limits.groups_per_window", .integer, .harmless, "Default: 1000000."),
    JobKey("limits.windows_per_batch", .integer, .harmless, "Default: 10000."),
    JobKey("limits.key_bytes", .size, .harmless, "Bytes of a text to group by. Default: 1KiB."),
    JobKey(
      "limits.value_bytes", .size, .harmless,
      "Bytes of a text that select makes, up to 8MiB. Default: 256KiB."),
    JobKey(
      "limits.object_bytes", .size, .harmless, "Bytes of an object, up to 5GiB. Default: 1GiB."),
  ]

  /// Keys that are known and not built: their refusal says so.
  static let notBuilt: [String: String] = [
    "retention": "windows are kept for ever",
    "allowed_lateness": "late records change their window whenever they come",
    "window.sliding": "windows are tumbling", "window.retention": "windows are kept for ever",
    "window.allowed_lateness": "late records change their window whenever they come",
  ]

  /// The names that may stand below a key, in the order of the list.
  static func children(of pattern: String) -> [String] {
    let prefix = pattern.isEmpty ? "" : pattern + "."
    return all.map(\.path).filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
      .filter { !$0.isEmpty && !$0.contains(".") && !$0.contains("[") }.map(String.init)
  }

  static func key(_ path: String) -> JobKey? { all.first { $0.path == path } }
}
