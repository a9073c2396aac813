internal import Tables

/// The group of each row, by its number from 0: what a measure needs to know of a batch.
package struct RowGroups: Sendable {
  /// -1 where the row does not take part.
  package var ofRow: [Int32]
  package var count: Int

  package init(ofRow: [Int32], count: Int) {
    self.ofRow = ofRow
    self.count = count
  }

  /// All rows in one group.
  package init(one rowCount: Int) {
    self.init(ofRow: [Int32](repeating: 0, count: rowCount), count: 1)
  }
}

/// Numbers the groups of a batch: rows with equal pane and equal keys share a number, given in
/// order of first appearance.
///
/// An open-addressing table of group numbers under 64-bit hashes. Rows are first put together by
/// their hash alone, which one pass per key column then verifies; only where two different keys
/// share a hash is every row compared. Texts are equal when their bytes are; NULL equals NULL.
struct Grouping {
  private let keyColumns: [Column]
  private let panes: RowPanes
  private(set) var groups = RowGroups(ofRow: [], count: 0)
  /// The row that opened each group.
  private(set) var firstRows: [Int] = []

  private var slots: [Int32] = []
  private var hashes: [UInt64] = []

  init(keyColumns: [Column], panes: RowPanes) {
    self.keyColumns = keyColumns
    self.panes = panes
  }

  mutating func assign(_ matches: [Bool]) {
    assign(matches) { _, _ in true }
    if !isVerified() { assign(matches, isSameGroup) }
    groups.count = firstRows.count
  }

  @inline(__always)
  private mutating func assign(_ matches: [Bool], _ isSame: (Int, Int) -> Bool) {
    groups.ofRow = [Int32](repeating: -1, count: matches.count)
    firstRows.removeAll()
    hashes.removeAll()
    slots = [Int32](repeating: -1, count: 1_024)
    // Some rows at a time, so that their hashes stay near the processor.
    let rowsPerPiece = 1_024
    var rowHashes = [UInt64](repeating: 0, count: min(rowsPerPiece, matches.count))
    for first in stride(from: 0, to: matches.count, by: rowsPerPiece) {
      let rows = first..<min(first + rowsPerPiece, matches.count)
      hash(rows, into: &rowHashes)
      for row in rows where matches[row] {
        let hash = rowHashes[row - first]
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while true {
          let group = slots[slot]
          if group < 0 {
            groups.ofRow[row] = openGroup(row, hash, slot)
            break
          }
          if hashes[Int(group)] == hash && isSame(row, firstRows[Int(group)]) {
            groups.ofRow[row] = group
            break
          }
          slot = (slot + 1) & (slots.count - 1)
        }
      }
    }
  }

  /// Whether every row has the pane and the keys of its group's first row.
  private func isVerified() -> Bool {
    func holds(_ isSame: (Int, Int) -> Bool) -> Bool {
      for row in groups.ofRow.indices {
        let group = groups.ofRow[row]
        if group >= 0 && !isSame(row, firstRows[Int(group)]) { return false }
      }
      return true
    }
    if case .each(let panes) = panes, !holds({ panes[$0] == panes[$1] }) { return false }
    for column in keyColumns {
      guard holds({ column.isNull[$0] == column.isNull[$1] }) else { return false }
      let isSame =
        switch column.type.storage {
        case .integers: holds { column.integers[$0] == column.integers[$1] }
        case .doubles: holds { column.doubles[$0] == column.doubles[$1] }
        case .text: holds { column.text.isSame($0, $1) }
        }
      if !isSame { return false }
    }
    return true
  }

  func isSameGroup(_ left: Int, _ right: Int) -> Bool {
    guard panes[left] == panes[right] else { return false }
    // By index: iterating would copy each column, and count references, for every record.
    for index in keyColumns.indices where !keyColumns[index].isSame(left, right) { return false }
    return true
  }

  private mutating func openGroup(_ row: Int, _ hash: UInt64, _ slot: Int) -> Int32 {
    let group = Int32(firstRows.count)
    firstRows.append(row)
    hashes.append(hash)
    slots[slot] = group
    if firstRows.count * 2 > slots.count { grow() }
    return group
  }

  private mutating func grow() {
    slots = [Int32](repeating: -1, count: slots.count * 4)
    for (group, hash) in hashes.enumerated() {
      var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = Int32(group)
    }
  }

  /// The hash of each of some rows, column by column.
  ///
  /// - Parameter hashes: At least as many as there are rows; the first row's comes first.
  private func hash(_ rows: Range<Int>, into hashes: inout [UInt64]) {
    let first = rows.lowerBound
    switch panes {
    case .same(let pane):
      for row in rows { hashes[row - first] = mixedHash(UInt64(bitPattern: pane)) }
    case .each(let panes):
      for row in rows { hashes[row - first] = mixedHash(UInt64(bitPattern: panes[row])) }
    }
    for column in keyColumns { column.mixHashes(of: rows, into: &hashes) }
  }
}
