internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// One reading of a job file. A part that has a fault gets its default, so that the others are
/// checked all the same.
struct JobParser {
  typealias Named = (name: String, entry: YAMLReader.Entry)

  let reader: YAMLReader
  let checkProperties: JobFile.PropertyCheck
  let fileFault: JobFile.FileCheck
  let isTimeZone: JobFile.TimeZoneCheck
  /// Where the file says what may clash with another job's.
  private(set) var nameLine = 1
  private(set) var destinationLine = 1

  init(
    _ reader: YAMLReader, checkProperties: @escaping JobFile.PropertyCheck,
    fileFault: @escaping JobFile.FileCheck, isTimeZone: @escaping JobFile.TimeZoneCheck
  ) {
    self.reader = reader
    self.checkProperties = checkProperties
    self.fileFault = fileFault
    self.isTimeZone = isTimeZone
  }

  mutating func parse(_ entry: YAMLReader.Entry, fallbackName: String) -> Job {
    let root = reader.object(entry)
    let name = root.entry("name").flatMap(reader.string) ?? fallbackName
    nameLine = root.entry("name")?.line ?? 1
    checkName(name, root.entry("name"), entry)

    let source = reader.object(root, "source")
    let format: InputFormat = reader.choice(source, "format")
    let envelope = envelope(source, format)
    let csv = csv(source, format)
    let (fields, fieldEntries) = fields(source, format, envelope, csv.header)
    let schema = Job.recordSchema(of: fields)
    let (aggregate, keyEntries) = aggregate(root, schema)
    checkTogether(root)

    let outputObject = reader.object(root, "output")
    let keep: Job.Output.Keep = reader.choice(outputObject, "keep")
    let (window, lateness) = window(root, schema, keepsEach: keep == .each)
    let output = output(outputObject, keep, window)
    destinationLine = outputObject.entry("to")?.line ?? 1
    let (maxOffsets, holdBack, schedule) = trigger(reader.object(root, "trigger"))
    let checkpoint = reader.object(root, "checkpoint")
    let base = Job(
      name: name, clusters: clusters(source), start: start(source),
      onDataLoss: reader.choice(source, "on_data_loss"),
      commitGroup: commitGroup(source, job: name), format: format,
      envelope: envelope, csv: csv, tombstones: reader.choice(source, "tombstones"),
      fields: fields, maxOffsets: maxOffsets,
      holdBack: holdBack, schedule: schedule,
      window: window, lateness: lateness, where: filter(root, schema), aggregate: aggregate,
      select: [],
      output: output, rejects: rejects(reader.object(root, "rejects")),
      backup: backup(checkpoint), limits: limits(reader.object(root, "limits")),
      history: reader.integer(checkpoint, "history"))

    if let entry = root.entry("aggregate") { checkStateColumns(entry, base) }
    let (select, selectEntries) = select(root, base)
    let shownEntries = aggregate == nil ? fieldEntries : keyEntries
    checkPathColumns(base, shownEntries + selectEntries)
    return base.with(select: select)
  }

  /// - Parameter root: Where the file's own name is told, if it gives no other.
  private func checkName(
    _ name: String, _ entry: YAMLReader.Entry?, _ root: YAMLReader.Entry
  ) {
    if JobNames.isJob(name) { return }
    let rule =
      "up to \(JobKeys.nameByteLimit) of a-z, 0-9, '.', '-' and '_', starting with a letter or "
      + "digit"
    let example = JobNames.job(like: name)
    if let entry {
      reader.fail(
        entry, value: name, "is not a valid job name", "Use \(rule), for example \(example)")
    } else if name.isEmpty {
      reader.fail(root, "has no name", "Write name: calls, or give the name with --name")
    } else {
      reader.fail(
        root, value: name, "is the name of the file, and is not a valid job name",
        "Add name: \(example), or another of \(rule)")
    }
  }

  private func checkTogether(_ root: YAMLReader.Object) {
    if let aggregate = root.entry("aggregate"), root.entry("window") == nil {
      reader.fail(
        aggregate, "needs a window",
        "Add window: global, window: batch or window: { tumbling: 5m }")
    }
    if let window = root.entry("window"), root.entry("aggregate") == nil {
      reader.fail(
        window, "has no effect without aggregate",
        "Add aggregate, or leave window out: each record then becomes a row")
    }
  }

  /// A column that bears the name of a folder of the objects' path is lost: readers of such folders
  /// take the folder's value instead.
  private func checkPathColumns(_ job: Job, _ columns: [Named]) {
    guard let taken = job.window.folderColumn else { return }
    for (name, entry) in columns where name.lowercased() == taken {
      reader.fail(
        entry, name: name,
        "is the name of the folders that hold the objects (\(taken)=...), and readers would take "
          + "the folder's value for the column's",
        "Give the column another name, for example \(name)_value")
    }
  }

  // MARK: - Names

  /// Whether the name can be used, and takes it; where it cannot, that is a fault already.
  ///
  /// - Parameter taken: In lower case.
  func checkColumnName(_ name: String, _ entry: YAMLReader.Entry, taken: inout Set<String>) -> Bool
  {
    let isAllowed = JobNames.isColumn(name)
    if !isAllowed {
      reader.fail(
        entry, name: name, "is not a valid column name",
        "Use up to \(JobKeys.columnNameByteLimit) letters, digits and '_', not starting with a "
          + "digit")
    }
    let isFree = taken.insert(name.lowercased()).inserted
    if !isFree {
      reader.fail(
        entry, name: name, "is already the name of another column (case is ignored)",
        "Give each its own name")
    }
    return isAllowed && isFree
  }

  func column(_ name: String, _ entry: YAMLReader.Entry, _ schema: Schema) -> ColumnDefinition? {
    if let index = schema.index(of: name) { return schema.columns[index] }
    reader.fail(
      entry, value: name, "is not a field", reader.suggestion(name, schema.columns.map(\.name)))
    return nil
  }
}
