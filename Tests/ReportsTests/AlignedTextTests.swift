import Testing

@testable import Reports

@Suite("Rows under a header")
struct AlignedTextTests {
  private let long = String(repeating: "k", count: 900)

  private func lines(_ rows: [[String]], width: Int?) -> [String] {
    aligned(["key", "calls", "note"], rows, numeric: [1], width: width)
      .split(separator: "\n").map(String.init)
  }

  @Test("a long cell pads no other row, and is shown whole where nobody looks at a terminal")
  func longCell() {
    let lines = lines([[long, "1", "x"], ["a", "22", "y"]], width: nil)
    #expect(lines[1] == "\(long)      1  x")
    #expect(lines[2] == "a\(String(repeating: " ", count: 59))     22  y")
  }

  @Test("fit the terminal: the widest text is cut and ends in an ellipsis, numbers stay whole")
  func fits() {
    let lines = lines([[long, "12345", "short"], ["a", "1", "a note of some length"]], width: 40)
    #expect(lines.allSatisfy { $0.count <= 40 })
    #expect(lines[1].hasPrefix("kkk") && lines[1].contains("…  12345  short"))
    #expect(lines[2].contains("      1  a note"))
    // What fits is left as it is.
    #expect(self.lines([["a", "1", "b"]], width: 40) == self.lines([["a", "1", "b"]], width: nil))
  }

  @Test("are cut where no column can be narrower", arguments: [1, 5, 12])
  func narrow(width: Int) {
    let lines = lines([[long, "12345", long]], width: width)
    #expect(lines.allSatisfy { $0.count <= width && !$0.isEmpty })
    #expect(lines[1].hasSuffix("…"))
  }
}
