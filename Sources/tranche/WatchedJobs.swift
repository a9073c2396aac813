import Engine
import Foundation
import Glibc
import Jobs
import Scheduling

/// The job files that `tranche schedule` was given, and what became of them since the last look.
struct WatchedJobs {
  enum Change: Equatable {
    /// - Parameter name: The job's, for messages.
    case scheduled(file: String, name: String, Ticks)
    /// It has neither `trigger.every` nor `trigger.cron`.
    case unscheduled(file: String, name: String)
    /// It cannot be read, or is not valid; the text says where and why.
    case faulty(file: String, String)
    case removed(file: String)
  }

  private let paths: [String]
  private let allowsCode: Bool
  /// What each file held when it was last looked at; nil where it could not be read.
  private var contents: [String: [UInt8]?] = [:]

  /// - Parameter paths: Job files, and folders of them.
  init(_ paths: [String], allowsCode: Bool) {
    self.paths = paths
    self.allowsCode = allowsCode
  }

  /// Whether every path that was given is there.
  ///
  /// - Throws: ``CommandError`` for the first that is not.
  func confirm() throws {
    for path in paths where access(path, R_OK) != 0 {
      throw CommandError(
        .data, "\(path): cannot be read. Name job files, or a folder that holds some.")
    }
  }

  /// Forgets what the files held, so that the next look reads all of them anew; what
  /// `${file:...}` names may have changed.
  mutating func forget() {
    for file in contents.keys { contents[file] = .some(nil) }
    isForgotten = true
  }
  private var isForgotten = false

  /// What was added, changed or removed since the last look, in the order of the files.
  mutating func changes() -> [Change] {
    var found: [Change] = []
    let files = self.files()
    for file in files {
      let bytes = fileBytes(file, byteLimit: JobFile.byteLimit)
      if !isForgotten, let known = contents[file], known == bytes { continue }
      contents[file] = .some(bytes)
      found.append(load(file))
    }
    isForgotten = false
    for file in contents.keys.sorted() where !files.contains(file) {
      contents[file] = nil
      found.append(.removed(file: file))
    }
    return found
  }

  private func files() -> [String] {
    var files: [String] = []
    for path in paths {
      var isFolder: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      if exists && isFolder.boolValue {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
        files += names.filter { name in
          !name.hasPrefix(".") && (name.hasSuffix(".yaml") || name.hasSuffix(".yml"))
        }.sorted().map { "\(folder)/\($0)" }
      } else if exists {
        files.append(path)
      }
    }
    var seen: Set<String> = []
    return files.filter { seen.insert($0).inserted }
  }

  private func load(_ file: String) -> Change {
    do {
      let job = try loadJob(file, allowsCode: allowsCode)
      guard let schedule = job.schedule else {
        return .unscheduled(file: file, name: job.name)
      }
      var zone = ZoneRules.utc
      // The parser has asked for it.
      if case .cron(_, let name) = schedule { zone = zoneRules(name) ?? .utc }
      return .scheduled(file: file, name: job.name, Ticks(schedule, zone: zone))
    } catch let errors as JobFileErrors {
      return .faulty(
        file: file, errors.errors.map(\.description).joined(separator: "\n"))
    } catch let error as CommandError {
      return .faulty(file: file, error.message)
    } catch {
      return .faulty(file: file, "\(file): \(error)")
    }
  }
}
