internal import Formats
internal import GRDB
internal import GRDBSQLite
internal import Jobs
internal import Offsets
internal import Tables
internal import Windows

/// A value that a checkpoint's table may not hold, before it is known in which file.
///
/// ``CheckpointError/init(wrapping:path:)`` makes it an error of code `corrupt`.
struct RowFault: Error, Equatable, CustomStringConvertible {
  let table: String
  /// The values that identify the row, as SQL writes them: `'main', 'calls', 3`.
  let row: String
  let problem: String

  /// `table gaps, row 'main', 'calls', 3, 12: to_offset is 4, which is not above from_offset 12`
  var description: String { "table \(table), row \(row): \(problem)" }
}

/// A row of a checkpoint's table, each value checked where it is read.
///
/// A checkpoint is input too: a flipped bit, another program or another person may have left any
/// value of any type in it, whatever the schema says. GRDB ends the process where a NULL or a text
/// is read as an integer; this throws a ``RowFault`` that names table, row and column.
///
/// A row is lent by ``GRDB/Database/forEachRow(of:_:arguments:identifiedBy:_:)`` for one call.
struct CheckedRow {
  let table: String
  /// How many columns, from the first, tell a person which row it is.
  fileprivate let identifyingCount: Int32
  fileprivate let statement: SQLiteStatement

  // MARK: - Integers

  /// - Throws: ``RowFault`` where the column holds anything but an integer of the range.
  func integer(_ column: Int32, in range: ClosedRange<Int64> = .min ... .max) throws -> Int64 {
    guard sqlite3_column_type(statement, column) == SQLITE_INTEGER else {
      throw wrongType(column, "an integer")
    }
    let value = sqlite3_column_int64(statement, column)
    guard range.contains(value) else { throw outside(column, range) }
    return value
  }

  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }

  /// An offset, a count or a size: 0 or more.
  func count(_ column: Int32) throws -> Int64 { try integer(column, in: 0 ... .max) }

  /// A batch's number or an object's revision: so far below int64's end that no run gets there.
  func number(_ column: Int32, from least: Int64 = 1) throws -> Int64 {
    try integer(column, in: least...1 << 62)
  }

  func flag(_ column: Int32) throws -> Bool { try integer(column, in: 0...1) == 1 }

  // MARK: - Text and bytes

  /// - Throws: ``RowFault`` where the column holds no text, or one that is not UTF-8.
  func text(_ column: Int32) throws -> String {
    try withText(column) { bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw fault(column, "is not UTF-8")
      }
      return text
    }
  }

  func optionalText(_ column: Int32) throws -> String? {
    isNull(column) ? nil : try text(column)
  }

  func bytes(_ column: Int32) throws -> [UInt8] {
    guard sqlite3_column_type(statement, column) == SQLITE_BLOB else {
      throw wrongType(column, "a blob")
    }
    // The count after the pointer, as sqlite.org/c3ref/column_blob.html asks for.
    let start = sqlite3_column_blob(statement, column)
    let count = Int(sqlite3_column_bytes(statement, column))
    return Array(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
  }

  func optionalBytes(_ column: Int32) throws -> [UInt8]? {
    isNull(column) ? nil : try bytes(column)
  }

  private func withText<Result>(
    _ column: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
  ) throws -> Result {
    guard sqlite3_column_type(statement, column) == SQLITE_TEXT else {
      throw wrongType(column, "a text")
    }
    guard let start = sqlite3_column_text(statement, column) else {
      throw fault(column, "cannot be read: no memory")
    }
    let count = Int(sqlite3_column_bytes(statement, column))
    return try body(UnsafeBufferPointer(start: start, count: count))
  }

  // MARK: - Notions

  /// Milliseconds since 1970 UTC.
  func instant(_ column: Int32) throws -> Int64 {
    let instant = try withText(column) { TimestampText.parse(UnsafeRawBufferPointer($0)) }
    guard let instant else { throw fault(column, "is not a time") }
    return instant
  }

  /// From three columns: source, topic and number.
  func partition(at first: Int32) throws -> PartitionID {
    let number = try integer(first + 2, in: 0...Int64(Int32.max))
    return PartitionID(
      source: try text(first), topic: try text(first + 1), partition: Int32(number))
  }

  /// From a `partition_id`.
  func partition(_ column: Int32, in names: [Int64: PartitionID]) throws -> PartitionID {
    let identifier = try integer(column)
    guard let partition = names[identifier] else {
      throw fault(column, "is \(identifier), which is not a partition")
    }
    return partition
  }

  /// From two columns, the end excluded.
  ///
  /// - Parameter mayBeEmpty: Whether both ends may be the same offset.
  func offsets(at first: Int32, mayBeEmpty: Bool) throws -> OffsetRange {
    let (from, to) = (try count(first), try count(first + 1))
    guard from < to || (mayBeEmpty && from == to) else {
      throw fault(first + 1, "is \(to), which is not above \(name(first)) \(from)")
    }
    return OffsetRange(from: from, to: to)
  }

  /// The key of an object below its place, which it cannot leave.
  func objectKey(_ column: Int32) throws -> String {
    let key = try text(column)
    guard Self.isObjectKey(key) else { throw fault(column, "is not a key that Tranche makes") }
    return key
  }

  /// Names as ``ObjectKeys`` makes them, with slashes between them, of at most the 1,024 bytes that
  /// S3 allows.
  private static func isObjectKey(_ key: String) -> Bool {
    let others = Set("=._+-/".utf8)
    guard (1...1_024).contains(key.utf8.count) else { return false }
    let isPlain = key.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
      case UInt8(ascii: "0")...UInt8(ascii: "9"): true
      default: others.contains(byte)
      }
    }
    guard isPlain else { return false }
    return key.split(separator: "/", omittingEmptySubsequences: false)
      .allSatisfy { !["", ".", ".."].contains($0) }
  }

  /// A place that a job file could name.
  func place(_ column: Int32) throws -> Job.Output.Destination {
    let text = try text(column)
    guard let place = Job.Output.Destination(text: text), place.text == text, Self.isLegal(place)
    else {
      throw fault(column, "is not a place of objects")
    }
    return place
  }

  /// What the job file's own check lets through.
  private static func isLegal(_ place: Job.Output.Destination) -> Bool {
    switch place {
    case .file(let path): return !path.utf8.contains(0)
    case .s3(let bucket, let prefix):
      return (3...63).contains(bucket.utf8.count)
        && bucket.utf8.allSatisfy {
          (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E
        }
        && (prefix.isEmpty
          || prefix.split(separator: "/", omittingEmptySubsequences: false)
            .allSatisfy { !["", ".", ".."].contains($0) })
    }
  }

  /// Ranges as ``RangesText`` writes them.
  func ranges(_ column: Int32) throws -> [PartitionRange] {
    guard let ranges = RangesText.parse(try text(column)) else {
      throw fault(column, "does not hold ranges of offsets, each partition once")
    }
    return ranges
  }

  /// Partitions as ``RangesText`` writes them.
  func partitions(_ column: Int32) throws -> [PartitionID] {
    guard let partitions = RangesText.parsePartitions(try text(column)) else {
      throw fault(column, "does not hold partitions, each once")
    }
    return partitions
  }

  /// A pane that a job can have made.
  func pane(_ column: Int32, of kind: any WindowKind) throws -> Pane {
    let pane = Pane(try integer(column))
    if let problem = kind.fault(of: pane) { throw fault(column, problem) }
    return pane
  }

  /// A window that a job can have made.
  func window(_ column: Int32, of kind: any WindowKind) throws -> Window {
    let window = Window(try integer(column))
    if let problem = kind.fault(of: window) { throw fault(column, problem) }
    return window
  }

  /// Appends the value to a column of the job's state.
  ///
  /// - Throws: ``RowFault`` where the value is none of the column's type.
  func append(
    _ column: Int32, to values: inout Tables.Column, isNullable: Bool
  ) throws {
    if isNull(column) {
      guard isNullable else { throw wrongType(column, "\(values.type)") }
      return values.appendNull()
    }
    switch values.type.storage {
    case .integers:
      values.append(
        integer: try integer(column, in: Self.range(of: values.type)))
    case .doubles:
      guard sqlite3_column_type(statement, column) == SQLITE_FLOAT else {
        throw wrongType(column, "a double")
      }
      let value = sqlite3_column_double(statement, column)
      guard value.isFinite else { throw fault(column, "is not finite") }
      values.append(double: value)
    case .text where values.type == .bytes:
      try bytes(column).withUnsafeBytes { values.append(utf8: $0) }
    case .text:
      try withText(column) { bytes in
        guard isValidText(UnsafeRawBufferPointer(bytes)) else {
          throw fault(column, "is not UTF-8 without U+0000")
        }
        values.append(utf8: UnsafeRawBufferPointer(bytes))
      }
    }
  }

  private static func range(of type: ColumnType) -> ClosedRange<Int64> {
    switch type {
    case .bool: return 0...1
    case .int32, .date: return Int64(Int32.min)...Int64(Int32.max)
    case .decimal(let precision, _):
      return PowersOfTen.unscaledValues(precision: precision)
    case .int64, .uint64, .timestamp, .timestampMicroseconds: return .min ... .max
    case .double, .string, .bytes: preconditionFailure("\(type) is not stored as integers")
    }
  }

  // MARK: - Faults

  /// What is wrong with a value; `problem` goes on after the column's name: "is -1".
  func fault(_ column: Int32, _ problem: String) -> RowFault {
    let row = (0..<identifyingCount).map(literal).joined(separator: ", ")
    return RowFault(
      table: table, row: row.isEmpty ? "1" : row, problem: "\(name(column)) \(problem)")
  }

  private func wrongType(_ column: Int32, _ wanted: String) -> RowFault {
    let found =
      switch sqlite3_column_type(statement, column) {
      case SQLITE_NULL: "NULL"
      case SQLITE_INTEGER: "an integer"
      case SQLITE_FLOAT: "a double"
      case SQLITE_TEXT: "a text"
      default: "a blob"
      }
    return fault(column, "is \(found) where \(wanted) belongs")
  }

  private func outside(_ column: Int32, _ range: ClosedRange<Int64>) -> RowFault {
    let value = sqlite3_column_int64(statement, column)
    return fault(
      column, "is \(value), which is not in \(range.lowerBound) to \(range.upperBound)")
  }

  private func name(_ column: Int32) -> String {
    sqlite3_column_name(statement, column).map { String(cString: $0) } ?? "column \(column)"
  }

  /// As SQL writes it, texts cut off after 40 characters.
  private func literal(_ column: Int32) -> String {
    switch sqlite3_column_type(statement, column) {
    case SQLITE_NULL: return "NULL"
    case SQLITE_INTEGER: return "\(sqlite3_column_int64(statement, column))"
    case SQLITE_FLOAT: return "\(sqlite3_column_double(statement, column))"
    case SQLITE_TEXT:
      let text = sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
      return "'\(text.prefix(40))\(text.count > 40 ? "..." : "")'"
    default: return "a blob of \(sqlite3_column_bytes(statement, column)) bytes"
    }
  }
}

extension Database {
  /// Steps through a query's rows, each value of which is checked where it is read.
  ///
  /// - Parameters:
  ///   - table: For the messages of faults.
  ///   - sql: Names the columns that identify a row first. Kept compiled.
  ///   - identifiedBy: How many these are; 0 for a table of one row.
  ///   - body: Must not step through the same query.
  /// - Throws: What `body` throws, and what SQLite does.
  func forEachRow(
    of table: String, _ sql: String, arguments: StatementArguments = StatementArguments(),
    identifiedBy: Int32, _ body: (CheckedRow) throws -> Void
  ) throws {
    try forRows(of: table, sql, arguments: arguments, identifiedBy: identifiedBy) { row in
      try body(row)
      return true
    }
  }

  /// As ``forEachRow(of:_:arguments:identifiedBy:_:)``, until `body` says that it has seen enough.
  func forRows(
    of table: String, _ sql: String, arguments: StatementArguments = StatementArguments(),
    identifiedBy: Int32, _ body: (CheckedRow) throws -> Bool
  ) throws {
    let statement = try cachedStatement(sql: sql)
    // GRDB steps, resets and knows errors; the values are taken from SQLite itself.
    let cursor = try Row.fetchCursor(statement, arguments: arguments)
    let row = CheckedRow(
      table: table, identifyingCount: identifiedBy, statement: statement.sqliteStatement)
    while try cursor.next() != nil, try body(row) {}
  }

  /// As ``forEachRow(of:_:arguments:identifiedBy:_:)``, with a value for each row.
  func checkedRows<Value>(
    of table: String, _ sql: String, arguments: StatementArguments = StatementArguments(),
    identifiedBy: Int32, _ body: (CheckedRow) throws -> Value
  ) throws -> [Value] {
    var values: [Value] = []
    try forEachRow(of: table, sql, arguments: arguments, identifiedBy: identifiedBy) { row in
      values.append(try body(row))
    }
    return values
  }

  /// The first row's value; nil where there is no row.
  func checkedRow<Value>(
    of table: String, _ sql: String, arguments: StatementArguments = StatementArguments(),
    identifiedBy: Int32, _ body: (CheckedRow) throws -> Value
  ) throws -> Value? {
    var value: Value?
    try forEachRow(of: table, sql, arguments: arguments, identifiedBy: identifiedBy) { row in
      if value == nil { value = try body(row) }
    }
    return value
  }
}
