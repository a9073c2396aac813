internal import Tables

/// The texts that say, in a CSV field without quotes, that it has no value.
package struct NullTexts: Sendable {
  /// What ClickHouse and PostgreSQL write.
  package static let standard = ["\\N"]
  /// Most bytes of one.
  package static let byteLimit = 64

  private let texts: [[UInt8]]
  /// A bit for the first byte and the length of each, so that most fields are told from all of them
  /// at once.
  private let marks: UInt64

  init(_ texts: [String]) {
    self.texts = texts.map { Array($0.utf8) }
    marks = self.texts.reduce(0) { marks, text in marks | text.withUnsafeBytes(Self.mark) }
  }

  @inline(__always)
  func contains(_ text: UnsafeRawBufferPointer) -> Bool {
    marks & Self.mark(text) != 0 && isOneOfThem(text)
  }

  private func isOneOfThem(_ text: UnsafeRawBufferPointer) -> Bool {
    texts.contains { $0.elementsEqual(text) }
  }

  @inline(__always)
  private static func mark(_ text: UnsafeRawBufferPointer) -> UInt64 {
    1 << UInt64((text.isEmpty ? 0 : Int(text[0]) &+ text.count &* 8) & 63)
  }

  /// Whether one of them is an integer of few digits, which is to be asked here before it is read.
  var holdInteger: Bool { texts.contains { $0.withUnsafeBytes { plainInteger($0) != nil } } }
}
