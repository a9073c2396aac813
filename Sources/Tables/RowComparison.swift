/// How two rows compare: NULL equals NULL and is less than every value, texts compare by their
/// bytes, doubles by their value.
extension Column {
  /// By the row index of each side.
  package func isSame(_ left: Int, _ right: Int) -> Bool {
    guard isNull[left] == isNull[right] else { return false }
    return switch type.storage {
    case .integers: integers[left] == integers[right]
    case .doubles: doubles[left] == doubles[right]
    case .text: text.isSame(left, right)
    }
  }

  /// Below 0, 0 or above 0.
  package func compare(_ left: Int, _ right: Int) -> Int {
    if isNull[left] != isNull[right] { return isNull[left] ? -1 : 1 }
    return switch type.storage {
    case .integers: order(integers[left], integers[right])
    case .doubles: order(doubles[left], doubles[right])
    case .text: text.compare(left, right)
    }
  }
}

extension TextArray {
  @inline(__always)
  package func isSame(_ left: Int, _ right: Int) -> Bool {
    withBytes(of: left) { leftBytes in
      withBytes(of: right) { leftBytes.elementsEqual($0) }
    }
  }

  /// Below 0, 0 or above 0, by UTF-8 bytes.
  @inline(__always)
  package func compare(_ left: Int, _ right: Int) -> Int {
    withBytes(of: left) { leftBytes in
      withBytes(of: right) { rightBytes in
        for index in 0..<min(leftBytes.count, rightBytes.count)
        where leftBytes[index] != rightBytes[index] {
          return leftBytes[index] < rightBytes[index] ? -1 : 1
        }
        return leftBytes.count - rightBytes.count
      }
    }
  }
}

private func order<Value: Comparable>(_ left: Value, _ right: Value) -> Int {
  left == right ? 0 : left < right ? -1 : 1
}

extension Table {
  /// The rows in the order of the first columns, rows that are equal in them as they stand.
  package func sorted(byFirst keyCount: Int) -> Table {
    let order = (0..<rowCount).sorted { left, right in
      for column in columns[..<keyCount] {
        let order = column.compare(left, right)
        if order != 0 { return order < 0 }
      }
      return left < right
    }
    return selecting(order)
  }
}
