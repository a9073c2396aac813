// Feeds every parser with mutated inputs: no crash, no hang, no growing memory.
//
//   fuzz SECONDS [SEED]      each of csv, json, job files, expressions and timestamps for its part of the time
import Foundation
import Glibc

func fail(_ text: String) -> Never {
  print(text)
  exit(1)
}

func residentKilobytes() -> Int {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  return status.split(separator: "\n").first { $0.hasPrefix("VmRSS") }?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
}

guard let seconds = CommandLine.arguments.dropFirst().first.flatMap(Double.init) else { fail("usage: fuzz SECONDS [SEED]") }
var fuzzer = try Fuzzer(seed: CommandLine.arguments.dropFirst(2).first.flatMap(UInt64.init) ?? 1)
for parser in Fuzzer.Parser.allCases {
  let started = ContinuousClock.now
  var count = 0
  var settled = 0
  while ContinuousClock.now - started < .seconds(seconds / Double(Fuzzer.Parser.allCases.count)) {
    // A parser that hangs ends the process by SIGALRM.
    alarm(10)
    for _ in 0..<100 { if let problem = fuzzer.feed(parser) { fail("\(parser): \(problem)") } }
    count += 100
    if count == 2_000 { settled = residentKilobytes() }
  }
  alarm(0)
  let grown = settled > 0 ? residentKilobytes() - settled : 0
  print("\(parser): \(count) inputs, memory grew by \(grown) KiB")
  if grown > 65_536 { fail("\(parser): memory grows") }
}
