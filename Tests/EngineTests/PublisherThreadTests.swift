import Checkpoints
import Foundation
import Jobs
import Logging
import ObjectStorage
import Offsets
import TestSupport
import Testing

@testable import Engine

/// A run with its publisher on a thread of its own, as in the product, without servers: what the
/// thread sanitizer looks at.
@Suite("A publisher beside a run")
struct PublisherThreadTests {
  /// One partition of 3,000 records, `N mod 7, N`.
  private final class Records: MessageSource {
    let source = "main"
    let values = (0..<3_000).map { Array("\($0 % 7),\($0)\n".utf8) }

    func clusterID() throws(SourceError) -> String? { "a cluster" }
    func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] { ["t": 1] }
    func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
      Dictionary(
        uniqueKeysWithValues: partitions.map {
          ($0, PartitionEnd(low: 0, end: Int64(values.count)))
        })
    }
    func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] {
      [:]
    }
    func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID]) throws(SourceError)
      -> [PartitionID: Offset]
    { [:] }
    func prepare(_ ranges: [PartitionRange]) throws(SourceError) {}
    func committed(
      of partitions: [PartitionID], in group: String
    ) throws(SourceError) -> [PartitionID: CommittedOffset] { [:] }
    func commit(
      _ offsets: [PartitionID: Offset], to group: String, metadata: String
    ) throws(SourceError) -> Bool { true }
    func read(
      _ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void
    ) throws {
      for (index, range) in ranges.enumerated() {
        for offset in range.from..<range.to {
          try values[Int(offset)].withUnsafeBytes { value in
            let message = Message(
              offset: offset, timestampMilliseconds: offset * 100, key: nil, value: value)
            try withUnsafePointer(to: message) {
              try body(.ofRange(index, UnsafeBufferPointer(start: $0, count: 1)))
            }
          }
        }
      }
    }
  }

  @Test(
    "ends with every window's newest state published, whenever it was told to",
    arguments: ["batch", "run_end", "every 1ms"])
  func publishes(rhythm: String) throws {
    let folder = try TemporaryFolder()
    let job = try JobFile.parse(
      text: """
        name: threads
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { k: int32, v: int64 }
        trigger: { max_offsets: 10 }
        window: { tumbling: 1m }
        aggregate: { by: [k], measures: { calls: count(), total: sum(v) } }
        output: { to: "file:\(folder.path)/out", format: csv, publish: \(rhythm) }
        """, path: "threads.yaml", environment: [:], readFile: { _ in nil })
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path + "/checkpoints", holder: "a test", now: 0, release: "0")
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: [Records()],
      storeAt: { _ in FileStore(root: folder.path + "/out") },
      options: RunOptions(
        clock: { 0 }, nanoseconds: { Int64(DispatchTime.now().uptimeNanoseconds) }, release: "0"),
      logger: Logger(label: "threads") { _ in SwiftLogNoOpLogHandler() })
    let (summary, errors) = run.execute()
    #expect(errors.isEmpty && summary.batchCount == 300 && summary.dirtyCount == 0)
    #expect(rhythm != "run_end" || summary.publishedCount == 5)
    for window in 0..<5 {
      var lines = ["k,calls,total"]
      for key in 0..<7 {
        let values = (window * 600..<window * 600 + 600).filter { $0 % 7 == key }
        lines.append("\(key),\(values.count),\(values.reduce(0, +))")
      }
      let bytes = folder.files(below: "out")["window_start=1970-01-01T00-0\(window)-00Z/part-0.csv"]
      #expect(
        bytes.map { String(decoding: $0, as: UTF8.self) } == lines.joined(separator: "\n") + "\n")
    }
  }
}
