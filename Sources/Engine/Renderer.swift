internal import Checkpoints
internal import Expressions
internal import Formats
internal import Jobs
internal import Offsets
internal import Parquet
internal import Tables
internal import Windows

/// Turns committed content into an object's bytes: derived columns by SQL, then the output format.
/// The same content gives the same bytes.
///
/// Holds compiled SQL, so each thread has its own.
struct Renderer {
  private let job: Job
  private let release: String
  private let derivation: DerivedColumns?

  /// - Parameters:
  ///   - inputSchema: The columns that `select` reads: keys and measures, or in a row job the
  ///     batch's columns.
  ///   - release: Tranche's, for what an object says about itself.
  init(_ job: Job, inputSchema: Schema, release: String) throws(ExpressionError) {
    self.job = job
    self.release = release
    derivation =
      job.select.isEmpty
      ? nil
      : try DerivedColumns(
        job.select.map { (name: $0.name, expression: $0.expression, type: $0.type) },
        schema: inputSchema,
        valueByteLimit: Int(job.limits.valueBytes))
  }

  /// - Parameters:
  ///   - input: The columns that `select` reads.
  ///   - visibleColumnCount: How many of them, from the first, stand in the object before the
  ///     derived ones.
  func table(_ input: [Column], visibleColumnCount: Int) throws(ExpressionError) -> Table {
    let rowCount = input.first?.count ?? 0
    let derived =
      try derivation?.derive(input, rowCount: rowCount, byteLimit: job.limits.objectBytes) ?? []
    return Table(job.outputSchema, columns: Array(input[..<visibleColumnCount]) + derived)
  }

  /// What the same bytes depend on besides the state.
  static func renderedBy(release: String) -> String {
    "tranche \(release), SQLite \(DerivedColumns.sqliteVersion), zstd \(ParquetEncoder.zstdVersion)"
  }

  /// What an object is a result of: a window, or a single batch.
  enum Origin {
    case window(Window)
    case batch(Int64)
  }

  /// The one place where an output format becomes bytes.
  ///
  /// - Throws: ``ParquetError``, or ``EncodedTooLong`` where there would be more of them than
  ///   `limits.object_bytes`.
  func encode(_ table: Table, _ origin: Origin, _ lineage: [Lineage]) throws -> [UInt8] {
    switch job.output.format {
    case .parquet:
      var file: [UInt8] = []
      var isTooLong = false
      try ParquetEncoder.write(
        table,
        ParquetOptions(metadata: metadata(origin, lineage), createdBy: "tranche version \(release)")
      ) { piece in
        isTooLong = isTooLong || piece.count > byteLimit - file.count
        if isTooLong { file = [] } else { file.append(contentsOf: piece) }
      }
      if isTooLong { throw EncodedTooLong(byteLimit: byteLimit) }
      return file
    case .csv: return try CSVEncoder.encode(table, byteLimit: byteLimit)
    case .json: return try JSONLinesEncoder.encode(table, byteLimit: byteLimit)
    }
  }

  private var byteLimit: Int { Int(job.limits.objectBytes) }

  /// What the footer says, see docs/design.md. Nothing that changes from one rendering of the same
  /// state to the next.
  private func metadata(_ origin: Origin, _ lineage: [Lineage]) -> [(key: String, value: String)] {
    let of =
      switch origin {
      case .window(let window): (key: "tranche.window", value: job.window.label(of: window))
      case .batch(let batch): (key: "tranche.batch", value: String(batch))
      }
    return [
      (key: "tranche.format_version", value: "1"), (key: "tranche.job", value: job.name), of,
      (key: "tranche.records", value: String(lineage.reduce(0) { $0 + $1.recordCount })),
      (key: "tranche.lineage", value: Lineage.jsonText(lineage)),
    ]
  }

  func bytes(of output: Output, _ content: OutputContent, _ stopwatch: Stopwatch) throws -> [UInt8]
  {
    switch content {
    case .bytes(let bytes, _): return bytes
    case .rejects(let rejects):
      return try stopwatch.measure(.encode) {
        do { return try JSONLinesEncoder.encode(rejectTable(rejects), byteLimit: byteLimit) } catch
        {
          throw RenderFault(
            job: job.name, subject: .rejects(batch: output.number), cause: error)
        }
      }
    case .window(let groups, let lineage):
      do {
        let shown = try stopwatch.measure(.render) { () throws(ExpressionError) in
          try table(groups.columns, visibleColumnCount: groups.columns.count)
        }
        return try stopwatch.measure(.encode) {
          try encode(shown, .window(Window(output.number)), lineage)
        }
      } catch {
        throw RenderFault(
          job: job.name, subject: .window(job.window.label(of: Window(output.number))),
          cause: error)
      }
    }
  }
}
