import Foundation
import TestSupport
import Testing

@Suite("A job that meets a fault")
struct FaultTests {
  private func produce(_ scenario: Scenario, _ values: [String?], isNew: Bool = true) throws {
    try scenario.stack.kafka(
      scenario.stack.broker,
      (isNew ? [["op": "create", "topic": scenario.topic, "partitions": 1]] : [])
        + values.map { value in
          var operation: [String: any Sendable] = [
            "op": "produce", "topic": scenario.topic, "partition": 0, "timestamp": Scenario.start,
          ]
          if let value { operation["value"] = value }
          return operation
        })
  }

  @Test("keeps records that do not decode, publishes them beside the results, and counts the rest")
  func quarantine() throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { policy: quarantine, max_share: 50% }")
    try produce(scenario, ["1,10\n", "oops\n", nil, "2,x\n", "1,20\n", "3,30\n3,40\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(run.summary["records"] as? Int == 4)
    #expect(run.summary["rejected"] as? Int == 3)
    let objects = try scenario.objects()
    let rejects = try #require(objects["_tranche/rejects/batch=000000001.ndjson"])
    let lines = String(decoding: rejects, as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 3)
    #expect(
      lines[0].contains(
        "\"offset\":1,\"record\":0,\"reason\":\"missingField\",\"field\":\"time_taken\","
          + "\"raw\":\"oops\""
      ))
    #expect(
      lines[1].contains(
        "\"offset\":2,\"record\":0,\"reason\":\"nullValue\",\"field\":null,\"raw\":null"))
    let window = try #require(objects["window_start=2026-11-23T10-00-00Z/part-0.csv"])
    #expect(
      String(decoding: window, as: UTF8.self).hasPrefix(
        "api_id,calls,time_taken,percentage_time,percent_rank\n1,2,30,30.0,0.0\n3,2,70,70.0,1.0\n"))
  }

  @Test(
    """
    that are tombstones stop a job until source.tombstones says skip, which needs no other change; \
    summary, status, metrics and peek count them
    """)
  func tombstones() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,10\n", nil, "2,x\n", nil, "1,20\n", nil, nil])
    let stopped = try scenario.run()
    #expect(stopped.exitCode == 0, "fewer than 100 records stop nothing: \(stopped.errors)")
    #expect(stopped.summary["rejected"] as? Int == 5)
    #expect(stopped.summary["tombstones"] as? Int == 0)
    try produce(scenario, ["1,30\n"] + Array(repeating: nil, count: 200), isNew: false)
    let refused = try scenario.run()
    #expect(refused.exitCode == 65 && refused.errors.contains("write source.tombstones: skip"))

    try scenario.write(format: "csv\n  tombstones: skip")
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(run.summary["tombstones"] as? Int == 200 && run.summary["rejected"] as? Int == 0)
    #expect(run.summary["records"] as? Int == 1 && run.summary["offsets"] as? Int == 201)
    let status = try scenario.tranche("status", "job.yaml")
    #expect(status.output.contains("records       3, 5 rejected, 200 tombstones skipped"))
    let json = try scenario.tranche("status", "job.yaml", "--json").output
    #expect(json.contains(#""tombstones":200"#), "\(json)")
    let peek = try scenario.tranche("peek", "job.yaml", "--records", "300")
    #expect(peek.errors.contains("204 tombstones skipped, as source.tombstones says"))
    #expect(peek.output.split(separator: "\n").count == 5, "\(peek.output)")
    let trial = try scenario.tranche("try", "job.yaml", "--records", "300")
    #expect(trial.output.contains("1 rejected, 204 tombstones skipped"), "\(trial.output)")
  }

  @Test("with too many rejects fails before the commit, names the first, and `skip` frees it")
  func maxShare() throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { min_records: 3 }")
    try produce(scenario, ["1,10\n", "oops\n", "2,20\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 65)
    #expect(
      run.errors.contains(
        "\(scenario.topic)[0] offset 1, record 0: missingField in field time_taken: "
          + "\"oops\". 1 of the newest 3 records"
      ))
    #expect(run.summary["batches"] as? Int == 0)
    #expect(
      try scenario.tranche(
        "skip", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--from", "1", "--to",
        "9"
      ).exitCode == 65)
    let skip = try scenario.tranche(
      "skip", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--from", "1", "--to", "2")
    #expect(skip.exitCode == 0, "\(skip.errors)")
    let again = try scenario.run()
    #expect(again.exitCode == 0, "\(again.errors)")
    #expect(again.summary["records"] as? Int == 2)
    #expect(
      try scenario.tranche("status", "job.yaml").output.contains(
        "main/\(scenario.topic)[0] [1, 2) skipped"))
  }

  @Test("whose sum overflows between batches names group, offset and remedy, and `skip` frees it")
  func overflow() throws {
    let scenario = try Scenario()
    // Without select: a total over all groups would overflow as well, and that is another error.
    try scenario.write(
      fields: "{ api_id: int32, time_taken: int64 }",
      rest:
        "window: { tumbling: 5m }\naggregate: { by: [api_id], measures: { time_taken: "
        + "sum(time_taken) } }",
      maxOffsets: 2)
    try produce(scenario, ["1,9223372036854775800\n", "2,1\n", "1,7\n", "1,1\n", "2,5\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 65)
    #expect(
      run.errors.contains(
        "\(scenario.topic)[0] offset 3: the sum of measure time_taken for group (api_id=1)"))
    #expect(run.errors.contains("--from 3 --to 4"))
    #expect(run.summary["batches"] as? Int == 1)
    #expect(
      try scenario.tranche(
        "skip", "job.yaml", "--topic", scenario.topic, "--partition", "0", "--from", "3", "--to",
        "4"
      ).exitCode == 0)
    let again = try scenario.run()
    #expect(again.exitCode == 0, "\(again.errors)")
    #expect(again.summary["records"] as? Int == 2)
  }

  @Test(
    """
    whose decimal or double sum no longer fits, in a batch or between two, names group and \
    offset, and the command it names frees it
    """,
    arguments: [
      ("decimal(18,0)", "900000000000000000", "200000000000000000"),
      ("double", "1.7e308", "1.7e308"),
      ("int64", "9223372036854775807", "1"),
    ], [1, 10])
  func overflowOfEachType(sum: (type: String, first: String, second: String), maxOffsets: Int)
    throws
  {
    let scenario = try Scenario()
    try scenario.write(
      fields: "{ api_id: int32, time_taken: \"\(sum.type)\" }",
      rest:
        "window: { tumbling: 5m }\naggregate: { by: [api_id], measures: { time_taken: "
        + "sum(time_taken) } }",
      maxOffsets: maxOffsets)
    try produce(scenario, ["1,\(sum.first)\n", "2,1\n", "1,\(sum.second)\n", "2,1\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 65)
    #expect(
      run.errors.contains(
        "\(scenario.topic)[0] offset 2: the sum of measure time_taken for group (api_id=1)"),
      "\(run.errors)")
    let command = try #require(run.errors.firstRange(of: "tranche skip ")).upperBound
    let arguments = run.errors[command...].split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(
      try scenario.stack.tranche(["skip"] + arguments, in: scenario.folder.path).exitCode == 0,
      "\(arguments)")
    let again = try scenario.run()
    #expect(again.exitCode == 0, "\(again.errors)")
    #expect(again.summary["lag"] as? Int == 0)
  }

  @Test(
    """
    with a window that cannot be rendered publishes all others, names it, and publishes it when \
    select is corrected
    """
  )
  func unrenderable() throws {
    let scenario = try Scenario()
    try scenario.write(
      fields: "{ api_id: int32, time_taken: int64 }",
      rest: """
        window: { tumbling: 1m }
        aggregate: { by: [api_id], measures: { time_taken: sum(time_taken) } }
        select: { share: 1.0 * time_taken / sum(time_taken) OVER () }
        """)
    func row(_ value: String, minute: Int) -> [String: any Sendable] {
      [
        "op": "produce", "topic": scenario.topic, "partition": 0, "value": value,
        "timestamp": Scenario.start + minute * 60_000,
      ]
    }
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1], row("1,5\n", minute: 0),
        row("1,9223372036854775807\n", minute: 1),
        row("2,9\n", minute: 1), row("1,5\n", minute: 2),
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 65)
    #expect(run.errors.contains("window 2026-11-23T10:01:00.000Z"), "\(run.errors)")
    #expect(
      run.summary["published"] as? Int == 2 && run.summary["dirty"] as? Int == 1, "\(run.summary)")
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("sum(time_taken) OVER", with: "total(time_taken) OVER"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects().count == 3)
  }

  @Test("of lost offsets stops with 76, or records the gap and goes on")
  func loss() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n", "1,2\n"])
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      ["1,4\n", "1,8\n", "1,16\n"].map {
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": $0,
          "timestamp": Scenario.start,
        ]
      }
        + [["op": "delete_records", "topic": scenario.topic, "partition": 0, "before": 4]])
    let stopped = try scenario.run()
    #expect(stopped.exitCode == 76)
    #expect(
      stopped.errors.contains(
        "main/\(scenario.topic)[0] [2, 4): the broker no longer holds these offsets; it starts at 4"
      ))
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("  format: csv\n", with: "  format: csv\n  on_data_loss: skip\n"),
      to: "job.yaml")
    let skipped = try scenario.run()
    #expect(skipped.exitCode == 0, "\(skipped.errors)")
    #expect(skipped.summary["lost_offsets"] as? Int == 2)
    #expect(skipped.summary["records"] as? Int == 1)
    #expect(try scenario.tranche("status", "job.yaml").output.contains("[2, 4) lost"))
  }

  @Test("of a topic that was made anew stops with 76 and reads nothing")
  func recreated() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n", "1,2\n"])
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "delete_topic", "topic": scenario.topic]])
    try produce(scenario, ["1,4\n"])
    let run = try scenario.run()
    #expect(run.exitCode == 76)
    #expect(run.errors.contains("the topic was deleted and made again"))
  }

  @Test(
    """
    of a topic that was made anew with fewer partitions stops with 76, and with lost offsets of \
    two partitions names both
    """
  )
  func shrunken() throws {
    let scenario = try Scenario()
    try scenario.write()
    func row(_ partition: Int) -> [String: any Sendable] {
      [
        "op": "produce", "topic": scenario.topic, "partition": partition, "value": "1,1\n",
        "timestamp": Scenario.start,
      ]
    }
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 2], row(0), row(1)])
    #expect(try scenario.run().exitCode == 0)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [row(0), row(0), row(1), row(1)]
        + [0, 1].map {
          ["op": "delete_records", "topic": scenario.topic, "partition": $0, "before": 2]
        })
    let lost = try scenario.run()
    #expect(lost.exitCode == 76)
    #expect(
      lost.errors.contains("[0] [1, 2): the broker no longer holds")
        && lost.errors.contains("[1] [1, 2): the broker"), "\(lost.errors)")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "delete_topic", "topic": scenario.topic],
        ["op": "create", "topic": scenario.topic, "partitions": 1], row(0), row(0), row(0),
      ])
    let run = try scenario.run()
    #expect(run.exitCode == 76)
    #expect(
      run.errors.contains(
        "main/\(scenario.topic)[1]: the job has read this partition, and the topic no longer has "
          + "it"),
      "\(run.errors)")
  }

  @Test(
    """
    behind an open transaction takes what lies before it, and `plan` and `status` say what is \
    held back
    """
  )
  func openTransaction() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 1],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,1\n",
          "timestamp": Scenario.start,
        ], ["op": "begin"],
        [
          "op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,2\n",
          "timestamp": Scenario.start,
        ],
        ["op": "leave_open"],
      ])
    let plan = try scenario.tranche("plan", "job.yaml")
    #expect(
      plan.output.contains("1 held back by an open transaction"), "\(plan.output)\(plan.errors)")
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["records"] as? Int == 1)
    #expect(
      try scenario.tranche("status", "job.yaml").output.contains(
        "1 held back by an open transaction"))
  }

  @Test("on another cluster than the one it began on is refused with 78")
  func otherCluster() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let mock = try MockCluster(scenario.stack)
    try mock.tell("create \(scenario.topic) 1")
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"\(mock.brokers)\" }, topics: "
        + "[\(scenario.topic)] }]"
    )
    let run = try scenario.run()
    #expect(run.exitCode == 78, "\(run.errors)")
    #expect(run.errors.contains("cluster"), "\(run.errors)")
  }

  @Test("on another cluster is refused with 78 by every command that stores what brokers say")
  func decisionsOnOtherCluster() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n", "2,1\n"])
    #expect(try scenario.run().exitCode == 0)
    let create: [String: any Sendable] = [
      "op": "create", "topic": scenario.topic, "partitions": 1,
    ]
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "delete_topic", "topic": scenario.topic], create])
    #expect(try scenario.run().exitCode == 76)
    func state() throws -> String {
      let incidents = try execute(
        "/usr/bin/sqlite3",
        [scenario.folder.path + "/checkpoints/job.sqlite", "SELECT * FROM incidents"])
      return try scenario.state() + incidents.output
    }
    let before = try state()
    let mock = try MockCluster(scenario.stack)
    try mock.tell("create \(scenario.topic) 1")
    try scenario.stack.kafka(
      mock.brokers,
      (0..<4).map { _ -> [String: any Sendable] in
        ["op": "produce", "topic": scenario.topic, "partition": 0, "value": "1,1\n"]
      })
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"\(mock.brokers)\" }, topics: "
        + "[\(scenario.topic)] }]"
    )
    let partition = ["--topic", scenario.topic, "--partition", "0"]
    for words in [
      ["resolve", "job.yaml"] + partition + ["--restart"],
      ["resolve", "job.yaml"] + partition + ["--gap"],
      ["skip", "job.yaml"] + partition + ["--from", "2", "--to", "3"],
      ["backfill", "job.yaml"] + partition + ["--from", "0", "--to", "2"],
    ] {
      let result = try scenario.stack.tranche(words, in: scenario.folder.path)
      #expect(result.exitCode == 78, "\(words): \(result)")
      #expect(result.errors.contains("is another cluster than before"), "\(result.errors)")
    }
    #expect(try state() == before)
  }

  @Test(
    """
    that gets another place or format publishes everything there and deletes what stood before, \
    also on the way back
    """
  )
  func movedOutput() throws {
    let scenario = try Scenario()
    try scenario.write()
    try produce(scenario, ["1,1\n", "2,3\n"])
    #expect(try scenario.run().exitCode == 0)
    let original = try scenario.objects()
    #expect(original.count == 1)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("file:out", with: "file:elsewhere"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(scenario.folder.files(below: "elsewhere") == original)
    #expect(try scenario.objects().isEmpty)
    try scenario.folder.write(text.replacing("format: csv,", with: "format: json,"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(scenario.folder.files(below: "elsewhere").isEmpty)
    #expect(
      try scenario.objects().keys.sorted() == ["window_start=2026-11-23T10-00-00Z/part-0.json"])
    try scenario.folder.write(text, to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects() == original)
  }

  @Test("that spells its folder in another way goes on without deleting what stands there")
  func respelt() throws {
    let scenario = try Scenario()
    try scenario.write(more: "rejects: { policy: quarantine, max_share: 50% }")
    try produce(scenario, ["1,1\n", "oops\n", "2,3\n"])
    #expect(try scenario.run().exitCode == 0)
    let original = try scenario.objects()
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("file:out", with: "file:./out"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects() == original)
    try scenario.folder.write(text.replacing("file:out", with: "file:elsewhere"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(scenario.folder.files(below: "elsewhere") == original)
    #expect(try scenario.objects().isEmpty)
  }

  @Test("that goes from a folder to S3 deletes what stands in the folder, and back")
  func movedToS3() throws {
    let scenario = try Scenario(store: 0)
    try scenario.write()
    try produce(scenario, ["1,1\n", "2,3\n"])
    let s3 = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(s3.replacing(scenario.to, with: "file:out"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    let original = scenario.folder.files(below: "out")
    #expect(original.count == 1)
    try scenario.folder.write(s3, to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects() == original)
    #expect(scenario.folder.files(below: "out").isEmpty)
    try scenario.folder.write(s3.replacing(scenario.to, with: "file:out"), to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(scenario.folder.files(below: "out") == original)
    #expect(try scenario.objects().isEmpty)
  }

  @Test(
    """
    whose rows wait for a store that is not there publishes them at another place, but refuses \
    another format with 78
    """
  )
  func movedResults() throws {
    let scenario = try Scenario(store: 0)
    func write(_ to: String, _ format: String) throws {
      try scenario.write(
        rest: "select: { share: 1.0 * time_taken / sum(time_taken) OVER () }",
        output: "format: \(format), keep: each", maxOffsets: 2)
      let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
      try scenario.folder.write(text.replacing(scenario.to, with: to), to: "job.yaml")
    }
    try write("s3://no-such-bucket/x", "csv")
    try produce(scenario, ["1,1\n", "1,2\n", "1,3\n"])
    #expect(try scenario.run().exitCode == 65)
    try write(scenario.to, "json")
    let refused = try scenario.run()
    #expect(refused.exitCode == 78)
    #expect(refused.errors.contains("2 results wait to be published as csv"), "\(refused.errors)")
    try write(scenario.to, "csv")
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    #expect(
      try scenario.objects().keys.sorted() == [
        "batch=000000001/part-0.csv", "batch=000000002/part-0.csv",
      ])
  }

  @Test("whose broker cannot be reached does not say that nothing is new")
  func silentBroker() throws {
    let scenario = try Scenario()
    try scenario.write(
      kafka: "[{ name: main, properties: { bootstrap.servers: \"127.0.0.1:1\" }, topics: [t] }]")
    let run = try scenario.tranche("run", "job.yaml")
    #expect(run.exitCode == 69)
    #expect(run.output == "")
  }

  @Test("whose broker refuses the client's credentials stops with 77")
  func refusedByBroker() throws {
    let scenario = try Scenario()
    let security =
      "security.protocol: sasl_plaintext, sasl.mechanism: SCRAM-SHA-256, sasl.username: u, "
      + "sasl.password: hunter2"
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"\(scenario.stack.broker)\", "
        + "\(security) }, topics: [t] }]"
    )
    let run = try scenario.tranche("run", "job.yaml")
    #expect(run.exitCode == 77, "\(run.errors)")
    #expect(!run.errors.contains("hunter2"))
  }

  @Test("beside one that cannot be read is shown by status all the same")
  func statusOfMany() throws {
    let scenario = try Scenario()
    try scenario.write()
    let status = try scenario.tranche("status", "--offline", "missing.yaml", "job.yaml")
    #expect(status.exitCode == 65)
    #expect(status.output.hasPrefix("job\n  last commit   none yet"))
  }

  @Test("whose bucket does not exist stops with 65 and keeps what it committed")
  func missingBucket() throws {
    let scenario = try Scenario(store: 0)
    try scenario.write()
    try produce(scenario, ["1,1\n"])
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("s3://test-bucket/", with: "s3://no-such-bucket/"), to: "job.yaml")
    let run = try scenario.run()
    #expect(run.exitCode == 65)
    #expect(run.errors.contains("no-such-bucket"), "\(run.errors)")
    #expect(
      run.summary["batches"] as? Int == 1 && run.summary["dirty"] as? Int == 1, "\(run.summary)")
    try scenario.folder.write(text, to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    #expect(try scenario.objects().count == 1)
  }

  @Test(
    """
    needs libcurl for S3 only: without it, a folder is written, and a bucket is an error that \
    says what to install
    """
  )
  func withoutLibcurl() throws {
    let scenario = try Scenario(store: 0)
    try scenario.write()
    try produce(scenario, ["1,1\n"])
    try scenario.folder.write("no library", to: "libcurl.so.4")
    let hidden = ["LD_LIBRARY_PATH": scenario.folder.path]
    let refused = try scenario.tranche("run", "job.yaml", environment: hidden)
    #expect(refused.exitCode == 74)
    #expect(try scenario.tranche("status", "job.yaml").output.contains("none yet"))
    #expect(
      refused.errors.contains("libcurl cannot be used: ")
        && refused.errors.contains("package libcurl4"), "\(refused.errors)")
    let s3 = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(s3.replacing(scenario.to, with: "file:out"), to: "job.yaml")
    #expect(try scenario.tranche("run", "job.yaml", environment: hidden).exitCode == 0)
    #expect(scenario.folder.files(below: "out").count == 1)
  }

  @Test("has an exit code for each kind of trouble")
  func exitCodes() throws {
    let scenario = try Scenario(store: 0)
    try scenario.write()
    #expect(try scenario.tranche("run", "missing.yaml").exitCode == 65)
    #expect(try scenario.tranche("run").exitCode == 64)
    #expect(try scenario.tranche("run", "job.yaml").exitCode == 65, "the topic does not exist")
    try scenario.write(
      kafka: "[{ name: main, properties: { bootstrap.servers: \"127.0.0.1:1\" }, topics: [t] }]")
    let unreachable = try scenario.tranche("plan", "job.yaml")
    #expect(unreachable.exitCode == 69)
    #expect(unreachable.errors.contains("127.0.0.1:1"))
    try scenario.write()
    try produce(scenario, ["1,1\n"])
    #expect(
      try scenario.tranche("run", "job.yaml", "--checkpoints", "/proc/nowhere").exitCode == 73)
    let refused = try scenario.tranche(
      "run", "job.yaml", environment: ["AWS_SECRET_ACCESS_KEY": "hunter2"])
    #expect(refused.exitCode == 77)
    #expect(!refused.errors.contains("hunter2"))
    #expect(try scenario.run().exitCode == 0)
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(text.replacing("by: [api_id]", with: "by: []"), to: "job.yaml")
    let changed = try scenario.tranche("run", "job.yaml")
    #expect(changed.exitCode == 78)
    #expect(changed.errors.contains("aggregate.by: was api_id, is "))
  }

  @Test(
    "validate finds it without a broker",
    arguments: [
      ("group.id: x", "is reserved"),
      (
        "fetch.wait.max.ms: oops",
        "job.yaml:3: source.kafka[0].properties.fetch.wait.max.ms: librdkafka refuses the value"
      ),
    ])
  func validates(property: String, message: String) throws {
    let scenario = try Scenario()
    try scenario.write(
      kafka:
        "[{ name: main, properties: { bootstrap.servers: \"x:1\", \(property) }, topics: [t] }]")
    let result = try scenario.tranche("validate", "job.yaml")
    #expect(result.exitCode == 65)
    #expect(result.errors.contains(message))
  }
}

@Suite("Results of single batches")
struct BatchResultTests {
  private func run(_ rest: String, keep: String) throws -> [String: String] {
    let scenario = try Scenario()
    try scenario.write(rest: rest, output: "format: csv, keep: \(keep)", maxOffsets: 2)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [["op": "create", "topic": scenario.topic, "partitions": 1]]
        + ["1,10\n", "2,30\n", "2,5\n", "1,15\n", "1,7\n"].map {
          ["op": "produce", "topic": scenario.topic, "partition": 0, "value": $0]
        })
    let run = try scenario.run()
    #expect(run.exitCode == 0, "\(run.errors)")
    return try scenario.objects().mapValues { String(decoding: $0, as: UTF8.self) }
  }

  private let rows = "select: { percentage_time: 100.0 * time_taken / sum(time_taken) OVER () }"
  private let groups =
    "window: batch\naggregate: { by: [api_id], measures: { time_taken: sum(time_taken) } }\n"

  @Test("row jobs give each record its share of the batch, in the order of the offsets")
  func rowJobs() throws {
    #expect(
      try run(rows, keep: "each") == [
        "batch=000000001/part-0.csv": "api_id,time_taken,percentage_time\n1,10,25.0\n2,30,75.0\n",
        "batch=000000002/part-0.csv": "api_id,time_taken,percentage_time\n2,5,25.0\n1,15,75.0\n",
        "batch=000000003/part-0.csv": "api_id,time_taken,percentage_time\n1,7,100.0\n",
      ])
    #expect(
      try run(rows, keep: "latest") == [
        "part-0.csv": "api_id,time_taken,percentage_time\n1,7,100.0\n"
      ])
  }

  @Test("batch windows give each batch's groups, sorted by key")
  func batchWindows() throws {
    #expect(
      try run(groups + rows, keep: "each")["batch=000000002/part-0.csv"]
        == "api_id,time_taken,percentage_time\n1,15,75.0\n2,5,25.0\n")
    #expect(
      try run(groups + rows, keep: "latest") == [
        "part-0.csv": "api_id,time_taken,percentage_time\n1,7,100.0\n"
      ])
  }
}
