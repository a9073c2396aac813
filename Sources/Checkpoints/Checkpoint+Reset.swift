internal import GRDB
internal import Glibc
package import Jobs
internal import Tables

/// What a new state takes along from the one before it, so that it may write to the same place.
struct Heritage {
  /// In their order; the old state's id before them.
  var tokens: [String] = []
  /// To be deleted where the new state does not write them.
  var retired: [RetiredObject] = []

  func store(in database: Database) throws {
    for token in tokens {
      try database.execute(sql: "INSERT INTO owner_tokens (token) VALUES (?)", arguments: [token])
    }
    for object in retired {
      try database.execute(
        sql: "INSERT OR IGNORE INTO retired_objects (place, object_key, etag) VALUES (?, ?, ?)",
        arguments: [object.place, object.objectKey, object.etag])
    }
  }
}

/// A state that was put aside for a new one.
package struct ResetState: Sendable, Equatable {
  /// Where its file is now.
  package let path: String
  /// Where its objects are; nil where the file could not be read.
  package let place: String?
  /// How many of them it published.
  package let objectCount: Int
}

extension Checkpoint {
  /// Puts a job's state aside and makes a new one, which has read nothing yet and owns the same
  /// place.
  ///
  /// The new file knows the tokens of the old one, so its first run may write there, and has an id
  /// of its own, so that whoever goes on with the old file is refused. It takes the place of the
  /// old one in one rename: a process that dies leaves the one or the other. A file that is damaged
  /// is put aside as well; its tokens are lost then.
  ///
  /// - Parameters:
  ///   - deletesObjects: Whether the objects of the old state are to be deleted where the new one
  ///     does not write them.
  ///   - holder: As for ``init(job:folder:mode:holder:now:release:step:)``, and the others.
  ///   - step: Called before each change on disk and after the last.
  /// - Throws: ``CheckpointError``; nothing on disk has changed then.
  package static func reset(
    job: Job, folder: String, deletesObjects: Bool, holder: String, now: Int64, release: String,
    step: () -> Void = {}
  ) throws(CheckpointError) -> ResetState {
    let path = path(ofJob: job.name, folder: folder)
    var facts = stat()
    guard try isRegularFile(path), lstat(path, &facts) == 0 else {
      throw CheckpointError(.noCheckpoint, path: path)
    }
    let lock = try RunLock(path: lockPath(ofJob: job.name, folder: folder), holder: holder)
    defer { withExtendedLifetime(lock) {} }
    let aside = aside(path, "reset", now: now)

    var old: (heritage: Heritage, place: String, objectCount: Int)?
    do {
      old = try heritage(of: path, job, deletesObjects: deletesObjects)
    } catch {
      guard case .corrupt = error.code else { throw error }
    }
    if let old, !deletesObjects, job.output.keep == .each, old.objectCount > 0,
      old.place == job.output.destination.text
    {
      throw CheckpointError(.objectsStay(count: old.objectCount, place: old.place), path: path)
    }
    try make(
      path, job, mode: facts.st_mode & 0o666, now: now, release: release,
      heritage: old?.heritage ?? Heritage()
    ) { () throws(CheckpointError) in
      try lock.confirmInPlace()
      try nameAside(path, aside, step)
      step()
    }
    step()
    return ResetState(path: aside, place: old?.place, objectCount: old?.objectCount ?? 0)
  }

  /// What a checkpoint is called that was put aside: no job's can be called so.
  static func aside(_ path: String, _ why: String, now: Int64) -> String {
    "\(path).\(why)-\(TimestampText.format(milliseconds: now).replacing(":", with: "-"))"
  }

  /// Gives a file a second name, under which it stays when another one takes its place.
  ///
  /// - Parameter path: Its log must be merged, if it can be read at all.
  static func nameAside(
    _ path: String, _ aside: String, _ step: () -> Void
  ) throws(CheckpointError) {
    step()
    guard link(path, aside) == 0 else { throw CheckpointError(errno: errno, path: aside) }
    // Empty where the file could be read: its log was merged.
    for ending in ["-wal", "-journal", "-shm"] {
      step()
      if isMissingOrEmpty(path + ending) || ending == "-shm" {
        unlink(path + ending)
      } else if rename(path + ending, aside + ending) != 0 {
        throw CheckpointError(errno: errno, path: path + ending)
      }
    }
  }

  /// What is taken along of a file, all of whose log is merged into it then.
  private static func heritage(
    of path: String, _ job: Job, deletesObjects: Bool
  ) throws(CheckpointError) -> (heritage: Heritage, place: String, objectCount: Int) {
    let queue = try open(path)
    do {
      let found = try queue.inDatabase { database in
        try confirm(job, in: database, path)
        return try heritage(in: database, job, deletesObjects: deletesObjects)
      }
      try queue.inDatabase { try mergeLog($0) }
      try queue.close()
      return found
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  private static func heritage(
    in database: Database, _ job: Job, deletesObjects: Bool
  ) throws -> (heritage: Heritage, place: String, objectCount: Int) {
    let stored = try settings(in: database)
    guard let place = Job.Output.Destination(text: stored["output.to"] ?? "")?.text else {
      throw RowFault(table: "job_settings", row: "'output.to'", problem: "is not a valid place")
    }
    let objects = try database.checkedRows(
      of: "outputs",
      """
      SELECT object_key, published_revision, \(knownETag) FROM outputs
      WHERE place IS NULL ORDER BY object_key
      """,
      identifiedBy: 1
    ) { row in
      (
        object: RetiredObject(
          place: place, objectKey: try row.objectKey(0), etag: try row.optionalText(2)),
        isPublished: try row.count(1) > 0
      )
    }
    var heritage = Heritage()
    // Offsets in the group of `source.commit_group` bear the id.
    heritage.tokens = try [identifier(in: database)] + ownerTokens(in: database)
    heritage.retired = try retiredObjects(in: database)
    // Also objects that no mark tells of: their run may have died between the put and the mark. And
    // in any case a manifest, which would tell of objects that the new state replaces.
    let isOwnPlace = place == job.output.destination.text
    heritage.retired += objects.map(\.object).filter {
      deletesObjects || (isOwnPlace && $0.objectKey == ObjectKeys.manifest)
    }
    // What stands on another server is left there: a delete would go to the wrong one.
    if stored["output.s3.endpoint"] != job.canonicalSettings["output.s3.endpoint"] {
      heritage.retired.removeAll { !$0.place.hasPrefix("file:") }
    }
    let results = objects.filter { $0.object.objectKey != ObjectKeys.manifest }
    return (heritage, place, results.count(where: \.isPublished))
  }
}
