package import ObjectStorage
internal import Synchronization
internal import Tables

/// Places of objects in memory, by location: what the stores of one trial, or of one test, have in
/// common.
package final class MemoryPlaces: Sendable {
  private struct State {
    var objects: [String: [String: [UInt8]]] = [:]
    var isDown = false
  }
  private let state: Mutex<State>

  /// - Parameter objects: What stands there at first, by location and key.
  package init(_ objects: [String: [String: [UInt8]]] = [:]) {
    state = Mutex(State(objects: objects))
  }

  package func store(at location: String) -> MemoryStore { MemoryStore(self, location) }

  /// While true, no result is taken. Keys below `_tranche/` are, so that a run gets as far as its
  /// results.
  package var isDown: Bool {
    get { state.withLock { $0.isDown } }
    set { state.withLock { $0.isDown = newValue } }
  }

  /// Every location that has ever held an object, with what it holds now.
  package var all: [String: [String: [UInt8]]] { state.withLock { $0.objects } }

  fileprivate func objects(at location: String) -> [String: [UInt8]] {
    state.withLock { $0.objects[location] ?? [:] }
  }

  fileprivate func set(_ bytes: [UInt8]?, _ key: ObjectKey, at location: String) {
    state.withLock { $0.objects[location, default: [:]][key.value] = bytes }
  }
}

/// A store in memory that never loses a request and never delays one.
package struct MemoryStore: ObjectStore {
  package let location: String
  package var identity: String { location }
  package let sharesSyncs = false
  private let places: MemoryPlaces

  fileprivate init(_ places: MemoryPlaces, _ location: String) {
    self.places = places
    self.location = location
  }

  package func holdPlace() {}

  package func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    if places.isDown && !key.value.hasPrefix("_tranche/") {
      throw ObjectStoreError(.unreachable, place: "\(location)/\(key)", reason: "no answer")
    }
    places.set(bytes, key, at: location)
    return PutReceipt(etag: Self.etag(bytes), hadUnansweredAttempt: false)
  }

  package func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    var receipts: [PutReceipt] = []
    for (key, bytes) in group { receipts.append(try put(bytes, at: key)) }
    return receipts
  }

  package func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? {
    places.objects(at: location)[key.value].map {
      ObjectFacts(byteCount: Int64($0.count), etag: Self.etag($0))
    }
  }

  package func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    places.objects(at: location)[key.value]
  }

  package func delete(_ key: ObjectKey) throws(ObjectStoreError) {
    places.set(nil, key, at: location)
  }

  package func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    places.objects(at: location).keys.filter { $0.hasPrefix(prefix) }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { ObjectKey($0) }
  }

  /// Any function of the bytes will do.
  private static func etag(_ bytes: [UInt8]) -> String {
    String(bytes.withUnsafeBytes { hash(of: $0) }, radix: 16)
  }
}
