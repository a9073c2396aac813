internal import Tables

/// What a connector wraps around a JSON record.
package enum Envelope: String, Sendable, CaseIterable {
  /// Kafka Connect's JsonConverter with schemas: `{"schema": {...}, "payload": RECORD}`. A record
  /// without the two is read as it is, as the converter writes it without schemas.
  case connect
  /// Debezium's change event, with or without Kafka Connect's wrapping:
  /// `{"before": ROW, "after": ROW, "source": {...}, "op": "u", ...}`.
  case debezium
}

/// Where the fields of a wrapped record may lie, and where they do lie in one.
///
/// The tree holds every field at each of its places. Which of them count is known when the record
/// was scanned, as its members come in any order. Then the tokens found there become the fields'.
final class EnvelopeSlots: Sendable {
  /// Of each form of a record, the slots of all fields, one form behind the other.
  private let slots: [Int]
  private let fieldCount: Int
  /// The fields' own tokens begin here.
  private let firstOwn: Int
  private let schema: Int
  private let payload: Int
  /// Without and with the wrapping; nil where no change event is asked for.
  private let operations: (plain: Int, wrapped: Int)?
  /// Whether what is wrapped may be anything.
  private let takesAnyPayload: Bool

  /// The places of all fields in each form of a record, then those that tell the form.
  static func places(
    of fields: [InputField], at indexes: [Int], _ envelope: Envelope
  ) -> [JSONFieldTree.Place] {
    let wrapping = JSONPath.Step.key("payload")
    let rows: [JSONPath.Step] =
      switch envelope {
      case .connect: []
      // The row as the change left it; of a deletion, as it was.
      case .debezium: [.key("after"), .key("before")]
      }
    var places: [JSONFieldTree.Place] = []
    for wrapped in [[], [wrapping]] {
      for row in rows.isEmpty ? [[]] : rows.map({ [$0] }) {
        for index in indexes {
          var place = fields[index].place(index)
          place.steps = wrapped + (fields[index].path == nil ? row : []) + place.steps
          places.append(place)
        }
      }
    }
    places.append(JSONFieldTree.Place(steps: [.key("schema")], field: nil))
    places.append(JSONFieldTree.Place(steps: [wrapping], field: nil))
    if envelope == .debezium {
      places.append(JSONFieldTree.Place(steps: [.key("op")], field: nil))
      places.append(JSONFieldTree.Place(steps: [wrapping, .key("op")], field: nil))
    }
    return places
  }

  /// - Parameters:
  ///   - tree: Of ``places(of:at:_:)``, and maybe others behind them.
  ///   - takesAnyPayload: Of a key, which need not be an object.
  init(_ envelope: Envelope, fieldCount: Int, _ tree: JSONFieldTree, takesAnyPayload: Bool) {
    let formCount = envelope == .debezium ? 4 : 2
    let next = formCount * fieldCount
    slots = Array(tree.slots[..<next])
    self.fieldCount = fieldCount
    firstOwn = tree.slotCount
    schema = tree.slots[next]
    payload = tree.slots[next + 1]
    operations =
      envelope == .debezium ? (plain: tree.slots[next + 2], wrapped: tree.slots[next + 3]) : nil
    self.takesAnyPayload = takesAnyPayload
  }

  var own: Range<Int> { firstOwn..<firstOwn + fieldCount }

  /// Gives the fields what lies where this record holds them.
  ///
  /// - Returns: What is wrong with the record, if something is.
  func settle(
    _ tokens: UnsafeMutableBufferPointer<Token>, _ bytes: UnsafeRawBufferPointer,
    _ unescaped: [UInt8]
  ) -> Fault? {
    let hasSchema = tokens[schema].kind == .composite || tokens[schema].kind == .null
    let isWrapped = hasSchema && tokens[payload].kind != .absent
    if isWrapped && !takesAnyPayload && !isObject(tokens[payload], bytes) {
      return Fault(.malformed)
    }
    var form = isWrapped ? 1 : 0
    if let operations {
      let operation = tokens[isWrapped ? operations.wrapped : operations.plain]
      let isDeletion: Bool
      switch operation.kind {
      case .quoted: isDeletion = bytes[operation.range].elementsEqual("d".utf8)
      case .unescaped: isDeletion = unescaped[operation.range].elementsEqual("d".utf8)
      // A heartbeat, a transaction's end, a change of the schema, or no message of Debezium's.
      default: return Fault(.malformed)
      }
      form = 2 * form + (isDeletion ? 1 : 0)
    }
    for field in 0..<fieldCount {
      tokens[firstOwn + field] = tokens[slots[form * fieldCount + field]]
    }
    return nil
  }

  private func isObject(_ token: Token, _ bytes: UnsafeRawBufferPointer) -> Bool {
    token.kind == .composite && bytes[token.range.lowerBound] == UInt8(ascii: "{")
  }
}
