internal import Checkpoints
internal import Engine
internal import Escaping
internal import Expressions
internal import Offsets
package import Tables
internal import Windows

/// Batches that cannot be committed, and objects that cannot be rendered.
extension Words {
  func text(of fault: BatchFault) -> String {
    // Offsets of a backfill lie behind progress: nothing there is to be passed over.
    func passOver(_ decision: Decision, _ remedy: String) -> String {
      guard let backfill = fault.backfill else {
        return " \(remedy): \(commands.decide(decision))"
      }
      return " To leave these offsets out, give up what is left of backfill \(backfill) and ask "
        + "for the offsets around them: \(commands.decide(.cancelBackfill(backfill)))"
    }
    let batch = "batch \(fault.batch), \(list(fault.ranges))"
    let uncommitted = "Nothing of batch \(fault.batch) was committed"
    switch fault.problem {
    case .rejects(let partition, let offset, let stop):
      return rejects(partition, offset, stop)
    case .fold(let partition, let error):
      let range = PartitionRange(
        partition, OffsetRange(from: error.offset, to: error.offset + 1))
      return sentence("\(partition) offset \(error.offset): \(error)", uncommitted)
        + passOver(.skip(range), error.remedy)
    case .tooManyGroups(let count, let limit):
      return sentence(
        "\(batch): the batch holds \(count) groups, and limits.groups_per_window is \(limit)",
        uncommitted, "Raise the limit, or lower trigger.max_offsets")
    case .checkpoint(let error):
      return sentence("\(batch): \(error)", remedy(error))
    case .expression(let error):
      return sentence("\(batch): \(error)", uncommitted, "Correct where or select")
    case .rendering(let error):
      return sentence(
        "\(batch): \(error)", uncommitted,
        "Correct select, or lower trigger.max_offsets if the object is too large")
    case .undecodable(let partition, let error):
      return sentence(error.description, uncommitted)
        + passOver(
          .skipUndecodable(partition),
          "Restore the messages from another copy of the topic, or pass over them")
    }
  }

  /// Also of a batch that an earlier run stopped at.
  func rejects(_ partition: PartitionID, _ offset: Offset, _ stop: RejectStop) -> String {
    let what = what(reason: stop.reason, field: stop.field, text: stop.text)
    let were = stop.rejectedCount == 1 ? "was" : "were"
    let why =
      switch stop.rule {
      case .policy:
        "\(stop.rejectedCount) of the batch's records \(were) rejected, and rejects.policy is fail"
      case .share:
        "\(stop.rejectedCount) of the newest \(stop.judgedCount) records \(were) rejected: "
          + "more than rejects.max_share (\(percent(stop.maxShare)) %)"
      case .nothingDecoded:
        "No record of this job has decoded yet, and \(stop.rejectedCount) \(were) rejected"
      }
    let correct =
      switch Reject.Reason(rawValue: stop.reason) {
      case .keyTooLong: "Raise limits.key_bytes"
      case .recordTooLarge: "Raise limits.record_bytes or limits.batch_bytes"
      case .expressionFailed: "Correct \(stop.field ?? "the expression")"
      case .nullValue: "If the topic holds tombstones, write source.tombstones: skip"
      case .futureTimestamp:
        "Correct the unit of \(stop.field ?? "the time") in source.fields, or raise limits.future"
      default: "Correct source.format or source.fields"
      }
    let remedy =
      stop.rule == .nothingDecoded
      ? "\(correct), and run again. If the records are bad, keep these rejects and go on"
      : "\(correct), or wait for good records. To keep these rejects and go on"
    return sentence(
      "\(partition) offset \(offset), record \(stop.record): \(what)", why,
      "Nothing of batch \(stop.batch) was committed")
      + " \(remedy): \(commands.decide(.acceptRejects))"
  }

  /// `wrongType in field n: "x"`
  package func text(of reject: Reject) -> String {
    what(
      reason: reject.reason.rawValue, field: reject.field,
      text: reject.text.map { String(decoding: $0, as: UTF8.self) })
  }

  private func what(reason: String, field: String?, text: String?) -> String {
    // A value that is null is no value that is empty, and people call it so.
    (reason == Reject.Reason.nullValue.rawValue
      ? "\(reason) (null value: a tombstone)" : reason)
      + (field.map { " in field \($0)" } ?? "")
      + (text.map { ": \"\(ForeignText.quoted($0, byteLimit: 100))\"" } ?? "")
  }

  func unrenderable(_ faults: [RenderFault]) -> String {
    guard let first = faults.first else { return "" }
    let subject =
      switch first.subject {
      case .window(let label): "window \(label)"
      case .rejects(let batch): "rejects of batch \(batch)"
      }
    let others =
      switch faults.count - 1 {
      case 0: ""
      case 1: "One other object cannot be rendered either"
      case let count: "\(count) other objects cannot be rendered either"
      }
    return sentence(
      "job \(first.job), \(subject): \(first.cause)",
      "This object was not published; those that can be rendered were", others,
      "Correct select, and run again")
  }
}
