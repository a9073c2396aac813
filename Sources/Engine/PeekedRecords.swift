internal import Checkpoints
package import Expressions
package import Formats
package import Jobs
package import Offsets
package import Tables

/// Some messages as a job decodes them, and which of their records it would refuse. Nothing is
/// counted, kept or published.
package struct PeekedRecords {
  package struct Record {
    package let message: CopiedMessage
    /// Its number within its message, from 0.
    package let number: Int
    package let content: Content
  }

  package enum Content {
    /// A row of ``PeekedRecords/table``.
    case row(Int)
    case reject(Reject)
  }

  /// The declared fields of the records that decode.
  package let table: Table
  /// The newest first.
  package let records: [Record]
  /// Messages without a value that `source.tombstones: skip` passes over.
  package let tombstoneCount: Int64

  /// As a job would: also what `where`, the window and, in a row job, `select` refuse.
  ///
  /// - Parameter options: Of a run, of which the clock is needed.
  /// - Throws: `ExpressionError`.
  package init(
    of messages: [CopiedMessage], job: Job, options: RunOptions
  ) throws(ExpressionError) {
    let parts = Parts(messages)
    let pipeline = try BatchPipeline(
      job, options, Stopwatch(clock: options.nanoseconds), accepted: parts.ranges,
      history: { _, _ in Checkpoint.RejectHistory(judgedCount: 0, rejectedCount: 0) })
    // What stops a whole batch, such as a limit, is not of one record: a trial of the job tells it.
    let refused = try? pipeline.process(BatchPlan(batch: 1, ranges: parts.ranges), next: nil) {
      ranges, body in
      for index in ranges.indices {
        try parts.messages[index].withMessages { try body(.ofRange(index, $0)) }
      }
    }.rejects
    self.init(
      parts, RecordDecoder(job), fieldCount: job.fields.count, refused: refused ?? [])
  }

  /// Without a job: by fields alone.
  package init(
    of messages: [CopiedMessage], format: InputFormat, envelope: Envelope? = nil,
    csv: CSVDialect = .standard,
    fields: [InputField]
  ) {
    self.init(
      Parts(messages),
      RecordDecoder(
        format: format, envelope: envelope, fields: fields, csv: csv, messageFields: [],
        requiredTimeColumn: nil,
        recordByteLimit: .max),
      fieldCount: fields.count, refused: [])
  }

  private init(_ parts: Parts, _ decoder: RecordDecoder, fieldCount: Int, refused: [Reject]) {
    var decoder = decoder
    // Keeps each record's number in its message.
    decoder.refusedMessages = Set(
      parts.messages.enumerated().flatMap { index, messages in
        messages.map { MessagePlace(partitionIndex: index, offset: $0.offset) }
      })
    var batch = RecordBatch(decoder.schema)
    for (index, messages) in parts.messages.enumerated() {
      let partition = parts.ranges[index].partition
      messages.withMessages {
        decoder.decode(
          $0, topic: partition.topic, partition: partition.partition, partitionIndex: index,
          into: &batch)
      }
    }
    var contents: [Place: Content] = [:]
    for slice in batch.slices {
      for row in slice.rows {
        let number = batch.records[row]?.record ?? 0
        contents[Place(slice.partitionIndex, batch.offsets[row], number)] = .row(row)
      }
    }
    for reject in batch.rejects + refused {
      contents[Place(reject.partitionIndex, reject.offset, reject.record)] = .reject(reject)
    }
    tombstoneCount = batch.tombstoneCount
    table = Table(
      Schema(Array(batch.schema.columns.prefix(fieldCount))),
      columns: Array(batch.columns.prefix(fieldCount)))
    records = contents.compactMap { place, content in
      parts.message(place.partitionIndex, place.offset).map {
        Record(message: $0, number: place.record, content: content)
      }
    }.sorted {
      if $0.message.partition == $1.message.partition && $0.message.offset == $1.message.offset {
        return $0.number > $1.number
      }
      return $0.message.isNewer(than: $1.message)
    }
  }

  private struct Place: Hashable {
    let partitionIndex: Int
    let offset: Offset
    let record: Int

    init(_ partitionIndex: Int, _ offset: Offset, _ record: Int) {
      self.partitionIndex = partitionIndex
      self.offset = offset
      self.record = record
    }
  }

  /// Messages by partition, as a batch reads them.
  private struct Parts {
    let ranges: [PartitionRange]
    /// Of each range, in the order of their offsets.
    let messages: [[CopiedMessage]]
    private let byOffset: [[Offset: CopiedMessage]]

    init(_ all: [CopiedMessage]) {
      let groups = Dictionary(grouping: all, by: \.partition).sorted { $0.key < $1.key }
      messages = groups.map { $0.value.sorted { $0.offset < $1.offset } }
      ranges = zip(groups, messages).map { group, messages in
        PartitionRange(
          group.key,
          OffsetRange(from: messages.first?.offset ?? 0, to: (messages.last?.offset ?? -1) + 1))
      }
      byOffset = messages.map { messages in
        Dictionary(messages.map { ($0.offset, $0) }) { first, _ in first }
      }
    }

    func message(_ partitionIndex: Int, _ offset: Offset) -> CopiedMessage? {
      byOffset[partitionIndex][offset]
    }
  }
}
