internal import Tables

/// Finds the declared fields of a JSON object (RFC 8259), checking the whole object strictly and
/// building nothing.
///
/// Keys of fields that are not declared are skipped; their values are checked all the same.
struct JSONScanner: Sendable {
  let tree: JSONFieldTree
  /// Nil where each field lies in one place.
  private let envelope: EnvelopeSlots?
  /// Of each field, the token that gets it.
  let slots: [Int]
  let slotCount: Int
  /// Deepest nesting of a value.
  private static let depthLimit = 64

  /// - Parameters:
  ///   - fields: All declared ones.
  ///   - indexes: Which of them are looked for.
  ///   - isWhole: For ``scanValue(_:into:unescaped:)``, of what need not be an object.
  init(
    _ fields: [InputField], at indexes: [Int], _ envelope: Envelope?, isWhole: Bool = false
  ) {
    var places =
      envelope.map { EnvelopeSlots.places(of: fields, at: indexes, $0) }
      ?? indexes.map { fields[$0].place($0) }
    if isWhole { places.append(JSONFieldTree.Place(steps: [], field: indexes.first)) }
    let tree = JSONFieldTree(places)
    let slots = envelope.map {
      EnvelopeSlots($0, fieldCount: indexes.count, tree, takesAnyPayload: isWhole)
    }
    self.tree = tree
    self.envelope = slots
    self.slots = slots.map { Array($0.own) } ?? Array(tree.slots[..<indexes.count])
    slotCount = slots?.own.upperBound ?? tree.slotCount
  }

  /// Of what people write by hand.
  init(_ tree: JSONFieldTree) {
    (self.tree, envelope, slots, slotCount) = (tree, nil, tree.slots, tree.slotCount)
  }

  /// Where the fields that are found go.
  private struct Target {
    let tokens: UnsafeMutableBufferPointer<Token>
    var fault: Fault?
  }

  /// Reads one record from `position` on, and leaves `position` behind its line end.
  ///
  /// The record is an object, of one line or of several. One that is malformed ends with its line
  /// if the fault lies there. If it lies in a later line, the record ends before the next line that
  /// begins another object or list, but not behind a comma, a colon or an opening bracket: what
  /// stands there is a part of it.
  ///
  /// - Parameters:
  ///   - tokens: ``slotCount``.
  ///   - unescaped: Receives the bytes of texts that had escapes.
  /// - Returns: What is wrong with the record, if something is.
  func scanRecord(
    _ value: UnsafeRawBufferPointer, _ position: inout Int,
    into tokens: UnsafeMutableBufferPointer<Token>, unescaped: inout [UInt8]
  ) -> Fault? {
    let start = position
    var cursor = JSONCursor(bytes: value, position: start)
    var (fault, isWhole) = scanObject(&cursor, into: tokens, unescaped: &unescaped)
    if isWhole {
      cursor.skipBlanks()
      if cursor.isAtEnd || cursor.take(UInt8(ascii: "\n")) {
        position = cursor.position
        return fault
      }
      fault = Fault(.malformed)
    }
    position = end(ofMalformed: value, from: start, faultAt: cursor.position)
    return fault
  }

  private func end(
    ofMalformed value: UnsafeRawBufferPointer, from start: Int, faultAt position: Int
  ) -> Int {
    var end = lineEnd(value, start)
    if position <= end { return min(end + 1, value.count) }
    while end < value.count {
      let next = end + 1
      if next < value.count,
        value[next] == UInt8(ascii: "{") || value[next] == UInt8(ascii: "["),
        !isContinued(value, start..<end)
      {
        return next
      }
      end = lineEnd(value, next)
    }
    return value.count
  }

  /// Whether a text ends with what must be followed by a value.
  private func isContinued(_ value: UnsafeRawBufferPointer, _ range: Range<Int>) -> Bool {
    var end = range.upperBound
    while end > range.lowerBound, [0x20, 0x09, 0x0D, 0x0A].contains(value[end - 1]) { end -= 1 }
    return end > range.lowerBound && ",:[".utf8.contains(value[end - 1])
  }

  private func lineEnd(_ value: UnsafeRawBufferPointer, _ start: Int) -> Int {
    ByteWord.firstIndex(in: value, from: start) { $0.marks(of: UInt8(ascii: "\n")) }
  }

  /// Reads one element of a list of records, and leaves `position` behind it.
  ///
  /// - Returns: What is wrong with the element, if something is, and whether it is JSON all the
  ///   same, so that the list goes on behind it.
  func scanElement(
    _ value: UnsafeRawBufferPointer, _ position: inout Int,
    into tokens: UnsafeMutableBufferPointer<Token>, unescaped: inout [UInt8]
  ) -> (fault: Fault?, isWhole: Bool) {
    var cursor = JSONCursor(bytes: value, position: position)
    let isObject = !cursor.isAtEnd && value[position] == UInt8(ascii: "{")
    if isObject {
      let result = scanObject(&cursor, into: tokens, unescaped: &unescaped)
      position = cursor.position
      return result
    }
    for index in tokens.indices { tokens[index] = .absent }
    let isWhole = cursor.skipValue(depth: Self.depthLimit) != nil
    position = cursor.position
    return (Fault(.malformed), isWhole)
  }

  /// Reads what is one JSON value of any kind and nothing else.
  ///
  /// - Precondition: the scanner is made for the whole of a value.
  /// - Returns: What is wrong with it, if something is.
  func scanValue(
    _ bytes: UnsafeRawBufferPointer, into tokens: UnsafeMutableBufferPointer<Token>,
    unescaped: inout [UInt8]
  ) -> Fault? {
    for index in tokens.indices { tokens[index] = .absent }
    var cursor = JSONCursor(bytes: bytes, position: 0)
    var target = Target(tokens: tokens)
    cursor.skipSpace()
    guard
      value(
        &cursor, JSONFieldTree.root, &target, unescaped: &unescaped, depth: Self.depthLimit + 1)
    else { return Fault(.malformed, field: target.fault?.field) }
    cursor.skipSpace()
    guard cursor.isAtEnd else { return Fault(.malformed) }
    return target.fault ?? envelope?.settle(tokens, bytes, unescaped)
  }

  /// - Returns: Whether it is JSON, and what is wrong with it besides.
  private func scanObject(
    _ cursor: inout JSONCursor, into tokens: UnsafeMutableBufferPointer<Token>,
    unescaped: inout [UInt8]
  ) -> (fault: Fault?, isWhole: Bool) {
    for index in tokens.indices { tokens[index] = .absent }
    var target = Target(tokens: tokens)
    cursor.skipSpace()
    guard !cursor.isAtEnd, cursor.current == UInt8(ascii: "{"),
      object(
        &cursor, JSONFieldTree.root, &target, unescaped: &unescaped, depth: Self.depthLimit + 1)
    else {
      // A fault that was met before tells nothing of a record that is no JSON.
      let field = target.fault.flatMap { $0.reason == .malformed ? $0.field : nil }
      return (Fault(.malformed, field: field), false)
    }
    return (target.fault ?? envelope?.settle(tokens, cursor.bytes, unescaped), true)
  }

  /// - Returns: False where it is malformed; the fault then names the declared field, if it is of
  ///   one.
  private func object(
    _ cursor: inout JSONCursor, _ node: Int, _ target: inout Target, unescaped: inout [UInt8],
    depth: Int
  ) -> Bool {
    cursor.position += 1
    cursor.skipSpace()
    if cursor.take(UInt8(ascii: "}")) { return true }
    var expected = Int(tree.nodes[node].firstKey)
    repeat {
      cursor.skipSpace()
      guard let key = cursor.string(unescaped: &unescaped) else { return false }
      cursor.skipSpace()
      guard cursor.take(UInt8(ascii: ":")) else { return false }
      cursor.skipSpace()
      let child = child(of: node, key, cursor.bytes, unescaped, expected: &expected)
      guard child != JSONFieldTree.none else {
        guard cursor.skipValue(depth: depth - 1) != nil else { return false }
        cursor.skipSpace()
        continue
      }
      guard value(&cursor, child, &target, unescaped: &unescaped, depth: depth - 1) else {
        return false
      }
      cursor.skipSpace()
    } while cursor.take(UInt8(ascii: ","))
    return cursor.take(UInt8(ascii: "}"))
  }

  @inline(__always)
  private func child(
    of node: Int, _ key: Token, _ bytes: UnsafeRawBufferPointer, _ unescaped: [UInt8],
    expected: inout Int
  ) -> Int {
    switch key.kind {
    case .quoted where !tree.mayHold(node, key.range.count): return JSONFieldTree.none
    case .quoted: return tree.child(of: node, bytes, key.range, expected: &expected)
    case .unescaped:
      return unescaped.withUnsafeBytes {
        tree.child(of: node, $0, key.range, expected: &expected)
      }
    default: return JSONFieldTree.none
    }
  }

  /// A value of which something is declared.
  private func value(
    _ cursor: inout JSONCursor, _ index: Int, _ target: inout Target, unescaped: inout [UInt8],
    depth: Int
  ) -> Bool {
    let node = tree.nodes[index]
    let start = cursor.position
    let isRepeated = target.tokens[Int(node.slot)].kind != .absent
    guard
      let token = token(&cursor, index, node, &target, unescaped: &unescaped, depth: depth)
    else {
      if target.fault?.reason != .malformed {
        target.fault = Fault(.malformed, field: node.faultField)
      }
      return false
    }
    if isRepeated {
      target.fault = target.fault ?? Fault(.duplicateField, field: node.faultField)
    }
    target.tokens[Int(node.slot)] = token
    if node.textSlot >= 0 {
      target.tokens[Int(node.textSlot)] =
        token.kind == .null ? token : Token(.composite, start..<cursor.position)
    }
    return true
  }

  @inline(__always)
  private func token(
    _ cursor: inout JSONCursor, _ index: Int, _ node: JSONFieldTree.Node, _ target: inout Target,
    unescaped: inout [UInt8], depth: Int
  ) -> Token? {
    guard !cursor.isAtEnd, depth > 0 else { return nil }
    let start = cursor.position
    switch cursor.current {
    case UInt8(ascii: "\""): return cursor.string(unescaped: &unescaped)
    case UInt8(ascii: "{") where node.hasKeys:
      let isWhole = object(&cursor, index, &target, unescaped: &unescaped, depth: depth)
      return isWhole ? Token(.composite, start..<cursor.position) : nil
    case UInt8(ascii: "[") where node.hasElements:
      let isWhole = array(&cursor, index, &target, unescaped: &unescaped, depth: depth)
      return isWhole ? Token(.composite, start..<cursor.position) : nil
    default: return cursor.skipValue(depth: depth)
    }
  }

  private func array(
    _ cursor: inout JSONCursor, _ node: Int, _ target: inout Target, unescaped: inout [UInt8],
    depth: Int
  ) -> Bool {
    cursor.position += 1
    cursor.skipSpace()
    if cursor.take(UInt8(ascii: "]")) { return true }
    var position = 0
    var expected = Int(tree.nodes[node].firstElement)
    repeat {
      cursor.skipSpace()
      let element = tree.element(of: node, at: position, expected: &expected)
      position += 1
      if element == JSONFieldTree.none {
        guard cursor.skipValue(depth: depth - 1) != nil else { return false }
      } else {
        guard value(&cursor, element, &target, unescaped: &unescaped, depth: depth - 1) else {
          return false
        }
      }
      cursor.skipSpace()
    } while cursor.take(UInt8(ascii: ","))
    return cursor.take(UInt8(ascii: "]"))
  }
}
