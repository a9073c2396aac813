import ArgumentParser
import Engine
import Formats
import Jobs
import Kafka
import Reports

/// A topic that no job file names.
struct TopicOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Brokers as host:port, separated by commas.",
      discussion: "Default: $KAFKA_BROKERS, else localhost:9092."))
  var brokers: String?

  @Option(help: "The topic.")
  var topic: String?

  @Option(
    help: ArgumentHelp(
      "A property of librdkafka, such as security.protocol=sasl_ssl. As often as needed.",
      discussion: """
        ${VARIABLE} and ${file:PATH} stand for secrets, as in job files; put them between single \
        quotes, so that the shell leaves them as they are.
        """, valueName: "name=value"))
  var property: [PropertyArgument] = []

  var isGiven: Bool { brokers != nil || topic != nil || !property.isEmpty }

  /// As a job file writes it.
  ///
  /// - Parameter placeholder: Of a topic that is not given.
  func source(placeholder: String) -> JobDraft.Source {
    JobDraft.Source(
      brokers: brokers ?? "${KAFKA_BROKERS:-localhost:9092}", topic: topic ?? placeholder,
      properties: property.map { ($0.name, $0.value) })
  }
}

/// `security.protocol=sasl_ssl`
struct PropertyArgument: ExpressibleByArgument {
  let name, value: String

  init?(argument: String) {
    guard let equals = argument.firstIndex(of: "="), equals > argument.startIndex else {
      return nil
    }
    name = String(argument[..<equals])
    value = String(argument[argument.index(after: equals)...])
  }
}

/// A job that reads a topic, checked as a job file is; what is wrong is said of the options.
///
/// - Parameter text: Of a job file that was made from them.
/// - Throws: ``CommandError``.
func jobOfOptions(_ text: String) throws -> Job {
  do {
    return try parsedJob(text, path: "", checksFiles: true).job
  } catch {
    let faults = error.errors.map { fault in
      let property = fault.key.firstRange(of: ".properties.").map {
        String(fault.key[$0.upperBound...])
      }
      let option =
        switch property {
        case "bootstrap.servers": "--brokers"
        case let property?: "--property \(property)"
        case nil where fault.key.contains(".topics"): "--topic"
        case nil: fault.key
        }
      return "\(option): \(fault.fault)"
    }
    throw CommandError(.data, faults.joined(separator: " "))
  }
}
