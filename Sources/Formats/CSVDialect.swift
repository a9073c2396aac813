/// How CSV is written: what a job file says under `source.csv`.
package struct CSVDialect: Sendable, Equatable {
  package enum Header: String, Sendable, CaseIterable {
    /// Fields are found by their position.
    case none
    /// The first record of each message names the columns.
    case perMessage = "per_message"
  }

  /// What stands between fields.
  package var delimiter: UInt8
  package var header: Header
  /// What stands around a field that holds a delimiter, a quote or a line end; nil where quotes are
  /// characters like others.
  package var quote: UInt8?
  /// Whether blanks around fields are dropped, also around those in quotes.
  package var trims: Bool
  /// What is NULL without quotes.
  package var nullTexts: [String]

  package init(
    delimiter: UInt8 = UInt8(ascii: ","), header: Header = .none,
    quote: UInt8? = UInt8(ascii: "\""), trims: Bool = false,
    nullTexts: [String] = NullTexts.standard
  ) {
    self.delimiter = delimiter
    self.header = header
    self.quote = quote
    self.trims = trims
    self.nullTexts = nullTexts
  }

  /// As RFC 4180 and ClickHouse have it.
  package static let standard = CSVDialect()

  /// Whether a byte can stand between fields: a character of ASCII that is part of no number and
  /// ends no line.
  package static func canDelimit(_ byte: UInt8) -> Bool {
    switch byte {
    case 0, 0x0A, 0x0D, 0x80...: false
    case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): false
    case UInt8(ascii: "0")...UInt8(ascii: "9"): false
    default: !(UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
  }

  /// Whether a byte can stand around a field: one that can delimit and is seen.
  package static func canQuote(_ byte: UInt8) -> Bool {
    canDelimit(byte) && (0x21...0x7E).contains(byte)
  }
}
