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
    case wrongCluster(source: String, stored: String, found: String)
    case full(reason: String)
    /// A read or write that the disk refused. A full one shows like this too, where SQLite cannot
    /// enlarge its shared memory.
    case inputOutput(reason: String)
    case readOnly(reason: String)
    case busy(reason: String)
    /// A sum of the state and the batch no longer fits: group number of the delta, and the state
    /// column with the row that the state holds.
    case overflow(group: Int, stateColumn: Int, held: Column)
    case tooManyGroups(window: Int64, count: Int64, limit: Int64)
    case invariant(String)
    case database(String)
  }

  package let code: Code
  package let path: String

  package init(_ code: Code, path: String) {
    self.code = code
    self.path = path
  }

  package var description: String {
    switch code {
    case .locked(let holder):
      "\(path): another run of this job is going on: \(holder). Try again when it has ended."
    case .unusableFolder(let reason):
      "\(path): cannot be opened for writing: \(reason). Make the folder writable, or name "
        + "another one with --checkpoints."
    case .networkFileSystem(let name):
      "\(path): is on \(name), where SQLite's write-ahead log is not safe. Put checkpoints on a "
        + "local disk, with --checkpoints."
    case .noPermission(let user, let owner, let mode):
      "\(path): user \(user) may not use it: it belongs to user \(owner) and its mode is 0"
        + String(mode, radix: 8) + ". Run as that user, or let this one in with chmod and chgrp; "
        + "files of new checkpoints get other rights with tranche run --mode 0640 or 0660."
    case .notRegular(let kind):
      "\(path): is \(kind) where a file belongs. Nothing was changed. Move it away, or name "
        + "another folder with --checkpoints."
    case .removed:
      "\(path): was removed or replaced while this run had it open. Nothing of the batch was "
        + "committed. If it was moved, put it back, with its -wal and -shm, and run again."
    case .noCheckpoint:
      "\(path): there is no checkpoint yet. Run the job once first."
    case .corrupt(let reason):
      "\(path): is damaged (\(reason)). Nothing was changed. Restore it from a copy. Or move it "
        + "away, with its "
        + "-wal and -shm: the topics are read anew, and the place of the results is taken over "
        + "with "
        + "tranche resolve JOB --adopt."
    case .leftover:
      "\(path): belongs to a checkpoint that was moved or deleted without it. Move it too, or "
        + "delete it if that checkpoint is not needed."
    case .foreign(let reason):
      "\(path): is not a checkpoint of Tranche (\(reason)). Nothing was changed. Move the file "
        + "away, or name another folder."
    case .newer:
      "\(path): was written by a newer release of Tranche. Nothing was changed. Install that "
        + "release or a later one."
    case .otherJob(let name):
      "\(path): belongs to the job \(name). Give this job another name, or name another folder "
        + "with --checkpoints."
    case .jobChanged(let changes):
      """
      \(path): the job file no longer means what this state was built from:
      \(changes.map { "  \($0)" }.joined(separator: "\n"))
      Undo the change. Or give the job a new name and another output.to: a new state from \
      source.start on. \
      Or move the checkpoint away, with its -wal and -shm: the state is built anew, and the place \
      of the \
      results is taken over with tranche resolve JOB --adopt.
      """
    case .resultsWait(let count, let format):
      "\(path): output.format changed while \(count) results wait to be published as \(format). "
        + "Set it back, run the job until nothing is "
        + "left unpublished, and change it then."
    case .wrongCluster(let source, let stored, let found):
      "\(path): source \(source) is another cluster than before: cluster id \(found), and the "
        + "offsets stored are those of \(stored). "
        + "Point bootstrap.servers at the old cluster; or, to start over, give the job a new name "
        + "and another output.to."
    case .full(let reason):
      "\(path): no room to write (\(reason)). Nothing of the batch was committed. Free space and "
        + "run again."
    case .inputOutput(let reason):
      "\(path): \(reason). Nothing of the batch was committed. Free space, or look at the disk "
        + "(dmesg), and run again."
    case .readOnly(let reason):
      "\(path): cannot be written (\(reason)). Make the file and its folder writable, or name "
        + "another folder with --checkpoints."
    case .busy(let reason):
      "\(path): is locked by another program (\(reason)). Close what has it open and run again."
    case .overflow(let group, let column, _):
      "\(path): state column \(column) of group \(group) no longer fits."
    case .tooManyGroups(let window, let count, let limit):
      "\(path): window \(window) would hold \(count) groups and limits.groups_per_window is "
        + "\(limit). Raise it, or group by less. "
        + "Nothing of the batch was committed."
    case .invariant(let what):
      "\(path): \(what). This is a fault of Tranche or an edited checkpoint; nothing was committed."
    case .database(let reason):
      "\(path): \(reason). Nothing of the batch was committed."
    }
  }
}
