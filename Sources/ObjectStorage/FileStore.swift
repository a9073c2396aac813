internal import Crypto
internal import Glibc
internal import Synchronization

/// Objects as files below a folder, replaced by write, sync and rename.
///
/// A temporary file is called `.NAME.PID-TOKEN-NUMBER.tmp` and stands beside the file it becomes;
/// one that a dead process left is removed by the next put into its folder. The token is a store's
/// own: in a container every process may have the same id.
/// - SeeAlso: rename(2), "atomically replaced"; syncfs(2).
package final class FileStore: ObjectStore {
  private let root: String
  private let counter = Mutex(0)
  private let token = String(UInt32.random(in: .min ... .max), radix: 36)

  private let step: @Sendable () -> Void

  /// - Parameter step: Called when a temporary file is written and when it has taken its place, for
  ///   tests that end the process there.
  package init(root: String, step: @escaping @Sendable () -> Void = {}) {
    self.root = root
    self.step = step
  }

  package var location: String { "file:\(root)" }

  package let sharesSyncs = true

  package var identity: String {
    guard let resolved = realpath(root, nil) else { return location }
    defer { free(resolved) }
    return "file:" + String(cString: resolved)
  }

  private let heldFolder = Mutex<Int32>(-1)

  deinit { heldFolder.withLock { if $0 >= 0 { close($0) } } }

  /// flock(2) on the folder of the marker, which stays the same file when files in it are renamed.
  package func holdPlace() throws(ObjectStoreError) {
    if heldFolder.withLock({ $0 >= 0 }) { return }
    let key = ObjectKey("_tranche/owner")
    try makeFolder(of: key)
    let folder = folder(of: path(key))
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("the folder \(folder) cannot be opened", key) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let error =
        errno == EWOULDBLOCK
        ? ObjectStoreError(.held, place: location, reason: "another run writes to this folder now")
        : failure("the folder \(folder) cannot be locked", key)
      close(descriptor)
      throw error
    }
    heldFolder.withLock { $0 = descriptor }
  }

  package func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    try replace(key) { path throws(ObjectStoreError) in
      try write(bytes, beside: path, key, synced: true)
    }
    return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: false)
  }

  /// - Parameter writeTemporary: Makes a file beside a path, and returns its own.
  private func replace(
    _ key: ObjectKey, _ writeTemporary: (String) throws(ObjectStoreError) -> String
  ) throws(ObjectStoreError) {
    let path = path(key)
    try makeFolder(of: key)
    try moveIntoPlace(try writeTemporary(path), path, key)
    try syncFolder(folder(of: path), key)
  }

  package func put(
    file source: String, at key: ObjectKey
  ) throws(ObjectStoreError) -> PutReceipt {
    var facts = stat()
    let mode = stat(source, &facts) == 0 ? facts.st_mode & 0o777 : 0o600
    var hash = Insecure.MD5()
    try replace(key) { path throws(ObjectStoreError) in
      try writeTemporary(beside: path, key, synced: true, mode: mode) {
        write throws(ObjectStoreError) in
        try readFile(source) { chunk throws(ObjectStoreError) in
          hash.update(data: chunk)
          try write(chunk)
        }
      }
    }
    return PutReceipt(etag: hexadecimal(hash.finalize()), hadUnansweredAttempt: false)
  }

  /// Many small files for two syncs of the file system: all temporaries, a sync, all renames, a
  /// sync.
  package func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    if group.count == 1 { return [try put(group[0].1, at: group[0].0)] }
    guard let first = group.first else { return [] }
    var temporaries: [String] = []
    do {
      for (key, bytes) in group {
        try makeFolder(of: key)
        temporaries.append(try write(bytes, beside: path(key), key, synced: false))
      }
      try syncFileSystem(first.0)
    } catch {
      for temporary in temporaries { unlink(temporary) }
      throw error
    }
    for (index, (key, _)) in group.enumerated() {
      do { try moveIntoPlace(temporaries[index], path(key), key) } catch {
        // The one at fault is gone already.
        for temporary in temporaries[(index + 1)...] { unlink(temporary) }
        throw error
      }
    }
    try syncFileSystem(first.0)
    return group.map { PutReceipt(etag: etag($0.1), hadUnansweredAttempt: false) }
  }

  package func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    var byteCount: Int64 = 0
    var hash = Insecure.MD5()
    let isThere = try read(key) { chunk throws(ObjectStoreError) in
      byteCount += Int64(chunk.count)
      hash.update(data: chunk)
    }
    return isThere ? ObjectFacts(byteCount: byteCount, etag: hexadecimal(hash.finalize())) : nil
  }

  package func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    var bytes: [UInt8] = []
    let isThere = try read(key) { chunk throws(ObjectStoreError) in
      guard chunk.count <= byteLimit - bytes.count else {
        let reason = "is longer than \(byteLimit) bytes"
        throw ObjectStoreError(
          .tooLarge(byteLimit: byteLimit), place: "\(location)/\(key)", reason: reason)
      }
      bytes += chunk
    }
    return isThere ? bytes : nil
  }

  /// Reads a file piece by piece; false when there is none. Anything but a plain file is an error:
  /// a FIFO would be waited for.
  private func read(_ key: ObjectKey, _ body: (ArraySlice<UInt8>) throws(ObjectStoreError) -> Void)
    throws(ObjectStoreError) -> Bool
  {
    let descriptor = open(path(key), O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 && (errno == ENOENT || errno == ENOTDIR) { return false }
    guard descriptor >= 0 else { throw failure("cannot be opened", key) }
    defer { close(descriptor) }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0 else { throw failure("cannot be looked at", key) }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      throw ObjectStoreError(
        .inputOutput, place: "\(location)/\(key)", reason: "is not a plain file")
    }
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw failure("cannot be read", key) }
      if count == 0 { return true }
      try body(chunk[..<count])
    }
  }

  package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
    guard unlink(path(key)) == 0 || errno == ENOENT || errno == ENOTDIR else {
      throw failure("cannot be deleted", key)
    }
  }

  package func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    var keys: [String] = []
    walk("", into: &keys)
    return keys.filter { $0.utf8.starts(with: prefix.utf8) }.sorted {
      $0.utf8.lexicographicallyPrecedes($1.utf8)
    }
    .compactMap(ObjectKey.init(validating:))
  }

  private func walk(_ relative: String, into keys: inout [String]) {
    for name in names(in: relative.isEmpty ? root : "\(root)/\(relative)") {
      let key = relative.isEmpty ? name : "\(relative)/\(name)"
      var facts = stat()
      guard lstat("\(root)/\(key)", &facts) == 0 else { continue }
      if facts.st_mode & S_IFMT == S_IFDIR {
        walk(key, into: &keys)
      } else if !isTemporary(name) {
        keys.append(key)
      }
    }
  }

  // MARK: - Steps

  private func path(_ key: ObjectKey) -> String { "\(root)/\(key.value)" }

  private func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Makes the folders above an object; each new one is made durable by syncing the folder it
  /// stands in.
  private func makeFolder(of key: ObjectKey) throws(ObjectStoreError) {
    let wanted = folder(of: path(key))
    if access(wanted, F_OK) == 0 { return removeLeftovers(in: wanted) }
    var made = wanted.hasPrefix("/") ? "/" : ""
    for part in wanted.split(separator: "/") {
      let parent = made.isEmpty ? "." : made
      made += made.isEmpty || made.hasSuffix("/") ? String(part) : "/\(part)"
      if mkdir(made, 0o755) == 0 {
        try syncFolder(parent, key)
      } else if errno != EEXIST {
        throw failure("the folder \(made) cannot be made", key)
      }
    }
  }

  private func write(_ bytes: [UInt8], beside path: String, _ key: ObjectKey, synced: Bool)
    throws(ObjectStoreError) -> String
  {
    try writeTemporary(beside: path, key, synced: synced) { write throws(ObjectStoreError) in
      try write(bytes[...])
    }
  }

  /// - Parameter body: Writes what the file is to hold, piece by piece.
  private func writeTemporary(
    beside path: String, _ key: ObjectKey, synced: Bool, mode: UInt32? = nil,
    _ body: (
      _ write: (ArraySlice<UInt8>) throws(ObjectStoreError) -> Void
    ) throws(ObjectStoreError) -> Void
  ) throws(ObjectStoreError) -> String {
    let number = counter.withLock { count in
      count += 1
      return count
    }
    let name = path.split(separator: "/").last.map(String.init) ?? path
    let temporary = "\(folder(of: path))/.\(name).\(getpid())-\(token)-\(number).tmp"
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
    let descriptor = open(temporary, flags, mode.map { $0 & 0o600 } ?? 0o644)
    guard descriptor >= 0 else { throw failure("a temporary file cannot be made", key) }
    if let mode, fchmod(descriptor, mode) != 0 {
      throw discard(temporary, descriptor, "cannot be given its rights", key)
    }
    do {
      try body { bytes throws(ObjectStoreError) in
        var position = 0
        while position < bytes.count {
          let count = bytes.withUnsafeBytes {
            Glibc.write(descriptor, $0.baseAddress! + position, $0.count - position)
          }
          if count < 0 && errno == EINTR { continue }
          guard count > 0 else { throw failure("cannot be written", key) }
          position += count
        }
      }
    } catch {
      close(descriptor)
      unlink(temporary)
      throw error
    }
    if synced && fsync(descriptor) != 0 {
      throw discard(temporary, descriptor, "cannot be synced", key)
    }
    guard close(descriptor) == 0 else { throw discard(temporary, nil, "cannot be closed", key) }
    return temporary
  }

  private func discard(_ temporary: String, _ descriptor: Int32?, _ what: String, _ key: ObjectKey)
    -> ObjectStoreError
  {
    let error = failure(what, key)
    if let descriptor { close(descriptor) }
    unlink(temporary)
    return error
  }

  private func moveIntoPlace(_ temporary: String, _ path: String, _ key: ObjectKey)
    throws(ObjectStoreError)
  {
    step()
    guard rename(temporary, path) == 0 else {
      throw discard(temporary, nil, "cannot be replaced", key)
    }
    step()
  }

  private func syncFolder(_ folder: String, _ key: ObjectKey) throws(ObjectStoreError) {
    try withFolder(folder, key) { fsync($0) }
  }

  private func syncFileSystem(_ key: ObjectKey) throws(ObjectStoreError) {
    try withFolder(root, key) { syncfs($0) }
  }

  private func withFolder(_ folder: String, _ key: ObjectKey, _ sync: (Int32) -> Int32)
    throws(ObjectStoreError)
  {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("the folder \(folder) cannot be opened", key) }
    defer { close(descriptor) }
    guard sync(descriptor) == 0 else { throw failure("the folder \(folder) cannot be synced", key) }
  }

  // MARK: - Leftovers

  private func isTemporary(_ name: String) -> Bool { name.hasPrefix(".") && name.hasSuffix(".tmp") }

  private func removeLeftovers(in folder: String) {
    for name in names(in: folder) where isTemporary(name) {
      let parts = (name.dropLast(".tmp".count).split(separator: ".").last ?? "").split(
        separator: "-")
      guard parts.count == 3, let process = pid_t(parts[0]), parts[1] != token else { continue }
      if process == getpid() || (kill(process, 0) != 0 && errno == ESRCH) {
        unlink("\(folder)/\(name)")
      }
    }
  }

  private func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  private func failure(_ what: String, _ key: ObjectKey) -> ObjectStoreError {
    let number = errno
    let code: ObjectStoreError.Code =
      switch number {
      case ENOSPC, EDQUOT: .full
      case EROFS: .readOnly
      case EACCES, EPERM: .refused
      default: .inputOutput
      }
    return ObjectStoreError(
      code, place: "\(location)/\(key)", reason: "\(what): \(String(cString: strerror(number)))")
  }
}

/// syncfs(2). Glibc's header shows it only to programs that ask for GNU's extensions before they
/// include it, which a Swift import cannot.
@_silgen_name("syncfs") private func syncfs(_ descriptor: Int32) -> Int32

/// The content's MD5: what S3 calls the ETag of an object put in one piece without encryption by a
/// key of the caller's.
func etag(_ bytes: [UInt8]) -> String { hexadecimal(Insecure.MD5.hash(data: bytes)) }

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(
    decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
