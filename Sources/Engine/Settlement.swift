internal import Checkpoints
internal import Expressions
internal import Jobs
internal import ObjectStorage

/// The end of a run: asks the store about objects whose writing got no clear answer, and deletes objects that a change of place left behind.
///
/// A request without an answer may be applied after a newer one was acknowledged. So an unsettled object is asked for at the end of this run
/// and at the end of the next, and published again where the store holds something else.
struct Settlement {
  private let job: Job
  private let checkpoint: Checkpoint
  private let store: any ObjectStore
  private let options: RunOptions

  init(_ job: Job, _ checkpoint: Checkpoint, _ store: any ObjectStore, _ options: RunOptions) {
    self.job = job
    self.checkpoint = checkpoint
    self.store = store
    self.options = options
  }

  func settle(_ summary: inout RunSummary) throws {
    let reader = try CheckpointReader(path: checkpoint.path)
    let unsettled = try reader.unsettledOutputs()
    if !unsettled.isEmpty {
      let differing = try unsettled.filter { try store.head(ObjectKey($0.objectKey))?.etag != $0.etag }.map(\.objectKey)
      if !differing.isEmpty {
        try checkpoint.publishAgain(differing)
        let publisher = try Publisher(
          job: job, store: store, checkpointPath: checkpoint.path, renderedBy: options.release, failpoint: options.failpoint)
        publisher.start()
        let (count, failure) = publisher.finish()
        summary.publishedCount += count
        try checkpoint.commitMarks(publisher.takeMarks())
        if let failure { throw failure }
      }
      try checkpoint.settle(unsettled.map(\.objectKey).filter { !differing.contains($0) })
    }
    let place = job.output.placeText
    for retired in try reader.retiredObjects() where try reader.dirtyOutputs().isEmpty {
      // Objects of another place are deleted only where this store reaches them: the same place under another format.
      if retired.place == place { try store.delete(ObjectKey(retired.objectKey)) }
      try checkpoint.forgetRetired(retired)
    }
  }
}

extension Job.Output {
  /// `output.to` in its canonical form.
  package var placeText: String {
    switch place {
    case .file(let path): "file:\(path)"
    case .s3(let bucket, let prefix): prefix.isEmpty ? "s3://\(bucket)" : "s3://\(bucket)/\(prefix)"
    }
  }
}
