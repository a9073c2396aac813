internal import Formats
internal import Foundation
package import Jobs
package import Offsets
internal import Tables
internal import Windows

/// The messages of a fixture, as a file has them.
package struct FixtureMessages {
  /// Ascending by offset within each partition.
  package private(set) var messages: [CopiedMessage] = []
  /// Where the next message of a partition lies, if it does not say so.
  private var nextOffsets: [PartitionID: Offset] = [:]
  /// Of the messages.
  private var lines: [Int] = []
  private let job: Job
  private let now: Int64?

  /// What is wrong with a line of the file.
  package struct Fault: Error, Equatable {
    package let line: Int
    package let problem: String
    package let remedy: String
  }

  /// The newest time of a message.
  package var newestTime: Int64? { messages.compactMap(\.timestampMilliseconds).max() }

  private init(_ job: Job, now: Int64?) {
    self.job = job
    self.now = now
  }

  /// A file of records: each is a message of the job's first topic, without a key.
  ///
  /// - Parameter now: The time of each message; without it they have none.
  package init(records bytes: [UInt8], job: Job, now: Int64?) throws(Fault) {
    self.init(job, now: now)
    if needsTimes && now == nil {
      throw Fault(
        line: 1, problem: "the job's windows go by the time of a message, and these have none",
        remedy: "Write a time to the file now, or each message to messages.jsonl with its timestamp"
      )
    }
    let isCSV = job.format == .csv
    var records = RecordLines.split(bytes, quote: isCSV ? job.csv.quote : nil)[...]
    // The file has one header, as people write it; each message of the topic has its own.
    var header: [UInt8] = []
    if isCSV, job.csv.header == .perMessage, let first = records.popFirst() {
      header = first.record + [UInt8(ascii: "\n")]
    }
    for (line, record) in records {
      try append(
        nil, source: nil, topic: nil, partition: 0, offset: nil, time: now, key: nil,
        value: header + record, headers: [], line: line)
    }
  }

  /// A file of messages: a JSON object a line, with `value` or `value_base64` and what else matters
  /// of `source`, `topic`, `partition`, `offset`, `timestamp`, `key` and `headers`. `tranche peek
  /// --json` prints the messages of a topic in this form.
  ///
  /// - Parameter now: The time of messages that do not say theirs.
  package init(messages bytes: [UInt8], job: Job, now: Int64?) throws(Fault) {
    self.init(job, now: now)
    for (line, object) in RecordLines.split(bytes, quote: nil) {
      try append(object, line)
    }
    try sort()
  }

  private var needsTimes: Bool {
    job.window.timeColumn?.lowercased() == MessageField.timestamp.rawValue
  }

  private static let names = [
    "source", "topic", "partition", "offset", "timestamp", "key", "key_base64", "headers", "value",
    "value_base64",
  ]

  private mutating func append(_ object: [UInt8], _ line: Int) throws(Fault) {
    guard let members = JSONMembers(of: object, names: Self.names) else {
      throw Fault(
        line: line, problem: "is not a JSON object, or has a name twice",
        remedy: #"Write for example {"timestamp": "2026-11-23T10:05:00Z", "value": "7,30"}"#)
    }
    guard members["value"] != nil || members["value_base64"] != nil else {
      throw Fault(
        line: line, problem: "has neither value nor value_base64",
        remedy: "Write the message's value, or null; records alone belong into records.jsonl")
    }
    let time: Int64?
    switch members["timestamp"] {
    case nil where needsTimes && now == nil:
      throw Fault(
        line: line, problem: "has no timestamp, and the job's windows go by it",
        remedy: "Write one, null if the message shall have none, or a time to the file now")
    case nil: time = now
    case .null: time = nil
    case .text(let text):
      time = text.withUnsafeBytes { TimestampText.parse($0) }
      if time == nil { throw fault(line, "timestamp", "2026-11-23T10:05:00.000Z") }
    case .other(let number):
      time = Int64(String(decoding: number, as: UTF8.self))
      if time == nil { throw fault(line, "timestamp", "1795428300000, in milliseconds since 1970") }
    }
    try append(
      members, source: text(members, "source", line), topic: text(members, "topic", line),
      partition: integer(members, "partition", 0...Int64(Self.partitionLimit), line) ?? 0,
      offset: integer(members, "offset", 0...Self.offsetLimit, line), time: time,
      key: bytes(members, "key", line), value: bytes(members, "value", line),
      headers: headers(members, line), line: line)
  }

  /// Greatest number of a partition, and most offsets that are left out between two messages: each
  /// is counted through.
  private static let partitionLimit = 999
  private static let holeLimit: Int64 = 100_000
  private static let offsetLimit: Int64 = 1 << 60

  private mutating func append(
    _ members: JSONMembers?, source: String?, topic: String?, partition: Int64, offset: Offset?,
    time: Int64?, key: [UInt8]?, value: [UInt8]?, headers: [MessageHeaders.Header], line: Int
  ) throws(Fault) {
    let cluster = job.clusters.first { cluster in
      (source.map { $0 == cluster.name } ?? true)
        && (topic.map(cluster.topics.contains) ?? true)
    }
    guard let cluster, let firstTopic = cluster.topics.first else {
      throw Fault(
        line: line, problem: "names a source or topic that the job does not read",
        remedy: "The job reads "
          + job.clusters.map { "\($0.topics.joined(separator: ", ")) of \($0.name)" }
          .joined(separator: "; "))
    }
    let place = PartitionID(
      source: cluster.name, topic: topic ?? firstTopic, partition: Int32(partition))
    let own = offset ?? nextOffsets[place] ?? 0
    nextOffsets[place] = own + 1
    lines.append(line)
    messages.append(
      CopiedMessage(
        partition: place, offset: own, timestampMilliseconds: time, key: key, value: value,
        headers: headers))
  }

  /// Puts messages into the order of their offsets, which need not be that of the file.
  private mutating func sort() throws(Fault) {
    let order = messages.indices.sorted { left, right in
      let (left, right) = (messages[left], messages[right])
      return left.partition == right.partition
        ? left.offset < right.offset : left.partition < right.partition
    }
    for (one, other) in zip(order, order.dropFirst()) {
      let (former, message) = (messages[one], messages[other])
      let distance = message.offset - former.offset
      if former.partition != message.partition || (1...Self.holeLimit).contains(distance) {
        continue
      }
      throw Fault(
        line: max(lines[one], lines[other]),
        problem: "\(message.partition) has a message at \(former.offset) and one at "
          + "\(message.offset)",
        remedy: "Offsets differ, by at most \(Self.holeLimit) from one message to the next")
    }
    messages = order.map { messages[$0] }
  }

  // MARK: - Values

  private func fault(_ line: Int, _ name: String, _ example: String) -> Fault {
    Fault(line: line, problem: "has no valid \(name)", remedy: "Write for example \(example)")
  }

  private func text(_ members: JSONMembers, _ name: String, _ line: Int) throws(Fault) -> String? {
    switch members[name] {
    case nil, .null: return nil
    case .text(let bytes): return String(decoding: bytes, as: UTF8.self)
    case .other: throw fault(line, name, "\"\(name)\": \"main\"")
    }
  }

  private func integer(
    _ members: JSONMembers, _ name: String, _ range: ClosedRange<Int64>, _ line: Int
  ) throws(Fault) -> Int64? {
    switch members[name] {
    case nil, .null: return nil
    case .other(let bytes):
      if let number = Int64(String(decoding: bytes, as: UTF8.self)), range.contains(number) {
        return number
      }
    case .text: break
    }
    throw Fault(
      line: line, problem: "has no valid \(name)",
      remedy: "Write a whole number from \(range.lowerBound) to \(range.upperBound)")
  }

  /// A text, what is no text as it stands in the file, or under another name in base64.
  private func bytes(_ members: JSONMembers, _ name: String, _ line: Int) throws(Fault) -> [UInt8]?
  {
    switch members[name + "_base64"] {
    case nil, .null: break
    case .text(let text):
      if let bytes = Data(base64Encoded: Data(text)) { return Array(bytes) }
      fallthrough
    case .other: throw fault(line, name + "_base64", "\"AAEC\", whose length is a multiple of 4")
    }
    switch members[name] {
    case nil, .null: return nil
    case .text(let bytes), .other(let bytes): return bytes
    }
  }

  /// As rejects show them: `[{"name": "encoding", "value": "gzip"}]`, or `base64` for a value that
  /// is no text.
  private func headers(_ members: JSONMembers, _ line: Int) throws(Fault) -> [MessageHeaders.Header]
  {
    switch members["headers"] {
    case nil, .null: return []
    case .other(let bytes):
      if let headers = try? JSONDecoder().decode([Header].self, from: Data(bytes)) {
        return headers.map { header in
          MessageHeaders.Header(
            name: header.name,
            value: header.value.map { Array($0.utf8) } ?? header.base64.map(Array.init))
        }
      }
    case .text: break
    }
    throw fault(line, "headers", #"[{"name": "encoding", "value": "gzip"}]"#)
  }
}

private struct Header: Decodable {
  let name: String
  let value: String?
  let base64: Data?
}

/// A file with one record a line.
package enum RecordLines {
  /// The records without their line ends, and the line in which each begins; blank lines are passed
  /// over.
  ///
  /// - Parameter quote: In CSV a line end between quotes belongs to its field.
  package static func split(
    _ bytes: [UInt8], quote: UInt8?
  ) -> [(line: Int, record: [UInt8])] {
    var records: [(line: Int, record: [UInt8])] = []
    var record: [UInt8] = []
    var isQuoted = false
    var (line, first) = (1, 1)
    func end() {
      if record.last == UInt8(ascii: "\r") { record.removeLast() }
      if !record.isEmpty { records.append((first, record)) }
      record.removeAll(keepingCapacity: true)
      first = line + 1
    }
    for byte in bytes {
      if byte == quote { isQuoted.toggle() }
      if byte == UInt8(ascii: "\n") && !isQuoted { end() } else { record.append(byte) }
      if byte == UInt8(ascii: "\n") { line += 1 }
    }
    end()
    return records
  }
}
