import Foundation
import GRDB
import Glibc
import Offsets
import TestSupport
import Testing

@testable import Checkpoints

private let partition = PartitionID(source: "main", topic: "t", partition: 0)

@Suite("A copy of a checkpoint")
struct CopyTests {
  private let folder: TemporaryFolder
  private var path: String { folder.path + "/calls.sqlite" }

  init() throws {
    folder = try TemporaryFolder(inMemory: true)
    let checkpoint = try open(folder, job())
    try checkpoint.start([partition: 0])
    try commit(checkpoint, [("a", 1), ("b", 2)])
    try checkpoint.addOwnerToken("first", seen: nil)
    try checkpoint.addOwnerToken("newest", seen: nil)
    checkpoint.close()
  }

  private func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }

  private func tokens(_ path: String) throws -> [String] {
    try DatabaseQueue(path: path).read { try Checkpoint.ownerTokens(in: $0) }
  }

  private func execute(_ sql: String, on path: String) throws {
    let queue = try DatabaseQueue(path: path)
    try queue.writeWithoutTransaction {
      try $0.execute(sql: "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; \(sql)")
    }
    try queue.close()
  }

  @Test("is whole and sound, has the rights of the file, and is gone with its owner")
  func whole() throws {
    chmod(path, 0o640)
    let before = try names()
    do {
      let copy = try CheckpointCopy(of: path, job: job(), in: folder.path)
      #expect(try CheckpointReader(path: copy.path, job: job()).problems(job: job()) == [])
      #expect(try tokens(copy.path) == ["first", "newest"] && !copy.isBesideRun)
      #expect(try CheckpointReader(path: copy.path).status().recordCount == 2)
      var facts = stat()
      #expect(stat(copy.path, &facts) == 0 && facts.st_mode & 0o777 == 0o640)
    }
    #expect(try names() == before)
  }

  @Test("takes what a run has committed and not merged into the file, and does not disturb it")
  func besideARun() throws {
    let checkpoint = try open(folder, job())
    try commit(checkpoint, [("a", 3)])
    let copy = try CheckpointCopy(of: path, in: folder.path)
    try commit(checkpoint, [("b", 4)])
    #expect(try CheckpointReader(path: copy.path).status().recordCount == 3)
    #expect(try CheckpointReader(path: path).status().recordCount == 4)
  }

  /// What the run writes behind the copy bears the run's token.
  @Test("made beside a run does not know that run's token; made by the run itself it knows it")
  func newestToken() throws {
    let checkpoint = try open(folder, job())
    let copy = try CheckpointCopy(of: path, in: folder.path)
    #expect(try tokens(copy.path) == ["first"] && copy.isBesideRun)
    let own = try CheckpointCopy(of: path, in: folder.path, byItsRun: true)
    #expect(try tokens(own.path) == ["first", "newest"] && !own.isBesideRun)
    #expect(try checkpoint.ownerTokens() == ["first", "newest"])
  }

  @Test("is not made of another job's state, of another program's file, or of a damaged one")
  func refused() throws {
    func problem(_ path: String, job name: String = "calls") throws -> String {
      let error = #expect(throws: CheckpointError.self) {
        try CheckpointCopy(of: path, job: job(name), in: folder.path)
      }
      return error?.description ?? ""
    }
    #expect(try problem(path, job: "other").contains("belongs to the job calls"))
    try folder.write("no database, whatever its name says", to: "other.sqlite")
    #expect(try problem(folder.path + "/other.sqlite").contains("is damaged"))
    #expect(try problem(folder.path + "/none.sqlite").contains("there is no checkpoint yet"))
    #expect(try !names().contains { $0.hasSuffix(".copy") })
  }

  @Test("that a dead process left is removed by the next one, and one that is being made is not")
  func leftovers() throws {
    try folder.write("half", to: ".calls.dead.copy")
    try folder.write("log", to: ".calls.dead.copy-wal")
    try folder.write("another job's", to: ".other.dead.copy")
    let first = try CheckpointCopy(of: path, in: folder.path)
    let second = try CheckpointCopy(of: path, in: folder.path)
    #expect(try CheckpointReader(path: first.path).problems() == [])
    #expect(try CheckpointReader(path: second.path).problems() == [])
    let left = try names().filter { $0.hasPrefix(".") && !$0.hasPrefix(".calls.dead") }
    #expect(left.contains(".other.dead.copy"))
    #expect(try !names().contains { $0.hasPrefix(".calls.dead") })
  }

  @Test("takes no place on which something stands, unless that is to be replaced")
  func move() throws {
    let copy = try CheckpointCopy(of: path, in: folder.path)
    let error = #expect(throws: CheckpointError.self) { try copy.move(to: path) }
    guard case .exists? = error?.code else { return _ = Issue.record("\(error as Any)") }
    try copy.move(to: folder.path + "/there")
    #expect(try CheckpointReader(path: folder.path + "/there").problems() == [])
  }

  @Test(
    "with something wrong in it is told, with the table and the row",
    arguments: [
      ("UPDATE partitions SET next_offset = 1", "ends at 2 of main/t[0], whose next_offset is 1"),
      (
        "UPDATE partitions SET start_offset = 9",
        "next_offset is 2, which is not above start_offset 9"
      ),
      ("DELETE FROM partitions", "names a row that partitions does not have"),
      ("DELETE FROM window_offsets", "records is 2, and window_offsets tells of 0"),
      ("DELETE FROM groups", "window has no groups in groups"),
      ("DELETE FROM windows", "does not belong to a window"),
      ("UPDATE batches SET offsets = 3", "offsets is 3, and ranges holds 2 offsets"),
      ("UPDATE batches SET ranges = 'x'", "ranges does not hold ranges of offsets"),
      ("UPDATE batches SET counted = 3", "counted is 3, which is not in 0 to 2"),
      ("UPDATE outputs SET published_revision = 9", "published_revision is 9"),
      ("UPDATE outputs SET object_key = '../x'", "object_key is not a key that Tranche makes"),
      ("UPDATE checkpoint SET next_batch = 1", "next_batch is 1, and batch 1 is committed"),
      ("UPDATE checkpoint SET checkpoint_id = ''", "checkpoint_id is empty"),
      ("UPDATE job_settings SET value = 'x' WHERE key = 'output.to'", "is not a valid place"),
      ("INSERT INTO in_flight VALUES (1, 2, '', '[]', NULL, NULL)", "ranges does not hold ranges"),
      (
        "INSERT INTO results (object_key, byte_count, bytes) VALUES ('part-0.csv', 7, x'00')",
        "byte_count is 7, and there are 1 bytes"
      ),
      ("UPDATE groups SET key = CAST(x'ff' AS TEXT) WHERE key = 'a'", "is not UTF-8"),
      (
        "INSERT INTO reject_totals VALUES ('nonsense', 1)", "reason is not a known reason"
      ),
    ])
  func problems(sql: String, problem: String) throws {
    try execute(sql, on: path)
    let found = try CheckpointReader(path: path).problems(job: job())
    #expect(found.contains { $0.contains(problem) }, "\(found)")
  }

  @Test("with a damaged page is told as SQLite tells it")
  func damagedPage() throws {
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    // The root of a table: a byte of its header says what kind of page it is.
    let root = try DatabaseQueue(path: path).read {
      try Int.fetchOne($0, sql: "SELECT rootpage FROM sqlite_schema WHERE name = 'groups'")
    }
    bytes[(try #require(root) - 1) * 4_096] = 0
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let reader = try CheckpointReader(path: path)
    let problems = try reader.problems()
    #expect(!problems.isEmpty)
  }
}
