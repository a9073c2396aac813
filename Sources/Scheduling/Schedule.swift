internal import Tables

/// When a job runs, as its file says.
package enum Schedule: Equatable, Sendable {
  case every(milliseconds: Int64)
  case cron(CronExpression, timeZone: String)
}

/// The instants at which a job is due. They follow from the schedule alone, so nothing drifts: not
/// the time that a run takes, nor when the scheduler was started.
package struct Ticks: Equatable, Sendable {
  private let schedule: Schedule
  private let zone: ZoneRules

  /// - Parameter zone: Of the schedule's time zone; not looked at by `every`.
  package init(_ schedule: Schedule, zone: ZoneRules) {
    self.schedule = schedule
    self.zone = zone
  }

  /// The first tick after an instant; both in milliseconds since 1970 UTC.
  package func next(after milliseconds: Int64) -> Int64 {
    switch schedule {
    case .every(let width):
      // Multiples of it since 1970.
      (CivilDate.floorDivide(milliseconds, width).quotient + 1) * width
    case .cron(let expression, _):
      next(expression, from: CivilDate.floorDivide(milliseconds, 1_000).quotient + 1) * 1_000
    }
  }

  /// The first instant from another one on at which a cron job is due; both in seconds.
  ///
  /// A job that follows the hours (`*` as its hour) is due whenever the clock on the wall fits. Any
  /// other is due once for each local time that fits: where clocks are put back, at the first of
  /// the two; where they are put forward over it, in the instant of the change.
  private func next(_ expression: CronExpression, from first: Int64) -> Int64 {
    var segment = zone.segment(holding: first)
    while true {
      var from = max(first, segment.from) + segment.offset
      if !expression.followsHours && segment.from > .min {
        let wallBefore = segment.from + segment.offsetBefore
        let wallAfter = segment.from + segment.offset
        if segment.from >= first,
          expression.firstMinute(from: wallBefore, to: wallAfter) != nil
        {
          return segment.from
        }
        from = max(from, wallBefore)
      }
      let to = segment.to == .max ? .max : segment.to + segment.offset
      if let found = expression.firstMinute(from: from, to: to) { return found - segment.offset }
      precondition(segment.to < .max, "no day fits \(expression.text), which its parsing refuses")
      segment = zone.segment(holding: segment.to)
    }
  }
}
