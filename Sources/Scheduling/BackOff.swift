/// How a run that the scheduler started came out.
package enum RunOutcome: Equatable, Sendable {
  case done
  /// Another run holds the job: no failure.
  case busy
  /// - Parameter needsPerson: Whether another try alone mends nothing.
  case failed(needsPerson: Bool)
}

/// How long a job that fails is left alone: twice as long with each failure in a row.
enum BackOff {
  /// - Parameter failureCount: In a row, at least 1.
  static func milliseconds(failureCount: Int, needsPerson: Bool) -> Int64 {
    let (first, longest): (Int64, Int64) =
      needsPerson ? (60_000, 3_600_000) : (10_000, 600_000)
    return min(longest, first << Int64(min(failureCount - 1, 20)))
  }
}
