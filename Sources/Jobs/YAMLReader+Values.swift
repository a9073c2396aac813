/// Values of the kinds that ``JobKeys`` names, with their bounds and defaults from there.
extension YAMLReader {
  /// Nil for an empty text as well: an option given by an empty variable is not given.
  func nonEmpty(_ entry: Entry) -> String? { string(entry).flatMap { $0.isEmpty ? nil : $0 } }

  /// The value of a key, or its default where the file does not say it or says nonsense.
  ///
  /// - Parameter allowsEmpty: Whether an empty text means the default.
  func value<Value>(
    _ object: Object, _ name: String, allowsEmpty: Bool = false, _ convert: (String) -> Value?,
    fault: () -> (problem: String, remedy: String) = { ("is not valid", "Correct it") }
  ) -> Value {
    if let entry = object.entry(name), let text = string(entry), !(allowsEmpty && text.isEmpty) {
      if let value = convert(text) { return value }
      let (problem, remedy) = fault()
      fail(entry, value: text, problem, remedy)
    }
    let path = JobKeys.join(object.pattern, name)
    guard case .value(let text) = JobKeys.key(path)?.default, let value = convert(text) else {
      preconditionFailure("the table of keys has no valid default for \(path)")
    }
    return value
  }

  func integer(_ object: Object, _ name: String) -> Int64 {
    guard case .integer(let range) = kind(object, name) else {
      preconditionFailure("\(object.pattern).\(name) is not an integer in the table of keys")
    }
    return value(object, name) {
      Int64($0).flatMap { range.contains($0) ? $0 : nil }
    } fault: {
      (
        "is not a whole number from \(range.lowerBound) to \(range.upperBound)",
        "Write such a number"
      )
    }
  }

  /// Bytes: `65536`, `64KiB`, `1MiB`, `2GiB`.
  func size(_ object: Object, _ name: String) -> Int64 {
    guard case .size(let range) = kind(object, name) else {
      preconditionFailure("\(object.pattern).\(name) is not a size in the table of keys")
    }
    return value(object, name) { text in
      Self.byteCount(text).flatMap { range.contains($0) ? $0 : nil }
    } fault: {
      (
        "is not a number of bytes"
          + (range.upperBound == .max ? "" : " up to \(range.upperBound)"),
        "Write for example 65536, 64KiB, 1MiB or 2GiB"
      )
    }
  }

  /// Milliseconds.
  func duration(_ object: Object, _ name: String) -> Int64 {
    value(object, name, Self.milliseconds) { Self.durationFault }
  }

  /// Nil after a fault.
  func duration(_ entry: Entry) -> Int64? {
    guard let text = string(entry) else { return nil }
    if let milliseconds = Self.milliseconds(text) { return milliseconds }
    fail(entry, value: text, Self.durationFault.problem, Self.durationFault.remedy)
    return nil
  }

  private static let durationFault = (
    problem: "is not a duration", remedy: "Write for example 500ms, 30s, 5m, 1h or 1d"
  )

  /// From 0 to 1: `10%` or `0.1`.
  func share(_ object: Object, _ name: String) -> Double {
    value(object, name) { text in
      let number = text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
      return number.flatMap { (0...1).contains($0) ? $0 : nil }
    } fault: {
      ("is not a share", "Write for example 10% or 0.1")
    }
  }

  func flag(_ object: Object, _ name: String) -> Bool {
    value(object, name) {
      Bool($0)
    } fault: {
      ("is neither true nor false", "Write true or false")
    }
  }

  /// One of the words of the table; the first of them for a key without a default that is missing.
  func choice<Choice: RawRepresentable<String>>(_ object: Object, _ name: String) -> Choice {
    if let word = object.entry(name).flatMap(choice), let choice = Choice(rawValue: word) {
      return choice
    }
    let key = JobKeys.key(JobKeys.join(object.pattern, name))
    var word = choices(key).first
    if case .value(let text) = key?.default { word = text }
    guard let choice = word.flatMap(Choice.init) else {
      preconditionFailure("\(word ?? "nothing") is not a value of \(object.pattern).\(name)")
    }
    return choice
  }

  /// Nil after a fault.
  func choice(_ entry: Entry) -> String? {
    guard let text = string(entry) else { return nil }
    let choices = choices(JobKeys.key(entry.pattern))
    if choices.contains(text) { return text }
    fail(entry, value: text, "is not one of the values", suggestion(text, choices))
    return nil
  }

  private func choices(_ key: JobKey?) -> [String] {
    guard case .choice(let words) = key?.kind else {
      preconditionFailure("\(key?.path ?? "nothing") is not a choice in the table of keys")
    }
    return words
  }

  private func kind(_ object: Object, _ name: String) -> JobKey.Kind? {
    JobKeys.key(JobKeys.join(object.pattern, name))?.kind
  }

  private static func byteCount(_ text: String) -> Int64? {
    scaled(text, by: [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)], most: .max)
  }

  /// `500ms`, `30s`, `5m`, `1h`, `1d`; at least 1 ms.
  static func milliseconds(_ text: String) -> Int64? {
    scaled(
      text,
      by: [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
      most: JobKeys.longestDurationDays * 86_400_000)
  }

  /// A whole number above 0 and a unit, in the smallest unit.
  private static func scaled(
    _ text: String, by units: [(name: String, factor: Int64)], most: Int64
  ) -> Int64? {
    for (name, factor) in units where text.hasSuffix(name) {
      guard let number = Int64(text.dropLast(name.count)), number > 0 else { continue }
      let (scaled, overflow) = number.multipliedReportingOverflow(by: factor)
      if !overflow && scaled <= most { return scaled }
    }
    return nil
  }
}
