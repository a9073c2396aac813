import TestSupport

/// Bytes as text for a message: what is not printable is escaped.
func shown(_ bytes: [UInt8]) -> String {
  "\""
    + bytes.map {
      (0x20..<0x7F).contains($0) && $0 != 0x22
        ? String(UnicodeScalar($0)) : "\\x\(String($0, radix: 16))"
    }
    .joined() + "\""
}

func texts(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

extension SeededRandom {
  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[Int.random(in: elements.indices, using: &self)]
  }

  /// One to eight changes of a text of a corpus: bytes flipped, taken out, doubled, put in, or a
  /// piece of another one.
  mutating func mutated(_ corpus: [[UInt8]]) -> [UInt8] {
    var bytes = pick(corpus)
    let pieces =
      Array("\"\\,:{}[]\n\r\t -+.eE0123456789ntfuN'()%;/*\u{0}\u{7F}".utf8) + [
        0x80, 0xC3, 0xED, 0xF4, 0xFF,
      ]
    for _ in 0..<Int.random(in: 1...8, using: &self) {
      let position = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &self)
      switch Int.random(in: 0..<6, using: &self) {
      case 0 where !bytes.isEmpty: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &self)
      case 1 where !bytes.isEmpty:
        bytes.removeSubrange(
          position..<min(bytes.count, position + Int.random(in: 1...4, using: &self)))
      case 2 where !bytes.isEmpty:
        bytes.insert(contentsOf: bytes[position..<min(bytes.count, position + 12)], at: position)
      case 3:
        let other = pick(corpus)
        let start = other.isEmpty ? 0 : Int.random(in: 0..<other.count, using: &self)
        bytes.insert(contentsOf: other[start...].prefix(20), at: position)
      default: bytes.insert(pick(pieces), at: position)
      }
    }
    return bytes
  }
}
