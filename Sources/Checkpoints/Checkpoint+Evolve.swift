internal import GRDB
package import Jobs
internal import Windows

/// What a job file that was changed needs before the job can go on, and what that would do.
package struct ChangeVerdict: Sendable, Equatable {
  package enum Need: Sendable, Equatable {
    /// The next run goes on.
    case nothing
    /// The changes take effect by themselves, with the next run.
    case nextRun
    /// Every change that keeps the run from going on takes effect with ``Checkpoint/evolve``.
    case evolve
    /// Some change needs another look at what was counted, or cannot be made at all.
    case refused
  }

  /// Nothing was committed yet: the job file may say anything.
  package let isUntouched: Bool
  package let changes: [JobChange]
  package let evolution: Evolution
  /// That the next definition would have.
  package let number: Int64
  package let nextBatch: Int64
  /// Whose objects would be rendered again.
  package let windowCount: Int64
  /// Windows and other panes that hold state.
  package let paneCount: Int64

  package var need: Need {
    if isUntouched { return changes.isEmpty ? .nothing : .nextRun }
    if changes.isEmpty { return .nothing }
    if refused.isEmpty { return .nextRun }
    return refused.allSatisfy { $0.effect == .evolve } ? .evolve : .refused
  }

  /// Those that keep a run from going on.
  package var refused: [JobChange] { changes.filter(\.effect.isRefused) }

  /// Whether the next run would be refused.
  package var stopsRun: Bool { need == .evolve || need == .refused }

  /// Whether every window's object gets other columns.
  package var rendersAgain: Bool { need == .evolve && evolution.changesMeasures }

  init(on job: Job, in database: Database) throws {
    let (old, new) = (try Checkpoint.settings(in: database), job.canonicalSettings)
    isUntouched = try Checkpoint.isUntouched(database)
    changes = JobChange.compare(old: old, new: new)
    evolution = Evolution(from: JobDefinition(old), to: JobDefinition(new))
    number = try StoredDefinitions.newest(in: database) + 1
    nextBatch = try Checkpoint.nextBatch(in: database)
    windowCount =
      try Int64.fetchOne(database, sql: "SELECT count(*) FROM outputs WHERE kind = 'window'") ?? 0
    paneCount = try Int64.fetchOne(database, sql: "SELECT count(*) FROM windows") ?? 0
  }
}

extension CheckpointReader {
  /// What the next run of the job would need.
  package func verdict(on job: Job) throws(CheckpointError) -> ChangeVerdict {
    try read { try ChangeVerdict(on: job, in: $0) }
  }
}

extension Checkpoint {
  /// Lets added and removed measures and fields take effect from the next batch on. What else was
  /// changed is left to the next run.
  ///
  /// One transaction: the settings, the columns of the state, the definition, and that every
  /// window's object is to be rendered again. What was counted is not read again: a measure that is
  /// added is NULL in every pane that has begun.
  ///
  /// - Parameters:
  ///   - holder: As for ``init(job:folder:mode:holder:now:release:step:)``, and the others.
  /// - Returns: What was found; where it needs no ``ChangeVerdict/Need/evolve``, nothing was done.
  /// - Throws: ``CheckpointError`` with code `jobChanged` where some change needs more than this.
  package static func evolve(
    job: Job, folder: String, holder: String, now: Int64, release: String,
    step: @escaping @Sendable () -> Void = {}
  ) throws(CheckpointError) -> ChangeVerdict {
    let path = path(ofJob: job.name, folder: folder)
    guard try isRegularFile(path) else { throw CheckpointError(.noCheckpoint, path: path) }
    let lock = try RunLock(path: lockPath(ofJob: job.name, folder: folder), holder: holder)
    defer { withExtendedLifetime(lock) {} }
    step()
    let queue = try open(path)
    do {
      let verdict = try queue.inDatabase { database in
        try confirm(job, in: database, path)
        return try ChangeVerdict(on: job, in: database)
      }
      switch verdict.need {
      case .nothing, .nextRun: break
      case .refused:
        throw CheckpointError(.jobChanged(verdict.refused), path: path)
      case .evolve:
        try queue.write { database in
          try evolve(job, verdict, now: now, release: release, in: database)
          try lock.confirmInPlace()
        }
        step()
      }
      try queue.close()
      return verdict
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  private static func evolve(
    _ job: Job, _ verdict: ChangeVerdict, now: Int64, release: String, in database: Database
  ) throws {
    var settings = try settings(in: database)
    for change in verdict.changes where change.effect == .evolve {
      settings[change.key] = change.new
    }
    try store(settings, in: database)
    try StoredDefinitions.append(
      JobDefinition(settings), now: now, release: release, in: database)
    let history = try StoredDefinitions(in: database).history
    let layout = job.continuing(history).stateLayout
    try Generation(try Generation.live(in: database), layout)
      .alterColumns(for: history.newest, in: database)
    if verdict.rendersAgain { try renderWindowsAgain(in: database) }
  }

  /// Makes every window's object dirty.
  static func renderWindowsAgain(in database: Database) throws {
    try database.execute(
      sql: "UPDATE outputs SET revision = revision + 1 WHERE kind = 'window'")
  }
}

extension Generation {
  /// Brings the table's columns to this layout: those of measures that are gone are dropped, also
  /// where one of another meaning bears the name. Those of new ones are added, NULL in each row.
  ///
  /// - Parameter definition: The one that takes effect; measures that begin in it are new.
  func alterColumns(for definition: Int64, in database: Database) throws {
    let kept = Set(
      stored.compactMap { name, role -> String? in
        if case .state(let column) = role, layout.startOfColumn[column] == definition {
          return nil
        }
        return name
      })
    let table = self.table.quotedDatabaseIdentifier
    for column in try database.columns(in: self.table) where !kept.contains(column.name) {
      try database.execute(
        sql: "ALTER TABLE \(table) DROP COLUMN \(column.name.quotedDatabaseIdentifier)")
    }
    for (index, column) in layout.columns.enumerated()
    where layout.startOfColumn[index] == definition {
      try database.execute(
        sql: """
          ALTER TABLE \(table) ADD COLUMN \(column.name.quotedDatabaseIdentifier) \
          \(column.type.sqlType)
          """)
    }
  }
}
