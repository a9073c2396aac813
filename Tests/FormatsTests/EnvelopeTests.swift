import Formats
import Foundation
import Tables
import TestSupport
import Testing

private func decode(
  _ envelope: Envelope, _ fields: [InputField], _ text: String, key: String? = nil
) -> RecordBatch {
  decode(
    .json, fields, [(text, Beside(key: key.map { Array($0.utf8) }))], envelope: envelope)
}

private func nullable(_ name: String, _ path: String? = nil) -> InputField {
  InputField(
    ColumnDefinition(name, .string, isNullable: true), path: path.flatMap { JSONPath($0) })
}

@Suite("An envelope")
struct EnvelopeTests {
  /// As change_events.py lists them.
  private static let fields: [Envelope: [InputField]] = [
    .debezium: [
      nullable("id"), nullable("customer"), nullable("status"), nullable("amount"),
      nullable("old_status", "$.before.status"), nullable("new_status", "$.after.status"),
      nullable("op", "$.op"), nullable("at", "$.source.ts_ms"), nullable("table", "$.source.table"),
      nullable("transaction", "$.transaction.id"), nullable("row", "$.after"),
    ],
    .connect: [
      nullable("id"), nullable("status"), nullable("city", "$.at.place.city"),
      nullable("tag", "$.tags[1]"),
    ],
  ]

  @Test(
    """
    of Debezium's events for Postgres and MySQL, and of Kafka Connect's records, gives what an \
    independent parser finds in them: with schemas and without, with members in any order
    """)
  func oracle() throws {
    let script = "FormatsTests/change_events.py"
    let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("change-events.jsonl").path
    var lines: [String] = []
    for line in try TestStack().python(script, [corpus, "make"]).split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      let envelope = try #require(Envelope(rawValue: words[0]))
      let bytes = stride(from: 0, to: words[1].utf8.count, by: 2).map { index -> UInt8 in
        let start = words[1].index(words[1].startIndex, offsetBy: index)
        return UInt8(words[1][start..<words[1].index(start, offsetBy: 2)], radix: 16) ?? 0
      }
      let batch = decode(
        envelope, Self.fields[envelope] ?? [], String(decoding: bytes, as: UTF8.self))
      #expect(batch.rejects.allSatisfy { $0.reason == .malformed && $0.field == nil })
      let rows = (0..<batch.rowCount).map { row in
        batch.columns.map { $0.isNull[row] ? "-" : "=" + hexadecimal($0.text[row]) }
          .joined(separator: ",")
      }
      lines.append((words + rows + batch.rejects.map { _ in "x" }).joined(separator: " "))
    }
    let verdict = try TestStack().python(
      script, [corpus, "judge"], input: lines.joined(separator: "\n") + "\n")
    let counts = verdict.split(separator: "\n").last?.split(separator: " ").compactMap { Int($0) }
    #expect(verdict.split(separator: "\n").count == 1, "\(verdict)")
    let (read, rejected) = (try #require(counts?.first), try #require(counts?.last))
    #expect(read > 300 && rejected > 100)
  }

  @Test("of a deletion has the row as it was, and of any other change as it is then")
  func deletion() {
    let fields = [field("id", .int64), nullable("status"), nullable("gone", "$.after.status")]
    for (op, id, status) in [
      ("c", 2, "new"), ("u", 2, "new"), ("r", 2, "new"), ("d", 1, "old"), ("x", 2, "new"),
    ] as [(String, Int64, String)] {
      let text = """
        {"before":{"id":1,"status":"old"},"after":{"id":2,"status":"new"},"op":"\(op)"}
        """
      let batch = decode(.debezium, fields, text)
      #expect(batch.columns[0].integers == [id] && batch.columns[1].text[0] == status)
      // A path says where it leads.
      #expect(batch.columns[2].text[0] == "new")
    }
  }

  @Test("without a row has none of its fields: a truncation, a deletion of an unknown row")
  func noRow() {
    for text in [#"{"before":null,"after":null,"op":"t"}"#, #"{"op":"d","before":null}"#] {
      #expect(
        decode(.debezium, [field("id", .int64)], text).rejects.map(\.reason) == [.missingField])
      let batch = decode(
        .debezium, [nullable("id"), field("op", .string, from: .record, path: "$.op")], text)
      #expect(batch.columns[0].isNull == [true] && batch.columns[1].isNull == [false])
    }
  }

  @Test(
    "is malformed where it is no change event, or wraps no object",
    arguments: [
      (.debezium, "{}"), (.debezium, #"{"ts_ms":1}"#), (.debezium, #"{"id":1,"after":{"id":1}}"#),
      (.debezium, #"{"op":null,"after":{"id":1}}"#), (.debezium, #"{"op":1,"after":{"id":1}}"#),
      (.debezium, #"{"payload":{"op":"c","after":{"id":1}}}"#),
      (.debezium, #"{"schema":{},"payload":null,"op":"c","after":{"id":1}}"#),
      (.connect, #"{"schema":{},"payload":null}"#), (.connect, #"{"schema":null,"payload":17}"#),
      (.connect, #"{"schema":{},"payload":[{"id":1}]}"#),
    ] as [(Envelope, String)])
  func malformed(envelope: Envelope, text: String) {
    let batch = decode(envelope, [nullable("id")], text)
    #expect(batch.rejects.map(\.reason) == [.malformed] && batch.rejects.map(\.field) == [nil])
    #expect(batch.rejects[0].raw == Array(text.utf8))
  }

  @Test("does not wrap a record whose own members bear the names")
  func ownMembers() {
    for text in [
      #"{"id":1,"payload":{"id":2}}"#, #"{"schema":"public","payload":{"id":2},"id":1}"#,
      #"{"schema":{},"id":1}"#,
    ] {
      #expect(decode(.connect, [field("id", .int64)], text).columns[0].integers == [1])
    }
  }

  @Test("is read record by record: of lists, of several lines, beside one that is malformed")
  func records() {
    let event = #"{"op":"c","after":{"id":1}}"#
    let wrapped = "{\n\"schema\": null,\n\"payload\": {\"after\":{\"id\":2},\"op\":\"u\"}\n}"
    let batch = decode(
      .debezium, [field("id", .int64)], "[\(event),\(wrapped),{\"id\":3},\(event)]\n\(wrapped)")
    #expect(batch.columns[0].integers == [1, 2, 1, 2])
    #expect(batch.rejects.map(\.record) == [2])
  }

  @Test("may wrap a message's key as well, an object or any other value")
  func keys() {
    let id = field("id", .int64, from: .key(.json), path: "$.id", nullable: true)
    let whole = field("whole", .string, from: .key(.json), nullable: true)
    let after = field("n", .int64)
    for (key, expected) in [
      (#"{"id":7}"#, ["7", #"{"id":7}"#]),
      (#"{"schema":{},"payload":{"id":7}}"#, ["7", #"{"id":7}"#]),
      (#"{"payload":"k","schema":{"type":"string"}}"#, [nil, "k"]),
      (#"{"schema":null,"payload":17}"#, [nil, "17"]), (#""k""#, [nil, "k"]),
      (#"{"payload":{"id":7}}"#, [nil, #"{"payload":{"id":7}}"#]),
    ] as [(String, [String?])] {
      for (envelope, text) in [
        (.debezium, #"{"op":"c","after":{"n":1}}"#), (.connect, #"{"n":1}"#),
      ] as [(Envelope, String)] {
        let batch = decode(envelope, [id, whole, after], text, key: key)
        #expect(batch.rejects.isEmpty, "\(key): \(batch.rejects)")
        #expect([0, 1].map { texts(batch, $0)[0] } == expected)
      }
    }
  }

  @Test("names the field at fault, and the text that stands there")
  func faults() {
    let fields = [
      field("id", .int64), field("n", .int32, from: .record, path: "$.source.n", nullable: true),
    ]
    for (text, reason, name) in [
      (#"{"op":"c","after":{"id":"x"}}"#, .wrongType, "id"),
      (#"{"op":"c","after":{}}"#, .missingField, "id"),
      (#"{"op":"d","before":{"id":null},"after":{"id":1}}"#, .notNullable, "id"),
      (#"{"op":"c","after":{"id":1,"id":1}}"#, .duplicateField, "id"),
      (#"{"op":"c","after":{"id":1},"source":{"n":true}}"#, .wrongType, "n"),
    ] as [(String, Reject.Reason, String)] {
      for text in [text, "{\"schema\":{},\"payload\":\(text)}"] {
        let rejects = decode(.debezium, fields, text).rejects
        #expect(rejects.map(\.reason) == [reason] && rejects.map(\.field) == [name], "\(text)")
      }
    }
    let reject = decode(.debezium, fields, #"{"op":"c","after":{"id":"x"}}"#).rejects.first
    #expect(reject?.text == Array("x".utf8))
  }
}
