package import Tables

/// Each batch is a window of its own, under its number. The records of a job without aggregate have
/// this kind too.
package struct BatchWindows: WholeWindows, Equatable {
  /// Whether each batch's object has a folder of its own, or replaces the one before.
  package let keepsEach: Bool

  package init(keepsEach: Bool) { self.keepsEach = keepsEach }

  package var canonicalText: String { "batch" }
  package var keepsState: Bool { false }
  package var timeColumn: String? { nil }
  package var folderColumn: String? { keepsEach ? "batch" : nil }

  package func panes(ofTimes times: Column?, batch: Int64) -> RowPanes { .same(batch) }

  package func end(of pane: Pane) -> Int64? { nil }

  package func fault(of pane: Pane) -> String? {
    pane.number >= 1 ? nil : "is \(pane.number), and the first batch is 1"
  }

  /// `000000042`
  package func keyText(of window: Window) -> String { batchText(window.number) }
  package func label(of window: Window) -> String { String(window.number) }
  package func title(of window: Window) -> String { "batch \(window.number)" }
}

/// A batch's number in an object's key: nine digits or more.
package func batchText(_ batch: Int64) -> String {
  let digits = String(batch)
  return String(repeating: "0", count: max(0, 9 - digits.count)) + digits
}
