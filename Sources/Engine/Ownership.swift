package import Checkpoints
internal import Foundation
internal import Jobs
package import ObjectStorage
internal import Tables

/// What stands in `_tranche/owner` below an output: whose results lie there.
package struct OwnerMarker: Decodable, Equatable, Sendable {
  /// The id of the checkpoint that writes there.
  package let checkpoint: String
  package let job: String
  /// Random, and another with every run that publishes.
  package let token: String

  /// Most bytes of a marker.
  static let byteLimit = 4_096

  package init(checkpoint: String, job: String, token: String) {
    self.checkpoint = checkpoint
    self.job = job
    self.token = token
  }

  /// Nil for bytes that are no marker.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count <= Self.byteLimit,
      let marker = try? JSONDecoder().decode(OwnerMarker.self, from: Data(bytes))
    else { return nil }
    self = marker
  }

  /// What stands at a place.
  static func read(from store: any ObjectStore) throws(ObjectStoreError) -> DestinationFacts.Marker
  {
    let bytes: [UInt8]?
    do {
      bytes = try store.get(ObjectKey(ObjectKeys.owner), byteLimit: byteLimit)
    } catch {
      if case .tooLarge = error.code { return .unreadable }
      throw error
    }
    guard let bytes, !bytes.isEmpty else { return .none }
    return OwnerMarker(bytes).map { .found($0) } ?? .unreadable
  }

  package var bytes: [UInt8] {
    let members = [("checkpoint", checkpoint), ("job", job), ("token", token)].map {
      "\(JSONText.quoted($0)):\(JSONText.quoted($1))"
    }
    return Array("{\(members.joined(separator: ","))}\n".utf8)
  }
}

/// What a run knows of the place that it is about to write to.
package struct DestinationFacts: Equatable, Sendable {
  package enum Marker: Equatable, Sendable {
    case none
    case found(OwnerMarker)
    /// Something stands there that is no marker of ours.
    case unreadable
  }
  package var marker: Marker
  package var checkpoint: String
  /// What this checkpoint wrote into markers, or was told to accept; an empty one for "no marker".
  package var tokens: Set<String>
  /// Where there is no marker: objects that were published, are not to be replaced now, and are
  /// missing or have another ETag.
  package var strangeObjects: [String] = []
  /// Where there is no marker: objects that stand at keys which were never published and are to be
  /// now.
  package var occupiedKeys: [String] = []
}

package enum Ownership: Equatable, Sendable {
  case ours
  /// No marker: the objects say whose it is.
  case unmarked
  case refused(Refusal)

  package enum Refusal: Equatable, Sendable {
    case otherJob(OwnerMarker)
    /// Our own id with a token that we do not know.
    case olderOrCopy
    case unreadableMarker
    case strangeObjects([String])
    case occupiedKeys([String])
  }
}

/// Who owns a place, by its marker alone.
package func ownership(byMarker facts: DestinationFacts) -> Ownership {
  switch facts.marker {
  case .none: facts.tokens.contains("") ? .ours : .unmarked
  case .unreadable: .refused(.unreadableMarker)
  case .found(let marker):
    if facts.tokens.contains(marker.token) {
      .ours
    } else if marker.checkpoint == facts.checkpoint {
      .refused(.olderOrCopy)
    } else {
      .refused(.otherJob(marker))
    }
  }
}

/// Who owns a place; where it has no marker, by its objects.
///
/// A release before 0.2 wrote no marker: such a place is ours if it holds what we published.
package func ownership(_ facts: DestinationFacts) -> Ownership {
  let byMarker = ownership(byMarker: facts)
  guard byMarker == .unmarked else { return byMarker }
  if !facts.strangeObjects.isEmpty { return .refused(.strangeObjects(facts.strangeObjects)) }
  if !facts.occupiedKeys.isEmpty { return .refused(.occupiedKeys(facts.occupiedKeys)) }
  return .ours
}

/// Makes sure, before the first object is put, that the place is this checkpoint's, and marks it.
///
/// One GET, then a PUT of the new token and a GET, and one more at the end of the run. Without
/// conditional writes two runs that start in the same instant can both pass; the last GET of one of
/// them, or the first of the next run, finds it.
final class DestinationClaim: @unchecked Sendable {
  // @unchecked: used by the publisher's thread until that has ended, then by the run's.
  private enum State {
    case notAsked
    /// No marker was there; the objects are looked at when it is known what is to be put.
    case unmarked
    case claimed
  }
  private let store: any ObjectStore
  private let job: String
  private let checkpoint: String
  private let remember: (_ token: String, _ seen: String?) throws -> Void
  private let deleteRetired: (CheckpointReader) throws -> Void
  private let token: String
  private var tokens: Set<String>
  private var state = State.notAsked
  private var hasDeletedRetired = false
  /// Ours, as the place bore it before this run.
  private var seen: String?
  /// Whether the place is another's, or another process holds it.
  private(set) var isRefused = false

  /// - Parameters:
  ///   - token: This run's, which no other run has.
  ///   - tokens: The checkpoint's when the run began.
  ///   - remember: Commits this run's token, and keeps the one that was seen at the place. Called
  ///     from another thread than the run's.
  ///   - deleteRetired: Called once, when the place is known to be ours and before anything else is
  ///     put there; see ``ObjectsAhead``.
  init(
    _ store: any ObjectStore, job: String, checkpoint: String, token: String, tokens: Set<String>,
    remember: @escaping (_ token: String, _ seen: String?) throws -> Void,
    deleteRetired: @escaping (CheckpointReader) throws -> Void
  ) {
    self.store = store
    self.job = job
    self.checkpoint = checkpoint
    self.token = token
    self.tokens = tokens
    self.remember = remember
    self.deleteRetired = deleteRetired
  }

  /// Asks whose the place is, and marks it where it is ours. Does so once.
  func begin() throws {
    guard state == .notAsked else { return }
    do {
      try store.holdPlace()
    } catch {
      isRefused = error.code == .held
      throw error
    }
    let facts = DestinationFacts(marker: try marker(), checkpoint: checkpoint, tokens: tokens)
    if case .found(let marker) = facts.marker { seen = marker.token }
    switch ownership(byMarker: facts) {
    case .ours: try mark()
    case .unmarked: state = .unmarked
    case .refused(let refusal): throw error(refusal)
    }
  }

  /// Before objects are put: where the place had no marker, looks at what it holds instead.
  ///
  /// - Parameter reader: Knows what was published and what is to be.
  func finish(_ reader: CheckpointReader) throws {
    switch state {
    case .claimed: break
    case .notAsked: preconditionFailure("an object is put before the place was asked for")
    case .unmarked: try markUnmarked(reader)
    }
    if hasDeletedRetired { return }
    try deleteRetired(reader)
    hasDeletedRetired = true
  }

  private func markUnmarked(_ reader: CheckpointReader) throws {
    var facts = DestinationFacts(marker: .none, checkpoint: checkpoint, tokens: tokens)
    let published = try reader.publishedOutputs()
    for output in published where output.revision == output.publishedRevision {
      let key = ObjectKey(output.objectKey)
      if try store.head(key)?.etag != output.etag { facts.strangeObjects.append(key.value) }
      // Enough to refuse the place and to name some.
      if facts.strangeObjects.count > 3 { break }
    }
    // A checkpoint that has published nothing has nothing to replace.
    if published.isEmpty {
      for output in try reader.dirtyOutputs() {
        let key = ObjectKey(output.objectKey)
        if try store.head(key) != nil { facts.occupiedKeys.append(key.value) }
        if facts.occupiedKeys.count > 3 { break }
      }
    }
    if case .refused(let refusal) = ownership(facts) { throw error(refusal) }
    try mark()
  }

  /// At the end of a run that published: makes sure that nobody else has taken the place meanwhile.
  ///
  /// - Returns: Whether the place bears a marker of ours.
  func confirm() throws -> Bool {
    guard state == .claimed else { return false }
    try check(try marker())
    return true
  }

  /// Without a mark of this run: makes sure that the place is not another's.
  ///
  /// - Throws: ``DestinationFault``, or what the store throws.
  func confirmOwner() throws {
    let facts = DestinationFacts(marker: try marker(), checkpoint: checkpoint, tokens: tokens)
    if case .refused(let refusal) = ownership(byMarker: facts) { throw error(refusal) }
  }

  /// Puts this run's token and reads it back.
  private func mark() throws {
    try remember(token, seen)
    tokens.insert(token)
    let new = OwnerMarker(checkpoint: checkpoint, job: job, token: token)
    _ = try store.put(new.bytes, at: ObjectKey(ObjectKeys.owner))
    try check(try marker())
    state = .claimed
  }

  private func marker() throws -> DestinationFacts.Marker { try OwnerMarker.read(from: store) }

  /// An older token of ours may come back by a request that was applied late; any other is
  /// another's.
  private func check(_ marker: DestinationFacts.Marker) throws {
    let facts = DestinationFacts(marker: marker, checkpoint: checkpoint, tokens: tokens)
    switch ownership(byMarker: facts) {
    case .ours: return
    case .refused:
      isRefused = true
      if case .found(let marker) = marker { throw fault(.overtaken(marker)) }
      throw fault(.overtaken(nil))
    case .unmarked: throw fault(.markerGone)
    }
  }

  private func error(_ refusal: Ownership.Refusal) -> DestinationFault {
    isRefused = true
    return fault(.refused(refusal))
  }

  private func fault(_ problem: DestinationFault.Problem) -> DestinationFault {
    DestinationFault(location: store.location, job: job, problem: problem)
  }
}

/// A person's decision that a place is this checkpoint's, whatever stands there: what its marker
/// says now is accepted, and every object is to be written again.
///
/// - Parameters:
///   - isRestored: The checkpoint was restored or copied: only its own marker is taken.
///   - deletes: Whether the next run is to delete objects of batches that the checkpoint has not
///     committed, once it has marked the place and before it puts anything; see ``ObjectsAhead``.
/// - Returns: The marker that stands there, and the objects that are to be deleted.
/// - Throws: `DestinationFault` where there is nothing to decide, or something else.
package func takeOver(
  _ store: any ObjectStore, _ checkpoint: Checkpoint, isRestored: Bool, deletes: Bool = false
) throws -> (marker: OwnerMarker?, retired: [ObjectKey]) {
  func fault(_ problem: DestinationFault.Problem) -> DestinationFault {
    DestinationFault(location: store.location, job: checkpoint.job.name, problem: problem)
  }
  let found = try OwnerMarker.read(from: store)
  // Nothing is deleted now: until this checkpoint marks the place, the newer state may go on there.
  func take(_ token: String) throws -> [ObjectKey] {
    let ahead = try ObjectsAhead.find(
      in: store, of: checkpoint.job, try CheckpointReader(path: checkpoint.path))
    if !ahead.isEmpty && !deletes {
      throw fault(
        .objectsAhead(
          ahead.map(\.value), nextBatch: checkpoint.nextBatch, isRestored: isRestored))
    }
    if found == .unreadable { try store.delete(ObjectKey(ObjectKeys.owner)) }
    try checkpoint.takeOver(token: token, retiring: ahead.map(\.value))
    return ahead
  }
  guard case .found(let marker) = found else {
    if isRestored { throw fault(.noMarkerOfOurs) }
    return (nil, try take(""))
  }
  // Whoever says so of a place that is ours has reason to doubt what lies there.
  if try !checkpoint.ownerTokens().contains(marker.token) {
    let isOwn = marker.checkpoint == (try checkpoint.identifier())
    if isOwn && !isRestored { throw fault(.newerStateOfOurs) }
    if !isOwn && isRestored { throw fault(.anothers(marker)) }
  }
  return (marker, try take(marker.token))
}
