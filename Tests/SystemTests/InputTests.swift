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
