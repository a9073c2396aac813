internal import Expressions
internal import Formats
internal import Tables

/// A setting that is not what it was when the checkpoint was last written.
package struct JobChange: Sendable, Equatable, CustomStringConvertible {
  package let key: String
  /// Nil: not there.
  package let old: String?
  package let new: String?
  package let effect: ChangeEffect

  /// `aggregate.by: was api_id, is api_id, region`
  package var description: String { "\(key): was \(old ?? "not there"), is \(new ?? "not there")" }

  /// What differs between two sets of canonical settings, sorted by key. Harmless changes are left
  /// out.
  package static func compare(old: [String: String], new: [String: String]) -> [JobChange] {
    Set(old.keys).union(new.keys).sorted().compactMap { key in
      guard old[key] != new[key] else { return nil }
      let setting = JobKeys.setting(key)
      let effect = old[key] == nil ? setting?.effectOfAdding : setting?.effect
      return effect == .harmless
        ? nil : JobChange(key: key, old: old[key], new: new[key], effect: effect ?? .refuse)
    }
  }
}

extension Job {
  /// What the state and the objects depend on, by key: after substitution, in one spelling, without
  /// secrets.
  package var canonicalSettings: [String: String] {
    // Raised when bytes that decoded to some values decode to others.
    var settings = ["decoder": "1"]
    for setting in JobKeys.all.compactMap(\.setting) {
      settings.merge(setting.values(self)) { first, _ in first }
    }
    return settings
  }
}

extension InputField {
  /// `time_taken int64?`, `user string from $.payload.user`, `id int64 from key json $.id`,
  /// `trace string from header trace-id`
  var spelling: String {
    var place: [String] = []
    switch origin {
    case .record: break
    case .key(let form): place = ["key", form.rawValue]
    case .header(let name): place = ["header", name]
    }
    if let path { place.append("\(path)") }
    let from = place.isEmpty ? "" : " from " + place.joined(separator: " ")
    return "\(column.name) \(typeSpelling)\(from)"
  }

  /// `timestamp(unix_seconds)?`
  var typeSpelling: String {
    let type =
      switch column.type {
      case .timestamp where timestampEncoding != .text:
        "timestamp(\(timestampEncoding.rawValue))"
      case .string where isJSONText: "json"
      case let type: "\(type)"
      }
    return type + (column.isNullable ? "?" : "")
  }
}

extension Job.StartPosition {
  var spelling: String {
    switch self {
    case .earliest: "earliest"
    case .latest: "latest"
    case .timestamp(let milliseconds): TimestampText.format(milliseconds: milliseconds)
    }
  }
}

extension Job.DerivedColumn {
  var spelling: String { "\(name) \(type): \(expression.sql)" }
}
