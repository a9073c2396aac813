import Formats
import Jobs
import Tables
import TestSupport
import Testing

@testable import Windows

/// A job over `key string?, value int64?, time timestamp` with one measure of each kind.
func job(
  window: String = "{ tumbling: 1m, time: time }", by: String = "key", value: String = "int64?",
  limits: String = ""
) throws -> Job {
  try JobFile.parse(
    text: """
      name: fold
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        fields: { key: "string?", value: "\(value)", time: timestamp }
      window: \(window)
      aggregate:
        by: [\(by)]
        measures:
          { n: count(), filled: count(value), total: sum(value), least: min(value),
            most: max(value), mean: avg(value), first_key: min(key) }
      output: { to: "file:out", format: csv }
      limits: { windows_per_batch: 100\(limits) }
      """, path: "fold.yaml", environment: [:], readFile: { _ in nil })
}

struct Record: Hashable, Sendable {
  var key: String?
  var value: Int64?
  var time: Int64
}

func batch(_ records: [Record], sliceLength: Int = 3) -> RecordBatch {
  var batch = RecordBatch(
    Schema([
      ColumnDefinition("key", .string, isNullable: true),
      ColumnDefinition("value", .int64, isNullable: true),
      ColumnDefinition("time", .timestamp),
    ]))
  for (index, record) in records.enumerated() {
    if let key = record.key {
      batch.columns[0].append(string: key)
    } else {
      batch.columns[0].appendNull()
    }
    if let value = record.value {
      batch.columns[1].append(integer: value)
    } else {
      batch.columns[1].appendNull()
    }
    batch.columns[2].append(integer: record.time)
    batch.offsets.append(Int64(100 + index))
    if (index + 1) % sliceLength == 0 || index == records.count - 1 {
      batch.closeRows(ofPartition: index / sliceLength)
    }
  }
  return batch
}

@Suite("The fold")
struct FoldTests {
  @Test("two different keys of one hash are two groups")
  func hashCollision() throws {
    // The hash of (pane, a, b) is mixedHash(mixedHash(mixedHash(pane) ^ a) ^ b): for any two
    // values of a there are values of b that make it equal.
    func column(_ values: [Int64]) -> Column {
      var column = Column(.int64)
      for value in values { column.append(integer: value) }
      return column
    }
    let window = mixedHash(UInt64(0))
    let other = Int64(bitPattern: mixedHash(window ^ 1) ^ 5 ^ mixedHash(window ^ 2))
    var grouping = Grouping(
      keyColumns: [column([1, 2, 1, 2]), column([5, other, 5, other])],
      panes: .each([0, 0, 0, 0]))
    grouping.assign([true, true, true, true])
    #expect(grouping.groups.ofRow == [0, 1, 0, 1])
    #expect(grouping.firstRows == [0, 1])
  }

  @Test("agrees with a dictionary over random records")
  func oracle() throws {
    let job = try job()
    let minutes = TumblingWindows(widthMilliseconds: 60_000, time: "time")
    var random = SeededRandom(seed: 11)
    for _ in 0..<300 {
      let records = (0..<Int.random(in: 0...200, using: &random)).map { _ in
        Record(
          key: [nil, "", "a", "A", "é", "e\u{301}", "ab"].randomElement(using: &random) ?? nil,
          value: Bool.random(using: &random)
            ? Int64.random(in: -1_000...1_000, using: &random) : nil,
          time: Int64.random(in: -120_000...240_000, using: &random))
      }
      let matches = records.map { _ in Int.random(in: 0..<4, using: &random) > 0 }
      let delta = try Fold(job, batchSchema: batch([]).schema).delta(
        batch(records), matches: matches, batchNumber: 1)

      // Keys by their bytes: Swift's String would merge é and e + accent.
      struct Key: Hashable { let window: Int64; let key: [UInt8]? }
      var expected: [Key: [Int64?]] = [:]
      for (record, isCounted) in zip(records, matches) where isCounted {
        let key = Key(
          window: minutes.start(
            holding: record.time),
          key: record.key.map { Array($0.utf8) })
        expected[key, default: []].append(record.value)
      }
      #expect(delta.groupCount == expected.count)
      for group in 0..<delta.groupCount {
        let text = delta.keys[0].isNull[group] ? nil : Array(delta.keys[0].text[group].utf8)
        let values = try #require(expected[Key(window: delta.groupPanes[group].number, key: text)])
        let filled = values.compactMap { $0 }
        #expect(delta.state[0].integers[group] == Int64(values.count))
        #expect(delta.state[1].integers[group] == Int64(filled.count))
        #expect(delta.state[2].isNull[group] == filled.isEmpty)
        #expect(delta.state[2].integers[group] == filled.reduce(0, +))
        #expect(delta.state[3].integers[group] == filled.min() ?? 0)
        #expect(delta.state[4].integers[group] == filled.max() ?? 0)
      }
      #expect(delta.countedRecordCount == Int64(matches.filter { $0 }.count))
      #expect(delta.panes.map(\.groupCount).reduce(0, +) == expected.count)
      let lineageCount = delta.panes.flatMap(\.contributions).reduce(0) { $0 + $1.recordCount }
      #expect(lineageCount == delta.countedRecordCount)
    }
  }

  @Test("keeps canonically equal texts, case and NULL apart")
  func textKeys() throws {
    let records = ["é", "e\u{301}", "E", "e", nil, ""].map { Record(key: $0, value: 1, time: 0) }
    let delta = try Fold(job(), batchSchema: batch([]).schema).delta(
      batch(records), matches: records.map { _ in true }, batchNumber: 1)
    #expect(delta.groupCount == 6)
  }

  @Test("says which offsets of which partition contributed to a window")
  func lineage() throws {
    let records = [0, 0, 60_000, 60_000, 0].map { Record(key: "a", value: 1, time: $0) }
    let delta = try Fold(job(), batchSchema: batch([]).schema).delta(
      batch(records), matches: [true, true, true, true, false], batchNumber: 1)
    #expect(delta.panes.map(\.pane.number) == [0, 60_000])
    #expect(
      delta.panes[0].contributions == [
        .init(partitionIndex: 0, smallestOffset: 100, largestOffset: 101, recordCount: 2)
      ])
    #expect(
      delta.panes[1].contributions == [
        .init(partitionIndex: 0, smallestOffset: 102, largestOffset: 102, recordCount: 1),
        .init(partitionIndex: 1, smallestOffset: 103, largestOffset: 103, recordCount: 1),
      ])
  }

  @Test("an integer sum that does not fit names the group and the offset")
  func overflow() throws {
    let records = [Int64.max, 1].map { Record(key: "a", value: $0, time: 0) }
    #expect {
      _ = try Fold(job(), batchSchema: batch([]).schema).fold(
        batch(records), matches: [true, true], batchNumber: 1)
    } throws: { error in
      let error = error as? FoldError
      return error?.offset == 101
        && error?.code
          == .overflow(
            measure: "total", group: "(key=\"a\") of window 1970-01-01T00:00:00.000Z")
    }
  }

  @Test(
    """
    a decimal's sum of more than 18 digits names the group and the offset, though it would fit \
    into 64 bits
    """
  )
  func decimalOverflow() throws {
    let job = try job(window: "global", value: "decimal(18,0)")
    var records = batch(
      [600_000_000_000_000_000, 300_000_000_000_000_000, 100_000_000_000_000_000].map {
        Record(key: "a", value: $0, time: 0)
      })
    records = RecordBatch(decimals: records)
    #expect {
      _ = try Fold(job, batchSchema: records.schema).fold(
        records, matches: [true, true, true], batchNumber: 1)
    } throws: { ($0 as? FoldError)?.offset == 102 }
  }

  @Test("names a group by its keys as people write their values")
  func groupNames() throws {
    let keys = [
      ColumnDefinition("at", .timestamp), ColumnDefinition("ok", .bool),
      ColumnDefinition("price", .decimal(precision: 9, scale: 2)),
      ColumnDefinition("name", .string, isNullable: true), ColumnDefinition("value", .int64),
    ]
    var batch = RecordBatch(Schema(keys))
    for value in [Int64.max, 1] {
      for (column, key) in [60_000, 1, -105].enumerated() {
        batch.columns[column].append(integer: Int64(key))
      }
      batch.columns[3].appendNull()
      batch.columns[4].append(integer: value)
      batch.offsets.append(value)
    }
    batch.closeRows(ofPartition: 0)
    let sum = Measure("total", try Sum(keys[4]), argument: "value")
    let fold = Fold(
      StateLayout(keys: Array(keys[..<4]), measures: [sum]), GlobalWindow(),
      Fold.Limits(windowsPerBatch: 1, keyBytes: 10), batchSchema: batch.schema)
    #expect {
      _ = try fold.fold(batch, matches: [true, true], batchNumber: 1)
    } throws: {
      ($0 as? FoldError)?.code
        == .overflow(
          measure: "total",
          group: "(at=1970-01-01T00:01:00.000Z, ok=true, price=-1.05, name=NULL)")
    }
  }

  @Test("too many windows are an error with the limit's name")
  func limits() throws {
    let many = (0..<101).map { Record(key: "a", value: 1, time: Int64($0) * 60_000) }
    #expect {
      _ = try Fold(job(), batchSchema: batch([]).schema).fold(
        batch(many), matches: many.map { _ in true }, batchNumber: 1)
    } throws: {
      "\($0)".contains("limits.windows_per_batch")
    }
  }

  @Test("a too long key and a time without a window refuse their records, each with its reason")
  func refusals() throws {
    let long = String(repeating: "k", count: 1_025)
    let records = [
      Record(key: "a", value: 1, time: 0), Record(key: long, value: 1, time: 0),
      Record(key: "a", value: 1, time: .max), Record(key: "b", value: 1, time: .min),
      Record(key: long, value: 1, time: 0), Record(key: long, value: 1, time: 60_000),
    ]
    let fold = try Fold(job(), batchSchema: batch([]).schema)
    var matches = [true, true, true, true, true, false]
    guard
      case .refused(let refusals) = try fold.fold(batch(records), matches: matches, batchNumber: 1)
    else {
      Issue.record("nothing was refused")
      return
    }
    #expect(
      refusals == [
        Refusal(row: 1, .keyTooLong, field: "key"), Refusal(row: 2, .outOfRange, field: "time"),
        Refusal(row: 3, .outOfRange, field: "time"), Refusal(row: 4, .keyTooLong, field: "key"),
      ])
    for refusal in refusals { matches[refusal.row] = false }
    let delta = try fold.delta(batch(records), matches: matches, batchNumber: 1)
    #expect(delta.countedRecordCount == 1)
  }

  @Test("an average of nothing is NULL")
  func average() throws {
    let job = try job()
    let fold = Fold(job, batchSchema: batch([]).schema)
    let records = [
      Record(key: "a", value: nil, time: 0), Record(key: "b", value: 3, time: 0),
      Record(key: "b", value: 4, time: 0),
    ]
    let delta = try fold.delta(batch(records), matches: [true, true, true], batchNumber: 1)
    let mean = fold.layout.results(delta.state)[5]
    #expect(mean.isNull == [true, false])
    #expect(mean.doubles[1] == 3.5)
  }
}

extension Fold {
  func delta(_ batch: RecordBatch, matches: [Bool], batchNumber: Int64) throws -> Delta {
    switch try fold(batch, matches: matches, batchNumber: batchNumber) {
    case .folded(let delta): return delta
    case .refused(let refusals): throw RefusedRows(refusals: refusals)
    }
  }
}

struct RefusedRows: Error { let refusals: [Refusal] }

extension RecordBatch {
  /// The same records with their values as decimals of 18 digits.
  fileprivate init(decimals other: RecordBatch) {
    var definitions = other.schema.columns
    definitions[1] = ColumnDefinition(definitions[1].name, .decimal(precision: 18, scale: 0))
    self.init(Schema(definitions))
    for (index, column) in other.columns.enumerated() {
      for row in 0..<column.count { columns[index].append(row: row, of: column) }
    }
    for slice in other.slices {
      offsets += other.offsets[slice.rows]
      closeRows(ofPartition: slice.partitionIndex)
    }
  }
}
