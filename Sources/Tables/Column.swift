/// Values of one type, one per row. Only the array that belongs to `type.storage` is filled; a null
/// row holds 0 or an empty text there.
package struct Column: Sendable, Equatable {
  package let type: ColumnType
  /// For every type stored as integers.
  package var integers: [Int64] = []
  /// For `double`.
  package var doubles: [Double] = []
  /// For `string` and `bytes`.
  package var text = TextArray()
  /// One entry per row.
  package var isNull: [Bool] = []

  package init(_ type: ColumnType) { self.type = type }

  /// NULLs alone.
  package init(_ type: ColumnType, nullCount: Int) {
    self.init(type)
    for _ in 0..<nullCount { appendNull() }
  }

  package var count: Int { isNull.count }
  package var nullCount: Int { isNull.reduce(0) { $0 + ($1 ? 1 : 0) } }

  package mutating func reserveCapacity(_ rowCount: Int) {
    isNull.reserveCapacity(rowCount)
    switch type.storage {
    case .integers: integers.reserveCapacity(rowCount)
    case .doubles: doubles.reserveCapacity(rowCount)
    case .text: text.reserveCapacity(rowCount)
    }
  }

  /// - Precondition: the column stores integers.
  @inline(__always) package mutating func append(integer: Int64) {
    assert(type.storage == .integers)
    integers.append(integer)
    isNull.append(false)
  }

  /// - Precondition: the column stores doubles.
  @inline(__always) package mutating func append(double: Double) {
    assert(type.storage == .doubles)
    doubles.append(double)
    isNull.append(false)
  }

  /// - Precondition: the column stores text, and the bytes are valid UTF-8 unless its type is
  ///   `bytes`.
  @inline(__always) package mutating func append(utf8: UnsafeRawBufferPointer) {
    assert(type.storage == .text)
    text.append(utf8)
    isNull.append(false)
  }

  package mutating func append(string: String) {
    var string = string
    string.withUTF8 { append(utf8: UnsafeRawBufferPointer($0)) }
  }

  @inline(__always) package mutating func appendNull() {
    switch type.storage {
    case .integers: integers.append(0)
    case .doubles: doubles.append(0)
    case .text: text.appendEmpty()
    }
    isNull.append(true)
  }

  /// Appends the value that another column of the same storage holds in a row.
  package mutating func append(row: Int, of other: Column) {
    if other.isNull[row] { return appendNull() }
    switch type.storage {
    case .integers: append(integer: other.integers[row])
    case .doubles: append(double: other.doubles[row])
    case .text: other.text.withBytes(of: row) { append(utf8: $0) }
    }
  }

  /// Appends all rows of a column of the same type.
  package mutating func append(contentsOf other: Column) {
    precondition(type == other.type, "a column of \(other.type) appended to one of \(type)")
    integers += other.integers
    doubles += other.doubles
    text.append(contentsOf: other.text)
    isNull += other.isNull
  }

  /// Appends rows, lending their values and null marks to be filled in; they begin as 0 and not
  /// null.
  ///
  /// - Precondition: the column stores integers.
  @inline(__always)
  package mutating func appendIntegers(
    rowCount: Int,
    _ fill: (
      _ values: UnsafeMutableBufferPointer<Int64>, _ isNull: UnsafeMutableBufferPointer<Bool>
    ) -> Void
  ) {
    assert(type.storage == .integers)
    appendRows(rowCount, zero: 0, to: &integers, isNull: &isNull, fill)
  }

  /// As ``appendIntegers(rowCount:_:)``, for a column of doubles.
  @inline(__always)
  package mutating func appendDoubles(
    rowCount: Int,
    _ fill: (
      _ values: UnsafeMutableBufferPointer<Double>, _ isNull: UnsafeMutableBufferPointer<Bool>
    ) -> Void
  ) {
    assert(type.storage == .doubles)
    appendRows(rowCount, zero: 0, to: &doubles, isNull: &isNull, fill)
  }

  /// Takes rows out, in any number, and closes the gaps.
  ///
  /// - Parameters:
  ///   - first: The row that `isRemoved` begins with.
  ///   - isRemoved: One entry per row from `first` to the end.
  package mutating func removeRows(from first: Int, where isRemoved: [Bool]) {
    precondition(
      first + isRemoved.count == count, "\(isRemoved.count) verdicts for rows \(first) to \(count)")
    switch type.storage {
    case .integers: close(&integers, from: first, where: isRemoved)
    case .doubles: close(&doubles, from: first, where: isRemoved)
    case .text: text.remove(from: first, where: isRemoved)
    }
    close(&isNull, from: first, where: isRemoved)
  }

  package mutating func removeAllKeepingCapacity() {
    isNull.removeAll(keepingCapacity: true)
    integers.removeAll(keepingCapacity: true)
    doubles.removeAll(keepingCapacity: true)
    text.removeAllKeepingCapacity()
  }
}

@inline(__always)
private func appendRows<Value>(
  _ rowCount: Int, zero: Value, to values: inout [Value], isNull: inout [Bool],
  _ fill: (UnsafeMutableBufferPointer<Value>, UnsafeMutableBufferPointer<Bool>) -> Void
) {
  let first = values.count
  values.append(contentsOf: repeatElement(zero, count: rowCount))
  isNull.append(contentsOf: repeatElement(false, count: rowCount))
  values.withUnsafeMutableBufferPointer { values in
    isNull.withUnsafeMutableBufferPointer { isNull in
      fill(
        UnsafeMutableBufferPointer(rebasing: values[first...]),
        UnsafeMutableBufferPointer(rebasing: isNull[first...]))
    }
  }
}

private func close<Value>(_ values: inout [Value], from first: Int, where isRemoved: [Bool]) {
  var end = first
  for (index, isRemoved) in isRemoved.enumerated() where !isRemoved {
    values[end] = values[first + index]
    end += 1
  }
  values.removeLast(values.count - end)
}

/// Many texts in one piece of memory.
///
///     bytes    c a f e x y
///     offsets  0       4   4 6        texts: "cafe", "", "xy"
package struct TextArray: Sendable, Equatable {
  package private(set) var bytes: [UInt8] = []
  /// One more than there are texts; the first is 0.
  package private(set) var offsets: [Int] = [0]

  package init() {}

  package var count: Int { offsets.count - 1 }

  package mutating func reserveCapacity(_ textCount: Int) { offsets.reserveCapacity(textCount + 1) }

  @inline(__always) package mutating func append(_ utf8: UnsafeRawBufferPointer) {
    bytes.append(contentsOf: utf8)
    offsets.append(bytes.count)
  }

  package mutating func appendEmpty() { offsets.append(bytes.count) }

  mutating func append(contentsOf other: TextArray) {
    let first = bytes.count
    bytes += other.bytes
    offsets.append(contentsOf: other.offsets.dropFirst().lazy.map { first + $0 })
  }

  package func byteCount(of index: Int) -> Int { offsets[index + 1] - offsets[index] }

  @inline(__always) package func withBytes<Result>(
    of index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try bytes.withUnsafeBytes {
      try body(UnsafeRawBufferPointer(rebasing: $0[offsets[index]..<offsets[index + 1]]))
    }
  }

  package subscript(index: Int) -> String {
    String(decoding: bytes[offsets[index]..<offsets[index + 1]], as: UTF8.self)
  }

  /// Takes texts out and closes the gaps; `isRemoved` begins with the text `first`.
  mutating func remove(from first: Int, where isRemoved: [Bool]) {
    var textCount = first
    var end = offsets[first]
    for (index, isRemoved) in isRemoved.enumerated() where !isRemoved {
      for position in offsets[first + index]..<offsets[first + index + 1] {
        bytes[end] = bytes[position]
        end += 1
      }
      textCount += 1
      offsets[textCount] = end
    }
    bytes.removeLast(bytes.count - end)
    offsets.removeLast(count - textCount)
  }

  package mutating func removeAllKeepingCapacity() {
    bytes.removeAll(keepingCapacity: true)
    offsets.removeAll(keepingCapacity: true)
    offsets.append(0)
  }
}
