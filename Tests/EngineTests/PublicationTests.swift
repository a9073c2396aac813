import Checkpoints
import Jobs
import ObjectStorage
import Testing

@testable import Engine

/// Two objects, of two revisions and of one: every order of what a run says, of what a publisher
/// does, and of what fails is played, and each state once.
@Suite("What is to be published")
struct PublicationTests {
  /// A run, a checkpoint, a store and a publication.
  private struct World: Hashable {
    var publication: Publication
    /// Of each object: committed, in the store, marked, and not to be rendered from.
    var committed: [Int64]
    var stored: [Int64] = [0, 0]
    var marked: [Int64] = [0, 0]
    var unrenderable: [Int64] = [0, 0]
    var isUnsettled = [false, false]
    /// Rendered and not put.
    var pending: [[Int64]] = []
    var action = Publication.Action.wait
    /// What the action has read of the checkpoint, while the run may commit more.
    var read: [Int64]?
    var isExpected = false
    var isFinishing = false
    var hasFailed = false
    /// The clock since the run was told to stop.
    var stoppedFor: Int64?
    var isGraceOver: Bool { stoppedFor ?? 0 >= 5 }
  }

  private static let keys = ["a", "b"]
  private static let lastRevisions: [Int64] = [2, 1]
  private let schedule: Job.Output.PublishSchedule
  private let groupCount: Int
  private let dirtyAtStart: Bool

  init() { (schedule, groupCount, dirtyAtStart) = (.batch, 1, false) }

  private init(_ schedule: Job.Output.PublishSchedule, _ groupCount: Int, _ dirtyAtStart: Bool) {
    (self.schedule, self.groupCount, self.dirtyAtStart) = (schedule, groupCount, dirtyAtStart)
  }

  private var start: World {
    World(
      publication: Publication(
        dirtyKeys: dirtyAtStart ? ["a"] : [], schedule: schedule,
        group: .init(objectCount: groupCount, byteCount: 1_000), graceNanoseconds: 5,
        renderedBy: "", now: 0),
      committed: [dirtyAtStart ? 1 : 0, 0])
  }

  private func outputs(_ world: World, _ revisions: [Int64]) -> [Output] {
    [0, 1].filter { revisions[$0] > 0 }.map {
      Output(
        objectKey: Self.keys[$0], kind: .window, number: Int64($0), revision: revisions[$0],
        publishedRevision: 0, etag: nil)
    }
  }

  // MARK: - What can happen

  private func next(_ world: World) -> [World] {
    guard world.action != .end else { return [] }
    var worlds: [World] = []
    func add(_ change: (inout World) -> Void) {
      var changed = world
      change(&changed)
      worlds.append(changed)
    }
    if !world.isFinishing {
      for object in [0, 1] where world.committed[object] < Self.lastRevisions[object] {
        add {
          takeMarks(&$0)
          $0.committed[object] += 1
          $0.publication.handle(.committed(nanoseconds: 0))
        }
      }
      if !world.isExpected {
        add {
          $0.isExpected = true
          $0.publication.handle(.batchExpected)
        }
      }
      add {
        $0.isFinishing = true
        $0.publication.handle(.finishing)
      }
    }
    if world.stoppedFor == nil { add { $0.stoppedFor = 0 } }
    if world.stoppedFor == 0 { add { $0.stoppedFor = 5 } }
    worlds += steps(world)
    return worlds
  }

  /// What becomes of the action under way, or which one is next.
  private func steps(_ world: World) -> [World] {
    var worlds: [World] = []
    func add(_ change: (inout World) -> Void) {
      var changed = world
      change(&changed)
      worlds.append(changed)
    }
    func end(_ world: inout World, _ event: Publication.Event) {
      world.publication.handle(event)
      world.action = .wait
      world.read = nil
    }
    switch world.action {
    case .end: return []
    case .wait:
      add { $0.action = $0.publication.next(stoppedAt: $0.stoppedFor) }
      return worlds
    case .claim: add { end(&$0, .claimed) }
    case .list, .render:
      guard let read = world.read else {
        add {
          let world = $0
          $0.read = [0, 1].map { world.committed[$0] > world.marked[$0] ? world.committed[$0] : 0 }
        }
        break
      }
      guard case .render(let output) = world.action else {
        add { end(&$0, .listed(outputs($0, read))) }
        break
      }
      let object = Int(output.number)
      add {
        $0.pending.append([Int64(object), read[object]])
        end(&$0, .rendered(revision: read[object], byteCount: 1, rowCount: nil))
      }
      add {
        $0.unrenderable[object] = read[object]
        end(&$0, .unrenderable(revision: read[object]))
      }
    case .put:
      for hadUnansweredAttempt in [false, true] {
        add {
          let pending = $0.pending
          for object in pending {
            #expect(object[1] > $0.stored[Int(object[0])], "an older or the same revision is put")
            $0.stored[Int(object[0])] = object[1]
            $0.isUnsettled[Int(object[0])] = hadUnansweredAttempt
          }
          $0.pending = []
          end(
            &$0,
            .put(
              pending.map { _ in
                PutReceipt(etag: "", hadUnansweredAttempt: hadUnansweredAttempt)
              }))
        }
      }
    }
    add {
      $0.hasFailed = true
      end(&$0, .failed)
    }
    return worlds
  }

  private func takeMarks(_ world: inout World) {
    for mark in world.publication.takeMarks() {
      let object = mark.objectKey == "a" ? 0 : 1
      #expect(mark.revision > world.marked[object], "marked twice, or an older revision later")
      #expect(mark.revision <= world.stored[object], "marked before it stands")
      let isFirstOfDeadRun = dirtyAtStart && object == 0 && world.marked[0] == 0
      if isFirstOfDeadRun { #expect(mark.isUnsettled, "a dead run's request may still be applied") }
      if mark.revision == world.stored[object] && world.isUnsettled[object] {
        #expect(mark.isUnsettled, "a request without an answer may still be applied")
      }
      world.marked[object] = mark.revision
    }
  }

  // MARK: - What must hold

  private func check(_ world: World) {
    switch world.action {
    case .render(let output):
      let object = Int(output.number)
      #expect(output.revision > max(world.stored[object], world.unrenderable[object]))
      #expect(!world.hasFailed)
    case .put:
      #expect(!world.pending.isEmpty && world.pending.count <= groupCount)
    case .end:
      #expect(world.isFinishing || world.hasFailed)
      guard !world.hasFailed && !world.isGraceOver else { return }
      var ended = world
      takeMarks(&ended)
      for object in [0, 1] {
        #expect(
          world.committed[object] == max(world.stored[object], world.unrenderable[object]),
          "the run ends with an object that was left: \(world)")
        #expect(ended.marked[object] == world.stored[object], "published and never marked")
      }
    case .wait, .claim, .list: break
    }
  }

  /// Whoever waits is woken by orders alone: without any, nothing is left to do.
  private func checkWait(_ world: World) {
    #expect(!world.isFinishing, "waits for a run that has nothing more to say")
    guard schedule == .batch, !world.hasFailed, world.stoppedFor == nil else { return }
    for object in [0, 1] {
      #expect(
        world.committed[object] == max(world.stored[object], world.unrenderable[object]),
        "waits while an object is dirty: \(world)")
    }
  }

  @Test("is all that is dirty, the newest revision, once: in every order of two objects' events")
  func exhaustive() {
    for schedule in [Job.Output.PublishSchedule.batch, .runEnd] {
      for (groupCount, dirtyAtStart) in [(1, false), (2, false), (1, true), (2, true)] {
        let tests = PublicationTests(schedule, groupCount, dirtyAtStart)
        var seen: Set<World> = [tests.start]
        var left = [tests.start]
        while let world = left.popLast() {
          let following = tests.next(world)
          // Every way ends: no state but the last is without a next one.
          #expect(!following.isEmpty || world.action == .end)
          if world.action == .wait {
            var asked = world
            if asked.publication.next(stoppedAt: asked.stoppedFor) == .wait {
              tests.checkWait(world)
              #expect(!world.publication.hasOrders, "waits with something to do")
            }
          }
          for next in following where seen.insert(next).inserted {
            tests.check(next)
            left.append(next)
          }
        }
        #expect(seen.count > 1_000, "\(seen.count) states")
      }
    }
  }

  @Test("waits for its time where the schedule names one, and for the end of the run otherwise")
  func schedules() {
    func isNews(_ schedule: Job.Output.PublishSchedule, _ times: [Int64]) -> [Bool] {
      var publication = Publication(
        dirtyKeys: [], schedule: schedule, group: .init(objectCount: 1, byteCount: 1),
        graceNanoseconds: 0, renderedBy: "", now: 0)
      return times.map {
        publication.handle(.committed(nanoseconds: $0))
        defer {
          if publication.next(stoppedAt: nil) == .list { publication.handle(.listed([])) }
        }
        return publication.hasOrders
      }
    }
    #expect(isNews(.batch, [1, 2]) == [true, true])
    #expect(isNews(.runEnd, [1, 2]) == [false, false])
    #expect(
      isNews(.every(milliseconds: 1), [999_999, 1_000_000, 1_999_999, 2_000_000])
        == [false, true, false, true])
  }

  @Test("is put in groups of a bounded number of bytes")
  func groups() {
    var publication = Publication(
      dirtyKeys: ["0"], schedule: .batch, group: .init(objectCount: 9, byteCount: 10),
      graceNanoseconds: 0, renderedBy: "", now: 0)
    #expect(publication.next(stoppedAt: nil) == .list)
    publication.handle(
      .listed(
        (0..<3).map {
          Output(
            objectKey: "\($0)", kind: .batch, number: $0, revision: 1, publishedRevision: 0,
            etag: nil)
        }))
    for byteCount in [9, 1] {
      guard case .render = publication.next(stoppedAt: nil) else {
        Issue.record("nothing to render")
        return
      }
      publication.handle(.rendered(revision: 1, byteCount: byteCount, rowCount: nil))
    }
    #expect(publication.next(stoppedAt: nil) == .put)
  }
}
