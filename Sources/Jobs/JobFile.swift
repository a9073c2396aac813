internal import Expressions
internal import Formats
internal import Tables

/// The job file: YAML in, a validated ``Job`` out.
package enum JobFile {
  /// Most bytes of a job file.
  private static let byteLimit = 1 << 20

  /// Parses, substitutes and checks a job file.
  ///
  /// - Parameters:
  ///   - path: For messages, and for the job's name where the file gives none.
  ///   - readFile: The content of a file that `${file:...}` names; nil if it cannot be read.
  /// - Throws: ``JobFileErrors`` with every fault that was found.
  package static func parse(
    text: String, path: String, environment: [String: String], readFile: @escaping (String) -> String?
  ) throws(JobFileErrors) -> Job {
    let reader = YAMLReader(file: path, environment: environment, readFile: readFile)
    var job: Job?
    if text.utf8.count > byteLimit {
      reader.fail(line: 1, "is larger than \(byteLimit) bytes", "A job file is a page of YAML")
    } else if let root = reader.root(text) {
      var parser = JobParser(reader)
      job = parser.parse(root, fallbackName: fileName(path))
    }
    if let job, reader.errors.isEmpty { return job }
    throw JobFileErrors(errors: reader.errors.sorted { $0.line < $1.line })
  }

  private static func fileName(_ path: String) -> String {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    for ending in [".yaml", ".yml"] where name.hasSuffix(ending) { return String(name.dropLast(ending.count)) }
    return name
  }
}

/// One reading of a job file. Each part that has a fault is left at its default, so that the others are checked all the same.
private struct JobParser {
  private let reader: YAMLReader
  private var job = Job.defaults
  private var whereEntry: YAMLReader.Entry?
  private var selectEntries: [String: YAMLReader.Entry] = [:]
  private var hasWindow = false
  private var hasTo = false

  init(_ reader: YAMLReader) { self.reader = reader }

  mutating func parse(_ root: YAMLReader.Entry, fallbackName: String) -> Job {
    job.name = fallbackName
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.mapping(root) { entries[name] = entry }
    for required in ["source", "output"] where entries[required] == nil {
      reader.fail(root, "has no key \(required)", "See jobs/api-time-share.yaml")
    }
    if let entry = entries["name"], let name = reader.string(entry) { job.name = name }
    checkName(entries["name"] ?? root)
    if let entry = entries["source"] { parseSource(entry) }
    if let entry = entries["trigger"] { parseTrigger(entry) }
    if let entry = entries["window"] { parseWindow(entry) }
    if let entry = entries["aggregate"] { parseAggregate(entry) }
    if let entry = entries["where"] { parseWhere(entry) }
    if let entry = entries["select"] { parseSelect(entry) }
    if let entry = entries["output"] { parseOutput(entry) }
    if let entry = entries["rejects"] { parseRejects(entry) }
    if let entry = entries["limits"] { parseLimits(entry) }
    checkTogether(entries)
    return job
  }

  private func checkName(_ entry: YAMLReader.Entry) {
    let isAllowed =
      job.name.utf8.count <= 63 && job.name.first.map { $0.isASCII && ($0.isLowercase || $0.isNumber) } == true
      && job.name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || ".-_".contains($0)) }
    if !isAllowed {
      reader.fail(entry, value: job.name, "is no name for a job", "Use up to 63 of a-z, 0-9, '.', '-' and '_', a letter or digit first")
    }
  }

  // MARK: - Source

  private mutating func parseSource(_ source: YAMLReader.Entry) {
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

  private mutating func parseClusters(_ list: YAMLReader.Entry) {
    let items = reader.items(list)
    if items.isEmpty { reader.fail(list, "names no cluster", "Write - name: main, with properties and topics") }
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
        reader.fail(item, value: cluster.name, "is no name for a cluster", "Use letters, digits, '-' and '_'")
      }
      if job.clusters.contains(where: { $0.name == cluster.name }) {
        reader.fail(item, value: cluster.name, "names two clusters", "Give each its own name")
      }
      job.clusters.append(cluster)
    }
  }

  private func properties(_ entry: YAMLReader.Entry) -> [String: String] {
    var properties: [String: String] = [:]
    for (name, entry) in reader.mapping(entry, namesAreFree: true) {
      if let reason = Job.reservedProperties[name] {
        reader.fail(entry, "is reserved: \(reason)", "Leave it out")
      } else if let value = reader.string(entry) {
        if name == "isolation.level" && !["read_committed", "read_uncommitted"].contains(value) {
          reader.fail(entry, value: value, "is no isolation level", "Use read_committed or read_uncommitted")
        }
        properties[name] = value
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
      // Kafka's Topic.validate: up to 249 of these characters, and neither "." nor "..".
      let isLegal =
        (1...249).contains(topic.utf8.count) && topic != "." && topic != ".."
        && topic.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
      if !isLegal { reader.fail(item, value: topic, "is no name of a topic", "Use up to 249 letters, digits, '.', '_' and '-'") }
      if topics.contains(topic) { reader.fail(item, value: topic, "stands there twice", "Name each topic once") }
      topics.append(topic)
    }
    if topics.isEmpty { reader.fail(entry, "names no topic", "Write [TOPIC, ...]") }
    return topics
  }

  private mutating func parseStart(_ entry: YAMLReader.Entry) {
    guard let text = reader.string(entry) else { return }
    switch text {
    case "earliest": job.start = .earliest
    case "latest": job.start = .latest
    default:
      var mutable = text
      guard let milliseconds = mutable.withUTF8({ TimestampText.parse(UnsafeRawBufferPointer($0)) }) else {
        return reader.fail(entry, value: text, "is no start", "Use earliest, latest or a timestamp such as 2026-11-23T10:05:00Z")
      }
      job.start = .timestamp(milliseconds: milliseconds)
    }
  }

  private mutating func parseFields(_ entry: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(entry, namesAreFree: true) {
      guard checkColumnName(name, entry, taken: job.fields.map(\.column.name)) else { continue }
      if MessageField(rawValue: name.lowercased()) != nil {
        reader.fail(entry, value: name, "is a field that every message has", "Give the field another name")
        continue
      }
      guard let text = reader.string(entry), let (type, encoding, isNullable) = fieldType(text, entry) else { continue }
      job.fields.append(InputField(ColumnDefinition(name, type, isNullable: isNullable), timestampEncoding: encoding))
    }
    if job.fields.isEmpty { reader.fail(entry, "declares no usable field", "Write NAME: TYPE for each") }
    if job.fields.count > 500 { reader.fail(entry, "declares more than 500 fields", "Declare those that the job needs") }
  }

  private func fieldType(_ text: String, _ entry: YAMLReader.Entry) -> (ColumnType, TimestampEncoding, Bool)? {
    let isNullable = text.hasSuffix("?")
    let name = (isNullable ? String(text.dropLast()) : text).filter { $0 != " " }
    if let type = columnType(name) { return (type, .text, isNullable) }
    for encoding in [TimestampEncoding.unixSeconds, .unixMilliseconds] where name == "timestamp(\(encoding.rawValue))" {
      return (.timestamp, encoding, isNullable)
    }
    reader.fail(
      entry, value: text, "is no type",
      "Use int32, int64, double, bool, string, timestamp, timestamp(unix_seconds), timestamp(unix_milliseconds) or decimal(p,s), "
        + "with ? for nullable")
    return nil
  }

  private func columnType(_ name: String) -> ColumnType? {
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
      guard parts.count == 2, let precision = Int(parts[0]), let scale = Int(parts[1]), (1...18).contains(precision),
        (0...precision).contains(scale)
      else { return nil }
      return .decimal(precision: precision, scale: scale)
    }
  }

  /// Whether the name can be used; where it cannot, that is a fault already.
  private func checkColumnName(_ name: String, _ entry: YAMLReader.Entry, taken: [String]) -> Bool {
    let isAllowed =
      (1...64).contains(name.utf8.count) && name.first?.isNumber == false
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    if !isAllowed { reader.fail(entry, value: name, "is no name of a column", "Use up to 64 letters, digits and '_', no digit first") }
    let isFree = !taken.contains { $0.lowercased() == name.lowercased() }
    if !isFree { reader.fail(entry, value: name, "names two columns (case does not tell them apart)", "Give each its own name") }
    return isAllowed && isFree
  }

  private func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 63 && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
  }

  // MARK: - What is computed

  private mutating func parseTrigger(_ trigger: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(trigger) where name == "max_offsets" {
      job.maxOffsets = reader.integer(entry, in: 1...10_000_000) ?? job.maxOffsets
    }
  }

  private mutating func parseWindow(_ window: YAMLReader.Entry) {
    hasWindow = true
    if let word = window.word {
      switch word {
      case "global": job.window = .global
      case "batch": job.window = .batch
      default: reader.fail(window, value: word, "is no window", "Use global, batch or { tumbling: 5m, time: record_timestamp }")
      }
      return
    }
    var width: Int64?
    var time = MessageField.timestamp.rawValue
    var seen: Set<String> = []
    for (name, entry) in reader.mapping(window) {
      seen.insert(name)
      switch name {
      case "tumbling": width = reader.duration(entry)
      case "time":
        guard let name = reader.string(entry) else { continue }
        guard let column = column(name, entry) else { continue }
        if column.type == .timestamp {
          time = column.name
        } else {
          reader.fail(entry, value: name, "is no timestamp", "Name a field of type timestamp, or record_timestamp")
        }
      default: break
      }
    }
    if !seen.contains("tumbling") { reader.fail(window, "has no key tumbling", "Write { tumbling: 5m }, or global, or batch") }
    if let width { job.window = .tumbling(widthMilliseconds: width, time: time) }
  }

  private func column(_ name: String, _ entry: YAMLReader.Entry) -> ColumnDefinition? {
    if let index = job.recordSchema.index(of: name) { return job.recordSchema.columns[index] }
    reader.fail(entry, value: name, "is no field", reader.suggestion(name, job.recordSchema.columns.map(\.name)))
    return nil
  }

  private mutating func parseAggregate(_ aggregate: YAMLReader.Entry) {
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.mapping(aggregate) { entries[name] = entry }
    for required in ["by", "measures"] where entries[required] == nil {
      reader.fail(
        aggregate, "has no key \(required)", required == "by" ? "Write by: [FIELD], or by: [] for one group" : "Name at least one")
    }
    // Keys first, in whatever order the file has them: a measure may not take the name of one.
    let by = entries["by"].map(groupColumns) ?? []
    let measures = entries["measures"].map { parseMeasures($0, keys: by) } ?? []
    job.aggregate = Job.Aggregate(by: by, measures: measures)
    checkStateColumns(aggregate, by, measures)
  }

  private func groupColumns(_ entry: YAMLReader.Entry) -> [String] {
    var by: [String] = []
    for item in reader.items(entry) {
      guard let name = reader.string(item), let column = column(name, item) else { continue }
      if column.type == .double {
        reader.fail(item, value: name, "is a double, which is no key", "Group by an integer, bool, string, timestamp or decimal field")
      }
      if by.contains(column.name) {
        reader.fail(item, value: name, "stands there twice", "Name each field once")
      } else {
        by.append(column.name)
      }
    }
    return by
  }

  private func parseMeasures(_ entry: YAMLReader.Entry, keys: [String]) -> [Job.Measure] {
    var measures: [Job.Measure] = []
    for (name, entry) in reader.mapping(entry, namesAreFree: true) {
      guard checkColumnName(name, entry, taken: keys + measures.map(\.name)) else { continue }
      guard let text = reader.string(entry), let measure = measure(name, text.filter { $0 != " " }, entry) else { continue }
      measures.append(measure)
    }
    if measures.isEmpty { reader.fail(entry, "names no usable measure", "Write for example calls: count()") }
    return measures
  }

  private func measure(_ name: String, _ text: String, _ entry: YAMLReader.Entry) -> Job.Measure? {
    let parts = text.split(separator: "(", maxSplits: 1)
    guard parts.count == 2, text.hasSuffix(")"), let function = Job.Measure.Function(rawValue: String(parts[0])) else {
      reader.fail(entry, value: text, "is no measure", "Use count(), count(f), sum(f), min(f), max(f) or avg(f)")
      return nil
    }
    let argument = String(parts[1].dropLast())
    if argument.isEmpty {
      if function == .count { return Job.Measure(name: name, function: .count, field: nil) }
      reader.fail(entry, value: text, "needs a field", "Write \(function.rawValue)(FIELD)")
      return nil
    }
    guard let column = column(argument, entry) else { return nil }
    let isNumber: Bool =
      switch column.type {
      case .int32, .int64, .double, .decimal: true
      case .bool, .string, .timestamp, .timestampMicroseconds, .date: false
      }
    if (function == .sum || function == .avg) && !isNumber {
      reader.fail(entry, value: text, "adds up a \(column.type)", "Use a field of type int32, int64, double or decimal")
      return nil
    }
    return Job.Measure(name: name, function: function, field: column.name)
  }

  /// The state's columns are named after keys and measures; some need a second column.
  private func checkStateColumns(_ entry: YAMLReader.Entry, _ by: [String], _ measures: [Job.Measure]) {
    var names = ["window"] + by + by.filter { job.recordColumn($0).isNullable }.map { "\($0)_is_null" }
    for measure in measures {
      names += measure.function == .avg ? ["\(measure.name)_sum", "\(measure.name)_count"] : [measure.name]
    }
    let lowercased = names.map { $0.lowercased() }
    for name in Set(lowercased.filter { candidate in lowercased.filter { $0 == candidate }.count > 1 }).sorted() {
      reader.fail(
        entry, value: name, "names two columns of the state (an avg keeps NAME_sum and NAME_count, a nullable key NAME_is_null)",
        "Give one of them another name")
    }
  }

  private mutating func parseWhere(_ entry: YAMLReader.Entry) {
    guard let sql = reader.string(entry) else { return }
    job.where = sql
    do {
      _ = try Predicate(sql, schema: job.recordSchema)
    } catch {
      reader.fail(
        entry, "\(error)",
        "Expressions read the declared fields and record_key, record_timestamp, record_topic, record_partition, record_offset")
    }
  }

  private mutating func parseSelect(_ select: YAMLReader.Entry) {
    let input = job.selectInputSchema
    let shown = job.aggregate == nil ? job.fields.map(\.column.name) : input.columns.map(\.name)
    for (name, entry) in reader.mapping(select, namesAreFree: true) {
      guard checkColumnName(name, entry, taken: shown + job.select.map(\.name)), let item = derivedColumn(name, entry) else { continue }
      do {
        _ = try Derivation([(name: item.name, sql: item.sql, type: item.type)], schema: input)
      } catch {
        reader.fail(entry, "\(error)", "Expressions read \(input.columns.prefix(12).map(\.name).joined(separator: ", "))")
      }
      job.select.append(item)
    }
  }

  private func derivedColumn(_ name: String, _ entry: YAMLReader.Entry) -> Job.DerivedColumn? {
    if entry.word != nil { return reader.string(entry).map { Job.DerivedColumn(name: name, sql: $0, type: .double) } }
    var sql: String?
    var type = ColumnType.double
    for (name, entry) in reader.mapping(entry) {
      switch name {
      case "sql": sql = reader.string(entry)
      case "type":
        guard let text = reader.string(entry) else { continue }
        if let known = columnType(text.filter { $0 != " " }) {
          type = known
        } else {
          reader.fail(entry, value: text, "is no type", "Use int32, int64, double, bool, string, timestamp or decimal(p,s)")
        }
      default: break
      }
    }
    if sql == nil { reader.fail(entry, "has no key sql", "Write { sql: EXPRESSION, type: TYPE }") }
    return sql.map { Job.DerivedColumn(name: name, sql: $0, type: type) }
  }

  // MARK: - Output and rules

  private mutating func parseOutput(_ output: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(output) {
      switch name {
      case "to": parsePlace(entry)
      case "format": job.output.format = reader.choice(entry, Job.Output.Format.self) ?? .csv
      case "mode":
        if let mode = reader.string(entry), mode != "overwrite" {
          reader.fail(entry, value: mode, "is no mode", "Use overwrite: objects are replaced whole")
        }
      case "keep":
        job.output.keep = reader.choice(entry, Job.Output.Keep.self) ?? .latest
        if job.output.keep == .each && job.aggregate != nil && job.window != .batch {
          reader.fail(entry, value: "each", "is for batch windows and row jobs", "Leave it out: each window has an object of its own")
        }
      case "max_pending_bytes": job.output.maxPendingBytes = reader.size(entry) ?? job.output.maxPendingBytes
      case "s3": parseS3(entry)
      default: break
      }
    }
    if !hasTo { reader.fail(output, "has no key to", "Write to: s3://BUCKET/PREFIX or to: file:FOLDER") }
  }

  private mutating func parsePlace(_ entry: YAMLReader.Entry) {
    hasTo = true
    guard let text = reader.string(entry) else { return }
    if text.hasPrefix("file:"), text.count > 5 {
      var path = text.dropFirst(5)
      if path.hasPrefix("//") { path = path.dropFirst(2) }
      while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
      job.output.place = .file(path: String(path))
      return
    }
    guard text.hasPrefix("s3://") else {
      return reader.fail(entry, value: text, "is no place for results", "Write s3://BUCKET/PREFIX or file:FOLDER")
    }
    let parts = text.dropFirst(5).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let bucket = parts.first.map(String.init) ?? ""
    // AWS, "General purpose bucket naming rules".
    let isLegal =
      (3...63).contains(bucket.utf8.count) && bucket.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || ".-".contains($0)) }
    if !isLegal { reader.fail(entry, value: text, "names no bucket that S3 allows", "Use 3 to 63 of a-z, 0-9, '.' and '-'") }
    var prefix = parts.count > 1 ? parts[1] : ""
    while prefix.hasSuffix("/") { prefix.removeLast() }
    let segments = prefix.split(separator: "/", omittingEmptySubsequences: false)
    if !prefix.isEmpty && segments.contains(where: { ["", ".", ".."].contains($0) }) {
      reader.fail(entry, value: text, "has an empty, '.' or '..' part in its prefix", "Write plain names between the slashes")
    }
    job.output.place = .s3(bucket: bucket, prefix: String(prefix))
  }

  private mutating func parseS3(_ s3: YAMLReader.Entry) {
    var hasAddressing = false
    for (name, entry) in reader.mapping(s3) {
      switch name {
      case "endpoint":
        guard let endpoint = reader.nonEmpty(entry) else { continue }
        let rest = endpoint.drop { $0 != "/" }.drop { $0 == "/" }
        let isAddress = (endpoint.hasPrefix("http://") || endpoint.hasPrefix("https://")) && !rest.isEmpty && !rest.contains("@")
        if !isAddress { reader.fail(entry, value: endpoint, "is no address of a server", "Write http://HOST:PORT or https://HOST") }
        job.output.s3.endpoint = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
      case "region": job.output.s3.region = reader.nonEmpty(entry) ?? job.output.s3.region
      case "addressing":
        hasAddressing = true
        job.output.s3.addressing = reader.choice(entry, Job.S3Options.AddressingStyle.self) ?? .path
      case "credentials": parseCredentials(entry)
      case "timeout": job.output.s3.timeoutMilliseconds = reader.duration(entry) ?? job.output.s3.timeoutMilliseconds
      case "max_attempts": job.output.s3.maxAttempts = Int(reader.integer(entry, in: 1...100) ?? 4)
      case "ca_file": job.output.s3.caFile = reader.nonEmpty(entry)
      default: break
      }
    }
    if !hasAddressing { job.output.s3.addressing = job.output.s3.endpoint == nil ? .virtual : .path }
  }

  private mutating func parseCredentials(_ credentials: YAMLReader.Entry) {
    var values: [String: String] = [:]
    for (name, entry) in reader.mapping(credentials) { values[name] = reader.nonEmpty(entry) }
    if let profile = values["profile"] {
      if values.count > 1 { reader.fail(credentials, "names a profile and keys", "Give one or the other") }
      job.output.s3.credentials = .profile(profile)
    } else if let accessKeyID = values["access_key_id"], let secret = values["secret_access_key"] {
      job.output.s3.credentials = .keys(accessKeyID: accessKeyID, secretAccessKey: secret, sessionToken: values["session_token"])
    } else {
      reader.fail(credentials, "is not complete", "Give profile, or access_key_id and secret_access_key; leave it out for the environment")
    }
  }

  private mutating func parseRejects(_ rejects: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(rejects) {
      switch name {
      case "policy": job.rejects.policy = reader.choice(entry, Job.RejectRules.Policy.self) ?? .quarantine
      case "max_share": job.rejects.maxShare = reader.share(entry) ?? job.rejects.maxShare
      default: break
      }
    }
  }

  private mutating func parseLimits(_ limits: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(limits) {
      switch name {
      case "batch_bytes": job.limits.batchBytes = reader.size(entry) ?? job.limits.batchBytes
      case "record_bytes": job.limits.recordBytes = reader.size(entry) ?? job.limits.recordBytes
      case "groups_per_window": job.limits.groupsPerWindow = reader.integer(entry, in: 1...1_000_000_000) ?? job.limits.groupsPerWindow
      case "windows_per_batch": job.limits.windowsPerBatch = reader.integer(entry, in: 1...1_000_000) ?? job.limits.windowsPerBatch
      case "key_bytes": job.limits.keyBytes = reader.size(entry) ?? job.limits.keyBytes
      default: break
      }
    }
  }

  private func checkTogether(_ entries: [String: YAMLReader.Entry]) {
    if let aggregate = entries["aggregate"], !hasWindow {
      reader.fail(aggregate, "needs a window", "Add window: global, window: batch or window: { tumbling: 5m }")
    }
    if let window = entries["window"], entries["aggregate"] == nil {
      reader.fail(window, "is of no use without aggregate", "Add aggregate, or leave window out: each record becomes a row")
    }
  }
}

extension Job {
  fileprivate static var defaults: Job {
    Job(
      name: "", clusters: [], start: .earliest, onDataLoss: .fail, format: .csv, fields: [], maxOffsets: 1_000, window: .global,
      where: nil, aggregate: nil, select: [],
      output: Output(
        place: .file(path: "out"), format: .csv, keep: .latest,
        s3: S3Options(
          endpoint: nil, region: "us-east-1", addressing: .virtual, credentials: .environment, timeoutMilliseconds: 30_000, maxAttempts: 4,
          caFile: nil),
        maxPendingBytes: 64 << 20),
      rejects: RejectRules(policy: .quarantine, maxShare: 0.1),
      limits: Limits(
        batchBytes: 256 << 20, recordBytes: 1 << 20, groupsPerWindow: 1_000_000, windowsPerBatch: 10_000, keyBytes: 1 << 10))
  }

  /// librdkafka's properties that are Tranche's to set, and why.
  static let reservedProperties = [
    "group.id": "no consumer group decides what is read",
    "auto.offset.reset": "a lost offset must be an error; use source.start and source.on_data_loss",
    "enable.auto.commit": "progress is committed in the checkpoint",
    "enable.auto.offset.store": "progress is committed in the checkpoint",
    "enable.partition.eof": "the reader needs the end of a partition",
    "allow.auto.create.topics": "reading must never make a topic",
  ]
}
