import Foundation
import TestSupport

/// A value of a field, a key or a measure: integers also stand for booleans, milliseconds and a
/// decimal's units.
enum Value: Hashable, Sendable {
  case null, integer(Int64), unsigned(UInt64), double(Double)
  /// UTF-8, because Swift's `String` takes canonically equal texts for one.
  case text([UInt8])

  init(_ text: String) { self = .text(Array(text.utf8)) }

  var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
}

enum ValueType: Hashable, Sendable {
  case int32, int64, uint64, bool, double, string, timestamp
  case decimal(precision: Int, scale: Int)
}

/// A column of a result, or a field of a record.
struct Definition: Sendable {
  var name: String
  var type: ValueType
  var isNullable = false
}

/// A job drawn from what a job file can say, as the oracle understands it. The product gets it as
/// the text of a file.
struct DrawnJob: Sendable {
  enum InputFormat: String, CaseIterable { case csv, json }
  enum OutputFormat: String, CaseIterable { case csv, json, parquet }
  enum TimeEncoding: String, CaseIterable { case text = "timestamp", seconds, milliseconds }
  enum Window: Equatable {
    case global, batch
    case tumbling(widthMilliseconds: Int64, time: String)
  }
  enum Function: String { case count, sum, min, max, avg }
  struct Measure: Equatable {
    var name: String
    var function: Function
    /// Nil counts records.
    var field: String?
  }
  /// Each is an expression of the job file and its meaning in ``Expectation``.
  enum Condition: String, CaseIterable {
    case isPositive = "v >= 0"
    case isSmallOfKnownKey = "k IS NOT NULL AND v < 5"
    case isEven = "v % 2 = 0"
    case isFirstPartition = "record_partition = 0 OR v > 2"
    case hasKey = "record_key = 'one' OR v = 1"
  }
  enum Derived: String, CaseIterable {
    case shareOfTotal = "share: 100.0 * total / sum(total) OVER ()"
    case twice = "twice: { sql: 2 * calls + 1, type: int64 }"
    case shareOfValue = "share: 100.0 * v / sum(v) OVER ()"
    case place = "place: { sql: record_offset, type: int64 }"
  }
  struct Topic: Hashable, Sendable {
    var source: String
    var name: String
  }

  var topics: [Topic] = []
  var input = InputFormat.csv
  var fields: [Definition] = []
  var timeEncoding = TimeEncoding.text
  /// Nil for a row job.
  var window: Window?
  /// Only of tumbling windows.
  var lateness: LatenessRule?
  var condition: Condition?
  var by: [String] = []
  var measures: [Measure] = []
  var derived: Derived?
  var output = OutputFormat.csv
  /// `keep: each`, for batch windows and row jobs.
  var keepsEach = false
  var rejects = RejectRule()
  /// Else a message without a value is a reject.
  var skipsTombstones = false
  /// `limits`; nil for the default, which no record here reaches.
  var recordByteLimit: Int?
  var keyByteLimit: Int?
  var batchByteLimit: Int?
  var start = Account.Start.earliest

  /// `source.start` where it is a timestamp.
  static let startTime: Int64 = 60_000

  /// - Parameter mayRefuseLate: Whether the job may refuse late records.
  init(_ random: inout SeededRandom, mayRefuseLate: Bool = true) {
    topics = Self.drawTopics(&random)
    input = chance(65, &random) ? .csv : .json
    drawFields(&random)
    condition = chance(60, &random) ? Condition.allCases.randomElement(using: &random) : nil
    output = OutputFormat.allCases.randomElement(using: &random) ?? .csv
    start = Account.Start.allCases.randomElement(using: &random) ?? .earliest
    rejects.quarantines = chance(70, &random)
    if chance(25, &random) {
      rejects.maxShare = Int.random(in: 5...60, using: &random)
      rejects.minRecords = Int.random(in: 1...12, using: &random)
      rejects.maxShareOver = Int.random(in: 1...40, using: &random)
    } else if chance(5, &random) {
      rejects.fails = true
    }
    if chance(25, &random) {
      derived = [nil, .shareOfValue, .place].randomElement(using: &random) ?? nil
    } else {
      drawAggregate(&random)
      derived = [nil, .shareOfTotal, .twice].randomElement(using: &random) ?? nil
    }
    if chance(15, &random) { recordByteLimit = Int.random(in: 12...60, using: &random) }
    if chance(30, &random) { keyByteLimit = Int.random(in: 2...8, using: &random) }
    if chance(15, &random) { batchByteLimit = Int.random(in: 40...200, using: &random) }
    keepsEach = (window == nil || window == .batch) && chance(50, &random)
    skipsTombstones = chance(30, &random)
    hasManifest = (fields.count + measures.count) % 3 == 0
    if mayRefuseLate, timeField != nil, chance(50, &random) {
      let seconds: Int64 = [1, 10, 40, 90, 120].randomElement(using: &random) ?? 10
      lateness = LatenessRule(allowedMilliseconds: seconds * 1_000)
      if chance(60, &random) {
        let seconds: Int64 = [1, 10, 40].randomElement(using: &random) ?? 10
        lateness?.retentionMilliseconds = seconds * 1_000
      }
    }
  }

  private static func drawTopics(_ random: inout SeededRandom) -> [Topic] {
    // Two clusters may have topics of one name.
    let choices = [
      ["one/a"], ["one/a", "one/b"], ["one/a", "two/b"], ["one/a", "two/a", "two/b"],
      ["one/b", "two/a", "three/a"],
    ]
    return (choices.randomElement(using: &random) ?? []).map { text in
      let parts = text.split(separator: "/").map(String.init)
      return Topic(source: parts[0], name: parts[1])
    }
  }

  private mutating func drawFields(_ random: inout SeededRandom) {
    fields = [
      Definition(name: "id", type: .int64),
      Definition(name: "k", type: .int32, isNullable: chance(50, &random)),
      Definition(
        name: "v", type: chance(50, &random) ? .int32 : .int64, isNullable: chance(30, &random)),
    ]
    // The product has a short way for records of integers alone.
    if chance(35, &random) { return }
    let others: [(String, ValueType)] = [
      ("s", .string), ("b", .bool), ("x", .double), ("d", .decimal(precision: 9, scale: 2)),
      ("t", .timestamp), ("u", .uint64),
    ]
    for (name, type) in others where chance(60, &random) {
      fields.append(Definition(name: name, type: type, isNullable: chance(50, &random)))
    }
    timeEncoding = TimeEncoding.allCases.randomElement(using: &random) ?? .text
  }

  private mutating func drawAggregate(_ random: inout SeededRandom) {
    let hasTime = fields.contains { $0.name == "t" }
    let width: Int64 = [10_000, 60_000, 3_600_000].randomElement(using: &random) ?? 60_000
    switch Int.random(in: 0..<10, using: &random) {
    case 0, 1: window = .global
    case 2, 3: window = .batch
    default:
      window = .tumbling(
        widthMilliseconds: width, time: hasTime && chance(70, &random) ? "t" : "record_timestamp")
    }
    let keys = columns.map(\.name).filter {
      !["id", "v", "x", "t", "record_timestamp", "record_offset"].contains($0)
    }
    by = Array(keys.shuffled(using: &random).prefix(Int.random(in: 0...2, using: &random)))
    measures = [
      Measure(name: "calls", function: .count, field: nil),
      Measure(name: "total", function: .sum, field: "v"),
    ]
    for number in 0..<Int.random(in: 0...4, using: &random) {
      if let measure = drawMeasure("m\(number)", &random) { measures.append(measure) }
    }
  }

  /// Of a field; nil where chance chooses one that measures nothing.
  func drawMeasure(_ name: String, _ random: inout SeededRandom) -> Measure? {
    guard let field = fields.randomElement(using: &random), field.name != "id" else { return nil }
    let functions: [Function] = [.count, .sum, .min, .max, .avg]
    let isNumber = ["k", "v", "x", "d"].contains(field.name)
    let function =
      functions.filter { isNumber || ($0 != .sum && $0 != .avg) }.randomElement(using: &random)
      ?? .count
    return Measure(name: name, function: function, field: field.name)
  }

  // MARK: - Columns

  /// What every message carries beside its value.
  static let messageColumns = [
    Definition(name: "record_key", type: .string, isNullable: true),
    Definition(name: "record_timestamp", type: .timestamp, isNullable: true),
    Definition(name: "record_topic", type: .string),
    Definition(name: "record_partition", type: .int32),
    Definition(name: "record_offset", type: .int64),
  ]

  var columns: [Definition] { fields + Self.messageColumns }

  func column(_ name: String) -> Definition {
    guard let column = columns.first(where: { $0.name == name }) else {
      preconditionFailure("no column \(name)")
    }
    return column
  }

  /// Drawn with the rest: of each three jobs one has it.
  private(set) var hasManifest = false

  /// Whether a key that is no text makes a record unreadable: where the job asks for keys.
  var readsKeys: Bool { by.contains("record_key") || condition == .hasKey }

  /// The field whose NULL leaves a record without a window.
  var timeField: String? { if case .tumbling(_, let time) = window { time } else { nil } }

  func definition(of measure: Measure) -> Definition {
    guard let field = measure.field.map(column) else {
      return Definition(name: measure.name, type: .int64)
    }
    switch measure.function {
    case .count: return Definition(name: measure.name, type: .int64)
    case .avg: return Definition(name: measure.name, type: .double, isNullable: field.isNullable)
    case .min, .max:
      return Definition(name: measure.name, type: field.type, isNullable: field.isNullable)
    case .sum:
      let type: ValueType =
        switch field.type {
        case .decimal(_, let scale): .decimal(precision: 18, scale: scale)
        case .double: .double
        default: .int64
        }
      return Definition(name: measure.name, type: type, isNullable: field.isNullable)
    }
  }

  var resultColumns: [Definition] {
    var columns = window == nil ? fields : by.map(column) + measures.map(definition)
    switch derived {
    case .shareOfTotal, .shareOfValue:
      columns.append(Definition(name: "share", type: .double, isNullable: true))
    case .twice: columns.append(Definition(name: "twice", type: .int64, isNullable: true))
    case .place: columns.append(Definition(name: "place", type: .int64, isNullable: true))
    case nil: break
    }
    return columns
  }

  // MARK: - The file

  var text: String {
    let clusters = topics.reduce(into: [(String, [String])]()) { clusters, topic in
      if clusters.last?.0 == topic.source {
        clusters[clusters.count - 1].1.append(topic.name)
      } else {
        clusters.append((topic.source, [topic.name]))
      }
    }
    let properties = "{ bootstrap.servers: \"x:1\" }"
    var lines = ["name: simulated", "source:", "  kafka:"]
    lines += clusters.map {
      "    - { name: \($0), topics: [\($1.joined(separator: ", "))], properties: \(properties) }"
    }
    let startText =
      switch start {
      case .earliest: "earliest"
      case .latest: "latest"
      case .timestamp: "1970-01-01T00:01:00Z"
      }
    lines += [
      "  start: \(startText)", "  on_data_loss: skip", "  commit_group: true",
      "  format: \(input.rawValue)", "  fields:",
    ]
    lines += fields.map { "    \($0.name): \(spelling($0))" }
    if skipsTombstones { lines.append("  tombstones: skip") }
    switch window {
    case nil: break
    case .global: lines.append("window: global")
    case .batch: lines.append("window: batch")
    case .tumbling(let width, let time):
      let late = lateness.map { ", allowed_lateness: \($0.allowedMilliseconds)ms" } ?? ""
      let kept = lateness?.retentionMilliseconds.map { ", retention: \($0)ms" } ?? ""
      lines.append("window: { tumbling: \(width / 1_000)s, time: \(time)\(late)\(kept) }")
    }
    if let condition { lines.append("where: \(condition.rawValue)") }
    if window != nil {
      let measured = measures.map { "\($0.name): \($0.function.rawValue)(\($0.field ?? ""))" }
        .joined(separator: ", ")
      let keys = by.joined(separator: ", ")
      lines.append("aggregate: { by: [\(keys)], measures: { \(measured) } }")
    }
    if let derived { lines += ["select:", "  \(derived.rawValue)"] }
    let keep = keepsEach ? "each" : "latest"
    lines.append(
      "output: { to: \"file:out\", format: \(output.rawValue), keep: \(keep), "
        + "manifest: \(hasManifest) }")
    let limits = [
      ("record_bytes", recordByteLimit), ("key_bytes", keyByteLimit),
      ("batch_bytes", batchByteLimit),
    ].compactMap { name, limit in limit.map { "\(name): \($0)" } }
    if !limits.isEmpty { lines.append("limits: { \(limits.joined(separator: ", ")) }") }
    lines.append("rejects: \(rejects.text)")
    return lines.joined(separator: "\n") + "\n"
  }

  private func spelling(_ field: Definition) -> String {
    let type =
      switch field.type {
      case .int32: "int32"
      case .int64: "int64"
      case .uint64: "uint64"
      case .bool: "bool"
      case .double: "double"
      case .string: "string"
      case .decimal(let precision, let scale): "decimal(\(precision),\(scale))"
      case .timestamp:
        switch timeEncoding {
        case .text: "timestamp"
        case .seconds: "timestamp(unix_seconds)"
        case .milliseconds: "timestamp(unix_milliseconds)"
        }
      }
    return type + (field.isNullable ? "?" : "")
  }
}

func chance(_ percent: Int, _ random: inout SeededRandom) -> Bool {
  Int.random(in: 0..<100, using: &random) < percent
}
