import ArgumentParser
import Engine
import Escaping
import Formats
import Jobs
import Offsets
import Reports
import Tables

struct PeekCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "peek",
    abstract: "Show the newest records of a job's topics, or of any topic. Changes nothing.",
    discussion: """
      With a job, records are decoded as the job does it; one that it would reject is shown with \
      the reason. With --topic, messages are shown as they are: their key, time, number of headers \
      and text; with --format, their fields. The newest come first, over all partitions, by the \
      brokers' time. No checkpoint is needed, and nothing is committed.

        tranche peek jobs/calls.yaml
        tranche peek --brokers kafka:9092 --topic calls --records 3
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case csv, json }

  @Argument(
    help: ArgumentHelp("The job file; - reads it from standard input.", valueName: "job"),
    completion: .file(extensions: ["yaml", "yml"]))
  var file: String?

  @OptionGroup var naming: JobNameOption

  @OptionGroup var source: TopicOptions

  @Option(help: "With --topic: read the records as csv or json, and show their fields.")
  var format: Format?

  @Option(help: "How many records.")
  var records = 10

  @Flag(help: "Print one line of JSON for each record.")
  var json = false

  @OptionGroup var code: CodeOptions

  func validate() throws {
    try naming.validate(file.map { [$0] } ?? [])
    if !(1...10_000).contains(records) {
      throw ValidationError("--records takes a number from 1 to 10000.")
    }
    if file == nil && source.topic == nil {
      throw ValidationError("Name a job file, or a topic with --topic.")
    }
    if file != nil && (source.isGiven || format != nil) {
      throw ValidationError(
        "A job file names its brokers, topics and format: leave out --brokers, --topic, "
          + "--property and --format.")
    }
  }

  func run() throws {
    try exiting(json: failureText(json, jobFile: file)) {
      let job =
        try file.map {
          try loadParsedJob(
            $0, name: naming.name, allowsCode: code.allowCodeProperties, checksFiles: true
          ).job
        }
        ?? jobOfOptions(
          JobDraft(
            name: "peek", source: source.source(placeholder: ""), commands: [], shape: nil
          ).text)
      let sources = try makeSources(job)
      let newest = try NewestMessages.read(
        records, of: zip(job.clusters, sources).map { (cluster: $0, source: $1) })
      let messages = newest.messages
      if messages.isEmpty && !json { return printText("There is no message.") }
      let places = PlaceColumns(job)
      if file != nil {
        show(
          try PeekedRecords(
            of: messages, job: job,
            options: RunOptions(
              clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release)),
          places)
      } else if let format {
        show(try decoded(messages, format == .csv ? .csv : .json), places)
      } else {
        show(messages, places)
      }
      if newest.isCutBySize {
        printError("tranche: older messages were left out, because these are large.")
      }
    }
  }

  private func decoded(_ messages: [CopiedMessage], _ format: InputFormat) throws -> PeekedRecords {
    if messages.isEmpty { return PeekedRecords(of: [], format: format, fields: []) }
    do {
      let shape = try SampleShape(of: messages, as: format)
      return PeekedRecords(
        of: messages, format: format, envelope: shape.envelope, csv: shape.csv,
        fields: shape.fields.map(\.inputField))
    } catch {
      throw CommandError(
        .data,
        Words().text(of: error, topic: source.topic ?? "", messageCount: messages.count))
    }
  }

  // MARK: - Records

  private func show(_ peeked: PeekedRecords, _ places: PlaceColumns) {
    let shown = peeked.records.prefix(records)
    let columns = peeked.table.schema.columns
    if peeked.tombstoneCount > 0 {
      printError("tranche: \(skippedTombstones(peeked.tombstoneCount)), as source.tombstones says.")
    }
    if json {
      for record in shown { printExact(jsonText(record, peeked.table)) }
      return
    }
    let hasRejects = shown.contains { if case .reject = $0.content { true } else { false } }
    let rows = shown.map { record -> [String] in
      let place = places.cells(of: record.message)
      switch record.content {
      case .row(let row):
        return place + columns.indices.map { cell(peeked.table[$0], row) }
          + (hasRejects ? [""] : [])
      case .reject(let reject):
        return place + columns.map { _ in "" } + [Words().text(of: reject)]
      }
    }
    let numeric = columns.indices.filter { columns[$0].type != .string }.map {
      places.names.count + $0
    }
    printText(
      aligned(
        places.names + columns.map { ForeignText.quoted($0.name, byteLimit: 60) }
          + (hasRejects ? ["rejected"] : []), rows,
        numeric: places.numeric.union(numeric), width: terminalWidth()))
  }

  private func cell(_ column: Column, _ row: Int) -> String {
    if column.isNull[row] { return "NULL" }
    return column.type == .string
      ? ForeignText.quoted(column.text[row], byteLimit: Self.shownByteLimit)
      : column.plainText(row)
  }

  private func jsonText(_ record: PeekedRecords.Record, _ table: Table) -> String {
    var members =
      ["\"source\":\(JSONText.quoted(record.message.partition.source))"]
      + placeMembers(of: record.message) + ["\"record\":\(record.number)"]
    switch record.content {
    case .row(let row):
      let values = table.schema.columns.indices.map { index in
        "\(JSONText.quoted(table.schema.columns[index].name)):\(jsonValue(table[index], row))"
      }
      members.append("\"values\":{\(values.joined(separator: ","))}")
    case .reject(let reject):
      let field = reject.field.map { ",\"field\":\(JSONText.quoted($0))" } ?? ""
      members.append("\"reject\":{\"reason\":\(JSONText.quoted(reject.reason.rawValue))\(field)}")
      members += bytesMember("value", reject.raw)
    }
    return "{\(members.joined(separator: ","))}"
  }

  private func jsonValue(_ column: Column, _ row: Int) -> String {
    if column.isNull[row] { return "null" }
    switch column.type {
    case .string, .bytes: return JSONText.quoted(column.text[row])
    case .timestamp, .timestampMicroseconds, .date: return JSONText.quoted(column.plainText(row))
    case .int32, .int64, .uint64, .double, .bool, .decimal: return column.plainText(row)
    }
  }

  // MARK: - Messages

  /// Most bytes of a text in a table.
  private static let shownByteLimit = 2_000

  private func show(_ messages: [CopiedMessage], _ places: PlaceColumns) {
    if json {
      for message in messages {
        // As tranche test reads messages: the one cluster has no name that a job would know.
        let members =
          placeMembers(of: message) + ["\"headers\":\(HeadersText.whole(message.headers))"]
          + bytesMember("value", message.value)
        printExact("{\(members.joined(separator: ","))}")
      }
      return
    }
    let rows = messages.map { message in
      places.cells(of: message) + [
        String(message.headers.count), shownText(message.key), shownText(message.value),
      ]
    }
    printText(
      aligned(
        places.names + ["headers", "key", "value"], rows,
        numeric: places.numeric.union([places.names.count]), width: terminalWidth()))
  }

  private func shownText(_ bytes: [UInt8]?) -> String {
    guard let bytes else { return "NULL" }
    // What ends a record is no part of it.
    let text = bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...]
    if bytes.withUnsafeBytes(isValidText) {
      return ForeignText.quoted(
        String(decoding: text, as: UTF8.self), byteLimit: Self.shownByteLimit)
    }
    let start = bytes.prefix(16).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined(separator: " ")
    return "\(grouped(Int64(bytes.count))) bytes: \(start)" + (bytes.count > 16 ? " ..." : "")
  }

  private func placeMembers(of message: CopiedMessage) -> [String] {
    [
      "\"topic\":\(JSONText.quoted(message.partition.topic))",
      "\"partition\":\(message.partition.partition)", "\"offset\":\(message.offset)",
      "\"timestamp\":"
        + (message.timestampMilliseconds.map {
          JSONText.quoted(TimestampText.format(milliseconds: $0))
        } ?? "null"),
    ] + bytesMember("key", message.key)
  }

  /// Bytes that are no text stand there in Base64.
  private func bytesMember(_ name: String, _ bytes: [UInt8]?) -> [String] {
    guard let bytes else { return ["\"\(name)\":null"] }
    return String(validating: bytes, as: UTF8.self).map { ["\"\(name)\":\(JSONText.quoted($0))"] }
      ?? ["\"\(name)_base64\":\"\(Base64Text.format(bytes))\""]
  }
}

/// Where a message lies and when it came: the first columns. What is the same for all is left out.
private struct PlaceColumns {
  private let hasSources: Bool
  private let hasTopics: Bool

  init(_ job: Job) {
    hasSources = job.clusters.count > 1
    hasTopics = job.clusters.reduce(0) { $0 + $1.topics.count } > 1
  }

  var names: [String] {
    (hasSources ? ["source"] : []) + (hasTopics ? ["topic"] : []) + [
      "partition", "offset", "time",
    ]
  }

  var numeric: Set<Int> { [names.count - 3, names.count - 2] }

  func cells(of message: CopiedMessage) -> [String] {
    (hasSources ? [message.partition.source] : []) + (hasTopics ? [message.partition.topic] : [])
      + [
        String(message.partition.partition), String(message.offset),
        message.timestampMilliseconds.map { TimestampText.format(milliseconds: $0) } ?? "none",
      ]
  }
}
