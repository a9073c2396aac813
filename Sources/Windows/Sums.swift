package import Tables

/// `sum(f)`: NULL where no value has come. Sums of integers are int64, those of uint64 are uint64,
/// and those of decimals have 18 digits.
package struct Sum: OneColumnFunction {
  package static let name = "sum"
  package static let usages = ["sum(f)"]
  package static let takes = "int32, int64, uint64, double, decimal"
  package static let gives =
    "int64, uint64, double or decimal(18,s). A sum that does not fit is an error."

  package let result: ResultType

  package init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    let argument = try Self.required(argument)
    let type: ColumnType
    switch argument.type {
    case .int32, .int64: type = .int64
    case .uint64: type = .uint64
    case .double: type = .double
    case .decimal(_, let scale): type = .decimal(precision: 18, scale: scale)
    case .bool, .string, .timestamp, .timestampMicroseconds, .date, .bytes:
      throw MeasureFault(
        "adds up a \(argument.type)",
        "Use a field of type int32, int64, uint64, double or decimal")
    }
    result = ResultType(type, isNullable: argument.isNullable)
  }

  package func accumulate(
    _ values: Column?, _ groups: RowGroups, into state: inout [Column]
  ) throws(Misfit) {
    guard let values else { preconditionFailure("a sum of no field") }
    state.append(try addedUp(values, result.type, groups))
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) throws(Misfit) {
    state.append(try addedUp(parts[parts.startIndex], result.type, groups))
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    let sum = sumSQL(held[0], added[0], result.type)
    return [result.isNullable ? notNullSQL(held[0], added[0], sum) : sum]
  }

  package var magnitude: (any MeasureFunction)? { result.type == .double ? Magnitude() : nil }
}

/// `avg(f)`: a double, from the sum and the count of the values; NULL where none has come.
package struct Average: MeasureFunction {
  package static let name = "avg"
  package static let usages = ["avg(f)"]
  package static let takes = Sum.takes
  package static let gives = "double: the sum divided by the count"

  private let sum: Sum
  private let count = Count()

  package init(_ argument: ColumnDefinition?) throws(MeasureFault) {
    sum = try Sum(Self.required(argument))
  }

  package var result: ResultType { ResultType(.double, isNullable: sum.result.isNullable) }

  package var state: [StateColumn] {
    [
      StateColumn("_sum", sum.result.type, isNullable: sum.result.isNullable),
      StateColumn("_count", .int64, isNullable: false),
    ]
  }

  package func accumulate(
    _ values: Column?, _ groups: RowGroups, into state: inout [Column]
  ) throws(Misfit) {
    try sum.accumulate(values, groups, into: &state)
    count.accumulate(values, groups, into: &state)
  }

  package func merge(
    _ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]
  ) throws(Misfit) {
    try sum.merge(parts.prefix(1), groups, into: &state)
    try count.merge(parts.dropFirst(), groups, into: &state)
  }

  package func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    sum.mergedSQL([held[0]], [added[0]]) + count.mergedSQL([held[1]], [added[1]])
  }

  package var magnitude: (any MeasureFunction)? { sum.magnitude }

  package func results(_ state: ArraySlice<Column>) -> Column {
    let (sum, count) = (state[state.startIndex], state[state.startIndex + 1])
    var result = Column(.double)
    result.reserveCapacity(sum.count)
    let unit =
      if case .decimal(_, let scale) = sum.type { PowersOfTen.doubles[scale] } else { 1.0 }
    for row in 0..<sum.count {
      if sum.isNull[row] || count.integers[row] == 0 {
        result.appendNull()
      } else {
        let total =
          switch sum.type {
          case .double: sum.doubles[row]
          case .uint64: Double(UInt64(kept: sum.integers[row]))
          default: Double(sum.integers[row]) / unit
          }
        result.append(double: total / Double(count.integers[row]))
      }
    }
    return result
  }
}

/// The sum of the magnitudes of doubles; 0 where no value has come. No job file can name it.
struct Magnitude: OneColumnFunction {
  static let name = "magnitude"
  static let usages: [String] = []
  static let takes = "double"
  static let gives = "double"

  init() {}
  init(_ argument: ColumnDefinition?) {}

  var result: ResultType { ResultType(.double, isNullable: false) }

  func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column]) {
    var sums = [Double](repeating: 0, count: groups.count)
    if let values {
      for row in groups.ofRow.indices where groups.ofRow[row] >= 0 && !values.isNull[row] {
        let group = Int(groups.ofRow[row])
        // Sums that fit may be of magnitudes that do not.
        sums[group] = min(sums[group] + abs(values.doubles[row]), .greatestFiniteMagnitude)
      }
    }
    var result = Column(.double)
    result.doubles = sums
    result.isNull = [Bool](repeating: false, count: sums.count)
    state.append(result)
  }

  func merge(_ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column]) {
    accumulate(parts[parts.startIndex], groups, into: &state)
  }

  func mergedSQL(_ held: [String], _ added: [String]) -> [String] {
    ["min(\(held[0]) + \(added[0]), 1.7976931348623157e308)"]
  }
}

// MARK: - Adding up

/// The sum of each group's values, of a type; NULL where there is none.
func addedUp(_ values: Column, _ type: ColumnType, _ groups: RowGroups) throws(Misfit) -> Column {
  switch type {
  case .double: try addedUpDoubles(values, groups)
  case .uint64: try addedUpUnsigned(values, groups)
  default: try addedUpIntegers(values, type, groups)
  }
}

private func addedUpUnsigned(_ values: Column, _ groups: RowGroups) throws(Misfit) -> Column {
  var sums = [UInt64](repeating: 0, count: groups.count)
  var isNull = [Bool](repeating: true, count: groups.count)
  for row in groups.ofRow.indices {
    let group = Int(groups.ofRow[row])
    if group < 0 || values.isNull[row] { continue }
    let (sum, overflow) = sums[group].addingReportingOverflow(UInt64(kept: values.integers[row]))
    guard !overflow else { throw Misfit(row: row, .overflow) }
    sums[group] = sum
    isNull[group] = false
  }
  var result = Column(.uint64)
  result.integers = zip(sums, isNull).map { $1 ? 0 : Int64(keeping: $0) }
  result.isNull = isNull
  return result
}

private func addedUpIntegers(
  _ values: Column, _ type: ColumnType, _ groups: RowGroups
) throws(Misfit) -> Column {
  // A decimal has at most 18 digits.
  let limit = if case .decimal = type { PowersOfTen.integers[18].magnitude } else { UInt64.max }
  var sums = [Int64](repeating: 0, count: groups.count)
  var isNull = [Bool](repeating: true, count: groups.count)
  for row in groups.ofRow.indices {
    let group = Int(groups.ofRow[row])
    if group < 0 || values.isNull[row] { continue }
    let (sum, overflow) = sums[group].addingReportingOverflow(values.integers[row])
    guard !overflow, sum.magnitude < limit else { throw Misfit(row: row, .overflow) }
    sums[group] = sum
    isNull[group] = false
  }
  var result = Column(type)
  result.integers = sums
  result.isNull = isNull
  return result
}

private func addedUpDoubles(_ values: Column, _ groups: RowGroups) throws(Misfit) -> Column {
  var sums = [Double](repeating: 0, count: groups.count)
  var isNull = [Bool](repeating: true, count: groups.count)
  for row in groups.ofRow.indices {
    let group = Int(groups.ofRow[row])
    if group < 0 || values.isNull[row] { continue }
    sums[group] += values.doubles[row]
    if !sums[group].isFinite { throw Misfit(row: row, .notFinite) }
    isNull[group] = false
  }
  var result = Column(.double)
  result.doubles = sums
  result.isNull = isNull
  return result
}

// MARK: - In SQL

/// The sum of two values that are not null. SQLite turns an integer sum that overflows into a REAL;
/// such a sum, a decimal of more than 18 digits or an infinite one becomes a text instead, which a
/// STRICT table refuses. Of two uint64, which are kept less 2^63, the lesser gets 2^63 back: it has
/// to be one that is kept below 0.
func sumSQL(_ held: String, _ added: String, _ type: ColumnType) -> String {
  let sum =
    type == .uint64
    ? "max(\(held), \(added)) + (min(\(held), \(added)) + 9223372036854775807 + 1)"
    : "\(held) + \(added)"
  let fits =
    switch type {
    case .double: "abs(\(sum)) <= 1.7976931348623157e308"
    case .decimal: "abs(\(sum)) < \(PowersOfTen.integers[18])"
    default: "typeof(\(sum)) = 'integer'"
    }
  return "iif(\(fits), \(sum), 'overflow')"
}

/// The one that is not null, or where both are not, what is merged of them.
package func notNullSQL(_ held: String, _ added: String, _ merged: String) -> String {
  "CASE WHEN \(added) IS NULL THEN \(held) WHEN \(held) IS NULL THEN \(added) ELSE \(merged) END"
}
