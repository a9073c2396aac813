import Glibc
import Synchronization

/// SIGTERM and SIGINT: the first asks the run to end well, a second ends the process at once.
enum StopSignal {
  private static let number = Atomic<Int32>(0)

  /// The signal that came, or 0.
  static var received: Int32 { number.load(ordering: .relaxed) }

  static func watch() {
    _ = received  // made now, not inside a handler
    handle([SIGTERM, SIGINT]) { received in
      StopSignal.number.store(received, ordering: .relaxed)
      // The next signal, of either kind, finds the default action, which ends the process.
      // signal(2) is safe here.
      signal(SIGTERM, SIG_DFL)
      signal(SIGINT, SIG_DFL)
    }
  }

  /// Dies by the signal that came, after everything is in order: a shell sees 128 + its number,
  /// systemd a clean end.
  static func endProcess(_ number: Int32 = received) {
    fflush(nil)
    signal(number, SIG_DFL)
    kill(getpid(), number)
  }
}

/// Makes a function the handler of signals, and lets them come.
func handle(_ numbers: [Int32], _ handler: @escaping @convention(c) (Int32) -> Void) {
  var handled = sigset_t()
  sigemptyset(&handled)
  for number in numbers {
    sigaddset(&handled, number)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    action.sa_flags = SA_RESTART
    sigaction(number, &action, nil)
  }
  // A parent may have blocked them, and a child begins with its parent's mask.
  pthread_sigmask(SIG_UNBLOCK, &handled, nil)
}
