internal import GRDBSQLite
internal import Tables

/// An in-memory SQLite connection with one read-only virtual table, the rows at hand, on which
/// expressions are checked and evaluated.
///
/// An authorizer lets through reads of that table and functions of an allow-list; a progress
/// handler ends runaway work. The rows are lent for the length of a call and read in place, never
/// copied.
/// - SeeAlso: sqlite.org/c3ref/set_authorizer.html; sqlite.org/vtab.html.
final class Sandbox {
  /// Names of our own that no expression may speak of.
  static let tableName = "tranche_rows"
  static let rowNumberName = "tranche_row_number"
  private static let keptPrefix = "tranche_row_kept "
  private static let realPrefix = "tranche_row_real "
  /// What the names of hidden columns begin with.
  static let hiddenPrefixes = [keptPrefix, realPrefix]
  /// The hidden column that holds what a uint64 column keeps.
  static func keptName(of column: String) -> String { keptPrefix + column }
  /// The hidden column that holds a uint64 column's values as REAL.
  static func realName(of column: String) -> String { realPrefix + column }

  let schema: Schema
  private let database: OpaquePointer
  private let lent: RowsVirtualTable
  private let authorizer = Authorizer()
  private let format: BoundedFormat
  /// Most bytes of a text or a row inside an expression, before it becomes a value.
  static let workByteLimit = 10_000_000
  /// Most bytes of a text that `select` computes, and of one that `format` makes anywhere, unless
  /// the job says otherwise.
  static let defaultValueByteLimit = 256 << 10
  let valueByteLimit: Int

  /// - Parameter valueByteLimit: Most bytes of a text that an expression makes.
  init(_ schema: Schema, valueByteLimit: Int = Sandbox.defaultValueByteLimit) throws(Fault) {
    self.schema = schema
    self.valueByteLimit = min(valueByteLimit, Self.workByteLimit)
    format = BoundedFormat(byteLimit: self.valueByteLimit, workByteLimit: Int32(Self.workByteLimit))
    lent = RowsVirtualTable(schema)
    var opened: OpaquePointer?
    let flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX
    guard sqlite3_open_v2(":memory:", &opened, flags, nil) == SQLITE_OK, let opened else {
      sqlite3_close_v2(opened)
      throw Fault(.evaluation("SQLite could not be opened"))
    }
    database = opened
    _disableDoubleQuotedStringLiterals(opened)
    for (limit, value) in [
      (SQLITE_LIMIT_LENGTH, Int32(Self.workByteLimit)), (SQLITE_LIMIT_SQL_LENGTH, 1_000_000),
      (SQLITE_LIMIT_EXPR_DEPTH, 100),
      (SQLITE_LIMIT_COMPOUND_SELECT, 1), (SQLITE_LIMIT_FUNCTION_ARG, 32),
      (SQLITE_LIMIT_ATTACHED, 0),
      (SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000), (SQLITE_LIMIT_VARIABLE_NUMBER, 0),
      (SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    ] as [(Int32, Int32)] { sqlite3_limit(opened, limit, value) }
    guard RowsVirtualTable.register(lent, in: opened, as: Self.tableName) else {
      throw Fault(.evaluation("SQLite refused the virtual table"))
    }
    guard format.register(in: opened) else {
      throw Fault(.evaluation("SQLite refused the function format"))
    }
    // Connecting the table runs a CREATE TABLE of SQLite's own, so it happens before the authorizer
    // watches.
    guard sqlite3_exec(opened, "SELECT 1 FROM \(Self.tableName)", nil, nil, nil) == SQLITE_OK else {
      throw Fault(.evaluation(String(cString: sqlite3_errmsg(opened))))
    }
    // The authorizer, the lent rows and the function live as long as this object, which closes the
    // connection first.
    let context = Unmanaged.passUnretained(authorizer).toOpaque()
    sqlite3_set_authorizer(opened, authorize, context)
    sqlite3_progress_handler(
      opened, Authorizer.operationsPerStep,
      { Unmanaged<Authorizer>.fromOpaque($0!).takeUnretainedValue().step() }, context)
  }

  deinit { sqlite3_close_v2(database) }

  /// Compiles a SELECT of ours around expressions of the user.
  ///
  /// - Parameters:
  ///   - work: What its rows may cost.
  ///   - expression: The only one of the user's, and where it begins, if there is only one.
  func prepare(
    _ sql: String, work: WorkBound = WorkBound(), around expression: (Expression, at: Int)? = nil
  ) throws(Fault) -> Statement {
    authorizer.reset(operationCount: WorkBound().operationCount(forRows: 0))
    var statement: OpaquePointer?
    let status = sqlite3_prepare_v2(database, sql, -1, &statement, nil)
    if let refusal = authorizer.refusal {
      sqlite3_finalize(statement)
      let code = refusal(schema)
      var offset: Int?
      if case .forbiddenFunction(let name) = code {
        offset = expression?.0.root.offset(ofCall: name)
      }
      throw Fault(code, at: offset)
    }
    guard status == SQLITE_OK, let statement else {
      // Below 0 where SQLite cannot say.
      let offset = expression.map { Int(sqlite3_error_offset(database)) - $0.at } ?? -1
      let isInside = expression.map { 0...$0.0.sql.utf8.count ~= offset } ?? false
      let message = String(cString: sqlite3_errmsg(database))
      sqlite3_finalize(statement)
      if isInside, let expression, let fault = keyword(at: offset, in: expression, of: sql) {
        throw fault
      }
      throw Fault(explain(message), at: isInside ? offset : nil)
    }
    return Statement(statement, columnNames: authorizer.columnNames, work: work)
  }

  /// Whether what SQLite does not take is a column's name that is a keyword, or what follows one.
  ///
  /// Many keywords may stand for a column as they are, such as `key` and `offset`. So a name is at
  /// fault only if SQLite gets further where the name stands in quotes.
  private func keyword(
    at offset: Int, in place: (expression: Expression, at: Int), of sql: String
  ) -> Fault? {
    guard let tokens = try? tokenize(place.expression.sql),
      let index = tokens.firstIndex(where: { $0.range.upperBound > offset }) ?? tokens.indices.last
    else { return nil }
    for token in tokens[max(0, index - 1)...index].reversed() {
      guard case .word(let name) = token.kind, schema.index(of: name) != nil,
        sqlite3_keyword_check(name, Int32(name.utf8.count)) != 0,
        getsFurther(than: place.at + offset, sql, quoting: token.range, from: place.at)
      else { continue }
      return Fault(.keyword(name), at: token.range.lowerBound)
    }
    return nil
  }

  /// - Parameter start: Where the expression begins that the word's range counts from.
  private func getsFurther(
    than offset: Int, _ sql: String, quoting word: Range<Int>, from start: Int
  ) -> Bool {
    var bytes = Array(sql.utf8)
    let quote = UInt8(ascii: "\"")
    bytes.insert(quote, at: start + word.upperBound)
    bytes.insert(quote, at: start + word.lowerBound)
    var statement: OpaquePointer?
    let status = sqlite3_prepare_v2(
      database, String(decoding: bytes, as: UTF8.self), -1, &statement, nil)
    sqlite3_finalize(statement)
    // Names are looked up, and the authorizer is asked, once the text has parsed.
    guard status != SQLITE_OK, String(cString: sqlite3_errmsg(database)).hasSuffix("syntax error")
    else { return true }
    return Int(sqlite3_error_offset(database)) - 2 > offset
  }

  private func explain(_ message: String) -> ExpressionError.Code {
    if message.hasPrefix("no such column: ") {
      return .unknownColumn(
        name: String(message.dropFirst("no such column: ".count)),
        candidates: schema.columns.map(\.name))
    }
    if message.hasPrefix("no such function: ") {
      return .forbiddenFunction(String(message.dropFirst("no such function: ".count)))
    }
    return .syntax(message)
  }

  /// Runs a statement over rows that are lent to it, which keep their numbers.
  ///
  /// - Parameter body: Called per result row; reads columns through the statement.
  /// - Throws: Before any work where the rows are more than the statement can be expected to get
  ///   through.
  func run(
    _ statement: Statement, over columns: [Column], rows: Range<Int>,
    _ body: (Statement) throws(Fault) -> Void
  )
    throws(Fault)
  {
    precondition(
      columns.count == schema.columns.count,
      "\(columns.count) columns lent for \(schema.columns.count)")
    if statement.work.isQuadratic && rows.count > WorkBound.quadraticRowLimit {
      throw Fault(.quadratic(rowCount: rows.count, limit: WorkBound.quadraticRowLimit))
    }
    lent.columns = columns
    lent.rows = rows
    authorizer.reset(operationCount: statement.work.operationCount(forRows: rows.count))
    format.hasRefused = false
    lent.columnTooLarge = nil
    defer {
      sqlite3_reset(statement.handle)
      lent.columns = []
      lent.rows = 0..<0
    }
    while true {
      switch sqlite3_step(statement.handle) {
      case SQLITE_ROW: try body(statement)
      case SQLITE_DONE: return
      case SQLITE_INTERRUPT: throw Fault(.tooMuchWork)
      case SQLITE_TOOBIG:
        throw Fault(
          format.hasRefused
            ? .valueTooLong(limit: valueByteLimit) : .workTooLong(limit: Self.workByteLimit))
      default:
        throw Fault(
          lent.columnTooLarge.map { .tooLargeForSQL(column: $0) }
            ?? .evaluation(String(cString: sqlite3_errmsg(database))))
      }
    }
  }

  /// A prepared statement; the sandbox it came from must live while it is used.
  final class Statement {
    let handle: OpaquePointer
    /// Columns of the schema that it reads, in lower case.
    let columnNames: Set<String>
    let work: WorkBound

    init(_ handle: OpaquePointer, columnNames: Set<String>, work: WorkBound) {
      self.handle = handle
      self.columnNames = columnNames
      self.work = work
    }

    deinit { sqlite3_finalize(handle) }

    /// Of a text in a column, before it is taken; 0 for anything else.
    func textByteCount(_ index: Int) -> Int {
      sqlite3_column_type(handle, Int32(index)) == SQLITE_TEXT
        ? Int(sqlite3_column_bytes(handle, Int32(index))) : 0
    }

    func value(_ index: Int) -> SQLValue {
      let index = Int32(index)
      switch sqlite3_column_type(handle, index) {
      case SQLITE_INTEGER: return .integer(sqlite3_column_int64(handle, index))
      case SQLITE_FLOAT: return .real(sqlite3_column_double(handle, index))
      case SQLITE_NULL: return .null
      case SQLITE_TEXT:
        let count = Int(sqlite3_column_bytes(handle, index))
        return .text(
          [UInt8](UnsafeRawBufferPointer(start: sqlite3_column_text(handle, index), count: count)))
      default: return .blob
      }
    }
  }
}

enum SQLValue: Equatable {
  case null, blob
  case integer(Int64)
  case real(Double)
  case text([UInt8])
}

/// How many of SQLite's operations a statement may take: some times what it takes where its work
/// grows with its rows.
///
/// Measured with SQLite 3.40: a row costs 3 to 6 operations a token, and one that goes through four
/// windows 170 in all. A frame with EXCLUDE is computed anew for every row: 100,000 rows would take
/// 2 * 10^10 operations, minutes.
struct WorkBound {
  /// Rows up to which a frame that is computed anew for each row is done in a second.
  static let quadraticRowLimit = 5_000

  var tokenCount = 0
  /// Whether some frame covers all rows and is computed anew for each.
  var isQuadratic = false
  /// Whether it is so within a partition, whose size is not known before.
  var isQuadraticWithinPartitions = false

  init() {}

  init(_ expressions: [Expression]) {
    for expression in expressions {
      tokenCount += expression.tokenCount
      var hasExclusion = false
      var hasPartitions = false
      for node in expression.root.all {
        if case .opaque = node.form {
          let text = expression.sql.uppercased()
          hasExclusion = hasExclusion || text.contains("EXCLUDE")
          hasPartitions = hasPartitions || text.contains("PARTITION")
        }
        guard case .call(let call) = node.form, let window = call.window else { continue }
        // EXCLUDE NO OTHERS as well, though it changes nothing.
        hasExclusion = hasExclusion || window.frame?.exclusion != nil
        hasPartitions = hasPartitions || !window.partition.isEmpty
      }
      // An expression that partitions as well gets the work of its partitions.
      isQuadratic = isQuadratic || hasExclusion && !hasPartitions
      isQuadraticWithinPartitions =
        isQuadraticWithinPartitions || hasExclusion && hasPartitions
    }
  }

  func operationCount(forRows rowCount: Int) -> Int {
    if isQuadratic { return 10_000_000 + rowCount * rowCount * 20 }
    return 10_000_000 + rowCount
      * (isQuadraticWithinPartitions ? 1_000 + 20 * tokenCount : 2_000 + 200 * tokenCount)
  }
}

/// What the authorizer has seen and the progress handler has counted.
private final class Authorizer {
  static let operationsPerStep: Int32 = 10_000
  private(set) var refusal: ((Schema) -> ExpressionError.Code)?
  private(set) var columnNames: Set<String> = []
  private var stepsLeft = 0

  func reset(operationCount: Int) {
    refusal = nil
    columnNames = []
    stepsLeft = operationCount / Int(Self.operationsPerStep)
  }

  func step() -> Int32 {
    stepsLeft -= 1
    return stepsLeft < 0 ? 1 : 0
  }

  func judge(_ action: Int32, _ first: String?, _ second: String?) -> Int32 {
    switch action {
    // SQLite turns a window function into a SELECT of its own making, so the user's are refused by
    // their keywords: see checkText.
    case SQLITE_SELECT: break
    case SQLITE_READ:
      let column = second ?? ""
      guard first == Sandbox.tableName else { return refuse { _ in .subquery } }
      if column == Sandbox.rowNumberName || column.isEmpty { return SQLITE_OK }
      let hidden = Sandbox.hiddenPrefixes.first { column.hasPrefix($0) }
      let read = String(column.dropFirst(hidden?.count ?? 0))
      columnNames.insert(read.lowercased())
      let isRowID = ["rowid", "oid", "_rowid_"].contains(column.lowercased())
      if isRowID {
        return refuse {
          $0.index(of: column) == nil
            ? .unknownColumn(name: column, candidates: $0.columns.map(\.name)) : nil
        }
      }
    case SQLITE_FUNCTION:
      let name = (second ?? "").lowercased()
      if SQLFunction.all[name] == nil {
        return refuse { _ in .forbiddenFunction(name) }
      }
    default:
      return refuse { _ in .syntax("only an expression may stand here") }
    }
    return SQLITE_OK
  }

  private func refuse(_ reason: @escaping (Schema) -> ExpressionError.Code?) -> Int32 {
    if refusal == nil { refusal = { reason($0) ?? .syntax("a row id may not be read") } }
    return SQLITE_DENY
  }
}

private func authorize(
  _ context: UnsafeMutableRawPointer?, _ action: Int32, _ first: UnsafePointer<CChar>?,
  _ second: UnsafePointer<CChar>?,
  _ database: UnsafePointer<CChar>?, _ trigger: UnsafePointer<CChar>?
) -> Int32 {
  guard let context else { return SQLITE_DENY }
  return Unmanaged<Authorizer>.fromOpaque(context).takeUnretainedValue()
    .judge(action, first.map { String(cString: $0) }, second.map { String(cString: $0) })
}

extension DerivedColumns {
  /// Of the SQLite that evaluates: another one may round or rank differently.
  package static var sqliteVersion: String { String(cString: sqlite3_libversion()) }
}
