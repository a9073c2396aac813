import Expressions
import Formats
import Foundation
import Offsets
import Tables
import TestSupport
import Testing
import Windows

@testable import Jobs

/// 2026-11-23T10:00:00Z
private let now: Int64 = 1_795_428_000_000

private func drawnMessages(_ values: [String], time: Int64? = now) -> [CopiedMessage] {
  values.enumerated().map { index, value in
    CopiedMessage(
      partition: PartitionID(source: "main", topic: "calls", partition: 0),
      offset: 100 + Int64(index), timestampMilliseconds: time, key: nil, value: Array(value.utf8))
  }
}

private func draft(
  _ shape: SampleShape?, name: String = "calls", topic: String = "calls",
  properties: [(name: String, value: String)] = []
) -> String {
  JobDraft(
    name: name,
    source: JobDraft.Source(brokers: "localhost:9092", topic: topic, properties: properties),
    commands: ["tranche validate calls.yaml"], shape: shape
  ).text
}

private func parsed(_ text: String, environment: [String: String] = [:]) throws -> Job {
  try JobFile.parse(
    text: text, path: "calls.yaml", environment: environment, readFile: { _ in "a secret" })
}

/// What the job makes of the messages: decoded records and rejects.
private func decoded(_ messages: [CopiedMessage], by job: Job) -> RecordBatch {
  let names = job.columnsRead
  var decoder = RecordDecoder(
    format: job.format, envelope: job.envelope, fields: job.fields, csv: job.csv,
    tombstones: job.tombstones,
    messageFields: MessageField.allCases.filter { names.contains($0.rawValue) },
    requiredTimeColumn: job.window.timeColumn,
    futureLimitMilliseconds: job.limits.futureMilliseconds,
    recordByteLimit: Int(job.limits.recordBytes))
  var batch = RecordBatch(decoder.schema)
  messages.withMessages {
    decoder.decode($0, topic: "calls", partition: 0, partitionIndex: 0, into: &batch)
  }
  return batch
}

/// Random topics whose records all look alike.
private struct DrawnTopic {
  let format: InputFormat
  let messages: [CopiedMessage]
  let recordCount: Int

  private enum Kind: CaseIterable {
    case integer, label, double, amount, bool, text, word, time, seconds, milliseconds, empty
    case quotedInteger
  }

  init(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let format: InputFormat = random.next() % 2 == 0 ? .csv : .json
    self.format = format
    let names = [
      "id", "order", "select", "y", "null", "window_start", "total", "records", "percentage",
      "user-id", "Time", "time_taken", "record_key", "übung", "a\nb: c #", "records_is_null", "ts",
      "group", "1st", "route", "status", "${x}", "it's \\", String(repeating: "n", count: 70), "",
    ]
    let count = 1 + Int(random.next() % 7)
    let fields = (0..<count).map { index in
      // An empty line is no record.
      let isAlone = format == .csv && count == 1
      return (
        name: names[(Int(random.next() % 25) + index) % names.count],
        kind: isAlone ? .word : Kind.allCases[Int(random.next() % UInt64(Kind.allCases.count))],
        isNullable: random.next() % 3 == 0, isNested: random.next() % 4 == 0
      )
    }
    recordCount = 1 + Int(random.next() % 60)
    let isQuoted = random.next() % 4 == 0
    var values: [String] = []
    for _ in 0..<recordCount {
      var record: [String] = []
      var used: Set<String> = []
      for field in fields {
        let isNull = field.isNullable && random.next() % 4 == 0
        let value = Self.value(field.kind, &random, format)
        switch format {
        case .json:
          guard used.insert(field.name).inserted else { continue }
          if isNull && random.next() % 2 == 0 { continue }
          let member = "\(JSONText.quoted(field.name)):\(isNull ? "null" : value)"
          record.append(field.isNested ? "\"in\(record.count)\":{\(member)}" : member)
        case .csv:
          let isPlain = !value.hasPrefix("\"")
          record.append(
            isNull ? "\\N" : isQuoted && isPlain ? "\"\(value)\"" : value)
        }
      }
      values.append(
        format == .json ? "{\(record.joined(separator: ","))}" : record.joined(separator: ","))
    }
    // Some messages hold several records.
    var joined: [String] = []
    for value in values {
      if !joined.isEmpty, random.next() % 3 == 0 {
        joined[joined.count - 1] += "\n" + value
      } else {
        joined.append(value)
      }
    }
    let time: Int64? = random.next() % 5 == 0 ? nil : now
    messages = drawnMessages(joined, time: time)
  }

  private static func value(
    _ kind: Kind, _ random: inout SeededRandom, _ format: InputFormat
  ) -> String {
    let number = random.next() % 100_000
    switch kind {
    case .integer: return "\(Int64(number) - 50_000)"
    case .label: return "\(number % 5)"
    case .double: return "\(Double(number) / 37)"
    case .amount: return "\(number).\(10 + number % 90)"
    case .bool: return number % 2 == 0 ? "true" : "false"
    case .text: return format == .json ? "\"t \(number) \\u00e9\"" : "\"t, \"\"\(number)\"\"\nx\""
    case .word: return format == .json ? "\"w\(number % 4)\"" : "w\(number % 4)"
    case .time: return "\"2026-11-23 0\(number % 10):0\(number % 7):00\""
    case .seconds: return "\(now / 1_000 - Int64(number))"
    case .milliseconds: return "\(now - Int64(number))"
    case .empty: return format == .json ? "null" : ""
    case .quotedInteger: return "\"\(number)\""
    }
  }
}

@Suite("A first job file")
struct JobDraftTests {
  @Test(
    """
    of a sample whose records look alike is valid, and its job decodes every record: none is a \
    reject
    """, arguments: 0..<40)
  func everyRecordDecodes(block: Int) throws {
    var draftCount = 0
    for seed in block * 50..<block * 50 + 50 {
      let topic = DrawnTopic(seed: UInt64(seed))
      let shape: SampleShape
      let text: String
      do {
        shape = try SampleShape(of: topic.messages)
        text = draft(shape)
      } catch {
        // Texts that look like no format, or nothing but arrays.
        continue
      }
      draftCount += 1
      let job = try parsed(text)
      #expect(job.format == topic.format, "seed \(seed)")
      let batch = decoded(topic.messages, by: job)
      #expect(batch.rejects.isEmpty, "seed \(seed): \(batch.rejects.prefix(2))\n\(text)")
      #expect(batch.rowCount == shape.recordCount, "seed \(seed)")
    }
    #expect(draftCount > 40)
  }

  @Test("holds no value of the topic, only names and counts")
  func noValues() throws {
    var random = SeededRandom(seed: 5)
    var secrets: [String] = []
    let values = (0..<200).map { index in
      let secret = "s\(random.next())"
      let number = random.next() >> 12
      secrets += [secret, "\(number)"]
      return "{\"user\":\"\(secret)\",\"card\":\(number),\"kind\":\"kind\(index % 3)x\"}"
    }
    let text = try draft(SampleShape(of: drawnMessages(values)))
    #expect(!secrets.contains(where: text.contains) && !text.contains("kind1x"))
    #expect(text.contains("200 different values") && text.contains("3 different values"))
  }

  @Test(
    "sees through what a connector wraps around records, and reads the rows of change events",
    arguments: [Envelope.connect, .debezium], [false, true])
  func envelopes(envelope: Envelope, isWrapped: Bool) throws {
    let values = (0..<60).map { index in
      let row = #"{"id":\#(index),"status":"s\#(index % 3)","unit price":"1.5\#(index % 10)"}"#
      let isDeletion = index % 5 == 0
      let event =
        envelope == .connect
        ? row
        : """
        {"before":\(isDeletion ? row : "null"),"after":\(isDeletion ? "null" : row),\
        "source":{"ts_ms":\(now - Int64(index) * 100),"db":"shop","table":"t"},\
        "op":"\(isDeletion ? "d" : "u")","ts_ms":\(now)}
        """
      return isWrapped ? #"{"schema":{"type":"struct","fields":[]},"payload":\#(event)}"# : event
    }
    let messages = drawnMessages(values)
    let text = try draft(SampleShape(of: messages))
    let job = try parsed(text)
    #expect(job.envelope == (isWrapped || envelope == .debezium ? envelope : nil))
    let spelled = job.canonicalSettings["source.fields"]
    if envelope == .connect {
      #expect(
        spelled
          == "id int64, status string, unit_price string from $['unit price']")
    } else {
      #expect(spelled?.hasPrefix("id int64, status string, unit_price ") == true, "\(text)")
      #expect(spelled?.contains("? from $.after['unit price'], op string from $.op") == true)
      #expect(spelled?.hasSuffix("timestamp(unix_milliseconds) from $.source.ts_ms") == true)
    }
    let batch = decoded(messages, by: job)
    #expect(batch.rejects.isEmpty && batch.rowCount == 60, "\(batch.rejects)")
    #expect(Set(batch.columns[0].integers) == Set(0..<60))
  }

  @Test("of access logs shares what the route takes, by the time of the event")
  func accessLogs() throws {
    let values = (0..<400).map { index in
      """
      {"ts":\(now - Int64(index) * 100),"route":"/r\(index % 20)","method":"\(index % 2)m",\
      "status":\(200 + index % 3),"request_id":\(1_000_000 + index),\
      "duration_ms":\(Double(index) / 8),"bytes":\(index * 7919 % 5000),\
      "user":{"id":\(index)},"tags":[1]}
      """
    }
    let text = try draft(SampleShape(of: drawnMessages(values)))
    let job = try parsed(text)
    #expect(job.window.canonicalText == "tumbling 300000ms by ts")
    #expect(job.aggregate?.by == ["route"])
    #expect(
      job.aggregate?.measures.map(\.description) == ["records count()", "total sum(duration_ms)"])
    #expect(job.select.map(\.expression.sql) == ["100.0 * total / sum(total) OVER ()"])
    for words in [
      "# What share of duration_ms does each route have, in every five minutes?",
      "# left out: tags holds arrays;", "user_id: { type: \"int64\", path: \"$.user.id\" }",
      "also: method (2), status (3)",
      "or of bytes", "400 of 400 records are objects", "#   tranche validate calls.yaml",
      "route: string                       # 20 different values",
    ] { #expect(text.contains(words), "\(words)\n\(text)") }
    #expect(!text.split(separator: "\n").contains { $0.count > 100 })
  }

  @Test("takes the message's own time where no field is near to it, and one window without any")
  func times() throws {
    func window(_ value: String, time: Int64? = now) throws -> String {
      try parsed(draft(SampleShape(of: drawnMessages([value, value], time: time)))).window
        .canonicalText
    }
    #expect(try window(#"{"born":"1990-01-01","n":1}"#) == "tumbling 300000ms by record_timestamp")
    #expect(try window(#"{"due":"2027-06-01","n":1}"#) == "tumbling 300000ms by record_timestamp")
    #expect(try window(#"{"n":1}"#, time: nil) == "global")
    #expect(try window(#"{"at":"1990-01-01"}"#, time: nil) == "tumbling 300000ms by at")
    #expect(
      try window(#"{"seen":"2026-11-01","at":"2026-11-23 09:59:59"}"#)
        == "tumbling 300000ms by at")
  }

  @Test("of CSV with a header calls the fields after it, and each differently")
  func csvNames() throws {
    let values = ["Order ID,order id.,%,record_key\n", "1,2.50,x,y\n", "2,3.25,x,z\n"]
    let sample = drawnMessages([values.joined(), values.joined()])
    let shape = try SampleShape(of: sample)
    #expect(shape.headerCount == 0, "a field called % is no name")
    let header = "Order ID,order id.,no,record_key\n1,2.50,x,y\n2,3.25,x,z\n"
    let named = try SampleShape(of: drawnMessages([header, header]))
    let job = try parsed(draft(named))
    #expect(job.fields.map(\.column.name) == ["order_id", "field_2", "no", "field_4"])
    #expect(
      job.csv.header == .perMessage && draft(named).contains("  csv: { header: per_message }"))
    let batch = decoded(drawnMessages([header, header]), by: job)
    #expect(batch.rowCount == 4 && batch.rejects.isEmpty)
    // A header that not every message has is a reject, and is said to be one.
    let some = try SampleShape(of: drawnMessages([header, header, "3,3.25,x,z\n"]))
    #expect(draft(some).contains("which 2 records repeat. A header counts as a reject"))
    let tabs = try SampleShape(of: drawnMessages(["1\ta\n", "2\tb\n"]))
    #expect(draft(tabs).contains(#"  csv: { delimiter: "\t" }"#))
    #expect(try parsed(draft(tabs)).csv == CSVDialect(delimiter: 0x09))
  }

  @Test("skips the tombstones of a compacted topic, and says how many there were")
  func tombstones() throws {
    var sample = drawnMessages([#"{"id":1}"#, #"{"id":2}"#, #"{"id":3}"#])
    #expect(try !draft(SampleShape(of: sample)).contains("tombstones"))
    sample.append(
      CopiedMessage(
        partition: PartitionID(source: "main", topic: "calls", partition: 0), offset: 200,
        timestampMilliseconds: now, key: [0x31], value: nil))
    let text = try draft(SampleShape(of: sample))
    #expect(text.contains("# or reject: 1 message without a value"), "\(text)")
    let job = try parsed(text)
    #expect(job.tombstones == .skip)
    let batch = decoded(sample, by: job)
    #expect(batch.rowCount == 3 && batch.rejects.isEmpty && batch.tombstoneCount == 1)
  }

  @Test("without a sample is a template, which is valid as it stands")
  func template() throws {
    let text = draft(nil, topic: "TOPIC")
    let job = try parsed(text)
    #expect(job.name == "calls" && job.clusters[0].topics == ["TOPIC"])
    #expect(text.contains("# A template:"))
    #expect(!text.split(separator: "\n").contains { $0.count > 100 })
  }

  @Test("keeps references as they are, and no text of a name or property leaves its place")
  func references() throws {
    let text = draft(
      nil, topic: "1e3",
      properties: [
        ("sasl.password", "${PASSWORD}"), ("client.id", "a\"b\\c # d: e\u{7}\u{1B}"),
        ("no", "x\ny"),
      ])
    #expect(text.contains("sasl.password: \"${PASSWORD}\"") && !text.contains("hunter2"))
    let job = try parsed(text, environment: ["PASSWORD": "hunter2"])
    #expect(job.clusters[0].properties["sasl.password"] == "hunter2")
    #expect(job.clusters[0].properties["client.id"] == "a\"b\\c # d: e\u{7}\u{1B}")
    #expect(job.clusters[0].properties["no"] == "x\ny")
    #expect(job.clusters[0].topics == ["1e3"])
    let odd = try draft(
      SampleShape(of: drawnMessages([#"{"a":1,"x\ny: 1\u001b[0m":[]}"#, #"{"a":2}"#])))
    #expect(odd.contains(#"left out: x\ny: 1\u{1B}[0m holds arrays"#))
  }

  @Test(
    "is named after its topic",
    arguments: [
      ("orders", "orders"), ("Prod.Orders_V2", "prod.orders_v2"), ("__consumer", "consumer"),
      ("-", "calls"), (String(repeating: "a", count: 90), String(repeating: "a", count: 63)),
    ])
  func jobName(topic: String, name: String) {
    #expect(JobDraft.jobName(ofTopic: topic) == name)
  }
}
