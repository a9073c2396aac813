import Offsets
import Testing

@testable import Kafka

@Suite("What is handed over ahead")
struct ReadAheadTests {
  private static let read = OffsetRange(from: 0, to: 10)
  private static let next = OffsetRange(from: 10, to: 40)

  private func ahead(expected: OffsetRange = next, settledAt next: Offset? = 10) -> ReadAhead {
    var ahead = ReadAhead(expected: Self.read, queueCount: 20, byteLimit: 100)
    ahead.expected = expected
    if let next { ahead.settle(at: next) } else { ahead.begin() }
    return ahead
  }

  @Test("a read goes on from what was handed over to what may still come; any other read seeks")
  func goesOn() {
    for start: Offset in 0...20 {
      #expect(ahead().goesOn(at: start, position: 15) == (10...15).contains(start), "\(start)")
      #expect(!ahead(settledAt: nil).goesOn(at: start, position: 15), "\(start)")
    }
  }

  @Test("is all that is left of the range expected behind a complete one, and never beyond it")
  func wanted() {
    for position: Offset in 10...50 {
      #expect(
        ahead().wantedCount(behind: Self.read, position: position) == max(0, 40 - position))
    }
  }

  struct Refusal: CustomTestStringConvertible {
    let testDescription: String
    let ahead: ReadAhead
    let read: OffsetRange
  }

  @Test("is nothing where it is not known to be read, or needs no reading ahead")
  func refused() throws {
    let read = Self.read
    func expecting(_ from: Offset, _ to: Offset) -> ReadAhead {
      ahead(expected: OffsetRange(from: from, to: to))
    }
    var full = ahead()
    full.handOver { _ in (next: 12, byteCount: 100) }
    let refusals = [
      Refusal(testDescription: "under way", ahead: ahead(settledAt: nil), read: read),
      Refusal(
        testDescription: "a gap", ahead: expecting(11, 40), read: read),
      Refusal(testDescription: "another range", ahead: ahead(), read: OffsetRange(from: 0, to: 9)),
      Refusal(
        testDescription: "short", ahead: expecting(10, 30), read: read),
      Refusal(testDescription: "beyond", ahead: ahead(settledAt: 41), read: read),
      Refusal(testDescription: "not there yet", ahead: ahead(settledAt: 9), read: read),
      Refusal(testDescription: "enough", ahead: full, read: read),
    ]
    for refusal in refusals {
      #expect(
        refusal.ahead.wantedCount(behind: refusal.read, position: 12) == 0,
        "\(refusal.testDescription)")
    }
  }

  @Test("moves on with what was handed over; where that fails, the next read seeks")
  func handOver() {
    var ahead = ahead()
    ahead.handOver { expected in
      #expect(expected == Self.next)
      return (next: 15, byteCount: 30)
    }
    ahead.handOver { _ in (next: nil, byteCount: 0) }
    ahead.handOver { _ in (next: 17, byteCount: 5) }
    #expect(ahead.state == .settled(next: 17, aheadByteCount: 35))
    struct Broken: Error {}
    try? ahead.handOver { _ in throw Broken() }
    #expect(ahead.state == .unsettled)
  }
}
