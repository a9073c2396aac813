package import Tables

/// One window over all records. It has one pane, number 0.
package struct GlobalWindow: WholeWindows, Equatable {
  package init() {}

  package var canonicalText: String { "global" }
  package var keepsState: Bool { true }
  package var timeColumn: String? { nil }
  package var folderColumn: String? { nil }

  package func panes(ofTimes times: Column?, batch: Int64) -> RowPanes { .same(0) }

  package func end(of pane: Pane) -> Int64? { nil }

  package func fault(of pane: Pane) -> String? {
    pane.number == 0 ? nil : "is \(pane.number), and this job has only window 0"
  }

  package func keyText(of window: Window) -> String { "global" }
  package func label(of window: Window) -> String { "global" }
  package func title(of window: Window) -> String { "all time" }
}
