internal import GRDB
internal import GRDBSQLite
internal import Tables

/// A cached statement that is bound and stepped directly: for the writes of which a batch has
/// hundreds.
///
/// GRDB boxes every argument, which costs more than SQLite takes for a row. Transactions, errors
/// and the cache stay GRDB's.
/// - SeeAlso: sqlite.org/c3ref/bind_blob.html.
struct BoundStatement {
  private let statement: Statement
  private let database: Database

  init(_ database: Database, sql: String) throws {
    statement = try database.cachedStatement(sql: sql)
    self.database = database
  }

  /// - Parameter index: From 1, as SQLite counts.
  func bind(_ value: Int64?, at index: Int32) throws {
    try check(
      value.map { sqlite3_bind_int64(statement.sqliteStatement, index, $0) }
        ?? sqlite3_bind_null(statement.sqliteStatement, index))
  }

  /// Binds what a column holds in a row; a null as NULL, or as 0 or '' where a key column stands
  /// beside an `_is_null` column.
  func bind(_ column: Tables.Column, row: Int, nullAsDefault: Bool, at index: Int32) throws {
    let handle = statement.sqliteStatement
    if column.isNull[row] && !nullAsDefault {
      return try check(sqlite3_bind_null(handle, index))
    }
    switch column.type.storage {
    case .integers: try check(sqlite3_bind_int64(handle, index, column.integers[row]))
    case .doubles: try check(sqlite3_bind_double(handle, index, column.doubles[row]))
    case .text:
      try column.text.withBytes(of: row) { bytes in
        // SQLITE_TRANSIENT: SQLite copies the text. An empty one has no address, which would mean
        // NULL.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        if column.type == .bytes {
          return try check(
            bytes.isEmpty
              ? sqlite3_bind_zeroblob(handle, index, 0)
              : sqlite3_bind_blob(
                handle, index, bytes.baseAddress, Int32(bytes.count), transient))
        }
        let address = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        try check(
          address.map { sqlite3_bind_text(handle, index, $0, Int32(bytes.count), transient) }
            ?? sqlite3_bind_text(handle, index, "", 0, transient))
      }
    }
  }

  /// Executes it with what is bound.
  func execute() throws {
    let handle = statement.sqliteStatement
    defer { sqlite3_reset(handle) }
    let code = sqlite3_step(handle)
    if code != SQLITE_DONE && code != SQLITE_ROW { try check(code) }
  }

  private func check(_ code: Int32) throws {
    guard code != SQLITE_OK else { return }
    throw DatabaseError(
      resultCode: ResultCode(rawValue: sqlite3_extended_errcode(database.sqliteConnection)),
      message: String(cString: sqlite3_errmsg(database.sqliteConnection)), sql: statement.sql)
  }
}
