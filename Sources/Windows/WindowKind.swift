package import Tables

/// The largest stretch of time that no object cuts. State is kept per pane and group.
///
/// A pane of tumbling windows is a window. Kinds whose windows overlap or are made of smaller
/// pieces have more panes than windows, or more windows than panes.
package struct Pane: Hashable, Comparable, Sendable {
  /// What it means is known to its ``WindowKind`` alone.
  package let number: Int64

  package init(_ number: Int64) { self.number = number }

  package static func < (left: Pane, right: Pane) -> Bool { left.number < right.number }
}

/// What one object shows.
package struct Window: Hashable, Comparable, Sendable {
  /// What it means is known to its ``WindowKind`` alone.
  package let number: Int64

  package init(_ number: Int64) { self.number = number }

  package static func < (left: Window, right: Window) -> Bool { left.number < right.number }
}

/// The pane of each row of a batch, by its number.
package enum RowPanes: Sendable {
  case same(Int64)
  case each([Int64])

  package subscript(row: Int) -> Int64 {
    switch self {
    case .same(let pane): pane
    case .each(let panes): panes[row]
    }
  }
}

/// All that is particular to a kind of window: nothing outside this module asks which kind it is.
///
/// A new kind is a type of its own in a file of its own, and a value that the job file's parser
/// makes one from.
package protocol WindowKind: Sendable {
  /// As the checkpoint spells it among the job's settings: equal for equal windows alone.
  var canonicalText: String { get }

  /// Whether state is kept from batch to batch. If not, each batch gives a window of its own, which
  /// is rendered before the batch is committed.
  var keepsState: Bool { get }

  /// The time that each record must have: a timestamp column.
  var timeColumn: String? { get }

  /// Where each window's object has a folder, its hive column: `window_start` for
  /// `window_start=2026-11-23T10-05-00Z/`. Readers take the folder's value for a column of that
  /// name, so the job may have none.
  var folderColumn: String? { get }

  /// - Parameters:
  ///   - times: The values of ``timeColumn``, none of which is null.
  ///   - batch: The batch's number.
  func panes(ofTimes times: Column?, batch: Int64) -> RowPanes

  /// The windows that show a pane, ascending.
  func windows(showing pane: Pane) -> [Window]

  /// The panes that a window shows, ascending.
  func panes(of window: Window) -> [Pane]

  /// The first instant behind a pane; nil for one that no time ends.
  func end(of pane: Pane) -> Int64?

  /// What is wrong with a pane that no record can have; goes on after its name: "is 7, which ...".
  func fault(of pane: Pane) -> String?

  /// As ``fault(of:)-(Pane)``, of a window.
  func fault(of window: Window) -> String?

  /// The value of ``folderColumn``.
  func keyText(of window: Window) -> String

  /// As objects and messages name it.
  func label(of window: Window) -> String

  /// As the heading of a table names it: from when to when.
  func title(of window: Window) -> String
}

/// What the canonical text of a kind says, where the job file that it was made from is gone.
package enum WindowText {
  /// As ``WindowKind/keepsState``.
  package static func keepsState(_ canonicalText: String) -> Bool {
    canonicalText != BatchWindows(keepsEach: false).canonicalText
  }

  /// Whether all records there will ever be belong to one pane.
  package static func hasOnePane(_ canonicalText: String) -> Bool {
    canonicalText == GlobalWindow().canonicalText
  }
}

/// Kinds whose pane is a window, under the same number.
protocol WholeWindows: WindowKind {}

extension WholeWindows {
  package func windows(showing pane: Pane) -> [Window] { [Window(pane.number)] }
  package func panes(of window: Window) -> [Pane] { [Pane(window.number)] }
  package func fault(of window: Window) -> String? { fault(of: Pane(window.number)) }
}

extension WindowKind {
  /// What an object's key begins with: `window_start=2026-11-23T10-05-00Z/`, or nothing.
  package func folder(of window: Window) -> String {
    folderColumn.map { "\($0)=\(keyText(of: window))/" } ?? ""
  }

  /// ` of window 2026-11-23T10:05:00.000Z`; nothing where panes do not follow from times.
  func phrase(of pane: Pane) -> String {
    guard timeColumn != nil, let window = windows(showing: pane).first else { return "" }
    return " of window \(label(of: window))"
  }
}
