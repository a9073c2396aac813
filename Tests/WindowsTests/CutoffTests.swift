import Jobs
import Testing

@testable import Tables
@testable import Windows

/// A partition as a batch tells of it.
private func partition(
  _ newestTime: Int64?, new: Bool = true, behind: Bool = false
) -> Cutoff.Partition {
  Cutoff.Partition(newestTime: newestTime, hasNewRecords: new, isBehind: behind)
}

private func times(_ values: [Int64?]) -> Column {
  var column = Column(.timestamp)
  for value in values {
    if let value { column.append(integer: value) } else { column.appendNull() }
  }
  return column
}

@Suite("The cutoff")
struct CutoffTests {
  private static let rule = Lateness(allowedMilliseconds: 100)

  @Test("takes no time as later than what the job allows ahead of the machine's own clock")
  func clocks() {
    #expect(Cutoff.times([5, nil, .max], atMost: 10, aheadOf: 100) == [5, nil, 110])
    #expect(Cutoff.times([.max], atMost: .max, aheadOf: 100) == [.max])
  }

  struct Row: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let before: Int64?
    let partitions: [Cutoff.Partition]
    let after: Int64?

    init(_ text: String, _ before: Int64?, _ partitions: [Cutoff.Partition], _ after: Int64?) {
      testDescription = text
      self.before = before
      self.partitions = partitions
      self.after = after
    }
  }

  @Test(
    "moves with the partition that is furthest behind, and never goes back",
    arguments: [
      Row("one partition", nil, [partition(1_000)], 900),
      Row("the least of several", nil, [partition(1_000), partition(700), partition(900)], 600),
      Row(
        "one that is behind counts by what it had before", nil,
        [partition(1_000), partition(500, new: false, behind: true)], 400),
      Row(
        "an idle one is not waited for", nil, [partition(1_000), partition(500, new: false)], 900),
      Row(
        "an idle one that never had a time is not waited for", nil,
        [partition(1_000), partition(nil, new: false)], 900),
      Row(
        "one that is behind and never had a time holds it back", nil,
        [partition(1_000), partition(nil, new: false, behind: true)], nil),
      Row(
        "the same, where there is a cutoff", 300,
        [partition(1_000), partition(nil, new: false, behind: true)], 300),
      Row("where all are idle it stays", 300, [partition(1_000, new: false)], 300),
      Row("without a partition it stays", 300, [], 300),
      Row("a late record of a new partition does not take it back", 300, [partition(200)], 300),
      Row("times before 1970", nil, [partition(-1_000)], -1_100),
      Row("a time so early that there is none before it", nil, [partition(.min + 5)], nil),
    ])
  func rules(row: Row) {
    #expect(Cutoff(row.before).advanced(by: row.partitions, Self.rule) == Cutoff(row.after))
  }

  @Test("takes the horizon along, by the retention of each batch, and never back")
  func horizon() {
    let kept = Lateness(allowedMilliseconds: 100, retentionMilliseconds: 1_000)
    let longer = Lateness(allowedMilliseconds: 100, retentionMilliseconds: 5_000)
    var cutoff = Cutoff().advanced(by: [partition(2_000)], kept)
    #expect(cutoff == Cutoff(1_900, horizon: 900))
    cutoff = cutoff.advanced(by: [partition(3_000)], longer)
    #expect(cutoff == Cutoff(2_900, horizon: 900))
    cutoff = cutoff.advanced(by: [partition(3_000)], Self.rule)
    #expect(cutoff == Cutoff(2_900, horizon: 900))
    cutoff = cutoff.advanced(by: [partition(2_000, new: false)], kept)
    #expect(cutoff == Cutoff(2_900, horizon: 900))
    cutoff = cutoff.advanced(by: [partition(2_500)], kept)
    #expect(cutoff == Cutoff(2_900, horizon: 1_900))
    let kind = TumblingWindows(widthMilliseconds: 1_000, time: "time")
    #expect(Cutoff(9_000, horizon: 2_000).isEvictable(Pane(1_000), of: kind))
    #expect(!Cutoff(9_000, horizon: 1_999).isEvictable(Pane(1_000), of: kind))
    #expect(!Cutoff(9_000).isEvictable(Pane(1_000), of: kind))
  }

  @Test("judges new messages where the job refuses late ones, and others by the horizon")
  func judging() {
    let cutoff = Cutoff(2_000, horizon: 1_000)
    #expect(cutoff.judging(newMessages: true, Self.rule) == Cutoff(2_000))
    #expect(cutoff.judging(newMessages: true, nil) == Cutoff(1_000))
    #expect(cutoff.judging(newMessages: false, Self.rule) == Cutoff(1_000))
    #expect(Cutoff(2_000).judging(newMessages: false, Self.rule) == Cutoff())
  }

  @Test("closes a window that ends at it, and not one that ends a millisecond later")
  func windows() {
    let kind = TumblingWindows(widthMilliseconds: 1_000, time: "time")
    #expect(Cutoff(2_000).isFinal(Pane(1_000), of: kind))
    #expect(Cutoff(2_000).isFinal(Window(1_000), of: kind))
    #expect(!Cutoff(1_999).isFinal(Pane(1_000), of: kind))
    #expect(!Cutoff().isFinal(Pane(1_000), of: kind))
    #expect(!Cutoff(.max).isFinal(Pane(0), of: GlobalWindow()))
    #expect(!Cutoff(.max).isFinal(Pane(1), of: BatchWindows(keepsEach: true)))
    // The end of time is behind every cutoff.
    #expect(!Cutoff(.max).isFinal(Pane(.max / 1_000 * 1_000), of: kind))
  }

  @Test("closes a window of several panes with the last of them")
  func panes() {
    let kind = OverlappingWindows()
    #expect(!Cutoff(60_000).isFinal(Window(0), of: kind))
    #expect(Cutoff(120_000).isFinal(Window(0), of: kind))
  }

  @Test("takes a record's time for no later than its message's own, and none where that has none")
  func newestTimes() {
    let slices = [
      RecordBatch.Slice(partitionIndex: 0, rows: 0..<3),
      RecordBatch.Slice(partitionIndex: 2, rows: 3..<4),
      RecordBatch.Slice(partitionIndex: 3, rows: 4..<5),
    ]
    let (windowTimes, own) = (times([5, 90, 40, 7, 3]), times([50, 60, 30, nil, 8]))
    #expect(
      Cutoff.newestTimes(windowTimes, ownTimes: own, of: slices, partitionCount: 4)
        == [60, nil, nil, 3])
    #expect(
      Cutoff.newestTimes(windowTimes, ownTimes: nil, of: slices, partitionCount: 4)
        == [90, nil, 7, 3])
  }

  @Test("refuses the records of final windows, by pane, behind what is wrong with a record")
  func fold() throws {
    let records = [
      Record(key: "a", value: 1, time: 59_999), Record(key: "a", value: 1, time: 60_000),
      Record(key: String(repeating: "k", count: 1_025), value: 1, time: 0),
      Record(key: "b", value: 1, time: 0), Record(key: "c", value: 1, time: .max),
      Record(key: "d", value: 1, time: 1),
    ]
    let fold = try Fold(job(), batchSchema: batch([]).schema)
    // What where leaves out is not refused.
    let matches = [true, true, true, true, true, false]
    guard
      case .refused(let refusals) = try fold.fold(
        batch(records), matches: matches, batchNumber: 1, cutoff: Cutoff(60_000))
    else {
      Issue.record("nothing was refused")
      return
    }
    #expect(
      refusals == [
        Refusal(row: 0, .windowClosed, field: "time"), Refusal(row: 2, .keyTooLong, field: "key"),
        Refusal(row: 3, .windowClosed, field: "time"), Refusal(row: 4, .outOfRange, field: "time"),
      ])
  }
}
