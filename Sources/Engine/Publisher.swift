internal import Checkpoints
internal import Expressions
internal import Foundation
internal import Jobs
internal import ObjectStorage

/// Publishes what is dirty on a thread of its own, with its own read connection, while the run
/// reads and commits.
///
/// It meets the run only in the checkpoint and through three calls: a commit happened, give me your
/// marks, finish. The newest committed revision of each object goes next, so revisions that were
/// overtaken are never written.
final class Publisher: @unchecked Sendable {
  // @unchecked: every property below is read and written under `condition`, but for those that only
  // the publisher's thread uses, or only the run's.
  private let condition = NSCondition()
  private var hasNews: Bool
  private var isFinishing = false
  private var hasEnded = false
  private var marks: [PublishMark] = []
  private var failure: RunError?
  private var isRefused = false
  private var publishedCount = 0

  private let job: Job
  private let store: any ObjectStore
  /// Used by the thread alone until it has ended.
  private let claim: DestinationClaim
  /// A batch is being read, so that there will be something to put.
  private var expectsCommit = false
  /// Whether the thread was told so; used by the run's thread alone.
  private var hasExpected = false
  private let reader: CheckpointReader
  private let failpoint: @Sendable (Failpoint) -> Void
  private let nanoseconds: @Sendable () -> Int64
  private let isStopRequested: @Sendable () -> Bool
  private let graceMilliseconds: Int64
  /// When the thread first saw that the run is to stop.
  private var stopSeen: Int64?
  /// Used by the thread alone, and read when it has ended.
  private let stopwatch: Stopwatch
  /// When the thread was last told to look; used by the run's thread alone.
  private var lastNews: Int64
  private let release: String
  /// Publishes in the caller's thread when a commit is noticed: for simulations, which must go the
  /// same way for the same seed.
  private let isInline: Bool
  private var inlineRenderer: Renderer?
  /// Used by the thread alone: what it has published that no commit has marked yet, or could not
  /// render.
  private var attemptedRevisions: [String: Int64] = [:]
  /// By object key, what keeps it from being rendered.
  private var renderFaults: [String: RenderFault] = [:]
  /// Dirty when the run started: a request of a dead run may still be applied to them.
  private var unsettledFromStart: Set<String>

  /// - Parameter reader: A connection of its own, but for publishing inline.
  init(
    job: Job, store: any ObjectStore, claim: DestinationClaim, reader: CheckpointReader,
    options: RunOptions
  ) throws(CheckpointError) {
    self.job = job
    self.store = store
    self.claim = claim
    release = options.release
    failpoint = options.failpoint
    nanoseconds = options.nanoseconds
    isStopRequested = options.isStopRequested
    graceMilliseconds = options.graceMilliseconds
    stopwatch = Stopwatch(clock: options.nanoseconds)
    lastNews = options.nanoseconds()
    isInline = options.publishesInline
    self.reader = reader
    unsettledFromStart = Set(try reader.dirtyOutputs().map(\.objectKey))
    // Nothing to look for before a commit: a thread that begins late would publish in the middle of
    // a run that is to publish at its end.
    hasNews = !unsettledFromStart.isEmpty
  }

  func start() {
    if isInline { return publishInline() }
    let thread = Thread { [self] in loop() }
    thread.name = "publisher"
    thread.stackSize = 4 << 20
    thread.start()
  }

  /// A batch is about to be read: asks whose the place is meanwhile. Does so once.
  func expectCommit() {
    if hasExpected { return }
    hasExpected = true
    condition.lock()
    expectsCommit = true
    condition.signal()
    condition.unlock()
    if isInline && isUp { recordingFailure { try claim.begin() } }
  }

  /// A batch was committed: look for dirty objects, if `output.publish` says that it is time.
  func noticeCommit() {
    switch job.output.publish {
    case .batch: break
    case .runEnd: return
    case .every(let milliseconds):
      let now = nanoseconds()
      if now - lastNews < milliseconds * 1_000_000 { return }
      lastNews = now
    }
    condition.lock()
    hasNews = true
    condition.signal()
    condition.unlock()
    if isInline { publishInline() }
  }

  /// The marks of what was published since the last call, for the next commit.
  func takeMarks() -> [PublishMark] {
    condition.lock()
    defer { condition.unlock() }
    let taken = marks
    marks = []
    return taken
  }

  var isUp: Bool {
    condition.lock()
    defer { condition.unlock() }
    return failure == nil
  }

  /// Whether the place turned out to be another's.
  var isDestinationRefused: Bool {
    condition.lock()
    defer { condition.unlock() }
    return isRefused
  }

  /// Publishes everything that is dirty, ends the thread and tells how it went.
  func finish() -> Outcome {
    condition.lock()
    isFinishing = true
    hasNews = true
    condition.signal()
    while !hasEnded && !isInline { condition.wait() }
    condition.unlock()
    if isInline { publishInline() }
    return Outcome(
      count: publishedCount, failure: failure,
      renderFaults: renderFaults.sorted { $0.key < $1.key }.map(\.value), times: stopwatch.times)
  }

  struct Outcome {
    var count: Int
    /// What ended the publishing.
    var failure: RunError?
    /// What kept single objects from being rendered; all others were published.
    var renderFaults: [RenderFault]
    var times: StepTimes

    var errors: [RunError] {
      (failure.map { [$0] } ?? []) + (renderFaults.isEmpty ? [] : [.unrenderable(renderFaults)])
    }
  }

  // MARK: - The thread

  private func publishInline() {
    guard isUp else { return }
    recordingFailure {
      let renderer =
        try inlineRenderer ?? Renderer(job, inputSchema: job.selectInputSchema, release: release)
      inlineRenderer = renderer
      try publishDirty(renderer)
    }
  }

  private func recordingFailure(_ body: () throws -> Void) {
    do {
      try body()
    } catch {
      condition.lock()
      failure = RunError(wrapping: error)
      isRefused = claim.isRefused
      condition.unlock()
    }
  }

  private func loop() {
    recordingFailure {
      let renderer = try Renderer(job, inputSchema: job.selectInputSchema, release: release)
      while true {
        switch waitForNews() {
        case .nothing:
          return
        case .expectation:
          try claim.begin()
        case .dirtyObjects:
          try publishDirty(renderer)
        }
      }
    }
    condition.lock()
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  private enum News { case nothing, expectation, dirtyObjects }

  /// `nothing` when the run has finished and everything was looked at.
  private func waitForNews() -> News {
    condition.lock()
    defer { condition.unlock() }
    while !hasNews && !isFinishing && !expectsCommit { condition.wait() }
    if expectsCommit && !isFinishing {
      expectsCommit = false
      return .expectation
    }
    let isWorthLooking = hasNews
    hasNews = false
    return isWorthLooking ? .dirtyObjects : .nothing
  }

  private struct Rendered {
    let key: String
    let revision: Int64
    let bytes: [UInt8]
  }

  private func publishDirty(_ renderer: Renderer) throws {
    while true {
      let dirty = try reader.dirtyOutputs().filter {
        $0.revision > attemptedRevisions[$0.objectKey] ?? 0
      }
      guard !dirty.isEmpty else { return }
      var group: [Rendered] = []
      var byteCount = 0
      for output in dirty {
        if isGraceOver() {
          try put(group)
          return
        }
        guard let object = try rendered(output, renderer) else { continue }
        group.append(object)
        byteCount += object.bytes.count
        if !store.sharesSyncs || group.count >= groupSize || byteCount >= groupByteCount {
          try put(group)
          group = []
          byteCount = 0
        }
      }
      try put(group)
    }
  }

  /// Whether a run that was told to stop has published for as long as it may. What is left stays
  /// dirty, for the next run.
  private func isGraceOver() -> Bool {
    guard isStopRequested() else { return false }
    let now = nanoseconds()
    let since = stopSeen ?? now
    stopSeen = since
    return now - since >= graceMilliseconds * 1_000_000
  }

  /// Objects that share two syncs of the file system; each is rendered in memory first.
  private let groupSize = 64
  private let groupByteCount = 8 << 20

  /// Nil where a window cannot be rendered, which no new attempt changes: the others are published
  /// all the same, and the run tells at its end.
  private func rendered(_ output: Output, _ renderer: Renderer) throws -> Rendered? {
    let (revision, content) = try stopwatch.measure(.render) {
      try reader.content(of: output, job: job)
    }
    attemptedRevisions[output.objectKey] = revision
    do {
      let bytes = try renderer.bytes(of: output, content, stopwatch)
      renderFaults[output.objectKey] = nil
      return Rendered(key: output.objectKey, revision: revision, bytes: bytes)
    } catch let fault as RenderFault {
      renderFaults[output.objectKey] = fault
      return nil
    }
  }

  private func put(_ group: [Rendered]) throws {
    guard !group.isEmpty else { return }
    try claim.begin()
    try claim.finish(reader)
    let receipts = try stopwatch.measure(.publish) {
      try store.put(group: group.map { (ObjectKey($0.key), $0.bytes) })
    }
    failpoint(.objectsPut)
    condition.lock()
    for (object, receipt) in zip(group, receipts) {
      marks.append(
        PublishMark(
          objectKey: object.key, revision: object.revision, etag: receipt.etag,
          byteCount: object.bytes.count,
          renderedBy: Renderer.renderedBy(release: release),
          isUnsettled: receipt.hadUnansweredAttempt || unsettledFromStart.remove(object.key) != nil)
      )
    }
    publishedCount += group.count
    condition.unlock()
  }
}
