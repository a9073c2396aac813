package import Engine

/// Takes a publisher's steps on the run's own thread, now and then some of them: what the two do is
/// interleaved, and the same seed interleaves it the same way.
package final class SteppingExecutor: PublishingExecutor {
  private var step: (@Sendable () -> PublishingStep)?
  private let stepCount: () -> Int

  /// - Parameter stepCount: How many steps to take now.
  package init(stepCount: @escaping () -> Int) { self.stepCount = stepCount }

  package func start(_ step: @escaping @Sendable () -> PublishingStep) {
    self.step = step
    wake()
  }

  package func wake() {
    for _ in 0..<stepCount() { if step?() != .worked { return } }
  }

  package func finish() {
    while step?() == .worked {}
    step = nil
  }
}
