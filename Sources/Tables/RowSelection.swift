extension Column {
  /// The values of these rows, in this order.
  package func selecting(_ rows: [Int]) -> Column {
    var result = Column(type)
    result.reserveCapacity(rows.count)
    for row in rows { result.append(row: row, of: self) }
    return result
  }
}

extension Table {
  /// These rows, in this order.
  package func selecting(_ rows: [Int]) -> Table {
    Table(schema, columns: columns.map { $0.selecting(rows) })
  }
}
