internal import Formats
package import Tables

/// A row in which a table is not what was expected.
package struct TableDifference: Equatable {
  /// Of the table that is there, or where a row is missing, the one it should stand before; from 1.
  package let row: Int
  /// As CSV without its line end; nil where there should be no such row.
  package let expected: String?
  /// Nil where the row is missing.
  package let got: String?
}

extension Table {
  /// Rows in which two tables of one schema differ, in their order. Doubles are the same where they
  /// differ by less than one part in 10^12; all else must be equal.
  package func differences(from expected: Table) -> [TableDifference] {
    let start = (0..<min(rowCount, expected.rowCount)).first {
      !isRow($0, sameAs: $0, of: expected)
    }
    let first = start ?? min(rowCount, expected.rowCount)
    var (end, expectedEnd) = (rowCount, expected.rowCount)
    while end > first, expectedEnd > first, isRow(end - 1, sameAs: expectedEnd - 1, of: expected) {
      (end, expectedEnd) = (end - 1, expectedEnd - 1)
    }
    var pairs: [(got: Int?, expected: Int?)] = []
    if max(end, expectedEnd) - first > Self.alignedRowLimit {
      pairs = (first..<max(end, expectedEnd)).map {
        ($0 < end ? $0 : nil, $0 < expectedEnd ? $0 : nil)
      }
    } else {
      pairs = alignedRows(first..<end, with: first..<expectedEnd, of: expected)
    }
    var next = first
    return pairs.compactMap { pair in
      if let got = pair.got { next = got + 1 }
      if let got = pair.got, let other = pair.expected, isRow(got, sameAs: other, of: expected) {
        return nil
      }
      return TableDifference(
        row: (pair.got ?? next) + 1, expected: pair.expected.map(expected.csvRow),
        got: pair.got.map(csvRow))
    }
  }

  /// Aligning rows takes time by the square of their number.
  private static let alignedRowLimit = 2_000

  /// Rows that are the same beside each other; between them, rows that differ, as far as both sides
  /// have one.
  private func alignedRows(
    _ rows: Range<Int>, with others: Range<Int>, of expected: Table
  ) -> [(got: Int?, expected: Int?)] {
    let changes = Array(rows).difference(from: Array(others)) { other, row in
      isRow(row, sameAs: other, of: expected)
    }
    var removed: Set<Int> = []
    var inserted: Set<Int> = []
    for change in changes {
      switch change {
      case .remove(let place, _, _): removed.insert(others.lowerBound + place)
      case .insert(let place, _, _): inserted.insert(rows.lowerBound + place)
      }
    }
    var pairs: [(got: Int?, expected: Int?)] = []
    var (row, other) = (rows.lowerBound, others.lowerBound)
    while row < rows.upperBound || other < others.upperBound {
      let isOdd = (got: inserted.contains(row), expected: removed.contains(other))
      switch isOdd {
      case (true, false): pairs.append((row, nil))
      case (false, true): pairs.append((nil, other))
      default: pairs.append((row, other))
      }
      if isOdd.got || !isOdd.expected { row += 1 }
      if isOdd.expected || !isOdd.got { other += 1 }
    }
    return pairs
  }

  private func isRow(_ row: Int, sameAs other: Int, of expected: Table) -> Bool {
    schema.columns.indices.allSatisfy { index in
      let (left, right) = (self[index], expected[index])
      guard left.isNull[row] == right.isNull[other] else { return false }
      if left.isNull[row] { return true }
      switch left.type.storage {
      case .integers: return left.integers[row] == right.integers[other]
      case .doubles: return isNear(left.doubles[row], right.doubles[other])
      case .text:
        return left.text.withBytes(of: row) { bytes in
          right.text.withBytes(of: other) { bytes.elementsEqual($0) }
        }
      }
    }
  }

  private func isNear(_ left: Double, _ right: Double) -> Bool {
    left == right || abs(left - right) <= 1e-12 * max(abs(left), abs(right))
  }

  /// One row as the CSV of results has it.
  private func csvRow(_ row: Int) -> String {
    String(selecting([row]).csvText.drop { $0 != "\n" }.dropFirst().dropLast())
  }

  /// The names of the columns.
  var csvHeader: String { String(selecting([]).csvText.dropLast()) }

  var csvText: String {
    String(decoding: (try? CSVEncoder.encode(self)) ?? [], as: UTF8.self)
  }
}
