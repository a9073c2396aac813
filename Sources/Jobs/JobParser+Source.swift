internal import Formats
internal import Tables

/// `source`: clusters, topics, start and fields.
extension JobParser {
  func clusters(_ source: YAMLReader.Object) -> [Job.Cluster] {
    guard let list = source.entry("kafka") else { return [] }
    let items = reader.items(list)
    if items.isEmpty {
      reader.fail(list, "has no cluster", "Write - name: main, with properties and topics")
    }
    var clusters: [Job.Cluster] = []
    for item in items {
      let object = reader.object(item)
      let name = object.entry("name").flatMap(reader.string) ?? ""
      if object.entry("name") != nil && !JobNames.isCluster(name) {
        reader.fail(
          item, value: name, "is not a valid cluster name",
          "Use up to \(JobKeys.nameByteLimit) letters, digits, '-' and '_'")
      }
      if clusters.contains(where: { $0.name == name }) {
        reader.fail(item, value: name, "is the name of two clusters", "Give each its own name")
      }
      clusters.append(
        Job.Cluster(
          name: name, properties: object.entry("properties").map(properties) ?? [:],
          topics: object.entry("topics").map(topics) ?? []))
    }
    return clusters
  }

  private func properties(_ entry: YAMLReader.Entry) -> [String: String] {
    var properties: [String: String] = [:]
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.map(entry) {
      guard let value = reader.string(entry) else { continue }
      if name == "isolation.level" && !JobKeys.isolationLevels.contains(value) {
        reader.fail(
          entry, value: value, "is not a valid isolation level",
          "Use \(Suggestion.choice(of: JobKeys.isolationLevels))")
      }
      properties[name] = value
      entries[name] = entry
    }
    for remark in checkProperties(properties) {
      let place = remark.name.flatMap { entries[$0] } ?? entry
      if remark.isWarning {
        reader.warn(place, remark.problem, remark.remedy)
      } else {
        reader.fail(place, remark.problem, remark.remedy)
      }
    }
    if properties["bootstrap.servers"]?.isEmpty != false {
      reader.fail(entry, "does not say where the brokers are", "Add bootstrap.servers: HOST:PORT")
    }
    return properties
  }

  private func topics(_ entry: YAMLReader.Entry) -> [String] {
    var topics: [String] = []
    for item in reader.items(entry) {
      guard let topic = reader.string(item) else { continue }
      if !JobNames.isTopic(topic) {
        reader.fail(
          item, value: topic, "is not a valid topic name", "Use \(Self.topicNameRule)")
      }
      if topics.contains(topic) {
        reader.fail(item, value: topic, "is listed twice", "List each topic once")
      }
      topics.append(topic)
    }
    if topics.isEmpty { reader.fail(entry, "has no topic", "Write [TOPIC, ...]") }
    return topics
  }

  private static let topicNameRule =
    "up to \(JobKeys.topicNameByteLimit) letters, digits, '.', '_' and '-'"

  /// Kafka takes any text for a group's name; a topic's is one that every tool shows as it is.
  func commitGroup(_ source: YAMLReader.Object, job: String) -> String? {
    reader.value(source, "commit_group") { text -> String?? in
      switch text {
      case "false": .some(nil)
      case "true": .some(JobKeys.defaultGroup(ofJob: job))
      default: JobNames.isTopic(text) ? .some(text) : .none
      }
    } fault: {
      (
        "is not a valid name of a group",
        "Write true for \(JobKeys.defaultGroup(ofJob: job)), or \(Self.topicNameRule)"
      )
    }
  }

  func start(_ source: YAMLReader.Object) -> Job.StartPosition {
    reader.value(source, "start") { text in
      switch text {
      case "earliest": return .earliest
      case "latest": return .latest
      default:
        return TimestampText.parse(text).map { .timestamp(milliseconds: $0) }
      }
    } fault: {
      ("is not a valid start", "Use earliest, latest or a timestamp such as 2026-11-23T10:05:00Z")
    }
  }

  func envelope(_ source: YAMLReader.Object, _ format: InputFormat) -> Envelope? {
    guard let entry = source.entry("envelope") else { return nil }
    if format != .json {
      reader.fail(entry, "has no effect with source.format: \(format.rawValue)", "Leave it out")
    }
    return reader.choice(entry).flatMap(Envelope.init)
  }

  func csv(_ source: YAMLReader.Object, _ format: InputFormat) -> CSVDialect {
    let object = reader.object(source, "csv")
    if let entry = object.entry, format != .csv {
      reader.fail(
        entry, "has no effect with source.format: \(format.rawValue)", "Leave it out")
    }
    let delimiter = reader.value(object, "delimiter") { text in
      character(text).flatMap { CSVDialect.canDelimit($0) ? $0 : nil }
    } fault: {
      (
        "is not a character that can stand between fields",
        #"Write one character of ASCII in quotes, such as ";", "|" or "\t". Letters, digits, "+", "#
          + #""-", "." and line ends cannot be told from values"#
      )
    }
    let quote = reader.value(object, "quote") { text -> UInt8?? in
      if text == "none" { return .some(nil) }
      guard let byte = character(text), CSVDialect.canQuote(byte) else { return .none }
      return .some(byte)
    } fault: {
      (
        "is not a character that can stand around fields",
        #"Write one mark of ASCII in quotes, such as "'", or none. Letters, digits, blanks, "+", "#
          + #""-" and "." cannot be told from values"#
      )
    }
    if quote == delimiter, let entry = object.entry("delimiter") ?? object.entry("quote") {
      reader.fail(
        entry, value: entry.word, "stands for the delimiter and for the quote",
        "Write another character for one of them, or quote: none")
    }
    let trims = reader.flag(object, "trim")
    var dialect = CSVDialect(
      delimiter: delimiter, header: reader.choice(object, "header"), quote: quote, trims: trims)
    dialect.nullTexts = nullTexts(object, dialect)
    return dialect
  }

  private func character(_ text: String) -> UInt8? {
    text.utf8.count == 1 ? text.utf8.first : nil
  }

  private func nullTexts(_ csv: YAMLReader.Object, _ dialect: CSVDialect) -> [String] {
    guard let list = csv.entry("null") else { return NullTexts.standard }
    var texts: [String] = []
    for item in reader.items(list) {
      if item.isNull {
        reader.fail(
          item, value: item.word, "is YAML's null, not a text",
          "Put the text in quotes; \"\" makes an empty field NULL in strings, too")
        continue
      }
      guard let text = reader.string(item) else { continue }
      let bytes = Array(text.utf8)
      let ends = bytes.prefix(1) + bytes.suffix(1)
      if bytes.count > NullTexts.byteLimit || bytes.first.map({ $0 == dialect.quote }) ?? false
        || bytes.contains(where: { [dialect.delimiter, 0x0A, 0x0D].contains($0) })
        || (dialect.trims && (ends.contains(0x20) || ends.contains(0x09)))
      {
        reader.fail(
          item, value: text, "cannot stand for NULL in a field without quotes",
          "Use at most \(NullTexts.byteLimit) bytes without a delimiter, a line end or a first "
            + "quote"
            + (dialect.trims ? ", and without blanks around them, which trim drops" : ""))
      } else if texts.contains(text) {
        reader.fail(item, value: text, "is listed twice", "List each text once")
      } else {
        texts.append(text)
      }
    }
    return texts
  }

  func fields(
    _ source: YAMLReader.Object, _ format: InputFormat, _ envelope: Envelope?,
    _ header: CSVDialect.Header
  ) -> ([InputField], [Named]) {
    guard let entry = source.entry("fields") else { return ([], []) }
    var fields: [InputField] = []
    var entries: [Named] = []
    var taken: Set<String> = []
    for (name, entry) in reader.map(entry) {
      guard checkColumnName(name, entry, taken: &taken) else { continue }
      if MessageField(rawValue: name.lowercased()) != nil {
        reader.fail(
          entry, name: name, "is the name of a field that every message has",
          "Give the field another name")
        continue
      }
      guard let field = field(name, entry, format, envelope, header) else { continue }
      fields.append(field)
      entries.append((name, entry))
    }
    if fields.isEmpty { reader.fail(entry, "has no valid field", "Write NAME: TYPE for each") }
    return (fields, entries)
  }

  private func field(
    _ name: String, _ entry: YAMLReader.Entry, _ format: InputFormat, _ envelope: Envelope?,
    _ header: CSVDialect.Header
  ) -> InputField? {
    var typeEntry: YAMLReader.Entry? = entry
    var origin = FieldOrigin.record
    var path: JSONPath?
    if entry.word == nil {
      let object = reader.object(entry)
      typeEntry = object.entry("type")
      origin = self.origin(object)
      if let entry = object.entry("path") {
        path =
          format == .csv && header == .perMessage && origin == .record
          ? column(entry, of: name) : self.path(entry, of: name, origin, format)
      }
      // A change event has members of its own beside those of its row.
      if origin == .record && envelope != .debezium && path == JSONPath([.key(name)]) { path = nil }
    }
    guard let typeEntry, let text = reader.string(typeEntry) else { return nil }
    guard let field = FieldType.field(text, named: name, origin: origin, path: path) else {
      let fault = FieldType.fault(of: text, ofFields: true)
      reader.fail(typeEntry, value: text, fault.problem, fault.remedy)
      return nil
    }
    if field.isJSONText && !isJSON(origin, format) {
      reader.fail(
        typeEntry, value: text, "is a type of fields in a JSON record or key", "Write string")
    }
    return field
  }

  private func isJSON(_ origin: FieldOrigin, _ format: InputFormat) -> Bool {
    origin == .record ? format == .json : origin == .key(.json)
  }

  private func origin(_ field: YAMLReader.Object) -> FieldOrigin {
    let key = field.entry("key").flatMap(reader.choice).flatMap(KeyForm.init)
    guard let entry = field.entry("header") else { return key.map { .key($0) } ?? .record }
    if field.entry("key") != nil {
      reader.fail(entry, "stands beside key", "Leave one of them out: a field lies in one place")
    }
    guard let header = reader.string(entry) else { return .record }
    if header.isEmpty || header.utf8.count > JobKeys.nameByteLimit
      || header.unicodeScalars.contains(where: { $0.value < 0x20 })
    {
      reader.fail(
        entry, value: header, "is not a valid name of a header",
        "Use up to \(JobKeys.nameByteLimit) bytes without control characters")
    }
    return .header(header)
  }

  /// The name of a column in a header.
  private func column(_ entry: YAMLReader.Entry, of name: String) -> JSONPath? {
    guard let text = reader.string(entry) else { return nil }
    guard let path = JSONPath(text), path.steps.count == 1, case .key = path.steps[0] else {
      reader.fail(
        entry, value: text, "is not the path to a column of a header",
        "Write $.id, or $['Order ID'] where the name holds a blank or a dot")
      return nil
    }
    return path
  }

  private func path(
    _ entry: YAMLReader.Entry, of name: String, _ origin: FieldOrigin, _ format: InputFormat
  ) -> JSONPath? {
    guard let text = reader.string(entry) else { return nil }
    if !isJSON(origin, format) {
      switch origin {
      case .record:
        reader.fail(
          entry, "has no effect with source.format: \(format.rawValue)",
          "Leave it out: \(format.rawValue) finds fields by their order, unless "
            + "source.csv.header is per_message")
      case .key(let form):
        reader.fail(
          entry, "has no effect with key: \(form.rawValue)",
          "Write key: json for a part of a JSON key, or leave it out")
      case .header:
        reader.fail(entry, "has no effect beside header", "Leave it out: a header is a text")
      }
    }
    guard let path = JSONPath(text) else {
      reader.fail(
        entry, value: text, "is not a path to one place in a JSON record",
        "Write $.user.id, or $['user.id'] where a key holds a dot, or $.tags[0]")
      return nil
    }
    return path
  }
}
