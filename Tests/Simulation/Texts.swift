import Glibc

/// Numbers and times as texts, written a second time: the oracle shares no code with the product.
enum Texts {
  /// 1234 of scale 2 is `12.34`.
  static func decimal(_ units: Int64, scale: Int) -> String {
    let digits = padded(Int64(units.magnitude), scale + 1)
    let whole = digits.dropLast(scale)
    return (units < 0 ? "-" : "")
      + (scale == 0 ? String(whole) : "\(whole).\(digits.suffix(scale))")
  }

  /// `1969-12-31T23:59:59.999Z`, by the C library's calendar.
  static func time(_ milliseconds: Int64) -> String {
    let fraction = ((milliseconds % 1_000) + 1_000) % 1_000
    var seconds = time_t((milliseconds - fraction) / 1_000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let date = [(parts.tm_year + 1_900, 4), (parts.tm_mon + 1, 2), (parts.tm_mday, 2)]
    let clock = [(parts.tm_hour, 2), (parts.tm_min, 2), (parts.tm_sec, 2)]
    func joined(_ parts: [(Int32, Int)], _ separator: String) -> String {
      parts.map { padded(Int64($0), $1) }.joined(separator: separator)
    }
    return "\(joined(date, "-"))T\(joined(clock, ":")).\(padded(fraction, 3))Z"
  }

  static func batch(_ number: Int64) -> String {
    "batch=" + padded(number, 9)
  }

  private static func padded(_ number: Int64, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}

/// A result as the oracle expects it.
struct ResultTable {
  var columns: [Definition]
  var rows: [[Value]]

  /// RFC 4180 with a header, `\N` for NULL.
  var csv: [UInt8] {
    var bytes = Array((columns.map(\.name).joined(separator: ",") + "\n").utf8)
    for row in rows {
      for (index, value) in row.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        if case .text(let text) = value {
          bytes += Self.csvText(text)
        } else {
          bytes +=
            value == .null ? Array("\\N".utf8) : Array(Self.plain(value, columns[index].type).utf8)
        }
      }
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }

  private static func csvText(_ text: [UInt8]) -> [UInt8] {
    guard
      text.isEmpty || text == Array("\\N".utf8)
        || text.contains(where: { "\",\n\r".utf8.contains($0) })
    else { return text }
    return [UInt8(ascii: "\"")] + text.flatMap { $0 == UInt8(ascii: "\"") ? [$0, $0] : [$0] } + [
      UInt8(ascii: "\"")
    ]
  }

  /// An object a line.
  var json: [UInt8] {
    var bytes: [UInt8] = []
    for row in rows {
      bytes.append(UInt8(ascii: "{"))
      for (index, value) in row.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        bytes += "\"\(columns[index].name)\":".utf8
        switch value {
        case .null: bytes += "null".utf8
        case .text(let text): bytes += jsonText(text)
        default:
          let text = Self.plain(value, columns[index].type)
          bytes += (columns[index].type == .timestamp ? "\"\(text)\"" : text).utf8
        }
      }
      bytes += "}\n".utf8
    }
    return bytes
  }

  private static func plain(_ value: Value, _ type: ValueType) -> String {
    switch (value, type) {
    case (.double(let number), _): "\(number)"
    case (.integer(let flag), .bool): flag == 0 ? "false" : "true"
    case (.integer(let units), .decimal(_, let scale)): Texts.decimal(units, scale: scale)
    case (.integer(let milliseconds), .timestamp): Texts.time(milliseconds)
    case (.integer(let number), _): "\(number)"
    case (.unsigned(let number), _): "\(number)"
    case (.null, _), (.text, _): preconditionFailure("\(value) has no plain text")
    }
  }
}
