internal import Tables

/// Which declared field each column of CSV records is: by its position, or by the name that the
/// header of a message gives it.
struct CSVColumns {
  /// Whether the first record of each message is a header.
  let haveNames: Bool
  /// Of each declared field that lies in the record, in their order, the slot that gets its token.
  let slotsOfFields: [Int]
  let slotCount: Int
  /// Of each slot, the position of its first field among all declared ones.
  private let fields: [Int]
  private let slotsByName: [[UInt8]: Int]

  /// Of each column, its slot; -1 for one that is not declared.
  private(set) var slots: [Int]
  /// Those of fields that the header does not name.
  private(set) var missingSlots: [Int] = []
  /// What is wrong with every record below the header.
  private(set) var fault: Fault?
  /// The header that all this follows from, with its line end.
  private var header: [UInt8] = []

  /// - Parameter fields: All declared ones; those that do not lie in the record are passed over.
  init(_ fields: [InputField], _ header: CSVDialect.Header) {
    let own = fields.indices.filter { fields[$0].origin == .record }
    haveNames = header == .perMessage
    guard haveNames else {
      (slotsOfFields, slotCount, slots) = (Array(own.indices), own.count, Array(own.indices))
      (self.fields, slotsByName) = (own, [:])
      return
    }
    var slotsByName: [[UInt8]: Int] = [:]
    var firstFields: [Int] = []
    slotsOfFields = own.map { field in
      let name = fields[field].steps.first.map(Self.name) ?? []
      if let slot = slotsByName[name] { return slot }
      slotsByName[name] = firstFields.count
      firstFields.append(field)
      return firstFields.count - 1
    }
    (self.fields, self.slotsByName, slotCount) = (firstFields, slotsByName, firstFields.count)
    slots = []
  }

  private static func name(_ step: JSONPath.Step) -> [UInt8] {
    if case .key(let name) = step { Array(name.utf8) } else { [] }
  }

  /// The first declared field of the columns from one on.
  func firstField(fromColumn column: Int) -> Int? {
    slots.dropFirst(column).first { $0 >= 0 }.map { fields[$0] }
  }

  func field(ofColumn column: Int) -> Int? {
    column < slots.count && slots[column] >= 0 ? fields[slots[column]] : nil
  }

  /// Reads the header of a message from `position` on, and leaves `position` behind it. One that
  /// is the same as the last costs a comparison.
  ///
  /// - Returns: False where it is malformed.
  mutating func readHeader(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, _ scanner: CSVScanner
  ) -> Bool {
    if !header.isEmpty, value.count - position >= header.count,
      value[position..<position + header.count].elementsEqual(header)
    {
      position += header.count
      return true
    }
    let start = position
    header.removeAll(keepingCapacity: true)
    slots.removeAll(keepingCapacity: true)
    fault = nil
    var isFound = [Bool](repeating: false, count: slotCount)
    var unescaped: [UInt8] = []
    var isRecordEnd = false
    while !isRecordEnd {
      guard let field = scanner.field(value, &position, unescaped: &unescaped) else { return false }
      isRecordEnd = field.isRecordEnd
      let range = field.token.range
      let name = field.token.kind == .unescaped ? unescaped[range] : ArraySlice(value[range])
      let slot = slotsByName[Array(name)] ?? -1
      slots.append(slot)
      guard slot >= 0 else { continue }
      if isFound[slot] { fault = fault ?? Fault(.duplicateField, field: fields[slot]) }
      isFound[slot] = true
    }
    missingSlots = isFound.indices.filter { !isFound[$0] }
    // Where the message ends with it, more could have followed.
    if value[position - 1] == UInt8(ascii: "\n") { header += value[start..<position] }
    return true
  }
}
