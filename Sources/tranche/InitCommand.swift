import ArgumentParser
import Checkpoints
import Engine
import Formats
import Foundation
import Glibc
import Jobs
import Kafka
import Offsets
import Reports

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Write a first job file, from a look at a topic.",
    discussion: """
      Reads the newest messages of the topic, over all partitions, and tells from them the format, \
      the fields and their types, the event's time, what to group by and what to add up. Writes a \
      job file that is valid and reads them, with comments that say what was seen. The file holds \
      names and counts, and no value of a record. Without --topic it writes a template.

        tranche init --brokers kafka:9092 --topic calls
        tranche try jobs/calls.yaml
      """)

  @Argument(help: "The job's name. Default: like the topic's.")
  var name: String?

  @OptionGroup var source: TopicOptions

  @Option(help: "How many messages to look at.")
  var records = 1_000

  @Option(
    help: ArgumentHelp(
      "Where to write the job file; - prints it.", discussion: "Default: jobs/NAME.yaml."),
    completion: .file(extensions: ["yaml", "yml"]))
  var output: String?

  @Flag(help: "Replace a file that is there.")
  var force = false

  func validate() throws {
    if !(1...100_000).contains(records) {
      throw ValidationError("--records takes a number from 1 to 100000.")
    }
    for property in source.property
    where KafkaCluster.holdsSecret(property.name) && !JobFile.holdsReference(property.value) {
      throw ValidationError(
        """
        --property \(property.name) is a secret, which the job file must not hold. Name a variable \
        or a file: --property '\(property.name)=${VARIABLE}' or \
        '\(property.name)=${file:PATH}'.
        """)
    }
  }

  func run() throws {
    try exiting {
      let name = name ?? source.topic.map(JobDraft.jobName) ?? "my-job"
      let path = output ?? "jobs/\(name).yaml"
      if path != "-" && !force && FileIdentity(path: path) != nil {
        throw CommandError(
          .cannotCreate,
          "\(path): is there already. Name another file with --output, or replace it with --force.")
      }
      let next = nextCommands(shellWord(path == "-" ? "\(name).yaml" : path))
      func draft(_ shape: SampleShape?) -> String {
        JobDraft(
          name: name, source: source.source(placeholder: "my_topic"),
          commands: next.map { "\($0.command)    \($0.purpose)" }, shape: shape
        ).text
      }
      let template = draft(nil)
      let job = try jobOfOptions(template)
      let written = try source.topic.map { try sampled($0, job, path, draft) }
      try write(written?.text ?? template, to: path)
      if path == "-" { return }
      printText("\(path): written" + (written.map { ". \($0.summary)" } ?? ", a template."))
      printText(
        "\nNext:\n" + next.map { "  \($0.command)    \($0.purpose)" }.joined(separator: "\n"))
    }
  }

  private func nextCommands(_ job: String) -> [(command: String, purpose: String)] {
    let commands = [
      ("tranche validate \(job)", "check this file"),
      ("tranche try \(job)", "the results of a sample; keeps nothing"),
      ("tranche run \(job)", "catch up with the topic"),
    ]
    let width = commands.map(\.0.count).max() ?? 0
    return commands.map {
      ($0.0.padding(toLength: width, withPad: " ", startingAt: 0), $0.1)
    }
  }

  /// A job file for a topic, and what its job makes of the sample.
  private func sampled(
    _ topic: String, _ job: Job, _ path: String,
    _ draft: (SampleShape?) -> String
  ) throws -> (text: String, summary: String) {
    let newest = try NewestMessages.read(
      records, of: [(job.clusters[0], makeSource(job.clusters[0], of: job))])
    let messages = newest.messages
    do {
      if messages.isEmpty { throw SampleFault.noMessages }
      let text = draft(try SampleShape(of: messages))
      let drafted = try parsedJob(text, path: path, checksFiles: true).job
      let peeked = try PeekedRecords(
        of: messages, job: drafted,
        options: RunOptions(
          clock: nowMilliseconds, nanoseconds: uptimeNanoseconds, release: release))
      let decodedCount = peeked.records.count {
        if case .row = $0.content { true } else { false }
      }
      return (
        text,
        "It reads \(grouped(Int64(decodedCount))) of the newest "
          + "\(grouped(Int64(peeked.records.count))) records of \(topic)."
      )
    } catch let fault as SampleFault {
      throw CommandError(
        .data, Words().text(of: fault, topic: topic, messageCount: messages.count))
    }
  }

  /// Whole or not at all, and never over a file that nobody said to replace.
  private func write(_ text: String, to path: String) throws {
    if path == "-" { return printExact(text, terminator: "") }
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
    let new = "\(path).\(getpid())"
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: new))
    } catch {
      unlink(new)
      throw cannotWrite(path, error.localizedDescription)
    }
    // A link, unlike a rename, replaces nothing.
    let failure = (force ? rename(new, path) : link(new, path)) == 0 ? nil : errno
    unlink(new)
    if let failure { throw cannotWrite(path, String(cString: strerror(failure))) }
  }

  private func cannotWrite(_ path: String, _ reason: String) -> CommandError {
    CommandError(
      .cannotCreate,
      "\(path): cannot be written: \(reason). Name another file with --output.")
  }
}
