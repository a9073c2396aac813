import Formats
import Foundation
import Tables
import TestSupport
import Testing

@testable import Jobs

private let example = """
  name: calls
  source:
    kafka:
      - name: main
        properties: { bootstrap.servers: "${BROKERS:-localhost:9092}", sasl.password: "${file:/run/secret}" }
        topics: [orders]
    format: csv
    fields: { api_id: int32, time_taken: "int64?", at: timestamp(unix_seconds), price: "decimal(9,2)", ratio: double }
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

private func parse(_ text: String, environment: [String: String] = [:], files: [String: String] = ["/run/secret": "hunter2\n"]) throws
  -> Job
{
  try JobFile.parse(
    text: text, path: "jobs/calls.yaml", environment: environment, readFile: { files[$0] },
    propertyFault: { name, _ in name == "group.id" ? ("is reserved: no consumer group decides what is read", "Leave it out") : nil })
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
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
}

@Suite("A job file")
struct JobFileTests {
  @Test("becomes a job, with defaults for what it does not say")
  func accepted() throws {
    let job = try parse(example, environment: ["BROKERS": "kafka:9092"])
    #expect(job.name == "calls")
    #expect(job.clusters[0].properties == ["bootstrap.servers": "kafka:9092", "sasl.password": "hunter2"])
    #expect(job.window == .tumbling(widthMilliseconds: 300_000, time: "record_timestamp"))
    #expect(job.maxOffsets == 1_000)
    #expect(job.fields[2].timestampEncoding == .unixSeconds)
    #expect(job.fields[3].column.type == .decimal(precision: 9, scale: 2))
    #expect(job.select.map(\.type) == [.double, .int64])
    #expect(job.rejects == Job.RejectRules(policy: .quarantine, maxShare: 0.1, maxShareOver: 1_000, minRecords: 100))
    #expect(job.output.s3.addressing == .virtual)
    #expect(job.outputSchema.columns.map(\.name) == ["api_id", "calls", "time_taken", "share", "rank"])
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
      Fault("format: csv\n", "format: cvs\n", "jobs/calls.yaml:7: source.format: \"cvs\" is not one of the values. Did you mean csv?"),
      Fault("  format: csv\n", "  fromat: csv\n", "jobs/calls.yaml:7: source.fromat: is no key of a job file. Did you mean format?"),
      Fault("api_id: int32", "api_id: int", "jobs/calls.yaml:8: source.fields.api_id: \"int\" is no type. Use int32"),
      Fault("decimal(9,2)", "decimal(19,2)", "jobs/calls.yaml:8: source.fields.price: \"decimal(19,2)\" is no type"),
      Fault("tumbling: 5m", "tumbling: 5", "jobs/calls.yaml:9: window.tumbling: \"5\" is not a duration. Write for example 500ms"),
      Fault("tumbling: 5m", "sliding: 5m", "window.sliding: is not built yet"),
      Fault("tumbling: 5m", "tumbling: 5m, time: api_id", "jobs/calls.yaml:9: window.time: \"api_id\" is no timestamp"),
      Fault(
        "where: time_taken", "where: time_takn",
        "jobs/calls.yaml:10: where: `time_takn >= 0`: there is no column time_takn. Did you mean time_taken?"),
      Fault("by: [api_id]", "by: [api]", "jobs/calls.yaml:12: aggregate.by[0]: \"api\" is no field"),
      Fault("by: [api_id]", "by: [api_id, API_ID]", "aggregate.by[1]: \"API_ID\" stands there twice"),
      Fault("by: [api_id]", "by: [ratio]", "\"ratio\" is a double, which is no key"),
      Fault("calls: count()", "calls: median(api_id)", "aggregate.measures.calls: \"median(api_id)\" is no measure. Use count()"),
      Fault("calls: count()", "API_ID: count()", "names two columns (case does not tell them apart)"),
      Fault("calls: count()", "m: avg(api_id), m_sum: count()", "\"m_sum\" names two columns of the state"),
      Fault("calls: count()", "window: count()", "\"window\" names two columns of the state"),
      Fault("share: 100.0", "calls: 100.0", "jobs/calls.yaml:15: select.calls: \"calls\" names two columns"),
      Fault(
        "sum(time_taken) OVER ()\n", "sum(time_taken)\n",
        "select.share: share: `100.0 * time_taken / sum(time_taken)`: changes the number of rows"),
      Fault("s3://test-bucket/out", "s3://B/out", "output.to: \"s3://B/out\" names no bucket that S3 allows"),
      Fault("s3://test-bucket/out", "/tmp/out", "output.to: \"/tmp/out\" is no place for results. Write s3://BUCKET/PREFIX or file:FOLDER"),
      Fault("s3://test-bucket/out", "s3://test-bucket/a/../b", "has an empty, '.' or '..' part"),
      Fault("topics: [orders]", "topics: [orders, orders]", "source.kafka[0].topics[1]: \"orders\" stands there twice"),
      Fault("topics: [orders]", "topics: [\"or ders\"]", "\"or ders\" is no name of a topic"),
      Fault("sasl.password:", "group.id:", "source.kafka[0].properties.group.id: is reserved: no consumer group decides what is read"),
      Fault("bootstrap.servers:", "client.id:", "does not say where the brokers are"),
      Fault("${BROKERS:-localhost:9092}", "${BROKERS}", "needs the environment variable BROKERS, which is not set"),
      Fault("/run/secret", "/run/other", "names the file /run/other, which cannot be read"),
      Fault("window: { tumbling: 5m }\n", "", "aggregate: needs a window"),
      Fault("name: calls", "name: Calls!", "jobs/calls.yaml:1: name: \"Calls!\" is no name for a job"),
      Fault("output: {", "retention: 7d\noutput: {", "retention: is not built yet: windows are kept for ever"),
      Fault("format: csv }", "keep: each }", "output.keep: \"each\" is for batch windows and row jobs"),
      Fault("output: { to:", "output: { mode: append, to:", "output.mode: \"append\" is no mode. Use overwrite"),
      Fault("name: calls\n", "name: calls\nname: again\n", "stands there twice"), Fault("output: {", "output: {{", "is not YAML"),
      Fault("output: {", "rejects: { max_share: 200% }\noutput: {", "rejects.max_share: \"200%\" is not a share. Write for example 10%"),
      Fault("output: {", "limits: { batch_bytes: lots }\noutput: {", "\"lots\" is not a number of bytes"),
      Fault("output: {", "trigger: { max_offsets: 0 }\noutput: {", "trigger.max_offsets: \"0\" is not a whole number from 1 to 10000000"),
      Fault("to: \"s3", "s3: { endpoint: \"ftp://x\" }, to: \"s3", "output.s3.endpoint: \"ftp://x\" is no address of a server"),
      Fault(
        "to: \"s3", "s3: { endpoint: \"http://x/v1/s3\" }, to: \"s3", "is no address of a server. Write http://HOST:PORT or https://HOST, w"
      ),
      Fault("to: \"s3", "s3: { endpoint: \"http://u:hunter2@x\" }, to: \"s3", "output.s3.endpoint: holds a user name or password"),
      Fault("format: csv }", "publish: sometimes }", "output.publish: \"sometimes\" does not say when to publish. Write batch, run_end or"),
      Fault("format: csv }", "publish: every 5 }", "output.publish: \"every 5\" does not say when to publish"),
      Fault("to: \"s3", "s3: { credentials: { access_key_id: AKIA } }, to: \"s3", "output.s3.credentials: is not complete"),
      Fault("time_taken: \"int64?\"", "record_offset: int64", "is a field that every message has"),
    ])
  func refused(fault: Fault) {
    #expect(example.contains(fault.old))
    let found = faults(example.replacing(fault.old, with: fault.new))
    #expect(found.contains(fault.message), "\(found)")
  }

  @Test("tells of several faults at a time, in the order of their lines")
  func several() {
    let found = faults(
      example.replacing("format: csv\n", with: "format: cvs\n").replacing("tumbling: 5m", with: "tumbling: x").replacing(
        "calls: count()", with: "calls: foo()"))
    #expect(found.split(separator: "\n").map { $0.prefix(18) } == ["jobs/calls.yaml:7:", "jobs/calls.yaml:9:", "jobs/calls.yaml:13"])
  }

  @Test("may name measures before keys, and a name that both take is a fault, not a crash")
  func order() {
    let swapped = example.replacing("  by: [api_id]\n", with: "")
      .replacing("sum(time_taken) }\n", with: "sum(time_taken), API_ID: count() }\n  by: [api_id]\n")
    #expect(faults(swapped).contains("\"API_ID\" names two columns"))
  }

  @Test("never shows a secret", arguments: ["\u{1}", " not a value: [", "x"])
  func secrets(suffix: String) {
    let secret = "hunter2" + suffix
    let text = example.replacing("s3://test-bucket/out", with: "nowhere")
      .replacing("output: {", with: "output: { s3: { credentials: { profile: [\"\(secret)\"], secret_access_key: \"\(secret)\" } },")
    #expect(!faults(text).contains("hunter2"))
  }

  @Test("dumped or printed shows no value of a property and no key")
  func dumped() throws {
    let job = try parse(
      example.replacing("output: {", with: "output: { s3: { credentials: { access_key_id: AKIA, secret_access_key: hunter2 } },"))
    var text = "\(job)"
    dump(job, to: &text)
    #expect(!text.contains("hunter2"))
    #expect(!faults(example.replacing("properties: {", with: "properties: \"sasl.password=hunter2\" #")).contains("hunter2"))
  }

  @Test("takes a window from a variable, a secret whose file ends in CRLF, and when to publish")
  func substituted() throws {
    let job = try parse(
      example.replacing("window: { tumbling: 5m }", with: "window: \"${W:-global}\"").replacing(
        "format: csv }", with: "publish: every 30s }"),
      files: ["/run/secret": "hunter2\r\n"])
    #expect(job.window == .global)
    #expect(job.clusters[0].properties["sasl.password"] == "hunter2")
    #expect(job.output.publish == .every(milliseconds: 30_000))
  }

  @Test("that is empty, too large or no mapping is refused")
  func odd() {
    #expect(faults("").contains("the file is empty"))
    #expect(faults("just text").contains("is not a mapping"))
    #expect(faults("- a\n- b").contains("is not a mapping"))
    #expect(faults(String(repeating: "#", count: 1_100_000)).contains("is larger than"))
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
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".yaml") }
    #expect(files.count >= 2)
    for file in files {
      let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
      _ = try JobFile.parse(text: text, path: file, environment: [:], readFile: { _ in nil })
    }
  }

  @Test("has the committed JSON Schema; `make golden` rewrites it")
  func schema() throws {
    let committed = try String(contentsOf: root().appendingPathComponent("jobs/job.schema.json"), encoding: .utf8)
    #expect(committed == JobSchema.json())
    #expect(try JSONSerialization.jsonObject(with: Data(committed.utf8)) is [String: Any])
  }
}

@Suite("A change of the job file between runs")
struct JobChangeTests {
  private func effects(_ old: String, _ new: String) throws -> Set<ChangeEffect> {
    #expect(example.contains(old))
    let changes = JobChange.compare(
      old: try parse(example).canonicalSettings, new: try parse(example.replacing(old, with: new)).canonicalSettings)
    return Set(changes.map(\.effect))
  }

  @Test(
    "is refused where it changes the meaning of the state",
    arguments: [
      ("by: [api_id]", "by: [at]"), ("calls: count()", "n: count()"), ("time_taken >= 0", "time_taken > 0"),
      ("tumbling: 5m", "tumbling: 1m"),
      ("topics: [orders]", "topics: [others]"), ("api_id: int32", "api_id: int64"), ("format: csv\n", "format: json\n"),
      ("\"int64?\"", "int64"), ("sasl.password:", "isolation.level: read_uncommitted, sasl.password:"),
    ])
  func refused(old: String, new: String) throws {
    #expect(try effects(old, new).contains(.refuse))
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
    for key in try parse(example).canonicalSettings.keys where key != "decoder" && !key.hasPrefix("source.kafka[") {
      #expect(JobKeys.key(key) != nil, "\(key)")
    }
    #expect(Set(JobKeys.all.map(\.path)).count == JobKeys.all.count)
  }

  @Test("never shows or stores a secret")
  func secrets() throws {
    #expect(!"\(try parse(example).canonicalSettings)".contains("hunter2"))
  }
}
