import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import Offsets
import Reports
import TestSupport
import Testing
import Trials

/// What is kept and told of a record that cannot be used, from a broker to the object beside the
/// results, all of it in memory but the checkpoint.
@Suite("A reject")
struct RejectTests {
  /// One partition, a job over it, and what its runs leave.
  private final class World {
    let log = MemoryLog()
    private let cluster = MemoryCluster(identifier: "c")
    private let places = MemoryPlaces()
    private let folder: TemporaryFolder
    private let job: Job

    init(
      format: String = "csv", fields: String, _ rest: String, source: String = ""
    ) throws {
      folder = try TemporaryFolder()
      cluster.topics["t"] = [log]
      job = try JobFile.parse(
        text: """
          name: rejects
          source:
            kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
            format: \(format)
            fields: \(fields)
            \(source)
          output: { to: "file:out", format: csv }
          \(rest)
          """, path: "rejects.yaml", environment: [:], readFile: { _ in nil })
    }

    /// - Returns: What the run ended with, in words.
    func run() throws -> String? {
      let words = Words(.init(checkpointFolder: "FOLDER", fileMode: "MODE") { "<\($0)>" })
      let errors = try execute().errors
      return errors.first.map { words.text(of: $0) }
    }

    func summary() throws -> RunSummary { try execute().summary }

    func status() throws -> CheckpointStatus {
      try CheckpointReader(path: "\(folder.path)/rejects.sqlite", job: job).status()
    }

    private func execute() throws -> (summary: RunSummary, errors: [RunError]) {
      let checkpoint = try Checkpoint(
        job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
      var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
      options.publishingExecutor = { CallerExecutor() }
      let run = try Run(
        job: job, checkpoint: checkpoint, sources: [MemorySource("main", cluster)],
        storeAt: { [places] _ in places.store(at: "out") }, options: options,
        logger: Logger(label: "rejects") { _ in SwiftLogNoOpLogHandler() })
      return run.execute()
    }

    /// Every result, by its key.
    var results: [String: [UInt8]] {
      (places.all["out"] ?? [:]).filter { !$0.key.hasPrefix("_tranche/") }
    }

    /// In the order of their records.
    func rejects() throws -> [[String: Any]] {
      let objects = (places.all["out"] ?? [:]).filter { $0.key.hasPrefix("_tranche/rejects/") }
      return try objects.sorted { $0.key < $1.key }.flatMap { $0.value.split(separator: 0x0A) }.map
      {
        try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any] ?? [:]
      }
    }
  }

  private static let least = Array("-9223372036854775808".utf8)

  @Test("holds the key where the key may be at fault, and the message's time in any case")
  func whatIsAtFault() throws {
    let cases: [(rest: String, kept: [String?])] = [
      (
        "window: global\naggregate: { by: [record_key], measures: { calls: count() } }",
        ["wrongType nil", "keyTooLong long", "invalidText /2sv"]
      ),
      (
        "where: abs(n) > 5 OR record_key = 'x'\nwindow: global\n"
          + "aggregate: { by: [n], measures: { calls: count() } }",
        ["wrongType nil", "expressionFailed key", "invalidText /2sv"]
      ),
      (
        "where: abs(n) > 5\nwindow: global\naggregate: { by: [n], measures: { calls: count() } }",
        ["wrongType nil", "expressionFailed nil"]
      ),
      (
        "select: { size: abs(n), key: { sql: record_key, type: string } }",
        ["wrongType nil", "expressionFailed key", "invalidText /2sv"]
      ),
    ]
    for (rest, expected) in cases {
      let world = try World(
        fields: "{ n: int64 }", "\(rest)\nlimits: { key_bytes: 4 }\nrejects: { max_share: 100% }")
      world.log.append(Array("10".utf8), key: Array("k".utf8))
      world.log.append(Array("x".utf8), key: Array("kx".utf8), timestampMilliseconds: nil)
      let isLong = rest.contains("by: [record_key]")
      world.log.append(
        isLong ? Array("11".utf8) : Self.least, key: Array((isLong ? "longer" : "key").utf8),
        timestampMilliseconds: 1_795_428_300_123)
      world.log.append(Array("12".utf8), key: [0xFF, 0x6B, 0x2F])
      #expect(try world.run() == nil)
      let found = try world.rejects()
      let texts = found.map { reject in
        let key = reject["record_key"] as? String ?? reject["record_key_base64"] as? String
        return "\(reject["reason"] ?? "") \(key ?? "nil")"
      }
      #expect(texts == expected, "\(rest)")
      #expect(found.first?["record_timestamp"] is NSNull)
      if found.count > 1 {
        #expect(
          found[1]["record_timestamp"] as? String
            == (found[1]["offset"] as? Int == 2
              ? "2026-11-23T10:05:00.123Z" : "1970-01-01T00:00:00.000Z"))
      }
    }
  }

  @Test(
    "that stops a batch shows the text at fault: the field as it came, else the record or the key",
    arguments: [
      ("csv", "{ a: int32, b: int32 }", "by: [a]", "7,12 s,\n", "extraField: \"7,12 s,\""),
      ("csv", "{ a: int32, b: int32 }", "by: [a]", "7,12 s\n", "wrongType in field b: \"12 s\""),
      ("csv", "{ a: int32, b: int32 }", "by: [a]", "7\n", "missingField in field b: \"7\""),
      ("csv", "{ a: int32 }", "by: [a]", "\"12\"\"\"\n", #"wrongType in field a: "12"""#),
      ("csv", "{ a: int32 }", "by: [a]", "\\N\n", #"notNullable in field a: "\N""#),
      ("csv", "{ a: string }", "by: [a]", "x\u{0}y\n", #"invalidText in field a: "x\u{0}y""#),
      ("csv", "{ a: string }", "by: [a]", "longer\n", #"keyTooLong in field a: "longer""#),
      (
        "csv", "{ a: int32 }", "by: [record_key]", "7\n",
        #"keyTooLong in field record_key: "a key""#
      ),
      (
        "csv", "{ a: int64 }", "by: [a]", "-9223372036854775808\n",
        #"expressionFailed in field where: "-9223372036854775808""#
      ),
      ("json", "{ a: int32 }", "by: [a]", #"{"a":"x\n"}"#, #"wrongType in field a: "x\n""#),
      ("json", "{ a: int32 }", "by: [a]", #"{"a":{"b": 1}}"#, #"wrongType in field a: "{"b": 1}""#),
      ("json", "{ a: int32 }", "by: [a]", "{a}", #"malformed: "{a}""#),
      ("json", "{ a: int32 }", "by: [a]", #"{"b":1}"#, #"missingField in field a: "{"b":1}""#),
    ])
  func textAtFault(format: String, fields: String, by: String, value: String, expected: String)
    throws
  {
    let world = try World(
      format: format, fields: fields,
      """
      window: global
      where: abs(a) >= 0
      aggregate: { \(by), measures: { calls: count() } }
      limits: { key_bytes: 4 }
      rejects: { policy: fail }
      """)
    world.log.append(Array(value.utf8), key: Array("a key".utf8))
    let message = try #require(try world.run())
    #expect(message.hasPrefix("main/t[0] offset 0, record 0: \(expected). "), "\(message)")
    // What an open incident tells later is the same.
    #expect(try world.run() == message)
  }

  @Test(
    "holds its message's headers, also where it is refused after decoding, and no more than 4 KiB")
  func headers() throws {
    let world = try World(
      fields: "{ n: int64 }",
      """
      where: abs(n) > 5
      window: global
      aggregate: { by: [n], measures: { calls: count() } }
      rejects: { max_share: 100% }
      """)
    world.log.append(Array("10".utf8))
    world.log.append(
      Array("x".utf8),
      headers: [
        .init(name: "encoding", value: Array("gzip \"1\"".utf8)), .init(name: "id", value: [0xFF]),
        .init(name: "none", value: nil), .init(name: "none", value: []),
      ])
    world.log.append(Self.least, headers: [.init(name: "a", value: Array("b".utf8))])
    let long = (0..<100).map {
      MessageHeaders.Header(name: "h\($0)", value: Array(repeating: 0x7A, count: 1_000))
    }
    world.log.append(Array("y".utf8), headers: long)
    world.log.append(Array("z".utf8))
    #expect(try world.run() == nil)
    let found = try world.rejects().map { $0["record_headers"] as? String }
    #expect(
      found[0] == #"[{"name":"encoding","value":"gzip \"1\""},{"name":"id","base64":"/w=="},"#
        + #"{"name":"none"},{"name":"none","value":""}]"#)
    #expect(found[1] == #"[{"name":"a","value":"b"}]"#)
    let kept = try #require(found[2]?.utf8)
    #expect(kept.count > 3_000 && kept.count <= 4_096)
    let items = try JSONSerialization.jsonObject(with: Data(kept)) as? [[String: String]]
    #expect(items?.first == ["name": "h0", "value": String(repeating: "z", count: 256)])
    #expect(found[3] == nil)
  }

  @Test("is cut between characters, so that a text stays one: the record, the key and a header")
  func cuts() throws {
    let world = try World(
      fields: "{ n: int64 }",
      """
      where: abs(n) > 5 OR record_key = 'x'
      window: global
      aggregate: { by: [n], measures: { calls: count() } }
      limits: { key_bytes: 4, record_bytes: 24 }
      rejects: { max_share: 100% }
      """)
    let header = MessageHeaders.Header(
      name: "city", value: Array((String(repeating: "z", count: 255) + "\u{e9}z").utf8))
    world.log.append(Array("10".utf8))
    world.log.append(
      Array((String(repeating: "x", count: 22) + "\u{20ac}").utf8), headers: [header])
    world.log.append(Self.least, key: Array("ke\u{20ac}".utf8), headers: [header])
    #expect(try world.run() == nil)
    let found = try world.rejects()
    #expect(found.map { $0["reason"] as? String } == ["recordTooLarge", "expressionFailed"])
    #expect(found[0]["raw"] as? String == String(repeating: "x", count: 22))
    #expect(found[1]["record_key"] as? String == "ke")
    for reject in found {
      #expect(
        reject["record_headers"] as? String
          == #"[{"name":"city","value":"\#(String(repeating: "z", count: 255))"}]"#)
    }
  }

  @Test("holds the key where an expression that fails, or a group, reads a part of it")
  func partOfKey() throws {
    let world = try World(
      fields: "{ n: int64, region: { type: string, key: json, path: $.region } }",
      """
      where: abs(n) > 5 OR region = 'x'
      window: global
      aggregate: { by: [region], measures: { calls: count() } }
      limits: { key_bytes: 18 }
      rejects: { max_share: 100% }
      """)
    let keys = [#"{"region":"eu"}"#, #"{"region":"\#(String(repeating: "z", count: 20))"}"#]
    for key in keys {
      for record in [Array("10".utf8), Self.least] {
        world.log.append(record, key: Array(key.utf8))
      }
    }
    #expect(try world.run() == nil)
    let found = try world.rejects()
    #expect(
      found.map { $0["reason"] as? String } == [
        "expressionFailed", "keyTooLong", "expressionFailed",
      ])
    #expect(
      found.map { $0["record_key"] as? String }
        == [keys[0], String(keys[1].prefix(18)), String(keys[1].prefix(18))])
  }

  @Test("holds its record and headers wherever it is refused, by where or by the fold behind it")
  func refusedInTurn() throws {
    let world = try World(
      fields: "{ n: int64, city: string }",
      """
      where: abs(n) > 5
      window: global
      aggregate: { by: [city], measures: { calls: count() } }
      limits: { key_bytes: 4 }
      rejects: { max_share: 100% }
      """)
    world.log.append(Array("10,rome".utf8))
    for (name, value) in [("a", "11,longer"), ("b", "-9223372036854775808,rome")] {
      world.log.append(
        Array("12,pisa\n\(value)".utf8), headers: [.init(name: name, value: nil)])
    }
    #expect(try world.run() == nil)
    let found = try world.rejects()
    #expect(found.map { $0["reason"] as? String } == ["keyTooLong", "expressionFailed"])
    #expect(found.map { $0["record"] as? Int } == [1, 1])
    #expect(
      found.map { $0["raw"] as? String } == ["11,longer", "-9223372036854775808,rome"])
    #expect(
      found.map { $0["record_headers"] as? String } == [#"[{"name":"a"}]"#, #"[{"name":"b"}]"#])
  }

  @Test("that is a null value holds its key, which is all that a tombstone has")
  func tombstone() throws {
    let world = try World(
      fields: "{ a: int32 }",
      """
      window: global
      aggregate: { by: [a], measures: { n: count() } }
      rejects: { max_share: 100% }
      """)
    world.log.append(Array("1".utf8))
    world.log.append(nil, key: Array("user-7".utf8))
    world.log.append([], key: Array("user-8".utf8))
    #expect(try world.run() == nil)
    let found = try world.rejects()
    #expect(found.map { $0["reason"] as? String } == ["nullValue", "malformed"])
    #expect(found[0]["record_key"] as? String == "user-7")
    #expect(found[1]["record_key"] is NSNull)
  }

  @Test(
    "is not made of a tombstone under source.tombstones: skip, which is counted; an empty value is")
  func skippedTombstones() throws {
    let world = try World(
      fields: "{ a: int32 }",
      """
      trigger: { max_offsets: 3 }
      window: global
      aggregate: { by: [a], measures: { n: count() } }
      rejects: { max_share: 100% }
      """, source: "tombstones: skip")
    // The second batch holds nothing else.
    for value in ["1", nil, "1", nil, nil, nil, "", "2", nil] as [String?] {
      world.log.append(value.map { Array($0.utf8) }, key: Array("user-7".utf8))
    }
    let summary = try world.summary()
    #expect(summary.batchCount == 3 && summary.offsetCount == 9)
    #expect(summary.recordCount == 3 && summary.rejectedCount == 1 && summary.tombstoneCount == 5)
    #expect(try world.rejects().map { $0["reason"] as? String } == ["malformed"])
    #expect(world.results.values.map { String(decoding: $0, as: UTF8.self) } == ["a,n\n1,2\n2,1\n"])
    let status = try world.status()
    #expect(status.tombstoneCount == 5 && status.recordCount == 3 && status.rejectedCount == 1)
    #expect(status.partitions.first?.ledger.nextOffset == 9)
    #expect(summary.text(seconds: 1, place: "out").contains(", 1 rejected, 5 tombstones skipped,"))
    let json = try summary.jsonText(seconds: 1, failures: [], exitCode: 0)
    #expect(json.contains(#""rejected":1,"#) && json.contains(#""tombstones":5}"#), "\(json)")
  }

  @Test("is made of no tombstone, so that a topic of tombstones alone stops no job that skips them")
  func onlyTombstones() throws {
    func world(_ source: String) throws -> World {
      let world = try World(
        fields: "{ a: int32 }",
        "window: global\naggregate: { by: [a], measures: { n: count() } }", source: source)
      for _ in 0..<200 { world.log.append(nil) }
      return world
    }
    #expect(try world("tombstones: skip").run() == nil)
    #expect(try world("tombstones: reject").run()?.contains("No record of this job") == true)
    #expect(try world("").run()?.contains("No record of this job") == true)
  }

  @Test("that is a null value is called one, and one that is empty is not")
  func nullValue() throws {
    let world = try World(
      fields: "{ a: int32 }",
      "window: global\naggregate: { by: [a], measures: { n: count() } }\nrejects: { policy: fail }")
    world.log.append(nil)
    let message = try #require(try world.run())
    #expect(
      message.hasPrefix("main/t[0] offset 0, record 0: nullValue (null value: a tombstone). 1 of"),
      "\(message)")
    #expect(message.contains("If the topic holds tombstones, write source.tombstones: skip"))
    let empty = try World(
      fields: "{ a: int32 }",
      "window: global\naggregate: { by: [a], measures: { n: count() } }\nrejects: { policy: fail }")
    empty.log.append([])
    #expect(try empty.run()?.contains(#"record 0: malformed: "". 1 of"#) == true)
  }

  @Test("because its time is far ahead of its message's makes no window, and names its time's unit")
  func futureTime() throws {
    func world(_ rejects: String) throws -> World {
      let world = try World(
        fields: "{ id: int32, at: timestamp(unix_seconds) }",
        """
        window: { tumbling: 5m, time: at }
        aggregate: { by: [id], measures: { calls: count() } }
        rejects: \(rejects)
        """)
      // Milliseconds in a field of seconds, of a time at which they are an instant too.
      for text in ["1,1795600000", "2,179560000000", "3,1795686401"] {
        world.log.append(Array(text.utf8), timestampMilliseconds: 1_795_600_000_000)
      }
      // A message without a time decides nothing.
      world.log.append(Array("4,1795600000".utf8), timestampMilliseconds: nil)
      return world
    }
    let kept = try world("{ max_share: 100% }")
    #expect(try kept.run() == nil)
    let found = try kept.rejects()
    #expect(found.map { $0["reason"] as? String } == ["futureTimestamp", "futureTimestamp"])
    #expect(found.map { $0["offset"] as? Int } == [1, 2])
    #expect(
      found[0]["raw"] as? String == "2,179560000000" && found[0]["field"] as? String == "at"
        && found[0]["record_timestamp"] as? String == "2026-11-25T09:46:40.000Z")
    #expect(kept.results.count == 1)
    let message = try #require(try world("{ policy: fail }").run())
    #expect(
      message.hasPrefix(
        #"main/t[0] offset 1, record 0: futureTimestamp in field at: "179560000000""#)
        && message.contains("Correct the unit of at in source.fields, or raise limits.future"),
      "\(message)")
  }

  @Test("because its message is too large holds the first bytes of the key, which may be the cause")
  func keyTooLarge() throws {
    let world = try World(
      fields: "{ n: int64 }",
      "limits: { batch_bytes: 20, key_bytes: 4 }\nrejects: { max_share: 100% }")
    world.log.append(Array("1".utf8), key: Array("key".utf8))
    world.log.append(Array("2".utf8), key: Array(repeating: UInt8(ascii: "k"), count: 30))
    #expect(try world.run() == nil)
    let found = try #require(try world.rejects().first)
    #expect(
      found["reason"] as? String == "recordTooLarge" && found["record_key"] as? String == "kkkk")
  }
}
