import Engine
import Foundation
import Glibc
import Jobs
import Reports
import Scheduling

/// The job files that `tranche schedule` was given, and what became of them since the last look.
struct WatchedJobs {
  enum Change: Equatable {
    /// - Parameter name: The job's, for messages.
    case scheduled(file: String, name: String, Ticks)
    /// It has neither `trigger.every` nor `trigger.cron`.
    case unscheduled(file: String, name: String)
    /// It cannot be read, is not valid, or holds a job that another file has scheduled; the text
    /// says where and why.
    case faulty(file: String, String)
    case removed(file: String)
  }

  private let paths: [String]
  private let allowsCode: Bool
  /// What each file held when it was last looked at; nil where it could not be read.
  private var contents: [String: [UInt8]?] = [:]
  /// Of the files that are scheduled, the jobs' names: each names one checkpoint.
  private var names: [String: String] = [:]
  /// What was last said of a faulty file. It may mend by itself: what it refers to comes, or the
  /// other file with its job goes.
  private var faults: [String: String] = [:]

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
  mutating func forget() { isForgotten = true }
  private var isForgotten = false

  /// What was removed since the last look, and what was added or changed, in the order of the
  /// files.
  mutating func changes() -> [Change] {
    var found: [Change] = []
    let files = self.files()
    for file in contents.keys.sorted() where !files.contains(file) {
      contents[file] = nil
      names[file] = nil
      faults[file] = nil
      found.append(.removed(file: file))
    }
    var changed: [String] = []
    for file in files {
      let bytes = fileBytes(file, byteLimit: JobFile.byteLimit)
      let isKnown = !isForgotten && contents[file].map { $0 == bytes } ?? false
      if isKnown && faults[file] == nil { continue }
      contents[file] = .some(bytes)
      changed.append(file)
      // All names first, so that two files may exchange theirs.
      names[file] = nil
      if !isKnown { faults[file] = nil }
    }
    isForgotten = false
    for file in changed {
      let change = load(file)
      var fault: String?
      switch change {
      case .scheduled(_, let name, _): names[file] = name
      case .faulty(_, let text): fault = text
      case .unscheduled, .removed: break
      }
      if fault == nil || fault != faults[file] { found.append(change) }
      faults[file] = fault
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
    // One file may have several paths.
    var seen: Set<String> = []
    return files.filter { seen.insert(resolvedPath($0)).inserted }
  }

  private func load(_ file: String) -> Change {
    do {
      let job = try loadJob(file, allowsCode: allowsCode)
      guard let schedule = job.schedule else {
        return .unscheduled(file: file, name: job.name)
      }
      if let other = names.first(where: { $0.value == job.name })?.key {
        return .faulty(
          file: file,
          "\(file): the job \(job.name) is scheduled from \(other) already, and two of that name "
            + "would share a checkpoint. Give one of them another name:, or remove one.")
      }
      var zone = ZoneRules.utc
      // The parser has asked for it.
      if case .cron(_, let name) = schedule { zone = zoneRules(name) ?? .utc }
      return .scheduled(file: file, name: job.name, Ticks(schedule, zone: zone))
    } catch let errors as JobFileErrors {
      return .faulty(
        file: file, errors.errors.map(\.description).joined(separator: "\n"))
    } catch {
      return .faulty(file: file, failure(error, Words()).message)
    }
  }
}
