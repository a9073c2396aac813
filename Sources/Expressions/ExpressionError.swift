internal import Escaping
package import Tables

/// Why an expression is refused, or why a value of it is no value of its column.
package struct ExpressionError: Error, Equatable, CustomStringConvertible {
  package enum Code: Error, Equatable, Sendable {
    case empty
    case tooLong(limit: Int)
    case comment, semicolon, parameter, unbalanced, unterminatedQuote
    case unknownColumn(name: String, candidates: [String])
    case forbiddenFunction(String)
    case subquery
    case changesRowCount
    /// A column whose name means something else in SQL, and stands there without quotes.
    case keyword(String)
    /// SQLite's own words.
    case syntax(String)
    case tooMuchWork
    /// A frame that is computed anew for every row, over too many rows.
    case quadratic(rowCount: Int, limit: Int)
    /// A text that is longer than a value may be.
    case valueTooLong(limit: Int)
    /// A text or a row inside the expression.
    case workTooLong(limit: Int)
    /// All texts of a table together.
    case tableTooLong(limit: Int64)
    /// A value that does not convert to the declared type without loss.
    case conversion(value: String, type: ColumnType, row: Int)
    /// A uint64 above 2^63 - 1 that is not only compared or handed on.
    case tooLargeForSQL(column: String)
    case evaluation(String)
  }
  package let code: Code
  /// The `select` item; nil for `where`.
  package let item: String?
  package let sql: String
  /// Where in the expression it is wrong; nil where that is not known.
  package let position: SourcePosition?

  init(_ fault: Fault, item: String?, sql: String) {
    code = fault.code
    self.item = item
    self.sql = sql
    position = fault.offset.map { SourcePosition(of: $0, in: sql) }
  }

  /// The item if there is one, the expression, the problem and its place.
  package var description: String {
    (item.map { "\(ForeignText.quoted($0)): " } ?? "") + words(withPosition: true)
  }

  /// The expression and the problem.
  ///
  /// - Parameter withPosition: Whether to say where, in lines and columns of the expression.
  package func words(withPosition: Bool) -> String {
    var place = ""
    if withPosition, let position {
      // One column of one line needs no number.
      if sql.contains(where: \.isNewline) {
        place = ", line \(position.line), column \(position.column)"
      } else if position.column > 1 {
        place = ", column \(position.column)"
      }
    }
    return "`\(ForeignText.quoted(sql))`\(place): \(problem)"
  }

  private var problem: String {
    switch code {
    case .empty: "is empty. Write a SQL expression, or leave the key out"
    case .tooLong(let limit): "is longer than \(limit) bytes. Shorten it"
    case .comment: "holds a SQL comment. Write comments in YAML, after #"
    case .semicolon: "holds a semicolon. Write one expression"
    case .parameter: "holds a parameter (?, :name, @name or $name). Write the value itself"
    case .unbalanced: "has parentheses that do not match. Close each one that is opened"
    case .unterminatedQuote: "has a quote that is not closed"
    case .unknownColumn(let name, let candidates):
      "there is no column \(ForeignText.quoted(name, byteLimit: 100)). "
        + (Suggestion.nearest(to: name, among: candidates)
          ?? "There are: \(Suggestion.list(candidates))")
    case .forbiddenFunction(let name):
      "\(ForeignText.quoted(name, byteLimit: 100)) is not allowed here: expressions may use "
        + "SQLite's deterministic built-in functions only"
    case .subquery:
      "holds a SELECT. Write an expression over the columns; a window function such as sum(x) "
        + "OVER () sees all rows"
    case .changesRowCount:
      "changes the number of rows. Write the aggregate as a window function, for example sum(x) "
        + "OVER ()"
    case .keyword(let name):
      "\(name) is a word of SQL. To mean the column, write it in double quotes: \"\(name)\""
    case .syntax(let message): "SQLite refuses it: \(ForeignText.quoted(message))"
    case .tooMuchWork: "takes too much work. Make it simpler"
    case .quadratic(let rowCount, let limit):
      "computes a frame with EXCLUDE anew for each of \(rowCount) rows, and \(limit) is the most. "
        + "Take the row's own value from the whole instead, for example sum(x) OVER () - x"
    case .valueTooLong(let limit):
      "makes a text of more than \(limit) bytes (limits.value_bytes). Shorten it, for example "
        + "with substr(x, 1, 1000), or raise the limit"
    case .workTooLong(let limit):
      "takes a text or a row of more than \(limit) bytes. Shorten what it works with"
    case .tableTooLong(let limit):
      "makes texts of more than \(limit) bytes in one object (limits.object_bytes). Shorten them, "
        + "or raise the limit"
    case .conversion(let value, let type, let row):
      "the value \(value) of row \(row) is not a valid \(type). Declare another type, or "
        + "convert it with CAST or round()"
    case .tooLargeForSQL(let column):
      "computes with a value of \(column) above 9223372036854775807, SQL's greatest integer. "
        + "Write CAST(\(column) AS REAL) to compute with it as a double"
    case .evaluation("integer overflow"):
      "overflows. Compute with doubles: total(x) for sum(x), CAST(x AS REAL) for x"
    case .evaluation(let message): "cannot be computed: \(ForeignText.quoted(message))"
    }
  }
}

/// What is wrong, and at which byte of the expression.
struct Fault: Error, Equatable {
  let code: ExpressionError.Code
  let offset: Int?

  init(_ code: ExpressionError.Code, at offset: Int? = nil) {
    self.code = code
    self.offset = offset
  }
}

/// A place in a text, both from 1; a column is a character.
package struct SourcePosition: Sendable, Equatable {
  package let line: Int
  package let column: Int

  package init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  /// - Parameter offset: In bytes.
  init(of offset: Int, in text: String) {
    let before = String(decoding: text.utf8.prefix(offset), as: UTF8.self)
    let lines = before.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    line = lines.count
    column = (lines.last?.count ?? 0) + 1
  }
}
