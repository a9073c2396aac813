// Encodes one window's table and one of 1,000,000 rows, again and again and at several levels of
// compression, and prints the medians as JSON; and what memory a table of 10,000,000 rows takes
// besides itself. The large file goes to the path given, for bench.py to hand the same table to
// pyarrow.
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
    ColumnDefinition("key", .int32), ColumnDefinition("amount", .int64),
    ColumnDefinition("share", .double),
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

/// Of this process, in KiB.
func peakKibibytes() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  return status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }?.split(separator: " ")
    .dropFirst().first.flatMap { Int($0) } ?? 0
}

/// Its column is all that grows with its rows.
func writtenInPieces(rowCount: Int) throws -> (tableMebibytes: Int, moreMebibytes: Int) {
  var column = Column(.int64)
  column.reserveCapacity(rowCount)
  for row in 0..<rowCount { column.append(integer: Int64(row &* 2_654_435_761 % 1_000_003)) }
  let before = peakKibibytes()
  nonisolated(unsafe) var byteCount = 0
  try ParquetEncoder.write(
    Schema([ColumnDefinition("n", .int64)]), [column],
    ParquetOptions(createdBy: "tranche version benchmark")
  ) {
    byteCount += $0.count
  }
  return ((rowCount * 9) >> 20, (peakKibibytes() - before) / 1_024)
}

let options = ParquetOptions(createdBy: "tranche version benchmark")
// First, while the peak is low.
let pieces = try writtenInPieces(rowCount: 10_000_000)
let large = table(rowCount: 1_000_000)
let small = table(rowCount: 200)
let file = try ParquetEncoder.encode(large, options)
try Data(file).write(to: URL(fileURLWithPath: CommandLine.arguments[1]))
let largeMilliseconds = try medianMilliseconds(runs: 7) {
  _ = try ParquetEncoder.encode(large, options)
}
let smallMilliseconds = try medianMilliseconds(runs: 501) {
  _ = try ParquetEncoder.encode(small, options)
}
var levels: [String] = []
for level: Int32 in [1, 3, 6, 9] {
  let options = ParquetOptions(
    compression: .zstd(level: level), createdBy: "tranche version benchmark")
  let byteCount = try ParquetEncoder.encode(large, options).count
  let milliseconds = try medianMilliseconds(runs: 3) {
    _ = try ParquetEncoder.encode(large, options)
  }
  levels.append("[\(level), \(milliseconds), \(byteCount)]")
}
print(
  """
  {"large_ms": \(largeMilliseconds), "small_ms": \(smallMilliseconds), "bytes": \(file.count), \
  "levels": [\(levels.joined(separator: ", "))], \
  "table_mib": \(pieces.tableMebibytes), "more_mib": \(pieces.moreMebibytes)}
  """)
