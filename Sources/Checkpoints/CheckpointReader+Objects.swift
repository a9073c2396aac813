internal import GRDB

/// An object as the checkpoint has it, with what is known of its newest publication.
package struct StoredObject: Sendable, Equatable {
  package let output: Output
  /// Of the published revision; nil where none is.
  package let byteCount: Int64?
  /// The releases that rendered it, as ``PublishMark/renderedBy``.
  package let renderedBy: String?
  /// Whether no request about it may still be applied.
  package let isSettled: Bool

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

  /// Nil where no such object is known.
  package func object(_ key: String) throws(CheckpointError) -> StoredObject? {
    try read { try objects(where: "object_key = ?", [key], in: $0).first }
  }

  private func objects(
    where condition: String, _ arguments: StatementArguments, limit: Int = 1,
    in database: Database
  ) throws -> [StoredObject] {
    try outputs(where: condition, arguments, limit: limit, in: database).map { output in
      let object = try database.checkedRow(
        of: "outputs",
        "SELECT object_key, byte_count, rendered_by, checks_left FROM outputs WHERE object_key = ?",
        arguments: [output.objectKey], identifiedBy: 1
      ) { row in
        StoredObject(
          output: output, byteCount: row.isNull(1) ? nil : try row.count(1),
          renderedBy: try row.optionalText(2), isSettled: try row.integer(3, in: 0...2) == 0)
      }
      guard let object else {
        throw RowFault(table: "outputs", row: "'\(output.objectKey)'", problem: "is gone")
      }
      return object
    }
  }
}
