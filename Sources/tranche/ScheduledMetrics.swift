import Engine
import Foundation
import Logging
import Reports

/// The metrics of the jobs that `tranche schedule` runs: a file for each in a folder of its own,
/// which the job's runs write as they do for anybody.
final class ScheduledMetrics {
  let server: MetricsServer
  private let folder: String
  /// By the job's file.
  private var files: [String: MetricsFile] = [:]
  private var fileCount = 0
  /// Of the job files that are faulty, the jobs' names.
  private var faulty: [String: String] = [:]

  /// - Throws: ``CommandError`` where no folder can be made, or where nothing can listen.
  init(_ address: MetricsAddress) throws(CommandError) {
    server = try MetricsServer(address)
    folder = try ScratchFolder.make()
    server.makeText = { [weak self] in self?.text ?? "" }
    let place = MetricsAddress(host: address.host, port: server.port)
    Log.tell(
      .notice, "metrics are served", [("address", .text(place.text))],
      words: "tranche: metrics are at http://\(place.text)/metrics")
  }

  /// With all that lies in it.
  func removeFolder() { try? FileManager.default.removeItem(atPath: folder) }

  /// What each run of a job gets behind its job file.
  func options(_ jobFile: String) -> [String] { ["--metrics-file", file(jobFile).path] }

  private func file(_ jobFile: String) -> MetricsFile {
    if let file = files[jobFile] { return file }
    fileCount += 1
    let file = MetricsFile(path: "\(folder)/\(fileCount).prom")
    files[jobFile] = file
    return file
  }

  /// A job that is scheduled is shown before its first run, as its checkpoint knows it.
  func takeUp(_ jobFile: String, _ facts: () -> MetricFacts?) {
    let wasFaulty = faulty.removeValue(forKey: jobFile) != nil
    guard files[jobFile] == nil || wasFaulty else { return }
    update(file(jobFile)) { before in facts().map { Metrics($0, before: before) } ?? before }
  }

  /// A job whose file is faulty is shown as one whose run ended with 65: it runs no more.
  ///
  /// - Parameter job: Its name where nothing was exposed before.
  func noteFault(_ jobFile: String, job: String) {
    faulty[jobFile] = job
    note(jobFile, job: job, exitCode: RunError.Code.data.exitCode)
  }

  /// The run that went on while the job file became faulty has told how it ended.
  func noteEnd(_ jobFile: String) {
    if let job = faulty[jobFile] { noteFault(jobFile, job: job) }
  }

  /// A job that is scheduled no more is not shown.
  func drop(_ jobFile: String) {
    faulty[jobFile] = nil
    if let file = files.removeValue(forKey: jobFile) { unlink(file.path) }
  }

  /// A run was ended by a signal, and could not tell.
  func noteEnd(_ jobFile: String, job: String, exitCode: Int32) {
    if files[jobFile] != nil { note(jobFile, job: job, exitCode: exitCode) }
  }

  private func note(_ jobFile: String, job: String, exitCode: Int32) {
    update(file(jobFile)) { before in
      var metrics = before
      metrics.note(exitCode: exitCode, job: job, now: nowMilliseconds())
      return metrics
    }
  }

  private func update(_ file: MetricsFile, _ body: (Metrics) -> Metrics) {
    do { try file.update(body) } catch {
      printError(error.message, words: "tranche: \(error.message)")
    }
  }

  /// Of all jobs.
  private var text: String {
    var all = Metrics()
    for (_, file) in files.sorted(by: { $0.key < $1.key }) { all.add(file.metrics()) }
    return all.text
  }
}
