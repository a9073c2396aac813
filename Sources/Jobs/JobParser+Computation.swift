internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// `trigger`, `window`, `where`, `aggregate` and `select`.
extension JobParser {
  mutating func parseTrigger(_ trigger: YAMLReader.Entry) {
    for (name, entry) in reader.mapping(trigger) where name == "max_offsets" {
      job.maxOffsets = reader.integer(entry, in: 1...10_000_000) ?? job.maxOffsets
    }
  }

  mutating func parseWindow(_ window: YAMLReader.Entry) {
    hasWindow = true
    if window.word != nil {
      guard let word = reader.string(window) else { return }
      switch word {
      case "global": job.window = GlobalWindow()
      case "batch": job.window = BatchWindows(keepsEach: false)
      default:
        reader.fail(
          window, value: word, "is not a valid window",
          "Use global, batch or { tumbling: 5m, time: record_timestamp }")
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
          reader.fail(
            entry, value: name, "is not a timestamp",
            "Name a field of type timestamp, or record_timestamp")
        }
      default: break
      }
    }
    if !seen.contains("tumbling") {
      reader.fail(window, "has no key tumbling", "Write { tumbling: 5m }, or global, or batch")
    }
    if let width { job.window = TumblingWindows(widthMilliseconds: width, time: time) }
  }

  /// Gives each batch's object a folder of its own.
  ///
  /// - Returns: Whether the job's windows are batches.
  mutating func keepEachBatch() -> Bool {
    guard job.window is BatchWindows else { return false }
    job.window = BatchWindows(keepsEach: true)
    return true
  }

  func column(_ name: String, _ entry: YAMLReader.Entry) -> ColumnDefinition? {
    if let index = recordSchema.index(of: name) { return recordSchema.columns[index] }
    reader.fail(
      entry, value: name, "is no field", reader.suggestion(name, recordSchema.columns.map(\.name)))
    return nil
  }

  mutating func parseAggregate(_ aggregate: YAMLReader.Entry) {
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.mapping(aggregate) { entries[name] = entry }
    for required in ["by", "measures"] where entries[required] == nil {
      reader.fail(
        aggregate, "has no key \(required)",
        required == "by" ? "Write by: [FIELD], or by: [] for one group" : "Name at least one")
    }
    // Keys first, in whatever order the file has them: a measure may not take the name of one.
    let by = entries["by"].map { groupColumns($0) } ?? []
    let measures = entries["measures"].map { parseMeasures($0, keys: by) } ?? []
    job.aggregate = Job.Aggregate(by: by, measures: measures)
    checkStateColumns(aggregate)
  }

  mutating func groupColumns(_ entry: YAMLReader.Entry) -> [String] {
    var by: [String] = []
    for item in reader.items(entry, most: 100) {
      guard let name = reader.string(item), let column = column(name, item) else { continue }
      if column.type == .double {
        reader.fail(
          item, value: name, "is a double, which is no key",
          "Group by an integer, bool, string, timestamp or decimal field")
      }
      if by.contains(column.name) {
        reader.fail(item, value: name, "stands there twice", "Name each field once")
      } else {
        by.append(column.name)
        resultEntries.append((column.name, item))
      }
    }
    return by
  }

  mutating func parseMeasures(_ entry: YAMLReader.Entry, keys: [String]) -> [Measure] {
    var measures: [Measure] = []
    var taken = Set(keys.map { $0.lowercased() })
    for (name, entry) in reader.mapping(entry, namesAreFree: true, most: 500) {
      guard checkColumnName(name, entry, taken: &taken) else { continue }
      guard let text = reader.string(entry),
        let measure = measure(name, text.filter { $0 != " " }, entry)
      else { continue }
      measures.append(measure)
      resultEntries.append((name, entry))
    }
    if measures.isEmpty {
      reader.fail(entry, "names no usable measure", "Write for example calls: count()")
    }
    return measures
  }

  func measure(_ name: String, _ text: String, _ entry: YAMLReader.Entry) -> Measure? {
    let parts = text.split(separator: "(", maxSplits: 1)
    guard parts.count == 2, text.hasSuffix(")"),
      let function = Measure.function(named: String(parts[0]))
    else {
      let usages = Measure.functions.flatMap { $0.usages }
      reader.fail(
        entry, value: text, "is not a measure",
        "Use \(usages.dropLast().joined(separator: ", ")) or \(usages.last ?? "")")
      return nil
    }
    let argument = String(parts[1].dropLast())
    var field: ColumnDefinition?
    if !argument.isEmpty {
      guard let column = column(argument, entry) else { return nil }
      field = column
    }
    do {
      return Measure(name, try function.init(field), argument: field?.name)
    } catch {
      reader.fail(entry, value: text, error.problem, error.remedy)
      return nil
    }
  }

  /// The state's columns are named after keys and measures; some need a second column.
  func checkStateColumns(_ entry: YAMLReader.Entry) {
    let names = job.stateLayout.storedColumns.map { ($0.name.lowercased(), 1) }
    for name in Dictionary(names, uniquingKeysWith: +).filter({ $0.value > 1 }).keys.sorted() {
      reader.fail(
        entry, value: name,
        "names two columns of the state (an avg keeps NAME_sum and NAME_count, a nullable key "
          + "NAME_is_null)",
        "Give one of them another name")
    }
  }

  mutating func parseWhere(_ entry: YAMLReader.Entry) {
    guard let sql = reader.string(entry) else { return }
    job.where = sql
    do {
      _ = try Predicate(sql, schema: recordSchema)
    } catch {
      reader.fail(
        entry, "\(error)",
        "Expressions read the declared fields and record_key, record_timestamp, record_topic, "
          + "record_partition, record_offset"
      )
    }
  }

  mutating func parseSelect(_ select: YAMLReader.Entry) {
    let input = job.selectInputSchema
    let shown = job.aggregate == nil ? job.fields.map(\.column.name) : input.columns.map(\.name)
    var taken = Set(shown.map { $0.lowercased() })
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.mapping(select, namesAreFree: true, most: 500) {
      guard checkColumnName(name, entry, taken: &taken), let item = derivedColumn(name, entry)
      else { continue }
      job.select.append(item)
      resultEntries.append((name, entry))
      entries[name] = entry
    }
    let items = job.select.map { (name: $0.name, sql: $0.sql, type: $0.type) }
    let valueByteLimit = Int(job.limits.valueBytes)
    var faults = DerivedColumns.faults(items, schema: input, valueByteLimit: valueByteLimit)
    // Each by itself is one thing; all of them are one statement.
    if faults.isEmpty {
      do { _ = try DerivedColumns(items, schema: input, valueByteLimit: valueByteLimit) } catch {
        faults = [error]
      }
    }
    for fault in faults {
      reader.fail(
        fault.item.flatMap { entries[$0] } ?? select, "\(fault)",
        "Expressions read \(input.columns.prefix(12).map(\.name).joined(separator: ", "))")
    }
  }

  func derivedColumn(_ name: String, _ entry: YAMLReader.Entry) -> Job.DerivedColumn? {
    if entry.word != nil {
      return reader.string(entry).map { Job.DerivedColumn(name: name, sql: $0, type: .double) }
    }
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
          reader.fail(
            entry, value: text, "is no type",
            "Use int32, int64, double, bool, string, timestamp or decimal(p,s)")
        }
      default: break
      }
    }
    if sql == nil { reader.fail(entry, "has no key sql", "Write { sql: EXPRESSION, type: TYPE }") }
    return sql.map { Job.DerivedColumn(name: name, sql: $0, type: type) }
  }
}
