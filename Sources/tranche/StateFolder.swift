import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import Logging

/// What decides in which folder a job's checkpoint lies.
struct StateFolderFacts: Equatable {
  /// `--checkpoints`.
  var option: String?
  /// `TRANCHE_CHECKPOINTS`, and systemd's `STATE_DIRECTORY`, which may hold several paths.
  var trancheCheckpoints: String?
  var stateDirectory: String?
  /// The folder of the job file as it was named, its own links followed; absolute.
  /// Nil for a job file that came on standard input.
  var jobFolder: String?
  /// The files of this job's checkpoint where they exist: at the folder that the job file leads to,
  /// and in `checkpoints/` of the working folder.
  var besideJob: FileIdentity?
  var inWorkingFolder: FileIdentity?
}

enum StateFolder: Equatable {
  case use(String)
  /// The working folder's `checkpoints/`, where releases before looked; said on standard error.
  case useWorkingFolder(insteadOf: String)
  /// Both hold a checkpoint of this job, and they are two files.
  case refuse(beside: String)
  /// Nothing says where it lies: the job file has no folder, and the current one is not guessed.
  case unknown
}

/// The one rule, in the order of docs/operations.md, "Where state lies".
func stateFolder(_ facts: StateFolderFacts) -> StateFolder {
  if let option = facts.option { return .use(option) }
  if let named = facts.trancheCheckpoints, !named.isEmpty { return .use(named) }
  // systemd.exec(5): "the paths are concatenated with colon".
  let directories = facts.stateDirectory?.split(separator: ":").map(String.init) ?? []
  if let first = directories.first { return .use(first) }
  guard let jobFolder = facts.jobFolder else { return .unknown }
  let beside = folderBesideJob(jobFolder)
  switch (facts.besideJob, facts.inWorkingFolder) {
  case (_, nil): return .use(beside)
  case (nil, .some): return .useWorkingFolder(insteadOf: beside)
  case (let one?, let other?): return one == other ? .use(beside) : .refuse(beside: beside)
  }
}

/// `/srv/tranche/checkpoints` for `/srv/tranche/jobs`, else `checkpoints` in the job file's folder.
func folderBesideJob(_ jobFolder: String) -> String {
  let parts = jobFolder.split(separator: "/").map(String.init)
  let above = parts.last == "jobs" ? Array(parts.dropLast()) : parts
  return "/" + (above + ["checkpoints"]).joined(separator: "/")
}

extension StateFolder {
  /// What is said on standard error; nil where there is nothing to say.
  func notice(job: String) -> String? {
    guard case .useWorkingFolder(let beside) = self else { return nil }
    let (here, there) = (Checkpoint.path(ofJob: job, folder: "checkpoints"), beside)
    return "tranche: using \(here) of the current folder, because there is none in \(there). "
      + "Move it there, with its -wal and -shm, or name its folder with --checkpoints."
  }

  /// - Throws: ``CommandError`` where two files could be meant.
  func path(job: String) throws(CommandError) -> String {
    switch self {
    case .use(let folder): return folder
    case .useWorkingFolder: return "checkpoints"
    case .unknown:
      throw CommandError(
        .data,
        """
        \(job): the job file came on standard input, which does not say where the checkpoint lies. \
        Name its folder with --checkpoints, or in TRANCHE_CHECKPOINTS.
        """)
    case .refuse(let beside):
      let paths = [beside, "checkpoints"].map { Checkpoint.path(ofJob: job, folder: $0) }
      throw CommandError(
        .jobChanged,
        """
        \(job): there are two checkpoints: \(paths[0]), where the job file leads to, and \
        \(paths[1]) of the current folder. Nothing was read. Name the folder of the right one with \
        --checkpoints, or move the other away, with its -wal and -shm.
        """)
    }
  }
}

extension CheckpointOptions {
  /// The folder of a job's checkpoint.
  ///
  /// - Parameter file: The job file, as the command line names it.
  /// - Throws: ``CommandError`` where two files could be meant.
  func folder(of job: Job, file: String) throws -> String {
    let chosen = chosenFolder(of: job, file: file)
    if let notice = chosen.notice(job: job.name) { Log.tell(.warning, notice) }
    let path = try chosen.path(job: job.name)
    // SQLite takes a path that begins so for a URI.
    return path.hasPrefix("file:") ? "./\(path)" : path
  }

  /// Which option names the folder again from anywhere, for commands in messages; empty where a
  /// shell without this process's variables finds it by itself.
  func words(of job: Job, file: String) -> [String] {
    if let folder { return ["--checkpoints", folder] }
    guard let path = folderInUse(of: job, file: file) else { return [] }
    if !isStandardInput(file), path == folderBesideJob(resolvedFolder(of: file)) { return [] }
    guard let resolved = realpath(path, nil) else { return ["--checkpoints", path] }
    defer { free(resolved) }
    return ["--checkpoints", String(cString: resolved)]
  }

  /// As ``folder(of:file:)``, without a word; nil where two files could be meant.
  func folderInUse(of job: Job, file: String) -> String? {
    try? chosenFolder(of: job, file: file).path(job: job.name)
  }

  private func chosenFolder(of job: Job, file: String) -> StateFolder {
    let environment = ProcessInfo.processInfo.environment
    var facts = StateFolderFacts(
      option: folder, trancheCheckpoints: environment["TRANCHE_CHECKPOINTS"],
      stateDirectory: environment["STATE_DIRECTORY"],
      jobFolder: isStandardInput(file) ? nil : resolvedFolder(of: file))
    func identity(in folder: String) -> FileIdentity? {
      FileIdentity(path: Checkpoint.path(ofJob: job.name, folder: folder), followsLink: true)
    }
    facts.besideJob = facts.jobFolder.flatMap { identity(in: folderBesideJob($0)) }
    facts.inWorkingFolder = identity(in: "checkpoints")
    return stateFolder(facts)
  }
}

/// Of the folder as it is named; a link that the job file itself is leads nowhere else.
func resolvedFolder(of file: String) -> String {
  let folder =
    file.contains("/") ? String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)]) : "."
  guard let resolved = realpath(folder.isEmpty ? "/" : folder, nil) else { return folder }
  defer { free(resolved) }
  return String(cString: resolved)
}

/// The rights of files that are made, as chmod(1) takes them.
struct FileMode: ExpressibleByArgument, CustomStringConvertible {
  static let owner = FileMode(bits: 0o600)
  let bits: UInt32

  var description: String { "0" + String(bits, radix: 8) }
  var defaultValueDescription: String { description }
}

extension FileMode {
  /// Reading and writing for the owner, either or both for others; nothing may be executed.
  init?(argument: String) {
    guard let bits = UInt32(argument, radix: 8), bits & 0o600 == 0o600, bits & ~0o666 == 0 else {
      return nil
    }
    self.init(bits: bits)
  }
}

extension JobOptions {
  /// The folder of this job's checkpoint.
  func checkpointFolder(of job: Job) throws -> String {
    try checkpoints.folder(of: job, file: file)
  }
}
