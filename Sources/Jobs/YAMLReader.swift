internal import Yams

/// Reads a YAML tree by key, substitutes variables, and collects every fault with its line.
final class YAMLReader {
  /// A place in the file: its key, line, and what stands there.
  struct Entry {
    let key: String
    /// The key in ``JobKeys``'s form.
    let pattern: String
    let line: Int
    let node: Node
    /// Whether its value may stand in a message.
    var isSecret = false

    /// A single value as written; nil for a mapping or a list.
    var word: String? { node.scalar?.string }
  }

  private let file: String
  private let environment: [String: String]
  private let readFile: (String) -> String?
  private(set) var errors: [JobFileError] = []
  /// After so many nobody reads on.
  private static let errorLimit = 100
  /// Of one value after substitution, and of all that is substituted.
  private static let valueByteLimit = 1 << 20
  private static let substitutedByteLimit = 4 << 20
  private var substitutedByteCount = 0

  init(file: String, environment: [String: String], readFile: @escaping (String) -> String?) {
    self.file = file
    self.environment = environment
    self.readFile = readFile
  }

  func fail(_ entry: Entry, value: String? = nil, _ problem: String, _ remedy: String) {
    append(
      JobFileError(
        file: file, line: entry.line, key: entry.key, value: entry.isSecret ? nil : value,
        problem: problem, remedy: remedy))
  }

  func fail(line: Int, _ problem: String, _ remedy: String) {
    append(
      JobFileError(file: file, line: line, key: "", value: nil, problem: problem, remedy: remedy))
  }

  private func append(_ error: JobFileError) {
    if errors.count < Self.errorLimit {
      errors.append(error)
    } else if errors.count == Self.errorLimit {
      errors.append(
        JobFileError(
          file: file, line: error.line, key: "", value: nil, problem: "has more faults than these",
          remedy: "Correct them first")
      )
    }
  }

  // MARK: - Structure

  /// The file's one document, or nil after a fault.
  func root(_ text: String) -> Entry? {
    // Aliases of aliases are a short text and a tree without end, which Yams goes through where it
    // stands for a key.
    if text.utf8.count > 65_536 || aliasCount(text) > 16, hasAnchor(text) {
      fail(
        line: 1,
        "uses anchors (&name) in a file that is too large for them, or too many aliases (*name)",
        "Write the values out")
      return nil
    }
    do {
      // Values are taken as written: without rules for their kinds there are no regular expressions
      // to build at every start.
      guard let node = try Yams.compose(yaml: text, .basic) else {
        fail(line: 1, "the file is empty", "Write a job; see jobs/api-time-share.yaml")
        return nil
      }
      return Entry(key: "", pattern: "", line: 1, node: node)
    } catch let error as YamlError {
      let (line, problem) = Self.explain(error)
      fail(line: line, problem, "Correct the YAML")
    } catch {
      fail(line: 1, "is not YAML: \(error)", "Correct the YAML")
    }
    return nil
  }

  private func hasAnchor(_ text: String) -> Bool { indicatorCount(UInt8(ascii: "&"), text) > 0 }

  private func aliasCount(_ text: String) -> Int { indicatorCount(UInt8(ascii: "*"), text) }

  /// At most so often an anchor or alias stands there: the indicator at the start of a word, and a
  /// name behind it.
  private func indicatorCount(_ indicator: UInt8, _ text: String) -> Int {
    var count = 0
    var previous = UInt8(ascii: "\n")
    var isIndicated = false
    for byte in text.utf8 {
      if isIndicated && byte > 0x20 { count += 1 }
      isIndicated = byte == indicator && (previous <= 0x20 || "[]{},:?-".utf8.contains(previous))
      previous = byte
    }
    return count
  }

  private static func explain(_ error: YamlError) -> (line: Int, problem: String) {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      (mark.line, "is not YAML: \(problem)")
    case .duplicatedKeysInMapping(let duplicates, let context):
      (
        context.mark.line,
        "the key \(duplicates.prefix(5).joined(separator: ", ")) stands there twice"
      )
    case .reader(let problem, _, _, _): (1, "is not YAML: \(problem)")
    case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded: (1, "is not YAML")
    }
  }

  /// The entries below a mapping, by name and in order. Names that ``JobKeys`` does not have are
  /// faults, unless the user names them.
  ///
  /// - Parameter most: Entries; of more, none are returned, as what is done with them may be more
  ///   than proportional.
  func mapping(_ entry: Entry, namesAreFree: Bool = false, most: Int = 100) -> [(
    name: String, entry: Entry
  )] {
    guard case .mapping(let mapping) = entry.node else {
      fail(entry, value: text(entry.node), "is not a mapping", "Write keys and values below it")
      return []
    }
    guard mapping.count <= most else {
      fail(
        entry, "holds \(mapping.count) entries, and \(most) are the most",
        "Write those that the job needs")
      return []
    }
    let known = JobKeys.children(of: entry.pattern)
    var entries: [(name: String, entry: Entry)] = []
    for (keyNode, node) in mapping {
      guard let name = keyNode.scalar?.string else {
        fail(entry, "holds a key that is no text", "Write names as keys")
        continue
      }
      let line = keyNode.mark?.line ?? entry.line
      let key = entry.key.isEmpty ? name : "\(entry.key).\(name)"
      let pattern = entry.pattern.isEmpty ? name : "\(entry.pattern).\(namesAreFree ? "*" : name)"
      // librdkafka's properties may hold secrets under names of any kind; those that are none may
      // be shown.
      let isPublic = ["bootstrap.servers", "isolation.level"].contains(name)
      let child = Entry(
        key: key, pattern: pattern, line: line, node: node,
        isSecret: !isPublic && (entry.isSecret || Self.namesSecret(name) || name == "properties"))
      if !namesAreFree && !known.contains(name) {
        if let reason = JobKeys.notBuilt[key] {
          fail(child, "is not built yet: \(reason)", "Leave it out")
        } else {
          fail(child, "is no key of a job file", suggestion(name, known))
        }
        continue
      }
      entries.append((name, child))
    }
    return entries
  }

  func items(_ entry: Entry, most: Int) -> [Entry] {
    guard case .sequence(let sequence) = entry.node else {
      fail(entry, value: text(entry.node), "is not a list", "Write [ITEM, ...]")
      return []
    }
    guard sequence.count <= most else {
      fail(
        entry, "holds \(sequence.count) items, and \(most) are the most",
        "Write those that the job needs")
      return []
    }
    return sequence.enumerated().map { index, node in
      Entry(
        key: "\(entry.key)[\(index)]", pattern: "\(entry.pattern)[]",
        line: node.mark?.line ?? entry.line, node: node)
    }
  }

  // MARK: - Values

  private func text(_ node: Node) -> String? { node.scalar?.string }

  /// A scalar after substitution; nil after a fault.
  func string(_ entry: Entry) -> String? {
    guard let scalar = entry.node.scalar else {
      fail(entry, "is not a single value", "Write one value")
      return nil
    }
    if scalar.style == .plain && ["", "~", "null"].contains(scalar.string) {
      fail(entry, "has no value", "Write one, or leave the key out")
      return nil
    }
    return substituted(scalar.string, entry)
  }

  /// Replaces `${VAR}`, `${VAR:-default}` and `${file:/path}`; `$${` stands for `${`.
  private func substituted(_ text: String, _ entry: Entry) -> String? {
    var result = ""
    var rest = text[...]
    while let dollar = rest.firstRange(of: "${") {
      if rest[..<dollar.lowerBound].hasSuffix("$") {
        result += rest[..<dollar.lowerBound].dropLast() + "${"
        rest = rest[dollar.upperBound...]
        continue
      }
      result += rest[..<dollar.lowerBound]
      guard let end = rest[dollar.upperBound...].firstIndex(of: "}") else {
        fail(
          entry, value: text, "has a ${ that is not closed",
          "Close it with }, or write $${ for the text itself")
        return nil
      }
      guard let value = value(of: String(rest[dollar.upperBound..<end]), entry) else { return nil }
      substitutedByteCount += value.utf8.count
      guard value.utf8.count + result.utf8.count <= Self.valueByteLimit,
        substitutedByteCount <= Self.substitutedByteLimit
      else {
        fail(
          entry,
          "is longer than \(Self.valueByteLimit) bytes after substitution, or all such values "
            + "than \(Self.substitutedByteLimit)",
          "Use shorter values")
        return nil
      }
      result += value
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }

  private func value(of reference: String, _ entry: Entry) -> String? {
    if reference.hasPrefix("file:") {
      let path = String(reference.dropFirst(5))
      guard let content = readFile(path) else {
        fail(
          entry, "names the file \(path), which cannot be read",
          "Make it readable for this user, or correct the path")
        return nil
      }
      // A line end of either kind is one Character.
      return content.last?.isNewline == true ? String(content.dropLast()) : content
    }
    let name: String
    var fallback: String?
    if let range = reference.firstRange(of: ":-") {
      name = String(reference[..<range.lowerBound])
      fallback = String(reference[range.upperBound...])
    } else {
      name = reference
    }
    if let value = environment[name], !(value.isEmpty && fallback != nil) { return value }
    if let fallback { return fallback }
    fail(
      entry, "needs the environment variable \(name), which is not set",
      "Set it, or give a default: ${\(name):-VALUE}")
    return nil
  }

  /// Nil for an empty text as well: an option given by an empty variable is not given.
  func nonEmpty(_ entry: Entry) -> String? { string(entry).flatMap { $0.isEmpty ? nil : $0 } }

  func integer(_ entry: Entry, in range: ClosedRange<Int64>) -> Int64? {
    guard let text = string(entry) else { return nil }
    guard let number = Int64(text), range.contains(number) else {
      fail(
        entry, value: text, "is not a whole number from \(range.lowerBound) to \(range.upperBound)",
        "Write such a number")
      return nil
    }
    return number
  }

  func choice<Choice: RawRepresentable<String> & CaseIterable>(_ entry: Entry, _: Choice.Type)
    -> Choice?
  {
    guard let text = string(entry) else { return nil }
    if let choice = Choice(rawValue: text) { return choice }
    fail(
      entry, value: text, "is not one of the values",
      suggestion(text, Choice.allCases.map(\.rawValue)))
    return nil
  }

  /// Bytes: `65536`, `64KiB`, `1MiB`, `2GiB`.
  func size(_ entry: Entry, most: Int64 = .max) -> Int64? {
    guard let text = string(entry) else { return nil }
    let units: [(String, Int64)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)]
    for (unit, factor) in units where text.hasSuffix(unit) {
      guard let number = Int64(text.dropLast(unit.count)), number > 0 else { continue }
      let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
      if !overflow && bytes <= most { return bytes }
    }
    fail(
      entry, value: text, "is not a number of bytes" + (most == .max ? "" : " up to \(most)"),
      "Write for example 65536, 64KiB, 1MiB or 2GiB")
    return nil
  }

  /// Milliseconds: `500ms`, `30s`, `5m`, `1h`, `1d`.
  func duration(_ entry: Entry) -> Int64? {
    guard let text = string(entry) else { return nil }
    if let milliseconds = Self.milliseconds(text) { return milliseconds }
    fail(entry, value: text, "is not a duration", "Write for example 500ms, 30s, 5m, 1h or 1d")
    return nil
  }

  /// `500ms`, `30s`, `5m`, `1h`, `1d`; at least 1 ms and at most 36,600 days.
  static func milliseconds(_ text: String) -> Int64? {
    let units: [(String, Int64)] = [
      ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
    for (unit, factor) in units where text.hasSuffix(unit) {
      guard let number = Int64(text.dropLast(unit.count)), number > 0 else { continue }
      let (milliseconds, overflow) = number.multipliedReportingOverflow(by: factor)
      if !overflow && milliseconds <= 36_600 * 86_400_000 { return milliseconds }
    }
    return nil
  }

  /// From 0 to 1: `10%` or `0.1`.
  func share(_ entry: Entry) -> Double? {
    guard let text = string(entry) else { return nil }
    let number = text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
    guard let number, number >= 0, number <= 1 else {
      fail(entry, value: text, "is not a share", "Write for example 10% or 0.1")
      return nil
    }
    return number
  }

  // MARK: - Words

  func suggestion(_ text: String, _ known: [String]) -> String {
    guard errors.count < Self.errorLimit else { return "" }
    let near = known.min { distance(text, $0) < distance(text, $1) }
    if let near, distance(text, near) <= max(2, text.count / 3) { return "Did you mean \(near)?" }
    return
      "Use \(known.count > 12 ? known.prefix(12).joined(separator: ", ") + ", ..." : known.joined(separator: ", "))"
  }

  /// Levenshtein's distance.
  private func distance(_ left: String, _ right: String) -> Int {
    let left = Array(left.utf8.prefix(64))
    let right = Array(right.utf8.prefix(64))
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

  private static func namesSecret(_ name: String) -> Bool {
    let name = name.lowercased()
    return [
      "password", "secret", "token", "credentials", "access_key", "sasl.", "ssl.key", "oauth",
    ].contains { name.contains($0) }
  }
}
