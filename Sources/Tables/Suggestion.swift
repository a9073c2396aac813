/// What a person may have meant by a name that is not known.
package enum Suggestion {
  /// `Did you mean format?` where one of the known names is near, else nil.
  package static func nearest(to name: String, among known: [String]) -> String? {
    guard let near = known.min(by: { distance(name, $0) < distance(name, $1) }),
      distance(name, near) <= max(2, name.count / 3)
    else { return nil }
    return "Did you mean \(near)?"
  }

  /// `a, b, c`, and of more than twelve names the first twelve and `...`.
  package static func list(_ known: [String]) -> String {
    known.prefix(12).joined(separator: ", ") + (known.count > 12 ? ", ..." : "")
  }

  /// `a, b or c`.
  package static func choice(of words: [String]) -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " or " + last
  }

  /// Levenshtein's distance between the first 64 bytes of two names, ignoring the case of letters.
  private static func distance(_ left: String, _ right: String) -> Int {
    let left = left.lowercased().utf8.prefix(64)
    let right = right.lowercased().utf8.prefix(64)
    var previous = Array(0...right.count)
    for (i, byte) in left.enumerated() {
      var current = [i + 1]
      for (j, other) in right.enumerated() {
        current.append(
          min(previous[j + 1] + 1, current[j] + 1, previous[j] + (byte == other ? 0 : 1)))
      }
      previous = current
    }
    return previous[right.count]
  }
}
