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
  package init(_ sql: String, schema: Schema) throws(ExpressionError) {
    self.sql = sql
    do throws(ExpressionError.Code) {
      let tokens = try checkText(sql)
      let sandbox = try Sandbox(schema)
      let select = "SELECT \(Sandbox.rowNumberName) FROM \(Sandbox.tableName) WHERE (\(sql)\n)"
      let statement = try sandbox.prepare(select, work: WorkBound([tokens]))
      try sandbox.run(statement, over: probe(schema, rowCount: 3), rowCount: 3) { _ in }
      native = try NativePredicate(tokens: tokens, schema: schema, sandbox: sandbox)
      self.sandbox = sandbox
      self.statement = statement
    } catch {
      throw ExpressionError(code: error, item: nil, sql: sql)
    }
  }

  /// Columns of the schema that it reads, in lower case.
  package var columnNames: Set<String> { statement.columnNames }
  /// Whether it is evaluated without SQLite.
  package var isNative: Bool { native != nil }

  /// Says for each row whether it satisfies the expression; NULL and false are both no.
  ///
  /// - Parameter matches: Gets one verdict per row.
  package func evaluate(_ columns: [Column], rows: Range<Int>, matches: inout [Bool])
    throws(ExpressionError)
  {
    if let native {
      native.evaluate(columns, rowCount: rows.count, matches: &matches)
    } else {
      try evaluateInSQLite(columns, rowCount: rows.count, matches: &matches)
    }
  }

  /// The slow path, for everything; the native one is held against it in the tests.
  func evaluateInSQLite(_ columns: [Column], rowCount: Int, matches: inout [Bool])
    throws(ExpressionError)
  {
    var verdicts = [Bool](repeating: false, count: rowCount)
    do throws(ExpressionError.Code) {
      try sandbox.run(statement, over: columns, rowCount: rowCount) {
        statement throws(ExpressionError.Code) in
        guard case .integer(let row) = statement.value(0) else {
          throw .evaluation("a row lost its number")
        }
        verdicts[Int(row)] = true
      }
    } catch {
      throw ExpressionError(code: error, item: nil, sql: sql)
    }
    matches = verdicts
  }
}
