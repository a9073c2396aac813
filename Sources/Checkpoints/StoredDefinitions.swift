internal import Foundation
internal import GRDB
package import Jobs
package import Offsets
internal import Tables
internal import Windows

/// The definitions that a checkpoint's job has had, oldest first: what its records meant, and from
/// where on.
package struct StoredDefinitions: Sendable, Equatable {
  package struct Stored: Sendable, Equatable {
    package let definition: JobDefinition
    /// The number of the first batch that could be folded under it.
    package let firstBatch: Int64
    /// Where progress stood then, of the partitions that were known.
    package let offsets: [PartitionID: Offset]
    package let beganAt: String
  }
  /// At least one; the first is definition 1.
  package let all: [Stored]

  package var history: DefinitionHistory { DefinitionHistory(all.map(\.definition)) }

  /// The number of the definition under which a batch was folded.
  package func number(ofBatch batch: Int64) -> Int64 {
    Int64(all.lastIndex { $0.firstBatch <= batch } ?? 0) + 1
  }

  /// Where the definition of a partition's new messages changed, ascending: the first offset of
  /// each later definition and its number.
  package func changes(of partition: PartitionID) -> [(from: Offset, number: Int64)] {
    all.enumerated().dropFirst().map { (from: $1.offsets[partition] ?? 0, number: Int64($0) + 1) }
  }
}

extension StoredDefinitions {
  /// Part of the schema since version 15: a change of it is a new migration.
  static let schema = """
    CREATE TABLE definitions (
      -- What the job's records meant: the first when the state began, the newest is in force.
      definition INTEGER PRIMARY KEY,    -- Ascending from 1.
      first_batch INTEGER NOT NULL,      -- The first batch that could be of it.
      settings TEXT NOT NULL,            -- JSON: those of job_settings that decide it.
      began_at TEXT NOT NULL,
      release TEXT NOT NULL              -- Of Tranche, that wrote this row.
    ) STRICT;
    CREATE TABLE definition_offsets (
      -- Progress when a definition took effect, of the partitions that were known then.
      definition INTEGER NOT NULL REFERENCES definitions,
      partition_id INTEGER NOT NULL REFERENCES partitions,
      next_offset INTEGER NOT NULL,
      PRIMARY KEY (definition, partition_id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO definitions
      SELECT 1, 1, (SELECT json_group_object(key, value) FROM job_settings), created_at, created_by
      FROM checkpoint;
    INSERT INTO definition_offsets SELECT 1, partition_id, start_offset FROM partitions
      WHERE EXISTS (SELECT 1 FROM definitions);
    ALTER TABLE windows ADD COLUMN definition INTEGER NOT NULL DEFAULT 1
      /* The definition in which it began: a measure that began later is NULL in all its groups. */;
    """

  /// - Throws: ``RowFault`` where the table holds anything else than it was given.
  init(in database: Database) throws {
    // A file that an older release wrote last has had one.
    guard try database.tableExists("definitions") else {
      let settings = JobDefinition(try Checkpoint.settings(in: database))
      all = [Stored(definition: settings, firstBatch: 1, offsets: [:], beganAt: "")]
      return
    }
    let partitions = try StoredPartitions(in: database, job: nil)
    var offsets: [Int64: [PartitionID: Offset]] = [:]
    try database.forEachRow(
      of: "definition_offsets",
      "SELECT definition, partition_id, next_offset FROM definition_offsets", identifiedBy: 2
    ) { row in
      // Of a topic that was made anew, the offsets were another log's.
      guard partitions.isNewest(try row.integer(1)) else { return }
      let partition = try row.partition(1, in: partitions.names)
      offsets[try row.number(0), default: [:]][partition] = try row.count(2)
    }
    var all: [Stored] = []
    try database.forEachRow(
      of: "definitions",
      "SELECT definition, first_batch, settings, began_at FROM definitions ORDER BY definition",
      identifiedBy: 1
    ) { row in
      let number = try row.integer(0, in: Int64(all.count) + 1...Int64(all.count) + 1)
      let firstBatch = try row.number(1, from: all.last?.firstBatch ?? 1)
      guard let settings = Self.settings(try row.text(2)) else {
        throw row.fault(2, "is not JSON of keys and values")
      }
      all.append(
        Stored(
          definition: JobDefinition(settings), firstBatch: firstBatch,
          offsets: offsets[number] ?? [:], beganAt: try row.text(3)))
    }
    guard !all.isEmpty else {
      throw RowFault(table: "definitions", row: "1", problem: "is not there")
    }
    self.all = all
  }

  private static func settings(_ text: String) -> [String: String]? {
    try? JSONDecoder().decode([String: String].self, from: Data(text.utf8))
  }

  private static func text(_ definition: JobDefinition) -> String {
    let members = definition.settings.sorted { $0.key < $1.key }.map {
      "\(JSONText.quoted($0.key)):\(JSONText.quoted($0.value))"
    }
    return "{\(members.joined(separator: ","))}"
  }

  /// How many there are, which is the number of the one in force.
  static func newest(in database: Database) throws -> Int64 {
    guard try database.tableExists("definitions") else { return 1 }
    return try database.checkedRow(
      of: "definitions", "SELECT max(definition) FROM definitions", identifiedBy: 0
    ) { try $0.number(0) } ?? 1
  }

  /// Lets a definition take effect from the next batch on.
  static func append(
    _ definition: JobDefinition, now: Int64, release: String, in database: Database
  ) throws {
    let number =
      try Int64.fetchOne(
        database, sql: "SELECT coalesce(max(definition), 0) + 1 FROM definitions") ?? 1
    try database.execute(
      sql: """
        INSERT INTO definitions (definition, first_batch, settings, began_at, release)
        SELECT ?, next_batch, ?, ?, ? FROM checkpoint
        """,
      arguments: [
        number, text(definition), TimestampText.format(milliseconds: now), release,
      ])
    try database.execute(
      sql: "INSERT INTO definition_offsets SELECT ?, partition_id, next_offset FROM partitions",
      arguments: [number])
  }

  /// Of a state in which nothing was committed: as if the file had been made with it.
  static func replace(
    with definition: JobDefinition, now: Int64, release: String, in database: Database
  ) throws {
    try database.execute(sql: "DELETE FROM definition_offsets; DELETE FROM definitions")
    try append(definition, now: now, release: release, in: database)
  }
}

extension Generation {
  /// The definition in which a pane began. Beyond any where that decides nothing: it holds nothing
  /// yet, or no measure began later than the first definition.
  func began(_ pane: Pane, in database: Database) throws -> Int64 {
    if layout.newestStart == 1 { return .max }
    return try database.checkedRow(
      of: "windows", "SELECT window, definition FROM windows WHERE window = ?",
      arguments: [pane.number], identifiedBy: 1
    ) { try $0.number(1) } ?? .max
  }

  /// Of some panes, those that began before the newest measure.
  func began(_ panes: [Delta.PanePart], in database: Database) throws -> [Pane: Int64] {
    if layout.newestStart == 1 { return [:] }
    var began: [Pane: Int64] = [:]
    for part in panes {
      let definition = try self.began(part.pane, in: database)
      if definition < layout.newestStart { began[part.pane] = definition }
    }
    return began
  }
}

extension CheckpointReader {
  package func definitions() throws(CheckpointError) -> StoredDefinitions {
    try read { try StoredDefinitions(in: $0) }
  }

  /// A job as this checkpoint goes on with it.
  package func continued(_ job: Job) throws(CheckpointError) -> Job {
    try read { database in
      guard try StoredDefinitions.newest(in: database) > 1 else { return job }
      return job.continuing(try StoredDefinitions(in: database).history)
    }
  }
}
