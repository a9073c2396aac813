internal import Checkpoints
internal import Offsets
internal import Tables

/// Makes sure that the logs are still those that were read: each once, before anything of its
/// partition is counted. Partitions that no plan names cost nothing. Made anew whenever the ends
/// are asked for.
struct LogComparison {
  private var compared: Set<PartitionID> = []

  /// The logs of a plan that are known not to be those that were read.
  ///
  /// - Parameters:
  ///   - partitions: All that were discovered, ascending.
  ///   - heartbeat: Called while messages are waited for; ends the wait by throwing.
  mutating func replacedLogs(
    in plan: BatchPlan, _ partitions: [DiscoveredPartition], _ checkpoint: Checkpoint,
    source: (String) -> any MessageSource, heartbeat: () throws -> Void
  ) throws -> [ReplacedLog] {
    var logs: [(range: PartitionRange, fingerprint: Fingerprint, end: Offset)] = []
    var found = partitions[...]
    for partition in plan.ranges.map(\.partition) where compared.count < partitions.count {
      if compared.contains(partition) { continue }
      found = found.drop { $0.partition < partition }
      guard let fingerprint = checkpoint.fingerprints[partition],
        let ledger = checkpoint.ledgers[partition], let end = found.first?.end,
        let range = ledger.comparable(from: fingerprint.offset, low: end.low)
      else {
        compared.insert(partition)
        continue
      }
      logs.append((PartitionRange(partition, range), fingerprint, end.end))
    }
    for (name, ranges) in BatchPlan.bySource(logs.map(\.range)) {
      try source(name).prepare(Array(ranges))
    }
    var replaced: [ReplacedLog] = []
    for (range, fingerprint, end) in logs {
      let other = try replacedLog(range, fingerprint, end: end) { body in
        try source(range.partition.source).read([range]) { lent in
          try heartbeat()
          body(lent.messages)
        }
      }
      if let other { replaced.append(other) } else { compared.insert(range.partition) }
    }
    return replaced
  }

  /// - Returns: Nil where the log is the one that was read, as far as that can be told.
  private func replacedLog(
    _ range: PartitionRange, _ fingerprint: Fingerprint, end: Offset,
    read: ((UnsafeBufferPointer<Message>) -> Void) throws -> Void
  ) throws -> ReplacedLog? {
    do {
      return try isReplaced(fingerprint, read: read)
        ? ReplacedLog(partition: range.partition, end: end, changedAt: fingerprint.offset) : nil
    } catch let error as SourceError {
      guard case .beyondEnd(let partition, let end) = error.code else { throw error }
      return ReplacedLog(partition: partition, end: end)
    }
  }
}

extension Fingerprint {
  /// The same in every release, because checkpoints hold it.
  init(of message: Message) {
    var hash = mixedHash(UInt64(bitPattern: message.timestampMilliseconds ?? .min))
    for part in [message.key, message.value] {
      // A null is not an empty text.
      hash = part.map { Tables.hash(of: $0, seed: hash) } ?? mixedHash(~hash)
    }
    self.init(
      offset: message.offset, hash: Int64(bitPattern: hash),
      timestampMilliseconds: message.timestampMilliseconds)
  }
}

/// Whether another message stands where the fingerprint's was. A message that is not there proves
/// nothing, as compaction may have removed it; neither does one that cannot be read.
///
/// - Parameter read: Reads the range and hands over its messages.
func isReplaced(
  _ fingerprint: Fingerprint,
  read: ((UnsafeBufferPointer<Message>) -> Void) throws -> Void
) throws -> Bool {
  var isReplaced = false
  do {
    try read { messages in
      guard let found = messages.first(where: { $0.offset == fingerprint.offset }) else { return }
      isReplaced = Fingerprint(of: found).hash != fingerprint.hash
    }
  } catch let error as SourceError {
    switch error.code {
    case .truncated, .undecodable: return isReplaced
    default: throw error
    }
  }
  return isReplaced
}
