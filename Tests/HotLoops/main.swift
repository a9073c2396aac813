// Counts the allocations of the loops that see every record, and fails where there are more than a batch may cost: a regression shows without a clock.
//
// Each loop takes a batch of 10,000 records twice; the second one, whose buffers stand, is counted.
import Expressions
import Formats
import Glibc
import Jobs
import MallocCounter
import Offsets
import Tables
import Windows

let recordCount = 10_000

func job(_ format: String, _ fields: String, by: String) throws -> Job {
  try JobFile.parse(
    text: """
      name: hot
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: \(format)
        fields: \(fields)
      window: { tumbling: 1m }
      where: time_taken >= 0
      aggregate: { by: [\(by)], measures: { calls: count(), time_taken: sum(time_taken), most: max(time_taken), mean: avg(time_taken) } }
      output: { to: "file:out" }
      """, path: "hot.yaml", environment: [:], readFile: { _ in nil })
}

/// Allocations of the second of two calls.
func allocations(_ body: () throws -> Void) rethrows -> Int {
  try body()
  let before = tranche_malloc_count()
  try body()
  return tranche_malloc_count() - before
}

var hasFailed = false
@MainActor func check(_ name: String, _ count: Int, atMost limit: Int) {
  print("\(name): \(count) allocations for \(recordCount) records, \(limit) allowed")
  if count > limit { hasFailed = true }
}

/// Decodes, filters and folds one batch of messages, a chunk at a time, as the engine does.
@MainActor func measure(_ name: String, _ job: Job, _ value: (Int) -> String) throws {
  let bytes = (0..<recordCount).map { Array(value($0).utf8) }
  let pieces = bytes.map { piece in
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
    copy.copyBytes(from: piece)
    return UnsafeRawBufferPointer(copy)
  }
  let messages = pieces.enumerated().map { Message(offset: Int64($0), timestampMilliseconds: Int64($0), key: nil, value: $1) }
  var decoder = RecordDecoder(
    format: job.format, fields: job.fields, messageFields: [.timestamp], requiredTimeColumn: "record_timestamp", recordByteLimit: 1 << 20)
  var batch = RecordBatch(decoder.schema)
  let decoding = messages.withUnsafeBufferPointer { messages in
    allocations {
      batch.removeAllKeepingCapacity()
      for start in stride(from: 0, to: recordCount, by: 4_096) {
        let chunk = UnsafeBufferPointer(rebasing: messages[start..<min(start + 4_096, recordCount)])
        decoder.decode(chunk, topic: "t", partition: 0, partitionIndex: 0, into: &batch)
      }
    }
  }
  precondition(batch.rowCount == recordCount && batch.rejects.isEmpty, "\(name) decodes \(batch.rowCount) records")
  check("\(name), decode", decoding, atMost: 10)

  let predicate = try Predicate(job.where ?? "1", schema: decoder.schema)
  precondition(predicate.isNative, "\(name) is filtered in SQLite")
  var matches: [Bool] = []
  check("\(name), where", try allocations { try predicate.evaluate(batch.columns, rows: 0..<recordCount, matches: &matches) }, atMost: 10)

  let fold = Fold(job, batchSchema: decoder.schema)
  var groupCount = 0
  let folding = try allocations { groupCount = try fold.fold(batch, matches: matches, batchNumber: 1).groupCount }
  precondition(groupCount == 200, "\(name) has \(groupCount) groups")
  check("\(name), fold", folding, atMost: 100)
}

try measure("CSV of integers", job("csv", "{ api_id: int32, time_taken: int64 }", by: "api_id")) { "\($0 % 200),\($0)\n" }
try measure("CSV with texts", job("csv", "{ name: string, time_taken: \"int64?\", price: \"decimal(9,2)\" }", by: "name")) {
  "\"a \"\"long\"\" name of an API \($0 % 200)\",\($0),\($0).25\n"
}
try measure("JSON", job("json", "{ name: string, time_taken: int64, ratio: double }", by: "name")) {
  "{\"name\":\"a \\\"long\\\" name of an API \($0 % 200)\",\"ratio\":0.\($0),\"time_taken\":\($0),\"other\":[1,{}]}\n"
}
exit(hasFailed ? 1 : 0)
