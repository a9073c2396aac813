import Checkpoints
import Engine
import Testing

@testable import tranche

/// What the rule is given, and what it must answer.
private struct Row: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var option: String?
  var trancheCheckpoints: String?
  var stateDirectory: String?
  var jobFolder: String? = "/srv/t/jobs"
  var besideJob: UInt64?
  var inWorkingFolder: UInt64?
  var answer: Answer

  enum Answer: Sendable {
    case use(String)
    case useWorkingFolder(String)
    case refuse(String)
    case unknown
  }
}

private let rows: [Row] = [
  Row(testDescription: "a jobs folder", answer: .use("/srv/t/checkpoints")),
  Row(
    testDescription: "a folder of another name", jobFolder: "/srv/t/defs",
    answer: .use("/srv/t/defs/checkpoints")),
  Row(testDescription: "the root", jobFolder: "/", answer: .use("/checkpoints")),
  Row(testDescription: "jobs in the root", jobFolder: "/jobs", answer: .use("/checkpoints")),
  Row(
    testDescription: "a folder that only begins with jobs", jobFolder: "/srv/jobs2",
    answer: .use("/srv/jobs2/checkpoints")),
  Row(testDescription: "found beside the job", besideJob: 1, answer: .use("/srv/t/checkpoints")),
  Row(
    testDescription: "found in the working folder only", inWorkingFolder: 1,
    answer: .useWorkingFolder("/srv/t/checkpoints")),
  Row(
    testDescription: "found at both, one file", besideJob: 1, inWorkingFolder: 1,
    answer: .use("/srv/t/checkpoints")),
  Row(
    testDescription: "found at both, two files", besideJob: 1, inWorkingFolder: 2,
    answer: .refuse("/srv/t/checkpoints")),
  Row(testDescription: "the option", option: "x", answer: .use("x")),
  Row(
    testDescription: "the option before all else", option: "x", trancheCheckpoints: "y",
    stateDirectory: "/z", besideJob: 1, inWorkingFolder: 2, answer: .use("x")),
  Row(testDescription: "the variable", trancheCheckpoints: "y", answer: .use("y")),
  Row(
    testDescription: "the variable before systemd's", trancheCheckpoints: "y", stateDirectory: "/z",
    besideJob: 1, inWorkingFolder: 2, answer: .use("y")),
  Row(
    testDescription: "an empty variable", trancheCheckpoints: "", stateDirectory: "/z",
    answer: .use("/z")),
  Row(
    testDescription: "the first of systemd's", stateDirectory: "/var/lib/a:/var/lib/b",
    besideJob: 1, inWorkingFolder: 2, answer: .use("/var/lib/a")),
  Row(
    testDescription: "standard input", jobFolder: nil, besideJob: 1, inWorkingFolder: 2,
    answer: .unknown),
  Row(
    testDescription: "standard input with the option", option: "x", jobFolder: nil,
    answer: .use("x")),
  Row(
    testDescription: "an empty one of systemd's", stateDirectory: "",
    answer: .use("/srv/t/checkpoints")),
]

@Suite("Where state lies")
struct StateFolderTests {
  @Test("is decided by one rule", arguments: rows)
  private func rule(row: Row) {
    func identity(_ inode: UInt64?) -> FileIdentity? {
      inode.map { FileIdentity(device: 7, inode: $0) }
    }
    let found = stateFolder(
      StateFolderFacts(
        option: row.option, trancheCheckpoints: row.trancheCheckpoints,
        stateDirectory: row.stateDirectory, jobFolder: row.jobFolder,
        besideJob: identity(row.besideJob), inWorkingFolder: identity(row.inWorkingFolder)))
    switch row.answer {
    case .use(let folder): #expect(found == .use(folder))
    case .useWorkingFolder(let folder): #expect(found == .useWorkingFolder(insteadOf: folder))
    case .refuse(let folder): #expect(found == .refuse(beside: folder))
    case .unknown: #expect(found == .unknown)
    }
  }

  @Test("files of one inode number on two devices are two files")
  func devices() {
    #expect(FileIdentity(device: 1, inode: 5) != FileIdentity(device: 2, inode: 5))
  }

  @Test("says that it uses the working folder's checkpoint, and where it should be")
  func notice() throws {
    let folder = StateFolder.useWorkingFolder(insteadOf: "/srv/t/checkpoints")
    #expect(
      folder.notice(job: "calls") == """
        tranche: using checkpoints/calls.sqlite of the current folder, because there is none in \
        /srv/t/checkpoints. Move it there, with its -wal and -shm, or name its folder with \
        --checkpoints.
        """)
    #expect(try folder.path(job: "calls") == "checkpoints")
    #expect(StateFolder.use("/x").notice(job: "calls") == nil)
  }

  @Test("refuses two checkpoints with 78 and names both")
  func refusal() {
    #expect {
      _ = try StateFolder.refuse(beside: "/srv/t/checkpoints").path(job: "calls")
    } throws: { error in
      guard let error = error as? CommandError else { return false }
      return error.code.exitCode == 78
        && error.message == """
          calls: there are two checkpoints: /srv/t/checkpoints/calls.sqlite, where the job file \
          leads to, and checkpoints/calls.sqlite of the current folder. Nothing was read. Name the \
          folder of the right one with --checkpoints, or move the other away, with its -wal and \
          -shm.
          """
    }
  }
}
