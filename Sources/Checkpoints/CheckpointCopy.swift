internal import GRDB
internal import Glibc
package import Jobs

/// A whole copy of a checkpoint under a temporary name: of one instant, made by one step of
/// SQLite's backup, also beside a run, which goes on meanwhile.
///
/// The file is called `.NAME.RANDOM.copy` and goes with this value, unless it was put into place.
/// It bears a lock (flock) as long as its process lives: what a dead one has left is removed by the
/// next copy in the folder.
/// - SeeAlso: sqlite.org/backup.html; docs/operations.md, "Copies of the state".
package final class CheckpointCopy {
  package let path: String
  /// Whether a run may have gone on behind it. Then the copy does not know the newest mark of that
  /// run: who goes on with it is asked first, as the run's results may be newer.
  package private(set) var isBesideRun = false

  private let descriptor: Int32
  private let step: () -> Void
  private var isInPlace = false

  /// Copies a checkpoint.
  ///
  /// - Parameters:
  ///   - source: The file of the checkpoint.
  ///   - job: Whose it must be, where that is known.
  ///   - folder: Where the copy is made; it must be there.
  ///   - byItsRun: Whether this process is the run that writes the checkpoint, and has done so.
  ///   - step: Called when something has become durable, for tests that end the process there.
  /// - Throws: ``CheckpointError``: as for ``CheckpointReader``, or where it cannot be written.
  package init(
    of source: String, job: Job? = nil, in folder: String, byItsRun: Bool = false,
    step: @escaping () -> Void = {}
  ) throws(CheckpointError) {
    let reader = try CheckpointReader(path: source, job: job, leavesNoFiles: true)
    var facts = stat()
    guard stat(source, &facts) == 0 else { throw CheckpointError(errno: errno, path: source) }
    let name = Self.name(ofFile: source)
    (path, descriptor) = try Self.make(name, in: folder, mode: facts.st_mode & 0o666 | 0o600)
    self.step = step
    step()
    let lock = Self.lockPath(besideFile: source)
    let hadRun = RunLock.holder(path: lock) != nil
    do {
      let target = try DatabaseQueue(path: path, configuration: Self.configuration)
      let hasChanged = try reader.backUp(to: target)
      isBesideRun = !byItsRun && (hadRun || hasChanged || RunLock.holder(path: lock) != nil)
      if isBesideRun { try target.write(Checkpoint.forgetNewestToken) }
      try target.close()
    } catch {
      let error = CheckpointError(wrapping: error, path: path)
      if case .corrupt = error.code { throw CheckpointError(error.code, path: source) }
      throw error
    }
    try finish()
  }

  /// Writes down a copy that came from elsewhere.
  ///
  /// - Parameter name: The job's, or the file's.
  /// - Throws: ``CheckpointError`` where it cannot be written.
  package init(
    bytes: [UInt8], named name: String, in folder: String, step: @escaping () -> Void = {}
  ) throws(CheckpointError) {
    (path, descriptor) = try Self.make(name, in: folder, mode: 0o600)
    self.step = step
    step()
    var position = 0
    while position < bytes.count {
      let count = bytes.withUnsafeBytes {
        write(descriptor, $0.baseAddress! + position, $0.count - position)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw CheckpointError(errno: errno, path: path) }
      position += count
    }
    try finish()
  }

  /// Only the file is moved, so its log must hold nothing.
  private func finish() throws(CheckpointError) {
    guard isMissingOrEmpty(path + "-wal") else {
      throw CheckpointError(.inputOutput(reason: "its log could not be merged into it"), path: path)
    }
    removeLogs()
    try syncFile(path)
    step()
  }

  deinit {
    if !isInPlace {
      removeLogs()
      unlink(path)
    }
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }

  private func removeLogs() { Self.removeLogs(of: path) }

  private static func removeLogs(of path: String) {
    for ending in ["-wal", "-shm", "-journal"] { unlink(path + ending) }
  }

  /// How many bytes it has.
  package var byteCount: Int64 {
    var facts = stat()
    return fstat(descriptor, &facts) == 0 ? Int64(facts.st_size) : 0
  }

  /// Looks at all of it.
  ///
  /// - Parameters:
  ///   - job: Whose it must be, and whose definition tells of its groups; nil for the rest alone.
  ///   - place: What it is called in an error.
  /// - Throws: ``CheckpointError`` with code `corrupt` where something is wrong in it, else as for
  ///   ``CheckpointReader``; `jobChanged` where the job file means something else than its
  ///   state, and ``Checkpoint/evolve`` would not do.
  package func confirm(job: Job? = nil, as place: String) throws(CheckpointError) {
    do throws(CheckpointError) {
      let reader = try CheckpointReader(path: path, job: job, leavesNoFiles: true)
      let problems = try reader.problems(job: job)
      if let first = problems.first {
        let others = problems.count > 1 ? " and \(problems.count - 1) more" : ""
        throw CheckpointError(.corrupt(reason: first + others), path: place)
      }
      // What `evolve` can mend is left to it, once the copy is in place.
      if let verdict = try job.map(reader.verdict), verdict.need == .refused {
        throw CheckpointError(.jobChanged(verdict.refused), path: place)
      }
    } catch {
      throw CheckpointError(error.code, path: place)
    }
  }

  /// Puts it into place under a name in its folder.
  ///
  /// - Parameter replaces: Whether something may stand there. Nobody else may put something there
  ///   meanwhile: whoever calls holds the job's lock, or owns the folder.
  /// - Throws: ``CheckpointError`` with code `exists` where something stands there.
  package func move(to place: String, replaces: Bool = false) throws(CheckpointError) {
    removeLogs()
    if !replaces && FileIdentity(path: place) != nil {
      throw CheckpointError(.exists, path: place)
    }
    step()
    guard rename(path, place) == 0 else { throw CheckpointError(errno: errno, path: place) }
    isInPlace = true
    let folder = place.lastIndex(of: "/").map { String(place[...$0]) } ?? "."
    try syncFile(folder, isFolder: true)
    step()
  }

  // MARK: - The temporary file

  /// Nobody misses a copy whose process died, so SQLite need not make it durable while it grows.
  private static var configuration: Configuration {
    var configuration = Configuration()
    configuration.label = "copy"
    configuration.prepareDatabase { try $0.execute(sql: "PRAGMA synchronous = OFF") }
    return configuration
  }

  private static func make(
    _ name: String, in folder: String, mode: UInt32
  ) throws(CheckpointError) -> (path: String, descriptor: Int32) {
    removeLeftovers(named: name, in: folder)
    while true {
      let random = String(UInt64.random(in: .min ... .max), radix: 36)
      let path = "\(folder)/.\(name).\(random).copy"
      guard let descriptor = try makeFile(path, mode: mode) else { continue }
      // Another copy may have taken it for a dead one's before the lock was there.
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0,
        FileIdentity(descriptor: descriptor) == FileIdentity(path: path),
        FileIdentity(path: path) != nil
      {
        return (path, descriptor)
      }
      close(descriptor)
    }
  }

  private static func removeLeftovers(named name: String, in folder: String) {
    guard let directory = opendir(folder) else { return }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let found = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if found.hasPrefix(".\(name).") && found.hasSuffix(".copy") { names.append(found) }
    }
    for found in names {
      let path = "\(folder)/\(found)"
      let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
        unlink(path)
        removeLogs(of: path)
      }
      close(descriptor)
    }
  }

  /// Whether a run, or whoever else opens it to write, has left its log or its lock beside a file.
  package static func isInUse(_ path: String) -> Bool {
    [path + "-wal", path + "-shm", lockPath(besideFile: path)].contains {
      FileIdentity(path: $0) != nil
    }
  }

  private static func lockPath(besideFile path: String) -> String { "\(withoutEnding(path)).lock" }

  private static func withoutEnding(_ path: String) -> Substring {
    path.hasSuffix(".sqlite") ? path.dropLast(".sqlite".count) : path[...]
  }

  private static func name(ofFile path: String) -> String {
    String(withoutEnding(path).split(separator: "/").last ?? "checkpoint")
  }
}

extension CheckpointReader {
  /// - Returns: Whether anything was committed meanwhile.
  fileprivate func backUp(to target: DatabaseQueue) throws(CheckpointError) -> Bool {
    let before = try dataVersion()
    try read { source in
      try target.writeWithoutTransaction { try source.backup(to: $0) }
    }
    return try dataVersion() != before
  }

  /// Copies the state of one commit into a new file, which goes with the folder that it is in.
  func backUp(to path: String) throws(CheckpointError) {
    do {
      let target = try DatabaseQueue(path: path)
      _ = try backUp(to: target)
      try target.close()
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  /// Another one after each commit of another connection.
  ///
  /// - SeeAlso: sqlite.org/pragma.html#pragma_data_version.
  private func dataVersion() throws(CheckpointError) -> Int64? {
    try read { try Int64.fetchOne($0, sql: "PRAGMA data_version") }
  }
}
