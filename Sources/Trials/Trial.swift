package import Checkpoints
package import Engine
internal import Formats
package import Jobs
internal import Logging
package import Offsets
package import Tables
internal import Windows

/// What a job makes of some messages, from the first step to the last: the same run as any other,
/// with a source and a store in memory and a checkpoint that nobody keeps.
package struct Trial {
  /// One object, as the job would render it.
  package struct Result {
    /// The object's folder below `output.to`, such as `window_start=2026-11-23T10-05-00Z`; empty
    /// where the job has one object.
    package let name: String
    /// For a person: from when to when.
    package let title: String
    package let table: Table
  }

  package let summary: RunSummary
  /// What ended the run early, first.
  package let errors: [RunError]
  /// In the order of their names.
  package let results: [Result]
  /// In the order of their records.
  package let rejects: [StoredReject]

  /// - Parameters:
  ///   - messages: Ascending by offset within each partition.
  ///   - folder: Where the checkpoint lies meanwhile; empty.
  ///   - now: The run's clock, milliseconds since 1970 UTC.
  ///   - nanoseconds: As ``RunOptions/nanoseconds``.
  /// - Throws: `CheckpointError`, where the folder cannot be used.
  package init(
    of job: Job, on messages: [CopiedMessage], folder: String, now: Int64,
    nanoseconds: @escaping @Sendable () -> Int64, release: String
  ) throws {
    let job = job.forTrial
    let checkpoint = try Checkpoint(
      job: job, folder: folder, holder: "a trial", now: now, release: "tranche \(release)")
    defer { checkpoint.close() }
    let bySource = Dictionary(grouping: messages, by: \.partition.source)
    let sources = job.clusters.map { cluster in
      MemorySource(
        cluster.name,
        MemoryCluster(
          identifier: cluster.name, topics: cluster.topics, messages: bySource[cluster.name] ?? []))
    }
    let places = MemoryPlaces()
    var options = RunOptions(clock: { now }, nanoseconds: nanoseconds, release: release)
    options.holdsBack = false
    options.publishingExecutor = { CallerExecutor() }
    let run = try Run(
      job: job, checkpoint: checkpoint, sources: sources,
      storeAt: { _ in places.store(at: Self.place) }, options: options,
      logger: Logger(label: "trial") { _ in SwiftLogNoOpLogHandler() })
    (summary, errors) = run.execute()

    let reader = try CheckpointReader(path: checkpoint.path)
    let windows = job.window.keepsState ? try reader.windows() : []
    let titles = Dictionary(
      windows.map { (ObjectKeys.window($0, of: job), job.window.title(of: $0)) }
    ) { first, _ in first }
    results = (places.all[Self.place] ?? [:]).filter {
      !$0.key.hasPrefix(ObjectKeys.ownFolder + "/")
    }.sorted { $0.key < $1.key }.map { key, bytes in
      let name = key.split(separator: "/").dropLast().joined(separator: "/")
      return Result(
        name: name, title: titles[key] ?? name,
        table: CSVTable(bytes, schema: job.outputSchema).table)
    }
    rejects = try (reader.publishedOutputs() + reader.dirtyOutputs()).filter { $0.kind == .rejects }
      .flatMap { output in
        guard case .rejects(let rejects) = try reader.content(of: output, job: job).content else {
          return [StoredReject]()
        }
        return rejects
      }.sorted { ($0.partition, $0.offset, $0.record) < ($1.partition, $1.offset, $1.record) }
  }

  private static let place = "trial"
}
