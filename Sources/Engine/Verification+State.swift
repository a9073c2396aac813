internal import Checkpoints
internal import Offsets
internal import Tables
internal import Windows

/// How far two sums of the same doubles may be apart, as a share of the sum of their magnitudes.
private let roundingShare = 1e-12

extension StateLayout {
  /// What differs in groups that are not the same to the last bit.
  ///
  /// - Parameters:
  ///   - layout: Of what was folded again: this one's measures, then magnitudes.
  ///   - proof: Where messages are gone, the checkpoint may hold more than what is left of them.
  func findings(
    window: String, _ groups: ComparedGroups, against layout: StateLayout, _ proof: Proof
  ) -> [Finding] {
    (0..<groups.count).flatMap { row -> [Finding] in
      let group = describe(groups.keys, row)
      guard groups.isHeld[row] else { return [.groupMissing(window: window, group: group)] }
      guard groups.isFound[row] else {
        return proof == .whole ? [.groupExtra(window: window, group: group)] : []
      }
      return measures.indices.compactMap { index -> Finding? in
        let measure = measures[index]
        let columns = columnsOfMeasure[index]
        if proof == .whole {
          let bound = layout.magnitudeColumn(of: measure).map { column in
            groups.found[column].isNull[row]
              ? 0 : groups.found[column].doubles[row] * roundingShare
          }
          let isSame = columns.allSatisfy {
            groups.held[$0].isSame(row, groups.found[$0], within: bound ?? 0)
          }
          if isSame { return nil }
        } else {
          let column = columns.lowerBound
          guard measure.function.onlyGrows,
            groups.found[column].integers[row] > groups.held[column].integers[row]
          else { return nil }
        }
        return .measure(
          window: window, group: group, measure: measure.name,
          held: text(groups.held[columns], row), found: text(groups.found[columns], row))
      }
    }
  }

  private func magnitudeColumn(of measure: Measure) -> Int? {
    guard let name = measure.magnitude?.name else { return nil }
    return measures.firstIndex { $0.name == name }.map { columnsOfMeasure[$0].lowerBound }
  }

  /// `(api_id=17, city="Bern")`
  func describe(_ keys: [Column], _ row: Int) -> String {
    let values = zip(self.keys, keys).map { "\($0.name)=\($1.text(row))" }
    return "(\(values.joined(separator: ", ")))"
  }

  /// A measure of several state columns is told by all of them.
  private func text(_ columns: ArraySlice<Column>, _ row: Int) -> String {
    columns.map { $0.text(row) }.joined(separator: " / ")
  }
}

extension Column {
  fileprivate func text(_ row: Int) -> String {
    if isNull[row] { return "NULL" }
    return switch type {
    case .bytes: "\(text.byteCount(of: row)) bytes"
    case .string: "\"\(text[row])\""
    default: plainText(row)
    }
  }

  fileprivate func isSame(_ row: Int, _ other: Column, within bound: Double) -> Bool {
    if isNull[row] != other.isNull[row] { return false }
    if isNull[row] { return true }
    switch type.storage {
    case .integers: return integers[row] == other.integers[row]
    case .doubles: return abs(doubles[row] - other.doubles[row]) <= bound
    case .text:
      return text.withBytes(of: row) { bytes in
        other.text.withBytes(of: row) { bytes.elementsEqual($0) }
      }
    }
  }
}

/// What messages still say of a window.
enum Proof: Equatable {
  /// All of them are there.
  case whole
  /// Some are gone: what the others give is the least that the checkpoint holds.
  case part
  /// What is there cannot be told from what was counted.
  case none
}

/// Of each partition, the counted offsets that do not say any more all that they said.
struct Evidence {
  /// Nothing was read of them.
  var unread: [PartitionID: OffsetRangeSet]
  /// Some of their messages may be gone.
  var thinned: [PartitionID: OffsetRangeSet]
  /// They may have been judged otherwise.
  var uncertain: [PartitionID: OffsetRangeSet]
  /// Which of their records were late nobody knows any more.
  var unjudged: [PartitionID: OffsetRangeSet]
}

extension VerificationCopy.ComparedPane {
  /// What is said of a pane beside its groups.
  func findings(window: String, _ proof: Proof) -> [Finding] {
    func differs<Value: Equatable>(
      _ held: Value?, _ found: Value?, isWithin: (Value, Value) -> Bool
    ) -> Bool {
      if held == found { return false }
      guard proof == .part, let held else { return true }
      return found.map { !isWithin($0, held) } ?? false
    }
    var findings: [Finding] = []
    if differs(heldRecords, foundRecords, isWithin: <=) {
      findings.append(.records(window: window, held: heldRecords, found: foundRecords))
    }
    for part in parts
    where differs(
      part.held, part.found,
      isWithin: {
        $0.recordCount <= $1.recordCount && $0.smallestOffset >= $1.smallestOffset
          && $0.largestOffset <= $1.largestOffset
      })
    {
      findings.append(
        .lineage(window: window, part.partition, held: part.held, found: part.found))
    }
    return findings
  }

  /// Whether all that contributed is among offsets that were read again, and still there.
  ///
  /// - Parameter mayHaveLate: Whether records may have come late where nobody knows any more.
  func proof(by evidence: Evidence, mayHaveLate: Bool) -> Proof {
    var proof = Proof.whole
    for part in parts {
      if part.isOfFormerLog { return .none }
      guard let known = part.held ?? part.found else { continue }
      let range = OffsetRange(from: known.smallestOffset, to: known.largestOffset + 1)
      func meets(_ sets: [PartitionID: OffsetRangeSet]) -> Bool {
        sets[part.partition]?.range(meeting: range) != nil
      }
      if meets(evidence.uncertain) || (mayHaveLate && meets(evidence.unjudged)) { return .none }
      // Records that are all found are all there, whatever else was compacted.
      let isLess = part.found?.recordCount ?? 0 < part.held?.recordCount ?? 0
      if meets(evidence.unread) || (isLess && meets(evidence.thinned)) { proof = .part }
    }
    return proof
  }
}
