import Foundation
import TestSupport
import Testing

@Suite("A job over uint64", .serialized)
struct UnsignedIntegerTests {
  private static let ends: [UInt64] = [0, 1, 1 << 63 - 1, 1 << 63, 1 << 63 + 1, .max - 1, .max]

  private struct Record {
    let key: UInt64
    let number: UInt64?
  }

  /// Numbers whose sums fit: large ones alone, small ones together.
  private static func records(count: Int, seed: UInt64) -> [Record] {
    var random = SeededRandom(seed: seed)
    let others = (0..<40).map { _ in random.next() }
    return (0..<count).map { index in
      let key =
        index < ends.count ? ends[index] : (ends + others).randomElement(using: &random) ?? 0
      let number =
        index < ends.count ? .max - 1_000_000_000 : UInt64.random(in: 0...1_000, using: &random)
      return Record(key: key, number: index % 11 == 10 ? nil : number)
    }
  }

  private func message(_ record: Record, format: String, _ index: Int) -> String {
    let number = record.number.map { "\($0)" }
    if format == "csv" { return "\(record.key),\(number ?? "\\N")\n" }
    // ClickHouse writes 64-bit integers in quotes or without them, as a setting says.
    let quote = index % 2 == 0 ? "\"" : ""
    return "{\"id\":\(quote)\(record.key)\(quote),\"n\":"
      + "\(number.map { quote + $0 + quote } ?? "null")}\n"
  }

  private static let aggregate = """
    where: id <> 1 AND id <= 18446744073709551614 OR id = 18446744073709551615
    aggregate:
      by: [id]
      measures:
        { records: count(), least: min(n), most: max(n), total: sum(n), mean: avg(n) }
    """

  @Test(
    "groups, compares and adds up all 64 bits, as pyarrow and duckdb read it from Parquet",
    arguments: ["csv", "json"])
  func parquet(format: String) throws {
    let scenario = try Scenario()
    let records = Self.records(count: 3_000, seed: 17)
    try produce(records, format, scenario)
    try scenario.write(
      format: format, fields: "{ id: uint64, n: \"uint64?\" }",
      rest: "window: global\n" + Self.aggregate, output: "format: parquet", maxOffsets: 700)
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["rejected"] as? Int == 0, "\(run.errors)")
    let lines = records.filter { $0.key != 1 }.map {
      "\($0.key) \($0.number.map { "\($0)" } ?? "")\n"
    }
    let verdict = try scenario.stack.python(
      "SystemTests/unsigned.py", [scenario.folder.path + "/out/part-0.parquet"],
      input: lines.joined())
    #expect(verdict == "46 groups\n")
    let shown = try scenario.tranche("show", "job.yaml", "--csv")
    #expect(shown.output.contains("\n18446744073709551615,"), "\(shown.output) \(shown.errors)")
  }

  @Test("writes each number's digits as CSV and JSON, and names the group whose sum does not fit")
  func texts() throws {
    for (format, expected) in [
      ("csv", "id,n\n18446744073709551615,9223372036854775808\n0,\\N\n"),
      (
        "json",
        "{\"id\":18446744073709551615,\"n\":9223372036854775808}\n{\"id\":0,\"n\":null}\n"
      ),
    ] {
      let scenario = try Scenario()
      try produce(
        [Record(key: .max, number: 1 << 63), Record(key: 0, number: nil)], "json", scenario)
      try scenario.write(
        format: "json", fields: "{ id: uint64, n: \"uint64?\" }", rest: "",
        output: "format: \(format)")
      #expect(try scenario.run().exitCode == 0)
      #expect(
        try scenario.objects().values.map { String(decoding: $0, as: UTF8.self) } == [expected])
    }
    let scenario = try Scenario()
    let records = [
      Record(key: .max, number: 1 << 63), Record(key: 0, number: 5),
      Record(key: .max, number: 1 << 63),
    ]
    try produce(records, "csv", scenario)
    for maxOffsets in [1, 1_000] {
      try scenario.write(
        fields: "{ id: uint64, n: \"uint64?\" }", rest: "window: global\n" + Self.aggregate,
        maxOffsets: maxOffsets)
      let run = try scenario.run()
      #expect(
        run.exitCode == 65
          && run.errors.contains("for group (id=18446744073709551615) no longer fits"),
        "\(run.exitCode) \(run.errors)")
      try FileManager.default.removeItem(atPath: scenario.folder.path + "/checkpoints")
    }
  }

  @Test("keeps a record that is too large to compute with as a reject, and says so in peek")
  func rejects() throws {
    let scenario = try Scenario()
    try produce(
      [1, 9_223_372_036_854_775_807, 9_223_372_036_854_775_808].map { Record(key: $0, number: 7) },
      "csv", scenario)
    try scenario.write(
      fields: "{ id: uint64, n: uint64 }", rest: "where: id % 2 = 1",
      more: "rejects: { policy: quarantine }")
    let run = try scenario.run()
    #expect(run.exitCode == 0 && run.summary["rejected"] as? Int == 1, "\(run.errors)")
    #expect(
      try scenario.objects()["part-0.csv"].map { String(decoding: $0, as: UTF8.self) }
        == "id,n\n1,7\n9223372036854775807,7\n")
    let peeked = try scenario.tranche("peek", "job.yaml", "--json")
    #expect(
      peeked.output.contains(
        #""reject":{"reason":"expressionFailed","field":"where"},"value":"9223372036854775808,7""#),
      "\(peeked.output)")
  }

  private func produce(_ records: [Record], _ format: String, _ scenario: Scenario) throws {
    try scenario.stack.kafka(
      scenario.stack.broker, [["op": "create", "topic": scenario.topic, "partitions": 1]])
    try scenario.stack.kafka(
      scenario.stack.broker,
      records.enumerated().map { index, record in
        [
          "op": "produce", "topic": scenario.topic, "partition": 0,
          "value": message(record, format: format, index), "timestamp": Scenario.start,
        ]
      })
  }
}
