/// The functions that an expression may call: SQLite's deterministic built-ins.
///
/// Dates are integers here, so the date functions, which know 'now', are left out.
package enum SQLFunction {
  /// Of which kinds a result may be.
  enum Result: Sendable {
    case kinds(ValueKinds)
    /// Those of some of the arguments, or NULL.
    case arguments(Range<Int>)
    /// Integers for integers, else reals.
    case number
  }

  /// By family, for documentation.
  package static let families: [(title: String, names: [String])] = [
    ("Values", values.keys.sorted()), ("Numbers", numbers.keys.sorted()),
    ("Texts", texts.keys.sorted()), ("Aggregates, with OVER", aggregates.keys.sorted()),
    ("Window functions, with OVER", windows.keys.sorted()),
  ]

  static let all = [values, numbers, texts, aggregates, windows]
    .reduce(into: [:]) { $0.merge($1) { first, _ in first } }

  /// Whether the fraction of an argument shows in the result.
  static func keepsFraction(_ name: String) -> Bool {
    if ["count", "floor", "mod", "ntile", "sign", "trunc", "typeof"].contains(name) {
      return false
    }
    return [values, numbers, aggregates, windows].contains { $0[name] != nil }
  }

  private static let values: [String: Result] = [
    "coalesce": .arguments(0..<32), "ifnull": .arguments(0..<2), "iif": .arguments(1..<3),
    "max": .arguments(0..<32), "min": .arguments(0..<32), "nullif": .arguments(0..<1),
    "typeof": .kinds(.text),
  ]

  private static let numbers: [String: Result] = [
    "abs": .number, "ceil": .number, "ceiling": .number, "floor": .number, "trunc": .number,
    "acos": real, "acosh": real, "asin": real, "asinh": real, "atan": real, "atan2": real,
    "atanh": real, "cos": real, "cosh": real, "degrees": real, "exp": real, "ln": real,
    "log": real, "log10": real, "log2": real, "mod": real, "pi": .kinds(.real), "pow": real,
    "power": real, "radians": real, "round": real, "sin": real, "sinh": real, "sqrt": real,
    "tan": real, "tanh": real,
    "sign": .kinds([.null, .integer]),
  ]

  private static let texts: [String: Result] = [
    "char": .kinds(.text), "format": text, "glob": .kinds([.null, .integer]),
    "hex": .kinds(.text), "instr": .kinds([.null, .integer]), "length": .kinds([.null, .integer]),
    "like": .kinds([.null, .integer]), "lower": text, "ltrim": text, "quote": .kinds(.text),
    "replace": text, "rtrim": text, "substr": .kinds([.null, .text, .blob]),
    "substring": .kinds([.null, .text, .blob]), "trim": text,
    "unicode": .kinds([.null, .integer]), "upper": text,
  ]

  private static let aggregates: [String: Result] = [
    "avg": real, "count": .kinds(.integer), "sum": .number,
    "total": .kinds(.real), "max": .arguments(0..<32), "min": .arguments(0..<32),
  ]

  private static let windows: [String: Result] = [
    "cume_dist": .kinds(.real), "dense_rank": .kinds(.integer), "first_value": .arguments(0..<1),
    "lag": .arguments(0..<3), "last_value": .arguments(0..<1), "lead": .arguments(0..<3),
    "nth_value": .arguments(0..<1), "ntile": .kinds(.integer), "percent_rank": .kinds(.real),
    "rank": .kinds(.integer), "row_number": .kinds(.integer),
  ]

  private static let real = Result.kinds([.null, .real])
  private static let text = Result.kinds([.null, .text])
}
