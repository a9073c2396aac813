internal import Checkpoints
internal import Engine
internal import Formats
package import Jobs
internal import Offsets
internal import Tables

/// A case of `tranche test` as its folder holds it: messages, and what a job is to make of them.
package struct Fixture {
  /// The files of the folder by their names, those of the folder `expected` among them:
  /// `expected/window_start=2026-11-23T10-05-00Z.csv`.
  package let files: [String: [UInt8]]

  package init(files: [String: [UInt8]]) { self.files = files }

  /// Why a case cannot be tried.
  package struct Fault: Error, Equatable {
    /// Nil where it is not one file.
    package let file: String?
    package let line: Int?
    package let problem: String
    package let remedy: String
  }

  /// Any of them holds the messages.
  package static let messageFiles = ["records.csv", "records.jsonl", "messages.jsonl"]
  package static let singleResult = "expected.csv"
  package static let resultFolder = "expected"
  package static let rejects = "rejects.csv"
  package static let clock = "now"

  // MARK: - What goes in

  /// Milliseconds since 1970 UTC; nil where the case sets no clock.
  package func now() throws(Fault) -> Int64? {
    guard let bytes = files[Self.clock] else { return nil }
    let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isNewline }
    var line = text
    guard let time = line.withUTF8({ TimestampText.parse(UnsafeRawBufferPointer($0)) }) else {
      throw Fault(
        file: Self.clock, line: 1, problem: "does not hold a time",
        remedy: "Write for example 2026-11-23T10:05:00Z")
    }
    return time
  }

  package func messages(for job: Job) throws(Fault) -> FixtureMessages {
    let found = Self.messageFiles.filter { files[$0] != nil }
    guard found.count == 1, let name = found.first, let bytes = files[name] else {
      throw Fault(
        file: nil, line: nil,
        problem: found.isEmpty
          ? "holds no messages" : "holds both \(found.joined(separator: " and "))",
        remedy: "Write one of \(Self.messageFiles.joined(separator: ", "))")
    }
    let now = try now()
    do {
      return name == "messages.jsonl"
        ? try FixtureMessages(messages: bytes, job: job, now: now)
        : try FixtureMessages(records: bytes, job: job, now: now)
    } catch {
      throw Fault(file: name, line: error.line, problem: error.problem, remedy: error.remedy)
    }
  }

  // MARK: - What comes out

  /// A file of expectations that does not hold what came out.
  package struct Difference: Equatable {
    /// `expected.csv`; where it is missing, the name that it would have.
    package let file: String
    package let kind: Kind

    package enum Kind: Equatable {
      /// Something came out that no file holds.
      case unexpected(rowCount: Int)
      case missing
      /// The file cannot be read as a table of these columns.
      case header(found: [String], expected: [String])
      case unreadable(row: Int, reason: String, column: String?)
      case rows(header: String, [TableDifference])
    }
  }

  package func differences(from trial: Trial) -> [Difference] {
    var left = Set(files.keys.filter(isResult))
    var differences: [Difference] = []
    for result in trial.results {
      let name = fileName(of: result, among: trial.results)
      left.remove(name)
      if let kind = difference(files[name], result.table) {
        differences.append(Difference(file: name, kind: kind))
      }
    }
    differences += left.sorted().map { Difference(file: $0, kind: .missing) }
    let rejects = Self.table(of: trial.rejects)
    if rejects.rowCount > 0 || files[Self.rejects] != nil,
      let kind = difference(files[Self.rejects], rejects)
    {
      differences.append(Difference(file: Self.rejects, kind: kind))
    }
    return differences
  }

  private func difference(_ file: [UInt8]?, _ table: Table) -> Difference.Kind? {
    guard let file else { return .unexpected(rowCount: table.rowCount) }
    let expected = CSVTable(file, schema: table.schema)
    switch expected.faults.first {
    case .header(let names):
      return .header(found: names, expected: table.schema.columns.map(\.name))
    case .row(let row, let reason, let column):
      return .unreadable(row: row, reason: reason.rawValue, column: column)
    case .tooLong: return .unreadable(row: 1, reason: "tooLong", column: nil)
    case nil:
      let rows = table.differences(from: expected.table)
      return rows.isEmpty ? nil : .rows(header: table.csvHeader, rows)
    }
  }

  /// The files that would make a case pass; nil for one that is to be removed.
  package func update(from trial: Trial) -> [String: [UInt8]?] {
    var update: [String: [UInt8]?] = [:]
    for name in files.keys where isResult(name) || name == Self.rejects {
      update.updateValue(nil, forKey: name)
    }
    for result in trial.results {
      update[fileName(of: result, among: trial.results)] = Array(result.table.csvText.utf8)
    }
    let rejects = Self.table(of: trial.rejects)
    if rejects.rowCount > 0 { update[Self.rejects] = Array(rejects.csvText.utf8) }
    return update
  }

  private func isResult(_ name: String) -> Bool {
    name == Self.singleResult || name.hasPrefix(Self.resultFolder + "/")
  }

  /// One result needs no name, unless the case has given it one.
  private func fileName(of result: Trial.Result, among results: [Trial.Result]) -> String {
    let hasFolder = files.keys.contains { $0.hasPrefix(Self.resultFolder + "/") }
    return result.name.isEmpty || (results.count == 1 && !hasFolder)
      ? Self.singleResult : "\(Self.resultFolder)/\(result.name).csv"
  }

  private static func table(of rejects: [StoredReject]) -> Table {
    let schema = Schema([
      ColumnDefinition("topic", .string), ColumnDefinition("partition", .int32),
      ColumnDefinition("offset", .int64), ColumnDefinition("record", .int32),
      ColumnDefinition("reason", .string), ColumnDefinition("field", .string, isNullable: true),
    ])
    var columns = schema.columns.map { Column($0.type) }
    for reject in rejects {
      columns[0].append(string: reject.partition.topic)
      columns[1].append(integer: Int64(reject.partition.partition))
      columns[2].append(integer: reject.offset)
      columns[3].append(integer: Int64(reject.record))
      columns[4].append(string: reject.reason)
      if let field = reject.field {
        columns[5].append(string: field)
      } else {
        columns[5].appendNull()
      }
    }
    return Table(schema, columns: columns)
  }
}
