internal import Checkpoints
internal import Jobs
internal import ObjectStorage

/// Objects of single batches that a checkpoint has not committed: another history of the job has
/// put them there. The batches that the checkpoint will number so may hold other records, and then
/// rows would stand there twice.
enum ObjectsAhead {
  /// What stands at a place beside that of a checkpoint which is to go on there.
  ///
  /// Of rejects only those of batches that are not committed, or had none: those of others may have
  /// been pruned, and their objects stay.
  /// - Parameter reader: Of the checkpoint.
  static func find(
    in store: any ObjectStore, of job: Job, _ reader: CheckpointReader
  ) throws -> [ObjectKey] {
    let nextBatch = try reader.nextBatch()
    let rejects = try store.list(prefix: ObjectKeys.rejectsPrefix).compactMap { key in
      ObjectKeys.batch(ofKey: key.value).map { (key: key, batch: $0) }
    }
    let clean = try reader.batchesWithoutRejects(among: rejects.map(\.batch))
    var found = rejects.filter { $0.batch >= nextBatch || clean.contains($0.batch) }.map(\.key)
    if job.output.keep == .each { found += try findResults(in: store, of: job, reader) }
    return found
  }

  /// Of rows, without rejects.
  static func findResults(
    in store: any ObjectStore, of job: Job, _ reader: CheckpointReader
  ) throws -> [ObjectKey] {
    let known = Set(try reader.objectKeys(of: job))
    return try store.list(prefix: ObjectKeys.batchPrefix).filter {
      ObjectKeys.batch(ofKey: $0.value) != nil && !known.contains($0.value)
    }
  }

  /// Deletes, before the first object is put, what a state that was reset has left of batches, what
  /// was found beside one that was restored, and a manifest that tells of another state's objects.
  ///
  /// Only where an object is still what was published last, or where that is not known.
  /// - Parameter store: Of the job's own place, which is known to be the job's.
  /// - Returns: What is not there any more.
  static func deleteRetired(
    in store: any ObjectStore, of job: Job, _ reader: CheckpointReader
  ) throws -> [RetiredObject] {
    let retired = try reader.retiredObjects().filter {
      $0.place == job.output.destination.text
        && ($0.objectKey == ObjectKeys.manifest
          || (job.output.keep == .each && ObjectKeys.batch(ofKey: $0.objectKey) != nil))
    }
    if retired.isEmpty { return [] }
    let current = Set(try reader.objectKeys(of: job)).subtracting([ObjectKeys.manifest])
    var gone: [RetiredObject] = []
    for object in retired where !current.contains(object.objectKey) {
      // Somebody else's is told of by the end of the run. A manifest is nobody's result.
      let isManifest = object.objectKey == ObjectKeys.manifest
      let known = RetiredObject(
        place: object.place, objectKey: object.objectKey, etag: isManifest ? nil : object.etag)
      if try store.delete(known, isOurs: true) { gone.append(object) }
    }
    return gone
  }
}
