internal import Formats
internal import Tables
internal import Windows

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
      let effect = effect(of: key, wasThere: old[key] != nil)
      return effect == .harmless
        ? nil : JobChange(key: key, old: old[key], new: new[key], effect: effect)
    }
  }

  /// By the list of keys; a cluster or topic that is added changes nothing that stands.
  private static func effect(of key: String, wasThere: Bool) -> ChangeEffect {
    if key.hasPrefix("source.kafka[") {
      return wasThere ? .refuse : .harmless
    }
    return JobKeys.key(key)?.effect ?? .refuse
  }
}

extension Job {
  /// What the state and the objects depend on, by key: after substitution, in one spelling, without
  /// secrets.
  package var canonicalSettings: [String: String] {
    let measures = aggregate?.measures.map { "\($0)" }.joined(separator: ", ")
    var settings = [
      // Raised when the same bytes decode to other values.
      "decoder": "1",
      "source.start": start.spelling,
      "source.format": format.rawValue,
      "source.fields": fields.map { "\($0.column.name) \($0.spelling)" }.joined(separator: ", "),
      // A job without aggregate has no window to speak of, and is spelled as it always was.
      "window": aggregate == nil ? "global" : window.canonicalText,
      "where": self.where ?? "-",
      "aggregate.by": aggregate.map { $0.by.joined(separator: ", ") } ?? "-",
      "aggregate.measures": measures ?? "-",
      "select": select.map { "\($0.name) \($0.type): \($0.sql)" }.joined(separator: ", "),
      "output.to": output.destination.text,
      "output.format": output.format.rawValue,
      "output.s3.endpoint": output.s3.endpoint ?? "-",
    ]
    for cluster in clusters {
      settings["source.kafka[\(cluster.name)].isolation.level"] =
        cluster.properties["isolation.level"] ?? "read_committed"
      for topic in cluster.topics {
        settings["source.kafka[\(cluster.name)].topics[\(topic)]"] = "read"
      }
    }
    return settings
  }
}

extension InputField {
  fileprivate var spelling: String {
    let type =
      column.type == .timestamp && timestampEncoding != .text
      ? "timestamp(\(timestampEncoding.rawValue))" : "\(column.type)"
    return type + (column.isNullable ? "?" : "")
  }
}

extension Job.StartPosition {
  fileprivate var spelling: String {
    switch self {
    case .earliest: "earliest"
    case .latest: "latest"
    case .timestamp(let milliseconds): TimestampText.format(milliseconds: milliseconds)
    }
  }
}
