package import Offsets

/// The consumer group in which Kafka's own tools see a job's progress (`source.commit_group`).
///
/// It is a display. What a run reads is decided by the checkpoint alone, so nothing here can fail a
/// run or change what it does.
package struct ProgressGroup: Sendable, Equatable {
  package let name: String
  /// What is written beside each offset, so that the next run knows it again, and people do, too.
  package let mark: String
  private let marks: Set<String>

  /// - Parameters:
  ///   - checkpoint: The id of the checkpoint whose progress is shown.
  ///   - formerCheckpoints: Ids of those whose place it has taken.
  package init(
    _ name: String, job: String, checkpoint: String, formerCheckpoints: some Sequence<String> = []
  ) {
    func mark(_ checkpoint: String) -> String { "tranche \(job) \(checkpoint)" }
    self.name = name
    self.mark = mark(checkpoint)
    marks = Set([mark(checkpoint)] + formerCheckpoints.map(mark))
  }

  /// Why the group is left as it is.
  package enum Refusal: Sendable, Equatable {
    /// Consumers take part in it: it is their progress that it shows.
    case isInUse
    /// An offset of another's, with what is written beside it.
    case isAnothers(PartitionID, metadata: String)
  }

  package enum Decision: Sendable, Equatable {
    case refuse(Refusal)
    /// What is not committed there yet; empty where all is.
    case commit([PartitionID: Offset])
  }

  /// - Parameters:
  ///   - shown: What stands there.
  ///   - progress: The first offset not yet committed, of each partition of one cluster.
  package func decide(
    _ shown: [PartitionID: CommittedOffset], _ progress: [PartitionID: Offset]
  ) -> Decision {
    let foreign = shown.filter { !marks.contains($0.value.metadata) }
    if let (partition, found) = foreign.min(by: { $0.key < $1.key }) {
      return .refuse(.isAnothers(partition, metadata: found.metadata))
    }
    return .commit(
      progress.filter { shown[$0.key] != CommittedOffset($0.value, metadata: mark) })
  }
}

/// Why a job's group does not show its progress on one cluster.
package struct ProgressNotShown: Sendable, Equatable {
  package enum Problem: Sendable, Equatable {
    case refused(ProgressGroup.Refusal)
    /// The cluster did not answer, or refused itself.
    case source(SourceError)
  }
  package let group: String
  package let source: String
  package let problem: Problem

  package init(group: String, source: String, _ problem: Problem) {
    self.group = group
    self.source = source
    self.problem = problem
  }
}

/// Shows a job's progress in its group while a run goes on: every ten seconds, and at its end.
///
/// Where that fails, the run tries once more, at its end: no cluster that is slow to answer takes
/// more of the run's time than that.
final class ProgressDisplay {
  private let group: ProgressGroup
  private let nanoseconds: @Sendable () -> Int64
  private var shownAt: Int64
  private var hasFailed = false
  private static let pauseNanoseconds: Int64 = 10_000_000_000

  /// - Parameter nanoseconds: Of a clock that never goes back.
  init(_ group: ProgressGroup, nanoseconds: @escaping @Sendable () -> Int64) {
    self.group = group
    self.nanoseconds = nanoseconds
    shownAt = nanoseconds()
  }

  /// Whether it is time to show what was committed, in the middle of a run.
  var isDue: Bool { !hasFailed && nanoseconds() - shownAt >= Self.pauseNanoseconds }

  /// - Parameter progress: As of ``ProgressGroup/decide(_:_:)``, for each source.
  /// - Returns: What went wrong, in the order of the sources.
  @discardableResult
  func show(
    _ progress: [(source: any MessageSource, offsets: [PartitionID: Offset])]
  ) -> [ProgressNotShown] {
    let problems = progress.compactMap { source, offsets in
      problem(showing: offsets, in: source).map {
        ProgressNotShown(group: group.name, source: source.source, $0)
      }
    }
    hasFailed = !problems.isEmpty
    shownAt = nanoseconds()
    return problems
  }

  private func problem(
    showing offsets: [PartitionID: Offset], in source: any MessageSource
  ) -> ProgressNotShown.Problem? {
    do throws(SourceError) {
      let shown = try source.committed(of: offsets.keys.sorted(), in: group.name)
      switch group.decide(shown, offsets) {
      case .refuse(let refusal): return .refused(refusal)
      case .commit(let changed):
        if changed.isEmpty { return nil }
        return try source.commit(changed, to: group.name, metadata: group.mark)
          ? nil : .refused(.isInUse)
      }
    } catch {
      return .source(error)
    }
  }
}
