import Checkpoints
import Engine
import Jobs
import Offsets
import Reports

extension Words {
  /// Messages whose commands can be typed as they stand.
  ///
  /// - Parameter jobArguments: What names the job on a command line: `jobs/calls.yaml`.
  init(jobArguments: String = "JOB") {
    self.init(
      Commands(checkpointFolder: "--checkpoints", fileMode: "tranche run --mode 0640 or 0660") {
        $0.command(jobArguments)
      })
  }
}

/// What names a job on a command line, as a shell takes it.
///
/// - Parameters:
///   - job: Nil where its file cannot be read: then its folder is not named.
///   - name: As ``JobNameOption/name``.
func jobArguments(
  _ file: String, name: String? = nil, _ job: Job?, _ checkpoints: CheckpointOptions,
  _ code: CodeOptions? = nil
) -> String {
  let words =
    [file] + (name.map { ["--name", $0] } ?? [])
    + (job.map { checkpoints.words(of: $0, file: file) } ?? [])
    + (code?.allowCodeProperties == true ? ["--allow-code-properties"] : [])
  return words.map(shellWord).joined(separator: " ")
}

/// A word as a shell takes it.
func shellWord(_ word: String) -> String {
  let isPlain = word.allSatisfy {
    $0.isASCII && ($0.isLetter || $0.isNumber || "/._-".contains($0))
  }
  return isPlain ? word : "'\(word.replacing("'", with: "'\\''"))'"
}

extension JobOptions {
  func commandLine(of job: Job?) -> String {
    jobArguments(file, name: naming.name, job, checkpoints, code)
  }
}

extension Decision {
  /// The command that carries it out.
  fileprivate func command(_ job: String) -> String {
    func partition(_ partition: PartitionID) -> String {
      "--source \(partition.source) --topic \(partition.topic) --partition \(partition.partition)"
    }
    return switch self {
    case .skip(let range):
      "tranche skip \(job) \(partition(range.partition)) --from \(range.from) --to \(range.to)"
    case .skipUndecodable(let identifier):
      "tranche skip \(job) \(partition(identifier)) --undecodable"
    case .cancelBackfill(let number): "tranche backfill \(job) --cancel \(number)"
    case .acceptRejects: "tranche resolve \(job) --accept-rejects"
    case .replacedLog(let choice, let source, let topic, let partition):
      "tranche resolve \(job) --source \(source) --topic \(topic)"
        + (partition.map { " --partition \($0)" } ?? "") + " --\(choice.rawValue)"
    case .adopt: "tranche resolve \(job) --adopt"
    case .goOnRestored: "tranche resolve \(job) --restored"
    case .deleteObjectsAhead(let isRestored):
      "tranche resolve \(job) \(isRestored ? "--restored" : "--adopt") --delete"
    case .evolve: "tranche evolve \(job)"
    case .startOver: "tranche reset \(job)"
    case .startOverAndDelete: "tranche reset \(job) --delete-objects"
    }
  }
}
