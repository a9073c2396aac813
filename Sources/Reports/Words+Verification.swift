internal import Checkpoints
package import Engine
internal import Escaping
internal import Offsets

extension Words {
  /// What does not agree, and where: one line.
  package func text(of finding: Finding) -> String {
    switch finding {
    case .groupMissing(let window, let group):
      "\(self.group(window, group)): the checkpoint lacks it, and the messages give it"
    case .groupExtra(let window, let group):
      "\(self.group(window, group)): the checkpoint holds it, and no message gives it"
    case .measure(let window, let group, let measure, let held, let found):
      "\(self.group(window, group)): \(measure) is \(ForeignText.escaped(held)), and the messages "
        + "give \(ForeignText.escaped(found))"
    case .records(let window, let held, let found):
      "\(title(window)): the checkpoint counts \(records(held)), and the messages give "
        + records(found)
    case .lineage(let window, let partition, let held, let found):
      "\(title(window)), lineage of \(partition): \(text(of: held)), and the messages give "
        + text(of: found)
    case .noObject(let window): "\(title(window)): it holds state, and no object shows it"
    case .batchesMissing(let from, let to):
      to - from == 1
        ? "batch \(from): the history lacks it"
        : "batches \(from) to \(to - 1): the history lacks them"
    case .batchesGone(let count):
      "the history lacks \(grouped(count)) \(count == 1 ? "batch" : "batches") more than were "
        + "pruned"
    case .total(let name, let held, let found):
      "all batches of the history: \(name.rawValue) is \(grouped(held)) by their sums, and their "
        + "rows give \(grouped(found))"
    case .offsetSum(let held, let found):
      "the ledger calls \(grouped(held)) offsets counted, and all batches have read "
        + grouped(found)
    case .batchCount(let batch, let name, let held, let found):
      name == .offsets
        ? "batch \(batch): offsets is \(grouped(held)), and its ranges hold \(grouped(found))"
        : "batch \(batch): \(name.rawValue) is \(grouped(held)), and the messages give "
          + grouped(found)
    case .outside(let range, let batch):
      "\(range): outside the ledger, and batch \(batch) has counted \(them(range))"
    case .twice(let range, let batch):
      "\(range): counted twice, the second time by batch \(batch)"
    case .missing(let range):
      "\(range): missing: the ledger calls \(them(range)) counted, and no batch has read "
        + them(range)
    case .beyondEnd(let range, let end):
      "\(range): the ledger calls \(them(range)) counted, and the log ends at \(end)"
    case .rejectMissing(let place, let reason):
      "\(text(of: place)): the checkpoint lacks it (\(reason))"
    case .rejectExtra(let place, let reason):
      "\(text(of: place)): the checkpoint holds it (\(ForeignText.escaped(reason))), and the "
        + "messages give none"
    case .reject(let place, let value, let held, let found):
      held == nil && found == nil
        ? "\(text(of: place)): \(value) is not that of the record"
        : "\(text(of: place)): \(value) is \(ForeignText.escaped(held ?? "NULL")), and the "
          + "messages give \(ForeignText.escaped(found ?? "NULL"))"
    case .objectMissing(let key): "object \(ForeignText.escaped(key)): it is not there"
    case .objectStrange(let key):
      "object \(ForeignText.escaped(key)): nobody knows it: this state has put no such object"
    case .object(let key, let difference):
      "object \(ForeignText.escaped(key)): \(text(of: difference))"
    case .unrenderable(let key, let cause):
      "object \(ForeignText.escaped(key)): the state does not render to one: "
        + ForeignText.escaped(cause)
    }
  }

  /// Why something was not compared; goes on after its name.
  package func text(of reason: NotCompared.Reason) -> String {
    switch reason {
    case .unpublished: "its newest revision is not published yet"
    case .newer: "a run has changed it meanwhile"
    case .unsettled: "a request about it may still be applied; the next run looks"
    case .otherRelease(let release):
      "rendered by \(ForeignText.escaped(release)), whose bytes may differ; it is as it was "
        + "published"
    case .jobChanged: "the job file was changed; the next run writes it again"
    case .formerPlace(let place):
      place.isEmpty
        ? "it stays where the job published before"
        : "it stays at \(ForeignText.escaped(place)), where the job published before"
    case .otherSettings:
      "rendered by a select that the checkpoint does not know; it is as it was published"
    case .tooLarge: "the batch holds more than limits.batch_bytes"
    case .otherDefinition:
      "the job file was another then, in more than its fields, measures and where"
    }
  }

  private func title(_ window: String) -> String { "window \(window)" }

  private func group(_ window: String, _ group: String) -> String {
    "\(title(window)), group \(ForeignText.escaped(group))"
  }

  private func records(_ count: Int64?) -> String {
    count.map { counted($0, "record") } ?? "none"
  }

  private func them(_ range: PartitionRange) -> String { range.count == 1 ? "it" : "them" }

  private func text(of lineage: Lineage?) -> String {
    lineage.map {
      "offsets \($0.smallestOffset) to \($0.largestOffset), \(records($0.recordCount))"
    } ?? "none"
  }

  private func text(of place: RejectPlace) -> String {
    "reject of batch \(place.batch), \(place.partition) offset \(place.offset), record "
      + "\(place.record)"
  }

  private func text(of difference: ObjectDifference) -> String {
    let origin =
      difference.isAsPublished
      ? "as it was published" : "not as it was published"
    guard let rendered = difference.renderedByteCount else {
      return "\(origin): it has \(grouped(difference.storedByteCount)) bytes now"
    }
    let place = difference.firstByte.map { ", from byte \($0) on" } ?? ""
    let sizes =
      rendered == difference.storedByteCount
      ? "\(grouped(rendered)) bytes"
      : "\(grouped(difference.storedByteCount)) bytes instead of "
        + grouped(rendered)
    return "it is not what the state renders to\(place) (\(sizes); \(origin))"
  }
}

/// A verification as a table for people: some lines, the differences first.
package struct VerificationText {
  private let report: Verification
  private let words: Words
  private let isStrict: Bool
  /// Lines of a list that are shown.
  private static let shownCount = 20

  package init(_ report: Verification, _ words: Words, isStrict: Bool) {
    self.report = report
    self.words = words
    self.isStrict = isStrict
  }

  package var text: String {
    ([title] + list(report.findings) { words.text(of: $0) } + [account] + summary + notCompared)
      .joined(separator: "\n")
  }

  private var title: String {
    let verdict =
      report.findings.count > 0
      ? counted(report.findings.count, "difference")
      : report.agrees(isStrict: isStrict) ? "all agrees" : "not all can be proved"
    let batch =
      report.batch == 0 ? "before the first batch" : "as of batch \(grouped(report.batch))"
    return "\(report.job), \(batch): \(verdict)"
  }

  /// One line an element.
  private func list<Element>(
    _ sample: Sample<Element>, _ line: (Element) -> String
  ) -> [String] {
    let lines = sample.first.prefix(Self.shownCount).map { "  \(line($0))" }
    let rest = sample.count - Int64(lines.count)
    return rest == 0 ? lines : lines + ["  and \(grouped(rest)) more"]
  }

  private var account: String {
    let columns: [(String, (PartitionAccount) -> Int64)] = [
      ("counted", { $0.messages.counted }), ("filtered", { $0.messages.filtered }),
      ("rejected", { $0.messages.rejected }), ("no record", { $0.messages.empty }),
      ("holes", { $0.holes }), ("gaps", { $0.gaps }), ("not held", { $0.unheld }),
      ("not decoded", { $0.notDecoded }),
      ("outside", { $0.outside }), ("missing", { $0.missing }),
    ]
    // What is nowhere takes no room, but for what matters.
    let shown = columns.filter { column in
      ["counted", "missing"].contains(column.0)
        || report.partitions.contains { column.1($0) != 0 }
    }
    func row(_ name: String, _ accounts: [PartitionAccount]) -> [String] {
      ["  \(name)"] + shown.map { column in grouped(accounts.reduce(0) { $0 + column.1($1) }) }
    }
    let rest = report.partitions.count - Self.shownCount
    let rows =
      report.partitions.prefix(Self.shownCount).map { row("\($0.partition)", [$0]) }
      + (rest > 0 ? [row("\(rest) more", Array(report.partitions.suffix(rest)))] : [])
      + (report.partitions.count > 1 ? [row("all", report.partitions)] : [])
    return aligned(
      ["  offsets of"] + shown.map(\.0), rows, numeric: Set(1...shown.count))
  }

  private var summary: [String] {
    var parts: [String] = []
    func add(_ count: Int64, _ noun: String) { parts.append(counted(count, noun)) }
    add(report.batchCount, "batch")
    if report.windowCount > 0 {
      add(report.provedWindowCount, "window")
      add(report.groupCount, "group")
    }
    if report.rejectCount > 0 { add(report.rejectCount, "reject") }
    add(report.objectCount, "object")
    var lines = ["  compared: " + parts.joined(separator: ", ")]
    if let chosen = report.chosen {
      lines.append("  chosen: \(grouped(chosen.count)) of \(grouped(chosen.of))")
    }
    if report.evictedCount > 0 {
      lines.append(
        "  evicted, with no state to compare: \(counted(report.evictedCount, "window"))")
    }
    if report.unprovable.count > 0 {
      let first = report.unprovable.first.prefix(3).map { ForeignText.escaped($0) }
        .joined(separator: ", ")
      let more =
        report.unprovable.count > 3 ? " and \(grouped(report.unprovable.count - 3)) more" : ""
      lines.append(
        "  unprovable, as not all their messages are there, or not their history: \(first)\(more)")
    }
    return lines
  }

  private var notCompared: [String] {
    list(report.notCompared) {
      "not compared: \(ForeignText.escaped($0.subject)): "
        + words.text(of: $0.reason)
    }
  }
}
