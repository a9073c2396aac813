package import Engine

/// Takes a publisher's steps on the run's own thread, as soon as there is something to do: so the
/// same run goes the same way twice.
package final class CallerExecutor: PublishingExecutor {
  private var step: (@Sendable () -> PublishingStep)?

  package init() {}

  package func start(_ step: @escaping @Sendable () -> PublishingStep) {
    self.step = step
    wake()
  }

  package func wake() { while step?() == .worked {} }

  package func finish() {
    wake()
    step = nil
  }
}
