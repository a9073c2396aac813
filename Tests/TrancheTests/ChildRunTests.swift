import Foundation
import Glibc
import Testing

@testable import tranche

@Suite("A run of the scheduler")
struct ChildRunTests {
  @Test("that cannot be started for want of open files leaves none open")
  func openFiles() async {
    // In a process of its own, whose limit may be lowered.
    await #expect(processExitsWith: .success) {
      func openCount() -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
      }
      let before = openCount()
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      let usual = limit.rlim_cur
      // From no pipe at all to all but one end of the second.
      for spare in 0..<4 {
        // The lowest number that is free: all below it are taken.
        let lowest = dup(STDIN_FILENO)
        close(lowest)
        limit.rlim_cur = rlim_t(lowest) + rlim_t(spare)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let run = try? ChildRun("0", ["--version"])
        limit.rlim_cur = usual
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        precondition(run == nil && openCount() == before, "\(spare) spare")
      }
    }
  }
}
