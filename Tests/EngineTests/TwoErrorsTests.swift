import Checkpoints
import Engine
import Foundation
import Jobs
import Logging
import Offsets
import TestSupport
import Testing
import Trials

/// A cluster that cannot be reached; something happens just before it says so.
private final class UnreachableSource: MessageSource {
  let source: String
  private let before: () -> Void

  init(_ source: String, before: @escaping () -> Void) {
    self.source = source
    self.before = before
  }

  private var error: SourceError { SourceError(.unreachable, place: source, reason: "is down") }

  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    before()
    throw error
  }
  func clusterID() throws(SourceError) -> String? { throw error }
  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
    throw error
  }
  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] {
    throw error
  }
  func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID]) throws(SourceError)
    -> [PartitionID: Offset]
  { throw error }
  func prepare(_ ranges: [PartitionRange]) throws(SourceError) { throw error }
  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    throw error
  }
  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] { throw error }
  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool { throw error }
}

/// Cannot start a thread.
private final class NoExecutor: PublishingExecutor {
  func start(_ step: @escaping @Sendable () -> PublishingStep) throws(ThreadFault) {
    throw ThreadFault(reason: "Resource temporarily unavailable")
  }
  func wake() { preconditionFailure("nobody was started") }
  func finish() { preconditionFailure("nobody was started") }
}

@Suite("A run in which two things go wrong")
struct TwoErrorsTests {
  private let folder: TemporaryFolder
  private let job: Job
  private let first = MemoryCluster(identifier: "1")
  private let second = MemoryCluster(identifier: "2")
  private let places = MemoryPlaces()

  init() throws {
    folder = try TemporaryFolder()
    job = try JobFile.parse(
      text: """
        name: two
        source:
          kafka:
            - { name: first, properties: { bootstrap.servers: "x:1" }, topics: [t] }
            - { name: second, properties: { bootstrap.servers: "y:1" }, topics: [u] }
          format: csv
          fields: { n: int64 }
        window: global
        aggregate: { by: [n], measures: { calls: count() } }
        output: { to: "file:out", format: csv }
        """, path: "two.yaml", environment: [:], readFile: { _ in nil })
    first.topics["t"] = [MemoryLog()]
    second.topics["u"] = [MemoryLog()]
    for _ in 0..<3 { first.topics["t"]?[0].append(Array("1".utf8)) }
  }

  private func run(
    _ other: any MessageSource,
    executor: @escaping @Sendable () -> any PublishingExecutor = { CallerExecutor() }
  ) throws -> [RunError] {
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
    var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
    options.publishingExecutor = executor
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: [MemorySource("first", first), other],
      storeAt: { [places] _ in places.store(at: "out") }, options: options,
      logger: Logger(label: "two") { _ in SwiftLogNoOpLogHandler() })
    return run.execute().errors
  }

  @Test(
    """
    tells both where the first makes it write down what it noticed, and that cannot be written; \
    the first gives the code
    """
  )
  func noting() throws {
    #expect(try run(MemorySource("second", second)).isEmpty)
    // Made anew, and shorter than what was read: an incident.
    first.topics["t"] = [MemoryLog()]
    let path = Checkpoint.path(ofJob: "two", folder: folder.path)
    let errors = try run(
      UnreachableSource("second") { try? FileManager.default.removeItem(atPath: path) })
    #expect(errors.map(\.code).prefix(2) == [.unreachable, .inputOutput], "\(errors)")
    guard case .source(let error) = try #require(errors.first) else {
      Issue.record("\(errors)")
      return
    }
    #expect(error.reason == "is down")
  }

  @Test("cannot publish without a thread, says so, and reads nothing")
  func noThread() throws {
    let errors = try run(MemorySource("second", second), executor: { NoExecutor() })
    #expect(errors.map(\.code) == [.lackOfResources], "\(errors)")
    #expect(places.all["out"]?.isEmpty != false)
  }
}
