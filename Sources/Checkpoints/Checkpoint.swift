internal import GRDB
internal import GRDBSQLite
internal import Glibc
package import Jobs
package import Offsets
internal import Tables
package import Windows

/// A job's checkpoint, opened for writing by the one run that holds its lock: progress, window
/// state, outputs, rejects, history.
///
/// Every change is one SQLite transaction, synced before the call returns (WAL with `synchronous =
/// FULL`).
/// - SeeAlso: docs/design.md, "The checkpoint"; sqlite.org/pragma.html#pragma_synchronous.
package final class Checkpoint {
  package let path: String
  /// As the checkpoint goes on with it: see `Job.continuing(_:)`.
  package private(set) var job: Job
  /// The number of the job's definition, which panes that begin now are told.
  private(set) var definition: Int64 = 1
  private var history: DefinitionHistory?
  var partitions = StoredPartitions()
  /// Of every partition ever met.
  package var ledgers: [PartitionID: OffsetLedger] { partitions.ledgers }
  /// Of the newest message that was read of each partition.
  package var fingerprints: [PartitionID: Fingerprint] { partitions.fingerprints }
  /// The number that the next committed batch gets.
  package internal(set) var nextBatch: Int64 = 1
  /// The batch that is planned and not committed: by a dead run, or stored with this run's last
  /// commit. A gap makes it void.
  package internal(set) var inFlight: BatchPlan?
  /// Backfill requests that are not done, in the order in which their batches are taken.
  package internal(set) var backfills: [BackfillRequest] = []
  /// The one that the newest batch has left.
  package internal(set) var cutoff = Cutoff()
  /// The newest time of each partition's records, where the job refuses late ones.
  package var newestTimes: [PartitionID: Int64] { partitions.newestTimes }
  /// Whether an incident of rejects is open, which a commit may close.
  var hasOpenRejects = false
  /// What changed in the job file since the last run and took effect now.
  package private(set) var appliedChanges: [JobChange] = []
  /// Objects of evicted windows that such a change leaves where they are.
  package private(set) var leftObjectCount = 0
  /// Whether the file was made just now.
  package let isNew: Bool

  let queue: DatabaseQueue
  /// Where the state is, for jobs that keep state.
  private(set) var generation: Generation?
  private let lock: RunLock
  /// The files as they were opened, by path.
  private let files: [String: FileIdentity]
  private let step: @Sendable () -> Void

  /// `FOLDER/NAME.sqlite`
  package static func path(ofJob name: String, folder: String) -> String {
    "\(folder)/\(name).sqlite"
  }
  /// `FOLDER/NAME.lock`
  package static func lockPath(ofJob name: String, folder: String) -> String {
    "\(folder)/\(name).lock"
  }

  /// Takes the job's lock, opens its checkpoint or makes it, brings its schema up to date and holds
  /// the job file against it.
  ///
  /// - Parameters:
  ///   - folder: Made when missing.
  ///   - mode: The rights of files that are made; those that are there keep theirs.
  ///   - holder: One line about this process for whoever finds the lock taken.
  ///   - now: Milliseconds since 1970 UTC; only for the columns that tell a person when.
  ///   - step: Called when something has become durable, for tests that end the process there.
  /// - Throws: ``CheckpointError``; nothing on disk has changed then.
  package init(
    job: Job, folder: String, mode: UInt32 = 0o600, holder: String, now: Int64, release: String,
    step: @escaping @Sendable () -> Void = {}
  ) throws(CheckpointError) {
    self.job = job
    self.step = step
    path = Self.path(ofJob: job.name, folder: folder)
    try makeFolder(folder)
    if let name = networkFileSystem(at: folder) {
      throw CheckpointError(.networkFileSystem(name: name), path: folder)
    }
    lock = try RunLock(
      path: Self.lockPath(ofJob: job.name, folder: folder), holder: holder, mode: mode)
    step()
    isNew = try !isRegularFile(path)
    if isNew {
      try Self.clearLeftovers(path)
      try Self.make(path, job, mode: mode, now: now, release: release)
      step()
    }
    queue = try Self.open(path)
    let checkpointPath = path
    files = Self.files(path)
    do {
      try prepareGeneration()
      try bind(now: now, release: release)
      try continueHistory()
      try load()
    } catch {
      throw CheckpointError(wrapping: error, path: checkpointPath)
    }
  }

  /// SQLite would take the log of a checkpoint that was moved away for the new one's. Runs leave an
  /// empty one behind, which holds nothing.
  static func clearLeftovers(_ path: String) throws(CheckpointError) {
    for ending in ["-wal", "-journal"] where !isMissingOrEmpty(path + ending) {
      throw CheckpointError(.leftover, path: path + ending)
    }
    for ending in ["-wal", "-journal", "-shm"] { unlink(path + ending) }
  }

  /// Builds the file under another name and renames it: a checkpoint is whole from the instant it
  /// exists, and an empty file is never one.
  ///
  /// - Parameters:
  ///   - heritage: What the new state takes along from one before it.
  ///   - clearPlace: Called when the new file is whole, before it takes its place.
  static func make(
    _ path: String, _ job: Job, mode: UInt32, now: Int64, release: String,
    heritage: Heritage = Heritage(), clearPlace: () throws(CheckpointError) -> Void = {}
  ) throws(CheckpointError) {
    let unfinished = path + ".new"
    func removeUnfinished() {
      for ending in ["", "-journal", "-wal", "-shm"] { unlink(unfinished + ending) }
    }
    removeUnfinished()
    do {
      guard let descriptor = try makeFile(unfinished, mode: mode) else {
        throw CheckpointError(.notRegular(kind: "a folder"), path: unfinished)
      }
      Glibc.close(descriptor)
      try fill(unfinished, job, now: now, release: release, heritage)
      // The log was merged and its file is gone; should one be left, it must hold nothing.
      guard isMissingOrEmpty(unfinished + "-wal") else {
        throw CheckpointError(
          .inputOutput(reason: "its log could not be merged into it"), path: unfinished)
      }
      for ending in ["-wal", "-shm"] { unlink(unfinished + ending) }
      try syncFile(unfinished)
      try clearPlace()
      guard rename(unfinished, path) == 0 else { throw CheckpointError(errno: errno, path: path) }
      let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
      try syncFile(folder, isFolder: true)
    } catch {
      // What is left would take the room that a full disk needs.
      removeUnfinished()
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  private static func fill(
    _ path: String, _ job: Job, now: Int64, release: String, _ heritage: Heritage
  ) throws {
    // With its write-ahead log from the first: were the finished file changed to it, a kill could
    // leave a rollback journal, which a look at the file without writing cannot undo.
    let queue = try DatabaseQueue(path: path)
    // NORMAL: what merges the log syncs, and before the file is renamed nobody misses it.
    try queue.inDatabase { database in
      // Only in an empty file, and where state goes: each page has a note elsewhere then.
      if job.lateness?.retentionMilliseconds != nil {
        try database.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
      }
      try turnOnWriteAheadLog(database, path)
      try database.execute(sql: "PRAGMA synchronous = NORMAL")
    }
    try migrator.migrate(queue)
    try queue.write { database in
      try database.execute(
        sql: """
          INSERT INTO checkpoint (id, job, created_by, created_at, next_batch, checkpoint_id)
          VALUES (1, ?, ?, ?, 1, lower(hex(randomblob(16))))
          """,
        arguments: [job.name, release, TimestampText.format(milliseconds: now)])
      if job.window.keepsState { try Generation(1, job.stateLayout).create(in: database) }
      try store(job.canonicalSettings, in: database)
      try note(BatchSettings(job), assuming: nil, in: database)
      try StoredDefinitions.append(job.definition, now: now, release: release, in: database)
      try heritage.store(in: database)
    }
    // Closing would merge it too, but says nothing where the disk is full: the file that was
    // renamed then was damaged for good.
    try queue.inDatabase { try mergeLog($0) }
    try queue.close()
  }

  /// Moves all of the log into the file and empties it.
  static func mergeLog(_ database: Database) throws {
    // sqlite.org/pragma.html#pragma_wal_checkpoint: whether it was kept from it, pages in the log,
    // pages moved; both 0 after TRUNCATE.
    let row = try Row.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
    guard let row, row[0] == 0 as Int64, row[1] == 0 as Int64 else {
      throw DatabaseError(resultCode: .SQLITE_IOERR, message: "the log could not be merged")
    }
  }

  static func open(_ path: String) throws(CheckpointError) -> DatabaseQueue {
    do {
      // No journalMode: GRDB turns the log on by making a table and dropping it, in every run.
      var configuration = Configuration()
      configuration.busyMode = .timeout(10)
      configuration.label = "checkpoint"
      // The database is looked at before GRDB may write to it: one that is not ours, or newer, must
      // stay as it is.
      try refuseUnusable(path)
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      try queue.inDatabase { database in
        // The file has its log from the first; a copy of it may have lost it (VACUUM INTO).
        try turnOnWriteAheadLog(database, path)
        try database.execute(sql: "PRAGMA synchronous = FULL")
        try keepLog(database)
        // The log is merged after 16 MiB instead of 4: a batch that touches 200 of a million groups
        // writes 200 pages, which then are merged less often.
        try database.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
        guard try Int.fetchOne(database, sql: "PRAGMA synchronous") == 2 else {
          throw CheckpointError(
            .unusableFolder(reason: "commits cannot be synced (PRAGMA synchronous)"), path: path)
        }
      }
      try migrator.migrate(queue)
      return queue
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  private static func turnOnWriteAheadLog(_ database: Database, _ path: String) throws {
    let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
    guard mode == "wal" else {
      throw CheckpointError(
        .unusableFolder(
          reason: "SQLite's write-ahead log does not work here (journal_mode \(mode ?? "?"))"),
        path: path)
    }
  }

  /// Leaves `-wal` and `-shm` behind when the file is closed, the log empty: whoever may only read
  /// the folder cannot make them, and SQLite does not read without them.
  private static func keepLog(_ database: Database) throws {
    var isKept: Int32 = 1
    let code = sqlite3_file_control(
      database.sqliteConnection, nil, SQLITE_FCNTL_PERSIST_WAL, &isKept)
    guard code == SQLITE_OK else {
      throw DatabaseError(resultCode: ResultCode(rawValue: code), message: "the log cannot be kept")
    }
    // With any limit closing empties the log; this one is never met by the merge at 16 MiB.
    try database.execute(sql: "PRAGMA journal_size_limit = 1073741824")
  }

  private static func refuseUnusable(_ path: String) throws {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.read { database in
      guard try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") ?? 0 > 0 else {
        throw CheckpointError(.corrupt(reason: "it is empty"), path: path)
      }
      let identifier = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
      guard identifier == applicationID else {
        throw CheckpointError(.foreign(reason: "application_id \(identifier)"), path: path)
      }
      if try migrator.hasBeenSuperseded(database) { throw CheckpointError(.newer, path: path) }
    }
  }

  private func prepareGeneration() throws {
    guard job.window.keepsState else { return }
    generation = try queue.inDatabase { database in
      let generation = Generation(try Generation.live(in: database), job.stateLayout)
      generation.register(in: database)
      return generation
    }
  }

  /// Takes in what former definitions of the job mean for this one.
  private func continueHistory() throws {
    definition = try queue.read(StoredDefinitions.newest)
    guard definition > 1 else { return }
    history = try queue.read { try StoredDefinitions(in: $0) }.history
    job = continued(job)
    try prepareGeneration()
  }

  /// The job, or one that differs from it in how it runs, as this checkpoint goes on with it.
  package func continued(_ job: Job) -> Job { history.map(job.continuing) ?? job }

  /// Holds the job file against what the state was built from, and applies what may change.
  private func bind(now: Int64, release: String) throws {
    let settings = job.canonicalSettings
    let batchSettings = BatchSettings(job)
    let (stored, noted) = try queue.read { database in
      try Self.confirm(job, in: database, path)
      return (try Self.settings(in: database), try Self.newestBatchSettings(in: database))
    }
    let assumed = BatchSettings(assuming: job, stored: stored)
    guard stored != settings else {
      guard noted != batchSettings else { return }
      return try write { try Self.note(batchSettings, assuming: assumed, in: $0) }
    }
    if try queue.read(Self.isUntouched) {
      return try beginAnew(with: settings, stored: stored, now: now, release: release)
    }
    let changes = JobChange.compare(old: stored, new: settings)
    let refused = changes.filter(\.effect.isRefused)
    guard refused.isEmpty else { throw CheckpointError(.jobChanged(refused), path: path) }
    try write { database in
      if changes.contains(where: { $0.effect == .publishAgain }) {
        try moveOutputs(in: database, from: stored)
      } else if changes.contains(where: { $0.effect == .renderAgain }) {
        try Self.renderWindowsAgain(in: database)
      }
      if changes.contains(where: { $0.effect == .nextBatch }) {
        try StoredDefinitions.append(job.definition, now: now, release: release, in: database)
      }
      // Also where all changes are harmless: a topic that was added is one that may not be taken
      // away.
      try Self.store(settings, in: database)
      try Self.note(batchSettings, assuming: assumed, in: database)
    }
    appliedChanges = changes
  }

  /// - Throws: Where the state is another job's.
  static func confirm(_ job: Job, in database: Database, _ path: String) throws {
    let name = try jobName(in: database)
    guard name == job.name else { throw CheckpointError(.otherJob(name: name), path: path) }
  }

  /// Whose state this is.
  static func jobName(in database: Database) throws -> String {
    let name = try database.checkedRow(
      of: "checkpoint", "SELECT job FROM checkpoint", identifiedBy: 0
    ) { try $0.text(0) }
    guard let name else { throw RowFault(table: "checkpoint", row: "1", problem: "is not there") }
    return name
  }

  /// What the job file said when the state was last written, in canonical form.
  static func settings(in database: Database) throws -> [String: String] {
    var settings: [String: String] = [:]
    try database.forEachRow(
      of: "job_settings", "SELECT key, value FROM job_settings", identifiedBy: 1
    ) { row in
      settings[try row.text(0)] = try row.text(1)
    }
    return settings
  }

  static func store(_ settings: [String: String], in database: Database) throws {
    try database.execute(sql: "DELETE FROM job_settings")
    for (key, value) in settings.sorted(by: { $0.key < $1.key }) {
      try database.execute(sql: "INSERT INTO job_settings VALUES (?, ?)", arguments: [key, value])
    }
  }

  /// Every window's object gets its key at the new place or in the new format, and the old object
  /// is remembered for deletion.
  ///
  /// Objects of batches that are published and whose bytes are gone stay where they are: they
  /// cannot be made again. Bytes that wait go to the new place, but only in the format that they
  /// have. What stands on another server is left there: a delete would go to the wrong one.
  private func moveOutputs(in database: Database, from stored: [String: String]) throws {
    let waiting =
      try Int.fetchOne(
        database,
        sql:
          "SELECT count(*) FROM outputs JOIN results USING (object_key) WHERE revision > "
          + "published_revision"
      )
      ?? 0
    guard waiting == 0 || stored["output.format"] == job.output.format.rawValue else {
      throw CheckpointError(
        .resultsWait(count: waiting, format: stored["output.format"] ?? "?"), path: path)
    }
    let oldDestination = stored["output.to"] ?? ""
    let isSameServer = stored["output.s3.endpoint"] == job.canonicalSettings["output.s3.endpoint"]
    if !isSameServer {
      try database.execute(sql: "DELETE FROM retired_objects WHERE place LIKE 's3:%'")
    }
    func retire(_ key: String, etag: String?, for newKey: String) throws {
      // Also an object that no mark tells of: its run may have died between the put and the mark.
      guard isSameServer || oldDestination.hasPrefix("file:"),
        key != newKey || oldDestination != job.output.destination.text
      else { return }
      try database.execute(
        sql: "INSERT OR IGNORE INTO retired_objects (place, object_key, etag) VALUES (?, ?, ?)",
        arguments: [oldDestination, key, etag])
    }
    let windows = try database.checkedRows(
      of: "outputs",
      "SELECT object_key, number, \(Self.knownETag) FROM outputs WHERE kind = 'window'",
      identifiedBy: 1
    ) {
      (
        key: try $0.objectKey(0), window: try $0.window(1, of: job.window),
        etag: try $0.optionalText(2)
      )
    }
    for (oldKey, window, etag) in windows {
      let newKey = ObjectKeys.window(window, of: job)
      try retire(oldKey, etag: etag, for: newKey)
      try database.execute(
        sql: """
          UPDATE outputs SET object_key = ?, revision = revision + 1, published_revision = 0,
            etag = NULL, byte_count = NULL, checks_left = 0
          WHERE object_key = ?
          """,
        arguments: [newKey, oldKey])
    }
    leftObjectCount = try leaveEvicted(
      at: oldDestination, format: stored["output.format"] ?? "", in: database)
    let rejects = try database.checkedRows(
      of: "outputs", "SELECT object_key, \(Self.knownETag) FROM outputs WHERE kind = 'rejects'",
      identifiedBy: 1
    ) { (key: try $0.objectKey(0), etag: try $0.optionalText(1)) }
    for (key, etag) in rejects { try retire(key, etag: etag, for: key) }
    try retireManifest(
      at: oldDestination, isKept: !isSameServer && !oldDestination.hasPrefix("file:"), in: database)
    try database.execute(
      sql: "UPDATE outputs SET published_revision = 0, etag = NULL WHERE kind = 'rejects'")
    try Self.leaveBatches(
      at: Self.place(stored), for: Self.place(job.canonicalSettings), in: database)
    // Whoever goes back to a former place makes its objects current again, but for the manifest,
    // which tells of what they were.
    try database.execute(
      sql: """
        DELETE FROM retired_objects WHERE place = ? AND object_key IN (
          SELECT object_key FROM outputs WHERE kind <> 'manifest')
        """, arguments: [job.output.destination.text])
  }

  /// The ETag that an object has for certain: a put that got no mark, or is unsettled, may have
  /// made another.
  static let knownETag =
    "iif(revision = published_revision AND checks_left = 0, etag, NULL)"

  private func load() throws {
    try queue.read { database in
      nextBatch = try Self.nextBatch(in: database)
      partitions = try StoredPartitions(in: database, job: job)
      backfills = try Self.openBackfills(in: database, &partitions).map(\.request)
      inFlight = try Self.plannedBatch(in: database)
      cutoff = try Self.cutoff(in: database)
      hasOpenRejects = try Self.openIncidents(in: database, partitions).contains {
        $0.kind == .rejects
      }
    }
  }

  /// Above every committed batch, of which the oldest may have been deleted by hand.
  static func nextBatch(in database: Database) throws -> Int64 {
    let next = try database.checkedRow(
      of: "checkpoint",
      "SELECT next_batch, (SELECT max(batch) FROM batches) AS newest FROM checkpoint",
      identifiedBy: 0
    ) { row in
      let (next, newest) = (try row.number(0), row.isNull(1) ? 0 : try row.number(1))
      guard next > newest else {
        throw row.fault(0, "is \(next), and batch \(newest) is committed")
      }
      return next
    }
    guard let next else { throw RowFault(table: "checkpoint", row: "1", problem: "is not there") }
    return next
  }

  /// The batch that was planned and not committed when the file was last written.
  static func plannedBatch(in database: Database) throws -> BatchPlan? {
    let backfill = try StoredPartitions.knowsBackfills(database) ? "backfill" : "NULL AS backfill"
    let behind = try knowsCutoff(database) ? "behind" : "NULL AS behind"
    return try database.checkedRow(
      of: "in_flight", "SELECT batch, ranges, \(backfill), \(behind) FROM in_flight",
      identifiedBy: 0
    ) { row in
      BatchPlan(
        batch: try row.number(0), ranges: try row.ranges(1),
        backfill: row.isNull(2) ? nil : try row.number(2),
        behind: row.isNull(3) ? nil : try row.partitions(3))
    }
  }

  /// Notes for monitors that the run which began then left nothing to read or publish. This is no
  /// commit, and no result depends on it.
  package func noteUpToDate(at milliseconds: Int64) { lock.noteUpToDate(at: milliseconds) }

  /// When a run last made a backup, in milliseconds since 1970 UTC; nil where that is not known.
  package var backedUpAt: Int64? { lock.backedUp }

  /// Notes that a backup was made of what is committed. No result depends on it.
  package func noteBackup(at milliseconds: Int64) { lock.noteBackup(at: milliseconds) }

  /// Closes the file, its log merged, for a process that ends without unwinding. The lock is held
  /// on.
  package func close() { try? queue.close() }

  /// The database and its log's files as they stand.
  private static func files(_ path: String) -> [String: FileIdentity] {
    var files: [String: FileIdentity] = [:]
    for ending in ["", "-wal", "-shm"] { files[path + ending] = FileIdentity(path: path + ending) }
    return files
  }

  /// Whether the files that this run holds open are still those that the next one will find.
  private func confirmInPlace(_ database: Database) throws(CheckpointError) {
    try lock.confirmInPlace()
    for (path, identity) in files where FileIdentity(path: path) != identity {
      throw CheckpointError(.removed, path: path)
    }
    var hasMoved: Int32 = 0
    let code = sqlite3_file_control(
      database.sqliteConnection, nil, SQLITE_FCNTL_HAS_MOVED, &hasMoved)
    guard code == SQLITE_OK, hasMoved == 0 else { throw CheckpointError(.removed, path: path) }
  }

  /// A transaction of the run: everything in `body` or nothing.
  func write<Result>(_ body: (Database) throws -> Result) throws(CheckpointError) -> Result {
    do {
      let result = try queue.write { database in
        let result = try body(database)
        try confirmInPlace(database)
        return result
      }
      step()
      return result
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }
}

extension Job {
  /// Whether the job file names the partition's topic.
  func reads(_ partition: PartitionID) -> Bool {
    clusters.contains { $0.name == partition.source && $0.topics.contains(partition.topic) }
  }
}

extension CheckpointError {
  /// What SQLite or a closure of ours threw, told in the words of this module.
  init(wrapping error: any Error, path: String) {
    if let error = error as? CheckpointError {
      self = error
      return
    }
    if let fault = error as? RowFault {
      self.init(.corrupt(reason: fault.description), path: path)
      return
    }
    if let error = error as? RowDecodingError {
      self.init(.corrupt(reason: "\(error)"), path: path)
      return
    }
    guard let error = error as? DatabaseError else {
      self.init(.database("\(error)"), path: path)
      return
    }
    let reason = error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"
    switch error.resultCode {
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: self.init(.corrupt(reason: reason), path: path)
    case .SQLITE_FULL: self.init(.full(reason: reason), path: path)
    case .SQLITE_IOERR: self.init(.inputOutput(reason: reason), path: path)
    case .SQLITE_CANTOPEN where isFull(at: path): self.init(.full(reason: reason), path: path)
    case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM:
      self.init(.readOnly(reason: reason), path: path)
    case .SQLITE_BUSY, .SQLITE_LOCKED: self.init(.busy(reason: reason), path: path)
    default: self.init(.database(reason), path: path)
    }
  }
}
