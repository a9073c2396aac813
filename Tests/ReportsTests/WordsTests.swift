import Checkpoints
import Expressions
import Jobs
import ObjectStorage
import Offsets
import Reports
import Testing
import Windows

@testable import Engine

@Suite("The words of what a run found")
struct WordsTests {
  private static let words = Words(
    .init(checkpointFolder: "--folder", fileMode: "--rights") { decision in
      switch decision {
      case .skip(let range): "<skip \(range)>"
      case .skipUndecodable(let partition): "<skip damaged \(partition)>"
      case .cancelBackfill(let number): "<cancel \(number)>"
      case .acceptRejects: "<accept>"
      case .replacedLog(let choice, let source, let topic, let partition):
        "<\(choice.rawValue) \(source)/\(topic)\(partition.map { "[\($0)]" } ?? "")>"
      case .adopt: "<adopt>"
      case .goOnRestored: "<restored>"
      case .deleteObjectsAhead(let isRestored): "<delete, \(isRestored ? "restored" : "adopt")>"
      case .evolve: "<evolve>"
      case .startOver: "<start over>"
      case .startOverAndDelete: "<start over, delete>"
      }
    })
  private static let partition = PartitionID(source: "main", topic: "t", partition: 2)
  private static let plan = BatchPlan(
    batch: 7,
    ranges: (0..<5).map {
      PartitionRange(
        PartitionID(source: "main", topic: "t", partition: $0), OffsetRange(from: 0, to: 9))
    })
  private static func stop(
    _ rule: RejectStop.Rule, _ reason: String = "wrongType", field: String? = "v",
    text: String? = nil
  ) -> RejectStop {
    RejectStop(
      batch: 7, record: 1, reason: reason, field: field, text: text, rule: rule, rejectedCount: 5,
      judgedCount: 20, maxShare: 0.125)
  }
  private static func fault(_ problem: BatchFault.Problem) -> RunError {
    .batch(BatchFault(plan, problem))
  }
  private static func incident(_ cause: Incident.Cause, logEnd: Offset? = nil) -> Incident {
    Incident(
      kind: .logReplaced, partition: partition, nextOffset: 30, logEnd: logEnd, cause: cause,
      noticedAt: "NOON", lastSeenAt: "LATER")
  }
  private static func destination(_ problem: DestinationFault.Problem) -> RunError {
    .destination(DestinationFault(location: "file:out", job: "calls", problem: problem))
  }

  private static let unreachable = RunError.source(
    SourceError(.unreachable, place: "source main (x:1)", reason: "no answer"))
  private static let refused = RunError.store(
    ObjectStoreError(.full, place: "file:out/a", reason: "cannot be written: no space"))

  private static let table: [(RunError, RunError.Code, String)] = [
    (
      // What a store says may end in a full stop of its own.
      .store(ObjectStoreError(.badRequest, place: "s3://b", reason: "405: no such method.")), .data,
      """
      s3://b: 405: no such method. Check output.to, output.s3.endpoint, output.s3.region and \
      output.s3.addressing.
      """
    ),
    (
      unreachable, .unreachable,
      """
      source main (x:1): no answer. Are the brokers up, and is bootstrap.servers right? The run \
      can be tried again.
      """
    ),
    (refused, .inputOutput, "file:out/a: cannot be written: no space. Free space, then run again."),
    (
      .checkpoint(CheckpointError(.locked(holder: "pid 3"), path: "c.lock")), .locked,
      "c.lock: another run of this job is going on: pid 3. Try again when it has ended."
    ),
    (
      .checkpoint(CheckpointError(.corrupt(reason: "row 3"), path: "c")), .inputOutput,
      """
      c: is damaged (row 3). Nothing was changed. Restore it from a copy. Or move it away, with \
      its -wal and -shm, to read the topics anew. Then let the new state take over the \
      destination: <adopt>
      """
    ),
    (
      fault(.rejects(partition, 40, stop(.share, text: "12 s"))), .data,
      """
      main/t[2] offset 40, record 1: wrongType in field v: "12 s". 5 of the newest 20 records were \
      rejected: more than rejects.max_share (12.5 %). Nothing of batch 7 was committed. Correct \
      source.format or source.fields, or wait for good records. To keep these rejects and go on: \
      <accept>
      """
    ),
    (
      fault(.rejects(partition, 40, stop(.nothingDecoded, "keyTooLong", field: nil))), .data,
      """
      main/t[2] offset 40, record 1: keyTooLong. No record of this job has decoded yet, and 5 were \
      rejected. Nothing of batch 7 was committed. Raise limits.key_bytes, and run again. If the \
      records are bad, keep these rejects and go on: <accept>
      """
    ),
    (
      fault(
        .fold(
          partition, FoldError(code: .tooManyWindows(limit: 3), partitionIndex: 2, offset: 8))),
      .data,
      """
      main/t[2] offset 8: the batch touches more than 3 windows (limits.windows_per_batch). \
      Nothing of batch 7 was committed. Raise limits.windows_per_batch, or lower \
      trigger.max_offsets. Or, if the record's time is wrong, leave it out: <skip main/t[2] [8, 9)>
      """
    ),
    (
      fault(.tooManyGroups(count: 12, limit: 10)), .data,
      """
      batch 7, main/t[0] [0, 9), main/t[1] [0, 9), main/t[2] [0, 9) and 2 more: the batch holds 12 \
      groups, and limits.groups_per_window is 10. Nothing of batch 7 was committed. Raise the \
      limit, or lower trigger.max_offsets.
      """
    ),
    (
      fault(
        .undecodable(
          partition,
          SourceError(
            .undecodable(partition, baseOffset: 4), place: "main/t[2]", reason: "damaged"))),
      .data,
      """
      main/t[2]: damaged. Nothing of batch 7 was committed. Restore the messages from another copy \
      of the topic, or pass over them: <skip damaged main/t[2]>
      """
    ),
    (
      .logsReplaced([incident(.logEnded, logEnd: 12)]), .dataLoss,
      """
      main/t[2]: the next offset is 30, and the log ended at 12: the topic was deleted and made \
      again, or the broker lost data (noticed NOON). The job reads nothing there until you decide. \
      To count the new topic from its oldest offset, beside what was counted of the old one: \
      <restart main/t[2]>. To go on at the job's next offset and count nothing below it, also if \
      you have restored the old topic: <keep main/t[2]>
      """
    ),
    (
      .offsetsLost([PartitionRange(partition, OffsetRange(from: 3, to: 5))]), .dataLoss,
      """
      main/t[2] [3, 5): the broker no longer holds these offsets; it starts at 5. Nothing was \
      read. Set source.on_data_loss: skip to record a gap and go on, or restore the data.
      """
    ),
    (
      destination(
        .refused(.otherJob(OwnerMarker(checkpoint: "id", job: "other", token: "x")))), .jobChanged,
      """
      file:out: this destination belongs to the job other (checkpoint id). Nothing was written \
      there. Give this job another output.to; or, if that job has ended for good, take the \
      destination over: <adopt>
      """
    ),
    (
      destination(.objectsAhead(["batch=7", "batch=8"], nextBatch: 7, isRestored: true)),
      .jobChanged,
      """
      file:out: holds 2 objects of batches that this checkpoint has not committed, as its next \
      batch is 7: batch=7, batch=8. Their rows would stand there twice. Nothing was changed. To \
      let the next run delete them first: <delete, restored>
      """
    ),
    (
      .backup(
        BackupFault(
          place: "s3://b/c.sqlite",
          cause: ObjectStoreError(.full, place: "s3://b/c.sqlite", reason: "no space"))),
      .inputOutput,
      """
      s3://b/c.sqlite: there is no backup: no space. The job's state and results are as they \
      were. Correct the cause, or name another place. The next run or the same command tries \
      again.
      """
    ),
    (
      .backup(
        BackupFault(
          place: "s3://b/c.sqlite", isMade: true,
          cause: ObjectStoreError(.full, place: "s3://b/c.sqlite", reason: "no space"))),
      .inputOutput,
      """
      s3://b/c.sqlite: the backup is made, and older ones were not removed: no space. The job's \
      state and results are as they were. Correct the cause, or name another place. The next \
      backup tries again.
      """
    ),
    (
      destination(.refused(.olderOrCopy)), .jobChanged,
      """
      file:out: a newer state of this checkpoint wrote these results: this file is a restored \
      backup, or a copy of one that is in use elsewhere. Nothing was written there. If this is the \
      one to go on with, stop the other one and run: <restored>
      """
    ),
    (
      .unrenderable(
        (1...3).map {
          RenderFault(job: "calls", subject: .window("W\($0)"), cause: "a cause" as Cause)
        }), .data,
      """
      job calls, window W1: a cause. This object was not published; those that can be rendered \
      were. 2 other objects cannot be rendered either. Correct select, and run again.
      """
    ),
  ]

  @Test("tell what happened, where, and what to do", arguments: table.indices)
  func words(row: Int) {
    let (error, code, text) = Self.table[row]
    #expect(Self.words.text(of: error) == text)
    #expect(error.code == code)
  }

  @Test("say of a measure with another name that it is dropped for good, and begins with NULL")
  func renamedMeasure() {
    let change = JobChange(
      key: "aggregate.measures", old: "n count(), total sum(v)", new: "n count(), sum_v sum(v)",
      effect: .evolve)
    let error = CheckpointError(.jobChanged([change]), path: "x.sqlite")
    let text = Self.words.text(of: .checkpoint(error))
    #expect(
      text.hasSuffix(
        """
        To let the change take effect from the next batch on: <evolve>. Then what total sum(v) \
        held is dropped for good, and sum_v sum(v) is NULL in windows that began before. Or undo \
        the change. Or give the job a new name and another output.to, for a second state beside \
        this one. Or start over from source.start on: <start over>
        """), "\(text)")
  }

  @Test("give a share without the noise of floating point", arguments: [0.07, 0.29, 0.5, 1])
  func share(maxShare: Double) {
    let stop = RejectStop(
      batch: 1, record: 0, reason: "notANumber", field: "v", text: nil, rule: .share,
      rejectedCount: 2,
      judgedCount: 3, maxShare: maxShare)
    let text = Self.words.text(of: Self.fault(.rejects(Self.partition, 4, stop)))
    #expect(text.contains("rejects.max_share (\(Int((maxShare * 100).rounded())) %)"), "\(text)")
  }

  @Test("show the text at fault in one line of at most 100 bytes, and no control characters")
  func textAtFault() {
    func text(_ text: String) -> String {
      Self.words.text(of: Self.fault(.rejects(Self.partition, 4, Self.stop(.share, text: text))))
    }
    #expect(text("a\u{1B}[2J\nb").contains(#"in field v: "a\u{1B}[2J\nb". 5 of"#))
    let long = String(repeating: "x", count: 128)
    #expect(text(long).contains("in field v: \"\(long.prefix(97))...\". 5 of"))
    #expect(text("").contains(#"in field v: "". 5 of"#))
  }

  @Test("of a backfill's batch offer to cancel it, as nothing behind progress can be skipped")
  func backfills() {
    let plan = BatchPlan(batch: 7, ranges: Self.plan.ranges, backfill: 3)
    let damaged = SourceError(
      .undecodable(Self.partition, baseOffset: 4), place: "main/t[2]", reason: "damaged")
    let text = Self.words.text(of: .batch(BatchFault(plan, .undecodable(Self.partition, damaged))))
    #expect(text.contains("<cancel 3>") && !text.contains("<skip"), "\(text)")
    let live = Self.words.text(
      of: .batch(BatchFault(Self.plan, .undecodable(Self.partition, damaged))))
    #expect(live.contains("<skip damaged main/t[2]>"), "\(live)")
  }

  @Test("tell everything that went wrong in a run, and nothing twice")
  func several() {
    let failures = Self.words.failures([Self.unreachable, Self.refused, Self.unreachable])
    #expect(failures.map(\.code) == ["unreachable", "input_output"])
    #expect(
      failures.map(\.message) == [
        Self.words.text(of: Self.unreachable), Self.words.text(of: Self.refused),
      ])
    let text = try? RunSummary(job: "calls").jsonText(
      seconds: 1, failures: failures, exitCode: 69)
    #expect(text?.contains("\"error\":\"\(failures[0].message)\\n\(failures[1].message)\"") == true)
    #expect(text?.contains("\"errors\":[{\"code\":\"unreachable\",\"message\":") == true)
  }

  @Test("say why a group does not show the progress, and how it would")
  func progressNotShown() {
    func text(_ problem: ProgressNotShown.Problem) -> String {
      Self.words.text(of: ProgressNotShown(group: "g", source: "main", problem))
    }
    #expect(
      text(.refused(.isInUse)) == """
        source main, group g: consumers take part in it. The job's progress is not shown there. \
        Name a group of the job's own in source.commit_group.
        """)
    #expect(
      text(.refused(.isAnothers(Self.partition, metadata: "tranche x\n1"))) == #"""
        source main, group g: the offset of main/t[2] is not this job's: beside it stands \#
        "tranche x\n1". The job's progress is not shown there. Name a group of the job's own in \#
        source.commit_group; or, if nobody needs its offsets, delete it: kafka-consumer-groups \#
        --delete --group g.
        """#)
    #expect(
      text(.refused(.isAnothers(Self.partition, metadata: ""))).contains("beside it stands nothing")
    )
    #expect(
      text(.source(SourceError(.refused, place: "source main, group g", reason: "no right"))) == """
        source main, group g: no right. The job's progress is not shown there. Give the source's \
        user the right to read the group, or leave out source.commit_group.
        """)
    #expect(
      text(.source(SourceError(.unreachable, place: "source main", reason: "no answer"))) == """
        source main: no answer. The job's progress is not shown there. Are the brokers up, and is \
        bootstrap.servers right? The run can be tried again.
        """)
    let json = try? RunSummary(job: "calls").jsonText(
      seconds: 1, failures: [], warnings: ["beware"], exitCode: 0)
    #expect(json?.contains("\"warnings\":[\"beware\"]") == true)
  }

  @Test("name the choices that fit every log of a topic, and one command for all of them")
  func choices() {
    func incident(_ topic: String, _ partition: Int32, _ cause: Incident.Cause) -> Incident {
      Incident(
        kind: .logReplaced, partition: .init(source: "main", topic: topic, partition: partition),
        nextOffset: 30, logEnd: 40, cause: cause, noticedAt: "NOON", lastSeenAt: "LATER")
    }
    func commands(_ incidents: [Incident]) -> [String] {
      let text = Self.words.text(of: .logsReplaced(incidents))
      return text.split(separator: "<").dropFirst().map { String($0.prefix { $0 != ">" }) }
    }
    let changed = incident("t", 0, .messageChanged(29))
    #expect(commands([changed]) == ["restart main/t[0]", "keep main/t[0]", "gap main/t[0]"])
    #expect(
      commands([changed, incident("t", 1, .messageChanged(3))])
        == ["restart main/t", "keep main/t", "gap main/t"])
    #expect(
      commands([incident("t", 0, .topicGone), incident("t", 1, .logEnded)])
        == ["restart main/t", "keep main/t"])
    // Where other choices fit, each log has its own: nobody is led to give up what can be counted.
    #expect(
      commands([incident("t", 0, .logEnded), incident("t", 1, .partitionGone)])
        == ["restart main/t[0]", "keep main/t[0]", "keep main/t[1]"])
    #expect(
      commands([incident("u", 0, .logEnded), changed]) == [
        "restart main/t[0]", "keep main/t[0]", "gap main/t[0]", "restart main/u[0]",
        "keep main/u[0]",
      ])
  }

  @Test("of an incident are the same from its facts, and a former release's as they were stored")
  func incidents() {
    #expect(
      Self.words.text(of: Self.incident(.topicGone)) == """
        main/t[2]: the job has read this topic, and the brokers no longer know it: the topic was \
        deleted. Noticed NOON, last seen LATER. To count the new topic from its oldest offset, \
        beside what was counted of the old one: <restart main/t[2]>. To go on at the job's next \
        offset and count nothing below it, also if you have restored the old topic: \
        <keep main/t[2]>
        """)
    #expect(Self.words.detail(of: Self.incident(.sentence("as it was"))) == "as it was")
    #expect(
      Self.words.detail(of: Self.incident(.rejects(Self.stop(.policy)))).hasPrefix(
        "main/t[2] offset 30, record 1: wrongType in field v. 5 of the batch's records were"))
  }
}

private struct Cause: Error, ExpressibleByStringLiteral, CustomStringConvertible {
  let description: String
  init(stringLiteral value: String) { description = value }
}
