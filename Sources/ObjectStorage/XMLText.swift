/// The little of XML that S3's answers need: the texts of elements by name.
enum XMLText {
  static func first(_ name: String, in text: String) -> String? {
    all(name, in: text, limit: 1).first
  }

  static func all(_ name: String, in text: String, limit: Int = .max) -> [String] {
    var found: [String] = []
    var rest = text[...]
    while found.count < limit, let start = rest.firstRange(of: "<\(name)>"),
      let end = rest[start.upperBound...].firstRange(of: "</\(name)>")
    {
      found.append(unescaped(rest[start.upperBound..<end.lowerBound]))
      rest = rest[end.upperBound...]
    }
    return found
  }

  private static func unescaped(_ text: Substring) -> String {
    guard text.contains("&") else { return String(text) }
    var result = ""
    var rest = text
    while let ampersand = rest.firstIndex(of: "&") {
      result += rest[..<ampersand]
      rest = rest[ampersand...]
      guard let semicolon = rest.firstIndex(of: ";") else { break }
      let name = rest[rest.index(after: ampersand)..<semicolon]
      switch name {
      case "lt": result += "<"
      case "gt": result += ">"
      case "amp": result += "&"
      case "quot": result += "\""
      case "apos": result += "'"
      default:
        let isHexadecimal = name.hasPrefix("#x")
        let number =
          isHexadecimal ? UInt32(name.dropFirst(2), radix: 16) : UInt32(name.dropFirst(1))
        if name.hasPrefix("#"), let scalar = number.flatMap(Unicode.Scalar.init) {
          result.unicodeScalars.append(scalar)
        }
      }
      rest = rest[rest.index(after: semicolon)...]
    }
    return result + rest
  }
}
