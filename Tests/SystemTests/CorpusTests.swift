import Foundation
import TestSupport
import Testing

@Suite("A corpus of messages as services write them")
struct CorpusTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Corpus")

  @Test("is read by every job as duckdb reads it", arguments: try corpora())
  func corpus(name: String) throws {
    let stack = try TestStack()
    let count = try stack.python(
      "SystemTests/corpus.py", [stack.binary, Self.folder.appending(path: name).path])
    #expect((Int(count.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0) > 20)
  }

  private static func corpora() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }
}
