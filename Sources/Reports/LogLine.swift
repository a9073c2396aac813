internal import Escaping
package import Logging
internal import Tables

/// How the log is written to standard error.
package enum LogFormat: String, CaseIterable, Sendable {
  /// For people.
  case text
  /// `time=... level=... message="..."`: pairs of a name and a value.
  case logfmt
  /// One object a line.
  case json
}

/// One line of the log: a sentence that is always the same for the same event, and fields.
package struct LogLine: Sendable {
  package enum Value: Sendable, Equatable {
    case text(String)
    case integer(Int64)
    case number(Double)
  }

  package typealias Field = (name: String, value: Value)

  /// Since 1970 UTC.
  package var milliseconds: Int64
  package var level: Logger.Level
  package var message: String
  package var job: String?
  package var run: String?
  package var fields: [Field]
  /// What format text shows instead of the message and the fields, for whoever typed the command.
  package var words: String?

  package init(
    milliseconds: Int64, level: Logger.Level, message: String, job: String? = nil,
    run: String? = nil, fields: [Field] = [], words: String? = nil
  ) {
    self.milliseconds = milliseconds
    self.level = level
    self.message = message
    self.job = job
    self.run = run
    self.fields = fields
    self.words = words
  }

  /// The line, without its end.
  ///
  /// - Parameter textNamesRun: Whether format text has the run's id as well; the others always do.
  package func text(_ format: LogFormat, textNamesRun: Bool) -> String {
    let time = TimestampText.format(milliseconds: milliseconds)
    let ofJob: [Field] = job.map { [("job", .text($0))] } ?? []
    let ofRun: [Field] = run.map { [("run", .text($0))] } ?? []
    let all: [Field] =
      [("time", .text(time)), ("level", .text("\(level)")), ("message", .text(message))] + ofJob
      + ofRun + fields
    switch format {
    case .text:
      let text = words ?? "\(time) \(level) \(message) \(Self.logfmt(ofJob + fields))"
      return ForeignText.escaped(text)
        + (textNamesRun && run != nil ? " \(Self.logfmt(ofRun))" : "")
    case .logfmt:
      return Self.logfmt(all)
    case .json:
      return "{"
        + all.map { "\(Self.quoted($0.name)):\(Self.json($0.value))" }.joined(separator: ",") + "}"
    }
  }

  private static func logfmt(_ fields: [Field]) -> String {
    fields.map { name, value in
      if case .text(let text) = value, isBare(text) { return "\(name)=\(text)" }
      return "\(name)=\(json(value))"
    }.joined(separator: " ")
  }

  /// Whether logfmt needs no quotes around a text.
  private static func isBare(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"\"=\\".utf8.contains($0) }
  }

  private static func json(_ value: Value) -> String {
    switch value {
    case .text(let text): quoted(text)
    case .integer(let integer): "\(integer)"
    // JSON has no other numbers.
    case .number(let number): number.isFinite ? "\(number)" : quoted("\(number)")
    }
  }

  /// A parser reads the exact text; a terminal is told nothing by it.
  private static func quoted(_ text: String) -> String {
    ForeignText.escapedJSON(JSONText.quoted(text))
  }
}

extension LogLine {
  /// What begins a line for the journal.
  ///
  /// - SeeAlso: sd-daemon(3).
  package static func priority(_ level: Logger.Level) -> String {
    let number =
      switch level {
      case .critical: 2
      case .error: 3
      case .warning: 4
      case .notice: 5
      case .info: 6
      case .debug, .trace: 7
      }
    return "<\(number)>"
  }

  /// Takes a line apart that begins with a priority; nil where it begins otherwise.
  package static func split(_ line: String) -> (level: Logger.Level, text: String)? {
    let levels: [Logger.Level] = [.critical, .error, .warning, .notice, .info, .debug]
    return levels.first { line.hasPrefix(priority($0)) }.map { ($0, String(line.dropFirst(3))) }
  }
}
