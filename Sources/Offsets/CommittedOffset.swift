/// What stands in a consumer group for a partition.
package struct CommittedOffset: Sendable, Equatable {
  package let offset: Offset
  /// What whoever committed it wrote beside it; mostly nothing.
  package let metadata: String

  package init(_ offset: Offset, metadata: String) {
    self.offset = offset
    self.metadata = metadata
  }
}
