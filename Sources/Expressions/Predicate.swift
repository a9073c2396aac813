package import Tables

/// A `where` expression. It means what SQLite says over a table with the declared column types;
/// comparisons of a field with a literal, joined by AND, OR and NOT, are evaluated natively with
/// the same result. Used from one thread at a time.
package final class Predicate {
  private let sql: String
  private let sandbox: Sandbox
  private let statement: Sandbox.Statement
  private let native: NativePredicate?

  /// - Throws: ``ExpressionError``; also for a column that the schema does not have.
  package init(_ expression: Expression, schema: Schema) throws(ExpressionError) {
    sql = expression.sql
    do throws(Fault) {
      let sandbox = try Sandbox(schema)
      let head = "SELECT \(Sandbox.rowNumberName) FROM \(Sandbox.tableName) WHERE ("
      var statement = try sandbox.prepare(
        "\(head)\(sql)\n)", work: WorkBound([expression]),
        around: (expression, at: head.utf8.count))
      let form = UnsignedForm(expression, for: nil, in: schema)
      if form.sql != sql {
        statement = try sandbox.prepare("\(head)\(form.sql)\n)", work: WorkBound([expression]))
      }
      try sandbox.run(statement, over: probe(schema, rowCount: 3), rows: 0..<3) { _ in }
      native = try NativePredicate(expression, schema: schema, sandbox: sandbox)
      self.sandbox = sandbox
      self.statement = statement
    } catch {
      throw ExpressionError(error, item: nil, sql: expression.sql)
    }
  }

  /// What SQLite reads of the schema, in lower case.
  var columnNamesRead: Set<String> { statement.columnNames }
  /// Whether it is evaluated without SQLite.
  package var isNative: Bool { native != nil }

  /// Says for each row of a range whether it satisfies the expression; NULL and false are both no.
  ///
  /// - Parameter matches: Gets one verdict per row of the range.
  package func evaluate(_ columns: [Column], rows: Range<Int>, matches: inout [Bool])
    throws(ExpressionError)
  {
    if let native {
      native.evaluate(columns, rows: rows, matches: &matches)
    } else {
      try evaluateInSQLite(columns, rows: rows, matches: &matches)
    }
  }

  /// The slow path, for everything; the native one is held against it in the tests.
  func evaluateInSQLite(_ columns: [Column], rows: Range<Int>, matches: inout [Bool])
    throws(ExpressionError)
  {
    var verdicts = [Bool](repeating: false, count: rows.count)
    do throws(Fault) {
      try sandbox.run(statement, over: columns, rows: rows) {
        statement throws(Fault) in
        guard case .integer(let row) = statement.value(0) else {
          throw Fault(.evaluation("a row lost its number"))
        }
        verdicts[Int(row) - rows.lowerBound] = true
      }
    } catch {
      throw ExpressionError(error, item: nil, sql: sql)
    }
    matches = verdicts
  }
}
