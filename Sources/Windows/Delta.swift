package import Tables

/// What one batch adds to the state: for each group of each window the values to merge, in order of
/// first appearance.
package struct Delta: Sendable {
  /// What one window gets from the batch.
  package struct Window: Sendable, Equatable {
    /// Milliseconds since 1970 UTC of its start; 0 for the global window; the batch's number for a
    /// batch window.
    package let window: Int64
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

  /// Ascending by window.
  package internal(set) var windows: [Window] = []
  /// The window of each group.
  package internal(set) var groupWindows: [Int64] = []
  /// The group keys, one column per key, one row per group.
  package internal(set) var keys: [Column] = []
  /// One column per state column, one row per group.
  package internal(set) var state: [Column] = []
  /// A row of the batch that belongs to each group.
  package internal(set) var firstRows: [Int] = []
  /// Records that `where` let through.
  package internal(set) var countedRecordCount: Int64 = 0

  package var groupCount: Int { groupWindows.count }
}

/// Why a batch can not be folded. None of these goes away by trying again.
package struct FoldError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    /// A sum that no longer fits into 64 bits, or into the 18 digits of a decimal.
    case overflow(measure: String, group: String)
    case tooManyWindows(limit: Int64)
    case keyTooLong(column: String, byteCount: Int, limit: Int64)
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
    case .keyTooLong(let column, let byteCount, let limit):
      "the key \(column) is \(byteCount) bytes long and limits.key_bytes is \(limit)"
    }
  }

  package var remedy: String {
    switch code {
    case .overflow, .sumNotFinite:
      "Leave the record out, or start a job of another name with narrower windows, or with a "
        + "double or a smaller unit for the field"
    case .tooManyWindows:
      "Raise limits.windows_per_batch, lower trigger.max_offsets, or leave out the record if its "
        + "time is wrong"
    case .keyTooLong: "Raise limits.key_bytes, or leave the record out"
    }
  }
}
