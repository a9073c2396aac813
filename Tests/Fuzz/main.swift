// Feeds every parser with mutated inputs, and runs every command on mutated checkpoints: no crash,
// no hang, no growing memory, and the
// same values by two ways.
//
//   fuzz SECONDS [SEED]             each parser of `Fuzzer.Parser` for its part of the time
//   fuzz SECONDS SEED PARSER        one of them for all of it
// fuzz checkpoint SECONDS [SEED]  checkpoints with pages and values changed, from a seed on, each
// in a child process
//   fuzz checkpoint-seed SEED       one of these checkpoints, in this process
import Foundation
import Glibc

/// Prints a line at once: whoever reads it may learn no more of us.
func say(_ text: String) {
  print(text)
  fflush(nil)
}

func fail(_ text: String) -> Never {
  say(text)
  exit(1)
}

func residentKilobytes() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  return status.split(separator: "\n").first { $0.hasPrefix("VmRSS") }?.split(separator: " ")
    .dropFirst().first.flatMap { Int($0) } ?? 0
}

let usage = """
  usage: fuzz SECONDS [SEED [PARSER]]
         fuzz checkpoint SECONDS [SEED]
         fuzz checkpoint-seed SEED
  """
var arguments = CommandLine.arguments.dropFirst()

switch arguments.first {
case "checkpoint":
  guard let seconds = arguments.dropFirst().first.flatMap(Double.init) else { fail(usage) }
  let seed = arguments.dropFirst(2).first.flatMap(UInt64.init) ?? 1
  exit(try CheckpointFuzzer.fuzz(seconds: seconds, from: seed) ? 0 : 1)
case "checkpoint-seed":
  guard let seed = arguments.dropFirst().first.flatMap(UInt64.init) else { fail(usage) }
  try CheckpointFuzzer.playOne(seed)
case "checkpoint-child":
  let numbers = arguments.dropFirst(2).compactMap(UInt64.init)
  guard let folder = arguments.dropFirst().first, numbers.count == 2 else { fail(usage) }
  try CheckpointFuzzer.play(folder: folder, numbers[0]..<numbers[0] + numbers[1])
default:
  guard let seconds = arguments.first.flatMap(Double.init) else { fail(usage) }
  let seed = arguments.dropFirst().first.flatMap(UInt64.init) ?? 1
  let name = arguments.dropFirst(2).first
  let parsers = Fuzzer.Parser.allCases.filter { name == nil || $0.rawValue == name }
  if parsers.isEmpty { fail("no parser \(name ?? ""): \(Fuzzer.Parser.allCases.map(\.rawValue))") }
  var fuzzer = try Fuzzer(seed: seed)
  // Ends by a signal where a parser crashes or hangs: this line says what to begin with again.
  say("seed \(seed)")
  for parser in parsers {
    let started = ContinuousClock.now
    var count = 0
    var settled = 0
    while ContinuousClock.now - started < .seconds(seconds / Double(parsers.count)) {
      // A parser that hangs ends the process by SIGALRM.
      alarm(10)
      for _ in 0..<100 {
        if let problem = fuzzer.feed(parser) { fail("seed \(seed), \(parser): \(problem)") }
      }
      count += 100
      if count == 2_000 { settled = residentKilobytes() }
    }
    alarm(0)
    let grown = settled > 0 ? residentKilobytes() - settled : 0
    say("\(parser): \(count) inputs, memory grew by \(grown) KiB")
    if grown > 65_536 { fail("\(parser): memory grows") }
  }
}
