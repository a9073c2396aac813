import Expressions
import Formats
import Foundation
import Jobs
import Offsets
import Tables
import TestSupport

/// Mutates a small corpus and feeds it to one parser after the other.
struct Fuzzer {
  enum Parser: String, CaseIterable { case csv, json, jobFile, expression, timestamp }

  private var random: SeededRandom
  private let jobCorpus: [[UInt8]]
  private var csv: RecordDecoder
  private var json: RecordDecoder

  init(seed: UInt64) throws {
    random = SeededRandom(seed: seed)
    jobCorpus = try ["jobs/api-time-share.yaml", "jobs/batch-share.yaml"].map { [UInt8](try Data(contentsOf: URL(fileURLWithPath: $0))) }
    let types: [ColumnType] = [.int32, .int64, .double, .bool, .string, .timestamp, .decimal(precision: 9, scale: 2)]
    let fields = types.enumerated().flatMap { index, type in
      [InputField(ColumnDefinition("f\(index)", type)), InputField(ColumnDefinition("n\(index)", type, isNullable: true))]
    }
    func decoder(_ format: InputFormat, _ fields: [InputField]) -> RecordDecoder {
      RecordDecoder(format: format, fields: fields, messageFields: MessageField.allCases, requiredTimeColumn: nil, recordByteLimit: 10_000)
    }
    csv = decoder(.csv, fields)
    json = decoder(.json, fields)
  }

  /// - Returns: What is wrong, or nil.
  mutating func feed(_ parser: Parser) -> String? {
    switch parser {
    case .csv: return checked(&csv, mutated(Self.csvCorpus)).problem
    case .json: return checked(&json, mutated(Self.jsonCorpus)).problem
    case .jobFile:
      let text = String(decoding: mutated(jobCorpus), as: UTF8.self)
      do throws(JobFileErrors) {
        _ = try JobFile.parse(text: text, path: "fuzz.yaml", environment: ["VAR": "x"], readFile: { _ in "secret" })
        return nil
      } catch { return error.errors.isEmpty ? "refused without a reason: \(text)" : nil }
    case .expression:
      let sql = String(decoding: mutated(Self.sqlCorpus), as: UTF8.self)
      _ = try? Predicate(sql, schema: Self.sqlSchema)
      _ = try? Derivation([(name: "x", sql: sql, type: .double)], schema: Self.sqlSchema)
      return nil
    case .timestamp:
      mutated(Self.timeCorpus).withUnsafeBytes { if let time = TimestampText.parse($0) { _ = TimestampText.format(milliseconds: time) } }
      return nil
    }
  }

  private static let csvCorpus = texts(
    "1,\\N,-9223372036854775808,2,1.5e300,\\N,true,0,\"a \"\"b\"\"\nc\",é,2026-11-23 10:05:00.123,\\N,12.34,\\N\n", "1,2\r\n3,4", "\"", "")
  private static let jsonCorpus = texts(
    #"{"f0":1,"f1":-2,"f2":1.5e-7,"f3":true,"f4":"a\n\u00e9\ud83d\ude00","f5":"2026-11-23T10:05:00Z","f6":12.34}"#,
    #"{"a":[1,{"b":null},[]],"c":{"d":"\\\"\/\b\f"},"n0":null}"#, "{}", #"{"":""}"#, #"[1e5]"#)
  private static let sqlCorpus = texts(
    "a >= 0 AND (b <> 'x' OR c IS NOT NULL)", "100.0 * a / sum(a) OVER ()", "percent_rank() OVER (ORDER BY a DESC)",
    "CASE WHEN a THEN abs(b) END",
    "a BETWEEN -1 AND 9223372036854775807", "coalesce(c, 1) % 3 = 0")
  private static let timeCorpus = texts("2026-11-23T10:05:00.123+02:00", "0001-01-01", "9999-12-31 23:59:59.999999999Z", "2024-02-29T24:00")
  private static let sqlSchema = Schema([
    ColumnDefinition("a", .int64), ColumnDefinition("b", .string), ColumnDefinition("c", .double, isNullable: true),
  ])

  private static func texts(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

  /// One to eight changes of a text: bytes flipped, taken out, doubled, put in, or a piece of another one.
  private mutating func mutated(_ corpus: [[UInt8]]) -> [UInt8] {
    var bytes = corpus.randomElement(using: &random) ?? []
    let pieces = Array("\"\\,:{}[]\n\r\t -+.eE0123456789ntfuN'()%;/*\u{0}\u{7F}".utf8) + [0x80, 0xC3, 0xED, 0xF4, 0xFF]
    for _ in 0..<Int.random(in: 1...8, using: &random) {
      let position = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0 where !bytes.isEmpty: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1 where !bytes.isEmpty: bytes.removeSubrange(position..<min(bytes.count, position + Int.random(in: 1...4, using: &random)))
      case 2 where !bytes.isEmpty: bytes.insert(contentsOf: bytes[position..<min(bytes.count, position + 12)], at: position)
      case 3:
        let other = corpus.randomElement(using: &random) ?? []
        let start = other.isEmpty ? 0 : Int.random(in: 0..<other.count, using: &random)
        bytes.insert(contentsOf: other[start...].prefix(20), at: position)
      default: bytes.insert(pieces.randomElement(using: &random) ?? 0, at: position)
      }
    }
    return bytes
  }

}

/// Decodes one message and looks whether its columns stay aligned.
private func checked(_ decoder: inout RecordDecoder, _ bytes: [UInt8]) -> (rowCount: Int, problem: String?) {
  var batch = RecordBatch(decoder.schema)
  bytes.withUnsafeBytes { value in
    let message = Message(offset: 7, timestampMilliseconds: 5, key: nil, value: value)
    withUnsafePointer(to: message) {
      decoder.decode(UnsafeBufferPointer(start: $0, count: 1), topic: "t", partition: 0, partitionIndex: 0, into: &batch)
    }
  }
  let isAligned = batch.columns.allSatisfy { $0.count == batch.rowCount }
  return (batch.rowCount, isAligned ? nil : "columns of different lengths for \(bytes)")
}
