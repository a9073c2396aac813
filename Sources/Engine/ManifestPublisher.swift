internal import Checkpoints
internal import Jobs
internal import ObjectStorage
internal import Offsets
internal import Tables
internal import Windows

/// The last put of a run: tells readers how far the objects are (`output.manifest`).
///
/// It is put where it would say something new, where a run before has not finished with it, and
/// where the store does not hold what was put. So a run that changes nothing puts nothing, and what
/// a run that died has left out is made up for by the next one. Settled like other objects: see
/// ``Settlement``.
struct ManifestPublisher {
  private let job: Job
  private let checkpoint: Checkpoint
  private let reader: CheckpointReader
  private let store: any ObjectStore
  private let claim: DestinationClaim
  private let options: RunOptions

  init(
    _ job: Job, _ checkpoint: Checkpoint, _ reader: CheckpointReader, _ store: any ObjectStore,
    _ claim: DestinationClaim, _ options: RunOptions
  ) {
    self.job = job
    self.checkpoint = checkpoint
    self.reader = reader
    self.store = store
    self.claim = claim
    self.options = options
  }

  /// To be called when nothing else is to be put.
  func publish() throws {
    guard job.output.manifest, let manifest = try reader.manifest(of: job) else { return }
    let bytes = Self.bytes(of: manifest, job)
    let contentHash = Int64(bitPattern: bytes.withUnsafeBytes { hash(of: $0) })
    let key = ObjectKey(ObjectKeys.manifest)
    let before = try reader.manifestState()
    // A run that died may have left a request that is yet to be applied.
    var mayBeReplaced = before?.isDirty ?? false
    if let before, !before.isDirty, before.contentHash == contentHash {
      guard before.isUnsettled else { return }
      if try store.head(key)?.etag == before.etag { return try checkpoint.settle([key.value]) }
      mayBeReplaced = true
    }
    try claim.begin()
    try claim.finish(reader)
    // Again where a request of before is applied after the first.
    for _ in 0..<2 {
      let revision = try checkpoint.beginManifest(ofBatch: manifest.batch)
      let receipt = try store.put(bytes, at: key)
      options.failpoint(.objectsPut)
      try checkpoint.endManifest(
        PublishMark(
          objectKey: key.value, revision: revision, etag: receipt.etag, byteCount: bytes.count,
          renderedBy: Renderer.renderedBy(release: options.release),
          isUnsettled: receipt.hadUnansweredAttempt || mayBeReplaced),
        contentHash: contentHash)
      guard try reader.manifestState()?.isUnsettled == true else { return }
      if try store.head(key)?.etag == receipt.etag { return try checkpoint.settle([key.value]) }
      mayBeReplaced = true
    }
  }

  // MARK: - Form

  /// The same state gives the same bytes.
  static func bytes(of manifest: Manifest, _ job: Job) -> [UInt8] {
    let partitions = manifest.partitions.map { found in
      object([
        ("source", JSONText.quoted(found.partition.source)),
        ("topic", JSONText.quoted(found.partition.topic)),
        ("partition", "\(found.partition.partition)"), ("start_offset", "\(found.start)"),
        ("next_offset", "\(found.next)"),
      ])
    }
    let windows = manifest.objects.map { found in
      object([
        ("window", JSONText.quoted(job.window.label(of: found.window))),
        ("key", JSONText.quoted(found.key)), ("rows", found.rowCount.map { "\($0)" } ?? "null"),
        ("bytes", "\(found.byteCount)"), ("etag", JSONText.quoted(found.etag)),
        ("revision", "\(found.revision)"),
        ("state", JSONText.quoted(found.isFinal ? "final" : "open")),
      ])
    }
    let text = object(
      [
        ("format_version", "1"), ("job", JSONText.quoted(job.name)),
        ("batch", "\(manifest.batch)"), ("committed_at", JSONText.quoted(manifest.committedAt)),
        ("from_batch", "\(manifest.fromBatch)"), ("visible_batch", "\(manifest.visibleBatch)"),
        ("partitions", list(partitions)), ("windows", list(windows)),
      ], separator: ",\n ")
    return Array((text + "\n").utf8)
  }

  private static func object(
    _ members: [(name: String, value: String)], separator: String = ", "
  ) -> String {
    "{" + members.map { "\"\($0.name)\": \($0.value)" }.joined(separator: separator) + "}"
  }

  /// A line for each element.
  private static func list(_ elements: [String]) -> String {
    elements.isEmpty ? "[]" : "[\n  " + elements.joined(separator: ",\n  ") + "]"
  }
}
