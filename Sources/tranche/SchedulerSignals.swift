import Glibc
import Synchronization

/// The signals that the scheduler waits for: each wakes `poll` through a pipe.
enum SchedulerSignals {
  private static let writing = Atomic<Int32>(-1)
  private static let stops = Atomic<Int>(0)
  private static let stopNumber = Atomic<Int32>(0)
  private static let reloads = Atomic<Int>(0)

  /// How often SIGTERM or SIGINT came, and which came last.
  static var stopCount: Int { stops.load(ordering: .relaxed) }
  static var stopSignal: Int32 { stopNumber.load(ordering: .relaxed) }
  /// How often SIGHUP came.
  static var reloadCount: Int { reloads.load(ordering: .relaxed) }

  /// - Returns: What becomes readable when a signal came, or a child ended.
  static func watch() throws -> Int32 {
    let pipe = try Pipe()
    // No handler may wait.
    _ = fcntl(pipe.writing, F_SETFL, O_NONBLOCK)
    writing.store(pipe.writing, ordering: .relaxed)
    // Made now, not inside a handler.
    _ = (stopCount, stopSignal, reloadCount)
    handle([SIGTERM, SIGINT, SIGHUP, SIGCHLD]) { received in
      let before = errno
      if received == SIGHUP {
        SchedulerSignals.reloads.add(1, ordering: .relaxed)
      } else if received != SIGCHLD {
        SchedulerSignals.stopNumber.store(received, ordering: .relaxed)
        SchedulerSignals.stops.add(1, ordering: .relaxed)
      }
      var byte: UInt8 = 0
      _ = write(SchedulerSignals.writing.load(ordering: .relaxed), &byte, 1)
      errno = before
    }
    return pipe.reading
  }

  /// Takes what the handlers have written.
  static func drain(_ descriptor: Int32) {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      while read(descriptor, buffer.baseAddress, buffer.count) > 0 {}
    }
  }
}
