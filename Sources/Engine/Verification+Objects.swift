internal import Checkpoints
internal import Offsets

/// What differs between the rejects that are kept of a batch and those that its messages give;
/// both in the order of their records.
func rejectFindings(
  batch: Int64, held: [StoredReject], found: [StoredReject]
) -> [Finding] {
  func place(_ reject: StoredReject) -> RejectPlace {
    RejectPlace(
      batch: batch, partition: reject.partition, offset: reject.offset, record: reject.record)
  }
  var findings: [Finding] = []
  let heldByPlace = Dictionary(held.map { (place($0), $0) }) { first, _ in first }
  var places: Set<RejectPlace> = []
  for reject in found {
    places.insert(place(reject))
    guard let held = heldByPlace[place(reject)] else {
      findings.append(.rejectMissing(place(reject), reason: reject.reason))
      continue
    }
    if held.reason != reject.reason {
      findings.append(
        .reject(place(reject), value: "reason", held: held.reason, found: reject.reason))
    }
    if held.field != reject.field {
      findings.append(
        .reject(place(reject), value: "field", held: held.field, found: reject.field))
    }
    // Bytes may be cut at another place, where a limit was another then. What an older release did
    // not keep is not there.
    if !isSameStart(held.raw, reject.raw) {
      findings.append(.reject(place(reject), value: "raw", held: nil, found: nil))
    }
    if let key = held.key, !isSameStart(key, reject.key) {
      findings.append(.reject(place(reject), value: "record_key", held: nil, found: nil))
    }
    if let time = held.timestampMilliseconds, time != reject.timestampMilliseconds {
      findings.append(.reject(place(reject), value: "record_timestamp", held: nil, found: nil))
    }
    if let headers = held.headers, headers != reject.headers {
      findings.append(.reject(place(reject), value: "record_headers", held: nil, found: nil))
    }
  }
  for reject in held where !places.contains(place(reject)) {
    findings.append(.rejectExtra(place(reject), reason: reject.reason))
  }
  return findings
}

private func isSameStart(_ left: [UInt8]?, _ right: [UInt8]?) -> Bool {
  guard let left, let right else { return left == nil && right == nil }
  if left == right { return true }
  let (shorter, longer) = left.count < right.count ? (left, right) : (right, left)
  return shorter.count >= leastCutByteCount && longer.starts(with: shorter)
}

/// Fewer bytes were not cut by any limit that a job is likely to have.
private let leastCutByteCount = 1_000

// MARK: - Objects

/// What is known of an object when it is held against what it should be.
struct ObjectComparison {
  /// As the copy of the checkpoint has it.
  var known: StoredObject
  /// As the checkpoint has it now; asked where the two do not agree.
  var isNewerNow: Bool
  var renderedBy: String
  var difference: ObjectDifference
  /// Whether it was rendered under settings that nobody noted.
  var isAssumed = false
  /// Whether the two hold the same values, though their bytes differ; nil where that is not known.
  var hasSameValues: Bool?

  enum Verdict: Equatable {
    case agrees
    case notCompared(NotCompared.Reason)
    case differs(ObjectDifference)
  }

  /// Of an object that is not what the state renders to, to the byte.
  var verdict: Verdict {
    if isNewerNow { return .notCompared(.newer) }
    if !known.isSettled && !difference.isAsPublished { return .notCompared(.unsettled) }
    let release = known.renderedBy ?? ""
    if difference.isAsPublished && isAssumed && hasSameValues != true {
      return .notCompared(.otherSettings)
    }
    if difference.isAsPublished && release != renderedBy {
      return switch hasSameValues {
      case true: .agrees
      case false: .differs(difference)
      case nil: .notCompared(.otherRelease(release))
      }
    }
    return .differs(difference)
  }
}
