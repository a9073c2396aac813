import Checkpoints
import Foundation
import TestSupport
import Testing

@Suite("The main job, on a real broker and real stores")
struct MainJobTests {
  @Test(
    """
    agrees with duckdb over 50,000 records of three topics on two clusters, and after its \
    partitions grew
    """,
    arguments: [0, 1])
  func oracle(store: Int) throws {
    let scenario = try Scenario(store: store)
    let second = uniqueName("calls")
    let third = uniqueName("calls")
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        ["op": "create", "topic": second, "partitions": 1],
        scenario.samples(count: 30_000, seed: 1),
        scenario.samples(second, partitions: 1, count: 5_000, seed: 2),
      ])
    try scenario.stack.kafka(
      scenario.stack.otherBroker,
      [
        ["op": "create", "topic": third, "partitions": 3],
        scenario.samples(third, partitions: 3, count: 5_000, seed: 3),
      ])
    try scenario.write(
      kafka: """
        [{ name: main, properties: { bootstrap.servers: "\(scenario.stack.broker)" },
           topics: [\(scenario.topic), \(second)] },
         { name: other, properties: { bootstrap.servers: "\(scenario.stack.otherBroker)" },
           topics: [\(third)] }]
        """, output: store == 0 ? "format: parquet" : "format: csv")
    let first = try scenario.run()
    #expect(first.exitCode == 0, "\(first.errors)")
    #expect(first.summary["records"] as? Int == 40_000)
    #expect(first.summary["batches"] as? Int == 40)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "grow", "topic": scenario.topic, "partitions": 8],
        scenario.samples(partitions: 8, count: 10_000, seed: 4),
      ])
    let second_ = try scenario.run()
    #expect(second_.exitCode == 0, "\(second_.errors)")
    #expect(second_.summary["records"] as? Int == 10_000)
    try scenario.checkAgainstOracle([
      (scenario.stack.broker, scenario.topic), (scenario.stack.broker, second),
      (scenario.stack.otherBroker, third),
    ])
  }

  @Test("goes on where it ended; with nothing new it writes nothing and says so")
  func continues() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 2_500, seed: 1),
      ])
    #expect(try scenario.run().summary["records"] as? Int == 2_500)
    try scenario.stack.kafka(scenario.stack.broker, [scenario.samples(count: 500, seed: 2)])
    #expect(try scenario.run().summary["records"] as? Int == 500)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
    let before = try modificationTimes(scenario)
    let idle = try scenario.tranche("run", "job.yaml")
    #expect(idle.output == "job: nothing new, nothing written\n")
    #expect(idle.exitCode == 0)
    #expect(try modificationTimes(scenario) == before)
  }

  private func modificationTimes(_ scenario: Scenario) throws -> [String: Date?] {
    var times: [String: Date?] = [:]
    for key in try scenario.objects().keys {
      times[key] =
        try FileManager.default.attributesOfItem(atPath: "\(scenario.folder.path)/out/\(key)")[
          .modificationDate] as? Date
    }
    return times
  }

  @Test("takes one batch of exactly max_offsets with --batches 1, as plan said it would")
  func oneBatch() throws {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 700)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 2_000, seed: 1),
      ])
    let plan = try scenario.tranche("plan", "job.yaml")
    #expect(plan.output.hasPrefix("job: batch 1 would read 700 of 2,000 offsets"))
    #expect(
      !FileManager.default.fileExists(atPath: scenario.folder.path + "/checkpoints/job.sqlite"))
    let run = try scenario.run("--batches", "1")
    #expect(run.summary["offsets"] as? Int == 700)
    #expect(run.summary["lag"] as? Int == 1_300)
  }

  // In the last, a partition's share is longer than its queue, so that batches are decoded ahead as
  // the brokers' answers happen to come.
  @Test(
    "leaves the same bytes however the offsets were cut into batches",
    arguments: [
      ("csv", 3_000, [100_000, 1_000, 37]), ("json", 3_000, [100_000, 1_000, 37]),
      ("parquet", 3_000, [100_000, 1_000, 37]),
      ("csv", 60_000, [1_000, 12_000, 20_000]),
    ])
  func cuts(format: String, count: Int, sizes: [Int]) throws {
    let first = try Scenario()
    try first.stack.kafka(
      first.stack.broker,
      [
        ["op": "create", "topic": first.topic, "partitions": 3],
        first.samples(partitions: 3, count: count, seed: 9),
      ])
    var expected: [String: Data]?
    for maxOffsets in sizes {
      let scenario = try Scenario()
      try scenario.write(
        kafka:
          "[{ name: main, properties: { bootstrap.servers: \"\(first.stack.broker)\" }, topics: "
          + "[\(first.topic)] }]",
        output: "format: \(format)", maxOffsets: maxOffsets)
      #expect(try scenario.run().exitCode == 0)
      let objects = try scenario.objects()
      #expect(objects.count == 3)
      #expect(objects == expected ?? objects, "\(maxOffsets) offsets a batch")
      expected = objects
    }
  }

  @Test(
    """
    leaves the same decimals however the offsets were cut into batches, and doubles within \
    1e-12; for the same cuts the same bytes
    """
  )
  func cutsOfFractions() throws {
    let first = try Scenario()
    var random = SeededRandom(seed: 12)
    let values = (0..<600).map { _ in
      "\(Int.random(in: 0...4, using: &random)),"
        + "\(Int.random(in: -99_999...99_999, using: &random))."
        + "\(Int.random(in: 10...99, using: &random)),"
        + "\(Double.random(in: -1e6...1e6, using: &random))\n"
    }
    try first.stack.kafka(
      first.stack.broker,
      [["op": "create", "topic": first.topic, "partitions": 3]]
        + values.enumerated().map {
          [
            "op": "produce", "topic": first.topic, "partition": $0.offset % 3, "value": $0.element,
            "timestamp": Scenario.start,
          ]
        })
    func rows(_ maxOffsets: Int) throws -> (bytes: Data?, rows: [[String]]) {
      let scenario = try Scenario()
      try scenario.write(
        kafka:
          "[{ name: main, properties: { bootstrap.servers: \"\(first.stack.broker)\" }, topics: "
          + "[\(first.topic)] }]",
        fields: "{ k: int32, price: \"decimal(12,2)\", ratio: double }",
        rest:
          "window: global\naggregate: { by: [k], measures: { price: sum(price), ratio: "
          + "sum(ratio), mean: avg(price) } }",
        maxOffsets: maxOffsets)
      let run = try scenario.run()
      #expect(run.exitCode == 0, "\(run.errors)")
      let bytes = try scenario.objects()["part-0.csv"]
      let lines = String(decoding: bytes ?? Data(), as: UTF8.self).split(separator: "\n")
        .dropFirst()
      return (bytes, lines.map { $0.split(separator: ",").map(String.init) })
    }
    let whole = try rows(100_000)
    #expect(whole.rows.count == 5)
    for maxOffsets in [100, 7] {
      let cut = try rows(maxOffsets)
      #expect(cut.rows.map { [$0[0], $0[1], $0[3]] } == whole.rows.map { [$0[0], $0[1], $0[3]] })
      for (left, right) in zip(cut.rows, whole.rows) {
        let (left, right) = (try #require(Double(left[2])), try #require(Double(right[2])))
        // Of the sum of the magnitudes: some 120 values of up to a million.
        #expect(abs(left - right) <= 1e-12 * 6e7, "\(left) and \(right)")
      }
      #expect(try rows(maxOffsets).bytes == cut.bytes)
    }
  }

  @Test("commits while the store is down and says so; the next run publishes")
  func storeDown() throws {
    let scenario = try Scenario(store: 2)
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 3_000, seed: 1),
      ])
    try scenario.stack.stop("rclone_b")
    let down = try scenario.run()
    try scenario.stack.start("rclone_b")
    #expect(down.exitCode == 69)
    #expect(down.errors.contains("no answer in 2 attempts"))
    #expect(down.summary["batches"] as? Int == 3)
    #expect(down.summary["dirty"] as? Int == 3)
    #expect(
      try scenario.tranche("status", "job.yaml", "--offline").output.contains(
        "unpublished   window_start="))
    let up = try scenario.run()
    #expect(up.exitCode == 0, "\(up.errors)")
    #expect(up.summary["published"] as? Int == 3)
    #expect(up.summary["batches"] as? Int == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test("shows the latest window with bars, and its status while nothing runs")
  func shows() throws {
    let scenario = try Scenario()
    try scenario.write()
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 2],
        scenario.samples(partitions: 2, count: 1_000, seed: 1),
      ])
    #expect(try scenario.tranche("show", "job.yaml").exitCode == 65)
    try scenario.run()
    let shown = try scenario.tranche("show", "job.yaml")
    #expect(
      shown.output.hasPrefix("job, window 2026-11-23T10:10:00.000Z to 2026-11-23T10:15:00.000Z: "))
    #expect(shown.output.contains("█"))
    #expect(
      try scenario.tranche("show", "job.yaml", "--window", "2026-11-23T10-05-00Z").exitCode == 0)
    #expect(
      try scenario.tranche("show", "job.yaml", "--window", "2020-01-01T00-00-00Z").errors.contains(
        "no window starts at"))
    let status =
      try JSONSerialization.jsonObject(
        with: Data(try scenario.tranche("status", "job.yaml", "--json").output.utf8))
      as? [String: Any]
    #expect(status?["records"] as? Int == 1_000)
    #expect(status?["lag"] as? Int == 0)
    #expect((status?["partitions"] as? [Any])?.count == 2)
  }
}
