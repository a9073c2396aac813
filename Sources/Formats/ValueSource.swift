internal import Tables

/// The second stage of decoding: finds the declared fields of one record, and what each of them
/// holds before anyone asks for a type.
///
/// One case a format. It reports tokens, not values, and copies bytes only where a text has
/// escapes. A declared field's token lies at its slot.
enum ValueSource {
  case csv(NullTexts)
  case json(JSONScanner)

  init(_ format: InputFormat, fields: [InputField], nullTexts: NullTexts) {
    switch format {
    case .csv: self = .csv(nullTexts)
    case .json: self = .json(JSONScanner(JSONFieldTree(fields)))
    }
  }

  /// Of each declared field the slot that gets its token, and how many slots there are.
  func slots(fieldCount: Int) -> (ofFields: [Int], count: Int) {
    switch self {
    case .csv: (Array(0..<fieldCount), fieldCount)
    case .json(let scanner): (scanner.tree.slots, scanner.tree.slotCount)
    }
  }

  /// Reads one record from `position` on, and leaves `position` behind its end.
  ///
  /// - Parameters:
  ///   - tokens: One a slot.
  ///   - unescaped: Receives the bytes of texts that had escapes.
  /// - Returns: What is wrong with the record, if something is.
  @inline(__always)
  func scan(
    _ value: UnsafeRawBufferPointer, _ position: inout Int,
    into tokens: UnsafeMutableBufferPointer<Token>, _ unescaped: inout [UInt8]
  ) -> Fault? {
    switch self {
    case .csv(let nullTexts):
      return scanCSVRecord(value, &position, nullTexts, into: tokens, unescaped: &unescaped)
    case .json(let scanner):
      return scanner.scanRecord(value, &position, into: tokens, unescaped: &unescaped)
    }
  }
}

extension InputFormat {
  /// How many fields a CSV record has; nil where it is not one, or has more than `most`.
  static func csvFieldCount(of record: UnsafeRawBufferPointer, most: Int) -> Int? {
    var position = 0
    var unescaped: [UInt8] = []
    return withUnsafeTemporaryAllocation(of: Token.self, capacity: most) { tokens in
      tokens.initialize(repeating: .absent)
      let fault = scanCSVRecord(
        record, &position, NullTexts([]), into: tokens, unescaped: &unescaped)
      return switch fault?.reason {
      case nil: most
      case .missingField: fault?.field
      default: nil
      }
    }
  }
}
