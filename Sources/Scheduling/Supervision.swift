/// Decides which jobs run when. It starts no process and reads no clock: the instants and what
/// became of the runs are told to it.
///
/// `now` is in milliseconds since 1970 UTC; `uptime`, in milliseconds too, is of a clock that
/// nobody sets.
package struct Supervision {
  package enum Action: Equatable, Sendable {
    /// - Parameter due: The tick, the first of those that were missed, or the end of a pause.
    case start(job: String, due: Int64)
    /// Ask a run to end.
    case interrupt(job: String)
    /// End a run that did not obey.
    case kill(job: String)
  }

  private struct Job {
    /// Nil where the job is to run no more.
    var ticks: Ticks?
    /// The next tick, the first of those that were missed, or when to try again after a failure.
    var due: Int64
    /// When its pause after a failure ends.
    var notBefore: Int64 = 0
    var isRunning = false
    /// In a row.
    var failureCount = 0

    /// When it may run next.
    var start: Int64 { max(due, notBefore) }
  }

  private enum Stage: Equatable {
    case working
    /// - Parameters:
    ///   - deadline: On the clock that nobody sets.
    ///   - isTold: Whether the runs were asked to end.
    case stopping(deadline: Int64, isTold: Bool)
    case killing
  }

  private let parallelCount: Int
  private let graceMilliseconds: Int64
  private var jobs: [String: Job] = [:]
  private var stage = Stage.working
  private var lastInstant = Int64.min

  /// A run that was asked to end gets so long beyond its own grace.
  private static let marginMilliseconds: Int64 = 10_000
  /// A clock that goes back by less is being adjusted.
  private static let clockToleranceMilliseconds: Int64 = 1_000

  /// - Parameters:
  ///   - parallelCount: Most runs at once, at least 1.
  ///   - graceMilliseconds: How long a run goes on publishing after it was asked to end.
  package init(parallelCount: Int, graceMilliseconds: Int64) {
    self.parallelCount = parallelCount
    self.graceMilliseconds = graceMilliseconds
  }

  // MARK: - What is told

  /// A job that is new or whose file was changed, or, without ticks, one that is to run no more.
  ///
  /// A run that is going on is left alone. A changed job begins without failures.
  package mutating func update(_ name: String, _ ticks: Ticks?, now: Int64) {
    var job = jobs[name] ?? Job(ticks: nil, due: .max)
    if job.ticks != ticks || job.failureCount > 0 {
      job.due = ticks?.next(after: now) ?? .max
    }
    job.ticks = ticks
    job.failureCount = 0
    job.notBefore = 0
    jobs[name] = job.ticks == nil && !job.isRunning ? nil : job
  }

  package mutating func ended(_ name: String, _ outcome: RunOutcome, now: Int64) {
    guard var job = jobs[name], job.isRunning else {
      preconditionFailure("the run of \(name) ended, which was not started")
    }
    job.isRunning = false
    switch outcome {
    case .done: job.failureCount = 0
    case .busy: break
    case .failed(let needsPerson):
      job.failureCount += 1
      let pause = BackOff.milliseconds(failureCount: job.failureCount, needsPerson: needsPerson)
      job.notBefore = now + pause
      // A job with rare ticks must not miss one to a fault that soon passes.
      if !needsPerson { job.due = min(job.due, job.notBefore) }
    }
    jobs[name] = job.ticks == nil ? nil : job
  }

  /// No run is started any more, and those that go on are asked to end; once more for each call.
  package mutating func stop(uptime: Int64) {
    switch stage {
    case .working:
      stage = .stopping(
        deadline: uptime + graceMilliseconds + Self.marginMilliseconds, isTold: false)
    case .stopping(let deadline, _): stage = .stopping(deadline: deadline, isTold: false)
    case .killing: break
    }
  }

  // MARK: - What is to be done

  /// Each action once; to be called whenever something was told, at ``wake`` and at
  /// ``stopDeadline``.
  package mutating func actions(now: Int64, uptime: Int64) -> [Action] {
    noticeClock(now)
    let running = jobs.filter { $0.value.isRunning }.map(\.key).sorted()
    switch stage {
    case .working: return start(now, slotCount: parallelCount - running.count)
    case .stopping(let deadline, let isTold):
      if uptime >= deadline {
        stage = .killing
        return running.map { .kill(job: $0) }
      }
      stage = .stopping(deadline: deadline, isTold: true)
      return isTold ? [] : running.map { .interrupt(job: $0) }
    case .killing: return []
    }
  }

  /// Those that have waited longest go first.
  private mutating func start(_ now: Int64, slotCount: Int) -> [Action] {
    let waiting = jobs.filter { !$0.value.isRunning && $0.value.start <= now }
      .sorted { ($0.value.start, $0.key) < ($1.value.start, $1.key) }
    return waiting.prefix(max(0, slotCount)).map { name, job in
      jobs[name]?.isRunning = true
      jobs[name]?.due = job.ticks?.next(after: now) ?? .max
      return .start(job: name, due: job.start)
    }
  }

  /// A clock that was put back must not keep a job waiting for ticks that it has seen already.
  private mutating func noticeClock(_ now: Int64) {
    defer { lastInstant = now }
    guard lastInstant > now + Self.clockToleranceMilliseconds else { return }
    for (name, job) in jobs {
      jobs[name]?.notBefore -= lastInstant - now
      if let ticks = job.ticks { jobs[name]?.due = min(job.due, ticks.next(after: now)) }
    }
  }

  // MARK: - How it stands

  /// When the next run may start if nothing is told before; nil where none may.
  package var wake: Int64? {
    guard stage == .working, runningCount < parallelCount else { return nil }
    return jobs.values.filter { !$0.isRunning && $0.ticks != nil }.map(\.start).min()
  }

  /// When runs that were asked to end are killed, as an uptime.
  package var stopDeadline: Int64? {
    if case .stopping(let deadline, _) = stage { deadline } else { nil }
  }

  package var isStopped: Bool { stage != .working && runningCount == 0 }

  package var runningCount: Int { jobs.values.count { $0.isRunning } }
  package var jobCount: Int { jobs.values.count { $0.ticks != nil } }
  package var failingCount: Int { jobs.values.count { $0.failureCount > 0 } }

  /// When a job may run next; nil for one that is to run no more.
  package func due(_ name: String) -> Int64? {
    jobs[name].flatMap { $0.ticks == nil ? nil : $0.start }
  }
  package func failureCount(of name: String) -> Int { jobs[name]?.failureCount ?? 0 }
}
