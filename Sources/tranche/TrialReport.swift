import Checkpoints
import Engine
import Escaping
import Formats
import Jobs
import Offsets
import Reports
import Tables
import Trials

/// What a trial says, for a person and for a program.
struct TrialReport {
  private let job: Job
  private let trial: Trial
  private let messageCount: Int

  init(_ job: Job, _ trial: Trial, messageCount: Int) {
    self.job = job
    self.trial = trial
    self.messageCount = messageCount
  }

  /// Rejects of one kind.
  private struct RejectGroup: Encodable {
    let reason: String
    let field: String?
    var records: Int
    let topic: String
    let partition: Int32
    let offset: Int64
    let text: String?

    func isSame(_ reject: StoredReject) -> Bool {
      reason == reject.reason && field == reject.field
    }
  }

  /// The most frequent first.
  private var rejectGroups: [RejectGroup] {
    var groups: [RejectGroup] = []
    for reject in trial.rejects {
      if let index = groups.firstIndex(where: { $0.isSame(reject) }) {
        groups[index].records += 1
      } else {
        groups.append(
          RejectGroup(
            reason: reject.reason, field: reject.field, records: 1,
            topic: reject.partition.topic, partition: reject.partition.partition,
            offset: reject.offset,
            text: reject.raw.map { String(decoding: $0.prefix(256), as: UTF8.self) }))
      }
    }
    return groups.enumerated().sorted {
      ($1.element.records, $0.offset) < ($0.element.records, $1.offset)
    }
    .map(\.element)
  }

  func summary(isCutBySize: Bool) -> String {
    let summary = trial.summary
    if messageCount == 0 { return "\(job.name): the topics hold no messages" }
    var parts = [
      "\(job.name): the newest \(counted(messageCount, "message"))",
      counted(summary.recordCount, "record"),
    ]
    if summary.countedCount != summary.recordCount {
      parts.append("\(grouped(summary.recordCount - summary.countedCount)) left out by where")
    }
    parts.append("\(grouped(summary.rejectedCount)) rejected")
    if summary.tombstoneCount > 0 { parts.append(skippedTombstones(summary.tombstoneCount)) }
    return parts.joined(separator: ", ") + ". Nothing is kept."
      + (isCutBySize ? " Older messages were left out, because these are large." : "")
  }

  var rejectLines: [String] {
    let groups = rejectGroups
    if groups.isEmpty { return [] }
    let rows = groups.map { group in
      [
        grouped(Int64(group.records)), group.reason, group.field ?? "",
        "\(group.topic)[\(group.partition)] \(group.offset)",
        group.text.map { ForeignText.quoted($0, byteLimit: 60) } ?? "",
      ]
    }
    let table = aligned(["rejected", "reason", "field", "first at", "record"], rows, numeric: [0])
    return ["\n" + table] + (stop.map { ["", $0] } ?? [])
  }

  /// What the job's own rules would make of the rejects.
  private var stop: String? {
    let summary = trial.summary
    let rule = job.ruleAgainst(
      recordCount: summary.recordCount,
      rejectedCount: summary.rejectedCount - summary.lateCount)
    return switch rule {
    case nil: nil
    case .policy: "A run would stop at the first of them: rejects.policy is fail."
    case .share: "A run would stop: more records are rejected than rejects.max_share allows."
    case .nothingDecoded:
      "A run would stop: no record decodes. Correct source.format or source.fields."
    }
  }

  func jsonText(_ failures: [Failure], _ exitCode: Int32) throws -> String {
    struct Report: Encodable {
      let job: String
      let messages: Int
      let records, counted, rejected, tombstones: Int64
      let rejects: [RejectGroup]
      let would_stop: String?
      let exit_code: Int32
      let error: String?
      let errors: [Failure]?
    }
    let summary = trial.summary
    let line = try jsonLine(
      Report(
        job: job.name, messages: messageCount, records: summary.recordCount,
        counted: summary.countedCount, rejected: summary.rejectedCount,
        tombstones: summary.tombstoneCount, rejects: rejectGroups,
        would_stop: stop, exit_code: exitCode,
        error: failures.isEmpty ? nil : failures.map(\.message).joined(separator: "\n"),
        errors: failures.isEmpty ? nil : failures))
    // Rows have the form that objects in JSON have.
    let results = try trial.results.map { result in
      let rows = String(decoding: try JSONLinesEncoder.encode(result.table), as: UTF8.self)
        .split(separator: "\n").joined(separator: ",")
      return "{\"name\":\(JSONText.quoted(result.name)),"
        + "\"title\":\(JSONText.quoted(result.title)),\"rows\":[\(rows)]}"
    }
    return line.dropLast() + ",\"results\":[\(results.joined(separator: ","))]}"
  }
}
