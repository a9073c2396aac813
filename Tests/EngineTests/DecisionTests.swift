import Checkpoints
import Jobs
import Testing

@testable import Engine

@Suite("Whether rejects stop a batch")
struct RejectRuleTests {
  private static func verdict(
    _ recordCount: Int64, _ rejectedCount: Int64,
    history: (judged: Int64, rejected: Int64) = (0, 0),
    maxShare: Double = 0.1, minRecords: Int64 = 100, hasDecoded: Bool = true, fails: Bool = false
  ) -> RejectVerdict {
    rejectVerdict(
      RejectFacts(
        policy: fails ? .fail : .quarantine, maxShare: maxShare, minRecords: minRecords,
        recordCount: recordCount,
        rejectedCount: rejectedCount,
        history: .init(
          judgedCount: history.judged, rejectedCount: history.rejected, hasDecoded: hasDecoded)))
  }

  @Test("is not asked where there are none, whatever came before")
  func none() {
    #expect(Self.verdict(0, 0, history: (1_000, 999)) == .commit)
    #expect(Self.verdict(10, 0, fails: true) == .commit)
    #expect(Self.verdict(0, 0, hasDecoded: false) == .commit)
  }

  @Test("is decided over the batch and what came before it")
  func share() {
    #expect(Self.verdict(0, 1, history: (999, 0)) == .commit)
    #expect(Self.verdict(0, 1, history: (999, 99)) == .commit)
    #expect(
      Self.verdict(0, 1, history: (999, 100))
        == .stop(.share, rejectedCount: 101, judgedCount: 1_000))
    #expect(Self.verdict(90, 10) == .commit)
    #expect(Self.verdict(89, 11) == .stop(.share, rejectedCount: 11, judgedCount: 100))
  }

  @Test("is not decided by too few records")
  func few() {
    #expect(Self.verdict(1, 98) == .commit)
    #expect(Self.verdict(1, 99) == .stop(.share, rejectedCount: 99, judgedCount: 100))
    #expect(Self.verdict(1, 2, minRecords: 3) == .stop(.share, rejectedCount: 2, judgedCount: 3))
    #expect(Self.verdict(1, 2, minRecords: 4) == .commit)
  }

  @Test("is decided by one where nothing has ever decoded, unless everything is accepted")
  func nothingDecoded() {
    #expect(
      Self.verdict(0, 1, hasDecoded: false)
        == .stop(.nothingDecoded, rejectedCount: 1, judgedCount: 1))
    #expect(Self.verdict(1, 1, hasDecoded: false) == .commit)
    #expect(Self.verdict(0, 1, maxShare: 1, hasDecoded: false) == .commit)
    #expect(Self.verdict(0, 5_000, maxShare: 1) == .commit)
  }

  @Test("is decided by one under the policy that says so")
  func failing() {
    #expect(
      Self.verdict(999, 1, fails: true) == .stop(.policy, rejectedCount: 1, judgedCount: 1_000))
  }
}

@Suite("Whose a place is")
struct OwnershipTests {
  private static func facts(
    _ marker: DestinationFacts.Marker, tokens: Set<String> = ["new", "old"], strange: [String] = [],
    occupied: [String] = []
  ) -> DestinationFacts {
    DestinationFacts(
      marker: marker, checkpoint: "us", tokens: tokens, strangeObjects: strange,
      occupiedKeys: occupied)
  }
  private static func marker(_ checkpoint: String, _ token: String) -> OwnerMarker {
    OwnerMarker(checkpoint: checkpoint, job: "job", token: token)
  }

  @Test(
    "is said by a marker with a token of ours, the newest or one before", arguments: ["new", "old"])
  func ours(token: String) {
    #expect(ownership(Self.facts(.found(Self.marker("us", token)))) == .ours)
    // One that a person told us to accept bears another id.
    #expect(ownership(Self.facts(.found(Self.marker("them", token)))) == .ours)
    // What stands there decides nothing then.
    #expect(
      ownership(Self.facts(.found(Self.marker("us", token)), strange: ["a"], occupied: ["b"]))
        == .ours)
  }

  @Test(
    "is refused with a token that is not ours: a copy's with our id, another job's with another")
  func refused() {
    #expect(ownership(Self.facts(.found(Self.marker("us", "later")))) == .refused(.olderOrCopy))
    let other = Self.marker("them", "theirs")
    #expect(ownership(Self.facts(.found(other))) == .refused(.otherJob(other)))
    #expect(ownership(Self.facts(.unreadable)) == .refused(.unreadableMarker))
    // The permission to take a place without a marker is none for one that has another's.
    #expect(ownership(Self.facts(.found(other), tokens: [""])) == .refused(.otherJob(other)))
  }

  @Test("is said by its objects where there is no marker")
  func unmarked() {
    #expect(ownership(byMarker: Self.facts(.none)) == .unmarked)
    #expect(ownership(Self.facts(.none)) == .ours)
    #expect(ownership(Self.facts(.none, strange: ["a"])) == .refused(.strangeObjects(["a"])))
    #expect(ownership(Self.facts(.none, occupied: ["a"])) == .refused(.occupiedKeys(["a"])))
    #expect(ownership(Self.facts(.none, tokens: [""], strange: ["a"], occupied: ["b"])) == .ours)
  }

  @Test("stands in a marker that is read as it was written, and in nothing else")
  func markers() {
    let marker = OwnerMarker(checkpoint: "0123", job: "a-job", token: "t\u{7}\"")
    #expect(OwnerMarker(marker.bytes) == marker)
    for text in [
      "", "{}", "null", "[1]", "{\"checkpoint\":1,\"job\":\"a\",\"token\":\"b\"}", "id,calls\n",
    ] {
      #expect(OwnerMarker(Array(text.utf8)) == nil)
    }
    #expect(OwnerMarker([UInt8](repeating: UInt8(ascii: " "), count: 5_000)) == nil)
  }
}
