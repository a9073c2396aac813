package import Checkpoints
package import Jobs
package import ObjectStorage
internal import Tables

/// Backups of a checkpoint below a place: whole files, named by their job and the instant at which
/// they were made, of which the newest are kept.
package enum BackupFiles {
  private static let ending = ".sqlite"

  /// `NAME.2026-11-27T21-30-00.000Z.sqlite`: in the order of their times.
  package static func key(ofJob name: String, at milliseconds: Int64) -> ObjectKey {
    let time = TimestampText.format(milliseconds: milliseconds).replacing(":", with: "-")
    return ObjectKey(prefix(ofJob: name) + time + ending)
  }

  static func prefix(ofJob name: String) -> String { "\(name)." }

  /// When a backup was made; nil for what ``key(ofJob:at:)`` does not make for this job.
  static func time(of key: ObjectKey, ofJob name: String) -> Int64? {
    let prefix = prefix(ofJob: name)
    guard key.value.hasPrefix(prefix), key.value.hasSuffix(ending),
      key.value.count > prefix.count + ending.count
    else { return nil }
    let text = key.value.dropFirst(prefix.count).dropLast(ending.count)
    let parts = text.split(separator: "T", omittingEmptySubsequences: false)
    guard parts.count == 2,
      let time = TimestampText.parse("\(parts[0])T\(parts[1].replacing("-", with: ":"))"[...]),
      self.key(ofJob: name, at: time) == key
    else { return nil }
    return time
  }

  /// Backups of the job that are older than the newest ones; never the one that was just made.
  static func surplus(
    among keys: [ObjectKey], ofJob name: String, keep: Int64, made: ObjectKey
  ) -> [ObjectKey] {
    let others = keys.filter { $0 != made }.compactMap { key in
      time(of: key, ofJob: name).map { (key: key, time: $0) }
    }
    return others.sorted { $0.time > $1.time }.dropFirst(Int(clamping: keep - 1)).map(\.key)
  }

  /// Whether it is time for a backup.
  ///
  /// - Parameters:
  ///   - last: When the last one was made; a time in the future tells nothing.
  ///   - changed: When something was last committed or published; nil for never.
  static func isDue(last: Int64?, changed: Int64?, every: Int64, now: Int64) -> Bool {
    guard let changed else { return false }
    guard let last, last <= now else { return true }
    return changed > last && now - last >= every
  }
}

/// Why there is no backup, or why older ones stay beside it. What the job has stands as it was.
package struct BackupFault: Error {
  /// Where it was to be.
  package let place: String
  /// Whether it is there.
  package let isMade: Bool
  package let cause: any Error

  package init(place: String, isMade: Bool = false, cause: any Error) {
    self.place = place
    self.isMade = isMade
    self.cause = cause
  }
}

/// Puts a copy of a checkpoint somewhere, whole and looked at.
///
/// - Parameters:
///   - path: The checkpoint's file, beside which the copy is made before it is put.
///   - byItsRun: As of ``CheckpointCopy``.
///   - step: As of ``CheckpointCopy``.
/// - Returns: The copy, which is gone with this value.
/// - Throws: ``BackupFault``; nothing, or what stood there before, stands at the key then.
@discardableResult
package func backUp(
  _ path: String, of job: Job, to store: any ObjectStore, at key: ObjectKey, byItsRun: Bool = false,
  step: @escaping () -> Void
) throws(BackupFault) -> CheckpointCopy {
  do {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    let copy = try CheckpointCopy(
      of: path, job: job, in: folder, byItsRun: byItsRun, step: step)
    try copy.confirm(as: path)
    _ = try store.put(file: copy.path, at: key)
    return copy
  } catch {
    throw BackupFault(place: "\(store.location)/\(key)", cause: error)
  }
}

/// The backups that `checkpoint.backup` asks for.
struct ScheduledBackup {
  private let rule: Job.Backup
  private let job: Job
  private let checkpoint: Checkpoint
  private let storeAt: (Job.Output.Destination) throws -> any ObjectStore
  private let options: RunOptions

  /// Nil where the job asks for none.
  init?(
    _ job: Job, _ checkpoint: Checkpoint,
    storeAt: @escaping (Job.Output.Destination) throws -> any ObjectStore, _ options: RunOptions
  ) {
    guard let rule = job.backup else { return nil }
    self.rule = rule
    self.job = job
    self.checkpoint = checkpoint
    self.storeAt = storeAt
    self.options = options
  }

  /// Makes a backup where one is due, and removes those that are too many.
  ///
  /// - Parameters:
  ///   - didWork: Whether this run has changed the state.
  ///   - claim: The place of the results must be ours: an older state that was woken up must not
  ///     push the newer one's backups out.
  /// - Returns: Where it is; nil where none was due.
  func makeIfDue(
    didWork: Bool, _ claim: DestinationClaim, _ reader: CheckpointReader
  ) throws -> String? {
    let now = options.clock()
    let changed = didWork ? now : try reader.lastCommitTime()
    guard
      BackupFiles.isDue(
        last: checkpoint.backedUpAt, changed: changed, every: rule.everyMilliseconds, now: now)
    else { return nil }
    try claim.confirmOwner()
    let key = BackupFiles.key(ofJob: job.name, at: now)
    let failpoint = options.failpoint
    let store: any ObjectStore
    do { store = try storeAt(rule.destination) } catch {
      throw BackupFault(place: rule.destination.text, cause: error)
    }
    try backUp(checkpoint.path, of: job, to: store, at: key, byItsRun: true) {
      failpoint(.checkpointStep)
    }
    checkpoint.noteBackup(at: now)
    let place = "\(store.location)/\(key)"
    do {
      let keys = try store.list(prefix: BackupFiles.prefix(ofJob: job.name))
      for key in BackupFiles.surplus(among: keys, ofJob: job.name, keep: rule.keep, made: key) {
        try store.delete(key)
      }
    } catch {
      throw BackupFault(place: place, isMade: true, cause: error)
    }
    return place
  }
}
