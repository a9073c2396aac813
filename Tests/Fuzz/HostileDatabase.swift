import GRDBSQLite
import TestSupport

/// Changes single values of a SQLite file behind the backs of its constraints.
final class HostileDatabase {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }
  private var handle: OpaquePointer?

  init(path: String) throws {
    guard sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, nil) == SQLITE_OK else {
      throw Failure(description: "\(path): cannot be opened")
    }
    // A fuzzer's files need not survive a loss of power.
    try execute("PRAGMA synchronous = OFF")
    try execute("PRAGMA ignore_check_constraints = ON")
    try execute("PRAGMA foreign_keys = OFF")
  }

  deinit { sqlite3_close_v2(handle) }

  func execute(_ sql: String) throws {
    guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else {
      throw Failure(description: "\(sql): \(String(cString: sqlite3_errmsg(handle)))")
    }
  }

  /// All rows as texts; NULL as an empty one.
  func rows(_ sql: String) throws -> [[String]] {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else {
      throw Failure(description: "\(sql): \(String(cString: sqlite3_errmsg(handle)))")
    }
    defer { sqlite3_finalize(statement) }
    var rows: [[String]] = []
    while sqlite3_step(statement) == SQLITE_ROW {
      rows.append(
        (0..<sqlite3_column_count(statement)).map { index in
          sqlite3_column_text(statement, index).map { String(cString: $0) } ?? ""
        })
    }
    return rows
  }

  /// Replaces the texts of the schema itself: tables keep their rows and lose or get back their
  /// constraints.
  func rewriteSchema(_ texts: [String: String]) throws {
    try execute("PRAGMA writable_schema = ON")
    for (name, sql) in texts {
      try execute("UPDATE sqlite_schema SET sql = \(quoted(sql)) WHERE name = \(quoted(name))")
    }
    try execute("PRAGMA writable_schema = OFF")
  }

  private func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }
}
