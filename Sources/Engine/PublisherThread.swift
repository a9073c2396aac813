internal import Foundation
internal import Glibc

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
  /// - Throws: ``ThreadFault``; then no step is taken.
  func start(_ step: @escaping @Sendable () -> PublishingStep) throws(ThreadFault)
  /// There is something to do.
  func wake()
  /// Returns when a step has said that there is nothing to do any more.
  func finish()
}

/// No thread could be started.
package struct ThreadFault: Error, Equatable {
  /// In the system's words.
  package let reason: String

  package init(reason: String) { self.reason = reason }
}

/// Takes a publisher's steps on a thread of its own.
package final class PublisherThread: PublishingExecutor, @unchecked Sendable {
  // @unchecked: the two properties are read and written under `condition`.
  private let condition = NSCondition()
  private var isWoken = false
  private var hasEnded = false

  package init() {}

  /// By pthread_create: Foundation's Thread does not tell that it could not be started, and
  /// ``finish()`` would wait for ever.
  package func start(_ step: @escaping @Sendable () -> PublishingStep) throws(ThreadFault) {
    final class Work {
      let body: () -> Void
      init(_ body: @escaping () -> Void) { self.body = body }
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, 4 << 20)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    // The thread takes it over, or nobody does.
    let work = Unmanaged.passRetained(Work { [self] in takeSteps(step) })
    var thread = pthread_t()
    let status = pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        Thread.current.name = "publisher"
        Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
        return nil
      }, work.toOpaque())
    if status == 0 { return }
    work.release()
    throw ThreadFault(reason: String(cString: strerror(status)))
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
