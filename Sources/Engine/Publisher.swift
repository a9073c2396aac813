internal import Checkpoints
internal import Expressions
internal import Foundation
internal import Jobs
internal import ObjectStorage

/// Publishes what is dirty on a thread of its own, with its own read connection, while the run reads and commits.
///
/// It meets the run only in the checkpoint and through three calls: a commit happened, give me your marks, finish. The newest committed
/// revision of each object goes next, so revisions that were overtaken are never written.
final class Publisher: @unchecked Sendable {
  // @unchecked: every property below is read and written under `condition`, but for those that only the thread uses.
  private let condition = NSCondition()
  private var hasNews = true
  private var isFinishing = false
  private var hasEnded = false
  private var marks: [PublishMark] = []
  private var failure: RunError?
  private var publishedCount = 0

  private let job: Job
  private let store: any ObjectStore
  private let reader: CheckpointReader
  private let failpoint: @Sendable (Failpoint) -> Void
  private let release: String
  /// Publishes in the caller's thread when a commit is noticed: for simulations, which must go the same way for the same seed.
  private let isInline: Bool
  private var inlineRenderer: Renderer?
  /// Used by the thread alone: what it has published that no commit has marked yet.
  private var publishedRevisions: [String: Int64] = [:]
  /// Dirty when the run started: a request of a dead run may still be applied to them.
  private var unsettledFromStart: Set<String>

  /// - Parameter reader: A connection of its own, but for publishing inline.
  init(
    job: Job, store: any ObjectStore, reader: CheckpointReader, options: RunOptions
  ) throws(CheckpointError) {
    self.job = job
    self.store = store
    release = options.release
    failpoint = options.failpoint
    isInline = options.publishesInline
    self.reader = reader
    unsettledFromStart = Set(try reader.dirtyOutputs().map(\.objectKey))
  }

  func start() {
    if isInline { return publishInline() }
    let thread = Thread { [self] in loop() }
    thread.name = "publisher"
    thread.stackSize = 4 << 20
    thread.start()
  }

  /// A batch was committed: look for dirty objects.
  func noticeCommit() {
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

  /// Publishes everything that is dirty, ends the thread and tells how it went.
  func finish() -> (publishedCount: Int, failure: RunError?) {
    condition.lock()
    isFinishing = true
    condition.signal()
    while !hasEnded && !isInline { condition.wait() }
    defer { condition.unlock() }
    return (publishedCount, failure)
  }

  // MARK: - The thread

  private func publishInline() {
    guard isUp else { return }
    recordingFailure {
      let renderer = try inlineRenderer ?? Renderer(job, inputSchema: job.selectInputSchema, release: release)
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
      condition.unlock()
    }
  }

  private func loop() {
    recordingFailure {
      let renderer = try Renderer(job, inputSchema: job.selectInputSchema, release: release)
      while waitForNews() { try publishDirty(renderer) }
    }
    condition.lock()
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  /// False when the run has finished and everything was looked at.
  private func waitForNews() -> Bool {
    condition.lock()
    defer { condition.unlock() }
    while !hasNews && !isFinishing { condition.wait() }
    let isWorthLooking = hasNews
    hasNews = false
    return isWorthLooking
  }

  private func publishDirty(_ renderer: Renderer) throws {
    while true {
      let dirty = try reader.dirtyOutputs().filter { $0.revision > publishedRevisions[$0.objectKey] ?? 0 }
      guard !dirty.isEmpty else { return }
      for start in stride(from: 0, to: dirty.count, by: groupSize) {
        try publish(Array(dirty[start..<min(start + groupSize, dirty.count)]), renderer)
      }
    }
  }

  /// Objects that share two syncs of the file system; each is rendered in memory first.
  private let groupSize = 64

  private func publish(_ outputs: [Output], _ renderer: Renderer) throws {
    var rendered: [(output: Output, revision: Int64, bytes: [UInt8])] = []
    for output in outputs {
      let (revision, content) = try reader.content(of: output, job: job)
      rendered.append((output, revision, try renderer.bytes(of: output, content)))
    }
    let receipts = try store.put(
      group: rendered.map { (ObjectKey($0.output.objectKey), $0.bytes) }, contentType: renderer.contentType)
    failpoint(.objectsPut)
    condition.lock()
    for (object, receipt) in zip(rendered, receipts) {
      let key = object.output.objectKey
      marks.append(
        PublishMark(
          objectKey: key, revision: object.revision, etag: receipt.etag, byteCount: object.bytes.count,
          renderedBy: Renderer.renderedBy(release: release),
          isUnsettled: receipt.hadUnansweredAttempt || unsettledFromStart.remove(key) != nil))
      publishedRevisions[key] = object.revision
    }
    publishedCount += rendered.count
    condition.unlock()
  }
}

/// The durable steps of a run, where a test may end the process.
package enum Failpoint: String, Sendable, CaseIterable {
  /// The steps of a store are its own: a temporary file written, an object replaced.
  case lockTaken, startCommitted, batchCommitted, storeStep, objectsPut, marksCommitted
}
