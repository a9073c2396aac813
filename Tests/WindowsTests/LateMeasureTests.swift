import Tables
import Testing

@testable import Windows

@Suite("A measure that began later than a pane")
struct LateMeasureTests {
  private let layout: StateLayout

  init() throws {
    let value = ColumnDefinition("v", .int64)
    layout = StateLayout(
      keys: [ColumnDefinition("k", .int64)],
      measures: [
        Measure("n", Count(), argument: nil),
        Measure("total", try Sum(value), argument: "v", start: 3),
        Measure("mean", try Average(value), argument: "v", start: 2),
      ])
  }

  private func column(_ type: ColumnType, _ values: Int64?...) -> Column {
    var column = Column(type)
    for value in values {
      if let value { column.append(integer: value) } else { column.appendNull() }
    }
    return column
  }

  @Test("is NULL in every group of an output that covers the pane, and whole in all others")
  func output() throws {
    // The first row is of a pane that began in definition 2, the others of one of definition 3.
    let keys = [column(.int64, 1, 1, 2)]
    let state = [
      column(.int64, 4, 2, 1), column(.int64, nil, 20, 10), column(.int64, 40, 20, 10),
      column(.int64, 4, 2, 1),
    ]
    let both = try layout.merged(keys: keys, state: state, oldest: 2)
    let results = layout.results(both.state, oldest: 2)
    #expect(both.keys == [column(.int64, 1, 2)])
    #expect(results[0] == column(.int64, 6, 1))
    #expect(results[1] == column(.int64, nil, nil))
    #expect(results[2].doubles == [10, 10])
    let newer = layout.results(state.map { $0.selecting([1, 2]) }, oldest: 3)
    #expect(newer[1] == column(.int64, 20, 10))
    let oldest = layout.results(state, oldest: 1)
    #expect(oldest[1].nullCount == 3 && oldest[2].nullCount == 3 && oldest[0].nullCount == 0)
  }

  @Test("is NULL in what batches of a former definition give, whose delta has no column of it")
  func restated() {
    let former = StateLayout(keys: layout.keys, measures: [layout.measures[0]])
    var delta = Delta()
    delta.groupPanes = [Pane(0), Pane(0)]
    delta.state = [column(.int64, 5, 6)]
    let restated = layout.restated(delta, in: former)
    #expect(restated.state[0] == column(.int64, 5, 6))
    #expect(restated.state.dropFirst().allSatisfy { $0.nullCount == 2 && $0.count == 2 })
    #expect(layout.restated(restated, in: layout).state == restated.state)
  }
}
