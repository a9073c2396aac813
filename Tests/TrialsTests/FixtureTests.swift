import Checkpoints
import Engine
import Formats
import Jobs
import Offsets
import Tables
import TestSupport
import Testing

@testable import Trials

@Suite("A fixture")
struct FixtureTests {
  private func job(_ window: String = "global", format: String = "csv") throws -> Job {
    try JobFile.parse(
      text: """
        name: calls
        source:
          kafka:
            - { name: main, properties: { bootstrap.servers: "x:1" }, topics: [a, b] }
            - { name: other, properties: { bootstrap.servers: "x:2" }, topics: [b, c] }
          format: \(format)
          fields: { id: int32, at: timestamp? }
        trigger: { max_offsets: 2 }
        window: \(window)
        aggregate: { by: [id], measures: { calls: count() } }
        rejects: { policy: fail }
        output: { to: "file:out" }
        """, path: "calls.yaml", environment: [:], readFile: { _ in nil })
  }

  private func messages(_ text: String, _ job: Job, now: Int64? = 5) throws -> [CopiedMessage] {
    try FixtureMessages(messages: Array(text.utf8), job: job, now: now).messages
  }

  private func message(
    _ topic: String = "a", source: String = "main", partition: Int32 = 0, offset: Int64 = 0,
    time: Int64? = 5, key: String? = nil, value: String?, headers: [MessageHeaders.Header] = []
  ) -> CopiedMessage {
    CopiedMessage(
      partition: PartitionID(source: source, topic: topic, partition: partition), offset: offset,
      timestampMilliseconds: time, key: key.map { Array($0.utf8) },
      value: value.map { Array($0.utf8) }, headers: headers)
  }

  @Test("of records makes each a message of the first topic, at the time of the case")
  func records() throws {
    let text = Array("1,\r\n\n2,\"x\ny\"\n3,".utf8)
    let fixture = try FixtureMessages(records: text, job: try job(), now: 5)
    #expect(
      fixture.messages == [
        message(value: "1,"), message(offset: 1, value: "2,\"x\ny\""),
        message(offset: 2, value: "3,"),
      ])
    // In JSON a line end ends a record, whatever stands before it.
    let json = try FixtureMessages(
      records: Array("{\"a\": \"\n}".utf8), job: try job(format: "json"), now: nil)
    #expect(json.messages.map(\.value?.count) == [7, 1])
    #expect(json.messages.allSatisfy { $0.timestampMilliseconds == nil })
  }

  @Test("of messages gives each what it says, and what it does not say from the job and the case")
  func whole() throws {
    let read = try messages(
      #"""
      {"value": "1,"}
      {"value": {"id": 1.50, "at": null}, "timestamp": "1970-01-01T00:00:01Z", "key": "k"}
      {"value": null, "partition": 3, "offset": 70, "timestamp": 1500, "other": true}
      {"value": "", "partition": 3, "offset": 7}
      {"value_base64": "AAH/", "partition": 3, "timestamp": null, "offset": 71}
      {"value": "c", "topic": "c"}
      {"value": "b", "topic": "b", "source": "other", "headers": [{"name": "h", "value": "v"}]}
      """#, try job())
    #expect(
      read == [
        message(value: "1,"),
        message(offset: 1, time: 1_000, key: "k", value: #"{"id": 1.50, "at": null}"#),
        message(partition: 3, offset: 7, value: ""),
        message(partition: 3, offset: 70, time: 1_500, value: nil),
        CopiedMessage(
          partition: PartitionID(source: "main", topic: "a", partition: 3), offset: 71,
          timestampMilliseconds: nil, key: nil, value: [0, 1, 255]),
        message(
          "b", source: "other", value: "b",
          headers: [MessageHeaders.Header(name: "h", value: Array("v".utf8))]),
        message("c", source: "other", value: "c"),
      ])
  }

  @Test(
    "names the line of what cannot be a message",
    arguments: [
      ("{", "is not a JSON object"), ("[1]", "is not a JSON object"),
      (#"{"id": 7}"#, "has neither value nor value_base64"),
      (#"{"value": "", "timestamp": "noon"}"#, "has no valid timestamp"),
      (#"{"value": "", "timestamp": 1.5}"#, "has no valid timestamp"),
      (#"{"value": "", "partition": 1000}"#, "has no valid partition"),
      (#"{"value": "", "partition": -1}"#, "has no valid partition"),
      (#"{"value": "", "offset": 1e3}"#, "has no valid offset"),
      (#"{"value": "", "offset": 9223372036854775807}"#, "has no valid offset"),
      (#"{"value": "", "offset": 0}"#, "main/a[0] has a message at 0 and one at 0"),
      (#"{"value": "", "offset": 9000000000}"#, "main/a[0] has a message at 0 and one at"),
      (#"{"value": "", "topic": "z"}"#, "names a source or topic that the job does not read"),
      (#"{"value": "", "topic": "c", "source": "main"}"#, "names a source or topic"),
      (#"{"value_base64": "?"}"#, "has no valid value_base64"),
      (#"{"value": "", "headers": {"a": 1}}"#, "has no valid headers"),
    ])
  func faults(_ line: String, _ problem: String) throws {
    do {
      _ = try messages("{\"value\": \"\"}\n\n\(line)", try job())
      Issue.record("\(line) is taken")
    } catch let fault as FixtureMessages.Fault {
      #expect(fault.line == 3)
      #expect(fault.problem.hasPrefix(problem), "\(fault.problem)")
    }
  }

  @Test("of any bytes gives messages or a fault")
  func mutated() throws {
    let whole = Array(
      #"""
      {"value": {"id": 1.50}, "timestamp": "1970-01-01T00:00:01Z", "key": "k\u00e9", "offset": 7}
      {"value_base64": "AAH/", "partition": 3, "timestamp": null, "headers": [{"name": "h"}]}
      """#.utf8)
    let job = try job()
    var random = SeededRandom(seed: 5)
    var faultCount = 0
    for _ in 0..<5_000 {
      var bytes = whole
      for _ in 0...Int.random(in: 0...3, using: &random) {
        let place = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        default: bytes.insert(bytes[Int.random(in: bytes.indices, using: &random)], at: place)
        }
      }
      do { _ = try FixtureMessages(messages: bytes, job: job, now: 5) } catch { faultCount += 1 }
      _ = CSVTable(bytes, schema: Schema([ColumnDefinition("c", .string)]))
    }
    #expect(faultCount > 100 && faultCount < 5_000)
  }

  @Test("has one header in its file of records where each message has one")
  func header() throws {
    let headed = try job(format: "csv\n  csv: { header: per_message, quote: \"'\" }")
    let text = "at,id\n'1970-01-01\n',1\n\n,2\n"
    let values = try FixtureMessages(records: Array(text.utf8), job: headed, now: 5).messages
      .map { String(decoding: $0.value ?? [], as: UTF8.self) }
    #expect(values == ["at,id\n'1970-01-01\n',1", "at,id\n,2"])
  }

  @Test("must say the times of messages where the job's windows go by them")
  func times() throws {
    let byMessage = try job("{ tumbling: 5m }")
    #expect(throws: FixtureMessages.Fault.self) {
      try FixtureMessages(records: Array("1,".utf8), job: byMessage, now: nil)
    }
    #expect(throws: FixtureMessages.Fault.self) {
      try messages(#"{"value": "1,"}"#, byMessage, now: nil)
    }
    // A message without a time is what a case may be about.
    #expect(try messages(#"{"value": "1,", "timestamp": null}"#, byMessage, now: nil).count == 1)
    let byField = try job("{ tumbling: 5m, time: at }")
    #expect(try messages(#"{"value": "1,"}"#, byField, now: nil)[0].timestampMilliseconds == nil)
  }

  @Test("goes through the job in batches of its size, and gives the results that objects have")
  func trial() throws {
    let (job, folder) = (try job("{ tumbling: 5m, time: at }"), try TemporaryFolder())
    let fixture = Fixture(files: [
      "records.csv": Array("1,1970-01-01 00:01:00\n1,\n1,1970-01-01 00:06:00\n1,x\n1,0\n".utf8),
      "now": Array("1970-01-01T00:00:00Z\n".utf8),
    ])
    let trial = try Trial(
      of: job, on: try fixture.messages(for: job).messages, folder: folder.path,
      now: try #require(try fixture.now()), nanoseconds: { 0 }, release: "test")
    #expect(trial.errors.isEmpty)
    #expect(trial.summary.batchCount == 3 && trial.summary.rejectedCount == 3)
    #expect(
      trial.results.map(\.name) == [
        "window_start=1970-01-01T00-00-00Z", "window_start=1970-01-01T00-05-00Z",
      ])
    #expect(trial.results[0].title.hasPrefix("window 1970-01-01T00:00:00.000Z to "))
    #expect(
      trial.rejects.map { "\($0.offset) \($0.reason)" } == [
        "1 missingTimestamp", "3 wrongType", "4 wrongType",
      ])

    // Nothing was expected; what --update writes is.
    let differences = fixture.differences(from: trial)
    #expect(
      differences == [
        .init(
          file: "expected/window_start=1970-01-01T00-00-00Z.csv", kind: .unexpected(rowCount: 1)),
        .init(
          file: "expected/window_start=1970-01-01T00-05-00Z.csv", kind: .unexpected(rowCount: 1)),
        .init(file: "rejects.csv", kind: .unexpected(rowCount: 3)),
      ])
    var files = fixture.files
    for (name, bytes) in fixture.update(from: trial) { files[name] = bytes }
    #expect(Fixture(files: files).differences(from: trial) == [])
    #expect(
      String(decoding: files["rejects.csv"] ?? [], as: UTF8.self) == """
        topic,partition,offset,record,reason,field
        a,0,1,0,missingTimestamp,at
        a,0,3,0,wrongType,at
        a,0,4,0,wrongType,at

        """)

    // Each change of an expectation is told.
    func differing(_ name: String, _ text: String?) -> [Fixture.Difference.Kind] {
      var changed = files
      changed[name] = text.map { Array($0.utf8) }
      return Fixture(files: changed).differences(from: trial).map(\.kind)
    }
    let name = "expected/window_start=1970-01-01T00-05-00Z.csv"
    #expect(
      differing(name, "id,calls\n1,2\n") == [
        .rows(
          header: "id,calls", [TableDifference(row: 1, expected: "1,2", got: "1,1")])
      ])
    #expect(differing(name, "id,calls\n1,1\r\n") == [])
    #expect(
      differing(name, "id,call\n1,1\n") == [
        .header(found: ["id", "call"], expected: ["id", "calls"])
      ])
    #expect(
      differing(name, "id,calls\n1,one\n")
        == [.unreadable(row: 1, reason: "wrongType", column: "calls")])
    #expect(differing(name, nil) == [.unexpected(rowCount: 1)])
    #expect(differing("expected/window_start=1970-01-01T00-10-00Z.csv", "id,calls\n") == [.missing])
    #expect(differing("rejects.csv", nil) == [.unexpected(rowCount: 3)])
  }

  @Test("calls a single result expected.csv, and removes what it no longer expects")
  func single() throws {
    let (job, folder) = (try job("{ tumbling: 5m, time: at }"), try TemporaryFolder())
    let fixture = Fixture(files: [
      "records.csv": Array("1,1970-01-01 00:01:00\n".utf8),
      "rejects.csv": Array("topic,partition,offset,record,reason,field\n".utf8),
      "expected.csv": Array("id,calls\n1,1\n".utf8),
    ])
    let trial = try Trial(
      of: job, on: try fixture.messages(for: job).messages, folder: folder.path, now: 0,
      nanoseconds: { 0 }, release: "test")
    #expect(fixture.differences(from: trial) == [])
    let update = fixture.update(from: trial)
    #expect(Set(update.keys) == ["expected.csv", "rejects.csv"])
    #expect(update["rejects.csv"] == .some(nil))
    #expect(update["expected.csv"] == fixture.files["expected.csv"])
  }

  @Test("needs one file with messages, and a time where it has a clock")
  func files() throws {
    let job = try job()
    for files in [[], ["records.csv", "messages.jsonl"]] {
      let fixture = Fixture(files: Dictionary(uniqueKeysWithValues: files.map { ($0, []) }))
      #expect(throws: Fixture.Fault.self) { try fixture.messages(for: job) }
    }
    #expect(throws: Fixture.Fault.self) { try Fixture(files: ["now": [0x78]]).now() }
  }
}
