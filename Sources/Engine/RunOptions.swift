/// What the caller of a run decides.
package struct RunOptions: Sendable {
  /// Nil: until the ends seen at the start are reached.
  package var maxBatches: Int?
  /// After so long the run begins no other batch, and publishes what it has committed. Nil: until
  /// the ends seen at the start are reached.
  package var maxDurationMilliseconds: Int64?
  /// Whether `trigger.min_offsets` holds batches back.
  package var holdsBack = true
  /// Milliseconds since 1970 UTC. History columns show it, and `trigger.max_delay` counts by it; no
  /// result depends on it.
  package var clock: @Sendable () -> Int64
  /// Asked while a batch is read and between batches; true abandons the uncommitted
  /// batch and ends the run without an error.
  package var isStopRequested: @Sendable () -> Bool = { false }
  /// How long a run that was told to stop goes on publishing what it has committed; objects that
  /// are left stay dirty.
  package var graceMilliseconds: Int64 = 20_000
  /// Nanoseconds of a clock that never goes back: for measuring, and for `output.publish: every`.
  package var nanoseconds: @Sendable () -> Int64
  /// Called after each commit, for a person who watches.
  package var onProgress: (@Sendable (RunProgress) -> Void)?
  /// Called after a commit now and then, for monitoring; returns for how many nanoseconds it is not
  /// to be called again.
  package var onFigures: (@Sendable (RunFigures) -> Int64)?
  package var failpoint: @Sendable (Failpoint) -> Void = { _ in }
  /// Makes who publishes beside the run.
  package var publishingExecutor: @Sendable () -> any PublishingExecutor = { PublisherThread() }
  /// Of Tranche: `0.3.0`.
  package var release: String
  /// Random, and another for every run: marks a place as written by this run.
  package var token: @Sendable () -> String = {
    String(UInt64.random(in: .min ... .max), radix: 16)
      + String(UInt64.random(in: .min ... .max), radix: 16)
  }

  package init(
    clock: @escaping @Sendable () -> Int64, nanoseconds: @escaping @Sendable () -> Int64,
    release: String
  ) {
    self.clock = clock
    self.nanoseconds = nanoseconds
    self.release = release
  }
}
