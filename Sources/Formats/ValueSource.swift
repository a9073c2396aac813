internal import Tables

/// The second stage of decoding: finds the declared fields of one record, and what each of them
/// holds before anyone asks for a type.
///
/// One case a format. It reports tokens, not values, and copies bytes only where a text has
/// escapes. A declared field's token lies at its slot.
enum ValueSource {
  case csv(CSVScanner)
  case json(JSONScanner)

  /// - Parameter fields: All declared ones; those that do not lie in the record are passed over.
  init(
    _ format: InputFormat, fields: [InputField], csv: CSVDialect, envelope: Envelope? = nil
  ) {
    switch format {
    case .csv: self = .csv(CSVScanner(csv))
    case .json:
      let own = fields.indices.filter { fields[$0].origin == .record }
      self = .json(JSONScanner(fields, at: own, envelope))
    }
  }

  /// Of each declared field that lies in the record the slot that gets its token, and how many
  /// slots there are.
  func slots(_ fields: [InputField], _ columns: CSVColumns) -> (ofFields: [Int], count: Int) {
    let own = fields.indices.filter { fields[$0].origin == .record }
    let (ofOwn, count) =
      switch self {
      case .csv: (columns.slotsOfFields, columns.slotCount)
      case .json(let scanner): (scanner.slots, scanner.slotCount)
      }
    var slots = Array(repeating: 0, count: fields.count)
    for (field, slot) in zip(own, ofOwn) { slots[field] = slot }
    return (slots, count)
  }

  /// What is NULL in CSV without quotes; nil for JSON.
  var nullTexts: NullTexts? { if case .csv(let scanner) = self { scanner.nullTexts } else { nil } }

  /// Reads one record from `position` on, and leaves `position` behind its end.
  ///
  /// - Parameters:
  ///   - columns: Of CSV.
  ///   - tokens: One a slot.
  ///   - unescaped: Receives the bytes of texts that had escapes.
  /// - Returns: What is wrong with the record, if something is.
  @inline(__always)
  func scan(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, _ columns: inout CSVColumns,
    into tokens: UnsafeMutableBufferPointer<Token>, _ unescaped: inout [UInt8]
  ) -> Fault? {
    switch self {
    case .csv(let scanner):
      return scanner.scanRecord(
        value, &position, &columns, into: tokens, unescaped: &unescaped)
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
