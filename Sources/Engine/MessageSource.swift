package import Offsets

/// One Kafka cluster as the engine needs it: metadata, ends, ranged reads.
///
/// A call may be repeated; each has a deadline of its own, so that a run cannot hold its lock for
/// ever. Used from one thread.
package protocol MessageSource: AnyObject {
  /// The name under which the job file and the checkpoint know the cluster.
  var source: String { get }

  /// The id that the brokers report; nil where they report none.
  func clusterID() throws(SourceError) -> String?
  /// The number of partitions of each topic; a topic that does not exist is an error.
  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32]
  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd]
  /// The offset after the newest there is: above the end while a transaction is open. For people
  /// who ask, not for runs.
  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset]
  /// The first offset at or after an instant; the end when there is none.
  func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID]) throws(SourceError)
    -> [PartitionID: Offset]
  /// Says which ranges will be read: now, so that they are fetched while another source is read, or
  /// after those.
  func prepare(_ ranges: [PartitionRange]) throws(SourceError)
  /// Lends all messages of some ranges, of one partition each, some at a time. Those of a range
  /// come in the order of their offsets; ranges take turns as their messages arrive. The bytes die
  /// when `body` returns.
  ///
  /// The source may also lend messages ahead: of a range that ``prepare(_:)`` was told of and that
  /// begins where one of these ends, in order, from its start. A later read that begins behind them
  /// goes on there. Any other read seeks, and lends again what it asks for.
  ///
  /// While nothing comes, `body` is called with `.nothing` now and then, so that it can end the
  /// wait by throwing.
  /// - Parameter ranges: A range may be empty.
  /// - Throws: ``SourceError``, or what `body` throws.
  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws

  /// What a consumer group has committed of some partitions. Nothing for one where it has not.
  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset]
  /// Commits offsets to a group from outside of it, for others to see.
  ///
  /// - Parameter metadata: What is written beside each of them.
  /// - Returns: False where consumers take part in the group: it is left as it is then.
  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool
}

/// Between which offsets a partition can be read now.
package struct PartitionEnd: Sendable, Equatable {
  /// The oldest offset that the broker holds.
  package let low: Offset
  /// The offset after the newest that may be read: under read_committed the last stable offset.
  package let end: Offset

  package init(low: Offset, end: Offset) {
    self.low = low
    self.end = end
  }
}

/// Why a source did not answer as asked.
package struct SourceError: Error, Equatable, CustomStringConvertible {
  package enum Code: Equatable, Sendable {
    case unreachable, refused, unknownTopic
    /// The broker no longer holds the start of the range.
    case truncated(oldestHeld: Offset)
    /// The range lies beyond the log's end: the topic was made anew, or lost data.
    case beyondEnd(PartitionID, end: Offset)
    /// Messages that cannot be decompressed or are damaged, from this offset on.
    case undecodable(PartitionID, baseOffset: Offset)
    case misconfigured
    /// This machine gives no more threads, memory or open files.
    case lackOfResources
    case other
  }
  /// What the client knows of the reason, as far as another remedy follows from it.
  package enum Cause: Equatable, Sendable, CaseIterable {
    case advertisedAddress, silent, closedAtOnce, wantsLogin, notKafka, answerTooLarge
    case speaksTLS, speaksNoTLS, closedInHandshake, unverifiedCertificate, clientCertificate
    case mechanism, login, token, tokenServer
  }
  package let code: Code
  package let cause: Cause?
  /// The source, with the topic, partition or range where there is one.
  package let place: String
  package let reason: String

  package init(_ code: Code, place: String, reason: String, cause: Cause? = nil) {
    self.code = code
    self.cause = cause
    self.place = place
    self.reason = reason
  }

  /// What happened, and where. What to do about it is said in `Reports`.
  package var description: String { "\(place): \(reason)" }
}
