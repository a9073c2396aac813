// Encodes one window's table and one of 1,000,000 rows, again and again, and prints the medians as JSON. The large file goes to the path given, for
// bench.py to hand the same table to pyarrow.
import Foundation
import Parquet
import Tables

/// Milliseconds of each of some runs of the body.
func medianMilliseconds(runs: Int, _ body: () throws -> Void) rethrows -> Double {
  var milliseconds: [Double] = []
  for _ in 0..<runs {
    let started = ContinuousClock.now
    try body()
    milliseconds.append((ContinuousClock.now - started) / .milliseconds(1))
  }
  return milliseconds.sorted()[runs / 2]
}

/// int32 key, int64, double, a string of 200 distinct values, a timestamp.
func table(rowCount: Int) -> Table {
  let schema = Schema([
    ColumnDefinition("key", .int32), ColumnDefinition("amount", .int64), ColumnDefinition("share", .double),
    ColumnDefinition("name", .string), ColumnDefinition("at", .timestamp),
  ])
  var columns = schema.columns.map { Column($0.type) }
  var state: UInt64 = 1
  for row in 0..<rowCount {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    let bits = state >> 33
    columns[0].append(integer: Int64(bits % 50_000))
    columns[1].append(integer: Int64(bits))
    columns[2].append(double: Double(bits) / 1e9)
    columns[3].append(string: "api/v1/name-\(bits % 200)")
    columns[4].append(integer: 1_795_428_000_000 + Int64(row) * 7 + Int64(bits % 5))
  }
  return Table(schema, columns: columns)
}

let options = ParquetOptions(createdBy: "tranche version benchmark")
let large = table(rowCount: 1_000_000)
let small = table(rowCount: 200)
let file = try ParquetEncoder.encode(large, options)
try Data(file).write(to: URL(fileURLWithPath: CommandLine.arguments[1]))
let largeMilliseconds = try medianMilliseconds(runs: 7) { _ = try ParquetEncoder.encode(large, options) }
let smallMilliseconds = try medianMilliseconds(runs: 501) { _ = try ParquetEncoder.encode(small, options) }
print("{\"large_ms\": \(largeMilliseconds), \"small_ms\": \(smallMilliseconds), \"bytes\": \(file.count)}")
