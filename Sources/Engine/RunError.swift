package import Checkpoints
package import Expressions
package import ObjectStorage
package import Offsets
package import Windows

/// Why a run ended without having done everything. What was committed stays, and the next run goes
/// on from there.
///
/// Facts and causes only: `Reports.Words` says them, and the command line adds its commands and its
/// exit codes.
package enum RunError: Error {
  case source(SourceError)
  case checkpoint(CheckpointError)
  case store(ObjectStoreError)
  /// `where` or `select`, before the first batch.
  case expression(ExpressionError)
  case batch(BatchFault)
  /// Logs that were replaced: nothing is read until a person decides.
  case logsReplaced([Incident])
  /// Offsets that the brokers removed before they were read: nothing was read.
  case offsetsLost([PartitionRange])
  case destination(DestinationFault)
  /// What the run did stands; there is no backup of it.
  case backup(BackupFault)
  /// Objects that cannot be rendered, sorted by their keys; all others were published.
  case unrenderable([RenderFault])
  /// What this machine does not give: threads, memory, open files.
  case lackOfResources(String)
  /// Nobody foresaw it.
  case unforeseen(any Error)

  /// What an operator does about it; `tranche` gives each an exit code.
  package enum Code: String, Sendable, CaseIterable {
    /// A record, a limit or a setting that stops the job until someone acts.
    case data
    /// The broker or the store cannot be reached: try again.
    case unreachable
    /// Credentials or rights.
    case noPermission = "no_permission"
    /// The job file, or the place of its results, no longer fits the state.
    case jobChanged = "job_changed"
    case cannotCreate = "cannot_create"
    /// The disk, or a damaged checkpoint.
    case inputOutput = "input_output"
    case locked
    /// Planned offsets are gone from the broker.
    case dataLoss = "data_loss"
    case internalFault = "internal_fault"
    /// This machine gives no more threads, memory or open files.
    case lackOfResources = "lack_of_resources"
  }

  package var code: Code {
    switch self {
    case .source(let error): error.code.runCode
    case .checkpoint(let error): error.code.runCode
    case .store(let error): error.code.runCode
    case .expression, .batch, .unrenderable: .data
    case .logsReplaced, .offsetsLost: .dataLoss
    case .destination(let fault): fault.problem.runCode
    case .backup(let fault): RunError(wrapping: fault.cause).code
    case .lackOfResources: .lackOfResources
    case .unforeseen: .internalFault
    }
  }

  /// Any error that crossed the engine.
  package init(wrapping error: any Error) {
    switch error {
    case let error as RunError: self = error
    case let error as SourceError: self = .source(error)
    case let error as CheckpointError: self = .checkpoint(error)
    case let error as ObjectStoreError: self = .store(error)
    case let error as ExpressionError: self = .expression(error)
    case let fault as BatchFault: self = .batch(fault)
    case let fault as DestinationFault: self = .destination(fault)
    case let fault as BackupFault: self = .backup(fault)
    case let fault as RenderFault: self = .unrenderable([fault])
    case let fault as ThreadFault:
      self = .lackOfResources("no thread can be started: \(fault.reason)")
    default: self = .unforeseen(error)
    }
  }
}

/// Why a batch cannot be committed. Nothing of it was.
package struct BatchFault: Error {
  package let plan: BatchPlan
  package let problem: Problem

  package var batch: Int64 { plan.batch }
  package var ranges: [PartitionRange] { plan.ranges }
  /// The request that the batch was of.
  package var backfill: Int64? { plan.backfill }

  package enum Problem {
    /// The first reject that no person has accepted, and what its batch was judged by.
    case rejects(PartitionID, Offset, RejectStop)
    /// A record that cannot be folded.
    case fold(PartitionID, FoldError)
    /// A batch window of more groups than `limits.groups_per_window`.
    case tooManyGroups(count: Int, limit: Int64)
    /// The state does not take the batch.
    case checkpoint(CheckpointError)
    case expression(ExpressionError)
    /// The batch's own object cannot be made: an `ExpressionError`, or one of the encoders.
    case rendering(any Error)
    /// Messages of a partition that cannot be decompressed or are damaged.
    case undecodable(PartitionID, SourceError)
  }

  init(_ plan: BatchPlan, _ problem: Problem) {
    self.plan = plan
    self.problem = problem
  }
}

/// Why an object cannot be rendered, which no new attempt changes.
package struct RenderFault: Error {
  package enum Subject: Sendable, Equatable {
    /// By its label, such as `2026-11-23T10:05:00.000Z`.
    case window(String)
    case rejects(batch: Int64)
  }
  package let job: String
  package let subject: Subject
  /// An `ExpressionError`, or one of the encoders.
  package let cause: any Error
}

/// Why a run may not write to the place of its results.
package struct DestinationFault: Error, Equatable {
  package enum Problem: Equatable, Sendable {
    case refused(Ownership.Refusal)
    /// Another run has marked the place while this one wrote; nil where its marker cannot be read.
    case overtaken(OwnerMarker?)
    /// The marker that this run wrote is gone.
    case markerGone
    /// A person said that a restored checkpoint goes on, and the place bears no marker of it.
    case noMarkerOfOurs
    /// A person said that the place is taken from another, and it is a newer state of our own.
    case newerStateOfOurs
    /// A person said that a restored checkpoint goes on, and the place is another's.
    case anothers(OwnerMarker)
    /// A person takes the place for this checkpoint, and objects of batches stand there that it has
    /// not committed.
    case objectsAhead([String], nextBatch: Int64, isRestored: Bool)

    fileprivate var runCode: RunError.Code {
      switch self {
      case .refused, .overtaken, .markerGone, .objectsAhead: .jobChanged
      case .noMarkerOfOurs, .newerStateOfOurs, .anothers: .data
      }
    }
  }
  /// `s3://bucket/prefix` or `file:path`.
  package let location: String
  package let job: String
  package let problem: Problem
}

/// What a person can decide, so that a job that stopped goes on.
package enum Decision: Equatable, Sendable {
  /// Pass over these offsets and record them as a gap.
  case skip(PartitionRange)
  /// Pass over the next messages that cannot be decoded.
  case skipUndecodable(PartitionID)
  /// Give up what is left of a backfill.
  case cancelBackfill(Int64)
  /// Keep the rejects that stopped a batch, and count its good records.
  case acceptRejects
  /// How a job goes on in a log that was replaced; in all of a topic's if no partition is named.
  case replacedLog(ReplacedLogChoice, source: String, topic: String, partition: Int32?)
  /// Take a place that another job, or nobody, has marked.
  case adopt
  /// Go on with a checkpoint that was restored or copied.
  case goOnRestored
  /// As one of the two before, after objects of batches are deleted that the checkpoint has not
  /// committed.
  case deleteObjectsAhead(isRestored: Bool)
  /// Let added and removed measures and fields take effect from the next batch on.
  case evolve
  /// Put the state aside and build a new one.
  case startOver
  /// As ``startOver``, and delete the objects of the old state.
  case startOverAndDelete
}

/// How a job goes on in a log that was replaced.
package enum ReplacedLogChoice: String, CaseIterable, Sendable {
  /// Count the log that is there now from its oldest offset, beside what was counted of the old.
  case restart
  /// Go on at progress; nothing below it is counted again.
  case keep
  /// Pass over what the log holds now, and go on at its end.
  case gap
}

extension SourceError.Code {
  fileprivate var runCode: RunError.Code {
    switch self {
    case .unreachable: .unreachable
    case .refused: .noPermission
    case .truncated, .beyondEnd: .dataLoss
    case .unknownTopic, .undecodable, .misconfigured, .other: .data
    case .lackOfResources: .lackOfResources
    }
  }
}

extension CheckpointError.Code {
  fileprivate var runCode: RunError.Code {
    switch self {
    case .locked, .busy: .locked
    case .unusableFolder, .networkFileSystem, .readOnly, .exists: .cannotCreate
    case .corrupt, .leftover, .foreign, .newer, .full, .inputOutput, .database: .inputOutput
    case .notRegular, .removed: .inputOutput
    case .noPermission: .noPermission
    case .jobChanged, .otherJob, .wrongCluster, .resultsWait, .objectsStay: .jobChanged
    case .overflow, .tooManyGroups, .noCheckpoint: .data
    case .invariant: .internalFault
    }
  }
}

extension ObjectStoreError.Code {
  fileprivate var runCode: RunError.Code {
    switch self {
    case .unreachable: .unreachable
    case .answer(let answer): answer.meaning.runCode
    case .refused, .tls, .noCredentials, .badCredentials: .noPermission
    case .full, .inputOutput: .inputOutput
    case .readOnly: .cannotCreate
    case .badRequest, .tooLarge: .data
    case .held: .locked
    }
  }
}

extension S3Answer.Meaning {
  fileprivate var runCode: RunError.Code {
    switch self {
    case .busy, .failing, .conflict, .redirected, .damaged: .unreachable
    case .expired, .unknownKey, .wrongSecret, .wrongClock, .forbidden, .encryptionKey: .noPermission
    case .otherRegion, .noBucket, .badName, .noChecksum, .tooLarge: .data
    case .archived, .unsupported, .foreign, .other: .data
    case .full: .inputOutput
    }
  }
}
