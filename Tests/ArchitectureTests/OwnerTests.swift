import Foundation
import Testing

/// An idea, the files that own it, and a pattern that gives away a file that takes it over.
struct Owner: Sendable, CustomStringConvertible {
  let idea: String
  /// Files or folders below `Sources`.
  let files: [String]
  /// A regular expression that fits a line of code of the owner, and of no other file.
  let pattern: String

  var description: String { idea }

  static let all = [
    Owner(
      "writing to standard streams", in: ["tranche/StandardStreams.swift"],
      #"to: STDERR_FILENO|\bstderr\b"#),
    Owner(
      "how a line of the log is written", in: ["Reports/LogLine.swift"],
      #""(level|message)", \.text"#),
    Owner("whether the journal reads", in: ["tranche/Log.swift"], #"JOURNAL_STREAM|INVOCATION_ID"#),
    Owner("libcurl", in: ["HTTP"], #"\bCCurl\b|\bcurl_|CURLOPT"#),
    Owner("librdkafka", in: ["Kafka"], #"\bCRdKafka\b|\brd_kafka_"#),
    Owner(
      "what librdkafka hands out", in: ["Kafka/Handles.swift"],
      #"rd_kafka_(new|destroy\w*|conf_new|conf_destroy|topic_new|topic_destroy)\(|"#
        + #"rd_kafka_queue_(new|destroy|get_partition)\(|list_(new|destroy)\("#),
    Owner(
      "what may be read ahead", in: ["Kafka/ReadAhead.swift"],
      #"aheadByteCount: byteCount|expected\.to - position"#),
    Owner(
      "where a record begins and ends", in: ["Formats/Framing.swift"],
      #"\btrimmedEnd\(|\bcloseRecord\(at: end\)"#),
    Owner(
      "which format a value comes from",
      in: [
        "Formats/ValueSource.swift", "Formats/KeyAndHeaders.swift", "Formats/JSONMembers.swift",
      ],
      #"\bJSONScanner\(|return scanner\.scanRecord\("#),
    Owner(
      "a search of eight bytes at a time", in: ["Formats/ByteWord.swift"],
      #"trailingZeroBitCount|&- ones\b|&- Self\.ones\b"#),
    Owner(
      "which field a column of CSV is", in: ["Formats/CSVColumns.swift"],
      #"slotsByName\[|\breadHeader\(\s*$"#),
    Owner(
      "text to typed values", in: ["Formats/Conversion.swift", "Formats/NumberText.swift"],
      #"\bparse(Integer|Double|Bool)\(|\bDecimalText\.parse\("#),
    Owner(
      "what a sample's fields are",
      in: ["Formats/SampleReader.swift", "Formats/SampleShape.swift"],
      #"\bisNamedLikeTime\(|\bBinaryKind\.init\b|20 \* \w+(\.\w+)? >= 19"#),
    Owner(
      "what names a job file may give", in: ["Jobs/JobNames.swift"],
      #"\bisLetterOrDigit\(\$0\) \|\| \$0 == "_""#),
    Owner("a word as a shell takes it", in: ["tranche/CommandWords.swift"], #"'\\\\''"#),
    Owner("zstd", in: ["Parquet/Compressor.swift"], #"\bCZstd\b|\bZSTD_"#),
    Owner("days of the calendar", in: ["Tables/CivilDate.swift"], #"146_097|gmtime|strftime"#),
    Owner(
      "time as text", in: ["Tables/TimestampText.swift"], #"T\\\(clock\(|padded\(date\.month"#),
    Owner("rules of time zones", in: ["Scheduling/ZoneRules.swift"], #"TZif|\bTimeZone\("#),
    Owner("when a job is due", in: ["Scheduling"], #"\bfollowsHours\b|\.next\(after: "#),
    Owner(
      "powers of ten", in: ["Tables/PowersOfTen.swift"],
      #"\.reduce\(.*\b1(\.0)?\).*\* 10\b|\b1e10\b"#),
    Owner("a text as JSON quotes it", in: ["Tables/JSONText.swift"], #"\\\\u00"#),
    Owner("values as JSON", in: ["Reports/JSONLine.swift"], #"\bJSONEncoder\b"#),
    Owner(
      "hashing of values", in: ["Tables/RowHashes.swift"], #"0xFF51_AFD7|0x0000_0100_0000_01B3"#),
    Owner(
      "comparison of texts by their bytes", in: ["Tables/RowComparison.swift"],
      #"leftBytes|Bytes\.lexicographicallyPrecedes"#),
    Owner("which file a path leads to", in: ["Checkpoints/FileIdentity.swift"], #"\bst_ino\b"#),
    Owner(
      "the kind of a window",
      in: ["Windows", "Jobs/JobParser.swift", "Jobs/JobParser+Computation.swift"],
      #"\b(TumblingWindows|GlobalWindow|BatchWindows)\b|"window_start|case \.(tumbling|global)\b"#),
    Owner(
      "which changes need no other look at what was counted", in: ["Jobs/Evolution.swift"],
      #"case "(aggregate\.measures|source\.fields)": return effect"#),
    Owner(
      "the definitions that a checkpoint has had",
      in: ["Checkpoints/StoredDefinitions.swift"],
      #"(FROM|INTO|TABLE) definition(s|_offsets)\b"#),
    Owner(
      "the choices about a job that was changed", in: ["Reports/Words+Changes.swift"],
      #"a second state beside this one"#),
    Owner(
      "what a measure does", in: ["Windows"],
      #"\b(Count|Sum|Minimum|Maximum|Average)\(|case "?\.?(sum|avg)\b|'overflow'"#),
    Owner(
      "records that are refused after decoding",
      in: ["Tables/RecordBatch.swift", "Windows/Fold.swift", "Engine/BatchPipeline.swift"],
      #"\bRefusal\("#),
    Owner(
      "which windows are final and which are evicted", in: ["Windows/Cutoff.swift"],
      #"\.end\(of: |subtractingReportingOverflow\((rule|retention)"#),
    Owner(
      "what is left of evicted windows",
      in: [
        "Checkpoints/Checkpoint+Eviction.swift", "Checkpoints/CheckpointReader+Check.swift",
        "Checkpoints/VerificationCopy.swift", "Checkpoints/Checkpoint+Migrations.swift",
      ], #"(FROM|INTO|UPDATE) evicted\b"#),
    Owner(
      "the table of the state", in: ["Checkpoints/Generation.swift"],
      #""groups"|groups_\\\(|(FROM|INTO|TABLE|EXISTS) groups\b"#),
    Owner("digits in groups of three", in: ["Reports/AlignedText.swift"], #"% 3 == 0"#),
    // But for comments in the SQL of tables, which are stored as they were released.
    Owner(
      "commands in messages", in: ["tranche"],
      #"^(?!.*(-- By|/\* Of)).*"#
        + #"(tranche (skip|resolve|run|status)\b|--(accept-rejects|adopt|restored|keep)\b)"#),
    Owner("words of errors", in: ["Reports", "tranche"], #"Nothing (of|was)\b"#),
    Owner(
      "what is to be published next", in: ["Engine/Publication.swift"],
      #"\bunsettledFromStart\b|\bhasNews\b"#),
    Owner(
      "copies of a checkpoint", in: ["Checkpoints/CheckpointCopy.swift"],
      #"\.backup\(to: |\.copy""#),
    Owner(
      "objects of batches that another history has put", in: ["Engine/ObjectsAhead.swift"],
      #"ObjectKeys\.batch\(ofKey"#),
    Owner(
      "which settings batches were read under",
      in: ["Jobs/BatchSettings.swift", "Checkpoints/Checkpoint+BatchSettings.swift"],
      #"(FROM|INTO) batch_settings\b|select\[\\\("#),
    Owner("names of backups", in: ["Engine/CheckpointBackup.swift"], #"prefix\(ofJob"#),
    Owner("names of metrics", in: ["Reports/Metrics.swift"], #""tranche_(?!row)[a-z]"#),
    Owner("exit codes", in: ["tranche/Exit.swift"], #"\bcase \.\w+: (6[4-9]|7[0-8])$"#),
    Owner(
      "what is unread and where progress lands", in: ["Offsets/OffsetLedger.swift"],
      #"max\(.*\bnextOffset\b|- (\w+\.)?nextOffset\b|\bgaps\.(next|range|insert)\("#),
    Owner(
      "the next step", in: ["Engine/NextStep.swift", "Offsets/BatchPlan.swift"],
      #"\bplanBatch\("#),
    Owner(
      "which gaps a checkpoint holds", in: ["Checkpoints/StoredPartitions.swift"],
      #"FROM gaps\b"#),
    Owner(
      "which offsets a checkpoint calls backfilled",
      in: ["Checkpoints/StoredPartitions.swift", "Checkpoints/Checkpoint+Backfill.swift"],
      #"(FROM|INTO|UPDATE) (backfilled|backfills)\b|INTO backfill_ranges\b"#),
    Owner(
      "what a backfill may take", in: ["Offsets/OffsetLedger.swift"],
      #"\b(backfilled|underWay)\.(insert|remove)\(|intersection\(backfillable\)"#),
    Owner(
      "incarnations of partitions",
      in: ["Checkpoints/StoredPartitions.swift", "Checkpoints/Checkpoint+Migrations.swift"],
      #"\bincarnation"#),
    Owner(
      "defaults and bounds of the job file", in: ["Jobs/JobKeys.swift"],
      #"default: \.value\(|"us-east-1"|"10%"|64 << 20|1\.\.\.10_000_000\b|\(most: [0-9]"#),
    Owner("what ${...} stands for", in: ["Jobs/References.swift"], #"of: "\$\{"\)"#),
    Owner(
      "what a store's answer means", in: ["ObjectStorage/S3Answer.swift"],
      #""(NoSuchKey|SlowDown|ExpiredToken|InvalidRequest)"|case 200\.\.\.399"#),
    Owner("a job on other messages", in: ["Trials/Trial.swift"], #"\.forTrial\b"#),
    Owner("the files of a fixture", in: ["Trials"], #""(expected|rejects|records)\.csv""#),
    Owner("tokens of SQL", in: ["Expressions"], #"\bSQLToken\b|\btokenize\("#),
    Owner("what a person may have meant", in: ["Tables/Suggestion.swift"], #"Did you mean \\\("#),
  ]

  init(_ idea: String, in files: [String], _ pattern: String) {
    self.idea = idea
    self.files = files
    self.pattern = pattern
  }
}

@Suite("One owner per idea")
struct OwnerTests {
  @Test("no file but the owner's takes the idea over", arguments: Owner.all)
  func owner(_ owner: Owner) throws {
    // Not Swift's Regex: for its word boundaries "facts.st_ino" is one word, and it is slow.
    let pattern = try NSRegularExpression(pattern: owner.pattern)
    var ownLineCount = 0
    for source in try Source.all(below: ["Sources"]) where source.name.hasSuffix(".swift") {
      let name = source.name.dropFirst("Sources/".count)
      let isOwner = owner.files.contains { name == $0 || name.hasPrefix($0 + "/") }
      for (number, line) in source.codeLines {
        let text = String(line)
        let whole = NSRange(location: 0, length: text.utf16.count)
        guard pattern.firstMatch(in: text, range: whole) != nil else { continue }
        if isOwner { ownLineCount += 1 }
        #expect(
          isOwner, "\(source.name):\(number): \(line)\nThis belongs in \(owner.files).")
      }
    }
    // A pattern that fits nothing would hold for ever.
    #expect(ownLineCount > 0, "nothing in \(owner.files) fits \(owner.pattern)")
  }
}

@Suite("How the sources read")
struct SourceTests {
  static let columnLimit = 100

  @Test("no line is longer than 100 columns, but a table's and an address")
  func columns() throws {
    var lineCount = 0
    for source in try Source.all(
      below: ["Sources", "Tests", "Benchmarks", "docs", "jobs", "README.md", "Makefile"])
    {
      for (number, line) in source.lines {
        lineCount += 1
        if line.count <= Self.columnLimit || line.hasPrefix("|") || line.contains("://") {
          continue
        }
        Issue.record("\(source.name):\(number) has \(line.count) columns")
      }
    }
    #expect(lineCount > 10_000)
  }
}

/// A text file of the project.
struct Source {
  /// Below the project's folder.
  let name: String
  let lines: [(number: Int, text: Substring)]

  /// Lines that are not comments.
  var codeLines: [(number: Int, text: Substring)] {
    lines.filter { !$0.text.drop { $0 == " " }.hasPrefix("//") }
  }

  /// - Parameter names: Files and folders below the project's folder.
  static func all(below names: [String]) throws -> [Source] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
    var sources: [Source] = []
    for name in names {
      let below = FileManager.default.enumerator(atPath: "\(root)/\(name)")
      var files = below.map { $0.compactMap { ($0 as? String).map { "\(name)/\($0)" } } } ?? []
      if files.isEmpty { files = [name] }
      for file in files.sorted() where isText(file) {
        let text = try String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        sources.append(Source(name: file, lines: lines.enumerated().map { ($0 + 1, $1) }))
      }
    }
    return sources
  }

  private static func isText(_ file: String) -> Bool {
    let endings = [".swift", ".py", ".md", ".yaml", ".txt", ".h", ".c", ".sh", "Makefile"]
    return endings.contains(where: file.hasSuffix) && !file.contains("release-0.1")
      && !file.contains("/Stack/")
  }
}
