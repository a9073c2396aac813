import Checkpoints
import Engine
import Formats
import Foundation
import Glibc
import Jobs
import ObjectStorage
import Offsets
import Tables
import TestSupport
import Trials
import Windows

/// A checkpoint is input too: what `run`, `status`, `show` and `plan` do with one whose pages or
/// values were changed must end well, or
/// with an error in the words of its module. A crash ends the child that tried it, and the parent
/// tells.
struct CheckpointFuzzer {
  private var random: SeededRandom
  private let seed: UInt64
  private let template: CheckpointTemplate
  private let folder: String
  private let places: MemoryPlaces
  /// What was done to the file.
  private var changes: [String] = []

  private init(_ seed: UInt64, templates: [CheckpointTemplate], folder: String) {
    self.seed = seed
    random = SeededRandom(seed: seed)
    template = templates[Int(seed % UInt64(templates.count))]
    self.folder = folder
    places = MemoryPlaces(template.objects)
  }

  // MARK: - One checkpoint

  private var path: String { Checkpoint.path(ofJob: template.job.name, folder: folder) }

  /// - Returns: How each command ended, by its error's kind; what is no clean end is told on
  /// standard output.
  private mutating func play() throws -> [String] {
    try? FileManager.default.removeItem(atPath: folder)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: template.path, toPath: path)
    try change()
    // Before the commands: if one of them ends the process, this is what the parent knows.
    let told = changes.joined(separator: "; ").replacing("\n", with: " ")
    say("seed \(seed) \(template.job.name): \(told)")
    var ends: [String] = []
    for (name, command) in [
      ("status", status), ("show", show), ("plan", plan), ("check", check),
      (seed % 4 == 0 ? "skip" : "run", seed % 4 == 0 ? skip : run),
      ("run", run), ("status", status),
    ] {
      var end = "well"
      do {
        try command()
      } catch let error as SQLFailure {
        throw error
      } catch {
        let isKnown =
          error is CheckpointError || error is RunError || error is SourceError
          || error is ObjectStoreError
        let known = RunError(wrapping: error)
        end = "\(known.code)"
        if !isKnown { say("unclean \(name): \(error)".replacing("\n", with: " ")) }
        if known.code == .internalFault {
          say("internal \(name): \(known)".replacing("\n", with: " "))
        }
      }
      ends.append("\(name) \(end)")
    }
    return ends
  }

  private struct SQLFailure: Error {}

  private var sources: [any MessageSource] {
    [MemorySource("main", CheckpointTemplate.cluster(), aheadCount: 3)]
  }

  private func status() throws {
    let status = try CheckpointReader(path: path).status()
    _ = String(describing: status)
    _ = RunLock.holder(path: Checkpoint.lockPath(ofJob: template.job.name, folder: folder))
  }

  private func check() throws {
    let reader = try CheckpointReader(path: path, job: template.job)
    _ = try reader.problems(job: template.job)
  }

  private func plan() throws {
    let status = try CheckpointReader(path: path).status()
    let preview = try PlanPreview(job: template.job, status: status, sources: sources)
    _ = preview.partitions.map { ($0.lag, $0.heldBackCount, $0.lostCount) }
    _ = (preview.plan.offsetCount, preview.lag)
  }

  private func show() throws {
    let job = template.job
    guard job.window.keepsState else { return }
    let reader = try CheckpointReader(path: path)
    _ = try reader.changes(for: job)
    for window in try reader.windows() {
      _ = job.window.label(of: window)
      _ = ObjectKeys.window(window, of: job)
      _ = job.window.title(of: window)
      _ = try resultTable(of: window, job: job, reader: reader)
    }
  }

  private func run() throws {
    let checkpoint = try Checkpoint(
      job: template.job, folder: folder, holder: "fuzz", now: 0, release: "fuzz")
    let run = try Run(
      job: template.job, checkpoint: checkpoint, sources: sources,
      storeAt: { [places] in places.store(at: $0.text) }, options: runOptions(),
      logger: quietLogger())
    if let error = run.execute().errors.first { throw error }
  }

  /// As the command does: a gap at progress and one ahead of it.
  private func skip() throws {
    let checkpoint = try Checkpoint(
      job: template.job, folder: folder, holder: "fuzz", now: 0, release: "fuzz")
    for (partition, ledger) in checkpoint.ledgers.sorted(by: { $0.key < $1.key }) {
      guard let end = try sources[0].ends(of: [partition])[partition]?.end else { continue }
      for ahead in [Int64(3), 0] where ledger.nextOffset < end - ahead {
        let from = ledger.nextOffset + ahead
        let gap = PartitionRange(partition, OffsetRange(from: from, to: from + 1))
        guard let ledger = checkpoint.ledgers[partition], ledger.problem(ofGap: gap.range) == nil
        else { continue }
        try checkpoint.recordGap(gap, reason: .skipped, now: 0)
      }
    }
  }

  // MARK: - What is changed

  private mutating func change() throws {
    // Most of the time single values, which SQLite itself does not mind.
    let kinds = random.pick([[0], [0], [0, 0], [0, 0, 0], [1], [2], [0, 2], [0, 1]])
    let database = try HostileDatabase(path: path)
    for kind in kinds where kind != 1 {
      do {
        if kind == 0 { try changeValue(database) } else { try changeStructure(database) }
      } catch let failure as HostileDatabase.Failure {
        // A key that would stand there twice, a table that is gone: no change.
        changes.append("not: \(failure)")
      }
    }
    try database.rewriteSchema(template.schema)
    try database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if kinds.contains(1) { try changeBytes() }
  }

  private mutating func changeValue(_ database: HostileDatabase) throws {
    let (table, column) = random.pick(template.columns)
    let identifier = "\"\(column)\""
    let count = try database.rows("SELECT count(*) FROM \(table)").first.flatMap { Int($0[0]) } ?? 0
    let all = try database.rows("SELECT name FROM pragma_table_info('\(table)')").map {
      "\"\($0[0])\""
    }
    guard count > 0, let first = all.first else { return }
    let value = hostileValue(table, column)
    let row = Int.random(in: 0..<count, using: &random)
    // By all columns, as a table without row identifiers has no other handle for any row.
    let list = all.joined(separator: ", ")
    let sql =
      random.chance(15)
      ? "UPDATE \(table) SET \(identifier) = \(value)"
      : """
      UPDATE \(table) SET \(identifier) = \(value)
      WHERE (\(list)) IS (SELECT \(list) FROM \(table) ORDER BY \(first) LIMIT 1 OFFSET \(row))
      """
    changes.append(sql.count > 400 ? String(sql.prefix(400)) + "..." : sql)
    try database.execute(sql)
  }

  private mutating func hostileValue(_ table: String, _ column: String) -> String {
    if column == "ranges" && random.chance(70) { return hostileRanges() }
    if table == "job_settings" && random.chance(50) {
      return "'\(random.pick(["s3:", "file:", "json", "", "s3://x/../y"]))'"
    }
    switch Int.random(in: 0..<10, using: &random) {
    case 0: return "NULL"
    case 1...4:
      return random.pick([
        "0", "-1", "1", "2", "9223372036854775807", "(-9223372036854775807 - 1)",
        "9223372036854775806", "2147483647", "2147483648",
        "-2147483648", "-2147483649", "4294967296", "1000000000000000", "-1000000000000000",
        "253402300800000", "\"\(column)\" + 1",
        "\"\(column)\" - 1", "-\"\(column)\"", "\"\(column)\" * 1000",
      ])
    case 5: return random.pick(["1.5", "-1e300", "9e999", "0.1", "9223372036854775808.0"])
    case 6, 7:
      return random.pick([
        "''", "'..'", "'../x'", "'a/../b'", "'/etc/passwd'", "'a//b'", "'.'", "'a/'",
        "'a' || char(0) || 'b'", "char(0xFEFF)", "char(27) || '[2J'",
        "'file:'", "'s3://'", "'file:/'", "'s3:///x'", "'ftp://x'", "'x' || hex(zeroblob(20000))",
        "CAST(x'ff00fe' AS TEXT)", "'main'", "'t'",
        "'window'", "'batch'", "'rejects'", "'overflow'", "'9223372036854775808'",
        "'_tranche/owner'", "char(13) || char(10)",
      ])
    case 8:
      return random.pick([
        "x''", "x'00'", "zeroblob(1000)", "x'ffffffffffffffff'", "x'53514c69746520666f726d6174'",
      ])
    default:
      // Of the last row.
      return "(SELECT max(\"\(column)\") FROM \(table))"
    }
  }

  private mutating func hostileRanges() -> String {
    let number = { (random: inout SeededRandom) -> String in
      random.pick([
        "0", "1", "2", "5", "9", "15", "-1", "2147483648", "9223372036854775807",
        "9223372036854775806", "9223372036854775808", "1.5", "null",
      ])
    }
    let ranges = (0..<Int.random(in: 0...3, using: &random)).map { _ in
      "[\(number(&random)),\(number(&random)),\(number(&random))]"
    }
    let source = random.pick(["main", "main", "main", "other", ""])
    let topic = random.pick(["t", "t", "u", "none", "t\\u0000"])
    let text =
      "[{\"source\":\"\(source)\",\"topic\":\"\(topic)\","
      + "\"ranges\":[\(ranges.joined(separator: ","))]}]"
    return "'"
      + random.pick([
        text, text, text, "", "[]", "{}", "[{}]", String(text.dropLast(5)),
        String(repeating: "[", count: 5_000),
      ]) + "'"
  }

  private mutating func changeStructure(_ database: HostileDatabase) throws {
    let table = random.pick(template.schema.keys.sorted())
    let sql = random.pick([
      "DELETE FROM \(table)", "DELETE FROM \(table)", "DROP TABLE \(table)",
      "PRAGMA application_id = 7", "PRAGMA user_version = -1",
      "DELETE FROM grdb_migrations", "INSERT INTO grdb_migrations VALUES ('99')",
      "UPDATE grdb_migrations SET identifier = NULL",
      "ALTER TABLE \(table) RENAME TO renamed", "ALTER TABLE \(table) ADD COLUMN more",
      "DROP INDEX outputs_dirty",
      """
      CREATE TRIGGER t1 AFTER UPDATE ON outputs
      BEGIN UPDATE outputs SET revision = revision + 1; END
      """,
      "CREATE TRIGGER t2 BEFORE INSERT ON batches BEGIN SELECT RAISE(IGNORE); END",
      "DROP TABLE \(table); CREATE VIEW \(table) AS SELECT 1",
      """
      INSERT OR IGNORE INTO partitions SELECT partition_id + 100, source, 'new',
        partition + 2147483640, incarnation, start_offset, next_offset FROM partitions
      """,
      """
      INSERT OR IGNORE INTO partitions SELECT partition_id + 200, source, topic, partition,
        incarnation + 1, 0, 0 FROM partitions
      """,
      """
      INSERT OR IGNORE INTO gaps SELECT partition_id, from_offset + 1, to_offset, reason,
        recorded_at FROM gaps
      """,
      """
      INSERT OR IGNORE INTO gaps SELECT partition_id, next_offset, next_offset, 'lost', ''
        FROM partitions
      """,
    ])
    changes.append(sql)
    try database.execute(sql)
  }

  /// Bits and bytes of pages, the file's length, what lies beside it.
  private mutating func changeBytes() throws {
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    switch Int.random(in: 0..<8, using: &random) {
    case 0:
      bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
      changes.append("cut to \(bytes.count) bytes")
    case 1:
      let garbage = (0..<Int.random(in: 1...5_000, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      let ending = random.pick(["-wal", "-journal", "-shm"])
      try Data(garbage).write(to: URL(fileURLWithPath: path + ending))
      changes.append("\(garbage.count) bytes of garbage in \(ending)")
    case 2:
      let page = Int.random(in: 0..<bytes.count / 4_096, using: &random)
      let other = Int.random(in: 0..<bytes.count / 4_096, using: &random)
      for index in 0..<4_096 { bytes[page * 4_096 + index] = bytes[other * 4_096 + index] }
      changes.append("page \(other) over page \(page)")
    default:
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        // The file's and a page's first bytes are those that mean most.
        let page = Int.random(in: 0..<bytes.count / 4_096, using: &random) * 4_096
        let place =
          page
          + (random.chance(40)
            ? Int.random(in: 0..<120, using: &random) : Int.random(in: 0..<4_096, using: &random))
        if random.chance(50) {
          bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        } else {
          bytes[place] = UInt8.random(in: 0...255, using: &random)
        }
        changes.append("byte \(place) is \(bytes[place])")
      }
    }
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }

  // MARK: - Many checkpoints

  /// What a child does: some seeds, one line before each.
  static func play(folder: String, _ seeds: Range<UInt64>) throws {
    // Room for what a mutated size may ask for, and not for all of the machine.
    var limit = rlimit(rlim_cur: 4 << 30, rlim_max: 4 << 30)
    setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    let templates = try (0..<CheckpointTemplate.count).map {
      try CheckpointTemplate.load($0, folder: folder)
    }
    for seed in seeds {
      // One that hangs ends this process by SIGALRM.
      alarm(20)
      var fuzzer = CheckpointFuzzer(seed, templates: templates, folder: "\(folder)/run-\(getpid())")
      for end in try fuzzer.play() { say("end \(end)") }
    }
    try? FileManager.default.removeItem(atPath: "\(folder)/run-\(getpid())")
    say("done")
  }

  static func playOne(_ seed: UInt64) throws {
    let folder = try makeTemplates()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try play(folder: folder, seed..<seed + 1)
  }

  /// Checkpoints in memory: nothing here is to survive.
  private static func makeTemplates() throws -> String {
    let folder = "/dev/shm/tranche-fuzz-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for index in 0..<CheckpointTemplate.count {
      try CheckpointTemplate(index, folder: folder).save(index, folder: folder)
    }
    return folder
  }

  /// What is the same of a fault whichever value showed it.
  private static func digest(_ message: String) -> String {
    let place = message.replacing(/\/dev\/shm\/[^:]*:/, with: "CHECKPOINT:")
    let column = place.replacing(/from database value .*? - column: ("[^"]*").*/) {
      "from a value of column \($0.1)"
    }
    return String(column.replacing(/[0-9]+/, with: "N").prefix(200))
  }

  /// Runs children until the time is over, and tells what ended them.
  ///
  /// - Returns: Whether every command ended well or with a clean error.
  static func fuzz(seconds: Double, from first: UInt64) throws -> Bool {
    let folder = try makeTemplates()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let started = ContinuousClock.now
    var seed = first
    var ends: [String: Int] = [:]
    var crashes: [String: (count: Int, example: String)] = [:]
    var faults: [String: (count: Int, example: String)] = [:]
    say("checkpoint: from seed \(first)")
    while ContinuousClock.now - started < .seconds(seconds) {
      let result = try execute(
        CommandLine.arguments[0], ["checkpoint-child", folder, "\(seed)", "100"],
        environment: ["SWIFT_BACKTRACE": "enable=no"])
      var last = ""
      for line in result.output.split(separator: "\n").map(String.init) {
        if line.hasPrefix("seed ") {
          last = line
          seed += 1
        } else if line.hasPrefix("end ") {
          ends[String(line.dropFirst(4)), default: 0] += 1
        } else if line != "done" {
          let digest = Self.digest(line)
          faults[digest, default: (0, "\(last)\n    \(line)")].count += 1
        }
      }
      if result.output.hasSuffix("done\n") { continue }
      let words =
        result.errors.split(separator: "\n").first.map(String.init)
        ?? "ended with \(result.exitCode)"
      let digest = Self.digest(words)
      crashes[
        digest, default: (0, "\(last)\n    \(words) (exit \(result.exitCode))")
      ].count += 1
    }
    say("checkpoint: seeds \(first) to \(seed - 1), \(seed - first) checkpoints")
    for (end, count) in ends.sorted(by: { $0.key < $1.key }) { say("  \(end): \(count)") }
    for (digest, fault) in faults.sorted(by: { $0.value.count > $1.value.count }) {
      say("FAULT \(fault.count) times: \(digest)\n    \(fault.example)")
    }
    for (digest, crash) in crashes.sorted(by: { $0.value.count > $1.value.count }) {
      say("CRASH \(crash.count) times: \(digest)\n    \(crash.example)")
    }
    return crashes.isEmpty && faults.isEmpty
  }
}
