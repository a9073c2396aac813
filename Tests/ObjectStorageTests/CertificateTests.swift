import Foundation
import TestSupport
import Testing

@testable import ObjectStorage

/// A server with a certificate that no authority of the system has signed.
@Suite("A store whose certificate is not trusted")
struct CertificateTests {
  /// `openssl s_server`, which answers every GET with a page.
  private final class Server {
    let folder: TemporaryFolder
    let port: Int
    private let process: Process

    init(host: String) throws {
      folder = try TemporaryFolder()
      let made = try execute(
        "/usr/bin/openssl",
        [
          "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=\(host)",
          "-addext", "subjectAltName=DNS:\(host)", "-keyout", "key.pem", "-out", "certificate.pem",
        ], directory: folder.path)
      try #require(made.exitCode == 0, "\(made.errors)")
      process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
      process.arguments = [
        "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "certificate.pem", "-key", "key.pem",
      ]
      let output = Pipe()
      process.standardOutput = output
      process.standardError = FileHandle.nullDevice
      process.standardInput = FileHandle.nullDevice
      try process.run()
      // `ACCEPT 127.0.0.1:43211`
      var said = ""
      while !said.contains("ACCEPT") || !said.hasSuffix("\n") {
        let bytes = output.fileHandleForReading.availableData
        if bytes.isEmpty { break }
        said += String(decoding: bytes, as: UTF8.self)
      }
      let line = said.split(separator: "\n").first { $0.contains("ACCEPT") }
      port = line.flatMap { Int($0.split(separator: ":").last ?? "") } ?? 0
    }

    deinit {
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
    }
  }

  private func getFailure(_ server: Server, host: String, caFile: String?) -> ObjectStoreError? {
    let store = scriptedStore(
      "https://\(host):\(server.port)", maxAttempts: 4, caFile: caFile,
      sleep: { _ in Issue.record("tried again") })
    return failure { _ = try store.get(ObjectKey("x")) }
  }

  @Test("is asked once, is sent nothing, and is told from one that cannot be reached")
  func untrusted() throws {
    let server = try Server(host: "localhost")
    let certificate = server.folder.path + "/certificate.pem"
    let error = try #require(getFailure(server, host: "localhost", caFile: nil))
    #expect(error.code == .tls && !error.hadUnansweredAttempt, "\(error)")
    #expect(error.reason.contains("certificate"))
    // Another host's certificate.
    #expect(getFailure(server, host: "127.0.0.1", caFile: certificate)?.code == .tls)
    // A list of authorities that is none.
    #expect(
      getFailure(server, host: "localhost", caFile: server.folder.path + "/key.pem")?.code
        == .tls)
    // With the right one it answers, though not as an S3 server does.
    let answered = getFailure(server, host: "localhost", caFile: certificate)
    #expect(answered?.code == .answer(S3Answer(.foreign, to: .get)), "\(answered.debugDescription)")
  }
}
