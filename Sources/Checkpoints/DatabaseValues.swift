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

  /// Appends what a cursor's row holds at an index.
  mutating func append(_ row: Row, at index: Int) {
    switch type.storage {
    case .integers:
      if let value = row[index] as Int64? { append(integer: value) } else { appendNull() }
    case .doubles:
      if let value = row[index] as Double? { append(double: value) } else { appendNull() }
    case .text:
      if let value = row[index] as String? { append(string: value) } else { appendNull() }
    }
  }
}
