import Offsets

/// What the objects of a history have to hold: plain dictionaries over the records, without the
/// product's code.
struct Expectation {
  /// A record that decodes, and where it came from.
  private struct Row {
    let partition: PartitionID
    let offset: Offset
    let message: DrawnMessage
    let values: [Value]
    let batch: Int64
  }

  /// How many records of a partition went into an object, and from where.
  struct Contribution: Equatable {
    var partition: PartitionID
    var smallestOffset: Offset
    var largestOffset: Offset
    var recordCount: Int64
  }

  struct Object {
    var table: ResultTable
    /// Ascending by partition.
    var lineage: [Contribution]
    /// As the footer of a Parquet file tells what it shows: `tranche.window` or `tranche.batch`,
    /// and which.
    var origin: (key: String, value: String)
  }

  struct Reject: Hashable {
    var batch: Int64
    var partition: PartitionID
    var offset: Offset
    var record: Int
    /// Nil for a null value.
    var bytes: [UInt8]?
    /// Whether nothing is wrong with it but that it came late.
    var isLate = false
  }

  private let job: DrawnJob
  private let definitions: Definitions
  /// By key below the output.
  private(set) var objects: [String: Object] = [:]
  /// Of tumbling windows, by their start.
  private(set) var windows: [Int64: Object] = [:]
  private(set) var rejects: Set<Reject> = []
  /// Of each batch.
  private(set) var tallies: [RejectRule.Tally] = []
  /// A batch that counts its records otherwise.
  private(set) var problem: String?
  private var oracle = CutoffOracle()
  /// What the cutoff can be behind all batches.
  var cutoffs: Set<Int64?> { oracle.possible }
  var horizons: Set<Int64?> { oracle.horizons }
  /// Of the batch at hand: the cutoff, and the times of its records by incarnation.
  private var cutoff: Int64?
  private var times: [PartitionID: [Int64]] = [:]

  /// - Parameters:
  ///   - batches: How the job cut what it read, which is its own affair: the account has seen that
  ///     nothing is left out.
  ///   - accepted: Whose rejects a person has accepted.
  ///   - leftBehind: What batches may have left behind.
  ///   - incarnation: Of a partition, as a batch has read it.
  ///   - log: The messages that a batch found in a partition; nil is a hole.
  init(
    _ definitions: Definitions, batches: [Claim.Batch], accepted: [Account.Acceptance],
    leftBehind: [Int64: [LeftBehind]], incarnation: (PartitionID, Int64) -> PartitionID,
    log: (PartitionID, Int64) -> [DrawnMessage?]
  ) {
    let job = definitions.newest
    (self.job, self.definitions) = (job, definitions)
    var all: [Row] = []
    for batch in batches {
      var recordCount = 0
      var tombstoneCount = 0
      var counted: [Row] = []
      let rejectsBefore = rejects
      (cutoff, times) = (batch.cutoff, [:])
      let isJudged = job.lateness != nil && batch.backfill == nil
      // A backfill may revise what is final, and nothing that is evicted.
      let possible = isJudged ? oracle.possible : oracle.horizons
      if !possible.contains(cutoff), problem == nil {
        problem =
          "batch \(batch.number): judged by \(cutoff.map(String.init) ?? "none"), and has to be by "
          + "one of \(possible)"
      }
      var byteCount = 0
      for range in batch.ranges.sorted(by: { Self.precedes($0.partition, $1.partition) }) {
        let messages = log(range.partition, batch.number)
        for offset in range.from..<range.to where offset < messages.count {
          guard let message = messages[Int(offset)] else { continue }
          if message.bytes == nil && job.skipsTombstones {
            tombstoneCount += 1
            byteCount += message.byteCount
            continue
          }
          let rows = rows(
            of: message, batch.number, range.partition, offset,
            incarnation(range.partition, batch.number))
          recordCount += rows.count
          counted += rows.filter { isCounted($0) }
          if !isTooLarge(message) { byteCount += message.byteCount }
        }
      }
      if let lateness = job.lateness, isJudged, let worlds = leftBehind[batch.number] {
        oracle.advance(from: cutoff, times, worlds, lateness)
      }
      let judged = rejects.subtracting(rejectsBefore).filter { reject in
        !reject.isLate
          && !accepted.contains { acceptance in
            acceptance.after < batch.number && batch.number <= acceptance.upTo
              && acceptance.ranges.contains {
                $0.partition == reject.partition && $0.range.contains(reject.offset)
              }
          }
      }
      tallies.append(
        .init(
          recordCount: recordCount, judgedRejectCount: judged.count,
          isBackfill: batch.backfill != nil))
      if let limit = job.batchByteLimit, byteCount > limit, problem == nil {
        problem = "batch \(batch.number): holds \(byteCount) bytes of at most \(limit)"
      }
      let claimed = [
        batch.recordCount, batch.countedCount, batch.rejectedCount, batch.tombstoneCount,
      ].map(Int.init)
      let known = [
        recordCount, counted.count, rejects.count - rejectsBefore.count, tombstoneCount,
      ]
      if claimed != known && problem == nil {
        problem =
          "batch \(batch.number): \(claimed) for \(known) records, counted, "
          + "rejected, tombstones"
      }
      if job.window == nil || job.window == .batch {
        add(batch.number, counted)
      } else {
        all += counted
      }
    }
    addWindows(all)
  }

  /// Sources and topics by their bytes, then the number.
  private static func precedes(_ left: PartitionID, _ right: PartitionID) -> Bool {
    if left.source != right.source { return left.source < right.source }
    return left.topic != right.topic ? left.topic < right.topic : left.partition < right.partition
  }

  // MARK: - Records

  private mutating func rows(
    of message: DrawnMessage, _ batch: Int64, _ partition: PartitionID, _ offset: Offset,
    _ incarnation: PartitionID
  ) -> [Row] {
    guard !message.records.isEmpty, !isTooLarge(message) else {
      reject(message.bytes, 0, batch, partition, offset)
      return []
    }
    var rows: [Row] = []
    for (number, record) in message.records.enumerated() {
      let row = record.values.map {
        Row(partition: partition, offset: offset, message: message, values: $0, batch: batch)
      }
      let isShort = record.bytes.count <= job.recordByteLimit ?? .max
      let isReadable = row.map { isShort && self.isReadable($0) } ?? false
      if let row, isReadable, let time = timeSeen(row) {
        times[incarnation, default: []].append(time)
      }
      if let row, isReadable, !hasLongKey(row) {
        if isLate(row) {
          reject(record.bytes, number, batch, partition, offset, isLate: true)
        } else {
          rows.append(row)
        }
      } else {
        reject(record.bytes, number, batch, partition, offset)
      }
    }
    return rows
  }

  /// Of a record that is too long, its beginning is kept.
  private mutating func reject(
    _ bytes: [UInt8]?, _ record: Int, _ batch: Int64, _ partition: PartitionID, _ offset: Offset,
    isLate: Bool = false
  ) {
    let kept = bytes.map { bytes in
      let limit = job.recordByteLimit ?? .max
      guard bytes.count > limit else { return bytes }
      // The byte behind the cut begins a character of UTF-8, where the bytes are one of it.
      let end = (max(0, limit - 3)...limit).last { bytes[$0] >> 6 != 0b10 }
      return Array(bytes[..<(end ?? limit)])
    }
    rejects.insert(
      Reject(
        batch: batch, partition: partition, offset: offset, record: record, bytes: kept,
        isLate: isLate))
  }

  /// What of a record's time counts for the cutoff: none where its message has no time, and never
  /// more than that.
  private func timeSeen(_ row: Row) -> Int64? {
    guard let field = job.timeField, let time = self[row, field].integer else { return nil }
    return row.message.timestampMilliseconds.map { min($0, time) }
  }

  /// Whether a record counts, and its window ended before it came.
  private func isLate(_ row: Row) -> Bool {
    guard let cutoff, isCounted(row), case .tumbling(let width, let field) = job.window,
      let time = self[row, field].integer
    else { return false }
    return Self.start(of: time, width) + width <= cutoff
  }

  /// The largest multiple of the width that is not behind the record.
  private static func start(of milliseconds: Int64, _ width: Int64) -> Int64 {
    let start = milliseconds / width * width
    return start > milliseconds ? start - width : start
  }

  private func isTooLarge(_ message: DrawnMessage) -> Bool {
    guard let limit = job.batchByteLimit, message.bytes != nil else { return false }
    return message.byteCount > limit
  }

  /// A record that counts, and whose group cannot be kept.
  private func hasLongKey(_ row: Row) -> Bool {
    guard let limit = job.keyByteLimit, isCounted(row) else { return false }
    return job.by.contains {
      if case .text(let text) = self[row, $0] { text.count > limit } else { false }
    }
  }

  private func isReadable(_ row: Row) -> Bool {
    for (field, value) in zip(job.fields, row.values) where value == .null && !field.isNullable {
      return false
    }
    if job.readsKeys && !row.message.keyIsText { return false }
    if let time = job.timeField, self[row, time] == .null { return false }
    return true
  }

  private subscript(row: Row, name: String) -> Value {
    switch name {
    case "record_key": return row.message.key.map(Value.text) ?? .null
    case "record_timestamp":
      return row.message.timestampMilliseconds.map { .integer($0) } ?? .null
    case "record_topic": return Value(row.partition.topic)
    case "record_partition": return .integer(Int64(row.partition.partition))
    case "record_offset": return .integer(row.offset)
    default:
      guard let index = job.fields.firstIndex(where: { $0.name == name }) else {
        preconditionFailure("no field \(name)")
      }
      return row.values[index]
    }
  }

  /// `where`; what is neither true nor false leaves a record out.
  private func isCounted(_ row: Row) -> Bool {
    let value = self[row, "v"].integer
    switch job.condition {
    case nil: return true
    case .isPositive: return value.map { $0 >= 0 } ?? false
    case .isSmallOfKnownKey: return self[row, "k"] != .null && value.map { $0 < 5 } ?? false
    case .isEven: return value.map { $0 % 2 == 0 } ?? false
    case .isFirstPartition: return row.partition.partition == 0 || value.map { $0 > 2 } ?? false
    case .hasKey: return self[row, "record_key"] == Value("one") || value == 1
    }
  }

  // MARK: - Objects

  private mutating func add(_ batch: Int64, _ rows: [Row]) {
    let key =
      job.keepsEach
      ? "\(Texts.batch(batch))/part-0.\(job.output.rawValue)" : "part-0.\(job.output.rawValue)"
    let definitions = definitions.upTo(batch)
    let table =
      job.window == nil
      ? rows.map { row in row.values + derived(row, among: rows) }
      : grouped(rows, definitions, oldest: definitions.count)
    objects[key] = object(table, rows, ("tranche.batch", String(batch)), definitions)
  }

  private mutating func addWindows(_ rows: [Row]) {
    switch job.window {
    case nil, .batch: return
    case .global:
      if !rows.isEmpty {
        objects["part-0.\(job.output.rawValue)"] = window(rows, "global")
      }
    case .tumbling(let width, let time):
      let windows = Dictionary(grouping: rows) { row in
        Self.start(of: self[row, time].integer ?? 0, width)
      }
      for (start, rows) in windows {
        let text = Texts.time(start)
        let label = text.replacing(":", with: "-").replacing(".000Z", with: "Z")
        let object = window(rows, text)
        objects["window_start=\(label)/part-0.\(job.output.rawValue)"] = object
        self.windows[start] = object
      }
    }
  }

  /// What began in an earlier definition than a measure has nothing of it.
  private func window(_ rows: [Row], _ text: String) -> Object {
    let all = definitions.all.map(\.job)
    let oldest = definitions.upTo(rows.map(\.batch).min() ?? .max).count
    return object(grouped(rows, all, oldest: oldest), rows, ("tranche.window", text), all)
  }

  /// - Parameter definitions: Up to the one of the object. A measure that was not in all of them is
  ///   optional.
  private func object(
    _ rows: [[Value]], _ records: [Row], _ origin: (String, String), _ definitions: [DrawnJob]
  ) -> Object {
    let shown = definitions[definitions.count - 1]
    var contributions: [PartitionID: Contribution] = [:]
    for record in records {
      var contribution =
        contributions[record.partition]
        ?? Contribution(
          partition: record.partition, smallestOffset: record.offset, largestOffset: record.offset,
          recordCount: 0)
      contribution.smallestOffset = min(contribution.smallestOffset, record.offset)
      contribution.largestOffset = max(contribution.largestOffset, record.offset)
      contribution.recordCount += 1
      contributions[record.partition] = contribution
    }
    return Object(
      table: ResultTable(
        columns: shown.resultColumns.map { column in
          var column = column
          if let measure = shown.measures.first(where: { $0.name == column.name }) {
            column.isNullable =
              column.isNullable || !DrawnJob.isWhole(measure, in: definitions[...])
          }
          return column
        }, rows: rows),
      lineage: contributions.values.sorted { Self.precedes($0.partition, $1.partition) },
      origin: origin)
  }

  /// - Parameters:
  ///   - definitions: Up to the one that is shown.
  ///   - oldest: The number of the one under which the first of the rows was counted.
  private func grouped(
    _ rows: [Row], _ definitions: [DrawnJob], oldest: Int
  ) -> [[Value]] {
    let job = definitions[definitions.count - 1]
    let whole = job.measures.map {
      DrawnJob.isWhole($0, in: definitions[(oldest - 1)...])
    }
    let groups = Dictionary(grouping: rows) { row in job.by.map { self[row, $0] } }
    let measured = groups.map { key, rows in
      (key: key, values: zip(job.measures, whole).map { $1 ? measure($0, rows) : .null })
    }
    .sorted { Self.precedes($0.key, $1.key) }
    let totals = measured.compactMap { $0.values[1].integer }
    return measured.map { key, values in
      switch job.derived {
      case .shareOfTotal: key + values + [Self.share(values[1].integer, of: totals)]
      case .twice: key + values + [.integer(2 * (values[0].integer ?? 0) + 1)]
      case .shareOfValue, .place, nil: key + values
      }
    }
  }

  private func derived(_ row: Row, among rows: [Row]) -> [Value] {
    switch job.derived {
    case .shareOfValue:
      [Self.share(self[row, "v"].integer, of: rows.compactMap { self[$0, "v"].integer })]
    case .place: [.integer(row.offset)]
    case .shareOfTotal, .twice, nil: []
    }
  }

  private static func share(_ value: Int64?, of values: [Int64]) -> Value {
    let sum = values.reduce(0, +)
    guard let value, sum != 0 else { return .null }
    // A result holds no negative zero.
    return .double(100.0 * Double(value) / Double(sum) + 0.0)
  }

  private func measure(_ measure: DrawnJob.Measure, _ rows: [Row]) -> Value {
    guard let name = measure.field else { return .integer(Int64(rows.count)) }
    let values = rows.map { self[$0, name] }.filter { $0 != .null }
    if measure.function == .count { return .integer(Int64(values.count)) }
    if values.isEmpty { return .null }
    switch measure.function {
    case .count: return .integer(Int64(values.count))
    case .min: return values.reduce(values[0]) { Self.precedes([$1], [$0]) ? $1 : $0 }
    case .max: return values.reduce(values[0]) { Self.precedes([$0], [$1]) ? $1 : $0 }
    case .sum, .avg:
      let isDouble = job.column(name).type == .double
      let integers = values.reduce(0) { $0 + ($1.integer ?? 0) }
      let doubles = values.reduce(0.0) { sum, value in
        if case .double(let number) = value { sum + number } else { sum }
      }
      if measure.function == .sum { return isDouble ? .double(doubles) : .integer(integers) }
      let scale: Double =
        if case .decimal(_, let digits) = job.column(name).type { digits == 2 ? 100 : 1 } else { 1 }
      return .double((isDouble ? doubles : Double(integers) / scale) / Double(values.count))
    }
  }

  /// NULL first, numbers by their value, texts by their bytes.
  private static func precedes(_ left: [Value], _ right: [Value]) -> Bool {
    for (one, other) in zip(left, right) where one != other {
      switch (one, other) {
      case (.null, _): return true
      case (_, .null): return false
      case (.integer(let one), .integer(let other)): return one < other
      case (.unsigned(let one), .unsigned(let other)): return one < other
      case (.double(let one), .double(let other)): return one < other
      case (.text(let one), .text(let other)): return one.lexicographicallyPrecedes(other)
      default: preconditionFailure("\(one) beside \(other) in one column")
      }
    }
    return false
  }
}
