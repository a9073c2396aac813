package import Offsets
internal import Tables

/// A message's headers as a reject keeps them: `[{"name":"encoding","value":"gzip"}]`, in JSON.
///
/// A value that is no text stands in `base64`, and a null one nowhere. Of a value the first 256
/// bytes are kept, to the end of a character, and of the headers those before they fill 4 KiB.
package enum HeadersText {
  private static let valueByteLimit = 256
  private static let byteLimit = 4_096

  /// Nil where there are none.
  static func format(_ headers: MessageHeaders?) -> String? {
    guard let headers = headers?.all, !headers.isEmpty else { return nil }
    var text = ""
    for header in headers {
      let item = (text.isEmpty ? "[" : ",") + item(header)
      guard text.utf8.count + item.utf8.count < byteLimit else { break }
      text += item
    }
    return text.isEmpty ? "[]" : text + "]"
  }

  /// All of them, and all of each; `[]` where there are none.
  package static func whole(_ headers: [MessageHeaders.Header]) -> String {
    "[\(headers.map { item($0, valueByteLimit: .max) }.joined(separator: ","))]"
  }

  private static func item(
    _ header: MessageHeaders.Header, valueByteLimit: Int = valueByteLimit
  ) -> String {
    let name = #"{"name":\#(JSONText.quoted(header.name))"#
    guard let value = header.value.map({ Array(textPrefix(of: $0, valueByteLimit)) }) else {
      return name + "}"
    }
    guard let text = String(validating: value, as: UTF8.self) else {
      return #"\#(name),"base64":"\#(Base64Text.format(value))"}"#
    }
    return #"\#(name),"value":\#(JSONText.quoted(text))}"#
  }
}
