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
      if !comparedBatches.contains(output.number) && isComparable(object) {
        try compareAsPublished(object)
      }
      return
    }
    guard isComparable(object) else { return }
    // The next run's progress would be in another.
    if output.kind == .manifest { return try compareAsPublished(object) }
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
    try compare(object, renderedAs: bytes)
  }

  /// Whether an object is one that can be held against anything.
  func isComparable(_ object: StoredObject) -> Bool {
    let key = object.output.objectKey
    if !object.isPublished {
      report.notCompared.append(NotCompared(key, .unpublished))
      return false
    }
    if changes.contains(.publishAgain)
      || (changes.contains(.renderAgain) && object.output.kind == .window)
    {
      report.notCompared.append(NotCompared(key, .jobChanged))
      return false
    }
    report.objectCount += 1
    return true
  }

  func compare(_ object: StoredObject, renderedAs bytes: [UInt8]) throws {
    let key = ObjectKey(object.output.objectKey)
    guard let facts = try store.head(key) else { return try tellMissing(object) }
    // Where the ETag is the content's MD5, there is nothing to fetch.
    if !isDeep && facts == ObjectFacts(of: bytes) { return }
    let stored: [UInt8]?
    do { stored = try store.get(key, byteLimit: max(bytes.count, Int(facts.byteCount))) } catch {
      guard case .tooLarge = error.code else { throw error }
      // It has grown since it was asked for.
      return try tell(object, rendered: bytes, stored: nil, facts)
    }
    guard let stored else { return try tellMissing(object) }
    if stored != bytes { try tell(object, rendered: bytes, stored: stored, facts) }
  }

  /// For objects that cannot be rendered again, as their messages are gone.
  private func compareAsPublished(_ object: StoredObject) throws {
    guard let facts = try store.head(ObjectKey(object.output.objectKey)) else {
      return try tellMissing(object)
    }
    if !isAsPublished(object, facts) { try tell(object, rendered: nil, stored: nil, facts) }
  }

  private func isAsPublished(_ object: StoredObject, _ facts: ObjectFacts) -> Bool {
    object.output.etag == facts.etag && object.byteCount ?? facts.byteCount == facts.byteCount
  }

  private func isNewerNow(_ object: StoredObject) throws -> Bool {
    try live.object(object.output.objectKey) != object
  }

  private func tellMissing(_ object: StoredObject) throws {
    let key = object.output.objectKey
    if try isNewerNow(object) {
      report.notCompared.append(NotCompared(key, .newer))
    } else {
      report.findings.append(.objectMissing(key: key))
    }
  }

  private func tell(
    _ object: StoredObject, rendered: [UInt8]?, stored: [UInt8]?, _ facts: ObjectFacts
  ) throws {
    let key = object.output.objectKey
    let isAsPublished = isAsPublished(object, facts)
    let firstByte = rendered.flatMap { rendered in
      stored.map { stored in
        zip(rendered, stored).enumerated().first { $0.element.0 != $0.element.1 }?.offset
          ?? min(rendered.count, stored.count)
      }
    }
    let comparison = ObjectComparison(
      known: object, isNewerNow: try isNewerNow(object), renderedBy: renderedBy,
      difference: ObjectDifference(
        renderedByteCount: rendered.map { Int64($0.count) },
        storedByteCount: stored.map { Int64($0.count) } ?? facts.byteCount,
        firstByte: firstByte.map(Int64.init), isAsPublished: isAsPublished),
      hasSameValues: hasSameValues(object.output, rendered, stored))
    switch comparison.verdict {
    case .agrees: break
    case .notCompared(let reason): report.notCompared.append(NotCompared(key, reason))
    case .differs(let difference): report.findings.append(.object(key: key, difference))
    }
  }

  /// By reading both back; nil where nothing here can.
  private func hasSameValues(
    _ output: Output, _ rendered: [UInt8]?, _ stored: [UInt8]?
  ) -> Bool? {
    guard let rendered, let stored, output.kind != .rejects, job.output.format == .csv else {
      return nil
    }
    let (left, right) = (
      CSVTable(rendered, schema: job.outputSchema), CSVTable(stored, schema: job.outputSchema)
    )
    guard left.faults.isEmpty, right.faults.isEmpty else {
      return right.faults.isEmpty ? nil : false
    }
    return left.table == right.table
  }
}
