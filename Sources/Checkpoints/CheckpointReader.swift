internal import GRDB
internal import Glibc
package import Jobs
package import Offsets
package import Tables
package import Windows

/// A second, read-only connection to a checkpoint: for the publisher beside a run, and for `status`
/// and `show` from any process.
package final class CheckpointReader {
  package let path: String
  let job: Job?
  private(set) var queue: DatabaseQueue
  /// The file's version where it is read without locks; see ``open(_:)``.
  private var unlockedVersion: FileVersion?
  private(set) var partitions: [Int64: PartitionID] = [:]

  /// - Parameters:
  ///   - job: Whose checkpoint it must be; nil inside a run, which has made sure.
  ///   - leavesNoFiles: Whether a file without the log's two beside it, as a copy is, is read
  ///     without making them.
  /// - Throws: ``CheckpointError`` with code `noCheckpoint` when there is no file, else as for
  ///   ``Checkpoint``.
  package init(
    path: String, job: Job? = nil, leavesNoFiles: Bool = false
  ) throws(CheckpointError) {
    self.path = path
    self.job = job
    (queue, unlockedVersion) =
      leavesNoFiles && Self.isAlone(path) ? try Self.openUnlocked(path) : try Self.open(path)
    try read { database in
      guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else {
        throw CheckpointError(.foreign(reason: "its application_id is different"), path: path)
      }
      if try Checkpoint.migrator.hasBeenSuperseded(database) {
        throw CheckpointError(.newer, path: path)
      }
      if let job { try Checkpoint.confirm(job, in: database, path) }
    }
  }

  /// Opens the file for reading, beside a run as well.
  ///
  /// SQLite needs the log's two files for that, which runs leave behind, or the right to make them.
  /// A file without them, in a folder that may not be written to, is read as one that nobody
  /// changes, which ``read(_:)`` makes sure of. Never beside a log that holds something.
  private static func open(
    _ path: String
  ) throws(CheckpointError) -> (DatabaseQueue, unlockedVersion: FileVersion?) {
    guard try isRegularFile(path) else { throw CheckpointError(.noCheckpoint, path: path) }
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    do {
      return (try DatabaseQueue(path: path, configuration: configuration), nil)
    } catch {
      let code = (error as? DatabaseError)?.resultCode
      let isRefused = code == .SQLITE_CANTOPEN || code == .SQLITE_READONLY
      guard isRefused else { throw CheckpointError(wrapping: error, path: path) }
      for ending in ["", "-wal", "-shm"] where access(path + ending, R_OK) != 0 && errno == EACCES {
        throw CheckpointError(errno: EACCES, path: path + ending)
      }
      guard isMissingOrEmpty(path + "-wal") else {
        throw CheckpointError(wrapping: error, path: path)
      }
      return try openUnlocked(path)
    }
  }

  private static func isAlone(_ path: String) -> Bool {
    ["-wal", "-shm"].allSatisfy { FileIdentity(path: path + $0) == nil }
  }

  /// As a file that nobody changes.
  private static func openUnlocked(
    _ path: String
  ) throws(CheckpointError) -> (DatabaseQueue, unlockedVersion: FileVersion?) {
    guard try isRegularFile(path), let version = FileVersion(path: path) else {
      throw CheckpointError(.noCheckpoint, path: path)
    }
    var configuration = Configuration()
    configuration.readonly = true
    do {
      return (
        try DatabaseQueue(path: unlockedURI(path), configuration: configuration), version
      )
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  /// - SeeAlso: sqlite.org/uri.html, "immutable=1".
  private static func unlockedURI(_ path: String) -> String {
    let plain = Set("/-._~".utf8)
    let escaped = path.utf8.map { byte in
      let isPlain =
        plain.contains(byte) || (byte < 0x80 && Character(UnicodeScalar(byte)).isLetter)
        || (0x30...0x39).contains(byte)
      let digits = String(byte, radix: 16)
      return isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + digits
    }
    return "file:\(escaped.joined())?immutable=1"
  }

  func read<Result>(_ body: (Database) throws -> Result) throws(CheckpointError) -> Result {
    for _ in 0..<10 {
      guard let version = unlockedVersion else { break }
      let result = Swift.Result { try queue.read(body) }
      if FileVersion(path: path) == version && isMissingOrEmpty(path + "-wal") {
        do { return try result.get() } catch { throw CheckpointError(wrapping: error, path: path) }
      }
      // A run has begun or ended meanwhile. What it changed is read anew.
      (queue, unlockedVersion) = try Self.open(path)
    }
    guard unlockedVersion == nil else {
      throw CheckpointError(
        .busy(reason: "it keeps changing, and this process cannot read it during a run"),
        path: path)
    }
    do {
      return try queue.read(body)
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  // MARK: - What is to be published

  /// Outputs whose newest revision the store has not acknowledged, in the order of their keys.
  package func dirtyOutputs() throws(CheckpointError) -> [Output] {
    try outputs(where: "revision > published_revision")
  }

  /// As ``dirtyOutputs()``, without the manifest, which is put when all others stand.
  package func dirtyResults() throws(CheckpointError) -> [Output] {
    try outputs(where: "revision > published_revision AND kind <> 'manifest'")
  }

  /// Outputs at the job's place of which the store has acknowledged a revision, and no request is
  /// on its way. Of those of single batches the newest hundred are enough to know the place by.
  package func publishedOutputs() throws(CheckpointError) -> [Output] {
    try outputs(
      where: """
        published_revision > 0 AND etag IS NOT NULL AND checks_left = 0 AND place IS NULL AND (
          kind <> 'batch' OR number > (SELECT max(batch) FROM batches) - 100)
        """)
  }

  /// Outputs that the store must be asked about.
  package func unsettledOutputs() throws(CheckpointError) -> [Output] {
    try outputs(where: "checks_left > 0")
  }

  private func outputs(where condition: String) throws(CheckpointError) -> [Output] {
    try read { try outputs(where: condition, in: $0) }
  }

  func outputs(
    where condition: String, _ arguments: StatementArguments = StatementArguments(),
    limit: Int = .max, in database: Database
  ) throws -> [Output] {
    try database.checkedRows(
      of: "outputs",
      """
      SELECT \(Self.outputColumns) FROM outputs
      WHERE \(condition) ORDER BY object_key LIMIT \(limit)
      """, arguments: arguments, identifiedBy: 1, output)
  }

  static let outputColumns =
    "object_key, kind, number, revision, published_revision, etag, checks_left"

  /// - Parameter row: Begins with ``outputColumns``.
  func output(_ row: CheckedRow) throws -> Output {
    let kindName = try row.text(1)
    guard let kind = Output.Kind(rawValue: kindName) else {
      throw row.fault(1, "is not a kind of object")
    }
    let revision = try row.number(3)
    _ = try row.integer(6, in: 0...2)
    let (key, number) = (try row.objectKey(0), try number(row, 2, kind))
    guard Self.isKey(key, of: kind, number: number) else {
      throw row.fault(2, "is \(number), whose object has another key")
    }
    return Output(
      objectKey: key, kind: kind, number: number, revision: revision,
      publishedRevision: try row.integer(4, in: 0...revision), etag: try row.optionalText(5))
  }

  /// The window or the batch that an object shows.
  private func number(_ row: CheckedRow, _ column: Int32, _ kind: Output.Kind) throws -> Int64 {
    switch kind {
    case .window: try window(row, column).number
    case .batch, .rejects, .manifest: try row.number(column)
    }
  }

  /// Whether a key can be that of a batch's object. Windows are looked at with their job, when they
  /// are rendered; keys of rejects may be an older release's.
  private static func isKey(_ key: String, of kind: Output.Kind, number: Int64) -> Bool {
    let named = key.split(separator: "/").compactMap { part in
      part.hasPrefix("batch=") ? Int64(part.dropFirst(6).prefix { $0.isNumber }) : nil
    }
    switch kind {
    case .window: return true
    case .batch: return named == [number] || (named.isEmpty && key.hasPrefix("part-0."))
    case .rejects: return named == [number]
    case .manifest: return key == ObjectKeys.manifest
    }
  }

  /// A window's start, which only the job tells all about.
  func window(_ row: CheckedRow, _ column: Int32) throws -> Window {
    if let job { return try row.window(column, of: job.window) }
    return Window(try row.integer(column))
  }

  /// The newest committed content of an output and its revision, read in one transaction.
  package func content(of output: Output, job: Job) throws(CheckpointError) -> (
    revision: Int64, content: OutputContent
  ) {
    try read { database in
      let newest = try database.checkedRow(
        of: "outputs", "SELECT object_key, revision, number FROM outputs WHERE object_key = ?",
        arguments: [output.objectKey],
        identifiedBy: 1
      ) { row in
        guard output.kind == .window else {
          return (revision: try row.number(1), number: try row.number(2))
        }
        let window = try row.window(2, of: job.window)
        guard ObjectKeys.window(window, of: job) == output.objectKey else {
          throw row.fault(2, "is \(window.number), whose object has another key")
        }
        return (revision: try row.number(1), number: window.number)
      }
      guard let newest else {
        throw RowFault(table: "outputs", row: "'\(output.objectKey)'", problem: "is gone")
      }
      let content: OutputContent =
        switch output.kind {
        case .window:
          try windowContent(Window(newest.number), job: job, in: database)
        case .batch:
          try bytes(of: output, in: database)
        case .rejects:
          .rejects(try rejects(ofBatch: newest.number, in: database))
        case .manifest:
          throw RowFault(
            table: "outputs", row: "'\(output.objectKey)'", problem: "is the manifest, no result")
        }
      return (newest.revision, content)
    }
  }

  /// A window that has an object has groups, and its panes' lineage tells of as many records as
  /// they hold.
  private func windowContent(
    _ window: Window, job: Job, in database: Database
  ) throws -> OutputContent {
    let panes = try panes(of: window, job: job, in: database)
    guard let first = panes.first?.pane else {
      throw RowFault(table: "windows", row: "\(window.number)", problem: "is gone")
    }
    let generation = Generation(try Generation.live(in: database), job.stateLayout)
    let table = try generation.table(of: panes.map(\.pane), job.selectInputSchema, in: database)
    var lineage: [PartitionID: Lineage] = [:]
    for (pane, recordCount) in panes {
      let ofPane = try self.lineage(of: pane, in: database)
      let told = ofPane.reduce(0) { $0 + $1.recordCount }
      guard told == recordCount else {
        throw RowFault(
          table: "windows", row: "\(pane.number)",
          problem: "records is \(recordCount), and window_offsets tells of \(told)")
      }
      for part in ofPane { lineage[part.partition] = part.merged(with: lineage[part.partition]) }
    }
    guard table.rowCount > 0 else {
      throw RowFault(
        table: generation.table, row: "\(first.number)",
        problem: "is gone: the window has no group")
    }
    return .window(table, lineage: lineage.values.sorted { $0.partition < $1.partition })
  }

  private func bytes(of output: Output, in database: Database) throws -> OutputContent {
    let content = try database.checkedRow(
      of: "results",
      "SELECT object_key, byte_count, bytes, row_count FROM results WHERE object_key = ?",
      arguments: [output.objectKey], identifiedBy: 1
    ) { row in
      let bytes = try row.bytes(2)
      guard try row.count(1) == bytes.count else {
        throw row.fault(1, "is \(try row.count(1)), and there are \(bytes.count) bytes")
      }
      return OutputContent.bytes(bytes, rowCount: row.isNull(3) ? nil : try row.count(3))
    }
    guard let content else {
      throw RowFault(table: "results", row: "'\(output.objectKey)'", problem: "is gone")
    }
    return content
  }

  /// The number that the next committed batch gets.
  package func nextBatch() throws(CheckpointError) -> Int64 {
    try read(Checkpoint.nextBatch)
  }

  /// Of some batches those that are committed, still in the history, and had no rejects.
  package func batchesWithoutRejects(
    among batches: [Int64]
  ) throws(CheckpointError) -> Set<Int64> {
    try read { database in
      var found: Set<Int64> = []
      for batch in batches {
        let rejected = try database.checkedRow(
          of: "batches", "SELECT batch, rejected FROM batches WHERE batch = ?",
          arguments: [batch], identifiedBy: 1
        ) { try $0.count(1) }
        if rejected == 0 { found.insert(batch) }
      }
      return found
    }
  }

  /// The keys of every object of the job at its place, those of evicted windows included.
  package func objectKeys(of job: Job) throws(CheckpointError) -> [String] {
    try read { database in
      let keys = try database.checkedRows(
        of: "outputs", "SELECT object_key FROM outputs", identifiedBy: 1
      ) { try $0.objectKey(0) }
      let evicted = try Checkpoint.evictedInPlace(of: job, in: database)
      return keys + evicted.map { ObjectKeys.window($0, of: job) }
    }
  }

  /// What the job file means to change of the state; empty when it fits. `show` renders with the
  /// file at hand.
  package func changes(for job: Job) throws(CheckpointError) -> [JobChange] {
    try read { database in
      JobChange.compare(old: try Checkpoint.settings(in: database), new: job.canonicalSettings)
    }
  }

  /// Why the next run of the job would refuse its file; nil where it would not.
  package func refusal(of job: Job) throws(CheckpointError) -> CheckpointError? {
    let refused = try changes(for: job).filter(\.effect.isRefused)
    return refused.isEmpty ? nil : CheckpointError(.jobChanged(refused), path: path)
  }

  /// The keys and measures of a window's groups, sorted by key, NULL first.
  package func table(of window: Window, job: Job) throws(CheckpointError) -> Tables.Table {
    try read { database in
      let panes = try panes(of: window, job: job, in: database).map(\.pane)
      let generation = Generation(try Generation.live(in: database), job.stateLayout)
      return try generation.table(of: panes, job.selectInputSchema, in: database)
    }
  }

  /// The panes of a window that hold state, and their records.
  private func panes(
    of window: Window, job: Job, in database: Database
  ) throws -> [(pane: Pane, recordCount: Int64)] {
    let generation = try Generation.areKnown(in: database) ? ", generation" : ""
    let live = try Generation.live(in: database)
    return try job.window.panes(of: window).compactMap { pane in
      try database.checkedRow(
        of: "windows", "SELECT window, records\(generation) FROM windows WHERE window = ?",
        arguments: [pane.number], identifiedBy: 1
      ) { row in
        if !generation.isEmpty { _ = try row.integer(2, in: live...live) }
        return (pane: try row.pane(0, of: job.window), recordCount: try row.count(1))
      }
    }
  }

  /// What an object's window came from; nil where the window holds nothing.
  package func lineage(of window: Window, job: Job) throws(CheckpointError) -> WindowLineage? {
    try read { database in
      let panes = try panes(of: window, job: job, in: database).map(\.pane)
      guard !panes.isEmpty else { return nil }
      var partitions: [PartitionID: Lineage] = [:]
      var (first, last): (Int64?, Int64?) = (.max, nil)
      let known = try database.columns(in: "windows").map(\.name).contains("last_batch")
      let columns = known ? "first_batch, last_batch" : "NULL, NULL"
      for pane in panes {
        for part in try lineage(of: pane, in: database) {
          partitions[part.partition] = part.merged(with: partitions[part.partition])
        }
        try database.forEachRow(
          of: "windows", "SELECT window, \(columns) FROM windows WHERE window = ?",
          arguments: [pane.number], identifiedBy: 1
        ) { row in
          // One pane of which it is not known leaves the window without.
          first = row.isNull(1) ? nil : try first.map { min($0, try row.number(1)) }
          if !row.isNull(2) { last = max(last ?? 0, try row.number(2)) }
        }
      }
      return WindowLineage(
        partitions: partitions.values.sorted { $0.partition < $1.partition }, firstBatch: first,
        lastBatch: last)
    }
  }

  private func lineage(of pane: Pane, in database: Database) throws -> [Lineage] {
    // Looked up before, as one query does not begin inside another.
    try loadPartitions(database)
    var total: Int64 = 0
    return try database.checkedRows(
      of: "window_offsets",
      """
      SELECT window, partition_id, smallest_offset, largest_offset, records
      FROM window_offsets WHERE window = ?
      """,
      arguments: [pane.number],
      identifiedBy: 2
    ) { row in
      let partition = try row.partition(1, in: partitions)
      let (smallest, largest, records) = (try row.count(2), try row.count(3), try row.count(4))
      guard smallest <= largest else {
        throw row.fault(3, "is \(largest), below smallest_offset \(smallest)")
      }
      let (sum, isTooLarge) = total.addingReportingOverflow(records)
      guard !isTooLarge else {
        throw row.fault(4, "is \(records), so that the window's records have no sum")
      }
      total = sum
      return Lineage(
        partition: partition, smallestOffset: smallest, largestOffset: largest, recordCount: records
      )
    }.sorted { $0.partition < $1.partition }
  }

  /// The names of a partition never change, so they are read where one is new.
  func loadPartitions(_ database: Database) throws {
    let count =
      try Int.fetchOne(database.cachedStatement(sql: "SELECT count(*) FROM partitions")) ?? 0
    guard count != partitions.count else { return }
    try database.forEachRow(
      of: "partitions", "SELECT source, topic, partition, partition_id FROM partitions",
      identifiedBy: 3
    ) { row in partitions[try row.integer(3)] = try row.partition(at: 0) }
  }

  /// An object of rejects has at least one.
  func rejects(ofBatch batch: Int64, in database: Database) throws -> [StoredReject] {
    let rejects = try keptRejects(ofBatch: batch, in: database)
    guard !rejects.isEmpty else {
      throw RowFault(table: "rejects", row: "of batch \(batch)", problem: "is gone")
    }
    return rejects
  }

  /// In the order of their records; none where they are not kept.
  func keptRejects(ofBatch batch: Int64, in database: Database) throws -> [StoredReject] {
    try loadPartitions(database)
    return try database.checkedRows(
      of: "rejects",
      """
      SELECT \(Self.rejectColumns) FROM rejects WHERE batch = ?
      ORDER BY partition_id, offset, record
      """,
      arguments: [batch], identifiedBy: 3, reject
    ).sorted { ($0.partition, $0.offset, $0.record) < ($1.partition, $1.offset, $1.record) }
  }

  /// Objects of a former place or format, to be deleted when nothing is dirty any more.
  package func retiredObjects() throws(CheckpointError) -> [RetiredObject] {
    try read(Checkpoint.retiredObjects)
  }

  /// Bytes of results that the store does not have yet.
  package func pendingByteCount() throws(CheckpointError) -> Int64 {
    try read { database in
      var total: Int64 = 0
      try database.forEachRow(
        of: "results",
        """
        SELECT object_key, results.byte_count FROM results JOIN outputs USING (object_key)
        WHERE revision > published_revision
        """, identifiedBy: 1
      ) { row in
        // SQLite's own limit of a value is below 2^31 bytes.
        total += try row.integer(1, in: 0...1 << 31)
      }
      return total
    }
  }
}

/// One object of a job as the checkpoint knows it.
package struct Output: Sendable, Hashable {
  package enum Kind: String, Sendable { case window, batch, rejects, manifest }
  package let objectKey: String
  package let kind: Kind
  /// The window, or for the other kinds a batch.
  package let number: Int64
  package let revision: Int64
  package let publishedRevision: Int64
  /// The store's, of the published revision.
  package let etag: String?

  package init(
    objectKey: String, kind: Kind, number: Int64, revision: Int64, publishedRevision: Int64,
    etag: String?
  ) {
    self.objectKey = objectKey
    self.kind = kind
    self.number = number
    self.revision = revision
    self.publishedRevision = publishedRevision
    self.etag = etag
  }
}

package enum OutputContent: Sendable {
  case window(Tables.Table, lineage: [Lineage])
  case bytes([UInt8], rowCount: Int64?)
  case rejects([StoredReject])

  /// Nil where an older release made it.
  package var rowCount: Int64? {
    switch self {
    case .window(let table, _): Int64(table.rowCount)
    case .bytes(_, let rowCount): rowCount
    case .rejects(let rejects): Int64(rejects.count)
    }
  }
}

/// Which offsets of a partition contributed to an object. Both ends are included.
package struct Lineage: Sendable, Equatable {
  package let partition: PartitionID
  package let smallestOffset: Offset
  package let largestOffset: Offset
  package let recordCount: Int64

  package init(
    partition: PartitionID, smallestOffset: Offset, largestOffset: Offset, recordCount: Int64
  ) {
    self.partition = partition
    self.smallestOffset = smallestOffset
    self.largestOffset = largestOffset
    self.recordCount = recordCount
  }

  /// What both are of; the same partition's.
  fileprivate func merged(with other: Lineage?) -> Lineage {
    guard let other else { return self }
    return Lineage(
      partition: partition, smallestOffset: min(smallestOffset, other.smallestOffset),
      largestOffset: max(largestOffset, other.largestOffset),
      recordCount: recordCount + other.recordCount)
  }

  /// A JSON array with an object per partition, as objects carry it.
  package static func jsonText(_ lineage: [Lineage]) -> String { RangesText.format(lineage) }
}

/// Which offsets and which batches a window came from: the bounds of both.
package struct WindowLineage: Sendable, Equatable {
  package let partitions: [Lineage]
  /// Nil where a batch of an older release was one of them.
  package let firstBatch: Int64?
  /// Nil where no batch counted a record since.
  package let lastBatch: Int64?
}

package struct StoredReject: Sendable, Equatable {
  /// Whether nothing is wrong with the record but that it came late.
  package var isLate: Bool { Reject.Reason(rawValue: reason)?.isFault == false }

  package let batch: Int64
  package let partition: PartitionID
  package let offset: Offset
  package let record: Int
  package let reason: String
  package let field: String?
  package let raw: [UInt8]?
  package let key: [UInt8]?
  package let timestampMilliseconds: Int64?
  package let headers: String?

  package init(
    batch: Int64, partition: PartitionID, offset: Offset, record: Int, reason: String,
    field: String?, raw: [UInt8]?, key: [UInt8]?, timestampMilliseconds: Int64?, headers: String?
  ) {
    self.batch = batch
    self.partition = partition
    self.offset = offset
    self.record = record
    self.reason = reason
    self.field = field
    self.raw = raw
    self.key = key
    self.timestampMilliseconds = timestampMilliseconds
    self.headers = headers
  }
}

package struct RetiredObject: Sendable, Equatable {
  package let place: String
  package let objectKey: String
  /// As we last published it; nil where no acknowledgement is known.
  package let etag: String?

  package init(place: String, objectKey: String, etag: String?) {
    self.place = place
    self.objectKey = objectKey
    self.etag = etag
  }
}
