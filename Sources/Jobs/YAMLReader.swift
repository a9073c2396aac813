internal import Expressions
internal import Tables
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

    /// Whether YAML takes the word for no value.
    var isNull: Bool {
      node.scalar?.style == .plain && ["", "~", "null"].contains(node.scalar?.string)
    }
  }

  private let file: String
  /// Of the file.
  private var lines: [Substring] = []
  private var references: References
  private(set) var errors: [JobFileError] = []
  /// What is valid and most likely not meant, in the words of a fault.
  private(set) var warnings: [JobFileError] = []
  /// Keys whose value holds a word that stands in for a reference: what else may be wrong with such
  /// a value is not known.
  private var keysWithStandIn: Set<String> = []
  /// After so many nobody reads on.
  private static let errorLimit = 100
  /// So many aliases multiply a text of 64 KiB by no more than a few hundred.
  private static let aliasLimit = 16

  init(file: String, references: References) {
    self.file = file
    self.references = references
  }

  /// - Parameter value: What the key has. Where it came from a reference, the message shows that.
  func fail(_ entry: Entry, value: String? = nil, _ problem: String, _ remedy: String) {
    let isReference = entry.word.map(References.stand) == true
    fail(entry, name: value.map { isReference ? entry.word ?? "" : $0 }, problem, remedy)
  }

  /// - Parameter name: What the file says beside the key's value, such as the key's own name.
  func fail(_ entry: Entry, name: String?, _ problem: String, _ remedy: String) {
    if keysWithStandIn.contains(entry.key) { return }
    append(
      JobFileError(
        file: file, line: entry.line, key: entry.key, value: entry.isSecret ? nil : name,
        problem: problem, remedy: remedy))
  }

  /// A fault of an expression, at its own place in the file where that can be found.
  func fail(_ entry: Entry, _ fault: ExpressionError, columns: Schema) {
    let found = fault.position.flatMap { place(of: $0, in: fault.sql, entry) }
    append(
      JobFileError(
        file: file, line: found?.line ?? entry.line, column: found?.column, key: entry.key,
        value: nil, problem: fault.words(withPosition: found == nil),
        remedy: "Expressions read \(Suggestion.list(columns.columns.map(\.name)))"))
  }

  /// A part of an expression that is valid and most likely not meant.
  func warn(
    _ entry: Entry, at position: SourcePosition, in sql: String, _ problem: String,
    _ remedy: String
  ) {
    guard warnings.count < Self.errorLimit else { return }
    let found = place(of: position, in: sql, entry)
    warnings.append(
      JobFileError(
        file: file, line: found?.line ?? entry.line, column: found?.column, key: entry.key,
        value: sql, problem: problem, remedy: remedy))
  }

  /// Something that is valid and most likely not meant.
  func warn(_ entry: Entry, _ problem: String, _ remedy: String) {
    guard warnings.count < Self.errorLimit else { return }
    warnings.append(
      JobFileError(
        file: file, line: entry.line, key: entry.key, value: nil, problem: problem,
        remedy: remedy))
  }

  /// Where a place of an expression is in the file: known where the line of the expression stands
  /// there as it is, not folded, escaped or substituted.
  private func place(of position: SourcePosition, in sql: String, _ entry: Entry)
    -> SourcePosition?
  {
    guard let scalar = entry.node.scalar, let mark = scalar.mark else { return nil }
    let sqlLines = sql.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    let isBlock = scalar.style == .literal || scalar.style == .folded
    let line = mark.line + position.line - (isBlock ? 0 : 1)
    guard sqlLines.indices.contains(position.line - 1), lines.indices.contains(line - 1) else {
      return nil
    }
    // On its first line, what stands before the value is not it.
    let skipped = !isBlock && position.line == 1 ? mark.column - 1 : 0
    let rest = lines[line - 1].dropFirst(skipped)
    guard let range = rest.firstRange(of: sqlLines[position.line - 1]) else { return nil }
    let before = lines[line - 1][..<range.lowerBound].count
    return SourcePosition(line: line, column: before + position.column)
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
          remedy: "Correct these first")
      )
    }
  }

  // MARK: - Structure

  /// The file's one document, or nil after a fault.
  func root(_ text: String) -> Entry? {
    lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    // Aliases of aliases are a short text and a tree without end, which Yams goes through where it
    // stands for a key.
    if text.utf8.count > 65_536 || aliasCount(text) > Self.aliasLimit, hasAnchor(text) {
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

  /// An upper bound of the anchors or aliases: the indicator at the start of a word, and a
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
        "the key \(duplicates.prefix(5).joined(separator: ", ")) is listed twice"
      )
    case .reader(let problem, _, _, _): (1, "is not YAML: \(problem)")
    case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded: (1, "is not YAML")
    }
  }

  /// An object of the file: what stands below it by name. A key that nobody has in the table cannot
  /// be asked for.
  struct Object {
    /// The object's key in ``JobKeys``'s form.
    let pattern: String
    /// Nil where the file does not have the object.
    let entry: Entry?
    fileprivate let entries: [String: Entry]
    fileprivate unowned let reader: YAMLReader

    /// Nil where the file does not say it.
    func entry(_ name: String) -> Entry? {
      reader.ask(JobKeys.join(pattern, name))
      return entries[name]
    }
  }

  /// The keys in the table that somebody has asked for.
  private(set) var asked: Set<String> = []

  private func ask(_ pattern: String) {
    precondition(JobKeys.key(pattern) != nil, "the table of keys has no \(pattern)")
    asked.insert(pattern)
  }

  /// Finds unknown keys and ones that are missing.
  func object(_ entry: Entry) -> Object {
    var entries: [String: Entry] = [:]
    let known = JobKeys.children(of: entry.pattern)
    let isMapping = if case .mapping = entry.node { true } else { false }
    for (name, child) in mapping(entry, most: 100) {
      if known.contains(name) {
        entries[name] = child
      } else if name.hasPrefix("x-") {
        // Parts that others share by anchors.
        continue
      } else if let reason = JobKeys.notBuilt[child.key] {
        fail(child, "is not built yet: \(reason)", "Leave it out")
      } else if let place = JobKeys.misplaced[child.key] {
        fail(child, "does not belong here", "Write it as \(place)")
      } else {
        fail(child, "is not a key of the job file", suggestion(name, known))
      }
    }
    for name in known where isMapping && entries[name] == nil {
      let key = JobKeys.key(JobKeys.join(entry.pattern, name))
      guard let key, key.isRequired else { continue }
      fail(entry, "has no key \(name)", "Write for example \(name): \(key.example)")
    }
    return Object(pattern: entry.pattern, entry: entry, entries: entries, reader: self)
  }

  /// The object below another, without anything where the file does not have it.
  func object(_ parent: Object, _ name: String) -> Object {
    parent.entry(name).map(object) ?? emptyObject(JobKeys.join(parent.pattern, name))
  }

  func emptyObject(_ pattern: String) -> Object {
    Object(pattern: pattern, entry: nil, entries: [:], reader: self)
  }

  /// What belongs to names of the user's own, in their order.
  func map(_ entry: Entry) -> [(name: String, entry: Entry)] {
    guard case .map(let most) = JobKeys.key(entry.pattern)?.kind else {
      preconditionFailure("\(entry.pattern) is not a map in the table of keys")
    }
    ask(entry.pattern + ".*")
    return mapping(entry, most: most)
  }

  /// The entries below a mapping, in order.
  ///
  /// - Parameter most: Entries; of more, none are returned, as what is done with them may be more
  ///   than proportional.
  private func mapping(_ entry: Entry, most: Int) -> [(name: String, entry: Entry)] {
    guard case .mapping(let mapping) = entry.node else {
      fail(entry, value: entry.word, "is not a mapping", "Write keys and values below it")
      return []
    }
    let pairs = mapping.count > most ? Array(mapping) : merged(mapping, entry)
    guard pairs.count <= most else {
      fail(
        entry, "has \(pairs.count) entries, and at most \(most) are allowed",
        "Keep those that the job needs")
      return []
    }
    let isMap = if case .map = JobKeys.key(entry.pattern)?.kind { true } else { false }
    var entries: [(name: String, entry: Entry)] = []
    for (keyNode, node) in pairs {
      guard let name = keyNode.scalar?.string else {
        fail(entry, "has a key that is not text", "Write names as keys")
        continue
      }
      let pattern = JobKeys.join(entry.pattern, isMap ? "*" : name)
      let isSecret: Bool =
        switch JobKeys.key(pattern)?.secrecy {
        case .secret: true
        case .secretExcept(let names): !names.contains(name)
        case .open, nil: entry.isSecret
        }
      entries.append(
        (
          name,
          Entry(
            key: JobKeys.join(entry.key, name), pattern: pattern,
            line: keyNode.mark?.line ?? entry.line, node: node, isSecret: isSecret)
        ))
    }
    return entries
  }

  /// The pairs of a mapping, those of its merge key `<<` first. A key of its own goes before a
  /// merged one of that name, and of several merged mappings the first that has it.
  /// - SeeAlso: yaml.org/type/merge.html.
  private func merged(
    _ mapping: Node.Mapping, _ entry: Entry, depth: Int = 0
  ) -> [(key: Node, value: Node)] {
    let own = mapping.filter { $0.key.scalar?.string != "<<" }
    guard own.count < mapping.count else { return Array(mapping) }
    var pairs: [(key: Node, value: Node)] = []
    var places: [String: Int] = [:]
    for (key, value) in mapping where key.scalar?.string == "<<" {
      let parts = value.sequence.map { Array($0) } ?? [value]
      for part in parts {
        // As deep as an alias may lead; see root(_:).
        guard case .mapping(let part) = part, depth < Self.aliasLimit else {
          fail(
            entry, "has a merge key << that is not a mapping",
            "Write <<: *NAME, or <<: [*NAME, *OTHER]")
          return own.map { ($0.key, $0.value) }
        }
        for pair in merged(part, entry, depth: depth + 1) {
          let name = pair.key.scalar?.string ?? ""
          if places[name] == nil {
            places[name] = pairs.count
            pairs.append(pair)
          }
        }
      }
    }
    for pair in own {
      if let place = pair.key.scalar.flatMap({ places[$0.string] }) {
        pairs[place] = (pair.key, pair.value)
      } else {
        pairs.append((pair.key, pair.value))
      }
    }
    return pairs
  }

  func items(_ entry: Entry) -> [Entry] {
    guard case .list(let most) = JobKeys.key(entry.pattern)?.kind else {
      preconditionFailure("\(entry.pattern) is not a list in the table of keys")
    }
    guard case .sequence(let sequence) = entry.node else {
      fail(entry, value: entry.word, "is not a list", "Write [ITEM, ...]")
      return []
    }
    guard sequence.count <= most else {
      fail(
        entry, "has \(sequence.count) items, and at most \(most) are allowed",
        "Keep those that the job needs")
      return []
    }
    return sequence.enumerated().map { index, node in
      Entry(
        key: "\(entry.key)[\(index)]", pattern: "\(entry.pattern)[]",
        line: node.mark?.line ?? entry.line, node: node, isSecret: entry.isSecret)
    }
  }

  // MARK: - Values

  private func takesReferences(_ entry: Entry) -> Bool {
    // The items of a list of texts have no row of their own.
    let isItem = entry.pattern.hasSuffix("[]")
    let path = isItem ? String(entry.pattern.dropLast(2)) : entry.pattern
    return JobKeys.key(path)?.takesReferences ?? true
  }

  /// A scalar after substitution; nil after a fault.
  func string(_ entry: Entry) -> String? {
    guard let scalar = entry.node.scalar else {
      fail(entry, "is not a single value", "Write one value")
      return nil
    }
    if entry.isNull {
      fail(entry, "has no value", "Write one, or leave the key out")
      return nil
    }
    if References.stand(in: scalar.string) && !takesReferences(entry) {
      fail(
        entry, value: scalar.string,
        "holds ${...}, and what it stands for would be kept in the checkpoint and shown",
        "Write the text itself, or $${ for ${")
      return nil
    }
    do {
      let text = try references.resolve(scalar.string)
      if references.didStandIn { keysWithStandIn.insert(entry.key) }
      return text
    } catch {
      fail(entry, value: scalar.string, error.problem, error.remedy)
      return nil
    }
  }

  // MARK: - Words

  func suggestion(_ text: String, _ known: [String]) -> String {
    guard errors.count < Self.errorLimit else { return "" }
    return Suggestion.nearest(to: text, among: known) ?? "Use \(Suggestion.list(known))"
  }
}
