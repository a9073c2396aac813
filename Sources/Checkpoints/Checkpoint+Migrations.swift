import GRDB

/// 'Trnc' in ASCII: tells the `file` command and us whose database this is (PRAGMA application_id).
let applicationID: Int32 = 0x5472_6E63

extension Checkpoint {
  /// Every version of the schema, oldest first. A published migration is never edited; a change is
  /// a new one.
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { database in
      try database.execute(sql: "PRAGMA application_id = \(applicationID)")
      try database.execute(sql: schemaVersion1)
    }
    migrator.registerMigration("2") { database in
      try database.execute(sql: schemaVersion2)
    }
    migrator.registerMigration("3") { database in
      try database.execute(sql: schemaVersion3)
    }
    migrator.registerMigration("4") { database in
      try database.execute(sql: schemaVersion4)
    }
    migrator.registerMigration("5") { database in
      try database.execute(sql: schemaVersion5)
    }
    migrator.registerMigration("6") { database in
      try database.execute(sql: schemaVersion6)
    }
    migrator.registerMigration("7") { database in
      try database.execute(sql: schemaVersion7)
    }
    migrator.registerMigration("8") { database in
      try database.execute(sql: schemaVersion8)
    }
    migrator.registerMigration("9") { database in
      try database.execute(sql: schemaVersion9)
    }
    migrator.registerMigration("10") { database in
      try database.execute(sql: schemaVersion10)
    }
    migrator.registerMigration("11") { database in
      try database.execute(sql: schemaVersion11)
    }
    migrator.registerMigration("12") { database in
      try database.execute(sql: schemaVersion12)
    }
    migrator.registerMigration("13") { database in
      try database.execute(sql: schemaVersion13)
    }
    migrator.registerMigration("14") { database in
      try database.execute(sql: schemaVersion14)
    }
    migrator.registerMigration("15") { database in
      try database.execute(sql: StoredDefinitions.schema)
    }
    migrator.registerMigration("16") { database in
      try database.execute(sql: schemaVersion16)
    }
    return migrator
  }

  /// SQLite keeps comments inside a statement, so `.schema` shows these.
  private static let schemaVersion1 = """
    CREATE TABLE checkpoint (            -- One row: whose state this is.
      id INTEGER PRIMARY KEY CHECK (id = 1),
      job TEXT NOT NULL,                 -- The job file's name.
      created_by TEXT NOT NULL,          -- The release of Tranche that made this file.
      created_at TEXT NOT NULL,
      -- The number that the next committed batch gets; the first is 1.
      next_batch INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE job_settings (
      -- What the job file said, in canonical form and without secrets, when this state was last
      -- written.
      key TEXT PRIMARY KEY,              -- For example aggregate.by
      value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE clusters (              -- Which Kafka cluster each source of the job is.
      source TEXT PRIMARY KEY,
      cluster_id TEXT NOT NULL           -- As the brokers report it.
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE partitions (
      -- Progress: every offset in [start_offset, next_offset) is accounted for.
      -- Ours; stands for the three names below in window_offsets.
      partition_id INTEGER PRIMARY KEY,
      source TEXT NOT NULL,
      topic TEXT NOT NULL,
      partition INTEGER NOT NULL,
      start_offset INTEGER NOT NULL,     -- Resolved once, on first contact.
      next_offset INTEGER NOT NULL,      -- The first offset not yet committed.
      UNIQUE (source, topic, partition),
      CHECK (start_offset >= 0 AND next_offset >= start_offset)
    ) STRICT;

    CREATE TABLE gaps (
      -- Offsets that were passed over and never read: [from_offset, to_offset).
      source TEXT NOT NULL,
      topic TEXT NOT NULL,
      partition INTEGER NOT NULL,
      from_offset INTEGER NOT NULL,
      to_offset INTEGER NOT NULL,
      -- By `tranche skip`, or removed by the broker before they were read.
      reason TEXT NOT NULL CHECK (reason IN ('skipped', 'lost')),
      recorded_at TEXT NOT NULL,
      PRIMARY KEY (source, topic, partition, from_offset),
      CHECK (from_offset < to_offset)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE in_flight (
      -- At most one row: the batch that a run had planned and not yet committed.
      id INTEGER PRIMARY KEY CHECK (id = 1),
      batch INTEGER NOT NULL,
      planned_at TEXT NOT NULL,
      -- JSON: [{"source","topic","ranges":[[partition,from,to], ...]}, ...], to excluded.
      ranges TEXT NOT NULL
    ) STRICT;

    CREATE TABLE batches (               -- History: one row a commit.
      batch INTEGER PRIMARY KEY,
      committed_at TEXT NOT NULL,
      offsets INTEGER NOT NULL,          -- Planned; holes included.
      records INTEGER NOT NULL,          -- Decoded.
      counted INTEGER NOT NULL,          -- Of these, let through by where.
      rejected INTEGER NOT NULL,
      ranges TEXT NOT NULL               -- JSON as in in_flight.
    ) STRICT;

    CREATE TABLE windows (               -- One row a window that holds state.
      -- Start of the window in milliseconds since 1970 UTC; 0 for the global window.
      window INTEGER PRIMARY KEY,
      records INTEGER NOT NULL,          -- Records counted in it.
      -- An upper bound of its groups, made exact when it reaches the limit.
      group_count_at_most INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE window_offsets (
      -- Lineage: which offsets of a partition contributed to a window.
      window INTEGER NOT NULL,
      partition_id INTEGER NOT NULL REFERENCES partitions,
      smallest_offset INTEGER NOT NULL,
      largest_offset INTEGER NOT NULL,   -- Included.
      records INTEGER NOT NULL,
      PRIMARY KEY (window, partition_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE outputs (
      -- One row an object. It is dirty while revision > published_revision.
      object_key TEXT PRIMARY KEY,       -- Below output.to.
      kind TEXT NOT NULL CHECK (kind IN ('window', 'batch', 'rejects')),
      -- The window (kind window) or the batch (kinds batch and rejects) that it shows.
      number INTEGER NOT NULL,
      revision INTEGER NOT NULL,         -- One more with each commit that changes its content.
      -- The newest revision that the store has acknowledged; 0 for none.
      published_revision INTEGER NOT NULL DEFAULT 0,
      etag TEXT,                         -- The store's, of that revision.
      byte_count INTEGER,                -- Of that revision.
      rendered_by TEXT,                  -- The releases of Tranche and SQLite that rendered it.
      -- Unsettled while above 0: a request without an answer may still be applied, so the store is
      -- asked.
      checks_left INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX outputs_dirty ON outputs (object_key) WHERE revision > published_revision;
    CREATE INDEX outputs_unsettled ON outputs (object_key) WHERE checks_left > 0;

    CREATE TABLE results (
      -- Rendered bytes of batch windows and row jobs, kept until the store has them.
      object_key TEXT PRIMARY KEY REFERENCES outputs ON DELETE CASCADE,
      byte_count INTEGER NOT NULL,
      bytes BLOB NOT NULL
    ) STRICT;

    CREATE TABLE retired_objects (
      -- Objects that a change of output.to or output.format left behind; deleted when the new ones
      -- stand.
      place TEXT NOT NULL,               -- The old output.to.
      object_key TEXT NOT NULL,
      PRIMARY KEY (place, object_key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE rejects (
      -- Records that did not decode, kept under rejects.policy quarantine.
      batch INTEGER NOT NULL,
      source TEXT NOT NULL,
      topic TEXT NOT NULL,
      partition INTEGER NOT NULL,
      offset INTEGER NOT NULL,
      record INTEGER NOT NULL,           -- Number within the message, from 0.
      reason TEXT NOT NULL,
      field TEXT,                        -- The field at fault, if one is.
      raw BLOB,                          -- The record's bytes as they came; NULL for a null value.
      PRIMARY KEY (source, topic, partition, offset, record)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX rejects_by_batch ON rejects (batch);
    """

  /// Who owns a place, what a person must decide, and rejects at keys that no reader's glob meets.
  private static let schemaVersion2 = """
    ALTER TABLE checkpoint ADD COLUMN checkpoint_id TEXT NOT NULL DEFAULT ''
      /* Random; names this checkpoint in _tranche/owner below its output. */;
    UPDATE checkpoint SET checkpoint_id = lower(hex(randomblob(16)));
    ALTER TABLE batches ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0
      /* Of the rejected, by tranche resolve --accept-rejects. */;
    ALTER TABLE retired_objects ADD COLUMN etag TEXT
      /* As we last published it; NULL where no acknowledgement is known. */;

    CREATE TABLE owner_tokens (
      -- What this checkpoint wrote, or may write, into _tranche/owner.
      number INTEGER PRIMARY KEY,        -- Ascending in time; only the newest are kept.
      -- Empty: a person allowed it to take a place without a marker.
      token TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE incidents (             -- Losses and doubts that a person must decide.
      incident INTEGER PRIMARY KEY,
      kind TEXT NOT NULL CHECK (kind IN ('log_replaced', 'rejects')),
      -- The partition concerned; for rejects that of the first reject.
      source TEXT NOT NULL,
      topic TEXT NOT NULL,
      partition INTEGER NOT NULL,
      -- Progress when it was noticed; for rejects the first reject's offset.
      next_offset INTEGER NOT NULL,
      -- Where the log ended; NULL where the partition is gone, and for rejects.
      log_end INTEGER,
      -- For rejects: what the failed batch was to read, JSON as in in_flight.
      ranges TEXT,
      detail TEXT NOT NULL,              -- For people.
      noticed_at TEXT NOT NULL,
      last_seen_at TEXT NOT NULL,
      resolved_at TEXT,                  -- NULL while it is open.
      resolution TEXT CHECK (resolution IN ('keep', 'accepted', 'committed'))
    ) STRICT;
    CREATE INDEX incidents_open ON incidents (kind) WHERE resolved_at IS NULL;

    -- Rejects move to _tranche/, out of the way of readers' globs; the objects at the old keys
    -- are deleted.
    INSERT OR IGNORE INTO retired_objects (place, object_key, etag)
      SELECT job_settings.value, outputs.object_key, outputs.etag FROM outputs, job_settings
      WHERE outputs.kind = 'rejects' AND job_settings.key = 'output.to';
    UPDATE outputs SET object_key = format('_tranche/rejects/batch=%09d.ndjson', number),
      revision = revision + 1,
      published_revision = 0, etag = NULL, byte_count = NULL, checks_left = 0
      WHERE kind = 'rejects';
    """

  /// What hangs on a partition hangs on its identifier, and a partition may have incarnations.
  private static let schemaVersion3 = """
    -- Foreign keys are not looked at while a file is migrated, but once at the end.
    CREATE TEMP TABLE partitions_2 AS SELECT * FROM partitions;
    DROP TABLE partitions;
    CREATE TABLE partitions (
      -- Progress: every offset in [start_offset, next_offset) is accounted for.
      partition_id INTEGER PRIMARY KEY,  -- Ours; what hangs on a partition names it by this.
      source TEXT NOT NULL,
      topic TEXT NOT NULL,
      partition INTEGER NOT NULL,
      -- One more with each topic of this name that was made anew; the newest is read.
      incarnation INTEGER NOT NULL DEFAULT 1,
      start_offset INTEGER NOT NULL,     -- Resolved once, on first contact.
      next_offset INTEGER NOT NULL,      -- The first offset not yet committed.
      UNIQUE (source, topic, partition, incarnation),
      CHECK (start_offset >= 0 AND next_offset >= start_offset AND incarnation >= 1)
    ) STRICT;
    INSERT INTO partitions
      SELECT partition_id, source, topic, partition, 1, start_offset, next_offset
      FROM temp.partitions_2;
    DROP TABLE temp.partitions_2;

    ALTER TABLE gaps RENAME TO gaps_2;
    CREATE TABLE gaps (
      -- Offsets that were passed over and never read: [from_offset, to_offset).
      partition_id INTEGER NOT NULL REFERENCES partitions,
      from_offset INTEGER NOT NULL,
      to_offset INTEGER NOT NULL,
      -- By `tranche skip`, or removed by the broker before they were read.
      reason TEXT NOT NULL CHECK (reason IN ('skipped', 'lost')),
      recorded_at TEXT NOT NULL,
      PRIMARY KEY (partition_id, from_offset),
      CHECK (from_offset < to_offset)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO gaps SELECT partition_id, from_offset, to_offset, reason, recorded_at
      FROM gaps_2 LEFT JOIN partitions USING (source, topic, partition);
    DROP TABLE gaps_2;

    DROP INDEX rejects_by_batch;
    ALTER TABLE rejects RENAME TO rejects_2;
    CREATE TABLE rejects (
      -- Records that did not decode, kept under rejects.policy quarantine.
      batch INTEGER NOT NULL,
      partition_id INTEGER NOT NULL REFERENCES partitions,
      offset INTEGER NOT NULL,
      record INTEGER NOT NULL,           -- Number within the message, from 0.
      reason TEXT NOT NULL,
      field TEXT,                        -- The field at fault, if one is.
      raw BLOB,                          -- The record's bytes as they came; NULL for a null value.
      PRIMARY KEY (partition_id, offset, record)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO rejects SELECT batch, partition_id, offset, record, reason, field, raw
      FROM rejects_2 LEFT JOIN partitions USING (source, topic, partition);
    DROP TABLE rejects_2;
    CREATE INDEX rejects_by_batch ON rejects (batch);

    DROP INDEX incidents_open;
    ALTER TABLE incidents RENAME TO incidents_2;
    CREATE TABLE incidents (             -- Losses and doubts that a person must decide.
      incident INTEGER PRIMARY KEY,
      kind TEXT NOT NULL CHECK (kind IN ('log_replaced', 'rejects')),
      -- The partition concerned; for rejects that of the first reject.
      partition_id INTEGER NOT NULL REFERENCES partitions,
      -- Progress when it was noticed; for rejects the first reject's offset.
      next_offset INTEGER NOT NULL,
      -- Where the log ended; NULL where the partition is gone, and for rejects.
      log_end INTEGER,
      -- For rejects: what the failed batch was to read, JSON as in in_flight.
      ranges TEXT,
      detail TEXT NOT NULL,              -- For people.
      noticed_at TEXT NOT NULL,
      last_seen_at TEXT NOT NULL,
      resolved_at TEXT,                  -- NULL while it is open.
      resolution TEXT CHECK (resolution IN ('keep', 'accepted', 'committed'))
    ) STRICT;
    INSERT INTO incidents
      SELECT incident, kind, partition_id, incidents_2.next_offset, log_end, ranges, detail,
        noticed_at, last_seen_at, resolved_at, resolution
      FROM incidents_2 LEFT JOIN partitions USING (source, topic, partition);
    DROP TABLE incidents_2;
    CREATE INDEX incidents_open ON incidents (kind) WHERE resolved_at IS NULL;
    """

  /// A pane, which is a row of `windows`, points to the generation that holds its groups. The table
  /// of groups that was there is the first generation, untouched.
  private static let schemaVersion4 = """
    ALTER TABLE checkpoint ADD COLUMN generation INTEGER NOT NULL DEFAULT 1
      /* The generation of the state that runs write to. */;
    ALTER TABLE windows ADD COLUMN generation INTEGER NOT NULL DEFAULT 1
      /* Which table holds the groups of this pane: 1 is groups, N is groups_N. */;
    """

  /// A reject keeps what is at fault outside of its record's bytes.
  private static let schemaVersion5 = """
    ALTER TABLE rejects ADD COLUMN record_key BLOB
      /* The first bytes of the message's key, where the key may be at fault. */;
    ALTER TABLE rejects ADD COLUMN record_timestamp INTEGER
      /* The message's time in milliseconds since 1970 UTC; NULL where it has none. */;
    """

  /// A log that was replaced is known by the newest message that was read, and a person has more
  /// than one choice.
  private static let schemaVersion6 = """
    ALTER TABLE partitions ADD COLUMN fingerprint_offset INTEGER
      /* Of the newest message that was read; NULL where none was, or where it says nothing. */;
    ALTER TABLE partitions ADD COLUMN fingerprint INTEGER
      /* A hash of that message's key, value and timestamp. */;

    DROP INDEX incidents_open;
    ALTER TABLE incidents RENAME TO incidents_5;
    CREATE TABLE incidents (             -- Losses and doubts that a person must decide.
      incident INTEGER PRIMARY KEY,
      kind TEXT NOT NULL CHECK (kind IN ('log_replaced', 'rejects')),
      -- The partition concerned; for rejects that of the first reject.
      partition_id INTEGER NOT NULL REFERENCES partitions,
      -- Progress when it was noticed; for rejects the first reject's offset.
      next_offset INTEGER NOT NULL,
      -- Where the log ended; NULL where the partition is gone, and for rejects.
      log_end INTEGER,
      -- For rejects: what the failed batch was to read, JSON as in in_flight.
      ranges TEXT,
      detail TEXT NOT NULL,              -- JSON: the cause.
      noticed_at TEXT NOT NULL,
      last_seen_at TEXT NOT NULL,
      resolved_at TEXT,                  -- NULL while it is open.
      resolution TEXT CHECK (
        resolution IN ('keep', 'restart', 'gap', 'accepted', 'committed'))
    ) STRICT;
    INSERT INTO incidents SELECT * FROM incidents_5;
    DROP TABLE incidents_5;
    CREATE INDEX incidents_open ON incidents (kind) WHERE resolved_at IS NULL;
    """

  /// What a person wants to be counted after all, and what was.
  private static let schemaVersion7 = """
    CREATE TABLE backfilled (
      -- Offsets that were counted although they lie below the start of their partition or in a gap:
      -- [from_offset, to_offset). Ranges that touch are one row.
      partition_id INTEGER NOT NULL REFERENCES partitions,
      from_offset INTEGER NOT NULL,
      to_offset INTEGER NOT NULL,
      PRIMARY KEY (partition_id, from_offset),
      CHECK (from_offset >= 0 AND from_offset < to_offset)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE backfills (             -- What was asked for with `tranche backfill`.
      backfill INTEGER PRIMARY KEY,      -- The number of the request.
      asked_at TEXT NOT NULL,
      -- 1: its batches go before those of new messages.
      goes_first INTEGER NOT NULL CHECK (goes_first IN (0, 1)),
      offsets INTEGER NOT NULL,          -- That the request took on.
      counted_offsets INTEGER NOT NULL DEFAULT 0,  -- Of these, committed.
      state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'cancelled')),
      ended_at TEXT
    ) STRICT;

    CREATE TABLE backfill_ranges (
      -- Of a request: [from_offset, to_offset).
      backfill INTEGER NOT NULL REFERENCES backfills,
      partition_id INTEGER NOT NULL REFERENCES partitions,
      from_offset INTEGER NOT NULL,
      to_offset INTEGER NOT NULL,
      -- Left to read, or not held by the broker and so left out.
      state TEXT NOT NULL CHECK (state IN ('left', 'unheld')),
      PRIMARY KEY (backfill, partition_id, from_offset),
      CHECK (from_offset >= 0 AND from_offset < to_offset)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE batches ADD COLUMN backfill INTEGER
      /* The request that the batch was of; NULL where it moved progress. */;
    CREATE INDEX batches_of_backfills ON batches (batch) WHERE backfill IS NOT NULL;
    ALTER TABLE in_flight ADD COLUMN backfill INTEGER
      /* As in batches. */;
    """

  private static let schemaVersion8 = """
    ALTER TABLE rejects ADD COLUMN record_headers TEXT
      /* The message's headers as JSON, [{"name", "value" or "base64"}, ...]; NULL without any. */;
    """

  /// What monitoring asks for, and could not be told from the rest.
  private static let schemaVersion9 = """
    ALTER TABLE partitions ADD COLUMN newest_timestamp INTEGER
      /* Of the newest message that was read, in milliseconds since 1970 UTC; NULL where it has
         none. */;

    CREATE TABLE reject_totals (         -- How many records of all batches were rejected, and why.
      reason TEXT PRIMARY KEY,           -- 'unknown': dropped by a release that did not count them.
      rejects INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO reject_totals \(Checkpoint.rejectTotalsBefore9);
    """

  /// Rows of batches go after a while, and what is asked of all of them is kept as sums.
  private static let schemaVersion10 = """
    ALTER TABLE batches ADD COLUMN bytes INTEGER
      /* Of the messages that were read; NULL where an older release read them. */;
    ALTER TABLE batches ADD COLUMN steps TEXT
      /* JSON: the microseconds that each step took until the commit began; NULL as above. */;
    CREATE INDEX batches_of_new_messages ON batches (batch) WHERE backfill IS NULL;

    CREATE TABLE batch_totals (
      -- Sums over batches: 'all' that were ever committed, and those 'pruned', whose rows are gone
      -- (checkpoint.history). The rows of batches make the difference.
      of TEXT PRIMARY KEY CHECK (of IN ('all', 'pruned')),
      batches INTEGER NOT NULL,
      offsets INTEGER NOT NULL,
      records INTEGER NOT NULL,
      counted INTEGER NOT NULL,
      rejected INTEGER NOT NULL,
      accepted INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO batch_totals SELECT 'all', \(Checkpoint.batchSums) FROM batches;
    INSERT INTO batch_totals VALUES ('pruned', 0, 0, 0, 0, 0, 0);

    ALTER TABLE checkpoint ADD COLUMN window_count INTEGER NOT NULL DEFAULT 0
      /* How many windows have an object: rows of outputs. */;
    UPDATE checkpoint SET window_count = (SELECT count(*) FROM outputs WHERE kind = 'window');
    \(outputRules)
    """

  private static let schemaVersion11 = """
    ALTER TABLE batches ADD COLUMN tombstones INTEGER NOT NULL DEFAULT 0
      /* Messages without a value that source.tombstones: skip passed over. */;
    ALTER TABLE batch_totals ADD COLUMN tombstones INTEGER NOT NULL DEFAULT 0;
    """

  /// The manifest is an object like others, and tells since when an object is dirty and of how many
  /// rows it has.
  private static let schemaVersion12 = """
    CREATE TABLE outputs_12 (
      -- One row an object. It is dirty while revision > published_revision.
      object_key TEXT PRIMARY KEY,       -- Below output.to.
      kind TEXT NOT NULL CHECK (kind IN ('window', 'batch', 'rejects', 'manifest')),
      -- The window (kind window) or the batch (kinds batch and rejects) that it shows; for the
      -- manifest the newest batch that it tells of.
      number INTEGER NOT NULL,
      revision INTEGER NOT NULL,         -- One more with each commit that changes its content.
      -- The newest revision that the store has acknowledged; 0 for none.
      published_revision INTEGER NOT NULL DEFAULT 0,
      etag TEXT,                         -- The store's, of that revision.
      byte_count INTEGER,                -- Of that revision.
      rendered_by TEXT,                  -- The releases of Tranche and SQLite that rendered it.
      -- Unsettled while above 0: a request without an answer may still be applied, so the store is
      -- asked.
      checks_left INTEGER NOT NULL DEFAULT 0,
      row_count INTEGER,                 -- Of that revision; NULL where an older release put it.
      -- The batch that made it dirty; NULL where it is clean, or something else made it dirty.
      dirty_since INTEGER,
      content_hash INTEGER               -- For the manifest: of the bytes of that revision.
    ) STRICT, WITHOUT ROWID;
    INSERT INTO outputs_12 (object_key, kind, number, revision, published_revision, etag,
        byte_count, rendered_by, checks_left)
      SELECT object_key, kind, number, revision, published_revision, etag, byte_count, rendered_by,
        checks_left
      FROM outputs;
    DROP TABLE outputs;
    ALTER TABLE outputs_12 RENAME TO outputs;
    CREATE INDEX outputs_dirty ON outputs (object_key) WHERE revision > published_revision;
    CREATE INDEX outputs_unsettled ON outputs (object_key) WHERE checks_left > 0;
    \(outputRules)

    ALTER TABLE results ADD COLUMN row_count INTEGER
      /* NULL where an older release made it. */;
    ALTER TABLE windows ADD COLUMN first_batch INTEGER
      /* The first batch that counted a record in it; NULL where an older release did. */;
    ALTER TABLE windows ADD COLUMN last_batch INTEGER
      /* The last one; NULL where no batch did since. */;
    """

  /// Records that come late are refused.
  private static let schemaVersion13 = """
    ALTER TABLE partitions ADD COLUMN newest_time INTEGER
      /* The newest time for its window of a record that a batch of new messages has read, in
         milliseconds since 1970 UTC; none is later than its message's own time. NULL where there
         is none, and where window.allowed_lateness is not set. */;
    ALTER TABLE checkpoint ADD COLUMN cutoff INTEGER
      /* Windows that end here or before are final, in milliseconds since 1970 UTC. */;
    ALTER TABLE in_flight ADD COLUMN behind TEXT
      /* JSON: the partitions of which the batch leaves offsets unread; NULL where
         window.allowed_lateness was not set. */;
    ALTER TABLE batches ADD COLUMN cutoff INTEGER
      /* By which its records were judged; NULL where none was. */;
    ALTER TABLE batches ADD COLUMN late INTEGER NOT NULL DEFAULT 0
      /* Of the rejected, records that came late. The rules for rejects do not judge them. */;
    """

  /// What old batches and their objects are judged by.
  private static let schemaVersion14 = """
    CREATE TABLE batch_settings (
      -- What decided on the records and the objects of batches, in canonical form: from this batch
      -- on, up to the next one that is named here.
      from_batch INTEGER NOT NULL,
      key TEXT NOT NULL,                 -- For example limits.record_bytes, or select[0]
      value TEXT NOT NULL,
      PRIMARY KEY (from_batch, key)
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE outputs ADD COLUMN place TEXT
      /* The former output.to where the object of a batch has stayed; empty where an older release
         left it, and NULL at output.to. */;
    UPDATE outputs SET place = ''
      WHERE kind = 'batch' AND published_revision > 0 AND revision = published_revision
        AND etag IS NULL;
    CREATE INDEX outputs_elsewhere ON outputs (number) WHERE place IS NOT NULL;
    """

  /// State of windows goes after a while.
  private static let schemaVersion16 = """
    ALTER TABLE checkpoint ADD COLUMN horizon INTEGER
      /* Windows that end here or before take no record any more, and their state may be evicted, in
         milliseconds since 1970 UTC. */;

    CREATE TABLE evicted (               -- Windows whose state is gone (window.retention).
      window INTEGER PRIMARY KEY,
      -- Which table holds groups of it that are yet to be deleted; NULL for none.
      generation INTEGER,
      groups INTEGER NOT NULL,           -- It had so many.
      records INTEGER NOT NULL,
      first_batch INTEGER,
      last_batch INTEGER,
      -- JSON: [[partition_id, smallest offset, largest offset, records], ...]
      lineage TEXT NOT NULL,
      -- The object, which stays as it was: as it was published last.
      revision INTEGER NOT NULL,
      etag TEXT NOT NULL,
      byte_count INTEGER NOT NULL,
      row_count INTEGER,
      -- Where it stands, if the job file has named another output.to or output.format since.
      place TEXT,
      object_key TEXT
    ) STRICT;
    CREATE INDEX evicted_unfinished ON evicted (window) WHERE generation IS NOT NULL;
    """

  /// Part of the schema since version 10.
  private static let outputRules = """
    CREATE TRIGGER outputs_one_window_more AFTER INSERT ON outputs WHEN NEW.kind = 'window'
      BEGIN UPDATE checkpoint SET window_count = window_count + 1; END;
    CREATE TRIGGER outputs_one_window_less AFTER DELETE ON outputs WHEN OLD.kind = 'window'
      BEGIN UPDATE checkpoint SET window_count = window_count - 1; END;
    -- Holds what no release writes, so that it is found without a look at each object.
    CREATE INDEX outputs_unsound ON outputs (object_key)
      WHERE (\(Checkpoint.isSoundOutput)) IS NOT TRUE;
    """

  /// As the columns of `batch_totals` in schema 10.
  static let batchSums = """
    count(*), coalesce(sum(offsets), 0), coalesce(sum(records), 0), coalesce(sum(counted), 0),
    coalesce(sum(rejected), 0), coalesce(sum(accepted), 0)
    """

  /// Part of the schema: a change of it is a new index.
  static let isSoundOutput = """
    typeof(revision) = 'integer' AND typeof(published_revision) = 'integer' AND revision >= 1
    AND published_revision BETWEEN 0 AND revision AND checks_left IN (0, 1, 2)
    """

  /// Reason and number of rejects, as far as a file without `reject_totals` tells: rejects that
  /// were dropped have left their number, and no reason.
  static let rejectTotalsBefore9 = """
    SELECT reason, count(*) AS rejects FROM rejects GROUP BY reason
    UNION ALL SELECT 'unknown', rejects FROM (
      SELECT sum(rejected) - (SELECT count(*) FROM rejects) AS rejects FROM batches)
    WHERE rejects > 0
    """
}
