internal import Offsets
internal import Tables

/// The second stage of decoding for what lies beside a message's value: finds the declared fields
/// of its key and headers, once for all records of the message.
///
/// The tokens of a key are places in it, as those of a value are. What a header holds, and the text
/// of a binary key, is copied.
struct KeyAndHeaders {
  private let headers: [(name: [UInt8], slot: Int)]
  private let texts: [(form: KeyForm, slot: Int)]
  /// Of the fields of a JSON key, which are the last ones; nil where there are none.
  private let scanner: JSONScanner?
  private let firstSlotOfScanner: Int
  private let firstFieldOfScanner: Int?
  /// Of each field that is found here, its position among the declared ones and its slot.
  let slots: [(field: Int, slot: Int)]
  let slotCount: Int

  /// Nil where all fields lie in the record.
  ///
  /// - Parameter envelope: A JSON key is wrapped as Kafka Connect wraps it where records are.
  init?(_ fields: [InputField], _ envelope: Envelope?) {
    var slots: [(field: Int, slot: Int)] = []
    var headers: [(name: [UInt8], slot: Int)] = []
    var texts: [(form: KeyForm, slot: Int)] = []
    var parts: [Int] = []
    for (index, field) in fields.enumerated() {
      let slot = slots.count
      switch field.origin {
      case .record: continue
      case .header(let name): headers.append((Array(name.utf8), slot))
      case .key(.json):
        parts.append(index)
        continue
      case .key(let form): texts.append((form, slot))
      }
      slots.append((index, slot))
    }
    let first = slots.count
    (self.headers, self.texts) = (headers, texts)
    (firstSlotOfScanner, firstFieldOfScanner) = (first, parts.first)
    if parts.isEmpty {
      scanner = nil
      slotCount = slots.count
    } else {
      let scanner = JSONScanner(fields, at: parts, envelope.map { _ in .connect }, isWhole: true)
      self.scanner = scanner
      slotCount = first + scanner.slotCount
      slots += zip(parts, scanner.slots).map { (field: $0, slot: first + $1) }
    }
    if slots.isEmpty { return nil }
    self.slots = slots
  }

  /// - Parameters:
  ///   - tokens: ``slotCount``.
  ///   - copied: Receives what is copied.
  /// - Returns: What is wrong with the message's key, if something is.
  func find(
    in message: Message, into tokens: UnsafeMutableBufferPointer<Token>, _ copied: inout [UInt8]
  ) -> Fault? {
    for index in tokens.indices { tokens[index] = .absent }
    if !headers.isEmpty { findHeaders(of: message, into: tokens, &copied) }
    guard let key = message.key else {
      for text in texts { tokens[text.slot] = Token(.null, 0..<0) }
      for slot in firstSlotOfScanner..<tokens.count { tokens[slot] = Token(.null, 0..<0) }
      return nil
    }
    for text in texts {
      let start = copied.count
      switch text.form {
      case .text:
        tokens[text.slot] = Token(.quoted, 0..<key.count)
        continue
      case .hex: for byte in key { appendHexadecimal(byte, to: &copied) }
      case .base64: Base64Text.append(key, to: &copied)
      case .json: continue
      }
      tokens[text.slot] = Token(.unescaped, start..<copied.count)
    }
    guard let scanner else { return nil }
    let fault = scanner.scanValue(
      key, into: UnsafeMutableBufferPointer(rebasing: tokens[firstSlotOfScanner...]),
      unescaped: &copied)
    return fault.map { Fault($0.reason, field: $0.field ?? firstFieldOfScanner) }
  }

  /// The last header of each name counts, as for Kafka's `lastHeader`.
  private func findHeaders(
    of message: Message, into tokens: UnsafeMutableBufferPointer<Token>, _ copied: inout [UInt8]
  ) {
    message.headers?.forEach { header in
      for declared in headers where header.name.elementsEqual(declared.name) {
        guard let value = header.value else {
          tokens[declared.slot] = Token(.null, 0..<0)
          continue
        }
        let start = copied.count
        copied.append(contentsOf: value)
        tokens[declared.slot] = Token(.unescaped, start..<copied.count)
      }
    }
  }
}

private func appendHexadecimal(_ byte: UInt8, to bytes: inout [UInt8]) {
  bytes.append(hexadecimalDigit(byte >> 4))
  bytes.append(hexadecimalDigit(byte & 15))
}

private func hexadecimalDigit(_ value: UInt8) -> UInt8 {
  value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}
