package import Tables

/// Windows of equal width that start at multiples of it since 1970-01-01 UTC. A pane is a window,
/// its number the start in milliseconds since 1970.
package struct TumblingWindows: WholeWindows, Equatable {
  /// At least 1.
  package let widthMilliseconds: Int64
  package let time: String

  package init(widthMilliseconds: Int64, time: String) {
    self.widthMilliseconds = widthMilliseconds
    self.time = time
  }

  package var canonicalText: String { "tumbling \(widthMilliseconds)ms by \(time)" }
  package var keepsState: Bool { true }
  package var timeColumn: String? { time }
  package var folderColumn: String? { "window_start" }

  package func panes(ofTimes times: Column?, batch: Int64) -> RowPanes {
    guard let times else { preconditionFailure("the windows' time is not decoded") }
    return .each(times.integers.map(start))
  }

  /// The start of the window that holds an instant, before 1970 as well. An instant within one
  /// width of the smallest integer belongs to the window clamped there.
  @inline(__always) func start(holding timestampMilliseconds: Int64) -> Int64 {
    let remainder = timestampMilliseconds % widthMilliseconds
    let start = timestampMilliseconds - remainder
    guard remainder < 0 else { return start }
    let (earlier, overflow) = start.subtractingReportingOverflow(widthMilliseconds)
    return overflow ? Int64.min : earlier
  }

  package func end(of pane: Pane) -> Int64? {
    let (end, isBeyond) = pane.number.addingReportingOverflow(widthMilliseconds)
    return isBeyond ? nil : end
  }

  /// The start is a multiple of the width, and the end is an instant too.
  package func fault(of pane: Pane) -> String? {
    let start = pane.number
    let isWhole =
      start % widthMilliseconds == 0 && !start.addingReportingOverflow(widthMilliseconds).overflow
    return isWhole
      ? nil : "is \(start), which is not the start of a window of \(widthMilliseconds) ms"
  }

  /// `2026-11-23T10-05-00Z`: ISO 8601 with hyphens in the time, because a colon is not welcome in
  /// every path; milliseconds only if not 0.
  package func keyText(of window: Window) -> String {
    label(of: window).replacing(":", with: "-").replacing(".000Z", with: "Z")
  }

  /// `2026-11-23T10:05:00.000Z`
  package func label(of window: Window) -> String {
    TimestampText.format(milliseconds: window.number)
  }

  package func title(of window: Window) -> String {
    let end = TimestampText.format(milliseconds: window.number &+ widthMilliseconds)
    return "window \(label(of: window)) to \(end)"
  }
}
