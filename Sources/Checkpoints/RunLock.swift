internal import Glibc
internal import Tables

/// The exclusive right to run a job: `flock` on `NAME.lock`, held from open to exit and released by
/// the kernel however the process ends.
///
/// The file's first line tells who holds it. Others tell when a run last had nothing left to read
/// or to publish, and when a run last made a backup. They are no part of the checkpoint, so that a
/// run with nothing new need not commit. Where they are lost, a monitor goes by the last commit,
/// and the next run makes a backup.
///
/// The file is never removed: unlinking it would let two processes hold locks on two files of one
/// name.
/// - SeeAlso: flock(2).
package final class RunLock {
  private let path: String
  private let holder: String
  private var notes: Notes
  private let descriptor: Int32
  private let identity: FileIdentity?

  /// Takes the lock within a hundredth of a second or not at all.
  ///
  /// - Parameters:
  ///   - path: The lock file; made when missing. A link is not followed.
  ///   - holder: One line that tells a person who holds it: pid, host and start time.
  ///   - mode: The rights of a file that is made.
  /// - Throws: ``CheckpointError`` with code `locked` when another process holds it,
  ///   `unusableFolder`, `full` or `noPermission` when the file cannot be made or written,
  ///   `notRegular` when something else is there.
  package init(path: String, holder: String, mode: UInt32 = 0o600) throws(CheckpointError) {
    let descriptor = try Self.openOrMake(path, mode: mode)
    guard Self.take(descriptor) else {
      let current = Self.read(descriptor)
      close(descriptor)
      throw CheckpointError(.locked(holder: current), path: path)
    }
    let notes = Notes(Self.lines(descriptor))
    guard Self.write(holder, notes, to: descriptor) else {
      let number = errno
      close(descriptor)
      throw CheckpointError(errno: number, path: path)
    }
    self.path = path
    self.holder = holder
    self.notes = notes
    self.descriptor = descriptor
    identity = FileIdentity(descriptor: descriptor)
  }

  private static func openOrMake(_ path: String, mode: UInt32) throws(CheckpointError) -> Int32 {
    // A lock file is never removed: one that was there for the first call is there for the second.
    if let made = try makeFile(path, mode: mode) { return made }
    // A pipe does not hang here: without blocking, and for both directions (fifo(7)).
    let descriptor = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    if descriptor < 0 {
      // Something else than a file is told by its kind: a link, a folder.
      let number = errno
      _ = try isRegularFile(path)
      throw CheckpointError(errno: number, path: path)
    }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0, let kind = kindUnlessRegular(facts) else {
      return descriptor
    }
    close(descriptor)
    throw CheckpointError(.notRegular(kind: kind), path: path)
  }

  /// - Throws: ``CheckpointError`` with code `removed` where another run could lock another file of
  ///   this name.
  func confirmInPlace() throws(CheckpointError) {
    guard let held = FileIdentity(descriptor: descriptor), held == identity,
      held == FileIdentity(path: path)
    else {
      throw CheckpointError(.removed, path: path)
    }
  }

  deinit {
    // A child that another thread has just begun holds a copy of the descriptor until it executes
    // its program; unlocking takes the lock from all copies, closing only this one away (flock(2)).
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }

  /// A few times within 10 ms: whoever asks for the holder's name has a lock for some microseconds.
  private static func take(_ descriptor: Int32) -> Bool {
    for attempt in 0..<5 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
      if attempt < 4 { usleep(2_000) }
    }
    return false
  }

  /// What the process that holds the lock wrote about itself; nil when nobody holds it.
  package static func holder(path: String) -> String? {
    reading(path) { flock($0, LOCK_SH | LOCK_NB) == 0 ? nil : read($0) }
  }

  /// When the last run began that left nothing to read or to publish, in milliseconds since 1970
  /// UTC; nil where that is not known.
  package static func upToDate(path: String) -> Int64? {
    reading(path) { Notes(lines($0)).upToDate }
  }

  /// - Returns: Nil as well where there is no such file.
  private static func reading<Result>(_ path: String, _ body: (Int32) -> Result?) -> Result? {
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0, kindUnlessRegular(facts) == nil else { return nil }
    return body(descriptor)
  }

  /// A file that cannot be written keeps the older time, or none: a monitor is told too much then,
  /// never too little.
  func noteUpToDate(at milliseconds: Int64) {
    notes.upToDate = milliseconds
    _ = Self.write(holder, notes, to: descriptor)
  }

  /// When a run last made a backup; nil where that is not known.
  var backedUp: Int64? { notes.backedUp }

  func noteBackup(at milliseconds: Int64) {
    notes.backedUp = milliseconds
    _ = Self.write(holder, notes, to: descriptor)
  }

  /// Instants in milliseconds since 1970 UTC, a line each.
  private struct Notes {
    var upToDate, backedUp: Int64?

    private static let upToDateStart = "up to date at "
    private static let backedUpStart = "backed up at "

    init(_ lines: [Substring]) {
      func time(_ start: String) -> Int64? {
        lines.dropFirst().first { $0.hasPrefix(start) }.flatMap {
          TimestampText.parse($0.dropFirst(start.count))
        }
      }
      upToDate = time(Self.upToDateStart)
      backedUp = time(Self.backedUpStart)
    }

    var text: String {
      [(Self.upToDateStart, upToDate), (Self.backedUpStart, backedUp)].map { start, time in
        time.map { "\(start)\(TimestampText.format(milliseconds: $0))\n" } ?? ""
      }.joined()
    }
  }

  private static func write(_ holder: String, _ notes: Notes, to descriptor: Int32) -> Bool {
    var text = "\(holder)\n\(notes.text)"
    // Cut afterwards: whoever reads meanwhile finds a holder.
    return text.withUTF8 {
      pwrite(descriptor, $0.baseAddress, $0.count, 0) == $0.count
        && ftruncate(descriptor, $0.count) == 0
    }
  }

  private static func read(_ descriptor: Int32) -> String {
    lines(descriptor).first.map(String.init) ?? "a process that has not written its name yet"
  }

  private static func lines(_ descriptor: Int32) -> [Substring] {
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = max(0, pread(descriptor, &bytes, bytes.count, 0))
    return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
  }
}

/// Names the file system when it is one on which SQLite's write-ahead log cannot share memory
/// between processes.
///
/// - SeeAlso: proc(5) for /proc/self/mounts; sqlite.org/wal.html, "all processes using a database
///   must be on the same host".
func networkFileSystem(at path: String, mounts: String? = nil) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  let folder = String(cString: resolved) + "/"
  var nearest: (point: String, type: String) = ("", "")
  for line in (mounts ?? readMounts()).split(separator: "\n") {
    let fields = line.split(separator: " ")
    guard fields.count >= 3 else { continue }
    // Mount points write a blank as \040.
    let point =
      fields[1].utf8.contains(UInt8(ascii: "\\"))
      ? fields[1].replacing("\\040", with: " ") : fields[1]
    let isAbove = folder.hasPrefix(point.hasSuffix("/") ? point : point + "/")
    if isAbove && point.count >= nearest.point.count {
      nearest = (String(point), String(fields[2]))
    }
  }
  let networked = [
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs",
    "afs", "ocfs2", "gfs2", "virtiofs",
  ]
  // Of the file systems in user space those on a block device ("fuseblk") are local, and the root
  // of rootless containers is.
  let isInUserSpace = nearest.type.hasPrefix("fuse.") && nearest.type != "fuse.fuse-overlayfs"
  return networked.contains(nearest.type) || isInUserSpace ? nearest.type : nil
}

private func readMounts() -> String {
  guard let file = fopen("/proc/self/mounts", "r") else { return "" }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 16_384)
  while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
  return String(decoding: bytes, as: UTF8.self)
}
