/// What `tranche checkpoint check` found, for programs.
package func checkpointReport(path: String, problems: [String], groupsRead: Bool) throws -> String {
  struct Report: Encodable {
    let path: String
    let problems: [String]
    let groupsRead: Bool
  }
  return try jsonLine(Report(path: path, problems: problems, groupsRead: groupsRead))
}
