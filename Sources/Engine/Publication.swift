package import Checkpoints
package import Jobs
package import ObjectStorage

/// What a run is to publish, and what comes next. Pure: facts in, actions out; no thread, no clock,
/// no store.
///
/// The newest committed revision of each object goes next, so revisions that were overtaken are
/// never written. One action is under way at a time.
package struct Publication: Hashable, Sendable {
  package enum Action: Hashable, Sendable {
    /// Nothing, until the run says more.
    case wait
    /// Ask whose the destination is.
    case claim
    /// Ask the checkpoint which outputs are dirty.
    case list
    case render(Output)
    /// Put the objects that were rendered since the last put.
    case put
    /// Nothing any more.
    case end
  }

  package enum Event: Sendable {
    // What the run says.

    /// A batch is about to be read, so that there will be something to put.
    case batchExpected
    case committed(nanoseconds: Int64)
    /// What is dirty now is all that is left.
    case finishing

    // What became of the action under way.

    case claimed
    case listed([Output])
    /// The revision is the one that was read, which may be newer than the one that was listed.
    case rendered(revision: Int64, byteCount: Int, rowCount: Int64?)
    /// No new attempt changes that.
    case unrenderable(revision: Int64)
    /// One receipt an object, in the order in which they were rendered.
    case put([PutReceipt])
    /// Ends the publishing.
    case failed
  }

  /// How many rendered objects wait in memory for one put.
  package struct Group: Hashable, Sendable {
    package var objectCount: Int
    package var byteCount: Int

    package init(objectCount: Int, byteCount: Int) {
      self.objectCount = objectCount
      self.byteCount = byteCount
    }
  }

  private struct Rendered: Hashable {
    let key: String
    let revision: Int64
    let byteCount: Int
    let rowCount: Int64?
  }

  private let schedule: Job.Output.PublishSchedule
  private let group: Group
  private let graceNanoseconds: Int64
  private let renderedBy: String

  // What the run said.
  private var hasNews: Bool
  private var lastNews: Int64
  private var isBatchExpected = false
  private var wasBatchExpected = false
  private var isFinishing = false
  /// When it was first seen that the run is to stop.
  private var stopSeen: Int64?

  // What is going on.
  private var underWay: Action?
  /// Dirty outputs that were listed and not rendered yet, the next one last.
  private var listed: [Output] = []
  private var rendered: [Rendered] = []

  // What is known of single objects.
  /// What was rendered or could not be, whatever the checkpoint has marked.
  private var attempted: [String: Int64] = [:]
  /// Dirty when the run started: a request of a dead run may still be applied to them.
  private var unsettledFromStart: Set<String>
  private var marks: [PublishMark] = []
  package private(set) var publishedCount = 0
  package private(set) var isFailed = false

  /// - Parameters:
  ///   - dirtyKeys: What is dirty when the run starts.
  ///   - now: Nanoseconds of a clock that never goes back.
  ///   - graceNanoseconds: How long a run that was told to stop goes on publishing.
  ///   - renderedBy: What the bytes depend on besides the state, for the marks.
  package init(
    dirtyKeys: Set<String>, schedule: Job.Output.PublishSchedule, group: Group,
    graceNanoseconds: Int64, renderedBy: String, now: Int64
  ) {
    self.schedule = schedule
    self.group = group
    self.graceNanoseconds = graceNanoseconds
    self.renderedBy = renderedBy
    unsettledFromStart = dirtyKeys
    lastNews = now
    // Nothing to look for before a commit: a publisher that begins late would publish in the middle
    // of a run that is to publish at its end.
    hasNews = !dirtyKeys.isEmpty
  }

  /// Whether the run said something that leads to an action.
  package var hasOrders: Bool { hasNews || isBatchExpected || isFinishing }

  /// The marks of what was published since the last call, for the next commit.
  package mutating func takeMarks() -> [PublishMark] {
    defer { marks = [] }
    return marks
  }

  // MARK: - Actions

  /// What is to be done now. Its outcome is to be told before the next is asked for.
  ///
  /// - Parameter now: Where the run was told to stop, the clock; else nil.
  package mutating func next(stoppedAt now: Int64?) -> Action {
    precondition(underWay == nil, "asked for more before \(underWay ?? .wait) was over")
    let action = decide(stoppedAt: now)
    if action != .wait && action != .end { underWay = action }
    return action
  }

  private mutating func decide(stoppedAt now: Int64?) -> Action {
    if isFailed { return .end }
    // What is left then stays dirty, for the next run.
    if isGraceOver(now) { listed = [] }
    let isGroupFull =
      rendered.count >= group.objectCount
      || rendered.reduce(0) { $0 + $1.byteCount } >= group.byteCount
    if isGroupFull || (listed.isEmpty && !rendered.isEmpty) { return .put }
    if let output = listed.popLast() { return .render(output) }
    if isBatchExpected && !isFinishing {
      isBatchExpected = false
      return .claim
    }
    if hasNews {
      hasNews = false
      return .list
    }
    return isFinishing ? .end : .wait
  }

  private mutating func isGraceOver(_ now: Int64?) -> Bool {
    guard let now else { return false }
    let since = stopSeen ?? now
    stopSeen = since
    return now - since >= graceNanoseconds
  }

  // MARK: - Events

  package mutating func handle(_ event: Event) {
    switch event {
    case .batchExpected:
      isBatchExpected = isBatchExpected || !wasBatchExpected
      wasBatchExpected = true
    case .committed(let now): noticeCommit(now)
    case .finishing:
      isFinishing = true
      hasNews = true
    case .claimed:
      precondition(underWay == .claim)
      underWay = nil
    case .listed(let dirty):
      precondition(underWay == .list)
      underWay = nil
      listed = dirty.reversed().filter { $0.revision > attempted[$0.objectKey] ?? 0 }
    case .rendered(let revision, let byteCount, let rowCount):
      let key = endRendering(revision)
      rendered.append(
        Rendered(key: key, revision: revision, byteCount: byteCount, rowCount: rowCount))
    case .unrenderable(let revision): _ = endRendering(revision)
    case .put(let receipts): endPut(receipts)
    case .failed:
      isFailed = true
      underWay = nil
    }
  }

  private mutating func noticeCommit(_ now: Int64) {
    switch schedule {
    case .batch: break
    case .runEnd: return
    case .every(let milliseconds):
      if now - lastNews < milliseconds * 1_000_000 { return }
      lastNews = now
    }
    hasNews = true
  }

  private mutating func endRendering(_ revision: Int64) -> String {
    guard case .render(let output) = underWay else {
      preconditionFailure("nothing is being rendered")
    }
    underWay = nil
    attempted[output.objectKey] = revision
    return output.objectKey
  }

  private mutating func endPut(_ receipts: [PutReceipt]) {
    precondition(underWay == .put && receipts.count == rendered.count)
    underWay = nil
    for (object, receipt) in zip(rendered, receipts) {
      marks.append(
        PublishMark(
          objectKey: object.key, revision: object.revision, etag: receipt.etag,
          byteCount: object.byteCount, rowCount: object.rowCount, renderedBy: renderedBy,
          isUnsettled: receipt.hadUnansweredAttempt || unsettledFromStart.remove(object.key) != nil)
      )
    }
    publishedCount += rendered.count
    rendered = []
  }
}
