internal import GRDB
package import Offsets
internal import Tables

/// What is read and what is not: starts, gaps, clusters, and what is left of a partition.
extension Checkpoint {
  /// Stores the resolved start of partitions met for the first time, before anything of them is
  /// read.
  package func start(_ starts: [PartitionID: Offset]) throws(CheckpointError) {
    guard !starts.isEmpty else { return }
    var added: [PartitionID: Progress] = [:]
    try write { database in
      for (partition, offset) in starts.sorted(by: { $0.key < $1.key }) {
        try database.execute(
          sql:
            "INSERT INTO partitions (source, topic, partition, start_offset, next_offset) VALUES "
            + "(?, ?, ?, ?, ?)",
          arguments: [partition.source, partition.topic, partition.partition, offset, offset])
        added[partition] = Progress(
          startOffset: offset, nextOffset: offset, identifier: database.lastInsertedRowID)
      }
    }
    progress.merge(added) { _, new in new }
  }

  /// Records offsets that are never to be read. Progress passes over them when it gets there; at
  /// once if it stands at their start.
  ///
  /// - Precondition: the range is not empty, begins at or after the partition's next offset and
  ///   meets no other gap.
  package func recordGap(_ gap: PartitionRange, reason: GapReason, now: Int64)
    throws(CheckpointError)
  {
    guard let held = progress[gap.partition] else {
      throw CheckpointError(.invariant("\(gap.partition) has no start offset"), path: path)
    }
    precondition(
      !gap.range.isEmpty && gap.range.from >= held.nextOffset,
      "gap \(gap) before progress \(held.nextOffset)")
    // Another gap may begin where this one ends.
    let isAtProgress = gap.range.from == held.nextOffset
    let landing = landing(gap.partition, gap.range.to)
    try write { database in
      try database.execute(
        sql: "INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)",
        arguments: [
          gap.partition.source, gap.partition.topic, gap.partition.partition, gap.range.from,
          gap.range.to, reason.rawValue,
          TimestampText.format(milliseconds: now),
        ])
      if isAtProgress {
        let statement = try BoundStatement(database, sql: Self.moveProgress)
        try moveProgress(
          of: gap.partition, from: gap.range.from, to: landing, statement, in: database)
      }
      if hasOpenRejects { try closeRejectIncidents(now: now, in: database) }
      // What was in flight may hold these offsets; it is planned anew.
      try database.execute(sql: "DELETE FROM in_flight")
    }
    if isAtProgress {
      progress[gap.partition]?.nextOffset = landing
    } else {
      gapsAhead[gap.partition, default: []].append(gap.range)
    }
    inFlight = nil
  }

  /// A recorded gap ahead of progress that shares offsets with this range.
  package func gapMeeting(_ range: PartitionRange) -> OffsetRange? {
    gapsAhead[range.partition]?.first { $0.from < range.to && range.from < $0.to }
  }

  /// What of a partition is left to read before its end or the next gap, whichever comes first;
  /// empty where that is nothing, nil where it was never met.
  ///
  /// - Parameter from: Where progress will stand when a batch at hand is committed; nil for where
  ///   it stands.
  package func unread(_ partition: PartitionID, from: Offset? = nil, end: Offset) -> PartitionRange?
  {
    guard let from = from.map({ landing(partition, $0) }) ?? progress[partition]?.nextOffset else {
      return nil
    }
    let gap =
      gapsAhead.isEmpty
      ? nil : gapsAhead[partition]?.filter { $0.from >= from }.min { $0.from < $1.from }
    let to = min(end, gap?.from ?? end)
    return PartitionRange(partition, OffsetRange(from: from, to: max(from, to)))
  }

  /// Where progress stands after a partition was read up to an offset: there, or behind the gaps
  /// that begin there.
  func landing(_ partition: PartitionID, _ offset: Offset) -> Offset {
    if gapsAhead.isEmpty { return offset }
    var offset = offset
    while let gap = gapsAhead[partition]?.first(where: { $0.from == offset }) { offset = gap.to }
    return offset
  }

  /// Compares a cluster's id with the one stored, or stores it on first contact.
  ///
  /// - Throws: ``CheckpointError`` with code `wrongCluster`.
  package func confirmCluster(source: String, clusterID: String) throws(CheckpointError) {
    let stored: String?
    do {
      stored = try queue.read { database in
        try database.checkedRow(
          of: "clusters", "SELECT source, cluster_id FROM clusters WHERE source = ?",
          arguments: [source], identifiedBy: 1
        ) { try $0.text(1) }
      }
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
    guard let stored else {
      return try write { database in
        try database.execute(
          sql: "INSERT INTO clusters VALUES (?, ?)", arguments: [source, clusterID])
      }
    }
    guard stored == clusterID else {
      if try read(Self.isUntouched) {
        return try replaceCluster(source: source, clusterID: clusterID)
      }
      throw CheckpointError(
        .wrongCluster(source: source, stored: stored, found: clusterID), path: path)
    }
  }
}

/// Why offsets were passed over.
package enum GapReason: String, Sendable {
  /// By `tranche skip`.
  case skipped
  /// The broker removed them before they were read, and the job says `on_data_loss: skip`.
  case lost
}
