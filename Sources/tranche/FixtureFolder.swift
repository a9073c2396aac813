import Engine
import Foundation
import Trials

/// `jobs/calls.test` for `jobs/calls.yaml`.
func fixtureFolder(of file: String) -> String {
  for ending in [".yaml", ".yml"] where file.hasSuffix(ending) {
    return file.dropLast(ending.count) + ".test"
  }
  return file + ".test"
}

/// Reads and writes the folders of cases.
enum FixtureFolder {
  private static let fileByteLimit = 1 << 26

  /// The names of the folders in a folder; none where it does not exist.
  static func cases(in folder: String) throws -> [String] {
    guard FileManager.default.fileExists(atPath: folder) else { return [] }
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder).filter {
        !$0.hasPrefix(".") && isFolder("\(folder)/\($0)")
      }.sorted()
    } catch {
      throw CommandError(.data, "\(folder): cannot be read. Make it readable for this user.")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      && isFolder.boolValue
  }

  /// Those that a fixture may have.
  static func files(in folder: String) throws -> [String: [UInt8]] {
    var names =
      Fixture.messageFiles + [Fixture.singleResult, Fixture.rejects, Fixture.clock]
    let results =
      (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(Fixture.resultFolder)"))
      ?? []
    names += results.filter { $0.hasSuffix(".csv") && !$0.hasPrefix(".") }.map {
      "\(Fixture.resultFolder)/\($0)"
    }
    var files: [String: [UInt8]] = [:]
    for name in names where FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
      guard let bytes = fileBytes("\(folder)/\(name)", byteLimit: fileByteLimit) else {
        throw CommandError(
          .data,
          "\(folder)/\(name): cannot be read, or has more than \(fileByteLimit >> 20) MiB.")
      }
      files[name] = bytes
    }
    return files
  }

  /// - Parameter update: Nil for a file that is to be removed.
  /// - Returns: Whether anything changed.
  static func write(_ update: [String: [UInt8]?], to folder: String) throws -> Bool {
    var isChanged = false
    for (name, bytes) in update.sorted(by: { $0.key < $1.key }) {
      let url = URL(fileURLWithPath: "\(folder)/\(name)")
      do {
        guard let bytes else {
          try FileManager.default.removeItem(at: url)
          isChanged = true
          continue
        }
        if FileManager.default.contents(atPath: url.path) == Data(bytes) { continue }
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url, options: .atomic)
        isChanged = true
      } catch {
        throw CommandError(.cannotCreate, "\(url.relativePath): cannot be written.")
      }
    }
    return isChanged
  }
}
