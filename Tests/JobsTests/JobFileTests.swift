import Expressions
import Formats
import Foundation
import Tables
import TestSupport
import Testing
import Windows

@testable import Jobs

private let example = """
  name: calls
  source:
    kafka:
      - name: main
        properties:
          { bootstrap.servers: "${BROKERS:-localhost:9092}", sasl.password: "${file:/run/secret}" }
        topics: [orders]
    format: csv
    fields:
      { api_id: int32, time_taken: "int64?", at: timestamp(unix_seconds), price: "decimal(9,2)",
        ratio: double }
  window: { tumbling: 5m }
  where: time_taken >= 0
  aggregate:
    by: [api_id]
    measures: { calls: count(), time_taken: sum(time_taken) }
  select:
    share: 100.0 * time_taken / sum(time_taken) OVER ()
    rank: { sql: row_number() OVER (ORDER BY time_taken), type: int64 }
  output: { to: "s3://test-bucket/out", format: csv }

  """

private func parse(
  _ text: String, environment: [String: String] = [:],
  files: [String: String] = ["/run/secret": "hunter2\n"]
) throws
  -> Job
{
  try JobFile.parse(
    text: text, path: "jobs/calls.yaml", environment: environment, readFile: { files[$0] },
    checkProperties: { properties in
      properties["group.id"] == nil
        ? []
        : [
          ("group.id", "is reserved: no consumer group decides what is read", "Leave it out", false)
        ]
    }, fileFault: { $0 == "/none.pem" ? ("cannot be read", "Correct the path") : nil })
}

private func faults(_ text: String, environment: [String: String] = [:]) -> String {
  do {
    _ = try parse(text, environment: environment)
    return ""
  } catch {
    return "\(error)"
  }
}

private func root() -> URL {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
}

@Suite("A job file")
struct JobFileTests {
  @Test("becomes a job, with defaults for what it does not say")
  func accepted() throws {
    let job = try parse(example, environment: ["BROKERS": "kafka:9092"])
    #expect(job.name == "calls")
    #expect(
      job.clusters[0].properties == ["bootstrap.servers": "kafka:9092", "sasl.password": "hunter2"])
    #expect(job.window.canonicalText == "tumbling 300000ms by record_timestamp")
    #expect(job.maxOffsets == 1_000)
    #expect(job.fields[2].timestampEncoding == .unixSeconds)
    #expect(job.fields[3].column.type == .decimal(precision: 9, scale: 2))
    #expect(job.select.map(\.type) == [.double, .int64])
    #expect(
      job.rejects
        == Job.RejectRules(policy: .quarantine, maxShare: 0.1, maxShareOver: 1_000, minRecords: 100)
    )
    #expect(job.output.s3.addressing == .virtual)
    #expect(
      job.outputSchema.columns.map(\.name) == ["api_id", "calls", "time_taken", "share", "rank"])
  }

  @Test("takes its name from the file when it gives none")
  func defaultName() throws {
    #expect(try parse(example.replacing("name: calls\nsource", with: "source")).name == "calls")
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    let old, new, message: String
    var testDescription: String { new }
    init(_ old: String, _ new: String, _ message: String) {
      self.old = old
      self.new = new
      self.message = message
    }
  }

  @Test(
    "names file, line, key, value and what would do",
    arguments: [
      Fault(
        "format: csv\n", "format: cvs\n",
        "jobs/calls.yaml:8: source.format: \"cvs\" is not one of the values. Did you mean csv?"),
      Fault(
        "  format: csv\n", "  fromat: csv\n",
        "jobs/calls.yaml:8: source.fromat: is not a key of the job file. Did you mean format?"),
      Fault(
        "api_id: int32", "api_id: int",
        "jobs/calls.yaml:10: source.fields.api_id: \"int\" is not a valid type. Use int32"),
      Fault(
        "decimal(9,2)", "decimal(19,2)",
        "jobs/calls.yaml:10: source.fields.price: \"decimal(19,2)\" has 19 digits, and a decimal "
          + "has at most 18. Use decimal(18,2) if the values fit, else double or string"),
      Fault(
        "decimal(9,2)", "decimal( 38, 20 )?",
        "has 38 digits, and a decimal has at most 18. Use double"),
      Fault("decimal(9,2)", "decimal(9,10)", "\"decimal(9,10)\" is not a valid type. Use int32"),
      Fault(
        "tumbling: 5m", "tumbling: 5",
        "jobs/calls.yaml:12: window.tumbling: \"5\" is not a duration. Write for example 500ms"),
      Fault("tumbling: 5m", "sliding: 5m", "window.sliding: is not built yet"),
      Fault(
        "tumbling: 5m", "tumbling: 5m, time: api_id",
        "jobs/calls.yaml:12: window.time: \"api_id\" is not a timestamp field"),
      Fault(
        "where: time_taken", "where: time_takn",
        "jobs/calls.yaml:13:8: where: `time_takn >= 0`: there is no column time_takn. Did you mean "
          + "time_taken? Expressions read api_id, time_taken, at, price, ratio, record_key"
      ),
      Fault(
        "by: [api_id]", "by: [api]", "jobs/calls.yaml:15: aggregate.by[0]: \"api\" is not a field"),
      Fault(
        "by: [api_id]", "by: [api_id, API_ID]", "aggregate.by[1]: \"API_ID\" is listed twice"),
      Fault("by: [api_id]", "by: [ratio]", "\"ratio\" is a double, which cannot be grouped by"),
      Fault(
        "calls: count()", "calls: median(api_id)",
        "aggregate.measures.calls: \"median(api_id)\" is not built yet: there is no measure "
          + "median. Use count(), count(*), count(f), sum(f), min(f)"),
      Fault(
        "calls: count()", "calls: \"quantile(api_id, 0.95)\"",
        "\"quantile(api_id, 0.95)\" is not built yet: there is no measure quantile. Use count()"),
      Fault(
        "calls: count()", "calls: count(distinct api_id)",
        "\"count(distinct api_id)\" is not built yet: measures do not leave out repeated values. "
          + "Group by the field in a job of its own, and count its rows"),
      Fault(
        "calls: count()", "calls: count() filter (where api_id > 3)",
        "is not built yet: a measure has no condition of its own. Write the condition under where"),
      Fault(
        "calls: count()", "calls: sum(api_id) OVER ()",
        "is not built yet: measures have no OVER. Write window functions under select"),
      Fault(
        "calls: count()", "calls: cuont()",
        "\"cuont()\" is not a valid measure. Use count(), count(*)"),
      Fault("calls: count()", "calls: sum(*)", "\"*\" is not a field"),
      Fault(
        "calls: count()", "API_ID: count()",
        "is already the name of another column (case is ignored)"),
      Fault(
        "calls: count()", "m: avg(api_id), m_sum: count()",
        "\"m_sum\" would be the name of two columns of the state"),
      Fault(
        "calls: count()", "window: count()",
        "\"window\" would be the name of two columns of the state"),
      Fault(
        "share: 100.0", "calls: 100.0",
        "jobs/calls.yaml:18: select.calls: \"calls\" is already the name of another column"),
      Fault(
        "sum(time_taken) OVER ()\n", "sum(time_taken)\n",
        "select.share: `100.0 * time_taken / sum(time_taken)`: changes the number of rows"),
      Fault(
        "s3://test-bucket/out", "s3://B/out",
        "output.to: \"s3://B/out\" does not name a valid S3 bucket"),
      Fault(
        "s3://test-bucket/out", "/tmp/out",
        "output.to: \"/tmp/out\" is not a valid place for results. "
          + "Write s3://BUCKET/PREFIX or file:FOLDER"
      ),
      Fault("s3://test-bucket/out", "s3://test-bucket/a/../b", "has an empty, '.' or '..' part"),
      Fault(
        "topics: [orders]", "topics: [orders, orders]",
        "source.kafka[0].topics[1]: \"orders\" is listed twice"),
      Fault("topics: [orders]", "topics: [\"or ders\"]", "\"or ders\" is not a valid topic name"),
      Fault(
        "  format: csv\n", "  commit_group: \"a b\"\n  format: csv\n",
        "source.commit_group: \"a b\" is not a valid name of a group. Write true for "
          + "tranche-calls, or up to 249 letters, digits, '.', '_' and '-'"),
      Fault(
        "sasl.password:", "group.id:",
        "source.kafka[0].properties.group.id: is reserved: no consumer group decides what is read"),
      Fault("bootstrap.servers:", "client.id:", "does not say where the brokers are"),
      Fault(
        "${BROKERS:-localhost:9092}", "${BROKERS}",
        "needs the environment variable BROKERS, which is not set"),
      Fault("/run/secret", "/run/other", "names the file /run/other, which cannot be read"),
      Fault(
        "/run/secret", "${CREDENTIALS_DIRECTORY}/secret",
        "needs the environment variable CREDENTIALS_DIRECTORY, which is not set"),
      Fault("/run/secret", "${CREDENTIALS_DIRECTORY", "has a ${ that is not closed"),
      Fault(
        "/run/secret", "${file:/run/secret}/x", "names a file inside the path of a file"),
      Fault("window: { tumbling: 5m }\n", "", "aggregate: needs a window"),
      Fault(
        "name: calls", "name: Calls per Day!",
        "jobs/calls.yaml:1: name: \"Calls per Day!\" is not a valid job name. Use up to 63 of a-z, "
          + "0-9, '.', '-' and '_', starting with a letter or digit, for example calls-per-day"),
      Fault(
        "output: {", "allowed_lateness: 2h\noutput: {",
        "allowed_lateness: does not belong here. Write it as window.allowed_lateness"),
      Fault(
        "output: {", "retention: 7d\noutput: {",
        "retention: does not belong here. Write it as window.retention"),
      Fault(
        "tumbling: 5m", "tumbling: 5m, retention: 30d",
        "window.retention: needs allowed_lateness: state is dropped of windows that no record "
          + "changes. Add for example allowed_lateness: 2h, or leave retention out"),
      Fault(
        "format: csv }", "keep: each }",
        "output.keep: \"each\" applies only to batch windows and row jobs"),
      Fault(
        "output: { to:", "output: { mode: append, to:",
        "output.mode: \"append\" is not one of the values. Use overwrite"),
      Fault("name: calls\n", "name: calls\nname: again\n", "the key name is listed twice"),
      Fault("output: {", "output: {{", "is not YAML"),
      Fault(
        "output: {", "rejects: { max_share: 200% }\noutput: {",
        "rejects.max_share: \"200%\" is not a share. Write for example 10%"),
      Fault(
        "output: {", "limits: { batch_bytes: lots }\noutput: {", "\"lots\" is not a number of bytes"
      ),
      Fault(
        "output: {", "trigger: { max_offsets: 0 }\noutput: {",
        "trigger.max_offsets: \"0\" is not a whole number from 1 to 10000000"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"ftp://x\" }, to: \"s3",
        "output.s3.endpoint: \"ftp://x\" is not a valid server address"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://x/v1/s3\" }, to: \"s3",
        "is not a valid server address. Write http://HOST:PORT or https://HOST, w"
      ),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://u:hunter2@x\" }, to: \"s3",
        "output.s3.endpoint: holds a user name or password"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://minio:9000\\n\" }, to: \"s3",
        "\"http://minio:9000\\n\" holds a line end or another control character. Remove it"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"https://bücher.example\" }, to: \"s3",
        "holds a character that is not ASCII. Write the host's name in its ASCII form, such as xn"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://minio:99999\" }, to: \"s3",
        "does not name a valid port. Write a number from 1 to 65535 behind the ':'"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://minio:\" }, to: \"s3", "does not name a valid port"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://a:b:1\" }, to: \"s3", "does not name a valid port"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://[::1]:0\" }, to: \"s3", "does not name a valid port"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://a:1:2\" }, to: \"s3", "does not name a valid port"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"https://:9000\" }, to: \"s3",
        "is not a valid server address"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://mi nio\" }, to: \"s3",
        "is not a valid server address"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http:////minio\" }, to: \"s3",
        "is not a valid server address"),
      Fault(
        "to: \"s3", "s3: { region: \"eu-west-1\\n\" }, to: \"s3",
        "output.s3.region: \"eu-west-1\\n\" is not a valid region name"),
      Fault(
        "s3://test-bucket/out", "s3://test-bucket\\n/out", "does not name a valid S3 bucket"),
      Fault(
        "s3://test-bucket/out", "s3://test-bucket/out\\n",
        "output.to: \"s3://test-bucket/out\\n\" holds a line end or another control character"),
      Fault(
        "s3://test-bucket/out", "file:out\\r", "holds a line end or another control character"),
      Fault(
        "to: \"s3", "s3: { ca_file: /none.pem }, to: \"s3",
        "jobs/calls.yaml:20: output.s3.ca_file: \"/none.pem\" cannot be read. Correct the path"),
      Fault(
        "format: csv }", "publish: sometimes }",
        "output.publish: \"sometimes\" is not a valid schedule. Write batch, run_end or"),
      Fault(
        "format: csv }", "publish: every 5 }",
        "output.publish: \"every 5\" is not a valid schedule"),
      Fault(
        "to: \"s3", "s3: { credentials: { access_key_id: AKIA } }, to: \"s3",
        "output.s3.credentials: is not complete"),
      Fault(
        "time_taken: \"int64?\"", "record_offset: int64",
        "is the name of a field that every message has"),
    ])
  func refused(fault: Fault) {
    #expect(example.contains(fault.old))
    let found = faults(example.replacing(fault.old, with: fault.new))
    #expect(found.contains(fault.message), "\(found)")
    let lines = found.split(separator: "\n")
    #expect(Set(lines).count == lines.count, "something is said twice: \(found)")
  }

  @Test("says which texts are NULL in CSV, and refuses what no field without quotes can hold")
  func nullTexts() throws {
    func text(_ csv: String, format: String = "csv") -> String {
      example.replacing(
        "format: csv\n  fields", with: "format: \(format)\n  csv: \(csv)\n  fields")
    }
    #expect(try parse(example).csv.nullTexts == ["\\N"])
    #expect(
      try parse(text("{ null: [\"\\\\N\", NA, \"\", \"null\"] }")).csv.nullTexts
        == ["\\N", "NA", "", "null"])
    #expect(try parse(text("{ null: [] }")).csv.nullTexts == [])
    for (csv, problem) in [
      ("{ null: [null] }", #"source.csv.null[0]: "null" is YAML's null, not a text"#),
      ("{ null: [NA, NA] }", #"source.csv.null[1]: "NA" is listed twice"#),
      ("{ null: [\"a,b\"] }", #""a,b" cannot stand for NULL in a field without quotes"#),
      ("{ null: ['\"x'] }", "cannot stand for NULL in a field without quotes"),
      ("{ null: [\(String(repeating: "x", count: 65))] }", "Use at most 64 bytes"),
      ("{ nul: [x] }", "source.csv.nul: is not a key of the job file. Did you mean null?"),
    ] {
      #expect(faults(text(csv)).contains(problem), "\(faults(text(csv)))")
    }
    #expect(
      faults(text("{ null: [NA] }", format: "json")).contains(
        "source.csv: has no effect with source.format: json. Leave it out"))
  }

  @Test("lets a field lie in a header or in the key, and says what cannot be there")
  func fieldsBesideTheRecord() throws {
    func text(_ field: String, format: String = "csv") -> String {
      example.replacing("format: csv\n", with: "format: \(format)\n")
        .replacing("api_id: int32", with: "api_id: int32, more: \(field)")
    }
    func spelled(_ field: String, format: String = "csv") throws -> String {
      let settings = try parse(text(field, format: format)).canonicalSettings["source.fields"] ?? ""
      return settings.components(separatedBy: ", ")[1]
    }
    #expect(
      try spelled("{ type: string?, header: trace-id }") == "more string? from header trace-id")
    #expect(try spelled("{ type: string, key: hex }") == "more string from key hex")
    #expect(
      try spelled("{ type: int64, key: json, path: $.more }")
        == "more int64 from key json $.more")
    #expect(try spelled("{ type: json, key: json }") == "more json from key json")
    for (field, format, problem) in [
      ("{ type: string, header: a, key: text }", "csv", "more.header: stands beside key"),
      ("{ type: string, header: \"\" }", "csv", "more.header: \"\" is not a valid name"),
      ("{ type: string, header: \"a\\n\" }", "csv", "is not a valid name of a header"),
      ("{ type: string, header: a, path: $.a }", "json", "more.path: has no effect beside header"),
      ("{ type: string, key: hex, path: $.a }", "json", "more.path: has no effect with key: hex"),
      ("{ type: string, key: jsn }", "csv", "is not one of the values. Did you mean json?"),
      ("{ type: json, key: text }", "json", "\"json\" is a type of fields in a JSON record or key"),
      ("{ type: json, header: a }", "json", "\"json\" is a type of fields in a JSON record or key"),
    ] {
      let found = faults(text(field, format: format))
      #expect(found.contains(problem), "\(found)")
    }
  }

  @Test("says what is wrapped around JSON records, and takes nothing of the kind for CSV")
  func envelopes() throws {
    func text(_ format: String, _ envelope: String) -> String {
      example.replacing(
        "format: csv\n  fields", with: "format: \(format)\n  envelope: \(envelope)\n  fields")
    }
    #expect(try parse(example).envelope == nil)
    #expect(try parse(example).canonicalSettings["source.envelope"] == nil)
    for envelope in Envelope.allCases {
      let job = try parse(text("json", envelope.rawValue))
      #expect(job.envelope == envelope)
      #expect(job.canonicalSettings["source.envelope"] == envelope.rawValue)
    }
    // A path leads into the change event, and a name without one into its row.
    for (envelope, spelling) in [("connect", "op string"), ("debezium", "op string from $.op")] {
      let job = try parse(
        text("json", envelope).replacing(
          "api_id: int32", with: "api_id: int32, op: { type: string, path: $.op }"))
      #expect(
        job.canonicalSettings["source.fields"]?.components(separatedBy: ", ")[1] == spelling)
    }
    #expect(
      faults(text("json", "debzium")).contains(
        "source.envelope: \"debzium\" is not one of the values. Did you mean debezium?"))
    #expect(
      faults(text("csv", "connect")).contains(
        "source.envelope: has no effect with source.format: csv. Leave it out"))
  }

  @Test("says how CSV is written, and refuses what could not be told from values")
  func csv() throws {
    func text(_ csv: String, fields: String = "{ api_id: int32 }") -> String {
      """
      name: dialect
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        csv: \(csv)
        fields: \(fields)
      output: { to: "file:out" }
      """
    }
    #expect(try parse(text("{}")).csv == .standard)
    #expect(
      try parse(
        text(#"{ delimiter: "\t", header: per_message, quote: "'", trim: true, null: ["\"x"] }"#)
      ).csv
        == CSVDialect(
          delimiter: 0x09, header: .perMessage, quote: UInt8(ascii: "'"), trims: true,
          nullTexts: ["\"x"]))
    #expect(
      try parse(text(#"{ delimiter: "|", quote: none, null: ["a,b"] }"#)).csv
        == CSVDialect(delimiter: UInt8(ascii: "|"), quote: nil, nullTexts: ["a,b"]))
    #expect(
      try parse(text(#"{ delimiter: "\u0001", quote: "|" }"#)).csv
        == CSVDialect(delimiter: 1, quote: UInt8(ascii: "|")))
    for delimiter in ["x", "7", "-", "+", ".", "\\n", "\\r", "\\0", ";;", "é", "", "\\\\t"] {
      #expect(
        faults(text(#"{ delimiter: "\#(delimiter)" }"#)).contains(
          "is not a character that can stand between fields. Write one character of ASCII in quotes"
        ), "\(delimiter): \(faults(text(#"{ delimiter: "\#(delimiter)" }"#)))")
    }
    for quote in ["x", "7", "-", " ", "\\t", "\\n", "''", "", "«"] {
      #expect(
        faults(text(#"{ quote: "\#(quote)" }"#)).contains(
          "is not a character that can stand around fields"), "\(quote)")
    }
    for (csv, problem) in [
      ("{ delimiter: '\"' }", "source.csv.delimiter: \"\"\" stands for the delimiter and for"),
      ("{ quote: ',' }", "source.csv.quote: \",\" stands for the delimiter and for the quote"),
      ("{ delimiter: ';', null: ['a;b'] }", "without a delimiter, a line end or a first quote"),
      ("{ quote: \"'\", null: [\"'x\"] }", "cannot stand for NULL in a field without quotes"),
      ("{ trim: true, null: [' x'] }", "without blanks around them, which trim drops"),
      ("{ trim: maybe }", "source.csv.trim: \"maybe\" is neither true nor false"),
      ("{ header: first }", "source.csv.header: \"first\" is not one of the values"),
    ] {
      #expect(faults(text(csv)).contains(problem), "\(faults(text(csv)))")
      #expect(faults(text(csv)).contains(":5: "), "\(faults(text(csv)))")
    }
  }

  @Test("names the column of a header by a path of one key, and only with a header")
  func csvColumn() throws {
    func text(_ csv: String, _ path: String) -> String {
      """
      name: dialect
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        csv: \(csv)
        fields: { a: { type: int32, path: "\(path)" } }
      output: { to: "file:out" }
      """
    }
    let headed = "{ header: per_message }"
    #expect(
      try parse(text(headed, "$['Order ID']")).fields[0].path == JSONPath([.key("Order ID")]))
    #expect(try parse(text(headed, "$.a")).fields[0].path == nil)
    for path in ["$.a.b", "$[0]", "a", "$"] {
      #expect(
        faults(text(headed, path)).contains("is not the path to a column of a header"), "\(path)")
    }
    #expect(
      faults(text("{}", "$.a")).contains(
        "csv finds fields by their order, unless source.csv.header is per_message"))
  }

  @Test("tells of several faults at a time, in the order of their lines")
  func several() {
    let found = faults(
      example.replacing("format: csv\n", with: "format: cvs\n").replacing(
        "tumbling: 5m", with: "tumbling: x"
      ).replacing(
        "calls: count()", with: "calls: foo()"))
    #expect(
      found.split(separator: "\n").map { $0.prefix(18) } == [
        "jobs/calls.yaml:8:", "jobs/calls.yaml:12", "jobs/calls.yaml:16",
      ])
  }

  @Test("may name measures before keys, and a name that both take is a fault, not a crash")
  func order() {
    let swapped = example.replacing("  by: [api_id]\n", with: "")
      .replacing(
        "sum(time_taken) }\n", with: "sum(time_taken), API_ID: count() }\n  by: [api_id]\n")
    #expect(faults(swapped).contains("\"API_ID\" is already the name of another column"))
  }

  @Test("never shows a secret", arguments: ["\u{1}", " not a value: [", "x"])
  func secrets(suffix: String) {
    let secret = "hunter2" + suffix
    let text = example.replacing("s3://test-bucket/out", with: "nowhere")
      .replacing(
        "output: {",
        with:
          "output: { s3: { credentials: { profile: [\"\(secret)\"], secret_access_key: "
          + "\"\(secret)\" } },"
      )
    #expect(!faults(text).contains("hunter2"))
  }

  @Test(
    "takes the path of a secret from variables, so that systemd's folder of credentials will do",
    arguments: [
      "${CREDENTIALS_DIRECTORY}/key", "${NOWHERE:-/run/credentials}/${KEY}",
      "/run/credentials/${KEY:-other}",
    ])
  func secretBelowVariable(path: String) throws {
    let job = try parse(
      example.replacing("/run/secret", with: path),
      environment: ["CREDENTIALS_DIRECTORY": "/run/credentials", "KEY": "key"],
      files: ["/run/credentials/key": "hunter2\n"])
    #expect(job.clusters[0].properties["sasl.password"] == "hunter2")
  }

  @Test("takes $${ in the path of a file as text")
  func dollarInPath() throws {
    let job = try parse(
      example.replacing("/run/secret", with: "/run/$${KEY"), files: ["/run/${KEY": "hunter2"])
    #expect(job.clusters[0].properties["sasl.password"] == "hunter2")
  }

  @Test("shows no variable in the path of a file that cannot be read: it may be the secret")
  func secretForPath() {
    let text = example.replacing("/run/secret", with: "${SECRET}")
    var found = ""
    do { _ = try parse(text, environment: ["SECRET": "hunter2"], files: [:]) } catch {
      found = "\(error)"
    }
    #expect(found.contains("names the file ${SECRET}, which cannot be read"))
    #expect(!found.contains("hunter2"))
  }

  @Test(
    """
    of a test may name what is not there: such a key has its default, and all else is checked
    """)
  func standIns() throws {
    func parsed(_ text: String) throws -> Job {
      try JobFile.parsed(
        text: text, path: "jobs/calls.yaml", environment: ["HERE": "orders"], standsIn: true,
        readFile: { _ in nil }
      ).job
    }
    let text = """
      source:
        kafka:
          - { name: main, properties: { bootstrap.servers: "${BROKERS}:9092" },
              topics: ["${TOPIC}", "${HERE}"] }
        format: json
        fields: { api_id: int32 }
      trigger: { max_offsets: "${MOST}" }
      output:
        to: "${PLACE}"
        s3:
          endpoint: "${ENDPOINT}"
          credentials: { access_key_id: "${file:${FOLDER}/id}", secret_access_key: "${KEY}" }
      """
    let job = try parsed(text)
    #expect(job.clusters[0].topics == ["unset", "orders"])
    #expect(job.maxOffsets == 1_000)
    let found = #expect(throws: JobFileErrors.self) {
      try parsed(text.replacing("format: json", with: "format: jsonn"))
    }
    #expect(found?.errors.map(\.key) == ["source.format"])
    // Anywhere else each of them is a fault.
    #expect(faults(text).split(separator: "needs the environment variable").count == 9)
  }

  @Test("dumped or printed shows no value of a property and no key")
  func dumped() throws {
    let job = try parse(
      example.replacing(
        "output: {",
        with: "output: { s3: { credentials: { access_key_id: AKIA, secret_access_key: hunter2 } },")
    )
    var text = "\(job)"
    dump(job, to: &text)
    #expect(!text.contains("hunter2"))
    #expect(
      !faults(example.replacing("properties: {", with: "properties: \"sasl.password=hunter2\" #"))
        .contains("hunter2"))
  }

  @Test("takes a window from a variable, a secret whose file ends in CRLF, and when to publish")
  func substituted() throws {
    let job = try parse(
      example.replacing("window: { tumbling: 5m }", with: "window: \"${W:-global}\"").replacing(
        "format: csv }", with: "publish: every 30s }"),
      files: ["/run/secret": "hunter2\r\n"])
    #expect(job.window is GlobalWindow)
    #expect(job.clusters[0].properties["sasl.password"] == "hunter2")
    #expect(job.output.publish == .every(milliseconds: 30_000))
  }

  @Test(
    "takes every form of a server's address",
    arguments: [
      "http://minio:9000", "https://s3.example.com/", "http://127.0.0.1:1", "http://[::1]:65535",
      "https://[2001:db8::1]", "http://my_host-1.local", "",
    ])
  func endpoint(address: String) {
    let found = faults(
      example.replacing("to: \"s3", with: "s3: { endpoint: \"\(address)\" }, to: \"s3"))
    #expect(found.isEmpty, "\(found)")
  }

  @Test("that is empty, too large or no mapping is refused")
  func odd() {
    #expect(faults("").contains("the file is empty"))
    #expect(faults("just text").contains("is not a mapping"))
    #expect(faults("- a\n- b").contains("is not a mapping"))
    #expect(faults(String(repeating: "#", count: 1_100_000)).contains("is larger than"))
  }

  @Test(
    "that is hostile is refused before it costs anything",
    arguments: [
      ("many fields", "declares", 40_000, "entries, and at most 500 are allowed"),
      ("many unknown keys", "", 60_000, "has 6"),
      ("many topics", "topics", 60_000, "has 60000 items, and at most 1000 are allowed"),
      ("many clusters", "kafka", 5_000, "has 5001 items, and at most 32 are allowed"),
      ("many properties", "properties", 20_000, "and at most 200 are allowed"),
      ("many measures", "measures", 20_000, "and at most 500 are allowed"),
      ("many keys", "by", 50_000, "and at most 100 are allowed"),
      ("many items", "select", 20_000, "and at most 500 are allowed"),
      ("many variables", "variables", 5_000, "is longer than 1048576 bytes after substitution"),
      ("many files", "files", 5_000, "is longer than 1048576 bytes after substitution"),
      ("aliases of aliases", "aliases", 40, "uses anchors"),
      ("aliases of aliases as a key", "key", 40, "uses anchors"),
      ("an anchor in a large file", "large", 70_000, "uses anchors"),
      ("deep nesting", "deep", 200_000, "is not YAML"),
      ("long names", "long", 200_000, "is not YAML"),
      ("the same key again and again", "same", 40_000, "is listed twice"),
      ("a long number", "number", 900_000, "is not a whole number"),
      ("a long line of dollars", "dollars", 900_000, "is not a valid type"),
      ("a path of dollars", "path", 300_000, "has a ${ that is not closed"),
    ])
  func hostile(name: String, kind: String, count: Int, message: String) {
    func list(_ make: (Int) -> String) -> String { (0..<count).map(make).joined(separator: ", ") }
    let levels =
      "x: &a0 [1]\n" + (1..<20).map { "y\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined()
    let text: String =
      switch kind {
      case "declares":
        example.replacing(
          "api_id: int32,", with: "api_id: int32, " + list { "f\($0): int32" } + ",")
      case "topics": example.replacing("[orders]", with: "[\(list { "t\($0)" })]")
      case "kafka":
        example.replacing(
          "      topics: [orders]\n",
          with: "      topics: [orders]\n" + (0..<count).map { "    - name: c\($0)\n" }.joined())
      case "properties":
        example.replacing("sasl.password:", with: list { "p\($0): 1" } + ", sasl.password:")
      case "measures":
        example.replacing("calls: count()", with: "calls: count(), " + list { "m\($0): count()" })
      case "by": example.replacing("[api_id]", with: "[api_id, \(list { "k\($0)" })]")
      case "select":
        example.replacing(
          "  share:", with: (0..<count).map { "  s\($0): 1.0\n" }.joined() + "  share:")
      case "variables":
        example.replacing("s3://test-bucket/out", with: String(repeating: "${BIG}", count: count))
      case "files":
        example.replacing(
          "s3://test-bucket/out", with: String(repeating: "${file:/big}", count: count))
      case "aliases": levels + example
      case "key": levels + "? *a19\n: 1\n" + example
      case "large":
        example.replacing("orders]", with: "&x orders] # \(String(repeating: "x", count: count))")
      case "deep": String(repeating: "[", count: count)
      case "long":
        example.replacing("api_id: int32", with: String(repeating: "x", count: count) + ": int32")
      case "same": example.replacing("api_id: int32,", with: list { _ in "f: int32" } + ",")
      case "number":
        example.replacing(
          "window: {",
          with: "trigger: { max_offsets: \(String(repeating: "9", count: count)) }\nwindow: {")
      case "dollars":
        example.replacing(
          "api_id: int32", with: "api_id: \"\(String(repeating: "$", count: count))\"")
      case "path":
        example.replacing(
          "s3://test-bucket/out", with: "${file:" + String(repeating: "$${", count: count))
      default: example + (0..<count).map { "k\($0): 1\n" }.joined()
      }
    let big = String(repeating: "x", count: 100_000)
    let started = ContinuousClock.now
    var found = ""
    do {
      _ = try parse(text, environment: ["BIG": big], files: ["/run/secret": "s", "/big": big])
    } catch { found = "\(error)" }
    #expect(found.contains(message), "\(found.prefix(2_000))")
    #expect(found.utf8.count < 300_000 && found.split(separator: "\n").count <= 101)
    // In a debug build beside other tests; each of these took minutes, or did not end.
    #expect(ContinuousClock.now - started < .seconds(20), "\(ContinuousClock.now - started)")
  }

  @Test("may share values by anchors where it is small, and multiply in SQL as it likes")
  func anchors() throws {
    let job = try parse(
      example.replacing(
        "topics: [orders]",
        with:
          "topics: &topics [orders]\n    - name: other\n      properties: { bootstrap.servers: x "
          + "}\n      topics: *topics"
      ))
    #expect(job.clusters.map(\.topics) == [["orders"], ["orders"]])
    let products = (0..<40).map { "time_taken *\($0)" }.joined(separator: " + ")
    #expect(
      try parse(example.replacing("time_taken >= 0", with: "\(products) >= 0")).where?.sql.contains(
        "*39") == true)
  }

  @Test(
    "shows keys and values of its own without what a terminal would obey, and not at any length")
  func foreign() {
    let found = faults(
      example.replacing(
        "api_id: int32",
        with: "\"a\\e[31m\\u202e\\n\": \"\\a\(String(repeating: "y", count: 5_000))\""))
    #expect(found.contains("source.fields.a\\u{1B}[31m\\u{202E}\\n"), "\(found)")
    #expect(
      found.split(separator: "\n").allSatisfy {
        $0.utf8.count < 1_500 && $0.unicodeScalars.allSatisfy { $0.value >= 0x20 }
      })
  }

  @Test(
    """
    finds at once what would only fail in a run: items that are too much for one statement \
    together
    """
  )
  func together() {
    let windows = (0..<40).map {
      "  w\($0): sum(time_taken + \($0)) OVER (PARTITION BY api_id % \($0 + 2) ORDER BY calls)\n"
    }.joined()
    #expect(
      faults(example.replacing("  share:", with: windows + "  share:")).contains(
        "Expression tree is too large"))
  }

  @Test(
    "may not call a column what the objects' path calls a folder, whatever its case",
    arguments: [
      (
        "by: [api_id]", "by: [window_start]",
        "aggregate.by[0]: \"window_start\" is the name of the folders"
      ),
      (
        "calls: count()", "Window_Start: count()",
        "aggregate.measures.Window_Start: \"Window_Start\" is the name of the folders"
      ),
      (
        "  share:", "  WINDOW_START: 1.0\n  share:",
        "select.WINDOW_START: \"WINDOW_START\" is the name of the folders"
      ),
    ])
  func pathColumns(old: String, new: String, message: String) {
    let text = example.replacing("api_id: int32,", with: "api_id: int32, window_start: string,")
    #expect(faults(text) == "")
    let found = faults(text.replacing(old, with: new))
    #expect(
      found.contains(message) && found.contains("Give the column another name, for example "),
      "\(found)")
    // A global window has one object and no such folder.
    #expect(
      faults(text.replacing(old, with: new).replacing("{ tumbling: 5m }", with: "global")) == "")
  }

  @Test(
    "may not call a column batch where each batch has a folder",
    arguments: ["by", "measure", "select", "field"])
  func batchColumns(kind: String) {
    var text = example.replacing("{ tumbling: 5m }", with: "batch").replacing(
      "format: csv }", with: "keep: each }"
    )
    .replacing("api_id: int32,", with: "api_id: int32, batch: int64,")
    switch kind {
    case "by": text = text.replacing("[api_id]", with: "[batch]")
    case "measure": text = text.replacing("calls:", with: "batch:")
    case "select": text = text.replacing("share:", with: "Batch:")
    default:
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      text =
        lines.prefix { !$0.hasPrefix("window") }.joined(separator: "\n")
        + "\noutput: { to: \"file:out\", keep: each }\n"
    }
    #expect(
      faults(text).contains("is the name of the folders that hold the objects (batch=...)"),
      "\(faults(text))")
    #expect(faults(text.replacing("keep: each", with: "keep: latest")) == "")
  }

  @Test(
    "may not write into a folder _tranche, nor name what is no host or region",
    arguments: [
      ("s3://test-bucket/out", "s3://test-bucket/_tranche", "lies in a folder _tranche"),
      ("s3://test-bucket/out", "s3://test-bucket/a/_tranche/b", "lies in a folder _tranche"),
      ("s3://test-bucket/out", "file:out/_tranche/", "lies in a folder _tranche"),
      ("to: \"s3", "s3: { region: \"eu\\r\\nX: 1\" }, to: \"s3", "is not a valid region name"),
      (
        "to: \"s3", "s3: { endpoint: \"http://a\\r\\nX: 1\" }, to: \"s3",
        "holds a line end or another control character"
      ),
      ("to: \"s3", "s3: { endpoint: \"http://a b\" }, to: \"s3", "is not a valid server address"),
      (
        "output: {", "limits: { value_bytes: 9MiB }\noutput: {",
        "is not a number of bytes up to 8388608"
      ),
      (
        "output: {", "limits: { object_bytes: 6GiB }\noutput: {",
        "is not a number of bytes up to 5368709120"
      ),
      (
        "  share:", "  wide: { sql: \"format('%1000000d', calls)\", type: string }\n  share:",
        "makes a text of more than 262144 bytes (limits.value_bytes)"
      ),
    ])
  func places(old: String, new: String, message: String) {
    let found = faults(example.replacing(old, with: new))
    #expect(found.contains(message), "\(found)")
  }

  @Test("may allow longer values where its select needs them")
  func longValues() throws {
    let job = try parse(
      example.replacing(
        "  share:", with: "  wide: { sql: \"format('%1000000d', calls)\", type: string }\n  share:"
      )
      .replacing("output: {", with: "limits: { value_bytes: 1MiB, object_bytes: 2GiB }\noutput: {"))
    #expect(job.limits.valueBytes == 1 << 20 && job.limits.objectBytes == 2 << 30)
  }

  @Test("warns of a lost fraction, with the place and the expression to write")
  func integerDivision() throws {
    func warnings(_ select: String) throws -> [String] {
      try JobFile.parsed(
        text: example.replacing("100.0 * time_taken / sum(time_taken) OVER ()", with: select),
        path: "jobs/calls.yaml", environment: [:], readFile: { _ in "x" }
      ).warnings.map(\.description)
    }
    #expect(try warnings("100.0 * time_taken / sum(time_taken) OVER ()") == [])
    #expect(
      try warnings("100 * time_taken / sum(time_taken) OVER ()") == [
        "jobs/calls.yaml:18:10: select.share: \"100 * time_taken / sum(time_taken) OVER ()\" "
          + "divides two integers, which drops the fraction. Write "
          + "100.0 * time_taken / sum(time_taken) OVER (); or, if whole numbers are meant, "
          + "{ sql: ..., type: int64 }"
      ])
    let compared =
      "CASE WHEN time_taken / sum(time_taken) OVER () > 0.5 THEN 1 ELSE 0 END"
    for select in [compared, "{ sql: \(compared), type: int64 }"] {
      let warning = try warnings(select).first ?? ""
      #expect(
        warning.hasSuffix(
          "divides two integers, which drops the fraction, and compares the quotient with a "
            + "value that may have one. Write CASE WHEN 1.0 * time_taken / sum(time_taken) OVER () "
            + "> 0.5 THEN 1 ELSE 0 END; or, if whole numbers are meant, CAST(... AS INTEGER) "
            + "around it"), "\(select)")
    }
    let filtered = try JobFile.parsed(
      text: example.replacing("time_taken >= 0", with: "time_taken / 1000 > 0.5"),
      path: "jobs/calls.yaml", environment: [:], readFile: { _ in "x" })
    #expect(
      filtered.warnings.map(\.description).first?.contains(
        "where: \"time_taken / 1000 > 0.5\" divides two integers") == true)
    for (type, count) in [("\"decimal(9,2)\"", 1), ("\"decimal(9,0)\"", 0), ("int64", 0)] {
      #expect(try warnings("{ sql: time_taken / calls, type: \(type) }").count == count, "\(type)")
    }
  }

  @Test(
    "names the type to write where no value of an expression fits its column",
    arguments: [
      (
        "lower('A')",
        "jobs/calls.yaml:18: select.share: \"lower('A')\" makes text, and belongs to a column "
          + "without a type, which is a double. Write { sql: ..., type: string }"
      ),
      (
        "{ sql: \"'a' || calls\", type: int64 }",
        "makes text, and belongs to a column of type int64. Write { sql: ..., type: string }"
      ),
      (
        "{ sql: calls + 1.5, type: string }",
        "makes a number, and belongs to a column of type string. Write { sql: ..., type: double }"
      ),
      (
        "{ sql: count(*) OVER (), type: string }",
        "makes a whole number, and belongs to a column of type string. Write { sql: ..., "
          + "type: int64 }"
      ),
      ("{ sql: \"x'0a'\", type: string }", "makes a blob"),
      ("iif(calls > 1, 'a', 1)", ""), ("{ sql: \"iif(calls > 1, 'a', 1)\", type: string }", ""),
      ("NULL", ""), ("{ sql: lower('A'), type: string }", ""),
    ])
  func textColumns(select: String, message: String) {
    let found = faults(
      example.replacing("100.0 * time_taken / sum(time_taken) OVER ()", with: select))
    #expect(message.isEmpty ? found.isEmpty : found.contains(message), "\(found)")
  }

  @Test("takes its measures as SQL writes them: in any case, and count(*)")
  func measures() throws {
    let job = try parse(
      example.replacing(
        "count(), time_taken: sum(time_taken)", with: "COUNT(*), time_taken: Sum( Time_Taken )"))
    #expect(
      job.aggregate?.measures.map(\.description) == ["calls count()", "time_taken sum(time_taken)"])
    #expect(job.canonicalSettings == (try parse(example)).canonicalSettings)
  }

  @Test("takes a field in a measure that is called like a word it does not know yet")
  func measuresOfWords() throws {
    func of(_ measures: String) -> String {
      example.replacing(
        "api_id: int32,", with: "api_id: int32, over: int64, filter: int64, distinct: int64,"
      )
      .replacing("calls: count()", with: "calls: count(), \(measures)")
    }
    let job = try parse(of("a: sum(over), b: max(filter), c: count( DISTINCT ), d: min(Distinct)"))
    #expect(
      job.aggregate?.measures.map(\.description).prefix(5) == [
        "calls count()", "a sum(over)", "b max(filter)", "c count(distinct)", "d min(distinct)",
      ])
    for (measure, what) in [
      ("count(distinct distinct)", "measures do not leave out repeated values"),
      ("count(distinct(over))", "measures do not leave out repeated values"),
      ("sum(over) over ()", "measures have no OVER"),
      ("max(filter) filter (where over > 1)", "a measure has no condition of its own"),
    ] {
      #expect(faults(of("a: \(measure)")).contains("is not built yet: \(what)"), "\(measure)")
    }
  }

  @Test(
    "says to quote a name that is a word of SQL, unless SQLite takes it for a name",
    arguments: [
      (
        "order > 3",
        "13:8: where: `order > 3`: order is a word of SQL. To mean the column, write it in double "
          + "quotes: \"order\""
      ),
      ("3 < group", "group is a word of SQL"), ("api_id + order / 2 > 1", "order is a word of SQL"),
      ("case > 1", "case is a word of SQL"),
      ("order order > 3", "order is a word of SQL"), ("order > order >", "13:8: where"),
      ("nosuch(order) > 3", "order is a word of SQL"),
      ("key > 3", ""), ("key 3 > 1", "SQLite refuses it"), ("3 > offset row", "SQLite refuses it"),
      ("3 > row 5", "SQLite refuses it"), ("key +", "SQLite refuses it"),
      ("\"\\\"order\\\" > 3\"", ""), ("\"order\" > ", "is not YAML"),
      ("api_id > > 3", "SQLite refuses it"),
    ])
  func keywords(filter: String, message: String) {
    let found = faults(
      example.replacing(
        "api_id: int32,",
        with: "api_id: int32, order: int64, group: int64, case: int64, "
          + "key: int64, offset: int64, row: int64,"
      )
      .replacing("time_taken >= 0", with: filter))
    #expect(
      message.isEmpty ? found.isEmpty : found.contains(message),
      "\(found)")
  }

  @Test("suggests a name where the file's own is no job's")
  func impossibleName() {
    func fault(_ path: String) -> String {
      do {
        _ = try JobFile.parse(
          text: example.replacing("name: calls\n", with: ""), path: path, environment: [:],
          readFile: { _ in "x" })
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(
      fault("jobs/My Calls (2).yaml").contains(
        "\"My Calls (2)\" is the name of the file, and is not a valid job name. Add name: "
          + "my-calls--2, or another of up to 63"))
    #expect(fault("jobs/\u{e9}.yaml").contains("Add name: calls,"))
    #expect(fault("jobs/ok.yaml") == "")
  }

  @Test("shares parts by x- keys, anchors and merge keys, which its own keys go before")
  func sharedParts() throws {
    let text = """
      x-kafka: &kafka
        properties: { bootstrap.servers: "x:1", client.id: shared }
      x-fields: &fields { api_id: int32, time_taken: int32 }
      x-more: &more { price: double, api_id: int64 }
      name: calls
      source:
        kafka:
          - { <<: *kafka, name: main, topics: [a] }
          - <<: *kafka
            name: other
            topics: [b]
            properties: { bootstrap.servers: "y:1" }
        format: csv
        fields: { <<: [*fields, *more], time_taken: int64, note: string }
        x-note: ignored
      output: { to: "file:out" }
      """
    let job = try parse(text)
    #expect(job.clusters.map { $0.properties["bootstrap.servers"] } == ["x:1", "y:1"])
    #expect(job.clusters.map { $0.properties["client.id"] } == ["shared", nil])
    #expect(
      job.fields.map { "\($0.column.name) \($0.column.type)" }
        == ["api_id int32", "time_taken int64", "price double", "note string"])
    for (old, new, message) in [
      ("<<: [*fields, *more]", "<<: x", "source.fields: has a merge key << that is not a mapping"),
      ("x-note: ignored", "note: 1", "source.note: is not a key of the job file"),
      ("api_id: int64 }", "x y: int64 }", "source.fields.x y: \"x y\" is not a valid column name"),
    ] {
      let found = faults(text.replacing(old, with: new))
      #expect(found.contains(message), "\(found)")
    }
    // Aliases of aliases by merge keys are no more than the limit of aliases allows.
    var bomb = "x-0: &a0 { \((0..<400).map { "k\($0): int32" }.joined(separator: ", ")) }\n"
    for level in 1...5 {
      bomb += "x-\(level): &a\(level) { <<: [*a\(level - 1), *a\(level - 1), *a\(level - 1)] }\n"
    }
    let started = ContinuousClock.now
    let found = faults(bomb + text.replacing("<<: [*fields, *more]", with: "<<: *a5"))
    #expect(found.contains("too many aliases"), "\(found)")
    #expect(ContinuousClock.now - started < .seconds(20))
  }

  @Test("never crashes the parser, whatever is done to it")
  func mutations() {
    let seed: UInt64 = 77
    var random = SeededRandom(seed: seed)
    let alphabet = Array("{}[]:,\"'|>&*!%@`#-? \n\t$aé0".unicodeScalars)
    let scalars = Array(example.unicodeScalars)
    for _ in 0..<3_000 {
      var text = scalars
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        let place = Int.random(in: 0..<text.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: text[place] = alphabet.randomElement(using: &random) ?? " "
        case 1: text.remove(at: place)
        default: text.insert(alphabet.randomElement(using: &random) ?? " ", at: place)
        }
      }
      _ = faults(String(String.UnicodeScalarView(text)))
    }
  }

  @Test("of every example in jobs/ is valid")
  func examples() throws {
    let folder = root().appendingPathComponent("jobs").path
    let files = try FileManager.default.subpathsOfDirectory(atPath: folder).filter {
      $0.hasSuffix(".yaml")
    }
    #expect(files.count >= 4)
    for file in files {
      let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
      _ = try JobFile.parse(text: text, path: file, environment: [:], readFile: { _ in nil })
    }
  }

  @Test("has the committed JSON Schema; `make golden` rewrites it")
  func schema() throws {
    let committed = try String(
      contentsOf: root().appendingPathComponent("jobs/job.schema.json"), encoding: .utf8)
    #expect(committed == JobSchema.json())
    #expect(try JSONSerialization.jsonObject(with: Data(committed.utf8)) is [String: Any])
  }
}

@Suite("A change of the job file between runs")
struct JobChangeTests {
  private func effects(_ old: String, _ new: String) throws -> Set<ChangeEffect> {
    #expect(example.contains(old))
    let changes = JobChange.compare(
      old: try parse(example).canonicalSettings,
      new: try parse(example.replacing(old, with: new)).canonicalSettings)
    return Set(changes.map(\.effect))
  }

  @Test(
    "is refused where it changes the meaning of the state",
    arguments: [
      ("by: [api_id]", "by: [at]"), ("calls: count()", "n: count()"),
      ("time_taken >= 0", "time_taken > 0"),
      ("tumbling: 5m", "tumbling: 1m"),
      ("topics: [orders]", "topics: [others]"), ("api_id: int32", "api_id: int64"),
      ("format: csv\n", "format: json\n"),
      ("\"int64?\"", "int64"),
      ("sasl.password:", "isolation.level: read_uncommitted, sasl.password:"),
    ])
  func refused(old: String, new: String) throws {
    #expect(try effects(old, new).contains { $0.isRefused })
  }

  @Test("is refused where other texts are NULL; to say what is the default changes nothing")
  func nullTexts() throws {
    func effects(_ csv: String) throws -> [ChangeEffect] {
      Array(
        try self.effects("format: csv\n  fields", "format: csv\n  csv: \(csv)\n  fields"))
    }
    #expect(try effects("{ null: [NA] }") == [.reread])
    #expect(try effects("{ null: [] }") == [.reread])
    #expect(try effects(#"{ null: ["\\N"] }"#) == [] && effects("{}") == [])
    for csv in ["delimiter: ';'", "header: per_message", "quote: none", "trim: true"] {
      #expect(try effects("{ \(csv) }") == [.reread], "\(csv)")
    }
    #expect(
      try effects(#"{ delimiter: ",", header: none, quote: '"', trim: false }"#) == [])
    let settings = [#"["\\N", NA]"#, #"[NA, '\N']"#].map { list in
      try? parse(
        example.replacing(
          "format: csv\n  fields", with: "format: csv\n  csv: { null: \(list) }\n  fields")
      ).canonicalSettings
    }
    #expect(settings[0] != nil && settings[0] == settings[1])
  }

  @Test("renders or publishes again where only the objects change")
  func objects() throws {
    #expect(try effects("share: 100.0", "share: 1.0") == [.renderAgain])
    #expect(try effects("format: csv }", "format: json }") == [.publishAgain])
    #expect(try effects("test-bucket/out", "test-bucket/other") == [.publishAgain])
  }

  @Test("is harmless where nothing that stands depends on it")
  func harmless() throws {
    #expect(try effects("topics: [orders]", "topics: [orders, more]") == [])
    #expect(try effects("localhost:9092", "elsewhere:9092") == [])
    #expect(try effects("output: {", "trigger: { max_offsets: 7 }\noutput: {") == [])
    #expect(try effects("output: {", "rejects: { policy: drop }\noutput: {") == [])
  }

  @Test("has an effect for every key that the state or the objects depend on")
  func table() throws {
    for key in try parse(example).canonicalSettings.keys where key != "decoder" {
      #expect(JobKeys.setting(key) != nil, "\(key)")
    }
  }

  @Test("is seen against what releases before this one have stored")
  func stored() throws {
    let settings = try parse(example).canonicalSettings
    #expect(
      settings == [
        "decoder": "1", "source.start": "earliest", "source.format": "csv",
        "source.fields": "api_id int32, time_taken int64?, at timestamp(unix_seconds), "
          + "price decimal(9,2), ratio double",
        "window": "tumbling 300000ms by record_timestamp", "where": "time_taken >= 0",
        "aggregate.by": "api_id",
        "aggregate.measures": "calls count(), time_taken sum(time_taken)",
        "select": "share double: 100.0 * time_taken / sum(time_taken) OVER (), "
          + "rank int64: row_number() OVER (ORDER BY time_taken)",
        "output.to": "s3://test-bucket/out", "output.format": "csv", "output.s3.endpoint": "-",
        "source.kafka[main].isolation.level": "read_committed",
        "source.kafka[main].topics[orders]": "read",
      ])
  }

  @Test("never shows or stores a secret")
  func secrets() throws {
    #expect(!"\(try parse(example).canonicalSettings)".contains("hunter2"))
  }
}

@Suite("Two jobs")
struct JobOverlapTests {
  private func side(
    _ file: String, name: String = "", to place: String, endpoint: String? = nil,
    checkpointPlace: String? = "/jobs"
  ) throws -> JobOverlap.Side {
    let s3 = endpoint.map { ", s3: { endpoint: \"\($0)\" }" } ?? ""
    let text = example.replacing("name: calls", with: "name: \(name.isEmpty ? file : name)")
      .replacing("\"s3://test-bucket/out\"", with: "\"\(place)\"\(s3)")
    let parsed = try JobFile.parsed(
      text: text, path: "\(file).yaml", environment: [:], readFile: { _ in "x" })
    let folder: String? =
      if case .file(let path) = parsed.job.output.destination { path } else { nil }
    return JobOverlap.Side(
      file: "\(file).yaml", parsed: parsed, folder: folder, checkpointPlace: checkpointPlace)
  }

  @Test(
    "overlap where one's place is the other's or lies below it",
    arguments: [
      ("s3://test-bucket/out", "s3://test-bucket/out", "is the same place as"),
      ("s3://test-bucket/out", "s3://test-bucket/out/b", "lies below"),
      ("s3://test-bucket/out/b", "s3://test-bucket/out", "lies above"),
      ("s3://test-bucket", "s3://test-bucket/x", "lies below"),
      ("file:/a/b", "file:/a/b", "is the same place as"),
      ("file:/a/b", "file:/a/b/c/d", "lies below"),
      ("file:/a/b/", "file:/a", "lies above"),
      ("file:/", "file:/a", "lies below"),
    ])
  func overlapping(first: String, second: String, relation: String) throws {
    let found = JobOverlap.find([try side("a", to: first), try side("b", to: second)])
    let message = try #require(found.first).error.description
    #expect(found.count == 1 && message.hasPrefix("b.yaml:20: output.to: \""), "\(message)")
    #expect(message.contains("\(relation) ") && message.contains(" of a.yaml:20: "), "\(message)")
  }

  @Test(
    "do not where their places lie side by side",
    arguments: [
      ("s3://test-bucket/a", "s3://test-bucket/ab"), ("s3://test-bucket/a", "s3://test-bucketb/a"),
      ("file:/a/b", "file:/a/bc"),
      ("s3://test-bucket/a/b", "s3://test-bucket/a/c"),
      ("file:/test-bucket/a", "s3://test-bucket/a"),
    ])
  func apart(first: String, second: String) throws {
    #expect(JobOverlap.find([try side("a", to: first), try side("b", to: second)]).isEmpty)
  }

  @Test("are held against each other on one store, however its endpoint is written")
  func endpoints() throws {
    func clash(_ first: String?, _ second: String?) throws -> Bool {
      let place = "s3://test-bucket/a"
      return !JobOverlap.find([
        try side("a", to: place, endpoint: first), try side("b", to: place, endpoint: second),
      ]).isEmpty
    }
    #expect(try clash("http://minio:9000", "https://MINIO:9000/"))
    #expect(try clash(nil, "https://s3.eu-west-1.amazonaws.com"))
    #expect(try clash("https://store", "https://store:443"))
    #expect(try !clash("http://minio:9000", "http://minio:9001"))
    #expect(try !clash(nil, "http://minio:9000"))
  }

  @Test("of one name in one folder would have one checkpoint")
  func names() throws {
    let found = JobOverlap.find([
      try side("a", name: "x", to: "file:/a"), try side("b", name: "x", to: "file:/b"),
    ])
    #expect(
      found.map(\.error.description).first?.hasPrefix(
        "b.yaml:1: name: \"x\" is also the name of the job in a.yaml:1") == true)
    for place in ["/other", nil] {
      let apart = [
        try side("a", name: "x", to: "file:/a", checkpointPlace: place.map { _ in "/jobs" }),
        try side("b", name: "x", to: "file:/b", checkpointPlace: place),
      ]
      #expect(JobOverlap.find(apart).isEmpty, "\(place ?? "standard input")")
    }
  }

  @Test("or more: every pair that clashes is told once")
  func many() throws {
    let found = JobOverlap.find([
      try side("a", to: "file:/a"), try side("b", to: "file:/b"), try side("c", to: "file:/a"),
      try side("d", to: "file:/"),
    ])
    #expect(found.map(\.error.file) == ["c.yaml", "d.yaml", "d.yaml", "d.yaml"])
  }
}
