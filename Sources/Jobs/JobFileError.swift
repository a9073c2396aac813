internal import Escaping

/// One fault of a job file: where it is, what is wrong, and what would do.
package struct JobFileError: Error, Equatable, CustomStringConvertible {
  package let file: String
  /// From 1.
  package let line: Int
  /// From 1; nil where the line is all that is known.
  package let column: Int?
  /// For example `output.s3.region`; empty for the file as a whole.
  package let key: String
  /// As written; nil where it is a secret or there is none.
  package let value: String?
  package let problem: String
  package let remedy: String

  package init(
    file: String, line: Int, column: Int? = nil, key: String, value: String?, problem: String,
    remedy: String
  ) {
    self.file = file
    self.line = line
    self.column = column
    self.key = key
    self.value = value
    self.problem = problem
    self.remedy = remedy
  }

  /// `jobs/calls.yaml:12: source.format: "cvs" is not one of the values. Did you mean csv?`
  package var description: String {
    let place = "\(ForeignText.escaped(file)):\(line)" + (column.map { ":\($0)" } ?? "")
    let key = key.isEmpty ? "" : " \(ForeignText.quoted(key)):"
    return "\(place):\(key) \(fault)"
  }

  /// What is wrong and what would do, without the place.
  package var fault: String {
    let words = value.map { "\"\(ForeignText.quoted($0))\" " } ?? ""
    let problem = ForeignText.quoted(problem, byteLimit: 1_000)
    let end = [".", "?", "!"].contains(where: problem.hasSuffix) ? "" : "."
    return "\(words)\(problem)\(end) \(ForeignText.quoted(remedy, byteLimit: 1_000))"
  }
}

/// All faults of a job file, in the order of their lines.
package struct JobFileErrors: Error, Equatable, CustomStringConvertible {
  package let errors: [JobFileError]

  package var description: String { errors.map(\.description).joined(separator: "\n") }
}
