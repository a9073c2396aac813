internal import Expressions
internal import Formats
internal import Tables

/// The job file: YAML in, a validated ``Job`` out.
package enum JobFile {
  /// Most bytes of a job file.
  package static let byteLimit = 1 << 20

  /// What is wrong with the properties of a Kafka client, if something is. Never holds a value,
  /// which may be a secret. Without a name all of them are meant.
  package typealias PropertyCheck = (_ properties: [String: String]) -> [(
    name: String?, problem: String, remedy: String, isWarning: Bool
  )]

  /// What is wrong with a file by its path.
  package typealias FileCheck = (_ path: String) -> (problem: String, remedy: String)?

  /// Whether the system knows a time zone by this name.
  package typealias TimeZoneCheck = (_ name: String) -> Bool

  /// A job and where its file says what may clash with another job's.
  package struct Parsed: Sendable {
    package let job: Job
    /// 1 where the name is the file's.
    package let nameLine: Int
    /// Of `output.to`.
    package let destinationLine: Int
    /// What is valid and most likely not meant.
    package let warnings: [JobFileError]
  }

  /// Parses, substitutes and checks a job file.
  ///
  /// - Parameters:
  ///   - path: For messages, and for the job's name where the file gives none.
  ///   - readFile: The content of a file that `${file:...}` names; nil if it cannot be read.
  ///   - checkProperties: Asked for the properties of each cluster.
  ///   - fileFault: What is wrong with a file that is only named, if something is.
  ///   - isTimeZone: Asked for `trigger.time_zone`.
  /// - Throws: ``JobFileErrors`` with every fault that was found.
  package static func parse(
    text: String, path: String, environment: [String: String],
    readFile: @escaping (String) -> String?,
    checkProperties: @escaping PropertyCheck = { _ in [] },
    fileFault: @escaping FileCheck = { _ in nil },
    isTimeZone: @escaping TimeZoneCheck = { _ in true }
  ) throws(JobFileErrors) -> Job {
    try parsed(
      text: text, path: path, environment: environment, readFile: readFile,
      checkProperties: checkProperties, fileFault: fileFault, isTimeZone: isTimeZone
    ).job
  }

  /// As ``parse(text:path:environment:readFile:checkProperties:fileFault:isTimeZone:)``, with
  /// lines.
  ///
  /// - Parameters:
  ///   - name: Takes the place of the file's; empty where it has none.
  ///   - standsIn: Whether a reference may stand for nothing: for a test, which uses neither broker
  ///     nor store. A key whose value does has its default then, or none.
  package static func parsed(
    text: String, path: String, name: String? = nil, environment: [String: String],
    standsIn: Bool = false, readFile: @escaping (String) -> String?,
    checkProperties: @escaping PropertyCheck = { _ in [] },
    fileFault: @escaping FileCheck = { _ in nil },
    isTimeZone: @escaping TimeZoneCheck = { _ in true }
  ) throws(JobFileErrors) -> Parsed {
    let reader = YAMLReader(
      file: path,
      references: References(environment: environment, standsIn: standsIn, readFile: readFile))
    var parsed: Parsed?
    if text.utf8.count > byteLimit {
      reader.fail(line: 1, "is larger than \(byteLimit) bytes", "A job file is a page of YAML")
    } else if let root = reader.root(text) {
      var parser = JobParser(
        reader, checkProperties: checkProperties, fileFault: fileFault, isTimeZone: isTimeZone)
      let job = parser.parse(root, fallbackName: name ?? fileName(path))
      parsed = Parsed(
        job: job, nameLine: parser.nameLine, destinationLine: parser.destinationLine,
        warnings: reader.warnings)
    }
    if let parsed, reader.errors.isEmpty { return parsed }
    throw JobFileErrors(errors: reader.errors.sorted { $0.line < $1.line })
  }

  /// A duration as job files write it: `500ms`, `30s`, `5m`, `1h`, `1d`. Nil for anything else.
  package static func milliseconds(_ text: String) -> Int64? { YAMLReader.milliseconds(text) }

  /// Whether a value holds `${...}`, so that it need not hold a secret itself.
  package static func holdsReference(_ value: String) -> Bool { References.stand(in: value) }

  /// The name of a job whose file gives none.
  package static func fileName(_ path: String) -> String {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    for ending in [".yaml", ".yml"] where name.hasSuffix(ending) {
      return String(name.dropLast(ending.count))
    }
    return name
  }
}
