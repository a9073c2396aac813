import Checkpoints
import Foundation
import Glibc
import TestSupport
import Testing

/// The shipped binary on the real broker and real stores, killed wherever something becomes
/// durable, and at random.
@Suite("A run that dies and is started again")
struct CrashTests {
  enum Kind: String, CaseIterable, Sendable {
    case oneWindow, severalWindows, rows, s3, dirtyAtStart
  }

  @Test(
    """
    killed at any durable step, and once more in its recovery, leaves the objects and the state \
    of an uninterrupted run
    """,
    arguments: Kind.allCases)
  func crashLoop(kind: Kind) throws {
    let store: Int? = kind == .s3 ? 0 : nil
    let calm = try Scenario(store: store)
    func prepare(_ scenario: Scenario) throws {
      let kafka =
        "[{ name: main, properties: { bootstrap.servers: \"\(calm.stack.broker)\" }, topics: "
        + "[\(calm.topic)] }]"
      if kind == .rows {
        try scenario.write(
          kafka: kafka, rest: "select: { share: 100.0 * time_taken / sum(time_taken) OVER () }",
          output: "format: parquet, keep: each")
      } else {
        try scenario.write(kafka: kafka, output: "format: parquet")
      }
    }
    let span = kind == .oneWindow ? 4 : 12
    try calm.stack.kafka(
      calm.stack.broker,
      [
        ["op": "create", "topic": calm.topic, "partitions": 3],
        calm.samples(partitions: 3, count: 4_500, seed: 7, spanMinutes: span),
      ])
    try prepare(calm)
    #expect(try calm.run().exitCode == 0)
    let (objects, state) = (try calm.objects(), try calm.state())
    #expect(objects.count == (kind == .rows ? 5 : kind == .oneWindow ? 1 : 3))

    var random = SeededRandom(seed: 3)
    var deathCount = 0
    for step in 1...300 {
      let scenario = try Scenario(store: store)
      try prepare(scenario)
      if kind == .dirtyAtStart {
        // Lock, file, cluster, start offsets, and the first batch: committed and not published.
        #expect(try scenario.tranche("run", "job.yaml", "--die-at-step", "5").exitCode == -SIGKILL)
        #expect(
          try scenario.tranche("status", "job.yaml", "--offline").output.contains(
            "unpublished   window_start="))
      }
      let died =
        try scenario.tranche("run", "job.yaml", "--die-at-step", "\(step)").exitCode == -SIGKILL
      let recoveryStep = Int.random(in: 1...12, using: &random)
      if died { try scenario.tranche("run", "job.yaml", "--die-at-step", "\(recoveryStep)") }
      let recovery = try scenario.run()
      #expect(
        recovery.exitCode == 0, "died at steps \(step) and \(recoveryStep): \(recovery.errors)")
      // Temporary files would be objects too many.
      #expect(try scenario.objects() == objects, "died at steps \(step) and \(recoveryStep)")
      #expect(try scenario.state() == state, "died at steps \(step) and \(recoveryStep)")
      if !died { break }
      deathCount += 1
      #expect(step < 300, "still dying")
    }
    #expect(deathCount > 15)
    print("crash loop, \(kind): died at \(deathCount) steps, and once more in each recovery")
  }

  /// 250 kills; `make torture` goes on for as many seconds as it is told.
  @Test(
    """
    killed at random moments, until it is done, leaves the same, and no reader ever sees half an \
    object
    """
  )
  func randomKills() throws {
    let calm = try Scenario()
    try calm.stack.kafka(
      calm.stack.broker,
      [
        ["op": "create", "topic": calm.topic, "partitions": 6],
        calm.samples(count: 20_000, seed: 5),
      ])
    func prepare(_ scenario: Scenario) throws {
      try scenario.write(
        kafka:
          "[{ name: main, properties: { bootstrap.servers: \"\(calm.stack.broker)\" }, topics: "
          + "[\(calm.topic)] }]",
        maxOffsets: 100)
    }
    try prepare(calm)
    #expect(try calm.run().exitCode == 0)
    try calm.checkAgainstOracle([(calm.stack.broker, calm.topic)])
    let (objects, state) = (try calm.objects(), try calm.state())

    let seconds = ProcessInfo.processInfo.environment["TRANCHE_TORTURE_SECONDS"].flatMap(
      Double.init)
    let seed = seconds == nil ? 42 : UInt64.random(in: 0..<1_000_000)
    var random = SeededRandom(seed: seed)
    let started = ContinuousClock.now
    var (killCount, historyCount, batchCount) = (0, 0, 0)
    func isOver() -> Bool {
      seconds.map { ContinuousClock.now - started > .seconds($0) } ?? (killCount >= 250)
    }
    while !isOver() {
      let scenario = try Scenario()
      try prepare(scenario)
      historyCount += 1
      while !isOver() {
        let delay = Double.random(in: 0.005...0.25, using: &random)
        let result = try scenario.tranche("run", "job.yaml") { process in
          Thread.sleep(forTimeInterval: delay)
          kill(process, SIGKILL)
        }
        for (key, data) in try scenario.objects() where !key.contains("/.") {
          try checkWhole(key, data)
        }
        if result.exitCode == 0 { break }
        #expect(result.exitCode == -SIGKILL, "seed \(seed): \(result.errors)")
        killCount += 1
      }
      let last = try scenario.run()
      #expect(last.exitCode == 0, "seed \(seed): \(last.errors)")
      #expect(try scenario.objects() == objects, "seed \(seed), history \(historyCount)")
      #expect(try scenario.state() == state, "seed \(seed), history \(historyCount)")
      batchCount += 200
    }
    print(
      "random kills: \(killCount) in \(historyCount) histories of 200 batches (\(batchCount) in "
        + "all), seed \(seed)"
    )
  }

  /// A CSV object that a reader finds at any moment ends with a whole line, and every line has all
  /// columns.
  private func checkWhole(_ key: String, _ data: Data) throws {
    let text = String(decoding: data, as: UTF8.self)
    #expect(
      text.hasPrefix("api_id,calls,time_taken,percentage_time,percent_rank\n")
        && text.hasSuffix("\n"), "\(key)")
    #expect(
      text.split(separator: "\n").allSatisfy {
        $0.split(separator: ",", omittingEmptySubsequences: false).count == 5
      }, "\(key)")
  }

  private func scenarioOfManyBatches(_ change: (Scenario) throws -> Void = { _ in }) throws
    -> Scenario
  {
    let scenario = try Scenario()
    try scenario.write(maxOffsets: 20)
    try scenario.stack.kafka(
      scenario.stack.broker,
      [
        ["op": "create", "topic": scenario.topic, "partitions": 6],
        scenario.samples(count: 20_000, seed: 5),
      ])
    try change(scenario)
    return scenario
  }

  /// Returns once the run has committed something.
  private func waitForCommit(_ scenario: Scenario) throws {
    let deadline = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < deadline {
      if try scenario.tranche("status", "job.yaml", "--offline").output.contains(
        "last commit   batch")
      {
        return
      }
    }
    Issue.record("nothing was committed in 30 s")
  }

  @Test(
    """
    told to stop by SIGTERM or SIGINT, publishes what it committed, dies by that signal, and \
    goes on at the next run
    """,
    arguments: [SIGTERM, SIGINT])
  func signals(number: Int32) throws {
    let scenario = try scenarioOfManyBatches()
    let stopped = try scenario.tranche("run", "job.yaml") { process in
      try waitForCommit(scenario)
      kill(process, number)
    }
    #expect(stopped.exitCode == -number, "\(stopped.errors)\(stopped.output)")
    #expect(
      stopped.output.contains("stopped by a signal") && !stopped.output.contains("not published"),
      "\(stopped.output)")
    let status = try scenario.tranche("status", "job.yaml")
    #expect(status.output.contains("unpublished   nothing"), "\(status.output)")
    #expect(try scenario.run().exitCode == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test(
    """
    told to stop while its store does not answer, waits for the answer at hand and no longer, \
    and publishes at the next run
    """
  )
  func grace() throws {
    let silent = ScriptedServer([.silence, .silence, .silence, .silence, .silence, .silence])
    let scenario = try scenarioOfManyBatches()
    let text = try String(contentsOfFile: scenario.folder.path + "/job.yaml", encoding: .utf8)
    try scenario.folder.write(
      text.replacing("file:out", with: "s3://test-bucket/x").replacing(
        "endpoint: \"\"", with: "endpoint: \"\(silent.endpoint)\""),
      to: "job.yaml")
    let environment = ["AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"]
    let stopped = try scenario.tranche("run", "job.yaml", "--grace", "0", environment: environment)
    { process in
      try waitForCommit(scenario)
      kill(process, SIGTERM)
    }
    // The store's failure, after two attempts of five seconds, or the signal: either is told, and
    // objects are left.
    #expect(stopped.exitCode == 69 || stopped.exitCode == -SIGTERM, "\(stopped.errors)")
    #expect(stopped.output.contains("not published yet"), "\(stopped.output)")
    try scenario.folder.write(text, to: "job.yaml")
    #expect(try scenario.run().exitCode == 0)
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  @Test(
    "told twice, by whichever signals, ends at once, and nothing is lost",
    arguments: [[SIGTERM, SIGTERM], [SIGINT, SIGTERM]])
  func secondSignal(numbers: [Int32]) throws {
    let scenario = try scenarioOfManyBatches()
    let stopped = try scenario.tranche("run", "job.yaml") { process in
      try waitForCommit(scenario)
      // Stopped in between, so that the second one does not find the run at its end.
      kill(process, SIGSTOP)
      kill(process, numbers[0])
      kill(process, SIGCONT)
      while try waitsForSignal(process, numbers[0]) {}
      kill(process, numbers[1])
    }
    #expect(numbers.contains(-stopped.exitCode), "\(stopped.exitCode)")
    let again = try scenario.run()
    #expect(again.exitCode == 0, "\(again.errors)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }

  /// Whether a signal was sent to a process that it has not noticed yet.
  private func waitsForSignal(_ process: pid_t, _ number: Int32) throws -> Bool {
    guard let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
    else { return false }
    let pending = status.split(separator: "\n").first { $0.hasPrefix("ShdPnd") }?.split(
      separator: "\t"
    ).last.flatMap {
      UInt64($0, radix: 16)
    }
    return (pending ?? 0) & (1 << UInt64(number - 1)) != 0
  }

  @Test(
    """
    a second run exits with 75 and names the first, also while that one is stopped; status and \
    show answer meanwhile
    """
  )
  func overlap() throws {
    let scenario = try scenarioOfManyBatches()
    let first = try scenario.tranche("run", "job.yaml") { process in
      try waitForCommit(scenario)
      #expect(try scenario.tranche("show", "job.yaml").exitCode == 0)
      kill(process, SIGSTOP)
      defer { kill(process, SIGCONT) }
      let second = try scenario.tranche("run", "job.yaml")
      #expect(second.exitCode == 75)
      #expect(
        second.errors.contains("another run of this job is going on: pid \(process) on "),
        "\(second.errors)")
      let status = try scenario.tranche("status", "job.yaml", "--offline")
      #expect(status.output.contains("running       pid \(process) on "), "\(status.output)")
    }
    #expect(first.exitCode == 0, "\(first.errors)")
    try scenario.checkAgainstOracle([(scenario.stack.broker, scenario.topic)])
  }
}
