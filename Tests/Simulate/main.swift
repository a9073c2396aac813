// Plays seeded histories of the engine on failing brokers and stores.
//
//   simulate FROM TO         the seeds from FROM to TO - 1; one alone replays a difference
//   simulate for SECONDS     random seeds until the time is over or one differs
//
// One thread: two processes use two cores better than two threads, which would share SQLite's memory lock.
import Simulation

let numbers = CommandLine.arguments.dropFirst().compactMap { UInt64($0) }
let started = ContinuousClock.now
let histories = try Histories()
var sum = Histories.Outcome()
switch (CommandLine.arguments.dropFirst().first, numbers.count) {
case ("for", 1):
  while ContinuousClock.now - started < .seconds(Int(numbers[0])) && sum.differences.isEmpty {
    sum.add(try histories.play((0..<50).map { _ in UInt64.random(in: 0..<UInt64.max) }))
  }
case (_, 2) where numbers[0] < numbers[1]: sum.add(try histories.play(numbers[0]..<numbers[1]))
default: fatalError("usage: simulate FROM TO | simulate for SECONDS")
}
let seconds = Int((ContinuousClock.now - started) / .seconds(1))
print("\(sum.histories) histories, \(sum.runs) runs, \(sum.batches) batches, \(sum.crashes) crashes in \(seconds) s")
for difference in sum.differences.prefix(5) { print(difference) }
precondition(sum.differences.isEmpty, "\(sum.differences.count) histories differ from their records")
