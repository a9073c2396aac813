internal import Checkpoints
internal import Expressions
internal import Jobs
internal import Logging
internal import ObjectStorage

/// The end of a run: asks the store about objects whose writing got no clear answer, and deletes
/// objects that a change of place left behind.
///
/// A request without an answer may be applied after a newer one was acknowledged. So an unsettled
/// object is asked for at the end of this run and at the end of the next, and published again where
/// the store holds something else.
struct Settlement {
  private let job: Job
  private let checkpoint: Checkpoint
  private let reader: CheckpointReader
  private let store: any ObjectStore
  private let claim: DestinationClaim
  private let storeAt: (Job.Output.Destination) throws -> any ObjectStore
  private let options: RunOptions
  private let logger: Logger

  init(
    _ job: Job, _ checkpoint: Checkpoint, _ reader: CheckpointReader, _ store: any ObjectStore,
    _ claim: DestinationClaim,
    storeAt: @escaping (Job.Output.Destination) throws -> any ObjectStore,
    _ options: RunOptions, _ logger: Logger
  ) {
    self.job = job
    self.checkpoint = checkpoint
    self.reader = reader
    self.store = store
    self.claim = claim
    self.storeAt = storeAt
    self.options = options
    self.logger = logger
  }

  /// - Parameter hasReadAll: Whether this run has read up to the ends it saw.
  /// - Returns: What kept single objects from being published again.
  func settle(_ summary: inout RunSummary, hasReadAll: Bool) throws -> [RunError] {
    var errors: [RunError] = []
    let unsettled = try reader.unsettledOutputs().filter { $0.kind != .manifest }
    if !unsettled.isEmpty {
      let differing = try unsettled.filter {
        try store.head(ObjectKey($0.objectKey))?.etag != $0.etag
      }.map(\.objectKey)
      if !differing.isEmpty {
        try checkpoint.publishAgain(differing)
        let publisher = try Publisher(
          job: job, store: store, claim: claim,
          reader: reader, options: options)
        _ = publisher.tell(.finishing)
        while publisher.step() == .worked {}
        let published = publisher.outcome
        summary.publishedCount += published.count
        summary.publisherTimes.add(published.times)
        try checkpoint.commitMarks(publisher.takeMarks())
        if published.failure != nil { return published.errors }
        errors = published.errors
      }
      try checkpoint.settle(unsettled.map(\.objectKey).filter { !differing.contains($0) })
    }
    if try !job.output.manifest && reader.manifestState() != nil {
      try checkpoint.retireManifest()
    }
    if try reader.dirtyResults().isEmpty {
      try deleteRetired(try reader.retiredObjects(), hasReadAll: hasReadAll)
    }
    return errors
  }

  /// Deletes what stands at a former place or in a former format, where it is still what we
  /// published. What cannot be deleted now is tried again by the next run.
  private func deleteRetired(_ objects: [RetiredObject], hasReadAll: Bool) throws {
    if objects.isEmpty { return }
    let current = Set(try reader.objectKeys(of: job))
    let written = Set(current.map(Self.withoutFormat))
    for (text, objects) in Dictionary(grouping: objects, by: \.place).sorted(by: { $0.key < $1.key }
    ) {
      guard let place = Job.Output.Destination(text: text) else {
        throw CheckpointError(
          .corrupt(
            reason: "table retired_objects names \(text), which is not a valid destination"),
          path: checkpoint.path)
      }
      // After a reset the state may not have come to a window yet: its object stays until then.
      let done = objects.filter {
        hasReadAll || written.contains(Self.withoutFormat($0.objectKey))
      }
      if done.isEmpty { continue }
      do {
        let former = place == job.output.destination ? store : try storeAt(place)
        // Another spelling of the same place: what stands there is current.
        if try isSamePlace(former) {
          try claim.begin()
          try claim.finish(reader)
          for object in done {
            if !current.contains(object.objectKey) { try delete(object, in: former, isOurs: true) }
            try checkpoint.forgetRetired([object])
          }
        } else {
          let isEmptied = try done.count == objects.count && !reader.hasEvicted(at: text)
          try leave(former, done, isEmptied: isEmptied)
        }
      } catch let error as ObjectStoreError {
        logger.warning(
          "could not delete objects at a former destination",
          metadata: ["place": "\(text)", "cause": "\(error)"])
      }
    }
  }

  /// `batch=000000042/part-0` of `batch=000000042/part-0.csv`: two objects of one window differ in
  /// their format alone.
  private static func withoutFormat(_ key: String) -> Substring {
    key[..<(key.lastIndex(of: ".") ?? key.endIndex)]
  }

  /// Also where a bind mount or an access point gives one place two names: both show the same
  /// marker.
  private func isSamePlace(_ former: any ObjectStore) throws -> Bool {
    if former.identity == store.identity { return true }
    let marker = try OwnerMarker.read(from: former)
    return try marker != .none && marker == OwnerMarker.read(from: store)
  }

  /// Deletes our objects at a place that this job has left, and our marker last.
  ///
  /// - Parameter isEmptied: Whether these are all of ours that are left there.
  private func leave(
    _ former: any ObjectStore, _ objects: [RetiredObject], isEmptied: Bool
  ) throws {
    let marker = try OwnerMarker.read(from: former)
    var isOurs = false
    if case .found(let marker) = marker {
      isOurs = try checkpoint.ownerTokens().contains(marker.token)
    }
    if marker != .none && !isOurs {
      logger.warning(
        "left objects at a former destination: it belongs to another job now",
        metadata: [
          "place": "\(former.location)", "objects": .stringConvertible(objects.count),
        ])
    } else {
      if marker != .none { try former.holdPlace() }
      for object in objects { try delete(object, in: former, isOurs: isOurs) }
    }
    if isOurs && isEmptied { try former.delete(ObjectKey(ObjectKeys.owner)) }
    try checkpoint.forgetRetired(objects)
  }

  private func delete(_ object: RetiredObject, in store: any ObjectStore, isOurs: Bool) throws {
    if try !store.delete(object, isOurs: isOurs) {
      logger.warning(
        "left an object at a former destination: this job did not publish it",
        metadata: ["object": "\(store.location)/\(object.objectKey)"])
    }
  }
}

extension ObjectStore {
  /// Deletes what the job has published, and nothing that somebody else has put there since.
  ///
  /// - Parameter isOurs: Whether the place bears our marker. Only there an object is deleted whose
  ///   ETag is not known for certain, because the run that put it died.
  /// - Returns: Whether it is not there any more.
  func delete(_ object: RetiredObject, isOurs: Bool) throws -> Bool {
    let key = ObjectKey(object.objectKey)
    guard let facts = try head(key) else { return true }
    guard object.etag == facts.etag || (object.etag == nil && isOurs) else { return false }
    try delete(key)
    return true
  }
}
