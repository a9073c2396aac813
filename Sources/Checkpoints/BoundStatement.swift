internal import GRDB
internal import GRDBSQLite
internal import Tables

/// A cached statement that is bound and stepped directly: for the writes of which a batch has hundreds.
///
/// GRDB boxes every argument, which costs more than SQLite takes for a row. Transactions, errors and the cache stay GRDB's.
/// - SeeAlso: sqlite.org/c3ref/bind_blob.html.
struct BoundStatement {
  private let statement: Statement
  private let database: Database

  init(_ database: Database, sql: String) throws {
    statement = try database.cachedStatement(sql: sql)
    self.database = database
  }

  /// - Parameter index: From 1, as SQLite counts.
  func bind(_ value: Int64, at index: Int32) { sqlite3_bind_int64(statement.sqliteStatement, index, value) }

  /// Binds what a column holds in a row; a null as NULL, or as 0 or '' where a key column stands beside an `_is_null` column.
  func bind(_ column: Tables.Column, row: Int, nullAsDefault: Bool, at index: Int32) {
    let handle = statement.sqliteStatement
    if column.isNull[row] && !nullAsDefault {
      sqlite3_bind_null(handle, index)
      return
    }
    switch column.type.storage {
    case .integers: sqlite3_bind_int64(handle, index, column.integers[row])
    case .doubles: sqlite3_bind_double(handle, index, column.doubles[row])
    case .text:
      column.text.withBytes(of: row) { bytes in
        // SQLITE_TRANSIENT: SQLite copies the text. An empty one has no address, which would mean NULL.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        let address = bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        if let address {
          sqlite3_bind_text(handle, index, address, Int32(bytes.count), transient)
        } else {
          sqlite3_bind_text(handle, index, "", 0, transient)
        }
      }
    }
  }

  /// Executes it with what is bound.
  func execute() throws {
    let handle = statement.sqliteStatement
    let code = sqlite3_step(handle)
    if code != SQLITE_DONE && code != SQLITE_ROW {
      let extended = sqlite3_extended_errcode(database.sqliteConnection)
      let message = String(cString: sqlite3_errmsg(database.sqliteConnection))
      sqlite3_reset(handle)
      throw DatabaseError(resultCode: ResultCode(rawValue: extended), message: message, sql: statement.sql)
    }
    sqlite3_reset(handle)
  }
}
