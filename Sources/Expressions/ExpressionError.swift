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
    case evaluation(String)
  }
  package let code: Code
  /// The `select` item; nil for `where`.
  package let item: String?
  package let sql: String

  package var description: String {
    let place = item.map { "\(ForeignText.quoted($0)): " } ?? ""
    return "\(place)`\(ForeignText.quoted(sql))`: \(problem)"
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
        + Self.suggestion(name, candidates)
    case .forbiddenFunction(let name):
      "\(ForeignText.quoted(name, byteLimit: 100)) is not allowed here: expressions may use "
        + "SQLite's deterministic built-in functions only"
    case .subquery:
      "holds a SELECT. Write an expression over the columns; a window function such as sum(x) "
        + "OVER () sees all rows"
    case .changesRowCount:
      "changes the number of rows. Write the aggregate as a window function, for example sum(x) "
        + "OVER ()"
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
      "the value \(value) of row \(row) is no \(type). Declare another type, or convert it with "
        + "CAST or round()"
    case .evaluation("integer overflow"):
      "overflows. Compute with doubles: total(x) for sum(x), CAST(x AS REAL) for x"
    case .evaluation(let message): "cannot be computed: \(ForeignText.quoted(message))"
    }
  }

  private static func suggestion(_ name: String, _ candidates: [String]) -> String {
    let near = candidates.min { editDistance(name, $0) < editDistance(name, $1) }
    if let near, editDistance(name, near) <= max(2, name.count / 3) {
      return "Did you mean \(near)?"
    }
    return
      "There are: \(candidates.prefix(12).joined(separator: ", "))\(candidates.count > 12 ? ", ..." : "")"
  }
}

/// Levenshtein's distance between two names, ignoring case.
func editDistance(_ left: String, _ right: String) -> Int {
  let left = Array(left.utf8.prefix(64).map { $0 | 0x20 })
  let right = Array(right.utf8.prefix(64).map { $0 | 0x20 })
  var previous = Array(0...right.count)
  for (i, byte) in left.enumerated() {
    var current = [i + 1]
    for (j, other) in right.enumerated() {
      current.append(
        min(previous[j + 1] + 1, current[j] + 1, previous[j] + (byte == other ? 0 : 1)))
    }
    previous = current
  }
  return previous[right.count]
}
