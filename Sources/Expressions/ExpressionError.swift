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
    /// A value that does not convert to the declared type without loss.
    case conversion(value: String, type: ColumnType, row: Int)
    case evaluation(String)
  }
  package let code: Code
  /// The `select` item; nil for `where`.
  package let item: String?
  package let sql: String

  package var description: String {
    let place = item.map { "\($0): " } ?? ""
    return "\(place)`\(sql)`: \(problem)"
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
      "there is no column \(name). " + Self.suggestion(name, candidates)
    case .forbiddenFunction(let name):
      "\(name) is not allowed here: expressions may use SQLite's deterministic built-in functions only"
    case .subquery: "holds a SELECT. Write an expression over the columns; a window function such as sum(x) OVER () sees all rows"
    case .changesRowCount: "changes the number of rows. Write the aggregate as a window function, for example sum(x) OVER ()"
    case .syntax(let message): "SQLite refuses it: \(message)"
    case .tooMuchWork: "takes too much work. Make it simpler"
    case .conversion(let value, let type, let row):
      "the value \(value) of row \(row) is no \(type). Declare another type, or convert it with CAST or round()"
    case .evaluation("integer overflow"): "overflows. Compute with doubles: total(x) for sum(x), CAST(x AS REAL) for x"
    case .evaluation(let message): "cannot be computed: \(message)"
    }
  }

  private static func suggestion(_ name: String, _ candidates: [String]) -> String {
    let near = candidates.min { editDistance(name, $0) < editDistance(name, $1) }
    if let near, editDistance(name, near) <= max(2, name.count / 3) { return "Did you mean \(near)?" }
    return "There are: \(candidates.joined(separator: ", "))"
  }
}

/// Levenshtein's distance between two names, ignoring case.
func editDistance(_ left: String, _ right: String) -> Int {
  let left = Array(left.lowercased().utf8)
  let right = Array(right.lowercased().utf8)
  var previous = Array(0...right.count)
  for (i, byte) in left.enumerated() {
    var current = [i + 1]
    for (j, other) in right.enumerated() {
      current.append(min(previous[j + 1] + 1, current[j] + 1, previous[j] + (byte == other ? 0 : 1)))
    }
    previous = current
  }
  return previous[right.count]
}
