/// The newest message of a partition that the job has read. A later run compares it with what the
/// broker holds at its offset, and so tells whether the log is still the one that was read.
package struct Fingerprint: Hashable, Sendable {
  package let offset: Offset
  /// Of the message's key, value and timestamp: two messages of one hash are taken for the same.
  package let hash: Int64
  /// The message's own; nil where it has none, and where an older release stored the fingerprint.
  package let timestampMilliseconds: Int64?

  package init(offset: Offset, hash: Int64, timestampMilliseconds: Int64? = nil) {
    self.offset = offset
    self.hash = hash
    self.timestampMilliseconds = timestampMilliseconds
  }
}
