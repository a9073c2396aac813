internal import Offsets
package import Tables

/// A table read back from CSV as ``CSVEncoder`` writes it, or as a person writes it by hand.
package struct CSVTable {
  /// Without the rows that cannot be read.
  package let table: Table
  package let faults: [Fault]

  /// Why something of it cannot be read.
  package enum Fault: Equatable {
    /// The columns that the header names, if it can be read.
    case header([String])
    /// A row by its number, from 1, and the column at fault, where there is one.
    case row(Int, Reject.Reason, column: String?)
    case tooLong
  }

  /// Positions in a message have 32 bits.
  private static let byteLimit = 1 << 30

  /// - Parameter schema: Of types that a field may have.
  package init(_ bytes: [UInt8], schema: Schema) {
    let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
    let names = Self.names(String(decoding: bytes[..<end], as: UTF8.self))
    guard names == schema.columns.map(\.name) else {
      self.init(table: Table(schema), faults: [.header(names)])
      return
    }
    let rows = bytes[end...]
    guard rows.contains(where: { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }) else {
      self.init(table: Table(schema), faults: [])
      return
    }
    guard rows.count <= Self.byteLimit else {
      self.init(table: Table(schema), faults: [.tooLong])
      return
    }
    var decoder = RecordDecoder(
      format: .csv, fields: schema.columns.map { InputField($0) }, messageFields: [],
      requiredTimeColumn: nil, recordByteLimit: .max)
    var batch = RecordBatch(decoder.schema)
    rows.withUnsafeBytes { value in
      let message = Message(offset: 0, timestampMilliseconds: nil, key: nil, value: value)
      withUnsafePointer(to: message) {
        decoder.decode(
          UnsafeBufferPointer(start: $0, count: 1), topic: "", partition: 0, partitionIndex: 0,
          into: &batch)
      }
    }
    self.init(
      table: Table(schema, columns: batch.columns),
      faults: batch.rejects.map { .row($0.record + 1, $0.reason, column: $0.field) })
  }

  private init(table: Table, faults: [Fault]) {
    self.table = table
    self.faults = faults
  }

  /// No column has a comma or a quote in its name.
  private static func names(_ header: String) -> [String] {
    // Editors of other systems begin a file with a byte order mark.
    header.split(separator: ",", omittingEmptySubsequences: false).map { name in
      String(name.filter { !"\u{FEFF} \t\r\"".contains($0) })
    }
  }
}
