import Foundation

/// Reads lines of the log as other programs do, and nothing that is not one.
package enum LogParser: String, CaseIterable, Sendable {
  case logfmt, json

  package struct NotALine: Error { let line: String }

  package func fields(_ line: some StringProtocol) throws -> [String: String] {
    let fields: [String: String]? =
      switch self {
      case .logfmt: Self.logfmt(Array(String(line).unicodeScalars))
      case .json:
        (try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?.mapValues {
          "\($0)"
        }
      }
    guard let fields else { throw NotALine(line: String(line)) }
    return fields
  }

  /// All lines of a program's standard error.
  package func lines(_ text: String) throws -> [[String: String]] {
    try text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(fields)
  }

  /// Pairs with one space between them; a text in quotes is one of JSON, as Go's encoder has it.
  private static func logfmt(_ line: [Unicode.Scalar]) -> [String: String]? {
    var fields: [String: String] = [:]
    var rest = line[...]
    func take(while isWanted: (Unicode.Scalar) -> Bool) -> String {
      let taken = rest.prefix(while: isWanted)
      rest = rest.dropFirst(taken.count)
      return taken.reduce(into: "") { $0.unicodeScalars.append($1) }
    }
    while true {
      let name = take { $0.isASCII && ($0.properties.isAlphabetic || $0 == "_") }
      guard !name.isEmpty, fields[name] == nil, rest.popFirst() == "=" else { return nil }
      if rest.first == "\"" {
        var text = String(rest.removeFirst())
        while let next = rest.popFirst() {
          text.unicodeScalars.append(next)
          if next == "\"" { break }
          if next == "\\", let escaped = rest.popFirst() { text.unicodeScalars.append(escaped) }
        }
        let json = try? JSONSerialization.jsonObject(
          with: Data(text.utf8), options: .fragmentsAllowed)
        guard let value = json as? String else { return nil }
        fields[name] = value
      } else {
        fields[name] = take { $0.value > 0x20 && $0.value < 0x7F && $0 != "\"" && $0 != "=" }
        if fields[name] == "" { return nil }
      }
      if rest.isEmpty { return fields }
      guard rest.popFirst() == " " else { return nil }
    }
  }
}
