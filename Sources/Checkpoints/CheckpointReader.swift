internal import Foundation
internal import GRDB
package import Jobs
package import Offsets
package import Tables
internal import Windows

/// A second, read-only connection to a checkpoint: for the publisher beside a run, and for `status` and `show` from any process.
package final class CheckpointReader {
  package let path: String
  private let queue: DatabaseQueue
  private var partitions: [Int64: PartitionID] = [:]

  /// - Throws: ``CheckpointError`` with code `noCheckpoint` when there is no file, else as for ``Checkpoint``.
  package init(path: String) throws(CheckpointError) {
    self.path = path
    guard FileManager.default.fileExists(atPath: path) else { throw CheckpointError(.noCheckpoint, path: path) }
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(10)
      queue = try DatabaseQueue(path: path, configuration: configuration)
      try queue.read { database in
        guard try Int32.fetchOne(database, sql: "PRAGMA application_id") == applicationID else {
          throw CheckpointError(.foreign(reason: "its application_id is another"), path: path)
        }
        if try Checkpoint.migrator.hasBeenSuperseded(database) { throw CheckpointError(.newer, path: path) }
      }
    } catch {
      throw CheckpointError(wrapping: error, path: path)
    }
  }

  func read<Result>(_ body: (Database) throws -> Result) throws(CheckpointError) -> Result {
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

  /// Outputs at the job's place of which the store has acknowledged any revision.
  package func publishedOutputs() throws(CheckpointError) -> [Output] {
    try outputs(where: "published_revision > 0 AND etag IS NOT NULL")
  }

  /// Outputs that the store must be asked about.
  package func unsettledOutputs() throws(CheckpointError) -> [Output] {
    try outputs(where: "checks_left > 0")
  }

  private func outputs(where condition: String) throws(CheckpointError) -> [Output] {
    try read { database in
      try Row.fetchAll(
        database.cachedStatement(
          sql: "SELECT object_key, kind, number, revision, published_revision, etag FROM outputs WHERE \(condition) ORDER BY object_key")
      ).map { row in
        guard let kind = Output.Kind(rawValue: row[1]) else {
          throw CheckpointError(.invariant("an output of the unknown kind \(row[1] as String)"), path: path)
        }
        return Output(objectKey: row[0], kind: kind, number: row[2], revision: row[3], publishedRevision: row[4], etag: row[5])
      }
    }
  }

  /// The newest committed content of an output and its revision, read in one transaction.
  package func content(of output: Output, job: Job) throws(CheckpointError) -> (revision: Int64, content: OutputContent) {
    try read { database in
      let row = try Row.fetchOne(
        database.cachedStatement(sql: "SELECT revision, number FROM outputs WHERE object_key = ?"), arguments: [output.objectKey])
      guard let row else { throw CheckpointError(.invariant("output \(output.objectKey) is gone"), path: path) }
      let content: OutputContent =
        switch output.kind {
        case .window:
          .window(try table(ofWindow: row[1], job: job, in: database), lineage: try lineage(ofWindow: row[1], in: database))
        case .batch:
          .bytes(try bytes(of: output, in: database))
        case .rejects:
          .rejects(try rejects(ofBatch: row[1], in: database))
        }
      return (row[0], content)
    }
  }

  private func bytes(of output: Output, in database: Database) throws -> [UInt8] {
    let bytes = try Data.fetchOne(
      database.cachedStatement(sql: "SELECT bytes FROM results WHERE object_key = ?"), arguments: [output.objectKey])
    guard let bytes else { throw CheckpointError(.invariant("the bytes of \(output.objectKey) are gone"), path: path) }
    return [UInt8](bytes)
  }

  /// The keys of every object of the job.
  package func objectKeys() throws(CheckpointError) -> [String] {
    try read { database in try String.fetchAll(database, sql: "SELECT object_key FROM outputs") }
  }

  /// What the job file means to change of the state; empty when it fits. `show` renders with the file at hand.
  package func changes(for job: Job) throws(CheckpointError) -> [JobChange] {
    try read { database in JobChange.compare(old: try Checkpoint.settings(in: database), new: job.canonicalSettings) }
  }

  /// The keys and measures of a window's groups, sorted by key, NULL first.
  package func table(ofWindow window: Int64, job: Job) throws(CheckpointError) -> Tables.Table {
    try read { database in try table(ofWindow: window, job: job, in: database) }
  }

  private func table(ofWindow window: Int64, job: Job, in database: Database) throws -> Tables.Table {
    let layout = StateLayout(job, batchSchema: job.recordSchema)
    var names: [String] = []
    var order: [String] = []
    for key in layout.keys {
      let name = key.name.quotedDatabaseIdentifier
      if key.isNullable {
        let isNull = "\(key.name)_is_null".quotedDatabaseIdentifier
        names.append("iif(\(isNull), NULL, \(name))")
        order.append("\(isNull) DESC")
      } else {
        names.append(name)
      }
      order.append(name)
    }
    names += layout.columns.map(\.name.quotedDatabaseIdentifier)
    var columns = layout.keys.map { Tables.Column($0.type) } + layout.columns.map { Tables.Column($0.type) }
    let ordering = order.isEmpty ? "" : " ORDER BY \(order.joined(separator: ", "))"
    let rows = try Row.fetchCursor(
      database.cachedStatement(sql: "SELECT \(names.joined(separator: ", ")) FROM groups WHERE window = ?\(ordering)"), arguments: [window])
    while let row = try rows.next() {
      for index in columns.indices { columns[index].append(row, at: index) }
    }
    let state = Array(columns[layout.keys.count...])
    return Tables.Table(job.selectInputSchema, columns: Array(columns[..<layout.keys.count]) + layout.measures(of: job, state: state))
  }

  private func lineage(ofWindow window: Int64, in database: Database) throws -> [Lineage] {
    let rows = try Row.fetchCursor(
      database.cachedStatement(sql: "SELECT partition_id, smallest_offset, largest_offset, records FROM window_offsets WHERE window = ?"),
      arguments: [window])
    var lineage: [Lineage] = []
    while let row = try rows.next() {
      lineage.append(
        Lineage(
          partition: try partition(row[0], in: database), smallestOffset: row[1], largestOffset: row[2], recordCount: row[3]))
    }
    return lineage.sorted { $0.partition < $1.partition }
  }

  /// The names of a partition never change, so they are read once.
  private func partition(_ identifier: Int64, in database: Database) throws -> PartitionID {
    if let known = partitions[identifier] { return known }
    for row in try Row.fetchAll(database, sql: "SELECT partition_id, source, topic, partition FROM partitions") {
      partitions[row[0]] = PartitionID(source: row[1], topic: row[2], partition: row[3])
    }
    guard let found = partitions[identifier] else {
      throw CheckpointError(.invariant("window_offsets names the unknown partition \(identifier)"), path: path)
    }
    return found
  }

  private func rejects(ofBatch batch: Int64, in database: Database) throws -> [StoredReject] {
    try Row.fetchAll(
      database.cachedStatement(
        sql: """
          SELECT source, topic, partition, offset, record, reason, field, raw FROM rejects
          WHERE batch = ? ORDER BY source, topic, partition, offset, record
          """),
      arguments: [batch]
    ).map { row in
      StoredReject(
        partition: PartitionID(source: row[0], topic: row[1], partition: row[2]), offset: row[3], record: row[4], reason: row[5],
        field: row[6], raw: (row[7] as Data?).map { [UInt8]($0) })
    }
  }

  /// Objects of a former place or format, to be deleted when nothing is dirty any more.
  package func retiredObjects() throws(CheckpointError) -> [RetiredObject] {
    try read { database in
      try Row.fetchAll(database, sql: "SELECT place, object_key, etag FROM retired_objects ORDER BY place, object_key")
        .map { RetiredObject(place: $0[0], objectKey: $0[1], etag: $0[2]) }
    }
  }

  /// Bytes of results that the store does not have yet.
  package func pendingByteCount() throws(CheckpointError) -> Int64 {
    try read { database in
      try Int64.fetchOne(
        database.cachedStatement(
          sql: """
            SELECT coalesce(sum(results.byte_count), 0) FROM results JOIN outputs USING (object_key) WHERE revision > published_revision
            """)) ?? 0
    }
  }
}

/// One object of a job as the checkpoint knows it.
package struct Output: Sendable, Equatable {
  package enum Kind: String, Sendable { case window, batch, rejects }
  package let objectKey: String
  package let kind: Kind
  /// The window, or for the other kinds the batch.
  package let number: Int64
  package let revision: Int64
  package let publishedRevision: Int64
  /// The store's, of the published revision.
  package let etag: String?
}

package enum OutputContent: Sendable {
  case window(Tables.Table, lineage: [Lineage])
  case bytes([UInt8])
  case rejects([StoredReject])
}

/// Which offsets of a partition contributed to an object. Both ends are included.
package struct Lineage: Sendable, Equatable {
  package let partition: PartitionID
  package let smallestOffset: Offset
  package let largestOffset: Offset
  package let recordCount: Int64

  package init(partition: PartitionID, smallestOffset: Offset, largestOffset: Offset, recordCount: Int64) {
    self.partition = partition
    self.smallestOffset = smallestOffset
    self.largestOffset = largestOffset
    self.recordCount = recordCount
  }

  /// A JSON array with an object per partition, as objects carry it.
  package static func jsonText(_ lineage: [Lineage]) -> String { RangesText.format(lineage) }
}

package struct StoredReject: Sendable, Equatable {
  package let partition: PartitionID
  package let offset: Offset
  package let record: Int
  package let reason: String
  package let field: String?
  package let raw: [UInt8]?
}

package struct RetiredObject: Sendable, Equatable {
  package let place: String
  package let objectKey: String
  /// As we last published it; nil where no acknowledgement is known.
  package let etag: String?
}
