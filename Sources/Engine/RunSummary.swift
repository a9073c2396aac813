package import Offsets

/// What a run did.
package struct RunSummary: Sendable, Equatable {
  package var job: String
  package var batchCount = 0
  package var offsetCount: Int64 = 0
  package var recordCount: Int64 = 0
  package var countedCount: Int64 = 0
  package var rejectedCount: Int64 = 0
  /// Of them, those that came too late (`window.allowed_lateness`).
  package var lateCount: Int64 = 0
  /// Of them, those of backfills whose window was evicted (`window.retention`).
  package var ofEvictedCount: Int64 = 0
  /// Messages without a value that `source.tombstones: skip` passed over.
  package var tombstoneCount: Int64 = 0
  package var lostOffsetCount: Int64 = 0
  /// Of the offsets, those that were backfilled.
  package var backfilledCount: Int64 = 0
  /// Offsets that backfills are yet to count.
  package var backfillLeft: Int64 = 0
  /// What the brokers did not hold of backfills.
  package var unheld: [PartitionRange] = []
  package var publishedCount = 0
  package var dirtyCount = 0
  package var lag: Int64 = 0
  package var repeatedBatch: Int64?
  /// Until when what is left waits for more; milliseconds since 1970 UTC.
  package var heldBackUntil: Int64?
  package var isStopped = false
  /// Where the group of `source.commit_group` does not show what was committed.
  package var progressNotShown: [ProgressNotShown] = []
  /// Where a backup of the checkpoint was put; nil where none was due.
  package var backup: String?
  /// Of the thread that reads, folds and commits.
  package var runTimes = StepTimes()
  /// Of the thread that renders and publishes beside it.
  package var publisherTimes = StepTimes()
  /// For monitoring.
  package var figures = RunFigures()

  package init(job: String) { self.job = job }
}

/// What monitoring is told of a run, and the checkpoint does not know.
package struct RunFigures: Sendable, Equatable {
  /// Offsets that are left to read of each partition before the ends that were last asked for;
  /// nothing of those that no broker has told of.
  package var lags: [PartitionID: Int64] = [:]
  /// Of both threads.
  package var durations = StepDurations()

  package init() {}
}

/// What a run has done so far, for a person who watches.
package struct RunProgress: Sendable, Equatable {
  package var batchCount: Int
  package var recordCount: Int64
  /// Offsets that are left to read before the ends that were last asked for.
  package var lag: Int64
  /// Offsets that this run has backfilled, and that backfills are yet to count.
  package var backfilledCount: Int64
  package var backfillLeft: Int64
}
