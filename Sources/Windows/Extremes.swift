internal import Tables

/// `min(f)`: NULL where no value has come. Texts are compared by their bytes.
package struct Minimum: Extreme {
  package static let name = "min"
  package static let usages = ["min(f)"]
  package static let gives = "the field's type: the least value"
  static let isLeast = true

  package let result: ResultType
  init(result: ResultType) { self.result = result }
}

/// `max(f)`, as ``Minimum``.
package struct Maximum: Extreme {
  package static let name = "max"
  package static let usages = ["max(f)"]
  package static let gives = "the field's type: the greatest value"
  static let isLeast = false

  package let result: ResultType
  init(result: ResultType) { self.result = result }
}

/// What the least and the greatest value have in common. SQL calls the functions as we do.
protocol Extreme: OneColumnFunction {
  static var isLeast: Bool { get }
  init(result: ResultType)
}

extension Extreme {
  package init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    let argument = try Self.required(argument)
    self.init(result: ResultType(argument.type, isNullable: argument.isNullable))
  }

  package func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    guard let values else { preconditionFailure("\(Self.name) of no field") }
    state.append(extremes(values, groups))
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) {
    state.append(extremes(parts[parts.startIndex], groups))
  }

  private func extremes(_ values: Column, _ groups: RowGroups) -> Column {
    Self.isLeast ? least(values, groups) : greatest(values, groups)
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    let extreme = "\(Self.name)(\(held[0]), \(added[0]))"
    return [result.isNullable ? notNullSQL(held[0], added[0], extreme) : extreme]
  }
}

private func least(_ values: Column, _ groups: RowGroups) -> Column {
  switch values.type.storage {
  case .integers: extreme(values, groups) { values.integers[$0] < values.integers[$1] }
  case .doubles: extreme(values, groups) { values.doubles[$0] < values.doubles[$1] }
  case .text: extreme(values, groups) { values.text.compare($0, $1) < 0 }
  }
}

private func greatest(_ values: Column, _ groups: RowGroups) -> Column {
  switch values.type.storage {
  case .integers: extreme(values, groups) { values.integers[$0] > values.integers[$1] }
  case .doubles: extreme(values, groups) { values.doubles[$0] > values.doubles[$1] }
  case .text: extreme(values, groups) { values.text.compare($0, $1) > 0 }
  }
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
