import Glibc
import Jobs

/// Reads a file of configuration: a job file, a secret, shared credentials. Nil where it cannot be
/// read or is longer than it may be.
///
/// A device gives bytes without end, so no more than the limit is read. A pipe is read to its end,
/// for `tranche validate <(...)`; a FIFO that nobody writes to is empty, not waited for.
func fileBytes(_ path: String, byteLimit: Int) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  return bytes(of: descriptor, byteLimit: byteLimit)
}

/// The job file that came on standard input, which can be read once; nil as for
/// ``fileBytes(_:byteLimit:)``.
let standardInputBytes: [UInt8]? = bytes(of: STDIN_FILENO, byteLimit: JobFile.byteLimit)

private func bytes(of descriptor: Int32, byteLimit: Int) -> [UInt8]? {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count == 0 { return bytes }
    if count > 0 {
      bytes += chunk[..<count]
      if bytes.count > byteLimit { return nil }
    } else if errno == EAGAIN {
      var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if poll(&wanted, 1, -1) < 0 && errno != EINTR { return nil }
    } else if errno != EINTR {
      return nil
    }
  }
}

/// The file's path without links, `.` and `..`; of what does not exist yet, the names as they are
/// below what does.
func resolvedPath(_ path: String) -> String {
  if let resolved = realpath(path, nil) {
    defer { free(resolved) }
    return String(cString: resolved)
  }
  guard let slash = path.lastIndex(of: "/") else {
    return path == "." || path.isEmpty ? path : resolvedPath(".") + "/" + path
  }
  let (folder, name) = (String(path[..<slash]), path[path.index(after: slash)...])
  let base = folder.isEmpty ? "" : resolvedPath(folder)
  switch name {
  case "", ".": return base
  case "..": return base.lastIndex(of: "/").map { String(base[..<$0]) } ?? base
  default: return base == "/" ? "/\(name)" : "\(base)/\(name)"
  }
}
