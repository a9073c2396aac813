internal import Tables

/// The second stage of decoding: finds the declared fields of one record, and what each of them
/// holds before anyone asks for a type.
///
/// One case a format. It reports tokens, not values, and copies bytes only where a text has
/// escapes.
enum ValueSource {
  case csv(NullTexts)
  case json(JSONScanner)

  init(_ format: InputFormat, fields: [InputField], nullTexts: NullTexts) {
    switch format {
    case .csv: self = .csv(nullTexts)
    case .json: self = .json(JSONScanner(names: fields.map(\.column.name)))
    }
  }

  /// Reads one record from `position` on, and leaves `position` behind its end.
  ///
  /// - Parameters:
  ///   - tokens: One per declared field.
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
      // No JSON text holds a newline, so the object ends with its line.
      let start = position
      while position < value.count, value[position] != UInt8(ascii: "\n") { position += 1 }
      let line = start..<position
      if position < value.count { position += 1 }
      return scanner.scan(value, line, into: tokens, unescaped: &unescaped)
    }
  }
}
