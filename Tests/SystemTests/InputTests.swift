import Foundation
import TestSupport
import Testing

@Suite("Rows that ClickHouse's Kafka engine pushed", .serialized)
struct InputTests {
  @Test(
    "are read as they were inserted, quotes, NULLs, decimals and times included",
    arguments: [("csv", "CSV"), ("json", "JSONEachRow")])
  func clickHouse(format: String, clickHouseFormat: String) throws {
    let scenario = try Scenario()
    let rowCount = 2_000
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 6]])
    try scenario.stack.python(
      "SystemTests/clickhouse.py",
      [
        scenario.folder.path + "/clickhouse", scenario.stack.broker, scenario.topic,
        clickHouseFormat, String(rowCount),
      ])
    try scenario.write(
      format: format,
      fields:
        "{ api_id: int32, time_taken: int32, note: string, cost: \"decimal(9,2)?\", at: timestamp "
        + "}",
      rest: """
        window: { tumbling: 10m, time: at }
        aggregate:
          by: [api_id]
          measures:
            { calls: count(), time_taken: sum(time_taken), costs: count(cost), cost: sum(cost),
              last: max(note), latest: max(at) }
        """)
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(
      run.summary["records"] as? Int == rowCount && run.summary["rejected"] as? Int == 0,
      "\(run.summary)")

    // Computed here from the rule of the rows, by window and key.
    struct Sums { var calls = 0, timeTaken = 0, costs = 0, cents = 0, last = "", latest = 0 }
    var expected: [String: [Int: Sums]] = [:]
    for row in 0..<rowCount {
      let minute = row / 600 * 10
      var sums =
        expected[
          "window_start=2026-11-23T10-\(minute < 10 ? "0" : "")\(minute)-00Z/part-0.csv",
          default: [:]][row % 23] ?? Sums()
      sums.calls += 1
      sums.timeTaken += row % 997
      if row % 5 != 0 {
        sums.costs += 1
        sums.cents += row * 10
      }
      sums.last = max(sums.last, "say \"\(row)\", é")
      sums.latest = max(sums.latest, row)
      expected[
        "window_start=2026-11-23T10-\(minute < 10 ? "0" : "")\(minute)-00Z/part-0.csv", default: [:]
      ][row % 23] = sums
    }
    let objects = try scenario.objects()
    #expect(Set(objects.keys) == Set(expected.keys))
    for (key, groups) in expected {
      var text = "api_id,calls,time_taken,costs,cost,last,latest\n"
      for (apiID, sums) in groups.sorted(by: { $0.key < $1.key }) {
        let (minutes, seconds) = (sums.latest / 60, sums.latest % 60)
        let time = String(format: "2026-11-23T10:%02d:%02d.000Z", minutes, seconds)
        let cost = String(format: "%d.%02d", sums.cents / 100, sums.cents % 100)
        text +=
          "\(apiID),\(sums.calls),\(sums.timeTaken),\(sums.costs),\(cost),"
          + "\"\(sums.last.replacing("\"", with: "\"\""))\",\(time)\n"
      }
      #expect(objects[key].map { String(decoding: $0, as: UTF8.self) } == text, "\(key)")
    }
  }
}

@Suite("What a message has beside its value", .serialized)
struct BesideValueTests {
  @Test("is read from a broker: the last header of a name, binary keys and JSON keys")
  func keysAndHeaders() throws {
    let scenario = try Scenario()
    try scenario.write(
      format: "json",
      fields: """
        { tenant: { type: "string?", header: tenant },
          id: { type: "int64?", key: json, path: $.id }, bytes: { type: "string?", key: hex },
          n: int64 }
        """,
      rest: "where: bytes IS NOT NULL OR tenant = 'c'", more: "rejects: { max_share: 100% }")
    func message(_ value: String, _ more: [String: any Sendable]) -> [String: any Sendable] {
      [
        "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": Scenario.start,
        "value": value,
      ].merging(more) { $1 }
    }
    let none: String? = nil
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        message(
          "{\"n\":1}\n{\"n\":2}",
          ["key": #"{"id":7}"#, "headers": [["tenant", "old"], ["x", "y"], ["tenant", "a"]]]),
        message(#"{"n":3}"#, ["key": #"{"id":8,"region":"eu"}"#]),
        message(#"{"n":4}"#, ["headers": [["tenant", "c"]]]),
        message(#"{"n":5}"#, ["key": #"{"id":9}"#, "headers": [["tenant", none]]]),
        message(#"{"n":6}"#, ["key_hex": "00ff"]),
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(run.summary["rejected"] as? Int == 1)
    #expect(
      try scenario.objects().filter { !$0.key.hasPrefix("_tranche") }
        .map { String(decoding: $0.value, as: UTF8.self) } == [
          """
          tenant,id,bytes,n
          a,7,7b226964223a377d,1
          a,7,7b226964223a377d,2
          \\N,8,7b226964223a382c22726567696f6e223a226575227d,3
          c,\\N,\\N,4
          \\N,9,7b226964223a397d,5

          """
        ])
    let peek = try scenario.tranche("peek", "job.yaml", "--records", "3")
    #expect(peek.output.contains("malformed"), "\(peek.output)")
    #expect(peek.output.contains("7b226964223a397d"), "\(peek.output)")
  }

  @Test("and in it is read of a change event, beside tombstones and what is no change")
  func changeEvents() throws {
    let scenario = try Scenario()
    try scenario.write(
      format: "json\n  envelope: debezium\n  tombstones: skip",
      fields: """
        { id: { type: int64, key: json, path: $.id }, status: "string?",
          op: { type: string, path: $.op }, lane: { type: "string?", header: lane },
          at: { type: timestamp(unix_milliseconds), path: $.source.ts_ms } }
        """,
      rest: """
        window: { tumbling: 5m, time: at }
        aggregate: { by: [id, op, status, lane], measures: { changes: count(), last: max(at) } }
        """, more: "rejects: { max_share: 100% }")
    let times = [0, 1_000, 299_000, 300_000, 301_000].map { Scenario.start + $0 }
    func event(_ op: String, _ rows: String, _ time: Int) -> String {
      """
      {\(rows),"source":{"connector":"postgresql","ts_ms":\(time),"table":"orders"},"op":"\(op)",\
      "ts_ms":\(time + 900),"transaction":null}
      """
    }
    func wrapped(_ text: String) -> String {
      #"{"schema":{"type":"struct","fields":[],"optional":false},"payload":\#(text)}"#
    }
    let none: String? = nil
    let values: [(key: String, value: String?)] = [
      (#"{"id":1}"#, event("c", #""before":null,"after":{"id":1,"status":"new"}"#, times[0])),
      (
        wrapped(#"{"id":1}"#),
        wrapped(event("u", #""before":null,"after":{"id":1,"status":"paid"}"#, times[1]))
      ),
      (#"{"id":2}"#, event("r", #""before":null,"after":{"id":2,"status":"new"}"#, times[2])),
      (
        wrapped(#"{"id":1}"#),
        wrapped(event("d", #""before":{"id":1,"status":"paid"},"after":null"#, times[3]))
      ),
      (wrapped(#"{"id":1}"#), none),
      (#"{"id":2}"#, event("d", #""before":{"id":2,"status":null},"after":null"#, times[4])),
      (#"{"serverName":"shop"}"#, "{\"ts_ms\":\(times[4])}"),
    ]
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + values.map { key, value in
          [
            "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": Scenario.start,
            "key": key, "value": value, "headers": [["lane", "a"], ["lane", "b"]],
          ]
        })
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(run.summary["records"] as? Int == 5 && run.summary["rejected"] as? Int == 1)
    #expect(run.summary["tombstones"] as? Int == 1)
    let objects = try scenario.objects().filter { !$0.key.hasPrefix("_tranche") }
      .sorted { $0.key < $1.key }
    #expect(
      objects.map { String($0.key.prefix(33)) } == [
        "window_start=2026-11-23T10-00-00Z", "window_start=2026-11-23T10-05-00Z",
      ])
    #expect(
      objects.map { String(decoding: $0.value, as: UTF8.self) } == [
        """
        id,op,status,lane,changes,last
        1,c,new,b,1,2026-11-23T10:00:00.000Z
        1,u,paid,b,1,2026-11-23T10:00:01.000Z
        2,r,new,b,1,2026-11-23T10:04:59.000Z

        """,
        """
        id,op,status,lane,changes,last
        1,d,paid,b,1,2026-11-23T10:05:00.000Z
        2,d,\\N,b,1,2026-11-23T10:05:01.000Z

        """,
      ])
  }

  @Test(
    """
    of CSV with a header in each message, semicolons and blanks are read by the names of columns, \
    beside tombstones
    """)
  func headers() throws {
    let scenario = try Scenario()
    let messages: [String?] = [
      "Time Taken; api_id ;note\n10;1;'a;b'\n 20 ; 2;\n", nil, "api_id;Time Taken\r\n1;30\r\n",
      "api_id;Time Taken\n", "note;api_id\nx;3\n", "api_id;Time Taken;api_id\n1;2;3\n", nil,
    ]
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + messages.map { value in
          let operation: [String: any Sendable] = [
            "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": Scenario.start,
          ]
          return value.map { operation.merging(["value": $0]) { $1 } } ?? operation
        })
    try scenario.write(
      format: """
        csv
          csv: { delimiter: ";", header: per_message, quote: "'", trim: true }
          tombstones: skip
        """,
      fields: #"{ api_id: int32, time_taken: { type: int32, path: "$['Time Taken']" } }"#,
      more: "rejects: { max_share: 50% }")
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(
      run.summary["records"] as? Int == 3 && run.summary["rejected"] as? Int == 2
        && run.summary["tombstones"] as? Int == 2, "\(run.summary)")
    let objects = try scenario.objects()
    let window = try #require(objects["window_start=2026-11-23T10-00-00Z/part-0.csv"])
    #expect(
      String(decoding: window, as: UTF8.self).split(separator: "\n").dropFirst()
        == ["1,2,40,66.66666666666667,1.0", "2,1,20,33.333333333333336,0.0"])
    let rejects = String(
      decoding: try #require(objects["_tranche/rejects/batch=000000001.ndjson"]), as: UTF8.self)
    #expect(rejects.contains(#""reason":"missingField","field":"time_taken","raw":"x;3""#))
    #expect(rejects.contains(#""reason":"duplicateField","field":"api_id","raw":"1;2;3""#))
    let peek = try scenario.tranche("peek", "job.yaml").output
    #expect(peek.contains("missingField in field time_taken"), "\(peek)")
    let trial = try scenario.tranche("try", "job.yaml").output
    #expect(trial.contains("3 records, 2 rejected, 2 tombstones skipped"), "\(trial)")
  }
}
