import Testing

@testable import Scheduling

@Suite("The scheduler's decisions")
struct SupervisionTests {
  /// Jobs that are due every ten seconds, and a clock that the test moves.
  private struct Bench {
    var supervision: Supervision
    var now: Int64 = 1_000_003
    static let ticks = Ticks(.every(milliseconds: 10_000), zone: .utc)

    init(_ names: String..., parallel: Int = 4) {
      supervision = Supervision(parallelCount: parallel, graceMilliseconds: 20_000)
      for name in names { supervision.update(name, Self.ticks, now: now) }
    }

    /// What is done at an instant, in seconds after 1,000.
    mutating func at(_ seconds: Double) -> [Supervision.Action] {
      now = 1_000_000 + Int64(seconds * 1_000)
      return supervision.actions(now: now, uptime: uptime)
    }

    /// The clock that nobody sets: it began at another time.
    var uptime: Int64 { now - 900_000 + clockError }
    /// How much the other clock was put back.
    var clockError: Int64 = 0

    mutating func end(_ name: String, _ outcome: RunOutcome = .done, at seconds: Double) {
      now = 1_000_000 + Int64(seconds * 1_000)
      supervision.ended(name, outcome, now: now)
    }
  }

  private static func start(_ name: String, _ second: Int64) -> Supervision.Action {
    .start(job: name, due: 1_000_000 + second * 1_000)
  }

  @Test("start a job at its tick, and not before it")
  func ticks() {
    var bench = Bench("a")
    #expect(bench.at(9.999) == [])
    #expect(bench.supervision.wake == 1_010_000)
    #expect(bench.at(10) == [Self.start("a", 10)])
    #expect(bench.at(10) == [] && bench.supervision.runningCount == 1)
    bench.end("a", at: 13)
    #expect(bench.at(19.9) == [])
    #expect(bench.at(20) == [Self.start("a", 20)])
  }

  @Test("never run a job twice at once, and make up missed ticks by one run")
  func missedTicks() {
    var bench = Bench("a")
    #expect(bench.at(10) == [Self.start("a", 10)])
    #expect(bench.at(20) == [] && bench.at(35) == [])
    #expect(bench.supervision.wake == nil)
    bench.end("a", at: 37)
    #expect(bench.at(37) == [Self.start("a", 20)])
    bench.end("a", at: 38)
    #expect(bench.at(38) == [])
    #expect(bench.at(40) == [Self.start("a", 40)])
    bench.end("a", at: 41)
    // As after a machine that slept.
    #expect(bench.at(4_007) == [Self.start("a", 50)])
    bench.end("a", at: 4_008)
    #expect(bench.at(4_009) == [] && bench.at(4_010) == [Self.start("a", 4_010)])
  }

  @Test("run jobs side by side up to the limit, those first that have waited longest")
  func parallel() {
    var bench = Bench("c", "a", "b", parallel: 2)
    #expect(bench.at(10) == [Self.start("a", 10), Self.start("b", 10)])
    #expect(bench.at(11) == [] && bench.supervision.wake == nil)
    bench.end("a", at: 25)
    // c has waited since 10, a only since 20.
    #expect(bench.at(25) == [Self.start("c", 10)])
    bench.end("b", at: 26)
    #expect(bench.at(26) == [Self.start("a", 20)])
  }

  @Test("leave a failing job alone, twice as long each time, until it succeeds")
  func backOff() {
    var bench = Bench("a")
    var starts: [Int64] = []
    for second in stride(from: 0.0, through: 2_000, by: 1) {
      for action in bench.at(second) {
        guard case .start = action else { continue }
        starts.append(Int64(second))
        bench.end("a", .failed(needsPerson: false), at: second + 0.5)
      }
    }
    // Pauses of 10, 20, 40 ... 600 s from the end of the run; the ticks meanwhile are one run.
    #expect(starts == [10, 21, 42, 83, 164, 325, 646, 1_247, 1_848])
    #expect(bench.supervision.failureCount(of: "a") == 9 && bench.supervision.failingCount == 1)
    #expect(bench.at(2_448) == [] && bench.supervision.wake == 3_448_500)
    #expect(bench.at(2_448.5) == [.start(job: "a", due: 3_448_500)])
    bench.end("a", at: 2_449)
    #expect(bench.supervision.failureCount(of: "a") == 0)
    #expect(bench.at(2_449) == [] && bench.at(2_450) == [Self.start("a", 2_450)])
  }

  /// A run of a job with ticks every 100 seconds that is started at second 100 and fails.
  private struct Failure: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let end: Double
    let needsPerson: Bool
    /// The next runs, where each begins at once and ends well a second later.
    let starts: [Int64]
  }

  @Test(
    """
    run a job that failed after its pause, not at its next tick, unless a person must mend it; \
    and make up a tick that passed meanwhile by one run
    """,
    arguments: [
      Failure(
        testDescription: "the pause ends before the tick", end: 120, needsPerson: false,
        starts: [130, 200, 300]),
      Failure(
        testDescription: "the tick falls into the pause", end: 195, needsPerson: false,
        starts: [205, 300, 400]),
      Failure(
        testDescription: "ticks passed during the run", end: 420, needsPerson: false,
        starts: [430, 500, 600]),
      Failure(
        testDescription: "a person must mend it, and the tick comes later", end: 120,
        needsPerson: true, starts: [200, 300, 400]),
      Failure(
        testDescription: "a person must mend it, and the tick falls into the pause", end: 195,
        needsPerson: true, starts: [255, 300, 400]),
      Failure(
        testDescription: "a person must mend it, and ticks passed during the run", end: 420,
        needsPerson: true, starts: [480, 500, 600]),
    ])
  private func retries(_ failure: Failure) {
    var bench = Bench()
    // 1,000 is a multiple of 100.
    bench.supervision.update("a", Ticks(.every(milliseconds: 100_000), zone: .utc), now: bench.now)
    #expect(bench.at(100) == [Self.start("a", 100)])
    bench.end("a", .failed(needsPerson: failure.needsPerson), at: failure.end)
    for second in failure.starts {
      #expect(bench.supervision.wake == 1_000_000 + second * 1_000)
      #expect(bench.at(Double(second) - 0.001) == [])
      #expect(bench.at(Double(second)) == [Self.start("a", second)])
      bench.end("a", at: Double(second) + 1)
    }
  }

  @Test("leave a job whose failure a person must mend alone for longer, an hour at most")
  func backOffForPeople() {
    func pauses(_ needsPerson: Bool) -> [Int64] {
      [1, 2, 3, 7, 8, 1_000_000].map {
        BackOff.milliseconds(failureCount: $0, needsPerson: needsPerson) / 1_000
      }
    }
    #expect(pauses(false) == [10, 20, 40, 600, 600, 600])
    #expect(pauses(true) == [60, 120, 240, 3_600, 3_600, 3_600])
  }

  @Test("take a run that found the job taken for no failure, and for no success")
  func busy() {
    var bench = Bench("a")
    #expect(bench.at(10) == [Self.start("a", 10)])
    bench.end("a", .busy, at: 10.1)
    #expect(bench.supervision.failingCount == 0)
    #expect(bench.at(20) == [Self.start("a", 20)])
    bench.end("a", .failed(needsPerson: false), at: 21)
    #expect(bench.at(31) == [Self.start("a", 31)])
    bench.end("a", .busy, at: 32)
    #expect(bench.supervision.failureCount(of: "a") == 1)
  }

  @Test("take a changed job up at once, without its failures, and leave its run alone")
  func changes() {
    var bench = Bench("a", "b")
    #expect(bench.at(10) == [Self.start("a", 10), Self.start("b", 10)])
    let slower = Ticks(.every(milliseconds: 60_000), zone: .utc)
    bench.supervision.update("a", slower, now: bench.now)
    bench.end("a", at: 12)
    #expect(bench.at(19) == [])
    // 1,020 is a multiple of 60, which 1,000 is not.
    #expect(bench.at(20) == [Self.start("a", 20)])
    #expect(bench.supervision.due("a") == 1_080_000)
    bench.end("b", .failed(needsPerson: true), at: 22)
    #expect(bench.supervision.due("b") == 1_082_000)
    bench.supervision.update("b", Bench.ticks, now: bench.now)
    #expect(bench.at(30) == [Self.start("b", 30)])
    // Nothing of its schedule was changed: what is due stays due.
    bench.end("b", at: 45)
    bench.supervision.update("b", Bench.ticks, now: bench.now)
    #expect(bench.at(45) == [Self.start("b", 40)])
  }

  @Test("let a removed job's run end, and forget the job")
  func removal() {
    var bench = Bench("a", "b")
    #expect(bench.at(10).count == 2)
    bench.supervision.update("a", nil, now: bench.now)
    bench.end("b", at: 11)
    bench.supervision.update("b", nil, now: bench.now)
    #expect(bench.supervision.jobCount == 0 && bench.supervision.runningCount == 1)
    #expect(bench.at(20) == [])
    bench.end("a", .failed(needsPerson: false), at: 21)
    #expect(bench.at(100) == [] && bench.supervision.wake == nil)
    #expect(bench.supervision.failingCount == 0 && bench.supervision.due("a") == nil)
    // One of that name that comes later is a new one.
    bench.supervision.update("a", Bench.ticks, now: bench.now)
    #expect(bench.at(110) == [Self.start("a", 110)])
  }

  @Test("do not wait for a clock that was put back to reach again what it has seen")
  func clockPutBack() {
    var bench = Bench("a")
    #expect(bench.at(3_600) == [Self.start("a", 10)])
    bench.end("a", at: 3_601)
    // An adjustment does not repeat the tick.
    #expect(bench.at(3_599.5) == [] && bench.at(3_600) == [] && bench.at(3_602) == [])
    #expect(bench.at(4) == [])
    #expect(bench.at(10) == [Self.start("a", 10)])
    // What is left of a pause stays as long.
    bench.end("a", .failed(needsPerson: true), at: 3_600)
    #expect(bench.at(3_610) == [] && bench.supervision.due("a") == 4_660_000)
    #expect(bench.at(10) == [] && bench.supervision.due("a") == 1_060_000)
    #expect(bench.at(60).count == 1)
  }

  @Test("when told to stop: start nothing, ask every run to end once for each call, then kill it")
  func stop() {
    var bench = Bench("a", "b", "c")
    #expect(bench.at(10).count == 3)
    bench.end("c", at: 11)
    bench.supervision.stop(uptime: bench.uptime)
    #expect(!bench.supervision.isStopped)
    #expect(bench.at(11) == [.interrupt(job: "a"), .interrupt(job: "b")])
    #expect(bench.at(12) == [])
    bench.supervision.stop(uptime: bench.uptime)
    #expect(bench.at(12) == [.interrupt(job: "a"), .interrupt(job: "b")])
    bench.end("a", .failed(needsPerson: false), at: 13)
    // A second call grants no more time: 20 s of grace and 10 s from the first.
    #expect(bench.supervision.stopDeadline == 141_000 && bench.supervision.wake == nil)
    #expect(bench.at(40.9) == [])
    #expect(bench.at(41) == [.kill(job: "b")])
    #expect(bench.at(42) == [] && !bench.supervision.isStopped)
    bench.end("b", .failed(needsPerson: false), at: 42)
    #expect(bench.supervision.isStopped && bench.at(43) == [])
  }

  @Test("give a run its time to end, whatever the clock is set to meanwhile")
  func stopWhileClockIsSet() {
    for clockError: Int64 in [-3_600_000, 3_600_000] {
      var bench = Bench("a")
      #expect(bench.at(10).count == 1)
      bench.supervision.stop(uptime: bench.uptime)
      #expect(bench.at(10) == [.interrupt(job: "a")])
      bench.clockError = clockError
      let error = Double(clockError) / 1_000
      #expect(bench.at(39.9 - error) == [])
      #expect(bench.at(40 - error) == [.kill(job: "a")])
    }
  }

  @Test("are done at once where nothing runs when they are told to stop")
  func stopIdle() {
    var bench = Bench("a")
    bench.supervision.stop(uptime: bench.uptime)
    #expect(bench.at(10) == [] && bench.supervision.isStopped)
  }
}
