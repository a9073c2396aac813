internal import Checkpoints
internal import Jobs
internal import Offsets

/// Messages are decoded and folded as the job read them when they were counted: each range under
/// its own definition.
extension StoredDefinitions {
  /// The job as it was under a definition; nil where that cannot be made again.
  ///
  /// - Parameter job: As the checkpoint goes on with it.
  func job(_ number: Int64, of job: Job) -> Job? {
    let former = all[Int(number) - 1].definition
    guard let then = job.under(former, number: number) else { return nil }
    if number == history.newest && former == job.definition { return then }
    return then.continuing(
      DefinitionHistory(Array(history.definitions.prefix(Int(number)))))
  }
}

extension Verifier {
  /// Offsets of one partition that no batch of the history tells of, by their definitions. New
  /// messages were read in the order of offsets; of those of a backfill it is not known when they
  /// were.
  func byDefinition(
    _ offsets: OffsetRangeSet, of partition: PartitionID
  ) -> (known: [(number: Int64, OffsetRangeSet)], unknown: OffsetRangeSet) {
    guard definitions.all.count > 1 else { return ([(1, offsets)], OffsetRangeSet()) }
    let unknown = offsets.intersection(copy.ledgers[partition]?.backfilled ?? OffsetRangeSet())
    var known: [(number: Int64, OffsetRangeSet)] = []
    var (number, from) = (Int64(1), Offset(0))
    func close(at end: Offset) {
      guard end > from else { return }
      let part = offsets.subtracting(unknown)
        .intersection(OffsetRangeSet([OffsetRange(from: from, to: end)]))
      if !part.isEmpty { known.append((number, part)) }
    }
    for change in definitions.changes(of: partition) {
      close(at: change.from)
      (number, from) = (change.number, max(from, change.from))
    }
    close(at: .max)
    return (known, unknown)
  }

  /// Leaves out offsets whose definition cannot be made again.
  func leaveOut(_ offsets: OffsetRangeSet, of partition: PartitionID) {
    notDecoded[partition] = (notDecoded[partition] ?? OffsetRangeSet()).union(offsets)
  }
}
