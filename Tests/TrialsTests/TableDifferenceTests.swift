import Tables
import TestSupport
import Testing

@testable import Trials

@Suite("Two tables")
struct TableDifferenceTests {
  private static let schema = Schema([
    ColumnDefinition("route", .string), ColumnDefinition("calls", .int64),
    ColumnDefinition("share", .double, isNullable: true),
  ])

  private func table(_ rows: [(String, Int64, Double?)]) -> Table {
    var columns = Self.schema.columns.map { Column($0.type) }
    for (route, calls, share) in rows {
      columns[0].append(string: route)
      columns[1].append(integer: calls)
      if let share { columns[2].append(double: share) } else { columns[2].appendNull() }
    }
    return Table(Self.schema, columns: columns)
  }

  @Test("are the same where doubles differ by no more than one part in 10^12, and by no more else")
  func tolerance() {
    let expected = table([("/", 3, 1e9), ("/a", 1, nil)])
    #expect(table([("/", 3, 1e9 * (1 + 9e-13)), ("/a", 1, nil)]).differences(from: expected) == [])
    let others = [
      table([("/", 3, 1e9 * (1 + 2e-12)), ("/a", 1, nil)]),
      table([("/", 4, 1e9), ("/a", 1, nil)]), table([("/", 3, 1e9), ("/A", 1, nil)]),
      table([("/", 3, 1e9), ("/a", 1, 0)]),
    ]
    for other in others { #expect(other.differences(from: expected).count == 1) }
  }

  @Test("are compared row by row: what is missing, what is too much and what is another")
  func rows() {
    let expected = table([("/a", 1, 0.5), ("/b", 2, nil), ("/c", 3, 1), ("/d", 4, 1)])
    let got = table([("/b", 2, nil), ("/c", 9, 1), ("/d", 4, 1), ("/e", 5, 2.25)])
    #expect(
      got.differences(from: expected) == [
        TableDifference(row: 1, expected: "/a,1,0.5", got: nil),
        TableDifference(row: 2, expected: "/c,3,1.0", got: "/c,9,1.0"),
        TableDifference(row: 4, expected: nil, got: "/e,5,2.25"),
      ])
    #expect(got.differences(from: got) == [])
    #expect(table([]).differences(from: got).map(\.row) == [1, 1, 1, 1])
    #expect(got.differences(from: table([])).map(\.row) == [1, 2, 3, 4])
  }

  @Test("tell of every row that differs, in whatever way a few rows are changed")
  func random() throws {
    var random = SeededRandom(seed: 7)
    for _ in 0..<500 {
      func rows() -> [(String, Int64, Double?)] {
        (0..<Int.random(in: 0...6, using: &random)).map { _ in
          ("/\(Int.random(in: 0...3, using: &random))", 1, nil)
        }
      }
      let (left, right) = (rows(), rows())
      let differences = table(left).differences(from: table(right))
      // Applying them to what was expected gives what came out.
      let kept = right.count - differences.count { $0.expected != nil }
      #expect(kept + differences.count { $0.got != nil } == left.count)
      #expect(differences.isEmpty == (left.map(\.0) == right.map(\.0)))
    }
  }

  @Test("with thousands of rows that all differ take no time by their square")
  func many() {
    let left = table((0..<20_000).map { ("/\($0)", 1, nil) })
    let right = table((0..<20_000).map { ("/\($0)", 2, nil) })
    #expect(left.differences(from: right).count == 20_000)
  }
}
