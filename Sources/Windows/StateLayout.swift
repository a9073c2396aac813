package import Tables

/// How the state of an aggregate job is stored: a row per pane and group, with these columns.
package struct StateLayout: Sendable, Equatable {
  package let keys: [ColumnDefinition]
  package let measures: [Measure]
  /// The state columns of the measures, in their order.
  package let columns: [StateColumn]
  /// For each measure its columns' positions in `columns`.
  package let columnsOfMeasure: [Range<Int>]
  /// For each state column the definition in which its measure began.
  package let startOfColumn: [Int64]
  /// The newest of them: a pane that began in this definition holds all measures.
  package let newestStart: Int64

  package init(keys: [ColumnDefinition], measures: [Measure]) {
    self.keys = keys
    self.measures = measures
    var columns: [StateColumn] = []
    var columnsOfMeasure: [Range<Int>] = []
    for measure in measures {
      let first = columns.count
      columns += measure.function.state.map {
        StateColumn(measure.name + $0.name, $0.type, isNullable: $0.isNullable)
      }
      columnsOfMeasure.append(first..<columns.count)
    }
    self.columns = columns
    self.columnsOfMeasure = columnsOfMeasure
    startOfColumn = zip(measures, columnsOfMeasure).flatMap { measure, columns in
      columns.map { _ in measure.start }
    }
    newestStart = measures.map(\.start).max() ?? 1
  }

  /// Whether the table may hold NULL in a state column: of a measure that began later than the
  /// first definition it does, in panes that began before.
  package func mayHoldNull(_ column: Int) -> Bool {
    columns[column].isNullable || startOfColumn[column] > 1
  }

  /// What a stored column holds.
  package enum Role: Sendable, Equatable {
    case pane
    /// Whether a nullable key is null: a NULL never meets another in a primary key.
    case isNull(key: Int)
    case key(Int)
    case state(Int)
  }

  /// The columns as they are stored, in order. All but the state's identify a row.
  package var storedColumns: [(name: String, role: Role)] {
    // The first release's name for the pane, when every pane was a window.
    var stored: [(name: String, role: Role)] = [("window", .pane)]
    for (index, key) in keys.enumerated() {
      if key.isNullable { stored.append(("\(key.name)_is_null", .isNull(key: index))) }
      stored.append((key.name, .key(index)))
    }
    return stored + columns.enumerated().map { ($1.name, .state($0)) }
  }

  /// The measures' results, from their state columns: never a partial one.
  ///
  /// - Parameter oldest: The definition in which the oldest of the panes began. A measure that
  ///   began later is NULL everywhere.
  package func results(_ state: [Column], oldest: Int64 = .max) -> [Column] {
    zip(measures, columnsOfMeasure).map { measure, columns in
      guard measure.start > oldest else { return measure.function.results(state[columns]) }
      return Column(measure.result.type, nullCount: state[columns.lowerBound].count)
    }
  }

  /// A delta of another layout, of the same keys, in this one: NULL where it lacks a measure.
  package func restated(_ delta: Delta, in other: StateLayout) -> Delta {
    if other == self { return delta }
    var restated = delta
    restated.state = zip(measures, columnsOfMeasure).flatMap { measure, columns -> [Column] in
      if let index = other.measures.firstIndex(of: measure) {
        return Array(delta.state[other.columnsOfMeasure[index]])
      }
      return columns.map { Column(self.columns[$0].type, nullCount: delta.groupCount) }
    }
    return restated
  }

  /// The rows of several panes put together: one row per key, in order of first appearance.
  ///
  /// - Parameter oldest: As of ``results(_:oldest:)``.
  /// - Throws: ``MergeMisfit`` where a measure of the merged rows does not fit.
  package func merged(
    keys: [Column], state: [Column], oldest: Int64 = .max
  ) throws(MergeMisfit) -> (keys: [Column], state: [Column]) {
    let rowCount = (keys + state).first?.count ?? 0
    var grouping = Grouping(keyColumns: keys, panes: .same(0))
    grouping.assign([Bool](repeating: true, count: rowCount))
    var merged: [Column] = []
    for (measure, columns) in zip(measures, columnsOfMeasure) {
      if measure.start > oldest {
        merged += columns.map { Column(self.columns[$0].type, nullCount: grouping.groups.count) }
        continue
      }
      do {
        try measure.function.merge(state[columns], grouping.groups, into: &merged)
      } catch {
        throw MergeMisfit(measure: measure.name, row: error.row)
      }
    }
    return (keys.map { $0.selecting(grouping.firstRows) }, merged)
  }

  /// The first measure whose state cannot take up another row; nil where all can.
  ///
  /// - Parameters:
  ///   - held: One row, or none where nothing is held.
  ///   - row: The row of `added`.
  package func firstMisfit(_ held: [Column], plus added: [Column], row: Int) -> Int? {
    measures.indices.first { index in
      let columns = columnsOfMeasure[index]
      var both = Array(held[columns])
      for (position, column) in zip(both.indices, columns) {
        both[position].append(row: row, of: added[column])
      }
      var merged: [Column] = []
      let groups = RowGroups(one: both.first?.count ?? 0)
      do { try measures[index].function.merge(both[...], groups, into: &merged) } catch {
        return true
      }
      return false
    }
  }
}

/// A measure whose merged state does not fit.
package struct MergeMisfit: Error, Equatable {
  package let measure: String
  package let row: Int
}
