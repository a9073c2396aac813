internal import Escaping
package import Formats
internal import Tables

/// A first job file for a topic, with comments for the person who goes on with it.
///
/// Pure. It says how many values of which kind a sample had, and holds no value of any record.
package struct JobDraft {
  /// A cluster and its topic, as the job file writes them: with `${...}` where the user did.
  package struct Source {
    package let brokers: String
    package let topic: String
    package let properties: [(name: String, value: String)]

    package init(brokers: String, topic: String, properties: [(name: String, value: String)]) {
      self.brokers = brokers
      self.topic = topic
      self.properties = properties
    }
  }

  package let text: String

  /// The name of a job that is nearest to a topic's.
  package static func jobName(ofTopic topic: String) -> String { JobNames.job(like: topic) }

  /// - Parameters:
  ///   - commands: What to type next, a line each.
  ///   - shape: Of a sample of the topic. Nil: the fields are placeholders.
  package init(name: String, source: Source, commands: [String], shape: SampleShape?) {
    let content = shape.map { Content($0, JobChoice($0)) } ?? Content.placeholders
    var file = CommentedText()
    Self.introduce(&file, content, commands, shape)
    file.add(
      "name: \(JSONText.quoted(name))", "also the checkpoint's name: do not change it later")
    file.add("")
    Self.add(source, to: &file, isPlaceholder: shape == nil)
    file.add("  format: \(content.format.rawValue)", content.formatComment)
    if let envelope = content.envelope {
      file.add("  envelope: \(envelope.rawValue)", Self.comment(envelope))
    }
    for remark in content.remarks { file.comment(remark, indent: 2) }
    if let csv = content.csv { file.add("  csv: \(csv)") }
    if let comment = content.tombstonesComment { file.add("  tombstones: skip", comment) }
    file.add("  fields:", "NAME: TYPE; TYPE? allows NULL")
    for field in content.fields {
      file.add("    \(yamlKey(field.name)): \(field.type)", field.comment)
    }
    for (name, why) in content.leftOut {
      file.comment("left out: \(ForeignText.quoted(name, byteLimit: 60)) \(why)", indent: 2)
    }
    file.add("")
    Self.addComputation(content, to: &file)
    file.add("output:")
    file.add("  to: \"file:results/\(name)\"", "or s3://BUCKET/PREFIX")
    file.add("  format: parquet", "or csv, json")
    file.add("")
    file.add(
      "rejects: { policy: quarantine, max_share: 10% }", "what becomes of records that do not fit")
    text = file.text
  }

  private static func comment(_ envelope: Envelope) -> String {
    switch envelope {
    case .connect: "Kafka Connect's: fields lie in payload"
    case .debezium: "change events: a field without a path is a column of the row"
    }
  }

  private static func introduce(
    _ file: inout CommentedText, _ content: Content, _ commands: [String], _ shape: SampleShape?
  ) {
    file.comment(content.question)
    file.comment("")
    if let shape {
      file.comment(
        """
        tranche init wrote this file from the newest \(counted(shape.recordCount, "record")) of \
        the topic. Beside each key stands what it saw. Where it guessed wrong, change it. Then:
        """)
    } else {
      file.comment(
        """
        A template: put in your brokers, your topic and the fields of its records. Or let tranche \
        init --brokers HOST:PORT --topic TOPIC look at a topic and write what it sees. Then:
        """)
    }
    file.comment("")
    for command in commands { file.comment("  \(command)") }
    file.comment("")
    file.comment("tranche schema --markdown describes every key.")
  }

  private static func add(
    _ source: Source, to file: inout CommentedText, isPlaceholder: Bool
  ) {
    file.add("source:")
    file.add("  kafka:")
    file.add("    - name: main", "the checkpoint holds it: do not change it later")
    file.add("      properties:", "librdkafka's own; write secrets as ${VARIABLE} or ${file:PATH}")
    file.add("        bootstrap.servers: \(JSONText.quoted(source.brokers))")
    for (name, value) in source.properties {
      file.add("        \(yamlKey(name)): \(JSONText.quoted(value))")
    }
    file.add(
      "      topics: [\(JSONText.quoted(source.topic))]", isPlaceholder ? "your topic" : nil)
    file.add("  start: earliest", "or latest, or a time such as 2026-11-23T10:05:00Z")
  }

  private static func addComputation(_ content: Content, to file: inout CommentedText) {
    file.add(
      "trigger: { max_offsets: 1000 }", "one batch; every: 1m lets tranche schedule run the job")
    file.add("")
    file.add("window: \(content.window)", content.windowComment)
    file.add("")
    file.comment("where: SQL over a record; only records for which it is true are counted")
    file.add("")
    let key = content.key.map(yamlKey)
    let taken = Set([content.key].compactMap { $0?.lowercased() })
    func free(_ name: String) -> String { taken.contains(name) ? "\(name)_2" : name }
    let (records, total) = (free("records"), free("total"))
    file.add("aggregate:")
    file.add("  by: [\(key ?? "")]", content.keyComment)
    file.add("  measures:", "kept in the checkpoint, per window and group")
    file.add("    \(records): count()")
    if let number = content.number {
      file.add("    \(total): sum(\(number))", content.numberComment)
    }
    file.add("")
    if content.key != nil {
      let shared = content.number == nil ? records : total
      file.add("select:", "SQL over all groups of a window")
      file.add("  \(free("percentage")): 100.0 * \(shared) / sum(\(shared)) OVER ()")
      file.add("")
    }
  }
}

/// The parts of a draft that a sample decides.
private struct Content {
  var question: String
  var format: InputFormat
  var envelope: Envelope?
  var formatComment: String
  var remarks: [String] = []
  /// As the job file writes it; nil where it says nothing.
  var csv: String?
  /// Nil where all messages have a value.
  var tombstonesComment: String?
  var fields: [(name: String, type: String, comment: String?)]
  var leftOut: [(name: String, why: String)] = []
  var window: String
  var windowComment: String?
  var key: String?
  var keyComment: String?
  var number: String?
  var numberComment: String?

  static let placeholders = Content(
    question: "What share of the time does each route take, in every five minutes?",
    format: .json,
    formatComment: "objects, fields by name; or csv: fields by position, no header",
    fields: [
      ("called_at", "timestamp", "ISO 8601; or timestamp(unix_seconds), unix_milliseconds, ..."),
      ("route", "string", nil), ("status", "int32", nil), ("time_taken", yamlType("double?"), nil),
    ],
    window: "{ tumbling: 5m, time: called_at }",
    windowComment: "or record_timestamp, the message's own time",
    key: "route", keyComment: "one group for each value", number: "time_taken")

  private init(
    question: String, format: InputFormat, formatComment: String,
    fields: [(name: String, type: String, comment: String?)], window: String,
    windowComment: String?, key: String?, keyComment: String?, number: String?
  ) {
    self.question = question
    self.format = format
    self.formatComment = formatComment
    self.fields = fields
    self.window = window
    self.windowComment = windowComment
    self.key = key
    self.keyComment = keyComment
    self.number = number
  }

  init(_ shape: SampleShape, _ choice: JobChoice) {
    let recordCount = shape.recordCount
    fields = choice.columns.map { column in
      (column.name, Self.type(of: column, shape.envelope), Self.comment(column.field, recordCount))
    }
    leftOut = choice.leftOut.map { ($0.name, $0.why) }
    format = shape.format
    envelope = shape.envelope
    let all = shape.recordCount + shape.otherCount + shape.headerCount
    formatComment =
      "\(recordCount) of \(counted(all, "record")) "
      + (shape.format == .json
        ? (recordCount == 1 ? "is an object" : "are objects")
        : "\(recordCount == 1 ? "has" : "have") \(counted(shape.fields.count, "field"))")
    question = Self.question(choice)
    (window, windowComment) =
      choice.time.map { time in
        let others = choice.otherTimes.map(\.name)
        let own = MessageField.timestamp.rawValue
        return (
          "{ tumbling: 5m, time: \(yamlKey(time)) }",
          time == own
            ? "the message's own time" + Self.list(" Or a field's: ", others)
            : "or \(Suggestion.choice(of: Array((others + [own]).prefix(4))))"
        )
      } ?? ("global", "one window for all: the messages have no time, and no field is one")
    key = choice.key?.name
    keyComment =
      choice.key.map { key in
        counted(key.field.distinctCount, "different value")
          + Self.list(
            "; also: ", choice.otherKeys.map { "\($0.name) (\($0.field.distinctCount))" })
      } ?? "no field has a few values only: everything is one group"
    number = choice.number?.name
    if !choice.otherNumbers.isEmpty {
      numberComment = Self.list("or of ", choice.otherNumbers.map(\.name))
    }
    remark(shape)
  }

  /// `"int64?"`, `{ type: int64, path: "$.user.id" }`
  private static func type(of column: JobChoice.Column, _ envelope: Envelope?) -> String {
    var type = column.field.inputField.typeSpelling
    var path = column.field.path
    if envelope == .debezium {
      if path == nil && column.name != column.field.name {
        path = JSONPath([.key("after"), .key(column.field.name)])
        // Where it does not look for a deletion's row.
        if !type.hasSuffix("?") { type += "?" }
      }
    } else if path == JSONPath([.key(column.name)]) {
      path = nil
    }
    guard let path else { return yamlType(type) }
    let text = path.description.replacing("${", with: "$${")
    return "{ type: \(JSONText.quoted(type)), path: \(JSONText.quoted(text)) }"
  }

  private mutating func remark(_ shape: SampleShape) {
    if !shape.hasNames {
      remarks.append("CSV records have no names: give the fields better ones.")
    }
    csv = Self.csv(shape.csv)
    if shape.headerCount > 0 && shape.csv.header == .none {
      remarks.append(
        """
        The names are those of a header, which \(counted(shape.headerCount, "record")) repeat\
        \(shape.headerCount == 1 ? "s" : ""). A header counts as a reject: leave it out when you \
        write to the topic.
        """)
    }
    if shape.otherCount > 0 {
      remarks.append(
        "\(counted(shape.otherCount, "record")) would be \(rejects(shape.otherCount)): "
          + (shape.format == .csv
            ? "another number of fields."
            : shape.envelope == .debezium ? "no change event." : "no JSON object."))
    }
    if shape.nullValueCount > 0 {
      tombstonesComment =
        "or reject: \(counted(shape.nullValueCount, "message")) without a value"
    }
    if shape.format == .csv {
      remarks.append(#"csv: { null: ["\\N", "NULL"] } would say which texts are NULL."#)
    }
  }

  private static func csv(_ dialect: CSVDialect) -> String? {
    var parts: [String] = []
    if dialect.delimiter != CSVDialect.standard.delimiter {
      let delimiter =
        dialect.delimiter == UInt8(ascii: "\t")
        ? #"\t"# : String(decoding: [dialect.delimiter], as: UTF8.self)
      parts.append("delimiter: \"\(delimiter)\"")
    }
    if dialect.header != .none { parts.append("header: \(dialect.header.rawValue)") }
    return parts.isEmpty ? nil : "{ \(parts.joined(separator: ", ")) }"
  }

  private static func question(_ choice: JobChoice) -> String {
    let period = choice.time == nil ? "" : ", in every five minutes"
    guard let key = choice.key?.name else { return "How many records are there\(period)?" }
    let what = choice.number?.name ?? "the records"
    return "What share of \(what) does each \(key) have\(period)?"
  }

  private static func comment(_ field: SampleShape.Field, _ recordCount: Int) -> String {
    var parts: [String] = []
    if field.valueCount == 0 {
      parts.append("only NULL")
    } else if field.nullCount > 0 {
      parts.append("\(field.nullCount) of \(recordCount) have no value")
    }
    if field.valueCount > 0 {
      parts.append(counted(field.distinctCount, "different value"))
    }
    if field.misfitCount > 0 {
      parts.append("\(field.misfitCount) would be \(rejects(field.misfitCount))")
    }
    if let type = field.quotedInteger {
      parts.append("whole numbers in quotes, which \(type) reads as well")
    }
    if case .decimal = field.type { parts.append("double if other digits may come") }
    return parts.joined(separator: "; ")
  }

  /// At most three of the names.
  private static func list(_ start: String, _ names: [String]) -> String {
    names.isEmpty
      ? ""
      : start + names.prefix(3).joined(separator: ", ") + (names.count > 3 ? ", ..." : "")
  }
}

private func rejects(_ count: Int) -> String { count == 1 ? "a reject" : "rejects" }

/// `1 record`, `2 records`
private func counted(_ count: Int, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}

/// A name as a key of YAML: in quotes where YAML would take it for something else.
private func yamlKey(_ name: String) -> String {
  let isPlain =
    name.first?.isLetter == true
    && name.allSatisfy { JobNames.isLetterOrDigit($0) || "_.".contains($0) }
  let words: Set<String> = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"]
  return isPlain && !words.contains(name.lowercased()) ? name : JSONText.quoted(name)
}

private func yamlType(_ type: String) -> String { type.hasSuffix("?") ? "\"\(type)\"" : type }

/// Lines with comments beside or above them, none longer than 100 characters where words allow it.
private struct CommentedText {
  private(set) var text = ""
  private static let width = 100
  private static let commentColumn = 40

  mutating func add(_ line: String, _ comment: String? = nil) {
    guard let comment, !comment.isEmpty else {
      text += line + "\n"
      return
    }
    let padded = line.count < Self.commentColumn ? Self.commentColumn : line.count + 2
    if padded + comment.count + 2 <= Self.width {
      text += line + String(repeating: " ", count: padded - line.count) + "# \(comment)\n"
    } else {
      self.comment(comment, indent: line.prefix { $0 == " " }.count)
      text += line + "\n"
    }
  }

  mutating func comment(_ comment: String, indent: Int = 0) {
    let start = String(repeating: " ", count: indent) + "#"
    // Lines that are laid out stay as they are.
    if comment.isEmpty || comment.first == " " {
      text += comment.isEmpty ? "\(start)\n" : "\(start) \(comment)\n"
      return
    }
    var line = start
    for word in comment.split(separator: " ") {
      if line != start, line.count + 1 + word.count > Self.width {
        text += line + "\n"
        line = start
      }
      line += " \(word)"
    }
    text += line + "\n"
  }
}
