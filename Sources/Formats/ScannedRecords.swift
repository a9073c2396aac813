internal import Tables

/// The records of one chunk of messages: where they and their fields lie, and which of them are
/// refused. Its memory is used again and again.
struct ScannedRecords {
  /// Where one record lies.
  struct FramedRecord {
    /// The message's position in the chunk.
    let message: Int32
    /// The record's number within its message, from 0.
    let number: Int32
    private let start: Int32
    private var end: Int32

    init(message: Int, number: Int, _ range: Range<Int>) {
      self.message = Int32(message)
      self.number = Int32(number)
      start = Int32(range.lowerBound)
      end = Int32(range.upperBound)
    }

    /// Its bytes in the message's value, without the line end.
    var range: Range<Int> { Int(start)..<Int(end) }

    mutating func close(at end: Int) { self.end = Int32(end) }
  }

  private(set) var records: [FramedRecord] = []
  /// One entry per record.
  private(set) var isRefused: [Bool] = []
  /// The first fault of each refused record, in no order.
  private(set) var faults: [(row: Int, fault: Fault)] = []
  /// `slotCount + besideCount` tokens a record; longer than needed.
  private var tokens: [Token] = []
  private let slotCount: Int
  private let besideCount: Int
  /// Messages without a value that were passed over.
  var tombstoneCount = 0
  /// The bytes of texts that had escapes, of the whole chunk.
  private(set) var unescaped: [UInt8] = []

  /// - Parameters:
  ///   - slotCount: The tokens that the value source finds of a record.
  ///   - besideCount: The tokens behind them, of what lies beside the message's value.
  init(slotCount: Int, besideCount: Int = 0) {
    self.slotCount = slotCount
    self.besideCount = besideCount
  }

  private var stride: Int { slotCount + besideCount }

  var count: Int { records.count }

  mutating func removeAllKeepingCapacity() {
    records.removeAll(keepingCapacity: true)
    isRefused.removeAll(keepingCapacity: true)
    faults.removeAll(keepingCapacity: true)
    unescaped.removeAll(keepingCapacity: true)
    tombstoneCount = 0
  }

  @inline(__always)
  mutating func append(message: Int, record: Int, _ range: Range<Int>) {
    records.append(FramedRecord(message: message, number: record, range))
    isRefused.append(false)
    let needed = records.count * stride
    if needed > tokens.count {
      tokens.append(contentsOf: repeatElement(.absent, count: max(needed, 1_024)))
    }
  }

  /// Appends a record that is refused as a whole, the only one of its message.
  mutating func appendFault(message: Int, _ range: Range<Int>, _ fault: Fault) {
    append(message: message, record: 0, range)
    refuse(count - 1, fault)
  }

  @inline(__always)
  mutating func closeRecord(at end: Int) { records[records.count - 1].close(at: end) }

  /// Keeps a record out of the batch; the first fault is the one that is told.
  mutating func refuse(_ row: Int, _ fault: Fault) {
    guard !isRefused[row] else { return }
    isRefused[row] = true
    faults.append((row, fault))
  }

  @inline(__always)
  mutating func withTokensOfLastRecord(
    _ body: (UnsafeMutableBufferPointer<Token>, inout [UInt8]) -> Fault?
  ) -> Fault? {
    let first = (records.count - 1) * stride
    return tokens.withUnsafeMutableBufferPointer {
      body(UnsafeMutableBufferPointer(rebasing: $0[first..<first + slotCount]), &unescaped)
    }
  }

  @inline(__always)
  func token(_ row: Int, _ slot: Int) -> Token { tokens[row * stride + slot] }

  /// Gives the records of one message the tokens of what lies beside its value.
  ///
  /// - Parameter rows: Of the message.
  mutating func setTokensBesideValue(
    of rows: Range<Int>,
    _ body: (UnsafeMutableBufferPointer<Token>, inout [UInt8]) -> Fault?
  ) {
    guard let row = rows.first else { return }
    let first = row * stride + slotCount
    let fault = tokens.withUnsafeMutableBufferPointer {
      body(UnsafeMutableBufferPointer(rebasing: $0[first..<first + besideCount]), &unescaped)
    }
    for row in rows {
      if let fault { refuse(row, fault) }
      for index in 0..<besideCount {
        tokens[row * stride + slotCount + index] = tokens[first + index]
      }
    }
  }

  /// A field as it came, without its quotes and escapes; nil where the record does not hold it.
  ///
  /// - Parameters:
  ///   - value: Of the record's message.
  ///   - count: At most so many bytes.
  func firstBytes(
    _ row: Int, _ slot: Int, in value: UnsafeRawBufferPointer, atMost count: Int
  ) -> [UInt8]? {
    let token = token(row, slot)
    return switch token.kind {
    case .absent: nil
    case .unescaped: [UInt8](unescaped[token.range].prefix(count))
    case .null, .plain, .quoted, .number, .isTrue, .isFalse, .invalidText, .composite:
      [UInt8](value[token.range].prefix(count))
    }
  }
}

/// Why a record is refused, and the position of the column at fault.
struct Fault {
  let reason: Reject.Reason
  let field: Int?

  init(_ reason: Reject.Reason, field: Int? = nil) {
    self.reason = reason
    self.field = field
  }
}

/// Where a field's text lies, and what kind of text it is.
struct Token {
  enum Kind {
    case absent, null
    /// CSV without quotes, a CSV or JSON text in quotes without escapes, a JSON number.
    case plain, quoted, number
    /// A text in quotes that had doubled quotes or escapes: its bytes lie in
    /// ``ScannedRecords/unescaped``.
    case unescaped
    case isTrue, isFalse
    /// A JSON text that can not be UTF-8.
    case invalidText
    /// A JSON array or object.
    case composite
  }
  let kind: Kind
  // librdkafka's messages are smaller than 2 GiB (receive.message.max.bytes).
  private let start: Int32
  private let end: Int32

  init(_ kind: Kind, _ range: Range<Int>) {
    self.kind = kind
    start = Int32(range.lowerBound)
    end = Int32(range.upperBound)
  }

  var range: Range<Int> { Int(start)..<Int(end) }

  static let absent = Token(.absent, 0..<0)
}
