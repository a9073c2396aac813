internal import GRDB
internal import Jobs

/// What tells the place of this checkpoint's results from another's: an id, and the tokens that it
/// wrote there.
extension Checkpoint {
  /// How many tokens are remembered: a request that got no answer may still put an older one into
  /// place.
  private static let rememberedTokenCount = 64

  /// Random; the same as long as this file lives, and in its copies.
  package func identifier() throws(CheckpointError) -> String {
    try read { try Self.identifier(in: $0) }
  }

  static func identifier(in database: Database) throws -> String {
    try database.checkedRow(
      of: "checkpoint", "SELECT checkpoint_id FROM checkpoint", identifiedBy: 0
    ) { try $0.text(0) } ?? ""
  }

  /// Stores a token before it is written to a place, so that a run after a crash knows it again.
  ///
  /// - Parameter seen: One of ours that the place bears now. It becomes the newest but one: were it
  ///   forgotten while no new one can be written, the place would look like another's.
  package func addOwnerToken(_ token: String, seen: String?) throws(CheckpointError) {
    try write { database in
      if let seen {
        try database.execute(sql: "DELETE FROM owner_tokens WHERE token = ?", arguments: [seen])
        try database.execute(sql: "INSERT INTO owner_tokens (token) VALUES (?)", arguments: [seen])
      }
      try database.execute(
        sql: "INSERT INTO owner_tokens (token) VALUES (?) ON CONFLICT DO NOTHING",
        arguments: [token])
      try database.execute(
        sql: """
          DELETE FROM owner_tokens
          WHERE number <= (SELECT max(number) FROM owner_tokens) - \(Self.rememberedTokenCount)
          """)
    }
  }

  /// A person said that the place is this job's whatever stands there: the token seen there becomes
  /// one of ours, and every window's object is published again.
  ///
  /// - Parameters:
  ///   - token: Empty where the place has no marker.
  ///   - keys: Of objects at the place that a run is to delete.
  package func takeOver(
    token: String, retiring keys: [String] = []
  ) throws(CheckpointError) {
    try write { database in
      for key in keys {
        try database.execute(
          sql: "INSERT OR IGNORE INTO retired_objects (place, object_key) VALUES (?, ?)",
          arguments: [job.output.destination.text, key])
      }
      try database.execute(
        sql: "INSERT INTO owner_tokens (token) VALUES (?) ON CONFLICT DO NOTHING",
        arguments: [token])
      try retireStrangeManifest(in: database)
      try database.execute(
        sql: "UPDATE outputs SET revision = revision + 1 WHERE kind <> 'batch'")
    }
  }

  /// The place has a marker of ours: the permission to take one without any has done its work.
  package func forgetPermission() throws(CheckpointError) {
    guard try ownerTokens().contains("") else { return }
    try write { database in
      try database.execute(sql: "DELETE FROM owner_tokens WHERE token = ''")
    }
  }

  /// For a copy that was made beside a run: what the run writes behind the copy bears this token,
  /// and the copy must not take it for its own. A release before 0.2 knew no tokens.
  static func forgetNewestToken(in database: Database) throws {
    guard try database.tableExists("owner_tokens") else { return }
    try database.execute(
      sql: "DELETE FROM owner_tokens WHERE number = (SELECT max(number) FROM owner_tokens)")
  }

  package func ownerTokens() throws(CheckpointError) -> Set<String> {
    try read { database in Set(try Self.ownerTokens(in: database)) }
  }

  /// Oldest first.
  static func ownerTokens(in database: Database) throws -> [String] {
    try database.checkedRows(
      of: "owner_tokens", "SELECT number, token FROM owner_tokens ORDER BY number",
      identifiedBy: 1
    ) { try $0.text(1) }
  }

  /// What is left at former places, or in a former format.
  static func retiredObjects(in database: Database) throws -> [RetiredObject] {
    try database.checkedRows(
      of: "retired_objects",
      "SELECT place, object_key, etag FROM retired_objects ORDER BY place, object_key",
      identifiedBy: 2
    ) {
      RetiredObject(
        place: try $0.place(0).text, objectKey: try $0.objectKey(1), etag: try $0.optionalText(2))
    }
  }

  func read<Result>(_ body: (Database) throws -> Result) throws(CheckpointError) -> Result {
    do { return try queue.read(body) } catch { throw CheckpointError(wrapping: error, path: path) }
  }
}
