import Offsets
import Testing

@testable import Engine
@testable import Reports

@Suite("What is said of a backfill")
struct BackfillWordsTests {
  @Test("tells how long it goes on at the pace it had, and nothing before it has one")
  func remaining() {
    #expect(remainingSeconds(done: 100, left: 250, seconds: 4) == 10)
    #expect(remainingSeconds(done: 3, left: 1, seconds: 2) == 1)
    #expect(remainingSeconds(done: 0, left: 250, seconds: 4) == nil)
    #expect(remainingSeconds(done: 100, left: 250, seconds: 1.9) == nil)
    #expect(remainingSeconds(done: 100, left: 0, seconds: 5) == 0)
    #expect(durationText(seconds: 99) == "99 s")
    #expect(durationText(seconds: 601) == "11 min")
    #expect(durationText(seconds: 12_000) == "3 h 20 min")
  }

  @Test("shows a watcher what is left of it, and of a run without one nothing of the kind")
  func progress() {
    var progress = RunProgress(
      batchCount: 7, recordCount: 12_000, lag: 30, backfilledCount: 0, backfillLeft: 0)
    func text() -> String {
      progress.text(seconds: 4, backfillSeconds: 10, backfilledBefore: 1_000)
    }
    #expect(text() == "batch 7  12,000 records  3,000/s  lag 30")
    progress.backfilledCount = 6_000
    progress.backfillLeft = 20_000
    #expect(text().hasSuffix("lag 30  backfill: 20,000 offsets left, about 40 s"))
    progress.backfilledCount = 1_000
    #expect(text().hasSuffix("backfill: 20,000 offsets left"))
  }

  @Test("names in a run's summary what it counted, what is left and what the broker did not hold")
  func summary() throws {
    let partition = PartitionID(source: "main", topic: "t", partition: 2)
    var summary = RunSummary(job: "calls")
    summary.batchCount = 3
    summary.backfilledCount = 2_500
    summary.backfillLeft = 10
    summary.unheld = [PartitionRange(partition, OffsetRange(from: 4, to: 9))]
    let text = summary.text(seconds: 1, place: "file:out")
    #expect(text.contains("2,500 offsets backfilled") && text.contains("10 offsets left to"))
    #expect(text.contains("the broker does not hold them: main/t[2] [4, 9)"))
    let json = try summary.jsonText(seconds: 1, failures: [], exitCode: 0)
    #expect(json.contains("\"backfilled\":2500") && json.contains("\"backfill_left\":10"))
    #expect(json.contains("\"not_held\":[{\"from\":4,"))
    // A run that has only left something out did not do nothing.
    var other = RunSummary(job: "calls")
    other.unheld = summary.unheld
    #expect(!other.text(seconds: 1, place: "file:out").contains("nothing new"))
  }
}
