// Plays histories of the engine on failing brokers and stores.
//
//   simulate FROM TO           the seeds from FROM to TO - 1; one alone shows its job, too
//   simulate first FROM TO     the same until one differs
//   simulate for SECONDS       random seeds until the time is over or one differs
//   simulate threads SECONDS   the same with the publisher on a thread of its own: no seed replays
//
// One thread plays: two processes use two cores better than two threads, which would share SQLite's
// memory lock.
import Glibc
import Simulation

let numbers = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
let started = ContinuousClock.now
let histories = Histories()
var sum = Histories.Outcome()
switch (CommandLine.arguments.dropFirst().first, numbers.count) {
case (let mode?, 1) where mode == "for" || mode == "threads":
  while ContinuousClock.now - started < .seconds(Int(numbers[0])) && sum.differences.isEmpty {
    let seeds = (0..<50).map { _ in UInt64.random(in: 0..<UInt64.max) }
    sum.add(try histories.play(seeds, hasPublisherThread: mode == "threads"))
  }
case ("first", 2) where numbers[0] < numbers[1]:
  sum.add(try histories.play(numbers[0]..<numbers[1], untilDifference: true))
case (_, 2) where numbers[0] < numbers[1]:
  if numbers[1] == numbers[0] + 1 { print(try histories.jobText(ofSeed: numbers[0])) }
  sum.add(try histories.play(numbers[0]..<numbers[1]))
default:
  fatalError("usage: simulate [first] FROM TO | simulate for SECONDS | simulate threads SECONDS")
}
let seconds = Int((ContinuousClock.now - started) / .seconds(1))
print("\(sum.histories) histories, \(sum.runs) runs, \(sum.batches) batches, ", terminator: "")
print("\(sum.crashes) crashes, \(sum.backfills) backfills, ", terminator: "")
print("\(sum.decisions) decisions about replaced logs, ", terminator: "")
print("\(sum.restores) restored copies, \(sum.evolutions) evolutions, ", terminator: "")
print("\(sum.evicted) windows evicted in \(seconds) s")
for difference in sum.differences { print(difference) }
if !sum.differences.isEmpty {
  print("\(sum.differences.count) histories differ from their records")
  exit(1)
}
