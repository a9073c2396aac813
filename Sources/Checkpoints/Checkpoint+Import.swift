internal import GRDB
package import Jobs
internal import Tables

/// A checkpoint that was put into place.
package struct ImportedState: Sendable, Equatable {
  /// Where it is.
  package let path: String
  /// Where the file is now that stood there before; nil where there was none.
  package let former: String?
}

extension Checkpoint {
  /// Puts a copy of a job's checkpoint where the job's runs look for it.
  ///
  /// The copy is looked at first. It takes its place in one step: a process that dies leaves no
  /// checkpoint, or the one that stood there, or the new one.
  ///
  /// - Parameters:
  ///   - folder: As for ``init(job:folder:mode:holder:now:release:step:)``, and `holder`.
  ///   - replaces: Whether a checkpoint that stands there is put aside; else it is an error.
  ///   - source: What the copy is called in an error about it.
  ///   - step: Called before each change on disk and after the last.
  ///   - makeCopy: Makes the copy in the folder that it is given.
  /// - Throws: ``CheckpointError``, or what `makeCopy` throws; nothing on disk has changed then.
  ///   With code `exists` where a checkpoint stands there.
  package static func takeIn(
    job: Job, folder: String, replaces: Bool, from source: String, holder: String, now: Int64,
    step: () -> Void = {}, _ makeCopy: (_ folder: String) throws -> CheckpointCopy
  ) throws -> ImportedState {
    let path = path(ofJob: job.name, folder: folder)
    try makeFolder(folder)
    if let name = networkFileSystem(at: folder) {
      throw CheckpointError(.networkFileSystem(name: name), path: folder)
    }
    let lock = try RunLock(path: lockPath(ofJob: job.name, folder: folder), holder: holder)
    defer { withExtendedLifetime(lock) {} }
    step()
    let stands = try isRegularFile(path)
    if stands && !replaces { throw CheckpointError(.exists, path: path) }
    if !stands { try clearLeftovers(path) }
    let copy = try makeCopy(folder)
    try copy.confirm(job: job, as: source)
    guard stands else {
      try lock.confirmInPlace()
      try copy.move(to: path)
      return ImportedState(path: path, former: nil)
    }
    try mergeLogIfReadable(path, job)
    try lock.confirmInPlace()
    let aside = aside(path, "replaced", now: now)
    try nameAside(path, aside, step)
    try copy.move(to: path, replaces: true)
    return ImportedState(path: path, former: aside)
  }

  /// A file that is damaged is put aside as it is.
  private static func mergeLogIfReadable(_ path: String, _ job: Job) throws(CheckpointError) {
    do throws(CheckpointError) {
      let queue = try open(path)
      do {
        try queue.inDatabase { database in
          try confirm(job, in: database, path)
          try mergeLog(database)
        }
        try queue.close()
      } catch {
        throw CheckpointError(wrapping: error, path: path)
      }
    } catch {
      guard case .corrupt = error.code else { throw error }
    }
  }
}
