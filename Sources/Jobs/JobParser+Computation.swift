internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// `window`, `where`, `aggregate` and `select`.
extension JobParser {
  /// Without a window, as in a row job, each batch is one.
  ///
  /// - Parameter keepsEach: Whether each batch's object has a folder of its own.
  func window(
    _ root: YAMLReader.Object, _ schema: Schema, keepsEach: Bool
  ) -> (any WindowKind, Lateness?) {
    let batches = BatchWindows(keepsEach: keepsEach)
    guard let entry = root.entry("window") else { return (batches, nil) }
    if entry.word != nil {
      guard let word = reader.string(entry) else { return (batches, nil) }
      switch word {
      case "global": return (GlobalWindow(), nil)
      case "batch": return (batches, nil)
      default:
        reader.fail(
          entry, value: word, "is not a valid window",
          "Use global, batch or { tumbling: 5m, time: record_timestamp }")
        return (batches, nil)
      }
    }
    let object = reader.object(entry)
    let width = object.entry("tumbling").flatMap(reader.duration)
    var time: String = reader.value(object, "time") { $0 }
    if let entry = object.entry("time"), let column = column(time, entry, schema) {
      time = column.name
      if column.type != .timestamp {
        reader.fail(
          entry, value: time, "is not a timestamp field",
          "Name a field of type timestamp, or record_timestamp")
      }
    }
    let kind: any WindowKind =
      width.map { TumblingWindows(widthMilliseconds: $0, time: time) } ?? batches
    return (kind, lateness(object))
  }

  private func lateness(_ object: YAMLReader.Object) -> Lateness? {
    let entry = object.entry("allowed_lateness")
    let retention = object.entry("retention")
    let (allowed, kept) = (entry.flatMap(reader.duration), retention.flatMap(reader.duration))
    if let retention, entry == nil {
      reader.fail(
        retention, "needs allowed_lateness: state is dropped of windows that no record changes",
        "Add for example allowed_lateness: 2h, or leave retention out")
    }
    return allowed.map { Lateness(allowedMilliseconds: $0, retentionMilliseconds: kept) }
  }

  func aggregate(_ root: YAMLReader.Object, _ schema: Schema) -> (Job.Aggregate?, [Named]) {
    guard let entry = root.entry("aggregate") else { return (nil, []) }
    let object = reader.object(entry)
    // Keys first, in whatever order the file has them: a measure may not take the name of one.
    let (by, keys) = object.entry("by").map { groupColumns($0, schema) } ?? ([], [])
    let (measures, others) =
      object.entry("measures").map { self.measures($0, keys: by, schema) } ?? ([], [])
    return (Job.Aggregate(by: by, measures: measures), keys + others)
  }

  private func groupColumns(_ entry: YAMLReader.Entry, _ schema: Schema) -> ([String], [Named]) {
    var by: [String] = []
    var entries: [Named] = []
    for item in reader.items(entry) {
      guard let name = reader.string(item), let column = column(name, item, schema) else {
        continue
      }
      if column.type == .double {
        reader.fail(
          item, value: name, "is a double, which cannot be grouped by",
          "Group by an integer, bool, string, timestamp or decimal field")
      }
      if by.contains(column.name) {
        reader.fail(item, value: name, "is listed twice", "List each field once")
      } else {
        by.append(column.name)
        entries.append((column.name, item))
      }
    }
    return (by, entries)
  }

  private func measures(_ entry: YAMLReader.Entry, keys: [String], _ schema: Schema)
    -> ([Measure], [Named])
  {
    var measures: [Measure] = []
    var entries: [Named] = []
    var taken = Set(keys.map { $0.lowercased() })
    for (name, entry) in reader.map(entry) {
      guard checkColumnName(name, entry, taken: &taken), let text = reader.string(entry),
        let measure = measure(name, text, entry, schema)
      else { continue }
      measures.append(measure)
      entries.append((name, entry))
    }
    if measures.isEmpty {
      reader.fail(entry, "has no valid measure", "Write for example calls: count()")
    }
    return (measures, entries)
  }

  private func measure(
    _ name: String, _ written: String, _ entry: YAMLReader.Entry, _ schema: Schema
  ) -> Measure? {
    let text = written.filter { !$0.isWhitespace }
    let parts = text.split(separator: "(", maxSplits: 1)
    let usages = "Use \(Suggestion.choice(of: Measure.functions.flatMap { $0.usages }))"
    if let (what, remedy) = notBuilt(written) {
      reader.fail(entry, value: written, "is not built yet: \(what)", remedy ?? usages)
      return nil
    }
    guard parts.count == 2, text.hasSuffix(")"),
      let function = Measure.function(named: String(parts[0]))
    else {
      reader.fail(entry, value: written, "is not a valid measure", usages)
      return nil
    }
    let argument = String(parts[1].dropLast())
    var field: ColumnDefinition?
    // As SQL counts rows.
    let isAll = argument == "*" && function.usages.contains("\(function.name)(*)")
    if !argument.isEmpty && !isAll {
      guard let column = column(argument, entry, schema) else { return nil }
      field = column
    }
    do {
      return Measure(name, try function.init(field), argument: field?.name)
    } catch {
      reader.fail(entry, value: text, error.problem, error.remedy)
      return nil
    }
  }

  /// What a measure asks for that SQL has and this release does not.
  private func notBuilt(_ written: String) -> (what: String, remedy: String?)? {
    func words(_ text: Substring) -> [Substring] {
      text.split { !($0.isLetter || $0.isNumber || $0 == "_") }
    }
    let text = written.lowercased()
    guard let open = text.firstIndex(of: "("), let function = words(text[..<open]).first else {
      return nil
    }
    // A field may be called distinct, over or filter: these words mean more only where a field
    // follows the one, and the others follow the parentheses.
    let close = text[open...].firstIndex(of: ")") ?? text.endIndex
    let arguments = words(text[open..<close])
    let rest = words(text[close...])
    if arguments.first == "distinct" && arguments.count > 1 {
      return (
        "measures do not leave out repeated values",
        "Group by the field in a job of its own, and count its rows"
      )
    }
    if rest.contains("filter") && rest.contains("where") {
      return (
        "a measure has no condition of its own",
        "Write the condition under where, which holds for all measures, in a job of its own"
      )
    }
    if rest.contains("over") {
      return ("measures have no OVER", "Write window functions under select")
    }
    return Measure.isNotBuilt(String(function))
      ? ("there is no measure \(function)", nil) : nil
  }

  /// The state's columns are named after keys and measures; some need a second column.
  func checkStateColumns(_ entry: YAMLReader.Entry, _ job: Job) {
    let names = job.stateLayout.storedColumns.map { ($0.name.lowercased(), 1) }
    for name in Dictionary(names, uniquingKeysWith: +).filter({ $0.value > 1 }).keys.sorted() {
      reader.fail(
        entry, name: name,
        "would be the name of two columns of the state (an avg keeps NAME_sum and NAME_count, a "
          + "nullable key NAME_is_null)",
        "Give one of them another name")
    }
  }

  func filter(_ root: YAMLReader.Object, _ schema: Schema) -> Expression? {
    guard let entry = root.entry("where"), let sql = reader.string(entry) else { return nil }
    do {
      let expression = try Expression(sql, schema: schema)
      _ = try Predicate(expression, schema: schema)
      warnOfIntegerDivision(in: expression, showsFraction: false, entry, schema)
      return expression
    } catch {
      reader.fail(entry, error, columns: schema)
      return nil
    }
  }

  /// - Parameter job: Without its `select`.
  func select(_ root: YAMLReader.Object, _ job: Job) -> ([Job.DerivedColumn], [Named]) {
    guard let select = root.entry("select") else { return ([], []) }
    let input = job.selectInputSchema
    let shown = job.aggregate == nil ? job.fields.map(\.column.name) : input.columns.map(\.name)
    var taken = Set(shown.map { $0.lowercased() })
    var items: [Job.DerivedColumn] = []
    var entries: [Named] = []
    var texts: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.map(select) {
      guard checkColumnName(name, entry, taken: &taken),
        let (item, text) = derivedColumn(name, entry, input)
      else { continue }
      items.append(item)
      entries.append((name, entry))
      texts[name] = text
    }
    let columns = items.map { (name: $0.name, expression: $0.expression, type: $0.type) }
    let faults = DerivedColumns.faults(
      columns, schema: input, valueByteLimit: Int(job.limits.valueBytes))
    for fault in faults {
      reader.fail(fault.item.flatMap { texts[$0] } ?? select, fault, columns: input)
    }
    return (items, entries)
  }

  /// A column, and where its SQL stands.
  private func derivedColumn(_ name: String, _ entry: YAMLReader.Entry, _ input: Schema)
    -> (Job.DerivedColumn, YAMLReader.Entry)?
  {
    var text: YAMLReader.Entry? = entry
    var object = reader.emptyObject("select.*")
    if entry.word == nil {
      object = reader.object(entry)
      text = object.entry("sql")
    }
    let type = reader.value(object, "type", FieldType.columnType) {
      FieldType.fault(of: object.entry("type")?.word ?? "", ofFields: false)
    }
    guard let text, let sql = reader.string(text) else { return nil }
    do {
      let expression = try Expression(sql, schema: input)
      checkKinds(of: expression, type, isTyped: object.entry("type") != nil, text, input)
      warnOfIntegerDivision(in: expression, type, text, input)
      return (Job.DerivedColumn(name: name, expression: expression, type: type), text)
    } catch {
      reader.fail(text, error, columns: input)
      return nil
    }
  }

  /// An expression of which no value fits the column would fail in the first run.
  private func checkKinds(
    of expression: Expression, _ type: ColumnType, isTyped: Bool, _ entry: YAMLReader.Entry,
    _ input: Schema
  ) {
    let kinds = expression.kinds(in: input).subtracting(.null)
    guard !kinds.isEmpty, kinds.isDisjoint(with: type.kindsTaken) else { return }
    let column = isTyped ? "a column of type \(type)" : "a column without a type, which is a double"
    let (made, remedy) =
      switch kinds {
      case .text: ("text", "Write { sql: ..., type: string }")
      case .blob: ("a blob", "Write { sql: hex(...), type: string }")
      case .integer:
        (
          "a whole number",
          "Write { sql: ..., type: \(expression.isUnsigned(in: input) ? "uint64" : "int64") }"
        )
      default: ("a number", "Write { sql: ..., type: double }")
      }
    reader.fail(entry, value: expression.sql, "makes \(made), and belongs to \(column)", remedy)
  }

  private func warnOfIntegerDivision(
    in expression: Expression, _ type: ColumnType, _ entry: YAMLReader.Entry, _ input: Schema
  ) {
    let showsFractions =
      switch type {
      case .double: true
      case .decimal(_, let scale): scale > 0
      default: false
      }
    warnOfIntegerDivision(in: expression, showsFraction: showsFractions, entry, input)
  }

  private func warnOfIntegerDivision(
    in expression: Expression, showsFraction: Bool, _ entry: YAMLReader.Entry, _ input: Schema
  ) {
    guard let division = expression.integerDivision(in: input, showsFraction: showsFraction) else {
      return
    }
    let mended = division.mended.map { "Write \($0)" } ?? "Multiply the dividend by 1.0"
    let (problem, whole) =
      division.isCompared
      ? (
        ", and compares the quotient with a value that may have one",
        "CAST(... AS INTEGER) around it"
      )
      : ("", "{ sql: ..., type: int64 }")
    reader.warn(
      entry, at: division.position, in: expression.sql,
      "divides two integers, which drops the fraction" + problem,
      "\(mended); or, if whole numbers are meant, \(whole)")
  }
}
