internal import Scheduling

/// `trigger`: when a job runs, and how much a batch takes.
extension JobParser {
  func trigger(_ trigger: YAMLReader.Object) -> (
    maxOffsets: Int64, Job.HoldBack, Schedule?
  ) {
    let maxOffsets = reader.integer(trigger, "max_offsets")
    let minOffsets = reader.integer(trigger, "min_offsets")
    if let entry = trigger.entry("min_offsets"), minOffsets > maxOffsets {
      reader.fail(
        entry, value: "\(minOffsets)",
        "is more than max_offsets (\(maxOffsets)), so no batch holds it",
        "Lower it, or raise trigger.max_offsets")
    }
    if let entry = trigger.entry("max_delay"), trigger.entry("min_offsets") == nil {
      reader.fail(entry, "has no effect without min_offsets", "Add trigger.min_offsets")
    }
    let holdBack = Job.HoldBack(
      minOffsets: minOffsets, maxDelayMilliseconds: reader.duration(trigger, "max_delay"))
    return (maxOffsets, holdBack, schedule(trigger))
  }

  private func schedule(_ trigger: YAMLReader.Object) -> Schedule? {
    let every = trigger.entry("every"), cron = trigger.entry("cron")
    let zone: String = reader.value(trigger, "time_zone") {
      isTimeZone($0) ? $0 : nil
    } fault: {
      (
        "is not a time zone that this system knows",
        "Use a name such as Europe/Berlin or UTC; the names are those below /usr/share/zoneinfo"
      )
    }
    if let entry = trigger.entry("time_zone"), cron == nil {
      reader.fail(entry, "has no effect without cron", "Leave it out, or add trigger.cron")
    }
    if let cron, every != nil {
      reader.fail(cron, "cannot stand beside every", "Keep one of the two")
    }
    if let every { return reader.duration(every).map { .every(milliseconds: $0) } }
    guard let cron, let text = reader.string(cron) else { return nil }
    do {
      return .cron(try CronExpression(text), timeZone: zone)
    } catch {
      reader.fail(cron, value: text, error.problem, error.remedy)
      return nil
    }
  }
}
