import ArgumentParser
import Checkpoints
import Engine
import Jobs
import Reports
import Tables

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Say in one line whether a job keeps up, for Nagios and other monitors.",
    discussion: """
      Exits with 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN), and with no other code. Works \
      while a run writes, and changes nothing.

      CRITICAL: the next run would stop, because a person must decide something, offsets were \
      lost, or the job file no longer fits the state; the lag is above --max-lag; something is \
      left to read or to publish, and for longer than --max-age no run has committed a batch or \
      found itself up to date.
      WARNING: results are not published, and no run is active; or, with --max-age, nothing was \
      committed yet.
      UNKNOWN: the job file or the checkpoint cannot be read, the job has never run, or the \
      brokers cannot be asked.
      """)

  @OptionGroup var job: JobOptions

  @Option(help: "The most offsets that may be left to read.")
  var maxLag: Int64?

  @Option(help: "How long new data may wait, such as 10m. More than the time between two runs.")
  var maxAge: DurationArgument?

  @Flag(help: "Do not ask the brokers for the lag.")
  var offline = false

  @Flag(help: "Print one line of JSON.")
  var json = false

  func validate() throws {
    if let maxLag, maxLag < 0 { throw ValidationError("--max-lag takes 0 or more.") }
    if offline && maxLag != nil {
      throw ValidationError("--max-lag needs the brokers: leave out --offline.")
    }
  }

  func run() throws {
    let health = health()
    if json { printExact(try health.jsonText()) } else { printText(health.line) }
    if health.status != .ok { throw ExitCode(health.status.rawValue) }
  }

  private func health() -> Health {
    var name = self.job.file
    do {
      let job = try self.job.load()
      name = job.name
      return try health(of: job)
    } catch let errors as JobFileErrors {
      let others = errors.errors.count > 1 ? " (and \(errors.errors.count - 1) more)" : ""
      return Health(
        job: name, .init(.unknown, (errors.errors.first?.description ?? "") + others))
    } catch {
      let failure = failure(error, Words())
      // What is damaged stops every run; anything else may be this process's own trouble.
      return Health(
        job: name, .init(failure.code == .inputOutput ? .critical : .unknown, failure.message))
    }
  }

  private func health(of job: Job) throws -> Health {
    let folder = try self.job.checkpointFolder(of: job)
    let lockPath = Checkpoint.lockPath(ofJob: job.name, folder: folder)
    // Before the checkpoint is read and after: a run that publishes meanwhile is seen.
    let holder = RunLock.holder(path: lockPath)
    guard let reader = try existingReader(of: job, folder: folder) else {
      return Health(job: job.name, .init(.unknown, "the job has never run"))
    }
    let status = try reader.status()
    let words = Words(jobArguments: self.job.commandLine(of: job))
    var facts = HealthFacts(job: job.name)
    facts.maxLag = maxLag
    facts.maxAgeMilliseconds = maxAge?.milliseconds
    facts.unpublishedCount = status.dirtyOutputs.count
    (facts.recordCount, facts.rejectedCount) = (status.recordCount, status.rejectedCount)
    facts.obstacles = status.incidents.map(words.text)
    func age(_ time: Int64) -> Int64 { max(0, nowMilliseconds() - time) }
    facts.upToDateMilliseconds = RunLock.upToDate(path: lockPath).map(age)
    if let committedAt = status.lastCommit?.committedAt {
      facts.commitMilliseconds = TimestampText.parse(committedAt).map(age)
      if let refusal = try reader.refusal(of: job) { facts.obstacles.append(refusal.description) }
    }
    if !offline {
      do {
        let preview = try PlanPreview(job: job, status: status, sources: try makeSources(job))
        facts.lag = preview.lag
        if let obstacle = preview.obstacle, status.incidents.isEmpty {
          facts.obstacles.append(words.text(of: obstacle))
        }
      } catch { facts.lagProblem = failure(error, words).message }
    }
    facts.holder = holder ?? RunLock.holder(path: lockPath)
    return Health(facts)
  }
}
