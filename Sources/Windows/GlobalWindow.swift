package import Tables

/// One window over all records. It has one pane, number 0.
package struct GlobalWindow: WindowKind, Equatable {
  package init() {}

  package var canonicalText: String { "global" }
  package var keepsState: Bool { true }
  package var timeColumn: String? { nil }
  package var folderColumn: String? { nil }

  package func panes(ofTimes times: Column?, batch: Int64) -> RowPanes { .same(0) }
  package func windows(showing pane: Pane) -> [Window] { [Window(0)] }
  package func panes(of window: Window) -> [Pane] { [Pane(0)] }

  package func fault(of pane: Pane) -> String? { fault(ofNumber: pane.number) }
  package func fault(of window: Window) -> String? { fault(ofNumber: window.number) }

  private func fault(ofNumber number: Int64) -> String? {
    number == 0 ? nil : "is \(number), and this job has only window 0"
  }

  package func keyText(of window: Window) -> String { "global" }
  package func label(of window: Window) -> String { "global" }
  package func title(of window: Window) -> String { "all time" }
}
