import Checkpoints
import Jobs
import Logging
import ObjectStorage
import Synchronization
import Trials

@testable import Engine

/// A run over sources in memory, which publishes on the caller's thread.
///
/// - Parameter onCommit: Gets the clock's seconds, and may move it.
func runInMemory(
  _ job: Job, _ checkpoint: Checkpoint, _ sources: [any MessageSource],
  onCommit: (RunProgress, inout Int64) -> Void
) throws -> (summary: RunSummary, errors: [RunError]) {
  let seconds = Mutex<Int64>(0)
  return try withoutActuallyEscaping(onCommit) { onCommit in
    nonisolated(unsafe) let onCommit = onCommit
    var options = RunOptions(
      clock: { 0 }, nanoseconds: { seconds.withLock { $0 } * 1_000_000_000 }, release: "test")
    options.onProgress = { progress in seconds.withLock { onCommit(progress, &$0) } }
    let places = MemoryPlaces()
    return try runQuietly(job, checkpoint, sources, options) { places.store(at: $0.text) }
  }
}

/// A run that publishes on the caller's thread, and logs nothing.
func runQuietly(
  _ job: Job, _ checkpoint: Checkpoint, _ sources: [any MessageSource],
  _ options: RunOptions = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test"),
  storeAt: @escaping (Job.Output.Destination) throws -> any ObjectStore
) throws -> (summary: RunSummary, errors: [RunError]) {
  var options = options
  options.publishingExecutor = { CallerExecutor() }
  return try Run(
    job: job, checkpoint: checkpoint, sources: sources, storeAt: storeAt, options: options,
    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  ).execute()
}

/// A job that counts the numbers of a topic, in one window.
///
/// - Parameter more: Further keys of the job file.
func countingJob(output: String, _ more: String = "") throws -> Job {
  try JobFile.parse(
    text: """
      name: calls
      source:
        kafka: [{ name: main, properties: { bootstrap.servers: "x:1" }, topics: [t] }]
        format: csv
        fields: { n: int64 }
      window: global
      aggregate: { by: [n], measures: { calls: count() } }
      output: { \(output), format: csv }
      \(more)
      """, path: "calls.yaml", environment: [:], readFile: { _ in nil })
}
