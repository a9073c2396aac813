import Engine
import Offsets
import Trials

/// A cluster in memory, some of whose answers a test changes, counts or disturbs.
protocol ForwardingSource: MessageSource {
  var inner: MemorySource { get }
}

extension ForwardingSource {
  var source: String { inner.source }
  func clusterID() throws(SourceError) -> String? { try inner.clusterID() }
  func partitionCounts(of topics: [String]) throws(SourceError) -> [String: Int32] {
    try inner.partitionCounts(of: topics)
  }
  func ends(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: PartitionEnd] {
    try inner.ends(of: partitions)
  }
  func highWatermarks(of partitions: [PartitionID]) throws(SourceError) -> [PartitionID: Offset] {
    try inner.highWatermarks(of: partitions)
  }
  func offsets(at timestampMilliseconds: Int64, of partitions: [PartitionID])
    throws(SourceError) -> [PartitionID: Offset]
  {
    try inner.offsets(at: timestampMilliseconds, of: partitions)
  }
  func prepare(_ ranges: [PartitionRange]) throws(SourceError) { try inner.prepare(ranges) }
  func read(_ ranges: [PartitionRange], _ body: (LentMessages) throws -> Void) throws {
    try inner.read(ranges, body)
  }
  func committed(
    of partitions: [PartitionID], in group: String
  ) throws(SourceError) -> [PartitionID: CommittedOffset] {
    try inner.committed(of: partitions, in: group)
  }
  func commit(
    _ offsets: [PartitionID: Offset], to group: String, metadata: String
  ) throws(SourceError) -> Bool { try inner.commit(offsets, to: group, metadata: metadata) }
}
