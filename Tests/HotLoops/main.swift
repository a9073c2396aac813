// Counts the allocations of whole batches as the product runs them - plan, read, decode, where,
// fold, commit - and fails where there are
// more than a batch may cost: a regression shows without a clock.
//
// Each job runs with batches of 10,000 records and with batches of 40,000 of the same 200 groups. A
// batch has a price of its own (the
// merge of the groups, mostly SQLite's); a record has none, so the larger batch may not cost more
// than the smaller.
import Checkpoints
import Engine
import Expressions
import Foundation
import Glibc
import Jobs
import Logging
import MallocCounter
import Offsets
import Synchronization
import TestSupport
import Trials

let partitionCount = 6
let batchCount = 6
let (few, many) = (10_000, 40_000)

func job(_ format: String, _ fields: String, _ rest: String) throws -> Job {
  try JobFile.parse(
    text: """
      name: hot
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: \(format)
        fields: \(fields)
      where: time_taken >= 0
      \(rest)
      """, path: "hot.yaml", environment: [:], readFile: { _ in nil })
}

func windows(by: String) -> String {
  """
  window: { tumbling: 1m }
  aggregate:
    by: [\(by)]
    measures: { calls: count(), sum: sum(time_taken), most: max(time_taken), mean: avg(time_taken) }
  output: { to: "file:out", publish: run_end }
  """
}

/// The least that one of the last batches of a run allocates, from one commit to the next: the
/// buffers of the first ones stand then.
func allocations(
  _ job: Job, recordsPerBatch: Int, hasBeside: Bool, value: (Int) -> String
) throws -> Int {
  let job = job.with(maxOffsets: Int64(recordsPerBatch))
  let cluster = MemoryCluster(identifier: "memory")
  cluster.create("t", partitionCount: partitionCount)
  for index in 0..<recordsPerBatch * batchCount {
    cluster.topics["t"]?[index % partitionCount].append(
      Array(value(index).utf8), key: hasBeside ? Array("{\"id\":\(index % 200)}".utf8) : nil,
      timestampMilliseconds: Int64(index % 60_000), headers: hasBeside ? headers : [])
  }
  let folder = try TemporaryFolder()
  let counts = Mutex([Int]())
  counts.withLock { $0.reserveCapacity(batchCount) }
  var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "0")
  // On the run's own thread and at its end, so that nothing is counted but the way of a batch.
  options.publishingExecutor = { CallerExecutor() }
  options.onProgress = { _ in
    let count = tranche_malloc_count()
    counts.withLock { $0.append(count) }
  }
  let checkpoint = try Checkpoint(
    job: job, folder: folder.path, holder: "hotloops", now: 0, release: "0")
  let places = MemoryPlaces()
  let run = try Run(
    job: job, checkpoint: checkpoint,
    sources: [MemorySource("main", cluster, aheadCount: 100)],
    storeAt: { places.store(at: $0.text) }, options: options,
    logger: Logger(label: "hotloops") { _ in SwiftLogNoOpLogHandler() })
  let (summary, errors) = run.execute()
  let expected = Int64(recordsPerBatch * batchCount)
  guard errors.isEmpty, summary.countedCount == expected, summary.batchCount == batchCount else {
    fatalError(
      "\(summary.countedCount) of \(expected) records counted: \(errors)")
  }
  let all = counts.withLock { $0 }
  return zip(all.dropFirst(), all).map { $0 - $1 }.suffix(3).min() ?? .max
}

let headers = [
  MessageHeaders.Header(name: "trace-id", value: Array("0af7651916cd43dd8448eb211c80319c".utf8)),
  MessageHeaders.Header(name: "tenant", value: Array("a".utf8)),
]

var hasFailed = false

/// - Parameters:
///   - limit: For a batch, however many records it has.
///   - slack: How much more the large batch may take: buffers that double now and then.
@MainActor func measure(
  _ name: String, _ job: Job, atMost limit: Int, slack: Int, hasBeside: Bool = false,
  _ value: (Int) -> String
) throws {
  guard let expression = job.where, try Predicate(expression, schema: job.recordSchema).isNative
  else {
    fatalError("\(name) is filtered in SQLite")
  }
  let small = try allocations(job, recordsPerBatch: few, hasBeside: hasBeside, value: value)
  let large = try allocations(job, recordsPerBatch: many, hasBeside: hasBeside, value: value)
  let isWithin = small <= limit && large - small <= slack
  print(
    "\(name): \(small) allocations for a batch of \(few) records (\(limit) allowed), "
      + "\(large - small) more for \(many) (\(slack) allowed)\(isWithin ? "" : ": TOO MANY")")
  if !isWithin { hasFailed = true }
}

try measure(
  "CSV of integers",
  job("csv", "{ api_id: int32, time_taken: int64 }", windows(by: "api_id")), atMost: 950, slack: 20
) { "\($0 % 200),\($0)\n" }
try measure(
  "CSV with texts",
  job(
    "csv", "{ name: string, time_taken: \"int64?\", price: \"decimal(9,2)\" }",
    windows(by: "name")),
  atMost: 1600, slack: 20
) { "\"a \"\"long\"\" name of an API \($0 % 200)\",\($0),\($0 % 9_000).25\n" }
try measure(
  "JSON", job("json", "{ name: string, time_taken: int64, ratio: double }", windows(by: "name")),
  atMost: 1600, slack: 20
) {
  "{\"name\":\"a \\\"long\\\" name of an API \($0 % 200)\",\"ratio\":0.\($0),\"time_taken\":\($0),"
    + "\"other\":[1,{}]}\n"
}
try measure(
  "Key and headers",
  job(
    "json",
    """
    { id: { type: int64, key: json, path: $.id }, raw: { type: string, key: hex },
      tenant: { type: string, header: tenant }, time_taken: int64 }
    """, windows(by: "id, tenant")), atMost: 2400, slack: 20, hasBeside: true
) { "{\"time_taken\":\($0)}" }
try measure(
  "Change events",
  job(
    "json\n  envelope: debezium",
    "{ id: int32, op: { type: string, path: $.op }, time_taken: int64 }",
    windows(by: "id, op")), atMost: 2400, slack: 20
) {
  "{\"schema\":{},\"payload\":{\"before\":null,\"op\":\"c\",\"after\":{\"id\":\($0 % 200),"
    + "\"time_taken\":\($0)}}}"
}
try measure(
  "Rows as Parquet",
  job(
    "csv", "{ api_id: int32, time_taken: int64 }",
    "output: { to: \"file:out\", publish: run_end }"), atMost: 650, slack: 520
) { "\($0 % 200),\($0)\n" }
exit(hasFailed ? 1 : 0)
