import TestSupport
import Testing

@testable import Tables
@testable import Windows

/// Windows of two minutes that start every minute: each pane, a minute, is shown by two. The
/// product has no such kind yet; its parts must not mistake panes for windows.
struct OverlappingWindows: WindowKind {
  static let minute: Int64 = 60_000
  private let minutes = TumblingWindows(widthMilliseconds: Self.minute, time: "time")

  var canonicalText: String { "overlapping" }
  var keepsState: Bool { true }
  var timeColumn: String? { "time" }
  var folderColumn: String? { "window_start" }

  func panes(ofTimes times: Column?, batch: Int64) -> RowPanes {
    minutes.panes(ofTimes: times, batch: batch)
  }
  func windows(showing pane: Pane) -> [Window] {
    [Window(pane.number - Self.minute), Window(pane.number)]
  }
  func panes(of window: Window) -> [Pane] {
    [Pane(window.number), Pane(window.number + Self.minute)]
  }
  func end(of pane: Pane) -> Int64? { minutes.end(of: pane) }
  func fault(of pane: Pane) -> String? { minutes.fault(of: pane) }
  func fault(of window: Window) -> String? { minutes.fault(of: window) }
  func keyText(of window: Window) -> String { minutes.keyText(of: window) }
  func label(of window: Window) -> String { minutes.label(of: window) }
  func title(of window: Window) -> String { label(of: window) }
}

private let kinds: [any WindowKind] = [
  TumblingWindows(widthMilliseconds: 1, time: "time"),
  TumblingWindows(widthMilliseconds: 60_000, time: "time"),
  TumblingWindows(widthMilliseconds: 7_777_777, time: "time"),
  GlobalWindow(), BatchWindows(keepsEach: true), BatchWindows(keepsEach: false),
  OverlappingWindows(),
]

private func times(_ values: [Int64]) -> Column {
  var column = Column(.timestamp)
  for value in values { column.append(integer: value) }
  return column
}

@Suite("A kind of window")
struct WindowKindTests {
  @Test("shows each pane in the windows that are made of it, and no two windows under one name")
  func laws() {
    var random = SeededRandom(seed: 5)
    for kind in kinds {
      // Both ends of the years 0001 to 9999, the start of 1970, and times between.
      var values: [Int64] = [-62_135_596_800_000, -60_001, -60_000, -1, 0, 1, 59_999, 60_000]
      values += (0..<500).map { _ in
        Int64.random(in: -62_135_596_800_000...253_402_300_799_999, using: &random)
      }
      let panes = kind.panes(ofTimes: times(values), batch: 7)
      var texts: [String: Window] = [:]
      for row in values.indices {
        let pane = Pane(panes[row])
        #expect(kind.fault(of: pane) == nil)
        let windows = kind.windows(showing: pane)
        #expect(!windows.isEmpty && windows == windows.sorted())
        for window in windows {
          #expect(kind.panes(of: window).contains(pane), "\(kind.canonicalText) \(window)")
          #expect(kind.panes(of: window) == kind.panes(of: window).sorted())
          #expect(kind.fault(of: window) == nil)
          for text in [kind.keyText(of: window), "label " + kind.label(of: window)] {
            #expect((texts[text] ?? window) == window, "\(text) names two windows")
            texts[text] = window
          }
          for shown in kind.panes(of: window) {
            #expect(kind.windows(showing: shown).contains(window))
          }
        }
      }
    }
  }

  @Test(
    "a record on the boundary opens the next window, before 1970 as well",
    arguments: zip(
      [59_999, 60_000, -1, -60_000, -60_001], [0, 60_000, -60_000, -60_000, -120_000]))
  func border(timestampMilliseconds: Int64, expectedMilliseconds: Int64) {
    let kind = TumblingWindows(widthMilliseconds: 60_000, time: "time")
    #expect(kind.start(holding: timestampMilliseconds) == expectedMilliseconds)
  }

  @Test("the ends of int64 have no window, and no overflow either")
  func ends() {
    let kind = TumblingWindows(widthMilliseconds: 60_000, time: "time")
    let panes = kind.panes(ofTimes: times([.min, .max, .max - 60_000]), batch: 1)
    #expect(kind.fault(of: Pane(panes[0])) != nil)
    #expect(kind.fault(of: Pane(panes[1])) != nil)
    #expect(kind.fault(of: Pane(panes[2])) == nil)
    #expect(
      kind.fault(of: Window(60_001)) == "is 60001, which is not the start of a window of 60000 ms")
    #expect(GlobalWindow().fault(of: Pane(1)) != nil)
    #expect(BatchWindows(keepsEach: true).fault(of: Window(0)) != nil)
  }

  @Test("gives objects the keys that readers know")
  func keys() {
    let start = Window(1_795_428_300_000)
    let tumbling = TumblingWindows(widthMilliseconds: 300_000, time: "time")
    #expect(tumbling.folder(of: start) == "window_start=2026-11-23T10-05-00Z/")
    #expect(tumbling.folder(of: Window(1)) == "window_start=1970-01-01T00-00-00.001Z/")
    #expect(
      tumbling.title(of: start)
        == "window 2026-11-23T10:05:00.000Z to 2026-11-23T10:10:00.000Z")
    #expect(GlobalWindow().folder(of: Window(0)) == "")
    #expect(BatchWindows(keepsEach: true).folder(of: Window(42)) == "batch=000000042/")
    #expect(BatchWindows(keepsEach: false).folder(of: Window(42)) == "")
  }

  @Test("names windows in messages only where they follow from times")
  func phrases() {
    let tumbling = TumblingWindows(widthMilliseconds: 60_000, time: "time")
    #expect(tumbling.phrase(of: Pane(60_000)) == " of window 1970-01-01T00:01:00.000Z")
    #expect(GlobalWindow().phrase(of: Pane(0)) == "")
    #expect(BatchWindows(keepsEach: false).phrase(of: Pane(3)) == "")
  }
}
