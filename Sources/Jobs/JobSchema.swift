internal import Tables
internal import Windows

/// The job file's JSON Schema, made from ``JobKeys``, so that editors complete and check what the
/// parser takes.
/// - SeeAlso: json-schema.org/draft-07.
package enum JobSchema {
  package static func json() -> String {
    """
    {
      "$schema": "http://json-schema.org/draft-07/schema#",
      "title": "A job of Tranche",
      "type": "object",
      "additionalProperties": false,
      "patternProperties": { "^(x-.*|<<)$": {} },
      "required": \(required(of: "")),
      "properties": \(properties(of: "", indent: "  "))
    }

    """
  }

  private static func properties(of path: String, indent: String) -> String {
    let inner = indent + "  "
    let entries = JobKeys.children(of: path).filter { $0 != "*" }.map { name -> String in
      let child = path.isEmpty ? name : "\(path).\(name)"
      return "\(inner)\"\(name)\": \(schema(of: child, indent: inner))"
    }
    return "{\n\(entries.joined(separator: ",\n"))\n\(indent)}"
  }

  private static func schema(of path: String, indent: String) -> String {
    guard let key = JobKeys.key(path) else { return "{}" }
    let inner = indent + "  "
    let lines =
      ["\"description\": \(JSONText.quoted(description(key)))"] + constraints(key, indent: inner)
    return "{\n\(lines.map { inner + $0 }.joined(separator: ",\n"))\n\(indent)}"
  }

  private static func description(_ key: JobKey) -> String {
    var text = key.summary
    if case .size(let range) = key.kind, range.upperBound < .max {
      text += " At most \(JobReference.size(range.upperBound))."
    }
    switch key.path {
    case "source.fields.*": text += " Types: \(FieldType.list(ofFields: true))."
    case "aggregate.measures.*":
      text += " Functions: \(Measure.functions.flatMap { $0.usages }.joined(separator: ", "))."
    default: break
    }
    switch key.default {
    case .none: break
    case .value(let value): text += " Default: \(value)."
    case .words(let words): text += " Default: \(words)."
    }
    return text
  }

  private static func constraints(_ key: JobKey, indent: String) -> [String] {
    switch key.kind {
    case .object: object(key.path, indent)
    case .list(let most):
      ["\"type\": \"array\"", "\"maxItems\": \(most)", "\"items\": \(items(key.path, indent))"]
    case .map(let most):
      [
        "\"type\": \"object\"", "\"maxProperties\": \(most)",
        "\"additionalProperties\": \(schema(of: key.path + ".*", indent: indent))",
      ]
    // A number or a truth value will do where YAML reads one: the parser takes its text.
    case .text: ["\"type\": [\"string\", \"number\", \"boolean\"]"]
    case .integer(let range):
      [
        "\"type\": [\"integer\", \"string\"]", "\"minimum\": \(range.lowerBound)",
        "\"maximum\": \(range.upperBound)",
      ]
    case .share, .size: ["\"type\": [\"number\", \"string\"]"]
    case .duration: ["\"type\": \"string\""]
    case .flag: ["\"type\": [\"boolean\", \"string\"]"]
    case .choice(let values):
      ["\"anyOf\": [{ \"enum\": [\(list(values))] }, \(variable)]"]
    case .wordOrObject(let words):
      [
        "\"anyOf\": [{ \"enum\": [\(list(words))] }, \(variable), { "
          + "\(object(key.path, indent).joined(separator: ", ")) }]"
      ]
    case .textOrObject:
      [
        "\"anyOf\": [{ \"type\": [\"string\", \"number\"] }, { "
          + "\(object(key.path, indent).joined(separator: ", ")) }]"
      ]
    }
  }

  private static let variable = "{ \"type\": \"string\", \"pattern\": \"\\\\$\\\\{\" }"

  private static func object(_ path: String, _ indent: String) -> [String] {
    [
      "\"type\": \"object\"", "\"additionalProperties\": false",
      "\"patternProperties\": { \"^(x-.*|<<)$\": {} }",
      "\"required\": \(required(of: path))",
      "\"properties\": \(properties(of: path, indent: indent))",
    ]
  }

  private static func required(of path: String) -> String {
    let names = JobKeys.children(of: path).filter {
      JobKeys.key(path.isEmpty ? $0 : "\(path).\($0)")?.isRequired == true
    }
    return "[\(list(names))]"
  }

  private static func items(_ path: String, _ indent: String) -> String {
    guard !JobKeys.children(of: path + "[]").isEmpty else {
      return "{ \"type\": [\"string\", \"number\"] }"
    }
    return "{ \(object(path + "[]", indent).joined(separator: ", ")) }"
  }

  private static func list(_ words: [String]) -> String {
    words.map(JSONText.quoted).joined(separator: ", ")
  }
}
