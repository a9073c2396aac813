internal import GRDB
package import Tables
internal import Windows

/// Groups of a pane of which two generations do not hold the same, row by row.
package struct ComparedGroups: Sendable {
  package internal(set) var keys: [Tables.Column]
  /// One column per state column of the checkpoint's layout; null where ``isHeld`` is false.
  package internal(set) var held: [Tables.Column]
  /// As ``held``, of what was folded again, whose layout may have more columns behind these.
  package internal(set) var found: [Tables.Column]
  package internal(set) var isHeld: [Bool] = []
  package internal(set) var isFound: [Bool] = []

  init(keys: [Tables.Column], held: [Tables.Column], found: [Tables.Column]) {
    self.keys = keys
    self.held = held
    self.found = found
  }

  package var count: Int { isHeld.count }
}

extension Generation {
  /// Hands over the groups of a pane that are not the same in another generation, to the last bit
  /// of a double: some at a time, so that no more of them are in memory.
  ///
  /// - Parameter other: Of a layout that begins with this one's.
  func compare(
    _ pane: Pane, with other: Generation, in database: Database, groupsAtOnce: Int = 1_000,
    _ body: (ComparedGroups) throws -> Void
  ) throws {
    let empty = ComparedGroups(
      keys: layout.keys.map { Tables.Column($0.type) },
      held: layout.columns.map { Tables.Column($0.type) },
      found: other.layout.columns.map { Tables.Column($0.type) })
    var groups = empty
    for sql in comparisons(with: other) {
      try database.forEachRow(
        of: table, sql, arguments: [pane.number],
        identifiedBy: Int32(stored.count { $0.role.isIdentifying })
      ) { row in
        try append(row, to: &groups)
        guard groups.count == groupsAtOnce else { return }
        try body(groups)
        groups = empty
      }
    }
    if groups.count > 0 { try body(groups) }
  }

  private func append(_ row: CheckedRow, to groups: inout ComparedGroups) throws {
    var index: Int32 = 0
    var isNull = false
    for (_, role) in stored {
      switch role {
      case .state: continue
      case .pane: break
      case .isNull: isNull = try row.flag(index)
      case .key(let key):
        if isNull {
          groups.keys[key].appendNull()
        } else {
          try row.append(index, to: &groups.keys[key], isNullable: false)
        }
        isNull = false
      }
      index += 1
    }
    let sides = index + Int32(groups.held.count + groups.found.count)
    let (isHeld, isFound) = (try row.flag(sides), try row.flag(sides + 1))
    for column in groups.held.indices {
      let isNullable = layout.mayHoldNull(column) || !isHeld
      try row.append(index, to: &groups.held[column], isNullable: isNullable)
      index += 1
    }
    for column in groups.found.indices {
      try row.append(index, to: &groups.found[column], isNullable: true)
      index += 1
    }
    groups.isHeld.append(isHeld)
    groups.isFound.append(isFound)
  }

  /// Groups that this generation holds and the other has otherwise or not, then those that the
  /// other alone has.
  private func comparisons(with other: Generation) -> [String] {
    let key = stored.filter(\.role.isIdentifying).map { quoted($0.name, $0.role) }
    let isSameKey = key.map { "found.\($0) = held.\($0)" }.joined(separator: " AND ")
    let state = layout.columns.map(\.name.quotedDatabaseIdentifier)
    let otherState = other.layout.columns.map(\.name.quotedDatabaseIdentifier)
    let isSameState = state.map { "held.\($0) IS found.\($0)" }.joined(separator: " AND ")
    func columns(of side: String) -> String {
      (key.map { "\(side).\($0)" } + state.map { "held.\($0)" } + otherState.map { "found.\($0)" }
        + ["held.window IS NOT NULL", "found.window IS NOT NULL"]).joined(separator: ", ")
    }
    return [
      """
      SELECT \(columns(of: "held")) FROM \(table) AS held
      LEFT JOIN \(other.table) AS found ON \(isSameKey)
      WHERE held.window = ? AND (found.window IS NULL OR NOT (\(isSameState)))
      """,
      """
      SELECT \(columns(of: "found")) FROM \(other.table) AS found
      LEFT JOIN \(table) AS held ON \(isSameKey)
      WHERE found.window = ? AND held.window IS NULL
      """,
    ]
  }
}
