import Jobs
import ObjectStorage
import TestSupport

@testable import Simulation

/// The fake of the simulated histories, while nothing fails, with the history that it belongs to.
final class SimulationStore: ObjectStore, @unchecked Sendable {
  // @unchecked: the fake is used from one thread; tests that use several leave it out.
  private let simulation: Simulation
  private let folder: TemporaryFolder
  private var store: FakeStore { simulation.store }

  init() throws {
    folder = try TemporaryFolder()
    simulation = try Simulation.calm(folder: folder.path)
  }

  var location: String { store.location }
  var identity: String { store.identity }
  var sharesSyncs: Bool { store.sharesSyncs }

  func holdPlace() {}

  func put(_ bytes: [UInt8], at key: ObjectKey) throws(ObjectStoreError) -> PutReceipt {
    try store.put(bytes, at: key)
  }
  func put(group: [(ObjectKey, [UInt8])]) throws(ObjectStoreError) -> [PutReceipt] {
    try store.put(group: group)
  }
  func head(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectFacts? { try store.head(key) }
  func get(_ key: ObjectKey, byteLimit: Int) throws(ObjectStoreError) -> [UInt8]? {
    try store.get(key, byteLimit: byteLimit)
  }
  func delete(_ key: ObjectKey) throws(ObjectStoreError) { try store.delete(key) }
  func list(prefix: String) throws(ObjectStoreError) -> [ObjectKey] {
    try store.list(prefix: prefix)
  }
}
