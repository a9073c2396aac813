/// The name, type and nullability of one column.
package struct ColumnDefinition: Hashable, Sendable {
  package let name: String
  package let type: ColumnType
  package let isNullable: Bool

  package init(_ name: String, _ type: ColumnType, isNullable: Bool = false) {
    self.name = name
    self.type = type
    self.isNullable = isNullable
  }
}

/// The columns of a table, in order. Names are unique ignoring ASCII case, as SQL compares them.
package struct Schema: Hashable, Sendable {
  package let columns: [ColumnDefinition]

  /// - Precondition: names are unique ignoring case; code that reads names from a user checks
  ///   that.
  package init(_ columns: [ColumnDefinition]) {
    precondition(
      Set(columns.map { $0.name.lowercased() }).count == columns.count,
      "two columns of a schema bear one name")
    self.columns = columns
  }

  /// The position of a column by its name, ignoring case; nil when there is none.
  package func index(of name: String) -> Int? {
    let name = name.lowercased()
    return columns.firstIndex { $0.name.lowercased() == name }
  }
}

/// Rows under a schema, kept by column: what rendering makes and encoders take.
package struct Table: Sendable, Equatable {
  package let schema: Schema
  package private(set) var columns: [Column]

  package init(_ schema: Schema) {
    self.schema = schema
    columns = schema.columns.map { Column($0.type) }
  }

  /// - Precondition: as many columns as the schema names, of its types, all of one length.
  package init(_ schema: Schema, columns: [Column]) {
    precondition(columns.map(\.type) == schema.columns.map(\.type), "columns do not fit the schema")
    precondition(
      Set(columns.map(\.count)).count <= 1, "columns of different lengths: \(columns.map(\.count))")
    self.schema = schema
    self.columns = columns
  }

  package var rowCount: Int { columns.first?.count ?? 0 }
  package subscript(column: Int) -> Column { columns[column] }
}
