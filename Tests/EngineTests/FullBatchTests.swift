import Checkpoints
import Jobs
import Offsets
import TestSupport
import Testing
import Trials

@testable import Engine

@Suite("A batch that reaches limits.batch_bytes")
struct FullBatchTests {
  private static let limit = 64

  private func job() throws -> Job {
    try JobFile.parse(
      text: """
        name: full
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { text: string, v: int64 }
        trigger: { max_offsets: 1000 }
        window: global
        aggregate: { by: [], measures: { n: count(), total: sum(v) } }
        output: { to: "file:out", format: csv }
        limits: { batch_bytes: \(Self.limit) }
        rejects: { policy: quarantine, max_share: 100% }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
  }

  @Test(
    """
    ends there: each offset is read once, no batch holds more, and each is full, so that the next \
    message of some partition would not fit, or was planned with twice the offsets of the last
    """,
    arguments: 0..<40 as Range<UInt64>)
  func isFull(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let folder = try TemporaryFolder()
    let cluster = MemoryCluster(identifier: "memory")
    let partitionCount = Int.random(in: 1...5, using: &random)
    cluster.create("t", partitionCount: partitionCount)
    var sizes: [[Int64?]] = []
    var rejects: Set<[Int64]> = []
    for partition in 0..<partitionCount {
      var sizesHere: [Int64?] = []
      for _ in 0..<Int.random(in: 0...30, using: &random) {
        if Int.random(in: 0..<6, using: &random) == 0 {
          cluster.topics["t"]?[partition].appendHole()
          sizesHere.append(nil)
          continue
        }
        let number = Int64.random(in: 0..<100, using: &random)
        let text = String(repeating: "x", count: Int.random(in: 0...70, using: &random))
        let message = Array("\(text),\(number)\n".utf8)
        cluster.topics["t"]?[partition].append(message)
        // A longer message is a reject, and counts as nothing.
        let isReject = message.count > Self.limit
        sizesHere.append(isReject ? 0 : Int64(message.count))
        if isReject { rejects.insert([Int64(partition), Int64(sizesHere.count - 1)]) }
      }
      sizes.append(sizesHere)
    }
    let source = MemorySource(
      "main", cluster, chunkCount: Int.random(in: 1...20, using: &random),
      aheadCount: Int.random(in: 0...10, using: &random))
    let checkpoint = try Checkpoint(
      job: job(), folder: folder.path, holder: "a test", now: 0, release: "test")
    let places = MemoryPlaces()
    let (summary, errors) = try runQuietly(job(), checkpoint, [source]) {
      places.store(at: $0.text)
    }
    #expect(errors.isEmpty, "\(errors)")
    #expect(summary.offsetCount == sizes.reduce(0) { $0 + Int64($1.count) })

    var batches: [CommittedBatch] = []
    let reader = try CheckpointReader(path: checkpoint.path)
    try reader.forEachBatch(newest: nil) { batches.append($0) }
    batches.sort { $0.batch < $1.batch }
    var next = sizes.map { _ in Offset(0) }
    var lastCount: Int64 = 0
    for batch in batches {
      var byteCount: Int64 = 0
      for range in batch.ranges {
        let partition = Int(range.partition.partition)
        #expect(range.from == next[partition])
        next[partition] = range.to
        byteCount += sizes[partition][Int(range.from)..<Int(range.to)].reduce(0) { $0 + ($1 ?? 0) }
      }
      #expect(byteCount <= Self.limit && batch.byteCount == byteCount)
      let following = zip(sizes, next).compactMap { sizes, next in
        sizes[Int(next)...].compactMap { $0 }.first
      }
      #expect(
        following.isEmpty || batch.offsetCount == 2 * lastCount
          || following.contains { byteCount + $0 > Self.limit },
        "batch \(batch.batch) of \(byteCount) bytes")
      lastCount = batch.offsetCount
    }
    var found: Set<[Int64]> = []
    try reader.forEachReject(RejectChoice(), newestFirst: false, limit: nil) { page in
      for reject in page { found.insert([Int64(reject.partition.partition), reject.offset]) }
    }
    #expect(found == rejects)
    #expect(next == sizes.map { Offset($0.count) })
  }
}
