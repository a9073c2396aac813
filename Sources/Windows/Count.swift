package import Tables

/// `count()` counts records, `count(f)` those whose value is not null.
package struct Count: OneColumnFunction {
  package static let name = "count"
  package static let usages = ["count()", "count(*)", "count(f)"]
  package static let gives = "int64: the records, or those whose field is not NULL"

  package init() {}
  package init(_ argument: ColumnDefinition?) {}

  package var result: ResultType { ResultType(.int64, isNullable: false) }
  package var onlyGrows: Bool { true }

  package func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    if let values {
      state.append(countRows(groups) { !values.isNull[$0] })
    } else {
      state.append(countRows(groups) { _ in true })
    }
  }

  @inline(__always)
  private func countRows(_ groups: RowGroups, _ isCounted: (Int) -> Bool) -> Column {
    var counts = [Int64](repeating: 0, count: groups.count)
    for row in groups.ofRow.indices {
      let group = groups.ofRow[row]
      if group >= 0 && isCounted(row) { counts[Int(group)] += 1 }
    }
    var result = Column(.int64)
    result.integers = counts
    result.isNull = [Bool](repeating: false, count: counts.count)
    return result
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) throws(Misfit) {
    state.append(try addedUp(parts[parts.startIndex], .int64, groups))
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    [sumSQL(held[0], added[0], .int64)]
  }
}
