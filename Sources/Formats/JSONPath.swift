/// Where a field lies in a JSON record: `$.payload.after.user`, `$['@timestamp']`, `$.tags[0]`.
///
/// The part of JSONPath (RFC 9535) that names one place: keys and the positions of elements. Beyond
/// it, a key behind a dot may hold any character but `.`, `[`, `]`, quotes, blanks and `*`, so that
/// `$.@timestamp` is a path as well.
package struct JSONPath: Hashable, Sendable {
  package enum Step: Hashable, Sendable {
    case key(String)
    /// Of an array, from 0.
    case element(Int)

    /// Keys are compared by their bytes, as values are.
    package static func == (left: Step, right: Step) -> Bool {
      switch (left, right) {
      case (.key(let left), .key(let right)): left.utf8.elementsEqual(right.utf8)
      case (.element(let left), .element(let right)): left == right
      default: false
      }
    }
  }

  package let steps: [Step]

  package init(_ steps: [Step]) { self.steps = steps }

  /// - Returns: Nil where the text is no such path, names the record itself, or begins with a
  ///   position: each element of an array of records is a record.
  package init?(_ text: String) {
    var rest = Substring(text)
    guard rest.popFirst() == "$" else { return nil }
    var steps: [Step] = []
    while let opening = rest.popFirst() {
      switch opening {
      case ".":
        let key = rest.prefix { !".[]'\"*".contains($0) && !$0.isWhitespace }
        guard !key.isEmpty else { return nil }
        steps.append(.key(String(key)))
        rest = rest[key.endIndex...]
      case "[":
        guard let step = Self.bracketed(&rest) else { return nil }
        steps.append(step)
      default: return nil
      }
    }
    guard case .key? = steps.first, steps.count <= Self.stepLimit else { return nil }
    self.steps = steps
  }

  /// Deeper values are refused as a whole.
  static let stepLimit = 60

  private static func bracketed(_ rest: inout Substring) -> Step? {
    guard let first = rest.first else { return nil }
    if first == "'" || first == "\"" {
      rest.removeFirst()
      var key = ""
      while let character = rest.popFirst() {
        if character == first { return rest.popFirst() == "]" ? .key(key) : nil }
        if character != "\\" {
          key.append(character)
        } else if let escaped = rest.popFirst(), escaped == first || escaped == "\\" {
          key.append(escaped)
        } else {
          return nil
        }
      }
      return nil
    }
    let digits = rest.prefix { $0 != "]" }
    rest = rest[digits.endIndex...]
    // RFC 9535 section 2.3.3 takes no leading zeros.
    guard rest.popFirst() == "]", digits.allSatisfy(\.isASCII),
      digits == "0" || digits.first != "0",
      digits.allSatisfy(\.isWholeNumber), let position = Int(digits), position < 1 << 31
    else { return nil }
    return .element(position)
  }
}

extension JSONPath: CustomStringConvertible {
  /// The path in the one way of writing it that this type prefers.
  package var description: String {
    "$"
      + steps.map { step in
        switch step {
        case .element(let position): return "[\(position)]"
        case .key(let key):
          let isPlain = key.first.map { $0.isLetter || $0 == "_" } ?? false
          if isPlain && key.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }) {
            return ".\(key)"
          }
          let escaped = key.flatMap { $0 == "'" || $0 == "\\" ? ["\\", $0] : [$0] }
          return "['\(String(escaped))']"
        }
      }
      .joined()
  }
}
