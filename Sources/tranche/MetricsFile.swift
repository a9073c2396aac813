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
    guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG,
      let bytes = fileBytes(path, byteLimit: Self.byteLimit)
    else { return Metrics() }
    return Metrics(text: String(decoding: bytes, as: UTF8.self))
  }

  /// Replaces what the file holds. Nobody else who does so comes between.
  ///
  /// - Throws: ``CommandError`` with code `inputOutput`; the file is as it was then.
  func update(_ body: (_ before: Metrics) -> Metrics) throws(CommandError) {
    let target = try self.target()
    let lock = self.lock(folderOf: target)
    defer { if lock >= 0 { close(lock) } }
    try write(body(metrics()).text, to: target)
  }

  /// Where the path leads to. A link stays; a device, a pipe or a folder is not replaced by a file.
  private func target() throws(CommandError) -> String {
    var facts = stat()
    if lstat(path, &facts) != 0 { return path }
    guard stat(path, &facts) == 0 else { throw fault(String(cString: strerror(errno))) }
    guard facts.st_mode & S_IFMT == S_IFREG else { throw fault("It is not a regular file") }
    return resolvedPath(path)
  }

  /// The folder's lock, so that no file lies beside those that the collector reads.
  ///
  /// - Returns: Below 0 where it cannot be had, which harms only who writes at the same time.
  private func lock(folderOf target: String) -> Int32 {
    let descriptor = open(folder(of: target), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return -1 }
    let deadline = uptimeNanoseconds() + Self.lockMilliseconds * 1_000_000
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
      && uptimeNanoseconds() < deadline
    {
      usleep(1_000)
    }
    return descriptor
  }

  private func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private func write(_ text: String, to target: String) throws(CommandError) {
    // The collector takes whatever ends in .prom.
    let temporary = "\(target).\(getpid()).new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw fault(String(cString: strerror(errno))) }
    var text = text
    // Whatever the umask, the collector is another user.
    let failure =
      fchmod(descriptor, 0o644) != 0
      ? errno
      : text.withUTF8 { StandardStreams.write(UnsafeRawBufferPointer($0), to: descriptor) }
        ?? (rename(temporary, target) == 0 ? nil : errno)
    close(descriptor)
    guard let failure else { return }
    unlink(temporary)
    throw fault(String(cString: strerror(failure)))
  }

  private func fault(_ reason: String) -> CommandError {
    CommandError(
      .inputOutput,
      """
      \(path): the metrics cannot be written: \(reason). The file is as it was. Make its folder \
      writable for this user, or name another file with --metrics-file.
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
    /// When the run took the job's lock, and what the file held then; nil where it did not.
    var began: (at: Int64, steps: Metrics)?
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
  func begin() {
    state.withLock { $0.began = (nowMilliseconds(), file.metrics()) }
    write(RunFigures(), exitCode: nil, kept: [.lags])
  }

  /// - Returns: For how many nanoseconds nothing is to be told.
  func tell(_ figures: RunFigures) -> Int64 {
    let began = uptimeNanoseconds()
    write(figures, exitCode: nil, kept: [.dirtyOutputs])
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
    if isFirst { write(figures, exitCode: StandardStreams.exitCode(ofWork: exitCode), kept: []) }
  }

  private func write(_ figures: RunFigures, exitCode: Int32?, kept: Set<MetricFacts.Kept>) {
    let (job, began) = state.withLock { ($0.job, $0.began) }
    do {
      if let (job, folder) = job {
        var run = MetricFacts.Run()
        run.durations = figures.durations
        run.startedAt = began?.at
        run.exitCode = exitCode
        try file.update { before in
          var facts = metricFacts(job, folder: folder)
          facts.lags = figures.lags
          facts.kept = kept
          facts.run = run
          return Metrics(facts, before: before, steps: began?.steps)
        }
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
///
/// - Parameter folder: Of its checkpoint; nil where two could be meant.
func metricFacts(_ job: Job, folder: String?) -> MetricFacts {
  var facts = MetricFacts(job: job.name, now: nowMilliseconds())
  guard let folder else { return facts }
  let lockPath = Checkpoint.lockPath(ofJob: job.name, folder: folder)
  do {
    guard let reader = try existingReader(of: job, folder: folder) else {
      facts.isNew = true
      return facts
    }
    let path = reader.path
    facts.state = MetricFacts.State(
      try reader.figures(), job.holdBack, upToDate: RunLock.upToDate(path: lockPath),
      byteCount: [path, path + "-wal"].reduce(0) { $0 + byteCount($1) })
    if RunLock.holder(path: lockPath) != nil { facts.kept = [.dirtyOutputs] }
  } catch {}
  return facts
}

private func byteCount(_ path: String) -> Int64 {
  var facts = stat()
  return stat(path, &facts) == 0 ? Int64(facts.st_size) : 0
}
