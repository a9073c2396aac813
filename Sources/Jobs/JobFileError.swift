internal import Escaping

/// One fault of a job file: where it is, what is wrong, and what would do.
package struct JobFileError: Error, Equatable, CustomStringConvertible {
  package let file: String
  /// From 1.
  package let line: Int
  /// For example `output.s3.region`; empty for the file as a whole.
  package let key: String
  /// As written; nil where it is a secret or there is none.
  package let value: String?
  package let problem: String
  package let remedy: String

  /// `jobs/calls.yaml:12: source.format: "cvs": is not a format. Use csv or json.`
  package var description: String {
    let file = ForeignText.escaped(file)
    let place = key.isEmpty ? "\(file):\(line)" : "\(file):\(line): \(ForeignText.quoted(key))"
    let words = value.map { "\"\(ForeignText.quoted($0))\" " } ?? ""
    return
      "\(place): \(words)\(ForeignText.quoted(problem, byteLimit: 1_000)). "
      + "\(ForeignText.quoted(remedy, byteLimit: 1_000))"
  }
}

/// All faults of a job file, in the order of their lines.
package struct JobFileErrors: Error, Equatable, CustomStringConvertible {
  package let errors: [JobFileError]

  package var description: String { errors.map(\.description).joined(separator: "\n") }
}
