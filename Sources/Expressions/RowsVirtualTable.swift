internal import GRDBSQLite
internal import Tables

/// Columns that SQLite may read in place, as a virtual table with one column per column of the
/// schema, a hidden row number, and for each uint64 column two hidden ones: what is kept of it, and
/// its value as REAL.
///
/// - SeeAlso: sqlite.org/vtab.html. The table is eponymous: it exists without being created, in the
///   main schema, and cannot be written.
final class RowsVirtualTable {
  fileprivate let schema: Schema
  var columns: [Column] = []
  /// Those of the columns that are lent.
  var rows = 0..<0
  /// The uint64 column, if one was read where its value is above any INTEGER.
  var columnTooLarge: String?
  private let unsignedColumns: [Int]

  init(_ schema: Schema) {
    self.schema = schema
    unsignedColumns = schema.columns.indices.filter { schema.columns[$0].type == .uint64 }
  }

  /// - Precondition: the rows outlive the connection.
  static func register(_ rows: RowsVirtualTable, in database: OpaquePointer, as name: String)
    -> Bool
  {
    let context = Unmanaged.passUnretained(rows).toOpaque()
    return sqlite3_create_module_v2(database, name, module, context, nil) == SQLITE_OK
  }

  fileprivate var declaration: String {
    let columns = schema.columns.map { column in
      let type =
        switch column.type {
        case .double, .decimal: "REAL"
        case .string: "TEXT"
        default: "INTEGER"
        }
      return "\(SQLText.name(column.name)) \(type)"
    }
    let names = unsignedColumns.map { schema.columns[$0].name }
    let hidden =
      ["\(SQLText.name(Sandbox.rowNumberName)) INTEGER HIDDEN"]
      + names.map { "\(SQLText.name(Sandbox.keptName(of: $0))) INTEGER HIDDEN" }
      + names.map { "\(SQLText.name(Sandbox.realName(of: $0))) REAL HIDDEN" }
    return "CREATE TABLE x(\((columns + hidden).joined(separator: ", ")))"
  }

  fileprivate func give(_ context: OpaquePointer?, column index: Int, row: Int) {
    if index == columns.count { return sqlite3_result_int64(context, Int64(row)) }
    if index > columns.count {
      let (form, position) = (index - columns.count - 1).quotientAndRemainder(
        dividingBy: unsignedColumns.count)
      let column = columns[unsignedColumns[position]]
      if column.isNull[row] { return sqlite3_result_null(context) }
      let kept = column.integers[row]
      return form == 0
        ? sqlite3_result_int64(context, kept)
        : sqlite3_result_double(context, Double(UInt64(kept: kept)))
    }
    let column = columns[index]
    if column.isNull[row] { return sqlite3_result_null(context) }
    switch column.type {
    case .uint64:
      guard let integer = Int64(exactly: UInt64(kept: column.integers[row])) else {
        columnTooLarge = schema.columns[index].name
        return sqlite3_result_error(context, "integer overflow", -1)
      }
      sqlite3_result_int64(context, integer)
    case .double: sqlite3_result_double(context, column.doubles[row])
    case .decimal(_, let scale):
      sqlite3_result_double(context, decimalValue(column.integers[row], scale: scale))
    case .string:
      // SQLITE_TRANSIENT: SQLite copies, as the columns may be gone when a window function looks
      // back.
      column.text.withBytes(of: row) { bytes in
        sqlite3_result_text(
          context, bytes.baseAddress?.assumingMemoryBound(to: CChar.self) ?? empty,
          Int32(bytes.count),
          unsafeBitCast(-1, to: sqlite3_destructor_type.self))
      }
    default: sqlite3_result_int64(context, column.integers[row])
    }
  }
}

/// What a decimal is inside an expression.
func decimalValue(_ unscaled: Int64, scale: Int) -> Double {
  Double(unscaled) / PowersOfTen.doubles[scale]
}

/// Stands for the address of no bytes, which SQLite would take for NULL. Never written again, so
/// any thread may read it.
private nonisolated(unsafe) let empty: UnsafePointer<CChar> = {
  let byte = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
  byte.initialize(to: 0)
  return UnsafePointer(byte)
}()

// The structures that SQLite sees begin with SQLite's own; it never looks at what follows.
private struct RowTable {
  var base = sqlite3_vtab()
  var rows: Unmanaged<RowsVirtualTable>
}

private struct RowCursor {
  var base = sqlite3_vtab_cursor()
  var rows: Unmanaged<RowsVirtualTable>
  var row = 0
}

/// Never changes after it was made, and SQLite only reads it.
private nonisolated(unsafe) let module: UnsafePointer<sqlite3_module> = {
  var module = sqlite3_module()
  module.xConnect = { database, context, _, _, result, _ in
    let rows = Unmanaged<RowsVirtualTable>.fromOpaque(context!)
    let status = sqlite3_declare_vtab(database, rows.takeUnretainedValue().declaration)
    guard status == SQLITE_OK else { return status }
    let table = UnsafeMutablePointer<RowTable>.allocate(capacity: 1)
    table.initialize(to: RowTable(rows: rows))
    result!.pointee = UnsafeMutableRawPointer(table).assumingMemoryBound(to: sqlite3_vtab.self)
    return SQLITE_OK
  }
  module.xBestIndex = { _, plan in
    plan!.pointee.estimatedCost = 1_000
    return SQLITE_OK
  }
  module.xDisconnect = { table in
    UnsafeMutableRawPointer(table!).assumingMemoryBound(to: RowTable.self).deallocate()
    return SQLITE_OK
  }
  module.xOpen = { table, result in
    let rows = UnsafeMutableRawPointer(table!).assumingMemoryBound(to: RowTable.self).pointee.rows
    let cursor = UnsafeMutablePointer<RowCursor>.allocate(capacity: 1)
    cursor.initialize(to: RowCursor(rows: rows))
    result!.pointee = UnsafeMutableRawPointer(cursor).assumingMemoryBound(
      to: sqlite3_vtab_cursor.self)
    return SQLITE_OK
  }
  module.xClose = { cursor in
    rowCursor(cursor).deallocate()
    return SQLITE_OK
  }
  module.xFilter = { cursor, _, _, _, _ in
    let cursor = rowCursor(cursor)
    cursor.pointee.row = cursor.pointee.rows.takeUnretainedValue().rows.lowerBound
    return SQLITE_OK
  }
  module.xNext = { cursor in
    rowCursor(cursor).pointee.row += 1
    return SQLITE_OK
  }
  module.xEof = { cursor in
    let cursor = rowCursor(cursor)
    return cursor.pointee.row >= cursor.pointee.rows.takeUnretainedValue().rows.upperBound ? 1 : 0
  }
  module.xColumn = { cursor, context, column in
    let cursor = rowCursor(cursor)
    cursor.pointee.rows.takeUnretainedValue().give(
      context, column: Int(column), row: cursor.pointee.row)
    return SQLITE_OK
  }
  module.xRowid = { cursor, result in
    result!.pointee = Int64(rowCursor(cursor).pointee.row)
    return SQLITE_OK
  }
  let pointer = UnsafeMutablePointer<sqlite3_module>.allocate(capacity: 1)
  pointer.initialize(to: module)
  return UnsafePointer(pointer)
}()

private func rowCursor(_ cursor: UnsafeMutablePointer<sqlite3_vtab_cursor>?)
  -> UnsafeMutablePointer<RowCursor>
{
  UnsafeMutableRawPointer(cursor!).assumingMemoryBound(to: RowCursor.self)
}
