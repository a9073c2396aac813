internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// docs/job-file.md, made from the table of keys and the lists of types, functions and reasons.
package enum JobReference {
  /// A whole job file.
  static let example = """
    name: api-time-share

    source:
      kafka:
        - name: main
          properties:
            bootstrap.servers: "${KAFKA_BROKERS:-localhost:9092}"
          topics: [calls]
      format: csv
      fields: { api_id: int32, time_taken: int32 }

    trigger: { max_offsets: 1000 }

    window: { tumbling: 5m }

    where: time_taken >= 0

    aggregate:
      by: [api_id]
      measures:
        calls: count()
        time_taken: sum(time_taken)

    select:
      percentage_time: 100.0 * time_taken / sum(time_taken) OVER ()

    output:
      to: s3://reports/api-time-share
      format: parquet
    """

  package static func markdown() -> String {
    ([start] + sections.map(text) + [lists]).joined(separator: "\n\n") + "\n"
  }

  private static let start = """
    # The job file

    A job file is one YAML document of at most 1 MiB. It says where records come from, what to
    compute and where the results go. This one writes, for every five minutes, how often each API
    was called and what share of the time it took:

    ```yaml
    \(example)
    ```

    Keys that begin with `x-` are ignored. They are for parts that others share, by YAML's anchors
    and merge keys: `x-kafka: &kafka { ... }`, then `<<: *kafka`. A key of an object's own goes
    before a merged one. Write a type with `?` in quotes between braces, as other YAML readers need
    it: `{ price: "double?" }`. A file with anchors has at most 64 KiB and 16 aliases.

    `tranche validate JOB` checks a job file without a broker. Every error names the file, the line,
    the key, the value and what would be valid. `tranche schema` prints a JSON Schema that
    editors use to complete and check keys.

    A value may hold `${VARIABLE}`, `${VARIABLE:-default}` or `${file:/path}`; write `$${` for a
    literal `${`. A trailing newline of the file is removed, so secrets can be files. The path may
    hold variables: `${file:${CREDENTIALS_DIRECTORY}/s3-key}` reads a credential that systemd passes
    on. Messages show such a value as the job file has it, never what it stands for. Where a key is
    marked *secret*, no value is printed. `${...}` may not stand in these keys, because the
    checkpoint or the brokers keep their text:

    \(keptTexts)

    In the tables below, a key in **bold** is required. The column "a change" says what happens if
    the value differs from the previous run's:

    | a change | means |
    |---|---|
    | next run | it takes effect with the next run; nothing that was written changes |
    | renders | every window's object is computed from the state and written again |
    | publishes | every window's object is written to its new place or in its new \
    format, and the old ones are deleted |
    | evolve | what is added or left out takes effect with `tranche evolve`, and \
    until then the run ends with exit code 78; any other change of this key is refused (78), but \
    for another order |
    | refused | the state would mean something else: the run ends with exit code 78 |

    Before the first commit of a job every key may change. In a job that keeps no state (a row job,
    or `window: batch`), changes of fields, `where`, groups, measures and `select` take effect with
    the next batch.
    """

  private static let keptTexts = JobKeys.all.filter { !$0.takesReferences }
    .map { "- `\($0.path)`" }.joined(separator: "\n")

  private struct Section {
    let title: String
    let intro: String
    /// The first parts of the keys' paths.
    let parts: [String]
  }

  private static let sections = [
    Section(title: "The job", intro: "One key names the job.", parts: ["name"]),
    Section(
      title: "source: where records come from",
      intro: """
        A job reads one or more topics of one or more Kafka clusters, all in one format. Besides its
        declared fields, every record has \(messageFields). A declared field lies in the record,
        unless `header` or `key` says otherwise.
        """,
      parts: ["source"]),
    Section(
      title: "trigger: when a job runs, and how much a batch takes",
      intro: """
        Each batch reads a fixed number of offsets and ends with one commit. A run makes batches
        until it has reached the ends that it saw at its start. `tranche schedule` runs the jobs
        that have `every` or `cron`; docs/operations.md says how.
        """,
      parts: ["trigger"]),
    Section(
      title: "window, where, aggregate and select: what to compute",
      intro: """
        With `window` and `aggregate`, records are filtered by `where`, assigned to windows, grouped
        and measured; each window becomes one object, and `select` adds columns to its rows. Without
        them the job is a *row job*: every record that passes `where` becomes a row of its batch's
        object. A column may not be called `window_start` in tumbling windows, or `batch` with
        `keep: each`: readers of the objects' folders would take the folder's value for it.
        """,
      parts: ["window", "where", "aggregate", "select"]),
    Section(
      title: "output: where results go",
      intro: """
        No two jobs may write to the same place; a marker below it, `_tranche/owner`, says whose it
        is.
        """,
      parts: ["output"]),
    Section(
      title: "rejects: records that cannot be used",
      intro: """
        A record that cannot be used is a *reject*: it is counted, and kept with its offset, reason
        and bytes. The reasons are listed under "Reject reasons".
        """,
      parts: ["rejects"]),
    Section(
      title: "limits: bounds",
      intro: """
        A batch that exceeds a bound fails before its commit with exit code 65, unless the table
        says otherwise.
        """,
      parts: ["limits"]),
    Section(
      title: "checkpoint: what the state file keeps",
      intro: """
        The state of windows is kept for ever. These keys bound what is kept beside it, and say
        where copies of the file are put.
        """,
      parts: ["checkpoint"]),
  ]

  private static var messageFields: String {
    let names = MessageField.allCases.map { "`\($0.rawValue)` (\($0.column.type))" }
    return wrapped(names.dropLast().joined(separator: ", ") + " and " + (names.last ?? ""))
  }

  private static func text(_ section: Section) -> String {
    let keys = JobKeys.all.filter { key in
      section.parts.contains { key.path == $0 || key.path.hasPrefix($0 + ".") }
    }
    let rows = keys.map { key in
      row([
        key.isRequired ? "**`\(key.path)`**" : "`\(key.path)`", type(key), self.default(key),
        key.summary + (key.secrecy == .open ? "" : " *Secret.*"), "`\(key.example)`",
        change(key.effect),
      ])
    }
    return """
      ## \(section.title)

      \(wrapped(section.intro))

      | key | type | default | meaning | example | a change |
      |---|---|---|---|---|---|
      \(rows.joined(separator: "\n"))
      """
  }

  private static func row(_ cells: [String]) -> String {
    "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
  }

  private static func type(_ key: JobKey) -> String {
    switch key.kind {
    case .object: "object"
    case .list(let most): "list of at most \(grouped(Int64(most)))"
    case .map(let most): "names and values, at most \(grouped(Int64(most)))"
    case .text: "text"
    case .integer(let range):
      "whole number from \(grouped(range.lowerBound)) to \(grouped(range.upperBound))"
    case .size(let range):
      range.upperBound == .max ? "size" : "size of at most \(size(range.upperBound))"
    case .duration: "duration"
    case .share: "share"
    case .flag: "`true` or `false`"
    case .choice(let words): words.map { "`\($0)`" }.joined(separator: ", ")
    case .wordOrObject(let words): words.map { "`\($0)`" }.joined(separator: ", ") + " or object"
    case .textOrObject: "text or object"
    }
  }

  private static func `default`(_ key: JobKey) -> String {
    switch key.default {
    case .none: ""
    case .value(let value): "`\(value)`"
    case .words(let words): words
    }
  }

  private static func change(_ effect: ChangeEffect) -> String {
    switch effect {
    case .harmless: "next run"
    case .renderAgain: "renders"
    case .publishAgain: "publishes"
    case .nextBatch: "next batch"
    case .evolve: "evolve"
    case .reread, .refuse: "refused"
    }
  }

  // MARK: - Lists

  private static var lists: String {
    """
    ## How values are written

    | type | is written |
    |---|---|
    | size | a number of bytes, or with a unit: `65536`, `64KiB`, `1MiB`, `2GiB` |
    | duration | with a unit: `500ms`, `30s`, `5m`, `1h`, `1d`; at most \
    \(grouped(JobKeys.longestDurationDays)) days |
    | share | `10%` or `0.1` |

    ## Field types

    | type | holds |
    |---|---|
    \(FieldType.all.map { row(["`\($0.spelling)`", $0.meaning]) }.joined(separator: "\n"))

    \(wrapped(
      """
      A number may have an exponent (`1e3`, `0E-8`), and an integer a fraction of zeros (`16.0`). \
      Digits of a time beyond the millisecond are dropped; a decimal takes no digit that it cannot \
      keep. In CSV, blanks and tabs around a value do not count, except in a string. JSON takes \
      numbers and times in quotes as well.
      """))

    ## Aggregate functions

    \(wrapped(
      """
      NULLs are left out by every function but `count()`. The result allows NULL where the field \
      does, except for counts.
      """))

    | function | of | result |
    |---|---|---|
    \(Measure.functions.map(function).joined(separator: "\n"))

    ## SQL expressions

    `where` and `select` are expressions in SQLite's SQL: operators, `CASE`, `CAST`, `IN`,
    `BETWEEN`, `LIKE`, `COLLATE`, calls of the functions below and, in `select`, window functions
    with `OVER`, `PARTITION BY`, `ORDER BY`, frames and `FILTER`. `SELECT`, comments, `;` and
    parameters are refused. An error names the line and column.

    A field of type int32, int64, bool or timestamp (milliseconds since 1970) is an INTEGER in an
    expression, a double or decimal is a REAL, and a string is a TEXT that is compared by bytes.
    A uint64 is an INTEGER up to 9223372036854775807. Above, an expression may compare it with
    uint64 fields and whole numbers, order and partition by it, count it, or hand it on to a
    column of type uint64. To compute with it, write `CAST(f AS REAL)`.
    `x / 0` is NULL; dividing two integers drops the fraction. The value of a computed column must
    convert to its type without loss. With an `OVER` clause over more than 5,000 rows, a frame may
    not have `EXCLUDE`, unless the window has a `PARTITION BY`.

    | family | functions |
    |---|---|
    \(SQLFunction.families.map { family in
      row([family.title, family.names.map { "`\($0)`" }.joined(separator: ", ")])
    }.joined(separator: "\n"))

    ## Reject reasons

    | reason | the record |
    |---|---|
    \(Reject.Reason.allCases.map { row(["`\($0.rawValue)`", meaning($0)]) }.joined(separator: "\n"))

    ## Limits

    \(wrapped("Besides the limits that `limits` sets, and those in the tables above:"))

    | limit | most |
    |---|---|
    | a job file | \(size(Int64(JobFile.byteLimit))) |
    | a value after substitution | \(size(Int64(References.valueByteLimit))) |
    | all substituted values together | \(size(Int64(References.substitutedByteLimit))) |
    | an expression | \(grouped(Int64(Expression.byteLimit))) bytes |
    | a job's or cluster's name | \(JobKeys.nameByteLimit) bytes |
    | a column's name | \(JobKeys.columnNameByteLimit) bytes |
    | a topic's name | \(JobKeys.topicNameByteLimit) bytes |
    \(listLimits)
    """
  }

  private static var listLimits: String {
    JobKeys.all.compactMap { key in
      switch key.kind {
      case .list(let most), .map(let most):
        row(["entries in `\(key.path)`", grouped(Int64(most))])
      case .object, .text, .integer, .size, .duration, .share, .choice, .flag, .wordOrObject,
        .textOrObject:
        nil
      }
    }.joined(separator: "\n")
  }

  private static func function(_ function: any MeasureFunction.Type) -> String {
    let usages = function.usages.map { "`\($0)`" }.joined(separator: ", ")
    return row([usages, function.takes, function.gives])
  }

  private static func meaning(_ reason: Reject.Reason) -> String {
    switch reason {
    case .malformed:
      """
      is not a record of the format: broken quotes, not an object, an empty value, no change event \
      (`source.envelope`), a broken JSON key.
      """
    case .nullValue: "is not there: the message has a null value, as a tombstone does."
    case .wrongType: "has a value that is not of the field's type."
    case .outOfRange: "has a number or time that the field's type cannot hold."
    case .missingField:
      "has too few fields (CSV), or lacks one that does not allow NULL (JSON, CSV with a header)."
    case .extraField: "has more fields than are declared, or than its header (CSV)."
    case .duplicateField: "has a field twice (JSON), or its header has (CSV)."
    case .notNullable: "has NULL in a field that does not allow it."
    case .invalidText: "has a text that is not UTF-8 or holds U+0000."
    case .notFinite: "has NaN or an infinity."
    case .missingTimestamp: "has no time for its window."
    case .futureTimestamp:
      "has a time for its window that is more than `limits.future` ahead of the message's own time."
    case .recordTooLarge:
      "is longer than `limits.record_bytes`, or its message than `limits.batch_bytes`."
    case .keyTooLong: "has a text in `aggregate.by` that is longer than `limits.key_bytes`."
    case .expressionFailed: "has no value for `where` or, in a row job, for `select`."
    case .windowClosed:
      """
      came later than `window.allowed_lateness` allows or, in a backfill, belongs to a window \
      behind `window.retention`. It is always kept, whatever `rejects.policy` says, and counts in \
      no share.
      """
    }
  }

  // MARK: - Text

  static func size(_ bytes: Int64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
      as [(String, Int64)]
    where bytes % factor == 0 {
      return "\(bytes / factor) \(unit)"
    }
    return "\(grouped(bytes)) bytes"
  }

  /// Digits in groups of three.
  private static func grouped(_ number: Int64) -> String {
    var digits = String(number)
    var groups: [String] = []
    while digits.count > 3 {
      groups.append(String(digits.suffix(3)))
      digits.removeLast(3)
    }
    return ([digits] + groups.reversed()).joined(separator: ",")
  }

  /// Words in lines of at most 100 characters.
  private static func wrapped(_ text: String) -> String {
    var lines: [String] = []
    for word in text.split(whereSeparator: \.isWhitespace) {
      if let line = lines.last, line.count + 1 + word.count <= 100 {
        lines[lines.count - 1] = "\(line) \(word)"
      } else {
        lines.append(String(word))
      }
    }
    return lines.joined(separator: "\n")
  }
}
