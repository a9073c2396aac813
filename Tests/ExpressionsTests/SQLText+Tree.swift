@testable import Expressions

/// A tree as SQL again, with as few parentheses as it needs: what the parser made is held against
/// SQLite by it.
extension SQLText {
  /// - Precondition: no part of it is opaque.
  static func of(_ node: Node) -> String { text(node, ExpressionParser.Precedence.or) }

  /// - Parameter least: What binds less tightly gets parentheses.
  private static func text(_ node: Node, _ least: Int) -> String {
    let text = text(node)
    return precedence(node) < least ? "(\(text))" : text
  }

  private static func precedence(_ node: Node) -> Int {
    switch node.form {
    case .unary(.not, _): ExpressionParser.Precedence.not
    case .unary: ExpressionParser.Precedence.unary
    case .binary(let binary, _, _): binary.precedence
    case .nullTest, .between, .isIn, .match: ExpressionParser.Precedence.equality
    case .collate: ExpressionParser.Precedence.collation
    case .null, .number, .text, .blob, .truth, .column, .unknown, .cast, .cases, .call, .row,
      .opaque:
      ExpressionParser.Precedence.leaf
    }
  }

  private static func text(_ node: Node) -> String {
    let (equality, above) = (
      ExpressionParser.Precedence.equality, ExpressionParser.Precedence.comparison
    )
    func not(_ isNegated: Bool) -> String { isNegated ? "NOT " : "" }
    switch node.form {
    case .opaque: preconditionFailure("an opaque part has no text of its own")
    case .null: return "NULL"
    case .number(let digits): return digits
    case .text(let text): return literal(text)
    case .blob(let digits): return "x'\(digits)'"
    case .truth(let isTrue): return isTrue ? "TRUE" : "FALSE"
    case .column(let name), .unknown(let name): return self.name(name)
    case .unary(let unary, let operand):
      return "\(unary.rawValue) \(text(operand, precedence(node)))"
    case .binary(let binary, let left, let right):
      let own = binary.precedence
      return "\(text(left, own)) \(binary.rawValue) \(text(right, own + 1))"
    case .nullTest(let operand, let isNegated):
      return "\(text(operand, equality)) IS \(not(isNegated))NULL"
    case .between(let operand, let low, let high, let isNegated):
      return "\(text(operand, equality)) \(not(isNegated))BETWEEN \(text(low, above)) AND "
        + text(high, above)
    case .isIn(let operand, let list, let isNegated):
      return "\(text(operand, equality)) \(not(isNegated))IN (\(self.list(list)))"
    case .match(let word, let operand, let pattern, let escape, let isNegated):
      let end = escape.map { " ESCAPE \(text($0, above))" } ?? ""
      return "\(text(operand, equality)) \(not(isNegated))\(word) \(text(pattern, above))\(end)"
    case .collate(let operand, let collation):
      return "\(text(operand, ExpressionParser.Precedence.collation)) COLLATE \(name(collation))"
    case .cast(let operand, let type): return "CAST(\(of(operand)) AS \(type))"
    case .cases(let operand, let cases, let otherwise):
      let parts =
        [operand.map(of)].compactMap(\.self)
        + cases.map { "WHEN \(of($0.when)) THEN \(of($0.then))" }
        + [otherwise.map { "ELSE \(of($0))" }].compactMap(\.self)
      return "CASE \(parts.joined(separator: " ")) END"
    case .row(let parts): return "(\(list(parts)))"
    case .call(let call): return text(call)
    }
  }

  private static func list(_ nodes: [Node]) -> String { nodes.map(of).joined(separator: ", ") }

  private static func text(_ call: Node.Call) -> String {
    let isPlain = call.name.utf8.allSatisfy {
      (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F
    }
    let arguments =
      switch call.arguments {
      case .all: "*"
      case .list(let nodes, let isDistinct): (isDistinct ? "DISTINCT " : "") + list(nodes)
      }
    let filter = call.filter.map { " FILTER (WHERE \(of($0)))" } ?? ""
    let window = call.window.map { " OVER (\(text($0)))" } ?? ""
    return "\(isPlain ? call.name : name(call.name))(\(arguments))\(filter)\(window)"
  }

  private static func text(_ window: Node.Window) -> String {
    var parts: [String] = []
    if !window.partition.isEmpty { parts.append("PARTITION BY \(list(window.partition))") }
    if !window.order.isEmpty {
      let terms = window.order.map { term in
        of(term.value) + (term.isDescending ? " DESC" : "")
          + (term.nullsFirst.map { $0 ? " NULLS FIRST" : " NULLS LAST" } ?? "")
      }
      parts.append("ORDER BY \(terms.joined(separator: ", "))")
    }
    if let frame = window.frame {
      let start = text(frame.start)
      let bounds = frame.end.map { "BETWEEN \(start) AND \(text($0))" } ?? start
      parts.append("\(frame.unit.rawValue.uppercased()) \(bounds)")
      if let exclusion = frame.exclusion { parts.append("EXCLUDE \(exclusion.rawValue)") }
    }
    return parts.joined(separator: " ")
  }

  private static func text(_ bound: Node.Window.Bound) -> String {
    switch bound {
    case .unboundedPreceding: "UNBOUNDED PRECEDING"
    case .currentRow: "CURRENT ROW"
    case .unboundedFollowing: "UNBOUNDED FOLLOWING"
    case .preceding(let distance): "\(of(distance)) PRECEDING"
    case .following(let distance): "\(of(distance)) FOLLOWING"
    }
  }
}
