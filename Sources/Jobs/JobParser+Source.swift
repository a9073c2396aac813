internal import Expressions
internal import Formats
internal import Tables

/// `source`: clusters, topics, start, format and fields.
extension JobParser {
  mutating func parseSource(_ source: YAMLReader.Entry) {
    var seen: Set<String> = []
    for (name, entry) in reader.mapping(source) {
      seen.insert(name)
      switch name {
      case "kafka": parseClusters(entry)
      case "start": parseStart(entry)
      case "on_data_loss": job.onDataLoss = reader.choice(entry, Job.DataLossPolicy.self) ?? .fail
      case "format": job.format = reader.choice(entry, InputFormat.self) ?? .csv
      case "fields": parseFields(entry)
      default: break
      }
    }
    for required in ["kafka", "format", "fields"] where !seen.contains(required) {
      reader.fail(source, "has no key \(required)", "See jobs/api-time-share.yaml")
    }
  }

  mutating func parseClusters(_ list: YAMLReader.Entry) {
    let items = reader.items(list, most: 32)
    if items.isEmpty {
      reader.fail(list, "names no cluster", "Write - name: main, with properties and topics")
    }
    for item in items {
      var cluster = Job.Cluster(name: "", properties: [:], topics: [])
      var seen: Set<String> = []
      for (name, entry) in reader.mapping(item) {
        seen.insert(name)
        switch name {
        case "name": cluster.name = reader.string(entry) ?? ""
        case "properties": cluster.properties = properties(entry)
        case "topics": cluster.topics = topics(entry)
        default: break
        }
      }
      for required in ["name", "properties", "topics"] where !seen.contains(required) {
        reader.fail(item, "has no key \(required)", "A cluster needs name, properties and topics")
      }
      if seen.contains("name") && !isName(cluster.name) {
        reader.fail(
          item, value: cluster.name, "is no name for a cluster", "Use letters, digits, '-' and '_'")
      }
      if job.clusters.contains(where: { $0.name == cluster.name }) {
        reader.fail(item, value: cluster.name, "names two clusters", "Give each its own name")
      }
      job.clusters.append(cluster)
    }
  }

  func properties(_ entry: YAMLReader.Entry) -> [String: String] {
    var properties: [String: String] = [:]
    for (name, entry) in reader.mapping(entry, namesAreFree: true, most: 200) {
      if let value = reader.string(entry) {
        if let fault = propertyFault(name, value) {
          reader.fail(entry, fault.problem, fault.remedy)
        }
        if name == "isolation.level" && !["read_committed", "read_uncommitted"].contains(value) {
          reader.fail(
            entry, value: value, "is no isolation level", "Use read_committed or read_uncommitted")
        }
        properties[name] = value
      }
    }
    if properties["bootstrap.servers"]?.isEmpty != false {
      reader.fail(entry, "does not say where the brokers are", "Add bootstrap.servers: HOST:PORT")
    }
    return properties
  }

  func topics(_ entry: YAMLReader.Entry) -> [String] {
    var topics: [String] = []
    for item in reader.items(entry, most: 1_000) {
      guard let topic = reader.string(item) else { continue }
      // Kafka's Topic.validate: up to 249 of these characters, and neither "." nor "..".
      let isLegal =
        (1...249).contains(topic.utf8.count) && topic != "." && topic != ".."
        && topic.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
      if !isLegal {
        reader.fail(
          item, value: topic, "is no name of a topic",
          "Use up to 249 letters, digits, '.', '_' and '-'")
      }
      if topics.contains(topic) {
        reader.fail(item, value: topic, "stands there twice", "Name each topic once")
      }
      topics.append(topic)
    }
    if topics.isEmpty { reader.fail(entry, "names no topic", "Write [TOPIC, ...]") }
    return topics
  }

  mutating func parseStart(_ entry: YAMLReader.Entry) {
    guard let text = reader.string(entry) else { return }
    switch text {
    case "earliest": job.start = .earliest
    case "latest": job.start = .latest
    default:
      var mutable = text
      guard let milliseconds = mutable.withUTF8({ TimestampText.parse(UnsafeRawBufferPointer($0)) })
      else {
        return reader.fail(
          entry, value: text, "is no start",
          "Use earliest, latest or a timestamp such as 2026-11-23T10:05:00Z")
      }
      job.start = .timestamp(milliseconds: milliseconds)
    }
  }

  mutating func parseFields(_ entry: YAMLReader.Entry) {
    var taken: Set<String> = []
    for (name, entry) in reader.mapping(entry, namesAreFree: true, most: 500) {
      guard checkColumnName(name, entry, taken: &taken) else { continue }
      if MessageField(rawValue: name.lowercased()) != nil {
        reader.fail(
          entry, value: name, "is a field that every message has", "Give the field another name")
        continue
      }
      guard let text = reader.string(entry),
        let (type, encoding, isNullable) = fieldType(text, entry)
      else { continue }
      job.fields.append(
        InputField(
          ColumnDefinition(name, type, isNullable: isNullable), timestampEncoding: encoding))
      fieldEntries.append((name, entry))
    }
    recordSchema = job.recordSchema
    if job.fields.isEmpty {
      reader.fail(entry, "declares no usable field", "Write NAME: TYPE for each")
    }
  }

  func fieldType(_ text: String, _ entry: YAMLReader.Entry) -> (
    ColumnType, TimestampEncoding, Bool
  )? {
    let isNullable = text.hasSuffix("?")
    let name = (isNullable ? String(text.dropLast()) : text).filter { $0 != " " }
    if let type = columnType(name) { return (type, .text, isNullable) }
    for encoding in [TimestampEncoding.unixSeconds, .unixMilliseconds]
    where name == "timestamp(\(encoding.rawValue))" {
      return (.timestamp, encoding, isNullable)
    }
    reader.fail(
      entry, value: text, "is no type",
      "Use int32, int64, double, bool, string, timestamp, timestamp(unix_seconds), "
        + "timestamp(unix_milliseconds) or decimal(p,s), "
        + "with ? for nullable")
    return nil
  }

  func columnType(_ name: String) -> ColumnType? {
    switch name {
    case "int32": return .int32
    case "int64": return .int64
    case "double": return .double
    case "bool": return .bool
    case "string": return .string
    case "timestamp": return .timestamp
    default:
      guard name.hasPrefix("decimal("), name.hasSuffix(")") else { return nil }
      let parts = name.dropFirst("decimal(".count).dropLast().split(separator: ",")
      guard parts.count == 2, let precision = Int(parts[0]), let scale = Int(parts[1]),
        (1...18).contains(precision),
        (0...precision).contains(scale)
      else { return nil }
      return .decimal(precision: precision, scale: scale)
    }
  }

  /// Whether the name can be used, and takes it; where it cannot, that is a fault already.
  ///
  /// - Parameter taken: In lower case.
  func checkColumnName(_ name: String, _ entry: YAMLReader.Entry, taken: inout Set<String>) -> Bool
  {
    let isAllowed =
      (1...64).contains(name.utf8.count) && name.first?.isNumber == false
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    if !isAllowed {
      reader.fail(
        entry, value: name, "is no name of a column",
        "Use up to 64 letters, digits and '_', no digit first")
    }
    let isFree = taken.insert(name.lowercased()).inserted
    if !isFree {
      reader.fail(
        entry, value: name, "names two columns (case does not tell them apart)",
        "Give each its own name")
    }
    return isAllowed && isFree
  }

  func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 63
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
  }
}
