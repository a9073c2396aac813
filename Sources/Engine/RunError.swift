package import Checkpoints
internal import Expressions
package import ObjectStorage
package import Offsets
package import Windows

/// Why a run ended without having done everything. What was committed stays, and the next run goes
/// on from there.
package struct RunError: Error, CustomStringConvertible {
  /// What an operator does about it; `tranche` gives each an exit code.
  package enum Kind: Sendable, CaseIterable {
    /// A record, a limit or a setting that stops the job until someone acts.
    case data
    /// The broker or the store cannot be reached: try again.
    case unreachable
    /// Credentials or rights.
    case noPermission
    /// The job file means something else than the state.
    case jobChanged
    case cannotCreate
    /// The disk, or a damaged checkpoint.
    case inputOutput
    case locked
    /// Planned offsets are gone from the broker.
    case dataLoss
    case internalFault
  }

  package let kind: Kind
  package let description: String

  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  package init(_ error: SourceError) {
    let kind: Kind =
      switch error.code {
      case .unreachable: .unreachable
      case .refused: .noPermission
      case .truncated, .beyondEnd: .dataLoss
      case .unknownTopic, .undecodable, .misconfigured, .other: .data
      }
    self.init(kind, error.description)
  }

  package init(_ error: CheckpointError) {
    let kind: Kind =
      switch error.code {
      case .locked, .busy: .locked
      case .unusableFolder, .networkFileSystem, .readOnly: .cannotCreate
      case .corrupt, .leftover, .foreign, .newer, .full, .inputOutput, .database: .inputOutput
      case .notRegular, .removed: .inputOutput
      case .noPermission: .noPermission
      case .jobChanged, .otherJob, .wrongCluster, .resultsWait: .jobChanged
      case .overflow, .tooManyGroups, .noCheckpoint: .data
      case .invariant: .internalFault
      }
    self.init(kind, error.description)
  }

  package init(_ error: ObjectStoreError) {
    let kind: Kind =
      switch error.code {
      case .unreachable, .serverError: .unreachable
      case .refused, .badCredentials: .noPermission
      case .full, .inputOutput: .inputOutput
      case .readOnly: .cannotCreate
      case .noSuchBucket, .badRequest, .tooLarge: .data
      case .held: .locked
      }
    self.init(kind, error.description)
  }

  /// - Parameter jobArguments: What names the job on the command line.
  package init(_ error: FoldError, jobArguments: String, plan: BatchPlan) {
    let partition = plan.ranges[error.partitionIndex].partition
    self.init(
      .data,
      """
      \(partition) offset \(error.offset): \(error.description). Nothing of batch \(plan.batch) \
      was committed. \(error.remedy): \
      \(Self.skipCommand(jobArguments, partition, error.offset))
      """)
  }

  /// The command that leaves one offset out.
  static func skipCommand(_ jobArguments: String, _ partition: PartitionID, _ offset: Offset)
    -> String
  {
    "tranche skip \(jobArguments) --source \(partition.source) --topic \(partition.topic) "
      + "--partition \(partition.partition) "
      + "--from \(offset) --to \(offset + 1)"
  }

  /// A batch that the checkpoint did not take.
  init(_ error: CheckpointError, plan: BatchPlan) {
    guard case .tooManyGroups = error.code else {
      self.init(error)
      return
    }
    self.init(.data, "batch \(plan.batch), \(Self.list(plan.ranges)): \(error)")
  }

  /// At most three ranges.
  static func list(_ ranges: [PartitionRange]) -> String {
    ranges.prefix(3).map(\.description).joined(separator: ", ")
      + (ranges.count > 3 ? " and \(ranges.count - 3) more" : "")
  }

  /// Any error that crossed the engine, in the words of its module.
  package init(wrapping error: any Error) {
    switch error {
    case let error as RunError: self = error
    case let error as SourceError: self.init(error)
    case let error as CheckpointError: self.init(error)
    case let error as ObjectStoreError: self.init(error)
    case let error as ExpressionError: self.init(.data, error.description)
    default: self.init(.internalFault, "\(error)")
    }
  }
}
