package import Checkpoints
package import Engine
internal import Offsets

/// Losses and doubts that a person must decide.
extension Words {
  /// What was found; for rejects also what to do.
  package func detail(of incident: Incident) -> String {
    switch incident.cause {
    case .logEnded:
      "the next offset is \(incident.nextOffset), and the log ended at "
        + "\(incident.logEnd ?? 0): the topic was deleted and made again, or the broker lost data"
    case .messageChanged(let offset):
      "the message at offset \(offset) is not the one that the job has read there: the topic was "
        + "deleted and made again, or its log was cut off and has grown again"
    case .partitionGone:
      "the job has read this partition, and the topic no longer has it: the topic was deleted and "
        + "made again with fewer partitions"
    case .topicGone:
      "the job has read this topic, and the brokers no longer know it: the topic was deleted"
    case .rejects(let stop): rejects(incident.partition, incident.nextOffset, stop)
    case .sentence(let text): text
    }
  }

  /// One line, for who looks at a job's state.
  package func text(of incident: Incident) -> String {
    switch incident.kind {
    case .logReplaced:
      "\(incident.partition): \(detail(of: incident)). Noticed \(incident.noticedAt), last seen "
        + "\(incident.lastSeenAt). \(choices([incident]))"
    case .rejects: "\(detail(of: incident)) (noticed \(incident.noticedAt))"
    }
  }

  /// Why the next run will not read anything; what it then says holds the ranges.
  package func text(of obstacle: PlanPreview.Obstacle) -> String {
    switch obstacle {
    case .dataLoss: "offsets were lost, and source.on_data_loss is fail"
    case .replacedLog: "a log was replaced; the next run says what to do"
    }
  }

  func logsReplaced(_ incidents: [Incident]) -> String {
    let found = incidents.map {
      "\($0.partition): \(detail(of: $0)) (noticed \($0.noticedAt))"
    }
    return sentence(
      found.joined(separator: "; "), "The job reads nothing there until you decide")
      + " " + choices(incidents)
  }

  /// What a person can decide about logs that were replaced, and what each choice means for the
  /// numbers.
  ///
  /// One command holds for all of a topic's logs that are in doubt, where the same choices fit
  /// them.
  private func choices(_ incidents: [Incident]) -> String {
    let topics = Dictionary(grouping: incidents) { [$0.partition.source, $0.partition.topic] }
    return topics.values.sorted { $0[0].partition < $1[0].partition }.flatMap { incidents in
      let partition = incidents[0].partition
      let choices = Self.choices(incidents[0].cause)
      if !incidents.allSatisfy({ Self.choices($0.cause) == choices }) {
        return incidents.map { self.choices([$0]) }
      }
      return choices.map { choice in
        let command = commands.decide(
          .replacedLog(
            choice, source: partition.source, topic: partition.topic,
            partition: incidents.count > 1 ? nil : partition.partition))
        return "\(meaning(of: choice)): \(command)"
      }
    }.joined(separator: ". ")
  }

  /// There is nothing to read in a partition that is gone, and nothing to pass over in a log that
  /// ends before progress. A topic that is gone may be there again by now.
  private static func choices(_ cause: Incident.Cause) -> [ReplacedLogChoice] {
    switch cause {
    case .partitionGone: [.keep]
    case .topicGone, .logEnded: [.restart, .keep]
    case .messageChanged, .sentence, .rejects: ReplacedLogChoice.allCases
    }
  }

  private func meaning(of choice: ReplacedLogChoice) -> String {
    switch choice {
    case .restart:
      "To count the new topic from its oldest offset, beside what was counted of the old one"
    case .keep:
      "To go on at the job's next offset and count nothing below it, also if you have restored the "
        + "old topic"
    case .gap: "To record what the topic holds now as a gap, and go on at its end"
    }
  }

  func offsetsLost(_ ranges: [PartitionRange]) -> String {
    let lost = ranges.map {
      "\($0): the broker no longer holds these offsets; it starts at \($0.range.to)"
    }
    return sentence(
      lost.joined(separator: "; "), "Nothing was read",
      "Set source.on_data_loss: skip to record \(ranges.count == 1 ? "a gap" : "gaps") and go on, "
        + "or restore the data")
  }
}
