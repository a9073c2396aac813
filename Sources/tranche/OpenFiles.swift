import Engine
import Glibc

/// How many files the scheduler may have open at once.
enum OpenFiles {
  /// Two pipes a run; clients of the metrics, the scheduler's own files, and one that it looks at.
  private static let (perRun, others) = (2, 128)

  /// Raises this process's limit as far as it needs and may.
  ///
  /// - Throws: A ``CommandError`` where the system allows fewer files.
  static func allow(parallelRuns count: Int) throws {
    let needed = rlim_t(count * perRun + others)
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0,
      limit.rlim_cur < needed
    else {
      return
    }
    guard limit.rlim_max >= needed else {
      throw CommandError(
        .lackOfResources,
        """
        --parallel \(count) takes \(needed) open files, and this process may have \
        \(limit.rlim_max). Raise the hard limit (LimitNOFILE= of a unit, ulimit -Hn), or let fewer \
        jobs run at once.
        """)
    }
    limit.rlim_cur = needed
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
