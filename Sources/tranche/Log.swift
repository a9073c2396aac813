import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Glibc
import Logging
import Reports
import Synchronization

/// What the process tells on standard error while it works: in which format, from which level on,
/// of which job and run.
enum Log {
  /// Who reads standard error.
  enum Reader {
    case anyone
    /// systemd's journal takes a line's priority from its beginning.
    case journal
    /// So does the scheduler from its runs, and passes them on.
    case scheduler
  }

  struct Settings: Sendable {
    var format = LogFormat.text
    var level = Logger.Level.notice
    var reader = isJournal(STDERR_FILENO) ? Reader.journal : .anyone
    /// Of a command that runs a job.
    var job: String?
    var run: String?
  }

  private static let settings = Mutex(Settings())

  static var current: Settings { settings.withLock { $0 } }
  static func change(_ body: (inout Settings) -> Void) { settings.withLock { body(&$0) } }

  /// Whether somebody at a terminal sees what goes on, beside the lines of the log.
  static var isWatched: Bool {
    let current = current
    return current.format == .text && current.level == .notice && isatty(STDERR_FILENO) == 1
  }

  /// Whether a summary belongs in the log: not where people read standard output.
  static var takesSummaries: Bool { current.format != .text || isJournal(STDOUT_FILENO) }

  /// - Parameters:
  ///   - message: A sentence that is always the same for the same event.
  ///   - job: Instead of the process's own; so is `run`.
  ///   - words: What format text shows; the message if not given.
  static func tell(
    _ level: Logger.Level, _ message: String, _ fields: [LogLine.Field] = [], job: String? = nil,
    run: String? = nil, words: String? = nil
  ) {
    guard level >= current.level else { return }
    write(
      LogLine(
        milliseconds: nowMilliseconds(), level: level, message: message, job: job, run: run,
        fields: fields, words: words ?? message))
  }

  fileprivate static func write(_ line: LogLine) {
    let current = current
    var line = line
    line.job = line.job ?? current.job
    line.run = line.run ?? current.run
    write(
      line.text(current.format, textNamesRun: current.reader == .journal), line.level,
      to: current.reader)
  }

  private static func write(_ text: String, _ level: Logger.Level, to reader: Reader) {
    StandardStreams.writeError(
      (reader == .anyone ? "" : LogLine.priority(level)) + text + "\n")
  }

  /// Passes a line on that a run of the scheduler wrote to standard error.
  static func passOn(_ line: String, job: String, run: String) {
    guard let (level, text) = LogLine.split(line) else {
      // Not of the log: the last words of a crash.
      return tell(.error, line, job: job, run: run, words: "[\(job)] \(line)")
    }
    let current = current
    if current.format == .text {
      tell(level, text, job: job, run: run, words: "[\(job)] \(text)")
    } else {
      write(text, level, to: current.reader)
    }
  }

  /// Whether a descriptor leads to systemd's journal.
  ///
  /// `INVOCATION_ID` does not say so: it is set in all that a service starts, terminals included.
  /// - SeeAlso: systemd.exec(5), `$JOURNAL_STREAM`.
  private static func isJournal(_ descriptor: Int32) -> Bool {
    let stream = ProcessInfo.processInfo.environment["JOURNAL_STREAM"] ?? ""
    let numbers = stream.split(separator: ":").compactMap { UInt64($0) }
    return numbers.count == 2
      && FileIdentity(descriptor: descriptor)
        == FileIdentity(device: numbers[0], inode: numbers[1])
  }

  /// Sixteen digits that no other run has.
  static func makeRunID() -> String {
    let digits = String(UInt64.random(in: .min ... .max), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// What ended a command, or was in its way.
  static func tell(_ failure: Failure, exitCode: Int32) {
    tell(
      .error, failure.message,
      [("code", .text(failure.code)), ("exit_code", .integer(Int64(exitCode)))],
      words: "tranche: \(failure.message)")
  }
}

/// What was wrong, as one line.
///
/// - Parameter words: What format text shows; the message if not given.
func printError(_ message: String, words: String? = nil) {
  Log.tell(.error, message, words: words)
}

/// What commands that go on for a while take.
struct LogOptions: ParsableArguments {
  @Option(help: "Write the log to standard error as text, logfmt or json.")
  var logFormat = LogFormat.text

  @Option(help: "Log what is of this level or above: debug, info, notice, warning or error.")
  var logLevel: LogLevel?

  @Flag(name: .shortAndLong, help: "Log each batch, as --log-level debug does.")
  var verbose = false

  @Option(help: .hidden)
  var scheduledRun: String?

  func validate() throws {
    if verbose && logLevel != nil {
      throw ValidationError("--verbose is --log-level debug; give one of them.")
    }
  }

  /// - Parameter isQuiet: Whether only what went wrong is told.
  func apply(isQuiet: Bool = false) {
    let level = logLevel?.level ?? (verbose ? .debug : isQuiet ? .warning : .notice)
    Log.change {
      $0.format = logFormat
      $0.level = level
      if scheduledRun != nil { $0.reader = .scheduler }
    }
  }

  /// What gives a run of the scheduler the same.
  func arguments(run: String) -> [String] {
    ["--log-format", logFormat.rawValue, "--log-level", "\(Log.current.level)"]
      + ["--scheduled-run", run]
  }
}

extension LogFormat: ExpressibleByArgument {
  /// Of a command line that could not be parsed.
  init(commandLine: [String]) {
    let option = "--log-format"
    let value = commandLine.firstIndex(of: option).map { commandLine[($0 + 1)...].first }
    self =
      (value
      ?? commandLine.first { $0.hasPrefix("\(option)=") }?.dropFirst(option.count + 1)
      .description).flatMap(LogFormat.init) ?? .text
  }
}

/// What ends a command is always logged.
enum LogLevel: String, CaseIterable, ExpressibleByArgument {
  case debug, info, notice, warning, error

  var level: Logger.Level {
    switch self {
    case .debug: .debug
    case .info: .info
    case .notice: .notice
    case .warning: .warning
    case .error: .error
    }
  }
}

/// For what is told below the command line.
func makeLogger() -> Logger {
  var logger = Logger(label: "tranche") { _ in Handler() }
  logger.logLevel = Log.current.level
  return logger
}

private struct Handler: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.notice

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    Log.write(
      LogLine(
        milliseconds: nowMilliseconds(), level: event.level, message: "\(event.message)",
        fields: all.sorted { $0.key < $1.key }.map { ($0.key, LogLine.Value($0.value)) }))
  }
}

extension LogLine.Value {
  fileprivate init(_ value: Logger.Metadata.Value) {
    if case .stringConvertible(let number as any BinaryInteger) = value {
      self = .integer(Int64(clamping: number))
    } else {
      self = .text("\(value)")
    }
  }
}
