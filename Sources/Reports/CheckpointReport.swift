/// What `tranche checkpoint check` found, for programs.
package func checkpointReport(path: String, problems: [String]) throws -> String {
  struct Report: Encodable {
    let path: String
    let problems: [String]
  }
  return try jsonLine(Report(path: path, problems: problems))
}
