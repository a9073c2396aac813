import Engine
import Escaping
import Glibc
import Synchronization

/// The one place that writes to standard output and standard error. Both can fail: a disk is full,
/// a reader has gone away, a terminal was closed.
///
/// A message that standard error does not take is lost and changes nothing: the exit code still
/// says what happened. Output that standard output does not take is a failure of the command, see
/// ``exitCode(ofWork:)``.
enum StandardStreams {
  /// What kept standard output from taking something, first.
  private static let outputFailure = Mutex<Int32?>(nil)
  /// One line at a time: the publisher's thread logs beside the run's.
  private static let errorLock = Mutex(())

  /// Called before anything else, so that no file that is opened later takes one of these numbers.
  ///
  /// Where the parent closed 0, 1 or 2 they are opened on /dev/null: else the lock or the
  /// checkpoint would be opened under 2, and messages would be written into it. SIGPIPE is ignored:
  /// a reader that goes away must not end a run between two steps.
  static func prepare() {
    for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
      // open(2) takes the lowest number that is free.
      _ = open("/dev/null", O_RDWR)
    }
    signal(SIGPIPE, SIG_IGN)
  }

  /// The process's exit code, from that of the command's work: 74 where the work was done and its
  /// output could not be written.
  ///
  /// A reader that went away, as `head` does, wants no more: the rest is dropped, and nobody is
  /// told.
  static func exitCode(ofWork code: Int32) -> Int32 {
    let failure = outputFailure.withLock { $0 }
    return code == 0 && failure != nil && failure != EPIPE
      ? RunError.Code.inputOutput.exitCode : code
  }

  static func writeOutput(_ text: String) {
    var text = text
    text.withUTF8 { writeOutput(bytes: UnsafeRawBufferPointer($0)) }
  }

  static func writeOutput(bytes: UnsafeRawBufferPointer) {
    let failure = outputFailure.withLock { failure -> Int32? in
      // After the first failure nothing more is tried: half of an output would look like another
      // one.
      if failure != nil { return nil }
      failure = write(bytes, to: STDOUT_FILENO)
      return failure
    }
    if let failure, failure != EPIPE {
      let message = """
        standard output cannot be written: \(String(cString: strerror(failure))). Free space \
        there, or redirect the output to another file.
        """
      printError(message, words: "tranche: \(message)")
    }
  }

  static func writeError(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      errorLock.withLock { _ in _ = write(UnsafeRawBufferPointer(bytes), to: STDERR_FILENO) }
    }
  }

  /// Nil when all of it was written, else the error's number.
  static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32? {
    var rest = bytes
    while let start = rest.baseAddress, !rest.isEmpty {
      let count = Glibc.write(descriptor, start, rest.count)
      if count > 0 {
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      } else if count == 0 {
        return EIO
      } else if errno == EAGAIN {
        // Someone made it non-blocking, as shells and supervisors do with pipes.
        var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        if poll(&wanted, 1, -1) < 0 && errno != EINTR { return errno }
      } else if errno != EINTR {
        return errno
      }
    }
    return nil
  }
}

/// Lines for a person, on standard output.
func printText(_ text: String) {
  StandardStreams.writeOutput(ForeignText.escapedLines(text) + "\n")
}

/// What a program reads, such as JSON, byte by byte.
func printExact(_ text: String, terminator: String = "\n") {
  StandardStreams.writeOutput(text + terminator)
}

/// What a program reads, such as a record as it came.
func printExact(_ bytes: [UInt8]) {
  bytes.withUnsafeBytes { StandardStreams.writeOutput(bytes: $0) }
}

/// The line that a terminal shows while a run goes on; its control sequences are ours.
func printProgress(_ line: String) {
  StandardStreams.writeError(line)
}

/// A line for a person at a terminal, in place of the one that shows progress.
func printWait(_ line: String) {
  StandardStreams.writeError("\r\u{1B}[K" + ForeignText.escaped(line) + "\n")
}
