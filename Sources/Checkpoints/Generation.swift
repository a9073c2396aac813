internal import Foundation
internal import GRDB
internal import Tables
internal import Windows

/// The state of one definition of a job: a table with that definition's columns, a row per pane and
/// group.
///
/// Runs write to the checkpoint's live generation, and each pane points to the one that holds its
/// groups.
struct Generation {
  let number: Int64
  let layout: StateLayout
  /// `groups` for the first generation, as the first release called it, else `groups_N`.
  let table: String
  // Made once: they are used for every group of every batch.
  private let upsert: String
  let stored: [(name: String, role: StateLayout.Role)]

  init(_ number: Int64, _ layout: StateLayout) {
    self.number = number
    self.layout = layout
    table = Self.table(number)
    upsert = Self.upsert(layout, into: table)
    stored = layout.storedColumns
  }

  static func table(_ number: Int64) -> String {
    number == 1 ? "groups" : "groups_\(number)"
  }

  /// A group that cannot take up what a batch adds to it.
  struct Overflow: Error {
    /// Of the delta.
    let group: Int
    /// Of the layout.
    let measure: Int
    /// The row of the measure's state columns that the table holds.
    let held: [Tables.Column]
  }

  // MARK: - Which one

  /// Whether the file tells of them: one that an older release wrote last has the first alone.
  static func areKnown(in database: Database) throws -> Bool {
    try database.columns(in: "checkpoint").contains { $0.name == "generation" }
  }

  /// The generation that runs write to.
  static func live(in database: Database) throws -> Int64 {
    guard try areKnown(in: database) else { return 1 }
    return try database.checkedRow(
      of: "checkpoint", "SELECT generation FROM checkpoint", identifiedBy: 0
    ) { row in
      let number = try row.number(0)
      guard try number == 1 || database.tableExists(table(number)) else {
        throw row.fault(0, "is \(number), and there is no table \(table(number))")
      }
      return number
    } ?? 1
  }

  // MARK: - The table

  /// Makes the functions known that merge states of bytes; for each connection that merges.
  func register(in database: Database) {
    for function in layout.measures.flatMap(\.function.mergeFunctions) {
      database.add(
        function: DatabaseFunction(function.name, argumentCount: 2, pure: true) { values in
          guard let held = Data.fromDatabaseValue(values[0]),
            let added = Data.fromDatabaseValue(values[1]),
            let merged = function.merge([UInt8](held), [UInt8](added))
          else {
            throw DatabaseError(
              resultCode: .SQLITE_CORRUPT, message: "\(function.name): the state is damaged")
          }
          return Data(merged)
        })
    }
  }

  func create(in database: Database) throws {
    var columns: [String] = []
    var primaryKey: [String] = []
    for (name, role) in stored {
      let name = quoted(name, role)
      switch role {
      case .pane, .isNull: columns.append("  \(name) INTEGER NOT NULL")
      case .key(let key): columns.append("  \(name) \(layout.keys[key].type.sqlType) NOT NULL")
      case .state(let index):
        let column = layout.columns[index]
        let notNull = layout.mayHoldNull(index) ? "" : " NOT NULL"
        columns.append("  \(name) \(column.type.sqlType)\(notNull)")
      }
      switch role {
      case .pane, .key: primaryKey.append(name)
      case .isNull: primaryKey.append("\(name) DESC")
      case .state: break
      }
    }
    columns.append("  PRIMARY KEY (\(primaryKey.joined(separator: ", ")))")
    // SQLite keeps comments inside a statement, so `.schema` shows these.
    try database.execute(
      sql: """
        CREATE TABLE \(table) (
          -- The measures of each group of each pane. A timestamp is in milliseconds since 1970 UTC,
          -- a decimal in units of its last digit, a uint64 less 9223372036854775808, a NULL key is
          -- 0 or '' with its _is_null column at 1.
        \(columns.joined(separator: ",\n"))
        ) STRICT, WITHOUT ROWID
        """)
  }

  static func drop(_ number: Int64, in database: Database) throws {
    try database.execute(sql: "DROP TABLE IF EXISTS \(table(number))")
  }

  // MARK: - Merging

  /// `INSERT ... ON CONFLICT DO UPDATE`, one parameter per stored column.
  private static func upsert(_ layout: StateLayout, into table: String) -> String {
    let stored = layout.storedColumns
    let names = stored.map { quoted($0.name, $0.role) }
    let key = zip(names, stored).filter { $1.role.isIdentifying }.map(\.0)
    let state = layout.columns.map(\.name.quotedDatabaseIdentifier)
    let updates = zip(layout.measures, layout.columnsOfMeasure).flatMap { measure, columns in
      let names = state[columns]
      let merged = measure.function.mergedSQL(
        names.map { "\(table).\($0)" }, names.map { "excluded.\($0)" })
      return zip(names, merged).map { name, merged in
        // In a pane that began before the measure, both are NULL and stay so.
        measure.start > 1
          ? "\(name) = iif(excluded.\(name) IS NULL, \(table).\(name), \(merged))"
          : "\(name) = \(merged)"
      }
    }
    return """
      INSERT INTO \(table) (\(names.joined(separator: ", ")))
      VALUES (\(names.map { _ in "?" }.joined(separator: ", ")))
      ON CONFLICT (\(key.joined(separator: ", "))) DO UPDATE SET \(updates.joined(separator: ", "))
      """
  }

  /// - Parameter began: Of each pane that began before the newest measure, the definition in which
  ///   it did: what began later stays NULL in it.
  /// - Throws: ``Overflow`` where a group's state no longer fits.
  func merge(_ delta: Delta, began: [Pane: Int64] = [:], in database: Database) throws {
    let statement = try BoundStatement(database, sql: upsert)
    for group in 0..<delta.groupCount {
      let oldest = began.isEmpty ? .max : began[delta.groupPanes[group]] ?? .max
      for position in stored.indices {
        let index = Int32(position + 1)
        switch stored[position].role {
        case .pane: try statement.bind(delta.groupPanes[group].number, at: index)
        case .isNull(let key):
          try statement.bind(delta.keys[key].isNull[group] ? 1 : 0, at: index)
        case .key(let key):
          try statement.bind(delta.keys[key], row: group, nullAsDefault: true, at: index)
        case .state(let column) where layout.startOfColumn[column] > oldest:
          try statement.bind(nil, at: index)
        case .state(let column):
          try statement.bind(delta.state[column], row: group, nullAsDefault: false, at: index)
        }
      }
      do {
        try statement.execute()
      } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
        let held = try state(ofGroup: group, of: delta, in: database)
        guard let measure = layout.firstMisfit(held, plus: delta.state, row: group) else {
          throw error
        }
        let columns = layout.columnsOfMeasure[measure]
        throw Overflow(group: group, measure: measure, held: Array(held[columns]))
      }
    }
  }

  /// What the table holds of a group: one row, or none.
  private func state(
    ofGroup group: Int, of delta: Delta, in database: Database
  ) throws -> [Tables.Column] {
    var conditions: [String] = []
    var arguments: [DatabaseValue] = []
    for (name, role) in stored where role.isIdentifying {
      conditions.append("\(quoted(name, role)) = ?")
      switch role {
      case .pane: arguments.append(delta.groupPanes[group].number.databaseValue)
      case .isNull(let key): arguments.append((delta.keys[key].isNull[group] ? 1 : 0).databaseValue)
      case .key(let key): arguments.append(delta.keys[key].databaseValue(group))
      case .state: break
      }
    }
    let pane = delta.groupPanes[group]
    return try rows(
      where: conditions.joined(separator: " AND "), StatementArguments(arguments),
      began: began(pane, in: database), in: database
    ).state
  }

  func groupCount(of pane: Pane, in database: Database) throws -> Int64 {
    try Int64.fetchOne(
      database.cachedStatement(sql: "SELECT count(*) FROM \(table) WHERE window = ?"),
      arguments: [pane.number]) ?? 0
  }

  /// Deletes groups of a pane.
  ///
  /// - Parameter count: At most so many; nil for all.
  func delete(_ pane: Pane, most count: Int64?, in database: Database) throws {
    guard let count else {
      return try database.cachedStatement(sql: "DELETE FROM \(table) WHERE window = ?")
        .execute(arguments: [pane.number])
    }
    let key = stored.filter(\.role.isIdentifying).map { quoted($0.name, $0.role) }
      .joined(separator: ", ")
    try database.cachedStatement(
      sql: """
        DELETE FROM \(table) WHERE (\(key)) IN (
          SELECT \(key) FROM \(table) WHERE window = ? LIMIT ?)
        """
    ).execute(arguments: [pane.number, count])
  }

  // MARK: - Reading back

  /// The keys and the measures' results of the groups of some panes put together, sorted by key,
  /// NULL first.
  func table(of panes: [Pane], _ schema: Tables.Schema, in database: Database) throws
    -> Tables.Table
  {
    var all: (keys: [Tables.Column], state: [Tables.Column])?
    var oldest = Int64.max
    for pane in panes {
      let began = try began(pane, in: database)
      oldest = min(oldest, began)
      let rows = try rows(where: "window = ?", [pane.number], began: began, in: database)
      guard var before = all else {
        all = rows
        continue
      }
      for index in rows.keys.indices { before.keys[index].append(contentsOf: rows.keys[index]) }
      for index in rows.state.indices { before.state[index].append(contentsOf: rows.state[index]) }
      all = before
    }
    guard let all else { return Table(schema) }
    guard panes.count > 1 else {
      return Table(schema, columns: all.keys + layout.results(all.state, oldest: oldest))
    }
    do {
      let merged = try layout.merged(keys: all.keys, state: all.state, oldest: oldest)
      return Table(schema, columns: merged.keys + layout.results(merged.state, oldest: oldest))
        .sorted(byFirst: layout.keys.count)
    } catch {
      throw RowFault(
        table: table, row: "\(panes[0].number)",
        problem: "measure \(error.measure) does not fit where its panes are put together")
    }
  }

  private func rows(
    where condition: String, _ arguments: StatementArguments, began: Int64, in database: Database
  ) throws -> (keys: [Tables.Column], state: [Tables.Column]) {
    let order = stored.compactMap { name, role -> String? in
      switch role {
      case .pane, .state: nil
      case .isNull: "\(quoted(name, role)) DESC"
      case .key: quoted(name, role)
      }
    }
    let ordering = order.isEmpty ? "" : " ORDER BY \(order.joined(separator: ", "))"
    let names = stored.map { quoted($0.name, $0.role) }.joined(separator: ", ")
    var keys = layout.keys.map { Tables.Column($0.type) }
    var state = layout.columns.map { Tables.Column($0.type) }
    try database.forEachRow(
      of: table, "SELECT \(names) FROM \(table) WHERE \(condition)\(ordering)",
      arguments: arguments, identifiedBy: Int32(stored.count { $0.role.isIdentifying })
    ) { row in
      var isNull = false
      for (position, (_, role)) in stored.enumerated() {
        let index = Int32(position)
        switch role {
        case .pane: break
        case .isNull: isNull = try row.flag(index)
        case .key(let key):
          if isNull {
            keys[key].appendNull()
          } else {
            try row.append(index, to: &keys[key], isNullable: false)
          }
          isNull = false
        case .state(let column) where layout.startOfColumn[column] > began:
          guard row.isNull(index) else {
            throw row.fault(index, "holds a value, and its pane began before the measure")
          }
          state[column].appendNull()
        case .state(let column):
          try row.append(
            index, to: &state[column], isNullable: layout.columns[column].isNullable)
        }
      }
    }
    return (keys, state)
  }
}

extension StateLayout.Role {
  /// Whether the column is one of the primary key.
  var isIdentifying: Bool { if case .state = self { false } else { true } }
}

/// The pane's column has a name of ours, the others have those of the job file.
func quoted(_ name: String, _ role: StateLayout.Role) -> String {
  role == .pane ? name : name.quotedDatabaseIdentifier
}

extension ColumnType {
  /// How a STRICT table declares it.
  var sqlType: String {
    switch storage {
    case .integers: "INTEGER"
    case .doubles: "REAL"
    case .text: self == .bytes ? "BLOB" : "TEXT"
    }
  }
}

extension Tables.Column {
  /// What the table of groups holds of a key: a null is 0 or '' beside its `_is_null` column.
  fileprivate func databaseValue(_ row: Int) -> DatabaseValue {
    switch type.storage {
    case .integers: integers[row].databaseValue
    case .doubles: doubles[row].databaseValue
    case .text: text[row].databaseValue
    }
  }
}
