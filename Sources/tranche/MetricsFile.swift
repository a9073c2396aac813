import ArgumentParser
import Checkpoints
import Engine
import Glibc
import Jobs
import Reports
import Synchronization

struct MetricsOption: ParsableArguments {
  @Option(
    name: .customLong("metrics-file"),
    help: ArgumentHelp(
      "Write metrics for Prometheus into this file, one file a job.",
      discussion: """
        For the textfile collector of node_exporter, which reads files named *.prom. The file is \
        replaced at once, whatever the outcome, and now and then in a long run.
        """, valueName: "path"), completion: .file(extensions: ["prom"]))
  var path: String?

  var file: MetricsFile? { path.map(MetricsFile.init) }
}

/// A file of metrics, which is replaced as a whole.
struct MetricsFile: Sendable {
  /// A longer file was not written by a run.
  private static let byteLimit = 16 << 20
  /// How long another process may take that replaces a file of the folder.
  private static let lockMilliseconds: Int64 = 1_000

  let path: String

  /// Nothing where there is no such file yet, or where it is none of ours.
  func metrics() -> Metrics {
    var facts = stat()
    guard lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG,
      let bytes = fileBytes(path, byteLimit: Self.byteLimit)
    else { return Metrics() }
    return Metrics(text: String(decoding: bytes, as: UTF8.self))
  }

  /// Replaces what the file holds. Nobody else who does so comes between.
  ///
  /// - Throws: ``CommandError`` with code `inputOutput`; the file is as it was then.
  func update(_ body: (_ before: Metrics) -> Metrics) throws(CommandError) {
    let lock = lockFolder()
    defer { if lock >= 0 { close(lock) } }
    try write(body(metrics()).text)
  }

  /// The folder's lock, so that no file lies beside those that the collector reads.
  ///
  /// - Returns: Below 0 where it cannot be had, which harms only who writes at the same time.
  private func lockFolder() -> Int32 {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return -1 }
    let deadline = uptimeNanoseconds() + Self.lockMilliseconds * 1_000_000
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
      && uptimeNanoseconds() < deadline
    {
      usleep(1_000)
    }
    return descriptor
  }

  private var folder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private func write(_ text: String) throws(CommandError) {
    // The collector takes whatever ends in .prom.
    let temporary = "\(path).\(getpid()).new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw fault() }
    // Whatever the umask, the collector is another user.
    var isWritten = fchmod(descriptor, 0o644) == 0
    var text = text
    text.withUTF8 { bytes in
      var rest = UnsafeRawBufferPointer(bytes)
      while isWritten, !rest.isEmpty {
        let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
        isWritten = count > 0 || (count < 0 && errno == EINTR)
        rest = UnsafeRawBufferPointer(rebasing: rest[max(0, count)...])
      }
    }
    isWritten = isWritten && rename(temporary, path) == 0
    let number = errno
    close(descriptor)
    guard !isWritten else { return }
    unlink(temporary)
    errno = number
    throw fault()
  }

  private func fault() -> CommandError {
    CommandError(
      .inputOutput,
      """
      \(path): the metrics cannot be written: \(String(cString: strerror(errno))). The file is as \
      it was. Make its folder writable for this user, or name another file with --metrics-file.
      """)
  }
}

/// What `--metrics-file` shows of a run: now and then while it goes on, and its end.
///
/// A file that cannot be written is told, and harms no run: a monitor notices that it grows old.
final class RunMetrics: Sendable {
  /// Between two writes, and so many times as long as one takes.
  private static let pauseNanoseconds: Int64 = 15_000_000_000
  private static let pauseFactor: Int64 = 50

  private let file: MetricsFile
  /// Of a job whose file cannot be read.
  private let jobName: String
  private let state = Mutex(State())

  private struct State {
    var job: (job: Job, folder: String?)?
    /// What the file held when the run took the job's lock; nil where it did not.
    var before: Metrics?
    var hasEnded = false
    var isFaultTold = false
  }

  init(_ file: MetricsFile, _ options: JobOptions) {
    self.file = file
    jobName = options.naming.name ?? JobFile.fileName(options.file)
  }

  /// The job file is valid.
  ///
  /// - Parameter folder: Of its checkpoint; nil where two could be meant.
  func know(_ job: Job, folder: String?) { state.withLock { $0.job = (job, folder) } }

  /// The run holds the job's lock from now on, until ``end(_:_:)`` was called.
  func begin() { state.withLock { $0.before = file.metrics() } }

  /// - Returns: For how many nanoseconds nothing is to be told.
  func tell(_ figures: RunFigures) -> Int64 {
    let began = uptimeNanoseconds()
    write(figures, exitCode: nil)
    return max(Self.pauseNanoseconds, (uptimeNanoseconds() - began) * Self.pauseFactor)
  }

  /// Another run holds the job, and writes the file.
  func leave() { state.withLock { $0.hasEnded = true } }

  /// Only the first call counts.
  func end(_ exitCode: Int32, _ figures: RunFigures = RunFigures()) {
    let isFirst = state.withLock { state in
      defer { state.hasEnded = true }
      return !state.hasEnded
    }
    if isFirst { write(figures, exitCode: StandardStreams.exitCode(ofWork: exitCode)) }
  }

  private func write(_ figures: RunFigures, exitCode: Int32?) {
    let (job, before) = state.withLock { ($0.job, $0.before) }
    do {
      if let (job, folder) = job {
        var facts =
          folder.map { metricFacts(job, folder: $0) }
          ?? MetricFacts(job: job.name, now: nowMilliseconds())
        facts.lags = figures.lags
        var run = MetricFacts.Run()
        run.durations = figures.durations
        run.exitCode = exitCode
        facts.run = run
        try file.update { Metrics(facts, before: before ?? $0) }
      } else if let exitCode {
        try file.update { before in
          var metrics = before
          metrics.note(exitCode: exitCode, job: jobName, now: nowMilliseconds())
          return metrics
        }
      }
    } catch {
      let isNew = state.withLock { state in
        defer { state.isFaultTold = true }
        return !state.isFaultTold
      }
      if isNew { printError(error.message, words: "tranche: \(error.message)") }
    }
  }
}

/// What the files of a job's state tell; without ``MetricFacts/state`` where they cannot be read:
/// a run tells why.
func metricFacts(_ job: Job, folder: String) -> MetricFacts {
  let status = try? existingReader(of: job, folder: folder)?.status()
  return metricFacts(job, folder: folder, status: status)
}

/// - Parameters:
///   - status: Nil where the job has never run.
///   - preview: Tells the lags; nil where the brokers were not asked, or did not say.
func metricFacts(
  _ job: Job, folder: String, status: CheckpointStatus?, _ preview: PlanPreview? = nil
) -> MetricFacts {
  var facts = MetricFacts(job: job.name, now: nowMilliseconds())
  for found in preview?.partitions ?? [] { facts.lags[found.partition] = found.lag }
  guard let status else { return facts }
  let path = Checkpoint.path(ofJob: job.name, folder: folder)
  facts.state = MetricFacts.State(
    status,
    upToDate: RunLock.upToDate(path: Checkpoint.lockPath(ofJob: job.name, folder: folder)),
    byteCount: [path, path + "-wal"].reduce(0) { $0 + byteCount($1) })
  return facts
}

private func byteCount(_ path: String) -> Int64 {
  var facts = stat()
  return stat(path, &facts) == 0 ? Int64(facts.st_size) : 0
}
