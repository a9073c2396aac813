internal import Formats
package import Jobs
package import Tables

/// Folds batches into deltas: assigns each record to its window, groups by key, accumulates. Pure:
/// no clock, no I/O.
///
/// It works column by column: first the window of every row, then its group, then one pass per
/// state column.
package struct Fold {
  package let layout: StateLayout
  private let job: Job
  private let timeColumn: Int?

  /// - Precondition: the job aggregates, and the batch's schema holds every column that it names.
  package init(_ job: Job, batchSchema: Schema) {
    self.job = job
    layout = StateLayout(job, batchSchema: batchSchema)
    timeColumn =
      if case .tumbling(_, let time) = job.window { batchSchema.index(of: time) } else { nil }
  }

  /// - Parameters:
  ///   - matches: For each row whether `where` lets it through.
  ///   - batchNumber: Names the window of a `batch` window.
  package func fold(_ batch: RecordBatch, matches: [Bool], batchNumber: Int64) throws(FoldError)
    -> Delta
  {
    precondition(
      matches.count == batch.rowCount, "\(matches.count) verdicts for \(batch.rowCount) rows")
    let windows = windowOfRows(batch, batchNumber: batchNumber)
    var grouping = Grouping(
      keyColumns: layout.keyInputs.map { batch.columns[$0] }, windows: windows)
    grouping.assign(matches)
    try checkKeys(grouping.firstRows, of: batch)

    var delta = Delta()
    delta.firstRows = grouping.firstRows
    delta.groupWindows = grouping.firstRows.map { windows[$0] }
    delta.keys = layout.keyInputs.map { batch.columns[$0].selecting(grouping.firstRows) }
    delta.state = []
    for column in layout.columns {
      delta.state.append(try accumulate(column, over: batch, grouping: grouping))
    }
    try collectWindows(into: &delta, batch: batch, grouping: grouping)
    return delta
  }

  /// Rows whose text to group by is too long, each with the column at fault.
  ///
  /// - Parameter matches: Other rows are not looked at.
  package func rowsWithLongKeys(_ batch: RecordBatch, matches: [Bool]) -> [(
    row: Int, column: String
  )] {
    let keys = zip(layout.keys, layout.keyInputs).filter { $0.0.type.storage == .text }
    return matches.indices.filter { matches[$0] }.compactMap { row in
      keys.first { batch.columns[$0.1].text.byteCount(of: row) > job.limits.keyBytes }
        .map { (row: row, column: $0.0.name) }
    }
  }

  /// The first record at which a group's sum no longer fits, when it is added to what the state
  /// already holds.
  ///
  /// - Parameter held: One row of the state column's type; NULL or no row where the state holds
  ///   nothing.
  /// - Returns: A row of the batch, or nil when the sum fits after all.
  package func firstOverflow(
    in batch: RecordBatch, matches: [Bool], batchNumber: Int64, group: Int, of delta: Delta,
    stateColumn: Int, held: Column
  ) -> Int? {
    let windows = windowOfRows(batch, batchNumber: batchNumber)
    let grouping = Grouping(
      keyColumns: layout.keyInputs.map { batch.columns[$0] }, windows: windows)
    guard let input = layout.columns[stateColumn].input else { return nil }
    let (values, column) = (batch.columns[input], layout.columns[stateColumn])
    let isHeld = held.count > 0 && !held.isNull[0]
    var integer = isHeld && column.type.storage == .integers ? held.integers[0] : 0
    var double = isHeld && column.type.storage == .doubles ? held.doubles[0] : 0
    for row in 0..<batch.rowCount
    where matches[row] && !values.isNull[row] && grouping.isSameGroup(row, delta.firstRows[group]) {
      if column.type.storage == .doubles {
        double += values.doubles[row]
        if !double.isFinite { return row }
      } else {
        guard let sum = column.sumOfIntegers(integer, values.integers[row]) else { return row }
        integer = sum
      }
    }
    return nil
  }

  /// `(api_id=17, city="Bern") of window 2026-11-23T10:05:00Z`, for messages: keys only, never
  /// other contents.
  package func describe(group: Int, of delta: Delta) -> String {
    let keys = zip(layout.keys, delta.keys).map { definition, column in
      let value =
        column.isNull[group]
        ? "NULL"
        : definition.type == .string ? "\"\(column.text[group])\"" : String(column.integers[group])
      return "\(definition.name)=\(value)"
    }
    return "(\(keys.joined(separator: ", ")))\(describe(window: delta.groupWindows[group]))"
  }

  /// ` of window 2026-11-23T10:05:00.000Z`; nothing where there is only one window.
  private func describe(window: Int64) -> String {
    if case .tumbling = job.window {
      return " of window \(TimestampText.format(milliseconds: window))"
    }
    return ""
  }

  // MARK: - Windows

  private func windowOfRows(_ batch: RecordBatch, batchNumber: Int64) -> RowWindows {
    switch job.window {
    case .global: return .same(0)
    case .batch: return .same(batchNumber)
    case .tumbling(let width, _):
      guard let timeColumn else { preconditionFailure("the window's time is not decoded") }
      return .each(
        batch.columns[timeColumn].integers.map {
          startOfWindow(holding: $0, widthMilliseconds: width)
        })
    }
  }

  private func collectWindows(into delta: inout Delta, batch: RecordBatch, grouping: Grouping)
    throws(FoldError)
  {
    let starts = Set(delta.groupWindows).sorted()
    if starts.count > job.limits.windowsPerBatch {
      let row = delta.firstRows[
        delta.groupWindows.firstIndex(of: starts[Int(job.limits.windowsPerBatch)]) ?? 0]
      throw failure(.tooManyWindows(limit: job.limits.windowsPerBatch), at: row, of: batch)
    }
    let positions = Dictionary(uniqueKeysWithValues: starts.enumerated().map { ($1, $0) })
    let windowOfGroup = delta.groupWindows.map { positions[$0] ?? 0 }
    var windows = starts.map { Delta.Window(window: $0, groupCount: 0, contributions: []) }
    for window in windowOfGroup { windows[window].groupCount += 1 }

    var counted: Int64 = 0
    // Of the slice at hand, by window: how many records, and the rows of the first and the last,
    // whose offsets ascend within a slice.
    var counts = [Int64](repeating: 0, count: windows.count)
    var firstRows = [Int](repeating: 0, count: windows.count)
    var lastRows = firstRows
    for slice in batch.slices {
      for row in slice.rows {
        let group = grouping.groupOfRow[row]
        if group < 0 { continue }
        let window = windowOfGroup[Int(group)]
        if counts[window] == 0 { firstRows[window] = row }
        lastRows[window] = row
        counts[window] += 1
      }
      for window in windows.indices where counts[window] > 0 {
        windows[window].contributions.append(
          Delta.Contribution(
            partitionIndex: slice.partitionIndex, smallestOffset: batch.offsets[firstRows[window]],
            largestOffset: batch.offsets[lastRows[window]], recordCount: counts[window]))
        counted += counts[window]
        counts[window] = 0
      }
    }
    delta.windows = windows
    delta.countedRecordCount = counted
  }

  // MARK: - Accumulators

  private func accumulate(
    _ column: StateLayout.StateColumn, over batch: RecordBatch, grouping: Grouping
  ) throws(FoldError) -> Column {
    guard let input = column.input else {
      return countRows(grouping) { _ in true }
    }
    let values = batch.columns[input]
    if column.counts { return countRows(grouping) { !values.isNull[$0] } }
    switch (column.merge, column.type.storage) {
    case (.add, .doubles):
      return try addDoubles(values, column, grouping, batch)
    case (.add, _):
      return try addIntegers(values, column, grouping, batch)
    case (.min, .integers):
      return extreme(values, column, grouping) { values.integers[$0] < values.integers[$1] }
    case (.max, .integers):
      return extreme(values, column, grouping) { values.integers[$0] > values.integers[$1] }
    case (.min, .doubles):
      return extreme(values, column, grouping) { values.doubles[$0] < values.doubles[$1] }
    case (.max, .doubles):
      return extreme(values, column, grouping) { values.doubles[$0] > values.doubles[$1] }
    case (.min, .text):
      return extreme(values, column, grouping) { values.text.compare($0, $1) < 0 }
    case (.max, .text):
      return extreme(values, column, grouping) { values.text.compare($0, $1) > 0 }
    }
  }

  private func countRows(_ grouping: Grouping, _ isCounted: (Int) -> Bool) -> Column {
    var counts = [Int64](repeating: 0, count: grouping.firstRows.count)
    for row in grouping.groupOfRow.indices {
      let group = grouping.groupOfRow[row]
      if group >= 0 && isCounted(row) { counts[Int(group)] += 1 }
    }
    var result = Column(.int64)
    result.integers = counts
    result.isNull = [Bool](repeating: false, count: counts.count)
    return result
  }

  private func addIntegers(
    _ values: Column, _ column: StateLayout.StateColumn, _ grouping: Grouping, _ batch: RecordBatch
  ) throws(FoldError) -> Column {
    var sums = [Int64](repeating: 0, count: grouping.firstRows.count)
    var isNull = [Bool](repeating: true, count: sums.count)
    for row in grouping.groupOfRow.indices {
      let group = Int(grouping.groupOfRow[row])
      if group < 0 || values.isNull[row] { continue }
      guard let sum = column.sumOfIntegers(sums[group], values.integers[row]) else {
        throw failure(
          .overflow(measure: column.name, group: describeRow(row, of: batch)), at: row, of: batch)
      }
      sums[group] = sum
      isNull[group] = false
    }
    var result = Column(column.type)
    result.integers = sums
    result.isNull = isNull
    return result
  }

  private func addDoubles(
    _ values: Column, _ column: StateLayout.StateColumn, _ grouping: Grouping, _ batch: RecordBatch
  ) throws(FoldError) -> Column {
    var sums = [Double](repeating: 0, count: grouping.firstRows.count)
    var isNull = [Bool](repeating: true, count: sums.count)
    for row in grouping.groupOfRow.indices {
      let group = Int(grouping.groupOfRow[row])
      if group < 0 || values.isNull[row] { continue }
      sums[group] += values.doubles[row]
      if !sums[group].isFinite {
        throw failure(
          .sumNotFinite(measure: column.name, group: describeRow(row, of: batch)), at: row,
          of: batch)
      }
      isNull[group] = false
    }
    var result = Column(column.type)
    result.doubles = sums
    result.isNull = isNull
    return result
  }

  /// Keeps for each group the row whose value comes first by `precedes`.
  private func extreme(
    _ values: Column, _ column: StateLayout.StateColumn, _ grouping: Grouping,
    _ precedes: (Int, Int) -> Bool
  ) -> Column {
    var best = [Int](repeating: -1, count: grouping.firstRows.count)
    for row in grouping.groupOfRow.indices {
      let group = Int(grouping.groupOfRow[row])
      if group < 0 || values.isNull[row] { continue }
      if best[group] < 0 || precedes(row, best[group]) { best[group] = row }
    }
    var result = Column(column.type)
    for row in best {
      if row < 0 { result.appendNull() } else { result.append(row: row, of: values) }
    }
    return result
  }

  // MARK: - Helpers

  private func checkKeys(_ firstRows: [Int], of batch: RecordBatch) throws(FoldError) {
    for (definition, input) in zip(layout.keys, layout.keyInputs)
    where definition.type.storage == .text {
      let text = batch.columns[input].text
      for row in firstRows where text.byteCount(of: row) > job.limits.keyBytes {
        throw failure(
          .keyTooLong(
            column: definition.name, byteCount: text.byteCount(of: row), limit: job.limits.keyBytes),
          at: row, of: batch)
      }
    }
  }

  private func describeRow(_ row: Int, of batch: RecordBatch) -> String {
    let keys = zip(layout.keys, layout.keyInputs).map { definition, input in
      let column = batch.columns[input]
      let value =
        column.isNull[row]
        ? "NULL"
        : definition.type == .string ? "\"\(column.text[row])\"" : String(column.integers[row])
      return "\(definition.name)=\(value)"
    }
    return "(\(keys.joined(separator: ", ")))"
  }

  private func failure(_ code: FoldError.Code, at row: Int, of batch: RecordBatch) -> FoldError {
    let slice = batch.slices.first { $0.rows.contains(row) }
    return FoldError(
      code: code, partitionIndex: slice?.partitionIndex ?? 0, offset: batch.offsets[row])
  }
}

/// The start of the tumbling window that holds an instant: windows begin at multiples of the width
/// since 1970, before it as well.
///
/// - Parameter widthMilliseconds: At least 1. An instant within one width of the smallest integer
///   belongs to the window clamped there.
package func startOfWindow(holding timestampMilliseconds: Int64, widthMilliseconds: Int64) -> Int64
{
  let remainder = timestampMilliseconds % widthMilliseconds
  let start = timestampMilliseconds - remainder
  guard remainder < 0 else { return start }
  let (earlier, overflow) = start.subtractingReportingOverflow(widthMilliseconds)
  return overflow ? Int64.min : earlier
}
