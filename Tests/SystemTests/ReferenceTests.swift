import Foundation
import TestSupport
import Testing

/// What `${...}` in a job file stands for may be a secret.
@Suite("What ${...} stands for")
struct ReferenceTests {
  struct Place: Sendable, CustomTestStringConvertible {
    let old, new: String
    let isValid: Bool
    var testDescription: String { new }
    init(_ old: String, _ new: String, isValid: Bool = false) {
      self.old = old
      self.new = new
      self.isValid = isValid
    }
  }

  private static let mark = "hunter2secret"

  private func job(_ scenario: Scenario) -> String {
    """
    name: job
    source:
      kafka:
        - name: main
          properties: { bootstrap.servers: "\(scenario.stack.broker)" }
          topics: [\(scenario.topic)]
      start: earliest
      on_data_loss: fail
      format: csv
      fields: { id: int32, name: string }
    trigger: { max_offsets: 1000 }
    window: { tumbling: 5m, time: record_timestamp }
    where: id > 0
    aggregate: { by: [id], measures: { calls: count() } }
    select:
      share: 1.0 * calls / sum(calls) OVER ()
      text: { sql: "'x'", type: string }
    output: { to: "file:out", format: csv, mode: overwrite, publish: batch }
    rejects: { policy: quarantine, max_share: 10%, min_records: 100 }
    limits: { record_bytes: 1MiB }

    """
  }

  @Test(
    "is in no message, no summary, no checkpoint and no object",
    arguments: [
      Place("name: job", "name: ${MARK}"), Place("name: main", "name: ${MARK}"),
      Place("properties: {", "properties: { client.id: \"${MARK}\",", isValid: true),
      Place("properties: {", "properties: { sasl.password: \"${MARK}\",", isValid: true),
      Place("properties: {", "properties: { ssl.key.password: \"${file:mark}\",", isValid: true),
      Place("properties: {", "properties: { fetch.min.bytes: \"${MARK}\","),
      Place("properties: {", "properties: { isolation.level: \"${MARK}\","),
      Place("properties: {", "properties: { ssl.ca.location: \"${MARK}\","),
      Place("start: earliest", "start: \"${MARK}\""),
      Place("on_data_loss: fail", "on_data_loss: \"${MARK}\""),
      Place("format: csv\n", "format: \"${MARK}\"\n"),
      Place("name: string", "name: \"${MARK}\""),
      Place("max_offsets: 1000", "max_offsets: \"${MARK}\""),
      Place("tumbling: 5m", "tumbling: \"${MARK}\""),
      Place("time: record_timestamp", "time: \"${MARK}\""),
      Place("window: {", "window: \"${MARK}\" #"),
      Place("id > 0", "name <> '${MARK}'"), Place("id > 0", "${MARK}"),
      Place("by: [id]", "by: [\"${MARK}\"]"), Place("by: [id]", "by: \"${MARK}\""),
      Place("count()", "\"${MARK}\""), Place("count()", "\"sum(${MARK})\""),
      Place("share: 1.0", "share: \"'${MARK}'\" # "),
      Place("sql: \"'x'\"", "sql: \"'${file:mark}'\""),
      Place("type: string", "type: \"${MARK}\""),
      Place("format: csv, mode", "format: \"${MARK}\", mode"),
      Place("mode: overwrite", "mode: \"${MARK}\""),
      Place("publish: batch", "publish: \"${MARK}\""),
      Place("policy: quarantine", "policy: \"${MARK}\""),
      Place("max_share: 10%", "max_share: \"${MARK}\""),
      Place("min_records: 100", "min_records: \"${MARK}\""),
      Place("record_bytes: 1MiB", "record_bytes: \"${MARK}\""),
      Place("publish: batch", "s3: { addressing: \"${MARK}\" }"),
      Place("publish: batch", "s3: { timeout: \"${MARK}\" }"),
      Place("publish: batch", "s3: { max_attempts: \"${MARK}\" }"),
      Place("publish: batch", "s3: { endpoint: \"${MARK}\" }"),
      Place("publish: batch", "s3: { endpoint: \"http://u:${MARK}@x\" }"),
      Place("publish: batch", "s3: { ca_file: \"${MARK}\" }"),
      Place("publish: batch", "s3: { region: \"${MARK} \" }"),
      Place("publish: batch", "s3: { credentials: \"${MARK}\" }"),
      Place("publish: batch", "s3: { credentials: { profile: \"${MARK}\" } }", isValid: true),
      Place(
        "publish: batch",
        "s3: { credentials: { access_key_id: \"${MARK}\", secret_access_key: \"${file:mark}\", "
          + "session_token: \"${MARK}\" } }", isValid: true),
      Place("file:out", "${MARK}"), Place("file:out", "s3://B/${MARK}"),
    ])
  func nowhere(place: Place) throws {
    let scenario = try Scenario()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,a\n2,b\n",
          "timestamp": Scenario.start,
        ],
      ])
    let text = job(scenario)
    #expect(text.contains(place.old))
    try scenario.folder.write(text.replacing(place.old, with: place.new), to: "job.yaml")
    // Beside the folder that is looked through.
    let files = try TemporaryFolder()
    try files.write(Self.mark + "\n", to: "mark")
    let path = scenario.folder.path + "/job.yaml"
    let written = try String(contentsOfFile: path, encoding: .utf8)
    try scenario.folder.write(
      written.replacing("file:mark", with: "file:\(files.path)/mark"), to: "job.yaml")
    for command in [
      ["validate"], ["plan"], ["run"], ["run", "--json"], ["status"], ["status", "--json"],
      ["show"],
    ] {
      let result = try scenario.stack.tranche(
        [command[0], "job.yaml"] + command.dropFirst(), in: scenario.folder.path,
        environment: ["MARK": Self.mark])
      for said in [result.output, result.errors] {
        #expect(!said.contains(Self.mark), "\(command): \(said)")
      }
      if command[0] == "run" || command[0] == "validate" {
        #expect(result.exitCode == (place.isValid ? 0 : 65), "\(command): \(result.errors)")
      }
    }
    let left = scenario.folder.files(below: "")
    #expect(left.keys.contains("out/window_start=2026-11-23T10-00-00Z/part-0.csv") == place.isValid)
    for (name, data) in left {
      #expect(data.range(of: Data(Self.mark.utf8)) == nil, "\(name)")
      #expect(!name.contains(Self.mark))
    }
  }
}
