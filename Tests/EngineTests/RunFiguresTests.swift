import Checkpoints
import Jobs
import Offsets
import Synchronization
import TestSupport
import Testing
import Trials

@testable import Engine

@Suite("What a run tells monitoring")
struct RunFiguresTests {
  private static let partition = PartitionID(source: "main", topic: "t", partition: 0)

  /// Ten messages in batches of two.
  ///
  /// - Parameter pace: Milliseconds that every look at the clock takes.
  private func run(
    pace: Int64 = 1, _ onFigures: @escaping @Sendable (RunFigures) -> Int64
  ) throws -> RunSummary {
    let folder = try TemporaryFolder()
    let job = try JobFile.parse(
      text: """
        name: told
        source:
          kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
          format: csv
          fields: { v: int64 }
        trigger: { max_offsets: 2 }
        window: global
        aggregate: { by: [], measures: { n: count() } }
        output: { to: "file:out", format: csv }
        """, path: "x.yaml", environment: [:], readFile: { _ in nil })
    let cluster = MemoryCluster(identifier: "memory")
    cluster.create("t", partitionCount: 1)
    for _ in 0..<10 { cluster.topics["t"]?[0].append(Array("1\n".utf8)) }
    let milliseconds = Mutex<Int64>(0)
    var options = RunOptions(
      clock: { 0 },
      nanoseconds: {
        milliseconds.withLock {
          $0 += pace
          return $0 * 1_000_000
        }
      }, release: "test")
    options.onFigures = onFigures
    let places = MemoryPlaces()
    let checkpoint = try Checkpoint(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
    let (summary, errors) = try runQuietly(
      job, checkpoint, [MemorySource("main", cluster)], options
    ) { places.store(at: $0.text) }
    #expect(errors.isEmpty)
    return summary
  }

  private func count(_ figures: RunFigures, _ step: StepTimes.Step) -> Int64 {
    figures.durations.counts(of: step).reduce(0, +)
  }

  @Test("are the lags and the steps so far, behind a commit, and not again before it is asked for")
  func pauses() throws {
    let told = Mutex<[RunFigures]>([])
    _ = try run(pace: 1_000) { figures in
      told.withLock {
        $0.append(figures)
        return $0.count == 1 ? 0 : 3_600_000_000_000
      }
    }
    let all = told.withLock { $0 }
    #expect(all.map { $0.lags[Self.partition] } == [8, 6])
    #expect(all.map { count($0, .commit) } == [1, 2])
  }

  @Test("are nothing in its first 15 seconds: most runs have ended by then")
  func short() throws {
    let told = Mutex(0)
    _ = try run { _ in
      told.withLock { $0 += 1 }
      return 0
    }
    #expect(told.withLock { $0 } == 0)
  }

  @Test("are, at its end, each step of each batch, and what no batch took")
  func steps() throws {
    let summary = try run { _ in 0 }
    #expect(summary.figures.lags == [Self.partition: 0])
    for step in [StepTimes.Step.read, .decode, .fold] {
      #expect(count(summary.figures, step) == 5, "\(step)")
    }
    // The last plan finds nothing, and the last commit marks what was published.
    #expect(count(summary.figures, .plan) == 6 && count(summary.figures, .commit) == 6)
    #expect(count(summary.figures, .discover) == 1)
    #expect(count(summary.figures, .publish) > 0)
    let times = summary.runTimes[.fold]
    #expect(times > 0 && summary.figures.durations.nanoseconds(of: .fold) == times)
    #expect(
      summary.figures.durations.nanoseconds(of: .publish) == summary.publisherTimes[.publish])
  }
}
