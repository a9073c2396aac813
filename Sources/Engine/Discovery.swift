package import Checkpoints
internal import Jobs
internal import Offsets

/// The partitions that the brokers of a cluster have.
func listPartitions(
  of cluster: Job.Cluster, in source: any MessageSource
) throws(SourceError) -> [PartitionID] {
  let counts = try source.partitionCounts(of: cluster.topics)
  return cluster.topics.flatMap { topic in
    (0..<(counts[topic] ?? 0)).map {
      PartitionID(source: cluster.name, topic: topic, partition: $0)
    }
  }.sorted()
}

/// Meets the brokers of a cluster before a person's command stores offsets that they tell.
///
/// - Parameter topics: Of the cluster; at least one.
/// - Throws: `SourceError`; `CheckpointError` where the checkpoint's offsets are another cluster's.
package func confirmCluster(
  of source: any MessageSource, topics: [String], in checkpoint: Checkpoint
) throws {
  _ = try source.partitionCounts(of: topics)
  try confirmCluster(of: source, in: checkpoint)
}

/// Metadata has to come first: librdkafka learns the cluster's id with it, and waits up to a second
/// for it otherwise.
func confirmCluster(of source: any MessageSource, in checkpoint: Checkpoint) throws {
  if let clusterID = try source.clusterID() {
    try checkpoint.confirmCluster(source: source.source, clusterID: clusterID)
  }
}

/// Asks a cluster for the ends of its partitions, and where to start those that are met for the
/// first time.
///
/// - Parameter ledgers: Of every partition of the job that is known.
/// - Returns: Partitions that are gone from a topic, as well.
func discover(
  _ partitions: [PartitionID], of cluster: Job.Cluster, start: Job.StartPosition,
  ledgers: [PartitionID: OffsetLedger], in source: any MessageSource
) throws(SourceError) -> (found: [DiscoveredPartition], starts: [PartitionID: Offset]) {
  let ends = try source.ends(of: partitions)
  let known = ledgers.keys.filter { $0.source == cluster.name }
  let starts = try startOffsets(
    of: partitions.filter { ledgers[$0] == nil }, knownTopics: Set(known.map(\.topic)),
    start: start, ends: ends, source: source)
  var found = partitions.map { partition in
    // A start may lie beyond an end that was asked for a moment earlier.
    let end = ends[partition].map { end in
      PartitionEnd(low: end.low, end: max(end.end, starts[partition] ?? 0))
    }
    return DiscoveredPartition(partition: partition, end: end)
  }
  let listed = Set(partitions)
  for partition in known where cluster.topics.contains(partition.topic) {
    if !listed.contains(partition) {
      found.append(DiscoveredPartition(partition: partition, end: nil))
    }
  }
  return (found, starts)
}

/// Where partitions met for the first time are to be read from: a new topic by the job's rule, a
/// new partition of a known topic from its oldest offset.
private func startOffsets(
  of partitions: [PartitionID], knownTopics: Set<String>, start: Job.StartPosition,
  ends: [PartitionID: PartitionEnd],
  source: any MessageSource
) throws(SourceError) -> [PartitionID: Offset] {
  var starts: [PartitionID: Offset] = [:]
  let new = partitions.filter { !knownTopics.contains($0.topic) }
  switch start {
  case .earliest: for partition in new { starts[partition] = ends[partition]?.low }
  case .latest: for partition in new { starts[partition] = ends[partition]?.end }
  case .timestamp(let milliseconds):
    if !new.isEmpty { starts = try source.offsets(at: milliseconds, of: new) }
  }
  for partition in partitions where knownTopics.contains(partition.topic) {
    starts[partition] = ends[partition]?.low
  }
  return starts
}
