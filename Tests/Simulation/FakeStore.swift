import Foundation
import ObjectStorage

/// A store that refuses, answers too late, or applies a request after the next one was
/// acknowledged.
final class FakeStore: ObjectStore, @unchecked Sendable {
  // @unchecked: every call holds the simulation's lock.
  struct State {
    var objects: [String: [UInt8]] = [:]
    /// Requests without an answer that are still on their way.
    var late: [String: [UInt8]] = [:]
    /// Of them, those of a run before the last: what is promised holds if they arrive by now.
    var old: Set<String> = []
  }
  var state = State()
  private unowned let simulation: Simulation
  private var acknowledged: [String: String] = [:]

  init(_ simulation: Simulation) { self.simulation = simulation }

  let location = "fake", identity = "fake", sharesSyncs = true

  func holdPlace() {}

  private func fault(_ code: ObjectStoreError.Code, _ key: ObjectKey) -> ObjectStoreError {
    ObjectStoreError(
      code, place: "\(key)", reason: "injected", hadUnansweredAttempt: code == .unreachable)
  }

  /// Between runs some of the late requests arrive, and all that have survived a run.
  func applyLateWrites() {
    for key in state.late.keys.sorted() {
      if state.old.contains(key) || simulation.chance(30) {
        applyLateWrite(key)
      } else {
        state.old.insert(key)
      }
    }
  }

  /// All that is on its way arrives: a machine was left, and so were its connections.
  func finishLateWrites() {
    for key in state.late.keys.sorted() { applyLateWrite(key) }
  }

  private func applyLateWrite(_ key: String) {
    state.old.remove(key)
    if let bytes = state.late.removeValue(forKey: key) { state.objects[key] = bytes }
  }

  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    simulation.lock.lock()
    defer { simulation.lock.unlock() }
    simulation.step()
    if simulation.fails(4) { throw fault(.answer(S3Answer(.busy, to: .put)), key) }
    if simulation.fails(3) {
      state.objects[key.value] = bytes
      throw fault(.unreachable, key)
    }
    if simulation.fails(7) {
      state.late[key.value] = bytes
      throw fault(.unreachable, key)
    }
    if simulation.sabotage == .marksCleanBeforeThePut && simulation.chance(20) {
      return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: false)
    }
    if simulation.sabotage == .coalescingDropsTheNewest && state.objects[key.value] != nil
      && simulation.chance(30)
    {
      return PutReceipt(etag: etag(bytes), hadUnansweredAttempt: false)
    }
    state.objects[key.value] = bytes
    acknowledged[key.value] = etag(bytes)
    applyLateWrite(key.value)
    let isAmbiguous = simulation.fails(simulation.sabotage == .neverSettles ? 75 : 25)
    if isAmbiguous { state.late[key.value] = bytes }
    simulation.step()
    return PutReceipt(
      etag: etag(bytes), hadUnansweredAttempt: isAmbiguous && simulation.sabotage != .neverSettles)
  }

  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    var receipts: [PutReceipt] = []
    for (key, bytes) in group { receipts.append(try put(bytes, at: key)) }
    return receipts
  }

  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    simulation.lock.lock()
    defer { simulation.lock.unlock() }
    try ask(key)
    // It arrives before the last moment at which anyone asks.
    applyLateWrite(key.value)
    if simulation.sabotage == .neverSettles, let etag = acknowledged[key.value] {
      return ObjectFacts(byteCount: 0, etag: etag)
    }
    return state.objects[key.value].map { ObjectFacts(byteCount: Int64($0.count), etag: etag($0)) }
  }

  func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    simulation.lock.lock()
    defer { simulation.lock.unlock() }
    try ask(key)
    return state.objects[key.value]
  }

  func delete(_ key: ObjectKey) throws(ObjectStoreError) {
    simulation.lock.lock()
    defer { simulation.lock.unlock() }
    try ask(key)
    state.objects[key.value] = nil
  }

  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    simulation.lock.lock()
    defer { simulation.lock.unlock() }
    return state.objects.keys.filter { $0.hasPrefix(prefix) }.sorted().map { ObjectKey($0) }
  }

  private func ask(_ key: ObjectKey) throws(ObjectStoreError) {
    simulation.step()
    if simulation.fails(5) { throw fault(.unreachable, key) }
  }

  /// FNV-1a: any function of the bytes will do.
  private func etag(_ bytes: [UInt8]) -> String {
    String(
      bytes.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 },
      radix: 16)
  }
}
