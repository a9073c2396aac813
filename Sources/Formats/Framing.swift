internal import Offsets
internal import Tables

/// The first stage of decoding: cuts the bytes of messages into records.
///
/// A message holds one or more records, each ended by a newline or by the message's end; `\r\n`
/// will do. The value source says where a record ends, as a quoted CSV field or a JSON object may
/// hold line ends. Of a JSON array each element is a record. A message without any record, an empty
/// one and one without a value are faults of one record; an empty array is none. Tombstones, the
/// messages without a value, may be passed over.
struct Framing {
  /// A longer record is a fault, and so is a longer message, without a look at its records.
  let recordByteLimit: Int
  let messageByteLimit: Int
  let tombstones: TombstonePolicy

  /// Appends the records of a message, with the fields that the value source finds in them.
  ///
  /// - Parameters:
  ///   - index: The message's position in the chunk.
  ///   - columns: Of CSV; those of the message's header from here on.
  func frame(
    _ message: Message, _ index: Int, _ source: ValueSource, _ columns: inout CSVColumns,
    into scanned: inout ScannedRecords
  ) {
    guard let value = message.value else {
      switch tombstones {
      case .skip: scanned.tombstoneCount += 1
      case .reject: scanned.appendFault(message: index, 0..<0, Fault(.nullValue))
      }
      return
    }
    if message.byteCount > messageByteLimit {
      return scanned.appendFault(message: index, 0..<value.count, Fault(.recordTooLarge))
    }
    // A byte order mark belongs to no record (Unicode Standard, 23.8).
    let hasMark = value.count >= 3 && value[0] == 0xEF && value[1] == 0xBB && value[2] == 0xBF
    var position = hasMark ? 3 : 0
    var record = 0
    // An empty list, or a header.
    var holdsNothing = false
    while position < value.count {
      // Blank lines between records are skipped.
      if case .json(let scanner) = source {
        var cursor = JSONCursor(bytes: value, position: position)
        cursor.skipSpace()
        position = cursor.position
        if cursor.isAtEnd { break }
        if cursor.take(UInt8(ascii: "[")) {
          position = cursor.position
          let first = record
          frameList(value, &position, message: index, &record, scanner, into: &scanned)
          holdsNothing = holdsNothing || record == first
          continue
        }
      } else if value[position] == UInt8(ascii: "\n")
        || (value[position] == UInt8(ascii: "\r") && isLineEnd(value, position + 1))
      {
        position += 1
        continue
      } else if case .csv(let scanner) = source, columns.haveNames && !holdsNothing {
        let start = position
        let isWhole = columns.readHeader(value, &position, scanner)
        if !isWhole || position - start > recordByteLimit {
          let fault = Fault(isWhole ? .recordTooLarge : .malformed)
          return scanned.appendFault(message: index, 0..<value.count, fault)
        }
        holdsNothing = true
        continue
      }
      let start = position
      scanned.append(message: index, record: record, start..<start)
      var fault = scanned.withTokensOfLastRecord {
        source.scan(value, &position, &columns, into: $0, &$1)
      }
      let end = trimmedEnd(value, start, position)
      scanned.closeRecord(at: end)
      if end - start > recordByteLimit { fault = Fault(.recordTooLarge) }
      if let fault { scanned.refuse(scanned.count - 1, fault) }
      record += 1
    }
    if record == 0 && !holdsNothing {
      scanned.appendFault(message: index, 0..<value.count, Fault(.malformed))
    }
  }

  /// The elements of an array, each a record. Where the array is malformed, the rest of the message
  /// is one record at fault, as nothing tells where another begins; so is what stands behind the
  /// array in its line.
  private func frameList(
    _ value: UnsafeRawBufferPointer, _ position: inout Int, message: Int, _ record: inout Int,
    _ scanner: JSONScanner, into scanned: inout ScannedRecords
  ) {
    var cursor = JSONCursor(bytes: value, position: position)
    defer { position = cursor.position }
    cursor.skipSpace()
    var isClosed = cursor.take(UInt8(ascii: "]"))
    if !isClosed {
      var isWhole = true
      repeat {
        cursor.skipSpace()
        let start = cursor.position
        scanned.append(message: message, record: record, start..<start)
        record += 1
        var fault = scanned.withTokensOfLastRecord { tokens, unescaped in
          let (fault, isElement) = scanner.scanElement(
            value, &cursor.position, into: tokens, unescaped: &unescaped)
          isWhole = isElement
          return fault
        }
        if !isWhole { cursor.position = value.count }
        scanned.closeRecord(at: cursor.position)
        if cursor.position - start > recordByteLimit { fault = Fault(.recordTooLarge) }
        if let fault { scanned.refuse(scanned.count - 1, fault) }
        cursor.skipSpace()
      } while cursor.take(UInt8(ascii: ","))
      guard isWhole else { return }
      isClosed = cursor.take(UInt8(ascii: "]"))
    }
    let start = cursor.position
    if isClosed {
      cursor.skipBlanks()
      if cursor.isAtEnd || cursor.take(UInt8(ascii: "\n")) { return }
      while !cursor.isAtEnd, !cursor.take(UInt8(ascii: "\n")) { cursor.position += 1 }
    } else {
      cursor.position = value.count
    }
    scanned.append(message: message, record: record, start..<cursor.position)
    scanned.closeRecord(at: trimmedEnd(value, start, cursor.position))
    scanned.refuse(scanned.count - 1, Fault(.malformed))
    record += 1
  }

  private func isLineEnd(_ value: UnsafeRawBufferPointer, _ position: Int) -> Bool {
    position >= value.count || value[position] == UInt8(ascii: "\n")
  }

  private func trimmedEnd(_ value: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int {
    var end = end
    while end > start, value[end - 1] == UInt8(ascii: "\n") || value[end - 1] == UInt8(ascii: "\r")
    { end -= 1 }
    return end
  }
}
