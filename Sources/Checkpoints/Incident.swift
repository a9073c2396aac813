internal import Foundation
package import Offsets
internal import Tables

/// A loss or doubt that a person must decide. It stays until it is resolved.
package struct Incident: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    /// The log of a partition ends before progress, or the partition is gone: the topic was made
    /// anew, or the broker lost data.
    case logReplaced = "log_replaced"
    /// Too many records of a batch did not decode.
    case rejects
  }

  package let kind: Kind
  /// The partition concerned; for rejects that of the first one.
  package let partition: PartitionID
  /// Progress when it was noticed; for rejects the first one's offset.
  package let nextOffset: Offset
  /// Nil where the partition is gone, and for rejects.
  package let logEnd: Offset?
  package let cause: Cause
  package let noticedAt: String
  package let lastSeenAt: String

  package init(
    kind: Kind, partition: PartitionID, nextOffset: Offset, logEnd: Offset?, cause: Cause,
    noticedAt: String, lastSeenAt: String
  ) {
    self.kind = kind
    self.partition = partition
    self.nextOffset = nextOffset
    self.logEnd = logEnd
    self.cause = cause
    self.noticedAt = noticedAt
    self.lastSeenAt = lastSeenAt
  }
}

/// What was found. It is stored as JSON; a release before 0.3 stored a sentence.
extension Incident {
  package enum Cause: Sendable, Equatable {
    /// The log ends before the next offset.
    case logEnded
    /// Another message than the job has read stands at this offset.
    case messageChanged(Offset)
    /// The topic is there, without this partition.
    case partitionGone
    /// The brokers do not know the topic.
    case topicGone
    case rejects(RejectStop)
    case sentence(String)
  }
}

/// Why the rejects of a batch stopped it.
package struct RejectStop: Decodable, Sendable, Equatable {
  package enum Rule: String, Decodable, Sendable {
    /// `rejects.policy: fail`
    case policy
    case share
    /// Not one record of the job has ever decoded: its format is not the topic's.
    case nothingDecoded = "nothing_decoded"
  }
  package let batch: Int64
  /// Of the first reject: its number in the message, `Reject.Reason` and the field at fault.
  package let record: Int
  package let reason: String
  package let field: String?
  /// The first bytes of the text at fault, as it came; nil where there is none, and in what an
  /// older release stored.
  package let text: String?
  package let rule: Rule
  package let rejectedCount: Int64
  package let judgedCount: Int64
  /// `rejects.max_share`, from 0 to 1.
  package let maxShare: Double

  package init(
    batch: Int64, record: Int, reason: String, field: String?, text: String?, rule: Rule,
    rejectedCount: Int64, judgedCount: Int64, maxShare: Double
  ) {
    self.batch = batch
    self.record = record
    self.reason = reason
    self.field = field
    self.text = text
    self.rule = rule
    self.rejectedCount = rejectedCount
    self.judgedCount = judgedCount
    self.maxShare = maxShare
  }

  fileprivate var json: String {
    let field = field.map { #""field":\#(JSONText.quoted($0)),"# } ?? ""
    let text = text.map { #","text":\#(JSONText.quoted($0))"# } ?? ""
    return #"{"batch":\#(batch),\#(field)"judgedCount":\#(judgedCount),"maxShare":\#(maxShare),"#
      + #""reason":\#(JSONText.quoted(reason)),"record":\#(record),"#
      + #""rejectedCount":\#(rejectedCount),"rule":"\#(rule.rawValue)"\#(text)}"#
  }
}

extension Incident.Cause {
  private struct Stored: Decodable {
    let cause: String
    let offset: Offset?
    let rejects: RejectStop?
  }

  /// What the column `detail` holds.
  var stored: String {
    switch self {
    case .logEnded: #"{"cause":"log_ended"}"#
    case .messageChanged(let offset): #"{"cause":"message_changed","offset":\#(offset)}"#
    case .partitionGone: #"{"cause":"partition_gone"}"#
    case .topicGone: #"{"cause":"topic_gone"}"#
    case .rejects(let stop): #"{"cause":"rejects","rejects":\#(stop.json)}"#
    case .sentence(let text): text
    }
  }

  init(stored text: String) {
    let stored =
      text.hasPrefix("{") ? try? JSONDecoder().decode(Stored.self, from: Data(text.utf8)) : nil
    self =
      switch (stored?.cause, stored?.offset, stored?.rejects) {
      case ("log_ended", _, _): .logEnded
      case ("message_changed", let offset?, _): .messageChanged(offset)
      case ("partition_gone", _, _): .partitionGone
      case ("topic_gone", _, _): .topicGone
      case ("rejects", _, let stop?): .rejects(stop)
      default: .sentence(text)
      }
  }
}
