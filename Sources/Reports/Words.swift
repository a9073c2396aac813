internal import Checkpoints
package import Engine
internal import Expressions
internal import ObjectStorage
internal import Offsets

/// Says what the engine found to a person: what happened, where, and what to do.
///
/// Errors carry facts, and this is the only place that puts a run's into words. What a person can
/// type is not known here: ``Commands`` holds it.
package struct Words: Sendable {
  let commands: Commands

  package init(_ commands: Commands) { self.commands = commands }

  /// What a command line calls what a person may have to do.
  package struct Commands: Sendable {
    /// The command that carries out a decision.
    let decide: @Sendable (Decision) -> String
    /// The option that names another folder for checkpoints.
    let checkpointFolder: String
    /// How the files of a new checkpoint get other rights.
    let fileMode: String

    package init(
      checkpointFolder: String, fileMode: String,
      decide: @escaping @Sendable (Decision) -> String
    ) {
      self.checkpointFolder = checkpointFolder
      self.fileMode = fileMode
      self.decide = decide
    }
  }

  /// Everything that went wrong in one run; what would be said twice is said once.
  package func failures(_ errors: [RunError]) -> [Failure] {
    errors.map { Failure(code: $0.code.rawValue, message: text(of: $0)) }
      .reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  package func text(of error: RunError) -> String {
    switch error {
    case .source(let error): sentence(error.description, remedy(error))
    case .checkpoint(let error): text(of: error)
    case .store(let error): sentence(error.description, remedy(error))
    case .expression(let error): sentence(error.description)
    case .batch(let fault): text(of: fault)
    case .logsReplaced(let incidents): logsReplaced(incidents)
    case .offsetsLost(let ranges): offsetsLost(ranges)
    case .destination(let fault): text(of: fault)
    case .backup(let fault): text(of: fault)
    case .unrenderable(let faults): unrenderable(faults)
    case .lackOfResources(let problem): sentence(problem, lackOfResourcesRemedy)
    case .unforeseen(let error): sentence("\(error)")
    }
  }

  /// Sentences, each with its full stop.
  func sentence(_ texts: String...) -> String {
    texts.filter { !$0.isEmpty }.map { text in
      text.last.map { ".?!".contains($0) } == true ? text : text + "."
    }.joined(separator: " ")
  }

  /// At most three of a list.
  func list(_ items: [some CustomStringConvertible]) -> String {
    items.prefix(3).map(\.description).joined(separator: ", ")
      + (items.count > 3 ? " and \(items.count - 3) more" : "")
  }
}
