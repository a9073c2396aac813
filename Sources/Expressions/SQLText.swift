/// Names and texts as SQL quotes them.
enum SQLText {
  static func name(_ name: String) -> String {
    "\"" + name.replacing("\"", with: "\"\"") + "\""
  }

  static func literal(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }
}
