import Expressions
import Formats
import Foundation
import Jobs
import Offsets
import Tables
import TestSupport

/// Mutates a small corpus and feeds it to one parser after the other. The first six must not crash;
/// the others must also agree with another way to the same value.
struct Fuzzer {
  enum Parser: String, CaseIterable {
    case csv, json, changeEvent, jobFile, expression, timestamp
    /// The short way of decoding integers, and the native way of a `where`, against the general
    /// ones.
    case integerRecords, predicate
    /// Against parsers that share nothing with ours.
    case number, instant, csvReader, jsonReader
  }

  var random: SeededRandom
  private let jobCorpus: [[UInt8]]
  private var csv: RecordDecoder
  private var json: RecordDecoder
  private var changeEvent: RecordDecoder
  private var shortcuts = ShortcutFuzzer()
  private var values = ValueFuzzer()
  private var readers = ReaderFuzzer()

  init(seed: UInt64) throws {
    random = SeededRandom(seed: seed)
    jobCorpus = try ["jobs/api-time-share.yaml", "jobs/batch-share.yaml"].map {
      [UInt8](try Data(contentsOf: URL(fileURLWithPath: $0)))
    }
    let types: [ColumnType] = [
      .int32, .int64, .double, .bool, .string, .timestamp, .decimal(precision: 9, scale: 2),
      .uint64,
    ]
    let fields = types.enumerated().flatMap { index, type in
      [
        InputField(ColumnDefinition("f\(index)", type)),
        InputField(ColumnDefinition("n\(index)", type, isNullable: true)),
      ]
    }
    func decoder(_ format: InputFormat, _ fields: [InputField]) -> RecordDecoder {
      RecordDecoder(
        format: format, fields: fields, messageFields: MessageField.allCases,
        requiredTimeColumn: nil, recordByteLimit: 10_000)
    }
    csv = decoder(.csv, fields)
    json = decoder(.json, fields)
    changeEvent = RecordDecoder(
      format: .json, envelope: .debezium,
      fields: fields + [
        InputField(ColumnDefinition("k", .int64, isNullable: true), origin: .key(.json)),
        InputField(
          ColumnDefinition("id", .string), origin: .key(.json), path: JSONPath("$.id")),
        InputField(ColumnDefinition("hex", .string), origin: .key(.hex)),
        InputField(ColumnDefinition("base64", .string), origin: .key(.base64)),
        InputField(ColumnDefinition("text", .string, isNullable: true), origin: .key(.text)),
        InputField(ColumnDefinition("h", .string, isNullable: true), origin: .header("h")),
      ], messageFields: MessageField.allCases, requiredTimeColumn: nil, recordByteLimit: 10_000)
  }

  /// - Returns: What is wrong, or nil.
  mutating func feed(_ parser: Parser) -> String? {
    switch parser {
    case .csv: return misaligned(&csv, Sample(value: random.mutated(Self.csvCorpus)))
    case .json: return misaligned(&json, Sample(value: random.mutated(Self.jsonCorpus)))
    case .changeEvent:
      return misaligned(
        &changeEvent,
        Sample(value: random.mutated(Self.eventCorpus), key: random.mutated(Self.keyCorpus)))
    case .jobFile:
      let text = String(decoding: random.mutated(jobCorpus), as: UTF8.self)
      do throws(JobFileErrors) {
        _ = try JobFile.parse(
          text: text, path: "fuzz.yaml", environment: ["VAR": "x"], readFile: { _ in "secret" })
        return nil
      } catch { return error.errors.isEmpty ? "refused without a reason: \(text)" : nil }
    case .expression:
      let sql = String(decoding: random.mutated(Self.sqlCorpus), as: UTF8.self)
      _ = try? Predicate(sql, schema: Self.sqlSchema)
      _ = try? DerivedColumns([(name: "x", sql: sql, type: .double)], schema: Self.sqlSchema)
      return nil
    case .timestamp:
      random.mutated(Self.timeCorpus).withUnsafeBytes {
        if let time = TimestampText.parse($0) { _ = TimestampText.format(milliseconds: time) }
      }
      return nil
    case .integerRecords: return shortcuts.integerRecords(&random)
    case .predicate: return shortcuts.predicate(&random)
    case .number: return values.number(&random)
    case .instant: return values.instant(&random)
    case .csvReader: return readers.csv(&random)
    case .jsonReader: return readers.json(&random)
    }
  }

  private static let csvCorpus = texts(
    "1,\\N,-9223372036854775808,2,1.5e300,\\N,true,0,\"a \"\"b\"\"\nc\",é,2026-11-23 "
      + "10:05:00.123,\\N,12.34,\\N\n",
    "1,2\r\n3,4", "\"", "")
  private static let jsonCorpus = texts(
    #"{"f0":1,"f1":-2,"f2":1.5e-7,"f3":true,"f4":"a\n\u00e9\ud83d\ude00","#
      + #""f5":"2026-11-23T10:05:00Z","f6":12.34}"#,
    #"{"a":[1,{"b":null},[]],"c":{"d":"\\\"\/\b\f"},"n0":null}"#, "{}", #"{"":""}"#, #"[1e5]"#)
  private static let eventCorpus = texts(
    #"{"before":null,"after":{"f0":1,"f1":-2,"f2":1.5,"f3":true,"f4":"a","f5":"2026-11-23","#
      + #""f6":1.2},"op":"c"}"#,
    #"{"schema":{},"payload":{"op":"d","before":{"f0":1,"n4":"\u00e9"},"after":null}}"#,
    #"[{"payload":{"op":"\u0064"},"schema":null},{"op":"t"}]"#)
  private static let keyCorpus = texts(
    #"{"id":"x"}"#, #"{"schema":{},"payload":{"id":"\u0041"}}"#, "17", #""k""#, "")
  private static let sqlCorpus = texts(
    "a >= 0 AND (b <> 'x' OR c IS NOT NULL)", "100.0 * a / sum(a) OVER ()",
    "percent_rank() OVER (ORDER BY a DESC)", "CASE WHEN a THEN abs(b) END",
    "a BETWEEN -1 AND 9223372036854775807", "coalesce(c, 1) % 3 = 0")
  private static let timeCorpus = texts(
    "2026-11-23T10:05:00.123+02:00", "0001-01-01", "9999-12-31 23:59:59.999999999Z",
    "2024-02-29T24:00")
  private static let sqlSchema = Schema([
    ColumnDefinition("a", .int64), ColumnDefinition("b", .string),
    ColumnDefinition("c", .double, isNullable: true),
  ])
}

/// One message to be lent.
struct Sample {
  var value: [UInt8]?
  var key: [UInt8]?
  var timestampMilliseconds: Int64? = 5
}

/// Decodes messages at the offsets 0, 1, 2, … as one chunk.
func decoded(_ decoder: inout RecordDecoder, _ samples: [Sample]) -> RecordBatch {
  var batch = RecordBatch(decoder.schema)
  var buffers: [UnsafeMutableRawBufferPointer] = []
  defer { for buffer in buffers { buffer.deallocate() } }
  func lent(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    buffer.copyBytes(from: bytes)
    buffers.append(buffer)
    return UnsafeRawBufferPointer(buffer)
  }
  let messages = samples.enumerated().map { offset, sample in
    Message(
      offset: Int64(offset), timestampMilliseconds: sample.timestampMilliseconds,
      key: sample.key.map(lent), value: sample.value.map(lent))
  }
  messages.withUnsafeBufferPointer {
    decoder.decode($0, topic: "t", partition: 0, partitionIndex: 0, into: &batch)
  }
  return batch
}

/// Decodes one message and looks whether its columns stay aligned.
private func misaligned(_ decoder: inout RecordDecoder, _ sample: Sample) -> String? {
  let batch = decoded(&decoder, [sample])
  let isAligned = batch.columns.allSatisfy { $0.count == batch.rowCount }
  return isAligned ? nil : "columns of different lengths for \(shown(sample.value ?? []))"
}
