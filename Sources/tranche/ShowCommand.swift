import ArgumentParser
import Checkpoints
import Engine
import Escaping
import Formats
import Foundation
import Glibc
import Jobs
import Reports
import Tables
import Windows

struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a window's table, with bars for percentages.",
    discussion:
      """
      Reads committed state, also while a run writes. A double column whose name begins with \
      percentage gets a bar.
      """
  )

  @OptionGroup var job: JobOptions

  @Option(help: "latest, or the start of a window, as in its key or in ISO 8601.")
  var window = "latest"

  @Option(
    help:
      """
      Show at most this many rows, those with the largest percentage first; 0 for all, sorted by \
      key.
      """
  )
  var rows = 20

  func run() throws {
    try exiting(job) {
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
      let reader = try CheckpointReader(
        path: Checkpoint.path(ofJob: job.name, folder: try self.job.checkpointFolder(of: job)),
        job: job)
      let refused = try reader.changes(for: job).filter { $0.effect == .refuse }
      guard refused.isEmpty else { throw CheckpointError(.jobChanged(refused), path: reader.path) }
      let window = try chosenWindow(job, reader)
      let table = try resultTable(of: window, job: job, reader: reader)
      printText(
        "\(job.name), \(job.window.title(of: window)): \(grouped(Int64(table.rowCount))) groups")
      printText(TablePrinter(table, maxRows: rows).text)
    }
  }

  private func chosenWindow(_ job: Job, _ reader: CheckpointReader) throws -> Window {
    let windows = try reader.windows()
    guard let latest = windows.last else {
      throw CommandError(.data, "\(job.name): there is no window with records yet.")
    }
    if window == "latest" { return latest }
    // As in its key or as a label, whose time may be written in several ways.
    var text = window
    let time = text.withUTF8 { TimestampText.parse(UnsafeRawBufferPointer($0)) }
    let label = time.map { TimestampText.format(milliseconds: $0) } ?? window
    if let named = windows.first(where: {
      job.window.keyText(of: $0) == window || job.window.label(of: $0) == label
    }) {
      return named
    }
    throw CommandError(
      .data,
      """
      \(job.name): no window starts at \(window). There are \(windows.count), from \
      \(job.window.keyText(of: windows[0])) to \(job.window.keyText(of: latest)).
      """
    )
  }
}

/// A table for the terminal.
struct TablePrinter {
  private let table: Table
  private let maxRows: Int

  init(_ table: Table, maxRows: Int) {
    self.table = table
    self.maxRows = maxRows
  }

  var text: String {
    let bar = table.schema.columns.firstIndex {
      $0.type == .double && $0.name.lowercased().hasPrefix("percentage")
    }
    var order = Array(0..<table.rowCount)
    if maxRows > 0, let bar {
      order.sort {
        table[bar].doubles[$0] != table[bar].doubles[$1]
          ? table[bar].doubles[$0] > table[bar].doubles[$1] : $0 < $1
      }
    }
    let shown = maxRows > 0 ? Array(order.prefix(maxRows)) : order
    let numeric = Set(
      table.schema.columns.indices.filter { table.schema.columns[$0].type != .string })
    let rows = shown.map { row in
      table.schema.columns.indices.map { cell(row, $0) } + [
        bar.map { drawBar(table[$0].doubles[row]) } ?? ""
      ]
    }
    let more = table.rowCount - shown.count
    return aligned(table.schema.columns.map(\.name) + [""], rows, numeric: numeric)
      + (more > 0 ? "\n... and \(grouped(Int64(more))) more (--rows 0 shows all)" : "")
  }

  private func cell(_ row: Int, _ index: Int) -> String {
    let column = table[index]
    if column.isNull[row] { return "NULL" }
    return switch column.type {
    case .double: String(format: "%.4f", column.doubles[row])
    case .string, .bytes: ForeignText.escaped(column.text[row])
    case .int32, .int64, .bool, .timestamp, .timestampMicroseconds, .date, .decimal:
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
