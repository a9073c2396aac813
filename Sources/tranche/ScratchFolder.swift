import Checkpoints
import Engine
import Foundation
import Glibc
import Jobs
import Synchronization

/// A folder for the checkpoint of a trial. It is removed at the end, also where a signal ends the
/// process: nothing there is worth more than an answer at once.
enum ScratchFolder {
  /// What the signal's handler removes: paths, each ended by a zero, and behind an empty one the
  /// folder. It may do no more than unlink(2) and rmdir(2) (signal-safety(7)).
  private static let paths = Atomic<UInt>(0)

  /// A new folder that only this user may read.
  ///
  /// - Throws: ``CommandError`` where none can be made.
  static func make() throws(CommandError) -> String {
    let parent = FileManager.default.temporaryDirectory.path
    var template = Array("\(parent)/tranche-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw CommandError(
        .cannotCreate,
        """
        \(parent): no folder can be made there: \(String(cString: strerror(errno))). Name another \
        one in TMPDIR.
        """)
    }
    return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// - Throws: What `body` throws, or as ``make()``.
  static func with<Result>(_ job: Job, _ body: (_ folder: String) throws -> Result) throws -> Result
  {
    let folder = try make()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let list = list(of: job, in: folder)
    defer { list.deallocate() }
    watch()
    paths.store(UInt(bitPattern: list.baseAddress), ordering: .sequentiallyConsistent)
    defer { paths.store(0, ordering: .sequentiallyConsistent) }
    return try body(folder)
  }

  private static func list(of job: Job, in folder: String) -> UnsafeMutableBufferPointer<CChar> {
    let checkpoint = Checkpoint.path(ofJob: job.name, folder: folder)
    let endings = ["", "-wal", "-shm", "-journal"]
    let files =
      endings.map { checkpoint + $0 } + endings.map { "\(checkpoint).new\($0)" }
      + [Checkpoint.lockPath(ofJob: job.name, folder: folder)]
    let text = (files + ["", folder]).flatMap { Array($0.utf8CString) }
    let list = UnsafeMutableBufferPointer<CChar>.allocate(capacity: text.count)
    _ = list.initialize(from: text)
    return list
  }

  private static func watch() {
    _ = paths.load(ordering: .relaxed)  // made now, not inside a handler
    handle([SIGTERM, SIGINT] + (isIgnored(SIGHUP) ? [] : [SIGHUP])) { number in
      var path = UnsafeMutablePointer<CChar>(
        bitPattern: ScratchFolder.paths.load(ordering: .sequentiallyConsistent))
      while let file = path, file.pointee != 0 {
        unlink(file)
        path = file + strlen(file) + 1
      }
      if let path { rmdir(path + 1) }
      signal(number, SIG_DFL)
      kill(getpid(), number)
    }
  }

  /// As nohup(1) asks for.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
