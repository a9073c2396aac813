internal import Expressions
internal import Tables
internal import Windows

/// What decides, beside the definition of the state, which records of a batch count, and what the
/// object of a single batch looks like.
///
/// A change of it is harmless: batches to come follow it, and those that are committed stay as they
/// are. So the checkpoint keeps what held for which batches, and `verify` judges each by its own.
package struct BatchSettings: Sendable, Equatable {
  /// Names and values, in one spelling.
  package let values: [String: String]

  package init(values: [String: String]) { self.values = values }

  package init(_ job: Job) {
    var values: [String: String] = [:]
    for limit in Self.limits where !limit.isOfResults || !job.window.keepsState {
      values[limit.name] = String(job.limits[keyPath: limit.value])
    }
    // Objects of windows are rendered again whenever these change.
    if !job.window.keepsState {
      values[Self.format] = job.output.format.rawValue
      for (index, column) in job.select.enumerated() {
        values[Self.column(index)] = column.spelling
      }
    }
    self.values = values
  }

  /// Of batches of an older release, which kept of them what the job's canonical settings say.
  ///
  /// - Parameter stored: These settings, as the checkpoint has them.
  package init(assuming job: Job, stored: [String: String]) {
    var values = Self(job).values
    values[Self.assumed] = "true"
    if !job.window.keepsState {
      values[Self.format] = stored[Self.format] ?? values[Self.format]
      if stored[Self.select] != job.canonicalSettings[Self.select] {
        for index in job.select.indices { values[Self.column(index)] = nil }
        values[Self.select] = stored[Self.select]
      }
    }
    self.values = values
  }

  /// Whether limits held that nobody noted: those are assumed that the job had later.
  package var isAssumed: Bool { values[Self.assumed] != nil }

  /// Of these, what decides which records count.
  package var ofRecords: [String: String] {
    values.filter { entry in Self.limits.contains { $0.name == entry.key } }
  }

  /// The job as it was under these settings.
  ///
  /// - Returns: Also whether its `select` is known: else it is the job's own.
  package func applied(to job: Job) -> (job: Job, knowsSelect: Bool) {
    var limits = job.limits
    for limit in Self.limits {
      if let value = values[limit.name].flatMap({ Int64($0) }) {
        limits[keyPath: limit.value] = value
      }
    }
    let format = values[Self.format].flatMap(Job.Output.Format.init)
    let select = job.window.keepsState ? job.select : select(of: job)
    return (job.with(select: select, format: format, limits: limits), select != nil)
  }

  private func select(of job: Job) -> [Job.DerivedColumn]? {
    guard values[Self.select] == nil else { return nil }
    var columns: [Job.DerivedColumn] = []
    while let text = values[Self.column(columns.count)] {
      guard let column = Job.DerivedColumn(spelling: text, of: job) else { return nil }
      columns.append(column)
    }
    return columns
  }

  // MARK: - Names

  private struct Limit: Sendable {
    let name: String
    nonisolated(unsafe) let value: WritableKeyPath<Job.Limits, Int64>
    /// Whether it decides where results are rendered from records, and nowhere else.
    var isOfResults = false
  }

  private static let limits = [
    Limit(name: "limits.batch_bytes", value: \.batchBytes),
    Limit(name: "limits.record_bytes", value: \.recordBytes),
    Limit(name: "limits.key_bytes", value: \.keyBytes),
    Limit(name: "limits.future", value: \.futureMilliseconds),
    Limit(name: "limits.value_bytes", value: \.valueBytes, isOfResults: true),
    Limit(name: "limits.object_bytes", value: \.objectBytes, isOfResults: true),
  ]
  private static let format = "output.format"
  private static let select = "select"
  private static let assumed = "assumed"
  private static func column(_ index: Int) -> String { "select[\(index)]" }
}

extension Job.DerivedColumn {
  /// `share double: 100.0 * calls / sum(calls) OVER ()`: as ``spelling`` writes it.
  fileprivate init?(spelling text: String, of job: Job) {
    guard let colon = text.firstRange(of: ": "),
      let blank = text[..<colon.lowerBound].firstIndex(of: " "),
      let type = FieldType.columnType(
        String(text[text.index(after: blank)..<colon.lowerBound])),
      let expression = try? Expression(
        String(text[colon.upperBound...]), schema: job.selectInputSchema)
    else { return nil }
    self.init(name: String(text[..<blank]), expression: expression, type: type)
  }
}
