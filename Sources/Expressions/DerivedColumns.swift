package import Tables

/// The `select` items of a job, computed together by SQLite over all rows of a table.
///
/// A column of type int32, int64, bool, timestamp or date is an INTEGER inside an expression (a
/// timestamp in milliseconds since 1970 UTC), a decimal and a double are REAL, a string is TEXT
/// compared by its bytes; of a uint64 see ``UnsignedForm``. x / 0 is NULL; the division of two
/// integers drops the fraction. Used from one thread at a time.
package final class DerivedColumns {
  package typealias Item = (name: String, expression: Expression, type: ColumnType)

  private let items: [Item]
  private let sandbox: Sandbox
  private let statement: Sandbox.Statement
  /// For each item whether SQLite's value is what is kept of a uint64.
  private let isKept: [Bool]
  /// What SQLite reads of the schema, in lower case.
  var columnNamesRead: Set<String> { statement.columnNames }

  /// What is wrong with single items, in their order, as each is tried by itself; else what is
  /// wrong with all of them together.
  package static func faults(
    _ items: [Item], schema: Schema, valueByteLimit: Int = Sandbox.defaultValueByteLimit
  ) -> [ExpressionError] {
    do throws(Fault) {
      let sandbox = try Sandbox(schema, valueByteLimit: valueByteLimit)
      let faults = items.compactMap { item -> ExpressionError? in
        do throws(Fault) {
          try check(item.expression, in: sandbox)
          return nil
        } catch {
          return ExpressionError(error, item: item.name, sql: item.expression.sql)
        }
      }
      guard faults.isEmpty else { return faults }
      do throws(ExpressionError) { _ = try compile(items, in: sandbox) } catch { return [error] }
      return []
    } catch {
      return [ExpressionError(error, item: nil, sql: "")]
    }
  }

  /// Checks each item by itself and compiles all of them.
  ///
  /// - Parameter valueByteLimit: Most bytes of a text that an item makes.
  /// - Throws: ``ExpressionError`` that names the item.
  package init(
    _ items: [Item], schema: Schema, valueByteLimit: Int = Sandbox.defaultValueByteLimit
  ) throws(ExpressionError) {
    self.items = items
    do throws(Fault) {
      sandbox = try Sandbox(schema, valueByteLimit: valueByteLimit)
    } catch {
      throw ExpressionError(error, item: nil, sql: "")
    }
    for item in items {
      do throws(Fault) {
        try Self.check(item.expression, in: sandbox)
      } catch {
        throw ExpressionError(error, item: item.name, sql: item.expression.sql)
      }
    }
    (statement, isKept) = try Self.compile(items, in: sandbox)
  }

  private static func compile(
    _ items: [Item], in sandbox: Sandbox
  ) throws(ExpressionError) -> (Sandbox.Statement, isKept: [Bool]) {
    let forms = items.map { UnsignedForm($0.expression, for: $0.type, in: sandbox.schema) }
    do throws(Fault) {
      let statement = try sandbox.prepare(
        select(forms.map(\.sql)), work: WorkBound(items.map(\.expression)))
      return (statement, forms.map(\.isKept))
    } catch {
      throw Self.error(error, items)
    }
  }

  /// Of all items together.
  private static func error(_ fault: Fault, _ items: [Item]) -> ExpressionError {
    ExpressionError(
      fault, item: items.map(\.name).joined(separator: ", "),
      sql: items.map(\.expression.sql).joined(separator: ", "))
  }

  private static func select(_ expressions: [String]) -> String {
    let list = expressions.map { "(\($0)\n)" } + [Sandbox.rowNumberName]
    return "SELECT \(list.joined(separator: ", ")) FROM \(Sandbox.tableName)"
  }

  /// An expression must stand alone, and must leave the number of rows as it is, with no rows and
  /// with some.
  private static func check(_ expression: Expression, in sandbox: Sandbox) throws(Fault) {
    let statement = try sandbox.prepare(
      select([expression.sql]), work: WorkBound([expression]),
      around: (expression, at: "SELECT (".utf8.count))
    for rowCount in [0, 3] {
      var seen = 0
      try sandbox.run(
        statement, over: probe(sandbox.schema, rowCount: rowCount), rows: 0..<rowCount
      ) {
        statement throws(Fault) in
        guard statement.textByteCount(0) <= sandbox.valueByteLimit else {
          throw Fault(.valueTooLong(limit: sandbox.valueByteLimit))
        }
        seen += 1
      }
      guard seen == rowCount else { throw Fault(.changesRowCount) }
    }
  }

  /// Computes the items for every row.
  ///
  /// - Parameter byteLimit: Most bytes of all texts together; looked at before each is taken.
  /// - Returns: One column per item, in the order of the rows given.
  /// - Throws: ``ExpressionError`` for a value that is not one of the declared type, or too long.
  package func derive(_ columns: [Column], rowCount: Int, byteLimit: Int64 = .max)
    throws(ExpressionError) -> [Column]
  {
    var values = items.map { _ in [SQLValue](repeating: .null, count: rowCount) }
    var byteCount: Int64 = 0
    var current = 0
    do throws(Fault) {
      try sandbox.run(statement, over: columns, rows: 0..<rowCount) {
        statement throws(Fault) in
        // A window function may have sorted the rows: the row number says whose values these are.
        guard case .integer(let row) = statement.value(items.count) else {
          throw Fault(.evaluation("a row lost its number"))
        }
        for index in items.indices {
          current = index
          let length = statement.textByteCount(index)
          guard length <= sandbox.valueByteLimit else {
            throw Fault(.valueTooLong(limit: sandbox.valueByteLimit))
          }
          byteCount += Int64(length)
          guard byteCount <= byteLimit else { throw Fault(.tableTooLong(limit: byteLimit)) }
          values[index][Int(row)] = statement.value(index)
        }
      }
    } catch {
      switch error.code {
      case .valueTooLong where items.indices.contains(current):
        let item = items[current]
        throw ExpressionError(error, item: item.name, sql: item.expression.sql)
      default: throw Self.error(error, items)
      }
    }
    var result: [Column] = []
    for (index, item) in items.enumerated() {
      var column = Column(item.type)
      column.reserveCapacity(rowCount)
      // Each text is let go as soon as the column has it.
      var taken: [SQLValue] = []
      swap(&taken, &values[index])
      for row in taken.indices {
        do throws(Fault) {
          if isKept[index], case .integer(let kept) = taken[row] {
            column.append(integer: kept)
          } else {
            try column.append(taken[row], row: row)
          }
        } catch {
          throw ExpressionError(error, item: item.name, sql: item.expression.sql)
        }
        taken[row] = .null
      }
      result.append(column)
    }
    return result
  }
}

/// Rows on which an expression is tried: a NULL wherever one may be, and small values.
func probe(_ schema: Schema, rowCount: Int) -> [Column] {
  schema.columns.map { definition in
    var column = Column(definition.type)
    for row in 0..<rowCount {
      if row == 1 && definition.isNullable {
        column.appendNull()
      } else {
        switch definition.type.storage {
        case .integers:
          switch definition.type {
          case .bool: column.append(integer: Int64(row % 2))
          case .uint64: column.append(integer: Int64(keeping: UInt64(row)))
          default: column.append(integer: Int64(row))
          }
        case .doubles: column.append(double: Double(row))
        case .text: column.append(string: "a\(row)")
        }
      }
    }
    return column
  }
}

extension Column {
  /// Appends a value of SQLite's as one of this column's type, if that loses nothing.
  ///
  /// A REAL is an integer if it is whole; an INTEGER is a double if the double stands for the same
  /// number; a REAL is a decimal if it is within a billionth of a whole number of the decimal's
  /// units, as round(x, scale) makes it.
  mutating func append(_ value: SQLValue, row: Int) throws(Fault) {
    switch (value, type.storage) {
    case (.null, _): appendNull()
    case (.text(let bytes), .text):
      // SQLite can make texts that are none, as CAST(x'ff' AS TEXT) and char(0) do.
      guard !bytes.contains(0), String(validating: bytes, as: UTF8.self) != nil else {
        throw Fault(
          .conversion(value: "a text that is not UTF-8 or holds U+0000", type: type, row: row))
      }
      bytes.withUnsafeBytes { append(utf8: $0) }
    case (.real(let number), .doubles) where number.isFinite:
      append(double: number == 0 ? 0 : number)
    case (.integer(let number), .doubles):
      guard let exact = Double(exactly: number) else {
        throw Fault(.conversion(value: "\(number)", type: type, row: row))
      }
      append(double: exact)
    case (.integer, .integers), (.real, .integers):
      guard let number = integer(value) else {
        throw Fault(.conversion(value: value.text, type: type, row: row))
      }
      append(integer: number)
    default: throw Fault(.conversion(value: value.text, type: type, row: row))
    }
  }

  private func integer(_ value: SQLValue) -> Int64? {
    if type == .uint64 {
      let number: UInt64? = value.whole()
      return number.map(Int64.init(keeping:))
    }
    if case .decimal(let precision, let scale) = type {
      guard let unscaled = value.scaled(by: scale),
        unscaled.magnitude < PowersOfTen.integers[precision].magnitude
      else { return nil }
      return unscaled
    }
    guard let whole: Int64 = value.whole() else { return nil }
    switch type {
    case .int32, .date: return Int32(exactly: whole).map(Int64.init)
    case .bool: return whole == 0 || whole == 1 ? whole : nil
    default: return whole
    }
  }
}

extension SQLValue {
  /// Nil for what is no whole number or does not fit.
  func whole<Number: FixedWidthInteger>() -> Number? {
    switch self {
    case .integer(let number): Number(exactly: number)
    case .real(let number): Number(exactly: number)
    case .null, .blob, .text: nil
    }
  }

  /// For messages.
  var text: String {
    switch self {
    case .null: "NULL"
    case .blob: "a blob"
    case .integer(let number): "\(number)"
    case .real(let number): "\(number)"
    case .text: "a text"
    }
  }

  fileprivate func scaled(by scale: Int) -> Int64? {
    switch self {
    case .integer(let number):
      let (product, overflow) = number.multipliedReportingOverflow(by: PowersOfTen.integers[scale])
      return overflow ? nil : product
    case .real(let number):
      let scaled = number * PowersOfTen.doubles[scale]
      let whole = scaled.rounded()
      guard abs(scaled - whole) <= 1e-9 * max(1, abs(scaled)) else { return nil }
      return Int64(exactly: whole)
    case .null, .blob, .text: return nil
    }
  }
}
