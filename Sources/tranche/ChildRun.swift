import Engine
import Glibc

/// A run of a job in a process of its own: this very program, with other arguments.
final class ChildRun {
  /// In the log.
  let id: String
  let pid: pid_t
  private(set) var output: LineReader
  private(set) var errors: LineReader

  /// What ``reap()`` found.
  enum End: Equatable {
    case exited(Int32)
    case signalled(Int32)
  }

  /// - Parameter arguments: Without the program's name.
  /// - Throws: A ``CommandError`` where the system has no process or pipe left.
  init(_ id: String, _ arguments: [String]) throws {
    self.id = id
    let output = try Pipe()
    let errors: Pipe
    do { errors = try Pipe() } catch {
      output.close()
      throw error
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.writing, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errors.writing, STDERR_FILENO)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // A signal that comes before the run can handle it stays pending until `StopSignal.watch`
    // unblocks it.
    var blocked = sigset_t()
    sigemptyset(&blocked)
    sigaddset(&blocked, SIGTERM)
    sigaddset(&blocked, SIGINT)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &blocked)
    posix_spawnattr_setsigdefault(&attributes, &all)
    // A group of its own: Ctrl-C reaches the scheduler alone, which hands it on once.
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
    var pid: pid_t = 0
    // The program that runs, also where an update has replaced its file.
    let words = (["tranche"] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, words, environ)
    guard code == 0 else {
      output.close()
      errors.close()
      throw CommandError(
        .inputOutput, "no process can be started: \(String(cString: strerror(code)))")
    }
    close(output.writing)
    close(errors.writing)
    self.pid = pid
    self.output = LineReader(output.reading)
    self.errors = LineReader(errors.reading)
  }

  func send(_ signal: Int32) { kill(pid, signal) }

  /// Nil while it goes on. What it wrote is in its pipes when this says that it ended.
  func reap() -> End? {
    var status: Int32 = 0
    guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
    let signal = status & 0x7F
    return signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
  }

  /// Lines that came since the last call.
  func readLines(_ body: (_ line: String, _ isError: Bool) -> Void) {
    output.read { body($0, false) }
    errors.read { body($0, true) }
  }

  /// What came without a line's end; to be called after the end.
  func finish(_ body: (_ line: String, _ isError: Bool) -> Void) {
    readLines(body)
    output.finish { body($0, false) }
    errors.finish { body($0, true) }
  }
}

/// A pipe that no child inherits; reading does not block.
struct Pipe {
  let reading, writing: Int32

  init() throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw CommandError(.inputOutput, "no pipe can be made: \(String(cString: strerror(errno)))")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
    (reading, writing) = (ends[0], ends[1])
  }

  func close() {
    Glibc.close(reading)
    Glibc.close(writing)
  }
}

/// Lines out of a pipe that does not block.
struct LineReader: ~Copyable {
  /// A longer line is passed on in pieces.
  static let lineByteLimit = 1 << 20

  let descriptor: Int32
  private(set) var isAtEnd = false
  private var rest: [UInt8] = []

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  mutating func read(_ body: (String) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { buffer in
      while !isAtEnd {
        let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        if count < 0 && errno == EINTR { continue }
        if count < 0 && errno == EAGAIN { return }
        if count <= 0 { isAtEnd = true }
        for byte in buffer.prefix(max(0, count)) {
          if byte == UInt8(ascii: "\n") || rest.count >= Self.lineByteLimit { finish(body) }
          if byte != UInt8(ascii: "\n") { rest.append(byte) }
        }
      }
    }
  }

  /// Passes on what has no line's end yet; nothing where there is nothing.
  mutating func finish(_ body: (String) -> Void) {
    if !rest.isEmpty { body(String(decoding: rest, as: UTF8.self)) }
    rest.removeAll(keepingCapacity: true)
  }
}
