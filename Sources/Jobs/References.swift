/// What `${...}` stands for in a job file: `${VARIABLE}`, `${VARIABLE:-default}` and
/// `${file:/path}`, whose path may hold variables; `$${` stands for the text `${`.
///
/// Whatever a reference came to may be a secret. So a message shows the value as the file has it,
/// and a key whose text the checkpoint and the objects keep takes none
/// (``JobKey/takesReferences``). What says how to connect may be kept: where it is a secret, its
/// key is marked so.
struct References {
  struct Fault: Error {
    let problem: String
    let remedy: String
  }

  let environment: [String: String]
  let readFile: (String) -> String?
  /// Whether a word stands in for a variable that is not set and for a file that cannot be read,
  /// where neither broker nor store is used.
  let standsIn: Bool
  private static let standIn = "unset"
  /// Whether the text that was resolved last holds a word that stands in.
  private(set) var didStandIn = false
  /// Of one value after substitution, and of all that is substituted.
  static let valueByteLimit = 1 << 20
  static let substitutedByteLimit = 4 << 20
  private var substitutedByteCount = 0

  init(
    environment: [String: String], standsIn: Bool = false, readFile: @escaping (String) -> String?
  ) {
    self.environment = environment
    self.standsIn = standsIn
    self.readFile = readFile
  }

  /// Whether a text holds a reference.
  static func stand(in text: String) -> Bool {
    parts(of: text).contains { if case .plain = $0 { false } else { true } }
  }

  /// The text with what its references stand for.
  mutating func resolve(_ text: String) throws(Fault) -> String {
    didStandIn = false
    return try resolve(text, isPath: false)
  }

  private mutating func resolve(_ text: String, isPath: Bool) throws(Fault) -> String {
    var result = ""
    for part in Self.parts(of: text) {
      switch part {
      case .plain(let text): result += text
      case .open:
        throw Fault(
          problem: "has a ${ that is not closed",
          remedy: "Close it with }, or write $${ for the text itself")
      case .reference(let reference):
        let value = try value(of: String(reference), isInPath: isPath)
        substitutedByteCount += value.utf8.count
        guard value.utf8.count + result.utf8.count <= Self.valueByteLimit,
          substitutedByteCount <= Self.substitutedByteLimit
        else {
          throw Fault(
            problem: "is longer than \(Self.valueByteLimit) bytes after substitution, or all such "
              + "values than \(Self.substitutedByteLimit)",
            remedy: "Use shorter values")
        }
        result += value
      }
    }
    return result
  }

  private enum Part {
    /// In which `$${` is `${` already.
    case plain(Substring)
    /// What stands between `${` and `}`.
    case reference(Substring)
    /// A `${` without its `}`: the last part.
    case open
  }

  private static func parts(of text: String) -> [Part] {
    var parts: [Part] = []
    var rest = text[...]
    while let dollar = rest.firstRange(of: "${") {
      if rest[..<dollar.lowerBound].hasSuffix("$") {
        parts += [.plain(rest[..<dollar.lowerBound].dropLast()), .plain("${")]
        rest = rest[dollar.upperBound...]
        continue
      }
      parts.append(.plain(rest[..<dollar.lowerBound]))
      let reference = rest[dollar.upperBound...]
      guard let end = end(ofReference: reference) else { return parts + [.open] }
      parts.append(.reference(reference[..<end]))
      rest = reference[reference.index(after: end)...]
    }
    return parts + [.plain(rest)]
  }

  /// Where a reference is closed: at the first `}` that closes none of the variables in its path.
  private static func end(ofReference text: Substring) -> Substring.Index? {
    guard text.hasPrefix(filePrefix) else { return text.firstIndex(of: "}") }
    var isInVariable = false
    var previous: (Character, Character) = (" ", " ")
    for index in text.indices {
      let character = text[index]
      if character == "}" {
        guard isInVariable else { return index }
        isInVariable = false
      } else if character == "{", previous.1 == "$", previous.0 != "$" {
        isInVariable = true
      }
      previous = (previous.1, character)
    }
    return nil
  }

  private static let filePrefix = "file:"

  private mutating func value(of reference: String, isInPath: Bool) throws(Fault) -> String {
    if reference.hasPrefix(Self.filePrefix) {
      let written = String(reference.dropFirst(Self.filePrefix.count))
      guard !isInPath else {
        throw Fault(
          problem: "names a file inside the path of a file",
          remedy: "Write the path out, or take it from a variable")
      }
      let path = try resolve(written, isPath: true)
      guard let content = readFile(path) else {
        if standsIn { return takeStandIn() }
        // As it is written: a variable named by mistake may be the secret itself.
        throw Fault(
          problem: "names the file \(written), which cannot be read",
          remedy: "Make it readable for this user, or correct the path")
      }
      // A line end of either kind is one Character.
      return content.last?.isNewline == true ? String(content.dropLast()) : content
    }
    var name = reference
    var fallback: String?
    if let range = reference.firstRange(of: ":-") {
      name = String(reference[..<range.lowerBound])
      fallback = String(reference[range.upperBound...])
    }
    if let value = environment[name], !(value.isEmpty && fallback != nil) { return value }
    if let fallback { return fallback }
    if standsIn { return takeStandIn() }
    throw Fault(
      problem: "needs the environment variable \(name), which is not set",
      remedy: "Set it, or give a default: ${\(name):-VALUE}")
  }

  private mutating func takeStandIn() -> String {
    didStandIn = true
    return Self.standIn
  }
}
