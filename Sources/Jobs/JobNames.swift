/// Which names a job file may give.
enum JobNames {
  /// Of a job: it names files, so it has no capital letters.
  static func isJob(_ name: String) -> Bool {
    name.utf8.count <= JobKeys.nameByteLimit
      && name.first.map(isLowercaseOrDigit) == true
      && name.allSatisfy { isLowercaseOrDigit($0) || ".-_".contains($0) }
  }

  /// The name of a job that is nearest to a text.
  static func job(like text: String) -> String {
    let letters = text.lowercased().map { isLowercaseOrDigit($0) || "._".contains($0) ? $0 : "-" }
    let start = letters.drop { !isLowercaseOrDigit($0) }.prefix(JobKeys.nameByteLimit)
    let end = start.reversed().drop { $0 == "-" }
    return end.isEmpty ? "calls" : String(end.reversed())
  }

  static func isCluster(_ name: String) -> Bool {
    (1...JobKeys.nameByteLimit).contains(name.utf8.count)
      && name.allSatisfy { isLetterOrDigit($0) || "-_".contains($0) }
  }

  /// Kafka's Topic.validate: up to 249 of these characters, and neither "." nor "..".
  static func isTopic(_ name: String) -> Bool {
    (1...JobKeys.topicNameByteLimit).contains(name.utf8.count) && name != "." && name != ".."
      && name.allSatisfy { isLetterOrDigit($0) || "._-".contains($0) }
  }

  static func isColumn(_ name: String) -> Bool {
    (1...JobKeys.columnNameByteLimit).contains(name.utf8.count) && name.first?.isNumber == false
      && name.allSatisfy { isLetterOrDigit($0) || $0 == "_" }
  }

  /// The name of a column that is nearest to a text; nil where nothing of it can stay.
  static func column(like text: String) -> String? {
    var name = ""
    for character in text.lowercased() {
      if isLetterOrDigit(character) {
        name.append(character)
      } else if name.last != "_" {
        name.append("_")
      }
    }
    name = String(name.prefix(JobKeys.columnNameByteLimit))
    while name.last == "_" { name.removeLast() }
    return isColumn(name) ? name : nil
  }

  /// Of ASCII.
  static func isLetterOrDigit(_ character: Character) -> Bool {
    character.isASCII && (character.isLetter || character.isNumber)
  }

  /// Of ASCII.
  static func isLowercaseOrDigit(_ character: Character) -> Bool {
    character.isASCII && (character.isLowercase || character.isNumber)
  }
}
