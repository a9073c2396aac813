package import Jobs
package import Tables

/// How the measures of an aggregate job are kept between batches: one or two state columns a
/// measure, each merged by one operation.
package struct StateLayout: Sendable, Equatable {
  package enum Merge: Sendable, Equatable { case add, min, max }

  /// A column of the state. Nullable ones are NULL until a value that is not null has come.
  package struct StateColumn: Sendable, Equatable {
    package let name: String
    package let type: ColumnType
    package let isNullable: Bool
    package let merge: Merge
    /// The position in the batch's schema of the column it takes its values from; nil where it
    /// counts records.
    let input: Int?
    /// Whether it counts values instead of adding them up.
    let counts: Bool

    /// Whether the sum of two values of this column is one of its type; a null adds nothing, and so
    /// does a row that is not there.
    package func fits(_ left: Column, _ leftRow: Int, plus right: Column, _ rightRow: Int) -> Bool {
      guard leftRow < left.count, !left.isNull[leftRow], !right.isNull[rightRow] else {
        return true
      }
      if type.storage == .doubles {
        return (left.doubles[leftRow] + right.doubles[rightRow]).isFinite
      }
      return sumOfIntegers(left.integers[leftRow], right.integers[rightRow]) != nil
    }

    /// Nil where the sum does not fit into 64 bits, or into the 18 digits of a decimal.
    @inline(__always) func sumOfIntegers(_ left: Int64, _ right: Int64) -> Int64? {
      let (sum, overflow) = left.addingReportingOverflow(right)
      if overflow { return nil }
      if case .decimal = type, sum.magnitude >= 1_000_000_000_000_000_000 { return nil }
      return sum
    }
  }

  package let keys: [ColumnDefinition]
  package let columns: [StateColumn]
  /// For each measure in order, the state columns it is computed from: one, or sum and count for an
  /// average.
  package let columnsOfMeasure: [[Int]]
  /// Positions of the keys in the batch's schema.
  let keyInputs: [Int]

  /// - Precondition: the job aggregates, and the batch's schema holds every column that it names.
  package init(_ job: Job, batchSchema: Schema) {
    guard let aggregate = job.aggregate else { preconditionFailure("a row job has no state") }
    func position(_ name: String) -> Int {
      guard let index = batchSchema.index(of: name) else {
        preconditionFailure("column \(name) is not decoded")
      }
      return index
    }
    keys = aggregate.by.map(job.recordColumn)
    keyInputs = aggregate.by.map(position)
    var columns: [StateColumn] = []
    var columnsOfMeasure: [[Int]] = []
    for measure in aggregate.measures {
      let result = job.resultColumn(measure)
      let input = measure.field.map(position)
      let first = columns.count
      switch measure.function {
      case .count:
        columns.append(
          StateColumn(
            name: measure.name, type: .int64, isNullable: false, merge: .add, input: input,
            counts: true))
      case .sum:
        columns.append(
          StateColumn(
            name: measure.name, type: result.type, isNullable: result.isNullable, merge: .add,
            input: input, counts: false))
      case .min, .max:
        columns.append(
          StateColumn(
            name: measure.name, type: result.type, isNullable: result.isNullable,
            merge: measure.function == .min ? .min : .max,
            input: input, counts: false))
      case .avg:
        let field = job.recordColumn(measure.field ?? "")
        let type: ColumnType =
          field.type.storage == .doubles ? .double : field.type == .int32 ? .int64 : field.type
        columns.append(
          StateColumn(
            name: measure.name + "_sum", type: type, isNullable: field.isNullable, merge: .add,
            input: input, counts: false))
        columns.append(
          StateColumn(
            name: measure.name + "_count", type: .int64, isNullable: false, merge: .add,
            input: input, counts: true))
      }
      columnsOfMeasure.append(Array(first..<columns.count))
    }
    self.columns = columns
    self.columnsOfMeasure = columnsOfMeasure
  }

  /// Turns state columns, one row per group, into the measures' result columns.
  package func measures(of job: Job, state: [Column]) -> [Column] {
    guard let aggregate = job.aggregate else { preconditionFailure("a row job has no measures") }
    return zip(aggregate.measures, columnsOfMeasure).map { measure, parts in
      guard measure.function == .avg else {
        return state[parts[0]].retyped(job.resultColumn(measure).type)
      }
      return average(sum: state[parts[0]], count: state[parts[1]])
    }
  }

  private func average(sum: Column, count: Column) -> Column {
    var result = Column(.double)
    result.reserveCapacity(sum.count)
    let scale =
      if case .decimal(_, let digits) = sum.type { PowersOfTen.doubles[digits] } else { 1.0 }
    for row in 0..<sum.count {
      if sum.isNull[row] || count.integers[row] == 0 {
        result.appendNull()
      } else {
        let total =
          sum.type.storage == .doubles ? sum.doubles[row] : Double(sum.integers[row]) / scale
        result.append(double: total / Double(count.integers[row]))
      }
    }
    return result
  }
}

extension Column {
  /// The same values under another type of the same storage.
  func retyped(_ type: ColumnType) -> Column {
    if type == self.type { return self }
    var column = Column(type)
    column.integers = integers
    column.doubles = doubles
    column.text = text
    column.isNull = isNull
    return column
  }
}
