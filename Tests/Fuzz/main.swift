// Feeds every parser with mutated inputs: no crash, no hang, no growing memory.
//
//   fuzz SECONDS [SEED]             each of csv, json, jobFile, expression and timestamp for its part of the time
//   fuzz SECONDS SEED PARSER        one of them for all of it
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
let parsers = CommandLine.arguments.dropFirst(3).first.flatMap(Fuzzer.Parser.init).map { [$0] } ?? Fuzzer.Parser.allCases
for parser in parsers {
  let started = ContinuousClock.now
  var count = 0
  var settled = 0
  while ContinuousClock.now - started < .seconds(seconds / Double(parsers.count)) {
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
