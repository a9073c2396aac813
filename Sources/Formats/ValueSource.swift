internal import Tables

/// The second stage of decoding: finds the declared fields of one record, and what each of them
/// holds before anyone asks for a type.
///
/// One case a format. It reports tokens, not values, and copies bytes only where a text has
/// escapes. A declared field's token lies at its slot.
enum ValueSource {
  /// With the declared fields by their position in a record.
  case csv(NullTexts, fields: [Int])
  case json(JSONScanner)

  /// - Parameter fields: All declared ones; those that do not lie in the record are passed over.
  init(
    _ format: InputFormat, fields: [InputField], nullTexts: NullTexts, envelope: Envelope? = nil
  ) {
    let own = fields.indices.filter { fields[$0].origin == .record }
    switch format {
    case .csv: self = .csv(nullTexts, fields: own)
    case .json: self = .json(JSONScanner(fields, at: own, envelope))
    }
  }

  /// Of each declared field that lies in the record the slot that gets its token, and how many
  /// slots there are.
  func slots(_ fields: [InputField]) -> (ofFields: [Int], count: Int) {
    let own = fields.indices.filter { fields[$0].origin == .record }
    let (ofOwn, count) =
      switch self {
      case .csv: (Array(own.indices), own.count)
      case .json(let scanner): (scanner.slots, scanner.slotCount)
      }
    var slots = Array(repeating: 0, count: fields.count)
    for (field, slot) in zip(own, ofOwn) { slots[field] = slot }
    return (slots, count)
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
    case .csv(let nullTexts, let fields):
      let fault = scanCSVRecord(value, &position, nullTexts, into: tokens, unescaped: &unescaped)
      guard let fault, let position = fault.field else { return fault }
      return Fault(fault.reason, field: fields[position])
    case .json(let scanner):
      return scanner.scanRecord(value, &position, into: tokens, unescaped: &unescaped)
    }
  }
}

extension InputField {
  /// - Parameter field: Its position among the declared ones.
  func place(_ field: Int) -> JSONFieldTree.Place {
    JSONFieldTree.Place(steps: steps, field: field, isJSONText: isJSONText)
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
