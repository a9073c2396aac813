/// Where values lie in JSON objects of which nothing is declared: for a look at a sample.
struct JSONMemberPaths {
  /// In the order in which they were met.
  private(set) var all: [JSONPath] = []
  private var seen: Set<JSONPath> = []
  /// Objects further down are values of their own.
  private static let depthLimit = 8
  private var unescaped: [UInt8] = []

  /// Adds the paths of all members that are no objects, and of members of members.
  ///
  /// - Parameter object: Valid JSON.
  mutating func add(_ object: UnsafeRawBufferPointer) {
    var cursor = JSONCursor(bytes: object, position: 0)
    unescaped.removeAll(keepingCapacity: true)
    cursor.skipSpace()
    _ = addMembers(&cursor, below: [])
  }

  private mutating func addMembers(
    _ cursor: inout JSONCursor, below steps: [JSONPath.Step]
  ) -> Bool {
    guard cursor.take(UInt8(ascii: "{")) else { return false }
    cursor.skipSpace()
    if cursor.take(UInt8(ascii: "}")) {
      if !steps.isEmpty { add(steps) }
      return true
    }
    repeat {
      cursor.skipSpace()
      guard let key = cursor.string(unescaped: &unescaped) else { return false }
      cursor.skipSpace()
      guard cursor.take(UInt8(ascii: ":")) else { return false }
      cursor.skipSpace()
      let name = name(key, cursor.bytes)
      let isObject = !cursor.isAtEnd && cursor.current == UInt8(ascii: "{")
      if let name, isObject, steps.count < Self.depthLimit {
        guard addMembers(&cursor, below: steps + [.key(name)]) else { return false }
      } else {
        guard cursor.skipValue(depth: 64) != nil else { return false }
        if let name { add(steps + [.key(name)]) }
      }
      cursor.skipSpace()
    } while cursor.take(UInt8(ascii: ","))
    return cursor.take(UInt8(ascii: "}"))
  }

  /// Nil where it is no text.
  private func name(_ key: Token, _ bytes: UnsafeRawBufferPointer) -> String? {
    let name = key.kind == .unescaped ? Array(unescaped[key.range]) : Array(bytes[key.range])
    guard key.kind != .invalidText, name.withUnsafeBytes(isValidText) else { return nil }
    return String(decoding: name, as: UTF8.self)
  }

  private mutating func add(_ steps: [JSONPath.Step]) {
    let path = JSONPath(steps)
    if seen.insert(path).inserted { all.append(path) }
  }
}
