internal import GRDB
package import Jobs

/// An object as the checkpoint has it, with what is known of its newest publication.
package struct StoredObject: Sendable, Equatable {
  package let output: Output
  /// Of the published revision; nil where none is.
  package let byteCount: Int64?
  /// The releases that rendered it, as ``PublishMark/renderedBy``.
  package let renderedBy: String?
  /// Whether no request about it may still be applied.
  package let isSettled: Bool
  /// Of a batch's object that stays where the job published before: that place, or an empty text
  /// where an older release left it.
  package let formerPlace: String?

  package var isPublished: Bool { output.revision == output.publishedRevision }
}

extension CheckpointReader {
  /// Objects in the order of their keys, some at a time.
  ///
  /// - Parameter key: The last one of those before; nil for the first.
  package func objects(after key: String?, limit: Int) throws(CheckpointError) -> [StoredObject] {
    try read { database in
      try objects(
        where: "object_key > ?", [key ?? ""], limit: limit, in: database)
    }
  }

  /// Where the job published when it last ran; nil where its file says the same.
  package func formerPlace(of job: Job) throws(CheckpointError) -> String? {
    try read { database in
      let former = Checkpoint.place(try Checkpoint.settings(in: database))
      return former == Checkpoint.place(job.canonicalSettings) ? nil : former
    }
  }

  /// Nil where no such object is known.
  package func object(_ key: String) throws(CheckpointError) -> StoredObject? {
    try read { try objects(where: "object_key = ?", [key], in: $0).first }
  }

  private func objects(
    where condition: String, _ arguments: StatementArguments, limit: Int = 1,
    in database: Database
  ) throws -> [StoredObject] {
    // A live file may be of an older schema.
    let knowsPlaces = try database.tableExists("batch_settings")
    return try database.checkedRows(
      of: "outputs",
      """
      SELECT \(Self.outputColumns), byte_count, rendered_by, \(knowsPlaces ? "place" : "NULL")
      FROM outputs
      WHERE \(condition) ORDER BY object_key LIMIT \(limit)
      """, arguments: arguments, identifiedBy: 1
    ) { row in
      StoredObject(
        output: try output(row), byteCount: row.isNull(7) ? nil : try row.count(7),
        renderedBy: try row.optionalText(8), isSettled: try row.integer(6, in: 0...2) == 0,
        formerPlace: try row.optionalText(9))
    }
  }
}
