import Formats
import Foundation
import Tables
import TestSupport
import Testing
import Windows

@testable import Jobs

/// What examples name.
private let environment = ["TOKEN": "x", "CREDENTIALS_DIRECTORY": "/run/credentials/x"]

/// Documents with every key of the job file at a value of one's choice.
private enum Document {
  private static let base = [
    "name": "calls", "source.format": "csv", "window": "batch",
    "source.fields": fields(with: ""),
    "source.kafka": cluster(["name": "main", "topics": "[t]"]),
    "aggregate.by": "[api_id]",
    "aggregate.measures": "{ calls: count(), time_taken: sum(time_taken) }",
    "output.to": "file:out",
  ]

  static func with(_ path: String, _ value: String) -> String {
    var settings = base
    switch path {
    case _ where path.hasPrefix("source.kafka[].properties.*"):
      settings["source.kafka"] = cluster([
        "properties": "{ bootstrap.servers: x, security.protocol: \(value) }"
      ])
    case _ where path.hasPrefix("source.kafka[]."):
      settings["source.kafka"] = cluster([String(path.dropFirst("source.kafka[].".count)): value])
    case "source.fields.*.type":
      settings["source.fields"] = fields(with: ", more: { type: \(value) }")
    case "source.fields.*.path":
      settings["source.format"] = "json"
      settings["source.fields"] = fields(with: ", more: { type: string, path: \(value) }")
    case "source.fields.*.header", "source.fields.*.key":
      settings["source.fields"] = fields(
        with: ", more: { type: string, \(path.split(separator: ".")[3]): \(value) }")
    case "source.fields.*": settings["source.fields"] = fields(with: ", more: \(value)")
    case "aggregate.measures.*": settings["aggregate.measures"] = "{ calls: \(value) }"
    case "select.*": settings["select"] = "{ more: \(value) }"
    case "select.*.sql": settings["select"] = "{ more: { sql: \(value), type: int64 } }"
    case "select.*.type": settings["select"] = "{ more: { sql: 1 + 1, type: \(value) } }"
    case "source.fields": settings[path] = value.replacing("}", with: ", called_at: timestamp }")
    case "source", "output": break
    default:
      if path.hasPrefix("window.") { settings["window.tumbling"] = "5m" }
      if path == "window.retention" { settings["window.allowed_lateness"] = "2h" }
      if path == "source.envelope" { settings["source.format"] = "json" }
      if path.hasPrefix("checkpoint.backup.") { settings["checkpoint.backup.to"] = "file:backups" }
      if path == "trigger.time_zone" { settings["trigger.cron"] = "\"@daily\"" }
      if path == "trigger.max_delay" { settings["trigger.min_offsets"] = "1" }
      if path == "trigger.min_offsets" { settings["trigger.max_offsets"] = "10000000" }
      if path.hasPrefix("output.s3.credentials."), !path.hasSuffix("profile") {
        settings["output.s3.credentials.access_key_id"] = "x"
        settings["output.s3.credentials.secret_access_key"] = "x"
      }
      settings[path] = value
    }
    return flow(settings.map { ($0.key.split(separator: ".")[...], $0.value) })
  }

  private static func fields(with more: String) -> String {
    "{ api_id: int32, time_taken: int64, called_at: timestamp\(more) }"
  }

  private static func cluster(_ values: [String: String]) -> String {
    let standard = ["name": "main", "properties": "{ bootstrap.servers: x }", "topics": "[t]"]
    let all = standard.merging(values) { _, given in given }
    return "[{ \(all.map { "\($0.key): \($0.value)" }.sorted().joined(separator: ", ")) }]"
  }

  /// A mapping out of paths and values; of a value and of keys below it, the keys.
  private static func flow(_ settings: [(ArraySlice<Substring>, String)]) -> String {
    let groups = Dictionary(grouping: settings) { $0.0.first ?? "" }
    let entries = groups.sorted { $0.key < $1.key }.map { name, settings in
      let below = settings.filter { $0.0.count > 1 }.map { ($0.0.dropFirst(), $0.1) }
      return "\(name): \(below.isEmpty ? settings[0].1 : flow(below))"
    }
    return "{ \(entries.joined(separator: ", ")) }"
  }
}

private func parse(
  _ text: String, environment variables: [String: String] = environment, file: String = "x"
) throws -> Job {
  try JobFile.parse(
    text: text, path: "calls.yaml", environment: variables, readFile: { _ in file },
    isTimeZone: ["UTC", "Europe/Berlin"].contains)
}

private func committed(_ path: String) throws -> String {
  let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
}

@Suite("The table of keys")
struct JobKeyTableTests {
  @Test("holds each key once, below one that is an object, a list or a map")
  func paths() {
    #expect(Set(JobKeys.all.map(\.path)).count == JobKeys.all.count)
    for key in JobKeys.all where key.path != key.name {
      let parent = String(key.path.dropLast(key.name.count + 1))
      let above = JobKeys.key(parent) ?? JobKeys.key(parent.replacing("[]", with: ""))
      #expect(above != nil, "\(key.path)")
    }
  }

  @Test("holds what the parser asks for, no key more and no key less")
  func asked() throws {
    var asked: Set<String> = []
    for key in JobKeys.all where !key.example.contains("...") {
      let reader = YAMLReader(
        file: "calls.yaml",
        references: References(environment: environment, readFile: { _ in "x" }))
      let root = try #require(reader.root(Document.with(key.path, key.example)))
      var parser = JobParser(
        reader, checkProperties: { _ in [] }, fileFault: { _ in nil }, isTimeZone: { _ in true })
      _ = parser.parse(root, fallbackName: "calls")
      asked.formUnion(reader.asked)
    }
    #expect(asked == Set(JobKeys.all.map(\.path)))
  }

  @Test("lets the parser ask for no other key")
  func unknown() async {
    await #expect(processExitsWith: .failure) {
      let reader = YAMLReader(
        file: "x", references: References(environment: [:], readFile: { _ in nil }))
      _ = reader.emptyObject("output").entry("colour")
    }
  }

  @Test("has an example for each key that a job file may hold", arguments: JobKeys.all.map(\.path))
  func examples(path: String) throws {
    let key = try #require(JobKeys.key(path))
    #expect(!key.example.isEmpty && !key.summary.isEmpty)
    guard !key.example.contains("...") else { return }
    _ = try parse(Document.with(path, key.example))
  }

  @Test("states the default that holds where the file says nothing")
  func defaults() throws {
    let plain = try parse(Document.with("name", "calls"))
    var count = 0
    for key in JobKeys.all {
      guard case .value(let value) = key.default else { continue }
      count += 1
      // A comma and a quote are texts only in quotes.
      let spelled = key.kind == .text ? JSONText.quoted(value) : value
      let said = try parse(Document.with(key.path, spelled))
      // Of these the plain document has no object that they could stand in.
      if ["window.time", "select.*.type", "trigger.time_zone"].contains(key.path) { continue }
      if key.path.hasPrefix("checkpoint.backup.") { continue }
      if key.path == "trigger.min_offsets" {
        #expect(said.holdBack == plain.holdBack)
        continue
      }
      #expect("\(said)" == "\(plain)", "\(key.path): \(value)")
    }
    #expect(count > 15)
  }

  @Test("states the bounds that hold")
  func bounds() throws {
    for key in JobKeys.all {
      let range: ClosedRange<Int64>
      switch key.kind {
      case .integer(let bounds), .size(let bounds): range = bounds
      case .object, .list, .map, .text, .duration, .share, .choice, .flag, .wordOrObject,
        .textOrObject:
        continue
      }
      for value in [range.lowerBound, range.upperBound] {
        _ = try parse(Document.with(key.path, "\(value)"))
      }
      for value in ["\(range.lowerBound - 1)", "\(Double(range.upperBound) + 1)", "x", "-1"] {
        #expect(throws: JobFileErrors.self, "\(key.path): \(value)") {
          _ = try parse(Document.with(key.path, value))
        }
      }
    }
  }

  @Test("keeps what is secret out of every message and out of the checkpoint")
  func secrets() throws {
    for key in JobKeys.all where key.secrecy != .open {
      for value in ["hunter2", "[hunter2]", "{ hunter2: hunter2 }", "\"hunter2 ${\""] {
        do {
          let job = try parse(Document.with(key.path, value))
          #expect(!"\(job) \(job.canonicalSettings)".contains("hunter2"), "\(key.path): \(value)")
        } catch {
          let words = "\(error)".replacing(".hunter2:", with: ":")
          #expect(!words.contains("hunter2"), "\(key.path): \(error)")
        }
      }
    }
  }

  /// What says how to connect, and is no secret: it may be kept and shown.
  private static let places = [
    "source.kafka[].topics", "output.to", "output.s3.endpoint", "output.s3.region",
    "output.s3.ca_file", "output.s3.credentials.profile",
  ]

  @Test(
    """
    lets no message show what ${...} stands for, and lets the checkpoint keep it only where it \
    says how to connect
    """, arguments: ["${MARK}", "x${file:/mark}", "'${MARK}' = 'x'"])
  func references(reference: String) throws {
    var acceptedCount = 0
    for key in JobKeys.all {
      let isList = if case .list = key.kind { true } else { false }
      for value in isList ? ["[\"\(reference)\"]", "\"\(reference)\""] : ["\"\(reference)\""] {
        do {
          let job = try parse(
            Document.with(key.path, value), environment: ["MARK": "hunter2"], file: "hunter2\n")
          acceptedCount += 1
          #expect(key.takesReferences, "\(key.path): \(value)")
          guard !Self.places.contains(key.path) else { continue }
          let kept = "\(job) \(job.canonicalSettings)"
          #expect(!kept.contains("hunter2"), "\(key.path): \(kept)")
        } catch {
          #expect(!"\(error)".contains("hunter2"), "\(error)")
          guard !key.takesReferences, !isList || value.hasPrefix("[") else { continue }
          #expect("\(error)".contains("\(reference)\" holds ${...}, and what it"), "\(error)")
        }
      }
    }
    #expect(acceptedCount > 0)
  }

  @Test("shows a value that came from ${...} as the file has it")
  func shownReference() {
    let message = """
      calls.yaml:1: output.format: "${FORMAT}" is not one of the values. Use parquet, csv, json
      """
    #expect {
      try parse(Document.with("output.format", "\"${FORMAT}\""), environment: ["FORMAT": "hunter2"])
    } throws: {
      "\($0)" == message
    }
    // Its own name is no such value.
    #expect {
      try parse(
        Document.with("aggregate.measures", "{ \"1x\": \"${COUNT}\" }"),
        environment: ["COUNT": "count()"])
    } throws: {
      "\($0)".contains("\"1x\" is not a valid column name")
    }
  }
}

@Suite("docs/job-file.md")
struct JobReferenceTests {
  @Test("is the table of keys; `make golden` rewrites it")
  func fresh() throws {
    #expect(try committed("docs/job-file.md") == JobReference.markdown())
  }

  @Test("has every key, type, function, reason and limit")
  func complete() {
    let text = JobReference.markdown()
    for key in JobKeys.all { #expect(text.contains("`\(key.path)`"), "\(key.path)") }
    for type in FieldType.all { #expect(text.contains("| `\(type.spelling)` |")) }
    for usage in Measure.functions.flatMap({ $0.usages }) { #expect(text.contains("`\(usage)`")) }
    for reason in Reject.Reason.allCases { #expect(text.contains("| `\(reason.rawValue)` |")) }
    #expect(text.contains("1 MiB") && text.contains("row_number") && text.contains("32"))
  }

  @Test("begins with a job that is valid")
  func example() throws {
    #expect(JobReference.markdown().contains(JobReference.example))
    #expect(try parse(JobReference.example).name == "api-time-share")
  }

  @Test("like every job in jobs/ and the README, reads the same in PyYAML")
  func otherReaders() throws {
    var texts = [JobReference.example]
    for file in [
      "jobs/api-time-share.yaml", "jobs/batch-share.yaml", "jobs/clickhouse/shares-csv.yaml",
      "jobs/clickhouse/shares-json.yaml",
    ] {
      texts.append(try committed(file))
    }
    for document in ["README.md", "docs/job-file.md"] {
      let parts = try committed(document).split(separator: "```yaml\n").dropFirst()
      texts += parts.compactMap { $0.split(separator: "```").first.map(String.init) }
    }
    // Every example of a key, in braces, as people copy it.
    let examples = JobKeys.all.filter { !$0.example.contains("...") }
    texts += examples.map { Document.with($0.path, $0.example) }
    let lines = try TestStack().python(
      "JobsTests/job_files.py", [], input: texts.joined(separator: "\0")
    ).split(separator: "\n")
    #expect(lines.count == texts.count)
    for (text, line) in zip(texts, lines) {
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      #expect(object?["source"] is [String: Any], "\(text): \(line)")
    }
  }

  @Test("lists the field types that the parser takes")
  func types() {
    for (spelling, _) in FieldType.all {
      let spelled = spelling.replacing("(p,s)", with: "(9,2)")
      for text in [spelled, spelled + "?"] {
        #expect(FieldType.field(text, named: "a", path: nil) != nil)
      }
    }
  }
}
