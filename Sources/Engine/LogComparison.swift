internal import Offsets
internal import Tables

extension Fingerprint {
  /// The same in every release, because checkpoints hold it.
  init(of message: Message) {
    var hash = mixedHash(UInt64(bitPattern: message.timestampMilliseconds ?? .min))
    for part in [message.key, message.value] {
      // A null is not an empty text.
      hash = part.map { Tables.hash(of: $0, seed: hash) } ?? mixedHash(~hash)
    }
    self.init(offset: message.offset, hash: Int64(bitPattern: hash))
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
      isReplaced = Fingerprint(of: found) != fingerprint
    }
  } catch let error as SourceError {
    switch error.code {
    case .truncated, .undecodable: return isReplaced
    default: throw error
    }
  }
  return isReplaced
}
