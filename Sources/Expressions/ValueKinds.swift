package import Tables

/// Of which of SQLite's storage classes a value may be: the type of an expression.
package struct ValueKinds: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let null = ValueKinds(rawValue: 1)
  package static let integer = ValueKinds(rawValue: 2)
  package static let real = ValueKinds(rawValue: 4)
  package static let text = ValueKinds(rawValue: 8)
  package static let blob = ValueKinds(rawValue: 16)
  package static let number: ValueKinds = [.integer, .real]
  package static let any: ValueKinds = [.null, .integer, .real, .text, .blob]
}

extension Expression {
  /// Of which kinds its values may be over rows of a schema.
  package func kinds(in schema: Schema) -> ValueKinds { root.kinds(in: schema) }
}

extension Node {
  func kinds(in schema: Schema) -> ValueKinds {
    func kinds(_ nodes: [Node]) -> ValueKinds {
      nodes.reduce(into: []) { $0.formUnion($1.kinds(in: schema)) }
    }
    switch form {
    case .opaque, .unknown, .row: return .any
    case .null: return .null
    case .number(let digits):
      if digits.lowercased().hasPrefix("0x") { return .integer }
      return Int64(digits) == nil ? .real : .integer
    case .text: return .text
    case .blob: return .blob
    case .truth: return .integer
    case .column(let name):
      guard let index = schema.index(of: name) else { return .any }
      let column = schema.columns[index]
      return column.kinds
    case .unary(.plus, let operand), .collate(let operand, _): return operand.kinds(in: schema)
    // The negative of the least integer is a real.
    case .unary(.minus, let operand): return arithmetic([operand], schema)
    case .unary(.invert, _), .unary(.not, _), .between, .isIn, .match: return [.null, .integer]
    case .nullTest, .binary(.isSame, _, _), .binary(.isOther, _, _): return .integer
    case .binary(let binary, let left, let right):
      switch binary {
      case .add, .subtract, .multiply, .divide, .remainder:
        return arithmetic([left, right], schema)
      case .concatenate: return [.null, .text]
      case .or, .and, .equal, .notEqual, .isSame, .isOther, .less, .lessOrEqual, .greater,
        .greaterOrEqual, .bitAnd, .bitOr, .shiftLeft, .shiftRight:
        return [.null, .integer]
      }
    case .cast(let operand, let type):
      return Self.castKinds(type).union(operand.kinds(in: schema).intersection(.null))
    case .cases(_, let cases, let otherwise):
      return kinds(cases.map(\.then)).union(otherwise?.kinds(in: schema) ?? .null)
    case .call(let call):
      var arguments: [Node] = []
      if case .list(let list, _) = call.arguments { arguments = list }
      guard let result = SQLFunction.all[call.name] else { return .any }
      switch result {
      case .kinds(let kinds): return kinds
      case .arguments(let range):
        return kinds(Array(arguments.prefix(range.upperBound).dropFirst(range.lowerBound)))
          .union(.null)
      case .number: return arithmetic(Array(arguments.prefix(1)), schema)
      }
    }
  }

  /// A real operand makes a real; integers that overflow do, too; a text is read as a number.
  private func arithmetic(_ operands: [Node], _ schema: Schema) -> ValueKinds {
    let isReal = operands.contains { $0.kinds(in: schema).subtracting(.null) == .real }
    return isReal ? [.null, .real] : [.null, .integer, .real]
  }

  /// - SeeAlso: sqlite.org/datatype3.html, "Determination Of Column Affinity".
  static func castKinds(_ type: String) -> ValueKinds {
    let type = type.uppercased()
    if type.contains("INT") { return .integer }
    if ["CHAR", "CLOB", "TEXT"].contains(where: type.contains) { return .text }
    if type.contains("BLOB") || type.isEmpty { return .blob }
    if ["REAL", "FLOA", "DOUB"].contains(where: type.contains) { return .real }
    return .number
  }
}

extension ColumnType {
  /// Of which kinds a value may be that is stored in a column of this type; NULL aside.
  package var kindsTaken: ValueKinds { storage == .text ? .text : .number }
}

extension ColumnDefinition {
  /// What a value of the column is inside an expression.
  fileprivate var kinds: ValueKinds {
    let kind: ValueKinds =
      switch type {
      case .double, .decimal: .real
      case .string: .text
      case .bytes: .blob
      case .int32, .int64, .uint64, .bool, .timestamp, .timestampMicroseconds, .date: .integer
      }
    return isNullable ? [kind, .null] : kind
  }
}
