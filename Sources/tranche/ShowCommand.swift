import ArgumentParser
import Checkpoints
import Engine
import Escaping
import Formats
import Foundation
import Glibc
import Jobs
import Offsets
import Reports
import Tables
import Windows

struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a window's table, with bars for percentages.",
    discussion:
      """
      Reads committed state, also while a run writes. A double column whose name begins with \
      percentage gets a bar. On a terminal, texts that do not fit are cut and end in …; anywhere \
      else nothing is cut. --lineage tells where the window came from. --csv and --json print the \
      rows as an object in that format has them.
      """
  )

  @OptionGroup var job: JobOptions

  @Option(
    help: """
      latest, or a window by its start in ISO 8601, by its label, its key, or its object's key.
      """)
  var window = "latest"

  // A value that begins with a hyphen is a wrong number, not another option.
  @Option(
    parsing: .unconditional,
    help:
      """
      Show at most this many rows, those with the largest percentage first; 0 for all, sorted by \
      key. (default: 20; with --csv and --json: all)
      """
  )
  var rows: Int?

  @Option(help: "Show these columns, separated by commas, in this order.")
  var columns: String?

  @Flag(
    help: """
      Show instead which offsets and which batches the window came from: the smallest of a \
      partition, the one after the largest, and how many records between them were counted.
      """)
  var lineage = false

  @Flag(help: "Print CSV with a header.")
  var csv = false

  @Flag(help: "Print one JSON object per row.")
  var json = false

  func validate() throws {
    if let rows, rows < 0 { throw ValidationError("--rows takes 0 or more.") }
    if lineage && (csv || rows != nil || columns != nil) {
      throw ValidationError("--lineage takes none of --rows, --columns and --csv.")
    }
    if csv && json { throw ValidationError("Give --csv or --json, not both.") }
  }

  func run() throws {
    try exiting(job, json: failureText(json, jobFile: job.file)) {
      let job = try self.job.load()
      guard job.window.keepsState else {
        throw CommandError(
          .data,
          """
          \(job.name): results of single batches are not kept in the checkpoint. Read the \
          objects at \(job.output.destination.text).
          """
        )
      }
      let reader = try openedReader(of: job, folder: try self.job.checkpointFolder(of: job))
      if let refusal = try reader.refusal(of: job) { throw refusal }
      if let evicted = try chosenEvicted(job, reader) {
        guard lineage else { throw CommandError(.data, noState(of: evicted, job)) }
        return try show(evicted.lineage, of: evicted.window, state: "evicted", job)
      }
      let window = try chosenWindow(job, reader)
      let isFinal = try reader.cutoff(of: job).isFinal(window, of: job.window)
      if lineage {
        return try show(
          try reader.lineage(of: window, job: job), of: window,
          state: isFinal ? "final" : "open", job)
      }
      let table = try resultTable(of: window, job: job, reader: reader)
      let isForProgram = csv || json
      let shown = table.shownRows(most: rows ?? (isForProgram ? 0 : 20))
      let part = try chosen(table, rows: shown)
      if isForProgram {
        let bytes = csv ? try CSVEncoder.encode(part) : try JSONLinesEncoder.encode(part)
        return printExact(String(decoding: bytes, as: UTF8.self), terminator: "")
      }
      printText(
        "\(job.name), \(job.window.title(of: window)): \(counted(table.rowCount, "group"))"
          + (isFinal ? ", final" : ""))
      printText(
        TablePrinter(part, hiddenCount: table.rowCount - shown.count, width: terminalWidth()).text)
    }
  }

  private struct LineageReport: Encodable {
    struct Partition: Encodable {
      let source, topic: String
      let partition: Int32
      let from, to, records: Int64
    }
    let window: String
    let state: String
    let first_batch, last_batch: Int64?
    let partitions: [Partition]
  }

  private func show(
    _ lineage: WindowLineage?, of window: Window, state: String, _ job: Job
  ) throws {
    guard let lineage else {
      throw CommandError(
        .data, "\(job.name), \(job.window.title(of: window)): the checkpoint holds no state of it.")
    }
    let report = LineageReport(
      window: job.window.label(of: window), state: state,
      first_batch: lineage.firstBatch,
      last_batch: lineage.lastBatch,
      partitions: lineage.partitions.map {
        LineageReport.Partition(
          source: $0.partition.source, topic: $0.partition.topic,
          partition: $0.partition.partition, from: $0.smallestOffset, to: $0.largestOffset + 1,
          records: $0.recordCount)
      })
    if json { return printExact(try jsonLine(report)) }
    let first = lineage.firstBatch.map { "batch \($0)" } ?? "an unknown batch"
    let last = lineage.lastBatch.map { "batch \($0)" } ?? "an unknown batch"
    printText(
      "\(job.name), \(job.window.title(of: window)): from \(first) to \(last)"
        + (state == "open" ? "" : ", \(state)"))
    printText(
      aligned(
        ["partition", "from", "to", "records"],
        zip(lineage.partitions, report.partitions).map { part, shown in
          [
            part.partition.description, grouped(shown.from), grouped(shown.to),
            grouped(shown.records),
          ]
        }, numeric: [1, 2, 3]))
  }

  /// The evicted window that was asked for; nil where it is none.
  private func chosenEvicted(_ job: Job, _ reader: CheckpointReader) throws -> EvictedWindow? {
    // The latest window is one that has state, where there is one.
    guard window != "latest", try reader.evictedCount() > 0 else { return nil }
    if try reader.windows().contains(where: { WindowName(window).fits($0, of: job) }) { return nil }
    var last: Window?
    while true {
      let found = try reader.evictedWindows(of: job, after: last, limit: 1_000)
      guard let newest = found.last else { return nil }
      if let named = found.first(where: { WindowName(window).fits($0.window, of: job) }) {
        return named
      }
      last = newest.window
    }
  }

  private func noState(of evicted: EvictedWindow, _ job: Job) -> String {
    let object = "\(evicted.formerPlace ?? job.output.destination.text)/\(evicted.objectKey)"
    let groups = counted(evicted.groupCount, "group")
    return """
      \(job.name), \(job.window.title(of: evicted.window)): its state was evicted \
      (window.retention), with \(groups) of \(counted(evicted.recordCount, "record")). Its object \
      stays: \(object), with ETag \(evicted.etag). To see what it came from, add --lineage.
      """
  }

  private func chosenWindow(_ job: Job, _ reader: CheckpointReader) throws -> Window {
    try WindowName.window(window, of: job, among: windowsWithRecords(job, reader))
  }

  /// The columns that were asked for, of these rows.
  private func chosen(_ table: Table, rows: [Int]) throws -> Table {
    var indices = Array(table.schema.columns.indices)
    if let columns {
      indices = try columns.split(separator: ",").map { part in
        let name = part.trimmingCharacters(in: .whitespaces)
        if let index = table.schema.index(of: name) { return index }
        throw CommandError(
          .data,
          "--columns: there is no column \(name). There are: "
            + table.schema.columns.map(\.name).joined(separator: ", "))
      }
      guard !indices.isEmpty, Set(indices).count == indices.count else {
        throw CommandError(.data, "--columns: name each column once, as in --columns a,b.")
      }
    }
    let parts = indices.map { index in
      var column = Column(table[index].type)
      for row in rows { column.append(row: row, of: table[index]) }
      return column
    }
    return Table(Schema(indices.map { table.schema.columns[$0] }), columns: parts)
  }
}

extension Table {
  /// Those with the largest percentage first; all of them in the order of their keys.
  ///
  /// - Parameter most: 0 for all.
  func shownRows(most: Int) -> [Int] {
    var order = Array(0..<rowCount)
    guard most > 0 else { return order }
    if let bar = percentageColumn {
      order.sort {
        self[bar].doubles[$0] != self[bar].doubles[$1]
          ? self[bar].doubles[$0] > self[bar].doubles[$1] : $0 < $1
      }
    }
    return Array(order.prefix(most))
  }

  /// The first that holds shares in percent by its name.
  fileprivate var percentageColumn: Int? {
    schema.columns.firstIndex { $0.type == .double && $0.name.lowercased().hasPrefix("percentage") }
  }
}

/// - Throws: ``CommandError`` where there is none.
func windowsWithRecords(_ job: Job, _ reader: CheckpointReader) throws -> [Window] {
  let windows = try reader.windows()
  guard !windows.isEmpty else {
    throw CommandError(.data, "\(job.name): there is no window with records yet.")
  }
  return windows
}

/// What a person calls a window: any of the texts that name one in what Tranche prints.
struct WindowName {
  private let text: String

  init(_ text: String) { self.text = text }

  /// - Parameter windows: Ascending; at least one.
  /// - Throws: ``CommandError`` where the text names none of them.
  static func window(_ text: String, of job: Job, among windows: [Window]) throws -> Window {
    let latest = windows[windows.count - 1]
    if text == "latest" { return latest }
    if let named = windows.first(where: { WindowName(text).fits($0, of: job) }) { return named }
    throw CommandError(
      .data,
      """
      \(job.name): no window starts at \(text). There \
      \(windows.count == 1 ? "is 1" : "are \(windows.count)"), from \
      \(job.window.keyText(of: windows[0])) to \(job.window.keyText(of: latest)).
      """
    )
  }

  func fits(_ window: Window, of job: Job) -> Bool {
    let (kind, key) = (job.window, job.window.keyText(of: window))
    var names = [key, kind.label(of: window), kind.title(of: window)]
    names.append(ObjectKeys.window(window, of: job))
    if let folder = kind.folderColumn { names.append("\(folder)=\(key)") }
    // Also as the last parts of an object's whole address.
    let path = text.hasSuffix("/") ? String(text.dropLast()) : text
    if names.contains(where: { path == $0 || path.hasSuffix("/\($0)") }) { return true }
    return time.map { kind.label(of: window) == $0 } ?? false
  }

  /// A time in whatever way it is written, as labels have it; colons may be hyphens, as in keys.
  private var time: String? {
    var words = text.split(separator: "T", maxSplits: 1).map(String.init)
    if words.count == 2 {
      let clock = words[1].split(separator: "-", omittingEmptySubsequences: false)
      if clock.count == 3 { words[1] = clock.joined(separator: ":") }
    }
    return TimestampText.parse(words.joined(separator: "T"))
      .map { TimestampText.format(milliseconds: $0) }
  }
}

/// Columns of the terminal that standard output is; nil where it is none.
func terminalWidth() -> Int? {
  var size = winsize()
  guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0,
    size.ws_col > 0
  else { return nil }
  return Int(size.ws_col)
}

/// A table for the terminal.
struct TablePrinter {
  private let table: Table
  private let hiddenCount: Int
  private let width: Int?

  /// - Parameters:
  ///   - hiddenCount: Rows that are not shown.
  ///   - width: Nil where nothing is to be cut.
  init(_ table: Table, hiddenCount: Int, width: Int?) {
    self.table = table
    self.hiddenCount = hiddenCount
    self.width = width
  }

  var text: String {
    let bar = table.percentageColumn
    let numeric = Set(
      table.schema.columns.indices.filter { table.schema.columns[$0].type != .string })
    let rows = (0..<table.rowCount).map { row in
      table.schema.columns.indices.map { cell(row, $0) } + [
        bar.map { drawBar(table[$0].doubles[row]) } ?? ""
      ]
    }
    return aligned(
      table.schema.columns.map(\.name) + [""], rows, numeric: numeric, width: width)
      + (hiddenCount > 0
        ? "\n... and \(grouped(Int64(hiddenCount))) more (--rows 0 shows all)" : "")
  }

  private func cell(_ row: Int, _ index: Int) -> String {
    let column = table[index]
    if column.isNull[row] { return "NULL" }
    return switch column.type {
    case .double: String(format: "%.4f", column.doubles[row])
    case .string, .bytes: ForeignText.escaped(column.text[row])
    case .int32, .int64, .uint64, .bool, .timestamp, .timestampMicroseconds, .date, .decimal:
      column.plainText(row)
    }
  }

  /// 40 cells stand for 100 %.
  private func drawBar(_ percentage: Double) -> String {
    let eighths = Int((min(max(percentage, 0), 100) / 100 * 320).rounded())
    let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    return String(repeating: "█", count: eighths / 8) + partial[eighths % 8]
  }
}
