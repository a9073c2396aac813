internal import Expressions
internal import Formats
internal import Tables

/// A setting that is not what it was when the checkpoint was last written.
package struct JobChange: Sendable, Equatable, CustomStringConvertible {
  /// What keeps a change from taking effect without another look at what was counted.
  package enum Obstacle: Sendable, Equatable {
    /// Of its one pane some records were counted without the measure.
    case measureOfGlobalWindow(name: String)
    /// Records that lack it were counted.
    case fieldNotNullable(name: String)
    case fieldChanged(name: String)
    /// In CSV without a header a field can be added behind the others alone.
    case fieldPositions
    /// What kept state keeps none now, or the other way round.
    case keepsState
  }

  package let key: String
  /// Nil: not there.
  package let old: String?
  package let new: String?
  package let effect: ChangeEffect
  package let obstacle: Obstacle?

  package init(
    key: String, old: String?, new: String?, effect: ChangeEffect, obstacle: Obstacle? = nil
  ) {
    self.key = key
    self.old = old
    self.new = new
    self.effect = effect
    self.obstacle = obstacle
  }

  /// Of this key alone.
  package var evolution: Evolution {
    func definition(_ value: String?) -> JobDefinition {
      JobDefinition(value.map { [key: $0] } ?? [:])
    }
    return Evolution(from: definition(old), to: definition(new))
  }

  /// `aggregate.by: was api_id, is api_id, region`
  package var description: String {
    let reason = obstacle.map { " (\($0))" } ?? ""
    return "\(key): was \(old ?? "not there"), is \(new ?? "not there")" + reason
  }

  /// What differs between two sets of canonical settings, sorted by key. Harmless changes are left
  /// out.
  package static func compare(old: [String: String], new: [String: String]) -> [JobChange] {
    let evolution = Evolution(from: JobDefinition(old), to: JobDefinition(new))
    return Set(old.keys).union(new.keys).sorted().compactMap { key in
      guard old[key] != new[key] else { return nil }
      let setting = JobKeys.setting(key)
      let stated = (old[key] == nil ? setting?.effectOfAdding : setting?.effect) ?? .refuse
      let (effect, obstacle) = evolution.effect(of: key, stated: stated)
      return effect == .harmless
        ? nil
        : JobChange(key: key, old: old[key], new: new[key], effect: effect, obstacle: obstacle)
    }
  }
}

extension JobChange.Obstacle: CustomStringConvertible {
  package var description: String {
    switch self {
    case .measureOfGlobalWindow(let name):
      "the one window holds records that \(name) did not count, so it would be NULL for ever"
    case .fieldNotNullable(let name):
      "an added field must allow NULL: write the type of \(name) with ?"
    case .fieldChanged(let name): "\(name) would hold other values than before"
    case .fieldPositions:
      "CSV without a header finds fields by position: add fields behind the others, and leave out "
        + "none"
    case .keepsState: "one of the two keeps state from batch to batch, and the other does not"
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
