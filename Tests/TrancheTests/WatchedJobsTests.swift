import Foundation
import TestSupport
import Testing

@testable import tranche

@Suite("The scheduler's look at job files")
struct WatchedJobsTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func write(_ file: String, name: String, password: String = "x") throws {
    try folder.write(
      """
      name: \(name)
      source:
        kafka:
          - name: main
            properties: { bootstrap.servers: "x:1", sasl.password: "\(password)" }
            topics: [t]
        format: csv
        fields: { v: int64 }
      trigger: { every: 10s }
      window: { tumbling: 5m }
      aggregate: { by: [], measures: { n: count() } }
      output: { to: "file:\(folder.path)/out" }
      """, to: file)
  }

  private func watch(_ paths: String...) -> WatchedJobs {
    WatchedJobs(paths.map { folder.path + $0 }, allowsCode: false)
  }

  /// The changes, a word and a file each, with the text of a fault.
  private func look(_ jobs: inout WatchedJobs) -> [String] {
    let prefix = folder.path + "/"
    return jobs.changes().map { change in
      switch change {
      case .scheduled(let file, let name, _): "scheduled \(file) \(name)"
      case .unscheduled(let file, let name): "unscheduled \(file) \(name)"
      case .faulty(let file, let text): "faulty \(file) \(text)"
      case .removed(let file): "removed \(file)"
      }
    }.map { $0.replacing(prefix, with: "") }
  }

  private func fault(_ file: String, _ name: String, _ other: String) -> String {
    "faulty \(file) \(file): the job \(name) is scheduled from \(other) already, and two of that "
      + "name would share a checkpoint. Give one of them another name:, or remove one."
  }

  @Test("takes the second of two files with one name as faulty, until the first lets it go")
  func sameName() throws {
    try write("a.yaml", name: "one")
    try write("b.yaml", name: "one")
    var jobs = watch("")
    #expect(look(&jobs) == ["scheduled a.yaml one", fault("b.yaml", "one", "a.yaml")])
    // Said once.
    #expect(look(&jobs) == [])
    try write("a.yaml", name: "two")
    #expect(look(&jobs) == ["scheduled a.yaml two", "scheduled b.yaml one"])
    try write("a.yaml", name: "one")
    #expect(look(&jobs) == [fault("a.yaml", "one", "b.yaml")])
    try FileManager.default.removeItem(atPath: folder.path + "/b.yaml")
    #expect(look(&jobs) == ["removed b.yaml", "scheduled a.yaml one"])
  }

  @Test("lets files exchange their names, and a file get another")
  func exchange() throws {
    try write("a.yaml", name: "one")
    try write("b.yaml", name: "two")
    var jobs = watch("")
    #expect(look(&jobs).count == 2)
    try write("a.yaml", name: "two")
    try write("b.yaml", name: "one")
    #expect(look(&jobs) == ["scheduled a.yaml two", "scheduled b.yaml one"])
    #expect(rename(folder.path + "/b.yaml", folder.path + "/c.yaml") == 0)
    #expect(look(&jobs) == ["removed b.yaml", "scheduled c.yaml one"])
  }

  @Test("takes one file that is given by several paths for one")
  func paths() throws {
    try write("a.yaml", name: "one")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/b.yaml", withDestinationPath: "a.yaml")
    var jobs = watch("/a.yaml", "/./a.yaml", "")
    #expect(look(&jobs) == ["scheduled a.yaml one"])
    #expect(look(&jobs) == [])
  }

  @Test("takes a job up when the file that it lacked is there, and reports the lack once")
  func lacking() throws {
    let secret = folder.path + "/secret"
    try write("a.yaml", name: "one", password: "${file:\(secret)}")
    var jobs = watch("")
    let first = look(&jobs)
    #expect(first.count == 1 && first[0].hasPrefix("faulty a.yaml a.yaml:"), "\(first)")
    #expect(look(&jobs) == [])
    try folder.write("hidden", to: "secret")
    #expect(look(&jobs) == ["scheduled a.yaml one"])
    #expect(look(&jobs) == [])
  }
}
