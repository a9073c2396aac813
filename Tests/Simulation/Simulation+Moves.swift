import Checkpoints
import Engine
import Foundation
import Jobs
import ObjectStorage
import Offsets

/// What stands elsewhere in a history in which the checkpoint moves.
final class Moves {
  /// A state of the checkpoint on one machine.
  struct State {
    var files: [String: Data]
    var account: Account
    var shown: [PartitionID: CommittedOffset]
  }
  /// A copy that can be restored.
  struct Copy {
    var bytes: [UInt8]
    var account: Account
    var shown: [PartitionID: CommittedOffset]
  }
  var copy: Copy?
  /// Steps until the run at hand is copied beside.
  var stepsToCopy = Int.max
  var besideRun: State?
  /// The machine that was left.
  var left: State?
  private(set) var restoreCount = 0
  fileprivate func restored() { restoreCount += 1 }
}

extension Simulation {
  /// A person copies the checkpoint, restores a copy, or starts a machine that was left.
  func move() throws -> String? {
    guard let moves else { return nil }
    try finishCopyBesideRun(moves)
    if runCount > 0 && (moves.copy == nil || chance(30)) {
      if chance(50) {
        try copyBetweenRuns(moves)
      } else {
        moves.stepsToCopy = Int(pick(1...25))
      }
    } else if moves.copy != nil && chance(40) {
      try restoreCopy(moves)
    }
    if moves.left != nil && chance(30) { return try wake(moves) }
    return nil
  }

  private var path: String { Checkpoint.path(ofJob: job.name, folder: folder) }

  /// A partition of a topic that the copy does not know would begin elsewhere.
  private func knowsAllTopics(_ claim: Claim) -> Bool {
    let known = Set(claim.partitions.keys.map { "\($0.source)/\($0.topic)" })
    return logs.keys.allSatisfy { known.contains("\($0.source)/\($0.topic)") }
  }

  private func copyBetweenRuns(_ moves: Moves) throws {
    guard try knowsAllTopics(claim()) else { return }
    let copy = try CheckpointCopy(of: path, job: job, in: folder)
    moves.copy = Moves.Copy(bytes: bytes(copy), account: account, shown: shown)
  }

  private func bytes(_ copy: CheckpointCopy) -> [UInt8] {
    FileManager.default.contents(atPath: copy.path).map { [UInt8]($0) } ?? []
  }

  /// At a step of a run: what a copy that is made at this instant holds.
  func copyBesideRun() {
    guard let moves, moves.stepsToCopy != .max else { return }
    moves.stepsToCopy -= 1
    if moves.stepsToCopy > 0 || account.hasPendingStarts { return }
    moves.stepsToCopy = .max
    moves.besideRun = Moves.State(files: files(), account: account, shown: shown)
  }

  /// Makes the copy of what ``copyBesideRun()`` has caught, with the run's lock held beside it.
  private func finishCopyBesideRun(_ moves: Moves) throws {
    moves.stepsToCopy = .max
    guard let state = moves.besideRun else { return }
    moves.besideRun = nil
    let other = folder + "/beside"
    try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: other) }
    for (name, data) in state.files {
      try data.write(to: URL(fileURLWithPath: "\(other)/\(name)"))
    }
    let source = Checkpoint.path(ofJob: job.name, folder: other)
    guard try knowsAllTopics(Claim(path: source)) else { return }
    let lock = try RunLock(
      path: Checkpoint.lockPath(ofJob: job.name, folder: other), holder: "the run")
    let copy = try CheckpointCopy(of: source, job: job, in: other)
    withExtendedLifetime(lock) {}
    moves.copy = Moves.Copy(bytes: bytes(copy), account: state.account, shown: state.shown)
  }

  /// The copy goes on; what stood there is the machine that was left.
  private func restoreCopy(_ moves: Moves) throws {
    guard let copy = moves.copy else { return }
    moves.left = Moves.State(files: files(), account: account, shown: shown)
    store.finishLateWrites()
    let imported = try Checkpoint.takeIn(
      job: job, folder: folder, replaces: true, from: "a copy", holder: "import", now: 0
    ) { try CheckpointCopy(bytes: copy.bytes, named: job.name, in: $0) }
    if let former = imported.former { try FileManager.default.removeItem(atPath: former) }
    (account, shown) = (copy.account, copy.shown)
    moves.restored()
  }

  /// A person says that the restored state is the one to go on with.
  func goOnRestored() throws {
    do {
      try decide("resolve") { checkpoint in
        _ = try takeOver(
          store, checkpoint, isRestored: true, deletes: sabotage != .objectsAheadStay)
      }
    } catch is ObjectStoreError {
      // Tried again after the next run.
    } catch let fault as DestinationFault {
      guard sabotage == .objectsAheadStay, case .objectsAhead = fault.problem else { throw fault }
      try decide("resolve") { try $0.takeOver(token: markerToken ?? "") }
    }
  }

  private var markerToken: String? {
    store.state.objects[ObjectKeys.owner].flatMap { OwnerMarker($0)?.token }
  }

  /// The machine that was left runs once more. Where the other one has published meanwhile, it must
  /// change nothing.
  private func wake(_ moves: Moves) throws -> String? {
    guard let left = moves.left else { return nil }
    let current = Moves.State(files: files(), account: account, shown: shown)
    store.finishLateWrites()
    try put(left)
    let tokens = try open("a look").ownerTokens()
    let owns = markerToken.map(tokens.contains) ?? true
    let stood = store.state.objects
    runCount += 1
    stepsToCrash = .max
    account.beginRun()
    if let problem = try execute() { return problem }
    if owns {
      // Nobody has published since: it goes on, and the other one is the machine that was left.
      moves.left = current
      return nil
    }
    if store.state.objects != stood { return "a state that was left has changed the newer objects" }
    moves.left = Moves.State(files: files(), account: account, shown: shown)
    try put(current)
    return nil
  }

  /// The checkpoint as it was, and what is known of it.
  func put(_ state: Moves.State) throws {
    for name in ["sqlite", "sqlite-wal", "sqlite-shm"] {
      try? FileManager.default.removeItem(atPath: "\(folder)/\(job.name).\(name)")
    }
    for (name, data) in state.files {
      try data.write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    }
    (account, shown) = (state.account, state.shown)
  }
}
