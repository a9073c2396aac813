internal import Checkpoints
internal import Formats
internal import Jobs
internal import ObjectStorage
internal import Offsets
internal import Tables
internal import Windows

/// Every published object against what the state renders to.
extension Verifier {
  func compareObjects() throws {
    var last: String?
    while true {
      let objects = try copy.reader.objects(after: last, limit: Self.batchesAtOnce)
      guard let lastKey = objects.last?.output.objectKey else { return }
      for object in objects where isChosen(object.output) {
        try stopIfAsked()
        try compare(object)
      }
      last = lastKey
    }
  }

  /// Of evicted windows the objects stand as they were published: the tombstones tell how.
  func compareEvicted() throws {
    guard scope == .all, job.window.keepsState else { return }
    var last: Window?
    while true {
      let windows = try copy.reader.evictedWindows(
        of: job, after: last, limit: Self.batchesAtOnce)
      guard let newest = windows.last?.window else { return }
      for window in windows {
        try stopIfAsked()
        try compare(window)
      }
      last = newest
    }
  }

  private func compare(_ evicted: EvictedWindow) throws {
    let key = evicted.objectKey
    report.evictedCount += 1
    if let place = evicted.formerPlace {
      return report.notCompared.append(NotCompared(key, .formerPlace(place)))
    }
    if changes.contains(.publishAgain) {
      return report.notCompared.append(NotCompared(key, .jobChanged))
    }
    report.objectCount += 1
    guard let facts = try store.head(ObjectKey(key)) else {
      return report.findings.append(.objectMissing(key: key))
    }
    if facts.etag == evicted.etag && facts.byteCount == evicted.byteCount { return }
    report.findings.append(.object(key: key, Self.otherThanPublished(facts)))
  }

  private func isChosen(_ output: Output) -> Bool {
    switch (scope, output.kind) {
    case (.all, _): true
    case (.windows(let windows), .window): windows.contains(Window(output.number))
    case (.batches(let numbers), .batch): numbers.contains(output.number)
    case (.windows, _), (.batches, _): false
    }
  }

  private func compare(_ object: StoredObject) throws {
    let output = object.output
    if output.kind == .batch {
      if comparedBatches.contains(output.number) { return }
      if isComparable(object) { _ = try compareAsPublished(object) }
      // Those of the history are told where no batch's messages are all there.
      if try !copy.holds(batch: output.number) {
        report.unprovable.append("batch \(output.number)")
      }
      return
    }
    if try output.kind == .rejects && !copy.holds(batch: output.number) {
      unprovableRejects.append("rejects of batch \(output.number)")
    }
    guard isComparable(object) else { return }
    // The next run's progress would be in another.
    if output.kind == .manifest {
      _ = try compareAsPublished(object)
      return
    }
    let bytes: [UInt8]
    do {
      let content = try copy.reader.content(of: output, job: job).content
      bytes = try renderer.bytes(of: output, content, Stopwatch(clock: options.nanoseconds))
    } catch {
      let cause: String
      switch error {
      case let fault as RenderFault: cause = "\(fault.cause)"
      case let error as CheckpointError:
        guard case .corrupt(let reason) = error.code else { throw error }
        cause = reason
      default: throw error
      }
      return report.findings.append(.unrenderable(key: output.objectKey, cause: cause))
    }
    try compare(object, renderedAs: bytes, by: job)
  }

  /// Whether an object is one that can be held against anything.
  func isComparable(_ object: StoredObject) -> Bool {
    let output = object.output
    func isNot(_ reason: NotCompared.Reason) -> Bool {
      report.notCompared.append(NotCompared(output.objectKey, reason))
      return false
    }
    if !object.isPublished { return isNot(.unpublished) }
    if output.kind == .batch {
      // These stay where they are, as they are.
      if let place = object.formerPlace ?? formerPlace { return isNot(.formerPlace(place)) }
    } else if changes.contains(.publishAgain)
      || (changes.contains(.renderAgain) && output.kind == .window)
    {
      return isNot(.jobChanged)
    }
    report.objectCount += 1
    return true
  }

  /// - Parameters:
  ///   - job: By whose settings it was rendered.
  ///   - isAssumed: Whether these settings are not known for certain.
  func compare(
    _ object: StoredObject, renderedAs bytes: [UInt8], by job: Job, isAssumed: Bool = false
  ) throws {
    let key = ObjectKey(object.output.objectKey)
    guard let facts = try store.head(key) else { return try tellMissing(object) }
    // Where the ETag is the content's MD5, there is nothing to fetch.
    if !isDeep && facts == ObjectFacts(of: bytes) { return }
    var stored: [UInt8]?
    var hasGrown = false
    do { stored = try store.get(key, byteLimit: max(bytes.count, Int(facts.byteCount))) } catch {
      guard case .tooLarge = error.code else { throw error }
      hasGrown = true
    }
    if stored == nil && !hasGrown { return try tellMissing(object) }
    if stored == bytes { return }
    let firstByte = stored.map { stored in
      zip(bytes, stored).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        ?? min(bytes.count, stored.count)
    }
    try tell(
      ObjectComparison(
        known: object, isNewerNow: try isNewerNow(object), renderedBy: renderedBy,
        difference: ObjectDifference(
          renderedByteCount: Int64(bytes.count),
          storedByteCount: stored.map { Int64($0.count) } ?? facts.byteCount,
          firstByte: firstByte.map(Int64.init), isAsPublished: isAsPublished(object, facts)),
        isAssumed: isAssumed,
        hasSameValues: stored.flatMap { hasSameValues(object.output, bytes, $0, job) }))
  }

  /// For objects that cannot be rendered again, as their messages are gone.
  ///
  /// - Returns: Whether it is as it was published; else that was told.
  func compareAsPublished(_ object: StoredObject) throws -> Bool {
    guard let facts = try store.head(ObjectKey(object.output.objectKey)) else {
      try tellMissing(object)
      return false
    }
    if isAsPublished(object, facts) { return true }
    try tell(
      ObjectComparison(
        known: object, isNewerNow: try isNewerNow(object), renderedBy: renderedBy,
        difference: Self.otherThanPublished(facts)))
    return false
  }

  private static func otherThanPublished(_ facts: ObjectFacts) -> ObjectDifference {
    ObjectDifference(
      renderedByteCount: nil, storedByteCount: facts.byteCount, firstByte: nil,
      isAsPublished: false)
  }

  private func isAsPublished(_ object: StoredObject, _ facts: ObjectFacts) -> Bool {
    object.output.etag == facts.etag && object.byteCount ?? facts.byteCount == facts.byteCount
  }

  private func isNewerNow(_ object: StoredObject) throws -> Bool {
    try live.object(object.output.objectKey)?.output != object.output
  }

  private func tellMissing(_ object: StoredObject) throws {
    let key = object.output.objectKey
    if try isNewerNow(object) {
      report.notCompared.append(NotCompared(key, .newer))
    } else {
      report.findings.append(.objectMissing(key: key))
    }
  }

  private func tell(_ comparison: ObjectComparison) throws {
    let key = comparison.known.output.objectKey
    switch comparison.verdict {
    case .agrees: break
    case .notCompared(let reason): report.notCompared.append(NotCompared(key, reason))
    case .differs(let difference): report.findings.append(.object(key: key, difference))
    }
  }

  /// Objects of batches that nobody knows of: another history has put them there, and readers see
  /// their rows beside the job's.
  func findStrangeObjects() throws {
    guard scope == .all, formerPlace == nil, job.output.keep == .each else { return }
    let found = try ObjectsAhead.findResults(in: store, of: job, copy.reader)
    if found.isEmpty { return }
    // The next run deletes these, or a run has put them meanwhile.
    let retired = Set(
      try copy.reader.retiredObjects().filter { $0.place == job.output.destination.text }
        .map(\.objectKey))
    for key in found where try !retired.contains(key.value) && live.object(key.value) == nil {
      report.findings.append(.objectStrange(key: key.value))
    }
  }

  /// By reading both back; nil where nothing here can.
  private func hasSameValues(
    _ output: Output, _ rendered: [UInt8], _ stored: [UInt8], _ job: Job
  ) -> Bool? {
    guard output.kind != .rejects, job.output.format == .csv else { return nil }
    let (left, right) = (
      CSVTable(rendered, schema: job.outputSchema), CSVTable(stored, schema: job.outputSchema)
    )
    guard left.faults.isEmpty, right.faults.isEmpty else {
      return right.faults.isEmpty ? nil : false
    }
    return left.table == right.table
  }
}
