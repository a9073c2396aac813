package import Tables

/// Folds batches into deltas: assigns each record to its pane, groups by key, accumulates. Pure: no
/// clock, no I/O.
///
/// It works column by column: first the pane of every row, then its group, then one pass per state
/// column.
package struct Fold {
  package struct Limits: Sendable, Equatable {
    package let windowsPerBatch: Int64
    package let keyBytes: Int64

    package init(windowsPerBatch: Int64, keyBytes: Int64) {
      self.windowsPerBatch = windowsPerBatch
      self.keyBytes = keyBytes
    }
  }

  /// A batch's delta, or the records that must not be in it.
  package enum Outcome {
    case folded(Delta)
    /// In the order of their rows. Without them the batch is to be folded again.
    case refused([Refusal])
  }

  package let layout: StateLayout
  private let kind: any WindowKind
  private let limits: Limits
  private let inputs: Inputs

  /// The positions in the batch's schema of the columns that the fold reads.
  private struct Inputs {
    let keys: [Int]
    let arguments: [Int?]
    let time: Int?

    init(_ layout: StateLayout, _ kind: any WindowKind, _ schema: Schema) {
      func position(_ name: String) -> Int {
        guard let index = schema.index(of: name) else {
          preconditionFailure("column \(name) is not decoded")
        }
        return index
      }
      keys = layout.keys.map { position($0.name) }
      arguments = layout.measures.map { $0.argument.map(position) }
      time = kind.timeColumn.map(position)
    }
  }

  /// - Precondition: the batch's schema holds every column that keys, measures and windows name.
  package init(
    _ layout: StateLayout, _ kind: any WindowKind, _ limits: Limits, batchSchema: Schema
  ) {
    self.layout = layout
    self.kind = kind
    self.limits = limits
    inputs = Inputs(layout, kind, batchSchema)
  }

  /// - Parameters:
  ///   - matches: For each row whether `where` lets it through.
  ///   - batchNumber: Names the pane of a batch window.
  ///   - cutoff: Records of windows that are final by it are refused.
  package func fold(
    _ batch: RecordBatch, matches: [Bool], batchNumber: Int64, cutoff: Cutoff = Cutoff()
  ) throws(FoldError) -> Outcome {
    precondition(
      matches.count == batch.rowCount, "\(matches.count) verdicts for \(batch.rowCount) rows")
    let panes = panes(of: batch, batchNumber)
    var grouping = Grouping(keyColumns: inputs.keys.map { batch.columns[$0] }, panes: panes)
    grouping.assign(matches)
    let refusals = refusals(batch, grouping, panes, cutoff)
    if !refusals.isEmpty { return .refused(refusals) }

    var delta = Delta()
    delta.firstRows = grouping.firstRows
    delta.groupPanes = grouping.firstRows.map { Pane(panes[$0]) }
    delta.keys = inputs.keys.map { batch.columns[$0].selecting(grouping.firstRows) }
    delta.state.reserveCapacity(layout.columns.count)
    for (measure, input) in zip(layout.measures, inputs.arguments) {
      do {
        try measure.function.accumulate(
          input.map { batch.columns[$0] }, grouping.groups, into: &delta.state)
      } catch {
        throw failure(error, measure, panes, of: batch)
      }
    }
    try collectPanes(into: &delta, batch: batch, groups: grouping.groups)
    return .folded(delta)
  }

  private func panes(of batch: RecordBatch, _ batchNumber: Int64) -> RowPanes {
    kind.panes(ofTimes: inputs.time.map { batch.columns[$0] }, batch: batchNumber)
  }

  // MARK: - Records that must not be in a delta

  /// Rows of groups that cannot be kept, because of their time or their key.
  private func refusals(
    _ batch: RecordBatch, _ grouping: Grouping, _ panes: RowPanes, _ cutoff: Cutoff
  ) -> [Refusal] {
    guard grouping.firstRows.contains(where: { refusal($0, batch, panes, cutoff) != nil }) else {
      return []
    }
    return grouping.groups.ofRow.indices.compactMap { row in
      let group = grouping.groups.ofRow[row]
      guard group >= 0,
        let (reason, field) = refusal(grouping.firstRows[Int(group)], batch, panes, cutoff)
      else { return nil }
      return Refusal(row: row, reason, field: field)
    }
  }

  /// Why a row's group cannot be kept, and the column at fault.
  private func refusal(
    _ row: Int, _ batch: RecordBatch, _ panes: RowPanes, _ cutoff: Cutoff
  ) -> (Reject.Reason, field: String?)? {
    if let time = kind.timeColumn, kind.fault(of: Pane(panes[row])) != nil {
      return (.outOfRange, time)
    }
    for (definition, input) in zip(layout.keys, inputs.keys)
    where definition.type.storage == .text
      && batch.columns[input].text.byteCount(of: row) > limits.keyBytes
    {
      return (.keyTooLong, definition.name)
    }
    // What is wrong with the record goes first: that is for its sender to mend.
    if cutoff.isFinal(Pane(panes[row]), of: kind) { return (.windowClosed, kind.timeColumn) }
    return nil
  }

  // MARK: - Sums that do not fit

  /// The first record that a measure of a group cannot take up, beside what the state holds.
  ///
  /// - Parameters:
  ///   - groupRow: A row of the group.
  ///   - held: One row of the measure's state columns, or none where the state holds nothing.
  /// - Returns: The error that names the record, or nil where all fit.
  package func misfit(
    in batch: RecordBatch, matches: [Bool], batchNumber: Int64, groupRow: Int, measure index: Int,
    held: [Column]
  ) -> FoldError? {
    let panes = panes(of: batch, batchNumber)
    let grouping = Grouping(keyColumns: inputs.keys.map { batch.columns[$0] }, panes: panes)
    let measure = layout.measures[index]
    let values = inputs.arguments[index].map { batch.columns[$0] }
    var held = held
    for row in 0..<batch.rowCount where matches[row] && grouping.isSameGroup(row, groupRow) {
      do throws(Misfit) {
        var added: [Column] = []
        try measure.function.accumulate(
          values?.selecting([row]), RowGroups(one: 1), into: &added)
        for column in held.indices { held[column].append(row: 0, of: added[column]) }
        var merged: [Column] = []
        try measure.function.merge(
          held[...], RowGroups(one: held.first?.count ?? 0), into: &merged)
        held = merged
      } catch {
        return failure(Misfit(row: row, error.reason), measure, panes, of: batch)
      }
    }
    return nil
  }

  private func failure(
    _ misfit: Misfit, _ measure: Measure, _ panes: RowPanes, of batch: RecordBatch
  ) -> FoldError {
    let group = describe(misfit.row, panes, of: batch)
    let code: FoldError.Code =
      switch misfit.reason {
      case .overflow: .overflow(measure: measure.name, group: group)
      case .notFinite: .sumNotFinite(measure: measure.name, group: group)
      }
    return failure(code, at: misfit.row, of: batch)
  }

  private func failure(_ code: FoldError.Code, at row: Int, of batch: RecordBatch) -> FoldError {
    let slice = batch.slices.first { $0.rows.contains(row) }
    return FoldError(
      code: code, partitionIndex: slice?.partitionIndex ?? 0, offset: batch.offsets[row])
  }

  /// `(api_id=17, city="Bern") of window 2026-11-23T10:05:00.000Z`, for messages: keys only, never
  /// other contents.
  private func describe(_ row: Int, _ panes: RowPanes, of batch: RecordBatch) -> String {
    let keys = zip(layout.keys, inputs.keys).map { definition, input in
      let column = batch.columns[input]
      let value =
        column.isNull[row]
        ? "NULL"
        : column.type.storage == .text
          ? "\"\(column.text[row])\"" : column.plainText(row)
      return "\(definition.name)=\(value)"
    }
    return "(\(keys.joined(separator: ", ")))\(kind.phrase(of: Pane(panes[row])))"
  }

  // MARK: - What each pane gets

  private func collectPanes(
    into delta: inout Delta, batch: RecordBatch, groups: RowGroups
  ) throws(FoldError) {
    let panes = Set(delta.groupPanes).sorted()
    if panes.count > limits.windowsPerBatch {
      let row = delta.firstRows[
        delta.groupPanes.firstIndex(of: panes[Int(limits.windowsPerBatch)]) ?? 0]
      throw failure(.tooManyWindows(limit: limits.windowsPerBatch), at: row, of: batch)
    }
    let positions = Dictionary(uniqueKeysWithValues: panes.enumerated().map { ($1, $0) })
    let partOfGroup = delta.groupPanes.map { positions[$0] ?? 0 }
    var parts = panes.map { Delta.PanePart(pane: $0, groupCount: 0, contributions: []) }
    for part in partOfGroup { parts[part].groupCount += 1 }

    var counted: Int64 = 0
    // Of the current slice, by pane: how many records, and the rows of the first and the last,
    // whose offsets ascend within a slice.
    var counts = [Int64](repeating: 0, count: parts.count)
    var firstRows = [Int](repeating: 0, count: parts.count)
    var lastRows = firstRows
    for slice in batch.slices {
      for row in slice.rows {
        let group = groups.ofRow[row]
        if group < 0 { continue }
        let part = partOfGroup[Int(group)]
        if counts[part] == 0 { firstRows[part] = row }
        lastRows[part] = row
        counts[part] += 1
      }
      for part in parts.indices where counts[part] > 0 {
        parts[part].contributions.append(
          Delta.Contribution(
            partitionIndex: slice.partitionIndex, smallestOffset: batch.offsets[firstRows[part]],
            largestOffset: batch.offsets[lastRows[part]], recordCount: counts[part]))
        counted += counts[part]
        counts[part] = 0
      }
    }
    delta.panes = parts
    delta.countedRecordCount = counted
  }
}
