package import Jobs
package import Tables

/// Why a checkpoint cannot be used, or why a batch cannot be committed to it. The state on disk is
/// as before in every case.
package struct CheckpointError: Error, CustomStringConvertible {
  package enum Code: Sendable {
    /// Another process runs the job.
    case locked(holder: String)
    case unusableFolder(reason: String)
    case networkFileSystem(name: String)
    /// A file of another user's, whose rights do not let this one in.
    case noPermission(user: UInt32, owner: UInt32, mode: UInt32)
    /// A pipe, a link or the like where a file belongs.
    case notRegular(kind: String)
    /// A file of this run is not where it was.
    case removed
    case noCheckpoint
    /// A checkpoint stands where another one is to be put.
    case exists
    /// Not a database, or a damaged one.
    case corrupt(reason: String)
    /// A log of SQLite's without its database.
    case leftover
    case foreign(reason: String)
    case newer
    case otherJob(name: String)
    /// Settings that change the meaning of what is stored.
    case jobChanged([JobChange])
    /// The format changed while rendered results wait for the store in the old one.
    case resultsWait(count: Int, format: String)
    /// Objects of single batches would stay beside those of a state that numbers its batches anew.
    case objectsStay(count: Int, place: String)
    case wrongCluster(source: String, stored: String, found: String)
    case full(reason: String)
    /// A read or write that the disk refused. A full one shows like this too, where SQLite cannot
    /// enlarge its shared memory.
    case inputOutput(reason: String)
    case readOnly(reason: String)
    case busy(reason: String)
    /// A measure of the state and the batch no longer fits: the delta's group, the measure, and the
    /// row that the state holds of it.
    case overflow(group: Int, measure: Int, held: [Column])
    case tooManyGroups(window: String, count: Int64, limit: Int64)
    case invariant(String)
    case database(String)
  }

  package let code: Code
  package let path: String

  package init(_ code: Code, path: String) {
    self.code = code
    self.path = path
  }

  init(_ overflow: Generation.Overflow, path: String) {
    self.init(
      .overflow(group: overflow.group, measure: overflow.measure, held: overflow.held), path: path)
  }

  /// What happened, and where. What to do about it is said in `Reports`.
  package var description: String { "\(path): \(problem)" }

  private var problem: String {
    switch code {
    case .locked(let holder): "another run of this job is going on: \(holder)"
    case .unusableFolder(let reason): "cannot be opened for writing: \(reason)"
    case .networkFileSystem(let name):
      "is on \(name), where SQLite's write-ahead log is not safe"
    case .noPermission(let user, let owner, let mode):
      "user \(user) may not use this file: user \(owner) owns it, and its mode is 0"
        + String(mode, radix: 8)
    case .notRegular(let kind): "is \(kind), not a regular file"
    case .removed: "was removed or replaced while this run had it open"
    case .noCheckpoint: "there is no checkpoint yet"
    case .exists: "there is a checkpoint already"
    case .corrupt(let reason): "is damaged (\(reason))"
    case .leftover: "belongs to a checkpoint that was moved or deleted without this file"
    case .foreign(let reason): "is not a checkpoint of Tranche (\(reason))"
    case .newer: "was written by a newer release of Tranche"
    case .otherJob(let name): "belongs to the job \(name)"
    case .jobChanged(let changes):
      "the job file no longer means what this state was built from: "
        + changes.map(\.description).joined(separator: "; ")
    case .resultsWait(let count, let format):
      "output.format changed while \(count) results wait to be published as \(format)"
    case .objectsStay(let count, let place):
      "\(count) \(count == 1 ? "object" : "objects") of single batches at \(place) would stay, and "
        + "the new state numbers its batches anew: rows would be there twice"
    case .wrongCluster(let source, let stored, let found):
      "source \(source) is another cluster than before: its cluster id is \(found), and the stored "
        + "offsets belong to \(stored)"
    case .full(let reason): "the disk has no room (\(reason))"
    case .inputOutput(let reason): reason
    case .readOnly(let reason): "cannot be written (\(reason))"
    case .busy(let reason): "another program has locked it (\(reason))"
    case .overflow(let group, let measure, _):
      "measure \(measure) of group \(group) no longer fits"
    case .tooManyGroups(let window, let count, let limit):
      "window \(window) would hold \(count) groups and limits.groups_per_window is \(limit)"
    case .invariant(let what): what
    case .database(let reason): reason
    }
  }
}
