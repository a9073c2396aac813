/// The durable steps of a run, where a test may end the process.
package enum Failpoint: String, Sendable, CaseIterable {
  /// The lock is taken, the checkpoint is made, or a transaction of it is committed: start offsets,
  /// a batch with its plan, marks, gaps.
  case checkpointStep
  /// A temporary file is written, or an object is replaced.
  case storeStep
  /// A group of objects stands, and no mark of it.
  case objectsPut
  /// All is done but giving the lock back.
  case runEnded
}
