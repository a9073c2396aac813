internal import GRDBSQLite

/// SQLite's `format()` with a bound that is an error.
///
/// SQLite's own makes a text of any width, and NULL where the width is over the connection's limit.
/// This one asks a connection of its own for the text behind one more letter, so that NULL there
/// can only mean "too long".
/// - SeeAlso: sqlite.org/printf.html; `sqlite3StrAccumSetError` of SQLite's printf.c.
final class BoundedFormat {
  private let byteLimit: Int
  /// Of the connection that does the work; longer arguments are errors as well.
  private let workByteLimit: Int32
  private var helper: OpaquePointer?
  /// By the number of arguments.
  private var statements: [Int32: OpaquePointer] = [:]
  /// Whether a text was refused since it was last asked.
  var hasRefused = false

  init(byteLimit: Int, workByteLimit: Int32) {
    self.byteLimit = byteLimit
    self.workByteLimit = workByteLimit
  }

  deinit {
    for statement in statements.values { sqlite3_finalize(statement) }
    sqlite3_close_v2(helper)
  }

  /// Takes the place of the connection's own.
  ///
  /// - Precondition: the function outlives the connection.
  func register(in database: OpaquePointer) -> Bool {
    let flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS
    let status = sqlite3_create_function_v2(
      database, "format", -1, flags, Unmanaged.passUnretained(self).toOpaque(),
      { context, count, values in
        guard let own = sqlite3_user_data(context), let values else {
          return sqlite3_result_null(context)
        }
        Unmanaged<BoundedFormat>.fromOpaque(own).takeUnretainedValue().format(
          context, UnsafeBufferPointer(start: values, count: Int(count)))
      }, nil, nil, nil)
    return status == SQLITE_OK
  }

  private func format(_ context: OpaquePointer?, _ values: UnsafeBufferPointer<OpaquePointer?>) {
    // SQLite's own gives NULL for an empty format as well.
    guard let format = values.first, sqlite3_value_type(format) != SQLITE_NULL,
      sqlite3_value_bytes(format) > 0
    else {
      return sqlite3_result_null(context)
    }
    guard let statement = statement(argumentCount: Int32(values.count)) else {
      return sqlite3_result_error_nomem(context)
    }
    defer { sqlite3_reset(statement) }
    for (index, value) in values.enumerated()
    where sqlite3_bind_value(statement, Int32(index) + 1, value) != SQLITE_OK {
      return refuse(context)
    }
    let byteCount =
      sqlite3_step(statement) == SQLITE_ROW ? Int(sqlite3_column_bytes(statement, 0)) - 1 : -1
    guard byteCount >= 0, byteCount <= byteLimit, let text = sqlite3_column_text(statement, 0)
    else { return refuse(context) }
    UnsafeRawPointer(text + 1).withMemoryRebound(to: CChar.self, capacity: byteCount) {
      sqlite3_result_text(
        context, $0, Int32(byteCount), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
    }
  }

  private func refuse(_ context: OpaquePointer?) {
    hasRefused = true
    sqlite3_result_error_toobig(context)
  }

  private func statement(argumentCount: Int32) -> OpaquePointer? {
    if let statement = statements[argumentCount] { return statement }
    if helper == nil {
      let flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX
      guard sqlite3_open_v2(":memory:", &helper, flags, nil) == SQLITE_OK else { return nil }
      sqlite3_limit(helper, SQLITE_LIMIT_LENGTH, workByteLimit)
    }
    let others = argumentCount > 1 ? (2...argumentCount).map { ", ?\($0)" }.joined() : ""
    var statement: OpaquePointer?
    sqlite3_prepare_v3(
      helper, "SELECT format('x' || ?1\(others))", -1, UInt32(SQLITE_PREPARE_PERSISTENT),
      &statement, nil)
    statements[argumentCount] = statement
    return statement
  }
}
