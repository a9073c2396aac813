internal import Foundation

/// What became of one step of a publisher.
package enum PublishingStep: Sendable {
  case worked
  /// There was nothing to do.
  case idle
  /// There is nothing to do any more.
  case ended
}

/// Who takes a publisher's steps, one at a time.
///
/// The three calls come from the run's thread.
package protocol PublishingExecutor: AnyObject {
  /// - Parameter step: Does one thing that is to be done.
  func start(_ step: @escaping @Sendable () -> PublishingStep)
  /// There is something to do.
  func wake()
  /// Returns when a step has said that there is nothing to do any more.
  func finish()
}

/// Takes a publisher's steps on a thread of its own.
package final class PublisherThread: PublishingExecutor, @unchecked Sendable {
  // @unchecked: the two properties are read and written under `condition`.
  private let condition = NSCondition()
  private var isWoken = false
  private var hasEnded = false

  package init() {}

  package func start(_ step: @escaping @Sendable () -> PublishingStep) {
    let thread = Thread { [self] in takeSteps(step) }
    thread.name = "publisher"
    thread.stackSize = 4 << 20
    thread.start()
  }

  private func takeSteps(_ step: () -> PublishingStep) {
    while true {
      switch step() {
      case .worked: continue
      case .idle: waitUntilWoken()
      case .ended:
        condition.lock()
        hasEnded = true
        condition.broadcast()
        condition.unlock()
        return
      }
    }
  }

  private func waitUntilWoken() {
    condition.lock()
    while !isWoken { condition.wait() }
    isWoken = false
    condition.unlock()
  }

  package func wake() {
    condition.lock()
    isWoken = true
    condition.signal()
    condition.unlock()
  }

  package func finish() {
    condition.lock()
    while !hasEnded { condition.wait() }
    condition.unlock()
  }
}
