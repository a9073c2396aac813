import Jobs
import Testing
import Windows

@testable import tranche

private func job(_ window: String, format: String = "parquet") throws -> Job {
  try JobFile.parse(
    text: """
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        fields: { v: int64 }
      window: \(window)
      aggregate: { by: [], measures: { n: count() } }
      output: { to: "file:out", format: \(format) }
      """, path: "job.yaml", environment: [:], readFile: { _ in nil })
}

@Suite("A window is named")
struct WindowNameTests {
  // 2026-11-24T09:55:00Z.
  private static let start: Int64 = 1_795_514_100_000

  @Test(
    "by every form that Tranche prints, and by its start in ISO 8601",
    arguments: [
      "2026-11-24T09-55-00Z", "window_start=2026-11-24T09-55-00Z",
      "window_start=2026-11-24T09-55-00Z/", "window_start=2026-11-24T09-55-00Z/part-0.parquet",
      "file:out/window_start=2026-11-24T09-55-00Z/part-0.parquet",
      "s3://bucket/a/window_start=2026-11-24T09-55-00Z/part-0.parquet",
      "2026-11-24T09:55:00.000Z", "2026-11-24T09:55:00Z", "2026-11-24T09-55-00.000Z",
      "2026-11-24 09:55:00", "2026-11-24T10:55:00+01:00",
      "window 2026-11-24T09:55:00.000Z to 2026-11-24T10:00:00.000Z",
    ])
  func forms(text: String) throws {
    let job = try job("{ tumbling: 5m }")
    #expect(WindowName(text).fits(Window(Self.start), of: job))
    #expect(!WindowName(text).fits(Window(Self.start + 300_000), of: job))
  }

  @Test("with milliseconds where it has some")
  func milliseconds() throws {
    let job = try job("{ tumbling: 500ms }")
    for text in ["2026-11-24T09-55-00.500Z", "2026-11-24T09:55:00.500Z"] {
      #expect(WindowName(text).fits(Window(Self.start + 500), of: job), "\(text)")
      #expect(!WindowName(text).fits(Window(Self.start), of: job), "\(text)")
    }
  }

  @Test("global, or as its title and its object are called, where there is one")
  func global() throws {
    let job = try job("global", format: "csv")
    for text in ["global", "all time", "part-0.csv", "file:out/part-0.csv"] {
      #expect(WindowName(text).fits(Window(0), of: job), "\(text)")
    }
    #expect(!WindowName("2026-11-24").fits(Window(0), of: job))
  }
}
