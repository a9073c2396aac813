package import Offsets

/// What a person wants to be counted after all, as it is asked for.
package enum BackfillWish: Equatable, Sendable {
  case ranges([PartitionRange])
  /// What the brokers date from one instant on and before another, in milliseconds since 1970 UTC.
  case times(from: Int64?, to: Int64?)
  /// What progress has passed over.
  case gaps
  /// What lies below the start offsets.
  case beforeStart
}

/// What a wish comes to: which offsets a backfill is to read, and why not the others. Found out
/// without touching anything.
package struct BackfillProposal: Sendable, Equatable {
  package struct Partition: Sendable, Equatable {
    package let partition: PartitionID
    package let answer: OffsetLedger.BackfillAnswer
  }
  /// Ascending; those of which anything was asked for.
  package let partitions: [Partition]

  /// To be read.
  package var taken: [PartitionRange] {
    partitions.flatMap { found in
      found.answer.taken.ranges.map { PartitionRange(found.partition, $0) }
    }
  }
  package var offsetCount: Int64 { taken.reduce(0) { $0 + $1.count } }

  /// A partition that the job has not read.
  package struct UnknownPartition: Error, Equatable { package let partition: PartitionID }

  /// - Parameters:
  ///   - ledgers: Of every partition that is known.
  ///   - isWanted: Which partitions a wish that names none is for.
  ///   - sources: One per cluster of the job. Times become offsets here, once.
  /// - Throws: ``UnknownPartition``, or `SourceError`.
  package init(
    _ wish: BackfillWish, of ledgers: [PartitionID: OffsetLedger],
    where isWanted: (PartitionID) -> Bool, in sources: [any MessageSource]
  ) throws {
    var wanted: [PartitionID: OffsetRangeSet] = [:]
    func want(_ offsets: (OffsetLedger) -> OffsetRangeSet) {
      for (partition, ledger) in ledgers where isWanted(partition) {
        wanted[partition] = offsets(ledger)
      }
    }
    switch wish {
    case .ranges(let ranges):
      for range in ranges {
        guard ledgers[range.partition] != nil else {
          throw UnknownPartition(partition: range.partition)
        }
        wanted[range.partition, default: OffsetRangeSet()].insert(range.range)
      }
    case .gaps: want(\.passedOver)
    case .beforeStart: want { OffsetRangeSet([OffsetRange(from: 0, to: $0.start)]) }
    case .times: want { _ in OffsetRangeSet([OffsetRange(from: 0, to: .max)]) }
    }
    wanted = wanted.filter { !$0.value.isEmpty }
    var partitions: [Partition] = []
    for source in sources {
      let asked = wanted.keys.filter { $0.source == source.source }.sorted()
      if asked.isEmpty { continue }
      let counts = try source.partitionCounts(of: Set(asked.map(\.topic)).sorted())
      // A topic that was made anew may have fewer partitions: brokers refuse to answer for others.
      let there = asked.filter { $0.partition < counts[$0.topic] ?? 0 }
      let ends = try source.ends(of: there)
      var (from, to): ([PartitionID: Offset], [PartitionID: Offset]) = ([:], [:])
      if case .times(let first, let last) = wish {
        from = try first.map { try source.offsets(at: $0, of: there) } ?? [:]
        to = try last.map { try source.offsets(at: $0, of: there) } ?? [:]
      }
      for partition in asked {
        guard let ledger = ledgers[partition], var offsets = wanted[partition] else { continue }
        if let from = from[partition] { offsets.remove(OffsetRange(from: 0, to: from)) }
        if case .times = wish {
          // What lies at progress or above is named as well, up to where the log ends.
          let end = to[partition] ?? ends[partition]?.end ?? 0
          offsets.remove(OffsetRange(from: end, to: .max))
        }
        if offsets.isEmpty { continue }
        let held = ends[partition].map { OffsetRange(from: $0.low, to: $0.end) }
        let answer = ledger.answer(
          toBackfill: offsets, held: held ?? OffsetRange(from: 0, to: 0))
        partitions.append(Partition(partition: partition, answer: answer))
      }
    }
    self.partitions = partitions.sorted { $0.partition < $1.partition }
  }
}
