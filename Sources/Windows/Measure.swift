package import Tables

/// A function over the records of a group, for arguments of one type: all that is particular to it.
///
/// A new one is a type of its own and a row in ``Measure/functions``. Whatever it merges must be
/// independent of order and of the cuts between batches, so that the same records give the same
/// result.
package protocol MeasureFunction: Sendable {
  /// As the job file calls it.
  static var name: String { get }

  /// The ways to write it, for messages: `count()`, `count(f)`.
  static var usages: [String] { get }

  /// The types of an argument and what the result is, for documentation.
  static var takes: String { get }
  static var gives: String { get }

  /// - Parameter argument: The column that it reads; nil where none is given.
  init(_ argument: ColumnDefinition?) throws(MeasureFault)

  var result: ResultType { get }

  /// What it keeps of a group. A name is put behind that of the measure: `_sum`.
  var state: [StateColumn] { get }

  /// Appends its state columns, one row per group, over rows of a batch.
  ///
  /// - Parameter values: The argument's column; nil where it has none.
  /// - Throws: ``Misfit`` with the first row that no longer fits.
  func accumulate(_ values: Column?, _ groups: RowGroups, into state: inout [Column])
    throws(Misfit)

  /// As ``accumulate(_:_:into:)``, over rows of states: one row per group, from one or more.
  func merge(_ parts: ArraySlice<Column>, _ groups: RowGroups, into state: inout [Column])
    throws(Misfit)

  /// For each state column the SQL that merges what the table holds with what is added. It gives a
  /// text where that does not fit, which a STRICT table refuses.
  ///
  /// - Parameters:
  ///   - held: The state columns' values in the table, as SQL names them.
  ///   - added: The same of the row to be added.
  func mergedSQL(_ held: [String], _ added: [String]) -> [String]

  /// The functions of ours that ``mergedSQL(_:_:)`` calls.
  var mergeFunctions: [MergeFunction] { get }

  /// The result of each group, from its state columns.
  func results(_ state: ArraySlice<Column>) -> Column

  /// What bounds the rounding of the doubles that it adds up; nil where it adds up none.
  var magnitude: (any MeasureFunction)? { get }

  /// Whether its state is one integer, which more records never make smaller.
  var onlyGrows: Bool { get }
}

extension MeasureFunction {
  package static var takes: String { "any type" }
  package var mergeFunctions: [MergeFunction] { [] }
  package var magnitude: (any MeasureFunction)? { nil }
  package var onlyGrows: Bool { false }

  static func required(
    _ argument: ColumnDefinition?
  ) throws(MeasureFault) -> ColumnDefinition {
    guard let argument else { throw MeasureFault("needs a field", "Write \(name)(FIELD)") }
    return argument
  }
}

/// A function that keeps its result itself.
protocol OneColumnFunction: MeasureFunction {}

extension OneColumnFunction {
  package var state: [StateColumn] { [StateColumn("", result.type, isNullable: result.isNullable)] }
  package func results(_ state: ArraySlice<Column>) -> Column { state[state.startIndex] }
}

package struct ResultType: Sendable, Equatable {
  package let type: ColumnType
  package let isNullable: Bool

  /// - Precondition: the type is one that a table can show.
  package init(_ type: ColumnType, isNullable: Bool) {
    precondition(type != .bytes, "bytes are no result")
    self.type = type
    self.isNullable = isNullable
  }
}

/// A column of the state. A nullable one is NULL until a value that is not null has come.
package struct StateColumn: Sendable, Equatable {
  package let name: String
  package let type: ColumnType
  package let isNullable: Bool

  package init(_ name: String, _ type: ColumnType, isNullable: Bool) {
    self.name = name
    self.type = type
    self.isNullable = isNullable
  }
}

/// A function that is registered with SQLite to merge two states that are bytes.
package struct MergeFunction: Sendable {
  /// As SQL calls it; equal names mean equal functions.
  package let name: String
  /// Nil where one of the two is no such state.
  package let merge: @Sendable (_ held: [UInt8], _ added: [UInt8]) -> [UInt8]?

  package init(
    _ name: String, _ merge: @escaping @Sendable (_ held: [UInt8], _ added: [UInt8]) -> [UInt8]?
  ) {
    self.name = name
    self.merge = merge
  }
}

/// Why a function cannot take an argument, and what to do.
package struct MeasureFault: Error, Equatable {
  /// Goes on after the measure: "needs a field".
  package let problem: String
  package let remedy: String

  package init(_ problem: String, _ remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }
}

/// A row that the state of its group cannot take up.
package struct Misfit: Error, Equatable {
  package enum Reason: Sendable { case overflow, notFinite }
  package let row: Int
  package let reason: Reason

  package init(row: Int, _ reason: Reason) {
    self.row = row
    self.reason = reason
  }
}

/// A measure of a job: a function under a name.
package struct Measure: Sendable, Equatable, CustomStringConvertible {
  /// Every function that a job file can name.
  package static let functions: [any MeasureFunction.Type] = [
    Count.self, Sum.self, Minimum.self, Maximum.self, Average.self,
  ]

  package let name: String
  /// The column that it reads; nil for `count()`.
  package let argument: String?
  package let function: any MeasureFunction
  /// The number of the job's definition in which it began, from 1. A pane that began in an earlier
  /// one holds nothing of it.
  package let start: Int64

  package init(
    _ name: String, _ function: any MeasureFunction, argument: String?, start: Int64 = 1
  ) {
    self.name = name
    self.function = function
    self.argument = argument
    self.start = start
  }

  package func starting(with definition: Int64) -> Measure {
    Measure(name, function, argument: argument, start: definition)
  }

  /// - Parameter name: In any case, as in SQL.
  package static func function(named name: String) -> (any MeasureFunction.Type)? {
    functions.first { $0.name == name.lowercased() }
  }

  /// Functions of SQL that a job file cannot name yet, in lower case.
  package static func isNotBuilt(_ name: String) -> Bool {
    let starts = ["approx", "median", "percentile", "quantile", "std", "stddev", "var", "uniq"]
    let names = [
      "any_value", "array_agg", "bool_and", "bool_or", "corr", "count_if", "countif", "distinct",
      "first", "first_value", "group_concat", "histogram", "last", "last_value", "max_by", "min_by",
      "mode", "string_agg", "total",
    ]
    return names.contains(name.lowercased()) || starts.contains(where: name.lowercased().hasPrefix)
  }

  package var result: ColumnDefinition {
    ColumnDefinition(name, function.result.type, isNullable: function.result.isNullable)
  }

  /// The sum of the magnitudes of what the measure adds up, where that is doubles.
  ///
  /// Such sums are the same for the same cuts into batches; for other cuts they differ in their
  /// last digits, as the order of the additions does.
  package var magnitude: Measure? {
    // No job file can give this name.
    function.magnitude.map {
      Measure("magnitude of \(name)", $0, argument: argument, start: start)
    }
  }

  /// `calls count()`, `mean avg(time_taken)`: as the checkpoint spells it.
  package var description: String { "\(name) \(type(of: function).name)(\(argument ?? ""))" }

  package static func == (left: Measure, right: Measure) -> Bool {
    left.description == right.description && left.result == right.result
  }
}
