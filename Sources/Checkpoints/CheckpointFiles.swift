internal import Glibc

/// What tells whether a file that is read without locks was changed meanwhile.
struct FileVersion: Equatable {
  private let identity: FileIdentity
  private let byteCount: Int64
  private let seconds, nanoseconds: Int64

  init?(path: String) {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { return nil }
    identity = FileIdentity(facts)
    byteCount = Int64(facts.st_size)
    seconds = Int64(facts.st_mtim.tv_sec)
    nanoseconds = Int64(facts.st_mtim.tv_nsec)
  }
}

/// Looks at a path before anything opens it: a pipe would hang, a link may lead anywhere.
///
/// It is not opened here. Whoever opens and closes a database in the process that has it open drops
/// the locks that SQLite holds on it (sqlite.org/howtocorrupt.html, 2.2).
///
/// - Returns: Whether a regular file is there; false where nothing is.
/// - Throws: ``CheckpointError`` where something else is there, or where nobody may look.
func isRegularFile(_ path: String) throws(CheckpointError) -> Bool {
  var facts = stat()
  if lstat(path, &facts) != 0 {
    if errno == ENOENT || errno == ENOTDIR { return false }
    throw CheckpointError(errno: errno, path: path)
  }
  if let kind = kindUnlessRegular(facts) {
    throw CheckpointError(.notRegular(kind: kind), path: path)
  }
  return true
}

/// `a pipe`; nil for a regular file.
func kindUnlessRegular(_ facts: stat) -> String? {
  switch facts.st_mode & S_IFMT {
  case S_IFREG: nil
  case S_IFLNK: "a link"
  case S_IFIFO: "a pipe"
  case S_IFDIR: "a folder"
  case S_IFSOCK: "a socket"
  default: "a device"
  }
}

/// Whether a file is missing or holds nothing.
func isMissingOrEmpty(_ path: String) -> Bool {
  var facts = stat()
  return lstat(path, &facts) != 0 || facts.st_size == 0
}

/// Makes a file with exactly these rights, whatever the umask.
///
/// - Returns: A descriptor for reading and writing; nil where the name is taken.
func makeFile(_ path: String, mode: UInt32) throws(CheckpointError) -> Int32? {
  let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
  let descriptor = open(path, flags, mode & 0o600)
  if descriptor < 0 && errno == EEXIST { return nil }
  guard descriptor >= 0 else { throw CheckpointError(errno: errno, path: path) }
  guard fchmod(descriptor, mode) == 0 else {
    let number = errno
    close(descriptor)
    unlink(path)
    throw CheckpointError(errno: number, path: path)
  }
  return descriptor
}

/// Makes what was written to a file, or the names in a folder, durable.
func syncFile(_ path: String, isFolder: Bool = false) throws(CheckpointError) {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | (isFolder ? O_DIRECTORY : O_NOFOLLOW))
  guard descriptor >= 0 else { throw CheckpointError(errno: errno, path: path) }
  let result = fsync(descriptor)
  let number = errno
  close(descriptor)
  guard result == 0 else { throw CheckpointError(errno: number, path: path) }
}

/// Makes a folder and those above it; each new one is made durable in the one that holds it.
func makeFolder(_ folder: String) throws(CheckpointError) {
  var made = folder.hasPrefix("/") ? "/" : ""
  for part in folder.split(separator: "/") {
    let parent = made.isEmpty ? "." : made
    made += made.isEmpty || made.hasSuffix("/") ? String(part) : "/" + part
    if mkdir(made, 0o755) == 0 {
      try syncFile(parent, isFolder: true)
    } else if errno != EEXIST {
      throw CheckpointError(errno: errno, path: folder)
    }
  }
}

extension CheckpointError {
  /// A call of the system that failed.
  init(errno number: Int32, path: String) {
    let reason = String(cString: strerror(number))
    switch number {
    case ENOSPC, EDQUOT: self.init(.full(reason: reason), path: path)
    case EIO: self.init(.inputOutput(reason: reason), path: path)
    case EACCES, EPERM:
      // Only of a file that is there can be said who may use it.
      var facts = stat()
      if lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG {
        self.init(
          .noPermission(user: geteuid(), owner: facts.st_uid, mode: facts.st_mode & 0o777),
          path: path)
      } else {
        self.init(.unusableFolder(reason: reason), path: path)
      }
    default: self.init(.unusableFolder(reason: reason), path: path)
    }
  }
}

/// Whether no block or no file fits any more where a path lies; false where that cannot be told.
func isFull(at path: String) -> Bool {
  var facts = statvfs()
  let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
  guard statvfs(folder, &facts) == 0, facts.f_blocks > 0 else { return false }
  return facts.f_bavail == 0 || (facts.f_files > 0 && facts.f_favail == 0)
}
