package import Tables

/// `min(f)`: NULL where no value has come. Texts are compared by their bytes.
package struct Minimum: MeasureFunction {
  package static let name = "min"
  package static let usages = ["min(f)"]
  package static let gives = "the field's type: the least value"

  package let result: ResultType

  package init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    let argument = try Self.required(argument)
    result = ResultType(argument.type, isNullable: argument.isNullable)
  }

  package var state: [StateColumn] { [StateColumn("", result.type, isNullable: result.isNullable)] }

  package func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    guard let values else { preconditionFailure("a minimum of no field") }
    let smallest =
      switch values.type.storage {
      case .integers: extreme(values, groups) { values.integers[$0] < values.integers[$1] }
      case .doubles: extreme(values, groups) { values.doubles[$0] < values.doubles[$1] }
      case .text: extreme(values, groups) { values.text.compare($0, $1) < 0 }
      }
    state.append(smallest)
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) {
    accumulate(parts[parts.startIndex], groups, into: &state)
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    let smaller = "min(\(held[0]), \(added[0]))"
    return [result.isNullable ? notNullSQL(held[0], added[0], smaller) : smaller]
  }

  package func results(_ state: ArraySlice<Column>) -> Column { state[state.startIndex] }
}

/// `max(f)`, as ``Minimum``.
package struct Maximum: MeasureFunction {
  package static let name = "max"
  package static let usages = ["max(f)"]
  package static let gives = "the field's type: the greatest value"

  package let result: ResultType

  package init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    let argument = try Self.required(argument)
    result = ResultType(argument.type, isNullable: argument.isNullable)
  }

  package var state: [StateColumn] { [StateColumn("", result.type, isNullable: result.isNullable)] }

  package func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    guard let values else { preconditionFailure("a maximum of no field") }
    let largest =
      switch values.type.storage {
      case .integers: extreme(values, groups) { values.integers[$0] > values.integers[$1] }
      case .doubles: extreme(values, groups) { values.doubles[$0] > values.doubles[$1] }
      case .text: extreme(values, groups) { values.text.compare($0, $1) > 0 }
      }
    state.append(largest)
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) {
    accumulate(parts[parts.startIndex], groups, into: &state)
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    let larger = "max(\(held[0]), \(added[0]))"
    return [result.isNullable ? notNullSQL(held[0], added[0], larger) : larger]
  }

  package func results(_ state: ArraySlice<Column>) -> Column { state[state.startIndex] }
}

/// The value of each group whose row comes first by `precedes`.
@inline(__always)
private func extreme(
  _ values: Column, _ groups: RowGroups, _ precedes: (Int, Int) -> Bool
) -> Column {
  var best = [Int](repeating: -1, count: groups.count)
  for row in groups.ofRow.indices {
    let group = Int(groups.ofRow[row])
    if group < 0 || values.isNull[row] { continue }
    if best[group] < 0 || precedes(row, best[group]) { best[group] = row }
  }
  var result = Column(values.type)
  for row in best {
    if row < 0 { result.appendNull() } else { result.append(row: row, of: values) }
  }
  return result
}
