import Testing

@testable import Reports

private struct Row: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let status: Health.Status
  /// What the line must hold.
  let text: String
  var change: @Sendable (inout HealthFacts) -> Void

  init(
    _ description: String, _ status: Health.Status, _ text: String,
    _ change: @escaping @Sendable (inout HealthFacts) -> Void
  ) {
    testDescription = description
    self.status = status
    self.text = text
    self.change = change
  }
}

/// Up to date, the last commit 40 seconds ago; at most 1,000 offsets and 10 minutes are allowed.
private func facts() -> HealthFacts {
  var facts = HealthFacts(job: "calls")
  facts.lag = 0
  facts.commitMilliseconds = 40_999
  facts.maxLag = 1_000
  facts.maxAgeMilliseconds = 600_000
  return facts
}

private let tooOld: @Sendable (inout HealthFacts) -> Void = {
  $0.commitMilliseconds = 720_000
  $0.lag = 5
}

@Suite("How a job is")
struct HealthTests {
  @Test(
    "is told by the worst that was found",
    arguments: [
      Row("up to date", .ok, "TRANCHE OK - calls: lag 0, last commit 40 s ago | ") { _ in },
      Row("lag at its limit", .ok, "lag 1,000,") { $0.lag = 1_000 },
      Row("lag above its limit", .critical, "CRITICAL - calls: lag 1,001 is above 1,000, last") {
        $0.lag = 1_001
      },
      Row("no limit of the lag", .ok, "lag 1,001, ") {
        $0.lag = 1_001
        $0.maxLag = nil
      },
      Row("nobody asked for the lag", .ok, "OK - calls: last commit") { $0.lag = nil },
      Row("the brokers did not say", .unknown, "UNKNOWN - calls: lag unknown: no answer, last") {
        $0.lag = nil
        $0.lagProblem = "no answer"
      },
      Row("an age at its limit", .ok, "last commit 10 min ago") {
        $0.commitMilliseconds = 600_000
        $0.lag = 5
      },
      Row(
        "too old while something is unread", .critical,
        "last commit 12 min ago, more than 10 min, and no run is active, lag 5", tooOld),
      Row("too old while a run is active", .critical, "the run that is active may hang: pid 7") {
        tooOld(&$0)
        $0.holder = "pid 7"
      },
      // The topic was silent for an hour, a run found nothing a minute ago, and data has just come.
      Row("an old commit where a run was up to date since", .ok, "last up to date 2 min ago") {
        tooOld(&$0)
        $0.upToDateMilliseconds = 80_000 + 40_000
      },
      Row("no run was up to date for too long", .critical, "last up to date 11 min ago, more than")
      {
        tooOld(&$0)
        $0.upToDateMilliseconds = 660_000
      },
      Row("a commit after the last time up to date", .ok, "last commit 40 s ago") {
        $0.upToDateMilliseconds = 720_000
        $0.lag = 5
      },
      Row("up to date before anything was committed", .ok, "last up to date 5 s ago") {
        $0.commitMilliseconds = nil
        $0.upToDateMilliseconds = 5_000
        $0.lag = 5
      },
      Row("old where nothing is unread", .ok, "last commit 12 min ago, and nothing new to read") {
        tooOld(&$0)
        $0.lag = 0
      },
      Row("old where nobody knows the lag", .critical, "last commit 12 min ago, more than") {
        tooOld(&$0)
        $0.lag = nil
      },
      Row("no limit of the age", .ok, "last commit 12 min ago") {
        tooOld(&$0)
        $0.maxAgeMilliseconds = nil
      },
      Row("nothing committed while something waits", .warning, "nothing was committed yet") {
        $0.commitMilliseconds = nil
        $0.lag = 5
      },
      Row("nothing committed, and nothing there", .ok, "nothing was committed yet") {
        $0.commitMilliseconds = nil
      },
      Row("not published", .warning, "WARNING - calls: 1 object not published, lag 0") {
        $0.unpublishedCount = 1
      },
      Row("not published while a run is active", .ok, "2 objects not published yet") {
        $0.unpublishedCount = 2
        $0.holder = "pid 7"
      },
      Row("not published for too long", .critical, "CRITICAL - calls: 2 objects not published") {
        $0.unpublishedCount = 2
        $0.commitMilliseconds = 720_000
      },
      Row("a person must decide", .critical, "CRITICAL - calls: decide / now, lag 0") {
        $0.obstacles = ["decide | now"]
      },
      Row(
        "critical before warning before unknown", .critical, "stop, 1 object not published, lag u"
      ) {
        $0.obstacles = ["stop"]
        $0.unpublishedCount = 1
        $0.lagProblem = "x"
      },
    ])
  fileprivate func judged(_ row: Row) {
    var facts = facts()
    row.change(&facts)
    let health = Health(facts)
    #expect(health.status == row.status && health.line.contains(row.text), "\(health.line)")
  }

  @Test("has a line with figures and their limits, as monitors draw them")
  func figures() {
    var facts = facts()
    (facts.lag, facts.unpublishedCount, facts.recordCount, facts.rejectedCount) = (3, 2, 100, 4)
    facts.holder = "pid 7"
    #expect(
      Health(facts).line
        == "TRANCHE OK - calls: lag 3, last commit 40 s ago, 2 objects not published yet | "
        + "lag=3;;1000;0 age=40s;;600;0 unpublished=2;;;0 records=100c rejected=4c")
    (facts.lag, facts.commitMilliseconds, facts.maxLag) = (nil, nil, nil)
    #expect(Health(facts).line.hasSuffix(" | unpublished=2;;;0 records=100c rejected=4c"))
    let unknown = Health(job: "calls", .init(.unknown, "the job has never run"))
    #expect(unknown.line == "TRANCHE UNKNOWN - calls: the job has never run")
  }

  @Test("is the same in JSON")
  func json() throws {
    var facts = facts()
    facts.lag = 1_001
    #expect(
      try Health(facts).jsonText()
        == #"{"age_seconds":40,"exit_code":2,"findings":[{"status":"CRITICAL","#
        + #""text":"lag 1,001 is above 1,000"},{"status":"OK","text":"last commit 40 s ago"}],"#
        + #""job":"calls","lag":1001,"records":0,"rejected":0,"status":"CRITICAL","unpublished":0}"#
    )
  }
}
