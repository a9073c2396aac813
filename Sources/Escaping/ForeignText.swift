/// Text that others wrote, such as keys, what a store or a broker says and values of a job file,
/// made fit for a person or a log.
///
/// A terminal obeys what it is shown: ESC begins a command, CR writes over the line, and
/// bidirectional controls show one text as another. Characters that command or cannot be seen
/// become `\u{1B}`; a backslash stays what it is, so what is escaped once is never changed again.
/// JSON has escapes of its own; see ``escapedJSON(_:)``.
/// - SeeAlso: CVE-2021-42574, "Trojan Source"; CVE-2003-0063, a terminal's answer that is typed
///   into the shell.
package enum ForeignText {
  /// Most bytes of a text inside an error.
  package static let quotedByteLimit = 300

  /// One line: line ends are escaped as well, as `\n`.
  package static func escaped(_ text: String) -> String { escaped(text, keepsLines: false) }

  /// Lines of ours around foreign text: `\n` stays, everything else is escaped.
  package static func escapedLines(_ text: String) -> String { escaped(text, keepsLines: true) }

  /// One line of at most so many bytes; one that is longer ends in `...`.
  ///
  /// - Precondition: `byteLimit` is at least 3.
  package static func quoted(_ text: String, byteLimit: Int = quotedByteLimit) -> String {
    // Nothing gets shorter by being escaped, so what lies behind the limit is never shown.
    let isLonger = text.utf8.count > byteLimit
    let escaped = escaped(isLonger ? String(prefix(of: text, byteLimit)) : text)
    guard isLonger || escaped.utf8.count > byteLimit else { return escaped }
    return prefix(of: escaped, byteLimit - 3) + "..."
  }

  /// JSON that a terminal does not obey either: whoever parses it reads the same text.
  ///
  /// - Parameter json: Without line ends; all else that commands stands in texts.
  package static func escapedJSON(_ json: String) -> String {
    if json.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) { return json }
    var result = ""
    for scalar in json.unicodeScalars {
      if isEscaped(scalar) {
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  private static func escaped(_ text: String, keepsLines: Bool) -> String {
    if text.utf8.allSatisfy({ (0x20...0x7E).contains($0) || ($0 == 0x0A && keepsLines) }) {
      return text
    }
    var result = ""
    for scalar in text.unicodeScalars {
      if scalar == "\n" && keepsLines || !isEscaped(scalar) {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch scalar {
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default: result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
      }
    }
    return result
  }

  /// Controls (C0, DEL, C1), line and paragraph separators, and what has no width: bidirectional
  /// controls, joiners, tags, selectors.
  private static func isEscaped(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: scalar.properties.isDefaultIgnorableCodePoint
    }
  }

  /// At most so many bytes, cut between two characters.
  private static func prefix(of text: String, _ byteCount: Int) -> Substring {
    var end = text.utf8.index(text.startIndex, offsetBy: min(byteCount, text.utf8.count))
    while end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
    return text[..<end]
  }
}
