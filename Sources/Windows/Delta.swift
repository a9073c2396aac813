package import Tables

/// What one batch adds to the state: for each group of each pane the values to merge, in order of
/// first appearance.
package struct Delta: Sendable {
  /// What one pane gets from the batch.
  package struct PanePart: Sendable, Equatable {
    package let pane: Pane
    package internal(set) var groupCount: Int
    /// Which offsets of each partition contributed: ascending by partition.
    package internal(set) var contributions: [Contribution]
  }

  package struct Contribution: Sendable, Equatable {
    /// The batch's partition number, as in `RecordBatch.Slice`.
    package let partitionIndex: Int
    package internal(set) var smallestOffset: Int64
    package internal(set) var largestOffset: Int64
    package internal(set) var recordCount: Int64
  }

  /// Ascending by pane.
  package internal(set) var panes: [PanePart] = []
  /// The pane of each group.
  package internal(set) var groupPanes: [Pane] = []
  /// The group keys, one column per key, one row per group.
  package internal(set) var keys: [Column] = []
  /// One column per state column, one row per group.
  package internal(set) var state: [Column] = []
  /// A row of the batch that belongs to each group.
  package internal(set) var firstRows: [Int] = []
  /// Records that `where` let through.
  package internal(set) var countedRecordCount: Int64 = 0

  package var groupCount: Int { groupPanes.count }
}

/// Why a batch cannot be folded. None of these goes away by trying again.
package struct FoldError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    /// A sum that no longer fits into 64 bits, or into the 18 digits of a decimal.
    case overflow(measure: String, group: String)
    case tooManyWindows(limit: Int64)
    case sumNotFinite(measure: String, group: String)
  }
  package let code: Code
  package let partitionIndex: Int
  package let offset: Int64

  package init(code: Code, partitionIndex: Int, offset: Int64) {
    self.code = code
    self.partitionIndex = partitionIndex
    self.offset = offset
  }

  package var description: String {
    switch code {
    case .overflow(let measure, let group):
      "the sum of measure \(measure) for group \(group) no longer fits (64 bits; a decimal 18 "
        + "digits)"
    case .sumNotFinite(let measure, let group):
      "the sum of measure \(measure) for group \(group) is no longer a finite number"
    case .tooManyWindows(let limit):
      "the batch touches more than \(limit) windows (limits.windows_per_batch)"
    }
  }

  package var remedy: String {
    switch code {
    case .overflow, .sumNotFinite:
      "Start a job of another name with narrower windows, or with a double or a smaller unit for "
        + "the field. Or leave the record out"
    case .tooManyWindows:
      "Raise limits.windows_per_batch, or lower trigger.max_offsets. Or, if the record's time is "
        + "wrong, leave it out"
    }
  }
}
