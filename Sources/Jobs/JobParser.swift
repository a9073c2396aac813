internal import Expressions
internal import Formats
internal import Tables
internal import Windows

/// One reading of a job file. Each part that has a fault is left at its default, so that the others
/// are checked all the same.
struct JobParser {
  let reader: YAMLReader
  let propertyFault: JobFile.PropertyCheck
  var job = Job.defaults
  var whereEntry: YAMLReader.Entry?
  /// Where each column of the result gets its name: keys, measures and derived ones, in a row job
  /// the fields.
  var resultEntries: [(name: String, entry: YAMLReader.Entry)] = []
  var fieldEntries: [(name: String, entry: YAMLReader.Entry)] = []
  /// Of the declared fields and what every message carries, made once.
  var recordSchema = Schema(MessageField.allCases.map(\.column))
  var nameLine: Int?
  var destinationLine: Int?
  var hasWindow = false
  var hasTo = false
  var hasAddressing = false

  init(_ reader: YAMLReader, propertyFault: @escaping JobFile.PropertyCheck) {
    self.reader = reader
    self.propertyFault = propertyFault
  }

  mutating func parse(_ root: YAMLReader.Entry, fallbackName: String) -> Job {
    job.name = fallbackName
    var entries: [String: YAMLReader.Entry] = [:]
    for (name, entry) in reader.mapping(root) { entries[name] = entry }
    for required in ["source", "output"] where entries[required] == nil {
      reader.fail(root, "has no key \(required)", "See jobs/api-time-share.yaml")
    }
    if let entry = entries["name"], let name = reader.string(entry) { job.name = name }
    nameLine = entries["name"]?.line
    checkName(entries["name"] ?? root)
    if let entry = entries["source"] { parseSource(entry) }
    // Before select, whose values it bounds.
    if let entry = entries["limits"] { parseLimits(entry) }
    if let entry = entries["trigger"] { parseTrigger(entry) }
    if let entry = entries["window"] { parseWindow(entry) }
    if let entry = entries["aggregate"] { parseAggregate(entry) }
    if let entry = entries["where"] { parseWhere(entry) }
    if let entry = entries["select"] { parseSelect(entry) }
    if let entry = entries["output"] { parseOutput(entry) }
    if let entry = entries["rejects"] { parseRejects(entry) }
    checkTogether(entries)
    checkPathColumns()
    return job
  }

  /// A column that bears the name of a folder of the objects' path is lost: readers of such folders
  /// take the folder's value instead.
  private func checkPathColumns() {
    guard let taken = job.window.folderColumn else { return }
    for (name, entry) in (job.aggregate == nil ? fieldEntries : []) + resultEntries
    where name.lowercased() == taken {
      reader.fail(
        entry, value: name,
        "is the name of the folders that the objects lie in (\(taken)=...), whose value readers "
          + "take for the column's",
        "Give the column another name, for example \(name)_value")
    }
  }

  private func checkName(_ entry: YAMLReader.Entry) {
    let isAllowed =
      job.name.utf8.count <= 63
      && job.name.first.map { $0.isASCII && ($0.isLowercase || $0.isNumber) } == true
      && job.name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || ".-_".contains($0)) }
    if !isAllowed {
      reader.fail(
        entry, value: job.name, "is no name for a job",
        "Use up to 63 of a-z, 0-9, '.', '-' and '_', a letter or digit first")
    }
  }

  private func checkTogether(_ entries: [String: YAMLReader.Entry]) {
    if let aggregate = entries["aggregate"], !hasWindow {
      reader.fail(
        aggregate, "needs a window", "Add window: global, window: batch or window: { tumbling: 5m }"
      )
    }
    if let window = entries["window"], entries["aggregate"] == nil {
      reader.fail(
        window, "is of no use without aggregate",
        "Add aggregate, or leave window out: each record becomes a row")
    }
  }
}

extension Job {
  fileprivate static var defaults: Job {
    Job(
      name: "", clusters: [], start: .earliest, onDataLoss: .fail, format: .csv, fields: [],
      maxOffsets: 1_000, window: BatchWindows(keepsEach: false),
      where: nil, aggregate: nil, select: [],
      output: Output(
        destination: .file(path: "out"), format: .parquet, keep: .latest, publish: .batch,
        s3: S3Options(
          endpoint: nil, region: "us-east-1", addressing: .virtual, credentials: .environment,
          timeoutMilliseconds: 30_000, maxAttempts: 4,
          caFile: nil),
        maxPendingBytes: 64 << 20),
      rejects: RejectRules(
        policy: .quarantine, maxShare: 0.1, maxShareOver: 1_000, minRecords: 100),
      limits: Limits(
        batchBytes: 256 << 20, recordBytes: 1 << 20, groupsPerWindow: 1_000_000,
        windowsPerBatch: 10_000, keyBytes: 1 << 10,
        valueBytes: Int64(DerivedColumns.defaultValueByteLimit), objectBytes: 1 << 30))
  }
}
