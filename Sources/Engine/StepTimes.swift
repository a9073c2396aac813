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
    /// HEADs of unsettled objects, deletions of retired ones.
    case settle
  }

  private var nanoseconds = [Int64](repeating: 0, count: Step.allCases.count)

  package init() {}

  /// Nanoseconds spent in a step.
  package fileprivate(set) subscript(step: Step) -> Int64 {
    get { nanoseconds[Step.allCases.firstIndex(of: step) ?? 0] }
    set { nanoseconds[Step.allCases.firstIndex(of: step) ?? 0] = newValue }
  }

  package mutating func add(_ other: StepTimes) {
    for index in nanoseconds.indices { nanoseconds[index] += other.nanoseconds[index] }
  }
}

/// Measures the steps of one thread.
final class Stopwatch {
  private(set) var times = StepTimes()
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

  private func change(to step: StepTimes.Step?) {
    let now = clock()
    if let current { times[current] += now - since }
    current = step
    since = now
  }
}
