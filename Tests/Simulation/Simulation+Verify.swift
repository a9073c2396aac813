import Checkpoints
import Engine
import Foundation
import GRDB
import Jobs
import Windows

extension Simulation {
  /// Whether the product's own proof fails for a history that has come to rest, or passes where
  /// something is wrong: it must agree, and find what was changed on purpose.
  func differenceOfVerify() throws -> String? {
    let report = try verify()
    if !report.agrees(isStrict: false) || report.notCompared.count > 0 {
      return "verify finds \(report.findings.first), and does not compare \(report.notCompared)"
    }
    // Where all messages are there that were ever counted, all of it is proved.
    if holdsAllMessages && report.unprovable.count > 0 {
      return "verify cannot prove \(report.unprovable.first)"
    }
    return job.window.keepsState && chance(50)
      ? try differenceOfChangedGroup() : try differenceOfRemovedObject()
  }

  private func verify() throws -> Verification {
    let path = Checkpoint.path(ofJob: job.name, folder: folder)
    let copyPath = "\(folder)/verified.sqlite"
    defer {
      for ending in ["", "-wal", "-shm"] {
        try? FileManager.default.removeItem(atPath: copyPath + ending)
      }
    }
    let live = try CheckpointReader(path: path, job: job)
    return try Verifier(
      copy: try VerificationCopy(of: live, job: job, at: copyPath), live: live,
      sources: job.clusters.map { FakeBroker($0.name, self) }, store: store,
      options: RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "0")
    ).verify()
  }

  private func differenceOfRemovedObject() throws -> String? {
    let keys = store.state.objects.keys.filter { $0 != ObjectKeys.owner }.sorted()
    if keys.isEmpty { return nil }
    let key = keys[Int(pick(0...Int64(keys.count - 1)))]
    let bytes = store.state.objects.removeValue(forKey: key)
    defer { store.state.objects[key] = bytes }
    return try verify().findings.first.contains(.objectMissing(key: key))
      ? nil : "verify does not miss \(key)"
  }

  private func differenceOfChangedGroup() throws -> String? {
    let queue = try DatabaseQueue(path: Checkpoint.path(ofJob: job.name, folder: folder))
    let windows = try queue.read {
      try Int64.fetchAll($0, sql: "SELECT DISTINCT window FROM groups ORDER BY window")
    }
    if windows.isEmpty { return nil }
    let number = windows[Int(pick(0...Int64(windows.count - 1)))]
    try queue.write {
      try $0.execute(
        sql: "UPDATE groups SET calls = calls + 1 WHERE window = ?", arguments: [number])
    }
    let label = job.window.label(of: Window(number))
    let report = try verify()
    let isFound = report.findings.first.contains { finding in
      switch finding {
      case .measure(let window, _, let measure, _, _): window == label && measure == "calls"
      // Of a window whose messages are gone, only its object tells.
      case .object(let key, _):
        report.unprovable.first.contains(label)
          && key == ObjectKeys.window(Window(number), of: job)
      default: false
      }
    }
    return isFound ? nil : "verify does not find that calls was changed in window \(label)"
  }
}
