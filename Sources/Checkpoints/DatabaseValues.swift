internal import Foundation
import GRDB
import Tables

extension Tables.Column {
  /// What the table of groups holds of a key: a null is 0 or '' beside its `_is_null` column.
  func keyValue(_ row: Int) -> DatabaseValue {
    switch type.storage {
    case .integers: integers[row].databaseValue
    case .doubles: doubles[row].databaseValue
    case .text: text[row].databaseValue
    }
  }

  /// Appends what a row holds at an index; null where that is none of the column's type.
  mutating func append(_ row: Row, at index: Int) {
    let value: DatabaseValue = row[index]
    switch type.storage {
    case .integers:
      if let value = Int64.fromDatabaseValue(value) { append(integer: value) } else { appendNull() }
    case .doubles:
      if let value = Double.fromDatabaseValue(value) { append(double: value) } else { appendNull() }
    case .text:
      if let value = String.fromDatabaseValue(value) { append(string: value) } else { appendNull() }
    }
  }
}
