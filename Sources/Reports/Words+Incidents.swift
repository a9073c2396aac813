package import Checkpoints
internal import Engine
internal import Offsets

/// Losses and doubts that a person must decide.
extension Words {
  /// What was found; for rejects also what to do.
  package func detail(of incident: Incident) -> String {
    switch incident.cause {
    case .logEnded:
      "the next offset is \(incident.nextOffset), and the log ended at "
        + "\(incident.logEnd ?? 0): the topic was deleted and made again, or the broker lost data"
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
        + "\(incident.lastSeenAt). Restore the topic, or go on at the job's progress: "
        + keep([incident])
    case .rejects: "\(detail(of: incident)) (noticed \(incident.noticedAt))"
    }
  }

  func logsReplaced(_ incidents: [Incident]) -> String {
    let found = incidents.map {
      "\($0.partition): \(detail(of: $0)) (noticed \($0.noticedAt))"
    }
    return sentence(
      found.joined(separator: "; "), "Nothing was read",
      "The job does not read offsets below its progress again: to count the new topic from its "
        + "start, give the job a new name and another output.to")
      + " If the topic was restored, or if the job is to go on with the records from its progress "
      + "on: \(keep(incidents))"
  }

  private func keep(_ incidents: [Incident]) -> String {
    guard let partition = incidents.first?.partition else { return "" }
    return commands.decide(
      .keepProgress(
        source: partition.source, topic: partition.topic,
        partition: incidents.count == 1 ? partition.partition : nil))
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
