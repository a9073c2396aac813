internal import Checkpoints
internal import Expressions
internal import Jobs
internal import ObjectStorage
internal import Synchronization

/// Does what a ``Publication`` asks for, one step after the other, with a read connection of its
/// own: beside the run, which reads and commits meanwhile.
///
/// It meets the run only in the checkpoint and in what the two say to the publication.
final class Publisher: @unchecked Sendable {
  // @unchecked: what is not in `state` is used by whoever takes the steps, one at a time, and read
  // by the run when the last step is done.
  private struct State {
    var publication: Publication
    /// What ended the publishing.
    var failure: RunError?
    /// Whether the destination turned out to be another's.
    var isDestinationRefused = false
    var durations = StepDurations()
  }
  private let state: Mutex<State>

  private let job: Job
  private let store: any ObjectStore
  private let claim: DestinationClaim
  private let reader: CheckpointReader
  private let failpoint: @Sendable (Failpoint) -> Void
  private let nanoseconds: @Sendable () -> Int64
  private let isStopRequested: @Sendable () -> Bool
  private let release: String
  private let stopwatch: Stopwatch
  private var renderer: Renderer?
  /// What was rendered and waits to be put.
  private var rendered: [(key: ObjectKey, bytes: [UInt8])] = []
  /// By object key, what keeps it from being rendered.
  private var renderFaults: [String: RenderFault] = [:]

  /// - Parameter reader: A connection of its own.
  init(
    job: Job, store: any ObjectStore, claim: DestinationClaim, reader: CheckpointReader,
    options: RunOptions
  ) throws(CheckpointError) {
    self.job = job
    self.store = store
    self.claim = claim
    self.reader = reader
    release = options.release
    failpoint = options.failpoint
    nanoseconds = options.nanoseconds
    isStopRequested = options.isStopRequested
    stopwatch = Stopwatch(clock: options.nanoseconds)
    let publication = Publication(
      dirtyKeys: Set(try reader.dirtyResults().map(\.objectKey)), schedule: job.output.publish,
      // Objects that share two syncs of the file system are put together.
      group: .init(objectCount: store.sharesSyncs ? 64 : 1, byteCount: 8 << 20),
      graceNanoseconds: options.graceMilliseconds * 1_000_000,
      renderedBy: Renderer.renderedBy(release: options.release), now: options.nanoseconds())
    state = Mutex(State(publication: publication))
  }

  // MARK: - What the run says and asks

  /// - Returns: Whether who takes the steps is to be woken: there is something to do, and there was
  ///   nothing before.
  func tell(_ event: Publication.Event) -> Bool {
    state.withLock {
      let hadOrders = $0.publication.hasOrders
      $0.publication.handle(event)
      return $0.publication.hasOrders && !hadOrders
    }
  }

  /// The marks of what was published since the last call, for the next commit.
  func takeMarks() -> [PublishMark] { state.withLock { $0.publication.takeMarks() } }

  var isUp: Bool { state.withLock { $0.failure == nil } }

  var isDestinationRefused: Bool { state.withLock { $0.isDestinationRefused } }

  /// How long its steps took so far.
  var durations: StepDurations { state.withLock { $0.durations } }

  /// How it went, when the last step is done.
  var outcome: Outcome {
    let faults = renderFaults.sorted { $0.key < $1.key }.map(\.value)
    return state.withLock {
      Outcome(
        count: $0.publication.publishedCount, failure: $0.failure, renderFaults: faults,
        times: stopwatch.times, durations: $0.durations)
    }
  }

  struct Outcome {
    var count: Int
    /// What ended the publishing.
    var failure: RunError?
    /// What kept single objects from being rendered; all others were published.
    var renderFaults: [RenderFault]
    var times: StepTimes
    var durations: StepDurations

    var errors: [RunError] {
      (failure.map { [$0] } ?? []) + (renderFaults.isEmpty ? [] : [.unrenderable(renderFaults)])
    }
  }

  // MARK: - Steps

  /// Does one thing that is to be done.
  func step() -> PublishingStep {
    let stoppedAt = isStopRequested() ? nanoseconds() : nil
    let action = state.withLock { $0.publication.next(stoppedAt: stoppedAt) }
    if action == .end { return .ended }
    defer { state.withLock { stopwatch.observe(in: &$0.durations) } }
    do {
      // At the first step, whatever it is: while the run connects.
      let renderer =
        try renderer ?? Renderer(job, inputSchema: job.selectInputSchema, release: release)
      self.renderer = renderer
      switch action {
      case .wait, .end: return .idle
      case .claim:
        try claim.begin()
        _ = tell(.claimed)
      case .list: _ = tell(.listed(try reader.dirtyResults()))
      case .render(let output): _ = tell(try render(output, renderer))
      case .put: _ = tell(.put(try put()))
      }
    } catch {
      state.withLock {
        $0.failure = RunError(wrapping: error)
        $0.isDestinationRefused = claim.isRefused
        $0.publication.handle(.failed)
      }
    }
    return .worked
  }

  private func render(_ output: Output, _ renderer: Renderer) throws -> Publication.Event {
    let (revision, content) = try stopwatch.measure(.render) {
      try reader.content(of: output, job: job)
    }
    do {
      let bytes = try renderer.bytes(of: output, content, stopwatch)
      renderFaults[output.objectKey] = nil
      rendered.append((ObjectKey(output.objectKey), bytes))
      return .rendered(
        revision: revision, byteCount: bytes.count, rowCount: content.rowCount)
    } catch let fault as RenderFault {
      // The others are published all the same, and the run tells at its end.
      renderFaults[output.objectKey] = fault
      return .unrenderable(revision: revision)
    }
  }

  private func put() throws -> [PutReceipt] {
    try claim.begin()
    try claim.finish(reader)
    let receipts = try stopwatch.measure(.publish) { try store.put(group: rendered) }
    rendered = []
    failpoint(.objectsPut)
    return receipts
  }
}
