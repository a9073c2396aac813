import ArgumentParser
import Engine
import Glibc
import Synchronization

/// For the tests that kill the shipped binary everywhere.
struct DeathOption: ParsableArguments {
  @Option(name: .customLong("die-at-step"), help: .hidden)
  var dieAtStep: Int?

  func failpoint() -> @Sendable (Failpoint) -> Void { Failpoints(dieAtStep: dieAtStep).pass }
}

/// Ends the process by SIGKILL at the n-th durable step.
private final class Failpoints: Sendable {
  private let stepsLeft: Mutex<Int?>

  init(dieAtStep: Int?) { stepsLeft = Mutex(dieAtStep) }

  @Sendable func pass(_ failpoint: Failpoint) {
    stepsLeft.withLock { stepsLeft in
      guard let left = stepsLeft else { return }
      stepsLeft = left - 1
      if left == 1 { kill(getpid(), SIGKILL) }
    }
  }
}
