import Checkpoints
import Engine
import Formats
import Foundation
import Jobs
import Logging
import Offsets
import Reports
import TestSupport
import Testing
import Trials

/// Changes every key of the job file between two runs and looks at what happens: to the checkpoint,
/// to the objects that stand, and to
/// what is read next. The list of keys says what must.
@Suite("A change of a key of the job file")
struct JobKeyTests {
  @Test("has a case here, whose effect is the one that the list of keys states")
  func everyKeyHasACase() {
    for key in JobKeys.all {
      let cases = KeyChange.all.filter { $0.key == key.path }
      #expect(!cases.isEmpty, "\(key.path) has no case")
      let hasItsEffect = cases.contains { $0.effect == key.effect }
      // Where only one value is allowed nothing can be changed but its being there.
      #expect(hasItsEffect, "\(key.path) is stated as \(key.effect), and no case shows that")
      for other in cases where other.effect != key.effect {
        #expect(
          other.exception != nil, "\(other): has another effect than \(key.effect), unexplained")
      }
    }
    for change in KeyChange.all {
      #expect(JobKeys.all.contains { $0.path == change.key }, "\(change.key) is no key")
    }
  }

  @Test("has the effect that the list of keys states", arguments: KeyChange.all)
  func effect(change: KeyChange) throws {
    switch change.expected {
    case .refused(let naming): try refused(change, naming: naming)
    case .evolves(let naming): try evolves(change, naming: naming)
    case .withNextBatch: try takesEffectWithNextBatch(change)
    case .renderedAgain: try renderedAgain(change)
    case .publishedAgain(let leavesOldObjects):
      try publishedAgain(change, leavesOldObjects: leavesOldObjects)
    case .nothing: try standsStill(change, Bench())
    case .from(let event, let isSeen): try takesEffect(change, after: event, isSeen)
    case .connection(let text):
      try standsStill(change, Bench())
      #expect(text(try change.before()) != text(try change.after()), "\(change)")
    }
  }

  // MARK: - What each effect looks like

  /// The run ends with the code for a changed job before it reads or writes, and the old file goes
  /// on.
  private func refused(_ change: KeyChange, naming: String) throws {
    let bench = try Bench()
    try bench.runWell(try change.before())
    let (stood, state) = (bench.objects, try bench.state())
    change.between(bench)
    let outcome = bench.run(try change.after())
    #expect(outcome.errorCode == .jobChanged, "\(change): \(outcome)")
    #expect(outcome.error?.contains(naming) == true, "\(change): \(outcome.error ?? "no error")")
    #expect(outcome.batchCount == 0 && bench.objects == stood)
    #expect(try bench.state() == state, "\(change)")
    change.undo(bench)
    let undone = bench.run(try change.before())
    #expect(
      undone.error == nil && undone.batchCount == 0 && undone.publishedCount == 0, "\(undone)")
  }

  /// A run is refused until the job was let evolve; then runs go on.
  private func evolves(_ change: KeyChange, naming: String) throws {
    try refused(change, naming: naming)
    let bench = try Bench()
    try bench.runWell(try change.before())
    #expect(bench.run(try change.after()).error?.contains("next batch on: evolve") == true)
    #expect(try bench.evolve(try change.after()).need == .evolve, "\(change)")
    #expect(try bench.runWell(try change.after()).batchCount == 0, "\(change)")
    bench.comeMore()
    #expect(try bench.runWell(try change.after()).recordCount > 0, "\(change)")
    #expect(try bench.evolve(try change.after()).need == .nothing, "\(change)")
    #expect(bench.run(try change.before()).errorCode == .jobChanged, "\(change)")
  }

  /// What was written stands, and what comes is treated in the new way.
  private func takesEffectWithNextBatch(_ change: KeyChange) throws {
    let (bench, control) = (try Bench(), try Bench())
    try standsStill(change, bench)
    try control.runWell(try change.before())
    for bench in [bench, control] { bench.comeMore() }
    try bench.runWell(try change.after())
    try control.runWell(try change.before())
    #expect(bench.results != control.results, "\(change)")
    // And back.
    for bench in [bench, control] { bench.comeMore() }
    try bench.runWell(try change.before())
    try control.runWell(try change.before())
    #expect(bench.results == control.results, "\(change)")
  }

  /// Every window's object is written again at its place, as if the job file had always said so.
  private func renderedAgain(_ change: KeyChange) throws {
    let bench = try Bench()
    try bench.runWell(try change.before())
    let stood = bench.results
    let outcome = try bench.runWell(try change.after())
    #expect(outcome.dirtyAtOpening == stood.keys.sorted() && outcome.retiredAtOpening.isEmpty)
    #expect(
      outcome.batchCount == 0 && outcome.publishedCount == stood.count, "\(change): \(outcome)")
    #expect(bench.results.keys == stood.keys)
    for (key, bytes) in bench.results { #expect(bytes != stood[key], "\(change): \(key)") }
    let fresh = try Bench()
    try fresh.runWell(try change.after())
    #expect(bench.objects == fresh.objects, "\(change)")
  }

  /// Every object stands at its new key, as if the job file had always said so, and the old ones
  /// are gone.
  private func publishedAgain(_ change: KeyChange, leavesOldObjects: Bool) throws {
    let bench = try Bench()
    try bench.runWell(try change.before())
    let (old, stood) = (bench.location(of: try change.before()), bench.objects)
    let outcome = try bench.runWell(try change.after())
    #expect(outcome.batchCount == 0 && outcome.publishedCount > 1, "\(change): \(outcome)")
    let fresh = try Bench()
    try fresh.runWell(try change.after())
    let new = bench.location(of: try change.after())
    #expect(bench.objects[new] == fresh.objects[new], "\(change)")
    if old != new {
      #expect((bench.objects[old] ?? [:]) == (leavesOldObjects ? stood[old] : [:]), "\(change)")
    }
    // Back again: what was left or deleted there is current again.
    try bench.runWell(try change.before())
    #expect(bench.objects[old] == stood[old], "\(change)")
  }

  /// Nothing is read, written or forgotten by a run that finds nothing new.
  private func standsStill(_ change: KeyChange, _ bench: Bench) throws {
    try bench.runWell(try change.before())
    let (stood, state) = (bench.objects, try bench.state())
    let outcome = try bench.runWell(try change.after())
    #expect(outcome.dirtyAtOpening.isEmpty && outcome.retiredAtOpening.isEmpty, "\(change)")
    #expect(outcome.batchCount == 0 && outcome.publishedCount == 0, "\(change): \(outcome)")
    #expect(bench.objects == stood, "\(change)")
    #expect(try bench.state() == state, "\(change)")
  }

  /// As ``standsStill(_:_:)``, and what comes next is treated in the new way: not as it is without
  /// the change.
  private func takesEffect(
    _ change: KeyChange, after event: (Bench) -> Void, _ isSeen: (Outcome, Outcome) -> Bool
  ) throws {
    let (bench, control) = (try Bench(), try Bench())
    if change.readsMore || change.writesAtOnce {
      try bench.runWell(try change.before())
    } else {
      try standsStill(change, bench)
    }
    let stood = bench.results
    event(bench)
    let outcome = bench.run(try change.after())
    try control.runWell(try change.before())
    event(control)
    let unchanged = control.run(try change.before())
    #expect(isSeen(outcome, unchanged), "\(change): \(outcome), without the change \(unchanged)")
    #expect(outcome.dirtyAtOpening.isEmpty && outcome.retiredAtOpening.isEmpty, "\(change)")
    #expect(Set(stood.keys).isSubset(of: bench.results.keys), "\(change): an object is gone")
  }
}

// MARK: - The cases

/// Two job files that differ in one key, and what is expected of the second after runs of the
/// first.
struct KeyChange: Sendable, CustomTestStringConvertible {
  enum Expected: Sendable {
    /// Refused with a message that holds this text.
    case refused(naming: String)
    /// As ``refused(naming:)``, until `tranche evolve`.
    case evolves(naming: String)
    case withNextBatch
    case renderedAgain
    case publishedAgain(leavesOldObjects: Bool)
    /// Takes effect from the run on: after something has happened, the outcome with the change and
    /// the one without it differ so.
    case from(
      after: @Sendable (Bench) -> Void = { $0.comeMore() },
      isSeen: @Sendable (_ with: Outcome, _ without: Outcome) -> Bool)
    /// Concerns how brokers or stores are reached, which no fake shows: this part of the job is
    /// what their clients are made of.
    case connection(@Sendable (Job) -> String)
    /// Says the same in other words.
    case nothing
  }

  enum Base: Sendable {
    /// Tumbling windows by a number; batch windows; rows; windows by a text; windows by a field's
    /// time.
    case windows, batches, rows, texts, fieldTimes
  }

  let key: String
  let base: Base
  /// Pieces of the job file that are exchanged, each of which stands there once.
  let edits: [(old: String, new: String)]
  let expected: Expected
  /// Why the effect is another than the list of keys states for the key; nil where it is that one.
  let exception: String?
  var between: @Sendable (Bench) -> Void = { _ in }
  var undo: @Sendable (Bench) -> Void = { _ in }
  /// Whether the change itself gives the next run something to read.
  var readsMore = false
  /// Whether a run that finds nothing new writes what the change asks for.
  var writesAtOnce = false

  var effect: ChangeEffect {
    switch expected {
    case .refused: JobKeys.key(key)?.effect == .reread ? .reread : .refuse
    case .evolves: .evolve
    case .withNextBatch: .nextBatch
    case .renderedAgain: .renderAgain
    case .publishedAgain: .publishAgain
    case .from, .connection, .nothing: .harmless
    }
  }

  var testDescription: String {
    let changes = edits.map { "\($0.old) -> \($0.new.isEmpty ? "(left out)" : $0.new)" }
    return "\(key): \(changes.joined(separator: "; "))".replacing("\n", with: " ")
  }

  private init(
    _ key: String, _ old: String, _ new: String, in base: Base = .windows, _ expected: Expected,
    exception: String? = nil, also edits: [(old: String, new: String)] = []
  ) {
    self.key = key
    self.base = base
    self.edits = [(old, new)] + edits
    self.expected = expected
    self.exception = exception
  }

  private static let credentials =
    "{ access_key_id: key, secret_access_key: secret, session_token: token }"

  func before() throws -> Job { try Self.parse(Self.text(base)) }

  func after() throws -> Job {
    var text = Self.text(base)
    for (old, new) in edits {
      let parts = text.components(separatedBy: old)
      try #require(parts.count == 2, "\(old) stands \(parts.count - 1) times in the job file")
      text = parts.joined(separator: new)
    }
    try #require(text != Self.text(base))
    return try Self.parse(text)
  }

  private static func parse(_ text: String) throws -> Job {
    try JobFile.parse(text: text, path: "keys.yaml", environment: [:], readFile: { _ in nil })
  }

  /// Every key has a value of its own, so that it can be changed alone.
  private static func text(_ base: Base) -> String {
    let computation =
      switch base {
      case .windows:
        """
        window: { tumbling: 1m, time: record_timestamp }
        where: v >= 0
        aggregate:
          by: [k]
          measures: { calls: count(), total: sum(v) }
        select:
          share: { sql: 1.5 * total, type: double }
          twice: 2.0 * total
        """
      case .fieldTimes:
        """
        window: { tumbling: 1m, time: at }
        aggregate: { by: [k], measures: { calls: count() } }
        """
      case .texts:
        """
        window: global
        aggregate: { by: [name], measures: { calls: count() } }
        select: { label: { sql: "'label of ' || name", type: string } }
        """
      case .batches:
        """
        window: batch
        aggregate: { by: [k], measures: { calls: count() } }
        """
      case .rows: "where: v >= 0"
      }
    return """
      name: keys
      source:
        kafka:
          - name: main
            properties: { bootstrap.servers: "x:1", client.id: keys }
            topics: [t, u]
        start: earliest
        on_data_loss: fail
        commit_group: false
        format: csv
        fields: { k: int32, v: int64, at: "timestamp(unix_seconds)", name: string }
      trigger: { max_offsets: 10, min_offsets: 1, max_delay: 15m, cron: "0 5 * * *", \
      time_zone: UTC }
      \(computation)
      output:
        to: "s3://bucket/place"
        format: csv
        mode: overwrite
        keep: latest
        publish: batch
        manifest: false
        max_pending_bytes: 64MiB
        s3:
          endpoint: "http://one:9000"
          region: us-east-1
          addressing: path
          credentials: \(Self.credentials)
          timeout: 30s
          max_attempts: 4
          ca_file: /etc/one.pem
      rejects: { policy: quarantine, max_share: 50%, max_share_over: 1000, min_records: 100 }
      limits:
        batch_bytes: 256MiB
        record_bytes: 1MiB
        value_bytes: 256KiB
        object_bytes: 1GiB
        groups_per_window: 1000000
        windows_per_batch: 10000
        key_bytes: 1KiB
        future: 1d
      checkpoint:
        history: 1000
        backup: { to: "s3://bucket/backups", every: 1h, keep: 24 }
      """
  }
}

extension KeyChange {
  static let all = source + computation + output + limits + checkpoint

  private static func seen(
    _ isSeen: @escaping @Sendable (_ with: Outcome, _ without: Outcome) -> Bool
  ) -> Expected { .from(isSeen: isSeen) }

  private static let source: [KeyChange] = {
    let skipsLoss = Expected.from(after: { $0.loseUnread() }) {
      $0.error == nil && $0.lostOffsetCount > 0 && $1.errorCode == .dataLoss
    }
    let moreClusters = """
      topics: [t, u]
          - name: second
            properties: { bootstrap.servers: "z:1" }
            topics: [w]
      """
    var renamed = KeyChange(
      "name", "name: keys", "name: other", .refused(naming: "belongs to the job keys"))
    // Under the new name there is no checkpoint; whoever gives it the old one's is told.
    renamed.between = { $0.copyCheckpoint(of: "keys", to: "other") }
    var otherCluster = KeyChange(
      "source.kafka[].properties.*", "x:1", "y:1",
      .refused(naming: "is another cluster than before"),
      exception: "the brokers there are of another cluster: offsets mean nothing on it")
    otherCluster.between = { $0.main.identifier = "another" }
    otherCluster.undo = { $0.main.identifier = "main" }
    var addedCluster = KeyChange(
      "source.kafka", "topics: [t, u]", moreClusters, seen { $0.recordCount > $1.recordCount })
    addedCluster.readsMore = true
    var addedTopic = KeyChange(
      "source.kafka[].topics", "topics: [t, u]", "topics: [t, u, w]",
      seen { $0.recordCount > $1.recordCount },
      exception: "what is added changes nothing that stands")
    addedTopic.readsMore = true
    // Its five records lie before its end.
    var addedLater = KeyChange(
      "source.start", "start: earliest", "start: latest",
      seen { $0.error == nil && $0.recordCount == $1.recordCount },
      also: [("topics: [t, u]", "topics: [t, u, w]")])
    addedLater.readsMore = true
    return [
      renamed,
      KeyChange("source", "on_data_loss: fail", "on_data_loss: skip", skipsLoss),
      addedCluster,
      KeyChange(
        "source.kafka[].name", "- name: main", "- name: principal",
        .refused(naming: "source.kafka[main].topics[t]: was read, is not there")),
      KeyChange(
        "source.kafka[].properties", ", client.id: keys", "",
        .connection { "\($0.clusters[0].properties)" }),
      KeyChange(
        "source.kafka[].properties.*", "client.id: keys", "client.id: other",
        .connection { "\($0.clusters[0].properties)" }),
      KeyChange(
        "source.kafka[].properties.*", "client.id: keys", "isolation.level: read_uncommitted",
        .refused(naming: "isolation.level: was read_committed, is read_uncommitted"),
        exception: "what was aborted would be counted from here on"),
      KeyChange(
        "source.kafka[].properties.*", "client.id: keys",
        "client.id: keys, isolation.level: read_committed",
        .nothing),
      otherCluster,
      addedTopic,
      KeyChange(
        "source.kafka[].topics", "topics: [t, u]", "topics: [t]",
        .refused(naming: "source.kafka[main].topics[u]: was read, is not there")),
      KeyChange(
        "source.kafka[].topics", "topics: [t, u]", "topics: [u, t]", .nothing,
        exception: "their order means nothing"),
      // Topics that are known go on where they are.
      KeyChange("source.start", "start: earliest", "start: latest", .nothing),
      addedLater,
      KeyChange("source.on_data_loss", "on_data_loss: fail", "on_data_loss: skip", skipsLoss),
      KeyChange(
        "source.commit_group", "commit_group: false", "commit_group: true",
        seen { $0.groups == ["tranche-keys"] && $1.groups.isEmpty }),
      KeyChange(
        "source.format", "format: csv\n  fields", "format: json\n  fields",
        .refused(naming: "source.format")),
      KeyChange(
        "source.envelope", "format: csv\n  fields",
        "format: json\n  envelope: connect\n  fields",
        .refused(naming: "source.envelope: was not there, is connect")),
      KeyChange(
        "source.csv", "format: csv\n  fields", "format: csv\n  csv: { null: [NA] }\n  fields",
        .refused(naming: "source.csv.null: was not there, is \"NA\"")),
      KeyChange(
        "source.csv.delimiter", "format: csv\n  fields",
        "format: csv\n  csv: { delimiter: \";\" }\n  fields",
        .refused(naming: "source.csv.delimiter: was not there, is \";\"")),
      KeyChange(
        "source.csv.header", "format: csv\n  fields",
        "format: csv\n  csv: { header: per_message }\n  fields",
        .refused(naming: "source.csv.header: was not there, is per_message")),
      KeyChange(
        "source.csv.quote", "format: csv\n  fields",
        "format: csv\n  csv: { quote: none }\n  fields",
        .refused(naming: "source.csv.quote: was not there, is none")),
      KeyChange(
        "source.csv.trim", "format: csv\n  fields",
        "format: csv\n  csv: { trim: true }\n  fields",
        .refused(naming: "source.csv.trim: was not there, is true")),
      KeyChange(
        "source.csv.trim", "format: csv\n  fields",
        "format: csv\n  csv: { trim: false }\n  fields", .nothing,
        exception: "it is what holds without it"),
      KeyChange(
        "source.csv.null", "format: csv\n  fields",
        "format: csv\n  csv: { null: [\"\\\\N\", NA] }\n  fields",
        .refused(naming: "source.csv.null")),
      KeyChange(
        "source.csv.null", "format: csv\n  fields",
        "format: csv\n  csv: { null: [\"\\\\N\"] }\n  fields", .nothing,
        exception: "it is what holds without it"),
      KeyChange(
        "source.tombstones", "format: csv\n  fields",
        "format: csv\n  tombstones: skip\n  fields",
        .from(after: { $0.comeTombstone() }) {
          $0.error == nil && $1.error == nil && $0.rejectedCount == 0 && $1.rejectedCount == 1
        }),
      KeyChange(
        "source.tombstones", "format: csv\n  fields",
        "format: csv\n  tombstones: reject\n  fields", .nothing),
      KeyChange(
        "source.fields", "name: string }", "name: string, more: { type: \"int32?\", header: h } }",
        .evolves(naming: "source.fields")),
      KeyChange(
        "source.fields", "name: string }", "name: string, more: int32 }",
        .refused(naming: "an added field must allow NULL"),
        exception: "records that lack it were counted"),
      KeyChange(
        "source.fields", "{ k: int32", "{ more: \"int32?\", k: int32",
        .refused(naming: "finds fields by position"),
        exception: "CSV without a header finds fields by position"),
      KeyChange(
        "source.fields", ", name: string }", " }", .refused(naming: "finds fields by position"),
        exception: "CSV without a header finds fields by position"),
      KeyChange(
        "source.fields", "{ k: int32, v: int64", "{ v: int64, k: int32", in: .rows, .withNextBatch,
        exception: "it keeps no state"),
      KeyChange(
        "source.fields", "name: string }", "name: { type: string, header: h } }", in: .batches,
        .withNextBatch, exception: "it keeps no state",
        also: [("calls: count()", "calls: max(v)")]),
      KeyChange(
        "source.fields.*", "name: string }",
        "name: string, more: { type: \"string?\", header: h } }", .evolves(naming: "more string?")),
      KeyChange(
        "source.fields.*", "v: int64", "v: int32",
        .refused(naming: "v would hold other values than before"),
        exception: "what was counted has read another field"),
      KeyChange(
        "source.fields.*", "timestamp(unix_seconds)", "timestamp(unix_milliseconds)",
        .refused(naming: "unix_milliseconds"), exception: "what was counted has read other times"),
      KeyChange(
        "source.fields.*", "name: string", "name: \"string?\"", .refused(naming: "string?"),
        exception: "what was counted has rejected other records"),
      KeyChange(
        "source.fields.*.type", "v: int64", "v: { type: int32 }", .refused(naming: "v int64")),
      KeyChange(
        "source.fields.*.type", "v: int64", "v: { type: int64 }", .nothing,
        exception: "it says the same"),
      KeyChange(
        "source.fields.*.path", "name: string", "name: { type: string, path: $.who.name }",
        .refused(naming: "name string from $.who.name"),
        also: [("format: csv\n  fields", "format: json\n  fields")]),
      KeyChange(
        "source.fields.*.header", "name: string", "name: { type: string, header: who }",
        .refused(naming: "name string from header who")),
      KeyChange(
        "source.fields.*.key", "name: string", "name: { type: string, key: hex }",
        .refused(naming: "name string from key hex")),
    ]
  }()

  private static let computation: [KeyChange] = [
    KeyChange(
      "trigger", "max_offsets: 10", "max_offsets: 100", seen { $0.batchCount < $1.batchCount }),
    KeyChange(
      "trigger.every", "cron: \"0 5 * * *\", time_zone: UTC", "every: 5m",
      .connection { "\($0.schedule.debugDescription)" }),
    KeyChange(
      "trigger.cron", "0 5 * * *", "0 6 * * *", .connection { "\($0.schedule.debugDescription)" }),
    KeyChange(
      "trigger.time_zone", "time_zone: UTC", "time_zone: Europe/Berlin",
      .connection { "\($0.schedule.debugDescription)" }),
    // 60 more come, which are six batches of nine and a rest.
    KeyChange(
      "trigger.min_offsets", "min_offsets: 1", "min_offsets: 9",
      seen { $0.recordCount < $1.recordCount && $0.heldBackUntil == 900_000 },
      also: [("max_offsets: 10", "max_offsets: 9")]),
    KeyChange(
      "trigger.max_delay", "max_delay: 15m", "max_delay: 1h",
      seen { $0.heldBackUntil == 3_600_000 && $1.heldBackUntil == nil },
      also: [("max_offsets: 10", "max_offsets: 9"), ("min_offsets: 1", "min_offsets: 9")]),
    KeyChange(
      "trigger.max_offsets", "max_offsets: 10", "max_offsets: 3",
      seen { $0.batchCount > $1.batchCount }),
    KeyChange(
      "window", "window: { tumbling: 1m, time: record_timestamp }", "window: global",
      .refused(naming: "window: was tumbling")),
    KeyChange(
      "window.tumbling", "tumbling: 1m", "tumbling: 2m", .refused(naming: "is tumbling 120000ms")),
    KeyChange(
      "window.tumbling", "tumbling: 1m", "tumbling: 60s", .nothing,
      exception: "it is the same width"),
    KeyChange("window.time", "time: record_timestamp", "time: at", .refused(naming: "by at")),
    KeyChange(
      "window.allowed_lateness", "time: record_timestamp",
      "time: record_timestamp, allowed_lateness: 1s",
      .from(after: { $0.comeLate() }) {
        $0.error == nil && $0.rejectedCount > 0 && $1.rejectedCount == 0
      }),
    KeyChange(
      "window.retention", "time: record_timestamp",
      "time: record_timestamp, allowed_lateness: 1s, retention: 1s",
      .from(after: { $0.comeLate() }) {
        $0.error == nil && $0.evictedCount > 0 && $1.evictedCount == 0
      }),
    KeyChange(
      "window.time", ", time: record_timestamp", "", .nothing,
      exception: "it is what holds without it"),
    KeyChange(
      "where", "where: v >= 0", "where: v >= 1", .refused(naming: "where: was v >= 0, is v >= 1")),
    KeyChange("where", "where: v >= 0", "", .refused(naming: "where: was v >= 0")),
    KeyChange(
      "where", "where: v >= 0", "where: v % 2 = 0", in: .rows, .withNextBatch,
      exception: "it keeps no state"),
    KeyChange(
      "window", "window: batch", "window: global", in: .batches,
      .refused(naming: "one of the two keeps state"),
      exception: "the job keeps no state, and would"),
    KeyChange(
      "aggregate", "aggregate:\n  by: [k]\n  measures: { calls: count(), total: sum(v) }",
      "aggregate: { by: [], measures: { total: max(v) } }", .refused(naming: "aggregate.by")),
    KeyChange(
      "aggregate.by", "by: [k]", "by: [k, name]",
      .refused(naming: "aggregate.by: was k, is k, name")),
    KeyChange(
      "aggregate.by", "by: [k]", "by: [name]", in: .batches, .withNextBatch,
      exception: "it keeps no state"),
    KeyChange("aggregate.measures", "calls: count(), ", "", .evolves(naming: "aggregate.measures")),
    KeyChange(
      "aggregate.measures", "calls: count(), total: sum(v)", "total: sum(v), calls: count()",
      .renderedAgain, exception: "the state is the same"),
    KeyChange(
      "aggregate.measures", "calls: count()", "calls: count(), least: min(k)", in: .texts,
      .refused(naming: "would be NULL for ever"), exception: "its one window began before"),
    KeyChange(
      "aggregate.measures", "calls: count()", "calls: count(), total: sum(v)", in: .batches,
      .withNextBatch, exception: "it keeps no state"),
    KeyChange(
      "aggregate.measures.*", "total: sum(v)", "total: max(v)", .evolves(naming: "total max(v)")),
    KeyChange(
      "aggregate.measures.*", "calls: count()", "calls: count(), least: min(k)",
      .evolves(naming: "least min(k)")),
    KeyChange(
      "aggregate.measures.*", "total: sum(v)", "total: sum( v )", .nothing,
      exception: "it is the same measure"),
    KeyChange("select", "\n  twice: 2.0 * total", "", .renderedAgain),
    KeyChange("select.*", "twice: 2.0 * total", "twice: 3.0 * total", .renderedAgain),
    KeyChange(
      "select.*", "twice: 2.0 * total", "twice: { sql: 2.0 * total, type: double }", .nothing,
      exception: "it is the same column"),
    KeyChange("select.*.sql", "sql: 1.5 * total", "sql: 2.5 * total", .renderedAgain),
    KeyChange("select.*.type", "type: double", "type: \"decimal(18,3)\"", .renderedAgain),
  ]

  private static let output: [KeyChange] = {
    let publishesOnce = seen {
      $0.publishedCount < $1.publishedCount && $0.batchCount == $1.batchCount
    }
    let stopsSooner = Expected.from(
      after: {
        $0.comeMore()
        $0.places.isDown = true
      }
    ) {
      $0.batchCount < $1.batchCount && $1.batchCount > 1
    }
    var withManifest = KeyChange(
      "output.manifest", "manifest: false", "manifest: true",
      seen { $0.hasManifest && !$1.hasManifest })
    withManifest.writesAtOnce = true
    return [
      KeyChange("output", "publish: batch", "publish: run_end", publishesOnce),
      KeyChange(
        "output.to", "s3://bucket/place", "s3://bucket/elsewhere",
        .publishedAgain(leavesOldObjects: false)),
      KeyChange(
        "output.to", "s3://bucket/place", "s3://other/place",
        .publishedAgain(leavesOldObjects: false)),
      KeyChange(
        "output.to", "s3://bucket/place", "file:out", .publishedAgain(leavesOldObjects: false)),
      KeyChange(
        "output.to", "s3://bucket/place", "s3://bucket/place/", .nothing,
        exception: "it is the same place"),
      KeyChange(
        "output.format", "format: csv\n  mode", "format: json\n  mode",
        .publishedAgain(leavesOldObjects: false)),
      KeyChange(
        "output.format", "format: csv\n  mode", "format: parquet\n  mode",
        .publishedAgain(leavesOldObjects: false)),
      // There is no other mode: what can change is whether it is said.
      KeyChange("output.mode", "\n  mode: overwrite", "", .nothing),
      KeyChange(
        "output.keep", "keep: latest", "keep: each", in: .rows,
        seen { $0.resultCount > $1.resultCount }),
      KeyChange(
        "output.keep", "keep: latest", "keep: each", in: .batches,
        seen { $0.resultCount > $1.resultCount }),
      KeyChange("output.publish", "publish: batch", "publish: run_end", publishesOnce),
      withManifest,
      KeyChange(
        "output.max_pending_bytes", "max_pending_bytes: 64MiB", "max_pending_bytes: 1", in: .rows,
        stopsSooner),
      KeyChange(
        "output.s3", "max_attempts: 4", "max_attempts: 5",
        .connection { "\($0.output.s3.maxAttempts)" }),
      // A delete would go to the new server, so what stands on the former one stays there:
      // docs/design.md says so.
      KeyChange(
        "output.s3.endpoint", "http://one:9000", "http://two:9000",
        .publishedAgain(leavesOldObjects: true)),
      KeyChange(
        "output.s3.region", "region: us-east-1", "region: eu-west-3",
        .connection { $0.output.s3.region }),
      KeyChange(
        "output.s3.addressing", "addressing: path", "addressing: virtual",
        .connection { "\($0.output.s3.addressing)" }),
      KeyChange(
        "output.s3.credentials",
        "\n    credentials: \(credentials)",
        "",
        .connection { keys($0) }),
      KeyChange(
        "output.s3.credentials.profile",
        credentials,
        "{ profile: night }",
        .connection { keys($0) }),
      KeyChange(
        "output.s3.credentials.access_key_id", "access_key_id: key", "access_key_id: other",
        .connection { keys($0) }),
      KeyChange(
        "output.s3.credentials.secret_access_key", "secret_access_key: secret",
        "secret_access_key: other", .connection { keys($0) }),
      KeyChange(
        "output.s3.credentials.session_token", ", session_token: token", "",
        .connection { keys($0) }),
      KeyChange(
        "output.s3.timeout", "timeout: 30s", "timeout: 5s",
        .connection { "\($0.output.s3.timeoutMilliseconds)" }),
      KeyChange(
        "output.s3.max_attempts", "max_attempts: 4", "max_attempts: 1",
        .connection { "\($0.output.s3.maxAttempts)" }),
      KeyChange(
        "output.s3.ca_file", "ca_file: /etc/one.pem", "ca_file: /etc/two.pem",
        .connection { $0.output.s3.caFile ?? "-" }),
    ]
  }()

  /// Their descriptions hide them.
  private static func keys(_ job: Job) -> String {
    switch job.output.s3.credentials {
    case .environment: "environment"
    case .profile(let name): "profile \(name)"
    case .keys(let accessKeyID, let secretAccessKey, let sessionToken):
      "\(accessKeyID) \(secretAccessKey) \(sessionToken ?? "-")"
    }
  }

  /// BackupTests show what each of them does.
  private static let checkpoint: [KeyChange] = {
    let isOther = Expected.connection { "\($0.backup as Any)" }
    return [
      KeyChange(
        "checkpoint.history", "history: 1000", "history: 5",
        seen { $0.historyCount == 5 && $1.historyCount > 10 }),
      KeyChange("checkpoint", "every: 1h", "every: 2h", isOther),
      KeyChange("checkpoint.backup", "keep: 24", "keep: 25", isOther),
      KeyChange("checkpoint.backup.to", "bucket/backups", "bucket/elsewhere/backups", isOther),
      KeyChange("checkpoint.backup.every", "every: 1h", "every: 1d", isOther),
      KeyChange("checkpoint.backup.keep", "keep: 24", "keep: 1", isOther),
    ]
  }()

  private static let limits: [KeyChange] = {
    let dropsThem = seen {
      $0.rejectedCount == $1.rejectedCount && $0.keptRejectCount < $1.keptRejectCount
    }
    let isStopped = seen { $0.errorCode == .data && $1.error == nil }
    // Whether a limit stops the batch or makes it smaller or a record a reject is another test's
    // business.
    let isFelt = seen { with, without in
      without.error == nil
        && (with.errorCode == .data || with.batchCount > without.batchCount
          || with.rejectedCount > without.rejectedCount)
    }
    return [
      KeyChange(
        "rejects", "rejects: { policy: quarantine, ", "rejects: { policy: drop, ", dropsThem),
      KeyChange("rejects.policy", "policy: quarantine", "policy: drop", dropsThem),
      KeyChange("rejects.policy", "policy: quarantine", "policy: fail", isStopped),
      KeyChange("rejects.max_share", "max_share: 50%", "max_share: 0.1%", isStopped),
      // 60 malformed messages are most of the last 100 records, and few of the last 1,000.
      KeyChange(
        "rejects.max_share_over", "max_share_over: 1000", "max_share_over: 100",
        .from(after: { $0.comeMalformed(messageCount: 60) }) {
          $0.errorCode == .data && $1.error == nil
        }),
      // 400 are most of all there are, which are fewer than 1,000.
      KeyChange(
        "rejects.min_records", "min_records: 100", "min_records: 1000",
        .from(after: { $0.comeMalformed(messageCount: 400) }) {
          $0.error == nil && $1.errorCode == .data
        }),
      KeyChange("limits", "groups_per_window: 1000000", "groups_per_window: 3", isStopped),
      KeyChange("limits.batch_bytes", "batch_bytes: 256MiB", "batch_bytes: 100", isFelt),
      KeyChange(
        "limits.value_bytes", "value_bytes: 256KiB", "value_bytes: 12", in: .texts, isStopped),
      KeyChange("limits.object_bytes", "object_bytes: 1GiB", "object_bytes: 100", isStopped),
      KeyChange("limits.record_bytes", "record_bytes: 1MiB", "record_bytes: 12", isFelt),
      KeyChange(
        "limits.groups_per_window", "groups_per_window: 1000000", "groups_per_window: 3",
        isStopped),
      KeyChange(
        "limits.windows_per_batch", "windows_per_batch: 10000", "windows_per_batch: 1", isStopped),
      KeyChange("limits.key_bytes", "key_bytes: 1KiB", "key_bytes: 4", in: .texts, isFelt),
      KeyChange("limits.future", "future: 1d", "future: 1ms", in: .fieldTimes, isFelt),
    ]
  }()
}

// MARK: - The bench

/// What one run did, as far as the tests look at it.
struct Outcome: CustomStringConvertible {
  var error: String?
  var errorCode: RunError.Code?
  var dirtyAtOpening: [String] = []
  var retiredAtOpening: [String] = []
  var batchCount = 0
  var recordCount: Int64 = 0
  var rejectedCount: Int64 = 0
  var keptRejectCount = 0
  var lostOffsetCount: Int64 = 0
  var publishedCount = 0
  var resultCount = 0
  var heldBackUntil: Int64?
  var hasManifest = false
  var evictedCount: Int64 = 0
  /// Batches that the checkpoint can list.
  var historyCount = 0
  /// Consumer groups of the main cluster.
  var groups: [String] = []

  var description: String {
    "\(batchCount) batches, \(recordCount) records, \(rejectedCount) rejected and "
      + "\(keptRejectCount) kept, \(publishedCount) published, "
      + "\(resultCount) results stand, dirty at first \(dirtyAtOpening), \(error ?? "no error")"
  }
}

/// A job's world in memory: its clusters, its stores and the folder of its checkpoint.
final class Bench {
  let main = MemoryCluster(identifier: "main")
  let second = MemoryCluster(identifier: "second")
  let places = MemoryPlaces()
  private let folder: TemporaryFolder
  private var recordCount = 0

  /// 120 messages in each of two topics, one of them malformed.
  init() throws {
    folder = try TemporaryFolder()
    main.create("t", partitionCount: 2)
    main.create("u", partitionCount: 1)
    main.create("w", partitionCount: 1)
    second.create("w", partitionCount: 1)
    addBatches(messageCount: 120)
    for _ in 0..<5 {
      add(to: main, "w", partition: 0)
      add(to: second, "w", partition: 0)
    }
  }

  private func add(to cluster: MemoryCluster, _ topic: String, partition: Int) {
    recordCount += 1
    let text = "\(recordCount % 7),\(recordCount),\(recordCount),name \(recordCount % 5)\n"
    cluster.topics[topic]?[partition].append(
      Array(text.utf8), timestampMilliseconds: Int64(recordCount % 4) * 60_000)
  }

  private func addBatches(messageCount: Int) {
    for count in 0..<messageCount {
      if count == 0 {
        main.topics["t"]?[0].append(Array("oops\n".utf8))
      } else {
        add(to: main, "t", partition: count % 2)
      }
      add(to: main, "u", partition: 0)
    }
  }

  /// 30 more messages in each topic, one of them malformed.
  func comeMore() { addBatches(messageCount: 30) }

  func comeMalformed(messageCount: Int) {
    for _ in 0..<messageCount { main.topics["u"]?[0].append(Array("oops\n".utf8)) }
  }

  /// Records of the second hour in every partition, then others of the first minute.
  func comeLate() {
    let record = Array("1,1,1,name\n".utf8)
    for log in (main.topics["t"] ?? []) + (main.topics["u"] ?? []) {
      log.append(record, timestampMilliseconds: 3_600_000)
    }
    for _ in 0..<30 { main.topics["u"]?[0].append(record, timestampMilliseconds: 0) }
  }

  func comeTombstone() { main.topics["u"]?[0].append(nil) }

  /// More records, of which the broker then removes the first, unread.
  func loseUnread() {
    comeMore()
    guard let log = main.topics["u"]?[0] else { return }
    log.removeRecords(before: log.end - 20)
  }

  func copyCheckpoint(of name: String, to other: String) {
    let files = FileManager.default
    for ending in ["sqlite", "sqlite-wal"] {
      let old = "\(folder.path)/\(name).\(ending)"
      if files.fileExists(atPath: old) {
        try? files.copyItem(atPath: old, toPath: "\(folder.path)/\(other).\(ending)")
      }
    }
  }

  // MARK: - Runs

  private let words = Words(
    .init(checkpointFolder: "the folder", fileMode: "the mode") { "\($0)" })

  @discardableResult
  func runWell(_ job: Job) throws -> Outcome {
    let outcome = run(job)
    try #require(outcome.error == nil, "\(outcome)")
    return outcome
  }

  func evolve(_ job: Job) throws -> ChangeVerdict {
    try Checkpoint.evolve(
      job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
  }

  func run(_ job: Job) -> Outcome {
    var outcome = Outcome()
    do {
      let checkpoint = try Checkpoint(
        job: job, folder: folder.path, holder: "a test", now: 0, release: "test")
      let reader = try CheckpointReader(path: checkpoint.path)
      outcome.dirtyAtOpening = try reader.dirtyOutputs().map(\.objectKey)
      outcome.retiredAtOpening = try reader.retiredObjects().map { "\($0.place)/\($0.objectKey)" }
      var options = RunOptions(clock: { 0 }, nanoseconds: { 0 }, release: "test")
      options.publishingExecutor = { CallerExecutor() }
      let run = try Run(
        job: job, checkpoint: checkpoint,
        sources: job.clusters.map { MemorySource($0.name, $0.name == "second" ? second : main) },
        storeAt: { [places] in places.store(at: Self.location($0, job)) }, options: options,
        logger: Logger(label: "keys") { _ in SwiftLogNoOpLogHandler() })
      let (summary, errors) = run.execute()
      outcome.error = errors.first.map(words.text)
      outcome.errorCode = errors.first?.code
      outcome.batchCount = summary.batchCount
      outcome.recordCount = summary.recordCount
      outcome.rejectedCount = summary.rejectedCount
      outcome.lostOffsetCount = summary.lostOffsetCount
      outcome.publishedCount = summary.publishedCount
      outcome.heldBackUntil = summary.heldBackUntil
      try reader.forEachBatch(newest: nil) { _ in outcome.historyCount += 1 }
      outcome.evictedCount = try reader.evictedCount()
    } catch {
      let error = RunError(wrapping: error)
      outcome.error = words.text(of: error)
      outcome.errorCode = error.code
    }
    outcome.groups = main.groups.keys.sorted()
    let all = places.all.values.flatMap(\.self)
    outcome.hasManifest = all.contains { $0.key == "_tranche/manifest" }
    outcome.keptRejectCount = all.filter {
      $0.key.contains("_rejects/") || $0.key.contains("/rejects/")
    }
    .reduce(0) { $0 + $1.value.count { $0 == UInt8(ascii: "\n") } }
    outcome.resultCount = results.count
    return outcome
  }

  // MARK: - What there is

  private static func location(_ place: Job.Output.Destination, _ job: Job) -> String {
    if case .s3 = place { return "\(job.output.s3.endpoint ?? "aws") \(place.text)" }
    return place.text
  }

  func location(of job: Job) -> String { Self.location(job.output.destination, job) }

  /// Every object but those that tell whose a place is, by location and key.
  var objects: [String: [String: [UInt8]]] {
    places.all.filter { !$0.key.hasSuffix("/backups") }
      .mapValues { $0.filter { $0.key != "_tranche/owner" } }
  }

  /// Every result, by its key.
  var results: [String: [UInt8]] {
    var results: [String: [UInt8]] = [:]
    for objects in objects.values {
      for (key, bytes) in objects where !key.hasPrefix("_") { results[key] = bytes }
    }
    return results
  }

  /// Progress, history and outputs of the job `keys` as the checkpoint tells them.
  func state() throws -> String {
    let reader = try CheckpointReader(path: Checkpoint.path(ofJob: "keys", folder: folder.path))
    return String(describing: try reader.status())
  }
}
