internal import GRDB
internal import Windows

/// Adds to which offsets of each partition have contributed to a pane.
struct LineageUpsert {
  private let statement: BoundStatement

  /// - Parameter table: Has the columns of `window_offsets`.
  init(into table: String, in database: Database) throws {
    statement = try BoundStatement(
      database,
      sql: """
        INSERT INTO \(table) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
          smallest_offset = min(smallest_offset, excluded.smallest_offset),
          largest_offset = max(largest_offset, excluded.largest_offset),
          records = records + excluded.records
        """)
  }

  /// - Parameter identifiers: Of the partitions, by their positions in the plan.
  func add(_ part: Delta.PanePart, _ identifiers: [Int64]) throws {
    for contribution in part.contributions {
      try statement.bind(part.pane.number, at: 1)
      try statement.bind(identifiers[contribution.partitionIndex], at: 2)
      try statement.bind(contribution.smallestOffset, at: 3)
      try statement.bind(contribution.largestOffset, at: 4)
      try statement.bind(contribution.recordCount, at: 5)
      try statement.execute()
    }
  }
}
