/// Where a thread of a run spent its time, by step; a step that is begun inside another one is not
/// counted twice.
package struct StepTimes: Sendable, Equatable {
  /// In the order in which a batch goes through them.
  package enum Step: String, Sendable, CaseIterable {
    /// Metadata, the cluster's id, ends and start offsets.
    case discover
    case plan, read, decode
    /// `where`.
    case filter
    case fold, commit, render, encode, publish
    /// Progress in the group of `source.commit_group`.
    case showProgress = "show_progress"
    /// HEADs of unsettled objects, deletions of retired ones.
    case settle

    fileprivate var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
  }

  private var nanoseconds = [Int64](repeating: 0, count: Step.allCases.count)

  package init() {}

  /// Nanoseconds spent in a step.
  package fileprivate(set) subscript(step: Step) -> Int64 {
    get { nanoseconds[step.index] }
    set { nanoseconds[step.index] = newValue }
  }

  /// What was spent since an earlier look, in whole microseconds; nothing of steps that took none.
  func microseconds(since earlier: StepTimes) -> [(step: Step, microseconds: Int64)] {
    Step.allCases.compactMap { step in
      let spent = (self[step] - earlier[step]) / 1_000
      return spent > 0 ? (step, spent) : nil
    }
  }

  package mutating func add(_ other: StepTimes) {
    for index in nanoseconds.indices { nanoseconds[index] += other.nanoseconds[index] }
  }
}

/// How long a step took, each time: for a run's thread the time of a batch in it, for the
/// publisher's that of an object or of a group of them.
package struct StepDurations: Sendable, Equatable {
  /// Upper bounds in nanoseconds, ascending; whatever took longer is counted above them.
  package static let boundNanoseconds: [Int64] = [
    1_000_000, 5_000_000, 25_000_000, 100_000_000, 500_000_000, 2_500_000_000, 10_000_000_000,
    60_000_000_000,
  ]

  private var counts: [Int64]
  private var sums: [Int64]

  package init() {
    counts = [Int64](
      repeating: 0, count: StepTimes.Step.allCases.count * (Self.boundNanoseconds.count + 1))
    sums = [Int64](repeating: 0, count: StepTimes.Step.allCases.count)
  }

  /// How often the step took at most each of the bounds and more than the one before, then longer
  /// than all of them.
  package func counts(of step: StepTimes.Step) -> ArraySlice<Int64> {
    let width = Self.boundNanoseconds.count + 1
    return counts[step.index * width..<(step.index + 1) * width]
  }

  package func nanoseconds(of step: StepTimes.Step) -> Int64 { sums[step.index] }

  package mutating func observe(_ step: StepTimes.Step, nanoseconds: Int64) {
    let bounds = Self.boundNanoseconds
    let bucket = bounds.firstIndex { nanoseconds <= $0 } ?? bounds.count
    counts[step.index * (bounds.count + 1) + bucket] += 1
    sums[step.index] += nanoseconds
  }

  package mutating func add(_ other: StepDurations) {
    for index in counts.indices { counts[index] += other.counts[index] }
    for index in sums.indices { sums[index] += other.sums[index] }
  }
}

/// Measures the steps of one thread.
final class Stopwatch {
  private(set) var times = StepTimes()
  private var observed = StepTimes()
  private let clock: @Sendable () -> Int64
  private var current: StepTimes.Step?
  private var since: Int64 = 0

  /// - Parameter clock: Nanoseconds of a clock that never goes back.
  init(clock: @escaping @Sendable () -> Int64) { self.clock = clock }

  func measure<Result, Failure: Error>(_ step: StepTimes.Step, _ body: () throws(Failure) -> Result)
    throws(Failure) -> Result
  {
    let outer = current
    change(to: step)
    defer { change(to: outer) }
    return try body()
  }

  /// Counts what each step took since the last call, where it took any time; to be called outside
  /// of all of them.
  func observe(in durations: inout StepDurations) {
    for step in StepTimes.Step.allCases where times[step] > observed[step] {
      durations.observe(step, nanoseconds: times[step] - observed[step])
      observed[step] = times[step]
    }
  }

  private func change(to step: StepTimes.Step?) {
    let now = clock()
    if let current { times[current] += now - since }
    current = step
    since = now
  }
}
