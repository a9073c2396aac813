// What window.retention is worth and costs, in memory but for the checkpoint:
//
//   RetentionBenchmark [DAYS]
//
// A year of 5-minute windows (or so many days), one run a day: the checkpoint's size with 30 days'
// retention, and without. Then the cost of a batch of 1,000 records into 200 groups of 30 days of
// windows: without either key, with allowed_lateness alone, and with retention.
import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import Logging
import TestSupport
import Trials

/// A job with one of the three settings, and what it has left.
final class Variant {
  let name: String
  private let job: Job
  private let folder: TemporaryFolder
  private let cluster = MemoryCluster(identifier: "main")
  private let places = MemoryPlaces()
  var cpuSeconds = 0.0
  var commitSeconds = 0.0

  init(_ name: String, _ window: String, maxOffsets: Int64) throws {
    self.name = name
    folder = try TemporaryFolder()
    cluster.create("t", partitionCount: 4)
    job = try JobFile.parse(
      text: """
        name: year
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { k: int32, v: int64 }
        trigger: { max_offsets: \(maxOffsets) }
        window: { tumbling: 5m\(window) }
        aggregate: { by: [k], measures: { n: count(), total: sum(v) } }
        output: { to: "file:out", format: csv, publish: run_end }
        """, path: "year.yaml", environment: [:], readFile: { _ in nil })
  }

  func come(_ group: Int, at seconds: Int64, partition: Int) {
    cluster.topics["t"]?[partition].append(
      Array("\(group),7\n".utf8), timestampMilliseconds: seconds * 1_000)
  }

  func run() throws {
    let before = Self.cpu()
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path, holder: "the benchmark", now: 0, release: "benchmark")
    var options = RunOptions(
      clock: { 0 }, nanoseconds: { Int64(DispatchTime.now().uptimeNanoseconds) },
      release: "benchmark")
    options.publishingExecutor = { CallerExecutor() }
    let places = places
    let (summary, errors) = try Run(
      job: job, checkpoint: checkpoint, sources: [MemorySource("main", cluster)],
      storeAt: { places.store(at: $0.text) }, options: options,
      logger: Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
    ).execute()
    checkpoint.close()
    cpuSeconds += Self.cpu() - before
    commitSeconds += Double(summary.runTimes[.commit]) / 1e9
    precondition(errors.isEmpty && summary.lateCount == 0, "\(errors) \(summary)")
    for log in cluster.topics["t"] ?? [] { log.removeRecords(before: log.end) }
  }

  /// POSIX counts in microseconds.
  private static func cpu() -> Double { Double(clock()) / 1e6 }

  func resetTimes() { (cpuSeconds, commitSeconds) = (0, 0) }

  private var path: String { "\(folder.path)/year.sqlite" }

  /// Of the file and its log, in MiB.
  var size: Double {
    [path, path + "-wal"].reduce(0.0) { sum, path in
      var facts = stat()
      return stat(path, &facts) == 0 ? sum + Double(facts.st_size) / 1_048_576 : sum
    }
  }

  func windows() throws -> (state: Int64, evicted: Int64) {
    let status = try CheckpointReader(path: path, job: job).status()
    return (status.windowCount, status.evictedCount)
  }
}

func text(_ number: Double, _ width: Int, places: Int = 1) -> String {
  let text = String(format: "%.\(places)f", number)
  return String(repeating: " ", count: max(0, width - text.count)) + text
}

let settings = [
  ("no key", ""), ("allowed_lateness", ", allowed_lateness: 2h"),
  ("retention", ", allowed_lateness: 2h, retention: 30d"),
]
let dayCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 365
let day: Int64 = 86_400

// A day's records: of each window one in each of 20 groups.
let year = try [settings[0], settings[2]].map { try Variant($0.0, $0.1, maxOffsets: 240) }
print("Size in MiB, 5-minute windows of 20 groups each, 30 days' retention")
print("  day   windows   without      with   with state   evicted")
for today in 0..<dayCount {
  for variant in year {
    for window in 0..<288 {
      for group in 0..<20 {
        variant.come(
          group, at: Int64(today) * day + Int64(window) * 300 + Int64(group), partition: group % 4)
      }
    }
    try variant.run()
  }
  guard (today + 1) % 30 == 0 || today + 1 == dayCount else { continue }
  let (state, evicted) = try year[1].windows()
  print(
    text(Double(today + 1), 5, places: 0), text(Double((today + 1) * 288), 9, places: 0),
    text(year[0].size, 9), text(year[1].size, 9), text(Double(state), 12, places: 0),
    text(Double(evicted), 9, places: 0))
}

// A batch a minute, so five a window.
let variants = try settings.map { try Variant($0.0, $0.1, maxOffsets: 1_000) }
let roundCount = min(dayCount, 60)
for round in 0..<roundCount {
  for index in variants.indices {
    // The one that comes first in a round changes.
    let variant = variants[(index + round) % variants.count]
    for batch in 0..<60 {
      for record in 0..<1_000 {
        variant.come(
          record % 200, at: Int64(round) * day + Int64(batch) * 60 + Int64(record % 60),
          partition: record % 4)
      }
    }
    try variant.run()
  }
  // Until state is evicted as fast as it comes.
  if round == roundCount / 2 { variants.forEach { $0.resetTimes() } }
}
let batchCount = Double((roundCount - roundCount / 2 - 1) * 60)
print("\nCost of a batch of 1,000 records into 200 groups, a day of silence after each 60")
print("                     CPU ms   against no key   commit ms")
for variant in variants where batchCount > 0 {
  let cost = variant.cpuSeconds / variants[0].cpuSeconds * 100 - 100
  print(
    variant.name.padding(toLength: 17, withPad: " ", startingAt: 0),
    text(variant.cpuSeconds / batchCount * 1_000, 9, places: 3), text(cost, 14), "%",
    text(variant.commitSeconds / batchCount * 1_000, 11, places: 3))
}
