/// What a monitor must know of a job.
package struct HealthFacts: Sendable {
  package let job: String
  /// Offsets that are left to read; nil where nobody asked or the brokers did not say.
  package var lag: Int64?
  /// Why the brokers did not say.
  package var lagProblem: String?
  /// Since the last commit; nil where nothing was committed.
  package var commitMilliseconds: Int64?
  /// Since the last run began that left nothing to read or to publish; nil where nobody knows.
  package var upToDateMilliseconds: Int64?
  /// Results that were committed and not published.
  package var unpublishedCount = 0
  /// The run that is active.
  package var holder: String?
  /// Why the next run will not read anything, each with what to do.
  package var obstacles: [String] = []
  package var recordCount: Int64 = 0
  package var rejectedCount: Int64 = 0
  package var maxLag: Int64?
  package var maxAgeMilliseconds: Int64?

  package init(job: String) { self.job = job }
}

/// How a job is, as monitors ask for it.
///
/// - SeeAlso: The Nagios plugin guidelines, "Plugin Output for Nagios" and "Plugin Return Codes".
package struct Health: Sendable {
  package enum Status: Int32, Sendable {
    case ok = 0
    case warning = 1
    case critical = 2
    case unknown = 3

    package var word: String { "\(self)".uppercased() }
  }

  package struct Finding: Sendable, Equatable {
    package let status: Status
    package let text: String

    package init(_ status: Status, _ text: String) {
      self.status = status
      self.text = text
    }
  }

  package let job: String
  /// The worst first.
  package let findings: [Finding]
  private let facts: HealthFacts?

  package var status: Status { findings.first?.status ?? .ok }

  /// Where the facts could not be found out.
  package init(job: String, _ finding: Finding) {
    self.job = job
    findings = [finding]
    facts = nil
  }

  package init(_ facts: HealthFacts) {
    job = facts.job
    self.facts = facts
    var found = facts.obstacles.map { Finding(.critical, $0) }
    found += Self.lag(facts)
    found.append(Self.age(facts))
    found += Self.unpublished(facts)
    // What is known to be wrong goes before what is not known.
    findings = [Status.critical, .warning, .unknown, .ok].flatMap { status in
      found.filter { $0.status == status }
    }
  }

  private static func lag(_ facts: HealthFacts) -> [Finding] {
    if let problem = facts.lagProblem { return [Finding(.unknown, "lag unknown: \(problem)")] }
    guard let lag = facts.lag else { return [] }
    guard let most = facts.maxLag, lag > most else { return [Finding(.ok, "lag \(grouped(lag))")] }
    return [Finding(.critical, "lag \(grouped(lag)) is above \(grouped(most))")]
  }

  /// A job whose topics are silent commits nothing, and is up to date all the same: what is unread
  /// then has come since.
  private static func age(_ facts: HealthFacts) -> Finding {
    guard let age = facts.ageMilliseconds else {
      let isLate = facts.maxAgeMilliseconds != nil && facts.lag != 0
      return Finding(isLate ? .warning : .ok, "nothing was committed yet")
    }
    let event = age == facts.commitMilliseconds ? "last commit" : "last up to date"
    let text = "\(event) \(timeSpan(age)) ago"
    guard facts.isTooOld else { return Finding(.ok, text) }
    if facts.lag == 0 { return Finding(.ok, "\(text), and nothing new to read") }
    let most = timeSpan(facts.maxAgeMilliseconds ?? 0)
    let run = facts.holder.map { "the run that is active may hang: \($0)" } ?? "no run is active"
    return Finding(.critical, "\(text), more than \(most), and \(run)")
  }

  private static func unpublished(_ facts: HealthFacts) -> [Finding] {
    guard facts.unpublishedCount > 0 else { return [] }
    let count = facts.unpublishedCount
    let text = "\(grouped(Int64(count))) \(count == 1 ? "object" : "objects") not published"
    // A run publishes while it goes on.
    if facts.holder != nil && !facts.isTooOld { return [Finding(.ok, "\(text) yet")] }
    return [Finding(facts.isTooOld ? .critical : .warning, text)]
  }

  // MARK: - For a monitor

  /// `TRANCHE OK - calls: lag 0, last commit 40 s ago | lag=0;;1000;0 age=40s;;600;0 ...`
  package var line: String {
    // What follows the first bar is read as figures.
    let texts = findings.map { $0.text.replacing("|", with: "/") }
    return "TRANCHE \(status.word) - \(job): \(texts.joined(separator: ", "))\(figures)"
  }

  private var figures: String {
    guard let facts else { return "" }
    func limit(_ limit: Int64?) -> String { limit.map(String.init) ?? "" }
    var figures: [String] = []
    if let lag = facts.lag { figures.append("lag=\(lag);;\(limit(facts.maxLag));0") }
    if let age = facts.ageMilliseconds {
      figures.append("age=\(age / 1_000)s;;\(limit(facts.maxAgeMilliseconds.map { $0 / 1_000 }));0")
    }
    figures.append("unpublished=\(facts.unpublishedCount);;;0")
    figures.append("records=\(facts.recordCount)c rejected=\(facts.rejectedCount)c")
    return " | " + figures.joined(separator: " ")
  }

  package func jsonText() throws -> String {
    struct Report: Encodable {
      struct Finding: Encodable { let status, text: String }
      let job, status: String
      let exit_code: Int32
      let findings: [Finding]
      let lag, age_seconds: Int64?
      let unpublished: Int?
      let records, rejected: Int64?
      let running: String?
    }
    return try jsonLine(
      Report(
        job: job, status: status.word, exit_code: status.rawValue,
        findings: findings.map { Report.Finding(status: $0.status.word, text: $0.text) },
        lag: facts?.lag, age_seconds: facts?.ageMilliseconds.map { $0 / 1_000 },
        unpublished: facts?.unpublishedCount, records: facts?.recordCount,
        rejected: facts?.rejectedCount, running: facts?.holder))
  }
}

extension HealthFacts {
  /// The longest that what is unread or unpublished can have waited without a run that went on.
  fileprivate var ageMilliseconds: Int64? {
    [commitMilliseconds, upToDateMilliseconds].compactMap(\.self).min()
  }

  fileprivate var isTooOld: Bool {
    guard let age = ageMilliseconds, let most = maxAgeMilliseconds else { return false }
    return age > most
  }
}

/// `40 s`, `12 min`, `3 h`, `2 d`, rounded down.
func timeSpan(_ milliseconds: Int64) -> String {
  let seconds = milliseconds / 1_000
  return switch seconds {
  case ..<120: "\(seconds) s"
  case ..<7_200: "\(seconds / 60) min"
  case ..<172_800: "\(seconds / 3_600) h"
  default: "\(seconds / 86_400) d"
  }
}
