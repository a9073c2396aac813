internal import Tables

/// The declared fields of JSON records as a tree of keys and elements, made once, in which the
/// scanner looks up each key of a record as it comes.
///
/// A lookup costs the same however many fields are declared: the keys of a node lie in a hash
/// table. Most writers, as ClickHouse's JSONEachRow, keep the order of keys, so the declared key
/// behind the last one found is tried first.
struct JSONFieldTree: Sendable {
  /// A place in a record, of which the token is asked for.
  struct Place {
    /// None for the record itself.
    var steps: [JSONPath.Step]
    /// Named in faults.
    let field: Int?
    /// Whether the JSON text of whatever stands there is asked for.
    var isJSONText = false
  }

  struct Node {
    /// The token that gets what is found here; also where only fields below are declared.
    fileprivate(set) var slot: Int32
    /// The token that gets it as JSON text; -1 where none is asked for.
    fileprivate(set) var textSlot: Int32 = -1
    /// The first declared field here or below, to be named in faults; -1 for none.
    fileprivate(set) var field: Int32
    /// Its keys lie here in `keys`.
    fileprivate(set) var firstKey: Int32 = 0
    fileprivate(set) var keyEnd: Int32 = 0
    /// Its hash table lies here in `table`, which has `mask + 1` entries for it.
    fileprivate(set) var firstEntry: Int32 = 0
    fileprivate(set) var mask: Int32 = 0
    /// Bit n: it has a key of n bytes; the last bit: of 63 or more.
    fileprivate(set) var keyLengths: UInt64 = 0
    /// Its elements lie here in `elements`, by their position.
    fileprivate(set) var firstElement: Int32 = 0
    fileprivate(set) var elementEnd: Int32 = 0

    var faultField: Int? { field < 0 ? nil : Int(field) }
    @inline(__always) var hasKeys: Bool { keyEnd > firstKey }
    @inline(__always) var hasElements: Bool { elementEnd > firstElement }
  }

  fileprivate struct Key {
    /// Its first eight bytes; a shorter key is told by this and its length.
    let word: UInt64
    let start: Int32
    let count: Int32
    let node: Int32
  }

  private struct Element {
    let position: Int32
    let node: Int32
  }

  /// The first is the record itself.
  private(set) var nodes: [Node] = []
  /// Of each place, the token that gets it.
  private(set) var slots: [Int] = []
  private(set) var slotCount = 0
  private var keys: [Key] = []
  private var names: [UInt8] = []
  /// Positions in `keys`, or -1.
  private var table: [Int32] = []
  private var elements: [Element] = []

  static let root = 0
  /// No node: nothing below is asked for.
  static let none = -1

  init(_ places: [Place]) {
    let root = Branch()
    for (index, place) in places.enumerated() {
      var branch = root
      for step in place.steps { branch = branch.child(step, field: place.field) }
      if place.isJSONText { branch.textPlaces.append(index) } else { branch.places.append(index) }
    }
    slots = Array(repeating: 0, count: places.count)
    // Breadth first, so that a record of fields without paths has them in the declared order.
    var branches = [root]
    nodes.append(Node(slot: -1, field: -1))
    var next = 0
    while next < branches.count {
      place(branches[next], at: next, &branches)
      next += 1
    }
  }

  private mutating func place(_ branch: Branch, at index: Int, _ branches: inout [Branch]) {
    if index != Self.root || !branch.places.isEmpty || !branch.textPlaces.isEmpty {
      nodes[index].slot = Int32(slotCount)
      slotCount += 1
      for place in branch.places { slots[place] = Int(nodes[index].slot) }
      if !branch.textPlaces.isEmpty {
        nodes[index].textSlot = Int32(slotCount)
        for place in branch.textPlaces { slots[place] = slotCount }
        slotCount += 1
      }
    }
    nodes[index].firstKey = Int32(keys.count)
    nodes[index].firstElement = Int32(elements.count)
    for (step, child) in branch.children {
      let node = Int32(nodes.count)
      nodes.append(Node(slot: -1, field: Int32(child.firstField)))
      branches.append(child)
      switch step {
      case .element(let position): elements.append(Element(position: Int32(position), node: node))
      case .key(let key):
        let bytes = Array(key.utf8)
        nodes[index].keyLengths |= Self.lengthBit(bytes.count)
        let word = bytes.withUnsafeBytes { Self.word($0, 0, $0.count) }
        keys.append(
          Key(word: word, start: Int32(names.count), count: Int32(bytes.count), node: node))
        names += bytes
      }
    }
    nodes[index].keyEnd = Int32(keys.count)
    nodes[index].elementEnd = Int32(elements.count)
    elements[Int(nodes[index].firstElement)...].sort { $0.position < $1.position }
    hashKeys(of: index)
  }

  private mutating func hashKeys(of index: Int) {
    let node = nodes[index]
    var size = 4
    while size < 2 * Int(node.keyEnd - node.firstKey) { size *= 2 }
    nodes[index].firstEntry = Int32(table.count)
    nodes[index].mask = Int32(size - 1)
    table += Array(repeating: -1, count: size)
    for position in node.firstKey..<node.keyEnd {
      let key = keys[Int(position)]
      let hash = names.withUnsafeBytes { Self.hash($0, Int(key.start), Int(key.count), key.word) }
      var entry = hash & (size - 1)
      while table[Int(nodes[index].firstEntry) + entry] >= 0 { entry = (entry + 1) & (size - 1) }
      table[Int(nodes[index].firstEntry) + entry] = position
    }
  }

  // MARK: - Lookup

  /// - Parameters:
  ///   - bytes: Hold the key at `range`.
  ///   - expected: The position in `keys` that is tried first; then the one behind what was found.
  /// - Returns: The node of a key below another; ``none`` where nothing of it is declared.
  func child(
    of parent: Int, _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, expected: inout Int
  ) -> Int {
    let node = nodes[parent]
    let word = Self.word(bytes, range.lowerBound, range.count)
    if expected < Int(node.keyEnd), isKey(expected, word, bytes, range) {
      expected += 1
      return Int(keys[expected - 1].node)
    }
    let hash = Self.hash(bytes, range.lowerBound, range.count, word)
    var entry = hash & Int(node.mask)
    while case let position = Int(table[Int(node.firstEntry) + entry]), position >= 0 {
      if isKey(position, word, bytes, range) {
        expected = position + 1
        return Int(keys[position].node)
      }
      entry = (entry + 1) & Int(node.mask)
    }
    return Self.none
  }

  @inline(__always)
  private func isKey(
    _ position: Int, _ word: UInt64, _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>
  ) -> Bool {
    let key = keys[position]
    guard key.word == word, Int(key.count) == range.count else { return false }
    if range.count <= 8 { return true }
    return names.withUnsafeBytes {
      UnsafeRawBufferPointer(rebasing: bytes[range])
        .elementsEqual($0[Int(key.start)..<Int(key.start) + range.count])
    }
  }

  /// - Parameters:
  ///   - position: Of an array's element; they are asked for one after the other.
  ///   - expected: Begins as the node's `firstElement`; then the element behind what was found.
  /// - Returns: The node of the element; ``none`` where nothing of it is declared.
  @inline(__always)
  func element(of parent: Int, at position: Int, expected: inout Int) -> Int {
    guard expected < Int(nodes[parent].elementEnd),
      Int(elements[expected].position) == position
    else { return Self.none }
    expected += 1
    return Int(elements[expected - 1].node)
  }

  /// Whether a node has a key of so many bytes: of most keys that nothing is declared of, this says
  /// enough.
  @inline(__always)
  func mayHold(_ node: Int, _ byteCount: Int) -> Bool {
    nodes[node].keyLengths & Self.lengthBit(byteCount) != 0
  }

  @inline(__always)
  private static func lengthBit(_ byteCount: Int) -> UInt64 { 1 << UInt64(min(byteCount, 63)) }

  /// The first eight bytes of a text, the first one lowest; zeros behind a shorter one.
  @inline(__always)
  private static func word(
    _ bytes: UnsafeRawBufferPointer, _ start: Int, _ count: Int
  ) -> UInt64 {
    if start + 8 <= bytes.count {
      let word = UInt64(
        littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
      return count >= 8 ? word : word & (1 << UInt64(8 * count) - 1)
    }
    var word: UInt64 = 0
    for index in 0..<min(count, 8) { word |= UInt64(bytes[start + index]) << UInt64(8 * index) }
    return word
  }

  /// By the length and the first and last eight bytes.
  @inline(__always)
  private static func hash(
    _ bytes: UnsafeRawBufferPointer, _ start: Int, _ count: Int, _ word: UInt64
  ) -> Int {
    var hash = word ^ UInt64(count)
    if count > 8 {
      let last = UInt64(
        littleEndian: bytes.loadUnaligned(fromByteOffset: start + count - 8, as: UInt64.self))
      hash = mixedHash(hash) ^ last
    }
    return Int(truncatingIfNeeded: mixedHash(hash) >> 1)
  }
}

/// The tree while it is being made.
private final class Branch {
  var children: [(step: JSONPath.Step, branch: Branch)] = []
  var places: [Int] = []
  var textPlaces: [Int] = []
  private(set) var firstField = -1

  func child(_ step: JSONPath.Step, field: Int?) -> Branch {
    if let found = children.first(where: { $0.step == step }) { return found.branch }
    let branch = Branch()
    branch.firstField = field ?? -1
    children.append((step, branch))
    return branch
  }
}
