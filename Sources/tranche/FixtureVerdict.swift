import Engine
import Reports
import Trials

/// What became of a case.
struct FixtureVerdict {
  let job: String
  let name: String
  let folder: String
  var trial: Trial?
  var outcome = Outcome.same

  enum Outcome {
    case same
    case updated(isChanged: Bool)
    case differs([Fixture.Difference])
    /// Why nothing can be compared.
    case failed([String])
  }

  var isGood: Bool {
    switch outcome {
    case .same, .updated: true
    case .differs, .failed: false
    }
  }

  private var counts: String {
    guard let summary = trial?.summary, let results = trial?.results.count else { return "" }
    return ": \(counted(summary.recordCount, "record")), "
      + "\(grouped(summary.rejectedCount)) rejected, "
      + (summary.tombstoneCount > 0 ? "\(skippedTombstones(summary.tombstoneCount)), " : "")
      + counted(results, "result")
  }

  func tell() {
    switch outcome {
    case .same: printText("\(folder): as expected\(counts)")
    case .updated(true): printText("\(folder): written\(counts)")
    case .updated(false): printText("\(folder): as it was\(counts)")
    case .differs(let differences):
      printText("\(folder): NOT AS EXPECTED\(counts)")
      for difference in differences {
        for line in difference.lines { printText("  \(line)") }
      }
    case .failed(let messages):
      printText("\(folder): FAILED")
      for message in messages { printError("tranche: \(message)") }
    }
  }

  struct Report: Encodable {
    struct Difference: Encodable {
      let file: String
      let row: Int?
      let expected: String?
      let got: String?
      let problem: String?
    }
    let job, name, result: String
    let records, rejected: Int64?
    let results: Int?
    let differences: [Difference]?
    let errors: [String]?

    enum CodingKeys: String, CodingKey {
      case job, result, records, rejected, results, differences, errors
      case name = "case"
    }
  }

  var report: Report {
    var differences: [Report.Difference]?
    var errors: [String]?
    let result: String
    switch outcome {
    case .same: result = "same"
    case .updated: result = "updated"
    case .differs(let all):
      result = "differs"
      differences = all.flatMap(\.reports)
    case .failed(let messages):
      result = "failed"
      errors = messages
    }
    return Report(
      job: job, name: name, result: result, records: trial?.summary.recordCount,
      rejected: trial?.summary.rejectedCount, results: trial?.results.count,
      differences: differences, errors: errors)
  }
}

extension Fixture.Difference {
  private static let shownRowCount = 20

  private var problem: String? {
    switch kind {
    case .unexpected(let count):
      "nothing of this was expected: \(counted(count, "row")). "
        + "With --update, tranche test writes the file"
    case .missing: "is expected, and there is no such result"
    case .header(let found, let expected):
      "has the columns \(found.joined(separator: ",")), and the result has "
        + expected.joined(separator: ",")
    case .unreadable(let row, let reason, let column):
      "row \(row) cannot be read: \(reason)" + (column.map { " in \($0)" } ?? "")
    case .rows: nil
    }
  }

  /// For a person: what was expected behind a minus, what came out behind a plus.
  fileprivate var lines: [String] {
    guard case .rows(let header, let rows) = kind else { return ["\(file): \(problem ?? "")"] }
    var lines = ["\(file):", "    \(header)"]
    for row in rows.prefix(Self.shownRowCount) {
      lines.append("  row \(row.row)")
      if let expected = row.expected { lines.append("  - \(expected)") }
      if let got = row.got { lines.append("  + \(got)") }
    }
    if rows.count > Self.shownRowCount {
      lines.append("  ... and \(rows.count - Self.shownRowCount) more")
    }
    return lines
  }

  fileprivate var reports: [FixtureVerdict.Report.Difference] {
    guard case .rows(_, let rows) = kind else {
      return [.init(file: file, row: nil, expected: nil, got: nil, problem: problem)]
    }
    return rows.map {
      .init(file: file, row: $0.row, expected: $0.expected, got: $0.got, problem: nil)
    }
  }
}

extension Fixture.Fault {
  func text(folder: String) -> String {
    let place = [file, line.map(String.init)].compactMap(\.self).joined(separator: ":")
    return "\(place.isEmpty ? folder : "\(folder)/\(place)"): \(problem). \(remedy)."
  }
}
