/// Writes Thrift's compact protocol: what Parquet's headers and footer are made of.
///
/// - SeeAlso: Apache Thrift, doc/specs/thrift-compact-protocol.md.
struct ThriftWriter {
  private(set) var bytes: [UInt8] = []
  /// The id of the last field of each struct that is open.
  private var lastFields: [Int16] = []

  private enum Kind: UInt8 {
    case yes = 1, no = 2, byte = 3, i32 = 5, i64 = 6, binary = 8, list = 9, structure = 12
  }

  /// A structure that is not a field: the whole message, or an element of a list.
  mutating func structure(_ body: (inout ThriftWriter) -> Void) {
    lastFields.append(0)
    body(&self)
    lastFields.removeLast()
    bytes.append(0)
  }

  mutating func field(_ id: Int16, structure body: (inout ThriftWriter) -> Void) {
    header(id, .structure)
    structure(body)
  }

  mutating func field(_ id: Int16, i32 value: Int) {
    header(id, .i32)
    varint(zigzag(Int64(value)))
  }

  mutating func field(_ id: Int16, i64 value: Int64) {
    header(id, .i64)
    varint(zigzag(value))
  }

  mutating func field(_ id: Int16, byte value: Int8) {
    header(id, .byte)
    bytes.append(UInt8(bitPattern: value))
  }

  mutating func field(_ id: Int16, bool value: Bool) { header(id, value ? .yes : .no) }

  mutating func field(_ id: Int16, binary value: some Collection<UInt8>) {
    header(id, .binary)
    binary(value)
  }

  mutating func field(_ id: Int16, i32s values: [Int]) {
    header(id, .list)
    listHeader(.i32, values.count)
    for value in values { varint(zigzag(Int64(value))) }
  }

  mutating func field(_ id: Int16, strings values: [String]) {
    header(id, .list)
    listHeader(.binary, values.count)
    for value in values { binary(value.utf8) }
  }

  mutating func field<Element>(
    _ id: Int16, structures: [Element], _ body: (inout ThriftWriter, Element) -> Void
  ) {
    header(id, .list)
    listHeader(.structure, structures.count)
    for element in structures { structure { body(&$0, element) } }
  }

  private mutating func header(_ id: Int16, _ kind: Kind) {
    let last = lastFields[lastFields.count - 1]
    precondition(id > last && id - last <= 15, "field \(id) after field \(last)")
    bytes.append(UInt8(id - last) << 4 | kind.rawValue)
    lastFields[lastFields.count - 1] = id
  }

  private mutating func listHeader(_ kind: Kind, _ count: Int) {
    if count < 15 {
      bytes.append(UInt8(count) << 4 | kind.rawValue)
    } else {
      bytes.append(0xF0 | kind.rawValue)
      varint(UInt64(count))
    }
  }

  private mutating func binary(_ value: some Collection<UInt8>) {
    varint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  private mutating func varint(_ value: UInt64) { appendVarint(value, to: &bytes) }
}

/// The sign goes to the lowest bit, so that small negative numbers are short as well.
func zigzag(_ value: Int64) -> UInt64 {
  UInt64(bitPattern: value << 1) ^ UInt64(bitPattern: value >> 63)
}

/// Seven bits a byte, the lowest first (ULEB128).
func appendVarint(_ value: UInt64, to bytes: inout [UInt8]) {
  var value = value
  while value >= 0x80 {
    bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
    value >>= 7
  }
  bytes.append(UInt8(value))
}
